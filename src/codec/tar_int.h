/* What the files of the tar parser share: the ustar header's layout, numbers in it, PAX records and
 * sparse maps. */
#ifndef CODEC_TAR_INT_H
#define CODEC_TAR_INT_H

#include "base/vec.h"
#include "codec/tar.h"

/* pax, "ustar Interchange Format"; behind prefix GNU tar has fields of its own. */
struct tar_header {
	char name[100];
	char mode[8], uid[8], gid[8];
	char size[12], mtime[12];
	char checksum[8];
	char type;
	char link[100];
	char magic[6], version[2];
	char uname[32], gname[32];
	char major[8], minor[8];
	char prefix[155];
	char pad[12];
};

/* GNU tar manual, "Basic Tar Format", struct oldgnu_header and struct sparse. */
#define TAR_GNU_SPARSE       386 /* four pairs of 12-byte numbers … */
#define TAR_GNU_SPARSE_COUNT 4
#define TAR_GNU_EXTENDED     482 /* … not 0: a block of 21 more pairs follows */
#define TAR_GNU_REALSIZE     483
#define TAR_GNU_EXT_COUNT    21
#define TAR_GNU_EXT_EXTENDED 504

struct tar_segments {
	VEC(struct tar_segment) list;
};

/* What the PAX header before an entry said. Strings and xattrs point into the header's bytes. */
struct tar_pax {
	const char *path, *link;
	bool has_size, has_uid, has_gid, has_mtime;
	uint64_t size, uid, gid;
	int64_t mtime_s;
	uint32_t mtime_ns;
	VEC(struct tar_xattr) xattrs;
	/* GNU tar manual, "Storing Sparse Files": forms 0.0 and 0.1 give the map here, 1.0 in front
	 * of the data. */
	const char *sparse_name;
	uint64_t sparse_major, sparse_minor, sparse_size;
	bool has_sparse_size, has_sparse_map, half_segment;
	struct tar_segments segments;
};

/* Octal in ASCII with spaces or NULs around it, or base 256 where the first bit is set. -EBADMSG.
 */
int tar_number(const char *field, size_t len, int64_t *ret);

/* Reads the records of s, which it changes, into p. s[len] is writable. */
int tar_pax_parse(char *s, size_t len, struct tar_pax *p, struct err *e);
void tar_pax_reset(struct tar_pax *p);
void tar_pax_done(struct tar_pax *p);

/* Adds a segment; empty ones are dropped. -E2BIG past TAR_SEGMENTS_MAX. */
int tar_segments_add(struct tar_segments *s, uint64_t offset, uint64_t len, struct err *e);
/* In order, apart, inside size, and as long together as the stored bytes? */
int tar_segments_check(const struct tar_segments *s, uint64_t size, uint64_t stored, struct err *e);

#endif
