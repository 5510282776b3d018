/* Internal to container/: what the steps of a start share. The parent fills struct start before
 * clone3(2); the child has it by copy-on-write, so nothing is serialised. Each step lives in the
 * file named after its kernel facility. */
#ifndef CONTAINER_START_H
#define CONTAINER_START_H

#include "base/err.h"
#include "container/cgroup.h"
#include "container/container.h"
#include "container/record.h"
#include "container/seccomp.h"
#include "container/spec.h"

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

struct start {
	const struct spec *spec;
	const struct spec_process *process; /* spec's, or exec's own */
	const struct container_opts *opts;
	struct container *c;
	struct seccomp_prog filter;
	int proc_fd; /* /proc of the host, O_PATH: immune to what the container mounts on its own */
	int sync;    /* this side of the pair */
	int sync_peer;     /* the other side, in a child until start_as_child() */
	int fifo_fd;       /* O_PATH of exec.fifo; -1: start at once */
	int fds_dir_fd;    /* init's own /proc/self/fd as a mount without surroundings, -1 */
	int notify_dir_fd; /* O_PATH of the notify socket's directory, -1 */
	int signal_fd;     /* signals to the runtime while it starts or attends */
	int console_sock;  /* where the pty's master goes; -1 */
	int master_sock;   /* our end of console_sock where we attend ourselves; -1 */
	int rootfs_fd;     /* detached tree prepared by the parent, or -1: the child opens it */
	int *mount_fds;    /* per mount: detached tree prepared by the parent, or -1 */
	bool rootless;     /* the caller is no root of the initial user namespace */
	/* The control groups are made while init makes its mounts; it joins them when it is
	 * told to. Only v1: a v2 group is made first, because init is born in it. */
	bool is_exec;
	bool late_group;
	bool asks_nothing;          /* attached or detached run: init is told to start in advance */
	bool joined;                /* already in its control groups */
	bool new_userns, in_userns; /* made here; the container is in one at all */
	sigset_t saved_mask;        /* the caller's signal mask, for the container's process */
	int preserve_fds;
};

/* ns.c */
bool ns_needs_intermediate(const struct start *s);
int ns_clone(struct start *s, int (*child)(struct start *), pid_t *ret_pid, struct err *e);
int ns_unshare_late(const struct start *s,
		    struct err *e); /* cgroup namespace, after joining the group */

/* init.c: joins the control groups, where that was put off (late_group); else nothing. */
int init_join_late_group(struct start *s, struct err *e);

/* idmap.c */
int idmap_write(int proc_fd, pid_t pid, const struct spec_idmaps *maps, bool rootless,
		struct err *e);
int idmap_userns_fd(const struct spec_idmaps *maps,
		    struct err *e);   /* a user namespace with these maps */
int idmap_become_root(struct err *e); /* uid 0, gid 0 in the present user namespace */

/* rootfs.c */
int rootfs_open_sources(struct start *s, struct err *e); /* parent, before clone */
int rootfs_setup(struct start *s, struct err *e);        /* child: mounts, devices, masks, pivot */
/* What follows the root file system in a host's path, absolute; NULL where it is not below. */
const char *rootfs_inside(const struct spec *spec, const char *path);

/* mount.c */
/* A mount that is finished when everything below it has been made: filled (control groups), made
 * read-only. */
struct mount_late {
	int fd;
	const struct spec_mount *m;
	bool filled;
};
struct mount_env {
	struct start *s;
	int rootfd;
	int null_fd; /* the host's /dev/null, checked */
	struct mount_late *late;
	size_t late_count;
};
void mount_later(struct mount_env *env, const struct spec_mount *m, int fd); /* takes fd */
/* A detached copy of the tree at m->source, id-mapped where asked. source_fd: the source, already
 * opened; -1: by its path. */
int mount_open_source(const struct start *s, const struct spec_mount *m, int source_fd,
		      struct err *e);
int mount_one(struct mount_env *env, size_t index, struct err *e);
int mount_finish(struct mount_env *env, struct err *e);
int mount_attach(int tree_fd, int target_fd);
int mount_fs(const char *type, const char *source, const char *const *options, uint64_t attr,
	     struct err *e);
int mount_set_attr(int fd, bool recursive, uint64_t set, uint64_t clr, uint64_t propagation);

/* cgroup_mount.c */
int mount_fill_cgroups(struct mount_env *env, struct err *e);
int mount_cgroup(struct mount_env *env, const struct spec_mount *m, struct err *e);

/* device.c */
/* The resources with the default device rules added; ret->devices is the caller's to free where it
 * is not spec's. */
void device_rules(const struct spec *spec, struct spec_resources *ret);
int device_setup(struct mount_env *env, struct err *e);
int mask_paths(struct mount_env *env, struct err *e);

/* console.c */
int console_setup(struct start *s, int rootfd, bool bind_console, struct err *e);
int console_send(int sock, int master, struct err *e);
int console_fix_stdio_owner(const struct start *s, struct err *e);

/* hooks.c */
/* env: of hooks that name none; NULL: the caller's own. signal_fd: whose ending signals stop them,
 * or -1. */
int hooks_run(const struct spec_hook_list *hooks, const char *name, const char *state_json,
	      char *const *env, int signal_fd, struct err *e);

/* notify.c */
int notify_prepare(struct start *s,
		   struct err *e); /* the directory, where the caller wants to know */
int notify_listen(const struct container *c, struct err *e); /* the socket; -1: not wanted */
bool notify_forward(int fd, pid_t pid);                      /* one message; true: it was READY=1 */
int notify_wait(int fd, const struct container_proc *init, struct err *e);

/* netdev.c */
int netdev_lo_up(struct err *e);
int netdev_move(const struct spec *spec, int netns_fd, struct err *e);

/* process.c: what the user's process gets just before execve(2); init and exec share it */
int process_limits(int proc_fd, pid_t pid, const struct spec_process *p, struct err *e);
int process_oom(int proc_fd, pid_t pid, const struct spec_process *p, struct err *e);
int process_initial_affinity(const struct spec_process *p, struct err *e);
int process_attributes(struct start *s, struct err *e);
int process_credentials(struct start *s, struct err *e);
int process_resolve(struct start *s, char **ret_file, struct err *e);
int process_seccomp(struct start *s, struct err *e);
/* The program's environment: what was given, each name once, HOME, sockets. Returns owned. */
char **process_environment(const struct start *s);
void process_exec(struct start *s, const char *file, char *const *env, struct err *e);

/* lsm.c */
int lsm_exec_label(const struct start *s, struct err *e);
bool lsm_selinux_enabled(void);

/* init.c */
/* First thing in every child: it ends with its parent. What the signal misses, because the parent was gone before it was
 * asked for, the end of file of the pair does not: so the parent's side of it must not stay open here. */
void start_as_child(struct start *s);
int init_main(struct start *s);
int init_prepare_process(struct start *s, char **ret_file, struct err *e);

/* parent.c: the parent's half, shared by create, run and exec */
int parent_prepare(struct start *s, int root_fd, struct err *e);
/* The number of a signal that asks the start to end; 0: none has come. */
int parent_interrupted(int signal_fd);
/* The control group with its limits and the complete device rules. pid: for systemd's scope, else
 * 0. */
int parent_create_cgroup(struct start *s, pid_t pid, struct err *e);
/* pid: of the child, or minus that of an intermediate; 0 after a failure, when it has been reaped.
 */
int parent_serve(struct start *s, pid_t *pid, bool until_ready, struct err *e);
void parent_done(struct start *s);
int parent_write_pid(const char *file, pid_t pid, struct err *e); /* file NULL: none */
int parent_send_pidfd(const char *socket_path, pid_t pid, struct err *e);

/* attend.c: standing in for an attached process */
int attend_begin(struct start *s, struct err *e);
/* notify_fd: of notify_listen(), or -1. */
int attend(struct start *s, pid_t pid, int notify_fd, int *ret_status, struct err *e);

#endif
