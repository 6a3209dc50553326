#!/bin/bash
# Three balancers behind a router, with BIRD on all four, that tell each other of their flows: each
# is drained, ended and started as a newer lbd, one after the other, under load. The older lbd speaks
# the first version of the protocol between nodes alone. OLD_LBD: another one.
# shellcheck disable=SC2034 # FAILED, and what the libraries read
. "$(dirname "$0")/lib.sh"
# shellcheck source=tools/pair.sh
. "$(dirname "$0")/../../tools/pair.sh"

COUNT=3 HEALTH='{ type: none }' PEERS="lb lb2 lb3" PAIR_THIRD=yes
# A busy machine would lose sessions of 50 ms x 3.
PAIR_BFD_MS=1000
OLDER=${OLD_LBD:-$BUILD/tests/e2e/lbd-first}

paths_are() { pair_paths_are "$1" $VIP4 "$LAB_UDP4"; } # COUNT
is_synced() { # NODE
	lab_wait_for 30 "$1 to be synced" peer_is_synced "$1"
}
# The versions that the node speaks with its two peers.
protocols() { # NODE
	pair_ctl "$1" fleet --json | json '[.fleet.peers[].session.protocol] | sort'
}

test_three_older_nodes_share_the_traffic() {
	local node result before=0
	for node in $PEERS; do
		expect "versions of the protocol of $node" "$(protocols "$node")" = "[1,1]"
		before=$((before + $(pair_forwarded "$node")))
	done
	result=$(traffic load-http $VIP4 80 rate 200 seconds 2)
	none_failed "failures" "$result"
	for node in $PEERS; do
		expect "packets that $node forwarded" "$(pair_forwarded "$node")" -gt 0
	done
}

upgrade() { # NODE
	local name=lbd
	[ "$1" = lb ] || name=lbd-$1
	pair_ctl "$1" node drain --wait --timeout $((240 * LAB_SLOWDOWN))s || return 1
	lab_wait_for 20 "two routes to each VIP" paths_are 2 || return 1
	lab_kill $name
	peer_start "$1" && is_synced "$1" || return 1
	expect "state of $1, which was drained" "$(pair_node "$1" state)" != up
	pair_ctl "$1" node undrain || return 1
	lab_wait_for 30 "three routes to each VIP" paths_are 3 || return 1
	sleep 1
}

# The router gives some flows to another node six times. One that is younger then than what the nodes
# have told each other (20 ms, more on a busy machine) may break, as docs/pair.md says.
few_failed() { expect "failed requests" "$(report_field requests .failed)" -le 2; }

test_three_nodes_are_upgraded_one_after_the_other_and_nobody_notices() {
	local node begin=$SECONDS
	load_start requests load-http $VIP4 80 rate 200 timeout 20
	hold_all
	for node in $PEERS; do
		upgrade "$node" || break
		echo "# $node upgraded after $((SECONDS - begin)) s; it speaks versions $(protocols "$node")"
	done
	load_end requests
	end_all
	few_failed
	for node in $PEERS; do
		expect "versions of the protocol of $node" "$(protocols "$node")" = "[2,2]"
	done
}

# A drain that an operator forgot to end, and a node that is ended without one: the others have all.
test_two_of_three_nodes_away_cost_nothing_either() {
	load_start requests load-http $VIP4 80 rate 200 timeout 20
	hold_all
	pair_ctl lb node drain --wait --timeout $((240 * LAB_SLOWDOWN))s || FAILED=1
	pair_ctl lb2 node drain --wait --timeout $((240 * LAB_SLOWDOWN))s || FAILED=1
	lab_wait_for 20 "one route to each VIP" paths_are 1
	pair_ctl lb node undrain && pair_ctl lb2 node undrain || FAILED=1
	lab_wait_for 30 "three routes to each VIP" paths_are 3
	sleep 1
	load_end requests
	end_all
	few_failed
}

set_up() {
	local node
	lab_with_servers $COUNT && pair_up && pair_node_up lb3 4 || return 1
	peer_servers $COUNT
	for node in $PEERS; do
		peer_key "$node" 1 && peer_config "$node" && LBD=$OLDER peer_start "$node" || return 1
	done
	for node in router $PEERS; do pair_bird_start "$node"; done
	for node in $PEERS; do is_synced "$node" || return 1; done
	lab_wait_for 60 "three routes to each VIP" paths_are 3
}

skip_all_without bird bird2
[ -x "$OLDER" ] || skip_all "$OLDER is missing: make tests"
set_up_or_end set_up
run_tests "$@"
