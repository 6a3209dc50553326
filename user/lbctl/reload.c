/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl reload: asks lbd to read its config again. */
#include <stdio.h>

#include "lbctl/core/call.h"
#include "lbctl/core/format.h"
#include "lbctl/core/json.h"
#include "lbctl/core/show.h"
#include "lbctl/core/verb.h"

static void print_changes(const json_t *answer, const char *list)
{
	const json_t *change;
	size_t i;

	json_array_foreach (json_object_get(answer, list), i, change)
		printf("  %-8s %s %s: %s\n", list, json_text(change, "service"),
		       json_text(change, "address"), json_text(change, "change"));
}

static void print_reloaded(const json_t *answer)
{
	uint64_t kept = json_number(answer, "kept_overrides"),
		 dropped = json_number(answer, "dropped_overrides");
	char services[64], backends[64], changes[64];

	printf("reloaded: %s, %s\n",
	       format_plural(json_number(answer, "services"), "service", services),
	       format_plural(json_number(answer, "backends"), "backend", backends));
	if (kept)
		printf("%s kept: lbctl backend undrain ends one\n",
		       format_plural(kept, "drain", changes));
	print_changes(answer, "kept");
	if (dropped)
		printf("%s dropped: the config file takes precedence\n",
		       format_plural(dropped, "run-time change", changes));
	print_changes(answer, "dropped");
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

static int run_reload(struct call *call, struct error *err)
{
	bool lists = call_option(call, "--lists");
	json_t *answer = NULL;
	int rc = call_post(call, "/v1/reload",
			   lists ? json_pack("{s:b}", "lists", true) : json_object(), &answer, err);

	if (rc)
		return rc;
	if (call->json)
		rc = show_json(answer, err);
	else if (lists)
		print_lists(answer);
	else
		print_reloaded(answer);
	json_decref(answer);
	return rc;
}

REGISTER(verb, reload) = {
    .name = "reload",
    .group = VERB_CHANGE,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "read the config file again",
    .details = "All or nothing: a bad file changes nothing, and the error names the file, the "
	       "line and what was expected. Flows keep their backends. Drains hold while the "
	       "backend is in the file. Other run-time changes (backend add, remove, weight) are "
	       "dropped, and named: the file takes precedence. Files of `allow` and `deny` lists "
	       "are read again too; with --lists only they are, and nothing else changes.",
    .options = {{.name = "--lists",
		 .help = "read only the files of `allow` and `deny` lists again, all or nothing"}},
    .examples = {{"reload",
		  "after editing /etc/lbd/lbd.yaml; `lbd --check FILE` checks a file without "
		  "loading it"},
		 {"reload --lists", "after a new version of a list has been renamed into place"}},
    .run = run_reload,
};
