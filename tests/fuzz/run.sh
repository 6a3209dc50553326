#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Runs a fuzz target: first its corpus, then new inputs for a while. Prints TAP.
# usage: tests/fuzz/run.sh TARGET
#        tests/fuzz/run.sh --merge TARGET   adds what `make fuzz` found to the corpus
# TARGET: NAME of tests/fuzz/fuzz_NAME.c. FUZZ_SECONDS: how long (60). FUZZ_SEED: of the random
# inputs; 0: another each time (0). FUZZ_RUNS: at most so many inputs (5000000; with a seed as many as
# a minute is enough for). make check has seed 1: what it finds is then the fault of a change.
# FUZZ_KEEP=1: new inputs that reach something new stay in build/fuzz/corpus/TARGET. Inputs are in
# tests/fuzz/corpus, which --merge makes, and in tests/fuzz/seeds, made by hand. One that breaks a
# promise is kept in build/fuzz/found.
set -u
cd "$(dirname "$0")/../.." || exit 2

merge=false
[ "${1:-}" != --merge ] || { merge=true && shift; }
target=${1:-}
program=build/fuzz/tests/fuzz/fuzz_$target
corpus=tests/fuzz/corpus/$target
seeds=tests/fuzz/seeds/$target
found=build/fuzz/found
seconds=${FUZZ_SECONDS:-60}
seed=${FUZZ_SEED:-0}
case $seed:$target in
0:*) runs=5000000 ;;
*:api) runs=25000 ;;
*:kept) runs=50000 ;;
*:packets) runs=100000 ;;
*:session) runs=20000 ;;
*) runs=700000 ;;
esac
runs=${FUZZ_RUNS:-$runs}
if [ ! -d "$corpus" ]; then
	echo "$0: \"$target\": expected one of: $(cd tests/fuzz/corpus && echo *)" >&2
	exit 2
fi
if [ -e "$program" ] && [ ! -x "$program" ]; then
	echo "not ok 1 - fuzz_$target: $program is not built to its end: make fuzzers FUZZ=1"
	echo "1..1"
	exit 1
fi
if [ ! -x "$program" ]; then
	echo "ok 1 - fuzz_$target # SKIP $program is not built: make fuzzers FUZZ=1"
	echo "1..1"
	exit 0
fi

# The targets' own files, in memory.
TMPDIR=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d) && export TMPDIR || exit 2
trap 'rm -rf "$TMPDIR"' EXIT
trap 'exit 1' INT TERM
export ASAN_OPTIONS=quarantine_size_mb=16:malloc_context_size=10:detect_leaks=1
export UBSAN_OPTIONS=print_stacktrace=1
mkdir -p "$found"
inputs=("$corpus")
[ ! -d "$seeds" ] || inputs+=("$seeds")

fuzz() { # OPTION | DIRECTORY...
	local dictionary=tests/fuzz/$target.dict
	local options=(-max_len=4096 -timeout=120 -rss_limit_mb=1500 "-seed=$seed")
	[ ! -f "$dictionary" ] || options+=("-dict=$dictionary")
	"$program" "${options[@]}" -artifact_prefix="$found/$target-" -print_final_stats=1 "$@" \
		>"$TMPDIR/log" 2>&1
}

# What broke, and what to type next.
report() {
	local input
	grep -aE '^(tests|user|bpf)/.*: |ERROR: |runtime error: |SUMMARY: ' "$TMPDIR/log" | head -n 10 |
		sed 's/^/# /'
	input=$(sed -n 's/.*Test unit written to //p' "$TMPDIR/log" | tail -n 1)
	[ -z "$input" ] || echo "# again, with a trace of packets: FUZZ_TRACE=1 $program $input"
	[ -n "$input" ] || tail -n 20 "$TMPDIR/log" | sed 's/^/# /'
}

verdict() { # NUMBER PROMISE STATUS
	[ "$3" = 0 ] || report
	if [ "$3" = 75 ]; then
		echo "ok $1 - $2 # SKIP $(tail -n 1 "$TMPDIR/log")"
	elif [ "$3" = 0 ]; then
		echo "ok $1 - $2"
	else
		echo "not ok $1 - $2"
		failed=1
	fi
}

# As few and small inputs as reach what all of them reach; of packets those that end differently.
if $merge; then
	mkdir "$TMPDIR/least"
	FUZZ_COARSE=1 fuzz -set_cover_merge=1 -max_len=400 "$TMPDIR/least" "${inputs[@]}" \
		"build/fuzz/corpus/$target" || { report && exit 1; }
	rm -f "$corpus"/*
	mv "$TMPDIR/least"/* "$corpus"
	echo "$corpus: $(find "$corpus" -type f | wc -l) inputs, $(du -sb "$corpus" | cut -f 1) bytes"
	exit
fi

failed=0
fuzz -runs=0 "${inputs[@]}"
verdict 1 "every_input_of_the_corpus_holds" $?

new=$TMPDIR/new
[ -z "${FUZZ_KEEP:-}" ] || new=build/fuzz/corpus/$target
mkdir -p "$new"
fuzz -max_total_time="$seconds" -runs="$runs" "$new" "${inputs[@]}"
verdict 2 "no_new_input_breaks_a_promise" $?
sed -n 's/^stat::number_of_executed_units: */# inputs tried: /p' "$TMPDIR/log"
echo "1..2"
exit $failed
