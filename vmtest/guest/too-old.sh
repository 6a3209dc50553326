#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# On a kernel older than lbd supports: the missing features are named, and nothing stays behind.
# shellcheck source=vmtest/guest/lib.sh
. "$(dirname "$0")/lib.sh"

# A text must name a feature that Linux has since the release SINCE.
lacks() { # TEXT SINCE
	[[ $1 != *", since Linux $2"* ]] || return 0
	echo "# expected a feature that Linux has since $2 in: $1"
	FAILED=1
}

test_lbd_names_every_feature_the_kernel_lacks() {
	local output status
	lab_config_head >"$WORK/lbd.yaml"
	echo "services: []" >>"$WORK/lbd.yaml"
	output=$("$BUILD/lbd" -c "$WORK/lbd.yaml" 2>&1)
	status=$?
	echo "# $output"
	expect "exit status" $status = 1
	expect "lines" "$(grep -c "kernel $(uname -r): expected Linux 6.1 or later: it lacks" \
		<<<"$output")" = 1
	lacks "$output" 5.11
	lacks "$output" 5.18
	expect "features it has" \
		"$(grep -cE 'since Linux (4|5\.[0-9][^0-9])' <<<"$output")" = 0
}

test_lbd_leaves_nothing_behind() {
	expect "pins and socket" \
		"$(find "/sys/fs/bpf/$LAB" "$WORK/lbd.sock" 2>/dev/null | wc -l)" = 0
}

test_a_good_file_passes_the_check() {
	"$BUILD/lbd" --check "$WORK/lbd.yaml"
}

test_backend_host_setup_suggests_the_kernels_own_tunnels() {
	local output status
	lab_host b1 && ip -n "$(ns b1)" link add eth0 mtu 1600 type veth peer name far &&
		ip -n "$(ns b1)" link set eth0 up &&
		ip -n "$(ns b1)" addr add 10.0.0.11/24 dev eth0 || return 1
	output=$(in_ns b1 "$BUILD/lbctl" backend-host setup --iface eth0 --vip $VIP4 2>&1)
	status=$?
	echo "# $output"
	expect "exit status" $status = 1
	expect "lines" "$(grep -c "kernel $(uname -r) refused the decapsulator: .*--tunnel" \
		<<<"$output")" = 1
	in_ns b1 "$BUILD/lbctl" backend-host setup --iface eth0 --vip $VIP4 --tunnel
}

test_configure_builds_but_warns() {
	local output
	output=$(./configure --build="$WORK/build" 2>&1) || return 1
	grep '^configure: warning' <<<"$output" | sed 's/^/# /'
	expect "warnings" "$(grep -c \
		'^configure: warning: kernel .* can build lbd but may not run it' <<<"$output")" = 1
	lacks "$output" 5.11
	lacks "$output" 5.18
}

lab_need_root
WORK=$(mktemp -d)
run_tests "$@"
