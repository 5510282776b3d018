# runtime-spec config-linux.md, seccomp; the cache of compiled filters.

load helpers

setup_file() { common_setup_file; }
setup() {
	needs_root
	common_setup
}
teardown() { common_teardown; }
