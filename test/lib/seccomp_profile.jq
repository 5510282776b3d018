# A profile in Docker's form, as linux.seccomp of an x86-64 container with the capabilities $caps:
#   jq --argjson caps '["CAP_KILL"]' -f seccomp_profile.jq data/seccomp.json
def applies:
	((.includes.arches // ["amd64"]) | index("amd64")) and
	((.excludes.arches // []) | index("amd64") | not) and
	((.includes.caps // []) - $caps == []) and
	((.excludes.caps // []) - $caps == (.excludes.caps // []));

{
	defaultAction,
	defaultErrnoRet: (.defaultErrnoRet // 1),
	architectures: [.archMap[] | select(.architecture == "SCMP_ARCH_X86_64") | .architecture, .subArchitectures[]],
	syscalls: [.syscalls[] | select(applies)
		| {names, action, errnoRet, args: (.args // [])} | with_entries(select(.value != null))]
}
