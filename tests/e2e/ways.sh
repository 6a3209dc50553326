#!/bin/bash
# Where health checks go by themselves (`to: auto`, the default): to the VIP as soon as a backend has
# answered there. All checks of this script say nothing of `to`.
. "$(dirname "$0")/lib.sh"

COUNT=3

services() {
	echo "services:"
	HEALTH="{ type: http, path: /healthz, $CHECK_TIMES }" config_service web4 $VIP4 tcp 80 4 $COUNT ""
	HEALTH="{ type: tcp, $CHECK_TIMES }" config_service web6 $VIP6 tcp 80 6 $COUNT ""
	HEALTH="{ type: http, port: 80, path: /healthz, $CHECK_TIMES }" \
		config_service udp4 "$LAB_UDP4" udp 5353 4 $COUNT ""
}
ALL=$((3 * COUNT))
all_up() { backends_up $ALL; }

checks_of() { backend_field "$1" "$2" checks | jq -r ".$3"; } # SERVICE ADDRESS FIELD
go_to() { # SERVICE ADDRESS vip|backend
	[ "$(checks_of "$1" "$2" to)" = "$3" ]
}
hint_of() { service_field "$1" checks_to | jq -r .hint; } # SERVICE
decapsulator() { # N setup|undo
	local vips=()
	[ "$2" = undo ] || vips=(--vip "$VIP4" --vip "$VIP6" --vip "$LAB_UDP4" --vip "$LAB_UDP6")
	in_ns "b$1" "$BUILD/lbctl" backend-host "$2" --iface eth0 "${vips[@]}" >/dev/null
}
# The VIPs stay on lo: the backend-host command takes off those that it has put there.
lose_decapsulator() { # N
	decapsulator "$1" undo
	in_ns "b$1" ip addr replace $VIP4/32 dev lo
	in_ns "b$1" ip addr replace $VIP6/128 dev lo nodad
}
restart_lbd() {
	stop_lbd TERM && lab_lbd_start
}
to_the_vip() { # N...: backends whose checks of web4 and web6 go there
	local i
	for i in "$@"; do
		lab_wait_for 20 "checks of b$i to go to the VIP" go_to web4 "10.0.0.1$i" vip &&
			lab_wait_for 20 "checks of b$i to go to the VIP" go_to web6 "2001:db8:b::1$i" vip || return 1
	done
}

test_checks_go_to_the_vip_and_those_of_another_kind_of_service_do_not() {
	to_the_vip 1 2 3 || return 1
	expect "a service of UDP" "$(checks_of udp4 10.0.0.11 to)" = backend
	expect "its reason" "$(checks_of udp4 10.0.0.11 to_why)" = "the service is of UDP, or of any port"
	expect "backends of web4 that are checked there" "$(service_field web4 checks_to | jq .vip)" = $COUNT
	contains "$(lbctl health web4)" "vip"
	contains "$(lbctl health udp4)" "checked at its own address: the service is of UDP"
	logged "health checks of 2 services go to the VIP, by the way of the traffic"
}

test_a_backend_without_decapsulator_is_down_and_the_others_are_not() {
	local line
	line=$(log_lines)
	lose_decapsulator 2
	down_because web4 10.0.0.12 "to the VIP: connect: timed out after 450ms; directly it answers: is its decapsulator there (lbd-backend status), and the VIP on its lo?" || return 1
	lab_wait_for 20 "web6" condition_is web6 2001:db8:b::12 down || return 1
	expect "a service whose checks go to the backend" "$(backend_field udp4 10.0.0.12 condition)" = up
	expect "downs" "$(downs_since "$line")" = 2
	decapsulator 2 setup
	lab_wait_for 20 "all to be up" all_up
}

test_a_backend_without_the_vip_is_down() {
	in_ns b3 ip addr del $VIP4/32 dev lo
	down_because web4 10.0.0.13 "to the VIP: connect: timed out after 450ms; directly it answers: is its decapsulator there (lbd-backend status), and the VIP on its lo?" || return 1
	expect "the other VIP" "$(backend_field web6 2001:db8:b::13 condition)" = up
	in_ns b3 ip addr add $VIP4/32 dev lo
	lab_wait_for 20 "all to be up" all_up
}

test_a_server_that_does_not_listen_on_the_vip_is_down() {
	in_ns b3 nft -f - <<-RULES || return 1
		add table ip closed
		add chain ip closed in { type filter hook input priority 0; }
		add rule ip closed in ip daddr $VIP4 tcp dport 80 reject with tcp reset
	RULES
	down_because web4 10.0.0.13 "to the VIP: connect: refused; directly it answers: the VIP is there, but does a server listen on it?" || return 1
	in_ns b3 nft delete table ip closed
	lab_wait_for 20 "all to be up" all_up
}

test_a_dead_server_is_no_matter_of_the_tunnel() {
	lab_kill nginx-b3 KILL
	down_because web4 10.0.0.13 "connect: refused" || return 1
	lab_nginx_start 3
	lab_wait_for 20 "all to be up" all_up
}

# Nobody answers by that way: this host may be the reason.
test_no_backend_goes_down_before_one_has_answered_through_the_tunnel() {
	local i line
	for i in 1 2 3; do lose_decapsulator "$i"; done
	restart_lbd || return 1
	line=$(log_lines)
	lab_wait_for 20 "all to be up" all_up || return 1
	lab_wait_for 30 "a hint" has_hint web4 || return 1
	expect "where it is checked" "$(checks_of web4 10.0.0.11 to)" = backend
	contains "$(lbctl services)" "web4: 3 backends are checked at their own addresses: no backend has answered through the tunnel yet: connect: timed out after 450ms"
	contains "$(lbctl backends web4)" "its checks go to its own address: no backend has answered"
	lab_wait_for 30 "the log to say so" grep -q "health checks of $VIP4 port 80 go to the backends' own addresses" "$WORK/lbd.log" || return 1
	expect "downs" "$(downs_since "$line")" = 0
}
has_hint() { [ -n "$(hint_of "$1")" ]; }

test_when_one_has_answered_the_others_are_found_out() {
	decapsulator 1 setup
	lab_wait_for 20 "b2 to be down" condition_is web4 10.0.0.12 down || return 1
	lab_wait_for 20 "b3 to be down" condition_is web4 10.0.0.13 down || return 1
	expect "the one that answers" "$(backend_field web4 10.0.0.11 condition)" = up
	decapsulator 2 setup
	decapsulator 3 setup
	lab_wait_for 20 "all to be up" all_up && to_the_vip 1 2 3
}

# Another way than the device of the route to the VIP, such as a filter before it: strict rp_filter.
test_answers_that_this_host_refuses_take_no_backend_down() {
	local line
	in_ns lb nft -f - <<-RULES || return 1
		add table ip strict
		add chain ip strict in { type filter hook prerouting priority -300; }
		add rule ip strict in ip saddr $VIP4 tcp sport 80 drop
	RULES
	restart_lbd || return 1
	line=$(log_lines)
	lab_wait_for 20 "all to be up" all_up || return 1
	lab_wait_for 30 "a hint" has_hint web4 || return 1
	to_the_vip_is web6 2001:db8:b::11 || return 1
	expect "downs" "$(downs_since "$line")" = 0
	in_ns lb nft delete table ip strict
	to_the_vip 1 2 3
}
to_the_vip_is() { lab_wait_for 20 "$2 to be checked at the VIP" go_to "$1" "$2" vip; } # SERVICE ADDRESS

test_a_host_without_a_route_to_the_vip_checks_the_backends() {
	local line
	line=$(log_lines)
	in_ns lb ip route add unreachable $VIP4/32
	lab_wait_for 20 "the checks to go to the backends" go_to web4 10.0.0.11 backend || return 1
	contains "$(checks_of web4 10.0.0.11 to_why)" "the kernel has no route to the VIP $VIP4"
	in_ns lb ip route del unreachable $VIP4/32
	to_the_vip 1 2 3 || return 1
	expect "downs" "$(downs_since "$line")" = 0
}

# It must not send the first one's checks to backends of its own.
test_a_second_lbd_of_the_host_leaves_the_first_ones_checks_alone() {
	local line other=$WORK/other.yaml
	line=$(log_lines)
	sed -e "s#^socket: .*#socket: $WORK/other.sock#" -e "s#^pin: .*#pin: /sys/fs/bpf/$LAB-other#" \
		-e 's#^interfaces: .*#interfaces: []#' -e 's#^metrics: .*#metrics: off#' "$WORK/lbd.yaml" >"$other"
	lab_spawn other in_ns lb "$BUILD/lbd" -c "$other"
	lab_wait_for 20 "the other lbd to check" other_is_up || { tail -5 "$WORK/other.log"; return 1; }
	lab_wait_for 20 "its reason" other_says "another lbd sends its checks to VIPs through it" || return 1
	to_the_vip 1 2 3 || return 1
	expect "downs" "$(downs_since "$line")" = 0
	lab_kill other TERM
	rm -rf "/sys/fs/bpf/$LAB-other"
}
other_backends() { in_ns lb "$BUILD/lbctl" --socket "$WORK/other.sock" backends --json; }
other_is_up() { [ "$(other_backends | jq '[.backends[] | select(.condition == "up")] | length')" = $ALL ]; }
other_says() { other_backends | jq -r '.backends[].checks.to_why' | grep -qF "$1"; } # TEXT

test_it_can_be_switched_off() {
	local line
	sed -i 's/health: { type: http, path:/health: { type: http, to: backend, path:/' "$WORK/lbd.yaml"
	lbctl reload >/dev/null || return 1
	line=$(log_lines)
	lose_decapsulator 1
	lab_wait_for 20 "web6" condition_is web6 2001:db8:b::11 down || return 1
	expect "web4" "$(backend_field web4 10.0.0.11 condition)" = up
	expect "where it is checked" "$(checks_of web4 10.0.0.11 to)" = backend
	expect "downs" "$(downs_since "$line")" = 1
}

set_up() {
	lab_with_servers $COUNT && lab_lbd_with $ALL services
}

skip_all_without nft nftables
set_up_or_end set_up
run_tests "$@"
