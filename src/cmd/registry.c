#include "cmd/registry.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "cmd/viv.h"

int registry_of(const struct cli *c, struct registry **ret, struct err *e)
{
	struct registry *r;
	int rc = registry_new(&r, e);

	if (rc)
		return rc;
	for (char *const *name = cli_list(c, "insecure"); *name; name++)
		registries_add_insecure(registry_conf(r), *name);
	signal(SIGPIPE, SIG_IGN); /* of sockets, inside OpenSSL */
	*ret = r;
	return 0;
}

static void tick(void *arg)
{
	progress_tick(arg);
}

struct progress *registry_progress(const struct cli *c, struct registry *r)
{
	const char *text = cli_given(c, "progress") ? cli_string(c, "progress")
						    : settings_get(viv_settings(c), "progress");
	struct progress_conf conf = {.fd = STDERR_FILENO};

	progress_mode_parse(text, &conf.mode);
	struct progress *p = progress_new(&conf);

	registry_on_idle(r, tick, p);
	return p;
}

void registry_progress_free(struct registry *r, struct progress *p)
{
	registry_on_idle(r, NULL, NULL);
	if (p)
		progress_free(p);
}

char *registry_name(const char *text)
{
	const char *host = text ? text : "docker.io", *rest;

	if ((rest = str_after(host, "https://")) || (rest = str_after(host, "http://")))
		host = rest;
	char *name = mem_strndup(host, strcspn(host, "/"));

	if (str_eq(name, "index.docker.io") || str_eq(name, "registry-1.docker.io"))
		strcpy(name, "docker.io");
	return name;
}
