/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl import: any text in any dialect gives a config that lbd takes, with the services that were
 * carried over and no others, and notes of one line each that name a line of the text. The same
 * text gives the same config. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lbctl/import/import.h"
#include "lbd/config/config.h"
#include "fuzz.h"

/* Names of hosts: those under example.org have an address. */
static bool resolve(const char *name, uint8_t family, struct addr *ret)
{
	size_t length = strlen(name);

	(void)family;
	if (length < 12 || strcmp(name + length - 12, ".example.org") != 0)
		return false;
	*ret = (struct addr){.family = 4, .bytes = {10, 90, (uint8_t)length, (uint8_t)*name}};
	return true;
}

/* "left", "notes": how many lines of a config's head begin with this. */
static unsigned count_lines(const char *text, const char *begin)
{
	unsigned count = 0;

	for (const char *at = text; at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
		count += !strncmp(at, begin, strlen(begin));
	return count;
}

static void check_notes(const struct import *im, const uint8_t *data, size_t size)
{
	unsigned lines = 1, notes = 0, left = 0;

	for (size_t i = 0; i < size; i++)
		lines += data[i] == '\n';
	for (const struct import_note *note = im->notes; note; note = note->next) {
		notes++;
		left += note->left;
		require(*note->text && !strpbrk(note->text, "\r\n\033"), "\"%s\"", note->text);
		require(note->at.line <= lines, "line %u of %u", note->at.line, lines);
	}
	require(notes <= IMPORT_MAX_NOTES &&
		    (notes == im->notes_count || notes == IMPORT_MAX_NOTES),
		"%u notes, %u counted", notes, im->notes_count);
	require(left <= im->left_count, "%u left, %u counted", left, im->left_count);
}

static unsigned count_services(const struct import *im)
{
	unsigned count = 0;

	for (const struct import_service *one = im->services; one; one = one->next)
		count += !one->left;
	return count;
}

/* The config as text, which the caller frees. */
static char *convert(const struct dialect *dialect, const uint8_t *data, size_t size,
		     unsigned *ret_services)
{
	struct import im;
	struct error err = {""};
	char *text = NULL;
	size_t length;
	FILE *out;

	import_begin(&im);
	im.may_open = false;
	im.resolve = resolve;
	require(!addr_parse("192.0.2.10", &im.vip4) && !addr_parse("2001:db8::10", &im.vip6), "-");
	require(!import_run_text(&im, dialect, (const char *)data, size, &err), "%s", err.text);
	check_notes(&im, data, size);
	*ret_services = count_services(&im);
	out = open_memstream(&text, &length);
	require(out, "no memory");
	import_print_config(&im, out, dialect->name);
	fclose(out);
	require(strlen(text) == length, "a 0 in the config");
	require(count_lines(text, "  # -:") == *ret_services, "%s", text);
	import_end(&im);
	return text;
}

static void check_dialect(const struct dialect *dialect, const uint8_t *data, size_t size)
{
	struct config *config = NULL;
	struct error err = {""};
	unsigned services, again;
	char *text = convert(dialect, data, size, &services),
	     *second = convert(dialect, data, size, &again);

	require(!strcmp(text, second) && services == again, "%s: differs the second time",
		dialect->name);
	require(!config_parse(text, strlen(text), "f", &config, &err), "%s: %s\n%s", dialect->name,
		err.text, text);
	require(config->services_count == services, "%s: %u services, not %u\n%s", dialect->name,
		config->services_count, services, text);
	config_free(config);
	free(text);
	free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	registry_for_each (dialect, dialect)
		check_dialect(dialect, data, size);
	return 0;
}
