#!/bin/bash
# What the demonstrations share: how they print, check and end. The script has a function keep_note,
# which prints how to look around in a lab that stays up.
# shellcheck source=tools/lab.sh
. "$(dirname "${BASH_SOURCE[0]}")/lab.sh"

bold='' dim='' red='' green='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
	bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m'
fi

step() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
say() { printf '  %s\n' "$*"; }
shown() { sed "s/^/    $dim| $plain/"; }
good() { printf '  %sok%s    %s\n' "$green" "$plain" "$*"; }
fail() {
	local log
	printf '  %sFAIL%s  %s\n' "$red" "$plain" "$*"
	for log in "$WORK"/lbd.log "$WORK"/lbd-*.log; do
		[ ! -f "$log" ] || { say "${log##*/}:"; tail -n 15 "$log" | shown; }
	done
	exit 1
}
must() { # TEXT COMMAND...
	local text=$1
	shift
	"$@" || fail "$text"
	good "$text"
}

finish() {
	local status=$?
	trap - EXIT
	if [ "${KEEP:-}" = 1 ] && [ $status = 0 ]; then
		step "The lab stays up (KEEP=1). To look around:"
		keep_note
		echo "To remove the lab: LAB=$LAB WORK=$WORK bash -c '. $ROOT/tools/lab.sh; lab_down'"
		exit 0
	fi
	lab_down
	if [ $status = 0 ]; then say "The lab is removed: namespaces, programs, files."; fi
	exit $status
}
