#!/bin/bash
# Without lbd: lbctl says where its program is still attached, and takes it off. A second lbd that
# cannot start leaves the first one alone.
# shellcheck disable=SC2034 # FAILED and LBD are read by lib.sh and lab.sh
. "$(dirname "$0")/lib.sh"

# lbd and lbctl see a /sys/fs/bpf of this lab alone, with pins at their usual place.
write_views() {
	mkdir -p "/sys/fs/bpf/$LAB"
	cat >"$WORK/view" <<-SH
		#!/bin/bash
		exec unshare --mount bash -c \\
			'mount --bind /sys/fs/bpf/$LAB /sys/fs/bpf && exec "\$@"' view "\$@"
	SH
	cat >"$WORK/lbd-in-view" <<-SH
		#!/bin/bash
		exec $WORK/view "$BUILD/lbd" "\$@"
	SH
	# Without CAP_SYS_ADMIN lbd attaches alone, by a link.
	cat >"$WORK/lbd-alone" <<-SH
		#!/bin/bash
		exec $WORK/view setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin \\
			"$BUILD/lbd" "\$@"
	SH
	chmod 755 "$WORK/view" "$WORK/lbd-in-view" "$WORK/lbd-alone"
}
lbctl() { in_ns lb "$WORK/view" "$BUILD/lbctl" --socket "$WORK/lbd.sock" "$@"; }
eval "usual_$(declare -f lab_config_head)"
lab_config_head() { usual_lab_config_head | sed 's|^pin: .*|pin: /sys/fs/bpf/lbd|'; }

set_up() {
	lab_with_servers 2 || return 1
	write_views
	{
		lab_config_head
		config_services 2
	} >"$WORK/lbd.yaml"
	cp "$WORK/lbd.yaml" "$WORK/good.yaml"
	LBD=$WORK/lbd-in-view
	start_lbd
}
start_lbd() {
	cp "$WORK/good.yaml" "$WORK/lbd.yaml"
	lab_lbd_start && lab_wait_for 10 "all backends to be up" backends_up 12
}
kill_lbd() { lab_kill lbd KILL; }

has_program() { # IFACE [HOST]
	ip -n "$(ns "${2:-lb}")" -j link show "$1" | jq -e '.[0].xdp' >/dev/null
}
serves() {
	local result
	result=$(traffic load-http $VIP4 80 rate 200 seconds 1)
	none_failed "failed requests" "$result"
	expect "requests answered" "$(field "$result" '[.by[]] | add')" -gt 0
}

test_status_without_lbd_says_where_the_program_is_still_attached() {
	local out
	kill_lbd
	out=$(lbctl status 2>&1)
	expect "exit status" $? = 1
	contains "$out" "lbd is not running"
	contains "$out" "still attached on eth0:"
	contains "$out" "lbctl detach --offline --all"
	serves
}

test_detach_offline_is_refused_while_lbd_runs() {
	local out
	start_lbd || return 1
	for what in eth0 --all; do
		out=$(lbctl detach --offline $what 2>&1)
		expect "exit status" $? = 1
		contains "$out" "an lbd runs (pid $(lbd_pid))"
	done
	has_program eth0 || FAILED=1
	serves
}

detach_offline_leaves_nothing() {
	local out
	expect "rxvlan while attached" "$(rxvlan)" = off
	kill_lbd
	has_program eth0 || return 1
	out=$(lbctl detach --offline eth0 2>&1) || FAILED=1
	contains "$out" "eth0: detached"
	contains "$out" "/sys/fs/bpf/lbd: removed"
	! has_program eth0 || { echo "# a program is still attached"; FAILED=1; }
	expect "rxvlan" "$(rxvlan)" = on
	[ ! -e "/sys/fs/bpf/$LAB/lbd" ] || { echo "# pins are left"; FAILED=1; }
	[ ! -e "$WORK/lbd.sock.offloads.json" ] || { echo "# offloads.json is left"; FAILED=1; }
	out=$(lbctl status 2>&1)
	[[ $out != *"still attached"* ]] || { echo "# $out"; FAILED=1; }
}

test_detach_offline_takes_it_out_of_a_dispatcher() {
	if [ "$(lbctl status --json | json '.interfaces[0].dispatcher')" != true ]; then
		skip "no dispatcher here"
		return
	fi
	detach_offline_leaves_nothing
	start_lbd && serves
}

test_detach_offline_takes_a_lone_program_off() {
	lbctl detach eth0 >/dev/null && stop_lbd TERM || return 1
	LBD=$WORK/lbd-alone
	start_lbd || return 1
	expect "in a dispatcher" "$(lbctl status --json | json '.interfaces[0].dispatcher')" = false
	detach_offline_leaves_nothing
	start_lbd && serves
}

test_pins_that_were_removed_in_part_are_no_set_for_the_next_lbd() {
	local out maps=/sys/fs/bpf/$LAB/lbd/maps
	kill_lbd
	mkdir "$maps/in-the-way" # cannot be unlinked: as if lbctl were killed there
	out=$(lbctl detach --offline --all 2>&1)
	expect "exit status" $? = 1
	contains "$out" "maps: cannot be removed"
	[ ! -e "$maps/settings" ] || { echo "# settings is left"; FAILED=1; }
	rmdir "$maps/in-the-way"
	start_lbd && serves
}

test_detach_offline_of_one_interface_leaves_the_others_to_the_next_lbd() {
	local out
	ip -n "$(ns lb)" link add late type veth peer name late-peer
	lbctl attach late >/dev/null || return 1
	kill_lbd
	out=$(lbctl detach --offline late 2>&1) || FAILED=1
	contains "$out" "late: detached"
	! has_program late || FAILED=1
	has_program eth0 || FAILED=1
	start_lbd || return 1
	expect "adopted" "$(lbctl status --json | json .adopted)" = true
	expect "interfaces" "$(lbctl status --json | json '[.interfaces[].name]')" = '["eth0"]'
	ip -n "$(ns lb)" link del late
	serves
}

test_detach_offline_where_nothing_is_attached() {
	local out
	lbctl detach --all >/dev/null && stop_lbd TERM || return 1
	out=$(lbctl detach --offline --all 2>&1)
	expect "exit status of --all" $? = 0
	contains "$out" "nothing to detach"
	out=$(lbctl detach --offline eth0 2>&1)
	expect "exit status of eth0" $? = 1
	contains "$out" "eth0: no program of an lbd is attached"
	expect "as JSON" "$(lbctl detach --offline --all --json | json .detached)" = '[]'
	start_lbd && serves
}

# ---- an lbd in another network namespace, whose pins are beside these ----

# Started there and killed: its program stays on interface solo.
leave_another_lbd() {
	lab_host other
	ip -n "$(ns other)" link add solo type veth peer name solo-peer
	cat >"$WORK/other.yaml" <<-CONF
		interfaces: [solo]
		mode: generic
		pin: /sys/fs/bpf/other
		socket: $WORK/other.sock
		state: $WORK/other-state
		group: root
		metrics: off
		services: []
	CONF
	lab_spawn other in_ns other "$LBD" -c "$WORK/other.yaml"
	lab_wait_for 10 "the other lbd to start" lab_started other_lbctl || return 1
	lab_kill other KILL
	has_program solo other
}
other_lbctl() { in_ns other "$WORK/view" "$BUILD/lbctl" --socket "$WORK/other.sock" "$@"; }

leaves_another_namespace_alone() { # WHAT-IS-SAID
	local out
	leave_another_lbd || return 1
	kill_lbd
	out=$(lbctl detach --offline --all --dry-run 2>&1) || FAILED=1
	contains "$out" "eth0: would be detached"
	contains "$out" "$1"
	has_program eth0 || { echo "# --dry-run detached eth0"; FAILED=1; }
	out=$(lbctl detach --offline --all 2>&1) || FAILED=1
	contains "$out" "eth0: detached"
	contains "$out" "$1"
	! has_program eth0 || { echo "# a program is still on eth0"; FAILED=1; }
	has_program solo other || { echo "# the program on solo is gone"; FAILED=1; }
	[ -e "/sys/fs/bpf/$LAB/other/maps/settings" ] || { echo "# its pins are gone"; FAILED=1; }
	[ ! -e "/sys/fs/bpf/$LAB/lbd" ] || { echo "# pins are left"; FAILED=1; }
	expect "left" "$(lbctl detach --offline --all --json | json '.left[0].pin')" = /sys/fs/bpf/other
	out=$(other_lbctl detach --offline --all 2>&1) || FAILED=1
	contains "$out" "solo: detached"
	! has_program solo other || { echo "# a program is still on solo"; FAILED=1; }
	[ ! -e "/sys/fs/bpf/$LAB/other" ] || { echo "# its pins are left"; FAILED=1; }
	ip netns del "$(ns other)"
}

test_detach_offline_all_leaves_links_in_other_network_namespaces() {
	LBD=$WORK/lbd-alone
	leaves_another_namespace_alone "solo: stays attached: it is in another network namespace"
	start_lbd && serves
}

test_detach_offline_all_leaves_dispatchers_in_other_network_namespaces() {
	LBD=$WORK/lbd-in-view
	lbctl detach eth0 >/dev/null && stop_lbd TERM && start_lbd || return 1
	if [ "$(lbctl status --json | json '.interfaces[0].dispatcher')" != true ]; then
		skip "no dispatcher here"
	else
		leaves_another_namespace_alone "uses its maps, on an interface of another network"
	fi
	LBD=$WORK/lbd-alone
	lbctl detach eth0 >/dev/null 2>&1 && stop_lbd TERM
	start_lbd && serves
}

test_detach_offline_of_the_pins_of_another_network_namespace_takes_its_links_off() {
	local out
	leave_another_lbd || return 1
	out=$(lbctl detach --offline --all --pin /sys/fs/bpf/other 2>&1) || FAILED=1
	contains "$out" "solo: detached"
	! has_program solo other || { echo "# a program is still on solo"; FAILED=1; }
	[ ! -e "/sys/fs/bpf/$LAB/other" ] || { echo "# its pins are left"; FAILED=1; }
	has_program eth0 || { echo "# the program on eth0 is gone"; FAILED=1; }
	ip netns del "$(ns other)"
}

checks_have_a_program() { in_ns lb tc filter show dev eth0 egress | grep -q detour; }

# What is attached by pins elsewhere stays, and a typing error does not say that nothing is.
test_detach_offline_of_a_directory_that_is_not_there_says_so() {
	local out
	lab_wait_for 10 "the program of the checks" checks_have_a_program || return 1
	out=$(lbctl detach --offline --all --pin /sys/fs/bpf/typo 2>&1) || FAILED=1
	checks_have_a_program || { echo "# the program of its checks is gone"; FAILED=1; }
	expect "what it says" "$out" = "/sys/fs/bpf/typo: no such directory: nothing is pinned there"
	has_program eth0 || { echo "# the program on eth0 is gone"; FAILED=1; }
}

# Held by a pin here, and by a dispatcher of another network namespace in the test above.
test_detach_offline_says_also_beforehand_which_program_keeps_the_pins() {
	local id out pin=/sys/fs/bpf/other
	LBD=$WORK/lbd-alone
	leave_another_lbd || return 1
	id=$(ip -n "$(ns other)" -j link show solo | jq '.[0].xdp.prog.id')
	bpftool prog pin id "$id" "/sys/fs/bpf/$LAB/held" || return 1
	rm "/sys/fs/bpf/$LAB/other/links/solo"
	out=$(lbctl detach --offline --all --pin $pin --dry-run 2>&1) || FAILED=1
	contains "$out" "$pin: stays: program $id uses its maps"
	out=$(lbctl detach --offline --all --pin $pin 2>&1) || FAILED=1
	contains "$out" "$pin: stays: program $id uses its maps"
	rm "/sys/fs/bpf/$LAB/held"
	out=$(lbctl detach --offline --all --pin $pin --dry-run 2>&1) || FAILED=1
	[[ $out != *stays* ]] || { echo "# nothing keeps it: $out"; FAILED=1; }
	out=$(lbctl detach --offline --all --pin $pin 2>&1) || FAILED=1
	contains "$out" "$pin: removed"
	ip netns del "$(ns other)"
}

# ---- a second lbd ----

# What the first lbd has on this host.
traces() {
	sha256sum "$WORK/lbd.sock.overrides.json" "$WORK/lbd.sock.offloads.json" \
		"$WORK/overrides.json"
	ip -n "$(ns lb)" -j link show eth0 | jq -c '.[0].xdp'
	in_ns lb ethtool -k eth0
	in_ns lb tc filter show dev eth0 egress
	find "/sys/fs/bpf/$LAB" | sort
	find "$WORK" -name 'second.load.*' -o -print | sort
}

# With its own socket beside the first's, its own pins, and eth0.
second_lbd() {
	sed -e "s|^socket:.*|socket: $WORK/second.sock|" -e "s|^pin:.*|pin: /sys/fs/bpf/second|" \
		-e "s|^state:.*|state: $WORK/second-state|" -e 's|^metrics:.*|metrics: off|' \
		-e 's/type: http, port: 80,/type: http, to: vip, port: 80,/' \
		"$WORK/good.yaml" >"$WORK/second.yaml"
	touch "$WORK/second.sock.lock"
	mkdir -p "$WORK/second-state"
	in_ns lb timeout 60 "$LBD" -c "$WORK/second.yaml"
}

second_lbd_leaves_the_first_alone() {
	local before after out
	lbctl backend weight web4 10.0.0.11 7 >/dev/null || return 1
	# As an lbd of before named the file for every lbd in the directory.
	cp "$WORK/lbd.sock.overrides.json" "$WORK/overrides.json"
	out=$(second_lbd 2>&1) # makes its own files
	before=$(traces)
	load_start second.load load-http $VIP4 80 rate 200
	out=$(second_lbd 2>&1)
	expect "exit status" $? = 1
	load_end second.load
	after=$(traces)
	contains "$out" "eth0: another lbd forwards there (program id"
	contains "$out" "${1:-another lbd}"
	[[ $out != *"xdp off"* ]] || { echo "# $out"; FAILED=1; }
	[ "$before" = "$after" ] || { diff <(echo "$before") <(echo "$after"); FAILED=1; }
	[ ! -e "/sys/fs/bpf/$LAB/second" ] || { echo "# pins of the second are left"; FAILED=1; }
	expect "failed requests" "$(report_field second.load .failed)" = 0
	expect "weight" "$(backend_field web4 10.0.0.11 weight)" = 7
	rm -f "$WORK/overrides.json"
	lbctl backend weight web4 10.0.0.11 100 >/dev/null
}

test_a_second_lbd_leaves_a_first_one_that_is_alone_on_its_interface() {
	second_lbd_leaves_the_first_alone "pins in /sys/fs/bpf/lbd"
}

test_a_second_lbd_leaves_a_first_one_in_a_dispatcher() {
	lbctl detach eth0 >/dev/null && stop_lbd TERM || return 1
	LBD=$WORK/lbd-in-view
	start_lbd || return 1
	if [ "$(lbctl status --json | json '.interfaces[0].dispatcher')" != true ]; then
		skip "no dispatcher here"
		return
	fi
	second_lbd_leaves_the_first_alone
}

test_a_start_that_fails_leaves_nothing_attached() {
	local out
	lbctl detach eth0 >/dev/null && stop_lbd TERM || return 1
	ip -n "$(ns lb)" link add early type veth peer name early-peer
	ip -n "$(ns lb)" link add drops type bridge
	ip -n "$(ns lb)" link set early up
	ip -n "$(ns lb)" link set early-peer up
	sed -e 's/^interfaces:.*/interfaces: [early, drops]/' "$WORK/good.yaml" >"$WORK/fails.yaml"
	echo "mode: native" >>"$WORK/fails.yaml"
	out=$(in_ns lb timeout 60 "$LBD" -c "$WORK/fails.yaml" 2>&1)
	expect "exit status" $? = 1
	contains "$out" "early: attached"
	contains "$out" "drops: native XDP refused"
	! has_program early || { echo "# a program is left on early"; FAILED=1; }
	[ ! -e "/sys/fs/bpf/$LAB/lbd" ] || { echo "# pins are left"; FAILED=1; }
	ip -n "$(ns lb)" link del early
	ip -n "$(ns lb)" link del drops
}

set_up_or_end set_up
run_tests "$@"
