# awk that works on each line when it comes. Sourced by the runners: tests/run, vmtest/run.sh, vmtest/guest/run.
# shellcheck shell=bash

# Debian's awk, mawk, holds back what comes through a pipe until it has 4 KB, unless told to go line by line.
awk_by_line=(awk)
# shellcheck disable=SC2034 # for those that source it
case $(awk -W version 2>&1 </dev/null) in mawk*) awk_by_line=(awk -W interactive) ;; esac
