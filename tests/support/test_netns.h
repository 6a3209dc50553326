/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Tests that run commands in a network namespace of their own. */
#ifndef LBD_TEST_NETNS_H
#define LBD_TEST_NETNS_H

#include <stdbool.h>

/* To set up a group: enters a new namespace, whose lo is up, if that is permitted. */
int netns_enter(void **state);
/* Was it permitted? */
bool netns_entered(void);
/* Skips the test if it was not. */
void needs_root(void);
/* Runs a command in the namespace of this process. Fails the test if the command fails. */
void here(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
