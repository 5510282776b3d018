#!/usr/bin/env bats
# Wrong commands, bundles and configurations: the message says what and why, the status is runc's (1; 255 of exec), and
# nothing is left.
load helpers

setup_file() { common_setup_file; }
setup() {
	needs_root
	common_setup
}
teardown() { common_teardown; }

# refused STATUS TEXT ARGS...: the runtime says TEXT, in any case of letters, and leaves nothing.
refused() {
	local want=$1 text=$2
	shift 2
	run_rt "$@"
	status_is "$want"
	[[ ${stderr,,} == *"${text,,}"* ]] || fail "'$*' said without '$text': $stderr"
	[[ ! $(leftovers) ]] || fail "'$*' left behind: $(leftovers)"
}

# bad FILTER TEXT: neither create nor run takes the configuration so changed.
bad() {
	cp config.json good.json
	config "$1"
	refused 1 "$2" create "$ID"
	refused 1 "$2" run "$ID"
	mv good.json config.json
}

@test "unknown commands and flags, missing and surplus arguments" {
	needs_viv
	refused 1 nosuch nosuch
	refused 1 --nosuch create --nosuch "$ID"
	refused 1 --nosuch --nosuch list
	refused 1 CONTAINER create
	refused 1 CONTAINER state
	refused 1 surplus state "$ID" surplus
	refused 1 preserve-fds create --preserve-fds=-1 "$ID"
	refused 1 preserve-fds create --preserve-fds=many "$ID"
	refused 1 log-format --log-format xml list
}

@test "names of containers" {
	local id
	for id in '' . .. a/b ../up 'with space' $'line\nend' "$(printf 'x%.0s' {1..2000})"; do
		run_rt create "$id"
		status_is 1
		[[ $stderr ]]
		[[ ! $(leftovers) ]]
	done
	refused 1 "a/b" state a/b
}

@test "a container that is not there" {
	local command
	for command in state start kill pause resume ps delete; do refused 1 "does not exist" $command nosuch; done
	refused 255 "does not exist" exec nosuch true
	refused 1 "does not exist" update --pids-limit 5 nosuch
	run_rt delete --force nosuch
	ok
}

@test "a container that is there, or in the wrong state" {
	start_sleeper
	run_rt create "$ID"
	status_is 1
	err_has "already exists"
	run_rt run "$ID"
	status_is 1
	err_has "already exists"
	is_state "$ID" running
	run_rt start "$ID"
	status_is 1
	err_has running
	run_rt delete "$ID"
	status_is 1
	err_has running
	run_rt kill "$ID" NOSUCH
	status_is 1
	err_has NOSUCH
	run_rt kill "$ID" 1000
	status_is 1
	err_has 1000
	run_rt kill "$ID" KILL
	ok
	wait_for 5 is_state "$ID" stopped
	run_rt exec "$ID" true
	status_is 255
	err_has stopped
	run_rt start "$ID"
	status_is 1
	err_has stopped
}

@test "no bundle, no configuration, one that cannot be read, one that is none" {
	refused 1 nosuch create -b "$BATS_TEST_TMPDIR/nosuch" "$ID"
	mkdir empty
	refused 1 config.json create -b empty "$ID"
	mkdir empty/config.json
	refused 1 config.json create -b empty "$ID"
	rmdir empty/config.json
	local text
	for text in '' '{' 'null' '[]' '"x"' '{}' '{"ociVersion": "1.0.0"' "$(printf '[%.0s' {1..100000})" $'{"ociVersion": "1.0.\xff"}' \
		'{"ociVersion": 1}' '{"ociVersion": "1.0.0", "process": []}' '{"ociVersion": "1.0.0"} trailing'; do
		printf '%s' "$text" >empty/config.json
		refused 1 "" create -b empty "$ID"
		[[ $stderr ]] || fail "nothing said of: ${text:0:40}"
	done
}

@test "values of the wrong kind, and contradictions" {
	bad '.process.args = []' args
	bad '.process.args = null' args
	bad '.process.args = "true"' args
	bad 'del(.process)' process
	bad '.process.cwd = "relative"' cwd
	bad '.process.user.uid = -1' uid
	bad '.process.user.uid = "root"' uid
	bad '.root = null' root
	bad '.ociVersion = "99.0.0"' 99.0.0
	bad '.linux.namespaces += [{type: "nosuch"}]' nosuch
	bad '.linux.namespaces += [{type: "pid"}]' pid
	bad '.linux.namespaces += [{type: "user"}]' map
	bad '.process.capabilities.bounding = ["CAP_NOSUCH"] | .process.rlimits = [{type: "RLIMIT_NOSUCH", soft: 1, hard: 1}]' NOSUCH
	bad '.process.rlimits = [{type: "RLIMIT_NOFILE", soft: 10, hard: 5}]' limit
	bad '.linux.seccomp = {defaultAction: "SCMP_ACT_NOSUCH"}' SCMP_ACT_NOSUCH
	bad '.linux.rootfsPropagation = "nosuch"' nosuch
	bad '.process.terminal = true | .process.consoleSize = {height: -1, width: 5}' ""
	bad '.hooks = {prestart: [{path: "relative"}]}' path
	bad '.linux.intelRdt = {closID: "x"}' rdt
	bad '.linux.sysctl = {"nosuch.key": "1"}' nosuch
	bad '.linux.devices = [{path: "/dev/x", type: "q", major: 1, minor: 1}]' type
}

@test "no root file system, no program, one that may not be executed" {
	bad '.root.path = "nosuch"' nosuch
	bad '.root.path = "config.json"' config.json
	bad '.process.args = ["/nosuch"]' "no such file or directory"
	bad '.process.args = ["nosuch"]' nosuch
	bad '.process.args = [""]' args
	bad '.process.args = ["/etc/passwd"]' "permission denied"
	bad '.process.args = ["/etc"]' "permission denied"
	bad '.process.cwd = "/etc/passwd"' /etc/passwd
	printf '#!/nosuch/shell\n' >rootfs/bin/script
	chmod +x rootfs/bin/script
	rt create "$ID" </dev/null >out.log 2>&1
	rt delete --force "$ID"
	args /bin/script
	refused 1 "no such file" run "$ID"
	start_sleeper
	run_rt exec "$ID" nosuch
	status_is 255
	err_has nosuch
	run_rt exec "$ID" /etc/passwd
	status_is 255
	err_has "permission denied"
	run_rt exec --cwd /nosuch "$ID" true
	err_has /nosuch
	run_rt exec --user nonsense "$ID" true
	status_is 255
	err_has nonsense
}

@test "mounts that cannot be" {
	bad '.mounts += [{destination: "/x", type: "bind", source: "/nosuch/source", options: ["bind"]}]' /nosuch/source
	bad '.mounts += [{destination: "/x", type: "nosuchfs", source: "none"}]' nosuchfs
	bad '.mounts += [{destination: "/x", type: "tmpfs", source: "none", options: ["nosuchoption=1"]}]' nosuchoption
	bad '.mounts += [{destination: "/etc/passwd", type: "tmpfs", source: "none"}]' /etc/passwd
	bad '.mounts += [{destination: "/etc/passwd/x", type: "bind", source: "/etc", options: ["bind"]}]' /etc/passwd/x
	bad '.mounts += [{type: "tmpfs", source: "none"}]' destination
}

@test "namespaces that are not there or of another kind" {
	bad '.linux.namespaces |= map(if .type == "network" then .path = "/nosuch/ns" else . end)' /nosuch/ns
	bad '.linux.namespaces |= map(if .type == "network" then .path = "/proc/self/ns/uts" else . end)' namespace
	bad '.linux.namespaces |= map(if .type == "network" then .path = "/etc/passwd" else . end)' namespace
}

@test "control groups that cannot be" {
	needs_cgroup pids
	bad '.linux.cgroupsPath = 5' cgroupsPath
	bad '.linux.resources.memory = {limit: "much"}' limit
	bad '.linux.resources.cpu = {cpus: "nosuch"}' ""
	bad '.linux.resources.cpu = {cpus: "4000-5000"}' ""
	bad '.linux.resources.pids = {limit: 1.5}' limit
	# A path that climbs stays below the hierarchy's root.
	config '.linux.cgroupsPath = "/../../../viv-test/'"$ID"'"'
	run_rt run "$ID"
	[[ ! $(leftovers) ]]
}

@test "sockets and files of the command line that cannot be" {
	refused 1 /nosuch create --pid-file /nosuch/pid "$ID"
	refused 1 /nosuch run --pid-file /nosuch/pid "$ID"
	config '.process.terminal = true'
	refused 1 /nosuch create --console-socket /nosuch/socket "$ID"
	refused 1 tty create "$ID"
	config '.process.terminal = false'
	refused 1 console create --console-socket /nosuch/socket "$ID"
	run_rt --log /nosuch/log state x
	status_is 1
	err_has /nosuch/log
	run "${RT[@]}" --root "$BUNDLE/config.json" list
	status_is 1
}

@test "hooks that fail stop the start" {
	bad '.hooks = {createRuntime: [{path: "/bin/false"}]}' createRuntime
	bad '.hooks = {createRuntime: [{path: "/nosuch/hook"}]}' /nosuch/hook
	bad '.hooks = {createContainer: [{path: "/bin/false"}]}' createContainer
	bad '.hooks = {createRuntime: [{path: "/bin/sleep", args: ["sleep", "9"], timeout: 1}]}' createRuntime
}
