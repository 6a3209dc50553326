#!/bin/bash
# The states that an operator sets, and backends that flap.
. "$(dirname "$0")/lib.sh"

test_a_state_that_is_set_outlives_kill_9_and_a_reload() {
	local said result
	said=$(lbctl backend state web4 10.0.0.11 maintenance) || return 1
	contains "$said" "web4 10.0.0.11: set to maintenance: its flows go to other backends"
	expect "condition" "$(backend_field web4 10.0.0.11 condition)" = maintenance
	expect "weight" "$(backend_field web4 10.0.0.11 effective_weight)" = 0
	expect "who" "$(last_event backend-state .who)" = root
	expect "service" "$(service_field web4 status)" = up
	new_ports 300 || return 1
	# shellcheck disable=SC2086
	result=$(traffic load-http $VIP4 80 rate 200 seconds 1 $PORTS)
	none_failed failures "$result"
	expect "answers of it" "$(answered_by "$result" b1)" = 0
	stop_lbd KILL
	lab_lbd_start || return 1
	expect "after a restart" "$(backend_field web4 10.0.0.11 condition)" = maintenance
	contains "$(lbctl reload)" "kept     web4 10.0.0.11: state maintenance"
	expect "after a reload" "$(backend_field web4 10.0.0.11 condition)" = maintenance
	contains "$(lbctl backends web4)" "set to maintenance by an operator"
	contains "$(lbctl save)" "not saved: service web4: backend 10.0.0.11: state maintenance"
	lbctl backend state web4 10.0.0.11 auto >/dev/null || return 1
	lab_wait_for 5 "all to be up" backends_up 6
	expect "overrides" "$(lbctl status --json | json .overrides)" = 0
}

test_a_backend_that_is_set_up_is_used_though_its_check_fails() {
	lab_kill nginx-b1 KILL
	lab_wait_for 20 "10.0.0.11 to be down" condition_is web4 10.0.0.11 down
	lbctl backend state web4 10.0.0.11 up >/dev/null || return 1
	expect "condition" "$(backend_field web4 10.0.0.11 condition)" = up
	contains "$(backend_field web4 10.0.0.11 why)" "set to up by an operator; its check fails: "
	lab_nginx_start 1
	lbctl backend state web4 10.0.0.11 auto >/dev/null || return 1
	lab_wait_for 20 "all to be up" backends_up 6
}

# The second loss soon after a return is one too many. On a loaded machine the other backend may not
# answer meanwhile: then the service is blind, and what is lost with all others is no flap.
test_a_backend_that_flaps_is_damped_for_a_while() {
	local i
	lbctl service add flap $VIP4:81/tcp --backend 10.0.0.11 --backend 10.0.0.12 \
		--set flap-damping=1m --set health.type=http --set health.port=80 --set health.path=/healthz \
		--set health.interval=1s --set health.timeout=950ms --set health.fall=1 --set health.rise=1 >/dev/null || return 1
	lab_wait_for 10 "10.0.0.11 to be up" flap_is 10.0.0.11 up || return 1
	lab_wait_for 10 "10.0.0.12 to be up" flap_is 10.0.0.12 up || return 1
	for i in 1 2 3 4 5; do
		lab_kill nginx-b1 KILL
		lab_wait_for 10 "loss $i of 10.0.0.11" flap_is_lost || return 1
		lab_nginx_start 1
		lab_wait_for 10 "10.0.0.11 to be back from loss $i" flap_is_back || return 1
		is_damped && break
	done
	is_damped || return 1
	contains "$(last_event backend-damped .why)" "within 1m of its return: no new flow for "
	lab_wait_for 20 "10.0.0.11 to be up" flap_is 10.0.0.11 up
	lbctl service remove flap --force >/dev/null
	lab_wait_for 10 "all to be up" backends_up 6
}
flap_is() { condition_is flap "$@"; } # ADDRESS CONDITION
flap_is_lost() { flap_is 10.0.0.11 down || [ "$(service_field flap status)" = blind ]; }
flap_is_back() {
	[ "$(service_field flap status)" != blind ] && { flap_is 10.0.0.11 up || flap_is 10.0.0.11 damped; }
}
is_damped() { [ "$(last_event backend-damped .backend)" = 10.0.0.11 ]; }

set_up() {
	lab_with_servers 2 && lab_lbd_with 6 config_web_and_tcp 2 "idle-timeout: { tcp: 3s }"
}

set_up_or_end set_up
run_tests "$@"
