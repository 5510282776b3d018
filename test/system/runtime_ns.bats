#!/usr/bin/env bats
# runtime-spec config-linux.md: namespaces made and joined, sysctls, time offsets, host and domain name.
load helpers

setup_file() { common_setup_file; }
setup() {
	needs_root
	common_setup
	HELD=()
}
teardown() {
	[[ ${#HELD[@]} -eq 0 ]] || kill -9 "${HELD[@]}" 2>/dev/null || true
	common_teardown
}

# ns_link NAME: as `namespaces` calls it, the name in /proc/PID/ns
ns_link() {
	case $1 in
	network) echo net ;;
	mount) echo mnt ;;
	*) echo "$1" ;;
	esac
}

# drop_ns TYPE / join_ns TYPE PATH
drop_ns() { config '.linux.namespaces |= map(select(.type != $t))' --arg t "$1"; }
join_ns() {
	drop_ns "$1"
	config '.linux.namespaces += [{type: $t, path: $p}]' --arg t "$1" --arg p "$2"
}

# hold_ns UNSHARE-FLAG...: a process in new namespaces; its pid in $held, killed in teardown.
hold_ns() {
	unshare "$@" sleep 1000 3>&- >/dev/null 2>&1 &
	held=$!
	HELD+=("$held")
	wait_for 5 grep -q sleep "/proc/$held/cmdline"
}

@test "each namespace asked for is new; those not asked for are the host's" {
	local ns link
	sh_args 'for n in pid net ipc uts mnt cgroup user; do readlink /proc/self/ns/$n; done'
	drop_ns ipc
	config '.linux.namespaces |= map(select(.type != "cgroup")) | .linux.namespaces += [{type: "cgroup"}]
		| .mounts |= map(select(.type != "mqueue"))'
	run_rt run "$ID"
	ok
	for link in pid net uts mnt cgroup; do
		out_lacks "$(readlink "/proc/self/ns/$link")"
	done
	out_has "$(readlink /proc/self/ns/ipc)"
	out_has "$(readlink /proc/self/ns/user)"
}

@test "uts: host and domain name; not without a namespace of its own" {
	config '.hostname = "one" | .domainname = "example.org"'
	sh_args 'hostname; cat /proc/sys/kernel/domainname'
	local before
	before=$(hostname)
	is_viv || config 'del(.domainname)'
	run_rt run "$ID"
	ok
	! is_viv || out_is $'one\nexample.org'
	[[ ${lines[0]} == one ]]
	[[ $(hostname) == "$before" ]]
	drop_ns uts
	run_rt run "$ID"
	failed
	[[ $(hostname) == "$before" ]]
}

@test "uts, ipc and network joined by path" {
	local ns link
	hold_ns --uts --ipc --net
	for ns in uts ipc network; do
		join_ns "$ns" "/proc/$held/ns/$(ns_link "$ns")"
	done
	config 'del(.hostname)'
	sh_args 'for n in uts ipc net; do readlink /proc/self/ns/$n; done'
	run_rt run "$ID"
	ok
	out_is "$(for link in uts ipc net; do readlink "/proc/$held/ns/$link"; done)"
}

@test "pid joined by path: the container is one of many there, and delete leaves the others" {
	start_sleeper "$ID"
	local first
	first=$(rt state "$ID" | jq .pid)
	join_ns pid "/proc/$first/ns/pid"
	config '.linux.cgroupsPath += "-second"'
	sh_args 'readlink /proc/self/ns/pid; test $$ -ne 1'
	run_rt run "$ID-second"
	ok
	out_is "$(readlink "/proc/$first/ns/pid")"
	is_state "$ID" running
}

@test "a path that is no namespace, of another kind, or missing is refused by name" {
	local bad
	for bad in /proc/self/ns/nosuch /proc/self/ns/uts /etc/hostname; do
		join_ns network "$bad"
		run_rt run "$ID"
		failed
		[[ $stderr == *"$bad"* || $stderr == *network* || $stderr == *net* ]] || fail "$stderr"
	done
}

@test "a namespace type twice, or unknown, is refused" {
	config '.linux.namespaces += [{type: "uts"}]'
	run_rt run "$ID"
	failed
	drop_ns uts
	config '.linux.namespaces += [{type: "nosuch"}]'
	run_rt run "$ID"
	failed
	! is_viv || err_has nosuch
}

@test "a new network namespace has lo up and nothing else" {
	sh_args 'ls /sys/class/net; cat /sys/class/net/lo/flags'
	run_rt run "$ID"
	ok
	# IFF_UP | IFF_LOOPBACK
	out_is $'lo\n0x9'
}

@test "cgroup namespace: the container's own group is its root" {
	needs_cgroup pids
	drop_ns cgroup
	args grep pids: /proc/self/cgroup
	run_rt run "$ID"
	ok
	[[ $output == *"/viv-test/$ID" ]] || fail "$output"
	config '.linux.namespaces += [{type: "cgroup"}]'
	run_rt run "$ID"
	ok
	[[ $output == *pids:/ ]] || fail "$output"
}

@test "time offsets: monotonic and boot time" {
	needs_viv
	[[ -e /proc/self/ns/time ]] || skip "no time namespaces"
	config '.linux.namespaces += [{type: "time"}]
		| .linux.timeOffsets = {boottime: {secs: 8640000}, monotonic: {secs: 4320000, nanosecs: 5}}'
	sh_args 'cat /proc/self/timens_offsets; cut -d. -f1 /proc/uptime'
	run_rt run "$ID"
	ok
	grep -Eq '^monotonic +4320000 +5$' <<<"$output"
	grep -Eq '^boottime +8640000 +0$' <<<"$output"
	((${lines[-1]} > 8640000)) || fail "$output"
	drop_ns time
	run_rt run "$ID"
	failed
}

@test "sysctl: of the container's namespaces set, of the host's refused" {
	local before
	before=$(</proc/sys/net/ipv4/ip_forward)
	config '.linux.sysctl = {"net.ipv4.ip_forward": $v, "kernel.shm_rmid_forced": "1", "fs.mqueue.msg_max": "7"}' \
		--arg v $((1 - before))
	sh_args 'cd /proc/sys; cat net/ipv4/ip_forward kernel/shm_rmid_forced fs/mqueue/msg_max'
	run_rt run "$ID"
	ok
	out_is $((1 - before))$'\n1\n7'
	[[ $(</proc/sys/net/ipv4/ip_forward) == "$before" ]]
	config '.linux.sysctl = {"vm.swappiness": "10"}'
	run_rt run "$ID"
	failed
	[[ $stderr == *vm[./]swappiness* ]] || fail "$stderr"
	config '.linux.sysctl = {"net.ipv4.ip_forward": "1"}'
	drop_ns network
	run_rt run "$ID"
	failed
	[[ $stderr == *net[./]ipv4[./]ip_forward* ]] || fail "$stderr"
}

@test "sysctl: kernel.hostname is the container's business only with uts, and not beside hostname" {
	config '.linux.sysctl = {"kernel.domainname": "inside"}'
	args cat /proc/sys/kernel/domainname
	run_rt run "$ID"
	ok
	out_is inside
	config '.linux.sysctl = {"kernel.hostname": "other"} | .hostname = "one"'
	run_rt run "$ID"
	failed
}

@test "sysctl: names with slashes, and names that climb" {
	config '.linux.sysctl = {"net/ipv4/ip_default_ttl": "33"}'
	args cat /proc/sys/net/ipv4/ip_default_ttl
	run_rt run "$ID"
	ok
	out_is 33
	config '.linux.sysctl = {"net/../vm/swappiness": "11"}'
	run_rt run "$ID"
	failed
}

@test "without a pid namespace every process of the container dies with its init" {
	drop_ns pid
	sh_args 'sleep 1000 >/dev/null 2>&1 & exit 3'
	run_rt run "$ID"
	status_is 3
}

@test "a user namespace is joined beside a network namespace that it does not own" {
	config '.linux.namespaces += [{type: "user"}] | .linux.uidMappings = [{containerID: 0, hostID: 100000, size: 65536}]
		| .linux.gidMappings = .linux.uidMappings | .mounts |= map(select(.type != "sysfs"))'
	chown -R 100000:100000 rootfs
	chmod a+x "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR/test"
	start_sleeper "$ID-owner"
	hold_ns --net
	join_ns user "/proc/$(rt state "$ID-owner" | jq .pid)/ns/user"
	join_ns network "/proc/$held/ns/net"
	config 'del(.linux.uidMappings, .linux.gidMappings, .linux.maskedPaths) | .linux.readonlyPaths = []
		| .linux.cgroupsPath += "-2"'
	sh_args 'readlink /proc/self/ns/net; cat /proc/self/uid_map'
	run_rt run "$ID"
	ok
	out_has "$(readlink "/proc/$held/ns/net")"
	out_has 100000
}
