/* A ring of bytes between two threads, one that puts and one that takes, each of which may wait for
 * the other, end the stream, or give up. Bounded memory is all that it is for. */
#ifndef IMAGE_RING_H
#define IMAGE_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct ring;

/* size: a power of two. drained(arg) is called in the taker's thread when the ring, found full by
 * ring_space(), is half empty again or was given up; it may be NULL. Returns owned. */
struct ring *ring_new(size_t size, void (*drained)(void *arg), void *arg);
void ring_free(struct ring *r); /* after both threads */

/* --- the putting thread --- */

/* Are there `want` bytes of room? If not, drained() will come. want is at most half the size. */
bool ring_space(struct ring *r, size_t want);
/* Waits until all of it is in. -EPIPE where the taker has given up. */
int ring_put(struct ring *r, const void *p, size_t len);
/* Nothing more will come. */
void ring_end(struct ring *r);

/* --- the taking thread --- */

/* Waits for bytes and shows a run of them in *ret: how many; 0 at the end; -EPIPE where the putter
 * has given up. */
ssize_t ring_peek(struct ring *r, const void **ret);
void ring_take(struct ring *r, size_t len);

/* --- either --- */

/* What is in the ring is lost, and both sides get -EPIPE from now on. */
void ring_give_up(struct ring *r);

#endif
