#!/usr/bin/env bats
# runtime-spec config.md, process: what the program finds itself to be.
load helpers

setup_file() { common_setup_file; }
setup() { common_setup; }
teardown() { common_teardown; }

# status_field NAME: of /proc/self/status in $output
status_field() { sed -n "s/^$1:[[:space:]]*//p" <<<"$output"; }

# caps EFFECTIVE INHERITABLE AMBIENT: JSON lists; bounding and permitted hold all of KILL, CHOWN, NET_BIND_SERVICE.
caps() {
	config '.process.capabilities = {bounding: $all, permitted: $all, effective: $e, inheritable: $i, ambient: $a}' \
		--argjson all '["CAP_KILL", "CAP_CHOWN", "CAP_NET_BIND_SERVICE"]' --argjson e "$1" --argjson i "$2" --argjson a "$3"
}

@test "capabilities: each of the five sets" {
	caps '["CAP_KILL"]' '["CAP_CHOWN"]' '[]'
	args cat /proc/self/status
	config '.process.noNewPrivileges = false | .process.user.uid = 1000'
	run_rt run "$ID"
	ok
	# An ordinary user's sets are emptied by execve, except the bounding and the inheritable set.
	[[ $(status_field CapBnd) == 0000000000000421 ]]
	[[ $(status_field CapInh) == 0000000000000001 ]]
	[[ $(status_field CapEff) == 0000000000000000 ]]
}

@test "capabilities of root are those of the bounding set" {
	caps '["CAP_KILL"]' '[]' '[]'
	args cat /proc/self/status
	run_rt run "$ID"
	[[ $(status_field CapBnd) == 0000000000000421 ]]
	[[ $(status_field CapPrm) == 0000000000000421 ]]
}

@test "ambient capabilities reach an ordinary user's program" {
	caps '["CAP_KILL", "CAP_CHOWN"]' '["CAP_CHOWN", "CAP_NET_BIND_SERVICE"]' '["CAP_CHOWN", "CAP_NET_BIND_SERVICE"]'
	config '.process.user = {uid: 1000, gid: 1000}'
	sh_args 'cat /proc/self/status; chown 5 /tmp/mine'
	touch rootfs/tmp/mine
	run_rt run "$ID"
	ok
	[[ $(status_field CapAmb) == 0000000000000401 ]]
	[[ $(status_field CapEff) == 0000000000000401 ]]
	[[ $(stat -c %u rootfs/tmp/mine) -eq 5 ]]
}

@test "without process.capabilities an ordinary user has none" {
	config 'del(.process.capabilities) | .process.user = {uid: 1000, gid: 1000}'
	args cat /proc/self/status
	run_rt run "$ID"
	[[ $(status_field CapEff) == 0000000000000000 ]]
	[[ $(status_field CapPrm) == 0000000000000000 ]]
}

@test "an unknown capability is passed over with a warning, as runc does" {
	config '.process.capabilities.bounding += ["CAP_NOSUCH"]'
	run_rt run "$ID"
	ok
	err_has CAP_NOSUCH
}

@test "rlimits: soft and hard, several at once" {
	config '.process.rlimits = [{type: "RLIMIT_NOFILE", soft: 100, hard: 200}, {type: "RLIMIT_CORE", soft: 0, hard: 4096},
		{type: "RLIMIT_STACK", soft: 4194304, hard: 8388608}]'
	args cat /proc/self/limits
	run_rt run "$ID"
	ok
	grep -Eq '^Max open files +100 +200 ' <<<"$output"
	grep -Eq '^Max core file size +0 +4096 ' <<<"$output"
	grep -Eq '^Max stack size +4194304 +8388608 ' <<<"$output"
}

@test "rlimits: unknown, doubled or contradictory ones are refused" {
	local bad
	is_viv || skip "runc 1.1 lets some of them pass"
	for bad in '[{type: "RLIMIT_NOSUCH", soft: 1, hard: 1}]' '[{type: "RLIMIT_NOFILE", soft: 9, hard: 5}]' \
		'[{type: "RLIMIT_CORE", soft: 0, hard: 1}, {type: "RLIMIT_CORE", soft: 0, hard: 0}]'; do
		config ".process.rlimits = $bad"
		run_rt run "$ID"
		failed
		[[ ${stderr,,} == *rlimit* ]] || fail "$stderr"
	done
}

@test "scheduler: policy and nice value; nothing without it" {
	needs_viv
	config '.process.scheduler = {policy: "SCHED_BATCH", nice: 7}'
	args cat /proc/self/stat
	run_rt run "$ID"
	ok
	# proc(5): field 19 is nice, 41 the policy (SCHED_BATCH is 3).
	[[ $(cut -d' ' -f19,41 <<<"$output") == "7 3" ]]
	config 'del(.process.scheduler)'
	run_rt run "$ID"
	[[ $(cut -d' ' -f41 <<<"$output") == 0 ]]
}

@test "ioPriority" {
	needs_viv
	needs_tool ionice
	config '.process.ioPriority = {class: "IOPRIO_CLASS_IDLE", priority: 0}'
	args sleep 1000
	rt run -d "$ID" </dev/null >out.log 2>&1
	[[ $(ionice -p "$(rt state "$ID" | jq .pid)") == idle ]]
	rt delete --force "$ID"
	config '.process.ioPriority = {class: "IOPRIO_CLASS_BE", priority: 6}'
	rt run -d "$ID" </dev/null >out.log 2>&1
	[[ $(ionice -p "$(rt state "$ID" | jq .pid)") == "best-effort: prio 6" ]]
}

@test "umask: the configuration's, 0022 without one; exec has it too" {
	args sleep 1000
	rt run -d "$ID" </dev/null >out.log 2>&1
	run_rt exec "$ID" sh -c umask
	out_is 0022
	rt delete --force "$ID"
	config '.process.user.umask = 63'
	rt run -d "$ID" </dev/null >out.log 2>&1
	run_rt exec "$ID" grep Umask /proc/1/status
	out_has 0077
	is_viv || return 0 # runc 1.1 forgets it
	run_rt exec "$ID" sh -c umask
	out_is 0077
}

@test "oomScoreAdj: set, and the caller's without it" {
	config '.process.oomScoreAdj = 789'
	args cat /proc/self/oom_score_adj
	run_rt run "$ID"
	out_is 789
	config 'del(.process.oomScoreAdj)'
	run_rt run "$ID"
	out_is "$(</proc/self/oom_score_adj)"
}

@test "personality: LINUX32 changes the machine's name" {
	needs_viv
	config '.linux.personality = {domain: "LINUX32"}'
	args uname -m
	run_rt run "$ID"
	ok
	out_is i686
}

@test "cwd: entered, made where it is missing; a relative one is refused" {
	config '.process.cwd = "/var"'
	args pwd
	run_rt run "$ID"
	out_is /var
	config '.process.cwd = "/made/here"'
	run_rt run "$ID"
	out_is /made/here
	config '.process.cwd = "var"'
	run_rt run "$ID"
	failed
	[[ ${stderr,,} == *cwd* ]] || fail "$stderr"
}

@test "cwd: one that only the container's user may enter" {
	mkdir rootfs/secret
	chmod 700 rootfs/secret
	chown 1000 rootfs/secret
	config '.process.cwd = "/secret" | .process.user = {uid: 1000, gid: 1000} | del(.process.capabilities)'
	args pwd
	run_rt run "$ID"
	ok
	out_is /secret
}

@test "user: uid, gid, additional groups and none of the caller's" {
	config '.process.user = {uid: 1000, gid: 1001, additionalGids: [5, 1002]}'
	sh_args 'id -u; id -g; grep Groups /proc/self/status'
	run_rt run "$ID"
	ok
	[[ $output == 1000$'\n'1001$'\n'Groups:*5\ 1002* ]] || fail "$output"
	config '.process.user = {uid: 1000, gid: 1001}'
	args grep Groups /proc/self/status
	run --separate-stderr setpriv --groups 3,4 "${RT[@]}" --root "$ROOT" run "$ID" </dev/null
	ok
	! grep -Eq '\b[34]\b' <<<"$output" || fail "$output"
}

@test "noNewPrivileges on and off" {
	args cat /proc/self/status
	config '.process.noNewPrivileges = true'
	run_rt run "$ID"
	[[ $(status_field NoNewPrivs) == 1 ]]
	config '.process.noNewPrivileges = false'
	run_rt run "$ID"
	[[ $(status_field NoNewPrivs) == 0 ]]
}

@test "HOME is the user's from /etc/passwd, / for a stranger, and the configuration's if it says one" {
	config '.process.user = {uid: 1000, gid: 1000}'
	sh_args 'echo "$HOME"'
	run_rt run "$ID"
	out_is /home
	config '.process.user.uid = 4242'
	run_rt run "$ID"
	out_is /
	config '.process.env += ["HOME=/mine"]'
	run_rt run "$ID"
	out_is /mine
}

@test "env: exactly what is asked for; of two with one name the last counts" {
	config '.process.env = ["PATH=/bin", "A=1", "B=x=y", "A=2", "EMPTY="]'
	args env
	run --separate-stderr env LEAK=1 "${RT[@]}" --root "$ROOT" run "$ID" </dev/null
	ok
	out_lacks LEAK
	out_lacks A=1
	out_has A=2
	out_has B=x=y
	grep -qx EMPTY= <<<"$output"
}

@test "env without a = is refused" {
	needs_viv
	config '.process.env += ["NOVALUE"]'
	run_rt run "$ID"
	failed
	err_has NOVALUE
}

@test "the program is looked for in the container's PATH" {
	mkdir rootfs/opt
	printf '#!/bin/sh\necho found\n' >rootfs/opt/mytool
	chmod 755 rootfs/opt/mytool
	config '.process.env = ["PATH=/bin:/opt"]'
	args mytool
	run_rt run "$ID"
	out_is found
	config '.process.env = ["PATH=/bin"]'
	run_rt run "$ID"
	failed
	err_has mytool
}

@test "execCPUAffinity: the final mask is what the program of exec runs on" {
	needs_viv
	[[ $(nproc) -gt 1 ]] || skip "needs two CPUs"
	config '.process.execCPUAffinity = {initial: "0", final: "1"}'
	start_sleeper
	run_rt exec "$ID" grep Cpus_allowed_list /proc/self/status
	ok
	[[ $output == *$'\t1' ]] || fail "$output"
}
