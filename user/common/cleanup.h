/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Attributes that free or close a local variable at the end of its scope. */
#ifndef LBD_CLEANUP_H
#define LBD_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free_at(void *at)
{
	free(*(void **)at);
}

static inline void cleanup_close_at(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_fclose_at(FILE **file)
{
	if (*file)
		fclose(*file);
}

#define _cleanup_free_   __attribute__((cleanup(cleanup_free_at)))
#define _cleanup_close_  __attribute__((cleanup(cleanup_close_at)))
#define _cleanup_fclose_ __attribute__((cleanup(cleanup_fclose_at)))

#endif
