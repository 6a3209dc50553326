/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The last events in memory: at most so many, and so many bytes. */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct event_entry *entry_at(const struct event_ring *ring, unsigned at)
{
	return ring->list[(ring->first + at) % EVENTS_MAX];
}

static void drop_first(struct event_ring *ring)
{
	struct event_entry *entry = entry_at(ring, 0);

	ring->gone = entry->seq;
	ring->bytes -= entry->length;
	ring->first = (ring->first + 1) % EVENTS_MAX;
	ring->count--;
	free(entry);
}

static struct event_entry *entry_new(const struct event_record *record)
{
	size_t service = record->service ? strlen(record->service) + 1 : 0;
	struct event_entry *entry = malloc(sizeof(*entry) + record->length + 1 + service);

	if (!entry)
		return NULL;
	*entry = (struct event_entry){
	    .seq = record->seq, .wall_ms = record->wall_ms, .length = record->length};
	memcpy(entry->json, record->json, record->length);
	entry->json[record->length] = 0;
	if (service) {
		entry->service = entry->json + record->length + 1;
		memcpy(entry->service, record->service, service);
	}
	return entry;
}

int ring_add(struct event_ring *ring, const struct event_record *record)
{
	struct event_entry *entry = entry_new(record);

	if (!entry)
		return -ENOMEM;
	while (ring->count &&
	       (ring->count == EVENTS_MAX || ring->bytes + entry->length > EVENTS_BYTES_MAX))
		drop_first(ring);
	ring->list[(ring->first + ring->count++) % EVENTS_MAX] = entry;
	ring->bytes += entry->length;
	return 0;
}

/* How many have a number of at most seq. */
static unsigned count_up_to(const struct event_ring *ring, uint64_t seq)
{
	unsigned low = 0, high = ring->count;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (entry_at(ring, middle)->seq > seq)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

const struct event_entry *ring_after(const struct event_ring *ring, uint64_t seq)
{
	unsigned at = count_up_to(ring, seq);

	return at < ring->count ? entry_at(ring, at) : NULL;
}

const struct event_entry *ring_before(const struct event_ring *ring, uint64_t seq)
{
	unsigned count = seq ? count_up_to(ring, seq - 1) : 0;

	return count ? entry_at(ring, count - 1) : NULL;
}

uint64_t ring_last(const struct event_ring *ring)
{
	return ring->count ? entry_at(ring, ring->count - 1)->seq : 0;
}

void ring_done(struct event_ring *ring)
{
	while (ring->count)
		drop_first(ring);
}
