/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Makes random sequences, prints and shortens them. */
#include "sequence.h"

#include <string.h>

const char *const sequence_algorithms[SEQUENCE_ALGORITHMS] = {
    "maglev", "round-robin", "weighted-round-robin", "least-conn", "source-hash"};
const char *const sequence_actors[ACTORS] = {
    [ACTOR_HALF_CLOSE] = "half-close",
    [ACTOR_SLOW_HANDSHAKE] = "slow-handshake",
    [ACTOR_FORGED_RST] = "forged-rst",
    [ACTOR_FORGED_FIN] = "forged-fin",
    [ACTOR_FORGED_SYN] = "forged-syn",
    [ACTOR_FORGED_ACK] = "forged-ack",
    [ACTOR_FLOOD] = "flood",
    [ACTOR_TRICKLE] = "trickle",
    [ACTOR_AWAY] = "away",
    [ACTOR_RETURN] = "return",
    [ACTOR_WAKE] = "wake",
    [ACTOR_UDP_FULL] = "udp-full",
    [ACTOR_CLOSING_FULL] = "closing-full",
    [ACTOR_TABLE] = "table",
    [ACTOR_COLLIDE] = "collide",
};
#define ACTORS_PROMISES \
	(1u << ACTOR_RETURN | 1u << ACTOR_WAKE | 1u << ACTOR_UDP_FULL | 1u << ACTOR_COLLIDE)

#define SOURCE_HASH (SEQUENCE_ALGORITHMS - 1)

/* SplitMix64's finalizer: Steele, Lea, Flood, "Fast splittable pseudorandom number generators",
 * 2014. */
uint32_t sequence_roll(uint64_t seed, uint32_t actor, uint32_t purpose, uint32_t below)
{
	uint64_t x = seed + actor * 0x9e3779b97f4a7c15ULL + purpose * 0xd1342543de82ef95ULL;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return (uint32_t)((x ^ x >> 31) >> 32) % below;
}

/* ---- made from a seed ---- */

struct dice {
	uint64_t seed;
	uint32_t rolled;
};

static uint32_t roll(struct dice *dice, uint32_t below)
{
	return sequence_roll(dice->seed, dice->rolled++, 0, below);
}

#define PICK(dice, list) (list)[roll(dice, sizeof(list) / sizeof(*(list)))]

static uint32_t make_slots(struct dice *dice, enum sequence_table table)
{
	static const uint32_t small[] = {7, 13, 31, 101}, large[] = {101, 251, 1009};

	return table == TABLE_LARGE ? PICK(dice, large) : PICK(dice, small);
}

static struct sequence_service make_service(struct dice *dice, enum sequence_table table)
{
	static const uint8_t algorithms[] = {0, 0, 0, 0, 1, 2, 3, SOURCE_HASH};
	static const uint32_t idles[] = {2, 3, 5, 10, 20};

	/* no affinity with a narrow hash: clients collide, too, and the model does not know that */
	return (struct sequence_service){
	    .udp = !roll(dice, 3),
	    .v6 = roll(dice, 2),
	    .always = !roll(dice, 4) || table == TABLE_NARROW,
	    .affinity = !roll(dice, 8) && table != TABLE_NARROW,
	    .algorithm = PICK(dice, algorithms),
	    .idle = PICK(dice, idles),
	    .slots = make_slots(dice, table),
	    .backends = 1 + roll(dice, SEQUENCE_BACKENDS - 1),
	};
}

/* The backend that a step is about. Mostly the one that died or was drained last comes back, since
 * its older flows then meet new ones. */
static unsigned make_backend(struct dice *dice, const struct sequence *s, const struct step *step)
{
	bool returns =
	    step->kind == STEP_RECOVER || step->kind == STEP_WEIGHT || step->kind == STEP_ADD;

	for (unsigned i = s->steps_count; returns && i-- > 0 && roll(dice, 8);) {
		const struct step *before = &s->steps[i];

		if (before->service == step->service &&
		    (before->kind == STEP_DIE || before->kind == STEP_DRAIN ||
		     (before->kind == STEP_REMOVE && step->kind == STEP_ADD)))
			return before->backend;
	}
	return roll(dice, SEQUENCE_BACKENDS);
}

/* Orders of steps that are too rare at random: a settled slot changes while its entries still
 * exist. */
static const enum step_kind scripts[][7] = {
    {STEP_SETTLE, STEP_SWEEP, STEP_REMOVE, STEP_PASS, STEP_ADD, STEP_PASS, STEP_PASS},
    {STEP_SETTLE, STEP_DIE, STEP_PASS, STEP_RECOVER, STEP_PASS, STEP_PASS, STEP_PASS},
    {STEP_SETTLE, STEP_DIE, STEP_PASS, STEP_TRACKING, STEP_RECOVER, STEP_PASS, STEP_PASS},
    {STEP_RESIZE, STEP_SETTLE, STEP_WEIGHT, STEP_PASS, STEP_DIE, STEP_PASS, STEP_PASS},
    {STEP_DRAIN, STEP_SETTLE, STEP_SWEEP, STEP_REMOVE, STEP_ADD, STEP_PASS, STEP_PASS},
    {STEP_PASS, STEP_FLOOD, STEP_WEIGHT, STEP_PASS, STEP_FLOOD, STEP_PASS, STEP_PASS},
    {STEP_WEIGHT, STEP_FLOOD, STEP_PASS, STEP_FLOOD, STEP_SETTLE, STEP_PASS, STEP_PASS},
    {STEP_WEIGHT, STEP_PASS, STEP_AWAY, STEP_WEIGHT, STEP_PASS, STEP_PASS, STEP_PASS},
    {STEP_WEIGHT, STEP_PASS, STEP_DRAIN, STEP_AWAY, STEP_PASS, STEP_WEIGHT, STEP_PASS},
    {STEP_WEIGHT, STEP_PASS, STEP_WEIGHT, STEP_AWAY, STEP_PASS, STEP_WEIGHT, STEP_PASS},
    {STEP_DIE, STEP_PASS, STEP_RECOVER, STEP_PASS, STEP_SETTLE, STEP_PASS, STEP_PASS},
    {STEP_TABLE, STEP_SWEEP, STEP_PASS, STEP_TAKEOVER, STEP_PASS, STEP_TABLE, STEP_PASS},
    {STEP_WEIGHT, STEP_TABLE, STEP_PASS, STEP_TABLE, STEP_SWEEP, STEP_WEIGHT, STEP_PASS},
    {STEP_TABLE, STEP_FLOOD, STEP_WEIGHT, STEP_TABLE, STEP_AWAY, STEP_PASS, STEP_PASS},
};
#define SCRIPT_LENGTH (sizeof(scripts[0]) / sizeof(scripts[0][0]))

static struct step make_step(struct dice *dice, const struct sequence *s, enum step_kind kind,
			     unsigned service)
{
	static const uint32_t floods[] = {30, 100, 300, 4000},
			      absences[] = {7, 30, 3000, 4096, 12288, 16384, 65536};
	struct step step = {
	    .kind = kind,
	    .service = service,
	    .seed = (uint64_t)roll(dice, UINT32_MAX) << 32 | roll(dice, UINT32_MAX),
	};

	step.backend = make_backend(dice, s, &step);
	step.with_next = !roll(dice, 4);
	switch (step.kind) {
	case STEP_RESIZE:
		step.value = make_slots(dice, s->table);
		break;
	case STEP_TRACKING:
		step.value = roll(dice, 2) || s->table == TABLE_NARROW;
		break;
	case STEP_ALGORITHM:
		step.value = roll(dice, SOURCE_HASH);
		break;
	case STEP_PASS:
		step.value = 1 + roll(dice, 4);
		break;
	case STEP_SWEEP:
		step.value = 1 + roll(dice, s->table == TABLE_LARGE ? 20000 : 10000);
		break;
	case STEP_TABLE:
		step.value = roll(dice, 7);
		break;
	case STEP_FLOOD:
		/* where hashes collide, a flow may match the mark of a lone packet */
		step.flood = roll(dice, s->table == TABLE_NARROW ? FLOOD_ACK : FLOODS);
		step.value = PICK(dice, floods);
		break;
	case STEP_AWAY:
		step.value = PICK(dice, absences); /* long ones: near a wrap of ticks or stamps */
		step.value += step.value > 100 ? roll(dice, 12) - 12 : 0;
		break;
	default:
		step.value = 1 + roll(dice, 4);
	}
	return step;
}

/* Each actor is in half of the sequences, so that what it finds shows without the others. */
static uint32_t make_actors(struct dice *dice)
{
	uint32_t actors = ACTORS_PROMISES;

	for (unsigned i = 0; i < ACTORS; i++)
		actors |= roll(dice, 2) << i;
	return actors & ~(1u << ACTOR_CLOSING_FULL); /* no promise: README.md, "Limits" */
}

static void make_steps(struct dice *dice, struct sequence *s)
{
	static const enum step_kind kinds[] = {
	    STEP_ADD,       STEP_ADD,      STEP_ADD,    STEP_REMOVE,  STEP_DIE,    STEP_DIE,
	    STEP_RECOVER,   STEP_DRAIN,    STEP_WEIGHT, STEP_WEIGHT,  STEP_WEIGHT, STEP_PASS,
	    STEP_PASS,      STEP_PASS,     STEP_PASS,   STEP_PASS,    STEP_PASS,   STEP_PASS,
	    STEP_PASS,      STEP_PASS,     STEP_SWEEP,  STEP_SWEEP,   STEP_SETTLE, STEP_SETTLE,
	    STEP_RESIZE,    STEP_ADD,      STEP_PASS,   STEP_RECOVER, STEP_RESIZE, STEP_TRACKING,
	    STEP_ALGORITHM, STEP_TAKEOVER, STEP_FLOOD,  STEP_TABLE,   STEP_TABLE};

	while (s->steps_count < SEQUENCE_STEPS) {
		bool scripted = !roll(dice, 12);
		const enum step_kind *script = PICK(dice, scripts);
		unsigned service = roll(dice, s->services);

		for (unsigned i = 0;
		     i < (scripted ? SCRIPT_LENGTH : 1) && s->steps_count < SEQUENCE_STEPS; i++) {
			enum step_kind kind = scripted ? script[i] : PICK(dice, kinds);

			s->steps[s->steps_count] = make_step(dice, s, kind, service);
			s->steps_count++;
		}
	}
}

void sequence_make(uint64_t seed, enum sequence_table table, struct sequence *ret)
{
	/* far from any wrap, before one of the flow table's ticks, and before ones of the stamps */
	static const uint32_t ticks[] = {5000, 8 * 4096 - 20, 65536 - 20, 3 * 65536 - 40};
	struct dice dice = {.seed = sequence_roll(seed, 0, 1, UINT32_MAX) + seed};

	memset(ret, 0, sizeof(*ret));
	ret->seed = seed;
	ret->table = table;
	ret->tick = PICK(&dice, ticks);
	ret->services = 1 + roll(&dice, SEQUENCE_SERVICES);
	for (unsigned i = 0; i < ret->services; i++)
		ret->service[i] = make_service(&dice, table);
	ret->actors = make_actors(&dice);
	make_steps(&dice, ret);
	sequence_allow(ret, ret->actors);
	ret->flows_count = table == TABLE_LARGE ? SEQUENCE_FLOWS : 60 + roll(&dice, 160);
	for (unsigned i = 0; i < ret->flows_count; i++)
		ret->flows[i] = i;
}

void sequence_allow(struct sequence *s, uint32_t actors)
{
	unsigned kept = 0;

	s->actors &= actors;
	for (unsigned i = 0; i < s->steps_count; i++) {
		enum step_kind kind = s->steps[i].kind;

		if ((kind == STEP_FLOOD && !(s->actors >> ACTOR_FLOOD & 1)) ||
		    (kind == STEP_TABLE && !(s->actors >> ACTOR_TABLE & 1)) ||
		    (kind == STEP_AWAY && !(s->actors >> ACTOR_AWAY & 1)))
			continue;
		s->steps[kept++] = s->steps[i];
	}
	s->steps_count = kept;
}

/* ---- printing ---- */

static void print_service(const struct sequence *s, unsigned number, FILE *to)
{
	const struct sequence_service *service = &s->service[number];

	fprintf(to,
		"  service %u: %s over IPv%d, %s%s%s, idle timeout %u ticks, %u slots, backends",
		number, service->udp ? "UDP" : "TCP", service->v6 ? 6 : 4,
		sequence_algorithms[service->algorithm], service->always ? ", tracking always" : "",
		service->affinity ? ", affinity" : "", service->idle, service->slots);
	for (unsigned i = 0; i < service->backends; i++)
		fprintf(to, " %u", i);
	fprintf(to, "\n");
}

void step_print(const struct step *step, FILE *to)
{
	static const char *const backend_changes[] = {
	    [STEP_ADD] = "is added with weight",
	    [STEP_REMOVE] = "is removed",
	    [STEP_DIE] = "dies",
	    [STEP_RECOVER] = "recovers",
	    [STEP_DRAIN] = "drains",
	    [STEP_WEIGHT] = "gets weight",
	};
	static const char *const floods[FLOODS] = {"SYN", "SYN and ACK", "SYN, ACK and a later ACK",
						   "lone ACKs"};

	switch (step->kind) {
	case STEP_RESIZE:
		fprintf(to, "service %u: slots: %u", step->service, step->value);
		break;
	case STEP_TRACKING:
		fprintf(to, "service %u: tracking %s", step->service,
			step->value ? "always" : "auto");
		break;
	case STEP_ALGORITHM:
		fprintf(to, "service %u: algorithm %s", step->service,
			sequence_algorithms[step->value]);
		break;
	case STEP_PASS:
		fprintf(to, "%u ticks of traffic%s", step->value,
			step->with_next ? " without a sweep" : "");
		return;
	case STEP_SWEEP:
		fprintf(to, "the sweep looks at %u entries", step->value);
		return;
	case STEP_SETTLE:
		fprintf(to, "most flows end and slots may settle");
		return;
	case STEP_TAKEOVER:
		fprintf(to, "another lbd takes over");
		return;
	case STEP_FLOOD:
		fprintf(to, "service %u: 2 ticks of traffic with a flood of %u packets: %s",
			step->service, step->value, floods[step->flood]);
		return;
	case STEP_TABLE:
		fprintf(to, "the flow table gets %u times its smallest size", 1u << step->value);
		return;
	case STEP_AWAY:
		fprintf(to, "no lbd for %u ticks; the next change is that of another one",
			step->value);
		return;
	default:
		fprintf(to, "service %u: backend %u %s", step->service, step->backend,
			backend_changes[step->kind]);
		if (step->kind == STEP_ADD || step->kind == STEP_WEIGHT)
			fprintf(to, " %u", step->value);
	}
	if (step->with_next)
		fprintf(to, ", in one commit with what follows");
}

void sequence_print(const struct sequence *s, FILE *to)
{
	static const char *const tables[TABLES] = {"roomy", "tight", "large",
						   "roomy with a narrow hash"};

	fprintf(to, "  at tick %u, flow table %s, %u flows", s->tick, tables[s->table],
		s->flows_count);
	for (unsigned i = 0; i < s->flows_count && s->flows_count <= 8; i++)
		fprintf(to, "%s%u", i ? ", " : ": ", s->flows[i]);
	fprintf(to, "\n  actors:");
	for (unsigned i = 0; i < ACTORS; i++)
		if (s->actors >> i & 1)
			fprintf(to, " %s", sequence_actors[i]);
	fprintf(to, "\n");
	for (unsigned i = 0; i < s->services; i++)
		print_service(s, i, to);
	for (unsigned i = 0; i < s->steps_count; i++) {
		fprintf(to, "  step %u: ", i + 1);
		step_print(&s->steps[i], to);
		fprintf(to, "\n");
	}
}

/* ---- shortening ---- */

struct shrinking {
	struct sequence *s;
	bool (*fails)(void *arg, const struct sequence *s);
	void *arg;
	unsigned runs;
};

/* Keeps the candidate if it fails as well. */
static bool try(struct shrinking *x, const struct sequence *candidate)
{
	if (!x->runs)
		return false;
	x->runs--;
	if (!x->fails(x->arg, candidate))
		return false;
	*x->s = *candidate;
	return true;
}

static void without_steps(const struct sequence *s, unsigned from, unsigned count,
			  struct sequence *ret)
{
	*ret = *s;
	memmove(&ret->steps[from], &ret->steps[from + count],
		(s->steps_count - from - count) * sizeof(*s->steps));
	ret->steps_count -= count;
}

static void without_flows(const struct sequence *s, unsigned from, unsigned count,
			  struct sequence *ret)
{
	*ret = *s;
	memmove(&ret->flows[from], &ret->flows[from + count],
		(s->flows_count - from - count) * sizeof(*s->flows));
	ret->flows_count -= count;
}

/* Leaves out ever smaller runs of elements. Returns whether any could be left out. */
static bool shrink_list(struct shrinking *x, const unsigned *count,
			void (*without)(const struct sequence *, unsigned, unsigned,
					struct sequence *))
{
	struct sequence candidate;
	bool any = false;

	for (unsigned run = *count; run; run /= 2) {
		for (unsigned from = 0; from < *count && x->runs;) {
			unsigned length = run < *count - from ? run : *count - from;

			without(x->s, from, length, &candidate);
			if (try(x, &candidate))
				any = true;
			else
				from += length;
		}
	}
	return any;
}

static bool shrink_actors(struct shrinking *x)
{
	struct sequence candidate;
	bool any = false;

	for (unsigned i = 0; i < ACTORS; i++) {
		candidate = *x->s;
		sequence_allow(&candidate, ~(1u << i));
		if (x->s->actors >> i & 1)
			any |= try(x, &candidate);
	}
	return any;
}

static bool shrink_values(struct shrinking *x)
{
	struct sequence candidate;
	bool any = false;

	for (unsigned i = 0; i < x->s->steps_count; i++) {
		while (x->s->steps[i].kind == STEP_FLOOD && x->s->steps[i].value > 1) {
			candidate = *x->s;
			candidate.steps[i].value -= (candidate.steps[i].value + 3) / 4;
			if (!try(x, &candidate))
				break;
			any = true;
		}
		while (x->s->steps[i].kind == STEP_PASS && x->s->steps[i].value > 1) {
			candidate = *x->s;
			candidate.steps[i].value--;
			if (!try(x, &candidate))
				break;
			any = true;
		}
		candidate = *x->s;
		candidate.steps[i].with_next = false;
		if (x->s->steps[i].with_next)
			any |= try(x, &candidate);
	}
	return any;
}

static bool shrink_setup(struct shrinking *x)
{
	struct sequence candidate;
	bool any = false;

	for (unsigned i = 0; i < x->s->services; i++) {
		while (x->s->service[i].backends > 1) {
			candidate = *x->s;
			candidate.service[i].backends--;
			if (!try(x, &candidate))
				break;
			any = true;
		}
		candidate = *x->s;
		candidate.service[i].affinity = candidate.service[i].always = false;
		if (x->s->table != TABLE_NARROW &&
		    (x->s->service[i].affinity || x->s->service[i].always))
			any |= try(x, &candidate);
	}
	return any;
}

void sequence_shrink(struct sequence *s, bool (*fails)(void *arg, const struct sequence *s),
		     void *arg, unsigned runs)
{
	struct shrinking x = {s, fails, arg, runs};
	bool any = true;

	while (any && x.runs) {
		any = shrink_list(&x, &s->steps_count, without_steps);
		any |= shrink_list(&x, &s->flows_count, without_flows);
		any |= shrink_actors(&x);
		any |= shrink_values(&x);
		any |= shrink_setup(&x);
	}
}
