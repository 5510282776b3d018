/* Facts about a process that survive pid reuse: its start time identifies it together with its pid.
 */
#ifndef OS_PROC_H
#define OS_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Start time in clock ticks since boot (proc_pid_stat(5), field 22) and the state letter. -ESRCH
 * where it is gone. */
int proc_stat(pid_t pid, uint64_t *ret_start, char *ret_state);

/* Is this very process alive (not a zombie)? */
bool proc_alive(pid_t pid, uint64_t start);

/* A pidfd of it, or -ESRCH where it is gone or the pid now belongs to another. O_CLOEXEC. */
int proc_pidfd(pid_t pid, uint64_t start);

/* Waits until the pidfd's process ended; timeout_ms -1: for ever. 0, or -ETIMEDOUT. */
int proc_wait_pidfd(int pidfd, int timeout_ms);

/* Is the caller in a user namespace whose ids are not all the machine's? */
bool proc_in_userns(void);

#endif
