/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Loads the benchmark's programs onto the maps of a data plane, and runs them. */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/wide.h"
#include "tools/ns/ns.h"
#include "bench.skel.h"

#define LOG_SIZE (16u << 20)

const char *const candidate_names[CANDIDATES] = {"harness", "floor-macswap", "floor-encap", "lbd"};

/* ---- maps and constants, as lbd has set them ---- */

static int maps_share(const struct bench *bench)
{
	struct bpf_object *lb = dataplane_object(bench->dp);
	struct bpf_map *map, *other;

	bpf_object__for_each_map (map, bench->object) {
		if (bpf_map__map_flags(map) & BPF_F_RDONLY_PROG)
			continue; /* constants: see below */
		other = dataplane_map_find(lb, map);
		if (other && bpf_map__reuse_fd(map, bpf_map__fd(other)))
			return -1;
	}
	return 0;
}

static struct bpf_map *rodata_of(struct bpf_object *object)
{
	struct bpf_map *map;

	bpf_object__for_each_map (map, object)
		if (bpf_map__is_internal(map) && strstr(bpf_map__name(map), ".rodata"))
			return map;
	return NULL;
}

static const struct btf_var_secinfo *constant_find(const struct btf *btf, const char *name)
{
	int id = btf__find_by_name_kind(btf, ".rodata", BTF_KIND_DATASEC);
	const struct btf_type *section = id > 0 ? btf__type_by_id(btf, (uint32_t)id) : NULL;

	for (unsigned i = 0; section && i < btf_vlen(section); i++) {
		const struct btf_var_secinfo *at = btf_var_secinfos(section) + i;
		const struct btf_type *var = btf__type_by_id(btf, at->type);

		if (!strcmp(btf__name_by_offset(btf, var->name_off), name))
			return at;
	}
	return NULL;
}

/* Copies each constant of this name. The objects may come from two compilers, which order them
 * differently. */
static void constants_copy(const struct btf *to_btf, char *to, const struct btf *from_btf,
			   const char *from)
{
	int id = btf__find_by_name_kind(to_btf, ".rodata", BTF_KIND_DATASEC);
	const struct btf_type *section = id > 0 ? btf__type_by_id(to_btf, (uint32_t)id) : NULL;

	for (unsigned i = 0; section && i < btf_vlen(section); i++) {
		const struct btf_var_secinfo *at = btf_var_secinfos(section) + i, *source;
		const struct btf_type *var = btf__type_by_id(to_btf, at->type);

		source = constant_find(from_btf, btf__name_by_offset(to_btf, var->name_off));
		if (source && source->size == at->size)
			memcpy(to + at->offset, from + source->offset, at->size);
	}
}

static int constants_share(const struct bench *bench)
{
	struct bpf_object *lb = dataplane_object(bench->dp);
	struct bpf_map *to = rodata_of(bench->object), *from = rodata_of(lb);
	_cleanup_free_ char *value = NULL;
	const void *initial, *set;
	size_t length, ignored;

	initial = to ? bpf_map__initial_value(to, &length) : NULL;
	set = from ? bpf_map__initial_value(from, &ignored) : NULL;
	if (!initial || !set || !(value = malloc(length)))
		return -1;
	memcpy(value, initial, length);
	constants_copy(bpf_object__btf(bench->object), value, bpf_object__btf(lb), set);
	return bpf_map__set_initial_value(to, value, length);
}

/* ---- loading ---- */

static bool is_statistics(const char *line)
{
	return !strncmp(line, "processed ", 10) || !strncmp(line, "verification time ", 18) ||
	       !strncmp(line, "stack depth ", 12) || !strncmp(line, "insns processed", 15);
}

const char *verifier_line(char *log)
{
	const char *last = "";

	for (char *line = strtok(log, "\n"); line; line = strtok(NULL, "\n"))
		if (*line && !is_statistics(line))
			last = line;
	return last;
}

static struct bpf_object *object_open(const char *path, char *log)
{
	LIBBPF_OPTS(bpf_object_open_opts, options, .kernel_log_buf = log,
		    .kernel_log_size = LOG_SIZE);
	size_t size;
	const void *bytes = bench_bpf__elf_bytes(&size);

	return path ? bpf_object__open_file(path, &options)
		    : bpf_object__open_mem(bytes, size, &options);
}

static size_t pages(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (size + page - 1) / page * page;
}

static void *map_view(const struct bench *bench, const char *name, size_t size)
{
	struct bpf_map *map = bpf_object__find_map_by_name(bench->object, name);
	void *at = MAP_FAILED;

	if (map)
		at = mmap(NULL, pages(size), PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map),
			  0);
	return at == MAP_FAILED ? NULL : at;
}

static struct bpf_program *program_find(const struct bench *bench, const char *name)
{
	return bpf_object__find_program_by_name(bench->object, name);
}

static size_t entries_bytes(const struct bench *bench)
{
	struct dp_memory memory;

	dataplane_memory(bench->dp, &memory);
	return memory.flows;
}

static int programs_find(struct bench *bench)
{
	const bool translated = bench->scenario->translated;
	const char *const names[CANDIDATES] = {"bench_noop", "bench_floor_macswap",
					       "bench_floor_encap",
					       translated ? "bench_translated" : "bench_lbd"};

	for (int i = 0; i < CANDIDATES; i++)
		if (!(bench->block[i] = program_find(bench, names[i])))
			return -1;
	bench->one_lbd = program_find(bench, translated ? "one_translated" : "one_lbd");
	bench->one_floor = program_find(bench, "one_floor_encap");
	bench->job = map_view(bench, "bench_jobs", sizeof(*bench->job));
	bench->result = map_view(bench, "bench_results", sizeof(*bench->result));
	bench->settings = map_view(bench, LB_SETTINGS_MAP, sizeof(*bench->settings));
	bench->entries = map_view(bench, "flows", entries_bytes(bench));
	return bench->one_lbd && bench->one_floor && bench->job && bench->result &&
		       bench->settings && bench->entries
		   ? 0
		   : -1;
}

int programs_load(struct bench *bench)
{
	const char *from = bench->object_path ?: "the benchmark's programs";
	_cleanup_free_ char *log = calloc(1, LOG_SIZE);

	bench->object = log ? object_open(bench->object_path, log) : NULL;
	if (!bench->object || maps_share(bench) || constants_share(bench)) {
		fprintf(stderr, "bench_ns: %s: cannot be opened: %s\n", from, strerror(errno));
		return -1;
	}
	if (bpf_object__load(bench->object)) {
		fprintf(stderr, "bench_ns: %s: not loaded: %s\n  verifier: %s\n", from,
			strerror(errno), verifier_line(log));
		bench->refused = true;
		return -1;
	}
	return programs_find(bench);
}

void programs_unload(struct bench *bench)
{
	if (bench->job)
		munmap(bench->job, pages(sizeof(*bench->job)));
	if (bench->result)
		munmap(bench->result, pages(sizeof(*bench->result)));
	if (bench->settings)
		munmap(bench->settings, pages(sizeof(*bench->settings)));
	if (bench->entries)
		munmap(bench->entries, pages(entries_bytes(bench)));
	wide_release(bench->object);
	bpf_object__close(bench->object);
	bench->settings = NULL;
	bench->entries = NULL;
	bench->job = NULL;
	bench->result = NULL;
	bench->object = NULL;
}

/* ---- running ---- */

int program_run(const struct bpf_program *program, const void *in, uint32_t length, void *out,
		uint32_t *ret_length)
{
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = in, .data_size_in = length,
		    .data_out = out, .data_size_out = out ? *ret_length : 0, .repeat = 1);

	if (bpf_prog_test_run_opts(bpf_program__fd(program), &options) && errno != ENOSPC)
		return -errno;
	if (ret_length)
		*ret_length = options.data_size_out;
	return (int)options.retval;
}

int block_run(const struct bench *bench, enum candidate candidate)
{
	const struct bench_job *job = bench->job;

	return program_run(bench->block[candidate], job->frame, job->length, NULL, NULL) == 2 ? 0
											      : -1;
}

uint32_t program_verified(const struct bpf_program *program)
{
	struct bpf_prog_info info = {0};
	uint32_t length = sizeof(info);

	if (bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &length))
		return 0;
	return info.verified_insns;
}
