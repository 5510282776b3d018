/* Progress and signals of long disk operations. The signal handlers only note what came; whoever
 * works asks through the progress function, which is called between two pieces of work. */
#include "cmd/disk.h"
#include "io/progress.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The state that signal handlers have: there is one process, and its signals are its own. */
static volatile sig_atomic_t stop_signal, report_wanted;

static void on_stop(int signal)
{
	stop_signal = signal;
}

static void on_report(int signal)
{
	report_wanted = 1;
}

/* What the caller has us ignore (nohup) stays ignored. The second signal finds the default action:
 * someone really wants it to end. */
static void stop_on(int signal)
{
	struct sigaction stop = {.sa_handler = on_stop, .sa_flags = (int)SA_RESETHAND | SA_RESTART};
	struct sigaction before;

	if (!sigaction(signal, NULL, &before) && before.sa_handler != SIG_IGN)
		sigaction(signal, &stop, NULL);
}

void tool_listen(void)
{
	struct sigaction report = {.sa_handler = on_report, .sa_flags = SA_RESTART};

	stop_on(SIGINT);
	stop_on(SIGTERM);
	stop_on(SIGHUP);
	sigaction(SIGUSR1, &report, NULL);
}

int tool_interrupted(void)
{
	return stop_signal;
}

static void print_line(struct tool_progress *p, double percent)
{
	printf("    (%3.2f/100%%)\r", percent);
	fflush(stdout);
	p->printed = percent;
}

static int on_progress(void *arg, uint64_t done, uint64_t total)
{
	struct tool_progress *p = arg;
	double percent = total ? (double)done * 100 / (double)total : 100;

	if (percent > 100)
		percent = 100;
	/* qemu-img prints every step of two percent or more, and the end. */
	if (p->print && (p->printed < 0 || percent >= p->printed + 2 || percent >= 100))
		print_line(p, percent);
	if (report_wanted && !p->print) {
		report_wanted = 0;
		printf("    (%3.2f/100%%)\n", percent);
		fflush(stdout);
	}
	if (p->item)
		progress_set(p->item, done, total);
	return stop_signal ? -ECANCELED : 0;
}

void tool_progress_begin(struct tool_progress *p, const struct tool *t, const char *label,
			 bool print)
{
	struct progress_conf conf = {.fd = STDERR_FILENO, .mode = PROGRESS_AUTO};

	*p = (struct tool_progress){.print = print && !t->quiet, .printed = -1};
	p->fn = (struct disk_progress){.fn = on_progress, .arg = p};
	tool_listen();
	if (p->print) {
		print_line(p, 0);
	} else if (!t->quiet) {
		p->bar = progress_new(&conf);
		p->item = progress_add(p->bar, label, 0);
	}
}

void tool_progress_end(struct tool_progress *p, bool ok)
{
	if (p->print && ok)
		print_line(p, 100);
	if (p->print)
		putchar('\n');
	if (p->bar) {
		progress_finish(p->item, ok);
		progress_clear(p->bar);
		progress_free(p->bar);
		p->bar = NULL;
	}
}
