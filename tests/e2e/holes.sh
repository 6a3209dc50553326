#!/bin/bash
# MTU holes: a link behind the balancer that is narrower than it looks, and nobody says so. Beside checks
# to the VIP lbd sends packets as long as those of clients, and a backend that gets none is down.
. "$(dirname "$0")/lib.sh"

NARROW=1400
# Outer sources that are routed to the balancer, as docs/config.md, "Path MTU", asks for.
SOURCE4=10.99.1.0/24
# Name, forward, family of the VIP, of the backends, port. b1 and b2 are on the balancer's own link.
SERVICES="ipip4 ipip 4 4 8081
ipip6 ipip 6 6 8082
cross ipip 4 6 8083
gue6 gue 6 6 8084
gre4 gre 4 4 8085
l24 l2 4 4 8086
l26 l2 6 6 8087"
COUNT=7
ROUTED=10.66.0.11 # b3, behind the router: of ipip4 alone
ROUTED_PORT=8088
ALL=$((2 * COUNT + 3))

services() {
	local name forward vip family port
	echo "encap: { source-v4: $SOURCE4 }"
	echo "services:"
	while read -r name forward vip family port; do
		HEALTH="{ type: tcp, $CHECK_TIMES }" config_service "$name" \
			"$([ "$vip" = 4 ] && echo $VIP4 || echo $VIP6)" tcp "$port" "$family" 2 "forward: $forward"
	done <<<"$SERVICES"
	cat <<-CONF
		  - name: routed
		    vip: $VIP4
		    protocol: tcp
		    port: $ROUTED_PORT
		    health: { type: tcp, $CHECK_TIMES }
		    backends: [ { address: $ROUTED }, { address: 10.0.0.11 }, { address: 10.0.0.12 } ]
	CONF
}
all_up() { backends_up $ALL; }

long_packets() { backend_field "$1" "$2" checks | jq -r ".long_packets.$3"; } # SERVICE ADDRESS FIELD
long_are() { # STATE COUNT
	[ "$(lbctl backends --json | json '[.backends[] | select(.checks.long_packets.state == $state)] | length' \
		--arg state "$1")" = "$2" ]
}
narrow() { ip -n "$(ns router)" link set to-b2 mtu "$1"; } # MTU: of a port of the bridge, which drops without a word
echo_of_b2() { # drop | answer
	in_ns b2 nft delete table inet quiet 2>/dev/null
	[ "$1" = answer ] || in_ns b2 nft -f - <<-RULES
		add table inet quiet
		add chain inet quiet in { type filter hook input priority 0; }
		add rule inet quiet in icmp type echo-request drop
		add rule inet quiet in icmpv6 type echo-request drop
	RULES
}
lost() { # LENGTH
	echo "to the VIP: packets of $1 bytes are lost, of 84 bytes they arrive: MTU hole: a link on the way has a smaller MTU, and no router says \"too big\""
}
# Long segments, to whichever backend.
upload() { # VIP PORT
	[ "$(in_ns client timeout 5 python3 "$WORK/copy.py" send "$1" "$2" "$WORK/file")" = "$WANT" ]
}
uploads() { # VIP PORT
	local i
	for i in $(seq 10); do
		upload "$@" || { echo "# upload $i to $*"; return 1; }
	done
}

test_long_packets_of_every_way_arrive() {
	lab_wait_for 30 "long packets to arrive" long_are arrive $ALL || return 1
	expect "their length over IPIP" "$(long_packets ipip4 10.0.0.11 length)" = 1500
	expect "their length on the link" "$(long_packets l26 2001:db8:b::11 length)" = 1500
	expect "downs" "$(downs_since 1)" = 0
}

# The one behind the router has no room for more on the balancer's own link, whose errors lbd hears.
test_a_router_that_says_too_big_makes_no_hole() {
	expect "MTU of the way" "$(backend_field routed $ROUTED next_hop | jq .mtu)" = $NARROW
	expect "the length that is tried" "$(long_packets routed $ROUTED length)" = $((NARROW - 20))
	expect "what becomes of them" "$(long_packets routed $ROUTED state)" = arrive
	expect "condition" "$(backend_field routed $ROUTED condition)" = up
	logged "path to $ROUTED: MTU $NARROW, reported by 10.0.0.1"
}

test_a_backend_behind_a_hole_is_down_and_says_why() {
	local name forward vip family port line
	line=$(log_lines)
	narrow $NARROW
	while read -r name forward vip family port; do
		down_because "$name" "$(backend_address 2 "$family")" "$(lost 1500)" || return 1
		expect "b1 of $name" "$(backend_field "$name" "$(backend_address 1 "$family")" condition)" = up
	done <<<"$SERVICES"
	down_because routed 10.0.0.12 "$(lost 1500)" || return 1
	expect "downs" "$(downs_since "$line")" = $((COUNT + 1))
	expect "what lbctl says of it" "$(long_packets ipip4 10.0.0.12 state)" = lost
	contains "$(lbctl health ipip4)" "MTU hole"
	logged "backend 10.0.0.12 down: $(lost 1500)"
}

test_uploads_go_on_beside_a_hole() {
	uploads $VIP4 8081 && uploads $VIP6 8082 && uploads $VIP6 8084
}

test_a_backend_is_back_when_the_link_is_mended() {
	narrow 1600
	lab_wait_for 30 "all to be up" all_up || return 1
	lab_wait_for 30 "long packets to arrive" long_are arrive $ALL
}

# Short ones are lost as well: that says nothing of the way.
test_a_backend_that_answers_no_echo_is_up() {
	local line
	line=$(log_lines)
	echo_of_b2 drop
	narrow $NARROW
	lab_wait_for 60 "lbd to know that it knows nothing" long_are unknown $((COUNT + 1)) || return 1
	expect "why" "$(long_packets ipip4 10.0.0.12 why)" = "it answers no echo to the VIP"
	expect "downs" "$(downs_since "$line")" = 0
	narrow 1600
	echo_of_b2 answer
}

# The balancer may be what loses them, and it may begin any time: meanwhile no backend answers one.
test_a_balancer_that_gets_no_long_answers_takes_no_backend_down() {
	local line
	in_ns lb nft -f - <<-RULES || return 1
		add table inet deaf
		add chain inet deaf in { type filter hook input priority 0; }
		add rule inet deaf in icmp type echo-reply meta length > 1000 drop
		add rule inet deaf in icmpv6 type echo-reply meta length > 1000 drop
	RULES
	line=$(log_lines)
	lab_wait_for 30 "long packets to be lost" long_are lost $ALL || return 1
	expect "why that does not count" "$(long_packets ipip4 10.0.0.11 why)" = \
		"that does not count: no other backend has answered one so long meanwhile"
	contains "$(lbctl health ipip4)" "are lost, short ones arrive: that does not count"
	lab_wait_for 40 "the log to say so" grep -q "health checks of $VIP4: packets of" "$WORK/lbd.log" || return 1
	in_ns lb nft delete table inet deaf
	lab_wait_for 30 "long packets to arrive" long_are arrive $ALL || return 1
	expect "downs" "$(downs_since "$line")" = 0
}

# The errors of the router end at the router.
test_a_router_that_says_nothing_makes_a_hole() {
	in_ns router nft -f - <<-RULES || return 1
		add table ip mute
		add chain ip mute out { type filter hook output priority 0; }
		add rule ip mute out icmp type destination-unreachable drop
	RULES
	ip -n "$(ns router)" link set to-b3 mtu 1300
	ip -n "$(ns b3)" link set eth0 mtu 1300
	down_because routed $ROUTED "$(lost $((NARROW - 20)))" || return 1
	in_ns router nft delete table ip mute
	lab_wait_for 30 "all to be up" all_up || return 1
	expect "MTU of the way" "$(backend_field routed $ROUTED next_hop | jq .mtu)" = 1300
}

test_it_can_be_switched_off() {
	sed -i 's/health: { type: tcp,/health: { type: tcp, mtu: off,/' "$WORK/lbd.yaml"
	lbctl reload >/dev/null || return 1
	lab_wait_for 30 "all to be up" all_up || return 1
	expect "what is known" "$(backend_field ipip4 10.0.0.12 checks | jq -c .long_packets)" = null
	expect "backends whose long packets are tried" "$(lbctl backends --json |
		json '[.backends[] | select(.checks.long_packets)] | length')" = 0
}

serve() { # N
	# shellcheck disable=SC2046
	lab_spawn "serve$1" in_ns "b$1" python3 "$WORK/copy.py" serve $(awk '{ print $5 }' <<<"$SERVICES") $ROUTED_PORT
	in_ns "b$1" "$BUILD/lbctl" backend-host setup --iface eth0 --vip $VIP4 --vip $VIP6 \
		--from $SOURCE4 --from 100::/64 >/dev/null
}

routed_backend() {
	lab_host b3
	lab_cable b3 $ROUTED/24 2001:db8:66::11/64 $NARROW
	in_ns router ip addr add 10.66.0.1/24 dev to-b3
	in_ns b3 ip route add default via 10.66.0.1
	in_ns router ip route add $SOURCE4 via 10.0.0.2
}

set_up() {
	local i
	lab_up 2 && routed_backend || return 1
	head -c 100000 /dev/urandom >"$WORK/file"
	WANT=$(sha256sum <"$WORK/file" | cut -c1-64)
	copy_py
	for i in 1 2 3; do serve "$i" || return 1; done
	lab_lbd_with $ALL services
}

skip_all_without nft nftables
set_up_or_end set_up
run_tests "$@"
