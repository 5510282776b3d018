#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/template.h"
#include "image/auth.h"
#include "io/child.h"
#include "os/path.h"

/* What every helper prints for "there is nothing", with status 1. */
#define NOT_FOUND "credentials not found in native keychain"

extern char **environ;

/* The name comes from a file that may have been copied from anywhere: it is no path. */
static bool valid_name(const char *helper)
{
	size_t n =
	    strspn(helper, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");

	return n && n < 64 && !helper[n] && helper[0] != '.';
}

/* The program in $PATH; relative directories there do not count. */
static char *find_program(const char *name)
{
	const char *path = getenv("PATH");
	_free_ char *copy = mem_strdup(path ? path : "/usr/local/bin:/usr/bin:/bin");
	char *rest = copy;

	for (char *dir; (dir = strsep(&rest, ":"));) {
		_free_ char *file = mem_printf("%s/%s", dir, name);

		if (*dir == '/' && path_access(AT_FDCWD, file, 1 /* X_OK */) == 0)
			return STEAL(file);
	}
	return NULL;
}

static int run(const char *helper, const char *verb, const char *input, struct buf *out,
	       int *ret_status, struct err *e)
{
	if (!valid_name(helper))
		return err_set(e, ERR_REG_AUTH, -EINVAL,
			       "'%.64s' is no name of a credential helper", helper);
	_free_ char *name = mem_printf("docker-credential-%s", helper);
	_free_ char *path = find_program(name);

	if (!path)
		return err_set(e, ERR_REG_AUTH, -ENOENT,
			       "the credential helper '%s' is not installed", name);
	struct child_spec spec = {
	    .path = path,
	    .argv = (const char *const[]){name, verb, NULL},
	    .envp = (const char *const *)environ,
	    .death_signal = 15,
	};
	_buf_ struct buf errors = {0};
	struct child_io io = {.input = input,
			      .input_len = strlen(input),
			      .out = out,
			      .err = &errors,
			      .max_bytes = AUTH_SECRET_MAX,
			      .timeout_ms = AUTH_HELPER_TIMEOUT_MS};

	if (child_run(&spec, &io, ret_status, e))
		return err_prefix(e, "credential helper '%s': ", helper);
	return 0;
}

/* Helpers explain themselves on standard output. */
static int complain(const char *helper, const char *verb, const struct buf *out, struct err *e)
{
	_free_ char *text = mem_strdup(buf_str(out));

	text[strcspn(text, "\r\n")] = '\0';
	return err_set(e, ERR_REG_AUTH, -EIO, "credential helper '%s' failed to %s: %.200s", helper,
		       verb, *text ? text : "it gave no reason");
}

int auth_helper_parse(const char *text, size_t len, struct credential *ret)
{
	_json_ json_t *v = json_loadb(text, len, 0, NULL);
	const char *user, *secret;

	if (!json_is_object(v))
		return -EBADMSG;
	user = json_string_value(json_object_get(v, "Username"));
	secret = json_string_value(json_object_get(v, "Secret"));
	if (!user || !secret)
		return -EBADMSG;
	if (str_eq(user, "<token>"))
		ret->identity_token = mem_strdup(secret);
	else
		*ret = (struct credential){mem_strdup(user), mem_strdup(secret), NULL};
	return 0;
}

int auth_helper_get(const char *helper, const char *registry, struct credential *ret, struct err *e)
{
	_buf_ struct buf out = {0};
	int status, rc = run(helper, "get", auth_server_of(registry), &out, &status, e);

	if (rc)
		return rc;
	if (status)
		return strstr(buf_str(&out), NOT_FOUND) ? 0 : complain(helper, "get", &out, e);
	if (auth_helper_parse(buf_str(&out), out.len, ret))
		return err_set(e, ERR_REG_AUTH, -EBADMSG,
			       "credential helper '%s' gave no Username and Secret", helper);
	return 0;
}

int auth_helper_store(const char *helper, const char *registry, const struct credential *c,
		      struct err *e)
{
	_buf_ struct buf out = {0};
	_json_ json_t *v = json_pack("{s:s, s:s, s:s}", "ServerURL", auth_server_of(registry),
				     "Username", c->identity_token ? "<token>" : c->username,
				     "Secret", c->identity_token ? c->identity_token : c->password);
	_free_ char *text = json_dumps(v, JSON_COMPACT);
	int status, rc;

	if (!text)
		return err_set(e, ERR_REG_AUTH, -EILSEQ, "name and password must be UTF-8");
	rc = run(helper, "store", text, &out, &status, e);
	if (rc)
		return rc;
	return status ? complain(helper, "store", &out, e) : 0;
}

int auth_helper_erase(const char *helper, const char *registry, struct err *e)
{
	_buf_ struct buf out = {0};
	int status, rc = run(helper, "erase", auth_server_of(registry), &out, &status, e);

	if (rc)
		return rc;
	if (status && strstr(buf_str(&out), NOT_FOUND))
		return err_set(e, ERR_NOT_FOUND, -ENOENT, "not logged in to '%s'", registry);
	return status ? complain(helper, "erase", &out, e) : 0;
}
