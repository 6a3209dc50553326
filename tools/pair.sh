#!/bin/bash
# The lab of lab.sh with a second balancer, lb2 (10.0.0.3, 2001:db8:b::3), and what moves traffic
# between the two: BIRD or FRR on both and on the router, or keepalived on both, with the
# configurations of dist/announce. NODE is lb or lb2. Start with lab_up, pair_up, pair_config and
# pair_lbd_start.
# A third balancer, lb3 (10.0.0.4, 2001:db8:b::4): pair_node_up lb3 4, with PAIR_THIRD=yes for BIRD.
# shellcheck disable=SC2154

pair_up() {
	pair_node_up lb2 3
	ip -n "$(ns router)" route del 192.0.2.0/24
	ip -n "$(ns router)" -6 route del 2001:db8:5::/64
	in_ns router sysctl -qw net.ipv4.fib_multipath_hash_policy=1 \
		net.ipv6.fib_multipath_hash_policy=1
}
# A balancer beside lb: 10.0.0.LAST, 2001:db8:b::LAST.
pair_node_up() { # NODE LAST
	lab_host "$1"
	lab_cable "$1" "10.0.0.$2/24" "2001:db8:b::$2/64" 1600
	lab_join_inside "$1"
	lab_takes_xdp_frames "to-$1"
	mkdir -p "$WORK/$1"
}

# lb has its files where lab.sh has them.
pair_dir() { if [ "$1" = lb ]; then echo "$WORK"; else echo "$WORK/$1"; fi; } # NODE

pair_other() { if [ "$1" = lb ]; then echo lb2; else echo lb; fi; } # NODE

pair_ctl() { # NODE WORD...
	local node=$1
	shift
	in_ns "$node" "$BUILD/lbctl" --socket "$(pair_dir "$node")/lbd.sock" "$@"
}
lb2ctl() { pair_ctl lb2 "$@"; }

# The config of a node: its own head, and the services from stdin. The caller may set PAIR_TABLE.
pair_config() { # NODE
	local dir
	dir=$(pair_dir "$1")
	{
		lab_config_head | if [ "$1" = lb ]; then cat; else
			sed "s#^pin:.*#pin: /sys/fs/bpf/$LAB/$1#; s#: $WORK/#: $dir/#"
		fi
		echo "announce: { file: $dir/vrrp${PAIR_TABLE:+, table: $PAIR_TABLE} }"
		cat
	} >"$dir/lbd.yaml"
}

pair_lbd_start() { # NODE
	local name=lbd
	[ "$1" = lb ] || name=lbd-$1
	lab_spawn "$name" in_ns "$1" "${LBD:-$BUILD/lbd}" -c "$(pair_dir "$1")/lbd.yaml"
	lab_wait_for 10 "lbd on $1 to start" lab_started pair_ctl "$1"
}

pair_node() { pair_ctl "$1" status --json | json ".node.$2"; } # NODE FIELD
pair_state_is() { [ "$(pair_node "$1" state)" = "$2" ]; }      # NODE STATE
pair_backends_up() { # NODE COUNT
	[ "$(pair_ctl "$1" status --json | json .backends_up)" = "$2" ]
}
pair_forwarded() { # NODE
	pair_ctl "$1" stats --json |
		json '[.reasons[] | select(.name | startswith("forwarded")) | .packets] | add'
}

# ---- BIRD ----

# dist/announce/bird.conf for the node, router-bird.conf for the router.
pair_bird_start() { # NODE | router
	local file=bird edit=''
	case $1 in
	router)
		file=router-bird
		[ -z "${PAIR_THIRD:-}" ] || edit='/^protocol bgp lb2/{p; s/lb2/lb3/; s/3 as/4 as/}'
		;;
	lb2) edit='s/id 10\.0\.0\.2;/id 10.0.0.3;/' ;;
	lb3) edit='s/id 10\.0\.0\.2;/id 10.0.0.4;/' ;;
	esac
	edit+="${edit:+; }s/ 50 ms/ ${PAIR_BFD_MS:-50} ms/g"
	sed "s#^log .*#log \"$WORK/bird-$1.trace\" all;#; $edit" \
		"$ROOT/dist/announce/$file.conf" >"$WORK/bird-$1.conf"
	lab_spawn "bird-$1" in_ns "$1" bird -f -c "$WORK/bird-$1.conf" -s "$WORK/bird-$1.ctl" \
		-P "$WORK/bird-$1.lock"
}

# ---- FRR ----

# dist/announce/frr.conf for the node, router-frr.conf for the router.
pair_frr_start() { # NODE | router
	local file=frr dir=$WORK/frr-$1 bfd=${PAIR_BFD_MS:-50} daemon
	[ "$1" != router ] || file=router-frr
	mkdir -p "$dir" && : >"$dir/zebra.conf" && : >"$dir/bfdd.conf"
	sed "s#^log syslog#log file $dir/trace#; s/ bfd 3 50 50/ bfd 3 $bfd $bfd/" \
		"$ROOT/dist/announce/$file.conf" >"$dir/bgpd.conf"
	chmod a+x "$WORK" && chown -R frr:frr "$dir" # the daemons give up root
	for daemon in zebra bfdd bgpd; do
		lab_spawn "$daemon-$1" in_ns "$1" /usr/lib/frr/$daemon \
			-f "$dir/$daemon.conf" -i "$dir/$daemon.pid" -z "$dir/zserv" \
			--vty_socket "$dir"
		[ $daemon != zebra ] || lab_wait_for 10 "zebra" test -S "$dir/zserv" || return 1
	done
}

# ---- the router's view ----

# The number of next hops that the router has for an address.
pair_paths() { # VIP
	local family=-4
	[[ $1 != *:* ]] || family=-6
	ip -n "$(ns router)" $family route show "$1" | grep -c 'via '
}
pair_paths_are() { # COUNT VIP...
	local count=$1 vip
	shift
	for vip in "$@"; do [ "$(pair_paths "$vip")" = "$count" ] || return 1; done
}
# The only IPv4 next hop of the VIP is this address.
pair_goes_to() { # VIP ADDRESS
	[ "$(pair_paths "$1")" = 1 ] &&
		ip -n "$(ns router)" route show "$1" | grep -qF "via $2 "
}

# ---- keepalived ----

# dist/announce/keepalived.conf; the router has the VIPs on its own network.
pair_keepalived_start() { # NODE
	local edit='' dir
	dir=$(pair_dir "$1")
	[ "$1" = lb ] || edit='s/src_ip .*/src_ip 10.0.0.3/; s/^\(\t\t\)10\.0\.0\.3/\110.0.0.2/'
	sed "s#/run/lbd/vrrp#$dir/vrrp#; s/router_id lb1/router_id $1/; $edit;
		s/advert_int .*/advert_int ${PAIR_VRRP_S:-0.2}/" \
		"$ROOT/dist/announce/keepalived.conf" >"$dir/keepalived.conf"
	lab_spawn "keepalived-$1" in_ns "$1" keepalived --dont-fork --log-console --vrrp \
		--use-file "$dir/keepalived.conf" --pid "$dir/keepalived.pid" \
		--vrrp_pid "$dir/vrrp.pid"
}
pair_vips_on_switch() {
	ip -n "$(ns router)" route add 192.0.2.0/24 dev br0
	ip -n "$(ns router)" -6 route add 2001:db8:5::/64 dev br0
}
pair_owns() { # NODE VIP
	[ -n "$(ip -n "$(ns "$1")" addr show dev eth0 to "$2")" ]
}

# The switch port of a node: without it the node is gone for all others, but keeps its carrier.
pair_cut() { bridge -n "$(ns router)" link set dev "to-$1" state 0; }  # NODE
pair_mend() { bridge -n "$(ns router)" link set dev "to-$1" state 3; } # NODE

# The node's HTTP checks get no answer: its own fault, as the other node shows.
pair_cut_checks() { # NODE
	in_ns "$1" nft -f - <<-RULES
		add table inet cut
		add chain inet cut out { type filter hook output priority 0; }
		add rule inet cut out tcp dport 80 drop
	RULES
}
pair_mend_checks() { in_ns "$1" nft delete table inet cut; } # NODE
