#include "cmd/registry.h"

#include <signal.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

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
