#!/bin/bash
# lbd is killed, restarted and replaced under load: forwarding, flows and counters continue.
. "$(dirname "$0")/lib.sh"

# Runs ACTION under a load over IPv4 and IPv6 and with connections held. Nothing may fail.
load_across() { # ACTION...
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
	for load in a b c; do expect "failures ($load)" "$(report_field $load .failed)" = 0; done
	expect "broken or moved connections" "$(broken_or_moved d)" = 0
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
	local before sent
	before=$(service_field web4 flows) || return 1
	load_across kill_9_and_wait
	lab_lbd_start || return 1
	sent=$(report_field a .sent) || return 1
	expect "flows of web4, counted while lbd was dead" \
		"$(service_field web4 flows)" -ge $((before + sent))
	lab_wait_for 10 "all to be up" backends_up 18
}

test_the_next_lbd_takes_over_without_a_lost_request() {
	local before sent
	before=$(service_field web4 flows) || return 1
	load_across kill_9_and_restart
	sent=$(report_field a .sent) || return 1
	expect "flows of web4, counted across the restart" \
		"$(service_field web4 flows)" -ge $((before + sent))
	expect "adopted" "$(lbctl status --json | json .adopted)" = true
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
	new_ports 400 || return 1
	# shellcheck disable=SC2086
	result=$(traffic load-http $VIP4 80 rate 300 seconds 1 $PORTS)
	none_failed failures "$result"
	expect "b2's new flows" "$(answered_by "$result" b2)" = 0
	lbctl backend undrain web4 10.0.0.12
}

test_a_drain_survives_a_restart_with_a_file_that_renames_its_service() {
	lbctl backend drain web4 10.0.0.12 || return 1
	lab_kill lbd KILL
	sed -i 's/name: web4$/name: shop4/' "$WORK/lbd.yaml"
	lab_lbd_start || return 1
	expect "its drain" "$(backend_field shop4 10.0.0.12 drain)" != null
	expect "its condition" "$(lbctl backends shop4 --json |
		json '[.backends[] | select(.condition == "draining" or .condition == "drained") | .address] | join(" ")')" = 10.0.0.12
	lbctl backend undrain shop4 10.0.0.12 || return 1
	sed -i 's/name: shop4$/name: web4/' "$WORK/lbd.yaml"
	lbctl reload >/dev/null || return 1
	lab_wait_for 10 "all to be up" backends_up 18
}

# lbd answers when it has adopted the maps, before it may make changes.
kill_9_and_first_answer() {
	lab_kill lbd KILL
	lab_spawn lbd in_ns lb "${LBD:-$BUILD/lbd}" -c "$WORK/lbd.yaml"
	lab_wait_for 10 "the first answer" lbctl status
}

test_a_change_right_after_the_restart_waits_and_is_made() {
	kill_9_and_first_answer || return 1
	lbctl backend weight web4 10.0.0.12 7 >/dev/null || return 1
	expect "weight" "$(backend_field web4 10.0.0.12 weight)" = 7
	expect "up, as before" "$(lbctl status --json | json .backends_up)" -gt 0
	lbctl reload >/dev/null
	lab_wait_for 10 "all to be up" backends_up 18
}

test_what_was_up_is_shown_as_up_from_the_first_answer_on() {
	lab_wait_for 10 "all to be up" backends_up 18 || return 1
	kill_9_and_first_answer || return 1
	expect "backends up" "$(lbctl status --json | json .backends_up)" = 18
	expect "services" "$(lbctl status --json | json .services)" = 6
}

test_a_second_lbd_is_refused_and_named() {
	local output
	output=$(in_ns lb "$BUILD/lbd" -c "$WORK/lbd.yaml" 2>&1) && return 1
	echo "# $output"
	expect "the running lbd's pid in the message" \
		"$(grep -c "$(cat "$WORK/lbd.pid")" <<<"$output")" -gt 0
}

set_up_or_end lab_with_lbd 3
run_tests "$@"
