/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What sources are told: answers of etcd, Kubernetes, Consul and the DNS, and a file. Whatever they
 * say, it is refused with a reason, or it is a list of hosts as the config could have them, each
 * once, by address. The first byte says which of them it is. */
#include <stdlib.h>
#include <string.h>

#include "lbd/config/config.h"
#include "lbd/sources/answer.h"
#include "lbd/sources/instances.h"
#include "lbd/sources/keys.h"
#include "lbd/sources/slices.h"
#include "fuzz.h"

static void check_list(struct source_list *list)
{
	require(list->count <= CONFIG_FROM_MAX, "%u", list->count);
	require(!list->ignored == !*list->why, "%u ignored: \"%s\"", list->ignored, list->why);
	for (unsigned i = 0; i < list->count; i++) {
		require(source_item_is_sound(&list->items[i]), "item %u", i);
		require(fuzz_is_host(&list->items[i].address), "item %u", i);
		require(!i ||
			    addr_compare(&list->items[i - 1].address, &list->items[i].address) < 0,
			"item %u", i);
	}
}

/* Takes the list. */
static void check(int rc, struct source_list *list, const struct error *err)
{
	if (rc) {
		require(rc < 0 && *err->text, "%d without a reason", rc);
		return;
	}
	check_list(list);
	source_list_done(list);
}

/* ---- etcd, a file, Consul ---- */

static void read_keys(const char *text, size_t length)
{
	struct source_list list = {0};
	struct error err = {0};
	char next[24] = "";
	int rc = keys_read(text, length, "/lbd/", &list, next, &err);

	require(rc || strtoull(next, NULL, 10) > 1, "revision %s", next);
	check(rc, &list, &err);
}

static void read_file(const char *text, size_t length)
{
	struct source_list list = {0};
	struct error err = {0};

	check(source_list_parse(text, length, &list, &err), &list, &err);
}

static void read_instances(const char *text, size_t length)
{
	struct source_list list = {0};
	struct error err = {0};

	instances_index(text);
	check(instances_read(text, length, &list, &err), &list, &err);
}

/* ---- Kubernetes ---- */

static void name_twice(const struct slices *slices)
{
	struct source_list list = {0}, again = {0};
	struct error err = {0};
	int rc = slices_name(slices, &list, &err);

	require(rc == slices_name(slices, &again, &err), "%d", rc);
	if (!rc)
		require(source_list_equal(&list, &again), "another list");
	source_list_done(&again);
	check(rc, &list, &err);
}

/* The first line is a list, the others are events. */
static void read_slices(const char *text, size_t length, bool six)
{
	const struct config_from from = {.service = (char *)"web",
					 .namespace = (char *)"shop",
					 .port = six ? (char *)"http" : NULL,
					 .family = six ? CONFIG_FAMILY_IPV6 : CONFIG_FAMILY_IPV4};
	const char *end = text + length, *line = text, *next;
	struct slices *slices = slices_new(&from);
	struct error err = {0};

	for (bool first = true; line < end; first = false, line = next + 1) {
		int rc;

		next = memchr(line, '\n', (size_t)(end - line));
		next = next ? next : end;
		rc = first ? slices_read_list(slices, line, (size_t)(next - line), &err)
			   : slices_read_event(slices, line, (size_t)(next - line), &err);
		require(rc >= 0 || *err.text, "%d without a reason", rc);
		require(rc < 0 || rc == SLICES_GONE || *slices_version(slices),
			"no version to go on with");
		name_twice(slices);
		if (rc < 0 && !first)
			break;
	}
	slices_free(slices);
}

/* ---- the DNS ---- */

static int found(void *arg, const struct addr *address)
{
	require(address->family == 4 || address->family == 6, "family %u", address->family);
	++*(unsigned *)arg;
	return 0;
}

/* The priorities of an answer are counted from 0, in their order. */
static void expect_ranks(const struct answer_target *targets, int count)
{
	bool first = count <= 0;

	for (int i = 0; i < count; i++) {
		first = first || !targets[i].rank;
		require(targets[i].rank <= CONFIG_MAX_PRIORITY, "rank %u", targets[i].rank);
		for (int j = 0; j < i; j++)
			require((targets[i].priority < targets[j].priority) ==
					(targets[i].rank < targets[j].rank) &&
				    (targets[i].priority == targets[j].priority) ==
					(targets[i].rank == targets[j].rank),
				"targets %d and %d", j, i);
	}
	require(first, "none of rank 0");
}

static void read_answer(const uint8_t *bytes, int length)
{
	struct answer_target targets[ANSWER_TARGETS_MAX];
	uint32_t ttl_s = 0;
	int count = answer_targets(bytes, length, targets, &ttl_s);
	unsigned addresses = 0;

	require(count <= ANSWER_TARGETS_MAX, "%d", count);
	for (int i = 0; i < count; i++)
		require(*targets[i].name, "target %d", i);
	expect_ranks(targets, count);
	for (unsigned i = 0; i < 2; i++)
		if (!answer_addresses(bytes, length, i ? 6 : 4, found, &addresses, &ttl_s))
			require(addresses, "none, and no reason");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;
	size_t length;

	if (!size)
		return 0;
	length = size - 1;
	text = malloc(length + 1);
	memcpy(text, data + 1, length);
	text[length] = 0;
	switch (data[0] % 6) {
	case 0:
		read_keys(text, length);
		break;
	case 1:
		read_slices(text, length, false);
		break;
	case 2:
		read_slices(text, length, true);
		break;
	case 3:
		read_instances(text, length);
		break;
	case 4:
		read_file(text, length);
		break;
	default:
		read_answer(data + 1, (int)length);
	}
	free(text);
	return 0;
}
