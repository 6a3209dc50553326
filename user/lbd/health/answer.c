/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Health check kind tcp-answer, which is `type: tcp` with `send` or `expect`: the backend accepts a
 * connection, takes what is sent, and answers with what is expected. */
#include "bytes.h"
#include "stream.h"

static enum stream_verdict answer_judge(const struct health_spec *config, const uint8_t *answer,
					size_t length, bool last, char why[FAILURE_TEXT])
{
	struct bytes expect;

	*why = 0;
	bytes_set(&expect, config->expect, config->expect_hex);
	if (bytes_within(&expect, answer, length))
		return STREAM_PASSED;
	if (!last)
		return STREAM_HALF;
	failure_content(why, length < STREAM_MAX ? "the answer" : "the answer's first 4 KiB",
			config->expect, config->expect_hex);
	return STREAM_FAILED;
}

static const struct stream_ops ops = {.judge = answer_judge,
				      .half = "answer without what is expected: timed out"};

static struct health_probe *answer_start(void *state, struct event_base *base,
					 const struct health_probe_spec *spec, health_done_fn *done,
					 void *arg)
{
	return stream_start(&ops, base, spec, done, arg);
}

REGISTER(health_kind, answer) = {
    .name = "tcp-answer",
    .type = "tcp",
    .confined = true,
    .start = answer_start,
    .serve = stream_serve,
    .waits_for = stream_waits_for,
    .cancel = stream_cancel,
};
