#!/bin/bash
# An active/standby pair on one switch, with keepalived on both: it owns the VIPs, and follows the
# number that lbd writes.
. "$(dirname "$0")/lib.sh"
# shellcheck source=tools/pair.sh
. "$(dirname "$0")/../../tools/pair.sh"

COUNT=3
# A busy machine would lose adverts of 0.2 s.
PAIR_VRRP_S=1

all_up() { [ "$(pair_ctl "$1" status --json | json .backends_up)" = $((6 * COUNT)) ]; } # NODE
other() { if [ "$1" = lb ]; then echo lb2; else echo lb; fi; }                         # NODE
only_owner() { # NODE
	local vip
	for vip in $VIP4 $VIP6 "$LAB_UDP4" "$LAB_UDP6"; do
		pair_owns "$1" "$vip" && ! pair_owns "$(other "$1")" "$vip" || return 1
	done
}
one_owner() { only_owner lb || only_owner lb2; }
owner() { if only_owner lb; then echo lb; else echo lb2; fi; }

pair_with_lbd() {
	local node
	pair_up $COUNT || return 1
	for i in $(seq $COUNT); do
		lab_backend_servers "$i" $VIP4 $VIP6 "$LAB_UDP4" "$LAB_UDP6" || return 1
	done
	pair_vips_on_switch
	for node in lb lb2; do
		config_services $COUNT | pair_config $node
		pair_lbd_start $node || return 1
		lab_wait_for 15 "the backends to be up on $node" all_up $node || return 1
		pair_keepalived_start $node
	done
	lab_wait_for 20 "one owner of the VIPs" one_owner || {
		tail -n 30 "$WORK"/keepalived-*.log
		return 1
	}
}

across() { # ACTION...
	local status
	load_start requests load-http $VIP4 80 rate 200 timeout 20
	hold_open open 7000 200 interval 0.1 timeout 30
	"$@"
	status=$?
	sleep 1
	load_end requests
	load_end open
	expect "failed requests" "$(report_field requests .failed)" = 0
	expect "broken or moved connections" "$(broken_or_moved open)" = 0
	return $status
}

test_the_active_node_answers_for_the_vips_of_both_families() {
	local result active
	active=$(owner)
	result=$(traffic load-http $VIP4 80 rate 200 seconds 1)
	expect "failures, IPv4" "$(field "$result" .failed)" = 0
	result=$(traffic load-http $VIP6 80 rate 200 seconds 1)
	expect "failures, IPv6" "$(field "$result" .failed)" = 0
	expect "number in the file" "$(cat "$(pair_dir "$active")/vrrp")" = 0
}

drain_active() {
	local active
	active=$(owner)
	pair_ctl "$active" node drain || return 1
	lab_wait_for 20 "the VIPs on the other node" only_owner "$(other "$active")"
}
test_a_drain_of_the_active_node_moves_the_vips_and_breaks_nothing() {
	local active
	active=$(owner)
	across drain_active || return 1
	pair_ctl "$active" node undrain || return 1
	lab_wait_for 10 "the node to be up" pair_state_is "$active" up || return 1
	sleep 6 # more than a node needs to take the VIPs
	only_owner "$(other "$active")"
}

test_an_active_node_that_vanishes_costs_no_maglev_connection() {
	local active result
	active=$(owner)
	hold_open open 7000 200 interval 0.1 timeout 30
	pair_cut "$active"
	lab_wait_for 20 "the VIPs on the other node" \
		pair_owns "$(other "$active")" $VIP4 || return 1
	sleep 1 # the router hears of it
	result=$(traffic load-http $VIP4 80 rate 200 seconds 2)
	load_end open
	expect "failed requests once it is noticed" "$(field "$result" .failed)" = 0
	expect "broken or moved connections" "$(broken_or_moved open)" = 0
	pair_mend "$active"
	lab_wait_for 60 "all backends to be up again" all_up "$active" || return 1
	lab_wait_for 60 "one owner" one_owner
}

cut_checks() { # NODE
	in_ns "$1" nft -f - <<-RULES
		add table inet cut
		add chain inet cut out { type filter hook output priority 0; }
		add rule inet cut out tcp dport 80 drop
	RULES
}
blind_active() {
	local active
	active=$(owner)
	cut_checks "$active" || return 1
	lab_wait_for 20 "the node to be blind" pair_state_is "$active" blind || return 1
	lab_wait_for 20 "the VIPs on the other node" only_owner "$(other "$active")"
}
test_a_blind_active_node_gives_the_vips_up() {
	local active
	active=$(owner)
	across blind_active || return 1
	in_ns "$active" nft delete table inet cut
	lab_wait_for 30 "the node to be up" pair_state_is "$active" up
}

skip_all_without keepalived keepalived
set_up_or_end pair_with_lbd
run_tests "$@"
