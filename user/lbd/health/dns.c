/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Health check kind dns: a query over UDP is answered with records. The messages are made and read
 * by the resolver library of libc. */
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <resolv.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "datagram.h"
#include "dns.h"

/* "A" to its number. */
int dns_record_type(const char *name)
{
	static const struct {
		const char *name;
		ns_type type;
	} types[] = {{"A", ns_t_a},     {"AAAA", ns_t_aaaa}, {"CNAME", ns_t_cname},
		     {"MX", ns_t_mx},   {"NS", ns_t_ns},     {"PTR", ns_t_ptr},
		     {"SOA", ns_t_soa}, {"SRV", ns_t_srv},   {"TXT", ns_t_txt}};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (!strcasecmp(types[i].name, name))
			return types[i].type;
	return -1;
}

static int wanted_type(const struct health_spec *config)
{
	return config->record ? dns_record_type(config->record) : ns_t_a;
}

static const char *wanted_name(const struct health_spec *config)
{
	return config->name ? config->name : ".";
}

/* The id is random: who answers must have seen the query. */
static size_t dns_ask(const struct health_probe_spec *spec, uint16_t id, int fd, uint8_t *question,
		      size_t size)
{
	const struct health_spec *config = spec->config;
	int length = res_mkquery(ns_o_query, wanted_name(config), ns_c_in, wanted_type(config),
				 NULL, 0, NULL, question, (int)size);

	if (length < NS_HFIXEDSZ)
		return 0;
	question[0] = (uint8_t)(id >> 8);
	question[1] = (uint8_t)id;
	return (size_t)length;
}

/* Names are printed without the dot at their end; the root is "." or empty. */
static size_t name_length(const char *name)
{
	size_t length = strlen(name);

	return length && name[length - 1] == '.' ? length - 1 : length;
}

static bool is_answer(const struct health_probe_spec *spec, uint16_t id, ns_msg *message)
{
	const char *name = wanted_name(spec->config);
	size_t length = name_length(name);
	ns_rr question;

	return ns_msg_id(*message) == id && ns_msg_getflag(*message, ns_f_qr) &&
	       ns_msg_count(*message, ns_s_qd) == 1 &&
	       !ns_parserr(message, ns_s_qd, 0, &question) &&
	       (int)ns_rr_type(question) == wanted_type(spec->config) &&
	       name_length(ns_rr_name(question)) == length &&
	       !strncasecmp(ns_rr_name(question), name, length);
}

#define ALIASES_MAX 16 /* one after the other; resolvers follow no more either */

/* What a record says, as it is usually written: an address, a name, or the first string of a text.
 */
static bool record_text(const ns_msg *message, const ns_rr *record, char *text, size_t size)
{
	const uint8_t *data = ns_rr_rdata(*record);
	size_t length = ns_rr_rdlen(*record), skip = 0;

	switch (ns_rr_type(*record)) {
	case ns_t_a:
		return length == 4 && inet_ntop(AF_INET, data, text, (socklen_t)size);
	case ns_t_aaaa:
		return length == 16 && inet_ntop(AF_INET6, data, text, (socklen_t)size);
	case ns_t_txt:
		if (!length || data[0] >= length || data[0] >= size)
			return false;
		memcpy(text, data + 1, data[0]);
		text[data[0]] = 0;
		return true;
	case ns_t_srv:
		skip = 6; /* priority, weight, port */
		break;
	case ns_t_mx:
		skip = 2; /* preference */
		break;
	default:
		break;
	}
	return length > skip && dn_expand(ns_msg_base(*message), ns_msg_end(*message), data + skip,
					  text, (int)size) >= 0;
}

/* ---- the records that answer ---- */

static bool is_of(const ns_rr *record, const char *name)
{
	size_t length = name_length(name);

	return ns_rr_class(*record) == ns_c_in && name_length(ns_rr_name(*record)) == length &&
	       !strncasecmp(ns_rr_name(*record), name, length);
}

/* Where the name leads by an alias (CNAME); false: by none. */
static bool follow_alias(ns_msg *message, int records, char name[NS_MAXDNAME])
{
	ns_rr record;

	for (int i = 0; i < records; i++)
		if (!ns_parserr(message, ns_s_an, i, &record) && ns_rr_type(record) == ns_t_cname &&
		    is_of(&record, name))
			return record_text(message, &record, name, NS_MAXDNAME);
	return false;
}

/* Has the name a record of the type, and one that says what is expected? NULL: whatever it says. */
static void look_for_records(ns_msg *message, const char *name, int type, const char *expect,
			     bool *ret_any, bool *ret_expected)
{
	char text[NS_MAXDNAME];
	ns_rr record;

	for (int i = 0; i < ns_msg_count(*message, ns_s_an); i++) {
		if (ns_parserr(message, ns_s_an, i, &record) || (int)ns_rr_type(record) != type ||
		    !is_of(&record, name))
			continue;
		*ret_any = true;
		*ret_expected |= !expect || (record_text(message, &record, text, sizeof(text)) &&
					     strstr(text, expect));
	}
}

/* Also of what the name is an alias of; it may be one of itself. Each step reads all records, of
 * which an answer may have hundreds. */
static void look_for_answer(const struct health_spec *config, ns_msg *message, bool *ret_any,
			    bool *ret_expected)
{
	int records = ns_msg_count(*message, ns_s_an);
	char name[NS_MAXDNAME];

	snprintf(name, sizeof(name), "%s", wanted_name(config));
	*ret_any = *ret_expected = false;
	for (int step = 0; step <= ALIASES_MAX; step++) {
		look_for_records(message, name, wanted_type(config), config->expect, ret_any,
				 ret_expected);
		if (*ret_any || !follow_alias(message, records, name))
			return;
	}
}

static const char *rcode_name(unsigned code, char text[24])
{
	static const char *const names[] = {
	    [ns_r_noerror] = "NOERROR",   [ns_r_formerr] = "FORMERR", [ns_r_servfail] = "SERVFAIL",
	    [ns_r_nxdomain] = "NXDOMAIN", [ns_r_notimpl] = "NOTIMP",  [ns_r_refused] = "REFUSED"};

	if (code < sizeof(names) / sizeof(names[0]))
		return names[code];
	snprintf(text, 24, "code %u", code);
	return text;
}

static enum datagram_verdict dns_judge(const struct health_probe_spec *spec, uint16_t id, int fd,
				       const uint8_t *answer, size_t length, char why[FAILURE_TEXT])
{
	const struct health_spec *config = spec->config;
	bool any, expected;
	char code[24];
	ns_msg message;

	if (ns_initparse(answer, (int)length, &message) || !is_answer(spec, id, &message))
		return DATAGRAM_FOREIGN;
	if (ns_msg_getflag(message, ns_f_rcode) != ns_r_noerror) {
		snprintf(why, FAILURE_TEXT, "DNS: %s",
			 rcode_name((unsigned)ns_msg_getflag(message, ns_f_rcode), code));
		return DATAGRAM_FAILED;
	}
	look_for_answer(config, &message, &any, &expected);
	if (expected)
		return DATAGRAM_PASSED;
	if (any)
		failure_content(why, "DNS: the answer", config->expect, NULL);
	else
		snprintf(why, FAILURE_TEXT, "DNS: no %s record in the answer",
			 config->record ? config->record : "A");
	return DATAGRAM_FAILED;
}

static const struct datagram_ops ops = {.ask = dns_ask, .judge = dns_judge};

static struct health_probe *dns_start(void *state, struct event_base *base,
				      const struct health_probe_spec *spec, health_done_fn *done,
				      void *arg)
{
	return datagram_start(&ops, base, spec, done, arg);
}

/* res_mkquery reads /etc/resolv.conf the first time, which the probe process could not later. */
static int dns_open(struct event_base *base, void **ret)
{
	*ret = NULL;
	res_init();
	return 0;
}

REGISTER(health_kind, dns) = {
    .name = "dns",
    .confined = true,
    .socket = SOCK_DGRAM,
    .open = dns_open,
    .start = dns_start,
    .serve = datagram_serve,
    .waits_for = datagram_waits_for,
    .cancel = datagram_cancel,
};
