/* viv-runtime: the OCI runtime's command line. Names, arguments and exit statuses are runc's, so
 * that podman, containerd and dockerd can be pointed at it; its main re-executes itself from a
 * sealed memfd where a container could otherwise reach the program file (runtime_main.c). */
#include "cmd/runtime.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "container/spec.h"
#include "io/logsink.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct logsink sink;

/* clang-format off */
static const struct cli_flag globals[] = {
	{"root", 0, CLI_STRING, "DIR", "directory of the containers' state", NULL, NULL, "dir"},
	{"log", 0, CLI_STRING, "FILE", "append the log to FILE instead of standard error", NULL, NULL, "file"},
	{"log-format", 0, CLI_ENUM, "FORMAT", "form of the log", "text|json", "text", NULL},
	{"debug", 0, CLI_BOOL, NULL, "log every step", NULL, NULL, NULL},
	{"systemd-cgroup", 0, CLI_BOOL, NULL, "let systemd make the control group: cgroupsPath is slice:prefix:name", NULL, NULL, NULL},
	{"rootless", 0, CLI_ENUM, "MODE", "ignore what an ordinary user may not do to control groups", "auto|true|false", "auto", NULL},
	{"criu", 0, CLI_STRING, "PATH", "accepted and ignored: checkpoints are not supported yet", NULL, NULL, NULL, true},
	{0},
};

#define START_FLAGS \
	{"bundle", 'b', CLI_STRING, "DIR", "the bundle: config.json and root file system", NULL, ".", "dir"}, \
	{"console-socket", 0, CLI_STRING, "SOCKET", "UNIX socket that gets the terminal's master", NULL, NULL, "file"}, \
	{"pidfd-socket", 0, CLI_STRING, "SOCKET", "UNIX socket that gets a pidfd of the process", NULL, NULL, "file"}, \
	{"pid-file", 0, CLI_STRING, "FILE", "write the process id to FILE", NULL, NULL, "file"}, \
	{"no-pivot", 0, CLI_BOOL, NULL, "move the root instead of pivoting: for a host that runs from its initramfs", NULL, NULL, NULL}, \
	{"no-new-keyring", 0, CLI_BOOL, NULL, "share the caller's session keyring", NULL, NULL, NULL}, \
	{"preserve-fds", 0, CLI_UINT, "N", "hand descriptors 3 to 3+N-1 to the container", NULL, "0", NULL}

static const struct cli_flag create_flags[] = {START_FLAGS, {0}};

static const struct cli_flag run_flags[] = {
	START_FLAGS,
	{"detach", 'd', CLI_BOOL, NULL, "return when the container runs", NULL, NULL, NULL},
	{"keep", 0, CLI_BOOL, NULL, "do not delete the container when it ends", NULL, NULL, NULL},
	{"no-subreaper", 0, CLI_BOOL, NULL, "do not adopt orphaned processes of the container", NULL, NULL, NULL},
	{0},
};

static const struct cli_flag exec_flags[] = {
	{"console-socket", 0, CLI_STRING, "SOCKET", "UNIX socket that gets the terminal's master", NULL, NULL, "file"},
	{"pidfd-socket", 0, CLI_STRING, "SOCKET", "UNIX socket that gets a pidfd of the process", NULL, NULL, "file"},
	{"cwd", 0, CLI_STRING, "DIR", "working directory in the container", NULL, NULL, NULL},
	{"env", 'e', CLI_LIST, "K=V", "set an environment variable", NULL, NULL, NULL},
	{"tty", 't', CLI_BOOL, NULL, "allocate a terminal", NULL, NULL, NULL},
	{"user", 'u', CLI_STRING, "UID[:GID]", "user and group ids", NULL, NULL, NULL},
	{"additional-gids", 'g', CLI_LIST, "GID", "an additional group id", NULL, NULL, NULL},
	{"process", 'p', CLI_STRING, "FILE", "process.json that describes the process", NULL, NULL, "file"},
	{"detach", 'd', CLI_BOOL, NULL, "return when the process runs", NULL, NULL, NULL},
	{"pid-file", 0, CLI_STRING, "FILE", "write the process id to FILE", NULL, NULL, "file"},
	{"process-label", 0, CLI_STRING, "LABEL", "SELinux label of the process", NULL, NULL, NULL},
	{"apparmor", 0, CLI_STRING, "PROFILE", "AppArmor profile of the process", NULL, NULL, NULL},
	{"no-new-privs", 0, CLI_BOOL, NULL, "set no_new_privs", NULL, NULL, NULL},
	{"cap", 'c', CLI_LIST, "CAP", "add a capability", NULL, NULL, NULL},
	{"preserve-fds", 0, CLI_UINT, "N", "hand descriptors 3 to 3+N-1 to the process", NULL, "0", NULL},
	{"cgroup", 0, CLI_LIST, "PATH", "control group below the container's, \"controller:path\" on cgroup v1", NULL, NULL, NULL},
	{"ignore-paused", 0, CLI_BOOL, NULL, "start in a paused container: runs when it is resumed", NULL, NULL, NULL},
	{"no-subreaper", 0, CLI_BOOL, NULL, "accepted for compatibility", NULL, NULL, NULL, true},
	{0},
};

static const struct cli_flag list_flags[] = {
	{"format", 'f', CLI_ENUM, "FORMAT", "output format", "table|json", "table", NULL},
	{"quiet", 'q', CLI_BOOL, NULL, "print names only", NULL, NULL, NULL},
	{0},
};

static const struct cli_flag kill_flags[] = {
	{"all", 'a', CLI_BOOL, NULL, "signal every process of the container", NULL, NULL, NULL},
	{0},
};

static const struct cli_flag delete_flags[] = {
	{"force", 'f', CLI_BOOL, NULL, "kill it first; what does not exist is no error", NULL, NULL, NULL},
	{0},
};

static const struct cli_flag spec_flags[] = {
	{"bundle", 'b', CLI_STRING, "DIR", "where to write config.json", NULL, NULL, "dir"},
	{"rootless", 0, CLI_BOOL, NULL, "for an ordinary user: a user namespace with the caller as root", NULL, NULL, NULL},
	{0},
};

static const struct cli_flag ps_flags[] = {
	{"format", 'f', CLI_ENUM, "FORMAT", "output format", "table|json", "table", NULL},
	{0},
};

static const struct cli_flag events_flags[] = {
	{"interval", 0, CLI_DURATION, "TIME", "time between two statistics", NULL, "5s", NULL},
	{"stats", 0, CLI_BOOL, NULL, "print the statistics once and end", NULL, NULL, NULL},
	{0},
};

static const struct cli_flag update_flags[] = {
	{"resources", 'r', CLI_STRING, "FILE", "linux.resources as JSON, \"-\" for standard input; other flags are ignored then", NULL, NULL, "file"},
	{"blkio-weight", 0, CLI_UINT, "N", "block I/O weight, 10 to 1000", NULL, NULL, NULL},
	{"cpu-period", 0, CLI_UINT, "US", "CPU period in microseconds", NULL, NULL, NULL},
	{"cpu-quota", 0, CLI_INT, "US", "CPU time per period in microseconds, -1 unlimited", NULL, NULL, NULL},
	{"cpu-burst", 0, CLI_UINT, "US", "CPU burst in microseconds", NULL, NULL, NULL},
	{"cpu-share", 0, CLI_UINT, "N", "CPU shares", NULL, NULL, NULL},
	{"cpu-rt-period", 0, CLI_UINT, "US", "real-time period in microseconds", NULL, NULL, NULL},
	{"cpu-rt-runtime", 0, CLI_INT, "US", "real-time runtime in microseconds", NULL, NULL, NULL},
	{"cpuset-cpus", 0, CLI_STRING, "LIST", "CPUs that may be used", NULL, NULL, NULL},
	{"cpuset-mems", 0, CLI_STRING, "LIST", "memory nodes that may be used", NULL, NULL, NULL},
	{"cpu-idle", 0, CLI_INT, "N", "1: scheduled as idle", NULL, NULL, NULL},
	{"memory", 0, CLI_STRING, "BYTES", "memory limit, -1 unlimited", NULL, NULL, NULL},
	{"memory-reservation", 0, CLI_STRING, "BYTES", "memory reservation (soft limit)", NULL, NULL, NULL},
	{"memory-swap", 0, CLI_STRING, "BYTES", "memory plus swap, -1 unlimited", NULL, NULL, NULL},
	{"kernel-memory", 0, CLI_STRING, "BYTES", "accepted and ignored: the kernel dropped it", NULL, NULL, NULL, true},
	{"kernel-memory-tcp", 0, CLI_STRING, "BYTES", "accepted and ignored", NULL, NULL, NULL, true},
	{"pids-limit", 0, CLI_INT, "N", "number of processes, -1 unlimited", NULL, NULL, NULL},
	{"l3-cache-schema", 0, CLI_STRING, "TEXT", "Intel RDT: not supported yet", NULL, NULL, NULL, true},
	{"mem-bw-schema", 0, CLI_STRING, "TEXT", "Intel RDT: not supported yet", NULL, NULL, NULL, true},
	{0},
};

static const struct cli_command commands[] = {
	{"run", "Life", "CONTAINER", "create and start a container", NULL,
	 "viv runtime run web\trun the bundle in the current directory\n"
	 "viv runtime run -d --pid-file web.pid -b /srv/web web\tin the background",
	 NULL, run_flags, 1, 1, false, false, runtime_run},
	{"create", "Life", "CONTAINER", "create a container; its program waits for `start`", NULL,
	 "viv runtime create -b /srv/web web", NULL, create_flags, 1, 1, false, false, runtime_create},
	{"start", "Life", "CONTAINER", "execute the program of a created container", NULL,
	 "viv runtime start web", "container", NULL, 1, 1, false, false, runtime_start},
	{"exec", "Life", "CONTAINER COMMAND [ARG...]", "execute another program in a running container", NULL,
	 "viv runtime exec -t web sh\ta shell in the container", "container", exec_flags, 1, -1, true, false, runtime_exec},
	{"kill", "Life", "CONTAINER [SIGNAL]", "send a signal, SIGTERM by default", NULL,
	 "viv runtime kill web KILL", "container", kill_flags, 1, 2, false, false, runtime_kill},
	{"delete", "Life", "CONTAINER", "remove what is left of a stopped container", NULL,
	 "viv runtime delete --force web\tkill it first", "container", delete_flags, 1, 1, false, false, runtime_delete},
	{"pause", "Life", "CONTAINER", "freeze all processes", NULL, NULL, "container", NULL, 1, 1, false, false, runtime_pause},
	{"resume", "Life", "CONTAINER", "thaw all processes", NULL, NULL, "container", NULL, 1, 1, false, false, runtime_resume},
	{"update", "Life", "CONTAINER", "change resource limits", NULL,
	 "viv runtime update --memory 512m --pids-limit 100 web", "container", update_flags, 1, 1, false, false, runtime_update},
	{"state", "Look", "CONTAINER", "print the state as JSON", NULL, NULL, "container", NULL, 1, 1, false, false, runtime_state},
	{"list", "Look", "", "list the containers", NULL, NULL, NULL, list_flags, 0, 0, false, false, runtime_list},
	{"ps", "Look", "CONTAINER [PS-OPTION...]", "list the processes of a container", NULL, NULL, "container", ps_flags, 1, -1, true, false, runtime_ps},
	{"events", "Look", "CONTAINER", "print statistics and out-of-memory events as JSON", NULL, NULL, "container", events_flags, 1, 1, false, false, runtime_events},
	{"spec", "Make", "", "write an example config.json", NULL, "viv runtime spec --rootless", NULL, spec_flags, 0, 0, false, false, runtime_spec},
	{"features", "Make", "", "print what this runtime supports, as JSON", NULL, NULL, NULL, NULL, 0, 0, false, false, runtime_features},
	{0},
};
/* clang-format on */

static const char *const groups[] = {"Life", "Look", "Make", NULL};

static void print_version(void)
{
	const struct scmp_version *v = seccomp_version();

	printf("viv-runtime version %s\nspec: %s\nlibseccomp: %u.%u.%u\n", VIV_VERSION,
	       SPEC_VERSION, v->major, v->minor, v->micro);
}

static int open_log(struct cli *c)
{
	const char *file = cli_string(c, "log");
	bool json = str_eq(cli_string(c, "log-format"), "json");
	enum log_level max = cli_bool(c, "debug") ? LOG_LVL_DEBUG : LOG_LVL_INFO;
	struct err e = {0};

	if (!file || !*file) {
		logsink_init(&sink, STDERR_FILENO, json ? LOGSINK_JSON : LOGSINK_LOGFMT,
			     "viv-runtime");
	} else if (logsink_open_file(&sink, file, json ? LOGSINK_JSON : LOGSINK_LOGFMT,
				     "viv-runtime", &e)) {
		cli_fail(c, &e);
		return 1;
	}
	log_to(logsink_write, &sink, max);
	return 0;
}

static int print_names(const char *kind, const char *prefix)
{
	char **names = NULL;
	int root = str_eq(kind, "container") ? container_root_open(NULL, false, NULL) : -1;

	if (root < 0 || container_names(root, &names, NULL))
		return 0;
	for (char **n = names; *n; n++)
		if (str_after(*n, prefix))
			puts(*n);
	mem_strv_free(names);
	close(root);
	return 0;
}

extern const struct cli_program runtime_program;
const struct cli_program runtime_program = {
    .name = "viv runtime",
    .summary =
	"the OCI runtime: containers from bundles, for podman, containerd, dockerd and by hand",
    .description = "Implements the OCI runtime specification " SPEC_VERSION
		   " with runc's commands, arguments and exit "
		   "statuses. A bundle is a directory with config.json and a root file system; "
		   "'viv runtime spec' writes an example of the former.",
    .tables = (const struct cli_command *const[]){commands, NULL},
    .globals = globals,
    .groups = groups,
    .usage_status = 1,
    .section = 8,
    .version = print_version,
    .before = open_log,
    .names = print_names,
};

int runtime_root(struct cli *c, bool create)
{
	struct err e = {0};
	int fd = container_root_open(cli_string(c, "root"), create, &e);

	if (fd < 0)
		runtime_fail(c, &e, 1);
	return fd;
}

int runtime_fail(struct cli *c, const struct err *e, int status)
{
	const struct err_info *info = err_info(e->code);

	/* The caller of the runtime reads the log file, or one line on standard error; a person
	 * gets the cure as well. */
	if (sink.fd != STDERR_FILENO || sink.format == LOGSINK_JSON)
		log_error("%s", e->msg);
	if (sink.fd == STDERR_FILENO && sink.format == LOGSINK_JSON)
		return status;
	if (cli_program(c)->link_style)
		fprintf(stderr, "%s: %s\n", cli_program(c)->name, e->msg);
	else
		fprintf(stderr, "%s: %s [%s]\n", cli_program(c)->name, e->msg, info->name);
	if (isatty(STDERR_FILENO) && !cli_program(c)->link_style)
		fprintf(stderr, "try: %s   more: viv explain %s\n", info->cure, info->name);
	return status;
}
