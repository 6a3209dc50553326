/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Writes, checks and reads the messages between lbd and its probe process. */
#include "message.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/printable.h"
#include "source.h"

#define HEAD offsetof(struct request, text)

/* ---- requests ---- */

size_t message_put_plain(struct request *ret, enum request_type type, uint64_t id)
{
	memset(ret, 0, HEAD);
	ret->type = type;
	ret->id = id;
	return HEAD;
}

/* Returns the length of all texts. */
static size_t put_texts(struct request *ret, const struct health_spec *config)
{
	size_t at = 0;

	for (unsigned i = 0; i < HEALTH_TEXT_COUNT; i++) {
		const char *text = config->texts[i] ? config->texts[i] : "";
		size_t length = strnlen(text, health_text_max[i]);

		memcpy(ret->text + at, text, length);
		ret->lengths[i] = (uint16_t)length;
		at += length;
	}
	return at;
}

size_t message_put_start(struct request *ret, uint64_t id, const struct health_probe_spec *spec,
			 bool repeated)
{
	const struct health_spec *config = spec->config;

	message_put_plain(ret, REQUEST_START, id);
	ret->timeout_ms = config->timeout_ms;
	ret->status_min = config->status_min;
	ret->status_max = config->status_max;
	ret->port = spec->port;
	ret->length = spec->length;
	ret->family = spec->address.family;
	ret->repeated = repeated;
	ret->verify = config->verify;
	ret->with_socket = source_is_set(spec);
	memcpy(ret->address, spec->address.bytes, sizeof(ret->address));
	ret->named_family = spec->named.family;
	memcpy(ret->named, spec->named.bytes, sizeof(ret->named));
	snprintf(ret->kind, sizeof(ret->kind), "%s", spec->kind->name);
	return HEAD + put_texts(ret, config);
}

/* NULL: the texts are as long as they say. */
static const char *check_texts(const struct request *request, size_t length)
{
	size_t texts = 0;

	for (unsigned i = 0; i < HEALTH_TEXT_COUNT; i++) {
		if (request->lengths[i] > health_text_max[i])
			return "text too long";
		texts += request->lengths[i];
	}
	if (length != HEAD + texts)
		return "wrong length";
	return memchr(request->text, 0, texts) ? "NUL in a text" : NULL;
}

static const char *check_start(const struct request *request, size_t length, unsigned descriptors)
{
	const char *wrong = check_texts(request, length);

	if (wrong)
		return wrong;
	if (request->family != 4 && request->family != 6)
		return "no address";
	if (request->named_family && request->named_family != 4 && request->named_family != 6)
		return "no address that it is called";
	if (!memchr(request->kind, 0, sizeof(request->kind)) || !request->kind[0])
		return "no kind";
	if (request->length > HEALTH_MTU_MAX)
		return "too long a packet";
	if (request->verify > 1)
		return "neither verified nor not";
	if (request->with_socket > 1)
		return "neither with a socket nor without";
	if (request->with_socket != descriptors)
		return "a descriptor is missing, or there is one too many";
	return request->repeated > 1 ? "neither repeated nor not" : NULL;
}

const char *message_check_request(const struct request *request, size_t length,
				  unsigned descriptors)
{
	if (length < HEAD)
		return "too short";
	switch (request->type) {
	case REQUEST_START:
		return check_start(request, length, descriptors);
	case REQUEST_CANCEL:
	case REQUEST_PING:
		if (descriptors)
			return "a descriptor that is not expected";
		return length == HEAD ? NULL : "wrong length";
	default:
		return "unknown type";
	}
}

static char *copy_text(const char *text, size_t length, bool *ret_failed)
{
	char *copy = length ? strndup(text, length) : NULL;

	*ret_failed |= length && !copy;
	return copy;
}

int message_get_start(const struct request *request, struct health_spec *config,
		      struct health_probe_spec *ret)
{
	const char *text = request->text;
	bool failed = false;

	*config = (struct health_spec){
	    .timeout_ms = request->timeout_ms,
	    .status_min = request->status_min,
	    .status_max = request->status_max,
	    .verify = request->verify,
	};
	for (unsigned i = 0; i < HEALTH_TEXT_COUNT; text += request->lengths[i], i++)
		config->texts[i] = copy_text(text, request->lengths[i], &failed);
	if (failed) {
		health_spec_done(config);
		return -ENOMEM;
	}
	*ret = (struct health_probe_spec){.address.family = request->family,
					  .named.family = request->named_family,
					  .port = request->port,
					  .length = request->length,
					  .socket = -1,
					  .config = config};
	memcpy(ret->address.bytes, request->address, sizeof(ret->address.bytes));
	memcpy(ret->named.bytes, request->named, sizeof(ret->named.bytes));
	return 0;
}

/* ---- replies ---- */

const char *message_check_reply(const struct reply *reply, size_t length)
{
	if (length != sizeof(*reply))
		return length < sizeof(*reply) ? "too short" : "too long";
	if (reply->type < REPLY_READY || reply->type > REPLY_PONG)
		return "unknown type";
	if (!memchr(reply->why, 0, sizeof(reply->why)))
		return "text without an end";
	if (reply->reserved)
		return "reserved bytes are not 0";
	if (reply->type == REPLY_RESULT && reply->outcome > ATTEMPT_VOID)
		return "unknown outcome";
	return NULL;
}

void message_put_result(struct reply *ret, uint64_t id, const struct attempt_result *result)
{
	memset(ret, 0, sizeof(*ret)); /* all of it is sent */
	ret->type = REPLY_RESULT;
	ret->outcome = result->outcome;
	ret->id = id;
	ret->began_us = result->began_us;
	ret->ended_us = result->ended_us;
	ret->late_us = result->late_us;
	ret->latency_us = result->latency_us;
	snprintf(ret->why, sizeof(ret->why), "%s", result->why);
}

static uint64_t within(uint64_t value, uint64_t min, uint64_t max)
{
	if (value < min)
		return min;
	return value > max ? max : value;
}

void message_get_result(struct reply *reply, uint64_t sent_us, uint64_t now_us,
			struct attempt_result *ret)
{
	make_printable(reply->why, false);
	*ret = (struct attempt_result){
	    .outcome = reply->outcome,
	    .began_us = within(reply->began_us, sent_us, now_us),
	    .late_us = within(reply->late_us, 0, now_us - sent_us),
	    .why = reply->why,
	};
	ret->ended_us = within(reply->ended_us, ret->began_us, now_us);
	if (ret->outcome == ATTEMPT_PASSED)
		ret->latency_us =
		    (uint32_t)within(reply->latency_us, 0, ret->ended_us - ret->began_us);
}
