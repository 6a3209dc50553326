#!/bin/bash
# Makes the view that one host of the lab has of its files, and stays there: programs and libraries
# of this machine, the rest its own. Runs in the host's network namespace and in a mount namespace
# of its own. usage: host.sh ROOT BUILD SOURCE REPORTS
#   ROOT     an empty directory, the host's /
#   BUILD    where lbd, lbctl and lbd-backend are
#   SOURCE   the repository
#   REPORTS  where sanitizers write
set -eu
root=$1 build=$2 source=$3 reports=$4

mount -t tmpfs -o mode=755 host "$root"
for path in /usr /bin /sbin /lib /lib64 "$build" "$source"; do
	[ -e "$path" ] || continue
	mkdir -p "$root$path"
	mount --bind -o ro "$path" "$root$path"
	mount -o remount,bind,ro "$root$path"
done
mkdir -p "$root"/{etc,run,tmp,root,var/lib,proc,sys,dev}
mount -t tmpfs -o mode=755 local "$root/usr/local"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t bpf bpf "$root/sys/fs/bpf"
mount --rbind /dev "$root/dev"
mkdir -p "$root$reports" && mount --bind "$reports" "$root$reports"
for file in passwd group nsswitch.conf ld.so.cache alternatives services protocols; do
	[ ! -e "/etc/$file" ] || cp -a "/etc/$file" "$root/etc/$file"
done
echo "lbd:x:54321:" >>"$root/etc/group"

# What the pages call and a lab has not.
mkdir -p "$root"/usr/local/{bin,sbin}
for name in sudo apt systemctl aws; do
	cp "$source/tests/e2e/start/$name.sh" "$root/usr/local/bin/$name"
	chmod 755 "$root/usr/local/bin/$name"
done
touch "$root"/root/{lbd,lbd-backend}_0.1.0_amd64.deb
printf 'BUILD=%q\nSOURCE=%q\n' "$build" "$source" >"$root/etc/lab"
exec chroot "$root" sleep infinity
