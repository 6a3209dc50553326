/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The node as a whole: what it announces, and the order to drain it. */
#include "internal.h"

#include <errno.h>

#include "common/clock.h"

#define NOT_ANNOUNCED_MAX 100

static json_t *not_announced_json(const struct announce *announce)
{
	unsigned count;
	const struct announce_vip *vips = announce_vips(announce, &count);
	json_t *list = json_array();
	char text[ADDR_TEXT];

	for (unsigned i = 0; i < count && json_array_size(list) < NOT_ANNOUNCED_MAX; i++)
		if (!vips[i].announced)
			json_array_append_new(list, json_pack("{s:s, s:s}", "vip",
							      addr_format(&vips[i].address, text),
							      "why", vips[i].why));
	return list;
}

static json_t *drain_json(const struct announce_node *node, uint64_t now_ms)
{
	uint64_t quiet_since = node->packet_ms > node->drain_ms ? node->packet_ms : node->drain_ms;

	if (!node->drains)
		return json_null();
	return json_pack("{s:I, s:b, s:I}", "since_s",
			 (json_int_t)((now_ms - node->drain_ms) / 1000), "withdrawn",
			 node->withdrawn, "quiet_ms", (json_int_t)(now_ms - quiet_since));
}

json_t *api_node_json(const struct api *api)
{
	uint64_t now_ms = clock_monotonic_ms();
	struct announce_node node = {0};

	if (api->announce)
		announce_node(api->announce, &node);
	if (!node.on)
		return json_null();
	return json_pack("{s:s, s:s, s:I, s:I, s:I, s:i, s:i, s:o, s:s, s:o}", "state",
			 announce_state_name(node.state), "why", node.why, "since_s",
			 (json_int_t)((now_ms - node.since_ms) / 1000), "table",
			 (json_int_t)node.table, "metric", (json_int_t)node.metric, "vips",
			 node.vips, "announced", node.announced, "not_announced",
			 not_announced_json(api->announce), "fault", node.fault, "drain",
			 drain_json(&node, now_ms));
}

int api_node_drain(struct api_call *call, json_t **ret, struct error *err)
{
	static const char *const fields[] = {"on", "withdraw", NULL};
	bool on, withdraw;
	int rc;

	if ((rc = api_arg_only(call->body, fields, err)) ||
	    (rc = api_arg_bool(call->body, "on", true, &on, err)) ||
	    (rc = api_arg_bool(call->body, "withdraw", false, &withdraw, err)))
		return rc;
	if (withdraw && !on)
		return error_set(err, -EINVAL,
				 "withdraw: expected false, or \"on\": true: a node that does not "
				 "drain announces its VIPs");
	rc = state_node_drain(call->api->state, on, withdraw, err);
	if (rc)
		return rc;
	*ret = json_pack("{s:o}", "node", api_node_json(call->api));
	return 0;
}
