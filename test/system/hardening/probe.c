/* Compiled by test/system/hardening.bats with the very flags of the project's own files: shows that
 * a flag does what it is there for, not only that it was given. probe zero|smash|fortify */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int probe_frame(int n);

__attribute__((noinline)) static void dirty(void)
{
	volatile char below[512];

	for (size_t i = 0; i < sizeof(below); i++)
		below[i] = 0x5a;
}

__attribute__((noinline)) static int set_bytes(void)
{
	volatile char fresh[256];
	int n = 0;

	for (size_t i = 0; i < sizeof(fresh); i++)
		n += fresh[i] != 0;
	return n;
}

/* A frame of several pages: the disassembly must touch each of them. */
int probe_frame(int n)
{
	volatile char big[64 << 10];

	big[n] = 1;
	return big[n];
}

__attribute__((noinline)) static void smash(volatile size_t len)
{
	char small[16];
	volatile char *p = small;

	for (size_t i = 0; i < len; i++)
		p[i] = 0x5a;
}

/* The size is known at run time only: level 3 catches this, level 2 does not. */
__attribute__((noinline)) static void overrun(volatile size_t size)
{
	size_t n = size;
	char *p = malloc(n);

	memset(p, 0, size + 1);
	printf("%d\n", p[0]);
	free(p);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "zero")) {
		dirty();
		return set_bytes() != 0;
	}
	if (!strcmp(what, "smash"))
		smash(argc > 2 ? strtoul(argv[2], NULL, 10) : 64);
	else if (!strcmp(what, "fortify"))
		overrun(argc > 2 ? strtoul(argv[2], NULL, 10) : 64);
	else
		return 2;
	return 0;
}
