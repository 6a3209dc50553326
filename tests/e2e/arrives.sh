#!/bin/bash
# "Up" means that traffic arrives: what lbd can know of lost packets it avoids or names, what it
# cannot know it counts. Devices as containers have them, gateways, bridges, changing links.
. "$(dirname "$0")/lib.sh"
# shellcheck source=tools/pair.sh
. "$(dirname "$0")/../../tools/pair.sh"

COUNT=2

# ---- the lab as containers have it ----

# Are checksums left to the devices? A veth finishes none.
offload_checksums() { # on | off
	local i
	for i in lb client b1 b2; do
		in_ns "$i" ethtool -K eth0 tx "$1" >/dev/null 2>&1
		in_ns router ethtool -K "to-$i" tx "$1" >/dev/null 2>&1
	done
}
# Nobody has prepared the veth pairs: checksums are left to the device, and the far end of lb's
# takes no frames from XDP.
as_containers() {
	local i
	in_ns router bpftool net detach xdp dev to-lb 2>/dev/null
	offload_checksums on
	for i in lb client b1 b2; do
		in_ns router ethtool -K "to-$i" gro off >/dev/null 2>&1
	done
}
# What lbd asks for: the other end polls, and nobody leaves a checksum unfinished.
as_lbd_asks() {
	offload_checksums off
	in_ns router ethtool -K to-lb gro on >/dev/null 2>&1
}

# One service for each VIP.
configure() { # SERVICE-EXTRA-LINES
	{
		lab_config_head
		echo "services:"
		config_service web4 $VIP4 tcp 80 4 $COUNT "$1"
		config_service web6 $VIP6 tcp 80 6 $COUNT "$1"
	} >"$WORK/lbd.yaml"
}
all_up() { backends_up $((2 * COUNT)); }
use() { # SERVICE-EXTRA-LINES
	configure "$1" && lbctl reload && lab_wait_for 10 "all backends to be up" all_up
}
# A config with this service alone.
use_service() { # KEYS-AND-VALUES...
	{
		lab_config_head
		echo "services: [{ $* }]"
	} >"$WORK/lbd.yaml"
	lbctl reload >/dev/null
}
reattach() { # [LBCTL-OPTION]...
	lbctl detach eth0 >/dev/null && lbctl attach eth0 "$@"
}

mode() { lbctl status --json | json '.interfaces[0].mode'; }
mode_is() { [ "$(mode)" = "$1" ]; }
warns_of() { # TEXT
	lbctl status --json | jq -e --arg text "$1" \
		'[.interfaces[].warnings[] | select(contains($text))] | length > 0' >/dev/null && return
	echo "# no warning has: $1"
	return 1
}
lost_frames() { lbctl status --json | json '.interfaces[0].lost'; }
lost_in_metrics() {
	metrics | awk '/^lbd_interface_lost_frames_total\{interface="eth0"\}/ { print int($2) }'
}
why_has() { # SERVICE ADDRESS TEXT
	[[ $(backend_field "$1" "$2" why) == *"$3"* ]] && return
	echo "# expected why to have '$3', got '$(backend_field "$1" "$2" why)'"
	return 1
}

# Each of 20 requests on a connection of its own is answered.
all_arrive() { # VIP-IN-URL...
	local vip i failed=0
	for vip; do
		for i in $(seq 20); do
			in_ns client curl -sS -m 60 -o /dev/null "http://$vip/" || failed=$((failed + 1))
		done
	done
	expect "failed requests" $failed = 0
}
none_arrives() { # VIP-IN-URL
	! in_ns client curl -s -m 2 -o /dev/null "http://$1/"
}

# ---- veth pairs ----

test_auto_works_by_itself_on_veth_pairs_that_nobody_has_prepared() {
	expect mode "$(mode)" = generic
	logged "eth0: native XDP not used: the other end of eth0 takes no frames from XDP"
	warns_of "native mode is not used" || return 1
	all_arrive $VIP4 "[$VIP6]"
	expect "lost frames" "$(lost_frames)" = 0
}

# Each has the other as its only usable backend, as where one text with both is on both. Of the client's 64 hops the
# router takes one; the packet that is left with one is sent no more.
each_others_backends() {
	echo "services: [{ name: ring, vip: $VIP4, protocol: udp, port: 53, forward: l2, health: { type: none },"
	echo "  backends: [{ address: 10.0.0.2 }, { address: 10.0.0.3 }] }]"
}
test_a_packet_between_balancers_that_are_each_others_backends_comes_to_rest() {
	local node before ended
	pair_node_up lb2 3
	for node in lb lb2; do each_others_backends | pair_config $node; done
	contains "$(lbctl reload 2>&1)" "backend 10.0.0.2 is an address of this host, on eth0"
	pair_lbd_start lb2 || return 1
	contains "$(cat "$WORK/lbd-lb2.log")" "backend 10.0.0.3 is an address of this host, on eth0"
	lab_wait_for 10 "lb to use lb2" condition_is ring 10.0.0.3 up || return 1
	lab_wait_for 10 "lb2 to use lb" pair_backends_up lb2 1 || return 1
	before=$(sent_round) ended=$(ended)
	in_ns client bash -c "echo x >/dev/udp/$VIP4/53"
	lab_wait_for 10 "the packet to end" ended_more "$ended" || return 1
	expect "times it was sent on" $(($(sent_round) - before)) = 62
	lab_kill lbd-lb2
	configure "" && lbctl reload >/dev/null && lab_wait_for 10 "all backends to be up" all_up
}
sent_round() { echo $(($(pair_forwarded lb) + $(pair_forwarded lb2))); }
# on lb, to which it comes with the odd numbers of hops
ended() { echo $(($(reason_packets ttl_exceeded) + $(reason_packets time_exceeded_answered))); }
ended_more() { [ "$(ended)" -gt "$1" ]; } # THAN

test_auto_takes_native_mode_where_the_other_end_is_ready() {
	as_lbd_asks
	reattach >"$WORK/attach.out" || return 1
	expect mode "$(mode)" = native
	lab_wait_for 10 "all backends to be up" all_up
	all_arrive $VIP4 "[$VIP6]"
	expect "lost frames" "$(lost_frames)" = 0
}

# The order of these tests: this one begins in native mode. What the client sends now has no
# checksum; at most its first packets are lost, which it sends again.
test_auto_leaves_native_mode_when_checksums_are_unfinished() {
	expect "mode before" "$(mode)" = native
	offload_checksums on
	all_arrive $VIP4 "[$VIP6]"
	expect mode "$(mode)" = generic
	logged "eth0: native mode loses packets: packets come in with unfinished checksums"
	warns_of "unfinished checksums" || return 1
	as_lbd_asks
	reattach >/dev/null
	expect mode "$(mode)" = native
}

# This one too.
test_auto_leaves_native_mode_when_the_other_end_stops_polling() {
	local line
	line=$(log_lines) # the test before has such a line
	expect "mode before" "$(mode)" = native
	in_ns router ethtool -K to-lb gro off
	lab_wait_for 10 "generic mode" mode_is generic || return 1
	expect "why, in the log" "$(is_logged_since "$line" "eth0: native mode loses packets" && echo yes)" = yes
	lab_wait_for 10 "all backends to be up" all_up
	as_containers
	all_arrive $VIP4 "[$VIP6]"
}

test_native_mode_that_loses_packets_shows_no_backend_as_up() {
	reattach --mode native >"$WORK/attach.out" || return 1
	grep -q "^Warning: native mode loses packets" "$WORK/attach.out" || return 1
	expect mode "$(mode)" = native
	lab_wait_for 10 "no backend to be up" backends_up 0 || return 1
	condition_is web4 10.0.0.11 no-next-hop || return 1
	why_has web4 10.0.0.11 "the other end of eth0 takes no frames from XDP" || return 1
	lbctl status | head -n 1 | grep -q "^Not forwarding\|^Blind" || return 1
	expect "answers" "$(none_arrives $VIP4 && echo none)" = none
	lab_wait_for 10 "lost frames to be counted" some_lost || return 1
	warns_of "frames that lbd sent were lost" || return 1
	logged "eth0: frames that lbd sent were lost"
}
some_lost() { [ "$(lost_frames)" -gt 0 ] && [ "$(lost_in_metrics)" = "$(lost_frames)" ]; }

test_a_backend_is_up_again_once_the_other_end_takes_frames() {
	as_lbd_asks
	lab_wait_for 10 "all backends to be up" all_up || return 1
	expect mode "$(mode)" = native
	all_arrive $VIP4 "[$VIP6]"
	reattach >/dev/null
}

# What the other end of a veth takes is known once it is up.
test_auto_decides_about_a_link_that_was_down_when_it_is_up() {
	ip -n "$(ns lb)" link add late type veth peer name late-peer netns "$(ns b1)"
	lbctl attach late >/dev/null && mode_of_late_is native || return 1
	ip -n "$(ns lb)" link set late up
	ip -n "$(ns b1)" link set late-peer up
	lab_wait_for 10 "generic mode" mode_of_late_is generic || return 1
	lbctl detach late && ip -n "$(ns lb)" link del late
}
mode_of_late_is() {
	[ "$(lbctl status --json | json '.interfaces[] | select(.name == "late") | .mode')" = "$1" ]
}

test_an_interface_without_ethernet_is_refused() {
	lbctl attach lo 2>"$WORK/err" && return 1
	grep -q "lo: not an Ethernet interface" "$WORK/err"
}

# ---- next hops ----

test_l2_backends_behind_a_gateway_are_not_up_and_nothing_goes_round() {
	local before
	in_ns lb ip route add 10.88.0.0/24 via 10.0.0.1
	use_service "name: far, vip: $VIP4, protocol: udp, port: 53, forward: l2," \
		"health: { type: none }, backends: [{ address: 10.88.0.11 }]" || return 1
	lab_wait_for 10 "the backend to be seen" condition_is far 10.88.0.11 no-next-hop || return 1
	why_has far 10.88.0.11 "behind gateway 10.0.0.1" || return 1
	before=$(sent_to_backends)
	in_ns client bash -c "echo x >/dev/udp/$VIP4/53"
	expect "packets sent on" "$(sent_to_backends)" = "$before"
	sed -i 's/forward: l2/forward: ipip/' "$WORK/lbd.yaml"
	lbctl reload >/dev/null
	lab_wait_for 10 "the tunnel to be used" condition_is far 10.88.0.11 up
}
sent_to_backends() {
	lbctl stats --json |
		json '[.reasons[] | select(.name | startswith("forwarded")) | .packets] | add'
}

test_a_backend_behind_a_bridge_is_not_up_in_native_mode_and_served_in_generic_mode() {
	expect "mode" "$(mode)" = native
	ip -n "$(ns lb)" link add br9 type bridge
	ip -n "$(ns lb)" link add p9 type veth peer name eth9 netns "$(ns b1)"
	ip -n "$(ns lb)" link set p9 master br9 up && ip -n "$(ns lb)" link set br9 up mtu 1600
	ip -n "$(ns lb)" link set p9 mtu 1600
	ip -n "$(ns b1)" link set eth9 mtu 1600 up
	ip -n "$(ns lb)" addr add 10.99.0.1/24 dev br9
	ip -n "$(ns b1)" addr add 10.99.0.11/24 dev eth9
	use_service "name: web4, vip: $VIP4, protocol: tcp, port: 80," \
		"backends: [{ address: 10.99.0.11 }]" || return 1
	lab_wait_for 10 "the bridge to be seen" condition_is web4 10.99.0.11 no-next-hop || return 1
	why_has web4 10.99.0.11 "br9 (bridge) takes no frames from native XDP" || return 1
	in_ns b1 "$BUILD/lbctl" backend-host setup --iface eth9 --vip $VIP4 >/dev/null || return 1
	reattach --mode generic >/dev/null
	lab_wait_for 10 "the backend to be up" condition_is web4 10.99.0.11 up || return 1
	all_arrive $VIP4
	reattach >/dev/null
	in_ns b1 "$BUILD/lbctl" backend-host undo --iface eth9 >/dev/null
	ip -n "$(ns lb)" link del br9 && ip -n "$(ns lb)" link del p9
	in_ns b1 "$BUILD/lbctl" backend-host setup --iface eth0 --vip $VIP4 --vip $VIP6 >/dev/null
}

test_an_ipv4_backend_behind_an_ipv6_next_hop_is_served() {
	local gateway
	gateway=$(in_ns b1 ip -6 -o addr show dev eth0 scope link |
		awk '{ sub("/.*", "", $4); print $4 }')
	in_ns b1 ip addr add 10.55.0.11/32 dev lo
	in_ns b1 "$BUILD/lbctl" backend-host setup --iface eth0 --vip $VIP4 --vip $VIP6 >/dev/null
	in_ns lb ip route add 10.55.0.0/24 via inet6 "$gateway" dev eth0 || return 1
	use_service "name: web4, vip: $VIP4, protocol: tcp, port: 80," \
		"backends: [{ address: 10.55.0.11 }]" || return 1
	lab_wait_for 10 "the backend to be up" condition_is web4 10.55.0.11 up || return 1
	all_arrive $VIP4
}

# ---- health checks ----

test_a_vip_on_the_balancer_is_not_the_source_of_its_checks() {
	local vip=2001:db8:b::99
	in_ns b1 ip addr add $vip/128 dev lo nodad
	in_ns lb ip addr add $vip/128 dev eth0 nodad
	use_service "name: near, vip: \"$vip\", protocol: tcp, port: 80," \
		"health: { type: http, interval: 500ms, timeout: 450ms }," \
		"backends: [{ address: \"2001:db8:b::11\" }]" || return 1
	lab_wait_for 10 "the backend to be up" condition_is near 2001:db8:b::11 up || return 1
	in_ns lb ip addr del 2001:db8:b::2/64 dev eth0
	in_ns lb ip route add 2001:db8:b::/64 dev eth0
	lab_wait_for 10 "the backend to be down" condition_is near 2001:db8:b::11 down
	why_has near 2001:db8:b::11 "its source would be $vip, which is a VIP" || return 1
	in_ns lb ip addr add 2001:db8:b::2/64 dev eth0 nodad
	in_ns lb ip route add default via 2001:db8:b::1 mtu 1500 2>/dev/null
	in_ns lb ip addr del $vip/128 dev eth0
	in_ns b1 ip addr del $vip/128 dev lo
}

test_checks_to_the_vip_find_a_backend_without_decapsulator() {
	HEALTH="{ type: http, to: vip, path: /healthz, $CHECK_TIMES }" use "" || return 1
	in_ns b1 "$BUILD/lbctl" backend-host undo --iface eth0 >/dev/null
	lab_wait_for 10 "b1 to be down" condition_is web4 10.0.0.11 down || return 1
	lab_wait_for 10 "b1 to be down" condition_is web6 2001:db8:b::11 down || return 1
	expect "the other" "$(backend_field web4 10.0.0.12 condition)" = up
	all_arrive $VIP4 "[$VIP6]"
	in_ns b1 "$BUILD/lbctl" backend-host setup --iface eth0 --vip $VIP4 --vip $VIP6 >/dev/null
	lab_wait_for 10 "all backends to be up" all_up || return 1
	all_arrive $VIP4 "[$VIP6]"
}

test_checks_to_the_vip_go_through_every_tunnel_and_l2() {
	local forward type
	for type in tcp http; do
		for forward in gre gue ipip l2; do
			HEALTH="{ type: $type, to: vip, $CHECK_TIMES }" use "forward: $forward" || return 1
			are_checked || return 1
			all_up || return 1
			all_arrive $VIP4 "[$VIP6]"
		done
	done
}
# Connections that the servers of a backend have accepted. While no client is there: checks.
accepted() { in_ns "$1" awk '/^Tcp: [0-9]/ { print $7 }' /proc/net/snmp; } # BACKEND
# Each backend has since been checked at both VIPs, three times.
are_checked() {
	local i before
	for i in $(seq $COUNT); do
		before=$(accepted "b$i")
		lab_wait_for 20 "checks of b$i" accepted_beyond "b$i" $((before + 6)) || return 1
	done
}
accepted_beyond() { [ "$(accepted "$1")" -ge "$2" ]; } # BACKEND COUNT

# It can mark no socket itself: lbd gives it those of these checks.
test_http_checks_to_the_vip_run_in_the_process_without_rights() {
	local pid restarts lines
	HEALTH="{ type: http, to: vip, path: /healthz, $CHECK_TIMES }" use "" || return 1
	are_checked || return 1
	lines=$(log_lines)
	pid=$(probe_process pid)
	expect "capabilities" "$(proc_status "$pid" CapEff)" = 0000000000000000
	restarts=$(probe_process restarts)
	kill -9 "$pid"
	lab_wait_for 15 "the process to run again" process_is_new "$pid" || return 1
	are_checked || return 1
	all_up || return 1
	expect "restarts" "$(probe_process restarts)" = $((restarts + 1))
	expect "backends that went down" "$(downs_since "$lines")" -eq 0
	pid=$(probe_process pid)
	expect "its descriptors of maps and programs" "$(bpf_descriptors "$pid")" -eq 0
}
process_is_new() { [ "$(probe_process running)" = true ] && [ "$(probe_process pid)" != "$1" ]; }

test_checks_to_the_vip_leave_nothing_behind() {
	in_ns lb tc filter show dev eth0 egress | grep -q detour || return 1
	stop_lbd TERM
	in_ns lb tc filter show dev eth0 egress | grep -q detour && return 1
	configure "" && lab_lbd_start && lab_wait_for 10 "all backends to be up" all_up
}

# ---- links ----

test_a_lowered_mtu_is_known_at_once_and_a_link_that_was_down_is_used_again() {
	in_ns lb ip link set eth0 mtu 1500
	lab_wait_for 10 "the new MTU" mtu_is 1500 || return 1
	in_ns lb ip link set eth0 mtu 1600
	lab_wait_for 10 "the former MTU" mtu_is 1600 || return 1
	in_ns lb ip link set eth0 down
	lab_wait_for 10 "no next hop" condition_is web4 10.0.0.11 no-next-hop || return 1
	in_ns lb ip link set eth0 up
	in_ns lb ip addr replace 2001:db8:b::2/64 dev eth0 nodad # IPv6 addresses go with the link
	in_ns lb ip route replace default via 10.0.0.1 mtu 1500
	in_ns lb ip -6 route replace default via 2001:db8:b::1 mtu 1500
	lab_wait_for 20 "all backends to be up" all_up || return 1
	all_arrive $VIP4 "[$VIP6]"
}
mtu_is() {
	[ "$(lbctl backends web4 --json | json '.backends[0].next_hop.mtu')" = "$1" ]
}

test_an_interface_that_is_made_anew_is_attached_and_used() {
	local mac
	mac=$(ip -n "$(ns lb)" -br link show eth0 | awk "{ print \$3 }") # neighbours know it
	ip -n "$(ns router)" link del to-lb
	lab_wait_for 10 "the interface to be missed" no_interface || return 1
	lab_cable lb 10.0.0.2/24 2001:db8:b::2/64 1600
	ip -n "$(ns lb)" link set eth0 address "$mac"
	lab_join_inside lb
	lab_wait_for 10 "the interface to be attached" mode_is generic || return 1
	lab_wait_for 20 "all backends to be up" all_up || return 1
	all_arrive $VIP4 "[$VIP6]"
}
no_interface() { [ "$(lbctl status --json | json '.interfaces | length')" = 0 ]; }

set_up() {
	local i
	lab_up $COUNT || return 1
	as_containers
	for i in $(seq $COUNT); do
		lab_backend_servers "$i" $VIP4 $VIP6 "$LAB_UDP4" "$LAB_UDP6" || return 1
	done
	configure ""
	lab_lbd_start || return 1
	lab_wait_for 10 "all backends to be up" all_up || {
		lbctl backends
		return 1
	}
}

set_up_or_end set_up
run_tests "$@"
