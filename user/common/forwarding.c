/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Is traffic forwarded? If not, what is missing and what to do next. */
#include "common/plural.h"
#include "forwarding.h"

#include <inttypes.h>
#include <stdio.h>

/* What keeps every packet from being forwarded; false: nothing does. */
static bool is_stopped(const struct forwarding_facts *facts, char text[FORWARDING_TEXT])
{
	if (!facts->interfaces)
		snprintf(text, FORWARDING_TEXT,
			 "Not forwarding: no interface is attached. Next: lbctl attach IFACE");
	else if (facts->not_running && !facts->running)
		snprintf(text, FORWARDING_TEXT,
			 "Not forwarding: %s is down or has no carrier. "
			 "Next: ip link set %s up, or check its cable",
			 facts->not_running, facts->not_running);
	else if (!facts->services)
		snprintf(text, FORWARDING_TEXT,
			 "Not forwarding: the config has no services. Next: edit it, then lbctl "
			 "reload");
	else if (facts->services > facts->down + facts->blind || facts->blind)
		return false;
	else if (!facts->up)
		snprintf(text, FORWARDING_TEXT,
			 "Not forwarding: none of %" PRIu64 " backend%s is up. Why: lbctl backends",
			 facts->backends, plural_s(facts->backends));
	else
		snprintf(text, FORWARDING_TEXT,
			 "Not forwarding: no backend that is up takes new flows (weight 0, or "
			 "draining). Why: lbctl backends");
	return true;
}

enum forwarding forwarding_judge(const struct forwarding_facts *facts, char text[FORWARDING_TEXT])
{
	if (is_stopped(facts, text))
		return FORWARDING_NOT;
	if (facts->blind) {
		snprintf(text, FORWARDING_TEXT,
			 "Blind: no backend of %" PRIu64 " service%s answers. "
			 "Next: check this host's own links, then lbctl backends",
			 facts->blind, plural_s(facts->blind));
		return facts->services > facts->down + facts->blind ? FORWARDING_PART
								    : FORWARDING_NOT;
	}
	if (facts->not_running) {
		snprintf(text, FORWARDING_TEXT, "Forwarding, but %s is down or has no carrier",
			 facts->not_running);
		return FORWARDING_PART;
	}
	if (facts->down) {
		snprintf(text, FORWARDING_TEXT,
			 "Forwarding, but %" PRIu64 " of %" PRIu64
			 " service%s %s down. Why: lbctl backends",
			 facts->down, facts->services, plural_s(facts->services),
			 plural(facts->down, "is", "are"));
		return FORWARDING_PART;
	}
	snprintf(text, FORWARDING_TEXT,
		 "Forwarding: %" PRIu64 " service%s, %" PRIu64 " of %" PRIu64 " backend%s up",
		 facts->services, plural_s(facts->services), facts->up, facts->backends,
		 plural_s(facts->backends));
	return facts->up < facts->backends ? FORWARDING_PART : FORWARDING_ALL;
}
