/*
 * confine_calls.c - which system calls stay, by seccomp.
 */
#include "system/confine.h"

#if defined(__linux__) && \
    (defined(__x86_64__) || defined(__aarch64__))
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#else
#define ARCH AUDIT_ARCH_AARCH64
#endif

/* What nothing here has a use for, whatever is configured. */
static const unsigned always[] = {
	SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_bpf,
	SYS_perf_event_open, SYS_userfaultfd, SYS_keyctl, SYS_add_key,
	SYS_request_key, SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot,
	SYS_unshare, SYS_setns, SYS_init_module, SYS_finit_module,
	SYS_delete_module, SYS_kexec_load, SYS_open_by_handle_at, SYS_acct,
	SYS_swapon, SYS_swapoff, SYS_reboot, SYS_quotactl, SYS_settimeofday,
	SYS_clock_settime, SYS_personality,
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
	/* Starting programs, and signals to others (and put_others). */
	SYS_execve, SYS_execveat, SYS_kill, SYS_tkill, SYS_rt_sigqueueinfo,
	SYS_rt_tgsigqueueinfo,
#ifdef SYS_pidfd_send_signal
	SYS_pidfd_send_signal,
#endif
#ifdef SYS_fork
	SYS_fork, SYS_vfork,
#endif
};
#define N_ALWAYS (sizeof(always) / sizeof(always[0]))

/* Numbers that are looked at together. */
#define GROUP 64U
/* Whatever their numbers, each has one place and each group three. */
#define FILTER_MAX (32 + N_ALWAYS + 3 * N_ALWAYS)

#define LOAD(member) \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, \
	    offsetof(struct seccomp_data, member))
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, value)
#define DENY (SECCOMP_RET_ERRNO | EPERM)

#ifndef __SANITIZE_ADDRESS__
/* Threads stay: mail is counted and names are asked for in some. clone3(2) has
 * its flags where no filter sees them; without it the C library uses
 * clone(2). */
static size_t
put_threads(struct sock_filter *filter)
{
	const struct sock_filter part[] = {
#ifdef SYS_clone3
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
		RETURN(SECCOMP_RET_ERRNO | ENOSYS),
#endif
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 4),
		LOAD(args[0]),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 1, 0),
		RETURN(DENY),
		LOAD(nr),
	};

	memcpy(filter, part, sizeof(part));
	return sizeof(part) / sizeof(part[0]);
}
#endif

/* Calls that are for ourselves, as abort(3) and getrlimit(2) make them, and
 * not for other processes. */
static size_t
put_others(struct sock_filter *filter)
{
	const struct sock_filter part[] = {
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_tgkill, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prlimit64, 0, 5),
		LOAD(args[0]),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)getpid(), 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
		RETURN(DENY),
		LOAD(nr),
	};

	memcpy(filter, part, sizeof(part));
	return sizeof(part) / sizeof(part[0]);
}

/* Sockets of the file system are the log's. */
static size_t
put_sockets(struct sock_filter *filter)
{
	const struct sock_filter part[] = {
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3),
		LOAD(args[0]),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_UNIX, 1, 0),
		RETURN(DENY),
	};

	memcpy(filter, part, sizeof(part));
	return sizeof(part) / sizeof(part[0]);
}

/*
 * Denies those of always whose numbers are in the group, and lets the others
 * in it go. The kernel tries each number there is when a filter is loaded,
 * for every session: a chain of all would take it three times as long.
 */
static size_t
put_group(struct sock_filter *filter, unsigned group)
{
	size_t found = 0, n = 1;

	for (size_t i = 0; i < N_ALWAYS; i++)
		found += always[i] / GROUP == group;
	if (found == 0)
		return 0;
	filter[0] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K,
	    group * GROUP, 0, (unsigned char)(found + 2));
	/* Each jumps behind the others, and over ALLOW. */
	for (size_t i = 0; i < N_ALWAYS; i++) {
		if (always[i] / GROUP != group)
			continue;
		filter[n] = (struct sock_filter)BPF_JUMP(
		    BPF_JMP | BPF_JEQ | BPF_K, always[i],
		    (unsigned char)(found + 1 - n), 0);
		n++;
	}
	filter[n++] = (struct sock_filter)RETURN(SECCOMP_RET_ALLOW);
	filter[n++] = (struct sock_filter)RETURN(DENY);
	return n;
}

/* From the highest group down: a number that is not below it is in it, or has
 * been let go. */
static size_t
put_always(struct sock_filter *filter)
{
	unsigned highest = 0;
	size_t n = 0;

	for (size_t i = 0; i < N_ALWAYS; i++)
		if (always[i] > highest)
			highest = always[i];
	for (unsigned group = highest / GROUP + 1; group-- > 0;)
		n += put_group(filter + n, group);
	filter[n++] = (struct sock_filter)RETURN(SECCOMP_RET_ALLOW);
	return n;
}

int
confine_calls(const struct confine *confine, struct error *error)
{
	struct sock_filter filter[FILTER_MAX] = {
		LOAD(arch),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0),
		RETURN(SECCOMP_RET_KILL),
		LOAD(nr),
		/* x32 has numbers of its own, from here on. */
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1),
		RETURN(DENY),
	};
	size_t n = 6;

	if (confine->nothing)
		return CONFINE_DONE;
#ifndef __SANITIZE_ADDRESS__
	n += put_threads(filter + n);
#endif
	n += put_others(filter + n);
	if (!confine->network)
		n += put_sockets(filter + n);
	n += put_always(filter + n);
	const struct sock_fprog program = { (unsigned short)n, filter };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return error_system(error, errno, "seccomp");
	/* By prctl, which every sandbox allows, and not by seccomp(2). */
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0)
		return CONFINE_DONE;
	if (errno == EINVAL)
		return CONFINE_MISSING;
	return error_system(error, errno, "seccomp");
}
#else
int
confine_calls(const struct confine *confine, struct error *error)
{
	(void)confine, (void)error;
	return CONFINE_MISSING;
}
#endif
