/* Requests run on the pool's threads, each with a curl handle of its own, which keeps its connection. What
 * is read in small pieces is fetched in larger ones (readahead), the last of which is kept. The server's
 * entity tag must stay what it was: a file that is replaced meanwhile is an error, not a mixture. */
#include "disk/http.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"

#define READAHEAD     (256u << 10)
#define READAHEAD_MAX (16u << 20)
#define TIMEOUT_S     5 /* QEMU's; without a byte for so long */
#define TIMEOUT_S_MAX 10000
#define HANDLES_MAX   8u
#define REDIRECTS_MAX 10L
#define TAG_MAX       256u

/* --- libcurl, loaded late --- */

struct curl {
	void *library;
	CURLcode (*global_init)(long flags);
	CURL *(*init)(void);
	CURLcode (*setopt)(CURL *, CURLoption, ...);
	CURLcode (*perform)(CURL *);
	CURLcode (*getinfo)(CURL *, CURLINFO, ...);
	void (*cleanup)(CURL *);
	const char *(*strerror)(CURLcode);
};

static int curl_load(struct curl *c, struct err *e)
{
	static const char *const names[] = {
	    "curl_global_init",  "curl_easy_init",    "curl_easy_setopt",  "curl_easy_perform",
	    "curl_easy_getinfo", "curl_easy_cleanup", "curl_easy_strerror"};
	void **functions[] = {(void **)&c->global_init, (void **)&c->init,    (void **)&c->setopt,
			      (void **)&c->perform,     (void **)&c->getinfo, (void **)&c->cleanup,
			      (void **)&c->strerror};

	c->library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
	for (size_t i = 0; c->library && i < ARRAY_SIZE(names); i++)
		*functions[i] = dlsym(c->library, names[i]);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!*functions[i])
			return err_set(e, ERR_UNSUPPORTED, -ENOTSUP,
				       "images over http need libcurl (package libcurl4)");
	/* Counted; the library stays for as long as the process. */
	return c->global_init(CURL_GLOBAL_DEFAULT) ? -ENOMEM : 0;
}

/* --- one request --- */

struct http {
	struct curl curl;
	char *url, *user, *password, *cookie; /* password: wiped at the end */
	bool verify;
	uint64_t timeout_s, readahead;
	uint64_t size;
	char tag[TAG_MAX]; /* ETag; empty: none */

	CURL *idle[HANDLES_MAX];
	unsigned idle_count;

	uint8_t *window; /* fetched last */
	uint64_t window_offset, window_len;
};

struct transfer {
	struct http *http;
	CURL *handle;
	uint64_t offset, len;
	uint8_t *buf; /* NULL: only the headers matter */
	uint64_t got;
	uint64_t total; /* Content-Range; UINT64_MAX: not told */
	char tag[TAG_MAX];
	long status;
	CURLcode result;
	char problem[CURL_ERROR_SIZE];
};

/* A server that sends more than was asked for is cut off. */
static size_t take_body(char *data, size_t one, size_t n, void *arg)
{
	struct transfer *t = arg;

	if (n > t->len - t->got)
		return 0;
	if (t->buf)
		memcpy(t->buf + t->got, data, n);
	t->got += n;
	return n;
}

/* The value of a header line, trimmed, into out; false where the line is another header. */
static bool header_value(const char *line, size_t len, const char *name, char *out, size_t room)
{
	size_t n = strlen(name);

	if (len <= n || strncasecmp(line, name, n) != 0 || line[n] != ':')
		return false;
	for (line += n + 1, len -= n + 1; len && (*line == ' ' || *line == '\t'); line++)
		len--;
	while (len && strchr(" \t\r\n", line[len - 1]))
		len--;
	if (len >= room)
		return false;
	memcpy(out, line, len);
	out[len] = '\0';
	return true;
}

static size_t take_header(char *line, size_t one, size_t n, void *arg)
{
	struct transfer *t = arg;
	char value[TAG_MAX];

	if (n > 5 && !strncmp(line, "HTTP/", 5)) {
		/* The answer to a redirection's target begins: what was before does not count. */
		t->total = UINT64_MAX;
		*t->tag = '\0';
	} else if (header_value(line, n, "content-range", value, sizeof(value))) {
		const char *slash = strrchr(value, '/');

		if (slash)
			str_to_u64(slash + 1, &t->total);
	} else if (header_value(line, n, "etag", value, sizeof(value))) {
		strcpy(t->tag, value);
	}
	return n;
}

static int run_transfer(void *arg)
{
	struct transfer *t = arg;
	const struct curl *c = &t->http->curl;
	char range[64];

	snprintf(range, sizeof(range), "%" PRIu64 "-%" PRIu64, t->offset, t->offset + t->len - 1);
	c->setopt(t->handle, CURLOPT_RANGE, range);
	c->setopt(t->handle, CURLOPT_WRITEDATA, t);
	c->setopt(t->handle, CURLOPT_HEADERDATA, t);
	c->setopt(t->handle, CURLOPT_ERRORBUFFER, t->problem);
	t->result = c->perform(t->handle);
	c->getinfo(t->handle, CURLINFO_RESPONSE_CODE, &t->status);
	c->setopt(t->handle, CURLOPT_ERRORBUFFER, NULL);
	return 0;
}

static CURL *new_handle(const struct http *h)
{
	const struct curl *c = &h->curl;
	CURL *x = c->init();

	if (!x)
		return NULL;
	c->setopt(x, CURLOPT_URL, h->url);
	c->setopt(x, CURLOPT_PROTOCOLS_STR, "http,https");
	c->setopt(x, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	c->setopt(x, CURLOPT_FOLLOWLOCATION, 1L);
	c->setopt(x, CURLOPT_MAXREDIRS, REDIRECTS_MAX);
	c->setopt(x, CURLOPT_NOSIGNAL, 1L);
	c->setopt(x, CURLOPT_FAILONERROR, 1L);
	c->setopt(x, CURLOPT_LOW_SPEED_LIMIT, 1L);
	c->setopt(x, CURLOPT_LOW_SPEED_TIME, (long)h->timeout_s);
	c->setopt(x, CURLOPT_CONNECTTIMEOUT, (long)h->timeout_s);
	c->setopt(x, CURLOPT_SSL_VERIFYPEER, (long)h->verify);
	c->setopt(x, CURLOPT_SSL_VERIFYHOST, h->verify ? 2L : 0L);
	c->setopt(x, CURLOPT_WRITEFUNCTION, take_body);
	c->setopt(x, CURLOPT_HEADERFUNCTION, take_header);
	if (h->user)
		c->setopt(x, CURLOPT_USERNAME, h->user);
	if (h->password)
		c->setopt(x, CURLOPT_PASSWORD, h->password);
	if (h->cookie)
		c->setopt(x, CURLOPT_COOKIE, h->cookie);
	return x;
}

/* [waits] -EIO and the like by what went wrong; t->problem says it in words. */
static int transfer(struct disk_ctx *ctx, struct http *h, struct transfer *t)
{
	int rc;

	t->http = h;
	t->total = UINT64_MAX;
	t->handle = h->idle_count ? h->idle[--h->idle_count] : new_handle(h);
	if (!t->handle)
		return -ENOMEM;
	rc = co_call(ctx, run_transfer, t);
	if (h->idle_count < HANDLES_MAX)
		h->idle[h->idle_count++] = t->handle;
	else
		h->curl.cleanup(t->handle);
	if (rc < 0)
		return rc;
	if (t->result == CURLE_OK)
		return t->status == 206 ? 0 : -EOPNOTSUPP;
	if (!*t->problem)
		snprintf(t->problem, sizeof(t->problem), "%s", h->curl.strerror(t->result));
	if (t->status == 404)
		return -ENOENT;
	if (t->status == 401 || t->status == 403)
		return -EACCES;
	return t->result == CURLE_OPERATION_TIMEDOUT ? -ETIMEDOUT : -EIO;
}

/* --- open --- */

static int take_secret(struct disk *d, json_t *o, struct http *h, struct err *e)
{
	_free_ char *id = NULL;
	const uint8_t *secret;
	size_t len;
	int rc = disk_opts_take_str(o, "password-secret", &id, e);

	if (rc <= 0)
		return rc;
	secret = disk_ctx_secret(d->ctx, id, &len);
	if (!secret)
		return err_set(e, ERR_DISK_OPTION, -EINVAL, "No secret with id '%s'", id);
	h->password = mem_strndup((const char *)secret, len);
	return 0;
}

static int take_options(struct disk *d, json_t *o, struct http *h, struct err *e)
{
	_free_ char *scheme = mem_printf("%s://", d->drv->name);
	int rc = disk_opts_take_str(o, "url", &h->url, e);

	if (!rc)
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "%s block driver requires an 'url' option", d->drv->name);
	h->verify = true;
	h->timeout_s = TIMEOUT_S;
	h->readahead = READAHEAD;
	if (rc > 0)
		rc = disk_opts_take_str(o, "username", &h->user, e);
	if (rc >= 0)
		rc = disk_opts_take_str(o, "cookie", &h->cookie, e);
	if (rc >= 0)
		rc = disk_opts_take_bool(o, "sslverify", &h->verify, e);
	if (rc >= 0)
		rc = disk_opts_take_u64(o, "timeout", &h->timeout_s, e);
	if (rc >= 0)
		rc = disk_opts_take_size(o, "readahead", &h->readahead, e);
	if (rc >= 0)
		rc = take_secret(d, o, h, e);
	if (rc < 0)
		return rc;
	if (!str_after(h->url, scheme))
		return err_set(e, ERR_DISK_OPTION, -EINVAL, "'%s' is no %s URL", h->url,
			       d->drv->name);
	if (!h->timeout_s || h->timeout_s > TIMEOUT_S_MAX)
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "timeout parameter is too large or negative");
	if (h->readahead % 512 || h->readahead > READAHEAD_MAX)
		return err_set(e, ERR_DISK_OPTION, -EINVAL,
			       "HTTP_READAHEAD_SIZE %" PRIu64
			       " is not a multiple of 512 up to 16 MiB",
			       h->readahead);
	return 0;
}

/* Asks for the first byte: the answer tells the size, and that parts can be had. */
static int ask_size(struct disk *d, struct http *h, struct err *e)
{
	struct transfer t = {.len = 1};
	int rc = transfer(d->ctx, h, &t);

	if (t.status == 416 && !t.total)
		return 0; /* an empty file has no first byte */
	if (rc == -EOPNOTSUPP)
		return err_set(e, ERR_DISK_IO, -EINVAL,
			       "Server does not support 'range' (byte ranges).");
	if (rc < 0)
		return err_set(e, rc == -ENOENT ? ERR_NOT_FOUND : ERR_DISK_IO, rc,
			       "CURL: Error opening file: %s", t.problem);
	if (t.total > DISK_SIZE_MAX)
		return err_set(e, ERR_DISK_IO, -EINVAL, "Server didn't report file size.");
	h->size = t.total;
	strcpy(h->tag, t.tag);
	return 0;
}

static void done(struct http *h)
{
	while (h->idle_count)
		h->curl.cleanup(h->idle[--h->idle_count]);
	if (h->password)
		explicit_bzero(h->password, strlen(h->password));
	free(h->url);
	free(h->user);
	free(h->password);
	free(h->cookie);
	free(h->window);
}

static int http_open(struct disk *d, json_t *o, struct err *e)
{
	struct http *h = d->state;
	int rc = take_options(d, o, h, e);

	if (!rc)
		rc = curl_load(&h->curl, e);
	if (!rc)
		rc = ask_size(d, h, e);
	if (rc < 0) {
		done(h);
		return rc;
	}
	d->size = h->size;
	d->growable = d->parent != NULL;
	return 0;
}

static int http_close(struct disk *d)
{
	done(d->state);
	return 0;
}

/* --- reads --- */

static int fetch(struct disk *d, uint64_t offset, uint64_t len, uint8_t *buf)
{
	struct http *h = d->state;
	struct transfer t = {.offset = offset, .len = len, .buf = buf};
	int rc = transfer(d->ctx, h, &t);

	if (rc < 0)
		return rc == -EOPNOTSUPP ? -EIO : rc;
	/* Another file of the same name, or not all of it. */
	if (t.got != len || t.total != h->size || !str_eq(t.tag, h->tag))
		return -EIO;
	return 0;
}

static bool in_window(const struct http *h, uint64_t offset, uint64_t len)
{
	return h->window && offset >= h->window_offset && len <= h->window_len &&
	       offset - h->window_offset <= h->window_len - len;
}

static int http_preadv(struct disk *d, uint64_t offset, size_t len, const struct disk_vec *v,
		       size_t at)
{
	struct http *h = d->state;
	uint64_t want = MAX((uint64_t)len, MIN(h->readahead, h->size - offset));
	_free_ uint8_t *buf = NULL;
	int rc;

	if (in_window(h, offset, len)) {
		disk_vec_put(v, at, h->window + (offset - h->window_offset), len);
		return 0;
	}
	buf = mem_try_array(want, 1, DISK_REQUEST_MAX);
	rc = buf ? fetch(d, offset, want, buf) : -ENOMEM;
	if (rc < 0)
		return rc;
	disk_vec_put(v, at, buf, len);
	if (want > len) {
		free(h->window);
		h->window = STEAL(buf);
		h->window_offset = offset;
		h->window_len = want;
	}
	return 0;
}

static int parse_name(const char *name, json_t *o, struct err *e)
{
	return json_object_set_new(o, "url", json_string(name));
}

static const char *const http_prefixes[] = {"http", NULL};
static const char *const https_prefixes[] = {"https", NULL};

const struct disk_driver disk_driver_http = {
    .name = "http",
    .kind = DISK_KIND_PROTOCOL,
    .state_size = sizeof(struct http),
    .prefixes = http_prefixes,
    .parse_name = parse_name,
    .open = http_open,
    .close = http_close,
    .preadv = http_preadv,
};

const struct disk_driver disk_driver_https = {
    .name = "https",
    .kind = DISK_KIND_PROTOCOL,
    .state_size = sizeof(struct http),
    .prefixes = https_prefixes,
    .parse_name = parse_name,
    .open = http_open,
    .close = http_close,
    .preadv = http_preadv,
};
