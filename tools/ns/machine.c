/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Interprets and counts: see machine.h. */
#include <string.h>

#include "tools/ns/machine.h"

#define MOST_INSTRUCTIONS 100000 /* of a packet: a loop without end is a fault */
#define MOST_FRAMES       8
#define FRAME_BYTES       1024 /* room for a frame; the verifier allows 512 */
#define PER_CPU           (-1) /* offset of a move that adds the CPU's base (Linux 6.10) */

struct frame {
	uint32_t back;
	uint64_t saved[4]; /* r6 to r9 */
	uint64_t stack;
};

/* ---- memory ---- */

bool machine_region(struct machine *m, const void *start, size_t length, enum region_kind kind)
{
	if (m->regions == MACHINE_REGIONS)
		return false;
	m->region[m->regions++] =
	    (struct region){.start = (uint64_t)start, .length = length, .kind = kind};
	return true;
}

const struct region *machine_find(const struct machine *m, uint64_t at, unsigned bytes)
{
	for (unsigned i = 0; i < m->regions; i++)
		if (at >= m->region[i].start &&
		    at - m->region[i].start + bytes <= m->region[i].length)
			return &m->region[i];
	return NULL;
}

static void line_note(struct machine *m, struct costs *costs, uint64_t at)
{
	for (unsigned i = 0; i < m->lines; i++)
		if (m->line[i] == at / 64)
			return;
	if (m->lines < MACHINE_LINES)
		m->line[m->lines++] = at / 64;
	costs->map_lines++;
}

static bool spans_fields(const struct machine *m, uint64_t at, unsigned bytes)
{
	uint64_t first = at - m->packet;

	for (unsigned i = 1; m->fields && m->fields[i]; i++)
		if (first < m->fields[i] && first + bytes > m->fields[i])
			return true;
	return false;
}

/* The region of an access, NULL with a fault. */
static const struct region *reach(struct machine *m, struct costs *costs, uint64_t at,
				  unsigned bytes)
{
	const struct region *region = machine_find(m, at, bytes);

	if (!region)
		m->fault = "access outside of known memory";
	else if (region->kind == REGION_MAP)
		line_note(m, costs, at);
	return region;
}

static uint64_t load(struct machine *m, struct costs *costs, uint64_t at, unsigned bytes)
{
	const struct region *region = reach(m, costs, at, bytes);
	uint64_t value = 0;

	if (!region)
		return 0;
	costs->loads++;
	costs->stack_loads += region->kind == REGION_STACK;
	if (region->kind == REGION_PACKET && at >= m->packet)
		costs->spanning_loads += spans_fields(m, at, bytes);
	memcpy(&value, (const void *)at, bytes);
	return value;
}

static void store(struct machine *m, struct costs *costs, uint64_t at, unsigned bytes,
		  uint64_t value)
{
	if (!reach(m, costs, at, bytes))
		return;
	costs->stores++;
	memcpy((void *)at, &value, bytes);
}

static unsigned size_of(uint8_t code)
{
	switch (BPF_SIZE(code)) {
	case BPF_B:
		return 1;
	case BPF_H:
		return 2;
	case BPF_W:
		return 4;
	default:
		return 8;
	}
}

static uint64_t sign_extend(uint64_t value, unsigned bits)
{
	return (uint64_t)((int64_t)(value << (64 - bits)) >> (64 - bits));
}

/* ---- arithmetic ---- */

static uint64_t byte_swap(uint64_t value, const struct bpf_insn *insn)
{
	/* BPF_TO_LE keeps the order on this machine, but cuts off */
	bool swap = BPF_CLASS(insn->code) == BPF_ALU64 || BPF_SRC(insn->code) == BPF_TO_BE;

	switch (insn->imm) {
	case 16:
		return swap ? __builtin_bswap16((uint16_t)value) : (uint16_t)value;
	case 32:
		return swap ? __builtin_bswap32((uint32_t)value) : (uint32_t)value;
	default:
		return swap ? __builtin_bswap64(value) : value;
	}
}

static uint64_t divide(uint64_t a, uint64_t b, const struct bpf_insn *insn, bool wide)
{
	bool rest = BPF_OP(insn->code) == BPF_MOD;

	if (!b)
		return rest ? a : 0;
	if (insn->off == 1 && wide)
		return (uint64_t)(rest ? (int64_t)a % (int64_t)b : (int64_t)a / (int64_t)b);
	if (insn->off == 1)
		return (uint64_t)(rest ? (int32_t)a % (int32_t)b : (int32_t)a / (int32_t)b);
	return rest ? a % b : a / b;
}

static uint64_t move(struct machine *m, uint64_t b, const struct bpf_insn *insn)
{
	if (BPF_SRC(insn->code) != BPF_X || !insn->off)
		return b;
	return insn->off == PER_CPU ? m->per_cpu(m, b) : sign_extend(b, (unsigned)insn->off);
}

static uint64_t compute(struct machine *m, uint64_t a, uint64_t b, const struct bpf_insn *insn)
{
	bool wide = BPF_CLASS(insn->code) == BPF_ALU64;
	unsigned shift = (unsigned)b & (wide ? 63 : 31);

	switch (BPF_OP(insn->code)) {
	case BPF_ADD:
		return a + b;
	case BPF_SUB:
		return a - b;
	case BPF_MUL:
		return a * b;
	case BPF_DIV:
	case BPF_MOD:
		return divide(a, b, insn, wide);
	case BPF_OR:
		return a | b;
	case BPF_AND:
		return a & b;
	case BPF_XOR:
		return a ^ b;
	case BPF_LSH:
		return a << shift;
	case BPF_RSH:
		return a >> shift;
	case BPF_ARSH:
		return wide ? (uint64_t)((int64_t)a >> shift) : (uint64_t)((int32_t)a >> shift);
	case BPF_NEG:
		return -a;
	case BPF_MOV:
		return move(m, b, insn);
	default:
		m->fault = "unknown arithmetic";
		return 0;
	}
}

static uint64_t narrowed(uint64_t value, bool wide)
{
	return wide ? value : (uint32_t)value;
}

/* The second operand. */
static uint64_t source_of(const struct machine *m, const struct bpf_insn *insn, bool wide)
{
	return narrowed(BPF_SRC(insn->code) == BPF_X ? m->reg[insn->src_reg]
						     : (uint64_t)(int64_t)insn->imm,
			wide);
}

static void arithmetic(struct machine *m, const struct bpf_insn *insn)
{
	bool wide = BPF_CLASS(insn->code) == BPF_ALU64;
	uint64_t a = m->reg[insn->dst_reg], b = source_of(m, insn, wide), value;

	if (BPF_OP(insn->code) == BPF_END)
		value = byte_swap(a, insn);
	else
		value = narrowed(compute(m, narrowed(a, wide), b, insn), wide);
	m->reg[insn->dst_reg] = value;
}

/* ---- jumps ---- */

static bool is_taken(struct machine *m, const struct bpf_insn *insn)
{
	bool wide = BPF_CLASS(insn->code) == BPF_JMP;
	uint64_t a = narrowed(m->reg[insn->dst_reg], wide), b = source_of(m, insn, wide);
	int64_t x = wide ? (int64_t)a : (int32_t)a, y = wide ? (int64_t)b : (int32_t)b;

	switch (BPF_OP(insn->code)) {
	case BPF_JEQ:
		return a == b;
	case BPF_JNE:
		return a != b;
	case BPF_JGT:
		return a > b;
	case BPF_JGE:
		return a >= b;
	case BPF_JLT:
		return a < b;
	case BPF_JLE:
		return a <= b;
	case BPF_JSET:
		return a & b;
	case BPF_JSGT:
		return x > y;
	case BPF_JSGE:
		return x >= y;
	case BPF_JSLT:
		return x < y;
	case BPF_JSLE:
		return x <= y;
	default:
		m->fault = "unknown jump";
		return false;
	}
}

/* ---- atomics ---- */

static uint64_t combine(struct machine *m, int32_t operation, uint64_t old, uint64_t value)
{
	switch (operation & ~BPF_FETCH) {
	case BPF_ADD:
		return old + value;
	case BPF_OR:
		return old | value;
	case BPF_AND:
		return old & value;
	case BPF_XOR:
		return old ^ value;
	case BPF_XCHG & ~BPF_FETCH:
		return value;
	default:
		m->fault = "unknown atomic operation";
		return old;
	}
}

static void atomic(struct machine *m, struct costs *costs, const struct bpf_insn *insn)
{
	unsigned bytes = size_of(insn->code);
	uint64_t at = m->reg[insn->dst_reg] + (uint64_t)(int64_t)insn->off;
	uint64_t old = load(m, costs, at, bytes), value = m->reg[insn->src_reg];
	uint64_t expected = bytes == 4 ? (uint32_t)m->reg[0] : m->reg[0];

	costs->atomics++;
	if (insn->imm == BPF_CMPXCHG) {
		if (old == expected)
			store(m, costs, at, bytes, value);
		m->reg[0] = old;
		return;
	}
	store(m, costs, at, bytes, combine(m, insn->imm, old, value));
	if (insn->imm & BPF_FETCH)
		m->reg[insn->src_reg] = old;
}

/* ---- the run ---- */

static uint64_t constant(struct machine *m, uint32_t at)
{
	const struct bpf_insn *insn = &m->code[at];
	uint64_t value;

	value = m->map_address(m, insn->src_reg, (uint32_t)insn[0].imm, (uint32_t)insn[1].imm);
	if (!value && insn->src_reg)
		m->fault = "a map that is not known";
	return value;
}

/* A load, a store or a constant; returns the instructions it takes. */
static uint32_t access(struct machine *m, struct costs *costs, uint32_t at)
{
	const struct bpf_insn *insn = &m->code[at];
	unsigned bytes = size_of(insn->code);
	uint64_t target = m->reg[insn->dst_reg] + (uint64_t)(int64_t)insn->off;
	uint64_t source = m->reg[insn->src_reg] + (uint64_t)(int64_t)insn->off, value;

	if (insn->code == (BPF_LD | BPF_IMM | BPF_DW)) {
		m->reg[insn->dst_reg] = constant(m, at);
		return 2;
	}
	if (BPF_CLASS(insn->code) == BPF_LDX) {
		value = load(m, costs, source, bytes);
		if (BPF_MODE(insn->code) == 0x80) /* sign-extending (Linux 6.6) */
			value = sign_extend(value, bytes * 8);
		m->reg[insn->dst_reg] = value;
	} else if (BPF_CLASS(insn->code) == BPF_ST) {
		store(m, costs, target, bytes, (uint64_t)(int64_t)insn->imm);
	} else if (BPF_MODE(insn->code) == BPF_ATOMIC) {
		atomic(m, costs, insn);
	} else {
		store(m, costs, target, bytes, m->reg[insn->src_reg]);
	}
	return 1;
}

static bool enter(struct machine *m, struct frame *frames, unsigned *depth, uint32_t back)
{
	struct frame *frame = &frames[*depth];

	if (*depth == MOST_FRAMES)
		return false;
	frame->back = back;
	frame->stack = m->reg[10];
	memcpy(frame->saved, m->reg + 6, sizeof(frame->saved));
	m->reg[10] -= FRAME_BYTES;
	++*depth;
	return true;
}

static uint32_t leave(struct machine *m, struct frame *frames, unsigned *depth)
{
	const struct frame *frame = &frames[--*depth];

	memcpy(m->reg + 6, frame->saved, sizeof(frame->saved));
	m->reg[10] = frame->stack;
	return frame->back;
}

static uint32_t jump(struct machine *m, struct costs *costs, uint32_t at, struct frame *frames,
		     unsigned *depth)
{
	const struct bpf_insn *insn = &m->code[at];
	bool wide = BPF_CLASS(insn->code) == BPF_JMP;

	if (BPF_OP(insn->code) == BPF_JA)
		return at + 1 + (uint32_t)(wide ? insn->off : insn->imm);
	if (BPF_OP(insn->code) == BPF_CALL) {
		costs->calls++;
		if (insn->src_reg == BPF_PSEUDO_CALL) {
			if (!enter(m, frames, depth, at + 1))
				m->fault = "too many calls in calls";
			return at + 1 + (uint32_t)insn->off;
		}
		if (!m->call(m, insn->imm))
			m->fault = m->fault ?: "unknown helper";
		return at + 1;
	}
	return is_taken(m, insn) ? at + 1 + (uint32_t)insn->off : at + 1;
}

static uint32_t step(struct machine *m, uint32_t at, struct frame *frames, unsigned *depth)
{
	struct costs *costs = &m->costs[m->group ? m->group[at] : 0];

	costs->instructions++;
	switch (BPF_CLASS(m->code[at].code)) {
	case BPF_ALU:
	case BPF_ALU64:
		arithmetic(m, &m->code[at]);
		return at + 1;
	case BPF_JMP:
	case BPF_JMP32:
		return jump(m, costs, at, frames, depth);
	default:
		return at + access(m, costs, at);
	}
}

int machine_run(struct machine *m, uint64_t argument)
{
	struct frame frames[MOST_FRAMES];
	unsigned depth = 0, steps = 0;
	uint32_t at = 0;

	memset(m->costs, 0, sizeof(m->costs));
	m->lines = 0;
	m->fault = NULL;
	m->reg[1] = argument;
	m->reg[10] = (uint64_t)(m->stack + MACHINE_STACK);
	for (;;) {
		if (at >= m->length)
			m->fault = "a jump out of the program";
		else if (++steps > MOST_INSTRUCTIONS)
			m->fault = "too many instructions";
		if (m->fault)
			return -1;
		m->fault_at = at;
		if (m->code[at].code != (BPF_JMP | BPF_EXIT)) {
			at = step(m, at, frames, &depth);
			continue;
		}
		m->costs[m->group ? m->group[at] : 0].instructions++;
		if (!depth)
			return (int)(uint32_t)m->reg[0];
		at = leave(m, frames, &depth);
	}
}
