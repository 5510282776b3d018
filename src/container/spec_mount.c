/* config.md "Mounts", "Linux mount options". */
#include "container/spec_int.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"

#include <string.h>
#include <sys/mount.h>

enum effect {
	E_NONE,
	E_ATTR,     /* value: MOUNT_ATTR_* set on the mount */
	E_ATTR_CLR, /* … cleared */
	E_ATIME,    /* value: a MOUNT_ATTR__ATIME setting */
	E_REC,      /* the same three, for the whole tree */
	E_REC_CLR,
	E_REC_ATIME,
	E_SB,     /* value: MS_* of the superblock set */
	E_SB_CLR, /* … cleared */
	E_BIND,   /* value: MS_REC or 0 */
	E_IDMAP,  /* value: SPEC_IDMAP or SPEC_IDMAP_RECURSIVE */
	E_TMPCOPYUP,
	E_COPY_SYMLINK,
	E_SRC_NOFOLLOW,
	E_DEST_NOFOLLOW,
};

struct option {
	const char *name;
	enum effect effect;
	uint64_t value;
};

/* Sorted by name for bsearch(3) (a unit test asserts it). Propagation is in spec_propagation_names.
 * The opposite of an access time setting is the kernel's default, relatime. */
/* clang-format off */
static const struct option options[] = {
	{"async",          E_SB_CLR,       MS_SYNCHRONOUS},
	{"atime",          E_ATIME,        MOUNT_ATTR_RELATIME},
	{"bind",           E_BIND,         0},
	{"copy-symlink",   E_COPY_SYMLINK, 0},
	{"defaults",       E_NONE,         0},
	{"dest-nofollow",  E_DEST_NOFOLLOW, 0},
	{"dev",            E_ATTR_CLR,     MOUNT_ATTR_NODEV},
	{"diratime",       E_ATTR_CLR,     MOUNT_ATTR_NODIRATIME},
	{"dirsync",        E_SB,           MS_DIRSYNC},
	{"exec",           E_ATTR_CLR,     MOUNT_ATTR_NOEXEC},
	{"idmap",          E_IDMAP,        SPEC_IDMAP},
	{"iversion",       E_SB,           MS_I_VERSION},
	{"lazytime",       E_SB,           MS_LAZYTIME},
	{"loud",           E_SB_CLR,       MS_SILENT},
	{"mand",           E_SB,           MS_MANDLOCK},
	{"noatime",        E_ATIME,        MOUNT_ATTR_NOATIME},
	{"nodev",          E_ATTR,         MOUNT_ATTR_NODEV},
	{"nodiratime",     E_ATTR,         MOUNT_ATTR_NODIRATIME},
	{"noexec",         E_ATTR,         MOUNT_ATTR_NOEXEC},
	{"noiversion",     E_SB_CLR,       MS_I_VERSION},
	{"nolazytime",     E_SB_CLR,       MS_LAZYTIME},
	{"nomand",         E_SB_CLR,       MS_MANDLOCK},
	{"norelatime",     E_ATIME,        MOUNT_ATTR_RELATIME},
	{"nostrictatime",  E_ATIME,        MOUNT_ATTR_RELATIME},
	{"nosuid",         E_ATTR,         MOUNT_ATTR_NOSUID},
	{"nosymfollow",    E_ATTR,         MOUNT_ATTR_NOSYMFOLLOW},
	{"ratime",         E_REC_ATIME,    MOUNT_ATTR_RELATIME},
	{"rbind",          E_BIND,         MS_REC},
	{"rdev",           E_REC_CLR,      MOUNT_ATTR_NODEV},
	{"rdiratime",      E_REC_CLR,      MOUNT_ATTR_NODIRATIME},
	{"relatime",       E_ATIME,        MOUNT_ATTR_RELATIME},
	{"remount",        E_SB,           MS_REMOUNT},
	{"rexec",          E_REC_CLR,      MOUNT_ATTR_NOEXEC},
	{"ridmap",         E_IDMAP,        SPEC_IDMAP_RECURSIVE},
	{"rnoatime",       E_REC_ATIME,    MOUNT_ATTR_NOATIME},
	{"rnodev",         E_REC,          MOUNT_ATTR_NODEV},
	{"rnodiratime",    E_REC,          MOUNT_ATTR_NODIRATIME},
	{"rnoexec",        E_REC,          MOUNT_ATTR_NOEXEC},
	{"rnorelatime",    E_REC_ATIME,    MOUNT_ATTR_RELATIME},
	{"rnostrictatime", E_REC_ATIME,    MOUNT_ATTR_RELATIME},
	{"rnosuid",        E_REC,          MOUNT_ATTR_NOSUID},
	{"rnosymfollow",   E_REC,          MOUNT_ATTR_NOSYMFOLLOW},
	{"ro",             E_ATTR,         MOUNT_ATTR_RDONLY},
	{"rrelatime",      E_REC_ATIME,    MOUNT_ATTR_RELATIME},
	{"rro",            E_REC,          MOUNT_ATTR_RDONLY},
	{"rrw",            E_REC_CLR,      MOUNT_ATTR_RDONLY},
	{"rstrictatime",   E_REC_ATIME,    MOUNT_ATTR_STRICTATIME},
	{"rsuid",          E_REC_CLR,      MOUNT_ATTR_NOSUID},
	{"rsymfollow",     E_REC_CLR,      MOUNT_ATTR_NOSYMFOLLOW},
	{"rw",             E_ATTR_CLR,     MOUNT_ATTR_RDONLY},
	{"silent",         E_SB,           MS_SILENT},
	{"src-nofollow",   E_SRC_NOFOLLOW, 0},
	{"strictatime",    E_ATIME,        MOUNT_ATTR_STRICTATIME},
	{"suid",           E_ATTR_CLR,     MOUNT_ATTR_NOSUID},
	{"symfollow",      E_ATTR_CLR,     MOUNT_ATTR_NOSYMFOLLOW},
	{"sync",           E_SB,           MS_SYNCHRONOUS},
	{"tmpcopyup",      E_TMPCOPYUP,    0},
};

const struct spec_name spec_propagation_names[] = {
	{"private",     MS_PRIVATE},
	{"rprivate",    MS_PRIVATE | MS_REC},
	{"rshared",     MS_SHARED | MS_REC},
	{"rslave",      MS_SLAVE | MS_REC},
	{"runbindable", MS_UNBINDABLE | MS_REC},
	{"shared",      MS_SHARED},
	{"slave",       MS_SLAVE},
	{"unbindable",  MS_UNBINDABLE},
	{},
};
/* clang-format on */

const char *spec_mount_option_name(size_t i)
{
	if (i < ARRAY_SIZE(options))
		return options[i].name;
	i -= ARRAY_SIZE(options);
	return i < ARRAY_SIZE(spec_propagation_names) ? spec_propagation_names[i].name : NULL;
}

static int by_name(const void *key, const void *option)
{
	return strcmp(key, ((const struct option *)option)->name);
}

static void attr(uint64_t *set, uint64_t *clr, uint64_t bits, bool on)
{
	*(on ? set : clr) |= bits;
	*(on ? clr : set) &= ~bits;
}

/* mount_setattr(2): an access time setting goes into attr_set with the whole mask in attr_clr. */
static void atime(uint64_t *set, uint64_t *clr, uint64_t setting)
{
	*set = (*set & ~(uint64_t)MOUNT_ATTR__ATIME) | setting;
	*clr |= MOUNT_ATTR__ATIME;
}

static void apply(struct spec_mount *m, const struct option *o)
{
	switch (o->effect) {
	case E_NONE:
		break;
	case E_ATTR:
	case E_ATTR_CLR:
		attr(&m->attr_set, &m->attr_clr, o->value, o->effect == E_ATTR);
		break;
	case E_ATIME:
		atime(&m->attr_set, &m->attr_clr, o->value);
		break;
	case E_REC:
	case E_REC_CLR:
		attr(&m->rec_attr_set, &m->rec_attr_clr, o->value, o->effect == E_REC);
		break;
	case E_REC_ATIME:
		atime(&m->rec_attr_set, &m->rec_attr_clr, o->value);
		break;
	case E_SB:
		m->sb_flags |= o->value;
		break;
	case E_SB_CLR:
		m->sb_flags &= ~(unsigned long)o->value;
		break;
	case E_BIND:
		m->kind = SPEC_MOUNT_BIND;
		m->recursive_bind |= o->value != 0;
		break;
	case E_IDMAP:
		m->idmap = (int)o->value;
		break;
	case E_TMPCOPYUP:
		m->tmpcopyup = true;
		break;
	case E_COPY_SYMLINK:
		m->copy_symlink = true;
		break;
	case E_SRC_NOFOLLOW:
		m->src_nofollow = true;
		break;
	case E_DEST_NOFOLLOW:
		m->dest_nofollow = true;
		break;
	}
}

static void read_options(struct spec *s, struct spec_mount *m)
{
	_buf_ struct buf data = {0};

	for (char **p = m->options; p && *p; p++) {
		const struct option *o =
		    bsearch(*p, options, ARRAY_SIZE(options), sizeof(*options), by_name);
		const struct spec_name *propagation =
		    o ? NULL : spec_name_find(spec_propagation_names, *p);

		if (o)
			apply(m, o);
		else if (propagation)
			m->propagation = propagation->value;
		else if (**p)
			buf_addf(&data, "%s%s", data.len ? "," : "", *p);
	}
	if (data.len)
		m->data = spec_strdup(s, data.s);
}

/* Paths that a mount takes relative: sources of bind mounts to the bundle; destinations,
 * deprecated, to "/". */
static char *absolute(struct spec *s, const char *dir, const char *path)
{
	_buf_ struct buf b = {0};

	buf_addf(&b, "%s/%s", dir, path);
	return spec_strdup(s, b.s);
}

static int check_bind(struct spec_reader *r, const struct spec_at *at, struct spec_mount *m)
{
	if (m->data) /* the kernel would ignore them without a word */
		return spec_fail(r, at, "options", "'%s' cannot apply to a bind mount", m->data);
	if (m->sb_flags & MS_REMOUNT)
		return 0;
	if (!m->source)
		return spec_fail(r, at, "source", "missing; a bind mount needs one");
	if (*m->source != '/')
		m->source = absolute(r->s, r->s->bundle ? r->s->bundle : "", m->source);
	return 0;
}

static int check_idmap(struct spec_reader *r, const struct spec_at *at, struct spec_mount *m)
{
	if (!m->idmaps.uid_count != !m->idmaps.gid_count)
		return spec_fail(r, at, NULL, "uidMappings and gidMappings need each other");
	if (m->idmaps.uid_count && !m->idmap)
		m->idmap = SPEC_IDMAP;
	if (m->idmap && m->kind != SPEC_MOUNT_BIND)
		return spec_fail(r, at, NULL, "only bind mounts can be id-mapped");
	return 0;
}

static int check_mount(struct spec_reader *r, const struct spec_at *at, const json_t *v, void *base)
{
	struct spec_mount *m = base;

	if (m->type && str_eq(m->type, "cgroup"))
		m->kind = SPEC_MOUNT_CGROUP;
	read_options(r->s, m);
	if (!*m->destination)
		return spec_fail(r, at, "destination", "must not be empty");
	if (*m->destination != '/') {
		log_warn(
		    "Mount destination '%s' is relative, which is deprecated: '/' is put before it",
		    m->destination);
		m->destination = absolute(r->s, "", m->destination);
	}
	if (m->kind == SPEC_MOUNT_BIND) {
		int rc = check_bind(r, at, m);

		return rc < 0 ? rc : check_idmap(r, at, m);
	}
	if (!m->type && !(m->sb_flags & MS_REMOUNT))
		return spec_fail(r, at, "type", "missing; only bind mounts go without");
	/* Superblocks of cgroup file systems are shared with the host: there "ro" is the mount's
	 * alone. */
	if (m->kind == SPEC_MOUNT_FS && m->attr_set & MOUNT_ATTR_RDONLY)
		m->sb_flags |= MS_RDONLY;
	return check_idmap(r, at, m);
}

/* config-linux.md "User namespace mappings" */
static int check_idmap_entry(struct spec_reader *r, const struct spec_at *at, const json_t *v,
			     void *base)
{
	const struct spec_idmap *m = base;

	if (UINT32_MAX - m->size < m->container_id || UINT32_MAX - m->size < m->host_id)
		return spec_fail(r, at, "size", "the range ends beyond the last id");
	return 0;
}

static const struct spec_field idmap_fields[] = {
    {"containerID", K_UINT, AT(struct spec_idmap, container_id), .required = true},
    {"hostID", K_UINT, AT(struct spec_idmap, host_id), .required = true},
    {"size", K_UINT, AT(struct spec_idmap, size), .min = 1, .required = true},
    {},
};
static const struct spec_object idmap_object = {idmap_fields, check_idmap_entry};
const struct spec_field spec_idmap_elem = {
    .kind = K_OBJ, .size = sizeof(struct spec_idmap), .obj = &idmap_object};

static const struct spec_field mount_fields[] = {
    {"destination", K_STR, AT(struct spec_mount, destination), .required = true},
    {"type", K_STR, AT(struct spec_mount, type)},
    {"source", K_STR, AT(struct spec_mount, source)},
    {"options", K_STRV, AT(struct spec_mount, options)},
    {"uidMappings", K_LIST, AT(struct spec_mount, idmaps.uid),
     COUNT(struct spec_mount, idmaps.uid_count), .elem = &spec_idmap_elem},
    {"gidMappings", K_LIST, AT(struct spec_mount, idmaps.gid),
     COUNT(struct spec_mount, idmaps.gid_count), .elem = &spec_idmap_elem},
    {},
};
const struct spec_object spec_mount_object = {mount_fields, check_mount};
