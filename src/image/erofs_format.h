/* The part of EROFS' on-disk format that indexes of layers consist of (Linux, fs/erofs/erofs_fs.h and
 * Documentation/filesystems/erofs.rst): offsets of fields, little-endian, read and written with
 * base/endian.h. doc/format/layers.md says which part of the format is used. */
#ifndef IMAGE_EROFS_FORMAT_H
#define IMAGE_EROFS_FORMAT_H

#define EROFS_BLOCK_BITS  9u /* a tar's blocks, so that files of it can be named */
#define EROFS_BLOCK       (1u << EROFS_BLOCK_BITS)
#define EROFS_SLOT        32u /* inodes are numbered by slots of that size */
#define EROFS_NAME_MAX    255u
#define EROFS_NO_BLOCK    0xffffffffu
#define EROFS_SYMLINK_MAX 4095u

/* superblock */
#define EROFS_SUPER_AT         1024u
#define EROFS_SUPER_SIZE       128u
#define EROFS_MAGIC            0xe0f5e1e2u
#define SB_MAGIC               0
#define SB_CHECKSUM            4
#define SB_COMPAT              8
#define SB_BLOCK_BITS          12 /* 8 bits */
#define SB_ROOT_NID            14 /* 16 bits */
#define SB_INODES              16 /* 64 bits */
#define SB_BLOCKS              36
#define SB_META_BLOCK          40
#define SB_UUID                48 /* 16 bytes */
#define SB_INCOMPAT            80
#define SB_EXTRA_DEVICES       86 /* 16 bits */
#define SB_DEVICE_SLOT         88 /* 16 bits, in units of EROFS_DEVICE_SIZE */
#define EROFS_COMPAT_CHKSUM    1u
#define EROFS_COMPAT_MTIME     2u
#define EROFS_INCOMPAT_CHUNKS  4u
#define EROFS_INCOMPAT_DEVICES 8u

/* device slot */
#define EROFS_DEVICE_AT   (EROFS_SUPER_AT + EROFS_SUPER_SIZE)
#define EROFS_DEVICE_SIZE 128u
#define EROFS_DEVICE_TAG  64u
#define DEV_BLOCKS        64
#define DEV_MAPPED        68 /* its place in the blocks that inodes name without a device */
#define EROFS_BODY_AT     (EROFS_DEVICE_AT + EROFS_DEVICE_SIZE)

/* extended inode */
#define EROFS_INODE_SIZE     64u
#define INO_FORMAT           0  /* 16 bits: bit 0 extended, bits 1 to 3 layout */
#define INO_XATTRS           2  /* 16 bits: 1 + words behind the header, or 0 */
#define INO_MODE             4  /* 16 bits */
#define INO_SIZE             8  /* 64 bits */
#define INO_DATA             16 /* block, device number, or chunk format */
#define INO_INO              20
#define INO_UID              24
#define INO_GID              28
#define INO_MTIME            32 /* 64 bits */
#define INO_MTIME_NSEC       40
#define INO_NLINK            44
#define EROFS_FORMAT(layout) (1u | (layout) << 1)
#define EROFS_LAYOUT_PLAIN   0u
#define EROFS_LAYOUT_INLINE  2u /* the last block follows the inode */
#define EROFS_LAYOUT_CHUNKS  4u
#define EROFS_CHUNK_BITS     0x1fu /* of the chunk format: log2(chunk / block) */
#define EROFS_CHUNK_INDEXES  0x20u
#define EROFS_CHUNK_SIZE     8u /* an index: 16 bits unused, 16 bits device, 32 bits block */

/* attributes behind an inode */
#define EROFS_XATTR_HEADER 12u
#define EROFS_XATTR_ENTRY  4u /* name length, prefix, 16 bits value length; padded to 4 */

/* directory entry */
#define EROFS_DIRENT_SIZE 12u
#define DIRENT_NID        0  /* 64 bits */
#define DIRENT_NAME       8  /* 16 bits: in the block; the first one tells their number */
#define DIRENT_TYPE       10 /* 8 bits, as in linux/fs_types.h */

#endif
