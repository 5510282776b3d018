#!/usr/bin/env bats
# viv disk against qemu-img 7.2: what one writes, the other has to read, and they have to say the same.

bats_require_minimum_version 1.5.0

setup() {
	command -v qemu-img >/dev/null || skip "needs qemu-utils"
	VIV_BUILD=$(realpath "${VIV_BUILD:-$BATS_TEST_DIRNAME/../../build}")
	viv=$VIV_BUILD/viv
	cd "$BATS_TEST_TMPDIR"
	mkdir links
	ln -s "$viv" links/qemu-img
	ln -s "$viv" links/qemu-io
	img=$BATS_TEST_TMPDIR/links/qemu-img io=$BATS_TEST_TMPDIR/links/qemu-io
}

# What one of them says, without what differs from one image to the next.
told() { sed -E 's/(disk size|"actual-size"): .*/\1/' <<<"$1"; }

# Writes the same bytes by PROGRAM into the image: data, zeroes, a hole in between, and an end that is no whole cluster.
fill() {
	local program=$1 format=$2 image=$3
	"$program" -f "$format" -c "write -P 0x11 0 100k" -c "write -P 0x22 1000k 3k" -c "write -z 64k 64k" \
		-c "write -P 0x33 3000k 200k" -c "write -P 0x44 4095k 1k" "$image" >/dev/null
}

# Every format with the options that change its layout.
matrix() {
	cat <<-'END'
		raw
		qcow2
		qcow2 -o compat=0.10
		qcow2 -o cluster_size=512
		qcow2 -o cluster_size=2M
		qcow2 -o refcount_bits=1
		qcow2 -o refcount_bits=64,lazy_refcounts=on
		qcow2 -o extended_l2=on,cluster_size=128k
		qcow2 -o compression_type=zstd
		qcow2 -o preallocation=metadata
		qcow2 -o preallocation=falloc
		vdi
		vdi -o static=on
		vpc -o force_size=on
		vpc -o subformat=fixed,force_size=on
		vhdx
		vhdx -o subformat=fixed,block_size=1M
		vmdk
		vmdk -o subformat=monolithicFlat
		vmdk -o subformat=twoGbMaxExtentSparse
	END
}

@test "images of every kind, written here, are read there" {
	"$img" create -q -f raw model 4M
	fill "$io" raw model
	n=0
	while read -r format options; do
		image=a$((n++)).$format
		# shellcheck disable=SC2086
		"$img" create -q -f "$format" $options "$image" 4M
		fill "$io" "$format" "$image"
		qemu-img compare -q -f raw -F "$format" model "$image" || { echo "$format $options differs"; return 1; }
		if [[ $format == qcow2 || $format == vdi || $format == vhdx || $format == vmdk ]]; then
			qemu-img check -q -f "$format" "$image" || { echo "$format $options: check"; return 1; }
		fi
	done < <(matrix)
	[ "$n" -ge 20 ]
}

@test "images of every kind, written there, are read here" {
	qemu-img create -q -f raw model 4M
	fill qemu-io raw model
	n=0
	while read -r format options; do
		image=a$((n++)).$format
		# shellcheck disable=SC2086
		qemu-img create -q -f "$format" $options "$image" 4M
		fill qemu-io "$format" "$image"
		"$img" compare -q -f raw -F "$format" model "$image" || { echo "$format $options differs"; return 1; }
		if [[ $format == qcow2 || $format == vdi || $format == vhdx || $format == vmdk ]]; then
			"$img" check -q -f "$format" "$image" || { echo "$format $options: check"; return 1; }
		fi
		# info opens no extent that an image names
		[[ $options != *twoGb* ]] || continue
		[ "$(told "$("$img" info "$image")")" = "$(told "$(qemu-img info "$image")")" ] ||
			{ diff <("$img" info "$image") <(qemu-img info "$image"); return 1; }
		[ "$(told "$("$img" info --output json "$image")")" = "$(told "$(qemu-img info --output json "$image")")" ] ||
			{ diff <("$img" info --output json "$image") <(qemu-img info --output json "$image"); return 1; }
	done < <(matrix)
}

@test "convert between all formats, and compressed" {
	qemu-img create -q -f raw model 4M
	fill qemu-io raw model
	last=model lastformat=raw
	for target in "qcow2" "vmdk" "vdi" "vhdx" "vpc -o force_size=on" "qcow2 -c" "qcow2 -c -o compression_type=zstd" \
		"vmdk -o subformat=streamOptimized" "qcow2 -o cluster_size=4k -S 0" "qcow2 -W -m 16" "raw"; do
		read -r format options <<<"$target"
		# shellcheck disable=SC2086
		"$img" convert -f "$lastformat" -O "$format" $options "$last" next
		qemu-img compare -q -f raw -F "$format" model next || { echo "to $target"; return 1; }
		mv next "last.$format"
		last=last.$format lastformat=$format
	done
	# sparse stays sparse
	[ "$(stat -c %b last.raw)" -le "$(stat -c %b model)" ]
}

@test "create, map, measure, snapshot -l say what qemu-img says" {
	for options in "-f qcow2 a 64M" "-f qcow2 -o cluster_size=1M,refcount_bits=8 a 1G" "-f qcow2 -b base -F raw a" \
		"-f vmdk a 8M" "-f vdi a 8M" "-f raw a 1234"; do
		truncate -s 3M base
		# shellcheck disable=SC2086
		[ "$("$img" create $options)" = "$(qemu-img create $options)" ] ||
			{ "$img" create $options; qemu-img create $options; return 1; }
	done
	qemu-img create -q -f qcow2 base.qcow2 4M
	fill qemu-io qcow2 base.qcow2
	qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2 6M
	qemu-io -c "write 2M 64k" -c "write -z 3000k 64k" top.qcow2 >/dev/null
	qemu-img snapshot -c one top.qcow2
	for command in "map top.qcow2" "map --output json top.qcow2" "map --output json -s 1M -l 2M top.qcow2" "snapshot -l top.qcow2" \
		"measure -O qcow2 top.qcow2" "measure -O raw --output json top.qcow2" "measure -O qcow2 --size 1T" \
		"info --backing-chain top.qcow2" "info --output json --backing-chain top.qcow2" "check top.qcow2" \
		"check --output json top.qcow2" "create -f qcow2 -o help x" "create -f vmdk -o help"; do
		# shellcheck disable=SC2086
		[ "$("$img" $command)" = "$(qemu-img $command)" ] || { echo "$command"; diff <("$img" $command) <(qemu-img $command); return 1; }
	done
}

@test "commit and rebase leave what a guest sees" {
	for program in "$img" qemu-img; do
		rm -f ./*.qcow2
		qemu-img create -q -f qcow2 base.qcow2 4M
		fill qemu-io qcow2 base.qcow2
		qemu-img create -q -f qcow2 other.qcow2 5M
		qemu-io -c "write -P 9 500k 2M" other.qcow2 >/dev/null
		qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2 6M
		qemu-io -c "write -P 5 2M 70k" -c "write -z 3000k 64k" -c "write -P 6 5M 1M" top.qcow2 >/dev/null
		qemu-img convert -O raw top.qcow2 seen
		"$program" rebase -b other.qcow2 -F qcow2 top.qcow2
		qemu-img compare -q -f raw -F qcow2 seen top.qcow2
		"$program" rebase -b '' top.qcow2
		qemu-img compare -q -f raw -F qcow2 seen top.qcow2
		"$program" rebase -b base.qcow2 -F qcow2 top.qcow2
		"$program" commit -q top.qcow2
		qemu-img compare -q -f raw -F qcow2 seen base.qcow2
		qemu-img compare -q -f raw -F qcow2 seen top.qcow2
		qemu-img check -q top.qcow2 && qemu-img check -q base.qcow2
	done
}

@test "exit statuses" {
	"$img" create -q -f raw a 1M && "$img" create -q -f raw b 1M && "$img" create -q -f qcow2 q 1M
	"$io" -f raw -c "write -P 1 5k 1" b
	run "$img" compare a b
	[ "$status" -eq 1 ]
	[ "$output" = "Content mismatch at offset 5120!" ]
	run "$img" compare a missing
	[ "$status" -eq 2 ]
	run "$img" check -f raw a
	[ "$status" -eq 63 ]
	run "$img" check missing
	[ "$status" -eq 1 ]
	# a cluster that nothing refers to is a leak, which can be mended
	qemu-img create -q -f qcow2 q 1M
	qemu-io -f qcow2 -c "write 0 64k" q
	printf '\0\0\0\0\0\0\0\0' | dd of=q bs=1 seek=$((0x40000)) conv=notrunc status=none
	run "$img" check q
	[ "$status" -eq 3 ]
	run "$img" check -r leaks q
	[ "$status" -eq 0 ]
	run "$img" check q
	[ "$status" -eq 0 ]
	run "$img" info missing
	[ "$status" -eq 1 ]
	[ "$output" = "qemu-img: Could not open 'missing': Could not open 'missing': No such file or directory" ]
	run "$io" -f qcow2 -c "read -P 7 0 512" -c "read 5M 1k" q
	[ "$status" -eq 1 ]
}

@test "a wrong option is refused, with the right one" {
	run "$img" create -f qcow2 -o cluster_sise=64k a 1M
	[ "$status" -eq 1 ]
	[[ $output == *"Invalid parameter 'cluster_sise'"*cluster_size* ]]
	[ ! -e a ]
	run "$img" create -f qcow3 a 1M
	[ "$status" -eq 1 ]
	run "$img" create -f raw a 1Z
	[ "$status" -eq 1 ]
	[[ $output == *"You may use k, M, G, T, P or E suffixes"* ]]
	[ ! -e a ]
}

@test "what cannot be finished leaves no half-made target, and no changed source" {
	"$img" create -q -f raw src 8M
	"$io" -f raw -c "write -P 1 0 8M" src >/dev/null
	sum=$(sha256sum <src)
	"$img" convert -O qcow2 -r 1M src out &
	pid=$!
	until [ -e out ]; do kill -0 "$pid"; done
	kill -TERM "$pid"
	status=0
	wait "$pid" || status=$?
	[ "$status" -eq 143 ]
	[ ! -e out ]
	# a full disk
	[ "$(id -u)" -eq 0 ] || skip "needs root to mount a small file system"
	unshare -m --propagation private sh -ec 'mkdir full; mount -t tmpfs -o size=2m tmpfs full; ! "$0" convert -O qcow2 src full/out; [ ! -e full/out ]' "$img"
	[ "$sum" = "$(sha256sum <src)" ]
}

@test "an image in use is refused" {
	"$img" create -q -f qcow2 a 1M
	mkfifo commands
	qemu-io a <commands >held 2>&1 3>&- &
	held=$!
	exec 9>commands
	echo "write 0 1k" >&9
	until grep -q wrote held; do kill -0 "$held"; done
	run "$img" resize a +1M
	[ "$status" -eq 1 ]
	[[ $output == *'Failed to get "'*'" lock'* ]]
	"$img" info -U a
	exec 9>&-
	wait "$held"
}

@test "bitmaps: actions in the order given" {
	"$img" create -q -f qcow2 a 1M
	"$img" bitmap --add a one
	"$io" -c "write 0 64k" a
	"$img" bitmap --add --merge one --disable -g 32k a two
	run qemu-img bitmap --remove a one
	[ "$status" -eq 0 ]
	"$img" info a >out
	grep -q 'name: two' out
	grep -q 'granularity: 32768' out
	[ "$(grep -c 'name:' out)" -eq 1 ]
	run "$img" bitmap --remove --remove a two
	[ "$status" -eq 0 ] || [[ $output == *"Operation remove on bitmap two failed"* ]]
}

@test "names: json:, --image-opts, commas, secrets" {
	"$img" create -q -f qcow2 'a,b' 1M
	"$io" -f qcow2 -c "write -P 3 0 1k" 'a,b'
	for name in "json:{\"driver\": \"qcow2\", \"file.filename\": \"a,b\"}" "json:{'driver': 'qcow2', 'file': {'driver': 'file', 'filename': 'a,b'}}"; do
		run "$io" -c "read -P 3 0 1k" "$name"
		[ "$status" -eq 0 ]
		[[ $output != *failed* ]]
	done
	run "$img" info --image-opts driver=qcow2,file.filename=a,,b
	[ "$status" -eq 0 ]
	"$img" create -q --object secret,id=s,data=geheim -f qcow2 -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 e 1M
	"$io" --object secret,id=s,data=geheim --image-opts -c "write -P 3 0 1k" driver=qcow2,encrypt.key-secret=s,file.filename=e
	run qemu-io --object secret,id=s,data=geheim --image-opts -c "read -P 3 0 1k" driver=qcow2,encrypt.key-secret=s,file.filename=e
	[[ $status -eq 0 && $output != *failed* ]]
	run "$io" --object secret,id=s,data=falsch --image-opts -c "read 0 1k" driver=qcow2,encrypt.key-secret=s,file.filename=e
	[ "$status" -eq 1 ]
}

@test "dd and resize" {
	seq 100000 >src
	"$img" dd -f raw -O raw bs=1k count=100 skip=3 if=src of=mine
	qemu-img dd -f raw -O raw bs=1k count=100 skip=3 if=src of=theirs
	cmp mine theirs
	for format in qcow2 vdi vhdx vmdk; do
		"$img" create -q -f "$format" "r.$format" 4M
		"$io" -f "$format" -c "write -P 4 3M 1M" "r.$format" >/dev/null
		"$img" resize -q -f "$format" "r.$format" +4M
		run qemu-io -f "$format" -c "read -P 4 3M 1M" -c "read -P 0 4M 4M" "r.$format"
		[[ $status -eq 0 && $output != *failed* ]] || { echo "$format: $output"; return 1; }
	done
	run "$img" resize r.qcow2 -4M
	[ "$status" -eq 1 ]
	"$img" resize --shrink r.qcow2 -2M
	"$img" resize --shrink r.qcow2 -- -2M
	qemu-img check -q r.qcow2
}
