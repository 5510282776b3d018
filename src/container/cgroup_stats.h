/* Shared by the two halves of `events --stats`: JSON written as text, because the kernel's numbers
 * are unsigned 64-bit
 * ("no limit" is 2^64 - 1) and those of the JSON library are not. The form is runc's
 * (types/events.go): members that are zero are mostly left out. A file that is not there gives
 * nothing; no controller is needed. */
#ifndef CONTAINER_CGROUP_STATS_H
#define CONTAINER_CGROUP_STATS_H

#include "container/cgroup_int.h"

/* "key": with the comma that it needs. */
void stats_key(struct buf *b, const char *key);
void stats_open(struct buf *b, const char *key,
		char bracket); /* key NULL: an element of an array */
void stats_close(struct buf *b, char bracket);
void stats_number(struct buf *b, const char *key, uint64_t value); /* always */
void stats_nonzero(struct buf *b, const char *key, uint64_t value);
/* The file's number, or 0. */
uint64_t stats_read(const char *dir, const char *file);
uint64_t stats_read_key(const char *dir, const char *file, const char *key);
/* {"limit", "usage", "max", "failcnt"} */
void stats_memory_entry(struct buf *b, const char *key, uint64_t limit, uint64_t usage,
			uint64_t peak, uint64_t failcnt);
/* All "key number" lines of a file as one object. */
void stats_raw(struct buf *b, const char *key, const char *dir, const char *file);
/* One element of a blkio list: {"major", "minor", "op", "value"}. */
void stats_blkio_entry(struct buf *b, uint64_t major, uint64_t minor, const char *op,
		       uint64_t value);
/* Calls fn with each huge page size of the host ("2MB"). */
void stats_each_hugepage(void (*fn)(struct buf *b, const char *dir, const char *size),
			 struct buf *b, const char *dir);

void stats_v1(const struct cgroup *cg, struct buf *b);
void stats_v2(const struct cgroup *cg, struct buf *b);

#endif
