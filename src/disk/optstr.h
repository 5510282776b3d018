/* Option lists as QEMU's tools take them on the command line ("cluster_size=64k,lazy_refcounts=on",
 * "driver=qcow2,file.filename=a,,b.img"): text in, a flat JSON object of strings out. Nothing is
 * opened here and no option is known here; disk/opts.h nests dotted keys and reads values. Results
 * are owned by the caller. Specification: qemu(1) of 7.2, "Introduction": a comma in a value is
 * doubled. */
#ifndef DISK_OPTSTR_H
#define DISK_OPTSTR_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>

#define OPTSTR_KEYS_MAX 1024 /* options in one list */

/* In the order written. A key without "=" is "on"; of a key given twice the last value counts.
 * implied: key of a first word without "=", or NULL. Returns owned in *ret. */
int optstr_parse(const char *text, const char *implied, json_t **ret, struct err *e);

/* Is one of the words "help" or "?", as in "-o help"? */
bool optstr_wants_help(const char *text);
/* A list that cannot be joined with another by a comma: it is empty, begins with a comma, or ends
 * with one that is not doubled. */
bool optstr_malformed(const char *text);
/* QEMU's JSON allows strings in single quotes: adds the text with all of them as JSON has them. What is
 * no JSON stays none. */
void optstr_requote(struct buf *b, const char *json);
/* Adds value with its commas doubled. */
void optstr_escape(struct buf *b, const char *value);

#endif
