#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Runs the project's tests, as make tests built them, in virtual machines: one TAP stream and a
# summary.
# usage: vmtest/run.sh KERNEL|all [SUITE[:TEST]...]
set -uo pipefail
# shellcheck source=vmtest/rehome.sh
. "$(dirname "$0")/rehome.sh"

here=$(cd "$(dirname "$0")" && pwd)
repo=$(dirname "$here")
readonly here repo out=${VMTEST_OUT:-$repo/build/vmtest}
readonly all_suites="verifier unit packets smoke tunnels multiqueue bonding-vlan dispatcher kernel"

# shellcheck source=tests/awk.sh
. "$repo/tests/awk.sh"

kernels() { awk '!/^#/ && NF {print $1}' "$here/kernels.txt"; }
suites_of() { # KERNEL: the kernel's own, else all
	awk -v name="$1" -v all="$all_suites" '
		$1 == name && NF > 3 { gsub(",", " ", $4); all = $4 }
		END { print all }' "$here/kernels.txt"
}

usage() {
	cat <<-TEXT
		usage: vmtest/run.sh KERNEL|all [SUITE[:TEST]...]
		  KERNEL  of kernels.txt ($(kernels | paste -sd" ")), or the path of a vmlinuz
		  SUITE   of: $all_suites
		          (default: all of them, or the kernel's own), e2e, or a script of
		          tests/e2e: forward, failover ...; TEST picks one of its tests
		VM_TIMEOUT, VM_CPUS, VM_MEMORY, VM_ACCEL: see vmtest/vm.sh
		LBD_SEQUENCES: random sequences of the packets suite's models (200)
	TEXT
}

# One guest for all suites of a kernel. A guest that ends before its tests do is a failed test.
run_kernel() { # KERNEL SUITE...
	local kernel=$1 label=${1##*/} nics='' status
	shift
	case " $* " in *" multiqueue"*) nics=yes ;; esac
	echo "# kernel $label: $*"
	VM_TIMEOUT=${VM_TIMEOUT:-10800} VM_MEMORY=${VM_MEMORY:-2048M} VM_NICS=$nics \
		"$here/vm.sh" "$kernel" "LBD_SEQUENCES=${LBD_SEQUENCES:-} vmtest/guest/run $*" |
		"${awk_by_line[@]}" -v label="$label" '
			/^# end of tests/ { ended = 1; next }
			/^(not )?ok - / { sub(/ok - /, "ok - " label " "); print; fflush(); next }
			{ print(/^#/ ? $0 : "# " $0); fflush() }
			END { exit !ended }'
	status=("${PIPESTATUS[@]}")
	if [ "${status[1]}" != 0 ] || [ "${status[0]}" != 0 ]; then
		echo "not ok - $label guest: ended before its tests did (status ${status[0]})"
	fi
}

# Numbers the tests of all guests, and sums up. Status 1 if one failed or none ran.
number() {
	"${awk_by_line[@]}" '
		/^(not )?ok - / {
			n++
			if ($1 == "not") { failed++; fails = fails "\n#   " substr($0, 10) }
			else if (/# SKIP/) skipped++
			else passed++
			sub(/ok - /, "ok " n " - ")
		}
		# Rows of the verifier table; the first row of each kernel is the head.
		sub(/^#\| /, "") {
			if (!/^object / || !rows) row[++rows] = $0
			next
		}
		{ print; fflush() }
		END {
			print "1.." n + 0
			if (rows) print "# the verifier, by program, compiler and kernel:"
			for (i = 1; i <= rows; i++) print "#   " row[i]
			if (failed) print "# failed:" fails
			printf "# %d passed, %d failed, %d skipped\n", passed, failed, skipped
			exit !n || failed
		}'
}

case ${1:-} in
--help) usage && exit ;;
"") usage >&2 && exit 1 ;;
all) mapfile -t chosen < <(kernels) ;;
*) chosen=("$1") ;;
esac
shift

{
	case " ${*:-$all_suites} " in *" verifier "*) "$here/programs.sh" "$out/bpf" ;; esac
	for kernel in "${chosen[@]}"; do
		read -ra suites <<<"${*:-$(suites_of "$kernel")}"
		run_kernel "$kernel" "${suites[@]}"
	done
} | number
