/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The names of the command: the verbs of backends are also built as a command of their own,
 * lbd-backend, without a connection to lbd (LBD_BACKEND, see the Makefile). */
#ifndef LBCTL_TOOL_H
#define LBCTL_TOOL_H

#include "lb_api.h"

#ifdef LBD_BACKEND
#define TOOL          "lbd-backend"
#define TOOL_ROFF     "lbd\\-backend"
#define TOOL_FUNCTION "_lbd_backend" /* of shells */
#define TOOL_TITLE    "LBD-BACKEND"
#define TOOL_HOST     "" /* before the verbs of a backend */
#define TOOL_DOES     "makes this host a backend of lbd, the XDP load balancer"
#define TOOL_SERVER                                                                  \
	"lbd\\-backend attaches the decapsulator and puts the VIPs on lo. lbd need " \
	"not be installed. \\fBlbd\\-backend@\\fIIFACE\\fB.service\\fR does it at "  \
	"each boot, with the options in \\fI/etc/lbd\\-backend/IFACE.conf\\fR.\n"
#define TOOL_MAN_OPTIONS ""
#define TOOL_SEE_ALSO    "\\fBlbd\\fR(8), \\fBlbctl\\fR(8)"
#define TOOL_MAN_TAIL                                                                   \
	".SH FILES\n"                                                                   \
	".TP\n\\fI/etc/lbd\\-backend/IFACE.conf\\fR\n\\fBOPTIONS=\\fR: the options of " \
	"setup, for the unit.\n"                                                        \
	".TP\n\\fI/run/lbd\\-backend/backend\\-host\\-IFACE.json\\fR\nThe changes made by setup.\n"
#define TOOL_COMMON                                   \
	"\nlbd-backend help VERB describes a verb.\n" \
	"Exit status: 0 success, 1 failure, 2 wrong usage.\n"
#else
#define TOOL          "lbctl"
#define TOOL_ROFF     "lbctl"
#define TOOL_FUNCTION "_lbctl"
#define TOOL_TITLE    "LBCTL"
#define TOOL_HOST     "backend-host "
#define TOOL_DOES     "controls and monitors lbd, the XDP load balancer"
#define TOOL_SERVER                                                                  \
	"lbctl talks to \\fBlbd\\fR(8) over a Unix socket that root and the group "  \
	"lbd may use.\n.PP\nA SERVICE is given by its name or its VIP: 192.0.2.10, " \
	"192.0.2.10:80 or 192.0.2.10:80/tcp; a BACKEND by its address or its name. " \
	"A TIME is 250ms, 90s or 1h30m; a number alone is seconds.\n"
#define TOOL_MAN_OPTIONS                                                                          \
	".TP\n\\fB\\-\\-socket\\fR \\fIPATH\\fR\nThe socket of lbd. Default: $" LB_API_SOCKET_ENV \
	", or " LB_API_SOCKET ".\n"
#define TOOL_SEE_ALSO "\\fBlbd\\fR(8), \\fBlbd.yaml\\fR(5)"
#define TOOL_MAN_TAIL                                                                       \
	".TP\n3\nA wait (\\-\\-timeout of drain, node drain, fleet apply) timed out.\n"     \
	".SH ENVIRONMENT\n"                                                                 \
	".TP\n\\fB" LB_API_SOCKET_ENV "\\fR\nThe socket of lbd, if \\-\\-socket is not "    \
	"given.\n.TP\n\\fBNO_COLOR\\fR\nIf set and not empty, output has no colours.\n"     \
	".SH FILES\n.TP\n\\fI" LB_API_SOCKET "\\fR\nThe default socket of lbd.\n"           \
	".TP\n\\fI/run/lbd\\-backend/backend\\-host\\-IFACE.json\\fR\nThe changes made by " \
	"backend\\-host setup.\n"
#define TOOL_COMMON                                                                \
	"\nlbctl help VERB describes a verb. Most verbs take --json and --socket " \
	"PATH\n(default: $" LB_API_SOCKET_ENV ", or " LB_API_SOCKET ").\n"         \
	"Exit status: 0 success, 1 failure, 2 wrong usage, 3 a wait timed out.\n"
#endif

#endif
