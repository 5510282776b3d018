#include "codec/digest.h"

#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

struct digest_stream {
	enum digest_alg alg;
	EVP_MD_CTX *ctx;
};

static const struct {
	const char *name;
	size_t len;
} algs[] = {
    [DIGEST_NONE] = {"none", 0},
    [DIGEST_SHA256] = {"sha256", 32},
    [DIGEST_SHA512] = {"sha512", 64},
};

const char *digest_alg_name(enum digest_alg alg)
{
	return algs[alg].name;
}

size_t digest_len(enum digest_alg alg)
{
	return algs[alg].len;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* descriptor.md: component separated by [+._-], then ':' and [a-zA-Z0-9=_-]+. */
static bool well_formed(const char *text, size_t alg_len)
{
	static const char alg_chars[] = "abcdefghijklmnopqrstuvwxyz0123456789+._-";
	static const char value_chars[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789=_-";
	const char *value = text + alg_len + 1;

	return alg_len && strspn(text, alg_chars) == alg_len && *value &&
	       !value[strspn(value, value_chars)];
}

int digest_parse(const char *text, struct digest *ret)
{
	struct digest d = {0};
	size_t alg_len = strcspn(text, ":");
	const char *hex = text + alg_len + 1;

	if (!text[alg_len] || !well_formed(text, alg_len))
		return -EINVAL;
	for (enum digest_alg a = DIGEST_SHA256; a <= DIGEST_SHA512; a++)
		if (strlen(algs[a].name) == alg_len && !memcmp(algs[a].name, text, alg_len))
			d.alg = a;
	if (!d.alg)
		return -EOPNOTSUPP;
	if (strlen(hex) != 2 * digest_len(d.alg))
		return -EINVAL;
	for (size_t i = 0; i < digest_len(d.alg); i++) {
		int high = hex_value(hex[2 * i]), low = hex_value(hex[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		d.bytes[i] = (uint8_t)(high << 4 | low);
	}
	*ret = d;
	return 0;
}

const char *digest_hex(const struct digest *d, char out[static DIGEST_HEX_MAX])
{
	static const char digits[] = "0123456789abcdef";
	size_t n = digest_len(d->alg);

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digits[d->bytes[i] >> 4];
		out[2 * i + 1] = digits[d->bytes[i] & 15];
	}
	out[2 * n] = '\0';
	return out;
}

const char *digest_text(const struct digest *d, char out[static DIGEST_TEXT_MAX])
{
	size_t n = strlen(algs[d->alg].name);

	memcpy(out, algs[d->alg].name, n);
	out[n] = ':';
	digest_hex(d, out + n + 1);
	return out;
}

bool digest_is_set(const struct digest *d)
{
	return d->alg != DIGEST_NONE;
}

int digest_cmp(const struct digest *a, const struct digest *b)
{
	if (a->alg != b->alg)
		return a->alg < b->alg ? -1 : 1;
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

bool digest_eq(const struct digest *a, const struct digest *b)
{
	return !digest_cmp(a, b);
}

static const EVP_MD *evp_of(enum digest_alg alg)
{
	return alg == DIGEST_SHA512 ? EVP_sha512() : EVP_sha256();
}

/* OpenSSL's digests fail only where memory is gone, or where a policy of the host forbids them:
 * nothing can be verified then. */
struct digest_stream *digest_stream_new(enum digest_alg alg)
{
	struct digest_stream *s = mem_alloc(sizeof(*s));

	assert(alg != DIGEST_NONE);
	s->alg = alg;
	s->ctx = EVP_MD_CTX_new();
	if (!s->ctx || !EVP_DigestInit_ex(s->ctx, evp_of(alg), NULL))
		abort();
	return s;
}

void digest_stream_add(struct digest_stream *s, const void *p, size_t len)
{
	if (!EVP_DigestUpdate(s->ctx, p, len))
		abort();
}

void digest_stream_end(struct digest_stream *s, struct digest *ret)
{
	*ret = (struct digest){.alg = s->alg};
	if (!EVP_DigestFinal_ex(s->ctx, ret->bytes, NULL))
		abort();
}

void digest_stream_free(struct digest_stream *s)
{
	if (!s)
		return;
	EVP_MD_CTX_free(s->ctx);
	free(s);
}

void digest_of(enum digest_alg alg, const void *p, size_t len, struct digest *ret)
{
	_digest_stream_ struct digest_stream *s = digest_stream_new(alg);

	digest_stream_add(s, p, len);
	digest_stream_end(s, ret);
}
