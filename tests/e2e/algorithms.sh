#!/bin/bash
# Every algorithm by name, on real traffic: IPv4 and IPv6, TCP and UDP. The services take one algorithm after the other.
. "$(dirname "$0")/lib.sh"

COUNT=4
CLIENTS=20 # further addresses of the client: 198.51.100.101 and 2001:db8:c::101 are the first
SLOWABLE="{ type: http, port: 8090, path: /, interval: 250ms, timeout: 240ms, rise: 2, fall: 4 }"

# Reloads with these keys in each service.
use() { # LINES
	{
		lab_config_head
		echo "services:"
		config_service tcp4 $VIP4 tcp "${PORT:-7000}" 4 $COUNT "$1"
		config_service tcp6 $VIP6 tcp "${PORT:-7000}" 6 $COUNT "$1"
		config_service udp4 "$LAB_UDP4" udp 5353 4 $COUNT "$1"
		config_service udp6 "$LAB_UDP6" udp 5353 6 $COUNT "$1"
	} >"$WORK/lbd.yaml"
	lbctl reload && lab_wait_for 10 "all backends to be up" backends_up $((4 * COUNT))
}

client() { # N FAMILY: its address
	if [ "$2" = 4 ]; then echo "198.51.100.$((100 + $1))"; else echo "2001:db8:c::$((100 + $1))"; fi
}

# The four services as "PROTOCOL ADDRESS PORT SERVICE".
for_each_service() { # FUNCTION [ARGUMENT]...
	local function=$1
	shift
	"$function" tcp $VIP4 7000 tcp4 "$@" && "$function" tcp $VIP6 7000 tcp6 "$@" &&
		"$function" udp "$LAB_UDP4" 5353 udp4 "$@" && "$function" udp "$LAB_UDP6" 5353 udp6 "$@"
}

# Ports of UDP flows are never used twice here: a port used again within the idle time is no new flow.
NEXT_PORT=10000
udp_ports() { # PROTOCOL COUNT: the option for that many new flows
	PORTS=
	[ "$1" = udp ] || return 0
	PORTS="from-port $NEXT_PORT"
	NEXT_PORT=$((NEXT_PORT + $2))
}

# What lbd says of a service's backends, in the order of their addresses: a list of numbers.
backend_field() { # SERVICE FIELD
	lbctl backends "$1" --json | json "[b['$2'] for b in sorted(d['backends'], key=lambda b: int(b['address'].split('.')[-1].split(':')[-1]))]"
}
sum_of() { backend_field "$@" | json 'sum(d)'; }

# ---- round robin ----

even_to_a_turn() { # PROTOCOL ADDRESS PORT SERVICE
	local result
	udp_ports "$1" 402
	result=$(traffic "load-$1" "$2" "$3" requests 402 rate 800 $PORTS)
	echo "# $4: $(field "$result" 'd["by"]')"
	expect "$4: failures" "$(field "$result" 'd["failed"]')" = 0
	expect "$4: answers" "$(field "$result" 'd["answered"]')" = 402
	expect "$4: counts" "$(field "$result" 'sorted(d["by"].values())')" = "[100, 100, 101, 101]"
}

test_01_round_robin_gives_each_backend_its_count_to_a_turn() {
	use "algorithm: round-robin
idle-timeout: { tcp: 3s, udp: 3s }" || return 1
	for_each_service even_to_a_turn
}

# Two clients, each on a CPU of its own: their packets are balanced on it.
test_02_round_robin_is_exact_across_cpus() {
	local cpu both loads=()
	[ "$(nproc)" -gt 1 ] || { skip "one CPU"; return; }
	for cpu in 0 1; do
		in_ns client taskset -c $cpu "$BUILD/tests/e2e/traffic" load-tcp $VIP4 7000 requests 600 rate 1500 \
			from "$(client $((1 + cpu)) 4)" >"$WORK/cpu$cpu.json" &
		loads+=($!)
	done
	wait "${loads[@]}"
	both=$(cat "$WORK"/cpu?.json | python3 -c '
import json, sys
results = [json.loads(line) for line in sys.stdin]
names = set(results[0]["by"]) | set(results[1]["by"])
print(sum(r["failed"] for r in results), sorted(sum(r["by"].get(n, 0) for r in results) for n in names))')
	expect "failures and counts of both" "$both" = "0 [300, 300, 300, 300]"
}

each_in_turn() { # PROTOCOL ADDRESS PORT SERVICE
	local result
	udp_ports "$1" 24
	result=$(traffic "ask-$1" "$2" "$3" requests 24 $PORTS)
	expect "$4: all different among any four in a row" \
		"$(field "$result" 'all(len(set(d["sequence"][i:i + 4])) == 4 for i in range(21)) and len(d["sequence"]) == 24')" = True
}
test_03_round_robin_goes_in_turn() { for_each_service each_in_turn; }

stays_for_life() { # PROTOCOL ADDRESS PORT SERVICE
	local mode=hold
	[ "$1" = tcp ] || mode=hold-udp
	udp_ports "$1" 41
	traffic $mode "$2" "$3" connections 41 seconds 6 interval 0.5 timeout 2 $PORTS >"$WORK/life-$4.json" 2>"$WORK/life-$4.err" &
}
test_04_flows_of_round_robin_stay_for_life() {
	local held=() service
	for service in "tcp $VIP4 7000 tcp4" "tcp $VIP6 7000 tcp6" "udp $LAB_UDP4 5353 udp4" "udp $LAB_UDP6 5353 udp6"; do
		# shellcheck disable=SC2086
		stays_for_life $service
		held+=($!)
	done
	sleep 1
	lbctl backend weight tcp4 "$(backend_address 1 4)" 1 >/dev/null && lbctl drain tcp6 "$(backend_address 2 6)" >/dev/null &&
		lbctl drain udp4 "$(backend_address 2 4)" >/dev/null && lbctl backend weight udp6 "$(backend_address 3 6)" 0 >/dev/null || return 1
	traffic load-tcp $VIP4 7000 requests 500 rate 500 >/dev/null
	wait "${held[@]}"
	lbctl reload >/dev/null
	for service in tcp4 tcp6 udp4 udp6; do
		echo "# $service: $(cat "$WORK/life-$service.json")"
		expect "$service: on all backends to a turn" "$(json 'sorted(d["by"].values())' <"$WORK/life-$service.json")" = "[10, 10, 10, 11]"
		expect "$service: broken or moved" "$(json 'd["broken"] + d["moved"]' <"$WORK/life-$service.json")" = 0
	done
}

# ---- weighted round robin ----

# Weights 5, 2, 1, 1: of any nine in a row, and the first never more than twice running.
by_weight_and_smooth() { # PROTOCOL ADDRESS PORT SERVICE
	local result
	udp_ports "$1" 45
	result=$(traffic "ask-$1" "$2" "$3" requests 45 $PORTS)
	echo "# $4: $(field "$result" '" ".join(d["sequence"][:18])')"
	expect "$4: exact in every nine" "$(field "$result" \
		'all([d["sequence"][i:i + 9].count("b%d" % n) for n in (1, 2, 3, 4)] == [5, 2, 1, 1] for i in range(37))')" = True
	expect "$4: longest run" "$(field "$result" 'max(len(run) for run in "".join(n[1] for n in d["sequence"]).replace("1", "x").translate(str.maketrans("234", "   ")).split())')" = 2
	udp_ports "$1" 904
	result=$(traffic "load-$1" "$2" "$3" requests 904 rate 1500 $PORTS)
	echo "# $4: $(field "$result" 'd["by"]')"
	expect "$4: failures" "$(field "$result" 'd["failed"]')" = 0
	expect "$4: exact to a turn" "$(field "$result" \
		'all(abs(d["by"]["b%d" % (n + 1)] - 904 * w / 9) < w + 1 for n, w in enumerate((5, 2, 1, 1)))')" = True
}

test_05_weighted_round_robin_is_exact_and_has_no_bursts() {
	WEIGHTS="500 200 100 100" use "algorithm: weighted-round-robin
idle-timeout: { tcp: 3s, udp: 3s }" || return 1
	for_each_service by_weight_and_smooth
}

# ---- least connections ----

# Every fourth connection lasts: in turn, all that last meet on one backend.
lasting() { # ADDRESS: result of the load
	traffic load-tcp "$1" 7000 requests 160 rate 60 every 4 linger 4
}

test_06_round_robin_would_pile_up_connections_that_last() {
	local result
	use "algorithm: round-robin" || return 1
	result=$(traffic ask-tcp $VIP4 7000 requests 160 every 4 linger 0.1)
	echo "# $(field "$result" 'd["stayed"]')"
	expect "backends that have those that last" "$(field "$result" 'len(d["stayed"])')" = 1
}

active_is_even() { # SERVICE TOTAL
	backend_field "$1" active | json "sum(d) >= $2 and max(d) - min(d) <= 2"
}

test_07_least_conn_spreads_connections_that_last_evenly() {
	local vip service load
	use "algorithm: least-conn
idle-timeout: { tcp: 4s, udp: 3s }" || return 1
	for service in tcp4 tcp6; do
		vip=$VIP4
		[ $service = tcp4 ] || vip=$VIP6
		traffic ask-tcp "$vip" 7000 requests 160 every 4 linger 2.5 ending "${ENDING:-fin}" >"$WORK/lasting-$service.json" &
		load=$!
		lab_wait_for 8 "$service: the connections that last" test_holds "$service" || return 1
		wait $load
		echo "# $service: $(json 'd["stayed"]' <"$WORK/lasting-$service.json")"
		expect "$service: failures" "$(json 'd["failed"]' <"$WORK/lasting-$service.json")" = 0
		expect "$service: those that last" "$(json 'sorted(d["stayed"].values())' <"$WORK/lasting-$service.json")" = "[10, 10, 10, 10]"
	done
}

set_up() {
	lab_need_root
	lab_up $COUNT || return 1
	for i in $(seq $COUNT); do
		lab_backend_servers "$i" $VIP4 $VIP6 "$LAB_UDP4" "$LAB_UDP6" || return 1
		lab_spawn "slow-b$i" in_ns "b$i" "$BUILD/tests/e2e/traffic" serve-http :: 8090 name "b$i" delay 0.02 slow 0.1
	done
	for i in $(seq $CLIENTS); do
		in_ns client ip addr add "$(client "$i" 4)/24" dev eth0
		in_ns client ip addr add "$(client "$i" 6)/64" dev eth0 nodad
	done
	{
		lab_config_head
		echo "services: []"
	} >"$WORK/lbd.yaml"
	lab_lbd_start
}

set_up_or_end set_up
run_tests "$@"
