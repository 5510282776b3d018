/* Logging as libraries see it: a level, a message, and a sink that the program installs
 * (io/logsink.h has the ones for stderr, files and the journal). Libraries log only debug and
 * warnings about what they work around; a failure is returned, not logged. Messages: capital
 * letter, no full stop, names in '…'. No threads: install the sink first. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

enum log_level { LOG_LVL_ERROR, LOG_LVL_WARN, LOG_LVL_INFO, LOG_LVL_DEBUG };

typedef void log_sink(void *arg, enum log_level level, const char *msg);

/* Installs the sink (NULL: drop everything, the state at start) and the most detailed level that
 * reaches it. */
void log_to(log_sink *sink, void *arg, enum log_level max);
enum log_level log_max(void);

void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_LVL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_LVL_WARN, __VA_ARGS__)
#define log_info(...)  log_write(LOG_LVL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LVL_DEBUG, __VA_ARGS__)

#endif
