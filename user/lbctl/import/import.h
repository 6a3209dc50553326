/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The configuration of another load balancer on its way to one of lbd: services and backends as
 * its dialect reads them, and notes about what they cannot say. All of it lives as long as the
 * struct import. Where memory runs out, import_run and import_run_text return at once. */
#ifndef LBCTL_IMPORT_H
#define LBCTL_IMPORT_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/addr.h"
#include "common/error.h"
#include "common/registry.h"

#define IMPORT_MAX_BYTES   (16 << 20) /* of all files together */
#define IMPORT_MAX_FILES   256
#define IMPORT_MAX_NOTES   1000 /* what is beyond that is counted */
#define IMPORT_MAX_NAMES   256  /* host names that are looked up */
#define IMPORT_MAX_STATUS  127  /* characters of its list of ranges */
#define IMPORT_MAX_HEADERS 16   /* of a check: lbd takes no more */

/* lbd's defaults */
#define IMPORT_GUE_PORT 6080
#define IMPORT_WEIGHT   100

/* ---- where something was written ---- */

struct import_file {
	const char *name;
	char *text; /* length bytes and a 0 */
	size_t length;
};

struct import_place {
	const struct import_file *file; /* NULL: nowhere in particular */
	unsigned line;                  /* from 1; 0: the file as a whole */
};

/* ---- what it says ---- */

struct import_health {
	const char *type;                        /* a type of lbd's `health`; NULL: lbd's default */
	const char *path, *host, *method, *body; /* NULL: lbd's default */
	const char *send, *send_hex, *expect, *expect_hex; /* NULL: none */
	const char *name, *record;                         /* of dns */
	unsigned port;                                     /* 0: the service's */
	const char *status;                      /* ranges: 200,301-308; NULL: lbd's default */
	const char *headers[IMPORT_MAX_HEADERS]; /* Name: value */
	unsigned headers_count;
	uint64_t interval_ms, timeout_ms; /* 0: lbd's default */
	unsigned rise, fall;              /* 0: lbd's default */
};

struct import_backend {
	struct import_backend *next;
	struct import_place at;
	struct addr address;
	unsigned port;       /* where its server listens; 0: the service's port */
	uint64_t weight;     /* as the dialect counts; equal weights become lbd's default */
	const char *forward; /* NULL: the dialect has no ways */
	unsigned gue_port;   /* of forward: gue */
	bool backup, drain;
	bool twice; /* for import_settle */
};

/* how the weights of a service are meant */
enum import_weights {
	WEIGHTS_COUNT,
	WEIGHTS_IGNORED, /* all but 0, which takes nothing */
	WEIGHTS_ORDER,   /* the highest alone takes all; the others are its backups */
};

struct import_service {
	struct import_service *next;
	struct import_place at;
	bool listed; /* added, not only the pattern of others */
	bool left;   /* named in a note; not printed */

	const char *key;  /* the dialect's own name, for import_find_service; or NULL */
	const char *name; /* NULL: lbd's default */
	struct addr vip;
	bool udp;
	unsigned port; /* 0: any */

	const char *algorithm; /* NULL: lbd's default */
	bool hash_client;      /* maglev hashes only the client's address */
	enum import_weights weights;
	const char *forward; /* by ways_settle */
	bool affinity;
	uint64_t affinity_ms;   /* 0: lbd's default */
	unsigned mask4, mask6;  /* of affinity; 0: lbd's default */
	uint64_t tcp_idle_ms;   /* 0: lbd's default */
	uint64_t slow_start_ms; /* 0: lbd's default */
	struct import_health health;

	struct import_backend *backends, *last;
	unsigned backends_count;
	unsigned rank; /* for import_settle */
};

/* ---- what cannot be said ---- */

struct import_note {
	struct import_note *next;
	struct import_place at;
	bool left; /* not carried over; else it is, as the text says */
	const char *text;
	unsigned number; /* for import_settle */
};

/* ---- all of it ---- */

struct import_memory;
struct import_name;
struct import_real;

struct import {
	/* set by the caller */
	struct addr vip4, vip6; /* for services on all addresses; family 0: none */
	bool may_open;          /* files that FILE includes */
	/* Looks a host name up. NULL: nothing is looked up. */
	bool (*resolve)(const char *name, uint8_t family, struct addr *ret);

	struct import_service *services, *last;
	unsigned services_count, backends_count;
	struct import_note *notes, *last_note;
	unsigned notes_count, left_count; /* all, also those beyond IMPORT_MAX_NOTES */
	const char *interfaces[64];
	unsigned interfaces_count;
	uint64_t tcp_idle_ms, udp_idle_ms; /* of all services; 0: lbd's default */
	unsigned gue_port;                 /* 0: lbd's default */
	bool pair;                         /* VRRP moves the VIPs */

	struct import_memory *memory;
	jmp_buf no_memory;
	struct import_real **reals; /* for ways_settle */
	struct import_name *names;  /* looked up */
	unsigned names_count, files_count;
	size_t bytes;
	struct import_service spare; /* what is beyond lbd's limits is written here */
	struct import_backend spare_backend;
};

void import_begin(struct import *im);
void import_end(struct import *im);

/* Reads a file ("-": standard input), or a text, as this dialect, and makes a config of it that lbd
 * takes: what lbd would refuse is left out, with a note. 0, or -errno with err set. */
struct dialect;
int import_run(struct import *im, const struct dialect *dialect, const char *path,
	       struct error *err);
int import_run_text(struct import *im, const struct dialect *dialect, const char *text,
		    size_t length, struct error *err);

/* ---- for dialects ---- */

/* Memory that import_end frees: zeroed; never NULL. */
void *import_allocate(struct import *im, size_t size);
char *import_copy(struct import *im, const char *text, size_t length);
char *import_print(struct import *im, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The bytes of a file, or of standard input if path is "-". 0, or -errno with err set. */
int import_open(struct import *im, const char *path, const struct import_file **ret,
		struct error *err);

/* Adds a service; beyond what lbd takes it is one that nobody reads. */
struct import_service *import_add_service(struct import *im, struct import_place at);
/* The service with this key, also if it was left; NULL: none. The last one is found at once. */
struct import_service *import_find_service(struct import *im, const char *key);
struct import_backend *import_add_backend(struct import *im, struct import_service *service,
					  struct import_place at);
/* Adds a service like another one, which need not have been added, with its backends. */
struct import_service *import_add_like(struct import *im, const struct import_service *like);
/* Takes the backend after this one out of its service; NULL: the first. */
void import_drop_backend(struct import_service *service, struct import_backend *before);
/* 192.0.2.10:80/tcp */
const char *import_endpoint(const struct import_service *service, char text[96]);
bool import_is_interface(const char *name);
/* What lbd attaches to, in the order of the calls, each once. No name of an interface: ignored. */
void import_add_interface(struct import *im, const char *name);

/* Something that the config does not say. */
void import_left(struct import *im, struct import_place at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Something that it says in another way, or need not say. */
void import_note(struct import *im, struct import_place at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- dialects ---- */

struct dialect {
	const char *name;
	void (*read)(struct import *im, const struct import_file *file);
};

REGISTRY(dialect, struct dialect);

const struct dialect *dialect_find(const char *name);

/* ---- the result ---- */

/* Leaves out what lbd would refuse, with a note each, and decides what depends on all of it. */
void import_settle(struct import *im);
/* Prints the config that lbd takes: the notes first, as comments. */
void import_print_config(struct import *im, FILE *out, const char *dialect);
/* Prints the notes, a line each. */
void import_print_notes(struct import *im, FILE *out);

/* Asks the system's resolver. */
bool import_resolve(const char *name, uint8_t family, struct addr *ret);

#endif
