#!/usr/bin/env bats
# viv pull and push: against docker-registry, skopeo, and a registry that misbehaves.

load registry.bash

setup_file() { registry_setup_file; }
setup() { registry_setup; }
teardown() {
	registry_teardown
	[[ -z ${USER_HOME:-} ]] || rm -rf "$USER_HOME"
}

pull() { run_viv pull --insecure "$BAD" "${@:2}" "$BAD/$1"; }
images() { "$VIV" images --format '{{.Repository}}:{{.Tag}}'; }
store() { echo "$VIV_ROOT/images"; }

# nothing_visible: no name, and no blob or layer but what was whole
nothing_visible() { [[ -z $(images) ]] || fail "visible: $(images)"; }

# blobs: what the store has, checked against their names
blobs() { find "$(store)/blobs" -type f -printf '%f\n' | sort; }
check_blobs() {
	local f
	for f in "$(store)"/blobs/sha256/*; do
		[[ ! -e $f || $(sha256sum <"$f") == "${f##*/} "* ]] || fail "corrupt: $f"
	done
}

digest_of() { jq -r --arg tag "$1" '.manifests[] | select(.annotations["org.opencontainers.image.ref.name"] == $tag) | .digest' \
	"$BATS_FILE_TMPDIR/layout/index.json"; }

@test "pull says what Docker says, and again that nothing is new" {
	start_bad
	pull good/app
	ok
	out_is "Using default tag: latest
latest: Pulling from good/app
Digest: $(digest_of latest)
Status: Downloaded newer image for $BAD/good/app:latest
$BAD/good/app:latest"
	[[ $(images) == "$BAD/good/app:latest" ]]
	check_blobs
	: >"$LOG"
	pull good/app:latest
	ok
	out_has "Status: Image is up to date for $BAD/good/app:latest"
	[[ -z $(log 'select(.path | contains("/blobs/"))') ]]
	pull good/app -q
	out_is "$BAD/good/app:latest"
}

@test "gzip, zstd and plain layers, and an index, lead to the same layers" {
	start_bad
	pull good/app:zstd
	ok
	pull good/app:plain
	ok
	pull good/app:multi
	ok
	[[ $(ls "$(store)/layers" | wc -l) == 2 ]] || fail "$(ls "$(store)/layers")"
	pull good/app:multi --platform linux/arm64
	ok
	[[ $(ls "$(store)/layers" | wc -l) == 3 ]]
	check_blobs
}

@test "--discard-compressed keeps only what runs" {
	start_bad
	pull good/app --discard-compressed
	ok
	[[ $(blobs | wc -l) == 2 ]] || fail "$(blobs)"
	[[ $(ls "$(store)/layers" | wc -l) == 2 ]]
	: >"$LOG"
	pull good/app --discard-compressed
	ok
	out_has "up to date"
	[[ -z $(log 'select(.path | contains("/blobs/"))') ]]
	run_viv push --insecure "$BAD" "$BAD/good/app"
	ok # the registry has them
	pull good/app
	ok
	[[ $(blobs | wc -l) == 4 ]] || fail "$(blobs)"
	"$VIV" rmi "$BAD/good/app" >/dev/null
	[[ -z $(blobs) && -z $(ls "$(store)/layers") ]]
}

@test "a digest, all tags, a platform that there is not" {
	start_bad
	run_viv pull --insecure "$BAD" "$BAD/good/app@$(digest_of zstd)"
	ok
	pull good/app:multi --platform linux/riscv64
	status_is 3
	pull good/app:arm --platform linux/amd64
	status_is 3
	pull good/app:nothing
	status_is 3
	err_has REG-NOT-FOUND
	pull good/app:foreign
	[[ $status -ne 0 ]]
	err_has nondistributable
	pull 'Good App'
	status_is 2
	run_viv pull --all-tags --insecure "$BAD" "$BAD/good/app:x"
	status_is 2
}

@test "bytes that are not what was announced are not kept" {
	start_bad
	local mode
	for mode in wrong longer wrongtag; do
		pull "$mode/app"
		status_is 1
		err_has REG-DIGEST
		nothing_visible
		check_blobs
	done
	for mode in html garbage huge; do
		pull "$mode/app"
		[[ $status -ne 0 ]] || fail "$mode succeeded"
		nothing_visible
	done
}

@test "a connection that breaks is taken up where it broke" {
	start_bad
	pull cut/app
	ok
	check_blobs
	[[ $(log 'select(.range) | .range' | wc -l) == 2 ]] || fail "$(cat "$LOG")"
	pull cutplain/app:zstd
	ok
	check_blobs
}

@test "a range that begins elsewhere is refused" {
	start_bad
	pull badrange/app
	status_is 1
	err_has REG-PROTOCOL
	nothing_visible
}

@test "what was cut for good is continued by the next pull" {
	start_bad
	pull short/app
	[[ $status -ne 0 ]]
	nothing_visible
	: >"$LOG"
	pull good/app
	ok
	check_blobs
	[[ $(log 'select(.range) | .range' | wc -l) == 2 ]] || fail "$(cat "$LOG")"
}

@test "429 is waited for, 5xx ends at last, 404 at once" {
	start_bad
	pull busy/app:zstd
	ok
	registries "{\"$BAD\": {\"insecure\": true}}"
	pull broken/app
	status_is 6
	err_has REG-BUSY
	pull lost/app
	status_is 3
	[[ $(images) == "$BAD/busy/app:zstd" ]]
}

@test "a redirect in a circle ends" {
	start_bad
	pull loop/app
	status_is 1
	err_has REG-PROTOCOL
}

@test "a registry that hangs is given up" {
	start_bad
	registries "{\"$BAD\": {\"insecure\": true, \"stallSeconds\": 1}}"
	local mode
	for mode in silent slow; do
		run_viv pull "$BAD/$mode/app"
		status_is 6
		err_has REG-UNREACHABLE
	done
	nothing_visible
}

@test "credentials do not follow to another host, and that one may not ask for them" {
	start_bad
	printf '{"auths": {"%s": {"auth": "%s"}}}' "$BAD" "$(printf ann:secret | base64)" >"$HOME/docker/config.json"
	pull cdn/app
	ok
	[[ $(log 'select(.host == "cdn" and .authorization)') == "" ]]
	pull cdn401/app:zstd
	status_is 5
	[[ $(log 'select(.host == "cdn" and .authorization)') == "" ]]
}

@test "tokens are fetched, renewed, and given up" {
	start_bad
	registries "{\"$BAD\": {\"insecure\": true}, \"$CDN\": {\"insecure\": true}}"
	run_viv pull "$BAD/token/app"
	ok
	run_viv pull "$BAD/expired/app:zstd"
	ok
	run_viv pull "$BAD/never/app"
	status_is 5
	err_has REG-DENIED
	run_viv pull "$BAD/noservice/app"
	status_is 1
	run_viv pull "$BAD/badchallenge/app"
	status_is 1
	err_has WWW-Authenticate
	run_viv pull "$BAD/evilrealm/app"
	status_is 1
	err_has 192.0.2.1
	printf '{"auths": {"%s": {"auth": "%s"}}}' "$BAD" "$(printf ann:wrong | base64)" >"$HOME/docker/config.json"
	run_viv pull "$BAD/token/app"
	status_is 5
	err_has "viv login"
}

@test "a mirror is asked first, and what it lacks or damages comes from the registry" {
	start_bad
	registries "{\"$BAD\": {\"insecure\": true, \"mirrors\": [\"$CDN/wrong\"]}, \"$CDN\": {\"insecure\": true}}"
	run_viv pull "$BAD/good/app"
	ok
	check_blobs
	[[ $(log 'select(.host == "cdn" and (.path | contains("/v2/wrong/good/app/blobs")))') ]]
	[[ $(log 'select(.host == "registry" and (.path | contains("/blobs")))') ]]
	registries "{\"$BAD\": {\"insecure\": true, \"mirrors\": [\"127.0.0.1:1\", \"$CDN/lost\"]}, \"$CDN\": {\"insecure\": true}}"
	run_viv pull "$BAD/good/app:zstd"
	ok
}

@test "nobody there" {
	run_viv pull 127.0.0.1:1/app
	status_is 6
	err_has REG-UNREACHABLE
	run_viv pull registry.invalid/app
	status_is 6
}

@test "kill -9 at any moment leaves nothing that is visible, and the next pull is whole" {
	start_bad
	local n=0 seconds
	for seconds in 0.01 0.02 0.03 0.05 0.08 0.12 0.2; do
		timeout -s KILL $seconds "$VIV" pull -q --insecure "$BAD" "$BAD/good/app" >/dev/null 2>&1 || n=$((n + 1))
		[[ -z $(images) ]] || "$VIV" rmi -f "$BAD/good/app" >/dev/null
		check_blobs
	done
	pull good/app
	ok
	check_blobs
	[[ -z $(find "$(store)/tmp" -mindepth 1) ]] || fail "left: $(find "$(store)/tmp" -mindepth 1)"
}

@test "kill -9 at every step that changes a file, and the next pull is whole" {
	needs_root
	local n answer=0 steps=renameat,renameat2,linkat,fsync,mkdirat,unlinkat,ftruncate
	start_bad
	pull good/app:zstd # the state store and its folders are there
	ok
	"$VIV" rmi "$BAD/good/app:zstd" >/dev/null
	for ((n = 1; n < 300 && answer == 0; n++)); do
		answer=0
		"$VIV_BUILD/test/lib/killat" -f -n $steps $n -- \
			"$VIV_BUILD/viv-registry" pull -q --insecure "$BAD" "$BAD/good/app" >/dev/null 2>&1 || answer=$?
		[[ $answer -le 1 ]] || fail "killat: $answer"
		if [[ $(images) ]]; then
			[[ $(blobs | wc -l) -ge 4 && $(ls "$(store)/layers" | wc -l) == 2 ]] || fail "visible and not whole after step $n"
			"$VIV" rmi -f "$BAD/good/app" >/dev/null
		fi
		check_blobs || return
	done
	((n > 15 && answer == 1)) || fail "only $n steps, answer $answer"
	pull good/app
	ok
	check_blobs
	[[ -z $(find "$(store)/tmp" -mindepth 1) ]] || fail "left: $(find "$(store)/tmp" -mindepth 1)"
}

@test "a proxy, from the environment and from registries.json" {
	make_certificate
	start_bad
	local proxy=$BAD proxy_log=$LOG
	start_bad --tls "$HOME/tls.crt" "$HOME/tls.key"
	mkdir -p "$HOME/config/viv/certs.d/$BAD"
	cp "$HOME/tls.crt" "$HOME/config/viv/certs.d/$BAD/ca.crt"
	https_proxy=http://$proxy run_viv pull -q "$BAD/good/app"
	ok
	[[ $(jq -r 'select(.method == "CONNECT").path' "$proxy_log") == *"$BAD"* ]]
	https_proxy=http://127.0.0.1:1 run_viv pull -q "$BAD/good/app:zstd"
	status_is 6
	https_proxy=http://127.0.0.1:1 no_proxy=127.0.0.1 run_viv pull -q "$BAD/good/app:zstd"
	ok
	registries "{\"$BAD\": {\"proxy\": \"http://127.0.0.1:1\"}}"
	run_viv pull -q "$BAD/good/app:plain"
	status_is 6
	registries "{\"$BAD\": {\"proxy\": \"http://$proxy\"}}"
	run_viv pull -q "$BAD/good/app:plain"
	ok
}

@test "a full disk in the middle: named, nothing visible, nothing left" {
	needs_root
	start_bad
	mkdir -p "$VIV_ROOT"
	run -0 unshare -m sh -c "
		mount -t tmpfs -o size=1100k none $VIV_ROOT &&
		$VIV pull --insecure $BAD $BAD/good/app:plain; echo status \$?
		$VIV images -q; find $VIV_ROOT/images/tmp -mindepth 1"
	[[ $output == *"No space left"* ]] || fail "$output"
	[[ ${lines[-1]} == "status "[1-9]* ]] || fail "$output"
}

@test "an ordinary user pulls" {
	needs_root
	needs_tool setpriv
	start_bad
	USER_HOME=$(mktemp -d "${TMPDIR:-/tmp}/viv-user.XXXXXX")
	chown nobody "$USER_HOME"
	local as=(setpriv --reuid nobody --regid nogroup --clear-groups env -u VIV_ROOT "HOME=$USER_HOME"
		"XDG_DATA_HOME=$USER_HOME/data" "XDG_CONFIG_HOME=$USER_HOME/config" "XDG_RUNTIME_DIR=$USER_HOME")
	"${as[@]}" test -x "$VIV" || skip "nobody may not execute $VIV"
	run --separate-stderr "${as[@]}" "$VIV" pull -q --insecure "$BAD" "$BAD/good/app"
	ok
	out_is "$BAD/good/app:latest"
	[[ -d $USER_HOME/data/viv/images/blobs ]]
}
