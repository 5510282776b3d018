#!/usr/bin/env bats
# What a container, an image or the owner of a volume tries in order to reach the host. A start may fail at that; what
# counts is that the host's files, directories and programs are as before.
load helpers

setup_file() { common_setup_file; }
setup() {
	needs_root
	common_setup
	# The host's things that nobody may read or change.
	HOST=$BATS_TEST_TMPDIR/host
	mkdir -p "$HOST/dir"
	echo secret >"$HOST/file"
	BEFORE=$(snapshot)
	# Climbs from its working directory and tells if that leads to the host.
	CLIMB='up=.; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do [ ! -e "$up'$HOST'/file" ] || echo ESCAPED; up=$up/..; done'
}
teardown() {
	[[ ! ${RACER:-} ]] || { kill "$RACER" && wait "$RACER" || true; }
	common_teardown
}

snapshot() { (cd "$HOST" && find . -printf '%p %y %m %u %i %s %l\n' | sort && cat file); }
host_untouched() { [[ $(snapshot) == "$BEFORE" ]] || fail "the host's files changed: $(snapshot)"; }

all_caps() {
	config '[.process.capabilities | keys[]] as $k | ($c | split(" ")) as $c
		| .process.capabilities = ([$k[] | {key: ., value: $c}] | from_entries)' --arg c "$1"
}

# own_copy: RT becomes a copy of the programs, which a successful attack may destroy.
own_copy() {
	needs_viv
	PROGRAMS=$BATS_TEST_TMPDIR/programs
	mkdir "$PROGRAMS"
	cp "$VIV_BUILD"/viv "$VIV_BUILD"/viv-runtime "$PROGRAMS"
	RT=("$PROGRAMS/viv" runtime)
	SUMS=$(sha256sum "$PROGRAMS"/*)
}
programs_untouched() { [[ $(sha256sum "$PROGRAMS"/*) == "$SUMS" ]] || fail "the runtime's file was changed"; }

# race A B: exchanges two names of the root file system as long as the test lasts.
race() {
	"$TOOLS/exchange" "$BUNDLE/rootfs/$1" "$BUNDLE/rootfs/$2" 3>&- &
	RACER=$!
}

@test "a symlink that is exchanged with the mount point does not lead mounts to the host" {
	local i done=0
	mkdir -p rootfs/a/deep vol
	ln -s "$HOST" rootfs/b
	config '.mounts += [
		{destination: "/a/deep/bind", type: "bind", source: "'"$BUNDLE/vol"'", options: ["bind", "rw"]},
		{destination: "/a/new/tmp", type: "tmpfs", source: "tmpfs", options: ["tmpcopyup"]},
		{destination: "/a/dir", type: "tmpfs", source: "tmpfs"}]
		| .linux.maskedPaths += ["/a/file"] | .linux.readonlyPaths += ["/a/dir"]'
	sh_args 'touch /a/dir/made /a/file; echo x >/a/file; chmod 777 /a/dir; true'
	race a b
	for ((i = 0; i < 40; i++)); do
		rt run "$ID" </dev/null >/dev/null 2>&1 && done=$((done + 1))
	done
	kill -0 "$RACER"
	host_untouched
	((done)) || fail "not one start succeeded: the race was not tried"
}

@test "a symlink that climbs, exchanged with the mount point, does not lead to the host either" {
	local i
	mkdir -p rootfs/a vol
	ln -s "$(printf '../%.0s' {1..20})$HOST" rootfs/b
	config '.mounts += [{destination: "/a/dir/x", type: "bind", source: "'"$BUNDLE/vol"'", options: ["bind"]}]
		| .linux.devices = [{path: "/a/dir/dev", type: "c", major: 1, minor: 3, fileMode: 438, uid: 0, gid: 0}]'
	race a b
	for ((i = 0; i < 30; i++)); do rt run "$ID" </dev/null >/dev/null 2>&1 || true; done
	kill -0 "$RACER"
	host_untouched
}

@test "/proc and /sys may not be symlinks, and /dev leads nowhere but into the root" {
	local what
	for what in proc sys; do
		rmdir "rootfs/$what"
		ln -s "$HOST/dir" "rootfs/$what"
		run_rt run "$ID"
		failed
		err_has "must be mounted on ordinary directory"
		rm "rootfs/$what"
		mkdir "rootfs/$what"
	done
	rmdir rootfs/dev
	ln -s "$HOST/dir" rootfs/dev
	run_rt run "$ID"
	host_untouched
}

@test "kernel settings go to the kernel, whatever the image or a volume has at /proc" {
	mkdir -p fake/self/attr/apparmor fake/thread-self/attr fake/sys/net/ipv4 fake/1
	echo real >fake/sys/net/ipv4/ip_forward
	ln -s "$HOST/file" fake/self/oom_score_adj
	ln -s "$HOST/file" fake/self/attr/exec
	ln -s "$HOST/file" fake/1/oom_score_adj
	mkdir rootfs/kernel
	config '.process.oomScoreAdj = 321 | .linux.sysctl = {"net.ipv4.ip_forward": "1"} | .linux.maskedPaths = [] | .linux.readonlyPaths = []
		| .mounts = [.mounts[] | if .destination == "/proc" then {destination: "/proc", type: "bind", source: "'"$BUNDLE/fake"'", options: ["bind", "rw"]} else . end]
		+ [{destination: "/kernel", type: "proc", source: "proc"}]'
	args cat /kernel/sys/net/ipv4/ip_forward /kernel/self/oom_score_adj
	run_rt run "$ID"
	if ((status == 0)); then
		out_is $'1\n321'
	else
		err_has proc # a runtime may refuse the mount
	fi
	[[ $(<fake/sys/net/ipv4/ip_forward) == real ]]
	host_untouched
}

@test "files mounted over /proc's own do not catch what the runtime writes there" {
	local f
	for f in self/oom_score_adj self/attr/exec sys/net/ipv4/ip_forward; do
		echo real >fake
		jq '.process.oomScoreAdj = 321 | .linux.sysctl = {"net.ipv4.ip_forward": "1"}
			| .mounts += [{destination: "/proc/'$f'", type: "bind", source: "'"$BUNDLE/fake"'", options: ["bind", "rw"]}]' config.json >c2.json
		mkdir -p other
		jq '.root.path = "'"$BUNDLE/rootfs"'" | .process.args = ["sleep", "100"]' c2.json >other/config.json
		if rt run -d -b other "$ID" </dev/null >out.log 2>&1; then
			[[ $(<"/proc/$(rt state "$ID" | jq .pid)/oom_score_adj") == 321 ]]
			rt delete --force "$ID"
		fi
		[[ $(<fake) == real ]] || fail "the write to $f went to the image's file"
	done
}

@test "a sysctl's name leads nowhere else" {
	local name
	for name in ../../etc/hostname 'net/../../1/comm' '/etc/hostname' 'kernel/../../sysrq-trigger'; do
		config '.linux.sysctl = {($n): "x"}' --arg n "$name"
		run_rt run "$ID"
		failed
	done
}

@test "the container gets descriptors 0, 1, 2 and those it was promised" {
	cp "$TOOLS/fdlist" rootfs/bin
	args fdlist
	exec 5<"$HOST/dir" 7<"$HOST/file" 9<"$HOST/dir"
	run_rt run "$ID"
	ok
	[[ $(cut -d' ' -f1 <<<"$output" | tr '\n' ' ') == "0 1 2 cwd " ]] || fail "descriptors: $output"
	out_has "cwd /"
	out_lacks "$HOST"
	run bash -c 'exec 3<"$1/file" 4<"$1/file"; shift; "$@" </dev/null' - "$HOST" "${RT[@]}" --root "$ROOT" run --preserve-fds 2 "$ID"
	ok
	[[ $(cut -d' ' -f1 <<<"$output" | tr '\n' ' ') == "0 1 2 3 4 cwd " ]] || fail "descriptors: $output"
	start_sleeper
	run_rt exec "$ID" fdlist
	ok
	[[ $(cut -d' ' -f1 <<<"$output" | tr '\n' ' ') == "0 1 2 cwd " ]] || fail "descriptors of exec: $output"
	out_lacks "$HOST"
	exec 5<&- 7<&- 9<&-
}

@test "the init of a created container holds no directory of the host" {
	needs_viv
	exec 5<"$HOST/dir" 9<"$HOST/dir"
	rt create "$ID" </dev/null >out.log 2>&1
	exec 5<&- 9<&-
	local pid fd
	pid=$(rt state "$ID" | jq .pid)
	for fd in "/proc/$pid/fd"/*; do
		# What leads on: a directory from which ".." goes up.
		[[ ! -d $fd || $fd/.. -ef $fd ]] || fail "descriptor ${fd##*/}: $(readlink "$fd")"
	done
	[[ $(stat -Lc %i "/proc/$pid/cwd") == $(stat -Lc %i rootfs) ]]
}

@test "a working directory in /proc/self/fd does not lead to the host (CVE-2024-21626)" {
	local n
	sh_args "$CLIMB"
	exec 5<"$HOST/dir" 8<"$HOST/dir"
	for n in {3..20}; do
		config '.process.cwd = $d' --arg d "/proc/self/fd/$n"
		run_rt run "$ID"
		out_lacks ESCAPED
	done
	config '.process.cwd = "/"'
	start_sleeper
	for n in {3..20}; do
		run_rt exec --cwd "/proc/self/fd/$n" "$ID" sh -c "$CLIMB"
		out_lacks ESCAPED
		ln -sfn "/proc/self/fd/$n" rootfs/way
		run_rt exec --cwd /way "$ID" sh -c "$CLIMB"
		out_lacks ESCAPED
	done
	run_rt exec "$ID" sh -c "$CLIMB"
	out_lacks ESCAPED
	exec 5<&- 8<&-
	host_untouched
}

@test "the runtime as the container's program cannot be overwritten (CVE-2019-5736)" {
	own_copy
	all_caps "CAP_SYS_ADMIN CAP_SYS_PTRACE CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER"
	args /proc/self/exe
	run_rt run "$ID"
	programs_untouched
	cp "$TOOLS/exegrab" rootfs/bin/exegrab
	printf '#!/proc/self/exe\n' >rootfs/bin/shell
	chmod +x rootfs/bin/shell
	touch rootfs/mnt
	args exegrab 4
	config '.linux.seccomp = null'
	rt run -d "$ID" </dev/null >grab.log 2>&1
	wait_for 2 is_state "$ID" running
	while is_state "$ID" running; do
		rt exec "$ID" /bin/shell </dev/null >/dev/null 2>&1 || true
		rt exec "$ID" true </dev/null >/dev/null 2>&1 || true
	done
	grep -q done grab.log || fail "$(<grab.log)"
	# As a mount of its own it is "/", as a memfd it has the name.
	grep -qE 'saw (/$|.*runtime)' grab.log || fail "the attack never saw the runtime: $(<grab.log)"
	programs_untouched
	[[ $(<grab.log) != *WROTE* ]] || fail "$(<grab.log)"
}

@test "a created container's init cannot be overwritten from beside it, with every right" {
	own_copy
	all_caps "CAP_SYS_ADMIN CAP_SYS_PTRACE CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER"
	config '.linux.seccomp = null'
	cp "$TOOLS/exegrab" rootfs/bin/exegrab
	touch rootfs/mnt
	rt create "$ID" </dev/null >out.log 2>&1
	run_rt exec "$ID" exegrab 1
	ok
	out_has "saw "
	out_lacks WROTE
	# The host's file system is not behind what init holds.
	run_rt exec "$ID" sh -c 'for d in /proc/1/cwd /proc/1/root /proc/1/fd/*; do cd $d 2>/dev/null || continue; '"$CLIMB"'; done'
	out_lacks ESCAPED
	programs_untouched
}

@test "nobody in the container looks into the process of exec" {
	own_copy
	cp "$TOOLS/exegrab" rootfs/bin/exegrab
	args exegrab 3
	rt run -d "$ID" </dev/null >grab.log 2>&1
	wait_for 2 is_state "$ID" running
	while is_state "$ID" running; do rt exec "$ID" true </dev/null >/dev/null 2>&1 || true; done
	grep -q done grab.log
	[[ $(<grab.log) != *saw* && $(<grab.log) != *WROTE* ]] || fail "$(<grab.log)"
	programs_untouched
}

@test "device nodes may be made, but not opened unless they are allowed" {
	needs_cgroup devices
	mknod "$BATS_TEST_TMPDIR/node" c 10 200
	(exec 9<>"$BATS_TEST_TMPDIR/node") 2>/dev/null || skip "the host itself cannot open 10:200"
	all_caps "CAP_MKNOD CAP_DAC_OVERRIDE CAP_SYS_ADMIN"
	sh_args 'mknod /tmp/node c 10 200 && mknod /tmp/blk b 7 0 && ls -l /tmp >&2; (: <>/tmp/node) || echo denied; (: </tmp/blk) || echo denied'
	run_rt run "$ID"
	out_is $'denied\ndenied'
	err_has "Operation not permitted"
	config '.linux.resources.devices += [{allow: true, type: "c", major: 10, minor: 200, access: "rw"}]'
	run_rt run "$ID"
	out_is denied
}

@test "a node of the image is no device either" {
	needs_cgroup devices
	mknod rootfs/node c 10 200
	(exec 9<>rootfs/node) 2>/dev/null || skip "the host itself cannot open 10:200"
	sh_args '(: <>/node) || echo denied'
	run_rt run "$ID"
	out_is denied
}

@test "/dev/console, /dev/ptmx and /dev/pts of the image lead the terminal nowhere (CVE-2025-52565)" {
	needs_tool script
	local trick
	for trick in console ptmx pts; do
		rm -rf vol
		mkdir -p vol/pts
		rm -rf "vol/$trick"
		ln -s "$HOST/file" "vol/$trick"
		[[ $trick != pts ]] || { rm vol/pts && ln -s "$HOST/dir" vol/pts; }
		jq '.process.terminal = true | .process.args = ["sh", "-c", "echo x >/dev/console; echo x >/dev/ptmx; true"]
			| .mounts = [.mounts[] | if .destination == "/dev" then {destination: "/dev", type: "bind", source: "'"$BUNDLE/vol"'", options: ["bind", "rw"]} else . end]' \
			config.json >c2.json
		mkdir -p other
		jq '.root.path = "'"$BUNDLE/rootfs"'"' c2.json >other/config.json
		script -qec "${RT[*]} --root $ROOT run -b $BUNDLE/other $ID" /dev/null </dev/null >out.log 2>&1 || true
		host_untouched
	done
}

@test "a false /dev/null does not unmask what is masked (CVE-2025-31133)" {
	local trick
	echo hidden >rootfs/etc/hidden
	for trick in symlink file; do
		rm -f rootfs/dev/null
		if [[ $trick == symlink ]]; then ln -s /etc/hidden rootfs/dev/null; else echo hidden >rootfs/dev/null; fi
		jq '.mounts = [.mounts[] | select(.destination | startswith("/dev") | not)] | .linux.maskedPaths = ["/etc/hidden", "/proc/kcore", "/proc/sys/kernel"]
			| .process.args = ["sh", "-c", "cat /etc/hidden; ls /proc/sys/kernel; readlink /proc/self/fd/0; true"]' config.json >c2.json
		mkdir -p other
		jq '.root.path = "'"$BUNDLE/rootfs"'"' c2.json >other/config.json
		run_rt run -b other "$ID"
		out_lacks hidden
		out_lacks core_pattern
	done
	# A volume that serves as /dev, made by the container before.
	mkdir vol
	ln -s /proc/sysrq-trigger vol/null
	config '.linux.maskedPaths = ["/etc/hidden"] | .process.args = ["cat", "/etc/hidden"]
		| .mounts = [.mounts[] | select(.destination | startswith("/dev") | not)]
		+ [{destination: "/dev", type: "bind", source: "'"$BUNDLE/vol"'", options: ["bind", "rw"]}]'
	run_rt run "$ID"
	out_lacks hidden
}

@test "masked paths stay masked where a symlink is exchanged with them" {
	local i
	echo hidden >rootfs/etc/hidden
	mkdir rootfs/a
	echo hidden >rootfs/a/hidden
	ln -s "$HOST" rootfs/b
	config '.linux.maskedPaths = ["/a/file", "/a/dir"]'
	sh_args "$CLIMB"
	race a b
	for ((i = 0; i < 20; i++)); do
		rt run "$ID" </dev/null >out.log 2>&1 || true # "run" would wait for the racer
		[[ $(<out.log) != *ESCAPED* ]]
	done
	kill -0 "$RACER"
	host_untouched
}
