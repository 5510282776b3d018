#!/usr/bin/env bats
# runtime-spec config-linux.md, resources, and the commands that use the control group, on cgroup v1: that a limit is in
# its file, and that the kernel keeps it. v2 runs in the guest.
load helpers

setup_file() { common_setup_file; }
setup() {
	needs_root
	common_setup
}
teardown() { common_teardown; }

# value CONTROLLER FILE: of the container's group
value() {
	needs_cgroup "$1"
	cat "$CG/viv-test/$ID/$2"
}

resources() { config ".linux.resources = $1"; }

@test "the init is in the container's group of every controller from its first instruction" {
	local c
	args cat /proc/self/cgroup
	run_rt run "$ID"
	ok
	for c in cpu memory pids devices freezer; do
		needs_cgroup "$c"
		grep -Eq "[:,]$c(,[a-z_,]+)?:/viv-test/$ID\$" <<<"$output" || fail "$c: $output"
	done
}

@test "memory: the limit kills what exceeds it" {
	needs_cgroup memory
	resources '{memory: {limit: 16777216, swap: 16777216, reservation: 8388608}}'
	sh_args 'dd if=/dev/zero of=/dev/null bs=64M count=1; echo survived $?'
	run_rt run "$ID"
	out_lacks "survived 0"
	start_sleeper
	[[ $(value memory memory.limit_in_bytes) -eq 16777216 ]]
	[[ $(value memory memory.soft_limit_in_bytes) -eq 8388608 ]]
}

@test "cpu: shares, quota and period; the quota holds" {
	needs_cgroup cpu
	resources '{cpu: {shares: 512, quota: 10000, period: 100000}}'
	start_sleeper
	[[ $(value cpu cpu.shares) -eq 512 ]]
	[[ $(value cpu cpu.cfs_quota_us) -eq 10000 ]]
	[[ $(value cpu cpu.cfs_period_us) -eq 100000 ]]
	run_rt exec "$ID" timeout 1 sh -c 'while :; do :; done'
	[[ $(value cpu cpu.stat | awk '$1 == "nr_throttled" { print $2 }') -gt 2 ]]
}

@test "cpuset" {
	resources '{cpu: {cpus: "0", mems: "0"}}'
	needs_cgroup cpuset
	args grep Cpus_allowed_list /proc/self/status
	run_rt run "$ID"
	out_is $'Cpus_allowed_list:\t0'
}

@test "pids: the limit refuses a fork" {
	needs_cgroup pids
	resources '{pids: {limit: 4}}'
	sh_args 'for i in 1 2 3 4 5 6; do sleep 0.2 & done; wait'
	run_rt run "$ID"
	failed
	[[ $stderr == *fork* ]] || fail "$stderr"
}

@test "blkio: weight where the kernel has it, throttling by device" {
	needs_cgroup blkio
	local dev
	dev=$(lsblk -dnro MAJ:MIN 2>/dev/null | head -n 1)
	[[ $dev ]] || skip "no block device"
	config '.linux.resources = {blockIO: {throttleReadBpsDevice: [{major: $a, minor: $b, rate: 1048576}]}}' \
		--argjson a "${dev%:*}" --argjson b "${dev#*:}"
	start_sleeper
	[[ $(value blkio blkio.throttle.read_bps_device) == "$dev 1048576" ]]
}

@test "devices: only what is allowed can be opened or made" {
	needs_cgroup devices
	resources '{devices: [{allow: false, access: "rwm"}, {allow: true, type: "c", major: 1, minor: 8, access: "r"}]}'
	config '.process.capabilities |= map_values(. + ["CAP_MKNOD"])'
	# 1:8 is asked for, 1:3 always there; 1:11 is /dev/kmsg; a block device is refused altogether.
	sh_args 'head -c1 /dev/random >/dev/null && echo random
		mknod /tmp/null c 1 3 && echo x >/tmp/null && echo null
		mknod /tmp/kmsg c 1 11; head -c1 /tmp/kmsg || echo no kmsg
		mknod /tmp/ram b 1 0; head -c1 /tmp/ram || echo no ram'
	run_rt run "$ID"
	out_is $'random\nnull\nno kmsg\nno ram'
	[[ $stderr == *"not permitted"* ]]
}

@test "devices: everything, when everything is allowed" {
	needs_cgroup devices
	resources '{devices: [{allow: true, access: "rwm"}]}'
	start_sleeper
	[[ $(value devices devices.list) == "a *:* rwm" ]]
}

@test "a limit that the kernel refuses names its file and leaves nothing" {
	needs_cgroup cpuset
	resources '{cpu: {cpus: "4000"}}'
	run_rt run "$ID"
	failed
	err_has cpuset.cpus
}

@test "update by flags and by file, of a running and of a paused container" {
	needs_cgroup memory
	resources '{memory: {limit: 67108864}, pids: {limit: 20}, cpu: {shares: 100}}'
	start_sleeper
	rt update --memory 33554432 --pids-limit 11 --cpu-share 77 "$ID"
	[[ $(value memory memory.limit_in_bytes) -eq 33554432 ]]
	[[ $(value pids pids.max) -eq 11 ]]
	[[ $(value cpu cpu.shares) -eq 77 ]]
	echo '{"memory": {"limit": 50331648}, "cpu": {"quota": 40000, "period": 50000}}' >r.json
	rt update --resources r.json "$ID"
	[[ $(value memory memory.limit_in_bytes) -eq 50331648 ]]
	[[ $(value cpu cpu.cfs_quota_us) -eq 40000 ]]
	rt update -r - "$ID" <<<'{"pids": {"limit": 9}}'
	[[ $(value pids pids.max) -eq 9 ]]
	rt pause "$ID"
	rt update --pids-limit 8 "$ID"
	is_state "$ID" paused
	[[ $(value pids pids.max) -eq 8 ]]
	rt resume "$ID"
}

@test "update: devices and other limits stay, bad values change nothing" {
	resources '{memory: {limit: 67108864}, devices: [{allow: false, access: "rwm"}]}'
	needs_cgroup devices
	start_sleeper
	local before
	before=$(value devices devices.list)
	rt update --pids-limit 11 "$ID"
	[[ $(value devices devices.list) == "$before" ]]
	[[ $(value memory memory.limit_in_bytes) -eq 67108864 ]]
	run_rt update --memory nonsense "$ID"
	failed
	run_rt update -r - "$ID" <<<'{'
	failed
	run_rt update --memory 33554432 nosuch
	failed
	[[ $(value memory memory.limit_in_bytes) -eq 67108864 ]]
}

@test "events --stats has what the groups say" {
	needs_cgroup memory
	resources '{memory: {limit: 67108864}, pids: {limit: 20}}'
	start_sleeper
	run_rt events --stats "$ID"
	ok
	jq -e --arg id "$ID" '.type == "stats" and .id == $id and .data.pids == {current: 1, limit: 20}
		and .data.memory.usage.limit == 67108864 and .data.memory.usage.usage > 0 and .data.cpu.usage.total > 0' <<<"$output"
}

@test "cgroupsPath: relative, missing, and one that climbs" {
	needs_cgroup pids
	config 'del(.linux.cgroupsPath)'
	args cat /proc/self/cgroup
	run_rt run "$ID"
	ok
	out_has "/$ID"
	config '.linux.cgroupsPath = $p' --arg p "viv-test/../viv-test/$ID"
	args grep pids: /proc/self/cgroup
	run_rt run "$ID"
	ok
	[[ $output == *"/viv-test/$ID" ]] || fail "$output"
	config '.linux.cgroupsPath = $p' --arg p "/../../../viv-test/$ID"
	run_rt run "$ID"
	[[ $status -ne 0 || $output == *"/viv-test/$ID" ]] || fail "$output"
	[[ ! -e /sys/viv-test && ! -e /viv-test ]]
}
