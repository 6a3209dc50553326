/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl import keepalived: what becomes of what, and what is left. */
#include "import_run.h"

#define VIRTUAL  "virtual_server 192.0.2.10 80 { protocol TCP\n"
#define REAL(ip) "real_server " ip " 80 { TCP_CHECK { connect_timeout 3 } }\n"

static void a_virtual_server_becomes_a_service(void **state)
{
	struct result result = convert("keepalived", "! comment\n" VIRTUAL "delay_loop 6\n"
						     "lb_algo wrr\nlb_kind DR\n"
						     "persistence_timeout 50\n"
						     "persistence_granularity 255.255.0.0\n"
						     "real_server 10.0.0.11 80 {\n"
						     "weight 3\nTCP_CHECK {\n"
						     "connect_timeout 2.5\nretry 2\n"
						     "connect_port 8080\n}\n}\n"
						     "sorry_server 10.0.0.99 80\n}\n");
	const struct config_service *service = only(&result);

	assert_string_equal(service->algorithm->name, "weighted-round-robin");
	assert_int_equal(service->forward, LB_FORWARD_L2);
	assert_int_equal(service->affinity_timeout_ms, 50000);
	assert_int_equal(service->mask4, 16);
	assert_string_equal(service->health.type, "tcp");
	assert_int_equal(service->health.port, 8080);
	assert_int_equal(service->health.interval_ms, 6000);
	assert_int_equal(service->health.timeout_ms, 2500);
	assert_int_equal(service->health.rise, 1);
	assert_int_equal(service->health.fall, 3);
	assert_int_equal(service->backends_count, 2);
	assert_false(service->backends[0].backup);
	assert_true(service->backends[1].backup);
	assert_string_equal(address(&service->backends[1].address), "10.0.0.99");
	assert_nothing_left(&result);
	done(&result);
}

/* NAT is what keepalived does where lb_kind says nothing. */
static void masquerading_is_forward_nat(void **state)
{
	struct result result =
	    convert("keepalived", VIRTUAL "lb_algo rr\n"
					  "real_server 10.0.0.11 8080 {\nTCP_CHECK {\n}\n}\n"
					  "sorry_server 10.0.0.99 8081\n}\n");
	const struct config_service *service = only(&result);

	assert_int_equal(service->forward, LB_FORWARD_NAT);
	assert_int_equal(service->backends[0].port, 8080);
	assert_int_equal(service->backends[1].port, 8081);
	assert_int_equal(service->health.port, 0); /* each at its own */
	assert_nothing_left(&result);
	done(&result);
}

static void http_checks_of_keepalived_are_carried_over(void **state)
{
	struct result result = convert("keepalived", VIRTUAL "virtualhost a.example.org\n"
							     "lb_kind TUN\n"
							     "real_server 10.0.0.11 80 {\n"
							     "SSL_GET {\nurl {\n"
							     "path '/a?b=\"c\\\\d\"'\n"
							     "status_code 200-204 301 307-308\n}\n"
							     "nb_get_retry 1\n}\n}\n}\n");
	const struct health_spec *health = &only(&result)->health;

	assert_string_equal(health->type, "https");
	assert_string_equal(health->path, "/a?b=\"c\\d\"");
	assert_string_equal(health->host, "a.example.org");
	assert_int_equal(health->status_min, 200);
	assert_int_equal(health->status_max, 308);
	assert_string_equal(health->status, "200-204,301,307-308");
	assert_int_equal(health->interval_ms, 60000);
	assert_int_equal(health->fall, 2);
	assert_nothing_left(&result);
	done(&result);
}

static void a_virtualhost_that_lbd_takes_for_no_host_is_left(void **state)
{
	struct result result =
	    convert("keepalived", VIRTUAL "virtualhost 2001:db8::10\n"
					  "lb_kind TUN\n"
					  "real_server 10.0.0.11 80 {\n"
					  "HTTP_GET {\nurl {\npath /\n}\n}\n}\n}\n");

	assert_null(only(&result)->health.host);
	assert_left(&result, 1, "host of checks: 2001:db8::10: lbd takes no such value");
	done(&result);
}

static void each_checker_of_keepalived_has_its_check(void **state)
{
	static const struct {
		const char *checker, *type;
		const char *send_hex, *expect, *expect_hex, *name, *record;
		unsigned left;
	} cases[] = {
	    {"TCP_CHECK {\n}", "tcp", .left = 0},
	    {"SMTP_CHECK {\nhelo_name a\n}", "tcp", .expect = "220 "},
	    {"DNS_CHECK {\nname www.example.org\ntype AAAA\n}", "dns", .name = "www.example.org",
	     .record = "AAAA"},
	    {"DNS_CHECK {\n}", "dns", .name = ".", .record = "SOA"},
	    {"DNS_CHECK {\nname a..b\n}", "none", .left = 2},
	    {"PING_CHECK {\n}", "icmp", .left = 0},
	    {"UDP_CHECK {\npayload Ab12f 3\nrequire_reply ff 0\n}", "udp", .send_hex = "Ab120f03",
	     .expect_hex = "ff00"},
	    {"UDP_CHECK {\n}", "none", .left = 1},
	    {"UDP_CHECK {\npayload xyz\n}", "none", .left = 2},
	    {"MISC_CHECK {\nmisc_path x\n}", "tcp", .left = 1},
	    {"BFD_CHECK {\n}", "tcp", .left = 1},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char text[512];
		const struct health_spec *health;
		struct result result;

		snprintf(text, sizeof(text),
			 VIRTUAL "lb_kind DR\nreal_server 10.0.0.11 80 {\n%s\n}\n}\n",
			 cases[i].checker);
		result = convert("keepalived", text);
		health = &only(&result)->health;
		if (strcmp(health->type, cases[i].type) || result.im.left_count != cases[i].left)
			fail_msg("%s: %s\n%s", cases[i].checker, health->type, result.text);
		assert_same_text(health->send_hex, cases[i].send_hex);
		assert_same_text(health->expect, cases[i].expect);
		assert_same_text(health->expect_hex, cases[i].expect_hex);
		assert_same_text(health->name, cases[i].name);
		assert_same_text(health->record, cases[i].record);
		done(&result);
	}
}

static void of_equal_virtual_servers_the_first_stays(void **state)
{
	struct result result =
	    convert("keepalived", VIRTUAL "lb_kind DR\n" REAL("10.0.0.11") "}\n" /* 1..4 */
		    VIRTUAL "lb_kind DR\n" REAL("10.0.0.12") "}\n"               /* 5..8 */
		    VIRTUAL "lb_kind DR\n" REAL("10.0.0.13") "}\n");             /* 9..12 */

	assert_string_equal(address(&only(&result)->backends[0].address), "10.0.0.11");
	assert_left(&result, 5, "service 192.0.2.10:80/tcp: there is one in line 1");
	assert_left(&result, 9, "service 192.0.2.10:80/tcp: there is one in line 1");
	done(&result);
}

static void without_a_protocol_it_is_udp_as_for_keepalived(void **state)
{
	struct result result = convert(
	    "keepalived", "virtual_server 192.0.2.10 53 {\nlb_kind DR\n" REAL("10.0.0.11") "}\n");

	assert_int_equal(only(&result)->protocol, CONFIG_UDP);
	assert_true(has_note(&result, false, 1, "UDP"));
	assert_left(&result, 3, "port 80");
	done(&result);
}

static void notes_about_times_write_them_as_the_config_does(void **state)
{
	struct result result = convert("keepalived", VIRTUAL "lb_kind DR\ndelay_loop 6\n"
							     "real_server 10.0.0.11 80 { TCP_CHECK "
							     "{ connect_timeout 10 } }\n}\n");

	assert_true(has_note(&result, false, 1, "timeout of checks: 10s becomes 4500ms: "));
	assert_int_equal(only(&result)->health.timeout_ms, 4500);
	done(&result);

	result = convert("keepalived", VIRTUAL "lb_kind DR\n" REAL("10.0.0.11") "}\n");
	assert_true(has_note(&result, false, 1, "noticed after up to 123s: "));
	done(&result);
}

static void real_servers_without_a_check_get_none(void **state)
{
	struct result result =
	    convert("keepalived", VIRTUAL "lb_kind DR\nreal_server 10.0.0.11 80 {\n}\n}\n");

	assert_string_equal(only(&result)->health.type, "none");
	assert_nothing_left(&result);
	done(&result);
}

static void checks_that_lbd_has_not_or_that_differ_are_left(void **state)
{
	struct result result =
	    convert("keepalived", VIRTUAL "lb_kind DR\n"
					  "real_server 10.0.0.11 80 {\nMISC_CHECK {\n"
					  "misc_path \"/bin/check } {\"\n}\n}\n" /* 3..7 */
					  "real_server 10.0.0.12 80 {\n}\n"
					  "real_server 10.0.0.13 80 {\nHTTP_GET {\nurl {\n"
					  "digest aa\nregex bb\n}\nbindto 10.0.0.1\n}\n}\n}\n");

	assert_string_equal(only(&result)->health.type, "tcp");
	assert_int_equal(only(&result)->backends_count, 3);
	assert_left(&result, 4, "MISC_CHECK");
	assert_left(&result, 8, "without a check");
	assert_left(&result, 11, "differs");
	assert_left(&result, 13, "digest");
	assert_left(&result, 14, "regex");
	assert_left(&result, 16, "bindto");
	done(&result);
}

static void groups_become_a_service_for_each_address(void **state)
{
	struct result result =
	    convert("keepalived",
		    "virtual_server_group G {\n192.0.2.10 80\n"
		    "192.0.2.20-21 81\n192.0.2.31/30 82\n192.0.2.32/30 83\n"
		    "192.0.2.254-192.0.3.1 84\nfwmark 5\n}\n"
		    "virtual_server group G { protocol TCP\nlb_kind TUN\n" REAL("10.0.0.11") "}\n");
	static const char *const vips[] = {"192.0.2.10",  "192.0.2.20", "192.0.2.21", "192.0.2.32",
					   "192.0.2.33",  "192.0.2.34", "192.0.2.35", "192.0.2.254",
					   "192.0.2.255", "192.0.3.0",  "192.0.3.1"};

	assert_int_equal(result.config->services_count, sizeof(vips) / sizeof(*vips));
	for (size_t i = 0; i < sizeof(vips) / sizeof(*vips); i++)
		assert_string_equal(address(&result.config->services[i].vip), vips[i]);
	assert_left(&result, 4, "192.0.2.31/30");
	assert_left(&result, 7, "fwmark 5");
	done(&result);
}

static void what_keepalived_does_beside_balancing_is_left(void **state)
{
	struct result result = convert(
	    "keepalived", "global_defs {\nnotification_email { a@example.org }\n"
			  "lvs_timeouts tcp 3600 tcpfin 30 udp 40\n}\n"
			  "vrrp_instance VI {\ninterface eth7\n}\n" VIRTUAL
			  "lb_kind DR\nquorum 2\nquorum_up /bin/x\ninhibit_on_failure\n"
			  "frobnicate 3\n" REAL("10.0.0.11") "}\n"
							     "virtual_server fwmark 4 {\n}\n"
							     "virtual_server 192.0.2.9 1 {\n"
							     "protocol SCTP\n}\n");

	assert_int_equal(only(&result)->tcp_idle_ms, 3600000);
	assert_int_equal(only(&result)->udp_idle_ms, 40000);
	assert_int_equal(result.config->interfaces_count, 1);
	assert_string_equal(result.config->interfaces[0], "eth7");
	assert_left(&result, 2, "notification_email");
	assert_left(&result, 5, "docs/pair.md");
	assert_left(&result, 10, "quorum 2");
	assert_left(&result, 11, "quorum_up: one command is run for all events: notify, ");
	assert_left(&result, 12, "inhibit_on_failure");
	assert_left(&result, 13, "frobnicate");
	assert_left(&result, 16, "fwmark 4");
	assert_left(&result, 18, "SCTP");
	assert_non_null(strstr(result.text, "# announce: { file: /run/lbd/vrrp }"));
	done(&result);
}

static void blocks_that_do_not_fit_are_named(void **state)
{
	struct result result = convert("keepalived", "}\n{\n}\n" VIRTUAL "lb_kind DR\n");

	assert_left(&result, 1, "does not begin");
	assert_left(&result, 2, "belongs to nothing");
	assert_left(&result, 4, "does not end");
	assert_int_equal(result.config->services_count, 0);
	done(&result);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_virtual_server_becomes_a_service),
	    cmocka_unit_test(masquerading_is_forward_nat),
	    cmocka_unit_test(http_checks_of_keepalived_are_carried_over),
	    cmocka_unit_test(a_virtualhost_that_lbd_takes_for_no_host_is_left),
	    cmocka_unit_test(each_checker_of_keepalived_has_its_check),
	    cmocka_unit_test(of_equal_virtual_servers_the_first_stays),
	    cmocka_unit_test(without_a_protocol_it_is_udp_as_for_keepalived),
	    cmocka_unit_test(notes_about_times_write_them_as_the_config_does),
	    cmocka_unit_test(real_servers_without_a_check_get_none),
	    cmocka_unit_test(checks_that_lbd_has_not_or_that_differ_are_left),
	    cmocka_unit_test(groups_become_a_service_for_each_address),
	    cmocka_unit_test(what_keepalived_does_beside_balancing_is_left),
	    cmocka_unit_test(blocks_that_do_not_fit_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
