/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How far a word is from the one that was probably meant. */
#ifndef LBD_SPELLING_H
#define LBD_SPELLING_H

#define SPELLING_MAX 40 /* longer words are SPELLING_MAX apart */

/* Edits (insert, delete, replace, swap of neighbours) between two words, the optimal string
 * alignment distance. Case does not matter, and '_' is as good as '-'. */
unsigned spelling_distance(const char *a, const char *b);

#endif
