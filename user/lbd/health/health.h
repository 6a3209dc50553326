/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Health checks: schedules the probes, spread over the interval, and counts rise and fall. How to
 * probe is a kind, one file each in health/. Thousands of checks run on the one event loop, without
 * threads. */
#ifndef LBD_HEALTH_H
#define LBD_HEALTH_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/error.h"
#include "common/registry.h"
#include "lbd/host/host.h"

/* Texts of a check: each a member of health_spec, NULL if not given. X(name, longest, in bytes) */
#define HEALTH_TEXTS(X)                                                            \
	X(path, 1023)         /* http: default "/" */                              \
	X(host, 255)          /* http: Host header; NULL: the backend's address */ \
	X(method, 15)         /* http: default GET */                              \
	X(headers, 2047)      /* http: "Name: value" lines, separated by \\n */    \
	X(body, 255)          /* http: the body must contain it */                 \
	X(send, 511)          /* tcp, udp: what is sent */                         \
	X(send_hex, 1022)     /* ... the same as pairs of hexadecimal digits */    \
	X(expect, 255)        /* tcp, udp, dns: the answer must contain it */      \
	X(expect_hex, 510)    /* ... */                                            \
	X(name, 255)          /* dns: whose records are asked for */               \
	X(record, 7)          /* dns: their type; default A */                     \
	X(command, 2047)      /* exec: its words, separated by \\n */              \
	X(status, 127)        /* http: several ranges, separated by commas */      \
	X(server_name, 255)   /* https, tls: in the certificate, and asked for */  \
	X(ca, 49152)          /* https, tls: authorities, in PEM */                \
	X(certificate, 24576) /* https, tls: of the client, in PEM */              \
	X(key, 12288)         /* https, tls: its key */

enum health_text {
#define X(name, max) HEALTH_TEXT_##name,
	HEALTH_TEXTS(X)
#undef X
	    HEALTH_TEXT_COUNT
};

/* Where the probes of a check go. */
enum health_to {
	HEALTH_TO_AUTO,    /* to the VIP where that is known to work, else to the backend */
	HEALTH_TO_BACKEND, /* to the backend's own address */
	HEALTH_TO_VIP,     /* to the VIP, through the tunnel: see health_set_way */
};

/* How the backends of a service are checked. */
struct health_spec {
	char *type;    /* a health kind by its name: "tcp", "http"; "none": always healthy */
	uint16_t port; /* 0: the service's */
	enum health_to to;
	bool to_own; /* of one of `checks`, while a config is read: `to` was given for it */
	union {
		struct {
#define X(name, max) char *name;
			HEALTH_TEXTS(X)
#undef X
		};
		char *texts[HEALTH_TEXT_COUNT];
	};
	/* http: default 200-399; `status: 200` or `status: 200-204`; of several ranges the lowest
	 * and the highest */
	uint32_t status_min, status_max;
	bool verify; /* https, tls: the certificate of the server, by the authorities of ca */
	uint32_t interval_ms, timeout_ms; /* default 2s, 1s */
	uint32_t fast_ms;    /* the interval while probes contradict the status; 0: the same */
	uint32_t rise, fall; /* default 2, 3 */
	/* percent of connects that fail, as the traffic shows; 0: that is not looked at. Not of the
	 * checks: health_spec_same does not compare it */
	uint32_t passive;
	uint32_t mtu; /* the longest packet of a client that is tried to the VIP; 0: none */
	/* Several checks that are made at the same time, and have one result. Each has a type, port
	 * (0: that of this spec), to, texts, status and timeout; of this spec count interval,
	 * rise and fall. NULL: this spec is the only check. */
	struct health_spec *checks;
	unsigned checks_count;
	bool any; /* one that passes is enough; else all must pass */
};

#define HEALTH_CHECKS_MAX 8
#define HEALTH_MTU_MAX    9216 /* bytes of a packet */
#define HEALTH_WHY        320  /* bytes of a reason */

/* The checks of a spec: `checks`, or the spec itself. */
const struct health_spec *health_spec_list(const struct health_spec *spec, unsigned *ret_count);
/* Is one of them of HEALTH_TO_AUTO, and as a client's connection to this port of the VIP? */
bool health_spec_as_client(const struct health_spec *spec, uint16_t port);
/* Does one of them go to the VIP whatever happens? */
bool health_spec_to_vip(const struct health_spec *spec);

/* What each text may have, bytes. */
extern const uint16_t health_text_max[HEALTH_TEXT_COUNT];

/* Whether a text is pairs of hexadecimal digits, at least one; a type of DNS records ("A"). */
bool health_is_hex(const char *text);
bool health_is_record(const char *text);

/* Whether a status is in one of the ranges of a list such as "200,204,300-399"; -EINVAL: that is no
 * such list, whose numbers are 100 to 599. */
int health_status_within(const char *list, long status);
/* The lowest and the highest of such a list; -EINVAL also if it is empty. */
int health_status_bounds(const char *list, uint32_t *ret_min, uint32_t *ret_max);

/* 0 or -ENOMEM; *ret then holds nothing. */
int health_spec_copy(const struct health_spec *from, struct health_spec *ret);
void health_spec_done(struct health_spec *spec);        /* frees what it points to */
void health_spec_drop_checks(struct health_spec *spec); /* it is the only check then */
bool health_spec_same(const struct health_spec *a, const struct health_spec *b); /* port: as is */

enum health_status { HEALTH_UNKNOWN, HEALTH_UP, HEALTH_DOWN };

/* What one probe found. */
enum health_outcome {
	HEALTH_PASSED,
	HEALTH_FAILED,
	HEALTH_NOT_RUN, /* this host lacked a resource: no information about the backend */
};

struct health_result {
	enum health_outcome outcome; /* of this probe */
	uint64_t began_ms, ended_ms; /* CLOCK_MONOTONIC, where it ran */
	enum health_status status;
	/* of this probe, connect to answer; 0: it failed, or the loop was late */
	uint32_t latency_us;
	/* last failure: "connect: timed out after 1 s", "HTTP status 503, expected 200-399"; of
	 * several checks "check 2, http: HTTP status 503, expected 200-399"; "" if none */
	const char *why;
	/* by an agent, in a probe that passed: for health_advice_parse; else "" */
	const char *said;
};

/* ---- agents ---- */

#define HEALTH_ADVICE_LINE        255 /* bytes that an agent may say */
#define HEALTH_ADVICE_TEXT        128
#define HEALTH_ADVICE_WHY         128
#define HEALTH_ADVICE_PERCENT_MAX 1000

enum { HEALTH_ADVICE_UP = 1, HEALTH_ADVICE_DOWN };                          /* states */
enum { HEALTH_ADVICE_READY = 1, HEALTH_ADVICE_DRAIN, HEALTH_ADVICE_MAINT }; /* orders */

/* What the line of an agent says. */
struct health_advice {
	uint8_t state, order; /* 0: nothing */
	bool has_weight;
	uint16_t percent;              /* of the configured weight */
	char text[HEALTH_ADVICE_TEXT]; /* "": none */
};

/* A line such as "up 50%", "down #disk full", without its end. 0, or -EINVAL with why. */
int health_advice_parse(const char *line, struct health_advice *ret, char why[HEALTH_ADVICE_WHY]);
/* In words that health_advice_parse reads. */
void health_advice_format(const struct health_advice *advice, char text[HEALTH_ADVICE_LINE + 1]);

struct health;       /* the scheduler */
struct health_check; /* one backend's check */

/* Called from the loop after every finished probe, except void ones: see health/verdict.h. A probe
 * that this host could not run (no descriptor, port or memory left) does not change the status:
 * latency_us is 0, and why is "probe not run: ...". */
typedef void health_result_fn(void *arg, const struct health_result *result);

/* lateness: of base's loop; must outlive *ret. */
int health_new(struct event_base *base, const struct lateness *lateness, struct health **ret,
	       struct error *err);
void health_free(struct health *health);
/* At most so many probes run at the same time in lbd itself: each has a descriptor. A probe beyond
 * that is not run, as if the host had no descriptor left. 0, the default: no limit. The probe
 * process has descriptors of its own. */
void health_limit(struct health *health, unsigned probes);
/* Probes do not leave from these addresses, the VIPs, which are copied: a backend has them too, and
 * would answer itself. 0 or -ENOMEM. */
int health_avoid(struct health *health, const struct addr *addresses, unsigned count);
/* spec is copied. port: the service's, used if spec->port is 0. initial: the status to start with;
 * with HEALTH_UNKNOWN the first probe alone sets the status. The first probe comes within a small
 * random part of the interval. NULL with errno EINVAL (no such kind) or ENOMEM. */
struct health_check *health_add(struct health *health, const struct health_spec *spec,
				const struct addr *address, uint16_t port,
				enum health_status initial, health_result_fn *result, void *arg);
/* The way of probes to the VIP. All functions are called from the loop. */
struct health_way {
	struct addr to;    /* the VIP */
	uint16_t port;     /* of the service, over TCP; 0: only HEALTH_TO_VIP takes this way */
	uint32_t mark;     /* of the socket: sends its packets to the backend */
	const char *lacks; /* what a backend may lack that does not answer there; a constant */
	void *arg;
	/* Before a probe. -errno: it cannot be sent, and why says why: it fails, or is not run if
	 * this host lacks descriptors or memory. */
	int (*prepare)(void *arg, const struct addr *to, char *why, size_t size);
	/* How many packets went this way so far. */
	uint64_t (*sent)(void *arg, uint32_t mark);
	/* A probe has ended, and none of its packets went this way. */
	void (*missed)(void *arg);
	/* Bytes of the longest packet of a client that fits this way now. NULL: not known */
	uint16_t (*longest)(void *owner);
	void *owner;
};

/* Does the check take a way to the VIP, if it gets one? port: as in struct health_way. */
bool health_wants_way(const struct health_check *check, uint16_t port);
/* A check of HEALTH_TO_VIP is not run before this. One of HEALTH_TO_AUTO goes there where probes
 * can: of TCP, at the port of the way, if this host can send them, and after a backend of that VIP
 * and port has answered one. The way is copied. */
void health_set_way(struct health_check *check, const struct health_way *way);

/* Where the next probes go. */
struct health_aim {
	bool vip, backend; /* both: of several checks, or of several backends */
	bool prevented;    /* a client's way should do, but does not: see why */
	char
	    why[HEALTH_WHY]; /* one goes to the backend though its spec does not say so; "": none */
};

/* Adds to *ret, of which why holds what it does unless one is prevented. */
void health_aim(const struct health_check *check, struct health_aim *ret);

/* What becomes of long packets to the VIP. */
struct health_mtu {
	const char *state;    /* "arrive", "lost" or "unknown"; a constant */
	uint16_t length;      /* bytes; 0: there are no long ones */
	char why[HEALTH_WHY]; /* why it is not known, or does not count; "" */
};

/* False: they are not tried. */
bool health_mtu(const struct health_check *check, struct health_mtu *ret);

/* Who a check is about, for a command that checks it. */
struct health_names {
	const char *service, *vip, *vip_port, *protocol, *backend;
};

/* The names are copied, where a command is run; before the first probe, and again when they change.
 * 0 or -ENOMEM: then there are none. */
int health_name(struct health_check *check, const struct health_names *names);
/* Does it run a command? */
bool health_needs_names(const struct health_check *check);
void health_remove(struct health_check *check); /* NULL is allowed; a running probe is abandoned */

/* What became of probes since the start. */
#define HEALTH_RESULTS(X)                                                  \
	X(passed, "the backend answered as expected")                      \
	X(failed, "it did not")                                            \
	X(not_run, "this host lacked a resource: the status is unchanged") \
	X(repeated, "lbd was late, or the probe process ended: not counted")

enum health_count {
#define X(name, help) HEALTH_COUNT_##name,
	HEALTH_RESULTS(X)
#undef X
	    HEALTH_COUNTS
};

/* HEALTH_COUNTS of them. */
const uint64_t *health_counts(const struct health *health);

/* ---- the probe process ---- */

/* Kinds that read what servers send run in a process of their own, without rights: worker.h. It is
 * started with the first check of such a kind, and again when it ends; probes that ran in it are
 * repeated and do not count. */
struct health_process {
	bool needed;       /* there was such a check */
	bool running;      /* it has given up its rights and takes probes */
	int pid;           /* 0: there is none now */
	unsigned probes;   /* that run in it */
	uint64_t restarts; /* after it has ended by itself, or had to be ended */
	uint64_t ended_ms; /* CLOCK_MONOTONIC of the last time; 0: never */
	const char *why;   /* the reason of the last time: "killed by SIGKILL"; "" if never */
};

void health_process(const struct health *health, struct health_process *ret);

/* A program that has checks of such kinds begins with
 *	if (health_is_worker(argc, argv))
 *		return health_run_worker();
 * as it is started again to be the probe process. */
bool health_is_worker(int argc, char *const *argv);
int health_run_worker(void);

/* ---- kinds ---- */

struct health_probe; /* a kind's state of a running probe */

struct health_kind;

struct health_probe_spec {
	const struct health_kind *kind;
	struct addr address;
	uint16_t port;
	struct addr named;  /* what http and tls call the server; family 0: address */
	struct addr source; /* to bind to; family 0: the kernel chooses */
	uint32_t mark;      /* of the socket; 0: none */
	/* icmp: bytes of the packet, which is never cut into fragments on its way; 0: a short one
	 */
	uint16_t length;
	/* In the probe process, which can neither bind nor mark one: the socket of a probe with a
	 * source or mark, which lbd has made. start takes it over unless it fails. -1: none */
	int socket;
	const struct health_spec *config;
	const struct health_names *names; /* NULL: not known, or not needed */
};

/* Called once per probe. why: NULL when passed, but of an agent what it has said. latency_us:
 * connect to answer when passed, else ignored. */
typedef void health_done_fn(void *arg, enum health_outcome outcome, const char *why,
			    uint32_t latency_us);

struct health_kind {
	const char *name; /* "tcp" */
	/* The `type` of the config that it is chosen for; NULL: the name. Of two kinds for one
	 * type, health_kind_of chooses. */
	const char *type;
	/* It reads what a server sends: its probes run in the probe process. */
	bool confined;
	/* Its socket: SOCK_DGRAM, and a protocol if not the default. 0: TCP. In a confined kind a
	 * socket that is not TCP is made by lbd, as the probe process may not. */
	int socket, protocol4, protocol6;
	bool portless; /* it needs no port */
	bool aside;    /* its packets, if any, are not lbd's: it has no way and no source address */
	/* Called once per scheduler; start gets the state. May be NULL. */
	int (*open)(struct event_base *base, void **ret_state);
	void (*close)(void *state);
	/* So many run that one more has to wait: the scheduler tries again soon. May be NULL. */
	bool (*is_busy)(const void *state);
	/* Starts a probe. done is called from the loop, exactly once unless the probe is cancelled,
	 * and never from within start. NULL with errno set: this host is out of resources. spec and
	 * what it points to outlive the probe. The scheduler has the timeout: a kind waits until it
	 * is cancelled. */
	struct health_probe *(*start)(void *state, struct event_base *base,
				      const struct health_probe_spec *spec, health_done_fn *done,
				      void *arg);
	/* Handles what has arrived by now, without waiting. True: the probe has ended and is freed;
	 * done was called, or the probe was cancelled. */
	bool (*serve)(struct health_probe *probe);
	/* What is missing, for a timeout: "connect: timed out". A string constant. */
	const char *(*waits_for)(const struct health_probe *probe);
	void (*cancel)(struct health_probe *probe);
};

REGISTRY(health_kind, struct health_kind);
const struct health_kind *health_kind_find(const char *name);
/* Is its probe a TCP connection, as a client's to the VIP? A datagram may be answered by another
 * socket there, or from another address. */
bool health_kind_connects(const struct health_kind *kind);
/* The kind for a check; NULL: no kind has its type. */
const struct health_kind *health_kind_of(const struct health_spec *spec);

#endif
