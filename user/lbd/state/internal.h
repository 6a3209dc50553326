/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Shared by the files of this room. A world is all services and backends at one moment. A change
 * builds the next world beside the present one, commits it, and then replaces the present one; on
 * error everything stays as it was. */
#ifndef LBD_STATE_INTERNAL_H
#define LBD_STATE_INTERNAL_H

#include "lbd/events/events.h"
#include "crowd.h"
#include "held.h"
#include "overrides.h"
#include "report.h"
#include "state.h"

struct world {
	struct service **services;
	unsigned count;
};

/* One round of the sweep, measured for --debug. */
struct sweep_round {
	uint64_t start_us, busy_us; /* CLOCK_MONOTONIC; time in its steps */
	unsigned steps;
	unsigned in_transition; /* slots, when the round before it ended */
};

/* What is done about reports of path MTUs, which can be forged: see path.c. CLOCK_MONOTONIC. */
struct path_reports {
	uint64_t read_ms;   /* until then, what was taken over is paid for */
	uint64_t minute_ms; /* lines are counted since then */
	unsigned lines;
};

#define STATE_FOLLOWERS 2

struct state {
	struct state_options options; /* config is not used after state_new */
	char *config_path, *overrides_path, *overrides_former;
	struct config *config;
	struct config *started; /* that of the start, without services; NULL: config is it */
	struct config_age config_age;
	struct shared *shared;      /* see shared.c; NULL: the config is in files */
	struct sentences *warnings; /* see state_collect; NULL: only the log has them */
	bool trial;                 /* a reload that changes nothing: not even the log */
	struct overrides overrides;
	struct held held; /* interfaces that were detached by hand */
	char *held_path;  /* NULL: not kept */
	struct uptimes *uptimes;
	char *uptime_path;                   /* NULL: not kept */
	uint64_t uptime_ms, uptime_saved_ms; /* CLOCK_MONOTONIC: last added, last saved */
	struct aside *uptime_saving;         /* a save that has not returned */
	bool uptime_failed;                  /* the last save: logged once */
	bool overrides_stale;                /* what is on disk differs from them */
	bool leases_stale;        /* leases were renewed, and the file has their former ends */
	bool leases_unsaved;      /* that could not be written: logged once */
	uint64_t leases_saved_ms; /* CLOCK_MONOTONIC: the file was written last */
	uint64_t leases_ms;       /* the same of the last leases_tick; 0: none yet */
	struct sourced *sourced;  /* see sourced.c */
	struct world world;
	uint64_t generation;  /* of the world */
	struct event *commit; /* see state_touch */
	struct event *tick;   /* each second: ramps, latencies, drains */
	struct event *paths;  /* five times a second: see state_read_paths */
	struct event *sweep;
	struct sweep_round round;
	uint64_t rest_until_us; /* CLOCK_MONOTONIC: no commit by the timer before; see state_rest */
	bool first;             /* no world has been committed yet */
	bool commit_failed;     /* tried again each tick, logged once */
	struct state_follower {
		void (*changed)(void *arg); /* see state_on_change; NULL: a free place */
		void *arg;
	} followers[STATE_FOLLOWERS];
	bool follows_nat; /* see nat_prepare */
	int local_error;  /* -errno: not all of this host's addresses are known to the data plane */
	int way_error;    /* -errno of the last check that got no way to the VIP */
	uint64_t way_ms;  /* CLOCK_MONOTONIC: when that was tried again */
	struct path_reports path_reports;
	struct crowd crowd;
	struct report report;
	unsigned services_sent, backends_sent; /* in the last commit */
	/* Tasks that have been added and have not begun yet. */
	bool commit_waits, tick_waits, sweep_waits;
	/* The generation in which no lease was left that can end, and when it was said last that
	 * such backends cannot be removed. */
	uint64_t leases_generation, leases_warned_ms;
};

/* ---- state.c ---- */

/* Of this node, under the config. NULL: it has none. */
const char *zone_under(const struct state *state, const struct config *config);

/* ---- world.c ---- */

/* Builds the world that config and overrides describe. Backends keep their state from `present`,
 * and at a takeover from the adopted maps. Backends that are no longer wanted stay, marked
 * `removed`, while they drain. 0 or -ENOMEM. */
int world_build(struct state *state, struct config *config, const struct overrides *overrides,
		const struct world *present, struct world *ret);
void world_free(struct world *world);
void backend_drop_remarks(struct backend *backend);

/* ---- service.c ---- */

/* Does the service have a health check? */
bool service_is_checked(const struct config_service *config);

/* ---- watch.c ---- */

/* Results of a check and of a next hop; arg: the backend's handle. */
health_result_fn backend_on_health;
health_result_fn backend_on_agent;
neigh_changed_fn backend_on_next_hop;

/* Gives the checks and watches of the present world to the next one, which is in force, and stops
 * those that it does not take over. */
void world_take_over(const struct world *next);
/* Starts the checks and watches that are missing. */
void world_start(const struct world *world);
/* Logs what of the old world is gone, and frees it. */
void world_retire(struct world *old);
/* Are both checked in the same way? */
bool service_same_check(const struct config_service *a, const struct config_service *b);

/* ---- reach.c ---- */

/* Decides whether the next hop that was found is of use: sets has_hop, and hop_why if it is not.
 * True: that has changed. */
bool backend_reach(struct backend *backend);
/* For all backends, when attached interfaces or devices have changed. */
void state_reach(struct state *state);

/* ---- way.c ---- */

/* As the data plane sends packets to the backend. Pure. */
void backend_describe_way(const struct backend *backend, struct detour_spec *ret);
/* Gives the backend's check, if it may go to the VIP, the way to the next hop. */
void backend_set_way(struct backend *backend);
void backend_drop_way(struct backend *backend);
/* Tries again to make those that could not be made. */
void state_retry_ways(struct state *state);

/* ---- response.c, flow_rate.c: each second ---- */

/* For algorithms that go by it. */
void service_time_responses(struct service *service);
/* now_ms: CLOCK_MONOTONIC. */
void service_count_flows(struct service *service, uint64_t now_ms);

/* ---- availability.c ---- */

int availability_start(struct state *state); /* reads the file; 0 or -ENOMEM */
/* Each second: adds the time since the last call to each service. */
void availability_tick(struct state *state);
void availability_stop(struct state *state); /* writes the file, if the disk lets it */
/* That of a service; NULL: out of memory, or before availability_start. */
struct uptime *availability_of(struct state *state, const struct config_service *config);

/* ---- weigh.c: pure ---- */

/* Decides conditions and effective weights of the backends, and the status of the service. now_ms:
 * CLOCK_MONOTONIC; wall_ms: CLOCK_REALTIME. */
void service_weigh(struct service *service, uint64_t now_ms, uint64_t wall_ms);
/* When all backends are lost within this many ms, this host may be what failed: a probe of each
 * backend ends once in an interval, and lasts its timeout at most. */
uint32_t service_loss_window_ms(const struct service *service);
/* Is its loss so recent that it may be alive, or is it frozen? */
bool backend_may_return(const struct backend *backend, uint64_t now_ms);
/* A probe of the backend has run from began_ms to ended_ms; both CLOCK_MONOTONIC. */
void backend_note_probe(struct backend *backend, bool passed, uint64_t began_ms, uint64_t ended_ms);
/* Takes what the agent has said, in words for health_advice_parse. True: something changes. */
bool backend_take_advice(struct backend *backend, const char *said);
/* Is it up, by its checks, its agent and an operator? */
bool backend_agreed_up(const struct backend *backend);
/* It was held back when last weighed, for its flaps or failing connects, and that is over. */
bool backend_hold_is_over(const struct backend *backend, uint64_t now_ms);
/* May packets be sent to it, of new flows or of those it has? */
bool backend_usable(const struct backend *backend);
/* The next value of the peak EWMA (Finagle): a higher sample counts at once, a lower one with a
 * half-life of 5 s. */
uint32_t latency_peak_ewma(uint32_t average_us, uint32_t sample_us, uint64_t elapsed_ms);

/* ---- passive.c ---- */

/* Takes out a backend whose connects fail, if there is one. True: it did. */
bool service_look_for_failing(struct service *service, uint64_t now_ms);

/* ---- path.c ---- */

/* Bytes of the longest packet, with what lbd puts in front, that fits the path to a backend whose
 * next hop is known. reported: dp_path.mtu; 0: nothing is. Pure. */
uint16_t path_mtu(const struct backend *backend, uint16_t reported);
/* Of a client, bytes: the longest that is forwarded to the backend now. */
uint16_t backend_longest(const struct backend *backend);
/* For a next hop that is about to become the backend's. */
void warn_of_narrow_link(const struct backend *backend, const struct next_hop *hop);
/* Takes over what routers have reported since the last call, unless that was often of late. */
void state_read_paths(struct state *state, uint64_t now_ms);

/* ---- commit.c ---- */

/* Weighs the world and commits it to the data plane. 0 or -errno; on error the data plane is
 * unchanged. */
int world_commit(struct state *state, struct world *world, struct error *err);
/* Builds and commits another world, and switches to it. overrides, unless they are state's own, are
 * written to disk before. On success config, which may be the present one, is owned by state, and
 * overrides replace the present ones. On error nothing has changed. */
int state_switch(struct state *state, struct config *config, struct overrides *overrides,
		 struct error *err);

/* Builds the first world, which is shown from then on: it may take over another lbd's, which is in
 * force. 0 or -ENOMEM. */
int state_show_first(struct state *state, struct error *err);
/* Commits it. On error there is none any more. */
int state_commit_first(struct state *state, struct error *err);

/* ---- report.c ---- */

/* Logs what has changed in the present world since the last report. */
void report_world(struct state *state);
/* May a change that is not of condition or status have a line of its own? If not, it is counted. */
bool report_names(struct state *state);
/* A line and an event about a backend, which the format's text follows; it is not counted against
 * the budget. why: the reason alone, or "". */
void report_backend(const struct backend *backend, enum event_kind kind, int level, const char *why,
		    const char *format, ...) __attribute__((format(printf, 5, 6)));
/* Each second, and at the end: logs how many changes had no line. */
void report_others(struct state *state);

/* ---- kept.c: run-time changes on disk ---- */

/* At the start: reads those of an earlier lbd. What is no list of them is set aside, what cannot be
 * applied is dropped; both are logged and must not prevent the start. 0, or -errno with err set:
 * the file may be good and cannot be read now (file_may_be_good). It stays as it is. */
int kept_read(struct state *state, struct error *err);
/* The same of detached interfaces. */
int kept_read_held(struct state *state, struct error *err);
/* The world with all of them could not be committed: drops those that add backends, or all. false:
 * none were left to drop. */
bool kept_shed(struct state *state);
/* Writes overrides, which are about the config, before they come into force. 0, or -EROFS with err
 * set: then nothing is written. If they are those in force, a file that could not be written
 * earlier is tried again, and a failure is only logged. */
int kept_write(struct state *state, const struct config *config, const struct overrides *overrides,
	       struct error *err);
/* They did not come into force: writes the present ones again. */
void kept_restore(struct state *state);
/* Writes the present ones, of which only ends of leases differ from the file. 0 or -EROFS. */
int kept_write_leases(struct state *state, struct error *err);

/* ---- sourced.c ---- */

void sourced_done(struct state *state);

/* ---- leases.c ---- */

/* The file's leases go on: those whose end has passed begin again. */
void leases_resume(struct state *state);
/* Each second: removes backends whose leases have ended, and saves the ends of the others. */
void leases_tick(struct state *state);
/* Saves them at the end. */
void leases_stop(struct state *state);
/* Renews the lease of the backend if it is what put says: then no world needs to be made. false:
 * it is not. */
bool leases_renew(struct state *state, const char *service, const struct addr *address,
		  const struct state_put *put);

/* ---- diff.c: pure ---- */

/* A config with its run-time changes. */
struct diff_side {
	const struct config *config;
	const struct overrides *overrides;
};

/* A sentence for each difference. 0 or -ENOMEM. */
int diff_sides(const struct diff_side *old, const struct diff_side *new, struct sentences *ret);

/* ---- reload.c ---- */

enum reload_keep {
	RELOAD_KEEP_ORDERS,   /* drains and states that are set */
	RELOAD_KEEP_ALL,      /* all that can hold */
	RELOAD_KEEP_FOR_FILE, /* all that the text of a config can say */
};

/* The run-time changes that hold under the next config, which gets the services among them, and
 * what becomes of each. 0 or -ENOMEM. */
int reload_overrides(const struct state *state, struct config *next, enum reload_keep keep,
		     struct overrides *ret, struct reload_report *report, struct error *err);
void reload_log(const struct reload_report *report);

/* ---- services.c ---- */

/* What became of a change; why: "", or why a change cannot be kept. 0 or -ENOMEM. */
typedef int service_note_fn(void *arg, const char *service, bool kept, const char *what,
			    const char *why);
/* Puts services that were added and removed into the config of the files: those that can stay, or
 * with keep false none. Adds their entries to ret. 0 or -ENOMEM. */
int services_reload(const struct overrides *changes, bool keep, struct config *next,
		    struct overrides *ret, service_note_fn *note, void *arg);

/* ---- resolve.c ---- */

/* One that is being removed gives way to another of its name. NULL: there is none. */
struct backend *service_find_named(const struct service *service, const char *name);

/* ---- change.c ---- */

/* What this machine has that hinders the config, as a VIP of its own, and did not hinder the
 * present one. */
void state_warn_of_machine(const struct state *state, const struct config *config);

/* ---- schedule.c ---- */

/* All that switches or commits a world, or changes the data plane otherwise, is a task: one has
 * ended when the next begins. Without options.tasks it runs at once. 0 or -ENOMEM. */
int state_do(const struct state *state, task_fn *run, void *arg);

/* Commits the present world in the next turn of the loop, or when the rest after the last commit is
 * over (state_rest). Further calls until then change nothing. */
void state_touch(struct state *state);
/* A commit that began at start_us (CLOCK_MONOTONIC) has ended. No commit of state_touch comes
 * before nine times the time it took, 200 ms at most. */
void state_rest(struct state *state, uint64_t start_us);
/* Arms the event to fire once, in this many microseconds. */
void state_arm(struct event *event, uint64_t us);

/* ---- debug.c: the lines of --debug ---- */

/* Why the backend has its condition; before: the condition it had. */
void debug_condition(const struct backend *backend, enum backend_condition before);
void debug_status(const struct service *service, enum service_status before);
/* A commit succeeded or failed (err) and took so long. Logs what differs from the last commit,
 * which `sent` still describes. */
void debug_commit(const struct state *state, const struct world *world,
		  const struct dp_backend *backends, uint64_t stores, uint64_t took_us,
		  const struct error *err);
/* A step of the sweep that began at start_us has ended, and with it the round or not. */
void debug_sweep(struct state *state, uint64_t start_us, bool round_ended);

/* ---- ring.c ---- */

/* After backends came or went at run time: warns if the ring is not as large as by the file, unless
 * that of the peers becomes as large. */
void ring_warn_of_change(const struct state *state, const struct service *service);
/* Likewise of services whose ring has another size by the text that is written than by the file. */
void ring_warn_of_saving(const struct state *state, const struct config *file,
			 const struct config *written);

/* ---- warn.c ---- */

/* Logs a warning about the change that is under way, and adds it to its answer. */
void state_warn(const struct state *state, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- clock.c: timers ---- */

int state_clock_start(struct state *state);
void state_clock_stop(struct state *state);

/* ---- node.c ---- */

/* Calls the function of state_on_change. */
void state_tell(const struct state *state);

/* ---- shared.c ---- */

/* options: NULL: *ret is NULL. 0 or -ENOMEM; *ret is for shared_free also then. */
int shared_new(const struct state_remote *options, struct shared **ret);
void shared_free(struct shared *shared); /* NULL is fine */
/* What a reload reads. */
int shared_texts(const struct shared *shared, struct config_texts *ret, struct error *err);
int shared_load(const struct shared *shared, struct config **ret, struct error *err);
/* The text that a reload has read is in force now. */
void shared_in_force(struct state *state);

/* ---- interfaces.c ---- */

void state_follow_links(struct state *state);
/* Warns of what config says of interfaces and is not so, and will not be. */
void state_warn_of_interfaces(const struct state *state, const struct config *config);
/* After a reload: attaches new interfaces, and warns of attached ones that left the file. */
void state_interfaces_changed(struct state *state);

#endif
