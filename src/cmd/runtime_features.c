/* `viv runtime features`: runtime-spec features.md and features-linux.md. By that document it says
 * what this program can do, not what this host can, and holds nothing that is newer than
 * SPEC_VERSION. */
#include "cmd/runtime.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "container/seccomp.h"
#include "container/spec.h"

#include <assert.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *strings(const char *const *names)
{
	json_t *list = json_array();

	for (; *names; names++)
		json_array_append_new(list, json_string(*names));
	return list;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static json_t *mount_options(void)
{
	size_t n = 0;

	while (spec_mount_option_name(n))
		n++;
	_free_ const char **names = mem_array(n + 1, sizeof(*names));

	for (size_t i = 0; i < n; i++)
		names[i] = spec_mount_option_name(i);
	qsort(names, n, sizeof(*names), by_name);
	return strings(names);
}

static json_t *namespaces(void)
{
	const char *names[SPEC_NS_COUNT + 1] = {0};

	for (int i = 0; i < SPEC_NS_COUNT; i++)
		names[i] = spec_ns_info[i].name;
	qsort(names, SPEC_NS_COUNT, sizeof(*names), by_name);
	return strings(names);
}

static json_t *capabilities(void)
{
	json_t *list = json_array();

	for (int cap = 0; spec_cap_name(cap); cap++)
		json_array_append_new(list, json_string(spec_cap_name(cap)));
	return list;
}

static json_t *features(void)
{
	static const char *const hooks[] = {"prestart",
					    "createRuntime",
					    "createContainer",
					    "startContainer",
					    "poststart",
					    "poststop",
					    NULL};
	char library[32];

	seccomp_library_version(library, sizeof(library));
	return json_pack(
	    "{s:s, s:s, s:o, s:o, s:{s:o, s:o, s:{s:b, s:b, s:b, s:b, s:b},"
	    " s:{s:b, s:o, s:o, s:o, s:o, s:o}, s:{s:b}, s:{s:b}, s:{s:b}, s:{s:{s:b}}},"
	    " s:{s:s, s:s}, s:[s]}",
	    "ociVersionMin", "1.0.0", "ociVersionMax", SPEC_VERSION, "hooks", strings(hooks),
	    "mountOptions", mount_options(), "linux", "namespaces", namespaces(), "capabilities",
	    capabilities(), "cgroup", "v1", 1, "v2", 1, "systemd", 1, "systemdUser", 1, "rdma", 1,
	    "seccomp", "enabled", 1, "actions", strings(seccomp_known_actions()), "operators",
	    strings(seccomp_known_operators()), "archs", strings(seccomp_known_archs()),
	    "knownFlags", strings(seccomp_known_flags()), "supportedFlags",
	    strings(seccomp_supported_flags()), "apparmor", "enabled", 1, "selinux", "enabled", 1,
	    "intelRdt", "enabled", 0, "mountExtensions", "idmap", "enabled", 1, "annotations",
	    "io.github.seccomp.libseccomp.version", library,
	    "org.opencontainers.runc.checkpoint.enabled", "false",
	    "potentiallyUnsafeConfigAnnotations", "org.systemd.property.");
}

int runtime_features(struct cli *c)
{
	json_t *j = features();

	assert(j);
	int rc = json_dumpf(j, stdout, JSON_INDENT(4));

	json_decref(j);
	if (rc < 0 || putchar('\n') < 0 || fflush(stdout)) {
		struct err e;

		err_sys(&e, ERR_SYS, "writing to standard output");
		return runtime_fail(c, &e, 1);
	}
	return 0;
}
