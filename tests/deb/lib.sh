#!/bin/bash
# What the tests in a fresh system share. `bash SCRIPT test_NAME` runs one; it fails by returning
# non-zero, or through `expect`.
set -u
FAILED=0

expect() { # WHAT ACTUAL EXPECTED
	[ "$2" = "$3" ] && return
	echo "expected $1: '$3', got '$2'"
	FAILED=1
	return 1
}
contains() { # TEXT PART
	[[ $1 == *"$2"* ]] && return
	echo "expected '$2' in: $1"
	FAILED=1
	return 1
}
wait_for() { # WHAT COMMAND...
	local what=$1
	shift
	for _ in $(seq 600); do
		"$@" >/dev/null 2>&1 && return
		sleep 0.1
	done
	echo "timed out waiting for $what"
	return 1
}
xdp_on() { ip -j link show "$1" | jq -e '.[0].xdp' >/dev/null; } # INTERFACE
no_xdp_on() { ! xdp_on "$1"; }

run_test() { # NAME
	"$1" || FAILED=1
	exit $FAILED
}
