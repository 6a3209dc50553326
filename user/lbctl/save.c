/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl save: writes run-time changes into the config file. lbd says what the file becomes; lbctl
 * writes it, with the rights of whoever calls it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/files.h"
#include "lbctl/core/call.h"
#include "lbctl/core/format.h"
#include "lbctl/core/json.h"
#include "lbctl/core/show.h"
#include "lbctl/core/verb.h"

/* ---- files: all new ones beside the old first, then each in the place of its own ---- */

struct replacement {
	const char *path, *text; /* of the answer */
	char *real, *beside;     /* the file that a link leads to, and where the new one is first */
	bool waits;              /* the new one is beside it */
};

static void forget_all(struct replacement *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(list[i].real);
		free(list[i].beside);
	}
	free(list);
}

static void remove_waiting(struct replacement *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (list[i].waits)
			unlink(list[i].beside);
}

static int check_path(const char *path, struct error *err)
{
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
	return 0;
}

/* A symbolic link is followed: the file that it names is replaced. */
static int write_beside(struct replacement *file, struct error *err)
{
	int rc = check_path(file->path, err);

	if (rc)
		return rc;
	file->real = realpath(file->path, NULL);
	if (!file->real || asprintf(&file->beside, "%s.lbctl-save", file->real) < 0) {
		file->beside = NULL;
		return error_set(err, -EIO, "%s: %s", file->path, strerror(errno));
	}
	rc = file_write_beside(file->real, file->beside, file->text);
	file->waits = !rc;
	return rc ? error_set(err, -EIO, "%s: %s; nothing was changed", file->beside, strerror(-rc))
		  : 0;
}

/* Those after the failed one are left beside the old ones: half of a change may be no valid config,
 * and whoever mends that needs the other half. */
static int stopped(struct replacement *list, size_t failed, struct error *err)
{
	char replaced[512] = "";

	if (!failed)
		return error_set(err, -EIO, "%s: cannot be replaced: %s; nothing was changed",
				 list[0].real, strerror(errno));
	for (size_t i = 0; i < failed; i++)
		snprintf(replaced + strlen(replaced), sizeof(replaced) - strlen(replaced), "%s%s",
			 i ? ", " : "", list[i].real);
	return error_set(err, -EIO,
			 "%s: cannot be replaced: %s. Replaced already: %s. lbd may refuse the "
			 "config until the rest is: the new texts are beside the files, in "
			 "FILE.lbctl-save",
			 list[failed].real, strerror(errno), replaced);
}

static int put_in_place(struct replacement *list, size_t count, struct error *err)
{
	int rc = 0;

	for (size_t i = 0; i < count; i++) {
		if (rename(list[i].beside, list[i].real)) {
			rc = stopped(list, i, err);
			if (!i)
				remove_waiting(list, count);
			return rc;
		}
		list[i].waits = false;
	}
	for (size_t i = 0; i < count && !rc; i++) {
		rc = file_sync_directory(list[i].real);
		if (rc)
			error_set(err, -EIO,
				  "%s: changed, but after a power failure it may be the former "
				  "one: its directory: %s",
				  list[i].real, strerror(-rc));
	}
	return rc ? -EIO : 0;
}

static int write_files(const json_t *files, struct error *err)
{
	size_t count = json_array_size(files), i;
	struct replacement *list = calloc(count + 1, sizeof(*list));
	const json_t *file;
	int rc = 0;

	if (!list)
		return error_set(err, -ENOMEM, "out of memory");
	json_array_foreach (files, i, file) {
		list[i].path = json_text(file, "path");
		list[i].text = json_text(file, "text");
		rc = write_beside(&list[i], err);
		if (rc)
			break;
	}
	if (rc)
		remove_waiting(list, count);
	else
		rc = put_in_place(list, count, err);
	forget_all(list, count);
	return rc;
}

/* Those that change. An lbd of before has one file, in the answer itself. A new reference. */
static json_t *changed_files(json_t *answer)
{
	json_t *files = json_object_get(answer, "files");

	return json_is_array(files) ? json_incref(files) : json_pack("[O]", answer);
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
	"written. Of several files, all new ones are written beside the old ones "
	"(FILE.lbctl-save) before the first is replaced. A removed backend goes with the comment in its line. What the file has no "
	"place for (a service that left it, a state that was set) is named. A change goes into the file that has "
	"the service, also if that is included. Deadlines of drains are not saved. "
	"--json prints the text and what it contains and writes nothing.",
    .options = {{.name = "--print", .help = "print the file as it would be, and write nothing"}},
    .examples = {{"save && lbctl reload", "keep what was tried at run time"},
		 {"save --print | diff /etc/lbd/lbd.yaml -", "what would be written?"}},
    .run = run_save,
};
