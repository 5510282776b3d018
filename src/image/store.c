#include "image/store_int.h"

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/userns.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

#define FOLDER_TMP    "tmp"
#define FOLDER_LAYERS "layers"
#define FILE_LOCK     "lock"
#define BLOB_MARK     "-blob." /* in the names of temporaries of blobs with a known digest */
#define HOLD_KEY_MAX  256

/* --- errors, folders, the lock --- */

int store_fail(const struct image_store *s, int rc, struct err *e, const char *what,
	       const char *name)
{
	return err_set(e, rc == -EACCES || rc == -EPERM ? ERR_DENIED : ERR_IMG_STORE, rc,
		       "cannot %s '%s/%s': %s", what, s->path, name, strerror(-rc));
}

static int make_folders(struct image_store *s, struct err *e)
{
	static const char *const folders[] = {"blobs/sha256", "blobs/sha512", FOLDER_LAYERS,
					      FOLDER_TMP};

	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		int rc = path_exists(s->fd, folders[i]) ? 0 : path_mkdirs(s->fd, folders[i], 0700);

		if (rc)
			return store_fail(s, rc, e, "make the folder", folders[i]);
	}
	return 0;
}

int store_sync_dir(struct image_store *s, const char *folder, struct err *e)
{
	_close_ int fd = path_open(s->fd, folder, O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0)
		return store_fail(s, fd, e, "open", folder);
	return fsync(fd) ? store_fail(s, -errno, e, "write", folder) : 0;
}

int store_lock(struct image_store *s, bool exclusive, struct err *e)
{
	_close_ int fd = path_open(s->fd, FILE_LOCK, O_RDWR | O_CREAT, 0600);

	if (fd < 0)
		return store_fail(s, fd, e, "open", FILE_LOCK);
	while (flock(fd, exclusive ? LOCK_EX : LOCK_SH))
		if (errno != EINTR)
			return store_fail(s, -errno, e, "lock", FILE_LOCK);
	return STEAL_FD(fd);
}

/* --- life cycle --- */

int image_store_open(const char *data_dir, struct state *state, struct image_store **ret,
		     struct err *e)
{
	_image_store_ struct image_store *s = mem_alloc(sizeof(*s));

	s->state = state;
	s->fd = -1;
	s->path = mem_printf("%s/images", data_dir);
	int rc = path_mkdirs(AT_FDCWD, s->path, 0700);

	if (!rc)
		rc = s->fd = path_open(AT_FDCWD, s->path, O_RDONLY | O_DIRECTORY, 0);
	if (rc < 0)
		return store_fail(s, rc, e, "open the image store", "");
	rc = make_folders(s, e);
	if (rc)
		return rc;
	*ret = STEAL(s);
	return 0;
}

void image_store_free(struct image_store *s)
{
	if (!s)
		return;
	if (s->lease) /* where that fails, the end of the process does it */
		state_lease_revoke(s->state, s->lease, NULL);
	if (s->fd >= 0)
		close(s->fd);
	free(s->path);
	free(s);
}

struct state *image_store_state(const struct image_store *s)
{
	return s->state;
}

int image_store_dirfd(const struct image_store *s)
{
	return s->fd;
}

const char *image_store_path(const struct image_store *s)
{
	return s->path;
}

/* --- temporaries --- */

static bool lease_lives(struct image_store *s, int64_t lease)
{
	struct err e = {0};

	/* In doubt (a store that cannot be read) it lives. */
	return state_lease_keepalive(s->state, lease, &e) != -ENOENT;
}

/* "LEASE.N-…" */
static bool parse_temporary(const char *name, int64_t *ret_lease)
{
	_free_ char *number = mem_strndup(name, strcspn(name, "."));

	return name[strlen(number)] == '.' && !str_to_i64(number, ret_lease) && *ret_lease > 0;
}

/* Calls fn for every temporary of an ended process; fn returns true to stop. */
static int each_orphan(struct image_store *s,
		       bool (*fn)(struct image_store *s, const char *name, void *arg), void *arg,
		       struct err *e)
{
	int fd = path_open(s->fd, FOLDER_TMP, O_RDONLY | O_DIRECTORY, 0);
	_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	int64_t lease, judged = 0;
	bool lives = false;

	if (!dir)
		return store_fail(s, fd < 0 ? fd : -errno, e, "open", FOLDER_TMP);
	for (struct dirent *entry; (entry = readdir(dir));) {
		if (entry->d_name[0] == '.')
			continue;
		/* A name of no lease is none of ours: whoever put it there keeps it. */
		if (!parse_temporary(entry->d_name, &lease) || lease == s->lease)
			continue;
		if (lease != judged)
			lives = lease_lives(s, lease);
		judged = lease;
		if (!lives && fn(s, entry->d_name, arg))
			break;
	}
	return 0;
}

static bool clear_one(struct image_store *s, const char *name, void *arg)
{
	const int64_t *keep_s = arg;
	_free_ char *path = mem_printf(FOLDER_TMP "/%s", name);
	struct stat st;

	if (strstr(name, BLOB_MARK) && !path_lstat(s->fd, path, &st) &&
	    st.st_mtim.tv_sec + *keep_s > time(NULL))
		return false;
	userns_remove_tree(s->fd, path); /* the next command tries again */
	return false;
}

int store_clear_temporaries(struct image_store *s, int64_t keep_s, struct err *e)
{
	return each_orphan(s, clear_one, &keep_s, e);
}

struct adoption {
	const char *mark, *name;
	bool done;
};

static bool adopt_one(struct image_store *s, const char *name, void *arg)
{
	struct adoption *a = arg;
	const char *mark = strstr(name, BLOB_MARK);

	if (!mark || !str_eq(mark, a->mark))
		return false;
	_free_ char *path = mem_printf(FOLDER_TMP "/%s", name);

	a->done = !path_rename(s->fd, path, a->name); /* one of two that try has it */
	return a->done;
}

bool store_adopt_partial(struct image_store *s, const struct digest *d, const char *name)
{
	char hex[DIGEST_HEX_MAX];
	_free_ char *mark =
	    mem_printf(BLOB_MARK "%s.%s", digest_alg_name(d->alg), digest_hex(d, hex));
	struct adoption a = {.mark = mark, .name = name};

	each_orphan(s, adopt_one, &a, NULL);
	return a.done;
}

int image_store_lease(struct image_store *s, int64_t *ret_lease, struct err *e)
{
	struct state_holder holder;
	int rc = 0;

	if (!s->lease) {
		rc = state_holder_of(0, &holder, e);
		rc = rc ? rc : state_lease_grant(s->state, &holder, &s->lease, e);
		rc = rc ? rc : store_clear_temporaries(s, STORE_PARTIAL_KEEP_S, e);
	}
	if (!rc)
		*ret_lease = s->lease;
	return rc;
}

int image_store_temp_name(struct image_store *s, const char *what, char **ret, struct err *e)
{
	int64_t lease;
	int rc = image_store_lease(s, &lease, e);

	if (!rc)
		*ret = mem_printf(FOLDER_TMP "/%" PRId64 ".%u-%s", lease, s->temp_next++, what);
	return rc;
}

/* --- holds --- */

/* A transaction may name a key once only, but an image may have the same layer twice. */
static bool listed_before(const struct digest *digests, size_t i)
{
	for (size_t j = 0; j < i; j++)
		if (digest_eq(&digests[j], &digests[i]))
			return true;
	return false;
}

static int hold_batch(struct image_store *s, int64_t lease, const struct digest *digests, size_t n,
		      struct err *e)
{
	struct state_op ops[STATE_OPS_MAX];
	char keys[STATE_OPS_MAX][HOLD_KEY_MAX], text[DIGEST_TEXT_MAX];
	_state_txn_result_ struct state_txn_result result = {0};
	size_t k = 0;

	for (size_t i = 0; i < n; i++) {
		if (listed_before(digests, i))
			continue;
		snprintf(keys[k], sizeof(keys[k]), IMAGE_HOLD_PREFIX "%016" PRIx64 "/%s",
			 (uint64_t)lease, digest_text(&digests[i], text));
		ops[k] =
		    (struct state_op){.verb = STATE_PUT, .key = state_str(keys[k]), .lease = lease};
		k++;
	}
	return state_txn(s->state, &(struct state_txn){.then_ops = ops, .then_count = k}, &result,
			 e);
}

int image_store_hold(struct image_store *s, const struct digest *digests, size_t n, struct err *e)
{
	int64_t lease;
	int rc = image_store_lease(s, &lease, e);
	/* The collector is not between looking at the keys and removing files. */
	_close_ int lock = rc ? -1 : store_lock(s, false, e);

	if (rc || lock < 0)
		return rc ? rc : lock;
	for (size_t done = 0; done < n && !rc; done += STATE_OPS_MAX)
		rc = hold_batch(s, lease, digests + done, MIN(n - done, (size_t)STATE_OPS_MAX), e);
	return rc;
}

const char *image_store_layer_name(const struct digest *diff_id,
				   char out[static DIGEST_HEX_MAX + 7])
{
	char hex[DIGEST_HEX_MAX];

	snprintf(out, DIGEST_HEX_MAX + 7, FOLDER_LAYERS "/%s", digest_hex(diff_id, hex));
	return out;
}
