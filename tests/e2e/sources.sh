#!/bin/bash
# Backends that sources name (`backends-from`): 2 -> 20 -> 2 under load by each kind of source, and
# sources that fail, which change nothing. The API does the same: PUT and DELETE.
# shellcheck disable=SC2034 # FAILED is read by run_tests
. "$(dirname "$0")/lib.sh"

COUNT=20

# The service of the long-lived connections, from the source; those of two backends have none.
write_config() { # BACKENDS-FROM
	{
		lab_config_head
		echo "services:"
		config_service web4 "$VIP4" tcp 80 4 2 "backends-from: { file: $WORK/backends/web }"
		config_sourced tcp4 "$VIP4" tcp 7000 "$1"
	} >"$WORK/lbd.yaml"
}

# Renamed into place.
file_names() { # COUNT
	addresses 1 "$1" >"$WORK/backends/.new"
	mv "$WORK/backends/.new" "$WORK/backends/web"
}

test_a_file_takes_a_service_from_2_to_20_and_back_and_nothing_breaks() {
	write_config "{ file: $WORK/backends/web }"
	lbctl reload >/dev/null || return 1
	lab_wait_for 10 "2 backends" takes_flows tcp4 2 || return 1
	across grow_and_shrink $COUNT file_names tcp4
	expect "named" "$(source_field tcp4 named)" = 2
	logged "service tcp4: backends from file $WORK/backends/web: 18 added, 0 removed, 0 changed; 20 named"
}

api_names() { # COUNT
	local address method=PUT body='{"ttl":600}'
	[ "$1" -gt 2 ] || method=DELETE body='{}'
	for address in $(addresses 3 $COUNT); do
		curl -sf -m 60 -o /dev/null --unix-socket "$WORK/lbd.sock" -X $method -d "$body" \
			"http://lbd/v1/services/tcp4/backends/$address" || return 1
	done
}
test_the_api_does_the_same() { across grow_and_shrink $COUNT api_names tcp4; }

# All addresses of one name; a TTL of a second.
dns_names() { # COUNT
	{ [ "$1" = 0 ] || addresses 1 "$1"; } | sed 's/$/ web.example.net/' >"$WORK/hosts"
	kill -HUP "$(cat "$WORK/dnsmasq.pid")"
}
dns_start() {
	lab_spawn dnsmasq in_ns lb dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv \
		--no-hosts --addn-hosts="$WORK/hosts" --local-ttl=1 --port=5353 --user=root \
		--listen-address=127.0.0.1 --bind-interfaces --pid-file=
}
test_the_dns_does_the_same() {
	command -v dnsmasq >/dev/null || {
		skip "dnsmasq is missing: sudo tools/deps test"
		return
	}
	addresses 1 2 | sed 's/$/ web.example.net/' >"$WORK/hosts"
	dns_start
	write_config '{ dns: web.example.net, server: "127.0.0.1:5353" }'
	lbctl reload >/dev/null || return 1
	lab_wait_for 20 "the source to work" source_works tcp4 || return 1
	across grow_and_shrink $COUNT dns_names tcp4
	dns_names 0
	lab_wait_for 20 "the source to fail" source_fails tcp4 || return 1
	lab_kill dnsmasq
	expect "backends" "$(service_field tcp4 source | jq .named)" = 2
	takes_flows tcp4 2 || return 1
	addresses 1 3 | sed 's/$/ web.example.net/' >"$WORK/hosts"
	dns_start
	lab_wait_for 20 "3 backends" takes_flows tcp4 3
	source_process_has_no_rights
}
source_process_has_no_rights() {
	local pid
	pid=$(pgrep -P "$(lbd_pid)" -f source-process) || return 1
	expect "capabilities" "$(proc_status "$pid" CapEff)" = 0000000000000000
	expect "seccomp" "$(proc_status "$pid" Seccomp)" = 2
	expect "user" "$(proc_status "$pid" Uid)" = 65534
	kill -9 "$pid"
	lab_wait_for 10 "it to be started again" logged_and_works
}
logged_and_works() { grep -q "source process: killed by SIGKILL" "$WORK/lbd.log" && source_works tcp4; }

etcdctl3() { # WORD...
	ETCDCTL_API=3 in_ns lb etcdctl --endpoints=http://127.0.0.1:2379 --command-timeout=10s "$@"
}
etcd_start() { # DATA-DIRECTORY
	lab_spawn etcd in_ns lb etcd --data-dir "$WORK/$1" --log-level error \
		--listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
		--listen-peer-urls http://127.0.0.1:2380 \
		--initial-advertise-peer-urls http://127.0.0.1:2380 \
		--initial-cluster default=http://127.0.0.1:2380
	lab_wait_for 20 "etcd to answer" etcdctl3 endpoint health
}
# One transaction of all changes.
etcd_names() { # COUNT
	local first=3 verb="put" end=' 100'
	[ "$1" -gt 2 ] || verb="del" end=
	{
		echo
		addresses $first $COUNT | sed "s|.*|$verb /lbd/tcp4/&$end|"
		echo
		echo
	} | etcdctl3 txn >/dev/null
}
test_etcd_does_the_same() {
	command -v etcd etcdctl >/dev/null || {
		skip "etcd is missing: sudo tools/deps test"
		return
	}
	etcd_start etcd || return 1
	etcdctl3 put /lbd/tcp4/10.0.0.11 100 >/dev/null && etcdctl3 put /lbd/tcp4/b2 \
		'{"address":"10.0.0.12","name":"b2"}' >/dev/null || return 1
	write_config '{ etcd: "http://127.0.0.1:2379", prefix: /lbd/tcp4/ }'
	lbctl reload >/dev/null || return 1
	lab_wait_for 20 "the source to work" source_works tcp4 || return 1
	across grow_and_shrink $COUNT etcd_names tcp4
	expect "name" "$(backend_field tcp4 10.0.0.12 name)" = b2
}

# Killed, started again, emptied, and replaced by an empty one.
etcd_goes_wrong() {
	lab_kill etcd KILL
	lab_wait_for 30 "the source to fail" source_fails tcp4 || return 1
	etcd_start etcd || return 1
	lab_wait_for 30 "the source to work" source_works tcp4 || return 1
	etcdctl3 del --prefix /lbd/ >/dev/null || return 1
	lab_wait_for 30 "the source to fail" source_fails tcp4 || return 1
	contains "$(source_field tcp4 why)" "it names 0 backends"
	lab_kill etcd KILL
	etcd_start etcd-new || return 1
	sleep 1
	expect "it still fails" "$(source_fails tcp4 && echo yes)" = yes
	takes_flows tcp4 2
}
test_etcd_killed_restored_and_emptied_changes_nothing() {
	local before
	[ -f "$WORK/etcd.pid" ] || {
		skip "needs the test before it, and etcd"
		return
	}
	before=$(wanted tcp4)
	across etcd_goes_wrong
	expect "backends" "$(wanted tcp4)" = "$before"
	etcdctl3 put /lbd/tcp4/10.0.0.13 '' >/dev/null
	lab_wait_for 30 "the new list" takes_flows tcp4 1
}

test_a_file_that_is_gone_empty_or_nonsense_changes_nothing() {
	local before
	file_names 2
	write_config "{ file: $WORK/backends/web }"
	lbctl reload >/dev/null || return 1
	lab_wait_for 20 "the source to work" source_works tcp4 || return 1
	lab_wait_for 20 "2 backends" takes_flows tcp4 2 || return 1
	before=$(wanted tcp4)
	: >"$WORK/backends/web"
	lab_wait_for 10 "the source to fail" source_fails tcp4 || return 1
	contains "$(source_field tcp4 why)" "it names 0 backends: expected 1 (min) or more"
	contains "$(lbctl services)" "those that it named last stay"
	contains "$(lbctl status)" "backends-from of 2 fails"
	expect "metric" "$(service_metric lbd_service_source_backends tcp4)" = 2
	rm "$WORK/backends/web"
	sleep 1
	lab_kill lbd KILL
	lab_lbd_start || return 1
	expect "backends" "$(wanted tcp4)" = "$before"
	lab_wait_for 10 "2 backends" takes_flows tcp4 2
	lab_wait_for 10 "the source to fail" source_fails tcp4
	file_names 2
	lab_wait_for 10 "the source to work" source_works tcp4
	logged "backends from file $WORK/backends/web: works again, 2 named"
}

set_up() {
	lab_with_servers $COUNT || return 1
	mkdir "$WORK/backends"
	file_names 2
	write_config "{ file: $WORK/backends/web }"
	lab_lbd_start && lab_wait_for 10 "all to be up" backends_up 4
}
set_up_or_end set_up
run_tests "$@"
