/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Loads every program with every option through this kernel's verifier. Prints TAP, then a table of
 * what the verifier processed and how much is left below its limits.
 * usage: verifier DIRECTORY..., each with the *.bpf.o of one compiler */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <glob.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "lb_abi.h"
#include "lb_reasons.h"
#include "common/cleanup.h"
#include "common/wide.h"

#define LOG_SIZE     (16u << 20)
#define STATS_SIZE   (1u << 20) /* of one program's log of statistics */
#define LOG_STATS    4          /* BPF_LOG_STATS */
#define LOG_TRACE    1
#define LOG_TAIL     4000 /* characters of the log that are shown when a program is refused */
#define MAX_PROGRAMS 16   /* of an object */
#define MAX_SUBPROGS 256
#define MAX_ROWS     512
#define MAX_SWITCHES 8 /* one-byte constants: each doubles the number of options */

/* Sizes that lbd sets before it loads the program. Programs without such a map or constant ignore
 * them. */
struct sizing {
	const char *name;
	uint32_t cpus, services, backends, slots, flow_buckets;
};

static const struct sizing sizings[] = {
    {"smallest", 1, 2, 2, 2, 2},
    {"default", 2, 1025, 16384, 4u << 20, 1u << 18},
    {"largest", 64, LB_MAX_SERVICES + 1, LB_MAX_BACKENDS + 1, 16u << 20, 1u << 20},
};

/* A switch is a one-byte constant of .rodata: `const volatile bool NAME`. */
struct switches {
	const char *name[MAX_SWITCHES];
	uint32_t offset[MAX_SWITCHES];
	unsigned count;
};

/* The verifier's limits, and how much of them a program may use, so that the next compiler or
 * kernel has room. */
#define LIMIT_STACK        512
#define LIMIT_INSTRUCTIONS 1000000
#define LIMIT_FRAMES       8

struct bounds {
	uint32_t stack, instructions, frames;
};

static const struct bounds product_bounds = {448, 300000, 7};
/* Programs of tests and benchmark hold the product's, some of them also the one that translates: a
 * frame and some work more for the caller. */
static const struct bounds other_bounds = {480, 440000, 7};

/* The most that a program of one compiler used, over all options. */
struct row {
	char object[64], program[64], compiler[64];
	uint32_t verified, length, stack, frames, options;
	char deepest[256]; /* the calls that use that stack */
};

static struct row rows[MAX_ROWS];
static unsigned tests, failures, rows_count;

/* The offset of a constant in .rodata, or -1. With collect, also gathers the switches. */
static int rodata_find(const struct btf *btf, const char *wanted, struct switches *collect)
{
	int id = btf__find_by_name_kind(btf, ".rodata", BTF_KIND_DATASEC);
	const struct btf_type *section = id > 0 ? btf__type_by_id(btf, (uint32_t)id) : NULL;

	for (unsigned i = 0; section && i < btf_vlen(section); i++) {
		const struct btf_var_secinfo *at = btf_var_secinfos(section) + i;
		const struct btf_type *var = btf__type_by_id(btf, at->type);
		const char *name = btf__name_by_offset(btf, var->name_off);

		if (wanted && !strcmp(name, wanted))
			return (int)at->offset;
		if (collect && at->size == 1 && btf_var(var)->linkage == BTF_VAR_GLOBAL_ALLOCATED &&
		    collect->count < MAX_SWITCHES) {
			collect->name[collect->count] = name;
			collect->offset[collect->count++] = at->offset;
		}
	}
	return -1;
}

static struct bpf_map *rodata_map(struct bpf_object *object)
{
	struct bpf_map *map;

	bpf_object__for_each_map (map, object)
		if (bpf_map__is_internal(map) && strstr(bpf_map__name(map), ".rodata"))
			return map;
	return NULL;
}

static void set_entries(struct bpf_object *object, const char *name, uint64_t entries)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, name);

	if (map)
		bpf_map__set_max_entries(map, (uint32_t)entries);
}

static void set_wide(struct bpf_object *object, const char *name, uint64_t bytes)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, name);
	int rc = map ? wide_make(map, "wide", bytes) : 0;

	if (!rc)
		return;
	fprintf(stderr, "verifier: map %s of %llu bytes: %s\n", name, (unsigned long long)bytes,
		strerror(-rc));
	exit(1);
}

/* The least one that is not below, and fills a line of the longest elements. */
static uint32_t power_of_two(uint32_t least)
{
	uint32_t power = 32;

	while (power < least)
		power *= 2;
	return power;
}

/* Sets the constants for this sizing, with the switches of `bits` on. */
static void set_constants(struct bpf_object *object, const struct sizing *size,
			  const struct switches *switches, unsigned bits)
{
	const struct {
		const char *name;
		uint32_t value;
	} sizes[] = {
	    {"flow_mask", size->flow_buckets - 1},
	    {"flow_shift", lb_flow_shift(size->flow_buckets)},
	    {"backend_slots", size->backends},
	    {"service_slots", size->services},
	    {"vip_mask", power_of_two(size->services) - 1},
	    {"front_mask", power_of_two(size->slots) - 1},
	    {"real_mask", 4 * power_of_two(size->backends) - 1},
	    {"return_mask", power_of_two(size->backends) - 1},
	};
	struct bpf_map *map = rodata_map(object);
	_cleanup_free_ uint8_t *value = NULL;
	const void *initial;
	size_t length;

	initial = map ? bpf_map__initial_value(map, &length) : NULL;
	if (!initial)
		return;
	value = malloc(length);
	if (!value)
		exit(1);
	memcpy(value, initial, length);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		int offset = rodata_find(bpf_object__btf(object), sizes[i].name, NULL);

		if (offset >= 0)
			memcpy(value + offset, &sizes[i].value, sizeof(sizes[i].value));
	}
	for (unsigned i = 0; i < switches->count; i++)
		value[switches->offset[i]] = bits >> i & 1;
	bpf_map__set_initial_value(map, value, length);
}

/* As dataplane.c does for a configuration with these limits. */
static void apply(struct bpf_object *object, const struct sizing *size,
		  const struct switches *switches, unsigned bits)
{
	set_wide(object, LB_VIPS_MAP, power_of_two(size->services) * sizeof(struct lb_vip_bucket));
	set_wide(object, LB_ARENA_MAP, power_of_two(size->slots) * sizeof(uint32_t));
	set_wide(object, LB_FRONTS_MAP, power_of_two(size->slots) * sizeof(uint16_t));
	set_wide(object, LB_REALS_MAP,
		 4ull * power_of_two(size->backends) * sizeof(struct lb_real_bucket));
	set_wide(object, LB_RETURNS_MAP, power_of_two(size->backends) * sizeof(struct lb_return));
	set_entries(object, "ports", size->services);
	set_entries(object, "services", size->services);
	set_entries(object, "turns", size->services);
	set_entries(object, "totals", size->services);
	set_entries(object, "limits", size->services);
	set_entries(object, "offenders", (uint64_t)size->cpus * LB_OFFENDERS);
	set_entries(object, "stamps", size->slots / 4 ?: 1);
	set_entries(object, "loads", size->backends);
	set_entries(object, "flows", size->flow_buckets);
	set_entries(object, "dirty",
		    (size->flow_buckets + LB_DIRTY_BUCKETS - 1) / LB_DIRTY_BUCKETS);
	set_entries(object, "backend_counts", (uint64_t)size->cpus * size->backends);
	set_entries(object, "service_counts", (uint64_t)size->cpus * size->services);
	set_entries(object, "reason_counts", (uint64_t)size->cpus * LB_COUNTERS);
	set_constants(object, size, switches, bits);
}

/* "default" or "default+NAME+NAME": the sizing and the switches that are on. */
static void option_name(char *text, size_t room, const struct sizing *size,
			const struct switches *switches, unsigned bits)
{
	size_t length = (size_t)snprintf(text, room, "%s", size->name);

	for (unsigned i = 0; i < switches->count && length < room; i++)
		if (bits >> i & 1)
			length += (size_t)snprintf(text + length, room - length, "+%s",
						   switches->name[i]);
}

static void print_tail(const char *log)
{
	size_t length = strlen(log);
	const char *line = length > LOG_TAIL ? log + length - LOG_TAIL : log;

	while (*line) {
		int end = (int)strcspn(line, "\n");

		printf("#   %.*s\n", end, line);
		line += end + (line[end] == '\n');
	}
}

/* ---- stack and frames ---- */

/* The functions of a loaded program: start, calls and stack. */
struct functions {
	uint32_t count;
	uint32_t begin[MAX_SUBPROGS];
	uint32_t depth[MAX_SUBPROGS];
	uint32_t type[MAX_SUBPROGS]; /* BTF */
	struct bpf_insn *code;
	uint32_t length;
};

/* Reads "stack depth 208+40+8" in the verifier's log, one number per function. Returns how many. */
static uint32_t depths_read(const char *log, uint32_t *depth)
{
	const char *at = strstr(log, "stack depth ");
	uint32_t count = 0;

	for (at = at ? at + strlen("stack depth ") : "";
	     *at >= '0' && *at <= '9' && count < MAX_SUBPROGS; count++) {
		char *end;

		depth[count] = (uint32_t)strtoul(at, &end, 10);
		at = *end == '+' ? end + 1 : "";
	}
	return count;
}

/* The program as the kernel has it: code, and the functions that remain. False: not available. */
static bool functions_read(int fd, const char *log, struct functions *ret)
{
	_cleanup_free_ struct bpf_func_info *info = calloc(MAX_SUBPROGS, sizeof(*info));
	struct bpf_prog_info have = {0}, want = {.nr_func_info = MAX_SUBPROGS,
						 .func_info_rec_size = sizeof(*info)};
	uint32_t size = sizeof(have);

	if (!info || bpf_obj_get_info_by_fd(fd, &have, &size))
		return false;
	ret->code = calloc(1, have.xlated_prog_len + 1);
	ret->length = have.xlated_prog_len / sizeof(*ret->code);
	want.func_info = (uintptr_t)info;
	want.xlated_prog_insns = (uintptr_t)ret->code;
	want.xlated_prog_len = have.xlated_prog_len;
	size = sizeof(want);
	if (!ret->code || bpf_obj_get_info_by_fd(fd, &want, &size))
		return false;
	ret->count = depths_read(log, ret->depth);
	for (uint32_t i = 0; i < want.nr_func_info && i < MAX_SUBPROGS; i++) {
		ret->begin[i] = info[i].insn_off;
		ret->type[i] = info[i].type_id;
	}
	return ret->count && ret->count == want.nr_func_info;
}

/* The function that the instruction calls, or passes as a callback; -1: none. */
static int function_called(const struct functions *all, uint32_t at)
{
	const struct bpf_insn *insn = &all->code[at];
	int64_t target = -1;

	if (insn->code == (BPF_JMP | BPF_CALL) && insn->src_reg == BPF_PSEUDO_CALL)
		target = (int64_t)at + insn->off + 1;
	else if (insn->code == (BPF_LD | BPF_IMM | BPF_DW) && insn->src_reg == BPF_PSEUDO_FUNC)
		target = (int64_t)at + insn->imm + 1;
	for (uint32_t i = 0; i < all->count; i++)
		if (all->begin[i] == target)
			return (int)i;
	return -1;
}

/* Bytes of a function's frame as the kernel counts them: a multiple of 32, or of 16 since Linux
 * 6.9. The stricter rule is used, so that all kernels agree. */
static uint32_t frame_bytes(const struct functions *all, uint32_t function)
{
	return ((all->depth[function] ?: 1) + 31) / 32 * 32;
}

/* The deepest call chain from a function: bytes of stack, and the functions in it. The verifier
 * allows no recursion, and 8 frames. */
static uint32_t deepest(const struct functions *all, uint32_t function, uint32_t *ret_frames,
			uint32_t *ret_way)
{
	uint32_t end = function + 1 < all->count ? all->begin[function + 1] : all->length;
	uint32_t stack = 0, frames = 0;

	for (uint32_t at = all->begin[function]; at < end; at++) {
		int called = function_called(all, at);
		uint32_t way[LIMIT_FRAMES], below, count = 0;

		if (called < 0)
			continue;
		below = deepest(all, (uint32_t)called, &count, way);
		if (below > stack) {
			stack = below;
			frames = count;
			memcpy(ret_way + 1, way,
			       (count < LIMIT_FRAMES ? count : LIMIT_FRAMES - 1) * sizeof(*way));
		}
	}
	*ret_way = function;
	*ret_frames = frames + 1;
	return stack + frame_bytes(all, function);
}

/* "lb 224, follow 32": the functions of a call chain and the stack of each. */
static void way_name(const struct functions *all, const struct btf *btf, const uint32_t *way,
		     uint32_t count, char *text, size_t room)
{
	size_t length = 0;

	for (uint32_t i = 0; i < count && i < LIMIT_FRAMES && length < room; i++) {
		const struct btf_type *type = btf__type_by_id(btf, all->type[way[i]]);

		length += (size_t)snprintf(text + length, room - length, "%s%s %u", i ? ", " : "",
					   type ? btf__name_by_offset(btf, type->name_off) : "?",
					   frame_bytes(all, way[i]));
	}
}

/* ---- one object ---- */

static struct row *row_of(const char *object, const char *program, const char *compiler)
{
	struct row *row;

	for (uint32_t i = 0; i < rows_count; i++)
		if (!strcmp(rows[i].object, object) && !strcmp(rows[i].program, program) &&
		    !strcmp(rows[i].compiler, compiler))
			return &rows[i];
	if (rows_count == MAX_ROWS) {
		fprintf(stderr, "verifier: more than %u programs: raise MAX_ROWS\n", MAX_ROWS);
		exit(1);
	}
	row = &rows[rows_count++];
	snprintf(row->object, sizeof(row->object), "%s", object);
	snprintf(row->program, sizeof(row->program), "%s", program);
	snprintf(row->compiler, sizeof(row->compiler), "%s", compiler);
	return row;
}

static uint32_t greater(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

/* Records what the verifier processed for one loaded program. */
static bool note_program(const struct bpf_program *program, const struct btf *btf, const char *log,
			 struct row *row)
{
	struct functions functions = {0};
	struct bpf_prog_info info = {0};
	uint32_t size = sizeof(info), way[LIMIT_FRAMES], stack, frames;
	bool known = functions_read(bpf_program__fd(program), log, &functions);

	bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &size);
	if (known) {
		stack = deepest(&functions, 0, &frames, way);
		if (stack > row->stack)
			way_name(&functions, btf, way, frames, row->deepest, sizeof(row->deepest));
		row->stack = greater(row->stack, stack);
		row->frames = greater(row->frames, frames);
	}
	row->verified = greater(row->verified, info.verified_insns);
	row->length = greater(row->length, info.xlated_prog_len / 8);
	row->options++;
	free(functions.code);
	return known;
}

/* One test for each program of the loaded object. */
static void report_programs(struct bpf_object *object, const char *compiler, const char *file,
			    const char *option, char (*logs)[STATS_SIZE])
{
	struct bpf_program *program;
	unsigned number = 0;

	bpf_object__for_each_program (program, object) {
		const char *name = bpf_program__name(program), *log = logs[number++];
		bool known;

		if (bpf_program__fd(program) < 0)
			continue;
		known = note_program(program, bpf_object__btf(object), log,
				     row_of(file, name, compiler));
		printf("%sok %u - verifier_accepts_%s_of_%s_by_%s_at_%s%s\n", known ? "" : "not ",
		       ++tests, name, file, compiler, option,
		       known ? "" : " (accepted, but its stack depth cannot be read)");
		failures += !known;
	}
}

/* Loads again to show the verifier's log: that of the first try has statistics only. */
static void print_refusal(const char *path, const struct sizing *size, unsigned bits)
{
	static char log[LOG_SIZE];
	LIBBPF_OPTS(bpf_object_open_opts, options, .kernel_log_buf = log,
		    .kernel_log_size = sizeof(log), .kernel_log_level = LOG_TRACE);
	struct bpf_object *object = bpf_object__open_file(path, &options);
	struct switches switches = {0};

	if (!object)
		return;
	rodata_find(bpf_object__btf(object), NULL, &switches);
	apply(object, size, &switches, bits);
	log[0] = 0;
	if (bpf_object__load(object))
		print_tail(log);
	wide_release(object);
	bpf_object__close(object);
}

/* Loads one object with one option. False: it was refused. */
static bool try_option(const char *path, const char *compiler, const struct sizing *size,
		       unsigned bits, unsigned *ret_switches)
{
	static char logs[MAX_PROGRAMS][STATS_SIZE];
	const char *file = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	struct bpf_object *object = bpf_object__open_file(path, NULL);
	struct switches switches = {0};
	struct bpf_program *program;
	unsigned number = 0;
	char option[256];
	int rc;

	if (!object) {
		printf("not ok %u - %s opens: %s\n", ++tests, path, strerror(errno));
		failures++;
		return false;
	}
	bpf_object__for_each_program (program, object) {
		if (number == MAX_PROGRAMS)
			break;
		logs[number][0] = 0;
		bpf_program__set_log_level(program, LOG_STATS);
		bpf_program__set_log_buf(program, logs[number++], STATS_SIZE);
	}
	rodata_find(bpf_object__btf(object), NULL, &switches);
	*ret_switches = switches.count;
	apply(object, size, &switches, bits);
	option_name(option, sizeof(option), size, &switches, bits);
	rc = bpf_object__load(object);
	if (rc) {
		print_refusal(path, size, bits);
		printf("not ok %u - verifier_accepts_%s_by_%s_at_%s (%s)\n", ++tests, file,
		       compiler, option, strerror(-rc));
		failures++;
	} else {
		report_programs(object, compiler, file, option, logs);
	}
	wide_release(object);
	bpf_object__close(object);
	return !rc;
}

static bool is_product(const char *path)
{
	const char *file = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;

	return !strcmp(file, "lb.bpf.o") || !strcmp(file, "decap.bpf.o");
}

/* Loads one object with every sizing and every combination of switches, up to the first refusal: a
 * program that is too complex keeps the verifier busy for minutes each time. Programs of tests and
 * benchmarks are loaded with one sizing. */
static void try_object(const char *path, const char *compiler)
{
	for (size_t s = 0; s < sizeof(sizings) / sizeof(*sizings); s++) {
		unsigned switches = 0;

		if (!is_product(path) && strcmp(sizings[s].name, "default") != 0)
			continue;
		for (unsigned bits = 0; bits < 1u << switches; bits++)
			if (!try_option(path, compiler, &sizings[s], bits, &switches))
				return;
	}
}

/* Every *.bpf.o of a directory. */
static void try_directory(const char *directory)
{
	const char *compiler = strrchr(directory, '/') ? strrchr(directory, '/') + 1 : directory;
	char pattern[4096];
	glob_t found = {0};

	snprintf(pattern, sizeof(pattern), "%s/*.bpf.o", directory);
	if (glob(pattern, 0, NULL, &found)) {
		printf("not ok %u - %s holds programs\n", ++tests, directory);
		failures++;
		return;
	}
	for (size_t i = 0; i < found.gl_pathc; i++)
		try_object(found.gl_pathv[i], compiler);
	globfree(&found);
}

/* ---- results ---- */

static const struct bounds *bounds_of(const struct row *row)
{
	return is_product(row->object) ? &product_bounds : &other_bounds;
}

/* One test for each program: with every option it leaves room below the limits. */
static void report_room(const struct row *row)
{
	const struct bounds *bounds = bounds_of(row);
	bool room = row->stack <= bounds->stack && row->verified <= bounds->instructions &&
		    row->frames <= bounds->frames;

	if (!room) {
		printf(
		    "#   stack %u (at most %u: %s), instructions %u (at most %u), frames %u (at most %u)\n",
		    row->stack, bounds->stack, row->deepest, row->verified, bounds->instructions,
		    row->frames, bounds->frames);
		failures++;
	}
	printf("%sok %u - %s_of_%s_by_%s_keeps_room_below_the_verifier's_limits\n",
	       room ? "" : "not ", ++tests, row->program, row->object, row->compiler);
}

/* Rows begin with "#| ": vmtest/run.sh collects those of all kernels into one table. */
static void print_table(void)
{
	struct utsname kernel;

	uname(&kernel);
	printf("#| %-12s %-20s %-10s %-22s %7s %10s %6s %6s %5s %6s\n", "object", "program",
	       "compiler", "kernel", "options", "verified", "of 1M", "length", "stack", "frames");
	for (uint32_t i = 0; i < rows_count; i++) {
		const struct row *row = &rows[i];

		printf("#| %-12s %-20s %-10s %-22s %7u %10u %5.1f%% %6u %5u %6u\n", row->object,
		       row->program, row->compiler, kernel.release, row->options, row->verified,
		       100.0 * row->verified / LIMIT_INSTRUCTIONS, row->length, row->stack,
		       row->frames);
	}
	printf("# the verifier's limits: %d instructions verified, %d bytes of stack, %d frames\n",
	       LIMIT_INSTRUCTIONS, LIMIT_STACK, LIMIT_FRAMES);
}

static int silent(enum libbpf_print_level level, const char *format, va_list args)
{
	return 0;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	libbpf_set_print(silent);
	if (argc < 2) {
		fprintf(
		    stderr,
		    "usage: verifier DIRECTORY...: loads the *.bpf.o of each through this kernel's verifier\n");
		return 2;
	}
	for (int i = 1; i < argc; i++)
		try_directory(argv[i]);
	for (uint32_t i = 0; i < rows_count; i++)
		report_room(&rows[i]);
	print_table();
	printf("1..%u\n", tests);
	return failures != 0;
}
