#!/bin/bash
# What operators use, on real traffic: weights at run time, slow start, drains, backups, panic.
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
	end_drains
	lbctl reload
}
# A UDP service that starts to remember every flow learns the existing ones for one idle time
# (docs/tracking.md).
settled() {
	lab_wait_for 20 "slots to settle" nothing_in_transition
}
all_up() { lab_wait_for 10 "all backends to be up" backends_up $((4 * COUNT)); }
service_is() { # STATUS: all four services have it
	[ "$(lbctl services --json | json '[.services[].status] | unique | join("+")')" = "$1" ]
}
backend() { # SERVICE N FIELD
	backend_field "$1" "$(backend_address "$2" "${1: -1}")" "$3"
}

# New flows to a service, one after the other, as JSON.
ask() { # SERVICE COUNT
	new_ports "$2" || return 1
	# shellcheck disable=SC2086
	case $1 in
	tcp4) traffic ask-tcp $VIP4 7000 requests "$2" $PORTS ;;
	tcp6) traffic ask-tcp $VIP6 7000 requests "$2" $PORTS ;;
	udp4) traffic ask-udp "$LAB_UDP4" 5353 requests "$2" $PORTS ;;
	udp6) traffic ask-udp "$LAB_UDP6" 5353 requests "$2" $PORTS ;;
	esac
}
# Makes new flows. Expects that none fails, and that the jq CONDITION holds for the report.
flows() { # SERVICE COUNT WHAT CONDITION
	local result
	result=$(ask "$1" "$2")
	none_failed "$1: failures" "$result"
	expect "$1: $3: $(field "$result" .by)" "$(field "$result" "$4")" = true
}
SERVICES="tcp4 tcp6 udp4 udp6"

# ---- weights ----

test_weights_at_run_time_hold_for_new_flows_at_once() {
	local service address
	use "algorithm: weighted-round-robin" && all_up || return 1
	for service in $SERVICES; do
		address=$(backend_address 1 ${service: -1})
		lbctl backend weight $service "$address" 300 >/dev/null || return 1
		flows $service 120 "b1 has three of six shares" \
			'.by == {b1: 60, b2: 20, b3: 20, b4: 20}'
		lbctl backend weight $service "$address" 0 >/dev/null || return 1
		flows $service 60 "b1 has none" '.by == {b2: 20, b3: 20, b4: 20}'
	done
}

test_weights_at_run_time_shape_maglev_too() {
	use "algorithm: maglev" && all_up || return 1
	lbctl backend weight tcp4 10.0.0.11 300 >/dev/null || return 1
	# Half of a thousand, with a standard deviation of 16.
	flows tcp4 1000 "b1 has half" '.by.b1 > 420 and .by.b1 < 580'
	lbctl backend weight tcp4 10.0.0.11 0 >/dev/null || return 1
	flows tcp4 200 "b1 has none" '.by | has("b1") | not'
}

# ---- slow start ----

# Once a returned backend is up, its share grows from a twentieth to the whole, in every algorithm.
test_slow_start_lets_the_share_of_a_returned_backend_grow() {
	use "algorithm: round-robin" "slow-start: $((16 * LAB_SLOWDOWN))s" && all_up || return 1
	# b1 had weight 0 before, so it starts slowly too.
	lab_wait_for 20 "all to have their full weight" none_starts || return 1
	lab_kill nginx-b2 KILL
	lab_wait_for 5 "b2 to be down" backends_left $((4 * (COUNT - 1))) || return 1
	lab_nginx_start 2
	lab_wait_for 5 "b2 to start" starting tcp4 2 || return 1
	expect "weight at first" "$(backend tcp4 2 effective_weight)" -lt 50
	share_of_b2_is_its_weight
	expect "condition" "$(backend tcp4 2 condition)" = starting
	lab_wait_for 16 "half of its weight" heavier 50 || return 1
	share_of_b2_is_its_weight
	lab_wait_for 16 "its full weight" heavier 100 || return 1
	share_of_b2_is_its_weight
	flows tcp4 400 "b2 has its share" '.by.b2 >= 99 and .by.b2 <= 101'
	expect "condition" "$(backend tcp4 2 condition)" = up
}
none_starts() {
	[ "$(lbctl backends tcp4 --json |
		json '[.backends[].effective_weight] | unique')" = "[100]" ]
}
starting() { [ "$(backend "$1" "$2" condition)" = starting ]; }
heavier() { [ "$(backend tcp4 2 effective_weight)" -ge "$1" ]; }
# Its weight grows while 400 flows start: it gets at least its share by the weight before, and at
# most its share by the weight afterwards.
share_of_b2_is_its_weight() {
	local before after result got
	before=$(backend tcp4 2 effective_weight) || return 1
	new_ports 400 || return 1
	# shellcheck disable=SC2086
	result=$(traffic load-tcp $VIP4 7000 requests 400 rate 2000 $PORTS)
	after=$(backend tcp4 2 effective_weight) || return 1
	echo "# b2 of weight $before to $after: $(field "$result" .by)"
	none_failed "failures" "$result"
	got=$(answered_by "$result" b2) || return 1
	expect "b2's $got flows to be a share by weight $before to $after" \
		"$(field "[$before, $after]" '
			map(400 * . / (300 + .)) | $got >= .[0] - 4 and $got <= .[1] + 4' \
			--argjson got "$got")" = true
}

# ---- drain ----

# Holds flows in the background until let_go.
hold() { # SERVICE COUNT
	local options="connections $2 interval 0.5 seconds 3600" port="from-port 50000"
	lab_empty "$WORK/held-$1.json" "$WORK/held-$1.err"
	(
		# shellcheck disable=SC2034 # in_ns reads it
		LAB_EXEC="exec"
		# shellcheck disable=SC2086
		case $1 in
		tcp4) traffic hold $VIP4 7000 $options ;;
		tcp6) traffic hold $VIP6 7000 $options ;;
		udp4) traffic hold-udp "$LAB_UDP4" 5353 $options $port ;;
		udp6) traffic hold-udp "$LAB_UDP6" 5353 $options $port ;;
		esac >"$WORK/held-$1.json" 2>"$WORK/held-$1.err"
	) &
	echo $! >"$WORK/held-$1.pid"
}
let_go() { # SERVICE
	kill "$(cat "$WORK/held-$1.pid")"
}

# Each service drains b2 while flows are held there, until they end. UDP has no SYN: with maglev, a
# new flow looks like an older one for one idle time after a change, and may still go to b2
# (docs/tracking.md, learning).
drains_until_the_last_flow_is_gone() { # ALGORITHM
	local service address status held
	use "algorithm: $1" && all_up || return 1
	for service in $SERVICES; do hold $service 24; done
	lab_wait_for 5 "flows to be held" held_by_all 24 || return 1
	lbctl drain tcp4 10.0.0.12 --timeout 2s >"$WORK/drain.out" 2>&1
	status=$?
	sed 's/^/# /' "$WORK/drain.out"
	expect "exit status of a wait that is too short" $status = 3
	expect "lines that report it" "$(printed drain 'tcp4 10.0.0.12: not drained after 2s')" = 1
	for service in $SERVICES; do
		address=$(backend_address 2 ${service: -1})
		(LAB_EXEC="exec" lbctl drain $service "$address" \
			--timeout $((200 * LAB_SLOWDOWN))s >"$WORK/drain-$service.out" 2>&1) &
		echo $! >"$WORK/drain-$service.pid"
	done
	sleep 8 # twice the idle time, and a round of the sweep
	for service in $SERVICES; do
		expect "$service: the drain to wait while flows are held:" \
			"$(kill -0 "$(cat "$WORK/drain-$service.pid")" && echo yes)" = yes
		flows $service 60 "nothing new for b2" '.by | has("b2") | not'
		expect "$service: condition" "$(backend $service 2 condition)" = draining
	done
	for service in $SERVICES; do let_go $service; done
	for service in $SERVICES; do
		wait "$(cat "$WORK/drain-$service.pid")"
		status=$?
		tail -n 1 "$WORK/drain-$service.out" | sed "s/^/# $service: /"
		expect "$service: exit status of the wait" $status = 0
		expect "$service: lines that say it is safe" "$(printed drain-$service \
			'no flow depends on it.*safe to stop the host')" = 1
		expect "$service: condition" "$(backend $service 2 condition)" = drained
		held=$(cat "$WORK/held-$service.json")
		echo "# $service: held: $held"
		expect "$service: held on b2" "$(answered_by "$held" b2)" -gt 0
		expect "$service: moved or broken" "$(broken_or_moved held-$service)" = 0
	done
}
printed() { # NAME PATTERN: in how many lines of its output
	grep -cE "$2" "$WORK/$1.out"
}
held_by_all() { # COUNT
	local service
	for service in $SERVICES; do
		grep -q "$1 connections open" "$WORK/held-$service.err" || return 1
	done
	sleep 1 # and each has asked
}
test_drain_waits_for_the_last_flow_of_least_conn() {
	drains_until_the_last_flow_is_gone least-conn
}
test_drain_waits_for_the_last_flow_of_maglev() {
	drains_until_the_last_flow_is_gone maglev
}

test_a_drain_that_somebody_ends_is_no_success() {
	local wait status
	use "algorithm: round-robin" && all_up || return 1
	hold tcp4 8
	lab_wait_for 5 "flows to be held" \
		grep -q "8 connections open" "$WORK/held-tcp4.err" || return 1
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
	expect "lines that report it" \
		"$(printed drain 'takes new flows again: somebody ended the drain')" = 1
	flows tcp4 40 "b2 serves again" '.by.b2 == 10'
}

# The deadline holds although lbctl has ended and lbd is killed and restarted.
test_a_drain_with_a_deadline_gives_up_what_is_left() {
	use "algorithm: least-conn" && all_up || return 1
	hold tcp4 24
	lab_wait_for 5 "flows to be held" \
		grep -q "24 connections open" "$WORK/held-tcp4.err" || return 1
	sleep 1
	lbctl drain tcp4 10.0.0.12 --force-after $((10 * LAB_SLOWDOWN))s >"$WORK/drain.out" || return 1
	lbctl backends tcp4 | tail -n 1 | sed 's/^/# /'
	expect "lines that name the deadline" \
		"$(printed drain 'takes no new flows; [1-9].*forced in [1-9][0-9]*s')" = 1
	expect "condition before the deadline" "$(backend tcp4 2 condition)" = draining
	lab_kill lbd KILL
	lab_lbd_start || return 1
	lbctl drain tcp4 10.0.0.12 --wait >"$WORK/drain.out" || return 1
	expect "lines that report it: $(cat "$WORK/drain.out")" \
		"$(printed drain 'drain forced: [1-9][0-9]* active flows? given up')" = 1
	expect "condition" "$(backend tcp4 2 condition)" = drained
	let_go tcp4
	lbctl backend undrain tcp4 10.0.0.12 >/dev/null
	lab_wait_for 15 "b2 to be up" all_up
}

b2_drains() { [ "$(backend tcp4 2 condition)" = draining ]; }

# Automation reloads the file for another service while a host is down for maintenance.
test_a_drain_holds_over_reloads_until_it_is_ended() {
	local service address
	use "algorithm: round-robin" && all_up || return 1
	for service in $SERVICES; do
		address=$(backend_address 2 ${service: -1})
		lbctl backend drain $service "$address" >/dev/null || return 1
	done
	config_service unrelated 192.0.2.99 tcp 99 4 1 "" >>"$WORK/lbd.yaml"
	lbctl reload >"$WORK/reload.out" || return 1
	expect "lines that count the drains" "$(printed reload '^4 drains kept')" = 1
	kill -HUP "$(cat "$WORK/lbd.pid")"
	lab_wait_for 5 "the reload by signal in the log" reloads_are 2 || return 1
	for service in $SERVICES; do
		flows $service 60 "nothing new for b2" '.by | has("b2") | not'
	done
	for service in $SERVICES; do
		address=$(backend_address 2 ${service: -1})
		lbctl backend undrain $service "$address" >/dev/null || return 1
		flows $service 40 "b2 has its turn again" '.by.b2 == 10'
	done
}
reloads_are() { # COUNT: so many have kept the four drains
	[ "$(grep -c 'reload: run-time changes: 4 drains kept' "$WORK/lbd.log")" = "$1" ]
}

test_drain_of_what_does_not_exist_is_refused() {
	local status
	lbctl drain tcp4 10.0.0.99 --wait >"$WORK/drain.out" 2>&1
	status=$?
	expect "exit status" $status = 1
	sed 's/^/# /' "$WORK/drain.out"
	expect "lines that name the backend" "$(printed drain '10\.0\.0\.99')" -ge 1
	lbctl drain tcp4 10.0.0.12 --timeout soon >"$WORK/drain.out" 2>&1
	status=$?
	expect "exit status of a bad option" $status = 2
}

# ---- backups and panic ----

test_backups_serve_only_while_no_other_lives() {
	local i service
	BACKUPS=4 use "algorithm: round-robin" && all_up && settled || return 1
	for service in $SERVICES; do
		flows $service 30 "the backup has none" '.by == {b1: 10, b2: 10, b3: 10}'
	done
	for i in 1 2; do lab_kill nginx-b$i KILL; done
	lab_wait_for 5 "two to be down" backends_left 8 || return 1
	flows tcp4 30 "one primary is enough" '.by == {b3: 30}'
	expect "all services to be degraded:" "$(service_is degraded && echo yes)" = yes
	lab_kill nginx-b3 KILL
	lab_wait_for 5 "backups to serve" service_is backup || return 1
	for service in $SERVICES; do flows $service 20 "the backup has all" '.by == {b4: 20}'; done
	expect "lbd_service_backups_active" "$(service_metric lbd_service_backups_active tcp6)" = 1
	expect "lbctl services" "$(lbctl services | grep -c ' backup ')" = 4
	expect "lbctl status" \
		"$(lbctl status | grep -c '^Services *4, 0 down, 4 on backup backends only$')" = 1
	lab_nginx_start 2
	lab_wait_for 5 "the backups' service to end" service_is degraded || return 1
	for service in $SERVICES; do
		flows $service 20 "the backup has none again" '.by == {b2: 20}'
	done
	expect "lbd_service_backups_active" "$(service_metric lbd_service_backups_active tcp6)" = 0
	lab_nginx_start 1
	lab_nginx_start 3
	all_up
}

# The threshold is for this case: the checks fail while the servers still answer.
test_below_the_panic_threshold_all_are_used_and_reported() {
	local i service
	use "algorithm: round-robin" "panic-threshold: 50%" && all_up || return 1
	for i in 1 2; do lab_kill nginx-b$i KILL; done
	lab_wait_for 5 "two to be down" backends_left 8 || return 1
	flows tcp4 40 "half is not below half" '.by == {b3: 20, b4: 20}'
	expect "lbd_service_panic" "$(service_metric lbd_service_panic tcp4)" = 0
	lab_kill nginx-b3 KILL
	lab_wait_for 5 "panic" service_is panic || return 1
	for service in $SERVICES; do
		flows $service 40 "all are used" '.by == {b1: 10, b2: 10, b3: 10, b4: 10}'
	done
	expect "lbd_service_panic" "$(service_metric lbd_service_panic tcp4)" = 1
	expect "lbctl services" "$(lbctl services | grep -c ' panic ')" = 4
	expect "lbctl status" \
		"$(lbctl status | grep -c '^Services *4, 0 down, 4 in panic: too few')" = 1
	expect "the log" "$(grep -c 'tcp4 .*fewer than 50 % of the backends are up: all are used' \
		"$WORK/lbd.log")" = 1
	expect "b1's condition" "$(backend tcp4 1 condition)" = down
	for i in 1 2 3; do lab_nginx_start $i; done
	lab_wait_for 10 "the end of the panic" service_is up || return 1
	expect "lbd_service_panic" "$(service_metric lbd_service_panic tcp4)" = 0
}

# b2 serves, though its check fails.
test_a_drain_in_a_panic_waits_for_the_last_flow() {
	local i status
	use "algorithm: round-robin" "panic-threshold: 50%" && all_up || return 1
	for i in 1 2; do lab_kill nginx-b$i KILL; done
	lab_wait_for 5 "two to be down" backends_left 8 || return 1
	lab_kill nginx-b3 KILL
	lab_wait_for 5 "panic" service_is panic || return 1
	hold tcp4 24
	lab_wait_for 5 "flows to be held" \
		grep -q "24 connections open" "$WORK/held-tcp4.err" || return 1
	sleep 1 # and each has asked
	lbctl drain tcp4 10.0.0.12 --timeout 8s >"$WORK/drain.out" 2>&1 # twice the idle time, and a round
	status=$?
	expect "exit status of a wait that is too short" $status = 3
	expect "condition" "$(backend tcp4 2 condition)" = draining
	flows tcp4 30 "nothing new for b2" '.by == {b1: 10, b3: 10, b4: 10}'
	let_go tcp4
	lbctl drain tcp4 10.0.0.12 --timeout $((200 * LAB_SLOWDOWN))s >"$WORK/drain.out" || return 1
	expect "lines that say it is safe" "$(printed drain 'no flow depends on it')" = 1
	expect "held on b2" "$(answered_by "$(cat "$WORK/held-tcp4.json")" b2)" -gt 0
	expect "moved or broken" "$(broken_or_moved held-tcp4)" = 0
	for i in 1 2 3; do lab_nginx_start $i; done
	lbctl backend undrain tcp4 10.0.0.12 >/dev/null
	lab_wait_for 10 "the end of the panic" service_is up
}

set_up() {
	lab_with_servers $COUNT || return 1
	{
		lab_config_head
		echo "services: []"
	} >"$WORK/lbd.yaml"
	lab_lbd_start
}

set_up_or_end set_up
run_tests "$@"
