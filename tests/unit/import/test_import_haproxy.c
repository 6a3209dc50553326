/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl import haproxy: what becomes of what, and what is left. */
#include "import_run.h"

static void a_listen_section_becomes_a_service(void **state)
{
	struct result result = convert(
	    "haproxy", "defaults\nmode tcp\ntimeout client 30m\ntimeout server 1m\n"
		       "default-server inter 3s fall 2\n"
		       "listen sql\nbind 192.0.2.30:3306 interface eth3\nbalance leastconn\n"
		       "stick-table type ip size 1m expire 20m\nstick on src,ipmask(24)\n"
		       "server a 10.0.0.1:3306 check weight 30 slowstart 10s\n"
		       "server b 10.0.0.2:3306 check weight 60 backup\n"
		       "server c 10.0.0.3:3306 check weight 60 disabled\n");
	const struct config_service *service = only(&result);

	assert_string_equal(service->name, "sql");
	assert_string_equal(service->algorithm->name, "least-conn");
	assert_int_equal(service->forward, LB_FORWARD_IPIP);
	assert_int_equal(service->affinity_timeout_ms, 1200000);
	assert_int_equal(service->mask4, 24);
	assert_int_equal(service->tcp_idle_ms, 1800000);
	assert_int_equal(service->slow_start_ms, 10000);
	assert_string_equal(service->health.type, "tcp");
	assert_int_equal(service->health.interval_ms, 3000);
	assert_int_equal(service->health.fall, 2);
	assert_int_equal(service->backends[0].weight, 30);
	assert_true(service->backends[1].backup);
	assert_true(service->backends[2].drain);
	assert_string_equal(result.config->interfaces[0], "eth3");
	assert_nothing_left(&result);
	done(&result);
}

static void each_balance_of_haproxy_has_its_algorithm(void **state)
{
	static const struct {
		const char *balance, *algorithm;
		bool left;
	} cases[] = {{"roundrobin", "weighted-round-robin", false},
		     {"static-rr", "weighted-round-robin", false},
		     {"leastconn", "least-conn", false},
		     {"source", "source-hash", false},
		     {"hash src", "source-hash", false},
		     {"random", "least-conn", false},
		     {"random(3)", "least-conn", false},
		     {"first", "maglev", true},
		     {"uri", "maglev", true},
		     {"rdp-cookie(mstshash)", "maglev", true}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char text[256];
		struct result result;

		snprintf(text, sizeof(text),
			 "listen l\nbind 192.0.2.10:80\nbalance %s\nserver a 10.0.0.1\n",
			 cases[i].balance);
		result = convert("haproxy", text);
		assert_string_equal(only(&result)->algorithm->name, cases[i].algorithm);
		assert_int_equal(result.im.left_count, cases[i].left);
		done(&result);
	}
}

static void each_bind_and_port_becomes_a_service(void **state)
{
	struct result result =
	    convert("haproxy", "frontend f\nbind 192.0.2.30:80,192.0.2.31:81\nbind *:82\n"
			       "bind 192.0.2.32:8000-8002\nbind [2001:db8::1]:83\nbind :::84\n"
			       "bind 192.0.2.33:443 ssl crt x.pem\nbind /run/x.sock\n"
			       "default_backend b\nbackend b\nserver a 10.0.0.1\n");
	static const struct {
		const char *vip;
		uint16_t port;
	} wanted[] = {{"192.0.2.30", 80},   {"192.0.2.31", 81},   {"192.0.2.10", 82},
		      {"192.0.2.32", 8000}, {"192.0.2.32", 8001}, {"192.0.2.32", 8002},
		      {"2001:db8::1", 83}};

	assert_int_equal(result.config->services_count, sizeof(wanted) / sizeof(*wanted));
	for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
		assert_string_equal(address(&result.config->services[i].vip), wanted[i].vip);
		assert_int_equal(result.config->services[i].port, wanted[i].port);
	}
	assert_left(&result, 6, "--vip");
	assert_left(&result, 7, "TLS");
	assert_left(&result, 8, "/run/x.sock");
	done(&result);
}

static void http_checks_of_haproxy_are_carried_over(void **state)
{
	struct result result = convert(
	    "haproxy",
	    "listen l\nbind 192.0.2.10:443\noption httpchk GET /up HTTP/1.1\\r\\nHost:\\ a.example\n"
	    "http-check expect status 200-204\ntimeout connect 500\ntimeout check 1s\n"
	    "server a 10.0.0.1:443 check check-ssl port 8443 inter 4s rise 1 fall 5\n"
	    "server b 10.0.0.2:443 check check-ssl port 8443 inter 4s rise 1 fall 5\n");
	const struct health_spec *health = &only(&result)->health;

	assert_string_equal(health->type, "https");
	assert_int_equal(health->port, 8443);
	assert_string_equal(health->path, "/up");
	assert_string_equal(health->host, "a.example");
	assert_int_equal(health->status_min, 200);
	assert_int_equal(health->status_max, 204);
	assert_int_equal(health->interval_ms, 4000);
	assert_int_equal(health->timeout_ms, 1500);
	assert_int_equal(health->rise, 1);
	assert_int_equal(health->fall, 5);
	assert_nothing_left(&result);
	done(&result);
}

static void checks_that_look_into_answers_are_carried_over(void **state)
{
	static const struct {
		const char *lines, *type;
		const char *send, *expect, *send_hex, *expect_hex, *method, *body, *status,
		    *headers;
		unsigned left;
	} cases[] = {
	    {"option redis-check", "tcp", .send = "PING\r\n", .expect = "+PONG"},
	    {"option smtpchk HELO a", "tcp", .expect = "220 "},
	    {"option ssl-hello-chk", "tls", .left = 0},
	    {"option tcp-check\ntcp-check send \"A\\tB\\r\\n\"\ntcp-check expect string +OK", "tcp",
	     .send = "A\tB\r\n", .expect = "+OK"},
	    {"option tcp-check\ntcp-check send-binary 0aff\ntcp-check expect binary 00", "tcp",
	     .send_hex = "0aff", .expect_hex = "00"},
	    {"option tcp-check\ntcp-check expect string a\ntcp-check send b", "tcp", .expect = "a",
	     .left = 1},
	    {"option tcp-check\ntcp-check expect rstring ^a", "tcp", .left = 1},
	    {"option tcp-check\ntcp-check expect string caf\xc3\xa9", "tcp", .left = 1},
	    {"option httpchk HEAD /x\nhttp-check expect string up", "http", .body = "up"},
	    {"option httpchk HEAD /x HTTP/1.0", "http", .method = "HEAD"},
	    {"option httpchk\nhttp-check send meth OPTIONS uri /y hdr X-A b", "http",
	     .method = "OPTIONS", .headers = "X-A: b"},
	    {"option httpchk\nhttp-check expect status 200,204,301-308", "http",
	     .status = "200,204,301-308"},
	    {"option httpchk\nhttp-check expect status 204,99,20x,205", "http", .status = "204,205",
	     .left = 2},
	    {"option httpchk\nhttp-check send hdr Host a.b hdr X-A \"b: \\\"c\\\"\" hdr X-B ''",
	     "http", .headers = "X-A: b: \"c\"\nX-B: "},
	    {"option httpchk\nhttp-check send hdr X-A b hdr x-a c hdr X-B %[date] hdr \"X C\" d",
	     "http", .headers = "x-a: c", .left = 2},
	    {"option httpchk GET / HTTP/1.1\\r\\nX-A:\\ b\\ \\r\\nHost:\\ a.b\\r\\nbad", "http",
	     .headers = "X-A: b", .left = 1},
	    {"option tcp-check\nhttp-check send hdr X-A b", "tcp", .left = 0},
	    {"option mysql-check", "tcp", .left = 1},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char text[512];
		const struct health_spec *health;
		struct result result;

		snprintf(text, sizeof(text),
			 "listen l\nbind 192.0.2.10:80\n%s\nserver a 10.0.0.1 check\n",
			 cases[i].lines);
		result = convert("haproxy", text);
		health = &only(&result)->health;
		if (strcmp(health->type, cases[i].type) || result.im.left_count != cases[i].left)
			fail_msg("%s: %s\n%s", cases[i].lines, health->type, result.text);
		assert_same_text(health->send, cases[i].send);
		assert_same_text(health->send_hex, cases[i].send_hex);
		assert_same_text(health->expect, cases[i].expect);
		assert_same_text(health->expect_hex, cases[i].expect_hex);
		assert_same_text(health->method, cases[i].method);
		assert_same_text(health->body, cases[i].body);
		assert_same_text(health->status, cases[i].status);
		assert_same_text(health->headers, cases[i].headers);
		done(&result);
	}
}

/* What lbd has no room for is left, and the rest stays. */
static void lists_of_checks_end_where_lbds_end(void **state)
{
	char text[8192];
	size_t length = (size_t)snprintf(text, sizeof(text),
					 "listen l\nbind 192.0.2.10:80\noption httpchk\n"
					 "http-check expect status 200");
	struct result result;

	for (unsigned i = 0; i < 32; i++)
		length += (size_t)snprintf(text + length, sizeof(text) - length, ",%u", 300 + i);
	length += (size_t)snprintf(text + length, sizeof(text) - length, "\nhttp-check send");
	for (unsigned i = 0; i < 17; i++)
		length += (size_t)snprintf(text + length, sizeof(text) - length, " hdr X-%u %0*u",
					   i, i == 2 ? 2100 : 1, i);
	snprintf(text + length, sizeof(text) - length, "\nserver a 10.0.0.1 check\n");
	result = convert("haproxy", text);
	assert_null(only(&result)->health.status);
	assert_non_null(strstr(only(&result)->health.headers, "X-1: 1\nX-3: 3\n"));
	assert_left(&result, 5, "header X-16: lbd's checks send up to 16");
	assert_left(&result, 2, "header of checks: X-2: 000");
	assert_left(&result, 2, "status of checks: 200,300,301,");
	assert_int_equal(result.im.left_count, 3);
	done(&result);
}

static void a_proxy_for_http_is_left_with_what_it_needs_of_layer_7(void **state)
{
	struct result result =
	    convert("haproxy", "frontend f\nacl a path_beg /x\nhttp-request deny if a\n"
			       "bind 192.0.2.10:80\nmode http\nuse_backend b if a\n"
			       "default_backend b\nbackend b\nmode http\n"
			       "server a 10.0.0.1:80 cookie x\nlisten s\nmode http\nbind :81\n"
			       "stats enable\n");

	assert_int_equal(result.config->services_count, 0);
	assert_left(&result, 1, "acl (line 2), http-request (line 3), use_backend (line 6)");
	assert_left(&result, 8, "mode http");
	assert_left(&result, 11, "lbctl top");
	assert_int_equal(result.im.left_count, 3);
	done(&result);
}

static void servers_on_other_ports_are_behind_nat(void **state)
{
	struct result result =
	    convert("haproxy", "listen l\nmode tcp\nbind 192.0.2.10:80\n"
			       "server a 10.0.0.1:8080 check\nserver b 10.0.0.2:80 check\n"
			       "server c 10.0.0.3 check\n");
	const struct config_service *service = only(&result);

	assert_int_equal(service->forward, LB_FORWARD_NAT);
	assert_int_equal(service->backends[0].port, 8080);
	assert_int_equal(service->backends[1].port, 0);
	assert_int_equal(service->backends[2].port, 0);
	assert_nothing_left(&result);
	assert_true(has_note(&result, false, 4, "forward: nat: the way of 10.0.0.1 and 2 more"));
	done(&result);
	result = convert("haproxy", "listen l\nmode tcp\nbind 192.0.2.10:80\n"
				    "server a 10.0.0.1:80 check\nserver b 10.0.0.2 check\n");
	assert_int_equal(only(&result)->forward, LB_FORWARD_IPIP);
	done(&result);
}

static void what_haproxy_has_and_lbd_has_not_is_left_with_its_line(void **state)
{
	struct result result = convert(
	    "haproxy", "listen l\nmode tcp\nbind 192.0.2.10:80\nmaxconn 100\n"
		       "tcp-request connection reject if { src 10.0.0.0/8 }\n"
		       "use_backend x if { req.ssl_sni a }\noption mysql-check\n"
		       "stick on ssl_fc_session_id\nfrobnicate\n"
		       "server a 10.0.0.1:8080 check maxconn 3 send-proxy\n"
		       "server b 10.0.0.1:8081 check\nserver c 10.0.0.3:80 ssl verify none\n"
		       "server d unix@/x\nserver e 10.0.0.4:+10\nserver f nobody.example:80\n"
		       "frontend g\nbind 192.0.2.10:80\ndefault_backend lost\n"
		       "backend unused\nserver a 10.0.0.1\npeers p\n");
	static const struct {
		unsigned line;
		const char *part;
	} lefts[] = {{4, "maxconn"},
		     {5, "docs/filters.md"},
		     {6, "use_backend"},
		     {7, "mysql"},
		     {8, "ssl_fc_session_id"},
		     {9, "frobnicate"},
		     {10, "maxconn"},
		     {10, "send-proxy"},
		     {11, "10.0.0.1"},
		     {12, "ssl"},
		     {12, "no check"},
		     {13, "unix@/x"},
		     {14, "+10"},
		     {15, "nobody.example"},
		     {18, "lost"},
		     {19, "unused"},
		     {21, "peers"}};

	for (size_t i = 0; i < sizeof(lefts) / sizeof(*lefts); i++)
		assert_left(&result, lefts[i].line, lefts[i].part);
	assert_int_equal(only(&result)->backends_count, 2);
	done(&result);
}

static void a_named_defaults_section_counts_where_it_is_named(void **state)
{
	struct result result =
	    convert("haproxy", "defaults a\nmode tcp\nbalance source\ndefaults b\nmode http\n"
			       "listen l from a\nbind 192.0.2.10:80\nserver s 10.0.0.1\n"
			       "listen m from c\nbind 192.0.2.10:81\nserver s 10.0.0.1\n");

	assert_int_equal(result.config->services_count, 2);
	assert_string_equal(result.config->services[0].algorithm->name, "source-hash");
	assert_string_equal(result.config->services[1].algorithm->name, "weighted-round-robin");
	assert_left(&result, 9, "from c");
	done(&result);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_listen_section_becomes_a_service),
	    cmocka_unit_test(each_balance_of_haproxy_has_its_algorithm),
	    cmocka_unit_test(each_bind_and_port_becomes_a_service),
	    cmocka_unit_test(http_checks_of_haproxy_are_carried_over),
	    cmocka_unit_test(checks_that_look_into_answers_are_carried_over),
	    cmocka_unit_test(lists_of_checks_end_where_lbds_end),
	    cmocka_unit_test(a_proxy_for_http_is_left_with_what_it_needs_of_layer_7),
	    cmocka_unit_test(servers_on_other_ports_are_behind_nat),
	    cmocka_unit_test(what_haproxy_has_and_lbd_has_not_is_left_with_its_line),
	    cmocka_unit_test(a_named_defaults_section_counts_where_it_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
