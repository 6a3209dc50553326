# Which test programs there are to be: by their sources, so that one that was not built is missed.
# shellcheck shell=bash

# A line for each of the sources in a directory and those below it.
test_programs() { # BUILD DIRECTORY
	local source
	for source in "$2"/test_*.c "$2"/*/test_*.c; do
		[ ! -f "$source" ] || echo "$1/${source%.c}"
	done
}

is_runnable() { [ -f "$1" ] && [ -x "$1" ]; } # PROGRAM
