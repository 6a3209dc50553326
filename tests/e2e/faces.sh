#!/bin/bash
# Hostile clients of the metrics and of the control socket, and what they cost the rest of lbd: a
# dead backend is noticed, lbctl is answered, memory stays. Each figure is compared with that of a
# quiet lbd in the same run. The limits are wide, as the clients take the same CPUs; the figures are
# printed. FACES_SERVICES and FACES_ROUNDS change the size.
. "$(dirname "$0")/lib.sh"

SERVICES=${FACES_SERVICES:-1000} # of 10 backends each
ROUNDS=${FACES_ROUNDS:-5}
METRICS=127.0.0.1:9469

lbd_pid() { cat "$WORK/lbd.pid"; }
swarm() { # NAME WHERE PATH [KIND COUNT]...
	lab_spawn "$1" in_ns lb "$BUILD/tests/e2e/swarm" "${@:2}"
}

# ---- what is measured ----

backend_is() { [ "$(backend_field web4 10.0.0.11 condition)" = "$1" ]; } # CONDITION

start_server() {
	lab_spawn tcp-b1 in_ns b1 "$BUILD/tests/e2e/traffic" serve-tcp :: 7000 name b1
}

# Kills the server of a backend. Prints the ms until lbd has noticed.
notice_ms() {
	local lines begin
	lab_wait_for 30 "10.0.0.11 to be up" backend_is up || return 1
	lines=$(log_lines)
	begin=$(now_ms)
	lab_kill tcp-b1 KILL
	timeout 120 grep -qm1 "backend 10.0.0.11 down" \
		<(exec tail -n "+$((lines + 1))" -f --pid=$$ "$WORK/lbd.log") || return 1
	echo $(($(now_ms) - begin))
	start_server
}

# Each line a figure: prints the middle one.
median() { sort -n | awk '{ v[NR] = $1 } END { if (NR) print v[int((NR + 1) / 2)] }'; }

notices() { # prints the ms of each round
	local i
	for i in $(seq "$ROUNDS"); do notice_ms || return 1; done
}
answers() { # prints the ms of lbctl status, 20 times
	local i begin
	for i in $(seq 20); do
		begin=$(now_ms)
		lbctl status >/dev/null || return 1
		echo $(($(now_ms) - begin))
	done
}

rss_kb() { awk -v f="$1:" '$1 == f { print $2 }' "/proc/$(lbd_pid)/status"; } # VmRSS or VmHWM
forget_peak() { echo 5 >"/proc/$(lbd_pid)/clear_refs"; }
scrape() { in_ns lb curl -sf -m 30 -o "${1:-/dev/null}" "http://$METRICS/metrics"; } # [FILE]
# How often the loop has been late by more than each bound so far: "5ms 12, 20ms 3, ...".
late_counts() { # FILE
	lab_wait_for 60 "an answer to a scrape" scrape "$1.metrics"
	awk -F '[" ]' '/^lbd_loop_late_seconds_bucket/ { n[++b] = $NF; le[b] = $2 }
		END { for (i = 1; i < b; i++) print le[i], n[b] - n[i] }' "$1.metrics" >"$1"
}
late_between() { # FILE FILE: the same between two of them
	paste -d' ' "$1" "$2" | awk '$4 > $2 { print "over " $1 " s: " $4 - $2 }' | paste -sd,
}

measure() { # NAME: leaves NAME.notice, NAME.answer and NAME.peak in $WORK
	forget_peak
	late_counts "$WORK/late.before"
	lbctl backends >/dev/null
	notices >"$WORK/$1.notices" && answers >"$WORK/$1.answers" || return 1
	median <"$WORK/$1.notices" >"$WORK/$1.notice"
	median <"$WORK/$1.answers" >"$WORK/$1.answer"
	rss_kb VmHWM >"$WORK/$1.peak"
	late_counts "$WORK/late.after"
	echo "# $1: a dead backend is noticed after $(paste -sd' ' "$WORK/$1.notices") ms"
	echo "# $1: lbctl status takes $(sort -n "$WORK/$1.answers" | paste -sd' ') ms"
	echo "# $1: peak of memory $(cat "$WORK/$1.peak") kB"
	echo "# $1: times that the loop was late: $(late_between "$WORK/late.before" "$WORK/late.after")"
}
of() { cat "$WORK/$1"; }

# The first test measures the quiet lbd, all others compare with it.
quiet() {
	[ -s "$WORK/quiet.notice" ] && return
	measure quiet && scrape "$WORK/quiet.metrics" &&
		curl -sf --unix-socket "$WORK/lbd.sock" -o "$WORK/quiet.top" http://lbd/v1/top || return 1
	echo "# quiet: bytes of a text: metrics $(stat -c %s "$WORK/quiet.metrics")," \
		"top $(stat -c %s "$WORK/quiet.top")"
}

expect_undisturbed() { # NAME
	expect "ms until a dead backend is noticed" "$(of "$1.notice")" -le \
		"$((2 * $(of quiet.notice)))"
	expect "ms of lbctl status" "$(of "$1.answer")" -le \
		"$((200 * LAB_SLOWDOWN + 4 * $(of quiet.answer)))"
	has_real_memory || return 0
	expect "peak of memory, kB" "$(of "$1.peak")" -le "$(peak_allowed_kb)"
}
# What docs/faces.md lets texts take, beyond a quiet lbd that has built one of each: two of the
# metrics and half a one, four large answers of the control socket and one that is being built. A
# hundred connections beside them have their heads and buffers.
peak_allowed_kb() {
	local metrics top
	metrics=$(stat -c %s "$WORK/quiet.metrics")
	top=$(stat -c %s "$WORK/quiet.top")
	echo $(($(of quiet.peak) + (5 * metrics / 2 + 5 * top) / 1024 + 8192))
}
# AddressSanitizer keeps freed memory for a while.
has_real_memory() { ! grep -q __asan_init "$BUILD/lbd"; }

under() { # NAME: measures while the swarms m and c run, then ends them
	local measured=0
	measure "$1" || measured=1
	lab_kill m
	lab_kill c
	echo "# $1: clients of metrics $(cat "$WORK/m.log"), of control $(cat "$WORK/c.log")"
	[ $measured = 0 ] && expect_undisturbed "$1"
}

# ---- tests ----

test_looping_clients_delay_nothing() {
	quiet || return 1
	swarm m $METRICS /metrics loop 500
	swarm c "$WORK/lbd.sock" /v1/top loop 100
	under looping
}

test_idle_and_slow_clients_delay_nothing() {
	quiet || return 1
	swarm m $METRICS /metrics idle 200 bytes 200 slow 100
	swarm c "$WORK/lbd.sock" /v1/backends idle 40 bytes 40 slow 20
	under slow
}

test_mixed_clients_delay_nothing_and_are_counted() {
	quiet || return 1
	swarm m $METRICS /metrics loop 200 idle 100 bytes 100 slow 100
	swarm c "$WORK/lbd.sock" /v1/top loop 40 idle 20 bytes 20 slow 20
	under mixed
	lab_wait_for 30 "an answer to a scrape" scrape "$WORK/metrics" || return 1
	expect "connections of metrics refused" "$(refused metrics connections)" -gt 0
	expect "answers of metrics cut" "$(refused metrics slow_answer)" -gt 0
	expect "warnings" "$(grep -c 'warning: metrics: .*logged once a minute' "$WORK/lbd.log")" \
		-le "$((2 + SECONDS / 60))"
}
refused() { # FACE REASON
	awk -v s="lbd_face_refused_total{face=\"$1\",reason=\"$2\"}" '$1 == s { print $2 }' \
		"$WORK/metrics"
}

test_memory_goes_back_when_the_clients_are_gone() {
	has_real_memory || { skip "AddressSanitizer keeps freed memory"; return; }
	quiet || return 1
	lab_wait_for 30 "memory to go back" memory_is_back ||
		expect "memory afterwards, kB" "$(rss_kb VmRSS)" -le "$(of quiet.peak)"
}
memory_is_back() { [ "$(rss_kb VmRSS)" -le "$(of quiet.peak)" ]; }

test_scrapes_at_the_same_time_share_a_text() {
	local begin=$SECONDS i pids=() texts
	for i in $(seq 20); do
		scrape "$WORK/scrape.$i" &
		pids+=($!)
	done
	wait "${pids[@]}"
	texts=$(cat "$WORK"/scrape.* | grep -c '^lbd_start_time_seconds')
	expect "whole answers" "$texts" -ge 1
	texts=$(md5sum "$WORK"/scrape.* | awk '{ print $1 }' | sort -u | wc -l)
	expect "different texts" "$texts" -le "$((SECONDS - begin + 2))"
}

test_other_host_names_are_refused() {
	expect "status for a foreign name" "$(status_for -H 'Host: evil.example')" = 421
	expect "status for localhost" "$(status_for -H 'Host: localhost:9469')" = 200
	expect "status for the address" "$(status_for)" = 200
}
status_for() { # CURL-OPTION...
	in_ns lb curl -s -m 30 -o /dev/null -w '%{http_code}' "$@" "http://$METRICS/"
}

# The worst that a client can do before lbd knows it: handshakes without end, some in the midst of
# which nothing comes any more, and what is no TLS. Then one that is known asks all the time.
test_clients_of_the_api_listener_delay_nothing() {
	local pem=$WORK/api.pem key=$WORK/api.key i measured=0
	quiet || return 1
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=lb \
		-keyout "$key" -out "$pem" 2>/dev/null || return 1
	chmod 600 "$key"
	restart_lbd "s|^metrics:.*|&\napi: { listen: '127.0.0.1:9470', certificate: $pem, key: $key, client-ca: $pem }|" || return 1
	swarm m 127.0.0.1:9470 /v1/status idle 500 bytes 100
	for i in 1 2; do
		lab_spawn "h$i" in_ns lb openssl s_time -connect 127.0.0.1:9470 -new -time 600
	done
	lab_spawn c in_ns lb bash -c "while :; do curl -sk -m 30 -o /dev/null --cert $pem --key $key \
		https://127.0.0.1:9470/v1/top; done"
	measure api || measured=1
	for i in h1 h2 c m; do lab_kill "$i"; done
	[ $measured = 0 ] && expect_undisturbed api
	lab_wait_for 30 "an answer to a scrape" scrape "$WORK/metrics" || return 1
	expect "handshakes that failed" "$(refused api handshake)" -gt 0
	expect "connections refused" "$(refused api connections)" -gt 0
	expect "an answer among them" "$(in_ns lb curl -sk -m 30 -o /dev/null -w '%{http_code}' \
		--cert "$pem" --key "$key" https://127.0.0.1:9470/v1/status)" = 200
	sed -i '/^api:/d' "$WORK/lbd.yaml"
	restart_lbd
}

# ---- an lbd with few descriptors, and one whose metrics are not for all ----

restart_lbd() { # [SED-EXPRESSION]: of the config
	lab_kill lbd
	sed -i "${1:-s/^//}" "$WORK/lbd.yaml"
	lab_lbd_start && lab_wait_for 30 "10.0.0.11 to be up" backend_is up
}

test_idle_connections_never_use_the_last_descriptors() {
	local LBD=$WORK/lbd-256
	printf '#!/bin/sh\nexec prlimit --nofile=256:256 %s "$@"\n' "$BUILD/lbd" >"$LBD"
	chmod +x "$LBD"
	restart_lbd || return 1
	swarm m $METRICS /metrics idle 1100
	swarm c "$WORK/lbd.sock" /v1/status idle 300
	notice_ms && lab_wait_for 30 "10.0.0.11 to be up" backend_is up ||
		expect "what was noticed" nothing = "the loss and the return of 10.0.0.11"
	expect "descriptors" "$(find "/proc/$(lbd_pid)/fd" -mindepth 1 | wc -l)" -lt 256
	expect "status of a request among them" "$(status_for)" = 200
	expect "probes without a descriptor" \
		"$(grep -c 'probe not run\|cannot accept' "$WORK/lbd.log")" = 0
	lab_kill m
	lab_kill c
}

test_metrics_may_ask_for_a_token_on_a_unix_socket() {
	local url=http://lbd/metrics unix=$WORK/metrics.sock
	head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$WORK/token"
	chmod 644 "$WORK/token"
	restart_lbd "s|^metrics:.*|metrics: unix:$unix\nmetrics-token-file: $WORK/token|" || return 1
	expect "the refusal of a token that all may read" \
		"$(grep -c "token: mode 644: expected 600 or 640" "$WORK/lbd.log")" -ge 1
	expect "a socket without its token" "$(test -e "$unix" && echo there || echo none)" = none
	chmod 600 "$WORK/token"
	restart_lbd || return 1
	expect "mode of the socket" "$(stat -c %a "$unix")" = 660
	expect "status without the token" "$(curl -s -m 30 -o /dev/null -w '%{http_code}' \
		--unix-socket "$unix" $url)" = 401
	expect "status with the token" "$(curl -s -m 30 -o /dev/null -w '%{http_code}' \
		--unix-socket "$unix" -H "Authorization: Bearer $(cat "$WORK/token")" $url)" = 200
}

# ---- the lab: one service with checks, and many that make texts long ----

many_services() {
	local i j
	for i in $(seq "$SERVICES"); do
		printf '  - { name: s%d, vip: 203.0.%d.%d, protocol: tcp, port: 80, slots: 1009, ' \
			"$i" $((i / 250)) $((i % 250 + 1))
		printf 'health: { type: %s }, backends: [' "${FACES_HEALTH:-none}"
		for j in $(seq 10); do
			printf '%s{ address: 10.0.0.%d }' "${comma[j]}" $((100 + j))
		done
		printf '] }\n'
	done
}

lab_with_many_services() {
	local i comma=([2]=', ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ', ')
	lab_up 2 || return 1
	for i in $(seq 10); do
		in_ns b2 ip addr add "10.0.0.$((100 + i))/24" dev eth0
	done
	for i in 1 2; do
		in_ns "b$i" "$BUILD/lbctl" backend-host setup --iface eth0 --vip "$VIP4" >/dev/null ||
			return 1
	done
	start_server
	{
		lab_config_head
		echo "services:"
		cat <<-CONF
			  - name: web4
			    vip: $VIP4
			    protocol: tcp
			    port: 7000
			    health: { type: tcp, interval: 500ms, timeout: 450ms, rise: 1, fall: 3 }
			    backends: [{ address: 10.0.0.11 }, { address: 10.0.0.12 }]
		CONF
		many_services
	} >"$WORK/lbd.yaml"
	lab_spawn tcp-b2 in_ns b2 "$BUILD/tests/e2e/traffic" serve-tcp :: 7000 name b2
	lab_lbd_start && lab_wait_for 60 "all to be up" backends_up $((SERVICES * 10 + 2))
}

set_up_or_end lab_with_many_services
run_tests "$@"
