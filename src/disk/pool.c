/* A few threads that run calls which would block. One mutex guards both lists; an eventfd tells the
 * context's thread that something has ended. */
#include "disk/co_int.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"

struct pool {
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t work;
	struct pool_job *first, *last; /* to do */
	struct pool_job *ended;
	unsigned queued, idle;
	bool stopping;

	int event_fd;
	unsigned max, started;
	pthread_t threads[CO_THREADS_MAX];
};

struct pool *pool_new(unsigned threads, int event_fd)
{
	struct pool *p = mem_alloc(sizeof(*p));

	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, NULL);
	p->event_fd = event_fd;
	p->max = threads < CO_THREADS_MAX ? threads : CO_THREADS_MAX;
	return p;
}

static void signal_end(struct pool *p)
{
	const uint64_t one = 1;

	/* The counter cannot overflow, and a write of 8 bytes to an eventfd is whole. */
	if (write(p->event_fd, &one, sizeof(one)) != sizeof(one))
		abort();
}

static void *thread_main(void *arg)
{
	struct pool *p = arg;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		while (!p->first && !p->stopping) {
			p->idle++;
			pthread_cond_wait(&p->work, &p->lock);
			p->idle--;
		}
		struct pool_job *job = p->first;

		if (!job)
			break;
		p->first = job->next;
		p->queued--;
		pthread_mutex_unlock(&p->lock);
		job->result = job->fn(job->arg);
		pthread_mutex_lock(&p->lock);
		bool tell = !p->ended;

		job->next = p->ended;
		p->ended = job;
		if (tell)
			signal_end(p);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* Signals are for the thread that started the work. */
static int thread_start(struct pool *p)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int rc = pthread_create(&p->threads[p->started], NULL, thread_main, p);

	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc)
		return -rc;
	p->started++;
	return 0;
}

int pool_submit(struct pool *p, struct pool_job *job)
{
	pthread_mutex_lock(&p->lock);
	if (p->queued >= p->idle && p->started < p->max && thread_start(p) < 0 && !p->started) {
		pthread_mutex_unlock(&p->lock);
		return -EAGAIN;
	}
	job->next = NULL;
	if (p->first)
		p->last->next = job;
	else
		p->first = job;
	p->last = job;
	p->queued++;
	pthread_cond_signal(&p->work);
	pthread_mutex_unlock(&p->lock);
	return 0;
}

struct pool_job *pool_take(struct pool *p)
{
	pthread_mutex_lock(&p->lock);
	struct pool_job *ended = p->ended;

	p->ended = NULL;
	pthread_mutex_unlock(&p->lock);
	return ended;
}

unsigned pool_width(const struct pool *p)
{
	return p->max;
}

void pool_free(struct pool *p)
{
	pthread_mutex_lock(&p->lock);
	p->stopping = true;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->started; i++)
		pthread_join(p->threads[i], NULL);
	pthread_cond_destroy(&p->work);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
