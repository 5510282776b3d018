#!/usr/bin/env bats
# `viv disk serve`: QEMU's, libnbd's and our own clients at our NBD server.
# Also: other readers of the formats that nothing else here has.

bats_require_minimum_version 1.5.0

setup() {
	VIV_BUILD=$(realpath "${VIV_BUILD:-$BATS_TEST_DIRNAME/../../build}")
	cd "$BATS_TEST_TMPDIR" || return
	URI="nbd+unix:///vol?socket=$PWD/s"
	truncate -s 20M disk.raw
	printf 'hello' | dd of=disk.raw bs=1 seek=1M conv=notrunc status=none
}

teardown() {
	[[ ! -e pid ]] || kill "$(<pid)" 2>/dev/null || :
}

needs() { command -v "$1" >/dev/null || skip "needs $1"; }
disk() { "$VIV_BUILD/viv" disk "$@"; }
serve() { disk serve -k "$PWD/s" -x vol --fork --pid-file pid "$@"; }
# until CONDITION…: no longer than a loaded machine needs.
until_true() {
	for _ in {1..600}; do
		"$@" && return
		sleep 0.05
	done
	return 1
}
gone() { ! kill -0 "$(<pid)" 2>/dev/null; }

@test "nbdinfo sees name, size, description and what the export can do" {
	needs nbdinfo
	serve -t -e 4 -f raw -D 'a volume' disk.raw
	run nbdinfo --json "$URI"
	[[ $status -eq 0 && $output == *'"newstyle-fixed"'* && $output == *'"structured": true'* ]]
	[[ $output == *'"export-size": 20971520'* && $output == *'"description": "a volume"'* ]]
	[[ $output == *'"can_fast_zero": true'* && $output == *'"can_multi_conn": true'* && $output == *base:allocation* ]]
	run nbdinfo --list "nbd+unix:///?socket=$PWD/s"
	[[ $output == *'export="vol"'* ]]
	run nbdinfo --map "$URI"
	[[ ${lines[0]} =~ 1048576.*hole,zero && ${lines[1]} =~ 4096.*data ]]
	run ! nbdinfo "nbd+unix:///other?socket=$PWD/s"
	run disk serve -L -k "$PWD/s"
	[[ $status -eq 0 && $output == *"export: 'vol'"*20971520* ]]
}

@test "qemu-io writes, nbdcopy reads the same" {
	needs qemu-io
	needs nbdcopy
	serve -t -e 2 -f raw disk.raw
	qemu-io -f raw -c 'write -P 0x5a 3M 700k' -c 'write -z -u 1M 64k' -c 'discard 5M 1M' -c flush \
		-c 'read -P 0x5a 3M 700k' -c 'read -P 0 1M 64k' "$URI" >log || { cat log; false; }
	run ! grep -i fail log
	nbdcopy "$URI" copy.raw
	cmp disk.raw copy.raw
}

@test "an image is converted through the export, by qemu-img and by us" {
	needs qemu-img
	qemu-img convert -f raw -O vmdk disk.raw disk.vmdk
	serve -t -e 2 -r -f vmdk disk.vmdk
	qemu-img convert -f raw -O raw "$URI" theirs.raw
	disk convert -f raw -O raw "$URI" ours.raw
	cmp disk.raw theirs.raw
	cmp disk.raw ours.raw
	run ! qemu-io -f raw -c 'write 0 512' "$URI"
	run disk info "$URI"
	[[ $output == *'virtual size: 20 MiB'* ]]
}

@test "it ends with its last client; with --persistent by a signal, and its socket goes" {
	needs qemu-io
	serve -f raw disk.raw
	qemu-io -f raw -r -c 'read 0 512' "$URI" >/dev/null
	until_true gone
	[[ ! -e s ]]
	serve -t -f raw disk.raw
	qemu-io -f raw -r -c 'read 0 512' "$URI" >/dev/null
	run ! gone
	kill "$(<pid)"
	until_true gone
	[[ ! -e s ]]
}

@test "what cannot be served is refused before it goes to the background" {
	run serve -f raw none.raw
	[[ $status -eq 1 && $output == *none.raw* ]]
	run serve -f vdi disk.raw
	[[ $status -eq 1 && $output == *VDI* ]]
	run serve -f raw --tls-creds x disk.raw
	[[ $status -eq 1 && $output == *TLS* ]]
	run serve -f raw -B none disk.raw
	[[ $status -eq 1 && $output == *none* ]]
	run disk info nbds://localhost/x
	[[ $status -eq 1 && $output == *TLS* ]]
	[[ ! -e pid ]]
}

@test "vmdkinfo and vhdiinfo read what we make" {
	needs vmdkinfo
	needs vhdiinfo
	for kind in monolithicSparse twoGbMaxExtentSparse streamOptimized; do
		disk convert -f raw -O vmdk -o subformat=$kind disk.raw $kind.vmdk
		run vmdkinfo $kind.vmdk
		[[ $status -eq 0 && $output == *'20971520 bytes'* ]]
	done
	disk convert -f raw -O vpc -o force_size=on disk.raw disk.vhd
	run vhdiinfo disk.vhd
	[[ $status -eq 0 && $output == *'20971520 bytes'* ]]
	disk convert -f raw -O vhdx disk.raw disk.vhdx
	run vhdiinfo disk.vhdx
	[[ $status -eq 0 && $output == *'20971520 bytes'* ]]
}
