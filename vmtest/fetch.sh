#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Fetches a kernel of kernels.txt, or virtme-ng, into build/vmtest/ and prints its path.
# usage: vmtest/fetch.sh KERNEL|virtme-ng [--refresh]
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
readonly here out=${VMTEST_OUT:-$(dirname "$here")/build/vmtest}
readonly mirror=${VMTEST_MIRROR:-http://deb.debian.org}
readonly keyring=/usr/share/keyrings/debian-archive-keyring.gpg

say() { echo "vmtest: $*" >&2; }
die() { say "$*"; exit 1; }

# The sources of a suite. Kernel updates of a stable release come through its security archive.
sources_of() {
	local suite=$1
	echo "deb [signed-by=$keyring] $mirror/debian $suite main"
	case $suite in
	*-*) ;;
	*) echo "deb [signed-by=$keyring] $mirror/debian-security $suite-security main" ;;
	esac
}

# apt with its own sources list and state: the host's lists, cache and packages are not touched,
# its proxy settings apply. Without the sandbox user, because _apt may not write below a private
# checkout; signatures are still checked.
suite_apt() {
	local tool=$1 suite=$2 dir=$out/apt/$2
	shift 2
	"$tool" -qq -o "Dir::Etc::sourcelist=$dir/sources.list" -o Dir::Etc::sourceparts=/dev/null \
		-o "Dir::State::lists=$dir/lists" -o "Dir::Cache=$dir/cache" \
		-o APT::Sandbox::User= -o Acquire::Retries=3 "$@"
}

suite_update() {
	local suite=$1 dir=$out/apt/$1
	[ -r "$keyring" ] || die "$keyring is missing: install debian-archive-keyring"
	mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
	sources_of "$suite" >"$dir/sources.list"
	suite_apt apt-get "$suite" update >&2 ||
		die "$suite: apt-get update failed (mirror $mirror; set VMTEST_MIRROR for another)"
}

# Downloads a package of a suite (apt checks it against the signed lists), unpacks it into a
# directory and compares every file with the package's checksums. The directory appears complete or
# not at all.
unpack() {
	local suite=$1 package=$2 into=$3 work=$3.part
	rm -rf "$work" && mkdir -p "$work/deb" "$work/control" "$work/root"
	say "downloading $package from $suite"
	(cd "$work/deb" && suite_apt apt-get "$suite" download "$package" >&2) ||
		die "$package: not downloaded from $suite"
	dpkg-deb -x "$work"/deb/*.deb "$work/root"
	dpkg-deb -e "$work"/deb/*.deb "$work/control"
	(cd "$work/root" && md5sum --quiet -c ../control/md5sums >&2) ||
		die "$package: the unpacked files differ from the package's checksums"
	dpkg-deb -f "$work"/deb/*.deb Package Version >"$work/root/.package"
	rm -rf "$into" && mv "$work/root" "$into" && rm -rf "$work"
}

# The kernel package that a metapackage of a suite depends on.
resolve() {
	local suite=$1 package=$2 found
	found=$(suite_apt apt-cache "$suite" depends "$package" |
		sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -1)
	echo "${found:-$package}"
}

kernel_image() { ls "$1"/boot/vmlinuz-* 2>/dev/null | head -1; }

fetch_kernel() {
	local name=$1 suite=$2 package=$3 dir=$out/kernels/$1 version
	if [ ! -e "$dir/.package" ] || [ -n "$refresh" ]; then
		mkdir -p "$out/kernels"
		suite_update "$suite"
		unpack "$suite" "$(resolve "$suite" "$package")" "$dir"
	fi
	version=$(basename "$(kernel_image "$dir")")
	version=${version#vmlinuz-}
	[ -d "$dir/lib/modules/$version" ] ||
		die "kernel $name: no vmlinuz with its modules in $dir"
	# 6.12 has modules packed with xz, which neither virtme-ng's initramfs nor its busybox
	# unpack.
	if [ ! -e "$dir/.depmod" ]; then
		find "$dir/lib/modules/$version" -name '*.ko.xz' -print0 | xargs -0 -r -n 64 xz -d
		depmod -b "$dir" "$version"
		touch "$dir/.depmod"
	fi
	kernel_image "$dir"
}

# virtme-ng of Debian 13, in plain Python: Debian 12's Python runs it.
fetch_virtme() {
	local dir=$out/virtme-ng
	if [ ! -e "$dir/.package" ] || [ -n "$refresh" ]; then
		suite_update trixie
		unpack trixie virtme-ng "$dir"
	fi
	echo "$dir"
}

refresh=
[ "${2:-}" = --refresh ] && refresh=yes
kernels() { sed -n 's/^\([^# ]*\) .*/\1/p' "$here/kernels.txt" | paste -sd' '; }
[ $# -ge 1 ] || die "usage: vmtest/fetch.sh KERNEL|virtme-ng [--refresh]; kernels: $(kernels)"

mkdir -p "$out"
exec 9>"$out/fetch.lock"
flock 9

if [ "$1" = virtme-ng ]; then
	fetch_virtme
	exit
fi
while read -r name suite package _; do
	[ "$name" = "$1" ] || continue
	case $suite in
	*/*)
		[ -r "$suite" ] || die "kernel $name: $suite: no such file (kernels.txt)"
		echo "$suite"
		;;
	*) fetch_kernel "$name" "$suite" "$package" ;;
	esac
	exit
done <"$here/kernels.txt"
[ -r "$1" ] || die "$1: neither a kernel of vmtest/kernels.txt nor a readable vmlinuz"
realpath "$1"
