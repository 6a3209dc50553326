#!/bin/bash
# Two balancers behind a router, with BIRD on all three: which VIPs are announced, and what clients
# see when a node drains, vanishes, comes back.
. "$(dirname "$0")/lib.sh"
# shellcheck source=tools/pair.sh
. "$(dirname "$0")/../../tools/pair.sh"

COUNT=3
UPLINK2=10.0.0.3
# A busy machine would lose sessions of 50 ms x 3.
PAIR_BFD_MS=${PAIR_BFD_MS:-1000}

pair_with_lbd() {
	local node
	lab_with_servers $COUNT && pair_up || return 1
	for node in lb lb2; do pair_serve $node $COUNT || return 1; done
	for node in router lb lb2; do pair_bird_start $node; done
	lab_wait_for 30 "two routes to each VIP" both_announce || {
		ip -n "$(ns router)" route
		tail -n 20 "$WORK"/bird-*.trace
		return 1
	}
}

announced() { # NODE [METRIC]: the routes in lbd's table
	local family
	for family in -4 -6; do
		ip -n "$(ns "$1")" $family route show table 76 proto 76 ${2:+metric "$2"}
	done 2>/dev/null | wc -l
}
test_both_nodes_announce_every_vip_and_the_router_uses_both() {
	local node result before
	before=$(pair_forwarded lb2)
	for node in lb lb2; do
		expect "state of $node" "$(pair_node $node state)" = up
		expect "VIPs announced by $node" "$(pair_node $node announced)" = 4
		expect "routes of $node" "$(announced $node 10)" = 4
	done
	result=$(traffic load-http $VIP4 80 rate 300 seconds 1)
	none_failed "failures, IPv4" "$result"
	result=$(traffic load-http $VIP6 80 rate 300 seconds 1)
	none_failed "failures, IPv6" "$result"
	expect "packets forwarded by lb" "$(pair_forwarded lb)" -gt 0
	expect "packets forwarded by lb2" "$(pair_forwarded lb2)" -gt "$before"
	expect "number in the file" "$(cat "$WORK/vrrp")" = 0
}

test_the_state_is_in_status_and_metrics() {
	lbctl status | grep -q '^Node  *up: 4 of 4 VIPs announced, table 76, metric 10$' || return 1
	metrics | grep -qx 'lbd_node_state{state="up"} 1' || return 1
	metrics | grep -qx 'lbd_node_state{state="blind"} 0' || return 1
	metrics | grep -qx 'lbd_vips_announced 4' || return 1
	logged "node: up: 4 of 4 VIPs announced, table 76, metric 10"
}

drain_and_wait() {
	lbctl node drain --wait --timeout 5m || return 1
	expect "routes of lb" "$(announced lb)" -eq 0
	one_announces && pair_goes_to $VIP4 $UPLINK2
}
undrain_and_wait() {
	lbctl node undrain || return 1
	lab_wait_for 20 "both nodes to be announced" both_announce
}
test_a_drain_moves_the_traffic_and_breaks_no_connection() {
	across drain_and_wait || return 1
	expect "state" "$(pair_node lb state)" = withdrawn
}
test_the_end_of_the_drain_breaks_no_connection() {
	drain_and_wait || return 1
	across undrain_and_wait || return 1
	expect "state" "$(pair_node lb state)" = up
}

only_lb2_announces() { one_announces && pair_goes_to $VIP4 $UPLINK2; }
vanish() {
	local begin_ms
	begin_ms=$(now_ms)
	pair_cut lb
	LAB_POLL_S=0.01 lab_wait_for 10 "BFD to see it" only_lb2_announces || {
		tail -n 20 "$WORK"/bird-*.trace
		return 1
	}
	echo "# the router has noticed after at most $(($(now_ms) - begin_ms)) ms"
}
# New connections wait until the router has noticed; none is refused, and none that is open breaks.
test_a_node_that_vanishes_costs_no_maglev_connection() {
	local result
	hold_open open 7000 200 interval 0.1 timeout 30
	vanish || return 1
	result=$(traffic load-http $VIP4 80 rate 200 seconds 2)
	load_end open
	grep 'broke' "$WORK/open.err" | sed 's/^/# /'
	none_failed "failed requests once it is noticed" "$result"
	expect "broken or moved connections" "$(broken_or_moved open)" = 0
}
come_back() {
	pair_mend lb
	lab_wait_for 60 "both nodes to be announced" both_announce
}
test_a_node_that_comes_back_costs_none_either() { vanish && across come_back; }

# Before the VIPs are withdrawn the router still has the route, as the last choice.
test_a_node_that_drains_alone_keeps_the_traffic() {
	local result
	lbctl node drain || return 1
	lb2ctl node drain || return 1
	lab_wait_for 20 "both metrics" pair_state_is lb2 draining
	expect "routes of lb with the drain-metric" "$(announced lb 2000)" = 4
	result=$(traffic load-http $VIP4 80 rate 200 seconds 1)
	none_failed "failures" "$result"
	lb2ctl node undrain || return 1
	lab_wait_for 20 "the traffic to go to lb2" pair_goes_to $VIP4 $UPLINK2 || return 1
	undrain_and_wait
}

test_a_drain_of_the_node_survives_kill_9_and_restart() {
	lbctl node drain || return 1
	lab_kill lbd KILL
	expect "routes while no lbd runs" "$(announced lb 2000)" = 4
	pair_lbd_start lb || return 1
	lab_wait_for 10 "the node to drain again" pair_state_is lb draining || return 1
	expect "routes with the drain-metric" "$(announced lb 2000)" = 4
	expect "routes in all" "$(announced lb)" = 4
	undrain_and_wait
}

test_a_detached_node_withdraws() {
	lbctl detach eth0 || return 1
	expect "routes of lb" "$(announced lb)" -eq 0
	expect "state" "$(pair_node lb state)" = withdrawn
	lab_wait_for 20 "routes to lb2 alone" one_announces || return 1
	lbctl attach eth0 || return 1
	lab_wait_for 20 "both nodes to be announced" both_announce
}

test_an_interface_without_carrier_withdraws() {
	ip -n "$(ns router)" link set to-lb down
	lab_wait_for 10 "the state" pair_state_is lb withdrawn || return 1
	expect "routes of lb" "$(announced lb)" -eq 0
	lab_wait_for 20 "routes to lb2 alone" one_announces || return 1
	ip -n "$(ns router)" link set to-lb up
	lab_wait_for 60 "both nodes to be announced" both_announce
}

die_and_start() {
	lab_kill lbd KILL
	sleep 1
	expect "routes while no lbd runs" "$(announced lb 10)" = 4
	both_announce || return 1
	pair_lbd_start lb || return 1
	lab_wait_for 10 "the node to be up" pair_state_is lb up
}
test_routes_outlive_lbd_and_no_client_notices() {
	lab_spawn monitor in_ns lb ip monitor route
	lab_wait_for 10 "the monitor" sees_routes 203.0.113.1
	across die_and_start || return 1
	both_announce || return 1
	lab_wait_for 10 "the monitor, still" sees_routes 203.0.113.2
	lab_kill monitor
	expect "changes of routes that BIRD would see" "$(grep -c "$VIP4\|$VIP6" "$WORK/monitor.log")" -eq 0
}

# That it sees none of lbd's says something then.
sees_routes() { # ADDRESS
	in_ns lb ip route replace blackhole "$1"
	in_ns lb ip route del blackhole "$1"
	grep -qF "$1" "$WORK/monitor.log"
}

service_is_up() { [ "$(service_field "$1" status)" = up ]; } # SERVICE
add_more() {
	lbctl service add more "$VIP4:7006/tcp" --backend 10.0.0.11 --backend 10.0.0.12 \
		--health tcp,port=7000 >/dev/null || return 1
	lab_wait_for 20 "the service that was added" service_is_up more
}
test_with_require_all_a_service_that_is_added_withdraws_no_vip() {
	sed -i.good '/^announce:/s/{/{ require: all,/' "$WORK/lbd.yaml"
	lbctl reload >/dev/null || return 1
	lab_spawn monitor in_ns lb ip monitor route
	lab_wait_for 10 "the monitor" sees_routes 203.0.113.1
	across add_more || return 1
	lab_wait_for 10 "the monitor, still" sees_routes 203.0.113.2
	lab_kill monitor
	expect "changes of routes that BIRD would see" "$(grep -c "$VIP4\|$VIP6" "$WORK/monitor.log")" -eq 0
	expect "state" "$(pair_node lb state)" = up
	expect "VIPs announced" "$(pair_node lb announced)" = 4
	lbctl service remove more --force >/dev/null || return 1
	mv "$WORK/lbd.yaml.good" "$WORK/lbd.yaml"
	lbctl reload >/dev/null
}

# What lbd-withdraw.service does when lbd cannot be started any more.
test_lbd_withdraw_takes_the_routes_away_without_a_config() {
	lab_kill lbd KILL
	in_ns lb "$BUILD/lbd" --withdraw="$WORK/lbd.sock.announce.json" || return 1
	expect "routes of lb" "$(announced lb)" -eq 0
	expect "number in the file" "$(cat "$WORK/vrrp")" = -90
	lab_wait_for 20 "routes to lb2 alone" one_announces || return 1
	pair_lbd_start lb || return 1
	lab_wait_for 30 "both nodes to be announced" both_announce
}

# The balancer's checks get no answer: its own fault, as lb2 shows.
go_blind() {
	pair_cut_checks lb || return 1
	lab_wait_for 20 "the node to be blind" pair_state_is lb blind || return 1
	lab_wait_for 20 "routes to lb2 alone" pair_goes_to $VIP4 $UPLINK2
}
see_again() {
	pair_mend_checks lb
	lab_wait_for 30 "both nodes to be announced" both_announce
}
test_a_blind_node_withdraws_and_nobody_notices() {
	across go_blind || return 1
	expect "routes of lb" "$(announced lb)" -eq 0
	expect "number in the file" "$(cat "$WORK/vrrp")" = -90
	across see_again
}

# Last: a connection whose port was used before a change of backends goes where that one went, by the
# memory of one node (docs/pair.md), so nothing may move between nodes after this.
test_a_vip_without_backends_is_withdrawn_and_the_others_stay() {
	local service i result
	for service in web4 tcp4; do
		for i in 1 2 3; do lbctl backend drain $service "10.0.0.1$i" || return 1; done
	done
	lab_wait_for 20 "one route to $VIP4" pair_goes_to $VIP4 $UPLINK2 || return 1
	expect "routes to the other VIP" "$(pair_paths "$LAB_UDP4")" = 2
	expect "state" "$(pair_node lb state)" = up
	expect "the VIP that is named" \
		"$(pair_node lb 'not_announced[0].vip')" = $VIP4
	result=$(traffic load-http $VIP4 80 rate 200 seconds 1)
	none_failed "failures" "$result"
	end_drains
	lab_wait_for 20 "both nodes to be announced" both_announce
}

test_check_names_a_hash_seed_that_is_missing() {
	local output
	grep -v '^hash-seed' "$WORK/lbd.yaml" >"$WORK/no-seed.yaml"
	output=$("$BUILD/lbd" --check "$WORK/no-seed.yaml" 2>&1) || return 1
	contains "$output" "announce: the config has no hash-seed"
	output=$("$BUILD/lbd" --check "$WORK/lbd.yaml" 2>&1) || return 1
	[[ $output != *hash-seed* ]]
}

skip_all_without bird bird2
set_up_or_end pair_with_lbd
run_tests "$@"
