/* Reads an index of a layer from its bytes, by the format's description and not by the writer's code,
 * and looks at everything a kernel would rely on: every reference inside the image or the tar, names
 * sorted and legal, types and link counts that agree. */
#ifndef TEST_LIB_EROFS_CHECK_H
#define TEST_LIB_EROFS_CHECK_H

#include <stddef.h>
#include <stdint.h>

/* NULL where all is well, else what is wrong. ret_inodes may be NULL. */
const char *erofs_check(const unsigned char *image, size_t len, uint64_t *ret_inodes);

#endif
