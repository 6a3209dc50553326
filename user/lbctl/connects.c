/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl connects: how long connects of clients take, as the traffic itself shows. */
#include <stdio.h>
#include <string.h>

#include "lbctl/core/call.h"
#include "lbctl/core/format.h"
#include "lbctl/core/json.h"
#include "lbctl/core/show.h"
#include "lbctl/core/table.h"
#include "lbctl/core/verb.h"
#include "lbctl/list/list.h"
#include "lbctl/list/select.h"

static const struct list_column columns[] = {
    {{.title = "SERVICE"}, "name"},
    {{.title = "BACKEND"}, NULL},
    {{.title = "CONDITION"}, NULL},
    {{.title = "P50", .right = true, .spare = 4}, NULL},
    {{.title = "P95", .right = true}, NULL},
    {{.title = "P99", .right = true, .spare = 3}, NULL},
    {{.title = "CONNECTS", .right = true, .spare = 2}, NULL},
    {{.title = "RETRIED", .right = true}, NULL},
    {{.title = "UNANSWERED", .right = true}, NULL},
    {{.title = "REFUSED", .right = true}, NULL},
    {{.title = "TTFB P50", .right = true, .spare = 5}, NULL},
    {{.title = "TTFB P95", .right = true, .spare = 1}, NULL},
    {{.title = "TTFB P99", .right = true, .spare = 6}, NULL},
    {{0}, NULL},
};

static void add_share(struct table *table, const json_t *recent, const char *count)
{
	uint64_t sampled = json_number(recent, "sampled"), part = json_number(recent, count);
	char text[FORMAT_TEXT], share[FORMAT_TEXT + 1];

	snprintf(share, sizeof(share), "%s%s", format_percent(part, sampled, text),
		 sampled ? "%" : "");
	table_add(table, format_fail_tone(part, sampled), share);
}

static void add_backend(struct table *table, const json_t *backend, const struct list_style *style)
{
	const json_t *connects = json_object_get(backend, "connects"),
		     *recent = json_object_get(connects, "recent");
	const char *condition = json_text(backend, "condition");
	char text[FORMAT_TEXT], name[SHOW_BACKEND];

	table_add(table, TONE_PLAIN, json_text(backend, "service"));
	table_add(table, TONE_PLAIN, show_backend(backend, name));
	table_add(table, format_tone(condition), condition);
	list_add_quantiles(table, connects);
	table_add(table, TONE_PLAIN, list_count(style, json_number(recent, "sampled"), text));
	add_share(table, recent, "retried");
	add_share(table, recent, "unanswered");
	add_share(table, recent, "refused");
	list_add_quantiles(table, json_object_get(connects, "first_byte"));
}

static int print_connects(const json_t *backends, const struct list_style *style)
{
	return list_table(backends, columns, add_backend, style);
}

static int get_connects(struct call *call, json_t **ret, struct error *err)
{
	return list_get_backends(call, LIST_BACKEND_FIELDS ",connects", ret, err);
}

static int run_connects(struct call *call, struct error *err)
{
	return list_run_backends(call, get_connects, print_connects, err);
}

REGISTER(verb, connects) = {
    .name = "connects",
    .group = VERB_SHOW,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "show how long clients' connects take, and how many fail",
    .details =
	"Of a sample of the TCP connections (`telemetry`), over the last 5 to 10 seconds. P50, P95 and "
	"P99: from the SYN to the client's next packet, which is the client's round trip with the "
	"backend's answer in it, off by at most an eighth; with `forward: nat` to the backend's "
	"SYN-ACK, which is the backend's time alone. CONNECTS: in the sample. RETRIED: their "
	"SYN was sent again, as no answer came. UNANSWERED: without an answer within 3 s. A flood of "
	"SYNs with forged addresses is never answered: compare backends with each other. REFUSED: with a reset "
	"(`forward: nat`). TTFB, time to first byte: from the client's first data to the backend's first "
	"byte, without the client's round trip; not of services that track each flow.\n\n"
	"On a terminal too narrow for all columns some are left out; --json has all, and the "
	"counts since lbd's start.",
    .arguments = {LIST_BACKENDS_ARGUMENT},
    .options = {LIST_BACKENDS_OPTIONS},
    .examples = {{"connects web", "the backends of service web"},
		 {"connects --watch", "all, every two seconds"}},
    .run = run_connects,
};
