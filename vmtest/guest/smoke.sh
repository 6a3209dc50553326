#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Each main feature once, quickly: attach in native mode, forward, check health, forward without
# lbd.
# shellcheck source=vmtest/guest/lib.sh
. "$(dirname "$0")/lib.sh"

test_program_attaches_in_native_mode() { mode_is eth0 native; }
test_http_over_ipv4_reaches_every_backend() { requests_are_answered load-http $VIP4 80; }
test_http_over_ipv6_reaches_every_backend() { requests_are_answered load-http $VIP6 80; }
test_udp_over_ipv4_reaches_every_backend() { requests_are_answered load-udp "$LAB_UDP4" 5353; }
test_udp_over_ipv6_reaches_every_backend() { requests_are_answered load-udp "$LAB_UDP6" 5353; }

test_upload_over_ipv4_arrives_byte_for_byte() { upload_arrives_whole $VIP4 8081; }
test_upload_over_ipv6_arrives_byte_for_byte() { upload_arrives_whole "[$VIP6]" 8081; }

test_ping_to_a_vip_is_answered() {
	in_ns client ping -q -c 2 -i 0.5 -W 5 $VIP4 && in_ns client ping -q -c 2 -i 0.5 -W 5 $VIP6
}

test_dead_backend_gets_no_traffic() {
	lab_kill nginx-b1 KILL
	lab_wait_for 60 "b1 to be down in its 8 services" backends_left 8 || return 1
	BACKENDS_UP=1 requests_are_answered load-http $VIP4 80
}

test_forwarding_goes_on_after_lbd_is_killed() {
	lab_kill lbd KILL
	BACKENDS_UP=1 requests_are_answered load-http $VIP4 80
}

set_up() {
	lab_with_lbd 2 || return 1
	put_servers 8081 || return 1
	service put4 $VIP4 tcp 8081 4 >>"$WORK/lbd.yaml"
	service put6 $VIP6 tcp 8081 6 >>"$WORK/lbd.yaml"
	lbctl reload && lab_wait_for 60 "all backends to be up" backends_up 16
}

set_up_or_end set_up
run_tests "$@"
