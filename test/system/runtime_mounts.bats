#!/usr/bin/env bats
# Mounts: binds, tmpfs, options, propagation, recursive attributes, devices, masks.
load helpers

setup_file() { common_setup_file; }
setup() {
	common_setup
	SRC=$BATS_TEST_TMPDIR/src
	mkdir "$SRC"
	echo data >"$SRC/file"
}
teardown() {
	local m
	for m in $(awk -v d="$BATS_TEST_TMPDIR/src" 'index($5, d) == 1 { print $5 }' /proc/self/mountinfo | sort -r); do
		umount -l "$m"
	done
	common_teardown
}

# mount_add DESTINATION TYPE SOURCE OPTION...
mount_add() {
	local d=$1 t=$2 s=$3
	shift 3
	config '.mounts += [{destination: $d, type: $t, source: $s, options: ($o | split(" "))}]' \
		--arg d "$d" --arg t "$t" --arg s "$s" --arg o "$*"
}

# flags_of DESTINATION: the mount's own options, inside
flags_of() { sh_args "awk '\$5 == \"$1\" { print \$6 }' /proc/self/mountinfo"; }

@test "bind: a directory, a file, made destinations, read-only" {
	mount_add /a/b/c bind "$SRC" rbind ro
	mount_add /etc/one bind "$SRC/file" bind
	sh_args 'cat /a/b/c/file /etc/one; touch /a/b/c/x || echo refused; echo more >>/etc/one'
	run_rt run "$ID"
	ok
	out_is $'data\ndata\nrefused'
	[[ $(<"$SRC/file") == $'data\nmore' ]]
}

@test "bind: a relative source is relative to the bundle" {
	mkdir sub
	echo rel >sub/f
	mount_add /mnt/x bind sub bind
	args cat /mnt/x/f
	run_rt run "$ID"
	out_is rel
}

@test "bind without type: the options decide" {
	config '.mounts += [{destination: "/mnt/x", source: $s, options: ["bind"]}]' --arg s "$SRC"
	args cat /mnt/x/file
	run_rt run "$ID"
	out_is data
}

@test "mount options reach the mount" {
	mount_add /mnt/a bind "$SRC" bind nosuid nodev noexec noatime ro
	flags_of /mnt/a
	run_rt run "$ID"
	ok
	local f
	for f in nosuid nodev noexec noatime ro; do [[ ,$output, == *,$f,* ]] || fail "$output"; done
}

@test "the last of contradicting options wins" {
	mount_add /mnt/a tmpfs tmpfs ro noexec rw exec nosuid
	flags_of /mnt/a
	run_rt run "$ID"
	ok
	[[ ,$output, == *,rw,* && ,$output, == *,nosuid,* && ,$output, != *,noexec,* ]] || fail "$output"
}

@test "tmpfs with size and mode" {
	mount_add /mnt/t tmpfs tmpfs size=64k mode=1700
	sh_args 'stat -c %a /mnt/t; df -k /mnt/t | tail -1 | awk "{print \$2}"'
	run_rt run "$ID"
	out_is $'1700\n64'
}

@test "tmpcopyup fills the tmpfs with what was below" {
	mkdir -p rootfs/data/sub
	echo x >rootfs/data/sub/f
	ln -s sub/f rootfs/data/link
	chmod 750 rootfs/data/sub
	chown 5:6 rootfs/data/sub/f
	mount_add /data tmpfs tmpfs tmpcopyup
	sh_args 'cat /data/link; stat -c %a:%u:%g /data/sub /data/sub/f; rm /data/link'
	run_rt run "$ID"
	ok
	out_is $'x\n750:0:0\n644:5:6'
	[[ -L rootfs/data/link ]]
}

@test "recursive read-only: rro reaches the mounts below" {
	is_viv || "${RT[@]}" features 2>/dev/null | grep -q rro || skip "no rro"
	mkdir "$SRC/inner"
	mount -t tmpfs tmpfs "$SRC/inner"
	mount_add /a bind "$SRC" rbind ro
	mount_add /b bind "$SRC" rbind rro
	sh_args 'touch /a/inner/x && echo a-writable; touch /b/inner/x 2>/dev/null || echo b-refused; touch /b/y 2>/dev/null || echo b-top-refused'
	run_rt run "$ID"
	umount "$SRC/inner"
	ok
	out_is $'a-writable\nb-refused\nb-top-refused'
}

@test "propagation: a later mount on the host arrives through rslave, not through rprivate" {
	mkdir "$SRC/later"
	mount --bind "$SRC" "$SRC"
	mount --make-rshared "$SRC"
	mount_add /s bind "$SRC" rbind rslave
	mount_add /p bind "$SRC" rbind rprivate
	config '.linux.rootfsPropagation = "rslave"'
	start_sleeper
	mount -t tmpfs tmpfs "$SRC/later"
	touch "$SRC/later/now"
	run_rt exec "$ID" sh -c 'ls /s/later; ls /p/later'
	umount "$SRC/later"
	umount -l "$SRC"
	ok
	out_is now
}

@test "rootfsPropagation private, slave, shared, unbindable" {
	local p want
	for p in private slave shared unbindable; do
		config '.linux.rootfsPropagation = $p' --arg p "$p"
		sh_args "awk '\$5 == \"/\" { print }' /proc/self/mountinfo"
		run_rt run "$ID"
		ok
		case $p in
		shared) want='shared:' ;;
		unbindable) want='unbindable' ;;
		*) want=' - ' ;;
		esac
		out_has "$want"
	done
}

@test "the mounts happen in the order of the configuration" {
	mkdir "$SRC/under"
	mount_add /m tmpfs tmpfs size=64k
	mount_add /m/in bind "$SRC" bind
	args cat /m/in/file
	run_rt run "$ID"
	out_is data
}

@test "a source inside the root file system is what earlier mounts put there, in a user namespace too" {
	needs_root
	config '.linux.namespaces += [{type: "user"}] | .linux.uidMappings = [{containerID: 0, hostID: 100000, size: 65536}]
		| .linux.gidMappings = .linux.uidMappings'
	mkdir -p rootfs/first rootfs/second
	chown -R 100000:100000 rootfs
	mount_add /first bind "$SRC" bind
	mount_add /second bind "$BUNDLE/rootfs/first" bind
	args cat /second/file
	run_rt run "$ID"
	out_is data
}

@test "a mount over a symlink goes to its target inside the root file system" {
	mkdir -p rootfs/real
	ln -s /real rootfs/link
	mount_add /link bind "$SRC" bind
	args cat /real/file
	run_rt run "$ID"
	out_is data
}

@test "a missing source says its name" {
	mount_add /m bind /nosuch/source bind
	run_rt run "$ID"
	failed
	err_has /nosuch/source
}

@test "an unknown file system type says its name" {
	mount_add /m nosuchfs none ro
	run_rt run "$ID"
	failed
	! is_viv || err_has nosuchfs
}

@test "masked paths are empty, read-only paths refuse" {
	mkdir rootfs/secret
	echo s >rootfs/secret/f
	echo s >rootfs/secretfile
	config '.linux.maskedPaths += ["/secret", "/secretfile", "/nosuch"] | .linux.readonlyPaths += ["/home", "/nosuch2"]'
	sh_args 'ls /secret; cat /secretfile; touch /secret/x 2>/dev/null || echo no1; touch /home/x 2>/dev/null || echo no2; cat /proc/kcore | head -c1 | wc -c'
	run_rt run "$ID"
	ok
	out_is $'no1\nno2\n0'
}

@test "the default devices and links are there, and no others of the host" {
	sh_args 'cd /dev; for f in null zero full random urandom tty; do stat -c "%n %t:%T %a" $f; done; for f in fd stdin stdout stderr ptmx; do readlink $f; done; ls'
	run_rt run "$ID"
	ok
	out_has $'null 1:3 666\nzero 1:5 666\nfull 1:7 666\nrandom 1:8 666\nurandom 1:9 666\ntty 5:0 666'
	out_has $'/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx'
	out_lacks kmsg
}

@test "linux.devices makes nodes with type, mode and owner" {
	config '.linux.devices = [{path: "/dev/mine", type: "c", major: 1, minor: 3, fileMode: 416, uid: 5, gid: 6},
			{path: "/dev/deep/fifo", type: "p", fileMode: 384}]
		| .linux.resources.devices += [{allow: true, type: "c", major: 1, minor: 3, access: "rwm"}]'
	sh_args 'stat -c "%F %t:%T %a %u:%g" /dev/mine; stat -c "%F %a" /dev/deep/fifo'
	run_rt run "$ID"
	ok
	out_is $'character special file 1:3 640 5:6\nfifo 600'
}

@test "a host's /dev bound into the container keeps its nodes" {
	config '.mounts |= map(select(.destination | startswith("/dev") | not))'
	mount_add /dev bind /dev rbind
	sh_args 'test -c /dev/null && echo there'
	run_rt run "$ID"
	ok
	out_is there
	[[ -c /dev/null ]]
}

@test "the cgroup mount shows the container's own groups" {
	needs_cgroup pids
	sh_args 'cat /sys/fs/cgroup/pids/cgroup.procs | wc -l; ls /sys/fs/cgroup/pids; touch /sys/fs/cgroup/pids/x 2>/dev/null || echo refused'
	run_rt run "$ID"
	ok
	out_has pids.max
	out_has refused
}

@test "mounts leave nothing on the host" {
	mount_add /mnt/a tmpfs tmpfs size=64k
	local before
	before=$(wc -l </proc/self/mountinfo)
	start_sleeper
	[[ $(wc -l </proc/self/mountinfo) -eq $before ]]
}

@test "a container without a mount namespace is refused or runs, but never mounts on the host" {
	local before
	before=$(md5sum </proc/self/mountinfo)
	config '.linux.namespaces |= map(select(.type != "mount"))'
	run_rt run "$ID"
	[[ $(md5sum </proc/self/mountinfo) == "$before" ]]
}
