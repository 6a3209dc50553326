/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Frames to bytes and back. Every length is checked before it is used, every value that the data
 * plane does not check itself here. */
#include "frames.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

/* ---- layouts ---- */

#define KEY_BYTES 20 /* VIP 16, port 2, protocol 1, family 1 */

/* HELLO of version 1 has texts of NODE_NAME bytes, of which the first NUL ends what is read. What
 * came later is behind that: in the last bytes of the lbd's version a NUL, two letters, and the
 * oldest and latest version of the protocol. */
#define VERSION_TEXT (NODE_NAME - 8)
static const uint8_t range_mark[] = {0, 'L', 'B'};

/* Bytes of an item, items of a frame at most, and the first version that has them, if not all do.
 */
static const struct {
	uint16_t size, most;
	uint8_t since;
} layouts[FRAME_TYPES] = {
    [FRAME_HELLO] = {3 * 8 + 4 + 2 * NODE_NAME, 1},
    [FRAME_REFUSED] = {REFUSED_TEXT, 1},
    [FRAME_BACKENDS] = {2 + KEY_BYTES + 1 + 16, 1000},
    [FRAME_SERVICES] = {2 + KEY_BYTES + 4 + 4 + 2 + 2 + 1 + 8, 1000},
    [FRAME_SLOTS] = {2 + 4 + 4, 5000},
    [FRAME_FLOWS] = {4 + 8, 5000},
    [FRAME_WANT] = {4, 1},
    [FRAME_END] = {4, 1},
    [FRAME_BEAT] = {6 * 8 + 4 + 1, 1},
    [FRAME_BYE] = {1, 1},
    [FRAME_NODE] = {8, 1, 2},
};

/* What is shown of a peer that is behind for longer: there are sums of it. */
#define BEHIND_MOST (24 * 3600 * 1000u)

/* ---- numbers ---- */

static void put(uint8_t **at, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		*(*at)++ = (uint8_t)(value >> 8 * i);
}

static uint64_t get(const uint8_t **at, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bytes; i++)
		value |= (uint64_t) * (*at)++ << 8 * i;
	return value;
}

static void put_bytes(uint8_t **at, const void *from, size_t length)
{
	memcpy(*at, from, length);
	*at += length;
}

static void get_bytes(const uint8_t **at, void *to, size_t length)
{
	memcpy(to, *at, length);
	*at += length;
}

static void put_key(uint8_t **at, const struct addr *vip, uint16_t port, uint8_t protocol)
{
	put_bytes(at, vip->bytes, sizeof(vip->bytes));
	put(at, port, 2);
	put(at, protocol, 1);
	put(at, vip->family, 1);
}

/* The bytes after those of an IPv4 address are zero wherever addresses are compared. */
static int get_address(const uint8_t **at, struct addr *ret, uint8_t family)
{
	*ret = (struct addr){.family = family};
	if (family == 6)
		get_bytes(at, ret->bytes, 16);
	else if (family == 4)
		get_bytes(at, ret->bytes, 4);
	*at += family == 4 ? 12 : 0;
	return family == 4 || family == 6 ? 0 : -EBADMSG;
}

static int get_key(const uint8_t **at, struct addr *ret_vip, uint16_t *ret_port,
		   uint8_t *ret_protocol)
{
	const uint8_t *rest = *at + 16;

	*ret_port = (uint16_t)get(&rest, 2);
	*ret_protocol = (uint8_t)get(&rest, 1);
	if (get_address(at, ret_vip, (uint8_t)get(&rest, 1)))
		return -EBADMSG;
	*at = rest;
	return *ret_protocol == IPPROTO_TCP || *ret_protocol == IPPROTO_UDP ? 0 : -EBADMSG;
}

/* ---- reading ---- */

static int bad(const char **why, const char *text)
{
	*why = text;
	return -EBADMSG;
}

int frame_next(const uint8_t *bytes, size_t have, struct frame *ret, const char **why)
{
	const uint8_t *at = bytes;
	uint32_t length;
	uint8_t type, version;
	uint16_t count;

	if (have < FRAME_HEAD)
		return 0;
	length = (uint32_t)get(&at, 4);
	type = (uint8_t)get(&at, 1);
	version = (uint8_t)get(&at, 1);
	count = (uint16_t)get(&at, 2);
	if (version < FRAME_OLDEST || version > FRAME_LATEST)
		return bad(why, "another version of the protocol");
	if (!type || type >= FRAME_TYPES || version < layouts[type].since)
		return bad(why, "an unknown type of frame");
	if (!count || count > layouts[type].most ||
	    length != FRAME_HEAD + (size_t)count * layouts[type].size)
		return bad(why, "a frame of a wrong length");
	if (have < length)
		return 0;
	*ret = (struct frame){
	    .type = type, .version = version, .count = count, .sequence = get(&at, 8)};
	ret->items = at;
	return (int)length;
}

static const uint8_t *item(const struct frame *frame, unsigned index)
{
	return frame->items + (size_t)index * layouts[frame->type].size;
}

/* Shown to people, and in JSON: ASCII without control characters, and a NUL at the end. */
static bool is_text(const char *text, size_t room)
{
	size_t length = strnlen(text, room);

	for (size_t i = 0; i < length; i++)
		if (text[i] < ' ' || text[i] > '~')
			return false;
	return length < room;
}

/* A node of version 1 has zeros there, or the end of a long text. */
static struct fleet_range get_range(char version[NODE_NAME])
{
	const uint8_t *mark = (const uint8_t *)version + VERSION_TEXT;
	struct fleet_range range = {1, 1};

	if (!memcmp(mark, range_mark, sizeof(range_mark)))
		range =
		    (struct fleet_range){mark[sizeof(range_mark)], mark[sizeof(range_mark) + 1]};
	return range;
}

int frame_get_hello(const struct frame *frame, struct fleet_hello *ret)
{
	const uint8_t *at = item(frame, 0);

	ret->boot = get(&at, 8);
	ret->seed_digest = get(&at, 8);
	ret->config_digest = get(&at, 8);
	ret->buckets = (uint32_t)get(&at, 4);
	get_bytes(&at, ret->name, sizeof(ret->name));
	get_bytes(&at, ret->version, sizeof(ret->version));
	ret->speaks = get_range(ret->version);
	return ret->speaks.oldest && ret->speaks.oldest <= ret->speaks.latest &&
		       is_text(ret->name, sizeof(ret->name)) &&
		       is_text(ret->version, sizeof(ret->version))
		   ? 0
		   : -EBADMSG;
}

int frame_get_refused(const struct frame *frame, char ret[REFUSED_TEXT])
{
	memcpy(ret, frame->items, REFUSED_TEXT);
	return is_text(ret, REFUSED_TEXT) ? 0 : -EBADMSG;
}

int frame_get_backend(const struct frame *frame, unsigned index, struct dp_shared_backend *ret)
{
	const uint8_t *at = item(frame, index);

	*ret = (struct dp_shared_backend){.ref = (uint16_t)get(&at, 2)};
	if (get_key(&at, &ret->vip, &ret->port, &ret->protocol))
		return -EBADMSG;
	return get_address(&at, &ret->address, (uint8_t)get(&at, 1));
}

int frame_get_service(const struct frame *frame, unsigned index, struct dp_shared_service *ret)
{
	const uint8_t *at = item(frame, index);

	*ret = (struct dp_shared_service){.ref = (uint16_t)get(&at, 2)};
	if (get_key(&at, &ret->vip, &ret->port, &ret->protocol))
		return -EBADMSG;
	ret->size = (uint32_t)get(&at, 4);
	ret->configured = (uint32_t)get(&at, 4);
	ret->evaluated = (uint16_t)get(&at, 2);
	ret->unplaced = (uint16_t)get(&at, 2);
	ret->fresh = get(&at, 1);
	ret->digest = get(&at, 8);
	return 0;
}

void frame_get_slot(const struct frame *frame, unsigned index, struct dp_shared_slot *ret)
{
	const uint8_t *at = item(frame, index);

	ret->service = (uint16_t)get(&at, 2);
	ret->index = (uint32_t)get(&at, 4);
	ret->claim = (uint32_t)get(&at, 4);
}

void frame_get_flow(const struct frame *frame, unsigned index, struct dp_shared_flow *ret)
{
	const uint8_t *at = item(frame, index);

	ret->bucket = (uint32_t)get(&at, 4);
	ret->word = get(&at, 8);
}

uint32_t frame_get_number(const struct frame *frame)
{
	const uint8_t *at = item(frame, 0);

	return (uint32_t)get(&at, 4);
}

int frame_get_beat(const struct frame *frame, struct fleet_beat *ret)
{
	const uint8_t *at = item(frame, 0);

	ret->sent_ms = get(&at, 8);
	ret->echo_ms = get(&at, 8);
	ret->held_ms = get(&at, 8);
	ret->config_digest = get(&at, 8);
	ret->conflicts = get(&at, 8);
	ret->unplaced = get(&at, 8);
	ret->behind = (uint32_t)get(&at, 4);
	if (ret->behind > BEHIND_MOST)
		ret->behind = BEHIND_MOST;
	ret->synced = (uint8_t)get(&at, 1);
	return ret->conflicts <= INT64_MAX && ret->unplaced <= INT64_MAX && ret->synced <= 1
		   ? 0
		   : -EBADMSG;
}

uint64_t frame_get_node(const struct frame *frame)
{
	const uint8_t *at = item(frame, 0);

	return get(&at, 8);
}

/* ---- writing ---- */

static uint8_t version_of(const struct frame_writer *writer)
{
	if (writer->type == FRAME_HELLO || writer->type == FRAME_REFUSED)
		return FRAME_FIRST;
	return writer->version ? writer->version : FRAME_LATEST;
}

static void write_head(struct frame_writer *writer)
{
	uint8_t *at = writer->bytes + writer->open;

	put(&at, writer->used - writer->open, 4);
	put(&at, writer->type, 1);
	put(&at, version_of(writer), 1);
	put(&at, writer->count, 2);
	put(&at, writer->sequence - 1, 8);
}

/* Makes room for an item; NULL: there is none. */
static uint8_t *add(struct frame_writer *writer, enum frame_type type)
{
	bool joins = writer->count && writer->type == type && writer->count < layouts[type].most;
	size_t size = layouts[type].size, head = joins ? 0 : FRAME_HEAD;
	uint8_t *at = writer->bytes + writer->used + head;

	if (writer->room - writer->used < head + size)
		return NULL;
	if (!joins) {
		writer->open = writer->used;
		writer->type = type;
		writer->count = 0;
		writer->sequence++;
	}
	writer->used += head + size;
	writer->count++;
	write_head(writer);
	return at;
}

bool frame_put_hello(struct frame_writer *writer, const struct fleet_hello *hello)
{
	uint8_t *at = add(writer, FRAME_HELLO);

	if (!at)
		return false;
	put(&at, hello->boot, 8);
	put(&at, hello->seed_digest, 8);
	put(&at, hello->config_digest, 8);
	put(&at, hello->buckets, 4);
	put_bytes(&at, hello->name, sizeof(hello->name));
	memset(at, 0, NODE_NAME);
	memcpy(at, hello->version, strnlen(hello->version, VERSION_TEXT - 1));
	at += VERSION_TEXT;
	put_bytes(&at, range_mark, sizeof(range_mark));
	put(&at, hello->speaks.oldest, 1);
	put(&at, hello->speaks.latest, 1);
	return true;
}

bool frame_put_refused(struct frame_writer *writer, const char *why)
{
	uint8_t *at = add(writer, FRAME_REFUSED);

	if (!at)
		return false;
	memset(at, 0, REFUSED_TEXT);
	memcpy(at, why, strnlen(why, REFUSED_TEXT - 1));
	return true;
}

bool frame_put_backend(struct frame_writer *writer, const struct dp_shared_backend *backend)
{
	uint8_t *at = add(writer, FRAME_BACKENDS);

	if (!at)
		return false;
	put(&at, backend->ref, 2);
	put_key(&at, &backend->vip, backend->port, backend->protocol);
	put(&at, backend->address.family, 1);
	put_bytes(&at, backend->address.bytes, sizeof(backend->address.bytes));
	return true;
}

bool frame_put_service(struct frame_writer *writer, const struct dp_shared_service *service)
{
	uint8_t *at = add(writer, FRAME_SERVICES);

	if (!at)
		return false;
	put(&at, service->ref, 2);
	put_key(&at, &service->vip, service->port, service->protocol);
	put(&at, service->size, 4);
	put(&at, service->configured, 4);
	put(&at, service->evaluated, 2);
	put(&at, service->unplaced, 2);
	put(&at, service->fresh, 1);
	put(&at, service->digest, 8);
	return true;
}

bool frame_put_slot(struct frame_writer *writer, const struct dp_shared_slot *slot)
{
	uint8_t *at = add(writer, FRAME_SLOTS);

	if (!at)
		return false;
	put(&at, slot->service, 2);
	put(&at, slot->index, 4);
	put(&at, slot->claim, 4);
	return true;
}

bool frame_put_flow(struct frame_writer *writer, const struct dp_shared_flow *flow)
{
	uint8_t *at = add(writer, FRAME_FLOWS);

	if (!at)
		return false;
	put(&at, flow->bucket, 4);
	put(&at, flow->word, 8);
	return true;
}

bool frame_put_number(struct frame_writer *writer, enum frame_type type, uint32_t number)
{
	uint8_t *at = add(writer, type);

	if (!at)
		return false;
	put(&at, number, 4);
	return true;
}

bool frame_put_beat(struct frame_writer *writer, const struct fleet_beat *beat)
{
	uint8_t *at = add(writer, FRAME_BEAT);

	if (!at)
		return false;
	put(&at, beat->sent_ms, 8);
	put(&at, beat->echo_ms, 8);
	put(&at, beat->held_ms, 8);
	put(&at, beat->config_digest, 8);
	put(&at, beat->conflicts, 8);
	put(&at, beat->unplaced, 8);
	put(&at, beat->behind, 4);
	put(&at, beat->synced, 1);
	return true;
}

bool frame_put_bye(struct frame_writer *writer)
{
	uint8_t *at = add(writer, FRAME_BYE);

	if (!at)
		return false;
	put(&at, 0, 1);
	return true;
}

bool frame_put_node(struct frame_writer *writer, uint64_t identity)
{
	uint8_t *at = add(writer, FRAME_NODE);

	if (!at)
		return false;
	put(&at, identity, 8);
	return true;
}
