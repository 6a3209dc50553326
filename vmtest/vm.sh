#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Boots a kernel in QEMU under virtme-ng, runs one shell command in it as root and exits with the
# command's status. usage: vmtest/vm.sh KERNEL 'COMMAND'
#
# The guest sees the host's files read-only. What it writes goes to guest memory and is lost.
#
# Environment:
#   VM_TIMEOUT   seconds, default 600
#   VM_CPUS      default 2
#   VM_MEMORY    default 1024M
#   VM_ACCEL     kvm or tcg; default: kvm if a guest came up with it
#   VM_NICS      yes: two virtio-net NICs with four queue pairs each, connected to each other
#                through a bridge in a network namespace of the host
#   VM_QEMU      more arguments of QEMU
#   VM_CONSOLE   file of the console log
#   VM_NICE      niceness of QEMU, default 5
set -euo pipefail
# shellcheck source=vmtest/rehome.sh
. "$(dirname "$0")/rehome.sh"

here=$(cd "$(dirname "$0")" && pwd)
repo=$(dirname "$here")
readonly here repo out=${VMTEST_OUT:-$repo/build/vmtest}
readonly guest_died=255

say() { echo "vmtest: $*" >&2; }
die() { say "$*"; exit 1; }

# Finds virtme-run, the lower command of virtme-ng: the host's, else the fetched one.
virtme_setup() {
	local dir
	if command -v virtme-run >/dev/null; then
		virtme=(virtme-run)
		virtme_guest=$(python3 -c 'import virtme; print(virtme.__path__[0])')/guest
		return
	fi
	dir=$("$here/fetch.sh" virtme-ng)/usr/lib/python3/dist-packages
	virtme=(env "PYTHONPATH=$dir" PYTHONDONTWRITEBYTECODE=1 python3 -c
		'import sys; from virtme.commands.run import main; sys.exit(main())')
	virtme_guest=$dir/virtme/guest
}

# Two taps and a bridge in a network namespace, for NICs with several queues. QEMU then runs in that
# namespace. Without tap devices on the host there are no NICs, and the tests that need them skip.
nics=()
inside=()
nics_up() {
	local i device
	if ! ip tuntap add dev vmtest-probe mode tap 2>/dev/null; then
		say "this host has no tap devices: the guest gets no NICs"
		return
	fi
	ip link del vmtest-probe
	netns=vmtest-$$
	trap 'ip netns del "$netns"' EXIT
	ip netns add "$netns"
	inside=(nsenter "--net=/run/netns/$netns")
	"${inside[@]}" ip link add bridge type bridge mcast_snooping 0
	"${inside[@]}" ip link set bridge up mtu 1600
	for i in 0 1; do
		"${inside[@]}" ip tuntap add dev "tap$i" mode tap multi_queue
		"${inside[@]}" ip link set "tap$i" up mtu 1600 master bridge
		device=virtio-net-pci,netdev=nic$i,mac=52:54:00:00:00:0$i,mq=on,vectors=10
		nics+=(-netdev "tap,id=nic$i,ifname=tap$i,queues=4,script=no,downscript=no"
			-device "$device,host_mtu=1600")
	done
}

# Runs a command in a guest. The console goes to $console.
boot() { # ACCELERATOR SECONDS COMMAND
	local accel=$1 seconds=$2 command=$3 args
	# shellcheck disable=SC2054
	args=(--kimg "$image" --mods auto --force-9p --no-virtme-ng-init --disable-microvm
		--busybox "$(command -v busybox)"
		--memory "${VM_MEMORY:-1024M}" --cpus "${VM_CPUS:-2}"
		--overlay-rwdir /etc --cwd "$repo" --show-boot-console
		-q=-virtfs
		-q=local,path=/,mount_tag=vmtest,security_model=none,readonly=on,multidevs=remap
		--kopt "vmtest_init=$virtme_guest/virtme-init" --kopt "init=$here/guest/init"
		--kopt net.ifnames=0 --kopt loglevel=4 --kopt oops=panic
		--script-sh "exec 2>&1; export VM_ACCEL=$accel; $command")
	if [ "$accel" = tcg ]; then
		# With TCG, virtme-ng leaves the CPU at QEMU's minimal default. The kernel checks
		# at boot that the timer interrupt works, and panics if the host is too slow for
		# it. One thread for all CPUs: the kernel patches its code (a tracepoint that is
		# switched on) while other CPUs run it, and with a thread for each QEMU may run
		# half an instruction.
		# shellcheck disable=SC2054
		args+=(--disable-kvm --kopt no_timer_check
			-q=-accel -q=tcg,thread=single,tb-size=512 -q=-cpu -q=max)
	fi
	# timeout signals its whole process group, QEMU included, and ends with this shell. QEMU
	# opens stdout and stderr several times: as pipes, so that one writer does not overwrite
	# another.
	setpriv --pdeathsig TERM timeout --kill-after=10 "$seconds" nice -n "${VM_NICE:-5}" \
		"${inside[@]}" "${virtme[@]}" "${args[@]}" --qemu-opts "${nics[@]}" ${VM_QEMU:-} \
		</dev/null 2> >(tr -d '\000' >"$console") | cat
}

# kvm or tcg. A /dev/kvm may be there and never get a guest started: only a boot within the limit
# counts. The answer holds until the host boots again.
probe_accel() {
	local cache=$out/accel now console=$out/kvm-probe.console
	now=$(cat /proc/sys/kernel/random/boot_id)
	if [ -n "${VM_ACCEL:-}" ]; then
		echo "$VM_ACCEL"
	elif [ ! -r /dev/kvm ] || [ ! -w /dev/kvm ]; then
		echo tcg
	elif grep -qs "^$now " "$cache"; then
		cut -d' ' -f2 "$cache"
	else
		say "trying KVM (at most 20 s)"
		if [ "$(boot kvm 20 'echo alive' || true)" = alive ]; then
			echo "$now kvm" >"$cache"
		else
			say "/dev/kvm is there but no guest came up in 20 s: using TCG"
			echo "$now tcg" >"$cache"
		fi
		cut -d' ' -f2 "$cache"
	fi
}

[ $# -eq 2 ] || die "usage: vmtest/vm.sh KERNEL 'COMMAND'"
for tool in qemu-system-x86_64 busybox python3 depmod file flock; do
	command -v $tool >/dev/null ||
		die "$tool is missing: install the packages of vmtest/packages.txt"
done
mkdir -p "$out"
image=$("$here/fetch.sh" "$1")
virtme_setup
accel=$(probe_accel)
console=${VM_CONSOLE:-$out/console-$(basename "$1").log}
seconds=${VM_TIMEOUT:-600}

exec 8>"$out/vm.lock"
flock -w 3600 8 ||
	die "another guest of this checkout has been running for an hour ($out/vm.lock)"
status=0
[ "${VM_NICS:-}" != yes ] || nics_up
# In the background, because a trap does not run before a foreground command ends.
boot "$accel" "$seconds" "$2" 8>&- &
trap 'kill $! 2>/dev/null; exit 130' INT TERM
wait $! || status=$?
case $status in
0) ;;
124 | 137) say "kernel $1: timed out after $seconds s ($accel); console: $console" ;;
"$guest_died") say "kernel $1: the guest died early ($accel); console: $console" ;;
*) say "kernel $1: the command ended with status $status ($accel); console: $console" ;;
esac
exit $status
