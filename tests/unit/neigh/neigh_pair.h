/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A loop with neighbours of the kernel, for a test at a time: a veth pair, nt0 and nt1, between a
 * new network namespace of this process and a second one. */
#ifndef LBD_TEST_NEIGH_PAIR_H
#define LBD_TEST_NEIGH_PAIR_H

#include <event2/event.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "lbd/neigh/neigh.h"
#include "support/test_netns.h"

#define MAC_HERE  "02:00:00:00:00:01"
#define MAC_THERE "02:00:00:00:00:02"

static struct event_base *base;
static struct neigh *neigh;
static pid_t there; /* a process in the second namespace */

/* As here(), in the second namespace. */
#define on_peer(command) here("nsenter -t %d -n " command, there)

#define HANG_MS          60000 /* a wait that long means that the test hangs */

static void turn(void)
{
	struct timeval tick = {.tv_usec = 5000};

	event_base_loopexit(base, &tick);
	event_base_loop(base, EVLOOP_ONCE);
}

/* Turns the loop until the condition holds, however long the machine takes. */
#define RUN_UNTIL(condition)                                        \
	do {                                                        \
		for (uint64_t end = clock_monotonic_ms() + HANG_MS; \
		     !(condition) && clock_monotonic_ms() < end;)   \
			turn();                                     \
		assert_true(condition);                             \
	} while (0)

/* New namespaces for each test, including this one. */
static int enter_two(void)
{
	int ready[2];
	char byte;

	if (pipe(ready))
		return -1;
	there = fork();
	if (!there) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (unshare(CLONE_NEWNET) || write(ready[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	if (read(ready[0], &byte, 1) != 1 || close(ready[0]) || close(ready[1]) ||
	    unshare(CLONE_NEWNET))
		return -1;
	return 0;
}

/* Two namespaces with the pair, which has IPv4 addresses and is down. */
static int make_pair(void)
{
	if (enter_two())
		return -1;
	here("ip link set lo up");
	here("ip link add nt0 address " MAC_HERE " type veth peer name nt1 address " MAC_THERE);
	here("ip link set nt1 netns %d", there);
	here("ip addr add 10.9.0.1/24 dev nt0");
	on_peer("ip addr add 10.9.0.2/24 dev nt1");
	return 0;
}

static int start_neigh(void)
{
	struct error err;

	base = event_base_new();
	return !base || neigh_new(base, &neigh, &err);
}

static int end(void **state)
{
	if (!netns_entered())
		return 0;
	neigh_free(neigh);
	event_base_free(base);
	kill(there, SIGKILL);
	waitpid(there, NULL, 0);
	return 0;
}

#endif
