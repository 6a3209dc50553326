/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/state/change.c: what a reload warns of, on plain memory. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lbd/state/internal.h"
#include "support/memory_dataplane.h"
#include "support/test_file.h"

#define HEAD     "metrics: off\n"
#define PEERS    "peers: { nodes: [10.0.0.1, 10.0.0.2], key-file: /etc/lbd/peers.key }\n"
#define SERVICES "services: []\n"
#define BAD_KEY  "peers: key-file: /etc/lbd/peers.key: no key"

static struct event_base *base;
static struct neigh *neigh;
static struct memory_dataplane *memory;
static struct state *state;
static char path[64];
static int keys_rc; /* what reading the keys comes to */

static int check_peers(const struct config_peers *peers, struct error *err)
{
	assert_string_equal(peers->key_file, "/etc/lbd/peers.key");
	return keys_rc ? error_set(err, keys_rc, "%s", BAD_KEY) : 0;
}

static void start(const char *text)
{
	struct state_options options = {.base = base,
					.config_path = path,
					.dataplane = memory->dp,
					.neigh = neigh,
					.check_peers = check_peers};
	struct error err = {0};

	test_file_put(path, text);
	if (config_load(path, &options.config, &err) || state_new(&options, &state, &err))
		fail_msg("%s", err.text);
}

static int set_up(void **unused)
{
	struct error err;

	int fd;

	strcpy(path, "/tmp/lbd-change-XXXXXX");
	fd = mkstemp(path);
	if (fd < 0 || close(fd))
		return -1;
	base = event_base_new();
	if (!base || neigh_new(base, &neigh, &err))
		return -1;
	memory = memory_dataplane_new((struct memory_limits){4, 8, 65536, 64});
	keys_rc = 0;
	return 0;
}

static int tear_down(void **unused)
{
	state_free(state);
	neigh_free(neigh);
	memory_dataplane_free(memory);
	event_base_free(base);
	unlink(path);
	return 0;
}

/* Whether the reload warns of that. */
static bool warns(bool trial, const char *of)
{
	struct sentences warnings = {0};
	struct error err = {0};
	bool has = false;

	state_collect(state, &warnings);
	if (state_reload_as(state, &(struct reload_options){.trial = trial}, NULL, &err))
		fail_msg("%s", err.text);
	state_collect(state, NULL);
	for (unsigned i = 0; i < warnings.count; i++)
		has |= !strcmp(warnings.list[i], of);
	sentences_done(&warnings);
	return has;
}

static void a_reload_and_its_trial_name_a_key_file_that_cannot_be_used(void **unused)
{
	static const char all[] = BAD_KEY "; the keys that were read before stay in force, and lbd "
					  "does not start with this file";

	start(HEAD PEERS SERVICES);
	assert_false(warns(true, all));
	keys_rc = -EINVAL;
	assert_true(warns(true, all));
	assert_true(warns(false, all));
	keys_rc = 0;
	assert_false(warns(false, all));
}

static void so_do_those_that_bring_peers_first(void **unused)
{
	static const char all[] = BAD_KEY "; lbd does not start with this file";

	start(HEAD SERVICES);
	keys_rc = -EINVAL;
	assert_false(warns(true, all));
	test_file_put(path, HEAD PEERS SERVICES);
	assert_true(warns(true, all));
	assert_true(warns(false, all));
	assert_true(warns(false, all)); /* no keys are in force now either */
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    T(a_reload_and_its_trial_name_a_key_file_that_cannot_be_used),
	    T(so_do_those_that_bring_peers_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
