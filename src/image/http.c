#include "image/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"

#define RECEIVE_BYTES (256L << 10) /* asked of the socket at once */
#define HTTP_IDLE_MS  100
#define CONNECTIONS   16 /* kept for later */

struct http {
	CURLM *multi;
};

struct http_transfer {
	struct http *http;
	CURL *easy;
	struct curl_slist *headers;
	struct http_request r;
	struct buf body;
	uint64_t sent;
	CURLcode code;
	int rc; /* what sink or source failed with */
	bool done, paused;
	char why[CURL_ERROR_SIZE];
};

int http_new(struct http **ret, struct err *e)
{
	if (curl_global_init(CURL_GLOBAL_DEFAULT))
		return err_set(e, ERR_NOMEM, -ENOMEM, "cannot initialize libcurl");
	struct http *h = mem_alloc(sizeof(*h));

	h->multi = curl_multi_init();
	if (!h->multi) {
		free(h);
		return err_set(e, ERR_NOMEM, -ENOMEM, "cannot make a pool of connections");
	}
	curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS);
	*ret = h;
	return 0;
}

void http_free(struct http *h)
{
	if (!h)
		return;
	curl_multi_cleanup(h->multi);
	curl_global_cleanup();
	free(h);
}

/* --- libcurl's callbacks --- */

static size_t write_body(char *p, size_t size, size_t count, void *arg)
{
	struct http_transfer *t = arg;
	size_t len = size * count, max = t->r.body_max ? t->r.body_max : HTTP_BODY_MAX;
	int status = http_status(t);

	if (t->r.sink && status >= 200 && status < 300) {
		int rc = t->r.sink(t->r.arg, t, p, len);

		if (rc == HTTP_PAUSE) {
			t->paused = true;
			return CURL_WRITEFUNC_PAUSE;
		}
		t->rc = rc;
		return rc ? CURL_WRITEFUNC_ERROR : len;
	}
	if (len > max - MIN(max, t->body.len)) {
		t->rc = -EFBIG;
		return CURL_WRITEFUNC_ERROR;
	}
	buf_add(&t->body, p, len);
	return len;
}

static size_t read_body(char *p, size_t size, size_t count, void *arg)
{
	struct http_transfer *t = arg;
	size_t len = (size_t)MIN((uint64_t)size * count, t->r.body_len - t->sent);
	long n = (long)len;

	if (!len)
		return 0;
	if (t->r.source)
		n = t->r.source(t->r.arg, t->sent, p, len);
	else
		memcpy(p, (const char *)t->r.body + t->sent, len);
	if (n < 0) {
		t->rc = (int)n;
		return CURL_READFUNC_ABORT;
	}
	t->sent += (uint64_t)n;
	return (size_t)n;
}

/* A redirect with status 307 sends the body again, and so does libcurl by itself where a connection
 * that it had kept turns out to be dead. Not a chunk: part of it may have arrived, and what is sent
 * twice would be kept twice. */
static int seek_body(void *arg, curl_off_t offset, int whence)
{
	struct http_transfer *t = arg;

	if (t->r.content_range && t->sent)
		return CURL_SEEKFUNC_FAIL;
	if (whence != SEEK_SET || offset < 0 || (uint64_t)offset > t->r.body_len)
		return CURL_SEEKFUNC_CANTSEEK;
	t->sent = (uint64_t)offset;
	return CURL_SEEKFUNC_OK;
}

/* --- a request --- */

static void add_header(struct http_transfer *t, const char *name, const char *value)
{
	if (!value)
		return;
	_free_ char *line = mem_printf("%s: %s", name, value);

	t->headers = curl_slist_append(t->headers, line);
}

static void set_peer(CURL *c, const struct http_peer *peer)
{
	const char *protocols = peer->insecure ? "http,https" : "https";

	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, protocols);
	curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, protocols);
	curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, peer->insecure ? 0L : 1L);
	curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, peer->insecure ? 0L : 2L);
	curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (peer->ca_pem) {
		struct curl_blob pem = {(void *)(uintptr_t)peer->ca_pem, peer->ca_pem_len,
					CURL_BLOB_NOCOPY};

		curl_easy_setopt(c, CURLOPT_CAINFO_BLOB, &pem);
	}
	if (peer->cert_file)
		curl_easy_setopt(c, CURLOPT_SSLCERT, peer->cert_file);
	if (peer->key_file)
		curl_easy_setopt(c, CURLOPT_SSLKEY, peer->key_file);
	if (peer->proxy)
		curl_easy_setopt(c, CURLOPT_PROXY, peer->proxy);
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME,
			 (long)(peer->stall_s ? peer->stall_s : HTTP_STALL_S));
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, (long)HTTP_STALL_BYTES);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS,
			 peer->stall_s ? (long)peer->stall_s * 1000 : (long)HTTP_CONNECT_MS);
}

static void set_method(CURL *c, const struct http_request *r)
{
	static const char *const names[] = {
	    [HTTP_GET] = "GET", [HTTP_HEAD] = "HEAD",   [HTTP_POST] = "POST",
	    [HTTP_PUT] = "PUT", [HTTP_PATCH] = "PATCH", [HTTP_DELETE] = "DELETE"};

	if (r->method == HTTP_HEAD) {
		curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
	} else if (r->method == HTTP_GET) {
		curl_easy_setopt(c, CURLOPT_HTTPGET, 1L);
	} else {
		/* as an upload, whatever the verb: libcurl then asks for a body of known size */
		curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, names[r->method]);
		curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)r->body_len);
	}
}

static void set_headers(struct http_transfer *t)
{
	const struct http_request *r = &t->r;
	_free_ char *range = NULL;

	add_header(t, "Accept", r->accept);
	add_header(t, "Content-Type", r->content_type);
	add_header(t, "Authorization", r->authorization);
	add_header(t, "Content-Range", r->content_range);
	if (r->range_from || r->range_to) {
		range = r->range_to ? mem_printf("%ju-%ju", (uintmax_t)r->range_from,
						 (uintmax_t)r->range_to)
				    : mem_printf("%ju-", (uintmax_t)r->range_from);
		curl_easy_setopt(t->easy, CURLOPT_RANGE, range);
	}
	/* no wait for "100 Continue": whether we may send is known before */
	t->headers = curl_slist_append(t->headers, "Expect:");
	curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
}

static void set_up(struct http_transfer *t)
{
	CURL *c = t->easy;
	const struct http_request *r = &t->r;

	curl_easy_setopt(c, CURLOPT_URL, r->url);
	curl_easy_setopt(c, CURLOPT_PRIVATE, t);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, t->why);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "viv/" VIV_VERSION);
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(c, CURLOPT_BUFFERSIZE, RECEIVE_BYTES);
	curl_easy_setopt(c, CURLOPT_UPLOAD_BUFFERSIZE, RECEIVE_BYTES);
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(c, CURLOPT_MAXREDIRS, (long)HTTP_REDIRECTS_MAX);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, write_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(c, CURLOPT_READFUNCTION, read_body);
	curl_easy_setopt(c, CURLOPT_READDATA, t);
	curl_easy_setopt(c, CURLOPT_SEEKFUNCTION, seek_body);
	curl_easy_setopt(c, CURLOPT_SEEKDATA, t);
	if (!r->sink && !r->source)
		curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)HTTP_SMALL_S);
	set_peer(c, r->peer);
	set_method(c, r);
	set_headers(t);
}

int http_start(struct http *h, const struct http_request *r, struct http_transfer **ret,
	       struct err *e)
{
	struct http_transfer *t = mem_alloc(sizeof(*t));

	t->http = h;
	t->r = *r;
	t->easy = curl_easy_init();
	if (t->easy)
		set_up(t);
	if (!t->easy || curl_multi_add_handle(h->multi, t->easy)) {
		curl_easy_cleanup(t->easy);
		curl_slist_free_all(t->headers);
		free(t);
		return err_set(e, ERR_NOMEM, -ENOMEM, "cannot start a transfer of '%s'", r->url);
	}
	*ret = t;
	return 0;
}

void http_transfer_free(struct http_transfer *t)
{
	if (!t)
		return;
	curl_multi_remove_handle(t->http->multi, t->easy);
	curl_easy_cleanup(t->easy);
	curl_slist_free_all(t->headers);
	buf_done(&t->body);
	free(t);
}

/* --- running --- */

int http_pump(struct http *h, int timeout_ms, struct err *e)
{
	int running, left;
	CURLMcode rc = curl_multi_poll(h->multi, NULL, 0, timeout_ms, NULL);

	if (!rc)
		rc = curl_multi_perform(h->multi, &running);
	if (rc)
		return err_set(e, ERR_SYS, -EIO, "libcurl: %s", curl_multi_strerror(rc));
	for (CURLMsg *m; (m = curl_multi_info_read(h->multi, &left));) {
		struct http_transfer *t;

		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
		t->code = m->data.result;
		t->done = true;
	}
	return 0;
}

void http_wake(struct http *h)
{
	curl_multi_wakeup(h->multi);
}

void http_resume(struct http_transfer *t)
{
	if (!t->paused || t->done)
		return;
	t->paused = false;
	curl_easy_pause(t->easy, CURLPAUSE_CONT);
}

int http_perform(struct http *h, const struct http_request *r, struct http_transfer **ret,
		 struct err *e)
{
	_http_transfer_ struct http_transfer *t = NULL;
	int rc = http_start(h, r, &t, e);
	int timeout_ms = 0; /* the first pump only begins */

	while (!rc && !t->done) {
		rc = http_pump(h, timeout_ms, e);
		timeout_ms = HTTP_IDLE_MS;
		if (r->idle)
			r->idle(r->idle_arg);
	}
	if (!rc)
		rc = http_result(t, e);
	if (rc)
		return rc;
	*ret = STEAL(t);
	return 0;
}

/* --- what came of it --- */

bool http_done(const struct http_transfer *t)
{
	return t->done;
}

int http_status(const struct http_transfer *t)
{
	long status = 0;

	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	return (int)status;
}

uint64_t http_sent(const struct http_transfer *t)
{
	return t->sent;
}

const char *http_url(const struct http_transfer *t)
{
	char *url = NULL;

	curl_easy_getinfo(t->easy, CURLINFO_EFFECTIVE_URL, &url);
	return url ? url : t->r.url;
}

const struct buf *http_body(const struct http_transfer *t)
{
	return &t->body;
}

const char *http_header(struct http_transfer *t, const char *name, size_t index)
{
	struct curl_header *h;

	return curl_easy_header(t->easy, name, index, CURLH_HEADER, -1, &h) ? NULL : h->value;
}

long http_retry_after(struct http_transfer *t)
{
	curl_off_t seconds = 0;
	const char *text = http_header(t, "Retry-After", 0);

	/* libcurl reads both forms, number and date */
	if (!text || curl_easy_getinfo(t->easy, CURLINFO_RETRY_AFTER, &seconds))
		return -1;
	return (long)seconds;
}

bool http_broken(int rc)
{
	return rc == -ECONNRESET || rc == -ETIMEDOUT;
}

/* How libcurl's failures are told to people. */
static const struct {
	CURLcode code;
	enum err_code err;
	int rc;
} failures[] = {
    {CURLE_COULDNT_RESOLVE_HOST, ERR_REG_UNREACHABLE, -EHOSTUNREACH},
    {CURLE_COULDNT_RESOLVE_PROXY, ERR_REG_UNREACHABLE, -EHOSTUNREACH},
    {CURLE_COULDNT_CONNECT, ERR_REG_UNREACHABLE, -ECONNREFUSED},
    {CURLE_OPERATION_TIMEDOUT, ERR_REG_UNREACHABLE, -ETIMEDOUT},
    {CURLE_PARTIAL_FILE, ERR_REG_UNREACHABLE, -ECONNRESET},
    {CURLE_RECV_ERROR, ERR_REG_UNREACHABLE, -ECONNRESET},
    {CURLE_SEND_ERROR, ERR_REG_UNREACHABLE, -ECONNRESET},
    {CURLE_SEND_FAIL_REWIND, ERR_REG_UNREACHABLE, -ECONNRESET},
    {CURLE_GOT_NOTHING, ERR_REG_UNREACHABLE, -ECONNRESET},
    {CURLE_SSL_CONNECT_ERROR, ERR_REG_TLS, -EPROTO},
    {CURLE_PEER_FAILED_VERIFICATION, ERR_REG_TLS, -EPROTO},
    {CURLE_SSL_CERTPROBLEM, ERR_REG_TLS, -EPROTO},
    {CURLE_SSL_CACERT_BADFILE, ERR_REG_TLS, -EPROTO},
    {CURLE_SSL_CIPHER, ERR_REG_TLS, -EPROTO},
    {CURLE_TOO_MANY_REDIRECTS, ERR_REG_PROTOCOL, -ELOOP},
    {CURLE_URL_MALFORMAT, ERR_REG_PROTOCOL, -EINVAL},
    {CURLE_UNSUPPORTED_PROTOCOL, ERR_REG_PROTOCOL, -EPROTONOSUPPORT},
    {CURLE_OUT_OF_MEMORY, ERR_NOMEM, -ENOMEM},
};

int http_result(const struct http_transfer *t, struct err *e)
{
	const char *why = *t->why ? t->why : curl_easy_strerror(t->code);

	if (!t->code)
		return 0;
	if (t->rc == -EFBIG)
		return err_set(e, ERR_REG_PROTOCOL, -EFBIG, "'%s' answers with more than %zu bytes",
			       http_url(t), t->r.body_max ? t->r.body_max : (size_t)HTTP_BODY_MAX);
	if (t->rc)
		return err_set(e, ERR_SYS, t->rc, "transfer of '%s': %s", t->r.url,
			       strerror(-t->rc));
	for (size_t i = 0; i < ARRAY_SIZE(failures); i++)
		if (failures[i].code == t->code)
			return err_set(e, failures[i].err, failures[i].rc, "'%s': %s", http_url(t),
				       why);
	return err_set(e, ERR_REG_PROTOCOL, -EPROTO, "'%s': %s", http_url(t), why);
}
