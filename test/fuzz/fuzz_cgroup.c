/* What the control group code reads that others wrote: the host's mounts and groups (the default:
 * /proc/self/cgroup, NUL, /proc/self/mountinfo), and by first byte: 'L' a list of cpus, 'A' the
 * value of a systemd annotation, 'P' a path. */
#include "base/mem.h"
#include "container/cgroup_int.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static bool climbs(const char *path)
{
	return strstr(path, "/../") || strstr(path, "/./") || strstr(path, "//") ||
	       (strlen(path) >= 3 && !strcmp(path + strlen(path) - 3, "/.."));
}

static void host(char *own, char *mounts)
{
	struct cgroup_host *h = mem_alloc(sizeof(*h));
	char joined[CGROUP_PATH_MAX];

	cgroup_host_parse(own, mounts, h);
	check(h->v1_count <= CGROUP_V1_MAX && h->mode <= CGROUP_V2);
	check(memchr(h->unified, 0, sizeof(h->unified)) && *h->unified_own);
	check(h->mode != CGROUP_V1 || h->v1_count);
	for (size_t i = 0; i < h->v1_count; i++) {
		check(*h->v1[i].mountpoint && *h->v1[i].own_path == '/' && *h->v1[i].controllers);
		if (!cg_path_join(joined, "", h->v1[i].own_path))
			check(!climbs(joined));
	}
	free(h);
}

static void list(const char *text)
{
	uint8_t bits[32];
	size_t len = 0;

	if (!cg_cpu_list_to_bytes(text, bits, sizeof(bits), &len))
		check(len > 0 && len <= sizeof(bits) && bits[len - 1]);
}

static void annotation(char *value)
{
	char key[] = "org.systemd.property.TimeoutStopSec";
	struct spec_kv a = {key, value};
	struct spec spec = {.annotations = &a, .annotations_count = 1};
	struct cgroup cg = {.mode = CGROUP_V2, .unit = "u.scope", .slice = "s.slice"};
	json_t *props;

	for (int i = 0; i < 2; i++, key[sizeof(key) - 4] = '\0') /* "…Stop" is taken as it is */
		if (!cg_systemd_start_properties(&cg, &spec, 0, &props, NULL)) {
			check(json_array_size(props) > 1);
			json_decref(props);
		}
}

static void path(const char *text)
{
	char joined[CGROUP_PATH_MAX];

	if (!cg_path_join(joined, "/base", text))
		check(!climbs(joined) && !strncmp(joined, "/base", 5) &&
		      strlen(joined) < sizeof(joined));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = mem_alloc(size + 2); /* ends with two NULs */

	if (size)
		memcpy(text, data, size);
	switch (*text) {
	case 'L':
		list(text + 1);
		break;
	case 'A':
		annotation(text + 1);
		break;
	case 'P':
		path(text + 1);
		break;
	default:
		host(text, text + strlen(text) + 1);
	}
	free(text);
	return 0;
}
