/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A call of a verb: its arguments and options, and its requests to lbd. */
#include "call.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb_api.h"
#include "common/cleanup.h"
#include "common/printable.h"
#include "client.h"
#include "format.h"

/* Every verb takes these; they are not in its table. */
static const struct verb_option common_options[] = {
    {.name = "--help"}, {.name = "--json"}, {.name = "--socket", .value = "PATH"}};

static const struct verb_option *find_in(const struct verb_option *options, size_t max,
					 const char *name, size_t length)
{
	for (size_t i = 0; i < max && options[i].name; i++)
		if (strlen(options[i].name) == length &&
		    strncmp(options[i].name, name, length) == 0)
			return &options[i];
	return NULL;
}

const struct verb_option *call_common_option(const char *word)
{
	return find_in(common_options, sizeof(common_options) / sizeof(*common_options), word,
		       strcspn(word, "="));
}

static int check_choice(const struct verb *verb, const struct verb_option *option,
			const char *value, struct error *err)
{
	size_t length = strlen(value);

	if (!option->choice)
		return 0;
	for (const char *word = option->choice; word;
	     word = strchr(word, '|') ? strchr(word, '|') + 1 : NULL)
		if (strcspn(word, "|") == length && strncmp(word, value, length) == 0)
			return 0;
	return error_set(err, -EINVAL, "%s: %s %s: expected %s", verb->name, option->name, value,
			 option->choice);
}

static int take_common(const struct verb *verb, const struct verb_option *option, const char *value,
		       struct call *call, struct error *err)
{
	if (strcmp(option->name, "--help") == 0) {
		call->help = true;
	} else if (strcmp(option->name, "--json") == 0) {
		if (!(verb->flags & VERB_JSON))
			return error_set(err, -EINVAL, "%s: --json: this verb has no JSON output",
					 verb->name);
		call->json = true;
	} else {
		if (!(verb->flags & VERB_SOCKET))
			return error_set(err, -EINVAL,
					 "%s: --socket: this verb does not connect to lbd",
					 verb->name);
		call->socket = value;
	}
	return 0;
}

static int take_option(const struct verb *verb, const struct verb_option *option, const char *value,
		       struct call *call, struct error *err)
{
	int rc = check_choice(verb, option, value, err);

	if (rc)
		return rc;
	if (!option->many && call_option(call, option->name))
		return error_set(err, -EINVAL, "%s: %s: given more than once", verb->name,
				 option->name);
	call->values[call->values_count++] = (struct call_value){option, value};
	return 0;
}

/* An option and its value, if it takes one (the next word, or after "="). Returns the number of
 * words used or -EINVAL. */
static int parse_option(const struct verb *verb, char *const *words, int count, struct call *call,
			struct error *err)
{
	const char *word = strcmp(words[0], "-h") == 0 ? "--help" : words[0],
		   *equals = strchr(word, '='), *value = "";
	size_t length = equals ? (size_t)(equals - word) : strlen(word);
	const struct verb_option *option = find_in(verb->options, VERB_MAX_OPTIONS, word, length),
				 *common = NULL;
	int used = 1, rc;

	if (!option)
		option = common = call_common_option(word);
	if (!option)
		return error_set(err, -EINVAL, "%s: %.*s: unknown option", verb->name, (int)length,
				 word);
	if (!option->value && !option->choice) {
		if (equals)
			return error_set(err, -EINVAL, "%s: %s: takes no value", verb->name,
					 option->name);
	} else if (equals) {
		value = equals + 1;
	} else if (option->may_stand && !(count > 1 && option->may_stand(words[1]))) {
		value = "";
	} else if (count > 1) {
		value = words[1];
		used = 2;
	} else {
		return error_set(err, -EINVAL, "%s: %s: missing value: expected %s", verb->name,
				 option->name, option->choice ? option->choice : option->value);
	}
	rc = common ? take_common(verb, common, value, call, err)
		    : take_option(verb, option, value, call, err);
	return rc ? rc : used;
}

static int check_complete(const struct verb *verb, const struct call *call, struct error *err)
{
	unsigned count = 0;

	while (count < VERB_MAX_ARGUMENTS && verb->arguments[count].name)
		count++;
	if (call->arguments_count > count)
		return error_set(err, -EINVAL, "%s: %s: unexpected argument", verb->name,
				 call->arguments[count]);
	if (call->arguments_count < count && !verb->arguments[call->arguments_count].optional)
		return error_set(err, -EINVAL, "%s: missing argument: expected %s", verb->name,
				 verb->arguments[call->arguments_count].name);
	for (unsigned i = 0; i < VERB_MAX_OPTIONS && verb->options[i].name; i++)
		if (verb->options[i].required && !call_option(call, verb->options[i].name))
			return error_set(err, -EINVAL, "%s: missing option: expected %s %s",
					 verb->name, verb->options[i].name, verb->options[i].value);
	return 0;
}

bool word_is_option(const char *word)
{
	return word[0] == '-' && word[1] && (word[1] < '0' || word[1] > '9');
}

int call_parse(const struct verb *verb, char *const *words, int count, struct call *call,
	       struct error *err)
{
	const char *socket = getenv(LB_API_SOCKET_ENV);
	bool only_arguments = false;

	*call = (struct call){.verb = verb, .socket = socket && *socket ? socket : LB_API_SOCKET};
	call->arguments = calloc((size_t)count + 1, sizeof(*call->arguments));
	call->values = calloc((size_t)count + 1, sizeof(*call->values));
	if (!call->arguments || !call->values)
		return error_set(err, -ENOMEM, "out of memory");
	for (int i = 0; i < count;) {
		if (!only_arguments && strcmp(words[i], "--") == 0) {
			only_arguments = true;
			i++;
		} else if (!only_arguments && word_is_option(words[i])) {
			int used = parse_option(verb, words + i, count - i, call, err);

			if (used < 0)
				return used;
			i += used;
		} else {
			call->arguments[call->arguments_count++] = words[i++];
		}
	}
	return call->help ? 0 : check_complete(verb, call, err);
}

void call_release(struct call *call)
{
	client_close(call->client);
	json_decref(call->warnings);
	free(call->arguments);
	free(call->values);
	*call = (struct call){0};
}

const char *call_argument(const struct call *call, unsigned at)
{
	return at < call->arguments_count ? call->arguments[at] : NULL;
}

const char *call_next_option(const struct call *call, const char *name, unsigned *at)
{
	while (*at < call->values_count) {
		const struct call_value *value = &call->values[(*at)++];

		if (strcmp(value->option->name, name) == 0)
			return value->value;
	}
	return NULL;
}

const char *call_option(const struct call *call, const char *name)
{
	unsigned at = 0;

	return call_next_option(call, name, &at);
}

int call_duration(const struct call *call, const char *name, uint64_t *ret, struct error *err)
{
	const char *value = call_option(call, name);

	if (!value || !parse_duration(value, ret))
		return 0;
	return error_set(err, -EINVAL, "%s: %s %s: expected a duration such as 60s, 5m or 1h",
			 call->verb->name, name, value);
}

/* ---- requests ---- */

static int connect_once(struct call *call, struct error *err)
{
	return call->client ? 0 : client_open(call->socket, &call->client, err);
}

/* With --json an answer stays as it is, as JSON escapes control characters. */
void call_make_printable(json_t *value)
{
	_cleanup_free_ char *text = NULL;
	const char *key;
	json_t *inner;
	size_t i;

	if (json_is_object(value)) {
		json_object_foreach (value, key, inner)
			call_make_printable(inner);
	} else if (json_is_array(value)) {
		json_array_foreach (value, i, inner)
			call_make_printable(inner);
	} else if (json_is_string(value)) {
		text = strdup(json_string_value(value));
		if (text)
			make_printable(text, false);
		if (!text || strcmp(text, json_string_value(value)) != 0)
			json_string_set(value, text ? text : "?");
	}
}

static int answered(const struct call *call, int rc, json_t **ret)
{
	if (!rc && ret && !call->json)
		call_make_printable(*ret);
	return rc;
}

int call_get(struct call *call, const char *path, json_t **ret, struct error *err)
{
	int rc = connect_once(call, err);

	return rc ? rc : answered(call, client_get(call->client, path, ret, err), ret);
}

/* They are printed after what the verb prints: with --json the answer has them. */
static void keep_warnings(struct call *call, const json_t *answer)
{
	json_t *warnings = json_object_get(answer, "warnings");

	if (call->json || !json_array_size(warnings))
		return;
	call_make_printable(warnings);
	if (!call->warnings)
		call->warnings = json_array();
	json_array_extend(call->warnings, warnings);
}

typedef int send_fn(struct client *client, const char *path, const json_t *body, json_t **ret,
		    struct error *err);

/* Takes over body. */
static int change(struct call *call, send_fn *send, const char *path, json_t *body, json_t **ret,
		  struct error *err)
{
	json_t *answer = NULL;
	int rc;

	if (!body)
		return error_set(err, -ENOMEM, "out of memory");
	rc = connect_once(call, err);
	if (!rc)
		rc = answered(call, send(call->client, path, body, &answer, err), &answer);
	json_decref(body);
	if (!rc)
		keep_warnings(call, answer);
	if (!rc && ret)
		*ret = answer;
	else
		json_decref(answer);
	return rc;
}

int call_post(struct call *call, const char *path, json_t *body, json_t **ret, struct error *err)
{
	return change(call, client_post, path, body, ret, err);
}

int call_put_backend(struct call *call, const char *service, const char *address, json_t *body,
		     json_t **ret, struct error *err)
{
	_cleanup_free_ char *escaped = NULL, *path = NULL;
	int rc = connect_once(call, err);

	if (!rc) {
		escaped = client_escape(call->client, service);
		if (!escaped ||
		    asprintf(&path, "/v1/services/%s/backends/%s", escaped, address) < 0)
			path = NULL;
		rc = path ? 0 : error_set(err, -ENOMEM, "out of memory");
	}
	if (!rc)
		return change(call, client_put, path, body, ret, err);
	json_decref(body);
	return rc;
}

int call_post_raw(struct call *call, const char *path, json_t *body, json_t **ret,
		  struct error *err)
{
	int rc = body ? connect_once(call, err) : error_set(err, -ENOMEM, "out of memory");

	if (!rc)
		rc = client_post(call->client, path, body, ret, err);
	json_decref(body);
	if (!rc)
		keep_warnings(call, *ret);
	return rc;
}

/* Appends "?name=value" or "&name=value" to a path. */
static int add_query(struct call *call, char **path, const char *name, const char *value)
{
	_cleanup_free_ char *before = *path, *escaped = client_escape(call->client, value);

	if (!before || !escaped ||
	    asprintf(path, "%s%c%s=%s", before, strchr(before, '?') ? '&' : '?', name, escaped) < 0)
		*path = NULL;
	return *path ? 0 : -ENOMEM;
}

static int get_backends(struct call *call, const struct call_wanted *wanted, json_t **ret,
			struct error *err)
{
	const char *fields = call->shows_all_fields ? NULL : wanted->fields;
	_cleanup_free_ char *path = strdup("/v1/backends");

	if ((wanted->service && add_query(call, &path, "service", wanted->service)) ||
	    (wanted->down && add_query(call, &path, "down", "true")) ||
	    (wanted->filter && add_query(call, &path, "filter", wanted->filter)) ||
	    (fields && add_query(call, &path, "fields", fields)) || !path)
		return error_set(err, -ENOMEM, "out of memory");
	return client_get(call->client, path, ret, err);
}

/* An lbd from before one of the fields: it names it. One from before all fields answers with all
 * that it has. */
static bool lacks_a_field(int rc, const struct error *err)
{
	return rc == -EREMOTEIO && !strncmp(err->text, "fields: ", strlen("fields: "));
}

int call_some_backends(struct call *call, const struct call_wanted *wanted, json_t **ret,
		       struct error *err)
{
	int rc = connect_once(call, err);

	if (rc)
		return rc;
	rc = get_backends(call, wanted, ret, err);
	if (wanted->fields && !call->shows_all_fields && lacks_a_field(rc, err)) {
		call->shows_all_fields = true;
		rc = get_backends(call, wanted, ret, err);
	}
	return answered(call, rc, ret);
}

int call_backends(struct call *call, const char *service, json_t **ret, struct error *err)
{
	return call_some_backends(call, &(struct call_wanted){.service = service}, ret, err);
}
