/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sends long and short echoes to the VIP, and says what their loss means. */
#include "echoes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/printable.h"
#include "common/remark.h"
#include "hole.h"
#include "remote.h"
#include "source.h"

#define SHORT      84U /* bytes of a packet: as ping sends them */
#define LEAST      256 /* a way on which long ones are no longer than this has no hole */
#define TIMEOUT_MS 1500
#define PROOF_MS   300000 /* then a shorter one is the longest that has been answered */
#define WARN_MS    30000  /* by then another backend has answered, if one does */
#define NO_PROOF   "that does not count: no other backend has answered one so long meanwhile"

struct echo {
	struct echoes *of;
	struct health_probe_spec spec;
	struct remote_probe *remote; /* NULL: it does not run */
	enum hole_answer answer;     /* in this round */
};

struct echoes {
	struct echoes_means means;
	struct hole hole;
	struct echo longer, shorter;
	unsigned asked, waits; /* in this round: sent, and still to come */
	uint64_t way_packets;  /* when it began */
	uint64_t lost_ms;      /* when the first of the losses in a row was found */
	bool proven;           /* when the round began another had answered since */
	bool counts;           /* ... against the backend */
	struct remark *lack;   /* why the last round says nothing */
};

/* Of all echoes. The probe process takes nothing else of it. */
static const struct health_spec config = {.type = (char *)"icmp", .timeout_ms = TIMEOUT_MS};

/* ---- lengths ---- */

/* Of the longest packet of a client that lbd forwards this way now. 0: there are no long ones. */
static uint16_t long_length(const struct echoes *echoes)
{
	const struct health_way *way = echoes->means.way;
	uint16_t longest = way->longest(way->owner);

	if (longest > echoes->means.most)
		longest = echoes->means.most;
	return longest > LEAST ? longest : 0;
}

/* ---- the end of a round ---- */

static void prove(const struct echoes *echoes, uint64_t now_ms)
{
	struct proof *proof = echoes->means.proof;
	uint16_t length = echoes->longer.spec.length;

	if (!proof || (length < proof->longest && now_ms - proof->longest_ms < PROOF_MS))
		return;
	proof->longest = length;
	proof->longest_ms = now_ms;
}

/* It may be this host that gets no long answers. So a loss counts only if another backend has
 * answered one so long between two losses of this one: neither before them all, as this host may
 * have changed since, nor after the last was sent, as it may have changed back. */
static bool is_proven(const struct echoes *echoes)
{
	const struct proof *proof = echoes->means.proof;

	return echoes->hole.lost && proof && proof->longest >= echoes->hole.length &&
	       proof->longest_ms > echoes->lost_ms;
}

/* Other rounds say nothing of it. */
static bool has_lost(const struct echoes *echoes)
{
	return echoes->longer.answer == HOLE_SILENT && echoes->shorter.answer == HOLE_ANSWERED;
}

static void weigh_losses(struct echoes *echoes, uint64_t now_ms)
{
	const struct hole *hole = &echoes->hole;

	if (!hole->lost && hole->state != HOLE_FOUND)
		echoes->counts = false;
	if (!has_lost(echoes))
		return;
	if (hole->lost == 1)
		echoes->lost_ms = now_ms;
	else if (echoes->proven)
		echoes->counts = true;
}

static void warn_of_no_proof(const struct echoes *echoes, uint64_t now_ms)
{
	struct proof *proof = echoes->means.proof;
	char vip[ADDR_TEXT];

	if (!proof || proof->told || echoes->hole.state != HOLE_FOUND || echoes->counts ||
	    now_ms - echoes->lost_ms < WARN_MS)
		return;
	proof->told = true;
	log_warning("health checks of %s: packets of %u bytes to the VIP are lost, short ones "
		    "arrive; that counts against no backend, as meanwhile none has answered one so "
		    "long. Is the MTU of the way to all smaller, or does this host get no long "
		    "answers? If clients send none so long, `health: { mtu: BYTES }` says so",
		    addr_format(&proof->vip, vip), echoes->hole.of);
}

/* Their packets went elsewhere, or the way has another MTU by now: a router may just have said so,
 * because of these very packets. */
static const char *find_fault(const struct echoes *echoes)
{
	const struct health_way *way = echoes->means.way;

	if (way->sent(way->arg, way->mark) - echoes->way_packets < echoes->asked)
		return "packets to the VIP did not take the tunnel";
	if (long_length(echoes) != echoes->longer.spec.length)
		return "the MTU of the way has changed";
	return NULL;
}

static void end_round(struct echoes *echoes)
{
	uint64_t now_ms = clock_monotonic_ms();
	const char *fault = find_fault(echoes);

	if (fault) {
		remark_set(&echoes->lack, fault);
		echoes->longer.answer = HOLE_NOT_ASKED;
	} else if (echoes->longer.answer == HOLE_ANSWERED) {
		prove(echoes, now_ms);
	}
	hole_take(&echoes->hole, echoes->longer.answer, echoes->shorter.answer, now_ms);
	weigh_losses(echoes, now_ms);
	warn_of_no_proof(echoes, now_ms);
}

static void on_echo(void *arg, const struct attempt_result *result)
{
	struct echo *echo = arg;
	struct echoes *echoes = echo->of;

	echo->remote = NULL;
	if (result->outcome == ATTEMPT_PASSED)
		echo->answer = HOLE_ANSWERED;
	else if (result->outcome == ATTEMPT_FAILED)
		echo->answer = HOLE_SILENT;
	else if (echo == &echoes->longer)
		remark_set(&echoes->lack, *result->why ? result->why : "lbd was late");
	if (!--echoes->waits)
		end_round(echoes);
}

/* ---- a round ---- */

static const char *name_error(int error)
{
	if (error == ENOTCONN)
		return "the probe process is being started";
	if (error == EPERM || error == EACCES)
		return "lbd may not ping: net.ipv4.ping_group_range has no group of it";
	return strerror(error);
}

static bool send_echo(struct echo *echo, uint16_t length)
{
	const struct echoes_means *means = &echo->of->means;

	echo->spec.address = means->way->to;
	echo->spec.mark = means->way->mark;
	echo->spec.length = length;
	echo->answer = HOLE_NOT_ASKED;
	echo->remote = remote_start(means->remote, &echo->spec, false, on_echo, echo);
	if (!echo->remote) {
		remark_set(&echo->of->lack, name_error(errno));
		return false;
	}
	echo->of->asked++;
	echo->of->waits++;
	return true;
}

/* False: it cannot be sent now; echoes->lack says why. */
static bool find_way(struct echoes *echoes)
{
	const struct echoes_means *means = &echoes->means;
	const struct health_way *way = means->way;
	char why[FAILURE_TEXT] = "";
	int rc = way->prepare(way->arg, &way->to, why, sizeof(why));

	if (!rc)
		rc = sources_find(means->sources, &way->to, &echoes->longer.spec.source, why);
	if (rc)
		remark_set(&echoes->lack, why);
	echoes->shorter.spec.source = echoes->longer.spec.source;
	echoes->way_packets = way->sent(way->arg, way->mark);
	return !rc;
}

bool echoes_may_begin(uint64_t *last_us, uint64_t now_us)
{
	if (now_us - *last_us < ECHOES_SPAN_US)
		return false;
	*last_us = now_us;
	return true;
}

void echoes_step(struct echoes *echoes)
{
	if (!echoes || echoes->waits)
		return;
	hole_set_length(&echoes->hole, long_length(echoes));
	if (!hole_is_due(&echoes->hole, clock_monotonic_ms()) ||
	    !echoes_may_begin(echoes->means.last_us, clock_monotonic_us()))
		return;
	remark_drop(&echoes->lack);
	echoes->proven = is_proven(echoes);
	echoes->asked = 0;
	echoes->shorter.answer = HOLE_NOT_ASKED;
	if (!find_way(echoes) || !send_echo(&echoes->longer, echoes->hole.length))
		hole_take(&echoes->hole, HOLE_NOT_ASKED, HOLE_NOT_ASKED, clock_monotonic_ms());
	else if (hole_wants_short(&echoes->hole))
		send_echo(&echoes->shorter, SHORT);
}

/* ---- what is known ---- */

bool echoes_lost(const struct echoes *echoes, char why[FAILURE_TEXT])
{
	if (!echoes || echoes->hole.state != HOLE_FOUND || !echoes->counts)
		return false;
	snprintf(why, FAILURE_TEXT,
		 "to the VIP: packets of %u bytes are lost, of %u bytes they arrive: MTU hole: a "
		 "link on the way has a smaller MTU, and no router says \"too big\"",
		 echoes->hole.of, SHORT);
	return true;
}

void echoes_tell(const struct echoes *echoes, struct health_mtu *ret)
{
	static const char *const states[] = {
	    [HOLE_UNKNOWN] = "unknown", [HOLE_NONE] = "arrive", [HOLE_FOUND] = "lost"};
	const struct hole *hole = &echoes->hole;
	const char *why = remark_text(echoes->lack);

	*ret = (struct health_mtu){.state = states[hole->state]};
	ret->length = hole->state == HOLE_FOUND ? hole->of : hole->length;
	if (hole->state == HOLE_FOUND)
		why = echoes->counts ? "" : NO_PROOF;
	else if (hole->state == HOLE_UNKNOWN && hole->silent)
		why = "it answers no echo to the VIP";
	snprintf(ret->why, sizeof(ret->why), "%s", why);
	make_printable(ret->why, false);
}

/* ---- new and free ---- */

struct echoes *echoes_new(const struct echoes_means *means)
{
	struct echoes *echoes = calloc(1, sizeof(*echoes));

	if (!echoes)
		return NULL;
	echoes->means = *means;
	echoes->longer = (struct echo){
	    .of = echoes,
	    .spec = {.kind = health_kind_find(config.type), .socket = -1, .config = &config}};
	echoes->shorter = echoes->longer;
	return echoes;
}

static void cancel(struct echo *echo)
{
	if (echo->remote)
		remote_cancel(echo->remote);
}

void echoes_free(struct echoes *echoes)
{
	if (!echoes)
		return;
	cancel(&echoes->longer);
	cancel(&echoes->shorter);
	proof_put(echoes->means.proof, clock_monotonic_ms());
	remark_drop(&echoes->lack);
	free(echoes);
}
