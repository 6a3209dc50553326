/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A config in etcd: how it is named, and what a node's own file does to it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lbd/config/config.h"
#include "support/test_file.h"

static struct config_remote remote;
static struct error err;

static void parse(const char *where)
{
	if (config_remote_parse(where, &remote, &err))
		fail_msg("%s", err.text);
}

static void refuse(const char *where, const char *says)
{
	assert_int_equal(config_remote_parse(where, &remote, &err), -EINVAL);
	if (!strstr(err.text, says))
		fail_msg("expected \"%s\" in: %s", says, err.text);
}

/* ---- names ---- */

static void a_url_names_servers_and_a_key(void **unused)
{
	assert_true(config_is_remote("etcd://10.0.0.5/x"));
	assert_false(config_is_remote("/etc/lbd/lbd.yaml"));
	parse("etcd://10.0.0.5,10.0.0.6:2380,[2001:db8::5]:1,[2001:db8::6],2001:db8::7/lbd/config"
	      "?node=lb1");
	assert_string_equal(remote.from.etcd,
			    "http://10.0.0.5:2379 http://10.0.0.6:2380 http://[2001:db8::5]:1 "
			    "http://[2001:db8::6]:2379 http://[2001:db8::7]:2379");
	assert_string_equal(remote.from.prefix, "/lbd/config");
	assert_string_equal(remote.name, "etcd:/lbd/config");
	assert_string_equal(remote.local, CONFIG_LOCAL_PATH);
	assert_string_equal(remote.from.node, "lb1");
	assert_false(remote.named);
	config_remote_done(&remote);
}

static void with_an_authority_it_is_tls(void **unused)
{
	parse("etcd://10.0.0.5/k?ca=/a&cert=/b&key=/c&local=/d&node=x.y-1_2");
	assert_string_equal(remote.from.etcd, "https://10.0.0.5:2379");
	assert_string_equal(remote.from.ca, "/a");
	assert_string_equal(remote.from.cert, "/b");
	assert_string_equal(remote.from.key, "/c");
	assert_string_equal(remote.local, "/d");
	assert_true(remote.named);
	config_remote_done(&remote);
}

static void what_names_no_config_is_refused(void **unused)
{
	refuse("etcd://", "expected a key");
	refuse("etcd://10.0.0.5", "expected a key");
	refuse("etcd://10.0.0.5/", "expected a key");
	refuse("etcd://10.0.0.5/a/", "expected a key");
	refuse("etcd:///key?node=a", "expected 1 to 8 addresses");
	refuse("etcd://etcd.example.net/key?node=a", "expected 1 to 8 addresses");
	refuse("etcd://10.0.0.5:x/key?node=a", "expected 1 to 8 addresses");
	refuse("etcd://1.1.1.1,1.1.1.2,1.1.1.3,1.1.1.4,1.1.1.5,1.1.1.6,1.1.1.7,1.1.1.8,1.1.1.9/k"
	       "?node=a",
	       "expected 1 to 8 addresses");
	refuse("etcd://10.0.0.5/k?tls=on", "tls: expected ca, cert, key, local or node");
	refuse("etcd://10.0.0.5/k?ca=a", "ca: expected a path from /");
	refuse("etcd://10.0.0.5/k?ca", "ca: expected a path from /");
	refuse("etcd://10.0.0.5/k?node=a/b", "node: expected 1 to 64 letters");
	refuse("etcd://10.0.0.5/k?ca=/a&ca=/b", "ca: given twice");
	refuse("etcd://10.0.0.5/k?ca=/a&cert=/b", "both cert and key");
	refuse("etcd://10.0.0.5/k?cert=/a&key=/b", "expected ca");
}

/* ---- this node's own file ---- */

#define FLEET                                                                                \
	"interfaces: [eth0, eth1]\nmetrics: 127.0.0.1:1\nmetrics-hosts: [a]\nhash-seed: 7\n" \
	"limits: { services: 10, flows: 64k }\n"                                             \
	"peers: { nodes: [10.0.0.1, 10.0.0.2], key-file: /etc/lbd/key }\n"                   \
	"defaults: { health: { type: none } }\n"                                             \
	"services: [{ name: web, vip: 192.0.2.1, protocol: tcp, port: 80,\n"                 \
	"  backends: [{ address: 10.0.0.1 }] }]\n"

static char local[] = "/tmp/lbd-node-XXXXXX";
static struct config *config;

static int load(const char *fleet, const char *node)
{
	struct config_remote where = {
	    .local = local, .name = (char *)"etcd:/k", .named = node != NULL};
	struct config_texts texts;
	int rc;

	unlink(local);
	if (node)
		test_file_put(local, node);
	rc = config_remote_texts(&where, fleet, strlen(fleet), &texts, &err);
	if (rc)
		return rc;
	rc = config_parse_texts(&texts, &config, &err);
	config_texts_done(&texts);
	unlink(local);
	return rc;
}

static void load_well(const char *fleet, const char *node)
{
	if (load(fleet, node))
		fail_msg("%s", err.text);
}

static void refuse_texts(const char *fleet, const char *node, const char *says)
{
	assert_int_equal(load(fleet, node), -EINVAL);
	if (!strstr(err.text, says))
		fail_msg("expected \"%s\" in: %s", says, err.text);
}

static void without_a_file_the_text_is_all_there_is(void **unused)
{
	load_well(FLEET, NULL);
	assert_int_equal(config->interfaces_count, 2);
	assert_string_equal(config->metrics, "127.0.0.1:1");
	assert_string_equal(config->socket, "/run/lbd/lbd.sock");
	assert_string_equal(config->services[0].health.type, "none");
	config_free(config);
}

static void a_key_of_the_node_takes_the_place_of_the_same_key(void **unused)
{
	load_well(FLEET, "interfaces: [bond0]\nmetrics: 'off'\nmetrics-hosts: [b, c]\n"
			 "socket: /run/x.sock\nlimits: { backends: 100 }\n");
	assert_int_equal(config->interfaces_count, 1);
	assert_string_equal(config->interfaces[0], "bond0");
	assert_null(config->metrics);
	assert_int_equal(config->metrics_hosts_count, 2);
	assert_string_equal(config->socket, "/run/x.sock");
	assert_int_equal(config->limits.backends, 100);
	assert_int_equal(config->limits.services, 1024); /* the key is replaced as a whole */
	assert_int_equal(config->hash_seed, 7);          /* and others stay */
	assert_int_equal(config->peers.nodes_count, 2);
	assert_int_equal(config->services_count, 1);
	config_free(config);
}

static void where_a_node_is_and_how_it_is_reached_is_its_own(void **unused)
{
	load_well("zone: all\nservices: []\n", "zone: eu-1a\n");
	assert_string_equal(config->zone, "eu-1a");
	config_free(config);
	load_well("zone: all\nservices: []\n", "mode: auto\n");
	assert_string_equal(config->zone, "all");
	config_free(config);
	refuse_texts("api: { listen: x }\nservices: []\n",
		     "\napi: { listen: '10.0.0.5:9470', certificate: /nonexistent/c, key: /k }\n",
		     ":2: api: certificate: /nonexistent/c: ");
	assert_non_null(strstr(err.text, local));
}

/* Of what is not read no mistake counts. */
static void what_a_node_overrules_is_not_read(void **unused)
{
	load_well("interfaces: 7\nunserved: x\nservices: []\n",
		  "interfaces: [eth0]\nunserved: drop\n");
	config_free(config);
	load_well("metrics: unix:/run/a\nservices: []\n", "metrics: 127.0.0.1:2\n");
	assert_null(config->metrics_path);
	assert_int_equal(config->metrics_port, 2);
	config_free(config);
	load_well("interfaces: [eth0]\nservices: []\n", "interfaces: []\n");
	assert_int_equal(config->interfaces_count, 0);
	config_free(config);
}

static void mistakes_name_the_text_that_they_are_in(void **unused)
{
	refuse_texts("services:\n- { name: x }\n", "mode: auto\n", "etcd:/k:2: service x: ");
	refuse_texts("services: []\n", "\nmode: fast\n", ":2: mode: fast: expected auto");
	assert_non_null(strstr(err.text, local));
	refuse_texts("socket: /run/x\nservices: []\n", NULL,
		     "etcd:/k:1: socket: expected only interfaces");
	assert_non_null(strstr(err.text, "socket and state are in the node's own file"));
	refuse_texts("include: conf.d/*.yaml\nservices: []\n", NULL, "etcd:/k:1: include: ");
	refuse_texts("services: []\n", "services: []\n", ":1: services: expected only interfaces");
	refuse_texts("mode: auto\n", NULL, "etcd:/k:1: services: missing");
	refuse_texts("a: [\n", "mode: auto\n", "etcd:/k:2: not YAML");
	refuse_texts("", NULL, "etcd:/k:1: empty");
}

static void a_file_that_was_named_must_be_there(void **unused)
{
	const struct config_remote where = {
	    .local = (char *)"/nonexistent/x", .name = (char *)"etcd:/k", .named = true};
	struct config_texts texts;

	assert_int_equal(config_remote_texts(&where, "", 0, &texts, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/nonexistent/x: cannot open"));
}

static void the_nodes_file_alone_says_where_its_files_are(void **unused)
{
	struct config_remote where = {.local = local, .name = (char *)"etcd:/k", .named = true};

	test_file_put(local, "state: /var/x\n");
	assert_int_equal(config_remote_node(&where, &config, &err), 0);
	assert_string_equal(config->state, "/var/x");
	config_free(config);
	unlink(local);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_url_names_servers_and_a_key),
	    cmocka_unit_test(with_an_authority_it_is_tls),
	    cmocka_unit_test(what_names_no_config_is_refused),
	    cmocka_unit_test(without_a_file_the_text_is_all_there_is),
	    cmocka_unit_test(a_key_of_the_node_takes_the_place_of_the_same_key),
	    cmocka_unit_test(where_a_node_is_and_how_it_is_reached_is_its_own),
	    cmocka_unit_test(what_a_node_overrules_is_not_read),
	    cmocka_unit_test(mistakes_name_the_text_that_they_are_in),
	    cmocka_unit_test(a_file_that_was_named_must_be_there),
	    cmocka_unit_test(the_nodes_file_alone_says_where_its_files_are),
	};
	int fd = mkstemp(local);

	if (fd < 0)
		return 1;
	close(fd);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
