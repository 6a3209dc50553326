#!/bin/bash
# A link behind the balancer that is narrower than the balancer's own: the ICMP errors of its router
# reach lbd, and the clients learn of it.
. "$(dirname "$0")/lib.sh"

NARROW=1400
# Outer sources that are routed to the balancer, as docs/config.md, "Path MTU", asks for.
SOURCE4=10.99.1.0/24
SOURCE6=2001:db8:99::/64
# b1 is behind a router, on the narrow link, with an address for each kind of tunnel.
declare -A LAST=([ipip]=11 [gue]=12 [gre]=13)
declare -A PORT=([ipip]=8081 [gue]=8082 [gre]=8083)

backend() { # KIND FAMILY
	if [ "$2" = 4 ]; then echo "10.66.0.${LAST[$1]}"; else echo "2001:db8:66::${LAST[$1]}"; fi
}

mtu_of() { # KIND FAMILY: of the path, as lbd sees it
	lbctl backends "$1$2" --json | json '.backends[0].next_hop.mtu'
}

# The client's route to a VIP, with the path MTU that it has learnt.
client_mtu() { # VIP
	in_ns client ip route get "$1" | grep -o 'mtu [0-9]*'
}

# The client has learnt nothing yet; the MSS of the narrow link makes its segments NARROW bytes long.
upload() { # KIND FAMILY VIP OUTER-LENGTH
	local want got
	in_ns client ip "-$2" route flush cache
	expect "MTU before" "$(mtu_of "$1" "$2")" = 1500
	want=$(sha256sum <"$WORK/file" | cut -c1-64)
	got=$(in_ns client timeout 120 python3 "$WORK/copy.py" send "$3" "${PORT[$1]}" "$WORK/file")
	expect "sha256 of what arrived" "$got" = "$want"
	expect "MTU of the path" "$(mtu_of "$1" "$2")" = $NARROW
	expect "MTU that the client has learnt" "$(client_mtu "$3")" = "mtu $((NARROW - $4))"
}

test_an_upload_over_ipip_passes_a_narrow_link() { upload ipip 4 $VIP4 20; }
test_an_upload_over_ipip_in_ipv6_passes_a_narrow_link() { upload ipip 6 $VIP6 40; }
test_an_upload_over_gue_passes_a_narrow_link() { upload gue 4 $VIP4 32; }
test_an_upload_over_gue_in_ipv6_passes_a_narrow_link() { upload gue 6 $VIP6 52; }
test_an_upload_over_gre_passes_a_narrow_link() { upload gre 4 $VIP4 24; }
test_an_upload_over_gre_in_ipv6_passes_a_narrow_link() { upload gre 6 $VIP6 44; }

test_the_log_names_the_backend_and_the_router() {
	logged "path to $(backend ipip 4): MTU $NARROW, reported by 10.0.0.1"
	logged "path to $(backend ipip 6): MTU $NARROW, reported by 2001:db8:b::1"
}

test_the_errors_end_at_the_balancer() {
	expect "path_mtu" "$(reason_packets path_mtu)" -ge 6
	expect "too_big_answered" "$(reason_packets too_big_answered)" -ge 6
	expect "ICMP errors that reached the balancer's kernel" "$(kernels_errors)" = "$ERRORS"
}
kernels_errors() { in_ns lb nstat -asz IcmpInDestUnreachs | awk 'END { print $2 }'; }

test_what_was_learnt_outlives_the_daemon() {
	stop_lbd KILL && lab_lbd_start || return 1
	lab_wait_for 10 "all backends to be up" backends_up 6 || return 1
	for kind in ipip gue gre; do
		expect "MTU of $kind" "$(mtu_of $kind 4)" = $NARROW
		expect "MTU of $kind in IPv6" "$(mtu_of $kind 6)" = $NARROW
	done
}

# A long datagram draws another error: for IPv4 clients it counts, IPv6 ones keep 1280 bytes.
narrower() { # MTU
	in_ns b1 ip link set eth0 mtu "$1"
	in_ns router ip link set to-b1 mtu "$1"
}
probe_until() { # KIND FAMILY VIP MTU
	in_ns client timeout 5 python3 "$WORK/copy.py" send "$3" "${PORT[$1]}" "$WORK/short"
	[ "$(mtu_of "$1" "$2")" = "$4" ]
}
test_a_path_too_narrow_for_ipv6_is_warned_of() {
	narrower 1300
	lab_wait_for 30 "the MTU of IPv4" probe_until ipip 4 $VIP4 1300 || return 1
	lab_wait_for 30 "the MTU of IPv6" probe_until ipip 6 $VIP6 1320 || return 1
	logged "backend $(backend ipip 6): path MTU 1300, reported by 2001:db8:b::1, leaves 1260 bytes for IPv6"
	narrower $NARROW
}

# What an attacker can send who knows the prefix and a backend. The path takes all that the
# balancer's link takes; segments are shorter than that.
forged_mtu_is_known() { [ "$(mtu_of ipip 4)" = 596 ]; }
answers_are_used_up() { [ "$(reason_packets too_big_answered)" -ge 300 ]; }
test_a_forged_report_and_a_flood_of_long_packets_drop_nothing() {
	local want got dropped
	narrower 1500
	in_ns b1 ip route change default via 10.66.0.1 advmss 1400
	in_ns client ip route flush cache
	in_ns client python3 "$WORK/forge.py" report "${SOURCE4%0/24}5" "$(backend ipip 4)"
	lab_wait_for 30 "the forged MTU" forged_mtu_is_known || return 1
	dropped=$(reason_packets too_big)
	lab_spawn long in_ns client python3 "$WORK/forge.py" flood $VIP4 "${PORT[ipip]}"
	lab_wait_for 30 "all answers to be used up" answers_are_used_up || return 1
	want=$(sha256sum <"$WORK/file" | cut -c1-64)
	got=$(in_ns client timeout 120 python3 "$WORK/copy.py" send $VIP4 "${PORT[ipip]}" \
		"$WORK/file")
	lab_kill long
	expect "sha256 of what arrived" "$got" = "$want"
	expect "packets dropped as too big" "$(reason_packets too_big)" = "$dropped"
}

forge_py() {
	cat >"$WORK/forge.py" <<-'PY'
		"""report OUTER-SOURCE BACKEND: forges "fragmentation needed", MTU 576, about a tunnel packet.
		flood VIP PORT: long TCP packets of 11.0.0.0/8, on every CPU, until it is killed."""
		import os, random, socket, struct, sys, time
		def checksum(data):
		    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
		    while total >> 16: total = (total & 0xffff) + (total >> 16)
		    return ~total & 0xffff
		def ip(length, protocol, source, to):
		    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, length, 0, 0x4000, 64, protocol, 0,
		                       socket.inet_aton(source), socket.inet_aton(to))
		    return head[:10] + struct.pack("!H", checksum(head)) + head[12:]
		def report(source, backend):
		    quote = ip(1500, 4, source, backend) + bytes(8)
		    error = struct.pack("!BBHHH", 3, 4, 0, 0, 576) + quote
		    error = error[:2] + struct.pack("!H", checksum(error)) + error[4:]
		    socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).sendto(error, (source, 0))
		def flood(vip, port):
		    first = os.getpid()
		    for cpu in os.sched_getaffinity(0):
		        if not os.fork():
		            os.sched_setaffinity(0, {cpu})
		            break
		    to = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
		    while first in (os.getpid(), os.getppid()):
		        source = "11.%d.%d.%d" % tuple(random.randrange(1, 255) for _ in range(3))
		        tcp = struct.pack("!HHIIBBHHH", random.randrange(65536), int(port), 1, 1, 0x50, 16, 512, 0, 0)
		        to.sendto(ip(1420, 6, source, vip) + tcp + bytes(1380), (vip, 0))
		        time.sleep(0.001)
		{"report": report, "flood": flood}[sys.argv[1]](*sys.argv[2:])
	PY
}

narrow_backend() {
	lab_host b1
	lab_cable b1 10.66.0.11/24 2001:db8:66::11/64 $NARROW
	in_ns router ip addr add 10.66.0.1/24 dev to-b1
	in_ns router ip addr add 2001:db8:66::1/64 dev to-b1 nodad
	for i in 12 13; do
		in_ns b1 ip addr add 10.66.0.$i/24 dev eth0
		in_ns b1 ip addr add 2001:db8:66::$i/64 dev eth0 nodad
	done
	in_ns b1 ip route add default via 10.66.0.1
	in_ns b1 ip -6 route add default via 2001:db8:66::1
	in_ns router ip route add $SOURCE4 via 10.0.0.2
	in_ns router ip -6 route add $SOURCE6 via 2001:db8:b::2
	in_ns b1 "$BUILD/lbctl" backend-host setup --iface eth0 --vip $VIP4 --vip $VIP6 \
		--from $SOURCE4 --from $SOURCE6
}

config_narrow() {
	lab_config_head
	echo "encap: { source-v4: $SOURCE4, source-v6: \"$SOURCE6\" }"
	echo "services:"
	for kind in ipip gue gre; do
		for family in 4 6; do
			cat <<-CONF
				  - name: $kind$family
				    vip: "$([ $family = 4 ] && echo $VIP4 || echo $VIP6)"
				    protocol: tcp
				    port: ${PORT[$kind]}
				    forward: $kind
				    health: { mtu: off } # which would learn of the link before the clients
				    backends: [ { address: "$(backend $kind $family)" } ]
			CONF
		done
	done
}

set_up() {
	lab_up 0 && narrow_backend || return 1
	head -c 3000000 /dev/urandom >"$WORK/file"
	head -c 10000 "$WORK/file" >"$WORK/short"
	copy_py
	forge_py
	lab_spawn serve in_ns b1 python3 "$WORK/copy.py" serve "${PORT[@]}"
	config_narrow >"$WORK/lbd.yaml"
	lab_lbd_start && lab_wait_for 10 "all backends to be up" backends_up 6 || return 1
	ERRORS=$(kernels_errors)
}

set_up_or_end set_up
run_tests "$@"
