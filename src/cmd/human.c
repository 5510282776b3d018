#include "cmd/human.h"

#include "base/cleanup.h"
#include "base/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

enum {
	MINUTE = 60,
	HOUR = 60 * MINUTE,
	DAY = 24 * HOUR,
	WEEK = 7 * DAY,
	MONTH = 30 * DAY,
	YEAR = 365 * DAY
};

char *human_size(uint64_t bytes)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
	double v = (double)bytes;
	size_t unit = 0;

	while (v >= 999.5 && unit + 1 < ARRAY_SIZE(units)) { /* 999.5 would be shown as 1e+03 */
		v /= 1000;
		unit++;
	}
	return mem_printf("%.3g%s", v, units[unit]);
}

/* The words of docker's go-units. */
char *human_ago(int64_t then_s, int64_t now_s)
{
	int64_t s = now_s > then_s ? now_s - then_s : 0;
	int64_t hours = (s + HOUR / 2) / HOUR;

	if (s < 1)
		return mem_strdup("Less than a second ago");
	if (s == 1)
		return mem_strdup("1 second ago");
	if (s < MINUTE)
		return mem_printf("%" PRId64 " seconds ago", s);
	if (s / MINUTE == 1)
		return mem_strdup("About a minute ago");
	if (s < HOUR)
		return mem_printf("%" PRId64 " minutes ago", s / MINUTE);
	if (hours == 1)
		return mem_strdup("About an hour ago");
	if (hours < 48)
		return mem_printf("%" PRId64 " hours ago", hours);
	if (s < 2 * WEEK)
		return mem_printf("%" PRId64 " days ago", s / DAY);
	if (s < 2 * MONTH)
		return mem_printf("%" PRId64 " weeks ago", s / WEEK);
	if (s < 2 * (int64_t)YEAR)
		return mem_printf("%" PRId64 " months ago", s / MONTH);
	return mem_printf("%" PRId64 " years ago", s / YEAR);
}

char *human_time(int64_t then_s)
{
	time_t t = then_s;
	struct tm tm;
	char text[64];

	if (!gmtime_r(&t, &tm) || !strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S +0000 UTC", &tm))
		return mem_strdup("N/A");
	return mem_strdup(text);
}

int human_parse_time(const char *text, int64_t *ret_s)
{
	struct tm tm = {0};
	int zone_h, zone_m, end = 0;
	char sign = '+';

	if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
		   &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &end) != 6)
		return -EINVAL;
	text += end;
	if (*text == '.')
		for (text++; *text >= '0' && *text <= '9'; text++)
			;
	tm.tm_year -= 1900;
	tm.tm_mon--;
	int64_t s = timegm(&tm);

	if (*text == 'Z' && !text[1])
		zone_h = zone_m = 0;
	else if (sscanf(text, "%c%2d:%2d", &sign, &zone_h, &zone_m) != 3 ||
		 (sign != '+' && sign != '-'))
		return -EINVAL;
	int64_t zone = zone_h * HOUR + zone_m * MINUTE;

	*ret_s = sign == '+' ? s - zone : s + zone;
	return 0;
}
