#include "state/holder.h"

#include "os/path.h"
#include "os/proc.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

/* Offsets in the record. */
enum { AT_FORMAT = 0, AT_PID = 4, AT_BOOT_ID = 8, AT_START = 24, AT_PID_NS = 32, AT_TIME_NS = 40 };

static void put_u64(uint8_t *out, uint64_t v)
{
	v = htole64(v);
	memcpy(out, &v, sizeof(v));
}

static uint64_t get_u64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

void holder_encode(const struct state_holder *h, uint8_t out[HOLDER_BYTES])
{
	uint32_t format = htole32(HOLDER_FORMAT), pid = htole32((uint32_t)h->pid);

	memcpy(out + AT_FORMAT, &format, sizeof(format));
	memcpy(out + AT_PID, &pid, sizeof(pid));
	memcpy(out + AT_BOOT_ID, h->boot_id, sizeof(h->boot_id));
	put_u64(out + AT_START, h->start_time);
	put_u64(out + AT_PID_NS, h->pid_ns);
	put_u64(out + AT_TIME_NS, h->time_ns);
}

int holder_decode(const void *bytes, size_t len, struct state_holder *ret)
{
	const uint8_t *p = bytes;
	uint32_t format, pid;

	if (len != HOLDER_BYTES)
		return -EBADMSG;
	memcpy(&format, p + AT_FORMAT, sizeof(format));
	memcpy(&pid, p + AT_PID, sizeof(pid));
	pid = le32toh(pid);
	if (le32toh(format) != HOLDER_FORMAT || pid == 0 || pid > INT32_MAX)
		return -EBADMSG;
	*ret = (struct state_holder){.pid = (pid_t)pid,
				     .start_time = get_u64(p + AT_START),
				     .pid_ns = get_u64(p + AT_PID_NS),
				     .time_ns = get_u64(p + AT_TIME_NS)};
	memcpy(ret->boot_id, p + AT_BOOT_ID, sizeof(ret->boot_id));
	return 0;
}

/* random(4): "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx" */
static int read_boot_id(uint8_t out[16])
{
	char line[64];
	int n = path_read_line(AT_FDCWD, "/proc/sys/kernel/random/boot_id", line, sizeof(line));
	int digits = 0;

	memset(out, 0, 16);
	for (const char *p = line; n > 0 && *p; p++) {
		static const char hex[] = "0123456789abcdef";
		const char *d = strchr(hex, *p);

		if (!d || digits == 32)
			continue;
		out[digits / 2] = (uint8_t)(out[digits / 2] << 4 | (d - hex));
		digits++;
	}
	return n < 0 ? n : digits == 32 ? 0 : -EBADMSG;
}

/* The namespace's inode number, which is its identity as long as it exists; 0 where the kernel has
 * none. */
static uint64_t ns_of(pid_t pid, const char *kind)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, kind);
	return path_stat(AT_FDCWD, path, &st) == 0 ? st.st_ino : 0;
}

int state_holder_of(pid_t pid, struct state_holder *ret, struct err *e)
{
	struct state_holder h = {.pid = pid ? pid : getpid()};
	char letter;
	int rc = read_boot_id(h.boot_id);

	rc = rc ? rc : proc_stat(h.pid, &h.start_time, &letter);
	if (rc)
		return err_set(e, ERR_SYS, rc, "cannot identify process %d: %s", h.pid,
			       strerror(-rc));
	h.pid_ns = ns_of(h.pid, "pid");
	h.time_ns = ns_of(h.pid, "time");
	*ret = h;
	return 0;
}

bool holder_gone(struct holder_view *v, const struct state_holder *h)
{
	uint64_t start;
	char letter;

	if (!v->known) {
		if (read_boot_id(v->boot_id))
			return false;
		v->pid_ns = ns_of(getpid(), "pid");
		v->time_ns = ns_of(getpid(), "time");
		v->known = true;
	}
	if (memcmp(v->boot_id, h->boot_id, sizeof(v->boot_id)))
		return true;
	if (v->pid_ns != h->pid_ns || v->time_ns != h->time_ns)
		return false;
	int rc = proc_stat(h->pid, &start, &letter);

	if (!rc)
		return start != h->start_time || letter == 'Z' || letter == 'X';
	/* /proc may hide the processes of others (hidepid): the kernel's own word decides. */
	return rc == -ESRCH && kill(h->pid, 0) < 0 && errno == ESRCH;
}
