#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# The benchmark's scripts on figures that are known: bars, tables of the documents, plots.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
TOOLS=$ROOT/tools
WORK=$(mktemp -d "/tmp/$LAB.XXXXXX") # removed by lab_down

# A row of the section ns.
row() { # SCENARIO CANDIDATE NS [NEIGHBOUR [VERIFIED]]
	jq -n --arg scenario "$1" --arg candidate "$2" --argjson ns "$3" \
		--arg neighbour "${4:-idle}" --argjson verified "${5:-true}" '
		{$scenario, $candidate, $neighbour, net_ns_p10: $ns,
			net_ns_median: $ns, harness_ns: 8, blocks: 100, $verified}'
}

# build/bench.json with these rows.
figures() {
	jq -s '{ns: {machine: {cpu: "A CPU", kernel: "6.1", compiler: "clang-19", load: "0.10",
		date: "2026-01-02 03:04", cpus: 2}, verified_instructions: 290000, rows: .}}'
}


test_a_bar_is_the_floors_multiple_or_its_nanoseconds_whichever_is_larger() {
	expect "twelve times a floor of one" "$({
		row tcp4-10k floor-encap 1
		row tcp4-10k lbd 12
	} | figures >"$WORK/json" && "$TOOLS/bench-bars" "$WORK/json" |
		grep -c 'tcp4-10k .*at most *13.0  met')" = 1
	expect "fourteen times a floor of one" "$({
		row tcp4-10k floor-encap 1
		row tcp4-10k lbd 14
	} | figures >"$WORK/json" && "$TOOLS/bench-bars" "$WORK/json" |
		grep -c 'tcp4-10k .*at most *13.0  not met')" = 1
	expect "fourteen with a floor of ten" "$({
		row tcp4-10k floor-encap 10
		row tcp4-10k lbd 14
	} | figures >"$WORK/json" && "$TOOLS/bench-bars" "$WORK/json" |
		grep -c 'tcp4-10k .*at most *25.0  met')" = 1
}

test_a_bar_that_is_not_met_does_not_fail_the_run() {
	row round-robin-hit lbd 99 | figures >"$WORK/json"
	"$TOOLS/bench-bars" "$WORK/json" >"$WORK/bars"
	expect "status" $? = 0
	expect "the line" "$(grep -c 'round-robin-hit  *99.0 ns, at most *25.0  not met' \
		"$WORK/bars")" = 1
}

test_a_bar_takes_the_figure_of_an_idle_neighbour_and_marks_that_of_a_busy_one() {
	{
		row round-robin-hit lbd 60 busy
		row round-robin-hit lbd 20 idle
		row transition-10 lbd 20 busy
	} | figures >"$WORK/json"
	"$TOOLS/bench-bars" "$WORK/json" >"$WORK/bars"
	expect "idle" "$(grep -cE 'round-robin-hit +20.0 ns.* met *$' "$WORK/bars")" = 1
	expect "busy" "$(grep 'transition-10 ' "$WORK/bars" | grep -c 'busy neighbour')" = 1
}

test_a_void_figure_is_in_no_bar_and_no_table() {
	row transition-10 lbd 7 idle false | figures >"$WORK/json"
	"$TOOLS/bench-bars" "$WORK/json" >"$WORK/bars" || FAILED=1
	"$TOOLS/bench-docs" --table ns "$WORK/json" >"$WORK/table" || FAILED=1
	expect "bars" "$(grep -c transition-10 "$WORK/bars")" = 0
	expect "table" "$(grep -c '| 7 ' "$WORK/table")" = 0
}

test_a_table_has_idle_and_busy_figures_apart_and_names_the_machine() {
	{
		row not-vip floor-encap 4.04
		row not-vip lbd 4.26
		row not-vip floor-encap 8 busy
		row not-vip lbd 9.5 busy
	} | figures >"$WORK/json"
	"$TOOLS/bench-docs" --table ns "$WORK/json" >"$WORK/table"
	expect "the row" "$(grep 'not for a VIP' "$WORK/table")" = \
		"| not for a VIP: IPv4 / IPv6 | 4.3 / - | 4 | 9.5 / - | 8 |"
	expect "the machine" "$(grep -c 'A CPU, 2 CPUs, Linux 6.1, clang-19; load average 0.10' \
		"$WORK/table")" = 1
}

test_figures_of_an_emulated_guest_say_so() {
	local accel
	for accel in tcg kvm; do
		jq -n --arg accel $accel '{ipvs: {$accel, kernel: "6.1", rows: [
			("established-udp", "established-tcp", "new-connections") as $scenario
			| ("lbd", "lbd-rr", "ipvs") as $side | {$scenario, $side, least: 5, median: 6}],
			machine: {cpu: "A CPU", kernel: "6.18", load: "0.10", cpus: 2,
				date: "2026-01-02 03:04"}}}' >"$WORK/json"
		"$TOOLS/bench-docs" --table ipvs "$WORK/json" | tail -n 1 >"$WORK/$accel"
	done
	expect "emulated" "$(cat "$WORK/tcg")" = \
		"A CPU, emulated (TCG), 2 CPUs, Linux 6.1; load average 0.10, 2026-01-02."
	expect "not emulated" "$(cat "$WORK/kvm")" = \
		"A CPU, 2 CPUs, Linux 6.1; load average 0.10, 2026-01-02."
}

# Every block of the documents must have a table.
test_each_block_of_the_documents_has_a_table_and_an_end() {
	local file names table
	row not-vip lbd 4 | figures >"$WORK/json"
	for file in README.md docs/performance.md docs/filters.md vmtest/README.md; do
		names=$(sed -n 's/^<!-- bench \(.*\) -->$/\1/p' "$ROOT/$file")
		expect "blocks and ends of $file" "$(wc -w <<<"$names")" = \
			"$(grep -c '^<!-- end -->$' "$ROOT/$file")"
		for table in $names; do
			"$TOOLS/bench-docs" --table "$table" "$WORK/json" >/dev/null ||
				expect "status of table $table" 1 = 0
		done
	done
}

# In a copy of the tools, with documents of its own.
test_figures_replace_what_is_between_the_marks_and_nothing_else() {
	local file
	mkdir -p "$WORK/root/tools" "$WORK/root/docs" "$WORK/root/vmtest"
	cp "$TOOLS/bench-docs" "$TOOLS/bench.jq" "$WORK/root/tools"
	for file in README.md docs/performance.md docs/filters.md vmtest/README.md; do
		printf '%s\n' before '<!-- bench compilers -->' old '<!-- end -->' between \
			'<!-- bench veth -->' kept '<!-- end -->' after >"$WORK/root/$file"
	done
	row tcp4-10k lbd 20 | figures >"$WORK/json"
	"$WORK/root/tools/bench-docs" "$WORK/json" >&2 || return 1
	sed '/^|/d' "$WORK/root/docs/filters.md" >"$WORK/rest"
	expect "what is not a table" "$(tr '\n' ' ' <"$WORK/rest")" = "before \
<!-- bench compilers --> <!-- end --> between <!-- bench veth --> kept <!-- end --> after "
	expect "rows" "$(grep -c '^|.*clang-19.*20' "$WORK/root/docs/filters.md")" = 1
}

test_a_table_that_does_not_exist_is_an_error_that_names_the_others() {
	row not-vip lbd 4 | figures >"$WORK/json"
	"$TOOLS/bench-docs" --table nothing "$WORK/json" 2>"$WORK/err" >&2
	expect "status" $? = 1
	expect "names" "$(grep -c 'nothing: no such table; expected one of .*e2e' "$WORK/err")" = 1
}

test_plots_are_svg_files() {
	local plot
	command -v gnuplot >/dev/null || { skip "gnuplot is not installed"; return; }
	jq -n '{sweep: {rows: [["lbd", 20], ["floor-encap", 4]] | map(. as [$name, $ns]
		| ("flows", "services", "backends", "transition") as $axis | (1, 10) as $value
		| {candidate: $name, net_ns_p10: ($ns + $value), verified: true, axis: $axis,
			series: "a curve", value: $value,
			neighbour: "idle"})},
		count: {rows: [{program: "lbd", scenario: "tcp4-10k",
			files: [{file: "parse.h", instructions: 50, loads: 9, map_lines: 0}]}]}}' \
		>"$WORK/json"
	"$TOOLS/bench-plot" "$WORK/json" "$WORK/plots" >&2 || return 1
	for plot in flows services backends transition stages; do
		expect "$plot.svg" "$(grep -c '^</svg>' "$WORK/plots/$plot.svg")" = 1
	done
	expect "the curve's name" "$(grep -c 'a curve' "$WORK/plots/flows.svg")" -ge 1
}

run_tests "$@"
