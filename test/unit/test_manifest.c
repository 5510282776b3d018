/* Manifests, indexes, configurations and platforms: what is taken, and what is refused how. */
#include "test.h"

#include "base/cleanup.h"
#include "image/manifest.h"

#include <errno.h>

#define HEX    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define DIGEST "\"digest\":\"sha256:" HEX "\",\"size\":7"
#define CONFIG "\"config\":{\"mediaType\":\"" MEDIA_OCI_CONFIG "\"," DIGEST "}"
#define LAYER  "{\"mediaType\":\"" MEDIA_OCI_LAYER_GZIP "\"," DIGEST "}"
#define IMAGE  "{\"schemaVersion\":2," CONFIG ",\"layers\":[" LAYER "]}"
#define ENTRY(os, arch, variant)                                                          \
	"{\"mediaType\":\"" MEDIA_OCI_MANIFEST "\"," DIGEST ",\"platform\":{\"os\":\"" os \
	"\",\"architecture\":\"" arch "\",\"variant\":\"" variant "\"}}"
#define INDEX(...) "{\"schemaVersion\":2,\"manifests\":[" __VA_ARGS__ "]}"

static int parse(const char *text, const char *claim, struct manifest **ret, struct err *e)
{
	return manifest_parse(text, strlen(text), claim, ret, e);
}

static void test_image(void **state)
{
	_manifest_ struct manifest *m = NULL;

	assert_int_equal(parse(IMAGE, NULL, &m, NULL), 0);
	assert_int_equal(m->kind, MANIFEST_IMAGE);
	assert_string_equal(m->media_type, MEDIA_OCI_MANIFEST);
	assert_int_equal(m->layers.n, 1);
	assert_int_equal(m->layers.v[0].size, 7);
}

static void test_claim_gives_the_type(void **state)
{
	_manifest_ struct manifest *m = NULL;
	struct err e = {0};

	assert_int_equal(parse(IMAGE, MEDIA_DOCKER_MANIFEST "; charset=utf-8", &m, NULL), 0);
	assert_string_equal(m->media_type, MEDIA_DOCKER_MANIFEST);
	assert_int_equal(parse(IMAGE, MEDIA_OCI_INDEX, &(struct manifest *){0}, &e), -EBADMSG);
}

static void test_artifact(void **state)
{
	_manifest_ struct manifest *m = NULL;

	assert_int_equal(
	    parse("{\"schemaVersion\":2,\"artifactType\":\"application/x\",\"config\":{"
		  "\"mediaType\":\"" MEDIA_OCI_EMPTY "\"," DIGEST "},\"layers\":[],"
		  "\"subject\":{\"mediaType\":\"" MEDIA_OCI_MANIFEST "\"," DIGEST "}}",
		  NULL, &m, NULL),
	    0);
	assert_int_equal(m->kind, MANIFEST_ARTIFACT);
	assert_true(m->has_subject);
}

static void test_refused_manifests(void **state)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
	    {"", "no JSON"},
	    {"[]", "no JSON object"},
	    {"{}", "schemaVersion"},
	    {"{\"schemaVersion\":1,\"fsLayers\":[]}", "schema 1"},
	    {"{\"schemaVersion\":2}", "neither"},
	    {"{\"schemaVersion\":2,\"manifests\":[]," CONFIG ",\"layers\":[]}", "at once"},
	    {"{\"schemaVersion\":2,\"layers\":[]}", "'config' is missing"},
	    {"{\"schemaVersion\":2," CONFIG "}", "'layers' is missing"},
	    {"{\"schemaVersion\":2," CONFIG ",\"layers\":{}}", "'layers' is not an array"},
	    {"{\"schemaVersion\":2," CONFIG ",\"layers\":[{}]}",
	     "layers[0]: 'mediaType' is missing"},
	    {"{\"schemaVersion\":2,\"mediaType\":\"x/y\"," CONFIG ",\"layers\":[]}",
	     "not supported"},
	    {"{\"schemaVersion\":2,\"config\":{\"mediaType\":\"x\",\"digest\":\"sha256:" HEX
	     "\",\"size\":-1},\"layers\":[]}",
	     "negative"},
	    {"{\"schemaVersion\":2,\"config\":{\"mediaType\":\"x\",\"digest\":\"sha256:"
	     "\",\"size\":1},\"layers\":[]}",
	     "no digest"},
	    {"{\"schemaVersion\":2,\"schemaVersion\":2}", "duplicate"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct manifest *m = NULL;
		struct err e = {0};

		assert_int_equal(parse(rows[i].text, NULL, &m, &e), -EBADMSG);
		assert_int_equal(e.code, ERR_IMG_MANIFEST);
		if (!strstr(e.msg, rows[i].says))
			fail_msg("'%s' instead of '%s'", e.msg, rows[i].says);
	}
}

/* Which entry of the index, or -1, serves the platform? */
static long selected(const char *index, const char *platform)
{
	_manifest_ struct manifest *m = NULL;
	_platform_ struct platform want = {0};
	const struct descriptor *d;
	struct err e = {0};

	assert_int_equal(parse(index, NULL, &m, NULL), 0);
	assert_int_equal(platform_parse(platform, &want, NULL), 0);
	if (!manifest_select(m, &want, &d, &e))
		return d - m->entries.v;
	assert_int_equal(e.code, ERR_IMG_NO_PLATFORM);
	return -1;
}

static void test_selection(void **state)
{
	static const char index[] =
	    INDEX(ENTRY("unknown", "unknown", "") "," ENTRY("linux", "arm", "v5") "," ENTRY(
		"linux", "arm", "v7") "," ENTRY("linux", "arm64",
						"v8") "," ENTRY("linux", "amd64",
								"") "," ENTRY("windows", "amd64",
									      ""));

	assert_int_equal(selected(index, "linux/amd64"), 4);
	assert_int_equal(selected(index, "linux/x86_64"), 4);
	assert_int_equal(selected(index, "windows/amd64"), 5);
	assert_int_equal(selected(index, "linux/arm64"), 3);
	assert_int_equal(selected(index, "linux/aarch64/v8"), 3);
	assert_int_equal(selected(index, "linux/arm/v7"), 2);
	assert_int_equal(selected(index, "linux/arm/v6"), 1);
	assert_int_equal(selected(index, "linux/arm"), 2);
	assert_int_equal(selected(index, "linux/riscv64"), -1);
	assert_int_equal(
	    selected(INDEX("{\"mediaType\":\"" MEDIA_OCI_MANIFEST "\"," DIGEST "}"), "linux/s390x"),
	    0);
}

static void test_layer_types(void **state)
{
	enum layer_compression c;
	struct err e = {0};

	assert_int_equal(layer_media_type(MEDIA_OCI_LAYER_ZSTD, &c, NULL), 0);
	assert_int_equal(c, LAYER_ZSTD);
	assert_int_equal(layer_media_type(MEDIA_DOCKER_LAYER, &c, NULL), 0);
	assert_int_equal(c, LAYER_PLAIN);
	assert_int_equal(layer_media_type(MEDIA_DOCKER_LAYER_FOREIGN, &c, &e), -EOPNOTSUPP);
	assert_non_null(strstr(e.msg, "foreign"));
	assert_int_equal(layer_media_type(MEDIA_OCI_LAYER_GZIP "+encrypted", &c, &e), -EOPNOTSUPP);
	assert_non_null(strstr(e.msg, "encrypted"));
}

static void test_config(void **state)
{
	static const char text[] =
	    "{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":null,"
	    "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:" HEX "\"]},"
	    "\"history\":[{\"created_by\":\"sh\",\"empty_layer\":true},{}]}";
	_image_config_ struct image_config *c = NULL;
	struct err e = {0};

	assert_int_equal(image_config_parse(text, strlen(text), &c, NULL), 0);
	assert_int_equal(c->diff_ids.n, 1);
	assert_int_equal(c->history.n, 2);
	assert_true(c->history.v[0].empty_layer);
	assert_string_equal(c->created, "");
	assert_true(json_is_object(c->config));
	static const char *const refused[] = {
	    "{}",
	    "{\"rootfs\":{\"type\":\"x\"}}",
	    "{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[1]}}",
	    "{\"os\":1,\"rootfs\":{\"type\":\"layers\"}}",
	    "{\"rootfs\":{\"type\":\"layers\"},\"history\":[1]}",
	};
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		struct image_config *none = NULL;

		assert_int_equal(image_config_parse(refused[i], strlen(refused[i]), &none, &e),
				 -EBADMSG);
		assert_null(none);
	}
}

static void test_platforms(void **state)
{
	static const char *const malformed[] = {"", "a/b/c/d", "linux//v8", "lin ux", "/amd64"};

	for (size_t i = 0; i < ARRAY_SIZE(malformed); i++)
		assert_int_equal(platform_parse(malformed[i], &(struct platform){0}, NULL),
				 -EINVAL);
	_platform_ struct platform p = {0};

	assert_int_equal(platform_parse("ARM64", &p, NULL), 0);
	_free_ char *text = platform_text(&p);

	assert_string_equal(text, "linux/arm64");
}

int main(void)
{
	return TEST_RUN("manifest", cmocka_unit_test(test_image),
			cmocka_unit_test(test_claim_gives_the_type),
			cmocka_unit_test(test_artifact), cmocka_unit_test(test_refused_manifests),
			cmocka_unit_test(test_selection), cmocka_unit_test(test_layer_types),
			cmocka_unit_test(test_config), cmocka_unit_test(test_platforms));
}
