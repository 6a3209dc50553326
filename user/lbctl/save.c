/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl save: writes run-time changes into the config file. lbd says what the file becomes; lbctl
 * writes it, with the rights of whoever calls it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/files.h"
#include "lbctl/core/call.h"
#include "lbctl/core/format.h"
#include "lbctl/core/json.h"
#include "lbctl/core/show.h"
#include "lbctl/core/verb.h"

/* Whole or not at all. A symbolic link is followed: the file that it names is replaced. */
static int replace(const char *path, const char *text, struct error *err)
{
	_cleanup_free_ char *real = realpath(path, NULL), *beside = NULL;
	bool changed = false;
	int rc;

	if (!real || asprintf(&beside, "%s.lbctl-save", real) < 0) {
		beside = NULL;
		return error_set(err, -errno, "%s: %s", path, strerror(errno));
	}
	rc = file_change(real, beside, text, &changed);
	if (rc && changed)
		return error_set(err, rc,
				 "%s: changed, but after a power failure it may be the former one: "
				 "its directory: %s",
				 real, strerror(-rc));
	return rc ? error_set(err, rc, "%s: %s; %s was not changed", beside, strerror(-rc), path)
		  : 0;
}

/* Those that change. An lbd of before has one file, in the answer itself. A new reference. */
static json_t *changed_files(json_t *answer)
{
	json_t *files = json_object_get(answer, "files");

	return json_is_array(files) ? json_incref(files) : json_pack("[O]", answer);
}

static int write_file(const json_t *file, struct error *err)
{
	const char *path = json_text(file, "path");
	int rc;

	if (!strncmp(path, "etcd:", 5))
		return error_set(err, -EIO,
				 "the config is in etcd, for all nodes: lbctl save --print > FILE, "
				 "then lbctl fleet apply FILE");
	if (*path != '/')
		return error_set(
		    err, -EIO,
		    "%s: lbd was started with a relative path: use --print and write the "
		    "file yourself",
		    path);
	rc = replace(path, json_text(file, "text"), err);
	return rc == -EINVAL ? -EIO : rc;
}

static int write_files(const json_t *files, struct error *err)
{
	const json_t *file;
	size_t i;
	int rc = 0;

	json_array_foreach (files, i, file) {
		rc = write_file(file, err);
		if (rc)
			break;
	}
	return rc;
}

static void print_written(const json_t *files)
{
	const json_t *file;
	size_t i;

	json_array_foreach (files, i, file)
		printf("%s%s", i ? ", " : "", json_text(file, "path"));
}

static int save(json_t *answer, struct error *err)
{
	uint64_t changes = json_number(answer, "changes");
	json_t *files = changed_files(answer);
	int rc = changes ? write_files(files, err) : 0;
	char some[64];

	if (!rc) {
		call_make_printable(answer); /* the texts have been written as they are */
		if (changes) {
			printf("%s written into ", format_plural(changes, "run-time change", some));
			print_written(files);
			printf(". Next: lbctl reload\n");
		} else {
			printf("no run-time change to save: %s stays as it is\n",
			       json_text(answer, "path"));
		}
		show_run_time_changes(json_object_get(answer, "left"), "Warning: not saved: ", "");
	}
	json_decref(files);
	return rc;
}

/* One as it is; several after their names, as head does it. Warnings are no part of them. */
static void print_texts(struct call *call, json_t *answer)
{
	json_t *files = changed_files(answer);
	const json_t *file;
	size_t i;

	if (json_array_size(files) < 2)
		fputs(json_text(json_array_size(files) ? json_array_get(files, 0) : answer, "text"),
		      stdout);
	else
		json_array_foreach (files, i, file)
			printf("%s==> %s <==\n%s", i ? "\n" : "", json_text(file, "path"),
			       json_text(file, "text"));
	json_decref(files);
	show_warnings(stderr, call->warnings);
	json_decref(call->warnings);
	call->warnings = NULL;
}

static int run_save(struct call *call, struct error *err)
{
	json_t *answer = NULL;
	int rc = call_post_raw(call, "/v1/save", json_object(), &answer, err);

	if (rc)
		return rc;
	if (call->json)
		rc = show_json(answer, err);
	else if (call_option(call, "--print"))
		print_texts(call, answer);
	else
		rc = save(answer, err);
	json_decref(answer);
	return rc;
}

REGISTER(verb, save) = {
    .name = "save",
    .group = VERB_CHANGE,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "write run-time changes into the config file",
    .details =
	"Weights, drains, added and removed backends and services become part of the file; all else in "
	"it stays, comments too. The result is checked before it is written: it says "
	"exactly what the file and the run-time changes say together, or nothing is "
	"written. A removed backend goes with the comment in its line. What the file has no "
	"place for (a service that left it, a state that was set) is named. A change goes into the file that has "
	"the service, also if that is included. Deadlines of drains are not saved. "
	"--json prints the text and what it contains and writes nothing.",
    .options = {{.name = "--print", .help = "print the file as it would be, and write nothing"}},
    .examples = {{"save && lbctl reload", "keep what was tried at run time"},
		 {"save --print | diff /etc/lbd/lbd.yaml -", "what would be written?"}},
    .run = run_save,
};
