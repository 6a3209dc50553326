/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl import: a config made of the configuration of another load balancer. Needs no lbd. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lbctl/core/call.h"
#include "lbctl/core/format.h"
#include "lbctl/core/verb.h"
#include "lbctl/import/import.h"

static int read_interfaces(struct call *call, struct import *im, struct error *err)
{
	const char *name;
	unsigned at = 0;

	while ((name = call_next_option(call, "--iface", &at))) {
		if (!import_is_interface(name))
			return error_set(err, -EINVAL,
					 "%s: --iface %s: expected the name of an interface",
					 call->verb->name, name);
		import_add_interface(im, name);
	}
	return 0;
}

/* One for each family: what listens on all addresses gets the VIP of its family. */
static int read_vips(struct call *call, struct import *im, struct error *err)
{
	const char *text, *why;
	struct addr vip;
	unsigned at = 0;

	while ((text = call_next_option(call, "--vip", &at))) {
		struct addr *to;

		if (addr_parse(text, &vip))
			return error_set(err, -EINVAL, "%s: --vip %s: expected an address",
					 call->verb->name, text);
		why = addr_why_no_host(&vip);
		if (why)
			return error_set(err, -EINVAL, "%s: --vip %s: %s cannot be a VIP",
					 call->verb->name, text, why);
		to = vip.family == 4 ? &im->vip4 : &im->vip6;
		if (to->family)
			return error_set(err, -EINVAL,
					 "%s: --vip %s: expected one IPv4 and one IPv6 address at "
					 "most",
					 call->verb->name, text);
		*to = vip;
	}
	return 0;
}

/* The config on standard output, the notes on standard error. */
static int show(struct import *im, const struct dialect *dialect, struct error *err)
{
	char things[64];

	import_print_config(im, stdout, dialect->name);
	import_print_notes(im, stderr);
	if (!im->left_count)
		return 0;
	return error_set(err, -EXDEV, "%s not carried over: see above, or the head of the config",
			 format_plural(im->left_count, "setting", things));
}

static int run_import(struct call *call, struct error *err)
{
	const struct dialect *dialect = dialect_find(strchr(call->verb->name, ' ') + 1);
	struct import im;
	int rc;

	import_begin(&im);
	rc = read_interfaces(call, &im, err);
	if (!rc)
		rc = read_vips(call, &im, err);
	if (!rc)
		rc = import_run(&im, dialect, call_argument(call, 0), err);
	if (!rc)
		rc = show(&im, dialect, err);
	import_end(&im);
	return rc;
}

#define RESULT                                                                                   \
	"What lbd cannot do is listed on standard error and at the head of the config, each "    \
	"with its line and the reason. The exit status is 1 if something was not carried over. " \
	"The config passes `lbd --check`; read it before it is used: docs/import.md says what "  \
	"becomes of what."
#define FILE_ARGUMENT                        \
	{                                    \
		ARGUMENT("FILE", WORDS_FILE) \
	}
#define IFACE_OPTION                                                                         \
	{                                                                                    \
		.name = "--iface", .value = "IFACE", .words = WORDS_INTERFACE, .many = true, \
		.help = "an interface on which packets of clients arrive, for "              \
			"`interfaces`"                                                       \
	}

REGISTER(verb, import_ipvs) = {
    .name = "import ipvs",
    .group = VERB_OTHER,
    .summary = "print a config made of the rules of IPVS",
    .details =
	"FILE is the output of `ipvsadm-save -n`, or `ipvsadm -S -n`; - reads standard input. "
	"Names instead of numbers are looked up.\n\n" RESULT,
    .arguments = FILE_ARGUMENT,
    .options = {IFACE_OPTION},
    .examples = {{"import ipvs --iface eth0 rules.ipvs >lbd.yaml", NULL}},
    .run = run_import,
};

REGISTER(verb, import_keepalived) = {
    .name = "import keepalived",
    .group = VERB_OTHER,
    .summary = "print a config made of the virtual servers of keepalived",
    .details =
	"FILE is a keepalived.conf; - reads standard input. Files that it includes are read "
	"too. The interfaces are those of its VRRP instances if --iface is not given.\n\n" RESULT,
    .arguments = FILE_ARGUMENT,
    .options = {IFACE_OPTION},
    .examples = {{"import keepalived /etc/keepalived/keepalived.conf >lbd.yaml", NULL}},
    .run = run_import,
};

REGISTER(verb, import_haproxy) = {
    .name = "import haproxy",
    .group = VERB_OTHER,
    .summary = "print a config made of the TCP proxies of HAProxy",
    .details =
	"FILE is a haproxy.cfg; - reads standard input. lbd forwards packets and reads no "
	"requests: proxies in mode http are left out, and the list names what in them needs layer "
	"7.\n\n" RESULT,
    .arguments = FILE_ARGUMENT,
    .options = {IFACE_OPTION,
		{.name = "--vip",
		 .value = "ADDRESS",
		 .many = true,
		 .help = "the VIP of what listens on all addresses (bind *:443); one of each "
			 "family"}},
    .examples = {{"import haproxy --vip 192.0.2.10 /etc/haproxy/haproxy.cfg >lbd.yaml", NULL}},
    .run = run_import,
};
