/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Names of the DNS: A, AAAA or SRV records, asked for again when the least TTL of an answer is
 * over. c-ares asks, on the loop: servers, retries, TCP for long answers. */
#define CARES_NO_DEPRECATED
#include <ares.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <event2/event_struct.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "answer.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "kind.h"
#include "nameservers.h"

#define CHANNELS_MAX   16 /* lists of servers that sources may have between them */
#define SERVERS        (CONFIG_FROM_TEXT + 1)
#define QUERY_MS       2000
#define QUERY_TRIES    2
#define EDNS_BYTES     1232 /* DNS flag day 2020: is not fragmented */
#define TTL_MIN_S      1
#define TTL_MAX_S      3600
#define RETRY_MS       5000 /* after a failure */
#define SRV_WEIGHT_MAX 65535
#define RESOLV_CONF    "/etc/resolv.conf"
#define DEFAULT_SERVER "127.0.0.1"

struct shared;

/* c-ares with one list of servers. All are made before system calls are confined, as c-ares reads
 * its random seed from a file. */
struct channel {
	struct shared *shared;
	ares_channel ares;
	char servers[SERVERS];
	unsigned users;
	struct event timer;
	TAILQ_HEAD(sockets, channel_socket) sockets;
};

struct channel_socket {
	TAILQ_ENTRY(channel_socket) link;
	struct channel *channel;
	ares_socket_t fd;
	struct event event;
};

struct shared {
	struct event_base *base;
	struct channel channels[CHANNELS_MAX];
	unsigned count;
};

struct run {
	struct channel *channel; /* NULL: there is none left */
	const struct source_env *env;
	const struct config_from *from;
	void *arg;
	struct event timer;
	bool stopped; /* freed when its last query has ended */
	unsigned queries;
	/* of the round under way */
	struct source_list list;
	uint32_t ttl_s;
	struct answer_target targets[ANSWER_TARGETS_MAX];
	unsigned targets_count;
	char why[SOURCE_WHY]; /* the round has failed; "" */
};

struct query {
	struct run *run;
	int type;
	const struct answer_target *target; /* of SRV; NULL: the name itself */
	char name[ANSWER_NAME];
};

/* ---- c-ares on the loop ---- */

static void set_timer(struct channel *channel)
{
	struct timeval wait;

	if (ares_timeout(channel->ares, NULL, &wait))
		event_add(&channel->timer, &wait);
	else
		event_del(&channel->timer);
}

static void on_channel_timer(int fd, short what, void *arg)
{
	struct channel *channel = arg;

	ares_process_fd(channel->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	set_timer(channel);
}

static void on_socket(int fd, short what, void *arg)
{
	struct channel_socket *one = arg;
	struct channel *channel = one->channel;

	/* it may be gone afterwards */
	ares_process_fd(channel->ares, what & EV_READ ? fd : ARES_SOCKET_BAD,
			what & EV_WRITE ? fd : ARES_SOCKET_BAD);
	set_timer(channel);
}

static void want_socket(void *arg, ares_socket_t fd, int readable, int writable)
{
	short events = (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0);
	struct channel *channel = arg;
	struct channel_socket *one = TAILQ_FIRST(&channel->sockets);

	while (one && one->fd != fd)
		one = TAILQ_NEXT(one, link);
	if (one)
		event_del(&one->event);
	if (one && !events) {
		TAILQ_REMOVE(&channel->sockets, one, link);
		free(one);
	}
	if (!events)
		return;
	if (!one) {
		one = calloc(1, sizeof(*one));
		if (!one)
			return; /* the query times out */
		one->channel = channel;
		one->fd = fd;
		TAILQ_INSERT_TAIL(&channel->sockets, one, link);
	}
	event_assign(&one->event, channel->shared->base, fd, events | EV_PERSIST, on_socket, one);
	event_add(&one->event, NULL);
}

static int channel_open(struct shared *shared, struct channel *channel)
{
	struct ares_options options = {.flags = ARES_FLAG_EDNS | ARES_FLAG_NOSEARCH,
				       .timeout = QUERY_MS,
				       .tries = QUERY_TRIES,
				       .ednspsz = EDNS_BYTES,
				       .lookups = (char *)"b",
				       .sock_state_cb = want_socket,
				       .sock_state_cb_data = channel};

	int given = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ |
		    ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB;

	/* From 1.31 on c-ares has a cache, also of names that do not exist: it would hide for up to
	 * an hour that one does now. */
#ifdef ARES_OPT_QUERY_CACHE
	options.qcache_max_ttl = 0;
	given |= ARES_OPT_QUERY_CACHE;
#endif
	channel->shared = shared;
	TAILQ_INIT(&channel->sockets);
	evtimer_assign(&channel->timer, shared->base, on_channel_timer, channel);
	return ares_init_options(&channel->ares, &options, given);
}

static int dns_open(struct event_base *base, void **ret, struct error *err)
{
	struct shared *shared = calloc(1, sizeof(*shared));
	int status = shared ? ares_library_init(ARES_LIB_INIT_ALL) : ARES_ENOMEM;

	if (shared)
		shared->base = base;
	while (!status && shared->count < CHANNELS_MAX) {
		status = channel_open(shared, &shared->channels[shared->count]);
		shared->count += !status;
	}
	if (status) {
		free(shared);
		return error_set(err, -ENOMEM, "c-ares: %s", ares_strerror(status));
	}
	*ret = shared;
	return 0;
}

/* That of these servers, or a free one. NULL: there is none, or the servers are refused. */
static struct channel *channel_of(struct shared *shared, const char *servers)
{
	char commas[SERVERS];
	struct channel *unused = NULL;

	for (unsigned i = 0; i < shared->count; i++) {
		struct channel *channel = &shared->channels[i];

		if (channel->users && !strcmp(channel->servers, servers))
			return channel;
		/* c-ares takes other servers only when no query is under way */
		if (!channel->users && TAILQ_EMPTY(&channel->sockets) && !unused)
			unused = channel;
	}
	if (!unused || strlen(servers) >= SERVERS)
		return NULL;
	strcpy(commas, servers);
	for (char *c = commas; *c; c++)
		if (*c == ' ')
			*c = ',';
	if (ares_set_servers_ports_csv(unused->ares, commas))
		return NULL;
	strcpy(unused->servers, servers);
	return unused;
}

/* ---- a round ---- */

static void fail(struct run *run, const char *name, const char *why)
{
	if (!*run->why)
		snprintf(run->why, sizeof(run->why), "%.120s: %.120s", name, why);
}

static void set_run_timer(struct run *run, uint64_t ms)
{
	const struct timeval wait = clock_span_ms(ms);

	event_add(&run->timer, &wait);
}

/* Each target has its weight between its addresses. */
static uint32_t weight_of(const struct run *run, const struct answer_target *target)
{
	uint32_t most = 0;

	for (unsigned i = 0; i < run->targets_count; i++)
		if (run->targets[i].rank == target->rank && run->targets[i].weight > most)
			most = run->targets[i].weight;
	if (!most)
		return SOURCE_WEIGHT;
	if (!target->weight)
		return 1; /* RFC 2782: a very small chance */
	if (most <= CONFIG_MAX_WEIGHT)
		return target->weight;
	return 1 + target->weight * (CONFIG_MAX_WEIGHT - 1) / SRV_WEIGHT_MAX;
}

static void round_ended(struct run *run)
{
	uint32_t ttl_s = run->ttl_s < TTL_MIN_S ? TTL_MIN_S : run->ttl_s;

	if (*run->why) {
		source_list_done(&run->list);
		set_run_timer(run, RETRY_MS);
		run->env->report(run->arg, NULL, run->why);
		return;
	}
	set_run_timer(run, (ttl_s > TTL_MAX_S ? TTL_MAX_S : ttl_s) * 1000ULL);
	source_list_sort(&run->list);
	run->env->report(run->arg, &run->list, NULL);
	source_list_done(&run->list);
}

static void run_free(struct run *run)
{
	source_list_done(&run->list);
	free(run);
}

static void query_ended(struct query *query)
{
	struct run *run = query->run;

	free(query);
	if (--run->queries)
		return;
	if (run->stopped)
		run_free(run);
	else
		round_ended(run);
}

static void on_answer(void *arg, int status, int timeouts, unsigned char *bytes, int length);

static void ask(struct run *run, const char *name, int type, const struct answer_target *target)
{
	struct query *query = calloc(1, sizeof(*query));

	if (!query) {
		fail(run, name, "out of memory");
		return;
	}
	*query = (struct query){.run = run, .type = type, .target = target};
	snprintf(query->name, sizeof(query->name), "%s", name);
	run->queries++;
	ares_query(run->channel->ares, query->name, ns_c_in, type, on_answer, query);
}

struct taking {
	struct run *run;
	const struct query *query;
	unsigned count;
};

static int take_address(void *arg, const struct addr *address)
{
	struct taking *taking = arg;
	struct run *run = taking->run;
	const struct query *query = taking->query;
	struct source_item item;
	char text[ADDR_TEXT];

	if (!source_item_init(&item, addr_format(address, text))) {
		source_list_ignore(&run->list, "%s: %s: cannot be a host", query->name, text);
		return 0;
	}
	if (query->target) {
		item.weight = weight_of(run, query->target);
		item.priority = query->target->rank;
		item.port = query->target->port;
	}
	taking->count++;
	return source_list_add(&run->list, &item);
}

/* The addresses of one target share its weight. */
static void share_weight(struct run *run, unsigned count)
{
	for (unsigned i = run->list.count - count; i < run->list.count; i++) {
		uint32_t weight = run->list.items[i].weight / count;

		run->list.items[i].weight = weight ? weight : 1;
	}
}

/* It has no address at all. Of a later priority than the first, the others do without it. */
static void lacks_address(const struct query *query, const char *why)
{
	if (query->target && query->target->rank)
		source_list_ignore(&query->run->list, "%s: %s", query->name, why);
	else
		fail(query->run, query->name, why);
}

static void read_addresses(struct query *query, const uint8_t *bytes, int length)
{
	struct run *run = query->run;
	struct taking taking = {run, query, 0};
	uint32_t ttl_s;
	int rc = answer_addresses(bytes, length, query->type == ns_t_a ? 4 : 6, take_address,
				  &taking, &ttl_s);

	if (rc == -ENODATA && query->target && query->type == ns_t_a)
		ask(run, query->name, ns_t_aaaa, query->target); /* an alias of one like those */
	else if (rc == -ENODATA)
		lacks_address(query, "it has no such records");
	else if (rc == -E2BIG)
		fail(run, query->name, "it names too many");
	else if (rc)
		fail(run, query->name, rc == -ENOMEM ? "out of memory" : "malformed answer");
	else if (ttl_s < run->ttl_s)
		run->ttl_s = ttl_s;
	if (!rc && query->target && taking.count > 1)
		share_weight(run, taking.count);
}

static void read_targets(struct query *query, const uint8_t *bytes, int length)
{
	struct run *run = query->run;
	uint32_t ttl_s;
	int count = answer_targets(bytes, length, run->targets, &ttl_s);

	if (count == -ENODATA)
		fail(run, query->name, "it has no such records");
	else if (count == -E2BIG)
		fail(run, query->name, "it names too many targets");
	else if (count < 0)
		fail(run, query->name, "malformed answer");
	if (count < 0)
		return;
	run->targets_count = (unsigned)count;
	if (ttl_s < run->ttl_s)
		run->ttl_s = ttl_s;
	for (unsigned i = 0; i < run->targets_count; i++)
		ask(run, run->targets[i].name, ns_t_a, &run->targets[i]);
}

/* A target that has only IPv6 addresses. */
static bool asks_for_ipv6(const struct query *query, int status)
{
	return status == ARES_ENODATA && query->target && query->type == ns_t_a;
}

static void on_answer(void *arg, int status, int timeouts, unsigned char *bytes, int length)
{
	struct query *query = arg;
	struct run *run = query->run;

	if (run->stopped || *run->why)
		(void)0; /* nobody wants to know */
	else if (asks_for_ipv6(query, status))
		ask(run, query->name, ns_t_aaaa, query->target);
	else if (status == ARES_ENODATA || status == ARES_ENOTFOUND)
		lacks_address(query, ares_strerror(status));
	else if (status)
		fail(run, query->name, ares_strerror(status));
	else if (query->type == ns_t_srv)
		read_targets(query, bytes, length);
	else
		read_addresses(query, bytes, length);
	query_ended(query);
}

static void take_channel(struct run *run)
{
	if (run->channel)
		return;
	run->channel = channel_of(run->env->shared, run->from->server);
	if (run->channel)
		run->channel->users++;
}

static void begin_round(int fd, short what, void *arg)
{
	static const int types[] = {[CONFIG_RECORD_A] = ns_t_a,
				    [CONFIG_RECORD_AAAA] = ns_t_aaaa,
				    [CONFIG_RECORD_SRV] = ns_t_srv};
	struct run *run = arg;

	*run->why = 0;
	run->ttl_s = UINT32_MAX;
	run->targets_count = 0;
	source_list_done(&run->list);
	take_channel(run);
	if (!run->channel) {
		snprintf(run->why, sizeof(run->why),
			 "server: too many lists of servers: expected %d at most", CHANNELS_MAX);
		round_ended(run);
		return;
	}
	run->queries++; /* held until all are asked: some end at once */
	ask(run, run->from->dns, types[run->from->record], NULL);
	set_timer(run->channel);
	if (!--run->queries)
		round_ended(run);
}

/* ---- the kind ---- */

static void *dns_start(const struct source_env *env, const struct config_from *from, void *arg)
{
	struct run *run = calloc(1, sizeof(*run));

	if (!run || !from->server) { /* it is prepared with one */
		free(run);
		return NULL;
	}
	*run = (struct run){.env = env, .from = from, .arg = arg};
	evtimer_assign(&run->timer, env->base, begin_round, run);
	set_run_timer(run, 0);
	return run;
}

/* Answers that are on their way hold it. */
static void dns_stop(void *arg)
{
	struct run *run = arg;

	event_del(&run->timer);
	if (run->channel)
		run->channel->users--;
	run->stopped = true;
	if (!run->queries)
		run_free(run);
}

/* The servers of the system, which the process without rights cannot read. */
static int dns_prepare(struct config_from *from, struct error *err)
{
	_cleanup_fclose_ FILE *file = from->server ? NULL : fopen(RESOLV_CONF, "re");
	char servers[NAMESERVERS_TEXT];
	int rc;

	if (from->server)
		return 0;
	rc = nameservers_read(file, servers, err);
	if (rc)
		return rc;
	from->server = strdup(*servers ? servers : DEFAULT_SERVER);
	return from->server ? 0 : error_set(err, -ENOMEM, "out of memory");
}

REGISTER(source_kind, dns) = {
    .name = "dns",
    .confined = true,
    .has_ports = true,
    .prepare = dns_prepare,
    .open = dns_open,
    .start = dns_start,
    .stop = dns_stop,
};
