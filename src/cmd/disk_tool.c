#include "cmd/disk.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/disk_print.h"
#include "disk/driver.h"
#include "disk/opts.h"
#include "disk/optstr.h"
#include "os/path.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define SECRET_MAX_BYTES (1u << 20)

/* --- errors --- */

int tool_fail(const struct tool *t, const struct err *e)
{
	cli_fail(t->cli, e);
	return 1;
}

int tool_error(const struct tool *t, const char *fmt, ...)
{
	struct err e = {.rc = -EINVAL, .code = ERR_NONE};
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e.msg, sizeof(e.msg), fmt, ap);
	va_end(ap);
	return tool_fail(t, &e);
}

int tool_usage(const struct cli *c, const char *fmt, ...)
{
	const char *name = cli_program(c)->name;
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "%s: ", name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nTry '%s --help' for more information\n", name);
	return 1;
}

void tool_warn(const struct tool *t, const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "%s: warning: ", cli_program(t->cli)->name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

void tool_say(const struct tool *t, const char *fmt, ...)
{
	va_list ap;

	if (t->quiet)
		return;
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
}

/* --- begin and end --- */

static bool has_flag(const struct cli *c, const char *name)
{
	for (const struct cli_flag *f = cli_command(c)->flags; f && f->name; f++)
		if (str_eq(f->name, name))
			return true;
	return false;
}

static const char *text_of(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

/* "secret,id=ID,data=TEXT" or "…,file=NAME": QEMU's object of that type, in plain form. */
static int add_secret(struct tool *t, const json_t *o)
{
	const char *id = text_of(o, "id"), *data = text_of(o, "data"), *file = text_of(o, "file");
	const char *form = text_of(o, "format");
	_buf_ struct buf content = {0};

	if (!id)
		return tool_error(t, "Parameter 'id' is missing");
	if (text_of(o, "keyid"))
		return tool_error(t, "Secrets that are encrypted (keyid) are not supported");
	if (form && !str_eq(form, "raw"))
		return tool_error(t, "Secrets of format '%s' are not supported, only raw", form);
	if (!data == !file)
		return tool_error(t, data ? "'file' and 'data' are mutually exclusive"
					  : "Must provide 'file' or 'data'");
	if (file) {
		int rc = path_read(AT_FDCWD, file, &content, SECRET_MAX_BYTES);

		if (rc < 0)
			return tool_error(t, "Unable to read %s: %s", file, strerror(-rc));
		data = buf_str(&content);
	}
	disk_ctx_add_secret(t->ctx, id, data, file ? content.len : strlen(data));
	if (content.s)
		explicit_bzero(content.s, content.len);
	return 0;
}

static int add_object(struct tool *t, const char *text)
{
	json_t *o;
	struct err e = {0};
	int status;

	if (*text == '{') {
		json_error_t why;

		o = json_loads(text, 0, &why);
		if (!o)
			return tool_error(t, "Invalid JSON of an object: %s", why.text);
	} else if (optstr_parse(text, "qom-type", &o, &e)) {
		return tool_fail(t, &e);
	}
	const char *type = text_of(o, "qom-type");

	if (!type)
		status = tool_error(t, "Parameter 'qom-type' is missing");
	else if (!str_eq(type, "secret"))
		status = tool_error(t, "Objects of type '%s' are not supported, only secret", type);
	else
		status = add_secret(t, o);
	json_decref(o);
	return status;
}

int tool_run(struct cli *c, int (*run)(struct tool *t))
{
	struct tool t = {.cli = c, .quiet = has_flag(c, "quiet") && cli_bool(c, "quiet")};
	struct disk_ctx_options options = {.inline_writes = true};
	struct err e = {0};
	int status = 0;

	if (disk_ctx_new(&options, &t.ctx, &e))
		return tool_fail(&t, &e);
	if (has_flag(c, "object"))
		for (char *const *o = cli_list(c, "object"); *o && !status; o++)
			status = add_object(&t, *o);
	if (!status)
		status = run(&t);
	disk_ctx_free(t.ctx);
	return status;
}

/* --- images --- */

bool tool_cache(const char *mode, unsigned *flags)
{
	static const struct {
		const char *name;
		unsigned flags;
	} modes[] = {
	    {"none", DISK_DIRECT},
	    {"off", DISK_DIRECT},
	    {"writeback", 0},
	    {"unsafe", DISK_NO_FLUSH},
	    {"writethrough", DISK_THROUGH},
	    {"directsync", DISK_DIRECT | DISK_THROUGH},
	};

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		if (str_eq(mode, modes[i].name)) {
			*flags |= modes[i].flags;
			return true;
		}
	return false;
}

/* The nested options of a list "driver=…,file.filename=…". */
static int image_options(const char *text, json_t **ret, struct err *e)
{
	json_t *flat;
	int rc = optstr_parse(text, NULL, &flat, e);

	if (rc)
		return rc;
	rc = disk_opts_nest(flat, ret, e);
	json_decref(flat);
	return rc;
}

struct disk *tool_open(const struct tool *t, const char *name, bool image_opts, const char *format,
		       unsigned flags)
{
	json_t *options = NULL;
	struct disk *d = NULL;
	struct err e = {0};

	if (image_opts && format) {
		tool_error(t, "--image-opts and --format are mutually exclusive");
		return NULL;
	}
	if (image_opts && image_options(name, &options, &e)) {
		tool_fail(t, &e);
		return NULL;
	}
	if (!image_opts)
		options = format ? json_pack("{s:s}", "driver", format) : json_object();
	if (!json_object_get(options, "driver"))
		flags |= DISK_PROBE;
	if (disk_open(t->ctx, image_opts ? NULL : name, options, flags, &d, &e)) {
		err_prefix(&e, "Could not open '%s': ", name);
		tool_fail(t, &e);
	}
	json_decref(options);
	return d;
}

int tool_close(const struct tool *t, struct disk *d)
{
	const char *format = d ? disk_format(d) : "";
	int rc = disk_close(d);

	return rc ? tool_error(t, "Closing the %s image failed: %s", format, strerror(-rc)) : 0;
}

struct disk *tool_open_only(const struct tool *t, const char *cache, unsigned flags)
{
	struct cli *c = t->cli;

	if (cli_argc(c) != 1) {
		tool_usage(c, "Expecting one image file name");
		return NULL;
	}
	if (cache && !tool_cache(cache, &flags)) {
		tool_error(t, "Invalid cache option: %s", cache);
		return NULL;
	}
	if (has_flag(c, "force-share") && cli_bool(c, "force-share"))
		flags |= DISK_SHARE;
	return tool_open(t, cli_argv(c)[0], cli_bool(c, "image-opts"),
			 has_flag(c, "format") ? cli_string(c, "format") : NULL, flags);
}

bool tool_size(const struct tool *t, const char *what, const char *text, uint64_t min, uint64_t max,
	       uint64_t *ret_bytes)
{
	uint64_t bytes;
	int rc = disk_size_parse(text, 'b', &bytes);

	if (rc == -ERANGE || (!rc && (bytes < min || bytes > max))) {
		if (max < INT64_MAX)
			tool_error(
			    t, "Invalid %s specified. Must be between %" PRIu64 " and %" PRIu64 ".",
			    what, min, max);
		else
			tool_error(t,
				   "Invalid %s specified. Must be greater than or equal to %" PRIu64
				   ".",
				   what, min);
	} else if (rc) {
		tool_error(t, "Invalid %s specified. You may use k, M, G, T, P or E suffixes for",
			   what);
		tool_error(t,
			   "kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.");
	} else {
		*ret_bytes = bytes;
		return true;
	}
	return false;
}

int tool_output(const struct tool *t, bool *ret_json)
{
	const char *form = cli_string(t->cli, "output");

	*ret_json = form && str_eq(form, "json");
	if (!form || *ret_json || str_eq(form, "human"))
		return 0;
	return tool_error(t, "--output must be used with human or json as argument.");
}

const struct disk_driver *tool_driver(const struct tool *t, const char *name)
{
	const struct disk_driver *drv = disk_driver_find(name);

	if (!drv)
		tool_error(t, "Unknown file format '%s'", name);
	return drv;
}

/* --- -o --- */

char *tool_options(const struct tool *t, int *ret_status)
{
	_buf_ struct buf all = {0};
	char *const *lists = cli_list(t->cli, "options");

	for (char *const *o = lists; *o; o++) {
		if (optstr_malformed(*o)) {
			*ret_status = tool_error(t, "Invalid option list: %s", *o);
			return NULL;
		}
		buf_addf(&all, "%s%s", all.len ? "," : "", *o);
	}
	return *lists ? buf_take(&all) : NULL;
}

static int by_name(const void *a, const void *b)
{
	const struct disk_opt *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static void print_option(const struct disk_opt *o)
{
	static const char *const types[] = {[DISK_OPT_STRING] = "str",
					    [DISK_OPT_BOOL] = "bool (on/off)",
					    [DISK_OPT_NUMBER] = "num",
					    [DISK_OPT_SIZE] = "size"};
	_free_ char *left = mem_printf("  %s=<%s>", o->name, types[o->type]);

	printf("%-24s - %s\n", left, o->help);
}

static void print_options(const struct disk_opt *table, bool amend)
{
	static const struct disk_opt size = {"size", DISK_OPT_SIZE, "Virtual disk size", NULL,
					     false};
	const struct disk_opt *sorted[64];
	bool has_size = amend; /* every image has one, also where the driver has nothing to say */
	size_t n = 0;

	for (; table && table->name && n + 1 < ARRAY_SIZE(sorted); table++) {
		has_size |= str_eq(table->name, size.name);
		if (!amend || table->amendable)
			sorted[n++] = table;
	}
	if (!has_size)
		sorted[n++] = &size;
	qsort(sorted, n, sizeof(sorted[0]), by_name);
	for (size_t i = 0; i < n; i++)
		print_option(sorted[i]);
}

int tool_options_help(const struct tool *t, const char *format, const char *filename, bool amend)
{
	const struct disk_driver *drv = tool_driver(t, format);

	if (!drv)
		return 1;
	if (amend && !drv->amend)
		return tool_error(t, "Format driver '%s' does not support option amendment",
				  drv->name);
	if (!drv->create_opts)
		return tool_error(t, "Format driver '%s' does not support image creation",
				  drv->name);
	if (amend)
		printf("Amend options for '%s':\n", drv->name);
	else if (filename)
		puts("Supported options:");
	else
		printf("Supported %s options:\n", drv->name);
	_free_ struct disk_opt *all = disk_create_opts(drv);

	print_options(filename ? all : drv->create_opts, amend);
	if (!filename && !amend)
		puts("\nThe protocol level may support further options.\n"
		     "Specify the target filename to include those options.");
	return 0;
}
