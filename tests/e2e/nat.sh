#!/bin/bash
# `forward: nat`: unmodified servers behind VIPs, on ports of their own. Nothing of lbd's is on the
# backends; their default route leads through the balancer. docs/nat.md says what must hold.
# shellcheck disable=SC2154,SC2034
. "$(dirname "$0")/lib.sh"
# shellcheck source=tools/pair.sh
. "$(dirname "$0")/../../tools/pair.sh"

skip_all_without pg_ctlcluster postgresql
skip_all_without iperf3 iperf3
skip_all_without dnsmasq dnsmasq-base

ANY4=192.0.2.40                # a VIP of any port
VIP46=192.0.2.46               # a VIP whose backends have IPv6 addresses: those of VIP6
PREFIX=2001:db8:46::/96        # of its clients there
CLIENT4=198.51.100.2 CLIENT6=2001:db8:c::2 CLIENT46=2001:db8:46::c633:6402
DIRECT4=198.51.100.200         # of the client too: one that talks to backends past the VIPs
REALS="10.0.0.11 10.0.0.12"    # of web4
FAMILIES="4 6 46"              # of the client, and of the backend if it has another
BACKENDS=31                    # of all services
MODE=${MODE:-native}           # auto would leave it when it sees an unfinished checksum
COPY_MB=${NAT_COPY_MB:-20}     # through PostgreSQL's COPY, in each direction
PG_BIN=$(find /usr/lib/postgresql -name initdb -printf '%h\n' 2>/dev/null | sort -V | tail -n 1)

vip() { # FAMILY
	local name=VIP$1
	echo "${!name}"
}
url() { if [ "$1" = 6 ]; then echo "http://[$VIP6]"; else echo "http://$(vip "$1")"; fi; } # FAMILY
outside() { echo "${1:0:1}"; } # FAMILY: of the client
inside() { echo "${1: -1}"; }  # FAMILY: of the backend
client() { in_ns client "$@"; }
fetch() { client curl -sS -m 20 "$@"; } # CURL-ARGUMENT...
peer() { client python3 "$WORK/peer.py" "$@"; }
counted_more() { [ "$(reason_packets "$1")" -gt "$2" ]; } # REASON THAN

# ---- servers of the backends, which know nothing of VIPs ----

# What Debian's servers do not show: datagrams of any length, and what a client's socket says.
peer_py() {
	cat >"$WORK/peer.py" <<-'PY'
		"""echo PORT: answers each datagram with itself, "give N" with N bytes.
		take HOST PORT LENGTH: asks for so many bytes, prints how many came.
		ask HOST PORT LENGTH: sends a datagram, prints the sha256 of what it sent and of the answer.
		refused HOST PORT: prints what a connected socket says after a datagram.
		lookup HOST NAME: asks a DNS server for an A record, prints the address.
		hold HOST PORT FILE: a connection that asks each 0.1 s for as long as FILE is there.
		hear HOST PORT: prints what the server says first, and after how many us.
		grip HOST PORT COUNT FILE: connections that do nothing, not even end, for as long as FILE is there.
		lazy PORT: accepts a connection each 0.7 s, and has room for one more.
		abort PORT FILE: holds connections until their clients end them, and resets all whenever FILE comes.
		wait PORT MS: answers each HTTP request after so many ms.
		greet PORT MS: says "220 ready" so many ms after it has accepted, and ends 50 ms later."""
		import hashlib, http.server, os, socket, struct, sys, threading, time
		def family(host): return socket.AF_INET6 if ":" in host else socket.AF_INET
		def echo(port):
		    server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
		    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
		    server.bind(("::", int(port)))
		    while True:
		        data, sender = server.recvfrom(65535)
		        if data.startswith(b"give "): data = bytes(int(data[5:]))
		        server.sendto(data, sender)
		def connected(host, port):
		    one = socket.socket(family(host), socket.SOCK_DGRAM)
		    one.settimeout(5)
		    one.connect((host, int(port)))
		    return one
		def ask(host, port, length):
		    data = os.urandom(int(length))
		    one = connected(host, port)
		    for attempt in range(3): # the first of a path may be too long for it
		        try:
		            one.send(data)
		            answer = one.recv(65535)
		            break
		        except OSError as error: answer = str(error).encode()
		    print(hashlib.sha256(data).hexdigest(), hashlib.sha256(answer).hexdigest())
		def take(host, port, length):
		    one = connected(host, port)
		    for attempt in range(3): # the sender learns by the first how long they may be
		        try:
		            one.send(b"give " + length.encode())
		            print(len(one.recv(65535)))
		            break
		        except OSError as error: last = error
		    else: print(last)
		def refused(host, port):
		    one = connected(host, port)
		    one.send(b"anyone?")
		    try: print("answer:", one.recv(100))
		    except OSError as error: print(type(error).__name__)
		def lookup(host, name):
		    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
		    one = connected(host, 53)
		    one.send(struct.pack("!6H", 4711, 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1))
		    print(socket.inet_ntoa(one.recv(512)[-4:]))
		def hold(host, port, path):
		    one = socket.create_connection((host, int(port)), 5)
		    one.settimeout(20)
		    print("open", one.getsockname()[1], flush=True)
		    while os.path.exists(path):
		        one.sendall(b"GET /who HTTP/1.1\r\nHost: web\r\n\r\n")
		        if not one.recv(4096): sys.exit("closed")
		        time.sleep(0.1)
		    print("still open")
		def hear(host, port):
		    one = socket.create_connection((host, int(port)), 5)
		    begin = time.monotonic()
		    print(one.recv(100).decode().strip(), int((time.monotonic() - begin) * 1e6))
		def grip(host, port, count, path):
		    all = [socket.create_connection((host, int(port)), 5) for _ in range(int(count))]
		    print("open", flush=True)
		    while os.path.exists(path): time.sleep(0.1)
		def server(port, room):
		    one = socket.socket()
		    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
		    one.bind(("0.0.0.0", int(port)))
		    one.listen(room)
		    return one
		def lazy(port):
		    one = server(port, 0)
		    while True:
		        one.accept()[0].close()
		        time.sleep(0.7)
		def wait(port, ms):
		    class Answer(http.server.BaseHTTPRequestHandler):
		        def do_GET(self):
		            time.sleep(int(ms) / 1000)
		            self.send_response(200)
		            self.end_headers()
		        def log_message(self, *args): pass
		    http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Answer).serve_forever()
		def greet(port, ms):
		    def serve(one):
		        time.sleep(int(ms) / 1000)
		        one.sendall(b"220 ready\r\n")
		        time.sleep(0.05)
		        one.close()
		    server = socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True)
		    while True: threading.Thread(target=serve, args=(server.accept()[0],)).start()
		def abort(port, path):
		    one, all = server(port, 100), []
		    one.settimeout(0.1)
		    while True:
		        try: all.append(one.accept()[0])
		        except OSError: pass
		        for each in list(all):
		            try:
		                if each.recv(4096, socket.MSG_DONTWAIT): continue
		            except BlockingIOError: continue
		            except OSError: pass
		            each.close()
		            all.remove(each)
		        if not os.path.exists(path): continue
		        for each in all:
		            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
		            each.close()
		        all = []
		        os.unlink(path)
		globals()[sys.argv[1]](*sys.argv[2:])
	PY
}

web_server() { # N
	lab_nginx_config "$WORK/b$1" <<-CONF
		server {
		  listen 8080 backlog=8192; listen [::]:8080 backlog=8192;
		  listen 8090; listen [::]:8090;
		  location = /healthz { return 200 "ok\n"; }
		  location = /wait { proxy_pass http://127.0.0.1:7004; }
		  location = /who { return 200 "b$1 \$remote_addr \$server_port\n"; }
		  location /files/ { alias $WORK/files/; }
		  location /slow/ { alias $WORK/files/; limit_rate 1500k; }
		}
	CONF
	lab_nginx_start "$1"
}

dns_server() { # N
	lab_spawn "dnsmasq-b$1" in_ns "b$1" dnsmasq --keep-in-foreground --conf-file=/dev/null --port=5353 \
		--no-resolv --no-hosts --user=root --pid-file= --address="/who.example/10.9.9.$1"
}

# It runs as a user of its own, who must reach its files.
database() { # N
	local dir=$WORK/pg
	chmod 711 "$WORK"
	mkdir "$dir" && chown postgres "$dir"
	as_postgres "$PG_BIN/initdb" --no-sync --auth=trust -D "$dir/data" >"$dir.log" 2>&1 || return 1
	cat >>"$dir/data/postgresql.conf" <<-CONF
		listen_addresses = '*'
		port = 5433
		unix_socket_directories = '$dir'
		fsync = off
	CONF
	echo "host all all all trust" >>"$dir/data/pg_hba.conf"
	lab_spawn postgres in_ns "b$1" setpriv --reuid postgres --regid postgres --clear-groups \
		"$PG_BIN/postgres" -D "$dir/data"
}
as_postgres() { (cd / && setpriv --reuid postgres --regid postgres --clear-groups "$@"); }

servers() {
	local i
	mkdir -p "$WORK/files"
	head -c 12000000 /dev/urandom >"$WORK/files/big"
	for i in 1 2 3; do
		web_server "$i"
		through lb "$i"
	done
	for i in 1 2; do dns_server "$i"; done
	ip -n "$(ns b3)" addr add 10.0.0.33/24 dev eth0
	lab_spawn echo in_ns b1 python3 "$WORK/peer.py" echo 7001
	lab_spawn lazy in_ns b2 python3 "$WORK/peer.py" lazy 7002
	for i in 1 2; do lab_spawn "wait-b$i" in_ns "b$i" python3 "$WORK/peer.py" wait 7004 200; done
	lab_spawn greet in_ns b1 python3 "$WORK/peer.py" greet 7005 300
	for i in 1 2; do lab_spawn "abort-b$i" in_ns "b$i" python3 "$WORK/peer.py" abort 7003 "$WORK/abort-b$i"; done
	lab_spawn iperf in_ns b2 iperf3 -s -p 5202
	database 3
}

# The way of b$2 to clients.
through() { # NODE N
	local last=2
	case $1 in lb2) last=3 ;; router) last=1 ;; esac
	ip -n "$(ns "b$2")" route replace default via "10.0.0.$last" mtu 1500
	ip -n "$(ns "b$2")" -6 route replace default via "2001:db8:b::$last" mtu 1500
}

# ---- the balancer ----

nat_service() { # NAME VIP PROTOCOL PORT HEALTH BACKENDS [LINE]...
	cat <<-CONF
		  - name: $1
		    vip: "$2"
		    protocol: $3
		    port: $4
		    forward: nat
		    health: { $5 }
		    backends: [ $6 ]
	CONF
	for line in "${@:7}"; do echo "    $line"; done
}

config_nat() {
	local family check="type: http, path: /healthz, $CHECK_TIMES"
	echo "nat: { direct: [ $DIRECT4/32 ], prefix: \"$PREFIX\" }"
	echo "telemetry: { sample: 1/1 }"
	echo "services:"
	for family in $FAMILIES; do
		b() { backend_address "$1" "$(inside "$family")"; }
		nat_service "web$family" "$(vip "$family")" tcp 80 "$check" \
			"{ address: \"$(b 1)\" }, { address: \"$(b 2)\" }" "backend-port: 8080"
		nat_service "db$family" "$(vip "$family")" tcp 5432 "$CHECK_TIMES" \
			"{ address: \"$(b 3)\", port: 5433 }"
		nat_service "dns$family" "$(vip "$family")" udp 53 \
			"type: dns, name: who.example, $CHECK_TIMES" \
			"{ address: \"$(b 1)\" }, { address: \"$(b 2)\" }" "backend-port: 5353"
		nat_service "big$family" "$(vip "$family")" udp 7000 "type: none" \
			"{ address: \"$(b 1)\", port: 7001 }"
		nat_service "closed$family" "$(vip "$family")" udp 9 "type: none" \
			"{ address: \"$(b 1)\", port: 10009 }"
		nat_service "refused$family" "$(vip "$family")" tcp 9 "type: none" \
			"{ address: \"$(b 1)\", port: 10009 }"
	done
	nat_service lazy $VIP4 tcp 8 "type: none" "{ address: 10.0.0.12, port: 7002 }"
	nat_service greet $VIP4 tcp 25 "type: none" "{ address: 10.0.0.11, port: 7005 }"
	nat_service least $VIP4 tcp 81 "type: none" "{ address: 10.0.0.11 }, { address: 10.0.0.12 }" \
		"backend-port: 7003" "algorithm: least-conn"
	nat_service iperf-tcp $VIP4 tcp 5201 "type: none" "{ address: 10.0.0.12, port: 5202 }"
	nat_service iperf-udp $VIP4 udp 5201 "type: none" "{ address: 10.0.0.12, port: 5202 }"
	nat_service any $ANY4 tcp any "port: 8090, $CHECK_TIMES" "{ address: 10.0.0.33 }"
}

forwarding_on() { # NODE
	lab_forwarding_on "$1"
	in_ns "$1" sysctl -qw net.ipv6.conf.all.forwarding=1
	in_ns "$1" ip -6 route replace unreachable $PREFIX # docs/nat.md
}

set_up() {
	lab_up 3 1500 || return 1
	ip -n "$(ns client)" addr add $DIRECT4/24 dev eth0
	forwarding_on lb
	peer_py
	servers || return 1
	lab_lbd_with $BACKENDS config_nat || return 1
	lab_wait_for 60 "PostgreSQL" database_answers
}
database_answers() { as_postgres true && psql_at 4 -c "select 1"; }

# ---- TCP ----

test_an_unmodified_nginx_on_its_own_port_sees_the_client() {
	local family address
	for family in $FAMILIES; do
		address=CLIENT$family
		for _ in 1 2 3 4 5 6 7 8; do
			contains "$(fetch "$(url "$family")/who")" " ${!address} 8080"
		done
	done
}

test_both_backends_get_new_flows() {
	local answers
	answers=$(for _ in $(seq 40); do fetch "$(url 4)/who"; done | cut -c1-2 | sort | uniq -c)
	contains "$answers" b1
	contains "$answers" b2
}

test_a_download_arrives_as_it_was_sent() {
	local family
	for family in $FAMILIES; do
		expect "sha256 over IPv$family" "$(fetch "$(url "$family")/files/big" | sha256sum)" = \
			"$(sha256sum <"$WORK/files/big")"
	done
}

test_replies_are_counted_beside_requests() {
	local real
	for _ in $(seq 20); do fetch "$(url 4)/who" >/dev/null; done
	fetch "$(url 4)/files/big" >/dev/null
	for real in $REALS; do
		expect "replies of $real" "$(backend_field web4 "$real" returned_packets)" -gt 0
		expect "bytes of them" "$(backend_field web4 "$real" returned_bytes)" -gt 1000
		expect "its port" "$(backend_field web4 "$real" port)" = 8080
	done
	expect "replies of web4" "$(service_field web4 returned_bytes)" -gt 12000000
	expect "the same as a metric" "$(service_metric lbd_service_returned_bytes_total web4)" -gt 12000000
	expect "returned_tx" "$(reason_packets returned_tx)" -gt 0
	contains "$(lbctl backends web4)" "REPLY BYTES"
	contains "$(lbctl backends web4)" "10.0.0.11:8080"
	contains "$(lbctl top --once)" "RBIT/S"
}

# Of a closed port: docs/telemetry.md.
test_refused_connects_are_counted_beside_those_of_the_sample() {
	local family before code address
	for family in $FAMILIES; do
		address=$(backend_address 1 "$(inside "$family")")
		before=$(backend_field "refused$family" "$address" refused)
		for _ in 1 2 3 4 5; do
			code=0
			fetch -o /dev/null "$(url "$family"):9/" 2>/dev/null || code=$?
			expect "curl's exit code" $code = 7
		done
		expect "refused over IPv$family" \
			$(($(backend_field "refused$family" "$address" refused) - before)) = 5
		lab_wait_for 5 "those of the sample" sampled_refused "refused$family" 5
		expect "of the service" "$(service_field "refused$family" refused)" -ge 5
		lab_wait_for 5 "the same as a metric" metric_refused "refused$family" 5
	done
	expect "of a service that answers" "$(service_field web4 refused)" = 0
	contains "$(lbctl connects refused4)" "REFUSED"
	contains "$(lbctl backends refused4)" "REFUSED"
}

# What a service has of the sample is added up, and the text of the metrics made, once a second.
sampled_refused() { [ "$(service_field "$1" connects | jq .refused)" -ge "$2" ]; } # SERVICE COUNT

metric_refused() { [ "$(service_metric lbd_service_refused_total "$1")" -ge "$2" ]; } # SERVICE COUNT

connects_of() { backend_field "$1" "$2" connects | jq -r ".$3 // 0"; } # SERVICE ADDRESS FIELD

test_a_server_that_accepts_slowly_shows_in_its_times() {
	local n
	for n in $(seq 12); do client curl -s -m 12 "http://$VIP4:8/" >/dev/null & done
	lab_wait_for 15 "slow answers" answers_slowly
	echo "# $(backend_field lazy 10.0.0.12 connects | jq -c .)"
	wait_for_clients
	fetch "$(url 4)/who" >/dev/null
	expect "p50 of a server that does not" "$(connects_of web4 10.0.0.11 p50_us)" -lt 500000
}
answers_slowly() { [ "$(connects_of lazy 10.0.0.12 p99_us)" -ge 800000 ]; }
wait_for_clients() { lab_wait_for 15 "the clients to end" no_client; }
no_client() { [ -z "$(in_ns client ss -Htn dport = :8 state established state syn-sent)" ]; }

# What the client measured of a request: from its end to the first byte, in us, and the round trip,
# which is from the SYN to the SYN-ACK.
own_first_byte() { # URL
	fetch -o /dev/null -w '%{time_starttransfer} %{time_pretransfer} %{time_connect}' "$1" |
		awk '{ printf "%d\n", ($1 - $2 - $3) * 1e6 }'
}
# Buckets are four an octave: the middle of one is off by up to an eighth. A delayed acknowledgement
# would add 40 ms.
within_a_bucket() { # US OF
	[ $(($1 * 100)) -ge $(($2 * 82)) ] && [ $(($1 * 100)) -le $(($2 * 122)) ]
}
first_byte_of() { service_field "$1" connects | jq -r ".first_byte.$2 // 0"; } # SERVICE FIELD
# Keeps what it sees: a moment later the window may be another one.
timed_at_least() { # SERVICE COUNT
	service_field "$1" connects >"$WORK/timed" && [ "$(timed .recent)" -ge "$2" ]
}
timed() { jq -r ".first_byte$1 // 0" "$WORK/timed"; } # FILTER

# nginx hands the request to a server that takes 200 ms. The window of those before must be over.
test_the_first_byte_takes_as_long_as_the_client_measures() {
	local family own backends
	for family in $FAMILIES; do
		lab_wait_for 20 "no first byte of web$family in the window" none_timed "web$family"
		# at once: all are to be within one window
		own=$(for _ in $(seq 12); do own_first_byte "$(url "$family")/wait" & done | sort -n | sed -n 6p)
		lab_wait_for 5 "first bytes" timed_at_least "web$family" 12
		echo "# web$family: $own us; $(jq -c . "$WORK/timed")"
		expect "at the client, in us" "$own" -ge 190000 # a timer of nginx may be early by a part of a ms
		expect "p50 of lbd within a bucket: $(timed .p50_us) of $own" \
			"$(within_a_bucket "$(timed .p50_us)" "$own" && echo yes)" = yes
		backends=$(lbctl backends "web$family" --json | jq '[.backends[].connects.first_byte.timed] | add')
		expect "of the backends together" "$backends" -ge 12
	done
	contains "$(COLUMNS=200 lbctl connects web4)" "TTFB P50"
	expect "the same as a metric" "$(service_metric lbd_first_byte_seconds_count web4)" -ge 12
}
none_timed() { [ "$(first_byte_of "$1" recent)" = 0 ]; } # SERVICE

# It speaks first, as servers of SMTP and MySQL do: 300 ms after the handshake.
test_a_server_that_speaks_first_has_a_first_byte() {
	local n longest heard=()
	for n in 1 2 3 4; do # at once: all are to be within one window
		client timeout 20 python3 "$WORK/peer.py" hear $VIP4 25 >"$WORK/greeting-$n" &
		heard+=($!)
	done
	wait "${heard[@]}"
	for n in 1 2 3 4; do contains "$(cat "$WORK/greeting-$n")" "220 ready"; done
	lab_wait_for 5 "first bytes" timed_at_least greet 4
	echo "# $(jq -c .first_byte "$WORK/timed")"
	longest=$(awk '{ print $NF }' "$WORK"/greeting-[1-4] | sort -n | tail -n 1)
	expect "p50, at least as long as the server waits" "$(timed .p50_us)" -ge 246000
	expect "p50, at most a bucket beyond the slowest client's $longest us" \
		"$(timed .p50_us)" -le $((longest * 122 / 100))
}

active_of() { lbctl backends "$1" --json | json '[.backends[].active] | add'; } # SERVICE
active_is() { [ "$(active_of "$1")" = "$2" ]; } # SERVICE COUNT

# Its clients say nothing: only the resets of the servers show that the connections are over.
test_connections_that_backends_reset_are_not_active_any_more() {
	local n
	touch "$WORK/grip"
	lab_spawn grip in_ns client python3 "$WORK/peer.py" grip $VIP4 81 8 "$WORK/grip"
	lab_wait_for 10 "8 active flows" active_is least 8
	for n in 1 2; do expect "on b$n, by least-conn" "$(backend_field least "10.0.0.1$n" active)" = 4; done
	touch "$WORK/abort-b1"
	lab_wait_for 10 "those of b1 to end" active_is least 4
	expect "on b2" "$(backend_field least 10.0.0.12 active)" = 4
	touch "$WORK/abort-b2"
	lab_wait_for 10 "all to end" active_is least 0
	rm "$WORK/grip"
}

# Where only the client's FIN is seen, it waits for two minutes.
test_a_drain_ends_soon_after_both_ends_closed() {
	touch "$WORK/grip"
	lab_spawn grip in_ns client python3 "$WORK/peer.py" grip $VIP4 81 4 "$WORK/grip"
	lab_wait_for 10 "active flows" active_is least 4
	lbctl backend drain least 10.0.0.11 >/dev/null || return 1
	expect "condition" "$(backend_field least 10.0.0.11 condition)" = draining
	rm "$WORK/grip"
	lab_wait_for 60 "the end of the drain" condition_is least 10.0.0.11 drained
	lbctl backend undrain least 10.0.0.11 >/dev/null
}

test_every_port_of_a_vip_of_any_port_arrives_unchanged() {
	contains "$(fetch http://$ANY4:8080/who)" "b3 $CLIENT4 8080"
	contains "$(fetch http://$ANY4:8090/who)" "b3 $CLIENT4 8090"
}

psql_at() { # FAMILY PSQL-ARGUMENT...
	client psql -X -q -A -t "host=$(vip "$1") port=5432 user=postgres dbname=postgres sslmode=disable" \
		-v ON_ERROR_STOP=1 "${@:2}"
}

test_postgresql_copies_in_and_out_through_the_vip() {
	local family want
	yes "$(head -c 999 /dev/zero | tr '\0' x)" | head -n $((COPY_MB * 1000)) |
		nl >"$WORK/rows"
	want=$(sha256sum <"$WORK/rows")
	for family in $FAMILIES; do
		psql_at "$family" -c "drop table if exists lines" -c "create table lines (number text, line text)" \
			-c "copy lines from stdin" <"$WORK/rows" || FAILED=1
		expect "sha256 of what came back over IPv$family" "$(psql_at "$family" -c "copy lines to stdout" |
			sha256sum)" = "$want"
	done
	expect "the client that PostgreSQL sees" "$(psql_at 4 -c "select inet_client_addr()")" = $CLIENT4
	expect "its own address" "$(psql_at 4 -c "select inet_server_addr()")" = 10.0.0.13
	rm -f "$WORK/rows"
}

iperf() { # OPTION...: bytes that arrived
	client timeout 60 iperf3 -c $VIP4 -p 5201 -J "$@" >"$WORK/iperf.json" || FAILED=1
	json '.error // (.end | .sum_received // .sum | .bytes)' <"$WORK/iperf.json"
}
# The last of what was sent may still be on its way when iperf3 ends: it counts less then.
test_iperf3_runs_both_ways_over_tcp_and_udp() {
	expect "bytes sent over TCP" "$(iperf -n 30M)" -gt 10000000
	expect "bytes received over TCP" "$(iperf -R -n 30M)" -gt 10000000
	expect "bytes sent over UDP" "$(iperf -u -b 20M -l 1200 -n 2M)" -gt 1000000
	expect "bytes received over UDP" "$(iperf -u -R -b 20M -l 1200 -n 2M)" -gt 1000000
}

# ---- UDP, ICMP, fragments ----

test_dnsmasq_answers_from_the_vip() {
	local family
	for family in $FAMILIES; do
		contains "$(peer lookup "$(vip "$family")" who.example)" 10.9.9.
	done
}

test_a_closed_udp_port_is_refused_at_the_client() {
	local family
	for family in $FAMILIES; do
		expect "a datagram to a closed port over IPv$family" \
			"$(peer refused "$(vip "$family")" 9)" = ConnectionRefusedError
	done
}

asks() { # FAMILY LENGTH
	local answer
	answer=$(peer ask "$(vip "$1")" 7000 "$2")
	expect "a datagram of $2 bytes and its answer over IPv$1" "${answer% *}" = "${answer#* }"
}
test_datagrams_of_4000_bytes_pass_in_fragments() {
	local family
	for family in $FAMILIES; do
		asks "$family" 4000
		asks "$family" 1472
		asks "$family" 1
	done
}

test_a_ping_of_the_vip_is_answered() {
	client ping -q -c 2 -i 0.2 -W 2 $VIP4 >/dev/null || FAILED=1
	client ping -q -c 2 -i 0.2 -W 2 $VIP6 >/dev/null || FAILED=1
	client ping -q -c 2 -i 0.2 -W 2 $VIP46 >/dev/null || FAILED=1
}

# ---- path MTU ----

outside_mtu() { ip -n "$(ns router)" link set to-client mtu "$1"; } # MTU
test_a_narrow_link_to_the_client_is_found_by_the_backend() {
	local family
	outside_mtu 1400
	for family in $FAMILIES; do
		expect "sha256 over IPv$family" "$(fetch "$(url "$family")/files/big" | sha256sum)" = \
			"$(sha256sum <"$WORK/files/big")"
	done
	for family in $FAMILIES; do
		expect "bytes of a datagram over IPv$family" "$(peer take "$(vip "$family")" 7000 1450)" = 1450
	done
	outside_mtu 1500
	for i in 1 2; do in_ns "b$i" ip route flush cache && in_ns "b$i" ip -6 route flush cache; done
}

inside_route() { # MTU
	in_ns lb ip route replace 10.0.0.11/32 dev eth0 mtu "$1"
	in_ns lb ip -6 route replace 2001:db8:b::11/128 dev eth0 mtu "$1"
	lab_wait_for 10 "lbd to know the MTU $1" inside_mtu_is "$1"
}
inside_mtu_is() { [ "$(lbctl backends big4 --json | json '.backends[0].next_hop.mtu')" = "$1" ]; }
test_a_narrow_link_to_the_backend_is_told_to_the_client() {
	local family before
	before=$(reason_packets too_big_answered)
	inside_route 1400 || return 1
	for family in $FAMILIES; do asks "$family" 1450; done
	expect "too_big_answered" "$(reason_packets too_big_answered)" -gt "$before"
	contains "$(client ip route get $VIP4)" "mtu 1400"
	contains "$(client ip -6 route get $VIP6)" "mtu 1400"
	# headers of IPv6 are longer, by 20 bytes, and by 28 of a fragment
	contains "$(client ip route get $VIP46)" "mtu 1372"
	in_ns lb ip route del 10.0.0.11/32 dev eth0
	in_ns lb ip -6 route del 2001:db8:b::11/128 dev eth0
	lab_wait_for 10 "lbd to know the MTU again" inside_mtu_is 1500
	client ip route flush cache
	client ip -6 route flush cache
}

# b4 is behind the router, on a narrow link. What it sends, and the router's own errors, go to clients
# by way of the balancer: the errors name the backend's address, which no client knows.
behind_router() {
	lab_host b4
	lab_cable b4 10.66.0.11/24 2001:db8:66::11/64 1400
	ip -n "$(ns router)" addr add 10.66.0.1/24 dev to-b4
	ip -n "$(ns router)" addr add 2001:db8:66::1/64 dev to-b4 nodad
	ip -n "$(ns b4)" route add default via 10.66.0.1
	ip -n "$(ns b4)" -6 route add default via 2001:db8:66::1
	in_ns router ip route add default via 10.0.0.2 table 66
	in_ns router ip -6 route add default via 2001:db8:b::2 table 66
	in_ns router ip rule add from 10.66.0.0/24 to 198.51.100.0/24 lookup 66
	in_ns router ip rule add iif lo to 198.51.100.0/24 ipproto icmp lookup 66
	in_ns router ip -6 rule add from 2001:db8:66::/64 to 2001:db8:c::/64 lookup 66
	in_ns router ip -6 rule add iif lo to 2001:db8:c::/64 ipproto ipv6-icmp lookup 66
	in_ns router ip -6 rule add to $PREFIX lookup 66
	# its errors come back to it on their way to the client
	in_ns router sysctl -qw net.ipv4.conf.br0.accept_local=1
	lab_spawn echo-b4 in_ns b4 python3 "$WORK/peer.py" echo 7001
	lbctl service add behind4 $VIP4:7100/udp --forward nat --backend 10.66.0.11,port=7001 >/dev/null
	lbctl service add behind6 "[$VIP6]:7100/udp" --forward nat --backend 2001:db8:66::11,port=7001 \
		>/dev/null
	lbctl service add behind46 $VIP46:7100/udp --forward nat --backend 2001:db8:66::11,port=7001 >/dev/null
}
test_a_narrow_link_behind_a_router_is_told_by_its_error() {
	local family answer
	behind_router || return 1
	lab_wait_for 10 "next hops" backends_up $((BACKENDS + 3)) || return 1
	for family in $FAMILIES; do
		answer=$(peer ask "$(vip "$family")" 7100 1450)
		expect "a datagram of 1450 bytes and its answer over IPv$family" "${answer% *}" = "${answer#* }"
		answer=1400
		[ "$family" != 46 ] || answer=1372
		contains "$(client ip "-$(outside "$family")" route get "$(vip "$family")")" "mtu $answer"
	done
	for family in $FAMILIES; do
		lbctl service remove "behind$family" --force >/dev/null || FAILED=1
		while in_ns router ip "-$(inside "$family")" rule del lookup 66 2>/dev/null; do :; done
		client ip "-$(outside "$family")" route flush cache
	done
}

# ---- what is not for a VIP ----

test_the_balancers_own_connections_are_not_changed() {
	in_ns lb curl -sS -m 5 http://10.0.0.11:8080/who >"$WORK/own" || FAILED=1
	contains "$(cat "$WORK/own")" "b1 10.0.0.2 8080"
	in_ns lb curl -sS -m 5 "http://[2001:db8:b::11]:8080/who" >"$WORK/own" || FAILED=1
	contains "$(cat "$WORK/own")" "b1 2001:db8:b::2 8080"
	backends_up $BACKENDS || FAILED=1 # health checks are such connections too
}

test_a_long_connection_of_the_balancer_lives_beside_the_clients() {
	touch "$WORK/holding"
	(LAB_EXEC="exec" in_ns lb python3 "$WORK/peer.py" hold 10.0.0.12 8080 "$WORK/holding") \
		>"$WORK/held" 2>&1 &
	lab_wait_for 20 "the connection" grep -q '^open' "$WORK/held"
	for _ in $(seq 20); do fetch "$(url 4)/who" >/dev/null || FAILED=1; done
	rm "$WORK/holding"
	wait $!
	contains "$(cat "$WORK/held")" "still open"
}

test_clients_past_the_vip_get_unchanged_replies_if_they_are_named() {
	local before
	before=$(reason_packets nat_direct)
	contains "$(fetch --interface $DIRECT4 http://10.0.0.11:8080/who)" "b1 $DIRECT4 8080"
	expect "nat_direct" "$(reason_packets nat_direct)" -gt "$before"
	! fetch -m 2 --interface $CLIENT4 http://10.0.0.11:8080/who >/dev/null 2>&1 || {
		echo "# one that is not named got an answer: no reply was changed"
		FAILED=1
	}
}

test_what_backends_send_otherwise_is_forwarded_as_it_is() {
	in_ns b1 ping -q -c 2 -i 0.2 -W 2 $CLIENT4 >/dev/null || FAILED=1
	in_ns b1 ping -q -c 2 -i 0.2 -W 2 $CLIENT6 >/dev/null || FAILED=1
}

test_a_backend_that_is_a_client_on_its_own_link_is_counted() {
	in_ns b1 curl -s -m 2 "$(url 4)/who" >/dev/null && {
		echo "# it got an answer"
		FAILED=1
	}
	lab_wait_for 5 "nat_hairpin" counted_more nat_hairpin 0
}

# One datagram from an address and a port that are not this host's.
forged_datagram() { # FROM PORT TO PORT
	client python3 - "$@" <<-'PY'
		import socket, sys
		s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		s.setsockopt(socket.SOL_IP, 19, 1)  # IP_TRANSPARENT
		s.bind((sys.argv[1], int(sys.argv[2])))
		s.sendto(b"x" * 16, (sys.argv[3], int(sys.argv[4])))
	PY
}
replies_of() { service_field "$1" returned_packets; } # SERVICE
# Its backend's answer would be answered by the other VIP's, and so on.
test_a_datagram_from_another_vip_reaches_no_backend() {
	local from to before answered
	for to in 4 46; do
		if [ $to = 4 ]; then from=46; else from=4; fi
		before=$(reason_packets martian)
		answered=$(replies_of big$to)
		forged_datagram "$(vip $from)" 7000 "$(vip $to)" 7000
		lab_wait_for 5 "martian" counted_more martian "$before" || FAILED=1
		asks $to 100 # what came before it was answered before it
		expect "replies of big$to" "$(replies_of big$to)" = $((answered + 1))
	done
}

# Of a client of IPv6: the balancer answers for its kernel, and its router gets nothing back.
test_what_else_goes_into_the_prefix_ends_here() {
	local said
	ip -n "$(ns router)" -6 route replace $PREFIX via 2001:db8:b::2
	said=$(client ping -6 -c 2 -i 0.2 -W 2 "$CLIENT46" 2>&1)
	contains "$said" "Destination unreachable"
	ip -n "$(ns router)" -6 route del $PREFIX via 2001:db8:b::2
}

# ---- operations ----

test_two_services_with_one_real_are_refused_with_both_names() {
	local said
	sed "s/address: 10.0.0.12, port: 5202/address: 10.0.0.12, port: 8080/" "$WORK/lbd.yaml" >"$WORK/bad.yaml"
	said=$("$BUILD/lbd" --check "$WORK/bad.yaml" 2>&1) && FAILED=1
	contains "$said" "has 10.0.0.12:8080/tcp too"
	contains "$said" "service iperf-tcp"
	contains "$said" "service web4"
	said=$(lbctl backend add db4 10.0.0.33 2>&1) && FAILED=1
	contains "$said" "10.0.0.33:5432/tcp is of service any"
	said=$(lbctl service add twin 192.0.2.77:80/tcp --forward nat --backend 10.0.0.13,port=5433 \
		2>&1) && FAILED=1
	contains "$said" "service db4"
	contains "$said" "10.0.0.13:5433/tcp"
	said=$(lbctl backend add web6 10.0.0.13 2>&1) && FAILED=1
	contains "$said" "expected an address of the VIP's family"
	contains "$said" "cannot be told the address of an IPv6 client"
}

test_a_backend_that_is_added_is_at_the_services_port() {
	lbctl backend add web4 10.0.0.13 >/dev/null || return 1
	lab_wait_for 10 "it to be up" condition_is web4 10.0.0.13 up || return 1
	expect "its port" "$(backend_field web4 10.0.0.13 port)" = 8080
	lab_wait_for 20 "a flow to it" answered_from b3
	local said
	lbctl backend remove web4 10.0.0.13 --now >/dev/null || FAILED=1
	# replies may still come: no other service gets it at once
	said=$(lbctl service add next 192.0.2.78:80/tcp --forward nat --backend 10.0.0.13,port=8080 \
		2>&1) && FAILED=1
	contains "$said" "10.0.0.13:8080/tcp"
}
answered_from() { [[ $(fetch "$(url 4)/who") == "$1 "* ]]; } # BACKEND

register() { # SERVICE ADDRESS BODY: from the server itself, prints the status
	curl -s -o "$WORK/answer" -w '%{http_code}' -m 60 --unix-socket "$WORK/lbd.sock" -X PUT \
		-d "$3" "http://lbd/v1/services/$1/backends/$2"
}
answered_at() { [[ $(fetch "$(url 4)/who") == "$1 $CLIENT4 $2" ]]; } # BACKEND PORT
test_a_server_that_registers_itself_is_at_the_port_it_names() {
	local said
	expect "registered" "$(register web4 10.0.0.13 '{"port":8090,"ttl":600}')" = 200 || return 1
	expect "registered again" "$(register web4 10.0.0.13 '{"port":8090,"ttl":600}')" = 200
	lab_wait_for 10 "it to be up" condition_is web4 10.0.0.13 up || return 1
	expect "its port" "$(backend_field web4 10.0.0.13 port)" = 8090
	lab_wait_for 20 "a flow to it" answered_at b3 8090 || return 1
	lab_kill lbd KILL
	lab_lbd_start || return 1
	expect "its port after kill -9" "$(backend_field web4 10.0.0.13 port)" = 8090
	lbctl reload >/dev/null || FAILED=1
	expect "its port after a reload" "$(backend_field web4 10.0.0.13 port)" = 8090
	lab_wait_for 20 "a flow to it again" answered_at b3 8090 || return 1
	said=$(lbctl backend put web4 10.0.0.13 --port 8080 --ttl 10m) || FAILED=1
	contains "$said" "port 8090 -> 8080: connections end"
	lab_wait_for 20 "a flow to its other port" answered_at b3 8080 || return 1
	expect "with a port that is none" "$(register web4 10.0.0.13 '{"port":0}')" = 400
	contains "$(cat "$WORK/answer")" "port: expected an integer 1 to 65535, got 0"
	expect "with a port where none counts" "$(register any 10.0.0.34 '{"port":8080}')" = 400
	contains "$(cat "$WORK/answer")" 'port: 8080: has no meaning with `port: any`'
	lbctl backend remove web4 10.0.0.13 --now >/dev/null || FAILED=1
}

named_at() { [[ $(fetch "http://$VIP4:8000/who") == "$1 $CLIENT4 $2" ]]; } # BACKEND PORT
test_backends_of_a_source_are_at_the_ports_it_names() {
	echo "10.0.0.12 port=8090" >"$WORK/named"
	curl -sf -o "$WORK/answer" -m 60 --unix-socket "$WORK/lbd.sock" -d @- http://lbd/v1/service/add <<-JSON || FAILED=1
		{ "name": "named", "vip": "$VIP4", "protocol": "tcp", "port": 8000, "forward": "nat",
		  "health": { "interval": "100ms" }, "backends-from": { "file": "$WORK/named" } }
	JSON
	lab_wait_for 20 "a flow to it" named_at b2 8090 || return 1
	echo "10.0.0.11 port=8090" >"$WORK/named.new"
	mv "$WORK/named.new" "$WORK/named"
	lab_wait_for 20 "a flow to the next one" named_at b1 8090 || return 1
	expect "its port" "$(backend_field named 10.0.0.11 port)" = 8090
	lbctl service remove named --force >/dev/null || FAILED=1
}

test_a_detach_that_leaks_asks_for_force() {
	local said
	said=$(lbctl detach eth0 2>&1) && FAILED=1
	contains "$said" "forward: nat"
	contains "$said" "--force"
	contains "$(fetch "$(url 4)/who")" " $CLIENT4 "
	lbctl detach eth0 --force >/dev/null || FAILED=1
	lbctl attach eth0 >/dev/null || FAILED=1
	lab_wait_for 10 "answers again" answered_at_all
}
answered_at_all() { fetch -m 1 "$(url 4)/who" | grep -q "$CLIENT4"; }

hinted() { [ -n "$(backend_field web4 10.0.0.11 hint)" ]; }
not_hinted() { lbctl backends web4 --json | jq -e 'all(.backends[]; .hint == "")'; }
test_backends_whose_replies_do_not_come_back_are_named() {
	through router 1
	through router 2
	(while [ ! -e "$WORK/enough" ]; do
		client curl -s -m 0.3 "$(url 4)/who"
		sleep 0.02
	done) >/dev/null 2>&1 &
	lab_wait_for 30 "the hint" hinted || FAILED=1
	touch "$WORK/enough"
	wait $!
	contains "$(lbctl backends web4)" "nothing back in 10 s: is its route to clients through this machine"
	contains "$(lbctl status)" "no replies come back from"
	contains "$(lbctl events --since 5m)" "nothing back in 10 s"
	contains "$(metrics | grep ^lbd_backend_silent)" " 1"
	through lb 1
	through lb 2
	lab_wait_for 40 "the hint to go" answered_and_not_hinted
	contains "$(lbctl events --since 5m)" "its replies come back"
}
answered_and_not_hinted() {
	for _ in 1 2 3 4 5 6; do fetch -m 1 "$(url 4)/who"; done
	not_hinted
}

# ---- IPv4 VIPs with IPv6 backends ----

test_ipv6_backends_behind_an_ipv4_vip_need_a_prefix() {
	local said
	sed "s#, prefix: .* }# }#" "$WORK/lbd.yaml" >"$WORK/bad.yaml"
	said=$("$BUILD/lbd" --check "$WORK/bad.yaml" 2>&1) && FAILED=1
	contains "$said" "service web46: backend 2001:db8:b::11: address"
	contains "$said" "expected an IPv4 address like the VIP"
	contains "$said" "nat: { prefix: PREFIX }"
	said=$(lbctl service add twin 192.0.2.79:80/tcp --forward nat --backend 2001:db8:b::11,port=8080 \
		2>&1) && FAILED=1
	contains "$said" "service web46"
	contains "$said" "[2001:db8:b::11]:8080/tcp"
}

# A backend that has IPv6 alone, and is added while another one drains.
test_a_download_survives_the_change_of_ipv6_backends() {
	local pid
	client curl -s -m 60 -o "$WORK/got" "$(url 46)/slow/big" &
	pid=$!
	lab_wait_for 10 "the download to run" test -s "$WORK/got"
	ip -n "$(ns b3)" -6 route replace default via 2001:db8:b::2 mtu 1500
	lbctl backend add web46 2001:db8:b::13 >/dev/null || FAILED=1
	lab_wait_for 10 "it to be up" condition_is web46 2001:db8:b::13 up || FAILED=1
	lbctl backend drain web46 2001:db8:b::11 >/dev/null || FAILED=1
	lbctl backend drain web46 2001:db8:b::12 >/dev/null || FAILED=1
	lab_wait_for 20 "new flows by the new backend" new_one_answers
	wait $pid || FAILED=1
	cmp "$WORK/got" "$WORK/files/big" || FAILED=1
	rm -f "$WORK/got"
	lbctl backend undrain web46 2001:db8:b::11 >/dev/null || FAILED=1
	lbctl backend undrain web46 2001:db8:b::12 >/dev/null || FAILED=1
	lbctl backend remove web46 2001:db8:b::13 --now >/dev/null || FAILED=1
}
new_one_answers() { [[ $(fetch "$(url 46)/who") == "b3 $CLIENT46 8080" ]]; }

test_replies_of_ipv6_backends_to_ipv4_clients_are_counted() {
	expect "replies of web46" "$(service_field web46 returned_packets)" -gt 0
	expect "untranslatable" "$(reason_packets untranslatable)" = 0
}

# ---- two arms: clients are behind eth1, backends behind eth0 ----

second_arm() {
	lab_link lb eth1 router to-lb-out 1500 || return 1
	ip -n "$(ns lb)" addr add 10.1.0.2/30 dev eth1
	ip -n "$(ns lb)" addr add 2001:db8:e::2/64 dev eth1 nodad
	ip -n "$(ns router)" addr add 10.1.0.1/30 dev to-lb-out
	ip -n "$(ns router)" addr add 2001:db8:e::1/64 dev to-lb-out nodad
	lab_takes_xdp_frames to-lb-out
	lbctl attach eth1 >/dev/null
}
arm_to_clients() { # GATEWAY4 GATEWAY6 LB4 LB6
	in_ns lb ip route replace default via "$1"
	in_ns lb ip -6 route replace default via "$2"
	in_ns router ip route replace 192.0.2.0/24 via "$3"
	in_ns router ip -6 route replace 2001:db8:5::/64 via "$4"
}
test_with_two_arms_replies_leave_by_the_other_interface() {
	local family before
	second_arm || return 1
	arm_to_clients 10.1.0.1 2001:db8:e::1 10.1.0.2 2001:db8:e::2
	before=$(reason_packets returned_redirect)
	for family in $FAMILIES; do
		expect "sha256 over IPv$family" "$(fetch "$(url "$family")/files/big" | sha256sum)" = \
			"$(sha256sum <"$WORK/files/big")"
		asks "$family" 4000
	done
	lab_wait_for 5 "returned_redirect" counted_more returned_redirect $((before + 1000))
	arm_to_clients 10.0.0.1 2001:db8:b::1 10.0.0.2 2001:db8:b::2
	# no backend is behind it: nothing leaks
	lbctl detach eth1 >/dev/null || FAILED=1
	ip -n "$(ns lb)" link del eth1
}

# ---- checksums that a neighbour leaves to its device ----

# Segments must not be joined. The router's end of lb's cable leaves them unfinished too, that of the client's finishes
# what its device says is not: so it shows what a card would send.
leaves_checksums() { # on | off
	local host
	for host in client b1 b2; do in_ns $host ethtool -K eth0 tx "$1" tso off gso off >/dev/null 2>&1; done
	in_ns router ethtool -K to-lb tx "$1" tso off gso off >/dev/null 2>&1
}
test_unfinished_checksums_of_backends_are_made_anew() {
	[ "$MODE" = native ] || {
		skip "the kernel finishes them a second time in generic mode (docs/nat.md, Limits)"
		return
	}
	leaves_checksums on
	for family in $FAMILIES; do
		expect "sha256 over IPv$family" "$(fetch "$(url "$family")/files/big" | sha256sum)" = \
			"$(sha256sum <"$WORK/files/big")"
	done
	for family in $FAMILIES; do asks "$family" 100; done
	leaves_checksums off
}

# ---- the daemon dies, and the balancer changes ----

# Four downloads of some seconds, from before ACTION to their end.
downloads_across() { # ACTION...
	local n pids=() status=0 ways=(none 4 6 46 46)
	rm -f "$WORK"/got[1-4] # of a test that failed
	for n in 1 2 3 4; do
		client curl -s -m 300 -o "$WORK/got$n" "$(url "${ways[n]}")/slow/big" &
		pids+=($!)
	done
	lab_wait_for 10 "the downloads to run" downloads_run || return 1
	"$@" || FAILED=1
	for n in "${pids[@]}"; do wait "$n" || status=1; done
	expect "downloads that ended well" $((4 - status)) = 4
	for n in 1 2 3 4; do
		cmp "$WORK/got$n" "$WORK/files/big" || FAILED=1
		rm -f "$WORK/got$n"
	done
}
downloads_run() { [ "$(find "$WORK" -name 'got?' -size +500k | wc -l)" = 4 ]; }

killed_and_started() { stop_lbd KILL && sleep 1 && lab_lbd_start; }
test_downloads_survive_the_daemon() { downloads_across killed_and_started; }

greets_at() { [[ $(peer hear "$1" 25) == "220 ready"* ]]; } # VIP
waits_for_its_real() {
	condition_is greet 10.0.0.11 down &&
		[[ $(backend_field greet 10.0.0.11 why) == "10.0.0.11:7005/tcp was a backend of $VIP4:25/tcp"* ]]
}
# A reload is refused, and the file stays as it is.
test_a_start_with_a_service_at_another_vip_takes_its_backends_when_they_are_free() {
	local said
	sed -i '/name: greet/a\    idle-timeout: { tcp: 10s }' "$WORK/lbd.yaml"
	lbctl reload >/dev/null || return 1
	greets_at $VIP4 || FAILED=1
	sed -i "/name: greet/,/vip:/s/vip: .*/vip: \"$ANY4\"/" "$WORK/lbd.yaml"
	said=$(lbctl reload 2>&1) && FAILED=1
	contains "$said" "10.0.0.11:7005/tcp"
	stop_lbd KILL
	lab_lbd_start || return 1
	lab_wait_for 5 "it to wait" waits_for_its_real || return 1
	logged "backend 10.0.0.11 down: 10.0.0.11:7005/tcp"
	expect "the others" "$(backend_field web4 10.0.0.11 condition)" = up
	stop_lbd KILL # the time that it waits goes on
	lab_lbd_start || return 1
	lab_wait_for 30 "its real to be free" condition_is greet 10.0.0.11 up || return 1
	lab_wait_for 5 "an answer at the other VIP" greets_at $ANY4
	lbctl reload >/dev/null || FAILED=1
}

second_balancer() {
	mkdir -p "$WORK/lb2"
	lab_host lb2
	lab_cable lb2 10.0.0.3/24 2001:db8:b::3/64 1500
	lab_join_inside lb2
	lab_takes_xdp_frames to-lb2
	forwarding_on lb2
	sed "s#^pin:.*#pin: /sys/fs/bpf/$LAB/lb2#; s#: $WORK/#: $WORK/lb2/#" "$WORK/lbd.yaml" >"$WORK/lb2/lbd.yaml"
	pair_lbd_start lb2 || return 1
	lab_wait_for 20 "its backends" pair_backends_up lb2 $BACKENDS
}
sent_by() { # NODE BEGIN-OF-REASON
	pair_ctl "$1" stats --json |
		json '[.reasons[] | select(.name | startswith($begin)) | .packets] | add' --arg begin "$2"
}
requests_by() { # NODE
	local last=2
	[ "$1" = lb ] || last=3
	in_ns router ip route replace 192.0.2.0/24 via 10.0.0.$last
	in_ns router ip -6 route replace 2001:db8:5::/64 via 2001:db8:b::$last
}
replies_by() { through "$1" 1 && through "$1" 2; } # NODE
sends_more() { [ "$(sent_by "$1" "$2")" -gt "$3" ]; } # NODE BEGIN THAN

roles_swapped() {
	local in out
	in=$(sent_by lb2 forwarded) out=$(sent_by lb returned)
	requests_by lb2
	replies_by lb
	lab_wait_for 10 "requests by lb2" sends_more lb2 forwarded $((in + 20))
	lab_wait_for 10 "replies by lb" sends_more lb returned $((out + 20))
}
test_two_balancers_that_share_nothing_swap_their_roles() {
	second_balancer || return 1
	requests_by lb
	replies_by lb2
	downloads_across roles_swapped
}

# Both begin with empty maps. Nothing is forwarded meanwhile: what the kernel let through would be
# without its VIP.
everything_lost() {
	local node
	for node in lb lb2; do
		in_ns "$node" sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0
	done
	lab_kill lbd KILL
	lab_kill lbd-lb2 KILL
	for node in lb lb2; do in_ns "$node" ip link set dev eth0 xdp off; done
	rm -rf "/sys/fs/bpf/${LAB:?}"
	lab_lbd_start && pair_lbd_start lb2 || return 1
	lab_wait_for 30 "the backends on lb" backends_up $BACKENDS
	lab_wait_for 30 "the backends on lb2" pair_backends_up lb2 $BACKENDS
	for node in lb lb2; do forwarding_on "$node"; done
}
test_downloads_survive_the_loss_of_every_map_on_both() { downloads_across everything_lost; }

set_up_or_end set_up
run_tests "$@"
