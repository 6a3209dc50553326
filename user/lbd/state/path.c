/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The MTU of the path to a backend: that of its next hop, lowered by what routers have reported.
 * Logs what they report. */
#include "internal.h"

#include "common/log.h"
#include "common/plural.h"

/* What a client's packet may always have: RFC 8200, section 5; RFC 791, section 3.1. */
#define LEAST_MTU_V6 1280
#define LEAST_MTU_V4 576
#define REPORT_LINES 20 /* in the log, in a minute */
#define MINUTE_MS    60000
/* Whoever can forge reports can lower an MTU step by step, and each step costs a commit. So many
 * changes are taken over at once, then one in READ_MS. */
#define QUICK_READS 5
#define READ_MS     2000

/* Has a packet on its way to the backend an outer header, whose source gets the errors about it? */
static bool is_tunnel(const struct backend *backend)
{
	uint8_t forward = backend->service->config->forward;

	return forward != LB_FORWARD_L2 && forward != LB_FORWARD_NAT;
}

/* Bytes that lbd puts in front of a client's packet. */
static unsigned outer_length(const struct backend *backend)
{
	static const unsigned between[] = {
	    [LB_FORWARD_IPIP] = 0, [LB_FORWARD_GUE] = 12, [LB_FORWARD_GRE] = 4};

	if (!is_tunnel(backend))
		return 0;
	return between[backend->service->config->forward] +
	       (backend->address.family == 4 ? 20 : 40);
}

static unsigned least_mtu(const struct backend *backend)
{
	return backend->service->config->vip.family == 6 ? LEAST_MTU_V6 : LEAST_MTU_V4;
}

/* A report of less than a client's packet may always have changes nothing: such packets are lost
 * on a path that is really so narrow, and arrive if the report was forged. */
uint16_t path_mtu(const struct backend *backend, uint16_t reported)
{
	unsigned least = least_mtu(backend) + outer_length(backend), mtu = backend->hop.mtu;

	if (!reported || !is_tunnel(backend))
		return backend->hop.mtu;
	if (reported > least)
		least = reported;
	return (uint16_t)(mtu < least ? mtu : least);
}

uint16_t backend_mtu(const struct backend *backend)
{
	const struct dp_path *path =
	    dataplane_path(backend->service->state->options.dataplane, &backend->address);

	return path_mtu(backend, path ? path->mtu : 0);
}

/* ---- what is too narrow for IPv6 ---- */

/* The longest packet of a client that fits. */
static unsigned inner_mtu(const struct backend *backend, unsigned mtu)
{
	unsigned outer = outer_length(backend);

	return mtu > outer ? mtu - outer : 0;
}

uint16_t backend_longest(const struct backend *backend)
{
	return (uint16_t)inner_mtu(backend, backend_mtu(backend));
}

static bool is_narrow(const struct backend *backend, unsigned mtu)
{
	return backend->service->config->vip.family == 6 && inner_mtu(backend, mtu) < LEAST_MTU_V6;
}

void warn_of_narrow_link(const struct backend *backend, const struct next_hop *hop)
{
	char text[CONFIG_BACKEND_LABEL], label[SERVICE_LABEL];
	unsigned mtu = inner_mtu(backend, hop->mtu);

	if (!is_narrow(backend, hop->mtu) || (backend->hop_found && backend->hop.mtu == hop->mtu) ||
	    !report_names(backend->service->state))
		return;
	log_warning(
	    "%s: backend %s: MTU %u leaves %u bytes for IPv6 packets, which are lost if they are "
	    "longer: expected %u or more: ip link set dev DEVICE mtu %u",
	    service_label(backend->service, label), backend_label(backend, text), hop->mtu, mtu,
	    LEAST_MTU_V6, hop->mtu + LEAST_MTU_V6 - mtu);
}

static bool is_warned_of(const struct backend *backend, const struct dp_path *path)
{
	return path->mtu && is_tunnel(backend) && is_narrow(backend, path->mtu);
}

static void warn_of_narrow_path(const struct backend *backend, const struct dp_path *path)
{
	char text[CONFIG_BACKEND_LABEL], router[ADDR_TEXT], label[SERVICE_LABEL];

	log_warning("%s: backend %s: path MTU %u, reported by %s, leaves %u bytes for IPv6 "
		    "packets, which are lost if they are longer: expected %u or more, with links "
		    "of MTU %u on the way",
		    service_label(backend->service, label), backend_label(backend, text), path->mtu,
		    addr_format(&path->router, router), inner_mtu(backend, path->mtu), LEAST_MTU_V6,
		    LEAST_MTU_V6 + outer_length(backend));
}

/* ---- reports ---- */

/* Since the last call of state_read_paths. */
struct changes {
	struct state *state;
	unsigned count;
};

/* May another line be logged? Counts it either way. */
static bool takes_line(struct path_reports *reports)
{
	return reports->lines++ < REPORT_LINES;
}

static void begin_minute(struct path_reports *reports, uint64_t now_ms)
{
	if (reports->minute_ms && now_ms - reports->minute_ms < MINUTE_MS)
		return;
	if (reports->lines > REPORT_LINES)
		log_info("paths: %u more line%s about MTUs not logged in the last minute",
			 reports->lines - REPORT_LINES, plural_s(reports->lines - REPORT_LINES));
	reports->minute_ms = now_ms;
	reports->lines = 0;
}

static void log_path(const struct dp_path *path, uint16_t before)
{
	char address[ADDR_TEXT], router[ADDR_TEXT];

	addr_format(&path->address, address);
	if (!path->mtu)
		log_info("path to %s: the MTU of %u that a router reported is forgotten", address,
			 before);
	else
		log_info("path to %s: MTU %u, reported by %s", address, path->mtu,
			 addr_format(&path->router, router));
}

static void on_path(void *arg, const struct dp_path *path, uint16_t before)
{
	struct changes *changes = arg;
	struct state *state = changes->state;

	changes->count++;
	if (!takes_line(&state->path_reports))
		return;
	log_path(path, before);
	for (unsigned i = 0; i < state->world.count; i++) {
		const struct backend *backend =
		    service_find_backend(state->world.services[i], &path->address);

		if (backend && is_warned_of(backend, path) && takes_line(&state->path_reports))
			warn_of_narrow_path(backend, path);
	}
}

void state_read_paths(struct state *state, uint64_t now_ms)
{
	struct path_reports *reports = &state->path_reports;
	struct changes changes = {.state = state};

	begin_minute(reports, now_ms);
	if (reports->read_ms > now_ms + (QUICK_READS - 1) * READ_MS)
		return;
	dataplane_read_paths(state->options.dataplane, on_path, &changes);
	if (!changes.count)
		return;
	reports->read_ms = (reports->read_ms > now_ms ? reports->read_ms : now_ms) + READ_MS;
	state_touch(state);
}
