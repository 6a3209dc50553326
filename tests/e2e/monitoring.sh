#!/bin/bash
# Metrics as those who watch lbd use them: docs/metrics.md lists what there is; the rules of
# dist/alerts.yml are raised in a real Prometheus by making their faults; the queries of
# dist/grafana.json have results.
# shellcheck disable=SC2034 # run_tests reads FAILED
. "$(dirname "$0")/lib.sh"

# Each alert of dist/alerts.yml is in this file, between these texts.
expect_every_alert() { # FILE BEFORE AFTER
	local alert
	for alert in $(sed -n 's/^ *- alert: //p' "$ROOT/dist/alerts.yml"); do
		grep -q "$2$alert$3" "$ROOT/$1" && continue
		echo "# $1 lacks $alert"
		FAILED=1
	done
}

# ---- the list of metrics ----

test_the_document_lists_every_metric_with_its_type_labels_and_meaning() {
	metrics | "$ROOT/tools/metrics-table" >"$WORK/table"
	sed '1,/^<!-- made by tools\/metrics-table -->$/d' "$ROOT/docs/metrics.md" |
		grep '^|' >"$WORK/document"
	expect "metrics" "$(wc -l <"$WORK/table")" -gt 40
	diff "$WORK/document" "$WORK/table" | sed 's/^/# /'
	[ "${PIPESTATUS[0]}" = 0 ] || FAILED=1
}

test_promtool_finds_nothing_to_say() {
	command -v promtool >/dev/null || { skip "no promtool here: tools/deps test installs it"; return; }
	expect "buckets of lbd_handshake_seconds" \
		"$(metrics | grep -c '^lbd_handshake_seconds_bucket{service="web4",.*le="[^"]*"} ')" = 18
	expect "buckets of lbd_first_byte_seconds" \
		"$(metrics | grep -c '^lbd_first_byte_seconds_bucket{service="web4",.*le="[^"]*"} ')" = 20
	metrics | promtool check metrics >"$WORK/promtool" 2>&1
	expect "promtool's exit status" "${PIPESTATUS[1]}" = 0
	expect "what it says, in bytes: $(cat "$WORK/promtool")" "$(wc -c <"$WORK/promtool")" = 0
}

test_the_document_lists_every_alert() {
	expect_every_alert docs/metrics.md '^| `' '` | '
}

# ---- rules ----

test_each_rule_fires_for_its_fault_and_none_without() {
	without_prometheus && return
	promtool check rules "$ROOT/dist/alerts.yml" | sed 's/^/# /'
	[ "${PIPESTATUS[0]}" = 0 ] || FAILED=1
	promtool test rules "$ROOT/tests/e2e/alerts.yml" || return 1
	expect_every_alert tests/e2e/alerts.yml 'alertname="' '"' # its test
}

# ---- the dashboard ----

# Every query of a panel, with the variables as Grafana would fill them in. What is shown only above
# 0 must exist.
dashboard_queries() {
	jq -r '.panels[].targets[].expr' "$ROOT/dist/grafana.json" |
		sed -e "s/\$instance/.*/g; s/\$service/.*/g; s/\$__rate_interval/30s/g; s/ > 0\$//"
}
dashboard_variables() {
	jq -r '.templating.list[] | select(.type == "query") | .query' "$ROOT/dist/grafana.json" |
		sed 's/^label_values(\(.*\), \(.*\))$/\1{\2!=""}/'
}

test_each_query_of_the_dashboard_has_a_result() {
	local expression count=0
	without_prometheus && return
	expect "services up" "$(query 'count(lbd_service_up == 1)')" = 3
	lab_wait_for 20 "two scrapes" has_result 'rate(lbd_packets_total[30s])' || return 1
	while read -r expression; do
		count=$((count + 1))
		lab_wait_for 10 "a result of $expression" has_result "$expression"
	done < <(dashboard_queries; dashboard_variables)
	expect "queries" $count -gt 20
}

# ---- each fault in a real Prometheus ----

kill_nginx() { lab_kill "nginx-b$1" KILL; } # N
all_up() { backends_up 6; }

test_a_healthy_lbd_raises_no_alert() {
	without_prometheus && return
	lab_wait_for 30 "all backends to be up" all_up || return 1
	# a busy machine makes it late, and then that is what it says
	expect "alerts" "$(query 'count(ALERTS{alertname!="LbdLate"}) or vector(0)')" = 0
}

test_a_lost_backend_is_raised_with_panic_and_backups() {
	without_prometheus && return
	kill_nginx 1
	expect_alerts LbdBackendDown LbdServicePanic LbdServiceOnBackups
	fires LbdServiceDown && { echo "# LbdServiceDown too"; FAILED=1; }
	lab_nginx_start 1
	lab_wait_for 30 "all backends to be up" all_up || return 1
	expect_rest LbdBackendDown LbdServicePanic LbdServiceOnBackups
}

test_a_service_without_a_weight_is_raised_as_down() {
	without_prometheus && return
	lbctl backend weight web4 10.0.0.11 0 >/dev/null || return 1
	lbctl backend weight web4 10.0.0.12 0 >/dev/null || return 1
	expect_alerts LbdServiceDown LbdRunTimeChanges
	fires LbdNotForwarding && { echo "# LbdNotForwarding too"; FAILED=1; }
	lbctl reload >/dev/null || return 1
	expect_rest LbdServiceDown LbdRunTimeChanges
}

test_backends_lost_at_once_are_raised_as_blind() {
	without_prometheus && return
	kill_nginx 1
	kill_nginx 2
	expect_alerts LbdServiceBlind LbdNotForwarding
	fires LbdServiceDown && { echo "# LbdServiceDown too"; FAILED=1; }
	lab_nginx_start 1
	lab_nginx_start 2
	lab_wait_for 60 "all backends to be up" all_up || return 1
	expect_rest LbdServiceBlind LbdNotForwarding
}

# The way of b1 to clients does not lead through lb, so they get replies that the VIP has not sent.
test_a_backend_whose_replies_do_not_come_back_is_raised() {
	without_prometheus && return
	lbctl service add silent "$VIP4:7003/tcp" --forward nat --backend 10.0.0.11,port=7000 \
		--health none >/dev/null || return 1
	load_start silent load-tcp $VIP4 7003 rate 20 timeout 1
	lab_wait_for 40 "nothing to come back for 10 s" has_result "lbd_backend_silent == 1"
	expect_alerts LbdBackendSilent
	load_end silent
	lbctl service remove silent --force >/dev/null || return 1
	expect_rest LbdBackendSilent LbdRunTimeChanges
}

test_a_detached_interface_is_raised() {
	without_prometheus && return
	lbctl detach eth0 >/dev/null || return 1
	expect_alerts LbdInterfaceNotAttached LbdNotForwarding
	lbctl attach eth0 >/dev/null || return 1
	expect_rest LbdInterfaceNotAttached LbdNotForwarding
}

test_a_refused_config_is_raised() {
	without_prometheus && return
	sed -i.good 's/port: 80$/port: 70000/' "$WORK/lbd.yaml"
	lbctl reload >/dev/null 2>&1 && return 1
	expect_alerts LbdConfigRefused
	mv "$WORK/lbd.yaml.good" "$WORK/lbd.yaml"
	lbctl reload >/dev/null || return 1
	expect_rest LbdConfigRefused
}

test_clients_beyond_the_limit_are_raised() {
	without_prometheus && return
	lab_spawn swarm in_ns lb "$BUILD/tests/e2e/swarm" "$WORK/lbd.sock" /v1/status idle 1000
	expect_alerts LbdClientsRefused
	lab_kill swarm
}

# Its process ends as soon as it is there, until that is raised.
test_checks_that_do_not_run_are_raised() {
	without_prometheus && return
	lab_wait_for 60 "LbdProbeProcessDown" fires_or_loses_its_probes || return 1
	expect_rest LbdProbeProcessDown
}
fires_or_loses_its_probes() {
	local pid
	fires LbdProbeProcessDown && return
	pid=$(probe_process pid 2>/dev/null) && kill -9 "$pid" 2>/dev/null
	return 1
}

# Stopped for most of the time.
test_an_lbd_without_cpu_is_raised() {
	local pid
	without_prometheus && return
	pid=$(lbd_pid) || return 1
	lab_wait_for 60 "LbdLate" fires_or_stands_still "$pid" || return 1
	expect_alerts LbdLate
}
fires_or_stands_still() { # PID
	local stop
	for stop in 1 2 3 4 5 6 7 8 9 10; do
		kill -STOP "$1"
		sleep 0.3
		kill -CONT "$1"
		sleep 0.1
	done
	fires LbdLate
}

# Twice as many connections of one service as its share of the table; the share is set when the
# table is swept.
test_a_crowd_beyond_the_flow_table_is_raised() {
	local half
	without_prometheus && return
	lab_spawn crowd in_ns b1 "$BUILD/tests/e2e/traffic" serve-tcp :: 7006 ports 1 name b1
	lbctl service add crowd "$VIP4:7006/tcp" --algorithm round-robin --backend 10.0.0.11 \
		--health none >/dev/null || return 1
	for half in crowd-a crowd-b; do
		load_start $half hold $VIP4 7006 connections 800 interval 0 timeout 30
		lab_wait_for 20 "the connections of $half" grep -q "round 1 has ended" "$WORK/$half.err"
	done
	expect_alerts LbdFlowTableFull
	for half in crowd-a crowd-b; do load_end $half; done
	lbctl service remove crowd --force >/dev/null
}

# A second way, to b2, whose device is taken out of the program's list of those it may send through.
test_packets_that_are_not_sent_are_raised() {
	local index
	without_prometheus && return
	lab_link lb eth7 router to-lb7 1600 || return 1
	in_ns lb ip addr add 10.0.7.2/24 dev eth7
	in_ns router ip addr add 10.0.7.1/24 dev to-lb7
	lab_takes_xdp_frames to-lb7
	in_ns lb ip route add 10.0.0.12/32 via 10.0.7.1 dev eth7
	lab_wait_for 20 "b2 to be reached through eth7" b2_is_behind eth7 || return 1
	lab_wait_for 20 "all backends to be up" all_up || return 1
	index=$(ip -n "$(ns lb)" -j link show eth7 | jq '.[0].ifindex')
	bpftool map delete pinned "/sys/fs/bpf/$LAB/maps/egress" \
		key $((index & 255)) $((index >> 8 & 255)) $((index >> 16 & 255)) 0 || return 1
	load_start unsent load-http $VIP4 80 rate 50
	expect_alerts LbdPacketsNotSent
	load_end unsent
	in_ns lb ip link del eth7
	lab_wait_for 30 "b2 to be reached through eth0" b2_is_behind eth0
}
b2_is_behind() { # INTERFACE
	[ "$(lbctl backends web4 --json | json '.backends[]
		| select(.address == "10.0.0.12") | .next_hop.interface')" = "$1" ]
}

# The far end of lb's cable takes no frames from XDP any more, and lbd must stay in native mode.
test_lost_frames_are_raised() {
	without_prometheus && return
	lbctl detach eth0 >/dev/null && lbctl attach eth0 --mode native >/dev/null || {
		skip "no native mode here"
		return
	}
	in_ns router bpftool net detach xdp dev to-lb
	in_ns router ethtool -K to-lb gro off >/dev/null 2>&1
	load_start lost load-http $VIP4 80 rate 50
	expect_alerts LbdFramesLost
	load_end lost
	lab_takes_xdp_frames to-lb
}

test_an_lbd_that_has_ended_is_raised() {
	without_prometheus && return
	stop_lbd TERM || return 1
	expect_alerts LbdDown
	lab_lbd_start
}

three_services_of_two_backends() {
	lab_with_servers 2 || return 1
	(umask 077 && printf '%064d\n' 1 >"$WORK/peers.key")
	{
		lab_config_head
		# for their metrics
		echo "announce: { table: 76 }"
		echo "peers: { nodes: [10.0.0.2, 10.0.0.250], key-file: $WORK/peers.key }"
		echo "limits: { flows: 1k, slots: 1M }"
		echo "services:"
		config_service web4 $VIP4 tcp 80 4 2 "idle-timeout: { tcp: 3s }"
		config_service panics $VIP4 tcp 7000 4 2 "panic-threshold: 60%"
		BACKUPS=2 config_service spared $VIP4 tcp 7001 4 2 ""
	} | sed "0,/\"10.0.0.11\"/s//&, name: web-1, zone: a, labels: { rack: \"7\" }/" \
		>"$WORK/lbd.yaml"
	lab_lbd_start || return 1
	lab_wait_for 10 "all backends to be up" all_up || return 1
	! has_prometheus || start_prometheus
}

set_up_or_end three_services_of_two_backends
run_tests "$@"
