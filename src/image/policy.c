#include "image/policy.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/base64.h"
#include "codec/template.h"
#include "os/path.h"

#define KEY_PATHS_MAX 64

/* Scopes of the transport "docker"; the default is the last resort. */
struct policy {
	struct policy_requirements fallback;
	VEC(struct policy_requirements *) scopes;
};

/* --- errors that name the place --- */

struct place {
	const char *file, *scope;
	size_t index;
};

__attribute__((format(printf, 3, 4))) static int bad(const struct place *at, struct err *e,
						     const char *fmt, ...)
{
	_buf_ struct buf text = {0};
	va_list ap;

	va_start(ap, fmt);
	buf_addfv(&text, fmt, ap);
	va_end(ap);
	return err_set(e, ERR_POLICY_FORMAT, -EINVAL, "'%s', scope '%.200s', requirement %zu: %s",
		       at->file, at->scope, at->index + 1, buf_str(&text));
}

/* Every field must be known: one that is passed over might have been the one that protects. */
static int only_known(const json_t *v, const char *const *known, const struct place *at,
		      struct err *e)
{
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)(uintptr_t)v, key, value) {
		size_t i = 0;

		while (known[i] && !str_eq(known[i], key))
			i++;
		if (!known[i])
			return bad(at, e, "'%.100s' is not known, or not supported by this version",
				   key);
	}
	return 0;
}

static const char *string_of(const json_t *v, const char *key)
{
	const char *s = json_string_value(json_object_get(v, key));

	return s && *s ? s : NULL;
}

/* --- keys --- */

static int add_path(struct policy_requirement *q, size_t n, const json_t *v, const struct place *at,
		    struct err *e)
{
	const char *path = json_string_value(v);

	if (!path || *path != '/')
		return bad(at, e, "a key's path must be absolute");
	q->key_paths[n] = mem_strdup(path);
	return 0;
}

static int read_key(const json_t *v, struct policy_requirement *q, const struct place *at,
		    struct err *e)
{
	const json_t *path = json_object_get(v, "keyPath"), *paths = json_object_get(v, "keyPaths");
	const char *data = string_of(v, "keyData");
	size_t n = json_array_size(paths);
	int rc = 0;

	if (!!path + !!paths + !!data != 1)
		return bad(at, e, "exactly one of keyPath, keyPaths and keyData is needed");
	if (data)
		return base64_decode(data, strlen(data), &q->key)
			   ? bad(at, e, "keyData is no base64")
			   : 0;
	if (paths && (!n || n > KEY_PATHS_MAX))
		return bad(at, e, "keyPaths must be a list of 1 to %d paths", KEY_PATHS_MAX);
	q->key_paths = mem_array(n + 2, sizeof(*q->key_paths));
	if (path)
		return add_path(q, 0, path, at, e);
	for (size_t i = 0; !rc && i < n; i++)
		rc = add_path(q, i, json_array_get(paths, i), at, e);
	return rc;
}

/* --- identities --- */

static const struct {
	const char *type;
	enum policy_identity identity;
	const char *a, *b; /* fields that it needs */
} identities[] = {
    {"matchRepoDigestOrExact", POLICY_MATCH_REPO_DIGEST_OR_EXACT, NULL, NULL},
    {"matchExact", POLICY_MATCH_EXACT, NULL, NULL},
    {"matchRepository", POLICY_MATCH_REPOSITORY, NULL, NULL},
    {"exactReference", POLICY_EXACT_REFERENCE, "dockerReference", NULL},
    {"exactRepository", POLICY_EXACT_REPOSITORY, "dockerRepository", NULL},
    {"remapIdentity", POLICY_REMAP, "prefix", "signedPrefix"},
};

static int read_identity(const json_t *v, struct policy_requirement *q, const struct place *at,
			 struct err *e)
{
	const char *type = string_of(v, "type");
	size_t i = 0;

	if (!v)
		return 0; /* matchRepoDigestOrExact is the default */
	while (i < ARRAY_SIZE(identities) && !(type && str_eq(type, identities[i].type)))
		i++;
	if (i == ARRAY_SIZE(identities))
		return bad(at, e, "this signedIdentity is not known");
	const char *known[] = {"type", identities[i].a, identities[i].b, NULL};
	const char *a = identities[i].a ? string_of(v, identities[i].a) : NULL;
	const char *b = identities[i].b ? string_of(v, identities[i].b) : NULL;

	if (only_known(v, known, at, e))
		return -EINVAL;
	if ((identities[i].a && !a) || (identities[i].b && !b))
		return bad(at, e, "signedIdentity %s lacks a field", type);
	q->identity = identities[i].identity;
	q->identity_a = a ? mem_strdup(a) : NULL;
	q->identity_b = b ? mem_strdup(b) : NULL;
	return 0;
}

/* --- requirements --- */

static int read_signed(const json_t *v, struct policy_requirement *q, const struct place *at,
		       struct err *e)
{
	static const char *const gpg[] = {"type",    "keyType",        "keyPath", "keyPaths",
					  "keyData", "signedIdentity", NULL};
	static const char *const cosign[] = {"type", "keyPath", "keyData", "signedIdentity", NULL};
	const char *key_type = string_of(v, "keyType");
	int rc = only_known(v, q->kind == POLICY_GPG ? gpg : cosign, at, e);

	if (rc)
		return rc;
	if (q->kind == POLICY_GPG && (!key_type || !str_eq(key_type, "GPGKeys")))
		return bad(at, e, "keyType must be GPGKeys");
	rc = read_key(v, q, at, e);
	return rc ? rc : read_identity(json_object_get(v, "signedIdentity"), q, at, e);
}

static int read_requirement(const json_t *v, struct policy_requirement *q, const struct place *at,
			    struct err *e)
{
	static const struct {
		const char *type;
		enum policy_kind kind;
	} kinds[] = {{"insecureAcceptAnything", POLICY_ACCEPT},
		     {"reject", POLICY_REJECT},
		     {"signedBy", POLICY_GPG},
		     {"sigstoreSigned", POLICY_COSIGN}};
	static const char *const plain[] = {"type", NULL};
	const char *type = string_of(v, "type");
	size_t i = 0;

	while (i < ARRAY_SIZE(kinds) && !(type && str_eq(type, kinds[i].type)))
		i++;
	if (i == ARRAY_SIZE(kinds))
		return bad(at, e, "its type '%.100s' is not known", type ? type : "");
	q->kind = kinds[i].kind;
	if (q->kind == POLICY_ACCEPT || q->kind == POLICY_REJECT)
		return only_known(v, plain, at, e);
	return read_signed(v, q, at, e);
}

static int read_requirements(const json_t *list, const char *file, const char *scope,
			     struct policy_requirements *ret, struct err *e)
{
	struct place at = {file, scope, 0};
	json_t *v;

	ret->scope = mem_strdup(scope);
	if (!json_array_size(list))
		return bad(&at, e, "there must be a list of at least one requirement");
	json_array_foreach (list, at.index, v) {
		vec_push(&ret->list, (struct policy_requirement){0});
		int rc = read_requirement(v, &ret->list.v[ret->list.n - 1], &at, e);

		if (rc)
			return rc;
	}
	return 0;
}

/* --- the file --- */

static int read_scopes(struct policy *p, const json_t *docker, const char *file, struct err *e)
{
	const char *scope;
	json_t *list;

	json_object_foreach ((json_t *)(uintptr_t)docker, scope, list) {
		struct policy_requirements *r = mem_alloc(sizeof(*r));

		vec_push(&p->scopes, r);
		int rc = read_requirements(list, file, scope, r, e);

		if (rc)
			return rc;
	}
	return 0;
}

static int check_top(const json_t *root, const char *file, struct err *e)
{
	const char *key;
	json_t *v;

	if (!json_is_object(root))
		return err_set(e, ERR_POLICY_FORMAT, -EINVAL, "'%s' holds no JSON object", file);
	json_object_foreach ((json_t *)(uintptr_t)root, key, v)
		if (!str_eq(key, "default") && !str_eq(key, "transports"))
			return err_set(e, ERR_POLICY_FORMAT, -EINVAL, "'%s': '%.100s' is not known",
				       file, key);
	const json_t *transports = json_object_get(root, "transports");
	const json_t *docker = json_object_get(transports, "docker");

	if ((transports && !json_is_object(transports)) || (docker && !json_is_object(docker)))
		return err_set(e, ERR_POLICY_FORMAT, -EINVAL,
			       "'%s': transports, and docker in it, must be objects", file);
	return 0;
}

int policy_parse(const char *text, size_t len, const char *name, struct policy **ret, struct err *e)
{
	_policy_ struct policy *p = mem_alloc(sizeof(*p));
	json_error_t why;
	_json_ json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
	const json_t *transports = json_object_get(root, "transports");

	if (!root)
		return err_set(e, ERR_POLICY_FORMAT, -EINVAL, "'%s', line %d, column %d: %s", name,
			       why.line, why.column, why.text);
	int rc = check_top(root, name, e);

	if (!rc)
		rc = read_requirements(json_object_get(root, "default"), name, "default",
				       &p->fallback, e);
	if (!rc)
		rc = read_scopes(p, json_object_get(transports, "docker"), name, e);
	if (!rc)
		*ret = STEAL(p);
	return rc;
}

static void requirements_done(struct policy_requirements *r)
{
	vec_each (q, &r->list) {
		mem_strv_free(q->key_paths);
		buf_done(&q->key);
		free(q->identity_a);
		free(q->identity_b);
	}
	vec_done(&r->list);
	free(r->scope);
}

void policy_free(struct policy *p)
{
	if (!p)
		return;
	requirements_done(&p->fallback);
	vec_each (r, &p->scopes) {
		requirements_done(*r);
		free(*r);
	}
	vec_done(&p->scopes);
	free(p);
}

static char *user_file(void)
{
	const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");

	if (config && *config)
		return mem_printf("%s/viv/policy.json", config);
	return home && *home ? mem_printf("%s/.config/viv/policy.json", home) : NULL;
}

int policy_open(struct policy **ret, struct err *e)
{
	_free_ char *user = user_file();
	const char *const files[] = {user, VIV_SYSCONFDIR "/policy.json",
				     "/etc/containers/policy.json"};

	*ret = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		_buf_ struct buf text = {0};
		int rc = files[i] ? path_read(AT_FDCWD, files[i], &text, POLICY_FILE_MAX) : -ENOENT;

		if (rc == -ENOENT || rc == -ENOTDIR)
			continue;
		if (rc)
			return err_set(e, ERR_POLICY_FORMAT, rc, "cannot read '%s': %s", files[i],
				       strerror(-rc));
		return policy_parse(buf_str(&text), text.len, files[i], ret, e);
	}
	return 0;
}

/* --- asking --- */

static const struct policy_requirements *scope(const struct policy *p, const char *name)
{
	vec_each (r, &p->scopes)
		if (str_eq((*r)->scope, name))
			return *r;
	return NULL;
}

/* "*.example.com" for "registry.example.com:5000/…", the longest one first. */
static const struct policy_requirements *wildcard(const struct policy *p, const char *domain)
{
	_free_ char *host = mem_strndup(domain, strcspn(domain, ":"));

	for (const char *dot = strchr(host, '.'); dot; dot = strchr(dot + 1, '.')) {
		_free_ char *name = mem_printf("*%s", dot);
		const struct policy_requirements *r = scope(p, name);

		if (r)
			return r;
	}
	return NULL;
}

const struct policy_requirements *policy_find(const struct policy *p, const struct reference *r)
{
	_free_ char *full = reference_canonical(r), *name = reference_repository(r);
	const struct policy_requirements *found = scope(p, full);

	for (char *slash; !found && *name; *slash = '\0') {
		found = scope(p, name);
		slash = strrchr(name, '/');
		if (!slash)
			break;
	}
	if (!found)
		found = wildcard(p, r->domain);
	if (!found)
		found = scope(p, "");
	return found ? found : &p->fallback;
}

/* A signature may be for this platform's manifest, or for the index that names it. */
static int check_signed(const struct policy_requirement *q, struct image_store *s,
			struct repository *repository, const struct reference *r,
			const struct digest *top, const struct digest *at, struct err *e)
{
	int rc = signature_check(q, s, repository, r, at, e);

	if (rc == -EACCES && !digest_eq(top, at))
		rc = signature_check(q, s, repository, r, top, e);
	return rc;
}

int policy_check(const struct policy *p, struct image_store *s, struct repository *repository,
		 const struct reference *r, const struct digest *top, const struct digest *at,
		 struct err *e)
{
	if (!p)
		return 0;
	const struct policy_requirements *all = policy_find(p, r);

	vec_each (q, &all->list) {
		int rc = 0;

		if (q->kind == POLICY_REJECT)
			rc = err_set(e, ERR_POLICY_REJECTED, -EACCES, "such images are rejected");
		else if (q->kind != POLICY_ACCEPT)
			rc = check_signed(q, s, repository, r, top, at, e);
		if (rc)
			return err_prefix(e, "policy '%s': ", all->scope);
	}
	return 0;
}
