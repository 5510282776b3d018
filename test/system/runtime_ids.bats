# runtime-spec config-linux.md, user namespaces and idmapped mounts; the runtime without root.

load helpers

setup_file() { common_setup_file; }
setup() {
	needs_root
	common_setup
}
teardown() { common_teardown; }
