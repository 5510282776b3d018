/* Entry of viv-runtime. A process that enters a container must not run from a file that the
 * container could overwrite through /proc/PID/exe (CVE-2019-5736), so the program runs from a
 * sealed memfd: `viv runtime` starts it from one; where it was started by its path, it starts
 * itself again. */
#include "cmd/runtime.h"
#include "base/cleanup.h"
#include "os/exe.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

extern const struct cli_program runtime_program;

int main(int argc, char **argv)
{
	int rc = exe_seal(argv);

	if (rc) {
		fprintf(stderr, "viv-runtime: cannot copy itself into a sealed memfd: %s\n",
			strerror(-rc));
		return 1;
	}
	struct cli_program p = runtime_program;
	const char *slash = strrchr(argv[0], '/');

	p.link_style = !strcmp(slash ? slash + 1 : argv[0], "runc");
	if (p.link_style)
		p.name = "runc";
	return cli_main(&p, argc, argv);
}
