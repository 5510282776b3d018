/* Drives layers from scripts. usage: layerctl DATA COMMAND:
 *	write erofs|dir|auto TAR        stores a layer; prints its DiffID
 *	mount|mount-child TARGET UPPER WORK DIFFID…
 *	                                mounts layers, the lowest first, at TARGET; UPPER and WORK "-":
 *	                                read-only; mount-child: as on older kernels
 *	bench - - - DIFFID…            mounts them a hundred times; prints the median in ms
 *	pack DIRECTORY                 an upper directory as a layer, to standard output
 *	verify|remove|exists DIFFID */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/layer_int.h"
#include "image/pack.h"
#include "os/path.h"

static int write_layer(struct image_store *s, const char *backend, const char *tar, struct err *e)
{
	static char piece[256 << 10];
	char text[DIGEST_TEXT_MAX];
	struct digest diff_id;
	struct layer_writer *w;
	_close_ int fd = path_open(AT_FDCWD, tar, O_RDONLY, 0);
	int rc = layer_writer_new(s, NULL,
				  str_eq(backend, "dir")     ? LAYER_DIR
				  : str_eq(backend, "erofs") ? LAYER_EROFS
							     : LAYER_AUTO,
				  &w, e);

	if (rc)
		return rc;
	for (ssize_t n; !rc && (n = read(fd, piece, sizeof(piece))) > 0;)
		rc = layer_writer_append(w, piece, (size_t)n, e);
	rc = rc ? rc : layer_writer_commit(w, &diff_id, e);
	layer_writer_free(w);
	if (!rc)
		puts(digest_text(&diff_id, text));
	return rc;
}

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static int bench_mount(struct image_store *s, const struct layer_mount *m, struct err *e)
{
	double ms[100];

	for (size_t i = 0; i < ARRAY_SIZE(ms); i++) {
		struct timespec from, to;

		clock_gettime(CLOCK_MONOTONIC, &from);
		int fd = layer_mount(s, m, e);

		clock_gettime(CLOCK_MONOTONIC, &to);
		if (fd < 0)
			return fd;
		close(fd);
		ms[i] = (double)(to.tv_sec - from.tv_sec) * 1e3 +
			(double)(to.tv_nsec - from.tv_nsec) / 1e6;
	}
	qsort(ms, ARRAY_SIZE(ms), sizeof(*ms), compare);
	printf("%.2f\n", ms[ARRAY_SIZE(ms) / 2]);
	return 0;
}

static int mount_layers(struct image_store *s, const char *how, char **args, int n, struct err *e)
{
	struct digest diff_ids[LAYER_COUNT_MAX];
	bool writable = !str_eq(args[1], "-");
	struct layer_mount m = {.diff_ids = diff_ids,
				.count = (size_t)n - 3,
				.upper = writable ? args[1] : NULL,
				.work = writable ? args[2] : NULL};

	for (int i = 3; i < n; i++)
		if (digest_parse(args[i], &diff_ids[i - 3]))
			return err_set(e, ERR_USAGE, -EINVAL, "no digest: %s", args[i]);
	if (str_eq(how, "bench"))
		return bench_mount(s, &m, e);
	_close_ int fd =
	    str_eq(how, "mount-child") ? layer_mount_in_child(s, &m, e) : layer_mount(s, &m, e);

	if (fd < 0)
		return fd;
	return syscall(SYS_move_mount, fd, "", AT_FDCWD, args[0], MOVE_MOUNT_F_EMPTY_PATH)
		   ? err_sys(e, ERR_SYS, "move_mount")
		   : 0;
}

static int put(void *arg, const void *p, size_t len, struct err *e)
{
	return fd_write_all(STDOUT_FILENO, p, len);
}

static int pack(const char *dir, struct err *e)
{
	_close_ int fd = path_open(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY, 0);

	return pack_tree(fd, &(struct pack_options){.layer = true}, put, NULL, e);
}

static int run(struct image_store *s, int argc, char **argv, struct err *e)
{
	struct digest d;

	if (str_eq(argv[0], "write") && argc == 3)
		return write_layer(s, argv[1], argv[2], e);
	if (str_eq(argv[0], "pack") && argc == 2)
		return pack(argv[1], e);
	if (argc >= 4 && (str_after(argv[0], "mount") || str_eq(argv[0], "bench")))
		return mount_layers(s, argv[0], argv + 1, argc - 1, e);
	if (argc != 2 || digest_parse(argv[1], &d))
		return err_set(e, ERR_USAGE, -EINVAL, "see the source");
	if (str_eq(argv[0], "verify"))
		return layer_verify(s, &d, e);
	if (str_eq(argv[0], "remove"))
		return layer_remove(s, &d, e);
	return layer_exists(s, &d) ? 0 : err_set(e, ERR_LAYER_MISSING, -ENOENT, "no");
}

int main(int argc, char **argv)
{
	struct err e = {0};
	struct state *state = NULL;
	struct image_store *s = NULL;

	if (argc < 3)
		return 2;
	int rc = state_open(argv[1], NULL, &state, &e);

	rc = rc ? rc : image_store_open(argv[1], state, &s, &e);
	rc = rc ? rc : run(s, argc - 2, argv + 2, &e);
	if (rc)
		fprintf(stderr, "layerctl: %s [%s]\n", e.msg, err_info(e.code)->name);
	image_store_free(s);
	state_free(state);
	return rc ? 1 : 0;
}
