#!/usr/bin/env bats
# The rules of the source tree are kept by the build: each rule is broken in a copy, and must be noticed.

setup() {
	TREE=$BATS_TEST_TMPDIR/tree
	mkdir "$TREE"
	cp -a "$BATS_TEST_DIRNAME/../../src" "$BATS_TEST_DIRNAME/../../tools" "$BATS_TEST_DIRNAME/../../.clang-format" "$TREE"
}

@test "an include against the layers is named by file, line and edge" {
	printf '\n#include "state/state.h"\n' >"$TREE/src/base/wrong.c"
	run "$TREE/tools/check-includes"
	[ "$status" -eq 1 ]
	[[ "$output" == *"src/base/wrong.c:2: edge base -> state is not in tools/edges"* ]]
}

@test "an include that is not written from src/ is named" {
	printf '#include "err.h"\n' >"$TREE/src/base/wrong.c"
	run "$TREE/tools/check-includes"
	[ "$status" -eq 1 ]
	[[ "$output" == *'src/base/wrong.c:1: "err.h" is not written from src/'* ]]
}

@test "a table of edges that has a cycle is refused" {
	sed -i 's/^base:.*/base: cmd/' "$TREE/tools/edges"
	run "$TREE/tools/check-includes"
	[ "$status" -eq 1 ]
	[[ "$output" == *"'base' names 'cmd', which is not above it"* ]]
}

@test "a folder without a line in the table is refused" {
	mkdir "$TREE/src/extra"
	echo 'int x;' >"$TREE/src/extra/x.c"
	run "$TREE/tools/check-includes"
	[ "$status" -eq 1 ]
	[[ "$output" == *"'src/extra' has no line in tools/edges"* ]]
}

@test "a raw path call outside src/os is named; comments, members, fd-only calls and src/os are not" {
	cat >"$TREE/src/state/wrong.c" <<'END'
/* open(2) in a comment, and "unlink(" in a string */
int ok(struct x *x) { return x->open("a") + x->ops.stat("b") + statx(x->fd, "", AT_EMPTY_PATH, 0, 0); }
int wrong(int fd) { return openat(fd, "name", 0); }
int worse(int fd) { return syscall(SYS_openat2, fd, "name", 0, 0); }
END
	cp "$TREE/src/state/wrong.c" "$TREE/src/os/right.c"
	run "$TREE/tools/check-paths"
	[ "$status" -eq 1 ]
	[ "$(grep -c wrong.c <<<"$output")" -eq 2 ]
	[[ "$output" == *"src/state/wrong.c:3: openat"* ]]
	[[ "$output" == *"src/state/wrong.c:4: openat2"* ]]
	[[ "$output" != *"right.c"* ]]
}

@test "an exception for a call that is gone, or without a reason, is refused" {
	echo 'state/gone.c openat because' >>"$TREE/tools/paths-allowed"
	echo 'state/state.c openat' >>"$TREE/tools/paths-allowed"
	run "$TREE/tools/check-paths"
	[ "$status" -eq 1 ]
	[[ "$output" == *"state/gone.c no longer calls openat"* ]]
	[[ "$output" == *"no reason is given"* ]]
}

@test "a header that needs another to be included first is named" {
	printf '#ifndef BASE_WRONG_H\n#define BASE_WRONG_H\nsize_t wrong(void);\n#endif\n' >"$TREE/src/base/wrong.h"
	run "$TREE/tools/check-headers"
	[ "$status" -ne 0 ]
	[[ "$output" == *"src/base/wrong.h:3"* ]]
}

@test "a file that clang-format would change is named" {
	command -v clang-format-14 >/dev/null || command -v clang-format >/dev/null || skip "clang-format is not installed"
	mkdir -p "$TREE/test" "$TREE/guest"
	printf 'int  f( void ){return 0;}\n' >"$TREE/src/base/wrong.c"
	run "$TREE/tools/check-format"
	[ "$status" -ne 0 ]
	[[ "$output" == *"src/base/wrong.c:1"* ]]
}
