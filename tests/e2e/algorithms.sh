#!/bin/bash
# Every algorithm on real traffic, IPv4 and IPv6, TCP and UDP: reloads give the services one
# algorithm after the other.
. "$(dirname "$0")/lib.sh"

COUNT=4
NO_SAMPLE="telemetry: { sample: off }" # least-response-time by checks; by connects: response.sh
IDLE_SECONDS=$((6 * LAB_SLOWDOWN))
IDLE=${IDLE_SECONDS}s
CLIENTS=20 # more addresses of the client: 198.51.100.101 and 2001:db8:c::101 are the first
SLOWABLE="{ type: http, port: 8090, path: /, interval: 1s, timeout: 950ms, rise: 2, fall: 4 }"

# Reloads with these keys in each service.
use() { # KEY...
	local keys
	keys=$(printf '%s\n' "$@" "idle-timeout: { tcp: $IDLE, udp: $IDLE }")
	{
		lab_config_head
		echo "$NO_SAMPLE"
		echo "services:"
		config_service tcp4 $VIP4 tcp "${PORT:-7000}" 4 $COUNT "$keys"
		config_service tcp6 $VIP6 tcp "${PORT:-7000}" 6 $COUNT "$keys"
		config_service udp4 "$LAB_UDP4" udp 5353 4 $COUNT "$keys"
		config_service udp6 "$LAB_UDP6" udp 5353 6 $COUNT "$keys"
	} >"$WORK/lbd.yaml"
	end_drains
	lbctl reload && lab_wait_for 10 "all backends to be up" backends_up $((4 * COUNT))
}

client() { # N FAMILY: its address
	case $2 in
	4) echo "198.51.100.$((100 + $1))" ;;
	6) echo "2001:db8:c::$((100 + $1))" ;;
	esac
}

# The four services as "PROTOCOL ADDRESS PORT SERVICE".
for_each_service() { # FUNCTION [ARGUMENT]...
	local function=$1
	shift
	"$function" tcp $VIP4 7000 tcp4 "$@" && "$function" tcp $VIP6 7000 tcp6 "$@" &&
		"$function" udp "$LAB_UDP4" 5353 udp4 "$@" &&
		"$function" udp "$LAB_UDP6" 5353 udp6 "$@"
}

# A number of each backend of a service, in the order of their addresses: a list.
of_backends() { # SERVICE FIELD
	lbctl backends "$1" --json | json '
		.backends | sort_by(.address | [scan("[0-9]+")] | last | tonumber)
		| map(.[$field] // error("no " + $field))' --arg field "$2"
}

# Of a report: how many flows each backend got, the fewest first.
COUNTS='[.by[]] | sort'

# ---- round robin ----

even_to_a_turn() { # PROTOCOL ADDRESS PORT SERVICE
	local result
	new_ports 402 || return 1
	result=$(traffic "load-$1" "$2" "$3" requests 402 rate 800 $PORTS)
	echo "# $4: $(field "$result" .by)"
	none_failed "$4: failures" "$result"
	expect "$4: counts" "$(field "$result" "$COUNTS")" = "[100,100,101,101]"
}
test_round_robin_gives_each_backend_its_count_to_a_turn() {
	use "algorithm: round-robin" && for_each_service even_to_a_turn
}

# Two clients, each on a CPU of its own, which also runs the program on their packets.
test_round_robin_is_exact_across_cpus() {
	local cpu loads=()
	[ "$(nproc)" -gt 1 ] || { skip "needs two CPUs"; return; }
	use "algorithm: round-robin" || return 1
	new_ports 600 || return 1
	for cpu in 0 1; do
		# shellcheck disable=SC2086
		in_ns client taskset -c $cpu "$BUILD/tests/e2e/traffic" \
			load-tcp $VIP4 7000 requests 600 rate 1500 \
			from "$(client $((1 + cpu)) 4)" $PORTS >"$WORK/cpu$cpu.json" &
		loads+=($!)
	done
	wait "${loads[@]}"
	expect "failures of each" "$(json 'map(.failed)' -s "$WORK"/cpu[01].json)" = "[0,0]" ||
		json 'map(.last_failure)' -s "$WORK"/cpu[01].json
	expect "counts of both" "$(json '
		[.[].by | to_entries[]] | group_by(.key) | map(map(.value) | add)' \
		-s "$WORK"/cpu[01].json)" = "[300,300,300,300]"
}

each_in_turn() { # PROTOCOL ADDRESS PORT SERVICE
	local result
	new_ports 24 || return 1
	result=$(traffic "ask-$1" "$2" "$3" requests 24 $PORTS)
	expect "$4: all different among any four in a row" \
		"$(field "$result" '
			.sequence as $all
			| all(range(21); . as $i | $all[$i:$i + 4] | unique | length == 4)')" = true
}
test_round_robin_goes_in_turn() {
	use "algorithm: round-robin" && for_each_service each_in_turn
}

holds_for_life() { # PROTOCOL ADDRESS PORT SERVICE: in the background
	local mode=hold
	[ "$1" = tcp ] || mode=hold-udp
	new_ports 41 || return 1
	load_start "life-$4" $mode "$2" "$3" connections 41 interval 0.5 $PORTS
}
held_for_life() { grep -q "41 connections open" "$WORK/life-$4.err"; }
stayed_for_life() { # PROTOCOL ADDRESS PORT SERVICE
	load_end "life-$4"
	expect "$4: counts" "$(report_field "life-$4" "$COUNTS")" = "[10,10,10,11]"
	expect "$4: broken or moved" "$(broken_or_moved "life-$4")" = 0
}
test_round_robin_flows_stay_for_life() {
	use "algorithm: round-robin" || return 1
	for_each_service holds_for_life
	lab_wait_for 5 "flows to be held" for_each_service held_for_life || return 1
	sleep 1 # and each has asked
	lbctl backend weight tcp4 "$(backend_address 1 4)" 1 >/dev/null &&
		lbctl drain tcp6 "$(backend_address 2 6)" >/dev/null &&
		lbctl drain udp4 "$(backend_address 2 4)" >/dev/null &&
		lbctl backend weight udp6 "$(backend_address 3 6)" 0 >/dev/null || return 1
	traffic load-tcp $VIP4 7000 requests 500 rate 500 >/dev/null
	sleep 1.5
	for_each_service stayed_for_life
}

# ---- weighted round robin ----

# With weights 5, 2, 1, 1 any nine flows in a row are shared like that, and the first backend never
# gets three in a row.
by_weight_and_smooth() { # PROTOCOL ADDRESS PORT SERVICE
	local result
	new_ports 45 || return 1
	result=$(traffic "ask-$1" "$2" "$3" requests 45 $PORTS)
	echo "# $4: $(field "$result" '.sequence[:18] | join(" ")')"
	expect "$4: exact in every nine" "$(field "$result" '
		.sequence as $all
		| all(range(37); . as $i | $all[$i:$i + 9]
			| [("b1", "b2", "b3", "b4") as $name | map(select(. == $name)) | length]
			== [5, 2, 1, 1])')" = true
	expect "$4: b1 three times in a row" \
		"$(field "$result" '.sequence | join(" ") | contains("b1 b1 b1")')" = false
	new_ports 900 || return 1
	result=$(traffic "load-$1" "$2" "$3" requests 900 rate 1500 $PORTS)
	echo "# $4: $(field "$result" .by)"
	none_failed "$4: failures" "$result"
	expect "$4: counts" "$(field "$result" "$COUNTS")" = "[100,100,200,500]"
}
test_weighted_round_robin_is_exact_and_has_no_bursts() {
	WEIGHTS="500 200 100 100" use "algorithm: weighted-round-robin" &&
		for_each_service by_weight_and_smooth
}

# ---- least connections ----

# Of 160 connections every fourth lasts. Among four backends in turn, one gets all that last.
lasting() { # ADDRESS ENDING LINGER
	traffic ask-tcp "$1" 7000 requests 160 every 4 linger "$3" ending "$2"
}
test_least_conn_is_needed_as_round_robin_piles_up_connections_that_last() {
	local result
	use "algorithm: round-robin" || return 1
	result=$(lasting $VIP4 fin 1)
	echo "# $(field "$result" .stayed)"
	expect "backends with connections that last" "$(field "$result" '.stayed | length')" = 1
}

active_is() { # SERVICE LIST
	[ "$(of_backends "$1" active)" = "$2" ]
}
# On a busy machine the next connection may come while the FIN of the last one waits: then one backend has one more.
readonly EVEN='(add == 40 and min >= 9 and max <= 11)'
active_is_even() { # SERVICE
	[ "$(of_backends "$1" active | jq "$EVEN")" = true ]
}
least_conn_spreads() { # SERVICE ADDRESS ENDING
	local load name=lasting-$1-$3
	(LAB_EXEC="exec" lasting "$2" "$3" 0) >"$WORK/$name.json" &
	load=$!
	lab_wait_for 30 "$1: ten active flows on each backend" active_is_even "$1" || {
		of_backends "$1" active
		kill -USR1 $load
		return 1
	}
	kill -USR1 $load
	wait $load
	echo "# $1: $(report_field "$name" .by), those that last: $(report_field "$name" .stayed)"
	expect "$1: failures" "$(report_field "$name" .failed)" = 0
	expect "$1: those that last are even" \
		"$(report_field "$name" "[.stayed[]] | $EVEN")" = true
}

test_least_conn_spreads_connections_that_last_and_active_counts_end_at_zero() {
	# With an idle time longer than the test, only FIN and RST end a flow.
	IDLE=30m use "algorithm: least-conn" || return 1
	least_conn_spreads tcp4 $VIP4 fin && least_conn_spreads tcp6 $VIP6 rst || return 1
	lab_wait_for 2 "tcp4: FIN" active_is tcp4 "[0,0,0,0]" &&
		lab_wait_for 2 "tcp6: RST" active_is tcp6 "[0,0,0,0]" || return 1
	# A flow whose client goes silent is active until the idle time is over. From an address that
	# no other test uses: the backends keep these connections, and would refuse the SYN of a
	# later one from the same port.
	use "algorithm: least-conn" || return 1
	traffic ask-tcp $VIP4 7000 requests 80 ending silent \
		from "$(client $((CLIENTS + 1)) 4)" >/dev/null
	expect "tcp4: active flows after silent ends" "$(of_backends tcp4 active)" = "[20,20,20,20]"
	lab_wait_for 12 "tcp4: idle" active_is tcp4 "[0,0,0,0]"
}

least_conn_udp() { # ADDRESS SERVICE
	local result
	# flows of earlier tests count until they are idle
	lab_wait_for 12 "$2: no active flow" active_is "$2" "[0,0,0,0]" || return 1
	new_ports 200 || return 1
	result=$(traffic ask-udp "$1" 5353 requests 200 $PORTS)
	expect "$2: counts" "$(field "$result" "$COUNTS")" = "[50,50,50,50]"
}
test_least_conn_counts_udp_flows_until_they_are_idle() {
	use "algorithm: least-conn" || return 1
	least_conn_udp "$LAB_UDP4" udp4 && least_conn_udp "$LAB_UDP6" udp6 || return 1
	lab_wait_for 12 "udp4: idle" active_is udp4 "[0,0,0,0]" &&
		lab_wait_for 3 "udp6: idle" active_is udp6 "[0,0,0,0]"
}

# With weights 2, 1, 1, 1 the active flows are shared like that.
test_least_conn_goes_by_active_flows_per_weight() {
	local status=0
	WEIGHTS="200 100 100 100" use "algorithm: least-conn" || return 1
	load_start weighted hold $VIP4 7000 connections 50
	lab_wait_for 5 "active flows by weight" active_is tcp4 "[20,10,10,10]" || {
		of_backends tcp4 active
		cat "$WORK/weighted.err"
		status=1
	}
	load_end weighted
	return $status
}

# Backends that are equally idle get flows in turn, rather than the first backend all of them.
test_least_conn_shares_among_the_equally_idle() {
	local result
	use "algorithm: least-conn" || return 1
	result=$(traffic ask-tcp $VIP4 7000 requests 200)
	echo "# $(field "$result" .by)"
	expect "backends that serve" "$(field "$result" '.by | length')" = $COUNT
}

# ---- by hash ----

# Which backend answers each of so many clients, in order, as JSON: ["b1", "b3", ...]. Null stands
# for a client whose flows more than one backend answered, or a flow of which failed.
map_clients() { # PROTOCOL ADDRESS PORT FAMILY CLIENTS [FLOWS]
	local i
	for i in $(seq "$5"); do
		new_ports "${6:-5}" || return 1
		traffic "ask-$1" "$2" "$3" from "$(client "$i" "$4")" requests "${6:-5}" $PORTS
	done | json '
		if length != $clients then error("\(length) clients") else . end
		| map(if .failed == 0 and (.by | length) == 1 then .sequence[0] else null end)' \
		-s --argjson clients "$5"
}
# Of two maps of the same clients, [BEFORE, AFTER].
of_two_maps() { # NAME FILTER: maps in $WORK/NAME-before and $WORK/NAME-after
	json "if length == 2 and (.[0] | length) == (.[1] | length) and (.[0] | length) > 0
		then $2 else error(\"expected two maps of the same clients\") end" \
		-s "$WORK/$1-before" "$WORK/$1-after"
}
remember() { # WHEN PROTOCOL ADDRESS PORT SERVICE: the map in $WORK/map-SERVICE-WHEN
	map_clients "$2" "$3" "$4" "${5: -1}" $CLIENTS 3 >"$WORK/map-$5-$1"
}
same_backend_for_all_flows_of_a_client() { # PROTOCOL ADDRESS PORT SERVICE
	remember before "$@"
	echo "# $4: $(cat "$WORK/map-$4-before")"
	expect "$4: clients with more than one backend" \
		"$(json "$NULLS" <"$WORK/map-$4-before")" = 0
	expect "$4: backends in use" "$(json 'unique | length' <"$WORK/map-$4-before")" = $COUNT
}
NULLS='map(select(. == null)) | length'
only_clients_of_b2_moved() { # PROTOCOL ADDRESS PORT SERVICE
	remember after "$@"
	expect "$4: clients of b2, which died, to be on other backends:" "$(of_two_maps "map-$4" '
		any(.[0][]; . == "b2") and all(.[1][]; . != "b2" and . != null)')" = true
	# Maglev moves 2 to 3 % of the other backends' slots (user/common/ring_size.h): with the lab's seed none of these
	# clients over TCP, two of udp4 and one of udp6. UDP follows when the slots have settled, after an idle time: a slow
	# machine asks later than that.
	echo "# $4: $(cat "$WORK/map-$4-after") without b2"
	expect "$4: clients of other backends that moved" "$(of_two_maps "map-$4" '
		transpose | map(select(.[0] != "b2" and .[0] != .[1])) | length')" -le 2
}

test_source_hash_keeps_a_client_on_one_backend_and_a_lost_one_moves_only_its_own() {
	use "algorithm: source-hash" &&
		for_each_service same_backend_for_all_flows_of_a_client || return 1
	lab_wait_for 30 "slots to settle after the change" nothing_in_transition || return 1
	lab_kill nginx-b2 KILL
	lab_wait_for 5 "b2 to be down" backends_left $((4 * (COUNT - 1))) || return 1
	for_each_service only_clients_of_b2_moved
	lab_nginx_start 2
	lab_wait_for 10 "b2 to be back" backends_up $((4 * COUNT))
}

# With /28 the clients are in two networks: .101 to .111, .112 to .120. With /124 they are in three:
# ::101 to ::109, ::110 to ::119, ::120.
test_affinity_mask_makes_the_clients_of_a_prefix_one() {
	local map
	use "algorithm: source-hash" "affinity-mask: { v4: 28, v6: 124 }" || return 1
	map=$(map_clients tcp $VIP4 7000 4 $CLIENTS 3)
	echo "# tcp4: $map"
	expect "tcp4: backends of each network" \
		"$(field "$map" '[.[:11], .[11:] | unique | length]')" = "[1,1]"
	map=$(map_clients tcp $VIP6 7000 6 $CLIENTS 3)
	echo "# tcp6: $map"
	expect "tcp6: backends of all networks" "$(field "$map" 'unique | length')" -gt 1
}

# Which backends answer at each of eight ports, from the same eight client ports: a list a port.
by_port() { # VIP
	local port
	for port in {7101..7108}; do
		traffic ask-tcp "$1" $port requests 8 from-port 30000
	done | json 'map(.sequence)' -s
}
leave_out() { # HASH CONDITION: a jq filter of the lists
	local vip lists
	PORT=any use "algorithm: maglev" "hash: $1" || return 1
	for vip in $VIP4 $VIP6; do
		lists=$(by_port $vip)
		expect "hash: $1: at $vip: $lists" \
			"$(field "$lists" "map(length) == [range(8) | 8] and ($2)")" = true
	done
}
test_maglev_without_ports_goes_by_the_address() { leave_out "[]" 'add | unique | length == 1'; }
test_maglev_with_the_destination_port_leaves_out_the_source_port() {
	leave_out "[destination-port]" \
		'all(.[]; unique | length == 1) and (add | unique | length > 1)'
}
test_maglev_with_the_source_port_leaves_out_the_destination_port() {
	leave_out "[source-port]" '(unique | length == 1) and (.[0] | unique | length > 1)'
}
test_maglev_goes_by_both_ports_by_default() {
	leave_out "[source-port, destination-port]" \
		'(unique | length > 1) and all(.[]; unique | length > 1)'
}

# ---- least response time ----

b1_is_measured() { # SERVICE OPERATOR MICROSECONDS
	test "$(of_backends "$1" latency_us | json '.[0]')" "$2" "$3"
}
# Percent of new connections that b1 gets, while 150 or so are open: [IPv4, IPv6]. Failed requests
# make it -1.
shares_of_b1() {
	traffic load-tcp $VIP4 7000 requests 300 rate 300 every 1 linger 0.5 >"$WORK/share4.json" &
	local load=$!
	traffic load-tcp $VIP6 7000 requests 300 rate 300 every 1 linger 0.5 >"$WORK/share6.json"
	wait $load
	json 'map(if .failed == 0 then (.by.b1 // 0) * 100 / 300 | floor else -1 end)' \
		-s "$WORK/share4.json" "$WORK/share6.json"
}
all_shares() { # OPERATOR NUMBER: of both families; $SHARES has them
	SHARES=$(shares_of_b1)
	[ "$(field "$SHARES" "length == 2 and all(.[]; . >= 0 and . $1 $2)")" = true ]
}
shares_become() { # WHAT OPERATOR NUMBER
	lab_wait_for 20 "b1's shares $1 to be $2 $3 %" all_shares "$2" "$3" || {
		echo "$SHARES"
		return 1
	}
	echo "# b1's shares in % $1: $SHARES"
}
# Only the answers to health probes become slow: they take 50 ms, and 550 ms when slow. That is more
# than a busy machine adds.
test_least_response_time_takes_its_share_from_a_slow_backend_and_gives_it_back() {
	local service
	HEALTH=$SLOWABLE use "algorithm: least-response-time" || return 1
	for service in tcp4 tcp6; do
		lab_wait_for 10 "$service: four measured backends" measured $service || return 1
	done
	shares_become "before" '>=' 15 || return 1
	kill -USR1 "$(cat "$WORK/slow-b1.pid")"
	for service in tcp4 tcp6; do
		lab_wait_for 10 "$service: 500 ms" b1_is_measured $service -ge 500000 || return 1
	done
	shares_become "when slow" '<=' 9 || return 1
	kill -USR2 "$(cat "$WORK/slow-b1.pid")"
	for service in tcp4 tcp6; do
		lab_wait_for 40 "$service: under 100 ms" \
			b1_is_measured $service -le 100000 || return 1
	done
	shares_become "afterwards" '>=' 11
}
measured() { # SERVICE
	[ "$(of_backends "$1" latency_us |
		json 'length == $count and all(.[]; . > 49000)' --argjson count $COUNT)" = true ]
}

# ---- affinity ----

AFFINE="affinity: client-ip"
TIMEOUT="affinity-timeout: $IDLE"

affine_map() { # WHEN PROTOCOL ADDRESS PORT SERVICE
	map_clients "$2" "$3" "$4" "${5: -1}" 7 4 >"$WORK/affine-$5-$1"
	echo "# $5: $(cat "$WORK/affine-$5-$1")"
	expect "$5: clients on more than one backend" \
		"$(json "$NULLS" <"$WORK/affine-$5-$1")" = 0
}
remembered() { # PROTOCOL ADDRESS PORT SERVICE
	affine_map before "$@" && affine_map again "$@" &&
		cmp "$WORK/affine-$4-before" "$WORK/affine-$4-again"
}
forgotten() { # CONDITION PROTOCOL ADDRESS PORT SERVICE: a jq filter of the maps before and after
	affine_map after "${@:2}" &&
		expect "$5: clients after the timeout: $1:" "$(of_two_maps "affine-$5" "$1")" = true
}

# Seven clients take seven turns, so the second time each gets another backend.
test_affinity_keeps_a_client_on_its_backend_in_round_robin_until_the_timeout() {
	use "algorithm: round-robin" "$AFFINE" "$TIMEOUT" && for_each_service remembered || return 1
	sleep $((IDLE_SECONDS + 2 * LAB_SLOWDOWN + 1))
	for_each_service forgotten_in_turn
}
forgotten_in_turn() { forgotten 'transpose | all(.[]; .[0] != .[1])' "$@"; }
test_affinity_keeps_a_client_on_its_backend_in_maglev_until_the_timeout() {
	use "algorithm: maglev" "$AFFINE" "$TIMEOUT" && for_each_service remembered || return 1
	sleep $((IDLE_SECONDS + 2 * LAB_SLOWDOWN + 1))
	for_each_service forgotten_by_some
}
forgotten_by_some() { forgotten '.[0] != .[1]' "$@"; }
# While the client is remembered, its connections stay on one backend, although that has the most.
test_affinity_keeps_a_client_on_its_backend_in_least_conn_until_the_timeout() {
	local first=() later=() vip family held
	use "algorithm: least-conn" "$AFFINE" "$TIMEOUT" || return 1
	for family in 4 6; do
		vip=VIP$family
		load_start affine-lc$family hold "${!vip}" 7000 \
			connections 6 interval 0.4 from "$(client 1 $family)"
		lab_wait_for 5 "connections" \
			grep -q "6 connections open" "$WORK/affine-lc$family.err" || return 1
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
		held=$(report_field affine-lc$family '.by | keys')
		echo "# IPv$family: first ${first[family]}, after the timeout ${later[family]}"
		expect "IPv$family: backend of a new flow while the client is remembered" \
			"${first[family]}" = "$held"
		expect "IPv$family: backend of a new flow after the timeout" \
			"${later[family]}" != "${first[family]}"
		expect "IPv$family: backends after the timeout" "${later[family]}" != "[null]"
	done
}

set_up() {
	lab_with_servers $COUNT || return 1
	for i in $(seq $COUNT); do
		lab_spawn "slow-b$i" in_ns "b$i" "$BUILD/tests/e2e/traffic" \
			serve-http :: 8090 name "b$i" delay 0.05 slow 0.5
		lab_spawn "ports-b$i" in_ns "b$i" "$BUILD/tests/e2e/traffic" \
			serve-tcp :: 7101 name "b$i" ports 8
	done
	for i in $(seq $((CLIENTS + 1))); do
		in_ns client ip addr add "$(client "$i" 4)/24" dev eth0
		in_ns client ip addr add "$(client "$i" 6)/64" dev eth0 nodad
	done
	{
		lab_config_head
		echo "$NO_SAMPLE"
		echo "services: []"
	} >"$WORK/lbd.yaml"
	lab_lbd_start
}

set_up_or_end set_up
run_tests "$@"
