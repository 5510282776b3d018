#include "disk/report.h"

#include <stdarg.h>
#include <stdio.h>

void report_found(struct disk_check *c, const char *fmt, ...)
{
	char line[256];
	va_list ap;

	if (!c->found)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	c->found(c->arg, line);
}
