/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* keepalived.conf: virtual servers become services. Its VRRP is no part of a config of lbd. */
#include "import.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "blocks.h"
#include "checker.h"
#include "lvs.h"
#include "value.h"

#define MAX_RANGE 256 /* addresses of a range in a group */

/* ---- virtual servers ---- */

/* What holds for all real servers of a virtual server. */
struct virtual_server {
	struct import *im;
	struct import_place at;
	struct import_service service; /* the pattern of those that are added */
	struct lvs_way way;
	struct checker_times times;
	struct checker_choice choice;
	const char *scheduler, *mask;
	unsigned flags;
	uint64_t persistence_ms;
	bool persistent, sctp, has_protocol;
};

/* Words of a statement that takes a number: 0 with a note if it is none. */
static uint64_t read_number(struct import *im, const struct statement *statement, uint64_t most)
{
	uint64_t value = 0;

	if (!value_number(statement_word(statement, 1), most, &value))
		import_left(im, statement->words.at, "%s %s: expected 0 to %llu",
			    statement_word(statement, 0), statement_word(statement, 1),
			    (unsigned long long)most);
	return value;
}

/* NAT, DR, or TUN [type ipip|gue|gre] [port N] [nocsum|csum|remcsum]. */
static void read_way(struct import *im, const struct statement *statement, struct lvs_way *way)
{
	const char *method = statement_word(statement, 1);
	uint64_t port = 0;

	*way = (struct lvs_way){.method = LVS_NAT};
	if (!strcasecmp(method, "DR"))
		way->method = LVS_DIRECT;
	else if (!strcasecmp(method, "TUN"))
		way->method = LVS_TUNNEL;
	else if (strcasecmp(method, "NAT"))
		import_left(im, statement->words.at, "%s %s: expected NAT, DR or TUN",
			    statement_word(statement, 0), method);
	for (unsigned i = 2; i < statement->words.count; i++) {
		const char *word = statement_word(statement, i);

		if (!strcmp(word, "type"))
			way->type = statement_word(statement, ++i);
		else if (!strcmp(word, "port") &&
			 value_number(statement_word(statement, ++i), 65535, &port))
			way->port = (unsigned)port;
		else if (!strcmp(word, "csum") || !strcmp(word, "remcsum"))
			way->checksum = true;
	}
}

static void read_persistence(struct virtual_server *vs, const struct statement *statement)
{
	const uint64_t usual_s = 360;

	vs->persistence_ms = usual_s * 1000;
	if (statement->words.count > 1)
		vs->persistence_ms = read_number(vs->im, statement, 31 * 86400) * 1000;
	vs->persistent = vs->persistence_ms > 0;
}

static void read_protocol(struct virtual_server *vs, const struct statement *statement)
{
	const char *protocol = statement_word(statement, 1);

	vs->has_protocol = true;
	vs->service.udp = !strcasecmp(protocol, "UDP");
	vs->sctp = !strcasecmp(protocol, "SCTP");
	if (!vs->service.udp && !vs->sctp && strcasecmp(protocol, "TCP"))
		import_left(vs->im, statement->words.at, "protocol %s: expected TCP, UDP or SCTP",
			    protocol);
}

static void read_quorum(struct virtual_server *vs, const struct statement *statement)
{
	if (read_number(vs->im, statement, UINT32_MAX) > 1)
		import_left(vs->im, statement->words.at,
			    "quorum %s: lbd uses a backup only when no other backend is usable; "
			    "when a VIP is announced: announce: min-up",
			    statement_word(statement, 1));
}

/* Statements of a virtual server or a real server that lbd has nothing for. */
static const struct {
	const char *keyword;
	const char *why; /* NULL: nothing is lost */
} nothing_for[] = {
    {"ops", "lbd sends all packets of a flow to one backend"},
    {"persistence_engine", "lbd knows clients by their addresses alone"},
    {"inhibit_on_failure", "connections of a backend that fails go to others"},
    {"quorum_up", "one command is run for all events: notify, docs/api.md"},
    {"quorum_down", "one command is run for all events: notify, docs/api.md"},
    {"notify_up", "one command is run for all events: notify, docs/api.md"},
    {"notify_down", "one command is run for all events: notify, docs/api.md"},
    {"smtp_alert", "lbd sends no mail: docs/metrics.md has alerts"},
    {"ha_suspend", NULL},
    {"alpha", NULL},
    {"omega", NULL},
    {"hysteresis", NULL},
    {"ip_family", NULL},
    {"snmp_name", NULL},
    {"sorry_server_inhibit", NULL},
    {"nat_mask", NULL},
};

static void note_unread(struct import *im, const struct statement *statement)
{
	const char *keyword = statement_word(statement, 0);

	for (size_t i = 0; i < sizeof(nothing_for) / sizeof(*nothing_for); i++) {
		if (strcmp(nothing_for[i].keyword, keyword))
			continue;
		if (nothing_for[i].why)
			import_left(im, statement->words.at, "%s: %s", keyword, nothing_for[i].why);
		return;
	}
	import_left(im, statement->words.at, "%s: not known", keyword);
}

/* What holds for the service; false: another kind of statement. */
static bool read_setting(struct virtual_server *vs, const struct statement *one)
{
	if (statement_is(one, "lb_algo") || statement_is(one, "lvs_sched"))
		vs->scheduler = statement_word(one, 1);
	else if (statement_is(one, "lb_kind") || statement_is(one, "lvs_method"))
		read_way(vs->im, one, &vs->way);
	else if (statement_is(one, "protocol"))
		read_protocol(vs, one);
	else if (statement_is(one, "persistence_timeout"))
		read_persistence(vs, one);
	else if (statement_is(one, "persistence_granularity"))
		vs->mask = statement_word(one, 1);
	else if (statement_is(one, "quorum"))
		read_quorum(vs, one);
	else
		return lvs_flag(statement_word(one, 0), &vs->flags);
	return true;
}

/* ---- real servers ---- */

static bool read_address(struct import *im, const struct statement *statement, bool udp,
			 struct import_backend *backend)
{
	const char *address = statement_word(statement, 1), *port = statement_word(statement, 2);

	if (addr_parse(address, &backend->address)) {
		import_left(im, statement->words.at, "%s %s: expected an address",
			    statement_word(statement, 0), address);
		return false;
	}
	if (*port && !value_port(port, udp, &backend->port)) {
		import_left(im, statement->words.at, "%s %s %s: expected a port",
			    statement_word(statement, 0), address, port);
		return false;
	}
	return true;
}

struct real_server {
	struct import_backend backend;
	struct lvs_way way;
	struct checker_times times;
	uint64_t upper, lower;
};

static void read_of_real_server(struct virtual_server *vs, const struct statement *one,
				struct real_server *real)
{
	struct import *im = vs->im;

	if (statement_is(one, "weight"))
		real->backend.weight = read_number(im, one, INT32_MAX);
	else if (statement_is(one, "lvs_method") || statement_is(one, "lb_kind"))
		read_way(im, one, &real->way);
	else if (statement_is(one, "uthreshold"))
		real->upper = read_number(im, one, UINT32_MAX);
	else if (statement_is(one, "lthreshold"))
		real->lower = read_number(im, one, UINT32_MAX);
	else if (!checker_read_time(im, one, &real->times) && !checker_find(one))
		note_unread(im, one);
}

static void read_real_server(struct virtual_server *vs, const struct statement *statement)
{
	struct real_server real = {.backend = {.at = statement->words.at, .weight = 1},
				   .way = vs->way,
				   .times = vs->times};
	struct import_backend *backend, *next;

	if (!read_address(vs->im, statement, vs->service.udp, &real.backend))
		return;
	for (const struct statement *one = statement->block; one; one = one->next)
		read_of_real_server(vs, one, &real);
	lvs_thresholds(vs->im, statement->words.at, real.upper, real.lower);
	lvs_forward(vs->im, statement->words.at, &real.way, &real.backend);
	checker_choose(vs->im, statement, &real.times, vs->service.udp, &vs->choice);
	backend = import_add_backend(vs->im, &vs->service, statement->words.at);
	next = backend->next;
	*backend = real.backend;
	backend->next = next;
}

/* It is the last resort: what lbd calls a backup. It is checked as the others are. */
static void read_sorry_server(struct virtual_server *vs, const struct statement *block)
{
	const struct statement *server = NULL;
	struct lvs_way way = vs->way;
	struct import_backend sorry = {.weight = 1, .backup = true}, *backend;

	for (const struct statement *one = block; one; one = one->next) {
		if (statement_is(one, "sorry_server"))
			server = one;
		else if (statement_is(one, "sorry_server_lvs_method"))
			read_way(vs->im, one, &way);
	}
	if (!server || !read_address(vs->im, server, vs->service.udp, &sorry))
		return;
	sorry.at = server->words.at;
	lvs_forward(vs->im, sorry.at, &way, &sorry);
	backend = import_add_backend(vs->im, &vs->service, sorry.at);
	*backend = sorry;
}

static void read_virtual_block(struct virtual_server *vs, const struct statement *block)
{
	const struct statement *one;

	for (one = block; one; one = one->next)
		if (!read_setting(vs, one) && !checker_read_time(vs->im, one, &vs->times) &&
		    !statement_is(one, "real_server") && !statement_is(one, "sorry_server") &&
		    !statement_is(one, "sorry_server_lvs_method"))
			note_unread(vs->im, one);
	for (one = block; one; one = one->next)
		if (statement_is(one, "real_server"))
			read_real_server(vs, one);
	read_sorry_server(vs, block);
	lvs_schedule(vs->im, vs->at, vs->scheduler, vs->flags, &vs->service);
	checker_settle(vs->im, vs->at, &vs->choice, &vs->service.health);
}

/* ---- where they listen ---- */

static void add_service(struct virtual_server *vs, const struct addr *vip, unsigned port)
{
	struct import_service *service = &vs->service;

	service->at = vs->at;
	service->vip = *vip;
	service->port = port;
	service->affinity = false;
	service->mask4 = service->mask6 = 0;
	if (vs->persistent)
		lvs_persist(vs->im, vs->at, vs->persistence_ms, vs->mask, vip->family, service);
	import_add_like(vs->im, service);
}

/* The address after this one. */
static void step(struct addr *addr)
{
	for (size_t i = addr_length(addr); i-- > 0 && ++addr->bytes[i] == 0;)
		;
}

/* 192.0.2.8-15, 192.0.2.250-192.0.3.5 or 192.0.2.8/29: the first and the last address. */
static bool read_range(struct import *im, const char *text, struct addr *first, struct addr *last)
{
	const char *dash = strchr(text, '-');
	size_t length = dash ? (size_t)(dash - text) : 0;
	uint64_t end;
	unsigned bits;

	if (!dash && strchr(text, '/')) {
		if (addr_parse_prefix(text, first, &bits))
			return false;
		*last = *first;
		for (unsigned i = bits; i < addr_length(last) * 8; i++)
			last->bytes[i / 8] |= (uint8_t)(0x80 >> i % 8);
		return true;
	}
	if (!dash)
		return !addr_parse(text, first) && !addr_parse(text, last);
	if (addr_parse(import_copy(im, text, length), first))
		return false;
	if (!addr_parse(dash + 1, last))
		return last->family == first->family;
	*last = *first;
	if (first->family == 4 && value_number(dash + 1, 255, &end))
		last->bytes[3] = (uint8_t)end;
	else
		return false;
	return true;
}

/* One line of a group: ADDRESS or range, and a port. */
static void add_group_entry(struct virtual_server *vs, const struct statement *entry)
{
	const char *text = statement_word(entry, 0), *port_text = statement_word(entry, 1);
	struct import_place at = entry->words.at;
	struct addr first, last;
	unsigned port = 0;

	if (!strcmp(text, "fwmark")) {
		import_left(vs->im, at, "fwmark %s: lbd knows services by VIP, protocol and port",
			    port_text);
		return;
	}
	if (!read_range(vs->im, text, &first, &last) ||
	    (*port_text && !value_port(port_text, vs->service.udp, &port))) {
		import_left(vs->im, at, "%s %s: expected an address or a range, and a port", text,
			    port_text);
		return;
	}
	for (unsigned count = 0; addr_compare(&first, &last) <= 0; step(&first)) {
		if (++count > MAX_RANGE) {
			import_left(vs->im, at, "%s: the addresses after the first %u", text,
				    MAX_RANGE);
			return;
		}
		add_service(vs, &first, port);
		if (addr_equal(&first, &last))
			return;
	}
}

static void add_group(struct virtual_server *vs, const struct statement *all, const char *name)
{
	bool found = false;

	for (const struct statement *one = all; one; one = one->next) {
		if (!statement_is(one, "virtual_server_group") ||
		    strcmp(statement_word(one, 1), name))
			continue;
		found = true;
		for (const struct statement *entry = one->block; entry; entry = entry->next)
			add_group_entry(vs, entry);
	}
	if (!found)
		import_left(vs->im, vs->at, "virtual_server group %s: no such group", name);
}

/* virtual_server ADDRESS [PORT], fwmark NUMBER, or group NAME. */
static void add_services(struct virtual_server *vs, const struct statement *all,
			 const struct statement *statement)
{
	const char *kind = statement_word(statement, 1), *value = statement_word(statement, 2);
	unsigned port = 0;
	struct addr vip;

	if (!strcmp(kind, "group"))
		add_group(vs, all, value);
	else if (addr_parse(kind, &vip))
		import_left(vs->im, vs->at,
			    "virtual_server %s: expected an address, fwmark or group", kind);
	else if (*value && !value_port(value, vs->service.udp, &port))
		import_left(vs->im, vs->at, "virtual_server %s %s: expected a port", kind, value);
	else
		add_service(vs, &vip, port);
}

static void read_virtual_server(struct import *im, const struct statement *all,
				const struct statement *statement)
{
	struct virtual_server vs = {.im = im,
				    .at = statement->words.at,
				    .service = {.udp = true}, /* as keepalived's */
				    .way = {.method = LVS_NAT},
				    .scheduler = "",
				    .mask = ""};

	if (statement_is(statement, "virtual_server") &&
	    !strcmp(statement_word(statement, 1), "fwmark")) {
		import_left(
		    im, vs.at,
		    "virtual_server fwmark %s: lbd knows services by VIP, protocol and port: "
		    "write one for each of those that get this mark",
		    statement_word(statement, 2));
		return;
	}
	read_virtual_block(&vs, statement->block);
	if (!vs.has_protocol)
		import_note(im, vs.at, "no protocol: UDP, as keepalived takes it");
	if (vs.sctp)
		import_left(im, vs.at, "virtual_server %s: lbd forwards TCP and UDP, not SCTP",
			    statement_word(statement, 1));
	else
		add_services(&vs, all, statement);
}

/* ---- the rest of the file ---- */

/* lvs_timeouts tcp 7200 tcpfin 30 udp 300 */
static void read_timeouts(struct import *im, const struct statement *statement)
{
	uint64_t tcp = 0, udp = 0, other = 0;

	for (unsigned i = 1; i + 1 < statement->words.count; i += 2) {
		const char *name = statement_word(statement, i);
		uint64_t *to = !strcmp(name, "tcp") ? &tcp : !strcmp(name, "udp") ? &udp : &other;

		if (!value_number(statement_word(statement, i + 1), 31 * 86400, to))
			import_left(im, statement->words.at, "lvs_timeouts: %s: expected seconds",
				    statement_word(statement, i + 1));
	}
	lvs_timeouts(im, tcp, udp);
}

static void read_globals(struct import *im, const struct statement *block)
{
	for (const struct statement *one = block; one; one = one->next) {
		if (statement_is(one, "lvs_timeouts"))
			read_timeouts(im, one);
		else if (statement_is(one, "lvs_sync_daemon"))
			import_left(im, one->words.at,
				    "lvs_sync_daemon: balancers with the same config and hash-seed "
				    "need no synchronisation: docs/pair.md");
		else if (statement_is(one, "notification_email"))
			import_left(im, one->words.at,
				    "notification_email: lbd sends no mail: docs/metrics.md has "
				    "alerts");
	}
}

static void read_vrrp(struct import *im, const struct statement *statement, bool add_interface)
{
	import_left(im, statement->words.at,
		    "vrrp_instance %s: keepalived goes on to move the VIPs, and lbd tells it when: "
		    "docs/pair.md",
		    statement_word(statement, 1));
	im->pair = true;
	for (const struct statement *one = statement->block; one; one = one->next)
		if (add_interface && statement_is(one, "interface"))
			import_add_interface(im, statement_word(one, 1));
}

static void read_statement(struct import *im, const struct statement *all,
			   const struct statement *one, bool add_interface)
{
	const char *keyword = statement_word(one, 0);

	if (statement_is(one, "virtual_server"))
		read_virtual_server(im, all, one);
	else if (statement_is(one, "global_defs"))
		read_globals(im, one->block);
	else if (statement_is(one, "vrrp_instance"))
		read_vrrp(im, one, add_interface);
	else if (statement_is(one, "SSL"))
		import_left(im, one->words.at, "SSL: lbd's https checks have no certificates");
	else if (*keyword == '$')
		import_left(im, one->words.at, "%s: lbctl does not put values into variables",
			    keyword);
	else if (*keyword == '@')
		import_left(im, one->words.at, "%s: lbctl does not judge conditions", keyword);
	else if (!statement_is(one, "virtual_server_group"))
		import_left(im, one->words.at, "%s: no part of load balancing%s", keyword,
			    strncmp(keyword, "vrrp", 4) ? "" : ": docs/pair.md");
}

static void read_keepalived(struct import *im, const struct import_file *file)
{
	const struct statement *all = blocks_read(im, file);
	bool add_interface = !im->interfaces_count;

	for (const struct statement *one = all; one; one = one->next)
		read_statement(im, all, one, add_interface);
	lvs_timeouts(im, 0, 0);
}

REGISTER(dialect, keepalived) = {.name = "keepalived", .read = read_keepalived};
