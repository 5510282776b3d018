#include "container/record.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "os/path.h"
#include "os/proc.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define STATE_FILE     "state.json"
#define STATE_VERSION  1
#define STATE_FILE_MAX (4u << 20)
#define LOOKS_MAX      20 /* at a container without a record, 1 ms apart */

static bool id_valid(const char *id)
{
	if (!*id || strlen(id) > CONTAINER_ID_MAX || str_eq(id, ".") || str_eq(id, ".."))
		return false;
	for (const char *p = id; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("_+-.", *p))
			return false;
	return true;
}

static int id_check(const char *id, struct err *e)
{
	return id_valid(id)
		   ? 0
		   : err_set(e, ERR_CT_ID, -EINVAL,
			     "invalid container ID '%s': letters, digits, '_', '+', '-' and "
			     "'.' only, at most %d",
			     id, CONTAINER_ID_MAX);
}

/* Rootless engines call the runtime as root of a user namespace of their own, with the user's
 * environment and without --root: there the state is the user's. Root of a machine that is itself
 * a user namespace (a system container) is known by $USER, as runc does it. */
static bool is_machine_root(void)
{
	const char *user = getenv("USER");

	return geteuid() == 0 && (!proc_in_userns() || (user && str_eq(user, "root")));
}

static char *default_root(void)
{
	const char *runtime_dir = getenv("XDG_RUNTIME_DIR");
	bool has_dir = runtime_dir && *runtime_dir;

	if (is_machine_root() || (geteuid() == 0 && !has_dir))
		return mem_strdup("/run/viv/runtime");
	return has_dir ? mem_printf("%s/viv/runtime", runtime_dir)
		       : mem_printf("/tmp/viv-%u/runtime", geteuid());
}

int container_root_open(const char *path, bool create, struct err *e)
{
	_free_ char *chosen = path && *path ? mem_strdup(path) : default_root();

	if (create) {
		int rc = path_mkdirs(AT_FDCWD, chosen, 0700);

		if (rc)
			return err_set(e, ERR_SYS, rc, "state directory '%s' cannot be made: %s",
				       chosen, strerror(-rc));
	}
	int fd = path_open(AT_FDCWD, chosen, O_RDONLY | O_DIRECTORY, 0);

	if (fd == -ENOENT)
		return err_set(e, ERR_CT_NOT_FOUND, fd,
			       "state directory '%s' does not exist: there are no containers",
			       chosen);
	if (fd < 0)
		return err_set(e, ERR_DENIED, fd, "state directory '%s': %s", chosen,
			       strerror(-fd));
	struct stat st;

	/* Below /tmp someone else could have made it first. */
	if (path_lstat(fd, "", &st) == 0 && st.st_uid != geteuid() && st.st_uid != 0) {
		close(fd);
		return err_set(e, ERR_DENIED, -EPERM, "state directory '%s' belongs to user %u",
			       chosen, st.st_uid);
	}
	return fd;
}

/* By hand, because strftime(3) reads the time zone's file first. */
static void now_rfc3339(char *out, size_t size)
{
	struct timespec ts;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	snprintf(out, size, "%04u-%02u-%02uT%02u:%02u:%02u.%09uZ", (tm.tm_year + 1900u) % 10000u,
		 (tm.tm_mon + 1u) % 100u, tm.tm_mday % 100u, tm.tm_hour % 100u, tm.tm_min % 100u,
		 tm.tm_sec % 100u, (unsigned)ts.tv_nsec % 1000000000u);
}

int container_claim(int root_fd, const char *id, struct container *ret, struct err *e)
{
	int rc = id_check(id, e);

	if (rc)
		return rc;
	rc = path_mkdir(root_fd, id, 0711);
	if (rc == -EEXIST)
		return err_set(e, ERR_CT_EXISTS, rc, "container with given ID already exists: '%s'",
			       id);
	if (rc)
		return err_set(e, ERR_SYS, rc, "directory of container '%s' cannot be made: %s", id,
			       strerror(-rc));
	int fd = path_open(root_fd, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);

	if (fd < 0) {
		path_rmdir(root_fd, id);
		return err_set(e, ERR_SYS, fd, "directory of container '%s': %s", id,
			       strerror(-fd));
	}
	*ret = (struct container){.root_fd = root_fd, .dir_fd = fd, .owner = geteuid()};
	ret->cgroup.fd = -1;
	strcpy(ret->id, id);
	now_rfc3339(ret->created, sizeof(ret->created));
	ret->creator.pid = getpid();
	char state;

	if (proc_stat(ret->creator.pid, &ret->creator.start, &state))
		ret->creator.pid = 0;
	return 0;
}

static json_t *proc_json(const struct container_proc *p)
{
	return json_pack("{s:i, s:I}", "pid", (int)p->pid, "start", (json_int_t)p->start);
}

int container_save(const struct container *c, struct err *e)
{
	json_t *j =
	    json_pack("{s:i, s:s, s:s, s:s, s:s, s:I}", "version", STATE_VERSION, "id", c->id,
		      "bundle", c->bundle ? c->bundle : "", "rootfs", c->rootfs ? c->rootfs : "",
		      "created", c->created, "owner", (json_int_t)c->owner);

	json_object_set_new(j, "init", proc_json(&c->init));
	json_object_set_new(j, "creator", proc_json(&c->creator));
	json_object_set_new(j, "poststop", json_boolean(c->has_poststop));
	json_object_set_new(j, "own_pid_ns", json_boolean(c->own_pid_ns));
	json_object_set_new(j, "systemd_cgroup", json_boolean(c->systemd_cgroup));
	json_object_set_new(j, "cgroup", cgroup_to_json(&c->cgroup));
	if (c->annotations)
		json_object_set(j, "annotations", c->annotations);
	_free_ char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;

	json_decref(j);
	if (!text)
		return err_set(e, ERR_NOMEM, -ENOMEM, "state of container '%s' cannot be written",
			       c->id);
	int rc = path_replace(c->dir_fd, STATE_FILE, text, strlen(text), 0600, false);

	return rc ? err_set(e, ERR_SYS, rc, "state of container '%s' cannot be written: %s", c->id,
			    strerror(-rc))
		  : 0;
}

static void proc_from_json(struct container_proc *p, json_t *j)
{
	json_int_t start = 0;
	int pid = 0;

	if (json_unpack(j, "{s:i, s:I}", "pid", &pid, "start", &start) == 0 && pid > 0)
		*p = (struct container_proc){pid, (uint64_t)start};
}

static int parse_state(struct container *c, const char *text, size_t len, struct err *e)
{
	json_error_t jerr;
	json_t *j = json_loadb(text, len, 0, &jerr);
	const char *bundle, *rootfs, *created;
	json_t *init, *creator, *cgroup, *annotations = NULL;
	json_int_t owner;
	int version, poststop, own_pid_ns, systemd;

	if (!j || json_unpack(j, "{s:i, s:s, s:s, s:s, s:I, s:o, s:o, s:b, s:b, s:b, s:o, s?o}",
			      "version", &version, "bundle", &bundle, "rootfs", &rootfs, "created",
			      &created, "owner", &owner, "init", &init, "creator", &creator,
			      "poststop", &poststop, "own_pid_ns", &own_pid_ns, "systemd_cgroup",
			      &systemd, "cgroup", &cgroup, "annotations", &annotations)) {
		json_decref(j);
		return err_set(e, ERR_STATE_CORRUPT, -EBADMSG,
			       "state file of container '%s' is damaged", c->id);
	}
	int rc = 0;

	if (version != STATE_VERSION)
		rc = err_set(e, ERR_STATE_CORRUPT, -EBADMSG,
			     "state file of container '%s' has version %d, this program reads %d",
			     c->id, version, STATE_VERSION);
	else
		rc = cgroup_from_json(&c->cgroup, cgroup, e);
	if (!rc) {
		c->bundle = mem_strdup(bundle);
		c->rootfs = mem_strdup(rootfs);
		snprintf(c->created, sizeof(c->created), "%s", created);
		c->owner = (uid_t)owner;
		proc_from_json(&c->init, init);
		proc_from_json(&c->creator, creator);
		c->has_poststop = poststop;
		c->own_pid_ns = own_pid_ns;
		c->systemd_cgroup = systemd;
		c->annotations = json_incref(annotations);
	}
	json_decref(j);
	return rc;
}

static int load_once(int root_fd, const char *id, bool lock, struct container *ret, struct err *e)
{
	int rc = id_check(id, e);

	if (rc)
		return rc;
	_container_ struct container c = {
	    .root_fd = root_fd, .dir_fd = -1, .owner = geteuid(), .cgroup.fd = -1};

	strcpy(c.id, id);
	c.dir_fd = path_open(root_fd, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (c.dir_fd == -ENOENT)
		return err_set(e, ERR_CT_NOT_FOUND, -ENOENT, "container '%s' does not exist", id);
	if (c.dir_fd < 0)
		return err_set(e, ERR_SYS, c.dir_fd, "container '%s': %s", id, strerror(-c.dir_fd));
	if (lock && flock(c.dir_fd, LOCK_EX) < 0)
		return err_sys(e, ERR_SYS, "container '%s' cannot be locked", id);
	_buf_ struct buf text = {0};

	rc = path_read(c.dir_fd, STATE_FILE, &text, STATE_FILE_MAX);
	if (rc == -ENOENT && lock && !path_exists(root_fd, id)) /* removed while we waited */
		return err_set(e, ERR_CT_NOT_FOUND, -ENOENT, "container '%s' does not exist", id);
	if (rc && rc != -ENOENT)
		return err_set(e, ERR_SYS, rc, "state file of container '%s': %s", id,
			       strerror(-rc));
	if (!rc)
		rc = parse_state(&c, text.s, text.len, e);
	else
		rc = 0;
	if (rc)
		return rc;
	c.creating = proc_alive(c.creator.pid, c.creator.start);
	*ret = c;
	c = (struct container){.dir_fd = -1, .cgroup.fd = -1};
	return 0;
}

/* While a container is being made a look at it can be out of date at once. Without a record its
 * maker is about to write one, or was killed (then it stays so). With a maker that has ended, it
 * finished after we read, or was killed: what the second look finds is its last word. */
static bool is_settled(const struct container *c, int looks)
{
	if (!c->creator.pid && !c->init.pid)
		return looks >= LOOKS_MAX;
	return !c->creator.pid || c->creating || looks > 1;
}

int container_load(int root_fd, const char *id, bool lock, struct container *ret, struct err *e)
{
	for (int looks = 1;; looks++) {
		_container_ struct container c = {.dir_fd = -1, .cgroup.fd = -1};
		int rc = load_once(root_fd, id, lock, &c, e);

		if (rc)
			return rc;
		if (is_settled(&c, looks)) {
			*ret = c;
			c = (struct container){.dir_fd = -1, .cgroup.fd = -1};
			return 0;
		}
		usleep(1000);
	}
}

int container_spec(const struct container *c, struct spec **ret, struct err *e)
{
	_buf_ struct buf text = {0};
	int rc = path_read(c->dir_fd, "config.json", &text, SPEC_FILE_MAX);

	if (rc)
		return err_set(e, ERR_STATE_CORRUPT, rc,
			       "stored configuration of container '%s': %s", c->id, strerror(-rc));
	return spec_parse(text.s, text.len, c->bundle, ret, e);
}

enum container_status container_status(const struct container *c)
{
	if (c->creating)
		return CONTAINER_CREATING;
	if (!proc_alive(c->init.pid, c->init.start))
		return CONTAINER_STOPPED;
	if (cgroup_is_frozen(&c->cgroup))
		return CONTAINER_PAUSED;
	return path_exists(c->dir_fd, CONTAINER_FIFO) ? CONTAINER_CREATED : CONTAINER_RUNNING;
}

const char *container_status_name(enum container_status s)
{
	static const char *const names[] = {"creating", "created", "running", "paused", "stopped"};

	return names[s];
}

json_t *container_state_json(const struct container *c, enum container_status s)
{
	json_t *j = json_pack("{s:s, s:s}", "ociVersion", SPEC_VERSION, "id", c->id);

	/* runtime.md "State": pid is required unless the container has stopped. */
	json_object_set_new(j, "pid", json_integer(s == CONTAINER_STOPPED ? 0 : c->init.pid));
	json_object_set_new(j, "status", json_string(container_status_name(s)));
	json_object_set_new(j, "bundle", json_string(c->bundle ? c->bundle : ""));
	if (c->annotations && json_object_size(c->annotations))
		json_object_set(j, "annotations", c->annotations);
	return j;
}

int container_remove(struct container *c, struct err *e)
{
	int rc = path_remove_tree(c->root_fd, c->id);

	return rc ? err_set(e, ERR_SYS, rc, "directory of container '%s' cannot be removed: %s",
			    c->id, strerror(-rc))
		  : 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int container_names(int root_fd, char ***ret, struct err *e)
{
	VEC(char *) names = {0};
	int fd = path_open(root_fd, ".", O_RDONLY | O_DIRECTORY, 0);
	_closedir_ DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d)
		return err_sys(e, ERR_SYS, "state directory cannot be read");
	for (struct dirent *ent; (ent = readdir(d)) && names.n < CONTAINER_LIST_MAX;)
		if (id_valid(ent->d_name) && ent->d_name[0] != '.' &&
		    (ent->d_type == DT_DIR || ent->d_type == DT_UNKNOWN))
			vec_push(&names, mem_strdup(ent->d_name));
	if (names.n)
		qsort(names.v, names.n, sizeof(*names.v), by_name);
	vec_push(&names, NULL);
	*ret = names.v;
	return 0;
}

void container_done(struct container *c)
{
	cgroup_done(&c->cgroup);
	json_decref(c->annotations);
	free(c->bundle);
	free(c->rootfs);
	if (c->dir_fd >= 0)
		close(c->dir_fd);
	*c = (struct container){.dir_fd = -1, .cgroup.fd = -1};
}
