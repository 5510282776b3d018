/* HTTP as a registry client needs it, over libcurl's multi interface: one handle is a pool of
 * connections and the transfers that run on it, all in the thread of its owner. A transfer is started,
 * the owner pumps until it is done; several run side by side. What is downloaded goes to a sink,
 * which may say "not now"; any thread may wake the pump up again.
 *
 * HTTP/1.1 only: layers gain by connections of their own, and streams of one HTTP/2 connection would
 * wait for the slowest sink. Redirects are followed, at most HTTP_REDIRECTS_MAX, never from https to
 * http unless the peer may speak it, and an Authorization header does not follow to another host. The
 * environment's proxies (https_proxy, no_proxy …) count. Nothing is retried here. */
#ifndef IMAGE_HTTP_H
#define IMAGE_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define HTTP_REDIRECTS_MAX 10
#define HTTP_CONNECT_MS    30000
#define HTTP_STALL_S       30 /* fewer than HTTP_STALL_BYTES a second for so long: it hangs */
#define HTTP_STALL_BYTES   64
#define HTTP_SMALL_S       300        /* for a whole transfer that has neither sink nor source */
#define HTTP_BODY_MAX      (4u << 20) /* of an answer that is kept in memory */

struct http;
struct http_transfer;

/* How to speak with one server; all zero: https, verified by the host's certificates. Borrowed by
 * transfers while they run. */
struct http_peer {
	bool insecure;      /* http is allowed, and certificates are not looked at */
	const char *ca_pem; /* certificates that count beside the host's; NULL: none */
	size_t ca_pem_len;
	const char *cert_file, *key_file; /* our own, where the server asks; NULL: none */
	const char *proxy;                /* NULL: the environment's */
	unsigned stall_s;                 /* 0: HTTP_STALL_S */
};

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_PATCH, HTTP_DELETE };

/* What a sink returns beside 0 and negative errnos: the same bytes come again after http_resume(). */
#define HTTP_PAUSE 1

/* Takes the body of an answer of 200 to 299. Called from http_pump(). */
typedef int http_sink(void *arg, struct http_transfer *t, const void *p, size_t len);
/* Fills the request's body: returns how many bytes, or a negative errno. offset: where in it. */
typedef long http_source(void *arg, uint64_t offset, void *p, size_t len);

/* Everything is borrowed until the transfer is freed. */
struct http_request {
	enum http_method method;
	const char *url;
	const struct http_peer *peer;
	const char *accept, *content_type; /* NULL: none */
	const char *authorization;         /* "Bearer …"; NULL: none */
	const char *content_range;         /* "0-99", of a chunk that is sent */
	uint64_t range_from; /* not 0: ask for the bytes from here on (RFC 9110, 14.2) */
	uint64_t range_to;   /* not 0: up to this one, inclusive */
	const void *body;    /* with body_len; or */
	http_source *source; /* body_len bytes come from here */
	uint64_t body_len;
	http_sink *sink;         /* NULL: the body is kept (http_body), at most body_max */
	void *arg;               /* of source and sink */
	size_t body_max;         /* 0: HTTP_BODY_MAX */
	void (*idle)(void *arg); /* called while http_perform() waits; with idle_arg; NULL: none */
	void *idle_arg;
};

/* Returns owned in *ret. */
int http_new(struct http **ret, struct err *e);
void http_free(struct http *h); /* after its transfers */

/* Starts; never blocks. Returns owned in *ret; freeing one that runs stops it. */
int http_start(struct http *h, const struct http_request *r, struct http_transfer **ret,
	       struct err *e);
void http_transfer_free(struct http_transfer *t);
/* Moves what is ready; waits at most timeout_ms for something to be. */
int http_pump(struct http *h, int timeout_ms, struct err *e);
/* Ends the wait of http_pump(). The one function for other threads. */
void http_wake(struct http *h);
/* A paused transfer goes on; none that is not paused is harmed. */
void http_resume(struct http_transfer *t);
/* Start and pump until it is done. The transfer's failure is the function's. */
int http_perform(struct http *h, const struct http_request *r, struct http_transfer **ret,
		 struct err *e);

bool http_done(const struct http_transfer *t);
/* How a transfer that is done ended: 0 where an answer of any status arrived whole, else negative,
 * with the reason in e. */
int http_result(const struct http_transfer *t, struct err *e);
/* A failure after which the same request may well succeed: the connection broke or stalled. */
bool http_broken(int rc);
/* Bytes of the request's body that have been handed to the connection. */
uint64_t http_sent(const struct http_transfer *t);
int http_status(const struct http_transfer *t); /* 0: none yet */
/* The index-th header of that name of the last answer, or NULL. Borrowed; valid until the next call
 * for this transfer. */
const char *http_header(struct http_transfer *t, const char *name, size_t index);
/* The kept body: of every answer without a sink, and of failures. Never NULL. */
const struct buf *http_body(const struct http_transfer *t);
/* Where the answer came from in the end. Borrowed. */
const char *http_url(const struct http_transfer *t);
/* Seconds to wait that the server asked for (Retry-After: RFC 9110, 10.2.3), -1: none. */
long http_retry_after(struct http_transfer *t);

static inline void cleanup_http_transfer(struct http_transfer **t)
{
	http_transfer_free(*t);
}
#define _http_transfer_ __attribute__((cleanup(cleanup_http_transfer)))

#endif
