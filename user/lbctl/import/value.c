/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Text to values. */
#include "value.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <string.h>

#include "lbctl/core/format.h"

#define YEAR_MS (366ULL * 86400 * 1000)

bool value_number(const char *text, uint64_t max, uint64_t *ret)
{
	return !parse_whole(text, 0, max, ret);
}

bool value_port(const char *text, bool udp, unsigned *ret)
{
	const struct servent *known;
	uint64_t number;

	if (value_number(text, 65535, &number)) {
		*ret = (unsigned)number;
		return true;
	}
	known = *text >= '0' && *text <= '9' ? NULL : getservbyname(text, udp ? "udp" : "tcp");
	if (!known)
		return false;
	*ret = ntohs((uint16_t)known->s_port);
	return true;
}

void value_split(struct import *im, const char *text, bool loose, const char **ret_host,
		 const char **ret_port)
{
	const char *close = *text == '[' ? strchr(text, ']') : NULL, *colon = strrchr(text, ':');

	*ret_port = "";
	if (close) {
		*ret_host = import_copy(im, text + 1, (size_t)(close - text - 1));
		*ret_port = close[1] == ':' ? import_copy(im, close + 2, strlen(close + 2)) : "";
	} else if (colon && (loose || strchr(text, ':') == colon)) {
		*ret_host = import_copy(im, text, (size_t)(colon - text));
		*ret_port = import_copy(im, colon + 1, strlen(colon + 1));
	} else {
		*ret_host = import_copy(im, text, strlen(text));
	}
}

bool value_seconds(const char *text, uint64_t *ret_ms)
{
	size_t whole = strspn(text, "0123456789");
	const char *fraction = text[whole] == '.' ? text + whole + 1 : "";
	uint64_t ms = 0, seconds;
	char head[16];

	if (!whole || whole >= sizeof(head) || (text[whole] && text[whole] != '.') ||
	    fraction[strspn(fraction, "0123456789")])
		return false;
	memcpy(head, text, whole);
	head[whole] = 0;
	if (!value_number(head, YEAR_MS / 1000, &seconds))
		return false;
	for (unsigned i = 0, unit = 100; i < 3 && *fraction; i++, unit /= 10)
		ms += (uint64_t)(*fraction++ - '0') * unit;
	*ret_ms = seconds * 1000 + ms;
	return true;
}

bool value_time(const char *text, uint64_t *ret_ms)
{
	static const struct {
		const char *name;
		uint64_t us;
	} units[] = {{"", 1000},      {"us", 1},         {"ms", 1000},      {"s", 1000000},
		     {"m", 60000000}, {"h", 3600000000}, {"d", 86400000000}};
	size_t digits = strspn(text, "0123456789");
	char head[24];
	uint64_t value;

	if (!digits || digits >= sizeof(head))
		return false;
	memcpy(head, text, digits);
	head[digits] = 0;
	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
		if (strcmp(text + digits, units[i].name))
			continue;
		if (!value_number(head, YEAR_MS * 1000 / units[i].us, &value))
			return false;
		*ret_ms = value * units[i].us / 1000;
		return true;
	}
	return false;
}

bool value_status(struct import *im, const char *text, const char **list)
{
	const char *dash = strchr(text, '-');
	uint64_t from, to;

	if (!value_number(dash ? import_copy(im, text, (size_t)(dash - text)) : text, 599, &from) ||
	    !value_number(dash ? dash + 1 : text, 599, &to) || from < 100 || from > to)
		return false;
	if (*list && strlen(*list) > IMPORT_MAX_STATUS)
		return true;
	*list = import_print(im, dash ? "%s%s%u-%u" : "%s%s%u", *list ? *list : "",
			     *list ? "," : "", (unsigned)from, (unsigned)to);
	return true;
}

bool value_mask(const char *text, uint8_t family, unsigned *ret)
{
	struct addr mask;
	uint64_t length;
	uint32_t bits;

	if (*text == '/')
		text++;
	if (value_number(text, family == 4 ? 32 : 128, &length)) {
		*ret = (unsigned)length;
		return length > 0;
	}
	if (family != 4 || addr_parse(text, &mask) || mask.family != 4)
		return false;
	memcpy(&bits, mask.bytes, 4);
	bits = ntohl(bits);
	if (!bits || (~bits & (~bits + 1)))
		return false;
	*ret = (unsigned)__builtin_popcount(bits);
	return true;
}
