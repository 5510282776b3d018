#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const struct err_info infos[ERR_COUNT] = {
#define ERR_CODE(sym, name, status, summary, cause, cure) \
	[ERR_##sym] = {name, status, summary, cause, cure},
#include "base/err_codes.h"
#undef ERR_CODE
};

int err_set(struct err *e, enum err_code code, int rc, const char *fmt, ...)
{
	if (!e)
		return rc;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
	va_end(ap);
	e->rc = rc;
	e->code = code;
	return rc;
}

int err_sys(struct err *e, enum err_code code, const char *fmt, ...)
{
	int saved = errno;

	if (!e)
		return -saved;
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < sizeof(e->msg))
		snprintf(e->msg + n, sizeof(e->msg) - (size_t)n, ": %s", strerror(saved));
	e->rc = -saved;
	e->code = code;
	return -saved;
}

int err_prefix(struct err *e, const char *fmt, ...)
{
	if (!e)
		return 0;
	char head[ERR_MSG_MAX];
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(head, sizeof(head), fmt, ap);
	va_end(ap);
	if (n < 0)
		return e->rc;
	if ((size_t)n >= sizeof(head))
		n = sizeof(head) - 1;
	size_t room = sizeof(e->msg) - (size_t)n - 1;
	size_t keep = strnlen(e->msg, sizeof(e->msg) - 1);

	if (keep > room)
		keep = room;
	memmove(e->msg + n, e->msg, keep);
	memcpy(e->msg, head, (size_t)n);
	e->msg[(size_t)n + keep] = '\0';
	return e->rc;
}

const struct err_info *err_info(enum err_code code)
{
	return &infos[(unsigned)code < ERR_COUNT ? code : ERR_NONE];
}

const struct err_info *err_info_by_name(const char *name)
{
	for (int i = 0; i < ERR_COUNT; i++)
		if (!strcasecmp(infos[i].name, name))
			return &infos[i];
	return NULL;
}
