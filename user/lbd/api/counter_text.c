/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Names and help of the counters of the data plane: reasons, then events. */
#include "counter_text.h"

const struct counter_text counter_texts[LB_COUNTERS] = {
#define X(name, outcome, help) {#name, help, LB_##outcome},
    LB_REASONS(X)
#undef X
#define X(name, help) {#name, help, LB_SENT},
	LB_EVENTS(X)
#undef X
};

const char *outcome_name(enum lb_outcome outcome)
{
	static const char *const names[] = {
	    [LB_SENT] = "sent", [LB_PASSED] = "passed", [LB_DROPPED] = "dropped"};

	return names[outcome];
}
