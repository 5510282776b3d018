/* Names, records and the collector, over images without layers. */
#include "test.h"

#include "fault.h"
#include "tmpdir.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/collect.h"
#include "image/image.h"

#include <errno.h>
#include <stdio.h>

static struct tmpdir dir;
static struct state *st;
static struct image_store *store;

static int set_up(void **state)
{
	dir = tmpdir_new();
	assert_int_equal(state_open(dir.path, NULL, &st, NULL), 0);
	assert_int_equal(image_store_open(dir.path, st, &store, NULL), 0);
	return 0;
}

static int tear_down(void **state)
{
	fault_reset();
	image_store_free(store);
	state_free(st);
	tmpdir_done(&dir);
	return 0;
}

/* Puts an image that nothing names; the author makes it another one. */
static struct digest put_image(const char *author)
{
	_free_ char *config =
	    mem_printf("{\"os\":\"linux\",\"architecture\":\"amd64\",\"author\":\"%s\","
		       "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}",
		       author);
	char text[DIGEST_TEXT_MAX];
	struct digest c, m;

	assert_int_equal(blob_put(store, DIGEST_SHA256, config, strlen(config), &c, NULL), 0);
	_free_ char *manifest =
	    mem_printf("{\"schemaVersion\":2,\"config\":{\"mediaType\":\"" MEDIA_OCI_CONFIG
		       "\",\"digest\":\"%s\",\"size\":%zu},\"layers\":[]}",
		       digest_text(&c, text), strlen(config));

	assert_int_equal(blob_put(store, DIGEST_SHA256, manifest, strlen(manifest), &m, NULL), 0);
	return m;
}

static struct image *add_image(const char *author, const char *name)
{
	struct digest m = put_image(author);
	_reference_ struct reference r = {0};
	struct image *i;

	assert_int_equal(reference_parse_tagged(name, &r, NULL), 0);
	assert_int_equal(image_add(store, &m, NULL, &r, 1, &i, NULL), 0);
	return i;
}

/* The image that text finds has that ID; NULL: it finds none. */
static void assert_finds(const char *text, const struct image *want)
{
	_image_ struct image *i = NULL;
	int rc = image_find(store, text, NULL, &i, NULL);

	assert_int_equal(rc, want ? 0 : -ENOENT);
	if (want)
		assert_true(digest_eq(&i->id, &want->id));
}

/* Holds end with the handle. */
static void reopen(void)
{
	image_store_free(store);
	assert_int_equal(image_store_open(dir.path, st, &store, NULL), 0);
}

static void test_find(void **state)
{
	_image_ struct image *a = add_image("a", "web:1"), *b = add_image("b", "localhost/web:1");
	char text[DIGEST_TEXT_MAX], hex[DIGEST_HEX_MAX];

	assert_finds("localhost/web:1", b);
	assert_finds("docker.io/library/web:1", a);
	assert_finds("web:1", b); /* what was made here comes first */
	assert_finds("web", NULL);
	assert_finds(digest_text(&a->id, text), a);
	assert_finds(digest_hex(&a->id, hex), a);
	hex[10] = '\0';
	assert_finds(hex, a);
	assert_finds("sha256:ffffffffffff", NULL);
	_image_ struct image *c = add_image("c", "web:1");

	assert_finds("docker.io/library/web:1", c);
	assert_finds(digest_text(&a->id, text), a); /* without a name now */
}

static void test_ambiguous(void **state)
{
	struct err e = {0};

	for (unsigned k = 0; k < 17; k++) { /* two of them begin with the same digit */
		char author[8];

		snprintf(author, sizeof(author), "n%u", k);
		image_free(add_image(author, "x:1"));
	}
	unsigned found = 0;

	for (const char *d = "0123456789abcdef"; *d; d++) {
		char text[] = {'s', 'h', 'a', '2', '5', '6', ':', *d, '\0'};
		_image_ struct image *i = NULL;

		if (image_find(store, text, NULL, &i, &e) == -ENOTUNIQ) {
			assert_int_equal(e.code, ERR_IMG_AMBIGUOUS);
			found++;
		}
	}
	assert_true(found > 0);
}

static int remove_image(const char *text, bool force, bool *ret_deleted)
{
	struct image_removed r = {0};
	struct err e = {0};
	int rc = image_remove(store, text, force, &r, &e);

	if (rc)
		assert_string_not_equal(e.msg, "");
	*ret_deleted = r.deleted;
	image_removed_done(&r);
	return rc;
}

static void test_remove(void **state)
{
	_image_ struct image *a = add_image("a", "web:1");
	_reference_ struct reference other = {0};
	char text[DIGEST_TEXT_MAX];
	bool deleted;

	assert_int_equal(reference_parse_tagged("elsewhere:2", &other, NULL), 0);
	assert_int_equal(image_tag(store, a, &other, NULL), 0);
	reopen();
	assert_int_equal(remove_image(digest_text(&a->id, text), false, &deleted), -EBUSY);
	assert_int_equal(remove_image("web:1", false, &deleted), 0);
	assert_false(deleted);
	assert_true(blob_exists(store, &a->config, NULL));
	assert_int_equal(image_use(store, a, "mount:/mnt", 0, NULL), 0);
	assert_int_equal(remove_image("elsewhere:2", true, &deleted), -EBUSY);
	assert_int_equal(image_use_end(store, a, "mount:/mnt", NULL), 0);
	assert_int_equal(remove_image("elsewhere:2", false, &deleted), 0);
	assert_true(deleted);
	assert_false(blob_exists(store, &a->config, NULL));
	assert_int_equal(remove_image("elsewhere:2", false, &deleted), -ENOENT);
	assert_int_equal(image_tag(store, a, &other, NULL), -ENOENT);
}

static void test_shared_parts_stay(void **state)
{
	_image_ struct image *a = add_image("a", "web:1"), *b = add_image("b", "web:2");
	bool deleted;

	reopen();
	assert_int_equal(remove_image("web:1", false, &deleted), 0);
	assert_false(blob_exists(store, &a->manifest, NULL));
	assert_true(blob_exists(store, &b->manifest, NULL));
}

static void test_collector_spares_what_is_held(void **state)
{
	struct digest m = put_image("a");
	struct collected c;

	assert_int_equal(image_collect(store, &(struct collect_options){0}, &c, NULL), 0);
	assert_int_equal(c.blobs, 0);
	reopen();
	assert_int_equal(image_collect(store, &(struct collect_options){.dry_run = true}, &c, NULL),
			 0);
	assert_int_equal(c.blobs, 2);
	assert_true(blob_exists(store, &m, NULL));
	assert_int_equal(image_collect(store, &(struct collect_options){0}, &c, NULL), 0);
	assert_int_equal(c.blobs, 2);
	assert_false(blob_exists(store, &m, NULL));
}

static void test_add_needs_all_parts(void **state)
{
	struct digest m = put_image("a");
	_buf_ struct buf b = {0};
	_manifest_ struct manifest *parsed = NULL;
	struct err e = {0};

	assert_int_equal(blob_read(store, &m, 1 << 20, &b, NULL), 0);
	assert_int_equal(manifest_parse(b.s, b.len, NULL, &parsed, NULL), 0);
	assert_int_equal(blob_remove(store, &parsed->config.digest, NULL), 0);
	assert_int_equal(image_add(store, &m, NULL, NULL, 0, NULL, &e), -ENOENT);
	assert_int_equal(e.code, ERR_IMG_BLOB);
	_image_list_ struct image_list l = {0};

	assert_int_equal(image_list(store, &l, NULL), 0);
	assert_int_equal(l.images.n, 0);
}

static void test_damaged_record_is_named(void **state)
{
	_image_ struct image *a = add_image("a", "web:1");
	char text[DIGEST_TEXT_MAX];
	_free_ char *key = mem_printf("image/record/%s", digest_text(&a->manifest, text));
	_image_list_ struct image_list l = {0};
	struct err e = {0};

	assert_int_equal(state_put(st, state_str(key), state_str("{"), 0, NULL, NULL), 0);
	assert_int_equal(image_list(store, &l, &e), -EBADMSG);
	assert_int_equal(e.code, ERR_STATE_CORRUPT);
	assert_non_null(strstr(e.msg, text));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_find, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_ambiguous, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_remove, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_shared_parts_stay, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_collector_spares_what_is_held, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_add_needs_all_parts, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_damaged_record_is_named, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
