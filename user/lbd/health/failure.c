/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Texts for failed probes. */
#include "failure.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/duration.h"

void failure_connect(char text[FAILURE_TEXT], int error)
{
	static const struct {
		int error;
		const char *words;
	} known[] = {
	    {ECONNREFUSED, "refused"},
	    {ETIMEDOUT, "timed out"},
	    {EHOSTUNREACH, "host unreachable"},
	    {ENETUNREACH, "network unreachable"},
	    {ECONNRESET, "reset"},
	    {ENOPROTOOPT, "protocol unreachable"},
	    {EACCES, "refused by a route or firewall of this host"},
	    {EPERM, "refused by a route or firewall of this host"},
	    {EINVAL, "refused by a route of this host"}, /* result of a blackhole route */
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].error == error) {
			snprintf(text, FAILURE_TEXT, "connect: %s", known[i].words);
			return;
		}
	snprintf(text, FAILURE_TEXT, "connect: %s", strerror(error));
}

void failure_send(char text[FAILURE_TEXT], int error)
{
	char connect[FAILURE_TEXT];

	if (error == ECONNREFUSED) { /* of a connected datagram socket */
		snprintf(text, FAILURE_TEXT, "refused: ICMP port unreachable");
		return;
	}
	failure_connect(connect, error);
	snprintf(text, FAILURE_TEXT, "exchange: %.200s", connect + strlen("connect: "));
}

void failure_content(char text[FAILURE_TEXT], const char *what, const char *expect,
		     const char *expect_hex)
{
	if (expect)
		snprintf(text, FAILURE_TEXT, "%s does not contain \"%.200s\"", what, expect);
	else
		snprintf(text, FAILURE_TEXT, "%s does not contain the bytes %.200s", what,
			 expect_hex ? expect_hex : "");
}

void failure_timeout(char text[FAILURE_TEXT], const char *what, uint32_t timeout_ms)
{
	char after[DURATION_TEXT];

	snprintf(text, FAILURE_TEXT, "%s after %s", what, duration_exact(timeout_ms, after));
}

bool failure_is_local(int error)
{
	switch (error) {
	case EMFILE:
	case ENFILE:
	case ENOMEM:
	case ENOBUFS:
	/* every local port to this backend is in use, or there is no source address yet */
	case EADDRNOTAVAIL:
	case EAFNOSUPPORT: /* IPv6 is switched off here */
		return true;
	default:
		return false;
	}
}
