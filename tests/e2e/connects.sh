#!/bin/bash
# Connect times as the traffic itself shows them: a backend that loses part of its SYN-ACKs, and one
# that loses all, while their checks pass.
. "$(dirname "$0")/lib.sh"

recent() { # ADDRESS FIELD
	backend_field web4 "$1" connects | jq -r ".recent.$2"
}
quantile_us() { backend_field web4 "$1" connects | jq -r ".$2 // 0"; } # ADDRESS FIELD
# Until figures of the window are there.
has_recent() { [ "$(recent 10.0.0.11 answered)" -ge 10 ] && [ "$(recent 10.0.0.12 answered)" -ge 5 ]; }

# With HEALTHY_S=600 (make healthy) for 10 minutes. What fails is shown with the state of the lab at
# that moment: a CPU or a queue of this machine may be the cause.
test_no_healthy_backend_is_taken_out_under_load() {
	local line downs=0
	line=$(log_lines)
	load_start healthy load-http "$VIP6" 80 rate 400 timeout 4 progress "$WORK/healthy.failed"
	load_start healthy4 load-http $VIP4 80 rate 400 timeout 4 progress "$WORK/healthy4.failed"
	for _ in $(seq "${HEALTHY_S:-15}"); do
		sleep 1
		lab_note_waits "$WORK/waits"
		downs=$((downs + $(not_up)))
		show_new_failures
		[ $downs = 0 ] || [ -f "$WORK/seen" ] || show_first_down
	done
	load_end healthy
	load_end healthy4
	show_new_failures
	[ ! -s "$WORK/shown" ] || sort -k4n "$WORK/waits" | tail -n 8
	expect "times that a backend was not up" $downs = 0
	expect "backends that went down or were taken out" "$(left_since "$line")" = 0
	expect "failed requests" "$(failures | wc -l)" = 0
	expect "requests over IPv6" "$(report_field healthy .answered)" -gt 0
	expect "requests over IPv4" "$(report_field healthy4 .answered)" -gt 0
	expect "connects in the sample" "$(service_field web6 connects | jq .sampled)" -ge 20
}
show_first_down() {
	: >"$WORK/seen"
	lab_moment "a backend is not up"
	lbctl backends --json | jq -c '.backends[] | [.service, .address, .condition, .connects]' | sed 's/^/#   /'
}
not_up() { lbctl backends --json | jq '[.backends[] | select(.condition != "up")] | length'; }
# "SECONDS-SINCE-THE-BEGINNING SECONDS-IT-TOOK REASON" of each request that failed.
failures() { cat "$WORK/healthy.failed" "$WORK/healthy4.failed" 2>/dev/null; }
show_new_failures() {
	local count shown
	count=$(failures | wc -l)
	shown=$(cat "$WORK/shown" 2>/dev/null || echo 0)
	[ "$count" -gt "$shown" ] || return 0
	echo "$count" >"$WORK/shown"
	lab_moment "$((count - shown)) requests more have failed"
	(cd "$WORK" && awk '{ from = int($1 * 10) / 10; $1 = $2 = ""; n[FILENAME " from " from " s:" $0]++ }
		END { for (i in n) printf "#   %d of %s\n", n[i], i }' healthy.failed healthy4.failed | sort -k5n | tail -n 40)
}
left_since() { log_since "$1" | grep -cE ': backend .* (down|no-next-hop|damped)'; } # LINE

test_a_backend_that_loses_syn_acks_shows_while_its_checks_pass() {
	in_ns b2 nft -f - <<-RULES || return 1
		add table ip lossy
		add chain ip lossy out { type filter hook output priority 0; }
		add rule ip lossy out ip saddr $VIP4 tcp flags & (syn | ack) == (syn | ack) numgen random mod 5 == 0 drop
	RULES
	load_start lossy load-http $VIP4 80 rate 300 timeout 4
	lab_wait_for 20 "recent connects" has_recent && lab_wait_for 15 "SYNs sent again" retried_some ||
		{ load_end lossy; return 1; }
	expect "retried on the other" "$(recent 10.0.0.11 retried)" = 0
	expect "condition" "$(backend_field web4 10.0.0.12 condition)" = up
	echo "# $(backend_field web4 10.0.0.11 connects | jq -c .)"
	echo "# $(backend_field web4 10.0.0.12 connects | jq -c .)"
	expect "p50 of the other, below that" "$(quantile_us 10.0.0.11 p50_us)" -lt 500000
	contains "$(lbctl connects web4)" "10.0.0.12"
	expect "metric" "$(metrics | grep '^lbd_connects_retried_total{service="web4",.*backend="10.0.0.12"' | awk '{ print $NF }')" -gt 0
	load_end lossy
	in_ns b2 nft delete table ip lossy
}
retried_some() { [ "$(recent 10.0.0.12 retried)" -ge 1 ] && [ "$(quantile_us 10.0.0.12 p99_us)" -ge 800000 ]; }

# Answers do not pass lbd here, but their acknowledgements do.
test_servers_that_answer_slowly_have_late_first_bytes() {
	load_start late load-http $VIP4 8090 rate 200 timeout 4
	lab_wait_for 20 "first bytes" has_first_bytes || { load_end late; return 1; }
	echo "# $(service_field late4 connects | jq -c .)"
	expect "p50, in us: $(first_byte_us p50_us)" \
		"$([ "$(first_byte_us p50_us)" -ge 160000 ] && [ "$(first_byte_us p50_us)" -lt 240000 ] && echo yes)" = yes
	expect "p50 of its connects" "$(service_field late4 connects | jq .p50_us)" -lt 100000
	load_end late
}
first_byte_us() { service_field late4 connects | jq -r ".first_byte.$1 // 0"; } # FIELD
has_first_bytes() { [ "$(first_byte_us recent)" -ge 20 ]; }

test_a_backend_that_never_answers_has_unanswered_connects() {
	local unanswered
	in_ns b2 nft -f - <<-RULES || return 1
		add table ip dead
		add chain ip dead out { type filter hook output priority 0; }
		add rule ip dead out ip saddr $VIP4 tcp sport 80 drop
	RULES
	load_start dead load-http $VIP4 80 rate 200 timeout 1
	lab_wait_for 20 "unanswered connects" unanswered_some || { load_end dead; return 1; }
	load_end dead
	unanswered=$(recent 10.0.0.11 unanswered)
	expect "of the other" "$unanswered" = 0
	in_ns b2 nft delete table ip dead
}
unanswered_some() { [ "$(recent 10.0.0.12 unanswered)" -ge 3 ]; }

test_a_backend_whose_connects_fail_is_taken_out_though_its_checks_pass() {
	in_ns b2 nft -f - <<-RULES || return 1
		add table ip6 half
		add chain ip6 half out { type filter hook output priority 0; }
		add rule ip6 half out ip6 saddr $VIP6 tcp flags & (syn | ack) == (syn | ack) numgen random mod 2 == 0 drop
	RULES
	load_start failing load-http $VIP6 80 rate 400 timeout 4
	lab_wait_for 20 "its backend to be taken out" condition_is web6 2001:db8:b::12 damped || {
		echo "# $(backend_field web6 2001:db8:b::12 connects | jq -c .)"
		load_end failing
		return 1
	}
	load_end failing
	contains "$(backend_field web6 2001:db8:b::12 why)" "connects failed, as the traffic shows"
	expect "its weight" "$(backend_field web6 2001:db8:b::12 effective_weight)" = 0
	expect "the other" "$(backend_field web6 2001:db8:b::11 condition)" = up
	expect "its host in a service that does not look" "$(backend_field web4 10.0.0.12 condition)" = up
	in_ns b2 nft delete table ip6 half
}

services() {
	echo "services:"
	config_service web4 $VIP4 tcp 80 4 2 ""
	config_service late4 $VIP4 tcp 8090 4 2 ""
	HEALTH="{ type: http, path: /healthz, to: backend, passive: 20%, $CHECK_TIMES }" \
		config_service web6 "$VIP6" tcp 80 6 2 ""
}

set_up() {
	local i
	lab_with_servers 2 && lab_queues || return 1
	for i in 1 2; do
		lab_spawn "late-b$i" in_ns "b$i" "$BUILD/tests/e2e/traffic" serve-http :: 8090 name "b$i" delay 0.2
	done
	lab_lbd_with 6 services
}

skip_all_without nft nftables
set_up_or_end set_up
run_tests "$@"
