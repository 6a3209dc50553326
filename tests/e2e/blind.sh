#!/bin/bash
# The balancer's own link fails for a while and no backend does: rings freeze, no connection breaks.
. "$(dirname "$0")/lib.sh"

COUNT=4

both_are() { # STATUS
	[ "$(service_field tcp4 status) $(service_field tcp6 status)" = "$1 $1" ]
}

# Connections over both families, until hold_end.
hold_start() {
	load_start 4 hold $VIP4 7000 connections 150 timeout 60
	load_start 6 hold $VIP6 7000 connections 150 timeout 60
	lab_wait_for 10 "the IPv4 connections" grep -q "connections open" "$WORK/4.err"
	lab_wait_for 10 "the IPv6 connections" grep -q "connections open" "$WORK/6.err"
	sleep 1
}
# None broke or moved.
hold_end() {
	local kind
	sleep 1 # each asks again
	for kind in 4 6; do
		load_end $kind
		expect "broken or moved connections (IPv$kind)" "$(broken_or_moved $kind)" = 0
		expect "connections held (IPv$kind)" "$(report_field $kind .opened)" = 150
	done
}

# Runs CUT, waits until lbd reports that it is blind, runs MEND. Connections are held throughout.
held_across() { # CUT MEND
	local blind=no
	hold_start
	$1
	lab_wait_for 6 "the services to be blind" both_are blind && blind=yes
	lbctl status | head -n 1 | sed 's/^/# /'
	$2
	lab_wait_for 15 "all backends to be up" backends_up $((6 * COUNT))
	hold_end
	expect "both services to be blind:" "$blind" = yes
	lab_wait_for 20 "the services to be up" both_are up
}

carrier_off() { ip -n "$(ns router)" link set to-lb down; }
carrier_on() { ip -n "$(ns router)" link set to-lb up; }
switch_off() { ip -n "$(ns router)" link set to-lb nomaster; }
switch_on() { ip -n "$(ns router)" link set to-lb master br0; }

test_no_connection_breaks_when_the_link_loses_its_carrier() { held_across carrier_off carrier_on; }

# The carrier stays: one check after another fails.
test_no_connection_breaks_when_a_switch_on_the_way_fails() { held_across switch_off switch_on; }

# So short that some backends are found down and others are not. Their flows, too, must find them
# when the link is back.
test_no_connection_breaks_when_the_link_is_back_before_all_are_down() {
	hold_start
	for _ in 1 2 3; do
		switch_off
		lab_wait_for 6 "the first loss" some_are_down
		switch_on
		lab_wait_for 15 "all backends to be up" backends_up $((6 * COUNT))
	done
	hold_end
}
some_are_down() { ! backends_up $((6 * COUNT)); }

lines_with() { # PATTERN: how many lines of the log have it
	grep -c "$1" "$WORK/lbd.log"
}
test_the_log_says_that_the_node_was_blind_and_that_it_sees_again() {
	local blind="blind: none of $COUNT backends has answered within 950ms; the ring is frozen"
	expect "log lines" "$(lines_with "tcp4 .*: $blind")" -ge 1
	expect "log lines of the end" "$(lines_with "tcp4 .*: $COUNT of $COUNT backends up")" -ge 1
}

test_a_service_whose_backends_all_died_sees_again_with_the_first_that_returns() {
	local i
	for i in $(seq $COUNT); do kill -STOP "$(cat "$WORK/nginx-b$i.pid")"; done
	lab_wait_for 10 "the services to be blind" both_are blind || return 1
	kill -CONT "$(cat "$WORK/nginx-b2.pid")"
	lab_wait_for 15 "the verdict on the others" both_are degraded
	expect "backends up" "$(lbctl status --json | json .backends_up)" = 6
	for i in $(seq $COUNT); do kill -CONT "$(cat "$WORK/nginx-b$i.pid")"; done
	lab_wait_for 10 "all backends to be up" backends_up $((6 * COUNT))
}

set_up_or_end lab_with_lbd $COUNT
run_tests "$@"
