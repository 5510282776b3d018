# Debian's podman with our runtime below it, as root and as an ordinary user.

load helpers.bash

@test "podman runs a container with our runtime" {
	skip "being written"
}
