/* Values as text for other programs: JSON, YAML, CSV. Bytes are appended to a buffer; nothing is
 * printed. */
#ifndef CODEC_EMIT_H
#define CODEC_EMIT_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>

/* Pretty (two spaces) or on one line, each with a newline at the end. */
int emit_json(const json_t *value, bool pretty, struct buf *out, struct err *e);

/* A YAML 1.2 document in block style. */
int emit_yaml(const json_t *value, struct buf *out, struct err *e);

/* One CSV field (RFC 4180, section 2): quoted where it must be; lists and objects as JSON. */
void emit_csv_field(const json_t *value, struct buf *out);

#endif
