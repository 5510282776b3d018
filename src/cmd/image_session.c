#include "cmd/image.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/human.h"
#include "cmd/viv.h"

int image_session_open(const struct cli *c, struct image_session *ret, struct err *e)
{
	_image_session_ struct image_session s = {0};
	_free_ char *dir = NULL;
	int rc = viv_data_dir(c, &dir, e);

	rc = rc ? rc : state_open(dir, NULL, &s.state, e);
	rc = rc ? rc : image_store_open(dir, s.state, &s.store, e);
	if (rc)
		return rc;
	*ret = s;
	s = (struct image_session){0};
	return 0;
}

void image_session_done(struct image_session *s)
{
	image_store_free(s->store);
	state_free(s->state);
}

char *image_shown_id(const struct image *i, bool whole)
{
	char text[DIGEST_TEXT_MAX];

	digest_text(&i->id, text);
	return whole ? mem_strdup(text) : mem_printf("%.12s", strchr(text, ':') + 1);
}

bool image_created_s(const struct image *i, int64_t *ret_s)
{
	return *i->created && !human_parse_time(i->created, ret_s);
}
