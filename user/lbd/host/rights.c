/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Gives up user and capabilities. */
#include "rights.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* When memory runs out the kernel ends this process before lbd: it is started again. Raising the
 * value needs no capability. Without /proc it stays as inherited. */
static void go_first_without_memory(void)
{
	static const char score[] = "500";
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)!write(fd, score, sizeof(score) - 1);
	close(fd);
}

static bool is_not_permitted(void)
{
	return errno == EPERM || errno == EINVAL; /* EINVAL: not mapped in this user namespace */
}

/* This process has the capabilities that lbd has. */
static bool has_capability(unsigned capability)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct has[2] = {0};

	return !syscall(SYS_capget, &header, has) &&
	       has[CAP_TO_INDEX(capability)].effective & CAP_TO_MASK(capability);
}

/* A root without CAP_SETUID cannot, as in a unit that takes it away: it stays, without
 * capabilities. So it does without CAP_KILL: lbd could not end a process of another user. */
static int leave_root(struct error *err)
{
	if (geteuid() || !has_capability(CAP_KILL))
		return 0;
	if ((setgroups(0, NULL) && !is_not_permitted()) ||
	    (setresgid(RIGHTS_USER, RIGHTS_USER, RIGHTS_USER) && !is_not_permitted()) ||
	    (setresuid(RIGHTS_USER, RIGHTS_USER, RIGHTS_USER) && !is_not_permitted()))
		return error_set(err, -errno, "changing to user %d: %s", RIGHTS_USER,
				 strerror(errno));
	return 0;
}

static void empty_bounding_set(void)
{
	for (unsigned long capability = 0; capability < 64; capability++)
		if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0))
			return; /* beyond the last one, or not permitted */
}

static int drop_capabilities(struct error *err)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {0}, left[2] = {0};

	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &header, none))
		return error_set(err, -errno, "capset: %s", strerror(errno));
	if (syscall(SYS_capget, &header, left))
		return error_set(err, -errno, "capget: %s", strerror(errno));
	if (memcmp(none, left, sizeof(none)) != 0)
		return error_set(err, -EPERM, "capabilities are left: %08x%08x", left[1].permitted,
				 left[0].permitted);
	return 0;
}

int rights_give_up(struct error *err)
{
	int rc;

	go_first_without_memory();
	empty_bounding_set(); /* while it is permitted */
	if ((rc = leave_root(err)) || (rc = drop_capabilities(err)))
		return rc;
	/* After the change of user, which clears the signal. Not dumpable: others of the same user
	 * cannot trace it. */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) ||
	    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))
		return error_set(err, -errno, "prctl: %s", strerror(errno));
	return 0;
}
