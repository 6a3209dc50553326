/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Backends that come by themselves: follows the sources that services name (`backends-from`), and
 * hands what they name to state. A source that fails, or names fewer than `min`, changes nothing.
 */
#ifndef LBD_SOURCES_H
#define LBD_SOURCES_H

#include <event2/event.h>

#include "common/error.h"
#include "lbd/host/host.h"
#include "lbd/state/state.h"

struct source_table;

struct source_table_options {
	struct event_base *base;
	struct state *state;
	struct tasks *tasks; /* NULL: what takes long runs at once */
};

/* Nothing is followed before source_table_begin. */
int source_table_new(const struct source_table_options *options, struct source_table **ret,
		     struct error *err);
/* Once state has made its first commit: follows what the config names, and each change of it. */
void source_table_begin(struct source_table *sources);
/* Without tasks left; NULL is fine. */
void source_table_free(struct source_table *sources);

/* Is this the source process? main asks before all else. */
bool source_table_is_worker(int argc, char *const *argv);
/* Has main asked? A program that does not would run as itself once more. */
bool source_table_can_spawn(void);
/* Does not return unless it cannot start. */
int source_table_run_worker(void);

#endif
