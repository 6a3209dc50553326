#!/bin/bash
# apt in the lab: what installing a package of lbd leaves behind, as debian/ says it.
set -eu
. /etc/lab
[ "$1" = install ] && [ -f "$2" ] || { echo "apt $*: not in this lab" >&2 && exit 1; }
case $2 in
./lbd_*.deb)
	ln -s "$BUILD/lbd" "$BUILD/lbctl" /usr/local/sbin
	mkdir -p /etc/lbd/conf.d
	cp "$SOURCE/dist/default.yaml" /etc/lbd/lbd.yaml
	exec systemctl enable --now lbd
	;;
./lbd-backend_*.deb)
	ln -s "$BUILD/lbd-backend" /usr/local/sbin
	mkdir -p /etc/lbd-backend
	;;
*) echo "apt $*: expected a package of lbd" >&2 && exit 1 ;;
esac
