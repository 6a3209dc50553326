/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is to be sent, as frames; and frames, as what is to be taken. */
#include "exchange.h"

#include <errno.h>

#include "lbd/host/host.h"

#define PAUSE_ITEMS 64 /* between two pauses; of services, whose primes take long, one */

/* ---- sending ---- */

static bool put_backend(void *arg, const struct dp_shared_backend *backend)
{
	return frame_put_backend(arg, backend);
}

static bool put_service(void *arg, const struct dp_shared_service *service)
{
	return frame_put_service(arg, service);
}

static bool put_slot(void *arg, const struct dp_shared_slot *slot)
{
	return frame_put_slot(arg, slot);
}

static bool put_flow(void *arg, const struct dp_shared_flow *flow)
{
	return frame_put_flow(arg, flow);
}

static bool put_want(void *arg, uint32_t number)
{
	return frame_put_number(arg, FRAME_WANT, number);
}

static bool put_end(void *arg, uint32_t number)
{
	return frame_put_number(arg, FRAME_END, number);
}

bool exchange_fill(struct dataplane *dp, unsigned peer, struct frame_writer *writer)
{
	const struct dp_share_sink sink = {.arg = writer,
					   .backend = put_backend,
					   .service = put_service,
					   .slot = put_slot,
					   .flow = put_flow,
					   .want = put_want,
					   .end = put_end};

	return dataplane_share(dp, peer, &sink);
}

/* ---- taking ---- */

static int take_backend(struct dataplane *dp, unsigned peer, const struct frame *frame,
			unsigned index)
{
	struct dp_shared_backend backend;
	int rc = frame_get_backend(frame, index, &backend);

	return rc ? rc : dataplane_take_backend(dp, peer, &backend);
}

static int take_service(struct dataplane *dp, unsigned peer, const struct frame *frame,
			unsigned index)
{
	struct dp_shared_service service;
	int rc = frame_get_service(frame, index, &service);

	return rc ? rc : dataplane_take_service(dp, peer, &service);
}

static int take_slot(struct dataplane *dp, unsigned peer, const struct frame *frame, unsigned index)
{
	struct dp_shared_slot slot;

	frame_get_slot(frame, index, &slot);
	return dataplane_take_slot(dp, peer, &slot);
}

static int take_flow(struct dataplane *dp, unsigned peer, const struct frame *frame, unsigned index)
{
	struct dp_shared_flow flow;

	frame_get_flow(frame, index, &flow);
	return dataplane_take_flow(dp, peer, &flow);
}

static int take_want(struct dataplane *dp, unsigned peer, const struct frame *frame, unsigned index)
{
	dataplane_take_want(dp, peer, frame_get_number(frame));
	return 0;
}

static int take_end(struct dataplane *dp, unsigned peer, const struct frame *frame, unsigned index)
{
	return dataplane_take_end(dp, peer, frame_get_number(frame));
}

int exchange_take(struct dataplane *dp, unsigned peer, const struct frame *frame, const char **why)
{
	static const struct {
		int (*take)(struct dataplane *, unsigned, const struct frame *, unsigned);
		const char *wrong;
	} kinds[FRAME_TYPES] = {
	    [FRAME_BACKENDS] = {take_backend, "a backend that no node has"},
	    [FRAME_SERVICES] = {take_service, "a service that no node has"},
	    [FRAME_SLOTS] = {take_slot, "a slot that its ring does not have"},
	    [FRAME_FLOWS] = {take_flow, "an entry that no flow table has"},
	    [FRAME_WANT] = {take_want, "a request that cannot be"},
	    [FRAME_END] = {take_end, "the end of what was not asked for"},
	};
	int rc = 0;

	if (!kinds[frame->type].take)
		return 1;
	for (unsigned i = 0; !rc && i < frame->count; i++) {
		rc = kinds[frame->type].take(dp, peer, frame, i);
		if (frame->type == FRAME_SERVICES || i % PAUSE_ITEMS == PAUSE_ITEMS - 1)
			task_pause();
	}
	if (rc)
		*why = rc == -ENOMEM ? "out of memory" : kinds[frame->type].wrong;
	return rc;
}
