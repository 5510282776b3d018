/* Stackful coroutines. Each has a stack of its own, with its struct co at the top and a guard page at
 * the bottom. Entering one pushes the callee-saved registers, swaps the stack pointer and pops the
 * other side's; nothing else is saved, since the ABI makes callers save the rest (nobody here changes
 * the floating point control words). User shadow stacks would have to be swapped too; no libc of our
 * platform turns them on.
 *
 * The thread itself is a struct co as well (ctx->self): where it waits, it runs the context until it
 * is woken. So every function may be called in either place. */
#include "disk/co_int.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bits.h"

#if defined(__SANITIZE_ADDRESS__)
#define CO_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CO_ASAN 1
#endif
#endif
#ifdef CO_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

#define GUARD_BYTES 4096

static __thread struct co *current;
static __thread struct disk_ctx *thread_ctx;

void co_stack_swap(void **save_sp, void *sp);

/* clang-format off */
__asm__(
	".text\n"
	".p2align 4\n"
	".local co_stack_swap\n"
	".type co_stack_swap, @function\n"
	"co_stack_swap:\n"
	"	endbr64\n"
	"	push %rbp\n"
	"	push %rbx\n"
	"	push %r12\n"
	"	push %r13\n"
	"	push %r14\n"
	"	push %r15\n"
	"	mov %rsp, (%rdi)\n"
	"	mov %rsi, %rsp\n"
	"	pop %r15\n"
	"	pop %r14\n"
	"	pop %r13\n"
	"	pop %r12\n"
	"	pop %rbx\n"
	"	pop %rbp\n"
	"	ret\n"
	".size co_stack_swap, .-co_stack_swap\n");
/* clang-format on */

/* last: `from` is never entered again. */
static void swap(struct co_stack *from, struct co_stack *to, bool last)
{
#ifdef CO_ASAN
	__sanitizer_start_switch_fiber(last ? NULL : &from->fake, to->bottom, to->size);
#endif
	co_stack_swap(&from->sp, to->sp);
#ifdef CO_ASAN
	__sanitizer_finish_switch_fiber(from->fake, NULL, NULL);
#endif
}

/* The first frame of a coroutine; it never returns. */
static void trampoline(void)
{
	struct co *co = current;

#ifdef CO_ASAN
	__sanitizer_finish_switch_fiber(NULL, &co->caller->bottom, &co->caller->size);
#endif
	co->fn(co->arg);
	co->ended = true;
	swap(&co->stack, co->caller, true);
	abort();
}

static struct co *stack_new(void)
{
	char *map = mmap(NULL, GUARD_BYTES + CO_STACK_BYTES, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

	/* Of program size, like any small allocation: nothing sensible can be done without. */
	if (map == MAP_FAILED || mprotect(map, GUARD_BYTES, PROT_NONE) < 0)
		abort();
	return (struct co *)(map + GUARD_BYTES + CO_STACK_BYTES -
			     bits_align_up(sizeof(struct co), 64));
}

static char *stack_bottom(struct co *co)
{
	return (char *)co + bits_align_up(sizeof(struct co), 64) - CO_STACK_BYTES;
}

static void stack_free(struct co *co)
{
	munmap(stack_bottom(co) - GUARD_BYTES, GUARD_BYTES + CO_STACK_BYTES);
}

void co_stacks_free(struct disk_ctx *ctx)
{
	while (ctx->free_stacks) {
		struct co *co = ctx->free_stacks;

		ctx->free_stacks = co->next;
		stack_free(co);
	}
	ctx->free_count = 0;
}

/* Where trampoline() begins: as if its frame had been left by co_stack_swap(). */
static void prepare(struct co *co)
{
	void **top = (void **)co;

	*--top = NULL; /* the return address of trampoline(); keeps the ABI's alignment */
	*--top = (void *)trampoline;
	for (int i = 0; i < 6; i++)
		*--top = NULL;
	co->stack.sp = top;
	co->stack.bottom = stack_bottom(co);
	co->stack.size = (size_t)((char *)co - stack_bottom(co));
}

static void put_back(struct disk_ctx *ctx, struct co *co)
{
	ctx->coroutines--;
	if (ctx->free_count == CO_STACKS_KEPT) {
		stack_free(co);
		return;
	}
	co->next = ctx->free_stacks;
	ctx->free_stacks = co;
	ctx->free_count++;
}

void co_enter(struct co *co)
{
	struct co *before = current;
	struct disk_ctx *ctx = co->ctx;
	struct co_stack *caller = before ? &before->stack : &ctx->self.stack;

	co->caller = caller;
	current = co;
	swap(caller, &co->stack, false);
	current = before;
	if (co->ended)
		put_back(ctx, co);
}

void co_spawn(struct disk_ctx *ctx, co_fn *fn, void *arg)
{
	struct co *co = ctx->free_stacks;

	if (co) {
		ctx->free_stacks = co->next;
		ctx->free_count--;
	} else {
		co = stack_new();
	}
	*co = (struct co){.ctx = ctx, .fn = fn, .arg = arg};
	prepare(co);
	ctx->coroutines++;
	co_enter(co);
}

void co_thread_set(struct disk_ctx *ctx)
{
	assert(!ctx || !thread_ctx);
	thread_ctx = ctx;
}

struct co *co_self(void)
{
	return current ? current : &thread_ctx->self;
}

bool co_inside(void)
{
	return current != NULL;
}

void co_wait(void)
{
	struct co *co = co_self();

	co->waiting = true;
	if (current) {
		swap(&co->stack, co->caller, false);
		return;
	}
	while (co->waiting)
		disk_ctx_wait(co->ctx);
}

void co_wake(struct co *co)
{
	struct disk_ctx *ctx = co->ctx;

	if (!co->waiting || co->ready)
		return;
	if (co == &ctx->self) {
		co->waiting = false;
		return;
	}
	co->ready = true;
	co->next = NULL;
	if (ctx->ready_last)
		ctx->ready_last->next = co;
	else
		ctx->ready_first = co;
	ctx->ready_last = co;
}

bool co_run_ready(struct disk_ctx *ctx)
{
	bool any = false;

	while (ctx->ready_first) {
		struct co *co = ctx->ready_first;

		ctx->ready_first = co->next;
		if (!co->next)
			ctx->ready_last = NULL;
		co->ready = co->waiting = false;
		any = true;
		co_enter(co);
	}
	return any;
}

void co_turn(void)
{
	struct co *co = co_self();

	if (!current) {
		disk_ctx_poll(co->ctx);
		return;
	}
	co->waiting = true;
	co_wake(co);
	swap(&co->stack, co->caller, false);
}

void co_queue_wait(struct co_queue *q)
{
	struct co *co = co_self();

	co->next = NULL;
	if (q->last)
		q->last->next = co;
	else
		q->first = co;
	q->last = co;
	co_wait();
}

bool co_queue_wake(struct co_queue *q)
{
	struct co *co = q->first;

	if (!co)
		return false;
	q->first = co->next;
	if (!q->first)
		q->last = NULL;
	co_wake(co);
	return true;
}

void co_queue_wake_all(struct co_queue *q)
{
	while (co_queue_wake(q))
		;
}

/* An unlock hands the lock over, so that nobody can take it before the one who waits. */
void co_lock(struct co_mutex *m)
{
	if (m->held)
		co_queue_wait(&m->waiting);
	m->held = true;
}

void co_unlock(struct co_mutex *m)
{
	assert(m->held);
	if (!co_queue_wake(&m->waiting))
		m->held = false;
}

void co_group_end(struct co_group *g)
{
	assert(g->running);
	if (!--g->running)
		co_queue_wake_all(&g->waiting);
}

void co_group_wait(struct co_group *g)
{
	while (g->running)
		co_queue_wait(&g->waiting);
}

void co_op_wait(struct co_op *op)
{
	while (!op->done)
		co_wait();
}

void co_op_done(struct co_op *op, int result)
{
	op->result = result;
	op->done = true;
	if (op->co)
		co_wake(op->co);
}
