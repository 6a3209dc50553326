/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Measures nanoseconds per packet of lbd's program and of two floors, net of the harness, in one
 * process: candidates are interleaved. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "tools/ns/ns.h"

static const char usage[] =
    "usage: bench_ns [OPTION...] [SCENARIO...]    (default: every scenario)\n"
    "  --list           names the scenarios\n"
    "  --sweep          measures how the cost grows instead: flows, services, backends, transition\n"
    "  --count          counts instructions, accesses and cache lines instead of time\n"
    "  --idle           only with an idle neighbour CPU\n"
    "  --rounds N       groups of rounds in each set-up (default 3)\n"
    "  --setups N       set-ups of a scenario (default 3)\n"
    "  --object FILE    measures the programs of this file (tools/bench.bpf.c, as another\n"
    "                   compiler made it)\n"
    "  --compiler NAME  which made it, for the JSON (default: default)\n"
    "  --json FILE      writes the figures there\n";

struct job_list {
	char **names; /* scenarios that are wanted; none: all */
	int count;
	const char *object, *compiler, *json;
	struct plan plan;
	bool sweep, counts;
};

struct output {
	json_t *rows, *machine; /* machine: before the run, which adds to its load */
	int status, ran;
	bool refused; /* the verifier refused the programs: no scenario can be measured */
	uint32_t instructions;
};

static bool is_wanted(const struct job_list *jobs, const char *name)
{
	for (int i = 0; i < jobs->count; i++)
		if (!strcmp(jobs->names[i], name))
			return true;
	return !jobs->count;
}

static void measure_one(const struct job_list *jobs, const struct scenario *scenario,
			struct output *out)
{
	struct result result;

	if (out->refused)
		return;
	out->ran++;
	if (scenario_run(scenario, jobs->object, &jobs->plan, &result)) {
		fprintf(stderr, "bench_ns: %s: not measured\n", scenario->name);
		out->status = 1;
		out->refused = result.refused;
		return;
	}
	table_row(stdout, scenario, &result);
	rows_add(out->rows, scenario, &result);
	out->instructions = result.instructions;
	if (!result.verified)
		out->status = 1;
}

static void count_print(const json_t *rows)
{
	size_t i;
	json_t *row;

	json_array_foreach (rows, i, row) {
		printf("%-28s %-12s %6.0f %6.0f %6.0f %6.0f %7.1f %6.1f\n",
		       json_string_value(json_object_get(row, "scenario")),
		       json_string_value(json_object_get(row, "program")),
		       json_number_value(json_object_get(row, "instructions")),
		       json_number_value(json_object_get(row, "loads")),
		       json_number_value(json_object_get(row, "stack_loads")),
		       json_number_value(json_object_get(row, "stores")),
		       json_number_value(json_object_get(row, "map_lines")),
		       json_number_value(json_object_get(row, "spanning_loads")));
	}
	fflush(stdout);
}

static void count_one(const struct job_list *jobs, const struct scenario *scenario,
		      struct output *out)
{
	json_t *rows = scenario_count(scenario, jobs->object);

	out->ran++;
	if (!rows) {
		out->status = 1;
		return;
	}
	count_print(rows);
	json_array_extend(out->rows, rows);
	json_decref(rows);
}

static void run_scenarios(const struct job_list *jobs, struct output *out)
{
	if (jobs->counts)
		printf("a packet's mean over 1 000\n%-28s %-12s %6s %6s %6s %6s %7s %6s\n",
		       "scenario", "program", "insns", "loads", "stack", "stores", "lines",
		       "spans");
	else
		table_head(stdout);
	for (size_t i = 0; i < scenarios_count; i++) {
		if (!is_wanted(jobs, scenarios[i].name))
			continue;
		if (jobs->counts)
			count_one(jobs, &scenarios[i], out);
		else
			measure_one(jobs, &scenarios[i], out);
	}
}

static void run_sweep(const struct job_list *jobs, struct output *out)
{
	struct scenario point;
	char name[64];

	table_head(stdout);
	for (size_t i = 0; sweep_point(i, &point, name); i++)
		if (is_wanted(jobs, point.axis))
			measure_one(jobs, &point, out);
}

static int json_write(const struct job_list *jobs, const struct output *out)
{
	json_t *all = json_pack("{s:O, s:i, s:O}", "machine", out->machine, "verified_instructions",
				(int)out->instructions, "rows", out->rows);
	int rc = json_dump_file(all, jobs->json, JSON_INDENT(1) | JSON_REAL_PRECISION(6));

	json_decref(all);
	if (rc)
		fprintf(stderr, "bench_ns: %s: %s\n", jobs->json, strerror(errno));
	return rc ? 1 : 0;
}

static int run_all(const struct job_list *jobs)
{
	struct output out = {.rows = json_array(), .machine = machine_describe(jobs->compiler)};

	if (jobs->sweep)
		run_sweep(jobs, &out);
	else
		run_scenarios(jobs, &out);
	if (!out.ran)
		fprintf(stderr, "bench_ns: no scenario of that name; --list names them\n");
	if (jobs->json && json_write(jobs, &out))
		out.status = 1;
	json_decref(out.rows);
	json_decref(out.machine);
	return out.ran ? out.status : 2;
}

static int list(void)
{
	for (size_t i = 0; i < scenarios_count; i++)
		printf("%-28s %s, %s\n", scenarios[i].name, scenarios[i].algorithm ?: "maglev",
		       scenarios[i].help);
	return 0;
}

/* 0, or a number of at least 1. */
static unsigned number(const char *text)
{
	int value = atoi(text);

	return value > 0 ? (unsigned)value : 0;
}

static bool option_take(struct job_list *jobs, int option)
{
	switch (option) {
	case 'r':
		return (jobs->plan.rounds = number(optarg));
	case 'u':
		return (jobs->plan.setups = number(optarg));
	case 'j':
		jobs->json = optarg;
		return true;
	case 'o':
		jobs->object = optarg;
		return true;
	case 'c':
		jobs->compiler = optarg;
		return true;
	case 's':
		return (jobs->sweep = true);
	case 'n':
		return (jobs->counts = true);
	case 'i':
		jobs->plan.busy = false;
		return true;
	default:
		return false;
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"rounds", required_argument, NULL, 'r'},
						{"setups", required_argument, NULL, 'u'},
						{"json", required_argument, NULL, 'j'},
						{"object", required_argument, NULL, 'o'},
						{"compiler", required_argument, NULL, 'c'},
						{"sweep", no_argument, NULL, 's'},
						{"count", no_argument, NULL, 'n'},
						{"idle", no_argument, NULL, 'i'},
						{"list", no_argument, NULL, 'l'},
						{"help", no_argument, NULL, 'h'},
						{0}};
	struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
	struct job_list jobs = {.compiler = "default",
				.plan = {.setups = 3, .rounds = 3, .busy = true}};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'l')
			return list();
		if (option == 'h')
			return fputs(usage, stdout) < 0;
		if (!option_take(&jobs, option)) {
			fputs(usage, stderr);
			return 2;
		}
	}
	jobs.names = argv + optind;
	jobs.count = argc - optind;
	log_set_level(LOG_WARNING);
	setrlimit(RLIMIT_MEMLOCK, &unlimited);
	neighbour_init();
	jobs.plan.busy &= neighbour_cpu() >= 0;
	return run_all(&jobs);
}
