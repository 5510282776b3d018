# runtime-spec config.md, POSIX-platform hooks.

load helpers

setup_file() { common_setup_file; }
setup() {
	needs_root
	common_setup
}
teardown() { common_teardown; }
