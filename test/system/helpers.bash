# Shared by the runtime's system tests. They drive the real binary:
#   VIV_BUILD   build folder (default: build/ of this tree)
#   RUNTIME     the runtime under test, words (default: "$VIV_BUILD/viv runtime"); RUNTIME=runc checks the tests themselves
# Each test gets a bundle of its own in $BUNDLE with a busybox root file system, and a state directory in $ROOT; teardown
# removes the containers and fails the test if anything of it stays on the host.

bats_require_minimum_version 1.5.0

VIV_BUILD=$(realpath "${VIV_BUILD:-$BATS_TEST_DIRNAME/../../build}")
TOOLS=$VIV_BUILD/test/lib
read -ra RT <<<"${RUNTIME:-$VIV_BUILD/viv runtime}"

# is_viv: some tests are about promises that only our runtime makes.
is_viv() { [[ ${RT[0]} == */viv* ]]; }
needs_viv() { is_viv || skip "only viv promises this"; }
needs_root() { [[ $EUID -eq 0 ]] || skip "needs root"; }
needs_tool() { command -v "$1" >/dev/null || skip "needs $1"; }
# needs_cgroup CONTROLLER: sets CG to its mount point.
needs_cgroup() {
	CG=$(awk -v c="$1" '$(NF-2) == "cgroup" && ("," $NF ",") ~ "," c "," { print $5; exit }' /proc/self/mountinfo)
	[[ $CG ]] || skip "no cgroup v1 controller '$1' (v2 is tested in the guest)"
}

rt() { "${RT[@]}" --root "$ROOT" "$@"; }

# run_rt [ARGS]: as bats' run, of the runtime with stdin closed off.
run_rt() { run --separate-stderr rt "$@" </dev/null; }

# make_rootfs DIR
make_rootfs() {
	mkdir -p "$1"/{bin,dev,etc,home,proc,root,run,sys,tmp,usr/bin,var}
	chmod 1777 "$1/tmp"
	cp /bin/busybox "$1/bin/busybox"
	local a
	for a in $(busybox --list); do
		[[ $a == busybox ]] || ln -s busybox "$1/bin/$a"
	done
	printf '%s\n' 'root:x:0:0:root:/root:/bin/sh' 'daemon:x:1:1::/:/bin/false' 'ann:x:1000:1000::/home:/bin/sh' >"$1/etc/passwd"
	printf '%s\n' 'root:x:0:' 'daemon:x:1:' 'tty:x:5:' 'ann:x:1000:' >"$1/etc/group"
	echo Vivarium >"$1/etc/hostname"
}

common_setup_file() {
	make_rootfs "$BATS_FILE_TMPDIR/rootfs"
}

# The group that the tests' groups lie in goes with the last test. A file with something else to end defines its own.
teardown_file() { find /sys/fs/cgroup -depth -type d -name viv-test -exec rmdir {} +; }

# common_setup: a fresh bundle; the container's name is $ID, its group /viv-test/$ID.
common_setup() {
	BUNDLE=$BATS_TEST_TMPDIR/bundle ROOT=$BATS_TEST_TMPDIR/state
	ID=t$BASHPID-$BATS_TEST_NUMBER
	mkdir -p "$BUNDLE" "$ROOT"
	cp -a "$BATS_FILE_TMPDIR/rootfs" "$BUNDLE/rootfs"
	chmod 755 "$BATS_TEST_TMPDIR" "$BUNDLE"
	cd "$BUNDLE" || return
	rt spec
	config '.process.terminal = false | .root.readonly = false | .process.args = ["true"]
		| .linux.cgroupsPath = "/viv-test/'"$ID"'"'
}

common_teardown() {
	local id left
	cd /
	for id in $(rt list -q 2>/dev/null); do rt delete --force "$id" || true; done
	left=$(leftovers)
	if [[ $left ]]; then
		echo "left behind: $left" >&2
		purge
		return 1
	fi
}

# leftovers: what this test's containers left on the host, one a line.
leftovers() {
	local f pid
	grep -F "$BATS_TEST_TMPDIR" /proc/self/mountinfo | awk '{ print "mount " $5 }'
	find /sys/fs/cgroup -type d -path "*/viv-test/$ID*" 2>/dev/null | sed 's/^/cgroup /'
	for f in $(grep -ls "/viv-test/$ID" /proc/[0-9]*/cgroup 2>/dev/null); do
		pid=${f//[^0-9]/}
		# A zombie that only waits for the machine's init is none of ours.
		grep -qsP '^State:\t[ZX]' "/proc/$pid/status" && grep -qsP '^PPid:\t1$' "/proc/$pid/status" && continue
		[[ ! -d /proc/$pid ]] || echo "process $pid $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline")"
	done
	find "$ROOT" -mindepth 1 -maxdepth 1 -not -name '.*' -not -name 'cache*' 2>/dev/null | sed 's/^/file /'
}

# purge: removes leftovers without the runtime's help, so that one failure does not spoil the next test.
purge() {
	local what name
	leftovers | while read -r what name _; do
		[[ $what != process ]] || kill -9 "$name"
	done
	sleep 0.1
	leftovers | sort -r | while read -r what name _; do
		case $what in
		mount) umount -l "$name" ;;
		cgroup) rmdir "$name" ;;
		esac
	done
}

# config FILTER [JQ-ARGS]: edits config.json in place.
config() {
	jq "$@" <config.json >config.json.new
	mv config.json.new config.json
}

# args WORD...: process.args
args() { config '.process.args = $a' --argjson a "$(printf '%s\0' "$@" | jq -Rs 'rtrimstr("\u0000") | split("\u0000")')"; }

# sh_args SCRIPT: the container runs it with sh.
sh_args() { args sh -c "$1"; }

# ct_state ID: its status
ct_state() { rt state "$1" | jq -r .status; }

# wait_for SECONDS COMMAND...: until it succeeds
wait_for() {
	local end=$((${EPOCHREALTIME/./} + $1 * 1000000))
	shift
	until "$@"; do
		((${EPOCHREALTIME/./} < end)) || { echo "never: $*" >&2 && return 1; }
		sleep 0.02
	done
}

is_state() { [[ $(ct_state "$1" 2>/dev/null) == "$2" ]]; }

# start_sleeper [ID]: a running container whose init sleeps.
start_sleeper() {
	local id=${1:-$ID}
	args sleep 1000
	rt create "$id" </dev/null >out.log 2>&1
	rt start "$id"
}

# fail MESSAGE
fail() {
	echo "$*" >&2
	return 1
}

# Assertions on run's results, that say what they saw.
ok() { [[ $status -eq 0 ]] || fail "status $status, stdout: $output, stderr: ${stderr:-}"; }
status_is() { [[ $status -eq $1 ]] || fail "status $status, not $1; stdout: $output, stderr: ${stderr:-}"; }
failed() { [[ $status -ne 0 ]] || fail "succeeded; stdout: $output"; }
out_is() { [[ $output == "$1" ]] || fail "stdout '$output', not '$1'; stderr: ${stderr:-}"; }
out_has() { [[ $output == *"$1"* ]] || fail "stdout without '$1': $output; stderr: ${stderr:-}"; }
out_lacks() { [[ $output != *"$1"* ]] || fail "stdout has '$1': $output"; }
err_has() { [[ ${stderr:-} == *"$1"* ]] || fail "stderr without '$1': ${stderr:-}"; }
