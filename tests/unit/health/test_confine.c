/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a confined process can still do: each test runs its code in a child that has given up its
 * rights as the probe process does. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lbd/health/confine.h"
#include "lbd/health/worker.h"
#include "lbd/host/host.h"

#define COULD_NOT_CONFINE 99
#define KILLED_BY(signal) (1000 + (signal))

static int listener; /* TCP on the loopback */
static uint16_t listener_port;

/* What the code returns in a confined child, or KILLED_BY. */
static int confined(int code(void))
{
	struct error err;
	int status;
	pid_t pid = fork();

	if (!pid) {
		if (confine_rights(&err) || confine_calls(&err))
			_exit(COULD_NOT_CONFINE);
		_exit(code());
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? KILLED_BY(WTERMSIG(status)) : WEXITSTATUS(status);
}

/* The errno of a call that returned -1, else 0. */
static int error_of(long result)
{
	return result < 0 ? errno : 0;
}

/* ---- what probes need ---- */

static int talk_over_tcp(void)
{
	static const struct linger reset = {.l_onoff = 1};
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				 .sin_port = htons(listener_port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
	struct pollfd ready = {.fd = fd, .events = POLLOUT};

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)))
		return 1;
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) && errno != EINPROGRESS)
		return 2;
	if (poll(&ready, 1, -1) != 1 || send(fd, "x", 1, MSG_NOSIGNAL) != 1)
		return 3;
	return close(fd) ? 4 : 0;
}

static int open_tcp6(void)
{
	return error_of(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP));
}

static int use_memory(void)
{
	char *large = malloc(64 << 20), *larger;

	if (!large)
		return 1;
	memset(large, 1, 64 << 20);
	larger = realloc(large, 128 << 20);
	free(larger);
	return !larger;
}

static void probes_can_connect_send_and_allocate(void **state)
{
	assert_int_equal(confined(talk_over_tcp), 0);
	assert_int_equal(confined(open_tcp6), 0);
	assert_int_equal(confined(use_memory), 0);
}

/* ---- sockets ---- */

static int open_packet(void)
{
	return error_of(socket(AF_PACKET, SOCK_RAW, 0));
}

static int open_unix(void)
{
	return error_of(socket(AF_UNIX, SOCK_STREAM, 0));
}

static int open_netlink(void)
{
	return error_of(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
}

static int open_raw(void)
{
	return error_of(socket(AF_INET, SOCK_RAW, IPPROTO_TCP));
}

static int open_udp(void)
{
	return error_of(socket(AF_INET, SOCK_DGRAM, 0));
}

static int open_sctp(void)
{
	return error_of(socket(AF_INET, SOCK_STREAM, IPPROTO_SCTP));
}

static int make_pair(void)
{
	int fds[2];

	return error_of(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
}

static void only_tcp_sockets_can_be_opened(void **state)
{
	assert_int_equal(confined(open_packet), EPERM);
	assert_int_equal(confined(open_unix), EPERM);
	assert_int_equal(confined(open_netlink), EPERM);
	assert_int_equal(confined(open_raw), EPERM);
	assert_int_equal(confined(open_udp), EPERM);
	assert_int_equal(confined(open_sctp), EPERM);
	assert_int_equal(confined(make_pair), EPERM);
}

static int bind_socket(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET};

	return error_of(bind(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&at, sizeof(at)));
}

static int listen_on_socket(void)
{
	return error_of(listen(socket(AF_INET, SOCK_STREAM, 0), 1));
}

static int accept_connection(void)
{
	return error_of(accept4(listener, NULL, NULL, SOCK_NONBLOCK));
}

static int send_descriptor(void)
{
	struct msghdr message = {0};

	return error_of(sendmsg(listener, &message, 0));
}

static int mark_socket(void)
{
	int mark = 1;

	return error_of(
	    setsockopt(socket(AF_INET, SOCK_STREAM, 0), SOL_SOCKET, SO_MARK, &mark, sizeof(mark)));
}

static int receive_from(int fd)
{
	struct msghdr message = {0};

	return error_of(recvmsg(fd, &message, MSG_DONTWAIT));
}

static int receive_descriptor(void)
{
	return receive_from(listener);
}

/* There is no socket here: only the filter is asked. */
static int receive_from_lbd(void)
{
	close(WORKER_FD);
	return receive_from(WORKER_FD);
}

static void messages_with_descriptors_come_from_lbd_alone(void **state)
{
	assert_int_not_equal(listener, WORKER_FD);
	assert_int_equal(confined(receive_descriptor), EPERM);
	assert_int_equal(confined(receive_from_lbd), EBADF);
}

static void nothing_can_be_served_and_no_descriptor_passed(void **state)
{
	assert_int_equal(confined(bind_socket), EPERM);
	assert_int_equal(confined(listen_on_socket), EPERM);
	assert_int_equal(confined(accept_connection), EPERM);
	assert_int_equal(confined(send_descriptor), EPERM);
	assert_int_equal(confined(mark_socket), EPERM);
}

/* ---- files ---- */

static int open_to_write(void)
{
	return error_of(open("/tmp", O_TMPFILE | O_WRONLY, 0600));
}

static int open_to_read(void)
{
	return error_of(open("/etc/passwd", O_RDONLY));
}

static int open_own_memory(void)
{
	return error_of(syscall(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDWR));
}

static int remove_file(void)
{
	return error_of(unlink("/tmp/does-not-exist"));
}

static int change_directory(void)
{
	return error_of(chdir("/"));
}

static int control_device(void)
{
	return error_of(syscall(SYS_ioctl, 0, 0x5412 /* TIOCSTI */, ""));
}

static void no_file_can_be_opened_or_changed(void **state)
{
	assert_int_equal(confined(open_to_write), EPERM);
	assert_int_equal(confined(open_to_read), EPERM);
	assert_int_equal(confined(open_own_memory), EPERM);
	assert_int_equal(confined(remove_file), EPERM);
	assert_int_equal(confined(change_directory), EPERM);
	assert_int_equal(confined(control_device), EPERM);
}

/* ---- processes ---- */

/* A process that does not exist: a call that is allowed would fail with ESRCH. */
#define NOBODY_PID 4194303

static int signal_process(void)
{
	return error_of(kill(NOBODY_PID, 0));
}

static int signal_thread(void)
{
	return error_of(syscall(SYS_tgkill, NOBODY_PID, NOBODY_PID, 0));
}

static int start_thread(void)
{
	return error_of(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
}

static int start_thread_another_way(void)
{
	return error_of(syscall(SYS_clone3, NULL, 0));
}

static int raise_limits(void)
{
	struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};

	return error_of(setrlimit(RLIMIT_CORE, &limit));
}

static int become_root(void)
{
	return error_of(setuid(0));
}

static int trace_again(void)
{
	return error_of(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
}

static void no_process_can_be_started_or_signalled(void **state)
{
	assert_int_equal(confined(signal_process), EPERM);
	assert_int_equal(confined(signal_thread), EPERM);
	assert_int_equal(confined(start_thread), EPERM);
	assert_int_equal(confined(start_thread_another_way), EPERM);
	assert_int_equal(confined(raise_limits), EPERM);
	assert_int_equal(confined(become_root), EPERM);
	assert_int_equal(confined(trace_again), EPERM);
}

static int map_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0) == MAP_FAILED
		   ? errno
		   : 0;
}

static int make_code(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return page == MAP_FAILED ? 0 : error_of(mprotect(page, 4096, PROT_READ | PROT_EXEC));
}

static void no_memory_can_be_made_executable(void **state)
{
	assert_int_equal(confined(map_code), EPERM);
	assert_int_equal(confined(make_code), EPERM);
}

/* ---- what ends the process ---- */

static int load_bpf(void)
{
	union bpf_attr attr = {.map_type = BPF_MAP_TYPE_ARRAY};

	return error_of(syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr)));
}

static int run_program(void)
{
	return error_of(execl("/bin/true", "true", NULL));
}

static int run_program_by_descriptor(void)
{
	return error_of(syscall(SYS_execveat, 0, "", NULL, NULL, AT_EMPTY_PATH));
}

static int trace_parent(void)
{
	return error_of(ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
}

static int make_namespace(void)
{
	return error_of(unshare(CLONE_NEWUSER));
}

static int set_up_uring(void)
{
	return error_of(syscall(SYS_io_uring_setup, 1, NULL));
}

static void calls_that_only_an_intruder_makes_end_the_process(void **state)
{
	assert_int_equal(confined(load_bpf), KILLED_BY(SIGSYS));
	assert_int_equal(confined(run_program), KILLED_BY(SIGSYS));
	assert_int_equal(confined(run_program_by_descriptor), KILLED_BY(SIGSYS));
	assert_int_equal(confined(trace_parent), KILLED_BY(SIGSYS));
	assert_int_equal(confined(make_namespace), KILLED_BY(SIGSYS));
	assert_int_equal(confined(set_up_uring), KILLED_BY(SIGSYS));
}

static int abort_itself(void)
{
	abort();
}

/* So that lbd's log says what happened. */
static void abort_is_seen_as_such(void **state)
{
	assert_int_equal(confined(abort_itself), KILLED_BY(SIGABRT));
}

/* As in lbd's systemd unit: the calls seccomp and setresuid are refused, prctl is not. Not by
 * libseccomp, which would remember in this process that the call works. */
static int refuse_as_the_unit_does(void)
{
	static struct sock_filter code[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_seccomp, 2, 0),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_setresuid, 1, 0),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
	};
	static const struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static int confine_where_seccomp_is_refused(void)
{
	struct error err;

	if (refuse_as_the_unit_does())
		return COULD_NOT_CONFINE;
	if (confine_rights(&err))
		return 1;
	if (confine_calls(&err))
		return 2;
	if (open_unix() != EPERM)
		return 3;
	load_bpf(); /* ends it */
	return 4;
}

static void units_own_filter_does_not_keep_it_from_being_confined(void **state)
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(confine_where_seccomp_is_refused());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
}

/* ---- the user ---- */

/* The user of a root's process that is confined without a capability; -1: it could not be. */
static int user_without(unsigned capability)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct has[2];
	struct error err;

	if (syscall(SYS_capget, &header, has))
		return -1;
	has[CAP_TO_INDEX(capability)].effective &= ~CAP_TO_MASK(capability);
	has[CAP_TO_INDEX(capability)].permitted &= ~CAP_TO_MASK(capability);
	if (syscall(SYS_capset, &header, has) || confine_rights(&err))
		return -1;
	return (int)geteuid();
}

static int confine_without_cap_kill(void)
{
	return user_without(CAP_KILL) != 0;
}

static int confine_without_cap_chown(void)
{
	return user_without(CAP_CHOWN) != RIGHTS_USER;
}

static int run(int code(void))
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(code());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? KILLED_BY(WTERMSIG(status)) : WEXITSTATUS(status);
}

static void a_process_that_lbd_could_not_end_keeps_its_user(void **state)
{
	if (geteuid()) {
		print_message("# skip: needs root\n");
		skip();
	}
	assert_int_equal(run(confine_without_cap_chown), 0);
	assert_int_equal(run(confine_without_cap_kill), 0);
}

/* ---- setup ---- */

static int start_listener(void **state)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(at);

	listener = fcntl(socket(AF_INET, SOCK_STREAM, 0), F_DUPFD, WORKER_FD + 1);
	if (bind(listener, (struct sockaddr *)&at, sizeof(at)) || listen(listener, 16) ||
	    getsockname(listener, (struct sockaddr *)&at, &length))
		return -1;
	listener_port = ntohs(at.sin_port);
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(probes_can_connect_send_and_allocate),
	    cmocka_unit_test(only_tcp_sockets_can_be_opened),
	    cmocka_unit_test(messages_with_descriptors_come_from_lbd_alone),
	    cmocka_unit_test(nothing_can_be_served_and_no_descriptor_passed),
	    cmocka_unit_test(no_file_can_be_opened_or_changed),
	    cmocka_unit_test(no_process_can_be_started_or_signalled),
	    cmocka_unit_test(a_process_that_lbd_could_not_end_keeps_its_user),
	    cmocka_unit_test(no_memory_can_be_made_executable),
	    cmocka_unit_test(calls_that_only_an_intruder_makes_end_the_process),
	    cmocka_unit_test(abort_is_seen_as_such),
	    cmocka_unit_test(units_own_filter_does_not_keep_it_from_being_confined),
	};

	return cmocka_run_group_tests(tests, start_listener, NULL);
}
