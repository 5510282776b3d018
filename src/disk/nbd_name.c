/* How an NBD export is named: nbd://HOST[:PORT]/EXPORT, nbd+unix:///EXPORT?socket=PATH, the older
 * nbd:HOST:PORT[:exportname=EXPORT] and nbd:unix:PATH[:exportname=EXPORT], or options. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "disk/nbd_client.h"
#include "disk/nbd_proto.h"

static void set(json_t *o, const char *key, const char *value)
{
	json_object_set_new(o, key, json_string(value));
}

static void set_server(json_t *o, const char *host, const char *port, const char *path)
{
	json_object_set_new(
	    o, "server",
	    path ? json_pack("{s:s, s:s}", "type", "unix", "path", path)
		 : json_pack("{s:s, s:s, s:s}", "type", "inet", "host", host, "port", port));
}

static int bad_name(struct err *e, const char *name, const char *why)
{
	return err_set(e, ERR_DISK_OPTION, -EINVAL, "NBD name '%s': %s", name, why);
}

static int hex(char c)
{
	return c >= '0' && c <= '9'                 ? c - '0'
	       : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
						    : -1;
}

/* RFC 3986, 2.1. Owned. */
static char *percent_decode(const char *s, size_t len)
{
	struct buf b = {0};

	for (size_t i = 0; i < len; i++) {
		if (s[i] == '%' && i + 2 < len && hex(s[i + 1]) >= 0 && hex(s[i + 2]) >= 0) {
			buf_addc(&b, hex(s[i + 1]) << 4 | hex(s[i + 2]));
			i += 2;
		} else {
			buf_addc(&b, s[i]);
		}
	}
	return buf_take(&b);
}

/* HOST, [HOST] or HOST:PORT */
static int split_host(const char *name, const char *s, size_t len, json_t *o, struct err *e)
{
	_free_ char *all = percent_decode(s, len);
	char *host = all, *port = NULL, *end;

	if (*all == '[') {
		host = all + 1;
		end = strchr(host, ']');
		if (!end)
			return bad_name(e, name, "']' is missing");
		*end++ = '\0';
		port = *end == ':' ? end + 1 : NULL;
	} else if ((end = strrchr(all, ':'))) {
		*end = '\0';
		port = end + 1;
	}
	set_server(o, *host ? host : "localhost", port && *port ? port : NBD_PORT, NULL);
	return 0;
}

static int parse_uri(const char *name, bool is_unix, const char *rest, json_t *o, struct err *e)
{
	size_t host_len = strcspn(rest, "/?");
	const char *path = rest + host_len;
	const char *query = strchr(path, '?');
	size_t path_len = query ? (size_t)(query - path) : strlen(path);
	_free_ char *export =
	    path_len > 1 ? percent_decode(path + 1, path_len - 1) : mem_strdup("");

	if (*export)
		set(o, "export", export);
	if (!is_unix)
		return query ? bad_name(e, name, "a query has no meaning here")
			     : split_host(name, rest, host_len, o, e);
	if (!query || !str_after(query, "?socket=") || host_len)
		return bad_name(e, name, "it must be nbd+unix:///EXPORT?socket=PATH");
	_free_ char *socket = percent_decode(query + 8, strcspn(query + 8, "&"));

	set_server(o, NULL, NULL, socket);
	return 0;
}

static int parse_old(const char *name, const char *rest, json_t *o, struct err *e)
{
	const char *export = strstr(rest, ":exportname=");
	_free_ char *where = mem_strndup(rest, export ? (size_t)(export - rest) : strlen(rest));
	const char *path = str_after(where, "unix:");
	char *colon;

	if (export && export[12])
		set(o, "export", export + 12);
	if (path) {
		if (!*path)
			return bad_name(e, name, "the socket's path is missing");
		set_server(o, NULL, NULL, path);
		return 0;
	}
	colon = strrchr(where, ':');
	if (!colon || !colon[1])
		return bad_name(e, name, "the port is missing");
	*colon = '\0';
	set_server(o, *where ? where : "localhost", colon + 1, NULL);
	return 0;
}

int nbd_parse_name(const char *name, json_t *o, struct err *e)
{
	const char *rest;

	if (str_after(name, "nbds:") || str_after(name, "nbds+unix:"))
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP, "NBD over TLS is not supported");
	if ((rest = str_after(name, "nbd://")) || (rest = str_after(name, "nbd+tcp://")))
		return parse_uri(name, false, rest, o, e);
	if ((rest = str_after(name, "nbd+unix://")))
		return parse_uri(name, true, rest, o, e);
	if ((rest = str_after(name, "nbd:")))
		return parse_old(name, rest, o, e);
	return bad_name(e, name, "it is no NBD name");
}

/* The address is in "server", or, as older options have it, beside it. */
static int take_address(json_t *s, struct nbd_target *t, struct err *e)
{
	_free_ char *type = NULL;
	bool flag;
	int rc = disk_opts_take_str(s, "type", &type, e);

	if (rc >= 0)
		rc = disk_opts_take_str(s, "host", &t->host, e);
	if (rc >= 0)
		rc = disk_opts_take_str(s, "port", &t->port, e);
	if (rc >= 0)
		rc = disk_opts_take_str(s, "path", &t->path, e);
	if (rc >= 0)
		rc = disk_opts_take_bool(s, "numeric", &flag, e);
	if (rc < 0)
		return rc;
	if (type && !str_eq(type, "inet") && !str_eq(type, "unix"))
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP,
			       "NBD servers of type '%s' are not supported", type);
	if (!t->host == !t->path)
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       t->host ? "path and host may not be used at the same time"
				       : "NBD server address missing");
	if (t->host && !t->port)
		t->port = mem_strdup(NBD_PORT);
	return 0;
}

int nbd_take_target(json_t *o, struct nbd_target *ret_target, struct err *e)
{
	struct nbd_target *t = ret_target;
	_free_ char *tls = NULL;
	json_t *server = NULL;
	int rc;

	*t = (struct nbd_target){0};
	rc = disk_opts_take_str(o, "tls-creds", &tls, e);
	if (rc > 0)
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP, "NBD over TLS is not supported");
	if (rc >= 0)
		rc = disk_opts_take_object(o, "server", &server, e);
	if (rc >= 0)
		rc = take_address(rc ? server : o, t, e);
	if (!rc && server && json_object_size(server))
		rc = err_set(e, ERR_DISK_OPTION, -EINVAL, "NBD server: unknown option '%s'",
			     json_object_iter_key(json_object_iter(server)));
	json_decref(server);
	if (!rc)
		rc = disk_opts_take_str(o, "export", &t->name, e);
	if (rc < 0)
		return rc;
	if (!t->name)
		t->name = mem_strdup("");
	if (strlen(t->name) > NBD_NAME_MAX)
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "NBD export name is longer than %u bytes", NBD_NAME_MAX);
	return 0;
}

void nbd_target_done(struct nbd_target *t)
{
	free(t->host);
	free(t->port);
	free(t->path);
	free(t->name);
	*t = (struct nbd_target){0};
}
