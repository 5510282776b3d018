/* The program viv-registry: what speaks with registries. It is a program of its own because libcurl brings two
 * dozen libraries, which would be paid for at each start of viv-image. */
#include "cmd/registry.h"
#include "cmd/viv.h"

static const struct cli_handler handlers[] = {
    {"login", cmd_login}, {"logout", cmd_logout}, {"pull", cmd_pull},
    {"push", cmd_push},   {"search", cmd_search}, {0},
};

int main(int argc, char **argv)
{
	static const struct viv_program program = {handlers};

	return viv_main(&program, argc, argv);
}
