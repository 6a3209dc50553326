#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Measures lbd beside IPVS in one guest.
# usage: vmtest/bench.sh [KERNEL [ROUNDS]]    (default: 6.1 and 5)
set -euo pipefail
# shellcheck source=vmtest/rehome.sh
. "$(dirname "$0")/rehome.sh"
cd "$(dirname "$0")/.."

[ -e build/frames.bpf.o ] || {
	echo "vmbench: build/frames.bpf.o is missing: make vmbench builds it" >&2
	exit 1
}
VM_NICE=${VM_NICE:-0} VM_MEMORY=${VM_MEMORY:-2048M} \
	exec vmtest/vm.sh "${1:-6.1}" "vmtest/guest/bench ${2:-5}"
