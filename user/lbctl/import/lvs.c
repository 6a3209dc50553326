/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* IPVS's words and what lbd has for them. */
#include "lvs.h"

#include <string.h>

#include "lb_abi.h"
#include "value.h"

#define TEXT_OF(constant)  TEXT_OF_(constant)
#define TEXT_OF_(constant) #constant

/* ---- schedulers ---- */

static const struct scheduler {
	const char *name, *algorithm;
	enum import_weights weights;
	bool hash_client, left;
	const char *differs; /* from lbd's algorithm; NULL: it is the same */
} schedulers[] = {
    {"rr", "round-robin", WEIGHTS_IGNORED, .differs = NULL},
    {"wrr", "weighted-round-robin", WEIGHTS_COUNT, .differs = NULL},
    {"lc", "least-conn", WEIGHTS_IGNORED, .differs = NULL},
    {"wlc", "least-conn", WEIGHTS_COUNT, .differs = NULL},
    {"sh", "source-hash", WEIGHTS_COUNT, .differs = NULL},
    {"mh", "maglev", WEIGHTS_COUNT, .hash_client = true, .differs = NULL},
    {"fo", "maglev", WEIGHTS_ORDER, .differs = NULL},
    {"sed", "least-conn", WEIGHTS_COUNT, .differs = "counts the connection that is to be made too"},
    {"nq", "least-conn", WEIGHTS_COUNT, .differs = "prefers real servers without connections"},
    {"twos", "least-conn", WEIGHTS_COUNT,
     .differs =
	 "takes the better of two drawn at random, as least-conn does with more than " TEXT_OF(
	     LB_EXACT_MEMBERS) " backends"},
    {"ovf", "least-conn", WEIGHTS_COUNT, .left = true,
     .differs = "fills the real server with the highest weight first"},
    {"dh", "maglev", WEIGHTS_COUNT, .left = true,
     .differs = "chooses by the destination address, for caches between clients and many servers"},
    {"lblc", "maglev", WEIGHTS_COUNT, .left = true,
     .differs = "chooses by the destination address, for caches between clients and many servers"},
    {"lblcr", "maglev", WEIGHTS_COUNT, .left = true,
     .differs = "chooses by the destination address, for caches between clients and many servers"},
};

static const struct scheduler *find_scheduler(const char *name)
{
	for (size_t i = 0; i < sizeof(schedulers) / sizeof(*schedulers); i++)
		if (!strcmp(schedulers[i].name, name))
			return &schedulers[i];
	return NULL;
}

/* flag-2 is the bit of sh-port and mh-port. That of the fallback flags says what lbd always does:
 * another backend takes over when one is down. */
bool lvs_flag(const char *name, unsigned *flags)
{
	if (!strcmp(name, "sh-port") || !strcmp(name, "mh-port") || !strcmp(name, "flag-2"))
		*flags |= LVS_FLAG_PORT;
	else if (strcmp(name, "sh-fallback") && strcmp(name, "mh-fallback") &&
		 strcmp(name, "flag-1"))
		return false;
	return true;
}

void lvs_schedule(struct import *im, struct import_place at, const char *scheduler, unsigned flags,
		  struct import_service *service)
{
	const struct scheduler *known = find_scheduler(*scheduler ? scheduler : "wlc");
	const char *algorithm;

	if (!known) {
		import_left(im, at, "scheduler %s: not known: lbd's default is used, maglev",
			    scheduler);
		return;
	}
	algorithm = known->algorithm;
	service->weights = known->weights;
	service->hash_client = known->hash_client && !(flags & LVS_FLAG_PORT);
	if (!strcmp(known->name, "sh") && (flags & LVS_FLAG_PORT))
		algorithm = "maglev";
	service->algorithm = algorithm;
	if (known->left)
		import_left(im, at, "scheduler %s %s: lbd has none like it: %s is used",
			    known->name, known->differs, algorithm);
	else if (known->differs)
		import_note(im, at, "scheduler %s becomes %s: it %s", known->name, algorithm,
			    known->differs);
}

/* ---- persistence ---- */

void lvs_persist(struct import *im, struct import_place at, uint64_t timeout_ms, const char *mask,
		 uint8_t family, struct import_service *service)
{
	unsigned length = 0;

	service->affinity = true;
	service->affinity_ms = timeout_ms;
	if (!*mask)
		return;
	if (!value_mask(mask, family, &length))
		import_left(im, at,
			    "persistence mask %s: not the mask of a prefix: each client counts by "
			    "itself",
			    mask);
	else if (family == 4)
		service->mask4 = length;
	else
		service->mask6 = length;
}

/* ---- ways to a real server ---- */

static void forward_gue(struct import *im, struct import_place at, const struct lvs_way *way,
			struct import_backend *backend)
{
	backend->forward = "gue";
	backend->gue_port = way->port ? way->port : IMPORT_GUE_PORT;
	if (!way->port)
		import_left(im, at, "tunnel gue without a port: lbd's default is used, %u",
			    IMPORT_GUE_PORT);
}

void lvs_forward(struct import *im, struct import_place at, const struct lvs_way *way,
		 struct import_backend *backend)
{
	const char *type = way->type ? way->type : "ipip";

	backend->forward = way->method == LVS_DIRECT ? "l2"
			   : way->method == LVS_NAT  ? "nat"
						     : "ipip";
	if (way->method != LVS_TUNNEL)
		return;
	if (!strcmp(type, "gue"))
		forward_gue(im, at, way, backend);
	else if (!strcmp(type, "gre"))
		backend->forward = "gre";
	else if (strcmp(type, "ipip"))
		import_left(im, at, "tunnel %s: not known: ipip is used", type);
	if (way->checksum)
		import_note(im, at,
			    "checksum of the tunnel: lbd sends none; the inner packet has its own");
}

/* ---- times and limits ---- */

/* Those that IPVS has without `ipvsadm --set`. */
#define IPVS_TCP_S 900
#define IPVS_UDP_S 300

void lvs_timeouts(struct import *im, uint64_t tcp_s, uint64_t udp_s)
{
	if (tcp_s)
		im->tcp_idle_ms = tcp_s * 1000;
	else if (!im->tcp_idle_ms)
		im->tcp_idle_ms = IPVS_TCP_S * 1000;
	if (udp_s)
		im->udp_idle_ms = udp_s * 1000;
	else if (!im->udp_idle_ms)
		im->udp_idle_ms = IPVS_UDP_S * 1000;
}

void lvs_thresholds(struct import *im, struct import_place at, uint64_t upper, uint64_t lower)
{
	if (upper || lower)
		import_left(im, at,
			    "connection thresholds: lbd has no limit of connections per backend "
			    "(rates of new flows: docs/limits.md)");
}
