#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static struct {
	log_sink *sink;
	void *arg;
	enum log_level max;
} logger = {.max = LOG_LVL_INFO};

void log_to(log_sink *sink, void *arg, enum log_level max)
{
	logger.sink = sink;
	logger.arg = arg;
	logger.max = max;
}

enum log_level log_max(void)
{
	return logger.max;
}

void log_write(enum log_level level, const char *fmt, ...)
{
	if (!logger.sink || level > logger.max)
		return;
	int saved = errno;
	char msg[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	logger.sink(logger.arg, level, msg);
	errno = saved;
}
