/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/state/overrides.c: run-time changes are read back from disk unchanged, and a broken file
 * is an error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lbd/config/config.h"
#include "lbd/state/overrides.h"
#include "support/test_addr.h"
#include "support/test_file.h"
#include "support/test_log.h"

struct place {
	char directory[64], path[96], temporary[104];
};

static int set_up(void **state)
{
	struct place *place = calloc(1, sizeof(*place));

	strcpy(place->directory, "/tmp/lbd-overrides-XXXXXX");
	if (!mkdtemp(place->directory))
		return -1;
	snprintf(place->path, sizeof(place->path), "%s/overrides.json", place->directory);
	snprintf(place->temporary, sizeof(place->temporary), "%s.tmp", place->path);
	*state = place;
	return 0;
}

static int tear_down(void **state)
{
	struct place *place = *state;

	unlink(place->path);
	unlink(place->temporary);
	rmdir(place->directory);
	free(place);
	return 0;
}

static void missing_file_means_no_changes(void **state)
{
	struct place *place = *state;
	struct overrides overrides = {.count = 5};

	assert_int_equal(overrides_load(place->path, 100, &overrides, NULL), 0);
	assert_int_equal(overrides.count, 0);
}

static void changes_come_back_as_they_were(void **state)
{
	struct place *place = *state;
	struct overrides written = {0}, read;
	struct addr one = test_addr("10.0.0.1"), two = test_addr("2001:db8::2");
	struct override *entry = overrides_get(&written, "web \"shop\"", &one);
	struct stat st;

	entry->has_weight = entry->drain = entry->has_force = true;
	entry->drain_ms = 123456;
	entry->force_ms = 723456;
	entry = overrides_get(&written, "dns", &two);
	entry->has_weight = entry->added = true;
	entry->weight = 10000;
	overrides_get(&written, "dns", &one)->removed = true;
	overrides_get(&written, "web", &one)->undrain = true;
	entry = overrides_get(&written, "web", &two);
	entry->has_weight = entry->added = true;
	entry->origin = ORIGIN_lease;
	entry->ttl_ms = 30000;
	entry->until_ms = 1234567;
	entry->admin = ADMIN_MAINTENANCE;
	entry = overrides_get(&written, "tls", &two);
	entry->has_weight = entry->added = true;
	entry->origin = ORIGIN_source;
	overrides_get(&written, "web", &one)->admin = ADMIN_UP;
	overrides_get(&written, "dns", &two)->admin = ADMIN_DOWN;
	assert_int_equal(overrides_save(&written, place->path, NULL), 0);
	assert_int_not_equal(access(place->temporary, F_OK), 0);
	assert_int_equal(stat(place->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(overrides_load(place->path, 100, &read, NULL), 0);
	assert_int_equal(read.count, 6);
	assert_true(overrides_equal(&read, &written));
	assert_int_equal(overrides_find(&read, "web", &two)->ttl_ms, 30000);
	overrides_find(&read, "web", &two)->until_ms++;
	assert_false(overrides_equal(&read, &written));
	assert_int_equal(overrides_find(&read, "tls", &two)->origin, ORIGIN_source);
	assert_true(overrides_find(&read, "web", &one)->undrain);
	assert_int_equal(overrides_find(&read, "web", &two)->admin, ADMIN_MAINTENANCE);
	entry = overrides_find(&read, "web \"shop\"", &one);
	assert_true(entry->has_weight && entry->drain && !entry->added && !entry->removed);
	assert_int_equal(entry->weight, 0);
	assert_int_equal(entry->drain_ms, 123456);
	assert_true(entry->has_force);
	assert_int_equal(entry->force_ms, 723456);
	entry = overrides_find(&read, "dns", &two);
	assert_false(entry->has_force);
	assert_true(entry->has_weight && !entry->drain && entry->added && !entry->removed);
	assert_int_equal(entry->weight, 10000);
	assert_true(overrides_find(&read, "dns", &one)->removed);
	overrides_done(&read);
	overrides_done(&written);
}

static void names_and_labels_come_back_as_they_were(void **state)
{
	const struct config_label labels[] = {{"zone", "a \"b\""}, {"rack", "7"}};
	struct place *place = *state;
	struct overrides written = {0}, read, copy;
	struct addr one = test_addr("10.0.0.1"), two = test_addr("10.0.0.2");
	struct override *entry = overrides_get(&written, "web", &one);

	entry->has_weight = entry->added = true;
	entry->tag = config_tag_new("web-1", NULL, labels, 2);
	entry = overrides_get(&written, "web", &two);
	entry->has_weight = entry->added = true;
	entry->tag = config_tag_new(NULL, NULL, labels, 1);
	assert_int_equal(overrides_save(&written, place->path, NULL), 0);
	assert_int_equal(overrides_load(place->path, 100, &read, NULL), 0);
	assert_true(overrides_equal(&read, &written));
	assert_string_equal(overrides_find(&read, "web", &one)->tag->name, "web-1");
	assert_int_equal(overrides_copy(&read, &copy), 0);
	overrides_done(&read);
	assert_true(overrides_equal(&copy, &written));
	config_tag_unref(copy.list[1].tag);
	copy.list[1].tag = NULL;
	assert_false(overrides_equal(&copy, &written));
	overrides_done(&copy);
	overrides_done(&written);
}

static void services_come_back_as_they_were(void **state)
{
	struct config_service shop = {.name = (char *)"shop \"1\"",
				      .vip = test_addr("192.0.2.20"),
				      .protocol = CONFIG_TCP,
				      .port = 443},
			      dns = {.name = (char *)"dns",
				     .vip = test_addr("2001:db8::53"),
				     .protocol = CONFIG_UDP};
	struct place *place = *state;
	struct overrides written = {0}, read, copy;

	assert_int_equal(overrides_add_service(&written, &shop, "{\"z\":1,\"a\":[\"\\u2028\"]}"),
			 0);
	assert_int_equal(overrides_add_service(&written, &dns, NULL), 0);
	assert_int_equal(overrides_save(&written, place->path, NULL), 0);
	assert_int_equal(overrides_load(place->path, 100, &read, NULL), 0);
	assert_true(overrides_equal(&read, &written));
	assert_string_equal(read.services[0].added, "{\"z\":1,\"a\":[\"\\u2028\"]}");
	assert_null(read.services[1].added);
	assert_int_equal(overrides_copy(&read, &copy), 0);
	overrides_done(&read);
	assert_true(overrides_equal(&copy, &written));
	assert_ptr_equal(overrides_find_added(&copy, "shop \"1\""), &copy.services[0]);
	assert_null(overrides_find_added(&copy, "dns"));
	overrides_drop_service(&copy, &copy.services[0]);
	assert_false(overrides_equal(&copy, &written));
	assert_string_equal(copy.services[0].service, "dns");
	overrides_done(&copy);
	overrides_done(&written);
}

static void the_order_for_the_node_comes_back_without_any_backend(void **state)
{
	struct place *place = *state;
	struct overrides written = {.node = {.drain = true, .drain_ms = 123456}}, read = {0}, copy;

	for (int withdraw = 0; withdraw < 2; withdraw++) {
		written.node.withdraw = withdraw;
		assert_int_equal(overrides_save(&written, place->path, NULL), 0);
		assert_int_equal(overrides_load(place->path, 100, &read, NULL), 0);
		assert_true(overrides_equal(&written, &read));
		assert_true(read.node.drain);
		assert_int_equal(read.node.withdraw, withdraw);
		assert_int_equal(read.node.drain_ms, 123456);
		assert_int_equal(overrides_copy(&read, &copy), 0);
		assert_true(overrides_equal(&copy, &read));
		copy.node.withdraw = !withdraw;
		assert_false(overrides_equal(&copy, &read));
	}
}

static void a_node_without_a_drain_is_no_order(void **state)
{
	struct place *place = *state;
	struct overrides read;

	test_file_put(place->path,
		      "{\"version\": 1, \"backends\": [], \"node\": {\"drain\": false, "
		      "\"withdraw\": true}}");
	assert_int_equal(overrides_load(place->path, 100, &read, NULL), 0);
	assert_false(read.node.drain || read.node.withdraw);
}

static void no_changes_leave_no_file(void **state)
{
	struct place *place = *state;
	struct overrides none = {0};

	test_file_put(place->path, "{}");
	assert_int_equal(overrides_save(&none, place->path, NULL), 0);
	assert_int_not_equal(access(place->path, F_OK), 0);
	assert_int_equal(overrides_save(&none, place->path, NULL), 0);
}

static void failed_save_keeps_the_old_file(void **state)
{
	struct place *place = *state;
	struct overrides overrides = {0}, read;
	struct addr one = test_addr("10.0.0.1");
	struct error err;

	overrides_get(&overrides, "web", &one)->drain = true;
	assert_int_equal(overrides_save(&overrides, place->path, NULL), 0);
	assert_int_equal(mkdir(place->temporary, 0700), 0); /* blocks the file */
	overrides_get(&overrides, "dns", &one)->drain = true;
	assert_int_not_equal(overrides_save(&overrides, place->path, &err), 0);
	assert_non_null(strstr(err.text, place->path));
	rmdir(place->temporary);
	assert_int_equal(overrides_load(place->path, 100, &read, NULL), 0);
	assert_int_equal(read.count, 1);
	overrides_done(&read);
	overrides_done(&overrides);
}

static void broken_files_are_errors(void **state)
{
	static const struct {
		const char *text, *says;
	} files[] = {
	    {"{", "overrides.json:1"},
	    {"{\"version\": 2, \"backends\": []}", "version 2"},
	    {"{\"version\": 1, \"backends\": [{\"service\": \"web\", \"address\": \"10.0.0.256\"}]}",
	     "entry 0: address: \"10.0.0.256\""},
	    {"{\"version\": 1, \"backends\": [{\"service\": \"web\", \"address\": \"10.0.0.2\", \"weight\": -1}]}",
	     "entry 0: weight: expected an integer 0 to 10000"},
	    {"{\"version\": 1, \"backends\": [{\"service\": \"web\", \"address\": \"10.0.0.2\", \"added\": true}]}",
	     "entry 0: an added backend needs a weight"},
	    {"{\"version\": 1, \"backends\": [], \"tags\": {}}", "tags: expected a list"},
	    {"{\"version\": 1, \"backends\": [], \"tags\": [{\"service\": \"web\", \"address\": \"x\"}]}",
	     "tag 0: address: \"x\": expected an IP address"},
	    {"{\"version\": 1, \"backends\": [{\"service\": \"web\", \"address\": \"10.0.0.2\", \"weight\": 1, \"added\": true, \"name\": \"10.0.0.3\"}]}",
	     "entry 0: name: \"10.0.0.3\": expected 1 to 63 letters"},
	    {"{\"version\": 1, \"backends\": [{\"service\": \"web\", \"address\": \"10.0.0.2\", \"weight\": 1, \"added\": true, \"labels\": {\"a\": 1}}]}",
	     "entry 0: labels: expected an object of at most 8 texts"},
	    {"{\"version\": 1, \"backends\": [], \"states\": 7}", "states: expected a list"},
	    {"{\"version\": 1, \"backends\": [], \"states\": [{\"service\": \"web\", \"address\": \"x\", \"state\": \"up\"}]}",
	     "state 0: address: \"x\": expected an IP address"},
	    {"{\"version\": 1, \"backends\": [], \"states\": [{\"service\": \"web\", \"address\": \"10.0.0.2\", \"state\": \"ready\"}]}",
	     "state 0: state: \"ready\": expected auto, up, down or maintenance"},
	    {"{\"version\": 1, \"backends\": [], \"services\": {}}", "services: expected a list"},
	    {"{\"version\": 1, \"backends\": [], \"services\": [{\"service\": \"web\", \"vip\": \"x\", \"port\": 80, \"protocol\": \"tcp\", \"removed\": true}]}",
	     "service 0: expected an IP address as vip, a port, and tcp or udp"},
	    {"{\"version\": 1, \"backends\": [], \"services\": [{\"service\": \"web\", \"vip\": \"192.0.2.1\", \"port\": 65536, \"protocol\": \"tcp\", \"removed\": true}]}",
	     "service 0: expected an IP address as vip"},
	    {"{\"version\": 1, \"backends\": [], \"services\": [{\"service\": \"web\", \"vip\": \"192.0.2.1\", \"port\": 80, \"protocol\": \"tcp\"}]}",
	     "service 0: expected either added, an object, or removed"},
	    {"{\"version\": 1, \"backends\": [], \"services\": [{\"service\": \"web\", \"vip\": \"192.0.2.1\", \"port\": 80, \"protocol\": \"tcp\", \"removed\": true, \"added\": {}}]}",
	     "service 0: expected either added, an object, or removed"},
	    {"{\"version\": 1, \"backends\": [{\"service\": \"web\", \"address\": \"10.0.0.2\", \"drain\": true, \"name\": \"a\"}]}",
	     "entry 0: name, labels: expected only with an added backend"},
	    {"{\"version\": 1, \"backends\": [], \"origins\": {}}", "origins: expected a list"},
	    {"{\"version\": 1, \"backends\": [], \"origins\": [{\"service\": \"web\", \"address\": \"x\", \"from\": \"lease\"}]}",
	     "origin 0: address: \"x\": expected an IP address"},
	    {"{\"version\": 1, \"backends\": [{\"service\": \"web\", \"address\": \"10.0.0.2\", \"weight\": 1, \"added\": true}], \"origins\": [{\"service\": \"web\", \"address\": \"10.0.0.2\", \"from\": \"lease\", \"ttl_ms\": 1}]}",
	     "origin 0: ttl_ms, until_ms: expected both, and a ttl of 1 s to a year"},
	};
	struct place *place = *state;

	for (unsigned i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		struct overrides untouched = {.count = 5};
		struct error err = {0};

		test_file_put(place->path, files[i].text);
		assert_int_equal(overrides_load(place->path, 100, &untouched, &err), -EINVAL);
		assert_int_equal(untouched.count, 5);
		if (!strstr(err.text, files[i].says))
			fail_msg("\"%s\" lacks \"%s\"", err.text, files[i].says);
	}
}

/* Of the first lbd, which refused each other key in an entry: all its drains were lost. */
static void an_entry_has_only_keys_that_every_lbd_knows(void **state)
{
	static const char *const known[] = {"service",  "address", "weight",  "drain",  "drain_ms",
					    "force_ms", "added",   "removed", "undrain"};
	const struct config_label label = {"zone", "a"};
	struct place *place = *state;
	struct overrides written = {0};
	struct addr one = test_addr("10.0.0.1");
	struct override *entry = overrides_get(&written, "web", &one);
	json_t *root, *item, *value;
	const char *key;

	entry->has_weight = entry->added = entry->drain = entry->has_force = entry->undrain = true;
	entry->drain_ms = entry->force_ms = 1;
	entry->tag = config_tag_new("web-1", "a", &label, 1);
	entry->priority = 1;
	entry->port = 8081;
	entry->target.port = 8080;
	entry->admin = ADMIN_MAINTENANCE;
	entry->origin = ORIGIN_lease;
	entry->ttl_ms = 30000;
	entry->until_ms = 1;
	assert_int_equal(overrides_save(&written, place->path, NULL), 0);
	root = json_load_file(place->path, 0, NULL);
	item = json_array_get(json_object_get(root, "backends"), 0);
	json_object_foreach (item, key, value) {
		bool found = false;

		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			found |= !strcmp(known[i], key);
		if (!found)
			fail_msg("%s", key);
	}
	assert_int_equal(json_array_size(json_object_get(root, "tags")), 1);
	assert_int_equal(json_array_size(json_object_get(root, "places")), 1);
	assert_int_equal(json_array_size(json_object_get(root, "states")), 1);
	assert_int_equal(json_array_size(json_object_get(root, "origins")), 1);
	json_decref(root);
	overrides_done(&written);
}

static void places_come_back_as_they_were(void **state)
{
	const struct config_label label = {"rack", "7"};
	struct place *place = *state;
	struct overrides written = {0}, read;
	struct addr address[3] = {test_addr("10.0.0.1"), test_addr("10.0.0.2"),
				  test_addr("10.0.0.3")};

	for (unsigned i = 0; i < 3; i++) {
		struct override *entry = overrides_get(&written, "web", &address[i]);

		entry->has_weight = entry->added = true;
	}
	written.list[0].tag = config_tag_new("web-1", "eu-1", &label, 1);
	written.list[0].priority = 7;
	written.list[1].tag = config_tag_new(NULL, "eu-2", NULL, 0);
	written.list[1].backup = true;
	written.list[1].port = 8081;
	written.list[2].target = (struct config_target){
	    .port = 8080, .agent_port = 9, .address = test_addr("2001:db8::1")};
	assert_int_equal(overrides_save(&written, place->path, NULL), 0);
	assert_int_equal(overrides_load(place->path, 100, &read, NULL), 0);
	assert_true(overrides_equal(&read, &written));
	read.list[0].priority = 6;
	assert_false(overrides_equal(&read, &written));
	read.list[0].priority = 7;
	read.list[1].backup = false;
	assert_false(overrides_equal(&read, &written));
	read.list[1].backup = true;
	read.list[1].port = 8082;
	assert_false(overrides_equal(&read, &written));
	read.list[1].port = 8081;
	read.list[2].target.port = 0;
	assert_false(overrides_equal(&read, &written));
	overrides_done(&read);
	overrides_done(&written);
}

static void places_that_cannot_be_are_refused(void **state)
{
	static const char *const wrong[] = {"\"priority\": 8",
					    "\"priority\": -1",
					    "\"zone\": \"a b\"",
					    "\"priority\": 1, \"backup\": true",
					    "\"health\": {\"port\": 65536}",
					    "\"health\": {\"address\": \"a\"}",
					    "\"health\": []"};
	struct place *place = *state;
	struct overrides read;
	struct error err;
	char text[512];

	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		snprintf(text, sizeof(text),
			 "{\"version\": 1, \"backends\": [{\"service\": \"web\", \"address\": "
			 "\"10.0.0.1\", \"weight\": 1, \"added\": true}], \"places\": [{"
			 "\"service\": \"web\", \"address\": \"10.0.0.1\", %s}]}",
			 wrong[i]);
		test_file_put(place->path, text);
		if (overrides_load(place->path, 100, &read, &err) != -EINVAL)
			fail_msg("%s", wrong[i]);
		assert_non_null(strstr(err.text, "place 0: expected an IP address, a zone"));
	}
}

/* As the lbd of a week wrote it. */
static void names_beside_the_other_keys_of_an_entry_are_read(void **state)
{
	struct place *place = *state;
	struct addr one = test_addr("10.0.0.1");
	struct overrides read;

	test_file_put(place->path, "{\"version\": 1, \"backends\": [{\"service\": \"web\", "
				   "\"address\": \"10.0.0.1\", \"weight\": 1, \"added\": true, "
				   "\"name\": \"web-1\"}]}");
	assert_int_equal(overrides_load(place->path, 100, &read, NULL), 0);
	assert_string_equal(overrides_find(&read, "web", &one)->tag->name, "web-1");
	overrides_done(&read);
}

/* Reads what a newer lbd wrote: this one key of it is not known. The copy of it is dropped. */
static void load_newer(struct place *place, const char *text, const char *key,
		       struct overrides *ret)
{
	static struct test_log log;
	char newer[128], says[128];

	snprintf(newer, sizeof(newer), "%s.newer", place->path);
	snprintf(says, sizeof(says), ": 1 key that this lbd does not know, such as \"%s\"", key);
	test_file_put(place->path, text);
	test_log_begin(&log);
	assert_int_equal(overrides_load(place->path, 100, ret, NULL), 0);
	assert_non_null(strstr(test_log_end(&log), says));
	unlink(newer);
}

static void a_backend_of_an_origin_that_is_not_known_is_as_one_added_by_hand(void **state)
{
	struct addr one = test_addr("10.0.0.1");
	struct overrides read;

	load_newer(*state,
		   "{\"version\": 1, \"backends\": [{\"service\": \"web\", \"address\": "
		   "\"10.0.0.1\", \"weight\": 1, \"added\": true, \"drain\": true}], "
		   "\"origins\": [{\"service\": \"web\", \"address\": \"10.0.0.1\", \"from\": "
		   "\"star\"}, {\"service\": \"web\", \"address\": \"10.0.0.2\", \"from\": "
		   "\"lease\"}]}",
		   "star", &read);
	assert_int_equal(read.count, 1);
	assert_int_equal(overrides_find(&read, "web", &one)->origin, ORIGIN_config);
	assert_true(overrides_find(&read, "web", &one)->drain);
	overrides_done(&read);
}

static void what_a_newer_lbd_wrote_is_ignored_named_and_kept(void **state)
{
	static const char text[] =
	    "{\"version\": 1, \"rings\": {}, \"backends\": [{\"service\": \"web\", \"address\": "
	    "\"10.0.0.2\", \"drain\": true, \"pa\\u001bused\": 1}], \"tags\": [{\"service\": "
	    "\"web\", \"address\": \"10.0.0.2\", \"name\": \"a\", \"colour\": 1}], \"services\": [{"
	    "\"service\": \"dns\", \"vip\": \"192.0.2.1\", \"port\": 53, \"protocol\": \"udp\", "
	    "\"removed\": true, \"why\": \"\"}], \"node\": {\"drain\": true, \"until\": 1}}";
	struct place *place = *state;
	struct addr two = test_addr("10.0.0.2");
	struct overrides read;
	static struct test_log log;
	char newer[128], kept[1024] = "";
	FILE *file;

	snprintf(newer, sizeof(newer), "%s.newer", place->path);
	test_file_put(place->path, text);
	test_log_begin(&log);
	assert_int_equal(overrides_load(place->path, 100, &read, NULL), 0);
	assert_non_null(strstr(test_log_end(&log),
			       ": 5 keys that this lbd does not know, such as "
			       "\"rings\", as a newer one writes them: they have "
			       "no effect, and the next run-time change loses "
			       "them; the file is kept as "));
	assert_true(overrides_find(&read, "web", &two)->drain);
	assert_null(overrides_find(&read, "web", &two)->tag);
	assert_true(read.node.drain);
	assert_int_equal(read.services_count, 1);
	assert_int_equal(overrides_save(&read, place->path, NULL), 0);
	file = fopen(newer, "r");
	assert_non_null(file);
	assert_int_equal(fread(kept, 1, sizeof(kept), file), sizeof(text) - 1);
	fclose(file);
	assert_string_equal(kept, text);
	unlink(newer);
	overrides_done(&read);
}

/* A key that is not known there must not cost the drains. */
static void where_a_newer_lbd_checks_a_backend_is_read_as_far_as_it_is_known(void **state)
{
	struct addr one = test_addr("10.0.0.1");
	struct overrides read;

	load_newer(*state,
		   "{\"version\": 1, \"backends\": [{\"service\": \"web\", \"address\": "
		   "\"10.0.0.1\", \"weight\": 1, \"added\": true, \"drain\": true}], "
		   "\"places\": [{\"service\": \"web\", \"address\": \"10.0.0.1\", "
		   "\"health\": {\"port\": 81, \"path\": \"/\"}}]}",
		   "path", &read);
	assert_true(overrides_find(&read, "web", &one)->drain);
	assert_int_equal(overrides_find(&read, "web", &one)->target.port, 81);
	overrides_done(&read);
}

static void entries_beyond_the_most_are_dropped(void **state)
{
	struct place *place = *state;
	struct overrides read;

	test_file_put(place->path,
		      "{\"version\": 1, \"backends\": ["
		      "{\"service\": \"web\", \"address\": \"10.0.0.1\", \"drain\": true},"
		      "{\"service\": \"web\", \"address\": \"10.0.0.2\", \"drain\": true},"
		      "{\"service\": \"web\", \"address\": \"10.0.0.3\", \"drain\": true}]}");
	assert_int_equal(overrides_load(place->path, 2, &read, NULL), 0);
	assert_int_equal(read.count, 2);
	overrides_done(&read);
}

static void lists_are_equal_only_with_the_same_values(void **state)
{
	struct overrides one = {0}, two;
	struct addr there = test_addr("10.0.0.1");

	overrides_get(&one, "web", &there)->drain = true;
	assert_int_equal(overrides_copy(&one, &two), 0);
	assert_true(overrides_equal(&one, &two));
	two.list[0].drain_ms = 5;
	assert_false(overrides_equal(&one, &two));
	two.list[0].drain_ms = 0;
	two.list[0].admin = ADMIN_DOWN;
	assert_false(overrides_equal(&one, &two));
	overrides_drop(&two, &two.list[0]);
	assert_false(overrides_equal(&one, &two));
	overrides_done(&one);
	overrides_done(&two);
}

/* A backend of the file, and what is left of an entry beside it. */
static void what_the_file_says_too_needs_no_entry(void **state)
{
	const struct config_backend plain = {.weight = 100}, drained = {.weight = 7, .drain = true};
	const struct {
		struct override entry;
		const struct config_backend *file;
		bool dropped;
	} cases[] = {
	    {{.has_weight = true, .weight = 100}, &plain, true},
	    {{.has_weight = true, .weight = 100}, &drained, false},
	    {{.drain = true}, &plain, false},
	    {{.drain = true}, &drained, true},
	    {{.drain = true, .has_force = true}, &drained, false}, /* the deadline is not there */
	    {{.undrain = true}, &drained, false},
	    {{.undrain = true}, &plain, true},
	    {{.admin = ADMIN_MAINTENANCE}, &plain, false}, /* the file has no states */
	    {{.removed = true}, &plain, false},
	    {{.removed = true}, NULL, true},
	    {{.has_weight = true, .weight = 100}, NULL, false}, /* an added backend */
	};
	struct addr there = test_addr("10.0.0.1");

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct overrides list = {0};
		struct override *entry = overrides_get(&list, "web", &there);
		char *name = entry->service;

		*entry = cases[i].entry;
		entry->service = name;
		entry->address = there;
		if (overrides_tidy(&list, entry, cases[i].file) != cases[i].dropped)
			fail_msg("case %zu", i);
		assert_int_equal(list.count, !cases[i].dropped);
		overrides_done(&list);
	}
}

/* A file that the next start would refuse loses every change that is in it. */
static void more_than_can_be_read_again_is_not_written(void **state)
{
	struct place *place = *state;
	struct overrides overrides = {0};
	const struct config_service service = {.name = (char *)"web",
					       .vip = test_addr("192.0.2.1")};
	const size_t length = 1 << 20;
	char *added = malloc(length + 16);
	struct error err;
	int rc;

	assert_non_null(added);
	strcpy(added, "{\"name\":\"");
	memset(added + strlen(added), 'x', length);
	strcpy(added + length, "\"}");
	for (unsigned i = 0; i < 17; i++) {
		assert_int_equal(overrides_add_service(&overrides, &service, added), 0);
		rc = overrides_save(&overrides, place->path, &err);
		if (rc)
			break;
	}
	assert_int_equal(rc, -EFBIG);
	overrides_done(&overrides);
	assert_int_equal(overrides_load(place->path, 100, &overrides, &err), 0);
	assert_int_equal(overrides.services_count, 15);
	overrides_done(&overrides);
	free(added);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(missing_file_means_no_changes, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(changes_come_back_as_they_were, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(places_come_back_as_they_were, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(places_that_cannot_be_are_refused, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(names_and_labels_come_back_as_they_were, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(services_come_back_as_they_were, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(the_order_for_the_node_comes_back_without_any_backend,
					    set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_node_without_a_drain_is_no_order, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(no_changes_leave_no_file, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(more_than_can_be_read_again_is_not_written, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(failed_save_keeps_the_old_file, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(broken_files_are_errors, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(an_entry_has_only_keys_that_every_lbd_knows, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(names_beside_the_other_keys_of_an_entry_are_read,
					    set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
		a_backend_of_an_origin_that_is_not_known_is_as_one_added_by_hand, set_up,
		tear_down),
	    cmocka_unit_test_setup_teardown(
		where_a_newer_lbd_checks_a_backend_is_read_as_far_as_it_is_known, set_up,
		tear_down),
	    cmocka_unit_test_setup_teardown(what_a_newer_lbd_wrote_is_ignored_named_and_kept,
					    set_up, tear_down),
	    cmocka_unit_test_setup_teardown(entries_beyond_the_most_are_dropped, set_up, tear_down),
	    cmocka_unit_test(lists_are_equal_only_with_the_same_values),
	    cmocka_unit_test(what_the_file_says_too_needs_no_entry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
