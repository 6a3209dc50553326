/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The filter of lists: which texts, and which backends, it admits. For lbd, which leaves out the
 * others, and for lbctl. */
#ifndef LBD_MATCH_H
#define LBD_MATCH_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define MATCH_LABELS 512

/* Does each word of the filter occur in one of the texts? Upper and lower case are the same. An
 * empty filter matches. */
bool match_words(const char *filter, const char *const *texts, size_t count);
/* The zone and the labels of a backend of GET /v1/backends as "zone=a rack=7", or "". */
const char *match_labels(const json_t *backend, char text[MATCH_LABELS]);
/* Such a backend, by its service, address, name, zone, labels, condition and reason. */
bool match_backend(const char *filter, const json_t *backend);

#endif
