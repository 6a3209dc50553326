#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Offers every BPF program to the verifier of the kernel that runs, as the default compiler and the oldest installed one made
# it. TAP. In make check.
set -u
cd "$(dirname "$0")/.." || exit 1
compiled=build/vmtest/bpf-host

mapfile -t installed < <(tools/clangs)
if [ ${#installed[@]} = 0 ]; then
	echo "ok 1 - verifier # SKIP no compiler of tools/clangs is installed"
	echo "1..1"
	exit 0
fi
oldest=${installed[-1]}
mapfile -t chosen < <(printf "%s\n" "${installed[0]}" "$oldest" | uniq)
failed=$(vmtest/programs.sh "$compiled" "${chosen[@]}")
if [ -n "$failed" ]; then
	printf '%s\n' "$failed"
	exit 1
fi
[ "$oldest" = "$(tools/clangs --all | tail -n 1)" ] || echo "# the oldest compiler promised is not installed: $oldest stands in"
exec build/vmtest/verifier "$compiled"/*
