/* Where log records go (base/log.h): one sink per program, chosen at start. Each record is one
 * write(2) or one datagram, so records of several processes that share a file never mix. A record
 * that cannot be written is dropped: a log must not be what a program fails of. One thread.
 *
 *	struct logsink sink;
 *	logsink_init(&sink, STDERR_FILENO, LOGSINK_TEXT, "viv");
 *	log_to(logsink_write, &sink, LOG_LVL_INFO); */
#ifndef IO_LOGSINK_H
#define IO_LOGSINK_H

#include "base/err.h"
#include "base/log.h"

#include <stdbool.h>

/* Journald's native protocol: systemd, docs/JOURNAL_NATIVE_PROTOCOL.md. */
#define LOGSINK_JOURNAL_SOCKET "/run/systemd/journal/socket"

/* LOGFMT and JSON are runc's text and JSON form; time is RFC 3339 in UTC. */
enum logsink_format {
	LOGSINK_TEXT,    /* viv: warning: Message; control bytes as \xNN: it may be a terminal */
	LOGSINK_LOGFMT,  /* time="2026-01-02T03:04:05Z" level=warning msg="Message" */
	LOGSINK_JSON,    /* {"level":"warning","msg":"Message","time":"2026-01-02T03:04:05Z"} */
	LOGSINK_JOURNAL, /* a datagram of fields to journald */
};

struct logsink {
	int fd; /* owned if the sink opened it */
	bool owns_fd;
	enum logsink_format format;
	const char *name; /* borrowed; the program in TEXT, SYSLOG_IDENTIFIER in JOURNAL */
};

/* A sink on an fd that the caller keeps. */
void logsink_init(struct logsink *s, int fd, enum logsink_format format, const char *name);
/* A sink that appends to a file of the host, made with mode 0644 where it is missing. */
int logsink_open_file(struct logsink *s, const char *path, enum logsink_format format,
		      const char *name, struct err *e);
/* A sink on journald; -ENOENT or -ECONNREFUSED where none listens. socket_path:
 * LOGSINK_JOURNAL_SOCKET, or a test's. */
int logsink_open_journal(struct logsink *s, const char *socket_path, const char *name,
			 struct err *e);
void logsink_done(struct logsink *s);

/* The log_sink function; arg is the struct logsink. */
log_sink logsink_write;

#endif
