/* Terminals on the host: pty pairs, raw mode that is always undone, window sizes, Docker's
 * detach keys, and the copying between the user's terminal and a pty's master. (A container's
 * own pty comes from its devpts: container/console.c.) Functions return 0 or a negative errno. */
#ifndef IO_PTY_H
#define IO_PTY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/ioctl.h>

struct pty {
	int master, slave; /* owned, O_CLOEXEC; nobody's controlling terminal yet (see
			      child_spec.terminal) */
};

/* size: NULL for the kernel's (0 × 0). */
int pty_open(struct pty *ret_pty, const struct winsize *size);
void pty_close(struct pty *p);

/* Gives `to` the window size of `from`. */
int pty_copy_size(int from, int to);

/* Puts a terminal into raw mode (cfmakeraw(3)). It is set back by pty_restore(), at exit(3), and
 * when a signal ends the program that it did not handle or block itself; SIGKILL alone leaves it
 * raw. One terminal at a time: -EBUSY. -ENOTTY where fd is none. */
int pty_raw(int fd);
void pty_restore(void);

/* --- detach keys --- */

#define PTY_KEYS_MAX 16

struct pty_keys {
	unsigned char key[PTY_KEYS_MAX];
	size_t count;   /* 0: there are none */
	size_t matched; /* so many have been typed; they are held back */
};

/* "ctrl-p,ctrl-q": letters, digits and signs, "ctrl-" with a-z @ [ \ ] ^ _, and DEL, separated
 * by commas. "": none. -EINVAL. */
int pty_keys_parse(const char *text, struct pty_keys *ret_keys);
/* Looks for the keys in what was typed. Puts what goes on to the program into out, which has
 * room for len + PTY_KEYS_MAX bytes; keys that may yet become the sequence are held back till
 * the next call. True: the sequence is complete; what was typed after it is dropped. */
bool pty_keys_filter(struct pty_keys *k, const void *typed, size_t len, void *out, size_t *ret_len);

/* --- the user's terminal and the master --- */

enum pty_end {
	PTY_END_CLOSED, /* nobody has the slave open any more, or the process of pidfd has ended */
	PTY_END_DETACHED, /* by the keys */
	PTY_END_SIGNAL,   /* on_signal said so */
};

struct pty_relay {
	int in, out; /* the user's; borrowed and left as they are; in -1: no input */
	int master;  /* borrowed; becomes O_NONBLOCK */
	int pidfd;   /* ends with this process, once its output is copied; -1: with the slave */
	struct pty_keys *keys; /* NULL: none */
	/* Gets SIGHUP, SIGINT, SIGQUIT and SIGTERM that come meanwhile; true ends the relay.
	 * NULL: they are not touched. */
	bool (*on_signal)(void *arg, int signo);
	void *arg;
};

/* Copies until the end; follows the window size of `in`. Returns an enum pty_end or a negative
 * errno. Raw mode is the caller's: pty_raw(in) before, pty_restore() after. */
int pty_relay(struct pty_relay *r);

#endif
