# What a container, an image or a bundle's owner tries in order to reach the host.

load helpers

setup_file() { common_setup_file; }
setup() {
	needs_root
	common_setup
}
teardown() { common_teardown; }
