/* What the spec_*.c files share: a reader of JSON driven by tables. A table row says which key of
 * an object goes to which member of which struct, of which kind and range; the engine (spec_read.c)
 * checks type and range, copies, and names the field's path in every message. What a table cannot
 * say is done by an object's check function. */
#ifndef CONTAINER_SPEC_INT_H
#define CONTAINER_SPEC_INT_H

#include "container/spec.h"

#include <jansson.h>

struct spec_reader {
	struct spec *s;
	struct err *e;
	const char *doc; /* "config.json": begins every message */
};

/* Where a value stands in the document; the nodes live on the stacks of the readers. */
struct spec_at {
	const struct spec_at *up; /* NULL: the document itself */
	const char *key;          /* NULL: element `index` of a list */
	size_t index;
};

typedef int spec_read_fn(struct spec_reader *r, const struct spec_at *at, const json_t *v,
			 void *base);

enum spec_kind {
	K_BOOL,
	K_UINT, /* 1 to 8 bytes, range min…max where max is not 0 */
	K_INT,
	K_STR,   /* char *, copied */
	K_STRV,  /* char **, NULL-terminated */
	K_NAME,  /* a string of `names`, stored as its value */
	K_FLAGS, /* a list of strings of `names`, or-ed into the member */
	K_KV,    /* an object of strings: struct spec_kv * and a count */
	K_OBJ,   /* an object, read by `obj` into the struct at `off` */
	K_LIST,  /* a list: owned array and a count, each element read by `elem` */
	K_FN,    /* fn reads it; base is the enclosing struct */
};

struct spec_name {
	const char *name; /* NULL ends a table */
	uint64_t value;
};

struct spec_field {
	const char *key;
	enum spec_kind kind;
	uint16_t off, size; /* AT() */
	uint16_t count;     /* COUNT() */
	uint16_t has;       /* HAS(): offset + 1 of a bool that is set when the field is given */
	uint32_t bit;       /* enum spec_res, set in struct spec_resources.has */
	bool required;
	int64_t min, max;
	const struct spec_name *names;
	const struct spec_object *obj;
	const struct spec_field *elem;
	spec_read_fn *fn;
};

#define AT(T, m)    .off = offsetof(T, m), .size = sizeof(((T *)0)->m)
#define COUNT(T, m) .count = offsetof(T, m)
#define HAS(T, m)   .has = offsetof(T, m) + 1

struct spec_object {
	const struct spec_field *fields; /* ends with key == NULL */
	spec_read_fn *check;             /* after the fields; may be NULL */
};

extern const struct spec_object spec_process_object;   /* struct spec_process */
extern const struct spec_object spec_mount_object;     /* struct spec_mount */
extern const struct spec_object spec_linux_object;     /* struct spec */
extern const struct spec_object spec_resources_object; /* struct spec_resources */
extern const struct spec_object spec_seccomp_object;   /* struct spec_seccomp */
extern const struct spec_field spec_idmap_elem;        /* struct spec_idmap */

/* Reads one value as the row f says. */
int spec_read(struct spec_reader *r, const struct spec_at *at, const struct spec_field *f,
	      const json_t *v, void *base);
/* Reads the object v by o's table, then runs its check. */
int spec_read_object(struct spec_reader *r, const struct spec_at *at, const struct spec_object *o,
		     const json_t *v, void *base);
/* -EINVAL unless v is a list (object) of at most SPEC_LIST_MAX elements. */
int spec_expect_list(struct spec_reader *r, const struct spec_at *at, const json_t *v);
int spec_expect_map(struct spec_reader *r, const struct spec_at *at, const json_t *v);

/* SPEC-VALUE: "config.json: linux.namespaces[2].type: " + message. key: a member of the object at
 * `at`, or NULL. Returns -EINVAL. */
int spec_fail(struct spec_reader *r, const struct spec_at *at, const char *key, const char *fmt,
	      ...) __attribute__((format(printf, 4, 5)));

const struct spec_name *spec_name_find(const struct spec_name *names, const char *name);

/* "0-3,7" with numbers below 65536: the list formats of cpuset(7). */
bool spec_is_cpu_list(const char *s);

/* Contradictions between fields, after the whole document was read. */
int spec_check(struct spec_reader *r);

/* private, rslave … of mounts and rootfsPropagation: MS_*, MS_REC. */
extern const struct spec_name spec_propagation_names[];

#endif
