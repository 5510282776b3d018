#include "test.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/policy.h"

#define D "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static struct policy *parse(const char *text)
{
	struct policy *p = NULL;
	struct err e;

	if (policy_parse(text, strlen(text), "policy.json", &p, &e))
		fail_msg("%s", e.msg);
	return p;
}

static void most_specific_scope(void **state)
{
	static const char *const known[][2] = {
	    {"quay.io/team/app:1", "quay.io/team/app:1"},
	    {"quay.io/team/app:2", "quay.io/team/app"},
	    {"quay.io/team/other", "quay.io/team"},
	    {"quay.io/teamwork/x", "quay.io"},
	    {"quay.io/team/app@" D, "quay.io/team/app"},
	    {"a.b.example.com/x", "*.b.example.com"},
	    {"c.example.com:5000/x", "*.example.com"},
	    {"example.com/x", ""},
	    {"debian", "docker.io"},
	};
	_policy_ struct policy *p = parse(
	    "{\"default\": [{\"type\": \"reject\"}], \"transports\": {\"docker\": {"
	    "\"quay.io/team/app:1\": [{\"type\": \"reject\"}],"
	    "\"quay.io/team/app\": [{\"type\": \"reject\"}], \"quay.io/team\": [{\"type\": "
	    "\"reject\"}],"
	    "\"quay.io\": [{\"type\": \"reject\"}], \"*.example.com\": [{\"type\": \"reject\"}],"
	    "\"*.b.example.com\": [{\"type\": \"reject\"}], \"docker.io\": [{\"type\": "
	    "\"reject\"}],"
	    "\"\": [{\"type\": \"insecureAcceptAnything\"}]}}}");

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		_reference_ struct reference r = {0};
		struct err e;

		assert_ok(reference_parse_tagged(known[i][0], &r, &e));
		assert_string_equal(policy_find(p, &r)->scope, known[i][1]);
	}
}

static void default_decides_the_rest(void **state)
{
	_policy_ struct policy *p = parse(
	    "{\"default\": [{\"type\": \"reject\"}], \"transports\": {\"docker\": {\"quay.io\": "
	    "[{\"type\": \"insecureAcceptAnything\"}]}, \"oci\": {}}}");
	_reference_ struct reference r = {0}, quay = {0};
	struct digest d = {0};
	struct err e = {0};

	assert_ok(reference_parse_tagged("debian", &r, &e));
	assert_ok(reference_parse_tagged("quay.io/x", &quay, &e));
	assert_int_equal(policy_check(p, NULL, NULL, &r, &d, &d, &e), -EACCES);
	assert_non_null(strstr(e.msg, "policy 'default': "));
	assert_ok(policy_check(p, NULL, NULL, &quay, &d, &d, &e));
	assert_ok(policy_check(NULL, NULL, NULL, &r, &d, &d, &e));
}

/* What cannot be checked must not be passed over. */
static void refuses(void **state)
{
	static const char *const bad[] = {
	    "{}",
	    "{\"default\": []}",
	    "{\"default\": [{}]}",
	    "{\"default\": [{\"type\": \"accept\"}]}",
	    "{\"default\": [{\"type\": \"reject\", \"unless\": 1}]}",
	    "{\"default\": [{\"type\": \"reject\"}], \"more\": 1}",
	    "{\"default\": [{\"type\": \"reject\"}], \"transports\": []}",
	    "{\"default\": [{\"type\": \"reject\"}], \"transports\": {\"docker\": {\"x\": []}}}",
	    "{\"default\": [{\"type\": \"signedBy\"}]}",
	    "{\"default\": [{\"type\": \"signedBy\", \"keyType\": \"GPGKeys\"}]}",
	    "{\"default\": [{\"type\": \"signedBy\", \"keyType\": \"X509\", \"keyPath\": \"/k\"}]}",
	    "{\"default\": [{\"type\": \"signedBy\", \"keyType\": \"GPGKeys\", \"keyPath\": "
	    "\"k\"}]}",
	    "{\"default\": [{\"type\": \"signedBy\", \"keyType\": \"GPGKeys\", \"keyData\": "
	    "\"%\"}]}",
	    "{\"default\": [{\"type\": \"signedBy\", \"keyType\": \"GPGKeys\", \"keyPath\": "
	    "\"/k\", "
	    "\"keyData\": \"aaaa\"}]}",
	    "{\"default\": [{\"type\": \"signedBy\", \"keyType\": \"GPGKeys\", \"keyPaths\": []}]}",
	    "{\"default\": [{\"type\": \"sigstoreSigned\", \"fulcio\": {}}]}",
	    "{\"default\": [{\"type\": \"sigstoreSigned\", \"keyPath\": \"/k\", "
	    "\"rekorPublicKeyPath\": \"/r\"}]}",
	    "{\"default\": [{\"type\": \"sigstoreSigned\", \"keyPath\": \"/k\", "
	    "\"signedIdentity\": {\"type\": \"matchAnything\"}}]}",
	    "{\"default\": [{\"type\": \"sigstoreSigned\", \"keyPath\": \"/k\", "
	    "\"signedIdentity\": {\"type\": \"exactReference\"}}]}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct policy *p = NULL;
		struct err e = {0};

		if (policy_parse(bad[i], strlen(bad[i]), "policy.json", &p, &e) != -EINVAL)
			fail_msg("%s is taken", bad[i]);
		assert_null(p);
		assert_int_equal(e.code, ERR_POLICY_FORMAT);
	}
}

static int payload(const struct policy_requirement *q, const char *wanted, const char *name,
		   const char *digest, const char *type)
{
	_free_ char *text =
	    mem_printf("{\"critical\": {\"type\": \"%s\", \"image\": {\"docker-manifest-digest\": "
		       "\"%s\"}, \"identity\": {\"docker-reference\": \"%s\"}}, \"optional\": {}}",
		       type, digest, name);
	_reference_ struct reference r = {0};
	struct digest d;
	struct err e = {0};

	assert_ok(digest_parse(D, &d));
	assert_ok(reference_parse_tagged(wanted, &r, &e));
	return signature_payload_check(text, strlen(text), "t", q, &r, &d, &e);
}

static void identities(void **state)
{
#define S(s) ((char *)(uintptr_t)(s))
	const struct {
		struct policy_requirement q;
		const char *wanted, *name;
		bool good;
	} known[] = {
	    {{.identity = POLICY_MATCH_EXACT}, "a.b/c:1", "a.b/c:1", true},
	    {{.identity = POLICY_MATCH_EXACT}, "a.b/c:1", "a.b/c:2", false},
	    {{.identity = POLICY_MATCH_EXACT}, "a.b/c@" D, "a.b/c:1", false},
	    {{.identity = POLICY_MATCH_REPO_DIGEST_OR_EXACT}, "a.b/c@" D, "a.b/c:1", true},
	    {{.identity = POLICY_MATCH_REPO_DIGEST_OR_EXACT}, "a.b/c:1", "a.b/c:2", false},
	    {{.identity = POLICY_MATCH_REPO_DIGEST_OR_EXACT}, "a.b/c:1", "a.b/c", false},
	    {{.identity = POLICY_MATCH_REPO_DIGEST_OR_EXACT}, "debian", "debian:latest", true},
	    {{.identity = POLICY_MATCH_REPOSITORY}, "a.b/c:1", "a.b/c", true},
	    {{.identity = POLICY_MATCH_REPOSITORY}, "a.b/c:1", "a.b/cc:1", false},
	    {{.identity = POLICY_EXACT_REFERENCE, .identity_a = S("x.y/z:3")},
	     "a.b/c:1",
	     "x.y/z:3",
	     true},
	    {{.identity = POLICY_EXACT_REFERENCE, .identity_a = S("x.y/z:3")},
	     "a.b/c:1",
	     "a.b/c:1",
	     false},
	    {{.identity = POLICY_EXACT_REPOSITORY, .identity_a = S("x.y/z")},
	     "a.b/c:1",
	     "x.y/z:9",
	     true},
	    {{.identity = POLICY_REMAP, .identity_a = S("m.n/p"), .identity_b = S("a.b")},
	     "m.n/p/c:1",
	     "a.b/c:1",
	     true},
	    {{.identity = POLICY_REMAP, .identity_a = S("m.n/p"), .identity_b = S("a.b")},
	     "m.n/pp/c:1",
	     "a.b/c:1",
	     false},
	    {{.identity = POLICY_REMAP, .identity_a = S("m.n/p"), .identity_b = S("a.b")},
	     "a.b/c:1",
	     "a.b/c:1",
	     true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (payload(&known[i].q, known[i].wanted, known[i].name, D, "t") !=
		    (known[i].good ? 0 : -EACCES))
			fail_msg("%zu: '%s' for '%s'", i, known[i].name, known[i].wanted);
}

static void payloads_that_say_something_else(void **state)
{
	const struct policy_requirement q = {.identity = POLICY_MATCH_REPOSITORY};
	static const char *const bad[] = {
	    "", "[]", "{\"critical\": {}}",
	    "{\"critical\": {\"type\": \"t\", \"image\": {\"docker-manifest-digest\": \"" D "\"}, "
	    "\"identity\": {\"docker-reference\": \"a.b/c\"}, \"more\": 1}}",
	    "{\"critical\": {\"type\": \"t\", \"image\": {\"docker-manifest-digest\": \"" D
	    "\"}}}"};
	_reference_ struct reference r = {0};
	struct digest d;
	struct err e = {0};

	assert_ok(digest_parse(D, &d));
	assert_ok(reference_parse_tagged("a.b/c", &r, &e));
	assert_ok(payload(&q, "a.b/c", "a.b/c", D, "t"));
	assert_int_equal(payload(&q, "a.b/c", "a.b/c", D, "another type"), -EACCES);
	assert_int_equal(payload(&q, "a.b/c", "a.b/c",
				 "sha256:"
				 "0000000000000000000000000000000000000000000000000000000000000000",
				 "t"),
			 -EACCES);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(
		    signature_payload_check(bad[i], strlen(bad[i]), "t", &q, &r, &d, &e), -EACCES);
}

int main(void)
{
	return TEST_RUN("policy", cmocka_unit_test(most_specific_scope),
			cmocka_unit_test(default_decides_the_rest), cmocka_unit_test(refuses),
			cmocka_unit_test(identities),
			cmocka_unit_test(payloads_that_say_something_else));
}
