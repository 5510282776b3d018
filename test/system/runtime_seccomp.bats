#!/usr/bin/env bats
# runtime-spec config-linux.md, seccomp; the cache of compiled filters.
load helpers

setup_file() { common_setup_file; }
setup() {
	needs_root
	[[ $(uname -m) == x86_64 ]] || skip "the profiles here are for x86-64"
	common_setup
}
teardown() {
	[[ -z ${AGENT:-} ]] || kill "$AGENT" 2>/dev/null || true
	common_teardown
}

# filter JSON-RULE...: everything allowed but what the rules say
filter() {
	local IFS=,
	config ".linux.seccomp = {defaultAction: \"SCMP_ACT_ALLOW\", architectures: [\"SCMP_ARCH_X86_64\"], syscalls: [$*]}"
}

docker_profile() {
	config '.linux.seccomp = $p' --argjson p "$(jq --argjson caps '[]' -f "$BATS_TEST_DIRNAME/../lib/seccomp_profile.jq" \
		"$BATS_TEST_DIRNAME/../../data/seccomp.json")"
}

# cache_files: one a line
cache_files() { find "$ROOT" -type f -name 'seccomp-*'; }

@test "errno: EPERM by default, or the one that is asked for" {
	filter '{names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO"}'
	args mkdir /tmp/x
	run_rt run "$ID"
	failed
	err_has "Operation not permitted"
	filter '{names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 28}'
	run_rt run "$ID"
	failed
	err_has "No space left on device"
}

@test "kill: the process dies by SIGSYS" {
	config '.linux.namespaces |= map(select(.type != "pid"))'
	filter '{names: ["mkdir", "mkdirat"], action: "SCMP_ACT_KILL_PROCESS"}'
	sh_args 'mkdir /tmp/x; echo $?'
	run_rt run "$ID"
	out_is 159
}

@test "a rule may ask for arguments" {
	# kill(pid, 0) fails, kill(pid, SIGCONT) does not.
	filter '{names: ["kill"], action: "SCMP_ACT_ERRNO", errnoRet: 1, args: [{index: 1, value: 0, op: "SCMP_CMP_EQ"}]}'
	sh_args 'kill -0 1 2>/dev/null || echo refused; kill -CONT 1 && echo sent'
	run_rt run "$ID"
	out_is $'refused\nsent'
}

@test "Docker's default profile: a shell runs, what it forbids fails" {
	docker_profile
	config '.process.capabilities |= map_values(["CAP_SYS_ADMIN", "CAP_SYS_TIME"])'
	sh_args 'echo hello | sed s/hello/bye/; mount -t tmpfs none /tmp || echo no mount
		unshare -m true || echo no unshare; grep Seccomp: /proc/self/status'
	run_rt run "$ID"
	ok
	out_is $'bye\nno mount\nno unshare\nSeccomp:\t2'
	err_has "not permitted"
}

@test "an allow-list by default action errno" {
	docker_profile
	config '.linux.seccomp.defaultErrnoRet = 38'
	args unshare -m true
	run_rt run "$ID"
	failed
	# ENOSYS. runc 1.1 knows no defaultErrnoRet of its own name for rules that the profile has.
	! is_viv || err_has "not implemented"
}

@test "exec has the filter" {
	filter '{names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 28}'
	start_sleeper
	run_rt exec "$ID" mkdir /tmp/x
	failed
	err_has "No space left"
}

@test "an unknown system call is passed over, an unknown action or operator refused" {
	filter '{names: ["nosuchcall", "mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO"}'
	args mkdir /tmp/x
	run_rt run "$ID"
	err_has "not permitted"
	filter '{names: ["mkdir"], action: "SCMP_ACT_NOSUCH"}'
	run_rt run "$ID"
	failed
	err_has SCMP_ACT_NOSUCH
	filter '{names: ["mkdir"], action: "SCMP_ACT_ERRNO", args: [{index: 6, value: 0, op: "SCMP_CMP_EQ"}]}'
	run_rt run "$ID"
	failed
}

@test "notify: the agent gets the fd and the state, and answers" {
	local sock=$BATS_TEST_TMPDIR/agent
	filter '{names: ["mkdir", "mkdirat"], action: "SCMP_ACT_NOTIFY"}'
	config '.linux.seccomp.listenerPath = $s | .linux.seccomp.listenerMetadata = "m1"' --arg s "$sock"
	"$TOOLS/seccomp_agent" "$sock" "$BATS_TEST_TMPDIR/agent.json" 28 3>&- &
	AGENT=$!
	wait_for 5 test -S "$sock"
	args mkdir /tmp/x
	run_rt run "$ID"
	failed
	err_has "No space left on device"
	jq -e --arg id "$ID" '.metadata == "m1" and (.fds | index("seccompFd") != null) and .state.id == $id and .pid > 0' \
		"$BATS_TEST_TMPDIR/agent.json"
}

@test "notify without an agent: no container" {
	filter '{names: ["mkdir"], action: "SCMP_ACT_NOTIFY"}'
	run_rt run "$ID"
	failed
	config '.linux.seccomp.listenerPath = "/nosuch/agent"'
	run_rt run "$ID"
	failed
}

@test "cache: one file per profile, used again, and its filter is in force" {
	needs_viv
	filter '{names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 28}'
	args mkdir /tmp/x
	run_rt run "$ID"
	[[ $(cache_files | wc -l) -eq 1 ]] || fail "$(cache_files)"
	local file before
	file=$(cache_files)
	[[ $(stat -c %a "$file") == ?00 ]]
	before=$(stat -c '%i %Y' "$file")
	run_rt run "$ID"
	failed
	err_has "No space left"
	[[ $(stat -c '%i %Y' "$file") == "$before" ]]
	filter '{names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 5}'
	run_rt run "$ID"
	err_has "Input/output error"
	[[ $(cache_files | wc -l) -eq 2 ]]
}

@test "cache: files that are damaged, cut, empty or others' are not believed" {
	needs_viv
	local file damage
	filter '{names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 28}'
	args mkdir /tmp/x
	run_rt run "$ID"
	file=$(cache_files)
	cp -p "$file" "$BATS_TEST_TMPDIR/good"
	for damage in 'truncate -s -8 "$file"' 'truncate -s 0 "$file"' 'truncate -s 1G "$file"' 'chmod 666 "$file"' \
		'printf "\\377" | dd of="$file" bs=1 conv=notrunc seek=$(($(stat -c %s "$file") - 4)) status=none' \
		'rm "$file"; mkdir "$file"' 'rm "$file"; ln -s /dev/zero "$file"' 'rm "$file"; mkfifo "$file"'; do
		rm -rf "$file"
		cp -p "$BATS_TEST_TMPDIR/good" "$file"
		eval "$damage"
		run_rt run "$ID"
		failed
		[[ $stderr == *"No space left"* ]] || fail "$damage: $stderr"
	done
}
