/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Turns off receive offloads that change packets before the program sees them. */
#include "offloads.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/ethtool.h"
#include "common/files.h"
#include "common/log.h"
#include "common/offload_file.h"
#include "common/rtnl.h"
#include "device.h"
#include "lbd/host/host.h"

#define DEVICES_MAX 64 /* an interface and the devices below it */

/* How a device relates to the interface. Generic XDP sees packets after the devices below have
 * joined them and removed their tags. The kernel skips the GRO of the interface itself
 * (netif_elide_gro). A VLAN device removes its tag in any case. */
enum place {
	PLACE_SELF = 1 << 0,
	PLACE_PORT = 1 << 1,       /* a port of the interface, a bond or bridge */
	PLACE_UNDER_VLAN = 1 << 2, /* the device below the interface, a VLAN */
	PLACE_ANY = PLACE_SELF | PLACE_PORT | PLACE_UNDER_VLAN,
};

static const struct {
	const char *name;         /* the kernel's */
	const char *ethtool;      /* ethtool -K's */
	unsigned native, generic; /* enum place: where it is harmful */
	const char *harm;
} kinds[] = {
    {"rx-lro", "lro", PLACE_ANY, PLACE_ANY,
     "it joins packets, which then look too long for the tunnel"},
    {"rx-gro-hw", "rx-gro-hw", PLACE_ANY, PLACE_ANY,
     "it joins packets, which then look too long for the tunnel"},
    {"rx-gro", "gro", 0, PLACE_PORT | PLACE_UNDER_VLAN,
     "it joins packets, which then look too long for the tunnel"},
    {"rx-vlan-hw-parse", "rxvlan", PLACE_SELF | PLACE_PORT, PLACE_SELF | PLACE_PORT,
     "it hides VLAN tags from the program: tagged packets leave with the wrong tag"},
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

struct turned_off {
	uint32_t ifindex; /* of the interface with the program */
	uint32_t device;
	unsigned kind;
};

struct offloads {
	char *path;
	int feature[KINDS]; /* ethtool_feature_find */
	struct turned_off *list;
	unsigned count;
};

/* ---- devices ---- */

struct device {
	uint32_t ifindex;
	enum place place;
};

struct search {
	struct device of;
	struct device found[DEVICES_MAX];
	unsigned count;
};

static void add_device(struct search *search, uint32_t ifindex, enum place place)
{
	if (search->count < DEVICES_MAX)
		search->found[search->count++] = (struct device){ifindex, place};
}

static void look_at_link(void *arg, const struct rtnl_link *link)
{
	struct search *search = arg;

	if (link->master == search->of.ifindex)
		add_device(search, link->ifindex,
			   search->of.place == PLACE_SELF ? PLACE_PORT : search->of.place);
	if (link->ifindex == search->of.ifindex && link->vlan && !link->vlan_elsewhere)
		add_device(search, link->lower, PLACE_UNDER_VLAN);
}

/* The interface and the devices below it, at any depth: a VLAN of a bond is common. */
static void find_devices(uint32_t ifindex, struct search *search)
{
	struct rtnl *rtnl = NULL;

	search->count = 0;
	add_device(search, ifindex, PLACE_SELF);
	if (rtnl_open(&rtnl))
		return;
	for (unsigned i = 0; i < search->count; i++) {
		search->of = search->found[i];
		if (rtnl_links(rtnl, look_at_link, search))
			break;
	}
	rtnl_close(rtnl);
}

/* ---- the list of what was turned off ---- */

static bool is_recorded(const struct offloads *offloads, const struct turned_off *entry)
{
	for (unsigned i = 0; i < offloads->count; i++)
		if (!memcmp(&offloads->list[i], entry, sizeof(*entry)))
			return true;
	return false;
}

static bool is_off_for_any(const struct offloads *offloads, uint32_t device, unsigned kind)
{
	for (unsigned i = 0; i < offloads->count; i++)
		if (offloads->list[i].device == device && offloads->list[i].kind == kind)
			return true;
	return false;
}

static int record(struct offloads *offloads, const struct turned_off *entry)
{
	struct turned_off *list;

	if (is_recorded(offloads, entry))
		return 0;
	list = reallocarray(offloads->list, offloads->count + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	offloads->list = list;
	list[offloads->count++] = *entry;
	return 0;
}

static int write_list(const char *path, const struct turned_off *list, unsigned count)
{
	_cleanup_free_ struct offload_entry *entries = calloc(count + 1, sizeof(*entries));

	if (!entries)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++) {
		entries[i].ifindex = list[i].ifindex;
		entries[i].device = list[i].device;
		snprintf(entries[i].feature, sizeof(entries[i].feature), "%s",
			 kinds[list[i].kind].name);
	}
	return offload_file_write(path, entries, count);
}

static void save(const struct offloads *offloads)
{
	int rc = write_list(offloads->path, offloads->list, offloads->count);

	if (rc)
		log_warning(
		    "%s: cannot write: %s: offloads that are off now stay off if lbd is restarted "
		    "before the interface is detached",
		    offloads->path, strerror(-rc));
}

static int load_entry(struct offloads *offloads, const struct offload_entry *of)
{
	for (unsigned kind = 0; kind < KINDS; kind++) {
		const struct turned_off entry = {of->ifindex, of->device, kind};

		if (!strcmp(kinds[kind].name, of->feature))
			return record(offloads, &entry);
	}
	return 0; /* a later lbd's */
}

static int parse_list(struct offloads *offloads, const char *path, const char *text, size_t length,
		      struct error *err)
{
	_cleanup_free_ struct offload_entry *entries = NULL;
	int count = offload_file_parse(path, text, length, &entries, err), rc = 0;

	for (int i = 0; i < count && !rc; i++)
		rc = load_entry(offloads, &entries[i]);
	if (rc)
		return error_set(err, rc, "%s: out of memory", path);
	return count < 0 ? count : 0;
}

/* false: there is no list. */
static bool load(struct offloads *offloads, const char *path)
{
	_cleanup_free_ char *text = NULL;
	struct error err, outcome;
	ssize_t length = file_read_kept(path, OFFLOAD_FILE_MAX, &text, &err);
	int rc = length < 0 ? (int)length : parse_list(offloads, path, text, (size_t)length, &err);

	if (rc == -ENOENT)
		return false;
	if (!rc)
		return true;
	file_set_aside(path, &outcome);
	log_warning("%s: the offloads it lists stay off; %s", err.text, outcome.text);
	return false;
}

void offloads_take_over(struct offloads *offloads, const char *former,
			bool (*mine)(void *arg, uint32_t ifindex), void *arg)
{
	struct offloads old = {0};
	unsigned others = 0;

	if (!access(offloads->path, F_OK) || !load(&old, former))
		return;
	for (unsigned i = 0; i < old.count; i++) {
		const struct turned_off entry = old.list[i];

		if (!mine(arg, entry.ifindex))
			old.list[others++] = entry;
		else if (record(offloads, &entry))
			log_warning("%s: out of memory", former);
	}
	if (others < old.count) {
		int rc;

		save(offloads);
		rc = write_list(former, old.list, others);
		log_info("%s: what it lists for interfaces of this lbd is now in %s", former,
			 offloads->path);
		if (rc)
			log_warning("%s: cannot be changed: %s", former, strerror(-rc));
	}
	free(old.list);
}

struct offloads *offloads_new(const char *path)
{
	struct offloads *offloads = calloc(1, sizeof(*offloads));

	if (offloads)
		offloads->path = strdup(path);
	if (!offloads || !offloads->path) {
		free(offloads);
		return NULL;
	}
	for (unsigned kind = 0; kind < KINDS; kind++)
		offloads->feature[kind] = ethtool_feature_find(kinds[kind].name);
	load(offloads, offloads->path);
	return offloads;
}

void offloads_free(struct offloads *offloads)
{
	if (!offloads)
		return;
	free(offloads->path);
	free(offloads->list);
	free(offloads);
}

/* ---- on and off ---- */

/* Is it on, on a device where it is harmful? A device that does not answer has no such offload. */
static bool is_harmful(const struct offloads *offloads, unsigned kind, const struct device *device,
		       const char *name, bool native)
{
	unsigned places = native ? kinds[kind].native : kinds[kind].generic;
	bool on = false;

	return places & device->place && offloads->feature[kind] >= 0 &&
	       !ethtool_feature_read(name, offloads->feature[kind], &on) && on;
}

struct switching {
	const char *name;
	int feature, rc;
	bool on;
};

static void call_switch(void *arg)
{
	struct switching *switching = arg;

	switching->rc = ethtool_feature_set(switching->name, switching->feature, switching->on);
}

/* The driver may have to stop the device for it: the event loop runs meanwhile. */
static int switch_feature(const char *name, int feature, bool on)
{
	struct switching switching = {.name = name, .feature = feature, .on = on};

	task_wait(call_switch, &switching);
	return switching.rc;
}

static void turn_off(struct offloads *offloads, uint32_t ifindex, const struct device *device,
		     unsigned kind, bool native)
{
	const struct turned_off entry = {ifindex, device->ifindex, kind};
	char name[IF_NAMESIZE];
	int rc;

	if (!if_indextoname(device->ifindex, name))
		return;
	if (!is_harmful(offloads, kind, device, name, native)) {
		if (is_off_for_any(offloads, device->ifindex, kind))
			record(offloads, &entry); /* this interface needs it off too */
		return;
	}
	rc = switch_feature(name, offloads->feature[kind], false);
	if (!rc)
		rc = record(offloads, &entry);
	if (rc)
		log_warning("%s: cannot turn off %s (%s), and %s", name, kinds[kind].ethtool,
			    strerror(-rc), kinds[kind].harm);
	else
		log_info("%s: %s turned off until lbd is detached: %s", name, kinds[kind].ethtool,
			 kinds[kind].harm);
}

void offloads_prepare(struct offloads *offloads, uint32_t ifindex, bool native)
{
	struct search search;

	find_devices(ifindex, &search);
	for (unsigned i = 0; i < search.count; i++)
		for (unsigned kind = 0; kind < KINDS; kind++)
			turn_off(offloads, ifindex, &search.found[i], kind, native);
	save(offloads);
}

static void turn_on(const struct offloads *offloads, const struct turned_off *entry)
{
	char name[IF_NAMESIZE];
	int rc;

	if (offloads->feature[entry->kind] < 0 || !if_indextoname(entry->device, name))
		return;
	rc = switch_feature(name, offloads->feature[entry->kind], true);
	if (rc)
		log_warning("%s: cannot turn on %s again: %s; try: ethtool -K %s %s on", name,
			    kinds[entry->kind].ethtool, strerror(-rc), name,
			    kinds[entry->kind].ethtool);
	else
		log_info("%s: %s turned on again", name, kinds[entry->kind].ethtool);
}

void offloads_restore(struct offloads *offloads, uint32_t ifindex)
{
	unsigned i = 0;

	while (i < offloads->count) {
		const struct turned_off entry = offloads->list[i];

		if (entry.ifindex != ifindex) {
			i++;
			continue;
		}
		offloads->list[i] = offloads->list[--offloads->count];
		if (!is_off_for_any(offloads, entry.device, entry.kind))
			turn_on(offloads, &entry);
		i = 0; /* the list may be another one now */
	}
	save(offloads);
}

/* ---- for status ---- */

/* On a veth the offloads of the other end count: packets that it joins or tags in software arrive
 * that way. In native mode the kernel handles joined ones. */
static void check_veth(const char *name, void (*fn)(void *arg, const char *sentence), void *arg)
{
	char sentence[OFFLOADS_SENTENCE];

	if (!device_is_veth(name))
		return;
	snprintf(sentence, sizeof(sentence),
		 "%s is a veth in generic mode: packets that its other end joins or tags in "
		 "software reach the program that way; on the other end: ethtool -K PEER tso off "
		 "gso off txvlan off",
		 name);
	fn(arg, sentence);
}

void offloads_check(const struct offloads *offloads, uint32_t ifindex, bool native,
		    void (*fn)(void *arg, const char *sentence), void *arg)
{
	char name[IF_NAMESIZE], sentence[OFFLOADS_SENTENCE];
	struct search search;

	find_devices(ifindex, &search);
	for (unsigned i = 0; i < search.count; i++) {
		if (!if_indextoname(search.found[i].ifindex, name))
			continue;
		for (unsigned kind = 0; kind < KINDS; kind++) {
			if (!is_harmful(offloads, kind, &search.found[i], name, native))
				continue;
			snprintf(sentence, sizeof(sentence),
				 "%s: %s is on, and %s: ethtool -K %s %s off", name,
				 kinds[kind].ethtool, kinds[kind].harm, name, kinds[kind].ethtool);
			fn(arg, sentence);
		}
		if (!native)
			check_veth(name, fn, arg);
	}
}

void offloads_list(const struct offloads *offloads, uint32_t ifindex,
		   void (*fn)(void *arg, const char *device, const char *feature), void *arg)
{
	char name[IF_NAMESIZE];

	for (unsigned i = 0; i < offloads->count; i++)
		if (offloads->list[i].ifindex == ifindex &&
		    if_indextoname(offloads->list[i].device, name))
			fn(arg, name, kinds[offloads->list[i].kind].ethtool);
}
