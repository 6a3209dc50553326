/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Checks of type https and tls that verify certificates, or show one. The server is that of the
 * command openssl. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "health_loop.h"
#include "lbd/health/health.h"
#include "support/test_addr.h"
#include "support/test_netns.h"

/* An authority and another; of the first: a server, the same expired, and a client. */
#define EC " -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
#define AUTHORITY(name) \
	"openssl req -x509" EC "-days 30 -subj /CN=" name " -keyout " name ".key -out " name ".pem;"
#define REQUEST(name) "openssl req" EC "-subj /CN=" name " -keyout " name ".key -out " name ".csr;"
#define SIGNED(name, ca, days, out)                                                            \
	"openssl x509 -req -in " name ".csr -CA " ca ".pem -CAkey " ca ".key -CAcreateserial " \
	"-days " days " -extfile names -out " out ".pem;"
static const char files[] =
    "set -e; exec >/dev/null 2>&1; "
    "echo 'subjectAltName=DNS:www.example.org,IP:127.0.0.1' >names;" AUTHORITY("ca")
	AUTHORITY("other") REQUEST("server") REQUEST("client") SIGNED("server", "ca", "30", "good")
	    SIGNED("server", "ca", "-1", "expired") SIGNED("client", "ca", "30", "client")
		SIGNED("client", "other", "30", "stranger");

static char directory[] = "/tmp/lbd-test-tls-XXXXXX";
static char *ca, *other_ca, *client, *client_key, *stranger;
static pid_t server;
static uint16_t port;

static char *content(const char *name)
{
	char path[128], text[8192];
	size_t length;
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "r");
	assert_non_null(file);
	length = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	return strndup(text, length);
}

/* ---- the server ---- */

static uint16_t free_port(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&at, length), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &length), 0);
	close(fd);
	return ntohs(at.sin_port);
}

static bool listens(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	bool open = !connect(fd, (struct sockaddr *)&at, sizeof(at));

	close(fd);
	return open;
}

/* certificate: "good.pem". more: options, NULL at the end; NULL: none. */
static void server_start(const char *certificate, const char *const *more)
{
	char *words[16] = {"openssl", "s_server", "-key", "server.key", "-www", "-cert"};
	unsigned count = 6;
	uint64_t end = clock_monotonic_ms() + HANG_MS;
	char accept[32];

	port = free_port();
	snprintf(accept, sizeof(accept), "127.0.0.1:%u", port);
	words[count++] = (char *)certificate;
	words[count++] = "-accept";
	words[count++] = accept;
	while (more && *more)
		words[count++] = (char *)*more++;
	server = fork();
	assert_true(server >= 0);
	if (!server) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (chdir(directory))
			_exit(1);
		freopen("/dev/null", "r+", stdout);
		freopen("/dev/null", "r+", stderr);
		execvp("openssl", words);
		_exit(1);
	}
	while (!listens()) {
		assert_true(clock_monotonic_ms() < end);
		usleep(10000);
	}
}

static void server_stop(void)
{
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
}

/* ---- one probe ---- */

struct found {
	unsigned results;
	enum health_outcome outcome;
	enum health_status status;
	char why[320];
};

static void on_result(void *arg, const struct health_result *result)
{
	struct found *found = arg;

	found->results++;
	found->outcome = result->outcome;
	found->status = result->status;
	snprintf(found->why, sizeof(found->why), "%s", result->why);
}

static struct health_spec spec_of(const char *type)
{
	return (struct health_spec){.type = (char *)type,
				    .status_min = 200,
				    .status_max = 399,
				    .verify = true,
				    .ca = ca,
				    .server_name = (char *)"www.example.org",
				    .interval_ms = 200,
				    .timeout_ms = PATIENT_MS,
				    .rise = 1,
				    .fall = 1};
}

static struct found probe(const struct health_spec *spec)
{
	const struct addr addr = test_addr("127.0.0.1");
	struct found found = {0};
	struct health_check *check =
	    health_add(health, spec, &addr, port, HEALTH_UNKNOWN, on_result, &found);

	assert_non_null(check);
	assert_true(run_until(&found.results, 1));
	health_remove(check);
	return found;
}

static void assert_up(const struct health_spec *spec)
{
	struct found found = probe(spec);

	assert_string_equal(found.why, "");
	assert_int_equal(found.status, HEALTH_UP);
}

static void assert_down(const struct health_spec *spec, const char *why)
{
	struct found found = probe(spec);

	assert_string_equal(found.why, why);
	assert_int_equal(found.status, HEALTH_DOWN);
}

/* ---- the certificate of the server ---- */

static void a_certificate_of_the_authority_for_the_name_is_up(void **state)
{
	struct health_spec tls = spec_of("tls"), https = spec_of("https");

	server_start("good.pem", NULL);
	assert_up(&tls);
	assert_up(&https);
	https.server_name = NULL; /* then the host's name, or the address itself */
	https.host = (char *)"www.example.org:8443";
	assert_up(&https);
	https.host = NULL;
	assert_up(&https);
	server_stop();
}

static void a_certificate_for_another_name_says_so(void **state)
{
	struct health_spec tls = spec_of("tls"), https = spec_of("https");

	tls.server_name = https.host = (char *)"api.example.org";
	https.server_name = NULL;
	server_start("good.pem", NULL);
	assert_down(&tls, "TLS: the certificate is not for api.example.org");
	assert_down(&https, "TLS: the certificate is not for api.example.org");
	server_stop();
}

static void an_expired_certificate_says_so(void **state)
{
	struct health_spec tls = spec_of("tls");

	server_start("expired.pem", NULL);
	assert_down(&tls, "TLS: the certificate has expired");
	tls.verify = false;
	assert_up(&tls);
	server_stop();
}

static void a_certificate_of_another_authority_says_so(void **state)
{
	struct health_spec tls = spec_of("tls"), https = spec_of("https");

	tls.ca = https.ca = other_ca;
	server_start("good.pem", NULL);
	assert_down(&tls, "TLS: the certificate is of no authority in ca-file");
	assert_down(&https, "TLS: the certificate is of no authority in ca-file");
	server_stop();
}

static void authorities_that_are_none_say_nothing_about_the_backend(void **state)
{
	struct health_spec tls = spec_of("tls");
	struct found found;

	tls.ca = (char *)"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
	server_start("good.pem", NULL);
	found = probe(&tls);
	assert_int_equal(found.outcome, HEALTH_NOT_RUN);
	assert_ptr_equal(strstr(found.why, "probe not run: TLS: ca-file: "), found.why);
	server_stop();
}

/* ---- the certificate of the client ---- */

/* -Verify: without one that the server can verify there is no connection. */
static void a_server_that_wants_a_certificate_gets_it(void **state)
{
	struct health_spec https = spec_of("https");
	struct found found;

	server_start("good.pem", (const char *[]){"-Verify", "1", "-verify_return_error", "-CAfile",
						  "ca.pem", NULL});
	found = probe(&https);
	assert_int_equal(found.status, HEALTH_DOWN);
	https.certificate = client;
	https.key = client_key;
	assert_up(&https);
	https.certificate = stranger;
	found = probe(&https);
	assert_int_equal(found.status, HEALTH_DOWN);
	server_stop();
}

static void a_key_of_another_certificate_says_nothing_about_the_backend(void **state)
{
	struct health_spec https = spec_of("https");
	struct found found;

	https.certificate = ca;
	https.key = client_key;
	server_start("good.pem", NULL);
	found = probe(&https);
	assert_int_equal(found.outcome, HEALTH_NOT_RUN);
	assert_ptr_equal(strstr(found.why, "probe not run: TLS: certificate-file or key-file: "),
			 found.why);
	server_stop();
}

/* ---- set-up ---- */

static int make_files(void **state)
{
	char command[sizeof(files) + 128];

	signal(SIGPIPE, SIG_IGN);
	if (!mkdtemp(directory))
		return -1;
	snprintf(command, sizeof(command), "cd %s && (%s)", directory, files);
	if (system(command))
		return -1;
	ca = content("ca.pem");
	other_ca = content("other.pem");
	client = content("client.pem");
	client_key = content("client.key");
	stranger = content("stranger.pem");
	return netns_enter(state);
}

static int remove_files(void **state)
{
	char command[64];

	free(ca);
	free(other_ca);
	free(client);
	free(client_key);
	free(stranger);
	snprintf(command, sizeof(command), "rm -r %s", directory);
	return system(command);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start_loop, stop_loop)

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
	    TEST(a_certificate_of_the_authority_for_the_name_is_up),
	    TEST(a_certificate_for_another_name_says_so),
	    TEST(an_expired_certificate_says_so),
	    TEST(a_certificate_of_another_authority_says_so),
	    TEST(authorities_that_are_none_say_nothing_about_the_backend),
	    TEST(a_server_that_wants_a_certificate_gets_it),
	    TEST(a_key_of_another_certificate_says_nothing_about_the_backend),
	};

	if (health_is_worker(argc, argv))
		return health_run_worker();
	if (system("command -v openssl >/dev/null") != 0) {
		printf("skip: no openssl command\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, make_files, remove_files);
}
