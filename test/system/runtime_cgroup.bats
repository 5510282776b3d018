# runtime-spec config-linux.md, resources, and the commands that use the control group (cgroup v1; v2 runs in the guest).

load helpers

setup_file() { common_setup_file; }
setup() {
	needs_root
	common_setup
}
teardown() { common_teardown; }
