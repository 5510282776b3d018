# runtime-spec config-linux.md, namespaces, sysctl, time offsets, host and domain name.

load helpers

setup_file() { common_setup_file; }
setup() {
	needs_root
	common_setup
}
teardown() { common_teardown; }
