#!/usr/bin/env bats
# runtime-spec config.md, process.terminal and consoleSize; --console-socket.
load helpers

setup_file() { common_setup_file; }
setup() {
	needs_root
	common_setup
	SOCK=$BATS_TEST_TMPDIR/console
	config '.process.terminal = true'
}
teardown() {
	[[ -z ${TTY_PID:-} ]] || kill "$TTY_PID" 2>/dev/null || true
	common_teardown
}

# listen: recvtty at $SOCK; what the terminal says goes to tty.log.
listen() {
	rm -f "$SOCK"
	"$TOOLS/recvtty" "$SOCK" </dev/null >tty.log 2>tty.err 3>&- &
	TTY_PID=$!
	wait_for 5 test -S "$SOCK"
}

# in_terminal COMMAND...: as run, on a terminal of 33 rows and 77 columns; stdin is the keyboard.
in_terminal() {
	local words
	printf -v words '%q ' "$@"
	run script -qec "stty rows 33 cols 77; $words" /dev/null
	output=${output//$'\r'/}
	stderr=
}

@test "--console-socket: the terminal's master is sent, the program has the other end on 0, 1 and 2" {
	sh_args 'for i in 0 1 2; do test -t $i && echo tty$i; done; readlink /proc/self/fd/0; tty; ls -l /dev/console | cut -c1'
	listen
	rt create --console-socket "$SOCK" "$ID" </dev/null >out.log 2>&1
	rt start "$ID"
	wait "$TTY_PID"
	output=$(tr -d '\r' <tty.log)
	[[ $output == *tty0*tty1*tty2* ]] || fail "$output"
	out_has /dev/pts/0
	[[ ${output##*$'\n'} == c ]] || fail "$output"
}

@test "the terminal is the program's controlling one" {
	sh_args 'echo direct >/dev/tty; cut -d" " -f7 /proc/self/stat'
	listen
	rt run -d --console-socket "$SOCK" "$ID" </dev/null >out.log 2>&1
	wait "$TTY_PID"
	grep -q direct tty.log
	# 136:0, the first UNIX98 terminal
	grep -q "^$((136 * 256))" tty.log || fail "$(<tty.log)"
}

@test "consoleSize" {
	config '.process.consoleSize = {height: 21, width: 43}'
	sh_args 'stty size'
	listen
	rt run -d --console-socket "$SOCK" "$ID" </dev/null >out.log 2>&1
	wait "$TTY_PID"
	grep -q '21 43' tty.log || fail "$(<tty.log)"
}

@test "the terminal belongs to the container's user" {
	config '.process.user = {uid: 1000, gid: 1000}'
	sh_args 'stat -c %u "$(tty)"'
	listen
	rt run -d --console-socket "$SOCK" "$ID" </dev/null >out.log 2>&1
	wait "$TTY_PID"
	grep -q 1000 tty.log || fail "$(<tty.log)"
}

@test "a terminal without a console socket cannot be detached; a console socket without a terminal is an error" {
	run_rt create "$ID"
	failed
	[[ $stderr == *console* || $stderr == *terminal* || $stderr == *tty* ]] || fail "$stderr"
	config '.process.terminal = false'
	listen
	run_rt run -d --console-socket "$SOCK" "$ID"
	failed
}

@test "a console socket that nobody listens at" {
	run_rt create --console-socket "$BATS_TEST_TMPDIR/nosuch" "$ID"
	failed
	! is_viv || err_has nosuch
}

@test "run on a terminal: output, exit status, window size" {
	sh_args 'tty; stty size; exit 7'
	in_terminal "${RT[@]}" --root "$ROOT" run "$ID"
	status_is 7
	out_has /dev/pts/0
	out_has "33 77"
}

@test "run on a terminal: input reaches the program, and the caller's terminal is set back" {
	sh_args 'read line; echo "got $line"'
	run script -qec "stty -g >before; ${RT[*]} --root $ROOT run $ID; stty -g >after" /dev/null <<<hello
	out_has "got hello"
	[[ -s before && $(<before) == "$(<after)" ]]
}

@test "run on a terminal: a signal's status" {
	config '.linux.namespaces |= map(select(.type != "pid"))'
	sh_args 'kill -TERM $$'
	in_terminal "${RT[@]}" --root "$ROOT" run "$ID"
	status_is 143
}

@test "exec --tty" {
	config '.process.terminal = false'
	start_sleeper
	in_terminal "${RT[@]}" --root "$ROOT" exec --tty "$ID" sh -c 'tty; stty size; exit 5'
	status_is 5
	out_has /dev/pts/
	! is_viv || out_has "33 77" # runc 1.1 resizes late
	in_terminal "${RT[@]}" --root "$ROOT" exec "$ID" sh -c 'readlink /proc/self/fd/0'
	out_lacks /dev/pts/0$'\n'/dev/pts/0
}

@test "exec --tty --detach --console-socket" {
	config '.process.terminal = false'
	start_sleeper
	listen
	rt exec --tty --detach --console-socket "$SOCK" "$ID" sh -c 'echo from exec; tty' </dev/null
	wait "$TTY_PID"
	grep -q 'from exec' tty.log
}

@test "large output through a terminal arrives whole" {
	sh_args 'seq 1 20000'
	# The end of script(1)'s own input is echoed: as ^D and two backspaces by its terminal, as ^@ by the container's.
	script -qec "${RT[*]} --root $ROOT run $ID" /dev/null </dev/null | tr -d '\r' | sed 's/\^D\x08\x08//; s/\^@//g' >seq.log
	seq 1 20000 | cmp - seq.log
}
