#!/usr/bin/env bats
# dockerd and containerd drive our runtime through containerd's shim.
# RUNTIME=runc runs the same with another runtime: what fails with that as well cannot work on this machine.
#
# The daemon lives in pid, mount and network namespaces of its own, held by their init, with /run and its bridge to itself:
# when that ends, nothing of it is left but control groups. All tests share one daemon; teardown removes every container
# and fails the test if anything of one is left.
load helpers

PARENT=/viv-test-docker

setup_file() {
	needs_root
	local tool
	for tool in dockerd containerd containerd-shim-runc-v2 ctr docker nsenter jq; do needs_tool "$tool"; done
	export DK=$BATS_FILE_TMPDIR DOCKER_HOST=unix:///run/docker.sock DOCKER_CONFIG=$BATS_FILE_TMPDIR/client
	export DK_RUNTIME=$VIV_BUILD/viv-runtime
	[[ -z ${RUNTIME:-} ]] || DK_RUNTIME=$(command -v "${RUNTIME%% *}")
	mkdir "$DK/data" "$DK/volume"
	find /sys/fs/cgroup -type d -name docker >"$DK/cgroup-dirs"
	# Who ignores SIGCHLD leaves no zombies: that is all an init must do here.
	unshare --mount --net --pid --fork --kill-child --mount-proc --propagation private \
		env --ignore-signal=CHLD sleep infinity 3>&- &
	export UNSHARE=$! HOLDER
	wait_for 20 has_holder
	inside sh -c 'mount -t tmpfs run /run && ip link set lo up'
	inside dockerd --iptables=false --ip-masq=false --ip-forward=false --userland-proxy=false --storage-driver vfs \
		--data-root "$DK/data" --exec-root /run/docker --pidfile /run/docker.pid --host "$DOCKER_HOST" \
		--cgroup-parent "$PARENT" --add-runtime "tested=$DK_RUNTIME" --default-runtime tested >"$DK/log" 2>&1 &
	wait_for 60 dk version >/dev/null || { cat "$DK/log" && return 1; }
	make_rootfs "$DK/rootfs"
	tar -C "$DK/rootfs" -c . | dk import - bb >/dev/null
}

# The child of unshare is the pid namespace's init.
has_holder() {
	HOLDER=$(pgrep --parent "$UNSHARE") && [[ $(readlink "/proc/$HOLDER/exe") == */sleep ]]
}

teardown_file() {
	[[ ${HOLDER:-} ]] || return 0
	kill -KILL "$HOLDER" # unshare(1) itself is deaf to SIGTERM
	wait_for 30 is_gone "$HOLDER"
	find /sys/fs/cgroup -depth -type d -path "*$PARENT*" -exec rmdir {} +
	find /sys/fs/cgroup -depth -type d -name docker | grep -vxFf "$DK/cgroup-dirs" | xargs -r rmdir
}

is_gone() { [[ ! -e /proc/$1 ]]; }

setup() { NAME=c$BATS_TEST_NUMBER; }

teardown() {
	[[ ${HOLDER:-} ]] || return 0
	dk ps -aq | xargs -r env nsenter "--target=$HOLDER" --mount --net --pid docker rm -f >/dev/null
	wait_for 30 nothing_left || fail "left behind: $(left)"
}

inside() { nsenter --mount --net --pid --target "$HOLDER" -- "$@" 3>&-; }
dk() { inside timeout 60 docker "$@"; }

# run_dk [-STATUS] ARGS: as bats' run, of docker
run_dk() {
	local expected=()
	[[ $1 != -* ]] || { expected=("$1") && shift; }
	run "${expected[@]}" --separate-stderr dk "$@" </dev/null
}

# running OPTION...: $NAME runs in the background, and ends with 7 on SIGTERM, with 8 on SIGUSR1.
running() {
	dk run -d --name "$NAME" "$@" bb sh -c 'trap "exit 7" TERM; trap "exit 8" USR1; echo up; while :; do sleep 0.05; done' >/dev/null
}

field() { dk inspect --type container --format "{{$1}}" "$NAME"; }
is_status() { [[ $(field .State.Status) == "$1" ]]; }

# cgroup_file CONTROLLER FILE: what it says for $NAME
cgroup_file() {
	needs_cgroup "$1"
	cat "$CG$PARENT/$(field .Id)/$2"
}

# left: what containers left: the shim's bundles, the runtime's state, groups, processes, mounts
left() {
	inside find /run/docker/runtime-tested /run/docker/containerd/daemon/io.containerd.runtime.v2.task /run/containerd/runc \
		-mindepth 2 -maxdepth 2 2>/dev/null | sed 's/^/file /'
	find /sys/fs/cgroup -mindepth 2 -type d -path "*$PARENT/*" | sed 's/^/cgroup /'
	inside pgrep -a containerd-shim | sed 's/^/process /'
	inside grep -E "$DK/data/(vfs|containers)|/run/docker/netns/[0-9a-f]{12}" /proc/self/mountinfo | sed 's/^/mount /'
}
nothing_left() { [[ -z $(left) ]]; }

@test "run passes output and the child's exit status" {
	run_dk run --rm bb sh -c 'echo out; echo err >&2; exit 42'
	status_is 42
	out_is out
	err_has err
}

@test "run passes stdin, and its end" {
	run --separate-stderr dk run --rm -i bb cat <<<"through the pipe"
	ok
	out_is "through the pipe"
}

@test "run -t gives a terminal" {
	run_dk run --rm -t bb sh -c 'tty; test -t 1 && echo terminal'
	ok
	out_has /dev/pts/0
	out_has terminal
}

@test "run: 126 for what is no program, 127 for what is not there, and nothing is left" {
	run_dk -127 run --rm bb /no/such/program
	err_has "no such file or directory"
	run_dk -127 run --rm bb nosuchprogram
	err_has "executable file not found"
	run_dk run --rm bb /etc
	status_is 126
	err_has "permission denied"
	run_dk -127 run --rm -w /tmp bb ./no
}

@test "environment, directory, user, host name" {
	run_dk run --rm -e A=b -w /tmp -u ann --hostname me bb sh -c 'echo $A; pwd; id -u; hostname'
	ok
	out_is $'b\n/tmp\n1000\nme'
}

@test "numeric user and additional groups" {
	run_dk run --rm -u 1234:5678 --group-add 77 bb id
	ok
	out_has "uid=1234 gid=5678"
	out_has 77
}

@test "a working directory that is missing is made" {
	run_dk run --rm -w /made/here bb pwd
	ok
	out_is /made/here
}

@test "volumes: read-write, read-only, and a tmpfs" {
	run_dk run --rm -v "$DK/volume:/rw" -v "$DK/volume:/ro:ro" --tmpfs /scratch:size=1m bb \
		sh -c 'echo kept >/rw/f; cat /ro/f; touch /ro/g 2>/dev/null || echo ro; stat -f -c %T /scratch'
	ok
	out_is $'kept\nro\ntmpfs'
	[[ $(cat "$DK/volume/f") == kept ]]
}

@test "--read-only" {
	run_dk run --rm --read-only bb sh -c 'touch /f 2>/dev/null || echo ro'
	ok
	out_is ro
}

@test "the bridge network: two containers reach each other" {
	running
	local ip
	ip=$(field .NetworkSettings.IPAddress)
	run_dk run --rm bb ping -c 1 -W 5 "$ip"
	ok
}

@test "another container's network, pid and ipc namespaces" {
	running --ipc shareable
	local show='for n in net pid ipc; do readlink /proc/self/ns/$n; done'
	run_dk run --rm --network "container:$NAME" --pid "container:$NAME" --ipc "container:$NAME" bb sh -c "$show"
	ok
	out_is "$(dk exec "$NAME" sh -c "$show")"
}

@test "the host's namespaces" {
	local show='for n in net pid uts ipc; do readlink /proc/self/ns/$n; done'
	run_dk run --rm --network host --pid host --uts host --ipc host bb sh -c "$show"
	ok
	out_is "$(inside sh -c "$show")"
}

@test "Docker's seccomp profile is on, and unconfined is off" {
	run_dk run --rm bb sed -n 's/^Seccomp:\t//p' /proc/self/status
	out_is 2
	run_dk run --rm --security-opt seccomp=unconfined bb sed -n 's/^Seccomp:\t//p' /proc/self/status
	out_is 0
	run_dk run --rm bb unshare --mount true
	failed
}

@test "capabilities: the default ones, dropped, added, all" {
	run_dk run --rm bb sed -n 's/^CapEff:\t//p' /proc/self/status
	out_is 00000000a80425fb
	run_dk run --rm --cap-drop ALL --cap-add CHOWN bb sed -n 's/^CapEff:\t//p' /proc/self/status
	out_is 0000000000000001
}

@test "no-new-privileges, oom_score_adj, sysctls, shm size" {
	run_dk run --rm --security-opt no-new-privileges --oom-score-adj 77 --sysctl net.ipv4.ip_default_ttl=33 --shm-size 2m bb sh -c \
		'sed -n "s/^NoNewPrivs:\t//p" /proc/self/status; cat /proc/self/oom_score_adj /proc/sys/net/ipv4/ip_default_ttl; df -k /dev/shm | tail -n 1'
	ok
	out_has $'1\n77\n33\n'
	out_has 2048
}

@test "a device: present, allowed as far as told" {
	run_dk run --rm --device /dev/zero:/dev/nothing:r bb sh -c 'head -c 3 /dev/nothing | wc -c; ls -l /dev/nothing'
	ok
	out_has "3"
	out_has "1,   5"
}

@test "a privileged container sees devices and may mount" {
	run_dk run --rm --privileged bb sh -c 'mount -t tmpfs t /tmp && ls /dev | wc -l'
	[[ $DK_RUNTIME == */viv* || $status -eq 0 ]] || skip "this root lacks CAP_SYS_RESOURCE, which this runtime does not allow for"
	ok
	[[ $output -gt 15 ]] || fail "$output devices"
}

@test "--init reaps" {
	inside sh -c 'command -v docker-init' >/dev/null || skip "needs docker-init"
	run_dk run --rm --init bb sh -c 'cat /proc/1/comm'
	ok
	out_is docker-init
}

@test "exec: output, status, user, environment, directory" {
	running
	run_dk exec -u ann -e A=b -w /tmp "$NAME" sh -c 'echo $A; pwd; id -u; exit 9'
	status_is 9
	out_is $'b\n/tmp\n1000'
}

@test "exec: stdin, terminal, and in the background" {
	running
	run --separate-stderr dk exec -i "$NAME" cat <<<piped
	out_is piped
	run_dk exec -t "$NAME" sh -c 'test -t 1 && echo terminal'
	out_has terminal
	dk exec -d "$NAME" touch /done
	wait_for 20 dk exec "$NAME" test -e /done
}

@test "exec: what cannot be executed is said, and the container lives on" {
	running
	run_dk exec "$NAME" nosuchprogram
	[[ $status -eq 126 || $status -eq 127 ]] # by dockerd's version
	[[ $output$stderr == *"executable file not found"* ]]
	run_dk exec "$NAME" /etc
	status_is 126
	is_status running
}

@test "exec --privileged" {
	running
	run_dk exec --privileged "$NAME" sed -n 's/^CapEff:\t//p' /proc/self/status
	ok
	(((0x$output >> 21) & 1)) || fail "no CAP_SYS_ADMIN in $output"
}

@test "logs" {
	dk run -d --name "$NAME" bb sh -c 'echo one; echo two >&2' >/dev/null
	wait_for 20 is_status exited
	run_dk logs "$NAME"
	ok
	out_is one
	err_has two
}

@test "attach passes signals and the exit status" {
	running
	(sleep 1 && dk kill -s TERM "$NAME" >/dev/null) &
	run_dk attach "$NAME"
	status_is 7
}

@test "pause and unpause" {
	running
	dk pause "$NAME" >/dev/null
	is_status paused
	run_dk exec "$NAME" true
	failed
	dk unpause "$NAME" >/dev/null
	is_status running
	dk exec "$NAME" true
}

@test "a paused container can be removed by force" {
	running
	dk pause "$NAME" >/dev/null
	dk rm -f "$NAME" >/dev/null
	run_dk inspect "$NAME"
	failed
}

@test "stop lets it end itself, then start and restart" {
	running
	dk stop -t 10 "$NAME" >/dev/null
	[[ $(field .State.ExitCode) == 7 ]]
	dk start "$NAME" >/dev/null
	is_status running
	dk restart -t 10 "$NAME" >/dev/null
	is_status running
	[[ $(dk logs "$NAME" | grep -c up) == 3 ]]
}

@test "stop kills what does not listen" {
	dk run -d --name "$NAME" bb sh -c 'trap "" TERM; while :; do sleep 0.05; done' >/dev/null
	dk stop -t 1 "$NAME" >/dev/null
	[[ $(field .State.ExitCode) == 137 ]]
}

@test "kill by name and number, wait" {
	running
	dk kill -s USR1 "$NAME" >/dev/null
	[[ $(dk wait "$NAME") == 8 ]]
	NAME=$NAME-2
	running
	dk kill -s 15 "$NAME" >/dev/null
	[[ $(dk wait "$NAME") == 7 ]]
}

@test "a restart policy starts it again" {
	dk run -d --name "$NAME" --restart on-failure:2 bb sh -c 'echo try; exit 1' >/dev/null
	wait_for 30 eval '[[ $(dk logs "$NAME" | grep -c try) == 3 ]]'
	wait_for 20 is_status exited
}

@test "a health check runs by exec" {
	running --health-cmd 'test -e /proc/1' --health-interval 1s
	wait_for 30 eval '[[ $(field .State.Health.Status) == healthy ]]'
}

@test "limits: memory, cpu, pids, cpuset" {
	running --memory 64m --memory-reservation 32m --cpus 0.5 --cpu-shares 512 --pids-limit 33 --cpuset-cpus 0
	[[ $(cgroup_file memory memory.limit_in_bytes) == 67108864 ]]
	[[ $(cgroup_file memory memory.soft_limit_in_bytes) == 33554432 ]]
	[[ $(cgroup_file cpu cpu.cfs_quota_us) == 50000 ]]
	[[ $(cgroup_file cpu cpu.shares) == 512 ]]
	[[ $(cgroup_file pids pids.max) == 33 ]]
	[[ $(cgroup_file cpuset cpuset.cpus) == 0 ]]
}

@test "update" {
	running --memory 64m
	dk update --memory 32m --memory-swap 64m --cpus 0.25 --pids-limit 44 "$NAME" >/dev/null
	[[ $(cgroup_file memory memory.limit_in_bytes) == 33554432 ]]
	[[ $(cgroup_file cpu cpu.cfs_quota_us) == 25000 ]]
	[[ $(cgroup_file pids pids.max) == 44 ]]
}

@test "out of memory is noticed" {
	dk run --name "$NAME" --memory 16m bb tail /dev/zero >/dev/null 2>&1 || true
	[[ $(field .State.OOMKilled) == true ]]
	[[ $(field .State.ExitCode) == 137 ]]
}

@test "top and stats" {
	running --memory 64m
	run_dk top "$NAME" -o pid,args
	ok
	out_has 'trap "exit 7" TERM'
	run_dk stats --no-stream --format '{{.MemUsage}} {{.PIDs}}' "$NAME"
	ok
	out_has "64MiB"
}

@test "cp into and out of a running container" {
	running
	echo copied >"$DK/f"
	dk cp "$DK/f" "$NAME:/tmp/f" >/dev/null
	[[ $(dk exec "$NAME" cat /tmp/f) == copied ]]
}

@test "ten containers at once" {
	local i pids=()
	for ((i = 0; i < 10; i++)); do
		dk run --rm bb sh -c "exit $i" </dev/null >/dev/null 2>&1 &
		pids+=($!)
	done
	for ((i = 0; i < 10; i++)); do
		wait "${pids[i]}" || [[ $? -eq $i ]]
	done
}

@test "containers live on while the daemon is away" {
	running
	local before
	before=$(field .State.Pid)
	inside sh -c 'kill -9 $(cat /run/docker.pid)'
	wait_for 30 eval '! dk version >/dev/null 2>&1'
	inside kill -0 "$before"
	# Its containerd outlives it; a second daemon takes over both.
	inside dockerd --live-restore --iptables=false --ip-masq=false --ip-forward=false --userland-proxy=false \
		--storage-driver vfs --data-root "$DK/data" --exec-root /run/docker --pidfile /run/docker.pid \
		--host "$DOCKER_HOST" --cgroup-parent "$PARENT" --add-runtime "tested=$DK_RUNTIME" --default-runtime tested \
		>>"$DK/log" 2>&1 &
	wait_for 60 dk version >/dev/null
	wait_for 30 is_status running
	[[ $(field .State.Pid) == "$before" ]]
	run_dk exec "$NAME" echo here
	out_is here
}

# containerd's own client, past dockerd.
ctr_() { inside ctr --address /run/docker/containerd/containerd.sock --namespace test "$@"; }

ctr_clean() {
	ctr_ task kill --signal KILL "$NAME" || true
	wait_for 20 eval 'ctr_ task delete "$NAME"'
	ctr_ container delete "$NAME"
} >/dev/null 2>&1

@test "containerd alone: run, exec, pause, resume, ps, metrics, kill" {
	ctr_ run --detach --runc-binary "$DK_RUNTIME" --rootfs "$DK/rootfs" "$NAME" /bin/sh -c 'trap "exit 7" TERM; while :; do sleep 0.05; done'
	run ctr_ task exec --exec-id e1 "$NAME" /bin/sh -c 'echo inside; exit 3'
	status_is 3
	out_is inside
	ctr_ task pause "$NAME"
	[[ $(ctr_ task list | awk -v n="$NAME" '$1 == n { print $3 }') == PAUSED ]]
	ctr_ task resume "$NAME"
	[[ $(ctr_ task list | awk -v n="$NAME" '$1 == n { print $3 }') == RUNNING ]]
	run ctr_ task ps "$NAME"
	out_has "$(ctr_ task list | awk -v n="$NAME" '$1 == n { print $2 }')"
	run ctr_ task metrics "$NAME"
	ok
	out_has pids
	ctr_ task kill --signal TERM "$NAME"
	wait_for 20 eval 'ctr_ task list | grep -q STOPPED'
	run ctr_ task delete "$NAME"
	out_has "exit code 7"
	ctr_clean || true
}

@test "containerd alone: a program that is missing leaves nothing" {
	run ctr_ run --rm --runc-binary "$DK_RUNTIME" --rootfs "$DK/rootfs" "$NAME" /no/such/program
	failed
	out_has "no such file or directory"
	ctr_clean || true
}
