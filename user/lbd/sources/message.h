/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The messages between lbd and its source process: one packet each on a socket of type
 * SOCK_SEQPACKET. The two are the same program, so the layout needs no version. What comes from the
 * source process is believed only after source_message_check. No I/O. */
#ifndef LBD_SOURCES_MESSAGE_H
#define LBD_SOURCES_MESSAGE_H

#include "kind.h"

#define SOURCE_TEXTS 65536 /* bytes of all texts: PEM files and a token among them */

enum source_request_type {
	SOURCE_START = 1, /* follow a source */
	SOURCE_STOP,      /* the source with this id; reports may be on their way */
	SOURCE_ORDER,     /* a part of what the source with this id is to write */
};

struct source_request {
	uint32_t type;
	uint32_t id; /* no source has that of another, or of an earlier one */
	uint32_t record, family;
	uint32_t length; /* of texts: the packet ends after them */
	uint32_t number; /* of an order */
	uint32_t last;   /* part of it, 0 or 1 */
	char kind[16];
	/* Of START: those of config_from, each with its end; "": not given. Of ORDER: bytes. */
	char texts[SOURCE_TEXTS];
};

enum source_reply_type {
	SOURCE_READY = 1, /* its rights are given up, it reads requests from now on */
	SOURCE_UNFIT,     /* it could not give them up, or start: why says what failed. It ends. */
	SOURCE_LIST,      /* a part of what the source id names */
	SOURCE_DOCUMENT,  /* the same, of one of its documents */
	SOURCE_FAILED,    /* the source id has failed: why */
	SOURCE_DONE,      /* how the order of source id with this number has ended */
	SOURCE_BEAT,      /* it is alive */
};

#define SOURCE_PART 32 /* items in a packet */

struct source_reply {
	uint32_t type;
	uint32_t id;
	uint32_t count;       /* of items, or bytes of a document */
	uint32_t first, last; /* parts of what is named, 0 or 1; one after the other */
	uint32_t ignored;     /* with the last part */
	uint32_t which;       /* enum source_document_kind; of DONE: the number */
	uint32_t outcome;     /* of DONE: enum source_outcome */
	uint64_t revision;    /* of the document */
	char why[SOURCE_WHY];
	union { /* the packet ends after count of them */
		struct source_item items[SOURCE_PART];
		char bytes[SOURCE_PART * sizeof(struct source_item)];
	};
};

size_t source_message_length(const struct source_reply *reply);
/* length: of the packet, which may be longer than *reply. NULL: it is well formed. Else what is
 * wrong, a string constant. */
const char *source_message_check(const struct source_reply *reply, size_t length);
size_t source_message_request_length(const struct source_request *request);
/* 0, or -EINVAL if the texts are too long. */
int source_message_start(struct source_request *ret, uint32_t id, const char *kind,
			 const struct config_from *from);
/* length: of the packet. The texts of *ret point into request. False: it is malformed. */
bool source_message_from(const struct source_request *request, size_t length,
			 struct config_from *ret);

#endif
