#!/bin/bash
# In a fresh Debian that is booted with systemd: eth0 and eth1, the packages in /root/now, their next
# version in /root/next, no network.
#
#   client --- eth0 (balancer) eth1 --- b1      client 10.77.0.2, b1 10.77.1.2; the balancer is .1
# shellcheck source=tests/deb/lib.sh
. "$(dirname "$0")/lib.sh"
export DEBIAN_FRONTEND=noninteractive
VIP=192.0.2.10

install() { apt-get install -y --no-install-recommends "$@"; } # PACKAGE...
pid_of_lbd() { systemctl show -P MainPID lbd; }
request() {
	# shellcheck disable=SC2016
	ip netns exec client timeout 5 bash -c 'exec 3<>/dev/tcp/$0/80 &&
		printf "GET / HTTP/1.0\r\n\r\n" >&3 && cat <&3' $VIP | grep -x hello
}

far_end() { # NAMESPACE INTERFACE NET
	ip netns add "$1" && ip link set "$2-far" netns "$1" || return 1
	ip addr replace "$3.1/24" dev "$2" && ip link set "$2" up || return 1
	ip -n "$1" link set lo up && ip -n "$1" link set "$2-far" name eth0 up || return 1
	ip -n "$1" addr add "$3.2/24" dev eth0 && ip -n "$1" route add default via "$3.1" || return 1
	# Checksums that are left to the device do not survive a tunnel.
	ip netns exec "$1" ethtool -K eth0 tx off gro off >/dev/null
}

test_packages_install_and_lbd_runs_idle() {
	local start=$SECONDS
	install /root/now/*.deb || return 1
	echo "installed in $((SECONDS - start)) s"
	systemctl status --no-pager lbd
	expect "lbd" "$(systemctl is-active lbd)" active
	expect "at boot" "$(systemctl is-enabled lbd)" enabled
	expect "user" "$(stat -c %U "/proc/$(pid_of_lbd)")" lbd
	contains "$(lbctl status)" "Not forwarding"
	lbd --check /etc/lbd/lbd.yaml || return 1
	expect "the directory that the config includes" "$(stat -c %a /etc/lbd/conf.d)" 755
}

test_a_service_in_the_config_and_a_reload_forward_the_first_request() {
	local start=$SECONDS
	far_end client eth0 10.77.0 && far_end b1 eth1 10.77.1 || return 1
	echo 1 >/proc/sys/net/ipv4/ip_forward
	ip netns exec b1 lbd-backend setup --iface eth0 --vip $VIP --port 80/tcp || return 1
	mkdir -p /root/www && echo hello >/root/www/index.html
	ip netns exec b1 busybox httpd -h /root/www -p 80 || return 1
	cat >/etc/lbd/lbd.yaml <<-YAML
		interfaces: [eth0]
		mode: generic
		services:
		  - name: web
		    vip: $VIP
		    protocol: tcp
		    port: 80
		    backends:
		      - { address: 10.77.1.2 }
	YAML
	lbd --check /etc/lbd/lbd.yaml && lbctl reload || return 1
	wait_for "the first request" request || { lbctl status; lbctl backends; lbctl stats; return 1; }
	echo "first request after $((SECONDS - start)) s"
	expect "answer" "$(request)" hello
}

# OnFailure= of the unit: lbd is killed, and its config does not let it start again.
test_the_routes_go_when_systemd_gives_lbd_up() {
	cp -p /etc/lbd/lbd.yaml /root/good.yaml
	echo "announce: {}" >>/etc/lbd/lbd.yaml
	lbctl reload || return 1
	wait_for "the route of the VIP" is_announced || return 1
	echo "nonsense: 1" >>/etc/lbd/lbd.yaml
	kill -9 "$(pid_of_lbd)"
	wait_for "lbd to be given up" systemctl is-failed lbd || return 1
	wait_for "the route to be gone" is_withdrawn || systemctl status --no-pager lbd-withdraw
	expect "lbd-withdraw" "$(systemctl show -P Result lbd-withdraw)" success
	is_withdrawn || FAILED=1
	xdp_on eth0 || { echo "the program is gone too"; FAILED=1; }
	cp -p /root/good.yaml /etc/lbd/lbd.yaml
	systemctl reset-failed lbd && systemctl start lbd || return 1
	wait_for "a request" request || { lbctl status; return 1; }
}
is_announced() { ip route show table 76 proto 76 | grep -q "$VIP"; }
is_withdrawn() { ! is_announced; }

test_an_upgrade_under_traffic_loses_no_request() {
	local before lost=/root/lost sent=/root/sent load
	before=$(pid_of_lbd)
	rm -f $lost $sent
	(
		while [ ! -e /root/enough ]; do
			request >/dev/null || echo lost >>$lost
			echo sent >>$sent
		done
	) &
	load=$!
	install /root/next/*.deb || FAILED=1
	wait_for "the next lbd to answer" lbctl status
	sleep 2
	touch /root/enough
	wait $load
	rm /root/enough
	expect "requests lost" "$(wc -l 2>/dev/null <$lost)" ""
	echo "$(wc -l <$sent) requests"
	expect "version" "$(dpkg-query -W -f '${Version}' lbd | tail -c 2)" +1
	[ "$(pid_of_lbd)" != "$before" ] || { echo "lbd was not restarted"; FAILED=1; }
	expect "took over" "$(lbctl status --json | jq .adopted)" true
	expect "the config is the operator's" "$(grep -c 10.77.1.2 /etc/lbd/lbd.yaml)" 1
}

test_an_instance_of_the_unit_makes_an_interface_a_backend() {
	printf 'OPTIONS="--vip 192.0.2.20 --vip 2001:db8::20 --port 80/tcp"\n' \
		>/etc/lbd-backend/eth1.conf
	systemctl enable --now lbd-backend@eth1 || { systemctl status lbd-backend@eth1; return 1; }
	is_backend
}
is_backend() {
	expect "unit" "$(systemctl is-active lbd-backend@eth1)" active
	expect "program" "$(lbd-backend status --iface eth1 --json | jq -r .program)" decapsulator
	contains "$(ip addr show dev lo)" "192.0.2.20/32"
	contains "$(ip addr show dev lo)" "2001:db8::20/128"
	xdp_on eth1 || FAILED=1
}

test_a_reload_of_the_unit_adds_a_vip() {
	sed -i 's/--port/--vip 192.0.2.21 --port/' /etc/lbd-backend/eth1.conf
	systemctl reload lbd-backend@eth1 || return 1
	contains "$(ip addr show dev lo)" "192.0.2.21/32"
	is_backend
}

test_an_interface_without_options_fails_and_says_why() {
	! systemctl start lbd-backend@eth0 || return 1
	contains "$(systemctl status --no-pager lbd-backend@eth0)" "/etc/lbd-backend/eth0.conf"
}

test_lbd_and_backend_are_back_after_a_reboot() {
	wait_for "lbd to run" systemctl is-active lbd || return 1
	wait_for "lbd to answer" lbctl status || return 1
	expect "attached" "$(lbctl status --json | jq -r '.interfaces[0].name')" eth0
	expect "a new start" "$(lbctl status --json | jq .adopted)" false
	wait_for "the backend to be set up" systemctl is-active lbd-backend@eth1 || {
		systemctl status --no-pager lbd-backend@eth1
		systemctl list-jobs
		return 1
	}
	is_backend
}

test_each_shell_completes_verbs() {
	# shellcheck disable=SC2016
	contains "$(bash -c '. /usr/share/bash-completion/completions/lbctl
		COMP_WORDS=(lbctl det) COMP_CWORD=1; _lbctl; echo "${COMPREPLY[@]}"')" detach
	contains "$(fish -c 'complete -C "lbctl det"' 2>&1)" detach
	contains "$(fish -c 'complete -C "lbctl detach eth"' 2>&1)" eth0
	# shellcheck disable=SC2016
	contains "$(zsh -f -c 'compadd() { print -l -- ${(P)2} }
		words=(lbctl det) CURRENT=2
		. /usr/share/zsh/vendor-completions/_lbctl')" detach
	contains "$(fish -c 'complete -C "lbd-backend se"' 2>&1)" setup
}

test_removal_takes_the_program_off() {
	xdp_on eth0 || return 1
	apt-get remove -y lbd || return 1
	no_xdp_on eth0 || FAILED=1
	[ ! -e /sys/fs/bpf/lbd ] || FAILED=1
	expect "lbd processes" "$(busybox pgrep -x lbd)" ""
	[ -e /etc/lbd/lbd.yaml ] || { echo "the config is gone"; FAILED=1; }
}

test_removal_refuses_while_an_lbd_of_the_operator_runs() {
	local pid
	install /root/now/lbd_*.deb || return 1
	systemctl stop lbd
	rm -rf /sys/fs/bpf/lbd
	sed '$a state: /root/state' /etc/lbd/lbd.yaml >/root/own.yaml
	mkdir -p /root/state
	lbd -c /root/own.yaml &
	pid=$!
	wait_for "lbd to answer" lbctl status || return 1
	! apt-get remove -y lbd || FAILED=1
	[ -x /usr/sbin/lbctl ] || FAILED=1
	xdp_on eth0 || FAILED=1
	kill $pid
	wait $pid
}

test_purge_leaves_nothing_attached_pinned_or_enabled() {
	apt-get purge -y lbd lbd-backend || return 1
	no_xdp_on eth0 || FAILED=1
	no_xdp_on eth1 || FAILED=1
	expect "VIPs" "$(ip addr show dev lo | grep -c '192.0.2\|2001:db8')" 0
	expect "pins" "$(find /sys/fs/bpf -mindepth 1 -name 'lbd*')" ""
	expect "enabled" "$(find /etc/systemd/system -name '*lbd*')" ""
	expect "files" "$(find /etc /usr /var/lib/systemd /var/lib/lbd /run -path /run/systemd -prune \
		-o \( -name 'lbd*' -o -name 'lbctl*' -o -name '_lb[cd]*' \) -print 2>/dev/null |
		grep -v '^/var/lib/dpkg')" ""
}

run_test "$1"
