/* The index follows from the tar alone, so it is made again and compared byte by byte: that finds
 * every flipped bit of either. */
#include "image/layer_int.h"

#include "base/bits.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "codec/tar.h"
#include "image/erofs_write.h"
#include "image/store_int.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define PIECE (256u << 10)

static int damaged(const struct digest *diff_id, const char *what, struct err *e)
{
	return err_set(e, ERR_LAYER_DIGEST, -EBADMSG, "layer %s is damaged: %s",
		       digest_text(diff_id, (char[DIGEST_TEXT_MAX]){0}), what);
}

/* Reads the whole tar: digest and index of what is there. */
static int read_again(int tar, struct erofs_writer *w, const struct digest *diff_id, struct err *e)
{
	static const struct tar_sink sink = {erofs_writer_entry, erofs_writer_data};
	_digest_stream_ struct digest_stream *d = digest_stream_new(diff_id->alg);
	_free_ char *piece = mem_alloc(PIECE);
	struct tar_reader *r = tar_reader_new(&sink, w);
	struct digest is;
	char hex[DIGEST_HEX_MAX];
	uint64_t total = 0;
	ssize_t n;
	int rc = 0;

	while (!rc && (n = read(tar, piece, PIECE)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			rc = err_sys(e, ERR_LAYER_IO, "cannot read a layer");
			break;
		}
		digest_stream_add(d, piece, (size_t)n);
		total += (uint64_t)n;
		rc =
		    tar_reader_feed(r, piece, (size_t)n, NULL) ? damaged(diff_id, "its tar", e) : 0;
	}
	tar_reader_free(r);
	if (rc)
		return rc;
	digest_stream_end(d, &is);
	if (!digest_eq(&is, diff_id))
		return damaged(diff_id, "its tar has another digest", e);
	digest_hex(&is, hex);
	hex[64] = '\0';
	return erofs_writer_finish(w, total, hex, e);
}

static int compare(int a, int b, const struct digest *diff_id, struct err *e)
{
	_free_ char *x = mem_alloc(PIECE), *y = mem_alloc(PIECE);
	struct stat sa, sb;

	if (fstat(a, &sa) || fstat(b, &sb))
		return err_sys(e, ERR_LAYER_IO, "cannot read a layer");
	if (sa.st_size != sb.st_size)
		return damaged(diff_id, "its index has another size", e);
	for (off_t at = 0; at < sa.st_size; at += PIECE) {
		ssize_t want = MIN(sa.st_size - at, (off_t)PIECE);

		if (pread(a, x, PIECE, at) != want || pread(b, y, PIECE, at) != want)
			return err_set(e, ERR_LAYER_IO, -EIO, "cannot read a layer's index");
		if (memcmp(x, y, (size_t)want))
			return damaged(diff_id, "its index", e);
	}
	return 0;
}

int layer_verify(struct image_store *s, const struct digest *diff_id, struct err *e)
{
	_close_ int dir = layer_open_dir(s, diff_id, e);
	_free_ char *name = NULL;
	int rc = dir < 0 ? dir : image_store_temp_name(s, "verify", &name, e);

	if (rc)
		return rc;
	_close_ int tar = path_open(dir, LAYER_TAR, O_RDONLY, 0);
	_close_ int index = path_open(dir, LAYER_INDEX, O_RDONLY, 0);

	if (tar == -ENOENT && path_exists(dir, LAYER_ROOT))
		return 0; /* an unpacked directory says nothing about its tar */
	if (tar < 0 || index < 0)
		return damaged(diff_id, "a file of it is missing", e);
	_close_ int again = path_open(s->fd, name, O_RDWR | O_CREAT | O_EXCL, 0600);

	if (again < 0)
		return store_fail(s, again, e, "make", name);
	path_unlink(s->fd, name);
	struct erofs_writer *w = erofs_writer_new(again);

	rc = read_again(tar, w, diff_id, e);
	erofs_writer_free(w);
	return rc ? rc : compare(index, again, diff_id, e);
}
