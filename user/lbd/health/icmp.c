/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Health check kind icmp: an echo request is answered in time. */
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <string.h>
#include <sys/socket.h>

#include "datagram.h"

#define PAYLOAD 16 /* bytes, the random id again and again; of a long one, the first of it */

struct echo { /* the same in both families */
	uint8_t type, code;
	uint16_t checksum, id, sequence;
	uint16_t payload[PAYLOAD / 2];
};

static uint16_t checksum(const uint8_t *bytes, size_t length)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < length; i++)
		sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t) ~(sum + (sum >> 16)));
}

/* Without the IP header. */
static size_t message_length(const struct health_probe_spec *spec)
{
	size_t header = spec->address.family == 4 ? sizeof(struct iphdr) : sizeof(struct ip6_hdr);

	return spec->length > header + sizeof(struct echo) ? spec->length - header
							   : sizeof(struct echo);
}

/* In IPv6 the kernel sums up. On a socket that is not raw the kernel also chooses the id, so
 * answers are known by their payload. */
static size_t icmp_ask(const struct health_probe_spec *spec, uint16_t id, int fd, uint8_t *question,
		       size_t size)
{
	struct echo echo = {.type = spec->address.family == 4 ? ICMP_ECHO : ICMP6_ECHO_REQUEST,
			    .id = id,
			    .sequence = htons(1)};
	size_t length = message_length(spec);

	if (length > size)
		return 0;
	for (unsigned i = 0; i < PAYLOAD / 2; i++)
		echo.payload[i] = id;
	memset(question, 0, length);
	memcpy(question, &echo, sizeof(echo));
	if (spec->address.family == 4) {
		echo.checksum = checksum(question, length);
		memcpy(question, &echo, sizeof(echo));
	}
	return length;
}

static bool is_raw(int fd)
{
	int type = 0;
	socklen_t length = sizeof(type);

	return !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) && type == SOCK_RAW;
}

/* A raw socket of IPv4 has the IP header too, and gets every ICMP message of the backend. */
static size_t header_length(const struct health_probe_spec *spec, int fd, const uint8_t *answer,
			    size_t length)
{
	if (spec->address.family != 4 || !length || !is_raw(fd))
		return 0;
	return (answer[0] & 15U) * 4;
}

static enum datagram_verdict icmp_judge(const struct health_probe_spec *spec, uint16_t id, int fd,
					const uint8_t *answer, size_t length,
					char why[FAILURE_TEXT])
{
	uint8_t expected = spec->address.family == 4 ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY;
	size_t header = header_length(spec, fd, answer, length);
	struct echo echo;

	if (length < header + sizeof(echo))
		return DATAGRAM_FOREIGN;
	memcpy(&echo, answer + header, sizeof(echo));
	if (echo.type != expected)
		return DATAGRAM_FOREIGN;
	for (unsigned i = 0; i < PAYLOAD / 2; i++)
		if (echo.payload[i] != id)
			return DATAGRAM_FOREIGN;
	return DATAGRAM_PASSED;
}

static const struct datagram_ops ops = {.ask = icmp_ask, .judge = icmp_judge};

static struct health_probe *icmp_start(void *state, struct event_base *base,
				       const struct health_probe_spec *spec, health_done_fn *done,
				       void *arg)
{
	return datagram_start(&ops, base, spec, done, arg);
}

REGISTER(health_kind, icmp) = {
    .name = "icmp",
    .confined = true,
    .socket = SOCK_DGRAM,
    .protocol4 = IPPROTO_ICMP,
    .protocol6 = IPPROTO_ICMPV6,
    .portless = true,
    .start = icmp_start,
    .serve = datagram_serve,
    .waits_for = datagram_waits_for,
    .cancel = datagram_cancel,
};
