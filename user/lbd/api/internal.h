/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Shared by the files of this room: handlers take a call, with JSON in its body, and return
 * JSON. */
#ifndef LBD_API_INTERNAL_H
#define LBD_API_INTERNAL_H

#include <event2/keyvalq_struct.h>
#include <jansson.h>
#include <net/if.h>

#include "lbd/events/events.h"
#include "api.h"
#include "face.h"

#define API_TEXTS_MAX 4

TAILQ_HEAD(listings, listing);
TAILQ_HEAD(followers, follower);
struct queue_group;

/* A listener for requests, and what those who come through it may keep waiting: no door takes what
 * another one needs. */
struct api_door {
	struct api *api;
	struct face *face;          /* NULL: there is none */
	bool remote;                /* other machines come through it: remote.c */
	struct config_api *offered; /* of a remote one */
	unsigned changes;           /* that wait, or are being made, without registrations */
	unsigned registrations;     /* the same: PUT and DELETE with short bodies */
	unsigned followers;
};

struct api {
	struct event_base *base;
	struct api_door local, remote; /* local: the control socket */
	char *path;                    /* of the socket */
	struct listings listings;      /* that are built, or wait for it */
	struct followers followers;    /* calls that wait for events */
	struct event *new_events;      /* there are some for the followers */
	/* Large answers that connections are still taking; NULL: a free place. */
	struct text *texts[API_TEXTS_MAX];
	struct event *texts_taken; /* looks for those that they have taken */
	struct state *state;
	struct attach *attach;
	const struct announce *announce;  /* NULL: nothing is announced */
	const struct fleet *fleet;        /* NULL: there are no other nodes */
	struct config_follower *follower; /* NULL: the config is in files */
	struct dataplane *dp;
	const struct health *health;
	const struct lateness *lateness;
	struct tasks *tasks;      /* NULL: changes are made at once */
	struct queue_group *open; /* registrations that the next one may join; NULL: none */
	uint64_t start_ms;        /* CLOCK_MONOTONIC */
	struct event_names names; /* of who asks; for the tasks alone */
	/* The last interface name looked up for this answer: thousands of backends share a few
	 * interfaces. 0: none. */
	uint32_t named_ifindex;
	char named[IF_NAMESIZE];
};

/* Which backends are listed; NULL, false: all. */
struct list_query {
	const char *service, *filter; /* filter: as in match_backend */
	bool down;                    /* only those that are down or have no next hop */
	uint64_t fields;              /* of backends, as api_backend_json takes them */
};

struct api_call {
	struct api *api;
	const json_t *body;            /* an object; NULL for GET */
	const struct evkeyvalq *query; /* of the URI */
	struct list_query listed;      /* of a list, from its handler */
};

/* Those that change something run as tasks. 0 with *ret set, or -errno with the sentence for the
 * user in err; the table in api.c gives the HTTP status. */
typedef int api_handler(struct api_call *call, json_t **ret, struct error *err);

/* Answers that grow with the number of services or backends are built in slices: listing.c. Events
 * come in pages: events.c. */
enum api_list {
	API_LIST_NONE,
	API_LIST_SERVICES,
	API_LIST_BACKENDS,
	API_LIST_TOP,
	API_LIST_EVENTS
};

struct api_route {
	const char *method;   /* "GET", or that of a change: "POST", "PUT", "DELETE" */
	const char *path;     /* a part in braces is a field of the body: "/services/{service}" */
	api_handler *handler; /* of a list: reads call->listed; NULL: there is nothing to read */
	enum api_list list;
};

/* ---- api.c ---- */
#define API_TYPE "application/json"
void api_answer(struct face_call *call, int status, const json_t *body); /* body NULL: 500 */
/* The answer to a change has what lbd warned of meanwhile. */
int api_run_handler(const struct api_route *route, struct api_call *of, json_t **ret,
		    struct error *err);
void api_add_warnings(json_t *answer, const struct sentences *warnings);
void api_answer_failure(struct face_call *call, int code, const char *sentence);
json_t *api_sentences_json(const struct sentences *sentences);
face_handler api_on_call; /* arg: the door */
/* JSON is read in one go, so what can be short must be. only_registers: the client may do nothing
 * else. False: its body is too long, and the call is answered. */
bool api_admit_length(struct face_call *call, bool only_registers);

/* ---- queue.c ---- */
/* A request that has come. */
struct asked {
	struct api_door *door;
	struct face_call *call;
	struct event_actor actor; /* of a remote door */
};

/* Is it for backends that register themselves, or leave? */
bool api_registers(const struct api_route *route);
/* The change waits for its turn as a task; then the call is answered. Takes ownership of body. 0,
 * or -errno with err set: then the call is not answered. */
int queue_add(const struct asked *asked, const struct api_route *route, json_t *body,
	      struct error *err);

/* ---- remote.c ---- */
/* Listens where the config says. */
int remote_open(struct api_door *door, unsigned connections, struct error *err);
/* Who asks, in *ret; false: he may not, and the call is answered. */
bool remote_admit(struct api_door *door, struct face_call *call, struct event_actor *ret);
/* Of one who was admitted: may he make this change? 0, or -EKEYREJECTED or -ENOENT with the
 * sentence in err. body: with the parts of the path. */
int remote_permit(const struct asked *asked, const struct api_route *route, const json_t *body,
		  struct error *err);

/* ---- listing.c ---- */
/* The call waits for the list. */
void listing_join(struct api *api, enum api_list list, const struct list_query *query,
		  struct face_call *call);
int listings_init(struct api *api);  /* 0 or -ENOMEM */
void listings_done(struct api *api); /* also of one that is all zero */
/* Is it down, or without a next hop? */
bool api_is_down(const struct backend *backend);

/* ---- events.c ---- */
/* Answers the call, or holds it until there are events. 0, or -errno with err set: then it is not
 * answered. */
int api_events(struct api_door *door, const struct evkeyvalq *query, struct face_call *call,
	       struct error *err);
int followers_new(struct api *api); /* 0 or -ENOMEM */
void followers_done(struct api *api);

/* ---- show.c ---- */
api_handler api_status, api_backends, api_stats;
json_t *api_status_json(const struct api *api);
/* Seconds since a time of CLOCK_MONOTONIC; null: there is none. */
json_t *api_age_json(uint64_t at_ms);
json_t *api_service_json(const struct api *api, const struct service *service);
/* What a service was in each window; count 0: there is no record of it. */
struct api_windows {
	struct uptime_share shares[UPTIME_WINDOWS];
	unsigned count;
};
void api_windows_read(const struct service *service, struct api_windows *ret);
json_t *api_availability_json(const struct api_windows *windows);
json_t *api_labels_json(const struct config_tag *tag);
json_t *api_port_json(const struct backend *backend); /* null: of no NAT */
json_t *api_reasons_json(const struct lb_reason_count counts[LB_COUNTERS]);
json_t *api_events_json(const struct lb_reason_count counts[LB_COUNTERS]);
/* fields: a bit for each, and of them only those that say something; or API_ALL_FIELDS. NULL: out
 * of memory. */
json_t *api_backend_json(struct api *api, const struct backend *backend, uint64_t fields);
#define API_ALL_FIELDS 0
extern const uint64_t api_matched_fields; /* that match_backend needs */
/* Takes the others out of it. */
void api_backend_keep(json_t *object, uint64_t fields);
json_t *api_interface_json(const struct api *api, const struct attachment *attachment);

/* ---- node.c ---- */
api_handler api_node_drain;
json_t *api_node_json(const struct api *api); /* null: the config has no `announce:` */

/* ---- fleet.c ---- */
api_handler api_fleet, api_fleet_apply;
json_t *api_shared_config_json(const struct api *api); /* null: the config is in files */

/* ---- change.c ---- */
/* What a reload would change, and how much that is in all: of a trial. */
json_t *api_changes_json(const struct sentences *changes);
/* What is not a limit, or lbd's own failure, is wrong in the config or in a list. */
int api_reload_failure(int rc);
api_handler api_attach, api_detach, api_reload, api_save, api_service_add, api_service_remove,
    api_add, api_remove, api_drain, api_weight, api_admin, api_put, api_delete;

/* What a PUT says, of which *ret then holds a reference. */
int api_put_read(struct api_call *call, struct state_registration *ret, struct error *err);
/* The answer to one that was made. */
json_t *api_put_answer(struct api *api, const struct state_registration *made);
/* The same of a DELETE. */
int api_delete_read(struct api_call *call, struct state_registration *ret, struct error *err);
json_t *api_delete_answer(const struct api *api, const struct state_registration *made);
/* Does what api_put would, if that is a renewal and nothing else: see state_backend_renew. */
bool api_renew(struct api_call *call);

/* ---- args.c: fields of a body. Errors name field, value and what was expected ---- */

/* -EINVAL if the body has a field that is not in names (NULL-terminated). */
int api_arg_only(const json_t *body, const char *const *names, struct error *err);
/* The name of an object; the field is called after its kind: "service", "interface". The text
 * belongs to body. */
int api_arg_name(const json_t *body, const char *name, const char **ret, struct error *err);
/* The text of an optional field, NULL: not given. */
int api_arg_text(const json_t *body, const char *name, const char **ret, struct error *err);
/* What a new backend is: all fields of a request but those that name it and "ttl", and ttl_ms
 * stays. On success *ret has a reference to its tag. */
#define API_NEW_FIELDS "weight", "priority", "backup", "port", "health", "name", "zone", "labels"
int api_arg_new(const json_t *body, struct state_put *ret, struct error *err);
int api_arg_address(const json_t *body, const char *name, struct addr *ret, struct error *err);
int api_arg_weight(const json_t *body, const char *name, uint32_t *ret, struct error *err);
int api_arg_ms(const json_t *body, const char *name, uint64_t *ret, struct error *err);
int api_arg_duration(const json_t *body, const char *name, uint64_t *ret, struct error *err);
int api_arg_bool(const json_t *body, const char *name, bool fallback, bool *ret, struct error *err);
int api_arg_mode(const json_t *body, const char *name, enum config_mode *ret, struct error *err);

#endif
