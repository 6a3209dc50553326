/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The CPU to measure on and its neighbour: the CPU that shares a core with it, or, if the machine
 * shows none (a virtual one does not), the next one. What the neighbour does changes every figure,
 * so it is measured idle and occupied. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "tools/ns/ns.h"

#define PREFERRED_CPU 1 /* interrupts tend to be on 0 */

const char *const neighbour_names[NEIGHBOURS] = {"idle", "busy"};

static int neighbour = -1;
static pthread_t occupier;
static atomic_bool occupied;

/* The other CPU of the same core, or -1. */
static int sibling_of(int cpu)
{
	_cleanup_fclose_ FILE *list = NULL;
	char path[96];
	int first, second;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list",
		 cpu);
	list = fopen(path, "r");
	if (!list || fscanf(list, "%d%*[,-]%d", &first, &second) != 2)
		return -1;
	return first == cpu ? second : first;
}

static void pin_to(pthread_t thread, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((unsigned)cpu, &set);
	pthread_setaffinity_np(thread, sizeof(set), &set);
}

void neighbour_init(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	int cpu = cpus > PREFERRED_CPU ? PREFERRED_CPU : 0;

	pin_to(pthread_self(), cpu);
	neighbour = sibling_of(cpu);
	if (neighbour < 0 && cpus > 1)
		neighbour = cpu == 0 ? 1 : cpu - 1;
}

int neighbour_cpu(void)
{
	return neighbour;
}

/* Arithmetic and a first-level cache's worth of memory. */
static void *occupy(void *unused)
{
	static volatile uint64_t memory[2048];
	uint64_t word = 1;

	while (atomic_load_explicit(&occupied, memory_order_relaxed)) {
		for (unsigned i = 0; i < 2048; i++) {
			word = word * 6364136223846793005ULL + memory[word >> 53];
			memory[i] = word;
		}
	}
	return unused;
}

int neighbour_occupy(void)
{
	if (neighbour < 0)
		return -1;
	atomic_store(&occupied, true);
	if (pthread_create(&occupier, NULL, occupy, NULL))
		return -1;
	pin_to(occupier, neighbour);
	return 0;
}

void neighbour_leave(void)
{
	atomic_store(&occupied, false);
	pthread_join(occupier, NULL);
}

struct ticks neighbour_ticks(void)
{
	_cleanup_fclose_ FILE *stat = fopen("/proc/stat", "r");
	struct ticks ticks = {0};
	uint64_t field[8];
	char line[256];
	int cpu;

	while (stat && fgets(line, sizeof(line), stat)) {
		if (sscanf(line, "cpu%d %lu %lu %lu %lu %lu %lu %lu %lu", &cpu, &field[0],
			   &field[1], &field[2], &field[3], &field[4], &field[5], &field[6],
			   &field[7]) != 9 ||
		    cpu != neighbour)
			continue;
		for (int i = 0; i < 8; i++)
			ticks.all += field[i];
		ticks.busy = ticks.all - field[3] - field[4]; /* idle, waiting for a disk */
	}
	return ticks;
}
