/* Parsed documents for tests: of the fuzz corpus (CORPUS is a compiler argument), or written in the
 * test with ' for ". */
#ifndef TEST_LIB_SPECS_H
#define TEST_LIB_SPECS_H

#include <fcntl.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "container/spec.h"
#include "os/path.h"
#include "test.h"

/* text with " for '. Owned. */
static inline char *specs_quote(const char *text)
{
	char *s = mem_strdup(text);

	for (char *p = s; *p; p++)
		if (*p == '\'')
			*p = '"';
	return s;
}

/* Fails the test where the text is refused. */
static inline struct spec *specs_parse(const char *text)
{
	_free_ char *quoted = specs_quote(text);
	struct spec *s;
	struct err e;

	if (spec_parse(quoted, strlen(quoted), "/bundle", &s, &e) < 0)
		fail_msg("%s: %s", text, e.msg);
	return s;
}

#ifdef CORPUS
static inline struct spec *specs_file(const char *name)
{
	_free_ char *path = mem_printf(CORPUS "/spec/%s", name);
	_buf_ struct buf text = {0};
	struct spec *s;
	struct err e;

	assert_ok(path_read(AT_FDCWD, path, &text, SPEC_FILE_MAX));
	if (spec_parse(text.s, text.len, "/bundle", &s, &e) < 0)
		fail_msg("%s: %s", name, e.msg);
	return s;
}
#endif

/* A document whose linux.seccomp has these members. */
static inline struct spec *specs_seccomp(const char *members)
{
	_free_ char *text = mem_printf(
	    "{'ociVersion':'1.0.2','root':{'path':'r'},'linux':{'seccomp':{%s}}}", members);

	return specs_parse(text);
}

#endif
