/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Names and help of the counters of the data plane: reasons, then events. */
#ifndef LBD_COUNTER_TEXT_H
#define LBD_COUNTER_TEXT_H

#include "lb_reasons.h"

struct counter_text {
	const char *name, *help;
	enum lb_outcome outcome; /* of reasons */
};

extern const struct counter_text counter_texts[LB_COUNTERS];
const char *outcome_name(enum lb_outcome outcome); /* "sent" */

#endif
