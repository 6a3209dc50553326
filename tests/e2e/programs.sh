#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# tests/run on a small tree of its own: which test programs it misses.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
WORK=$(mktemp -d "/tmp/$LAB.XXXXXX") # removed by lab_down
TREE=$WORK/tree

# A source, and its program if it is built.
program_of() { # BUILD SOURCE [MODE]
	local program=$TREE/$1/${2%.c}
	mkdir -p "$(dirname "$TREE/$2")" "$(dirname "$program")"
	touch "$TREE/$2"
	[ $# -lt 3 ] || {
		printf '#!/bin/sh\necho "ok 1 - it_runs"; echo 1..1\n' >"$program"
		chmod "$3" "$program"
	}
}

tree() {
	rm -rf "$TREE"
	mkdir -p "$TREE/tests"
	cp "$ROOT"/tests/{run,awk.sh,programs.sh} "$TREE/tests/"
	cp "$ROOT/Makefile" "$TREE/"
	program_of build tests/unit/a/test_one.c 755
	program_of build tests/unit/b/test_two.c 755
	program_of build tests/bpf/test_three.c 755
}

runs() { # STATUS GROUP...
	local expected=$1 status=0
	shift
	printed=$("$TREE/tests/run" "$@" 2>&1) || status=$?
	expect "status of tests/run $*" "$status" = "$expected"
}

test_every_program_that_has_a_source_is_run() {
	tree
	runs 0 unit packets
	contains "$printed" "3 passed, 0 failed, 0 skipped"
}

test_a_program_that_cannot_run_is_a_failed_test() {
	tree
	chmod 644 "$TREE/build/tests/unit/b/test_two" # as an interrupted link leaves it
	rm "$TREE/build/tests/bpf/test_three"
	runs 1 unit packets
	contains "$printed" "FAIL  unit/test_two: build/tests/unit/b/test_two is not built, or not to its end: make -j2 tests"
	contains "$printed" "FAIL  packets/test_three: build/tests/bpf/test_three is not built"
	contains "$printed" "1 passed, 2 failed, 0 skipped"
	runs 1 test_two
	runs 0 test_one
}

test_a_build_with_sanitizers_is_whole_or_skipped() {
	tree
	program_of build/asan tests/unit/a/test_one.c 755
	runs 0 asan
	contains "$printed" "skip  asan: build/asan/lbd is not built: make -j2 tests SAN=1"
	contains "$printed" "1 passed, 0 failed, 1 skipped"
	cp "$TREE/build/asan/tests/unit/a/test_one" "$TREE/build/asan/lbd"
	runs 1 asan
	contains "$printed" "FAIL  asan/test_two: build/asan/tests/unit/b/test_two is not built, or not to its end: make -j2 tests SAN=1"
	runs 0 test_two # who names a test means the usual build
	contains "$printed" "1 passed, 0 failed, 0 skipped"
}

test_what_runs_with_two_threads_is_missed_too() {
	tree
	runs 1 tsan
	contains "$printed" "FAIL  tsan/test_tasks: build/tsan/tests/unit/host/test_tasks is not built"
}

test_a_name_that_there_is_not_is_a_failed_test() {
	tree
	runs 1 test_one tset_two
	contains "$printed" "FAIL  tset_two: expected a group, or the name of a test program or script"
	contains "$printed" "1 passed, 1 failed, 0 skipped"
}

test_a_program_that_ends_before_its_last_test_is_a_failed_test() {
	tree
	printf '#!/bin/sh\necho 1..2; echo "ok 1 - it_runs"\n' >"$TREE/build/tests/unit/a/test_one"
	runs 1 test_one
	contains "$printed" "FAIL  unit/test_one: ended with status 0 after 1 of 2 tests"
}

# As timeout, make and a shell do, which signal the whole process group.
test_who_is_ended_with_its_group_lets_suites_clean_up() {
	local jobs pid
	for jobs in 1 2; do
		tree
		cat >"$TREE/build/tests/unit/a/test_one" <<-SH
			#!/bin/bash
			trap 'trap "" TERM PIPE; sleep 1; echo noise; echo cleaned >>$WORK/cleaned' EXIT
			trap 'exit 1' TERM PIPE
			: >$WORK/began
			for i in \$(seq 600); do sleep 0.1; done
		SH
		rm -f "$WORK/began" "$WORK/cleaned"
		JOBS=$jobs setsid "$TREE/tests/run" unit >/dev/null 2>&1 &
		pid=$!
		lab_wait_for 20 "the suite" test -e "$WORK/began" || return 1
		kill -TERM -- "-$pid"
		wait "$pid"
		expect "what was cleaned up with JOBS=$jobs" "$(cat "$WORK/cleaned")" = cleaned
	done
}

run_tests "$@"
