/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the files of this room share: a world is all services and backends at one moment. A change
 * builds the next world beside the present one, commits it, and only then lets it take over; an
 * error leaves everything as it was. */
#ifndef LBD_STATE_INTERNAL_H
#define LBD_STATE_INTERNAL_H

#include "crowd.h"
#include "overrides.h"
#include "state.h"

struct world {
	struct service **services;
	unsigned count;
};

struct state {
	struct state_options options; /* config is not used after state_new */
	char *config_path, *overrides_path;
	struct config *config;
	struct overrides overrides;
	struct world world;
	struct event *commit; /* fires at the end of the loop's turn, or after a rest */
	struct event *tick;   /* each second: ramps, latencies, drains */
	struct event *sweep;
	uint64_t rest_until_us; /* CLOCK_MONOTONIC: no commit by the timer before; see on_commit */
	bool first;             /* no world has been committed yet */
	bool commit_failed;     /* tried again each tick; said once */
	struct crowd crowd;
};

/* ---- world.c ---- */

/* Builds the world that config and overrides ask for. Backends carry over what is known of them
 * from `present`, and on a takeover from the adopted maps; those no longer asked for stay as
 * `removed` while they drain. 0 or -ENOMEM. */
int world_build(struct state *state, struct config *config, const struct overrides *overrides,
		const struct world *present, struct world *ret);
void world_free(struct world *world);

/* ---- service.c ---- */

/* Is there a health check at all? */
bool service_is_checked(const struct config_service *config);

/* ---- watch.c ---- */

/* Puts `next` in the place of `present`: hands checks and watches over, starts those that are
 * missing, stops those left. Then frees the former. */
void world_hand_over(struct state *state, struct world *present, struct world *next);

/* ---- weigh.c: pure ---- */

/* Works out conditions, effective weights and status of a service. now_ms: CLOCK_MONOTONIC;
 * wall_ms: CLOCK_REALTIME. */
void service_weigh(struct service *service, uint64_t now_ms, uint64_t wall_ms);
/* All backends of a service that are lost within so many ms may have been lost by this host: a
 * probe of each ends once in an interval, and may last its timeout. */
uint32_t service_loss_window_ms(const struct service *service);
/* Was it lost so recently, or is it frozen, that it may yet turn out to be alive? */
bool backend_may_return(const struct backend *backend, uint64_t now_ms);
/* A probe of it has ended, at now_ms; began_ms: when it began. Both CLOCK_MONOTONIC. */
void backend_note_probe(struct backend *backend, bool passed, uint64_t began_ms, uint64_t now_ms);
/* May packets go to it (new flows, or those it keeps)? */
bool backend_usable(const struct backend *backend);
/* The next value of the peak EWMA (Finagle): a higher sample counts at once, a lower one with a
 * half-life of 5 s. */
uint32_t latency_peak_ewma(uint32_t average_us, uint32_t sample_us, uint64_t elapsed_ms);

/* ---- commit.c ---- */

/* Weighs the world and makes the data plane hold it. 0 or -errno; the data plane is unchanged on
 * error. */
int world_commit(struct state *state, struct world *world, struct error *err);
/* Logs what has changed since the last report. */
void world_report(const struct world *world);
/* Builds, commits and switches to another world. config is taken over on success only (it may be
 * the present one); overrides replace the present ones, and are written to disk. */
int state_switch(struct state *state, struct config *config, struct overrides *overrides,
		 struct error *err);

/* ---- schedule.c ---- */

/* Commits the present world soon: at the end of this turn of the loop, unless the last commit was
 * expensive. */
void state_touch(struct state *state);
/* A commit that began at start_us (CLOCK_MONOTONIC) has ended: the next by state_touch waits nine
 * times as long as this one took, 200 ms at most. */
void state_rest(struct state *state, uint64_t start_us);
/* Once, in so many microseconds. */
void state_arm(struct event *event, uint64_t us);

/* ---- clock.c: timers ---- */

int state_clock_start(struct state *state);
void state_clock_stop(struct state *state);

/* ---- interfaces.c ---- */

void state_follow_links(struct state *state);
/* After a reload: attaches what is new, says what is no longer in the file but still attached. */
void state_interfaces_changed(struct state *state);

#endif
