/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The ns benchmark, but for the measurement itself: its table and JSON, its scenarios, the line of
 * the verifier that it shows, and the interpreter that counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tools/ns/machine.h"
#include "tools/ns/ns.h"

static const struct scenario scenario = {.name = "tcp4-10k"};
static const struct result result = {
    .of = {[IDLE] = {.p10 = {8.4, 1.5, 4, 24}, .median = {9, 2, 5, 26}, .blocks = 320}},
    .verified = true};

/* ---- the table ---- */

static char *row_text(const struct result *of)
{
	static char text[256];
	FILE *out = fmemopen(text, sizeof(text), "w");

	table_row(out, &scenario, of);
	fclose(out);
	return text;
}

static void a_row_has_floors_lbd_median_and_ratio(void **state)
{
	assert_string_equal(
	    row_text(&result),
	    "tcp4-10k                               1.5    4.0    24.0    26.0   6.00x"
	    " |      -       -       -  yes\n");
}

static void a_neighbour_without_figures_is_dashes(void **state)
{
	assert_non_null(strstr(row_text(&result), " |      -       -       -  yes\n"));
}

static void a_row_of_wrong_packets_says_that_it_is_void(void **state)
{
	struct result wrong = result;

	wrong.verified = false;
	assert_non_null(strstr(row_text(&wrong), "NO: the figures are void"));
}

/* ---- JSON ---- */

static const char *text_of(const json_t *row, const char *key)
{
	return json_string_value(json_object_get(row, key));
}

static double number_of(const json_t *row, const char *key)
{
	return json_number_value(json_object_get(row, key));
}

static void json_has_a_row_for_each_candidate_that_was_measured(void **state)
{
	json_t *rows = json_array(), *lbd;

	rows_add(rows, &scenario, &result);
	assert_int_equal(json_array_size(rows), 3); /* of the idle neighbour only */
	lbd = json_array_get(rows, 2);
	assert_string_equal(text_of(lbd, "scenario"), "tcp4-10k");
	assert_string_equal(text_of(lbd, "candidate"), "lbd");
	assert_string_equal(text_of(lbd, "neighbour"), "idle");
	assert_true(number_of(lbd, "net_ns_p10") == 24);
	assert_true(number_of(lbd, "net_ns_median") == 26);
	assert_true(number_of(lbd, "harness_ns") == 8.4);
	assert_true(json_is_true(json_object_get(lbd, "verified")));
	assert_null(json_object_get(lbd, "axis"));
	json_decref(rows);
}

static void json_of_a_sweep_names_axis_series_and_value(void **state)
{
	struct scenario point = {
	    .name = "flows=10, x", .axis = "flows", .series = "x", .value = 10};
	json_t *rows = json_array(), *row;

	rows_add(rows, &point, &result);
	row = json_array_get(rows, 0);
	assert_string_equal(text_of(row, "axis"), "flows");
	assert_string_equal(text_of(row, "series"), "x");
	assert_true(number_of(row, "value") == 10);
	json_decref(rows);
}

static void the_machine_is_described(void **state)
{
	json_t *machine = machine_describe("clang-14");

	assert_string_equal(text_of(machine, "compiler"), "clang-14");
	assert_true(strlen(text_of(machine, "kernel")) > 0);
	assert_true(atof(text_of(machine, "load")) >= 0);
	assert_true(number_of(machine, "cpus") >= 1);
	json_decref(machine);
}

/* ---- scenarios ---- */

static void scenario_names_are_unique(void **state)
{
	for (size_t i = 0; i < scenarios_count; i++)
		for (size_t j = i + 1; j < scenarios_count; j++)
			assert_string_not_equal(scenarios[i].name, scenarios[j].name);
}

static void sweeps_end_and_no_point_comes_twice(void **state)
{
	char name[64], last[64] = "";
	struct scenario point;
	size_t points = 0;

	for (; points < 1000 && sweep_point(points, &point, name); points++) {
		assert_string_not_equal(name, last);
		assert_true(point.flows > 0 && point.value > 0);
		strcpy(last, name);
	}
	assert_in_range(points, 20, 999);
}

/* ---- the verifier's last line ---- */

static void the_last_line_is_not_the_verifiers_statistics(void **state)
{
	char log[] = "func#0 @0\ncombined stack size of 5 calls is 544. Too large\n"
		     "verification time 12 usec\nstack depth 400+64\nprocessed 9 insns (limit 1)\n";

	assert_string_equal(verifier_line(log), "combined stack size of 5 calls is 544. Too large");
}

static void the_last_line_of_an_empty_log_is_empty(void **state)
{
	char log[] = "";

	assert_string_equal(verifier_line(log), "");
}

/* ---- the interpreter ---- */

#define INSN(c, d, s, o, i) \
	((struct bpf_insn){.code = c, .dst_reg = d, .src_reg = s, .off = o, .imm = i})
#define MOVE(d, i)     INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define ADD(d, s)      INSN(BPF_ALU64 | BPF_ADD | BPF_X, d, s, 0, 0)
#define LOAD(d, s, o)  INSN(BPF_LDX | BPF_MEM | BPF_DW, d, s, o, 0)
#define STORE(d, s, o) INSN(BPF_STX | BPF_MEM | BPF_DW, d, s, o, 0)
#define EXIT           INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

static struct machine *machine;
static _Alignas(64) uint64_t values[32];

static int machine_new(void **state)
{
	machine = calloc(1, sizeof(*machine));
	memset(values, 0, sizeof(values));
	machine_region(machine, machine->stack, sizeof(machine->stack), REGION_STACK);
	machine_region(machine, values, sizeof(values), REGION_MAP);
	return 0;
}

static int machine_end(void **state)
{
	free(machine);
	return 0;
}

#define RUN(...)                                                      \
	({                                                            \
		static const struct bpf_insn code_[] = {__VA_ARGS__}; \
		run(code_, sizeof(code_) / sizeof(*code_));           \
	})

static int run(const struct bpf_insn *code, size_t length)
{
	machine->code = code;
	machine->length = (uint32_t)length;
	return machine_run(machine, (uint64_t)values);
}

static void instructions_loads_and_stores_are_counted(void **state)
{
	values[0] = 40;
	assert_int_equal(
	    RUN(LOAD(2, 1, 0), MOVE(0, 2), ADD(0, 2), STORE(10, 0, -8), LOAD(0, 10, -8), EXIT), 42);
	assert_int_equal(machine->costs[0].instructions, 6);
	assert_int_equal(machine->costs[0].loads, 2);
	assert_int_equal(machine->costs[0].stack_loads, 1);
	assert_int_equal(machine->costs[0].stores, 1);
}

static void a_cache_line_of_a_map_counts_once(void **state)
{
	RUN(LOAD(2, 1, 0), LOAD(2, 1, 56), LOAD(2, 1, 64), STORE(1, 2, 64), MOVE(0, 0), EXIT);
	assert_int_equal(machine->costs[0].map_lines, 2);
}

static void costs_belong_to_the_group_of_their_instruction(void **state)
{
	machine->group = (const uint8_t[]){0, 3, 0};
	assert_int_equal(RUN(MOVE(0, 1), LOAD(2, 1, 0), EXIT), 1);
	assert_int_equal(machine->costs[0].instructions, 2);
	assert_int_equal(machine->costs[3].instructions, 1);
	assert_int_equal(machine->costs[3].loads, 1);
}

static void a_call_keeps_the_callers_registers(void **state)
{
	assert_int_equal(RUN(MOVE(6, 5), INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 2, 0),
			     ADD(0, 6), EXIT, MOVE(6, 100), MOVE(0, 7), EXIT),
			 12);
	assert_int_equal(machine->costs[0].calls, 1);
}

static void a_jump_is_taken_as_its_sign_says(void **state)
{
	assert_int_equal(RUN(MOVE(2, -1), MOVE(0, 1), INSN(BPF_JMP | BPF_JSLT | BPF_K, 2, 0, 1, 0),
			     MOVE(0, 2), EXIT),
			 1);
	assert_int_equal(RUN(MOVE(2, -1), MOVE(0, 1), INSN(BPF_JMP | BPF_JLT | BPF_K, 2, 0, 1, 0),
			     MOVE(0, 2), EXIT),
			 2);
}

static void a_load_across_two_fields_of_the_packet_is_reported(void **state)
{
	static const uint16_t fields[] = {0, 8, 12, 0};
	uint64_t packet[4] = {0};

	machine_region(machine, packet, sizeof(packet), REGION_PACKET);
	machine->fields = fields;
	machine->packet = (uint64_t)packet;
	machine->code = (const struct bpf_insn[]){LOAD(2, 1, 0), LOAD(2, 1, 4), MOVE(0, 0), EXIT};
	machine->length = 4;
	assert_int_equal(machine_run(machine, (uint64_t)packet), 0);
	assert_int_equal(machine->costs[0].spanning_loads, 1);
}

static void assert_rise_to_0(const uint16_t *fields, size_t count)
{
	assert_int_equal(fields[0], 0);
	for (size_t i = 1; i + 1 < count; i++)
		assert_true(fields[i] > fields[i - 1]);
	assert_int_equal(fields[count - 1], 0);
}

static void the_fields_of_the_harness_rise_and_end_with_0(void **state)
{
	static const uint16_t v4[] = BENCH_FIELDS_V4, v6[] = BENCH_FIELDS_V6;

	assert_rise_to_0(v4, sizeof(v4) / sizeof(*v4));
	assert_rise_to_0(v6, sizeof(v6) / sizeof(*v6));
}

static void an_access_outside_of_known_memory_is_a_fault(void **state)
{
	assert_int_equal(RUN(LOAD(0, 1, 32760), EXIT), -1);
	assert_non_null(machine->fault);
	assert_int_equal(machine->fault_at, 0);
}

static void a_loop_without_end_is_a_fault(void **state)
{
	assert_int_equal(RUN(INSN(BPF_JMP | BPF_JA, 0, 0, -1, 0), EXIT), -1);
	assert_string_equal(machine->fault, "too many instructions");
}

#define MACHINE_TEST(name) cmocka_unit_test_setup_teardown(name, machine_new, machine_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_row_has_floors_lbd_median_and_ratio),
	    cmocka_unit_test(a_neighbour_without_figures_is_dashes),
	    cmocka_unit_test(a_row_of_wrong_packets_says_that_it_is_void),
	    cmocka_unit_test(json_has_a_row_for_each_candidate_that_was_measured),
	    cmocka_unit_test(json_of_a_sweep_names_axis_series_and_value),
	    cmocka_unit_test(the_machine_is_described),
	    cmocka_unit_test(scenario_names_are_unique),
	    cmocka_unit_test(sweeps_end_and_no_point_comes_twice),
	    cmocka_unit_test(the_last_line_is_not_the_verifiers_statistics),
	    cmocka_unit_test(the_last_line_of_an_empty_log_is_empty),
	    MACHINE_TEST(instructions_loads_and_stores_are_counted),
	    MACHINE_TEST(a_cache_line_of_a_map_counts_once),
	    MACHINE_TEST(costs_belong_to_the_group_of_their_instruction),
	    MACHINE_TEST(a_call_keeps_the_callers_registers),
	    MACHINE_TEST(a_jump_is_taken_as_its_sign_says),
	    MACHINE_TEST(a_load_across_two_fields_of_the_packet_is_reported),
	    cmocka_unit_test(the_fields_of_the_harness_rise_and_end_with_0),
	    MACHINE_TEST(an_access_outside_of_known_memory_is_a_fault),
	    MACHINE_TEST(a_loop_without_end_is_a_fault),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
