#include "image/ring.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"

/* The lock guards everything but the bytes: those before `head` belong to the taker, those from
 * `tail` on to the putter, so they are copied outside of it. */
struct ring {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	size_t size, head, tail; /* counted through; tail - head bytes are in it */
	bool ended, given_up, awaited;
	void (*drained)(void *arg);
	void *arg;
	char bytes[];
};

struct ring *ring_new(size_t size, void (*drained)(void *arg), void *arg)
{
	struct ring *r = mem_alloc(sizeof(*r) + size);

	assert(bits_is_pow2(size));
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->changed, NULL);
	r->size = size;
	r->drained = drained;
	r->arg = arg;
	return r;
}

void ring_free(struct ring *r)
{
	if (!r)
		return;
	pthread_cond_destroy(&r->changed);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

bool ring_space(struct ring *r, size_t want)
{
	pthread_mutex_lock(&r->lock);
	bool enough = r->given_up || r->size - (r->tail - r->head) >= want;

	r->awaited = !enough;
	pthread_mutex_unlock(&r->lock);
	return enough;
}

/* How many bytes may be put in one run now; waits for some. */
static int wait_for_room(struct ring *r, size_t *ret)
{
	pthread_mutex_lock(&r->lock);
	while (!r->given_up && r->tail - r->head == r->size)
		pthread_cond_wait(&r->changed, &r->lock);
	*ret = MIN(r->size - (r->tail - r->head), r->size - (r->tail & (r->size - 1)));
	int rc = r->given_up ? -EPIPE : 0;

	pthread_mutex_unlock(&r->lock);
	return rc;
}

int ring_put(struct ring *r, const void *p, size_t len)
{
	while (len) {
		size_t n;

		if (wait_for_room(r, &n))
			return -EPIPE;
		n = MIN(n, len);
		memcpy(r->bytes + (r->tail & (r->size - 1)), p, n);
		pthread_mutex_lock(&r->lock);
		r->tail += n;
		pthread_cond_signal(&r->changed);
		pthread_mutex_unlock(&r->lock);
		p = (const char *)p + n;
		len -= n;
	}
	return 0;
}

void ring_end(struct ring *r)
{
	pthread_mutex_lock(&r->lock);
	r->ended = true;
	pthread_cond_signal(&r->changed);
	pthread_mutex_unlock(&r->lock);
}

ssize_t ring_peek(struct ring *r, const void **ret)
{
	ssize_t n = -EPIPE;

	pthread_mutex_lock(&r->lock);
	while (!r->given_up && !r->ended && r->tail == r->head)
		pthread_cond_wait(&r->changed, &r->lock);
	if (!r->given_up) {
		size_t at = r->head & (r->size - 1);

		n = (ssize_t)MIN(r->tail - r->head, r->size - at);
		*ret = r->bytes + at;
	}
	pthread_mutex_unlock(&r->lock);
	return n;
}

/* Outside of the lock, because drained() may take others. */
static void tell_putter(struct ring *r, bool tell)
{
	if (tell && r->drained)
		r->drained(r->arg);
}

void ring_take(struct ring *r, size_t len)
{
	pthread_mutex_lock(&r->lock);
	r->head += len;
	bool tell = r->awaited && r->tail - r->head <= r->size / 2;

	r->awaited &= !tell;
	pthread_cond_signal(&r->changed);
	pthread_mutex_unlock(&r->lock);
	tell_putter(r, tell);
}

void ring_give_up(struct ring *r)
{
	pthread_mutex_lock(&r->lock);
	bool tell = r->awaited;

	r->given_up = true;
	r->awaited = false;
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->lock);
	tell_putter(r, tell);
}
