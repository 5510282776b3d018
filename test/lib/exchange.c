/* exchange A B: swaps two names again and again, as an attacker does who owns a directory that
 * someone else is walking through. Ends with its parent. */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>

int main(int argc, char **argv)
{
	if (argc != 3)
		errx(2, "usage: exchange A B");
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		err(1, "prctl");
	for (;;)
		if (renameat2(AT_FDCWD, argv[1], AT_FDCWD, argv[2], RENAME_EXCHANGE) < 0 &&
		    errno != EBUSY)
			err(1, "renameat2");
}
