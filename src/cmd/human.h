/* Sizes and times as Docker shows them to people. */
#ifndef CMD_HUMAN_H
#define CMD_HUMAN_H

#include <stdint.h>

/* "0B", "7.8MB", "1.02GB": decimal units, three digits. Returns owned. */
char *human_size(uint64_t bytes);
/* "2 weeks ago", of seconds since 1970. Returns owned. */
char *human_ago(int64_t then_s, int64_t now_s);
/* "2026-11-25 07:00:00 +0000 UTC". Returns owned. */
char *human_time(int64_t then_s);
/* RFC 3339, as in OCI documents; fractions are cut off. -EINVAL. */
int human_parse_time(const char *text, int64_t *ret_s);

#endif
