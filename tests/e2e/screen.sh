#!/bin/bash
# What lbctl draws on a terminal: top, and backends --watch, in tmux.
# shellcheck disable=SC2034 # run_tests reads FAILED
. "$(dirname "$0")/lib.sh"
skip_all_without tmux tmux

screen() { tmux -u -f /dev/null -S "$WORK/tmux" "$@"; }
# A terminal of this size that runs lbctl; with VARIABLE=VALUE before the verb.
open_screen() { # COLUMNS ROWS [VARIABLE=VALUE]... VERB [ARGUMENT]...
	local columns=$1 rows=$2 environment=(LC_ALL=C.UTF-8)
	shift 2
	while [[ $1 == *=* ]]; do
		environment+=("$1")
		shift
	done
	screen new-session -d -s t -x "$columns" -y "$rows" \
		env "${environment[@]}" "LBD_SOCKET=$WORK/lbd.sock" "$BUILD/lbctl" "$@"
}
close_screen() { screen kill-session -t t 2>/dev/null; }
shown() { screen capture-pane -p -t t; }
shows() { shown | grep -qE -- "$1"; } # PATTERN
shows_not() { screen has-session -t t && ! shows "$1"; } # PATTERN
keys() { screen send-keys -t t "$@"; }
is_closed() { ! screen has-session -t t; }
wait_shows() { wait_screen "'$1' on the screen" shows "$1"; }               # PATTERN
wait_shows_not() { wait_screen "'$1' to leave the screen" shows_not "$1"; } # PATTERN
wait_screen() { # WHAT COMMAND...
	lab_wait_for 10 "$@" && return
	print_screen
	return 1
}
print_screen() { shown | sed 's/^/# |/'; }
# Lines of the screen, the empty ones too, and columns of the longest.
lines() { shown | wc -l; }
longest() { shown | LC_ALL=C.UTF-8 wc -L; }

test_top_shows_services_backends_and_their_rates() {
	load_start requests load-http $VIP4 80 rate 200
	open_screen 120 30 top --interval 500ms
	wait_shows '^SERVICE / backend .* CHECK +P95 +FAIL % '
	wait_shows '^web4 192\.0\.2\.10:80/tcp +up +2/2( +[0-9.]+[mu]?s){2} +[0-9.]+ .* [1-9]'
	wait_shows '^  10\.0\.0\.11 +up +100 .* [1-9]'
	wait_shows 'Backends\[\|+ 6/6 up\]'
	wait_shows 'Packets [1-9]'
	load_end requests
	keys q
	lab_wait_for 5 "top to end" is_closed
}

test_top_says_why_a_backend_is_down() {
	open_screen 200 30 top --interval 300ms
	lab_kill nginx-b1 KILL
	wait_shows '^  10\.0\.0\.11 +down .*[0-9-] connect: '
	wait_shows '^web4 .* degraded +1/2 '
	screen resize-window -t t -x 60 -y 30
	wait_shows '^    connect: '
	close_screen
	lab_nginx_start 1
	lab_wait_for 10 "all backends to be up" backends_up 6
}

shows_help_below() { shown | tail -n 1 | grep -q '^h Help '; }
test_top_follows_the_size_of_the_terminal() {
	local size columns rows
	open_screen 120 30 top --interval 300ms
	wait_shows '^web4 '
	for size in 250x40 60x20 40x10 20x5 80x24; do
		columns=${size%x*} rows=${size#*x}
		screen resize-window -t t -x "$columns" -y "$rows"
		# what tmux has kept of the size before has it elsewhere
		wait_shows '^web4 ' && wait_screen "the last line at $size" shows_help_below
		expect "lines at $size" "$(lines)" = "$rows"
		expect "columns at $size" "$(longest)" -le "$columns"
		print_screen | head -n 8
	done
	wait_shows '^h Help q Quit '
	close_screen
}

test_top_filters_sorts_and_helps() {
	open_screen 100 24 top --interval 300ms
	wait_shows '^web6 '
	keys / W e b 6
	wait_shows '^Filter: Web6_'
	wait_shows_not '^web4 '
	keys Enter
	wait_shows '^/ Web6 .* 3 rows$'
	keys Escape
	wait_shows '^web4 '
	keys h
	wait_shows '^  q, F10 '
	keys q
	wait_shows '^web4 '
	keys v v
	wait_shows '^web4 10\.0\.0\.12 +up'
	keys d
	wait_shows '^martian +dropped '
	keys d P
	wait_shows 'PKT/S▼'
	keys r
	wait_shows 'PKT/S▲'
	keys q
	lab_wait_for 5 "top to end" is_closed
}

test_top_waits_for_an_lbd_that_ended_and_finds_the_next() {
	open_screen 100 24 top --interval 300ms
	wait_shows '^web4 '
	stop_lbd KILL
	wait_shows '^Since [0-9:]{8} \(.*lbd is not running'
	wait_shows '^web4 '
	expect "grey lines" "$(screen capture-pane -e -p -t t | grep -c $'\e\\[2m\\|38;5;245m')" -ge 1
	keys h
	wait_shows '^  q, F10 '
	keys h
	lab_lbd_start || return 1
	wait_shows_not '^Since '
	wait_shows '^web4 '
	close_screen
	lab_wait_for 10 "all backends to be up" backends_up 6
}

test_top_answers_keys_while_lbd_hangs() {
	local pid
	pid=$(lbd_pid)
	open_screen 100 24 top --interval 300ms
	wait_shows '^web4 '
	kill -STOP "$pid"
	wait_shows '^Since [0-9:]{8} \(.*no answer from lbd'
	keys h
	wait_shows '^  q, F10 '
	keys h
	wait_shows '^web4 '
	kill -CONT "$pid"
	wait_shows_not '^Since '
	kill -STOP "$pid"
	wait_shows '^Since '
	keys q
	lab_wait_for 5 "top to end" is_closed
	kill -CONT "$pid"
	lab_wait_for 10 "all backends to be up" backends_up 6
}

test_what_is_no_socket_of_lbd_ends_top_at_once() {
	screen new-session -d -s t -x 100 -y 24 \
		"'$BUILD/lbctl' --socket /etc/passwd top; echo status \$?; exec cat"
	wait_shows '^lbctl: /etc/passwd: not a socket: expected '
	wait_shows '^status 1$'
	close_screen
}

# Of what capture-pane -e prints: colours of the text or behind it.
coloured_lines() {
	screen capture-pane -e -p -t t | grep -cE $'\e\\[([0-9;]*;)?(3[0-8]|4[0-8]|9[0-7])[;m]'
}

test_no_color_and_a_plain_locale_are_respected() {
	open_screen 100 24 top --sort packets
	wait_shows '^web4 '
	expect "lines with colours" "$(coloured_lines)" -ge 5
	close_screen
	open_screen 100 24 NO_COLOR=1 LC_ALL=C top --sort packets
	wait_shows '^web4 '
	wait_shows 'PKT/Sv'
	expect "lines with colours" "$(coloured_lines)" = 0
	expect "lines that are not ASCII" "$(shown | LC_ALL=C grep -c '[^ -~]')" = 0
	close_screen
}

test_the_terminal_is_given_back() {
	screen new-session -d -s t -x 80 -y 24 \
		"'$BUILD/lbctl' --socket '$WORK/lbd.sock' top; stty -a; exec cat"
	wait_shows '^web4 '
	keys q
	wait_shows '(^| )icanon'
	wait_shows '(^| )echo '
	close_screen
}

test_watch_shows_changes_until_it_is_ended() {
	open_screen 110 16 backends web4 --watch=200ms
	wait_shows '^backends: every 0\.2s, [0-9:]{8}$'
	wait_shows '^web4 +10\.0\.0\.12 +up'
	lbctl backend weight web4 10.0.0.12 7 >/dev/null || return 1
	wait_shows '^web4 +10\.0\.0\.12 +up .* 7 '
	stop_lbd KILL
	wait_shows '^Since [0-9:]{8}: lbd is not running'
	wait_shows '^web4 +10\.0\.0\.12 '
	lab_lbd_start || return 1
	wait_shows '^backends: every 0\.2s'
	keys C-c
	lab_wait_for 5 "watch to end" is_closed
	lbctl reload >/dev/null || return 1
	lab_wait_for 10 "all backends to be up" backends_up 6
}

test_watch_shows_as_much_as_there_is_room_for() {
	open_screen 60 6 backends --watch=200ms
	wait_shows '^\([0-9]+ more lines\)$'
	expect "lines" "$(lines)" = 6
	expect "columns" "$(longest)" -le 60
	close_screen
}

test_backends_down_are_listed_alone() {
	lbctl backends --down >"$WORK/said" || return 1
	expect "without one" "$(cat "$WORK/said")" = "No backend matches"
	lab_kill nginx-b1 KILL
	lab_wait_for 10 "b1 to be down" backends_up 3
	lbctl backends --down --sort name >"$WORK/said" || FAILED=1
	sed 's/^/# /' "$WORK/said"
	expect "rows" "$(grep -c ' down ' "$WORK/said")" = 3
	expect "rows of others" "$(grep -c '10\.0\.0\.12' "$WORK/said")" = 0
	expect "in JSON" "$(lbctl backends --down --json | jq '.backends | length')" = 3
	lab_nginx_start 1
	lab_wait_for 10 "all backends to be up" backends_up 6
}

test_rates_in_json_are_those_of_the_interval() {
	local answer
	load_start requests load-http $VIP4 80 rate 200
	answer=$(lbctl top --once --json --interval 2s)
	load_end requests
	expect "interval" "$(field "$answer" .interval_ms)" -ge 2000
	expect "packets of all" "$(field "$answer" '.rates.packets > 0')" = true
	expect "the sum of the services" \
		"$(field "$answer" '([.services[].rates.packets] | add) == .rates.packets')" = true
	expect "packets of both backends of web4" "$(field "$answer" \
		'[.backends[] | select(.service == "web4") | .rates.packets > 0] == [true, true]')" = true
	expect "those of a service without traffic" "$(field "$answer" \
		'.services[] | select(.name == "tcp4") | .rates.packets == 0')" = true
	expect "those of a reason" "$(field "$answer" \
		'.reasons[] | select(.name == "forwarded_tx") | .rate > 0')" = true
}

test_exact_counts_agree_with_json() {
	local exact
	exact=$(lbctl stats --exact | awk '$1 == "forwarded_tx" { print $2 }')
	expect "packets" "$exact" = "$(reason_packets forwarded_tx)"
	expect "bytes of web4" \
		"$(lbctl services --exact | awk '$1 == "web4" { print $NF }')" = \
		"$(service_field web4 bytes)"
}

set_up() {
	lab_with_servers 2 && lab_lbd_with 6 config_web_and_tcp 2 || return 1
	lab_spawn tmux in_ns lb tmux -u -f /dev/null -S "$WORK/tmux" -D
	lab_wait_for 5 "tmux" test -S "$WORK/tmux"
}

set_up_or_end set_up
run_tests "$@"
