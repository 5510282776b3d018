#include "base/str.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

int str_to_u64(const char *s, uint64_t *ret_value)
{
	uint64_t v = 0;

	if (!*s)
		return -EINVAL;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return -EINVAL;
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
			return -ERANGE;
	}
	*ret_value = v;
	return 0;
}

int str_to_i64(const char *s, int64_t *ret_value)
{
	bool negative = *s == '-';
	uint64_t v;
	int rc = str_to_u64(s + (*s == '-' || *s == '+'), &v);

	if (rc)
		return rc;
	if (v > (uint64_t)INT64_MAX + negative)
		return -ERANGE;
	*ret_value = negative ? (int64_t)-v : (int64_t)v;
	return 0;
}

int str_to_bytes(const char *s, uint64_t *ret_bytes)
{
	static const char units[] = "bkmgtp";
	uint64_t whole = 0, frac = 0, scale = 1;
	const char *p = s;

	if (*p < '0' || *p > '9')
		return -EINVAL;
	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(whole, 10, &whole) ||
		    __builtin_add_overflow(whole, (uint64_t)(*p - '0'), &whole))
			return -ERANGE;
	if (*p == '.')
		for (p++; *p >= '0' && *p <= '9'; p++)
			if (scale < 1000000000) {
				frac = frac * 10 + (uint64_t)(*p - '0');
				scale *= 10;
			}
	unsigned shift = 0;

	while (*p == ' ')
		p++;
	if (*p) {
		const char *u = strchr(units, tolower((unsigned char)*p));

		if (!u)
			return -EINVAL;
		shift = 10u * (unsigned)(u - units);
		p++;
		if (shift && tolower((unsigned char)*p) == 'i')
			p++;
		if (shift && tolower((unsigned char)*p) == 'b')
			p++;
		if (*p)
			return -EINVAL;
	}
	if (whole > UINT64_MAX >> shift)
		return -ERANGE;
	uint64_t part = (uint64_t)(((unsigned __int128)frac << shift) / scale);

	uint64_t sum;

	if (__builtin_add_overflow(whole << shift, part, &sum))
		return -ERANGE;
	*ret_bytes = sum;
	return 0;
}

unsigned str_distance(const char *a, const char *b, unsigned max)
{
	size_t la = strlen(a), lb = strlen(b);

	if (la > 64 || lb > 64 || (la > lb ? la - lb : lb - la) > max)
		return max + 1;
	unsigned d[66][66];

	for (size_t i = 0; i <= la; i++)
		d[i][0] = (unsigned)i;
	for (size_t j = 0; j <= lb; j++)
		d[0][j] = (unsigned)j;
	for (size_t i = 1; i <= la; i++)
		for (size_t j = 1; j <= lb; j++) {
			unsigned best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);

			if (d[i - 1][j] + 1 < best)
				best = d[i - 1][j] + 1;
			if (d[i][j - 1] + 1 < best)
				best = d[i][j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    d[i - 2][j - 2] + 1 < best)
				best = d[i - 2][j - 2] + 1;
			d[i][j] = best;
		}
	return d[la][lb] > max ? max + 1 : d[la][lb];
}
