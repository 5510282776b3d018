/* x86_agree random COUNT [SEED]: decodes COUNT random byte strings, of several kinds, with src/isa and with Zydis.
 * x86_agree elf FILE…: the same with every executable section of ELF files, from instruction to instruction.
 * Prints each difference that test/lib/x86_zydis_known.h does not explain, at most 20 of one row; exits 1 if there was one. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "x86_zydis.h"

#define SHOWN_MAX 200

static uint64_t compared, differences;

/* Compares one; returns the length. */
static unsigned compare(enum x86_mode mode, const uint8_t *bytes, const char *where)
{
	char why[300];
	unsigned length;

	compared++;
	if (x86_zydis_agrees(mode, bytes, &length, why, sizeof(why)))
		return length;
	if (differences++ < SHOWN_MAX) {
		printf("%s: %u bits: ", where, 16u << mode);
		for (unsigned i = 0; i < X86_LENGTH_MAX; i++)
			printf("%02x", bytes[i]);
		printf(": %s\n", why);
	}
	return length;
}

static void sweep(enum x86_mode mode, const uint8_t *code, size_t size, const char *where)
{
	uint8_t bytes[X86_LENGTH_MAX];

	for (size_t at = 0; at < size;) {
		size_t left = size - at;

		memset(bytes, 0, sizeof(bytes));
		memcpy(bytes, code + at, left < sizeof(bytes) ? left : sizeof(bytes));
		at += compare(mode, bytes, where);
	}
}

/* The sections with code; a file that is no ELF file for x86 is passed over. */
static void sweep_elf(const char *path, const uint8_t *file, size_t size)
{
	const Elf64_Ehdr *header = (const void *)file;

	if (size < sizeof(*header) || memcmp(file, ELFMAG, SELFMAG) != 0 ||
	    file[EI_CLASS] != ELFCLASS64 || header->e_machine != EM_X86_64 ||
	    header->e_shoff > size ||
	    (size - header->e_shoff) / sizeof(Elf64_Shdr) < header->e_shnum)
		return;
	const Elf64_Shdr *section = (const void *)(file + header->e_shoff);

	for (unsigned i = 0; i < header->e_shnum; i++, section++) {
		bool code = section->sh_type == SHT_PROGBITS && section->sh_flags & SHF_EXECINSTR;

		if (code && section->sh_offset <= size &&
		    section->sh_size <= size - section->sh_offset)
			sweep(X86_MODE_64, file + section->sh_offset, section->sh_size, path);
	}
}

static void sweep_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *file = MAP_FAILED;

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0)
		file = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (file != MAP_FAILED) {
		sweep_elf(path, file, st.st_size);
		munmap(file, st.st_size);
	}
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	if (argc >= 3 && strcmp(argv[1], "random") == 0) {
		uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 0) : 1;
		uint64_t count = strtoull(argv[2], NULL, 0);

		for (uint64_t i = 0; i < count; i++) {
			uint8_t bytes[X86_LENGTH_MAX];
			enum x86_mode mode = x86_zydis_random(&seed, bytes);

			compare(mode, bytes, "random");
		}
	} else if (argc >= 3 && strcmp(argv[1], "elf") == 0) {
		for (int i = 2; i < argc; i++)
			sweep_file(argv[i]);
	} else {
		fprintf(stderr, "usage: x86_agree random COUNT [SEED] | elf FILE...\n");
		return 2;
	}
	printf("%" PRIu64 " compared, %" PRIu64 " differences\n", compared, differences);
	return differences != 0 || compared == 0;
}
