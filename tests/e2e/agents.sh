#!/bin/bash
# What agents of backends and commands of checks say, and that what they do is bounded.
. "$(dirname "$0")/lib.sh"

COUNT=2
SLEEPER="sleep $((9000000000 + $$))" # of this script alone, and as long whatever its number
ALL=$((2 * COUNT))

services() {
	echo "services:"
	HEALTH="{ type: exec, command: [$WORK/check, \$LBD_ADDRESS], interval: 2s, timeout: 1900ms, fall: 2 }" \
		config_service exec $VIP4 tcp 8010 4 $COUNT ""
	HEALTH="{ type: icmp, $CHECK_TIMES }" config_service agent $VIP4 tcp 8011 4 $COUNT \
		"agent: { port: 9000, interval: 500ms, timeout: 450ms }"
}

agent_start() { # N
	lab_spawn "agent-b$1" in_ns "b$1" python3 "$(dirname "$0")/agent.py" \
		"10.0.0.$((10 + $1))" 9000 "$WORK/agent-$1"
}

agent_says() { # N LINE
	printf '%s\n' "$2" >"$WORK/agent-$1.new"
	mv "$WORK/agent-$1.new" "$WORK/agent-$1"
}
weight_is() { [ "$(backend_field agent 10.0.0.11 effective_weight)" = "$1" ]; } # WEIGHT
fault_is() { [ "$(backend_field agent 10.0.0.11 agent | jq -r .fault)" = "$1" ]; } # TEXT

test_an_agent_sets_weight_and_state() {
	agent_says 1 "up 50%"
	lab_wait_for 20 "half the weight" weight_is 50
	lbctl backend weight agent 10.0.0.11 10 >/dev/null || return 1
	lab_wait_for 20 "half of the new weight" weight_is 5
	expect "what is kept" "$(jq '[.. | .weight? | numbers] | max' "$WORK"/*overrides.json)" = 10
	agent_says 1 "drain"
	lab_wait_for 20 "no weight" weight_is 0
	expect "condition" "$(backend_field agent 10.0.0.11 condition)" = up
	agent_says 1 "ready 100% maint #a new disk"
	down_because agent 10.0.0.11 "its agent says: maint: a new disk" || return 1
	expect "the other backend" "$(backend_field agent 10.0.0.12 condition)" = up
	lbctl reload >/dev/null || return 1
	expect "the condition after a reload" "$(backend_field agent 10.0.0.11 condition)" = down
	agent_says 1 "up ready"
	lab_wait_for 20 "the whole weight, that of the file" weight_is 100
}

test_what_an_agent_says_is_bounded() {
	local fault
	agent_says 1 "up ready 70%"
	lab_wait_for 20 "its weight" weight_is 70
	for fault in '!silent' '!slow' '!flood' '!close' 'hello'; do
		agent_says 1 "$fault"
		case $fault in
		'!silent') lab_wait_for 20 "a timeout" fault_is "no answer: timed out after 450ms" ;;
		'!slow') lab_wait_for 20 "a timeout" fault_is "line without an end: timed out after 450ms" ;;
		'!flood') lab_wait_for 20 "the end" fault_is "its line is longer than 255 bytes" ;;
		'!close') lab_wait_for 20 "the end" fault_is "closed without an answer" ;;
		*) lab_wait_for 20 "a refusal" fault_is 'its line is not understood: unknown word "hello"' ;;
		esac || return 1
		expect "the weight it had" "$(backend_field agent 10.0.0.11 effective_weight)" = 70
	done
	lab_kill agent-b1
	lab_wait_for 20 "a fault" fault_is "connect: refused"
	expect "condition without an agent" "$(backend_field agent 10.0.0.11 condition)" = up
	agent_start 1
	agent_says 1 "100%"
	lab_wait_for 20 "its weight" weight_is 100
}

# A script that answers by a file for each backend.
check_says() { # N COMMANDS
	echo "$2" >"$WORK/check-10.0.0.$((10 + $1)).new"
	mv "$WORK/check-10.0.0.$((10 + $1)).new" "$WORK/check-10.0.0.$((10 + $1))"
}
check_script() {
	cat >"$WORK/check" <<-'SH'
		#!/bin/sh
		. "$(dirname "$0")/check-$1"
	SH
	chmod 755 "$WORK/check"
	chmod o+x "$WORK"
}
no_sleeper_is_left() { ! pgrep -f "$SLEEPER" >/dev/null; }

test_a_command_decides() {
	check_says 1 'echo "replica of $LBD_SERVICE lags 40 s"; exit 2'
	down_because exec 10.0.0.11 "command: ended with status 2: replica of exec lags 40 s" || return 1
	expect "the other backend" "$(backend_field exec 10.0.0.12 condition)" = up
	check_says 1 "setsid $SLEEPER & $SLEEPER"
	down_because exec 10.0.0.11 "command: killed after 1900ms" || return 1
	check_says 1 'yes | head -c 10000000; exit 0'
	lab_wait_for 20 "exec 10.0.0.11 to be up" condition_is exec 10.0.0.11 up
	check_says 1 "f() { f & f & }; f; $SLEEPER"
	lab_wait_for 20 "exec 10.0.0.11 to be down" condition_is exec 10.0.0.11 down
	expect "status answers" "$(lbctl status >/dev/null && echo yes)" = yes
	check_says 1 'exit 0'
	lab_wait_for 20 "exec 10.0.0.11 to be up" condition_is exec 10.0.0.11 up
	lab_wait_for 10 "nothing to be left of the commands" no_sleeper_is_left
}

sleeper_is_there() { pgrep -f "$SLEEPER" >/dev/null; }

test_what_a_command_does_ends_with_lbd() {
	check_says 2 "setsid $SLEEPER & $SLEEPER"
	lab_wait_for 20 "a command to run" sleeper_is_there || return 1
	stop_lbd KILL || return 1
	lab_wait_for 10 "nothing to be left of the commands" no_sleeper_is_left || return 1
	check_says 2 "exit 0"
	lab_lbd_start || return 1
	lab_wait_for 20 "all to be up" backends_up $ALL
}

set_up() {
	local i
	lab_with_servers $COUNT || return 1
	check_script
	for i in $(seq $COUNT); do
		agent_says "$i" "up ready"
		agent_start "$i"
		check_says "$i" "exit 0"
	done
	{
		lab_config_head
		services
	} >"$WORK/lbd.yaml"
	lab_lbd_start && lab_wait_for 20 "all to be up" backends_up $ALL
}

set_up_or_end set_up
run_tests "$@"
