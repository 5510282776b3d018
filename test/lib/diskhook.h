/* A host file whose changes are watched: counted, failed on request, or logged for replay. Takes the
 * place of a node's driver after it was opened; the node is closed as ever. One at a time. */
#ifndef TEST_LIB_DISKHOOK_H
#define TEST_LIB_DISKHOOK_H

#include <errno.h>

#include "base/mem.h"
#include "base/vec.h"
#include "disk/driver.h"

struct hook_write {
	bool flush; /* a barrier; the rest is empty */
	bool zero, truncate;
	uint64_t offset, len;
	uint8_t *data;
};

struct hook {
	const struct disk_driver *real;
	struct disk_driver driver;
	unsigned count;   /* changes so far */
	unsigned fail_at; /* this one fails … 0: none */
	int error;
	bool forever; /* … and all after it */
	bool logging;
	VEC(struct hook_write) log;
};

static struct hook *hook_now;

/* The change that is about to be made: 0, or the error that it meets. */
static inline int hook_step(void)
{
	struct hook *h = hook_now;
	unsigned n = ++h->count;

	if (h->fail_at && (n == h->fail_at || (h->forever && n > h->fail_at)))
		return h->error;
	return 0;
}

static inline int hook_pwritev(struct disk *d, uint64_t offset, size_t len,
			       const struct disk_vec *v, size_t at, unsigned flags)
{
	struct hook *h = hook_now;
	int rc = hook_step();

	if (rc < 0)
		return rc;
	if (h->logging) {
		struct hook_write w = {.offset = offset, .len = len, .data = mem_array(len, 1)};

		disk_vec_get(v, at, w.data, len);
		vec_push(&h->log, w);
	}
	return h->real->pwritev(d, offset, len, v, at, flags);
}

static inline int hook_write_zeroes(struct disk *d, uint64_t offset, uint64_t len, unsigned flags)
{
	struct hook *h = hook_now;
	int rc = hook_step();

	if (rc == 0)
		rc = h->real->write_zeroes(d, offset, len, flags);
	if (rc == 0 && h->logging)
		vec_push(&h->log, (struct hook_write){.zero = true, .offset = offset, .len = len});
	return rc;
}

/* A discarded range may read as anything: it stays as it is. */
static inline int hook_discard(struct disk *d, uint64_t offset, uint64_t len)
{
	return hook_step();
}

static inline int hook_flush(struct disk *d)
{
	struct hook *h = hook_now;

	if (h->logging)
		vec_push(&h->log, (struct hook_write){.flush = true});
	return 0;
}

static inline int hook_truncate(struct disk *d, uint64_t size, bool exact,
				enum disk_prealloc prealloc, unsigned flags, struct err *e)
{
	struct hook *h = hook_now;
	int rc = hook_step();

	if (rc < 0)
		return err_set(e, ERR_DISK_IO, rc, "a fault");
	rc = h->real->truncate(d, size, exact, prealloc, flags, e);
	if (rc == 0 && h->logging)
		vec_push(&h->log, (struct hook_write){.truncate = true, .len = size});
	return rc;
}

/* file: a host node. */
static inline void hook_set(struct hook *h, struct disk *file)
{
	hook_now = h;
	h->real = file->drv == &h->driver ? h->real : file->drv;
	h->driver = *h->real;
	h->driver.pwritev = hook_pwritev;
	h->driver.write_zeroes = hook_write_zeroes;
	h->driver.discard = hook_discard;
	h->driver.flush = hook_flush;
	h->driver.truncate = hook_truncate;
	file->drv = &h->driver;
}

static inline void hook_done(struct hook *h)
{
	vec_each (w, &h->log)
		free(w->data);
	vec_done(&h->log);
}

#endif
