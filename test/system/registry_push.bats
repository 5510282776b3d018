#!/usr/bin/env bats
# viv push: to docker-registry (TLS, basic auth), read back by skopeo; and to a registry that misbehaves.

load registry.bash

setup_file() { registry_setup_file; }
setup() {
	registry_setup
	start_bad
	registries "{\"$BAD\": {\"insecure\": true}, \"$CDN\": {\"insecure\": true}}"
	run_viv pull -q "$BAD/good/app:zstd"
	ok
	: >"$LOG"
}
teardown() { registry_teardown; }

digest_of() { jq -r --arg tag "$1" '.manifests[] | select(.annotations["org.opencontainers.image.ref.name"] == $tag) | .digest' \
	"$BATS_FILE_TMPDIR/layout/index.json"; }

# push NAME: the pulled image under that name
push() {
	"$VIV" tag "$BAD/good/app:zstd" "$1"
	run_viv push "$1"
}


@test "push to docker-registry with TLS and basic auth; skopeo reads it back" {
	needs_tool skopeo
	needs_tool htpasswd
	make_certificate
	htpasswd -Bbn ann secret >"$HOME/htpasswd"
	start_docker "tls: {certificate: $HOME/tls.crt, key: $HOME/tls.key}" \
		"auth: {htpasswd: {realm: test, path: $HOME/htpasswd}}"
	mkdir -p "$HOME/config/viv/certs.d/$DOCKER" "$HOME/certs"
	cp "$HOME/tls.crt" "$HOME/config/viv/certs.d/$DOCKER/ca.crt"
	cp "$HOME/tls.crt" "$HOME/certs/ca.crt"
	push "$DOCKER/team/app:1"
	status_is 5
	err_has REG-DENIED
	run "$VIV" login -u ann --password-stdin "$DOCKER" <<<secret
	ok
	push "$DOCKER/team/app:1"
	ok
	out_is "The push refers to repository [$DOCKER/team/app]
1: digest: $(digest_of zstd) size: $(stat -c %s "$BATS_FILE_TMPDIR/layout/blobs/$(digest_of zstd | tr : /)")"
	skopeo copy -q --src-cert-dir "$HOME/certs" --src-creds ann:secret "docker://$DOCKER/team/app:1" "oci:$HOME/back:x"
	[[ $(jq -r '.manifests[0].digest' "$HOME/back/index.json") == "$(digest_of zstd)" ]]
	local f
	for f in "$HOME"/back/blobs/sha256/*; do cmp "$f" "$BATS_FILE_TMPDIR/layout/blobs/sha256/${f##*/}"; done
	run_viv pull -q "$DOCKER/team/app:1"
	ok
}

@test "what is there already is not sent, and another repository's blobs are mounted" {
	push "$BAD/good/other:x"
	ok
	[[ $(log 'select(.method == "PATCH")') == "" ]] || fail "$(cat "$LOG")"
	start_docker
	registries "{\"$DOCKER\": {\"insecure\": true}}"
	push "$DOCKER/one:x"
	ok
	push "$DOCKER/one:y"
	ok
	push "$DOCKER/two:x"
	ok
	[[ $(find "$BATS_TEST_TMPDIR/registry/docker/registry/v2/repositories/two/_layers" -name link | wc -l) == 3 ]]
	[[ -z $(find "$BATS_TEST_TMPDIR/registry" -path '*_uploads/*') ]]
}

# fresh_blobs: an image that the registry does not have, as localhost/fresh
fresh_blobs() {
	python3 "$LIB/layout.py" "$HOME/fresh" "$1" 64
	needs_tool skopeo
	start_docker
	skopeo copy -q --dest-tls-verify=false "oci:$HOME/fresh:plain" "docker://$DOCKER/fresh:x"
	run_viv pull -q --insecure "$DOCKER" "$DOCKER/fresh:x"
	ok
}

@test "an upload that is cut goes on where it was cut" {
	fresh_blobs 30
	"$VIV" tag "$DOCKER/fresh:x" "$BAD/pushcut/app:x"
	run_viv push "$BAD/pushcut/app:x"
	ok
	[[ $(log 'select(.method == "GET" and (.path | startswith("/upload"))) | .path') ]] || fail "$(cat "$LOG")"
	run_viv pull -q "$BAD/pushcut/app:x"
	ok
}

@test "an upload may go to another host, which gets no credentials" {
	fresh_blobs 3
	printf '{"auths": {"%s": {"auth": "%s"}}}' "$BAD" "$(printf ann:secret | base64)" >"$HOME/docker/config.json"
	"$VIV" tag "$DOCKER/fresh:x" "$BAD/pushelse/app:x"
	run_viv push "$BAD/pushelse/app:x"
	ok
	[[ $(log 'select(.host == "cdn" and .method == "PATCH") | .path') ]]
	[[ $(log 'select(.host == "cdn" and .authorization)') == "" ]]
}

@test "an upload that fails each time ends, and says what the registry said" {
	fresh_blobs 3
	"$VIV" tag "$DOCKER/fresh:x" "$BAD/push500/app:x"
	run_viv push "$BAD/push500/app:x"
	status_is 6
	err_has "disk on fire"
}

@test "what cannot be pushed" {
	run_viv push "$BAD/good/nothing:x"
	status_is 3
	run_viv push "$BAD/good/app@$(digest_of zstd)"
	status_is 2
	run_viv push -a "$BAD/good/app:zstd"
	status_is 2
	run_viv push -a "$BAD/good/nothing"
	status_is 3
	run_viv push -a "$BAD/good/app"
	ok
	out_has "zstd: digest: $(digest_of zstd)"
}
