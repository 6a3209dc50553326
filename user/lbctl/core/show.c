/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Output and arguments that several verbs share. */
#include "show.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "format.h"
#include "json.h"

int show_json(const json_t *answer, struct error *err)
{
	/* pure ASCII: some terminals obey control characters beyond it */
	if (json_dumpf(answer, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII) || putchar('\n') == EOF)
		return error_set(err, -EIO, "standard output: cannot write the answer");
	return 0;
}

const char *show_mode(const json_t *interface)
{
	bool native = strcmp(json_text(interface, "mode"), "native") == 0;

	if (json_flag(interface, "dispatcher"))
		return native ? "native, beside other XDP programs (libxdp dispatcher)"
			      : "generic (slower than native), beside other XDP programs "
				"(libxdp dispatcher)";
	return native ? "native, alone" : "generic (slower than native), alone";
}

void show_backend_name(const json_t *backend, char *text, size_t size)
{
	char label[SHOW_BACKEND];

	show_backend(backend, label);
	snprintf(text, size, "%s%s%s", json_text(backend, "service"), *label ? " " : "", label);
}

const char *show_backend(const json_t *backend, char text[SHOW_BACKEND])
{
	const char *name = json_text(backend, "name"), *address = json_text(backend, "address");
	uint64_t port = json_number(backend, "port");
	char endpoint[96];

	snprintf(text, SHOW_BACKEND, "%.63s%s%.55s", name, *name ? " " : "",
		 port ? format_endpoint(address, port, "", endpoint) : address);
	return text;
}

bool show_is_nat(const json_t *of)
{
	return json_object_get(of, "vip") ? strcmp(json_text(of, "forward"), "nat") == 0
					  : json_is_integer(json_object_get(of, "port"));
}

bool show_any_nat(const json_t *list)
{
	const json_t *each;
	size_t i;

	json_array_foreach (list, i, each)
		if (show_is_nat(each))
			return true;
	return false;
}

int show_read_address(const char *verb, const char *text, char ret[ADDR_TEXT], struct error *err)
{
	struct addr addr;

	if (addr_parse(text, &addr) == 0) {
		addr_format(&addr, ret);
		return 0;
	}
	return error_set(
	    err, -EINVAL,
	    "%s: %s: expected an IPv4 or IPv6 address, such as 10.0.0.11 or 2001:db8::11", verb,
	    text);
}

/* lbd knows the names: this finds only what can be none. */
int show_read_backend(const char *verb, const char *text, char ret[SHOW_BACKEND], struct error *err)
{
	struct addr addr;

	if (addr_parse(text, &addr) == 0) {
		addr_format(&addr, ret);
		return 0;
	}
	if (isalpha((unsigned char)*text) && strlen(text) < 64 && !strpbrk(text, ": /")) {
		strcpy(ret, text);
		return 0;
	}
	return error_set(err, -EINVAL,
			 "%s: %s: expected an IPv4 or IPv6 address, such as 10.0.0.11 or "
			 "2001:db8::11, or the name of a backend",
			 verb, text);
}

void show_warnings(FILE *to, const json_t *warnings)
{
	const json_t *warning;
	size_t i;

	json_array_foreach (warnings, i, warning) {
		fputs("Warning: ", to);
		text_put(to, json_item_text(warning));
		putc('\n', to);
	}
}

void show_run_time_changes(const json_t *changes, const char *before, const char *after)
{
	char name[SHOW_BACKEND];
	const json_t *change;
	size_t i;

	json_array_foreach (changes, i, change) {
		show_backend(change, name);
		printf("%sservice %s: %s%s%s%s%s\n", before, json_text(change, "service"),
		       *name ? "backend " : "", name, *name ? ": " : "",
		       json_text(change, "change"), after);
	}
}

void show_changes(const json_t *trial)
{
	uint64_t changed = json_number(trial, "changed");
	const json_t *change;
	size_t i;

	json_array_foreach (json_object_get(trial, "changes"), i, change)
		printf("  %s\n", json_item_text(change));
	if (changed > i)
		printf("  and %llu more\n", (unsigned long long)(changed - i));
}
