/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "nameservers.h"

#include <errno.h>
#include <net/if.h>
#include <string.h>

#define WORD      79
#define WORD_TEXT "79" /* for scanf */

_Static_assert(ADDR_TEXT + IF_NAMESIZE <= WORD, "an address with a zone");

/* It needs a zone (fe80::1%eth0), which c-ares 1.18 does not take, and a look-up of the interface,
 * which the process without rights may not make. */
static bool is_link_local(const char *word)
{
	char plain[WORD + 1];
	struct addr addr;

	strcpy(plain, word);
	plain[strcspn(plain, "%")] = 0;
	return !addr_parse(plain, &addr) && addr_is_link_local(&addr);
}

int nameservers_read(FILE *file, char ret[NAMESERVERS_TEXT], struct error *err)
{
	char line[256], word[WORD + 1], passed[WORD + 1] = "";
	unsigned count = 0;
	struct addr addr;

	*ret = 0;
	while (file && count < NAMESERVERS_MAX && fgets(line, sizeof(line), file)) {
		if (sscanf(line, " nameserver %" WORD_TEXT "s", word) != 1)
			continue;
		if (is_link_local(word)) {
			strcpy(passed, word);
			continue;
		}
		if (addr_parse(word, &addr))
			continue;
		snprintf(ret + strlen(ret), NAMESERVERS_TEXT - strlen(ret), "%s%s",
			 count++ ? " " : "", word);
	}
	if (count || !*passed)
		return 0;
	return error_set(err, -EINVAL,
			 "server: /etc/resolv.conf names only %s, which is link-local: expected "
			 "`server` with another address",
			 passed);
}
