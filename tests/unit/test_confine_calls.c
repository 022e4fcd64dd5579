/*
 * test_confine_calls.c - the filter of system calls, caught on its way to the
 * kernel and tried with each number there is.
 */
#include "drive.h"

#include <stdarg.h>

#include "system/confine.h"

#if defined(__linux__) && \
    (defined(__x86_64__) || defined(__aarch64__))
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#define OTHER_ARCH AUDIT_ARCH_I386
#else
#define ARCH AUDIT_ARCH_AARCH64
#define OTHER_ARCH AUDIT_ARCH_ARM
#endif
#define DENY (SECCOMP_RET_ERRNO | EPERM)
#define X32 0x40000000U
#define NUMBERS_MAX 1024U

/* What nobody may call, whatever is set: said once more, for the filter is to
 * be held to it. */
static const unsigned denied[] = {
	SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_bpf,
	SYS_perf_event_open, SYS_userfaultfd, SYS_keyctl, SYS_add_key,
	SYS_request_key, SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot,
	SYS_unshare, SYS_setns, SYS_init_module, SYS_finit_module,
	SYS_delete_module, SYS_kexec_load, SYS_open_by_handle_at, SYS_acct,
	SYS_swapon, SYS_swapoff, SYS_reboot, SYS_quotactl, SYS_settimeofday,
	SYS_clock_settime, SYS_personality, SYS_execve, SYS_execveat,
	SYS_kill, SYS_tkill, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo,
#ifdef SYS_io_uring_setup
	SYS_io_uring_setup,
#endif
#ifdef SYS_pidfd_getfd
	SYS_pidfd_getfd,
#endif
#ifdef SYS_move_mount
	SYS_move_mount, SYS_fsopen, SYS_open_tree,
#endif
#ifdef SYS_process_madvise
	SYS_process_madvise,
#endif
#ifdef SYS_pidfd_send_signal
	SYS_pidfd_send_signal,
#endif
#ifdef SYS_fork
	SYS_fork, SYS_vfork,
#endif
};

static struct sock_filter filter[BPF_MAXINSNS];
static size_t filter_len;
static bool no_new_privileges;
static int failing; /* the option whose prctl(2) fails, */
static int failure; /* and its errno */

int __wrap_prctl(int option, ...);

/* The one call that loads it. */
int
__wrap_prctl(int option, ...)
{
	va_list args;

	va_start(args, option);
	unsigned long mode = va_arg(args, unsigned long);
	const struct sock_fprog *program = option == PR_SET_SECCOMP
	    ? va_arg(args, const struct sock_fprog *) : NULL;
	va_end(args);
	if (option == failing) {
		errno = failure;
		return -1;
	}
	if (option == PR_SET_NO_NEW_PRIVS) {
		no_new_privileges = true;
	} else {
		assert_int_equal(option, PR_SET_SECCOMP);
		assert_int_equal(mode, SECCOMP_MODE_FILTER);
		assert_true(no_new_privileges);
		assert_in_range(program->len, 1, BPF_MAXINSNS);
		filter_len = program->len;
		memcpy(filter, program->filter,
		    filter_len * sizeof(filter[0]));
	}
	return 0;
}

/* What the kernel would do with that call, as
 * Documentation/networking/filter.rst has it. */
static uint32_t
judge(uint32_t arch, unsigned number, uint32_t first_argument)
{
	const struct seccomp_data data = { .arch = arch, .nr = (int)number,
		.args = { first_argument } };
	uint32_t a = 0;

	for (size_t at = 0; at < filter_len; at++) {
		const struct sock_filter *step = &filter[at];

		switch (step->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			assert_true(step->k + sizeof(a) <= sizeof(data));
			memcpy(&a, (const char *)&data + step->k, sizeof(a));
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			at += a == step->k ? step->jt : step->jf;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			at += a >= step->k ? step->jt : step->jf;
			break;
		case BPF_JMP | BPF_JSET | BPF_K:
			at += (a & step->k) != 0 ? step->jt : step->jf;
			break;
		case BPF_RET | BPF_K:
			return step->k;
		default:
			fail_msg("instruction %#x", step->code);
		}
	}
	fail_msg("system call %u: the filter has no end", number);
	return 0;
}

static void
load(bool network)
{
	struct confine confine = { .network = network };
	struct error error;

	no_new_privileges = false;
	assert_int_equal(confine_calls(&confine, &error), CONFINE_DONE);
}

/* Of calls whose arguments decide: the answer to that one. */
static uint32_t
answer_to(unsigned number, uint32_t argument, bool network)
{
	uint32_t self = (uint32_t)getpid();

	for (size_t i = 0; i < sizeof(denied) / sizeof(denied[0]); i++)
		if (number == denied[i])
			return DENY;
	switch (number) {
#ifndef __SANITIZE_ADDRESS__
	case SYS_clone:
		return (argument & CLONE_THREAD) != 0 ? SECCOMP_RET_ALLOW
		                                      : DENY;
#ifdef SYS_clone3
	case SYS_clone3:
		return SECCOMP_RET_ERRNO | ENOSYS;
#endif
#endif
	/* tgkill(2) takes no 0 for itself, but for an error. */
	case SYS_tgkill:
	case SYS_prlimit64:
		return argument == self || argument == 0 ? SECCOMP_RET_ALLOW
		                                         : DENY;
	case SYS_socket:
		return network || argument == AF_UNIX ? SECCOMP_RET_ALLOW
		                                      : DENY;
	default:
		return SECCOMP_RET_ALLOW;
	}
}

static void
test_every_number(void **state)
{
	const uint32_t arguments[] = { 0, AF_UNIX, AF_INET, AF_INET6,
		CLONE_THREAD, CLONE_THREAD | CLONE_VM, CLONE_VM, 0xffffffff,
		(uint32_t)getpid(), (uint32_t)getppid() };

	(void)state;
	for (int network = 0; network <= 1; network++) {
		load(network);
		for (unsigned number = 0; number < NUMBERS_MAX; number++)
			for (size_t i = 0; i < sizeof(arguments) /
			    sizeof(arguments[0]); i++) {
				uint32_t said = judge(ARCH, number,
				    arguments[i]);

				if (said != answer_to(number, arguments[i],
				    network))
					fail_msg("system call %u(%u): %#x",
					    number, arguments[i], said);
			}
	}
}

/* Other numbers for the same calls. */
static void
test_other_numbers(void **state)
{
	(void)state;
	load(true);
	for (unsigned number = 0; number < NUMBERS_MAX; number++) {
		assert_int_equal(judge(ARCH, X32 + number, 0), DENY);
		assert_int_equal(judge(OTHER_ARCH, number, 0),
		    SECCOMP_RET_KILL);
	}
	assert_int_equal(judge(ARCH, UINT32_MAX, 0), DENY);
	assert_int_equal(judge(ARCH, X32 - 1, 0), SECCOMP_RET_ALLOW);
}

/* A kernel without it is told from one that does not let us have it. */
static void
test_refused(void **state)
{
	static const struct { int option, failure, result; } rows[] = {
		{ PR_SET_NO_NEW_PRIVS, EPERM, -1 },
		{ PR_SET_NO_NEW_PRIVS, EINVAL, -1 },
		{ PR_SET_SECCOMP, EPERM, -1 },
		{ PR_SET_SECCOMP, EINVAL, CONFINE_MISSING },
	};
	struct confine confine = { .network = false };

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct error error = { .text = "" };

		failing = rows[i].option;
		failure = rows[i].failure;
		assert_int_equal(confine_calls(&confine, &error),
		    rows[i].result);
		if (rows[i].result == -1) {
			assert_int_equal(error.kind, ERROR_SYSTEM);
			assert_int_equal(error.errnum, rows[i].failure);
		}
	}
	failing = 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_every_number),
		cmocka_unit_test(test_other_numbers),
	};

	return cmocka_run_group_tests_name("confine_calls", tests, NULL, NULL);
}
#else
int
main(void)
{
	return 0;
}
#endif
