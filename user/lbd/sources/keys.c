/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Requests and answers of etcd's JSON gateway about keys below a prefix. */
#include "keys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base64.h"
#include "common/cleanup.h"
#include "gateway.h"

#define KEYS_ASKED (CONFIG_FROM_MAX + 1) /* one more than can be taken */

/* ---- requests ---- */

/* The first key that does not begin with the prefix; "\0": there is none. */
static char *end_of(const char *prefix)
{
	size_t length = strlen(prefix);
	char *end = strdup(prefix), *encoded;

	if (!end)
		return NULL;
	while (length && (uint8_t)end[length - 1] == 0xff)
		length--;
	if (length)
		end[length - 1]++;
	encoded = base64_encode(length ? end : "", length ? length : 1);
	free(end);
	return encoded;
}

char *keys_request(const char *prefix, const char *revision)
{
	_cleanup_free_ char *first = base64_encode(prefix, strlen(prefix)), *end = end_of(prefix);

	return gateway_request(first, end, KEYS_ASKED, revision);
}

/* ---- answers ---- */

/* "": nothing more; a number: its weight; an object. */
static int read_value(const char *text, struct source_item *item, json_t **ret_object,
		      struct error *err)
{
	json_t *value =
	    *text ? source_json(text, strlen(text), JSON_REJECT_DUPLICATES | JSON_DECODE_ANY)
		  : json_object();

	if (json_is_integer(value)) {
		json_t *object = json_pack("{s:o}", "weight", value);

		value = object;
	}
	if (!json_is_object(value)) {
		json_decref(value);
		return error_set(err, -EINVAL,
				 "expected nothing, a weight, or an object as its value");
	}
	*ret_object = value;
	return 0;
}

static int read_item(const char *rest, const char *text, struct source_item *ret, struct error *err)
{
	json_t *object = NULL, *given;
	const char *address;
	int rc = read_value(text, ret, &object, err);

	if (rc)
		return rc;
	given = json_object_get(object, "address");
	address = given ? json_string_value(given) : rest;
	if (!address || !source_item_init(ret, address))
		rc = error_set(err, -EINVAL, "expected the address of a host");
	else
		rc = source_item_read(ret, object, err);
	json_decref(object);
	return rc;
}

/* 0, also if it is ignored; -E2BIG or -ENOMEM. */
static int read_key(json_t *kv, const char *prefix, struct source_list *list)
{
	_cleanup_free_ char *key =
				base64_decode_text(json_string_value(json_object_get(kv, "key"))),
			    *value =
				base64_decode_text(json_string_value(json_object_get(kv, "value")));
	struct source_item item;
	struct error why;

	if (!key || !value || strncmp(key, prefix, strlen(prefix)) != 0) {
		source_list_ignore(list, "a key or value that is no text");
		return 0;
	}
	if (!read_item(key + strlen(prefix), value, &item, &why))
		return source_list_add(list, &item);
	source_list_ignore(list, "%.80s: %.120s", key, why.text);
	return 0;
}

/* etcd leaves out what is empty. A part of the keys, whatever its length, is not the keys: those
 * that are missing would leave. */
static int read_keys(json_t *root, const char *prefix, struct source_list *list)
{
	json_t *kvs = json_object_get(root, "kvs"), *kv;
	size_t i;
	int rc = kvs && !json_is_array(kvs)                    ? -EBADMSG
		 : json_is_true(json_object_get(root, "more")) ? -E2BIG
							       : 0;

	json_array_foreach (kvs, i, kv) {
		if (rc)
			break;
		rc = i == CONFIG_FROM_MAX ? -E2BIG : read_key(kv, prefix, list);
	}
	return rc;
}

int keys_read(const char *body, size_t length, const char *prefix, struct source_list *ret,
	      char ret_next[24], struct error *err)
{
	json_t *root = source_json(body, length, JSON_REJECT_DUPLICATES);
	struct source_list list = {0};
	int rc = json_is_object(root) ? gateway_next_revision(root, ret_next) : -EBADMSG;

	if (!rc)
		rc = read_keys(root, prefix, &list);
	json_decref(root);
	if (rc) {
		source_list_done(&list);
		return error_set(err, rc, "%s",
				 rc == -E2BIG
				     ? "it has more than 1024 keys, or the answer is a part of them"
				 : rc == -ENOMEM ? "out of memory"
						 : "expected an answer of etcd's JSON gateway");
	}
	source_list_sort(&list);
	*ret = list;
	return 0;
}
