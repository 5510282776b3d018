#include "test.h"

#include <sys/mount.h>

#include "specs.h"

/* A document with one mount. */
static struct spec *parse(const char *fields, const char *options)
{
	_free_ char *text = mem_printf("{'ociVersion':'1.1.0','root':{'path':'r'},"
				       "'mounts':[{'destination':'/d',%s,'options':[%s]}]}",
				       fields, options);

	return specs_parse(text);
}

#define A(x) MOUNT_ATTR_##x

/* clang-format off */
static const struct {
	const char *options;
	uint64_t set, clr, rec_set, rec_clr, propagation;
	unsigned long sb;
	const char *data;
} rows[] = {
	{"", 0},
	{"'defaults'", 0},
	{"'ro'", A(RDONLY), .sb = MS_RDONLY},
	{"'ro','rw'", 0, A(RDONLY)},
	{"'rw','ro'", A(RDONLY), .sb = MS_RDONLY},
	{"'nosuid','nodev','noexec'", A(NOSUID) | A(NODEV) | A(NOEXEC)},
	{"'nosuid','suid','dev','exec'", 0, A(NOSUID) | A(NODEV) | A(NOEXEC)},
	{"'nodiratime','nosymfollow'", A(NODIRATIME) | A(NOSYMFOLLOW)},
	{"'diratime','symfollow'", 0, A(NODIRATIME) | A(NOSYMFOLLOW)},
	{"'noatime'", A(NOATIME), A(_ATIME)},
	{"'strictatime'", A(STRICTATIME), A(_ATIME)},
	{"'relatime'", 0, A(_ATIME)},
	{"'noatime','atime'", 0, A(_ATIME)},
	{"'noatime','strictatime'", A(STRICTATIME), A(_ATIME)},
	{"'strictatime','nostrictatime'", 0, A(_ATIME)},
	{"'norelatime'", 0, A(_ATIME)},
	{"'rro','rnosuid'", .rec_set = A(RDONLY) | A(NOSUID)},
	{"'rro','rrw'", .rec_clr = A(RDONLY)},
	{"'rnodev','rnoexec','rnodiratime','rnosymfollow'",
	 .rec_set = A(NODEV) | A(NOEXEC) | A(NODIRATIME) | A(NOSYMFOLLOW)},
	{"'rsuid','rdev','rexec','rdiratime','rsymfollow'",
	 .rec_clr = A(NOSUID) | A(NODEV) | A(NOEXEC) | A(NODIRATIME) | A(NOSYMFOLLOW)},
	{"'rnoatime'", .rec_set = A(NOATIME), .rec_clr = A(_ATIME)},
	{"'rstrictatime'", .rec_set = A(STRICTATIME), .rec_clr = A(_ATIME)},
	{"'rrelatime'", .rec_clr = A(_ATIME)},
	{"'rnoatime','ratime'", .rec_clr = A(_ATIME)},
	{"'rstrictatime','rnostrictatime'", .rec_clr = A(_ATIME)},
	{"'rnorelatime'", .rec_clr = A(_ATIME)},
	{"'shared'", .propagation = MS_SHARED},
	{"'rshared'", .propagation = MS_SHARED | MS_REC},
	{"'slave'", .propagation = MS_SLAVE},
	{"'rslave'", .propagation = MS_SLAVE | MS_REC},
	{"'private'", .propagation = MS_PRIVATE},
	{"'rprivate'", .propagation = MS_PRIVATE | MS_REC},
	{"'unbindable'", .propagation = MS_UNBINDABLE},
	{"'rslave','runbindable'", .propagation = MS_UNBINDABLE | MS_REC},
	{"'sync','dirsync','mand','lazytime','iversion','silent','remount'",
	 .sb = MS_SYNCHRONOUS | MS_DIRSYNC | MS_MANDLOCK | MS_LAZYTIME | MS_I_VERSION | MS_SILENT | MS_REMOUNT},
	{"'sync','mand','lazytime','iversion','silent','async','nomand','nolazytime','noiversion','loud'", 0},
	{"'mode=755','nosuid','','size=65536k'", A(NOSUID), .data = "mode=755,size=65536k"},
	{"'RO','ro '", .data = "RO,ro "},
};
/* clang-format on */

static void meanings(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_spec_ struct spec *s = parse("'type':'tmpfs'", rows[i].options);
		const struct spec_mount *m = &s->mounts[0];

		print_message("%s\n", rows[i].options);
		assert_int_equal(m->kind, SPEC_MOUNT_FS);
		assert_int_equal(m->attr_set, rows[i].set);
		assert_int_equal(m->attr_clr, rows[i].clr);
		assert_int_equal(m->rec_attr_set, rows[i].rec_set);
		assert_int_equal(m->rec_attr_clr, rows[i].rec_clr);
		assert_int_equal(m->propagation, rows[i].propagation);
		assert_int_equal(m->sb_flags, rows[i].sb);
		assert_string_equal(m->data ? m->data : "", rows[i].data ? rows[i].data : "");
	}
}

/* bsearch(3) finds each of them: none ends in the data. */
static void every_known_option_is_found(void **state)
{
	size_t n = 0;

	for (const char *name; (name = spec_mount_option_name(n)); n++) {
		_free_ char *options = mem_printf("'bind','%s'", name);
		_free_ char *fields = mem_strdup("'source':'/s','uidMappings':[{'containerID':0,"
						 "'hostID':0,'size':1}],'gidMappings':"
						 "[{'containerID':0,'hostID':0,'size':1}]");
		_spec_ struct spec *s = parse(fields, options);

		assert_null(s->mounts[0].data);
	}
	assert_int_equal(n, 57 + 8);
}

static void bind_mounts(void **state)
{
	_spec_ struct spec *bind = parse("'source':'/s','type':'x'", "'bind','ro'");
	_spec_ struct spec *rbind = parse("'source':'sub/dir'", "'rbind','rprivate'");
	_spec_ struct spec *remount = parse("'type':'none'", "'remount','bind','ro'");

	assert_int_equal(bind->mounts[0].kind, SPEC_MOUNT_BIND);
	assert_false(bind->mounts[0].recursive_bind);
	assert_int_equal(bind->mounts[0].attr_set, MOUNT_ATTR_RDONLY);
	assert_int_equal(bind->mounts[0].sb_flags, 0); /* the source's superblock is not ours */
	assert_true(rbind->mounts[0].recursive_bind);
	assert_string_equal(rbind->mounts[0].source, "/bundle/sub/dir");
	assert_int_equal(remount->mounts[0].sb_flags, MS_REMOUNT);
}

static void extensions(void **state)
{
	_spec_ struct spec *tmpfs = parse("'type':'tmpfs'", "'tmpcopyup'");
	_spec_ struct spec *crun =
	    parse("'source':'/s'", "'bind','copy-symlink','src-nofollow','dest-nofollow'");
	_spec_ struct spec *idmap =
	    parse("'source':'/s','uidMappings':[{'containerID':0,'hostID':1,'size':1}],"
		  "'gidMappings':[{'containerID':0,'hostID':1,'size':1}]",
		  "'rbind'");

	assert_true(tmpfs->mounts[0].tmpcopyup);
	assert_true(crun->mounts[0].copy_symlink && crun->mounts[0].src_nofollow &&
		    crun->mounts[0].dest_nofollow);
	assert_int_equal(idmap->mounts[0].idmap, SPEC_IDMAP);
}

static void relative_destinations_begin_at_the_root(void **state)
{
	_spec_ struct spec *s = specs_parse("{'ociVersion':'1.0.0','root':{'path':'r'},"
					    "'mounts':[{'destination':'a/b','type':'tmpfs'}]}");

	assert_string_equal(s->mounts[0].destination, "/a/b");
}

int main(void)
{
	return TEST_RUN("spec_mount", cmocka_unit_test(meanings),
			cmocka_unit_test(every_known_option_is_found),
			cmocka_unit_test(bind_mounts), cmocka_unit_test(extensions),
			cmocka_unit_test(relative_destinations_begin_at_the_root));
}
