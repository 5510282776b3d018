#!/usr/bin/env bats
# The systemd cgroup driver: the container is a scope that systemd made, knows the limits of, and takes away. In the guest.

load lib.bash

prepare() {
	DRIVER=--systemd-cgroup
	SCOPE=vt-$ID.scope
}

path='.linux.cgroupsPath = "system.slice:vt:" + $id'

property() { systemctl show --value --property "$1" "$SCOPE"; }
gone() { [ "$(property LoadState)" = not-found ]; }
property_is() { equal "$1" "$(property "$1")" "$2"; }

@test "the container is a scope of its slice, delegated" {
	sh_bundle 'sleep 1000' "$path"
	start
	property_is ActiveState active
	property_is Slice system.slice
	property_is Delegate yes
	equal group "$(cgroup_of "$PID")" "$CG/system.slice/$SCOPE"
	[[ $(property Description) == *"$ID"* ]]
}

@test "limits are properties of the scope and arrive in the files" {
	sh_bundle 'sleep 1000' "$path"' | .linux.resources += {
		memory: {limit: 67108864, reservation: 33554432, swap: 100663296},
		cpu: {quota: 50000, period: 100000, cpus: "0", mems: "0"},
		pids: {limit: 32}}'
	start
	property_is MemoryMax 67108864
	property_is MemoryLow 33554432
	property_is MemorySwapMax 33554432
	property_is CPUQuotaPerSecUSec 500ms
	property_is AllowedCPUs 0
	property_is AllowedMemoryNodes 0
	property_is TasksMax 32
	local g=$CG/system.slice/$SCOPE
	file_is "$g/memory.max" 67108864
	file_is "$g/memory.low" 33554432
	file_is "$g/memory.swap.max" 33554432
	file_is "$g/cpu.max" "50000 100000"
	file_is "$g/cpuset.cpus" 0
	file_is "$g/pids.max" 32
}

@test "limits survive systemctl daemon-reload" {
	sh_bundle 'sleep 1000' "$path"' | .linux.resources += {memory: {limit: 67108864}, pids: {limit: 32}}'
	start
	systemctl daemon-reload
	file_is "$CG/system.slice/$SCOPE/memory.max" 67108864
	file_is "$CG/system.slice/$SCOPE/pids.max" 32
}

@test "cpu shares are the scope's CPUWeight" {
	sh_bundle 'sleep 1000' "$path | .linux.resources.cpu.shares = 512"
	start
	[ "$(property CPUWeight)" -gt 1 ]
	property_is CPUWeight "$(cat "$CG/system.slice/$SCOPE/cpu.weight")"
}

@test "unified keys become properties where systemd has one" {
	sh_bundle 'sleep 1000' "$path"' | .linux.resources.unified =
		{"memory.high": "41943040", "pids.max": "77", "cpu.weight": "33"}'
	start
	property_is MemoryHigh 41943040
	property_is TasksMax 77
	property_is CPUWeight 33
	file_is "$CG/system.slice/$SCOPE/memory.high" 41943040
}

@test "what systemd has no property for is written to the file" {
	sh_bundle 'sleep 1000' "$path"' | .linux.resources.hugepageLimits = [{pageSize: "2MB", limit: 4194304}]'
	start
	file_is "$CG/system.slice/$SCOPE/hugetlb.2MB.max" 4194304
}

@test "update changes property and file" {
	sh_bundle 'sleep 1000' "$path | .linux.resources.memory.limit = 67108864"
	start
	rt update --memory 33554432 --pids-limit 44 --cpu-quota 25000 --cpu-period 50000 "$ID"
	property_is MemoryMax 33554432
	property_is TasksMax 44
	property_is CPUQuotaPerSecUSec 500ms
	file_is "$CG/system.slice/$SCOPE/memory.max" 33554432
	file_is "$CG/system.slice/$SCOPE/pids.max" 44
	systemctl daemon-reload
	file_is "$CG/system.slice/$SCOPE/memory.max" 33554432
}

@test "delete takes the scope away" {
	sh_bundle 'sleep 1000' "$path"
	start
	rt kill "$ID" KILL
	until_true stopped
	rt delete "$ID"
	until_true gone
	[ ! -e "$CG/system.slice/$SCOPE" ]
}

@test "run leaves no unit, failed or otherwise" {
	sh_bundle 'exit 7' "$path"
	run rt run --bundle "$BUNDLE" "$ID"
	equal status "$status" 7
	until_true gone
	run systemctl --failed --plain --no-legend
	[[ $output != *"$ID"* ]]
}

@test "a start that fails leaves no scope" {
	bundle "$path | .process.args = [\"/no/such/program\"]"
	run rt run --bundle "$BUNDLE" "$ID"
	[ "$status" -ne 0 ]
	until_true gone
	[ ! -e "$CG/system.slice/$SCOPE" ]
}

@test "a slice below others is made" {
	sh_bundle 'sleep 1000' '.linux.cgroupsPath = "viv-guest-deep.slice:vt:" + $id'
	start
	property_is Slice viv-guest-deep.slice
	equal group "$(cgroup_of "$PID")" "$CG/viv.slice/viv-guest.slice/viv-guest-deep.slice/$SCOPE"
}

@test "without a path there is a scope all the same" {
	sh_bundle 'sleep 1000'
	start
	[[ $(cgroup_of "$PID") == $CG/system.slice/*"$ID".scope ]]
}

@test "a path that is not slice:prefix:name is refused" {
	sh_bundle 'sleep 1000' '.linux.cgroupsPath = "/" + $id'
	run rt create --bundle "$BUNDLE" "$ID"
	[ "$status" -ne 0 ]
	[[ $output == *slice* ]]
}

@test "pause, resume and exec" {
	sh_bundle 'sleep 1000' "$path"
	start
	rt pause "$ID"
	equal status "$(status)" paused
	grep -qx 'frozen 1' "$CG/system.slice/$SCOPE/cgroup.events"
	rt resume "$ID"
	equal status "$(status)" running
	rt exec --detach --pid-file "$BATS_TEST_TMPDIR/execpid" "$ID" sleep 1000
	equal group "$(cgroup_of "$(cat "$BATS_TEST_TMPDIR/execpid")")" "$CG/system.slice/$SCOPE"
}

@test "systemctl stop ends the container" {
	sh_bundle 'trap "exit 0" TERM; while :; do sleep 0.1; done' "$path"
	start
	systemctl stop "$SCOPE"
	until_true stopped
	rt delete "$ID"
}

@test "devices are denied, and stay so after daemon-reload" {
	sh_bundle 'while :; do (: </dev/kmsg) 2>/dev/null && echo yes >/tmp/kmsg || echo no >/tmp/kmsg; sleep 0.1; done' \
		"$path"' | .process.capabilities[] += ["CAP_SYSLOG"] |
		.linux.devices = [{path: "/dev/kmsg", type: "c", major: 1, minor: 11, fileMode: 438}]'
	start
	until_true rt exec "$ID" grep -q . /tmp/kmsg
	equal before "$(rt exec "$ID" cat /tmp/kmsg)" no
	systemctl daemon-reload
	rt exec "$ID" rm /tmp/kmsg
	until_true rt exec "$ID" grep -q . /tmp/kmsg
	equal after "$(rt exec "$ID" cat /tmp/kmsg)" no
}

@test "a device rule opens the device under systemd too" {
	sh_bundle 'head -c 0 /dev/kmsg && echo yes' "$path"' | .process.capabilities[] += ["CAP_SYSLOG"] |
		.linux.devices = [{path: "/dev/kmsg", type: "c", major: 1, minor: 11, fileMode: 438}] |
		.linux.resources.devices += [{allow: true, type: "c", major: 1, minor: 11, access: "r"}]'
	run rt run --bundle "$BUNDLE" "$ID"
	equal output "${lines[-1]}" yes
}

@test "annotations set properties of the scope" {
	sh_bundle 'sleep 1000' "$path"' | .annotations = {
		"org.systemd.property.TimeoutStopUSec": "uint64 123456789",
		"org.systemd.property.CollectMode": "\u0027inactive-or-failed\u0027"}'
	start
	property_is TimeoutStopUSec "2min 3.456789s"
	property_is CollectMode inactive-or-failed
}

@test "the scope of another container is not touched" {
	sh_bundle 'sleep 1000' "$path"
	start
	bundle '.linux.cgroupsPath = "system.slice:vt:" + $other' --arg other "$ID"
	! rt create --bundle "$BUNDLE" "$ID-2" >"$BATS_TEST_TMPDIR/out2" 2>&1 3>&-
	property_is ActiveState active
	[ -e "/proc/$PID" ]
	rt delete --force "$ID-2"
	property_is ActiveState active
	[ -e "/proc/$PID" ]
}

@test "delete --force ends a running container and its scope" {
	sh_bundle 'sleep 1000 & sleep 1000' "$path"
	start
	rt delete --force "$ID"
	until_true gone
	[ ! -e "/proc/$PID" ]
}
