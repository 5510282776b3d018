#include "image/entry.h"

#include "base/str.h"

#include <errno.h>
#include <limits.h>

int entry_path(const char *path, struct buf *out, struct err *e)
{
	buf_reset(out);
	buf_adds(out, "");
	for (const char *p = path; *p;) {
		size_t len = strcspn(p, "/");

		if (len > NAME_MAX || out->len + len + 1 >= ENTRY_PATH_MAX)
			return err_set(e, ERR_LAYER_PATH, -ENAMETOOLONG,
				       "a name of the layer is too long: '%.60s…'", path);
		if (len == 2 && p[0] == '.' && p[1] == '.') {
			while (out->len && out->s[--out->len] != '/')
				;
			out->s[out->len] = '\0';
		} else if (len && !(len == 1 && *p == '.')) {
			if (out->len)
				buf_addc(out, '/');
			buf_add(out, p, len);
		}
		p += len;
		p += *p == '/';
	}
	return 0;
}

int entry_mark(const char *name, enum entry_mark *ret, const char **ret_name, struct err *e)
{
	const char *rest = str_after(name, ".wh.");

	*ret_name = rest ? rest : name;
	if (!rest)
		*ret = ENTRY_PLAIN;
	else if (str_eq(rest, ".wh..opq"))
		*ret = ENTRY_OPAQUE;
	else if (str_after(rest, ".wh."))
		*ret = ENTRY_IGNORED;
	else if (!*rest || str_eq(rest, ".") || str_eq(rest, ".."))
		return err_set(e, ERR_LAYER_PATH, -EBADMSG, "the layer removes the name '%s'",
			       rest);
	else
		*ret = ENTRY_WHITEOUT;
	return 0;
}

bool entry_xattr_kept(const char *name)
{
	return !str_after(name, "trusted.overlay.") && !str_after(name, "user.overlay.") &&
	       !str_eq(name, "security.selinux");
}
