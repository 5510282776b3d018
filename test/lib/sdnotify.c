/* sdnotify MESSAGE: tells the supervisor behind $NOTIFY_SOCKET, as sd_notify(3) does. Static, for
 * containers. */
#include <err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

int main(int argc, char **argv)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (argc != 2 || !path || strlen(path) >= sizeof a.sun_path)
		errx(2, "usage: NOTIFY_SOCKET=PATH sdnotify MESSAGE");
	strcpy(a.sun_path, path);
	if (sendto(sock, argv[1], strlen(argv[1]), 0, (struct sockaddr *)&a, sizeof a) < 0)
		err(1, "%s", path);
}
