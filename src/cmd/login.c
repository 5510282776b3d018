/* viv login, logout. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/registry.h"
#include "os/path.h"

#define LINE_MAX_BYTES 4096

/* One line from the terminal; secret: without showing it. */
static int ask(const char *question, bool secret, char **ret, struct err *e)
{
	char line[LINE_MAX_BYTES];
	struct termios old, quiet;
	bool silenced = secret && tcgetattr(STDIN_FILENO, &old) == 0;

	fputs(question, stdout);
	fflush(stdout);
	if (silenced) {
		quiet = old;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	}
	bool got = fgets(line, sizeof(line), stdin);

	if (silenced) {
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
		putchar('\n');
	}
	if (!got)
		return err_set(e, ERR_USAGE, -EINVAL, "nothing was entered");
	line[strcspn(line, "\r\n")] = '\0';
	*ret = mem_strdup(line);
	explicit_bzero(line, sizeof(line));
	return 0;
}

static int read_stdin(char **ret, struct err *e)
{
	_buf_ struct buf text = {0};
	int rc = fd_read_all(STDIN_FILENO, &text, AUTH_SECRET_MAX);

	if (rc)
		return err_set(e, ERR_SYS, rc, "cannot read the password: %s", strerror(-rc));
	char *password = buf_take(&text);

	password[strcspn(password, "\r\n")] = '\0';
	*ret = password;
	return 0;
}

static int get_name(const struct cli *c, char **ret, struct err *e)
{
	if (cli_given(c, "username")) {
		*ret = mem_strdup(cli_string(c, "username"));
		return 0;
	}
	if (!isatty(STDIN_FILENO))
		return err_set(e, ERR_USAGE, -EINVAL,
			       "there is no terminal to ask for a name: give --username");
	return ask("Username: ", false, ret, e);
}

static int get_password(const struct cli *c, char **ret, struct err *e)
{
	if (cli_bool(c, "password-stdin"))
		return read_stdin(ret, e);
	if (cli_given(c, "password")) {
		fputs("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n",
		      stderr);
		*ret = mem_strdup(cli_string(c, "password"));
		return 0;
	}
	if (!isatty(STDIN_FILENO))
		return err_set(e, ERR_USAGE, -EINVAL,
			       "there is no terminal to ask for a password: give --password-stdin");
	return ask("Password: ", true, ret, e);
}

static int get_credential(const struct cli *c, struct credential *ret, struct err *e)
{
	int rc = get_name(c, &ret->username, e);

	if (!rc)
		rc = get_password(c, &ret->password, e);
	if (rc)
		return rc;
	if (!*ret->username || strchr(ret->username, ':') || !*ret->password)
		return err_set(e, ERR_USAGE, -EINVAL,
			       "name and password must not be empty, nor the name contain ':'");
	return 0;
}

/* A refresh token is kept in place of the password. */
static int keep(struct registry *r, const char *name, struct credential *login, char *token,
		struct err *e)
{
	struct credential kept = token ? (struct credential){.identity_token = token} : *login;
	_free_ char *where = NULL;
	int rc = auth_put(registry_auth(r), name, &kept, &where, e);

	if (rc)
		return rc;
	if (*where == '/' && !token)
		fprintf(stderr,
			"WARNING! Your password will be stored unencrypted in %s.\n"
			"A credential helper (credsStore in that file) keeps it safe.\n",
			where);
	puts("Login Succeeded");
	return 0;
}

static int login(const struct cli *c, const char *name, struct err *e)
{
	_registry_ struct registry *r = NULL;
	_credential_ struct credential given = {0};
	_free_ char *token = NULL;
	int rc = registry_of(c, &r, e);

	if (!rc)
		rc = get_credential(c, &given, e);
	if (!rc)
		rc = registry_login(r, name, &given, &token, e);
	return rc ? rc : keep(r, name, &given, token, e);
}

int cmd_login(struct cli *c)
{
	_free_ char *name = registry_name(cli_argv(c)[0]);
	struct err e = {0};

	if (cli_bool(c, "password-stdin") && cli_given(c, "password"))
		return cli_usage(c, "--password and --password-stdin exclude each other");
	if (cli_bool(c, "password-stdin") && !cli_given(c, "username"))
		return cli_usage(c, "--password-stdin needs --username");
	return login(c, name, &e) ? cli_fail(c, &e) : 0;
}

/* Being logged out already is what was asked for. */
int cmd_logout(struct cli *c)
{
	_free_ char *name = registry_name(cli_argv(c)[0]);
	_auth_ struct auth *a = NULL;
	struct err e = {0};
	int rc = auth_open(&a, &e);

	if (!rc)
		rc = auth_erase(a, name, &e);
	if (rc == -ENOENT && e.code == ERR_NOT_FOUND) {
		printf("Not logged in to %s\n", name);
		return 0;
	}
	if (rc)
		return cli_fail(c, &e);
	printf("Removing login credentials for %s\n", name);
	return 0;
}
