#include "cmd/settings.h"

#include "base/cleanup.h"
#include "base/str.h"
#include "cmd/cli_int.h"
#include "os/path.h"

#include <assert.h>
#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>

#include <jansson.h>
#include <libfyaml.h>

const struct cli_flag settings_table[] = {
    {"color", .type = CLI_ENUM, .choices = "auto|always|never", .fallback = "auto",
     .help = "colour in what people read"},
    {"log-level", .type = CLI_ENUM, .choices = "error|warn|info|debug", .fallback = "warn",
     .help = "most detailed messages to show"},
    {"output", .type = CLI_ENUM, .choices = "table|wide|json|jsonl|yaml|csv|name",
     .fallback = "table", .help = "form of the output"},
    {"progress", .type = CLI_ENUM, .choices = "auto|plain|json|none", .fallback = "auto",
     .help = "progress on standard error"},
    {"root", .type = CLI_STRING, .metavar = "DIR",
     .help = "directory that holds everything Vivarium keeps"},
    {0},
};
static_assert(sizeof(settings_table) / sizeof(settings_table[0]) == SETTINGS_COUNT + 1,
	      "one slot per key");

int settings_find(const char *key)
{
	for (int i = 0; i < SETTINGS_COUNT; i++)
		if (str_eq(settings_table[i].name, key))
			return i;
	return -1;
}

static const char *near_key(const char *wrong)
{
	const char *best = NULL;
	unsigned distance = 4;

	for (int i = 0; i < SETTINGS_COUNT; i++) {
		unsigned d = str_distance(wrong, settings_table[i].name, distance);

		if (d < distance) {
			distance = d;
			best = settings_table[i].name;
		}
	}
	return best;
}

/* Whether the value suits the key. where: "FILE, line N" or the like. */
static int check(int i, const char *value, const char *where, struct err *e)
{
	struct cli_value parsed = {0};
	_buf_ struct buf why = {0};

	if (cli_value_parse(&settings_table[i], value, &parsed, &why))
		return 0;
	return err_set(e, ERR_SETTINGS, -EINVAL, "%s: %s '%s' is not %s", where,
		       settings_table[i].name, value, buf_str(&why));
}

static int unknown_key(const char *key, const char *where, struct err *e)
{
	const char *near = near_key(key);

	return err_set(e, ERR_SETTINGS, -EINVAL, "%s: there is no setting '%s'%s%s%s", where, key,
		       near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int store(struct settings *s, const char *key, const char *value, const char *where,
		 enum settings_source source, struct err *e)
{
	int i = settings_find(key);
	int rc = i < 0 ? unknown_key(key, where, e) : check(i, value, where, e);

	if (rc)
		return rc;
	free(s->v[i].value);
	s->v[i].value = mem_strdup(value);
	s->v[i].source = source;
	return 0;
}

/* --- one file --- */

static int line_of(struct fy_node *node)
{
	struct fy_token *token = node ? fy_node_get_scalar_token(node) : NULL;
	const struct fy_mark *mark = token ? fy_token_start_mark(token) : NULL;

	return mark ? mark->line + 1 : 1;
}

static int parse_pair(struct settings *s, struct fy_node_pair *pair, const char *name,
		      enum settings_source source, struct err *e)
{
	struct fy_node *key_node = fy_node_pair_key(pair);
	_free_ char *where = mem_printf("%s, line %d", name, line_of(key_node));
	size_t key_len = 0, value_len = 0;
	const char *key = key_node ? fy_node_get_scalar(key_node, &key_len) : NULL;
	struct fy_node *value_node = fy_node_pair_value(pair);
	const char *value = value_node ? fy_node_get_scalar(value_node, &value_len) : NULL;

	if (!key)
		return err_set(e, ERR_SETTINGS, -EINVAL, "%s: a key is not a plain word", where);
	_free_ char *k = mem_strndup(key, key_len);
	_free_ char *v = value ? mem_strndup(value, value_len) : NULL;

	if (!v)
		return err_set(e, ERR_SETTINGS, -EINVAL,
			       "%s: the value of '%s' is not a plain value", where, k);
	return store(s, k, v, where, source, e);
}

static int yaml_error(struct fy_diag *diag, const char *name, struct err *e)
{
	void *it = NULL;
	struct fy_diag_error *first = fy_diag_errors_iterate(diag, &it);

	if (!first)
		return err_set(e, ERR_SETTINGS, -EINVAL, "%s: this is not YAML", name);
	return err_set(e, ERR_SETTINGS, -EINVAL, "%s, line %d: %s", name, first->line, first->msg);
}

/* The mapping's pairs; a document of comments only has no root. */
static int parse_document(struct settings *s, struct fy_document *doc, const char *name,
			  enum settings_source source, struct err *e)
{
	struct fy_node *root = fy_document_root(doc);
	struct fy_node_pair *pair;
	int rc = 0;

	if (!root)
		return 0;
	if (!fy_node_is_mapping(root))
		return err_set(e, ERR_SETTINGS, -EINVAL,
			       "%s: lines of the form 'key: value' are expected", name);
	for (void *it = NULL; !rc && (pair = fy_node_mapping_iterate(root, &it));)
		rc = parse_pair(s, pair, name, source, e);
	return rc;
}

/* c-printable of YAML 1.2 (section 5.1), strictly UTF-8. The library is lenient, and 0.7 never
 * comes back from some directives with other bytes in them. */
static bool is_text(const char *text, size_t len)
{
	json_t *utf8 = json_stringn(text, len); /* NULL where it is not */

	for (size_t i = 0; i < len; i++)
		if (iscntrl((unsigned char)text[i]) && !memchr("\t\r\n", text[i], 3))
			len = 0;
	json_decref(utf8);
	return utf8 && len;
}

int settings_parse(struct settings *s, const char *text, size_t len, const char *name,
		   enum settings_source source, struct err *e)
{
	if (!len)
		return 0;
	if (!is_text(text, len))
		return err_set(e, ERR_SETTINGS, -EINVAL, "%s: it has bytes that are no text", name);
	struct fy_diag *diag = fy_diag_create(NULL);
	struct fy_parser *parser = NULL;
	struct fy_document *doc = NULL, *second = NULL;
	int rc = 0;

	if (!diag)
		return err_set(e, ERR_NOMEM, -ENOMEM, "%s: no memory to read it", name);
	fy_diag_set_collect_errors(diag, true);
	parser = fy_parser_create(&(struct fy_parse_cfg){.flags = FYPCF_QUIET, .diag = diag});
	if (!parser || fy_parser_set_string(parser, text, len))
		rc = err_set(e, ERR_NOMEM, -ENOMEM, "%s: no memory to read it", name);
	else if ((doc = fy_parse_load_document(parser)))
		rc = parse_document(s, doc, name, source, e);
	if (!rc && doc && (second = fy_parse_load_document(parser)))
		rc = err_set(e, ERR_SETTINGS, -EINVAL, "%s: there is a second document", name);
	if (!rc && fy_parser_get_stream_error(parser))
		rc = yaml_error(diag, name, e);
	fy_parse_document_destroy(parser, second);
	fy_parse_document_destroy(parser, doc);
	fy_parser_destroy(parser);
	fy_diag_destroy(diag);
	return rc;
}

static int load_file(struct settings *s, const char *path, enum settings_source source,
		     struct err *e)
{
	_buf_ struct buf text = {0};
	int rc = path ? path_read(AT_FDCWD, path, &text, SETTINGS_FILE_MAX) : -ENOENT;

	if (rc == -ENOENT || rc == -ENOTDIR)
		return 0;
	if (rc < 0)
		return err_set(e, ERR_SETTINGS, rc, "cannot read '%s': %s", path, strerror(-rc));
	return settings_parse(s, buf_str(&text), text.len, path, source, e);
}

/* --- all sources --- */

/* "VIV_LOG_LEVEL" of "log-level". Returns owned. */
static char *variable_name(const char *key)
{
	char *name = mem_printf("VIV_%s", key);

	for (char *p = name; *p; p++)
		*p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
	return name;
}

static int load_environment(struct settings *s, struct err *e)
{
	for (int i = 0; i < SETTINGS_COUNT; i++) {
		_free_ char *name = variable_name(settings_table[i].name);
		const char *value = getenv(name);
		int rc = value && *value ? store(s, settings_table[i].name, value, name,
						 SETTINGS_ENVIRONMENT, e)
					 : 0;

		if (rc)
			return rc;
	}
	return 0;
}

/* XDG Base Directory Specification: a path that is not absolute is ignored. */
static char *user_path(void)
{
	const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");

	if (config && *config == '/')
		return mem_printf("%s/viv/settings.yaml", config);
	return home && *home == '/' ? mem_printf("%s/.config/viv/settings.yaml", home) : NULL;
}

int settings_load(struct settings *s, struct err *e)
{
	*s = (struct settings){.system_path = mem_strdup(VIV_SYSCONFDIR "/settings.yaml"),
			       .user_path = user_path()};
	struct err later = {0};
	int rc = load_file(s, s->system_path, SETTINGS_SYSTEM, e);
	int rc2 = load_file(s, s->user_path, SETTINGS_USER, rc ? &later : e);
	int rc3 = load_environment(s, rc || rc2 ? &later : e);

	return rc ? rc : rc2 ? rc2 : rc3;
}

void settings_done(struct settings *s)
{
	for (int i = 0; i < SETTINGS_COUNT; i++)
		free(s->v[i].value);
	free(s->system_path);
	free(s->user_path);
	*s = (struct settings){0};
}

const char *settings_get(const struct settings *s, const char *key)
{
	int i = settings_find(key);

	assert(i >= 0);
	return s->v[i].value ? s->v[i].value : settings_table[i].fallback;
}

char *settings_origin(const struct settings *s, const char *key)
{
	int i = settings_find(key);

	assert(i >= 0);
	switch (s->v[i].value ? s->v[i].source : SETTINGS_DEFAULT) {
	case SETTINGS_SYSTEM:
		return mem_strdup(s->system_path);
	case SETTINGS_USER:
		return mem_strdup(s->user_path ? s->user_path : "");
	case SETTINGS_ENVIRONMENT:
		return variable_name(key);
	case SETTINGS_DEFAULT:
		break;
	}
	return mem_strdup("default");
}

/* --- changing a file --- */

/* Copies the lines of text but those of the key, and puts its new line in the place of the first
 * one. */
static void edit(const char *text, const char *key, const char *value, struct buf *out)
{
	_buf_ struct buf line = {0};

	if (value) {
		buf_addf(&line, "%s: ", key);
		buf_add_json_string(&line, value); /* also a double-quoted YAML scalar */
		buf_addc(&line, '\n');
	}
	for (size_t n; *text; text += n) {
		const char *after = str_after(text, key);

		n = strcspn(text, "\n");
		n += text[n] == '\n';
		if (!after || *(after + strspn(after, " \t")) != ':') {
			buf_add(out, text, n);
			if (text[n - 1] != '\n')
				buf_addc(out, '\n');
		} else {
			buf_adds(out, buf_str(&line));
			buf_reset(&line);
		}
	}
	buf_adds(out, buf_str(&line));
}

int settings_set(const struct settings *s, bool system, const char *key, const char *value,
		 struct err *e)
{
	const char *path = system ? s->system_path : s->user_path;
	_buf_ struct buf old = {0}, new = {0};
	int i = settings_find(key);

	if (i < 0)
		return unknown_key(key, "settings", e);
	int rc = value ? check(i, value, "settings", e) : 0;

	if (rc)
		return rc;
	if (!path)
		return err_set(e, ERR_SETTINGS, -ENOENT,
			       "there is no home directory: set HOME or XDG_CONFIG_HOME");
	rc = path_read(AT_FDCWD, path, &old, SETTINGS_FILE_MAX);
	if (rc < 0 && rc != -ENOENT)
		return err_set(e, ERR_SETTINGS, rc, "cannot read '%s': %s", path, strerror(-rc));
	edit(buf_str(&old), key, value, &new);

	/* Lines are edited as text, so that comments stay; reading it back shows whether YAML
	 * agrees. */
	struct settings check = {0};

	rc = settings_parse(&check, buf_str(&new), new.len, path, SETTINGS_USER, e);
	bool same = value ? check.v[i].value && str_eq(check.v[i].value, value) : !check.v[i].value;

	settings_done(&check);
	if (rc)
		return rc;
	if (!same)
		return err_set(e, ERR_SETTINGS, -EINVAL,
			       "'%s' is not in the simple form 'key: value'; edit it by hand",
			       path);
	_free_ char *dir = mem_strndup(path, (size_t)(strrchr(path, '/') - path));

	rc = path_mkdirs(AT_FDCWD, dir, 0755);
	if (!rc)
		rc = path_replace(AT_FDCWD, path, buf_str(&new), new.len, 0644, true);
	return rc < 0 ? err_set(e, rc == -EACCES ? ERR_DENIED : ERR_SYS, rc,
				"cannot write '%s': %s", path, strerror(-rc))
		      : 0;
}
