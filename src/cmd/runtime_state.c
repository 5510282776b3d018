/* state, list, kill, delete. */
#include "cmd/runtime.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* The specification's state with what runc adds for people: rootfs, created, owner. */
static json_t *full_state(const struct container *c)
{
	json_t *j = container_state_json(c, container_status(c));
	json_t *annotations = json_incref(json_object_get(j, "annotations"));

	json_object_set_new(j, "rootfs", json_string(c->rootfs ? c->rootfs : ""));
	json_object_set_new(j, "created", json_string(c->created));
	if (annotations) { /* after the scalars, for people */
		json_object_del(j, "annotations");
		json_object_set_new(j, "annotations", annotations);
	}
	json_object_set_new(j, "owner", json_string(c->owner ? "" : "root"));
	return j;
}

int runtime_state(struct cli *c)
{
	_container_ struct container ct = {.dir_fd = -1, .cgroup.fd = -1};
	struct err e = {0};
	_close_ int root = runtime_root(c, false);

	if (root < 0)
		return 1;
	if (container_load(root, cli_argv(c)[0], false, &ct, &e))
		return runtime_fail(c, &e, 1);
	json_t *j = full_state(&ct);

	json_dumpf(j, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(j);
	return 0;
}

static void print_row(const struct container *ct)
{
	enum container_status s = container_status(ct);

	printf("%-20s %-11d %-11s %-30s %-32s %s\n", ct->id,
	       s == CONTAINER_STOPPED ? 0 : ct->init.pid, container_status_name(s),
	       ct->bundle ? ct->bundle : "", ct->created, ct->owner ? "" : "root");
}

int runtime_list(struct cli *c)
{
	struct err e = {0};
	_strv_ char **names = NULL;
	bool json = str_eq(cli_string(c, "format"), "json"), quiet = cli_bool(c, "quiet");
	/* No directory yet: no containers, which is no error here. */
	_close_ int root = container_root_open(cli_string(c, "root"), false, &e);

	if (root < 0 && (root != -ENOENT || cli_given(c, "root")))
		return runtime_fail(c, &e, 1);
	if (root >= 0 && container_names(root, &names, &e))
		return runtime_fail(c, &e, 1);
	json_t *all = json_array();

	if (!json && !quiet)
		printf("%-20s %-11s %-11s %-30s %-32s %s\n", "ID", "PID", "STATUS", "BUNDLE",
		       "CREATED", "OWNER");
	for (char **n = names; n && *n; n++) {
		_container_ struct container ct = {.dir_fd = -1, .cgroup.fd = -1};

		if (container_load(root, *n, false, &ct, &e)) {
			if (e.code != ERR_CT_NOT_FOUND) /* gone since we looked */
				log_warn("%s", e.msg);
			continue;
		}
		if (quiet)
			puts(*n);
		else if (json)
			json_array_append_new(all, full_state(&ct));
		else
			print_row(&ct);
	}
	if (json && !quiet) {
		if (json_array_size(all))
			json_dumpf(all, stdout, JSON_COMPACT);
		else
			fputs("null", stdout); /* what a Go program prints for no list */
		putchar('\n');
	}
	json_decref(all);
	return 0;
}

/* "9", "KILL", "SIGKILL", "SIGRTMIN+3", any case; -1 where it is none. */
static int signal_number(const char *text)
{
	uint64_t n;

	if (str_to_u64(text, &n) == 0)
		return n <= (uint64_t)SIGRTMAX ? (int)n : -1; /* 0 asks whether it is there */
	if (!strncasecmp(text, "SIG", 3))
		text += 3;
	int base = !strncasecmp(text, "RTMIN", 5)   ? SIGRTMIN
		   : !strncasecmp(text, "RTMAX", 5) ? SIGRTMAX
						    : 0;

	if (base) {
		int64_t offset = 0;

		if (text[5] && str_to_i64(text + 5, &offset))
			return -1;
		return base + offset >= SIGRTMIN && base + offset <= SIGRTMAX ? base + (int)offset
									      : -1;
	}
	static const struct {
		const char *name;
		int number;
	} aliases[] = {{"CLD", SIGCHLD}, {"IOT", SIGABRT}, {"POLL", SIGIO}};

	for (size_t i = 0; i < ARRAY_SIZE(aliases); i++)
		if (!strcasecmp(text, aliases[i].name))
			return aliases[i].number;
	for (int i = 1; i < SIGRTMIN; i++) {
		const char *name = sigabbrev_np(i);

		if (name && !strcasecmp(text, name))
			return i;
	}
	return -1;
}

int runtime_kill(struct cli *c)
{
	struct err e = {0};
	const char *text = cli_argc(c) > 1 ? cli_argv(c)[1] : "SIGTERM";
	int sig = signal_number(text);
	_close_ int root = -1;

	if (sig < 0) {
		err_set(&e, ERR_USAGE, -EINVAL, "unknown signal \"%s\"", text);
		return runtime_fail(c, &e, 1);
	}
	root = runtime_root(c, false);
	if (root < 0)
		return 1;
	return container_kill(root, cli_argv(c)[0], sig, cli_bool(c, "all"), &e)
		   ? runtime_fail(c, &e, 1)
		   : 0;
}

int runtime_delete(struct cli *c)
{
	struct err e = {0};
	bool force = cli_bool(c, "force");
	int root = container_root_open(cli_string(c, "root"), false, &e);

	if (root == -ENOENT && force)
		return 0;
	if (root < 0)
		return runtime_fail(c, &e, 1);
	int rc = container_delete(root, cli_argv(c)[0], force, &e);

	close(root);
	return rc ? runtime_fail(c, &e, 1) : 0;
}
