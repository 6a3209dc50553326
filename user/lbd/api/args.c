/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads the fields of a request's body; errors name field, value and what was expected. */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/duration.h"

#define MAX_MS      (365LL * 24 * 3600 * 1000)
#define VALUE_SHOWN 64 /* bytes of a wrong value that are quoted */

static int wrong(const json_t *body, const char *name, const char *expected, struct error *err)
{
	const json_t *value = json_object_get(body, name);
	_cleanup_free_ char *text =
	    value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;

	if (!value)
		return error_set(err, -EINVAL, "%s: missing: expected %s", name, expected);
	if (!text)
		return error_set(err, -ENOMEM, "out of memory");
	return error_set(err, -EINVAL, "%s: expected %s, got %.*s%s", name, expected, VALUE_SHOWN,
			 text, strlen(text) > VALUE_SHOWN ? "..." : "");
}

int api_arg_only(const json_t *body, const char *const *names, struct error *err)
{
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)body, key, value) {
		const char *const *name = names;

		while (*name && strcmp(*name, key) != 0)
			name++;
		if (!*name)
			return error_set(err, -EINVAL, "%.*s: unknown field", VALUE_SHOWN, key);
	}
	return 0;
}

int api_arg_name(const json_t *body, const char *name, const char **ret, struct error *err)
{
	const json_t *value = json_object_get(body, name);
	char expected[64];

	snprintf(expected, sizeof(expected), "the name of the %s", name);
	if (!json_is_string(value) || !json_string_length(value))
		return wrong(body, name, expected, err);
	*ret = json_string_value(value);
	return 0;
}

int api_arg_text(const json_t *body, const char *name, const char **ret, struct error *err)
{
	const json_t *value = json_object_get(body, name);

	if (value && (!json_is_string(value) ||
		      strlen(json_string_value(value)) != json_string_length(value)))
		return wrong(body, name, "a text", err);
	*ret = json_string_value(value);
	return 0;
}

/* "labels: zone: expected ...". */
static int read_label(const char *key, const json_t *value, struct config_label *ret,
		      struct error *err)
{
	const char *text = json_string_value(value);

	if (!config_label_key_fits(key))
		return error_set(err, -EINVAL, "labels: %.*s: " CONFIG_LABEL_KEY_EXPECTED,
				 VALUE_SHOWN, key);
	if (!text || strlen(text) != json_string_length(value) || !config_label_value_fits(text))
		return error_set(err, -EINVAL, "labels: %s: %.*s: " CONFIG_LABEL_VALUE_EXPECTED,
				 key, VALUE_SHOWN, text ? text : "no text");
	*ret = (struct config_label){key, text};
	return 0;
}

static int read_tag(const json_t *body, struct config_tag **ret, struct error *err)
{
	struct config_label labels[CONFIG_LABELS_MAX];
	json_t *object = json_object_get(body, "labels"), *value;
	unsigned count = 0;
	const char *name, *zone, *key;
	int rc = api_arg_text(body, "name", &name, err);

	if (rc || (rc = api_arg_text(body, "zone", &zone, err)))
		return rc;
	if (zone && !config_zone_fits(zone))
		return error_set(err, -EINVAL, "zone: %.*s: " CONFIG_ZONE_EXPECTED, VALUE_SHOWN,
				 zone);
	if (name && !config_tag_name_fits(name))
		return error_set(err, -EINVAL, "name: %.*s: " CONFIG_TAG_NAME_EXPECTED, VALUE_SHOWN,
				 name);
	if ((object && !json_is_object(object)) || json_object_size(object) > CONFIG_LABELS_MAX)
		return error_set(err, -EINVAL, "labels: expected an object with at most %d texts",
				 CONFIG_LABELS_MAX);
	json_object_foreach (object, key, value)
		if ((rc = read_label(key, value, &labels[count++], err)))
			return rc;
	*ret = NULL;
	if (!name && !zone && !count)
		return 0;
	*ret = config_tag_new(name, zone, labels, count);
	return *ret ? 0 : error_set(err, -ENOMEM, "out of memory");
}

/* An optional field; without it *ret stays. */
static int read_number(const json_t *body, const char *name, json_int_t least, json_int_t most,
		       json_int_t *ret, struct error *err)
{
	const json_t *value = json_object_get(body, name);
	char expected[64];

	if (!value)
		return 0;
	snprintf(expected, sizeof(expected), "an integer %lld to %lld", (long long)least,
		 (long long)most);
	if (!json_is_integer(value) || json_integer_value(value) < least ||
	    json_integer_value(value) > most)
		return wrong(body, name, expected, err);
	*ret = json_integer_value(value);
	return 0;
}

/* "health: { port, agent-port, address }", as in the config. */
static int read_target(const json_t *body, struct config_target *ret, struct error *err)
{
	static const char *const fields[] = {"port", "agent-port", "address", NULL};
	const json_t *health = json_object_get(body, "health");
	json_int_t port = 0, agent_port = 0;
	char text[ADDR_TEXT];
	struct error why;

	if (!health)
		return 0;
	if (!json_is_object(health))
		return wrong(body, "health", "an object with port, agent-port or address", err);
	if (api_arg_only(health, fields, &why) ||
	    read_number(health, "port", 1, 65535, &port, &why) ||
	    read_number(health, "agent-port", 1, 65535, &agent_port, &why) ||
	    (json_object_get(health, "address") &&
	     api_arg_address(health, "address", &ret->address, &why)))
		return error_set(err, -EINVAL, "health: %s", why.text);
	if (ret->address.family && addr_why_no_host(&ret->address))
		return error_set(err, -EINVAL,
				 "health: address: %s: %s: expected the address of one host",
				 addr_format(&ret->address, text), addr_why_no_host(&ret->address));
	ret->port = (uint16_t)port;
	ret->agent_port = (uint16_t)agent_port;
	return 0;
}

int api_arg_new(const json_t *body, struct state_put *ret, struct error *err)
{
	struct state_put put = {.ttl_ms = ret->ttl_ms};
	json_int_t weight = 100, priority = 0, port = 0;
	int rc;

	if ((rc = read_number(body, "weight", 0, CONFIG_MAX_WEIGHT, &weight, err)) ||
	    (rc = read_number(body, "priority", 0, CONFIG_MAX_PRIORITY, &priority, err)) ||
	    (rc = api_arg_bool(body, "backup", false, &put.backup, err)) ||
	    (rc = read_number(body, "port", 1, 65535, &port, err)) ||
	    (rc = read_target(body, &put.target, err)) || (rc = read_tag(body, &put.tag, err)))
		return rc;
	put.weight = (uint32_t)weight;
	put.priority = (uint8_t)priority;
	put.port = (uint16_t)port;
	*ret = put;
	return 0;
}

int api_arg_address(const json_t *body, const char *name, struct addr *ret, struct error *err)
{
	const json_t *value = json_object_get(body, name);

	if (!json_is_string(value) || addr_parse(json_string_value(value), ret))
		return wrong(body, name, "an IPv4 or IPv6 address", err);
	return 0;
}

int api_arg_weight(const json_t *body, const char *name, uint32_t *ret, struct error *err)
{
	const json_t *value = json_object_get(body, name);
	char expected[48];

	snprintf(expected, sizeof(expected), "an integer 0 to %d", CONFIG_MAX_WEIGHT);
	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
	    json_integer_value(value) > CONFIG_MAX_WEIGHT)
		return wrong(body, name, expected, err);
	*ret = (uint32_t)json_integer_value(value);
	return 0;
}

int api_arg_ms(const json_t *body, const char *name, uint64_t *ret, struct error *err)
{
	const json_t *value = json_object_get(body, name);

	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
	    json_integer_value(value) > MAX_MS)
		return wrong(body, name, "milliseconds, an integer of at most a year", err);
	*ret = (uint64_t)json_integer_value(value);
	return 0;
}

int api_arg_duration(const json_t *body, const char *name, uint64_t *ret, struct error *err)
{
	const json_t *value = json_object_get(body, name);
	uint64_t ms;

	if (!json_is_string(value) || duration_parse(json_string_value(value), &ms) || ms > MAX_MS)
		return wrong(body, name, "a duration of at most a year, such as \"5m\"", err);
	*ret = ms;
	return 0;
}

int api_arg_bool(const json_t *body, const char *name, bool fallback, bool *ret, struct error *err)
{
	const json_t *value = json_object_get(body, name);

	if (value && !json_is_boolean(value))
		return wrong(body, name, "true or false", err);
	*ret = value ? json_is_true(value) : fallback;
	return 0;
}

int api_arg_mode(const json_t *body, const char *name, enum config_mode *ret, struct error *err)
{
	static const char *const names[] = {[CONFIG_MODE_AUTO] = "auto",
					    [CONFIG_MODE_NATIVE] = "native",
					    [CONFIG_MODE_GENERIC] = "generic"};
	const json_t *value = json_object_get(body, name);

	if (!value) {
		*ret = CONFIG_MODE_AUTO;
		return 0;
	}
	for (unsigned i = 0; json_is_string(value) && i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(json_string_value(value), names[i])) {
			*ret = (enum config_mode)i;
			return 0;
		}
	return wrong(body, name, "\"auto\", \"native\" or \"generic\"", err);
}
