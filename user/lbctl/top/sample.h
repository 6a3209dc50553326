/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The samples of lbctl top, and the model made of the last two. */
#ifndef LBCTL_TOP_SAMPLE_H
#define LBCTL_TOP_SAMPLE_H

#include "model.h"

#define TOP_PATH "/v1/top"

struct top_samples {
	json_t *last; /* NULL: the last request failed, or none was made */
	struct top_model model;
	bool has_model;
	uint64_t taken_ms; /* CLOCK_REALTIME of the later sample of the model */
};

/* The next answer of lbd; takes it over. True: the model is a new one. */
bool samples_add(struct top_samples *samples, json_t *answer);
/* A request failed: the next sample is the first of two again. */
void samples_break(struct top_samples *samples);
void samples_done(struct top_samples *samples);

#endif
