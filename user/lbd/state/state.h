/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Where the sources meet: config x runtime changes x health x next hops -> the wanted services,
 * committed to the data plane. Changes are collected and committed once per turn of the loop. */
#ifndef LBD_STATE_H
#define LBD_STATE_H

#include <event2/event.h>

#include "lbd/attach/attach.h"
#include "lbd/config/config.h"
#include "lbd/dataplane/dataplane.h"
#include "lbd/health/health.h"
#include "lbd/neigh/neigh.h"

/* in the order they are checked: the first that applies is what users see */
enum backend_condition {
	BACKEND_UP,
	BACKEND_STARTING, /* slow start */
	BACKEND_DRAINING, /* asked to drain, or removed and still with flows */
	BACKEND_DRAINED,  /* and nothing depends on it any more: safe to stop */
	BACKEND_CHECKING, /* no probe has ended yet */
	BACKEND_NO_NEXT_HOP,
	BACKEND_DOWN,
};

struct backend {
	struct service *service;
	struct addr address;
	uint32_t weight; /* configured or set at run time */
	bool backup;
	bool drain;        /* asked for */
	uint64_t drain_ms; /* CLOCK_MONOTONIC when that, or removal, began */
	bool has_force;    /* the drain ends at force_ms, whatever still holds it */
	uint64_t force_ms; /* CLOCK_MONOTONIC */
	bool forced;       /* and so it did: it is not used any more */
	uint64_t given_up; /* active flows at that moment, as far as this lbd saw it */
	bool removed;      /* gone from the config, draining; forgotten when drained */
	bool runtime;      /* weight, drain or existence differ from the file */
	enum backend_condition condition;
	char why[256];             /* for humans: the last failure, or why there is no next hop */
	uint32_t effective_weight; /* after slow start, drain, backups, panic */
	uint32_t latency_us;       /* peak EWMA of probes */
	uint64_t since_ms;         /* CLOCK_REALTIME when the condition began */
	bool has_hop;
	struct next_hop hop;
	enum health_status health;
	struct health_check *check;
	struct neigh_watch *watch;
	uint64_t ramp_start_ms; /* CLOCK_MONOTONIC; 0: no ramp */

	/* What follows is state's own. */
	struct backend **handle; /* what check and watch call back with: the object may be replaced,
				    this stays */
	struct backend *former;  /* while a new world is built: the one it continues */
	bool hop_known;          /* the neighbour watch has answered once */
	bool able;               /* healthy, reachable, wanted: may take new flows */
	bool fresh;              /* from the first start: comes up without a ramp */
	bool drained;            /* the data plane says that nothing depends on it */
	bool cut;                /* removed without draining */
	enum backend_condition reported; /* the condition last logged */
	char health_why[256], hop_why[256];
	uint32_t latency_sent_us; /* what the data plane was told */
	uint64_t latency_at_ms;   /* CLOCK_MONOTONIC of the last probe that counted */
	/* CLOCK_MONOTONIC of probes, 0: there was none. */
	uint64_t passed_ms, passed_began_ms; /* the last that passed: its end, its begin */
	uint64_t failed_began_ms;            /* the last that failed: its begin */
	uint64_t failing_ms;                 /* begin of the first that failed since one passed */
	uint64_t witness_ms; /* the first probe of another backend since failing_ms that passed: its
				end */
	bool seen;           /* could be reached when last weighed */
	uint64_t lost_ms;    /* CLOCK_MONOTONIC when that ended; 0: it has not */
	bool frozen;         /* its service is blind, and it stays what `calm` says */
	struct {             /* as it was before the last losses of the service began */
		uint32_t weight;
		bool able;
		uint64_t ramp_start_ms;
	} calm;
};

enum service_status {
	SERVICE_UP,
	SERVICE_DEGRADED,
	SERVICE_PANIC,
	SERVICE_BACKUP,
	SERVICE_BLIND,
	SERVICE_DOWN
};

struct service {
	struct state *state;
	struct config_service *config; /* owned by state's config */
	struct backend **backends;
	unsigned backends_count;
	unsigned up;         /* backends in condition UP or STARTING */
	bool panic;          /* panic-threshold reached: all backends used */
	bool backups_active; /* only backups live */
	bool blind;        /* no backend answers any more: the ring is frozen, see service_watch */
	uint64_t blind_ms; /* CLOCK_MONOTONIC when that began */
	uint64_t sight_ms; /* CLOCK_MONOTONIC when the first of them was back; 0: none is */
	/* takes traffic: its first ring is made once every backend has been judged, not of the
	 * quickest one alone, which would become the keeper of every slot */
	bool opened;
	uint64_t opens_ms; /* CLOCK_MONOTONIC: or at this time, whatever is still being checked */
	enum service_status status, reported;
};

struct state;

struct state_options {
	struct event_base *base;
	struct config *config;      /* taken over by state */
	const char *config_path;    /* copied */
	const char *overrides_path; /* copied; run-time changes survive a restart of lbd here; NULL:
				       not kept */
	struct dataplane *dataplane;
	struct attach *attach;
	struct neigh *neigh;
	struct health *health;
};

/* The first commit has been made when it returns. On error the config is freed too. */
int state_new(const struct state_options *options, struct state **ret, struct error *err);
void state_free(struct state *state);

/* Attaches the interfaces of the config; those that do not exist yet are attached when they appear.
 * All are tried; the first error is returned. */
int state_attach_interfaces(struct state *state, struct error *err);

const char *state_config_path(const struct state *state);
/* backends that differ from the file at run time */
unsigned state_overrides_count(const struct state *state);
struct state_summary {
	unsigned services, services_down, services_panic, services_backup, services_blind, backends,
	    backends_up;
};
void state_summarize(const struct state *state, struct state_summary *ret);
/* New flows that were sent by slot in the last minute because the flow table had no place for
 * them. */
uint64_t state_flows_without_place(const struct state *state);

const struct config *state_config(const struct state *state);
struct service *const *state_services(const struct state *state, unsigned *ret_count);
struct service *state_find_service(const struct state *state, const char *name);
struct backend *service_find_backend(const struct service *service, const struct addr *address);

/* Reads the file again. All or nothing: on error nothing changes. The file wins over run-time
 * changes. */
int state_reload(struct state *state, struct error *err);
/* Run-time changes. -ENOENT, -EEXIST, -EINVAL with err set. */
int state_backend_add(struct state *state, const char *service, const struct addr *address,
		      uint32_t weight, struct error *err);
/* now: its flows are cut over at once; otherwise it drains first and then disappears. */
int state_backend_remove(struct state *state, const char *service, const struct addr *address,
			 bool now, struct error *err);
/* force_after_ms: from now on; after that the drain ends, and what still holds it goes to other
 * backends. NULL: a deadline that is set already stays, and there is none else. */
int state_backend_drain(struct state *state, const char *service, const struct addr *address,
			bool on, const uint64_t *force_after_ms, struct error *err);
int state_backend_weight(struct state *state, const char *service, const struct addr *address,
			 uint32_t weight, struct error *err);

/* "up", "starting", "draining", ... */
const char *backend_condition_name(enum backend_condition condition);
/* as in include/lb_api.h */ /* The key the data plane knows the service by; backends are not filled
				in. */
const char *service_status_name(enum service_status status);
void service_key(const struct service *service, struct dp_service *ret);
/* "web 192.0.2.10:80/tcp", for log lines and errors; any port is "*". */
#define SERVICE_LABEL 384
const char *service_label(const struct service *service, char text[SERVICE_LABEL]);

#endif
