#include "disk/luks_format.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "disk/luks.h"
#include "disk/luks_head.h"

/* Encrypted in one go; longer requests are cut. */
#define BOUNCE_BYTES (1u << 20)
/* Less is done where it is: another thread would cost more. */
#define THREAD_BYTES (32u << 10)

struct luks {
	struct disk_luks *luks;
	uint64_t payload;
};

static int area_read(void *arg, uint64_t offset, void *buf, size_t len)
{
	return disk_pread(arg, offset, buf, len);
}

static int area_write(void *arg, uint64_t offset, const void *buf, size_t len)
{
	int rc = disk_pwrite(arg, offset, buf, len, 0);

	/* Key slots change in an order that must last. */
	return rc < 0 ? rc : disk_flush(arg);
}

static struct disk_luks_area area_of(struct disk *file)
{
	return (struct disk_luks_area){.read = area_read, .write = area_write, .arg = file};
}

static int probe(const uint8_t *buf, size_t len, const char *name)
{
	return luks_head_probe(buf, len) && len > 7 && buf[7] == 1 ? 100 : 0;
}

static int luks_open(struct disk *d, json_t *o, struct err *e)
{
	struct luks *s = d->state;
	struct disk_luks_area area = area_of(d->file);
	int rc;

	if (disk_size(d->file) < LUKS_HEAD_BYTES)
		return err_set(e, ERR_DISK_FORMAT, -EINVAL, "Volume is not in LUKS format");
	rc = disk_luks_open(d->ctx, &area, o, d->flags & DISK_NO_IO, &s->luks, e);
	if (rc < 0)
		return rc;
	s->payload = disk_luks_payload_offset(s->luks);
	if (disk_size(d->file) < s->payload) {
		disk_luks_free(s->luks);
		return err_set(e, ERR_DISK_FORMAT, -EINVAL,
			       "the LUKS volume has been cut short: its payload is not there");
	}
	d->size = bits_align_down(disk_size(d->file) - s->payload, DISK_LUKS_SECTOR);
	d->align = DISK_LUKS_SECTOR;
	d->encrypted = true;
	return 0;
}

static int luks_close(struct disk *d)
{
	struct luks *s = d->state;

	disk_luks_free(s->luks);
	return 0;
}

struct job {
	struct disk_luks *luks;
	bool encrypt;
	uint64_t offset;
	uint8_t *buf;
	size_t len;
};

static int run_job(void *arg)
{
	struct job *j = arg;

	return (j->encrypt ? disk_luks_encrypt : disk_luks_decrypt)(j->luks, j->offset, j->buf,
								    j->len);
}

static int transform(struct disk *d, bool encrypt, uint64_t offset, uint8_t *buf, size_t len)
{
	struct luks *s = d->state;
	struct job j = {s->luks, encrypt, offset, buf, len};

	return len < THREAD_BYTES ? run_job(&j) : co_call(d->ctx, run_job, &j);
}

static int luks_preadv(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
		       size_t at)
{
	struct luks *s = d->state;
	_free_ uint8_t *buf = mem_alloc(MIN(len, (size_t)BOUNCE_BYTES));

	while (len) {
		size_t n = MIN(len, (size_t)BOUNCE_BYTES);
		int rc = disk_pread(d->file, s->payload + offset, buf, n);

		if (!rc)
			rc = transform(d, false, offset, buf, n);
		if (rc < 0)
			return rc;
		disk_vec_put(v, at, buf, n);
		offset += n;
		at += n;
		len -= n;
	}
	return 0;
}

static int luks_pwritev(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
			size_t at, unsigned flags)
{
	struct luks *s = d->state;
	_free_ uint8_t *buf = mem_alloc(MIN(len, (size_t)BOUNCE_BYTES));

	while (len) {
		size_t n = MIN(len, (size_t)BOUNCE_BYTES);
		int rc;

		disk_vec_get(v, at, buf, n);
		rc = transform(d, true, offset, buf, n);
		if (!rc)
			rc = disk_pwrite(d->file, s->payload + offset, buf, n, 0);
		if (rc < 0)
			return rc;
		offset += n;
		at += n;
		len -= n;
	}
	return 0;
}

/* A hole in the file is not zeros but noise: nothing starts zeroed. */
static bool luks_starts_zeroed(struct disk *d)
{
	return false;
}

static int luks_truncate(struct disk *d, uint64_t size, bool exact, enum disk_prealloc prealloc,
			 unsigned flags, struct err *e)
{
	struct luks *s = d->state;
	uint64_t aligned = bits_align_up(size, DISK_LUKS_SECTOR), old = d->size;
	int rc = disk_truncate(d->file, s->payload + aligned, exact, prealloc, 0, e);

	if (rc < 0)
		return rc;
	d->size = aligned;
	return flags & DISK_TRUNCATE_ZERO && aligned > old
		   ? disk_write_zeroes(d, old, aligned - old, 0)
		   : 0;
}

static int luks_get_info(struct disk *d, struct disk_info *ret, struct err *e)
{
	struct luks *s = d->state;

	ret->encrypted = true;
	ret->specific = json_pack("{s:s, s:o}", "type", "luks", "data", disk_luks_info(s->luks));
	return 0;
}

static const struct disk_opt amend_opts[] = {
    {"state", DISK_OPT_STRING, "Select new state of affected keyslots (active/inactive)", NULL},
    {"keyslot", DISK_OPT_NUMBER, "Select a single keyslot to modify explicitly", NULL},
    {"old-secret", DISK_OPT_STRING, "Select all keyslots that match this password", NULL},
    {"new-secret", DISK_OPT_STRING,
     "New secret to set in the matching keyslots. Empty string to erase", NULL},
    {"iter-time", DISK_OPT_NUMBER, "Time to spend in PBKDF in milliseconds", NULL},
    {0},
};

static int luks_create(const struct disk_create *c, struct err *e)
{
	struct disk_luks_area area;
	struct disk *file;
	uint64_t payload;
	json_t *copy;
	int rc;

	if (c->backing_file)
		return err_set(e, ERR_UNSUPPORTED, -ENOTSUP, "LUKS volumes have no backing file");
	copy = json_deep_copy(c->opts);
	rc = disk_luks_measure(c->ctx, copy, &payload, e);
	json_decref(copy);
	if (rc < 0)
		return rc;
	rc =
	    disk_create_file(c->ctx, c->filename,
			     payload + bits_align_up(c->size, DISK_LUKS_SECTOR), c->opts, &file, e);
	if (rc < 0)
		return rc;
	area = area_of(file);
	rc = disk_luks_create(c->ctx, &area, c->opts, e);
	disk_close(file);
	return rc;
}

static int luks_amend(struct disk *d, json_t *opts, bool force, const struct disk_progress *p,
		      struct err *e)
{
	struct luks *s = d->state;
	struct disk_luks_area area = area_of(d->file);

	return disk_luks_amend(s->luks, &area, opts, force, e);
}

static int luks_measure(const struct disk_create *c, struct disk *in, struct disk_measure *ret,
			struct err *e)
{
	uint64_t payload;
	int rc = disk_luks_measure(c->ctx, c->opts, &payload, e);

	if (rc < 0)
		return rc;
	ret->required = ret->fully_allocated = payload + bits_align_up(c->size, DISK_LUKS_SECTOR);
	return 0;
}

const struct disk_driver disk_driver_luks = {
    .name = "luks",
    .kind = DISK_KIND_FORMAT,
    .state_size = sizeof(struct luks),
    .probe = probe,
    .open = luks_open,
    .close = luks_close,
    .preadv = luks_preadv,
    .pwritev = luks_pwritev,
    .truncate = luks_truncate,
    .starts_zeroed = luks_starts_zeroed,
    .get_info = luks_get_info,
    .create_opts = disk_luks_create_opts,
    .amend_opts = amend_opts,
    .create = luks_create,
    .amend = luks_amend,
    .measure = luks_measure,
};
