/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Probes that send one datagram and wait for one in answer: udp, dns, icmp. As any of the two may
 * be lost, the question is sent again, twice within the timeout. */
#ifndef LBD_HEALTH_DATAGRAM_H
#define LBD_HEALTH_DATAGRAM_H

#include "failure.h"
#include "health.h"

#define DATAGRAM_MAX 4096 /* of an answer; what is beyond is not looked at */

enum datagram_verdict {
	DATAGRAM_PASSED,
	DATAGRAM_FAILED,  /* why says why */
	DATAGRAM_FOREIGN, /* not an answer to this question: go on waiting */
};

/* What a kind makes of it. */
struct datagram_ops {
	/* The question: its length, at most size; 0: it cannot be made. id: random, the same for
	 * all questions of a probe. */
	size_t (*ask)(const struct health_probe_spec *spec, uint16_t id, int fd, uint8_t *question,
		      size_t size);
	enum datagram_verdict (*judge)(const struct health_probe_spec *spec, uint16_t id, int fd,
				       const uint8_t *answer, size_t length,
				       char why[FAILURE_TEXT]);
};

/* For health_kind: start calls datagram_start, the others are these. */
struct health_probe *datagram_start(const struct datagram_ops *ops, struct event_base *base,
				    const struct health_probe_spec *spec, health_done_fn *done,
				    void *arg);
bool datagram_serve(struct health_probe *probe);
const char *datagram_waits_for(const struct health_probe *probe);
void datagram_cancel(struct health_probe *probe);

#endif
