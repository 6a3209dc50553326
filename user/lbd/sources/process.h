/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbd's side of the source process: starts it when the first source needs it, hands sources to it,
 * and takes what it reports. */
#ifndef LBD_SOURCES_PROCESS_H
#define LBD_SOURCES_PROCESS_H

#include "kind.h"

/* The one argument of the source process, and its socket to lbd. */
#define SOURCE_ARGUMENT "--source-process"
#define SOURCE_FD       3

struct source_process;

int source_process_new(struct event_base *base, source_report_fn *report,
		       struct source_process **ret);
void source_process_free(struct source_process *process); /* NULL is fine */
/* Follows a source there. from outlives it. NULL: out of memory. */
void *source_process_start(struct source_process *process, const struct source_kind *kind,
			   const struct config_from *from, void *arg);
void source_process_stop(void *run);
/* Who is told how orders end: the arg of a run. Not from within source_process_order. */
void source_process_on_done(struct source_process *process, source_done_fn *done);
/* Hands an order to the source, which takes body over. Its number; 0: not now, as another one has
 * not ended, or the process is not there. */
uint32_t source_process_order(void *run, char *body);

#endif
