# awk that handles each line as it arrives: "${awk_by_line[@]}" PROGRAM.
# shellcheck shell=bash

# Debian's awk is mawk, which reads a pipe in blocks of 4 KB unless it is interactive.
awk_by_line=(awk)
# shellcheck disable=SC2034 # used where this file is sourced
case $(awk -W version 2>&1 </dev/null) in mawk*) awk_by_line=(awk -W interactive) ;; esac
