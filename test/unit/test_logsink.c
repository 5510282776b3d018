#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/mem.h"
#include "fault.h"
#include "io/logsink.h"
#include "tmpdir.h"

/* What one record looks like, written to a pipe. */
static void written(enum logsink_format format, enum log_level level, const char *msg,
		    char *ret_text, size_t size)
{
	struct logsink s;
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	logsink_init(&s, ends[1], format, "viv");
	fault_reset();
	logsink_write(&s, level, msg);
	assert_int_equal(fault_syscalls("write"), 1); /* whole, or mixed with another process's */
	ssize_t n = read(ends[0], ret_text, size - 1);

	assert_true(n > 0);
	ret_text[n] = '\0';
	logsink_done(&s);
	assert_true(fcntl(ends[1], F_GETFD) >= 0); /* not the sink's to close */
	close(ends[0]);
	close(ends[1]);
}

static void text(void **state)
{
	char t[4096];

	written(LOGSINK_TEXT, LOG_LVL_ERROR, "It failed", t, sizeof(t));
	assert_string_equal(t, "viv: error: It failed\n");
	written(LOGSINK_TEXT, LOG_LVL_WARN, "Name 'a\033]0;x\a\x7f' is ä", t, sizeof(t));
	assert_string_equal(t, "viv: warning: Name 'a\\x1b]0;x\\x07\\x7f' is ä\n");
	written(LOGSINK_TEXT, LOG_LVL_INFO, "x\ty\nz", t, sizeof(t));
	assert_string_equal(t, "viv: info: x\ty\nz\n");
	written(LOGSINK_TEXT, LOG_LVL_DEBUG, "", t, sizeof(t));
	assert_string_equal(t, "viv: debug: \n");
}

/* Takes the time out of t and checks that it is now. */
static void check_time(char *t, const char *before)
{
	char *start = strstr(t, before);
	struct tm tm = {0};

	assert_non_null(start);
	start += strlen(before);
	char *rest = strptime(start, "%Y-%m-%dT%H:%M:%SZ", &tm);

	assert_non_null(rest);
	assert_int_equal(rest - start, 20);
	assert_true(llabs((long long)timegm(&tm) - time(NULL)) <= 2);
	memmove(start, rest, strlen(rest) + 1);
}

static void runc_forms(void **state)
{
	char t[4096];

	written(LOGSINK_JSON, LOG_LVL_ERROR, "no \"such\"\nthing\xff", t, sizeof(t));
	check_time(t, "\"time\":\"");
	assert_string_equal(
	    t, "{\"level\":\"error\",\"msg\":\"no \\\"such\\\"\\nthing\ufffd\",\"time\":\"\"}\n");
	written(LOGSINK_LOGFMT, LOG_LVL_WARN, "no \"such\" thing", t, sizeof(t));
	check_time(t, "time=\"");
	assert_string_equal(t, "time=\"\" level=warning msg=\"no \\\"such\\\" thing\"\n");
	/* Whatever the zone of the user: UTC. */
	setenv("TZ", "Asia/Kolkata", 1);
	tzset();
	written(LOGSINK_JSON, LOG_LVL_DEBUG, "x", t, sizeof(t));
	check_time(t, "\"time\":\"");
	unsetenv("TZ");
	tzset();
}

static void files_are_appended_to(void **state)
{
	_tmpdir_ struct tmpdir t = tmpdir_new();
	_free_ char *path = mem_printf("%s/log", t.path);
	_free_ char *missing = mem_printf("%s/no/log", t.path);
	struct logsink s;
	struct err e = {0};
	struct stat st;
	_buf_ struct buf b = {0};

	umask(022);
	for (int i = 0; i < 2; i++) {
		assert_ok(logsink_open_file(&s, path, LOGSINK_TEXT, "runc", &e));
		int fd = s.fd;

		assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
		assert_true(fcntl(fd, F_GETFL) & O_APPEND);
		log_to(logsink_write, &s, LOG_LVL_INFO);
		log_warn("Number %d", i);
		log_debug("Too detailed");
		log_to(NULL, NULL, LOG_LVL_INFO);
		logsink_done(&s);
		assert_int_equal(fcntl(fd, F_GETFD), -1);
	}
	assert_ok(path_read(AT_FDCWD, path, &b, 4096));
	assert_string_equal(b.s, "runc: warning: Number 0\nrunc: warning: Number 1\n");
	assert_ok(path_stat(AT_FDCWD, path, &st));
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(logsink_open_file(&s, missing, LOGSINK_TEXT, "runc", &e), -ENOENT);
	assert_non_null(strstr(e.msg, missing));
}

/* --- the journal --- */

static int fake_journal(const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	strcpy(sa.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

static void check_fields(const char *data, size_t len, const char *msg, char priority)
{
	_buf_ struct buf want = {0};
	unsigned char size[8];

	put_le64(size, strlen(msg));
	buf_adds(&want, "MESSAGE\n");
	buf_add(&want, size, 8);
	buf_addf(&want, "%s\nPRIORITY=%c\nSYSLOG_IDENTIFIER=viv\n", msg, priority);
	assert_int_equal(len, want.len);
	assert_memory_equal(data, want.s, len);
}

static void journal_datagrams(void **state)
{
	_tmpdir_ struct tmpdir t = tmpdir_new();
	_free_ char *path = mem_printf("%s/socket", t.path);
	struct logsink s;
	struct err e = {0};
	char data[4096];

	assert_int_equal(logsink_open_journal(&s, path, "viv", &e), -ENOENT);
	_close_ int journal = fake_journal(path);

	assert_ok(logsink_open_journal(&s, path, "viv", &e));
	logsink_write(&s, LOG_LVL_ERROR, "two\nlines");
	ssize_t n = recv(journal, data, sizeof(data), 0);

	assert_true(n > 0);
	check_fields(data, (size_t)n, "two\nlines", '3');
	static const char priorities[] = "3467";

	for (int i = 0; i < 4; i++) {
		logsink_write(&s, (enum log_level)i, "x");
		n = recv(journal, data, sizeof(data), 0);
		assert_true(n > 0);
		check_fields(data, (size_t)n, "x", priorities[i]);
	}
	logsink_done(&s);
	_free_ char *long_path = mem_printf("/%0200d", 1);

	assert_int_equal(logsink_open_journal(&s, long_path, "viv", &e), -ENAMETOOLONG);
}

/* Beyond what a datagram holds: an empty one with a sealed memfd, as the journal's protocol
 * wants it. */
static void big_messages_by_memfd(void **state)
{
	_tmpdir_ struct tmpdir t = tmpdir_new();
	_free_ char *path = mem_printf("%s/socket", t.path);
	_free_ char *big = mem_alloc(1 << 20);
	struct logsink s;
	struct err e = {0};
	_close_ int journal = fake_journal(path);
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	char byte;
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control)};
	_buf_ struct buf got = {0};

	memset(big, 'm', (1 << 20) - 1);
	assert_ok(logsink_open_journal(&s, path, "viv", &e));
	logsink_write(&s, LOG_LVL_INFO, big);
	assert_int_equal(recvmsg(journal, &msg, MSG_CMSG_CLOEXEC), 0);
	struct cmsghdr *cm = CMSG_FIRSTHDR(&msg);

	assert_non_null(cm);
	_close_ int memfd = -1;

	memcpy(&memfd, CMSG_DATA(cm), sizeof(int));
	assert_int_equal(fcntl(memfd, F_GET_SEALS),
			 F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
	lseek(memfd, 0, SEEK_SET);
	assert_ok(fd_read_all(memfd, &got, 4 << 20));
	check_fields(got.s, got.len, big, '6');
	/* Nobody there any more, no memory file: the record is lost, the program is not. */
	fault_syscall_at("memfd_create", 1, EMFILE);
	logsink_write(&s, LOG_LVL_INFO, big);
	assert_true(fault_hit());
	fault_reset();
	close(STEAL_FD(journal));
	logsink_write(&s, LOG_LVL_INFO, "x");
	logsink_done(&s);
}

int main(void)
{
	return TEST_RUN("logsink", cmocka_unit_test(text), cmocka_unit_test(runc_forms),
			cmocka_unit_test(files_are_appended_to),
			cmocka_unit_test(journal_datagrams),
			cmocka_unit_test(big_messages_by_memfd));
}
