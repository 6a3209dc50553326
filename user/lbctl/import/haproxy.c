/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* haproxy.cfg: its TCP frontends become services, with the servers of their backends. */
#include "haproxy.h"

#include <string.h>

#define MAX_PORTS     1024   /* services of one bind */
#define DEFAULT_IDLE  300000 /* lbd's idle timeout of TCP, ms */
#define DEFAULT_INTER 2000   /* HAProxy's interval of checks, ms */

struct haproxy {
	struct import *im;
	struct haproxy_proxy *proxies, *last; /* with defaults */
	struct haproxy_proxy anonymous;       /* HAProxy's own defaults */
	struct haproxy_proxy *defaults;       /* the last ones */
};

/* ---- sections ---- */

static const struct {
	const char *name;
	enum haproxy_kind kind;
} kinds[] = {{"defaults", HAPROXY_DEFAULTS},
	     {"frontend", HAPROXY_FRONTEND},
	     {"backend", HAPROXY_BACKEND},
	     {"listen", HAPROXY_LISTEN}};

/* Sections that are no proxies. why NULL: nothing is lost. */
static const struct {
	const char *name, *why;
} sections[] = {
    {"global", NULL},
    {"userlist", NULL},
    {"cache", NULL},
    {"http-errors", NULL},
    {"fcgi-app", NULL},
    {"crt-store", NULL},
    {"program", NULL},
    {"ring", NULL},
    {"resolvers", "names are looked up once, by lbctl import"},
    {"peers", "balancers share no table: docs/pair.md says what they need"},
    {"mailers", "lbd sends no mail: docs/metrics.md has alerts"},
    {"log-forward", "lbd forwards packets to backends, and no logs"},
};

static struct haproxy_proxy *find_proxy(struct haproxy *ha, const char *name, bool defaults)
{
	for (struct haproxy_proxy *one = ha->proxies; one; one = one->next)
		if ((one->kind == HAPROXY_DEFAULTS) == defaults && !strcmp(one->name, name) &&
		    (defaults || one->kind != HAPROXY_FRONTEND))
			return one;
	return NULL;
}

/* NAME [from DEFAULTS], or as it was written once: NAME ADDRESS:PORT. */
static struct haproxy_proxy *begin_proxy(struct haproxy *ha, enum haproxy_kind kind,
					 const struct words *words)
{
	struct haproxy_proxy *proxy = import_allocate(ha->im, sizeof(*proxy)), *like;
	const char *from = words_is(words, 2, "from") ? words_at(words, 3) : NULL;

	like = from ? find_proxy(ha, from, true) : kind == HAPROXY_DEFAULTS ? NULL : ha->defaults;
	if (from && !like)
		import_left(ha->im, words->at, "from %s: no such defaults", from);
	*proxy = like ? *like : ha->anonymous;
	proxy->next = NULL;
	proxy->reasons_count = 0;
	proxy->kind = kind;
	proxy->at = words->at;
	proxy->name = words_at(words, 1);
	if (!from && words->count > 2 && kind != HAPROXY_BACKEND && kind != HAPROXY_DEFAULTS)
		haproxy_read_bind(ha->im, proxy, words, 2);
	if (ha->last)
		ha->last->next = proxy;
	else
		ha->proxies = proxy;
	ha->last = proxy;
	if (kind == HAPROXY_DEFAULTS)
		ha->defaults = proxy;
	return proxy;
}

static bool begins_section(const struct words *words)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (words_is(words, 0, kinds[i].name))
			return true;
	for (size_t i = 0; i < sizeof(sections) / sizeof(*sections); i++)
		if (words_is(words, 0, sections[i].name))
			return true;
	return false;
}

/* The proxy of a section; NULL: it is none. */
static struct haproxy_proxy *begin_section(struct haproxy *ha, const struct words *words)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (words_is(words, 0, kinds[i].name))
			return begin_proxy(ha, kinds[i].kind, words);
	for (size_t i = 0; i < sizeof(sections) / sizeof(*sections); i++)
		if (words_is(words, 0, sections[i].name) && sections[i].why)
			import_left(ha->im, words->at, "section %s: %s", sections[i].name,
				    sections[i].why);
	return NULL;
}

/* The lines of a section, until all of them are known. */
struct section_line {
	struct section_line *next;
	struct words words;
};

static void keep_line(struct import *im, const struct words *words, struct section_line ***end)
{
	struct section_line *line = import_allocate(im, sizeof(*line));

	line->words = *words;
	**end = line;
	*end = &line->next;
}

/* What the others mean depends on the mode. */
static void read_section(struct haproxy *ha, struct haproxy_proxy *proxy,
			 const struct section_line *lines)
{
	const struct section_line *one;

	for (one = lines; one && proxy; one = one->next)
		if (words_is(&one->words, 0, "mode"))
			proxy->http = !words_is(&one->words, 1, "tcp");
	for (one = lines; one && proxy; one = one->next)
		if (!words_is(&one->words, 0, "mode"))
			haproxy_read_statement(ha->im, proxy, &one->words);
}

/* Lines that are no statement of a section; false: another one. */
static bool note_odd_line(struct haproxy *ha, const struct words *words, bool begun)
{
	if (words->open)
		import_left(ha->im, words->at, "a quote that does not end");
	if (words->word[0][0] == '.')
		import_left(ha->im, words->at,
			    "%s: lbctl does not judge conditions: what is within is read",
			    words->word[0]);
	else if (!begun)
		import_left(ha->im, words->at, "%s: expected a section, such as listen",
			    words->word[0]);
	else
		return false;
	return true;
}

static void read_lines(struct haproxy *ha, const struct import_file *file)
{
	struct lines lines = {.file = file};
	struct section_line *first = NULL, **end = &first;
	struct haproxy_proxy *proxy = NULL;
	struct words words;
	bool begun = false;

	while (lines_next(ha->im, &lines, WORDS_QUOTES | WORDS_ESCAPES, &words)) {
		if (begins_section(&words)) {
			read_section(ha, proxy, first);
			first = NULL;
			end = &first;
			proxy = begin_section(ha, &words);
			begun = true;
		} else if (!note_odd_line(ha, &words, begun)) {
			keep_line(ha->im, &words, &end);
		}
	}
	read_section(ha, proxy, first);
}

/* ---- the check of a service ---- */

/* HAProxy's time for a check is the interval, or that of the connection and `timeout check`. lbd's
 * is less than the interval: its default where HAProxy's is not. */
static uint64_t check_timeout(const struct haproxy_proxy *proxy, uint64_t inter_ms)
{
	uint64_t connect = proxy->connect_ms;

	if (!proxy->check_ms)
		return 0;
	if (!inter_ms)
		inter_ms = DEFAULT_INTER;
	if (!connect || connect > inter_ms)
		connect = inter_ms;
	return connect + proxy->check_ms < inter_ms ? connect + proxy->check_ms : 0;
}

static void check_of(const struct haproxy_proxy *proxy, const struct haproxy_settings *settings,
		     struct import_health *ret)
{
	*ret = proxy->health;
	if (settings->check_port)
		ret->port = settings->check_port;
	if ((settings->check_tls || settings->tls) && ret->type && !strcmp(ret->type, "http"))
		ret->type = "https";
	ret->interval_ms = settings->inter_ms;
	ret->timeout_ms = check_timeout(proxy, settings->inter_ms);
	ret->rise = settings->rise;
	ret->fall = settings->fall;
}

static bool same_check(const struct haproxy_settings *a, const struct haproxy_settings *b)
{
	return a->check_port == b->check_port && a->inter_ms == b->inter_ms && a->rise == b->rise &&
	       a->fall == b->fall && (a->tls || a->check_tls) == (b->tls || b->check_tls);
}

/* That of the first server that has one. */
static void settle_check(struct import *im, const struct haproxy_proxy *proxy,
			 struct import_health *ret)
{
	const struct haproxy_server *first = proxy->servers;

	while (first && !first->settings.check)
		first = first->next;
	*ret = (struct import_health){.type = "none"};
	if (!first)
		return;
	check_of(proxy, &first->settings, ret);
	for (const struct haproxy_server *one = proxy->servers; one; one = one->next) {
		if (!one->settings.check)
			import_left(im, one->at,
				    "server %s has no check: lbd checks all backends of a service",
				    one->name);
		else if (!same_check(&one->settings, &first->settings))
			import_left(
			    im, one->at,
			    "server %s: its check differs from that in line %u: lbd has one "
			    "for a service",
			    one->name, first->at.line);
	}
}

/* ---- a service ---- */

static void add_servers(struct import *im, const struct haproxy_proxy *proxy,
			struct import_service *service)
{
	unsigned backups = 0;

	for (const struct haproxy_server *one = proxy->servers; one; one = one->next) {
		struct import_backend *backend = import_add_backend(im, service, one->at);

		backend->address = one->address;
		backend->port = one->port;
		backend->weight = one->settings.weight;
		backend->backup = one->settings.backup;
		backend->drain = one->settings.disabled;
		if (one->settings.slowstart_ms > service->slow_start_ms)
			service->slow_start_ms = one->settings.slowstart_ms;
		backups += one->settings.backup;
	}
	if (backups > 1 && !proxy->all_backups)
		import_note(im, proxy->at,
			    "%u backups: lbd uses all of them at once, as with option allbackups",
			    backups);
}

static void settle_sticking(struct haproxy *ha, const struct haproxy_proxy *proxy,
			    struct import_service *service)
{
	const struct haproxy_proxy *table =
	    proxy->stick_table ? find_proxy(ha, proxy->stick_table, false) : proxy;

	if (!proxy->sticks)
		return;
	service->affinity = true;
	service->affinity_ms = table ? table->expire_ms : 0;
	service->mask4 = proxy->mask4;
	service->mask6 = proxy->mask6;
}

/* HAProxy ends connections that are idle for longer; lbd ends none, but must not take such a one
 * for ended while HAProxy would keep it. */
static uint64_t longest_idle(const struct haproxy_proxy *front, const struct haproxy_proxy *back)
{
	const uint64_t times[] = {front->client_ms, front->tunnel_ms, back->server_ms,
				  back->tunnel_ms};
	uint64_t longest = DEFAULT_IDLE;

	for (size_t i = 0; i < sizeof(times) / sizeof(*times); i++)
		if (times[i] > longest)
			longest = times[i];
	return longest > DEFAULT_IDLE ? longest : 0;
}

static void describe(struct haproxy *ha, const struct haproxy_proxy *front,
		     const struct haproxy_proxy *back, struct import_service *service)
{
	*service = (struct import_service){.at = front->at};
	service->algorithm = back->algorithm;
	service->tcp_idle_ms = longest_idle(front, back);
	settle_sticking(ha, back, service);
	settle_check(ha->im, back, &service->health);
	add_servers(ha->im, back, service);
}

static void add_service(struct haproxy *ha, struct import_service *like,
			const struct haproxy_proxy *front, const struct haproxy_bind *bind,
			const struct addr *vip)
{
	for (unsigned port = bind->first_port; port <= bind->last_port; port++) {
		if (port - bind->first_port == MAX_PORTS) {
			import_left(ha->im, bind->at, "bind %s: the ports from %u on", bind->text,
				    port);
			return;
		}
		like->vip = *vip;
		like->port = port;
		like->at = bind->at;
		like->name = bind->first_port == bind->last_port && !front->binds->next
				 ? front->name
				 : import_print(ha->im, "%.56s:%u", front->name, port);
		import_add_like(ha->im, like);
	}
}

static void add_bind(struct haproxy *ha, struct import_service *like,
		     const struct haproxy_proxy *front, const struct haproxy_bind *bind)
{
	const struct addr *vip4 = &ha->im->vip4, *vip6 = &ha->im->vip6;
	bool found = false;

	if (!bind->any4 && !bind->any6) {
		add_service(ha, like, front, bind, &bind->vip);
		return;
	}
	if (bind->any4 && vip4->family) {
		found = true;
		add_service(ha, like, front, bind, vip4);
	}
	if (bind->any6 && vip6->family) {
		found = true;
		add_service(ha, like, front, bind, vip6);
	}
	if (!found)
		import_left(ha->im, bind->at,
			    "bind %s: all addresses of a host are no VIP: give it with --vip %s",
			    bind->text, bind->any4 ? "192.0.2.10" : "2001:db8::10");
}

/* ---- proxies ---- */

/* "acl (line 12), redirect (line 20)" */
static const char *list_reasons(struct import *im, const struct haproxy_proxy *proxy)
{
	const char *text = "";
	unsigned known =
	    proxy->reasons_count < HAPROXY_MAX_REASONS ? proxy->reasons_count : HAPROXY_MAX_REASONS;

	for (unsigned i = 0; i < known; i++)
		text = import_print(im, "%s%s%.40s (line %u)", text, i ? ", " : "",
				    proxy->reasons[i].keyword, proxy->reasons[i].line);
	if (proxy->reasons_count > known)
		text = import_print(im, "%s and %u more", text, proxy->reasons_count - known);
	return text;
}

static const char *kind_name(const struct haproxy_proxy *proxy)
{
	return kinds[proxy->kind].name;
}

/* A proxy for HTTP: lbd forwards packets, whatever they carry, and so does none of what makes it
 * one. */
static void leave_http(struct import *im, const struct haproxy_proxy *proxy)
{
	if (proxy->stats)
		import_left(im, proxy->at,
			    "%s %s: HAProxy's statistics: lbd has lbctl top, and metrics: "
			    "docs/metrics.md",
			    kind_name(proxy), proxy->name);
	else if (proxy->reasons_count)
		import_left(im, proxy->at,
			    "%s %s: mode http, and lbd reads no requests: it has nothing for %s",
			    kind_name(proxy), proxy->name, list_reasons(im, proxy));
	else
		import_left(im, proxy->at,
			    "%s %s: mode http, and lbd reads no requests; nothing in this section "
			    "needs them: with mode tcp it can be carried over",
			    kind_name(proxy), proxy->name);
}

static struct haproxy_proxy *backend_of(struct haproxy *ha, struct haproxy_proxy *front)
{
	struct haproxy_proxy *back;

	if (front->kind == HAPROXY_LISTEN && (front->servers || !front->default_backend))
		return front;
	if (!front->default_backend) {
		import_left(ha->im, front->at, "frontend %s: no default_backend", front->name);
		return NULL;
	}
	back = find_proxy(ha, front->default_backend, false);
	if (!back)
		import_left(ha->im, front->default_backend_at,
			    "default_backend %s: no such backend", front->default_backend);
	return back;
}

static void add_frontend(struct haproxy *ha, struct haproxy_proxy *front)
{
	struct haproxy_proxy *back = backend_of(ha, front);
	struct import_service like;

	if (!back)
		return;
	back->used = true;
	if (back->http)
		return; /* named with the backends */
	describe(ha, front, back, &like);
	if (!front->binds)
		import_left(ha->im, front->at, "%s %s: it listens nowhere that lbd can",
			    kind_name(front), front->name);
	for (const struct haproxy_bind *bind = front->binds; bind; bind = bind->next)
		add_bind(ha, &like, front, bind);
}

static void add_proxies(struct haproxy *ha)
{
	struct haproxy_proxy *one;

	for (one = ha->proxies; one; one = one->next) {
		if (one->kind != HAPROXY_FRONTEND && one->kind != HAPROXY_LISTEN)
			continue;
		if (one->disabled)
			import_note(ha->im, one->at, "%s %s: disabled", kind_name(one), one->name);
		else if (one->http)
			leave_http(ha->im, one);
		else
			add_frontend(ha, one);
	}
	for (one = ha->proxies; one; one = one->next) {
		if (one->kind != HAPROXY_BACKEND)
			continue;
		if (one->http)
			leave_http(ha->im, one);
		else if (!one->used)
			import_left(ha->im, one->at, "backend %s: no frontend in mode tcp has it",
				    one->name);
	}
}

static void read_haproxy(struct import *im, const struct import_file *file)
{
	struct haproxy ha = {.im = im};

	ha.anonymous.settings.weight = 1;
	ha.anonymous.algorithm = "weighted-round-robin";
	ha.defaults = &ha.anonymous;
	read_lines(&ha, file);
	add_proxies(&ha);
	if (im->services)
		import_note(im, (struct import_place){file, 0},
			    "HAProxy connects to servers by itself; with lbd they get the clients' "
			    "packets. Those without forward: nat answer clients directly: each "
			    "needs the VIP and the decapsulator: lbctl backend-host setup");
}

REGISTER(dialect, haproxy) = {.name = "haproxy", .read = read_haproxy};
