/* viv disk check: consistency of an image, and its repair. */
#include "base/buf.h"
#include "base/str.h"
#include "cmd/disk.h"
#include "cmd/disk_print.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

/* Exit statuses of qemu-img check. */
enum { CHECK_OK = 0, CHECK_FAILED = 1, CHECK_CORRUPT = 2, CHECK_LEAKS = 3, CHECK_NONE = 63 };

/* Findings are for people: on standard error, where JSON goes to standard output. */
static void on_finding(void *arg, const char *line)
{
	FILE *out = arg;

	fprintf(out, "%s\n", line);
}

static json_t *as_json(struct disk *d, const struct disk_check *k)
{
	json_t *o = json_pack("{s:s, s:s, s:I}", "filename", disk_filename(d), "format",
			      disk_format(d), "check-errors", (json_int_t)k->check_errors);
	const struct {
		const char *name;
		uint64_t value;
	} optional[] = {
	    {"image-end-offset", k->image_end_offset},
	    {"corruptions", k->corruptions},
	    {"leaks", k->leaks},
	    {"corruptions-fixed", k->corruptions_fixed},
	    {"leaks-fixed", k->leaks_fixed},
	    {"total-clusters", k->total_clusters},
	    {"allocated-clusters", k->allocated_clusters},
	    {"fragmented-clusters", k->fragmented_clusters},
	    {"compressed-clusters", k->compressed_clusters},
	};

	for (size_t i = 0; i < sizeof(optional) / sizeof(optional[0]); i++)
		if (optional[i].value)
			json_object_set_new(o, optional[i].name,
					    json_integer((json_int_t)optional[i].value));
	return o;
}

static void print_text(const struct disk_check *k)
{
	if (!k->corruptions && !k->leaks && !k->check_errors) {
		puts("No errors were found on the image.");
	} else {
		if (k->corruptions)
			printf("\n%" PRIu64 " errors were found on the image.\n"
			       "Data may be corrupted, or further writes to the image may corrupt "
			       "it.\n",
			       k->corruptions);
		if (k->leaks)
			printf("\n%" PRIu64 " leaked clusters were found on the image.\n"
			       "This means waste of disk space, but no harm to data.\n",
			       k->leaks);
		if (k->check_errors)
			printf("\n%" PRIu64 " internal errors have occurred during the check.\n",
			       k->check_errors);
	}
	if (k->total_clusters && k->allocated_clusters)
		printf("%" PRIu64 "/%" PRIu64 " = %0.2f%% allocated, %0.2f%% fragmented, %0.2f%% "
		       "compressed clusters\n",
		       k->allocated_clusters, k->total_clusters,
		       (double)k->allocated_clusters * 100 / (double)k->total_clusters,
		       (double)k->fragmented_clusters * 100 / (double)k->allocated_clusters,
		       (double)k->compressed_clusters * 100 / (double)k->allocated_clusters);
	if (k->image_end_offset)
		printf("Image end offset: %" PRIu64 "\n", k->image_end_offset);
}

static int check_once(const struct tool *t, struct disk *d, unsigned fix, struct disk_check *k)
{
	struct tool_progress p;
	struct err e = {0};

	tool_progress_begin(&p, t, "check", false);
	k->progress = p.fn;
	int rc = disk_check(d, fix, k, &e);

	tool_progress_end(&p, !rc);
	if (rc == -ENOTSUP) {
		tool_error(t, "This image format does not support checks");
		return CHECK_NONE;
	}
	if (rc) {
		err_prefix(&e, "Check failed: ");
		tool_fail(t, &e);
		return CHECK_FAILED;
	}
	return 0;
}

/* What was repaired is looked at again: a repair can uncover more. */
static int repair_again(const struct tool *t, struct disk *d, bool json, struct disk_check *k)
{
	uint64_t corruptions_fixed = k->corruptions_fixed, leaks_fixed = k->leaks_fixed;
	bool wrong = k->corruptions || k->leaks || k->check_errors;

	if (!json && !t->quiet) {
		printf("%sThe following inconsistencies were found and repaired:\n\n"
		       "    %" PRIu64 " leaked clusters\n    %" PRIu64 " corruptions\n\n"
		       "Double checking the fixed image now...\n",
		       wrong ? "\n" : "", leaks_fixed, corruptions_fixed);
		fflush(stdout);
	}
	*k = (struct disk_check){.found = k->found, .arg = k->arg};
	int status = check_once(t, d, 0, k);

	k->corruptions_fixed += corruptions_fixed;
	k->leaks_fixed += leaks_fixed;
	return status;
}

static int check(struct tool *t, struct disk *d, unsigned fix, bool json)
{
	struct disk_check k = {.found = on_finding, .arg = stderr};
	int status = check_once(t, d, fix, &k);

	if (!status && (k.corruptions_fixed || k.leaks_fixed))
		status = repair_again(t, d, json, &k);
	if (status)
		return status;
	if (json) {
		_buf_ struct buf text = {0};
		json_t *o = as_json(d, &k);

		disk_print_json(&text, o, 0);
		json_decref(o);
		puts(buf_str(&text));
	} else if (!t->quiet) {
		print_text(&k);
	}
	if (k.corruptions || k.check_errors)
		return CHECK_CORRUPT;
	return k.leaks ? CHECK_LEAKS : CHECK_OK;
}

static int run(struct tool *t)
{
	const char *repair = cli_string(t->cli, "repair");
	unsigned fix = 0, flags = DISK_CHECK | DISK_NO_BACKING;
	bool json;
	int status = tool_output(t, &json);

	if (status)
		return status;
	if (repair && str_eq(repair, "leaks"))
		fix = DISK_FIX_LEAKS;
	else if (repair && str_eq(repair, "all"))
		fix = DISK_FIX_LEAKS | DISK_FIX_ERRORS;
	else if (repair)
		return tool_usage(t->cli, "-r expects 'leaks' or 'all'; not '%s'", repair);
	struct disk *d =
	    tool_open_only(t, cli_string(t->cli, "source-cache"), flags | (fix ? DISK_WRITE : 0));

	if (!d)
		return CHECK_FAILED;
	status = check(t, d, fix, json);
	if (disk_close(d) && !status)
		status = CHECK_FAILED;
	return status;
}

int disk_cmd_check(struct cli *c)
{
	return tool_run(c, run);
}
