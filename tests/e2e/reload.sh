#!/bin/bash
# Reloads under load, good and bad.
. "$(dirname "$0")/lib.sh"

# The lab's config with other weights, and with another service in some of the variants.
write_variant() { # N
	{
		lab_config_head
		config_services 3 | awk -v n="$1" '
			/address:/ { sub(/ }/, ", weight: " (50 + (n * 37 + NR * 11) % 100) " }") }
			{ print }'
		[ $(($1 % 2)) != 1 ] ||
			config_service "extra$1" 192.0.2.77 tcp $((1000 + $1)) 4 2 ""
		[ $(($1 % 3)) != 1 ] || config_service extra 2001:db8:5::77 tcp 90 6 3 ""
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
	expect "http failures" "$(report_field a .failed)" = 0
	expect "udp failures" "$(report_field b .failed)" = 0
	expect "broken or moved connections" "$(broken_or_moved c)" = 0
}

test_a_bad_file_changes_nothing_and_names_file_line_and_value() {
	local before output result line
	write_variant 0
	lbctl reload || return 1
	before=$(services_and_backends) || return 1
	sed -i 's/port: 80$/port: 70000/' "$WORK/lbd.yaml"
	output=$(lbctl reload 2>&1) && return 1
	echo "# $output"
	expect "file and line" "$(grep -cE 'lbd\.yaml:[0-9]+: .*70000' <<<"$output")" = 1
	expect "services" "$(services_and_backends)" = "$before"
	result=$(traffic load-http $VIP4 80 rate 200 seconds 1)
	none_failed "failed requests" "$result"
	line=$(log_lines) # that of the reload above is there
	kill -HUP "$(cat "$WORK/lbd.pid")"
	lab_wait_for 3 "the refusal in the log" is_logged_since "$line" "reload failed, nothing changed" || return 1
	lbctl status >/dev/null || return 1
}

services_and_backends() {
	lbctl services --json | json '[.services[] | [.name, .backends // error("no backends")]]'
}

test_a_reload_names_what_it_keeps_and_what_it_drops() {
	local said
	write_variant 0
	lbctl reload >/dev/null || return 1
	lbctl backend drain web4 10.0.0.11 >/dev/null &&
		lbctl backend weight web4 10.0.0.12 7 >/dev/null &&
		lbctl backend add web4 10.0.0.77 --weight 9 >/dev/null &&
		lbctl backend remove web6 2001:db8:b::11 >/dev/null || return 1
	said=$(lbctl reload) || return 1
	expect "what lbctl says" "$(sed 's/the file has [0-9]*/the file has N/' <<<"$said" |
		tail -n +2)" = "1 drain kept: lbctl backend undrain ends one
  kept     web4 10.0.0.11: drain
3 run-time changes dropped: the config file takes precedence
  dropped  web4 10.0.0.12: weight 7 (the file has N)
  dropped  web4 10.0.0.77: backend added, weight 9
  dropped  web6 2001:db8:b::11: removal"
	expect "lines of the log that name them" "$(grep -cE \
		'run-time change (kept|dropped) by the reload: ' "$WORK/lbd.log")" = 4
	expect "b1's condition" "$(is_out_of_use web4 10.0.0.11 && echo yes)" = yes
	lbctl backend undrain web4 10.0.0.11
}
is_out_of_use() { # SERVICE ADDRESS
	case $(backend_field "$1" "$2" condition) in draining | drained) ;; *) return 1 ;; esac
}

test_a_drain_holds_when_its_service_is_renamed() {
	write_variant 0
	lbctl reload >/dev/null && lbctl backend drain web4 10.0.0.11 >/dev/null || return 1
	sed -i 's/name: web4$/name: shop/' "$WORK/lbd.yaml"
	lbctl reload || return 1
	expect "b1's condition" "$(is_out_of_use shop 10.0.0.11 && echo yes)" = yes
	lbctl backend undrain shop 10.0.0.11
}

# A drain that the reload keeps must stay on disk when the reload drops something else.
test_a_reload_that_cannot_write_what_it_keeps_changes_nothing() {
	local output
	write_variant 0
	lbctl reload >/dev/null && lbctl backend drain web4 10.0.0.11 >/dev/null &&
		lbctl backend weight web4 10.0.0.12 7 >/dev/null || return 1
	mkdir "$WORK/lbd.sock.overrides.json.tmp" || return 1 # in the way of the new file
	output=$(lbctl reload 2>&1)
	expect "exit status" $? = 1
	rmdir "$WORK/lbd.sock.overrides.json.tmp"
	echo "# $output"
	expect "lines that name the file" \
		"$(grep -c 'cannot be written to disk: .*lbd.sock.overrides.json' <<<"$output")" = 1
	expect "weight" "$(backend_field web4 10.0.0.12 weight)" = 7
	lbctl reload >/dev/null || return 1
	expect "b1's condition" "$(is_out_of_use web4 10.0.0.11 && echo yes)" = yes
	lbctl backend undrain web4 10.0.0.11
}

test_sighup_reloads() {
	write_variant 0
	config_service late 192.0.2.99 tcp 99 4 2 "" >>"$WORK/lbd.yaml"
	kill -HUP "$(cat "$WORK/lbd.pid")"
	lab_wait_for 3 "the new service" service_is_there late
}
service_is_there() { lbctl services --json | grep -q "\"$1\""; }

# A reload, and changes from many clients while it is worked on.
test_changes_that_come_at_the_same_time_are_all_made() {
	local i pids=() failed=0
	write_variant 0
	lbctl reload >/dev/null || return 1
	(lbctl reload >"$WORK/reload.out") &
	pids+=($!)
	for i in 1 2 3; do
		for service in web4 tcp4 udp4; do
			(lbctl backend weight $service "10.0.0.1$i" $((10 + i)) >/dev/null) &
			pids+=($!)
		done
	done
	for i in "${pids[@]}"; do wait "$i" || failed=$((failed + 1)); done
	expect "changes that failed" $failed = 0
	# those that came before the reload are dropped by it, and it says so
	expect "changes dropped or in force" $(($(weights_of 11 12 13) + $(dropped_by_the_reload))) = 9
	lbctl reload >/dev/null
}
weights_of() { # WEIGHT...: how many backends have one of them
	lbctl backends --json |
		json '[.backends[] | select(.weight | IN($ARGS.positional[] | tonumber))] | length' \
			--args "$@"
}
dropped_by_the_reload() { grep -c 'weight 1[123] (the file has' "$WORK/reload.out"; }

set_up_or_end lab_with_lbd 3
run_tests "$@"
