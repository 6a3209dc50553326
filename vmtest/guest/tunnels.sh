#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Backends that decapsulate with the kernel's own tunnel modules: ipip, sit, ip6_tunnel, ip_gre,
# ip6_gre and fou (GUE) accept what lbd encapsulates.
# shellcheck source=vmtest/guest/lib.sh
. "$(dirname "$0")/lib.sh"

# Each encapsulation has a port of its own on VIP4 and VIP6: the services of that port use only
# that one.
IPIP_OVER_4=8081
IPIP_OVER_6=8082
GUE_OVER_4=8083
GUE_OVER_6=8084
GRE_OVER_4=8085
GRE_OVER_6=8086
GUE_PORT=6080

# A tunnel device for every pairing of families. Its remote is any address, because lbd's outer
# source address varies with the flow.
kernel_tunnels() { # N
	local v4=10.0.0.$((10 + $1)) v6=2001:db8:b::$((10 + $1)) device
	in_ns "b$1" ip link add t44 type ipip local "$v4" remote any mode ipip
	in_ns "b$1" ip link add t64 type sit local "$v4" remote any mode ip6ip
	in_ns "b$1" ip link add tx6 type ip6tnl local "$v6" remote any mode any
	in_ns "b$1" ip link add g4 type gre local "$v4" remote any
	in_ns "b$1" ip link add g6 type ip6gre local "$v6" remote any
	in_ns "b$1" ip fou add port $GUE_PORT gue
	in_ns "b$1" ip -6 fou add port $GUE_PORT gue
	for device in t44 t64 tx6 g4 g6; do in_ns "b$1" ip link set "$device" up || return 1; done
	in_ns "b$1" ip addr add $VIP4/32 dev lo
	in_ns "b$1" ip addr add $VIP6/128 dev lo nodad
}

# What a device received on all backends: "BYTES ERRORS". Bytes, as GRO may have merged packets.
device_counts() { # DEVICE
	local i
	for i in $(seq $BACKENDS_UP); do
		in_ns "b$i" ip -j -s link show "$1"
	done | json '
		map(.[0].stats64.rx)
		| if length == $backends and all(.bytes != null and .errors != null)
			then "\(map(.bytes) | add) \(map(.errors) | add)"
			else error("no counters") end' -s --argjson backends $BACKENDS_UP
}

# A file through one encapsulation: it arrives whole, through the kernel's device, which saw no
# error.
taken_by() { # DEVICE HOST PORT
	local before after
	before=$(device_counts "$1") || return 1
	upload_arrives_whole "$2" "$3"
	after=$(device_counts "$1") || return 1
	expect "bytes through $1" $((${after% *} - ${before% *})) -ge $FILE_SIZE
	expect "errors of $1" "${after#* }" = 0
}

snmp() { # N COUNTER
	in_ns "b$1" nstat -asz "$2" | awk -v name="$2" '$1 == name {print $2}'
}

test_ipip_takes_4in4() { taken_by t44 $VIP4 $IPIP_OVER_4; }
test_sit_takes_6in4() { taken_by t64 "[$VIP6]" $IPIP_OVER_4; }
test_ip6tnl_takes_4in6() { taken_by tx6 $VIP4 $IPIP_OVER_6; }
test_ip6tnl_takes_6in6() { taken_by tx6 "[$VIP6]" $IPIP_OVER_6; }
test_fou_takes_4in4_gue() { taken_by t44 $VIP4 $GUE_OVER_4; }
test_fou_takes_6in4_gue() { taken_by t64 "[$VIP6]" $GUE_OVER_4; }
test_fou_takes_4in6_gue() { taken_by tx6 $VIP4 $GUE_OVER_6; }
test_fou_takes_6in6_gue() { taken_by tx6 "[$VIP6]" $GUE_OVER_6; }
test_gre_takes_4in4() { taken_by g4 $VIP4 $GRE_OVER_4; }
test_gre_takes_6in4() { taken_by g4 "[$VIP6]" $GRE_OVER_4; }
test_ip6gre_takes_4in6() { taken_by g6 $VIP4 $GRE_OVER_6; }
test_ip6gre_takes_6in6() { taken_by g6 "[$VIP6]" $GRE_OVER_6; }

test_no_outer_header_was_malformed() {
	local i counter
	for i in $(seq $BACKENDS_UP); do
		for counter in IpInHdrErrors IpExtInCsumErrors Ip6InHdrErrors UdpInCsumErrors \
			Udp6InCsumErrors; do
			expect "$counter of b$i" "$(snmp "$i" $counter | cut -d. -f1)" = 0
		done
	done
}

tunnel_services() {
	echo "encap: { gue-port: $GUE_PORT }"
	echo "services:"
	service a44 $VIP4 tcp $IPIP_OVER_4 4
	service a64 $VIP6 tcp $IPIP_OVER_4 4
	service a46 $VIP4 tcp $IPIP_OVER_6 6
	service a66 $VIP6 tcp $IPIP_OVER_6 6
	service g44 $VIP4 tcp $GUE_OVER_4 4 gue
	service g64 $VIP6 tcp $GUE_OVER_4 4 gue
	service g46 $VIP4 tcp $GUE_OVER_6 6 gue
	service g66 $VIP6 tcp $GUE_OVER_6 6 gue
	service r44 $VIP4 tcp $GRE_OVER_4 4 gre
	service r64 $VIP6 tcp $GRE_OVER_4 4 gre
	service r46 $VIP4 tcp $GRE_OVER_6 6 gre
	service r66 $VIP6 tcp $GRE_OVER_6 6 gre
}

set_up() {
	local i
	HEALTH='{ type: tcp, interval: 3s, timeout: 2500ms, rise: 1, fall: 3 }'
	lab_need_root
	lab_up $BACKENDS_UP || return 1
	for i in $(seq $BACKENDS_UP); do kernel_tunnels "$i" || return 1; done
	put_servers $IPIP_OVER_4 $IPIP_OVER_6 $GUE_OVER_4 $GUE_OVER_6 $GRE_OVER_4 $GRE_OVER_6 ||
		return 1
	{ lab_config_head; tunnel_services; } >"$WORK/lbd.yaml"
	lbd_up $((12 * BACKENDS_UP))
}

need_modules backends_with_kernel_tunnels ipip sit ip6_tunnel ip_gre ip6_gre fou fou6
set_up_or_end set_up
run_tests "$@"
