/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Messages between lbd and its source process. */
#include "message.h"

#include <errno.h>
#include <string.h>

size_t source_message_length(const struct source_reply *reply)
{
	size_t one = reply->type == SOURCE_DOCUMENT ? 1 : sizeof(reply->items[0]);

	return offsetof(struct source_reply, items) + reply->count * one;
}

/* Items, or bytes. */
static uint32_t most_of(const struct source_reply *reply)
{
	if (reply->type == SOURCE_DOCUMENT)
		return sizeof(reply->bytes);
	return reply->type == SOURCE_LIST ? SOURCE_PART : 0;
}

const char *source_message_check(const struct source_reply *reply, size_t length)
{
	if (length < offsetof(struct source_reply, items))
		return "it is too short";
	if (reply->type < SOURCE_READY || reply->type > SOURCE_BEAT)
		return "unknown type";
	if (reply->count > most_of(reply))
		return "too many items";
	if (length != source_message_length(reply))
		return "wrong length";
	if (reply->first > 1 || reply->last > 1)
		return "neither yes nor no";
	if (reply->type == SOURCE_DOCUMENT && reply->which >= SOURCE_DOCUMENTS)
		return "unknown document";
	if (reply->outcome >= SOURCE_OUTCOMES)
		return "unknown outcome";
	if (!memchr(reply->why, 0, sizeof(reply->why)))
		return "a reason without end";
	for (uint32_t i = 0; reply->type == SOURCE_LIST && i < reply->count; i++)
		if (!source_item_is_sound(&reply->items[i]))
			return "what cannot be a backend";
	return NULL;
}

size_t source_message_request_length(const struct source_request *request)
{
	return offsetof(struct source_request, texts) + request->length;
}

int source_message_start(struct source_request *ret, uint32_t id, const char *kind,
			 const struct config_from *from)
{
	memset(ret, 0, offsetof(struct source_request, texts));
	ret->type = SOURCE_START;
	ret->id = id;
	ret->record = from->record;
	ret->family = from->family;
	strncpy(ret->kind, kind, sizeof(ret->kind) - 1);
	for (unsigned i = 0; i < CONFIG_FROM_TEXTS; i++) {
		const char *text = *config_from_text((struct config_from *)from, i);
		size_t length = text ? strlen(text) + 1 : 1;

		if (length > sizeof(ret->texts) - ret->length)
			return -EINVAL;
		memcpy(ret->texts + ret->length, text ? text : "", length);
		ret->length += (uint32_t)length;
	}
	return 0;
}

bool source_message_from(const struct source_request *request, size_t length,
			 struct config_from *ret)
{
	const char *at = request->texts, *end;

	if (length < offsetof(struct source_request, texts) ||
	    request->length > sizeof(request->texts) ||
	    length != source_message_request_length(request) ||
	    !memchr(request->kind, 0, sizeof(request->kind)))
		return false;
	end = at + request->length;
	*ret = (struct config_from){
	    .record = (uint8_t)request->record, .family = (uint8_t)request->family, .min = 1};
	for (unsigned i = 0; i < CONFIG_FROM_TEXTS; i++) {
		const char *nul = memchr(at, 0, (size_t)(end - at));

		if (!nul)
			return false;
		if (*at)
			*config_from_text(ret, i) = (char *)at;
		at = nul + 1;
	}
	return at == end;
}
