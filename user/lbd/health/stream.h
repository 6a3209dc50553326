/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Probes that connect by TCP, send what the config says, if anything, and read an answer:
 * tcp-answer, agent. */
#ifndef LBD_HEALTH_STREAM_H
#define LBD_HEALTH_STREAM_H

#include "failure.h"
#include "health.h"

#define STREAM_MAX 4096 /* bytes of an answer; what is beyond is not looked at */

enum stream_verdict {
	STREAM_PASSED,
	STREAM_FAILED, /* why says why */
	STREAM_HALF,   /* more is needed; not if there is no more */
};

/* What a kind makes of an answer. */
struct stream_ops {
	/* So far it has length bytes, at least one. last: no more comes. why: also of one that
	 * passed, if the kind has something to say; "" otherwise. */
	enum stream_verdict (*judge)(const struct health_spec *config, const uint8_t *answer,
				     size_t length, bool last, char why[FAILURE_TEXT]);
	const char *half; /* the reason of a timeout in the middle of an answer */
};

/* For health_kind: start calls stream_start, the others are these. */
struct health_probe *stream_start(const struct stream_ops *ops, struct event_base *base,
				  const struct health_probe_spec *spec, health_done_fn *done,
				  void *arg);
bool stream_serve(struct health_probe *probe);
const char *stream_waits_for(const struct health_probe *probe);
void stream_cancel(struct health_probe *probe);

#endif
