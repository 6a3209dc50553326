#!/bin/bash
# Servers register themselves with a lease, renew it, and leave: under load, over reloads and kill -9.
# shellcheck disable=SC2034 # FAILED is read by run_tests
. "$(dirname "$0")/lib.sh"

# Prints the answer; false: refused.
put() { # SERVICE ADDRESS BODY
	curl -sf -m 60 --unix-socket "$WORK/lbd.sock" -X PUT -d "$3" \
		"http://lbd/v1/services/$1/backends/$2"
}
leave() { # SERVICE ADDRESS [BODY]
	curl -sf -m 60 --unix-socket "$WORK/lbd.sock" -X DELETE ${3:+-d "$3"} \
		"http://lbd/v1/services/$1/backends/$2"
}
status_of() { # METHOD SERVICE ADDRESS BODY
	curl -s -o "$WORK/answer" -w '%{http_code}' -m 60 --unix-socket "$WORK/lbd.sock" \
		-X "$1" -d "$4" "http://lbd/v1/services/$2/backends/$3"
}
is_there() { lbctl backends "$1" | grep -qF "$2"; } # SERVICE ADDRESS
is_gone() { ! lbctl backends "$1" | grep -qF "$2"; }

come() { # N: with all its servers
	local service
	for service in web4 tcp4; do
		put $service "$(backend_address "$1" 4)" '{"ttl":600,"labels":{"from":"fleet"}}' || return 1
	done
}
come_and_go() {
	local i
	for i in 3 4 5 6; do come "$i" >/dev/null || return 1; done
	lab_wait_for 10 "all to be up" backends_up 14 || return 1
	lbctl reload >/dev/null || return 1
	expect "backends of web4 after a reload" "$(service_field web4 backends)" = 6
	for i in 3 4 5 6; do
		leave web4 "$(backend_address "$i" 4)" >/dev/null &&
			leave tcp4 "$(backend_address "$i" 4)" >/dev/null || return 1
	done
	# from the data plane's view the change is made when it is answered
	expect "backends of web4 that take new flows" "$(lbctl backends web4 --json |
		json '[.backends[] | select(.effective_weight > 0)] | length')" = 2
}
test_servers_come_and_go_under_load_and_nothing_breaks() {
	across come_and_go
	lab_wait_for 60 "the last one to be gone" is_gone web4 10.0.0.16
}

registrations() { lbctl events --since 1h --json | grep -c '"backend-registered"'; } # other events come by themselves
test_the_same_again_is_a_renewal_and_no_event() {
	local before
	put web4 10.0.0.13 '{"ttl":"10m","weight":7}' >/dev/null || return 1
	before=$(registrations)
	put web4 10.0.0.13 '{"weight":7,"ttl":600}' >/dev/null || return 1
	expect "registrations before" "$before" -ge 1
	expect "registrations" "$(registrations)" = "$before"
	expect "weight" "$(backend_field web4 10.0.0.13 weight)" = 7
	expect "from" "$(backend_field web4 10.0.0.13 from)" = lease
	expect "ttl" "$(backend_field web4 10.0.0.13 lease | jq .ttl_s)" = 600
	put web4 10.0.0.13 '{"weight":9,"ttl":600}' >/dev/null || return 1
	expect "weight" "$(backend_field web4 10.0.0.13 weight)" = 9
	leave web4 10.0.0.13 '{"now":true}' >/dev/null
	leave web4 10.0.0.13 >/dev/null || return 1
}

test_a_server_that_stops_renewing_drains_and_goes() {
	put web4 10.0.0.13 '{"ttl":1}' >/dev/null || return 1
	lab_wait_for 10 "the lease to end" is_gone web4 10.0.0.13 || return 1
	logged "backend 10.0.0.13: its lease has ended, it was not renewed for 1s"
	expect "events" "$(lbctl events --since 1h --json |
		jq -s '[.[] | select(.kind == "backend-lapsed")] | length')" = 1
}

test_lbctl_registers_too() {
	local said
	said=$(lbctl backend put web4 10.0.0.13 --ttl 10m --name guest --label zone=a) || return 1
	contains "$said" "web4 guest 10.0.0.13: registered with weight 100 for 10m from now"
	contains "$(lbctl backend weight web4 guest 5 2>&1)" "registered with a weight of its own"
	expect "what save would write" "$(lbctl save --json | json .text | grep -c guest)" = 0
	expect "differences" "$(lbctl diff --json | json .changed)" = 0
	lbctl backend remove web4 guest --now >/dev/null
}

test_leases_go_on_after_kill_9() {
	put web4 10.0.0.13 '{"ttl":600,"name":"guest"}' >/dev/null || return 1
	lab_kill lbd KILL
	lab_lbd_start || return 1
	expect "name" "$(backend_field web4 10.0.0.13 name)" = guest
	expect "time left" "$(backend_field web4 10.0.0.13 lease | jq .left_s)" -gt 400
	expect "time left" "$(backend_field web4 10.0.0.13 lease | jq .left_s)" -le 600
	leave web4 10.0.0.13 '{"now":true}' >/dev/null
}

# Longer than the ttl and the time by which the file may be late.
test_a_lease_that_would_have_ended_while_lbd_was_away_begins_again() {
	put web4 10.0.0.13 '{"ttl":1}' >/dev/null || return 1
	lab_kill lbd KILL
	sleep 7
	lab_lbd_start || return 1
	logged "1 lease of backends ended while lbd did not run: it begins again"
	lab_wait_for 10 "it to end all the same" is_gone web4 10.0.0.13
}

test_what_cannot_be_registered_is_refused_and_named() {
	expect "of the file" "$(status_of PUT web4 10.0.0.11 '{}')" = 409
	contains "$(cat "$WORK/answer")" "10.0.0.11: is in the config file"
	expect "of the file" "$(status_of DELETE web4 10.0.0.11 '{}')" = 409
	expect "a VIP" "$(status_of PUT web4 "$VIP4" '{}')" = 400
	expect "no address" "$(status_of PUT web4 guest '{}')" = 400
	expect "no such service" "$(status_of PUT nope 10.0.0.13 '{}')" = 404
	expect "ttl" "$(status_of PUT web4 10.0.0.13 '{"ttl":"1ms"}')" = 400
	contains "$(cat "$WORK/answer")" "ttl: 1ms: expected 1s or longer"
	expect "ttl" "$(status_of PUT web4 10.0.0.13 '{"ttl":0}')" = 400
	expect "unknown field" "$(status_of PUT web4 10.0.0.13 '{"address":"10.0.0.14"}')" = 400
	contains "$(cat "$WORK/answer")" "address: expected it in the path alone"
	expect "wrong method" "$(status_of POST web4 10.0.0.13 '{}')" = 405
	expect "backends of web4" "$(service_field web4 backends)" = 2
	expect "by VIP" "$(status_of PUT "$VIP4:80%2Ftcp" 10.0.0.13 '{}')" = 200
	leave web4 10.0.0.13 '{"now":true}' >/dev/null
}

set_up() {
	lab_with_servers 6 || return 1
	lab_lbd_with 6 config_web_and_tcp 2 "idle-timeout: { tcp: 3s }"
}
set_up_or_end set_up
run_tests "$@"
