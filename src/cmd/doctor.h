/* The checks of `viv doctor`: each asks one question of this host and answers in rows. */
#ifndef CMD_DOCTOR_H
#define CMD_DOCTOR_H

#include <jansson.h>

enum verdict {
	VERDICT_OK,
	VERDICT_WARN, /* something will not work, or only for root */
	VERDICT_FAIL, /* containers cannot run */
};

/* Adds one row. found: what there is; cure: what to do, NULL where all is well. */
void doctor_add(json_t *rows, enum verdict verdict, const char *check, const char *found,
		const char *cure);

void doctor_kernel(json_t *rows);  /* version, system calls, file systems, security modules */
void doctor_users(json_t *rows);   /* user namespaces, subordinate ids */
void doctor_cgroups(json_t *rows); /* layout, controllers, delegation */
void doctor_devices(json_t *rows); /* kvm, fuse, tun */

#endif
