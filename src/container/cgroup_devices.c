#include "container/cgroup_devices.h"
#include "container/cgroup_int.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "os/path.h"
#include "os/proc.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static void drop(struct device_policy *p, size_t i)
{
	memmove(&p->v[i], &p->v[i + 1], (--p->count - i) * sizeof(*p->v));
}

static struct device_exception *find(struct device_policy *p, const struct spec_device_rule *r)
{
	for (size_t i = 0; i < p->count; i++)
		if (p->v[i].type == r->type && p->v[i].major == r->major &&
		    p->v[i].minor == r->minor)
			return &p->v[i];
	return NULL;
}

static void add(struct device_policy *p, const struct spec_device_rule *r)
{
	struct device_exception *x = find(p, r);

	if (!x) {
		x = &p->v[p->count++];
		*x = (struct device_exception){
		    .type = r->type, .major = r->major, .minor = r->minor};
	}
	x->read |= r->read;
	x->write |= r->write;
	x->mknod |= r->mknod;
}

static bool covers(int64_t wide, int64_t narrow)
{
	return wide == narrow || wide == -1;
}

/* Takes access back. The kernel removes only exact matches; a wider exception that stays would make
 * a rule that reads like a restriction mean nothing. */
static int take_back(struct device_policy *p, const struct spec_device_rule *r, struct err *e)
{
	for (size_t i = 0; i < p->count; i++) {
		struct device_exception *x = &p->v[i];

		if (x->type != r->type || !covers(x->major, r->major) ||
		    !covers(x->minor, r->minor))
			continue;
		if (x->major == r->major && x->minor == r->minor)
			continue;
		if ((x->read && r->read) || (x->write && r->write) || (x->mknod && r->mknod))
			return err_set(e, ERR_SPEC_VALUE, -EINVAL,
				       "linux.resources.devices: the rule for %c %lld:%lld cannot "
				       "take a part out of "
				       "the wildcard rule before it",
				       r->type, (long long)r->major, (long long)r->minor);
	}
	struct device_exception *x = find(p, r);

	if (!x)
		return 0;
	x->read &= !r->read;
	x->write &= !r->write;
	x->mknod &= !r->mknod;
	if (!x->read && !x->write && !x->mknod)
		drop(p, (size_t)(x - p->v));
	return 0;
}

int device_policy_build(const struct spec_device_rule *rules, size_t count,
			struct device_policy *ret, struct err *e)
{
	_device_policy_ struct device_policy p = {.v = mem_array(count + 1, sizeof(*p.v))};

	for (size_t i = 0; i < count; i++) {
		const struct spec_device_rule *r = &rules[i];
		int rc = 0;

		if (r->type == 'a') { /* a new default; what was said before is void */
			p.allow = r->allow;
			p.count = 0;
		} else if (r->type != 'b' && r->type != 'c') {
			rc = err_set(e, ERR_SPEC_VALUE, -EINVAL,
				     "linux.resources.devices: there are no rules for type '%c'",
				     r->type);
		} else if (r->allow != p.allow) {
			add(&p, r);
		} else {
			rc = take_back(&p, r, e);
		}
		if (rc)
			return rc;
	}
	*ret = p;
	p.v = NULL;
	return 0;
}

void device_policy_done(struct device_policy *p)
{
	free(p->v);
	p->v = NULL;
	p->count = 0;
}

/* "1", or "*" for any. */
static void number(char out[24], int64_t n)
{
	if (n < 0)
		strcpy(out, "*");
	else
		snprintf(out, 24, "%lld", (long long)n);
}

int cg_v1_devices(const char *dir, bool tolerant, const struct spec_resources *r, struct err *e)
{
	_device_policy_ struct device_policy p = {0};
	int rc = r->devices_count ? device_policy_build(r->devices, r->devices_count, &p, e) : 0;

	if (rc || !r->devices_count)
		return rc;
	rc = cg_write(dir, p.allow ? "devices.allow" : "devices.deny", "a");
	if ((rc == -EPERM || rc == -EACCES) && (tolerant || proc_in_userns()))
		return 0;
	if (rc)
		return cg_refused(e, rc, dir, p.allow ? "devices.allow" : "devices.deny", "a");

	const char *file = p.allow ? "devices.deny" : "devices.allow";
	char path[CGROUP_PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	_close_ int fd = p.count ? path_open(AT_FDCWD, path, O_WRONLY, 0) : -1;

	for (size_t i = 0; i < p.count; i++) {
		const struct device_exception *x = &p.v[i];
		char major[24], minor[24], rule[64];

		number(major, x->major);
		number(minor, x->minor);
		int len = snprintf(rule, sizeof(rule), "%c %s:%s %s%s%s", x->type, major, minor,
				   x->read ? "r" : "", x->write ? "w" : "", x->mknod ? "m" : "");
		rc = fd < 0 ? fd : fd_write_all(fd, rule, (size_t)len);
		if (rc)
			return cg_refused(e, rc, dir, file, rule);
	}
	return 0;
}
