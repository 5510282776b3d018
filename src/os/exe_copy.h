/* A program in a form that nobody can write through /proc/PID/exe: shared by os/exe.c and the
 * launcher, which has no C library. Two forms, in this order:
 *   - a detached mount of the file alone, read-only (open_tree(2), mount_setattr(2)): 0.04 ms. The
 * fd's close at execve(2) dissolves the mount, so that no mount namespace has it and nobody can
 * make it writable again; opening it for writing fails with EROFS, whoever asks. Needs
 * CAP_SYS_ADMIN and Linux 5.12.
 *   - a sealed memfd with the bytes that execution needs: 0.7 ms, most of it for fresh pages. */
#ifndef OS_EXE_COPY_H
#define OS_EXE_COPY_H

#include "os/bare.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <linux/mount.h>
#include <sys/mman.h>
#include <sys/stat.h>

#ifndef MFD_EXEC /* Linux 6.3 */
#define MFD_EXEC 0x0010U
#endif

/* How much of the file its execution needs: up to the end of the last PT_LOAD. Symbols and debug
 * information lie behind. */
static inline size_t exe_copy_extent(const unsigned char *file, size_t size)
{
	const Elf64_Ehdr *h = (const void *)file;
	size_t end = 0;

	if (size < sizeof(*h) || h->e_phentsize != sizeof(Elf64_Phdr) || h->e_phoff > size ||
	    (size - h->e_phoff) / sizeof(Elf64_Phdr) < h->e_phnum)
		return size;
	const Elf64_Phdr *p = (const void *)(file + h->e_phoff);

	for (unsigned i = 0; i < h->e_phnum; i++)
		if (p[i].p_type == PT_LOAD && p[i].p_offset + p[i].p_filesz > end)
			end = p[i].p_offset + p[i].p_filesz;
	return end && end < size ? end : size;
}

static inline int exe_copy_bytes(const void *map, size_t size, const char *name)
{
	int copy = (int)bare(SYS_memfd_create, name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);

	if (copy == -EINVAL)
		copy = (int)bare(SYS_memfd_create, name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (copy < 0)
		return copy;
	size_t extent = exe_copy_extent(map, size), done = 0;
	long n = 1;

	while (done < extent && n > 0) {
		n = bare(SYS_write, copy, (const char *)map + done, extent - done);
		done += n > 0 ? (size_t)n : 0;
	}
	if (n > 0)
		n = bare(SYS_fcntl, copy, F_ADD_SEALS,
			 F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
	if (n < 0) {
		bare(SYS_close, copy);
		return (int)n;
	}
	return copy;
}

/* The copy is one write(2) from a mapping: sendfile(2) goes page by page through a pipe and takes a
 * hundred times as long. */
static inline int exe_copy_file(const char *path, const char *name)
{
	int fd = (int)bare(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return fd;
	long rc = bare(SYS_fstat, fd, &st);
	long map =
	    rc < 0 ? rc
		   : bare(SYS_mmap, 0, st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);

	bare(SYS_close, fd);
	if (map < 0 && map > -4096)
		return (int)map;
	int copy = exe_copy_bytes((const void *)map, (size_t)st.st_size, name);

	bare(SYS_munmap, map, st.st_size);
	return copy;
}

static inline int exe_detached_mount(const char *path)
{
	struct mount_attr a = {.attr_set = MOUNT_ATTR_RDONLY};
	int fd = (int)bare(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	long rc = fd < 0 ? fd : bare(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &a, sizeof(a));

	if (fd >= 0 && rc < 0)
		bare(SYS_close, fd);
	return rc < 0 ? (int)rc : fd;
}

/* Returns an O_CLOEXEC fd for execveat(2), or a negative errno. */
static inline int exe_protect(const char *path, const char *name)
{
	int fd = exe_detached_mount(path);

	return fd >= 0 ? fd : exe_copy_file(path, name);
}

#endif
