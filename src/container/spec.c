/* The document as a whole: memory, the top level of config.md, hooks, and the three entry points.
 */
#include "container/spec_int.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>
#include <sys/auxv.h>

#define ARENA_CHUNK 8192

struct spec_arena {
	struct spec_arena *next;
	size_t used, size;
	_Alignas(16) char data[];
};

void *spec_alloc(struct spec *s, size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 2)
		abort();
	bytes = (bytes + 15) & ~(size_t)15;
	struct spec_arena *a = s->arena;

	if (!a || a->size - a->used < bytes) {
		size_t chunk = bytes > ARENA_CHUNK ? bytes : ARENA_CHUNK;

		a = mem_alloc(sizeof(*a) + chunk);
		a->size = chunk;
		a->next = s->arena;
		s->arena = a;
	}
	a->used += bytes;
	return a->data + a->used - bytes;
}

char *spec_strdup(struct spec *s, const char *str)
{
	size_t size = strlen(str) + 1;

	return memcpy(spec_alloc(s, size, 1), str, size);
}

void spec_free(struct spec *s)
{
	if (!s)
		return;
	json_decref(s->json);
	while (s->arena) {
		struct spec_arena *next = s->arena->next;

		free(s->arena);
		s->arena = next;
	}
	free(s);
}

const char *spec_annotation(const struct spec *s, const char *key)
{
	for (size_t i = 0; i < s->annotations_count; i++)
		if (str_eq(s->annotations[i].key, key))
			return s->annotations[i].value;
	return NULL;
}

/* config.md "POSIX-platform Hooks" */
static int check_hook(struct spec_reader *r, const struct spec_at *at, const json_t *v, void *base)
{
	const struct spec_hook *h = base;

	if (*h->path != '/')
		return spec_fail(r, at, "path", "'%s' is not an absolute path", h->path);
	return 0;
}

static const struct spec_field hook_fields[] = {
    {"path", K_STR, AT(struct spec_hook, path), .required = true},
    {"args", K_STRV, AT(struct spec_hook, args)},
    {"env", K_STRV, AT(struct spec_hook, env)},
    {"timeout", K_INT, AT(struct spec_hook, timeout_s), .min = 1, .max = INT32_MAX},
    {},
};
static const struct spec_object hook_object = {hook_fields, check_hook};
static const struct spec_field hook_elem = {
    .kind = K_OBJ, .size = sizeof(struct spec_hook), .obj = &hook_object};

#define HOOKS(key, m)                                                                       \
	{                                                                                   \
		key, K_LIST, AT(struct spec_hooks, m.v), COUNT(struct spec_hooks, m.count), \
		    .elem = &hook_elem                                                      \
	}
static const struct spec_field hooks_fields[] = {
    HOOKS("prestart", prestart),
    HOOKS("createRuntime", create_runtime),
    HOOKS("createContainer", create_container),
    HOOKS("startContainer", start_container),
    HOOKS("poststart", poststart),
    HOOKS("poststop", poststop),
    {},
};
static const struct spec_object hooks_object = {hooks_fields};

static int check_root(struct spec_reader *r, const struct spec_at *at, const json_t *v, void *base)
{
	return *r->s->root_path ? 0 : spec_fail(r, at, "path", "must not be empty");
}

static const struct spec_field root_fields[] = {
    {"path", K_STR, AT(struct spec, root_path), .required = true},
    {"readonly", K_BOOL, AT(struct spec, root_readonly)},
    {},
};
static const struct spec_object root_object = {root_fields, check_root};

/* config.md "Specification version": SemVer; 1.x is compatible with us by its rules. */
static int check_version(struct spec_reader *r, const char *v)
{
	size_t major = strspn(v, "0123456789");
	size_t minor = v[major] == '.' ? strspn(v + major + 1, "0123456789") : 0;

	if (!major || !minor)
		return spec_fail(r, NULL, "ociVersion", "'%s' is not a version", v);
	if (major != 1 || *v != '1')
		return spec_fail(r, NULL, "ociVersion", "'%s' is not supported; 1.0 to 1.x are", v);
	return 0;
}

static int check_top(struct spec_reader *r, const struct spec_at *at, const json_t *v, void *base)
{
	int rc = check_version(r, r->s->version);

	return rc < 0 ? rc : spec_check(r);
}

static const struct spec_field mount_elem = {
    .kind = K_OBJ, .size = sizeof(struct spec_mount), .obj = &spec_mount_object};

static const struct spec_field top_fields[] = {
    {"ociVersion", K_STR, AT(struct spec, version), .required = true},
    {"root", K_OBJ, .obj = &root_object, .required = true},
    {"process", K_OBJ, AT(struct spec, process), HAS(struct spec, has_process),
     .obj = &spec_process_object},
    {"hostname", K_STR, AT(struct spec, hostname)},
    {"domainname", K_STR, AT(struct spec, domainname)},
    {"mounts", K_LIST, AT(struct spec, mounts), COUNT(struct spec, mounts_count),
     .elem = &mount_elem},
    {"hooks", K_OBJ, AT(struct spec, hooks), .obj = &hooks_object},
    {"annotations", K_KV, AT(struct spec, annotations), COUNT(struct spec, annotations_count)},
    {"linux", K_OBJ, .obj = &spec_linux_object},
    {},
};
static const struct spec_object top_object = {top_fields, check_top};

static const struct spec_field process_field = {"", K_OBJ, AT(struct spec, process),
						.obj = &spec_process_object};
static const struct spec_field resources_field = {"", K_OBJ, AT(struct spec, resources),
						  .obj = &spec_resources_object};
static const struct spec_field top_field = {"", K_OBJ, .obj = &top_object};

/* jansson ends at INT64_MAX, but Go programs write RLIM_INFINITY as 18446744073709551615. Such
 * integers become strings of digits, which K_UINT takes for the numbers they are. */
static bool is_wide(const char *digits, size_t n)
{
	static const char max[] = "9223372036854775807";
	size_t len = sizeof(max) - 1;

	return *digits != '0' && (n == len + 1 || (n == len && memcmp(digits, max, len) > 0));
}

static void quote_wide_integers(const char *text, size_t len, struct buf *out)
{
	const char *end = text + len, *copied = text;
	bool in_string = false, in_number = false;

	for (const char *p = text; p < end; p++) {
		if (in_string && *p == '\\') {
			p++;
			continue;
		}
		if (*p == '"')
			in_string = !in_string;
		/* A run of digits that is a whole number: nothing of a number before or behind it.
		 */
		size_t n = 0;

		while (!in_string && p + n < end && p[n] >= '0' && p[n] <= '9')
			n++;
		bool whole = !in_number && (p + n == end || (p[n] && !strchr(".eE", p[n])));

		if (n && whole && is_wide(p, n)) {
			buf_add(out, copied, (size_t)(p - copied));
			buf_addf(out, "\"%.*s\"", (int)n, p);
			copied = p + n;
		}
		if (n)
			p += n - 1;
		in_number = n || (*p && strchr("+-.eE", *p));
	}
	buf_add(out, copied, (size_t)(end - copied));
}

/* From the random bytes that the kernel gives each program; jansson by itself would read
 * /dev/urandom. */
static void seed_json(void)
{
	const void *random = (const void *)getauxval(AT_RANDOM);
	size_t seed = 0;

	if (random)
		memcpy(&seed, random, sizeof(seed));
	json_object_seed(seed | 1);
}

static int load_json(struct spec_reader *r, const char *text, size_t len)
{
	json_error_t je;

	seed_json();
	if (len > SPEC_FILE_MAX)
		return err_set(r->e, ERR_SPEC_JSON, -EFBIG, "%s: larger than %u MiB", r->doc,
			       SPEC_FILE_MAX >> 20);
	r->s->json = json_loadb(text, len, JSON_DECODE_ANY, &je);
	if (!r->s->json && json_error_code(&je) == json_error_numeric_overflow) {
		_buf_ struct buf quoted = {0};

		buf_reserve(&quoted, len + 256);
		quote_wide_integers(text, len, &quoted);
		r->s->json = json_loadb(quoted.s, quoted.len, JSON_DECODE_ANY, &je);
	}
	if (!r->s->json)
		return err_set(r->e, ERR_SPEC_JSON, -EINVAL, "%s:%d:%d: %s", r->doc, je.line,
			       je.column, je.text);
	return 0;
}

static int parse(const char *doc, const struct spec_field *f, const char *text, size_t len,
		 const char *bundle, struct spec **ret, struct err *e)
{
	_spec_ struct spec *s = mem_alloc(sizeof(*s));
	struct spec_reader r = {s, e, doc};

	if (bundle)
		s->bundle = spec_strdup(s, bundle);
	int rc = load_json(&r, text, len);

	if (!rc)
		rc = spec_read(&r, NULL, f, s->json, s);
	if (!rc)
		*ret = STEAL(s);
	return rc;
}

/* A destination that is given as a path of the host, through the root file system, means the place
 * inside it: runc takes both, and so do its callers. */
static void strip_root(struct spec *s)
{
	bool absolute = s->root_path && s->root_path[0] == '/';
	_free_ char *root = mem_printf("%s%s%s", absolute ? "" : s->bundle, absolute ? "" : "/",
				       s->root_path ? s->root_path : "");
	size_t len = strlen(root);

	for (size_t i = 0; i < s->mounts_count && len > 1; i++) {
		char *d = s->mounts[i].destination;

		if (!strncmp(d, root, len) && d[len] == '/')
			s->mounts[i].destination = d + len;
	}
}

int spec_parse(const char *text, size_t len, const char *bundle, struct spec **ret, struct err *e)
{
	int rc = parse("config.json", &top_field, text, len, bundle, ret, e);

	if (!rc)
		strip_root(*ret);
	return rc;
}

int spec_parse_process(const char *text, size_t len, struct spec **ret, struct err *e)
{
	int rc = parse("process", &process_field, text, len, NULL, ret, e);

	if (!rc)
		(*ret)->has_process = true;
	return rc;
}

int spec_parse_resources(const char *text, size_t len, struct spec **ret, struct err *e)
{
	return parse("resources", &resources_field, text, len, NULL, ret, e);
}
