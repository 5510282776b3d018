#include "codec/base64.h"

#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <string.h>

void base64_encode(const void *data, size_t len, struct buf *out)
{
	const unsigned char *p = data;

	while (len) {
		unsigned char text[4 * 256 + 1];
		size_t n = len < 3 * 256 ? len : 3 * 256;

		buf_add(out, text, (size_t)EVP_EncodeBlock(text, p, (int)n));
		p += n;
		len -= n;
	}
}

/* The decoder takes blanks and missing padding for zeros. */
static int check(const char *text, size_t len, size_t *ret_padding)
{
	static const char alphabet[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t padding = 0;

	if (len % 4 || len > INT_MAX)
		return -EBADMSG;
	while (padding < 2 && padding < len && text[len - 1 - padding] == '=')
		padding++;
	for (size_t i = 0; i < len - padding; i++)
		if (!text[i] || !strchr(alphabet, text[i]))
			return -EBADMSG;
	*ret_padding = padding;
	return 0;
}

int base64_decode(const char *text, size_t len, struct buf *out)
{
	size_t padding, old = out->len;

	if (check(text, len, &padding))
		return -EBADMSG;
	if (!len)
		return 0;
	buf_reserve(out, len / 4 * 3);
	int n =
	    EVP_DecodeBlock((unsigned char *)out->s + old, (const unsigned char *)text, (int)len);

	if (n < 0) {
		out->s[old] = '\0';
		return -EBADMSG;
	}
	out->len = old + (size_t)n - padding;
	out->s[out->len] = '\0';
	return 0;
}
