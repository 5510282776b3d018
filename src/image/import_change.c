/* Dockerfile instructions as far as they describe an image (Docker's "docker import --change"): their
 * arguments in JSON or shell form become fields of the configuration (OCI image-spec 1.1, config.md).
 */
#include "image/import.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

static int refuse(struct err *e, const char *instruction, const char *why)
{
	return err_set(e, ERR_USAGE, -EINVAL, "the change '%s' %s", instruction, why);
}

/* ["a","b"], or a command line for the shell. */
static json_t *command(const char *args)
{
	json_t *list = *args == '[' ? json_loads(args, 0, NULL) : NULL;

	return json_is_array(list) ? list : json_pack("[s, s, s]", "/bin/sh", "-c", args);
}

/* Replaces KEY=… of the list. */
static void set_env(json_t *config, const char *key, const char *value)
{
	json_t *list = json_object_get(config, "Env"), *item;
	_free_ char *line = mem_printf("%s=%s", key, value);
	size_t i, len = strlen(key);

	if (!list)
		json_object_set_new(config, "Env", list = json_array());
	json_array_foreach (list, i, item) {
		const char *text = json_string_value(item);

		if (strncmp(text, key, len) || text[len] != '=')
			continue;
		json_array_set_new(list, i, json_string(line));
		return;
	}
	json_array_append_new(list, json_string(line));
}

static void set_member(json_t *config, const char *field, const char *key, json_t *value)
{
	json_t *object = json_object_get(config, field);

	if (!object)
		json_object_set_new(config, field, object = json_object());
	json_object_set_new(object, key, value);
}

/* The next word of *at without its quotes, or NULL. Returns owned. */
static char *next_word(const char **at)
{
	const char *p = *at + strspn(*at, " \t");
	char *word = mem_alloc(strlen(p) + 1), *to = word;
	char quote = 0;

	if (!*p) {
		free(word);
		return NULL;
	}
	for (; *p && (quote || !isblank((unsigned char)*p)); p++) {
		if (quote ? *p == quote : *p == '"' || *p == '\'')
			quote = quote ? 0 : *p;
		else
			*to++ = *p == '\\' && p[1] ? *++p : *p;
	}
	*at = p;
	return word;
}

/* KEY=VALUE…, or the old form KEY VALUE. */
static int each_pair(json_t *config, const char *instruction, const char *args, bool env,
		     struct err *e)
{
	const char *rest = args;

	for (;;) {
		_free_ char *word = next_word(&rest);
		char *eq = word ? strchr(word, '=') : NULL;
		const char *value = eq ? eq + 1 : word ? rest + strspn(rest, " \t") : NULL;

		if (!word)
			return 0;
		if (eq == word || (!eq && !*value))
			return refuse(e, instruction, "lacks KEY=VALUE");
		if (eq)
			*eq = '\0';
		if (env)
			set_env(config, word, value);
		else
			set_member(config, "Labels", word, json_string(value));
		if (!eq)
			return 0;
	}
}

static void each_word(json_t *config, const char *field, const char *args, const char *suffix)
{
	json_t *list = *args == '[' ? json_loads(args, 0, NULL) : NULL, *item;
	size_t i;

	json_array_foreach (list, i, item)
		if (json_is_string(item))
			set_member(config, field, json_string_value(item), json_object());
	if (!json_is_array(list)) {
		const char *rest = args;

		for (char *word; (word = next_word(&rest)); free(word)) {
			_free_ char *key =
			    mem_printf("%s%s", word, strchr(word, '/') ? "" : suffix);

			set_member(config, field, key, json_object());
		}
	}
	json_decref(list);
}

int import_change(json_t *config, const char *instruction, struct err *e)
{
	size_t len = strcspn(instruction, " \t");
	_free_ char *verb = mem_strndup(instruction, len);
	const char *args = instruction + len + strspn(instruction + len, " \t");
	static const struct {
		const char *verb, *field;
	} texts[] = {{"USER", "User"}, {"WORKDIR", "WorkingDir"}, {"STOPSIGNAL", "StopSignal"}};

	if (!*args)
		return refuse(e, instruction, "has no argument");
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		if (strcasecmp(verb, texts[i].verb))
			continue;
		json_object_set_new(config, texts[i].field, json_string(args));
		return 0;
	}
	if (!strcasecmp(verb, "CMD"))
		return json_object_set_new(config, "Cmd", command(args));
	if (!strcasecmp(verb, "ENTRYPOINT"))
		return json_object_set_new(config, "Entrypoint", command(args));
	if (!strcasecmp(verb, "ENV") || !strcasecmp(verb, "LABEL"))
		return each_pair(config, instruction, args, !strcasecmp(verb, "ENV"), e);
	if (!strcasecmp(verb, "EXPOSE") || !strcasecmp(verb, "VOLUME")) {
		bool expose = !strcasecmp(verb, "EXPOSE");

		each_word(config, expose ? "ExposedPorts" : "Volumes", args, expose ? "/tcp" : "");
		return 0;
	}
	return refuse(
	    e, instruction,
	    "is none of CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR");
}
