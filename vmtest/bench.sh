#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Measures lbd beside IPVS in one guest. The figures are also the section ipvs of build/bench.json.
# usage: vmtest/bench.sh [KERNEL [ROUNDS]]    (default: 6.1 and 5)
set -euo pipefail
# shellcheck source=vmtest/rehome.sh
. "$(dirname "$0")/rehome.sh"
cd "$(dirname "$0")/.."

[ -e build/frames.bpf.o ] || {
	echo "vmbench: build/frames.bpf.o is missing: make vmbench builds it" >&2
	exit 1
}
BUILD=build
# shellcheck source=tools/bench-json.sh
. tools/bench-json.sh
out=$(mktemp)
trap 'rm -f "$out"' EXIT
load=$(bench_load)
status=0
# Three sides: the lab's comparison takes a quarter of an hour in an emulated guest.
VM_NICE=${VM_NICE:-0} VM_MEMORY=${VM_MEMORY:-2048M} VM_TIMEOUT=${VM_TIMEOUT:-3600} \
	vmtest/vm.sh "${1:-6.1}" "vmtest/guest/bench ${2:-5}" | tee "$out" | grep --line-buffered -v '^json: ' ||
	status=$?
sed -n 's/^json: //p' "$out" | tail -n 1 >"$out.json"
if [ -s "$out.json" ]; then
	jq --argjson machine "$(bench_machine "$load")" '. + {machine: $machine}' "$out.json" |
		bench_section ipvs
fi
rm -f "$out.json"
exit $status
