#!/usr/bin/env bats
# exec: another process in a running container.
load helpers

setup_file() { common_setup_file; }
setup() { common_setup; }
teardown() { common_teardown; }

@test "exec passes output, exit status and stdin" {
	start_sleeper
	run --separate-stderr rt exec "$ID" sh -c 'read x; echo "got $x"; echo oops >&2; exit 43' <<<hi
	status_is 43
	out_is "got hi"
	err_has oops
}

@test "exec reports a signal as 128 + its number" {
	start_sleeper
	run_rt exec "$ID" sh -c 'kill -9 $$'
	status_is 137
}

@test "exec joins every namespace, the root file system and the group" {
	needs_cgroup pids
	start_sleeper
	local init ns
	init=$(rt state "$ID" | jq .pid)
	for ns in mnt pid net ipc uts; do
		run_rt exec "$ID" readlink "/proc/self/ns/$ns"
		out_is "$(readlink "/proc/$init/ns/$ns")"
	done
	run_rt exec "$ID" cat /etc/hostname
	out_is Vivarium
	run_rt exec "$ID" grep pids: /proc/self/cgroup
	[[ $(grep pids: "/proc/$init/cgroup") == *"${output##*:}" ]]
}

@test "exec takes environment, user, groups, cwd from its flags, and the rest from the configuration" {
	config '.process.env += ["FROM_CONFIG=1"]'
	start_sleeper
	run_rt exec --env A=b --env EMPTY= --cwd /tmp --user 1000:5 --additional-gids 7 --additional-gids 8 "$ID" \
		sh -c 'echo "$A,${EMPTY-unset},$FROM_CONFIG,$(pwd),$(id -u),$(id -g),$(id -G)"'
	ok
	out_is "b,,1,/tmp,1000,5,5 7 8"
	run_rt exec --user 1000 "$ID" sh -c 'id -u; id -g'
	out_is $'1000\n0'
	run_rt exec --user nonsense "$ID" true
	failed
}

@test "exec --cap adds capabilities" {
	config '.process.capabilities = {bounding: ["CAP_KILL"], effective: ["CAP_KILL"], permitted: ["CAP_KILL"]}'
	start_sleeper
	run_rt exec "$ID" grep CapEff /proc/self/status
	out_has 0000000000000020
	run_rt exec --cap CAP_CHOWN "$ID" grep CapEff /proc/self/status
	out_has 0000000000000021
}

@test "exec --no-new-privs" {
	config '.process.noNewPrivileges = false'
	start_sleeper
	run_rt exec "$ID" grep NoNewPrivs /proc/self/status
	out_has $'\t0'
	run_rt exec --no-new-privs "$ID" grep NoNewPrivs /proc/self/status
	out_has $'\t1'
}

@test "exec --process takes a whole process from a file" {
	start_sleeper
	jq '.process | .args = ["sh", "-c", "echo $V; pwd; exit 5"] | .env += ["V=w"] | .cwd = "/etc"' config.json >process.json
	run_rt exec --process process.json "$ID"
	status_is 5
	out_is $'w\n/etc'
	echo '{' >process.json
	run_rt exec -p process.json "$ID"
	failed
	run_rt exec -p nosuch.json "$ID"
	failed
}

@test "exec --detach and --pid-file" {
	start_sleeper
	rt exec --detach --pid-file pid "$ID" sleep 2000
	[[ $(tr '\0' ' ' <"/proc/$(<pid)/cmdline") == "sleep 2000 " ]]
}

@test "exec: a command that does not exist, that is not executable, a directory" {
	start_sleeper
	run_rt exec "$ID" nosuch
	failed
	err_has nosuch
	run_rt exec "$ID" /etc/passwd
	failed
	run_rt exec "$ID" /etc
	failed
	run_rt exec --cwd /nosuch "$ID" true
	failed
	is_state "$ID" running
}

@test "exec needs a running container" {
	run_rt exec nosuch true
	failed
	rt create "$ID" </dev/null >out.log 2>&1
	rt start "$ID"
	wait_for 5 is_state "$ID" stopped
	run_rt exec "$ID" true
	failed
}

@test "exec without a command is a usage error" {
	start_sleeper
	run_rt exec "$ID"
	failed
}

@test "exec into a created container sees its init waiting" {
	rt create "$ID" </dev/null >out.log 2>&1
	run_rt exec "$ID" cat /etc/hostname
	ok
	out_is Vivarium
	is_state "$ID" created
}

@test "exec --preserve-fds" {
	cp "$TOOLS/fdlist" rootfs/bin/
	start_sleeper
	run --separate-stderr rt exec --preserve-fds 1 "$ID" fdlist 3</dev/zero 4</dev/null </dev/null
	ok
	[[ $(grep -c '^[0-9]' <<<"$output") -eq 4 ]] || fail "$output"
	grep -q '^3 .*zero$' <<<"$output"
}

@test "exec has the seccomp filter, rlimits and oom score of the container" {
	config '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", architectures: ["SCMP_ARCH_X86_64"],
			syscalls: [{names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 5}]}
		| .process.rlimits = [{type: "RLIMIT_NOFILE", soft: 77, hard: 78}] | .process.oomScoreAdj = 500'
	start_sleeper
	run_rt exec "$ID" mkdir /tmp/x
	failed
	run_rt exec "$ID" sh -c 'ulimit -n; cat /proc/self/oom_score_adj'
	out_is $'77\n500'
}

@test "exec counts against the container's limits" {
	needs_cgroup pids
	config '.linux.resources.pids.limit = 3'
	start_sleeper
	run_rt exec "$ID" sh -c 'for i in 1 2 3 4 5; do sleep 1 & done; wait'
	failed
}

@test "20 execs at once" {
	local i pids=()
	start_sleeper
	for i in {1..20}; do
		rt exec "$ID" sh -c "exit $i" </dev/null >/dev/null 2>&1 &
		pids+=($!)
	done
	for i in {1..20}; do
		run wait "${pids[i - 1]}"
		local rc=0
		wait "${pids[i - 1]}" || rc=$?
		[[ $rc -eq $i ]] || fail "exec $i ended with $rc"
	done
}

@test "exec does not disturb the terminal-less session of its caller" {
	start_sleeper
	run_rt exec "$ID" sh -c 'cat /proc/self/stat'
	ok
	[[ $(cut -d' ' -f7 <<<"$output") -eq 0 ]]
}
