/* Options of nodes and of image creation: a JSON object with QEMU's key names. Values from a command
 * line are strings ("on", "64k"), those from json: names have their JSON types; the readers here
 * take both. A driver takes the keys that it knows out of the object; what is left at the end is a
 * mistake, and the opener says so, with the nearest right name.
 *
 * Nested form only: {"driver": "qcow2", "file": {"driver": "file", "filename": "x"}};
 * disk_opts_nest() makes it from dotted keys ("file.filename"). */
#ifndef DISK_OPTS_H
#define DISK_OPTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Each takes `key` out of o: 1 where it was there, 0 where not (*ret_ untouched), negative where its
 * value has the wrong form. Strings come owned. */
int disk_opts_take_str(json_t *o, const char *key, char **ret_value, struct err *e);
int disk_opts_take_bool(json_t *o, const char *key, bool *ret_value,
			struct err *e); /* on, off, yes, no, true, false, y, n */
int disk_opts_take_u64(json_t *o, const char *key, uint64_t *ret_value, struct err *e);
/* With QEMU's suffixes: 1024, 64k, 1.5G, b k M G T P E. */
int disk_opts_take_size(json_t *o, const char *key, uint64_t *ret_bytes, struct err *e);
/* One of names[] (NULL-terminated): its index. */
int disk_opts_take_enum(json_t *o, const char *key, const char *const *names, unsigned *ret_index,
			struct err *e);
/* A nested object, owned. */
int disk_opts_take_object(json_t *o, const char *key, json_t **ret_object, struct err *e);

/* QEMU's size syntax; default_unit 'b', 'k', 'M' … -EINVAL, -ERANGE. */
int disk_size_parse(const char *s, char default_unit, uint64_t *ret_bytes);

/* Turns dotted keys into nested objects and objects with keys 0, 1, … into arrays. Returns owned. */
int disk_opts_nest(const json_t *flat, json_t **ret_nested, struct err *e);

/* --- creation and amend options: the table of a driver --- */

enum disk_opt_type { DISK_OPT_STRING, DISK_OPT_BOOL, DISK_OPT_NUMBER, DISK_OPT_SIZE };

/* A table ends with a row whose name is NULL. */
struct disk_opt {
	const char *name; /* "cluster_size" */
	enum disk_opt_type type;
	const char *help; /* as qemu-img create -o help shows it */
	const char *def;  /* as text; NULL: none */
	bool amendable;
};

/* Checks opts against the table and gives each value its JSON type (BOOL: boolean, NUMBER and SIZE:
 * integer, STRING: string); defaults are not filled in. An unknown key is refused with the nearest
 * right one. o is changed in place. */
int disk_opts_check(json_t *o, const struct disk_opt *table, struct err *e);

#endif
