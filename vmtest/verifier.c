/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Asks this kernel's verifier about every program, at every option: TAP, then a table of the instructions it looked at.
 * Called by vmtest/guest/run: verifier DIRECTORY..., each with the *.bpf.o of one compiler. */
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

#include "../include/lb_abi.h"
#include "../include/lb_reasons.h"
#include "../user/common/cleanup.h"

#define LOG_SIZE     (16u << 20)
#define LOG_TAIL     4000 /* characters of a refusal's log that are shown */
#define ROW          "# %-22s %-14s %-18s %-10s %-16s "
#define MAX_SWITCHES 8 /* one-byte constants: each doubles the options tried */

/* What lbd may set before it loads the program: sizes. Programs without such a map or constant ignore it. */
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

static unsigned tests, failures;
static FILE *table;

/* Where a constant is in .rodata: its offset, or -1. With collect, also gathers the switches. */
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

/* The constants, for this sizing and with the switches of `bits` on. */
static void set_constants(struct bpf_object *object, const struct sizing *size, const struct switches *switches,
			  unsigned bits)
{
	const struct {
		const char *name;
		uint32_t value;
	} sizes[] = {
	    {"flow_mask", size->flow_buckets - 1},
	    {"backend_slots", size->backends},
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

/* As dataplane.c does for a config with these limits. */
static void apply(struct bpf_object *object, const struct sizing *size, const struct switches *switches, unsigned bits)
{
	set_entries(object, "vips", size->services);
	set_entries(object, "ports", size->services);
	set_entries(object, "services", size->services);
	set_entries(object, "turns", size->services);
	set_entries(object, "totals", size->services);
	set_entries(object, "arena", size->slots / 2);
	set_entries(object, "fronts", size->slots / 4 ?: 1);
	set_entries(object, "stamps", size->slots / 4 ?: 1);
	set_entries(object, "backends", size->backends);
	set_entries(object, "loads", size->backends);
	set_entries(object, "flows", size->flow_buckets);
	set_entries(object, "backend_counts", (uint64_t)size->cpus * size->backends);
	set_entries(object, "reason_counts", (uint64_t)size->cpus * LB_COUNTERS);
	set_constants(object, size, switches, bits);
}

/* "default" or "default+NAME+NAME": the sizing and the switches that are on. */
static void option_name(char *text, size_t room, const struct sizing *size, const struct switches *switches,
			unsigned bits)
{
	size_t length = (size_t)snprintf(text, room, "%s", size->name);

	for (unsigned i = 0; i < switches->count && length < room; i++)
		if (bits >> i & 1)
			length += (size_t)snprintf(text + length, room - length, "+%s", switches->name[i]);
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

/* A test for each program of the loaded object, and a row in the table. */
static void report_programs(struct bpf_object *object, const char *compiler, const char *file, const char *option)
{
	struct bpf_program *program;
	struct utsname kernel;

	uname(&kernel);
	bpf_object__for_each_program (program, object) {
		struct bpf_prog_info info = {0};
		uint32_t size = sizeof(info);

		if (bpf_program__fd(program) < 0)
			continue;
		bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &size);
		printf("ok %u - verifier_accepts_%s_of_%s_by_%s_at_%s\n", ++tests, bpf_program__name(program), file,
		       compiler, option);
		fprintf(table, ROW "%10u %8u\n", kernel.release, file, bpf_program__name(program), compiler, option,
			info.verified_insns, info.xlated_prog_len / 8);
	}
}

/* Loads one object at one option. False if it was refused. */
static bool try_option(const char *path, const char *compiler, const struct sizing *size, unsigned bits,
		       unsigned *ret_switches)
{
	static char log[LOG_SIZE];
	LIBBPF_OPTS(bpf_object_open_opts, open_options, .kernel_log_buf = log, .kernel_log_size = sizeof(log));
	const char *file = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	struct bpf_object *object = bpf_object__open_file(path, &open_options);
	struct switches switches = {0};
	char option[256];
	int error;

	if (!object) {
		printf("not ok %u - %s opens: %s\n", ++tests, path, strerror(errno));
		failures++;
		return false;
	}
	rodata_find(bpf_object__btf(object), NULL, &switches);
	*ret_switches = switches.count;
	apply(object, size, &switches, bits);
	option_name(option, sizeof(option), size, &switches, bits);
	log[0] = 0;
	error = bpf_object__load(object);
	if (error) {
		print_tail(log);
		printf("not ok %u - verifier_accepts_%s_by_%s_at_%s (%s)\n", ++tests, file, compiler, option,
		       strerror(-error));
		failures++;
	} else {
		report_programs(object, compiler, file, option);
	}
	bpf_object__close(object);
	return !error;
}

/* One object at every sizing and every combination of switches, up to the first refusal: a program that is too much for
 * the verifier keeps it busy for minutes each time. */
static void try_object(const char *path, const char *compiler)
{
	for (size_t s = 0; s < sizeof(sizings) / sizeof(*sizings); s++) {
		unsigned switches = 0;

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

static int silent(enum libbpf_print_level level, const char *format, va_list args)
{
	return 0;
}

int main(int argc, char **argv)
{
	_cleanup_free_ char *rows = NULL;
	size_t length;

	setvbuf(stdout, NULL, _IOLBF, 0);
	libbpf_set_print(silent);
	table = open_memstream(&rows, &length);
	if (argc < 2 || !table) {
		fprintf(stderr, "usage: verifier DIRECTORY...: the *.bpf.o in each are offered to this kernel\n");
		return 2;
	}
	for (int i = 1; i < argc; i++)
		try_directory(argv[i]);
	fclose(table);
	printf(ROW "%10s %8s\n%s1..%u\n", "kernel", "object", "program", "compiler", "option", "verified", "length",
	       rows, tests);
	return failures != 0;
}
