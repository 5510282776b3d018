#!/usr/bin/env bats
# The command line: launcher, viv-cli, manual pages, completion. VIV_BUILD is the build folder.

bats_require_minimum_version 1.5.0

setup() {
	VIV_BUILD=$(realpath "${VIV_BUILD:-$BATS_TEST_DIRNAME/../../build}")
	viv=$VIV_BUILD/viv
	export HOME=$BATS_TEST_TMPDIR XDG_CONFIG_HOME=$BATS_TEST_TMPDIR/config
	unset NO_COLOR VIV_OUTPUT VIV_LOG_LEVEL VIV_PROGRESS VIV_COLOR VIV_ROOT
}

settings_file() {
	mkdir -p "$XDG_CONFIG_HOME/viv"
	cat >"$XDG_CONFIG_HOME/viv/settings.yaml"
}

# on_terminal COMMAND: its output, run on a terminal of 80 columns
on_terminal() { script -qec "stty cols 80; $1" /dev/null </dev/null | tr -d '\r'; }

@test "bare viv is a status, not an error, and names a next command that exists" {
	run --separate-stderr "$viv"
	[ "$status" -eq 0 ]
	[ -z "$stderr" ]
	[[ $output == "Vivarium "* ]]
	next=$(sed -n 's/^next: viv \([a-z]*\).*/\1/p' <<<"$output")
	run "$viv" help "$next"
	[ "$status" -eq 0 ]
}

@test "--version of viv and of the runtime" {
	run "$viv" --version
	[ "$status" -eq 0 ]
	[[ $output =~ ^viv\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
	[ "$output" = "viv $("$viv" version --format '{{.Version}}')" ]
	run "$viv" runtime --version
	[ "$status" -eq 0 ]
	[[ $output == *spec:* ]]
}

@test "a link named runc is the runtime" {
	ln -s "$viv" "$BATS_TEST_TMPDIR/runc"
	run "$BATS_TEST_TMPDIR/runc" --version
	[ "$status" -eq 0 ]
	[[ ${lines[0]} == *" version "* && $output == *spec:* ]]
}

@test "a missing program is named" {
	cp "$viv" "$BATS_TEST_TMPDIR/viv"
	[ ! -e /usr/libexec/viv/viv-cli ] || skip "viv is installed on this machine"
	run "$BATS_TEST_TMPDIR/viv" doctor
	[ "$status" -eq 1 ]
	[[ $output == *viv-cli* ]]
}

@test "--help fits 24 lines of 80 columns, --help --all has every command" {
	run "$viv" --help
	[ "$status" -eq 0 ]
	[ "${#lines[@]}" -le 24 ]
	[ "$(awk 'length > 100' <<<"$output")" = "" ]
	for word in doctor explain runtime settings completion; do [[ $output == *"$word"* ]]; done
	run "$viv" --help --all
	[[ $output == *"settings unset"* ]]
}

@test "each command has help, with examples before flags" {
	"$viv" __man --list | sed -n 's/^viv-\(.*\)\.1$/\1/p' >"$BATS_TEST_TMPDIR/commands"
	[ -s "$BATS_TEST_TMPDIR/commands" ]
	while read -r command; do
		command=${command/-/ }
		# shellcheck disable=SC2086
		run "$viv" $command --help
		[ "$status" -eq 0 ]
		[[ ${lines[0]} == "Usage: viv $command"* ]]
		[[ $output == *Examples:*"Global flags:"* ]]
	done <"$BATS_TEST_TMPDIR/commands"
}

@test "help reaches the runtime's own commands" {
	run "$viv" help runtime create
	[ "$status" -eq 0 ]
	[[ ${lines[0]} == "Usage: viv runtime create"* ]]
	run "$viv" help runtime
	[[ $output == *"  create "* ]]
}

@test "unknown commands and flags: suggestion and status 2" {
	run --separate-stderr "$viv" docter
	[ "$status" -eq 2 ]
	[ -z "$output" ]
	[ "$stderr" = "viv: unknown command 'docter'; did you mean 'doctor'?
see 'viv --help'" ]
	run --separate-stderr "$viv" doctor --formt x
	[ "$status" -eq 2 ]
	[[ $stderr == *"did you mean '--format'?"* ]]
	run "$viv" explain A B
	[ "$status" -eq 2 ]
	run "$viv" -o tabel version
	[ "$status" -eq 2 ]
}

@test "colour only on a terminal and without NO_COLOR" {
	run "$viv" --help
	[[ $output != *$'\e'* ]]
	[[ $(on_terminal "$viv --help --all") == *$'\e[1m'* ]]
	[[ $(NO_COLOR=1 on_terminal "$viv --help --all") != *$'\e'* ]]
	[[ $(NO_COLOR='' on_terminal "$viv doctor || true") == *$'\e['* ]]
	[[ $("$viv" doctor --color always || true) == *$'\e['* ]]
}

@test "explain: one code, all codes, a wrong one" {
	run "$viv" explain ct-not-found
	[ "$status" -eq 0 ]
	[[ $output == "CT-NOT-FOUND: "*"Cure:"* ]]
	run "$viv" explain -o name
	[ "${#lines[@]}" -gt 20 ]
	for code in "${lines[@]}"; do "$viv" explain "$code" >/dev/null; done
	run --separate-stderr "$viv" explain CT-NOT-FUND
	[ "$status" -eq 3 ]
	[[ $stderr == *"did you mean 'CT-NOT-FOUND'?"*"[NOT-FOUND]"*"viv explain NOT-FOUND"* ]]
	run --separate-stderr "$viv" -o json explain NOPE
	[ "$(jq -r .error.code <<<"$stderr")" = NOT-FOUND ]
}

@test "output forms agree with one another" {
	"$viv" settings -o json >"$BATS_TEST_TMPDIR/json"
	keys=$(jq -r '.[].Key' "$BATS_TEST_TMPDIR/json")
	[ "$("$viv" settings -o jsonl | jq -r .Key)" = "$keys" ]
	[ "$("$viv" settings -o name)" = "$keys" ]
	[ "$("$viv" settings --format '{{.Key}}')" = "$keys" ]
	[ "$("$viv" settings --format json | jq -r .Key)" = "$keys" ]
	[ "$("$viv" settings -o csv | tail -n +2 | cut -d, -f1)" = "$keys" ]
	[ "$("$viv" settings | tail -n +2 | awk '{ print $1 }')" = "$keys" ]
	python3 -c 'import yaml' 2>/dev/null || skip "python3-yaml is missing: the YAML form was not compared"
	diff <("$viv" settings -o yaml | python3 -c 'import json,sys,yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)' | jq -S .) \
		<(jq -S . "$BATS_TEST_TMPDIR/json")
}

@test "--format: table with headings, and errors with their position" {
	run "$viv" settings --format 'table {{.Key}}\t{{upper .Value}}'
	[[ ${lines[0]} =~ ^KEY\ +VALUE$ ]]
	[[ ${lines[1]} =~ ^color\ +AUTO$ ]]
	run --separate-stderr "$viv" settings --format '{{.Kye}}'
	[ "$status" -eq 2 ]
	[[ $stderr == *"format, line 1, column 3: there is no field 'Kye'"* ]]
}

@test "output that cannot be written is a failure" {
	run bash -c '"$0" explain >/dev/full' "$viv"
	[ "$status" -eq 1 ]
	[[ $output == *"No space left on device"* ]]
}

@test "settings: file, environment, flag; set, get, unset" {
	settings_file <<<'output: json'
	[ "$("$viv" settings get output)" = json ]
	[ "$("$viv" version | jq -r .Version)" = "$("$viv" --version | cut -d' ' -f2)" ]
	[ "$(VIV_OUTPUT=csv "$viv" settings get output)" = csv ]
	[[ $("$viv" version -o table) == Version:* ]]
	"$viv" settings set progress none
	[ "$("$viv" settings get progress)" = none ]
	[ "$("$viv" settings -o json | jq -r '.[] | select(.Key == "progress").Origin')" = "$XDG_CONFIG_HOME/viv/settings.yaml" ]
	"$viv" settings unset progress
	[ "$("$viv" settings get progress)" = auto ]
	[ "$("$viv" settings get output)" = json ]
	run "$viv" settings set progress sometimes
	[ "$status" -eq 2 ]
	run "$viv" settings get nope
	[ "$status" -eq 3 ]
}

@test "a bad settings file is named, and does not stop other commands" {
	settings_file <<<$'color: never\noutput: tabel'
	run --separate-stderr "$viv" version
	[ "$status" -eq 0 ]
	[[ $stderr == *"settings.yaml, line 2: output 'tabel'"* ]]
}

@test "doctor: forms, and the status of a good host" {
	run "$viv" doctor
	[[ ${lines[-1]} =~ ^[0-9]+\ ok,\ [0-9]+\ warnings,\ [0-9]+\ failed ]]
	"$viv" doctor -o json >"$BATS_TEST_TMPDIR/json" || true
	[ "$(jq -r '[.[] | .Check] | length' "$BATS_TEST_TMPDIR/json")" -ge 12 ]
	[ "$(jq -r '[.[] | select(.Status == "ok" and .Cure != "")] | length' "$BATS_TEST_TMPDIR/json")" -eq 0 ]
	[ "$(jq -r '[.[] | select(.Status != "ok" and .Cure == "")] | length' "$BATS_TEST_TMPDIR/json")" -eq 0 ]
}

@test "doctor sees what is missing" {
	[ "$EUID" -eq 0 ] || skip "needs root to hide parts of the host"
	run unshare -m sh -c '
		for m in $(awk "\$3 ~ /^cgroup2?\$/ { print \$2 }" /proc/mounts); do umount "$m"; done
		mount -t tmpfs none /dev && "$0" doctor -o jsonl' "$viv"
	[ "$status" -eq 1 ]
	field() { jq -r "select(.Check == \"$1\").$2" <<<"$output"; }
	[ "$(field 'control groups' Status)" = fail ]
	[[ $(field /dev/kvm Found) == absent* ]]
	[ "$(field /dev/net/tun Status)" = warn ]
	run unshare -U --map-root-user sh -c 'echo 0 >/proc/sys/user/max_user_namespaces; "$0" doctor -o jsonl' "$viv"
	[ "$(field 'user namespaces' Status)" = warn ]
	[[ $(field 'user namespaces' Cure) == *max_user_namespaces* ]]
}

@test "doctor as an ordinary user" {
	[ "$EUID" -eq 0 ] || skip "needs root to become another user"
	chmod 755 "$BATS_TEST_TMPDIR"
	setpriv --reuid 65534 --regid 65534 --clear-groups test -x "$viv" || skip "the build folder is not readable for others"
	run --separate-stderr setpriv --reuid 65534 --regid 65534 --clear-groups "$viv" doctor -o jsonl
	[[ $(jq -r 'select(.Check == "subordinate ids").Status' <<<"$output") == warn ]]
}

@test "manual pages: complete, and clean for mandoc" {
	command -v mandoc >/dev/null || skip "needs mandoc"
	listed=$({ "$viv" __man --list; "$viv" runtime __man --list; "$viv" disk __man --list; } | sort)
	[ "$(cd "$VIV_BUILD/doc/man" && ls -- *.[18] | sort)" = "$listed" ]
	for page in "$VIV_BUILD"/doc/man/*.[18]; do
		run mandoc -T lint -W warning "$page"
		[ "$status" -eq 0 ] || { echo "$output"; false; }
		# every reference leads to a page of ours
		sed -n 's/^\(\.It \)\?\.\?Xr \(viv[a-z-]*\) \([18]\).*/\2.\3/p' "$page" >>"$BATS_TEST_TMPDIR/refs"
	done
	[ -s "$BATS_TEST_TMPDIR/refs" ]
	[ "$(sort -u "$BATS_TEST_TMPDIR/refs" | comm -23 - <(echo "$listed"))" = "" ]
}

# bash_complete WORD...: candidates for the last word, as bash divides the words
bash_complete() {
	bash --norc -c '
		source "$VIV_SCRIPT"
		COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
		_viv_complete 2>/dev/null
		printf "%s\n" "${COMPREPLY[@]}"' bash "$viv" "$@"
}

@test "completion in bash" {
	export VIV_SCRIPT=$VIV_BUILD/doc/viv
	[ "$("$viv" completion bash)" = "$(cat "$VIV_SCRIPT")" ]
	[ "$(bash_complete doc)" = doctor ]
	[ "$(bash_complete settings '' | sort | paste -sd' ')" = "get set unset" ]
	[ "$(bash_complete settings get pro)" = progress ]
	[ "$(bash_complete explain CT-EXI)" = CT-EXISTS ]
	[ "$(bash_complete doctor --form)" = --format ]
	[ "$(bash_complete -o js | paste -sd' ')" = "json jsonl" ]
	[ "$(bash_complete doctor --output = ya)" = yaml ]
	[ "$(bash_complete --output = | paste -sd' ')" = "table wide json jsonl yaml csv name" ]
	[ "$(bash_complete completion z)" = zsh ]
	[ "$(bash_complete runtime del)" = delete ]
	[ "$(bash_complete runtime create --bund)" = --bundle ]
	cd "$BATS_TEST_TMPDIR"
	mkdir 'a dir'
	touch afile
	[ "$(bash_complete runtime create --bundle a)" = 'a dir' ]
	[ "$(bash_complete nonsense '')" = "" ]
}

@test "completion in an interactive bash" {
	printf 'PS1="ready> "\nsource %q\nPATH=%q:$PATH\n' "$VIV_BUILD/doc/viv" "$VIV_BUILD" >"$BATS_TEST_TMPDIR/rc"
	run "$BATS_TEST_DIRNAME/../lib/typist.py" "env TERM=dumb bash --rcfile $BATS_TEST_TMPDIR/rc -i" \
		'ready> ' 'viv --output=jsonl expl\t' 'explain ' 'CT-EXIS\t' 'CT-EXISTS ' '\r' \
		'"Code":"CT-EXISTS"' '' 'ready> ' 'exit\r'
	[ "$status" -eq 0 ] || { echo "$output"; false; }
}

@test "completion in zsh" {
	command -v zsh >/dev/null || skip "needs zsh"
	script=$VIV_BUILD/doc/_viv
	[ "$("$viv" completion zsh)" = "$(cat "$script")" ]
	zsh -n "$script"
	# zsh's own functions are replaced by ones that tell what they were given
	zsh_complete() {
		zsh -f -c '
			compdef() { }
			compset() { PREFIX=${PREFIX#*=} }
			_files() { print files "$@" }
			_describe() { print -l -- "${(@P)2}" }
			source $0
			words=("$@") CURRENT=$# PREFIX=$words[-1]
			_viv' "$script" "$viv" "$@"
	}
	[ "$(zsh_complete expl)" = "explain:explain an error code: its cause and its cure" ]
	[ "$(zsh_complete settings get pro)" = "progress:progress on standard error" ]
	[ "$(zsh_complete --output=js | paste -sd' ')" = "json jsonl" ]
	[ "$(zsh_complete runtime create --bundle '')" = "files -/" ]
	[[ $(zsh_complete runtime del) == delete:* ]]
}
