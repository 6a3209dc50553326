#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# The part of vmtest that make check runs: the oldest supported kernel's verifier, packet and smoke
# tests. Prints TAP.
cd "$(dirname "$0")/.." || exit 1

for tool in qemu-system-x86_64 busybox depmod; do
	command -v $tool >/dev/null && continue
	echo "ok 1 - 6.1 guest # SKIP no $tool (packages: vmtest/packages.txt)"
	echo "1..1"
	exit 0
done
# It takes longest, so the suites beside it give way, and its models try fewer random sequences than make vmtest.
export LBD_SEQUENCES=${LBD_SEQUENCES:-50}
VM_NICE=${VM_NICE:--5} VM_TIMEOUT=${VM_TIMEOUT:-3000} exec vmtest/run.sh 6.1 verifier packets smoke
