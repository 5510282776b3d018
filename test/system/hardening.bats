#!/usr/bin/env bats
# The hardening of the programs as they were built: read from the files, and shown to work by a probe compiled with the
# same flags (hardening/probe.c).

setup_file() {
	export VIV_BUILD=${VIV_BUILD:-$(cd "$BATS_TEST_DIRNAME/../../build" && pwd)}
	export STATIC="viv viv-runtime" DYNAMIC="viv-cli viv-disk viv-image viv-registry viv-scope"
	# compiler and flags of src/base/err.c, without its file names
	COMPILE=$(jq -r '.[] | select(.file | endswith("src/base/err.c")) | .command' "$VIV_BUILD/compile_commands.json" |
		sed -E 's/ -M[DQF]( [^- ][^ ]*)?//g; s/ -[oc] [^ ]+//g')
	export COMPILE
	for program in $STATIC $DYNAMIC; do
		[ -x "$VIV_BUILD/$program" ] || { echo "$VIV_BUILD/$program is not built"; return 1; }
	done
}

programs() {
	for program in $STATIC $DYNAMIC; do
		echo "$VIV_BUILD/$program"
	done
}

# Object files of our own code.
objects() {
	find "$VIV_BUILD/src" "$VIV_BUILD"/viv*.p -name '*.o'
}

probe() {
	(cd "$VIV_BUILD" && eval "$COMPILE" -w '"$BATS_TEST_DIRNAME/hardening/probe.c"' '"$@"' -o '"$BATS_TEST_TMPDIR/probe"')
}

@test "every program is position independent" {
	for p in $(programs); do
		readelf -hW "$p" | grep -q 'Type: *DYN' || { echo "$p: not PIE"; return 1; }
		readelf -dW "$p" | grep -q 'FLAGS_1.*PIE' || { echo "$p: a library, not PIE"; return 1; }
		! readelf -dW "$p" | grep -q TEXTREL || { echo "$p: relocations in text"; return 1; }
	done
}

@test "every program has full RELRO" {
	for p in $(programs); do
		readelf -lW "$p" | grep -q GNU_RELRO || { echo "$p: no GNU_RELRO"; return 1; }
		readelf -dW "$p" | grep -Eq 'BIND_NOW|FLAGS_1.*NOW' || { echo "$p: lazy binding"; return 1; }
	done
}

@test "no segment of a program is both writable and executable, the stack included" {
	for p in $(programs); do
		readelf -lW "$p" | grep -q GNU_STACK || { echo "$p: no GNU_STACK"; return 1; }
		readelf -lW "$p" | awk -v p="$p" '
			/^  (LOAD|GNU_STACK) / { flags = ""; for (i = 7; i < NF; i++) flags = flags $i
				if (flags ~ /W/ && flags ~ /E/) { print p ": " $0; bad = 1 } }
			END { exit bad }'
	done
}

@test "no program has a run path" {
	for p in $(programs); do
		! readelf -dW "$p" | grep -Eq 'RPATH|RUNPATH' || { echo "$p"; return 1; }
	done
}

@test "every file is compiled with every flag" {
	total=$(jq '[.[] | select(.file | test("(^|/)src/"))] | length' "$VIV_BUILD/compile_commands.json")
	[ "$total" -gt 20 ]
	for flag in -fPIE -fstack-protector-strong -fstack-clash-protection -fcf-protection=full \
		-ftrivial-auto-var-init=zero -D_FORTIFY_SOURCE=3 -Werror; do
		bare=$(jq -r --arg flag "$flag" '.[] | select(.file | test("(^|/)src/")) |
			select((" " + .command + " ") | contains(" " + $flag + " ") | not) | .file' "$VIV_BUILD/compile_commands.json")
		[ -z "$bare" ] || { echo "without $flag: $bare"; return 1; }
	done
}

@test "our objects are marked for CET, and so is a program where the C library is" {
	objects=$(objects)
	[ -n "$objects" ]
	for o in $objects; do
		readelf -nW "$o" | grep -q 'x86 feature: IBT, SHSTK' || { echo "$o: not marked"; return 1; }
	done
	# The linker marks a program only if every part of it is marked; Debian 12's glibc is not.
	if readelf -nW "$(eval "$COMPILE" -print-file-name=Scrt1.o)" | grep -q 'x86 feature: IBT, SHSTK'; then
		for p in $DYNAMIC; do
			readelf -nW "$VIV_BUILD/$p" | grep -q 'x86 feature: IBT, SHSTK' || { echo "$p: not marked"; return 1; }
		done
	fi
}

@test "functions begin with endbr64" {
	for program in viv-runtime viv-cli viv-scope; do
		objdump -d --no-show-raw-insn --disassemble=main "$VIV_BUILD/$program" | grep -A1 '<main>:' | grep -q endbr64 ||
			{ echo "$program: main has no landing pad"; return 1; }
	done
}

@test "viv, which is all ours, is marked for CET" {
	readelf -nW "$VIV_BUILD/viv" | grep -q 'x86 feature: IBT, SHSTK'
}

@test "automatic variables start as zero" {
	probe
	"$BATS_TEST_TMPDIR/probe" zero
	probe -ftrivial-auto-var-init=uninitialized
	run "$BATS_TEST_TMPDIR/probe" zero
	[ "$status" -eq 1 ]
}

@test "a smashed stack ends the process" {
	probe
	"$BATS_TEST_TMPDIR/probe" smash 16
	run "$BATS_TEST_TMPDIR/probe" smash 200
	[ "$status" -eq 134 ]
	[[ "$output" == *"stack smashing detected"* ]]
}

@test "FORTIFY=3 catches an overrun whose size is known at run time only" {
	probe
	run "$BATS_TEST_TMPDIR/probe" fortify 64
	[ "$status" -eq 134 ]
	[[ "$output" == *"buffer overflow detected"* ]]
	probe -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
	"$BATS_TEST_TMPDIR/probe" fortify 64
}

@test "a large frame is touched page by page" {
	probe
	frame() { objdump -d --no-show-raw-insn --disassemble=probe_frame "$BATS_TEST_TMPDIR/probe"; }
	frame | grep -q 'sub *\$0x1000,%rsp'
	probe -fno-stack-clash-protection
	[ "$(frame | grep -c 'sub *\$0x1000,%rsp')" = 0 ]
}

@test "the checks reached our own code" {
	undefined=$(objects | xargs nm -u 2>/dev/null)
	grep -q ' U __stack_chk_fail' <<<"$undefined"
	grep -Eq ' U __[a-z]+_chk$' <<<"$undefined"
}
