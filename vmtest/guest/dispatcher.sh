#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# lbd beside other XDP programs, through libxdp's dispatcher, which needs programs of type EXT.
# shellcheck source=vmtest/guest/lib.sh
. "$(dirname "$0")/lib.sh"

programs_on_eth0() { in_ns lb xdp-loader status eth0; }
has_dispatcher() { [ "$(lbctl status --json | json '.interfaces[0].dispatcher')" = true ]; }

test_lbd_attaches_through_the_dispatcher() {
	has_dispatcher || return 1
	programs_on_eth0
	expect "dispatchers on eth0" "$(programs_on_eth0 | grep -c xdp_dispatcher)" = 1
}

test_xdpdump_sees_the_packets_while_lbd_forwards_them() {
	lab_spawn dump in_ns lb timeout 60 xdpdump -i eth0 --rx-capture entry -w "$WORK/dump.pcap"
	sleep 8
	requests_are_answered load-http $VIP4 80
	lab_kill dump INT
	cat "$WORK/dump.log"
	expect "packets to the VIP in xdpdump's file" \
		"$(tcpdump -nn -r "$WORK/dump.pcap" "dst host $VIP4" 2>/dev/null | wc -l)" \
		-gt $((900 / LAB_SLOWDOWN))
}

test_xdp_filter_drops_a_port_while_lbd_forwards_the_others() {
	local result
	in_ns lb xdp-filter load eth0 -m native -f udp -p allow || return 1
	programs_on_eth0
	in_ns lb xdp-filter port 5353 -p udp -m dst || return 1
	requests_are_answered load-http $VIP4 80
	result=$(traffic load-udp "$LAB_UDP4" 5353 rate 20 seconds 1 timeout 1)
	expect "UDP answers through xdp-filter" "$(field "$result" .answered)" = 0
}

test_lbd_forwards_all_again_once_xdp_filter_is_unloaded() {
	in_ns lb xdp-filter unload eth0 || return 1
	programs_on_eth0
	requests_are_answered load-udp "$LAB_UDP4" 5353
	requests_are_answered load-http $VIP4 80
}

test_a_new_lbd_takes_over_in_the_dispatcher() {
	lab_kill lbd KILL
	requests_are_answered load-http $VIP4 80
	lab_lbd_start || return 1
	has_dispatcher || return 1
	requests_are_answered load-http $VIP4 80
}

test_detach_leaves_the_other_program_alone() {
	in_ns lb xdp-filter load eth0 -m native -f udp -p allow || return 1
	lbctl detach eth0 || return 1
	programs_on_eth0
	expect "xdp-filter on eth0" "$(programs_on_eth0 | grep -c xdpfilt)" = 1
	expect "interfaces of lbd" \
		"$(lbctl status --json | json '.interfaces | arrays | length')" = 0
}

set_up() { lab_with_lbd $BACKENDS_UP; }

# Since 6.12.8 and 6.13 the kernel does not let a program that changes packets replace one that
# does not, and libxdp's dispatcher before 1.5 has only places of the second kind. The decapsulator
# changes packets too: if xdp-loader gets it into a dispatcher, lbd must get there.
dispatcher_takes_such_programs() {
	local result
	ip netns add probe
	nsenter --net=/run/netns/probe ip link add probe0 type veth peer name probe1
	nsenter --net=/run/netns/probe \
		xdp-loader load -m native probe0 "$BUILD/decap.bpf.o" >/dev/null 2>&1
	nsenter --net=/run/netns/probe xdp-loader status probe0 | grep -q xdp_dispatcher
	result=$?
	nsenter --net=/run/netns/probe xdp-loader unload -a probe0 >/dev/null 2>&1
	ip netns del probe
	return $result
}

for tool in xdp-loader xdp-filter xdpdump; do
	command -v $tool >/dev/null && continue
	echo "ok 1 - lbd_beside_other_programs # SKIP no $tool (Debian package xdp-tools)"
	echo "1..1"
	exit 0
done
if ! dispatcher_takes_such_programs; then
	echo "ok 1 - lbd_beside_other_programs # SKIP kernel $(uname -r) keeps programs" \
		"that change packets out of this libxdp's dispatcher"
	echo "1..1"
	exit 0
fi
set_up_or_end set_up
run_tests "$@"
