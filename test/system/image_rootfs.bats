#!/usr/bin/env bats
# viv import, export, image mount and unmount: root file systems into images and back.

load helpers.bash

setup() {
	needs_root
	cd "$BATS_TEST_TMPDIR" || return
	export XDG_CONFIG_HOME=$PWD/config
	mkdir -p config/viv data mnt
	echo "root: $PWD/data" >config/viv/settings.yaml
	mkdir -p root/etc root/bin
	echo hello >root/etc/hello
	ln -s hello root/etc/link
	chmod 711 root
	tar c --format=posix --pax-option=delete=atime,delete=ctime --sort=name --owner=0 --group=0 -C root . >root.tar
}

teardown() {
	! mountpoint -q mnt || umount mnt
	! grep -F "$BATS_TEST_TMPDIR" /proc/mounts
}

viv() { "$VIV_BUILD/viv" "$@"; }

@test "plain, gzip and zstd give the same layer, and SOURCE_DATE_EPOCH the same image" {
	export SOURCE_DATE_EPOCH=1000000000
	gzip -k root.tar
	zstd -q root.tar
	local id
	id=$(viv import root.tar a:1)
	[[ $id == sha256:* ]]
	[ "$(viv import root.tar.gz a:2)" = "$id" ]
	[ "$(viv import - a:3 <root.tar.zst)" = "$id" ]
	[ "$(viv image inspect -f '{{.Created}}' a:1)" = 2001-09-09T01:46:40Z ]
	[ "$(find data/images/layers -mindepth 1 -maxdepth 1 | wc -l)" = 1 ]
}

@test "changes describe the image" {
	viv import -m why -c 'CMD ["sh", "-c", "true"]' -c 'ENTRYPOINT /bin/x y' -c 'ENV A=1 B="two words"' -c 'ENV A 3' \
		-c 'EXPOSE 80 53/udp' -c 'LABEL k=v' -c 'USER ann' -c 'WORKDIR /home' -c 'VOLUME /data' -c 'STOPSIGNAL INT' root.tar c:1
	viv image inspect c:1 | jq -e '.[0].Config | .Cmd == ["sh", "-c", "true"] and .Entrypoint == ["/bin/sh", "-c", "/bin/x y"]
		and .Env == ["A=3", "B=two words"] and .User == "ann" and .WorkingDir == "/home" and .StopSignal == "INT"
		and .Labels.k == "v" and (.ExposedPorts | has("80/tcp") and has("53/udp")) and (.Volumes | has("/data"))'
	run -2 viv import -c 'RUN x' root.tar c:2
	run -2 viv import -c 'CMD' root.tar c:2
}

@test "what is mounted and exported is what was imported" {
	viv import root.tar r:1
	viv image mount r:1 mnt
	[ "$(cat mnt/etc/link)" = hello ]
	[ "$(stat -c %a mnt)" = 711 ]
	run touch mnt/x
	[ "$status" != 0 ]
	run -4 viv rmi -f r:1
	viv image unmount mnt
	viv export r:1 >out.tar
	viv export -o out2.tar r:1
	cmp out.tar out2.tar
	mkdir out && tar x -C out -f out.tar
	diff -r --no-dereference root out
	[ "$(stat -c '%a %Y' out/etc/hello)" = "$(stat -c '%a %Y' root/etc/hello)" ]
	[ ! -e out2.tar.part ]
	viv rmi r:1
}

@test "a writable mount forgets its changes" {
	viv import root.tar w:1
	viv image mount --writable w:1 mnt
	echo x >mnt/new
	rm mnt/etc/hello
	viv image unmount mnt
	viv image mount -w w:1 mnt
	[ "$(ls mnt)" = $'bin\netc' ]
	[ -e mnt/etc/hello ]
	viv image unmount mnt
	[ -z "$(ls data/images/mounts)" ]
}

@test "errors say what to do, and nothing stays" {
	run -3 viv import absent.tar e:1
	run -2 viv import root.tar 'BAD NAME'
	run -1 viv import - e:1 <<<"no tar, but longer than any header of a compressed file, and not of a block's length"
	[[ $output == *TAR-FORMAT* ]]
	head -c 5000 root.tar | gzip | head -c 200 >cut.gz
	run -1 viv import cut.gz e:1
	[[ $output == *COMPRESSION* ]]
	run -1 viv import https://example.org/x.tar e:1
	[[ $output == *"pipe it in"* ]]
	run -3 viv image mount absent mnt
	run -3 viv image unmount mnt
	viv import root.tar e:1
	run -3 viv image mount e:1 absent
	viv image mount e:1 mnt
	run -1 viv image mount e:1 mnt
	[[ $output == *"mounted at"* ]]
	exec 9<mnt/etc/hello
	run -1 viv image unmount mnt
	exec 9<&-
	viv image unmount mnt
	run -2 viv image bootstrap bookworm
	run -2 viv image bootstrap debian:../x
	[ -z "$(ls -A data/images/tmp)" ]
}
