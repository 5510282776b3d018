/* What registries say, parsed: the bodies and headers of their answers, apart from manifests
 * (manifest.h) and WWW-Authenticate (challenge.h). All of it is foreign; what comes out is bounded and
 * harmless to print or to send. No I/O, no state. */
#ifndef IMAGE_ANSWER_H
#define IMAGE_ANSWER_H

#include <stddef.h>
#include <stdint.h>

#define ANSWER_TOKEN_MAX (64u << 10)
#define ANSWER_NAMES_MAX 100000u /* tags of a repository, repositories of a registry */

/* A token server's (distribution, "Token Authentication"): what goes behind "Bearer ". ret_refresh
 * may be NULL, and is untouched where there is none. Returns owned. -EBADMSG: none that could be
 * part of a header. */
int answer_token(const char *text, size_t len, char **ret_token, char **ret_refresh);

/* The first error of distribution-spec 1.1, "Error Codes": "CODE: message" without control
 * characters. Returns owned, NULL where it is no such answer. */
char *answer_error(const char *text, size_t len);

/* Calls fn for each string of the list `field` ("tags"); stops where it returns not 0. count: how
 * many there were, of all pages. -EBADMSG: no list of strings; -E2BIG: past ANSWER_NAMES_MAX. */
int answer_names(const char *text, size_t len, const char *field, size_t *count,
		 int (*fn)(const char *name, void *arg), void *arg);

/* A Location or other reference, made absolute. Returns owned, NULL where it is none. */
char *answer_location(const char *text, const char *base);
/* Link: <…>; rel="next" (RFC 8288), made absolute. Returns owned, NULL: there is no next page. */
char *answer_next_page(const char *link, const char *base);

/* "bytes 100-199/200" (RFC 9110, section 14.4): where it begins. -EBADMSG. */
int answer_content_range(const char *text, uint64_t *ret_start);
/* "0-99" of an upload (distribution-spec 1.1, "Pushing a blob in chunks"): how many bytes are there.
 * "0-0" is taken as none, because some registries say so. -EBADMSG. */
int answer_upload_range(const char *text, uint64_t *ret_bytes);

#endif
