#include "image/auth.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/base64.h"
#include "codec/template.h"
#include "os/path.h"

#define AUTH_FILES 2

/* In the order in which they are asked; the first one is written. path NULL: there is none. */
struct auth {
	struct auth_file {
		char *path;
		json_t *root; /* NULL: not read yet */
	} files[AUTH_FILES];
};

static void forget(char **s)
{
	if (*s)
		explicit_bzero(*s, strlen(*s));
	free(*s);
	*s = NULL;
}

void credential_done(struct credential *c)
{
	forget(&c->username);
	forget(&c->password);
	forget(&c->identity_token);
}

const char *auth_server_of(const char *registry)
{
	return str_eq(registry, "docker.io") ? "https://index.docker.io/v1/" : registry;
}

/* --- a file --- */

static int check_strings(const json_t *map, const char *what, const char *name, struct err *e)
{
	const char *key;
	json_t *value;

	if (!map)
		return 0;
	if (!json_is_object(map))
		return err_set(e, ERR_REG_AUTH, -EBADMSG, "'%s': %s must be an object", name, what);
	json_object_foreach ((json_t *)map, key, value)
		if (!json_is_string(value))
			return err_set(e, ERR_REG_AUTH, -EBADMSG,
				       "'%s': %s.%.100s must be a string", name, what, key);
	return 0;
}

static int check_auths(const json_t *auths, const char *name, struct err *e)
{
	const char *key;
	json_t *value;

	if (!auths)
		return 0;
	if (!json_is_object(auths))
		return err_set(e, ERR_REG_AUTH, -EBADMSG, "'%s': auths must be an object", name);
	json_object_foreach ((json_t *)auths, key, value)
		if (!json_is_object(value))
			return err_set(e, ERR_REG_AUTH, -EBADMSG,
				       "'%s': auths[\"%.100s\"] must be an object", name, key);
	return 0;
}

int auth_parse(const char *text, size_t len, const char *name, json_t **ret, struct err *e)
{
	json_error_t why;
	_json_ json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);

	if (!root)
		return err_set(e, ERR_REG_AUTH, -EBADMSG, "'%s', line %d, column %d: %s", name,
			       why.line, why.column, why.text);
	if (!json_is_object(root))
		return err_set(e, ERR_REG_AUTH, -EBADMSG, "'%s' holds no JSON object", name);
	const json_t *store = json_object_get(root, "credsStore");

	if (store && !json_is_string(store))
		return err_set(e, ERR_REG_AUTH, -EBADMSG, "'%s': credsStore must be a string",
			       name);
	if (check_strings(json_object_get(root, "credHelpers"), "credHelpers", name, e) ||
	    check_auths(json_object_get(root, "auths"), name, e))
		return -EBADMSG;
	*ret = STEAL(root);
	return 0;
}

/* The registry that a key of the file stands for: without scheme, and of old keys ("…/v1/") the
 * host alone. */
static char *key_normal(const char *key)
{
	const char *rest = str_after(key, "https://");

	if (!rest)
		rest = str_after(key, "http://");
	bool url = rest;
	char *name = mem_strdup(rest ? rest : key);
	size_t len = strlen(name);
	char *slash = strchr(name, '/');

	if (url && slash)
		*slash = '\0';
	while (!url && len && name[len - 1] == '/')
		name[--len] = '\0';
	if (str_eq(name, "index.docker.io") || str_eq(name, "registry-1.docker.io")) {
		free(name);
		name = mem_strdup("docker.io");
	}
	return name;
}

/* "host/team/app", "host/team", …, "host": the longest one that is there wins. */
static const json_t *entry_of(const json_t *auths, const char *registry, const char *repository)
{
	_free_ char *wanted = mem_printf("%s/%s", registry, repository);
	const char *key;
	json_t *value;

	for (char *slash; (slash = strrchr(wanted, '/')) || *wanted; *slash = '\0') {
		json_object_foreach ((json_t *)auths, key, value) {
			_free_ char *name = key_normal(key);

			if (str_eq(name, wanted))
				return value;
		}
		if (!slash)
			return NULL;
	}
	return NULL;
}

/* "auth" is base64 of NAME:PASSWORD; some writers pad it with NULs. */
static int decode_auth(const char *text, struct credential *ret)
{
	_buf_ struct buf plain = {0};

	if (strlen(text) > AUTH_SECRET_MAX || base64_decode(text, strlen(text), &plain))
		return -EBADMSG;
	char *colon = strchr(buf_str(&plain), ':');

	if (!colon || strlen(plain.s) != strnlen(plain.s, plain.len))
		return -EBADMSG;
	ret->username = mem_strndup(plain.s, (size_t)(colon - plain.s));
	ret->password = mem_strdup(colon + 1);
	explicit_bzero(plain.s, plain.len);
	return 0;
}

int auth_file_find(const json_t *file, const char *registry, const char *repository,
		   struct credential *ret, struct err *e)
{
	const json_t *entry = entry_of(json_object_get(file, "auths"), registry, repository);
	const char *token = json_string_value(json_object_get(entry, "identitytoken"));
	const char *auth = json_string_value(json_object_get(entry, "auth"));
	const char *user = json_string_value(json_object_get(entry, "username"));
	const char *password = json_string_value(json_object_get(entry, "password"));

	if (token && *token) {
		ret->identity_token = mem_strdup(token);
		return 1;
	}
	if (auth && *auth) {
		if (decode_auth(auth, ret))
			return err_set(e, ERR_REG_AUTH, -EBADMSG,
				       "the stored login of '%s' is malformed", registry);
		return 1;
	}
	if (!user || !password)
		return 0;
	ret->username = mem_strdup(user);
	ret->password = mem_strdup(password);
	return 1;
}

const char *auth_file_helper(const json_t *file, const char *registry)
{
	const char *key;
	json_t *value;

	json_object_foreach (json_object_get(file, "credHelpers"), key, value) {
		_free_ char *name = key_normal(key);

		if (str_eq(name, registry) && *json_string_value(value))
			return json_string_value(value);
	}
	const char *store = json_string_value(json_object_get(file, "credsStore"));

	return store && *store ? store : NULL;
}

/* --- the files --- */

static char *docker_file(void)
{
	const char *dir = getenv("DOCKER_CONFIG"), *home = getenv("HOME");

	if (dir && *dir)
		return mem_printf("%s/config.json", dir);
	return home && *home ? mem_printf("%s/.docker/config.json", home) : NULL;
}

static char *podman_file(void)
{
	const char *dir = getenv("XDG_RUNTIME_DIR");

	if (dir && *dir)
		return mem_printf("%s/containers/auth.json", dir);
	return geteuid() ? NULL : mem_strdup("/run/containers/0/auth.json");
}

int auth_open(struct auth **ret, struct err *e)
{
	const char *chosen = getenv("REGISTRY_AUTH_FILE");
	struct auth *a = mem_alloc(sizeof(*a));

	if (chosen && *chosen) {
		a->files[0].path = mem_strdup(chosen);
	} else {
		a->files[0].path = docker_file();
		a->files[1].path = podman_file();
	}
	*ret = a;
	return 0;
}

void auth_free(struct auth *a)
{
	if (!a)
		return;
	for (int i = 0; i < AUTH_FILES; i++) {
		free(a->files[i].path);
		json_decref(a->files[i].root);
	}
	free(a);
}

/* A file that is not there is an empty one. */
static int load(struct auth_file *f, struct err *e)
{
	_buf_ struct buf text = {0};

	if (f->root || !f->path)
		return 0;
	int rc = path_read(AT_FDCWD, f->path, &text, AUTH_FILE_MAX);

	if (rc == -ENOENT || rc == -ENOTDIR) {
		f->root = json_object();
		return 0;
	}
	if (rc)
		return err_set(e, rc == -EACCES ? ERR_DENIED : ERR_REG_AUTH, rc,
			       "cannot read '%s': %s", f->path, strerror(-rc));
	return auth_parse(buf_str(&text), text.len, f->path, &f->root, e);
}

int auth_find(struct auth *a, const char *registry, const char *repository, struct credential *ret,
	      struct err *e)
{
	for (int i = 0; i < AUTH_FILES; i++) {
		struct auth_file *f = &a->files[i];
		int rc = load(f, e);

		if (rc)
			return rc;
		const char *helper = auth_file_helper(f->root, registry);

		if (helper)
			rc = auth_helper_get(helper, registry, ret, e);
		if (rc || ret->username || ret->identity_token)
			return rc;
		/* a helper may have been set up after a login was kept in the file */
		rc = auth_file_find(f->root, registry, repository, ret, e);
		if (rc)
			return rc < 0 ? rc : 0;
	}
	return 0;
}

static int save(struct auth_file *f, struct err *e)
{
	_free_ char *real = NULL;
	_free_ char *text = json_dumps(f->root, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
	int rc = path_real(f->path, &real); /* a link stays a link */
	const char *path = rc ? f->path : real;
	_free_ char *dir = mem_strdup(path);
	char *slash = strrchr(dir, '/');

	if (slash && slash != dir) {
		*slash = '\0';
		rc = path_mkdirs(AT_FDCWD, dir, 0700);
		if (rc)
			return err_set(e, ERR_REG_AUTH, rc, "cannot make '%s': %s", dir,
				       strerror(-rc));
	}
	rc = path_replace(AT_FDCWD, path, text, strlen(text), 0600, true);
	explicit_bzero(text, strlen(text));
	if (rc)
		return err_set(e, ERR_REG_AUTH, rc, "cannot write '%s': %s", path, strerror(-rc));
	return 0;
}

/* Removes every spelling of the registry; how many there were. */
static unsigned remove_entries(json_t *auths, const char *registry)
{
	unsigned count = 0;
	const char *key;
	json_t *value;
	void *next;

	json_object_foreach_safe(auths, next, key, value)
	{
		_free_ char *name = key_normal(key);

		if (str_eq(name, registry)) {
			json_object_del(auths, key);
			count++;
		}
	}
	return count;
}

static int open_first(struct auth *a, struct auth_file **ret, struct err *e)
{
	struct auth_file *f = &a->files[0];

	if (!f->path)
		return err_set(e, ERR_REG_AUTH, -ENOENT,
			       "there is no place for logins: set HOME, DOCKER_CONFIG or "
			       "REGISTRY_AUTH_FILE");
	*ret = f;
	return load(f, e);
}

static int put_in_file(struct auth_file *f, const char *registry, const struct credential *c,
		       struct err *e)
{
	json_t *auths = json_object_get(f->root, "auths"), *entry = json_object();

	if (!auths) {
		auths = json_object();
		json_object_set_new(f->root, "auths", auths);
	}
	if (c->identity_token) {
		json_object_set_new(entry, "identitytoken", json_string(c->identity_token));
	} else {
		_free_ char *plain = mem_printf("%s:%s", c->username, c->password);
		_buf_ struct buf text = {0};

		base64_encode(plain, strlen(plain), &text);
		json_object_set_new(entry, "auth", json_string(buf_str(&text)));
		explicit_bzero(plain, strlen(plain));
		explicit_bzero(text.s, text.len);
	}
	remove_entries(auths, registry);
	json_object_set_new(auths, auth_server_of(registry), entry);
	return save(f, e);
}

int auth_put(struct auth *a, const char *registry, const struct credential *c, char **ret_where,
	     struct err *e)
{
	struct auth_file *f;
	int rc = open_first(a, &f, e);

	if (rc)
		return rc;
	const char *helper = auth_file_helper(f->root, registry);

	rc = helper ? auth_helper_store(helper, registry, c, e) : put_in_file(f, registry, c, e);
	if (rc)
		return rc;
	*ret_where =
	    helper ? mem_printf("the credential helper '%s'", helper) : mem_strdup(f->path);
	return 0;
}

int auth_erase(struct auth *a, const char *registry, struct err *e)
{
	struct auth_file *f;
	int rc = open_first(a, &f, e);

	if (rc)
		return rc;
	json_t *auths = json_object_get(f->root, "auths");
	const char *helper = auth_file_helper(f->root, registry);
	unsigned count = auths ? remove_entries(auths, registry) : 0;

	if (helper)
		rc = auth_helper_erase(helper, registry, e);
	if (count) {
		int saved = save(f, e);

		return saved ? saved : rc == -ENOENT ? 0 : rc;
	}
	if (rc || helper)
		return rc;
	return err_set(e, ERR_NOT_FOUND, -ENOENT, "not logged in to '%s'", registry);
}
