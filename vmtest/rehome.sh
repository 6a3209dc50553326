#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# A guest covers /tmp, /run and /dev with file systems of its own, so a checkout below them is not seen in it. Then the script
# that sources this runs once more, in a mount namespace where the checkout is at /mnt as well. Sourced first by vm.sh,
# run.sh and bench.sh, with their arguments.
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
case $checkout in
/tmp/* | /run/* | /dev/*)
	exec unshare --mount sh -c 'mount --bind "$1" /mnt && cd /mnt && name=$2 && shift 2 && exec "/mnt/vmtest/$name" "$@"' \
		sh "$checkout" "${0##*/}" "$@"
	;;
esac
unset checkout
