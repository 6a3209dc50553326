/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The maps of two loads of one program, made alike and compared. */
#include "twin.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/wide.h"
#include "lbd/dataplane/dataplane.h"
#include "lb.skel.h"
#include "long.skel.h"

#define TWIN_MAPS 40
#define WHAT      256

/* An array of the fixture, mapped; the twin's; and what it was. */
struct twin_map {
	const char *name;
	uint8_t *at, *twin, *before;
	size_t bytes;
	unsigned per_slot; /* bytes, of the arena's maps: only slots in use are copied; 0: all */
};

struct twin {
	struct long_bpf *skel;
	struct twin_map maps[TWIN_MAPS];
	unsigned count;
	uint32_t cpus;
	void *rates[8]; /* of each kind of answer, at twin_begin */
	struct packet out;
	int verdict;
};

/* ---- the maps ---- */

static bool is_compared(const struct bpf_map *map)
{
	static const char *const apart[] = {"limits",     "sources",     "offenders",
					    ".data.tick", LB_PROBES_MAP, "first_bytes",
					    "connects_of"};

	if (!(bpf_map__map_flags(map) & BPF_F_MMAPABLE) ||
	    bpf_map__map_flags(map) & BPF_F_RDONLY_PROG) /* constants */
		return false;
	for (size_t i = 0; i < sizeof(apart) / sizeof(*apart); i++)
		if (!strcmp(bpf_map__name(map), apart[i]))
			return false;
	return true;
}

static unsigned slot_bytes(const char *name)
{
	if (!strcmp(name, LB_ARENA_MAP))
		return sizeof(uint32_t);
	return !strcmp(name, LB_FRONTS_MAP) || !strcmp(name, "stamps") ? sizeof(uint16_t) : 0;
}

static void *memory_of(const struct bpf_map *map, size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	return at == MAP_FAILED ? NULL : at;
}

static int add_map(const struct fixture *f, struct twin *t, const struct bpf_map *map)
{
	const struct bpf_map *other = dataplane_map_find(t->skel->obj, map);
	struct twin_map *m = &t->maps[t->count++];

	m->name = bpf_map__name(map);
	m->bytes = (size_t)bpf_map__max_entries(map) * ((bpf_map__value_size(map) + 7) & ~7u);
	if (map == f->skel->maps.bss)
		m->bytes = FIXTURE_BACKENDS * sizeof(struct lb_backend);
	m->per_slot = slot_bytes(m->name);
	m->at = memory_of(map, m->bytes);
	m->twin = memory_of(other, m->bytes);
	m->before = malloc(m->bytes);
	return m->at && m->twin && m->before ? 0 : -ENOMEM;
}

static int find_maps(struct fixture *f, struct twin *t)
{
	struct bpf_map *map;
	int rc = 0;

	bpf_object__for_each_map (map, f->skel->obj)
		if (!rc && is_compared(map))
			rc = t->count < TWIN_MAPS ? add_map(f, t, map) : -ENOSPC;
	return rc;
}

static size_t bytes_in_use(const struct fixture *f, const struct twin_map *m)
{
	return m->per_slot ? f->slots * m->per_slot : m->bytes;
}

/* ---- maps that are not mapped ---- */

/* Reads the rates of both, or writes both. */
static void rates_move(const struct fixture *f, struct twin *t, bool read)
{
	for (uint32_t kind = 0; kind < bpf_map__max_entries(f->skel->maps.icmp_budgets); kind++) {
		int fd = bpf_map__fd(f->skel->maps.icmp_budgets);

		if (read)
			assert_int_equal(bpf_map_lookup_elem(fd, &kind, t->rates[kind]), 0);
		else
			assert_int_equal(bpf_map_update_elem(fd, &kind, t->rates[kind], BPF_ANY),
					 0);
		fd = bpf_map__fd(t->skel->maps.icmp_budgets);
		assert_int_equal(bpf_map_update_elem(fd, &kind, t->rates[kind], BPF_ANY), 0);
	}
}

static void paths_copy(const struct fixture *f, const struct twin *t)
{
	int from = bpf_map__fd(f->skel->maps.paths), to = bpf_map__fd(t->skel->maps.paths);
	struct lb_path_key key, *last = NULL;
	struct lb_path path;

	while (!bpf_map_get_next_key(to, NULL, &key))
		assert_int_equal(bpf_map_delete_elem(to, &key), 0);
	for (; !bpf_map_get_next_key(from, last, &key); last = &key) {
		assert_int_equal(bpf_map_lookup_elem(from, &key, &path), 0);
		assert_int_equal(bpf_map_update_elem(to, &key, &path, BPF_ANY), 0);
	}
}

/* Which addresses are this host's: the program only reads them. */
static void locals_copy(const struct fixture *f, const struct twin *t)
{
	int from = bpf_map__fd(f->skel->maps.locals), to = bpf_map__fd(t->skel->maps.locals);
	struct lb_path_key key, *last = NULL;
	__u32 one = 1;

	while (!bpf_map_get_next_key(to, NULL, &key))
		assert_int_equal(bpf_map_delete_elem(to, &key), 0);
	for (; !bpf_map_get_next_key(from, last, &key); last = &key)
		assert_int_equal(bpf_map_update_elem(to, &key, &one, BPF_ANY), 0);
}

static bool paths_same(const struct fixture *f, const struct twin *t)
{
	int one = bpf_map__fd(f->skel->maps.paths), other = bpf_map__fd(t->skel->maps.paths);
	struct lb_path_key key, *last = NULL;
	struct lb_path a, b;

	for (; !bpf_map_get_next_key(one, last, &key); last = &key)
		if (bpf_map_lookup_elem(one, &key, &a) || bpf_map_lookup_elem(other, &key, &b) ||
		    memcmp(&a, &b, sizeof(a)))
			return false;
	return true;
}

/* The chunks of filters are read only: the twin has the same ones. */
static void filters_share(const struct fixture *f, const struct twin *t)
{
	int from = bpf_map__fd(f->skel->maps.filters), to = bpf_map__fd(t->skel->maps.filters);
	uint32_t id;

	for (uint32_t i = 0; i < LB_FILTER_CHUNKS; i++) {
		if (bpf_map_lookup_elem(from, &i, &id)) {
			bpf_map_delete_elem(to, &i);
			continue;
		}
		int fd = bpf_map_get_fd_by_id(id);

		assert_true(fd >= 0);
		assert_int_equal(bpf_map_update_elem(to, &i, &fd, BPF_ANY), 0);
		close(fd);
	}
}

/* ---- both ---- */

void twin_begin(struct fixture *f)
{
	struct twin *t = f->twin;

	fixture_sync(f);
	for (unsigned i = 0; i < t->count; i++) {
		memcpy(t->maps[i].before, t->maps[i].at, bytes_in_use(f, &t->maps[i]));
		memcpy(t->maps[i].twin, t->maps[i].at, bytes_in_use(f, &t->maps[i]));
	}
	rates_move(f, t, true);
	paths_copy(f, t);
	locals_copy(f, t);
	if (f->map.settings->filters)
		filters_share(f, t);
}

void twin_again(struct fixture *f)
{
	struct twin *t = f->twin;

	for (unsigned i = 0; i < t->count; i++) {
		memcpy(t->maps[i].at, t->maps[i].before, bytes_in_use(f, &t->maps[i]));
		memcpy(t->maps[i].twin, t->maps[i].before, bytes_in_use(f, &t->maps[i]));
	}
	rates_move(f, t, false);
}

bool twin_same_maps(struct fixture *f, char *what)
{
	struct twin *t = f->twin;

	for (unsigned i = 0; i < t->count; i++) {
		const struct twin_map *m = &t->maps[i];
		size_t at = 0;

		/* the program only reads `vips`, whose words the twin does not look at */
		if (!strcmp(m->name, LB_VIPS_MAP) || !memcmp(m->at, m->twin, bytes_in_use(f, m)))
			continue;
		while (m->at[at] == m->twin[at])
			at++;
		snprintf(what, WHAT, "map %s differs at byte %zu", m->name, at);
		return false;
	}
	if (!paths_same(f, t)) {
		snprintf(what, WHAT, "map paths differs");
		return false;
	}
	return true;
}

/* What came out of both. */
static bool same_out(const struct fixture *f, char *what)
{
	const struct twin *t = f->twin;

	if (f->verdict != t->verdict)
		snprintf(what, WHAT, "verdict: straight %d, long %d", f->verdict, t->verdict);
	else if (f->out.len != t->out.len)
		snprintf(what, WHAT, "length: straight %zu, long %zu", f->out.len, t->out.len);
	else if (memcmp(f->out.data, t->out.data, f->out.len))
		snprintf(what, WHAT, "bytes differ");
	else
		return true;
	return false;
}

static int run_both(struct fixture *f, const void *data, size_t length, struct xdp_md *ctx)
{
	struct twin *t = f->twin;
	struct xdp_md copy = ctx ? *ctx : (struct xdp_md){0};
	int rc = fixture_run(bpf_program__fd(f->skel->progs.lb), data, length, ctx, &f->out,
			     &f->verdict);

	return rc ? rc
		  : fixture_run(bpf_program__fd(t->skel->progs.lb), data, length,
				ctx ? &copy : NULL, &t->out, &t->verdict);
}

bool twin_send(struct fixture *f, char *what)
{
	int rc = run_both(f, f->in.data, f->in.len, NULL);

	if (rc)
		fail_msg("BPF_PROG_TEST_RUN with %zu bytes: %s", f->in.len, strerror(-rc));
	return same_out(f, what);
}

/* For fixture_send. */
static int compare_one(struct fixture *f, const void *data, size_t length, struct xdp_md *ctx)
{
	struct xdp_md copy = ctx ? *ctx : (struct xdp_md){0};
	char what[WHAT];

	twin_begin(f);
	for (int i = 0; i < TWIN_TRIES; i++) {
		struct xdp_md again = copy;
		uint32_t tick = fixture_tick();
		int rc;

		if (i)
			twin_again(f);
		rc = run_both(f, data, length, ctx ? &again : NULL);
		if (rc || (same_out(f, what) && twin_same_maps(f, what)))
			return rc;
		if (i && fixture_tick() == tick)
			break;
	}
	packet_print("packet in", &f->in);
	fail_msg("the straight path and the long one differ: %s", what);
	return -1;
}

/* ---- opening ---- */

static int twin_load(struct fixture *f, struct twin *t)
{
	int rc;

	t->skel = long_bpf__open();
	if (!t->skel)
		return -errno;
	fixture_size_maps(t->skel->obj, f->cpus);
	FIXTURE_SET_CONSTANTS(t->skel->rodata);
	rc = bpf_object__load(t->skel->obj);
	if (!rc)
		rc = fixture_programs(t->skel->obj);
	if (!rc)
		rc = bpf_map_update_elem(bpf_map__fd(t->skel->maps.egress), &f->egress, &f->egress,
					 BPF_ANY);
	for (unsigned i = 0; i < sizeof(t->rates) / sizeof(*t->rates) && !rc; i++) {
		t->rates[i] = calloc(f->cpus, 64);
		rc = t->rates[i] ? 0 : -ENOMEM;
	}
	return rc ? rc : find_maps(f, t);
}

int twin_fixture_open(void **state)
{
	struct fixture *f;
	int rc = fixture_open(state);

	f = rc ? NULL : fixture_or_null();
	if (!f)
		return rc;
	f->twin = calloc(1, sizeof(*f->twin));
	if (!f->twin)
		return -ENOMEM;
	rc = twin_load(f, f->twin);
	if (rc)
		fprintf(stderr, "loading long.bpf.o: %s\n", strerror(-rc));
	f->send_twice = compare_one;
	return rc;
}

int twin_fixture_close(void **state)
{
	struct fixture *f = fixture_or_null();

	if (f && f->twin) {
		for (unsigned i = 0; i < f->twin->count; i++)
			free(f->twin->maps[i].before);
		for (unsigned i = 0; i < sizeof(f->twin->rates) / sizeof(*f->twin->rates); i++)
			free(f->twin->rates[i]);
		wide_release(f->twin->skel->obj);
		long_bpf__destroy(f->twin->skel);
		free(f->twin);
		f->twin = NULL;
	}
	return fixture_close(state);
}
