/* The device program against the rules that it was made from: every program is run by a small
 * interpreter of the instructions it may have, for every device and access around the rules, and
 * loaded into the kernel's verifier where we may. */
#include "test.h"

#include "base/cleanup.h"
#include "container/devices_bpf.h"

#include <sys/syscall.h>
#include <unistd.h>

#define R (1 << 1) /* BPF_DEVCG_ACC_READ */
#define W (1 << 2)
#define M (1 << 0)

/* BPF as the kernel's filter.rst has it; only what a device program needs, and no backward jump. */
static int run(const struct bpf_insn *insns, size_t count, const struct bpf_cgroup_dev_ctx *ctx)
{
	uint64_t reg[11] = {0};
	const char *memory = (const char *)ctx;

	for (size_t pc = 0; pc < count; pc++) {
		const struct bpf_insn *i = &insns[pc];
		uint64_t *dst = &reg[i->dst_reg];
		uint64_t src =
		    BPF_SRC(i->code) == BPF_X ? reg[i->src_reg] : (uint64_t)(int64_t)i->imm;
		uint32_t word;

		switch (i->code) {
		case BPF_LDX | BPF_MEM | BPF_W:
			assert_int_equal(i->src_reg, BPF_REG_1);
			assert_in_range(i->off, 0, (int)sizeof(*ctx) - 4);
			memcpy(&word, memory + i->off, sizeof(word));
			*dst = word;
			break;
		case BPF_ALU | BPF_MOV | BPF_X:
			*dst = (uint32_t)src;
			break;
		case BPF_ALU64 | BPF_MOV | BPF_K:
			*dst = src;
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			*dst = (uint32_t)*dst & (uint32_t)src;
			break;
		case BPF_ALU | BPF_RSH | BPF_K:
			*dst = (uint32_t)*dst >> i->imm;
			break;
		case BPF_JMP32 | BPF_JNE | BPF_K:
		case BPF_JMP32 | BPF_JEQ | BPF_K:
			assert_true(i->off >= 0);
			if (((uint32_t)*dst == (uint32_t)src) == (BPF_OP(i->code) == BPF_JEQ))
				pc += (size_t)i->off;
			break;
		case BPF_JMP | BPF_EXIT:
			return (int)reg[0];
		default:
			fail_msg("instruction 0x%02x is unknown here", i->code);
		}
	}
	fail_msg("ran off the end");
	return -1;
}

/* What a policy means, as v1 has it (kernel: security/device_cgroup.c): an exception that allows
 * must cover the whole access, one that denies any part of it. */
static bool allowed(const struct device_policy *p, uint32_t type, uint32_t major, uint32_t minor,
		    uint32_t access)
{
	for (size_t i = 0; i < p->count; i++) {
		const struct device_exception *x = &p->v[i];
		uint32_t has = (x->read ? R : 0) | (x->write ? W : 0) | (x->mknod ? M : 0);

		if ((x->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR) == (int)type &&
		    (x->major < 0 || x->major == major) && (x->minor < 0 || x->minor == minor) &&
		    (p->allow ? (access & has) != 0 : !(access & ~has)))
			return !p->allow;
	}
	return p->allow;
}

static const struct device_exception some[] = {
    {'c', 1, 3, true, true, true},           {'c', 1, 5, true, false, false},
    {'c', 136, -1, true, true, false},       {'b', -1, -1, false, false, true},
    {'c', -1, 9, false, true, true},         {'b', 8, 0, true, false, true},
    {'c', 4294967295u, 2, true, true, true}, {'b', 4000000000u, 4294967295u, true, true, true},
};

static void compare(const struct device_policy *p)
{
	static const uint32_t numbers[] = {0, 1, 2, 3, 5, 8, 9, 136, 137, 4000000000u, 4294967295u};
	size_t count;
	_free_ struct bpf_insn *insns = devices_bpf_compile(p, &count);

	assert_true(count <= p->count * DEVICES_BPF_PER_RULE + DEVICES_BPF_FIXED);
	for (uint32_t type = 1; type <= 2; type++)
		for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
			for (size_t k = 0; k < ARRAY_SIZE(numbers); k++)
				for (uint32_t access = 1; access < 8; access++) {
					struct bpf_cgroup_dev_ctx ctx = {.access_type =
									     access << 16 | type,
									 .major = numbers[i],
									 .minor = numbers[k]};

					assert_int_equal(
					    run(insns, count, &ctx),
					    allowed(p, type, numbers[i], numbers[k], access));
				}
}

static void programs_do_what_the_rules_say(void **state)
{
	struct device_exception v[ARRAY_SIZE(some)];

	memcpy(v, some, sizeof(some));
	for (size_t n = 0; n <= ARRAY_SIZE(some); n++) {
		compare(&(struct device_policy){.allow = false, .v = v, .count = n});
		compare(&(struct device_policy){.allow = true, .v = v, .count = n});
	}
}

static void the_verifier_takes_it(void **state)
{
	struct device_exception v[ARRAY_SIZE(some)];
	struct device_policy p = {.v = v, .count = ARRAY_SIZE(some)};
	size_t count;
	char log[4096] = "";

	memcpy(v, some, sizeof(some));
	_free_ struct bpf_insn *insns = devices_bpf_compile(&p, &count);
	union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
			       .insn_cnt = (uint32_t)count,
			       .insns = (uintptr_t)insns,
			       .license = (uintptr_t) "Apache-2.0",
			       .log_buf = (uintptr_t)log,
			       .log_size = sizeof(log),
			       .log_level = 1};
	int fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));

	if (fd < 0 && (errno == EPERM || errno == ENOSYS || !*log))
		test_skip("programs for devices cannot be loaded here: %s", strerror(errno));
	if (fd < 0)
		fail_msg("%s", log);
	close(fd);
}

int main(void)
{
	return TEST_RUN("devices_bpf", cmocka_unit_test(programs_do_what_the_rules_say),
			cmocka_unit_test(the_verifier_takes_it));
}
