#!/bin/bash
# systemctl in the lab: runs the command lines of lbd's units.
set -eu
. /etc/lab

# The value of a key in a unit's file.
unit_value() { # FILE KEY
	sed -n "s|@SBINDIR@|/usr/local/sbin|g; s|^$2=||p" "$SOURCE/dist/$1" | head -n 1
}

answers() { lbctl status >/dev/null 2>&1; }

start_lbd() {
	local command end=$((SECONDS + 120))
	read -ra command <<<"$(unit_value lbd.service ExecStart)"
	mkdir -p /run/lbd /var/lib/lbd /sys/fs/bpf/lbd
	setsid "${command[@]}" >/run/lbd.log 2>&1 </dev/null &
	until answers; do
		[ $SECONDS -lt $end ] || { cat /run/lbd.log >&2 && exit 1; }
		sleep 0.1
	done
}

stop_lbd() {
	local pid
	pid=$(lbctl status --json | jq .pid)
	kill "$pid"
	while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
}

# The unit of a backend is a command that ends.
start_backend() { # INTERFACE
	local OPTIONS command
	[ -s "/etc/lbd-backend/$1.conf" ] || { echo "no /etc/lbd-backend/$1.conf" >&2 && exit 1; }
	# shellcheck source=dist/lbd-backend.conf
	. "/etc/lbd-backend/$1.conf"
	command=$(unit_value lbd-backend@.service ExecStart)
	command=${command//%I/$1}
	# shellcheck disable=SC2086 # words, as systemd makes of $OPTIONS
	exec ${command//\$OPTIONS/$OPTIONS}
}

case "$*" in
"enable --now lbd") start_lbd ;;
"restart lbd") stop_lbd && start_lbd ;;
"enable --now lbd-backend@"*) start_backend "${3#lbd-backend@}" ;;
*) echo "systemctl $*: not in this lab" >&2 && exit 1 ;;
esac
