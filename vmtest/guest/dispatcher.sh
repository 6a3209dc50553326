#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# lbd beside other XDP programs, through libxdp's dispatcher, which needs programs of type EXT. lbd's
# is one of them, and calls a further one for packets between IPv4 and IPv6.
# shellcheck source=vmtest/guest/lib.sh
. "$(dirname "$0")/lib.sh"

VIP46=192.0.2.46 # its backends have IPv6 addresses
PREFIX=2001:db8:46::/96
NAT_WEB=8080 NAT_PUT=8081 NAT_UDP=8053 # ports of the services with forward: nat
UDP_PORT=7001                          # of their backends

# ---- services with forward: nat, by the same backends as those in tunnels ----

nat_service() { # NAME VIP PROTOCOL PORT FAMILY BACKEND-PORT
	service "nat-$1" "$2" "$3" "$4" "$5" "nat
backend-port: $6"
}

config() {
	echo "nat: { prefix: \"$PREFIX\" }"
	config_services "$BACKENDS_UP"
	nat_service web4 $VIP4 tcp $NAT_WEB 4 80
	nat_service web6 $VIP6 tcp $NAT_WEB 6 80
	nat_service web46 $VIP46 tcp $NAT_WEB 6 80
	nat_service put4 $VIP4 tcp $NAT_PUT 4 $NAT_PUT
	nat_service put46 $VIP46 tcp $NAT_PUT 6 $NAT_PUT
	nat_service udp4 $VIP4 udp $NAT_UDP 4 $UDP_PORT
	nat_service udp46 $VIP46 udp $NAT_UDP 6 $UDP_PORT
}
SERVICES=13

# What b$1 sends from its own addresses leaves through the balancer. What it sends from a VIP, for
# services in tunnels, does not.
nat_backend() { # N
	local family address
	for family in 4 6; do
		address=$(backend_address "$1" $family)
		ip -n "$(ns "b$1")" -$family rule add from "$address" table 80 || return 1
		lab_spawn "nat-udp$family-b$1" in_ns "b$1" \
			"$BUILD/tests/e2e/traffic" serve-udp "$address" $UDP_PORT name "b$1"
	done
	ip -n "$(ns "b$1")" route add default via 10.0.0.2 dev eth0 mtu 1500 table 80
	ip -n "$(ns "b$1")" -6 route add default via 2001:db8:b::2 dev eth0 mtu 1500 table 80
}

returned_packets() { # SERVICE
	lbctl backends "$1" --json | json '[.backends[].returned_packets] | add'
}

# Every backend answers, and lbd has put the VIP into what it counts.
nat_answers() { # SERVICE MODE VIP PORT
	local before
	before=$(returned_packets "nat-$1") || return 1
	requests_are_answered "$2" "$3" "$4"
	expect "replies of nat-$1" "$(returned_packets "nat-$1")" -gt "$before"
}

nat_works() {
	nat_answers web4 load-http $VIP4 $NAT_WEB
	nat_answers web6 load-http $VIP6 $NAT_WEB
	nat_answers udp4 load-udp $VIP4 $NAT_UDP
	upload_arrives_whole $VIP4 $NAT_PUT
}

translation_works() {
	nat_answers web46 load-http $VIP46 $NAT_WEB
	nat_answers udp46 load-udp $VIP46 $NAT_UDP
	upload_arrives_whole $VIP46 $NAT_PUT
	expect "untranslatable packets" "$(reason_packets untranslatable)" = 0
}

# ---- lbd in the dispatcher ----

programs_on_eth0() { in_ns lb xdp-loader status eth0; }
has_dispatcher() { [ "$(lbctl status --json | json '.interfaces[0].dispatcher')" = true ]; }

test_lbd_attaches_through_the_dispatcher() {
	has_dispatcher || return 1
	programs_on_eth0
	expect "dispatchers on eth0" "$(programs_on_eth0 | grep -c xdp_dispatcher)" = 1
}

test_nat_works_in_the_dispatcher() { nat_works; }
test_an_ipv4_vip_with_ipv6_backends_works_in_the_dispatcher() { translation_works; }

# Without lbd's part in it a dispatcher takes no frames that need several buffers, and the other end
# of the veth cannot have such an MTU.
test_the_dispatcher_takes_jumbo_frames_as_lbd_does() {
	in_ns router ip link set to-lb mtu 9000 || return 1
	in_ns router ip link set to-lb mtu 1600
}

test_xdpdump_sees_the_packets_while_lbd_forwards_them() {
	lab_spawn dump in_ns lb timeout 60 xdpdump -i eth0 --rx-capture entry -w "$WORK/dump.pcap"
	sleep 8
	requests_are_answered load-http $VIP4 80
	lab_kill dump INT
	cat "$WORK/dump.log"
	expect "packets to the VIP in xdpdump's file" \
		"$(tcpdump -nn -r "$WORK/dump.pcap" "dst host $VIP4" 2>/dev/null | wc -l)" \
		-gt $((900 / LAB_SLOWDOWN))
}

test_xdp_filter_drops_a_port_while_lbd_forwards_the_others() {
	local result
	in_ns lb xdp-filter load eth0 -m native -f udp -p allow || return 1
	programs_on_eth0
	in_ns lb xdp-filter port 5353 -p udp -m dst || return 1
	requests_are_answered load-http $VIP4 80
	nat_works
	translation_works
	result=$(traffic load-udp "$LAB_UDP4" 5353 rate 20 seconds 1 timeout 1)
	expect "UDP answers through xdp-filter" "$(field "$result" .answered)" = 0
}

test_lbd_forwards_all_again_once_xdp_filter_is_unloaded() {
	in_ns lb xdp-filter unload eth0 || return 1
	programs_on_eth0
	requests_are_answered load-udp "$LAB_UDP4" 5353
	requests_are_answered load-http $VIP4 80
	translation_works
}

test_a_new_lbd_takes_over_in_the_dispatcher() {
	lab_kill lbd KILL
	requests_are_answered load-http $VIP4 80
	requests_are_answered load-http $VIP46 $NAT_WEB
	lab_lbd_start || return 1
	has_dispatcher || return 1
	requests_are_answered load-http $VIP4 80
	nat_works
	translation_works
}

test_detach_leaves_the_other_program_alone() {
	in_ns lb xdp-filter load eth0 -m native -f udp -p allow || return 1
	lbctl detach eth0 --force || return 1
	programs_on_eth0
	expect "xdp-filter on eth0" "$(programs_on_eth0 | grep -c xdpfilt)" = 1
	expect "interfaces of lbd" \
		"$(lbctl status --json | json '.interfaces | arrays | length')" = 0
}

set_up() {
	local i
	lab_with_servers $BACKENDS_UP && put_servers $NAT_PUT || return 1
	lab_forwarding_on lb
	in_ns lb sysctl -qw net.ipv6.conf.all.forwarding=1
	in_ns lb ip -6 route replace unreachable $PREFIX # docs/nat.md
	for i in $(seq $BACKENDS_UP); do nat_backend "$i" || return 1; done
	lab_lbd_with $((SERVICES * BACKENDS_UP)) config || return 1
	lab_wait_for 90 "the slots of the UDP services to settle" lab_udp_settled
}

# Since 6.12.8 and 6.13 the kernel does not let a program that changes packets replace one that
# does not, and libxdp's dispatcher up to 1.5.4 has only places of the second kind. The decapsulator
# changes packets too: if xdp-loader gets it into a dispatcher, lbd must get there.
dispatcher_takes_such_programs() {
	local result
	ip netns add probe
	nsenter --net=/run/netns/probe ip link add probe0 type veth peer name probe1
	nsenter --net=/run/netns/probe \
		xdp-loader load -m native probe0 "$BUILD/decap.bpf.o" >/dev/null 2>&1
	nsenter --net=/run/netns/probe xdp-loader status probe0 | grep -q xdp_dispatcher
	result=$?
	nsenter --net=/run/netns/probe xdp-loader unload -a probe0 >/dev/null 2>&1
	ip netns del probe
	return $result
}

for tool in xdp-loader xdp-filter xdpdump; do
	command -v $tool >/dev/null && continue
	echo "ok 1 - lbd_beside_other_programs # SKIP no $tool (Debian package xdp-tools)"
	echo "1..1"
	exit 0
done
if ! dispatcher_takes_such_programs; then
	echo "ok 1 - lbd_beside_other_programs # SKIP kernel $(uname -r) keeps programs" \
		"that change packets out of this libxdp's dispatcher"
	echo "1..1"
	exit 0
fi
set_up_or_end set_up
run_tests "$@"
