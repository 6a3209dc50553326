/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reals: with `forward: nat`, the address, protocol and port at which a backend gets its packets. A
 * reply names nothing else, so two services cannot share one. */
#include <stdio.h>

#include "config.h"

const char *config_why_no_port(const struct config_service *service)
{
	if (service->forward != LB_FORWARD_NAT)
		return "has no meaning without `forward: nat`: a backend gets packets at the VIP's "
		       "port";
	return service->port ? NULL
			     : "has no meaning with `port: any`: packets keep the port that the "
			       "client sent them to";
}

/* One that came at run time may have a port that the service of a later config cannot use. */
uint16_t config_real_port(const struct config_service *service, uint16_t own)
{
	if (config_why_no_port(service))
		return 0;
	if (own)
		return own;
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
					      const struct addr *address, uint16_t port)
{
	uint16_t real_port = config_real_port(service, port);

	if (service->forward != LB_FORWARD_NAT)
		return NULL;
	for (unsigned i = 0; i < config->services_count; i++) {
		const struct config_service *other = &config->services[i];
		const struct config_backend *backend =
		    other != service ? config_find_backend(other, address) : NULL;

		if (backend && config_reals_meet(service, real_port, other,
						 config_real_port(other, backend->port)))
			return other;
	}
	return NULL;
}
