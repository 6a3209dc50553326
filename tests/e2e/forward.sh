#!/bin/bash
# Forwarding of real traffic in native mode: every family and protocol, whole files, traffic that is
# not for a VIP, counters.
. "$(dirname "$0")/lib.sh"

BACKENDS_UP=3

share_is_fair() { # RESULT BACKENDS: every backend answered at least half of its share
	field "$1" '([.by[]] | min) >= .answered / $n / 2 and (.by | length) == $n' --argjson n "$2"
}

volley() { # MODE VIP PORT
	local result
	result=$(traffic "$1" "$2" "$3" rate 1500 seconds 2)
	echo "# $result"
	none_failed "failures" "$result"
	expect "all backends to share" "$(share_is_fair "$result" $BACKENDS_UP)" = true
}

test_interface_runs_in_the_mode_asked_for() {
	expect mode "$(lbctl status --json | json '.interfaces[0].mode')" = "${MODE:-native}"
}

test_http_over_ipv4_reaches_every_backend() { volley load-http $VIP4 80; }
test_http_over_ipv6_reaches_every_backend() { volley load-http $VIP6 80; }
test_tcp_over_ipv4_reaches_every_backend() { volley load-tcp $VIP4 7000; }
test_tcp_over_ipv6_reaches_every_backend() { volley load-tcp $VIP6 7000; }
test_udp_over_ipv4_reaches_every_backend() { volley load-udp "$LAB_UDP4" 5353; }
test_udp_over_ipv6_reaches_every_backend() { volley load-udp "$LAB_UDP6" 5353; }
test_gre_over_ipv4_reaches_every_backend() { volley load-tcp "$LAB_UDP4" 7000; }
test_gre_over_ipv6_reaches_every_backend() { volley load-tcp "$LAB_UDP6" 7000; }
test_gue_over_ipv4_reaches_every_backend() { volley load-http "$LAB_UDP4" 80; }
test_gue_over_ipv6_reaches_every_backend() { volley load-http "$LAB_UDP6" 80; }

transfer() { # URL
	local want got
	want=$(sha256sum <"$WORK/files/big" | cut -c1-64)
	got=$(in_ns client curl -s -m 120 "$1" | sha256sum | cut -c1-64)
	expect "sha256 of $1" "$got" = "$want"
}

test_large_file_over_ipv4_arrives_byte_for_byte() { transfer "http://$VIP4/files/big"; }
test_large_file_over_ipv6_arrives_byte_for_byte() { transfer "http://[$VIP6]/files/big"; }

# The other way: the client's full-size segments go through the tunnel.
upload() { # VIP-IN-URL LISTEN-FAMILY
	local want got
	want=$(sha256sum <"$WORK/files/big" | cut -c1-64)
	got=$(in_ns client curl -s -m 120 -T "$WORK/files/big" "http://$1:8081/" | tail -n 1)
	expect "sha256 of what arrived at $1" "$got" = "$want"
}
test_large_file_sent_over_ipv4_arrives_byte_for_byte() { upload $VIP4; }
test_large_file_sent_over_ipv6_arrives_byte_for_byte() { upload "[$VIP6]"; }

# On a backend's link, outer packets of 1520 bytes hold the client's segments of 1500.
test_segments_through_the_tunnel_are_full_size() {
	local i
	for i in $(seq $BACKENDS_UP); do
		lab_spawn "dump-b$i" in_ns router tcpdump --immediate-mode -l -nn -q -v -i "to-b$i" \
			-c 2000 "ip proto 4 and dst host 10.0.0.$((10 + i))"
		lab_wait_for 20 "tcpdump" grep -q "listening on" "$WORK/dump-b$i.log" || return 1
	done
	in_ns client curl -s -m 60 -T "$WORK/files/small" "http://$VIP4:8081/" >/dev/null
	lab_wait_for 5 "full outer packets" longest_outer_is 1520
	for i in $(seq $BACKENDS_UP); do lab_kill "dump-b$i" INT; done
	expect "longest outer packet" "$(longest_outer)" = 1520
}
longest_outer() {
	cat "$WORK"/dump-b*.log | grep -o 'proto IPIP (4), length [0-9]*' |
		awk '{ print $5 }' | sort -n | tail -n 1
}
longest_outer_is() { [ "$(longest_outer)" = "$1" ]; } # BYTES

test_ping_to_a_vip_is_answered_ipv4_and_ipv6() {
	in_ns client ping -q -c 3 -i 0.2 -W 1 $VIP4 &&
		in_ns client ping -q -c 3 -i 0.2 -W 1 $VIP6 &&
		in_ns client ping -q -c 3 -i 0.2 -W 1 -s 1400 $VIP4
}

test_traffic_that_is_not_for_a_vip_reaches_the_host_itself() {
	in_ns client ping -q -c 2 -i 0.2 -W 1 10.0.0.2 &&
		in_ns client ping -q -c 2 -i 0.2 -W 1 2001:db8:b::2 &&
		in_ns client ping -q -c 1 -W 1 -s 4000 10.0.0.2
}

# curl: 7 is "refused", 28 is "timed out".
test_a_port_of_a_vip_without_a_service_is_refused_at_once() {
	local before
	before=$(reason_packets unserved_rejected) || return 1
	in_ns client curl -s -m 60 "http://$VIP4:81/"
	expect "curl of IPv4" $? = 7
	in_ns client curl -s -m 60 "http://[$VIP6]:81/"
	expect "curl of IPv6" $? = 7
	expect "unserved_rejected" "$(reason_packets unserved_rejected)" -ge $((before + 2))
}

udp_is_refused() { # VIP
	in_ns client timeout 60 bash -c "exec 3<>/dev/udp/$1/9 && echo x >&3 && read -r -u 3" 2>&1 |
		grep -q "Connection refused"
}

test_a_udp_port_of_a_vip_without_a_service_is_refused() {
	udp_is_refused $VIP4 && udp_is_refused $VIP6
}

counted_by_client() { # COUNTER of /proc/net/snmp or snmp6
	in_ns client nstat -asz "$1" | awk -v name="$1" '$1 == name { print $2 }'
}

# The router makes a TTL of 2 into 1: traceroute must see the balancer as the next hop.
test_traceroute_sees_the_balancer() {
	local v4 v6
	v4=$(counted_by_client IcmpInTimeExcds)
	v6=$(counted_by_client Icmp6InTimeExcds)
	in_ns client sysctl -qw net.ipv4.ip_default_ttl=2 net.ipv6.conf.eth0.hop_limit=2
	in_ns client curl -s -m 2 "http://$VIP4/" >/dev/null
	in_ns client curl -s -m 2 "http://[$VIP6]/" >/dev/null
	in_ns client sysctl -qw net.ipv4.ip_default_ttl=64 net.ipv6.conf.eth0.hop_limit=64
	expect "time exceeded" "$(counted_by_client IcmpInTimeExcds)" -gt "$v4"
	expect "time exceeded of IPv6" "$(counted_by_client Icmp6InTimeExcds)" -gt "$v6"
}

test_frames_for_another_hosts_mac_are_not_forwarded() {
	local before
	before=$(reason_packets vip_other_mac) || return 1
	# the bridge does not know the address, and floods
	in_ns router ip neigh replace 10.0.0.2 lladdr 02:de:ad:be:ef:01 nud permanent dev br0
	in_ns client curl -s -m 2 "http://$VIP4/" && return 1
	in_ns router ip neigh del 10.0.0.2 dev br0
	expect "vip_other_mac" "$(reason_packets vip_other_mac)" -gt "$before"
	in_ns client curl -s -m 60 -o /dev/null "http://$VIP4/"
}

test_new_flows_are_counted_per_service_and_backend() {
	local before after sum sent
	before=$(service_field web4 flows) || return 1
	sent=$(traffic load-http $VIP4 80 rate 500 seconds 1 | json .sent) || return 1
	after=$(service_field web4 flows) || return 1
	sum=$(lbctl backends web4 --json | json '[.backends[].flows] | add')
	expect "new flows of web4" $((after - before)) -ge "$sent"
	expect "sum over backends" "$sum" = "$after"
}

test_metrics_say_the_same_as_lbctl() {
	local metric
	metric=$(metrics | awk '/^lbd_service_new_flows_total\{.*web4/ { print int($2) }')
	expect "lbd_service_new_flows_total of web4" "$metric" = "$(service_field web4 flows)"
}

# A server on each backend that answers a PUT with the sha256 of the body, over IPv4 and IPv6.
put_server() {
	cat >"$WORK/put.py" <<-'PY'
		import hashlib, http.server, socket
		class Handler(http.server.BaseHTTPRequestHandler):
		    protocol_version = "HTTP/1.1"
		    def do_PUT(self):
		        left, digest = int(self.headers["Content-Length"]), hashlib.sha256()
		        if self.headers.get("Expect", "").lower() == "100-continue": pass
		        while left:
		            part = self.rfile.read(min(left, 1 << 20))
		            if not part: return
		            digest.update(part); left -= len(part)
		        text = (digest.hexdigest() + "\n").encode()
		        self.send_response(200)
		        self.send_header("Content-Length", str(len(text)))
		        self.send_header("Connection", "close"); self.end_headers()
		        self.wfile.write(text)
		    def log_message(self, *args): pass
		class Server(http.server.ThreadingHTTPServer):
		    address_family = socket.AF_INET6
		Server(("::", 8081), Handler).serve_forever()
	PY
	for i in $(seq $BACKENDS_UP); do
		lab_spawn "put-b$i" in_ns "b$i" python3 "$WORK/put.py"
	done
}

# Services for uploads, and for the other tunnels that the decapsulator accepts.
more_services() {
	config_service gre4 "$LAB_UDP4" tcp 7000 4 $BACKENDS_UP "forward: gre"
	config_service gre6 "$LAB_UDP6" tcp 7000 6 $BACKENDS_UP "forward: gre"
	config_service gue4 "$LAB_UDP4" tcp 80 4 $BACKENDS_UP "forward: gue"
	config_service gue6 "$LAB_UDP6" tcp 80 6 $BACKENDS_UP "forward: gue"
	config_service put4 $VIP4 tcp 8081 4 $BACKENDS_UP ""
	config_service put6 $VIP6 tcp 8081 6 $BACKENDS_UP ""
}

set_up() {
	lab_with_lbd $BACKENDS_UP || return 1
	mkdir -p "$WORK/files"
	head -c $((100000000 / LAB_SLOWDOWN)) /dev/urandom >"$WORK/files/big"
	head -c 2000000 "$WORK/files/big" >"$WORK/files/small"
	chmod -R a+rX "$WORK"
	put_server
	more_services >>"$WORK/lbd.yaml"
	lbctl reload && lab_wait_for 10 "more services" backends_up $((12 * BACKENDS_UP))
}

set_up_or_end set_up
run_tests "$@"
