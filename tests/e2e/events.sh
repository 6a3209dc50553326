#!/bin/bash
# What changes is recorded with when, why and who; those who follow lose nothing and get nothing
# twice, also over a crash of lbd; and a command is given the events, without rights.
# shellcheck disable=SC2034 # FAILED is read by run_tests
. "$(dirname "$0")/lib.sh"

events() { lbctl events --json "$@"; }
newest() { events | jq -s 'last.seq'; }
# How many of a kind have come after an event.
count_since() { # SEQ KIND
	events | jq -s --argjson after "$1" --arg kind "$2" \
		'map(select(.seq > $after and .kind == $kind)) | length'
}
has_come() { [ "$(count_since "$1" "$2")" -gt 0 ]; } # SEQ KIND
wait_for_event() { # SEQ KIND
	lab_wait_for 20 "an event $2" has_come "$1" "$2" && return
	events | tail -n 5 | sed 's/^/# /'
	return 1
}

test_what_people_change_is_recorded_with_their_user() {
	local before
	before=$(newest)
	lbctl backend weight web4 10.0.0.11 7 >/dev/null || return 1
	expect "who" "$(last_event backend-weight .who)" = root
	expect "uid" "$(last_event backend-weight .uid)" = 0
	expect "service" "$(last_event backend-weight .service)" = web4
	expect "backend" "$(last_event backend-weight .backend)" = 10.0.0.11
	contains "$(last_event backend-weight .text)" ": backend 10.0.0.11: weight 7"
	lbctl backend weight web4 10.0.0.11 100 >/dev/null
	lbctl backend add web4 10.0.0.99 --weight 0 >/dev/null || FAILED=1
	expect "added by" "$(last_event backend-added .who)" = root
	lbctl backend remove web4 10.0.0.99 --now >/dev/null || FAILED=1
	expect "removed by" "$(last_event backend-removed .who)" = root
	lbctl drain web4 10.0.0.12 >/dev/null || FAILED=1
	wait_for_event "$before" backend-draining
	expect "drained by" "$(last_event backend-draining .who)" = root
	lbctl backend undrain web4 10.0.0.12 >/dev/null || FAILED=1
	expect "undrained by" "$(last_event backend-undrained .who)" = root
}

# Another user is in group root here, and so may use the socket.
test_another_user_is_named() {
	chmod g+x "$WORK"
	in_ns lb setpriv --reuid daemon --regid root --clear-groups \
		"$BUILD/lbctl" --socket "$WORK/lbd.sock" backend weight web4 10.0.0.11 8 >/dev/null || return 1
	expect "who" "$(last_event backend-weight .who)" = daemon
	expect "uid" "$(last_event backend-weight .uid)" = "$(id -u daemon)"
	lbctl backend weight web4 10.0.0.11 100 >/dev/null
}

test_what_lbd_finds_is_recorded_with_the_reason() {
	local before
	before=$(newest)
	lab_kill nginx-b1
	wait_for_event "$before" backend-down
	expect "who" "$(last_event backend-down .who)" = lbd
	expect "uid" "$(last_event backend-down '.uid | tostring')" = null
	expect "level" "$(last_event backend-down .level)" = warning
	contains "$(last_event backend-down .why)" refused
	contains "$(last_event backend-down .text)" "$(last_event backend-down .why)"
	lab_nginx_start 1
	wait_for_event "$before" backend-up
	lab_wait_for 20 "all backends to be up" backends_up 12
}

test_a_reload_is_recorded_whether_accepted_or_refused() {
	local before
	before=$(newest)
	lbctl backend weight web4 10.0.0.11 7 >/dev/null
	lbctl reload >/dev/null || return 1
	expect "who" "$(last_event reload-accepted .who)" = root
	contains "$(last_event override-dropped .text)" "weight 7 (the file has 100)"
	contains "$(last_event override-dropped .why)" "the config file takes precedence"
	sed -i.good 's/port: 80$/port: 70000/' "$WORK/lbd.yaml"
	! lbctl reload >/dev/null 2>&1 || FAILED=1
	expect "refused to" "$(last_event reload-refused .who)" = root
	contains "$(last_event reload-refused .why)" "port: 70000"
	kill -HUP "$(lbd_pid)"
	lab_wait_for 10 "the signal's reload to be refused" \
		lbd_refused_two "$before"
	expect "who a signal is" "$(last_event reload-refused .who)" = lbd
	mv "$WORK/lbd.yaml.good" "$WORK/lbd.yaml"
	logged "reload failed, nothing changed: "
}
lbd_refused_two() { [ "$(count_since "$1" reload-refused)" = 2 ]; } # SEQ

test_interfaces_are_recorded() {
	local before
	before=$(newest)
	ip -n "$(ns lb)" link add late type veth peer name late-peer
	lbctl attach late >/dev/null || FAILED=1
	expect "attached" "$(last_event interface-attached '[.interface, .who] | join(" ")')" = "late root"
	lbctl detach late >/dev/null || FAILED=1
	expect "detached" "$(last_event interface-detached '[.interface, .who] | join(" ")')" = "late root"
	lbctl attach late >/dev/null || FAILED=1
	ip -n "$(ns lb)" link del late
	wait_for_event "$before" interface-lost
	expect "lost" "$(last_event interface-lost '[.interface, .who] | join(" ")')" = "late lbd"
}

test_the_node_is_recorded() {
	local before
	before=$(newest)
	cp "$WORK/lbd.yaml" "$WORK/without.yaml"
	echo 'announce: {}' >>"$WORK/lbd.yaml"
	lbctl reload >/dev/null || FAILED=1
	wait_for_event "$before" node-up
	lbctl node drain >/dev/null || FAILED=1
	expect "ordered by" "$(last_event node-ordered .who)" = root
	wait_for_event "$before" node-draining
	lbctl node undrain >/dev/null
	mv "$WORK/without.yaml" "$WORK/lbd.yaml"
	lbctl reload >/dev/null
}

test_lines_name_time_user_and_text_and_can_be_chosen() {
	local line
	lbctl backend weight udp4 10.0.0.11 9 >/dev/null
	line=$(lbctl events --service udp4 | tail -n 1)
	contains "$line" " root "
	contains "$line" ": backend 10.0.0.11: weight 9"
	[[ $line =~ ^20[0-9]{2}-[0-9]{2}-[0-9]{2}\ [0-9:]{8}\.[0-9]{3}\ \  ]] || {
		echo "# no time: $line"
		FAILED=1
	}
	expect "other services" \
		"$(events --service udp4 | jq -s '[.[] | select(.service != "udp4")] | length')" = 0
	expect "of an hour" "$(events --since 1h | wc -l)" -gt 5
	expect "all" "$(events | wc -l)" -ge "$(events --since 1h | wc -l)"
	sleep 2
	events --since 1 --service udp4 >"$WORK/last" || FAILED=1
	expect "of the last second" "$(wc -l <"$WORK/last")" = 0
	contains "$(lbctl events --since soon 2>&1)" "--since soon: expected a duration"
	lbctl backend weight udp4 10.0.0.11 100 >/dev/null
}

# ---- following ----

follow() { # NAME [ARGUMENT]...
	local name=$1
	shift
	lab_empty "$WORK/$name.jsonl" "$WORK/$name.err"
	(LAB_EXEC="exec" lbctl events --follow --json "$@") >"$WORK/$name.jsonl" 2>"$WORK/$name.err" &
	echo $! >"$WORK/$name.pid"
}
followed() { grep -qF "$2" "$WORK/$1.jsonl"; } # NAME TEXT
end_follow() { # NAME
	local pid
	pid=$(cat "$WORK/$1.pid")
	kill "$pid" && wait "$pid" 2>/dev/null
	rm "$WORK/$1.pid"
}
control_connections() { # COUNT
	[ "$(metric 'lbd_face_connections{face="control"}')" -ge "$1" ]
}
change_weight() { lbctl backend weight web4 10.0.0.11 "$1" >/dev/null; } # WEIGHT

test_who_follows_loses_nothing_and_gets_nothing_twice_over_a_crash() {
	local before
	before=$(newest)
	follow all --since 1h
	lab_wait_for 10 "the first events" test -s "$WORK/all.jsonl" || return 1
	change_weight 11
	lab_wait_for 10 "a change to be followed" followed all ": weight 11"
	change_weight 12
	stop_lbd KILL
	lab_wait_for 10 "lbctl to notice" grep -q "lbd does not answer" "$WORK/all.err"
	lab_lbd_start || return 1
	change_weight 13
	lab_wait_for 20 "events after the crash" followed all ": weight 13"
	stop_lbd TERM
	lab_lbd_start || return 1
	change_weight 14
	lab_wait_for 20 "events after the restart" followed all ": weight 14"
	end_follow all
	expect "not in order, or twice" \
		"$(jq -s '[.[].seq] | . == unique' "$WORK/all.jsonl")" = true
	expect "changes followed" "$(jq -s --argjson before "$before" -c \
		'[.[] | select(.seq > $before and .kind == "backend-weight") | .text | split(" ") | last]' \
		"$WORK/all.jsonl")" = '["11","12","13","14"]'
	expect "missed" "$(grep -c missing "$WORK/all.err")" = 0
	events | jq -c 'select(.seq > '"$before"')' >"$WORK/kept.jsonl"
	expect "followed and kept are the same" \
		"$(jq -c 'select(.seq > '"$before"')' "$WORK/all.jsonl" | cmp - "$WORK/kept.jsonl" && echo same)" = same
	expect "a start is an event" "$(count_since "$before" lbd-started)" = 2
	expect "and a stop" "$(count_since "$before" lbd-stopped)" = 1
	change_weight 100
}

test_one_that_does_not_read_holds_up_nobody() {
	local pids=() i
	for i in $(seq 8); do
		follow "slow$i"
		pids+=("$(cat "$WORK/slow$i.pid")")
	done
	lab_wait_for 20 "all to wait for events" control_connections 8 || return 1
	# a connection need not have asked yet: those that have print what changes
	for i in $(seq 8); do lab_wait_for 20 "follower $i" follows_now "slow$i" || return 1; done
	kill -STOP "${pids[@]}"
	for i in $(seq 20); do change_weight $((i + 20)); done
	expect "lbd answers" "$(lbctl status --json | json .starting)" = false
	kill -CONT "${pids[@]}"
	for i in $(seq 8); do
		lab_wait_for 20 "follower $i to catch up" followed "slow$i" ": weight 40"
		end_follow "slow$i"
		expect "events of follower $i" "$(jq -s '[.[] | select(.kind == "backend-weight")
			| .text | split(" ") | last | tonumber | select(. > 20 and . <= 40)] | length' \
			"$WORK/slow$i.jsonl")" = 20
	done
	change_weight 100
}
follows_now() { # NAME
	change_weight $((1 + RANDOM % 19))
	[ -s "$WORK/$1.jsonl" ]
}

test_a_file_that_cannot_be_used_is_set_aside() {
	local file
	file=$(ls "$WORK"/state/events*.jsonl) || return 1
	expect "mode" "$(stat -c %a "$file")" = 600
	stop_lbd TERM
	echo nonsense >"$file"
	lab_lbd_start || return 1
	logged "the file is now $file.bad"
	expect "set aside" "$(cat "$file.bad")" = nonsense
	expect "events go on" "$(last_event lbd-started .who)" = lbd
}

# ---- notify ----

# A command that others may read, and a directory that it may write to.
write_command() { # BODY
	mkdir -p "$WORK/out" && chmod 777 "$WORK/out"
	chmod o+x "$WORK"
	printf '#!/bin/sh\n%s\n' "$1" >"$WORK/notify"
	chmod 755 "$WORK/notify"
}
notify_with() { # COMMAND
	sed -i '/^notify:/d' "$WORK/lbd.yaml"
	[ -z "$1" ] || echo "notify: $1" >>"$WORK/lbd.yaml"
	lbctl reload >/dev/null
}
has_runs() { [ "$(metric "lbd_notify_runs_total{result=\"$1\"}")" -ge "$2" ]; } # RESULT COUNT
was_given() { grep -qF "$1" "$WORK/out/events" 2>/dev/null; } # TEXT

test_a_command_is_given_the_events_without_rights() {
	rm -rf "$WORK/out"
	# the event last: a run before it, with that of the reload, has made the other files
	write_command "cat /proc/self/status >$WORK/out/status; id -u >$WORK/out/user; cat >>$WORK/out/events"
	notify_with "$WORK/notify --edge" || return 1
	change_weight 7
	lab_wait_for 20 "the event to be handed over" was_given ": weight 7"
	lab_wait_for 20 "the run to be counted" has_runs ok 1
	expect "who" "$(jq -rs 'map(select(.kind == "backend-weight")) | last.who' "$WORK/out/events")" = root
	expect "its user" "$(cat "$WORK/out/user")" = 65534
	expect "its capabilities" "$(status_field "$WORK/out/status" CapEff)" = 0000000000000000
	expect "no new privileges" "$(status_field "$WORK/out/status" NoNewPrivs)" = 1
	change_weight 100
	notify_with ""
}

test_a_command_that_hangs_holds_up_nothing_and_is_killed() {
	rm -rf "$WORK/out"
	write_command "sleep 1000 & echo \$! >$WORK/out/child; wait"
	notify_with "$WORK/notify" || return 1
	change_weight 7
	lab_wait_for 20 "the command to run" test -s "$WORK/out/child" || return 1
	change_weight 8
	expect "weight" "$(backend_field web4 10.0.0.11 weight)" = 8
	lab_wait_for 40 "the command to be killed" has_runs timeout 1
	logged "killed after 10s, with what it had started"
	lab_wait_for 10 "its child to end" is_gone "$(cat "$WORK/out/child")"
	notify_with ""
	change_weight 100
}

test_a_command_is_given_the_end_of_lbd() {
	rm -rf "$WORK/out"
	write_command "cat >>$WORK/out/events"
	notify_with "$WORK/notify" || return 1
	stop_lbd TERM || return 1
	expect "the last event" "$(jq -rs 'last.kind' "$WORK/out/events")" = lbd-stopped
	write_command "echo \$\$ >$WORK/out/hangs; exec sleep 1000"
	lab_lbd_start || return 1
	lab_wait_for 20 "the command to run" test -s "$WORK/out/hangs" || return 1
	stop_lbd TERM # in spite of it
	expect "the command has ended" "$(is_gone "$(cat "$WORK/out/hangs")" && echo yes)" = yes
	lab_lbd_start || return 1
	notify_with ""
}

# Or is a zombie, that somebody else has to wait for.
is_gone() { ! grep -q '^State:.[^Z]' "/proc/$1/status" 2>/dev/null; } # PID

test_a_command_that_cannot_run_is_named_when_it_is_configured() {
	sed -i '/^notify:/d' "$WORK/lbd.yaml"
	cp "$WORK/lbd.yaml" "$WORK/check.yaml"
	echo "notify: $WORK/nothing" >>"$WORK/check.yaml"
	contains "$("$BUILD/lbd" --check "$WORK/check.yaml" 2>&1)" \
		"notify: $WORK/nothing: No such file or directory"
	echo "notify: $WORK/nothing" >>"$WORK/lbd.yaml"
	contains "$(lbctl reload)" "Warning: notify: $WORK/nothing: No such file or directory"
	notify_with ""
}

set_up_or_end lab_with_lbd 2
run_tests "$@"
