#!/usr/bin/env bats
# Control groups v2 with every controller, made through cgroupfs. Runs in the guest.

load lib.bash

@test "limits arrive in the controllers' files" {
	sh_bundle 'sleep 1000' '.linux.cgroupsPath = "/" + $id | .linux.resources += {
		memory: {limit: 67108864, reservation: 33554432, swap: 100663296},
		cpu: {quota: 50000, period: 100000, burst: 10000, cpus: "0", mems: "0"},
		pids: {limit: 32}}'
	start
	local g=$CG/$ID
	file_is $g/memory.max 67108864
	file_is $g/memory.low 33554432
	file_is $g/memory.swap.max 33554432
	file_is $g/cpu.max "50000 100000"
	file_is $g/cpuset.cpus 0
	file_is $g/cpuset.cpus.effective 0
	file_is $g/cpuset.mems 0
	file_is $g/pids.max 32
}

@test "cpu.max.burst is set" {
	sh_bundle 'sleep 1000' '.linux.cgroupsPath = "/" + $id |
		.linux.resources.cpu = {quota: 50000, period: 100000, burst: 10000}'
	start
	file_is $CG/$ID/cpu.max.burst 10000
}

@test "cpu.idle is set" {
	sh_bundle 'sleep 1000' '.linux.cgroupsPath = "/" + $id | .linux.resources.cpu.idle = 1'
	start
	file_is $CG/$ID/cpu.idle 1
}

@test "cpu shares become a weight that keeps their order" {
	sh_bundle 'sleep 1000' '.linux.cgroupsPath = "/" + $id | .linux.resources.cpu.shares = 2'
	start
	file_is $CG/$ID/cpu.weight 1
	rt update --cpu-share 262144 "$ID"
	file_is $CG/$ID/cpu.weight 10000
	rt update --cpu-share 512 "$ID"
	local low
	low=$(cat $CG/$ID/cpu.weight)
	rt update --cpu-share 2048 "$ID"
	[ "$low" -gt 1 ]
	[ "$low" -lt "$(cat $CG/$ID/cpu.weight)" ]
}

@test "block I/O limits arrive in io.max" {
	local dev
	dev=$(cat /sys/block/vda/dev)
	sh_bundle 'sleep 1000' '.linux.cgroupsPath = "/" + $id | ($dev | split(":") | map(tonumber)) as $d |
		.linux.resources.blockIO = {
			throttleReadBpsDevice: [{major: $d[0], minor: $d[1], rate: 1048576}],
			throttleWriteBpsDevice: [{major: $d[0], minor: $d[1], rate: 2097152}],
			throttleReadIOPSDevice: [{major: $d[0], minor: $d[1], rate: 100}],
			throttleWriteIOPSDevice: [{major: $d[0], minor: $d[1], rate: 200}]}' --arg dev "$dev"
	start
	file_is $CG/$ID/io.max "$dev rbps=1048576 wbps=2097152 riops=100 wiops=200"
}

@test "huge pages are limited" {
	sh_bundle 'sleep 1000' '.linux.cgroupsPath = "/" + $id |
		.linux.resources.hugepageLimits = [{pageSize: "2MB", limit: 4194304}]'
	start
	file_is $CG/$ID/hugetlb.2MB.max 4194304
}

@test "unified keys are written as they are" {
	sh_bundle 'sleep 1000' '.linux.cgroupsPath = "/" + $id |
		.linux.resources.unified = {"memory.high": "41943040", "pids.max": "77"}'
	start
	file_is $CG/$ID/memory.high 41943040
	file_is $CG/$ID/pids.max 77
}

@test "an unknown unified key is refused and nothing stays" {
	sh_bundle 'sleep 1000' '.linux.cgroupsPath = "/" + $id | .linux.resources.unified = {"memory.nonsense": "1"}'
	run rt create --bundle "$BUNDLE" "$ID"
	[ "$status" -ne 0 ]
	[[ $output == *memory.nonsense* ]]
	[ ! -e $CG/$ID ]
	run rt state "$ID"
	[ "$status" -ne 0 ]
}

@test "a limit that the kernel refuses fails the start and nothing stays" {
	sh_bundle 'sleep 1000' '.linux.cgroupsPath = "/" + $id | .linux.resources.cpu.cpus = "900-901"'
	run rt run --bundle "$BUNDLE" "$ID"
	[ "$status" -ne 0 ]
	[[ $output == *cpuset* ]]
	[ ! -e $CG/$ID ]
}

@test "a nested path gets its controllers all the way down" {
	sh_bundle 'sleep 1000' '.linux.cgroupsPath = "/viv-\($id)/a/b" | .linux.resources.memory.limit = 67108864'
	start
	file_is "$CG/viv-$ID/a/b/memory.max" 67108864
	rt delete --force "$ID"
	[ ! -e "$CG/viv-$ID/a/b" ]
	rmdir "$CG/viv-$ID/a" "$CG/viv-$ID" 2>/dev/null || true
}

@test "without a path the container still has a group of its own, and it goes away" {
	sh_bundle 'sleep 1000' '.linux.resources.pids.limit = 9'
	start
	local g
	g=$(cgroup_of "$PID")
	[ "$g" != "$(cgroup_of $$)" ]
	file_is "$g/pids.max" 9
	rt delete --force "$ID"
	[ ! -e "$g" ]
}

@test "the process is born in its group" {
	[[ $RUNTIME == */viv* ]] || skip "about viv alone"
	sh_bundle 'true' '.linux.cgroupsPath = "/" + $id'
	strace -f -qq -e trace=clone3,write,openat -o "$BATS_TEST_TMPDIR/trace" "$RUNTIME" --root "$STATE" run \
		--bundle "$BUNDLE" "$ID"
	grep -q 'clone3(.*CLONE_INTO_CGROUP' "$BATS_TEST_TMPDIR/trace"
	! grep 'cgroup.procs' "$BATS_TEST_TMPDIR/trace"
}

@test "inside, the group is the root and shows its own limits, read-only" {
	sh_bundle 'cat /proc/self/cgroup /sys/fs/cgroup/memory.max; ! echo 1 2>/dev/null >/sys/fs/cgroup/memory.max' \
		'.linux.resources.memory.limit = 67108864'
	run rt run --bundle "$BUNDLE" "$ID"
	equal output "$output" "0::/
67108864"
	equal status "$status" 0
}

@test "without a cgroup namespace the container finds its group below the mount" {
	sh_bundle 'p=$(sed s/0::// /proc/self/cgroup); echo $p; cat /sys/fs/cgroup$p/memory.max' \
		'.linux.cgroupsPath = "/" + $id | .linux.resources.memory.limit = 67108864 |
		.linux.namespaces |= map(select(.type != "cgroup"))'
	run rt run --bundle "$BUNDLE" "$ID"
	equal output "$output" "/$ID
67108864"
}

@test "a writable cgroup mount lets the container make groups, and delete removes them" {
	sh_bundle 'mkdir -p /sys/fs/cgroup/a/b && echo made; sleep 1000' '.linux.cgroupsPath = "/" + $id |
		(.mounts[] | select(.type == "cgroup").options) = ["rw"]'
	start
	until_true [ -d $CG/$ID/a/b ]
	rt kill "$ID" KILL
	until_true stopped
	rt delete "$ID"
	[ ! -e $CG/$ID ]
}

@test "pause freezes, resume thaws" {
	sh_bundle 'while :; do sleep 0.1; done' '.linux.cgroupsPath = "/" + $id'
	start
	rt pause "$ID"
	file_is $CG/$ID/cgroup.freeze 1
	grep -qx 'frozen 1' $CG/$ID/cgroup.events
	equal status "$(status)" paused
	rt resume "$ID"
	file_is $CG/$ID/cgroup.freeze 0
	equal status "$(status)" running
}

@test "exec into a paused container is refused" {
	sh_bundle 'sleep 1000' '.linux.cgroupsPath = "/" + $id'
	start
	rt pause "$ID"
	run timeout 10 "$RUNTIME" --root "$STATE" exec "$ID" true
	[ "$status" -ne 0 ]
	[ "$status" -ne 124 ]
}

@test "a paused container can be killed and deleted" {
	sh_bundle 'sleep 1000' '.linux.cgroupsPath = "/" + $id'
	start
	rt pause "$ID"
	rt delete --force "$ID"
	[ ! -e "/proc/$PID" ]
	[ ! -e $CG/$ID ]
}

@test "kill --all reaches every process of a container in the host's pid namespace" {
	sh_bundle 'sleep 1000 & sleep 1000 & setsid sleep 1000 & sleep 1000 & wait' '.linux.cgroupsPath = "/" + $id |
		.linux.namespaces |= map(select(.type != "pid"))'
	start
	until_true procs_are 5
	rt kill --all "$ID" KILL
	until_true grep -qx 'populated 0' $CG/$ID/cgroup.events
}

@test "when init ends in the host's pid namespace, delete takes the rest along" {
	sh_bundle 'sleep 1000 & sleep 1000 & exit 0' '.linux.cgroupsPath = "/" + $id |
		.linux.namespaces |= map(select(.type != "pid"))'
	start
	until_true stopped
	rt delete --force "$ID"
	[ ! -e $CG/$ID ]
}

@test "ps lists the group's processes" {
	sh_bundle 'sleep 1000 & sleep 1000 & wait' '.linux.cgroupsPath = "/" + $id'
	start
	until_true procs_are 3
	equal pids "$(rt ps --format json "$ID" | jq -c sort)" "$(jq -sc sort $CG/$ID/cgroup.procs)"
}

@test "too many processes are denied" {
	sh_bundle 'i=0; while [ $i -lt 20 ]; do sleep 1000 & i=$((i + 1)); done' '.linux.cgroupsPath = "/" + $id |
		.linux.resources.pids.limit = 8'
	start
	until_true stopped
	file_is $CG/$ID/pids.max 8
	[ "$(sed -n 's/^max //p' $CG/$ID/pids.events)" -gt 0 ]
}

@test "a cpu quota slows the container down" {
	sh_bundle 'while :; do :; done' '.linux.cgroupsPath = "/" + $id | .linux.resources.cpu = {quota: 10000, period: 100000}'
	start
	sleep 1
	[ "$(sed -n 's/^nr_throttled //p' $CG/$ID/cpu.stat)" -gt 0 ]
}

@test "update from standard input changes what it names and keeps the rest" {
	sh_bundle 'sleep 1000' '.linux.cgroupsPath = "/" + $id |
		.linux.resources += {memory: {limit: 67108864}, pids: {limit: 20}}'
	start
	echo '{"memory": {"limit": 33554432}, "cpu": {"quota": 20000, "period": 50000}}' | rt update --resources - "$ID"
	file_is $CG/$ID/memory.max 33554432
	file_is $CG/$ID/cpu.max "20000 50000"
	file_is $CG/$ID/pids.max 20
}

@test "update by flags" {
	sh_bundle 'sleep 1000' '.linux.cgroupsPath = "/" + $id'
	start
	rt update --memory 50331648 --memory-reservation 16777216 --pids-limit 44 --cpuset-cpus 1 "$ID"
	file_is $CG/$ID/memory.max 50331648
	file_is $CG/$ID/memory.low 16777216
	file_is $CG/$ID/pids.max 44
	file_is $CG/$ID/cpuset.cpus 1
}

@test "exec joins the group" {
	sh_bundle 'sleep 1000' '.linux.cgroupsPath = "/" + $id'
	start
	run rt exec "$ID" cat /proc/self/cgroup
	equal output "$output" "0::/"
	rt exec --detach --pid-file "$BATS_TEST_TMPDIR/execpid" "$ID" sleep 1000
	equal group "$(cgroup_of "$(cat "$BATS_TEST_TMPDIR/execpid")")" $CG/$ID
}

@test "exec follows init into a sub-group when the group itself may hold no process" {
	sh_bundle 'mkdir /sys/fs/cgroup/init && echo 1 >/sys/fs/cgroup/init/cgroup.procs &&
		echo +pids >/sys/fs/cgroup/cgroup.subtree_control && sleep 1000' '.linux.cgroupsPath = "/" + $id |
		(.mounts[] | select(.type == "cgroup").options) = ["rw"]'
	start
	until_true grep -q pids $CG/$ID/cgroup.subtree_control
	run rt exec "$ID" cat /proc/self/cgroup
	equal output "$output" "0::/init"
}

@test "exec --cgroup goes where it is told" {
	sh_bundle 'mkdir /sys/fs/cgroup/sub && sleep 1000' '.linux.cgroupsPath = "/" + $id |
		(.mounts[] | select(.type == "cgroup").options) = ["rw"]'
	start
	until_true [ -d $CG/$ID/sub ]
	run rt exec --cgroup sub "$ID" cat /proc/self/cgroup
	equal output "$output" "0::/sub"
}

@test "out of memory: the container dies, events says why" {
	sh_bundle 'while [ ! -e /tmp/go ]; do sleep 0.1; done; tail /dev/zero; sleep 1000' \
		'.linux.cgroupsPath = "/" + $id | .linux.resources.memory = {limit: 16777216, swap: 16777216}'
	start
	rt events "$ID" >"$BATS_TEST_TMPDIR/events" 2>&1 3>&- &
	local events=$!
	sleep 1
	rt exec "$ID" touch /tmp/go
	until_true grep -q '"type":"oom"' "$BATS_TEST_TMPDIR/events"
	[ "$(sed -n 's/^oom_kill //p' $CG/$ID/memory.events)" -gt 0 ]
	kill $events
	equal id "$(jq -r 'select(.type == "oom").id' "$BATS_TEST_TMPDIR/events" | sort -u)" "$ID"
}

@test "events --stats agrees with the files" {
	sh_bundle 'sleep 1000 & sleep 1000 & wait' '.linux.cgroupsPath = "/" + $id |
		.linux.resources += {memory: {limit: 67108864}, pids: {limit: 20}}'
	start
	until_true procs_are 3
	rt events --stats "$ID" >"$BATS_TEST_TMPDIR/stats"
	run jq -c '[.type, .id, .data.pids.current, .data.pids.limit, .data.memory.usage.limit,
		.data.memory.usage.usage > 0, .data.cpu.usage.total > 0]' "$BATS_TEST_TMPDIR/stats"
	equal stats "$output" "[\"stats\",\"$ID\",3,20,67108864,true,true]"
}

@test "a group that has processes is refused" {
	[[ $RUNTIME == */viv* ]] || skip "about viv alone"
	mkdir "$CG/$ID"
	sleep 1000 3>&- &
	local other=$!
	echo $other >"$CG/$ID/cgroup.procs"
	sh_bundle 'true' '.linux.cgroupsPath = "/" + $id'
	run rt run --bundle "$BUNDLE" "$ID"
	file_is "$CG/$ID/cgroup.procs" $other
	kill $other
	wait $other || true
	rmdir "$CG/$ID"
	[ "$status" -ne 0 ]
}

@test "two dozen containers at once leave no group behind" {
	sh_bundle 'true'
	local i pids=()
	for ((i = 0; i < 24; i++)); do
		rt run --bundle "$BUNDLE" "$ID-$i" 3>&- &
		pids+=($!)
	done
	for i in "${pids[@]}"; do wait "$i"; done
}
