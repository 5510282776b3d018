# Wrong commands, bundles and configurations: the message says what and why, and nothing stays.

load helpers

setup_file() { common_setup_file; }
setup() {
	needs_root
	common_setup
}
teardown() { common_teardown; }
