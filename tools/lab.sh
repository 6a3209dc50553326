#!/bin/bash
# The lab: a client, a router, a load balancer and backends, each a network namespace.
#
#   client --- router --- lb     client 198.51.100.2, 2001:db8:c::2; the router is .1 and ::1
#                |  \--- b1      inside 10.0.0.0/24, 2001:db8:b::/64: lb .2, backends .11 .12 ...
#                |   \-- b2      VIPs   192.0.2.0/24, 2001:db8:5::/64, routed to lb
#
# Start with lab_up, lab_backend_servers and lab_lbd_start; lab_down removes everything. LAB is the
# prefix of the namespaces' names (default lbdlab): a function's NAME is client, router, lb, b1 ...

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=${BUILD:-$ROOT/build}
LAB=${LAB:-lbdlab}
WORK=${WORK:-}
PATH=$PATH:/usr/sbin:/sbin
LAB_PIDS=()
LAB_EXEC= # "exec" in a background job's own shell, so that its pid is the program's
# The VIPs of the UDP services. A UDP server must answer from the address that was asked, so the
# backends' servers are bound to these.
LAB_UDP4=192.0.2.30
LAB_UDP6=2001:db8:5::30
# A fixed seed sends a flow to the same backend in each run. Empty: lbd makes its own seed.
LAB_SEED=${LAB_SEED-0x6c62645f73656564}

ns() { echo "$LAB-$1"; }

# Runs a command in a namespace. `ip netns exec` would hide the bpffs; nsenter keeps the mounts.
in_ns() {
	local name
	name=$(ns "$1")
	shift
	$LAB_EXEC nsenter --net="/run/netns/$name" "$@"
}

lab_need_root() {
	[ "$(id -u)" = 0 ] || {
		echo "this needs root: sudo $0" >&2
		exit 1
	}
	mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf || {
		echo "cannot mount bpffs on /sys/fs/bpf: expected CAP_SYS_ADMIN" >&2
		exit 1
	}
}

# A namespace with the sysctls that every host of the lab needs.
lab_host() { # NAME
	ip netns add "$(ns "$1")"
	in_ns "$1" ip link set lo up
	in_ns "$1" sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 \
		net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 2>/dev/null || true
}

# A cable between two hosts. Without checksum offload: tunnelled packets need real ones.
lab_link() { # HOST INTERFACE OTHER OTHER-INTERFACE [MTU]
	local mtu=${5:-1500}
	ip -n "$(ns "$1")" link add "$2" type veth peer name "$4" netns "$(ns "$3")" || return 1
	ip -n "$(ns "$1")" link set "$2" mtu "$mtu" up
	ip -n "$(ns "$3")" link set "$4" mtu "$mtu" up
	in_ns "$1" ethtool -K "$2" tx off gro off >/dev/null 2>&1
	in_ns "$3" ethtool -K "$4" tx off gro off >/dev/null 2>&1
}

# A cable from NAME's eth0 to the router.
lab_cable() { # NAME IPV4/LEN IPV6/LEN MTU
	local name=$1 v4=$2 v6=$3
	lab_link "$name" eth0 router "to-$name" "$4"
	ip -n "$(ns "$name")" addr add "$v4" dev eth0
	ip -n "$(ns "$name")" addr add "$v6" dev eth0 nodad
}

lab_up() { # BACKENDS [INSIDE_MTU]
	local count=$1 mtu=${2:-1600} i
	lab_down
	WORK=$(mktemp -d "/tmp/$LAB.XXXXXX")
	lab_host client
	lab_host router
	lab_host lb
	in_ns router sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
	# A MAC address of its own: otherwise a bridge takes one of a port, and changes it with the port,
	# and the backends lose their next hop until their ARP entries are over.
	ip -n "$(ns router)" link add br0 address 02:00:00:00:00:fe type bridge
	ip -n "$(ns router)" link set br0 mtu "$mtu" up
	ip -n "$(ns router)" addr add 10.0.0.1/24 dev br0
	ip -n "$(ns router)" addr add 2001:db8:b::1/64 dev br0 nodad
	lab_cable client 198.51.100.2/24 2001:db8:c::2/64 1500
	ip -n "$(ns router)" addr add 198.51.100.1/24 dev to-client
	ip -n "$(ns router)" addr add 2001:db8:c::1/64 dev to-client nodad
	in_ns client ip route add default via 198.51.100.1
	in_ns client ip -6 route add default via 2001:db8:c::1
	lab_cable lb 10.0.0.2/24 2001:db8:b::2/64 "$mtu"
	lab_join_inside lb
	lab_takes_xdp_frames to-lb
	for i in $(seq "$count"); do
		lab_host "b$i"
		lab_cable "b$i" "10.0.0.$((10 + i))/24" "2001:db8:b::$((10 + i))/64" "$mtu"
		lab_join_inside "b$i"
	done
	in_ns router ip route add 192.0.2.0/24 via 10.0.0.2
	in_ns router ip -6 route add 2001:db8:5::/64 via 2001:db8:b::2
}

# What docs/nat.md, "On the balancer", asks of one, for packets that lbd leaves to the kernel. IPv4.
lab_forwarding_on() { # NODE
	in_ns "$1" sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0 \
		net.ipv4.conf.eth0.send_redirects=0
}

# An XDP program on the far end of a veth pair lets it receive what XDP_TX sends: tools/pass.bpf.c.
lab_takes_xdp_frames() { # INTERFACE of the router
	bpftool prog load "$BUILD/pass.bpf.o" "/sys/fs/bpf/$LAB-pass" type xdp 2>/dev/null &&
		in_ns router bpftool net attach xdpdrv pinned "/sys/fs/bpf/$LAB-pass" dev "$1"
	rm -f "/sys/fs/bpf/$LAB-pass"
}

lab_join_inside() { # NAME
	in_ns router ip link set "to-$1" master br0
	in_ns "$1" ip route add default via 10.0.0.1 mtu 1500
	in_ns "$1" ip -6 route add default via 2001:db8:b::1 mtu 1500
}

# Makes b$1 a backend for the VIPs. Starts nginx, a TCP and a UDP server that answer with its name.
lab_backend_servers() { # N VIP...
	local i=$1 dir=$WORK/b$1
	shift
	mkdir -p "$dir"
	local args=()
	for vip in "$@"; do args+=(--vip "$vip"); done
	in_ns "b$i" "$BUILD/lbctl" backend-host setup --iface eth0 "${args[@]}" \
		>"$dir/setup.log" 2>&1 || {
		cat "$dir/setup.log" >&2
		return 1
	}
	lab_nginx_config "$dir" <<-CONF
		server {
		  listen 80 backlog=8192; listen [::]:80 backlog=8192;
		  location = /healthz { return 200 "ok\n"; }
		  location /files/ { alias $WORK/files/; }
		  location / { return 200 "b$i\n"; }
		}
	CONF
	lab_nginx_start "$i"
	lab_spawn "tcp-b$i" in_ns "b$i" "$BUILD/tests/e2e/traffic" serve-tcp :: 7000 name "b$i"
	lab_spawn "udp-b$i" in_ns "b$i" \
		"$BUILD/tests/e2e/traffic" serve-udp "$LAB_UDP4" 5353 name "b$i"
	lab_spawn "udp6-b$i" in_ns "b$i" \
		"$BUILD/tests/e2e/traffic" serve-udp "$LAB_UDP6" 5353 name "b$i"
}

# One process that writes only below DIR, and serves what stdin says.
lab_nginx_config() { # DIR
	local dir=$1
	mkdir -p "$dir/logs"
	{
		cat <<-CONF
			daemon off; pid $dir/nginx.pid; error_log $dir/error.log;
			worker_processes 1; master_process off;
			events { worker_connections 8192; }
			http {
			client_body_temp_path $dir/t1; proxy_temp_path $dir/t2; fastcgi_temp_path $dir/t3;
			uwsgi_temp_path $dir/t4; scgi_temp_path $dir/t5;
			access_log off; default_type text/plain; sendfile on;
		CONF
		cat
		echo "}"
	} >"$dir/nginx.conf"
}
lab_nginx_start() { lab_spawn "nginx-b$1" in_ns "b$1" nginx -c "$WORK/b$1/nginx.conf"; } # N

# For what a process in the background will write: it opens its files too late for whoever waits for what is in
# them, and would find what an earlier one of that name wrote.
lab_empty() { # FILE...
	local file
	for file in "$@"; do : >"$file"; done
}

# Starts a command in the background and remembers its process id under a name.
lab_spawn() { # NAME COMMAND...
	local name=$1
	shift
	lab_empty "$WORK/$name.log"
	(
		LAB_EXEC="exec"
		"$@"
	) >"$WORK/$name.log" 2>&1 </dev/null &
	echo $! >"$WORK/$name.pid"
	LAB_PIDS+=($!)
}

# Is it still a process of the lab? Where the kernel gives 32768 numbers, a few minutes of tests use them up, and that of a
# process that has ended is a stranger's.
lab_owns() { # PID
	[ "$(awk '$1 == "PPid:" { print $2 }' "/proc/$1/status" 2>/dev/null)" = $$ ] ||
		[[ $(ip netns identify "$1" 2>/dev/null) == "$LAB-"* ]]
}

lab_kill() { # NAME [SIGNAL]
	local pid
	pid=$(cat "$WORK/$1.pid" 2>/dev/null) || return 0
	lab_owns "$pid" && kill "-${2:-TERM}" "$pid" 2>/dev/null || return 0
	wait "$pid" 2>/dev/null || true
	rm -f "$WORK/$1.pid"
}

# How many times slower this machine is than real hardware (an emulated guest: 5). Limits are
# multiplied by it; tests/e2e/traffic.c divides its rates by it.
export LAB_SLOWDOWN=${LAB_SLOWDOWN:-1}

now_ms() { echo $(($(date +%s%N) / 1000000)); }

# LAB_POLL_S: from one look to the next, for what is measured (0.1).
lab_wait_for() { # SECONDS WHAT COMMAND...: until COMMAND succeeds
	local end=$((SECONDS + ($1 + ${LAB_GRACE:-0}) * LAB_SLOWDOWN)) what=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || {
			echo "timed out waiting for $what" >&2
			# shellcheck disable=SC2034
			FAILED=1 # a test, which need not look at the status
			return 1
		}
		sleep "${LAB_POLL_S:-0.1}"
	done
}

# A backend whose first check failed comes up after the others. For one idle timeout new UDP flows
# then go to the others too, as nothing tells them from old ones.
lab_udp_settled() {
	lbctl services --json |
		jq -e 'all(.services[] | select(.protocol == "udp"); .slots_in_transition == 0)'
}

# The daemon in lb, with its config at $WORK/lbd.yaml. Extra arguments go to lbd.
lab_lbd_start() {
	lab_spawn lbd in_ns lb "${LBD:-$BUILD/lbd}" -c "$WORK/lbd.yaml" "$@"
	lab_wait_for 10 "lbd to start" lab_started lbctl || {
		cat "$WORK/lbd.log" >&2
		return 1
	}
}
# It answers when it has adopted the maps; it has started when it may make changes.
lab_started() { # LBCTL-COMMAND...
	[ "$("$@" status --json | jq '.starting | not')" = true ]
}

lbctl() { in_ns lb "$BUILD/lbctl" --socket "$WORK/lbd.sock" "$@"; }
traffic() { in_ns client "$BUILD/tests/e2e/traffic" "$@"; }

# Reads JSON. Prints the value of the filter: a string bare, anything else as compact JSON.
# No value, null or an empty string is an error.
json() { # FILTER [JQ-OPTION | FILE]... <JSON
	local filter=$1 value
	shift
	value=$(jq -cr "($filter) | if . == null then error(\"null\") else . end" "$@") &&
		[ -n "$value" ] && printf '%s\n' "$value" && return
	echo "json: no value: $filter" >&2
	return 1
}

# The head of a config file: the interface, and where this lab's lbd keeps its files.
lab_config_head() {
	cat <<-CONF
		interfaces: [eth0]
		pin: /sys/fs/bpf/$LAB
		socket: $WORK/lbd.sock
		state: $WORK/state
		group: root
		metrics: 127.0.0.1:9469
	CONF
	[ -z "$LAB_SEED" ] || echo "hash-seed: $LAB_SEED"
}

lab_namespaces() { # PATTERN
	ip netns list 2>/dev/null | awk -v pattern="$1" '$1 ~ pattern { print $1 }'
}

lab_down() {
	local name pid
	for pid in "${LAB_PIDS[@]}"; do
		# One that is stopped would be waited for for ever. CONT comes first: the leak sanitizer stops a process that
		# ends, and would wait for ever for one that was continued.
		lab_owns "$pid" && kill -CONT "$pid" 2>/dev/null && kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
	done
	LAB_PIDS=()
	for name in $(lab_namespaces "^$LAB-b[0-9]"); do
		nsenter --net="/run/netns/$name" \
			"$BUILD/lbctl" backend-host undo --iface eth0 >/dev/null 2>&1
	done
	for name in $(lab_namespaces "^$LAB-"); do
		for pid in $(ip netns pids "$name" 2>/dev/null); do kill -9 "$pid" 2>/dev/null; done
		ip netns del "$name"
	done
	rm -rf "/sys/fs/bpf/${LAB:?}" "/sys/fs/bpf/${LAB:?}-"*
	[ -z "$WORK" ] || ! declare -F lab_ended >/dev/null || lab_ended
	[ -z "$WORK" ] || awk -v below="$WORK/" 'index($2, below) == 1 { print $2 }' /proc/mounts | xargs -r umount -l
	[ -z "$WORK" ] || rm -rf "$WORK"
	WORK=
	return 0
}
