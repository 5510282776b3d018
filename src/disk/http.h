/* Drivers `http` and `https`: a file on a web server that can send parts of it (RFC 9110, "Range
 * Requests"); read only. libcurl is loaded when the first one is opened, not with the program. */
#ifndef DISK_HTTP_H
#define DISK_HTTP_H

#include "disk/driver.h"

extern const struct disk_driver disk_driver_http;
extern const struct disk_driver disk_driver_https;

#endif
