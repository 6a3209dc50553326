/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Requests and answers of etcd's JSON gateway: ranges of keys, and revisions. */
#include "gateway.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

char *gateway_request(const char *first, const char *end, unsigned most, const char *revision)
{
	char limit[32] = "", *body;
	int length;

	if (!first || !end)
		return NULL;
	if (most)
		snprintf(limit, sizeof(limit), ",\"limit\":\"%u\"", most);
	if (revision)
		length = asprintf(&body,
				  "{\"create_request\":{\"key\":\"%s\",\"range_end\":\"%s\","
				  "\"start_revision\":\"%s\"}}",
				  first, end, revision);
	else
		length =
		    asprintf(&body, "{\"key\":\"%s\",\"range_end\":\"%s\"%s}", first, end, limit);
	return length < 0 ? NULL : body;
}

uint64_t gateway_number(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? strtoull(text, NULL, 10) : 0;
}

int gateway_next_revision(const json_t *root, char ret[24])
{
	uint64_t revision = gateway_number(json_object_get(root, "header"), "revision");

	if (!revision || revision >= INT64_MAX)
		return -EBADMSG;
	snprintf(ret, 24, "%" PRIu64, revision + 1);
	return 0;
}
