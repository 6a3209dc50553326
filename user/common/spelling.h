/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The distance between two words, for "did you mean". */
#ifndef LBD_SPELLING_H
#define LBD_SPELLING_H

#define SPELLING_MAX 40 /* also the distance from and to longer words */

/* The optimal string alignment distance: edits (insert, delete, replace, swap of neighbours)
 * between two words. Case does not matter, and '_' equals '-'. */
unsigned spelling_distance(const char *a, const char *b);

#endif
