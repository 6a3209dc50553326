/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Combines config, run-time changes, health and next hops into the wanted services, and commits
 * them to the data plane. Changes are collected: one commit serves all of one turn of the loop. */
#ifndef LBD_STATE_H
#define LBD_STATE_H

#include <event2/event.h>

#include "common/remark.h"
#include "common/sentences.h"
#include "lbd/attach/attach.h"
#include "lbd/config/config.h"
#include "lbd/dataplane/dataplane.h"
#include "lbd/health/health.h"
#include "lbd/host/host.h"
#include "lbd/neigh/neigh.h"
#include "admin.h"
#include "damping.h"
#include "flow_rate.h"
#include "latencies.h"
#include "levels.h"
#include "nat.h"
#include "node.h"
#include "origin.h"
#include "passive.h"
#include "uptime.h"

/* What users see of a backend. */
enum backend_condition {
	BACKEND_UP,
	BACKEND_STARTING,    /* slow start */
	BACKEND_DRAINING,    /* asked to drain, or removed and still with flows */
	BACKEND_DRAINED,     /* no flow depends on it any more: safe to stop */
	BACKEND_CHECKING,    /* no result of check and next hop yet */
	BACKEND_DAMPED,      /* it flaps, or its connects fail: no new flow for a while */
	BACKEND_MAINTENANCE, /* an operator says so */
	BACKEND_NO_NEXT_HOP,
	BACKEND_DOWN,
};

/* What the agent of a backend has said so far. */
struct backend_agent {
	bool heard; /* anything */
	bool down, drain, maint;
	bool has_weight;
	uint16_t percent;     /* of the weight */
	struct remark *text;  /* why it is down, drains or is maintained; "": not said */
	struct remark *fault; /* why the last question had no answer; "": it had one */
};

/* A probe that failed, and what shows that this host was not cut off all the time. CLOCK_MONOTONIC;
 * 0: none. */
struct failing {
	uint64_t began_ms;
	uint64_t confirmed_ms; /* end of the first probe of another backend that began since then
				  and passed */
};

struct backend {
	struct service *service;
	struct addr address;
	uint16_t port; /* with `forward: nat`, where it gets its packets; else 0, as for any */
	struct config_tag *tag; /* name, zone and labels; NULL: none of them */
	uint32_t weight;        /* configured or set at run time */
	uint8_t priority;
	bool backup;
	bool elsewhere;              /* in another zone than this node, which has one */
	struct config_target target; /* where it is checked */
	enum admin_state admin;      /* what an operator says of it */
	bool drain;                  /* requested */
	uint64_t drain_ms;           /* CLOCK_MONOTONIC when the drain or removal began */
	bool has_force;              /* the drain ends at force_ms, even if flows remain */
	uint64_t force_ms;           /* CLOCK_MONOTONIC */
	bool forced;       /* the drain ended at force_ms: the backend is not used any more */
	uint64_t given_up; /* active flows when this lbd forced the drain */
	bool removed;      /* no longer wanted, draining; deleted when drained */
	enum origin origin;
	uint64_t ttl_ms;   /* of a lease; 0: it has no end */
	uint64_t until_ms; /* of a lease with ttl_ms: its end, CLOCK_MONOTONIC */
	enum backend_condition condition;
	uint32_t effective_weight;  /* after slow start, drain, levels, panic */
	uint32_t latency_us;        /* peak EWMA of probes */
	uint32_t response_us;       /* what an algorithm by_latency goes by; 0: by latency_us */
	struct latencies latencies; /* of probes that passed */
	uint64_t passed, failed;    /* probes, since lbd's start */
	uint64_t losses;            /* times that its checks took it down, since lbd's start */
	uint64_t failed_ms;         /* CLOCK_REALTIME of the last that failed; 0: none has */
	uint64_t since_ms;          /* CLOCK_REALTIME when the condition began */
	struct remark *why;         /* the last failure, or why there is no next hop */
	struct remark *failed_why;  /* of the last probe that failed, also when later ones passed */
	struct backend_agent agent;
	bool has_hop;
	struct next_hop hop;
	enum health_status health;
	struct health_check *check;
	struct health_check *agent_check; /* NULL: none is asked */
	struct neigh_watch *watch;
	uint64_t ramp_start_ms; /* CLOCK_MONOTONIC; 0: no ramp */

	/* The fields below are private to this room. */

	/* The argument of check and watch callbacks. It outlives this object, which the next world
	 * replaces. */
	struct backend **handle;
	bool has_way; /* its checks go to the VIP, by this way of attach's detours */
	uint32_t way;
	/* While a next world is made and committed: this backend in the present world, and in the
	 * next one. What is found meanwhile is for both. */
	struct backend *former, *successor;
	bool hop_known;   /* the neighbour watch has given a first result */
	bool hop_found;   /* it has a next hop; has_hop also demands that packets arrive */
	bool eligible;    /* healthy, reachable, wanted: may take new flows */
	bool first_start; /* there since lbd's first start: comes up without a ramp */
	bool missed;      /* the lbd before this one did not use it, and nothing is known yet */
	bool drained;     /* by the data plane's count no flow depends on it */
	bool removed_now; /* removed without draining */
	enum backend_condition reported; /* the condition last logged */
	struct dp_backend sent;          /* as last committed; family 0: never */
	uint64_t latency_at_ms;          /* CLOCK_MONOTONIC of the last latency sample */
	/* CLOCK_MONOTONIC of probes; 0: none */
	uint64_t passed_ms, passed_began_ms; /* end and begin of the last that passed */
	uint64_t failed_began_ms;            /* begin of the last that failed */
	struct failing failing;              /* since the last that passed */
	struct failing latest;               /* the last that failed, if none has passed since */
	struct failing again; /* its service is blind: since the first backend was back */
	bool cut_off;         /* two that failed may be due to one cut of a link */
	bool was_reachable;   /* when last weighed */
	struct damping damping;
	struct passive passive;
	struct silence silence;
	bool held;          /* for its flaps, or as its connects fail: no new flow */
	uint64_t lost_ms;   /* CLOCK_MONOTONIC when it ceased to be reachable; 0: not lost */
	bool frozen;        /* its service is blind: the values of before_loss stay in force */
	bool used_in_panic; /* its level panics: its flows stay there, whatever its check says */
	struct {            /* before the first of the service's latest losses */
		uint32_t weight;
		bool eligible;
		uint64_t ramp_start_ms;
	} before_loss;
	struct remark *health_why, *hop_why;
	/* Since lbd's start: why its real is not free yet (world_commit); NULL: it is. The data
	 * plane does not have the backend. */
	struct remark *bound_why;
};

static inline unsigned backend_level(const struct backend *backend)
{
	return level_of(backend->priority, backend->backup, !backend->elsewhere);
}

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
	bool panic;          /* panic-threshold reached: all backends of a level used */
	bool backups_active; /* only backups are up */
	struct level levels[LEVELS];
	bool blind;             /* all backends were lost at once: the ring is frozen */
	uint64_t blind_ms;      /* CLOCK_MONOTONIC when that began */
	uint64_t first_back_ms; /* CLOCK_MONOTONIC when the first backend was back; 0: none is */
	/* Takes traffic. The first ring is built when every backend has a first result: built of
	 * the fastest backend alone, it would make that one the keeper of every slot. */
	bool opened;
	uint64_t opens_ms; /* CLOCK_MONOTONIC: opens at this time even without all results */
	enum service_status status, reported;
	bool sent;                /* it was in the last commit */
	bool open_logged;         /* that it opened */
	bool may_confirm;         /* a backend fails, and no probe that passed confirms it yet */
	uint64_t passed_began_ms; /* no backend has a later one */
	struct uptime *uptime;    /* of state; NULL: out of memory */
	/* connects of the data plane's count that are in uptime */
	uint64_t answered_added, unanswered_added;
	struct flow_rate rate; /* of new flows */
};

struct state;

/* A config that is in etcd: config_remote. */
struct state_remote {
	const struct config_remote *where; /* outlives state */
	const char *text;                  /* copied; that config was made of */
	const char *kept; /* copied; the file for the last text that was in force */
	bool is_copy;     /* text is of that file */
};

struct state_options {
	struct event_base *base;
	struct config *config;             /* taken over by state */
	const char *config_path;           /* copied */
	const struct state_remote *remote; /* NULL: the config is in files */
	const char *overrides_path; /* copied; the file of run-time changes; NULL: not kept */
	/* Copied; where an lbd of before had them. Renamed to overrides_path if that does not exist
	 * and an entry is about this config. NULL: nowhere else. */
	const char *overrides_former;
	const char *held_path;   /* copied; the file of detached interfaces; NULL: not kept */
	const char *zone;        /* of this node, whatever the config says; NULL: as that says. It
				    outlives state. */
	const char *uptime_path; /* copied; the file of availabilities; NULL: not kept */
	struct dataplane *dataplane;
	struct attach *attach;
	struct neigh *neigh;
	struct health *health;
	/* Whether peers could know each other by the keys that `peers` names now: 0, or -errno with
	 * the sentence in err. NULL: not asked. */
	int (*check_peers)(const struct config_peers *peers, struct error *err);
	/* Of base: what takes long runs as tasks. NULL: it runs at once. */
	struct tasks *tasks;
};

/* On error the config is freed too. With options.tasks the first commit is left to state_begin, but
 * what will be is shown: after a takeover, that is what is. */
int state_new(const struct state_options *options, struct state **ret, struct error *err);
/* Makes the first commit, in a task. The interfaces of an earlier lbd have been taken over. On
 * error nothing has changed, and never does. */
int state_begin(struct state *state, struct error *err);
/* Without tasks left that it has added. */
void state_free(struct state *state);
/* The first commit has been made. */
bool state_is_started(const struct state *state);

/* Attaches the interfaces of the config. All are tried, and the first error is returned. An
 * interface that does not exist is no error: it is attached when it appears. */
int state_attach_interfaces(struct state *state, struct error *err);
/* By hand. mode: NULL is that of the config. An interface of the config that was detached stays so
 * until it is attached by hand or leaves the config: over reloads, and over a crash of lbd. As
 * attach_interface and attach_detach; -EROFS: that cannot be kept, and nothing has changed. */
int state_attach(struct state *state, const char *name, const enum config_mode *mode,
		 struct error *err);
/* force: also an interface by which replies of NAT services come in; -EBUSY without it: they would
 * leave as their backends send them. */
int state_detach(struct state *state, const char *name, bool force, struct error *err);
/* lbd ends, and nothing is attached: the next one begins with what its config says. */
void state_forget_detached(struct state *state); /* NULL is fine */

const char *state_config_path(const struct state *state);
struct config_age {
	uint64_t applied_ms; /* CLOCK_REALTIME when the config in force was read */
	bool refused;        /* the last reload failed: the file has another config, or a mistake */
};
void state_config_age(const struct state *state, struct config_age *ret);
/* How many backends and services were changed at run time by hand. */
unsigned state_overrides_count(const struct state *state);
struct state_summary {
	unsigned services, services_down, services_panic, services_backup, services_blind, backends,
	    backends_up, backends_silent;
};
void state_summarize(const struct state *state, struct state_summary *ret);
/* New flows of the last minute that were sent by slot because the flow table had no room. */
uint64_t state_flows_without_place(const struct state *state);

const struct config *state_config(const struct state *state);
/* Of this node; NULL: it has none. */
const char *state_zone(const struct state *state);
struct service *const *state_services(const struct state *state, unsigned *ret_count);
/* Changes whenever services and backends are replaced by others: pointers to them are then gone. */
uint64_t state_generation(const struct state *state);
struct service *state_find_service(const struct state *state, const char *name);
struct backend *service_find_backend(const struct service *service, const struct addr *address);
/* The service that text names: its name, or VIP, VIP:PORT or VIP:PORT/PROTOCOL. 0; -ENOENT; or
 * -EINVAL if several have it: err lists them. */
int state_resolve_service(const struct state *state, const char *text, struct service **ret,
			  struct error *err);
/* The address of the backend that text names: any address, or the name of a backend. 0; -ENOENT: no
 * backend has the name; -EINVAL: neither. */
int service_resolve_backend(const struct service *service, const char *text, struct addr *ret,
			    struct error *err);

/* What a reload did with one run-time change. */
struct reload_note {
	char *service;       /* its name in the new file, or in the old one if it is gone */
	struct addr address; /* of the backend; family 0: the change is of the service */
	char name[CONFIG_TAG_TEXT + 1]; /* of the backend; "": none */
	bool kept;                      /* else dropped */
	char what[80];                  /* "drain", "weight 7 (the file has 100)" */
};

#define RELOAD_NOTES 100

struct reload_report {
	struct reload_note *notes;
	unsigned count;           /* of notes, at most RELOAD_NOTES */
	unsigned kept, dropped;   /* all of them */
	bool keep;                /* as asked for */
	struct sentences changes; /* of a trial: what the reload would change */
};

struct reload_options {
	bool trial; /* changes nothing: says what a reload would change, drop and warn of */
	bool keep;  /* run-time changes hold where the file does not make them impossible */
};

void reload_report_done(struct reload_report *report);

/* The functions below pause: where there are tasks, they must be called in one (state_options). */

/* Reads the file again. All or nothing: on error nothing changes. Drains of backends that are still
 * in the file hold; from all other run-time changes the file takes over. ret: NULL, or what became
 * of them, for reload_report_done. */
int state_reload(struct state *state, struct reload_report *ret, struct error *err);
int state_reload_as(struct state *state, const struct reload_options *options,
		    struct reload_report *ret, struct error *err);

/* Instead of the file: takes over this text of the fleet's config, as state_reload does. It is what
 * a later state_reload reads, also if it was refused. When in force, it is kept on disk. */
int state_remote_reload(struct state *state, const char *text, const struct reload_options *options,
			struct reload_report *ret, struct error *err);
/* The text in force. NULL: the config is in files. */
const char *state_remote_text(const struct state *state);
/* That is also what the fleet has: no copy, and nothing was refused. Writes the copy if there is
 * none yet. In a task. */
void state_remote_confirm(struct state *state);

/* What the following calls warn of is also added here, until the next call. NULL: nowhere. */
void state_collect(struct state *state, struct sentences *into);

struct saved {
	struct config_texts texts;   /* of the config */
	bool *changed;               /* of each of them */
	struct reload_report report; /* kept: in the texts; dropped: they have no place for them */
};
void saved_done(struct saved *saved);
/* The texts of the config files with the run-time changes in them. On error, such as a text that
 * cannot be changed, *ret is untouched. */
int state_save(const struct state *state, struct saved *ret, struct error *err);

/* What the config names and this machine does not have: interfaces, the group. */
void machine_lacks(const struct config *config, struct sentences *ret);
/* Of that, the commands of `notify` and of checks alone. */
void machine_lacks_commands(const struct config *config, struct sentences *ret);
/* VIPs, and backends of services with `forward: l2`, that are addresses of this machine. */
void machine_owns(const struct config *config, struct sentences *ret);
/* Settings of its kernel by which replies of services with `forward: nat` are lost or go astray. */
void machine_hinders_nat(const struct config *config, struct sentences *ret);

struct lists_report {
	unsigned services; /* with lists */
	unsigned changed;  /* of them: admit other clients now */
	uint64_t prefixes; /* of all lists; one that two services have counts twice */
};
/* Reads the files of all `allow` and `deny` lists again. All or nothing, and nothing else changes.
 */
int state_reload_lists(struct state *state, struct lists_report *ret, struct error *err);
/* Run-time changes. When they return 0, the change is in force and on disk (in overrides_path). On
 * error nothing has changed: -ENOENT, -EEXIST, -EINVAL; -EROFS: it cannot be written to disk. */
/* What a backend is that is added, or registers itself. */
struct state_put {
	uint32_t weight;
	uint8_t priority;
	bool backup;
	uint16_t port; /* with `forward: nat`; 0: that of the service */
	struct config_target target;
	/* name, zone and labels, of which a reference is taken; NULL: none of them */
	struct config_tag *tag;
	/* Of one that registers itself: without another call in this time it is removed; 0: it has
	 * no end. */
	uint64_t ttl_ms;
};
/* Of a backend of the file, put has a weight only. */
int state_backend_add(struct state *state, const char *service, const struct addr *address,
		      const struct state_put *put, struct error *err);
/* Adds the backend, or makes it what put says: then it is its own renewal. Holds over reloads like
 * a backend of the file. -EBUSY: the file or a source has the backend. */
int state_backend_put(struct state *state, const char *service, const struct addr *address,
		      const struct state_put *put, struct error *err);
/* One of several at the same time. */
struct state_registration {
	const char *service; /* the name of one of the config */
	struct addr address;
	bool leaves;     /* state_backend_delete, else state_backend_put */
	bool now, force; /* of one that leaves */
	/* Of one that leaves only the tag, at the end: what it had when it left, a reference. */
	struct state_put put;
	const struct event_actor *actor; /* who asks; NULL: nobody */
	/* true at first: it was refused already, and is left alone; at the end: always */
	bool done;
	int rc; /* what the function returns, with err */
	struct error err;
	struct sentences warnings; /* of this one; to be freed with sentences_done */
};
/* state_backend_put or state_backend_delete for each, in this order. Those that do not depend on
 * each other are one change: all are on disk with one write, and in force, before the first is
 * reported. */
void state_backends_register(struct state *state, struct state_registration *list, unsigned count);
/* state_backend_put if it is a renewal and nothing else, which needs no task; but none may be under
 * way: it has a copy of what is renewed. false: it is not, and nothing was done. */
bool state_backend_renew(struct state *state, const char *service, const struct addr *address,
			 const struct state_put *put);
/* As state_backend_remove, but only of what the file and sources do not have (-EBUSY), and nothing
 * to do if it is not there. */
int state_backend_delete(struct state *state, const char *service, const struct addr *address,
			 bool now, bool force, struct error *err);

/* ---- backends that a source names: `backends-from` ---- */

struct source_backend {
	struct addr address;
	uint32_t weight;  /* at most CONFIG_MAX_WEIGHT */
	uint8_t priority; /* at most CONFIG_MAX_PRIORITY */
	uint16_t port;    /* 0: none is named */
	const char *name; /* NULL: none; as config_tag_name_fits */
	const char *zone; /* NULL: none; as config_zone_fits */
	struct config_label labels[CONFIG_LABELS_MAX];
	unsigned labels_count;
};

#define SOURCE_WHY 256

struct source_applied {
	unsigned added, removed, changed;
	unsigned shadowed;    /* of the file, or registered: there by other means */
	unsigned ignored;     /* that could not be a backend, or not by its name */
	char why[SOURCE_WHY]; /* the first of these; "" */
};

/* What the source of a service names now, each address once, and what has become of it. */
struct source_change {
	const char *service;
	const struct source_backend *list;
	unsigned count;
	bool has_ports; /* each has one: that is no mistake where the service cannot use it */
	struct source_applied done;
	int rc; /* 0, or -errno with err set: the service is as it was */
	struct error err;
};

/* The backends that the sources of these services have named become those of the lists, all as one
 * change. Backends of the file and those that are registered stay as they are. Kept like the
 * changes above, and over reloads, as long as the service has a source. Not 0: it could not be
 * made, as the rc of each says that has part in it. */
int state_source_apply(struct state *state, struct source_change *changes, unsigned count);

/* How the source of a service is doing. */
struct source_status {
	/* CLOCK_MONOTONIC: a step of the wall clock is no failure of some hours */
	uint64_t listed_ms;           /* of the last list that was taken over; 0: none yet */
	uint64_t failed_ms;           /* since when it has failed; 0: it has not */
	char why[SOURCE_WHY];         /* of that; "" */
	unsigned named;               /* backends in the last list that was taken over */
	unsigned ignored;             /* of them; see source_applied */
	char ignored_why[SOURCE_WHY]; /* "" */
	uint64_t lists, failures;     /* since lbd started */
};

/* For those who ask; NULL: there is none any more. */
void state_source_note(struct state *state, const char *service,
		       const struct source_status *status);
/* NULL: the service has no source, or it has just been added. */
const struct source_status *state_source_status(const struct state *state, const char *service);
/* How many services have a source, and how many of these fail. */
void state_count_sources(const struct state *state, unsigned *ret_all, unsigned *ret_failed);

/* A service as config_add_service takes it. On success *ret_name is its name, in the config that is
 * in force. */
int state_service_add(struct state *state, const char *text, const char **ret_name,
		      struct error *err);
/* force: also while its backends take traffic, which is refused otherwise (-EBUSY). */
int state_service_remove(struct state *state, const char *name, bool force, struct error *err);
/* now: its flows move to other backends at once; otherwise it is removed when drained. force: also
 * the last one, which is refused otherwise (-EBUSY). */
int state_backend_remove(struct state *state, const char *service, const struct addr *address,
			 bool now, bool force, struct error *err);
/* force_after_ms: the drain ends this long from now, and remaining flows move to other backends.
 * NULL: an earlier deadline stays; without one there is no deadline. */
int state_backend_drain(struct state *state, const char *service, const struct addr *address,
			bool on, const uint64_t *force_after_ms, struct error *err);
int state_backend_weight(struct state *state, const char *service, const struct addr *address,
			 uint32_t weight, struct error *err);
/* Holds until it is set to ADMIN_AUTO: over restarts and reloads, while the backend is there. */
int state_backend_admin(struct state *state, const char *service, const struct addr *address,
			enum admin_state admin, struct error *err);

/* Drains the node, or ends that. withdraw: its VIPs are not announced any more; that holds until
 * the drain ends. Kept like the changes above. -EBUSY: the config has no `announce:`. */
int state_node_drain(struct state *state, bool on, bool withdraw, struct error *err);
const struct node_order *state_node_order(const struct state *state);
/* changed is called after each commit, at which conditions of backends and services may have
 * changed, each change of the config or of the node's order, and each of the attached interfaces.
 * NULL: not any more. arg tells apart who asks. */
void state_on_change(struct state *state, void (*changed)(void *arg), void *arg);

/* The MTU of the path to the backend, which has a next hop: bytes of a packet with what lbd puts in
 * front. That of the next hop, or less if a router has reported less. */
uint16_t backend_mtu(const struct backend *backend);
/* What becomes of long packets to the VIP by way of it; false: that is not tried. */
bool backend_long_packets(const struct backend *backend, struct health_mtu *ret);

/* What is to be looked at, though it is no fault of the backend's state: of one with `forward:
 * nat`, that no replies come back. "": nothing. Returns text. */
#define BACKEND_HINT 160
/* Adds where its checks go to *ret. */
void backend_aim(const struct backend *backend, struct health_aim *ret);
const char *backend_hint(const struct backend *backend, char text[BACKEND_HINT]);
/* The weight with what its agent and an operator say. */
uint32_t backend_agreed_weight(const struct backend *backend);
/* How long it takes to answer, in us: of clients' connects where its service goes by that and there
 * are enough, else of its checks; 0: not known. */
uint32_t backend_response_us(const struct backend *backend);
/* New flows a second of the last 5 to 10 s; less right after the start. */
double service_flows_per_s(const struct service *service);
/* CLOCK_MONOTONIC until which its flaps or failing connects may keep new flows from it; 0: they do
 * not. */
uint64_t backend_hold_until_ms(const struct backend *backend);
/* "up", "starting", "draining", ... */
const char *backend_condition_name(enum backend_condition condition);
/* "up", "degraded", ... as in include/lb_api.h */
const char *service_status_name(enum service_status status);
/* Why a service that is down has no backend that takes flows, as "no backend is up"; "" of others.
 */
const char *service_why(const struct service *service);
/* The part of its new flows, of LEVEL_WHOLE, that its first level does not get. */
uint32_t service_spill(const struct service *service);
/* How many other backends take new flows. */
unsigned service_others(const struct service *service, const struct addr *address);
/* The service's key in the data plane; the other fields are 0. */
void service_key(const struct service *service, struct dp_service *ret);
/* "web 192.0.2.10:80/tcp" for log lines and errors; of `port: any` "192.0.2.10:any/tcp". */
#define SERVICE_LABEL 384
const char *service_label(const struct service *service, char text[SERVICE_LABEL]);
/* "web-1 10.0.0.11", or "10.0.0.11" without a name. */
const char *backend_label(const struct backend *backend, char text[CONFIG_BACKEND_LABEL]);

#endif
