/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The messages between lbd and its probe process: one packet each on a socket of type
 * SOCK_SEQPACKET. The two are the same program, so the layout needs no version. What comes from the
 * probe process is believed only after message_check_reply. No I/O. */
#ifndef LBD_HEALTH_MESSAGE_H
#define LBD_HEALTH_MESSAGE_H

#include "attempt.h"
#include "failure.h"

/* ---- from lbd ---- */

enum request_type {
	REQUEST_START = 1, /* a probe */
	REQUEST_CANCEL,    /* the probe with this id is not needed; a reply may be on its way */
	REQUEST_PING,
};

/* The texts of a check, one after the other. */
#define X(name, max) +(max)
#define REQUEST_TEXT (0 HEALTH_TEXTS(X))

/* A packet is only as long as its text. All but type and id is of REQUEST_START. */
struct request {
	uint32_t type;
	uint32_t timeout_ms;
	uint64_t id; /* of a probe: its place in a table in the lower half, see remote.c */
	uint32_t status_min, status_max;
	uint16_t port;
	uint16_t length;                     /* health_probe_spec.length */
	uint16_t lengths[HEALTH_TEXT_COUNT]; /* 0: none */
	uint8_t family, repeated, verify;
	uint8_t with_socket; /* one descriptor comes with the packet: health_probe_spec.socket */
	uint8_t address[16], named[16];
	uint8_t named_family;    /* 0: it is not named */
	char kind[16];           /* with a NUL */
	char text[REQUEST_TEXT]; /* in the order of enum health_text, without a NUL */
};
#undef X

/* Returns the length of the packet. */
size_t message_put_start(struct request *ret, uint64_t id, const struct health_probe_spec *spec,
			 bool repeated);
size_t message_put_plain(struct request *ret, enum request_type type, uint64_t id);
/* descriptors: that came with it. NULL: it is well formed. Else what is wrong, a string constant.
 */
const char *message_check_request(const struct request *request, size_t length,
				  unsigned descriptors);
/* Out of a well-formed REQUEST_START: *ret, which points to *config, which has copies of the texts.
 * Its kind is NULL, its socket -1; its source and mark are not sent, as only the socket needs them.
 * 0 or -ENOMEM. Free *config with health_spec_done. */
int message_get_start(const struct request *request, struct health_spec *config,
		      struct health_probe_spec *ret);

/* ---- from the probe process ---- */

enum reply_type {
	REPLY_READY = 1, /* its rights are given up, it reads requests from now on */
	REPLY_UNFIT,     /* it could not give them up, or start: why says what failed. It ends. */
	REPLY_RESULT,    /* of the probe id */
	REPLY_PONG,      /* to the ping id */
};

/* All but type is of REPLY_RESULT, unless said otherwise. */
struct reply {
	uint32_t type;
	uint32_t outcome; /* enum attempt_outcome, but not ATTEMPT_LOST */
	uint64_t id;
	uint64_t began_us, ended_us, late_us;
	uint32_t latency_us;
	uint32_t reserved; /* 0 */
	char why[FAILURE_TEXT];
};

_Static_assert(sizeof(struct reply) == 48 + FAILURE_TEXT, "a hole would hold old memory");

/* length: of the packet, which may be longer than *reply. NULL: it is well formed. Else what is
 * wrong, a string constant. */
const char *message_check_reply(const struct reply *reply, size_t length);
void message_put_result(struct reply *ret, uint64_t id, const struct attempt_result *result);
/* Out of a well-formed REPLY_RESULT. Its times are moved into what is possible: the probe began
 * after sent_us and ended by now_us, and the latency is no longer than that. Control characters in
 * why become '?'. *ret points into *reply. */
void message_get_result(struct reply *reply, uint64_t sent_us, uint64_t now_us,
			struct attempt_result *ret);

#endif
