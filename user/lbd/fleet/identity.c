/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads the node's identity, or makes it. */
#include "identity.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/cleanup.h"
#include "common/files.h"
#include "common/log.h"

#define DIGITS 16

/* 16 hexadecimal digits, not all 0; a line end may follow. */
static uint64_t parse(const char *text)
{
	size_t digits = strspn(text, "0123456789abcdef");

	if (digits != DIGITS || (text[digits] && strcmp(text + digits, "\n") != 0))
		return 0;
	return strtoull(text, NULL, 16);
}

/* 0: there is none that can be used. What is no identity makes way for one, but *ret_kept: what is
 * there may be one, and cannot be read now. */
static uint64_t read_identity(const char *path, bool *ret_kept)
{
	_cleanup_free_ char *text = NULL;
	struct error err;
	ssize_t length = file_read_kept(path, DIGITS + 1, &text, &err);
	uint64_t identity = length < 0 ? 0 : parse(text);

	*ret_kept = file_may_be_good((int)length);
	if (length == -ENOENT)
		return 0;
	if (length < 0)
		log_warning("peers: %s", err.text);
	else if (!identity)
		log_warning("peers: %s: expected the identity of this node, %d hexadecimal digits",
			    path, DIGITS);
	if (!identity && !*ret_kept && !file_set_aside(path, &err))
		log_warning("peers: %s", err.text);
	return identity;
}

static uint64_t make_identity(const char *path)
{
	char text[DIGITS + 2];
	uint64_t identity;
	int rc;

	if (getrandom(&identity, sizeof(identity), 0) != sizeof(identity) || !identity) {
		log_warning("peers: no random number for the identity of this node");
		return 0;
	}
	snprintf(text, sizeof(text), "%016" PRIx64 "\n", identity);
	rc = file_replace(path, text);
	if (!rc)
		return identity;
	log_warning("peers: %s: %s: this node has no identity: other nodes do not notice that it "
		    "was replaced",
		    path, strerror(-rc));
	return 0;
}

uint64_t identity_find(const char *path)
{
	bool kept;
	uint64_t identity = read_identity(path, &kept);

	return identity || kept ? identity : make_identity(path);
}
