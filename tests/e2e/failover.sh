#!/bin/bash
# Backends that die and come back, seen from clients.
. "$(dirname "$0")/lib.sh"

# After how many probes that is, tests/unit/health/test_health.c checks.
test_requests_fail_after_a_crash_only_until_it_is_noticed() {
	local result
	load_start crash load-http $VIP4 80 rate 400 timeout 0.5
	sleep 1
	lab_kill nginx-b2 KILL
	lab_wait_for 5 "b2 to be down" backends_left 12 || return 1
	result=$(traffic load-http $VIP4 80 rate 400 seconds 1)
	none_failed "failures from then on" "$result"
	load_end crash
	expect "some request to fail (b2 was in use)" "$(report_field crash .failed)" -gt 0
}

test_a_returned_backend_serves_again_without_a_failure() {
	local result
	load_start return load-http $VIP4 80 rate 500
	sleep 0.5
	lab_nginx_start 2
	lab_wait_for 10 "b2 to be up" backends_up 18 || return 1
	result=$(traffic load-http $VIP4 80 rate 500 seconds 1)
	load_end return
	expect failures "$(report_field return .failed)" = 0
	none_failed "failures when it is up" "$result"
	expect "b2 to answer" "$(answered_by "$result" b2)" -gt 0
}

# The host itself is gone: no RST, no ARP reply.
test_a_vanished_host_costs_no_flow_of_the_others() {
	local result
	hold_open hold 7000 60 timeout 5 || return 1
	sleep 1
	ip -n "$(ns b3)" link set eth0 down
	lab_wait_for 5 "b3's six entries to be down" backends_left 12 || return 1
	result=$(traffic load-http $VIP4 80 rate 300 seconds 1)
	lab_wait_for 10 "b3's connections to break" \
		grep -q "connection to b3 broke" "$WORK/hold.err"
	load_end hold
	echo "# load: $result"
	none_failed "failures after detection" "$result"
	expect "connections to b1 or b2 that broke" \
		"$(grep -c 'connection to b[12] broke' "$WORK/hold.err")" = 0
	expect "connections to b3 that broke" \
		"$(grep -c 'connection to b3 broke' "$WORK/hold.err")" -gt 0
	ip -n "$(ns b3)" link set eth0 up
	in_ns b3 ip route replace default via 10.0.0.1 mtu 1500
	in_ns b3 ip -6 addr replace 2001:db8:b::13/64 dev eth0 nodad
	in_ns b3 ip -6 route replace default via 2001:db8:b::1 mtu 1500
	lab_wait_for 15 "b3 to be back" backends_up 18
}

test_a_moved_mac_address_is_noticed() {
	local result
	ip -n "$(ns b1)" link set eth0 down
	ip -n "$(ns b1)" link set eth0 address 02:00:00:00:00:99
	ip -n "$(ns b1)" link set eth0 up
	in_ns b1 ip route replace default via 10.0.0.1 mtu 1500
	in_ns b1 ip -6 addr replace 2001:db8:b::11/64 dev eth0 nodad
	in_ns b1 ip -6 route replace default via 2001:db8:b::1 mtu 1500
	lab_wait_for 20 "the new MAC" mac_is 02:00:00:00:00:99 || return 1
	lab_wait_for 15 "all to be up" backends_up 18 || return 1
	result=$(traffic load-http $VIP4 80 rate 300 seconds 1)
	none_failed failures "$result"
	expect "b1 to answer" "$(answered_by "$result" b1)" -gt 0
}
mac_is() { lbctl backends web4 --json | grep -q "$1"; }

test_with_no_backend_left_clients_are_refused_at_once_and_the_reason_is_counted() {
	for i in 1 2 3; do # one after the other: if all fail at once, lbd is blind (blind.sh)
		lab_kill "nginx-b$i" KILL
		lab_wait_for 10 "b$i to be down" backends_up $((18 - 6 * i)) || return 1
		sleep 1.2 # more than an interval and a timeout
	done
	in_ns client curl -s -m 60 "http://$VIP4/"
	expect "curl (7: refused)" $? = 7
	expect no_backend_rejected "$(reason_packets no_backend_rejected)" -gt 0
	expect "status of web4" "$(service_field web4 status)" = down
	for i in 1 2 3; do lab_nginx_start $i; done
	lab_wait_for 10 "all to be up again" backends_up 18
}

set_up_or_end lab_with_lbd 3
run_tests "$@"
