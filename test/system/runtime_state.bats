#!/usr/bin/env bats
# state, list, ps, pause, resume, update's refusal, events, spec, features: what the runtime tells.
load helpers

setup_file() { common_setup_file; }
setup() { common_setup; }
teardown() { common_teardown; }

@test "state has the fields of the specification, and runc's" {
	config '.annotations = {"org.example.a": "b"}'
	start_sleeper
	run_rt state "$ID"
	ok
	jq -e --arg id "$ID" --arg b "$BUNDLE" '.id == $id and .status == "running" and .bundle == $b
		and .pid > 1 and (.ociVersion | startswith("1.")) and .annotations["org.example.a"] == "b"
		and .rootfs == $b + "/rootfs" and (.created | test("^20..-..-..T..:..:..")) and has("owner")' <<<"$output"
	[[ $(tr '\0' ' ' <"/proc/$(jq .pid <<<"$output")/cmdline") == "sleep 1000 " ]]
}

@test "a stopped container has pid 0" {
	rt create "$ID" </dev/null >out.log 2>&1
	rt start "$ID"
	wait_for 5 is_state "$ID" stopped
	[[ $(rt state "$ID" | jq .pid) -eq 0 ]]
}

@test "a container whose init was killed behind our back is stopped" {
	start_sleeper
	kill -9 "$(rt state "$ID" | jq .pid)"
	wait_for 5 is_state "$ID" stopped
}

@test "state beside a create says creating or created, never stopped" {
	local i j seen
	for i in 1 2 3 4 5; do
		rt create "$ID" </dev/null >out.log 2>&1 3>&- &
		for j in {1..15}; do
			seen+=" $(rt state "$ID" 2>/dev/null | jq -r .status)"
		done
		wait
		rt delete --force "$ID"
	done
	[[ $seen == *created* && $seen != *stopped* ]] || fail "$seen"
}

@test "a pid that is used again by another process is not the container" {
	needs_viv
	start_sleeper
	local file pid
	pid=$(rt state "$ID" | jq .pid)
	file=$(grep -rl "$pid" "$ROOT/$ID" | head -1)
	[[ $file ]]
	rt kill "$ID" KILL
	wait_for 5 is_state "$ID" stopped
	# The record names a live process now, of another start time.
	sed -i "s/\b$pid\b/$$/g" "$file"
	is_state "$ID" stopped
}

@test "list: table, JSON, quiet" {
	run_rt list -q
	out_is ""
	start_sleeper
	run_rt list
	ok
	[[ $output =~ ID.*PID.*STATUS.*BUNDLE.*CREATED.*OWNER ]]
	out_has "$ID"
	out_has running
	run_rt list -q
	out_is "$ID"
	run_rt list --format json
	jq -e --arg id "$ID" 'length == 1 and .[0].id == $id and .[0].status == "running"' <<<"$output"
	run_rt list -f nonsense
	failed
}

@test "ps: the container's processes, as host pids" {
	start_sleeper
	rt exec -d "$ID" sleep 2000
	run_rt ps --format json "$ID"
	ok
	jq -e 'length == 2' <<<"$output"
	local pid
	for pid in $(jq '.[]' <<<"$output"); do
		grep -q sleep "/proc/$pid/cmdline"
	done
	run_rt ps "$ID"
	ok
	out_has "sleep 1000"
	out_has "sleep 2000"
	run_rt ps "$ID" -o pid,comm
	ok
	out_has sleep
}

@test "pause stops every process, resume lets them go on" {
	needs_cgroup freezer
	sh_args 'while :; do echo x >>/tmp/beat; sleep 0.02; done'
	rt create "$ID" </dev/null >out.log 2>&1
	rt start "$ID"
	wait_for 5 test -s rootfs/tmp/beat
	rt pause "$ID"
	is_state "$ID" paused
	local n
	n=$(wc -c <rootfs/tmp/beat)
	sleep 0.2
	[[ $(wc -c <rootfs/tmp/beat) -eq $n ]]
	run_rt exec "$ID" true
	failed
	rt resume "$ID"
	is_state "$ID" running
	wait_for 5 test "$(wc -c <rootfs/tmp/beat)" -ge "$n"
	run_rt resume "$ID"
	failed
}

@test "pause of a created container works, of a stopped one does not" {
	needs_cgroup freezer
	rt create "$ID" </dev/null >out.log 2>&1
	rt start "$ID"
	wait_for 5 is_state "$ID" stopped
	run_rt pause "$ID"
	failed
}

@test "events --stats prints one line of figures" {
	needs_cgroup memory
	start_sleeper
	run_rt events --stats "$ID"
	ok
	jq -e --arg id "$ID" '.type == "stats" and .id == $id and .data.pids.current == 1
		and .data.memory.usage.usage > 0 and .data.cpu.usage.total >= 0' <<<"$output"
}

@test "events goes on until the container ends" {
	needs_cgroup memory
	start_sleeper
	rt events --interval 100ms "$ID" >events.log 2>/dev/null 3>&- &
	local pid=$!
	wait_for 5 eval '[[ $(wc -l <events.log) -ge 2 ]]'
	jq -e .data.pids events.log >/dev/null
	rt delete --force "$ID"
	wait_for 5 eval "! kill -0 $pid"
}

@test "events reports that the OOM killer came" {
	needs_cgroup memory
	config '.linux.resources.memory = {limit: 8388608, swap: 8388608}'
	sh_args 'read x </tmp/go; dd if=/dev/zero of=/dev/null bs=64M count=1; sleep 5'
	mkfifo rootfs/tmp/go
	rt create "$ID" </dev/null >out.log 2>&1
	rt start "$ID"
	rt events --interval 1m "$ID" >events.log 2>/dev/null 3>&- &
	sleep 0.3
	echo >rootfs/tmp/go
	wait_for 10 grep -q '"oom"' events.log
	rt delete --force "$ID"
	wait
}

@test "spec writes a bundle that runs; it does not overwrite one" {
	mkdir "$BATS_TEST_TMPDIR/new"
	cd "$BATS_TEST_TMPDIR/new"
	rt spec
	jq -e '.process.args == ["sh"] and .root.path == "rootfs" and .process.terminal' config.json
	run_rt spec
	failed
	run_rt spec --bundle "$BATS_TEST_TMPDIR/new"
	failed
}

@test "spec --rootless maps the caller to root" {
	rm config.json
	rt spec --rootless
	jq -e --argjson u "$(id -u)" '.linux.uidMappings[0] == {containerID: 0, hostID: $u, size: 1}
		and any(.linux.namespaces[]; .type == "user") and all(.linux.namespaces[]; .type != "network")' config.json
}

@test "features describes what this build can do" {
	is_viv || "${RT[@]}" features >/dev/null 2>&1 || skip "no features"
	run_rt features
	ok
	jq -e '(.ociVersionMax | startswith("1.")) and (.hooks | index("createRuntime"))
		and (.mountOptions | index("rbind")) and (.linux.namespaces | index("mount"))
		and (.linux.capabilities | index("CAP_CHOWN")) and .linux.cgroup.v1
		and (.linux.seccomp.actions | index("SCMP_ACT_ERRNO"))' <<<"$output"
}

@test "--version and --help" {
	run "${RT[@]}" --version
	ok
	out_has "spec: 1."
	run "${RT[@]}" --help
	ok
	out_has create
	run "${RT[@]}" run --help
	ok
	out_has "--bundle"
}

@test "--log writes there, in text and in JSON" {
	local format
	for format in text json; do
		run --separate-stderr rt --log "$BATS_TEST_TMPDIR/log.$format" --log-format "$format" start nosuch
		failed
		[[ -s $BATS_TEST_TMPDIR/log.$format ]]
	done
	jq -e '.level == "error" and (.msg | length > 0) and has("time")' "$BATS_TEST_TMPDIR/log.json"
	grep -q 'level=error msg=' "$BATS_TEST_TMPDIR/log.text"
}
