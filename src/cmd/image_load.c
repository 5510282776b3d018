/* viv load. */
#include "base/cleanup.h"
#include "base/str.h"
#include "cmd/image.h"
#include "cmd/viv.h"
#include "image/exchange.h"

#include <stdio.h>
#include <unistd.h>

static void report(void *arg, const struct image *i, const struct reference *names, size_t count)
{
	const bool *quiet = arg;
	char text[DIGEST_TEXT_MAX];

	if (*quiet)
		return;
	for (size_t k = 0; k < count; k++) {
		_free_ char *name = reference_familiar(&names[k]);

		printf("Loaded image: %s\n", name);
	}
	if (!count)
		printf("Loaded image ID: %s\n", digest_text(&i->id, text));
}

int cmd_load(struct cli *c)
{
	_image_session_ struct image_session s = {0};
	_platform_ struct platform want = {0};
	bool quiet = cli_bool(c, "quiet");
	const char *platform = cli_string(c, "platform");
	struct load_options o = {
	    .path = cli_string(c, "input"), .fd = STDIN_FILENO, .loaded = report, .arg = &quiet};
	struct err e = {0};

	if (o.path && str_eq(o.path, "-"))
		o.path = NULL;
	if (!o.path && isatty(STDIN_FILENO))
		return cli_usage(
		    c, "'load' reads an archive from standard input, which is a terminal: "
		       "name a file by --input");
	int rc = platform ? platform_parse(platform, &want, &e) : 0;

	if (platform)
		o.platform = &want;
	rc = rc ? rc : image_session_open(c, &s, &e);
	if (rc)
		return cli_fail(c, &e);
	o.discard_compressed = cli_bool(c, "discard-compressed");
	o.progress = viv_progress(c, quiet);
	rc = image_load(s.store, &o, &e);
	progress_free(o.progress);
	return rc ? cli_fail(c, &e) : 0;
}
