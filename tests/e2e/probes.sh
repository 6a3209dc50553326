#!/bin/bash
# The process that runs HTTP checks: what it may do, and what happens when it is killed, stopped, or
# lbd itself ends.
# shellcheck disable=SC2034 # FAILED is read by lib.sh
. "$(dirname "$0")/lib.sh"

process_runs_again() { # RESTARTS
	[ "$(probe_process running)" = true ] && [ "$(probe_process restarts)" -ge "$1" ]
}

test_it_has_no_rights() {
	local pid
	pid=$(probe_process pid) || return 1
	expect "its parent" "$(proc_status "$pid" PPid)" = "$(lbd_pid)"
	for set in CapInh CapPrm CapEff CapBnd CapAmb; do
		expect $set "$(proc_status "$pid" $set)" = 0000000000000000
	done
	expect "no new privileges" "$(proc_status "$pid" NoNewPrivs)" = 1
	expect "seccomp" "$(proc_status "$pid" Seccomp)" = 2
	expect "user" "$(proc_status "$pid" Uid)" = 65534
	expect "OOM score" "$(cat "/proc/$pid/oom_score_adj")" = 500
	expect "its first descriptors" \
		"$(readlink /proc/"$pid"/fd/[012] | sort | uniq -c | awk '{ print $1 $2 }')" = 3/
	expect "maps, programs and links that it holds" \
		"$(bpf_descriptors "$pid")" -eq 0
	expect "of them those of lbd" "$(bpf_descriptors "$(lbd_pid)")" -gt 0
	expect "its name" "$(cat "/proc/$pid/comm")" = lbd-probes
}

test_kill_9_while_traffic_goes_on_takes_no_backend_down() {
	local lines before
	lines=$(log_lines) before=$(probe_process restarts)
	load_start killed load-http $VIP4 80 rate 400
	for i in 1 2 3 4 5; do
		kill -9 "$(probe_process pid)" || return 1
		lab_wait_for 10 "the process to run again" process_runs_again $((before + i)) ||
			return 1
		backends_up 12 || FAILED=1
	done
	load_end killed
	expect "failed requests" "$(report_field killed .failed)" = 0
	expect "backends that went down" "$(downs_since "$lines")" -eq 0
	expect "why" "$(probe_process why)" = "killed by SIGKILL"
	expect "restarts in the metrics" "$(metric lbd_probe_process_restarts_total)" -ge \
		$((before + 5))
	expect "down in the metrics" "$(metric lbd_probe_process_down)" = 0
	logged "probe process (pid"
	lbctl status | grep -q '^Probe process  pid .*restarted' || FAILED=1
}

test_checks_go_on_afterwards() {
	lab_kill nginx-b2 KILL
	lab_wait_for 10 "b2 to be down" backends_up 6 || return 1
	lab_nginx_start 2
	lab_wait_for 10 "b2 to be up" backends_up 12
}

# With a backend that dies while there is no process: it is found when there is one again.
test_a_backend_that_dies_with_the_process_is_found() {
	local before
	before=$(probe_process restarts)
	kill -9 "$(probe_process pid)"
	lab_kill nginx-b2 KILL
	lab_wait_for 15 "b2 to be down" backends_up 6 || return 1
	expect restarts "$(probe_process restarts)" -gt "$before"
	lab_nginx_start 2
	lab_wait_for 10 "b2 to be up" backends_up 12
}

test_a_process_that_hangs_is_replaced_and_takes_no_backend_down() {
	local lines before pid
	lines=$(log_lines) before=$(probe_process restarts) pid=$(probe_process pid)
	load_start hangs load-http $VIP4 80 rate 200
	kill -STOP "$pid"
	lab_wait_for 30 "the process to be replaced" process_runs_again $((before + 1)) || {
		kill -CONT "$pid"
		return 1
	}
	load_end hangs
	expect "failed requests" "$(report_field hangs .failed)" = 0
	expect "backends that went down" "$(downs_since "$lines")" -eq 0
	expect "why" "$(probe_process why)" = "it hangs: no answer to a ping"
	has_ended "$pid"
}

test_a_reload_without_http_checks_and_back_keeps_it() {
	local pid
	pid=$(probe_process pid)
	cp "$WORK/lbd.yaml" "$WORK/http.yaml"
	sed -i 's/type: http, port: 80, path: [^,]*,/type: tcp, port: 80,/' "$WORK/lbd.yaml"
	lbctl reload >/dev/null || return 1
	lab_wait_for 10 "all backends to be up by tcp" backends_up 12
	lab_wait_for 10 "no probe to be left" no_probes
	mv "$WORK/http.yaml" "$WORK/lbd.yaml"
	lbctl reload >/dev/null || return 1
	lab_wait_for 10 "all backends to be up by http" backends_up 12
	expect "pid" "$(probe_process pid)" = "$pid"
}
no_probes() { [ "$(probe_process probes)" = 0 ]; }

test_it_ends_with_lbd_and_the_next_lbd_has_its_own() {
	local pid
	for signal in KILL TERM; do
		pid=$(probe_process pid)
		stop_lbd $signal
		lab_wait_for 5 "the probe process to end" has_ended "$pid" || return 1
		lab_lbd_start || return 1
		lab_wait_for 10 "all backends to be up" backends_up 12
		lab_wait_for 10 "its process to run" process_runs_again 0
		expect "its pid" "$(probe_process pid)" != "$pid"
	done
}

# Signals to the whole group (Ctrl-C, systemd) are lbd's to act on.
test_sigterm_alone_does_not_end_it() {
	local before
	before=$(probe_process restarts)
	for signal in TERM INT HUP; do kill -$signal "$(probe_process pid)"; done
	sleep 0.5
	lab_wait_for 5 "it to run" process_runs_again "$before"
	expect restarts "$(probe_process restarts)" = "$before"
}

set_up_or_end lab_with_lbd 2
run_tests "$@"
