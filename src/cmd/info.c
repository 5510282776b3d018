/* viv, viv version, viv info. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/commands.h"
#include "cmd/viv.h"
#include "codec/template.h"
#include "container/spec.h"
#include "os/path.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include <libfyaml.h>

/* Containers of `viv runtime` with its default --root: one directory each. */
static int count_containers(const char *run)
{
	_free_ char *path = mem_printf("%s/runtime", run);
	int fd = path_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
	_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	int n = 0;

	for (struct dirent *entry; dir && (entry = readdir(dir));)
		n += entry->d_name[0] != '.' && entry->d_type == DT_DIR;
	return n;
}

/* Where run-time state is, by the kind of user (CLI chapter, "Files"). Returns owned. */
static char *run_dir(void)
{
	const char *xdg = getenv("XDG_RUNTIME_DIR");

	return geteuid() && xdg && *xdg == '/'
		   ? mem_printf("%s/viv", xdg)
		   : (geteuid() ? mem_printf("/tmp/viv-%u", geteuid()) : mem_strdup("/run/viv"));
}

int cmd_version(struct cli *c)
{
	static const struct output_column columns[] = {
	    {"Version", "VERSION", false},          {"Compiler", "COMPILER", false},
	    {"RuntimeSpec", "RUNTIME SPEC", false}, {"Jansson", "JANSSON", false},
	    {"Libfyaml", "LIBFYAML", false},        {0},
	};
	_json_ json_t *v =
	    json_pack("{s:s, s:s, s:s, s:s, s:s}", "Version", VIV_VERSION, "Compiler", __VERSION__,
		      "RuntimeSpec", SPEC_VERSION, "Jansson", jansson_version_str(), "Libfyaml",
		      fy_library_version());

	return viv_print_object(c, columns, v);
}

int cmd_info(struct cli *c)
{
	static const struct output_column columns[] = {
	    {"Version", "VERSION", false},
	    {"Kernel", "KERNEL", false},
	    {"Architecture", "ARCHITECTURE", false},
	    {"CPUs", "CPUS", false},
	    {"MemTotal", "MEMORY", false},
	    {"Rootless", "ROOTLESS", false},
	    {"DataDir", "DATA", false},
	    {"RunDir", "RUN", false},
	    {"Containers", "CONTAINERS", false},
	    {0},
	};
	_free_ char *data = NULL, *run = run_dir();
	struct utsname u;
	struct sysinfo memory;
	struct err e = {0};

	if (viv_data_dir(c, &data, &e))
		return cli_fail(c, &e);
	uname(&u);
	sysinfo(&memory);
	_json_ json_t *v = json_pack(
	    "{s:s, s:s, s:s, s:i, s:I, s:b, s:s, s:s, s:i}", "Version", VIV_VERSION, "Kernel",
	    u.release, "Architecture", u.machine, "CPUs", get_nprocs(), "MemTotal",
	    (json_int_t)memory.totalram * memory.mem_unit, "Rootless", geteuid() != 0, "DataDir",
	    data, "RunDir", run, "Containers", count_containers(run));

	return viv_print_object(c, columns, v);
}

int cmd_status(struct cli *c)
{
	_free_ char *run = run_dir();
	int containers = count_containers(run);
	struct utsname u;

	uname(&u);
	printf("Vivarium %s on %s %s, as %s\n", VIV_VERSION, u.sysname, u.release,
	       geteuid() ? "an ordinary user" : "root");
	printf("%d container%s of the low-level runtime\n\n", containers,
	       containers == 1 ? "" : "s");
	if (containers)
		puts("next: viv runtime list         # what they are");
	else
		puts("next: viv doctor               # what this host can do");
	puts("      viv --help               # all commands");
	return 0;
}
