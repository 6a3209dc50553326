/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl service add, remove: services at run time. lbd checks what is given as it checks a config:
 * here words only become the keys of a service. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "lbctl/core/call.h"
#include "lbctl/core/format.h"
#include "lbctl/core/json.h"
#include "lbctl/core/show.h"
#include "lbctl/core/verb.h"

/* ---- words to keys ---- */

/* Takes over value. 0, -EEXIST: the key is there; -ENOMEM. */
static int set_new(json_t *object, const char *key, json_t *value)
{
	if (json_object_get(object, key)) {
		json_decref(value);
		return -EEXIST;
	}
	return json_object_set_new(object, key, value) ? -ENOMEM : 0;
}

/* The mapping under the key, made if it is not there; NULL: the key has another value. */
static json_t *group_of(json_t *object, const char *key)
{
	json_t *group = json_object_get(object, key);

	if (!group && !json_object_set_new(object, key, json_object()))
		group = json_object_get(object, key);
	return json_is_object(group) ? group : NULL;
}

/* Keys whose values are lists in the config: what separates their items in a value; NULL: another
 * key. The value of a header may have commas. */
static const char *list_separator(const char *key)
{
	static const char *const lists[][2] = {
	    {"allow", ","}, {"deny", ","}, {"hash", ","}, {"command", ","}, {"headers", ""}};

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		if (!strcmp(key, lists[i][0]))
			return lists[i][1];
	return NULL;
}

/* "a,b" at the end of a list, which is made if it is not there. */
static int add_items(json_t *object, const char *key, const char *text, const char *separator)
{
	json_t *list = json_object_get(object, key);

	if (!list) {
		list = json_array();
		if (json_object_set_new(object, key, list))
			return -ENOMEM;
	}
	if (!json_is_array(list))
		return -EEXIST;
	while (*text) {
		size_t length = strcspn(text, separator);

		json_array_append_new(list, json_stringn(text, length));
		text += length + !!text[length];
	}
	return 0;
}

static int set_text(json_t *object, const char *key, const char *value)
{
	const char *separator = list_separator(key);

	return separator ? add_items(object, key, value, separator)
			 : set_new(object, key, json_string(value));
}

/* The object that the last part of a path is a key of, which is *ret_key: "idle-timeout.tcp" is the
 * key tcp in the mapping idle-timeout. 0, -EEXIST: a part before it has another value; -ENOMEM. */
static int find_path(json_t **object, char *path, const char **ret_key)
{
	char *dot;

	while ((dot = strchr(path, '.'))) {
		*dot = 0;
		*object = group_of(*object, path);
		if (!*object)
			return -EEXIST;
		path = dot + 1;
	}
	*ret_key = path;
	return 0;
}

static int set_path(json_t *object, const char *path, const char *value)
{
	_cleanup_free_ char *copy = strdup(path);
	const char *key;
	int rc = copy ? find_path(&object, copy, &key) : -ENOMEM;

	return rc ? rc : set_text(object, key, value);
}

static int given_twice(const struct call *call, const char *option, const char *text, int rc,
		       struct error *err)
{
	if (rc == -ENOMEM)
		return error_set(err, rc, "out of memory");
	return error_set(err, -EINVAL, "%s: %s %s: a key is given twice: expected once",
			 call->verb->name, option, text);
}

/* KEY=VALUE,KEY=VALUE; a first part without = is the value of the key `first`. */
static int set_parts(const struct call *call, const char *option, const char *text,
		     const char *first, json_t *object, struct error *err)
{
	_cleanup_free_ char *copy = strdup(text);
	char *next = copy, *part;
	int rc;

	if (!copy)
		return error_set(err, -ENOMEM, "out of memory");
	while ((part = strsep(&next, ","))) {
		char *equals = strchr(part, '=');

		if (!*part || equals == part || (!equals && part != copy))
			return error_set(err, -EINVAL, "%s: %s %s: %s: expected KEY=VALUE",
					 call->verb->name, option, text, part);
		if (equals)
			*equals++ = 0;
		rc = equals ? set_path(object, part, equals) : set_path(object, first, part);
		if (rc)
			return given_twice(call, option, text, rc, err);
	}
	return 0;
}

/* VIP:PORT/PROTOCOL: only where the parts end; lbd says what they may be. */
static int set_endpoint(const struct call *call, const char *text, json_t *service,
			struct error *err)
{
	const char *slash = strrchr(text, '/'), *colon = NULL;
	bool brackets = *text == '[';
	size_t length;

	for (const char *at = text; slash && at < slash; at++)
		if (*at == ':')
			colon = at;
	length = colon ? (size_t)(colon - text) : 0;
	if (!length || (brackets && (length < 2 || text[length - 1] != ']')) ||
	    (!brackets && memchr(text, ':', length)))
		return error_set(err, -EINVAL,
				 "%s: %s: expected VIP:PORT/PROTOCOL, such as 192.0.2.10:443/tcp "
				 "or [2001:db8::10]:any/udp",
				 call->verb->name, text);
	if (set_new(service, "vip",
		    json_stringn(text + brackets, brackets ? length - 2 : length)) ||
	    set_new(service, "port", json_stringn(colon + 1, (size_t)(slash - colon - 1))) ||
	    set_new(service, "protocol", json_string(slash + 1)))
		return error_set(err, -ENOMEM, "out of memory");
	return 0;
}

/* An option that is given for each item of a list of mappings. */
static int read_items(const struct call *call, const char *option, const char *first, json_t *list,
		      struct error *err)
{
	unsigned at = 0;
	const char *text;
	int rc = 0;

	while (!rc && (text = call_next_option(call, option, &at))) {
		json_t *item = json_object();

		rc = set_parts(call, option, text, first, item, err);
		if (rc)
			json_decref(item);
		else
			json_array_append_new(list, item);
	}
	return rc;
}

static int set_backends(const struct call *call, json_t *service, struct error *err)
{
	json_t *list;
	int rc;

	if (!call_option(call, "--backend")) {
		if (json_object_get(service, "backends-from"))
			return 0;
		return error_set(err, -EINVAL,
				 "%s: missing option: expected --backend ADDRESS[,KEY=VALUE], or "
				 "--set backends-from.KEY=VALUE",
				 call->verb->name);
	}
	list = json_array();
	rc = set_new(service, "backends", list);

	if (rc == -EEXIST)
		return error_set(err, -EINVAL,
				 "%s: --set backends: expected each backend as --backend "
				 "ADDRESS[,KEY=VALUE]",
				 call->verb->name);
	return rc ? error_set(err, rc, "out of memory")
		  : read_items(call, "--backend", "address", list, err);
}

/* Several checks: the list `checks` of the mapping `health`. */
static int set_checks(const struct call *call, json_t *service, struct error *err)
{
	const char *first = call_option(call, "--check");
	json_t *list = first ? json_array() : NULL;
	int rc;

	if (!first)
		return 0;
	rc = read_items(call, "--check", "type", list, err);
	if (rc) {
		json_decref(list);
		return rc;
	}
	rc = set_new(group_of(service, "health"), "checks", list);
	return rc ? given_twice(call, "--check", first, rc, err) : 0;
}

/* KEY:=JSON */
static int set_json(const struct call *call, const char *text, const char *value, char *path,
		    json_t *service, struct error *err)
{
	json_error_t flaw;
	json_t *json = json_loads(value, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &flaw);
	const char *key;
	int rc;

	if (!json)
		return error_set(err, -EINVAL, "%s: --set %s: expected JSON after := (%s)",
				 call->verb->name, text, flaw.text);
	rc = find_path(&service, path, &key);
	if (rc)
		json_decref(json);
	else
		rc = set_new(service, key, json);
	return rc ? given_twice(call, "--set", text, rc, err) : 0;
}

/* --set KEY=VALUE, --set KEY:=JSON */
static int set_one(const struct call *call, const char *text, json_t *service, struct error *err)
{
	size_t length = strcspn(text, "=");
	bool json = length && text[length - 1] == ':';
	_cleanup_free_ char *key = strndup(text, length - json);
	int rc;

	if (!key)
		return error_set(err, -ENOMEM, "out of memory");
	if (!text[length] || !*key)
		return error_set(err, -EINVAL,
				 "%s: --set %s: expected KEY=VALUE, such as slow-start=30s, or "
				 "KEY:=JSON",
				 call->verb->name, text);
	if (json)
		return set_json(call, text, text + length + 1, key, service, err);
	rc = set_path(service, key, text + length + 1);
	return rc ? given_twice(call, "--set", text, rc, err) : 0;
}

static int set_options(const struct call *call, json_t *service, struct error *err)
{
	static const char *const options[][2] = {{"--algorithm", "algorithm"},
						 {"--forward", "forward"}};
	const char *health = call_option(call, "--health"), *text;
	unsigned at = 0;
	int rc = 0;

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if ((text = call_option(call, options[i][0])) &&
		    set_new(service, options[i][1], json_string(text)))
			return error_set(err, -ENOMEM, "out of memory");
	if (health)
		rc = set_parts(call, "--health", health, "type", group_of(service, "health"), err);
	if (!rc)
		rc = set_checks(call, service, err);
	while (!rc && (text = call_next_option(call, "--set", &at)))
		rc = set_one(call, text, service, err);
	return rc;
}

static int read_service(const struct call *call, json_t *service, struct error *err)
{
	int rc = set_new(service, "name", json_string(call_argument(call, 0)));

	if (rc)
		return error_set(err, rc, "out of memory");
	if ((rc = set_endpoint(call, call_argument(call, 1), service, err)) ||
	    (rc = set_options(call, service, err)))
		return rc;
	return set_backends(call, service, err);
}

/* ---- the verbs ---- */

static void print_added(const json_t *service)
{
	char backends[64];

	text_put(stdout, json_text(service, "name"));
	printf(": added with %s; it takes traffic once a health check has passed. Until the next "
	       "reload; to keep it: lbctl save\n",
	       format_plural(json_number(service, "backends"), "backend", backends));
}

static int run_add(struct call *call, struct error *err)
{
	json_t *service = json_object(), *answer = NULL;
	int rc = read_service(call, service, err);

	if (rc) {
		json_decref(service);
		return rc;
	}
	rc = call_post(call, "/v1/service/add", service, &answer, err);
	if (rc)
		return rc;
	if (call->json)
		rc = show_json(answer, err);
	else
		print_added(json_object_get(answer, "service"));
	json_decref(answer);
	return rc;
}

static int run_remove(struct call *call, struct error *err)
{
	json_t *body = json_pack("{s:s}", "service", call_argument(call, 0)), *answer = NULL;
	int rc;

	if (body && call_option(call, "--force"))
		json_object_set_new(body, "force", json_true());
	rc = call_post(call, "/v1/service/remove", body, &answer, err);
	if (rc)
		return rc;
	if (call->json) {
		rc = show_json(answer, err);
	} else {
		text_put(stdout, json_text(answer, "service"));
		printf(": removed. Until the next reload; to keep that: lbctl save\n");
	}
	json_decref(answer);
	return rc;
}

REGISTER(verb, service_add) = {
    .name = "service add",
    .group = VERB_CHANGE,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "add a service",
    .details = "Lasts until the next reload, over restarts of lbd too; `lbctl save` writes it into "
	       "the config file, `lbctl reload --keep` keeps it where the file has no other one in "
	       "its place. It may have every key that a service in the config has, and "
	       "inherits `defaults`; what is wrong is refused in the words of a config error. If "
	       "VIPs are announced, its VIP is too, once it is served.\n\n"
	       "--set KEY=VALUE gives any other key; a dot leads into a mapping "
	       "(idle-timeout.tcp=60s), commas separate the items of allow, deny, hash and "
	       "command, and a list that is given again gets more items. A header of a check may "
	       "have commas: --set 'health.headers=Accept: text/html, text/plain', once for each. "
	       "--set KEY:=JSON gives a value as JSON, whatever it is.",
    .arguments = {ARGUMENT("NAME", WORDS_NONE), ARGUMENT("VIP:PORT/PROTOCOL", WORDS_NONE)},
    .options =
	{{.name = "--backend",
	  .value = "ADDRESS[,KEY=VALUE]",
	  .help = "a backend, and its keys: weight=50,name=web-1,zone=a,priority=1; needed "
		  "without --set backends-from.KEY=VALUE",
	  .many = true},
	 {.name = "--health",
	  .value = "TYPE[,KEY=VALUE]",
	  .help =
	      "the check: http,path=/healthz,interval=2s. Default: a TCP connection; UDP: none"},
	 {.name = "--check",
	  .value = "TYPE[,KEY=VALUE]",
	  .help = "one of several checks, which all have to pass; with --health match=any one of "
		  "them",
	  .many = true},
	 {.name = "--algorithm", .value = "NAME", .help = "default: maglev"},
	 {.name = "--forward",
	  .value = "HOW",
	  .help = "how packets reach a backend: ipip (default), gue, gre, l2 or nat"},
	 {.name = "--set",
	  .value = "KEY=VALUE",
	  .help = "any other key of a service; KEY:=JSON: as JSON",
	  .many = true}},
    .examples = {{"service add shop 192.0.2.20:443/tcp --backend 10.0.0.11,weight=50",
		  "a backend with half the usual share; --backend may be given again"},
		 {"service add dns 192.0.2.53:53/udp --backend 10.0.0.21 --health icmp", NULL},
		 {"service add dns 192.0.2.53:53/udp --backend 10.0.0.21 --set slots=251",
		  "with another key of the config"},
		 {"service add x 10.9.0.1:9/tcp --backend 10.0.0.3 --check tcp --check icmp",
		  "two checks, both of which have to pass"}},
    .run = run_add,
};

REGISTER(verb, service_remove) = {
    .name = "service remove",
    .group = VERB_CHANGE,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "remove a service",
    .details = "Packets to it are then handled as `unserved` in the config says; connections end. "
	       "Run-time changes of its backends end with it. Lasts until the next reload, over "
	       "restarts of lbd too; `lbctl save` takes it out of the config file.",
    .arguments = {ARGUMENT("SERVICE", WORDS_SERVICE)},
    .options = {{.name = "--force",
		 .help = "also while its backends take traffic, which is refused otherwise"}},
    .examples = {{"service remove shop", "after its backends have been drained"},
		 {"service remove 192.0.2.20:443 --force", "at once"}},
    .run = run_remove,
};
