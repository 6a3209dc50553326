/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The parts of bench_ns: scenarios, what they set up, programs, measurement, counts, report. */
#ifndef LBD_BENCH_NS_H
#define LBD_BENCH_NS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "lbd/dataplane/dataplane.h"
#include "tools/ns/job.h"

/* ---- scenarios: scenarios.c ---- */

enum traffic { ESTABLISHED, SYN, DATAGRAM };

struct scenario {
	const char *name;
	const char *help;
	const char *algorithm; /* NULL: maglev */
	enum traffic traffic;
	uint32_t flows;
	uint32_t services; /* 0: 1 */
	uint32_t backends; /* of a service; 0: 10 */
	uint32_t drained;  /* so many of them get weight 0: their slots are in transition */
	bool replaced;     /* other backends take the place of all: every slot is in transition */
	bool ipv6, not_vip;
	bool direct; /* forward: l2 */
	bool nat;    /* forward: nat */
	/* of nat: VIPs of IPv4, backends of IPv6; the harness calls the program that translates,
	 * without the cost of a tail call. ipv6: of the frames: replies */
	bool translated;
	bool reply;   /* replies of all its backends: flow after flow, another backend's */
	bool warm;    /* every flow's SYN is sent before the measurement */
	bool flooded; /* then the flow table is filled with embryonic flows */
	bool fresh;   /* every packet is a new flow */
	/* of a fresh one: at most so many, a power of two, are in the flow table; 0: no limit */
	uint32_t room;
	/* clients all over the address space, instead of neighbours; and so many random prefixes
	 * that are denied, between them */
	bool spread;
	uint32_t denied;
	bool peers;      /* other nodes are told of flows */
	bool limited;    /* services have rates of new flows, which no packet reaches */
	unsigned sample; /* connect times of one flow in so many; 0: of none */
	/* of a sweep: what grows, how far, and the name of the curve */
	const char *axis, *series;
	uint32_t value;
};

extern const struct scenario scenarios[];
extern const size_t scenarios_count;

uint32_t scenario_services(const struct scenario *scenario);
uint32_t scenario_backends(const struct scenario *scenario);
/* From one client's address to the next: up to 126.0.0.0. */
uint32_t scenario_source_step(const struct scenario *scenario);
uint32_t scenario_clients(const struct scenario *scenario);

/* The scenarios of `--sweep`, made of the axes. Point i; false: there are no more. The name is in
 * `name`. */
bool sweep_point(size_t i, struct scenario *ret, char name[64]);

/* ---- one scenario's set-up: setup.c, programs.c ---- */

/* What is measured, in this order in each round. */
enum candidate { HARNESS, FLOOR_MACSWAP, FLOOR_ENCAP, LBD, CANDIDATES };

extern const char *const candidate_names[CANDIDATES];

struct bench {
	const struct scenario *scenario;
	const char *object_path; /* of the programs; NULL: those that bench_ns was built with */
	struct dataplane *dp;
	struct bpf_object *object;
	struct bpf_program *block[CANDIDATES]; /* a block of packets each */
	struct bpf_program *one_lbd, *one_floor;
	struct bench_job *job;
	struct bench_result *result;
	struct lb_settings *settings;
	uint64_t *entries; /* of the flow table */
	bool refused;      /* the verifier did not accept the programs */
};

/* New maps with the scenario's services, programs loaded, flows warmed up. 0 or -1, with a message
 * on stderr. */
int bench_open(struct bench *bench);
void bench_close(struct bench *bench);
/* Between two rounds of the measurement: what lbd does meanwhile. */
void bench_tend(struct bench *bench);
/* Makes the frame and its flows; sequential: each flow once, in order. */
void job_set(struct bench *bench, bool sequential);
/* Puts flow number `flow` into a copy of the job's frame. */
void frame_of(const struct bench *bench, uint32_t flow, uint8_t frame[BENCH_FRAME_MAX]);
/* Sends 256 packets one by one; false if one comes out wrong (a message says which). */
bool bench_verify(const struct bench *bench);

/* Commits the scenario's services: as they begin, or as they are after the change. */
int services_commit(const struct bench *bench, bool changed);

/* Loads the programs onto the data plane's maps. 0 or -1, with the verifier's last line on stderr.
 */
int programs_load(struct bench *bench);
void programs_unload(struct bench *bench);
/* Runs a program once. Returns its verdict or -errno. ret_length: room in `out`, then its length.
 */
int program_run(const struct bpf_program *program, const void *in, uint32_t length, void *out,
		uint32_t *ret_length);
/* Sends one block of packets. 0 or -1. */
int block_run(const struct bench *bench, enum candidate candidate);
/* Instructions that the verifier walked; 0: unknown. */
uint32_t program_verified(const struct bpf_program *program);
/* The last line of a verifier's log that says something: not its closing statistics. */
const char *verifier_line(char *log);

/* ---- measurement: measure.c, neighbour.c ---- */

/* What the CPU that shares caches or a core with the measuring one did meanwhile. */
enum neighbour { IDLE, BUSY, NEIGHBOURS };

extern const char *const neighbour_names[NEIGHBOURS];

struct figures {
	/* ns a packet, net of the harness, except for the harness itself */
	double p10[CANDIDATES], median[CANDIDATES];
	unsigned blocks; /* 0: no figures */
};

struct result {
	struct figures of[NEIGHBOURS];
	bool verified, refused; /* refused: by the verifier */
	uint32_t instructions;  /* that the verifier walked */
};

struct plan {
	unsigned setups, rounds; /* set-ups of a scenario; groups of rounds in each */
	bool busy;               /* also with a busy neighbour */
};

int scenario_run(const struct scenario *scenario, const char *object, const struct plan *plan,
		 struct result *ret);

/* Chooses the CPU to measure on, and pins the process there. */
void neighbour_init(void);
int neighbour_cpu(void); /* -1: there is none */
/* A thread that keeps the neighbour busy. */
int neighbour_occupy(void);
void neighbour_leave(void);
/* The neighbour's ticks: busy and all. */
struct ticks {
	uint64_t busy, all;
};
struct ticks neighbour_ticks(void);

/* ---- counts: count.c, machine.c ---- */

/* Runs 1 000 packets of the scenario through an interpreter of the loaded programs, on their maps.
 * Returns a JSON array, a row for each program; NULL with a message on stderr. */
json_t *scenario_count(const struct scenario *scenario, const char *object);

/* ---- report.c ---- */

void table_head(FILE *out);
void table_row(FILE *out, const struct scenario *scenario, const struct result *result);
/* Adds the rows of a scenario: one for each neighbour and candidate that has figures. */
void rows_add(json_t *rows, const struct scenario *scenario, const struct result *result);
/* CPU, kernel, compiler, load. */
json_t *machine_describe(const char *compiler);

#endif
