/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The files that lbd keeps, overrides.json, offloads.json and the events, with any content.
 * A list is read or refused as a whole; what was read comes back the same after it was written;
 * what does not fit the config is dropped; a file that cannot be used is kept as FILE.bad. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "lbd/attach/offloads.h"
#include "lbd/events/events.h"
#include "lbd/state/internal.h"
#include "fuzz.h"

#define BACKENDS_LIMIT 4
#define MOST           (3 + BACKENDS_LIMIT) /* entries that a start reads */

static char overrides_path[128], copy_path[128], offloads_path[128], former_path[128],
    events_path[128], bad_overrides[132], bad_offloads[132], bad_former[132], bad_events[132];
static struct config *config;

static const char config_text[] =
    "limits: { backends: 4 }\n"
    "services:\n"
    "  - { name: web, vip: 192.0.2.1, protocol: tcp, port: 80,\n"
    "      backends: [{ address: 10.0.0.1 }, { address: 10.0.0.2 }] }\n"
    "  - { name: dns, vip: 2001:db8::1, protocol: udp, port: 53,\n"
    "      backends: [{ address: fd00::1 }] }\n";

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct error err;

	fuzz_begin(true); /* offloads may be turned on again: of lo, if at all */
	fuzz_path(overrides_path, "overrides.json");
	fuzz_path(copy_path, "copy.json");
	fuzz_path(offloads_path, "offloads.json");
	fuzz_path(former_path, "former.json");
	fuzz_path(events_path, "events.jsonl");
	snprintf(bad_events, sizeof(bad_events), "%s.bad", events_path);
	snprintf(bad_overrides, sizeof(bad_overrides), "%s.bad", overrides_path);
	snprintf(bad_offloads, sizeof(bad_offloads), "%s.bad", offloads_path);
	snprintf(bad_former, sizeof(bad_former), "%s.bad", former_path);
	require(!config_parse(config_text, sizeof(config_text) - 1, "f", &config, &err), "%s",
		err.text);
	return 0;
}

static bool exists(const char *path)
{
	return !access(path, F_OK);
}

/* ---- the list ---- */

static void check_entry(const struct override *entry)
{
	require(entry->service, "no service");
	require(entry->address.family == 4 || entry->address.family == 6, "family %u",
		entry->address.family);
	require(entry->weight <= CONFIG_MAX_WEIGHT, "weight %u", entry->weight);
	require(!entry->added || entry->has_weight, "added without a weight");
	require(!entry->has_force || entry->drain, "a deadline without a drain");
	require(!entry->tag || entry->added, "a name of a backend of the file");
	require((!entry->priority && !entry->backup && !entry->target.port) || entry->added,
		"the place of a backend of the file");
	require(entry->priority <= (entry->backup ? 0 : 7), "priority %u", entry->priority);
	require(!override_comes_by_itself(entry) || entry->added, "registered, and of the file");
	require(!entry->ttl_ms ||
		    (entry->origin == ORIGIN_lease && entry->ttl_ms >= OVERRIDE_TTL_MIN_MS &&
		     entry->ttl_ms <= OVERRIDE_TTL_MAX_MS),
		"ttl %llu", (unsigned long long)entry->ttl_ms);
}

static void comes_back(const struct overrides *overrides)
{
	struct overrides again = {0};
	struct error err = {""};

	require(!overrides_save(overrides, copy_path, &err), "%s", err.text);
	require(exists(copy_path) == (overrides->count > 0 || overrides->services_count > 0 ||
				      overrides->node.drain),
		"%u entries", overrides->count);
	require(!overrides_load(copy_path, MOST, &again, &err), "%s", err.text);
	require(overrides_equal(overrides, &again), "%u entries, then %u", overrides->count,
		again.count);
	overrides_done(&again);
	unlink(copy_path);
}

static bool list_is_read(void)
{
	struct overrides overrides = {.count = 12345};
	struct error err = {""};
	int rc = overrides_load(overrides_path, MOST, &overrides, &err);

	if (rc) {
		require(overrides.count == 12345, "changed, though refused");
		require(!strncmp(err.text, overrides_path, strlen(overrides_path)), "\"%s\"",
			err.text);
		return false;
	}
	require(overrides.count <= MOST, "%u entries", overrides.count);
	require(!overrides.node.withdraw || overrides.node.drain, "withdrawn without a drain");
	for (unsigned i = 0; i < overrides.count; i++) {
		const struct override *entry = &overrides.list[i];

		check_entry(entry);
		require(overrides_find(&overrides, entry->service, &entry->address) == entry,
			"entry %u is there twice", i);
	}
	comes_back(&overrides);
	overrides_done(&overrides);
	return true;
}

/* ---- what of it holds at a start ---- */

static unsigned backends_of(const struct config *of)
{
	unsigned count = 0;

	for (unsigned i = 0; i < of->services_count; i++)
		count += of->services[i].backends_count;
	return count;
}

/* The config has those that were added, lacks those that were removed, and is one that a file may
 * have. */
static void check_services(const struct state *state)
{
	const struct overrides *overrides = &state->overrides;
	unsigned added = 0, removed = 0, runtime = 0;

	for (unsigned i = 0; i < overrides->services_count; i++) {
		const struct service_override *entry = &overrides->services[i];
		const struct config_service *service =
		    config_find_same(state->config, &entry->vip, entry->protocol, entry->port);

		if (entry->added) {
			added++;
			require(service && service->file == CONFIG_RUNTIME, "\"%s\" is not there",
				entry->service);
			require(!strcmp(service->name, entry->service), "\"%s\" is called %s",
				entry->service, service->name);
		} else {
			removed++;
			require(!service || service->file == CONFIG_RUNTIME, "\"%s\" is there",
				entry->service);
		}
	}
	for (unsigned i = 0; i < state->config->services_count; i++) {
		const struct config_service *service = &state->config->services[i];

		runtime += service->file == CONFIG_RUNTIME;
		require(config_find_service(state->config, service->name) == service, "twice");
		require(service->backends_count || config_from_kind(&service->from), "no backends");
	}
	require(added == runtime, "%u entries, %u services", added, runtime);
	require(config->services_count - removed + added == state->config->services_count,
		"%u removed, %u added", removed, added);
}

static void check_start(bool readable)
{
	struct state state = {.overrides_path = overrides_path};
	unsigned added = 0;
	struct error err;

	require(!config_copy(config, &state.config), "out of memory");
	require(!kept_read(&state, &err), "%s", err.text);
	check_services(&state);
	require(exists(overrides_path) == readable && exists(bad_overrides) == !readable,
		"readable: %d", readable);
	for (unsigned i = 0; i < state.overrides.count; i++) {
		const struct override *entry = &state.overrides.list[i];
		const struct config_service *service =
		    config_find_service(state.config, entry->service);

		require(readable, "an entry of a file that cannot be used");
		require(service, "service \"%s\"", entry->service);
		if (config_find_backend(service, &entry->address))
			continue;
		added++;
		require(entry->added, "neither in the file nor added");
		require(!addr_why_no_host(&entry->address), "an address of no host");
	}
	require(added + backends_of(state.config) <= BACKENDS_LIMIT, "%u added", added);
	config_free(state.config);
	overrides_done(&state.overrides);
	unlink(bad_overrides);
}

/* ---- offloads ---- */

static void ignore(void *arg, const char *device, const char *feature)
{
}

static bool is_even(void *arg, uint32_t ifindex)
{
	return ifindex % 2 == 0;
}

static void check_offloads(const uint8_t *data, size_t size)
{
	struct offloads *offloads;

	fuzz_put(offloads_path, data, size);
	offloads = offloads_new(offloads_path);
	require(offloads, "out of memory");
	require(exists(offloads_path) != exists(bad_offloads), "the file is lost");
	for (uint32_t i = 0; i < 3; i++) {
		offloads_list(offloads, i, ignore, NULL);
		offloads_restore(offloads, i);
	}
	offloads_free(offloads);
	unlink(offloads_path);
	unlink(bad_offloads);

	fuzz_put(former_path, data, size);
	offloads = offloads_new(offloads_path);
	require(offloads, "out of memory");
	offloads_take_over(offloads, former_path, is_even, NULL);
	offloads_free(offloads);
	unlink(offloads_path);
	unlink(former_path);
	unlink(bad_former);
}

/* ---- events ---- */

/* Oldest first, and how many. */
static unsigned count_events(void)
{
	struct event_record record;
	unsigned count = 0;

	for (uint64_t after = 0; events_next(after, &record); after = record.seq) {
		require(record.seq > after, "%llu after %llu", (unsigned long long)record.seq,
			(unsigned long long)after);
		require(record.length && record.length <= EVENT_JSON_MAX, "%zu bytes",
			record.length);
		count++;
	}
	return count;
}

/* What was read is there again, with the next event behind it, for the next lbd. */
static void check_events(const uint8_t *data, size_t size)
{
	const struct events_options options = {.path = events_path};
	struct error err = {""};
	unsigned count, present;

	fuzz_put(events_path, data, size);
	require(!events_open(&options, &err), "%s", err.text);
	count = count_events();
	require(exists(events_path) != exists(bad_events), "the file is lost");
	require(!count || exists(events_path), "events of a file that cannot be used");
	events_log(EVENT_lbd_started, LOG_INFO, NULL, "started");
	present = count_events();
	require(present == count + 1, "%u events, then %u", count, present);
	events_close();
	require(!events_open(&options, &err), "%s", err.text);
	require(count_events() == present, "%u events, then %u", present, count_events());
	events_close();
	unlink(events_path);
	unlink(bad_events);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_events(data, size);
	fuzz_put(overrides_path, data, size);
	check_start(list_is_read());
	unlink(overrides_path);
	check_offloads(data, size);
	return 0;
}
