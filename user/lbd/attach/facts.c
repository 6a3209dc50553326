/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Asks the kernel about devices, on the thread of the tasks while the event loop runs. */
#include "facts.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdlib.h>

#include "lbd/host/host.h"

/* What the thread reads: none of it changes meanwhile. */
struct question {
	struct netdev *netdev; /* the thread's own */
	const struct offloads *offloads;
	struct facts *facts;
};

static void add_hint(void *arg, const char *sentence)
{
	struct facts_interface *of = arg;

	if (!of->hints)
		of->hints = calloc(1, sizeof(*of->hints));
	if (of->hints)
		sentences_add(of->hints, "%s", sentence);
}

static void ask_native(struct netdev *netdev, const char *name, struct facts_interface *of)
{
	if (of->veth)
		of->counted = !device_veth_counts(name, &of->counts);
	if (of->runs)
		of->suits = device_suits_native(netdev, of->ifindex, of->not_native);
}

/* Of one that is gone by now, nothing: attach_link_changed will drop it. */
static void ask_interface(const struct question *question, struct facts_interface *of)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, query);
	char name[IF_NAMESIZE];

	of->suits = true;
	if (!if_indextoname(of->ifindex, name))
		return;
	of->bare =
	    !bpf_xdp_query((int)of->ifindex, 0, &query) && query.attach_mode == XDP_ATTACHED_NONE;
	of->runs = attach_interface_runs(name);
	if (of->veth)
		of->has_peer = device_peer(of->ifindex);
	else
		of->takes = device_takes(question->netdev, of->ifindex, of->takes_none);
	if (of->native)
		ask_native(question->netdev, name, of);
	offloads_check(question->offloads, of->ifindex, of->native, add_hint, of);
}

static void ask(void *arg)
{
	const struct question *question = arg;
	struct facts *facts = question->facts;

	for (unsigned i = 0; i < facts->count; i++)
		ask_interface(question, &facts->interfaces[i]);
	for (unsigned i = 0; i < facts->egresses_count; i++) {
		struct facts_egress *of = &facts->egresses[i];

		of->takes = device_takes(question->netdev, of->ifindex, of->why);
	}
}

static void name_interfaces(const struct attach *attach, uint32_t ifindex, struct facts *facts)
{
	for (unsigned i = 0; i < attach->count; i++) {
		const struct attachment *there = &attach->list[i];

		if (!ifindex || there->ifindex == ifindex)
			facts->interfaces[facts->count++] =
			    (struct facts_interface){.ifindex = there->ifindex,
						     .native = there->native,
						     .veth = there->veth};
	}
}

static void name_egresses(const struct attach *attach, struct facts *facts)
{
	for (unsigned i = 0; i < attach->egresses_count; i++)
		facts->egresses[facts->egresses_count++].ifindex = attach->egresses[i].ifindex;
}

int facts_ask(const struct attach *attach, uint32_t ifindex, struct facts *ret)
{
	struct facts facts = {
	    .interfaces = calloc(attach->count + 1, sizeof(*facts.interfaces)),
	    .egresses = calloc(attach->egresses_count + 1, sizeof(*facts.egresses)),
	};
	struct question question = {attach->asking, attach->offloads, &facts};

	if (!facts.interfaces || !facts.egresses) {
		facts_done(&facts);
		return -ENOMEM;
	}
	name_interfaces(attach, ifindex, &facts);
	if (!ifindex)
		name_egresses(attach, &facts);
	task_wait(ask, &question);
	*ret = facts;
	return 0;
}

struct facts_interface *facts_of(const struct facts *facts, uint32_t ifindex)
{
	for (unsigned i = 0; i < facts->count; i++)
		if (facts->interfaces[i].ifindex == ifindex)
			return &facts->interfaces[i];
	return NULL;
}

const struct facts_egress *facts_of_egress(const struct facts *facts, uint32_t ifindex)
{
	for (unsigned i = 0; i < facts->egresses_count; i++)
		if (facts->egresses[i].ifindex == ifindex)
			return &facts->egresses[i];
	return NULL;
}

void facts_done(struct facts *facts)
{
	for (unsigned i = 0; i < facts->count; i++)
		sentences_free(facts->interfaces[i].hints);
	free(facts->interfaces);
	free(facts->egresses);
	*facts = (struct facts){0};
}
