#include "image/registries.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "codec/template.h"
#include "os/path.h"

#define STALL_MAX_S 3600

struct registries {
	VEC(struct registry_entry *) files; /* as the files say; a later one counts more */
	VEC(struct registry_entry *) ready; /* with their certificates, as they were asked for */
	VEC(char *) insecure;               /* --insecure */
	char *user_dir;                     /* $XDG_CONFIG_HOME/viv; NULL: no home */
};

static void entry_free(struct registry_entry *n)
{
	free(n->name);
	mem_strv_free(n->mirrors);
	free(n->lookaside);
	free(n->ca_pem);
	free(n->cert_file);
	free(n->key_file);
	free(n->proxy);
	free(n);
}

struct registries *registries_new(void)
{
	return mem_alloc(sizeof(struct registries));
}

void registries_free(struct registries *r)
{
	if (!r)
		return;
	vec_each (n, &r->files)
		entry_free(*n);
	vec_each (n, &r->ready)
		entry_free(*n);
	vec_each (s, &r->insecure)
		free(*s);
	vec_done(&r->files);
	vec_done(&r->ready);
	vec_done(&r->insecure);
	free(r->user_dir);
	free(r);
}

/* --- the file --- */

struct where {
	const char *file, *registry, *field;
};

static int bad(const struct where *w, const char *wanted, struct err *e)
{
	return err_set(e, ERR_REG_CONFIG, -EINVAL, "'%s', registries[\"%.100s\"].%.100s: %s",
		       w->file, w->registry, w->field, wanted);
}

static int read_bool(const json_t *v, const struct where *w, bool *ret, struct err *e)
{
	if (!json_is_boolean(v))
		return bad(w, "must be true or false", e);
	*ret = json_is_true(v);
	return 0;
}

static int read_string(const json_t *v, const struct where *w, char **ret, struct err *e)
{
	if (!json_is_string(v) || !json_string_length(v))
		return bad(w, "must be a string", e);
	*ret = mem_strdup(json_string_value(v));
	return 0;
}

static int read_mirrors(const json_t *v, const struct where *w, char ***ret, struct err *e)
{
	size_t i, n = json_array_size(v);
	json_t *item;

	if (!json_is_array(v) || n > REGISTRIES_MIRRORS_MAX)
		return bad(w, "must be a list of at most 16 strings", e);
	char **mirrors = mem_array(n + 1, sizeof(*mirrors));

	*ret = mirrors;
	json_array_foreach (v, i, item) {
		const char *text = json_string_value(item);

		if (!text || !*text || strstr(text, "://") || *text == '/')
			return bad(w, "must be a list of HOST[:PORT][/PREFIX], without a scheme",
				   e);
		mirrors[i] = mem_strdup(text);
		for (char *end = mirrors[i] + strlen(text); end[-1] == '/';)
			*--end = '\0';
	}
	return 0;
}

static int read_field(struct registry_entry *n, const json_t *v, const struct where *w,
		      struct err *e)
{
	if (str_eq(w->field, "insecure"))
		return read_bool(v, w, &n->insecure, e);
	if (str_eq(w->field, "blocked"))
		return read_bool(v, w, &n->blocked, e);
	if (str_eq(w->field, "mirrors"))
		return read_mirrors(v, w, &n->mirrors, e);
	if (str_eq(w->field, "lookaside"))
		return read_string(v, w, &n->lookaside, e);
	if (str_eq(w->field, "proxy"))
		return read_string(v, w, &n->proxy, e);
	if (str_eq(w->field, "stallSeconds")) {
		json_int_t s = json_integer_value(v);

		if (!json_is_integer(v) || s < 1 || s > STALL_MAX_S)
			return bad(w, "must be a number from 1 to 3600", e);
		n->peer.stall_s = (unsigned)s;
		return 0;
	}
	return bad(w, "is not known", e);
}

static int read_entry(struct registries *r, const char *name, json_t *value, const char *file,
		      struct err *e)
{
	struct where w = {file, name, ""};
	json_t *v;

	if (!json_is_object(value))
		return bad(&w, "must be an object", e);
	struct registry_entry *n = mem_alloc(sizeof(*n));

	n->name = mem_strdup(name);
	vec_push(&r->files, n);
	json_object_foreach (value, w.field, v) {
		int rc = read_field(n, v, &w, e);

		if (rc)
			return rc;
	}
	return 0;
}

int registries_parse(struct registries *r, const char *text, size_t len, const char *name,
		     struct err *e)
{
	json_error_t why;
	_json_ json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
	json_t *map = json_object_get(root, "registries"), *value;
	const char *key;

	if (!root)
		return err_set(e, ERR_REG_CONFIG, -EINVAL, "'%s', line %d, column %d: %s", name,
			       why.line, why.column, why.text);
	if (!json_is_object(map) || json_object_size(root) != 1)
		return err_set(e, ERR_REG_CONFIG, -EINVAL,
			       "'%s' must be an object with the one field \"registries\"", name);
	json_object_foreach (map, key, value) {
		int rc = read_entry(r, key, value, name, e);

		if (rc)
			return rc;
	}
	return 0;
}

static int read_file(struct registries *r, const char *path, struct err *e)
{
	_buf_ struct buf text = {0};
	int rc = path_read(AT_FDCWD, path, &text, REGISTRIES_FILE_MAX);

	if (rc == -ENOENT || rc == -ENOTDIR)
		return 0;
	if (rc)
		return err_set(e, ERR_REG_CONFIG, rc, "cannot read '%s': %s", path, strerror(-rc));
	return registries_parse(r, buf_str(&text), text.len, path, e);
}

int registries_open(struct registries **ret, struct err *e)
{
	const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	_registries_ struct registries *r = registries_new();
	int rc = read_file(r, VIV_SYSCONFDIR "/registries.json", e);

	r->user_dir = config && *config ? mem_printf("%s/viv", config)
		      : home && *home   ? mem_printf("%s/.config/viv", home)
					: NULL;
	if (!rc && r->user_dir) {
		_free_ char *path = mem_printf("%s/registries.json", r->user_dir);

		rc = read_file(r, path, e);
	}
	if (rc)
		return rc;
	*ret = STEAL(r);
	return 0;
}

/* --- certificates --- */

static int add_authority(struct registry_entry *n, const char *path, struct err *e)
{
	_buf_ struct buf pem = {0};
	int rc;

	if (n->ca_pem)
		buf_adds(&pem, n->ca_pem);
	rc = path_read(AT_FDCWD, path, &pem, REGISTRIES_PEM_MAX);
	if (rc)
		return err_set(e, ERR_REG_CONFIG, rc, "cannot read the certificate '%s': %s", path,
			       strerror(-rc));
	if (pem.len && pem.s[pem.len - 1] != '\n')
		buf_addc(&pem, '\n');
	free(n->ca_pem);
	n->ca_pem = buf_take(&pem);
	return 0;
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n > m && str_eq(s + n - m, end);
}

static int add_certificate(struct registry_entry *n, const char *dir, const char *name,
			   struct err *e)
{
	_free_ char *path = mem_printf("%s/%s", dir, name);

	if (ends_with(name, ".crt"))
		return add_authority(n, path, e);
	if (!ends_with(name, ".cert") || n->cert_file)
		return 0;
	n->key_file = mem_printf("%.*s.key", (int)(strlen(path) - strlen(".cert")), path);
	n->cert_file = STEAL(path);
	if (!path_exists(AT_FDCWD, n->key_file))
		return err_set(e, ERR_REG_CONFIG, -ENOENT, "'%s' has no key '%s'", n->cert_file,
			       n->key_file);
	return 0;
}

static int add_certificates(struct registry_entry *n, const char *base, struct err *e)
{
	_free_ char *path = mem_printf("%s/certs.d/%s", base, n->name);
	int fd = path_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0), rc = 0;

	if (fd < 0) /* missing, or for others' eyes: then it is not for us */
		return 0;
	_closedir_ DIR *d = fdopendir(fd);

	if (!d) {
		close(fd);
		return err_set(e, ERR_NOMEM, -ENOMEM, "cannot read '%s'", path);
	}
	for (struct dirent *entry; !rc && (entry = readdir(d));)
		rc = add_certificate(n, path, entry->d_name, e);
	return rc;
}

/* --- asking --- */

void registries_add_insecure(struct registries *r, const char *name)
{
	vec_push(&r->insecure, mem_strdup(name));
}

static char **copy_strings(char *const *from)
{
	size_t n = 0;

	while (from && from[n])
		n++;
	char **to = mem_array(n + 1, sizeof(*to));

	for (size_t i = 0; i < n; i++)
		to[i] = mem_strdup(from[i]);
	return to;
}

/* What the files say, as an entry of its own. */
static struct registry_entry *copy_of(const struct registries *r, const char *name)
{
	const struct registry_entry *said = &(struct registry_entry){0};
	struct registry_entry *n = mem_alloc(sizeof(*n));

	vec_each (f, &r->files)
		if (str_eq((*f)->name, name))
			said = *f;
	n->name = mem_strdup(name);
	n->insecure = said->insecure;
	n->blocked = said->blocked;
	n->mirrors = copy_strings(said->mirrors);
	n->lookaside = said->lookaside ? mem_strdup(said->lookaside) : NULL;
	n->proxy = said->proxy ? mem_strdup(said->proxy) : NULL;
	n->peer.stall_s = said->peer.stall_s;
	vec_each (s, &r->insecure)
		if (str_eq(*s, name))
			n->insecure = true;
	return n;
}

static int complete(struct registry_entry *n, const char *user_dir, struct err *e)
{
	const char *const bases[] = {user_dir, VIV_SYSCONFDIR, "/etc/containers", "/etc/docker"};

	if (strchr(n->name, '/')) /* never a path out of certs.d */
		return err_set(e, ERR_REG_CONFIG, -EINVAL, "'%s' is no name of a registry",
			       n->name);
	for (size_t i = 0; i < ARRAY_SIZE(bases); i++) {
		int rc = bases[i] ? add_certificates(n, bases[i], e) : 0;

		if (rc)
			return rc;
	}
	n->peer.insecure = n->insecure;
	n->peer.ca_pem = n->ca_pem;
	n->peer.ca_pem_len = n->ca_pem ? strlen(n->ca_pem) : 0;
	n->peer.cert_file = n->cert_file;
	n->peer.key_file = n->key_file;
	n->peer.proxy = n->proxy;
	return 0;
}

int registries_find(struct registries *r, const char *name, const struct registry_entry **ret,
		    struct err *e)
{
	vec_each (n, &r->ready)
		if (str_eq((*n)->name, name)) {
			*ret = *n;
			return 0;
		}
	struct registry_entry *n = copy_of(r, name);
	int rc = complete(n, r->user_dir, e);

	if (rc) {
		entry_free(n);
		return rc;
	}
	vec_push(&r->ready, n);
	*ret = n;
	return 0;
}
