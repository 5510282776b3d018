#!/usr/bin/env bats
# The state store under many processes, sudden death, and file systems that fail. test/lib/statectl.c drives it.

load helpers.bash

setup() {
	DIR=$BATS_TEST_TMPDIR/store
	PIDS=()
}

teardown() {
	local pid
	for pid in "${PIDS[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
	wait
	if mountpoint -q "$DIR"; then umount "$DIR"; fi
}

ctl() { "$TOOLS/statectl" "$DIR" "$@"; }
run_ctl() { run --separate-stderr ctl "$@"; }

# in_background FILE ARGS...: statectl, its stdout in FILE; sets PID.
in_background() {
	"$TOOLS/statectl" "$DIR" "${@:2}" >"$1" 2>"$1.err" 3>&- &
	PID=$!
	PIDS+=("$PID")
}

says() { grep -qx "$2" "$1"; }

# steps_said: how many steps of the work were acknowledged.
steps_said() { grep -c '^step' "$BATS_TEST_TMPDIR/said" || true; }

# only_our_files: what a store consists of, and nothing else.
only_our_files() {
	local f
	for f in "$DIR"/* "$DIR"/.[!.]*; do
		case ${f##*/} in
		state.db | state.db-wal | state.db-shm | state.told | '*' | '.[!.]*') ;;
		*) fail "left behind: $f" ;;
		esac
	done
}

# sweep KILLAT-OPTIONS -- FIRST STRIDE WORK-ARGS...: runs the work once for each N, until it ends by itself; after each
# round everything acknowledged is there and the store works.
sweep() {
	local options=() n status rounds=0
	while [[ $1 != -- ]]; do options+=("$1") && shift; done
	local first=$2 stride=$3
	shift 3
	for ((n = first; ; n += stride)); do
		rm -rf "$DIR"
		status=0
		"$TOOLS/killat" "${options[@]}" "$n" -- "$TOOLS/statectl" "$DIR" work "$@" \
			>"$BATS_TEST_TMPDIR/said" 2>"$BATS_TEST_TMPDIR/said.err" || status=$?
		[[ $status -ne 1 ]] || break
		[[ $status -eq 0 ]] || fail "call $n: killat says $status: $(cat "$BATS_TEST_TMPDIR/said.err")"
		ctl verify "$(steps_said)" "${@:2}" || fail "call $n, $(steps_said) steps acknowledged"
		only_our_files || fail "call $n"
		rounds=$((rounds + 1))
	done
	[[ $rounds -gt 0 && $(steps_said) -eq $1 ]] || fail "$rounds rounds; the last did $(steps_said) of $1 steps"
	echo "$rounds rounds"
}

@test "eight processes increment one number, no update is lost" {
	local i
	for i in 1 2 3 4 5 6 7 8; do
		in_background "$BATS_TEST_TMPDIR/out.$i" incr counter 200
	done
	for i in "${PIDS[@]}"; do wait "$i" || fail "an incrementer failed: $(cat "$BATS_TEST_TMPDIR"/out.*.err)"; done
	PIDS=()
	run_ctl get counter
	ok
	out_is 1600
	run_ctl revision
	out_is 1601
}

@test "eight processes create one store at the same time" {
	local i round
	for round in 1 2 3 4 5; do
		rm -rf "$DIR"
		PIDS=()
		for i in 1 2 3 4 5 6 7 8; do in_background "$BATS_TEST_TMPDIR/out.$i" put "key$i" v; done
		for i in "${PIDS[@]}"; do wait "$i" || fail "$(cat "$BATS_TEST_TMPDIR"/out.*.err)"; done
		run_ctl list
		[[ ${#lines[@]} -eq 8 ]] || fail "${#lines[@]} keys: $output"
	done
	PIDS=()
}

@test "a watch in another process sees every change in order" {
	local i
	ctl put w/old 0
	in_background "$BATS_TEST_TMPDIR/watch" watch w/ 0 60
	wait_for 5 says "$BATS_TEST_TMPDIR/watch" watching
	for i in {1..20}; do
		ctl put "w/$i" "$i" >/dev/null
		ctl put "other/$i" "$i" >/dev/null
	done
	ctl incr w/n 40
	wait "$PID"
	diff <(seq 1 20 | sed 's,.*,put w/&=&,'; seq 1 40 | sed 's,^,put w/n=,') <(tail -n +2 "$BATS_TEST_TMPDIR/watch")
}

@test "a watch sees what a process committed and was killed before telling" {
	local n
	ctl put w/0 0
	# The write of state.told is the last call but a few: kill there, and at its neighbours.
	"$TOOLS/killat" -v 0 -- "$TOOLS/statectl" "$DIR" put w/probe 0 2>"$BATS_TEST_TMPDIR/count" || true
	n=$(awk '/calls/ { print $2 }' "$BATS_TEST_TMPDIR/count")
	local i total=0 revision
	for ((i = n - 20; i <= n; i++)); do
		revision=$(ctl revision)
		in_background "$BATS_TEST_TMPDIR/watch.$i" watch w/ $((revision + 1)) 1
		wait_for 5 says "$BATS_TEST_TMPDIR/watch.$i" watching
		"$TOOLS/killat" "$i" -- "$TOOLS/statectl" "$DIR" put "w/$i" v >/dev/null || true
		# The next command, which only reads, wakes the watch.
		if [[ $(ctl revision) -gt $revision ]]; then
			wait_for 5 says "$BATS_TEST_TMPDIR/watch.$i" "put w/$i=v"
			total=$((total + 1))
		fi
		kill -9 "$PID" 2>/dev/null || true
	done
	[[ $total -gt 2 ]] || fail "only $total of the killed had committed"
}

@test "keys of a lease live as long as the process that holds it" {
	in_background "$BATS_TEST_TMPDIR/hold" hold lock
	wait_for 5 says "$BATS_TEST_TMPDIR/hold" held
	run_ctl get lock
	ok
	out_is held
	kill -9 "$PID"
	wait "$PID" || true
	run_ctl get lock
	failed
	err_has NOT-FOUND
}

# syncs ARGS...: how often the command syncs a file.
syncs() {
	"$TOOLS/killat" -v -n fsync,fdatasync 0 -- "$TOOLS/statectl" "$DIR" "$@" 2>&1 >/dev/null | awk '{ print $2 }'
}

@test "what is acknowledged was synced, and reading syncs nothing" {
	ctl put a 1
	[[ $(syncs get a) -eq 0 ]]
	# The first change after opening also syncs the directory, for the log's name.
	[[ $(syncs put a 2) -eq 2 ]]
	[[ $(syncs incr n 10) -eq 11 ]]
}

@test "kill -9 at every system call loses nothing acknowledged" {
	sweep -- 1 1 20
}

@test "kill -9 amid large values and checkpoints loses nothing acknowledged" {
	sweep -- 200 23 20 big
}

@test "a write that finds the disk full loses nothing acknowledged" {
	sweep -e 28 -n write,pwrite64,ftruncate,fallocate,fdatasync,fsync,openat,mkdir,mkdirat -- 1 1 9
}

@test "a read or write that fails loses nothing acknowledged" {
	sweep -e 5 -n read,pread64,write,pwrite64,ftruncate,fdatasync,fsync,openat,newfstatat,unlink -- 1 1 9
}

@test "a full disk is said to be full, keeps what was acknowledged, and works again with room" {
	needs_root
	local k kept # bats' run has an i of its own
	mkdir "$DIR"
	mount -t tmpfs -o size=512k,mode=700 none "$DIR"
	for ((k = 0; k < 400; k++)); do
		run_ctl put "key$k" "$(printf '%04000d' "$k")"
		[[ $status -eq 0 ]] || break
	done
	[[ $k -gt 10 && $k -lt 400 ]] || fail "it was full after $k values"
	err_has STATE-FULL
	err_has 'No space left on device'
	kept=$(ctl list | wc -l)
	[[ $kept -eq $k ]] || fail "$kept of $k keys are left"
	mount -o remount,size=16m "$DIR"
	run_ctl put more room
	ok
	run_ctl list
	[[ ${#lines[@]} -eq $((k + 1)) ]]
}

@test "a disk without room for a new store is said to be full, and the store can be made later" {
	needs_root
	mkdir "$DIR"
	mount -t tmpfs -o size=8k,mode=700 none "$DIR"
	run_ctl put a b
	failed
	err_has STATE-FULL
	mount -o remount,size=16m "$DIR"
	run_ctl put a b
	ok
	out_is 2
}

@test "a file size limit is said, and loses nothing" {
	ctl put a 1
	run --separate-stderr bash -c "ulimit -f 1; exec '$TOOLS/statectl' '$DIR' work 9 big"
	failed
	err_has STATE-FULL
	run_ctl get a
	out_is 1
}

@test "a store that cannot be written is said to be read-only" {
	needs_root
	mkdir "$DIR"
	mount -t tmpfs none "$DIR"
	ctl put a 1
	mount -o remount,ro "$DIR"
	run_ctl put b 2
	failed
	err_has STATE-READONLY
	err_has "$DIR"
	mount -o remount,rw "$DIR"
	run_ctl list
	out_is a=1
}

@test "another user's store is said to be forbidden" {
	needs_root
	needs_tool setpriv
	ctl put a 1
	chmod 755 "$BATS_TEST_TMPDIR" "$DIR"
	cp "$TOOLS/statectl" "$BATS_TEST_TMPDIR/statectl"
	run --separate-stderr setpriv --reuid 65534 --regid 65534 --clear-groups "$BATS_TEST_TMPDIR/statectl" "$DIR" get a
	failed
	err_has STATE-READONLY
	err_has 'Permission denied'
}

@test "a damaged store is said to be damaged, with what to do" {
	needs_tool sqlite3
	local f
	ctl work 20 >/dev/null
	ctl verify 20
	# Whole into the database file, so that there is something to damage.
	sqlite3 "$DIR/state.db" 'PRAGMA wal_checkpoint(TRUNCATE)' >/dev/null
	cp -a "$DIR" "$DIR.good"
	for f in header page garbage truncated; do
		rm -rf "$DIR"
		cp -a "$DIR.good" "$DIR"
		case $f in
		header) printf 'not a database..' | dd of="$DIR/state.db" conv=notrunc status=none ;;
		page) head -c 60000 /dev/zero | tr '\0' '\377' | dd of="$DIR/state.db" bs=4096 seek=1 conv=notrunc status=none ;;
		garbage) head -c 100000 /dev/urandom >"$DIR/state.db" ;;
		truncated) truncate -s 12288 "$DIR/state.db" ;;
		esac
		run_ctl list
		failed
		err_has STATE-CORRUPT
		err_has 'move it away'
	done
	# What is advised works.
	mv "$DIR/state.db" "$DIR/state.db.damaged"
	rm -f "$DIR"/state.db-*
	run_ctl put a 1
	ok
}
