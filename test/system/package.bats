#!/usr/bin/env bats
# What `make install` and the Debian package put on a machine: the same files, that work from there, and that go again.
# Installed trees are tried in a private mount namespace, laid over this machine's own root: nothing here changes.

setup_file() {
	export VIV_BUILD=${VIV_BUILD:-$(cd "$BATS_TEST_DIRNAME/../../build" && pwd)}
	export TOP=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	export DEST=$BATS_FILE_TMPDIR/dest DEBS=$BATS_FILE_TMPDIR/debs
	DESTDIR=$DEST meson install -C "$VIV_BUILD" --no-rebuild --strip --quiet
}

# Every path but directories below a folder, without the compression that only the package has.
files() {
	(cd "$1" && find . ! -type d | sed 's/\.gz$//' | sort)
}

# Runs a command as root of this machine with the folder laid over it.
over() {
	local folder=$1
	shift
	unshare --mount --propagation private sh -ec '
		mkdir -p "$1/root" "$1/rw"
		mount -t tmpfs tmpfs "$1/rw"
		mkdir "$1/rw/upper" "$1/rw/work"
		cp -a "$2" "$1/rw/tree"
		mount -t overlay overlay -o "lowerdir=$1/rw/tree:/,upperdir=$1/rw/upper,workdir=$1/rw/work" "$1/root"
		mount -t proc proc "$1/root/proc"
		shift 2
		exec chroot "$0" "$@"' "$BATS_TEST_TMPDIR/root" "$BATS_TEST_TMPDIR" "$folder" "$@"
}

need_root() {
	[ "$(id -u)" = 0 ] || skip "needs root: it mounts an overlay"
}

@test "make install puts every program, page, completion and unit in its place" {
	for file in usr/bin/viv usr/libexec/viv/viv-cli usr/libexec/viv/viv-runtime usr/libexec/viv/viv-scope \
		usr/libexec/viv/compat/runc usr/lib/tmpfiles.d/viv.conf usr/share/man/man1/viv.1 \
		usr/share/bash-completion/completions/viv usr/share/zsh/vendor-completions/_viv \
		usr/share/doc/vivarium/LICENSE; do
		[ -e "$DEST/$file" ] || { echo "$file is missing"; find "$DEST" ! -type d; return 1; }
	done
	[ "$(realpath "$DEST/usr/libexec/viv/compat/runc")" = "$DEST/usr/bin/viv" ]
}

@test "installed programs find each other" {
	need_root
	version=$(over "$DEST" /usr/bin/viv --version)
	[ "$version" = "$("$VIV_BUILD/viv" --version)" ]
	over "$DEST" /usr/bin/viv --help | grep -q runtime
	over "$DEST" /usr/libexec/viv/compat/runc --version | grep -q 'spec: 1\.'
	over "$DEST" /usr/bin/viv runtime --version | grep -q 'spec: 1\.'
}

@test "every manual page of an installation is well formed" {
	pages=$(find "$DEST/usr/share/man" -type f)
	[ -n "$pages" ]
	for page in $pages; do
		MANWIDTH=100 man --warnings -l "$page" 2>"$BATS_TEST_TMPDIR/warnings" >/dev/null
		[ ! -s "$BATS_TEST_TMPDIR/warnings" ] || { echo "$page"; cat "$BATS_TEST_TMPDIR/warnings"; return 1; }
	done
}

@test "make uninstall removes all that install put there, and nothing else" {
	cp -a "$DEST" "$BATS_TEST_TMPDIR/dest"
	echo mine >"$BATS_TEST_TMPDIR/dest/usr/libexec/viv/mine"
	DESTDIR=$BATS_TEST_TMPDIR/dest "$TOP/tools/uninstall" "$VIV_BUILD"
	[ "$(files "$BATS_TEST_TMPDIR/dest")" = ./usr/libexec/viv/mine ]
	rm "$BATS_TEST_TMPDIR/dest/usr/libexec/viv/mine"
	DESTDIR=$BATS_TEST_TMPDIR/dest "$TOP/tools/uninstall" "$VIV_BUILD"
	[ -z "$(cd "$BATS_TEST_TMPDIR/dest" && find . -path '*viv*')" ]
}

@test "the Debian package builds and lintian finds no error in it" {
	BATS_TEST_TIMEOUT=600
	command -v dpkg-buildpackage >/dev/null || skip "dpkg-dev is not installed"
	DEB_BUILD_OPTIONS="nocheck parallel=$(nproc)" "$TOP/tools/deb" "$DEBS"
	TMPDIR=$BATS_TEST_TMPDIR run lintian --fail-on error --tag-display-limit 0 "$DEBS"/vivarium_*.deb
	echo "$output"
	[ "$status" -eq 0 ]
}

@test "the Debian package has the layout of make install" {
	[ -d "$DEBS" ] || skip "no package was built"
	dpkg-deb -x "$DEBS"/vivarium_*.deb "$BATS_TEST_TMPDIR/deb"
	rm -rf "$BATS_TEST_TMPDIR/deb/usr/share/lintian"
	diff <(files "$DEST") <(files "$BATS_TEST_TMPDIR/deb" | grep -Ev 'doc/vivarium/(changelog|copyright)$')
	[ "$(dpkg-parsechangelog -l "$TOP/debian/changelog" -S Version)" = "$("$VIV_BUILD/viv" --version | head -1 | awk '{print $NF}')" ]
}

@test "the Debian package installs, works and purges without a trace" {
	need_root
	[ -d "$DEBS" ] || skip "no package was built"
	mkdir "$BATS_TEST_TMPDIR/tree"
	cp "$DEBS"/vivarium_*.deb "$BATS_TEST_TMPDIR/tree/vivarium.deb"
	over "$BATS_TEST_TMPDIR/tree" sh -ec '
		dpkg -i /vivarium.deb
		viv --version
		viv runtime --version
		dpkg --verify vivarium
		dpkg -L vivarium | grep viv >/files
		grep -q "^/usr/bin/viv$" /files
		dpkg --purge vivarium
		while read -r file; do
			[ ! -e "$file" ] && [ ! -L "$file" ] || { echo "left: $file"; exit 1; }
		done </files'
}
