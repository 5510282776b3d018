#!/usr/bin/env bats
# create, start, run: the life of a container from its bundle to its exit status.
load helpers

setup_file() { common_setup_file; }
setup() { common_setup; }
teardown() { common_teardown; }

@test "run passes output, exit status and stdin" {
	sh_args 'read x; echo "got $x"; echo oops >&2; exit 42'
	run --separate-stderr rt run "$ID" <<<hello
	status_is 42
	out_is "got hello"
	err_has oops
}

@test "run reports a signal as 128 + its number" {
	# The init of a pid namespace is immune to its own signals: no pid namespace here.
	config '.linux.namespaces |= map(select(.type != "pid"))'
	sh_args 'kill -TERM $$'
	run_rt run "$ID"
	status_is 143
}

@test "run removes the container when it ends" {
	run_rt run "$ID"
	ok
	run_rt state "$ID"
	failed
}

@test "run --keep leaves a stopped container" {
	is_viv || [[ $("${RT[@]}" run --help) == *--keep* ]] || skip "no --keep"
	run_rt run --keep "$ID"
	ok
	is_state "$ID" stopped
	run_rt delete "$ID"
	ok
}

@test "create starts nothing before start" {
	sh_args 'echo started > /tmp/mark'
	rt create "$ID" </dev/null >out.log 2>&1
	is_state "$ID" created
	sleep 0.2
	[[ ! -e rootfs/tmp/mark ]]
	rt start "$ID"
	wait_for 5 is_state "$ID" stopped
	[[ $(<rootfs/tmp/mark) == started ]]
}

@test "start twice fails, and so does start after the end" {
	start_sleeper
	run_rt start "$ID"
	failed
	rt kill "$ID" KILL
	wait_for 5 is_state "$ID" stopped
	run_rt start "$ID"
	failed
}

@test "the configuration is read at create: later edits have no effect" {
	sh_args 'echo first > /tmp/mark'
	rt create "$ID" </dev/null >out.log 2>&1
	sh_args 'echo second > /tmp/mark'
	rt start "$ID"
	wait_for 5 is_state "$ID" stopped
	[[ $(<rootfs/tmp/mark) == first ]]
}

@test "create --pid-file names the container's init" {
	args sleep 1000
	rt create --pid-file "$BATS_TEST_TMPDIR/pid" "$ID" </dev/null >out.log 2>&1
	[[ $(<"$BATS_TEST_TMPDIR/pid") == "$(rt state "$ID" | jq .pid)" ]]
	kill -0 "$(<"$BATS_TEST_TMPDIR/pid")"
}

@test "a bundle elsewhere: --bundle absolute and relative" {
	sh_args 'cat /etc/hostname'
	cd "$BATS_TEST_TMPDIR"
	run_rt run --bundle "$BUNDLE" "$ID"
	out_is Vivarium
	run_rt run -b bundle "$ID"
	out_is Vivarium
}

@test "run --detach returns at once; the container lives on and its status is kept" {
	args sleep 1000
	rt run -d --pid-file pid "$ID" </dev/null >out.log 2>&1
	is_state "$ID" running
	kill -0 "$(<pid)"
}

@test "detached: start's caller is not the container's parent" {
	start_sleeper
	local pid
	pid=$(rt state "$ID" | jq .pid)
	[[ $(awk '/^PPid/ { print $2 }' "/proc/$pid/status") != "$$" ]]
}

@test "root.path may be absolute" {
	mv rootfs "$BATS_TEST_TMPDIR/elsewhere"
	config '.root.path = $p' --arg p "$BATS_TEST_TMPDIR/elsewhere"
	sh_args 'cat /etc/hostname'
	run_rt run "$ID"
	out_is Vivarium
}

@test "root.readonly" {
	config '.root.readonly = true'
	sh_args 'touch /file'
	run_rt run "$ID"
	failed
	err_has "Read-only"
}

@test "a container without a command cannot be started, unless it is only made" {
	config 'del(.process.args)'
	run_rt run "$ID"
	failed
	run_rt state "$ID"
	failed
}

@test "--no-pivot and a root file system without pivot_root" {
	run_rt run --no-pivot "$ID"
	ok
}

@test "--no-new-keyring keeps the caller's session keyring" {
	run_rt run --no-new-keyring "$ID"
	ok
}

@test "--preserve-fds hands over exactly the fds asked for" {
	cp "$TOOLS/fdlist" rootfs/bin/
	args fdlist
	echo data >"$BATS_TEST_TMPDIR/data"
	run --separate-stderr rt run --preserve-fds 2 "$ID" 3<"$BATS_TEST_TMPDIR/data" 4</dev/zero 5</dev/null 6</dev/null </dev/null
	ok
	[[ $(grep -c '^[0-9]' <<<"$output") -eq 5 ]] || fail "$output"
	grep -q '^3 .*data$' <<<"$output"
	grep -q '^4 .*zero$' <<<"$output"
}

@test "LISTEN_FDS: socket activation's fds arrive at 3" {
	cp "$TOOLS/fdlist" rootfs/bin/
	sh_args 'fdlist; echo "n=$LISTEN_FDS pid=$LISTEN_PID"'
	run --separate-stderr sh -c 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@" 3</dev/zero' sh "${RT[@]}" --root "$ROOT" run "$ID" </dev/null
	ok
	grep -q '^3 .*zero$' <<<"$output"
	out_has "n=1 pid=1"
}

@test "a notify socket: READY=1 of the container reaches the host's supervisor" {
	needs_tool socat
	cp "$TOOLS/sdnotify" rootfs/bin/
	sh_args 'sdnotify READY=1; sleep 1000'
	socat -u "UNIX-RECV:$BATS_TEST_TMPDIR/n.sock" "OPEN:$BATS_TEST_TMPDIR/n.log,creat" 3>&- &
	local socat_pid=$!
	wait_for 5 test -S "$BATS_TEST_TMPDIR/n.sock"
	NOTIFY_SOCKET=$BATS_TEST_TMPDIR/n.sock timeout 20 "${RT[@]}" --root "$ROOT" run -d "$ID" </dev/null >out.log 2>&1
	wait_for 5 grep -q READY=1 "$BATS_TEST_TMPDIR/n.log"
	kill "$socat_pid"
}

@test "an id may hold letters, digits, _ + - . and nothing else" {
	local good bad
	for good in a "a.b" "a+b_c-d" 0; do
		run_rt run "$good"
		ok
	done
	for bad in "" . .. "a/b" "../x" "a b" 'a$b' $'a\nb' "ä"; do
		run_rt run "$bad"
		failed
	done
}

@test "one name, one container" {
	start_sleeper
	config '.linux.cgroupsPath += "-second"'
	run_rt run "$ID"
	failed
	err_has "exist"
	is_state "$ID" running
}

@test "20 containers at once" {
	local i pids=()
	sh_args 'exit 7'
	config 'del(.linux.cgroupsPath)'
	for i in {1..20}; do
		rt run "$ID-$i" </dev/null >/dev/null 2>&1 &
		pids+=($!)
	done
	for i in "${pids[@]}"; do
		run wait "$i"
		wait "$i" || [[ $? -eq 7 ]]
	done
	[[ -z $(rt list -q) ]]
}
