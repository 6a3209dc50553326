#!/bin/bash
# lbctl import: the config that it makes of another load balancer's configuration is taken by
# lbd --check, and forwards.
. "$(dirname "$0")/lib.sh"

SEEDS=$ROOT/tests/fuzz/seeds/import

# The VIPs of the lab, as each dialect writes them.
ipvs_rules() { # WAY
	cat <<-RULES
		-A -t $VIP4:80 -s wrr
		-a -t $VIP4:80 -r 10.0.0.11:80 $1 -w 1
		-a -t $VIP4:80 -r 10.0.0.12:80 $1 -w 3
		-A -t [$VIP6]:80 -s rr
		-a -t [$VIP6]:80 -r [2001:db8:b::11]:80 $1 -w 1
		-a -t [$VIP6]:80 -r [2001:db8:b::12]:80 $1 -w 1
		-A -u $LAB_UDP4:5353 -s mh
		-a -u $LAB_UDP4:5353 -r 10.0.0.11:5353 $1 -w 1
		-a -u $LAB_UDP4:5353 -r 10.0.0.12:5353 $1 -w 1
	RULES
}

keepalived_conf() {
	cat <<-CONF
		vrrp_instance VI_1 {
		    interface eth0
		    virtual_router_id 9
		}
		virtual_server_group WEB {
		    $VIP4 80
		}
		virtual_server group WEB {
		    delay_loop 1
		    lb_algo wlc
		    lb_kind TUN
		    protocol TCP
		    sorry_server 10.0.0.13 80
		    real_server 10.0.0.11 80 {
		        HTTP_GET {
		            url {
		                path /healthz
		                status_code 200
		            }
		            connect_timeout 0.7
		            retry 1
		        }
		    }
		    real_server 10.0.0.12 80 {
		        HTTP_GET {
		            url {
		                path /healthz
		                status_code 200
		            }
		            connect_timeout 0.7
		            retry 1
		        }
		    }
		}
	CONF
}

haproxy_cfg() {
	cat <<-CFG
		defaults
		    mode tcp
		    timeout connect 300
		    timeout check 400
		    default-server check inter 1s fall 2
		listen web
		    bind $VIP4:80
		    balance roundrobin
		    option httpchk GET /healthz
		    http-check send hdr X-Probe lbd
		    http-check expect status 500,200-204
		    server b1 10.0.0.11:80
		    server b2 10.0.0.12:80
		    server b3 10.0.0.13:80 backup
	CFG
}

# Imports FILE, and puts the result into force.
import() { # STATUS DIALECT FILE [OPTION]...
	local status
	"$BUILD/lbctl" import "$2" "${@:4}" "$3" >"$WORK/imported.yaml" 2>"$WORK/left"
	status=$?
	sed 's/^/# left: /' "$WORK/left"
	expect "exit status" $status = "$1"
	"$BUILD/lbd" --check "$WORK/imported.yaml" >"$WORK/checked" 2>&1 || {
		cat "$WORK/checked" "$WORK/imported.yaml"
		return 1
	}
	{
		lab_config_head | grep -v '^interfaces:'
		cat "$WORK/imported.yaml"
	} >"$WORK/lbd.yaml"
	[ ! -S "$WORK/lbd.sock" ] || stop_lbd TERM || return 1
	# Each config begins with an empty flow table: a client's port that is used again would go where
	# its flow of the test before was, which may be a backup.
	in_ns lb ip link set dev eth0 xdp off
	rm -rf "/sys/fs/bpf/${LAB:?}"
	lab_lbd_start || return 1
	expect "attached" "$(lbctl status --json | json '.interfaces[0].name')" = eth0
}

# The data plane has them a moment after lbd knows that they are up, and backups serve until then.
all_serve() { # COUNT
	lab_wait_for 15 "the backends" backends_up "$1" &&
		lab_wait_for 15 "the backups to give way" backups_have_no_slots
}
backups_have_no_slots() {
	[ "$(lbctl backends --json | json '[.backends[] | select(.backup) | .slots] | add // 0')" = 0 ]
}

answers() { # VIP BACKEND...: these answer, and no others
	local report
	report=$(traffic load-http "$1" 80 rate 300 seconds 2)
	shift
	none_failed "failed requests" "$report"
	expect "backends" "$(field "$report" '.by | keys | join(" ")')" = "$*"
}

test_every_configuration_of_the_seeds_is_taken_by_check() {
	local file dialect status=0
	for file in "$SEEDS"/*; do
		dialect=$(basename "$file")
		"$BUILD/lbctl" import "${dialect%%-*}" "$file" >"$WORK/seed.yaml" 2>"$WORK/left"
		"$BUILD/lbd" --check "$WORK/seed.yaml" >"$WORK/checked" 2>&1 || {
			echo "# $file"
			cat "$WORK/checked" "$WORK/seed.yaml"
			status=1
		}
	done
	return $status
}

test_rules_of_ipvs_with_direct_routing_forward() {
	local report
	ipvs_rules -g >"$WORK/rules"
	import 0 ipvs "$WORK/rules" --iface eth0 || return 1
	all_serve 6 || return 1
	expect "forward" "$(grep -c 'forward: l2' "$WORK/imported.yaml")" = 3
	report=$(traffic load-http $VIP4 80 rate 300 seconds 2)
	none_failed "failed" "$report"
	echo "# $report"
	# One in four, exactly: weighted round robin.
	expect "b1's share" "$(field "$report" '(.by.b1 * 4 - .sent) | fabs <= 8')" = true
	answers $VIP6 b1 b2
}

test_rules_of_ipvs_with_tunnels_forward_udp_too() {
	ipvs_rules -i >"$WORK/rules"
	import 0 ipvs "$WORK/rules" --iface eth0 || return 1
	all_serve 6 || return 1
	answers $VIP4 b1 b2
	answers $VIP6 b1 b2
	# The hash of mh is that of the client's address alone: one backend.
	expect "backends of one client" \
		"$(field "$(traffic load-udp $LAB_UDP4 5353 rate 200 seconds 2)" '.by | length')" = 1
}

# Another port than the VIP's, and replies that come back through lb.
masquerading_rules() {
	echo "-A -t $VIP4:7001 -s rr"
	echo "-a -t $VIP4:7001 -r 10.0.0.11:7000 -m -w 1"
	echo "-a -t $VIP4:7001 -r 10.0.0.12:7000 -m -w 1"
}
gateway_is() { # ADDRESS
	local i
	for i in 1 2; do ip -n "$(ns "b$i")" route replace default via "$1" || return 1; done
}
test_rules_of_ipvs_with_masquerading_forward_to_other_ports() {
	local report
	masquerading_rules >"$WORK/rules"
	import 0 ipvs "$WORK/rules" --iface eth0 || return 1
	contains "$(cat "$WORK/left")" "the way of 10.0.0.11 and 1 more to clients must lead through"
	lab_forwarding_on lb
	gateway_is 10.0.0.2
	all_serve 2 || return 1
	report=$(traffic load-tcp $VIP4 7001 rate 100 seconds 2)
	none_failed "failed requests" "$report"
	expect "backends" "$(field "$report" '.by | keys | join(" ")')" = "b1 b2"
	gateway_is 10.0.0.1
}

test_virtual_servers_of_keepalived_forward_and_fail_over_to_the_sorry_server() {
	keepalived_conf >"$WORK/keepalived.conf"
	import 1 keepalived "$WORK/keepalived.conf" || return 1
	contains "$(cat "$WORK/left")" "vrrp_instance VI_1"
	expect "settings left" "$(grep -c ': not carried over: ' "$WORK/left")" = 1
	all_serve 3 || return 1
	answers $VIP4 b1 b2
	lab_kill nginx-b1 KILL
	lab_kill nginx-b2 KILL
	lab_wait_for 20 "the backends to be down" condition_is "$VIP4:80/tcp" 10.0.0.12 down &&
		lab_wait_for 20 "the sorry server's turn" sorry_answers
	lab_nginx_start 1 && lab_nginx_start 2
}
sorry_answers() {
	[ "$(field "$(traffic load-http $VIP4 80 rate 50 seconds 1)" '.by | keys | join(" ")')" = b3 ]
}

test_proxies_of_haproxy_forward() {
	haproxy_cfg >"$WORK/haproxy.cfg"
	import 0 haproxy "$WORK/haproxy.cfg" --iface eth0 || return 1
	all_serve 3 || return 1
	answers $VIP4 b1 b2
	expect "name" "$(lbctl services --json | json '.services[0].name')" = web
}

set_up_or_end lab_with_servers 3
run_tests "$@"
