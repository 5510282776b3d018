#!/usr/bin/env bats
# Debian's podman drives our runtime through conmon, as root and as an ordinary user.
# RUNTIME=runc runs the same with another runtime: what fails with that as well cannot work on this machine.
#
# podman leaves traces outside its storage (/run/netns, caches, firewall chains), so it runs in a mount and a network
# namespace of its own, held by a sleeping process. All tests share one storage, since making one takes longer than most
# of them; teardown removes every container and fails the test if anything of one is left.
load helpers

PARENT=/viv-test-podman
ROOTLESS=vivtestpod

setup_file() {
	needs_root
	local tool
	for tool in podman conmon busybox nsenter jq; do needs_tool "$tool"; done
	export PM=$BATS_FILE_TMPDIR PM_RUNTIME=$VIV_BUILD/viv-runtime
	[[ -z ${RUNTIME:-} ]] || PM_RUNTIME=$(command -v "${RUNTIME%% *}")
	chmod 711 "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR/file" "$PM"
	find /sys/fs/cgroup -mindepth 1 -maxdepth 1 >"$PM/cgroup-dirs"
	unshare --mount --net --propagation private sleep infinity 3>&- &
	export HOLDER=$!
	wait_for 5 has_own_namespaces
	inside sh -c 'ip link set lo up && mount -t tmpfs run /run && mount -t tmpfs lib /var/lib && mkdir /var/lib/containers'
	write_conf
	remove_user # of a run that was killed
	make_rootfs "$PM/rootfs"
	tar -C "$PM/rootfs" -cf "$PM/busybox.tar" .
	pm import -q "$PM/busybox.tar" bb >"$PM/image"
}

has_own_namespaces() { [[ $(readlink "/proc/$HOLDER/ns/net") != "$(readlink /proc/self/ns/net)" ]]; }

# write_conf: file locks, for the default ones are in /dev/shm; and limits that a root without CAP_SYS_RESOURCE may set.
write_conf() {
	export CONTAINERS_CONF=$PM/containers.conf DISABLE_HC_SYSTEMD=true
	cat >"$CONTAINERS_CONF" <<-END
		[containers]
		default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
		[engine]
		cgroup_manager = "cgroupfs"
		events_logger = "file"
		lock_type = "file"
		runtime = "$PM_RUNTIME"
	END
	chmod 644 "$CONTAINERS_CONF"
}

teardown_file() {
	[[ ${HOLDER:-} ]] || return 0
	remove_user
	kill "$HOLDER"
	local dir
	delete_stray_files
	find /sys/fs/cgroup -depth -type d -path "*$PARENT*" -exec rmdir {} +
	for dir in /sys/fs/cgroup/*; do
		grep -qxF "$dir" "$PM/cgroup-dirs" || rmdir "$dir"
	done
}

# delete_stray_files: where a controller is not mounted, podman makes plain directories and files of those names, and fails
# to remove them.
delete_stray_files() { find /sys/fs/cgroup -fstype tmpfs -type f -path "*$PARENT*" -delete; }

setup() { NAME=c$BATS_TEST_NUMBER; }

teardown() {
	[[ ${HOLDER:-} ]] || return 0
	delete_stray_files
	pm pod rm -fa -t 0 >/dev/null
	pm rm -fa -t 0 >/dev/null
	wait_for 5 nothing_left || fail "left behind: $(left)"
}

# inside COMMAND...: in podman's namespaces. conmon outlives the call, so bats' own descriptor stays here.
inside() { nsenter --mount --net --target "$HOLDER" -- "$@" 3>&-; }

pm() { inside podman --root "$PM/r" --runroot "$PM/rr" --tmpdir "$PM/t" --storage-driver overlay "$@"; }

# pm_run WORD...: a container of the test's own group, without a network.
pm_run() { pm run --cgroup-parent "$PARENT" --network none "$@"; }

# running OPTION...: $NAME runs in the background, and ends with 7 on SIGTERM.
running() { pm_run -d --name "$NAME" "$@" bb sh -c 'trap "exit 7" TERM; echo up; while :; do sleep 0.05; done' >/dev/null; }

# run_pm [-STATUS] COMMAND...: as bats' run, of which -STATUS is.
run_pm() {
	local expected=()
	[[ $1 != -* ]] || { expected=("$1") && shift; }
	run "${expected[@]}" --separate-stderr "$@" </dev/null
}

# field FORMAT: of $NAME, as podman inspect has it
field() { pm inspect --type container --format "{{$1}}" "$NAME"; }
is_status() { [[ $(field .State.Status) == "$1" ]]; }

# cgroup_file CONTROLLER FILE: what it says for $NAME
cgroup_file() {
	needs_cgroup "$1"
	cat "$CG$(field .State.CgroupPath)/$2"
}

# left: mounts, groups and processes of containers
left() {
	local f
	inside grep -F "$PM/r" /proc/self/mountinfo | awk '$5 ~ /merged|shm|rootfs/ { print "mount " $5 }'
	find /sys/fs/cgroup -type d -path "*$PARENT/*libpod-*" -not -name 'libpod-conmon*' | sed 's/^/cgroup /'
	for f in $(grep -ls "$PARENT/.*libpod-" /proc/[0-9]*/cgroup); do
		grep -qsP '^State:\t[^ZX]' "${f%cgroup}status" && echo "process ${f//[^0-9]/}"
	done
	inside find "$PM/t" /run/viv /run/runc -mindepth 1 -maxdepth 1 -regex '.*/[0-9a-f]*' 2>/dev/null | sed 's/^/file /'
}
nothing_left() { [[ -z $(left) ]]; }

@test "run passes output and the child's exit status" {
	run_pm pm_run --rm bb sh -c 'echo out; echo err >&2; exit 42'
	status_is 42
	out_is out
	err_has err
}

@test "run passes stdin" {
	run --separate-stderr pm_run --rm -i bb cat <<<"through the pipe"
	ok
	out_is "through the pipe"
}

@test "run: 125 for podman, 126 for what is no program, 127 for what is not there" {
	run_pm pm_run --rm --no-such-option bb true
	status_is 125
	run_pm pm_run --rm bb /etc
	status_is 126
	run_pm pm_run --rm bb /etc/passwd
	status_is 126
	run_pm -127 pm_run --rm bb no-such-program
	run_pm -127 pm_run --rm bb /no/such/program
}

@test "run: 128 + the signal" {
	run_pm pm_run --rm --pid host bb sh -c 'kill -TERM $$'
	status_is 143
	run_pm pm_run --rm --pid host bb sh -c 'kill -SEGV $$'
	status_is 139
}

@test "run -t gives a terminal" {
	run_pm pm_run --rm -t bb sh -c 'tty; stat -c %t /dev/console; exit 3'
	status_is 3
	out_has /dev/pts/0
	run_pm pm_run --rm bb tty
	status_is 1
}

@test "run -it through a real terminal" {
	needs_tool script
	# script(1) hands its words to a shell.
	run --separate-stderr script -qec "nsenter -m -n -t $HOLDER podman --root $PM/r --runroot $PM/rr --tmpdir $PM/t \
		--storage-driver overlay run --rm -it --cgroup-parent $PARENT --network none bb sh" /dev/null <<<$'echo a=$((40 + 2))\nexit 5'
	status_is 5
	out_has a=42
}

@test "the runtime is ours" {
	running
	[[ $(field .OCIRuntime) == "$PM_RUNTIME" ]]
	[[ $(pm info --format '{{.Host.OCIRuntime.Path}}') == "$PM_RUNTIME" ]]
	[[ $(field .State.Pid) == "$(inside "$PM_RUNTIME" state "$(field .Id)" | jq .pid)" ]]
}

@test "run -d: logs, wait, and the exit status in inspect" {
	running
	wait_for 5 logs_say up
	is_status running
	pm stop -t 5 "$NAME"
	[[ $(pm wait "$NAME") == 7 ]]
	is_status exited
	[[ $(field .State.ExitCode) == 7 ]]
}
logs_say() { pm logs "$NAME" | grep -qx "$1"; }

@test "start again after the end" {
	running
	pm stop -t 5 "$NAME"
	pm start "$NAME"
	is_status running
	pm restart -t 5 "$NAME"
	is_status running
	[[ $(pm logs "$NAME" | grep -c up) == 3 ]]
}

@test "stop kills what ignores SIGTERM, after its time" {
	pm_run -d --name "$NAME" bb sh -c 'trap "" TERM; while :; do sleep 0.05; done'
	pm stop -t 1 "$NAME"
	[[ $(field .State.ExitCode) == 137 ]]
}

@test "kill sends the signal" {
	running
	pm kill -s TERM "$NAME"
	[[ $(pm wait "$NAME") == 7 ]]
	pm start "$NAME"
	pm kill "$NAME"
	[[ $(pm wait "$NAME") == 137 ]]
}

@test "rm -f of a running and of a paused container" {
	running
	pm rm -f -t 0 "$NAME"
	running
	pm pause "$NAME"
	pm rm -f -t 0 "$NAME"
	run_pm pm container exists "$NAME"
	status_is 1
}

@test "exec: status, user, directory, environment, stdin" {
	running
	run_pm pm exec -u ann -w /tmp -e A=b "$NAME" sh -c 'id -un; pwd; echo $A; exit 9'
	status_is 9
	out_is $'ann\n/tmp\nb'
	run --separate-stderr pm exec -i "$NAME" cat <<<"into it"
	out_is "into it"
	run_pm -127 pm exec "$NAME" no-such-program
	run_pm pm exec "$NAME" /etc
	status_is 126
}

@test "exec -t gives a terminal, exec -d comes back at once" {
	running
	run_pm pm exec -t "$NAME" tty
	ok
	out_has /dev/pts/0
	run_pm pm exec "$NAME" tty
	status_is 1
	pm exec -d "$NAME" sh -c 'sleep 0.2; touch /done'
	wait_for 5 pm exec "$NAME" test -e /done
}

@test "pause stops the clock, unpause starts it" {
	running
	pm exec -d "$NAME" sh -c 'while :; do echo >>/ticks; sleep 0.02; done'
	wait_for 5 pm exec "$NAME" test -s /ticks
	pm pause "$NAME"
	is_status paused
	local ticks before
	ticks=$(pm mount "$NAME")/ticks
	before=$(inside stat -c %s "$ticks")
	sleep 0.3
	[[ $(inside stat -c %s "$ticks") == "$before" ]]
	pm unpause "$NAME"
	is_status running
	wait_for 5 ticks_moved "$ticks" "$before"
	pm umount "$NAME"
}
ticks_moved() { (($(inside stat -c %s "$1") > $2)); }

@test "limits are in the cgroup files, update changes them" {
	running --memory 64m --cpus 0.5 --pids-limit 50
	[[ $(cgroup_file memory memory.limit_in_bytes) == $((64 << 20)) ]]
	[[ $(cgroup_file cpu cpu.cfs_quota_us) == 50000 ]]
	[[ $(cgroup_file pids pids.max) == 50 ]]
	pm update --memory 80m --cpus 0.7 "$NAME"
	[[ $(cgroup_file memory memory.limit_in_bytes) == $((80 << 20)) ]]
	[[ $(cgroup_file cpu cpu.cfs_quota_us) == 70000 ]]
	[[ $(cgroup_file pids pids.max) == 50 ]]
}

@test "a container over its memory limit is killed" {
	run_pm pm_run --rm --memory 16m --memory-swap 16m bb sh -c 'x=x; while :; do x=$x$x; done'
	status_is 137
}

@test "stats and top see the container's processes" {
	running
	[[ $(pm top "$NAME" pid | sed 1d | head -1) == 1* ]]
	[[ $(pm stats --no-stream --format '{{.PIDs}}' "$NAME") == [12] ]]
}

@test "health checks" {
	running --health-cmd 'test -e /healthy'
	run_pm pm healthcheck run "$NAME"
	status_is 1
	pm exec "$NAME" touch /healthy
	run_pm pm healthcheck run "$NAME"
	ok
}

@test "--read-only, --tmpfs and -v" {
	mkdir "$BATS_TEST_TMPDIR/vol"
	run_pm pm_run --rm --read-only --tmpfs /scratch -v "$BATS_TEST_TMPDIR/vol:/vol" -v "$PM/rootfs/etc:/ro:ro" bb sh -c '
		touch /no 2>/dev/null && exit 10
		touch /ro/no 2>/dev/null && exit 11
		echo kept >/vol/file && touch /scratch/x'
	ok
	[[ $(<"$BATS_TEST_TMPDIR/vol/file") == kept ]]
}

@test "--user, --cap-drop, --cap-add, no-new-privileges" {
	run_pm pm_run --rm --user ann bb sh -c 'id -u; grep CapEff /proc/self/status'
	ok
	out_is $'1000\nCapEff:\t0000000000000000'
	run_pm pm_run --rm --cap-drop all bb grep -E 'Cap(Prm|Eff|Bnd)' /proc/self/status
	out_is $'CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000'
	run_pm pm_run --rm --cap-drop all --cap-add chown bb grep CapEff /proc/self/status
	out_is $'CapEff:\t0000000000000001'
	run_pm pm_run --rm --security-opt no-new-privileges bb grep NoNewPrivs /proc/self/status
	out_is $'NoNewPrivs:\t1'
}

@test "the default seccomp profile is loaded, and can be left out" {
	# The profile looks into personality(2)'s argument: -R asks for one that is not in it.
	run_pm pm_run --rm bb sh -c 'grep Seccomp: /proc/self/status; linux64 true && linux64 -R true'
	failed
	out_is $'Seccomp:\t2'
	err_has "personality(0x40000): Function not implemented"
	run_pm pm_run --rm --security-opt seccomp=unconfined bb sh -c 'grep Seccomp: /proc/self/status; linux64 -R true'
	ok
	out_is $'Seccomp:\t0'
}

@test "--init reaps" {
	needs_tool catatonit
	run_pm pm_run --rm --init bb sh -c 'readlink /proc/1/exe; kill -KILL $$'
	status_is 137
	out_has /run/podman-init
}

@test "--hostname, --sysctl, --ulimit, --shm-size, --device" {
	run_pm pm_run --rm --hostname pond --sysctl net.ipv4.ip_forward=1 --ulimit nofile=77:88 --ulimit nproc=99 --shm-size 1m \
		--device /dev/zero:/dev/nothing bb sh -c 'hostname; cat /proc/sys/net/ipv4/ip_forward; ulimit -n; ulimit -Hn
			df -k /dev/shm | awk "/shm/ { print \$2 }"; head -c1 /dev/nothing | wc -c'
	ok
	out_is $'pond\n1\n77\n88\n1024\n1'
}

@test "--userns with mapped ids" {
	run_pm pm_run --rm --uidmap 0:100000:2000 --gidmap 0:100000:2000 bb sh -c 'id -u; awk "{ print \$2 }" /proc/self/uid_map'
	ok
	out_is $'0\n100000'
}

@test "--network host is the network of podman" {
	run_pm pm run --rm --cgroup-parent "$PARENT" --network host bb readlink /proc/self/ns/net
	ok
	out_is "$(readlink "/proc/$HOLDER/ns/net")"
}

@test "the default network gives an address" {
	run_pm pm run --rm --cgroup-parent "$PARENT" bb sh -c 'ip -4 addr show eth0 | grep -o "inet 10[.0-9]*" && ip route'
	ok
	out_has "default via 10."
}

@test "containers of a pod share its namespaces" {
	needs_tool catatonit
	# The pod's own container runs podman's pause image, which podman builds from catatonit.
	pm pod create --name pod --share net,ipc,uts --cgroup-parent "$PARENT" --network none
	pm run -d --pod pod --name one bb sh -c 'echo here | nc -l -p 7000; sleep 100'
	pm run -d --pod pod --name two bb sleep 100
	local ns
	for ns in net ipc uts; do
		[[ $(pm exec one readlink "/proc/1/ns/$ns") == "$(pm exec two readlink "/proc/1/ns/$ns")" ]]
	done
	[[ $(pm exec one readlink /proc/1/ns/pid) != "$(pm exec two readlink /proc/1/ns/pid)" ]]
	wait_for 5 listens
	[[ $(pm exec two nc 127.0.0.1 7000 </dev/null) == here ]]
	pm pod stop -t 1 pod
	pm pod start pod
	[[ $(pm pod inspect pod --format '{{.State}}') == Running ]]
}
listens() { pm exec two netstat -ltn | grep -q :7000; }

@test "ten containers at once" {
	local i pids=()
	for i in {1..10}; do
		pm_run --rm bb sh -c "exit $((20 + i))" &
		pids+=($!)
	done
	for i in {1..10}; do
		status=0
		wait "${pids[i - 1]}" || status=$?
		status_is $((20 + i))
	done
}

# The ordinary user

# make_user: an account with subordinate ids, its home and run directories in $PM.
make_user() {
	needs_tool newuidmap
	if ! id "$ROOTLESS" &>/dev/null; then
		useradd --create-home --home-dir "$PM/home" --shell /bin/sh "$ROOTLESS"
		install -d -m 700 -o "$ROOTLESS" "$PM/xdg"
		chmod 644 "$PM/busybox.tar"
		up import -q "$PM/busybox.tar" bb >/dev/null
	fi
	grep -q "^$ROOTLESS:" /etc/subuid
}

# remove_user: podman's pause process keeps the user namespace in which alone all its files can be deleted.
remove_user() {
	id "$ROOTLESS" &>/dev/null || return 0
	up rm -fa -t 0 >/dev/null 2>&1 || true
	up unshare rm -rf "$PM/home/.local" 2>/dev/null || true
	kill_user_processes
	userdel --remove "$ROOTLESS" 2>/dev/null
	rm -rf "$PM/xdg"
}

kill_user_processes() {
	local pid
	for pid in $(pgrep -u "$ROOTLESS"); do kill -9 "$pid"; done
	wait_for 5 no_user_process
}
no_user_process() { ! ps -u "$ROOTLESS" -o stat= | grep -q '^[^Z]'; }

# up WORD...: podman as the user
up() {
	inside setpriv --reuid "$ROOTLESS" --regid "$ROOTLESS" --init-groups env -C / -i PATH="$PATH" HOME="$PM/home" \
		USER="$ROOTLESS" XDG_RUNTIME_DIR="$PM/xdg" CONTAINERS_CONF="$CONTAINERS_CONF" podman --storage-driver vfs "$@"
}

up_running() {
	up run -d --network none --name "$NAME" bb sh -c 'trap "exit 7" TERM; echo up; while :; do sleep 0.05; done' >/dev/null
}

@test "rootless: run, its exit status, its ids" {
	make_user
	run_pm up run --rm --network none bb sh -c 'id -u; awk "{ print \$2; exit }" /proc/self/uid_map; exit 6'
	status_is 6
	out_is $'0\n'"$(id -u "$ROOTLESS")"
	run_pm up run --rm --network none --user ann bb id -un
	ok
	out_is ann
	run_pm -127 up run --rm --network none bb no-such-program
}

@test "rootless: logs, exec, exec -t, stop, start, rm -f" {
	make_user
	up_running
	wait_for 5 up_logs
	run_pm up exec "$NAME" sh -c 'echo in; exit 9'
	status_is 9
	out_is in
	run_pm up exec -t "$NAME" tty
	ok
	out_has /dev/pts/0
	up stop -t 5 "$NAME"
	[[ $(up inspect --format '{{.State.ExitCode}} {{.OCIRuntime}}' "$NAME") == "7 $PM_RUNTIME" ]]
	up start "$NAME"
	up rm -f -t 0 "$NAME"
	run_pm up container exists "$NAME"
	status_is 1
}
up_logs() { up logs "$NAME" | grep -qx up; }

@test "rootless: read-only root, volumes, dropped capabilities, seccomp" {
	make_user
	inside install -d -o "$ROOTLESS" "$PM/xdg/vol"
	run_pm up run --rm --network none --read-only --cap-drop all -v "$PM/xdg/vol:/vol" bb sh -c '
		touch /no 2>/dev/null && exit 10
		echo kept >/vol/file
		grep -E "CapBnd|Seccomp:" /proc/self/status'
	ok
	out_is $'CapBnd:\t0000000000000000\nSeccomp:\t2'
	[[ $(<"$PM/xdg/vol/file") == kept && $(stat -c %U "$PM/xdg/vol/file") == "$ROOTLESS" ]]
}
