/* What the seccomp*.c files share. */
#ifndef CONTAINER_SECCOMP_INT_H
#define CONTAINER_SECCOMP_INT_H

#include "base/buf.h"
#include "container/seccomp.h"

/* Most files that a cache directory keeps. */
#define SECCOMP_CACHE_FILES 64

/* Compiles with libseccomp, whatever the cache has. */
int seccomp_build(const struct spec_seccomp *s, struct seccomp_prog *ret, struct err *e);
bool seccomp_has_notify(const struct spec_seccomp *s);

/* The bytes that decide what is compiled: the profile and the versions of all that takes part.
 * Equal keys, equal programs. */
void seccomp_key(const struct spec_seccomp *s, struct buf *key);

/* A cache file's bytes: takes the program if they are whole and made for this key. */
bool seccomp_cache_parse(const void *data, size_t len, const struct buf *key,
			 struct seccomp_prog *ret);
void seccomp_cache_format(const struct buf *key, const struct seccomp_prog *p, struct buf *out);

/* false: not there, not to be trusted, or made for another profile. */
bool seccomp_cache_get(int dirfd, const struct buf *key, struct seccomp_prog *ret);
void seccomp_cache_put(int dirfd, const struct buf *key, const struct seccomp_prog *p);

#endif
