#include "cmd/disk_io.h"

#include "base/cleanup.h"
#include "disk/opts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

int io_usage(const struct io_command *cmd)
{
	printf("%s %s -- %s\n", cmd->name, cmd->args ? cmd->args : "", cmd->summary);
	return -EINVAL;
}

int64_t io_number(const char *text)
{
	uint64_t v;
	int rc = disk_size_parse(text, 'b', &v);

	if (!rc && v > INT64_MAX)
		rc = -ERANGE;
	if (!rc)
		return (int64_t)v;
	if (rc == -ERANGE)
		printf("Parsing error: argument too large -- %s\n", text);
	else
		printf("Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- "
		       "%s\n",
		       text);
	return rc;
}

void io_size(char *buf, size_t size, double bytes)
{
	static const char *const units[] = {" bytes", " KiB", " MiB", " GiB",
					    " TiB",   " PiB", " EiB"};
	unsigned unit = 0;
	char number[48];

	while (bytes >= 1024 && unit + 1 < ARRAY_SIZE(units)) {
		bytes /= 1024;
		unit++;
	}
	snprintf(number, sizeof(number), unit ? "%.3f" : "%f", bytes);
	char *whole = strstr(number, ".000");

	if (whole)
		*whole = '\0';
	snprintf(buf, size, "%s%s", number, units[unit]);
}

void io_report(const char *op, uint64_t took_ns, uint64_t offset, uint64_t total, unsigned ops,
	       bool machine)
{
	double seconds = took_ns ? (double)took_ns / 1e9 : 1e-9;
	unsigned whole = (unsigned)seconds, hundredths = (unsigned)((seconds - whole) * 100);
	char moved[64], rate[64], took[64];

	if (machine || whole >= 60)
		snprintf(took, sizeof(took), "%u:%02u:%02u.%02u", whole / 3600, whole / 60 % 60,
			 whole % 60, hundredths);
	else
		snprintf(took, sizeof(took), "%02u.%02u sec", whole, hundredths);
	if (machine) {
		printf("%" PRIu64 ",%u,%s,%.3f,%.3f\n", total, ops, took, (double)total / seconds,
		       ops / seconds);
		return;
	}
	io_size(moved, sizeof(moved), (double)total);
	io_size(rate, sizeof(rate), (double)total / seconds);
	printf("%s %" PRIu64 "/%" PRIu64 " bytes at offset %" PRIu64 "\n", op, total, total,
	       offset);
	printf("%s, %u ops; %s (%s/sec and %.4f ops/sec)\n", moved, ops, took, rate, ops / seconds);
}

void io_dump(const uint8_t *p, uint64_t offset, size_t len)
{
	for (size_t i = 0; i < len; i += 16) {
		size_t n = len - i < 16 ? len - i : 16;

		printf("%08" PRIx64 ":  ", offset + i);
		for (size_t k = 0; k < n; k++)
			printf("%02x ", p[i + k]);
		putchar(' ');
		for (size_t k = 0; k < n; k++)
			putchar(p[i + k] >= 0x20 && p[i + k] < 0x7f ? p[i + k] : '.');
		putchar('\n');
	}
}
