/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Requests and answers of etcd's JSON gateway about the config of a fleet. */
#include "documents.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base64.h"
#include "common/cleanup.h"
#include "gateway.h"

#define FORMER  "/former"
#define ROLLOUT "/rollout"
#define LIVE    "/live/"
#define AFTER   "0" /* the first byte after "/" */

/* NULL: out of memory. */
static char *encode_key(const char *key, const char *rest)
{
	_cleanup_free_ char *whole = NULL;

	if (asprintf(&whole, "%s%s", key, rest) < 0)
		whole = NULL;
	return whole ? base64_encode(whole, strlen(whole)) : NULL;
}

/* ---- requests ---- */

/* From the key up to what follows all that is below it. */
char *documents_request(const char *key, const char *revision)
{
	_cleanup_free_ char *first = encode_key(key, ""), *end = encode_key(key, AFTER);

	return gateway_request(first, end, 0, revision);
}

char *documents_grant(unsigned lease_s)
{
	char *body;

	return asprintf(&body, "{\"TTL\":\"%u\"}", lease_s) < 0 ? NULL : body;
}

char *documents_renew(const char *lease)
{
	char *body;

	return asprintf(&body, "{\"ID\":\"%s\"}", lease) < 0 ? NULL : body;
}

char *documents_put_live(const char *key, const char *node, const char *lease)
{
	_cleanup_free_ char *rest = NULL, *encoded = NULL;
	char *body;

	if (asprintf(&rest, LIVE "%s", node) < 0)
		rest = NULL;
	encoded = rest ? encode_key(key, rest) : NULL;
	if (!encoded || asprintf(&body, "{\"key\":\"%s\",\"lease\":\"%s\"}", encoded, lease) < 0)
		return NULL;
	return body;
}

/* ---- transactions ---- */

/* A condition: the key was written in this revision, or is not there (0). NULL: out of memory. */
static json_t *compare_json(const char *key, const char *rest, uint64_t revision)
{
	_cleanup_free_ char *encoded = encode_key(key, rest);
	json_t *text = json_sprintf("%" PRIu64, revision);

	return json_pack("{s:s?, s:s, s:s, s:o}", "key", encoded, "target", "MOD", "result",
			 "EQUAL", "mod_revision", text);
}

static json_t *put_json(const char *key, const char *rest, const char *text)
{
	_cleanup_free_ char *encoded = encode_key(key, rest),
			    *value = base64_encode(text, strlen(text));

	if (!encoded || !value)
		return NULL;
	return json_pack("{s:{s:s, s:s}}", "request_put", "key", encoded, "value", value);
}

char *documents_write(const char *key, const struct documents_change *change)
{
	const struct {
		const char *rest, *text;
	} puts[] = {{"", change->config}, {FORMER, change->former}, {ROLLOUT, change->rollout}};
	json_t *compare = json_pack("[o, o]", compare_json(key, "", change->config_revision),
				    compare_json(key, ROLLOUT, change->rollout_revision));
	json_t *success = json_array(), *body;
	bool failed = !compare || !success;
	char *text;

	for (size_t i = 0; i < sizeof(puts) / sizeof(puts[0]) && !failed; i++)
		failed = puts[i].text &&
			 json_array_append_new(success, put_json(key, puts[i].rest, puts[i].text));
	body = failed ? NULL : json_pack("{s:O, s:O}", "compare", compare, "success", success);
	text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	json_decref(body);
	json_decref(compare);
	json_decref(success);
	return text;
}

/* ---- answers ---- */

/* SOURCE_DOCUMENTS: it is none of them. */
static enum source_document_kind kind_of(const char *rest)
{
	if (!strncmp(rest, LIVE, strlen(LIVE)))
		return SOURCE_LIVE;
	return !*rest                   ? SOURCE_CONFIG
	       : !strcmp(rest, FORMER)  ? SOURCE_FORMER
	       : !strcmp(rest, ROLLOUT) ? SOURCE_ROLLOUT
					: SOURCE_DOCUMENTS;
}

/* 0; -EBADMSG: it is no text; -E2BIG; -ENOMEM. */
static int read_document(const json_t *kv, enum source_document_kind kind, struct source_list *list)
{
	const char *encoded = json_string_value(json_object_get(kv, "value"));
	_cleanup_free_ char *text = NULL;

	list->documents[kind].revision = gateway_number(kv, "mod_revision");
	if (!encoded || !*encoded) /* etcd leaves out what is empty */
		return 0;
	text = base64_decode_text(encoded);
	return text ? source_document_add(&list->documents[kind], source_document_max(kind), text,
					  strlen(text))
		    : -EBADMSG;
}

/* Others have written what no node can be called. */
static int read_live(const char *node, struct source_list *list)
{
	struct source_document *live = &list->documents[SOURCE_LIVE];
	char line[CONFIG_NODE_TEXT + 2];

	if (!config_node_fits(node))
		return 0;
	return source_document_add(live, source_document_max(SOURCE_LIVE), line,
				   (size_t)snprintf(line, sizeof(line), "%s\n", node));
}

static int read_kv(const json_t *kv, const char *key, struct source_list *list, struct error *err)
{
	_cleanup_free_ char *whole =
	    base64_decode_text(json_string_value(json_object_get(kv, "key")));
	size_t length = strlen(key);
	enum source_document_kind kind;
	int rc;

	if (!whole || strncmp(whole, key, length) != 0)
		return 0;
	kind = kind_of(whole + length);
	if (kind == SOURCE_DOCUMENTS)
		return 0;
	rc = kind == SOURCE_LIVE ? read_live(whole + length + strlen(LIVE), list)
				 : read_document(kv, kind, list);
	if (rc == -E2BIG)
		return error_set(err, rc, "%.200s: expected at most %zu KiB", whole,
				 source_document_max(kind) >> 10);
	return rc ? error_set(err, rc, "%.200s: %s", whole,
			      rc == -ENOMEM ? "out of memory" : "expected text")
		  : 0;
}

int documents_read(const char *body, size_t length, const char *key, struct source_list *ret,
		   char ret_next[24], struct error *err)
{
	json_t *root = source_json(body, length, JSON_REJECT_DUPLICATES), *kv;
	struct source_list list = {.has_documents = true};
	/* a part may lack the record, and a node would not wait for its turn */
	bool whole = json_is_object(root) && !json_is_true(json_object_get(root, "more"));
	int rc = whole ? gateway_next_revision(root, ret_next) : -EBADMSG;
	size_t i;

	if (rc)
		error_set(err, rc, "expected an answer of etcd's JSON gateway");
	json_array_foreach (json_object_get(root, "kvs"), i, kv) {
		if (rc)
			break;
		rc = read_kv(kv, key, &list, err);
	}
	json_decref(root);
	if (rc)
		source_list_done(&list);
	else
		*ret = list;
	return rc;
}

/* A renewal's answer is the first message of a stream: in "result". */
int documents_read_lease(const char *body, size_t length, char ret_id[24])
{
	json_t *root = source_json(body, length, JSON_DISABLE_EOF_CHECK);
	const json_t *result = json_object_get(root, "result"), *from = result ? result : root;
	uint64_t id = gateway_number(from, "ID"), ttl = gateway_number(from, "TTL");
	int rc = !id ? -EBADMSG : !ttl ? -ENOENT : 0;

	if (!rc)
		snprintf(ret_id, 24, "%" PRIu64, id);
	json_decref(root);
	return rc;
}

/* etcd leaves out what is false. */
int documents_read_outcome(const char *body, size_t length)
{
	json_t *root = source_json(body, length, JSON_REJECT_DUPLICATES);
	int rc = !json_object_get(root, "header")                   ? -EBADMSG
		 : json_is_true(json_object_get(root, "succeeded")) ? 0
								    : -EAGAIN;

	json_decref(root);
	return rc;
}
