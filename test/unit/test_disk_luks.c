/* LUKS volumes: header, key slots, and data, against a plain model and against qemu-img. */
#include "diskbed.h"

#include <errno.h>

#include "disk/luks_head.h"

#define SIZE 1572864

static json_t *options(const char *text)
{
	json_t *o = json_loads(text, 0, NULL);

	assert_non_null(o);
	return o;
}

static int try_open(struct diskbed *b, const char *secret, unsigned flags)
{
	json_t *o = json_pack("{s:s}", "driver", "luks");
	int rc;

	if (secret)
		json_object_set_new(o, "key-secret", json_string(secret));
	assert_ok(disk_close(b->d));
	b->d = NULL;
	rc = disk_open(b->ctx, b->path, o, flags, &b->d, &b->e);
	json_decref(o);
	return rc;
}

static void start(struct diskbed *b)
{
	diskbed_start(b, "luks");
	disk_ctx_add_secret(b->ctx, "a", "first", 5);
	disk_ctx_add_secret(b->ctx, "b", "second", 6);
	b->size = SIZE;
	b->model = mem_array(SIZE, 1);
}

static void make(struct diskbed *b, const char *opts)
{
	json_t *o = options(opts);

	json_object_set_new(o, "size", json_integer(SIZE));
	json_object_set_new(o, "key-secret", json_string("a"));
	json_object_set_new(o, "iter-time", json_integer(10));
	if (disk_create(b->ctx, disk_driver_find("luks"), b->path, o, 0, &b->e) < 0)
		fail_msg("%s", b->e.msg);
	json_decref(o);
	assert_ok(try_open(b, "a", DISK_WRITE));
	diskbed_zero(b, 0, SIZE);
}

/* qemu-img compares its view with the model. */
static int qemu_compare(struct diskbed *b, const char *pass)
{
	assert_ok(disk_close(b->d));
	b->d = NULL;
	diskbed_save_model(b);
	return diskbed_run(
	    b,
	    "qemu-img compare --object secret,id=s,data=%s --image-opts "
	    "driver=raw,file.filename=model driver=luks,key-secret=s,file.filename=%s",
	    pass, b->path);
}

static const char *const kinds[] = {
    "{}",
    "{\"cipher-alg\":\"aes-128\",\"hash-alg\":\"sha1\"}",
    "{\"cipher-mode\":\"cbc\",\"ivgen-alg\":\"essiv\",\"hash-alg\":\"sha512\"}",
    "{\"cipher-mode\":\"cbc\",\"ivgen-alg\":\"plain\"}",
    /* The last: QEMU 7.2 ends by an assertion for its key material of half a sector. */
    "{\"cipher-alg\":\"aes-192\",\"cipher-mode\":\"cbc\"}",
};

static void agrees_with_a_model(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct diskbed b;

		start(&b);
		make(&b, kinds[i]);
		for (int n = 0; n < 20; n++)
			diskbed_write(&b, diskbed_random(&b, SIZE - 9000),
				      1 + diskbed_random(&b, 9000));
		diskbed_zero(&b, 5000, 70000);
		diskbed_compare(&b);
		assert_ok(try_open(&b, "a", 0));
		diskbed_compare(&b);
		if (i + 1 < ARRAY_SIZE(kinds) && diskbed_has("qemu-img"))
			assert_int_equal(qemu_compare(&b, "first"), 0);
		diskbed_end(&b);
	}
}

static void reads_what_qemu_wrote(void **state)
{
	static const char *const theirs[] = {
	    "",
	    ",cipher-alg=aes-128,cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha256,hash-alg="
	    "sha1",
	};

	if (!diskbed_has("qemu-img"))
		test_skip("needs qemu-img");
	for (size_t i = 0; i < ARRAY_SIZE(theirs); i++) {
		struct diskbed b;

		start(&b);
		for (size_t j = 0; j < SIZE; j++)
			b.model[j] = j * j >> 3;
		diskbed_save_model(&b);
		/* QEMU gives up where its thread got no measurable CPU time: again, then. */
		assert_int_equal(
		    diskbed_run(&b,
				"until qemu-img convert --object secret,id=s,data=first -f raw -O "
				"luks -o key-secret=s,iter-time=10%s model %s; "
				"do grep -qa \"accurate CPU usage\" out && : >out || exit; done",
				theirs[i], b.path),
		    0);
		assert_int_equal(try_open(&b, "b", 0), -EPERM);
		assert_ok(try_open(&b, "a", DISK_WRITE));
		diskbed_compare(&b);
		diskbed_write(&b, 12345, 54321);
		assert_int_equal(qemu_compare(&b, "first"), 0);
		diskbed_end(&b);
	}
}

static int amend(struct diskbed *b, const char *text, bool force)
{
	json_t *o = options(text);
	int rc = disk_amend(b->d, o, force, NULL, &b->e);

	json_decref(o);
	return rc;
}

/* A second passphrase comes, the first one goes, and the last one stays unless forced. */
static void changes_keys(void **state)
{
	struct diskbed b;

	start(&b);
	make(&b, "{}");
	diskbed_write(&b, 0, 4096);
	assert_int_equal(amend(&b, "{\"state\":\"inactive\",\"keyslot\":0}", false), -EINVAL);
	assert_int_equal(amend(&b, "{\"state\":\"active\"}", false), -EINVAL);
	assert_int_equal(
	    amend(&b, "{\"state\":\"active\",\"new-secret\":\"b\",\"keyslot\":8}", false), -EINVAL);
	assert_int_equal(
	    amend(&b, "{\"state\":\"active\",\"new-secret\":\"b\",\"keyslot\":0}", false), -EINVAL);
	assert_ok(amend(&b, "{\"state\":\"active\",\"new-secret\":\"b\",\"iter-time\":10}", false));
	if (diskbed_has("qemu-img"))
		assert_int_equal(qemu_compare(&b, "second"), 0);
	assert_ok(try_open(&b, "b", DISK_WRITE));
	diskbed_compare(&b);
	assert_ok(amend(&b, "{\"state\":\"inactive\",\"old-secret\":\"a\"}", false));
	assert_int_equal(amend(&b, "{\"state\":\"inactive\",\"old-secret\":\"a\"}", false),
			 -EINVAL);
	assert_int_equal(amend(&b, "{\"state\":\"inactive\",\"old-secret\":\"b\"}", false),
			 -EINVAL);
	assert_int_equal(try_open(&b, "a", 0), -EPERM);
	assert_ok(try_open(&b, "b", DISK_WRITE));
	assert_ok(amend(&b, "{\"state\":\"inactive\",\"keyslot\":1}", true));
	assert_int_equal(try_open(&b, "b", 0), -EPERM);
	diskbed_end(&b);
}

static void resizes_and_informs(void **state)
{
	struct disk_info info;
	struct diskbed b;

	start(&b);
	make(&b, "{}");
	diskbed_write(&b, SIZE - 1000, 1000);
	diskbed_resize(&b, SIZE + 512);
	diskbed_resize(&b, 512 * 100);
	diskbed_compare(&b);
	assert_ok(try_open(&b, NULL, DISK_NO_IO));
	assert_ok(disk_get_info(b.d, &info, &b.e));
	assert_true(info.encrypted);
	assert_string_equal(json_string_value(json_object_get(
				json_object_get(info.specific, "data"), "cipher-mode")),
			    "xts");
	json_decref(info.specific);
	assert_int_equal(try_open(&b, NULL, 0), -EINVAL);
	assert_int_equal(try_open(&b, "none", 0), -EINVAL);
	diskbed_end(&b);
}

/* Whatever a header says, offsets stay apart. */
static void refuses_bad_headers(void **state)
{
	struct luks_head h = {.cipher = "aes",
			      .mode = "xts-plain64",
			      .hash = "sha256",
			      .key_bytes = 64,
			      .digest_iterations = 1000},
			 got;
	uint8_t raw[LUKS_HEAD_BYTES];
	struct err e;

	luks_head_lay_out(&h);
	assert_int_equal(h.payload_offset, 4040);
	luks_head_build(&h, raw);
	assert_ok(luks_head_parse(raw, &got, &e));
	assert_memory_equal(&h, &got, sizeof(h));
#define BAD(field, value)                                                  \
	do {                                                               \
		struct luks_head bad = h;                                  \
                                                                           \
		bad.field = value;                                         \
		luks_head_build(&bad, raw);                                \
		assert_int_equal(luks_head_parse(raw, &got, &e), -EINVAL); \
	} while (0)
	BAD(key_bytes, 65);
	BAD(key_bytes, 0);
	BAD(payload_offset, 1);
	BAD(payload_offset, 4000);
	BAD(digest_iterations, 0);
	BAD(slots[3].material_offset, 0);
	BAD(slots[3].material_offset, 10);
	BAD(slots[3].material_offset, 0xffffffff);
	BAD(slots[3].stripes, 3999);
	BAD(slots[3].active, true);
	BAD(cipher[31], 'x');
	luks_head_build(&h, raw);
	raw[7] = 2;
	assert_int_equal(luks_head_parse(raw, &got, &e), -ENOTSUP);
}

int main(void)
{
	return TEST_RUN("disk_luks", cmocka_unit_test(agrees_with_a_model),
			cmocka_unit_test(reads_what_qemu_wrote), cmocka_unit_test(changes_keys),
			cmocka_unit_test(resizes_and_informs),
			cmocka_unit_test(refuses_bad_headers));
}
