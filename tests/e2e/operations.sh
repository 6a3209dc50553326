#!/bin/bash
# What operators do and rely on, on real traffic: weights at run time, slow start, drains, backups, panic.
. "$(dirname "$0")/lib.sh"

COUNT=4

# Reloads with these keys in each service. All four services have the same backends and checks.
use() { # KEY...
	local keys
	keys=$(printf '%s\n' "$@" "idle-timeout: { tcp: 3s, udp: 3s }")
	{
		lab_config_head
		echo "services:"
		config_service tcp4 $VIP4 tcp 7000 4 $COUNT "$keys"
		config_service tcp6 $VIP6 tcp 7000 6 $COUNT "$keys"
		config_service udp4 "$LAB_UDP4" udp 5353 4 $COUNT "$keys"
		config_service udp6 "$LAB_UDP6" udp 5353 6 $COUNT "$keys"
	} >"$WORK/lbd.yaml"
	lbctl reload
}
# A UDP service that begins to remember every flow learns for an idle time which there are (docs/tracking.md).
settled() {
	lab_wait_for 20 "slots to settle" nothing_in_transition
}
all_up() { lab_wait_for 10 "all backends to be up" backends_up $((4 * COUNT)); }
start_nginx() { lab_spawn "nginx-b$1" in_ns "b$1" nginx -c "$WORK/b$1/nginx.conf"; }
service_is() { # STATUS: all four services have it
	[ "$(lbctl services --json | json '"+".join({s["status"] for s in d["services"]})')" = "$1" ]
}
metric() { # NAME SERVICE
	in_ns lb curl -s http://127.0.0.1:9469/metrics | awk -v name="$1" -v service="\"$2\"" 'index($1, name "{") == 1 && index($0, service) {print int($2)}'
}
backend() { # SERVICE N FIELD
	lbctl backends "$1" --json | json "[b['$3'] for b in d['backends'] if b['address'] == '$(backend_address "$2" "${1: -1}")'][0]"
}

NEXT_PORT=10000
# New flows to a service, one after the other, as JSON.
ask() { # SERVICE COUNT
	case $1 in
	tcp4) traffic ask-tcp $VIP4 7000 requests "$2" ;;
	tcp6) traffic ask-tcp $VIP6 7000 requests "$2" ;;
	udp4) traffic ask-udp "$LAB_UDP4" 5353 requests "$2" from-port $NEXT_PORT ;;
	udp6) traffic ask-udp "$LAB_UDP6" 5353 requests "$2" from-port $NEXT_PORT ;;
	esac
}
# Expects that none of the new flows fails, and EXPRESSION of them (d).
flows() { # SERVICE COUNT WHAT EXPRESSION
	local result
	result=$(ask "$1" "$2")
	NEXT_PORT=$((NEXT_PORT + $2)) # a UDP port used again within the idle time is no new flow
	expect "$1: failures" "$(field "$result" 'd["failed"]')" = 0
	expect "$1: $3: $(field "$result" 'd["by"]')" "$(field "$result" "$4")" = True
}
SERVICES="tcp4 tcp6 udp4 udp6"

# ---- weights ----

test_weights_at_run_time_hold_for_new_flows_at_once() {
	local service
	use "algorithm: weighted-round-robin" && all_up || return 1
	for service in $SERVICES; do
		lbctl backend weight $service "$(backend_address 1 ${service: -1})" 300 >/dev/null || return 1
		flows $service 120 "b1 has three of six shares" 'd["by"] == {"b1": 60, "b2": 20, "b3": 20, "b4": 20}'
		lbctl backend weight $service "$(backend_address 1 ${service: -1})" 0 >/dev/null || return 1
		flows $service 60 "b1 has none" 'd["by"] == {"b2": 20, "b3": 20, "b4": 20}'
	done
}

test_weights_at_run_time_shape_maglev_too() {
	use "algorithm: maglev" && all_up || return 1
	lbctl backend weight tcp4 10.0.0.11 300 >/dev/null || return 1
	# half of a thousand, with a standard deviation of 16
	flows tcp4 1000 "b1 has half" '420 < d["by"]["b1"] < 580'
	lbctl backend weight tcp4 10.0.0.11 0 >/dev/null || return 1
	flows tcp4 200 "b1 has none" '"b1" not in d["by"]'
}

# ---- slow start ----

# Dead, noticed, back, noticed: then its share grows from a twentieth to all, whatever the algorithm.
test_slow_start_lets_the_share_of_a_returned_backend_grow() {
	use "algorithm: round-robin" "slow-start: $((16 * LAB_SLOWDOWN))s" && all_up || return 1
	lab_wait_for 20 "no other to start slowly" none_starts || return 1 # b1 had weight 0 before
	lab_kill nginx-b2 KILL
	lab_wait_for 5 "b2 to be down" backends_up $((4 * (COUNT - 1))) || return 1
	start_nginx 2
	lab_wait_for 5 "b2 to start" starting tcp4 2 || return 1
	expect "weight at first" "$(backend tcp4 2 effective_weight)" -lt 50
	share_of_b2_is_its_weight
	expect "condition" "$(backend tcp4 2 condition)" = starting
	lab_wait_for 16 "half of its weight" heavier 50 || return 1
	share_of_b2_is_its_weight
	lab_wait_for 16 "its full weight" heavier 100 || return 1
	share_of_b2_is_its_weight
	flows tcp4 400 "b2 has its share" '99 <= d["by"]["b2"] <= 101'
	expect "condition" "$(backend tcp4 2 condition)" = up
}
none_starts() { [ "$(lbctl backends tcp4 --json | json 'all(b["effective_weight"] == 100 for b in d["backends"])')" = True ]; }
starting() { [ "$(backend "$1" "$2" condition)" = starting ]; }
heavier() { [ "$(backend tcp4 2 effective_weight)" -ge "$1" ]; }
# Its weight grows meanwhile: of 400 flows it gets no fewer than by its weight before, and no more than by that afterwards.
share_of_b2_is_its_weight() {
	local before after result
	before=$(backend tcp4 2 effective_weight)
	result=$(traffic load-tcp $VIP4 7000 requests 400 rate 2000)
	after=$(backend tcp4 2 effective_weight)
	echo "# b2 of weight $before to $after: $(field "$result" 'd["by"]')"
	expect "failures" "$(field "$result" 'd["failed"]')" = 0
	expect "b2's flows are of its weight, $before to $after" \
		"$(field "$result" "400 * $before / (300 + $before) - 4 <= d['by'].get('b2', 0) <= 400 * $after / (300 + $after) + 4")" = True
}

# ---- drain ----

hold() { # SERVICE COUNT: in the background, its process in $HELD
	local long=3600
	case $1 in
	tcp4) traffic hold $VIP4 7000 connections "$2" interval 0.5 seconds $long ;;
	tcp6) traffic hold $VIP6 7000 connections "$2" interval 0.5 seconds $long ;;
	udp4) traffic hold-udp "$LAB_UDP4" 5353 connections "$2" interval 0.5 seconds $long from-port 50000 ;;
	udp6) traffic hold-udp "$LAB_UDP6" 5353 connections "$2" interval 0.5 seconds $long from-port 50000 ;;
	esac >"$WORK/held-$1.json" 2>"$WORK/held-$1.err"
}
let_go() { # SERVICE
	kill "$(cat "$WORK/held-$1.pid")"
}

# Each service drains b2 while flows are held there, until they end. UDP has no SYN: with maglev a new flow looks like an
# older one for an idle time after a change, and may still go to b2 (docs/tracking.md, learning).
drains_until_the_last_flow_is_gone() { # ALGORITHM
	local service address status
	use "algorithm: $1" && all_up || return 1
	for service in $SERVICES; do
		(LAB_EXEC="exec" hold $service 24) &
		echo $! >"$WORK/held-$service.pid"
	done
	lab_wait_for 5 "flows to be held" held_by_all 24 || return 1
	lbctl drain tcp4 10.0.0.12 --timeout 2s >"$WORK/drain.out" 2>&1
	status=$?
	sed 's/^/# /' "$WORK/drain.out"
	expect "exit status of a wait that is too short" $status = 3
	expect "what it says" "$(grep -c 'tcp4 10.0.0.12: not drained after 2 s' "$WORK/drain.out")" = 1
	for service in $SERVICES; do
		address=$(backend_address 2 ${service: -1})
		(LAB_EXEC="exec" lbctl drain $service "$address" --timeout $((200 * LAB_SLOWDOWN))s >"$WORK/drain-$service.out" 2>&1) &
		echo $! >"$WORK/drain-$service.pid"
	done
	sleep 8 # twice the idle time, and a round of the sweep
	for service in $SERVICES; do
		expect "$service: drain goes on while flows are held" "$(kill -0 "$(cat "$WORK/drain-$service.pid")" && echo yes)" = yes
		flows $service 60 "nothing new for b2" '"b2" not in d["by"]'
		expect "$service: condition" "$(backend $service 2 condition)" = draining
	done
	for service in $SERVICES; do let_go $service; done
	for service in $SERVICES; do
		wait "$(cat "$WORK/drain-$service.pid")"
		status=$?
		expect "$service: exit status of the wait: $(cat "$WORK/drain-$service.out")" $status = 0
		expect "$service: it says that it is safe" "$(grep -c 'no flow depends on it.*safe to stop the host' "$WORK/drain-$service.out")" = 1
		expect "$service: condition" "$(backend $service 2 condition)" = drained
		echo "# $service: $(json '"%d flows held, on b2 %d, moved or broken %d" % (d["connections"], d["by"].get("b2", 0), d["moved"] + d["broken"])' <"$WORK/held-$service.json"); $(tail -n 1 "$WORK/drain-$service.out")"
		expect "$service: held on b2" "$(json 'd["by"].get("b2", 0)' <"$WORK/held-$service.json")" -gt 0
		expect "$service: moved or broken" "$(json 'd["moved"] + d["broken"]' <"$WORK/held-$service.json")" = 0
	done
}
held_by_all() { # COUNT
	local service
	for service in $SERVICES; do grep -q "$1 connections open" "$WORK/held-$service.err" || return 1; done
	sleep 1 # and each has asked
}
test_drain_waits_for_the_last_flow_of_least_conn() { drains_until_the_last_flow_is_gone least-conn; }
test_drain_waits_for_the_last_flow_of_maglev() { drains_until_the_last_flow_is_gone maglev; }

test_a_drain_that_somebody_ends_is_no_success() {
	local wait status
	use "algorithm: round-robin" && all_up || return 1
	(LAB_EXEC="exec" hold tcp4 8) &
	echo $! >"$WORK/held-tcp4.pid"
	lab_wait_for 5 "flows to be held" grep -q "8 connections open" "$WORK/held-tcp4.err" || return 1
	sleep 1 # and each has asked
	(LAB_EXEC="exec" lbctl drain tcp4 10.0.0.12 --wait >"$WORK/drain.out" 2>&1) &
	wait=$!
	lab_wait_for 5 "the drain" b2_drains || return 1
	sleep 1
	lbctl backend undrain tcp4 10.0.0.12 >/dev/null
	wait $wait
	status=$?
	let_go tcp4
	expect "exit status" $status = 1
	expect "what it says" "$(grep -c 'takes new flows again: somebody ended the drain' "$WORK/drain.out")" = 1
	flows tcp4 40 "b2 serves again" 'd["by"]["b2"] == 10'
}

# lbctl is gone by then, and lbd was killed meanwhile: the deadline holds.
test_a_drain_with_a_deadline_gives_up_what_is_left() {
	use "algorithm: least-conn" && all_up || return 1
	(LAB_EXEC="exec" hold tcp4 24) &
	echo $! >"$WORK/held-tcp4.pid"
	lab_wait_for 5 "flows to be held" grep -q "24 connections open" "$WORK/held-tcp4.err" || return 1
	sleep 1
	lbctl drain tcp4 10.0.0.12 --force-after 5s >"$WORK/drain.out" || return 1
	lbctl backends tcp4 | tail -n 1 | sed 's/^/# /'
	expect "what it says" "$(grep -c 'takes no new flows; [1-9].*forced in [345] s' "$WORK/drain.out")" = 1
	expect "condition before the deadline" "$(backend tcp4 2 condition)" = draining
	lab_kill lbd KILL
	lab_lbd_start || return 1
	lbctl drain tcp4 10.0.0.12 --wait >"$WORK/drain.out" || return 1
	expect "what the wait says: $(cat "$WORK/drain.out")" "$(grep -cE 'drain forced: [1-9][0-9]* active flows? given up' "$WORK/drain.out")" = 1
	expect "condition" "$(backend tcp4 2 condition)" = drained
	let_go tcp4
	lbctl backend undrain tcp4 10.0.0.12 >/dev/null
	lab_wait_for 15 "b2 to be up" all_up
}

b2_drains() { [ "$(backend tcp4 2 condition)" = draining ]; }

test_drain_of_what_does_not_exist_is_refused() {
	local status
	lbctl drain tcp4 10.0.0.99 --wait >"$WORK/drain.out" 2>&1
	status=$?
	expect "exit status" $status = 1
	expect "what it says: $(cat "$WORK/drain.out")" "$(grep -c '10.0.0.99' "$WORK/drain.out")" -ge 1
	lbctl drain tcp4 10.0.0.12 --timeout soon >"$WORK/drain.out" 2>&1
	status=$?
	expect "exit status of a bad option" $status = 2
}

# ---- backups and panic ----

test_backups_serve_only_while_no_other_lives() {
	local i service
	BACKUPS=4 use "algorithm: round-robin" && all_up && settled || return 1
	for service in $SERVICES; do flows $service 30 "the backup has none" 'd["by"] == {"b1": 10, "b2": 10, "b3": 10}'; done
	for i in 1 2; do lab_kill nginx-b$i KILL; done
	lab_wait_for 5 "two to be down" backends_up 8 || return 1
	flows tcp4 30 "one primary is enough" 'd["by"] == {"b3": 30}'
	expect "status" "$(service_is degraded && echo yes)" = yes
	lab_kill nginx-b3 KILL
	lab_wait_for 5 "backups to serve" service_is backup || return 1
	for service in $SERVICES; do flows $service 20 "the backup has all" 'd["by"] == {"b4": 20}'; done
	expect "lbd_service_backups_active" "$(metric lbd_service_backups_active tcp6)" = 1
	expect "lbctl services" "$(lbctl services | grep -c ' backup ')" = 4
	expect "lbctl status" "$(lbctl status | grep -c '^Services *4, 0 down, 4 on backup backends only$')" = 1
	start_nginx 2
	lab_wait_for 5 "the backups' service to end" service_is degraded || return 1
	for service in $SERVICES; do flows $service 20 "the backup has none again" 'd["by"] == {"b2": 20}'; done
	expect "lbd_service_backups_active" "$(metric lbd_service_backups_active tcp6)" = 0
	start_nginx 1
	start_nginx 3
	all_up
}

# The checks fail while the servers still answer: what the threshold is for.
test_below_the_panic_threshold_all_are_used_and_it_is_said() {
	local i service
	use "algorithm: round-robin" "panic-threshold: 50%" && all_up || return 1
	for i in 1 2; do lab_kill nginx-b$i KILL; done
	lab_wait_for 5 "two to be down" backends_up 8 || return 1
	flows tcp4 40 "half is not below half" 'd["by"] == {"b3": 20, "b4": 20}'
	expect "lbd_service_panic" "$(metric lbd_service_panic tcp4)" = 0
	lab_kill nginx-b3 KILL
	lab_wait_for 5 "panic" service_is panic || return 1
	for service in $SERVICES; do flows $service 40 "all are used" 'd["by"] == {"b1": 10, "b2": 10, "b3": 10, "b4": 10}'; done
	expect "lbd_service_panic" "$(metric lbd_service_panic tcp4)" = 1
	expect "lbctl services" "$(lbctl services | grep -c ' panic ')" = 4
	expect "lbctl status" "$(lbctl status | grep -c '^Services *4, 0 down, 4 in panic: too few')" = 1
	expect "the log" "$(grep -c 'tcp4 .*fewer than 50 % of the backends are up: all are used' "$WORK/lbd.log")" = 1
	expect "b1's condition" "$(backend tcp4 1 condition)" = down
	for i in 1 2 3; do start_nginx $i; done
	lab_wait_for 10 "the end of the panic" service_is up || return 1
	expect "lbd_service_panic" "$(metric lbd_service_panic tcp4)" = 0
}

set_up() {
	lab_need_root
	lab_up $COUNT || return 1
	for i in $(seq $COUNT); do lab_backend_servers "$i" $VIP4 $VIP6 "$LAB_UDP4" "$LAB_UDP6" || return 1; done
	{
		lab_config_head
		echo "services: []"
	} >"$WORK/lbd.yaml"
	lab_lbd_start
}

set_up_or_end set_up
run_tests "$@"
