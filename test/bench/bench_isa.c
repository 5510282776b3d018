/* bench_isa FILE: nanoseconds per instruction of the decoder over the code of an ELF file, beside Zydis. CPU time, the best
 * of several rounds. */
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <Zydis/Zydis.h>

#include "isa/x86.h"

#define ROUNDS 5

struct code {
	const uint8_t *bytes;
	size_t size;
};

static double cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

/* Each returns the number of instructions, so that the compiler keeps the work. */

static size_t decode(const struct code *code)
{
	struct x86_insn insn;
	size_t count = 0;

	for (size_t at = 0; at < code->size; count++)
		at += x86_decode(X86_MODE_64, code->bytes + at, code->size - at, &insn) == X86_OK
			  ? insn.length
			  : 1;
	return count;
}

static size_t decode_effects(const struct code *code)
{
	struct x86_effects effects;
	struct x86_insn insn;
	size_t count = 0;
	uint32_t all = 0;

	for (size_t at = 0; at < code->size; count++) {
		if (x86_decode(X86_MODE_64, code->bytes + at, code->size - at, &insn) == X86_OK) {
			x86_effects(&insn, &effects);
			all |= effects.gpr_written;
			at += insn.length;
		} else {
			at++;
		}
	}
	return all ? count : 0;
}

static size_t decode_zydis(const struct code *code)
{
	ZydisDecodedInstruction insn;
	ZydisDecoderContext context;
	ZydisDecoder decoder;
	size_t count = 0;

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (size_t at = 0; at < code->size; count++)
		at += ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(
			  &decoder, &context, code->bytes + at, code->size - at, &insn))
			  ? insn.length
			  : 1;
	return count;
}

static size_t decode_zydis_full(const struct code *code)
{
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction insn;
	ZydisDecoder decoder;
	size_t count = 0;

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (size_t at = 0; at < code->size; count++)
		at += ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code->bytes + at,
							  code->size - at, &insn, operands))
			  ? insn.length
			  : 1;
	return count;
}

static void measure(const char *name, size_t (*fn)(const struct code *), const struct code *code)
{
	double best = 1e18, worst = 0;

	for (int i = 0; i < ROUNDS; i++) {
		double start = cpu_ns();
		size_t count = fn(code);
		double ns = (cpu_ns() - start) / count;

		best = ns < best ? ns : best;
		worst = ns > worst ? ns : worst;
	}
	printf("%-34s %6.1f ns per instruction (worst of %d: %.1f)\n", name, best, ROUNDS, worst);
}

/* The largest executable section. */
static struct code find_code(const uint8_t *file)
{
	const Elf64_Ehdr *header = (const void *)file;
	const Elf64_Shdr *section = (const void *)(file + header->e_shoff);
	struct code code = {0};

	for (unsigned i = 0; i < header->e_shnum; i++)
		if (section[i].sh_type == SHT_PROGBITS && section[i].sh_flags & SHF_EXECINSTR &&
		    section[i].sh_size > code.size)
			code = (struct code){file + section[i].sh_offset, section[i].sh_size};
	return code;
}

int main(int argc, char **argv)
{
	struct stat st;
	int fd = argc == 2 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size < (off_t)sizeof(Elf64_Ehdr)) {
		fprintf(stderr, "usage: bench_isa ELF-FILE\n");
		return 2;
	}
	const uint8_t *file = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);

	if (file == MAP_FAILED || memcmp(file, ELFMAG, SELFMAG) != 0) {
		fprintf(stderr, "bench_isa: '%s' is no ELF file\n", argv[1]);
		return 1;
	}
	struct code code = find_code(file);

	printf("%s: %zu bytes of code, %zu instructions\n", argv[1], code.size, decode(&code));
	measure("isa: x86_decode", decode, &code);
	measure("isa: x86_decode, x86_effects", decode_effects, &code);
	measure("zydis: instruction", decode_zydis, &code);
	measure("zydis: instruction and operands", decode_zydis_full, &code);
	return 0;
}
