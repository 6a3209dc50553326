/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reals: with `forward: nat`, the address, protocol and port at which a backend gets its packets. A
 * reply names nothing else, so two services cannot share one. */
#include <stdio.h>

#include "config.h"

uint16_t config_real_port(const struct config_service *service,
			  const struct config_backend *backend)
{
	if (service->forward != LB_FORWARD_NAT)
		return 0;
	if (backend && backend->port)
		return backend->port;
	return service->backend_port ? service->backend_port : service->port;
}

bool config_reals_meet(const struct config_service *a, uint16_t a_port,
		       const struct config_service *b, uint16_t b_port)
{
	/* replies to IPv4 clients go to other addresses than those to IPv6 clients */
	return a->forward == LB_FORWARD_NAT && b->forward == LB_FORWARD_NAT &&
	       a->protocol == b->protocol && a->vip.family == b->vip.family &&
	       (!a_port || !b_port || a_port == b_port);
}

const char *config_real_text(const struct addr *address, uint16_t port, uint8_t protocol,
			     char text[CONFIG_REAL_TEXT])
{
	bool six = address->family == 6;
	char host[ADDR_TEXT], number[8] = "any";

	if (port)
		snprintf(number, sizeof(number), "%u", port);
	snprintf(text, CONFIG_REAL_TEXT, "%s%s%s:%s/%s", six ? "[" : "", addr_format(address, host),
		 six ? "]" : "", number, protocol == CONFIG_TCP ? "tcp" : "udp");
	return text;
}

const struct config_service *config_find_real(const struct config *config,
					      const struct config_service *service,
					      const struct addr *address)
{
	uint16_t port;

	if (service->forward != LB_FORWARD_NAT)
		return NULL;
	port = config_real_port(service, config_find_backend(service, address));
	for (unsigned i = 0; i < config->services_count; i++) {
		const struct config_service *other = &config->services[i];
		const struct config_backend *backend =
		    other != service ? config_find_backend(other, address) : NULL;

		if (backend &&
		    config_reals_meet(service, port, other, config_real_port(other, backend)))
			return other;
	}
	return NULL;
}
