/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Neighbour entries, each with a timer. Alive ones are verified every few seconds, so that a
 * changed MAC or a dead neighbour is noticed although the kernel would trust its entry for most of
 * a minute. Dead ones are solicited again. */
#include "entry.h"

#include <errno.h>
#include <event2/util.h>
#include <linux/neighbour.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"

#define BUCKETS 4096
/* How often an alive neighbour is verified. With n > 5000 entries: every n ms, so that there are at
 * most 1000 verifications a second. */
#define VERIFY_MS 5000
/* How long a neighbour that does not answer ARP or ND is waited for before it counts as dead: the
 * kernel asks once a second, so a single lost packet decides nothing. */
#define GRACE_MS 1500
/* How often a dead neighbour is solicited. */
#define RETRY_MS 5000
#define WARN_MS  60000

#define VALID    (NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_PROBE | NUD_STALE | NUD_DELAY)

struct entry_table {
	struct event_base *base;
	struct rtnl *rtnl;
	entry_changed_fn *changed;
	unsigned count;
	uint64_t warned_ms; /* CLOCK_MONOTONIC; 0: never */
	LIST_HEAD(entry_list, entry) buckets[BUCKETS];
};

static uint64_t random_below(uint64_t bound)
{
	uint32_t value;

	evutil_secure_rng_get_bytes(&value, sizeof(value));
	return bound ? value % bound : 0;
}

static void wait_ms(struct entry *entry, uint64_t ms)
{
	const struct timeval wait = clock_span_ms(ms);

	event_base_update_cache_time(entry->table->base);
	event_add(&entry->timer, &wait);
}

static uint64_t verify_interval_ms(const struct entry_table *table)
{
	return table->count > VERIFY_MS ? table->count : VERIFY_MS;
}

/* Waits ms, plus or minus a tenth, so that entries created together drift apart. */
static void wait_about_ms(struct entry *entry, uint64_t ms)
{
	wait_ms(entry, ms - ms / 10 + random_below(ms / 5));
}

static void solicit(struct entry *entry)
{
	entry->error =
	    rtnl_solicit(entry->table->rtnl, entry->ifindex, &entry->address, entry->marks);
}

/* ---- the kernel's state ---- */

static void update_valid(struct entry *entry, const struct rtnl_neighbour *neighbour)
{
	bool was_alive = entry->verdict == ENTRY_ALIVE;
	bool same_mac = !memcmp(entry->mac, neighbour->mac, 6);

	entry->fixed = neighbour->state & (NUD_PERMANENT | NUD_NOARP) || neighbour->marks.managed;
	if (was_alive && same_mac)
		return;
	entry->verdict = ENTRY_ALIVE;
	entry->error = 0;
	entry->known = true;
	memcpy(entry->mac, neighbour->mac, 6);
	if (!was_alive)
		wait_ms(entry, random_below(verify_interval_ms(entry->table)));
	entry->table->changed(entry);
}

/* The kernel gave up after unicast probes, or the table was flushed. The neighbour may just have a
 * new MAC: the last result stays while the kernel asks by broadcast. */
static void update_invalid(struct entry *entry)
{
	entry->fixed = false;
	if (entry->verdict != ENTRY_ALIVE)
		return;
	entry->verdict = ENTRY_WAITING;
	solicit(entry);
	wait_ms(entry, GRACE_MS);
}

static void update(struct entry *entry, const struct rtnl_neighbour *neighbour)
{
	entry->marks = neighbour->marks;
	if (neighbour->state & VALID && neighbour->has_mac)
		update_valid(entry, neighbour);
	else
		update_invalid(entry);
}

/* Without an answer of the kernel the entry stays as it is. */
static void ask_kernel(struct entry *entry)
{
	struct rtnl_neighbour neighbour = {0};
	int rc = rtnl_neighbour(entry->table->rtnl, entry->ifindex, &entry->address, &neighbour);

	if (!rc || rc == -ENOENT)
		update(entry, &neighbour);
}

/* ---- the timer ---- */

/* The kernel could not send a solicitation, for example as its neighbour table is full. That says
 * nothing about the neighbour: a live one stays alive, and the next try comes soon. */
static void stay_as_known(struct entry *entry)
{
	struct entry_table *table = entry->table;
	char address[ADDR_TEXT];

	if (log_is_due(&table->warned_ms, WARN_MS))
		log_warning(
		    "neighbour %s: the kernel cannot solicit it (%s); its last MAC stays in use",
		    addr_format(&entry->address, address),
		    entry->error == -ENOBUFS
			? "its neighbour table is full, see gc_thresh3 in arp(7)"
			: strerror(-entry->error));
	entry->verdict = ENTRY_ALIVE;
	wait_ms(entry, GRACE_MS);
	entry->table->changed(entry);
}

static void grace_is_over(struct entry *entry)
{
	if (entry->known && entry->error) {
		stay_as_known(entry);
		return;
	}
	entry->verdict = ENTRY_DEAD;
	entry->known = false;
	wait_about_ms(entry, RETRY_MS);
	entry->table->changed(entry);
}

static void ask_again(struct entry *entry)
{
	int was = entry->error;

	solicit(entry);
	wait_about_ms(entry, RETRY_MS);
	if (entry->error != was)
		entry->table->changed(entry);
}

static void on_timer(int fd, short what, void *arg)
{
	struct entry *entry = arg;
	enum entry_verdict verdict = entry->verdict;

	ask_kernel(entry); /* messages may be lost, and a fixed entry must not be verified */
	if (entry->verdict != verdict)
		return; /* the update has set the next timer */
	switch (verdict) {
	case ENTRY_ALIVE:
		wait_about_ms(entry, verify_interval_ms(entry->table));
		if (!entry->fixed)
			rtnl_verify(entry->table->rtnl, entry->ifindex, &entry->address,
				    entry->marks.learned);
		break;
	case ENTRY_WAITING:
		grace_is_over(entry);
		break;
	case ENTRY_DEAD:
		ask_again(entry);
		break;
	}
}

/* ---- the table ---- */

static unsigned bucket_of(uint32_t ifindex, const struct addr *address)
{
	uint32_t hash = 2166136261u ^ ifindex; /* FNV-1a */

	for (size_t i = 0; i < addr_length(address); i++)
		hash = (hash ^ address->bytes[i]) * 16777619u;
	return hash % BUCKETS;
}

static struct entry *find(struct entry_table *table, uint32_t ifindex, const struct addr *address)
{
	struct entry *entry;

	for (entry = LIST_FIRST(&table->buckets[bucket_of(ifindex, address)]); entry;
	     entry = LIST_NEXT(entry, chain))
		if (entry->ifindex == ifindex && addr_equal(&entry->address, address))
			return entry;
	return NULL;
}

struct entry_table *entry_table_new(struct event_base *base, struct rtnl *rtnl,
				    entry_changed_fn *changed)
{
	struct entry_table *table = calloc(1, sizeof(*table));

	if (!table)
		return NULL;
	table->base = base;
	table->rtnl = rtnl;
	table->changed = changed;
	return table;
}

void entry_table_free(struct entry_table *table)
{
	struct entry *entry;

	if (!table)
		return;
	for (unsigned i = 0; i < BUCKETS; i++)
		while ((entry = LIST_FIRST(&table->buckets[i])))
			entry_put(entry);
	free(table);
}

struct entry *entry_get(struct entry_table *table, uint32_t ifindex, const struct addr *address)
{
	struct entry *entry = find(table, ifindex, address);

	if (entry)
		return entry;
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return NULL;
	entry->table = table;
	entry->ifindex = ifindex;
	entry->address = *address;
	entry->verdict = ENTRY_WAITING;
	LIST_INIT(&entry->targets);
	evtimer_assign(&entry->timer, table->base, on_timer, entry);
	LIST_INSERT_HEAD(&table->buckets[bucket_of(ifindex, address)], entry, chain);
	table->count++;
	ask_kernel(entry);
	if (entry->verdict == ENTRY_WAITING) {
		solicit(entry);
		wait_ms(entry, GRACE_MS);
	}
	return entry;
}

void entry_put(struct entry *entry)
{
	if (!entry || !LIST_EMPTY(&entry->targets))
		return;
	event_del(&entry->timer);
	LIST_REMOVE(entry, chain);
	entry->table->count--;
	free(entry);
}

void entry_on_event(struct entry_table *table, const struct rtnl_neighbour *neighbour, bool gone)
{
	static const struct rtnl_neighbour none = {0};
	struct entry *entry = find(table, neighbour->ifindex, &neighbour->address);

	if (entry)
		update(entry, gone ? &none : neighbour);
}

void entry_table_refresh(struct entry_table *table)
{
	struct entry *entry;

	for (unsigned i = 0; i < BUCKETS; i++) {
		for (entry = LIST_FIRST(&table->buckets[i]); entry; entry = LIST_NEXT(entry, chain))
			if (entry->verdict != ENTRY_WAITING)
				wait_ms(entry, random_below(GRACE_MS));
	}
}
