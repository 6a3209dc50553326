#!/bin/bash
# Health checks that look into answers, with real servers: nginx, dnsmasq, UDP, the kernel's ICMP.
. "$(dirname "$0")/lib.sh"

COUNT=2
DNS="name: www.example.org, $CHECK_TIMES"

# dnsmasq on all addresses of backend N; answers for www.example.org.
dnsmasq_start() { # N [ADDRESS]
	lab_spawn "dns-b$1" in_ns "b$1" dnsmasq --keep-in-foreground --conf-file=/dev/null \
		--no-resolv --no-hosts --user=root --pid-file= --port=53 \
		${2:+"--address=/www.example.org/$2"}
}

# Authorities "ca" and "other"; of the first a server, the same expired, and a client. Of the other a client.
tls_files() {
	local name ec=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
	mkdir "$WORK/tls"
	(
		cd "$WORK/tls" || exit 1
		echo 'subjectAltName=DNS:www.example.org' >names
		for name in ca other; do
			openssl req -x509 "${ec[@]}" -days 30 -subj "/CN=$name" -keyout $name.key -out $name.pem
		done
		for name in server client; do
			openssl req "${ec[@]}" -subj "/CN=$name" -keyout $name.key -out $name.csr
		done
		tls_sign server ca 30 server
		tls_sign server ca -1 expired
		tls_sign client ca 30 client
		tls_sign client other 30 stranger
	) >"$WORK/tls.log" 2>&1
}
tls_sign() { # REQUEST AUTHORITY DAYS OUT
	openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -CAcreateserial -days "$3" \
		-extfile names -out "$4.pem"
}

# nginx with TLS at port 443 of backend N, which asks clients for a certificate.
tls_start() { # N CERTIFICATE
	local dir=$WORK/tls-b$1
	lab_nginx_config "$dir" <<-CONF
		server {
		  listen 443 ssl; ssl_certificate $WORK/tls/$2.pem; ssl_certificate_key $WORK/tls/server.key;
		  ssl_client_certificate $WORK/tls/ca.pem; ssl_verify_client on;
		  location / { return 204; }
		}
	CONF
	lab_spawn "tls-b$1" in_ns "b$1" nginx -c "$dir/nginx.conf"
}

UDP_CHECK="{ type: udp, to: vip, port: 5353, send: q, expect: b }"
HTTP_CHECK="{ type: http, port: 80, path: /healthz }"
tls_keys() {
	echo "ca-file: $WORK/tls/${CA:-ca}.pem, server-name: ${NAME:-www.example.org}"
	echo ", certificate-file: $WORK/tls/${CLIENT:-client}.pem, key-file: $WORK/tls/client.key"
}

# A service of its own for each kind of check, on a port of its own.
services() {
	echo "services:"
	HEALTH="{ type: http, port: 80, path: /healthz, method: GET, headers: [\"X-Probe: lbd\"], body: ${BODY:-ok}, $CHECK_TIMES }" \
		config_service http $VIP4 tcp 8001 4 $COUNT ""
	HEALTH="{ type: http, port: 80, method: HEAD, $CHECK_TIMES }" \
		config_service head $VIP4 tcp 8002 4 $COUNT ""
	HEALTH="{ type: tcp, port: 80, send: \"GET /healthz HTTP/1.0\\r\\n\\r\\n\", expect: \"${EXPECT:-200 OK}\", $CHECK_TIMES }" \
		config_service tcp $VIP4 tcp 8003 6 $COUNT ""
	HEALTH="{ type: udp, to: vip, send-hex: \"00ff\", expect: b, $CHECK_TIMES }" \
		config_service udp "$LAB_UDP4" udp 5353 4 $COUNT ""
	HEALTH="{ type: dns, $DNS, expect: 192.0.2.80 }" config_service dns $VIP4 udp 53 4 $COUNT ""
	HEALTH="{ type: dns, to: vip, $DNS }" config_service dns6 $VIP6 udp 53 6 $COUNT ""
	HEALTH="{ type: icmp, $CHECK_TIMES }" config_service any $VIP4 tcp any 4 $COUNT ""
	HEALTH="{ type: icmp, to: vip, $CHECK_TIMES }" config_service any6 $VIP6 tcp any 6 $COUNT ""
	HEALTH="{ $CHECK_TIMES, match: ${MATCH:-all}, checks: [{ type: icmp }, $UDP_CHECK, $HTTP_CHECK] }" \
		config_service several "$LAB_UDP4" udp 5354 4 $COUNT ""
	HEALTH="{ type: https, port: 443, $(tls_keys), status: \"${STATUS:-200, 204}\", $CHECK_TIMES }" \
		config_service tls $VIP4 tcp 8012 4 $COUNT ""
	elsewhere
}
ALL=$((11 * COUNT))

# The port of the service is not served by anybody; each backend says where it is checked.
elsewhere() {
	cat <<-CONF
		  - name: elsewhere
		    vip: $VIP4
		    protocol: tcp
		    port: 8009
		    health: { type: tcp, $CHECK_TIMES }
		    backends:
		      - { address: 10.0.0.11, health: { port: ${PORT:-80} } }
		      - { address: 10.0.0.12, health: { port: 80, address: ${ADDRESS:-10.0.0.12} } }
	CONF
}

write_config() {
	{
		lab_config_head
		services
	} >"$WORK/lbd.yaml"
}

test_every_kind_is_up() { backends_up $ALL; }

test_an_answer_that_is_not_the_expected_one_takes_a_backend_down() {
	BODY=fine EXPECT="204 No" write_config
	lbctl reload >/dev/null || return 1
	down_because http 10.0.0.11 'HTTP: the body does not contain "fine"' || return 1
	down_because tcp 2001:db8:b::11 'the answer does not contain "204 No"' || return 1
	write_config
	lbctl reload >/dev/null || return 1
	lab_wait_for 20 "all to be up" backends_up $ALL
}

test_one_of_several_checks_that_fails_takes_a_backend_down_unless_any_will_do() {
	in_ns b1 sysctl -qw net.ipv4.icmp_echo_ignore_all=1
	down_because several 10.0.0.11 "check 1, icmp: no answer: timed out after 450ms"
	expect "the other backend" "$(backend_field several 10.0.0.12 condition)" = up
	MATCH=any write_config
	lbctl reload >/dev/null || return 1
	lab_wait_for 20 "several 10.0.0.11 to be up" condition_is several 10.0.0.11 up
	in_ns b1 sysctl -qw net.ipv4.icmp_echo_ignore_all=0
	write_config
	lbctl reload >/dev/null || return 1
	lab_wait_for 20 "all to be up" backends_up $ALL
}

test_a_backend_is_checked_where_it_says() {
	PORT=8009 ADDRESS=10.0.0.99 write_config
	lbctl reload >/dev/null || return 1
	down_because elsewhere 10.0.0.11 "connect: refused" || return 1
	lab_wait_for 20 "elsewhere 10.0.0.12 to be down" condition_is elsewhere 10.0.0.12 down
	write_config
	lbctl reload >/dev/null || return 1
	lab_wait_for 20 "all to be up" backends_up $ALL
}

# It answers those alone that send these two headers.
picky_start() { # N
	local dir=$WORK/picky-b$1
	lab_nginx_config "$dir" <<-CONF
		server {
		  listen 8014;
		  location / {
		    if (\$http_accept != "text/html, text/plain") { return 403; }
		    if (\$http_x_probe != lbd) { return 403; }
		    return 204;
		  }
		}
	CONF
	lab_spawn "picky-b$1" in_ns "b$1" nginx -c "$dir/nginx.conf"
}
added() { # NAME PORT [OPTION]...
	local name=$1 port=$2
	shift 2
	lbctl service add "$name" "$VIP4:$port/tcp" --backend 10.0.0.11 --backend 10.0.0.12 \
		"$@" >/dev/null
}

test_a_check_given_on_the_command_line_may_be_what_one_in_the_file_is() {
	local times="interval=500ms,timeout=450ms" accept="health.headers=Accept: text/html, text/plain"
	for i in 1 2; do picky_start "$i"; done
	added headers 8014 --health "http,port=8014,$times" --set "$accept" \
		--set "health.headers=X-Probe: lbd" || return 1
	added less 8015 --health "http,port=8014,$times" --set "$accept" || return 1
	added checks 8016 --health "$times" --check icmp --check "http,port=80,path=/healthz" || return 1
	added either 8017 --health "$times,match=any" --check "http,port=8014" --check icmp || return 1
	added json 8018 --health "$times" --set 'health.checks:=[{"type":"http","port":8014,
		"headers":["Accept: text/html, text/plain","X-Probe: lbd"]},{"type":"icmp"}]' || return 1
	lab_wait_for 20 "all but those of less to be up" backends_up $((ALL + 8)) || return 1
	down_because less 10.0.0.11 "HTTP status 403, expected 200-399" || return 1
	contains "$(lbctl save --print 2>/dev/null)" "X-Probe: lbd"
	lbctl reload >/dev/null || return 1
	lab_wait_for 20 "all to be up" backends_up $ALL
}

tls_down_because() { # REASON; with the variables of services
	write_config
	lbctl reload >/dev/null || return 1
	down_because tls 10.0.0.11 "$1"
}

test_each_fault_of_a_certificate_has_its_reason() {
	CA=other tls_down_because "TLS: the certificate is of no authority in ca-file" || return 1
	NAME=api.example.org tls_down_because "TLS: the certificate is not for api.example.org" || return 1
	CLIENT=stranger tls_down_because "HTTP status 400, expected 200, 204" || return 1
	STATUS=200,301 tls_down_because "HTTP status 204, expected 200,301" || return 1
	write_config
	lbctl reload >/dev/null || return 1
	lab_wait_for 20 "tls to be up" condition_is tls 10.0.0.11 up
	lab_kill tls-b1
	down_because tls 10.0.0.11 "connect: refused" || return 1
	tls_start 1 expired
	down_because tls 10.0.0.11 "TLS: the certificate has expired" || return 1
	expect "the other backend" "$(backend_field tls 10.0.0.12 condition)" = up
	lab_kill tls-b1
	tls_start 1 server
	lab_wait_for 20 "tls to be up" condition_is tls 10.0.0.11 up
}

test_a_dns_server_that_knows_the_name_no_more_is_down() {
	lab_kill dns-b1
	dnsmasq_start 1
	down_because dns 10.0.0.11 "DNS: REFUSED" || return 1
	down_because dns6 2001:db8:b::11 "DNS: REFUSED" || return 1
	lab_kill dns-b1
	dnsmasq_start 1 192.0.2.81
	lab_wait_for 20 "dns6 to be up" condition_is dns6 2001:db8:b::11 up
	down_because dns 10.0.0.11 'DNS: the answer does not contain "192.0.2.80"' || return 1
	expect "the other backend" "$(backend_field dns 10.0.0.12 condition)" = up
}

test_a_server_that_has_ended_is_down_by_icmp_unreachable() {
	lab_kill udp-b2
	down_because udp 10.0.0.12 "refused: ICMP port unreachable" || return 1
	lab_kill dns-b1
	down_because dns 10.0.0.11 "refused: ICMP port unreachable"
}

test_a_backend_that_answers_no_echo_is_down() {
	in_ns b2 sysctl -qw net.ipv4.icmp_echo_ignore_all=1
	down_because any 10.0.0.12 "no answer: timed out after 450ms"
	in_ns b2 sysctl -qw net.ipv4.icmp_echo_ignore_all=0
	lab_wait_for 20 "any 10.0.0.12 to be up" condition_is any 10.0.0.12 up
}

availability() { service_field "$1" availability | json '.["24h"]'; } # SERVICE, over a day
is_below_1() { [ "$(availability "$1" | jq '. < 1')" = true ]; } # SERVICE
is_1() { [ "$(availability "$1")" = 1 ]; } # SERVICE

# `dns` has lost b1; the other one goes too.
test_availability_is_the_share_of_the_time_with_a_usable_backend() {
	local up seen
	lab_wait_for 10 "http to have been available" is_1 http
	lab_kill dns-b2
	lab_wait_for 20 "dns to be down" condition_is dns 10.0.0.12 down || return 1
	lab_wait_for 20 "dns not to have been available all the time" is_below_1 dns
	expect "http's" "$(availability http)" = 1
	up=$(service_metric lbd_service_usable_seconds_total dns)
	seen=$(service_metric lbd_service_observed_seconds_total dns)
	expect "seconds usable are fewer" "$(awk -v up="$up" -v seen="$seen" \
		'BEGIN { print(up > 0 && up < seen) }')" = 1
}

test_availability_is_kept_over_a_restart() {
	local file
	stop_lbd TERM || return 1
	dnsmasq_start 1 192.0.2.80
	dnsmasq_start 2 192.0.2.80
	lab_lbd_start || return 1
	lab_wait_for 20 "dns to be up" condition_is dns 10.0.0.12 up
	expect "dns was available all the time" "$(is_below_1 dns && echo no)" = no
	stop_lbd TERM || return 1
	file=$(find "$WORK/state" -name 'availability*.txt')
	echo "garbage" >"$file"
	lab_lbd_start || return 1
	logged "expected what lbd has written"
	expect "the file that was no record" "$(cat "$file.bad")" = garbage
}

test_the_probe_process_has_seen_no_harm() {
	expect "restarts" "$(probe_process restarts)" = 0
	expect "refused by its filter" "$(refused_by_its_filter)" = "$REFUSED"
}
# Of all labs since the machine has started.
refused_by_its_filter() { dmesg 2>/dev/null | grep -c "lbd-probes.*syscall"; }
REFUSED=$(refused_by_its_filter)

set_up() {
	local i
	lab_with_servers $COUNT || return 1
	tls_files || return 1
	for i in $(seq $COUNT); do
		dnsmasq_start "$i" 192.0.2.80
		tls_start "$i" server
	done
	write_config
	lab_lbd_start && lab_wait_for 20 "all to be up" backends_up $ALL
}

set_up_or_end set_up
run_tests "$@"
