#include "io/logsink.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "os/path.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

/* Names as logrus (and so runc) writes them, and priorities of syslog(3). */
static const struct {
	const char *name;
	char priority;
} levels[] = {
    [LOG_LVL_ERROR] = {"error", '3'},
    [LOG_LVL_WARN] = {"warning", '4'},
    [LOG_LVL_INFO] = {"info", '6'},
    [LOG_LVL_DEBUG] = {"debug", '7'},
};

/* RFC 3339 in UTC: the local zone would be read from /etc/localtime, which is the container's after
 * pivot_root. */
static void add_time(struct buf *b)
{
	struct timespec now;
	struct tm tm;
	char text[32];

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	buf_adds(b, text);
}

static void format_text(struct buf *b, const char *name, const char *level, const char *msg)
{
	buf_addf(b, "%s: %s: ", name, level);
	for (const char *p = msg; *p; p++) {
		unsigned char c = (unsigned char)*p;

		if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
			buf_addf(b, "\\x%02x", c);
		else
			buf_addc(b, *p);
	}
	buf_addc(b, '\n');
}

static void format_logfmt(struct buf *b, const char *level, const char *msg)
{
	buf_adds(b, "time=\"");
	add_time(b);
	buf_addf(b, "\" level=%s msg=", level);
	buf_add_json_string(b, msg);
	buf_addc(b, '\n');
}

static void format_json(struct buf *b, const char *level, const char *msg)
{
	buf_addf(b, "{\"level\":\"%s\",\"msg\":", level);
	buf_add_json_string(b, msg);
	buf_adds(b, ",\"time\":\"");
	add_time(b);
	buf_adds(b, "\"}\n");
}

/* MESSAGE goes in the form with a length, the only one that may hold newlines. */
static void format_journal(struct buf *b, const char *name, char priority, const char *msg)
{
	uint64_t len = htole64(strlen(msg));

	buf_adds(b, "MESSAGE\n");
	buf_add(b, &len, sizeof(len));
	buf_addf(b, "%s\nPRIORITY=%c\nSYSLOG_IDENTIFIER=%s\n", msg, priority, name);
}

/* What does not fit a datagram travels in a sealed memfd, the datagram itself being empty. */
static void send_memfd(int sock, const struct buf *b)
{
	_close_ int memfd = fd_memfd_sealed("viv-log", b->s, b->len);

	if (memfd < 0)
		return;
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct msghdr msg = {.msg_control = &control, .msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &memfd, sizeof(int));
	(void)!sendmsg(sock, &msg, MSG_NOSIGNAL);
}

void logsink_init(struct logsink *s, int fd, enum logsink_format format, const char *name)
{
	*s = (struct logsink){.fd = fd, .format = format, .name = name};
}

int logsink_open_file(struct logsink *s, const char *path, enum logsink_format format,
		      const char *name, struct err *e)
{
	int fd = path_open(AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY, 0644);

	if (fd < 0)
		return err_set(e, ERR_SYS, fd, "cannot open log file '%s': %s", path,
			       strerror(-fd));
	logsink_init(s, fd, format, name);
	s->owns_fd = true;
	return 0;
}

int logsink_open_journal(struct logsink *s, const char *socket_path, const char *name,
			 struct err *e)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	if (strlen(socket_path) >= sizeof(sa.sun_path))
		return err_set(e, ERR_SYS, -ENAMETOOLONG, "socket path '%s' is too long",
			       socket_path);
	strcpy(sa.sun_path, socket_path);
	_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_sys(e, ERR_SYS, "cannot reach the journal at '%s'", socket_path);
	logsink_init(s, STEAL_FD(fd), LOGSINK_JOURNAL, name);
	s->owns_fd = true;
	return 0;
}

void logsink_done(struct logsink *s)
{
	if (s->owns_fd)
		close(s->fd);
	*s = (struct logsink){.fd = -1};
}

void logsink_write(void *arg, enum log_level level, const char *msg)
{
	struct logsink *s = arg;
	_buf_ struct buf b = {0};

	switch (s->format) {
	case LOGSINK_TEXT:
		format_text(&b, s->name, levels[level].name, msg);
		break;
	case LOGSINK_LOGFMT:
		format_logfmt(&b, levels[level].name, msg);
		break;
	case LOGSINK_JSON:
		format_json(&b, levels[level].name, msg);
		break;
	case LOGSINK_JOURNAL:
		format_journal(&b, s->name, levels[level].priority, msg);
		if (send(s->fd, b.s, b.len, MSG_NOSIGNAL) < 0 &&
		    (errno == EMSGSIZE || errno == ENOBUFS))
			send_memfd(s->fd, &b);
		return;
	}
	(void)!fd_write_all(s->fd, b.s, b.len);
}
