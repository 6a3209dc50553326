#!/bin/bash
# Long-lived connections stay where they are through every kind of change and through a SYN flood.
. "$(dirname "$0")/lib.sh"

through_changes() { # VIP SERVICE ADDRESS-PREFIX
	local vip=$1 service=$2 at=$3
	load_start hold hold "$vip" 7000 connections 400 interval 0.3
	lab_wait_for 5 "connections" \
		grep -q "400 connections open" "$WORK/hold.err" || return 1
	sleep 1
	lbctl backend add "$service" "${at}14" >/dev/null || return 1
	sleep 1
	lbctl backend weight "$service" "${at}11" 10 >/dev/null || return 1
	sleep 1
	lbctl backend drain "$service" "${at}12" >/dev/null || return 1
	sleep 1
	lbctl backend weight "$service" "${at}11" 300 >/dev/null || return 1
	lbctl backend undrain "$service" "${at}12" >/dev/null || return 1
	sleep 1
	lbctl backend add "$service" "${at}15" --weight 500 >/dev/null || return 1
	sleep 1
	lbctl backend remove "$service" "${at}13" >/dev/null || return 1
	sleep 1
	lbctl reload >/dev/null || return 1
	sleep 6
	load_end hold
	tail -n 3 "$WORK/hold.err" | sed 's/^/# /'
	expect "broken connections" "$(report_field hold .broken)" = 0
	expect "moved connections" "$(report_field hold .moved)" = 0
}

test_tcp_over_ipv4_stays_through_adds_drains_weights_removal_and_reload() {
	through_changes $VIP4 tcp4 10.0.0.
}
test_tcp_over_ipv6_stays_through_adds_drains_weights_removal_and_reload() {
	through_changes $VIP6 tcp6 2001:db8:b::
}

test_a_drained_backend_takes_no_new_flow() {
	local result
	lbctl backend drain web4 10.0.0.11 >/dev/null || return 1
	sleep 0.3
	new_ports 600 || return 1
	# shellcheck disable=SC2086
	result=$(traffic load-http $VIP4 80 rate 500 seconds 1 $PORTS)
	lbctl backend undrain web4 10.0.0.11 >/dev/null
	none_failed failures "$result"
	expect "b1's new flows" "$(answered_by "$result" b1)" = 0
}

# A million SYNs from distinct sources, at a service whose slots are in transition: a new weight
# has just moved some of them.
test_a_syn_flood_of_a_million_sources_breaks_no_open_connection() {
	flood_unanswered 5
	hold_open hold 7000 1000 interval 1 timeout 20 || return 1
	sleep 1.5
	lbctl backend weight tcp4 10.0.0.11 20 >/dev/null || return 1
	flood 7000 $((1000000 / LAB_SLOWDOWN)) 60000 || return 1
	lbctl backend weight tcp4 10.0.0.11 100 >/dev/null || return 1
	sleep 4
	load_end hold
	expect "connections" "$(report_field hold .connections)" = 1000
	expect "broken or moved" "$(broken_or_moved hold)" = 0
}

# Five backends with servers; the services start with the first three.
set_up() {
	lab_with_servers 5 && BACKENDS="1 2 3" lab_lbd_with 18 config_services 5
}

set_up_or_end set_up
run_tests "$@"
