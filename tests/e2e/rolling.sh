#!/bin/bash
# A rolling update: ten backends are drained, stopped, started and put back, one after the other,
# under a load of short and long connections. No request may fail.
. "$(dirname "$0")/lib.sh"

COUNT=10
LOADS="web4 web6 tcp4 tcp6"

config() { # LINES: in every service
	lab_config_head
	echo "services:"
	config_service web4 $VIP4 tcp 80 4 $COUNT "$1"
	config_service web6 $VIP6 tcp 80 6 $COUNT "$1"
	config_service tcp4 $VIP4 tcp 7000 4 $COUNT "algorithm: least-conn"$'\n'"$1"
	config_service tcp6 $VIP6 tcp 7000 6 $COUNT "$1"
}

start_servers() { # N
	lab_nginx_start "$1"
	lab_spawn "tcp-b$1" in_ns "b$1" "$BUILD/tests/e2e/traffic" serve-tcp :: 7000 name "b$1"
}

# Short HTTP requests, and connections that last two seconds and ask five times a second.
loads_start() {
	load_start web4 load-http $VIP4 80 rate 200
	load_start web6 load-http $VIP6 80 rate 200
	load_start tcp4 hold $VIP4 7000 connections 100 lifetime 2 interval 0.2
	load_start tcp6 hold $VIP6 7000 connections 100 lifetime 2 interval 0.2
}

# Drains the backend in all services at once, and waits for all of them.
drain() { # N
	local service address pid status=0 waits=()
	for service in $LOADS; do
		address=$(backend_address "$1" ${service: -1})
		(LAB_EXEC="exec" lbctl drain $service "$address" \
			--wait --timeout $((120 * LAB_SLOWDOWN))s \
			>"$WORK/drain-$1-$service.log" 2>&1) &
		waits+=($!)
	done
	for pid in "${waits[@]}"; do wait "$pid" || status=1; done
	[ $status = 0 ] || cat "$WORK/drain-$1-"*.log
	return $status
}

replace() { # N
	local service address
	drain "$1" || return 1
	lab_kill "nginx-b$1"
	lab_kill "tcp-b$1"
	start_servers "$1"
	lab_wait_for 10 "b$1's servers" servers_answer "$1" || return 1
	for service in $LOADS; do
		address=$(backend_address "$1" ${service: -1})
		lbctl backend undrain $service "$address" >/dev/null || return 1
	done
}
# A restart may be too short for a health check to notice, so the servers themselves are asked.
servers_answer() { # N
	in_ns "b$1" curl -s -m 1 http://127.0.0.1/healthz &&
		in_ns "b$1" "$BUILD/tests/e2e/traffic" load-tcp 127.0.0.1 7000 rate 10 seconds 0.1
}
up_again() { # N: its entries in all services
	[ "$(lbctl backends --json | json '
		[.backends[] | select(.address == ($v4, $v6)) | .condition] | unique | join(" ")' \
		--arg v4 "$(backend_address "$1" 4)" --arg v6 "$(backend_address "$1" 6)")" = up ]
}

test_ten_backends_are_replaced_one_after_the_other_and_no_request_fails() {
	local i service begin replaced=0
	loads_start
	sleep 1
	begin=$SECONDS
	for i in $(seq $COUNT); do
		replace "$i" || break
		lab_wait_for 10 "b$i to be up again" up_again "$i" || break
		replaced=$((replaced + 1))
		echo "# b$i replaced after $((SECONDS - begin)) s"
	done
	sleep 1
	for service in $LOADS; do load_end $service; done
	for service in $LOADS; do
		grep -v 'connections open' "$WORK/$service.err" | head -n 5 |
			sed "s/^/# $service: /"
		expect "$service: failed, broken or moved" \
			"$(report_field $service '[.failed, .broken, .moved] | add')" = 0
		expect "$service: backends that served" \
			"$(report_field $service '.by | length')" = $COUNT
	done
	expect "backends replaced" $replaced = $COUNT
}

set_up() {
	lab_with_servers $COUNT || return 1
	config "idle-timeout: { tcp: $((3 * LAB_SLOWDOWN))s }" >"$WORK/lbd.yaml"
	lab_lbd_start && lab_wait_for 10 "all backends to be up" backends_up $((4 * COUNT))
}

set_up_or_end set_up
run_tests "$@"
