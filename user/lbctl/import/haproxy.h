/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A haproxy.cfg while it is read: proxies, and what they bind and serve. */
#ifndef LBCTL_IMPORT_HAPROXY_H
#define LBCTL_IMPORT_HAPROXY_H

#include "import.h"
#include "words.h"

/* Of a server line, or of default-server. */
struct haproxy_settings {
	bool check, backup, disabled, tls, check_tls;
	uint64_t weight;
	unsigned check_port; /* 0: the server's */
	uint64_t inter_ms, slowstart_ms;
	unsigned rise, fall;
};

struct haproxy_server {
	struct haproxy_server *next;
	struct import_place at;
	const char *name;
	struct addr address;
	unsigned port; /* 0: that of the client's connection */
	struct haproxy_settings settings;
};

/* An address and its ports. any4, any6: all addresses of this family. */
struct haproxy_bind {
	struct haproxy_bind *next;
	struct import_place at;
	const char *text;
	struct addr vip;
	bool any4, any6;
	unsigned first_port, last_port;
};

#define HAPROXY_MAX_REASONS 8

/* What a statement of a proxy needs of layer 7. */
struct haproxy_reason {
	const char *keyword;
	unsigned line;
};

enum haproxy_kind { HAPROXY_DEFAULTS, HAPROXY_FRONTEND, HAPROXY_BACKEND, HAPROXY_LISTEN };

struct haproxy_proxy {
	struct haproxy_proxy *next;
	struct import_place at;
	enum haproxy_kind kind;
	const char *name;
	bool http, disabled, stats, used;

	/* of frontends */
	struct haproxy_bind *binds, *last_bind;
	const char *default_backend;
	struct import_place default_backend_at;
	uint64_t client_ms;

	/* of backends */
	struct haproxy_server *servers, *last_server;
	struct haproxy_settings settings; /* of the next server line */
	const char *algorithm;            /* NULL: HAProxy's default */
	bool all_backups;
	struct import_health health; /* type, path, host, port and status */
	uint64_t server_ms, tunnel_ms, connect_ms, check_ms;
	bool sticks;
	const char *stick_table; /* of another proxy; NULL: its own */
	unsigned mask4, mask6;   /* 0: whole addresses */
	uint64_t expire_ms;      /* of its own table; 0: not given */

	struct haproxy_reason reasons[HAPROXY_MAX_REASONS];
	unsigned reasons_count; /* also those that have no room */
};

/* A statement in a proxy whose mode is known. */
void haproxy_read_statement(struct import *im, struct haproxy_proxy *proxy,
			    const struct words *words);
/* server NAME ADDRESS[:PORT] SETTING... */
void haproxy_read_server(struct import *im, struct haproxy_proxy *proxy, const struct words *words);
/* default-server SETTING... */
void haproxy_read_settings(struct import *im, const struct words *words, unsigned from,
			   struct haproxy_settings *settings);
/* ADDRESS:PORT[,...] of the words from this one on, and options. */
void haproxy_read_bind(struct import *im, struct haproxy_proxy *proxy, const struct words *words,
		       unsigned from);

#endif
