#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# virtio-net with several queues in native XDP mode, with real traffic. The guest has two NICs that
# are connected outside of it (VM_NICS of vm.sh): one is the load balancer's, the other the
# router's.
# shellcheck source=vmtest/guest/lib.sh
. "$(dirname "$0")/lib.sh"

test_program_attaches_in_native_mode() { mode_is eth0 native; }
test_http_over_ipv4_reaches_every_backend() { requests_are_answered load-http $VIP4 80; }
test_http_over_ipv6_reaches_every_backend() { requests_are_answered load-http $VIP6 80; }
test_udp_reaches_every_backend() { requests_are_answered load-udp "$LAB_UDP4" 5353; }
test_upload_arrives_byte_for_byte() { upload_arrives_whole $VIP4 8081; }

# The driver's count of packets that the program got, by queue: "QUEUE PACKETS". The counters of
# queue 0 begin with rx_queue_0_ in 6.1 and with rx0_ in 6.12.
queue_packets() {
	in_ns lb ethtool -S eth0 |
		sed -nE 's/^ *rx(_queue_)?([0-9]+)_xdp_packets: *([0-9]+)$/\2 \3/p'
}

test_every_queue_brings_packets_to_the_program() {
	local queue packets queues=0
	requests_are_answered load-http $VIP4 80
	while read -r queue packets; do
		echo "# queue $queue: $packets packets"
		[ "$packets" = 0 ] || queues=$((queues + 1))
	done < <(queue_packets)
	expect "queues that brought packets" "$queues" -ge 2
}

test_nothing_was_dropped_for_want_of_room() {
	local count
	for count in no_headroom redirect_failed; do
		expect "$count" "$(reason_packets $count)" = 0
	done
	expect "XDP drops of the driver" "$(in_ns lb ethtool -S eth0 |
		awk '/xdp_drops/ { n += $2 } END { print n + 0 }')" = 0
}

# The name of the NIC with a MAC address.
nic() { # MAC
	ip -j link | json '.[] | select(.address == $mac) | .ifname' --arg mac "$1"
}

# Puts the two NICs in the place of the load balancer's veth pair.
virtio_cable() {
	local near far
	near=$(nic 52:54:00:00:00:00) && far=$(nic 52:54:00:00:00:01) || return 1
	ip -n "$(ns router)" link del to-lb
	ip link set "$near" netns "$(ns lb)" name eth0
	ip link set "$far" netns "$(ns router)" name to-lb
	in_ns lb ethtool -L eth0 combined 2
	in_ns lb ethtool -K eth0 tx off gro on lro off >/dev/null 2>&1
	in_ns router ethtool -K to-lb tx off >/dev/null 2>&1
	in_ns lb ip link set eth0 mtu 1600 up
	in_ns router ip link set to-lb mtu 1600 up
	in_ns lb ip addr add 10.0.0.2/24 dev eth0
	in_ns lb ip addr add 2001:db8:b::2/64 dev eth0 nodad
	lab_join_inside lb
}

set_up() {
	local i
	lab_need_root
	lab_up $BACKENDS_UP && virtio_cable || return 1
	for i in $(seq $BACKENDS_UP); do
		lab_backend_servers "$i" $VIP4 $VIP6 "$LAB_UDP4" "$LAB_UDP6" || return 1
	done
	put_servers 8081 || return 1
	{
		lab_config_head
		config_services $BACKENDS_UP
		service put4 $VIP4 tcp 8081 4
	} >"$WORK/lbd.yaml"
	lbd_up $((7 * BACKENDS_UP))
}

need_modules virtio_net_with_several_queues virtio_net
udevadm settle 2>/dev/null || sleep 2
if [ "$(ip -j link | json 'any(.[]; .address == "52:54:00:00:00:01")')" = false ]; then
	echo "ok 1 - virtio_net_with_several_queues # SKIP no NICs: the host has no tap devices"
	echo "1..1"
	exit 0
fi
set_up_or_end set_up
run_tests "$@"
