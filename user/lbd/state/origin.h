/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Where a backend comes from, which decides how long it stays. */
#ifndef LBD_ORIGIN_H
#define LBD_ORIGIN_H

/* The names are in JSON: LB_API "from". */
#define ORIGINS(X)                                                                    \
	X(config)  /* the config file */                                              \
	X(runtime) /* added by hand: until the next reload */                         \
	X(lease)   /* registered, until its lease ends: as good as the config file */ \
	X(source)  /* `backends-from`: likewise, as long as the source names it */

enum origin {
#define X(name) ORIGIN_##name,
	ORIGINS(X)
#undef X
	    ORIGIN_COUNT
};

const char *origin_name(enum origin origin);

#endif
