#!/bin/bash
# Reloads under load, good and bad.
. "$(dirname "$0")/lib.sh"

# A config like the lab's, with other weights and now and then another service.
write_variant() { # N
	{
		lab_config_head
		config_services 3 | awk -v n="$1" '/address:/ { w = 50 + (n * 37 + NR * 11) % 100; sub(/ }/, ", weight: " w " }") } { print }'
		if [ $(($1 % 2)) = 1 ]; then config_service "extra$1" 192.0.2.77 tcp $((1000 + $1)) 4 2 ""; fi
		if [ $(($1 % 3)) = 1 ]; then config_service extra 2001:db8:5::77 tcp 90 6 3 ""; fi
	} >"$WORK/lbd.yaml"
}

test_100_reloads_under_load_fail_no_request() {
	local i
	load_start a load-http $VIP4 80 rate 300
	load_start b load-udp "$LAB_UDP4" 5353 rate 300
	load_start c hold $VIP6 7000 connections 100
	sleep 0.5
	for i in $(seq 100); do
		write_variant "$i"
		lbctl reload >/dev/null || return 1
	done
	echo "# 100 reloads"
	sleep 1
	for i in a b c; do load_end $i; done
	expect "http failures" "$(json 'd["failed"]' <"$WORK/a.json")" = 0
	expect "udp failures" "$(json 'd["failed"]' <"$WORK/b.json")" = 0
	expect "broken or moved connections" "$(json 'd["broken"] + d["moved"]' <"$WORK/c.json")" = 0
}

test_a_bad_file_changes_nothing_and_names_file_line_and_value() {
	local before after said
	write_variant 0
	lbctl reload || return 1
	before=$(lbctl services --json | json '[(s["name"], s["backends"]) for s in d["services"]]')
	sed -i 's/port: 80$/port: 70000/' "$WORK/lbd.yaml"
	said=$(lbctl reload 2>&1) && return 1
	echo "# $said"
	expect "file and line" "$(grep -cE 'lbd\.yaml:[0-9]+: .*70000' <<<"$said")" = 1
	after=$(lbctl services --json | json '[(s["name"], s["backends"]) for s in d["services"]]')
	expect "services" "$after" = "$before"
	expect "requests still answered" "$(field "$(traffic load-http $VIP4 80 rate 200 seconds 1)" 'd["failed"]')" = 0
	kill -HUP "$(cat "$WORK/lbd.pid")"
	lab_wait_for 3 "the refusal in the log" grep -q "not reloaded, nothing has changed" "$WORK/lbd.log" || return 1
	lbctl status >/dev/null || return 1
}

test_sighup_reloads() {
	write_variant 0
	config_service late 192.0.2.99 tcp 99 4 2 "" >>"$WORK/lbd.yaml"
	kill -HUP "$(cat "$WORK/lbd.pid")"
	lab_wait_for 3 "the new service" service_is_there late
}
service_is_there() { lbctl services --json | grep -q "\"$1\""; }

set_up_or_end lab_with_lbd 3
run_tests "$@"
