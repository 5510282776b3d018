# runtime-spec config.md, process.terminal and consoleSize; --console-socket.

load helpers

setup_file() { common_setup_file; }
setup() {
	needs_root
	common_setup
}
teardown() { common_teardown; }
