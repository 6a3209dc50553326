/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl import ipvs: what becomes of what, and what is left. */
#include "import_run.h"

#define ONE_SERVER "-a -t 192.0.2.10:80 -r 10.0.0.11:80 -g -w 1\n"

static void each_scheduler_of_ipvs_has_its_algorithm(void **state)
{
	static const struct {
		const char *scheduler, *algorithm;
		uint8_t hash;
		bool left;
	} cases[] = {{"rr", "round-robin", LB_HASH_FULL, false},
		     {"wrr", "weighted-round-robin", LB_HASH_FULL, false},
		     {"lc", "least-conn", LB_HASH_FULL, false},
		     {"wlc", "least-conn", LB_HASH_FULL, false},
		     {"sh", "source-hash", 0, false},
		     {"sh -b sh-port", "maglev", LB_HASH_FULL, false},
		     {"sh -b sh-fallback,sh-port", "maglev", LB_HASH_FULL, false},
		     {"mh", "maglev", 0, false},
		     {"mh -b mh-port", "maglev", LB_HASH_FULL, false},
		     {"fo", "maglev", LB_HASH_FULL, false},
		     {"sed", "least-conn", LB_HASH_FULL, false},
		     {"nq", "least-conn", LB_HASH_FULL, false},
		     {"twos", "least-conn", LB_HASH_FULL, false},
		     {"ovf", "least-conn", LB_HASH_FULL, true},
		     {"dh", "maglev", LB_HASH_FULL, true},
		     {"lblc", "maglev", LB_HASH_FULL, true},
		     {"lblcr", "maglev", LB_HASH_FULL, true},
		     {"strange", "maglev", LB_HASH_FULL, true}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char text[256];
		struct result result;

		snprintf(text, sizeof(text), "-A -t 192.0.2.10:80 -s %s\n" ONE_SERVER,
			 cases[i].scheduler);
		result = convert("ipvs", text);
		assert_string_equal(only(&result)->algorithm->name, cases[i].algorithm);
		if (only(&result)->algorithm->select == LB_SELECT_SLOT)
			assert_int_equal(only(&result)->hash, cases[i].hash);
		assert_int_equal(result.im.left_count, cases[i].left);
		done(&result);
	}
}

static void the_scheduler_of_two_draws_is_compared_with_least_conn(void **state)
{
	struct result result = convert("ipvs", "-A -t 192.0.2.10:80 -s twos\n" ONE_SERVER);

	assert_true(has_note(&result, false, 1, "as least-conn does with more than 16 backends"));
	done(&result);
}

static void each_way_to_a_real_server_has_its_forward(void **state)
{
	static const struct {
		const char *way;
		uint8_t forward;
		unsigned gue_port, left;
	} cases[] = {{"-g", LB_FORWARD_L2, 6080, 0},
		     {"-i", LB_FORWARD_IPIP, 6080, 0},
		     {"-i --tun-type gre", LB_FORWARD_GRE, 6080, 0},
		     {"-i --tun-type gue --tun-port 6635", LB_FORWARD_GUE, 6635, 0},
		     {"-i --tun-type=gue --tun-port=6635 --tun-csum", LB_FORWARD_GUE, 6635, 0},
		     {"-i --tun-type gue", LB_FORWARD_GUE, 6080, 1},
		     {"-m", LB_FORWARD_NAT, 6080, 0},
		     {"", LB_FORWARD_L2, 6080, 0}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char text[256];
		struct result result;

		snprintf(text, sizeof(text),
			 "-A -t 192.0.2.10:80 -s rr\n-a -t 192.0.2.10:80 -r 10.0.0.11:80 %s\n",
			 cases[i].way);
		result = convert("ipvs", text);
		assert_int_equal(only(&result)->forward, cases[i].forward);
		assert_int_equal(result.config->gue_port, cases[i].gue_port);
		assert_int_equal(result.im.left_count, cases[i].left);
		done(&result);
	}
}

static void masquerading_keeps_its_ports(void **state)
{
	struct result result = convert("ipvs", "-A -t 192.0.2.10:80 -s rr\n"
					       "-a -t 192.0.2.10:80 -r 10.0.0.11:8080 -m -w 1\n"
					       "-a -t 192.0.2.10:80 -r 10.0.0.12:80 -m -w 1\n"
					       "-a -t 192.0.2.10:80 -r 10.0.0.13:80 -g -w 1\n"
					       "-a -t 192.0.2.10:80 -r [2001:db8::1]:80 -m\n");
	const struct config_service *service = only(&result);

	assert_int_equal(service->forward, LB_FORWARD_NAT);
	assert_int_equal(service->backends_count, 2);
	assert_int_equal(service->backends[0].port, 8080);
	assert_int_equal(service->backends[1].port, 0);
	assert_left(&result, 4, "forward: l2, but most of its service have nat");
	assert_left(&result, 5,
		    "expected an address of the VIP's family: `forward: nat` changes it with `nat: "
		    "prefix` alone (docs/nat.md)");
	assert_true(has_note(&result, false, 2, "forward: nat: the way of 10.0.0.11 and 1 more"));
	assert_int_equal(result.im.left_count, 2);
	done(&result);
	result = convert("ipvs", "-A -t [2001:db8::10]:80 -s rr\n"
				 "-a -t [2001:db8::10]:80 -r [2001:db8::1]:80 -m\n"
				 "-a -t [2001:db8::10]:80 -r 10.0.0.11:80 -m\n");
	assert_left(&result, 3, "`forward: nat` cannot change it");
	done(&result);
}

static void persistence_becomes_affinity(void **state)
{
	struct result result =
	    convert("ipvs", "-A -t 192.0.2.10:80 -s wlc -p 600 -M 255.255.255.0\n" ONE_SERVER);
	const struct config_service *service = only(&result);

	assert_true(service->affinity);
	assert_int_equal(service->affinity_timeout_ms, 600000);
	assert_int_equal(service->mask4, 24);
	assert_nothing_left(&result);
	done(&result);

	result = convert("ipvs", "-A -t 192.0.2.10:80 -s wlc -p\n" ONE_SERVER);
	assert_int_equal(only(&result)->affinity_timeout_ms, 300000);
	done(&result);

	result = convert("ipvs", "-A -t 192.0.2.10:80 -s wlc -p 5 -M 255.0.255.0\n" ONE_SERVER);
	assert_int_equal(only(&result)->mask4, 32);
	assert_left(&result, 1, "255.0.255.0");
	done(&result);

	result = convert("ipvs", "-A -t [2001:db8::10]:80 -s wlc -p 5 -M 64\n"
				 "-a -t [2001:db8::10]:80 -r [2001:db8:b::11]:80 -g -w 1\n");
	assert_int_equal(only(&result)->mask6, 64);
	assert_nothing_left(&result);
	done(&result);
}

static void times_beyond_the_bounds_of_lbd_are_cut_and_named(void **state)
{
	struct result result = convert("ipvs", "-A -t 192.0.2.10:80 -s wlc -p 86400\n" ONE_SERVER);

	assert_int_equal(only(&result)->affinity_timeout_ms, 8589000);
	assert_true(has_note(&result, false, 1, "8589"));
	assert_true(
	    has_note(&result, false, 1, "persistence: 1d becomes 8589s: lbd takes 3s to 8589s"));
	assert_nothing_left(&result);
	done(&result);
}

static void ipvs_timeouts_are_carried_over(void **state)
{
	struct result result =
	    convert("ipvs", "-A -t 192.0.2.10:80 -s wlc\n" ONE_SERVER "--set 7200 60 20\n");

	assert_int_equal(only(&result)->tcp_idle_ms, 7200000);
	assert_int_equal(only(&result)->udp_idle_ms, 20000);
	done(&result);

	result = convert("ipvs", "-A -t 192.0.2.10:80 -s wlc\n" ONE_SERVER);
	assert_int_equal(only(&result)->tcp_idle_ms, 900000);
	assert_int_equal(only(&result)->udp_idle_ms, 300000);
	done(&result);
}

/* A service with servers 10.0.0.11, 10.0.0.12 and so on of these weights. */
static struct result convert_weights(const char *scheduler, const unsigned long *weights,
				     unsigned count)
{
	char text[512];
	size_t used =
	    (size_t)snprintf(text, sizeof(text), "-A -t 192.0.2.10:80 -s %s\n", scheduler);

	for (unsigned i = 0; i < count; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used,
					 "-a -t 192.0.2.10:80 -r 10.0.0.%u:80 -g -w %lu\n", 11 + i,
					 weights[i]);
	return convert("ipvs", text);
}

static void shares_of_weights_stay(void **state)
{
	static const struct {
		unsigned long weights[2];
		uint32_t got[2];
	} cases[] = {{{1, 1}, {100, 100}},         {{7, 7}, {100, 100}},
		     {{1, 3}, {100, 300}},         {{0, 5}, {0, 100}},
		     {{20, 30}, {20, 30}},         {{20000, 10000}, {10000, 5000}},
		     {{2147483647, 1}, {10000, 1}}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct result result = convert_weights("wlc", cases[i].weights, 2);

		for (unsigned j = 0; j < 2; j++)
			assert_int_equal(only(&result)->backends[j].weight, cases[i].got[j]);
		done(&result);
	}
}

static void schedulers_without_weights_get_none(void **state)
{
	struct result result = convert_weights("lc", (unsigned long[]){9, 3, 0}, 3);
	const struct config_service *service = only(&result);

	assert_int_equal(service->backends[0].weight, 100);
	assert_int_equal(service->backends[1].weight, 100);
	assert_int_equal(service->backends[2].weight, 0);
	assert_nothing_left(&result);
	done(&result);
}

static void weighted_failover_makes_all_but_the_highest_backups(void **state)
{
	struct result result = convert_weights("fo", (unsigned long[]){1, 9, 9}, 3);
	const struct config_service *service = only(&result);

	assert_true(service->backends[0].backup);
	assert_false(service->backends[1].backup);
	assert_true(service->backends[2].backup);
	assert_true(has_note(&result, false, 1, "failover"));
	done(&result);
}

static void a_service_with_two_ways_keeps_the_more_common_one(void **state)
{
	struct result result = convert("ipvs", "-A -t 192.0.2.10:80 -s rr\n"
					       "-a -t 192.0.2.10:80 -r 10.0.0.11:80 -g\n"
					       "-a -t 192.0.2.10:80 -r 10.0.0.12:80 -i\n"
					       "-a -t 192.0.2.10:80 -r 10.0.0.13:80 -i\n");

	assert_int_equal(only(&result)->forward, LB_FORWARD_IPIP);
	assert_int_equal(only(&result)->backends_count, 2);
	assert_left(&result, 2, "10.0.0.11");
	done(&result);
}

static void what_ipvs_has_and_lbd_has_not_is_left_with_its_line(void **state)
{
	struct result result =
	    convert("ipvs", "-A -f 3 -s rr\n"
			    "-a -f 3 -r 10.0.0.11:0 -g -w 1\n"
			    "-A --sctp-service 192.0.2.10:99 -s rr\n"
			    "-A -u 192.0.2.10:53 -s rr -o\n"
			    "-a -u 192.0.2.10:53 -r 10.0.0.11:53 -g -w 1 -x 100 -y 50\n"
			    "-A -t 192.0.2.10:80 -s rr\n"
			    "-a -t 192.0.2.10:80 -r 10.0.0.11:8080 -m -w 1\n"
			    "-A -t 127.0.0.1:80 -s rr\n"
			    "-a -t 127.0.0.1:80 -r 10.0.0.11:80 -g\n"
			    "-A -t 192.0.2.11:80 -s rr\n"
			    "-a -t 192.0.2.11:80 -r 127.0.0.1:80 -g\n"
			    "-a -t 192.0.2.12:80 -r 10.0.0.11:80 -g\n"
			    "-A -t 192.0.2.13:80 -s rr --pe sip\n"
			    "--start-daemon master --mcast-interface eth0\n"
			    "-C\n");
	static const struct {
		unsigned line;
		const char *part;
	} lefts[] = {{1, "firewall mark 3"}, {3, "SCTP"},        {4, "one-packet"},
		     {5, "thresholds"},      {8, "loopback"},    {10, "no backend"},
		     {11, "127.0.0.1"},      {12, "192.0.2.12"}, {13, "persistence engine"},
		     {14, "docs/pair.md"},   {15, "-C"}};

	for (size_t i = 0; i < sizeof(lefts) / sizeof(*lefts); i++)
		assert_left(&result, lefts[i].line, lefts[i].part);
	assert_int_equal(result.config->services_count, 2);
	assert_int_equal(result.config->services[0].protocol, CONFIG_UDP);
	done(&result);
}

static void names_of_ipvs_are_looked_up(void **state)
{
	struct result result = convert("ipvs", "-A -t www.example.org:http -s rr\n"
					       "-a -t www.example.org:http -r web1:http -g -w 1\n"
					       "-a -t www.example.org:http -r nobody:http -g -w 1\n"
					       "-a -t www.example.org:http -r web2:www -g -w 1\n");
	const struct config_service *service = only(&result);

	assert_string_equal(address(&service->vip), "192.0.2.10");
	assert_int_equal(service->port, 80);
	assert_string_equal(address(&service->backends[0].address), "10.0.0.1");
	assert_true(has_note(&result, false, 1, "192.0.2.10"));
	assert_left(&result, 3, "nobody");
	done(&result);
}

static void lines_that_edit_change_what_was_added(void **state)
{
	struct result result = convert(
	    "ipvs", "/sbin/ipvsadm --add-service -t 192.0.2.10:80 --scheduler rr\n" ONE_SERVER
		    "ipvsadm -E -t 192.0.2.10:80 -s sh\n"
		    "ipvsadm -e -t 192.0.2.10:80 -r 10.0.0.11:80 -g -w0\n");

	assert_string_equal(only(&result)->algorithm->name, "source-hash");
	assert_int_equal(only(&result)->backends_count, 1);
	assert_int_equal(only(&result)->backends[0].weight, 0);
	assert_nothing_left(&result);
	done(&result);
}

static void the_listing_of_ipvsadm_is_recognised(void **state)
{
	struct result result = convert("ipvs", "IP Virtual Server version 1.2.1 (size=4096)\n"
					       "Prot LocalAddress:Port Scheduler Flags\n"
					       "TCP  192.0.2.10:80 wlc\n");

	assert_left(&result, 1, "ipvsadm-save -n");
	assert_int_equal(result.im.left_count, 1);
	done(&result);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_scheduler_of_ipvs_has_its_algorithm),
	    cmocka_unit_test(the_scheduler_of_two_draws_is_compared_with_least_conn),
	    cmocka_unit_test(each_way_to_a_real_server_has_its_forward),
	    cmocka_unit_test(masquerading_keeps_its_ports),
	    cmocka_unit_test(persistence_becomes_affinity),
	    cmocka_unit_test(times_beyond_the_bounds_of_lbd_are_cut_and_named),
	    cmocka_unit_test(ipvs_timeouts_are_carried_over),
	    cmocka_unit_test(shares_of_weights_stay),
	    cmocka_unit_test(schedulers_without_weights_get_none),
	    cmocka_unit_test(weighted_failover_makes_all_but_the_highest_backups),
	    cmocka_unit_test(a_service_with_two_ways_keeps_the_more_common_one),
	    cmocka_unit_test(what_ipvs_has_and_lbd_has_not_is_left_with_its_line),
	    cmocka_unit_test(names_of_ipvs_are_looked_up),
	    cmocka_unit_test(lines_that_edit_change_what_was_added),
	    cmocka_unit_test(the_listing_of_ipvsadm_is_recognised),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
