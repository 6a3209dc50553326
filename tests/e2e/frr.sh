#!/bin/bash
# FRR on the router and on one balancer, BIRD on the other: both export lbd's routes.
. "$(dirname "$0")/lib.sh"
# shellcheck source=tools/pair.sh
. "$(dirname "$0")/../../tools/pair.sh"

COUNT=2
# A busy machine would lose sessions of 50 ms x 3.
PAIR_BFD_MS=1000

pair_with_lbd() {
	lab_with_servers $COUNT && pair_up || return 1
	# FRR reads the main table.
	PAIR_TABLE=254 pair_serve lb $COUNT && pair_serve lb2 $COUNT || return 1
	pair_frr_start router || return 1
	pair_frr_start lb || return 1
	pair_bird_start lb2
	lab_wait_for 30 "two routes to each VIP" both_announce || {
		ip -n "$(ns router)" route
		ip -n "$(ns router)" -6 route
		tail -n 20 "$WORK"/frr-*/trace "$WORK"/bird-*.trace
		return 1
	}
}

serves() {
	local result
	result=$(traffic load-http $VIP4 80 rate 200 seconds 1)
	none_failed "failures, IPv4" "$result"
	result=$(traffic load-http $VIP6 80 rate 200 seconds 1)
	none_failed "failures, IPv6" "$result"
}

test_frr_exports_vips_of_both_families_and_takes_them() { serves; }

test_a_drain_makes_the_node_with_frr_the_last_choice() {
	lbctl node drain || return 1
	lab_wait_for 20 "the traffic to go to lb2" pair_goes_to $VIP4 10.0.0.3 || return 1
	lab_wait_for 20 "all VIPs to go to lb2" one_announces || return 1
	serves
	pair_cut lb2
	lab_wait_for 20 "the traffic to come back" pair_goes_to $VIP4 10.0.0.2 || return 1
	serves
	pair_mend lb2
	lab_wait_for 60 "lb2" pair_goes_to $VIP4 10.0.0.3 || return 1
	lbctl node undrain || return 1
	lab_wait_for 30 "both nodes to be announced" both_announce
}

test_frr_withdraws_what_lbd_withdraws() {
	lbctl detach eth0 || return 1
	lab_wait_for 20 "routes to lb2 alone" one_announces || return 1
	lbctl attach eth0 || return 1
	lab_wait_for 30 "both nodes to be announced" both_announce
}

[ -x /usr/lib/frr/bgpd ] || skip_all_without bgpd frr
skip_all_without bird bird2
set_up_or_end pair_with_lbd
run_tests "$@"
