/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/config/api.c: the listener for other machines; which of its files are refused. */
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lbd/config/config.h"
#include "support/test_file.h"
#include "support/test_tls.h"

#define TOKEN "0123456789abcdef0123456789abcdef"
#define OTHER "fedcba9876543210fedcba9876543210"

static char directory[] = "/tmp/test_api.XXXXXX";

/* "@" stands for the directory. */
static void expand(const char *text, char ret[1024])
{
	size_t length = 0;

	for (; *text && length + sizeof(directory) < 1024; text++)
		if (*text == '@')
			length += (size_t)snprintf(ret + length, 1024 - length, "%s", directory);
		else
			ret[length++] = *text;
	ret[length] = 0;
}

static int try(const char *keys, struct config **ret, struct error *err)
{
	char text[1024], expanded[1024];

	snprintf(text, sizeof(text), "api: { %s }\nservices: []\n", keys);
	expand(text, expanded);
	return config_parse(expanded, strlen(expanded), "lbd.yaml", ret, err);
}

static struct config *accept_keys(const char *keys)
{
	struct config *config = NULL;
	struct error err;

	if (try(keys, &config, &err))
		fail_msg("%s", err.text);
	return config;
}

static void expect_refused(const char *keys, const char *part)
{
	struct config *config = NULL;
	struct error err = {""};
	char expected[1024];

	expand(part, expected);
	if (!try(keys, &config, &err))
		fail_msg("accepted: %s", keys);
	assert_null(config);
	if (!strstr(err.text, expected) || !strstr(err.text, "lbd.yaml:1: api: "))
		fail_msg("expected %s in: %s", expected, err.text);
}

/* A file of the directory. */
static const char *file(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

static void set_mode(const char *name, mode_t mode)
{
	assert_int_equal(chmod(file(name), mode), 0);
}

static void put_tokens(const char *text)
{
	test_file_put(file("tokens"), text);
	set_mode("tokens", 0600);
}

#define PAIR   "listen: '10.0.0.2:9470', certificate: @/server.pem, key: @/server.key"
#define CA     PAIR ", client-ca: @/ca.pem"
#define TOKENS PAIR ", token-file: @/tokens"

static void without_the_key_there_is_no_listener(void **unused)
{
	struct config *config = NULL;
	struct error err;

	assert_int_equal(config_parse("services: []\n", 13, "lbd.yaml", &config, &err), 0);
	assert_null(config->api);
	config_free(config);
}

static void a_listener_registers_and_reads_unless_the_config_says_else(void **unused)
{
	struct config *config = accept_keys(CA), *copy;

	assert_int_equal(config->api->offers, CONFIG_OFFER_REGISTER);
	assert_int_equal(config->api->port, 9470);
	assert_true(config->api->verifies);
	assert_int_equal(config->api->tokens_count, 0);
	assert_int_equal(config_copy(config, &copy), 0);
	config_free(config);
	assert_string_equal(copy->api->listen, "10.0.0.2:9470");
	config_free(copy);
	config = accept_keys(CA ", offers: all");
	assert_int_equal(config->api->offers, CONFIG_OFFER_ALL);
	config_free(config);
	config = accept_keys(CA ", offers: read");
	assert_int_equal(config->api->offers, CONFIG_OFFER_READ);
	config_free(config);
}

static void tokens_have_names(void **unused)
{
	struct config *config;

	put_tokens("# of the shop\n\nweb " TOKEN "\r\nscaler\t " OTHER "\n");
	config = accept_keys(TOKENS);
	assert_false(config->api->verifies);
	assert_int_equal(config->api->tokens_count, 2);
	assert_string_equal(config->api->tokens[0].name, "web");
	assert_string_equal(config->api->tokens[0].secret, TOKEN);
	assert_string_equal(config->api->tokens[1].name, "scaler");
	assert_string_equal(config->api->tokens[1].secret, OTHER);
	config_free(config);
}

static void a_listener_that_lets_anybody_in_is_refused(void **unused)
{
	expect_refused(PAIR, "client-ca: missing: expected client-ca or token-file");
	expect_refused("listen: '0.0.0.0:9470', certificate: @/server.pem, key: @/server.key",
		       "client-ca: missing: expected client-ca or token-file");
}

static void what_is_missing_is_named(void **unused)
{
	expect_refused("certificate: @/server.pem, key: @/server.key, client-ca: @/ca.pem",
		       "listen: missing: expected an address and port");
	expect_refused("listen: '9470', certificate: @/server.pem, key: @/server.key, "
		       "client-ca: @/ca.pem",
		       "listen: 9470: expected an address and port");
	expect_refused("listen: '[::]:9470', key: @/server.key, client-ca: @/ca.pem",
		       "certificate: missing");
	expect_refused("listen: '[::]:9470', certificate: @/server.pem, client-ca: @/ca.pem",
		       "key: missing");
	expect_refused(CA ", offers: some", "offers: some: expected read, register or all");
	expect_refused(PAIR ", client-ca: @/nothing", "client-ca: @/nothing: No such file");
	expect_refused(PAIR ", token-file: @/nothing", "token-file: @/nothing: No such file");
	expect_refused(PAIR ", token-file: tokens",
		       "token-file: tokens: expected an absolute path");
}

static void files_that_others_may_use_are_refused(void **unused)
{
	set_mode("server.key", 0644);
	expect_refused(CA, "key: @/server.key: mode 644: expected 600 or 640");
	set_mode("server.key", 0600);
	set_mode("ca.pem", 0664);
	expect_refused(CA, "client-ca: @/ca.pem: mode 664: expected that only its owner may write");
	set_mode("ca.pem", 0644);
	set_mode("server.pem", 0622);
	expect_refused(CA, "certificate: @/server.pem: mode 622");
	set_mode("server.pem", 0644);
	put_tokens("web " TOKEN "\n");
	set_mode("tokens", 0644);
	expect_refused(TOKENS, "token-file: @/tokens: mode 644: expected 600 or 640");
	config_free(accept_keys(CA));
}

/* Certificates of the tests have keys of another kind. */
static void put_rsa_key(const char *name)
{
	EVP_PKEY *key = EVP_RSA_gen(2048);
	FILE *to = fopen(file(name), "w");

	assert_true(key && to);
	assert_int_equal(PEM_write_PrivateKey(to, key, NULL, NULL, 0, NULL, NULL), 1);
	fclose(to);
	EVP_PKEY_free(key);
	set_mode(name, 0600);
}

static void a_key_of_another_certificate_is_refused(void **unused)
{
	expect_refused("listen: '[::]:9470', certificate: @/server.pem, key: @/client.key, "
		       "client-ca: @/ca.pem",
		       "key: @/client.key: is not the key of the certificate");
	put_rsa_key("rsa.key");
	expect_refused("listen: '[::]:9470', certificate: @/server.pem, key: @/rsa.key, "
		       "client-ca: @/ca.pem",
		       "key: @/rsa.key: is not the key of the certificate");
}

static void what_is_no_certificate_is_refused(void **unused)
{
	test_file_put(file("broken.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n"
					  "-----END CERTIFICATE-----\n");
	set_mode("broken.pem", 0644);
	expect_refused(PAIR ", client-ca: @/broken.pem", "client-ca: @/broken.pem: ");
	expect_refused(PAIR ", client-ca: @/server.key", "with a line \"-----BEGIN CERTIFICATE");
	expect_refused("listen: '[::]:9470', certificate: @/server.pem, key: @/ca.pem, "
		       "client-ca: @/ca.pem",
		       "key: @/ca.pem: mode 644");
}

static void links_lead_to_the_files(void **unused)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/live.key", directory);
	assert_int_equal(symlink("server.key", path), 0);
	config_free(accept_keys("listen: '[::]:9470', certificate: @/server.pem, "
				"key: @/live.key, client-ca: @/ca.pem"));
}

static void what_is_no_token_is_refused_without_showing_it(void **unused)
{
	static const char *const texts[] = {"web",
					    "web short",
					    TOKEN "\n",
					    "web " TOKEN "\t1\n",
					    "1web " TOKEN,
					    "web " TOKEN "\nweb " OTHER,
					    "web " TOKEN "\nscaler " TOKEN,
					    "",
					    "# none\n"};

	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct config *config;
		struct error err = {""};

		put_tokens(texts[i]);
		expect_refused(TOKENS, "token-file: @/tokens: ");
		assert_int_not_equal(try(TOKENS, &config, &err), 0);
		assert_null(strstr(err.text, TOKEN));
	}
}

#define BOTH TOKENS ", client-ca: @/ca.pem"

static bool permits(const struct config *config, const char *token, const char *certificate,
		    const char *service)
{
	return config_api_permits(config->api, &(struct config_asker){token, certificate}, service);
}

static void without_clients_all_may_register_everywhere(void **unused)
{
	struct config *config = accept_keys(CA);

	assert_true(permits(config, NULL, "web-1", "web"));
	assert_true(permits(config, NULL, NULL, NULL));
	config_free(config);
}

static void clients_register_where_they_may_and_others_nowhere(void **unused)
{
	struct config *config;
	char text[64];

	put_tokens("web " TOKEN "\nscaler " OTHER "\n");
	config = accept_keys(BOTH ", clients: [{ token: scaler }, "
				  "{ token: web, services: [web, web6] }, "
				  "{ certificate: 'db-*', services: [db] }, "
				  "{ certificate: one, services: [one] }]");
	assert_true(permits(config, "scaler", NULL, "web"));
	assert_true(permits(config, "scaler", NULL, NULL));
	assert_true(permits(config, "web", NULL, "web"));
	assert_true(permits(config, "web", NULL, "web6"));
	assert_false(permits(config, "web", NULL, "web66"));
	assert_false(permits(config, "web", NULL, NULL));
	assert_true(permits(config, NULL, "db-7", "db"));
	assert_false(permits(config, NULL, "db-7", "web"));
	assert_false(permits(config, NULL, "db", "db"));
	assert_true(permits(config, NULL, "one", "one"));
	assert_false(permits(config, NULL, "one-more", "one"));
	/* what a token may, no certificate of its name may */
	assert_false(permits(config, NULL, "scaler", "web"));
	assert_false(permits(config, NULL, NULL, "web"));
	assert_true(permits(config, "web", "db-1", "db"));
	config_api_permitted(config->api, &(struct config_asker){"web", "db-1"}, text,
			     sizeof(text));
	assert_string_equal(text, "only in web, web6, db");
	config_api_permitted(config->api, &(struct config_asker){"x", NULL}, text, sizeof(text));
	assert_string_equal(text, "nowhere");
	config_free(config);
}

static void clients_that_mean_nobody_are_refused(void **unused)
{
	put_tokens("web " TOKEN "\n");
	expect_refused(BOTH ", clients: []", "clients");
	expect_refused(BOTH ", clients: [{ services: [web] }]", "expected either token or");
	expect_refused(BOTH ", clients: [{ token: web, certificate: web }]",
		       "certificate: web: beside token: expected either");
	expect_refused(BOTH ", clients: [{ token: wep }]", "token: wep: no such token");
	expect_refused(CA ", clients: [{ token: web }]", "token: web: no such token");
	expect_refused(TOKENS ", clients: [{ certificate: web }]", "expected client-ca");
	expect_refused(BOTH ", clients: [{ certificate: 'w*b' }]", "certificate: w*b: expected a");
	expect_refused(BOTH ", clients: [{ certificate: '' }]", "certificate");
	expect_refused(BOTH ", clients: [{ token: web, services: [] }]", "services");
	expect_refused(BOTH ", clients: [{ token: web, services: ['a b'] }]",
		       "a b: expected the name of a service");
	expect_refused(BOTH ", clients: [{ token: web, services: [a, a] }]", "a: listed twice");
	expect_refused(BOTH ", clients: [{ token: web }, { token: web, services: [a] }]",
		       "token: web: listed twice");
}

static void services_of_clients_that_are_not_there_are_named(void **unused)
{
	struct config *config;
	struct sentences sentences = {0};

	put_tokens("web " TOKEN "\n");
	config = accept_keys(TOKENS ", clients: [{ token: web, services: [web] }]");
	config_lacks_services(config, &sentences);
	assert_int_equal(sentences.count, 1);
	assert_string_equal(sentences.list[0],
			    "api: clients: token web: services: web: there is no such service: "
			    "expected the name of one");
	sentences_done(&sentences);
	config_free(config);
}

static int set_up(void **unused)
{
	if (!mkdtemp(directory))
		return -1;
	test_tls_make(directory);
	set_mode("ca.pem", 0644);
	return 0;
}

static int tear_down(void **unused)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -r %s", directory);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(without_the_key_there_is_no_listener),
	    cmocka_unit_test(a_listener_registers_and_reads_unless_the_config_says_else),
	    cmocka_unit_test(tokens_have_names),
	    cmocka_unit_test(a_listener_that_lets_anybody_in_is_refused),
	    cmocka_unit_test(what_is_missing_is_named),
	    cmocka_unit_test(files_that_others_may_use_are_refused),
	    cmocka_unit_test(a_key_of_another_certificate_is_refused),
	    cmocka_unit_test(what_is_no_certificate_is_refused),
	    cmocka_unit_test(links_lead_to_the_files),
	    cmocka_unit_test(what_is_no_token_is_refused_without_showing_it),
	    cmocka_unit_test(without_clients_all_may_register_everywhere),
	    cmocka_unit_test(clients_register_where_they_may_and_others_nowhere),
	    cmocka_unit_test(clients_that_mean_nobody_are_refused),
	    cmocka_unit_test(services_of_clients_that_are_not_there_are_named),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
