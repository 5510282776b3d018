# Whatever goes wrong at whatever step, nothing stays behind that delete --force does not remove.

load helpers

setup_file() { common_setup_file; }
setup() {
	needs_root
	common_setup
}
teardown() { common_teardown; }
