/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What changes, when, why, and who asked for it. One call makes the line of the log and the event:
 * the last events are kept in memory and in a file, shown on the control socket, and handed to the
 * command of `notify`. Not to be mixed up with the events that packets cause, which are counted
 * (LB_EVENTS). */
#ifndef LBD_EVENTS_H
#define LBD_EVENTS_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"
#include "lbd/host/host.h"

/* The names in JSON, with "-" for "_". They are listed in docs/api.md and docs/openapi.yaml. */
#define EVENT_KINDS(X)                                                           \
	X(backend_added)                                                         \
	X(backend_removed) /* by hand: at once, or once it is drained */         \
	X(backend_gone)    /* a backend that was removed has drained */          \
	X(backend_weight)                                                        \
	X(backend_undrained)                                                     \
	X(backend_state)      /* set by hand, or no longer */                    \
	X(backend_registered) /* by the API, with a lease */                     \
	X(backend_lapsed)     /* its lease has ended */                          \
	X(backend_forced)     /* a drain has reached its deadline */             \
	X(backend_up)                                                            \
	X(backend_starting)                                                      \
	X(backend_draining)                                                      \
	X(backend_drained)                                                       \
	X(backend_checking)                                                      \
	X(backend_damped) /* it flaps, or its connects fail */                   \
	X(backend_maintenance)                                                   \
	X(backend_no_next_hop)                                                   \
	X(backend_silent)  /* `forward: nat`: no replies come back */            \
	X(backend_replies) /* they do again */                                   \
	X(backend_down)                                                          \
	X(backends_changed) /* the sum of those that changed at the same time */ \
	X(service_added)                                                         \
	X(service_removed)                                                       \
	X(service_up)                                                            \
	X(service_panic)                                                         \
	X(service_backup)                                                        \
	X(service_blind)                                                         \
	X(service_down)                                                          \
	X(services_changed) /* the sum */                                        \
	X(interface_attached)                                                    \
	X(interface_taken_over)                                                  \
	X(interface_detached)                                                    \
	X(interface_lost)                                                        \
	X(interface_refused) /* it could not be attached */                      \
	X(source_changed)    /* `backends-from`: it names others than before */  \
	X(source_failed)     /* its last list stays */                           \
	X(source_recovered)                                                      \
	X(node_ordered) /* to drain, to withdraw its VIPs, or to end that */     \
	X(node_starting)                                                         \
	X(node_syncing) /* its peers have not told it everything yet */          \
	X(node_up)                                                               \
	X(node_draining)                                                         \
	X(node_blind)                                                            \
	X(node_withdrawn)                                                        \
	X(vip_announced)                                                         \
	X(vip_withdrawn)                                                         \
	X(peer_synced)                                                           \
	X(peer_lost)    /* the connection to another node has ended */           \
	X(peer_refused) /* another node does not fit */                          \
	X(reload_accepted)                                                       \
	X(reload_refused)                                                        \
	X(lists_reloaded)                                                        \
	X(override_kept) /* a run-time change, by a reload */                    \
	X(override_dropped)                                                      \
	X(lbd_started)                                                           \
	X(lbd_stopped)

enum event_kind {
#define X(name) EVENT_##name,
	EVENT_KINDS(X)
#undef X
	    EVENT_KIND_COUNT
};

/* What an event is about; a NULL is none. */
struct event_about {
	const char *service, *backend, *interface, *vip;
	const char *why; /* the reason alone, as it is in the text too */
	unsigned count;  /* how many changes the event stands for; 0 is 1 */
	bool measured; /* lbd found it: nobody asked for it, also if somebody asks at this moment */
};

/* Prints the text as a line of the log, as log_print, and records it as an event. about: NULL is
 * nothing. */
void events_log(enum event_kind kind, int level, const struct event_about *about,
		const char *format, ...) __attribute__((format(printf, 4, 5)));
const char *event_kind_name(enum event_kind kind, char text[32]); /* "backend-down" */

/* ---- who asks ---- */

#define EVENT_NO_UID ((uid_t)-1)

struct event_actor {
	uid_t uid;      /* EVENT_NO_UID: one who has asked from another machine */
	char name[128]; /* of the user; "uid 1000" if it has none; or as event_actor_set says */
};

#define EVENT_NAMES_MAX 16

/* Of the users who have asked lately: the database of users may be on the network (NSS), and then
 * its servers may not answer. All 0: none. */
struct event_names {
	struct event_name {
		uint64_t found_ms; /* CLOCK_MONOTONIC */
		struct event_actor actor;
	} list[EVENT_NAMES_MAX];
	unsigned count;
	uint64_t silent_ms; /* CLOCK_MONOTONIC when the database gave no answer; 0: it does */
};

/* The name may be looked up, which takes half a second at most: in a task, by task_wait. Without an
 * answer it is the one that the user had, else the number. */
void event_actor_find(struct event_names *names, uid_t uid, struct event_actor *ret);
/* One that is no user of this machine. */
void event_actor_set(const char *name, struct event_actor *ret);
/* Until the next call, the events of this thread (a task has its own) are what the actor asked for.
 * Not copied. NULL: nobody asks, and events are lbd's. */
void events_ask_as(const struct event_actor *actor);

/* ---- those that are kept ---- */

#define EVENTS_MAX       4096      /* in memory; older ones give way */
#define EVENTS_BYTES_MAX (1 << 20) /* of their JSON */
#define EVENTS_FILE_MAX  (3 << 20) /* bytes of the file */
#define EVENT_JSON_MAX   16384     /* bytes of one */

struct events;

struct events_hook_options {
	const char *const *keeper; /* see commands_new */
	unsigned gather_ms; /* from an event until the command starts; what comes is bundled */
	unsigned rest_ms;   /* from one start to the next, at least */
	unsigned limit_ms;  /* then the command is killed */
	unsigned stop_ms; /* so long events_close waits for it, and for one with the last events */
};

struct events_options {
	struct event_base *base; /* NULL: the file is written at once, and there is no hook */
	const char *path;        /* copied; of the file; NULL: not kept */
	const char *socket;      /* copied; for the command's environment; NULL: none */
	struct events_hook_options hook; /* 0: the default */
};

/* From now on events_log records, in this one object of the process. A file that cannot be used is
 * set aside. 0 or -ENOMEM. */
int events_open(const struct events_options *options, struct error *err);
/* Writes what is not on disk yet, hands the last events to the command, and kills it if it runs on.
 */
void events_close(void);

/* One that is kept. The pointers hold until the next event. */
struct event_record {
	uint64_t seq;        /* grows from event to event, over restarts too; not one by one */
	uint64_t wall_ms;    /* CLOCK_REALTIME */
	const char *service; /* NULL: of none */
	const char *json;    /* one line without its end */
	size_t length;
};

/* The first one after seq; false: there is none. Numbers that this lbd cannot have given, as its
 * file was lost, count as before its start. */
bool events_next(uint64_t after, struct event_record *ret);
/* The last one before seq; UINT64_MAX: the newest. */
bool events_before(uint64_t seq, struct event_record *ret);
/* Were there events after seq that are not kept any more? */
bool events_missed(uint64_t after);
uint64_t events_last(void); /* the newest seq; 0: none */
/* Calls fn(arg) after each event, from wherever it was logged: fn may only schedule. NULL: nobody
 * any more. */
void events_on_new(void (*fn)(void *arg), void *arg);

/* ---- notify ---- */

#define NOTIFY_WORDS_MAX COMMAND_WORDS_MAX /* of the command: its path and arguments */

/* The command to run, words separated by blanks; NULL: none. Copied. */
void events_set_command(const char *command);

/* How runs of the command ended. */
#define NOTIFY_RESULTS(X) \
	X(ok)             \
	X(failed)         \
	X(timeout)        \
	X(not_started)

enum notify_result {
#define X(name) NOTIFY_##name,
	NOTIFY_RESULTS(X)
#undef X
	    NOTIFY_RESULT_COUNT
};

const uint64_t *events_notify_counts(void); /* of this process, by enum notify_result */
const char *notify_result_name(enum notify_result result);

#endif
