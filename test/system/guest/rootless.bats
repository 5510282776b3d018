#!/usr/bin/env bats
# Containers of an ordinary user: alice (uid 1000, 65536 subordinate ids from 100000), who has a systemd user manager.
# With and without control groups of her own. In the guest.

load lib.bash

prepare() {
	HOME_DIR=/tmp/alice-$ID
	install -d -o alice "$HOME_DIR"
	BUNDLE=$HOME_DIR/bundle
	STATE=$HOME_DIR/state
	OUT=$HOME_DIR/out
}

teardown() {
	alice rt delete --force "$ID" >/dev/null 2>&1 || true
	rm -rf "$HOME_DIR"
	local left
	left=$(find "$CG" -depth -type d -name "*$ID*")
	[ -z "$left" ] || { echo "left behind: $left"; return 1; }
}

export XDG_RUNTIME_DIR=/run/user/1000 DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus
ALICE_ENV=(env HOME=/home/alice "XDG_RUNTIME_DIR=$XDG_RUNTIME_DIR" "DBUS_SESSION_BUS_ADDRESS=$DBUS_SESSION_BUS_ADDRESS")

alice() { # alice COMMAND...: as her; "rt" is the runtime
	if [ "$1" = rt ]; then
		shift
		set -- "$RUNTIME" --root "$STATE" ${DRIVER:-} "$@"
	fi
	runuser -u alice -- "${ALICE_ENV[@]}" "$@"
}

# alice_unit SCRIPT: a shell script in a service of her manager whose cgroup is hers to divide; $rt is the runtime.
alice_unit() {
	alice systemd-run --user --quiet --pipe --wait --collect --property Delegate=yes --setenv "ID=$ID" \
		--setenv "BUNDLE=$BUNDLE" --setenv "rt=$RUNTIME --root $STATE ${DRIVER:-}" /bin/sh -euc "$1"
}

userns='.linux.namespaces += [{type: "user"}] |
	.linux.uidMappings = [{containerID: 0, hostID: 1000, size: 1}, {containerID: 1, hostID: 100000, size: 65535}] |
	.linux.gidMappings = .linux.uidMappings'

rootless_bundle() { # SCRIPT [FILTER [JQ-ARG...]]
	sh_bundle "$1" "$userns | ${2:-.}" "${@:3}"
	chown -R alice "$BUNDLE"
}

@test "runs without any control group of one's own" {
	rootless_bundle 'id -u; id -g; cat /proc/self/uid_map'
	run alice rt run --bundle "$BUNDLE" "$ID"
	equal status "$status" 0
	equal output "$(awk '{$1 = $1; print}' <<<"$output")" $'0\n0\n0 1000 1\n1 100000 65535'
}

@test "a limit that nobody delegated is refused, not ignored" {
	rootless_bundle 'true' '.linux.resources.pids.limit = 10'
	run alice rt run --bundle "$BUNDLE" "$ID"
	[ "$status" -ne 0 ]
	[[ $output == *"control group"* || $output == *cgroup* ]]
}

@test "subordinate ids can be used inside" {
	rootless_bundle 'touch /tmp/f && chown 1234:1234 /tmp/f && stat -c %u:%g /tmp/f'
	run alice rt run --bundle "$BUNDLE" "$ID"
	equal output "$output" 1234:1234
}

@test "the process may be another user" {
	rootless_bundle 'id -u; grep ^Groups: /proc/self/status' \
		'.process.user = {uid: 33, gid: 33, additionalGids: [7, 8]}'
	run alice rt run --bundle "$BUNDLE" "$ID"
	equal output "$(awk '{$1 = $1; print}' <<<"$output")" $'33\nGroups: 7 8'
}

@test "one's own id alone needs no helper" {
	rootless_bundle 'id -u; cat /proc/self/setgroups' '.linux.uidMappings |= .[:1] | .linux.gidMappings |= .[:1]'
	run runuser -u alice -- "${ALICE_ENV[@]}" PATH=/nowhere "$(command -v "$RUNTIME")" --root "$STATE" run --bundle "$BUNDLE" "$ID"
	equal output "$output" $'0\ndeny'
}

@test "ids that are not one's own are refused by name" {
	rootless_bundle 'true' '.linux.uidMappings[1].hostID = 500000'
	run alice rt run --bundle "$BUNDLE" "$ID"
	[ "$status" -ne 0 ]
	[[ $output == *uid* ]]
	[ ! -e "$STATE/$ID" ]
}

@test "mounts of a user namespace: tmpfs, proc, sysfs, mqueue, bind" {
	alice mkdir "$HOME_DIR/data"
	rootless_bundle 'echo x >/data/f; stat -f -c %T /tmp /proc /sys; ls -d /dev/mqueue' '.mounts += [
		{destination: "/data", type: "bind", source: $data, options: ["bind"]},
		{destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: ["nosuid", "noexec", "nodev"]}] |
		.root.readonly = false' --arg data "$HOME_DIR/data"
	mkdir -p /opt/rootfs/data
	run alice rt run --bundle "$BUNDLE" "$ID"
	equal output "$output" $'tmpfs\nproc\nsysfs\n/dev/mqueue'
	equal owner "$(stat -c %U "$HOME_DIR/data/f")" alice
}

@test "create, start, exec, kill, delete leave nothing in the state directory" {
	rootless_bundle 'sleep 1000'
	alice rt create --bundle "$BUNDLE" "$ID" >"$OUT" 2>&1 3>&- || { cat "$OUT"; false; }
	equal status "$(alice rt state "$ID" | jq -r .status)" created
	alice rt start "$ID"
	run alice rt exec "$ID" id -u
	equal output "$output" 0
	alice rt kill "$ID" KILL
	until_true eval 'alice rt state "$ID" | grep -q stopped'
	alice rt delete "$ID"
	equal left "$(find "$STATE" -mindepth 1)" ""
}

@test "state is kept below XDG_RUNTIME_DIR by default" {
	rootless_bundle 'sleep 1000'
	alice "$RUNTIME" create --bundle "$BUNDLE" "$ID" >"$OUT" 2>&1 3>&- || { cat "$OUT"; false; }
	run find /run/user/1000 -name "$ID" -user alice
	alice "$RUNTIME" delete --force "$ID"
	[[ $output == */"$ID" ]]
	equal left "$(find /run/user/1000 -name "$ID")" ""
}

@test "cgroupfs in a delegated group: limits hold" {
	rootless_bundle 'sleep 1000'
	run alice_unit '
		own=$(sed -n s/^0:://p /proc/self/cgroup)
		mkdir /sys/fs/cgroup$own/me
		echo 0 >/sys/fs/cgroup$own/me/cgroup.procs
		jq ".linux.cgroupsPath = \"$own/$ID\" | .linux.resources += {memory: {limit: 67108864}, pids: {limit: 32}}" \
			$BUNDLE/config.json >$BUNDLE/new
		mv $BUNDLE/new $BUNDLE/config.json
		$rt create --bundle $BUNDLE $ID
		$rt start $ID
		cat /sys/fs/cgroup$own/$ID/memory.max /sys/fs/cgroup$own/$ID/pids.max
		$rt update --memory 33554432 $ID
		cat /sys/fs/cgroup$own/$ID/memory.max
		$rt pause $ID; $rt state $ID | jq -r .status; $rt resume $ID
		$rt delete --force $ID
		test ! -e /sys/fs/cgroup$own/$ID'
	equal output "$output" $'67108864\n32\n33554432\npaused'
	equal status "$status" 0
}

@test "systemd's user manager makes the scope, limits hold, delete takes it away" {
	DRIVER=--systemd-cgroup
	rootless_bundle 'sleep 1000' '.linux.cgroupsPath = "user.slice:vt:" + $id |
		.linux.resources += {memory: {limit: 67108864}, pids: {limit: 32}}'
	run alice_unit '
		$rt create --bundle $BUNDLE $ID
		$rt start $ID
		systemctl --user show --value --property MemoryMax,TasksMax,Delegate vt-$ID.scope | grep .
		pid=$($rt state $ID | jq .pid)
		cat /sys/fs/cgroup$(sed -n s/^0:://p /proc/$pid/cgroup)/memory.max
		sed -n s/^0:://p /proc/$pid/cgroup
		$rt update --memory 33554432 $ID
		systemctl --user show --value --property MemoryMax vt-$ID.scope
		$rt exec $ID true
		$rt pause $ID; $rt state $ID | jq -r .status; $rt resume $ID
		$rt delete --force $ID
		sleep 1
		systemctl --user show --value --property LoadState vt-$ID.scope'
	equal status "$status" 0
	equal output "$(sort <<<"$output")" "$(sort <<END
67108864
32
yes
67108864
/user.slice/user-1000.slice/user@1000.service/user.slice/vt-$ID.scope
33554432
paused
not-found
END
)"
}
