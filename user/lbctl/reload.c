/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl reload: asks lbd to read its config again. */
#include <errno.h>
#include <stdio.h>

#include "lbctl/core/call.h"
#include "lbctl/core/format.h"
#include "lbctl/core/json.h"
#include "lbctl/core/show.h"
#include "lbctl/core/verb.h"

static void print_changes(const json_t *answer, const char *list)
{
	const json_t *change;
	char name[256];
	size_t i;

	json_array_foreach (json_object_get(answer, list), i, change) {
		show_backend_name(change, name, sizeof(name));
		printf("  %-8s %s: %s\n", list, name, json_text(change, "change"));
	}
}

static void print_notes(const json_t *answer, bool whole)
{
	uint64_t kept = json_number(answer, "kept_overrides"),
		 dropped = json_number(answer, "dropped_overrides");
	char changes[64];

	if (kept && whole)
		printf("%s kept\n", format_plural(kept, "run-time change", changes));
	else if (kept)
		printf("%s kept: lbctl backend undrain ends one\n",
		       format_plural(kept, "drain", changes));
	print_changes(answer, "kept");
	if (dropped)
		printf("%s dropped: the config file takes precedence\n",
		       format_plural(dropped, "run-time change", changes));
	print_changes(answer, "dropped");
}

static void print_reloaded(const json_t *answer)
{
	char services[64], backends[64];

	printf("reloaded: %s, %s\n",
	       format_plural(json_number(answer, "services"), "service", services),
	       format_plural(json_number(answer, "backends"), "backend", backends));
}

static void print_trial(const json_t *answer)
{
	uint64_t changed = json_number(answer, "changed");
	char some[64];

	printf("the file is valid; a reload would make %s\n",
	       changed ? format_plural(changed, "change", some) : "no change");
	show_changes(answer);
}

static void print_lists(const json_t *answer)
{
	uint64_t services = json_number(answer, "services");
	char with[64];

	if (!services)
		printf("no service has allow or deny lists\n");
	else
		printf("lists reloaded: %s with lists, %llu changed; prefixes: %llu\n",
		       format_plural(services, "service", with),
		       (unsigned long long)json_number(answer, "changed"),
		       (unsigned long long)json_number(answer, "prefixes"));
}

static json_t *request(bool lists, bool trial, bool keep)
{
	json_t *body = json_object();

	if (lists)
		json_object_set_new(body, "lists", json_true());
	if (trial)
		json_object_set_new(body, "dry_run", json_true());
	if (keep)
		json_object_set_new(body, "keep", json_true());
	return body;
}

static int run_reload(struct call *call, struct error *err)
{
	bool lists = call_option(call, "--lists"), trial = call_option(call, "--dry-run"),
	     keep = call_option(call, "--keep");
	json_t *answer = NULL;
	int rc;

	if (lists && (trial || keep))
		return error_set(
		    err, -EINVAL,
		    "reload: --lists: expected neither --dry-run nor --keep beside it");
	rc = call_post(call, "/v1/reload", request(lists, trial, keep), &answer, err);
	if (rc)
		return rc;
	if (call->json) {
		rc = show_json(answer, err);
	} else if (lists) {
		print_lists(answer);
	} else {
		if (trial)
			print_trial(answer);
		else
			print_reloaded(answer);
		print_notes(answer, keep);
	}
	json_decref(answer);
	return rc;
}

REGISTER(verb, reload) = {
    .name = "reload",
    .group = VERB_CHANGE,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "read the config file again",
    .details =
	"All or nothing: a bad file changes nothing, and the error names the file, the "
	"line and what was expected. Flows keep their backends. Drains hold while the "
	"backend is in the file. Other run-time changes (service and backend add, remove, weight) are "
	"dropped, and named: the file takes precedence; with --keep they hold where the file "
	"leaves their service and backend. What is not as the file says (keys that only a "
	"start reads, interfaces that are not there) is printed as a warning. Files of "
	"`allow` and `deny` lists are read again too; with --lists only they are, and "
	"nothing else changes.",
    .options = {{.name = "--dry-run",
		 .help =
		     "change nothing; print what a reload would change, keep, drop and warn of"},
		{.name = "--keep", .help = "keep all run-time changes, not only drains"},
		{.name = "--lists",
		 .help = "read only the files of `allow` and `deny` lists again, all or nothing"}},
    .examples = {{"reload",
		  "after editing /etc/lbd/lbd.yaml; `lbd --check FILE` checks a file without "
		  "loading it"},
		 {"reload --dry-run", "what would change?"},
		 {"reload --lists", "after a new version of a list has been renamed into place"}},
    .run = run_reload,
};
