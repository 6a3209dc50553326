#!/bin/bash
# Forged SYNs, ACKs, UDP datagrams and fragments, mixed, from all of 11.0.0.0/8, of which half are
# denied, while rates of new flows are set: open connections stay, new ones are served. What a
# connection takes under the flood is printed beside what it takes without, and beside what it takes
# under the same flood to an address that is no VIP, which the kernel of the balancer's host drops:
# sender, router and devices share the CPUs with what is measured.
#   FLOOD=8000000 tests/e2e/floods.sh    the full flood (make floods); the default is a fortieth
#   RATE=100000                          packets a second (10000)
#   FLOOD_EVEN=yes                       the sender is never late (FIFO priority)
#   QUIET=30                             seconds of new connections before the flood (10)
#   CONTROL=1000000                      packets of the flood that the kernel drops (none)
. "$(dirname "$0")/lib.sh"

COUNT=3   # backends
HELD=1000 # connections that are open all the time
NEW=50    # new connections a second
FLOOD=$((${FLOOD:-200000} / LAB_SLOWDOWN)) # packets
RATE=${RATE:-10000}                        # a second
QUIET=${QUIET:-10}                         # seconds without a flood, to compare with
CONTROL=$((${CONTROL:-0} / LAB_SLOWDOWN))  # packets to compare with
NO_VIP=192.0.2.77
LIMIT="limit: { new-flows: 1000000/s, per-source: { v4: 24, rate: 200/s, burst: 2000 } }
deny: [11.128.0.0/9]"

services() {
	echo "services:"
	config_service tcp $VIP4 tcp 7000 4 $COUNT "$LIMIT"
	# Where the flood's UDP goes. The table has room for it: a flow of one datagram is kept 3 s.
	config_service udp $VIP4 udp 7000 4 $COUNT "$LIMIT"$'\n'"idle-timeout: { udp: 3s }"
}

all_have_come() { [ "$(packets_to_vips)" -ge $((FLOOD / 100 * 99)) ]; }
packets_to_vips() {
	lbctl stats --json | json '[.reasons[] | select(.name | test("^(not_|malformed)") | not)
		| .packets] | add'
}

# Prints the p99 of new connections while the kernel drops the flood.
p99_under_control() {
	in_ns lb ip route add blackhole $NO_VIP
	load_start control load-tcp $VIP4 7000 rate $NEW timeout 30
	FLOOD_TO=$NO_VIP flood 7000 "$CONTROL" "$RATE" mix >&2 || return 1
	load_end control >&2
	field "$(cat "$WORK/control.json")" .p99_ms
}

ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", (b > 0 ? a / b : 0) }'; }

test_a_mixed_flood_breaks_no_connection_and_refuses_no_new_one() {
	local quiet result control=''
	hold_open held 7000 $HELD interval 2 timeout 30 || return 1
	quiet=$(traffic load-tcp $VIP4 7000 rate $NEW seconds "$QUIET" timeout 30)
	none_failed "failed new connections without a flood" "$quiet"
	if ((CONTROL)); then control=$(p99_under_control) || return 1; fi
	load_start new load-tcp $VIP4 7000 rate $NEW timeout 30
	flood 7000 "$FLOOD" "$RATE" mix || return 1
	load_end new
	lab_wait_for 20 "the flood to come" all_have_come || return 1
	load_end held
	result=$(cat "$WORK/new.json")
	echo "# p99 of a new connection: $(field "$quiet" .p99_ms) ms without, $(
		field "$result" .p99_ms) ms under the flood, ratio $(
		ratio "$(field "$result" .p99_ms)" "$(field "$quiet" .p99_ms)")"
	((!CONTROL)) || echo "# p99 under the same flood, dropped by the kernel: $control ms, ratio $(
		ratio "$control" "$(field "$quiet" .p99_ms)"); lbd to kernel $(
		ratio "$(field "$result" .p99_ms)" "$control")"
	lbctl stats | sed 's/^/# /'
	expect "open connections" "$(report_field held .connections)" = $HELD
	expect "broken or moved connections" "$(broken_or_moved held)" = 0
	none_failed "failed new connections" "$result"
	expect "new connections" "$(field "$result" .answered)" -ge 1
	expect "packets of denied clients" "$(reason_packets denied)" -ge 1
}

test_fragments_without_a_first_one_reach_no_backend() {
	expect "fragments dropped" "$(reason_packets fragment_unknown)" -ge $((FLOOD / 10))
}

set_up() {
	lab_with_servers $COUNT || return 1
	flood_unanswered $COUNT
	lab_lbd_with $((2 * COUNT)) services
}

set_up_or_end set_up
run_tests "$@"
