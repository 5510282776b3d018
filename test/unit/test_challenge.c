#include "test.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "image/challenge.h"

static void docker_hub(void **state)
{
	_challenges_ struct challenges c = {0};

	assert_ok(
	    challenges_add(&c, "Bearer realm=\"https://auth.docker.io/token\",service="
			       "\"registry.docker.io\",scope=\"repository:library/debian:pull\""));
	assert_int_equal(c.n, 1);
	const struct challenge *b = challenges_find(&c, CHALLENGE_BEARER);

	assert_ptr_equal(b, &c.v[0]);
	assert_string_equal(b->realm, "https://auth.docker.io/token");
	assert_string_equal(b->service, "registry.docker.io");
	assert_string_equal(b->scope, "repository:library/debian:pull");
	assert_null(b->error);
	assert_null(challenges_find(&c, CHALLENGE_BASIC));
}

/* RFC 9110, section 11.6.1 has this example, but for the schemes */
static void several_in_one_header(void **state)
{
	_challenges_ struct challenges c = {0};

	assert_ok(challenges_add(&c, "Basic realm=\"simple\", Newauth realm=\"apps\", type=1, "
				     "title=\"Login to \\\"apps\\\"\""));
	assert_ok(challenges_add(&c, "bEARER Realm = tok , ERROR=\"insufficient_scope\""));
	assert_int_equal(c.n, 3);
	assert_int_equal(c.v[0].scheme, CHALLENGE_BASIC);
	assert_string_equal(c.v[0].realm, "simple");
	assert_int_equal(c.v[1].scheme, CHALLENGE_OTHER);
	assert_string_equal(c.v[1].realm, "apps");
	assert_string_equal(c.v[2].realm, "tok");
	assert_string_equal(c.v[2].error, "insufficient_scope");
}

static void odd_but_well_formed(void **state)
{
	static const struct {
		const char *header;
		size_t count;
		const char *realm; /* of the last one */
	} known[] = {
	    {"", 0, NULL},
	    {" , ,\t", 0, NULL},
	    {"Negotiate", 1, NULL},
	    {"Negotiate, NTLM", 2, NULL},
	    {"Negotiate YIIabc+/==, Basic realm=\"x\"", 2, "x"},
	    {"Basic realm=\"\"", 1, ""},
	    {"Basic realm=\"a, b=c\"", 1, "a, b=c"},
	    {"Basic ,, realm=\"x\"", 1, "x"},
	    {"Basic realm=\"first\", realm=\"second\"", 1, "first"},
	    {"Basic realm=\"a\\\\b\"", 1, "a\\b"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		_challenges_ struct challenges c = {0};

		if (challenges_add(&c, known[i].header))
			fail_msg("'%s' is refused", known[i].header);
		assert_int_equal(c.n, known[i].count);
		if (known[i].realm)
			assert_string_equal(c.v[c.n - 1].realm, known[i].realm);
	}
}

static void malformed(void **state)
{
	static const char *const bad[] = {
	    "Basic realm=\"open",
	    "Basic realm=\"open\\",
	    "=",
	    "Basic realm=\"a\" x=\"b\"",
	    "Basic realm=\"a\"\"",
	    "Basic a b",
	    "\"Basic\"",
	    "Basic realm=\"a\", =b",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_challenges_ struct challenges c = {0};

		if (challenges_add(&c, bad[i]) != -EBADMSG)
			fail_msg("'%s' is taken", bad[i]);
	}
}

static void bounds(void **state)
{
	_challenges_ struct challenges c = {0};
	_free_ char *at = mem_alloc(CHALLENGE_HEADER_MAX + 2);

	memset(at, ',', CHALLENGE_HEADER_MAX + 1);
	assert_int_equal(challenges_add(&c, at), -E2BIG);
	at[CHALLENGE_HEADER_MAX] = '\0';
	assert_ok(challenges_add(&c, at));
	assert_ok(challenges_add(&c, "a,b,c,d,e,f,g,h,i realm=x,Basic"));
	assert_int_equal(c.n, CHALLENGES_MAX);
	assert_null(challenges_find(&c, CHALLENGE_BASIC));
}

int main(void)
{
	return TEST_RUN("challenge", cmocka_unit_test(docker_hub),
			cmocka_unit_test(several_in_one_header),
			cmocka_unit_test(odd_but_well_formed), cmocka_unit_test(malformed),
			cmocka_unit_test(bounds));
}
