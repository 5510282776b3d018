/* What `spec` writes: a configuration to start from, with the content that runc's users know. */
#include "container/spec.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "os/path.h"

#include <assert.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/magic.h>

/* clang-format off */
static const char head[] =
	"{'ociVersion': '" SPEC_VERSION "',"
	"'process': {"
		"'terminal': true, 'user': {'uid': 0, 'gid': 0}, 'args': ['sh'],"
		"'env': ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'TERM=xterm'],"
		"'cwd': '/',"
		"'capabilities': {"
			"'bounding': ['CAP_AUDIT_WRITE', 'CAP_KILL', 'CAP_NET_BIND_SERVICE'],"
			"'effective': ['CAP_AUDIT_WRITE', 'CAP_KILL', 'CAP_NET_BIND_SERVICE'],"
			"'permitted': ['CAP_AUDIT_WRITE', 'CAP_KILL', 'CAP_NET_BIND_SERVICE']},"
		"'rlimits': [{'type': 'RLIMIT_NOFILE', 'hard': 1024, 'soft': 1024}],"
		"'noNewPrivileges': true},"
	"'root': {'path': 'rootfs', 'readonly': true},"
	"'hostname': 'runc',"
	"'mounts': ["
		"{'destination': '/proc', 'type': 'proc', 'source': 'proc'},"
		"{'destination': '/dev', 'type': 'tmpfs', 'source': 'tmpfs',"
			"'options': ['nosuid', 'strictatime', 'mode=755', 'size=65536k']},"
		"{'destination': '/dev/pts', 'type': 'devpts', 'source': 'devpts',"
			"'options': ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620'";
static const char tty_gid[] =
			", 'gid=5'"; /* Debian's and most others' group tty */
static const char mounts[] =
			"]},"
		"{'destination': '/dev/shm', 'type': 'tmpfs', 'source': 'shm',"
			"'options': ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k']},"
		"{'destination': '/dev/mqueue', 'type': 'mqueue', 'source': 'mqueue',"
			"'options': ['nosuid', 'noexec', 'nodev']},";
static const char sysfs[] =
		"{'destination': '/sys', 'type': 'sysfs', 'source': 'sysfs',"
			"'options': ['nosuid', 'noexec', 'nodev', 'ro']},";
static const char sysfs_bind[] = /* sysfs belongs to the network namespace, which is the host's here */
		"{'destination': '/sys', 'type': 'none', 'source': '/sys',"
			"'options': ['rbind', 'nosuid', 'noexec', 'nodev', 'ro']},";
static const char cgroup[] =
		"{'destination': '/sys/fs/cgroup', 'type': 'cgroup', 'source': 'cgroup',"
			"'options': ['nosuid', 'noexec', 'nodev', 'relatime', 'ro']}],"
	"'linux': {";
static const char resources[] =
		"'resources': {'devices': [{'allow': false, 'access': 'rwm'}]},"
		"'namespaces': [{'type': 'pid'}, {'type': 'network'}";
static const char idmaps[] =
		"'uidMappings': [{'containerID': 0, 'hostID': %u, 'size': 1}],"
		"'gidMappings': [{'containerID': 0, 'hostID': %u, 'size': 1}],"
		"'namespaces': [{'type': 'pid'}, {'type': 'user'}";
static const char cgroup_ns[] =
			", {'type': 'cgroup'}";
static const char tail[] =
			", {'type': 'ipc'}, {'type': 'uts'}, {'type': 'mount'}],"
		"'maskedPaths': ['/proc/acpi', '/proc/asound', '/proc/kcore', '/proc/keys', '/proc/latency_stats',"
			"'/proc/timer_list', '/proc/timer_stats', '/proc/sched_debug', '/sys/firmware', '/proc/scsi'],"
		"'readonlyPaths': ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger']}}";
/* clang-format on */

static bool host_is_cgroup2(void)
{
	_close_ int fd = path_open(AT_FDCWD, "/sys/fs/cgroup", O_PATH | O_DIRECTORY, 0);

	return fd >= 0 && fd_is_fs(fd, CGROUP2_SUPER_MAGIC);
}

/* jansson indents by blanks; runc, and what people pipe it through, by tabs. */
static void tabs_for_blanks(char *text)
{
	bool indent = true;

	for (char *p = text; *p; p++) {
		if (indent && *p == ' ')
			*p = '\t';
		else
			indent = *p == '\n';
	}
}

char *spec_default(bool rootless, uid_t uid, gid_t gid)
{
	_buf_ struct buf b = {0};

	buf_adds(&b, head);
	if (!rootless)
		buf_adds(&b, tty_gid);
	buf_adds(&b, mounts);
	buf_adds(&b, rootless ? sysfs_bind : sysfs);
	buf_adds(&b, cgroup);
	if (rootless)
		buf_addf(&b, idmaps, uid, gid);
	else
		buf_adds(&b, resources);
	if (host_is_cgroup2())
		buf_adds(&b, cgroup_ns);
	buf_adds(&b, tail);
	for (char *p = b.s; *p; p++)
		if (*p == '\'')
			*p = '"';

	json_t *spec = json_loadb(b.s, b.len, 0, NULL);
	char *text = spec ? json_dumps(spec, JSON_INDENT(1)) : NULL;

	assert(text); /* the template is well-formed */
	json_decref(spec);
	tabs_for_blanks(text);
	return text;
}
