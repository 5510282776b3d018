#include "cmd/viv.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/table.h"
#include "io/logsink.h"
#include "state/dirs.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The mutable objects of these programs: filled before the handler runs, read by it. */
static struct settings settings;

const struct settings *viv_settings(const struct cli *c)
{
	return cli_program(c)->context;
}

/* The flag where it is given, else the setting of the same name. */
static const char *chosen(const struct cli *c, const char *name)
{
	return cli_given(c, name) ? cli_string(c, name) : settings_get(viv_settings(c), name);
}

static enum log_level level_of(const char *name)
{
	static const char *const names[] = {[LOG_LVL_ERROR] = "error",
					    [LOG_LVL_WARN] = "warn",
					    [LOG_LVL_INFO] = "info",
					    [LOG_LVL_DEBUG] = "debug"};
	int level = LOG_LVL_DEBUG;

	while (level && !str_eq(names[level], name))
		level--;
	return (enum log_level)level;
}

static struct logsink stderr_sink;

/* Settings that cannot be used are no reason to do nothing: what could be read counts, and the rest
 * is named. */
static int before(struct cli *c)
{
	struct err e = {0};
	int rc = settings_load(&settings, &e);

	logsink_init(&stderr_sink, STDERR_FILENO, LOGSINK_TEXT, "viv");
	log_to(logsink_write, &stderr_sink, level_of(chosen(c, "log-level")));
	if (rc)
		log_warn("%s", e.msg);
	return 0;
}

int viv_data_dir(const struct cli *c, char **ret, struct err *e)
{
	const char *root = settings_get(viv_settings(c), "root");

	if (!root)
		return dirs_data(ret, e);
	*ret = mem_strdup(root);
	return 0;
}

struct output viv_output(const struct cli *c, const struct output_column *columns)
{
	return (struct output){
	    .format = chosen(c, "output"),
	    .template = cli_string(c, "format"),
	    .columns = columns,
	};
}

static int print(const struct cli *c, int rc, const struct buf *text, const struct err *e)
{
	if (rc)
		return cli_fail(c, e);
	fwrite(buf_str(text), 1, text->len, stdout);
	return 0;
}

int viv_print_rows(const struct cli *c, const struct output_column *columns, const json_t *rows)
{
	struct output o = viv_output(c, columns);
	_buf_ struct buf text = {0};
	struct err e = {0};

	return print(c, output_rows(&o, rows, &text, &e), &text, &e);
}

int viv_print_object(const struct cli *c, const struct output_column *columns, const json_t *object)
{
	struct output o = viv_output(c, columns);
	_buf_ struct buf text = {0};
	struct err e = {0};

	return print(c, output_object(&o, object, &text, &e), &text, &e);
}

struct progress *viv_progress(const struct cli *c, bool quiet)
{
	struct progress_conf conf = {.fd = STDERR_FILENO, .mode = PROGRESS_NONE};

	if (!quiet)
		progress_mode_parse(chosen(c, "progress"), &conf.mode);
	return progress_new(&conf);
}

bool viv_colour(const struct cli *c)
{
	const char *when = chosen(c, "color"), *no_color = getenv("NO_COLOR");

	if (!str_eq(when, "auto"))
		return str_eq(when, "always");
	return (!no_color || !*no_color) && isatty(STDOUT_FILENO);
}

static void version(void)
{
	puts("viv " VIV_VERSION);
}

int viv_main(const struct viv_program *p, int argc, char **argv)
{
	const struct cli_program program = {
	    .name = "viv",
	    .summary = "containers and virtual machines, on one machine or many",
	    .description =
		"Vivarium runs containers and virtual machines, and keeps their images, disks and "
		"networks. A container and a machine are the same object with another isolation, "
		"so the same commands act on both.\n\n"
		"Without a command it shows the state of this host and the next sensible command.",
	    .tables = viv_tables,
	    .handlers = p->handlers,
	    .globals = viv_globals,
	    .groups = viv_groups,
	    .usage_status = 2,
	    .help_lines = 24,
	    .version = version,
	    .before = before,
	    .bare = p->bare,
	    .names = p->names,
	    .elsewhere = delegate,
	    .context = &settings,
	};
	int status = cli_main(&program, argc, argv);

	settings_done(&settings);
	return status;
}
