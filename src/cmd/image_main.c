/* The program viv-image: the store of images and everything that goes into it or comes out. */
#include "cmd/viv.h"

static const struct cli_handler handlers[] = {
    {0},
};

int main(int argc, char **argv)
{
	static const struct viv_program program = {handlers};

	return viv_main(&program, argc, argv);
}
