#!/usr/bin/env bats
# viv login, logout and search: against docker-registry with TLS and basic auth, and a registry that misbehaves.

load registry.bash

setup_file() { registry_setup_file; }
setup() { registry_setup; }
teardown() { registry_teardown; }

# start_secure: docker-registry with TLS and the login ann:secret
start_secure() {
	needs_tool htpasswd
	make_certificate
	htpasswd -Bbn ann secret >"$HOME/htpasswd"
	start_docker "tls: {certificate: $HOME/tls.crt, key: $HOME/tls.key}" \
		"auth: {htpasswd: {realm: test, path: $HOME/htpasswd}}"
}

trust() {
	mkdir -p "$HOME/config/viv/certs.d/$DOCKER"
	cp "$HOME/tls.crt" "$HOME/config/viv/certs.d/$DOCKER/ca.crt"
}

login() { run --separate-stderr "$VIV" login -u "$1" --password-stdin "${@:3}" <<<"$2"; }

@test "login is tried, kept, and forgotten by logout" {
	start_secure
	trust
	login ann secret "$DOCKER"
	ok
	out_is "Login Succeeded"
	[[ $(jq -r ".auths[\"$DOCKER\"].auth" "$HOME/docker/config.json" | base64 -d) == ann:secret ]]
	[[ $(stat -c %a "$HOME/docker/config.json") == 600 ]]
	run_viv search "$DOCKER/x"
	ok
	run_viv logout "$DOCKER"
	out_is "Removing login credentials for $DOCKER"
	[[ $(jq -r ".auths[\"$DOCKER\"]" "$HOME/docker/config.json") == null ]]
	run_viv logout "$DOCKER"
	ok
	out_is "Not logged in to $DOCKER"
	run_viv search "$DOCKER/x"
	status_is 5
	err_has "wants a login"
}

@test "a wrong password is not kept" {
	start_secure
	trust
	login ann wrong "$DOCKER"
	status_is 5
	err_has REG-DENIED
	[[ ! -e $HOME/docker/config.json ]]
}

@test "a registry whose authority is not known is not trusted, unless it is named as insecure" {
	start_secure
	login ann secret "$DOCKER"
	status_is 6
	err_has REG-TLS
	login ann secret --insecure 127.0.0.1:1 "$DOCKER"
	status_is 6
	login ann secret --insecure "$DOCKER" "$DOCKER"
	ok
	registries "{\"$DOCKER\": {\"insecure\": true}}"
	login ann secret "$DOCKER"
	ok
}

@test "a registry without TLS is spoken to only where it is named" {
	start_bad
	run_viv search "$BAD/app"
	status_is 6
	err_has REG-TLS
	run_viv search --insecure "$BAD" "$BAD/app" --format '{{.Name}}'
	ok
	out_is "$BAD/good/app"
}

@test "search lists page by page, and filters" {
	start_bad
	run_viv search --insecure "$BAD" "$BAD/o" --format '{{.Name}}'
	out_is "$BAD/good/app"$'\n'"$BAD/good/other"
	run_viv search --insecure "$BAD" "$BAD/o" --limit 1 --format '{{.Name}}'
	out_is "$BAD/good/app"
	run_viv search --filter stars=x x
	status_is 2
	run_viv search --limit 0 x
	status_is 2
}

@test "a login that gives a refresh token keeps that in place of the password" {
	export PING=token
	start_bad
	login ann secret --insecure "$BAD" "$BAD"
	status_is 1
	err_has "no https address nor named as insecure"
	login ann secret --insecure "$BAD" --insecure "$CDN" "$BAD"
	ok
	[[ $(jq -r ".auths[\"$BAD\"].identitytoken" "$HOME/docker/config.json") == refresh ]]
	! grep -q "$(printf ann:secret | base64)" "$HOME/docker/config.json" || return 1
	[[ $(log 'select(.path | contains("/token")) | .path') == *offline_token=true* ]]
	login ann wrong --insecure "$BAD" --insecure "$CDN" "$BAD"
	status_is 5
}

@test "a login is kept by the credential helper that config.json names" {
	export PING=basic
	start_bad
	mkdir "$HOME/bin"
	cat >"$HOME/bin/docker-credential-test" <<-EOF
		#!/bin/sh
		case \$1 in
		store) cat >$HOME/kept ;;
		get) cat $HOME/kept 2>/dev/null || { echo credentials not found in native keychain; exit 1; } ;;
		erase) rm $HOME/kept ;;
		esac
	EOF
	chmod +x "$HOME/bin/docker-credential-test"
	export PATH=$HOME/bin:$PATH
	echo '{"credsStore": "test"}' >"$HOME/docker/config.json"
	login ann secret --insecure "$BAD" "$BAD"
	ok
	[[ $(jq -r .Secret "$HOME/kept") == secret ]]
	[[ $(jq -r .auths "$HOME/docker/config.json") == null ]]
	run_viv logout "$BAD"
	ok
	[[ ! -e $HOME/kept ]]
}

@test "login without a terminal says what is missing" {
	run_viv login 127.0.0.1:1
	status_is 2
	err_has --username
	run_viv login -u ann 127.0.0.1:1
	status_is 2
	err_has --password-stdin
	run_viv login --password-stdin 127.0.0.1:1
	status_is 2
}

@test "on a terminal login asks, and does not show the password" {
	export PING=basic
	start_bad
	run "$LIB/typist.py" "$VIV login --insecure $BAD $BAD" Username: 'ann\r' Password: 'secret\r' Succeeded
	ok
	[[ $output == *"Login Succeeded"* ]] || fail "$output"
	[[ $output != *secret* ]] || fail "shows it: $output"
}

@test "settings of registries that cannot be used are named" {
	echo '{"registries": {"x": {"insecur": true}}}' >"$HOME/config/viv/registries.json"
	run_viv search 127.0.0.1:1/x
	status_is 2
	err_has 'registries["x"].insecur'
	registries '{"127.0.0.1:1": {"blocked": true}}'
	run_viv search 127.0.0.1:1/x
	status_is 2
	err_has blocked
	registries '{}'
	echo '{"auths": []}' >"$HOME/docker/config.json"
	start_bad
	PING=basic run_viv search --insecure "$BAD" "$BAD/x"
	ok
}
