/* viv-scope: the runtime's mouth towards systemd, run only with --systemd-cgroup
 * (src/container/cgroup_systemd.c).
 *
 *     viv-scope --system|--user start|set|stop UNIT  < PROPERTIES
 *
 * PROPERTIES is a JSON array of [name, D-Bus signature, value]; numbers may be strings, because
 * JSON's end at 2^63. `start` makes a transient unit, waits until systemd is done and prints the
 * path of its control group; `set` changes properties for as long as the unit lives; `stop` ends it,
 * and is content where it is gone. Failure: status 1 and one line that says why. Interface:
 * org.freedesktop.systemd1(5). */
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "os/path.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <time.h>

#define SYSTEMD       "org.freedesktop.systemd1"
#define MANAGER_PATH  "/org/freedesktop/systemd1"
#define MANAGER       SYSTEMD ".Manager"
#define INPUT_MAX     (1u << 20) /* bytes */
#define DEPTH_MAX     4          /* of a property's type */
#define JOB_TIMEOUT_S 30

#define _bus_     _cleanup_(sd_bus_flush_close_unrefp)
#define _message_ _cleanup_(sd_bus_message_unrefp)
#define _error_   _cleanup_(sd_bus_error_free)

struct scope {
	sd_bus *bus;
	const char *unit;
	char job[256];   /* object path of the job that is waited for */
	char result[32]; /* how it ended, "" while it runs */
};

/* --- connection --- */

/* systemd's own socket serves root where no message bus runs. */
static int open_private(sd_bus **ret, bool user)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char address[512];
	sd_bus *bus;

	if (user && !runtime)
		return -ENOENT;
	snprintf(address, sizeof(address), "unix:path=%s/systemd/private", user ? runtime : "/run");
	int rc = sd_bus_new(&bus);

	if (rc < 0)
		return rc;
	rc = sd_bus_set_address(bus, address);
	if (rc >= 0)
		rc = sd_bus_start(bus);
	if (rc < 0)
		sd_bus_unref(bus);
	else
		*ret = bus;
	return rc;
}

static int open_bus(sd_bus **ret, bool user)
{
	int rc = user ? sd_bus_open_user(ret) : sd_bus_open_system(ret);

	if (rc >= 0 || open_private(ret, user) >= 0)
		return 0;
	fprintf(stderr, "cannot reach the %s manager: %s%s\n", user ? "user's systemd" : "systemd",
		strerror(-rc),
		user ? " (is dbus-user-session installed, and XDG_RUNTIME_DIR set?)" : "");
	return rc;
}

static int say(const char *what, const sd_bus_error *error, int rc)
{
	fprintf(stderr, "%s: %s\n", what, error->message ? error->message : strerror(-rc));
	return rc;
}

/* --- properties --- */

static int append_number(sd_bus_message *m, char type, json_t *value)
{
	const char *text = json_string_value(value);
	double d = text ? strtod(text, NULL) : json_number_value(value);
	uint64_t u = text ? strtoull(text, NULL, 10) : (uint64_t)json_integer_value(value);
	uint8_t y = (uint8_t)u;
	uint16_t q = (uint16_t)u;
	uint32_t i = (uint32_t)u;

	if (!text && !json_is_number(value))
		return -EINVAL;
	switch (type) {
	case 'y':
		return sd_bus_message_append_basic(m, type, &y);
	case 'n':
	case 'q':
		return sd_bus_message_append_basic(m, type, &q);
	case 'i':
	case 'u':
		return sd_bus_message_append_basic(m, type, &i);
	case 'd':
		return sd_bus_message_append_basic(m, type, &d);
	default:
		return sd_bus_message_append_basic(m, type, &u);
	}
}

/* The length of the first complete type of a signature; 0 where there is none. */
static size_t type_length(const char *signature)
{
	if (*signature == 'a') {
		size_t n = type_length(signature + 1);

		return n ? n + 1 : 0;
	}
	if (*signature == '(') {
		const char *end = strchr(signature, ')');

		return end && end > signature + 1 ? (size_t)(end - signature) + 1 : 0;
	}
	return *signature && strchr("sbynqiuxtd", *signature) ? 1 : 0;
}

static int append(sd_bus_message *m, const char *signature, json_t *value, int depth);

/* An array, all of one type, or a struct, one type after the other. */
static int append_container(sd_bus_message *m, char kind, const char *inner, json_t *values,
			    int depth)
{
	const char *at = inner;
	size_t i;
	json_t *value;
	int rc = json_is_array(values) ? sd_bus_message_open_container(m, kind, inner) : -EINVAL;

	json_array_foreach (values, i, value) {
		char type[32];
		size_t n = type_length(at);

		if (rc < 0 || !n || n >= sizeof(type))
			return rc < 0 ? rc : -EINVAL;
		memcpy(type, at, n);
		type[n] = '\0';
		rc = append(m, type, value, depth + 1);
		if (kind == 'r')
			at += n;
	}
	return rc < 0 ? rc : sd_bus_message_close_container(m);
}

static int append(sd_bus_message *m, const char *signature, json_t *value, int depth)
{
	char inner[32];
	size_t len = strlen(signature);

	if (depth > DEPTH_MAX || len == 0 || len >= sizeof(inner) || type_length(signature) != len)
		return -EINVAL;
	switch (*signature) {
	case 's':
		return json_is_string(value)
			   ? sd_bus_message_append_basic(m, 's', json_string_value(value))
			   : -EINVAL;
	case 'b': {
		int truth = json_is_true(value);

		return json_is_boolean(value) ? sd_bus_message_append_basic(m, 'b', &truth)
					      : -EINVAL;
	}
	case 'a':
		return append_container(m, 'a', signature + 1, value, depth);
	case '(':
		memcpy(inner, signature + 1, len - 2);
		inner[len - 2] = '\0';
		return append_container(m, 'r', inner, value, depth);
	default:
		return append_number(m, *signature, value);
	}
}

/* a(sv) */
static int append_properties(sd_bus_message *m, json_t *properties)
{
	size_t i;
	json_t *property;
	int rc = sd_bus_message_open_container(m, 'a', "(sv)");

	json_array_foreach (properties, i, property) {
		const char *name, *signature;
		json_t *value;

		if (json_unpack(property, "[s, s, o]", &name, &signature, &value))
			return -EINVAL;
		if (rc >= 0)
			rc = sd_bus_message_open_container(m, 'r', "sv");
		if (rc >= 0)
			rc = sd_bus_message_append_basic(m, 's', name);
		if (rc >= 0)
			rc = sd_bus_message_open_container(m, 'v', signature);
		if (rc >= 0)
			rc = append(m, signature, value, 0);
		if (rc >= 0)
			rc = sd_bus_message_close_container(m);
		if (rc >= 0)
			rc = sd_bus_message_close_container(m);
		if (rc < 0) {
			fprintf(stderr, "property '%s' does not fit its type '%s'\n", name,
				signature);
			return rc;
		}
	}
	return rc < 0 ? rc : sd_bus_message_close_container(m);
}

/* --- jobs --- */

static int job_removed(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	struct scope *s = arg;
	const char *path, *unit, *result;
	uint32_t id;

	if (sd_bus_message_read(m, "uoss", &id, &path, &unit, &result) >= 0 && str_eq(path, s->job))
		snprintf(s->result, sizeof(s->result), "%s", result);
	return 0;
}

/* Signals are asked for before the job is, so that none is missed. */
static int subscribe(struct scope *s)
{
	_error_ sd_bus_error error = SD_BUS_ERROR_NULL;
	int rc = sd_bus_match_signal(s->bus, NULL, NULL, MANAGER_PATH, MANAGER, "JobRemoved",
				     job_removed, s);

	if (rc >= 0)
		rc = sd_bus_call_method(s->bus, SYSTEMD, MANAGER_PATH, MANAGER, "Subscribe", &error,
					NULL, "");
	return rc < 0 ? say("cannot subscribe", &error, rc) : 0;
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* Takes the job from the reply and waits for its end. */
static int wait_job(struct scope *s, sd_bus_message *reply)
{
	uint64_t end = now_us() + JOB_TIMEOUT_S * 1000000ull;
	const char *job;
	int rc = sd_bus_message_read(reply, "o", &job);

	if (rc < 0)
		return rc;
	snprintf(s->job, sizeof(s->job), "%s", job);
	while (!*s->result) {
		uint64_t now = now_us();

		rc = sd_bus_process(s->bus, NULL);
		if (rc == 0 && now < end)
			rc = sd_bus_wait(s->bus, end - now);
		if (rc < 0 && rc != -EINTR)
			return rc;
		if (now >= end)
			return -ETIMEDOUT;
	}
	return 0;
}

static void reset_failed(struct scope *s)
{
	sd_bus_call_method(s->bus, SYSTEMD, MANAGER_PATH, MANAGER, "ResetFailedUnit", NULL, NULL,
			   "s", s->unit);
}

/* --- verbs --- */

static int start_once(struct scope *s, json_t *properties, sd_bus_message **ret_reply,
		      sd_bus_error *error)
{
	_message_ sd_bus_message *m = NULL;
	int rc = sd_bus_message_new_method_call(s->bus, &m, SYSTEMD, MANAGER_PATH, MANAGER,
						"StartTransientUnit");

	if (rc >= 0)
		rc = sd_bus_message_append(m, "ss", s->unit, "replace");
	if (rc >= 0)
		rc = append_properties(m, properties);
	if (rc >= 0)
		rc = sd_bus_message_append(m, "a(sa(sv))", 0);
	return rc < 0 ? rc : sd_bus_call(s->bus, m, 0, error, ret_reply);
}

static int print_group(struct scope *s)
{
	_error_ sd_bus_error error = SD_BUS_ERROR_NULL;
	_free_ char *path = NULL, *group = NULL;
	bool slice = strstr(s->unit, ".slice") != NULL;
	int rc = sd_bus_path_encode(MANAGER_PATH "/unit", s->unit, &path);

	if (rc >= 0)
		rc = sd_bus_get_property_string(s->bus, SYSTEMD, path,
						slice ? SYSTEMD ".Slice" : SYSTEMD ".Scope",
						"ControlGroup", &error, &group);
	if (rc < 0)
		return say("cannot find its control group", &error, rc);
	puts(group);
	return 0;
}

static int verb_start(struct scope *s, json_t *properties)
{
	_error_ sd_bus_error error = SD_BUS_ERROR_NULL;
	_message_ sd_bus_message *reply = NULL;
	int rc = subscribe(s);

	if (rc < 0)
		return rc;
	rc = start_once(s, properties, &reply, &error);
	if (rc < 0 && sd_bus_error_has_name(&error, SYSTEMD ".UnitExists")) {
		/* What is left of a failed unit of that name goes away when it is reset. */
		reset_failed(s);
		sd_bus_error_free(&error);
		rc = start_once(s, properties, &reply, &error);
	}
	if (rc < 0)
		return say("StartTransientUnit", &error, rc);
	rc = wait_job(s, reply);
	if (!rc && str_eq(s->result, "done"))
		return print_group(s);
	fprintf(stderr, "the job ended as '%s'\n", rc ? strerror(-rc) : s->result);
	reset_failed(s);
	return rc ? rc : -EIO;
}

static int verb_set(struct scope *s, json_t *properties)
{
	_error_ sd_bus_error error = SD_BUS_ERROR_NULL;
	_message_ sd_bus_message *m = NULL;
	int runtime = 1;
	int rc = sd_bus_message_new_method_call(s->bus, &m, SYSTEMD, MANAGER_PATH, MANAGER,
						"SetUnitProperties");

	if (rc >= 0)
		rc = sd_bus_message_append(m, "sb", s->unit, runtime);
	if (rc >= 0)
		rc = append_properties(m, properties);
	if (rc >= 0)
		rc = sd_bus_call(s->bus, m, 0, &error, NULL);
	return rc < 0 ? say("SetUnitProperties", &error, rc) : 0;
}

static int verb_stop(struct scope *s, json_t *properties)
{
	_error_ sd_bus_error error = SD_BUS_ERROR_NULL;
	_message_ sd_bus_message *reply = NULL;
	int rc = subscribe(s);

	if (rc < 0)
		return rc;
	rc = sd_bus_call_method(s->bus, SYSTEMD, MANAGER_PATH, MANAGER, "StopUnit", &error, &reply,
				"ss", s->unit, "replace");
	if (rc < 0 && sd_bus_error_has_name(&error, SYSTEMD ".NoSuchUnit"))
		return 0;
	if (rc < 0)
		return say("StopUnit", &error, rc);
	rc = wait_job(s, reply);
	reset_failed(s);
	if (rc)
		fprintf(stderr, "waiting for its end: %s\n", strerror(-rc));
	return rc;
}

static json_t *read_properties(void)
{
	_buf_ struct buf text = {0};
	json_error_t error;
	json_t *j;

	if (fd_read_all(STDIN_FILENO, &text, INPUT_MAX))
		return NULL;
	j = json_loadb(buf_str(&text), text.len, 0, &error);
	if (!json_is_array(j)) {
		json_decref(j);
		return NULL;
	}
	return j;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(struct scope *s, json_t *properties);
	} verbs[] = {{"start", verb_start}, {"set", verb_set}, {"stop", verb_stop}};
	_bus_ sd_bus *bus = NULL;

	if (argc != 4 || (!str_eq(argv[1], "--system") && !str_eq(argv[1], "--user"))) {
		fprintf(stderr,
			"usage: viv-scope --system|--user start|set|stop UNIT < PROPERTIES\n");
		return 2;
	}
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		if (!str_eq(argv[2], verbs[i].name))
			continue;
		json_t *properties = read_properties();

		if (!properties) {
			fprintf(stderr, "the properties on standard input are no JSON array\n");
			return 2;
		}
		if (open_bus(&bus, str_eq(argv[1], "--user")))
			return 1;
		struct scope s = {.bus = bus, .unit = argv[3]};
		int rc = verbs[i].run(&s, properties);

		json_decref(properties);
		return rc ? 1 : 0;
	}
	fprintf(stderr, "unknown verb '%s'\n", argv[2]);
	return 2;
}
