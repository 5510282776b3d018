/* "Splitting Hard Disk Images" and "Dynamic Disk Header Format": how a differencing VHD names its parent.
 *
 * Windows stores an absolute and a relative path, both with backslashes; the relative one is the one
 * that still means something elsewhere, so it goes first. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "disk/utf16.h"
#include "disk/vhd_int.h"

static void use_slashes(char *s)
{
	for (; *s; s++)
		if (*s == '\\')
			*s = '/';
}

/* The name of a locator's bytes as a path here. Appends nothing where it is none. */
static int decode(const struct vhd_locator *l, const uint8_t *raw, size_t len, struct buf *b)
{
	const char *path;
	int rc;

	if (l->platform == VHD_MACX) {
		_free_ char *url = mem_strndup((const char *)raw, len);

		path = str_after(url, "file://");
		if (path)
			buf_adds(b, path);
		return 0;
	}
	rc = utf16_decode(raw, len, false, b);
	if (rc < 0 || !b->len)
		return rc;
	use_slashes(b->s);
	path = str_after(b->s, "./");
	if (path)
		memmove(b->s, path, strlen(path) + 1);
	b->len = strlen(b->s);
	return 0;
}

static int read_locator(struct vhd *s, const struct vhd_locator *l, struct buf *b)
{
	_free_ uint8_t *raw = NULL;
	int rc;

	if (!l->length || l->length > VHD_LOCATOR_MAX)
		return -EINVAL;
	raw = mem_alloc(l->length);
	rc = disk_pread(s->d->file, l->offset, raw, l->length);
	return rc < 0 ? rc : decode(l, raw, l->length, b);
}

int vhd_parent_name(struct vhd *s, char **ret_name, struct err *e)
{
	static const uint32_t order[] = {VHD_W2RU, VHD_MACX, VHD_W2KU};
	_buf_ struct buf b = {0};
	int rc;

	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		for (size_t j = 0; j < VHD_LOCATORS; j++) {
			const struct vhd_locator *l = &s->dynamic.locator[j];

			buf_reset(&b);
			if (l->platform == order[i] && !read_locator(s, l, &b) && b.len) {
				*ret_name = buf_take(&b);
				return 0;
			}
		}
	}
	buf_reset(&b);
	rc = utf16_decode(s->dynamic.parent_name, sizeof(s->dynamic.parent_name), true, &b);
	if (rc < 0 || !b.len)
		return err_set(e, ERR_DISK_FORMAT, -EINVAL,
			       "the differencing VHD names no parent that can be read");
	use_slashes(b.s);
	*ret_name = buf_take(&b);
	return 0;
}

int vhd_parent_set(struct vhd_dynamic *d, const char *path, uint64_t offset, uint8_t **ret_data,
		   size_t *ret_len, struct err *e)
{
	const char *base = strrchr(path, '/');
	_free_ char *windows = *path == '/' ? mem_strdup(path) : mem_printf(".\\%s", path);
	_buf_ struct buf locator = {0}, name = {0};
	int rc;

	for (char *p = windows; *p; p++)
		if (*p == '/')
			*p = '\\';
	rc = utf16_encode(windows, false, &locator);
	if (!rc)
		rc = utf16_encode(base ? base + 1 : path, true, &name);
	if (rc < 0 || locator.len > VHD_LOCATOR_MAX)
		return err_set(
		    e, ERR_DISK_OPTION, -EINVAL,
		    "the backing file's name '%s' cannot be stored in a VHD: it is too long or not "
		    "UTF-8",
		    path);
	memcpy(d->parent_name, buf_str(&name), MIN(name.len, sizeof(d->parent_name) - 2));
	d->locator[0] = (struct vhd_locator){
	    .platform = *path == '/' ? VHD_W2KU : VHD_W2RU,
	    /* The specification says sectors, Windows writes bytes, as everybody since. */
	    .space = bits_align_up(locator.len, VHD_SECTOR),
	    .length = locator.len,
	    .offset = offset,
	};
	*ret_len = d->locator[0].space;
	*ret_data = mem_alloc(*ret_len);
	memcpy(*ret_data, locator.s, locator.len);
	return 0;
}
