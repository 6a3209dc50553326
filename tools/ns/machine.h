/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* An interpreter of BPF instructions as the kernel holds them after verification. It counts what a
 * packet costs: instructions, accesses to memory, distinct cache lines. Memory is real memory, in
 * regions; an access outside of them ends the run. */
#ifndef LBD_BENCH_MACHINE_H
#define LBD_BENCH_MACHINE_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MACHINE_GROUPS  64 /* of instructions: source files */
#define MACHINE_REGIONS 64
#define MACHINE_LINES   512
#define MACHINE_STACK   8192

enum region_kind { REGION_STACK, REGION_PACKET, REGION_MAP, REGION_OTHER };

struct region {
	uint64_t start, length;
	enum region_kind kind;
};

/* What one packet cost. */
struct costs {
	uint64_t instructions, loads, stores, stack_loads, atomics, calls;
	uint64_t map_lines;      /* distinct cache lines of maps */
	uint64_t spanning_loads; /* of the packet, across two fields of the harness */
};

struct machine {
	const struct bpf_insn *code;
	uint32_t length;
	const uint8_t *group; /* of each instruction, below MACHINE_GROUPS; NULL: all are of 0 */
	struct region region[MACHINE_REGIONS];
	unsigned regions;
	/* Does what the helper that `address` names does; the arguments are in reg[1..5]. Returns
	 * false if it is unknown. */
	bool (*call)(struct machine *machine, int32_t address);
	/* The address for a 64-bit constant that refers to a map (kind: BPF_PSEUDO_*; 0: unknown),
	 * or the constant itself (kind 0), unless it is the address of a variable of the kernel. */
	uint64_t (*map_address)(struct machine *machine, uint8_t kind, uint32_t id,
				uint32_t offset);
	/* The address of a per-CPU object; `at` is what the program computed. */
	uint64_t (*per_cpu)(struct machine *machine, uint64_t at);
	void *context;
	/* where a store of the harness begins: packet fields, ended by 0 after the first */
	const uint16_t *fields;
	uint64_t packet; /* address of the packet's first byte, as written */

	uint64_t reg[11];
	struct costs costs[MACHINE_GROUPS]; /* of the last run, by group */
	const char *fault;                  /* why the last run ended, or NULL */
	uint32_t fault_at;

	uint64_t line[MACHINE_LINES];
	unsigned lines;
	uint8_t stack[MACHINE_STACK];
};

/* false: there is no room. */
bool machine_region(struct machine *machine, const void *start, size_t length,
		    enum region_kind kind);
const struct region *machine_find(const struct machine *machine, uint64_t at, unsigned bytes);
/* Runs from the first instruction to its exit; reg[1] is its argument. Returns reg[0] as the
 * program's result, or -1 with `fault` set. */
int machine_run(struct machine *machine, uint64_t argument);

#endif
