#!/usr/bin/env bats
# kill and delete: signals by name and number, every state, and that nothing stays.
load helpers

setup_file() { common_setup_file; }
setup() { common_setup; }
teardown() { common_teardown; }

@test "kill: signals by name, short name and number; TERM is the default" {
	local sig
	for sig in USR1 SIGUSR1 10 usr1 ""; do
		sh_args 'trap "echo usr1 >/tmp/got; exit" USR1; trap "echo term >/tmp/got; exit" TERM; touch /tmp/ready; while :; do sleep 0.02; done'
		rm -f rootfs/tmp/ready rootfs/tmp/got
		rt create "$ID" </dev/null >out.log 2>&1
		rt start "$ID"
		wait_for 5 test -e rootfs/tmp/ready
		rt kill "$ID" $sig
		wait_for 5 is_state "$ID" stopped
		[[ $(<rootfs/tmp/got) == "$([[ $sig ]] && echo usr1 || echo term)" ]]
		rt delete "$ID"
	done
}

@test "kill: an unknown signal, an unknown container" {
	start_sleeper
	run_rt kill "$ID" NONSENSE
	failed
	run_rt kill "$ID" 999
	failed
	is_state "$ID" running
	run_rt kill nosuch KILL
	failed
}

@test "kill of a created container" {
	rt create "$ID" </dev/null >out.log 2>&1
	rt kill "$ID" KILL
	wait_for 5 is_state "$ID" stopped
}

@test "kill of a stopped container fails" {
	rt create "$ID" </dev/null >out.log 2>&1
	rt start "$ID"
	wait_for 5 is_state "$ID" stopped
	run_rt kill "$ID" TERM
	failed
}

@test "kill KILL without a pid namespace of its own takes every process" {
	config '.linux.namespaces |= map(select(.type != "pid"))'
	sh_args 'sleep 3000 & sleep 3000 & wait'
	rt create "$ID" </dev/null >out.log 2>&1
	rt start "$ID"
	wait_for 5 eval '[[ $(rt ps --format json "$ID" | jq length) -eq 3 ]]'
	rt kill "$ID" KILL
	wait_for 5 eval '[[ ! $(leftovers | grep ^process) ]]'
}

@test "kill KILL of a paused container" {
	needs_cgroup freezer
	start_sleeper
	rt pause "$ID"
	rt kill "$ID" KILL
	wait_for 5 is_state "$ID" stopped
}

@test "delete: stopped goes, running stays, --force takes it, gone is an error except with --force" {
	start_sleeper
	run_rt delete "$ID"
	failed
	is_state "$ID" running
	run_rt delete --force "$ID"
	ok
	[[ -z $(leftovers) ]]
	run_rt delete "$ID"
	failed
	run_rt delete --force "$ID"
	ok
}

@test "delete of a created container, after kill and by force" {
	rt create "$ID" </dev/null >out.log 2>&1
	run_rt delete --force "$ID"
	ok
	[[ -z $(leftovers) ]]
}

@test "delete --force of a paused container" {
	needs_cgroup freezer
	start_sleeper
	rt pause "$ID"
	run_rt delete --force "$ID"
	ok
	[[ -z $(leftovers) ]]
}

@test "delete takes processes along that exec started and that outlived init" {
	config '.linux.namespaces |= map(select(.type != "pid"))'
	start_sleeper
	rt exec -d "$ID" sleep 2000
	kill -9 "$(rt state "$ID" | jq .pid)"
	wait_for 5 is_state "$ID" stopped
	run_rt delete --force "$ID"
	ok
	[[ -z $(leftovers) ]]
}

@test "delete removes groups that the container made inside its own" {
	needs_cgroup pids
	start_sleeper
	mkdir "$CG/viv-test/$ID/inner" "$CG/viv-test/$ID/inner/more"
	run_rt delete --force "$ID"
	ok
	[[ ! -e $CG/viv-test/$ID ]]
}

@test "the same id may be used again at once" {
	local i
	for i in 1 2 3 4 5; do
		run_rt run "$ID"
		ok
	done
}
