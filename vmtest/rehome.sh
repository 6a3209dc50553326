#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# A guest mounts its own file systems on /tmp, /run and /dev, so it does not see a checkout below
# them. For such a checkout the script that sources this file starts again, in a mount namespace
# where the checkout is at /mnt too.
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
case $checkout in
/tmp/* | /run/* | /dev/*)
	exec unshare --mount sh -c '
		mount --bind "$1" /mnt && cd /mnt && name=$2 && shift 2 &&
			exec "/mnt/vmtest/$name" "$@"' sh "$checkout" "${0##*/}" "$@"
	;;
esac
unset checkout
