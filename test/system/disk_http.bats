#!/usr/bin/env bats
# Images on a web server: reading by ranges, and servers that cannot.

bats_require_minimum_version 1.5.0

setup() {
	VIV_BUILD=$(realpath "${VIV_BUILD:-$BATS_TEST_DIRNAME/../../build}")
	cd "$BATS_TEST_TMPDIR" || return
	mkdir www
	truncate -s 3M www/disk.raw
	printf 'hello' | dd of=www/disk.raw bs=1 seek=1M conv=notrunc status=none
	head -c 300k /dev/urandom | dd of=www/disk.raw bs=1M seek=2 conv=notrunc status=none
	coproc SERVER { exec python3 "$BATS_TEST_DIRNAME/../lib/range_server.py" www; }
	read -r port <&"${SERVER[0]}"
	URL=http://127.0.0.1:$port
}

teardown() { kill "$SERVER_PID" 2>/dev/null || :; }

disk() { "$VIV_BUILD/viv" disk "$@"; }

@test "raw, qcow2 and vmdk images are read from a web server" {
	disk convert -f raw -O qcow2 www/disk.raw www/disk.qcow2
	disk convert -f raw -O vmdk -o subformat=streamOptimized www/disk.raw www/disk.vmdk
	disk compare -f raw -F raw "$URL/disk.raw" www/disk.raw
	disk compare -f qcow2 -F raw "$URL/disk.qcow2" www/disk.raw
	disk compare -f vmdk -F raw "$URL/disk.vmdk" www/disk.raw
	disk compare -f raw -F raw "$URL/moved/disk.raw" www/disk.raw
	disk convert -f raw -O raw "json:{\"driver\":\"raw\",\"file\":{\"driver\":\"http\",\"url\":\"$URL/disk.raw\",\"readahead\":512}}" copy.raw
	cmp copy.raw www/disk.raw
	run disk info "$URL/disk.qcow2"
	[[ $status -eq 0 && $output == *'file format: qcow2'* && $output == *'virtual size: 3 MiB'* ]]
}

@test "an image of the web may stand behind a qcow2 overlay" {
	disk create -q -f qcow2 -b "$URL/disk.raw" -F raw over.qcow2
	disk io -f qcow2 -c 'read -P 0 0 64k' -c 'write -P 7 1M 64k' -c 'read -P 7 1M 64k' over.qcow2
	disk compare -f raw -F raw "$URL/disk.raw" www/disk.raw
}

@test "what is not there, has no ranges or cannot be written is refused" {
	run disk info "$URL/none.raw"
	[[ $status -eq 1 && $output == *404* ]]
	run disk info "$URL/noranges/disk.raw"
	[[ $status -eq 1 && $output == *range* ]]
	run disk io -f raw -c 'write 0 512' "$URL/disk.raw"
	[[ $status -eq 1 && $output == *read* ]]
	run disk info http://127.0.0.1:1/x
	[[ $status -eq 1 && $output == *onnect* ]]
	run disk info "ftp://127.0.0.1/x"
	[[ $status -eq 1 && $output == *ftp* ]]
}
