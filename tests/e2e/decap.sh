#!/bin/bash
# What the decapsulator of a backend accepts, with real packets: forged tunnels from outside reach
# no port, the balancer's traffic does, and setup changes what is accepted without a gap.
. "$(dirname "$0")/lib.sh"

OPEN_PORT=9999  # of the VIPs on b1: notes what arrives
OTHER4=10.0.9.9 # routed to b1, which does not have it
LATE4=10.0.0.99 # an address that b1 gets later

backend_host() { # VERB [OPTION]...
	in_ns b1 "$BUILD/lbctl" backend-host "$1" --iface eth0 "${@:2}"
}

# Setup of b1 with the VIPs it has.
setup_again() { # [OPTION]...
	backend_host setup --vip $VIP4 "$@" >"$WORK/again.log" 2>&1 || {
		cat "$WORK/again.log"
		return 1
	}
}

counter() { # NAME
	backend_host status --json | json .counters.$1
}

# Writes each datagram to OPEN_PORT of a VIP into $WORK/arrived, a line each.
listener() {
	cat >"$WORK/listen.py" <<-'PY'
		import socket, sys
		inside = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
		inside.bind(("::", int(sys.argv[1])))
		with open(sys.argv[2], "a", buffering=1) as arrived:
		    arrived.write("ready\n")
		    while True:
		        arrived.write(inside.recv(2048).decode() + "\n")
	PY
	: >"$WORK/arrived"
	lab_spawn listen in_ns b1 python3 "$WORK/listen.py" $OPEN_PORT "$WORK/arrived"
	lab_wait_for 10 "the listener" has_arrived ready
}

# Sends a datagram to a port of a VIP in a tunnel. KIND: ipip, gre, gue, gue1 (variant 1).
sender() {
	cat >"$WORK/tunnel.py" <<-'PY'
		import socket, struct, sys
		from ipaddress import ip_address
		kind, source, destination, vip, port, gue_port, text = sys.argv[1:8]

		def total(data):
		    data += b"\0" * (len(data) % 2)
		    value = sum(struct.unpack("!%dH" % (len(data) // 2), data))
		    while value > 0xffff:
		        value = (value & 0xffff) + (value >> 16)
		    return 0xffff - value

		def ip(source, destination, protocol, payload):
		    ends = ip_address(source).packed + ip_address(destination).packed
		    if len(ends) == 32:
		        head = struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64)
		        return head + ends + payload
		    length = 20 + len(payload)
		    head = struct.pack("!BBHHHBBH", 0x45, 0, length, 1, 0, 64, protocol, 0) + ends
		    return head[:10] + struct.pack("!H", total(head)) + head[12:] + payload

		def udp(source, destination, port, payload):
		    length = 8 + len(payload)
		    head = struct.pack("!HHHH", 40000, port, length, 0)
		    pseudo = ip_address(source).packed + ip_address(destination).packed
		    pseudo += struct.pack("!IHBB", length, 0, 0, 17)
		    check = total(pseudo + head + payload) or 0xffff
		    return head[:6] + struct.pack("!H", check) + payload

		six = ":" in vip
		client = "2001:db8:c::7" if six else "198.51.100.7"
		inner = ip(client, vip, 17, udp(client, vip, int(port), text.encode()))
		protocol = 41 if six else 4
		if kind == "ipip":
		    outer = ip(source, destination, protocol, inner)
		elif kind == "gre":
		    outer = ip(source, destination, 47,
		               struct.pack("!HH", 0, 0x86dd if six else 0x0800) + inner)
		elif kind in ("gue", "gue1"):
		    gue = struct.pack("!BBH", 0, protocol, 0) if kind == "gue" else b""
		    outer = ip(source, destination, 17,
		               udp(source, destination, int(gue_port), gue + inner))
		else:
		    sys.exit("kind: %s: expected ipip, gre, gue or gue1" % kind)
		family = socket.AF_INET6 if outer[0] >> 4 == 6 else socket.AF_INET
		raw = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
		raw.sendto(outer, (destination, 0))
	PY
}

# A tunnel packet from the client's place in the network. GUE_PORT may be set.
tunnel() { # KIND OUTER-SOURCE OUTER-DESTINATION VIP PORT TEXT
	in_ns client python3 "$WORK/tunnel.py" "$1" "$2" "$3" "$4" "$5" "${GUE_PORT:-6080}" "$6"
}

has_arrived() { # TEXT
	grep -qx "$1" "$WORK/arrived"
}

# All four kinds over IPv4 and IPv6, with IPv4 and IPv6 inside: 16 packets.
all_kinds() { # SOURCE4 SOURCE6 TEXT
	local kind vip
	for kind in ipip gre gue gue1; do
		for vip in $VIP4 $VIP6; do
			tunnel $kind "$1" 10.0.0.11 $vip $OPEN_PORT "$3-$kind-4-$vip"
			tunnel $kind "$2" 2001:db8:b::11 $vip $OPEN_PORT "$3-$kind-6-$vip"
		done
	done
}

counted() { # NAME VALUE
	[ "$(counter "$1")" -ge "$2" ]
}

arrived() { # PREFIX COUNT
	[ "$(grep -c "^$1" "$WORK/arrived")" -ge "$2" ]
}

# A tunnel packet is refused for this reason. The one from the prefix after it arrives, so the first
# would have arrived too.
is_refused() { # REASON TUNNEL-ARGUMENT...: without the text
	local before text="refused$RANDOM$RANDOM"
	before=$(counter "$1")
	tunnel "${@:2}" "$text"
	lab_wait_for 10 "$1 to be counted" counted "$1" $((before + 1)) || return 1
	is_opened ipip 172.16.0.9 10.0.0.11 $VIP4 $OPEN_PORT || return 1
	expect "refused packets that arrived" "$(grep -c "$text" "$WORK/arrived")" = 0
}

is_opened() { # TUNNEL-ARGUMENT...: without the text
	local text="opened$RANDOM$RANDOM"
	tunnel "$@" "$text"
	lab_wait_for 10 "a packet to arrive" has_arrived "$text"
}

# ---- who, to whom ----

test_the_balancers_tunnels_are_opened() {
	all_kinds 172.16.0.9 100::9 good
	lab_wait_for 10 "16 packets" arrived good- 16
	expect "arrived" "$(grep -c '^good-' "$WORK/arrived")" = 16
}

test_forged_tunnels_from_outside_reach_no_port() {
	local before
	before=$(counter foreign_source)
	all_kinds 198.51.100.2 2001:db8:c::2 forged
	lab_wait_for 10 "16 refused packets" counted foreign_source $((before + 16)) || return 1
	is_opened ipip 172.16.0.9 10.0.0.11 $VIP4 $OPEN_PORT || return 1
	expect "arrived" "$(grep -c '^forged-' "$WORK/arrived")" = 0
	expect "refused" "$(counter foreign_source)" = $((before + 16))
}

test_a_tunnel_to_an_address_that_the_host_does_not_have_is_refused() {
	in_ns router ip route add $OTHER4 via 10.0.0.11
	is_refused foreign_destination ipip 172.16.0.9 $OTHER4 $VIP4 $OPEN_PORT
	setup_again --to $OTHER4 && is_opened gue 172.16.0.9 $OTHER4 $VIP4 $OPEN_PORT
	setup_again --to none || return 1
	is_refused foreign_destination gre 172.16.0.9 $OTHER4 $VIP4 $OPEN_PORT
}

test_a_new_address_is_accepted_by_the_next_setup() {
	in_ns b1 ip addr add $LATE4/24 dev eth0
	is_refused foreign_destination ipip 172.16.0.9 $LATE4 $VIP4 $OPEN_PORT
	expect "missing" "$(backend_host status --json | json .accepts.missing[0].address)" = $LATE4
	setup_again && is_opened ipip 172.16.0.9 $LATE4 $VIP4 $OPEN_PORT
	in_ns b1 ip addr del $LATE4/24 dev eth0
	setup_again
	expect "missing" "$(backend_host status --json | json '.accepts.missing | length')" = 0
	expect "accepted" "$(backend_host status --json |
		json '[.accepts.to[].address] | index($late) == null' --arg late $LATE4)" = true
}

test_another_prefix_takes_the_place_of_the_default() {
	setup_again --from 198.51.100.0/24
	is_opened ipip 198.51.100.2 10.0.0.11 $VIP4 $OPEN_PORT
	local before
	before=$(counter foreign_source)
	tunnel ipip 172.16.0.9 10.0.0.11 $VIP4 $OPEN_PORT former
	lab_wait_for 10 "the former prefix to be refused" counted foreign_source $((before + 1))
	setup_again --from 172.16.0.0/16 --from 100::/64
	is_refused foreign_source ipip 198.51.100.2 10.0.0.11 $VIP4 $OPEN_PORT
}

# ---- ports ----

test_only_ports_that_are_given_are_served() {
	setup_again --port 80/tcp --port 7000/tcp --port 5353/udp --port 9998/udp || return 1
	local before
	before=$(counter port_not_served)
	all_kinds 172.16.0.9 100::9 unserved
	lab_wait_for 10 "16 refused packets" counted port_not_served $((before + 16)) || return 1
	balancers_traffic_passes
	setup_again --port any && is_opened ipip 172.16.0.9 10.0.0.11 $VIP4 $OPEN_PORT
	expect "arrived" "$(grep -c '^unserved-' "$WORK/arrived")" = 0
}

test_the_gue_port_can_be_set() {
	setup_again --gue-port 4754 || return 1
	GUE_PORT=4754 is_opened gue 172.16.0.9 10.0.0.11 $VIP4 $OPEN_PORT
	GUE_PORT=4754 is_opened gue1 100::9 2001:db8:b::11 $VIP6 $OPEN_PORT
	is_refused passed gue 172.16.0.9 10.0.0.11 $VIP4 $OPEN_PORT
	setup_again --gue-port 6080 && is_opened gue 172.16.0.9 10.0.0.11 $VIP4 $OPEN_PORT
}

# ---- the balancer ----

no_request_fails() { # MODE VIP PORT
	local result
	result=$(traffic "$1" "$2" "$3" rate 200 seconds 1)
	echo "# $result"
	none_failed "failures" "$result"
	expect "answers" "$(field "$result" .answered)" -gt 0
}

balancers_traffic_passes() {
	no_request_fails load-http $VIP4 80
	no_request_fails load-http $VIP6 80
	no_request_fails load-tcp $VIP4 7000
	no_request_fails load-tcp "$LAB_UDP4" 7000
	no_request_fails load-tcp "$LAB_UDP6" 7000
	no_request_fails load-http "$LAB_UDP4" 80
	no_request_fails load-http "$LAB_UDP6" 80
	no_request_fails load-udp "$LAB_UDP6" 5353
}

# The prefixes and the GUE port are the defaults of lbd and of setup.
test_what_lbd_sends_is_accepted_by_default() {
	local before refused='.counters | .foreign_source + .foreign_destination + .unsupported'
	before=$(backend_host status --json | json "$refused")
	balancers_traffic_passes
	expect "refused" "$(backend_host status --json | json "$refused")" = "$before"
}

# UDP: TCP would send again what is lost.
test_setup_under_load_loses_nothing() {
	load_start steady load-udp "$LAB_UDP4" 5353 rate 1000
	lab_wait_for 10 "the load to arrive" counted decapsulated $(($(counter decapsulated) + 100))
	for _ in $(seq 10); do
		setup_again --port 5353/udp --from 10.0.0.0/8 --from 172.16.0.0/16 &&
			setup_again --port any --from 172.16.0.0/16 --from 100::/64 || return 1
	done
	load_end steady
	expect "failures" "$(report_field steady .failed)" = 0
	expect "answers" "$(report_field steady .answered)" -gt 0
}

# ---- the edge of the network ----

# The rules of the README, with this lab's router as the edge.
test_the_rules_for_the_edge_keep_forged_tunnels_out() {
	command -v nft >/dev/null || { skip "needs nft (package nftables)"; return; }
	sed -n '/^    table inet edge {/,/^    }/p' "$ROOT/README.md" | sed 's/wan0/to-client/' \
		>"$WORK/edge.nft"
	expect "lines of the rules" "$(wc -l <"$WORK/edge.nft")" -gt 5
	in_ns router nft -f "$WORK/edge.nft" || return 1
	all_kinds 172.16.0.9 100::9 edge
	all_kinds 198.51.100.2 2001:db8:c::2 edge
	balancers_traffic_passes
	in_ns router nft delete table inet edge
	is_opened ipip 172.16.0.9 10.0.0.11 $VIP4 $OPEN_PORT
	expect "arrived" "$(grep -c '^edge-' "$WORK/arrived")" = 0
}

# As the unit of an interface does whose device goes away. That one has made the changes.
test_a_host_stays_a_backend_when_another_of_its_interfaces_goes() {
	lab_link b1 eth7 router to-b1-7 1600 || return 1
	backend_host undo
	in_ns b1 "$BUILD/lbctl" backend-host setup --iface eth7 --vip $VIP4 >/dev/null || return 1
	setup_again --vip $VIP6 --vip "$LAB_UDP4" --vip "$LAB_UDP6" || return 1
	ip -n "$(ns b1)" link del eth7
	in_ns b1 "$BUILD/lbctl" backend-host undo --iface eth7 || return 1
	expect "the VIP is on" "$(backend_host status --json |
		json ".vips[] | select(.address == \"$VIP4\").interface")" = lo
	is_opened ipip 172.16.0.9 10.0.0.11 $VIP4 $OPEN_PORT
}

test_undo_removes_everything() {
	backend_host undo
	expect program "$(backend_host status --json | json .program)" = none
	expect "VIPs on lo" "$(in_ns b1 ip addr show dev lo | grep -c "$VIP4/")" = 0
	setup_again --vip $VIP6 --vip "$LAB_UDP4" --vip "$LAB_UDP6"
	is_opened ipip 172.16.0.9 10.0.0.11 $VIP4 $OPEN_PORT
}

more_services() {
	config_service gre4 "$LAB_UDP4" tcp 7000 4 1 "forward: gre"
	config_service gre6 "$LAB_UDP6" tcp 7000 6 1 "forward: gre"
	config_service gue4 "$LAB_UDP4" tcp 80 4 1 "forward: gue"
	config_service gue6 "$LAB_UDP6" tcp 80 6 1 "forward: gue"
}

set_up() {
	lab_with_lbd 1 || return 1
	more_services >>"$WORK/lbd.yaml"
	lbctl reload && lab_wait_for 10 "more services" backends_up 10 || return 1
	sender
	listener
}

set_up_or_end set_up
run_tests "$@"
