/* The program viv-image: the store of images and everything that goes into it or comes out. */
#include "base/cleanup.h"
#include "base/str.h"
#include "cmd/image.h"
#include "cmd/viv.h"
#include "state/dirs.h"

#include <stdio.h>

static const struct cli_handler handlers[] = {
    {"images", cmd_images},
    {"tag", cmd_tag},
    {"rmi", cmd_rmi},
    {"history", cmd_image_history},
    {"save", cmd_save},
    {"load", cmd_load},
    {"image inspect", cmd_image_inspect},
    {"image df", cmd_image_df},
    {"image prune", cmd_image_prune},
    {"image verify", cmd_image_verify},
    {"image ls", cmd_images},
    {"image tag", cmd_tag},
    {"image rm", cmd_rmi},
    {"image history", cmd_image_history},
    {"import", cmd_import},
    {"export", cmd_export},
    {"image import", cmd_import},
    {"image mount", cmd_image_mount},
    {"image unmount", cmd_image_unmount},
    {"image bootstrap", cmd_image_bootstrap},
    {"image save", cmd_save},
    {"image load", cmd_load},
    {0},
};

static void print_names(const struct image_list *l, const char *prefix)
{
	vec_each (n, &l->names) {
		_free_ char *name = reference_familiar(&n->reference);

		if (n->reference.tag && str_after(name, prefix))
			puts(name);
	}
	vec_each (i, &l->images) {
		_free_ char *id = image_shown_id(*i, false);

		if (*prefix && str_after(id, prefix))
			puts(id);
	}
}

/* Names of images, for completion: no store, or one that cannot be read, has none. */
static int names(const char *kind, const char *prefix)
{
	_image_session_ struct image_session s = {0};
	_image_list_ struct image_list l = {0};
	_free_ char *dir = NULL;

	if (str_eq(kind, "image") && !dirs_data(&dir, NULL) &&
	    !state_open(dir, NULL, &s.state, NULL) &&
	    !image_store_open(dir, s.state, &s.store, NULL) && !image_list(s.store, &l, NULL))
		print_names(&l, prefix);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct viv_program program = {handlers, .names = names};

	return viv_main(&program, argc, argv);
}
