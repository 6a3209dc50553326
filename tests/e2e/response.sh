#!/bin/bash
# Connect times are those that the client itself measures, and least-response-time goes by them: with
# backends whose SYN-ACKs come late for clients, and in time for checks.
. "$(dirname "$0")/lib.sh"

MARK=8

# SYN-ACKs of b$1 to clients leave so much later, until late_end.
late_begin() { # N SECONDS
	lab_spawn "late-b$1" in_ns "b$1" python3 -u "$ROOT/tests/e2e/late_syn_acks.py" "$2" $MARK
	lab_wait_for 10 "the device of late packets" grep -q ready "$WORK/late-b$1.log" || return 1
	in_ns "b$1" ip link set late0 up &&
		in_ns "b$1" ip route add default dev late0 table 77 &&
		in_ns "b$1" ip rule add fwmark 7 lookup 77 &&
		in_ns "b$1" nft -f - <<-RULES
			table ip late {
				chain out {
					type route hook output priority mangle
					ip saddr $VIP4 ip daddr 198.51.100.0/24 tcp flags & (syn | ack) == (syn | ack) meta mark != $MARK meta mark set 7
				}
			}
		RULES
}
late_end() { # N
	in_ns "b$1" nft delete table ip late
	in_ns "b$1" ip rule del fwmark 7
	lab_kill "late-b$1"
}
can_be_late() {
	in_ns client ip tuntap add dev late-try mode tun || { skip "no tun device here"; return 1; }
	in_ns client ip link del late-try
}

# ---- figures ----

nothing_recent() { [ "$(service_field web4 connects | jq .recent.sampled)" = 0 ]; }
answered_are() { [ "$(service_field web4 connects | jq .recent.answered)" = "$1" ]; } # COUNT
counted_soon() { # COUNT
	local try
	for try in $(seq 20); do
		answered_are "$1" && return
		sleep 0.1
	done
	return 1
}
# The number of the bucket: four an octave of units of 8.192 us.
BUCKET='def bucket: (. * 1000 / 8192) as $units | ($units | log2 | floor) as $octave
	| 4 * $octave + ($units / pow(2; $octave) * 4 | floor);'

# What lbd and the client say of the same connects.
agree() { # WHAT LBD-JSON CLIENT-JSON
	local figure ours theirs
	for figure in p50_us p95_us; do
		ours=$(jq ".$figure" <<<"$2") theirs=$(jq ".$figure" <<<"$3")
		echo "# $1 $figure: lbd $ours, the client $theirs"
		expect "$1: $figure: buckets between lbd's $ours and the client's $theirs" \
			"$(jq -n "$BUCKET"' ($ours | bucket) - ($theirs | bucket) | fabs' \
				--argjson ours "$ours" --argjson theirs "$theirs")" -le 1
	done
}
# All connects are in the sample here, and lbd's window holds at least the last 5 s: a machine that needs longer for the
# load is asked again.
compare() { # COUNT
	local report name try
	for try in 1 2 3 4 5 6; do
		lab_wait_for 20 "no recent connects" nothing_recent || return 1
		report=$(traffic load-http $VIP4 80 rate 200 requests "$1")
		none_failed "requests" "$report"
		! counted_soon "$1" || break
		echo "# try $try: $(service_field web4 connects)"
	done
	expect "connects that lbd has counted" "$(service_field web4 connects | jq .recent.answered)" = "$1" || return 1
	for name in b1 b2; do
		agree $name "$(backend_field web4 "10.0.0.1${name#b}" connects)" \
			"$(field "$report" ".connects.$name")"
	done
}

test_times_are_those_that_the_client_measures_itself() {
	can_be_late || return 0
	late_begin 1 0.006 && late_begin 2 0.06 || return 1
	compare $((400 / LAB_SLOWDOWN))
	late_end 1
	late_end 2
}

# ---- least-response-time ----

# Percent of new connections that b2 gets, while 150 or so are open.
share_of_b2() {
	new_ports 300 || return 1
	# shellcheck disable=SC2086
	traffic load-tcp $VIP4 7000 requests 300 rate 300 every 1 linger 0.5 $PORTS |
		json 'if .failed == 0 then (.by.b2 // 0) / 3 | floor else error("\(.failed) failed") end'
}
share_is() { # OPERATOR PERCENT
	SHARE=$(share_of_b2) && test "$SHARE" "$1" "$2"
}
response_ms() { backend_field tcp4 "$1" response_us | jq '. / 1000 | floor'; } # ADDRESS

test_least_response_time_sees_a_backend_that_is_slow_for_clients_alone() {
	can_be_late || return 0
	lab_wait_for 20 "b2 to have its share" share_is -ge 25 || { echo "# $SHARE"; return 1; }
	echo "# b2's share: $SHARE %"
	late_begin 2 0.05 || return 1
	lab_wait_for 30 "b2 to lose its share" share_is -le 12 || {
		echo "# $SHARE: $(backend_field tcp4 10.0.0.12 connects)"
		return 1
	}
	echo "# when it is slow for clients: $SHARE %; it counts as $(response_ms 10.0.0.12) ms," \
		"its checks take $(backend_field tcp4 10.0.0.12 latency_us) us"
	expect "its checks, in us" "$(backend_field tcp4 10.0.0.12 latency_us)" -lt 50000
	late_end 2
	lab_wait_for 40 "b2 to have its share back" share_is -ge 20 || { echo "# $SHARE"; return 1; }
	echo "# afterwards: $SHARE %"
}

# ---- availability ----

answered_share() { service_field web4 answered | json '.["24h"]'; }
share_stays() {
	local before
	before=$(answered_share)
	sleep 2
	[ "$(answered_share)" = "$before" ]
}
has_lost_some() { [ "$(answered_share | jq '. < 0.999')" = true ]; }

test_the_share_of_answered_connects_is_kept_over_a_restart() {
	local before
	expect "share before, of connects that were answered" "$(answered_share)" = 1
	in_ns b2 nft -f - <<-RULES || return 1
		table ip dead {
			chain out {
				type filter hook output priority 0
				ip saddr $VIP4 ip daddr 198.51.100.0/24 tcp sport 80 drop
			}
		}
	RULES
	traffic load-http $VIP4 80 rate 100 requests 100 timeout 1 >/dev/null
	lab_wait_for 15 "connects that are not answered" has_lost_some &&
		lab_wait_for 15 "all of them to be counted" share_stays || return 1
	in_ns b2 nft delete table ip dead
	contains "$(lbctl services)" "ANSWERED 24H"
	before=$(answered_share)
	echo "# answered: $before"
	stop_lbd TERM && lab_lbd_start || return 1
	expect "share after a restart" "$(answered_share)" = "$before"
	expect "counter of the metrics, which begins anew" \
		"$(service_metric lbd_service_connects_unanswered_total web4)" = 0
}

services() {
	echo "telemetry: { sample: 1/1 }"
	echo "services:"
	config_service web4 $VIP4 tcp 80 4 2 ""
	config_service tcp4 $VIP4 tcp 7000 4 2 "algorithm: least-response-time"
}

set_up() {
	lab_with_servers 2 && lab_lbd_with 4 services
}

skip_all_without nft nftables
set_up_or_end set_up
run_tests "$@"
