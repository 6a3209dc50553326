/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Health checks: when to probe, rise and fall, spread over the interval; how to probe is a kind,
 * one file in health/. Thousands at once on the one loop, no threads. */
#ifndef LBD_HEALTH_H
#define LBD_HEALTH_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/error.h"
#include "common/registry.h"
#include "lbd/host/host.h"

/* How the backends of a service are checked. */
struct health_spec {
	char *type; /* a registered health kind: "tcp", "http", "https"; "none": always healthy */
	uint16_t port; /* 0: the service's */
	char *path;    /* http: default "/" */
	char *host;    /* http: Host header; NULL: the backend's address */
	uint32_t status_min,
	    status_max; /* http: default 200-399; `status: 200` or `status: 200-204` */
	uint32_t interval_ms, timeout_ms; /* default 2s, 1s */
	uint32_t rise, fall;              /* default 2, 3 */
};

enum health_status { HEALTH_UNKNOWN, HEALTH_UP, HEALTH_DOWN };

/* What one probe found. */
enum health_outcome {
	HEALTH_PASSED,
	HEALTH_FAILED,
	HEALTH_NOT_RUN, /* this host lacked something: says nothing about the backend */
};

struct health_result {
	enum health_outcome outcome; /* of this probe */
	uint64_t began_ms;           /* CLOCK_MONOTONIC when it began */
	enum health_status status;
	bool changed;        /* status differs from the one last reported */
	uint32_t latency_us; /* of this probe, connect to answer; 0 if it failed, or this loop was
				late */
	uint32_t since_ms;   /* how long the status has held */
	const char *why; /* last failure: "connect: timed out after 1 s", "HTTP status 503, expected
			    200-399"; "" if none */
};

struct health;       /* the scheduler */
struct health_check; /* one backend's check */

/* Called from the loop after every finished probe, but for one that is void: see health/verdict.h.
 * A probe that this host could not run (no descriptor, port or memory left) leaves the status as it
 * is: changed is false, latency_us 0, and why says "probe not run: ...". */
typedef void health_result_fn(void *arg, const struct health_result *result);

/* lateness is that of base's loop, and outlives ret. */
int health_new(struct event_base *base, const struct lateness *lateness, struct health **ret,
	       struct error *err);
void health_free(struct health *health);
/* spec is copied. port: the service's, used when spec->port is 0. initial: the status to start with
 * (a takeover keeps the old one; a first start passes HEALTH_UNKNOWN: the first probe decides
 * alone, in either direction). First probe within a small random part of the interval. NULL with
 * errno EINVAL (no such kind) or ENOMEM. */
struct health_check *health_add(struct health *health, const struct health_spec *spec,
				const struct addr *address, uint16_t port,
				enum health_status initial, health_result_fn *result, void *arg);
void health_remove(struct health_check *check); /* NULL is fine; a running probe is abandoned */

/* ---- kinds ---- */

struct health_probe; /* a kind's own state of one running probe */

struct health_probe_spec {
	struct addr address;
	uint16_t port;
	const struct health_spec *config;
};

/* Called once per probe. why: NULL when passed. latency_us: connect to answer when passed, else
 * ignored. */
typedef void health_done_fn(void *arg, enum health_outcome outcome, const char *why,
			    uint32_t latency_us);

struct health_kind {
	const char *name; /* "tcp" */
	const char *help;
	/* Set up and torn down once per scheduler; state is handed to start. May be NULL. */
	int (*open)(struct event_base *base, void **ret_state);
	void (*close)(void *state);
	/* Starts one probe; done is called from the loop exactly once, unless cancelled, and never
	 * from within start. NULL with errno set when this host is out of resources. spec and what
	 * it points to outlive the probe. The scheduler keeps the time: a kind waits for as long as
	 * it is let. */
	struct health_probe *(*start)(void *state, struct event_base *base,
				      const struct health_probe_spec *spec, health_done_fn *done,
				      void *arg);
	/* Takes what has come by now, without waiting. True: the probe has ended and is gone, done
	 * was called, or somebody cancelled it. */
	bool (*serve)(struct health_probe *probe);
	/* What has not come yet: "connect: timed out". A constant. */
	const char *(*waits_for)(const struct health_probe *probe);
	void (*cancel)(struct health_probe *probe);
};

REGISTRY(health_kind, struct health_kind);
const struct health_kind *health_kind_find(const char *name);

#endif
