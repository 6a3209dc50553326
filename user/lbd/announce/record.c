/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Files that outlive lbd: the record of where it announces, so that the routes can be removed when
 * lbd cannot be started any more, not even to read its config; and the number for keepalived. */
#include "internal.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/files.h"

#define RECORD_VERSION 1
#define RECORD_BYTES   8192

void announce_record_done(struct announce_record *record)
{
	free(record->file);
	*record = (struct announce_record){0};
}

static int from_json(const json_t *root, const char *path, struct announce_record *ret,
		     struct error *err)
{
	json_int_t table, protocol;
	const char *file = NULL;
	json_error_t why;
	int version;

	if (json_unpack_ex((json_t *)root, &why, 0, "{s:i, s:I, s:I, s?s}", "version", &version,
			   "table", &table, "protocol", &protocol, "file", &file))
		return error_set(err, -EINVAL, "%s: %s", path, why.text);
	if (version != RECORD_VERSION || table < 1 || table > UINT32_MAX || protocol < 1 ||
	    protocol > UINT8_MAX || (file && *file != '/'))
		return error_set(err, -EINVAL,
				 "%s: expected version %d with a table, a protocol and, if any, an "
				 "absolute path as file",
				 path, RECORD_VERSION);
	*ret = (struct announce_record){.set = {(uint32_t)table, (uint8_t)protocol}};
	if (file && !(ret->file = strdup(file)))
		return error_set(err, -ENOMEM, "out of memory");
	return 0;
}

int announce_record_read(const char *path, struct announce_record *ret, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	ssize_t length = file_read_kept(path, RECORD_BYTES, &text, err);
	json_error_t why;
	json_t *root;
	int rc;

	if (length < 0)
		return (int)length;
	root = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &why);
	if (!root)
		return error_set(err, -EINVAL, "%s:%d: %s", path, why.line, why.text);
	rc = from_json(root, path, ret, err);
	json_decref(root);
	return rc;
}

int announce_record_write(const char *path, const struct announce_record *record, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	json_t *root = json_pack("{s:i, s:I, s:I, s:s*}", "version", RECORD_VERSION, "table",
				 (json_int_t)record->set.table, "protocol",
				 (json_int_t)record->set.protocol, "file", record->file);
	int rc;

	text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
	json_decref(root);
	if (!text)
		return error_set(err, -ENOMEM, "%s: out of memory", path);
	rc = file_replace(path, text);
	return rc ? error_set(err, rc, "%s: %s", path, strerror(-rc)) : 0;
}

int priority_write(const char *path, int priority, struct error *err)
{
	char text[16];
	int rc;

	snprintf(text, sizeof(text), "%d\n", priority);
	rc = file_replace(path, text);
	return rc ? error_set(err, rc, "file for keepalived: %s: %s", path, strerror(-rc)) : 0;
}
