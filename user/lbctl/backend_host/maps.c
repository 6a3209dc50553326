/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The maps of the decapsulator (bpf/decap.bpf.c): what it accepts, from JSON and back. */
#include "maps.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "decap.skel.h"
#include "lbctl/core/json.h"

#define MAX_MAPS 16

/* As in bpf/decap.bpf.c. */
struct prefix_key {
	uint32_t length; /* bits: 32 of the family, then those of the prefix */
	uint32_t family;
	uint8_t address[16]; /* IPv4 in the first four */
};

struct port_key {
	__be16 port;
	uint8_t protocol, pad;
};

/* ---- the maps of a program ---- */

static bool is_named(const char *full, const char *name)
{
	size_t length = strlen(full), end = strlen(name);

	if (name[0] == '.')
		return length >= end && strcmp(full + length - end, name) == 0;
	return strcmp(full, name) == 0;
}

int maps_open(const struct decap *decap, const char *name, struct bpf_map_info *ret_info)
{
	uint32_t ids[MAX_MAPS], length;
	struct bpf_prog_info program = {.nr_map_ids = MAX_MAPS,
					.map_ids = (uint64_t)(uintptr_t)ids};

	if (decap->presence != DECAP_OURS || decap_program_info(decap->program_id, &program))
		return -ENOENT;
	for (uint32_t i = 0; i < program.nr_map_ids && i < MAX_MAPS; i++) {
		int fd = bpf_map_get_fd_by_id(ids[i]);

		length = sizeof(*ret_info);
		memset(ret_info, 0, sizeof(*ret_info));
		if (fd >= 0 && bpf_obj_get_info_by_fd(fd, ret_info, &length) == 0 &&
		    is_named(ret_info->name, name))
			return fd;
		if (fd >= 0)
			close(fd);
	}
	return -ENOENT;
}

int maps_reuse(const struct decap *decap, struct bpf_map *map, const char *name)
{
	struct bpf_map_info info;
	_cleanup_close_ int fd = maps_open(decap, name, &info);

	if (fd < 0 || info.type != (uint32_t)bpf_map__type(map) ||
	    info.key_size != bpf_map__key_size(map) || info.value_size != bpf_map__value_size(map))
		return -EPROTO;
	return bpf_map__reuse_fd(map, fd);
}

/* ---- keys ---- */

struct in6_addr maps_key(const struct addr *addr)
{
	struct in6_addr key = {0};

	if (addr->family == 6) {
		memcpy(&key, addr->bytes, 16);
	} else {
		key.s6_addr[10] = key.s6_addr[11] = 0xff;
		memcpy(key.s6_addr + 12, addr->bytes, 4);
	}
	return key;
}

/* From text to the key of a map. 0, or -EINVAL. */
typedef int (*to_key)(const char *text, void *key);
/* And back. */
typedef void (*to_text)(const void *key, char text[64]);

static int prefix_to_key(const char *text, void *ret)
{
	struct prefix_key *key = ret;
	struct addr addr;
	unsigned bits;

	if (addr_parse_prefix(text, &addr, &bits))
		return -EINVAL;
	*key = (struct prefix_key){.length = 32 + bits, .family = addr.family};
	memcpy(key->address, addr.bytes, sizeof(key->address));
	return 0;
}

static void prefix_to_text(const void *from, char text[64])
{
	const struct prefix_key *key = from;
	struct addr addr = {.family = (uint8_t)key->family};
	char address[ADDR_TEXT];

	memcpy(addr.bytes, key->address, sizeof(addr.bytes));
	snprintf(text, 64, "%s/%u", addr_format(&addr, address), key->length - 32);
}

static int address_to_key(const char *text, void *ret)
{
	struct in6_addr key;
	struct addr addr;

	if (addr_parse(text, &addr))
		return -EINVAL;
	key = maps_key(&addr);
	memcpy(ret, &key, sizeof(key));
	return 0;
}

static void address_to_text(const void *from, char text[64])
{
	const struct in6_addr *key = from;

	if (IN6_IS_ADDR_V4MAPPED(key))
		inet_ntop(AF_INET, key->s6_addr + 12, text, 64);
	else
		inet_ntop(AF_INET6, key, text, 64);
}

static int port_to_key(const char *text, void *ret)
{
	struct port_key *key = ret;
	char *end;
	unsigned long port = strtoul(text, &end, 10);

	if (port == 0 || port > 65535 || (strcmp(end, "/tcp") != 0 && strcmp(end, "/udp") != 0))
		return -EINVAL;
	*key = (struct port_key){.port = htons((uint16_t)port),
				 .protocol = end[1] == 't' ? IPPROTO_TCP : IPPROTO_UDP};
	return 0;
}

static void port_to_text(const void *from, char text[64])
{
	const struct port_key *key = from;

	snprintf(text, 64, "%u/%s", ntohs(key->port), key->protocol == IPPROTO_TCP ? "tcp" : "udp");
}

static const struct list {
	const char *name; /* in JSON */
	const char *map;
	size_t key_size;
	to_key to_key;
	to_text to_text;
} lists[] = {
    {"from", "prefixes", sizeof(struct prefix_key), prefix_to_key, prefix_to_text},
    {"addresses", "addresses", sizeof(struct in6_addr), address_to_key, address_to_text},
    {"ports", "ports", sizeof(struct port_key), port_to_key, port_to_text},
};

#define LISTS (sizeof(lists) / sizeof(*lists))

/* ---- from JSON ---- */

int maps_size(struct decap_bpf *skeleton, const json_t *accept, struct error *err)
{
	for (size_t i = 0; i < LISTS; i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(skeleton->obj, lists[i].map);
		size_t count = json_array_size(json_object_get(accept, lists[i].name));
		int rc = bpf_map__set_max_entries(map, count ? (uint32_t)count : 1);

		if (rc)
			return error_set(err, rc, "map %s: cannot set its size to %zu: %s",
					 lists[i].map, count, strerror(-rc));
	}
	skeleton->rodata->gue_port = htons((uint16_t)json_number(accept, "gue_port"));
	skeleton->rodata->every_port = json_array_size(json_object_get(accept, "ports")) == 0;
	return 0;
}

static int fill_list(const struct list *list, struct bpf_map *map, const json_t *values,
		     struct error *err)
{
	const json_t *value;
	size_t i;

	json_array_foreach (values, i, value) {
		const char *text = json_string_value(value);
		uint8_t key[64] = {0}, one = 1;
		int rc = text ? list->to_key(text, key) : -EINVAL;

		if (!rc)
			rc = bpf_map_update_elem(bpf_map__fd(map), key, &one, BPF_ANY);
		if (rc)
			return error_set(err, rc == -EINVAL ? -EPROTO : rc,
					 "\"%s\": \"%s\": cannot be put into the decapsulator: %s",
					 list->name, text ? text : "", strerror(-rc));
	}
	return 0;
}

int maps_fill(struct decap_bpf *skeleton, const json_t *accept, struct error *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < LISTS; i++)
		rc = fill_list(&lists[i], bpf_object__find_map_by_name(skeleton->obj, lists[i].map),
			       json_object_get(accept, lists[i].name), err);
	return rc;
}

/* ---- to JSON ---- */

static int by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* The keys as sorted texts; NULL if the map does not exist or has another layout. */
static json_t *read_list(const struct decap *decap, const struct list *list)
{
	struct bpf_map_info info;
	_cleanup_close_ int fd = maps_open(decap, list->map, &info);
	_cleanup_free_ char(*texts)[64] = NULL;
	uint8_t key[64];
	uint32_t count = 0;
	json_t *ret;

	if (fd < 0 || info.key_size != list->key_size)
		return NULL;
	texts = calloc(info.max_entries, sizeof(*texts));
	ret = texts ? json_array() : NULL;
	for (void *last = NULL;
	     texts && count < info.max_entries && bpf_map_get_next_key(fd, last, key) == 0;
	     last = key)
		list->to_text(key, texts[count++]);
	if (texts)
		qsort(texts, count, sizeof(*texts), by_text);
	for (uint32_t i = 0; ret && i < count; i++)
		json_array_append_new(ret, json_string(texts[i]));
	return ret;
}

static int read_constants(const struct decap *decap, struct decap_bpf__rodata *ret)
{
	uint8_t value[sizeof(*ret) + 64] = {0};
	const uint32_t zero = 0;
	struct bpf_map_info info;
	_cleanup_close_ int fd = maps_open(decap, ".rodata", &info);

	if (fd < 0 || info.value_size > sizeof(*ret) ||
	    info.value_size <= offsetof(struct decap_bpf__rodata, every_port) ||
	    bpf_map_lookup_elem(fd, &zero, value))
		return -EPROTO;
	memcpy(ret, value, sizeof(*ret));
	return 0;
}

json_t *decap_accept(const struct decap *decap)
{
	json_t *accept = json_object();
	struct decap_bpf__rodata constants;

	if (!accept || read_constants(decap, &constants)) {
		json_decref(accept);
		return NULL;
	}
	for (size_t i = 0; i < LISTS; i++) {
		bool empty = constants.every_port && strcmp(lists[i].name, "ports") == 0;

		if (json_object_set_new(accept, lists[i].name,
					empty ? json_array() : read_list(decap, &lists[i]))) {
			json_decref(accept);
			return NULL;
		}
	}
	json_object_set_new(accept, "gue_port", json_integer(ntohs(constants.gue_port)));
	return accept;
}
