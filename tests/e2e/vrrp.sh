#!/bin/bash
# An active/standby pair on one switch, with keepalived on both: it owns the VIPs, and follows the
# number that lbd writes.
. "$(dirname "$0")/lib.sh"
# shellcheck source=tools/pair.sh
. "$(dirname "$0")/../../tools/pair.sh"

COUNT=3
# A busy machine would lose adverts of 0.2 s.
PAIR_VRRP_S=${PAIR_VRRP_S:-1}
# Nor may a check's lost SYN make a backend late when a node starts: until an idle timeout has passed, that node
# would send the other's flows to that backend where it sent its own before (docs/pair.md).
# shellcheck disable=SC2034 # config_service reads it
CHECK_TIMES="interval: 2s, timeout: 1900ms, rise: 2, fall: 3"

only_owner() { # NODE
	local vip
	for vip in "${VIPS[@]}"; do
		pair_owns "$1" "$vip" && ! pair_owns "$(pair_other "$1")" "$vip" || return 1
	done
}
# The router has this node's MAC address for the VIP of the load.
router_sends_to() { # NODE
	local mac
	mac=$(ip -n "$(ns "$1")" -j link show eth0 | json '.[0].address') &&
		ip -n "$(ns router)" neigh show $VIP4 dev br0 | grep -qwF "lladdr $mac"
}
one_owner() { only_owner lb || only_owner lb2; }
owner() { if only_owner lb; then echo lb; else echo lb2; fi; }

pair_with_lbd() {
	local node
	lab_with_servers $COUNT && pair_up || return 1
	pair_vips_on_switch
	for node in lb lb2; do
		pair_serve $node $COUNT || return 1
		pair_keepalived_start $node
	done
	lab_wait_for 20 "one owner of the VIPs" one_owner || {
		tail -n 30 "$WORK"/keepalived-*.log
		return 1
	}
}

test_the_active_node_answers_for_the_vips_of_both_families() {
	local result active
	active=$(owner)
	result=$(traffic load-http $VIP4 80 rate 200 seconds 1)
	none_failed "failures, IPv4" "$result"
	result=$(traffic load-http $VIP6 80 rate 200 seconds 1)
	none_failed "failures, IPv6" "$result"
	expect "number in the file" "$(cat "$(pair_dir "$active")/vrrp")" = 0
}

drain_active() {
	local active
	active=$(owner)
	pair_ctl "$active" node drain || return 1
	lab_wait_for 20 "the VIPs on the other node" only_owner "$(pair_other "$active")"
}
test_a_drain_of_the_active_node_moves_the_vips_and_breaks_nothing() {
	local active
	active=$(owner)
	across drain_active || return 1
	pair_ctl "$active" node undrain || return 1
	lab_wait_for 10 "the node to be up" pair_state_is "$active" up || return 1
	sleep 6 # more than a node needs to take the VIPs
	only_owner "$(pair_other "$active")"
}

test_an_active_node_that_vanishes_costs_no_maglev_connection() {
	local active result begin_ms
	active=$(owner)
	hold_open open 7000 200 interval 0.1 timeout 30
	begin_ms=$(now_ms)
	pair_cut "$active"
	LAB_POLL_S=0.01 lab_wait_for 20 "the VIPs on the other node" \
		pair_owns "$(pair_other "$active")" $VIP4 || return 1
	LAB_POLL_S=0.01 lab_wait_for 10 "the router to hear of it" router_sends_to "$(pair_other "$active")" || return 1
	echo "# the router has heard of it after at most $(($(now_ms) - begin_ms)) ms"
	result=$(traffic load-http $VIP4 80 rate 200 seconds 2)
	load_end open
	none_failed "failed requests once it is noticed" "$result"
	expect "broken or moved connections" "$(broken_or_moved open)" = 0
	pair_mend "$active"
	lab_wait_for 60 "all backends to be up again" \
		pair_backends_up "$active" $((6 * COUNT)) || return 1
	lab_wait_for 60 "one owner" one_owner
}

blind_active() {
	local active
	active=$(owner)
	pair_cut_checks "$active" || return 1
	lab_wait_for 20 "the node to be blind" pair_state_is "$active" blind || return 1
	lab_wait_for 20 "the VIPs on the other node" only_owner "$(pair_other "$active")"
}
test_a_blind_active_node_gives_the_vips_up() {
	local active
	active=$(owner)
	across blind_active || return 1
	pair_mend_checks "$active"
	lab_wait_for 30 "the node to be up" pair_state_is "$active" up
}

skip_all_without keepalived keepalived
set_up_or_end pair_with_lbd
run_tests "$@"
