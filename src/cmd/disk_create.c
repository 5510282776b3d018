/* viv disk create: an empty image, or one on top of another. */
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/disk.h"
#include "cmd/disk_create.h"
#include "disk/driver.h"
#include "disk/opts.h"
#include "disk/optstr.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

/* The order in which qemu-img shows options; others follow in their table's order. */
static const char *const shown_order[] = {
    "encryption",
    "encrypt.format",
    "encrypt.key-secret",
    "encrypt.cipher-alg",
    "encrypt.cipher-mode",
    "encrypt.ivgen-alg",
    "encrypt.ivgen-hash-alg",
    "encrypt.hash-alg",
    "encrypt.iter-time",
    "cluster_size",
    "extended_l2",
    "preallocation",
    "compression_type",
    "size",
    "compat",
    "backing_file",
    "backing_fmt",
    "data_file",
    "data_file_raw",
    "lazy_refcounts",
    "refcount_bits",
};

static void show_value(struct buf *b, const char *name, const json_t *v)
{
	if (json_is_boolean(v)) {
		buf_addf(b, " %s=%s", name, json_is_true(v) ? "on" : "off");
	} else if (json_is_integer(v)) {
		buf_addf(b, " %s=%" JSON_INTEGER_FORMAT, name, json_integer_value(v));
	} else if (json_is_string(v)) {
		buf_addf(b, " %s=", name);
		optstr_escape(b, json_string_value(v));
	}
}

/* What is given, else the table's default as the table would read it. */
static void show_option(struct buf *b, const struct disk_opt *o, const json_t *opts)
{
	const json_t *given = json_object_get(opts, o->name);
	uint64_t bytes;

	if (given)
		show_value(b, o->name, given);
	else if (o->def && o->type == DISK_OPT_SIZE && !disk_size_parse(o->def, 'b', &bytes))
		buf_addf(b, " %s=%" PRIu64, o->name, bytes);
	else if (o->def)
		buf_addf(b, " %s=%s", o->name, o->def);
}

static bool in_shown_order(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(shown_order); i++)
		if (str_eq(name, shown_order[i]))
			return true;
	return false;
}

void disk_create_show(struct buf *b, const struct disk_opt *table, const json_t *opts)
{
	for (size_t i = 0; i < ARRAY_SIZE(shown_order); i++)
		for (const struct disk_opt *o = table; o->name; o++)
			if (str_eq(o->name, shown_order[i]))
				show_option(b, o, opts);
	for (const struct disk_opt *o = table; o->name; o++)
		if (!in_shown_order(o->name))
			show_option(b, o, opts);
}

static const char *opt_text(const json_t *opts, const char *key)
{
	return json_string_value(json_object_get(opts, key));
}

/* -b and -F, and -o backing_file and backing_fmt, are the same options. */
static int take_backing(const struct tool *t, const char *filename, json_t *opts)
{
	const char *file = cli_string(t->cli, "backing"),
		   *format = cli_string(t->cli, "backing-format");

	if (file)
		json_object_set_new(opts, "backing_file", json_string(file));
	if (format)
		json_object_set_new(opts, "backing_fmt", json_string(format));
	file = opt_text(opts, "backing_file");
	format = opt_text(opts, "backing_fmt");
	if (file && !*file)
		return tool_error(t, "%s: Expected backing file name, got empty string", filename);
	if (file && str_eq(file, filename))
		return tool_error(t,
				  "%s: Error: Trying to create an image with the same filename as "
				  "the backing file",
				  filename);
	if (format && !disk_driver_find(format))
		return tool_error(t, "%s: Unknown backing file format '%s'", filename, format);
	return 0;
}

/* The backing file has to exist and be what it is said to be; its size serves where none is given. */
static int look_at_backing(const struct tool *t, const char *filename, json_t *opts)
{
	const char *file = opt_text(opts, "backing_file"), *format = opt_text(opts, "backing_fmt");
	_free_ char *path = disk_path_beside(filename, file);
	json_t *options = format ? json_pack("{s:s}", "driver", format) : NULL;
	struct disk *d;
	struct err e = {0};
	int rc =
	    disk_open(t->ctx, path, options, format ? DISK_NO_IO : DISK_NO_IO | DISK_PROBE, &d, &e);

	json_decref(options);
	if (rc) {
		err_prefix(&e, "%s: ", filename);
		tool_fail(t, &e);
		fputs("Could not open backing image.\n", stderr);
		return 1;
	}
	if (!format) {
		tool_error(t, "%s: Backing file specified without backing format", filename);
		fprintf(stderr, "Detected format of %s.\n", disk_format(d));
		disk_close(d);
		return 1;
	}
	if (!json_object_get(opts, "size"))
		json_object_set_new(opts, "size", json_integer((json_int_t)disk_size(d)));
	disk_close(d);
	return 0;
}

int disk_create_image(const struct tool *t, const struct disk_driver *drv, const char *filename,
		      json_t *opts, bool unsafe)
{
	_free_ struct disk_opt *table = disk_create_opts(drv);
	_buf_ struct buf shown = {0};
	struct err e = {0};
	int rc;

	if (disk_opts_check(opts, table, &e)) {
		err_prefix(&e, "%s: ", filename);
		return tool_fail(t, &e);
	}
	if (opt_text(opts, "backing_file") && !unsafe && look_at_backing(t, filename, opts))
		return 1;
	if (!json_object_get(opts, "size"))
		return tool_error(t, "%s: Image creation needs a size parameter", filename);
	disk_create_show(&shown, table, opts);
	tool_say(t, "Formatting '%s', fmt=%s%s\n", filename, drv->name, buf_str(&shown));
	rc = disk_create(t->ctx, drv, filename, opts, 0, &e);
	if (rc == -EFBIG && e.code == ERR_NONE)
		return tool_error(t, "%s: The image size is too large for file format '%s'%s",
				  filename, drv->name,
				  json_object_get(opts, "cluster_size")
				      ? " (try using a larger cluster size)"
				      : "");
	if (rc) {
		err_prefix(&e, "%s: ", filename);
		return tool_fail(t, &e);
	}
	return 0;
}

static int create(struct tool *t, const struct disk_driver *drv, json_t *opts)
{
	struct cli *c = t->cli;
	const char *filename = cli_argv(c)[0], *size = cli_argv(c)[1];
	uint64_t bytes;

	if (size && !tool_size(t, "image size", size, 0, INT64_MAX, &bytes))
		return 1;
	if (size && json_object_get(opts, "size"))
		return tool_error(t, "%s: The image size must be specified only once", filename);
	if (size)
		json_object_set_new(opts, "size", json_integer((json_int_t)bytes));
	return take_backing(t, filename, opts) ||
	       disk_create_image(t, drv, filename, opts, cli_bool(c, "unsafe"));
}

static int run(struct tool *t)
{
	struct cli *c = t->cli;
	const char *format = cli_string(c, "format");
	json_t *opts;
	struct err e = {0};
	int status = 0;
	_free_ char *list = tool_options(t, &status);

	if (status)
		return status;
	if (list && optstr_wants_help(list))
		return tool_options_help(t, format, cli_argv(c)[0], false);
	if (!cli_argc(c))
		return tool_usage(c, "Expecting image file name");
	if (cli_argc(c) > 2)
		return tool_usage(c, "Unexpected argument: %s", cli_argv(c)[2]);
	const struct disk_driver *drv = tool_driver(t, format);

	if (!drv)
		return 1;
	if (!drv->create_opts)
		return tool_error(t, "%s: Format driver '%s' does not support image creation",
				  cli_argv(c)[0], drv->name);
	if (optstr_parse(list ? list : "", NULL, &opts, &e))
		return tool_fail(t, &e);
	status = create(t, drv, opts);
	json_decref(opts);
	return status;
}

int disk_cmd_create(struct cli *c)
{
	return tool_run(c, run);
}
