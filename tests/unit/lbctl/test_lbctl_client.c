/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Tests lbctl as a process against a stand-in for lbd: requests, human and JSON output, errors and
 * exit codes. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lbctl/core/client.h"
#include "support/fake_lbd.h"
#include "support/test_file.h"
#include "lbctl_run.h"

#define STATUS(interfaces, services, down, backends, up)                                           \
	"{\"version\":\"" LBD_VERSION                                                              \
	"\",\"abi\":1,\"pid\":42,\"uptime_s\":11520,\"config\":\"/etc/lbd/lbd.yaml\","             \
	"\"adopted\":true,\"overrides\":2,\"interfaces\":[" interfaces "],\"services\":" #services \
	",\"services_down\":" #down ",\"backends\":" #backends ",\"backends_up\":" #up             \
	",\"memory\":{\"total\":146800640,\"flows\":134217728,\"arena\":8388608,"                  \
	"\"services\":1048576,\"backends\":1048576,\"counters\":1048576,"                          \
	"\"other\":1048576},\"flows\":{\"capacity\":2097152,\"entries\":1234},"                    \
	"\"kernel\":\"6.1.0-28-amd64\"}"
#define ETH0 "{\"name\":\"eth0\",\"ifindex\":2,\"mode\":\"native\",\"dispatcher\":true}"
#define ETH1 "{\"name\":\"eth1\",\"ifindex\":3,\"mode\":\"generic\",\"dispatcher\":false}"

static struct lbctl_run run;
static char requests[8192];
static struct fake_lbd fake;

/* Runs lbctl with these words and --socket against a fake that has these answers. */
static void run_against(const struct fake_answer *answers, const char *const *words)
{
	const char *all[16] = {NULL};
	size_t count = 0;

	assert_int_equal(fake_lbd_start(&fake, answers), 0);
	while (words[count]) {
		all[count] = words[count];
		count++;
	}
	all[count] = "--socket";
	all[count + 1] = fake.socket;
	lbctl_run_after(&run, NULL, all);
	fake_lbd_requests(&fake, requests, sizeof(requests));
	fake_lbd_stop(&fake);
}

#define RUN(answers, ...) run_against(answers, (const char *const[]){__VA_ARGS__, NULL})

static const char *first_line(char *text)
{
	text[strcspn(text, "\n")] = 0;
	return text;
}

/* Of an lbd that is none: a number, null and a list in the place of a text. */
static void what_is_no_text_in_a_list_of_texts_is_left_empty(void **state)
{
	static const struct fake_answer answers[] = {
	    {"GET /v1/status", 200,
	     STATUS("{\"name\":\"eth0\",\"mode\":\"native\",\"warnings\":[1,null]}", 3, 0, 9, 9)},
	    {"GET /v1/fleet", 200,
	     "{\"fleet\":{\"name\":\"lb1\",\"notes\":[7,null],\"peers\":[3]}}"},
	    {"GET /v1/diff", 200, "{\"changed\":2,\"changes\":[1,[]],\"overrides\":[4]}"},
	    {"POST /v1/reload", 200, "{\"warnings\":[1,\"two\",null]}"},
	    {NULL}};
	static const char *const verbs[] = {"status", "fleet", "diff", "reload"};

	for (unsigned i = 0; i < sizeof(verbs) / sizeof(*verbs); i++) {
		RUN(answers, verbs[i]);
		if (run.exit_code < 0 || run.exit_code > 1)
			fail_msg("%s ended with %d: %s", verbs[i], run.exit_code, run.err);
	}
	assert_non_null(strstr(run.out, "Warning: \nWarning: two\nWarning: \n"));
}

static void the_first_line_of_status_says_whether_it_forwards(void **state)
{
	static const struct {
		const char *status, *line;
	} cases[] = {
	    {STATUS(ETH0, 3, 0, 9, 9), "Forwarding: 3 services, 9 of 9 backends up"},
	    {STATUS(ETH0, 1, 0, 2, 1), "Forwarding: 1 service, 1 of 2 backends up"},
	    {STATUS(ETH0, 3, 1, 9, 6),
	     "Forwarding, but 1 of 3 services is down. Why: lbctl backends"},
	    {STATUS(ETH0, 3, 3, 9, 0),
	     "Not forwarding: none of 9 backends is up. Why: lbctl backends"},
	    {STATUS("", 3, 0, 9, 9),
	     "Not forwarding: no interface is attached. Next: lbctl attach IFACE"},
	    {STATUS(ETH0, 0, 0, 0, 0),
	     "Not forwarding: the config has no services. Next: edit it, then lbctl reload"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct fake_answer answers[] = {{"GET /v1/status", 200, cases[i].status},
						      {NULL}};

		RUN(answers, "status");
		assert_int_equal(run.exit_code, 0);
		assert_string_equal(first_line(run.out), cases[i].line);
	}
}

static void status_check_exits_1_if_nothing_is_forwarded(void **state)
{
	static const struct {
		const char *status;
		int exit_code;
		const char *line;
	} cases[] = {
	    {STATUS(ETH0, 3, 0, 9, 9), 0, "Forwarding: 3 services, 9 of 9 backends up\n"},
	    {STATUS(ETH0, 3, 1, 9, 6), 0,
	     "Forwarding, but 1 of 3 services is down. Why: lbctl backends\n"},
	    {STATUS(ETH0, 3, 3, 9, 0), 1,
	     "Not forwarding: none of 9 backends is up. Why: lbctl backends\n"},
	    {STATUS("", 3, 0, 9, 9), 1,
	     "Not forwarding: no interface is attached. Next: lbctl attach IFACE\n"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct fake_answer answers[] = {{"GET /v1/status", 200, cases[i].status},
						      {NULL}};

		RUN(answers, "status", "--check");
		assert_int_equal(run.exit_code, cases[i].exit_code);
		assert_string_equal(run.out, cases[i].line);
		assert_string_equal(run.err, "");
		RUN(answers, "status", "--check", "--json");
		assert_int_equal(run.exit_code, cases[i].exit_code);
		assert_int_equal(run.out[0], '{');
	}
}

static void status_names_modes_memory_and_changes(void **state)
{
	const struct fake_answer answers[] = {
	    {"GET /v1/status", 200, STATUS(ETH0 "," ETH1, 3, 0, 9, 9)}, {NULL}};

	RUN(answers, "status");
	assert_non_null(strstr(run.out, "eth0: native, beside other XDP programs"));
	assert_non_null(strstr(run.out, "eth1: generic (slower than native), alone"));
	assert_non_null(strstr(run.out, "140 MiB in maps: flows 128 MiB"));
	assert_non_null(strstr(run.out, "2 changes made at run time"));
	assert_non_null(strstr(run.out, "up 3h12m"));
	assert_null(strchr(run.out, '\033'));
}

static void status_shows_the_seed_blind_services_and_a_crowded_table(void **state)
{
	const struct fake_answer answers[] = {
	    {"GET /v1/status", 200,
	     "{\"interfaces\":[" ETH0
	     "],\"services\":3,\"services_down\":0,\"services_blind\":2,\"backends\":9,"
	     "\"backends_up\":3,\"flows\":{\"capacity\":2000,\"entries\":1999,"
	     "\"without_place\":17,\"limited_services\":1},"
	     "\"hash_seed\":\"0x00000000feedface\",\"hash_seed_from\":\"random\"}"},
	    {NULL}};

	RUN(answers, "status");
	assert_non_null(strstr(run.out, "Blind: no backend of 2 services answers"));
	assert_non_null(strstr(run.out, "2 blind"));
	assert_non_null(strstr(run.out, "Warning: 17 new flows found no place"));
	assert_non_null(strstr(run.out, "limits: flows"));
	assert_non_null(strstr(run.out, "0x00000000feedface, random"));
}

#define LATE(ms)                                                                       \
	"{\"interfaces\":[" ETH0                                                       \
	"],\"services\":1,\"backends\":2,\"backends_up\":2,\"loop\":{\"late_ms\":" #ms \
	",\"late_max_ms\":9000}}"

static void status_warns_of_noticeable_lateness(void **state)
{
	const struct fake_answer late[] = {{"GET /v1/status", 200, LATE(430)}, {NULL}};
	const struct fake_answer on_time[] = {{"GET /v1/status", 200, LATE(99)}, {NULL}};

	RUN(late, "status");
	assert_non_null(strstr(run.out, "Warning: lbd ran up to 430ms late"));
	RUN(on_time, "status");
	assert_null(strstr(run.out, "late"));
}

#define PROBES(process)          \
	"{\"interfaces\":[" ETH0 \
	"],\"services\":1,\"backends\":2,\"backends_up\":2,\"probe_process\":" process "}"

static void status_shows_the_probe_process_and_warns_without_it(void **state)
{
	const struct fake_answer none[] = {{"GET /v1/status", 200, PROBES("null")}, {NULL}};
	const struct fake_answer runs[] = {
	    {"GET /v1/status", 200,
	     PROBES("{\"running\":true,\"pid\":4711,\"probes\":3,\"restarts\":0,"
		    "\"last_end_s\":null,\"why\":\"\"}")},
	    {NULL}};
	const struct fake_answer starts[] = {
	    {"GET /v1/status", 200,
	     PROBES("{\"running\":false,\"pid\":4711,\"probes\":0,\"restarts\":0,"
		    "\"last_end_s\":null,\"why\":\"\"}")},
	    {NULL}};
	const struct fake_answer again[] = {
	    {"GET /v1/status", 200,
	     PROBES("{\"running\":true,\"pid\":4712,\"probes\":3,\"restarts\":2,"
		    "\"last_end_s\":12,\"why\":\"killed by SIGKILL\"}")},
	    {NULL}};
	const struct fake_answer fails[] = {
	    {"GET /v1/status", 200,
	     PROBES("{\"running\":false,\"pid\":null,\"probes\":0,\"restarts\":0,"
		    "\"last_end_s\":null,\"why\":\"cannot be started: Permission denied\"}")},
	    {NULL}};

	RUN(none, "status");
	assert_null(strstr(run.out, "Probe process"));
	RUN(runs, "status");
	assert_non_null(strstr(run.out, "Probe process  pid 4711\n"));
	RUN(starts, "status");
	assert_non_null(strstr(run.out, "Probe process  pid 4711, starting\n"));
	RUN(again, "status");
	assert_non_null(strstr(run.out, "pid 4712, restarted 2 times, the last 12s ago: "));
	RUN(fails, "status");
	assert_non_null(strstr(run.out, "Probe process  Warning: not running."));
	assert_non_null(strstr(run.out, "Permission"));
}

static void json_output_is_the_answer_of_lbd(void **state)
{
	const struct fake_answer answers[] = {{"GET /v1/status", 200, STATUS(ETH0, 3, 0, 9, 9)},
					      {NULL}};
	json_t *printed, *answer = json_loads(answers[0].body, 0, NULL);

	RUN(answers, "status", "--json");
	printed = json_loads(run.out, 0, NULL);
	assert_true(json_equal(printed, answer));
	assert_true(strstr(run.out, "\n  \"") != NULL);
	json_decref(printed);
	json_decref(answer);
}

static void the_name_of_a_service_is_escaped_in_the_request(void **state)
{
	const struct fake_answer answers[] = {
	    {"GET /v1/backends?service=192.0.2.10%3A80%2Ftcp%20%26x", 200,
	     "{\"backends\":[{\"service\":\"w\",\"address\":\"10.0.0.11\","
	     "\"condition\":\"down\",\"why\":\"connect: refused\",\"since_s\":75,"
	     "\"weight\":100,\"effective_weight\":0}]}"},
	    {NULL}};

	RUN(answers, "backends", "192.0.2.10:80/tcp &x");
	assert_int_equal(run.exit_code, 0);
	assert_non_null(strstr(run.out, "w 10.0.0.11 down: connect: refused\n"));
	assert_non_null(strstr(run.out, "0/100"));
}

static void changes_are_posted_as_the_contract_says(void **state)
{
	static const struct {
		const char *words[12], *request;
	} cases[] = {
	    {{"attach", "eth0"}, "POST /v1/attach {\"interface\":\"eth0\"}\n"},
	    {{"attach", "eth0", "--mode", "native"},
	     "POST /v1/attach {\"interface\":\"eth0\",\"mode\":\"native\"}\n"},
	    {{"detach", "eth0"}, "POST /v1/detach {\"interface\":\"eth0\"}\n"},
	    {{"reload"}, "POST /v1/reload {}\n"},
	    {{"reload", "--lists"}, "POST /v1/reload {\"lists\":true}\n"},
	    {{"reload", "--keep"}, "POST /v1/reload {\"keep\":true}\n"},
	    {{"reload", "--dry-run", "--keep"},
	     "POST /v1/reload {\"dry_run\":true,\"keep\":true}\n"},
	    {{"service", "add", "shop", "192.0.2.20:443/tcp", "--backend", "10.0.0.1"},
	     "POST /v1/service/add {\"name\":\"shop\",\"vip\":\"192.0.2.20\",\"port\":\"443\","
	     "\"protocol\":\"tcp\",\"backends\":[{\"address\":\"10.0.0.1\"}]}\n"},
	    {{"service", "add", "dns", "[2001:db8::53]:any/udp", "--algorithm=lc", "--forward=gue",
	      "--health=tcp,port=53", "--set=idle-timeout.udp=9s", "--set=hash=source-port,x",
	      "--backend=10.0.0.1,weight=5,labels.zone=a", "--backend=10.0.0.2"},
	     "POST /v1/service/add {\"name\":\"dns\",\"vip\":\"2001:db8::53\",\"port\":\"any\","
	     "\"protocol\":\"udp\",\"algorithm\":\"lc\",\"forward\":\"gue\",\"health\":{\"type\":"
	     "\"tcp\",\"port\":\"53\"},\"idle-timeout\":{\"udp\":\"9s\"},\"hash\":[\"source-port\","
	     "\"x\"],\"backends\":[{\"address\":\"10.0.0.1\",\"weight\":\"5\",\"labels\":{\"zone\":"
	     "\"a\"}},{\"address\":\"10.0.0.2\"}]}\n"},
	    {{"service", "add", "a", "192.0.2.20:80/tcp", "--backend=10.0.0.1", "--health=http",
	      "--set=health.headers=Accept: text/html, text/plain",
	      "--set=health.headers=X-Probe: lbd", "--set=health.command=/bin/a,b",
	      "--set=health.command=c"},
	     "POST /v1/service/add {\"name\":\"a\",\"vip\":\"192.0.2.20\",\"port\":\"80\","
	     "\"protocol\":\"tcp\",\"health\":{\"type\":\"http\",\"headers\":[\"Accept: "
	     "text/html, text/plain\",\"X-Probe: lbd\"],\"command\":[\"/bin/a\",\"b\",\"c\"]},"
	     "\"backends\":[{\"address\":\"10.0.0.1\"}]}\n"},
	    {{"service", "add", "a", "192.0.2.20:80/tcp", "--backend=10.0.0.1",
	      "--health=match=any", "--check=tcp", "--check=http,path=/up,headers=X-Probe: lbd"},
	     "POST /v1/service/add {\"name\":\"a\",\"vip\":\"192.0.2.20\",\"port\":\"80\","
	     "\"protocol\":\"tcp\",\"health\":{\"match\":\"any\",\"checks\":[{\"type\":\"tcp\"},"
	     "{\"type\":\"http\",\"path\":\"/up\",\"headers\":[\"X-Probe: lbd\"]}]},"
	     "\"backends\":[{\"address\":\"10.0.0.1\"}]}\n"},
	    {{"service", "add", "a", "192.0.2.20:80/tcp", "--backend=10.0.0.1",
	      "--set=health.checks:=[{\"type\":\"tcp\",\"send\":\"a,b=c\"}]", "--set=slots:=251",
	      "--set=health.body={1}"},
	     "POST /v1/service/add {\"name\":\"a\",\"vip\":\"192.0.2.20\",\"port\":\"80\","
	     "\"protocol\":\"tcp\",\"health\":{\"checks\":[{\"type\":\"tcp\",\"send\":\"a,b=c\"}],"
	     "\"body\":\"{1}\"},\"slots\":251,\"backends\":[{\"address\":\"10.0.0.1\"}]}\n"},
	    {{"service", "remove", "shop"}, "POST /v1/service/remove {\"service\":\"shop\"}\n"},
	    {{"service", "remove", "shop", "--force"},
	     "POST /v1/service/remove {\"service\":\"shop\",\"force\":true}\n"},
	    {{"backend", "add", "web", "10.0.0.1", "--name", "a", "--label", "zone=a=b", "--label",
	      "rack=7"},
	     "POST /v1/backend/add {\"service\":\"web\",\"address\":\"10.0.0.1\",\"weight\":100,"
	     "\"name\":\"a\",\"labels\":{\"zone\":\"a=b\",\"rack\":\"7\"}}\n"},
	    {{"backend", "put", "192.0.2.1:80/tcp", "10.0.0.1", "--ttl", "1m30s", "--name", "a"},
	     "PUT /v1/services/192.0.2.1%3A80%2Ftcp/backends/10.0.0.1 {\"weight\":100,\"name\":"
	     "\"a\",\"ttl\":\"90000ms\"}\n"},
	    {{"backend", "put", "web", "2001:db8::1", "--weight=7"},
	     "PUT /v1/services/web/backends/2001:db8::1 {\"weight\":7}\n"},
	    {{"backend", "weight", "192.0.2.20:443", "shop-1", "9"},
	     "POST /v1/backend/weight {\"service\":\"192.0.2.20:443\",\"address\":\"shop-1\","
	     "\"weight\":9}\n"},
	    {{"backend", "add", "web", "10.0.0.1"},
	     "POST /v1/backend/add {\"service\":\"web\",\"address\":\"10.0.0.1\","
	     "\"weight\":100}\n"},
	    {{"backend", "add", "web", "10.0.0.1", "--weight", "7"},
	     "POST /v1/backend/add {\"service\":\"web\",\"address\":\"10.0.0.1\",\"weight\":7}\n"},
	    {{"backend", "remove", "web", "10.0.0.1"},
	     "POST /v1/backend/remove {\"service\":\"web\",\"address\":\"10.0.0.1\","
	     "\"now\":false}\n"},
	    {{"backend", "remove", "web", "10.0.0.1", "--now"},
	     "POST /v1/backend/remove {\"service\":\"web\",\"address\":\"10.0.0.1\","
	     "\"now\":true}\n"},
	    {{"service", "add", "a", "1.2.3.4:80/tcp", "--set=backends-from.file=/b"},
	     "POST /v1/service/add {\"name\":\"a\",\"vip\":\"1.2.3.4\",\"port\":\"80\","
	     "\"protocol\":\"tcp\",\"backends-from\":{\"file\":\"/b\"}}\n"},
	    {{"backend", "remove", "web", "10.0.0.1", "--force"},
	     "POST /v1/backend/remove {\"service\":\"web\",\"address\":\"10.0.0.1\","
	     "\"now\":false,\"force\":true}\n"},
	    {{"backend", "drain", "web", "10.0.0.1"},
	     "POST /v1/backend/drain {\"service\":\"web\",\"address\":\"10.0.0.1\",\"on\":true}\n"},
	    {{"backend", "undrain", "web", "10.0.0.1"},
	     "POST /v1/backend/drain {\"service\":\"web\",\"address\":\"10.0.0.1\","
	     "\"on\":false}\n"},
	    {{"backend", "weight", "web", "10.0.0.1", "0"},
	     "POST /v1/backend/weight {\"service\":\"web\",\"address\":\"10.0.0.1\","
	     "\"weight\":0}\n"},
	    {{"backend", "state", "web", "10.0.0.1", "maintenance"},
	     "POST /v1/backend/state {\"service\":\"web\",\"address\":\"10.0.0.1\","
	     "\"state\":\"maintenance\"}\n"},
	};
	const struct fake_answer answers[] = {
	    {"POST /v1/attach", 200, "{\"interface\":" ETH0 "}"},
	    {"POST /v1/detach", 200, "{}"},
	    {"POST /v1/reload", 200, "{\"services\":1,\"backends\":2,\"dropped_overrides\":0}"},
	    {"POST /v1/service/add", 200, "{\"service\":{\"name\":\"shop\",\"backends\":1}}"},
	    {"POST /v1/service/remove", 200, "{\"service\":\"shop\"}"},
	    {"PUT /v1/services/192.0.2.1%3A80%2Ftcp/backends/10.0.0.1", 200, "{}"},
	    {"PUT /v1/services/web/backends/2001:db8::1", 200, "{}"},
	    {"POST /v1/backend/add", 200, "{}"},
	    {"POST /v1/backend/remove", 200, "{}"},
	    {"POST /v1/backend/drain", 200, "{}"},
	    {"POST /v1/backend/weight", 200, "{}"},
	    {"POST /v1/backend/state", 200, "{}"},
	    {NULL}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		run_against(answers, cases[i].words);
		assert_int_equal(run.exit_code, 0);
		assert_string_equal(requests, cases[i].request);
		assert_true(strlen(run.out) > 10);
	}
}

static void keys_of_a_service_that_are_no_keys_are_refused_before_lbd_is_asked(void **state)
{
	static const struct {
		const char *words[12], *sentence;
	} cases[] = {
	    {{"--set=slots"},
	     "--set slots: expected KEY=VALUE, such as slow-start=30s, or KEY:=JSON"},
	    {{"--set=:=1"}, "--set :=1: expected KEY=VALUE, such as slow-start=30s, or KEY:=JSON"},
	    {{"--set=health.checks:=[{]"}, "--set health.checks:=[{]: expected JSON after := ("},
	    {{"--set=slots:=1", "--set=slots=2"}, "--set slots=2: a key is given twice"},
	    {{"--set=slots=1", "--set=slots:=2"}, "--set slots:=2: a key is given twice"},
	    {{"--set=health.headers:={}", "--set=health.headers=A: b"},
	     "--set health.headers=A: b: a key is given twice"},
	    {{"--check=http,path"}, "--check http,path: path: expected KEY=VALUE"},
	    {{"--health=checks=x", "--check=tcp"}, "--check tcp: a key is given twice"},
	    {{"--set=backends:=[]"},
	     "service add: --set backends: expected each backend as --backend ADDRESS"},
	    {{"--set=backends=10.0.0.9"}, "--set backends: expected each backend as --backend"},
	    {{"--set=backends.weight=7"}, "--set backends: expected each backend as --backend"},
	};
	const struct fake_answer none[] = {{NULL}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const char *words[12] = {"service", "add", "a", "192.0.2.20:80/tcp", "--backend=1"};

		memcpy(&words[5], cases[i].words, 6 * sizeof(*words));
		run_against(none, words);
		assert_int_equal(run.exit_code, 2);
		assert_non_null(strstr(run.err, cases[i].sentence));
		assert_string_equal(requests, "");
	}
}

static void reload_names_what_was_kept_and_what_was_dropped(void **state)
{
	const struct fake_answer answers[] = {
	    {"POST /v1/reload", 200,
	     "{\"services\":1,\"backends\":2,\"kept_overrides\":1,\"dropped_overrides\":2,"
	     "\"kept\":[{\"service\":\"web\",\"address\":\"10.0.0.1\",\"change\":\"drain\"}],"
	     "\"dropped\":[{\"service\":\"web\",\"address\":\"10.0.0.2\",\"change\":\"weight 7\"},"
	     "{\"service\":\"dns\",\"address\":\"10.0.0.3\",\"change\":\"removal\"}]}"},
	    {NULL}};

	RUN(answers, "reload");
	assert_int_equal(run.exit_code, 0);
	assert_string_equal(run.out,
			    "reloaded: 1 service, 2 backends\n"
			    "1 drain kept: lbctl backend undrain ends one\n"
			    "  kept     web 10.0.0.1: drain\n"
			    "2 run-time changes dropped: the config file takes precedence\n"
			    "  dropped  web 10.0.0.2: weight 7\n"
			    "  dropped  dns 10.0.0.3: removal\n");
}

static void a_state_that_a_reload_keeps_is_called_no_drain(void **state)
{
	const struct fake_answer answers[] = {
	    {"POST /v1/reload", 200,
	     "{\"services\":1,\"backends\":2,\"kept_overrides\":2,\"dropped_overrides\":0,"
	     "\"kept\":[{\"service\":\"web\",\"address\":\"10.0.0.1\",\"change\":\"drain\"},"
	     "{\"service\":\"web\",\"address\":\"10.0.0.2\",\"change\":\"state down\"}]}"},
	    {NULL}};

	RUN(answers, "reload");
	assert_string_equal(
	    run.out,
	    "reloaded: 1 service, 2 backends\n"
	    "2 run-time changes kept: lbctl backend undrain or lbctl backend state ends one\n"
	    "  kept     web 10.0.0.1: drain\n"
	    "  kept     web 10.0.0.2: state down\n");
}

/* What lbctl says of a change is what lbd's answer shows. */
static void the_words_for_a_change_are_true(void **state)
{
	static const struct {
		const char *words[7], *path, *answer, *says;
	} cases[] = {
	    {{"backend", "add", "web", "10.0.0.1"},
	     "POST /v1/backend/add",
	     "{\"backend\":{\"condition\":\"checking\"}}",
	     "added with weight 100; it takes flows once its health check passes\n"},
	    {{"backend", "add", "web", "10.0.0.1"},
	     "POST /v1/backend/add",
	     "{\"backend\":{\"condition\":\"up\"}}",
	     "added with weight 100; it takes new flows\n"},
	    {{"backend", "add", "web", "10.0.0.1", "--weight", "0"},
	     "POST /v1/backend/add",
	     "{\"backend\":{\"condition\":\"checking\"}}",
	     "added with weight 0; it takes no new flows with weight 0\n"},
	    {{"backend", "remove", "web", "10.0.0.1", "--now"},
	     "POST /v1/backend/remove",
	     "{\"others\":2}",
	     "removed; its flows now go to other backends\n"},
	    {{"backend", "remove", "web", "10.0.0.1", "--now"},
	     "POST /v1/backend/remove",
	     "{\"others\":0}",
	     "removed; no other backend takes flows\n"},
	    {{"backend", "remove", "web", "10.0.0.1"},
	     "POST /v1/backend/remove",
	     "{\"others\":0}",
	     "draining; it is removed when its last flow has ended; no other backend takes flows\n"},
	    {{"backend", "undrain", "web", "10.0.0.1"},
	     "POST /v1/backend/drain",
	     "{\"backend\":{\"condition\":\"up\",\"weight\":100}}",
	     "takes new flows again\n"},
	    {{"backend", "undrain", "web", "10.0.0.1"},
	     "POST /v1/backend/drain",
	     "{\"backend\":{\"condition\":\"down\",\"weight\":100}}",
	     "the drain has ended; it is down\n"},
	    {{"backend", "undrain", "web", "10.0.0.1"},
	     "POST /v1/backend/drain",
	     "{\"backend\":{\"condition\":\"up\",\"weight\":0}}",
	     "the drain has ended; it takes no new flows with weight 0\n"},
	    {{"backend", "state", "web", "10.0.0.1", "down"},
	     "POST /v1/backend/state",
	     "{\"backend\":{\"condition\":\"down\"}}",
	     "set to down: its flows go to other backends; to end it: "
	     "lbctl backend state web 10.0.0.1 auto\n"},
	    {{"backend", "state", "web", "10.0.0.1", "auto"},
	     "POST /v1/backend/state",
	     "{\"backend\":{\"condition\":\"down\",\"why\":\"connect: refused\"}}",
	     "its checks decide; it is down: connect: refused\n"},
	    {{"backend", "state", "web", "10.0.0.1", "up"},
	     "POST /v1/backend/state",
	     "{\"backend\":{\"condition\":\"starting\"}}",
	     "set to up, whatever its checks find\n"},
	    {{"backend", "state", "web", "10.0.0.1", "up"},
	     "POST /v1/backend/state",
	     "{\"backend\":{\"condition\":\"no-next-hop\",\"why\":\"no route\"}}",
	     "set to up; it is no-next-hop: no route\n"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct fake_answer answers[] = {{cases[i].path, 200, cases[i].answer},
						      {NULL}};

		run_against(answers, cases[i].words);
		assert_int_equal(run.exit_code, 0);
		assert_memory_equal(run.out, "web 10.0.0.1: ", 14);
		assert_string_equal(run.out + 14, cases[i].says);
	}
}

static void services_that_are_down_say_why(void **state)
{
	const struct fake_answer answers[] = {
	    {"GET /v1/services", 200,
	     "{\"services\":[{\"name\":\"a\",\"status\":\"up\",\"why\":\"\"},"
	     "{\"name\":\"b\",\"status\":\"down\",\"why\":\"every backend that is up has weight 0\"}]}"},
	    {NULL}};

	RUN(answers, "services");
	assert_non_null(strstr(run.out, "\nb: down: every backend that is up has weight 0\n"));
	assert_null(strstr(run.out, "a: down"));
}

static void status_names_the_limit_of_flows_as_the_config_does(void **state)
{
	const struct fake_answer answers[] = {
	    {"GET /v1/status", 200,
	     "{\"interfaces\":[" ETH0 "],\"services\":1,\"backends\":2,\"backends_up\":2,"
	     "\"flows\":{\"capacity\":2097152,\"limit\":1048576,\"entries\":1234}}"},
	    {NULL}};

	RUN(answers, "status");
	assert_non_null(strstr(run.out, "\nTracked flows  1.23k of 1M (flows in"));
}

static void warnings_of_a_change_follow_its_result(void **state)
{
	const struct fake_answer answers[] = {
	    {"POST /v1/reload", 200,
	     "{\"services\":1,\"backends\":2,\"warnings\":[\"pin ignored\",\"eth7: no such \\u001b\"]}"},
	    {"POST /v1/backend/weight", 200, "{\"warnings\":[\"service web is down\"]}"},
	    {NULL}};

	RUN(answers, "reload");
	assert_int_equal(run.exit_code, 0);
	assert_string_equal(run.out, "reloaded: 1 service, 2 backends\n"
				     "Warning: pin ignored\n"
				     "Warning: eth7: no such ?\n");
	RUN(answers, "reload", "--json");
	assert_null(strstr(run.out, "Warning"));
	assert_non_null(strstr(run.out, "\"pin ignored\""));
	RUN(answers, "backend", "weight", "web", "10.0.0.1", "0");
	assert_non_null(strstr(run.out, "weight 0: takes no new flows\n"
					"Warning: service web is down\n"));
}

#define TRIAL                                                                                           \
	"{\"services\":1,\"backends\":2,\"kept_overrides\":1,\"dropped_overrides\":0,\"kept\":[{"       \
	"\"service\":\"web\",\"address\":\"10.0.0.1\",\"change\":\"drain\"}],\"dropped\":[],"           \
	"\"changed\":3,\"changes\":[\"service web: backend 10.0.0.2: weight 7 -> 100\",\"service old: " \
	"removed\"],\"warnings\":[\"pin ignored\"]}"

static void a_trial_says_what_would_change(void **state)
{
	const struct fake_answer answers[] = {{"POST /v1/reload", 200, TRIAL}, {NULL}};

	RUN(answers, "reload", "--dry-run");
	assert_int_equal(run.exit_code, 0);
	assert_string_equal(run.out, "the file is valid; a reload would make 3 changes\n"
				     "  service web: backend 10.0.0.2: weight 7 -> 100\n"
				     "  service old: removed\n"
				     "  and 1 more\n"
				     "1 drain kept: lbctl backend undrain ends one\n"
				     "  kept     web 10.0.0.1: drain\n"
				     "Warning: pin ignored\n");
	RUN(answers, "reload", "--dry-run", "--lists");
	assert_int_equal(run.exit_code, 2);
	assert_non_null(strstr(run.err, "--lists: expected neither --dry-run nor --keep"));
}

static void diff_exits_1_if_something_differs(void **state)
{
	const struct fake_answer differs[] = {{"POST /v1/reload", 200, TRIAL}, {NULL}};
	const struct fake_answer same[] = {
	    {"POST /v1/reload", 200,
	     "{\"kept_overrides\":0,\"kept\":[],\"changed\":0,\"changes\":[]}"},
	    {NULL}};

	RUN(differs, "diff");
	assert_int_equal(run.exit_code, 1);
	assert_string_equal(run.err, "");
	assert_string_equal(requests, "POST /v1/reload {\"dry_run\":true}\n");
	assert_non_null(strstr(run.out, "  service old: removed\n"
					"  and 1 more\n"
					"  service web: backend 10.0.0.1: drain at run time\n"));
	RUN(same, "diff");
	assert_int_equal(run.exit_code, 0);
	assert_string_equal(run.out, "what is in force is what the config file says\n");
}

/* The same test with sanitizers may run at this time. */
#ifdef __SANITIZE_ADDRESS__
#define SAVE_FILE   "/tmp/test_lbctl_save_asan.yaml"
#define SECOND_FILE "/tmp/test_lbctl_save_asan2.yaml"
#else
#define SAVE_FILE   "/tmp/test_lbctl_save.yaml"
#define SECOND_FILE "/tmp/test_lbctl_save2.yaml"
#endif
#define SAVED(path)                                                                               \
	"{\"path\":\"" path "\",\"changes\":2,\"text\":\"services: [] # \\u00fc\\n\",\"left\":[{" \
	"\"service\":\"old\",\"address\":\"10.0.0.9\",\"change\":\"weight 7 (no longer in the file)\"}]}"

static void save_writes_the_text_that_lbd_gives_with_the_mode_of_the_file(void **state)
{
	const struct fake_answer answers[] = {{"POST /v1/save", 200, SAVED(SAVE_FILE)}, {NULL}};
	struct stat st;

	test_file_put(SAVE_FILE, "before");
	assert_int_equal(chmod(SAVE_FILE, 0640), 0);
	RUN(answers, "save", "--print");
	assert_string_equal(run.out, "services: [] # \u00fc\n");
	RUN(answers, "save");
	assert_int_equal(run.exit_code, 0);
	assert_string_equal(
	    run.out, "2 run-time changes written into " SAVE_FILE ". Next: lbctl reload\n"
		     "Warning: not saved: service old: backend 10.0.0.9: weight 7 (no longer "
		     "in the file)\n");
	test_file_is(SAVE_FILE, "services: [] # \u00fc\n");
	assert_int_equal(stat(SAVE_FILE, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_int_not_equal(access(SAVE_FILE ".lbctl-save", F_OK), 0);
	unlink(SAVE_FILE);
}

#define TWO                                                                                \
	"{\"path\":\"" SAVE_FILE "\",\"changes\":2,\"text\":\"a\",\"left\":[],\"files\":[" \
	"{\"path\":\"" SAVE_FILE "\",\"text\":\"new one\"},{\"path\":\"" SECOND_FILE       \
	"\",\"text\":"                                                                     \
	"\"new two\"}]}"

static void save_changes_no_file_if_one_of_several_cannot_be_written(void **state)
{
	const struct fake_answer answers[] = {{"POST /v1/save", 200, TWO}, {NULL}};

	test_file_put(SAVE_FILE, "old one");
	test_file_put(SECOND_FILE, "old two");
	test_file_put(SECOND_FILE ".lbctl-save", "another's");
	RUN(answers, "save");
	assert_int_equal(run.exit_code, 1);
	assert_non_null(
	    strstr(run.err, SECOND_FILE ".lbctl-save: File exists; nothing was changed"));
	test_file_is(SAVE_FILE, "old one");
	test_file_is(SECOND_FILE, "old two");
	test_file_is(SECOND_FILE ".lbctl-save", "another's");
	assert_int_not_equal(access(SAVE_FILE ".lbctl-save", F_OK), 0);
	unlink(SECOND_FILE ".lbctl-save");
	RUN(answers, "save");
	assert_int_equal(run.exit_code, 0);
	test_file_is(SAVE_FILE, "new one");
	test_file_is(SECOND_FILE, "new two");
	assert_int_not_equal(access(SECOND_FILE ".lbctl-save", F_OK), 0);
	unlink(SAVE_FILE);
	unlink(SECOND_FILE);
}

/* A directory in the place of the file: what is written beside it cannot be renamed to it. */
static void save_that_stops_half_way_names_what_is_replaced_and_keeps_the_rest(void **state)
{
	const struct fake_answer answers[] = {{"POST /v1/save", 200, TWO}, {NULL}};

	test_file_put(SAVE_FILE, "old one");
	assert_int_equal(mkdir(SECOND_FILE, 0700), 0);
	RUN(answers, "save");
	assert_int_equal(run.exit_code, 1);
	assert_non_null(strstr(run.err,
			       SECOND_FILE ": cannot be replaced: Is a directory. Replaced "
					   "already: " SAVE_FILE ". lbd may refuse"));
	test_file_is(SAVE_FILE, "new one");
	test_file_is(SECOND_FILE ".lbctl-save", "new two");
	unlink(SAVE_FILE);
	unlink(SECOND_FILE ".lbctl-save");
	assert_int_equal(rmdir(SECOND_FILE), 0);
}

static void save_whose_first_file_cannot_be_replaced_changes_nothing(void **state)
{
	const struct fake_answer answers[] = {{"POST /v1/save", 200, TWO}, {NULL}};

	assert_int_equal(mkdir(SAVE_FILE, 0700), 0);
	test_file_put(SECOND_FILE, "old two");
	RUN(answers, "save");
	assert_int_equal(run.exit_code, 1);
	assert_non_null(strstr(run.err, "cannot be replaced: Is a directory; nothing was changed"));
	test_file_is(SECOND_FILE, "old two");
	assert_int_not_equal(access(SAVE_FILE ".lbctl-save", F_OK), 0);
	assert_int_not_equal(access(SECOND_FILE ".lbctl-save", F_OK), 0);
	unlink(SECOND_FILE);
	assert_int_equal(rmdir(SAVE_FILE), 0);
}

static void save_writes_nothing_where_it_cannot_or_need_not(void **state)
{
	const struct fake_answer nowhere[] = {{"POST /v1/save", 200, SAVED("/nonexistent/x.yaml")},
					      {NULL}};
	const struct fake_answer relative[] = {{"POST /v1/save", 200, SAVED("lbd.yaml")}, {NULL}};
	const struct fake_answer none[] = {
	    {"POST /v1/save", 200,
	     "{\"path\":\"/nonexistent/x.yaml\",\"changes\":0,\"text\":\"\"}"},
	    {NULL}};
	const struct fake_answer strange[] = {
	    {"POST /v1/save", 200,
	     "{\"path\":\"/nonexistent/x\\u001b.yaml\",\"changes\":0,\"text\":\"\",\"left\":[{"
	     "\"service\":\"a\\u001b[2J\",\"address\":\"10.0.0.9\",\"change\":\"weight 7\"}]}"},
	    {NULL}};

	RUN(nowhere, "save");
	assert_int_equal(run.exit_code, 1);
	assert_non_null(strstr(run.err, "/nonexistent/x.yaml: No such file or directory"));
	RUN(relative, "save");
	assert_int_equal(run.exit_code, 1);
	assert_non_null(strstr(run.err, "relative path"));
	RUN(strange, "save");
	assert_int_equal(run.exit_code, 0);
	assert_string_equal(run.out,
			    "no run-time change to save: /nonexistent/x?.yaml stays as it is\n"
			    "Warning: not saved: service a?[2J: backend 10.0.0.9: weight 7\n");
	RUN(none, "save");
	assert_int_equal(run.exit_code, 0);
	assert_string_equal(run.out,
			    "no run-time change to save: /nonexistent/x.yaml stays as it is\n");
}

static void save_says_what_lbd_warns_of(void **state)
{
	const struct fake_answer answers[] = {
	    {"POST /v1/save", 200,
	     "{\"path\":\"/nonexistent/x.yaml\",\"changes\":0,\"text\":\"\",\"left\":[],"
	     "\"warnings\":[\"service web: its ring\\u001b[2J grows\"]}"},
	    {NULL}};

	RUN(answers, "save");
	assert_int_equal(run.exit_code, 0);
	assert_non_null(strstr(run.out, "\nWarning: service web: its ring?[2J grows\n"));
	RUN(answers, "save", "--print");
	assert_string_equal(run.out, "");
	assert_string_equal(run.err, "Warning: service web: its ring?[2J grows\n");
	RUN(answers, "save", "--json");
	assert_string_equal(run.err, "");
	assert_non_null(strstr(run.out, "\"service web: its ring\\u001B[2J grows\""));
}

static void reload_of_lists_says_what_was_read(void **state)
{
	const struct fake_answer some[] = {
	    {"POST /v1/reload", 200, "{\"services\":3,\"changed\":2,\"prefixes\":100004}"}, {NULL}};
	const struct fake_answer none[] = {
	    {"POST /v1/reload", 200, "{\"services\":0,\"changed\":0,\"prefixes\":0}"}, {NULL}};

	RUN(some, "reload", "--lists");
	assert_int_equal(run.exit_code, 0);
	assert_string_equal(run.out,
			    "lists reloaded: 3 services with lists, 2 changed; prefixes: 100004\n");
	RUN(none, "reload", "--lists");
	assert_string_equal(run.out, "no service has allow or deny lists\n");
}

static void services_show_their_lists(void **state)
{
	const struct fake_answer answers[] = {
	    {"GET /v1/services", 200,
	     "{\"services\":[{\"name\":\"a\",\"allow\":2,\"deny\":null,\"denied\":7},"
	     "{\"name\":\"b\",\"allow\":null,\"deny\":100000,\"denied\":0},"
	     "{\"name\":\"c\",\"allow\":1,\"deny\":3,\"denied\":1},"
	     "{\"name\":\"d\",\"allow\":null,\"deny\":null,\"denied\":0}]}"},
	    {NULL}};

	RUN(answers, "services");
	assert_non_null(strstr(run.out, "\na: prefixes: allow 2; packets denied: 7\n"
					"b: prefixes: deny 100000; packets denied: 0\n"
					"c: prefixes: allow 1, deny 3; packets denied: 1\n"));
	assert_null(strstr(run.out, "d: prefixes"));
}

#define EVIL "\\u001b[2Jeth\\u009b0\\n"

static void names_in_an_answer_reach_no_terminal_with_escapes(void **state)
{
	const struct fake_answer answers[] = {
	    {"GET /v1/status", 200,
	     STATUS("{\"name\":\"" EVIL "\",\"mode\":\"native\",\"dispatcher\":false,"
		    "\"running\":true,\"turned_off\":[],\"warnings\":[\"" EVIL "\"]}",
		    3, 0, 9, 9)},
	    {"POST /v1/attach", 409, "{\"error\":\"" EVIL "\",\"hint\":\"" EVIL "\"}"},
	    {NULL}};

	RUN(answers, "status");
	assert_int_equal(run.exit_code, 0);
	assert_non_null(strstr(run.out, "?[2Jeth?0?: native"));
	assert_null(strchr(run.out, '\033'));
	assert_null(strstr(run.out, "\xc2\x9b"));
	RUN(answers, "status", "--json");
	assert_null(strchr(run.out, '\033'));
	assert_null(strstr(run.out, "\xc2\x9b"));
	RUN(answers, "attach", "eth0");
	assert_int_equal(run.exit_code, 1);
	assert_null(strchr(run.err, '\033'));
	assert_null(strstr(run.err, "\xc2\x9b"));
}

static void attach_and_status_say_what_makes_packets_get_lost(void **state)
{
#define INTERFACE                                                                       \
	"{\"name\":\"eth0\",\"mode\":\"native\",\"dispatcher\":false,\"running\":true," \
	"\"lost\":7,\"turned_off\":[],\"warnings\":[\"no frames\",\"no checksums\"]}"
	const struct fake_answer answers[] = {
	    {"POST /v1/attach", 200, "{\"interface\":" INTERFACE "}"},
	    {"GET /v1/status", 200, STATUS(INTERFACE, 3, 0, 9, 9)},
	    {NULL}};

	RUN(answers, "attach", "eth0");
	assert_string_equal(run.out, "eth0: attached, native, alone\n"
				     "Warning: no frames\nWarning: no checksums\n");
	RUN(answers, "status");
	assert_non_null(strstr(run.out, "Lost: 7 frames that lbd sent and no device took\n"));
	assert_non_null(strstr(run.out, "Warning: no checksums\n"));
}

static void a_refusal_prints_lbds_sentence_and_hint_and_exits_1(void **state)
{
	const struct fake_answer answers[] = {
	    {"POST /v1/attach", 404,
	     "{\"error\":\"nope: no such interface\",\"hint\":\"ip link lists them\"}"},
	    {NULL}};

	RUN(answers, "attach", "nope");
	assert_int_equal(run.exit_code, 1);
	assert_string_equal(run.err, "lbctl: nope: no such interface\nip link lists them\n");
	assert_string_equal(run.out, "");
}

static void a_bad_argument_to_lbd_is_a_failure_not_wrong_usage(void **state)
{
	const struct fake_answer answers[] = {
	    {"POST /v1/reload", 400, "{\"error\":\"no\",\"hint\":\"\"}"}, {NULL}};

	RUN(answers, "reload");
	assert_int_equal(run.exit_code, 1);
	assert_string_equal(run.err, "lbctl: no\n");
}

static void a_missing_socket_says_how_to_start_lbd(void **state)
{
	lbctl_run(&run, "services", "--socket", "/tmp/no-such-directory/lbd.sock");
	assert_int_equal(run.exit_code, 1);
	assert_string_equal(
	    run.err, "lbctl: lbd is not running (no socket /tmp/no-such-directory/lbd.sock).\n"
		     "Start it: systemctl start lbd, or lbd -c /etc/lbd/lbd.yaml\n");
}

static void detach_all_asks_lbd_for_each_interface(void **state)
{
	const struct fake_answer answers[] = {
	    {"GET /v1/status", 200, "{\"interfaces\":[" ETH0 "," ETH1 "]}"},
	    {"POST /v1/detach", 200, "{}"},
	    {NULL}};

	RUN(answers, "detach", "--all");
	assert_int_equal(run.exit_code, 0);
	assert_non_null(strstr(requests, "POST /v1/detach {\"interface\":\"eth0\"}\n"));
	assert_non_null(strstr(requests, "POST /v1/detach {\"interface\":\"eth1\"}\n"));
	assert_non_null(strstr(run.out, "eth0: detached"));
	assert_non_null(strstr(run.out, "eth1: detached"));
	RUN(answers, "detach", "--all", "--json");
	assert_int_equal(run.exit_code, 0);
	assert_non_null(strstr(run.out, "\"detached\""));
	assert_non_null(strstr(run.out, "\"eth1\""));
}

static void detach_all_says_that_there_is_nothing_to_detach(void **state)
{
	const struct fake_answer answers[] = {{"GET /v1/status", 200, "{\"interfaces\":[]}"},
					      {NULL}};

	RUN(answers, "detach", "--all");
	assert_int_equal(run.exit_code, 0);
	assert_non_null(strstr(run.out, "nothing to detach"));
}

static void a_socket_without_listener_says_so(void **state)
{
	const struct fake_answer answers[] = {{NULL}};

	assert_int_equal(fake_lbd_start(&fake, answers), 0);
	kill(fake.child, SIGKILL);
	waitpid(fake.child, NULL, 0);
	fake.child = 0;
	lbctl_run(&run, "status", "--socket", fake.socket);
	fake_lbd_stop(&fake);
	assert_int_equal(run.exit_code, 1);
	assert_non_null(strstr(run.err, "no process listens on"));
	assert_non_null(strstr(run.err, "systemctl start lbd"));
}

/* A socket whose queue has no place: nobody accepts the one connection that it may hold. */
static int full_socket(char path[64])
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int listener = socket(AF_UNIX, SOCK_STREAM, 0), rc;

	snprintf(path, 64, "/tmp/lbd-test-full-%d.sock", (int)getpid());
	strcpy(address.sun_path, path);
	unlink(path);
	assert_return_code(bind(listener, (struct sockaddr *)&address, sizeof(address)), errno);
	assert_return_code(listen(listener, 0), errno);
	do {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

		rc = connect(fd, (struct sockaddr *)&address, sizeof(address)) ? errno : 0;
		close(fd); /* it keeps its place */
	} while (!rc);
	assert_int_equal(rc, EAGAIN);
	return listener;
}

static void a_socket_whose_queue_is_full_says_so(void **state)
{
	char path[64];
	int listener = full_socket(path);

	lbctl_run(&run, "status", "--socket", path);
	close(listener);
	unlink(path);
	assert_int_equal(run.exit_code, 1);
	assert_non_null(strstr(run.err, "lbd takes no connection on "));
	assert_non_null(strstr(run.err, "too many others wait there"));
}

/* Takes those that wait, later, and answers the first that asks for something. */
static void serve_late(int listener)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
	char request[1024];

	usleep(200000);
	for (int fd; (fd = accept(listener, NULL, NULL)) >= 0; close(fd))
		if (recv(fd, request, sizeof(request), 0) > 0)
			_exit(write(fd, answer, sizeof(answer) - 1) < 0);
}

static void a_place_in_the_queue_of_the_socket_is_waited_for(void **state)
{
	char path[64];
	int listener = full_socket(path);
	pid_t server = fork();

	if (!server)
		serve_late(listener);
	lbctl_run(&run, "reload", "--socket", path);
	kill(server, SIGKILL); /* if it has not answered */
	waitpid(server, NULL, 0);
	close(listener);
	unlink(path);
	assert_string_equal(run.err, "");
	assert_int_equal(run.exit_code, 0);
}

static void become_nobody(void)
{
	if (setgid(65534) || setuid(65534))
		_exit(99);
}

static void only_root_may_detach_without_lbd(void **state)
{
	const char *detach[] = {"detach", "--offline", "--all", NULL};
	const char *status[] = {"status", "--socket", "/tmp/no-such-directory/lbd.sock", NULL};

	if (geteuid() != 0)
		skip();
	lbctl_run_after(&run, become_nobody, detach);
	assert_int_equal(run.exit_code, 1);
	assert_non_null(strstr(run.err, "only root may detach"));
	lbctl_run_after(&run, become_nobody, status);
	assert_int_equal(run.exit_code, 1);
	assert_non_null(strstr(run.err, "lbd is not running"));
	assert_non_null(strstr(run.err, "root can see: sudo lbctl status"));
}

static void what_is_no_directory_of_pins_stays(void **state)
{
	char directory[] = "/tmp/test_pins.XXXXXX";

	if (geteuid() != 0)
		skip();
	assert_non_null(mkdtemp(directory));
	lbctl_run(&run, "detach", "--offline", "--all", "--pin", directory);
	assert_int_equal(run.exit_code, 1);
	assert_non_null(strstr(run.err, "expected a directory of pins on a bpf file system"));
	assert_int_equal(rmdir(directory), 0);
	lbctl_run(&run, "detach", "--offline", "--all", "--pin", directory);
	assert_int_equal(run.exit_code, 0);
	assert_non_null(strstr(run.out, ": no such directory: nothing is pinned there"));
	assert_null(strstr(run.out, "nothing to detach"));
}

static void without_permission_it_says_who_has_it(void **state)
{
	const struct fake_answer answers[] = {{NULL}};
	const char *words[] = {"status", "--socket", fake.socket, NULL};

	if (geteuid() != 0)
		skip();
	assert_int_equal(fake_lbd_start(&fake, answers), 0);
	chmod(fake.directory, 0755);
	chmod(fake.socket, 0600);
	lbctl_run_after(&run, become_nobody, words);
	assert_int_equal(run.exit_code, 1);
	assert_non_null(strstr(run.err, "only root and group lbd may connect"));
	chmod(fake.directory, 0700);
	lbctl_run_after(&run, become_nobody, words);
	fake_lbd_stop(&fake);
	assert_int_equal(run.exit_code, 1);
	assert_non_null(strstr(run.err, "only root and group lbd may connect"));
}

static void a_closed_connection_points_to_the_log(void **state)
{
	const struct fake_answer answers[] = {{"GET /v1/status", 200, NULL}, {NULL}};

	RUN(answers, "status");
	assert_int_equal(run.exit_code, 1);
	assert_non_null(strstr(run.err, "journalctl -u lbd"));
}

static void an_answer_that_is_not_from_lbd_is_refused(void **state)
{
	const struct fake_answer answers[] = {{"GET /v1/status", 200, "<html>"}, {NULL}};

	RUN(answers, "status");
	assert_int_equal(run.exit_code, 1);
	assert_non_null(strstr(run.err, "Is this lbd's socket?"));
}

static void a_socket_path_that_is_too_long_is_wrong_usage(void **state)
{
	char path[200];

	memset(path, 'a', sizeof(path) - 1);
	path[sizeof(path) - 1] = 0;
	lbctl_run(&run, "status", "--socket", path);
	assert_int_equal(run.exit_code, 2);
	assert_non_null(strstr(run.err, "expected a path of 1 to 107 bytes"));
}

static void name_socket(void)
{
	setenv("LBD_SOCKET", fake.socket, 1);
}

static void the_environment_names_the_socket(void **state)
{
	const struct fake_answer answers[] = {{"POST /v1/detach", 200, "{}"}, {NULL}};
	const char *words[] = {"detach", "eth0", NULL};

	assert_int_equal(fake_lbd_start(&fake, answers), 0);
	lbctl_run_after(&run, name_socket, words);
	fake_lbd_stop(&fake);
	assert_int_equal(run.exit_code, 0);
}

static void version_works_without_lbd(void **state)
{
	lbctl_run(&run, "version", "--socket", "/nonexistent");
	assert_int_equal(run.exit_code, 0);
	assert_string_equal(run.out, "lbctl " LBD_VERSION "\n");
}

/* What lbctl top does: it answers keys while a request is under way. */
static void a_request_can_be_waited_for_beside_other_input(void **state)
{
	const struct fake_answer answers[] = {{"GET /v1/status", 200, "{\"pid\":42}"},
					      {"GET /v1/none", 404, "{\"error\":\"no such\"}"},
					      {NULL}};
	struct client *client = NULL;
	json_t *answer = NULL;
	struct error err;
	bool input, ended = false;
	int pipes[2];

	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(fake_lbd_start(&fake, answers), 0);
	assert_int_equal(client_open(fake.socket, &client, &err), 0);
	assert_false(client_wait(client, pipes[0], 1, &input));
	assert_false(input);
	assert_int_equal(write(pipes[1], "x", 1), 1);
	assert_false(client_wait(client, pipes[0], 10000, &input));
	assert_true(input);
	assert_int_equal(client_begin(client, "/v1/status", &err), 0);
	while (!ended)
		ended = client_wait(client, -1, 10000, &input);
	assert_int_equal(client_end(client, &answer, &err), 0);
	assert_int_equal(json_integer_value(json_object_get(answer, "pid")), 42);
	json_decref(answer);
	assert_int_equal(client_begin(client, "/v1/none", &err), 0);
	while (!client_wait(client, -1, 10000, &input))
		;
	assert_int_equal(client_end(client, &answer, &err), -EREMOTEIO);
	assert_string_equal(err.text, "no such");
	/* one that nobody ends */
	assert_int_equal(client_begin(client, "/v1/status", &err), 0);
	client_close(client);
	fake_lbd_stop(&fake);
	close(pipes[0]);
	close(pipes[1]);
}

static void a_request_without_lbd_names_the_next_step(void **state)
{
	struct client *client = NULL;
	json_t *answer = NULL;
	struct error err;
	bool input;

	assert_int_equal(client_open("/tmp/no-such-directory/lbd.sock", &client, &err), 0);
	assert_int_equal(client_begin(client, "/v1/status", &err), 0);
	while (!client_wait(client, -1, 10000, &input))
		;
	assert_int_equal(client_end(client, &answer, &err), -ENOENT);
	assert_non_null(strstr(err.text, "lbd is not running (no socket /tmp/no-such-directory/"));
	assert_non_null(strstr(err.text, "systemctl start lbd"));
	client_close(client);
}

static void stats_hides_counters_at_zero_without_all(void **state)
{
	const struct fake_answer answers[] = {
	    {"GET /v1/stats", 200,
	     "{\"reasons\":[{\"name\":\"forwarded_tx\",\"outcome\":\"sent\",\"help\":\"sent "
	     "on\",\"packets\":1200000,\"bytes\":1048576},{\"name\":\"ttl_exceeded\","
	     "\"outcome\":\"dropped\",\"help\":\"used up\",\"packets\":0,\"bytes\":0}],"
	     "\"events\":[{\"name\":\"flow_evicted\",\"help\":\"replaced\",\"count\":0}]}"},
	    {NULL}};

	RUN(answers, "stats");
	assert_non_null(strstr(run.out, "Sent (forwarded or answered): 1.20M packets, 1.00 MiB\n"));
	assert_non_null(strstr(run.out, "forwarded_tx"));
	assert_null(strstr(run.out, "ttl_exceeded"));
	assert_null(strstr(run.out, "flow_evicted"));
	RUN(answers, "stats", "--all");
	assert_non_null(strstr(run.out, "ttl_exceeded"));
	assert_non_null(strstr(run.out, "flow_evicted"));
}

static void stats_exact_has_all_digits(void **state)
{
	const struct fake_answer answers[] = {
	    {"GET /v1/stats", 200,
	     "{\"reasons\":[{\"name\":\"forwarded_tx\",\"outcome\":\"sent\",\"help\":\"sent "
	     "on\",\"packets\":1234567890123,\"bytes\":98765432109876}],"
	     "\"events\":[{\"name\":\"flow_evicted\",\"help\":\"replaced\",\"count\":12345678}],"
	     "\"sources_over_rate\":[{\"service\":\"web\",\"prefix\":\"198.51.100.0/24\","
	     "\"dropped\":7654321,\"last_s\":4}]}"},
	    {NULL}};

	RUN(answers, "stats", "--exact");
	assert_non_null(strstr(run.out, "Sent (forwarded or answered): 1234567890123 packets, "
					"98765432109876 bytes\n"));
	assert_non_null(
	    strstr(run.out, "  forwarded_tx         1234567890123 98765432109876  sent on\n"));
	assert_non_null(strstr(run.out, "  flow_evicted              12345678"));
	assert_non_null(strstr(run.out, "  198.51.100.0/24            7654321 dropped, last 4s"));
}

static void stats_shows_the_sources_above_their_rate(void **state)
{
	char sources[2048] = "", text[3000];
	struct fake_answer answers[] = {{"GET /v1/stats", 200, text}, {NULL}};

	for (unsigned i = 0; i < 12; i++)
		snprintf(sources + strlen(sources), sizeof(sources) - strlen(sources),
			 "%s{\"service\":\"we\\u001bb\",\"prefix\":\"198.51.%u.0/24\","
			 "\"dropped\":%u,\"dropped_at_least\":9,\"last_s\":4}",
			 i ? "," : "", i, 12000 - i);
	snprintf(text, sizeof(text), "{\"reasons\":[],\"events\":[],\"sources_over_rate\":[%s]}",
		 sources);
	RUN(answers, "stats");
	assert_non_null(strstr(run.out, "Sources above their rate of new flows\n"));
	assert_non_null(
	    strstr(run.out, "198.51.0.0/24           12.0k dropped, last 4s ago, we?b\n"));
	assert_non_null(strstr(run.out, "198.51.9.0/24"));
	assert_null(strstr(run.out, "198.51.10.0/24"));
	assert_non_null(strstr(run.out, "2 more: lbctl stats --all\n"));
	RUN(answers, "stats", "--all");
	assert_non_null(strstr(run.out, "198.51.11.0/24"));
	assert_null(strstr(run.out, "more: lbctl"));
}

static void services_show_status_and_transitions(void **state)
{
	const struct fake_answer answers[] = {
	    {"GET /v1/services", 200,
	     "{\"services\":[{\"name\":\"web\",\"vip\":\"2001:db8::10\","
	     "\"protocol\":\"tcp\",\"port\":443,\"algorithm\":\"maglev\","
	     "\"forward\":\"ipip\",\"status\":\"degraded\",\"backends\":3,"
	     "\"backends_up\":2,\"slots\":1021,\"slots_in_transition\":12,"
	     "\"ring_digest\":\"89abcdef01234567\",\"limited\":true,\"over_rate\":1200,"
	     "\"over_source_rate\":7,\"flows\":1500,"
	     "\"bytes\":2000000}]}"},
	    {NULL}};

	RUN(answers, "services");
	assert_non_null(strstr(
	    run.out,
	    "web      [2001:db8::10]:443/tcp  degraded  2/3       -             -      -    -    -    -       -  "
	    "maglev     ipip     1021 89abcdef  1.50k        0  2.00M"));
	assert_non_null(strstr(run.out, "web: 12 of 1021 slots in transition"));
	assert_non_null(strstr(run.out, "web: reached its share of the crowded flow table"));
	assert_non_null(strstr(run.out, "web: new flows dropped above its rate: 1.20k packets; "
					"above a source's rate: 7 (lbctl stats)\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_first_line_of_status_says_whether_it_forwards),
	    cmocka_unit_test(status_check_exits_1_if_nothing_is_forwarded),
	    cmocka_unit_test(status_names_modes_memory_and_changes),
	    cmocka_unit_test(status_shows_the_seed_blind_services_and_a_crowded_table),
	    cmocka_unit_test(status_warns_of_noticeable_lateness),
	    cmocka_unit_test(status_shows_the_probe_process_and_warns_without_it),
	    cmocka_unit_test(json_output_is_the_answer_of_lbd),
	    cmocka_unit_test(the_name_of_a_service_is_escaped_in_the_request),
	    cmocka_unit_test(changes_are_posted_as_the_contract_says),
	    cmocka_unit_test(a_state_that_a_reload_keeps_is_called_no_drain),
	    cmocka_unit_test(keys_of_a_service_that_are_no_keys_are_refused_before_lbd_is_asked),
	    cmocka_unit_test(reload_names_what_was_kept_and_what_was_dropped),
	    cmocka_unit_test(the_words_for_a_change_are_true),
	    cmocka_unit_test(services_that_are_down_say_why),
	    cmocka_unit_test(status_names_the_limit_of_flows_as_the_config_does),
	    cmocka_unit_test(warnings_of_a_change_follow_its_result),
	    cmocka_unit_test(a_trial_says_what_would_change),
	    cmocka_unit_test(diff_exits_1_if_something_differs),
	    cmocka_unit_test(save_writes_the_text_that_lbd_gives_with_the_mode_of_the_file),
	    cmocka_unit_test(save_says_what_lbd_warns_of),
	    cmocka_unit_test(save_changes_no_file_if_one_of_several_cannot_be_written),
	    cmocka_unit_test(save_that_stops_half_way_names_what_is_replaced_and_keeps_the_rest),
	    cmocka_unit_test(save_whose_first_file_cannot_be_replaced_changes_nothing),
	    cmocka_unit_test(save_writes_nothing_where_it_cannot_or_need_not),
	    cmocka_unit_test(reload_of_lists_says_what_was_read),
	    cmocka_unit_test(services_show_their_lists),
	    cmocka_unit_test(names_in_an_answer_reach_no_terminal_with_escapes),
	    cmocka_unit_test(attach_and_status_say_what_makes_packets_get_lost),
	    cmocka_unit_test(a_refusal_prints_lbds_sentence_and_hint_and_exits_1),
	    cmocka_unit_test(a_bad_argument_to_lbd_is_a_failure_not_wrong_usage),
	    cmocka_unit_test(a_missing_socket_says_how_to_start_lbd),
	    cmocka_unit_test(detach_all_asks_lbd_for_each_interface),
	    cmocka_unit_test(detach_all_says_that_there_is_nothing_to_detach),
	    cmocka_unit_test(a_socket_without_listener_says_so),
	    cmocka_unit_test(a_socket_whose_queue_is_full_says_so),
	    cmocka_unit_test(a_place_in_the_queue_of_the_socket_is_waited_for),
	    cmocka_unit_test(only_root_may_detach_without_lbd),
	    cmocka_unit_test(what_is_no_directory_of_pins_stays),
	    cmocka_unit_test(without_permission_it_says_who_has_it),
	    cmocka_unit_test(a_closed_connection_points_to_the_log),
	    cmocka_unit_test(an_answer_that_is_not_from_lbd_is_refused),
	    cmocka_unit_test(a_socket_path_that_is_too_long_is_wrong_usage),
	    cmocka_unit_test(the_environment_names_the_socket),
	    cmocka_unit_test(version_works_without_lbd),
	    cmocka_unit_test(a_request_can_be_waited_for_beside_other_input),
	    cmocka_unit_test(a_request_without_lbd_names_the_next_step),
	    cmocka_unit_test(what_is_no_text_in_a_list_of_texts_is_left_empty),
	    cmocka_unit_test(stats_hides_counters_at_zero_without_all),
	    cmocka_unit_test(stats_exact_has_all_digits),
	    cmocka_unit_test(stats_shows_the_sources_above_their_rate),
	    cmocka_unit_test(services_show_status_and_transitions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
