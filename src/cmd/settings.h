/* Settings: /etc/viv/settings.yaml, then $XDG_CONFIG_HOME/viv/settings.yaml, then VIV_KEY in the
 * environment; the later one wins, and a flag of the command line above all. A file is one flat
 * mapping of the keys in settings_table. */
#ifndef CMD_SETTINGS_H
#define CMD_SETTINGS_H

#include "base/err.h"
#include "cmd/cli.h"

#define SETTINGS_FILE_MAX (64u << 10)

enum settings_source { SETTINGS_DEFAULT, SETTINGS_SYSTEM, SETTINGS_USER, SETTINGS_ENVIRONMENT };

/* The keys, described as flags are; ends with name == NULL. */
extern const struct cli_flag settings_table[];

#define SETTINGS_COUNT 5

struct settings {
	char *system_path, *user_path; /* owned; user_path NULL: no home */
	struct {
		char *value; /* owned; NULL: the table's fallback */
		enum settings_source source;
	} v[SETTINGS_COUNT];
};

/* Reads all sources; a missing file is none. A key that is not in the table, or a value that does
 * not suit it, is an error that names file, line and what would do. After a failure what could be
 * read is there, and done is still due. */
int settings_load(struct settings *s, struct err *e);
void settings_done(struct settings *s);

/* The row of a key in settings_table, or -1. */
int settings_find(const char *key);
/* Effective value; NULL where neither set nor defaulted. key must be in the table. */
const char *settings_get(const struct settings *s, const char *key);
/* "default", or the file or variable that the value is from. Returns owned. */
char *settings_origin(const struct settings *s, const char *key);

/* Writes one key to the user's file (system: to the host's), keeping the other lines and their
 * comments. NULL value: removes the key. */
int settings_set(const struct settings *s, bool system, const char *key, const char *value,
		 struct err *e);

/* Parses one file's text, for tests and the fuzz target too; name is for messages. */
int settings_parse(struct settings *s, const char *text, size_t len, const char *name,
		   enum settings_source source, struct err *e);

#endif
