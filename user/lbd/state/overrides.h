/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Run-time changes to the config: a list keyed by service name and backend address, and the order
 * for the whole node, kept as JSON so that a drain survives a kill -9 of lbd. */
#ifndef LBD_OVERRIDES_H
#define LBD_OVERRIDES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/error.h"
#include "common/lookup.h"
#include "lbd/config/config.h"
#include "admin.h"
#include "node.h"
#include "origin.h"

struct override {
	char *service;
	struct addr address;
	bool has_weight; /* weight replaces the file's; always set with added */
	uint32_t weight;
	bool drain;
	uint64_t drain_ms; /* CLOCK_MONOTONIC when the drain began; valid until the next boot, as is
			      the file */
	bool has_force;    /* the drain ends at force_ms, even if flows remain */
	uint64_t force_ms; /* CLOCK_MONOTONIC */
	bool added;        /* not in the file */
	bool removed;      /* in the file, but removed at run time */
	bool undrain;      /* the file has `drain: true`, and it takes flows all the same */
	enum admin_state admin;
	/* of an added one; tag: name, zone and labels; NULL: none of them */
	uint8_t priority;
	bool backup;
	uint16_t port; /* with `forward: nat`; 0: that of the service */
	struct config_target target;
	struct config_tag *tag;
	/* Of an added one, ORIGIN_lease or ORIGIN_source: the backend has not been added by hand,
	 * but comes by itself, and holds over reloads like one of the file. Else ORIGIN_config. */
	enum origin origin;
	uint64_t ttl_ms;   /* of a lease; 0: it has no end */
	uint64_t until_ms; /* of a lease with ttl_ms: its end, CLOCK_MONOTONIC */
	bool lapsed;       /* it has ended, but its backend is the last one; not in the file */
};

#define OVERRIDE_TTL_MIN_MS 1000ULL
#define OVERRIDE_TTL_MAX_MS (365ULL * 24 * 3600 * 1000)

/* A service that is added, or one of the file that is removed. */
struct service_override {
	char *service; /* its name; unique among those of its kind */
	struct addr vip;
	uint8_t protocol;
	uint16_t port;
	char *added; /* its keys, as config_add_service takes them; NULL: removed, or named */
};

struct overrides {
	struct override *list;
	unsigned count, size; /* of the list: entries, and room */
	struct lookup lookup; /* by service and address */
	struct service_override *services;
	unsigned services_count;
	struct node_order node;
	/* Of a file: the services of the list as they were when it was written, by which they are
	 * found when a config has renamed them. No copy has them. */
	struct service_override *named;
	unsigned named_count;
};

/* Reads path; a file that does not exist gives an empty list. Entries beyond max are dropped, which
 * is logged. 0, or -errno with *ret untouched and err naming the file. */
int overrides_load(const char *path, unsigned max, struct overrides *ret, struct error *err);
/* Writes path whole or not at all (temporary file, fsync, rename, fsync of the directory); an empty
 * list without an order for the node removes it. When it returns 0, the list is on disk. */
int overrides_save(const struct overrides *overrides, const char *path, struct error *err);
/* The entry says what from says; its service stays. */
void overrides_set(struct override *entry, const struct override *from);
int overrides_copy(const struct overrides *overrides, struct overrides *ret); /* 0 or -ENOMEM */
void overrides_done(struct overrides *overrides);
void overrides_forget_names(struct overrides *overrides);

/* Adds an entry for the service; added: NULL: it is removed. 0 or -ENOMEM. */
int overrides_add_service(struct overrides *overrides, const struct config_service *service,
			  const char *added);
void overrides_drop_service(struct overrides *overrides, struct service_override *entry);
/* Its entries of services give way to those of from, which gets them. */
void overrides_take_services(struct overrides *overrides, struct overrides *from);
/* The entry of the service that is added, by name; NULL if there is none. */
struct service_override *overrides_find_added(const struct overrides *overrides,
					      const char *service);
/* NULL if there is none. */
struct override *overrides_find(const struct overrides *overrides, const char *service,
				const struct addr *address);
/* The entry, added with nothing set if missing; NULL: out of memory. Valid until the next change of
 * the list. */
struct override *overrides_get(struct overrides *overrides, const char *service,
			       const struct addr *address);
/* Those of added backends, by service, until the next change of the list. 0 or -ENOMEM; free the
 * list. */
struct overrides_added {
	const struct override **list;
	unsigned count;
};
int overrides_list_added(const struct overrides *overrides, struct overrides_added *ret);
/* Those of one service, in the order in which they came. */
const struct override *const *overrides_added_to(const struct overrides_added *added,
						 const char *service, unsigned *ret_count);
/* Drops the entries for which keep returns false. */
typedef bool overrides_keep_fn(void *arg, const struct override *entry);
void overrides_filter(struct overrides *overrides, overrides_keep_fn *keep, void *arg);
/* The same entries in the same order, and the same order for the node. */
bool overrides_equal(const struct overrides *a, const struct overrides *b);
void overrides_drop(struct overrides *overrides, struct override *entry);
/* Does the backend come by itself, and not by the file or by hand? */
static inline bool override_comes_by_itself(const struct override *entry)
{
	return entry->origin == ORIGIN_lease || entry->origin == ORIGIN_source;
}
static inline bool override_has_end(const struct override *entry)
{
	return entry->origin == ORIGIN_lease && entry->ttl_ms;
}
/* Takes out of the entry what file (NULL: the backend is not in it) says too. true: nothing is
 * left, and the entry is dropped. */
bool overrides_tidy(struct overrides *overrides, struct override *entry,
		    const struct config_backend *file);

#endif
