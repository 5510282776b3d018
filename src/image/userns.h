/* Work on unpacked layers of an ordinary user: their files belong to ids of the user's range in
 * /etc/subuid and /etc/subgid, which only a user namespace can give and take. Root, and who is in such
 * a namespace already, needs none of this: the function is called as it is.
 *
 * The namespace maps its root to the user and the ids from 1 on to the range, as rootless podman and
 * `unshare --map-root-user --map-auto` do. Without newuidmap(1) or a range it maps root alone. */
#ifndef IMAGE_USERNS_H
#define IMAGE_USERNS_H

#include <stdbool.h>

#include "base/err.h"

typedef int userns_fn(void *arg, struct err *e);

struct userns_task;

/* Does the caller need one? */
bool userns_is_needed(void);

/* Starts a child, which calls fn(arg) in a user namespace, with a mount namespace of its own, and ends
 * with the caller. It has copies of the caller's memory and descriptors; `state` is not for it. Returns owned in *ret. */
int userns_start(userns_fn *fn, void *arg, struct userns_task **ret, struct err *e);
/* Waits for its end and frees it: what fn returned, with its error. */
int userns_wait(struct userns_task *t, struct err *e);
/* Kills it and frees it. NULL is fine. */
void userns_stop(struct userns_task *t);

/* Calls fn(arg) in such a child where that is needed, else as it is. */
int userns_run(userns_fn *fn, void *arg, struct err *e);
/* path_remove_tree() of what may belong to such ids. */
int userns_remove_tree(int dirfd, const char *path);

#endif
