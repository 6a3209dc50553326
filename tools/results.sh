# shellcheck shell=bash
# Tests that run in a Debian system of tools/root.sh: each with its name, its result and its log.
# Sourced by tools/debtest and tools/containertest with `out` and `suite` set.
# shellcheck disable=SC2154

passed=0 failed=0
result() { # NAME STATUS LOG
	if [ "$2" = 0 ]; then
		echo "ok    $suite: $1"
		passed=$((passed + 1))
		return
	fi
	tail -n 30 "$3" | sed 's/^/      /'
	echo "FAIL  $suite: $1 (status $2, log: $3)"
	failed=$((failed + 1))
	return 1
}
step() { # NAME COMMAND...
	local log=$out/$suite-$1.log
	"${@:2}" >"$log" 2>&1
	result "$1" $? "$log"
}
