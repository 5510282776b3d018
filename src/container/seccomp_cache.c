/* The cache of compiled filters: a directory of small files, each named by a hash of its key and
 * used only if the whole key is in it. A file, in the host's byte order:
 *
 *     char magic[8]; uint32_t key_len, count; uint64_t sum;
 *     key[key_len]; struct sock_filter insns[count]
 *
 * sum guards the instructions against what a power cut leaves of a file that was not
 * synchronised. Losing the cache costs 10 ms, so nothing here is an error. */
#include "container/seccomp_int.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "os/path.h"

#include <fcntl.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAGIC        "VIVSCF1\n"
#define PREFIX       "seccomp-"
#define FILE_MAX     (4u << 20)
#define DIR_SCAN_MAX 4096 /* entries */

struct header {
	char magic[8];
	uint32_t key_len, count;
	uint64_t sum;
};

/* FNV-1a */
static uint64_t hash(const void *data, size_t len)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (const unsigned char *p = data, *end = p + len; p < end; p++)
		h = (h ^ *p) * UINT64_C(0x100000001b3);
	return h;
}

static void put_u64(struct buf *b, uint64_t v)
{
	buf_add(b, &v, sizeof(v));
}

void seccomp_key(const struct spec_seccomp *s, struct buf *key)
{
	const struct scmp_version *v = seccomp_version();

	buf_reserve(key, 8192); /* Docker's profile takes 7000 bytes */
	buf_addf(key, "viv %s libseccomp %u.%u.%u arch %x\n", VIV_VERSION, v->major, v->minor,
		 v->micro, seccomp_arch_native());
	put_u64(key, s->default_action);
	put_u64(key, s->architectures_count);
	buf_add(key, s->architectures, s->architectures_count * sizeof(*s->architectures));
	for (size_t i = 0; i < s->rules_count; i++) {
		const struct spec_seccomp_rule *r = &s->rules[i];

		put_u64(key, r->action);
		for (char **name = r->names; *name; name++)
			buf_add(key, *name, strlen(*name) + 1);
		buf_addc(key, '\0'); /* no name is empty: this ends the list */
		put_u64(key, r->args_count);
		for (size_t j = 0; j < r->args_count; j++) {
			const struct spec_seccomp_arg *a = &r->args[j];

			put_u64(key, (uint64_t)a->index << 32 | (uint32_t)a->op);
			put_u64(key, a->value);
			put_u64(key, a->value_two);
		}
	}
}

void seccomp_cache_format(const struct buf *key, const struct seccomp_prog *p, struct buf *out)
{
	size_t size = p->count * sizeof(*p->insns);
	struct header h = {MAGIC, (uint32_t)key->len, p->count, hash(p->insns, size)};

	buf_reserve(out, sizeof(h) + key->len + size);
	buf_add(out, &h, sizeof(h));
	buf_add(out, key->s, key->len);
	buf_add(out, p->insns, size);
}

bool seccomp_cache_parse(const void *data, size_t len, const struct buf *key,
			 struct seccomp_prog *ret)
{
	struct header h;

	if (len < sizeof(h))
		return false;
	memcpy(&h, data, sizeof(h));
	if (memcmp(h.magic, MAGIC, sizeof(h.magic)) || h.key_len != key->len || !h.count ||
	    h.count > BPF_MAXINSNS)
		return false;
	const char *rest = (const char *)data + sizeof(h);
	size_t size = h.count * sizeof(*ret->insns);

	if (len - sizeof(h) != key->len + size || memcmp(rest, key->s, key->len) ||
	    hash(rest + key->len, size) != h.sum)
		return false;
	ret->insns = mem_dup(rest + key->len, size);
	ret->count = (unsigned short)h.count;
	ret->has_notify = false;
	return true;
}

/* Ours, and nobody else may have written it. */
static bool trusted(int fd, mode_t type, off_t *ret_size)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || (st.st_mode & S_IFMT) != type || st.st_uid != geteuid() ||
	    st.st_mode & (S_IWGRP | S_IWOTH))
		return false;
	*ret_size = st.st_size;
	return true;
}

static void name_of(const struct buf *key, char *name, size_t size)
{
	snprintf(name, size, PREFIX "%016llx", (unsigned long long)hash(key->s, key->len));
}

bool seccomp_cache_get(int dirfd, const struct buf *key, struct seccomp_prog *ret)
{
	char name[64];
	off_t size;

	if (!trusted(dirfd, S_IFDIR, &size))
		return false;
	name_of(key, name, sizeof(name));
	_close_ int fd = path_open(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);

	if (fd < 0 || !trusted(fd, S_IFREG, &size) || size > FILE_MAX)
		return false;
	_free_ char *data = malloc((size_t)size + 1);

	return data && read(fd, data, (size_t)size) == size &&
	       seccomp_cache_parse(data, (size_t)size, key, ret);
}

/* Removes the file of ours that was written first while there are SECCOMP_CACHE_FILES or more. */
static void evict(int dirfd)
{
	for (;;) {
		int fd = path_open(dirfd, ".", O_RDONLY | O_DIRECTORY, 0);
		_closedir_ DIR *d = fd < 0 ? NULL : fdopendir(fd);
		char oldest[NAME_MAX + 1] = "";
		struct timespec when = {0};
		size_t count = 0, scanned = 0;

		for (struct dirent *de; d && scanned++ < DIR_SCAN_MAX && (de = readdir(d));) {
			struct stat st;

			if (!str_after(de->d_name, PREFIX) ||
			    path_lstat(dirfd, de->d_name, &st) < 0)
				continue;
			if (!count++ || st.st_mtim.tv_sec < when.tv_sec ||
			    (st.st_mtim.tv_sec == when.tv_sec &&
			     st.st_mtim.tv_nsec < when.tv_nsec)) {
				when = st.st_mtim;
				snprintf(oldest, sizeof(oldest), "%s", de->d_name);
			}
		}
		if (count < SECCOMP_CACHE_FILES || path_unlink(dirfd, oldest) < 0)
			return;
	}
}

void seccomp_cache_put(int dirfd, const struct buf *key, const struct seccomp_prog *p)
{
	_buf_ struct buf file = {0};
	char name[64];
	off_t size;

	seccomp_cache_format(key, p, &file);
	if (file.len > FILE_MAX || !trusted(dirfd, S_IFDIR, &size))
		return;
	name_of(key, name, sizeof(name));
	evict(dirfd);
	path_replace(dirfd, name, file.s, file.len, 0600, false);
}
