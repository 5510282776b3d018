/* Findings of disk_check(), formatted. */
#ifndef DISK_REPORT_H
#define DISK_REPORT_H

#include "disk/disk.h"

/* Hands the line to c->found, where there is one. Counts nothing. */
void report_found(struct disk_check *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
