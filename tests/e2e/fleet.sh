#!/bin/bash
# One config in etcd for two balancers (lbd -c etcd://...): rolled out node by node under traffic,
# and whatever is wrong with the text or with etcd changes nothing.
# shellcheck disable=SC2034 # FAILED is read by run_tests
. "$(dirname "$0")/lib.sh"
# shellcheck source=tools/pair.sh
. "$(dirname "$0")/../../tools/pair.sh"

COUNT=3
KEY=/lbd/config
ETCD=10.0.0.1:2379 # on the router
NODES="lb lb2"

etcdctl3() { # WORD...
	ETCDCTL_API=3 in_ns router etcdctl --endpoints=http://$ETCD --command-timeout=10s "$@"
}
etcd_start() { # DATA-DIRECTORY
	lab_spawn etcd in_ns router etcd --data-dir "$WORK/$1" --log-level error \
		--listen-client-urls http://$ETCD --advertise-client-urls http://$ETCD \
		--listen-peer-urls http://127.0.0.1:2380 \
		--initial-advertise-peer-urls http://127.0.0.1:2380 \
		--initial-cluster default=http://127.0.0.1:2380
	lab_wait_for 20 "etcd to answer" etcdctl3 endpoint health
}

# What belongs to the node: the head of the lab's configs, and what announces.
write_node_file() { # NODE
	local dir
	dir=$(pair_dir "$1")
	: | pair_config "$1"
	mv "$dir/lbd.yaml" "$dir/node.yaml"
}
# The services over so many backends, with the lines of stdin after them.
fleet_text() { # BACKENDS
	config_web_and_tcp "$1"
}
start_node() { # NODE
	local name=lbd
	[ "$1" = lb ] || name=lbd-$1
	lab_spawn "$name" in_ns "$1" "${LBD:-$BUILD/lbd}" \
		-c "etcd://$ETCD$KEY?local=$(pair_dir "$1")/node.yaml&node=$1"
	lab_wait_for 20 "lbd on $1 to start" lab_started pair_ctl "$1"
}
node_log() { if [ "$1" = lb ]; then echo "$WORK/lbd.log"; else echo "$WORK/lbd-$1.log"; fi; }

# The text of status, without its line breaks.
status_of() { pair_ctl "$1" status | tr -s ' \n' ' '; } # NODE
shared() { pair_ctl "$1" status --json | json ".shared_config.$2"; } # NODE FIELD
# Without those that leave.
backends_of() { pair_ctl "$1" backends --json | json '[.backends[] | select(.drain == null)] | length'; } # NODE
all_have() { # BACKENDS
	local node
	for node in $NODES; do [ "$(backends_of "$node")" = "$1" ] || return 1; done
}
etcd_is_read() { [ "$(pair_ctl "$1" status --json | jq .shared_config.failed_s)" = null ]; } # NODE
etcd_is_lost() { ! etcd_is_read "$1"; }                                                      # NODE
reload_success() { # NODE
	metrics_of "$1" |
		awk '$1 == "lbd_config_reload_success" { print $2 }'
}
put() { etcdctl3 put "$KEY" >/dev/null; } # <TEXT
text_in_etcd() { etcdctl3 get --print-value-only "$KEY"; }

# ---- start ----

test_nodes_take_their_config_from_etcd() {
	local node
	all_have 6 || FAILED=1
	for node in $NODES; do
		expect "in force" "$(shared "$node" in_force)" = true
		contains "$(status_of "$node")" "is in force"
		test -s "$(ls "$(pair_dir "$node")"/state/config*.yaml)" || FAILED=1
	done
	contains "$(lbctl fleet)" "config $KEY, node lb: revision"
}

test_the_source_process_has_no_rights() {
	local pid
	pid=$(pgrep -P "$(lbd_pid)" -f source-process) || return 1
	expect "capabilities" "$(proc_status "$pid" CapEff)" = 0000000000000000
	expect "seccomp" "$(proc_status "$pid" Seccomp)" = 2
}

# ---- a rollout ----

# Each version of the record, a line each.
record_log() { etcdctl3 watch "$KEY/rollout"; }
never_two_at_a_time() { # LOG
	grep '^{' "$1" | jq -e '[.nodes[] | select(.state == "applying")] | length <= 1' >/dev/null &&
		[ "$(grep -c '"applying"' "$1")" -ge 2 ]
}
roll_out() { # BACKENDS [OPTION]...
	fleet_text "$1" >"$WORK/fleet.yaml"
	lbctl fleet apply "$WORK/fleet.yaml" --timeout 120s "${@:2}"
}
test_a_good_change_goes_from_node_to_node_and_breaks_nothing() {
	lab_spawn record record_log
	across roll_out 3
	all_have 9 || FAILED=1
	lab_kill record
	never_two_at_a_time "$WORK/record.log" || {
		sed 's/^/# /' "$WORK/record.log"
		FAILED=1
	}
	expect "rollout" "$(lbctl fleet --json | json .config.rollout.state)" = "done"
	expect "nodes" "$(lbctl fleet --json | json '[.config.rollout.nodes[].state] | unique')" = '["done"]'
	expect "metric" "$(metric lbd_shared_config_in_force)" = 1
}

rollout_is_done() { [ "$(lbctl fleet --json | json .config.rollout.state)" = "done" ]; }
test_what_lbctl_prints_has_the_shape_of_the_document() {
	local verb request
	request=$(jq -n --arg text "$(text_in_etcd)" '{text: $text, max_unavailable: 2,
		limit: "9s", dry_run: true}')
	{
		for verb in fleet status; do
			lbctl $verb --json | jq -c "{verb: \"$verb\", body: .}"
		done
		lbctl fleet apply --json "$WORK/fleet.yaml" | jq -c '{verb: "fleet apply", body: .}'
		# a node that is still at the change before refuses another one for now
		lab_wait_for 20 "the rollout" rollout_is_done
		lab_wait_for 20 "an answer to the dry run" dry_run_is_answered "$request"
		jq -c --argjson request "$request" '{method: "POST",
			path: "/v1/fleet/apply", status: 200, request: $request, body: .}' "$WORK/dry.answer"
	} >"$WORK/fleet.answers"
	expect "answers" "$(wc -l <"$WORK/fleet.answers")" = 4
	"$ROOT/tools/api-check" answers "$WORK/fleet.answers"
}
dry_run_is_answered() { # REQUEST
	in_ns lb curl -s -f -m 60 -o "$WORK/dry.answer" --unix-socket "$WORK/lbd.sock" -d "$1" \
		http://lbd/v1/fleet/apply
}

test_the_config_before_is_put_back() {
	across lbctl fleet apply --rollback --timeout 120s
	all_have 6
}

# ---- what is wrong with the text ----

test_a_bad_file_is_written_nowhere() {
	local before out
	before=$(text_in_etcd)
	echo "services: [{ name: x, vip: 192.0.2.300, protocol: tcp }]" >"$WORK/bad.yaml"
	out=$(lbctl fleet apply "$WORK/bad.yaml" 2>&1) && FAILED=1
	contains "$out" "etcd:$KEY:1: service x: vip"
	out=$(lbctl fleet apply "$WORK/lbd.sock" 2>&1) && FAILED=1
	out=$(lbctl fleet apply 2>&1) && FAILED=1
	contains "$out" "expected either FILE or --rollback"
	expect "text" "$(text_in_etcd)" = "$before"
}

refused_everywhere() {
	local node
	for node in $NODES; do [ "$(reload_success "$node")" = 0 ] || return 1; done
}
accepted_everywhere() {
	local node
	for node in $NODES; do [ "$(reload_success "$node")" = 1 ] || return 1; done
}
put_nonsense() {
	sed 's/vip: 192.0.2.10/vip: 192.0.2.300/' "$WORK/good.yaml" | put
	lab_wait_for 20 "both to refuse it" refused_everywhere
}
test_a_bad_text_put_by_hand_changes_nothing_and_says_why() {
	local node
	text_in_etcd >"$WORK/good.yaml"
	across put_nonsense
	all_have 6 || FAILED=1
	for node in $NODES; do
		contains "$(status_of "$node")" "was refused, an earlier one is in force: etcd:$KEY:"
		contains "$(pair_ctl "$node" events --since 60s)" "reload failed, nothing changed: etcd:$KEY:"
		expect "by hand" "$(pair_ctl "$node" reload >/dev/null 2>&1 || echo refused)" = refused
	done
	put <"$WORK/good.yaml"
	lab_wait_for 20 "both to be content" accepted_everywhere
	expect "refused" "$(pair_ctl lb status --json | jq -c .shared_config.refused)" = '""'
}

test_a_node_that_is_not_usable_with_it_stops_the_rollout() {
	local out
	{
		fleet_text 2
		config_service down $VIP4 tcp 81 4 1 "" | sed 's/10.0.0.11/10.0.0.99/'
	} >"$WORK/fleet.yaml"
	out=$(lbctl fleet apply "$WORK/fleet.yaml" --limit 3s --timeout 60s 2>&1)
	expect "status" $? = 1
	contains "$out" "the rollout is stopped: lb"
	contains "$out" "not usable 3s after the change: service down is down"
	expect "nodes with it" "$(for node in $NODES; do backends_of "$node"; done | grep -c '^7$')" = 1
	sleep 1
	expect "still" "$(for node in $NODES; do backends_of "$node"; done | grep -c '^7$')" = 1
	contains "$(status_of lb)" "the rollout is stopped"
	lbctl fleet apply --rollback --timeout 60s >/dev/null || FAILED=1
	all_have 6
}

# ---- nodes that are not there ----

kill_node() { # NODE
	lab_kill "$(basename "$(node_log "$1")" .log)" KILL
}
test_a_node_that_is_down_blocks_nobody_and_takes_its_turn_later() {
	kill_node lb2
	roll_out 3 >/dev/null || FAILED=1
	expect "lb" "$(backends_of lb)" = 9
	start_node lb2 || return 1
	lab_wait_for 20 "lb2 to have it" all_have 9
	roll_out 2 >/dev/null || FAILED=1
	all_have 6
}

# ---- a node that dies in its own turn ----

# With a service that lb2 cannot check while lb2_is_cut_off: there it is not usable with this text.
text_with_late() { # BACKENDS
	fleet_text "$1"
	HEALTH="{ type: tcp, port: 8282, interval: 300ms, timeout: 250ms, rise: 1, fall: 2 }" \
		config_service late $VIP4 tcp 82 4 1 ""
}
lb2_is_cut_off() {
	in_ns lb2 nft -f - <<-RULES
		add table inet late
		add chain inet late out { type filter hook output priority 0; }
		add rule inet late out tcp dport 8282 drop
	RULES
}
lb2_is_cut_off_no_more() { in_ns lb2 nft delete table inet late; }
rollout_field() { lbctl fleet --json | json ".config.rollout.$1"; } # FIELD
# It has the text in force, and is not usable with it.
lb2_is_in_its_turn() { # BACKENDS
	[ "$(rollout_field 'nodes[] | select(.name == "lb2") | .state')" = applying ] &&
		[ "$(backends_of lb2)" = "$1" ]
}
rollout_is_stopped() { [ "$(rollout_field state)" = stopped ]; }
# What lbctl says is in $WORK/apply.log, how it ended in $WORK/apply.status.
apply_and_wait() {
	LAB_EXEC='' lbctl fleet apply "$WORK/fleet.yaml" --limit 30m
	echo $? >"$WORK/apply.status"
}
lb2_dies_in_its_turn() { # BACKENDS, of each service
	text_with_late "$1" >"$WORK/fleet.yaml"
	rm -f "$WORK/apply.status"
	lab_spawn apply apply_and_wait
	lab_wait_for 30 "lb2 to be in its turn" lb2_is_in_its_turn $((3 * $1 + 1)) || return 1
	kill_node lb2
	lab_wait_for 60 "lbctl to say that the rollout is stopped" test -s "$WORK/apply.status"
}

WENT="lb2: went away while it applied the config: it goes on when that node is back, or when the config is applied again"
test_a_node_that_dies_in_its_turn_stops_the_rollout_and_goes_on_with_it_when_it_is_back() {
	lab_spawn late in_ns b1 "$BUILD/tests/e2e/traffic" serve-tcp :: 8282 name b1
	roll_out 2 >/dev/null || return 1
	lb2_is_cut_off || return 1
	across lb2_dies_in_its_turn 3 || return 1
	expect "exit status of lbctl" "$(cat "$WORK/apply.status")" = 1
	contains "$(cat "$WORK/apply.log")" "lb2: applying"
	contains "$(cat "$WORK/apply.log")" "the rollout is stopped: $WENT. To put the former config back: lbctl fleet apply --rollback"
	contains "$(lbctl fleet | tr -s ' \n' ' ')" "$WENT"
	expect "there" "$(rollout_field 'nodes[] | select(.name == "lb2") | .live')" = false
	sleep 1
	expect "still" "$(rollout_field state)" = stopped
	lb2_is_cut_off_no_more
	start_node lb2 || return 1
	lab_wait_for 60 "the rollout" rollout_is_done || return 1
	expect "nodes" "$(rollout_field 'nodes | map(.state) | unique')" = '["done"]'
	all_have 10
}

# Its copy on disk is the text that it may have died of: without it, it starts with what etcd has.
test_the_config_is_put_back_while_the_node_that_died_in_its_turn_is_away() {
	roll_out 3 >/dev/null || return 1
	lb2_is_cut_off || return 1
	across lb2_dies_in_its_turn 2 || return 1
	across lbctl fleet apply --rollback --timeout 60s || return 1
	expect "lb" "$(backends_of lb)" = 9
	lb2_is_cut_off_no_more
	grep -q late "$WORK"/lb2/state/config*.yaml || FAILED=1
	rm "$WORK"/lb2/state/config*.yaml
	start_node lb2 || return 1
	expect "lb2, as soon as it has started" "$(backends_of lb2)" = 9
	lab_wait_for 60 "the rollout" rollout_is_done || return 1
	lab_wait_for 20 "lb2 to be in the record" lb2_is_done
}
lb2_is_done() { [ "$(rollout_field 'nodes[] | select(.name == "lb2") | .state')" = "done" ]; }

# As after a power cut: its word is in etcd, and the text is not on its disk.
test_a_node_that_died_before_it_applied_what_it_said_does_so_when_it_is_back() {
	kill_node lb2
	across roll_out 2 >/dev/null || return 1
	etcdctl3 get --print-value-only "$KEY/rollout" | jq -c '.nodes.lb2 = {state: "applying", why: ""}' |
		etcdctl3 put "$KEY/rollout" >/dev/null
	lab_wait_for 20 "lb to see it" rollout_is_stopped || return 1
	contains "$(status_of lb)" "the rollout is stopped: $WENT"
	start_node lb2 || return 1
	lab_wait_for 60 "lb2 to be done" lb2_is_done || return 1
	lab_wait_for 20 "the rollout" rollout_is_done
	all_have 6
}

record_is_refused() { status_of lb | grep -q "$KEY/rollout: expected the record of a rollout"; }
test_a_record_that_is_none_and_options_that_make_no_sense_change_nothing() {
	local out
	across put_record nonsense
	contains "$(lbctl fleet apply "$WORK/fleet.yaml" 2>&1)" "etcd cannot be read: $KEY/rollout: expected the record of a rollout"
	put_record '{"digest":"1","max_unavailable":0,"limit_ms":1,"nodes":{}}'
	put_record '{"digest":"1","max_unavailable":1,"limit_ms":1,"nodes":{"x":{"state":"odd"}}}'
	etcdctl3 del "$KEY/rollout" >/dev/null
	lab_wait_for 20 "etcd to be readable again" etcd_is_read lb || return 1
	for out in "--max-unavailable 0" "--max-unavailable 65" "--limit 0s" "--limit 2h" "--limit soon"; do
		# shellcheck disable=SC2086 # an option and its value
		contains "$(lbctl fleet apply "$WORK/fleet.yaml" $out 2>&1)" "expected"
	done
	all_have 6
}
# The refusal of one before says nothing of this one.
put_record() { # TEXT
	etcdctl3 del "$KEY/rollout" >/dev/null
	lab_wait_for 20 "no record" etcd_is_read lb || return 1
	etcdctl3 put "$KEY/rollout" "$1" >/dev/null
	lab_wait_for 20 "the record to be refused" record_is_refused
}

# ---- alerts ----

# Each in a real Prometheus, which watches lb.
test_what_is_wrong_with_the_config_of_the_fleet_is_raised() {
	without_prometheus && return
	roll_out 2 >/dev/null || return 1
	text_in_etcd >"$WORK/good.yaml"
	start_prometheus || return 1
	put_nonsense
	expect_alerts LbdSharedConfigNotInForce
	put <"$WORK/good.yaml"
	lab_wait_for 20 "both to be content" accepted_everywhere
	expect_rest LbdSharedConfigNotInForce
	text_with_late 2 | sed 's/8282/8283/' >"$WORK/fleet.yaml"
	lbctl fleet apply "$WORK/fleet.yaml" --limit 8s --no-wait >/dev/null || FAILED=1
	expect_alerts LbdRolloutSlow LbdRolloutStopped
	lbctl fleet apply --rollback --timeout 60s >/dev/null || FAILED=1
	expect_rest LbdRolloutSlow LbdRolloutStopped
	lab_kill etcd KILL
	expect_alerts LbdSharedConfigUnreadable
	etcd_start etcd || return 1
	expect_rest LbdSharedConfigUnreadable LbdSharedConfigNotInForce
	lab_kill prometheus
}

# ---- what is wrong with etcd ----

etcd_goes_wrong() { # BACKENDS
	local node
	lab_kill etcd KILL
	for node in $NODES; do lab_wait_for 30 "$node to lose etcd" etcd_is_lost "$node"; done
	contains "$(status_of lb)" "etcd cannot be read"
	kill_node lb2
	start_node lb2 || return 1
	contains "$(status_of lb2)" "the copy on disk is in force"
	expect "backends of lb2" "$(backends_of lb2)" = "$1"
	etcd_start etcd || return 1
	for node in $NODES; do lab_wait_for 30 "$node to read etcd" etcd_is_read "$node"; done
	etcdctl3 del "$KEY" >/dev/null
	for node in $NODES; do lab_wait_for 30 "$node to miss the key" etcd_is_lost "$node"; done
	contains "$(status_of lb)" "the key is not there"
	etcdctl3 del --prefix "" >/dev/null
	etcdctl3 put "$KEY" '' >/dev/null
	lab_wait_for 30 "lb to see an empty key" is_empty
	lab_kill etcd KILL
	etcd_start etcd-new || return 1
	sleep 1
	all_have "$1"
}
both_are_shown() { [ "$(etcdctl3 get --prefix --keys-only "$KEY/live/" | grep -c live)" = 2 ]; }
is_empty() { status_of lb | grep -q "the key is empty"; }
test_etcd_killed_restored_emptied_and_replaced_changes_nothing() {
	text_in_etcd >"$WORK/good.yaml"
	across etcd_goes_wrong "$(backends_of lb)"
	put <"$WORK/good.yaml"
	for node in $NODES; do lab_wait_for 30 "$node to read etcd" etcd_is_read "$node"; done
	expect "in force" "$(shared lb in_force)" = true
	lab_wait_for 20 "both to show themselves" both_are_shown
	roll_out 3 >/dev/null || FAILED=1
	all_have 9
}

test_without_etcd_and_copy_a_node_does_not_start_and_says_so() {
	local out
	out=$(in_ns lb2 "$BUILD/lbd" -c "etcd://10.0.0.1:1$KEY?local=$WORK/lb2/none.yaml" 2>&1) && FAILED=1
	contains "$out" "none.yaml: cannot open"
	rm -f "$WORK"/lb2/state/config*.yaml
	kill_node lb2
	out=$(in_ns lb2 "$BUILD/lbd" -c "etcd://10.0.0.1:1$KEY?local=$WORK/lb2/node.yaml" 2>&1) && FAILED=1
	contains "$out" "and no copy on this node"
	start_node lb2
}

# ---- run-time changes ----

test_run_time_changes_are_shown_and_saved_by_way_of_etcd() {
	local out
	lbctl backend weight web4 10.0.0.11 7 >/dev/null
	contains "$(lbctl diff)" "10.0.0.11"
	out=$(lbctl save 2>&1) && FAILED=1
	contains "$out" "lbctl save --print > FILE, then lbctl fleet apply FILE"
	lbctl save --print >"$WORK/fleet.yaml"
	lbctl fleet apply "$WORK/fleet.yaml" --timeout 60s >/dev/null || FAILED=1
	expect "weight on lb2" "$(lb2ctl backends web4 --json |
		json '.backends[] | select(.address == "10.0.0.11") | .weight')" = 7
	expect "overrides" "$(lbctl status --json | json .overrides)" = 0
}

set_up() {
	local node
	[ -n "$LAB_SEED" ] || LAB_SEED=0x5eed
	lab_with_servers $COUNT && pair_up || return 1
	ip -n "$(ns router)" route replace 192.0.2.0/24 \
		nexthop via 10.0.0.2 nexthop via 10.0.0.3
	etcd_start etcd || return 1
	fleet_text 2 | put || return 1
	for node in $NODES; do
		write_node_file "$node" && start_node "$node" &&
			lab_wait_for 15 "the backends to be up on $node" pair_backends_up "$node" 6 ||
			return 1
	done
}
skip_all_without etcd etcd-server
skip_all_without etcdctl etcd-client
set_up_or_end set_up
run_tests "$@"
