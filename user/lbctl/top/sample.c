/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The samples of lbctl top, and the model made of the last two. */
#include "sample.h"

#include "common/clock.h"

bool samples_add(struct top_samples *samples, json_t *answer)
{
	struct top_model model;
	bool made = samples->last && !top_model_read(samples->last, answer, &model);

	if (made) {
		top_model_done(&samples->model);
		samples->model = model;
		samples->has_model = true;
		samples->taken_ms = clock_wall_ms();
	}
	json_decref(samples->last);
	samples->last = answer;
	return made;
}

void samples_break(struct top_samples *samples)
{
	json_decref(samples->last);
	samples->last = NULL;
}

void samples_done(struct top_samples *samples)
{
	samples_break(samples);
	top_model_done(&samples->model);
}
