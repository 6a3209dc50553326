#!/bin/bash
# Two balancers that tell each other of their flows (`peers`): connections stay on their backends
# when the router gives them to the other node, whatever the algorithm. It has one static route.
# FLEET_ROUNDS: so many fail-overs at random times (1; make fleet: 100).
. "$(dirname "$0")/lib.sh"
# shellcheck source=tools/pair.sh
. "$(dirname "$0")/../../tools/pair.sh"

COUNT=3
ROUNDS=${FLEET_ROUNDS:-1}
# shellcheck disable=SC2034 # config_service reads it
HEALTH='{ type: none }' # so that nothing but the peers delays an announcement
# shellcheck disable=SC2034 # peer_config reads it
PEERS="lb lb2"

# ---- the lab ----

both_are_synced() {
	local node
	for node in lb lb2; do
		lab_wait_for 20 "$node to be synced" peer_is_synced $node || return 1
		lab_wait_for 20 "$node to be up" pair_state_is $node up || return 1
	done
}
pair_with_peers() {
	local node
	[ -n "$LAB_SEED" ] || LAB_SEED=0x5eed
	lab_with_servers $COUNT && pair_up || return 1
	peer_servers $COUNT
	goes_to lb
	for node in lb lb2; do
		peer_key $node 1 && peer_config $node && peer_start $node || return 1
	done
	both_are_synced
}

goes_to() { # NODE: the router gives it all packets to the VIPs
	ip -n "$(ns router)" route replace 192.0.2.0/24 via "${ADDRESS[$1]}"
}
announced() { ip -n "$(ns "$1")" route show table 76 proto 76 2>/dev/null | wc -l; } # NODE
peer_field() { # NODE FILTER, of its one peer
	pair_ctl "$1" fleet --json | json ".fleet.peers[0] | $2"
}
peer_log() { # NODE
	if [ "$1" = lb ]; then echo "$WORK/lbd.log"; else echo "$WORK/lbd-$1.log"; fi
}
# The node loses all that is not on its disk.
peer_crash() { # NODE
	lab_kill "$(basename "$(peer_log "$1")" .log)" KILL
}
peer_forget() { # lb2
	in_ns "$1" "$BUILD/lbctl" detach --offline --all --pin "/sys/fs/bpf/$LAB/$1" >/dev/null
	rm -rf "/sys/fs/bpf/$LAB/$1" "$(pair_dir "$1")"/lbd.sock*
	ip -n "$(ns "$1")" route flush table 76 proto 76
}

# ---- tests ----

test_nodes_are_synced_and_announce() {
	local node
	for node in lb lb2; do
		expect "peer of $node" "$(peer_field $node .state)" = synced
		expect "same config" "$(peer_field $node .session.same_config)" = true
		expect "services that both have" "$(peer_field $node .session.services)" = $PEER_SERVICES
		expect "announced by $node" "$(announced $node)" = 2
	done
	contains "$(pair_ctl lb fleet)" "${ADDRESS[lb2]}"
	expect "conflicts" "$(pair_ctl lb fleet --json | json .fleet.conflicts)" = 0
	metrics >"$WORK/metrics"
	grep -qx "lbd_peer_synced{peer=\"${ADDRESS[lb2]}\"} 1" "$WORK/metrics"
}

test_what_lbctl_fleet_prints_has_the_shape_of_the_document() {
	pair_ctl lb fleet --json | jq -c '{verb: "fleet", body: .}' >"$WORK/fleet.answers"
	"$ROOT/tools/api-check" answers "$WORK/fleet.answers"
}

test_connections_stay_on_their_backends_when_the_router_shifts_them() {
	hold_all
	goes_to lb2
	sleep 1
	goes_to lb
	sleep 1
	end_all
}

test_least_conn_counts_the_flows_of_both_nodes() {
	local active
	hold_open lc $LC $CONNECTIONS interval 0.1 timeout 30
	flows_are_known() {
		active=$(pair_ctl lb2 backends lc --json | json '[.backends[].active] | add')
		[ "$active" -ge $CONNECTIONS ]
	}
	lab_wait_for 10 "lb2 to count the flows of lb" flows_are_known
	load_end lc
	expect "broken connections" "$(broken_or_moved lc)" = 0
}

test_a_node_that_vanishes_costs_no_connection() {
	hold_all
	peer_crash lb
	pair_cut lb
	goes_to lb2
	sleep 1
	expect "peer of lb2" "$(peer_field lb2 .state)" != refused
	end_all lossy
	pair_mend lb
	goes_to lb2
	peer_start lb && both_are_synced
	goes_to lb
}

# A drain that only one node knows of, and connections that come to the other one meanwhile.
test_connections_stay_while_backends_change_and_the_router_shifts_them() {
	hold_all
	pair_ctl lb backend drain rr 10.0.0.11 >/dev/null
	pair_ctl lb backend drain mg 10.0.0.11 >/dev/null
	pair_ctl lb2 backend weight lc 10.0.0.12 1 >/dev/null
	goes_to lb2
	sleep 1
	goes_to lb
	sleep 1
	pair_ctl lb2 backend drain mg 10.0.0.12 >/dev/null
	goes_to lb2
	sleep 1
	end_all
	pair_ctl lb backend undrain rr 10.0.0.11 >/dev/null
	pair_ctl lb backend undrain mg 10.0.0.11 >/dev/null
	pair_ctl lb2 backend undrain mg 10.0.0.12 >/dev/null
	pair_ctl lb2 backend weight lc 10.0.0.12 100 >/dev/null
	goes_to lb
}

# Of the last node state and the last announcement that the log has.
order_of() { # NODE TEXT: the number of the last line with it
	grep -nF "$2" "$(peer_log "$1")" | tail -n 1 | cut -d: -f 1
}
test_a_rebooted_node_announces_nothing_before_it_is_synced_and_then_knows_all() {
	hold_all
	peer_crash lb2
	peer_forget lb2
	expect "announced after the reboot" "$(announced lb2)" = 0
	peer_start lb2 && both_are_synced || return 1
	expect "synced before it was announced: line" "$(order_of lb2 'peers: joined: synced with 1 of 1')" \
		-lt "$(order_of lb2 'node: up: 2 of 2 VIPs announced')"
	goes_to lb2 # fail-back
	sleep 1
	end_all
	goes_to lb
}

test_an_lbd_that_is_started_again_withdraws_nothing_and_syncs() {
	hold_all
	peer_crash lb2
	expect "announced without lbd" "$(announced lb2)" = 2
	pair_lbd_start lb2
	expect "announced after the start" "$(announced lb2)" = 2
	both_are_synced
	goes_to lb2
	sleep 1
	end_all
	goes_to lb
}

# One node runs it, as in the midst of an upgrade. OLD_LBD=/path/to/an/older/lbd: another one than
# that which speaks the first version of the protocol alone.
OLD_LBD=${OLD_LBD:-$BUILD/tests/e2e/lbd-first}
test_a_node_with_an_older_lbd_is_synced_and_told_of_flows() {
	[ -x "$OLD_LBD" ] || { skip "$OLD_LBD is missing: make tests"; return; }
	hold_all
	peer_crash lb2
	LBD=$OLD_LBD pair_lbd_start lb2
	both_are_synced || return 1
	expect "protocol that both speak" "$(peer_field lb .session.protocol)" -lt 2
	goes_to lb2
	sleep 1
	goes_to lb
	peer_crash lb2
	pair_lbd_start lb2
	both_are_synced || return 1
	expect "protocol that both speak" "$(peer_field lb .session.protocol)" = 2
	goes_to lb2
	sleep 1
	end_all
	goes_to lb
}

refuses() { # NODE TEXT
	[ "$(peer_field "$1" .state)" = refused ] &&
		[[ $(peer_field "$1" .why) == *"$2"* ]]
}
test_a_node_with_another_key_or_seed_is_refused_by_name() {
	local node
	lab_kill lbd-lb2
	peer_key lb2 2
	peer_start lb2
	lab_wait_for 20 "lb2 to be refused" refuses lb2 "is not in key-file"
	lab_wait_for 20 "lb to refuse" refuses lb "refuses key"
	contains "$(pair_ctl lb fleet)" "expected the same keys on all nodes"
	lab_kill lbd-lb2
	peer_key lb2 1
	peer_forget lb2
	LAB_SEED=0x1234 peer_config lb2
	peer_start lb2
	for node in lb lb2; do
		lab_wait_for 20 "$node to refuse" refuses $node "hash seeds differ"
	done
	lab_kill lbd-lb2
	peer_forget lb2
	peer_config lb2
	peer_start lb2 && both_are_synced
}

both_use_another_key_than() { # ID
	local node key
	for node in lb lb2; do
		key=$(peer_field $node .session.key) && [ "$key" != "$1" ] || return 1
	done
}
# New key as the second line everywhere, then as the first, then alone.
test_the_key_is_changed_without_a_moment_apart() {
	local node one two was losses
	losses=$(peer_field lb .losses)
	one=$(head -n 1 "$WORK/peers.key") two=${one//1/3}
	keys_are() { # LINE...
		for node in lb lb2; do
			printf '%s\n' "$@" >"$(pair_dir $node)/peers.key"
			pair_ctl $node reload >/dev/null || return 1
			sleep 3 # keys are looked at each second, later on a busy machine, and nothing shows it
		done
		both_are_synced
	}
	keys_are "$one" "$two" || return 1
	was=$(peer_field lb .session.key)
	keys_are "$two" "$one" || return 1
	lab_wait_for 20 "both to use the new key" both_use_another_key_than "$was" || return 1
	keys_are "$two" || return 1
	expect "losses of the connection" "$(peer_field lb .losses)" = "$losses"
}

# The next step of a change of keys would leave this node alone.
test_a_reload_and_its_dry_run_name_a_key_file_that_cannot_be_used() {
	local words output good used
	good=$(<"$WORK/peers.key")
	used=$(peer_field lb .session.key)
	echo "${good%?}x" >>"$WORK/peers.key"
	for words in "reload --dry-run" reload; do
		# shellcheck disable=SC2086
		output=$(lbctl $words 2>&1) || return 1
		contains "$output" "peers: key-file: $WORK/peers.key: key 2: expected 64 hexadecimal"
		contains "$output" "the keys that were read before stay in force"
	done
	output=$("$BUILD/lbd" --check "$WORK/lbd.yaml" 2>&1) || return 1
	contains "$output" "key 2: expected 64 hexadecimal"
	both_are_synced || return 1
	expect "key in use" "$(peer_field lb .session.key)" = "$used"
	echo "$good" >"$WORK/peers.key"
	output=$(lbctl reload 2>&1) || return 1
	[[ $output != *key-file* ]]
}

# Connections that last half a second, so that each fail-over meets some of any age. What began just
# before its node died may not have been told to the other one: how long before depends on how soon
# lbd has its turn on this machine, and is printed. FLEET_YOUNG_S=0.03: older ones may not break.
CHURN="churn-rr churn-lc churn-mg"
churn_begins() {
	local port=$RR name
	for name in $CHURN; do
		hold_open "$name" $port 20 interval 0.02 lifetime 0.5 timeout 30 \
			young "${FLEET_YOUNG_S:-0.03}"
		port=$((port + 1))
	done
}
# A SYN that was lost with the node counts as a connection that broke at an age of 0 ms.
ages_of_broken() { # NAME
	sed -n 's/.*age of \([0-9]*\) ms$/\1/p' "$WORK/$1.err" | sort -n |
		awk -v name="$1" '{ age[NR] = $1 } END { if (NR)
			printf "# %s: %d broke, last answered at ages of %d to %d ms, median %d\n",
				name, NR, age[1], age[NR], age[int((NR + 1) / 2)] }'
}
churn_ends() {
	local name
	for name in $CHURN; do load_end "$name"; done
	for name in $CHURN; do
		ages_of_broken "$name"
		expect "moved connections of $name" "$(report_field "$name" .moved)" = 0
		[ -z "${FLEET_YOUNG_S:-}" ] ||
			expect "connections of $name older than $FLEET_YOUNG_S s that broke" \
				"$(report_field "$name" '.broken - .young')" = 0
	done
}
test_fail_overs_at_random_times_break_nothing() {
	local node=lb
	hold_all
	churn_begins
	for _ in $(seq "$ROUNDS"); do
		sleep "0.$((RANDOM % 10))"
		pair_cut $node # first: lbd may not be dead while packets still come
		peer_crash $node
		goes_to "$(pair_other $node)"
		sleep "0.$((RANDOM % 10))"
		pair_mend $node
		peer_start $node && both_are_synced || return 1
		node=$(pair_other $node)
	done
	end_all lossy
	churn_ends
	echo "# $ROUNDS fail-overs"
}

# ---- histories ----

# A change at random of a backend of rr, lc or mg, on one node alone.
change_at_random() { # NODE
	local services=(rr lc mg) service address
	service=${services[RANDOM % 3]} address=10.0.0.1$((1 + RANDOM % COUNT))
	case $((RANDOM % 3)) in
	0) pair_ctl "$1" backend weight $service $address $((1 + RANDOM % 200)) ;;
	1) pair_ctl "$1" backend drain $service $address ;;
	2) pair_ctl "$1" backend undrain $service $address ;;
	esac >/dev/null
}
# The file's values are those of before.
undo_changes() { # NODE
	local service i
	for service in rr lc mg; do
		for i in $(seq $COUNT); do
			pair_ctl "$1" backend weight $service "10.0.0.1$i" 100 >/dev/null &&
				pair_ctl "$1" backend undrain $service "10.0.0.1$i" >/dev/null || return 1
		done
	done
}
rings_of() { # NODE
	pair_ctl "$1" services --json |
		json '[.services[] | [.name, .slots, .ring_digest // error("no digest")]] | sort'
}
test_random_histories_end_in_the_same_rings_and_then_no_connection_moves() {
	local node seed=$RANDOM
	RANDOM=$seed
	for _ in $(seq $((ROUNDS == 1 ? 10 : ROUNDS))); do
		for node in lb lb2; do change_at_random $node || return 1; done
	done
	undo_changes lb && undo_changes lb2 || return 1
	expect "rings of lb2" "$(rings_of lb2)" = "$(rings_of lb)" || echo "# RANDOM=$seed"
	CONNECTIONS=100 hold_all
	goes_to lb2
	sleep 1
	goes_to lb
	sleep 1
	end_all
}

# ---- nodes that cannot reach each other ----

part() {
	in_ns lb nft -f - <<-RULES
		add table inet apart
		add chain inet apart out { type filter hook output priority 0; }
		add chain inet apart in { type filter hook input priority 0; }
		add rule inet apart out tcp dport 7646 drop
		add rule inet apart out tcp sport 7646 drop
		add rule inet apart in tcp dport 7646 drop
		add rule inet apart in tcp sport 7646 drop
	RULES
}
meet_again() { in_ns lb nft delete table inet apart; }
are_apart() { ! peer_is_synced lb && ! peer_is_synced lb2; }

# What both knew before stays while they are apart; what began meanwhile once they have met again.
test_a_partition_of_the_nodes_and_its_end_move_nothing() {
	local name
	hold_all
	part || { skip "no nftables here"; return; }
	lab_wait_for 30 "the nodes to miss each other" are_apart || return 1
	pair_ctl lb backend drain mg 10.0.0.11 >/dev/null
	pair_ctl lb2 backend drain mg 10.0.0.12 >/dev/null
	hold_open apart-rr $RR $CONNECTIONS interval 0.1 timeout 30
	hold_open apart-mg $MG $CONNECTIONS interval 0.1 timeout 30
	sleep 1
	meet_again
	both_are_synced || return 1
	goes_to lb2
	sleep 1
	pair_ctl lb backend undrain mg 10.0.0.11 >/dev/null
	pair_ctl lb2 backend undrain mg 10.0.0.12 >/dev/null
	goes_to lb
	sleep 1
	end_all
	for name in apart-rr apart-mg; do
		load_end $name
		expect "broken or moved connections of $name" "$(broken_or_moved $name)" = 0
	done
}
test_connections_that_both_knew_stay_when_the_router_shifts_them_while_they_are_apart() {
	hold_all
	part || { skip "no nftables here"; return; }
	lab_wait_for 30 "the nodes to miss each other" are_apart || return 1
	goes_to lb2
	sleep 1
	goes_to lb
	sleep 1
	meet_again
	both_are_synced
	end_all
}

# 5 % of what each node sends to the other is lost on the way.
lose_between() {
	local node
	for node in lb lb2; do
		in_ns $node nft -f - <<-RULES || return 1
			add table inet loss
			add chain inet loss in { type filter hook input priority 0; }
			add rule inet loss in tcp dport 7646 numgen random mod 100 < 5 counter drop
			add rule inet loss in tcp sport 7646 numgen random mod 100 < 5 counter drop
		RULES
	done
}
lose_nothing() {
	local node
	for node in lb lb2; do in_ns $node nft delete table inet loss; done
}
packets_lost() {
	local node
	for node in lb lb2; do
		in_ns $node nft -j list table inet loss | json '[.. | .counter? // empty | .packets] | add'
	done | awk '{ sum += $1 } END { print sum + 0 }'
}
# The lags that lb2 shows, a look each 100 ms until the process ends: how many, the median, the share
# below 100 ms, the longest.
lags() { # PID
	while kill -0 "$1" 2>/dev/null; do
		peer_field lb2 .session.lag_ms
		sleep 0.1
	done | sort -n | awk '{ lag[NR] = $1; below += $1 < 100 }
		END { printf "%d looks, median %d ms, %d %% below 100 ms, longest %d ms\n",
			NR, lag[int((NR + 1) / 2)], 100 * below / NR, lag[NR] }'
}
# make fleet: 8 million SYNs. FLEET_LAG_MS=100: no look may show a longer lag.
test_lost_packets_between_nodes_and_a_flood_break_nothing() {
	local pid sent losses lags count=100000 rate=10000
	[ "$ROUNDS" = 1 ] || count=8000000 rate=60000
	lose_between || { skip "no numgen of nftables here"; return; }
	flood_unanswered $COUNT
	hold_all
	losses=$(peer_field lb .losses)
	sent=$(peer_field lb .session.sent_bytes)
	flood $RR "${FLOOD:-$count}" "${RATE:-$rate}" >"$WORK/flood.out" 2>&1 &
	pid=$!
	lags=$(lags $pid)
	echo "# lag during the flood: $lags"
	wait $pid
	expect "exit status of the flood" $? = 0
	echo "# told meanwhile: $(($(peer_field lb .session.sent_bytes) - sent)) bytes"
	goes_to lb2
	sleep 1
	goes_to lb
	sleep 1
	goes_to lb2
	sleep 1
	end_all lossy
	expect "packets lost between them" "$(packets_lost)" -gt 0
	echo "# packets lost between them: $(packets_lost)"
	expect "losses of the connection" $(($(peer_field lb .losses) - losses)) -lt 2
	[ -z "${FLEET_LAG_MS:-}" ] ||
		expect "the longest lag, in ms" "$(awk '{ print $(NF - 1) }' <<<"$lags")" -le "$FLEET_LAG_MS"
	lose_nothing
	goes_to lb
}

# The node has lost all that it knew, and one service alone of the other has so many established
# connections. make fleet: a million. FLEET_TOLD_MS=2000: it may not take longer.
test_a_node_that_knows_nothing_is_told_of_all_connections_soon() {
	local count=20000 rate=20000 begin took
	[ "$ROUNDS" = 1 ] || count=1000000 rate=60000
	flood_unanswered $COUNT
	goes_to lb
	peer_crash lb2
	peer_forget lb2
	flood $RR $((2 * count)) "$rate" open || return 1
	begin=$(date +%s%N)
	pair_lbd_start lb2 || return 1
	lab_wait_for 30 "lb2 to be synced" peer_is_synced lb2 || return 1
	took=$((($(date +%s%N) - begin) / 1000000))
	lab_wait_for 20 "lb2 to have counted them" flows_are_at_least lb2 $((count / 100 * 99)) || return 1
	echo "# flows: $(flows_of lb) on lb, $(flows_of lb2) on lb2, $(peer_field lb2 .session.received_bytes) bytes," \
		"$took ms from the start of lbd"
	[ -z "${FLEET_TOLD_MS:-}" ] || expect "ms until lb2 was synced" "$took" -le "$FLEET_TOLD_MS"
	both_are_synced
}
flows_of() { pair_ctl "$1" status --json | json .flows.entries; } # NODE
flows_are_at_least() { [ "$(flows_of "$1")" -ge "$2" ]; }         # NODE COUNT

# The config of a node with zones: b1 and b2 are in a, b3 is in b.
zoned_config() { # NODE ZONE
	local file
	file=$(pair_dir "$1")/lbd.yaml
	peer_config "$1"
	sed -i -e 's/\(10\.0\.0\.1[12]"\) }/\1, zone: a }/; s/\(10\.0\.0\.13"\) }/\1, zone: b }/' \
		-e "1i zone: $2" "$file"
	pair_ctl "$1" reload >/dev/null
}
# Those that the machine loses are answered by nobody.
all_new_flows_to_b3() { # PORT
	local result i
	new_ports 40 || return 1
	# shellcheck disable=SC2086
	result=$(traffic load-tcp $VIP4 "$1" requests 40 rate 200 $PORTS)
	echo "# port $1: $result"
	for i in b1 b2; do expect "new flows to $i by lb2" "$(answered_by "$result" $i)" = 0; done
	expect "new flows to b3 by lb2" "$(answered_by "$result" b3)" -ge 20
}
# Flows that b3 got of new ones of a service.
new_flows_of_b3() { # PORT
	new_ports 40 || return 1
	# shellcheck disable=SC2086
	answered_by "$(traffic load-tcp $VIP4 "$1" requests 40 rate 200 $PORTS)" b3
}

# Nearly every slot differs between them, for good.
test_nodes_of_different_zones_keep_each_others_connections() {
	local node ring
	ring='.services[] | select(.name == "mg")'
	goes_to lb
	zoned_config lb a && zoned_config lb2 b || return 1
	both_are_synced || return 1
	lab_wait_for 20 "lb to see the other config" peer_config_differs lb || return 1
	expect "slots of lb2" "$(pair_ctl lb2 services --json | json "$ring | .slots")" = \
		"$(pair_ctl lb services --json | json "$ring | .slots")"
	expect "ring of lb2" "$(pair_ctl lb2 services --json | json "$ring | .ring_digest")" != \
		"$(pair_ctl lb services --json | json "$ring | .ring_digest")"
	hold_all
	expect "new flows to b3 by lb" "$(new_flows_of_b3 $MG)" = 0
	goes_to lb2
	all_new_flows_to_b3 $MG
	all_new_flows_to_b3 $RR
	goes_to lb
	sleep 1
	goes_to lb2
	sleep 1
	end_all
	expect "held connections to b3" "$(report_field mg '.by.b3 // 0')" = 0
	goes_to lb
	for node in lb lb2; do
		peer_config $node && pair_ctl $node reload >/dev/null || return 1
	done
}
peer_config_differs() { [ "$(peer_field "$1" .session.same_config)" = false ]; } # NODE

set_up_or_end pair_with_peers
run_tests "$@"
