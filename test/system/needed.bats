#!/usr/bin/env bats
# The libraries of each program are pinned: each one costs time at every start (ARCHITECTURE.md, "Processes").

setup() {
	VIV_BUILD=$(realpath "${VIV_BUILD:-$BATS_TEST_DIRNAME/../../build}")
	if readelf -Ws "$VIV_BUILD/viv-cli" | grep -q __asan_init; then skip "sanitizers bring libraries of their own"; fi
}

# needed PROGRAM: its libraries, sorted, without versions
needed() { readelf -dW "$VIV_BUILD/$1" | sed -n 's/.*(NEEDED).*\[\(lib[^.]*\)\.so.*/\1/p' | sort | paste -sd' '; }

is_static_pie() {
	[ "$(needed "$1")" = "" ]
	[[ $(readelf -hW "$VIV_BUILD/$1") == *"DYN "* ]]
	[[ $(readelf -lW "$VIV_BUILD/$1") != *INTERP* ]]
}

@test "viv is a static PIE" { is_static_pie viv; }

@test "viv-runtime is a static PIE" { is_static_pie viv-runtime; }

@test "viv-cli needs libc, jansson and libfyaml" {
	[ "$(needed viv-cli)" = "libc libfyaml libjansson" ]
}

@test "viv-scope needs libc, jansson and libsystemd" {
	[ "$(needed viv-scope)" = "libc libjansson libsystemd" ]
}

@test "viv-disk needs what compresses and encrypts, but not libcurl" {
	[ "$(needed viv-disk)" = "libc libcrypto libdeflate libjansson liburing libzstd" ]
}

@test "viv-registry needs libcurl and what unpacks, too" {
	[ "$(needed viv-registry)" = "libc libcrypto libcurl libfyaml libisal libjansson libsqlite3 libzstd" ]
}

@test "viv-image needs libc, libcrypto, jansson, libfyaml, SQLite, and what inflates layers" {
	[ "$(needed viv-image)" = "libc libcrypto libfyaml libisal libjansson libsqlite3 libzstd" ]
}
