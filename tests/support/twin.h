/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The fixture's program in a second build, without its straight path and with maps of its own: each
 * packet goes through both, and must leave the same verdict, bytes and maps.
 *
 * Rates of new flows are not compared, as they depend on the nanosecond; tests with a twin use
 * none. What differs must differ again: a packet may take the tick of the jiffy before for the
 * present one. Where the clock's tick changes between the two, both run once more. */
#ifndef LBD_TEST_TWIN_H
#define LBD_TEST_TWIN_H

#include <stdbool.h>

#include "bpf_fixture.h"

struct twin;

/* How often two runs in which the tick changed are repeated: a busy machine needs more than one. */
#define TWIN_TRIES 50

/* fixture_open, and its twin: fixture_send and fixture_send_with_metadata then compare. */
int twin_fixture_open(void **state);
int twin_fixture_close(void **state);

/* Makes the twin's maps those of the fixture, and remembers them. */
void twin_begin(struct fixture *f);
/* Makes both what they were at twin_begin. */
void twin_again(struct fixture *f);
/* Sends f->in through both without a comparison of the maps. False: verdict or bytes differ; both
 * are in what: at least 256 bytes. */
bool twin_send(struct fixture *f, char *what);
/* Whether all maps are the same. False: the first that differs is in what. */
bool twin_same_maps(struct fixture *f, char *what);

#endif
