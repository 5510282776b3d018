#!/usr/bin/env bats
# Layers: what each back end shows is what umoci unpacks, whatever is odd about it; nothing is written outside; whole or
# not at all.

load helpers.bash

setup_file() {
	export ODD=$BATS_TEST_DIRNAME/../lib/oddtar
	cd "$BATS_FILE_TMPDIR" || return
	"$ODD" lower >lower.tar
	"$ODD" upper >upper.tar
	truncate -s 3M sparse
	printf begin | dd of=sparse conv=notrunc status=none
	printf middle | dd of=sparse bs=1M seek=1 conv=notrunc status=none
	printf end | dd of=sparse bs=1 seek=2500001 conv=notrunc status=none
	touch -d @1 sparse
	local v
	for v in gnu '--format=posix --sparse-version=0.0' '--format=posix --sparse-version=0.1' '--format=posix --sparse-version=1.0'; do
		[[ $v == --* ]] || v=--format=$v
		tar cS $v --pax-option=delete=atime,delete=ctime --owner=0 --group=0 --transform "s/^sparse/sparse${v//[^a-z0-9]/-}/" \
			sparse >"sparse${v//[^a-z0-9]/-}.tar" 2>/dev/null ||
			tar cS $v --owner=0 --group=0 --transform "s/^sparse/sparse${v//[^a-z0-9]/-}/" sparse >"sparse${v//[^a-z0-9]/-}.tar"
	done
}

setup() {
	needs_root
	cd "$BATS_TEST_TMPDIR" || return
	DATA=$PWD/data
	mkdir -p data mnt
}

teardown() {
	! mountpoint -q mnt || umount mnt
	! grep -F "$BATS_TEST_TMPDIR" /proc/mounts
}

ctl() { "$TOOLS/layerctl" "$DATA" "$@"; }

# listing DIR: everything about its files, one a line.
listing() {
	(
		cd "$1" || exit
		find . -printf '%P %y %m %U:%G %T@ %l ' \( -type f -printf '%s ' -o -true \) \
			\( \( -type b -o -type c \) -exec stat -c '%t,%T' {} \; -o -printf '\n' \) | LC_ALL=C sort
		find . -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum
		find . -print0 | LC_ALL=C sort -z | xargs -0 getfattr -hd -m - -e hex 2>/dev/null
		# Which names are one file
		find . -not -type d -links +1 -printf '%i %P\n' | LC_ALL=C sort -k2 | awk '{ if (!($1 in g)) g[$1] = ++n; print "links", g[$1], $2 }'
	)
}

# umoci_unpack DIR TAR…
umoci_unpack() {
	local dir=$1 tar
	shift
	umoci init --layout oci
	umoci new --image oci:x
	for tar; do umoci raw add-layer --image oci:x "$tar"; done
	umoci unpack --image oci:x "$dir" >/dev/null
	rm -rf oci
}

# same_as_umoci BACKEND TAR…
same_as_umoci() {
	local backend=$1 tar ids=()
	shift
	needs_tool umoci
	umoci_unpack u "$@"
	for tar; do ids+=("$(ctl write "$backend" "$tar")"); done
	ctl mount mnt - - "${ids[@]}"
	listing u/rootfs >theirs
	listing mnt >ours
	diff theirs ours
}

has_erofs() { grep -qw erofs /proc/filesystems || skip "this kernel has no EROFS"; }

@test "EROFS: one layer with every oddity is what umoci unpacks" {
	has_erofs
	same_as_umoci erofs "$BATS_FILE_TMPDIR/lower.tar"
}

@test "EROFS: two layers with whiteouts are what umoci unpacks" {
	has_erofs
	same_as_umoci erofs "$BATS_FILE_TMPDIR/lower.tar" "$BATS_FILE_TMPDIR/upper.tar"
}

# umoci knows no sparse files of GNU's own form, so tar is asked here.
same_as_tar() {
	local backend=$1 tar ids=()
	shift
	mkdir -p u/rootfs
	for tar; do
		tar x -C u/rootfs -f "$tar"
		ids+=("$(ctl write "$backend" "$tar")")
	done
	ctl mount mnt - - "${ids[@]}"
	listing u/rootfs | grep -v '^ d' >theirs # the tars have no entry for the root
	listing mnt | grep -v '^ d' >ours
	[ "$(grep -c sparse theirs)" -ge 8 ]
	diff theirs ours
}

@test "EROFS: sparse files in all of tar's forms are what tar unpacks" {
	has_erofs
	same_as_tar erofs "$BATS_FILE_TMPDIR"/sparse*.tar
}

@test "directories: one layer with every oddity is what umoci unpacks" {
	same_as_umoci dir "$BATS_FILE_TMPDIR/lower.tar"
}

@test "directories: two layers with whiteouts are what umoci unpacks" {
	same_as_umoci dir "$BATS_FILE_TMPDIR/lower.tar" "$BATS_FILE_TMPDIR/upper.tar"
}

@test "directories: sparse files in all of tar's forms are what tar unpacks" {
	same_as_tar dir "$BATS_FILE_TMPDIR"/sparse*.tar
}

@test "what was changed above a layer, packed as a layer, shows the same above it" {
	local backend a b
	for backend in dir erofs; do
		[ $backend = dir ] || grep -qw erofs /proc/filesystems || continue
		rm -rf upper work
		mkdir upper work
		a=$(ctl write $backend "$BATS_FILE_TMPDIR/lower.tar")
		ctl mount mnt upper work "$a"
		rm -r mnt/gone mnt/many/a-rather-long-name-to-fill-blocks-00*
		rm -r mnt/hidden && mkdir -m 750 mnt/hidden && echo new >mnt/hidden/new
		chown 5:6 mnt/suid
		setfattr -n user.added -v x mnt/etc
		ln mnt/large mnt/etc/large-too
		mknod mnt/etc/zero c 1 5
		ln -s nowhere mnt/etc/link
		listing mnt >before
		umount mnt
		ctl pack upper >diff.tar
		ctl pack upper | cmp - diff.tar
		b=$(ctl write $backend diff.tar)
		ctl mount mnt - - "$a" "$b"
		listing mnt >after
		umount mnt
		diff before after
		[ "$(tar tf diff.tar | grep -c '^.wh.gone$')" = 1 ]
		[ "$(tar tf diff.tar | grep -c '^hidden/.wh..wh..opq$')" = 1 ]
	done
}

@test "a kernel that takes no detached layers gets them in a child, and nothing stays" {
	has_erofs
	local a b
	a=$(ctl write erofs "$BATS_FILE_TMPDIR/lower.tar")
	b=$(ctl write dir "$BATS_FILE_TMPDIR/upper.tar")
	ctl mount mnt - - "$a" "$b"
	listing mnt >direct
	umount mnt
	ctl mount-child mnt - - "$a" "$b"
	listing mnt >child
	diff direct child
	[ "$(grep -c "$BATS_TEST_TMPDIR" /proc/mounts)" = 1 ]
}

@test "fsck.erofs accepts what is written" {
	local version
	version=$(fsck.erofs -V 2>/dev/null | grep -oE '[0-9]+\.[0-9]+' | head -n 1)
	[[ $version ]] && printf '1.7\n%s\n' "$version" | sort -VC || skip "fsck.erofs before 1.7 knows no blocks of 512 bytes"
	local tar id
	for tar in "$BATS_FILE_TMPDIR"/*.tar; do
		id=$(ctl write erofs "$tar")
		fsck.erofs --device="$DATA/images/layers/${id#*:}/tar" "$DATA/images/layers/${id#*:}/index"
	done
}

@test "tricks of a hostile layer write nothing outside" {
	local backend id out=$BATS_TEST_TMPDIR/outside
	mkdir "$out"
	echo victim >"$out/victim"
	"$ODD" tricks "$out" >tricks.tar
	for backend in dir erofs; do
		[ $backend = dir ] || grep -qw erofs /proc/filesystems || continue
		id=$(ctl write $backend tricks.tar)
		[ "$(ls -A "$out")" = victim ]
		[ "$(cat "$out/victim")" = victim ]
		[ -z "$(find / -xdev -maxdepth 2 -name 'OUTSIDE*' 2>/dev/null)" ]
		[ -z "$(find data -path data/images/layers -prune -o -name 'OUTSIDE*' -print)" ]
		[ -z "$(find data/images/layers -maxdepth 2 -name 'OUTSIDE*')" ]
		ctl mount mnt - - "$id"
		[ "$(cat mnt/file-link)" = overwritten ]
		[ -f mnt/OUTSIDE-dotdot ] && [ -f mnt/OUTSIDE-far ] && [ -f mnt/OUTSIDE-absolute ]
		umount mnt
	done
	for trick in hard hard_link; do
		"$ODD" $trick "$out" >hard.tar
		for backend in dir erofs; do
			run ctl write $backend hard.tar
			[ "$status" = 1 ]
			[[ $output == *LAYER-PATH* ]]
		done
	done
	[ "$(stat -c %h "$out/victim")" = 1 ]
}

@test "every flipped bit of tar or index is found" {
	has_erofs
	local id dir f size i
	id=$(ctl write erofs "$BATS_FILE_TMPDIR/upper.tar")
	dir=data/images/layers/${id#*:}
	ctl verify "$id"
	for f in tar index; do
		size=$(stat -c %s "$dir/$f")
		for ((i = 7; i < size; i += size / 5)); do
			cp "$dir/$f" saved
			printf "\\x$(printf %x $((0x$(xxd -s $i -l 1 -p "$dir/$f") ^ 1)))" | dd of="$dir/$f" bs=1 seek=$i conv=notrunc status=none
			run ctl verify "$id"
			[ "$status" = 1 ] || fail "bit at $i of $f"
			[[ $output == *LAYER-DIGEST* ]]
			cp saved "$dir/$f"
		done
	done
	ctl verify "$id"
}

@test "a kill at any point leaves a whole layer or none, and the next command clears away" {
	local n id left
	"$ODD" upper >t.tar
	for backend in dir erofs; do
		for ((n = 1; n < 5000; n += 61)); do
			rm -rf data/images/layers/* # the tested process makes it again
			"$TOOLS/killat" $n -- "$TOOLS/layerctl" "$DATA" write $backend t.tar >/dev/null 2>&1 || break
			left=$(ls data/images/layers 2>/dev/null || true)
			id=$(ctl write $backend t.tar)
			[[ -z $left || $left == "${id#*:}" ]]
			[ -z "$(ls data/images/tmp)" ]
			ctl verify "$id"
		done
		((n > 200))
	done
}

# an ordinary user with a range of ids
user_setup() {
	needs_tool newuidmap
	needs_tool useradd
	getent passwd viv-layers >/dev/null || useradd --create-home --home-dir "$BATS_TEST_TMPDIR/home" viv-layers
	chmod 755 "$BATS_TEST_TMPDIR" "$BATS_FILE_TMPDIR" "$BATS_RUN_TMPDIR"
	grep -q ^viv-layers: /etc/subuid || skip "useradd gives no range of ids here"
	as_user test -x "$TOOLS/layerctl" || skip "the build folder is not readable for others"
}

as_user() {
	setpriv --reuid viv-layers --regid viv-layers --init-groups env -i -C "$BATS_TEST_TMPDIR/home" PATH="$PATH" \
		HOME="$BATS_TEST_TMPDIR/home" VIV="$VIV_BUILD/viv" CTL="$TOOLS/layerctl" "$@"
}

@test "an ordinary user's layers have the owners that the tar says, inside the user namespace" {
	user_setup
	run as_user sh -ec "
		mkdir d m; a=\$(\$CTL d write auto $BATS_FILE_TMPDIR/lower.tar) b=\$(\$CTL d write auto $BATS_FILE_TMPDIR/upper.tar)
		python3 - >mine.tar <<-PY
			import sys, tarfile
			t = tarfile.open(fileobj=sys.stdout.buffer, mode='w|')
			i = tarfile.TarInfo('mine'); i.uid, i.gid = 1234, 5678
			t.addfile(i)
			t.close()
		PY
		c=\$(\$CTL d write auto mine.tar)
		unshare --user --map-root-user --map-auto --mount sh -ec \"
			\$CTL \$PWD/d mount \$PWD/m - - \$a \$b \$c
			stat -c '%u:%g %a' m/mine m m/hidden; ls m/hidden; test ! -e m/gone\"
		\$CTL d remove \$a; \$CTL d remove \$b; \$CTL d remove \$c; ls -A d/images/layers d/images/tmp"
	userdel --remove viv-layers 2>/dev/null || true
	[ "$status" = 0 ] || fail "$output"
	[ "$output" = $'1234:5678 644\n0:0 711\n0:0 700\nnew\nd/images/layers:\n\nd/images/tmp:' ] || fail "$output"
}

@test "an ordinary user imports, mounts and exports" {
	user_setup
	run as_user sh -ec "
		\$VIV import $BATS_FILE_TMPDIR/lower.tar t:1 >/dev/null
		\$VIV export t:1 >out.tar; tar tf out.tar | grep -c many/
		mkdir m
		\$VIV image mount t:1 m 2>&1 | grep -o '\[DENIED\]' || :
		unshare --user --map-root-user --map-auto --mount sh -ec '
			\$VIV image mount --writable t:1 m >/dev/null; echo x >m/etc/new; cat m/etc/new; \$VIV image unmount m; ls m'
		\$VIV rmi t:1 >/dev/null"
	userdel --remove viv-layers 2>/dev/null || true
	[ "$status" = 0 ] || fail "$output"
	[ "$output" = $'503\n[DENIED]\nx' ] || fail "$output"
}
