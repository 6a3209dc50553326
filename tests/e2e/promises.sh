#!/bin/bash
# What flow tracking promises: half-closed and silent connections, forged packets, checks that fail
# for a while, floods. Real servers answer, and a client notices when another one does.
. "$(dirname "$0")/lib.sh"

COUNT=3      # backends
HELD=20      # connections of each kind
SILENCE=14   # seconds; longer than any flow is kept that is not established
CROWD=800    # connections, twice; more than one service's share of so small a flow table
PLACES=1k    # capacity of the flow table
FIRST=20000  # the first client port of held connections, so that forged packets can name them

# Each test has its own services: no ring is still in transition because of another test.
services() {
	local name rr="algorithm: round-robin"
	echo "services:"
	service quiet 7000 "$rr"$'\nidle-timeout: { tcp: 3s }'
	for name in forged back late; do
		service $name-rr "$(port_of $name-rr)" "$rr"
		service $name-maglev "$(port_of $name-maglev)" ""
	done
	service sticky 7005 "$rr"$'\naffinity: client-ip'
	service crowd 7006 "$rr"
	service drained "$(port_of drained)" ""
	service bystander 7007 "$rr"
}
service() { config_service "$1" $VIP4 tcp "$2" 4 $COUNT "$3"; } # NAME PORT EXTRA
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

# Opens connections that send one request, and the next ones only at each held_ask.
held_open() { # NAME PORT [COUNT [OPTION VALUE]...]
	load_start "$1" hold $VIP4 "$2" \
		connections "${3:-$HELD}" interval 0 timeout 30 "${@:4}"
	lab_wait_for 10 "the connections of $1" round_has_ended "$1" 1
}
round_has_ended() { grep -q "round $2 has ended" "$WORK/$1.err"; }

held_ask() { # ROUND NAME...
	local round=$1 name
	shift
	for name in "$@"; do kill -USR1 "$(cat "$WORK/$name.pid")"; done
	for name in "$@"; do
		lab_wait_for 30 "all answers to $name" \
			round_has_ended "$name" "$round" || return 1
	done
}

expect_none_moved() { # NAME...
	local name
	for name in "$@"; do
		load_end "$name"
		expect "connections of $name" "$(report_field "$name" .opened)" = $HELD
		expect "broken or moved connections of $name" "$(broken_or_moved "$name")" = 0
	done
}

# ---- what lbd reports ----

event() { # NAME
	lbctl stats --json | json '.events[] | select(.name == $name) | .count' --arg name "$1"
}
sent_packets() {
	lbctl stats --json | json '[.reasons[] | select(.outcome == "sent") | .packets] | add'
}
active_flows() { # SERVICE
	lbctl backends "$1" --json | json '[.backends[].active] | add'
}

# Moves most of the first backend's slots. Flows that exist by then are older than the transition.
begin_transition() { # SERVICE
	lbctl backend weight "$1" 10.0.0.11 1 >/dev/null || return 1
	lab_wait_for 5 "slots of $1 in transition" has_transition "$1" || return 1
	echo "# $1: $(service_field "$1" slots_in_transition) slots in transition"
}
has_transition() { [ "$(service_field "$1" slots_in_transition)" -gt 0 ]; }

# ---- the promises ----

late_open() { # NAME PORT
	load_start "$1" half-close $VIP4 "$2" connections $HELD timeout $((SILENCE * 5))
	lab_wait_for 10 "the connections of $1" grep -q "$HELD connections open" "$WORK/$1.err"
}

# A half-closed connection is an established one (RFC 9293, 3.6): the client waits for the answer
# and acknowledges it.
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
		expect "whole answers ($name)" "$(report_field "$name" '[.whole[]] | add')" = $HELD
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

# The first backend fails its checks only: nginx, which answers them, is stopped, but the service's
# own server is not.
test_a_backend_that_is_back_within_the_idle_timeout_finds_its_connections() {
	local result name
	held_open back-rr "$(port_of back-rr)" || return 1
	held_open back-maglev "$(port_of back-maglev)" || return 1
	kill -STOP "$(cat "$WORK/nginx-b1.pid")"
	lab_wait_for 10 "b1 to be down" backends_left $((BACKENDS_ALL - SERVICES)) || return 1
	new_ports 300 || return 1
	# shellcheck disable=SC2086
	result=$(traffic load-tcp $VIP4 "$(port_of back-maglev)" rate 200 seconds 1 $PORTS)
	expect "new flows on b1" "$(answered_by "$result" b1)" = 0
	kill -CONT "$(cat "$WORK/nginx-b1.pid")"
	lab_wait_for 10 "b1 to be back" backends_up $BACKENDS_ALL || return 1
	held_ask 2 back-rr back-maglev || return 1
	expect_none_moved back-rr back-maglev
	for name in back-rr back-maglev; do
		expect "connections of b1 ($name)" \
			"$(answered_by "$(cat "$WORK/$name.json")" b1)" -gt 0
	done
}

# Each kind of packet is forged on connections of its own, in three states: tracked by round-robin,
# older than a transition and known to be alive, newer than the transition.
test_forged_rst_fin_and_syn_move_no_connection() {
	local kinds=(rst fin syn) kind i all=() older=() before
	for i in 0 1 2; do
		held_open "rr-${kinds[i]}" "$(port_of forged-rr)" \
			$HELD from-port $((FIRST + 1000 * i)) || return 1
		held_open "older-${kinds[i]}" "$(port_of forged-maglev)" \
			$HELD from-port $((FIRST + 1000 * i)) || return 1
		older+=("older-${kinds[i]}")
	done
	begin_transition forged-maglev || return 1
	held_ask 2 "${older[@]}" || return 1
	for i in 0 1 2; do
		held_open "newer-${kinds[i]}" "$(port_of forged-maglev)" \
			$HELD from-port $((FIRST + 500 + 1000 * i)) || return 1
	done
	before=$(sent_packets) || return 1
	for i in 0 1 2; do
		kind=${kinds[i]}
		forge "rr-$kind" "$kind" forged-rr $((FIRST + 1000 * i)) || return 1
		forge "older-$kind" "$kind" forged-maglev $((FIRST + 1000 * i)) || return 1
		forge "newer-$kind" "$kind" forged-maglev $((FIRST + 500 + 1000 * i)) || return 1
		all+=("rr-$kind" "newer-$kind")
	done
	lab_wait_for 5 "the forged packets to be forwarded" \
		sent_at_least $((before + 9 * HELD)) || return 1
	sleep $SILENCE
	held_ask 3 "${older[@]}" || return 1
	held_ask 2 "${all[@]}" || return 1
	expect_none_moved "${all[@]}" "${older[@]}"
}
forge() { # NAME KIND SERVICE FIRST-PORT
	local sent
	sent=$(in_ns client "$BUILD/tests/e2e/forge" \
		$VIP4 "$(port_of "$3")" "$2" "$4" $(($4 + HELD - 1))) || return 1
	echo "# $sent forged $2 on connections of $1"
	expect "forged $2 ($1)" "$sent" = $HELD
}
sent_at_least() { [ "$(sent_packets)" -ge "$1" ]; }

# Once a tuple's flow has ended, a SYN may open a new flow on it. These connections have not ended,
# but are silent for longer than that takes.
test_a_forged_syn_moves_no_silent_connection_of_a_draining_backend() {
	held_open older-drained "$(port_of drained)" $HELD from-port $FIRST || return 1
	lbctl backend drain drained 10.0.0.11 >/dev/null || return 1
	lab_wait_for 5 "slots of drained in transition" has_transition drained || return 1
	held_ask 2 older-drained || return 1
	sleep 33
	forge older-drained syn drained $FIRST || return 1
	held_ask 3 older-drained || return 1
	expect_none_moved older-drained
	expect "connections of b1" \
		"$(answered_by "$(cat "$WORK/older-drained.json")" b1)" -gt 0
}

# New flows of the bystander, one after another. Round-robin sends each to the next backend, unless
# the flow table has no place for it: then it goes by slot.
bystander_takes_turns() { # BUT: so many may go by slot
	local result before after by_slot
	before=$(event fallback_slot) || return 1
	new_ports $((HELD * COUNT)) || return 1
	# shellcheck disable=SC2086
	result=$(traffic ask-tcp $VIP4 7007 requests $((HELD * COUNT)) $PORTS)
	after=$(event fallback_slot) || return 1
	by_slot=$((after - before))
	echo "# bystander: $(field "$result" .by), $by_slot of them by slot"
	none_failed "failures" "$result"
	expect "flows that went by slot" "$by_slot" -le "$1"
	expect "backends that had their turn" "$(field "$result" \
		'[.by[] | select(. >= $least)] | length' --argjson least $((HELD - $1)))" = $COUNT
}
flows_status() { lbctl status --json | json ".flows | $1"; } # FILTER

# Four times as many SYNs as the flow table has places, each from another client: none may keep one.
test_a_flood_of_spoofed_syns_takes_no_place_from_another_service() {
	local before syns
	syns=$(flows_status '.capacity * 4') || return 1
	flood_unanswered $COUNT
	before=$(sent_packets) || return 1
	flood 7005 "$syns" 20000 || return 1
	lab_wait_for 5 "the flood to be forwarded" sent_at_least $((before + syns)) || return 1
	bystander_takes_turns 0 || FAILED=1
	expect "new flows without a place" "$(flows_status .without_place)" = 0
	expect "warnings of a full table" "$(lbctl status | grep -c 'found no place')" = 0
}

# More real connections than one service's share of the table. Those beyond it go by slot, and
# status warns; other services keep their shares. Shares are set when the table is swept, so the
# second half of the crowd comes after a sweep. A flow can use sixteen places: even in a table that
# is only half full, all of them may be taken.
test_a_crowd_of_connections_leaves_other_services_their_share_and_status_warns() {
	local half
	held_open crowd-a 7006 $CROWD || return 1
	lab_wait_for 10 "a sweep" entries_at_least $CROWD || return 1
	held_open crowd-b 7006 $CROWD || return 1
	lab_wait_for 10 "status to warn" status_warns || return 1
	lbctl status | grep 'Warning' | sed 's/^ */# /'
	echo "# entries, capacity, without a place: $(
		flows_status '[.entries, .capacity, .without_place]')"
	# shellcheck disable=SC2034 # run_tests reads it
	bystander_takes_turns 6 || FAILED=1
	held_ask 2 crowd-a crowd-b || return 1
	for half in crowd-a crowd-b; do
		load_end $half
		expect "broken or moved connections ($half)" "$(broken_or_moved $half)" = 0
	done
}
entries_at_least() { [ "$(flows_status .entries)" -ge "$1" ]; }
status_warns() { lbctl status | grep -q 'Warning: .* found no place in the last minute'; }

server() { # NAME BACKEND MODE ADDRESS PORT [OPTION VALUE]...
	lab_spawn "$1" in_ns "$2" "$BUILD/tests/e2e/traffic" "${@:3}" name "$2"
}

SERVICES=11
BACKENDS_ALL=$((SERVICES * COUNT))
set_up() {
	local i
	lab_with_servers $COUNT || return 1
	for i in $(seq $COUNT); do
		server "more-b$i" "b$i" serve-tcp :: 7001 ports 8
		server "late-rr-b$i" "b$i" serve-late :: 7100 delay $SILENCE
		server "late-maglev-b$i" "b$i" serve-late :: 7101 delay $SILENCE
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
