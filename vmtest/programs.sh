#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Compiles every BPF program (product, tests, benchmarks) with every installed compiler of
# tools/clangs, or with those named: the verifier must accept the code of each. Prints a failed
# test, in TAP, for a compiler that fails.
# usage: vmtest/programs.sh DIRECTORY [CLANG...]    (into DIRECTORY/CLANG/)
set -u
repo=$(cd "$(dirname "$0")/.." && pwd)
directory=$(realpath -m "$1")
shift
[ $# != 0 ] || mapfile -t installed < <("$repo/tools/clangs")

rm -rf "$directory"
for clang in "${@:-${installed[@]}}"; do
	log=$(make -s -C "$repo" "BUILD=$directory/$clang" "CLANG=$clang" bpf-programs 2>&1) &&
		continue
	printf '%s\n' "$log" | tail -n 20 | sed 's/^/# /'
	echo "not ok - $clang compiles every BPF program"
done
