#!/usr/bin/env bats
# policy.json: what is accepted, rejected, and by whom it must be signed: GPG simple signing by skopeo, cosign's format by
# OpenSSL.

load registry.bash

setup_file() { registry_setup_file; }
setup() {
	registry_setup
	start_bad
	registries "{\"$BAD\": {\"insecure\": true, \"lookaside\": \"file://$HOME/lookaside\"}}"
}
teardown() { registry_teardown; }

policy() { printf '%s\n' "$1" >"$HOME/config/viv/policy.json"; }
pull() { run_viv pull -q "$BAD/$1"; }
manifest() { jq -r --arg tag "$1" '.manifests[] | select(.annotations["org.opencontainers.image.ref.name"] == $tag) | .digest' \
	"$BATS_FILE_TMPDIR/layout/index.json"; }

rejected() {
	status_is 5
	err_has POLICY-REJECTED
	[[ -z $("$VIV" images -q) ]] || fail "it is there all the same"
}

@test "accept and reject, by scope" {
	policy "{\"default\": [{\"type\": \"reject\"}],
		\"transports\": {\"docker\": {\"$BAD/good\": [{\"type\": \"insecureAcceptAnything\"}]}}}"
	pull other/app
	rejected
	pull good/app
	ok
}

@test "a policy that cannot be understood accepts nothing" {
	policy '{"default": [{"type": "insecureAcceptAnything", "but": "not this"}]}'
	pull good/app
	status_is 2
	err_has POLICY-FORMAT
	[[ -z $(log .path) ]]
}

# make_key NAME: a GPG key in a home of its own, exported to NAME.asc; FPR is its fingerprint
make_key() {
	export GNUPGHOME=$HOME/gnupg
	mkdir -pm 700 "$GNUPGHOME"
	gpg --batch --quiet --passphrase '' --quick-gen-key "$1@example.org" ed25519 sign "${2:-never}" 2>/dev/null
	FPR=$(gpg --batch --with-colons --list-keys "$1@example.org" | awk -F: '$1 == "fpr" { print $10; exit }')
	gpg --batch --armor --export "$FPR" >"$HOME/$1.asc"
}

# sign NAME TAG NUMBER: simple signing of that tag's manifest under NAME, as signature-NUMBER
sign() {
	local digest dir
	digest=$(manifest "$2")
	dir=$HOME/lookaside/good/app@${digest/:/=}
	mkdir -p "$dir"
	skopeo standalone-sign -o "$dir/signature-$3" "$BATS_FILE_TMPDIR/layout/blobs/${digest/://}" "$1" "$FPR" >/dev/null
}

signed_by() { policy "{\"default\": [{\"type\": \"signedBy\", \"keyType\": \"GPGKeys\", \"keyPath\": \"$1\"}]}"; }

end_gpg() { gpgconf --homedir "$HOME/gnupg" --kill all 2>/dev/null || true; }

@test "GPG: the right key and name, and nothing else" {
	needs_tool gpg
	needs_tool skopeo
	make_key ann
	signed_by "$HOME/ann.asc"
	pull good/app
	rejected
	err_has "no signature"
	sign "$BAD/good/other:latest" latest 1
	pull good/app
	rejected
	err_has "is called '$BAD/good/other:latest'"
	sign "$BAD/good/app:latest" latest 2
	pull good/app
	ok
	"$VIV" rmi "$BAD/good/app" >/dev/null
	make_key eve
	signed_by "$HOME/eve.asc"
	pull good/app
	end_gpg
	rejected
	[[ -z $(find "$VIV_ROOT/images/tmp" -mindepth 1) ]] || fail "left: $(ls "$VIV_ROOT/images/tmp")"
}

@test "GPG: a signature of another manifest, one that was changed, a key that has expired" {
	needs_tool gpg
	needs_tool skopeo
	make_key ann
	signed_by "$HOME/ann.asc"
	sign "$BAD/good/app:latest" zstd 1
	mkdir -p "$HOME/lookaside/good/app@$(manifest latest | tr : =)"
	cp "$HOME/lookaside/good/app@$(manifest zstd | tr : =)/signature-1" "$HOME/lookaside/good/app@$(manifest latest | tr : =)/"
	pull good/app
	rejected
	err_has "another manifest"
	sign "$BAD/good/app:latest" latest 1
	printf 'x' | dd of="$HOME/lookaside/good/app@$(manifest latest | tr : =)/signature-1" bs=1 seek=60 conv=notrunc status=none
	pull good/app
	rejected
	make_key old seconds=2
	sign "$BAD/good/app:latest" latest 1
	signed_by "$HOME/old.asc"
	sleep 3
	pull good/app
	end_gpg
	rejected
}

# cosign_sign DIGEST NAME [KEY]: cosign's signature of that manifest, pushed as cosign does
cosign_sign() {
	local payload sig config manifest url=http://$BAD/v2/good/app tag=${1/:/-}.sig
	payload=$(printf '{"critical":{"identity":{"docker-reference":"%s"},"image":{"docker-manifest-digest":"%s"},"type":"cosign container image signature"},"optional":null}' "$2" "$1")
	sig=$(printf %s "$payload" | openssl dgst -sha256 -sign "${3:-$HOME/cosign.key}" | base64 -w0)
	config=$(put_blob "$url" '{}')
	manifest=$(jq -nc --arg s "$sig" --arg d "$(put_blob "$url" "$payload")" --arg c "$config" --argjson n ${#payload} \
		'{schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json",
		config: {mediaType: "application/vnd.oci.image.config.v1+json", digest: $c, size: 2},
		layers: [{mediaType: "application/vnd.dev.cosign.simplesigning.v1+json", digest: $d, size: $n,
		annotations: {"dev.cosignproject.cosign/signature": $s}}]}')
	curl -sSf -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' --data-binary "$manifest" \
		"$url/manifests/$tag"
}

put_blob() {
	local digest location
	digest=sha256:$(printf %s "$2" | sha256sum | cut -d' ' -f1)
	location=$(curl -sSf -X POST -D - -o /dev/null "$1/blobs/uploads/" | tr -d '\r' | awk '/^Location:/ { print $2 }')
	curl -sSf -X PUT --data-binary "$2" "http://$BAD$location?digest=$digest"
	echo "$digest"
}

cosign_key() { openssl ecparam -genkey -name prime256v1 -noout -out "$1.key" && openssl ec -in "$1.key" -pubout -out "$1.pub"; }

@test "cosign: the right key and repository, and nothing else" {
	cosign_key "$HOME/cosign" 2>/dev/null
	cosign_key "$HOME/eve" 2>/dev/null
	policy "{\"default\": [{\"type\": \"sigstoreSigned\", \"keyPath\": \"$HOME/cosign.pub\",
		\"signedIdentity\": {\"type\": \"matchRepository\"}}]}"
	pull good/app
	rejected
	cosign_sign "$(manifest latest)" "$BAD/good/app" "$HOME/eve.key"
	pull good/app
	rejected
	err_has "not of the policy's key"
	cosign_sign "$(manifest latest)" "$BAD/good/other"
	pull good/app
	rejected
	cosign_sign "$(manifest latest)" "$BAD/good/app"
	pull good/app
	ok
}

@test "cosign: an index that is signed vouches for its manifests" {
	cosign_key "$HOME/cosign" 2>/dev/null
	policy "{\"default\": [{\"type\": \"sigstoreSigned\", \"keyData\": \"$(base64 -w0 "$HOME/cosign.pub")\",
		\"signedIdentity\": {\"type\": \"matchRepository\"}}]}"
	cosign_sign "$(manifest multi)" "$BAD/good/app"
	pull good/app:latest
	rejected
	pull good/app:multi
	ok
}
