#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# lbd beside IPVS in one guest, as ratios. Called by make vmbench: vmtest/bench.sh [KERNEL [ROUNDS]], default 6.1 and 5.
set -euo pipefail
# shellcheck source=vmtest/rehome.sh
. "$(dirname "$0")/rehome.sh"
cd "$(dirname "$0")/.."

clang=
for name in clang clang-{14..21}; do
	command -v "$name" >/dev/null && clang=$name
done
[ -n "$clang" ] || { echo "vmbench: no clang: install clang-19" >&2; exit 1; }
mkdir -p build/vmtest
"$clang" -target bpf -mcpu=v3 -O2 -g -Wall -Wextra -Werror "-I/usr/include/$(gcc -print-multiarch)" \
	-c vmtest/frames.bpf.c -o build/vmtest/frames.bpf.o
VM_NICE=${VM_NICE:-0} VM_MEMORY=${VM_MEMORY:-2048M} exec vmtest/vm.sh "${1:-6.1}" "vmtest/guest/bench ${2:-5}"
