/* The program `viv`: finds the program that the first word or the link's name stands for, and
 * becomes it. Its time is added to every command's, so it has no C library (os/bare.h says what
 * that saves), no stack protector (that needs the library's thread block) and no relocations: a
 * static PIE of two pages. */
#include "cmd/programs.h"
#include "os/exe.h"
#include "os/exe_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdbool.h>
#include <stddef.h>

#define ENV_MAX 4096 /* variables passed on; more are refused with -E2BIG */

/* The compiler may call these, whatever the source says. */
void *memset(void *p, int c, size_t n);
void *memcpy(void *restrict to, const void *restrict from, size_t n);
__attribute__((used, noreturn)) void launch(long *stack);

void *memset(void *p, int c, size_t n)
{
	void *start = p;

	__asm__ volatile("rep stosb" : "+D"(p), "+c"(n) : "a"(c) : "memory");
	return start;
}

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
	void *start = to;

	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
	return start;
}

static size_t length(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

static bool equal(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

static const char *base_name(const char *path)
{
	const char *base = path;

	for (; *path; path++)
		if (*path == '/')
			base = path + 1;
	return base;
}

/* to = a + b; false where it does not fit. */
static bool join(char *to, size_t size, const char *a, const char *b)
{
	size_t la = length(a), lb = length(b);

	if (la + lb + 1 > size)
		return false;
	memcpy(to, a, la);
	memcpy(to + la, b, lb + 1);
	return true;
}

static void say(int fd, const char *text)
{
	bare(SYS_write, fd, text, length(text));
}

static _Noreturn void quit(int status)
{
	for (;;)
		bare(SYS_exit_group, status);
}

/* In the build folder the programs lie beside this one; installed, in libexec. dir ends with a
 * slash. */
static bool locate(const char *program, char *dir, char *path)
{
	long n = bare(SYS_readlink, "/proc/self/exe", dir, PATH_MAX - 1);

	if (n > 0) {
		dir[n] = '\0';
		dir[base_name(dir) - dir] = '\0';
		if (join(path, PATH_MAX, dir, program) && bare(SYS_access, path, 0 /* F_OK */) == 0)
			return true;
	}
	return join(dir, PATH_MAX, VIV_LIBEXECDIR "/", "") && join(path, PATH_MAX, dir, program);
}

/* The copy in memory cannot tell where it came from: the directory travels in the environment. */
static long execute_sealed(const char *path, const char *name, const char *dir, char **argv,
			   char **env)
{
	static char *more[ENV_MAX + 2];
	static char variable[PATH_MAX + 32];
	size_t n = 0;

	for (; env[n]; n++) {
		if (n == ENV_MAX)
			return -E2BIG;
		more[n] = env[n];
	}
	if (!join(variable, sizeof(variable), EXE_DIRECTORY_ENV "=", dir))
		return -ENAMETOOLONG;
	variable[length(variable) - 1] = '\0'; /* the slash */
	more[n] = variable;
	int fd = exe_protect(path, name);

	return fd < 0 ? fd : bare(SYS_execveat, fd, "", argv, more, AT_EMPTY_PATH);
}

static _Noreturn void become(const char *program, bool sealed, char **argv, char **env)
{
	static char path[PATH_MAX], dir[PATH_MAX];
	long rc = -ENAMETOOLONG;

	if (locate(program, dir, path))
		rc = sealed ? execute_sealed(path, program, dir, argv, env)
			    : bare(SYS_execve, path, argv, env);
	say(2, "viv: cannot execute '");
	say(2, path);
	say(2,
	    rc == -ENOENT
		? "': it is not there\ntry: install Vivarium again; this program is a part of it\n"
	    : rc == -EACCES ? "': permission denied\n"
	    : rc == -ENOMEM ? "': out of memory\n"
			    : "'\n");
	quit(1);
}

/* stack: argc, argv …, NULL, environment …, NULL (System V ABI, AMD64, "Process Initialization").
 */
void launch(long *stack)
{
	long argc = stack[0];
	char **argv = (char **)(stack + 1);
	char **env = argv + argc + 1;

	if (!argc) /* only Linux < 5.18 lets a caller do that */
		quit(1);
	const char *name = base_name(argv[0]);
	const char *word = argc > 1 ? argv[1] : "";

	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
		const struct program *p = &programs[i];

		if (p->link[0] && equal(name, p->link))
			become(p->program, p->sealed, argv, env);
		if (!p->word[0])
			continue;
		if (equal(word, p->word) && p->whole)
			become(p->program, p->sealed, argv, env);
		if (equal(word, p->word)) {
			argv[1] = (char *)(long)p->program;
			become(p->program, p->sealed, argv + 1, env);
		}
	}
	if (argc == 2 && (equal(word, "--version") || equal(word, "-v"))) {
		static const char version[] = "viv " VIV_VERSION "\n";

		quit(bare(SYS_write, 1, version, sizeof(version) - 1) < 0);
	}
	become(PROGRAM_DEFAULT, false, argv, env);
}

__asm__(".globl _start\n"
	".type _start, @function\n"
	"_start:\n"
	"	endbr64\n"
	"	xor %ebp, %ebp\n"
	"	mov %rsp, %rdi\n"
	"	and $-16, %rsp\n"
	"	call launch\n"
	"	hlt\n");
