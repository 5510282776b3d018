#include "disk/utf16.h"

#include <errno.h>

#include "base/endian.h"

static void add_utf8(struct buf *b, uint32_t c)
{
	if (c < 0x80) {
		buf_addc(b, c);
		return;
	}
	if (c < 0x800) {
		buf_addc(b, 0xc0 | c >> 6);
	} else {
		if (c < 0x10000) {
			buf_addc(b, 0xe0 | c >> 12);
		} else {
			buf_addc(b, 0xf0 | c >> 18);
			buf_addc(b, 0x80 | (c >> 12 & 0x3f));
		}
		buf_addc(b, 0x80 | (c >> 6 & 0x3f));
	}
	buf_addc(b, 0x80 | (c & 0x3f));
}

int utf16_decode(const uint8_t *p, size_t len, bool big_endian, struct buf *b)
{
	uint32_t high = 0;

	for (; len >= 2; p += 2, len -= 2) {
		uint32_t c = big_endian ? get_be16(p) : get_le16(p);
		bool low = c >= 0xdc00 && c < 0xe000;

		if (low != (high != 0))
			return -EILSEQ;
		if (!c)
			break;
		if (c >= 0xd800 && c < 0xdc00) {
			high = c;
			continue;
		}
		add_utf8(b, low ? 0x10000 + ((high - 0xd800) << 10) + (c - 0xdc00) : c);
		high = 0;
	}
	return high ? -EILSEQ : 0;
}

static void add_unit(struct buf *b, uint16_t unit, bool big_endian)
{
	uint8_t raw[2];

	if (big_endian)
		put_be16(raw, unit);
	else
		put_le16(raw, unit);
	buf_add(b, raw, sizeof(raw));
}

/* The code point at s; returns its length in bytes, 0 where it is malformed. */
static int get_utf8(const uint8_t *s, uint32_t *ret)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	int len = *s < 0x80 ? 1 : *s >> 5 == 6 ? 2 : *s >> 4 == 14 ? 3 : *s >> 3 == 30 ? 4 : 0;
	uint32_t c = len == 1 ? *s : *s & (0x7f >> len);

	for (int i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80) /* also the terminating NUL */
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (!len || c < least[len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	*ret = c;
	return len;
}

int utf16_encode(const char *s, bool big_endian, struct buf *b)
{
	const uint8_t *p = (const uint8_t *)s;

	while (*p) {
		uint32_t c;
		int len = get_utf8(p, &c);

		if (!len)
			return -EILSEQ;
		if (c >= 0x10000) {
			add_unit(b, 0xd800 + ((c - 0x10000) >> 10), big_endian);
			c = 0xdc00 + (c & 0x3ff);
		}
		add_unit(b, c, big_endian);
		p += len;
	}
	return 0;
}
