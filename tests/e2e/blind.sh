#!/bin/bash
# The balancer's own link is cut for a while and no backend dies: the ring is frozen, and every connection lives on.
. "$(dirname "$0")/lib.sh"

COUNT=4

status_of() { lbctl services --json | json "[s['status'] for s in d['services'] if s['name'] == '$1'][0]"; }
both_are() { [ "$(status_of tcp4) $(status_of tcp6)" = "$1 $1" ]; }

# Runs CUT, waits until the node says that it is blind, runs MEND; connections are held all the while.
held_across() { # CUT MEND
	local pids=() kind blind=no
	traffic hold $VIP4 7000 connections 150 seconds 20 timeout 15 >"$WORK/4.json" 2>"$WORK/4.err" & pids+=($!)
	traffic hold $VIP6 7000 connections 150 seconds 20 timeout 15 >"$WORK/6.json" 2>"$WORK/6.err" & pids+=($!)
	lab_wait_for 10 "the connections" grep -q "connections open" "$WORK/4.err" "$WORK/6.err"
	sleep 1
	$1
	lab_wait_for 6 "the node to be blind" both_are blind && blind=yes
	lbctl status | head -n 1 | sed 's/^/# /'
	$2
	lab_wait_for 15 "all backends to be up" backends_up $((6 * COUNT))
	wait "${pids[@]}"
	expect "the node to say that it is blind:" "$blind" = yes
	expect "status once all are back" "$(status_of tcp4) $(status_of tcp6)" = "up up"
	for kind in 4 6; do
		echo "# $(cat "$WORK/$kind.json")"
		expect "broken or moved connections (IPv$kind)" "$(json 'd["broken"] + d["moved"]' <"$WORK/$kind.json")" = 0
		expect "connections held (IPv$kind)" "$(json 'd["opened"]' <"$WORK/$kind.json")" = 150
	done
}

carrier_off() { ip -n "$(ns router)" link set to-lb down; }
carrier_on() { ip -n "$(ns router)" link set to-lb up; }
switch_off() { ip -n "$(ns router)" link set to-lb nomaster; }
switch_on() { ip -n "$(ns router)" link set to-lb master br0; }

test_no_connection_breaks_when_the_link_loses_its_carrier() { held_across carrier_off carrier_on; }

# The carrier stays: one check after another fails.
test_no_connection_breaks_when_a_switch_on_the_way_fails() { held_across switch_off switch_on; }

test_the_log_says_that_the_node_was_blind_and_that_it_sees_again() {
	expect "log lines" "$(grep -c "tcp4 .*: blind: none of $COUNT backends has answered within 0.95 s; the ring is frozen" "$WORK/lbd.log")" -ge 1
	expect "log lines of the end" "$(grep -c "tcp4 .*: $COUNT of $COUNT backends up" "$WORK/lbd.log")" -ge 1
}

test_a_service_whose_backends_all_died_sees_again_with_the_first_that_returns() {
	local i
	for i in $(seq $COUNT); do kill -STOP "$(cat "$WORK/nginx-b$i.pid")"; done
	lab_wait_for 10 "the node to be blind" both_are blind || return 1
	kill -CONT "$(cat "$WORK/nginx-b2.pid")"
	lab_wait_for 15 "the verdict on the others" both_are degraded
	expect "backends up" "$(lbctl status --json | json 'd["backends_up"]')" = 6
	for i in $(seq $COUNT); do kill -CONT "$(cat "$WORK/nginx-b$i.pid")"; done
	lab_wait_for 10 "all backends to be up" backends_up $((6 * COUNT))
}

set_up_or_end lab_with_lbd $COUNT
run_tests "$@"
