/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* x */
#include "support/rig.h"

#define MODEL_CLIENTS 120

/* What lbd would write for slots that are all alike (docs/tracking.md, "lbd: changes"), and where
 * each flow has to be.
 */
struct model {
	struct rig r;
	uint32_t seed, random;
	int current, keeper;
	bool transition;
	bool alive[BACKENDS];
	int flow[1 + MODEL_CLIENTS]; /* of client: its backend, NOWHERE: not open */
};

static uint32_t below(struct model *m, uint32_t limit)
{
	m->random ^= m->random << 13;
	m->random ^= m->random >> 17;
	m->random ^= m->random << 5;
	return m->random % limit;
}

static void model_write(struct model *m)
{
	rig_set_slots(&m->r, m->current, m->keeper, m->transition ? T : 0);
}

static int some_alive(struct model *m)
{
	int backend;

	do
		backend = below(m, BACKENDS);
	while (!m->alive[backend]);
	return backend;
}

static void model_change(struct model *m, int wanted)
{
	if (wanted == m->current)
		return;
	if (!m->transition)
		m->keeper = m->current;
	m->transition = true;
	m->current = wanted;
	model_write(m);
}

/* Its flows are lost; the sweep has taken its entries out. */
static void model_die(struct model *m, int backend)
{
	if (!m->alive[backend] || m->alive[A] + m->alive[B] + m->alive[C] == 1)
		return;
	m->alive[backend] = false;
	rig_set_usable(&m->r, backend, false);
	if (m->current == backend)
		m->current = some_alive(m);
	if (m->keeper == backend)
		m->keeper = m->current;
	model_write(m);
	for (int client = 1; client <= MODEL_CLIENTS; client++)
		m->flow[client] = m->flow[client] == backend ? NOWHERE : m->flow[client];
	for (int i = 0; i < RIG_PLACES; i++)
		if (LB_FLOW_BACKEND(*rig_place(&m->r, i)) == m->r.tcp_id[backend])
			*rig_place(&m->r, i) &= LB_FLOW_OVERFLOW;
}

static void model_send(struct model *m, int client, int flags)
{
	int to = rig_tcp(&m->r, client, flags);

	if (to != m->flow[client])
		fail_msg("seed %u: client %d went to backend %d, expected %d", m->seed, client, to,
			 m->flow[client]);
}

static void model_packet(struct model *m, int client)
{
	if (m->flow[client] == NOWHERE) {
		m->flow[client] = rig_tcp(&m->r, client, SYN);
		assert_true(m->alive[m->flow[client]]);
	} else if (below(m, 20) == 0) {
		model_send(m, client, FIN | ACK);
		m->flow[client] = NOWHERE;
		return;
	}
	model_send(m, client, ACK);
}

static void model_step(struct model *m)
{
	int backend = below(m, BACKENDS);

	switch (below(m, 40)) {
	case 0:
		model_die(m, backend);
		break;
	case 1:
	case 2:
		m->alive[backend] = true;
		rig_set_usable(&m->r, backend, true);
		break;
	case 3:
	case 4:
		model_change(m, some_alive(m));
		break;
	default:
		model_packet(m, 1 + below(m, MODEL_CLIENTS));
	}
}

LB_TEST(no_established_flow_moves_through_random_changes)
{
	for (uint32_t seed = 1; seed <= 60; seed++) {
		struct model m = {
		    .seed = seed, .random = seed * 2654435761u, .alive = {true, true, true}};

		fixture_clear(state);
		m.r = RIG();
		for (int client = 1; client <= MODEL_CLIENTS; client++)
			m.flow[client] =
			    client % 2 ? A : NOWHERE; /* half of them are open, and in no table */
		model_write(&m);
		for (int step = 0; step < 1500; step++)
			model_step(&m);
	}
}

RIG_TEST_MAIN("tracking: random")
