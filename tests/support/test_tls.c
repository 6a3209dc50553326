/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "test_tls.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

/* Who signs: itself, if issuer is NULL. */
struct pair {
	X509 *certificate;
	EVP_PKEY *key;
};

static void add_part(X509_NAME *name, const char *field, const char *text)
{
	assert_int_equal(X509_NAME_add_entry_by_txt(name, field, MBSTRING_ASC,
						    (const unsigned char *)text, -1, -1, 0),
			 1);
}

static void add_extension(X509 *certificate, int kind, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, kind, value);

	assert_non_null(extension);
	assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
	X509_EXTENSION_free(extension);
}

static FILE *create(const char *directory, const char *name, const char *end)
{
	char path[256];
	FILE *file;
	int fd;

	snprintf(path, sizeof(path), "%s/%s%s", directory, name, end);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	file = fd < 0 ? NULL : fdopen(fd, "w");
	assert_non_null(file);
	return file;
}

static void write_pair(const char *directory, const char *name, const struct pair *pair)
{
	FILE *file = create(directory, name, ".pem");

	assert_int_equal(PEM_write_X509(file, pair->certificate), 1);
	fclose(file);
	file = create(directory, name, ".key");
	assert_int_equal(PEM_write_PrivateKey(file, pair->key, NULL, NULL, 0, NULL, NULL), 1);
	fclose(file);
}

static struct pair make_pair(const char *directory, const char *file, const char *name,
			     const struct pair *issuer)
{
	static long serial;
	struct pair pair = {X509_new(), EVP_EC_gen("P-256")};
	X509_NAME *subject = X509_get_subject_name(pair.certificate);

	X509_set_version(pair.certificate, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(pair.certificate), ++serial);
	X509_gmtime_adj(X509_getm_notBefore(pair.certificate), -3600);
	X509_gmtime_adj(X509_getm_notAfter(pair.certificate), 3600);
	X509_set_pubkey(pair.certificate, pair.key);
	add_part(subject, "O", "shop");
	add_part(subject, "CN", name);
	X509_set_issuer_name(pair.certificate,
			     issuer ? X509_get_subject_name(issuer->certificate) : subject);
	add_extension(pair.certificate, NID_basic_constraints,
		      issuer ? "CA:FALSE" : "critical,CA:TRUE");
	assert_true(X509_sign(pair.certificate, issuer ? issuer->key : pair.key, EVP_sha256()) > 0);
	write_pair(directory, file, &pair);
	return pair;
}

static void pair_free(struct pair *pair)
{
	X509_free(pair->certificate);
	EVP_PKEY_free(pair->key);
}

void test_tls_make(const char *directory)
{
	struct pair authority = make_pair(directory, "ca", "lab", NULL),
		    other = make_pair(directory, "other", "another", NULL);
	struct pair pairs[] = {make_pair(directory, "server", "lb", &authority),
			       make_pair(directory, "client", "web-1", &authority),
			       make_pair(directory, "stranger", "web-1", &other), authority, other};

	for (unsigned i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		pair_free(&pairs[i]);
}
