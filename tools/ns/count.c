/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a packet costs besides time: instructions, accesses to memory and cache lines of maps, by
 * source file. Packets of a scenario run through an interpreter (machine.c), instruction by
 * instruction as the kernel holds the program after verification, on the data plane's own maps. */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "tools/ns/machine.h"
#include "tools/ns/ns.h"

#define PACKETS    1000
#define FIRST_NEW  (1u << 21) /* flows that no warm-up has sent */
#define MOST_MAPS  48
#define HEADROOM   256
#define FRAME_ROOM 2048

static const uint16_t fields_v4[] = BENCH_FIELDS_V4, fields_v6[] = BENCH_FIELDS_V6;

/* ---- maps ---- */

struct map {
	uint32_t id, entries;
	uint64_t values; /* address of the first */
	size_t bytes;    /* mapped */
	uint64_t *slots; /* per-CPU: addresses of the values */
	char *memory;
};

/* The context of a machine: what a program sees of the kernel. */
struct world {
	struct map map[MOST_MAPS];
	unsigned maps;
	uint32_t values_offset; /* from a map's address to its first value */
	struct xdp_context {    /* struct xdp_buff */
		uint64_t data, data_end, data_meta, hard_start, rxq;
		uint8_t rest[128];
	} xdp;
	uint64_t rxq[16];   /* struct xdp_rxq_info: begins with the device */
	uint32_t dev[1024]; /* struct net_device: the ifindex everywhere */
	uint64_t processor; /* number of this CPU */
	uint64_t jiffies;
	uint8_t packet[HEADROOM + FRAME_ROOM];
	char group[MACHINE_GROUPS][32];
	unsigned groups;
};

static int map_mmap(struct machine *m, struct map *map, int fd, const struct bpf_map_info *info)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t bytes = (size_t)((info->value_size + 7) & ~7u) * info->max_entries;
	bool constant = info->map_flags & BPF_F_RDONLY_PROG;
	void *at;

	map->bytes = (bytes + page - 1) / page * page;
	at = mmap(NULL, map->bytes, constant ? PROT_READ : PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		  0);
	if (at == MAP_FAILED)
		return -errno;
	map->values = (uint64_t)at;
	return machine_region(m, at, bytes, REGION_MAP) ? 0 : -ENOSPC;
}

/* A per-CPU array has a table of pointers, and values of its own for each CPU: here for one. */
static int map_per_cpu(struct machine *m, struct map *map, const struct bpf_map_info *info)
{
	size_t size = (info->value_size + 7) & ~7u;

	map->slots = calloc(info->max_entries, sizeof(*map->slots));
	map->memory = calloc(info->max_entries, size);
	if (!map->slots || !map->memory)
		return -ENOMEM;
	for (uint32_t i = 0; i < info->max_entries; i++)
		map->slots[i] = (uint64_t)(map->memory + i * size);
	map->values = (uint64_t)map->slots;
	return machine_region(m, map->slots, info->max_entries * 8, REGION_MAP) &&
		       machine_region(m, map->memory, info->max_entries * size, REGION_MAP)
		   ? 0
		   : -ENOSPC;
}

/* Other kinds of maps are left out: a program that uses one ends with a fault. */
static int map_add(struct machine *m, int fd)
{
	struct world *world = m->context;
	struct bpf_map_info info = {0};
	uint32_t length = sizeof(info);
	struct map *map = &world->map[world->maps];

	if (world->maps == MOST_MAPS)
		return -ENOSPC;
	if (bpf_obj_get_info_by_fd(fd, &info, &length))
		return -errno;
	map->id = info.id;
	map->entries = info.max_entries;
	if (info.type == BPF_MAP_TYPE_PERCPU_ARRAY)
		world->maps++;
	else if (info.type == BPF_MAP_TYPE_ARRAY && info.map_flags & BPF_F_MMAPABLE)
		world->maps++;
	else
		return 0;
	return info.type == BPF_MAP_TYPE_ARRAY ? map_mmap(m, map, fd, &info)
					       : map_per_cpu(m, map, &info);
}

static uint64_t map_address(struct machine *m, uint8_t kind, uint32_t id, uint32_t offset)
{
	const struct world *world = m->context;
	const uint64_t value = id | (uint64_t)offset << 32;

	/* a constant that the compiler would have put into a shorter instruction: the verifier
	 * has put the address of jiffies there */
	if (!kind)
		return (int64_t)value < 0 && (int64_t)value >= INT32_MIN ? (uint64_t)&world->jiffies
									 : value;
	for (unsigned i = 0; i < world->maps; i++)
		if (world->map[i].id == id)
			return kind == BPF_PSEUDO_MAP_VALUE
				   ? world->map[i].values + offset
				   : world->map[i].values - world->values_offset;
	return 0;
}

/* Where the values begin in the kernel's struct bpf_array: it is the last member. */
static uint32_t values_offset(void)
{
	struct btf *btf = btf__load_vmlinux_btf();
	int id = btf ? btf__find_by_name_kind(btf, "bpf_array", BTF_KIND_STRUCT) : -1;
	uint32_t offset = 0;

	if (id > 0) {
		const struct btf_type *type = btf__type_by_id(btf, (uint32_t)id);

		offset = btf_member_bit_offset(type, btf_vlen(type) - 1) / 8;
	}
	btf__free(btf);
	return offset;
}

/* ---- helpers ---- */

static void adjust_head(struct machine *m)
{
	struct world *world = m->context;

	world->xdp.data += (uint64_t)(int64_t)(int32_t)m->reg[2];
	world->xdp.data_meta = world->xdp.data;
	m->reg[0] = 0;
}

static void coarse_time(struct machine *m)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	m->reg[0] = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void random_number(struct machine *m)
{
	m->reg[0] = (uint32_t)rand();
}

static void processor(struct machine *m)
{
	m->reg[0] = ((struct world *)m->context)->processor;
}

static void array_lookup(struct machine *m)
{
	const struct world *world = m->context;
	uint64_t values = m->reg[1] + world->values_offset;
	uint32_t index = *(const uint32_t *)m->reg[2];

	m->reg[0] = 0;
	for (unsigned i = 0; i < world->maps; i++) {
		const struct map *map = &world->map[i];

		if (map->values == values && index < map->entries && map->slots)
			m->reg[0] = map->slots[index];
	}
}

static struct helper {
	const char *name;
	void (*run)(struct machine *m);
	uint64_t address;
} helpers[] = {
    {"bpf_xdp_adjust_head", adjust_head, 0},
    {"bpf_ktime_get_coarse_ns", coarse_time, 0},
    {"bpf_ktime_get_ns", coarse_time, 0},
    {"bpf_user_rnd_u32", random_number, 0},
    {"bpf_get_smp_processor_id", processor, 0},
    {"bpf_get_raw_cpu_id", processor, 0},
    {"percpu_array_map_lookup_elem", array_lookup, 0},
    {"__bpf_call_base", NULL, 0}, /* calls are relative to it */
};

#define HELPERS (sizeof(helpers) / sizeof(*helpers))

static int helpers_find(void)
{
	_cleanup_fclose_ FILE *symbols = fopen("/proc/kallsyms", "r");
	char line[256], name[128];
	unsigned long address;

	while (symbols && fgets(line, sizeof(line), symbols)) {
		if (sscanf(line, "%lx %*c %127s", &address, name) != 2)
			continue;
		for (size_t i = 0; i < HELPERS; i++)
			if (!strcmp(helpers[i].name, name))
				helpers[i].address = address;
	}
	return helpers[HELPERS - 1].address ? 0 : -1;
}

static void symbol_print(uint64_t wanted)
{
	_cleanup_fclose_ FILE *symbols = fopen("/proc/kallsyms", "r");
	char line[256], name[128];
	unsigned long address;

	while (symbols && fgets(line, sizeof(line), symbols))
		if (sscanf(line, "%lx %*c %127s", &address, name) == 2 && address == wanted)
			fprintf(stderr, "bench_ns: the program calls %s\n", name);
}

static bool call(struct machine *m, int32_t relative)
{
	uint64_t address = helpers[HELPERS - 1].address + (uint64_t)(int64_t)relative;

	for (size_t i = 0; i < HELPERS - 1; i++) {
		if (helpers[i].address != address)
			continue;
		helpers[i].run(m);
		return true;
	}
	symbol_print(address);
	return false;
}

/* What the program adds the CPU's base to: a pointer out of a per-CPU array, or the variable that
 * holds the CPU's number. */
static uint64_t per_cpu(struct machine *m, uint64_t at)
{
	return machine_find(m, at, 1) ? at : (uint64_t) & ((struct world *)m->context)->processor;
}

/* ---- the program, as the kernel holds it ---- */

struct program {
	struct bpf_insn *code;
	struct bpf_line_info *lines;
	uint8_t *group;
	uint32_t length, lines_count;
	uint32_t btf_id;
};

static void program_free(struct program *program)
{
	free(program->code);
	free(program->lines);
	free(program->group);
}

static int program_read(const struct bpf_program *loaded, struct program *ret)
{
	struct bpf_prog_info info = {0}, sizes = {0};
	uint32_t length = sizeof(info);
	int fd = bpf_program__fd(loaded);

	if (bpf_obj_get_info_by_fd(fd, &sizes, &length))
		return -errno;
	ret->code = malloc(sizes.xlated_prog_len);
	ret->lines = calloc(sizes.nr_line_info, sizeof(*ret->lines));
	ret->group = calloc(sizes.xlated_prog_len / sizeof(struct bpf_insn), 1);
	if (!ret->code || !ret->lines || !ret->group)
		return -ENOMEM;
	info.xlated_prog_len = sizes.xlated_prog_len;
	info.xlated_prog_insns = (uint64_t)ret->code;
	info.nr_line_info = sizes.nr_line_info;
	info.line_info_rec_size = sizeof(*ret->lines);
	info.line_info = (uint64_t)ret->lines;
	if (bpf_obj_get_info_by_fd(fd, &info, &length))
		return -errno;
	ret->length = info.xlated_prog_len / sizeof(struct bpf_insn);
	ret->lines_count = info.nr_line_info;
	ret->btf_id = info.btf_id;
	return info.xlated_prog_insns ? 0 : -EPERM;
}

/* Of more files than there are groups, the last ones share one. */
static uint8_t group_of(struct world *world, const char *path)
{
	const char *file = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	unsigned i = 0;

	while (i < world->groups && strcmp(world->group[i], file) != 0)
		i++;
	if (i == MACHINE_GROUPS)
		return MACHINE_GROUPS - 1;
	if (i == world->groups)
		snprintf(world->group[world->groups++], sizeof(world->group[0]), "%s", file);
	return (uint8_t)i;
}

/* Each instruction belongs to the file of the line that it was made of. */
static int program_group(struct world *world, struct program *program)
{
	struct btf *btf = btf__load_from_kernel_by_id(program->btf_id);
	uint32_t line = 0;
	uint8_t group = 0;

	if (!btf)
		return -errno;
	for (uint32_t i = 0; i < program->length; i++) {
		while (line < program->lines_count && program->lines[line].insn_off <= i) {
			uint32_t file = program->lines[line++].file_name_off;

			group = group_of(world, btf__name_by_offset(btf, file) ?: "?");
		}
		program->group[i] = group;
	}
	btf__free(btf);
	return 0;
}

/* ---- packets ---- */

static void packet_set(struct machine *m, const struct bench *bench, uint32_t flow)
{
	struct world *world = m->context;
	uint8_t *at = world->packet + HEADROOM;

	frame_of(bench, flow, at);
	m->packet = (uint64_t)at;
	world->xdp.data = world->xdp.data_meta = (uint64_t)at;
	world->xdp.data_end = (uint64_t)(at + bench->job->length);
	world->xdp.hard_start = (uint64_t)world->packet;
	world->xdp.rxq = (uint64_t)world->rxq;
	world->rxq[0] = (uint64_t)world->dev;
}

static void costs_add(struct costs *sum, const struct costs *more)
{
	sum->instructions += more->instructions;
	sum->loads += more->loads;
	sum->stores += more->stores;
	sum->stack_loads += more->stack_loads;
	sum->atomics += more->atomics;
	sum->calls += more->calls;
	sum->map_lines += more->map_lines;
	sum->spanning_loads += more->spanning_loads;
}

static uint32_t flow_next(const struct bench *bench, uint32_t i, uint32_t *dice)
{
	if (bench->scenario->fresh)
		return FIRST_NEW + i;
	*dice = *dice * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)*dice * bench->scenario->flows >> 32);
}

static int packets_run(struct machine *m, const struct bench *bench, int verdict,
		       struct costs sum[MACHINE_GROUPS])
{
	uint32_t dice = 1;

	for (uint32_t i = 0; i < PACKETS; i++) {
		int got;

		packet_set(m, bench, flow_next(bench, i, &dice));
		got = machine_run(m, (uint64_t) & ((struct world *)m->context)->xdp);
		if (got != verdict) {
			fprintf(stderr, "bench_ns: %s: instruction %u: %s (verdict %d)\n",
				bench->scenario->name, m->fault_at, m->fault ?: "wrong verdict",
				got);
			return -1;
		}
		for (unsigned g = 0; g < MACHINE_GROUPS; g++)
			costs_add(&sum[g], &m->costs[g]);
	}
	return 0;
}

/* ---- the result ---- */

static double mean(uint64_t sum)
{
	return (double)sum / PACKETS;
}

static json_t *costs_json(const struct costs *sum)
{
	return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "instructions",
			 mean(sum->instructions), "loads", mean(sum->loads), "stack_loads",
			 mean(sum->stack_loads), "stores", mean(sum->stores), "atomics",
			 mean(sum->atomics), "calls", mean(sum->calls), "map_lines",
			 mean(sum->map_lines), "spanning_loads", mean(sum->spanning_loads));
}

static json_t *row_make(const struct world *world, const char *scenario, const char *program,
			const struct costs sum[MACHINE_GROUPS])
{
	json_t *files = json_array(), *row;
	struct costs all = {0};

	for (unsigned g = 0; g < world->groups; g++) {
		json_t *file;

		if (!sum[g].instructions)
			continue;
		costs_add(&all, &sum[g]);
		file = costs_json(&sum[g]);
		json_object_set_new(file, "file", json_string(world->group[g]));
		json_array_append_new(files, file);
	}
	row = costs_json(&all);
	json_object_set_new(row, "scenario", json_string(scenario));
	json_object_set_new(row, "program", json_string(program));
	json_object_set_new(row, "files", files);
	return row;
}

/* ---- the whole ---- */

static int maps_add(struct machine *m, struct bpf_object *object)
{
	struct bpf_map *map;
	int rc = 0;

	bpf_object__for_each_map (map, object)
		if (!rc)
			rc = map_add(m, bpf_map__fd(map));
	return rc;
}

static int world_make(struct machine *m, struct bench *bench)
{
	struct world *world = m->context;

	for (unsigned i = 0; i < sizeof(world->dev) / sizeof(*world->dev); i++)
		world->dev[i] = 1; /* lo, as BPF_PROG_TEST_RUN */
	world->values_offset = values_offset();
	if (!world->values_offset || helpers_find()) {
		fprintf(stderr, "bench_ns: --count needs the kernel's BTF and symbols\n");
		return -1;
	}
	m->call = call;
	m->map_address = map_address;
	m->per_cpu = per_cpu;
	m->fields = bench->scenario->ipv6 ? fields_v6 : fields_v4;
	machine_region(m, m->stack, sizeof(m->stack), REGION_STACK);
	machine_region(m, world->packet, sizeof(world->packet), REGION_PACKET);
	machine_region(m, &world->xdp, sizeof(world->xdp), REGION_OTHER);
	machine_region(m, world->rxq, sizeof(world->rxq), REGION_OTHER);
	machine_region(m, world->dev, sizeof(world->dev), REGION_OTHER);
	machine_region(m, &world->processor, sizeof(world->processor), REGION_OTHER);
	machine_region(m, &world->jiffies, sizeof(world->jiffies), REGION_OTHER);
	return maps_add(m, bench->object);
}

static void world_free(struct world *world)
{
	for (unsigned i = 0; i < world->maps; i++) {
		struct map *map = &world->map[i];

		if (map->bytes)
			munmap((void *)map->values, map->bytes);
		free(map->slots);
		free(map->memory);
	}
	free(world);
}

static json_t *program_count(struct machine *m, const struct bench *bench,
			     const struct bpf_program *loaded, const char *name, int verdict)
{
	struct costs sum[MACHINE_GROUPS] = {0};
	struct program program = {0};
	json_t *row = NULL;

	if (program_read(loaded, &program) || program_group(m->context, &program)) {
		fprintf(stderr, "bench_ns: the kernel does not show the program's instructions\n");
	} else {
		m->code = program.code;
		m->length = program.length;
		m->group = program.group;
		if (!packets_run(m, bench, verdict, sum))
			row = row_make(m->context, bench->scenario->name, name, sum);
	}
	program_free(&program);
	return row;
}

json_t *scenario_count(const struct scenario *scenario, const char *object)
{
	struct bench bench = {.scenario = scenario, .object_path = object};
	struct machine *m = calloc(1, sizeof(*m));
	struct world *world = calloc(1, sizeof(*world));
	json_t *rows = json_array(), *lbd, *floor;
	int rc = -1;

	if (m && world) {
		m->context = world;
		rc = bench_open(&bench) || world_make(m, &bench);
	}
	if (!rc) {
		lbd = program_count(m, &bench, bench.one_lbd, "lbd", scenario->not_vip ? 2 : 3);
		floor = program_count(m, &bench, bench.one_floor, "floor-encap", 3);
		rc = !lbd || !floor || json_array_append_new(rows, lbd) ||
		     json_array_append_new(rows, floor);
	}
	bench_close(&bench);
	if (world)
		world_free(world);
	free(m);
	if (!rc)
		return rows;
	json_decref(rows);
	return NULL;
}
