#!/usr/bin/env bats
# What depends on the kernel: user and time namespaces, idmapped mounts, recursive mount attributes and AppArmor, on
# Debian's 6.1, which lacks the system calls of later years. In the guest.

load lib.bash

userns='.linux.namespaces += [{type: "user"}] | .linux.uidMappings = [{containerID: 0, hostID: 100000, size: 65536}] |
	.linux.gidMappings = .linux.uidMappings'

setup_file() {
	mkdir -p /opt/rootfs/data
}

@test "a user namespace of root's making: root inside, 100000 outside" {
	sh_bundle 'sleep 1000' "$userns"
	start
	equal outside "$(stat -c %u:%g "/proc/$PID")" 100000:100000
	run rt exec "$ID" id -u
	equal inside "$output" 0
	equal map "$(awk '{$1 = $1; print}' "/proc/$PID/uid_map")" "0 100000 65536"
}

@test "a time namespace shifts the clocks" {
	sh_bundle 'cut -d . -f 1 /proc/uptime; cat /proc/self/timens_offsets' '.linux.namespaces += [{type: "time"}] |
		.linux.timeOffsets = {boottime: {secs: 864000, nanosecs: 5}, monotonic: {secs: 432000}}'
	run rt run --bundle "$BUNDLE" "$ID"
	equal status "$status" 0
	[ "${lines[0]}" -gt 864000 ]
	equal monotonic "$(awk '{$1 = $1; print}' <<<"${lines[1]}")" "monotonic 432000 0"
	equal boottime "$(awk '{$1 = $1; print}' <<<"${lines[2]}")" "boottime 864000 5"
}

# On disk (ext4) the file belongs to 0 and to 33.
idmap_source() {
	SOURCE=/opt/idmap-$ID
	mkdir "$SOURCE"
	touch "$SOURCE/root" "$SOURCE/www"
	chown 33:33 "$SOURCE/www"
}

teardown() {
	rt delete --force "$ID" >/dev/null 2>&1 || true
	umount -R "${SOURCE:-/nonexistent}/sub" 2>/dev/null || true
	rm -rf "${SOURCE:-/nonexistent}"
}

@test "an idmapped mount with mappings of its own" {
	idmap_source
	sh_bundle 'stat -c %u:%g /data/root /data/www' '.mounts += [{destination: "/data", type: "bind", source: $source,
		options: ["bind"], uidMappings: [{containerID: 0, hostID: 5000, size: 1000}],
		gidMappings: [{containerID: 0, hostID: 6000, size: 1000}]}]' --arg source "$SOURCE"
	run rt run --bundle "$BUNDLE" "$ID"
	equal output "$output" $'5000:6000\n5033:6033'
}

@test "an idmapped mount in a user namespace shows the owners on disk" {
	idmap_source
	sh_bundle 'stat -c %u:%g /data/root /data/www; touch /data/new' "$userns"' | .mounts += [{destination: "/data",
		type: "bind", source: $source, options: ["bind", "idmap"],
		uidMappings: [{containerID: 0, hostID: 100000, size: 65536}],
		gidMappings: [{containerID: 0, hostID: 100000, size: 65536}]}]' --arg source "$SOURCE"
	run rt run --bundle "$BUNDLE" "$ID"
	equal output "$output" $'0:0\n33:33'
	equal "owner on disk" "$(stat -c %u:%g "$SOURCE/new")" 0:0
}

@test "without idmap the same files belong to nobody" {
	idmap_source
	sh_bundle 'stat -c %u:%g /data/root' "$userns"' | .mounts += [{destination: "/data", type: "bind", source: $source,
		options: ["bind"]}]' --arg source "$SOURCE"
	run rt run --bundle "$BUNDLE" "$ID"
	equal output "$output" 65534:65534
}

@test "ridmap maps what is mounted below, too" {
	idmap_source
	mkdir "$SOURCE/sub" "$SOURCE/low"
	touch "$SOURCE/low/f"
	mount --bind "$SOURCE/low" "$SOURCE/sub"
	sh_bundle 'stat -c %u /data/root /data/sub/f' '.mounts += [{destination: "/data", type: "bind", source: $source,
		options: ["rbind", "ridmap"], uidMappings: [{containerID: 0, hostID: 5000, size: 1000}],
		gidMappings: [{containerID: 0, hostID: 6000, size: 1000}]}]' --arg source "$SOURCE"
	run rt run --bundle "$BUNDLE" "$ID"
	equal output "$output" $'5000\n5000'
}

@test "a file system that cannot be idmapped is refused by name" {
	SOURCE=/opt/idmap-$ID
	mkdir -p "$SOURCE/sub"
	mount -t tmpfs tmpfs "$SOURCE/sub" # from Linux 6.3 on it could
	sh_bundle 'true' '.mounts += [{destination: "/data", type: "bind", source: ($source + "/sub"),
		options: ["bind"], uidMappings: [{containerID: 0, hostID: 5000, size: 1000}],
		gidMappings: [{containerID: 0, hostID: 6000, size: 1000}]}]' --arg source "$SOURCE"
	run rt run --bundle "$BUNDLE" "$ID"
	[ "$status" -ne 0 ]
	[[ $output == */data* ]] || [[ $output == *"$SOURCE"* ]]
}

recursive() { # OPTION SCRIPT: an ext4 directory with a tmpfs below it, mounted at /data
	SOURCE=/opt/rec-$ID
	mkdir -p "$SOURCE/sub"
	mount -t tmpfs tmpfs "$SOURCE/sub"
	cp /bin/busybox "$SOURCE/sub/true"
	sh_bundle "$2" '.mounts += [{destination: "/data", type: "bind", source: $source, options: ["rbind", $option]}]' \
		--arg source "$SOURCE" --arg option "$1"
	run rt run --bundle "$BUNDLE" "$ID"
}

@test "ro leaves the mounts below writable" {
	recursive ro '(: >/data/f) 2>/dev/null || echo denied; : >/data/sub/f && echo written'
	equal output "$output" $'denied\nwritten'
}

@test "rro makes the mounts below read-only" {
	recursive rro '(: >/data/f) 2>/dev/null || echo denied; (: >/data/sub/f) 2>/dev/null || echo denied'
	equal output "$output" $'denied\ndenied'
}

@test "rnoexec reaches the mounts below" {
	recursive rnoexec '/data/sub/true 2>/dev/null || echo $?'
	equal output "$output" 126
}

@test "rnosuid, rnodev and rnoatime are seen on the mounts below" {
	local option
	for option in nosuid nodev noatime; do
		recursive "r$option" 'grep " /data/sub " /proc/self/mountinfo | cut -d " " -f 6'
		[[ ,$output, == *,$option,* ]] || { echo "r$option: $output"; return 1; }
		umount "$SOURCE/sub"
		rm -rf "$SOURCE"
		rt delete --force "$ID" >/dev/null 2>&1 || true
	done
}

@test "the file system root can be read-only in a user namespace with propagation" {
	sh_bundle 'grep " / / " /proc/self/mountinfo | grep -q "master:" || echo private; (: >/f) 2>/dev/null || echo ro' \
		"$userns | .linux.rootfsPropagation = \"private\""
	run rt run --bundle "$BUNDLE" "$ID"
	equal output "$output" $'private\nro'
}

@test "no rootfsPropagation lets the container's mounts reach a host whose mounts are shared" {
	SOURCE=/opt/shared-$ID
	mkdir -p "$SOURCE/sub"
	mount -t tmpfs tmpfs "$SOURCE/sub"
	mount --make-shared "$SOURCE/sub"
	cp -a /opt/rootfs "$SOURCE/sub/"
	local p before after
	before=$(sort /proc/self/mountinfo)
	for p in private slave unbindable rprivate rslave shared; do
		sh_bundle 'echo ran' '.root.path = $root | .linux.rootfsPropagation = $p' --arg p $p \
			--arg root "$SOURCE/sub/rootfs"
		run rt run --bundle "$BUNDLE" "$ID-$p"
		equal "$p" "$output" ran
		after=$(sort /proc/self/mountinfo)
		[ "$before" = "$after" ] || { echo "$p:"; diff <(echo "$before") <(echo "$after"); return 1; }
	done
}

apparmor() {
	[ "$(cat /sys/module/apparmor/parameters/enabled)" = Y ] || skip "this kernel has AppArmor off"
	apparmor_parser --replace --skip-cache <<'END'
#include <tunables/global>
profile viv-guest flags=(attach_disconnected,mediate_deleted) {
	capability,
	file,
	network,
	mount,
	umount,
	signal,
	ptrace,
	deny /tmp/secret rw,
}
END
}

@test "AppArmor: the profile is on and holds" {
	apparmor
	sh_bundle 'cat /proc/self/attr/current; (echo x >/tmp/secret) 2>/dev/null || echo denied; echo x >/tmp/open && echo written' \
		'.process.apparmorProfile = "viv-guest"'
	run rt run --bundle "$BUNDLE" "$ID"
	equal output "$output" $'viv-guest (enforce)\ndenied\nwritten'
}

@test "AppArmor: exec runs under the container's profile, or the one it names" {
	apparmor
	sh_bundle 'sleep 1000' '.process.apparmorProfile = "viv-guest"'
	start
	run rt exec "$ID" cat /proc/self/attr/current
	equal output "$output" 'viv-guest (enforce)'
	rt delete --force "$ID"
	sh_bundle 'sleep 1000'
	start
	run rt exec "$ID" cat /proc/self/attr/current
	equal output "$output" unconfined
	run rt exec --apparmor viv-guest "$ID" cat /proc/self/attr/current
	equal output "$output" 'viv-guest (enforce)'
}

@test "AppArmor: a profile that is not loaded fails the start" {
	apparmor
	sh_bundle 'true' '.process.apparmorProfile = "no-such-profile"'
	run rt run --bundle "$BUNDLE" "$ID"
	[ "$status" -ne 0 ]
	[[ $output == *no-such-profile* ]]
}
