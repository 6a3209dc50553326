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
}
ALL=$((8 * COUNT))

write_config() {
	{
		lab_config_head
		services
	} >"$WORK/lbd.yaml"
}

# The reason of an earlier check may stand there for a while: each says its own.
down_because() { # SERVICE ADDRESS REASON
	lab_wait_for 20 "$1 $2 to be down: $3" is_down_because "$@" && return
	echo "# why: $(backend_field "$1" "$2" why)"
	return 1
}
is_down_because() {
	condition_is "$1" "$2" down && [ "$(backend_field "$1" "$2" why)" = "$3" ]
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
	expect "refused by its filter" "$(dmesg 2>/dev/null | grep -c "lbd-probes.*syscall")" = 0
}

set_up() {
	local i
	lab_with_servers $COUNT || return 1
	for i in $(seq $COUNT); do dnsmasq_start "$i" 192.0.2.80; done
	write_config
	lab_lbd_start && lab_wait_for 20 "all to be up" backends_up $ALL
}

set_up_or_end set_up
run_tests "$@"
