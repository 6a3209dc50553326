/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Health check kind udp: a datagram is answered in time, with what is expected. */
#include <string.h>
#include <sys/socket.h>

#include "bytes.h"
#include "datagram.h"

static size_t udp_ask(const struct health_probe_spec *spec, uint16_t id, int fd, uint8_t *question,
		      size_t size)
{
	struct bytes send;

	bytes_set(&send, spec->config->send, spec->config->send_hex);
	memcpy(question, send.data, send.length);
	return send.length;
}

static enum datagram_verdict udp_judge(const struct health_probe_spec *spec, uint16_t id, int fd,
				       const uint8_t *answer, size_t length, char why[FAILURE_TEXT])
{
	struct bytes expect;

	bytes_set(&expect, spec->config->expect, spec->config->expect_hex);
	if (bytes_within(&expect, answer, length))
		return DATAGRAM_PASSED;
	failure_content(why, "the answer", spec->config->expect, spec->config->expect_hex);
	return DATAGRAM_FAILED;
}

static const struct datagram_ops ops = {.ask = udp_ask, .judge = udp_judge};

static struct health_probe *udp_start(void *state, struct event_base *base,
				      const struct health_probe_spec *spec, health_done_fn *done,
				      void *arg)
{
	return datagram_start(&ops, base, spec, done, arg);
}

REGISTER(health_kind, udp) = {
    .name = "udp",
    .confined = true,
    .socket = SOCK_DGRAM,
    .start = udp_start,
    .serve = datagram_serve,
    .waits_for = datagram_waits_for,
    .cancel = datagram_cancel,
};
