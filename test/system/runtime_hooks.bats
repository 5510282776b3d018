#!/usr/bin/env bats
# runtime-spec config.md, POSIX-platform hooks.
load helpers

setup_file() { common_setup_file; }
setup() {
	needs_root
	common_setup
	LOG=$BATS_TEST_TMPDIR/hooks.log
}
teardown() { common_teardown; }

# hook KIND SCRIPT [JQ-FILTER]: adds a hook that runs SCRIPT with sh; the filter edits it.
hook() {
	config '.hooks[$kind] += [{path: "/bin/sh", args: ["sh", "-c", $script], env: ["PATH=/usr/bin:/bin"]} | '"${3:-.}"']' \
		--arg kind "$1" --arg script "$2"
}

@test "all six kinds, each list in order, at their places" {
	local kind
	# startContainer runs in the container's root file system: it and the program log to its /tmp.
	for kind in prestart createRuntime createContainer poststart poststop; do
		hook "$kind" "echo $kind 1 >>'$LOG'"
		hook "$kind" "echo $kind 2 >>'$LOG'"
	done
	hook startContainer 'echo startContainer >>/tmp/log'
	sh_args 'echo program >>/tmp/log'
	rt create "$ID" </dev/null >out.log 2>&1
	[[ $(<"$LOG") == $'prestart 1\nprestart 2\ncreateRuntime 1\ncreateRuntime 2\ncreateContainer 1\ncreateContainer 2' ]] ||
		fail "$(<"$LOG")"
	[[ ! -e rootfs/tmp/log ]]
	rt start "$ID"
	wait_for 5 is_state "$ID" stopped
	[[ $(<rootfs/tmp/log) == $'startContainer\nprogram' ]] || fail "$(<rootfs/tmp/log)"
	[[ $(tail -n 2 "$LOG") == $'poststart 1\npoststart 2' ]] || fail "$(<"$LOG")"
	rt delete "$ID"
	! is_viv || [[ $(tail -n 2 "$LOG") == $'poststop 1\npoststop 2' ]] || fail "$(<"$LOG")"
}

@test "the state on stdin: version, id, status, pid, bundle, annotations" {
	local kind
	config '.annotations = {"org.example.a": "b"}'
	for kind in createRuntime createContainer poststart poststop; do
		hook "$kind" "cat >'$LOG.$kind'"
	done
	args sleep 1000
	rt create "$ID" </dev/null >out.log 2>&1
	local pid
	pid=$(rt state "$ID" | jq .pid)
	rt start "$ID"
	rt delete --force "$ID"
	for kind in createRuntime createContainer poststart poststop; do
		jq -e --arg id "$ID" --arg bundle "$BUNDLE" '.id == $id and .bundle == $bundle and (.ociVersion | length > 0)
			and .annotations["org.example.a"] == "b"' "$LOG.$kind" >/dev/null || fail "$kind: $(<"$LOG.$kind")"
	done
	[[ $(jq -r .pid "$LOG.createRuntime") -eq $pid ]]
	[[ $(jq -r .status "$LOG.createRuntime") == creat* ]]
	! is_viv || [[ $(jq -r .status "$LOG.poststart") == running ]] # runc 1.1 says created
	[[ $(jq -r .status "$LOG.poststop") == stopped ]]
}

@test "createRuntime runs in the runtime's namespaces, createContainer in the container's" {
	hook createRuntime "readlink /proc/self/ns/mnt >>'$LOG'"
	hook createContainer "readlink /proc/self/ns/mnt >>'$LOG'"
	run_rt run "$ID"
	ok
	[[ $(head -n 1 "$LOG") == "$(readlink /proc/self/ns/mnt)" ]]
	[[ $(tail -n 1 "$LOG") != "$(readlink /proc/self/ns/mnt)" ]]
}

@test "a hook gets its own environment and arguments, nothing of the runtime's" {
	hook createRuntime "env >'$LOG'; echo \"\$0 \$1\" >>'$LOG'" '.args += ["zero", "one"] | .env += ["MINE=1"]'
	run --separate-stderr env LEAK=1 "${RT[@]}" --root "$ROOT" run "$ID" </dev/null
	ok
	grep -qx MINE=1 "$LOG"
	! grep -q LEAK "$LOG" || fail "$(<"$LOG")"
	grep -qx 'zero one' "$LOG"
}

@test "a hook that fails before start: no container, the later ones do not run, its words are shown" {
	local kind
	for kind in prestart createRuntime createContainer; do
		config '.hooks = {}'
		rm -f "$LOG"
		hook "$kind" 'echo my words >&2; exit 9'
		hook "$kind" "echo later >'$LOG'"
		run_rt create "$ID"
		failed
		[[ ! -e $LOG ]]
		[[ ${stderr,,} == *hook* ]] || fail "$stderr"
		! is_viv || err_has "my words"
		run_rt state "$ID"
		failed
	done
}

@test "startContainer that fails: the program never runs" {
	hook startContainer 'exit 3'
	sh_args 'echo program >/tmp/log'
	run_rt run "$ID"
	failed
	[[ ! -e rootfs/tmp/log ]]
}

@test "poststop that fails is only a warning" {
	hook poststop 'exit 3'
	hook poststop "echo second >'$LOG'"
	args true
	rt create "$ID" </dev/null >out.log 2>&1
	rt start "$ID"
	wait_for 5 is_state "$ID" stopped
	run_rt delete "$ID"
	ok
	run_rt state "$ID"
	failed
	! is_viv || [[ $(<"$LOG") == second ]]
}

@test "a hook that does not exist" {
	hook createRuntime '' '.path = "/nosuch/hook"'
	run_rt run "$ID"
	failed
	err_has /nosuch/hook
}

@test "a hook whose path is not absolute, or whose timeout is not positive, is refused" {
	needs_viv
	hook createRuntime true '.path = "sh"'
	run_rt run "$ID"
	failed
	config '.hooks = {}'
	hook createRuntime true '.timeout = 0'
	run_rt run "$ID"
	failed
}

@test "timeout: the hook is killed and the container is not made" {
	hook createRuntime "echo \$\$ >'$LOG'; exec sleep 1000" '.timeout = 1'
	local start=$SECONDS
	run_rt run "$ID"
	failed
	((SECONDS - start < 5))
	wait_for 5 eval "! kill -0 $(<"$LOG") 2>/dev/null"
}

@test "a hook may close its stdin unread, and may be silent about a large state" {
	config '.annotations = {"big": $big}' --arg big "$(printf '%0100000d' 0)"
	hook createRuntime 'exec <&-; exit 0'
	hook createContainer 'exit 0'
	run_rt run "$ID"
	ok
}

@test "the network of the container can be set up by createRuntime" {
	needs_tool ip
	hook createRuntime 'pid=$(jq .pid); nsenter -t $pid -n ip link add vivtest0 type bridge'
	args ls /sys/class/net
	run_rt run "$ID"
	ok
	out_has vivtest0
	[[ ! -e /sys/class/net/vivtest0 ]]
}
