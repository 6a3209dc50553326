#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# lbd on a bond of two links, and with its backends behind a VLAN.
# shellcheck source=vmtest/guest/lib.sh
. "$(dirname "$0")/lib.sh"

# ---- bond0 of two cables; all traffic goes through it ----

# A second cable, and a bond over both in place of eth0.
bond() { # MODE
	local name
	ip -n "$(ns lb)" link add eth1 type veth peer name to-lb1 netns "$(ns router)"
	in_ns lb ip link set eth1 mtu 1600
	in_ns router ip link set to-lb1 mtu 1600 up
	in_ns lb ethtool -K eth1 tx off gro on >/dev/null 2>&1
	in_ns router ethtool -K to-lb1 tx off gro on >/dev/null 2>&1
	lab_takes_xdp_frames to-lb1
	in_ns lb ip link add bond0 type bond mode "$1" miimon 100
	for name in eth0 eth1; do
		in_ns lb ip link set "$name" down
		in_ns lb ip link set "$name" master bond0 || return 1
	done
	in_ns lb ip link set bond0 mtu 1600 up
	in_ns lb ip addr flush dev eth0
	in_ns lb ip addr add 10.0.0.2/24 dev bond0
	in_ns lb ip addr add 2001:db8:b::2/64 dev bond0 nodad
	lab_join_inside lb
	in_ns router ip link set to-lb1 master br0
}

bond_lab() {
	local i
	lab_up $BACKENDS_UP && bond active-backup || return 1
	for i in $(seq $BACKENDS_UP); do
		lab_backend_servers "$i" $VIP4 $VIP6 "$LAB_UDP4" "$LAB_UDP6" || return 1
	done
	put_servers 8081 || return 1
	{
		config_head_for bond0
		config_services $BACKENDS_UP
		service put4 $VIP4 tcp 8081 4
	} >"$WORK/lbd.yaml"
	lbd_up $((7 * BACKENDS_UP))
}

test_bond_attaches_in_native_mode() {
	bond_lab && mode_is bond0 native
}
test_bond_forwards_ipv4() { requests_are_answered load-http $VIP4 80; }
test_bond_forwards_ipv6() { requests_are_answered load-http $VIP6 80; }
test_bond_forwards_udp() { requests_are_answered load-udp "$LAB_UDP4" 5353; }
test_bond_upload_arrives_byte_for_byte() { upload_arrives_whole $VIP4 8081; }

test_bond_forwards_through_the_other_link_when_one_fails() {
	local active
	active=$(in_ns lb cat /sys/class/net/bond0/bonding/active_slave)
	in_ns lb ip link set "$active" down
	lab_wait_for 20 "the bond to switch" other_link_is_active "$active"
	in_ns client ping -q -c 1 -W 5 10.0.0.2
	requests_are_answered load-http $VIP4 80
}

other_link_is_active() { # FORMER
	! in_ns lb ip -d link show bond0 | grep -q "active_slave $1 "
}

# ---- backends in VLAN 100 of lb's cable, clients untagged; then clients in the VLAN too ----

# Moves the backends to another bridge, which reaches lb through VLAN 100 of its cable. Without VLAN
# offload, so that the tag is in the frame, where XDP sees it.
vlan() {
	local i
	in_ns router ethtool -K to-lb txvlan off rxvlan off >/dev/null 2>&1
	in_ns lb ethtool -K eth0 txvlan off rxvlan off >/dev/null 2>&1
	in_ns router ip link add br100 type bridge
	in_ns router ip link set br100 mtu 1590 up
	in_ns router ip link add link to-lb name to-lb.100 type vlan id 100
	in_ns router ip link set to-lb.100 mtu 1590 master br100 up
	in_ns router ip addr add 10.0.100.1/24 dev br100
	in_ns router ip addr add 2001:db8:100::1/64 dev br100 nodad
	for i in $(seq $BACKENDS_UP); do
		in_ns router ip link set "to-b$i" master br100
		in_ns "b$i" ip addr flush dev eth0 scope global
		in_ns "b$i" ip addr add "10.0.100.$((10 + i))/24" dev eth0
		in_ns "b$i" ip addr add "2001:db8:100::$((10 + i))/64" dev eth0 nodad
		in_ns "b$i" ip route add default via 10.0.100.1 mtu 1500
		in_ns "b$i" ip -6 route replace default via 2001:db8:100::1 mtu 1500
	done
	in_ns lb ip link add link eth0 name eth0.100 type vlan id 100
	in_ns lb ip link set eth0.100 mtu 1590 up
	in_ns lb ip addr add 10.0.100.2/24 dev eth0.100
	in_ns lb ip addr add 2001:db8:100::2/64 dev eth0.100 nodad
}

vlan_lab() {
	local i
	lab_down
	lab_up $BACKENDS_UP && vlan || return 1
	for i in $(seq $BACKENDS_UP); do
		lab_backend_servers "$i" $VIP4 $VIP6 "$LAB_UDP4" "$LAB_UDP6" || return 1
	done
	put_servers 8081 || return 1
	{
		config_head_for eth0
		config_services $BACKENDS_UP
		service put4 $VIP4 tcp 8081 4
	} | sed 's/10\.0\.0\./10.0.100./; s/2001:db8:b::/2001:db8:100::/' >"$WORK/lbd.yaml"
	lbd_up $((7 * BACKENDS_UP))
}

test_vlan_backends_behind_a_vlan_have_a_next_hop_with_its_tag() {
	vlan_lab || return 1
	expect "VLAN of the next hops" "$(lbctl backends web4 --json |
		json '[.backends[].next_hop.vlan] | unique')" = "[100]"
}
test_vlan_untagged_clients_reach_tagged_backends_ipv4() {
	requests_are_answered load-http $VIP4 80
}
test_vlan_untagged_clients_reach_tagged_backends_ipv6() {
	requests_are_answered load-http $VIP6 80
}
test_vlan_upload_arrives_byte_for_byte() { upload_arrives_whole $VIP4 8081; }

# Clients' packets come in through the VLAN too.
test_vlan_tagged_clients_reach_tagged_backends() {
	in_ns router ip route replace 192.0.2.0/24 via 10.0.100.2
	in_ns router ip -6 route replace 2001:db8:5::/64 via 2001:db8:100::2
	requests_are_answered load-http $VIP4 80
	requests_are_answered load-http $VIP6 80
	upload_arrives_whole $VIP4 8081
}

need_modules lbd_on_bonds_and_vlans bonding 8021q
lab_need_root
run_tests "$@"
