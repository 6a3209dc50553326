# shellcheck shell=bash
# Debian systems that tools/fresh, tools/debtest and tools/containertest run commands in:
# debootstrapped once a week into build/fresh/, unpacked for each run. Sourced by them with these set:
#   me      the name before each message         suite   Debian's suite
#   out     build/fresh                          new     not empty: debootstrap again
#   limit   seconds that a command may take
# After root_prepare: mirror, security. The others take ROOT, the directory of a system.
# shellcheck disable=SC2154

say() { echo "$me: $*"; }
die() {
	echo "$me: $*" >&2
	exit 1
}

# The host's address of an archive, even if the host uses it for another suite only.
host_mirror() { # LABEL SUITE
	apt-get indextargets --format '$(LABEL) $(CODENAME) $(REPO_URI)' 'Created-By: Packages' |
		awk -v label="$1" -v suite="$2" '
			$1 == label && (!found || $2 == suite) { found = $3 }
			END { print found }'
}
sources() {
	echo "deb $mirror $suite main"
	echo "deb $mirror $suite-updates main"
	[ -z "$security" ] || echo "deb $security $suite-security main"
}

# Package sources are those of this host's apt. One run at a time holds the cache.
root_prepare() {
	[ "$(id -u)" = 0 ] || die "needs root, for debootstrap and chroot"
	tools/deps fresh || exit 1
	mkdir -p "$out"
	exec 9>"$out/lock"
	flock -n 9 || die "another run of this checkout holds $out/lock"
}
root_mirrors() {
	mirror=${FRESH_MIRROR:-$(host_mirror Debian "$suite")}
	security=$(host_mirror Debian-Security "$suite-security")
	[ -n "$mirror" ] || die "this host's apt has no Debian archive; set FRESH_MIRROR to one"
}

# A tar of the minimal system. It appears complete or not at all.
root_base() {
	local tar=$out/base-$suite.tar root=$out/base-$suite
	[ -z "$new" ] && [ -n "$(find "$tar" -mtime -7 2>/dev/null)" ] && return
	say "debootstrap $suite (a minute or two; log: $out/$suite-debootstrap.log)"
	rm -rf --one-file-system "$root" "$tar"
	timeout 1800 debootstrap --variant=minbase "$suite" "$root" "$mirror" \
		>"$out/$suite-debootstrap.log" 2>&1 || {
		tail -n 5 "$out/$suite-debootstrap.log" >&2
		die "debootstrap $suite from $mirror failed"
	}
	tar -C "$root" -cf "$tar.part" . && mv "$tar.part" "$tar" &&
		rm -rf --one-file-system "$root"
}

# The base system with this host's network settings.
root_unpack() { # ROOT
	rm -rf --one-file-system "$1"
	mkdir -p "$1" && tar -C "$1" -xf "$out/base-$suite.tar" ||
		die "$out/base-$suite.tar does not unpack; try --new"
	sources >"$1/etc/apt/sources.list"
	apt-config dump | grep -E '^Acquire::https?::Proxy' >"$1/etc/apt/apt.conf.d/90proxy"
	cp /etc/resolv.conf "$1/etc/resolv.conf"
	echo fresh >"$1/etc/hostname"
	printf '127.0.0.1 localhost fresh %s\n' "$(uname -n)" >"$1/etc/hosts"
}

# Runs in its own mount and PID namespaces, so that no mount and no process is left behind. The
# root is a mount of its own, because ip-netns makes it private. Package archives are kept between
# runs; apt compares their checksums.
readonly root_inside='
	mount --bind "$1" "$1" && cd "$1" &&
	mount -t proc proc proc && mount -t sysfs sysfs sys && mount -t bpf bpf sys/fs/bpf &&
	mount --rbind /dev dev && mount -t tmpfs tmpfs run &&
	mount -t tmpfs -o mode=1777 tmpfs tmp &&
	mount --bind "$2" var/cache/apt/archives || exit 125
	mount -t tracefs tracefs sys/kernel/tracing 2>/dev/null
	exec chroot . /usr/bin/env -i HOME=/root LANG=C.UTF-8 TERM=dumb \
		PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		${http_proxy:+"http_proxy=$http_proxy"} ${https_proxy:+"https_proxy=$https_proxy"} \
		bash -c "$3"'
root_run() { # ROOT COMMAND
	mkdir -p "$out/archives-$suite/partial"
	timeout --kill-after=30 "$limit" unshare --mount --pid --fork --kill-child \
		bash -c "$root_inside" "$me" "$1" "$out/archives-$suite" "$2" </dev/null
}
