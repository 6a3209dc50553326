/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The Prometheus text format 0.0.4, line by line. */
#ifndef LBD_METRICS_TEXT_H
#define LBD_METRICS_TEXT_H

#include "text.h"

/* The # HELP and # TYPE lines of a family. */
void metrics_family(struct text *text, const char *name, const char *type, const char *help);
/* One sample. labels: name, value, name, value, ..., NULL; NULL: none. Values are escaped. */
void metrics_sample(struct text *text, const char *name, const char *const *labels, double value);

/* The same in two parts, for samples that share their labels: {a="b",c="d"}, or nothing. */
void metrics_labels(struct text *text, const char *const *labels);
void metrics_line(struct text *text, const char *name, const char *labels, size_t labels_length,
		  double value);
/* The same with a further label "le", of a bucket of a histogram. labels: not nothing. */
void metrics_bucket(struct text *text, const char *name, const char *labels, size_t labels_length,
		    const char *bound, double value);

#endif
