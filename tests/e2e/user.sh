#!/bin/bash
# lbd as dist/lbd.service runs it: a user of its own with three capabilities, in a mount namespace of
# its own where it sees programs, libraries, its directories and bpffs.
# shellcheck disable=SC2034 # FAILED and LBD are read by lib.sh and lab.sh
. "$(dirname "$0")/lib.sh"

USER_ID=54321
CAPS=bpf,+perfmon,+net_admin
CAPS_MASK=000000c000001000 # 12: CAP_NET_ADMIN, 38: CAP_PERFMON, 39: CAP_BPF

# What the unit's lines make of the file system, then lbd without root.
write_wrapper() {
	cat >"$WORK/as-unit" <<-SH
		#!/bin/bash
		set -e
		if [ "\$1" != --inside ]; then
			exec unshare --mount --propagation slave "\$0" --inside "\$@"
		fi
		shift
		root=$WORK/root
		mount -t tmpfs -o mode=755 root \$root
		for path in /usr /bin /sbin /lib /lib64 /etc "$BUILD"; do
			[ -e \$path ] || continue
			mkdir -p \$root\$path
			mount --bind -o ro \$path \$root\$path
			mount -o remount,bind,ro \$root\$path
		done
		mkdir -p \$root$WORK \$root/proc \$root/sys \$root$SANITIZER_DIR
		mount --bind $WORK \$root$WORK
		mount --bind $SANITIZER_DIR \$root$SANITIZER_DIR
		mount -t proc -o subset=pid,hidepid=invisible proc \$root/proc
		mount -t sysfs -o ro sysfs \$root/sys
		mount --bind /sys/fs/bpf \$root/sys/fs/bpf
		exec chroot \$root setpriv --reuid $USER_ID --regid $USER_ID --clear-groups \\
			--inh-caps=-all,+$CAPS --ambient-caps=-all,+$CAPS \\
			--bounding-set=-all,+$CAPS --no-new-privs "$BUILD/lbd" "\$@"
	SH
	chmod 755 "$WORK/as-unit"
	mkdir "$WORK/root"
}

# As the unit's ExecStartPre does.
give_pins_to_user() {
	chmod o+x /sys/fs/bpf
	mkdir -p "/sys/fs/bpf/$LAB" && chown -R $USER_ID:$USER_ID "/sys/fs/bpf/$LAB"
}
serves() {
	local result
	result=$(traffic load-http $VIP4 80 rate 200 seconds 1)
	none_failed "failed requests" "$result"
	expect "requests answered" "$(field "$result" '[.by[]] | add')" -gt 0
}

test_it_serves_as_a_user_with_three_capabilities() {
	local of
	of=/proc/$(lbd_pid)/status
	expect "user" "$(awk '/^Uid:/ { print $2, $3, $4 }' "$of")" = \
		"$USER_ID $USER_ID $USER_ID"
	for set in CapInh CapPrm CapEff CapBnd CapAmb; do
		expect $set "$(awk -v set=$set: '$1 == set { print $2 }' "$of")" = $CAPS_MASK
	done
	expect "attached" "$(lbctl status --json | json '.interfaces[0].name')" = eth0
	serves
}

# Its bounding set stays: emptying it takes CAP_SETPCAP. Without new privileges it gives nothing.
test_its_probe_process_has_no_capability() {
	local pid
	pid=$(probe_process pid)
	for set in CapInh CapPrm CapEff CapAmb; do
		expect $set "$(proc_status "$pid" $set)" = 0000000000000000
	done
	expect "no new privileges" "$(proc_status "$pid" NoNewPrivs)" = 1
	expect "seccomp" "$(proc_status "$pid" Seccomp)" = 2
	expect "user" "$(proc_status "$pid" Uid)" = "$USER_ID"
}

test_its_command_for_events_has_no_capability() {
	local set
	printf '#!/bin/sh\ncat /proc/self/status >%s/command.new && mv %s/command.new %s/command\n' \
		"$WORK" "$WORK" "$WORK" >"$WORK/notify"
	chmod 755 "$WORK/notify"
	cp "$WORK/lbd.yaml" "$WORK/without.yaml"
	echo "notify: $WORK/notify" >>"$WORK/lbd.yaml"
	lbctl reload >/dev/null || FAILED=1
	lab_wait_for 20 "the command to run" test -s "$WORK/command" || return 1
	for set in CapInh CapPrm CapEff CapAmb; do
		expect $set "$(status_field "$WORK/command" $set)" = 0000000000000000
	done
	expect "no new privileges" "$(status_field "$WORK/command" NoNewPrivs)" = 1
	expect "user" "$(status_field "$WORK/command" Uid)" = "$USER_ID"
	mv "$WORK/without.yaml" "$WORK/lbd.yaml"
	lbctl reload >/dev/null
}

# lbd marks the sockets and has the program that its checks need; the probe process connects them.
test_http_checks_go_to_the_vip() {
	cp "$WORK/lbd.yaml" "$WORK/to-backend.yaml"
	sed -i 's/type: http, port: 80,/type: http, to: vip, port: 80,/' "$WORK/lbd.yaml"
	grep -q 'to: vip' "$WORK/lbd.yaml" || return 1
	lbctl reload >/dev/null || return 1
	in_ns b1 "$BUILD/lbctl" backend-host undo --iface eth0 >/dev/null
	lab_wait_for 10 "b1 to be down by what only checks to the VIP find" \
		condition_is web4 10.0.0.11 down
	expect "the other" "$(backend_field web4 10.0.0.12 condition)" = up
	in_ns b1 "$BUILD/lbctl" backend-host setup --iface eth0 --vip $VIP4 --vip $VIP6 \
		--vip "$LAB_UDP4" --vip "$LAB_UDP6" >/dev/null || FAILED=1
	lab_wait_for 10 "b1 to be up" condition_is web4 10.0.0.11 up
	mv "$WORK/to-backend.yaml" "$WORK/lbd.yaml"
	lbctl reload >/dev/null || return 1
	lab_wait_for 10 "all backends to be up" backends_up 12
	serves
}

# A right of every user in the range; a system that gives none says so.
long_packets_are() { # STATE WHY
	[ "$(backend_field web4 10.0.0.11 checks | jq -r '.long_packets | .state + " " + .why')" = "$1 $2" ]
}
test_it_tries_long_packets_with_the_right_to_ping() {
	lab_wait_for 30 "what is lacking" long_packets_are unknown \
		"lbd may not ping: net.ipv4.ping_group_range has no group of it" || return 1
	in_ns lb sysctl -qw net.ipv4.ping_group_range="0 2147483647"
	lab_wait_for 30 "long packets to arrive" long_packets_are arrive ""
}

test_it_reloads_and_changes_weights() {
	lbctl backend weight web4 10.0.0.11 7 >/dev/null || return 1
	expect "weight" "$(backend_field web4 10.0.0.11 weight)" = 7
	lbctl reload >/dev/null || return 1
	expect "weight after the reload" "$(backend_field web4 10.0.0.11 weight)" = 100
	serves
}

test_interfaces_come_and_go() {
	ip -n "$(ns lb)" link add late type veth peer name late-peer
	lbctl attach late >/dev/null || FAILED=1
	expect "interfaces" "$(lbctl status --json | json '[.interfaces[].name] | sort')" = \
		'["eth0","late"]'
	lbctl detach late >/dev/null || FAILED=1
	ip -n "$(ns lb)" link del late
}

test_offloads_are_switched_without_root() {
	in_ns lb ethtool -k eth0 | grep -q '^rx-vlan-offload: off' || FAILED=1
	expect "offloads listed" "$(json length <"$WORK/lbd.sock.offloads.json")" -gt 0
}

# Its mount namespace ends with it; the pins must not.
test_kill_9_and_restart_lose_no_request_and_no_run_time_change() {
	lbctl backend drain web4 10.0.0.11 >/dev/null || return 1
	load_start a load-http $VIP4 80 rate 300
	sleep 0.5
	stop_lbd KILL
	expect "pinned maps" "$(find "/sys/fs/bpf/$LAB/maps" -type f | wc -l)" -gt 0
	sleep 1
	lab_lbd_start || return 1
	logged "taken over from an earlier lbd"
	load_end a
	expect "failed requests" "$(report_field a .failed)" = 0
	expect "what is on disk" \
		"$(lbctl status --json | json .overrides)" = 1
	lbctl backend undrain web4 10.0.0.11 >/dev/null
}

test_a_change_is_refused_when_the_directory_is_not_writable() {
	local output
	chown 0:0 "$WORK" || return 1
	output=$(lbctl backend weight web4 10.0.0.11 7 2>&1)
	expect "exit status" $? = 1
	chown $USER_ID:$USER_ID "$WORK"
	echo "# $output"
	expect "lines that name file and reason" "$(grep -c \
		'cannot be written to disk: .*lbd.sock.overrides.json: Permission denied' \
		<<<"$output")" = 1
	expect "weight" "$(backend_field web4 10.0.0.11 weight)" = 100
	lbctl backend weight web4 10.0.0.11 7 >/dev/null || FAILED=1
	expect "weight when it can be written" "$(backend_field web4 10.0.0.11 weight)" = 7
	lbctl reload >/dev/null
}

# Whose program it is cannot be seen without CAP_SYS_ADMIN.
test_an_interface_with_another_program_is_refused_and_the_way_out_named() {
	local output
	ip -n "$(ns lb)" link add taken type veth peer name taken-peer
	bpftool prog load "$BUILD/pass.bpf.o" "/sys/fs/bpf/$LAB-taken" type xdp &&
		in_ns lb bpftool net attach \
			xdpdrv pinned "/sys/fs/bpf/$LAB-taken" dev taken || return 1
	rm "/sys/fs/bpf/$LAB-taken"
	output=$(lbctl attach taken 2>&1)
	expect "exit status" $? = 1
	echo "# $output"
	expect "lines that name the way out" \
		"$(grep -c 'lbd may not see whose it is.*lbd-shared-interfaces.conf' \
			<<<"$output")" = 1
	ip -n "$(ns lb)" link del taken
}

# Of an lbd that ran as root, as the unit was before.
test_it_takes_over_from_an_lbd_that_ran_as_root() {
	local in_dispatcher
	lbctl detach eth0 >/dev/null && stop_lbd TERM || return 1
	LBD="" lab_lbd_start && lab_wait_for 10 "all backends to be up" backends_up 12 || return 1
	expect "user" "$(proc_status "$(lbd_pid)" Uid)" = 0
	in_dispatcher=$(lbctl status --json | json '.interfaces[0].dispatcher')
	load_start a load-http $VIP4 80 rate 300
	sleep 0.5
	stop_lbd KILL
	give_pins_to_user
	chown -R $USER_ID:$USER_ID "$WORK"/state "$WORK"/lbd.sock*
	lab_lbd_start || return 1
	logged "taken over from an earlier lbd"
	load_end a
	expect "failed requests" "$(report_field a .failed)" = 0
	[ "$in_dispatcher" = false ] || {
		# It cannot take part in a dispatcher: that goes on without it.
		logged "eth0: an XDP program (id "
		in_ns lb ip link set dev eth0 xdp off
		lbctl attach eth0 >/dev/null || FAILED=1
	}
	serves
}

test_a_pin_that_its_user_cannot_reach_is_named() {
	local output
	mkdir -m 700 "/sys/fs/bpf/$LAB-closed" || return 1
	sed "s|^pin:.*|pin: /sys/fs/bpf/$LAB-closed/pins|; s|^socket:.*|socket: $WORK/t.sock|" \
		"$WORK/lbd.yaml" >"$WORK/other.yaml"
	output=$(in_ns lb setpriv --reuid $USER_ID --regid $USER_ID --clear-groups \
		"$BUILD/lbd" -c "$WORK/other.yaml" 2>&1)
	rmdir "/sys/fs/bpf/$LAB-closed"
	echo "# $output"
	expect "lines that name pin and user" \
		"$(grep -c "pin: .*Permission denied: user $USER_ID must" <<<"$output")" = 1
}

test_systemd_rates_the_unit_at_most_1_5() {
	command -v systemd-analyze >/dev/null || { skip "no systemd-analyze"; return; }
	systemd-analyze --help | grep -q -- --offline || {
		skip "systemd-analyze security has no --offline before systemd 250"
		return
	}
	sed 's|@SBINDIR@|/usr/sbin|' "$ROOT/dist/lbd.service" >"$WORK/lbd.service"
	systemd-analyze security --offline=true --threshold=15 --no-pager "$WORK/lbd.service" \
		>"$WORK/rating"
	expect "exit status" $? = 0
	tail -n 1 "$WORK/rating" | sed 's/^/# /'
}

test_its_capabilities_let_it_announce() {
	cp "$WORK/lbd.yaml" "$WORK/before.yaml"
	echo "announce: { file: $WORK/vrrp }" >>"$WORK/lbd.yaml"
	lbctl reload || return 1
	lab_wait_for 10 "routes to the four VIPs" four_routes
	expect "number in the file" "$(cat "$WORK/vrrp")" = 0
	mv "$WORK/before.yaml" "$WORK/lbd.yaml"
	lbctl reload || return 1
	in_ns lb ip route show table 76 2>/dev/null | grep unreachable && return 1
	expect "number in the file" "$(cat "$WORK/vrrp")" = -90
}
four_routes() {
	[ "$(for f in -4 -6; do in_ns lb ip $f route show table 76 proto 76; done | wc -l)" = 4 ]
}

test_systemd_accepts_the_units() {
	local unit
	command -v systemd-analyze >/dev/null || { skip "no systemd-analyze"; return; }
	mkdir -p "$WORK/units"
	for unit in lbd lbd-withdraw; do
		sed "s|@SBINDIR@|$BUILD|" "$ROOT/dist/$unit.service" >"$WORK/units/$unit.service"
	done
	systemd-analyze verify --man=no "$WORK"/units/*.service >"$WORK/verdict" 2>&1
	grep "$WORK/units" "$WORK/verdict" && return 1
	expect "what lbd.service starts when it is given up" \
		"$(sed -n 's/^OnFailure=//p' "$ROOT/dist/lbd.service")" = lbd-withdraw.service
}

two_backends_and_a_user() {
	lab_with_servers 2 || return 1
	{
		lab_config_head
		config_services 2 ""
	} >"$WORK/lbd.yaml"
	write_wrapper
	give_pins_to_user
	chown $USER_ID:$USER_ID "$WORK" && chmod 755 "$WORK"
	LBD=$WORK/as-unit
	lab_lbd_start || return 1
	lab_wait_for 10 "all backends to be up" backends_up 12
}

set_up_or_end two_backends_and_a_user
run_tests "$@"
