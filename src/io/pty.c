#include "io/pty.h"
#include "base/cleanup.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <termios.h>

int pty_open(struct pty *ret_pty, const struct winsize *size)
{
	_close_ int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	int unlock = 0;

	if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return -errno;
	_close_ int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (slave < 0 || (size && ioctl(master, TIOCSWINSZ, size) < 0))
		return -errno;
	*ret_pty = (struct pty){.master = STEAL_FD(master), .slave = STEAL_FD(slave)};
	return 0;
}

void pty_close(struct pty *p)
{
	cleanup_close(&p->master);
	cleanup_close(&p->slave);
	*p = (struct pty){-1, -1};
}

int pty_copy_size(int from, int to)
{
	struct winsize size;

	if (ioctl(from, TIOCGWINSZ, &size) < 0 || ioctl(to, TIOCSWINSZ, &size) < 0)
		return -errno;
	return 0;
}

/* --- raw mode --- */

/* A signal handler and an exit handler get no argument, so this is the one place with state of
 * the program. `active` is written last and read first. */
static struct {
	volatile sig_atomic_t active;
	int fd;
	struct termios saved;
} raw;

static const int fatal_signals[] = {SIGHUP,  SIGINT, SIGQUIT, SIGTERM, SIGPIPE,
				    SIGABRT, SIGBUS, SIGFPE,  SIGILL,  SIGSEGV};

/* async-signal-safe. SIGTTOU is blocked, or a background process would stop in tcsetattr(3). */
static void restore_terminal(void)
{
	sigset_t ttou, before;

	if (!raw.active)
		return;
	raw.active = 0;
	sigemptyset(&ttou);
	sigaddset(&ttou, SIGTTOU);
	sigprocmask(SIG_BLOCK, &ttou, &before);
	tcsetattr(raw.fd, TCSANOW, &raw.saved);
	sigprocmask(SIG_SETMASK, &before, NULL);
}

/* SA_RESETHAND: the signal that is raised again ends the program as it would have done. */
static void on_fatal(int signo)
{
	restore_terminal();
	raise(signo);
}

static void hook_signals(bool on)
{
	for (size_t i = 0; i < ARRAY_SIZE(fatal_signals); i++) {
		struct sigaction now, act = {.sa_handler = on ? on_fatal : SIG_DFL,
					     .sa_flags = (int)(SA_RESETHAND | SA_NODEFER)};

		sigaction(fatal_signals[i], NULL, &now);
		if (now.sa_handler == (on ? SIG_DFL : on_fatal))
			sigaction(fatal_signals[i], &act, NULL);
	}
}

int pty_raw(int fd)
{
	static bool registered;
	struct termios t;

	if (raw.active)
		return -EBUSY;
	if (tcgetattr(fd, &t) < 0)
		return -errno;
	if (!registered && atexit(restore_terminal) != 0)
		return -ENOMEM;
	registered = true;
	raw.fd = fd;
	raw.saved = t;
	raw.active = 1;
	hook_signals(true);
	cfmakeraw(&t);
	if (tcsetattr(fd, TCSANOW, &t) < 0) {
		int rc = -errno;

		pty_restore();
		return rc;
	}
	return 0;
}

void pty_restore(void)
{
	restore_terminal();
	hook_signals(false);
}

/* --- detach keys --- */

/* One key of the text at *p, which moves behind it. */
static int parse_key(const char **p, unsigned char *ret_key)
{
	const char *s = *p;
	size_t len = strcspn(s, ",");

	if (!len) /* the comma itself is no key: it separates */
		return -EINVAL;
	*p = s + len;
	if (len == 1 && (unsigned char)*s > ' ' && (unsigned char)*s < 0x7f) {
		*ret_key = (unsigned char)*s;
		return 0;
	}
	if (len == 3 && !strncmp(s, "DEL", 3)) {
		*ret_key = 0x7f;
		return 0;
	}
	if (len != 6 || strncmp(s, "ctrl-", 5) ||
	    !(strchr("@[\\]^_", s[5]) || (s[5] >= 'a' && s[5] <= 'z')))
		return -EINVAL;
	*ret_key = s[5] & 0x1f; /* ASCII: '@' is 0, 'a' 1 … '_' 31 */
	return 0;
}

int pty_keys_parse(const char *text, struct pty_keys *ret_keys)
{
	struct pty_keys k = {0};

	for (const char *p = text; *text;
	     p++) { /* over the comma; an empty key behind it is refused */
		if (k.count == PTY_KEYS_MAX || parse_key(&p, &k.key[k.count]) < 0)
			return -EINVAL;
		k.count++;
		if (!*p)
			break;
	}
	*ret_keys = k;
	return 0;
}

bool pty_keys_filter(struct pty_keys *k, const void *typed, size_t len, void *out, size_t *ret_len)
{
	const unsigned char *in = typed;
	unsigned char *to = out;

	for (size_t i = 0; i < len; i++) {
		unsigned char held[PTY_KEYS_MAX + 1];
		size_t n = k->matched, shift = 0;

		if (!k->count) {
			*to++ = in[i];
			continue;
		}
		memcpy(held, k->key, n);
		held[n++] = in[i];
		/* The longest end of what is held that begins the sequence stays, what is before
		 * it goes on. */
		while (memcmp(held + shift, k->key, n - shift))
			*to++ = held[shift++];
		k->matched = n - shift;
		if (k->matched == k->count) {
			k->matched = 0;
			*ret_len = (size_t)(to - (unsigned char *)out);
			return true;
		}
	}
	*ret_len = (size_t)(to - (unsigned char *)out);
	return false;
}
