/* Opening and closing: names become options, options become nodes, and a node opens what is below it.
 *
 * A format or filter lies in its child "file". Where options have none, the filename stands for it:
 * the protocol is that of the name's prefix, a plain path is a host file. The backing chain is opened
 * after the image, each link read-only; its length is bounded, and a file that comes twice makes it
 * circular. */
#include "disk/node_int.h"
#include "disk/optstr.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "disk/host.h"

#define PROBE_BYTES 2048

static void drop(json_t **v)
{
	json_decref(*v);
}
#define _json_ _cleanup_(drop)

/* --- drivers --- */

const struct disk_driver *disk_driver_at(unsigned i)
{
	unsigned n = 0;

	while (disk_drivers[n])
		n++;
	return i < n ? disk_drivers[i] : NULL;
}

const struct disk_driver *disk_driver_find(const char *name)
{
	for (unsigned i = 0; disk_drivers[i]; i++) {
		const struct disk_driver *drv = disk_drivers[i];

		if (str_eq(drv->name, name))
			return drv;
		for (const char *const *a = drv->aliases; a && *a; a++)
			if (str_eq(*a, name))
				return drv;
	}
	return NULL;
}

/* "nbd:" of nbd://host, NULL for a path: a prefix ends at the first ':' and has no '/'. */
static const char *prefix_end(const char *name)
{
	const char *colon = strchr(name, ':'), *slash = strchr(name, '/');

	return colon && colon > name && (!slash || colon < slash) ? colon : NULL;
}

const struct disk_driver *disk_protocol_of(const char *name)
{
	const char *end = prefix_end(name);

	if (!end)
		return &disk_driver_host;
	for (unsigned i = 0; disk_drivers[i]; i++) {
		for (const char *const *p = disk_drivers[i]->prefixes; p && *p; p++)
			if (strlen(*p) == (size_t)(end - name) &&
			    !strncmp(*p, name, (size_t)(end - name)))
				return disk_drivers[i];
	}
	return NULL;
}

/* --- names --- */

char *disk_path_beside(const char *base, const char *name)
{
	const char *slash = base ? strrchr(base, '/') : NULL;

	if (*name == '/' || prefix_end(name) || !slash)
		return mem_strdup(name);
	return mem_printf("%.*s%s", (int)(slash + 1 - base), base, name);
}

/* The name of the host file below, which relative names are beside; NULL where there is none. */
static const char *base_name(const struct disk *d)
{
	while (d->drv->kind != DISK_KIND_PROTOCOL && d->file)
		d = d->file;
	return d->drv == &disk_driver_host ? d->filename : NULL;
}

char *disk_backing_path(const struct disk *d)
{
	return d->backing_name ? disk_path_beside(base_name(d), d->backing_name) : NULL;
}

/* Keys of the node's options that say more than a name does. */
static size_t extra_keys(const struct disk *d, const char *name_key)
{
	return json_object_size(d->options) - (json_object_get(d->options, name_key) != NULL) -
	       (json_object_get(d->options, "driver") != NULL);
}

/* {driver: X, file: {driver: "file", filename: F}} or less: F says it all. */
static const char *plain_name(const struct disk *d)
{
	while (d->file && !extra_keys(d, "file"))
		d = d->file;
	return d->drv == &disk_driver_host && !extra_keys(d, "filename") ? d->filename : NULL;
}

const char *disk_filename(struct disk *d)
{
	if (d->filename)
		return d->filename;
	const char *plain = plain_name(d);

	if (plain) {
		d->filename = mem_strdup(plain);
		return d->filename;
	}
	char *text = json_dumps(d->options, JSON_COMPACT);

	d->filename = mem_printf("json:%s", text ? text : "{}");
	free(text);
	return d->filename;
}

static int parse_json_name(const char *text, json_t **ret_o, struct err *e)
{
	json_error_t je;
	_buf_ struct buf strict = {0};

	optstr_requote(&strict, text);
	_json_ json_t *flat = json_loads(buf_str(&strict), JSON_REJECT_DUPLICATES, &je);

	if (!flat)
		return err_set(e, ERR_DISK_OPTION, -EINVAL, "Could not parse the JSON options: %s",
			       je.text);
	if (!json_is_object(flat))
		return err_set(e, ERR_DISK_OPTION, -EINVAL, "Invalid JSON object given");
	return disk_opts_nest(flat, ret_o, e);
}

/* --- locks --- */

void disk_set_locks(struct disk *d, enum disk_role role)
{
	const struct disk *p = d->parent;
	bool writable = d->flags & DISK_WRITE;

	switch (role) {
	case DISK_ROLE_TOP:
		d->perm = d->flags & DISK_NO_IO ? 0 : DISK_PERM_CONSISTENT_READ;
		d->perm |= writable ? DISK_PERM_WRITE : 0;
		d->perm |= d->flags & DISK_RESIZE ? DISK_PERM_RESIZE : 0;
		d->shared = DISK_PERM_ALL;
		break;
	case DISK_ROLE_FILTERED:
		d->perm = p->perm;
		d->shared = p->shared;
		break;
	case DISK_ROLE_FILE:
		d->perm = p->perm | (d->flags & DISK_NO_IO ? 0 : DISK_PERM_CONSISTENT_READ);
		d->perm |= writable ? DISK_PERM_WRITE | DISK_PERM_RESIZE : 0;
		d->shared = p->shared & ~(unsigned)(DISK_PERM_WRITE | DISK_PERM_RESIZE);
		break;
	case DISK_ROLE_DATA:
		d->perm = p->perm;
		d->perm |= p->perm & DISK_PERM_WRITE ? DISK_PERM_RESIZE : 0;
		d->shared = p->shared & ~(unsigned)(DISK_PERM_WRITE | DISK_PERM_RESIZE);
		break;
	case DISK_ROLE_BACKING:
		d->perm = d->flags & DISK_NO_IO ? 0 : DISK_PERM_CONSISTENT_READ;
		d->shared = DISK_PERM_CONSISTENT_READ | DISK_PERM_WRITE_UNCHANGED;
		break;
	}
	if (d->flags & DISK_SHARE)
		d->shared = DISK_PERM_ALL;
}

/* --- opening --- */

static void node_free(struct disk *d)
{
	json_decref(d->options);
	free(d->backing_name);
	free(d->backing_format);
	free(d->filename);
	free(d->state);
	free(d);
}

/* Options that any node takes; what they say is in flags afterwards. */
static int take_common(json_t *o, unsigned *flags, struct err *e)
{
	static const char *const discard[] = {"ignore", "off", "unmap", "on", NULL};
	_json_ json_t *cache = NULL;
	_free_ char *node_name = NULL, *detect = NULL;
	bool b, direct = *flags & DISK_DIRECT, no_flush = *flags & DISK_NO_FLUSH;
	unsigned i;

	if (disk_opts_take_str(o, "node-name", &node_name, e) < 0)
		return e ? e->rc : -EINVAL;
	if (disk_opts_take_bool(o, "auto-read-only", &b, e) < 0)
		return e ? e->rc : -EINVAL;
	int rc = disk_opts_take_bool(o, "read-only", &b, e);

	if (rc < 0)
		return rc;
	if (rc && b)
		*flags &= ~(unsigned)DISK_WRITE;
	rc = disk_opts_take_bool(o, "force-share", &b, e);
	if (rc < 0)
		return rc;
	if (rc && b && *flags & DISK_WRITE)
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "force-share=on can only be used with read-only images");
	if (rc && b)
		*flags |= DISK_SHARE;
	rc = disk_opts_take_enum(o, "discard", discard, &i, e);
	if (rc < 0)
		return rc;
	if (rc)
		*flags = (*flags & ~(unsigned)DISK_UNMAP) | (i >= 2 ? DISK_UNMAP : 0);
	rc = disk_opts_take_str(o, "detect-zeroes", &detect, e);
	if (rc < 0)
		return rc;
	if (rc && !str_eq(detect, "off"))
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP, "detect-zeroes=%s is not supported",
			       detect);
	rc = disk_opts_take_object(o, "cache", &cache, e);
	if (rc < 0)
		return rc;
	if (rc && (disk_opts_take_bool(cache, "direct", &direct, e) < 0 ||
		   disk_opts_take_bool(cache, "no-flush", &no_flush, e) < 0))
		return e ? e->rc : -EINVAL;
	*flags &= ~(unsigned)(DISK_DIRECT | DISK_NO_FLUSH);
	*flags |= (direct ? DISK_DIRECT : 0) | (no_flush ? DISK_NO_FLUSH : 0);
	return 0;
}

/* "file" of d: the object in o, else the filename. */
static int open_file(struct disk *d, json_t *o, const char *filename, bool raw, struct err *e)
{
	_json_ json_t *fo = NULL;
	int rc = disk_opts_take_object(o, "file", &fo, e);

	if (rc < 0)
		return rc;
	if (!rc && !filename)
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "A block device must be specified for \"file\"");
	struct disk_opening in = {
	    .ctx = d->ctx,
	    .filename = rc ? NULL : filename,
	    .o = rc ? json_incref(fo) : json_object(),
	    .flags = d->flags & ~(unsigned)(DISK_PROBE | DISK_NO_BACKING | DISK_CHECK),
	    .role = raw || d->drv->kind == DISK_KIND_FILTER ? DISK_ROLE_FILTERED : DISK_ROLE_FILE,
	    .parent = d,
	};

	if (d->drv->kind == DISK_KIND_FILTER)
		in.flags |= d->flags & (DISK_PROBE | DISK_NO_BACKING);
	else if (!json_object_get(in.o, "driver") && rc) {
		const char *name = json_string_value(json_object_get(in.o, "filename"));
		const struct disk_driver *p = name ? disk_protocol_of(name) : &disk_driver_host;

		if (p)
			json_object_set_new(in.o, "driver", json_string(p->name));
	}
	return disk_open_node(&in, &d->file, e);
}

/* Looks at the beginning of what the options name. */
static int probe(struct disk_opening *in, const struct disk_driver **ret_drv, struct err *e)
{
	uint8_t buf[PROBE_BYTES] = {0};
	_json_ json_t *fo = json_deep_copy(json_object_get(in->o, "file"));
	struct disk_opening file = {
	    .ctx = in->ctx,
	    .filename = fo ? NULL : in->filename,
	    .o = fo ? json_incref(fo) : json_object(),
	    .flags = (in->flags | DISK_SHARE) & ~(unsigned)(DISK_WRITE | DISK_PROBE | DISK_NO_IO),
	    .role = DISK_ROLE_TOP,
	};
	const char *name =
	    in->filename ? in->filename : json_string_value(json_object_get(fo, "filename"));
	struct disk *d;

	if (!json_object_get(file.o, "driver")) {
		const struct disk_driver *p = name ? disk_protocol_of(name) : &disk_driver_host;

		if (!p) {
			json_decref(file.o);
			return err_set(e, ERR_DISK_OPTION, -EINVAL, "Unknown protocol '%.*s'",
				       (int)strcspn(name, ":"), name);
		}
		json_object_set_new(file.o, "driver", json_string(p->name));
	}
	int rc = disk_open_node(&file, &d, e);

	if (rc < 0)
		return rc;
	size_t len = (size_t)MIN(disk_size(d), (uint64_t)sizeof(buf));

	rc = len ? disk_pread(d, 0, buf, len) : 0;
	disk_close(d);
	if (rc < 0)
		return err_set(e, ERR_DISK_IO, rc,
			       "Could not read image for determining its format: %s",
			       strerror(-rc));
	int best = 0;

	*ret_drv = &disk_driver_raw;
	for (unsigned i = 0; disk_drivers[i]; i++) {
		int score =
		    disk_drivers[i]->probe ? disk_drivers[i]->probe(buf, len, name ? name : "") : 0;

		if (score > best) {
			best = score;
			*ret_drv = disk_drivers[i];
		}
	}
	return 0;
}

/* Which driver the options or, where that is allowed, the content asks for. */
static int choose_driver(struct disk_opening *in, const struct disk_driver **ret_drv, struct err *e)
{
	const char *name = json_string_value(json_object_get(in->o, "driver"));

	if (name) {
		*ret_drv = disk_driver_find(name);
		if (!*ret_drv)
			return err_set(e, ERR_DISK_OPTION, -EINVAL, "Unknown driver '%s'", name);
		return 0;
	}
	/* Below a node, and not in a chain or a filter, a name without format is a protocol's. */
	if (in->parent && in->filename && in->role != DISK_ROLE_BACKING &&
	    !(in->flags & DISK_PROBE)) {
		*ret_drv = disk_protocol_of(in->filename);
		if (!*ret_drv)
			return err_set(e, ERR_DISK_OPTION, -EINVAL, "Unknown protocol '%.*s'",
				       (int)strcspn(in->filename, ":"), in->filename);
		return 0;
	}
	if (!in->filename && !json_object_get(in->o, "file"))
		return err_set(e, ERR_DISK_OPTION, -EINVAL, "Must specify either driver or file");
	if (!(in->flags & DISK_PROBE))
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "The format must be named; content is not looked at here");
	return probe(in, ret_drv, e);
}

static int open_backing(struct disk *d, json_t *o, struct err *e);

/* The name of a protocol's node is in its options, or becomes part of them. */
static int name_to_options(const struct disk_driver *drv, struct disk_opening *in, struct err *e)
{
	if (!in->filename)
		return 0;
	if (drv->parse_name && prefix_end(in->filename))
		return drv->parse_name(in->filename, in->o, e);
	return json_object_set_new(in->o, "filename", json_string(in->filename));
}

static int left_over(const struct disk *d, json_t *o, struct err *e)
{
	const char *key = json_object_iter_key(json_object_iter(o));

	if (!key)
		return 0;
	if (d->drv->kind == DISK_KIND_PROTOCOL)
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "Block protocol '%s' doesn't support the option '%s'", d->drv->name,
			       key);
	return err_set(e, ERR_DISK_OPTION, -EINVAL,
		       "Block format '%s' does not support the option '%s'", d->drv->name, key);
}

static int open_with(struct disk *d, struct disk_opening *in, json_t *backing, struct err *e)
{
	int rc;

	if (d->drv->kind != DISK_KIND_PROTOCOL) {
		rc = open_file(d, in->o, in->filename, d->drv == &disk_driver_raw, e);
		if (rc < 0)
			return rc;
	}
	if (d->flags & DISK_WRITE && !d->drv->pwritev)
		rc = err_set(e, ERR_DISK_READONLY, -ENOTSUP, "Format '%s' can only be read",
			     d->drv->name);
	else
		rc = d->drv->open(d, in->o, e);
	if (rc < 0) {
		disk_close(d->file);
		return rc;
	}
	rc = left_over(d, in->o, e);
	if (rc == 0)
		rc = open_backing(d, backing, e);
	if (rc < 0) {
		/* disk_close() would flush; nothing was written. */
		d->drv->close(d);
		disk_close(d->backing);
		disk_close(d->file);
	}
	return rc;
}

int disk_open_node(struct disk_opening *in, struct disk **ret_disk, struct err *e)
{
	_json_ json_t *o = in->o, *backing = NULL;
	const struct disk_driver *drv;
	int rc = choose_driver(in, &drv, e);

	if (rc < 0)
		return rc;
	struct disk *d = mem_alloc(sizeof(*d));

	json_object_del(o, "driver");
	d->ctx = in->ctx;
	d->drv = drv;
	d->parent = in->parent;
	d->flags = in->flags;
	d->align = 1;
	d->filename = in->filename ? mem_strdup(in->filename) : NULL;
	d->state = mem_alloc(drv->state_size ? drv->state_size : 1);
	if (in->parent)
		d->chain_depth = in->parent->chain_depth + (in->role == DISK_ROLE_BACKING);
	d->growable = drv->kind == DISK_KIND_PROTOCOL;
	rc = take_common(o, &d->flags, e);
	if (rc == 0 && drv->kind == DISK_KIND_PROTOCOL)
		rc = name_to_options(drv, in, e);
	d->options = json_deep_copy(o);
	json_object_set_new(d->options, "driver", json_string(drv->name));
	disk_set_locks(d, in->role);
	backing = json_incref(json_object_get(o, "backing"));
	json_object_del(o, "backing");
	if (rc == 0)
		rc = open_with(d, in, backing, e);
	if (rc < 0) {
		node_free(d);
		return rc;
	}
	*ret_disk = d;
	return 0;
}

int disk_open(struct disk_ctx *ctx, const char *filename, const json_t *options, unsigned flags,
	      struct disk **ret_disk, struct err *e)
{
	struct disk_opening in = {.ctx = ctx, .flags = flags, .role = DISK_ROLE_TOP};
	const char *json = filename ? str_after(filename, "json:") : NULL;
	int rc;

	if (json) {
		rc = parse_json_name(json, &in.o, e);
		if (rc < 0)
			return rc;
	} else {
		in.filename = filename;
		in.o = json_object();
	}
	if (options) {
		_json_ json_t *copy = json_deep_copy(options);

		json_object_update(in.o, copy);
	}
	return disk_open_node(&in, ret_disk, e);
}

/* --- children --- */

/* Has this host file been seen between the top of the chain and d? */
static bool in_chain(const struct disk *d, const char *path)
{
	for (; d; d = d->parent) {
		const char *name = d->chain_depth || !d->parent ? base_name(d) : NULL;

		if (name && str_eq(name, path))
			return true;
	}
	return false;
}

static int open_named_backing(struct disk *d, const char *path, json_t *o, struct err *e)
{
	struct disk_opening in = {
	    .ctx = d->ctx,
	    .filename = json_object_get(o, "file") ? NULL : path,
	    .o = json_incref(o),
	    .flags = d->flags & ~(unsigned)(DISK_WRITE | DISK_CHECK | DISK_RESIZE),
	    .role = DISK_ROLE_BACKING,
	    .parent = d,
	};
	const char *json = path ? str_after(path, "json:") : NULL;

	if (json) {
		_json_ json_t *more = NULL;
		int rc = parse_json_name(json, &more, e);

		if (rc < 0)
			return rc;
		json_object_update_missing(in.o, more);
		in.filename = NULL;
	}
	if (d->backing_format && !json_object_get(in.o, "driver"))
		json_object_set_new(in.o, "driver", json_string(d->backing_format));
	return disk_open_node(&in, &d->backing, e);
}

/* backing: the option, or NULL. An empty name or null: none. */
static int open_backing(struct disk *d, json_t *backing, struct err *e)
{
	_json_ json_t *o = json_is_object(backing) ? json_deep_copy(backing) : json_object();
	const char *text = json_string_value(backing);
	_free_ char *path = disk_backing_path(d);

	if (d->flags & DISK_NO_BACKING || json_is_null(backing) || (text && !*text))
		return 0;
	if (text)
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "Parameter 'backing' expects an object, not the name of a node");
	if (!path && !json_object_size(o))
		return 0;
	if (d->flags & DISK_UNTRUSTED && !backing)
		return err_set(e, ERR_DISK_UNTRUSTED, -EACCES,
			       "The image is not trusted, and names the backing file '%s'", path);
	if (d->chain_depth + 1 >= DISK_CHAIN_MAX)
		return err_set(e, ERR_DISK_CHAIN, -ELOOP,
			       "The backing chain is longer than %d images", DISK_CHAIN_MAX);
	if (path && !json_object_get(o, "file") && in_chain(d, path))
		return err_set(e, ERR_DISK_CHAIN, -ELOOP,
			       "Backing file '%s' creates an infinite loop", path);
	int rc = open_named_backing(d, path, o, e);

	return rc < 0 ? err_prefix(e, "Could not open backing file: ") : 0;
}

int disk_open_child(struct disk *d, json_t *o, const char *key, const char *name,
		    const char *format, struct disk **ret_child, struct err *e)
{
	_json_ json_t *co = NULL;
	int rc = disk_opts_take_object(o, key, &co, e);

	if (rc < 0)
		return rc;
	if (!rc && !name) {
		*ret_child = NULL;
		return 0;
	}
	if (!rc && d->flags & DISK_UNTRUSTED)
		return err_set(e, ERR_DISK_UNTRUSTED, -EACCES,
			       "The image is not trusted, and names the file '%s'", name);
	_free_ char *path = name ? disk_path_beside(base_name(d), name) : NULL;
	struct disk_opening in = {
	    .ctx = d->ctx,
	    .filename = rc ? NULL : path,
	    .o = rc ? json_incref(co) : json_object(),
	    .flags = d->flags & ~(unsigned)(DISK_PROBE | DISK_NO_BACKING | DISK_CHECK),
	    .role = DISK_ROLE_DATA,
	    .parent = d,
	};

	if (!json_object_get(in.o, "driver")) {
		const char *fn = json_string_value(json_object_get(in.o, "filename"));
		const struct disk_driver *p = disk_protocol_of(fn ? fn : path ? path : "");

		json_object_set_new(in.o, "driver",
				    json_string(format ? format
						: p    ? p->name
						       : "file"));
	}
	return disk_open_node(&in, ret_child, e);
}

/* --- closing --- */

int disk_close(struct disk *d)
{
	int rc = 0;

	if (!d)
		return 0;
	if (d->flags & DISK_WRITE && !(d->flags & DISK_NO_IO))
		rc = disk_flush(d);
	int close_rc = d->drv->close(d);

	rc = rc < 0 ? rc : close_rc;
	disk_close(d->backing);
	close_rc = disk_close(d->file);
	rc = rc < 0 ? rc : close_rc;
	node_free(d);
	return rc;
}

/* Locks follow the flags, from the top down; d->perm is what the host driver takes. */
int disk_reopen_node(struct disk *d, unsigned flags, enum disk_role role, struct err *e)
{
	unsigned before = d->flags, perm = d->perm, shared = d->shared;
	unsigned file_before = d->file ? d->file->flags : 0;
	bool widening = flags & DISK_WRITE && !(before & DISK_WRITE);
	enum disk_role below = d->drv->kind == DISK_KIND_FILTER || d->drv == &disk_driver_raw
				   ? DISK_ROLE_FILTERED
				   : DISK_ROLE_FILE;
	int rc = 0;

	if (widening && !d->drv->pwritev)
		return err_set(e, ERR_DISK_READONLY, -ENOTSUP, "Format '%s' can only be read",
			       d->drv->name);
	if (!widening && d->drv->kind != DISK_KIND_PROTOCOL && d->drv->reopen)
		rc = d->drv->reopen(d, flags, e);
	if (rc < 0)
		return rc;
	d->flags = flags;
	disk_set_locks(d, role);
	if (d->file)
		rc = disk_reopen_node(
		    d->file, flags & ~(unsigned)(DISK_PROBE | DISK_NO_BACKING | DISK_CHECK), below,
		    e);
	if (rc == 0 && d->drv->reopen && (widening || d->drv->kind == DISK_KIND_PROTOCOL)) {
		d->flags = before;
		rc = d->drv->reopen(d, flags, e);
		d->flags = flags;
	}
	if (rc < 0) {
		d->flags = before;
		d->perm = perm;
		d->shared = shared;
		/* Narrower than it is now; the locks of before are its own. */
		if (d->file && d->file->flags != file_before)
			disk_reopen_node(d->file, file_before, below, NULL);
	}
	return rc;
}

int disk_reopen(struct disk *d, unsigned flags, struct err *e)
{
	int rc = d->flags & DISK_WRITE ? disk_flush(d) : 0;

	if (rc < 0)
		return err_set(e, ERR_DISK_IO, rc, "Could not flush '%s': %s", disk_filename(d),
			       strerror(-rc));
	return disk_reopen_node(d, flags, DISK_ROLE_TOP, e);
}

/* --- queries --- */

uint64_t disk_size(const struct disk *d)
{
	return d->size;
}

const char *disk_format(const struct disk *d)
{
	return d->drv->name;
}

struct disk *disk_backing(const struct disk *d)
{
	return d->backing;
}

struct disk *disk_file(const struct disk *d)
{
	return d->file;
}

bool disk_writable(const struct disk *d)
{
	return d->flags & DISK_WRITE;
}

const char *disk_backing_name(const struct disk *d)
{
	return d->backing_name;
}

const char *disk_backing_format(const struct disk *d)
{
	return d->backing_format;
}
