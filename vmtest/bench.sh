#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Measures lbd beside IPVS in one guest, and `forward: nat` beside IPVS's masquerading and nftables in
# another. The figures are also the sections ipvs and nat of build/bench.json.
# usage: vmtest/bench.sh [KERNEL [ROUNDS [ipvs|nat]...]]    (default: 6.1, 5 and both)
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
kernel=${1:-6.1} rounds=${2:-5}
out=$(mktemp)
trap 'rm -f "$out"' EXIT
status=0

# Several sides: a comparison takes a quarter of an hour in an emulated guest.
compare() { # SECTION SCRIPT
	local load
	load=$(bench_load)
	VM_NICE=${VM_NICE:-0} VM_MEMORY=${VM_MEMORY:-2048M} VM_TIMEOUT=${VM_TIMEOUT:-3600} \
		vmtest/vm.sh "$kernel" "$2 $rounds" | tee "$out" |
		grep --line-buffered -v '^json: ' || status=$?
	sed -n 's/^json: //p' "$out" | tail -n 1 >"$out.json"
	if [ -s "$out.json" ]; then
		jq --argjson machine "$(bench_machine "$load")" '. + {machine: $machine}' \
			"$out.json" | bench_section "$1"
	fi
	rm -f "$out.json"
}

for section in "${@:3}"; do
	case $section in ipvs | nat) ;; *) echo "vmbench: $section: expected ipvs or nat" >&2 && exit 2 ;; esac
done
[ $# -gt 2 ] || set -- "$kernel" "$rounds" ipvs nat
for section in "${@:3}"; do
	case $section in
	ipvs) compare ipvs vmtest/guest/bench ;;
	nat) compare nat vmtest/guest/bench-nat ;;
	esac
done
exit $status
