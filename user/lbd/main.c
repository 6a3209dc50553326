/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbd: reads the command line and the config, starts the rooms in order, and runs the loop until a
 * signal ends it. */
#include <errno.h>
#include <event2/event.h>
#include <getopt.h>
#include <inttypes.h>
#include <libgen.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/duration.h"
#include "common/files.h"
#include "common/log.h"
#include "common/plural.h"
#include "lbd/announce/announce.h"
#include "lbd/api/api.h"
#include "lbd/events/events.h"
#include "lbd/fleet/fleet.h"
#include "lbd/host/host.h"
#include "lbd/sources/sources.h"
#include "lbd/state/state.h"

#define EXIT_USAGE   2
#define SYN_RETRY_MS 1200 /* a lost SYN is sent again after 1 s (RFC 6298) */

/* Files that outlive lbd, but not a reboot, are beside the socket. Their names begin with the
 * socket's, so that no two lbds have the same: the socket is locked. An lbd of before left the
 * socket's name out. */
struct kept_file {
	char *path, *former;
};

struct daemon {
	struct host_locks locks;
	struct event_base *base;
	struct lateness *lateness;
	struct tasks *tasks;
	struct dataplane *dp;
	struct neigh *neigh;
	struct health *health;
	struct attach *attach;
	struct state *state;
	struct fleet *fleet; /* NULL: the config has no `peers` */
	struct announce *announce;
	struct source_table *sources;
	struct config_follower *follower; /* NULL: the config is in files */
	struct api *api;
	struct metrics *metrics;
	struct event *terminate, *interrupt, *hangup, *status, *watchdog;
	char last_status[256];          /* sent to systemd */
	const char *config_path, *zone; /* zone: NULL: as the config says */
	struct config_remote where;     /* of a config in etcd; from.etcd NULL: it is in files */
	struct state_remote remote;
	char *copy_path, *text; /* of it */
	bool reload_waits;      /* a reload that has not begun yet: another is the same */
	bool check_waits;       /* attach_check has not ended yet */
	struct kept_file offloads;
	bool stops;
	int failure; /* -errno of a start that failed after the loop had begun */
};

static bool forwards(const struct daemon *daemon)
{
	unsigned count;

	attach_list(daemon->attach, &count);
	return count;
}

/* ---- systemd ---- */

static void run_check(void *arg)
{
	struct daemon *daemon = arg;

	attach_check(daemon->attach);
	daemon->check_waits = false;
}

static void on_status(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *daemon = arg;
	struct state_summary summary;
	char text[256];

	if (!daemon->check_waits)
		daemon->check_waits = !tasks_add(daemon->tasks, run_check, daemon);
	state_summarize(daemon->state, &summary);
	snprintf(text, sizeof(text), "%s%u of %u service%s up, %u of %u backend%s up",
		 forwards(daemon) ? "" : "no interface attached, ",
		 summary.services - summary.services_down - summary.services_blind,
		 summary.services, plural_s(summary.services), summary.backends_up,
		 summary.backends, plural_s(summary.backends));
	if (!strcmp(text, daemon->last_status))
		return;
	memcpy(daemon->last_status, text, sizeof(text));
	notify_send("STATUS=%s", text);
}

static void on_watchdog(evutil_socket_t fd, short what, void *arg)
{
	notify_send("WATCHDOG=1");
}

/* ---- signals ---- */

/* Routes stay with the program. */
static void warn_of_routes(const struct daemon *daemon)
{
	struct announce_node node;

	announce_node(daemon->announce, &node);
	if (node.on && node.announced)
		log_warning("%u VIP%s announced. To end that: lbctl node drain --wait before "
			    "lbd is stopped, or lbd --withdraw after",
			    node.announced, plural(node.announced, " stays", "s stay"));
}

static void on_stop(evutil_socket_t number, short what, void *arg)
{
	struct daemon *daemon = arg;

	notify_send("STOPPING=1");
	warn_of_routes(daemon);
	events_log(
	    EVENT_lbd_stopped, LOG_INFO, NULL, "stopped by SIG%s%s", sigabbrev_np(number),
	    forwards(daemon)
		? ": the program stays attached and keeps forwarding, without health checks. To "
		  "end that: lbctl detach --offline IFACE"
		: "");
	event_base_loopbreak(daemon->base);
}

static void run_reload(void *arg)
{
	struct daemon *daemon = arg;
	struct error err;

	daemon->reload_waits = false;
	if (!state_is_started(daemon->state))
		return;
	notify_send("RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_monotonic_us());
	state_reload(daemon->state, NULL, &err); /* its failure is in the log */
	notify_send("READY=1");
}

/* One that comes before the loop listens must not end lbd: it asks for a reload as any other. */
static volatile sig_atomic_t hung_up;

static void on_early_hangup(int number)
{
	hung_up = 1;
}

static void on_hangup(evutil_socket_t number, short what, void *arg)
{
	struct daemon *daemon = arg;

	if (daemon->reload_waits)
		return;
	daemon->reload_waits = true;
	if (!tasks_add(daemon->tasks, run_reload, daemon))
		return;
	daemon->reload_waits = false;
	log_error("reload failed, nothing changed: out of memory");
}

static int watch_events(struct daemon *daemon)
{
	const struct timeval second = {.tv_sec = 1};
	uint64_t watchdog_us = notify_watchdog_us();
	const struct timeval watchdog = clock_span_us(watchdog_us);

	daemon->terminate = evsignal_new(daemon->base, SIGTERM, on_stop, daemon);
	daemon->interrupt = evsignal_new(daemon->base, SIGINT, on_stop, daemon);
	daemon->hangup = evsignal_new(daemon->base, SIGHUP, on_hangup, daemon);
	daemon->status = event_new(daemon->base, -1, EV_PERSIST, on_status, daemon);
	daemon->watchdog = event_new(daemon->base, -1, EV_PERSIST, on_watchdog, daemon);
	if (!daemon->terminate || !daemon->interrupt || !daemon->hangup || !daemon->status ||
	    !daemon->watchdog)
		return -ENOMEM;
	event_priority_set(daemon->watchdog, LOOP_WATCHDOG);
	if (evsignal_add(daemon->terminate, NULL) || evsignal_add(daemon->interrupt, NULL) ||
	    evsignal_add(daemon->hangup, NULL) || event_add(daemon->status, &second))
		return -ENOMEM;
	if (hung_up)
		event_active(daemon->hangup, EV_SIGNAL, 1);
	return watchdog_us ? event_add(daemon->watchdog, &watchdog) : 0;
}

/* ---- parts of the start ---- */

static void explain_failure(int rc, const struct error *err)
{
	log_error("%s%s", err->text,
		  (rc == -EACCES || rc == -EPERM) && geteuid()
		      ? ": lbd needs root, or a user with the capabilities and directories that "
			"dist/lbd.service gives"
		      : "");
}

static int open_dataplane(struct daemon *daemon, const struct config *config, struct error *err)
{
	struct seed seed;
	struct dataplane_options options = {
	    .pin = config->pin,
	    .services = config->limits.services,
	    .backends = config->limits.backends,
	    .slots = config->limits.slots,
	    .flows = config->limits.flows,
	    .hash_seed_default = !config->hash_seed,
	    .gue_port = config->gue_port,
	    .sample = config->sample,
	    .encap_source4 = config->encap_source4,
	    .encap_source6 = config->encap_source6,
	    .encap_source4_len = config->encap_source4_len,
	    .encap_source6_len = config->encap_source6_len,
	    .has_peers = config->peers.on,
	};

	int rc = seed_find(config->hash_seed, config->state, &seed, err);

	if (rc)
		return rc;
	options.hash_seed = seed.value;
	rc = dataplane_open_maps(&options, &daemon->dp, err);
	if (!rc)
		seed_keep(&seed, config->state, dataplane_hash_seed(daemon->dp));
	return rc;
}

/* A check that times out before a lost SYN is sent again fails; with fall: 1 that alone takes the
 * backend down. */
static void note_strict_check(const struct config_service *service, const struct health_spec *check)
{
	char timeout[DURATION_TEXT];

	if (check->timeout_ms < SYN_RETRY_MS)
		log_info("service %s: health: timeout: %s with fall: 1: one lost SYN takes a "
			 "backend down; expected at least %ums, or fall of 2 or more",
			 service->name, duration_exact(check->timeout_ms, timeout), SYN_RETRY_MS);
}

static void note_strict_checks(const struct config *config)
{
	for (unsigned i = 0; i < config->services_count; i++) {
		const struct config_service *service = &config->services[i];
		unsigned count;
		const struct health_spec *list = health_spec_list(&service->health, &count);

		if (service->health.fall > 1 || !strcmp(service->health.type, "none"))
			continue;
		for (unsigned j = 0; j < count; j++)
			note_strict_check(service, &list[j]);
	}
}

/* Where backends that were up may be found down, as they get no traffic in truth. */
static void note_ways(const struct config *config)
{
	unsigned count = 0;

	for (unsigned i = 0; i < config->services_count; i++) {
		const struct config_service *service = &config->services[i];

		count += service->protocol == CONFIG_TCP && service->forward != LB_FORWARD_NAT &&
			 health_spec_as_client(&service->health, service->port);
	}
	if (count)
		log_info(
		    "health checks of %u service%s go to the VIP, by the way of the traffic, as soon as "
		    "a backend has answered there (health: to: auto, the default); to: backend "
		    "checks the backends' own addresses, which was the default before",
		    count, plural_s(count));
}

static void note_own_seed(const struct config *config)
{
	if (config->peers.on && !config->hash_seed)
		log_warning("peers: the config has no hash-seed: expected the same one on all "
			    "nodes, or they refuse each other");
	else if (config->announce.on && !config->hash_seed)
		log_info("announce: the config has no hash-seed: expected the same one on all "
			 "balancers that announce these VIPs, or a flow that comes to another one "
			 "goes to another backend");
}

static void note_machine(const struct config *config)
{
	struct sentences sentences = {0};

	machine_owns(config, &sentences);
	machine_hinders_nat(config, &sentences);
	config_lacks_services(config, &sentences);
	machine_lacks_commands(config, &sentences);
	for (unsigned i = 0; i < sentences.count; i++)
		log_warning("%s", sentences.list[i]);
	sentences_done(&sentences);
}

static int prepare_host(struct daemon *daemon, const struct config *config, struct error *err)
{
	struct utsname system;
	int rc;

	uname(&system);
	host_raise_memlock();
	host_make_room_for_descriptors();
	kernel_check_jit();
	if ((rc = kernel_check(system.release, kernel_probe, err)) ||
	    (rc = host_make_parent(config->socket, err)) ||
	    (rc = host_prepare_pin(config->pin, err)) ||
	    (rc = host_lock(config->socket, config->pin, &daemon->locks, err)))
		return rc;
	daemon->base = loop_new();
	if (!daemon->base || lateness_new(daemon->base, &daemon->lateness))
		return error_set(err, -ENOMEM, "out of memory");
	rc = tasks_new(daemon->base, &daemon->tasks);
	return rc ? error_set(err, rc, "the thread of tasks cannot be started: %s", strerror(-rc))
		  : 0;
}

static void kept_file_done(struct kept_file *file)
{
	free(file->path);
	free(file->former);
	*file = (struct kept_file){0};
}

static int kept_file_name(const struct config *config, const char *name, struct kept_file *ret,
			  struct error *err)
{
	_cleanup_free_ char *copy = strdup(config->socket);
	struct kept_file file = {0};

	if (!copy || asprintf(&file.path, "%s.%s", config->socket, name) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	if (asprintf(&file.former, "%s/%s", dirname(copy), name) < 0) {
		free(file.path);
		return error_set(err, -ENOMEM, "out of memory");
	}
	*ret = file;
	return 0;
}

static bool is_remote(const struct daemon *daemon)
{
	return daemon->where.from.etcd;
}

/* Of a file in the directory `state`, which outlives a reboot. Other lbds may have the same
 * directory, so the name has the path of the socket, which is locked. */
static int state_file_name(const struct config *config, const char *name, const char *suffix,
			   char **ret, struct error *err)
{
	char *path;

	if (asprintf(&path, "%s/%s%s%s", config->state, name, config->socket, suffix) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	for (char *c = path + strlen(config->state) + 1; *c; c++)
		if (*c == '/')
			*c = '-';
	*ret = path;
	return 0;
}

/* ---- a config in etcd ---- */

#define COPY_MAX (16u << 20)

static int read_copy(struct daemon *daemon, struct config **ret, struct error *err)
{
	ssize_t length = file_read_kept(daemon->copy_path, COPY_MAX, &daemon->text, err);

	if (length == -ENOENT)
		return error_set(err, -ENOENT, "%s: there is no such file", daemon->copy_path);
	return length < 0 ? (int)length
			  : config_remote_read(&daemon->where, daemon->text, ret, err);
}

static int fetch(struct daemon *daemon, bool *ret_waits, struct config **ret, struct error *err)
{
	struct config_fetched fetched;
	int rc = config_fetch(&daemon->where, &fetched, err);

	if (rc)
		return rc;
	daemon->text = fetched.text;
	*ret_waits = fetched.waits;
	return config_remote_read(&daemon->where, fetched.text, ret, err);
}

/* What etcd has, or else the text that was in force last. That one also while another is rolled out
 * and this node has not had its turn. */
static int load_remote_text(struct daemon *daemon, struct config **ret, struct error *err)
{
	struct error why, other;
	char *fetched;
	bool waits = false;
	int rc = fetch(daemon, &waits, ret, &why);

	if (!rc && !waits)
		return 0;
	fetched = daemon->text;
	daemon->text = NULL;
	if (!rc) {
		struct config *copied;

		if (read_copy(daemon, &copied, &other)) { /* it was never in this fleet */
			free(daemon->text);
			daemon->text = fetched;
			return 0;
		}
		config_free(*ret);
		*ret = copied;
		log_info("another config is being rolled out: starting with %s until it is this "
			 "node's turn",
			 daemon->copy_path);
	} else if (read_copy(daemon, ret, &other)) {
		free(fetched);
		return error_set(err, rc, "%.400s; and no copy on this node: %.400s", why.text,
				 other.text);
	} else {
		log_warning("%s; starting with the config that was in force last, of %s", why.text,
			    daemon->copy_path);
	}
	free(fetched);
	daemon->remote.is_copy = true;
	return 0;
}

static int load_remote(struct daemon *daemon, struct config **ret, struct error *err)
{
	struct config *node;
	int rc = config_remote_parse(daemon->config_path, &daemon->where, err);

	if (!rc)
		rc = config_remote_node(&daemon->where, &node, err);
	if (rc)
		return rc;
	rc = state_file_name(node, "config", ".yaml", &daemon->copy_path, err);
	config_free(node);
	if (rc || (rc = load_remote_text(daemon, ret, err)))
		return rc;
	daemon->remote.where = &daemon->where;
	daemon->remote.text = daemon->text;
	daemon->remote.kept = daemon->copy_path;
	return 0;
}

static int load_config(struct daemon *daemon, struct config **ret, struct error *err)
{
	return config_is_remote(daemon->config_path) ? load_remote(daemon, ret, err)
						     : config_load(daemon->config_path, ret, err);
}

static int start_events(struct daemon *daemon, const struct config *config, struct error *err)
{
	struct events_options options = {.base = daemon->base, .socket = config->socket};
	_cleanup_free_ char *path = NULL;
	int rc = state_file_name(config, "events", ".jsonl", &path, err);

	if (rc)
		return rc;
	directory_make(config->state, 0700); /* if it cannot be written to, the log says so later */
	options.path = path;
	rc = events_open(&options, err);
	if (!rc)
		events_set_command(config->notify);
	return rc;
}

static int start_attach(struct daemon *daemon, const struct config *config, struct error *err)
{
	struct kept_file *offloads = &daemon->offloads;
	int rc = kept_file_name(config, "offloads.json", offloads, err);

	return rc ? rc
		  : attach_new(daemon->dp, config->pin, config->mode == CONFIG_MODE_AUTO,
			       offloads->path, &daemon->attach, err);
}

/* Before health checks begin, which change the host: a start that fails because another lbd has an
 * interface leaves no trace. */
static int check_interfaces(struct daemon *daemon, struct error *err)
{
	const struct config *config = state_config(daemon->state);
	int rc = 0;

	if (dataplane_adopted(daemon->dp))
		return 0;
	for (unsigned i = 0; !rc && i < config->interfaces_count; i++)
		rc = attach_check_free(daemon->attach, config->interfaces[i], err);
	return rc;
}

/* Takes ownership of config, also on error. */
static int start_state(struct daemon *daemon, struct config *config, struct error *err)
{
	struct state_options options = {.base = daemon->base,
					.config = config,
					.config_path = daemon->config_path,
					.zone = daemon->zone,
					.remote = is_remote(daemon) ? &daemon->remote : NULL,
					.dataplane = daemon->dp,
					.attach = daemon->attach,
					.neigh = daemon->neigh,
					.health = daemon->health,
					.check_peers = fleet_check_keys,
					.tasks = daemon->tasks};
	struct kept_file overrides = {0}, held = {0};
	_cleanup_free_ char *uptime = NULL;
	int rc;

	if ((rc = kept_file_name(config, "overrides.json", &overrides, err)) ||
	    (rc = kept_file_name(config, "detached.json", &held, err)) ||
	    (rc = state_file_name(config, "availability", ".txt", &uptime, err))) {
		kept_file_done(&overrides);
		kept_file_done(&held);
		config_free(config);
		return rc;
	}
	options.overrides_path = overrides.path;
	options.held_path = held.path;
	options.uptime_path = uptime;
	/* Without maps of a former lbd its file is that of another one, which may be running. */
	if (dataplane_adopted(daemon->dp))
		options.overrides_former = overrides.former;
	rc = state_new(&options, &daemon->state, err);
	kept_file_done(&overrides);
	kept_file_done(&held);
	return rc;
}

/* At a takeover a failure is only logged: it must not stop interfaces that already forward. */
static int start_interfaces(struct daemon *daemon, struct error *err)
{
	int rc = state_attach_interfaces(daemon->state, err);

	if (!rc || !dataplane_adopted(daemon->dp))
		return rc;
	log_error("%s", err->text);
	return 0;
}

/* The first commit already goes by what peers may have: keepers and sizes of rings. */
static int open_fleet(struct daemon *daemon, struct error *err)
{
	const struct config *config = state_config(daemon->state);
	_cleanup_free_ char *identity = NULL;
	struct fleet_options options = {.base = daemon->base,
					.tasks = daemon->tasks,
					.dp = daemon->dp,
					.state = daemon->state,
					.peers = &config->peers};
	int rc;

	if (!config->peers.on)
		return 0;
	rc = state_file_name(config, "node-id", "", &identity, err);
	if (rc)
		return rc;
	options.identity = identity;
	dataplane_join(daemon->dp, dataplane_adopted(daemon->dp) ? DP_RETURNS : DP_JOINS);
	return fleet_new(&options, &daemon->fleet, err);
}

static int open_announce(struct daemon *daemon, struct error *err)
{
	struct announce_options options = {.base = daemon->base,
					   .state = daemon->state,
					   .attach = daemon->attach,
					   .fleet = daemon->fleet,
					   .dp = daemon->dp};
	struct kept_file record;
	int rc = kept_file_name(state_config(daemon->state), "announce.json", &record, err);

	if (rc)
		return rc;
	options.record = record.path;
	rc = announce_new(&options, &daemon->announce, err);
	kept_file_done(&record);
	return rc;
}

static int open_sources(struct daemon *daemon, struct error *err)
{
	const struct source_table_options options = {
	    .base = daemon->base, .state = daemon->state, .tasks = daemon->tasks};

	return source_table_new(&options, &daemon->sources, err);
}

static int open_follower(struct daemon *daemon, struct error *err)
{
	const struct config_follower_options options = {.base = daemon->base,
							.state = daemon->state,
							.tasks = daemon->tasks,
							.where = &daemon->where,
							.announce = daemon->announce,
							.fleet = daemon->fleet,
							.is_copy = daemon->remote.is_copy};

	return is_remote(daemon) ? config_follower_new(&options, &daemon->follower, err) : 0;
}

static int start_servers(struct daemon *daemon, struct error *err)
{
	const struct config *config = state_config(daemon->state);
	struct api_options api = {.base = daemon->base,
				  .state = daemon->state,
				  .attach = daemon->attach,
				  .announce = daemon->announce,
				  .fleet = daemon->fleet,
				  .follower = daemon->follower,
				  .dp = daemon->dp,
				  .health = daemon->health,
				  .lateness = daemon->lateness,
				  .tasks = daemon->tasks};
	struct metrics_options metrics = {.base = daemon->base,
					  .state = daemon->state,
					  .attach = daemon->attach,
					  .announce = daemon->announce,
					  .fleet = daemon->fleet,
					  .follower = daemon->follower,
					  .dp = daemon->dp,
					  .health = daemon->health,
					  .lateness = daemon->lateness};
	struct error metrics_error;
	struct budget budget;
	int rc;

	budget_now(config->api, &budget);
	api.remote_connections = budget.remote;
	api.connections = budget.control;
	metrics.connections = budget.metrics;
	rc = api_new(&api, &daemon->api, err);
	if (rc || !config->metrics)
		return rc;
	metrics.control = api_face(daemon->api);
	metrics.remote = api_remote_face(daemon->api);
	if (metrics_new(&metrics, &daemon->metrics, &metrics_error))
		log_error("%s; lbd runs without metrics", metrics_error.text);
	return 0;
}

/* ---- the first task ---- */

struct loading {
	struct dataplane *dp;
	struct error *err;
	int rc;
};

static void load_program(void *arg)
{
	struct loading *loading = arg;

	loading->rc = dataplane_load(loading->dp, loading->err);
}

static int put_in_service(struct daemon *daemon, struct error *err)
{
	struct loading loading = {.dp = daemon->dp, .err = err};
	int rc;

	task_wait(load_program, &loading);
	if (loading.rc)
		return loading.rc;
	if ((rc = attach_take_over(daemon->attach, daemon->offloads.former, err)) ||
	    (rc = check_interfaces(daemon, err)))
		return rc;
	rc = state_begin(daemon->state, err);
	if (rc || daemon->stops)
		return rc;
	if ((rc = start_interfaces(daemon, err)) ||
	    (daemon->fleet && (rc = fleet_begin(daemon->fleet, err))) ||
	    (rc = announce_begin(daemon->announce, err)))
		return rc;
	source_table_begin(daemon->sources);
	if (daemon->follower)
		config_follower_begin(daemon->follower);
	return daemon->api ? 0 : start_servers(daemon, err);
}

/* After a takeover lbd answers meanwhile, and an earlier program forwards. */
static void run_start(void *arg)
{
	struct daemon *daemon = arg;
	struct error err;

	daemon->failure = put_in_service(daemon, &err);
	if (daemon->failure) {
		explain_failure(daemon->failure, &err);
		event_base_loopbreak(daemon->base);
		return;
	}
	if (daemon->stops)
		return;
	events_log(EVENT_lbd_started, LOG_INFO, NULL, "%s, %s", daemon->config_path,
		   dataplane_adopted(daemon->dp) ? "taken over from an earlier lbd" : "started");
	notify_send("READY=1");
}

/* ---- start and stop ---- */

static int start(struct daemon *daemon, struct error *err)
{
	struct budget budget;
	struct config *config;
	int rc = load_config(daemon, &config, err);

	if (rc)
		return rc;
	note_strict_checks(config);
	note_ways(config);
	note_own_seed(config);
	note_machine(config);
	if ((rc = prepare_host(daemon, config, err)) || (rc = start_events(daemon, config, err)) ||
	    (rc = open_dataplane(daemon, config, err)) ||
	    (rc = neigh_new(daemon->base, &daemon->neigh, err)) ||
	    (rc = health_new(daemon->base, daemon->lateness, &daemon->health, err)) ||
	    (rc = start_attach(daemon, config, err))) {
		config_free(config);
		return rc;
	}
	budget_now(config->api, &budget);
	health_limit(daemon->health, budget.probes);
	/* Until there is something to show, a first start does not answer. */
	if ((rc = start_state(daemon, config, err)) || (rc = open_fleet(daemon, err)) ||
	    (rc = open_announce(daemon, err)) || (rc = open_sources(daemon, err)) ||
	    (rc = open_follower(daemon, err)) ||
	    (dataplane_adopted(daemon->dp) && (rc = start_servers(daemon, err))))
		return rc;
	if (watch_events(daemon) || tasks_add(daemon->tasks, run_start, daemon))
		return error_set(err, -ENOMEM, "out of memory");
	return 0;
}

/* After a failed start. What an earlier lbd attached stays: it forwards. */
static void detach_all(struct daemon *daemon)
{
	const struct attachment *list;
	struct error err;
	unsigned count;

	if (!daemon->attach || dataplane_adopted(daemon->dp))
		return;
	for (list = attach_list(daemon->attach, &count); count;
	     list = attach_list(daemon->attach, &count))
		if (attach_detach(daemon->attach, list[0].name, &err)) {
			log_error("%s", err.text);
			return;
		}
}

/* Keeps the pins for the next lbd, unless nothing is attached. */
static void stop(struct daemon *daemon)
{
	bool unpin;
	struct event *const events[] = {daemon->terminate, daemon->interrupt, daemon->hangup,
					daemon->status, daemon->watchdog};

	for (unsigned i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		if (events[i])
			event_free(events[i]);
	daemon->stops = true;
	if (daemon->tasks)
		tasks_finish(daemon->tasks); /* a change that has begun is made whole */
	unpin = daemon->attach && attach_is_idle(daemon->attach);
	metrics_free(daemon->metrics);
	api_free(daemon->api);
	config_follower_free(daemon->follower);
	source_table_free(daemon->sources);
	announce_free(daemon->announce);
	fleet_free(daemon->fleet);
	if (unpin)
		state_forget_detached(daemon->state);
	state_free(daemon->state);
	attach_free(daemon->attach);
	health_free(daemon->health);
	tasks_free(daemon->tasks); /* with its thread would end a probe process that it started */
	lateness_free(daemon->lateness);
	neigh_free(daemon->neigh);
	if (unpin)
		dataplane_unpin(daemon->dp);
	dataplane_close(daemon->dp);
	kept_file_done(&daemon->offloads);
	config_remote_done(&daemon->where);
	free(daemon->copy_path);
	free(daemon->text);
	events_close();
	if (daemon->base)
		event_base_free(daemon->base);
	host_unlock(&daemon->locks);
}

static void log_libevent(int severity, const char *text)
{
	log_debug("libevent: %s", text);
}

static int run(const char *config_path, const char *zone)
{
	struct daemon daemon = {.locks = {-1, -1}, .config_path = config_path, .zone = zone};
	struct error err;
	int rc;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, on_early_hangup);
	/* Large answers get memory of their own, which goes back to the system with them. By
	 * default the first one that is freed raises this limit beyond the size of the next. */
	mallopt(M_MMAP_THRESHOLD, 128 * 1024);
	/* Threads take turns: what one has freed the others use, as the next reload does with the
	 * world of the last. */
	mallopt(M_ARENA_MAX, 1);
	event_set_log_callback(log_libevent);
	rc = start(&daemon, &err);
	if (rc)
		explain_failure(rc, &err);
	else
		event_base_dispatch(daemon.base);
	if (rc || daemon.failure)
		detach_all(&daemon);
	stop(&daemon);
	libevent_global_shutdown();
	return rc || daemon.failure ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* ---- command line ---- */

#define ZONE_ENV "LBD_ZONE"

/* For when lbd cannot run: its config may be what is wrong, so only the record is read. */
static int withdraw(const char *record)
{
	struct error err;

	if (!announce_withdraw(record, &err))
		return EXIT_SUCCESS;
	log_error("%s", err.text);
	return EXIT_FAILURE;
}

/* What was asked for has been printed, or not. */
static int end_of_output(void)
{
	if (!fflush(stdout) && !ferror(stdout))
		return EXIT_SUCCESS;
	fprintf(stderr, "lbd: standard output: %s\n", strerror(errno));
	return EXIT_FAILURE;
}

static void print_mistake(void *arg, const char *sentence, size_t count)
{
	size_t *all = arg;

	*all += count;
	fprintf(stderr, "%s\n", sentence);
}

static void name_bad_key_file(const struct config *config, struct sentences *ret)
{
	struct error err;
	int rc = config->peers.on ? fleet_check_keys(&config->peers, &err) : 0;

	if (rc && rc != -EACCES) /* who checks the config may not be who runs lbd */
		sentences_add(ret, "%s; lbd does not start", err.text);
}

static void print_machine(const struct config *config)
{
	struct sentences sentences = {0};

	machine_lacks(config, &sentences);
	name_bad_key_file(config, &sentences);
	machine_owns(config, &sentences);
	machine_hinders_nat(config, &sentences);
	config_lacks_services(config, &sentences);
	for (unsigned i = 0; i < sentences.count; i++)
		fprintf(stderr, "warning: %s\n", sentences.list[i]);
	sentences_done(&sentences);
}

static int check(const char *path)
{
	struct config *config;
	struct error err;
	unsigned backends = 0;
	size_t mistakes = 0;

	if (config_is_remote(path)) {
		fprintf(stderr,
			"%s: expected a file: on a node of the fleet, lbctl fleet apply FILE "
			"--dry-run checks one for it\n",
			path);
		return EXIT_FAILURE;
	}
	if (config_load_all(path, print_mistake, &mistakes, &config, &err)) {
		if (mistakes > 1)
			fprintf(stderr, "%s: %zu mistakes; more may show once these are mended\n",
				path, mistakes);
		return EXIT_FAILURE;
	}
	for (unsigned i = 0; i < config->services_count; i++)
		backends += config->services[i].backends_count;
	note_strict_checks(config);
	note_own_seed(config);
	print_machine(config);
	printf("%s: ok: ", path);
	if (config->files_count > 1)
		printf("included files: %u, ", config->files_count - 1);
	printf("services: %u, backends: %u\n", config->services_count, backends);
	config_free(config);
	return end_of_output();
}

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},   {"check", required_argument, NULL, 'k'},
    {"zone", required_argument, NULL, 'z'},     {"debug", no_argument, NULL, 'd'},
    {"withdraw", optional_argument, NULL, 'w'}, {"version", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},           {0},
};

static void print_help(FILE *to)
{
	fprintf(
	    to,
	    "Usage: lbd [-c FILE|URL] [--zone ZONE] [--debug]\n"
	    "       lbd --check FILE\n"
	    "       lbd --withdraw[=FILE]\n"
	    "\n"
	    "Layer 4 load balancer: forwards flows to backends in XDP. Runs in the foreground.\n"
	    "\n"
	    "  -c, --config FILE  the config, default " CONFIG_DEFAULT_PATH "\n"
	    "  -c, --config URL   the config of a fleet, in etcd: etcd://ADDRESS:PORT/KEY. What "
	    "belongs to\n"
	    "                     this node alone is in " CONFIG_LOCAL_PATH "\n"
	    "      --check FILE   only check FILE: name every mistake and what this machine lacks;\n"
	    "                     exit 0 if it is valid, 1 if not\n"
	    "      --withdraw[=FILE]\n"
	    "                     when lbd does not run: remove the routes that it has left, as FILE "
	    "lists\n"
	    "                     them, default " ANNOUNCE_DEFAULT_RECORD "\n"
	    "      --zone ZONE    where this node is, whatever the config says: for one config on nodes\n"
	    "                     of several zones; also " ZONE_ENV "=ZONE in the environment\n"
	    "      --debug        also log state decisions, commits, probes, next hops and sweeps\n"
	    "      --version      print the version and the version of the map layout\n"
	    "  -h, --help         print this\n"
	    "\n"
	    "SIGHUP reloads the config. SIGTERM and SIGINT stop lbd; forwarding continues.\n"
	    "Use lbctl to change and watch it.\n");
}

static int usage(const char *what, const char *value)
{
	if (what)
		fprintf(stderr, "lbd: %s: %s\n", value, what);
	fprintf(stderr, "Try: lbd --help\n");
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	const char *config_path = CONFIG_DEFAULT_PATH, *zone = getenv(ZONE_ENV);
	int option;

	if (health_is_worker(argc, argv))
		return health_run_worker();
	if (source_table_is_worker(argc, argv))
		return source_table_run_worker();
	if (command_is_process(argc, argv))
		return command_run_process(argc, argv);
	while ((option = getopt_long(argc, argv, "c:h", long_options, NULL)) != -1) {
		switch (option) {
		case 'c':
			config_path = optarg;
			break;
		case 'k':
			if (optind < argc)
				return usage("expected one file", argv[optind]);
			return check(optarg);
		case 'w':
			if (optind < argc)
				return usage("expected --withdraw=FILE", argv[optind]);
			return withdraw(optarg ? optarg : ANNOUNCE_DEFAULT_RECORD);
		case 'z':
			zone = optarg;
			break;
		case 'd':
			log_set_level(LOG_DEBUG);
			break;
		case 'v':
			printf("lbd %s (map layout %d)\n", LBD_VERSION, LB_ABI_VERSION);
			return end_of_output();
		case 'h':
			print_help(stdout);
			return end_of_output();
		default:
			return usage(NULL, NULL);
		}
	}
	if (optind < argc)
		return usage("unexpected argument; name the config with -c", argv[optind]);
	if (zone && !*zone) /* as Environment=LBD_ZONE= of a unit */
		zone = NULL;
	if (zone && !config_zone_fits(zone))
		return usage("zone: " CONFIG_ZONE_EXPECTED, zone);
	return run(config_path, zone);
}
