#!/usr/bin/env bats
# A fault at every step: the runtime killed, or its system calls failing, at the N-th for every N in turn. What it leaves
# is nothing, or what `delete --force` removes. STRIDE=1 in the environment tries each N; the default samples them.
load helpers

setup_file() { common_setup_file; }
setup() {
	needs_root
	needs_viv
	common_setup
	PROGRAM=$VIV_BUILD/viv-runtime
	args sleep 1000
	CALLS='openat,openat2,mkdirat,write,mount_setattr,move_mount,fsopen,fsconfig,fsmount,open_tree,clone3,pivot_root,capset,setns,prctl,sendto,socketpair,recvfrom,flock,renameat,mknodat,unlinkat'
}
teardown() {
	! mountpoint -q "$BATS_TEST_TMPDIR/full" || umount -l "$BATS_TEST_TMPDIR/full"
	ROOT=$BATS_TEST_TMPDIR/state
	common_teardown
}

# sweep STRIDE FIRST DO [killat's OPTIONS]: DO N for each N, as long as there is an N-th call. DO returns killat's status.
sweep() {
	local stride=${STRIDE:-$1} n=$2 do=$3 rc
	while ((n < 3000)); do
		rc=0
		"$do" "$n" || rc=$?
		((rc < 2 || rc == 3)) || fail "killat $n: status $rc: $(<said.log)"
		((rc != 1)) || break
		n=$((n + stride))
	done
	((n > $2 + stride && n < 3000)) || fail "no fault was tried: the last was $n"
}

killat() { "$TOOLS/killat" "${KILLAT[@]}" "$1" -- "$PROGRAM" --root "$ROOT" "${@:2}" </dev/null >said.log 2>&1; }

# gone WHAT: after delete --force, which must not fail, nothing is left.
gone() {
	local left i
	rt delete --force "$ID" >delete.log 2>&1 || fail "$1: delete --force: $(<delete.log)"
	for i in 1 2 3 4 5 6 7 8 9 10; do
		left=$(leftovers)
		[[ $left ]] || return 0
		sleep 0.05 # somebody who was told to die may need a moment
	done
	fail "$1 left behind: $left"
}

# clean WHAT: a failed command has already undone what it did.
clean() {
	[[ ! $(leftovers) ]] || fail "$1 left behind without a word: $(leftovers); said: $(<said.log)"
}

create_killed() {
	local rc=0
	killat "$1" create "$ID" || rc=$?
	gone "create killed at call $1"
	return $rc
}
@test "create may be killed at any call" {
	KILLAT=()
	sweep 5 1 create_killed
}

@test "create's init, or both, may be killed at any call" {
	KILLAT=(-f)
	sweep 60 5 create_killed
	KILLAT=(-f -a)
	sweep 60 9 create_killed
}

start_killed() {
	local rc=0
	rt create "$ID" </dev/null >out.log 2>&1
	killat "$1" start "$ID" || rc=$?
	gone "start killed at call $1"
	return $rc
}
@test "start may be killed at any call" {
	KILLAT=()
	sweep 4 1 start_killed
}

run_killed() {
	local rc=0
	killat "$1" run "$ID" || rc=$?
	gone "run killed at call $1"
	return $rc
}
@test "run, its children or all of them may be killed at any call" {
	args true
	KILLAT=()
	sweep 6 1 run_killed
	KILLAT=(-f -a)
	sweep 24 3 run_killed
}

delete_killed() {
	local rc=0
	rt run -d "$ID" </dev/null >out.log 2>&1
	killat "$1" delete --force "$ID" || rc=$?
	gone "delete killed at call $1"
	return $rc
}
@test "delete may be killed at any call" {
	KILLAT=()
	sweep 5 1 delete_killed
}

exec_killed() {
	local rc=0
	killat "$1" exec "$ID" true || rc=$?
	rt state "$ID" >/dev/null || fail "exec killed at call $1: the container is no longer known"
	is_state "$ID" running || fail "exec killed at call $1: the container is $(ct_state "$ID")"
	return $rc
}
@test "exec may be killed at any call, and the container runs on" {
	start_sleeper
	KILLAT=()
	sweep 6 1 exec_killed
	KILLAT=(-f -a)
	sweep 24 5 exec_killed
	gone "exec"
}

# A failing call either does no harm, or the command fails with a message and has undone everything.
create_fails() {
	local rc=0
	killat "$1" create "$ID" || rc=$?
	if [[ $(rt state "$ID" 2>/dev/null | jq -r .status) != created ]]; then
		[[ -s said.log ]] || fail "create failed at call $1 and said nothing"
		((rc != 3)) || fail "create died of a signal at call $1: $(<said.log)"
		clean "create, with error ${KILLAT[*]} at $1,"
	fi
	gone "create, with error ${KILLAT[*]} at $1,"
	return $rc
}
@test "create: a call that fails is reported, and nothing is left" {
	local errno
	for errno in 12 28 24; do # ENOMEM ENOSPC EMFILE
		KILLAT=(-f -e $errno -n "$CALLS")
		sweep 60 $((errno % 5 + 1)) create_fails
	done
}

# The same for one call by its name, as the kernel would let it fail.
@test "create, start, exec and delete: each kind of call fails once" {
	local call rc
	for call in fsopen fsmount open_tree move_mount mount_setattr clone3 pivot_root capset socketpair mkdirat renameat mknodat; do
		KILLAT=(-f -e 12 -n $call)
		rc=0
		create_fails 1 || rc=$?
		((rc != 1)) || fail "create makes no $call"
	done
	for call in setns clone3 socketpair capset openat2; do
		rt run -d "$ID" </dev/null >out.log 2>&1
		"$TOOLS/killat" -f -e 12 -n $call 1 -- "$PROGRAM" --root "$ROOT" exec "$ID" true </dev/null >said.log 2>&1 || true
		[[ $call == openat2 || -s said.log ]] || fail "exec said nothing of a failed $call"
		is_state "$ID" running
		gone "exec with $call"
	done
}

exec_status() { rt_traced=$("$TOOLS/killat" -f -e 12 -n "$1" 1 -- sh -c '"$@"; echo "status $?"' - "$PROGRAM" --root "$ROOT" "${@:2}" 2>&1 </dev/null); }

@test "a failed call is status 1, of exec 255, and the message names the cause" {
	exec_status fsmount create "$ID"
	[[ $rt_traced == *"Cannot allocate memory"*"status 1" ]] || fail "$rt_traced"
	exec_status pivot_root run "$ID"
	[[ $rt_traced == *"Cannot allocate memory"*"status 1" ]] || fail "$rt_traced"
	clean create
	start_sleeper
	exec_status setns exec "$ID" true
	[[ $rt_traced == *"Cannot allocate memory"*"status 255" ]] || fail "$rt_traced"
}

start_fails() {
	local rc=0
	rt create "$ID" </dev/null >out.log 2>&1
	killat "$1" start "$ID" || rc=$?
	gone "start, with error at $1,"
	return $rc
}
delete_fails() {
	local rc=0
	rt run -d "$ID" </dev/null >out.log 2>&1
	killat "$1" delete --force "$ID" || rc=$?
	gone "delete, with error at $1,"
	return $rc
}
@test "start and delete: a call that fails leaves what delete --force removes" {
	KILLAT=(-e 12 -n "$CALLS")
	sweep 3 1 start_fails
	sweep 4 1 delete_fails
}

no_memory() {
	local rc=0
	killat "$1" create "$ID" || rc=$?
	gone "create without memory at $1"
	return $rc
}
@test "an allocation that fails ends the command, not its clean-up" {
	KILLAT=(-f -e 12 -n brk,mmap,mremap)
	sweep 1 1 no_memory
}

@test "SIGTERM and SIGINT during create undo it" {
	local sig hook pid
	printf '#!/bin/sh\n: >%s/hooked\nexec sleep 20\n' "$BATS_TEST_TMPDIR" >hook
	chmod +x hook
	config '.hooks = {createRuntime: [{path: "'"$BUNDLE/hook"'"}]}'
	config '.linux.resources.pids = {limit: 50}'
	for sig in TERM INT; do
		rm -f "$BATS_TEST_TMPDIR/hooked"
		"$PROGRAM" --root "$ROOT" create "$ID" </dev/null >said.log 2>&1 3>&- &
		pid=$!
		wait_for 5 test -e "$BATS_TEST_TMPDIR/hooked"
		kill -$sig $pid
		wait_for 5 eval "! kill -0 $pid 2>/dev/null"
		wait $pid && fail "create succeeded" || true
		clean "create interrupted by SIG$sig"
	done
}

# run would wait for the container's init, which has its pipes.
try_create() {
	status=0
	rt create "$ID" </dev/null >out.log 2>said.log || status=$?
	stderr=$(<said.log)
}
@test "a full state directory is reported, and nothing is left of the container" {
	local full=$BATS_TEST_TMPDIR/full ids=() i left
	mkdir "$full"
	mount -t tmpfs -o size=64k,nr_inodes=64 tmpfs "$full"
	ROOT=$full/state
	mkdir "$ROOT"
	# Fewer and fewer bytes, then fewer and fewer files.
	for i in 60 52 48 44 40 36; do
		head -c "${i}k" /dev/zero >"$full/ballast"
		try_create
		[[ $status -eq 0 || $stderr == *"No space left"* ]] || fail "status $status with $i k: $stderr"
		[[ $status -eq 0 ]] || [[ ! $(leftovers | grep -v "$full") ]] || fail "left: $(leftovers)"
		rt delete --force "$ID"
	done
	head -c 60k /dev/zero >"$full/ballast"
	head -c 100k /dev/zero >>"$full/ballast" 2>/dev/null || true
	try_create
	status_is 1
	err_has "No space left"
	rm "$full/ballast"
	while : >"$full/f$i"; do i=$((i + 1)); done 2>/dev/null
	try_create
	status_is 1
	err_has "No space left"
	rm "$full"/f*
	try_create
	ok
	rt delete --force "$ID"
	umount "$full"
	ROOT=$BATS_TEST_TMPDIR/state
}
