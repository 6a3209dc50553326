/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Lists of backends, and their checks. */
#include "list.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/printable.h"
#include "common/text.h"

#define JSON_MARKS (1u << 19) /* brackets, colons and commas: 80 MiB of values at most */

void source_list_done(struct source_list *list)
{
	free(list->items);
	for (unsigned i = 0; i < SOURCE_DOCUMENTS; i++)
		free(list->documents[i].bytes);
	*list = (struct source_list){0};
}

size_t source_document_max(enum source_document_kind which)
{
	return which == SOURCE_ROLLOUT || which == SOURCE_LIVE ? SOURCE_RECORD_MAX
							       : SOURCE_DOCUMENT_MAX;
}

int source_document_add(struct source_document *document, size_t most, const char *part,
			size_t length)
{
	if (length > most - document->length)
		return -E2BIG;
	if (!length)
		return 0;
	return add_text(&document->bytes, &document->length, part, length) ? 0 : -ENOMEM;
}

int source_list_add(struct source_list *list, const struct source_item *item)
{
	if (list->count == CONFIG_FROM_MAX)
		return -E2BIG;
	if (list->count == list->room) {
		unsigned room = list->room ? list->room * 2 : 16;
		struct source_item *items = reallocarray(list->items, room, sizeof(*items));

		if (!items)
			return -ENOMEM;
		list->items = items;
		list->room = room;
	}
	list->items[list->count++] = *item;
	return 0;
}

void source_list_ignore(struct source_list *list, const char *format, ...)
{
	va_list args;

	if (list->ignored++)
		return;
	va_start(args, format);
	vsnprintf(list->why, sizeof(list->why), format, args);
	va_end(args);
	make_printable(list->why, false);
}

/* Of one that is named twice the first priority, then the greater weight and then the lowest port
 * is first, and stays: answers of a DNS server turn, and with them it would change all the time. */
static int compare(const void *a, const void *b)
{
	const struct source_item *first = a, *second = b;
	int rc = addr_compare(&first->address, &second->address);

	if (!rc)
		rc = (first->priority > second->priority) - (first->priority < second->priority);
	if (!rc)
		rc = (first->weight < second->weight) - (first->weight > second->weight);
	return rc ? rc : (first->port > second->port) - (first->port < second->port);
}

static void sort(struct source_list *list, bool twice_is_ignored)
{
	unsigned kept = 0;

	if (list->count)
		qsort(list->items, list->count, sizeof(*list->items), compare);
	for (unsigned i = 0; i < list->count; i++) {
		bool again =
		    kept && addr_equal(&list->items[kept - 1].address, &list->items[i].address);
		char address[ADDR_TEXT];

		if (!again)
			list->items[kept++] = list->items[i];
		else if (twice_is_ignored)
			source_list_ignore(list, "%s: named twice",
					   addr_format(&list->items[i].address, address));
	}
	list->count = kept;
}

void source_list_sort(struct source_list *list)
{
	sort(list, true);
}

void source_list_merge(struct source_list *list)
{
	sort(list, false);
}

static bool same_item(const struct source_item *a, const struct source_item *b)
{
	if (!addr_equal(&a->address, &b->address) || a->weight != b->weight ||
	    a->priority != b->priority || a->port != b->port || strcmp(a->name, b->name) != 0 ||
	    strcmp(a->zone, b->zone) != 0 || a->labels_count != b->labels_count)
		return false;
	for (unsigned i = 0; i < a->labels_count; i++)
		if (strcmp(a->labels[i].key, b->labels[i].key) != 0 ||
		    strcmp(a->labels[i].value, b->labels[i].value) != 0)
			return false;
	return true;
}

bool source_list_equal(const struct source_list *a, const struct source_list *b)
{
	if (a->count != b->count || a->ignored != b->ignored)
		return false;
	for (unsigned i = 0; i < a->count; i++)
		if (!same_item(&a->items[i], &b->items[i]))
			return false;
	return true;
}

/* ---- items ---- */

/* RFC 3927. That of IPv6 is none of a host either. */
static bool is_of_link(const struct addr *address)
{
	return address->family == 4 && address->bytes[0] == 169 && address->bytes[1] == 254;
}

static bool can_be_backend(const struct addr *address)
{
	return !addr_why_no_host(address) && !is_of_link(address);
}

bool source_item_init_own(struct source_item *item, const char *address)
{
	memset(item, 0, sizeof(*item)); /* with its holes: it crosses to another process */
	item->weight = SOURCE_WEIGHT;
	return !addr_parse(address, &item->address) && !addr_why_no_host(&item->address);
}

bool source_item_init(struct source_item *item, const char *address)
{
	return source_item_init_own(item, address) && can_be_backend(&item->address);
}

static bool ends(const char *text, size_t size)
{
	return memchr(text, 0, size);
}

static bool labels_are_sound(const struct source_item *item)
{
	for (unsigned i = 0; i < item->labels_count; i++) {
		if (!ends(item->labels[i].key, sizeof(item->labels[i].key)) ||
		    !ends(item->labels[i].value, sizeof(item->labels[i].value)) ||
		    !config_label_key_fits(item->labels[i].key) ||
		    !config_label_value_fits(item->labels[i].value))
			return false;
		for (unsigned j = 0; j < i; j++)
			if (!strcmp(item->labels[i].key, item->labels[j].key))
				return false;
	}
	return true;
}

bool source_item_is_sound(const struct source_item *item)
{
	static const uint8_t zero[12];

	return (item->address.family == 6 ||
		(item->address.family == 4 &&
		 !memcmp(item->address.bytes + 4, zero, sizeof(zero)))) &&
	       can_be_backend(&item->address) && item->weight <= CONFIG_MAX_WEIGHT &&
	       ends(item->name, sizeof(item->name)) &&
	       (!*item->name || config_tag_name_fits(item->name)) &&
	       item->priority <= CONFIG_MAX_PRIORITY && item->port <= UINT16_MAX &&
	       ends(item->zone, sizeof(item->zone)) &&
	       (!*item->zone || config_zone_fits(item->zone)) &&
	       item->labels_count <= CONFIG_LABELS_MAX && labels_are_sound(item);
}

/* ---- fields ---- */

/* Those in texts do not count. */
static bool has_many_values(const char *text, size_t length)
{
	bool in_text = false;
	unsigned marks = 0;

	for (size_t i = 0; i < length; i++) {
		if (text[i] == '"')
			in_text = !in_text;
		else if (in_text)
			i += text[i] == '\\';
		else
			marks += memchr("[{:,", text[i], 4) != NULL;
	}
	return marks > JSON_MARKS;
}

json_t *source_json(const char *text, size_t length, size_t flags)
{
	return has_many_values(text, length) ? NULL : json_loadb(text, length, flags, NULL);
}

const char *source_text(const json_t *value)
{
	const char *text = json_string_value(value);

	return text && strlen(text) == json_string_length(value) ? text : NULL;
}

const char *source_text_in(const json_t *object, const char *key)
{
	return source_text(json_object_get(object, key));
}

uint16_t source_port(const json_t *value)
{
	json_int_t port = json_integer_value(value); /* 0: it is no integer */

	return port > 0 && port <= UINT16_MAX ? (uint16_t)port : 0;
}

static int set_number(const char *key, const json_t *value, uint32_t least, uint32_t most,
		      uint32_t *ret, struct error *err)
{
	json_int_t number = json_integer_value(value);

	if (!json_is_integer(value) || number < least || number > most)
		return error_set(err, -EINVAL, "%s: expected an integer %u to %u", key, least,
				 most);
	*ret = (uint32_t)number;
	return 0;
}

static int set_name(struct source_item *item, const char *name, struct error *err)
{
	if (!name || !config_tag_name_fits(name))
		return error_set(err, -EINVAL, "name: " CONFIG_TAG_NAME_EXPECTED);
	strcpy(item->name, name);
	return 0;
}

static int set_zone(struct source_item *item, const char *zone, struct error *err)
{
	if (!zone || !config_zone_fits(zone))
		return error_set(err, -EINVAL, "zone: " CONFIG_ZONE_EXPECTED);
	strcpy(item->zone, zone);
	return 0;
}

static int add_label(struct source_item *item, const char *key, const char *value,
		     struct error *err)
{
	if (item->labels_count == CONFIG_LABELS_MAX)
		return error_set(err, -EINVAL, "labels: expected at most %d", CONFIG_LABELS_MAX);
	if (!config_label_key_fits(key))
		return error_set(err, -EINVAL, "labels: " CONFIG_LABEL_KEY_EXPECTED);
	if (!value || !config_label_value_fits(value))
		return error_set(err, -EINVAL, "labels: %s: " CONFIG_LABEL_VALUE_EXPECTED, key);
	for (unsigned i = 0; i < item->labels_count; i++)
		if (!strcmp(item->labels[i].key, key))
			return error_set(err, -EINVAL, "labels: %s: given twice", key);
	strcpy(item->labels[item->labels_count].key, key);
	strcpy(item->labels[item->labels_count].value, value);
	item->labels_count++;
	return 0;
}

static int set_labels(struct source_item *item, json_t *labels, struct error *err)
{
	const char *key;
	json_t *value;
	int rc = 0;

	if (!json_is_object(labels))
		return error_set(err, -EINVAL, "labels: expected an object of texts");
	json_object_foreach (labels, key, value) {
		rc = add_label(item, key, source_text(value), err);
		if (rc)
			break;
	}
	return rc;
}

int source_item_read(struct source_item *item, json_t *object, struct error *err)
{
	const char *key;
	json_t *value;
	int rc = 0;

	json_object_foreach (object, key, value) {
		if (!strcmp(key, "weight"))
			rc = set_number(key, value, 0, CONFIG_MAX_WEIGHT, &item->weight, err);
		else if (!strcmp(key, "priority"))
			rc = set_number(key, value, 0, CONFIG_MAX_PRIORITY, &item->priority, err);
		else if (!strcmp(key, "port"))
			rc = set_number(key, value, 1, UINT16_MAX, &item->port, err);
		else if (!strcmp(key, "zone"))
			rc = set_zone(item, source_text(value), err);
		else if (!strcmp(key, "name"))
			rc = set_name(item, source_text(value), err);
		else if (!strcmp(key, "labels"))
			rc = set_labels(item, value, err);
		else if (strcmp(key, "address") != 0)
			rc = error_set(err, -EINVAL,
				       "%.32s: unknown field: expected address, weight, priority, "
				       "port, zone, name or labels",
				       key);
		if (rc)
			break;
	}
	return rc;
}

/* ---- a text of lines: ADDRESS [weight=N] [priority=N] [port=N] [zone=ZONE]
 * [name=NAME] [labels.KEY=VALUE]... ---- */

static int read_number(const char *key, const char *value, uint32_t least, uint32_t most,
		       uint32_t *ret, struct error *err)
{
	char *end;
	unsigned long number = strtoul(value, &end, 10);

	if (*value < '0' || *value > '9' || *end || strlen(value) > 5 || number < least ||
	    number > most)
		return error_set(err, -EINVAL, "%s: %.16s: expected an integer %u to %u", key,
				 value, least, most);
	*ret = (uint32_t)number;
	return 0;
}

static int read_word(struct source_item *item, char *word, struct error *err)
{
	char *value = strchr(word, '=');

	if (value)
		*value++ = 0;
	if (value && !strcmp(word, "name"))
		return set_name(item, value, err);
	if (value && !strncmp(word, "labels.", 7))
		return add_label(item, word + 7, value, err);
	if (value && !strcmp(word, "zone"))
		return set_zone(item, value, err);
	if (value && !strcmp(word, "priority"))
		return read_number(word, value, 0, CONFIG_MAX_PRIORITY, &item->priority, err);
	if (value && !strcmp(word, "weight"))
		return read_number(word, value, 0, CONFIG_MAX_WEIGHT, &item->weight, err);
	if (value && !strcmp(word, "port"))
		return read_number(word, value, 1, UINT16_MAX, &item->port, err);
	return error_set(err, -EINVAL,
			 "%.64s: expected weight=N, priority=N, port=N, zone=ZONE, name=NAME or "
			 "labels.KEY=VALUE",
			 word);
}

static int not_added(int rc, struct error *err)
{
	return rc == -E2BIG ? error_set(err, rc, "expected at most %u backends", CONFIG_FROM_MAX)
	       : rc         ? error_set(err, rc, "out of memory")
			    : 0;
}

static int read_line(char *line, struct source_list *list, struct error *err)
{
	struct source_item item;
	char *rest, *word;
	int rc = 0;

	line[strcspn(line, "#")] = 0;
	word = strtok_r(line, " \t\r", &rest);
	if (!word)
		return 0;
	if (!source_item_init_own(&item, word))
		return error_set(err, -EINVAL, "%.64s: expected the address of a host", word);
	while (!rc && (word = strtok_r(NULL, " \t\r", &rest)))
		rc = read_word(&item, word, err);
	return rc ? rc : not_added(source_list_add(list, &item), err);
}

static int parse_lines(char *text, struct source_list *list, struct error *err)
{
	unsigned number = 1;
	struct error why;
	int rc;

	for (char *line = text, *end; line; line = end, number++) {
		end = strchr(line, '\n');
		if (end)
			*end++ = 0;
		rc = read_line(line, list, &why);
		if (rc)
			return error_set(err, rc, "line %u: %s", number, why.text);
	}
	return 0;
}

/* ---- JSON: [ ADDRESS or { "address", ... } ], or { "backends": that } ---- */

static int read_one(json_t *value, struct source_list *list, struct error *err)
{
	json_t *address = json_is_object(value) ? json_object_get(value, "address") : value;
	const char *text = source_text(address);
	struct source_item item;
	int rc;

	if (!text || !source_item_init_own(&item, text))
		return error_set(err, -EINVAL, "%.64s: expected the address of a host",
				 text ? text : "address");
	rc = json_is_object(value) ? source_item_read(&item, value, err) : 0;
	return rc ? rc : not_added(source_list_add(list, &item), err);
}

static int read_array(json_t *root, struct source_list *list, struct error *err)
{
	json_t *array = json_is_object(root) ? json_object_get(root, "backends") : root, *value;
	struct error why;
	size_t i;
	int rc;

	if (!json_is_array(array))
		return error_set(err, -EINVAL, "expected a list of backends");
	json_array_foreach (array, i, value) {
		rc = read_one(value, list, &why);
		if (rc)
			return error_set(err, rc, "backend %zu: %s", i + 1, why.text);
	}
	return 0;
}

static int parse_json(const char *text, size_t length, struct source_list *list, struct error *err)
{
	json_error_t why;
	json_t *root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &why); /* of this host */
	int rc = root ? read_array(root, list, err)
		      : error_set(err, -EINVAL, "line %d: %s", why.line, why.text);

	json_decref(root);
	return rc;
}

int source_list_parse(const char *text, size_t length, struct source_list *ret, struct error *err)
{
	struct source_list list = {0};
	size_t mark = text_mark(text, length), blank = 0;
	char *copy;
	int rc;

	text += mark;
	length -= mark;
	while (blank < length && strchr(" \t\r\n", text[blank]))
		blank++;
	if (memchr(text, 0, length))
		return error_set(err, -EINVAL, "expected a text, without NUL");
	if (blank < length && (text[blank] == '[' || text[blank] == '{')) {
		rc = parse_json(text, length, &list, err);
	} else {
		copy = strndup(text, length);
		rc =
		    copy ? parse_lines(copy, &list, err) : error_set(err, -ENOMEM, "out of memory");
		free(copy);
	}
	if (rc) {
		source_list_done(&list);
		return rc;
	}
	source_list_sort(&list);
	*ret = list;
	return 0;
}
