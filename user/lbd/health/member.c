/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Chooses the way of a probe, runs it, and says what a failure in the tunnel means. */
#include "member.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"

#define ASTRAY_MS   10000
#define TRIALS_WARN 5 /* failed ones, of backends that answer directly */

/* ---- the two ways ---- */

static bool is_tunnel(const struct member_probe *probe)
{
	return probe == &probe->member->tunnel;
}

static bool runs(const struct member_probe *probe)
{
	return probe->local || probe->remote;
}

/* Over TCP a probe to the VIP is what a client's connection is if the port is that of its
 * service. */
static bool is_as_a_client(const struct member *member, uint16_t port)
{
	return member->config->to == HEALTH_TO_AUTO && health_kind_connects(member->kind) && port &&
	       member->direct.spec.port == port;
}

bool member_wants_way(const struct member *member, uint16_t port)
{
	return (member->config->to == HEALTH_TO_VIP && !member->kind->aside) ||
	       is_as_a_client(member, port);
}

/* May it go to the VIP of its own accord, as soon as that is known to work? There is a proof only
 * where there is a way. */
static bool may_choose(const struct member *member)
{
	return member->all->proof && is_as_a_client(member, member->all->way.port);
}

/* 0: this host can send a probe of its own accord that way. Else why says what prevents it. */
static int find_obstacle(const struct member *member, char why[FAILURE_TEXT])
{
	const struct health_way *way = &member->all->way;
	int rc = way->prepare(way->arg, &way->to, why, FAILURE_TEXT);

	if (!rc && clock_monotonic_ms() < member->astray_ms) {
		snprintf(why, FAILURE_TEXT,
			 "packets to the VIP did not take the tunnel: another tc program or rule "
			 "of this host, or a gateway that does not answer");
		rc = -EHOSTUNREACH;
	}
	return rc;
}

static bool goes_through_tunnel(const struct member *member)
{
	char why[FAILURE_TEXT];
	int rc;

	if (member->config->to == HEALTH_TO_VIP && !member->kind->aside)
		return true;
	if (!may_choose(member) || !member->all->proof->proven)
		return false;
	rc = find_obstacle(member, why);
	/* a shortage of this host is none of the backend, which the other way would find up */
	return !rc || failure_is_local(-rc);
}

/* Nothing yet, if it is to be found out. */
static void add_obstacle(const struct member *member, struct health_aim *ret)
{
	const struct proof *proof = member->all->proof;
	char why[FAILURE_TEXT] = "";

	ret->backend = true;
	if (!find_obstacle(member, why)) {
		if (!proof->why[0])
			return;
		snprintf(why, sizeof(why), "no backend has answered through the tunnel yet: %.240s",
			 proof->why);
	}
	ret->prevented = true;
	memcpy(ret->why, why, sizeof(ret->why));
}

/* Nothing is prevented where another way was not to be expected. */
static void add_reason(const struct member *member, struct health_aim *ret)
{
	const struct health_way *way = &member->all->way;

	ret->backend = true;
	if (ret->why[0] || member->config->to == HEALTH_TO_BACKEND)
		return;
	if (!health_kind_connects(member->kind))
		snprintf(ret->why, sizeof(ret->why), "the check is of type %s",
			 member->config->type);
	else if (way->mark && way->port)
		snprintf(ret->why, sizeof(ret->why), "port %u is not that of the service, %u",
			 member->direct.spec.port, way->port);
}

void member_aim(const struct member *member, struct health_aim *ret)
{
	if (goes_through_tunnel(member))
		ret->vip = true;
	else if (may_choose(member))
		add_obstacle(member, ret);
	else
		add_reason(member, ret);
}

/* ---- one probe ---- */

/* Otherwise it was a client's packet to the VIP, and any backend may have answered. */
static bool took_its_way(const struct member *member)
{
	const struct health_way *way = &member->all->way;

	return way->sent(way->arg, way->mark) != member->way_packets;
}

/* 0: the probe can take its way. Else why says what prevents it. */
static int find_way(struct member *member, char why[FAILURE_TEXT])
{
	const struct health_way *way = &member->all->way;
	struct health_probe_spec *spec = &member->tunnel.spec;
	int rc = way->prepare(way->arg, &way->to, why, FAILURE_TEXT);

	if (rc)
		return failure_is_local(-rc) ? rc : -EHOSTUNREACH;
	spec->address = way->to;
	spec->mark = way->mark;
	/* what the backend is asked is the same by both ways */
	if (member->config->to == HEALTH_TO_AUTO)
		spec->named = member->direct.spec.address;
	member->way_packets = way->sent(way->arg, way->mark);
	return 0;
}

static void on_probe(void *arg, const struct attempt_result *result);

static bool run_probe(struct member_probe *probe, char why[FAILURE_TEXT])
{
	struct member *member = probe->member;
	const struct members *all = member->all;
	struct health_process process;

	if (!member->kind->confined) {
		probe->local =
		    attempt_start(all->attempts, &probe->spec, all->repeated, on_probe, probe);
	} else {
		probe->remote =
		    remote_start(all->remote, &probe->spec, all->repeated, on_probe, probe);
		member->no_process = !probe->remote && errno == ENOTCONN;
	}
	if (runs(probe))
		return true;
	if (member->no_process) {
		remote_process(all->remote, &process);
		snprintf(why, FAILURE_TEXT, "the probe process is being started again: %.*s",
			 FAILURE_TEXT - 64, process.why);
	} else {
		snprintf(why, FAILURE_TEXT, "%s", strerror(errno));
	}
	return false;
}

/* False: it is not under way; *ret is what became of it. */
static bool start_probe(struct member_probe *probe, enum attempt_outcome *ret,
			char why[FAILURE_TEXT])
{
	struct member *member = probe->member;
	int rc = 0;

	*ret = ATTEMPT_NOT_RUN;
	if (!member->kind->confined && attempts_full(member->all->attempts)) {
		snprintf(why, FAILURE_TEXT,
			 "too many probes run at once: raise the limit of open files "
			 "(LimitNOFILE)");
		return false;
	}
	if (is_tunnel(probe))
		rc = find_way(member, why);
	if (rc == -EHOSTUNREACH)
		*ret = ATTEMPT_FAILED;
	if (!rc && !member->kind->aside) {
		rc = sources_find(member->all->sources, &probe->spec.address, &probe->spec.source,
				  why);
		if (rc == -EADDRNOTAVAIL)
			*ret = ATTEMPT_FAILED;
	}
	return !rc && run_probe(probe, why);
}

static void cancel_probe(struct member_probe *probe)
{
	if (probe->local)
		attempt_cancel(probe->local);
	if (probe->remote)
		remote_cancel(probe->remote);
	probe->local = NULL;
	probe->remote = NULL;
}

/* ---- what a failure means ---- */

static bool begins_with(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

/* The backend's server answers, but not where clients reach it. */
static void explain(const struct member *member, const char *why, char text[FAILURE_TEXT])
{
	const char *lacks = member->all->way.lacks ? member->all->way.lacks : "";
	const char *hint = "it answers otherwise to the VIP than to its own address";

	if (begins_with(why, "connect: timed out"))
		hint = lacks;
	else if (begins_with(why, "connect: refused"))
		hint = "the VIP is there, but does a server listen on it?";
	else if (strstr(why, "timed out"))
		hint = "is the MTU of the way to it large enough?";
	snprintf(text, FAILURE_TEXT, "to the VIP: %.120s; directly it answers: %.160s", why, hint);
}

static void forget_kept(struct member *member)
{
	free(member->kept_why);
	member->kept_why = NULL;
}

static bool keep(struct member *member, const struct attempt_result *result)
{
	member->kept = *result;
	member->kept_why = strdup(result->why);
	return member->kept_why;
}

/* A probe is short: that it passes says nothing of long packets. */
static bool tell(struct member *member, const struct attempt_result *result)
{
	bool tunnel = member->counts == &member->tunnel;
	struct attempt_result of = *result;
	char why[FAILURE_TEXT];

	if (tunnel && of.outcome == ATTEMPT_FAILED && member->answers) {
		explain(member, of.why, why);
		of.why = why;
	} else if (tunnel && of.outcome == ATTEMPT_PASSED &&
		   echoes_lost(member->all->echoes, why)) {
		of.outcome = ATTEMPT_FAILED;
		of.why = why;
	}
	return member->all->done(member, &of);
}

/* ---- ends ---- */

static void prove(const struct member *member)
{
	struct proof *proof = member->all->proof;
	char vip[ADDR_TEXT];

	if (!may_choose(member) || proof->proven)
		return;
	proof->proven = true;
	log_print(proof->failed >= TRIALS_WARN ? LOG_INFO : LOG_DEBUG,
		  "health checks of %s port %u go to the VIP from now on: a backend has answered "
		  "through the tunnel",
		  addr_format(&proof->vip, vip), proof->port);
}

/* No client may reach them, or this host alone may not: that cannot be told apart from here. */
static void note_failed_trial(const struct member *member, const char *why)
{
	struct proof *proof = member->all->proof;
	char vip[ADDR_TEXT];

	if (!proof || proof->proven)
		return;
	snprintf(proof->why, sizeof(proof->why), "%s", why);
	if (member->answers && ++proof->failed == TRIALS_WARN)
		log_warning("health checks of %s port %u go to the backends' own addresses: they "
			    "answer there, and none to the VIP: %s: %s If only this host gets no "
			    "answer (rp_filter, a firewall), `health: { to: backend }` is right",
			    addr_format(&proof->vip, vip), proof->port, why,
			    member->all->way.lacks);
}

static bool counted_ended(struct member *member, const struct attempt_result *result)
{
	bool tunnel = member->counts == &member->tunnel;

	if (tunnel && result->outcome == ATTEMPT_FAILED) {
		member->suspect = true;
		/* both began at the same time: it has its result, or its timeout, by now */
		if (runs(&member->direct) && keep(member, result))
			return false;
	} else if (tunnel && result->outcome == ATTEMPT_PASSED) {
		member->suspect = false;
		prove(member);
		echoes_step(member->all->echoes);
	}
	if (tunnel)
		cancel_probe(&member->direct);
	else
		member->answers = result->outcome == ATTEMPT_PASSED;
	return tell(member, result);
}

static void beside_ended(struct member *member, const struct member_probe *probe,
			 const struct attempt_result *result)
{
	struct attempt_result kept = member->kept;
	char why[FAILURE_TEXT];

	if (is_tunnel(probe)) {
		if (result->outcome == ATTEMPT_PASSED)
			prove(member);
		else if (result->outcome == ATTEMPT_FAILED)
			note_failed_trial(member, result->why);
		return;
	}
	member->answers = result->outcome == ATTEMPT_PASSED;
	if (!member->kept_why)
		return;
	snprintf(why, sizeof(why), "%s", member->kept_why);
	kept.why = why;
	forget_kept(member);
	tell(member, &kept);
}

/* Of a result that could not be had: it fails, or is not run. */
static bool ended_now(struct member *member, enum attempt_outcome outcome, const char *why)
{
	struct attempt_result result = {.outcome = outcome,
					.began_us = member->all->start_us,
					.ended_us = clock_monotonic_us(),
					.why = why};

	return tell(member, &result);
}

static bool start_counted(struct member *member, struct member_probe *probe)
{
	enum attempt_outcome outcome;
	char why[FAILURE_TEXT];

	member->counts = probe;
	return !start_probe(probe, &outcome, why) && ended_now(member, outcome, why);
}

/* The packets of a probe through the tunnel went elsewhere, if any did. Of one that failed, the way
 * is made again for the next probe. */
static void went_astray(struct member_probe *probe, const struct attempt_result *result)
{
	struct member *member = probe->member;
	struct attempt_result of = *result;

	member->all->way.missed(member->all->way.arg);
	if (member->config->to == HEALTH_TO_VIP) {
		if (of.outcome == ATTEMPT_PASSED)
			of.why = "the check did not take the tunnel: another tc program or rule of "
				 "this host sent it elsewhere";
		of.outcome = ATTEMPT_FAILED;
		cancel_probe(&member->direct);
		member->answers = false; /* whatever the backend does, the fault is this host's */
		tell(member, &of);
		return;
	}
	member->astray_ms = clock_monotonic_ms() + ASTRAY_MS;
	if (member->counts != probe)
		return;
	if (runs(&member->direct))
		member->counts = &member->direct;
	else
		start_counted(member, &member->direct);
}

static void on_probe(void *arg, const struct attempt_result *result)
{
	struct member_probe *probe = arg;
	struct member *member = probe->member;
	bool ran = result->outcome == ATTEMPT_PASSED || result->outcome == ATTEMPT_FAILED;

	probe->local = NULL;
	probe->remote = NULL;
	if (ran && is_tunnel(probe) && !took_its_way(member))
		went_astray(probe, result);
	else if (probe == member->counts)
		counted_ended(member, result);
	else
		beside_ended(member, probe, result);
}

/* ---- start and end ---- */

/* Without it nothing is lost but what it would have said. */
static void start_beside(struct member *member)
{
	struct proof *proof = member->all->proof;
	enum attempt_outcome outcome;
	char why[FAILURE_TEXT];

	if (member->counts == &member->tunnel) {
		if (member->suspect)
			start_probe(&member->direct, &outcome, why);
		return;
	}
	if (!may_choose(member) || proof->proven || runs(&member->tunnel) ||
	    find_obstacle(member, why))
		return;
	if (proof_try(proof, clock_monotonic_ms()))
		start_probe(&member->tunnel, &outcome, why);
}

bool member_start(struct member *member)
{
	bool tunnel = goes_through_tunnel(member);

	member->answers = false;
	member->no_process = false;
	if (tunnel)
		cancel_probe(&member->tunnel); /* a trial that still runs */
	if (start_counted(member, tunnel ? &member->tunnel : &member->direct))
		return true;
	if (runs(member->counts))
		start_beside(member);
	return false;
}

void member_stop(struct member *member)
{
	if (member->counts)
		cancel_probe(member->counts);
	cancel_probe(&member->direct);
	forget_kept(member);
}

void member_done(struct member *member)
{
	member_stop(member);
	cancel_probe(&member->tunnel);
}

void member_name(struct member *member, const struct health_names *names)
{
	member->direct.spec.names = names;
}

void member_init(struct member *member, struct health_check *check, const struct members *all,
		 const struct health_spec *config, const struct health_kind *kind,
		 const struct addr *address, uint16_t port)
{
	*member = (struct member){
	    .check = check, .all = all, .kind = kind, .config = config, .suspect = true};
	member->direct = (struct member_probe){
	    .member = member,
	    .spec =
		{.kind = kind, .address = *address, .port = port, .socket = -1, .config = config},
	};
	member->tunnel = member->direct;
}
