#!/usr/bin/env bats
# Device rules on control groups v2, where a BPF program of the group decides. In the guest.

load lib.bash

# A device node without a rule can be made and not opened; each rule gives what it says and no more.
kmsg='.linux.devices = [{path: "/dev/kmsg", type: "c", major: 1, minor: 11, fileMode: 438}] | .process.capabilities[] += ["CAP_SYSLOG"]'
# shellcheck disable=SC2016
try='for how in "</dev/kmsg" ">/dev/kmsg" "<>/dev/kmsg"; do (eval "exec 9$how") 2>/dev/null && echo yes || echo no; done'

@test "without a rule, no access" {
	sh_bundle "$try" "$kmsg"
	run rt run --bundle "$BUNDLE" "$ID"
	equal output "$output" $'no\nno\nno'
}

@test "a read rule allows reading" {
	sh_bundle "$try" "$kmsg | .linux.resources.devices += [{allow: true, type: \"c\", major: 1, minor: 11, access: \"r\"}]"
	run rt run --bundle "$BUNDLE" "$ID"
	equal output "$output" $'yes\nno\nno'
}

@test "a write rule allows writing" {
	sh_bundle "$try" "$kmsg | .linux.resources.devices += [{allow: true, type: \"c\", major: 1, minor: 11, access: \"w\"}]"
	run rt run --bundle "$BUNDLE" "$ID"
	equal output "$output" $'no\nyes\nno'
}

@test "a wildcard minor allows all of a major" {
	sh_bundle "$try" "$kmsg | .linux.resources.devices += [{allow: true, type: \"c\", major: 1, access: \"rw\"}]"
	run rt run --bundle "$BUNDLE" "$ID"
	equal output "$output" $'yes\nyes\nyes'
}

@test "a later denial wins over an earlier permission" {
	sh_bundle "$try" "$kmsg | .linux.resources.devices += [{allow: true, type: \"c\", major: 1, minor: 11, access: \"rw\"},
		{allow: false, type: \"c\", major: 1, minor: 11, access: \"w\"}]"
	run rt run --bundle "$BUNDLE" "$ID"
	equal output "$output" $'yes\nno\nno'
}

@test "an allow-all list with one exception" {
	sh_bundle "$try" "$kmsg | .linux.resources.devices = [{allow: true, access: \"rwm\"},
		{allow: false, type: \"c\", major: 1, minor: 11, access: \"r\"}]"
	run rt run --bundle "$BUNDLE" "$ID"
	equal output "$output" $'no\nyes\nno'
}

@test "a block device by rule, read-only" {
	local dev
	dev=$(cat /sys/block/vda/dev)
	sh_bundle 'dd if=/dev/disk of=/dev/null bs=512 count=1 2>/dev/null && echo read; (: >/dev/disk) 2>/dev/null || echo denied' \
		"(\"$dev\" | split(\":\") | map(tonumber)) as \$d |
		.linux.devices = [{path: \"/dev/disk\", type: \"b\", major: \$d[0], minor: \$d[1], fileMode: 438}] |
		.linux.resources.devices += [{allow: true, type: \"b\", major: \$d[0], minor: \$d[1], access: \"r\"}]"
	run rt run --bundle "$BUNDLE" "$ID"
	equal output "$output" $'read\ndenied'
}

@test "the standard ones work under deny-all" {
	sh_bundle 'echo x >/dev/null && head -c 4 /dev/zero | wc -c && head -c 4 /dev/urandom | wc -c && head -c 1 /dev/full | wc -c'
	run rt run --bundle "$BUNDLE" "$ID"
	equal output "$output" $'4\n4\n1'
}

@test "update keeps the device rules" {
	sh_bundle "while [ ! -e /proc/1/root/tmp/go ]; do sleep 0.1; done; $try" "$kmsg"
	start
	rt update --pids-limit 44 "$ID"
	rt exec "$ID" touch /tmp/go
	until_true stopped
	equal output "$(cat "$BATS_TEST_TMPDIR/out")" $'no\nno\nno'
}
