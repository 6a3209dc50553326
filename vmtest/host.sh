#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Loads every BPF program into the running kernel, as compiled by the default compiler and by the
# oldest installed one, to see whether the verifier accepts it. Prints TAP.
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
supported=$(tools/clangs --all | tail -n 1)
[ "$oldest" = "$supported" ] || echo "# $supported is not installed: $oldest is used in its place"
exec build/vmtest/verifier "$compiled"/*
