/* Programs that run from a protected form of themselves (os/exe_copy.h): what a container gets at
 * through /proc/PID/exe of such a process cannot be written (CVE-2019-5736). */
#ifndef OS_EXE_H
#define OS_EXE_H

/* Makes sure that the calling program runs from such a form: executes itself again from one where
 * it does not. Returns 0 when it does, else a negative errno. The environment and argv are kept. */
int exe_seal(char **argv);

/* The directory that holds the programs beside this one: of the file that was executed first.
 * Static, never NULL. */
const char *exe_directory(void);

/* The variable that hands exe_directory() to the copy. */
#define EXE_DIRECTORY_ENV "_VIV_LIBEXEC"

#endif
