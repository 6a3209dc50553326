#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# What the guest's comparisons share: the NAPI threads whose CPU time is measured, rounds, and the
# figures in $WORK/figures, lines of "SCENARIO SIDE ARRIVED NS ...". A comparison has ROUNDS, SIDES,
# set_up, side, which puts one into force, measure, which prints its lines, report and report_json.

# Runs a command in a namespace, with a /sys that shows the namespace's interfaces.
in_sys() { # NS COMMAND
	nsenter --net="/run/netns/$(ns "$1")" unshare -m sh -c "mount -t sysfs sysfs /sys && $2"
}

# The NAPI threads of an interface. pgrep shows the names of kernel threads in brackets.
napi_threads() { # NAME
	pgrep -f "^\[?napi/$1-"
}

# Puts the NAPI threads on one CPU, at real-time priority.
pin_napi() { # NS INTERFACE CPU
	local pid
	in_sys "$1" "echo 1 >/sys/class/net/$2/threaded" || return 1
	for pid in $(napi_threads "$2"); do
		taskset -p -c "$3" "$pid" >/dev/null && chrt -f -p 10 "$pid" || return 1
	done
}

find_macs() {
	near=$(in_ns lb ip -j link show eth0 | json '.[0].address') || return 1
	far=$(in_ns router ip -j link show to-lb | json '.[0].address')
}

# Sends frames to the balancer. Prints "ARRIVED-PERCENT NS-A-FRAME".
frames() { # KIND [WORD VALUE]...
	local threads result
	threads=$(napi_threads eth0 | sed 's/^/thread /' | tr '\n' ' ')
	# shellcheck disable=SC2086
	result=$(in_ns router taskset -c 1 "$BUILD/vmtest/frames" "$BUILD/frames.bpf.o" \
		to-lb "$1" to "$near" from "$far" "${@:2}" $threads) || return 1
	echo "# $1: $result" >&2
	field "$result" '
		"\(if .bad == 0 then .arrived * 100 / .sent else 0 end) \(.cpu_ns / .sent)"'
}

# The figures of a measurement, least or best first, one a line.
figures() { # NAME SIDE COLUMN
	awk -v name="$1" -v side="$2" -v column="$3" \
		'$1 == name && $2 == side { print $column }' "$WORK/figures" | sort -n
}
least() { head -n 1; }
median() { awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }

# A figure is void if packets were lost: the lost ones cost less.
report_void() {
	awk '$3 < 99.9 { printf "VOID: %s %s: only %.2f %% arrived\n", $1, $2, $3; void = 1 }
		END { exit void }' "$WORK/figures"
}

# Every side once. Only whole rounds count.
one_round() {
	for side in $SIDES; do
		side $side && measure $side || {
			echo "$side: a round failed" >&2
			return 1
		}
	done
}

# False: a round failed; those before it count.
all_rounds() { # COUNT
	local _
	for _ in $(seq "$1"); do
		one_round >"$WORK/round" || return 1
		cat "$WORK/round" >>"$WORK/figures"
	done
}

bench_kernel() {
	sysctl -qw net.core.bpf_jit_enable=1
	mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf
}

# Ends the script if the kernel lacks one.
bench_needs() { # MODULE...
	local module
	for module; do
		modprobe "$module" || {
			echo "kernel $(uname -r) has no module $module, which the comparison needs"
			exit 1
		}
	done
}

# Sets up, measures, reports, and ends the script: with 1 if a round failed or a figure is void.
bench_run() {
	local status=0
	set_up || { tail -n 30 "$WORK/lbd.log"; echo "the lab did not come up"; exit 1; }
	all_rounds "$ROUNDS" || status=1
	[ -s "$WORK/figures" ] || exit 1
	cat "$WORK/figures"
	report || status=1
	report_json
	exit $status
}
