#!/bin/bash
# What tracking promises, whoever sends what: half-closed and silent connections, forged packets, checks that fail for a
# while, floods. Real servers answer; each connection says when it meets another one.
. "$(dirname "$0")/lib.sh"

COUNT=3      # backends
HELD=20      # connections of each kind
SILENCE=14   # seconds; longer than any state but an established flow's has ever been kept
CROWD=800    # connections, twice; more than one service gets of so small a flow table
PLACES=1k    # flows there is to be room for
FIRST=20000  # client ports of held connections: a forger finds them by these

# Each test has services of its own, so that no ring is still in a transition of another test's.
services() {
	local name
	echo "services:"
	HEALTH="$CHECK" config_service quiet $VIP4 tcp 7000 4 $COUNT "$(rr)"$'\nidle-timeout: { tcp: 3s }'
	for name in forged back late; do
		HEALTH="$CHECK" config_service $name-rr $VIP4 tcp "$(port_of $name-rr)" 4 $COUNT "$(rr)"
		HEALTH="$CHECK" config_service $name-maglev $VIP4 tcp "$(port_of $name-maglev)" 4 $COUNT ""
	done
	HEALTH="$CHECK" config_service sticky $VIP4 tcp 7005 4 $COUNT "$(rr)"$'\naffinity: client-ip'
	HEALTH="$CHECK" config_service crowd $VIP4 tcp 7006 4 $COUNT "$(rr)"
	HEALTH="$CHECK" config_service drained $VIP4 tcp "$(port_of drained)" 4 $COUNT ""
	HEALTH="$CHECK" config_service bystander $VIP4 tcp 7007 4 $COUNT "$(rr)"
}
CHECK='{ type: http, port: 80, path: /healthz, interval: 500ms, timeout: 450ms, rise: 2, fall: 3 }'
rr() { echo "algorithm: round-robin"; }
port_of() { # SERVICE
	case $1 in
	forged-rr) echo 7001 ;;
	forged-maglev) echo 7002 ;;
	back-rr) echo 7003 ;;
	back-maglev) echo 7004 ;;
	drained) echo 7008 ;;
	late-rr) echo 7100 ;;
	late-maglev) echo 7101 ;;
	esac
}

# ---- held connections ----

# Opens connections that ask once, and then only when they are told to.
held_open() { # NAME PORT [COUNT [OPTION VALUE]...]
	load_start "$1" hold $VIP4 "$2" connections "${3:-$HELD}" interval 0 timeout 30 "${@:4}"
	lab_wait_for 10 "the connections of $1" round_has_ended "$1" 1
}
round_has_ended() { grep -q "round $2 has ended" "$WORK/$1.err"; }

held_ask() { # ROUND NAME...
	local round=$1 name
	shift
	for name in "$@"; do kill -USR1 "$(cat "$WORK/$name.pid")"; done
	for name in "$@"; do lab_wait_for 30 "all answers to $name" round_has_ended "$name" "$round" || return 1; done
}

expect_none_moved() { # NAME...
	local name
	for name in "$@"; do
		load_end "$name"
		expect "connections of $name" "$(json 'd["opened"]' <"$WORK/$name.json")" = $HELD
		expect "broken or moved connections of $name" "$(json 'd["broken"] + d["moved"]' <"$WORK/$name.json")" = 0
	done
}

# ---- what lbd says ----

event() { lbctl stats --json | json "[e['count'] for e in d['events'] if e['name'] == '$1'][0]"; }
sent_packets() { lbctl stats --json | json "sum(r['packets'] for r in d['reasons'] if r['outcome'] == 'sent')"; }
in_transition() { # SERVICE: slots
	lbctl services --json | json "[s['slots_in_transition'] for s in d['services'] if s['name'] == '$1'][0]"
}
active_flows() { lbctl backends "$1" --json | json 'sum(b["active"] for b in d["backends"])'; }

# Moves most of the first backend's slots: flows that were there are older than the transition.
begin_transition() { # SERVICE
	lbctl backend weight "$1" 10.0.0.11 1 >/dev/null || return 1
	lab_wait_for 5 "slots of $1 in transition" has_transition "$1" || return 1
	echo "# $1: $(in_transition "$1") slots in transition"
}
has_transition() { [ "$(in_transition "$1")" -gt 0 ]; }

# ---- the promises ----

late_open() { # NAME PORT
	load_start "$1" half-close $VIP4 "$2" connections $HELD timeout $((SILENCE * 5))
	lab_wait_for 10 "the connections of $1" grep -q "$HELD connections open" "$WORK/$1.err"
}

# A half-closed connection is an established one (RFC 9293, 3.6): the client waits, and acknowledges what comes.
test_a_half_closed_connection_is_answered_late() {
	local name names="late-rr late-older late-newer"
	late_open late-rr "$(port_of late-rr)" || return 1
	late_open late-older "$(port_of late-maglev)" || return 1
	begin_transition late-maglev || return 1
	late_open late-newer "$(port_of late-maglev)" || return 1
	for name in $names; do kill -USR1 "$(cat "$WORK/$name.pid")"; done
	for name in $names; do
		wait "$(cat "$WORK/$name.pid")"
		echo "# $name: $(cat "$WORK/$name.json")"
		expect "whole answers ($name)" "$(json 'sum(d["whole"].values())' <"$WORK/$name.json")" = $HELD
	done
}

test_a_connection_silent_for_longer_than_the_idle_timeout_goes_on() {
	held_open quiet 7000 || return 1
	expect "active flows" "$(active_flows quiet)" -ge $HELD
	sleep 10
	lab_wait_for 10 "lbd to count no flow as active" no_flow_is_active quiet || return 1
	held_ask 2 quiet || return 1
	expect_none_moved quiet
}
no_flow_is_active() { [ "$(active_flows "$1")" = 0 ]; }

# The first backend fails its checks and no more than these: what answers them stops, the service's own server does not.
test_a_backend_that_is_back_within_the_idle_timeout_finds_its_connections() {
	held_open back-rr "$(port_of back-rr)" || return 1
	held_open back-maglev "$(port_of back-maglev)" || return 1
	kill -STOP "$(cat "$WORK/nginx-b1.pid")"
	lab_wait_for 10 "b1 to be down" backends_up $((BACKENDS_ALL - SERVICES)) || return 1
	expect "new flows on b1" "$(field "$(traffic load-tcp $VIP4 "$(port_of back-maglev)" rate 200 seconds 1)" 'd["by"].get("b1", 0)')" = 0
	kill -CONT "$(cat "$WORK/nginx-b1.pid")"
	lab_wait_for 10 "b1 to be back" backends_up $BACKENDS_ALL || return 1
	held_ask 2 back-rr back-maglev || return 1
	expect_none_moved back-rr back-maglev
	expect "connections of b1 (round-robin)" "$(json 'd["by"].get("b1", 0)' <"$WORK/back-rr.json")" -gt 0
	expect "connections of b1 (maglev)" "$(json 'd["by"].get("b1", 0)' <"$WORK/back-maglev.json")" -gt 0
}

# A packet of each kind on the tuples of connections of its own. Before that the older ones have shown that they live.
test_forged_rst_fin_and_syn_move_no_connection() {
	local kinds=(rst fin syn) kind i all=() older=() before
	for i in 0 1 2; do
		held_open "rr-${kinds[i]}" "$(port_of forged-rr)" $HELD from-port $((FIRST + 1000 * i)) || return 1
		held_open "older-${kinds[i]}" "$(port_of forged-maglev)" $HELD from-port $((FIRST + 1000 * i)) || return 1
		older+=("older-${kinds[i]}")
	done
	begin_transition forged-maglev || return 1
	held_ask 2 "${older[@]}" || return 1
	for i in 0 1 2; do
		held_open "newer-${kinds[i]}" "$(port_of forged-maglev)" $HELD from-port $((FIRST + 500 + 1000 * i)) || return 1
	done
	before=$(sent_packets)
	for i in 0 1 2; do
		kind=${kinds[i]}
		forge "rr-$kind" "$kind" forged-rr $((FIRST + 1000 * i)) || return 1
		forge "older-$kind" "$kind" forged-maglev $((FIRST + 1000 * i)) || return 1
		forge "newer-$kind" "$kind" forged-maglev $((FIRST + 500 + 1000 * i)) || return 1
		all+=("rr-$kind" "newer-$kind")
	done
	lab_wait_for 5 "the forged packets to be forwarded" sent_at_least $((before + 9 * HELD)) || return 1
	sleep $SILENCE
	held_ask 3 "${older[@]}" || return 1
	held_ask 2 "${all[@]}" || return 1
	expect_none_moved "${all[@]}" "${older[@]}"
}
forge() { # NAME KIND SERVICE FIRST-PORT
	local sent
	sent=$(in_ns client "$BUILD/tests/e2e/forge" $VIP4 "$(port_of "$3")" "$2" "$4" $(($4 + HELD - 1))) || return 1
	echo "# $sent forged $2 on connections of $1"
	expect "forged $2 ($1)" "$sent" = $HELD
}
sent_at_least() { [ "$(sent_packets)" -ge "$1" ]; }

# They are silent for longer than it takes until a SYN may open a new flow on a tuple that has ended.
test_a_forged_syn_moves_no_silent_connection_of_a_draining_backend() {
	held_open older-drained "$(port_of drained)" $HELD from-port $FIRST || return 1
	lbctl backend drain drained 10.0.0.11 >/dev/null || return 1
	lab_wait_for 5 "slots of drained in transition" has_transition drained || return 1
	held_ask 2 older-drained || return 1
	sleep 33
	forge older-drained syn drained $FIRST || return 1
	held_ask 3 older-drained || return 1
	expect_none_moved older-drained
	expect "connections of b1" "$(json 'd["by"].get("b1", 0)' <"$WORK/older-drained.json")" -gt 0
}

# New flows of the bystander, one after another: its algorithm sends each to the next backend, as long as it can.
bystander_takes_turns() { # BUT: so many may go by slot
	local result before by_slot
	before=$(event fallback_slot)
	result=$(traffic ask-tcp $VIP4 7007 requests $((HELD * COUNT)))
	by_slot=$(($(event fallback_slot) - before))
	echo "# bystander: $(field "$result" 'd["by"]'), $by_slot of them by slot"
	expect "failures" "$(field "$result" 'd["failed"]')" = 0
	expect "flows that went by slot" "$by_slot" -le "$1"
	expect "backends that had their turn" "$(field "$result" "sum(n >= $HELD - $1 for n in d['by'].values())")" = $COUNT
}

# Four times as many SYNs as there are places, from as many clients: nothing of them may stay.
test_a_flood_of_spoofed_syns_takes_no_place_from_another_service() {
	local i before syns
	syns=$((4 * $(lbctl status --json | json 'd["flows"]["capacity"]')))
	for i in $(seq $COUNT); do in_ns "b$i" ip route add blackhole 11.0.0.0/8; done # what answers the flood ends here
	in_ns client ping -qc 1 -W 5 198.51.100.1 >/dev/null || return 1 # flood finds the router among the neighbours
	before=$(sent_packets)
	in_ns client "$BUILD/tests/e2e/flood" eth0 $VIP4 7005 $syns $((20000 / LAB_SLOWDOWN)) || return 1
	lab_wait_for 5 "the flood to be forwarded" sent_at_least $((before + syns)) || return 1
	bystander_takes_turns 0
	expect "new flows without a place" "$(lbctl status --json | json 'd["flows"].get("without_place")')" = 0
	expect "warnings of a full table" "$(lbctl status | grep -c 'found no place')" = 0
}

# Real connections, more than one service gets places for. They go by slot, which status says; others have their share.
# Shares are set when the table is swept: the second half of the crowd comes after that, whenever lbd was started. A share
# is of the whole table, and a flow has sixteen places to choose from: in a table that is half full they may all be taken.
test_a_crowd_of_connections_leaves_other_services_their_share_and_status_warns() {
	local half
	held_open crowd-a 7006 $CROWD || return 1
	lab_wait_for 10 "a sweep" entries_at_least $CROWD || return 1
	held_open crowd-b 7006 $CROWD || return 1
	lab_wait_for 10 "status to warn" status_warns || return 1
	lbctl status | grep 'Warning' | sed 's/^ */# /'
	echo "# entries, capacity, without a place: $(lbctl status --json |
		json '[d["flows"][k] for k in ("entries", "capacity", "without_place")]')"
	bystander_takes_turns 6
	held_ask 2 crowd-a crowd-b || return 1
	for half in crowd-a crowd-b; do
		load_end $half
		expect "broken or moved connections ($half)" "$(json 'd["broken"] + d["moved"]' <"$WORK/$half.json")" = 0
	done
}
entries_at_least() { [ "$(lbctl status --json | json 'd["flows"]["entries"]')" -ge "$1" ]; }
status_warns() { lbctl status | grep -q 'Warning: .* found no place in the last minute'; }

SERVICES=11
BACKENDS_ALL=$((SERVICES * COUNT))
set_up() {
	local i
	lab_need_root
	lab_up $COUNT || return 1
	for i in $(seq $COUNT); do
		lab_backend_servers "$i" $VIP4 $VIP6 "$LAB_UDP4" "$LAB_UDP6" || return 1
		lab_spawn "more-b$i" in_ns "b$i" "$BUILD/tests/e2e/traffic" serve-tcp :: 7001 name "b$i" ports 8
		lab_spawn "late-rr-b$i" in_ns "b$i" "$BUILD/tests/e2e/traffic" serve-late :: 7100 name "b$i" delay $SILENCE
		lab_spawn "late-maglev-b$i" in_ns "b$i" "$BUILD/tests/e2e/traffic" serve-late :: 7101 name "b$i" delay $SILENCE
	done
	{
		lab_config_head
		echo "limits: { flows: $PLACES, slots: 1M }"
		services
	} >"$WORK/lbd.yaml"
	lab_lbd_start && lab_wait_for 10 "all to be up" backends_up $BACKENDS_ALL
}

set_up_or_end set_up
run_tests "$@"
