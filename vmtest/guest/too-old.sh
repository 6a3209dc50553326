#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# On a kernel older than lbd supports: what is missing is named, and nothing is left behind. Run by guest/run.
# shellcheck source=vmtest/guest/lib.sh
. "$(dirname "$0")/lib.sh"

# Something that came with Linux SINCE, after this kernel, must be named.
lacks() { # TEXT SINCE
	case $1 in *", since Linux $2"*) ;; *)
		echo "# nothing came with Linux $2 in: $1"
		FAILED=1
		;;
	esac
}

test_lbd_names_every_feature_the_kernel_lacks() {
	local said status
	lab_config_head >"$WORK/lbd.yaml"
	echo "services: []" >>"$WORK/lbd.yaml"
	said=$("$BUILD/lbd" -c "$WORK/lbd.yaml" 2>&1)
	status=$?
	echo "# $said"
	expect "exit status" $status = 1
	expect "lines" "$(grep -c "kernel $(uname -r): expected Linux 6.1 or later: it lacks" <<<"$said")" = 1
	lacks "$said" 5.11
	lacks "$said" 5.18
	expect "features it has" "$(grep -cE 'since Linux (4|5\.[0-9][^0-9])' <<<"$said")" = 0
}

test_lbd_leaves_nothing_behind() {
	expect "pins and socket" "$(ls -d "/sys/fs/bpf/$LAB" "$WORK/lbd.sock" 2>/dev/null)" = ""
}

test_a_good_file_is_still_found_good() {
	"$BUILD/lbd" --check "$WORK/lbd.yaml"
}

test_a_backend_is_told_of_the_kernels_own_tunnels() {
	local said status
	lab_host b1 && ip -n "$(ns b1)" link add eth0 mtu 1600 type veth peer name far && ip -n "$(ns b1)" link set eth0 up &&
		ip -n "$(ns b1)" addr add 10.0.0.11/24 dev eth0 || return 1
	said=$(in_ns b1 "$BUILD/lbctl" backend-host setup --iface eth0 --vip $VIP4 2>&1)
	status=$?
	echo "# $said"
	expect "exit status" $status = 1
	expect "lines" "$(grep -c "kernel $(uname -r) refused the decapsulator: .*--tunnel" <<<"$said")" = 1
	in_ns b1 "$BUILD/lbctl" backend-host setup --iface eth0 --vip $VIP4 --tunnel
}

test_configure_builds_but_warns() {
	local said
	said=$(./configure --build="$WORK/build" 2>&1) || return 1
	grep '^configure: warning' <<<"$said" | sed 's/^/# /'
	expect "warnings" "$(grep -c '^configure: warning: kernel .* can build lbd but may not run it' <<<"$said")" = 1
	lacks "$said" 5.11
	lacks "$said" 5.18
}

lab_need_root
WORK=$(mktemp -d)
run_tests "$@"
