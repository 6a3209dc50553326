/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One service of a config: text to values, defaults, and keys that exclude each other. */
#ifndef LBD_CONFIG_SERVICE_H
#define LBD_CONFIG_SERVICE_H

#include "config.h"
#include "schema.h"

/* `defaults`, and the main file, which they are in. */
struct config_defaults {
	struct config_place root;
	const struct raw_service *raw; /* NULL: none */
	bool translates;               /* config_service.translates of all services */
};

/* Checks `defaults`, which are there, also if no service inherits them. */
void config_read_defaults(const struct config_defaults *defaults);
/* Fills service, which must be zero, with number index of the list `services` of root. Mistakes are
 * complaints in the source. */
void config_read_service(const struct config_place *root, unsigned index,
			 const struct config_defaults *defaults, const struct raw_service *own,
			 struct config_service *service);
/* 1 to 63 letters, digits or any of . _ - : / [ ]? */
bool config_service_name_fits(const char *text);
void config_service_done(struct config_service *service);
/* Why a backend of the service cannot have an address of this family: the end of a sentence. NULL:
 * it can. */
const char *config_refuses_family(const struct config_service *service, uint8_t family);

#endif
