/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Health check kind agent: a line from a port of the backend says which weight and state it wishes.
 * A probe that passed has a line that is understood; what that says is passed on as its reason. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "stream.h"

/* Up to the end of the line, or of what there is; its control characters, a carriage return among
 * them, become blanks. */
static void copy_line(char line[HEALTH_ADVICE_LINE + 1], const uint8_t *answer, size_t length)
{
	for (size_t i = 0; i < length; i++)
		line[i] = iscntrl(answer[i]) ? ' ' : (char)answer[i];
	line[length] = 0;
}

static enum stream_verdict agent_judge(const struct health_spec *config, const uint8_t *answer,
				       size_t length, bool last, char why[FAILURE_TEXT])
{
	const uint8_t *end = memchr(answer, '\n', length);
	char line[HEALTH_ADVICE_LINE + 1], wrong[HEALTH_ADVICE_WHY];
	struct health_advice advice;

	if (end)
		length = (size_t)(end - answer);
	if (length > HEALTH_ADVICE_LINE) {
		snprintf(why, FAILURE_TEXT, "its line is longer than %d bytes", HEALTH_ADVICE_LINE);
		return STREAM_FAILED;
	}
	if (!end && !last)
		return STREAM_HALF;
	copy_line(line, answer, length);
	if (health_advice_parse(line, &advice, wrong)) {
		snprintf(why, FAILURE_TEXT, "its line is not understood: %s", wrong);
		return STREAM_FAILED;
	}
	health_advice_format(&advice, line);
	snprintf(why, FAILURE_TEXT, "%s", line);
	return STREAM_PASSED;
}

static const struct stream_ops ops = {.judge = agent_judge,
				      .half = "line without an end: timed out"};

static struct health_probe *agent_start(void *state, struct event_base *base,
					const struct health_probe_spec *spec, health_done_fn *done,
					void *arg)
{
	return stream_start(&ops, base, spec, done, arg);
}

/* Not a type that `health` has: an agent is asked beside the check. */
REGISTER(health_kind, agent) = {
    .name = "agent",
    .type = "agent",
    .confined = true,
    .start = agent_start,
    .serve = stream_serve,
    .waits_for = stream_waits_for,
    .cancel = stream_cancel,
};
