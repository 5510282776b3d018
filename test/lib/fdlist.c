/* fdlist: one line "NUMBER TARGET" for each open file descriptor, then "cwd TARGET". Static, so
 * that it runs in any root file system, and opens nothing itself. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static void show(const char *name, const char *link)
{
	char target[4096];
	ssize_t n = readlink(link, target, sizeof target);

	printf("%s %.*s\n", name, n > 0 ? (int)n : 1, n > 0 ? target : "?");
}

int main(void)
{
	for (int fd = 0; fd < 4096; fd++) {
		char name[16], link[64];

		if (fcntl(fd, F_GETFD) < 0)
			continue;
		snprintf(name, sizeof name, "%d", fd);
		snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
		show(name, link);
	}
	show("cwd", "/proc/self/cwd");
	return 0;
}
