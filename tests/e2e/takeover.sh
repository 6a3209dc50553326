#!/bin/bash
# lbd is killed, restarted and replaced under load: traffic, flows and counters go on.
. "$(dirname "$0")/lib.sh"

flows_of() { lbctl services --json | json "[s['flows'] for s in d['services'] if s['name'] == '$1'][0]"; }

load_across() { # ACTION...: runs ACTION within a load over IPv4 and IPv6 and on held connections; nothing may fail
	local load status
	load_start a load-http $VIP4 80 rate 400
	load_start b load-udp "$LAB_UDP4" 5353 rate 400
	load_start c load-http $VIP6 80 rate 200
	load_start d hold $VIP4 7000 connections 100
	sleep 1
	"$@"
	status=$?
	sleep 1.5
	for load in a b c d; do load_end $load; done
	for load in a b c; do expect "failures ($load)" "$(json 'd["failed"]' <"$WORK/$load.json")" = 0; done
	expect "broken connections" "$(json 'd["broken"] + d["moved"]' <"$WORK/d.json")" = 0
	return $status
}

kill_9_and_wait() {
	lab_kill lbd KILL
	sleep 2
}
kill_9_and_restart() {
	lab_kill lbd KILL
	sleep 0.5
	lab_lbd_start
}
stop_and_restart() {
	lab_kill lbd TERM
	sleep 0.5
	lab_lbd_start
}

test_traffic_goes_on_after_kill_9_without_a_lost_request() {
	local before
	before=$(flows_of web4)
	load_across kill_9_and_wait
	lab_lbd_start || return 1
	expect "counters to have gone on while lbd was dead" "$(flows_of web4)" -ge $((before + $(json 'd["sent"]' <"$WORK/a.json")))
	lab_wait_for 10 "all to be up" backends_up 18
}

test_the_next_lbd_takes_over_without_a_lost_request() {
	local before
	before=$(flows_of web4)
	load_across kill_9_and_restart
	expect "new flows of web4, counted across the restart" "$(flows_of web4)" -ge $((before + $(json 'd["sent"]' <"$WORK/a.json")))
	expect "adopted" "$(lbctl status --json | json 'd["adopted"]')" = True
	lab_wait_for 10 "all to be up" backends_up 18
}

test_an_orderly_restart_loses_nothing_either() {
	load_across stop_and_restart
	lab_wait_for 10 "all to be up" backends_up 18
}

test_a_drain_survives_kill_9_and_restart() {
	lbctl backend drain web4 10.0.0.12 || return 1
	kill_9_and_restart || return 1
	sleep 1
	local result
	result=$(traffic load-http $VIP4 80 rate 300 seconds 1)
	expect "b2's new flows" "$(field "$result" "d['by'].get('b2', 0)")" = 0
	lbctl backend undrain web4 10.0.0.12
}

test_a_second_lbd_is_refused_and_named() {
	local said
	said=$(in_ns lb "$BUILD/lbd" -c "$WORK/lbd.yaml" 2>&1) && return 1
	echo "# $said"
	expect "the running lbd's pid in the message" "$(grep -c "$(cat "$WORK/lbd.pid")" <<<"$said")" -gt 0
}

set_up_or_end lab_with_lbd 3
run_tests "$@"
