#!/usr/bin/env bats
# qcow2 both ways: what viv writes, QEMU reads and finds in order, and the other way round.

load helpers

VIV=$VIV_BUILD/viv

setup() {
	command -v qemu-img qemu-io >/dev/null || skip "qemu-utils is not installed"
	cd "$BATS_TEST_TMPDIR"
}

# Options of images that both programs make.
kinds() {
	cat <<-END
		cluster_size=65536
		cluster_size=512
		cluster_size=2M
		compat=0.10
		compat=0.10,cluster_size=4096
		extended_l2=on,cluster_size=16k
		extended_l2=on,cluster_size=128k
		refcount_bits=1
		refcount_bits=2,cluster_size=4096
		refcount_bits=8
		refcount_bits=64,cluster_size=1024
		lazy_refcounts=on
		compression_type=zstd
		preallocation=metadata
		preallocation=falloc,cluster_size=4096
		preallocation=full
		data_file=x.data
		data_file=x.data,data_file_raw=on
	END
}

# io PROGRAM IMAGE COMMAND…: each command must succeed and verify.
io() {
	local program=$1 image=$2 out args=()
	shift 2
	for c; do
		args+=(-c "$c")
	done
	out=$("$program" -f qcow2 "${args[@]}" "$image" 2>&1) || { echo "$out" && return 1; }
	! grep -E "verification failed|failed:|error" <<<"$out"
}

viv_io() {
	"$VIV" disk io "$@"
}

writes=("write -P 1 0 70000" "write -P 2 1M 64k" "write -z 1064960 8k" "write -P 3 5000000 3000000" "discard 6M 128k"
	"write -P 4 9437183 1" "write -z -u 7M 64k" "write -P 5 10M 1M")
reads=("read -P 1 0 70000" "read -P 0 70000 10000" "read -P 2 1M 16k" "read -P 0 1064960 8k" "read -P 3 5000000 1000000"
	"read -P 4 9437183 1" "read -P 0 7M 64k" "read -P 5 10M 1M" "read -P 0 11M 1M")

@test "viv writes, QEMU reads" {
	kinds | while read -r options; do
		echo "$options"
		rm -f a.qcow2 x.data
		"$VIV" disk create -q -f qcow2 -o "$options" a.qcow2 16M
		io viv_io a.qcow2 "${writes[@]}"
		qemu-img check -q a.qcow2
		io qemu-io a.qcow2 "${reads[@]}"
		io viv_io a.qcow2 "${reads[@]}"
		"$VIV" disk check -q a.qcow2
	done
}

@test "QEMU writes, viv reads and goes on" {
	kinds | while read -r options; do
		echo "$options"
		rm -f a.qcow2 x.data
		qemu-img create -q -f qcow2 -o "$options" a.qcow2 16M
		io qemu-io a.qcow2 "${writes[@]}"
		"$VIV" disk check -q a.qcow2
		io viv_io a.qcow2 "${reads[@]}" "write -P 6 2M 1M" "write -P 7 100 100"
		qemu-img check -q a.qcow2
		io qemu-io a.qcow2 "read -P 6 2M 1M" "read -P 7 100 100" "read -P 1 200 1000"
	done
}

@test "snapshots of either are the other's" {
	for maker in "$VIV disk" qemu-img; do
		other=$([ "$maker" = qemu-img ] && echo "$VIV disk" || echo qemu-img)
		rm -f a.qcow2
		$maker create -q -f qcow2 a.qcow2 16M
		io viv_io a.qcow2 "write -P 1 0 2M"
		$maker snapshot -c one a.qcow2
		io qemu-io a.qcow2 "write -P 2 1M 2M"
		$other snapshot -c two a.qcow2
		io viv_io a.qcow2 "write -P 3 0 64k"
		qemu-img check -q a.qcow2
		"$VIV" disk check -q a.qcow2
		$other snapshot -a one a.qcow2
		io qemu-io a.qcow2 "read -P 1 0 2M" "read -P 0 2M 1M"
		$maker snapshot -a two a.qcow2
		io viv_io a.qcow2 "read -P 1 0 1M" "read -P 2 1M 2M"
		$other snapshot -d one a.qcow2
		$maker snapshot -d two a.qcow2
		qemu-img check -q a.qcow2
		"$VIV" disk check -q a.qcow2
	done
}

@test "bitmaps of either are the other's" {
	"$VIV" disk create -q -f qcow2 a.qcow2 16M
	"$VIV" disk bitmap --add a.qcow2 ours
	qemu-img bitmap --add -g 128k a.qcow2 theirs
	io viv_io a.qcow2 "write -P 1 1M 64k"
	io qemu-io a.qcow2 "write -P 1 5M 64k"
	qemu-img info --output json a.qcow2 >theirs.json
	"$VIV" disk info --output json a.qcow2 >ours.json
	[ "$(jq -S '."format-specific"' ours.json)" = "$(jq -S '."format-specific"' theirs.json)" ]
	qemu-img bitmap --merge ours a.qcow2 theirs
	"$VIV" disk bitmap --merge theirs a.qcow2 ours
	qemu-img bitmap --disable a.qcow2 ours
	"$VIV" disk bitmap --remove a.qcow2 theirs
	qemu-img check -q a.qcow2
	"$VIV" disk check -q a.qcow2
	[ "$(qemu-img info --output json a.qcow2 | jq -r '."format-specific".data.bitmaps[].name')" = ours ]
}

@test "damage is repaired as QEMU finds right" {
	"$VIV" disk create -q -f qcow2 a.qcow2 16M
	io viv_io a.qcow2 "write -P 1 0 2M"
	# The refcount block of a new image lies in the third cluster: counts of 0 where something is.
	dd if=/dev/zero of=a.qcow2 bs=1 seek=$((2 * 65536 + 8)) count=16 conv=notrunc status=none
	run "$VIV" disk check a.qcow2
	[ "$status" = 2 ]
	"$VIV" disk check -q -r all a.qcow2
	qemu-img check -q a.qcow2
	io qemu-io a.qcow2 "read -P 1 0 2M"
	# And without any blocks.
	dd if=/dev/zero of=a.qcow2 bs=65536 seek=1 count=1 conv=notrunc status=none
	"$VIV" disk check -q -r all a.qcow2
	qemu-img check -q a.qcow2
	io qemu-io a.qcow2 "read -P 1 0 2M"
}

@test "amended images stay right" {
	qemu-img create -q -f qcow2 a.qcow2 16M
	io qemu-io a.qcow2 "write -P 1 0 2M" "write -z 4M 64k"
	for options in refcount_bits=64 refcount_bits=1 lazy_refcounts=on lazy_refcounts=off refcount_bits=16 \
		compat=0.10 compat=1.1 size=32M; do
		"$VIV" disk amend -f qcow2 -o "$options" a.qcow2
		qemu-img check -q a.qcow2
		io qemu-io a.qcow2 "read -P 1 0 2M" "read -P 0 4M 64k"
	done
	[ "$(qemu-img info --output json a.qcow2 | jq '."virtual-size"')" = $((32 << 20)) ]
}

@test "a terabyte with preallocated metadata" {
	run -0 env TIMEFORMAT="%U %S" bash -c "time '$VIV' disk create -q -f qcow2 -o preallocation=metadata a.qcow2 1T"
	read -r user sys <<<"$output"
	[ "$(awk "BEGIN { print ($user + $sys < 3) }")" = 1 ]
	"$VIV" disk info --output json a.qcow2 | jq -e '."virtual-size" == 1099511627776'
}

@test "hostile names are not followed" {
	"$VIV" disk create -q -f raw secret.raw 1M
	qemu-img create -q -f qcow2 -b secret.raw -F raw a.qcow2
	"$VIV" disk info a.qcow2 | grep -q secret.raw
	ln -s a.qcow2 b.qcow2
	qemu-img create -q -f qcow2 loop.qcow2 1M
	qemu-img rebase -u -f qcow2 -b loop.qcow2 -F qcow2 loop.qcow2
	run "$VIV" disk io -f qcow2 -c "read 0 512" loop.qcow2
	[ "$status" != 0 ]
	[[ $output == *"infinite loop"* || $output == *"longer than"* ]]
}
