#!/bin/bash
# Every algorithm by name, on real traffic: IPv4 and IPv6, TCP and UDP. The services take one algorithm after the other.
. "$(dirname "$0")/lib.sh"

COUNT=4
IDLE_SECONDS=$((6 * LAB_SLOWDOWN))
LINGER=$((4 * LAB_SLOWDOWN)) # less than that, and more than it takes to ask 160 times
IDLE=${IDLE_SECONDS}s
CLIENTS=20 # further addresses of the client: 198.51.100.101 and 2001:db8:c::101 are the first
SLOWABLE="{ type: http, port: 8090, path: /, interval: 1s, timeout: 950ms, rise: 2, fall: 4 }"

# Reloads with these keys in each service.
use() { # KEY...
	local keys
	keys=$(printf '%s\n' "$@" "idle-timeout: { tcp: $IDLE, udp: $IDLE }")
	{
		lab_config_head
		echo "services:"
		config_service tcp4 $VIP4 tcp "${PORT:-7000}" 4 $COUNT "$keys"
		config_service tcp6 $VIP6 tcp "${PORT:-7000}" 6 $COUNT "$keys"
		config_service udp4 "$LAB_UDP4" udp 5353 4 $COUNT "$keys"
		config_service udp6 "$LAB_UDP6" udp 5353 6 $COUNT "$keys"
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

# Ports of UDP flows are never used twice here: a port used again within the idle time is no new flow. The next one is in a
# file, as subshells use ports too.
udp_ports() { # PROTOCOL COUNT: sets PORTS to the option for that many new flows
	local next
	PORTS=
	[ "$1" = udp ] || return 0
	next=$(cat "$WORK/next-port")
	PORTS="from-port $next"
	echo $((next + $2)) >"$WORK/next-port"
}

# What lbd says of a service's backends, in the order of their addresses: a list of numbers.
backend_field() { # SERVICE FIELD
	lbctl backends "$1" --json | json "[b['$2'] for b in sorted(d['backends'], key=lambda b: int(b['address'].split('.')[-1].split(':')[-1]))]"
}
sum_of() { backend_field "$@" | json 'sum(d)'; }

# Bits of Python over an answer of traffic.
EVEN='sorted(d["by"].values())'

# ---- round robin ----

even_to_a_turn() { # PROTOCOL ADDRESS PORT SERVICE
	local result
	udp_ports "$1" 402
	result=$(traffic "load-$1" "$2" "$3" requests 402 rate 800 $PORTS)
	echo "# $4: $(field "$result" 'd["by"]')"
	expect "$4: failures" "$(field "$result" 'd["failed"]')" = 0
	expect "$4: counts" "$(field "$result" "$EVEN")" = "[100, 100, 101, 101]"
}
test_round_robin_gives_each_backend_its_count_to_a_turn() {
	use "algorithm: round-robin" && for_each_service even_to_a_turn
}

# Two clients, each on a CPU of its own: their packets are balanced on it.
test_round_robin_is_exact_across_cpus() {
	local cpu both loads=()
	[ "$(nproc)" -gt 1 ] || { skip "needs two CPUs"; return; }
	use "algorithm: round-robin" || return 1
	for cpu in 0 1; do
		in_ns client taskset -c $cpu "$BUILD/tests/e2e/traffic" load-tcp $VIP4 7000 requests 600 rate 1500 \
			from "$(client $((1 + cpu)) 4)" >"$WORK/cpu$cpu.json" &
		loads+=($!)
	done
	wait "${loads[@]}"
	both="[$(cat "$WORK/cpu0.json"), $(cat "$WORK/cpu1.json")]"
	expect "failures of both" "$(field "$both" 'd[0]["failed"] + d[1]["failed"]')" = 0
	expect "counts of both" "$(field "$both" '[d[0]["by"][n] + d[1]["by"][n] for n in sorted(d[0]["by"])]')" = "[300, 300, 300, 300]"
}

each_in_turn() { # PROTOCOL ADDRESS PORT SERVICE
	local result
	udp_ports "$1" 24
	result=$(traffic "ask-$1" "$2" "$3" requests 24 $PORTS)
	expect "$4: all different among any four in a row" \
		"$(field "$result" 'all(len(set(d["sequence"][i:i + 4])) == 4 for i in range(21))')" = True
}
test_round_robin_goes_in_turn() {
	use "algorithm: round-robin" && for_each_service each_in_turn
}

holds_for_life() { # PROTOCOL ADDRESS PORT SERVICE: in the background
	local mode=hold
	[ "$1" = tcp ] || mode=hold-udp
	udp_ports "$1" 41
	load_start "life-$4" $mode "$2" "$3" connections 41 interval 0.5 $PORTS
}
held_for_life() { grep -q "41 connections open" "$WORK/life-$4.err"; }
stayed_for_life() { # PROTOCOL ADDRESS PORT SERVICE
	load_end "life-$4"
	expect "$4: counts" "$(json "$EVEN" <"$WORK/life-$4.json")" = "[10, 10, 10, 11]"
	expect "$4: broken or moved" "$(json 'd["broken"] + d["moved"]' <"$WORK/life-$4.json")" = 0
}
test_round_robin_flows_stay_for_life() {
	use "algorithm: round-robin" || return 1
	for_each_service holds_for_life
	lab_wait_for 5 "flows to be held" for_each_service held_for_life || return 1
	sleep 1 # and each has asked
	lbctl backend weight tcp4 "$(backend_address 1 4)" 1 >/dev/null && lbctl drain tcp6 "$(backend_address 2 6)" >/dev/null &&
		lbctl drain udp4 "$(backend_address 2 4)" >/dev/null && lbctl backend weight udp6 "$(backend_address 3 6)" 0 >/dev/null || return 1
	traffic load-tcp $VIP4 7000 requests 500 rate 500 >/dev/null
	sleep 1.5
	for_each_service stayed_for_life
}

# ---- weighted round robin ----

# Weights 5, 2, 1, 1: so are any nine in a row, and the first never comes more than twice running.
by_weight_and_smooth() { # PROTOCOL ADDRESS PORT SERVICE
	local result
	udp_ports "$1" 45
	result=$(traffic "ask-$1" "$2" "$3" requests 45 $PORTS)
	echo "# $4: $(field "$result" '" ".join(d["sequence"][:18])')"
	expect "$4: exact in every nine" "$(field "$result" \
		'all([d["sequence"][i:i + 9].count("b%d" % n) for n in (1, 2, 3, 4)] == [5, 2, 1, 1] for i in range(37))')" = True
	expect "$4: b1 three times running" "$(field "$result" '"b1 b1 b1" in " ".join(d["sequence"])')" = False
	udp_ports "$1" 900
	result=$(traffic "load-$1" "$2" "$3" requests 900 rate 1500 $PORTS)
	echo "# $4: $(field "$result" 'd["by"]')"
	expect "$4: failures" "$(field "$result" 'd["failed"]')" = 0
	expect "$4: counts" "$(field "$result" "$EVEN")" = "[100, 100, 200, 500]"
}
test_weighted_round_robin_is_exact_and_has_no_bursts() {
	WEIGHTS="500 200 100 100" use "algorithm: weighted-round-robin" && for_each_service by_weight_and_smooth
}

# ---- least connections ----

# Of 160 connections every fourth lasts: in turn, all that last meet on one backend.
lasting() { # ADDRESS ENDING
	traffic ask-tcp "$1" 7000 requests 160 every 4 linger $LINGER ending "$2"
}
test_least_conn_is_needed_as_round_robin_piles_up_connections_that_last() {
	local result
	use "algorithm: round-robin" || return 1
	result=$(lasting $VIP4 fin)
	echo "# $(field "$result" 'd["stayed"]')"
	expect "backends with connections that last" "$(field "$result" 'len(d["stayed"])')" = 1
}

active_is() { # SERVICE LIST
	[ "$(backend_field "$1" active)" = "$2" ]
}
least_conn_spreads() { # SERVICE ADDRESS ENDING
	local load file=$WORK/lasting-$1-$3.json
	lasting "$2" "$3" >"$file" &
	load=$!
	lab_wait_for 5 "$1: ten active flows on each backend" active_is "$1" "[10, 10, 10, 10]" || return 1
	wait $load
	echo "# $1: $(json 'd["by"]' <"$file"), those that last: $(json 'd["stayed"]' <"$file")"
	expect "$1: failures" "$(json 'd["failed"]' <"$file")" = 0
	expect "$1: those that last" "$(json 'sorted(d["stayed"].values())' <"$file")" = "[10, 10, 10, 10]"
}

test_least_conn_spreads_connections_that_last_and_active_counts_end_at_zero() {
	# With an idle time that no test sees, only FIN and RST end a flow; a client that fell silent is over after that time.
	IDLE=30m use "algorithm: least-conn" || return 1
	least_conn_spreads tcp4 $VIP4 fin && least_conn_spreads tcp6 $VIP6 rst || return 1
	lab_wait_for 2 "tcp4: FIN" active_is tcp4 "[0, 0, 0, 0]" && lab_wait_for 2 "tcp6: RST" active_is tcp6 "[0, 0, 0, 0]" || return 1
	use "algorithm: least-conn" || return 1
	traffic ask-tcp $VIP4 7000 requests 80 ending silent >/dev/null
	expect "tcp4: active flows after silent ends" "$(backend_field tcp4 active)" = "[20, 20, 20, 20]"
	lab_wait_for 12 "tcp4: idle" active_is tcp4 "[0, 0, 0, 0]"
}

least_conn_udp() { # ADDRESS SERVICE
	local result
	udp_ports udp 200
	result=$(traffic ask-udp "$1" 5353 requests 200 $PORTS)
	expect "$2: counts" "$(field "$result" "$EVEN")" = "[50, 50, 50, 50]"
}
test_least_conn_counts_udp_flows_until_they_are_idle() {
	use "algorithm: least-conn" || return 1
	least_conn_udp "$LAB_UDP4" udp4 && least_conn_udp "$LAB_UDP6" udp6 || return 1
	lab_wait_for 12 "udp4: idle" active_is udp4 "[0, 0, 0, 0]" && lab_wait_for 3 "udp6: idle" active_is udp6 "[0, 0, 0, 0]"
}

# Weights 2 to 1 to 1 to 1: active flows follow.
test_least_conn_goes_by_active_flows_per_weight() {
	local status=0
	WEIGHTS="200 100 100 100" use "algorithm: least-conn" || return 1
	load_start weighted hold $VIP4 7000 connections 50
	lab_wait_for 5 "active flows by weight" active_is tcp4 "[20, 10, 10, 10]" || {
		backend_field tcp4 active
		status=1
	}
	load_end weighted
	return $status
}

# With nothing to choose between them, one after the other gets flows rather than the first alone.
test_least_conn_shares_among_the_equally_idle() {
	local result
	use "algorithm: least-conn" || return 1
	result=$(traffic ask-tcp $VIP4 7000 requests 200)
	echo "# $(field "$result" 'd["by"]')"
	expect "backends that serve" "$(field "$result" 'len(d["by"])')" = $COUNT
}

# ---- by hash ----

# Who answers each of so many clients, in order, as JSON: ["b1", "b3", ...]; null where not one backend answered all flows.
map_clients() { # PROTOCOL ADDRESS PORT FAMILY CLIENTS [FLOWS]
	local i
	for i in $(seq "$5"); do
		udp_ports "$1" "${6:-5}"
		traffic "ask-$1" "$2" "$3" from "$(client "$i" "$4")" requests "${6:-5}" $PORTS
	done | sed '1s/^/[/; $!s/$/,/; $s/$/]/' | json '__import__("json").dumps([a["sequence"][0] if len(a["by"]) == 1 and not a["failed"] else None for a in d])'
}
remember() { # WHEN PROTOCOL ADDRESS PORT SERVICE: the map in $WORK/map-SERVICE-WHEN
	map_clients "$2" "$3" "$4" "${5: -1}" $CLIENTS 3 >"$WORK/map-$5-$1"
}
same_backend_for_all_flows_of_a_client() { # PROTOCOL ADDRESS PORT SERVICE
	remember before "$@"
	echo "# $4: $(cat "$WORK/map-$4-before")"
	expect "$4: clients with more than one backend" "$(json 'd.count(None)' <"$WORK/map-$4-before")" = 0
	expect "$4: all backends in use" "$(json 'len(set(d))' <"$WORK/map-$4-before")" = $COUNT
}
only_clients_of_b2_moved() { # PROTOCOL ADDRESS PORT SERVICE
	local both
	remember after "$@"
	both="[$(cat "$WORK/map-$4-before"), $(cat "$WORK/map-$4-after")]"
	expect "$4: clients of b2, which died" "$(field "$both" '"b2" in d[0] and "b2" not in d[1] and None not in d[1]')" = True
	# Maglev moves some of the others' slots: under two in a hundred, none or one of these clients.
	expect "$4: others' clients that moved" "$(field "$both" 'sum(a != b for a, b in zip(*d) if a != "b2")')" -le 1
}
start_nginx() { lab_spawn "nginx-b$1" in_ns "b$1" nginx -c "$WORK/b$1/nginx.conf"; }

test_source_hash_keeps_a_client_on_one_backend_and_a_lost_one_moves_only_its_own() {
	use "algorithm: source-hash" && for_each_service same_backend_for_all_flows_of_a_client || return 1
	lab_wait_for 30 "slots to settle after the change" nothing_in_transition || return 1
	lab_kill nginx-b2 KILL
	lab_wait_for 5 "b2 to be down" backends_up $((4 * (COUNT - 1))) || return 1
	for_each_service only_clients_of_b2_moved
	start_nginx 2
	lab_wait_for 10 "b2 to be back" backends_up $((4 * COUNT))
}

# With /28 and /124 the clients are of two and of three networks: .101-.111, .112-.120; ::101-::109, ::110-::119, ::120.
test_affinity_mask_makes_the_clients_of_a_prefix_one() {
	local map
	use "algorithm: source-hash" "affinity-mask: { v4: 28, v6: 124 }" || return 1
	map=$(map_clients tcp $VIP4 7000 4 $CLIENTS 3)
	echo "# tcp4: $map"
	expect "tcp4: backends of each network" "$(field "$map" '[len(set(n)) for n in (d[:11], d[11:])]')" = "[1, 1]"
	map=$(map_clients tcp $VIP6 7000 6 $CLIENTS 3)
	echo "# tcp6: $map"
	expect "tcp6: backends of each network" "$(field "$map" '[len(set(n)) for n in (d[:9], d[9:19], d[19:])]')" = "[1, 1, 1]"
	expect "tcp6: networks are told apart" "$(field "$map" 'len(set(d))')" -gt 1
}

# Who answers at each of eight ports, from client ports that are the same for each: a list a port.
by_port() { # VIP
	local port
	for port in {7101..7108}; do traffic ask-tcp "$1" $port requests 8 from-port 30000; done |
		sed '1s/^/[/; $!s/$/,/; $s/$/]/' | json '__import__("json").dumps([a["sequence"] for a in d])'
}
leave_out() { # HASH EXPRESSION-ON-THE-LISTS
	local vip lists
	PORT=any use "algorithm: maglev" "hash: $1" || return 1
	for vip in $VIP4 $VIP6; do
		lists=$(by_port $vip)
		expect "hash: $1: at $vip: $lists" "$(field "$lists" "all(len(l) == 8 for l in d) and $2")" = True
	done
}
test_maglev_without_ports_goes_by_the_address() { leave_out "[]" 'len(set(sum(d, []))) == 1'; }
test_maglev_with_the_destination_port_leaves_out_the_source_port() {
	leave_out "[destination-port]" 'all(len(set(l)) == 1 for l in d) and len(set(sum(d, []))) > 1'
}
test_maglev_with_the_source_port_leaves_out_the_destination_port() {
	leave_out "[source-port]" 'all(l == d[0] for l in d) and len(set(d[0])) > 1'
}
test_maglev_goes_by_both_ports_unless_told_otherwise() {
	leave_out "[source-port, destination-port]" 'any(l != d[0] for l in d) and all(len(set(l)) > 1 for l in d)'
}

# ---- least response time ----

b1_is_measured() { # SERVICE OPERATOR MICROSECONDS
	test "$(backend_field "$1" latency_us | json 'd[0]')" "$2" "$3"
}
# Percent of new connections that b1 gets, while 150 or so are open; IPv4 and IPv6.
shares_of_b1() {
	traffic load-tcp $VIP4 7000 requests 300 rate 300 every 1 linger 0.5 >"$WORK/share4.json" &
	local load=$!
	traffic load-tcp $VIP6 7000 requests 300 rate 300 every 1 linger 0.5 >"$WORK/share6.json"
	wait $load
	field "[$(cat "$WORK/share4.json"), $(cat "$WORK/share6.json")]" '[-1 if r["failed"] else 100 * r["by"].get("b1", 0) // 300 for r in d]'
}
all_shares() { # OPERATOR NUMBER: of both families; $SHARES has them
	SHARES=$(shares_of_b1)
	[ "$(field "$SHARES" "all(0 <= n and n $1 $2 for n in d)")" = True ]
}
shares_become() { # WHAT OPERATOR NUMBER
	lab_wait_for 20 "b1's shares $1 to be $2 $3 %" all_shares "$2" "$3" || {
		echo "$SHARES"
		return 1
	}
	echo "# b1's shares in % $1: $SHARES"
}
# Only the answers to health probes become slow: they take 50 ms, and 550 ms when slow, which no busy machine is mistaken for.
test_least_response_time_takes_its_share_from_a_slow_backend_and_gives_it_back() {
	local service
	HEALTH=$SLOWABLE use "algorithm: least-response-time" || return 1
	for service in tcp4 tcp6; do lab_wait_for 10 "$service: four measured backends" measured $service || return 1; done
	shares_become "before" '>=' 15 || return 1
	kill -USR1 "$(cat "$WORK/slow-b1.pid")"
	for service in tcp4 tcp6; do lab_wait_for 10 "$service: 500 ms" b1_is_measured $service -ge 500000 || return 1; done
	shares_become "when slow" '<=' 9 || return 1
	kill -USR2 "$(cat "$WORK/slow-b1.pid")"
	for service in tcp4 tcp6; do lab_wait_for 40 "$service: under 100 ms" b1_is_measured $service -le 100000 || return 1; done
	shares_become "afterwards" '>=' 11
}
measured() { backend_field "$1" latency_us | json 'all(49000 < l for l in d)' | grep -q True; }

# ---- affinity ----

AFFINE="affinity: client-ip"
TIMEOUT="affinity-timeout: $IDLE"

affine_map() { # WHEN PROTOCOL ADDRESS PORT SERVICE
	map_clients "$2" "$3" "$4" "${5: -1}" 7 4 >"$WORK/affine-$5-$1"
	echo "# $5: $(cat "$WORK/affine-$5-$1")"
	expect "$5: clients on more than one backend" "$(json 'd.count(None)' <"$WORK/affine-$5-$1")" = 0
}
remembered() { affine_map before "$1" "$2" "$3" "$4" && affine_map again "$1" "$2" "$3" "$4" && cmp "$WORK/affine-$4-before" "$WORK/affine-$4-again"; }
forgotten() { # SERVICE EXPRESSION: of the maps before and after
	local both
	both="[$(cat "$WORK/affine-$1-before"), $(cat "$WORK/affine-$1-after")]"
	expect "$1: after the timeout" "$(field "$both" "$2")" = True
}
after_timeout() { affine_map after "$1" "$2" "$3" "$4" && forgotten "$4" "$EXPRESSION"; }

# Seven clients take seven turns, so the second time each gets another backend.
test_affinity_keeps_a_client_on_its_backend_in_round_robin_until_the_timeout() {
	use "algorithm: round-robin" "$AFFINE" "$TIMEOUT" && for_each_service remembered || return 1
	sleep $((IDLE_SECONDS + 2 * LAB_SLOWDOWN + 1))
	EXPRESSION='all(a != b for a, b in zip(*d))' for_each_service after_timeout
}
test_affinity_keeps_a_client_on_its_backend_in_maglev_until_the_timeout() {
	use "algorithm: maglev" "$AFFINE" "$TIMEOUT" && for_each_service remembered || return 1
	sleep $((IDLE_SECONDS + 2 * LAB_SLOWDOWN + 1))
	EXPRESSION='d[0] != d[1]' for_each_service after_timeout
}
# The first client's connections stay on one backend that has more than all others, for as long as it is remembered.
test_affinity_keeps_a_client_on_its_backend_in_least_conn_until_the_timeout() {
	local first=() later=() vip family result
	use "algorithm: least-conn" "$AFFINE" "$TIMEOUT" || return 1
	for family in 4 6; do
		vip=VIP$family
		load_start affine-lc$family hold "${!vip}" 7000 connections 6 interval 0.4 from "$(client 1 $family)"
		lab_wait_for 5 "connections" grep -q "6 connections open" "$WORK/affine-lc$family.err" || return 1
	done
	sleep 1 # and each has asked
	for family in 4 6; do
		vip=VIP$family
		first[family]=$(map_clients tcp "${!vip}" 7000 $family 1)
	done
	sleep $((IDLE_SECONDS + 2 * LAB_SLOWDOWN))
	for family in 4 6; do
		vip=VIP$family
		later[family]=$(map_clients tcp "${!vip}" 7000 $family 1)
	done
	for family in 4 6; do
		load_end affine-lc$family
		result=$(cat "$WORK/affine-lc$family.json")
		echo "# IPv$family: first ${first[family]}, after the timeout ${later[family]}, held: $(field "$result" 'd["by"]')"
		expect "IPv$family: the busiest, as the client is remembered" "${first[family]}" = "[\"$(field "$result" '"+".join(d["by"])')\"]"
		expect "IPv$family: another, as it is not" "${later[family]}" != "${first[family]}"
		expect "IPv$family: one backend" "${later[family]}" != "[null]"
	done
}

set_up() {
	lab_need_root
	lab_up $COUNT || return 1
	echo 10000 >"$WORK/next-port"
	for i in $(seq $COUNT); do
		lab_backend_servers "$i" $VIP4 $VIP6 "$LAB_UDP4" "$LAB_UDP6" || return 1
		lab_spawn "slow-b$i" in_ns "b$i" "$BUILD/tests/e2e/traffic" serve-http :: 8090 name "b$i" delay 0.05 slow 0.5
		lab_spawn "ports-b$i" in_ns "b$i" "$BUILD/tests/e2e/traffic" serve-tcp :: 7101 ports 8 name "b$i"
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
