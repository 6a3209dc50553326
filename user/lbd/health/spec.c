/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The spec of a check: copied, compared, freed; and which kind it asks for. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "common/text.h"
#include "dns.h"
#include "health.h"

const uint16_t health_text_max[HEALTH_TEXT_COUNT] = {
#define X(name, max) [HEALTH_TEXT_##name] = (max),
    HEALTH_TEXTS(X)
#undef X
};

bool health_is_hex(const char *text)
{
	return bytes_is_hex(text);
}

bool health_is_record(const char *text)
{
	return dns_record_type(text) >= 0;
}

int health_spec_copy(const struct health_spec *from, struct health_spec *ret)
{
	struct health_spec copy = *from;
	bool failed = false;

	copy.type = copy_text(from->type, &failed);
	for (unsigned i = 0; i < HEALTH_TEXT_COUNT; i++)
		copy.texts[i] = copy_text(from->texts[i], &failed);
	if (failed) {
		health_spec_done(&copy);
		copy = (struct health_spec){0};
	}
	*ret = copy;
	return failed ? -ENOMEM : 0;
}

void health_spec_done(struct health_spec *spec)
{
	free(spec->type);
	spec->type = NULL;
	for (unsigned i = 0; i < HEALTH_TEXT_COUNT; i++) {
		free(spec->texts[i]);
		spec->texts[i] = NULL;
	}
}

bool health_spec_same(const struct health_spec *a, const struct health_spec *b)
{
	for (unsigned i = 0; i < HEALTH_TEXT_COUNT; i++)
		if (!same_text(a->texts[i], b->texts[i]))
			return false;
	return same_text(a->type, b->type) && a->port == b->port && a->to_vip == b->to_vip &&
	       a->status_min == b->status_min && a->status_max == b->status_max &&
	       a->interval_ms == b->interval_ms && a->timeout_ms == b->timeout_ms &&
	       a->rise == b->rise && a->fall == b->fall;
}

/* ---- kinds ---- */

const struct health_kind *health_kind_find(const char *name)
{
	registry_for_each (health_kind, kind)
		if (!strcmp(kind->name, name))
			return kind;
	return NULL;
}

/* A check over TCP that reads an answer runs confined, one that only connects does not. */
const struct health_kind *health_kind_of(const struct health_spec *spec)
{
	bool talks = spec->send || spec->send_hex || spec->expect || spec->expect_hex;

	if (talks && !strcmp(spec->type, "tcp"))
		return health_kind_find("tcp-answer");
	return health_kind_find(spec->type);
}
