/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Gives up user, capabilities, resources and system calls. */
#include "confine.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lbd/host/host.h"
#include "worker.h"

/* ---- rights ---- */

/* The limit of open files stays as lbd has raised it. */
static int limit_resources(struct error *err)
{
	static const struct {
		const char *name;
		__rlimit_resource_t resource;
	} nothing[] = {
	    {"core files", RLIMIT_CORE},         {"size of files", RLIMIT_FSIZE},
	    {"processes", RLIMIT_NPROC},         {"locked memory", RLIMIT_MEMLOCK},
	    {"message queues", RLIMIT_MSGQUEUE}, {"real-time priority", RLIMIT_RTPRIO},
	};
	static const struct rlimit zero;

	for (unsigned i = 0; i < sizeof(nothing) / sizeof(nothing[0]); i++)
		if (setrlimit(nothing[i].resource, &zero))
			return error_set(err, -errno, "limit of %s: %s", nothing[i].name,
					 strerror(errno));
	return 0;
}

int confine_rights(struct error *err)
{
	int rc = rights_give_up(err);

	return rc ? rc : limit_resources(err);
}

/* ---- system calls ---- */

/* What libevent, libcurl, OpenSSL and glibc's malloc use once they are set up. Those that a CPU
 * does not have are ignored. */
static const int allowed[] = {
    /* sockets that are open */
    SCMP_SYS(connect), SCMP_SYS(getpeername), SCMP_SYS(getsockname), SCMP_SYS(getsockopt),
    SCMP_SYS(recvfrom), SCMP_SYS(sendto), SCMP_SYS(shutdown),
    /* descriptors that are open */
    SCMP_SYS(close), SCMP_SYS(read), SCMP_SYS(readv), SCMP_SYS(write), SCMP_SYS(writev),
    SCMP_SYS(fstat),
    /* the loop */
    SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_pwait2), SCMP_SYS(epoll_wait),
    SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(select), SCMP_SYS(pselect6),
    SCMP_SYS(timerfd_settime),
    /* time */
    SCMP_SYS(clock_getres), SCMP_SYS(clock_gettime), SCMP_SYS(clock_nanosleep),
    SCMP_SYS(gettimeofday), SCMP_SYS(nanosleep), SCMP_SYS(time),
    /* memory; for mmap and mprotect see below */
    SCMP_SYS(brk), SCMP_SYS(madvise), SCMP_SYS(mremap), SCMP_SYS(munmap),
    /* the process itself */
    SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(futex), SCMP_SYS(getpid), SCMP_SYS(getppid),
    SCMP_SYS(gettid), SCMP_SYS(getrandom), SCMP_SYS(geteuid), SCMP_SYS(getuid), SCMP_SYS(getegid),
    SCMP_SYS(getgid), SCMP_SYS(membarrier), SCMP_SYS(restart_syscall), SCMP_SYS(rseq),
    SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sched_getaffinity), SCMP_SYS(sched_yield), SCMP_SYS(sigaltstack), SCMP_SYS(sysinfo),
    SCMP_SYS(uname)};

/* No library tries these and goes on without: who makes them has taken the process over. The thread
 * is the whole process. (SCMP_ACT_KILL_PROCESS is refused where the unit's own filter keeps
 * libseccomp from asking the kernel for it.) */
static const int fatal[] = {SCMP_SYS(execve),
			    SCMP_SYS(execveat),
			    SCMP_SYS(fork),
			    SCMP_SYS(vfork),
			    SCMP_SYS(ptrace),
			    SCMP_SYS(process_vm_readv),
			    SCMP_SYS(process_vm_writev),
			    SCMP_SYS(bpf),
			    SCMP_SYS(perf_event_open),
			    SCMP_SYS(userfaultfd),
			    SCMP_SYS(mount),
			    SCMP_SYS(unshare),
			    SCMP_SYS(setns),
			    SCMP_SYS(init_module),
			    SCMP_SYS(finit_module),
			    SCMP_SYS(kexec_load),
			    SCMP_SYS(open_by_handle_at),
			    SCMP_SYS(io_uring_setup),
			    SCMP_SYS(keyctl),
			    SCMP_SYS(add_key)};

static int add_list(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t count)
{
	int rc = 0;

	for (size_t i = 0; i < count && !rc; i++)
		rc = seccomp_rule_add(filter, action, calls[i], 0);
	return rc;
}

/* TCP over IPv4 or IPv6: no socket of the host's (AF_UNIX), no netlink, no raw packets. */
static int add_sockets(scmp_filter_ctx filter)
{
	static const scmp_datum_t families[] = {AF_INET, AF_INET6}, protocols[] = {0, IPPROTO_TCP};
	int rc = 0;

	for (unsigned i = 0; i < 4 && !rc; i++)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 3,
				      SCMP_A0(SCMP_CMP_EQ, families[i / 2]),
				      SCMP_A1(SCMP_CMP_MASKED_EQ,
					      ~(scmp_datum_t)(SOCK_CLOEXEC | SOCK_NONBLOCK),
					      SOCK_STREAM),
				      SCMP_A2(SCMP_CMP_EQ, protocols[i % 2]));
	return rc;
}

/* Descriptors come from lbd alone. */
static int add_messages_of_lbd(scmp_filter_ctx filter)
{
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(recvmsg), 1,
				SCMP_A0(SCMP_CMP_EQ, WORKER_FD));
}

static int add_options_of_sockets(scmp_filter_ctx filter)
{
	static const struct {
		scmp_datum_t level, name;
	} options[] = {{SOL_SOCKET, SO_LINGER}, {SOL_SOCKET, SO_KEEPALIVE}, {SOL_TCP, TCP_NODELAY}};
	int rc = 0;

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]) && !rc; i++)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(setsockopt), 2,
				      SCMP_A1(SCMP_CMP_EQ, options[i].level),
				      SCMP_A2(SCMP_CMP_EQ, options[i].name));
	return rc;
}

static int add_flags_of_descriptors(scmp_filter_ctx filter)
{
	static const scmp_datum_t commands[] = {F_GETFD, F_SETFD, F_GETFL, F_SETFL};
	int rc = 0;

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]) && !rc; i++)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
				      SCMP_A1(SCMP_CMP_EQ, commands[i]));
	return rc;
}

static int add_memory(scmp_filter_ctx filter)
{
	static const int calls[] = {SCMP_SYS(mmap), SCMP_SYS(mprotect)};
	int rc = 0;

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]) && !rc; i++)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 1,
				      SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	return rc;
}

/* So that abort() ends the process with its own signal; no signal to another. */
static int add_signal_to_itself(scmp_filter_ctx filter)
{
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
				SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
}

static int add_rules(scmp_filter_ctx filter)
{
	static int (*const conditions[])(scmp_filter_ctx filter) = {
	    add_sockets, add_messages_of_lbd, add_options_of_sockets, add_flags_of_descriptors,
	    add_memory,  add_signal_to_itself};
	int rc = add_list(filter, SCMP_ACT_ALLOW, allowed, sizeof(allowed) / sizeof(allowed[0]));

	if (!rc)
		rc =
		    add_list(filter, SCMP_ACT_KILL_THREAD, fatal, sizeof(fatal) / sizeof(fatal[0]));
	for (size_t i = 0; i < sizeof(conditions) / sizeof(conditions[0]) && !rc; i++)
		rc = conditions[i](filter);
	return rc;
}

int confine_calls(struct error *err)
{
	/* System calls of another architecture (32 bits on x86-64, x32) end the process: the
	 * default of libseccomp. */
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int rc;

	if (!filter)
		return error_set(err, -ENOMEM, "seccomp: out of memory");
	rc = add_rules(filter);
	if (!rc)
		rc = seccomp_load(filter);
	seccomp_release(filter);
	return rc ? error_set(err, rc, "seccomp: %s", strerror(-rc)) : 0;
}
