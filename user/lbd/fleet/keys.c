/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads the key file. */
#include "keys.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/secret.h"

#define WHAT "peers: key-file"
#define LINE (2 * FLEET_KEY)

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool parse_key(const char *line, size_t length, uint8_t ret[FLEET_KEY])
{
	if (length != LINE)
		return false;
	for (unsigned i = 0; i < FLEET_KEY; i++) {
		int high = digit_of(line[2 * i]), low = digit_of(line[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		ret[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static bool name_key(struct fleet_key *key)
{
	static const char label[] = "lbd peer key";
	uint8_t hash[EVP_MAX_MD_SIZE];
	unsigned length;

	if (!HMAC(EVP_sha256(), key->secret, sizeof(key->secret), (const uint8_t *)label,
		  sizeof(label) - 1, hash, &length))
		return false;
	for (unsigned i = 0; i < FLEET_KEY_HASH; i++)
		snprintf(key->id + 2 * i, 3, "%02x", hash[i]);
	return true;
}

static int parse_line(const char *path, const char *line, size_t length, struct fleet_keys *keys,
		      struct error *err)
{
	struct fleet_key *key = &keys->list[keys->count];

	if (keys->count == FLEET_KEYS)
		return error_set(err, -EINVAL,
				 WHAT ": %s: more than %d keys: expected one, or two "
				      "while keys are changed",
				 path, FLEET_KEYS);
	if (!parse_key(line, length, key->secret))
		return error_set(err, -EINVAL,
				 WHAT ": %s: key %u: expected %d hexadecimal digits, "
				      "as openssl rand -hex %d prints",
				 path, keys->count + 1, LINE, FLEET_KEY);
	if (!name_key(key))
		return error_set(err, -ENOMEM, "out of memory");
	if (fleet_keys_find(keys, key->id, FLEET_KEY_ID - 1))
		return error_set(err, -EINVAL,
				 WHAT ": %s: key %u: is the first one: expected "
				      "another, or one line",
				 path, keys->count + 1);
	keys->count++;
	return 0;
}

/* Empty lines are none. */
static int parse(const char *path, const char *text, size_t length, struct fleet_keys *keys,
		 struct error *err)
{
	int rc = 0;

	for (size_t at = 0, end; !rc && at < length; at = end + 1) {
		const char *next = memchr(text + at, '\n', length - at);
		size_t last = end = next ? (size_t)(next - text) : length;

		if (last > at && text[last - 1] == '\r')
			last--;
		if (last > at)
			rc = parse_line(path, text + at, last - at, keys, err);
	}
	if (!rc && !keys->count)
		rc = error_set(err, -EINVAL,
			       WHAT ": %s: no key: expected %d hexadecimal digits, "
				    "as openssl rand -hex %d prints",
			       path, LINE, FLEET_KEY);
	return rc;
}

int fleet_keys_read(const char *path, struct fleet_keys *ret, struct error *err)
{
	char text[(LINE + 2) * (FLEET_KEYS + 2)];
	struct fleet_keys keys = {0};
	ssize_t length = secret_read(WHAT, path, text, sizeof(text), err);
	int rc;

	if (length < 0)
		return (int)length;
	if (length == sizeof(text))
		rc = error_set(err, -EINVAL,
			       WHAT ": %s: too long: expected one key, or two while "
				    "keys are changed, of %d hexadecimal digits each",
			       path, LINE);
	else
		rc = parse(path, text, (size_t)length, &keys, err);
	if (!rc)
		*ret = keys;
	explicit_bzero(text, sizeof(text));
	fleet_keys_clear(&keys);
	return rc;
}

const struct fleet_key *fleet_keys_find(const struct fleet_keys *keys, const char *id,
					size_t length)
{
	for (unsigned i = 0; i < keys->count; i++)
		if (length == FLEET_KEY_ID - 1 && !memcmp(keys->list[i].id, id, length))
			return &keys->list[i];
	return NULL;
}

void fleet_keys_clear(struct fleet_keys *keys)
{
	explicit_bzero(keys, sizeof(*keys));
}
