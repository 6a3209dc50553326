#!/bin/bash
# FRR on the router and on one balancer, BIRD on the other: both export lbd's routes.
. "$(dirname "$0")/lib.sh"
# shellcheck source=tools/pair.sh
. "$(dirname "$0")/../../tools/pair.sh"

COUNT=2
VIPS="$VIP4 $VIP6 $LAB_UDP4 $LAB_UDP6"
# A busy machine would lose sessions of 50 ms x 3.
PAIR_BFD_MS=1000

all_up() { [ "$(pair_ctl "$1" status --json | json .backends_up)" = $((6 * COUNT)) ]; } # NODE
# shellcheck disable=SC2086
both_announce() { pair_paths_are 2 $VIPS; }
# shellcheck disable=SC2086
one_announces() { pair_paths_are 1 $VIPS; }

pair_with_lbd() {
	local node
	pair_up $COUNT || return 1
	for i in $(seq $COUNT); do
		lab_backend_servers "$i" $VIP4 $VIP6 "$LAB_UDP4" "$LAB_UDP6" || return 1
	done
	for node in lb lb2; do
		# FRR reads the main table.
		[ $node = lb ] && PAIR_TABLE=254 || PAIR_TABLE=
		config_services $COUNT | pair_config $node
		pair_lbd_start $node || return 1
		lab_wait_for 15 "the backends to be up on $node" all_up $node || return 1
	done
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
	expect "failures, IPv4" "$(field "$result" .failed)" = 0
	result=$(traffic load-http $VIP6 80 rate 200 seconds 1)
	expect "failures, IPv6" "$(field "$result" .failed)" = 0
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
