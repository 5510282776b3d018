#!/usr/bin/env bats
# Images in and out of files, with skopeo, umoci, buildah and podman as the other side, and the commands that show,
# name, remove and check them. Everything below the test's own folder: VIV_ROOT.

bats_require_minimum_version 1.5.0
load helpers

# An image of two layers, by umoci: layout:v1
setup_file() {
	cd "$BATS_FILE_TMPDIR" || return
	command -v umoci >/dev/null && command -v skopeo >/dev/null || return 0
	mkdir -p one/etc two/usr/bin
	echo first >one/etc/motd
	ln one/etc/motd one/etc/motd.hard
	cp /bin/busybox two/usr/bin/busybox
	tar -C one -cf one.tar .
	tar -C two -cf two.tar .
	umoci init --layout layout
	umoci new --image layout:v1
	umoci raw add-layer --image layout:v1 one.tar
	umoci raw add-layer --image layout:v1 two.tar
	umoci config --image layout:v1 --config.env A=b --config.label kind=test --author ann
	skopeo copy -q oci:layout:v1 docker-archive:docker.tar:example.org/base:1
}

setup() {
	needs_tool umoci
	needs_tool skopeo
	viv=$VIV_BUILD/viv
	export VIV_ROOT=$BATS_TEST_TMPDIR/data
	unset VIV_OUTPUT VIV_PROGRESS
	cd "$BATS_FILE_TMPDIR"
}

# No temporary, no lease, no mount is left.
teardown() {
	local left
	left=$(find "$VIV_ROOT/images/tmp" -mindepth 1 2>/dev/null)
	[[ -z $left ]] || fail "left behind: $left"
}

id_of() { skopeo inspect --raw "oci:$BATS_FILE_TMPDIR/layout:v1" | jq -r .config.digest; }

@test "a layout is loaded from a folder, an archive, a pipe and a compressed archive, with the same digest" {
	needs_tool zstd
	tar -C layout -cf plain.tar .
	gzip -kf plain.tar
	zstd -qkf plain.tar
	want=$(id_of)
	for input in layout plain.tar plain.tar.gz plain.tar.zst; do
		export VIV_ROOT=$BATS_TEST_TMPDIR/$input
		run --separate-stderr "$viv" load -i "$input"
		ok
		[ "$("$viv" images -q --no-trunc)" = "$want" ]
	done
	export VIV_ROOT=$BATS_TEST_TMPDIR/pipe
	run --separate-stderr bash -c 'cat plain.tar | "$0" load' "$viv"
	ok
	out_is "Loaded image ID: $want"
}

@test "a docker-archive is loaded with its name, and its layers are stored once" {
	run --separate-stderr "$viv" load -i docker.tar
	ok
	out_is "Loaded image: example.org/base:1"
	[ "$("$viv" images --format '{{.Repository}}:{{.Tag}}')" = example.org/base:1 ]
	"$viv" image verify
	# the blob of an uncompressed layer and the layer's own tar are one file
	needs_root
	for diff_id in $("$viv" image inspect -f '{{join .RootFS.Layers " "}}' example.org/base:1); do
		hex=${diff_id#sha256:}
		[ "$VIV_ROOT/images/blobs/sha256/$hex" -ef "$VIV_ROOT/images/layers/$hex/tar" ] || return 1
	done
}

@test "what skopeo, podman and buildah write is loaded, and what is saved they read" {
	needs_tool podman
	needs_tool buildah
	store=(--root "$BATS_TEST_TMPDIR/p" --runroot "$BATS_TEST_TMPDIR/pr" --storage-driver vfs)
	"$viv" load -q -i layout
	"$viv" tag layout:v1 example.org/a:1
	"$viv" save -o saved.tar example.org/a:1 layout:v1
	run podman "${store[@]}" load -q -i saved.tar
	ok
	[ "$(podman "${store[@]}" images -q --no-trunc | sort -u)" = "$(id_of)" ]
	podman "${store[@]}" save -q -o podman.tar example.org/a:1
	podman "${store[@]}" save -q --format oci-archive -o podman-oci.tar example.org/a:1
	buildah "${store[@]}" push -q example.org/a:1 oci-archive:buildah.tar:example.org/b:2
	[ "$(skopeo inspect --raw oci-archive:saved.tar:v1 | sha256sum)" = "$(skopeo inspect --raw oci:layout:v1 | sha256sum)" ]
	"$viv" save --format oci-dir -o saved.dir layout:v1
	umoci stat --image saved.dir:v1 >/dev/null
	for archive in podman.tar podman-oci.tar buildah.tar; do
		export VIV_ROOT=$BATS_TEST_TMPDIR/$archive.data
		run --separate-stderr "$viv" load -i "$archive"
		ok
		# podman's own configuration of the image is the same document
		[ "$("$viv" image inspect -f '{{.Author}} {{json .Config.Env}}' "$("$viv" images -q)")" = 'ann ["A=b"]' ]
		"$viv" image verify
	done
	rm -rf podman*.tar buildah.tar saved.dir "$BATS_TEST_TMPDIR/p"
}

@test "the same image gives the same archive, and a loaded one is the same image" {
	"$viv" load -q -i layout
	"$viv" save layout:v1 >a.tar
	"$viv" save layout:v1 | cmp - a.tar
	"$viv" save layout:v1 >>b.tar # a file that sendfile(2) refuses
	cmp a.tar b.tar
	VIV_ROOT=$BATS_TEST_TMPDIR/other "$viv" load -q -i a.tar
	VIV_ROOT=$BATS_TEST_TMPDIR/other "$viv" save layout:v1 | cmp - a.tar
	rm a.tar b.tar
}

@test "images: columns, filters, templates" {
	"$viv" load -q -i layout
	"$viv" load -q -i docker.tar
	run --separate-stderr "$viv" images
	ok
	[[ ${lines[0]} =~ ^REPOSITORY\ +TAG\ +IMAGE\ ID\ +CREATED\ +SIZE$ ]]
	[ "${#lines[@]}" -eq 3 ]
	[ "$("$viv" images -f label=kind=test -f reference='example.org/*' -o name)" = example.org/base:1 ]
	[ "$("$viv" images -f label=kind=other -q)" = "" ]
	[ "$("$viv" images layout -o jsonl | jq -r .Tag)" = v1 ]
	[ "$("$viv" image ls --format '{{json .}}' layout | jq -r .Repository)" = localhost/layout ]
	"$viv" load -q -i layout
	run --separate-stderr "$viv" images -f nonsense=1
	status_is 2
}

@test "tag, rmi: names come and go, the image goes with the last" {
	"$viv" load -q -i layout
	id=$("$viv" images -q)
	run "$viv" tag "$id" Upper
	status_is 2
	"$viv" tag "$id" example.org/x:1
	"$viv" tag layout:v1 other
	run --separate-stderr "$viv" rmi "$id"
	status_is 4
	err_has IMG-IN-USE
	run --separate-stderr "$viv" rmi localhost/layout:v1 example.org/x:1 nothing
	status_is 3
	err_has nothing
	[ "$("$viv" images -o name)" = other:latest ]
	run --separate-stderr "$viv" rmi other
	ok
	out_has "Deleted: sha256:$id"
	[ -z "$(find "$VIV_ROOT/images/blobs" "$VIV_ROOT/images/layers" -type f)" ]
}

@test "history and inspect" {
	"$viv" load -q -i layout
	[ "$("$viv" history -q layout:v1 | head -1)" = "$("$viv" images -q)" ]
	[ "$("$viv" history --format '{{.CreatedBy}}' layout:v1 | grep -c 'umoci')" -ge 2 ]
	[ "$("$viv" image inspect layout:v1 | jq -r '.[0].Config.Labels.kind')" = test ]
	[ "$("$viv" image inspect layout:v1 | jq -r '.[0].Id')" = "$(id_of)" ]
	run --separate-stderr "$viv" image inspect nothing
	status_is 3
	out_is '[]'
}

@test "verify finds a flipped bit in every blob, says whose it is, and load repairs it" {
	"$viv" load -q -i layout
	"$viv" image verify
	for blob in "$VIV_ROOT"/images/blobs/sha256/*; do
		size=$(stat -c %s "$blob")
		cp -p "$blob" "$BATS_TEST_TMPDIR/copy"
		chmod u+w "$blob"
		byte=$(dd if="$blob" bs=1 skip=$((size / 2)) count=1 status=none | od -An -tu1)
		printf "\\x$(printf %x $((byte ^ 4)))" | dd of="$blob" bs=1 seek=$((size / 2)) conv=notrunc status=none
		run --separate-stderr "$viv" image verify
		status_is 1
		out_has "${blob##*/}"
		out_has localhost/layout:v1
		cat "$BATS_TEST_TMPDIR/copy" >"$blob"
	done
	"$viv" image verify
	blob=$VIV_ROOT/images/blobs/sha256/$(skopeo inspect --raw oci:layout:v1 | jq -r '.layers[0].digest[7:]')
	chmod u+w "$blob"
	printf X | dd of="$blob" bs=1 seek=3 conv=notrunc status=none
	run "$viv" image verify --repair # nowhere to fetch it from
	status_is 1
	"$viv" load -q -i layout
	"$viv" image verify
}

@test "prune and df" {
	"$viv" load -q -i layout
	"$viv" load -q -i docker.tar
	run --separate-stderr "$viv" image prune </dev/null
	status_is 2
	"$viv" image prune -f
	[ "$("$viv" images -q | wc -l)" -ge 1 ]
	run --separate-stderr "$viv" image prune -a --dry-run
	out_has example.org/base:1
	[ "$("$viv" image df --format '{{.Type}} {{.TotalCount}}' | head -1)" = "Images 2" ]
	"$viv" image prune -a -f
	[ -z "$(find "$VIV_ROOT/images/blobs" "$VIV_ROOT/images/layers" -type f)" ]
	[ "$("$viv" image df --format '{{.Type}} {{.TotalCount}}' | tail -2 | head -1)" = "Layers 0" ]
}

@test "--discard-compressed keeps only what runs" {
	"$viv" load -q --discard-compressed -i layout
	[ "$(find "$VIV_ROOT/images/blobs" -type f | wc -l)" -eq 2 ] # manifest and configuration
	"$viv" image verify
	run --separate-stderr "$viv" save -o discarded.tar layout:v1
	status_is 3
	err_has IMG-BLOB
	[ ! -e discarded.tar ]
	"$viv" load -q -i layout
	"$viv" save layout:v1 | tar -t | grep -q manifest.json
	"$viv" rmi layout:v1
	[ -z "$(find "$VIV_ROOT/images/blobs" "$VIV_ROOT/images/layers" -type f)" ]
}

@test "archives that are none, cut short, or lie are refused, and nothing of them stays" {
	head -c 100 /dev/zero >zeros
	printf 'BZh9xxxx' >bzip
	head -c 700000 docker.tar >cut.tar
	cp -r layout lying
	for f in lying/blobs/sha256/*; do chmod u+w "$f" && printf ' ' >>"$f"; done
	mkdir -p evil && ln -sf /etc/passwd evil/index.json
	for input in zeros bzip cut.tar lying evil /nonexistent; do
		run --separate-stderr "$viv" load -i "$input"
		failed
		err_has '['
		[ "$("$viv" images -q)" = "" ] || return 1
	done
	rm -rf zeros bzip cut.tar lying evil
	"$viv" image prune -f
	[ -z "$(find "$VIV_ROOT/images/blobs" -type f)" ]
}

@test "a full disk: the load fails with the reason, and the next one works" {
	needs_root
	mkdir "$BATS_TEST_TMPDIR/small"
	mount -t tmpfs -o size=1200k none "$BATS_TEST_TMPDIR/small"
	VIV_ROOT=$BATS_TEST_TMPDIR/small run --separate-stderr "$viv" load -i docker.tar
	VIV_ROOT=$BATS_TEST_TMPDIR/small "$viv" images -q >listed
	mount -o remount,size=64m "$BATS_TEST_TMPDIR/small"
	VIV_ROOT=$BATS_TEST_TMPDIR/small "$viv" load -q -i docker.tar
	left=$(find "$BATS_TEST_TMPDIR/small/images/tmp" -mindepth 1)
	umount "$BATS_TEST_TMPDIR/small"
	failed
	err_has "space"
	[ ! -s listed ]
	[ -z "$left" ]
}

@test "an ordinary user loads, lists, saves and removes" {
	needs_root
	user=$(mktemp -d)
	cp docker.tar "$user"
	chown -R nobody "$user"
	as_user() { (cd / && runuser -u nobody -- env VIV_ROOT="$user/data" "$viv" "$@"); }
	if ! as_user --version >/dev/null || ! runuser -u nobody -- test -r "$user/docker.tar"; then
		rm -rf "$user"
		skip "the build folder or $(dirname "$user") is closed to others"
	fi
	run as_user load -q -i "$user/docker.tar"
	loaded=$status
	listed=$(as_user images -o name)
	saved=$(as_user save example.org/base:1 | tar -t)
	as_user image verify
	verified=$?
	as_user rmi example.org/base:1
	left=$(as_user images -q)
	rm -rf "$user"
	[ "$loaded" -eq 0 ]
	[ "$verified" -eq 0 ]
	[ "$listed" = example.org/base:1 ]
	[[ $saved == *manifest.json* ]]
	[ -z "$left" ]
}

@test "kill -9 at any file operation of load and rmi: the image is there whole or not at all, nothing stays" {
	kill_at() { "$TOOLS/killat" -f -a -n "$1" "$2" -- "${@:3}" >/dev/null 2>&1; }
	calls=renameat,fsync,linkat,unlinkat,mkdirat,fchmod,flock,fdatasync
	n=1
	while kill_at "$calls" "$n" "$VIV_BUILD/viv-image" load -q -i docker.tar; do
		if [ -n "$("$viv" images -q)" ]; then
			"$viv" image verify || return 1
			[ "$("$viv" images -o name)" = example.org/base:1 ] || return 1
		fi
		# the next command that writes takes the dead one's temporaries away
		"$viv" image prune -a -f >/dev/null
		[ -z "$(find "$VIV_ROOT/images/tmp" -mindepth 1)" ] || return 1
		n=$((n + 3))
	done
	[ "$n" -gt 10 ]
	n=1
	while "$viv" load -q -i docker.tar && kill_at "$calls" "$n" "$VIV_BUILD/viv-image" rmi example.org/base:1; do
		[ -z "$("$viv" images -q)" ] || "$viv" image verify || return 1
		"$viv" image prune -f >/dev/null
		n=$((n + 2))
	done
	[ "$n" -gt 3 ]
}
