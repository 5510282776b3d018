/* config-linux.md "Seccomp". Names are resolved by container/seccomp.h; compiling is left to it
 * too. */
#include "container/seccomp.h"
#include "container/spec_int.h"

#include "base/cleanup.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <seccomp.h>

/* The action of a rule or of the profile, with its errno: "When the action doesn't support an
 * errno, the runtime MUST print an error and fail. The default is EPERM." */
static int read_action(struct spec_reader *r, const struct spec_at *at, const json_t *v,
		       const char *key, const char *errno_key, uint32_t *ret)
{
	const char *name = json_string_value(json_object_get(v, key));
	const json_t *given = json_object_get(v, errno_key);
	struct spec_at errno_at = {at, errno_key, 0};
	static const struct spec_field errno_field = {"", K_UINT, .size = sizeof(uint32_t),
						      .max = UINT16_MAX};
	uint32_t data = EPERM, action;

	if (!name)
		return spec_fail(r, at, key, "missing or no string");
	if (given && !json_is_null(given)) {
		int rc = spec_read(r, &errno_at, &errno_field, given, &data);

		if (rc < 0)
			return rc;
	}
	if (!seccomp_action_by_name(name, data, &action))
		return spec_fail(r, at, key, "unknown action '%s'", name);
	uint32_t kind = action & SECCOMP_RET_ACTION_FULL;

	if (given && !json_is_null(given) && kind != SECCOMP_RET_ERRNO && kind != SECCOMP_RET_TRACE)
		return spec_fail(r, at, errno_key, "%s takes none", name);
	*ret = action;
	return 0;
}

static int read_op(struct spec_reader *r, const struct spec_at *at, const json_t *v, void *base)
{
	const char *name = json_string_value(v);

	if (!name || !seccomp_op_by_name(name, &((struct spec_seccomp_arg *)base)->op))
		return spec_fail(r, at, NULL, "unknown operator '%s'", name ? name : "");
	return 0;
}

static const struct spec_field arg_fields[] = {
    {"index", K_UINT, AT(struct spec_seccomp_arg, index), .max = 5, .required = true},
    {"value", K_UINT, AT(struct spec_seccomp_arg, value), .required = true},
    {"valueTwo", K_UINT, AT(struct spec_seccomp_arg, value_two)},
    {"op", K_FN, .fn = read_op, .required = true},
    {},
};
static const struct spec_object arg_object = {arg_fields};
static const struct spec_field arg_elem = {
    .kind = K_OBJ, .size = sizeof(struct spec_seccomp_arg), .obj = &arg_object};

static int check_rule(struct spec_reader *r, const struct spec_at *at, const json_t *v, void *base)
{
	struct spec_seccomp_rule *rule = base;

	if (!rule->names[0])
		return spec_fail(r, at, "names", "must not be empty");
	for (size_t i = 0; rule->names[i]; i++)
		if (!*rule->names[i])
			return spec_fail(r, at, "names", "element %zu is empty", i);
	return read_action(r, at, v, "action", "errnoRet", &rule->action);
}

static const struct spec_field rule_fields[] = {
    {"names", K_STRV, AT(struct spec_seccomp_rule, names), .required = true},
    {"args", K_LIST, AT(struct spec_seccomp_rule, args),
     COUNT(struct spec_seccomp_rule, args_count), .elem = &arg_elem},
    {},
};
static const struct spec_object rule_object = {rule_fields, check_rule};
static const struct spec_field rule_elem = {
    .kind = K_OBJ, .size = sizeof(struct spec_seccomp_rule), .obj = &rule_object};

static int read_arch(struct spec_reader *r, const struct spec_at *at, const json_t *v, void *base)
{
	const char *name = json_string_value(v);

	if (!name || !seccomp_arch_by_name(name, base))
		return spec_fail(r, at, NULL, "unknown architecture '%s'", name ? name : "");
	return 0;
}

static const struct spec_field arch_elem = {
    .kind = K_FN, .size = sizeof(uint32_t), .fn = read_arch};

static int read_flags(struct spec_reader *r, const struct spec_at *at, const json_t *v, void *base)
{
	struct spec_seccomp *s = base;
	int rc = spec_expect_list(r, at, v);

	for (size_t i = 0; !rc && i < json_array_size(v); i++) {
		const char *name = json_string_value(json_array_get(v, i));
		uint64_t flag;

		if (!name || !seccomp_flag_by_name(name, &flag))
			return spec_fail(r, &(struct spec_at){at, NULL, i}, NULL,
					 "unknown flag '%s'", name ? name : "");
		s->flags |= flag;
	}
	return rc;
}

static bool uses_notify(const struct spec_seccomp *s)
{
	for (size_t i = 0; i < s->rules_count; i++)
		if (s->rules[i].action == SCMP_ACT_NOTIFY)
			return true;
	return s->default_action == SCMP_ACT_NOTIFY;
}

static int check_seccomp(struct spec_reader *r, const struct spec_at *at, const json_t *v,
			 void *base)
{
	struct spec_seccomp *s = base;
	const json_t *flags = json_object_get(v, "flags");
	const json_t *action = json_object_get(v, "defaultAction");
	bool none = !action || json_is_null(action) ||
		    (json_is_string(action) && !json_string_length(action));

	/* An object with nothing in it is how some callers say "no filter". */
	if (none && !s->rules_count)
		return 0;
	int rc = read_action(r, at, v, "defaultAction", "defaultErrnoRet", &s->default_action);

	if (rc < 0)
		return rc;
	/* Without a word on flags, as runc: no speculative store bypass mitigation just for having
	 * a filter. */
	if (!flags || json_is_null(flags))
		s->flags = SECCOMP_FILTER_FLAG_SPEC_ALLOW;
	if (s->listener_metadata && !s->listener_path)
		return spec_fail(r, at, "listenerMetadata",
				 "must not be given without listenerPath");
	if (uses_notify(s) && !s->listener_path)
		return spec_fail(r, at, "listenerPath", "missing; SCMP_ACT_NOTIFY needs it");
	s->present = true;
	return 0;
}

static const struct spec_field seccomp_fields[] = {
    {"architectures", K_LIST, AT(struct spec_seccomp, architectures),
     COUNT(struct spec_seccomp, architectures_count), .elem = &arch_elem},
    {"flags", K_FN, .fn = read_flags},
    {"listenerPath", K_STR, AT(struct spec_seccomp, listener_path)},
    {"listenerMetadata", K_STR, AT(struct spec_seccomp, listener_metadata)},
    {"syscalls", K_LIST, AT(struct spec_seccomp, rules), COUNT(struct spec_seccomp, rules_count),
     .elem = &rule_elem},
    {},
};
const struct spec_object spec_seccomp_object = {seccomp_fields, check_seccomp};
