/* The commands of images: viv-image's rows. */
#include "cmd/table.h"

const struct cli_command viv_image_table[] = {
    {0},
};
