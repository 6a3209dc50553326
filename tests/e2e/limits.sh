#!/bin/bash
# Rates of new flows (docs/limits.md): floods, real clients beside them, reload and restart.
. "$(dirname "$0")/lib.sh"

COUNT=2     # backends
HELD=200    # connections that are open all the time
FLOOD=60000 # SYNs, from addresses that are one source prefix

# The flood comes from 11.0.0.0/8, the client from 198.51.100.2: with /8 each is one source.
services() {
	echo "services:"
	service guarded 7000 "limit: { per-source: { v4: 8, rate: 300/s, burst: 600 } }"
	service capped 7001 "limit: { new-flows: 1/m, burst: 5 }"
	service free 7002 ""
	config_service udp "$LAB_UDP4" udp 5353 4 $COUNT \
		"limit: { per-source: { v4: 32, rate: 1/m, burst: 6 } }"
}
service() { config_service "$1" $VIP4 tcp "$2" 4 $COUNT "$3"; } # NAME PORT EXTRA

# The most new flows that a rate lets through in what has passed since a time.
may_pass() { # BURST RATE SINCE
	echo $(($1 + $2 * (SECONDS - $3 + 1)))
}

# ---- the promises ----

test_a_flood_from_one_source_prefix_costs_other_clients_nothing() {
	local before since=$SECONDS
	before=$(service_field guarded flows) || return 1
	hold_open held 7000 $HELD interval 1 timeout 20 || return 1
	load_start new load-tcp $VIP4 7000 rate 40 timeout 20
	flood 7000 $FLOOD 20000 || return 1
	lab_wait_for 20 "the flood to be dropped" over_at_least guarded $((FLOOD / 2)) || return 1
	load_end new
	load_end held
	expect "failed new connections" "$(report_field new .failed)" = 0
	expect "new connections" "$(report_field new '[.by[]] | add')" -ge 1
	expect "broken or moved connections" "$(broken_or_moved held)" = 0
	expect "open connections" "$(report_field held .connections)" = $HELD
	expect "new flows" "$(($(service_field guarded flows) - before))" \
		-le $((2 * $(may_pass 600 300 $since)))
}
over_at_least() { [ "$(service_field "$1" over_source_rate)" -ge "$2" ]; }

test_stats_and_metrics_show_what_was_dropped() {
	local dropped
	dropped=$(reason_packets over_source_rate) || return 1
	expect "packets dropped" "$dropped" -ge $((FLOOD / 2))
	expect "the first offender" "$(offender 0 .prefix)" = 11.0.0.0/8
	expect "its service" "$(offender 0 .service)" = guarded
	expect "what it lost" "$(offender 0 .dropped)" = "$dropped"
	expect "lines of the text" \
		"$(lbctl stats | grep -cE '^  11\.0\.0\.0/8 .* dropped, last .* ago, guarded$')" = 1
	expect "the service's metric" "$(over_source_rate guarded)" = "$dropped"
	expect "the other service's metric" "$(over_source_rate free)" = 0
	expect "labels of sources" "$(metrics | grep -c 11.0.0.0)" = 0
}
over_source_rate() { service_metric lbd_service_over_source_rate_total "$1"; } # SERVICE
offender() { # NUMBER FIELD
	lbctl stats --json | json ".sources_over_rate[$1]$2"
}

# A rate of one a minute: hardly more than the burst is let through while the test runs.
test_a_service_above_its_rate_drops_new_connections_and_keeps_the_open_ones() {
	local result
	hold_open capped 7001 5 interval 1 timeout 20 || return 1
	result=$(traffic load-tcp $VIP4 7001 rate 10 requests 10 timeout 3)
	expect "refused connections" "$(field "$result" .failed)" -ge 8
	expect "packets above the rate" "$(service_field capped over_rate)" -ge 8
	result=$(traffic load-tcp $VIP4 7002 rate 50 requests 100 timeout 20)
	none_failed "refused connections of the other service" "$result"
	sleep 2
	load_end capped
	expect "broken or moved connections" "$(broken_or_moved capped)" = 0
}

test_a_datagram_of_a_known_udp_flow_costs_nothing() {
	local result
	lab_wait_for 60 "the UDP service to know its flows" lab_udp_settled || return 1
	# 6 flows of many datagrams, then one more
	load_start udp hold-udp "$LAB_UDP4" 5353 connections 6 interval 0.2 timeout 20
	lab_wait_for 20 "6 flows" udp_has_flows 6 || return 1
	result=$(traffic load-udp "$LAB_UDP4" 5353 rate 10 requests 10 timeout 2)
	expect "refused flows" "$(field "$result" .failed)" -ge 8
	sleep 3
	load_end udp
	expect "broken or moved flows" "$(broken_or_moved udp)" = 0
}
udp_has_flows() { [ "$(service_field udp flows)" = "$1" ]; }

# While lbd is dead, and in the next one, an empty bucket stays empty.
test_rates_hold_without_lbd_and_in_the_next_one() {
	local result over
	# empties the bucket, which a slow machine has given minutes since the last flow
	traffic load-tcp $VIP4 7001 rate 10 requests 10 timeout 3 >/dev/null
	over=$(service_field capped over_rate) || return 1
	stop_lbd KILL || return 1
	result=$(traffic load-tcp $VIP4 7001 rate 10 requests 10 timeout 3)
	expect "refused connections without lbd" "$(field "$result" .failed)" -ge 7
	lab_lbd_start || return 1
	expect "packets above the rate" "$(service_field capped over_rate)" -ge $((over + 7))
	result=$(traffic load-tcp $VIP4 7001 rate 10 requests 10 timeout 3)
	expect "refused connections after a restart" "$(field "$result" .failed)" -ge 7
	expect "the first offender" "$(offender 0 .prefix)" = 11.0.0.0/8
}

test_a_reload_changes_rates() {
	local result
	sed -i 's/new-flows: 1\/m, burst: 5/new-flows: 1000\/s/' "$WORK/lbd.yaml"
	lbctl reload >/dev/null || return 1
	# the first flow shows the program the new rate, which fills the bucket within a second
	result=$(traffic load-tcp $VIP4 7001 rate 10 requests 1 timeout 3)
	none_failed "failed connections" "$result"
	sleep 1.5
	result=$(traffic load-tcp $VIP4 7001 rate 50 requests 100 timeout 20)
	none_failed "failed connections at the new rate" "$result"
	sed -i '/new-flows: 1000/d' "$WORK/lbd.yaml"
	lbctl reload >/dev/null || return 1
	expect "the service's limit" "$(lbctl services --json |
		jq -c '.services[] | select(.name == "capped") | .limit')" = null
	result=$(traffic load-tcp $VIP4 7001 rate 50 requests 100 timeout 20)
	none_failed "failed connections without a rate" "$result"
}

set_up() {
	local i
	lab_with_servers $COUNT || return 1
	for i in $(seq $COUNT); do
		lab_spawn "more-b$i" in_ns "b$i" \
			"$BUILD/tests/e2e/traffic" serve-tcp :: 7001 ports 2 name "b$i"
	done
	flood_unanswered $COUNT
	lab_lbd_with $((4 * COUNT)) services
}

set_up_or_end set_up
run_tests "$@"
