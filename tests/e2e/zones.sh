#!/bin/bash
# Zones and priorities on real traffic: b1 and b2 are in zone a, as the node, b3 and b4 in zone b;
# b5 has priority 1, b6 is a backup. What is counted is flows, never time.
. "$(dirname "$0")/lib.sh"

FLOWS=1000
# Five times the standard deviation of so many draws at 0.5, the greatest there is.
BOUND=80

zone_services() {
	local health="{ type: http, port: 80, path: /healthz, $CHECK_TIMES }"
	echo "zone: a"
	echo "services:"
	zone_service web4 $VIP4 80 4 maglev
	zone_service tcp4 $VIP4 7000 4 round-robin
	zone_service tcp6 $VIP6 7000 6 least-conn
}
# HEALTH of zone_services
zone_service() { # NAME VIP PORT FAMILY ALGORITHM
	cat <<-CONF
		  - name: $1
		    vip: $2
		    protocol: tcp
		    port: $3
		    algorithm: $5
		    health: $health
		    backends:
		      - { address: "$(backend_address 1 "$4")", zone: a }
		      - { address: "$(backend_address 2 "$4")", zone: a }
		      - { address: "$(backend_address 3 "$4")", zone: b }
		      - { address: "$(backend_address 4 "$4")", zone: b }
		      - { address: "$(backend_address 5 "$4")", zone: a, priority: 1 }
		      - { address: "$(backend_address 6 "$4")", zone: a, backup: true }
	CONF
}

kill_servers() { # N...
	local n
	for n in "$@"; do lab_kill "nginx-b$n" KILL; done
	for n in "$@"; do
		lab_wait_for 20 "b$n to be down" is_down "$n" || return 1
	done
}
is_down() { # N
	condition_is web4 "$(backend_address "$1" 4)" down &&
		condition_is tcp4 "$(backend_address "$1" 4)" down &&
		condition_is tcp6 "$(backend_address "$1" 6)" down
}
start_servers() { # N...
	local n
	for n in "$@"; do lab_nginx_start "$n"; done
	lab_wait_for 20 "all to be up" backends_up 18
}

# Sends new flows by round robin and by the ring, and checks how many each backend got.
expect_percents() { # PERCENT-OF-b1 ... PERCENT-OF-b6
	local web tcp n=0 percent
	new_ports $FLOWS || return 1
	# shellcheck disable=SC2086
	web=$(traffic load-http $VIP4 80 requests $FLOWS rate 800 $PORTS)
	# shellcheck disable=SC2086
	tcp=$(traffic load-tcp $VIP4 7000 requests $FLOWS rate 800 $PORTS)
	none_failed "failures of web4" "$web"
	none_failed "failures of tcp4" "$tcp"
	for percent; do
		n=$((n + 1))
		expect_about "web4: b$n" "$(answered_by "$web" "b$n")" $((percent * FLOWS / 100)) $BOUND
		# no draws here: turns
		expect_about "tcp4: b$n" "$(answered_by "$tcp" "b$n")" $((percent * FLOWS / 100)) 8
	done
}
expect_about() { # WHAT ACTUAL EXPECTED BOUND
	if [ "$3" = 0 ]; then
		expect "$1" "$2" = 0
	else
		expect "$1" "$2" -ge $(($3 - $4)) && expect "$1" "$2" -le $(($3 + $4))
	fi
}

test_flows_stay_in_the_zone_of_the_node() {
	expect_percents 50 50 0 0 0 0
	expect "zone" "$(lbctl status --json | json .zone)" = a
	expect "share of the zone" "$(level web4 0 '.share == 1')" = true
	expect "spill" "$(service_metric lbd_service_spill_ratio web4)" = 0
	contains "$(lbctl backends web4)" "10.0.0.13 (zone b)"
	contains "$(lbctl backends web4)" "10.0.0.15 (zone a, priority 1)"
	contains "$(metrics)" 'backend="10.0.0.13",zone="b"} 1'
}
level() { lbctl services --json | json ".services[] | select(.name == \"$1\") | .levels[$2]$3"; } # SERVICE N FILTER

# 1.4 times the half that is left: 70 %. Connections of the living stay where they are.
test_a_zone_that_is_half_dead_spills_in_proportion_and_moves_no_connection() {
	hold_open open 7000 60 interval 0.1 timeout 30 || return 1
	kill_servers 1 || return 1
	expect_percents 0 70 15 15 0 0
	contains "$(lbctl services)" "30.0% of new flows go to other zones or later priorities"
	expect "spill" "$(service_metric lbd_service_spill_ratio web4)" = 0.3
	start_servers 1 || return 1
	expect_percents 50 50 0 0 0 0
	load_end open
	expect "connections that moved" "$(report_field open .moved)" = 0
	expect "connections to b2 that broke" "$(grep -c 'connection to b2 broke' "$WORK/open.err")" = 0
}

# Held connections, as least-conn counts them: 70 of 100 to what is left of the zone.
test_least_conn_keeps_active_flows_in_proportion() {
	local result
	kill_servers 1 || return 1
	new_ports 400 || return 1
	# shellcheck disable=SC2086
	result=$(traffic load-tcp $VIP6 7000 requests 400 rate 400 every 1 linger 3 $PORTS)
	none_failed failures "$result"
	expect_about b2 "$(answered_by "$result" b2)" 280 30
	expect_about b3 "$(answered_by "$result" b3)" 60 20
	expect_about b4 "$(answered_by "$result" b4)" 60 20
	start_servers 1
}

test_without_its_zone_the_others_take_all_then_priorities_then_backups() {
	kill_servers 1 2 || return 1
	expect_percents 0 0 50 50 0 0
	kill_servers 3 || return 1
	expect_percents 0 0 0 70 30 0
	kill_servers 4 || return 1
	expect_percents 0 0 0 0 100 0
	kill_servers 5 || return 1
	expect_percents 0 0 0 0 0 100
	expect "status" "$(service_field web4 status)" = backup
	start_servers 1 2 3 4 5 || return 1
	expect_percents 50 50 0 0 0 0
}

test_a_drain_of_half_the_zone_spills_too() {
	local service
	for service in web4 tcp4; do
		lbctl drain $service 10.0.0.12 >/dev/null || return 1
	done
	expect_percents 70 0 15 15 0 0
	end_drains
	expect_percents 50 50 0 0 0 0
}

# Nor do all new flows go to b2 until the first checks of the lbd that took over have ended: those of
# b1, which drops all packets, take three seconds.
test_what_was_down_before_a_takeover_is_still_missed() {
	local share
	in_ns b1 nft -f - <<-RULES || return 1
		table inet dead { chain in { type filter hook input priority 0; tcp dport 80 drop; }; }
	RULES
	cp "$WORK/lbd.yaml" "$WORK/quick.yaml"
	lab_wait_for 20 "b1 to be down" condition_is web4 10.0.0.11 down || return 1
	sed -i 's/interval: 500ms, timeout: 450ms/interval: 4s, timeout: 3s/' "$WORK/lbd.yaml"
	for _ in 1 2 3; do # one that a busy machine starts late has no checks under way any more
		stop_lbd KILL
		lab_lbd_start || return 1
		share=$(level web4 0 .share)
		condition_is web4 10.0.0.11 checking && break
	done
	expect "b1" "$(backend_field web4 10.0.0.11 condition)" = checking
	expect "share of the zone" "$share" = 0.7
	in_ns b1 nft delete table inet dead
	cp "$WORK/quick.yaml" "$WORK/lbd.yaml"
	lbctl reload >/dev/null && lab_wait_for 20 "all to be up" backends_up 18
}

# The same config on a node of another zone: its ring is as large, and sends elsewhere.
test_the_zone_of_the_command_line_comes_first() {
	local size digest
	size=$(service_field web4 slots) digest=$(service_field web4 ring_digest)
	stop_lbd TERM
	lab_lbd_start --zone b || return 1
	expect "zone" "$(lbctl status --json | json .zone)" = b
	expect_percents 0 0 50 50 0 0
	expect "slots" "$(service_field web4 slots)" = "$size"
	expect "digest" "$(service_field web4 ring_digest)" != "$digest"
	lbctl reload >/dev/null || return 1
	expect "zone after a reload" "$(lbctl status --json | json .zone)" = b
	stop_lbd TERM
	lab_lbd_start || return 1
	expect_percents 50 50 0 0 0 0
	expect "digest" "$(service_field web4 ring_digest)" = "$digest"
}

test_a_server_registers_with_its_zone_and_may_change_it() {
	local say=(-s --unix-socket "$WORK/lbd.sock" -X PUT http://lbd/v1/services/tcp4/backends/10.0.0.13)
	grep -v '"10.0.0.13"' "$WORK/lbd.yaml" >"$WORK/fewer.yaml"
	cp "$WORK/lbd.yaml" "$WORK/whole.yaml"
	cp "$WORK/fewer.yaml" "$WORK/lbd.yaml"
	lbctl reload >/dev/null || return 1
	contains "$(in_ns lb curl "${say[@]}" -d '{"zone":"a","ttl":600,"priority":8}')" \
		"priority: expected an integer 0 to 7, got 8"
	in_ns lb curl "${say[@]}" -d '{"zone":"a","ttl":600}' >/dev/null
	lab_wait_for 10 "10.0.0.13 to be up" condition_is tcp4 10.0.0.13 up || return 1
	expect "shared by" "$(backend_field tcp4 10.0.0.13 effective_weight)" = 100
	in_ns lb curl "${say[@]}" -d '{"zone":"b","ttl":600}' >/dev/null
	expect "weight in zone b" "$(backend_field tcp4 10.0.0.13 effective_weight)" = 0
	stop_lbd KILL
	lab_lbd_start || return 1
	expect "zone after a restart" "$(backend_field tcp4 10.0.0.13 zone)" = b
	contains "$(lbctl backends tcp4)" "10.0.0.13 (zone b)"
	lbctl backend remove tcp4 10.0.0.13 --now >/dev/null
	cp "$WORK/whole.yaml" "$WORK/lbd.yaml"
	lbctl reload >/dev/null && lab_wait_for 10 "all to be up" backends_up 18
}

test_what_is_added_by_hand_has_all_that_the_file_can_say() {
	local said
	said=$(lbctl backend add web4 10.0.0.99 --zone b --priority 2 --health-port 81 \
		--health-address 10.0.0.11 --label rack=7) || return 1
	contains "$said" "it takes flows when too few backends of the priorities before it are up"
	contains "$(lbctl backend add web4 10.0.0.98 --priority 9 2>&1)" \
		"--priority 9: expected a whole number from 0 to 7"
	contains "$(lbctl backend add web4 10.0.0.98 --zone 'a b' 2>&1)" "zone: a b: expected 1 to 63"
	contains "$(lbctl backend add web4 10.0.0.98 --backup --priority 1 2>&1)" \
		"has no meaning for a backup"
	expect "checked at" "$(backend_field web4 10.0.0.99 health)" = '{"port":81,"address":"10.0.0.11"}'
	contains "$(lbctl save --json | json .text)" \
		'{ address: 10.0.0.99, weight: 100, zone: "b", priority: 2, health: { port: 81, address: 10.0.0.11 }, labels: { rack: "7" } }'
	lbctl backend remove web4 10.0.0.99 --now >/dev/null
	lbctl service add more $VIP4:81/tcp --backend 10.0.0.11,zone=a --backend 10.0.0.13,zone=b \
		--backend 10.0.0.14,priority=1 --set health.type=none >/dev/null || return 1
	expect "zones of a new service" "$(lbctl backends more --json |
		json '[.backends[] | [.zone, .priority]]')" = '[["a",0],["b",0],[null,1]]'
	expect "levels of a new service" "$(lbctl services --json |
		jq -c '.services[] | select(.name == "more") | [.levels[].share == 1]')" = '[true,false,false]'
	lbctl service remove more --force >/dev/null
}

set_up() {
	lab_with_servers 6 && lab_lbd_with 18 zone_services
}

set_up_or_end set_up
run_tests "$@"
