# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# build/bench.json: an object with a section for each part of the benchmark. A part that runs
# replaces its own section and leaves the others.
# shellcheck shell=bash disable=SC2154 # BUILD: of tools/lab.sh

BENCH_JSON=${BENCH_JSON:-$BUILD/bench.json}

# What the figures were measured on, and what else ran: the load average before the part began.
bench_machine() { # LOAD
	jq -n --arg load "$1" --arg kernel "$(uname -r)" --arg date "$(date '+%Y-%m-%d %H:%M')" \
		--arg cpu "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)" \
		--argjson cpus "$(nproc)" '$ARGS.named'
}

bench_load() { cut -d' ' -f1 /proc/loadavg; }

# Replaces a section by the JSON value on stdin.
bench_section() { # NAME
	[ -s "$BENCH_JSON" ] || echo '{}' >"$BENCH_JSON"
	jq --arg name "$1" --slurpfile section /dev/stdin '.[$name] = $section[0]' \
		"$BENCH_JSON" >"$BENCH_JSON.new" && mv "$BENCH_JSON.new" "$BENCH_JSON"
}

# Replaces a section by rows, an array on stdin, and the machine.
bench_rows() { # NAME LOAD
	jq --argjson machine "$(bench_machine "$2")" '{machine: $machine, rows: .}' |
		bench_section "$1"
}
