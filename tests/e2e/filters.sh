#!/bin/bash
# Allow and deny lists with real clients: who is served, and lists that are read again under load.
. "$(dirname "$0")/lib.sh"

CLIENT4=198.51.100.2 OTHER4=198.51.100.3
CLIENT6=2001:db8:c::2 OTHER6=2001:db8:c::3

# All services have one deny list, in a file.
lab_with_lists() {
	lab_with_lbd 2 || return 1
	: >"$WORK/deny.txt"
	sed -i "s|^    backends:|    deny: { file: $WORK/deny.txt }\n&|" "$WORK/lbd.yaml"
	lbctl reload || return 1
	in_ns client ip addr add $OTHER4/24 dev eth0
	in_ns client ip addr add $OTHER6/64 dev eth0 nodad
}

deny() { printf '%s\n' "$@" >"$WORK/deny.new" && mv "$WORK/deny.new" "$WORK/deny.txt"; }

# Is a new request from this address answered within that time? Denied packets get no answer.
served() { # ADDRESS SECONDS
	local vip=$VIP4
	[[ $1 != *:* ]] || vip=$VIP6
	traffic ask-http "$vip" 80 requests 1 timeout "$2" from "$1" >/dev/null 2>&1
}
is_served() { if served "$@"; then echo yes; else echo no; fi; }
expect_served() { expect "whether $1 is served" "$(is_served "$1" 30)" = yes; }
expect_denied() { expect "whether $1 is served" "$(is_served "$1" 2)" = no; }

reload_lists() { # the fields of the answer that are expected
	local said
	said=$(lbctl reload --lists) || return 1
	echo "# $said"
	expect "what lbctl prints" "$said" = "lists reloaded: $1"
}

test_an_empty_deny_list_denies_nobody() {
	expect_served $CLIENT4
	expect_served $OTHER4
	expect_served $CLIENT6
	expect_served $OTHER6
}

test_a_client_is_denied_as_soon_as_the_lists_are_read_again() {
	local before
	before=$(reason_packets denied)
	deny "# a comment" $OTHER4 $OTHER6/128
	reload_lists "6 services with lists, 6 changed; prefixes: 12" || return 1
	expect_served $CLIENT4
	expect_denied $OTHER4
	expect_served $CLIENT6
	expect_denied $OTHER6
	expect "denied packets" "$(reason_packets denied)" -gt "$before"
	expect "denied packets of web4" "$(service_field web4 denied)" -gt 0
	expect "denied packets of udp4" "$(service_field udp4 denied)" = 0
	deny
	reload_lists "6 services with lists, 6 changed; prefixes: 0" || return 1
	expect_served $OTHER4
	expect_served $OTHER6
}

test_lists_that_say_the_same_change_no_service() {
	deny 10.9.0.0/16
	lbctl reload --lists >/dev/null || return 1
	deny 10.9.0.0/17 "10.9.128.0/17 # the other half"
	reload_lists "6 services with lists, 0 changed; prefixes: 12"
	deny
	lbctl reload --lists >/dev/null
}

test_open_connections_of_a_denied_client_end_and_others_go_on() {
	load_start kept hold $VIP4 7000 connections 50 from $CLIENT4
	load_start kept6 hold $VIP6 7000 connections 50 from $CLIENT6
	load_start shut hold $VIP4 7000 connections 5 timeout 2 from $OTHER4
	lab_wait_for 10 "the connections" connections_are 105 || return 1
	for _ in $(seq 20); do
		deny 10.9.0.0/16 "10.8.$((RANDOM % 256)).0/24"
		lbctl reload --lists >/dev/null || return 1
	done
	deny $OTHER4
	lbctl reload --lists >/dev/null || return 1
	lab_wait_for 20 "the denied client to give up" are_gone $OTHER4 || return 1
	deny
	lbctl reload --lists >/dev/null || return 1
	load_end shut
	load_end kept
	load_end kept6
	expect "broken connections of the denied client" "$(report_field shut .broken)" = 5
	expect "broken or moved connections" "$(broken_or_moved kept)" = 0
	expect "broken or moved IPv6 connections" "$(broken_or_moved kept6)" = 0
}
are_gone() { [ -z "$(in_ns client ss -Htn state established src "$1")" ]; } # CLIENT
connections_are() { # COUNT
	[ "$(in_ns client ss -Htn state established | wc -l)" -ge "$1" ]
}

test_a_bad_list_changes_nothing_and_names_file_line_and_value() {
	local said line
	deny $OTHER4
	lbctl reload --lists >/dev/null || return 1
	deny $CLIENT4 "10.1.0.0/8"
	said=$(lbctl reload --lists 2>&1) && return 1
	echo "# $said"
	expect "file, line and value" \
		"$(grep -cF "$WORK/deny.txt:2: 10.1.0.0/8: has bits beyond" <<<"$said")" = 1
	expect_served $CLIENT4
	expect_denied $OTHER4
	said=$(lbctl reload 2>&1) && return 1
	expect "the same from a full reload" \
		"$(grep -cF "$WORK/deny.txt:2: 10.1.0.0/8: has bits beyond" <<<"$said")" = 1
	line=$(log_lines) # that of the reload above is there
	kill -HUP "$(lbd_pid)"
	lab_wait_for 3 "the refusal in the log" is_logged_since "$line" "reload failed, nothing changed.*deny.txt:2"
	rm "$WORK/deny.txt"
	lbctl reload --lists && return 1
	expect_served $CLIENT4
	expect_denied $OTHER4
}

test_a_hangup_reads_the_lists_again() {
	deny $CLIENT4
	kill -HUP "$(lbd_pid)"
	lab_wait_for 5 "the client to be denied" is_denied $CLIENT4 || return 1
	expect_served $OTHER4
}
is_denied() { ! served "$1" 2; }

test_reload_lists_leaves_config_and_run_time_changes_alone() {
	deny
	lbctl backend weight web4 10.0.0.11 7 || return 1
	sed -i.good 's/port: 80$/port: 70000/' "$WORK/lbd.yaml"
	expect "lines of the answer" "$(lbctl reload --lists | grep -c "lists reloaded")" = 1
	mv "$WORK/lbd.yaml.good" "$WORK/lbd.yaml"
	expect "the weight" "$(backend_field web4 10.0.0.11 weight)" = 7
	lbctl backend weight web4 10.0.0.11 100
}

test_services_status_and_metrics_show_the_lists() {
	deny 10.8.0.0/16 10.9.0.0/16
	lbctl reload --lists >/dev/null || return 1
	expect "deny" "$(service_field web4 deny)" = 2
	expect "allow" "$(lbctl services --json | jq -c '.services[0].allow')" = null
	expect "the line below the table" \
		"$(lbctl services | grep -c '^web4: prefixes: deny 2; packets denied: [0-9]*$')" = 1
	expect "memory" "$(lbctl status --json | json .memory.filters)" -gt 0
	metrics -m 20 >"$WORK/metrics"
	expect "prefixes in the metrics" \
		"$(grep -c '^lbd_service_deny_prefixes{service="web4".*} 2$' "$WORK/metrics")" = 1
	expect "packets in the metrics" \
		"$(grep -c '^lbd_service_denied_packets_total{service="web4"' "$WORK/metrics")" = 1
	expect "the reason in the metrics" \
		"$(grep -c '^lbd_packets_total{.*reason="denied".*}' "$WORK/metrics")" = 1
}

test_lists_hold_while_lbd_is_away_and_the_next_one_has_those_of_its_time() {
	deny $OTHER4 $OTHER6
	lbctl reload --lists >/dev/null || return 1
	stop_lbd KILL || return 1
	expect_served $CLIENT4
	expect_denied $OTHER4
	expect_denied $OTHER6
	deny $OTHER6
	lab_lbd_start || return 1
	lab_wait_for 10 "all backends to be up" backends_up 12 || return 1
	expect_served $CLIENT4
	expect_served $OTHER4
	expect_denied $OTHER6
}

test_lists_taken_out_of_the_config_deny_nobody() {
	cp "$WORK/lbd.yaml" "$WORK/lbd.yaml.lists"
	deny $OTHER4
	lbctl reload --lists >/dev/null || return 1
	expect_denied $OTHER4
	sed -i '/deny:/d' "$WORK/lbd.yaml"
	lbctl reload >/dev/null || return 1
	expect_served $OTHER4
	expect "memory" "$(lbctl status --json | json .memory.filters)" = 0
	expect "what lbctl prints" "$(lbctl reload --lists)" = \
		"no service has allow or deny lists"
	mv "$WORK/lbd.yaml.lists" "$WORK/lbd.yaml"
	lbctl reload >/dev/null || return 1
	expect_denied $OTHER4
	expect_served $CLIENT4
}

test_with_an_allow_list_only_its_clients_are_served() {
	deny
	cp "$WORK/lbd.yaml" "$WORK/lbd.yaml.lists"
	sed -i "s|deny: { file: .*|allow: [$OTHER4, \"$OTHER6\"]|" "$WORK/lbd.yaml"
	lbctl reload >/dev/null || return 1
	expect_denied $CLIENT4
	expect_denied $CLIENT6
	expect_served $OTHER4
	expect_served $OTHER6
	mv "$WORK/lbd.yaml.lists" "$WORK/lbd.yaml"
	lbctl reload >/dev/null || return 1
	expect_served $CLIENT4
}

test_100000_prefixes_are_read_while_traffic_flows() {
	local start
	load_start a load-http $VIP4 80 rate 100 from $CLIENT4
	awk -v other=$OTHER4 'BEGIN {
		for (i = 0; i < 100000; i++) {
			if (i == 50000) print other
			n = i * 147 + 1000000 # spread, apart from the address above and the client
			printf "%d.%d.%d.0/24\n", 1 + n / 65536 % 190, n / 256 % 256, n % 256
		}
	}' | sort -u >"$WORK/deny.new" && mv "$WORK/deny.new" "$WORK/deny.txt"
	start=$EPOCHREALTIME
	lbctl reload --lists || return 1
	echo "# read in $(jq -n "$EPOCHREALTIME - $start") s"
	expect_denied $OTHER4
	expect_served $CLIENT4
	expect "prefixes" "$(service_field web4 deny)" -gt 99000
	load_end a
	expect "failed requests" "$(report_field a .failed)" = 0
}

set_up_or_end lab_with_lists
run_tests "$@"
