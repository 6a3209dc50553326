/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the setups of several interfaces of one host need alike. */
#include "share.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/files.h"
#include "lbctl/core/json.h"
#include "lbctl/core/tool.h"

#define PREFIX "/backend-host-"

/* ---- the records of the others ---- */

int host_share_begin(struct host *host, struct error *err)
{
	int rc = directory_make(HOST_RUN_DIRECTORY, 0700);

	host->lock = -1;
	if (rc)
		return error_set(err, rc, "%s: cannot create: %s", HOST_RUN_DIRECTORY,
				 strerror(-rc));
	host->lock = open(HOST_RUN_DIRECTORY, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* Whoever may open it may lock it, for ever; an lbctl of before made it with 0755. */
	if (host->lock < 0 || fchmod(host->lock, 0700) || flock(host->lock, LOCK_EX))
		return error_set(err, -errno, "%s: cannot lock: %s", HOST_RUN_DIRECTORY,
				 strerror(errno));
	return 0;
}

/* PREFIX INTERFACE END, where the end is that of the own record: it names the network namespace. */
static bool read_interface(const struct host *host, const char *path, char ret[IF_NAMESIZE])
{
	const char *end =
	    strrchr(host->record.path, '/') + strlen(PREFIX) + strlen(host->interface);
	const char *name = strrchr(path, '/') + strlen(PREFIX);
	size_t length = strlen(name) - strlen(end);

	if (strlen(name) <= strlen(end) || length >= IF_NAMESIZE ||
	    strcmp(name + length, end) != 0 || memchr(name, '@', length))
		return false;
	memcpy(ret, name, length);
	ret[length] = 0;
	return strcmp(ret, host->interface) != 0;
}

/* In both directories: the record is read from the present one. */
static bool is_read(const struct host *host, const char *interface)
{
	for (size_t i = 0; i < host->others_count; i++)
		if (!strcmp(host->others[i].interface, interface))
			return true;
	return false;
}

static void read_other(struct host *host, const char *path)
{
	struct host_other *other = &host->others[host->others_count];
	struct error why;

	if (!read_interface(host, path, other->interface) || is_read(host, other->interface))
		return;
	if (host_record_open(HOST_RUN_DIRECTORY, HOST_FORMER_DIRECTORY, other->interface,
			     &other->record, &why))
		fprintf(stderr, TOOL ": warning: not known what %s shares with %s: %s\n",
			other->interface, host->interface, why.text);
	else
		host->others_count++;
}

int host_share_read(struct host *host, struct error *err)
{
	glob_t found = {0};
	int rc = glob(HOST_RUN_DIRECTORY PREFIX "*.json", GLOB_NOSORT, NULL, &found);

	if (!rc || rc == GLOB_NOMATCH)
		rc = glob(HOST_FORMER_DIRECTORY PREFIX "*.json", GLOB_NOSORT | GLOB_APPEND, NULL,
			  &found);
	if (rc && rc != GLOB_NOMATCH)
		return error_set(err, -EIO, "%s: cannot list the records", HOST_RUN_DIRECTORY);
	host->others = calloc(found.gl_pathc + 1, sizeof(*host->others));
	for (size_t i = 0; host->others && i < found.gl_pathc; i++)
		read_other(host, found.gl_pathv[i]);
	globfree(&found);
	return host->others ? 0 : error_set(err, -ENOMEM, "out of memory");
}

void host_share_end(struct host *host)
{
	for (size_t i = 0; i < host->others_count; i++)
		host_record_close(&host->others[i].record);
	free(host->others);
	host->others = NULL;
	host->others_count = 0;
	if (host->lock >= 0)
		close(host->lock);
	host->lock = -1;
}

/* ---- one change on several records ---- */

bool host_is_shared(const json_t *change)
{
	return json_flag(change, "shared");
}

/* The decapsulator and its VIPs are the interface's own. */
static bool is_of_host(const char *kind)
{
	static const char *const kinds[] = {"sysctl", "link", "address", "tunnel", "proto"};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (strcmp(kinds[i], kind) == 0)
			return true;
	return false;
}

static json_t *find(const struct host_record *record, const char *kind, const char *key,
		    const char *value)
{
	json_t *change;
	size_t i;

	json_array_foreach (record->changes, i, change)
		if (strcmp(json_text(change, "kind"), kind) == 0 &&
		    strcmp(json_text(change, key), value) == 0)
			return change;
	return NULL;
}

static json_t *find_other(const struct host *host, const char *kind, const char *key,
			  const char *value, struct host_other **ret)
{
	json_t *change = NULL;

	for (size_t i = 0; !change && i < host->others_count; i++) {
		*ret = &host->others[i];
		change = find(&host->others[i].record, kind, key, value);
	}
	return change;
}

int host_share(struct host *host, const char *kind, const char *key, const char *value,
	       struct error *err)
{
	struct host_other *other;
	const json_t *made = find_other(host, kind, key, value, &other);
	json_t *shared;

	if (!made || find(&host->record, kind, key, value))
		return 0;
	shared = json_copy((json_t *)made);
	if (!shared || json_object_set_new(shared, "shared", json_true()) ||
	    json_array_append(host->record.changes, shared)) {
		json_decref(shared);
		return error_set(err, -ENOMEM, "out of memory");
	}
	json_decref(shared);
	return host_record_save(&host->record, err);
}

static const char *key_of(const char *kind)
{
	return strcmp(kind, "sysctl") == 0    ? "path"
	       : strcmp(kind, "address") == 0 ? "address"
					      : "name";
}

int host_share_hand_over(struct host *host, const json_t *change, const char **ret_interface,
			 struct error *err)
{
	const char *kind = json_text(change, "kind"), *key = key_of(kind);
	struct host_other *other = NULL;
	json_t *theirs =
	    is_of_host(kind) ? find_other(host, kind, key, json_text(change, key), &other) : NULL;

	*ret_interface = theirs ? other->interface : NULL;
	if (!theirs || host_is_shared(change) || !host_is_shared(theirs))
		return 0;
	json_object_del(theirs, "shared");
	return host_record_save(&other->record, err);
}
