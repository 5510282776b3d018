#!/usr/bin/env bats
# runtime-spec config-linux.md, user namespaces and idmapped mounts; the runtime without root.
load helpers

setup_file() { common_setup_file; }
setup() {
	needs_root
	common_setup
}
teardown() {
	if [[ ${USER_NAME:-} ]]; then
		as_user "${RT[@]}" --root "$HOME_DIR/state" delete --force "$ID" 2>/dev/null || true
		pkill -9 -u "$USER_NAME" || true
		userdel "$USER_NAME" 2>/dev/null
		sed -i "/^$USER_NAME:/d" /etc/subuid /etc/subgid
		rm -rf "$HOME_DIR"
	fi
	common_teardown
}

# userns [BASE]: a new user namespace, 0-65535 mapped to BASE and up, and a root file system that belongs to it
userns() {
	local base=${1:-200000}
	config '.linux.namespaces += [{type: "user"}]
		| .linux.uidMappings = [{containerID: 0, hostID: $b, size: 65536}] | .linux.gidMappings = .linux.uidMappings' \
		--argjson b "$base"
	chown -R "$base:$base" rootfs
	chmod 755 "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR/test" 2>/dev/null || true
}

# ordinary_user [SUBID-COUNT]: makes $USER_NAME with $HOME_DIR, a copy of the programs and a rootless bundle in it
ordinary_user() {
	USER_NAME=vivt$((BASHPID % 100000))
	HOME_DIR=$(mktemp -d /tmp/viv-user.XXXXXX)
	useradd --no-create-home --home-dir "$HOME_DIR" --shell /bin/sh "$USER_NAME"
	sed -i "/^$USER_NAME:/d" /etc/subuid /etc/subgid
	[[ -z ${1:-} ]] || echo "$USER_NAME:300000:$1" | tee -a /etc/subuid >>/etc/subgid
	if is_viv; then
		cp "$VIV_BUILD/viv" "$VIV_BUILD/viv-runtime" "$HOME_DIR"
		RT=("$HOME_DIR/viv" runtime)
	fi
	mkdir "$HOME_DIR/bundle"
	cp -a rootfs "$HOME_DIR/bundle"
	chown -R "$USER_NAME:" "$HOME_DIR"
	chmod 755 "$HOME_DIR"
	cd "$HOME_DIR/bundle" || return
	as_user "${RT[@]}" spec --rootless
	config '.process.terminal = false | .root.readonly = false'
}

as_user() { setpriv --reuid "$USER_NAME" --regid "$USER_NAME" --clear-groups env -u XDG_RUNTIME_DIR HOME="$HOME_DIR" "$@"; }

run_as_user() { run --separate-stderr as_user "${RT[@]}" --root "$HOME_DIR/state" "$@" </dev/null; }

@test "user namespace: the ids inside and on the host" {
	userns
	sh_args 'id -u; cat /proc/self/uid_map; touch /tmp/mine; stat -c %u:%g /etc/passwd'
	run_rt run "$ID"
	ok
	[[ ${lines[0]} == 0 && ${lines[2]} == 0:0 ]] || fail "$output"
	read -ra map <<<"${lines[1]}"
	[[ ${map[*]} == "0 200000 65536" ]]
	[[ $(stat -c %u:%g rootfs/tmp/mine) == 200000:200000 ]]
}

@test "user namespace: exec joins it; the host's processes are out of reach" {
	userns
	start_sleeper
	local init
	init=$(rt state "$ID" | jq .pid)
	[[ $(stat -c %u "/proc/$init") -eq 200000 ]]
	run_rt exec --user 5:6 "$ID" sh -c 'readlink /proc/self/ns/user; id -u; id -g'
	ok
	out_is "$(readlink "/proc/$init/ns/user")"$'\n5\n6'
}

@test "user namespace: an id that is not mapped is refused" {
	userns
	config '.process.user.uid = 70000'
	run_rt run "$ID"
	failed
	config '.process.user.uid = 0 | del(.linux.uidMappings, .linux.gidMappings)'
	run_rt run "$ID"
	failed
}

@test "user namespace joined by path" {
	userns
	start_sleeper
	local init
	init=$(rt state "$ID" | jq .pid)
	config '.linux.namespaces |= map(if .type == "user" then .path = $p else . end) | del(.linux.uidMappings, .linux.gidMappings)
		| .linux.cgroupsPath += "-second"' --arg p "/proc/$init/ns/user"
	is_viv || skip "runc 1.1 wants mappings too"
	sh_args 'readlink /proc/self/ns/user; id -u'
	run_rt run "$ID-second"
	ok
	out_is "$(readlink "/proc/$init/ns/user")"$'\n0'
}

@test "idmapped bind mount: a file has the ids of the mapping, there and back" {
	needs_viv
	mkdir "$BATS_TEST_TMPDIR/data"
	touch "$BATS_TEST_TMPDIR/data/file"
	chown 1000:1000 "$BATS_TEST_TMPDIR/data" "$BATS_TEST_TMPDIR/data/file"
	config '.mounts += [{destination: "/data", type: "bind", source: $s, options: ["bind", "idmap"],
		uidMappings: [{containerID: 1000, hostID: 0, size: 1}], gidMappings: [{containerID: 1000, hostID: 0, size: 1}]}]' \
		--arg s "$BATS_TEST_TMPDIR/data"
	sh_args 'stat -c %u:%g /data/file; touch /data/new'
	run_rt run "$ID"
	ok
	out_is 0:0
	[[ $(stat -c %u:%g "$BATS_TEST_TMPDIR/data/new") == 1000:1000 ]]
}

@test "idmapped bind mount in a user namespace, with the container's own mapping" {
	needs_viv
	userns
	mkdir "$BATS_TEST_TMPDIR/data"
	chown 5:5 "$BATS_TEST_TMPDIR/data"
	config '.mounts += [{destination: "/data", type: "bind", source: $s, options: ["bind", "idmap"]}]' \
		--arg s "$BATS_TEST_TMPDIR/data"
	args stat -c %u:%g /data
	run_rt run "$ID"
	ok
	out_is 5:5
}

@test "without root: run, output, status" {
	ordinary_user
	sh_args 'id -u; echo hello; exit 9'
	run_as_user run "$ID"
	status_is 9
	out_is $'0\nhello'
}

@test "without root: create, start, exec, state, kill, delete" {
	ordinary_user
	args sleep 1000
	as_user "${RT[@]}" --root "$HOME_DIR/state" run -d "$ID" </dev/null >out.log 2>&1
	run_as_user state "$ID"
	[[ $(jq -r .status <<<"$output") == running ]]
	run_as_user exec "$ID" sh -c 'id -u; exit 4'
	status_is 4
	out_is 0
	run_as_user delete --force "$ID"
	ok
	run_as_user state "$ID"
	failed
}

@test "without root: ranges from newuidmap" {
	needs_tool newuidmap
	ordinary_user 65536
	config '.linux.uidMappings += [{containerID: 1, hostID: 300000, size: 65536}]
		| .linux.gidMappings += [{containerID: 1, hostID: 300000, size: 65536}] | .process.user = {uid: 5, gid: 6}'
	sh_args 'id -u; id -g; touch /tmp/mine'
	run_as_user run "$ID"
	ok
	out_is $'5\n6'
	[[ $(stat -c %u:%g rootfs/tmp/mine) == 300004:300005 ]]
}

@test "without root: ranges that are not the user's are refused" {
	needs_tool newuidmap
	ordinary_user
	config '.linux.uidMappings += [{containerID: 1, hostID: 300000, size: 65536}]'
	run_as_user run "$ID"
	failed
	! is_viv || err_has newuidmap
}
