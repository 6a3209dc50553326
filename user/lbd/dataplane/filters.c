/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The filters of all services as one image, which is built beside the present one and takes its
 * place with one store: no packet sees a part of a list. A map cannot grow, so the image is in
 * chunks of a map of maps, which are made when they are needed. */
#include "internal.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "lbd/host/host.h"

/* A prefix has two bounds, and a filter two lists: the program finds a place among all of them. */
_Static_assert(2 * 2 * FILTER_LIST_MAX <= LB_FILTER_BOUNDS, "LB_FILTER_SEARCH is too small");

/* A filter that is stored, and its head, which has the places of its parts. */
struct stored {
	const struct filter *filter;
	struct lb_filter_head head;
};

/* ---- layout ---- */

static uint64_t blocks_of(uint64_t words)
{
	return (words + LB_FILTER_WORDS - 1) / LB_FILTER_WORDS;
}

/* A directory with about as many entries as there are bounds, so that few of them lie between two
 * entries. */
static uint32_t shift_for(uint32_t bounds)
{
	uint32_t shift = 32;

	while (shift > LB_FILTER_SHIFT_LEAST && 1ULL << (32 - shift) < bounds)
		shift--;
	return shift;
}

static uint64_t directory_words(uint32_t shift)
{
	return (1ULL << (32 - shift)) + 1;
}

/* 16 to 32 verdicts for each bound, so that most have none within: as many bytes as bounds of IPv4
 * have. */
static uint32_t verdicts_shift_for(uint32_t bounds)
{
	uint32_t shift = 32;

	while (shift > LB_FILTER_VERDICTS_LEAST && 1ULL << (32 - shift) < 16ULL * bounds)
		shift--;
	return shift;
}

static uint64_t verdict_words(uint32_t shift)
{
	return ((1ULL << (32 - shift)) + LB_FILTER_VERDICTS - 1) / LB_FILTER_VERDICTS;
}

/* next: the next free block. */
static struct lb_filter_table place_table(bool denies, uint32_t bounds, uint32_t bound_words,
					  uint64_t *next)
{
	struct lb_filter_table table = {.denies = denies,
					.shift = shift_for(bounds),
					.verdicts_shift = verdicts_shift_for(bounds)};

	table.verdicts = (uint32_t)(*next * LB_FILTER_WORDS);
	*next += blocks_of(verdict_words(table.verdicts_shift));
	table.directory = (uint32_t)(*next * LB_FILTER_WORDS);
	*next += blocks_of(directory_words(table.shift));
	table.bounds = (uint32_t)(*next * LB_FILTER_WORDS);
	*next += blocks_of((uint64_t)bounds * bound_words);
	return table;
}

static int compare_stored(const void *a, const void *b)
{
	const struct filter *one = ((const struct stored *)a)->filter;
	const struct filter *other = ((const struct stored *)b)->filter;

	return (one->digest > other->digest) - (one->digest < other->digest);
}

static struct stored *find_stored(struct stored *list, size_t count, const struct filter *filter)
{
	const struct stored key = {.filter = filter};
	struct stored *at = bsearch(&key, list, count, sizeof(*list), compare_stored);

	while (at && at > list && at[-1].filter->digest == filter->digest)
		at--;
	while (at && at < list + count && !filter_equal(at->filter, filter))
		at++;
	return at && at < list + count ? at : NULL;
}

/* The different ones among the filters, sorted by digest. */
static size_t list_stored(const struct filter_image *image, uint32_t ids, struct stored *list)
{
	size_t all = 0, count = 0;

	for (uint32_t id = 1; id < ids; id++)
		if (image->of[id])
			list[all++].filter = image->of[id];
	qsort(list, all, sizeof(*list), compare_stored);
	for (size_t i = 0; i < all; i++)
		if (!find_stored(list, count, list[i].filter))
			list[count++] = list[i];
	return count;
}

/* Sets the places of all parts, and the size of the image. heads: blocks for them. */
static int place_all(struct filter_image *image, uint32_t heads, struct stored *list, size_t count)
{
	uint64_t next = heads;

	for (size_t i = 0; i < count; i++) {
		const struct filter *filter = list[i].filter;

		list[i].head.v4 = place_table(filter->denies4, filter->count4, 1, &next);
		list[i].head.v6 =
		    place_table(filter->denies6, filter->count6,
				sizeof(struct lb_filter_bound) / sizeof(uint32_t), &next);
		if (next * LB_FILTER_WORDS > UINT32_MAX)
			return -ENOSPC;
	}
	image->count = (uint32_t)next;
	return 0;
}

/* ---- content ---- */

/* A bound of either family, as the first of 128 bits. */
typedef struct lb_filter_bound bound_fn(const struct filter *filter, uint32_t at);

static struct lb_filter_bound bound4(const struct filter *filter, uint32_t at)
{
	return (struct lb_filter_bound){.high = (uint64_t)filter->bounds4[at] << 32};
}

static struct lb_filter_bound bound6(const struct filter *filter, uint32_t at)
{
	return filter->bounds6[at];
}

/* shift: of the first 32 bits. */
static uint64_t place_of(struct lb_filter_bound bound, uint32_t shift)
{
	return bound.high >> 32 >> shift;
}

/* Has it bits below the place's own? */
static bool lies_within(struct lb_filter_bound bound, uint32_t shift)
{
	return bound.low || bound.high << (32 - shift);
}

static void write_directory(uint32_t *words, const struct lb_filter_table *table, uint32_t bounds,
			    bound_fn *bound, const struct filter *filter)
{
	uint32_t *directory = words + table->directory, at = 0;
	const uint64_t entries = directory_words(table->shift);

	for (uint64_t entry = 0; entry < entries; entry++) {
		while (at < bounds && place_of(bound(filter, at), table->shift) < entry)
			at++;
		directory[entry] = at;
	}
}

/* `at` bounds lie below the first address of each place. A bound is within a place unless it is the
 * place's first address. */
static void write_verdicts(uint32_t *words, const struct lb_filter_table *table, uint32_t bounds,
			   bound_fn *bound, const struct filter *filter)
{
	uint32_t *verdicts = words + table->verdicts, at = 0;
	const uint64_t places = 1ULL << (32 - table->verdicts_shift);

	for (uint64_t place = 0; place < places; place++) {
		uint32_t verdict, here = at;

		while (here < bounds &&
		       place_of(bound(filter, here), table->verdicts_shift) == place)
			here++;
		if (at < here && !lies_within(bound(filter, at), table->verdicts_shift))
			at++;
		verdict = at < here ? LB_FILTER_MIXED : (table->denies ^ at) & 1;
		verdicts[place / LB_FILTER_VERDICTS] |= verdict << 2 * (place % LB_FILTER_VERDICTS);
		at = here;
	}
}

static void write_stored(struct lb_filter_block *blocks, const struct stored *stored)
{
	const struct filter *filter = stored->filter;
	uint32_t *words = blocks->word;

	write_verdicts(words, &stored->head.v4, filter->count4, bound4, filter);
	write_verdicts(words, &stored->head.v6, filter->count6, bound6, filter);
	write_directory(words, &stored->head.v4, filter->count4, bound4, filter);
	write_directory(words, &stored->head.v6, filter->count6, bound6, filter);
	memcpy(words + stored->head.v4.bounds, filter->bounds4,
	       filter->count4 * sizeof(*filter->bounds4));
	memcpy(words + stored->head.v6.bounds, filter->bounds6,
	       filter->count6 * sizeof(*filter->bounds6));
}

static void write_image(const struct filter_image *image, struct lb_filter_block *blocks,
			uint32_t heads, struct stored *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		write_stored(blocks, &list[i]);
		task_pause();
	}
	for (uint32_t id = 1; id < heads; id++)
		if (image->of[id])
			memcpy(&blocks[id], &find_stored(list, count, image->of[id])->head,
			       sizeof(*blocks));
}

/* ---- chunks ---- */

static int chunk_fill(int fd, const struct lb_filter_block *blocks, uint32_t count)
{
	void *at = mmap(NULL, FILTER_CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (at == MAP_FAILED)
		return -errno;
	memcpy(at, blocks, count * sizeof(*blocks));
	munmap(at, FILTER_CHUNK_BYTES);
	return 0;
}

/* The map holds the chunk from then on. */
static int chunk_make(struct dataplane *dp, uint32_t chunk, const struct lb_filter_block *blocks,
		      uint32_t count)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_MMAPABLE);
	_cleanup_close_ int fd =
	    bpf_map_create(BPF_MAP_TYPE_ARRAY, "lbd_filters", sizeof(uint32_t),
			   sizeof(struct lb_filter_block), LB_FILTER_CHUNK, &options);
	int rc = fd < 0 ? fd : chunk_fill(fd, blocks, count);

	if (!rc && bpf_map_update_elem(dp->filters_fd, &chunk, &fd, BPF_ANY))
		rc = -errno;
	dp->filter_chunks[chunk] |= !rc;
	return rc;
}

/* No packet may use them any more. */
static void chunks_drop(struct dataplane *dp, uint32_t first, uint32_t chunks)
{
	for (uint32_t chunk = first; dp->filters_fd >= 0 && chunk < first + chunks; chunk++) {
		if (dp->filter_chunks[chunk] && bpf_map_delete_elem(dp->filters_fd, &chunk))
			log_warning("filters: chunk %u cannot be removed: %s", chunk,
				    strerror(errno));
		dp->filter_chunks[chunk] = false;
	}
}

/* A run of so many places without a chunk. */
static bool find_run(const struct dataplane *dp, uint32_t chunks, uint32_t *ret_first)
{
	uint32_t run = 0;

	for (uint32_t chunk = 0; chunk < LB_FILTER_CHUNKS; chunk++) {
		run = dp->filter_chunks[chunk] ? 0 : run + 1;
		if (run < chunks)
			continue;
		*ret_first = chunk + 1 - chunks;
		return true;
	}
	return false;
}

static int fill_chunks(struct dataplane *dp, struct filter_image *image)
{
	uint32_t left = image->count;
	int rc = 0;

	for (uint32_t i = 0; !rc && i < image->chunks; i++) {
		uint32_t count = left < LB_FILTER_CHUNK ? left : LB_FILTER_CHUNK;

		rc = chunk_make(dp, image->first + i, image->blocks + (size_t)i * LB_FILTER_CHUNK,
				count);
		left -= count;
		task_pause();
	}
	free(image->blocks);
	image->blocks = NULL;
	return rc;
}

/* ---- the image ---- */

static int image_place(struct dataplane *dp, struct filter_image *image, struct error *err)
{
	int rc;

	image->chunks = (image->count + LB_FILTER_CHUNK - 1) / LB_FILTER_CHUNK;
	if (!find_run(dp, image->chunks, &image->first)) {
		image->chunks = 0;
		return error_set(err, -ENOSPC, "filters: the lists are too large together: %u MiB",
				 image->count / (LB_FILTER_CHUNK / 4));
	}
	if (dp->filters_fd < 0)
		return 0;
	rc = fill_chunks(dp, image);
	return rc ? error_set(err, rc, "filters: a map cannot be made: %s", strerror(-rc)) : 0;
}

static int image_make(struct dataplane *dp, struct filter_image *image, struct error *err)
{
	uint32_t ids = dp->maps.service_slots, heads = ids;
	_cleanup_free_ struct stored *list = calloc(ids, sizeof(*list));
	size_t count;

	if (!list)
		return error_set(err, -ENOMEM, "out of memory");
	/* a service whose filter goes is still told to have one until its line is written */
	while (heads > 1 && !image->of[heads - 1] && !dp->by_id[heads - 1])
		heads--;
	count = list_stored(image, ids, list);
	if (place_all(image, heads, list, count))
		return error_set(err, -ENOSPC, "filters: the lists are too large together");
	image->blocks = calloc(image->count, sizeof(*image->blocks));
	if (!image->blocks)
		return error_set(err, -ENOMEM, "out of memory");
	write_image(image, image->blocks, heads, list, count);
	return image_place(dp, image, err);
}

static void image_done(struct dataplane *dp, struct filter_image *image)
{
	for (uint32_t id = 1; image->of && id < dp->maps.service_slots; id++)
		filter_unref(image->of[id]);
	free(image->of);
	free(image->blocks);
	*image = (struct filter_image){0};
}

/* ---- a change ---- */

/* Services in force that are not in the plan are about to be removed. */
static void wanted_filters(const struct dataplane *dp, const struct service_plan *services,
			   size_t count, struct filter_image *image)
{
	for (uint32_t id = 1; id < dp->maps.service_slots; id++)
		if (dp->by_id[id])
			image->of[id] = filter_ref(dp->filters.of[id]);
	for (size_t i = 0; i < count; i++) {
		struct filter **of = &image->of[services[i].record->id];

		filter_unref(*of);
		*of = filter_ref(services[i].want.filter);
	}
}

static void compare_filters(const struct dataplane *dp, struct filters_plan *plan)
{
	plan->empty = true;
	plan->changed = dp->filters_adopted;
	for (uint32_t id = 1; id < dp->maps.service_slots; id++) {
		plan->empty &= !plan->image.of[id];
		plan->changed |= !filter_equal(plan->image.of[id], dp->filters.of[id]);
	}
}

int filters_plan_make(struct dataplane *dp, const struct service_plan *services, size_t count,
		      struct filters_plan *ret, struct error *err)
{
	*ret = (struct filters_plan){0};
	ret->image.of = calloc(dp->maps.service_slots, sizeof(*ret->image.of));
	if (!ret->image.of)
		return error_set(err, -ENOMEM, "out of memory");
	wanted_filters(dp, services, count, &ret->image);
	compare_filters(dp, ret);
	return ret->changed && !ret->empty ? image_make(dp, &ret->image, err) : 0;
}

/* The plan has the former image then, for plan_done. */
static void put_in_force(struct dataplane *dp, struct filters_plan *plan)
{
	struct filter_image before = dp->filters;

	dp_store(&dp->maps.settings->filters, plan->image.chunks ? plan->image.first + 1 : 0);
	dp->filters = plan->image;
	plan->image = before;
	plan->done = true;
}

void filters_install(struct dataplane *dp, struct filters_plan *plan)
{
	if (plan->changed && !plan->empty)
		put_in_force(dp, plan);
}

void filters_remove(struct dataplane *dp, struct filters_plan *plan)
{
	if (plan->changed && plan->empty)
		put_in_force(dp, plan);
}

/* Chunks of an earlier lbd: those in force, and what it left when it was killed. */
static void drop_adopted(struct dataplane *dp)
{
	for (uint32_t chunk = 0; chunk < LB_FILTER_CHUNKS; chunk++)
		if (chunk < dp->filters.first || chunk >= dp->filters.first + dp->filters.chunks)
			chunks_drop(dp, chunk, 1);
	dp->filters_adopted = false;
}

void filters_plan_done(struct dataplane *dp, struct filters_plan *plan)
{
	if (plan->done) {
		dp->grace_owed = true;
		dp_grace(dp);
	}
	chunks_drop(dp, plan->image.first, plan->image.chunks);
	if (plan->done && dp->filters_adopted)
		drop_adopted(dp);
	image_done(dp, &plan->image);
}

/* What is in the chunks is not read back: the first commit makes them again. */
void filters_adopt(struct dataplane *dp)
{
	uint32_t id;

	for (uint32_t chunk = 0; dp->filters_fd >= 0 && chunk < LB_FILTER_CHUNKS; chunk++) {
		dp->filter_chunks[chunk] = !bpf_map_lookup_elem(dp->filters_fd, &chunk, &id);
		dp->filters_adopted |= dp->filter_chunks[chunk];
	}
	dp->filters_adopted |= dp->maps.settings->filters;
}

void filters_done(struct dataplane *dp)
{
	image_done(dp, &dp->filters);
}
