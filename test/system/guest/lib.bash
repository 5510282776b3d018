# What the guest's tests share. RUNTIME: the program under test, $VIV_BUILD/viv-runtime unless given (runc and crun are
# in the guest too, and must pass wherever the test is not about us alone).

: "${RUNTIME:=$VIV_BUILD/viv-runtime}"
GUEST_DIR=$(dirname "${BASH_SOURCE[0]}")
CG=/sys/fs/cgroup

rt() {
	"$RUNTIME" --root "$STATE" ${DRIVER:-} "$@"
}

# bundle FILTER [JQ-ARG...]: a bundle in $BUNDLE from config.json as the jq FILTER changes it.
bundle() {
	local filter=$1
	shift
	mkdir -p "$BUNDLE"
	jq "$@" --arg id "$ID" "$filter" "$GUEST_DIR/config.json" >"$BUNDLE/config.json"
}

# sh_bundle SCRIPT [FILTER [JQ-ARG...]]: the container runs a shell script.
sh_bundle() {
	bundle ".process.args = [\"/bin/sh\", \"-c\", \$script] | ${2:-.}" --arg script "$1" "${@:3}"
}

start() { # a container in the background that lives until it is killed
	rt create --bundle "$BUNDLE" --pid-file "$BATS_TEST_TMPDIR/pid" "$ID" >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- ||
		{ cat "$BATS_TEST_TMPDIR/out"; return 1; }
	PID=$(cat "$BATS_TEST_TMPDIR/pid")
	rt start "$ID"
}

status() {
	rt state "$ID" | jq -r .status
}

# procs_are N: so many processes are in the container's group below the root.
procs_are() { [ "$(wc -l <"$CG/$ID/cgroup.procs")" -eq "$1" ]; }

# until_true COMMAND...: waits up to ten seconds.
until_true() {
	local i
	for ((i = 0; i < 100; i++)); do
		if "$@" >/dev/null 2>&1; then return 0; fi
		sleep 0.1
	done
	echo "not within ten seconds: $*"
	return 1
}

stopped() { [ "$(status)" = stopped ]; }

cgroup_of() { # the directory of a process's group
	echo "$CG$(sed -n 's/^0:://p' "/proc/$1/cgroup")"
}

equal() { # equal WHAT IS EXPECTED
	[ "$2" = "$3" ] || { echo "$1: is '$2', should be '$3'"; return 1; }
}

file_is() { equal "$1" "$(cat "$1")" "$2"; }

setup() {
	ID=t$BATS_TEST_NUMBER-$$
	BUNDLE=$BATS_TEST_TMPDIR/bundle
	STATE=$BATS_TEST_TMPDIR/state
	prepare
}

prepare() { :; } # a file's own part of setup

teardown() {
	rt delete --force "$ID" >/dev/null 2>&1 || true
	local left
	left=$(find "$CG" -depth -type d -name "*$ID*")
	[ -z "$left" ] || { echo "left behind: $left"; return 1; }
}
