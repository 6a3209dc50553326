/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "stand_in_attach.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#define INTERFACES 2

struct attach {
	struct offloads *offloads;
	struct attachment list[INTERFACES];
	unsigned count;
	void (*changed)(void *arg);
	void *changed_arg;
};

struct attach *stand_in_attach_new(void)
{
	struct attach *attach = calloc(1, sizeof(*attach));

	require(attach, "out of memory");
	attach->offloads = offloads_new("/nonexistent/offloads.json");
	require(attach->offloads, "out of memory");
	return attach;
}

void stand_in_attach_clear(struct attach *attach)
{
	attach->count = 0;
}

static struct attachment *find(struct attach *attach, const char *name)
{
	for (unsigned i = 0; i < attach->count; i++)
		if (!strcmp(attach->list[i].name, name))
			return &attach->list[i];
	return NULL;
}

static void list_changed(const struct attach *attach)
{
	if (attach->changed)
		attach->changed(attach->changed_arg);
}

int attach_interface(struct attach *attach, const char *name, enum config_mode mode,
		     struct error *err)
{
	const bool first = !strcmp(name, "eth0"), second = !strcmp(name, "eth1");
	struct attachment *to;

	if (!first && !second)
		return error_set(err, -ENODEV, "%s: no such interface", name);
	if (second && mode == CONFIG_MODE_NATIVE)
		return error_set(err, -EOPNOTSUPP, "%s: no native mode", name);
	if (find(attach, name))
		return 0;
	to = &attach->list[attach->count++];
	*to = (struct attachment){.ifindex = first ? 1000001 : 1000002,
				  .native = first && mode != CONFIG_MODE_GENERIC};
	snprintf(to->name, sizeof(to->name), "%s", name);
	list_changed(attach);
	return 0;
}

int attach_detach(struct attach *attach, const char *name, struct error *err)
{
	struct attachment *gone = find(attach, name);

	if (!gone)
		return error_set(err, -ENODEV, "%s: not attached", name);
	*gone = attach->list[--attach->count];
	list_changed(attach);
	return 0;
}

void attach_link_changed(struct attach *attach, uint32_t ifindex, const char *name, bool present)
{
}

void attach_catch_up(struct attach *attach)
{
}

const struct offloads *attach_offloads(const struct attach *attach)
{
	return attach->offloads;
}

bool attach_interface_runs(const char *name)
{
	return true;
}

/* There are none: checks go to the backends. */
struct detours *attach_detours(const struct attach *attach)
{
	return NULL;
}

const char *attach_egress_fault(struct attach *attach, uint32_t ifindex)
{
	return NULL;
}

void attach_try_again(struct attach *attach)
{
}

void attach_warnings(struct attach *attach, const struct attachment *there,
		     void (*fn)(void *arg, const char *sentence), void *arg)
{
	if (!there->native)
		fn(arg, "generic mode");
}

void attach_on_change(struct attach *attach, void (*changed)(void *arg), void *arg)
{
	attach->changed = changed;
	attach->changed_arg = arg;
}

bool attach_has(const struct attach *attach, const char *name)
{
	return find((struct attach *)attach, name);
}

bool attach_is_other_name(const char *name, char *ret_first)
{
	return false;
}

const struct attachment *attach_list(const struct attach *attach, unsigned *ret_count)
{
	*ret_count = attach->count;
	return attach->list;
}
