#!/bin/bash
# The control socket, run-time changes, interfaces and metrics of lbd, as their users see them.
export LAB_SEED= # the default: lbd makes its own
. "$(dirname "$0")/lib.sh"

api() { # METHOD PATH [BODY]: the answer, then the HTTP status on a line of its own
	curl -s -m 60 --unix-socket "$WORK/lbd.sock" -X "$1" ${3:+-d "$3"} \
		-w '\n%{http_code}\n' "http://lbd$2"
}

# The status and, where given, a part of the answer.
answers() { # STATUS PART METHOD PATH [BODY]
	local status=$1 part=$2 out
	shift 2
	out=$(api "$@")
	[ "$(tail -n 1 <<<"$out")" = "$status" ] && [[ $out == *"$part"* ]] && return
	echo "# $*: expected $status and '$part', got: $out"
	FAILED=1
}

status() { lbctl status --json | json "$1"; } # FILTER

test_every_reading_path_answers() {
	local path
	for path in status services backends 'backends?service=web4' stats top; do
		answers 200 "{" GET "/v1/$path"
	done
}

test_wrong_requests_get_an_answer_that_names_the_error() {
	local target='"service":"web4","address":"10.0.0.11"'
	answers 404 'no such path' GET /v1/nothing
	answers 405 'method not allowed' GET /v1/reload
	answers 405 'method not allowed' DELETE /v1/status
	answers 400 'lists: expected true or false, got 1' POST /v1/reload '{"lists":1}'
	answers 404 'service \"nope\": no such service' GET '/v1/backends?service=nope'
	answers 400 'line 1' POST /v1/attach '{'
	answers 400 'expected a JSON object' POST /v1/attach '[1]'
	answers 400 'interface: missing: expected the name of the interface' POST /v1/attach '{}'
	answers 400 'mode: expected \"auto\", \"native\" or \"generic\", got \"turbo\"' \
		POST /v1/attach '{"interface":"eth0","mode":"turbo"}'
	answers 404 'nope0: no such interface' POST /v1/attach '{"interface":"nope0"}'
	answers 404 'nope0: not attached' POST /v1/detach '{"interface":"nope0"}'
	answers 400 'weight: expected an integer 0 to 10000, got \"abc\"' \
		POST /v1/backend/weight "{$target,\"weight\":\"abc\"}"
	answers 400 'weight: expected an integer 0 to 10000, got 10001' \
		POST /v1/backend/weight "{$target,\"weight\":10001}"
	answers 400 'weihgt: unknown field' POST /v1/backend/weight "{$target,\"weihgt\":1}"
	answers 400 'address: expected an IPv4 or IPv6 address, or the name of a backend, got \"10.0.0.256\"' \
		POST /v1/backend/drain '{"service":"web4","address":"10.0.0.256"}'
	answers 404 'service web4: backend \"b9\": no such backend' \
		POST /v1/backend/drain '{"service":"web4","address":"b9"}'
	answers 400 'service #1: protocol: missing: expected tcp or udp' POST /v1/service/add '{}'
	answers 403 'service x: health: command: /bin/sh: expected the words of a command that a service in the files' \
		POST /v1/service/add '{"name":"x","vip":"192.0.2.99","port":80,"protocol":"tcp",
			"backends":[{"address":"10.0.0.11"}],
			"health":{"type":"exec","command":["/bin/sh","-c","touch '"$WORK"'/intruder"]}}'
	answers 403 'token-file: /etc/shadow: expected one that a service in the files' \
		POST /v1/service/add '{"name":"x","vip":"192.0.2.99","port":80,"protocol":"tcp",
			"backends-from":{"consul":"http://127.0.0.1:1","service":"s","token-file":"/etc/shadow"}}'
	[ ! -e "$WORK/intruder" ] || { echo "# a command of a request has run"; FAILED=1; }
	answers 409 'expected --force' POST /v1/service/remove '{"service":"web4"}'
	answers 404 'no such service' POST /v1/service/remove '{"service":"nope"}'
	answers 404 'backend 10.0.0.99: no such backend' \
		POST /v1/backend/drain '{"service":"web4","address":"10.0.0.99"}'
	answers 400 'on: expected true or false, got \"yes\"' \
		POST /v1/backend/drain "{$target,\"on\":\"yes\"}"
	answers 400 'expected a duration of at most a year' \
		POST /v1/backend/drain "{$target,\"force_after\":\"5x\"}"
	answers 400 'expected only one of force_after and force_after_ms' \
		POST /v1/backend/drain "{$target,\"force_after\":\"5m\",\"force_after_ms\":1}"
	answers 409 'already exists' POST /v1/backend/add "{$target}"
	answers 400 'is a VIP' \
		POST /v1/backend/add "{\"service\":\"web4\",\"address\":\"$VIP4\"}"
	refuses_backend 127.0.0.1 'a loopback address'
	refuses_backend 0.0.0.0 'an unspecified address'
	refuses_backend 224.0.0.5 'a multicast address'
	refuses_backend 255.255.255.255 'the broadcast address'
	refuses_backend :: 'an unspecified address'
	refuses_backend ::1 'a loopback address'
	refuses_backend ff02::1 'a multicast address'
	refuses_backend fe80::1 'a link-local address'
	refuses_backend ::ffff:10.0.0.99 'an IPv4-mapped address'
	refuses_backend $VIP6 'is a VIP'
	refuses_backend 10.0.0.2 'is an address of this host'
	refuses_backend 2001:db8:b::2 'is an address of this host'
	head -c 1200000 /dev/zero | tr '\0' ' ' >"$WORK/big"
	answers 413 '' POST /v1/reload "@$WORK/big"
	answers 200 '{' GET /v1/status
}

refuses_backend() { # ADDRESS WHY
	answers 400 "$2" POST /v1/backend/add "{\"service\":\"web4\",\"address\":\"$1\"}"
}

weights() {
	lbctl backends --json | json '
		[.backends[] | [.service, .address, .weight // error("no weight")]]'
}

test_bad_file_changes_nothing_and_the_error_names_its_line() {
	local before
	before=$(weights) || return 1
	sed -i.good 's/port: 80$/port: 70000/' "$WORK/lbd.yaml"
	answers 422 "lbd.yaml:" POST /v1/reload '{}'
	kill -HUP "$(lbd_pid)"
	lab_wait_for 3 "both refusals in the log" refused_twice
	mv "$WORK/lbd.yaml.good" "$WORK/lbd.yaml"
	expect "backends" "$(weights)" = "$before"
}

refused_twice() { [ "$(grep -c "reload failed, nothing changed" "$WORK/lbd.log")" -ge 2 ]; }

# ---- the seed, and the ring that follows from it ----

seed() { status .hash_seed; }
digests() { # LBCTL
	"$@" services --json | json '
		[.services[] | [.name, .slots, .ring_digest // error("no digest")]] | sort'
}
OTHER_SOCKET= # default: other.sock beside the first's
other_socket() { echo "${OTHER_SOCKET:-$WORK/other.sock}"; }
other_lbctl() { in_ns lb "$BUILD/lbctl" --socket "$(other_socket)" "$@"; }
other_is_up() { [ "$(other_lbctl status --json | json .backends_up)" = 6 ]; }

# Starts a second lbd beside the first, with its own maps and state and without an interface.
# end_other stops it.
start_other() { # SEED-LINE
	sed -e "s|^socket:.*|socket: $(other_socket)|" \
		-e "s|^pin:.*|pin: /sys/fs/bpf/$LAB/other|" \
		-e "s|^state:.*|state: $WORK/other-state|" \
		-e 's|^interfaces:.*|interfaces: []|' -e 's|^metrics:.*|metrics: off|' \
		"$WORK/lbd.yaml" >"$WORK/other.yaml"
	echo "$1" >>"$WORK/other.yaml"
	lab_spawn other in_ns lb "$BUILD/lbd" -c "$WORK/other.yaml"
	lab_wait_for 15 "the other lbd's backends to be up" other_is_up
}
end_other() {
	lab_kill other
	rm -rf "/sys/fs/bpf/$LAB/other"
}

test_two_balancers_with_the_same_seed_have_the_same_rings() {
	start_other "hash-seed: $(seed)" || { end_other; return 1; }
	expect "rings" "$(digests other_lbctl)" = "$(digests lbctl)"
	end_other
}

test_two_balancers_without_a_seed_have_rings_of_their_own() {
	start_other "" || { end_other; return 1; }
	expect "rings" "$(digests other_lbctl)" != "$(digests lbctl)"
	end_other
}

test_run_time_changes_outlive_kill_9_and_all_but_drains_end_with_a_reload() {
	lbctl backend weight web4 10.0.0.11 7 && lbctl backend drain web4 10.0.0.12 &&
		lbctl backend add web4 10.0.0.77 --weight 9 || return 1
	expect "overrides" "$(status .overrides)" = 3
	stop_lbd KILL
	lab_lbd_start || return 1
	logged "3 run-time changes are still in force"
	expect "weight" "$(backend_field web4 10.0.0.11 weight)" = 7
	lab_wait_for 3 "10.0.0.12 to drain" drains_or_is_drained 10.0.0.12
	expect "added backend's weight" "$(backend_field web4 10.0.0.77 weight)" = 9
	answers 200 '"dropped_overrides":2' POST /v1/reload '{}'
	expect "weight after the reload" "$(backend_field web4 10.0.0.11 weight)" = 100
	expect "overrides after the reload" "$(status .overrides)" = 1
	stop_lbd KILL
	lab_lbd_start || return 1
	lab_wait_for 3 "10.0.0.12 to drain" drains_or_is_drained 10.0.0.12
	lbctl backend undrain web4 10.0.0.12
	lab_wait_for 5 "all to be up" backends_up 6
}
drains_or_is_drained() { # ADDRESS
	case $(backend_field web4 "$1" condition) in draining | drained) ;; *) return 1 ;; esac
}

# ---- the file of run-time changes ----

other_weight() { # SERVICE ADDRESS
	other_lbctl backends "$1" --json |
		json '.backends[] | select(.address == $address) | .weight' --arg address "$2"
}
# Restarts the lbd of start_other, with its socket where it was.
restart_other() {
	lab_kill other KILL
	lab_spawn other in_ns lb "$BUILD/lbd" -c "$WORK/other.yaml"
	lab_wait_for 15 "the other lbd to start" lab_started other_lbctl
}

test_two_lbds_in_one_directory_do_not_share_run_time_changes() {
	start_other "" || { end_other; return 1; }
	lbctl backend weight web4 10.0.0.11 7 >/dev/null &&
		other_lbctl backend weight web6 2001:db8:b::12 8 >/dev/null || FAILED=1
	stop_lbd KILL
	lab_lbd_start && restart_other || { end_other; return 1; }
	expect "the first's changes" "$(status .overrides)" = 1
	expect "the first's weight" "$(backend_field web4 10.0.0.11 weight)" = 7
	expect "the other's changes" "$(other_lbctl status --json | json .overrides)" = 1
	expect "the other's weight" "$(other_weight web6 2001:db8:b::12)" = 8
	lbctl reload >/dev/null
	expect "the other's changes after a reload of the first" \
		"$(other_lbctl status --json | json .overrides)" = 1
	end_other
	rm -f "$WORK"/other.sock.*
}

test_the_files_of_an_earlier_version_are_taken_over_once() {
	lbctl backend weight web4 10.0.0.11 7 >/dev/null || return 1
	stop_lbd KILL
	mv "$WORK/lbd.sock.overrides.json" "$WORK/overrides.json" || return 1
	mv "$WORK/lbd.sock.offloads.json" "$WORK/offloads.json" || return 1
	lab_lbd_start || return 1
	logged "$WORK/overrides.json: renamed to $WORK/lbd.sock.overrides.json"
	expect "weight" "$(backend_field web4 10.0.0.11 weight)" = 7
	expect "old files left" "$(find "$WORK" -maxdepth 1 -name overrides.json \
		-o -maxdepth 1 -name offloads.json | wc -l)" = 0
	expect "offloads in the new file" \
		"$(json length <"$WORK/lbd.sock.offloads.json")" -gt 0
	lbctl reload >/dev/null
}

test_a_broken_file_of_run_time_changes_is_kept_and_named() {
	local file=$WORK/lbd.sock.overrides.json
	stop_lbd KILL
	echo '{ "version": 1, "backends": [ {' >"$file"
	lab_lbd_start || return 1
	logged "the file is now $file.bad"
	expect "the kept file" "$(cat "$file.bad")" = '{ "version": 1, "backends": [ {'
	rm "$file.bad"
	lab_wait_for 10 "all to be up" backends_up 6
}

# One of a kind that blocks whoever opens it, and links that lead elsewhere.
test_what_lies_in_the_place_of_a_kept_file_does_not_prevent_the_start() {
	stop_lbd KILL
	echo '{"version":1,"backends":[]}' >"$WORK/elsewhere"
	rm -f "$WORK"/lbd.sock.*.json
	mkfifo "$WORK/lbd.sock.overrides.json" "$WORK/offloads.json" || return 1
	ln -s "$WORK/elsewhere" "$WORK/lbd.sock.offloads.json"
	lab_lbd_start || return 1
	logged "$WORK/lbd.sock.overrides.json: expected a regular file"
	logged "$WORK/lbd.sock.offloads.json: is a symbolic link"
	rm -f "$WORK"/*.bad "$WORK/offloads.json" "$WORK/elsewhere"
	# What the file listed stays off: it is listed again when it is turned off again.
	in_ns lb ethtool -K eth0 rxvlan on
	lbctl detach eth0 >/dev/null && lbctl attach eth0 >/dev/null
	lab_wait_for 10 "all to be up" backends_up 6
}

test_more_run_time_changes_than_fit_are_dropped_with_a_word() {
	local line
	start_other "limits: { backends: 64 }" || { end_other; return 1; }
	lab_kill other KILL
	jq -n '{version: 1, backends: ([{service: "web4", address: "10.0.0.11", weight: 7}] +
		[range(20000) | {service: "web4", added: true, weight: 0,
			address: "10.9.\(. / 250 | floor).\(. % 250 + 1)"}])}' \
		>"$WORK/other.sock.overrides.json"
	restart_other || { end_other; return 1; }
	for line in "20001 run-time changes: expected at most 70: the others are dropped" \
		"backend 10.9.0.59: run-time change dropped: no room: limits: backends is 64"; do
		expect "lines: $line" "$(grep -cF "$line" "$WORK/other.log")" = 1
	done
	expect "changes in force" "$(other_lbctl status --json | json .overrides)" = 59
	expect "weight" "$(other_weight web4 10.0.0.11)" = 7
	end_other
	rm -f "$WORK"/other.sock.*
}

# The other lbd, with its socket on a file system of 32 KiB.
with_small_disk() { # FUNCTION
	local disk=$WORK/disk OTHER_SOCKET=$WORK/disk/s
	mkdir -p "$disk" && mount -t tmpfs -o size=32k,mode=700 small "$disk" || return 1
	start_other "" && "$1" "$disk" || FAILED=1
	end_other
	umount -l "$disk"
}

# The change is refused and is not in force.
is_refused() { # WHY
	local said
	said=$(other_lbctl backend weight web4 10.0.0.11 7 2>&1) && FAILED=1
	echo "# $said"
	expect "lines that say why" \
		"$(grep -c "cannot be written to disk: .*/s.overrides.json: $1" <<<"$said")" = 1
	expect "weight" "$(other_weight web4 10.0.0.11)" = 100
}

test_a_change_is_refused_when_the_disk_is_full() { with_small_disk full_disk; }
full_disk() { # DIRECTORY
	dd if=/dev/zero of="$1/filler" bs=1k status=none 2>/dev/null
	is_refused "No space left on device"
	rm "$1/filler"
	other_lbctl backend weight web4 10.0.0.11 7 >/dev/null || return 1
	expect "weight when there is room" "$(other_weight web4 10.0.0.11)" = 7
	expect "weight on disk" "$(json '.backends[0].weight' <"$1/s.overrides.json")" = 7
	# To remove what is no longer needed takes no room.
	dd if=/dev/zero of="$1/filler" bs=1k status=none 2>/dev/null
	other_lbctl reload >/dev/null || FAILED=1
	expect "weight after the reload" "$(other_weight web4 10.0.0.11)" = 100
}

test_removed_backend_drains_and_is_forgotten() {
	lbctl backend remove web4 10.0.0.11 || return 1
	lab_wait_for 20 "its removal in the log" \
		grep -q "web4 .*backend 10.0.0.11 drained and removed" "$WORK/lbd.log"
	expect "backends of web4" \
		"$(lbctl backends web4 --json | json '.backends | length')" = 1
	lbctl reload || return 1
	lab_wait_for 5 "all to be up" backends_up 6
}

test_a_node_that_announces_nothing_cannot_be_drained() {
	local out
	out=$(lbctl node drain 2>&1)
	expect "exit status" $? = 1
	contains "$out" "the config has no \`announce:\`"
	expect "node" "$(lbctl status --json | jq .node)" = null
}

# What a reload or a change warns of.
warnings_of() { # PATH BODY
	api POST "$1" "$2" | head -n 1 | jq -r '.warnings[]'
}

test_a_reload_warns_of_what_is_not_as_the_file_says_each_time() {
	local warnings
	expect "warnings" "$(api POST /v1/reload '{}' | head -n 1 | jq '.warnings | length')" = 0
	cp "$WORK/lbd.yaml" "$WORK/lbd.yaml.good"
	sed -i -e "s|^state:.*|state: $WORK/elsewhere|" -e 's|^interfaces:.*|interfaces: [eth7]|' \
		"$WORK/lbd.yaml"
	for _ in 1 2; do
		warnings=$(warnings_of /v1/reload '{}')
		contains "$warnings" "state ignored until lbd is restarted"
		contains "$warnings" "eth7: no such interface"
		contains "$warnings" "eth0: attached, but not in the config's interfaces"
	done
	lbctl reload >"$WORK/said" || return 1
	expect "lines of lbctl" "$(grep -c '^Warning: ' "$WORK/said")" = 3
	mv "$WORK/lbd.yaml.good" "$WORK/lbd.yaml"
	lbctl reload >"$WORK/said" || return 1
	expect "lines of lbctl" "$(grep -c '^Warning: ' "$WORK/said")" = 0
}

test_a_trial_changes_nothing_and_says_what_would_change() {
	local before
	lbctl backend weight web4 10.0.0.11 7 >/dev/null || return 1
	lbctl backend drain web4 10.0.0.12 >/dev/null || return 1
	before=$(weights)
	cp "$WORK/lbd.yaml" "$WORK/lbd.yaml.good"
	sed -i 's/name: web6/name: shop/' "$WORK/lbd.yaml"
	lbctl reload --dry-run >"$WORK/said" || return 1
	sed 's/^/# /' "$WORK/said"
	grep -qx '  service web4: backend 10.0.0.11: weight 7 -> 100' "$WORK/said" || FAILED=1
	grep -qx '  service web6: renamed to shop' "$WORK/said" || FAILED=1
	grep -qx '  kept     web4 10.0.0.12: drain' "$WORK/said" || FAILED=1
	expect "exit status of diff" "$(lbctl diff >"$WORK/said"; echo $?)" = 1
	grep -qx '  service web4: backend 10.0.0.12: drain at run time' "$WORK/said" || FAILED=1
	expect "backends" "$(weights)" = "$before"
	mv "$WORK/lbd.yaml.good" "$WORK/lbd.yaml"
	end_drains
	lbctl reload >/dev/null
	expect "exit status of diff" "$(lbctl diff >/dev/null; echo $?)" = 0
}

test_save_writes_run_time_changes_into_the_file_and_nothing_else() {
	sed -i 's/- { address: "10.0.0.12" }/& # the second/' "$WORK/lbd.yaml"
	chmod 640 "$WORK/lbd.yaml"
	cp -p "$WORK/lbd.yaml" "$WORK/lbd.yaml.good"
	lbctl reload >/dev/null && lbctl backend weight web4 10.0.0.11 7 >/dev/null &&
		lbctl backend drain web4 10.0.0.12 >/dev/null &&
		lbctl backend add tcp4 10.0.0.77 --weight 9 >/dev/null || return 1
	lbctl save >"$WORK/said" || FAILED=1
	sed 's/^/# /' "$WORK/said"
	diff "$WORK/lbd.yaml.good" "$WORK/lbd.yaml" >"$WORK/diff"
	sed 's/^/# /' "$WORK/diff"
	expect "lines that went" "$(grep -c '^<' "$WORK/diff")" = 2
	expect "lines that came" "$(grep -c '^>' "$WORK/diff")" = 3
	grep -q '^>.*"10.0.0.12", drain: true } # the second$' "$WORK/diff" || FAILED=1
	expect "mode" "$(stat -c %a "$WORK/lbd.yaml")" = 640
	lbctl reload >"$WORK/said" || return 1
	expect "changes dropped" "$(grep -c 'dropped' "$WORK/said")" = 0
	expect "run-time changes" "$(status .overrides)" = 0
	expect "weight" "$(backend_field web4 10.0.0.11 weight)" = 7
	lab_wait_for 5 "the drain" drains_or_is_drained 10.0.0.12
	cp -p "$WORK/lbd.yaml.good" "$WORK/lbd.yaml"
	lbctl reload >/dev/null || return 1
	lab_wait_for 10 "all backends to be up" backends_up 6
}

# Unequal weights in the file need a fine ring: 251 slots for two backends, 509 for three.
test_a_backend_that_gives_the_ring_another_size_is_warned_of() {
	cp -p "$WORK/lbd.yaml" "$WORK/lbd.yaml.good"
	sed -i 's/- { address: "10.0.0.12" }/- { address: "10.0.0.12", weight: 50 }/' "$WORK/lbd.yaml"
	lbctl reload >/dev/null || return 1
	contains "$(lbctl backend add web4 10.0.0.77 --weight 0)" \
		"Warning: service web4: its ring has 509 slots with 3 backends, and 251 with the 2 of the file"
	expect "slots" "$(service_field web4 slots)" = 509
	lbctl backend remove web4 10.0.0.77 --now | grep Warning && FAILED=1
	lbctl backend weight web4 10.0.0.11 7 | grep Warning && FAILED=1
	cp -p "$WORK/lbd.yaml.good" "$WORK/lbd.yaml"
	lbctl reload >/dev/null || return 1
	lab_wait_for 10 "all backends to be up" backends_up 6
}

test_keep_keeps_run_time_changes_over_a_reload() {
	lbctl backend weight web4 10.0.0.11 7 >/dev/null || return 1
	lbctl reload --keep >"$WORK/said" || return 1
	grep -qx '  kept     web4 10.0.0.11: weight 7' "$WORK/said" || FAILED=1
	expect "weight" "$(backend_field web4 10.0.0.11 weight)" = 7
	lbctl reload >/dev/null || return 1
	expect "weight" "$(backend_field web4 10.0.0.11 weight)" = 100
}

attached() { lbctl status --json | jq -r '[.interfaces[].name] | join(" ")'; }

test_a_detached_interface_stays_so_until_it_is_attached_by_hand() {
	lbctl detach eth0 | grep -q '^Warning: no interface is attached' || return 1
	lbctl reload | grep -q '^Warning: eth0: stays detached' || return 1
	[ -z "$(attached)" ] || { echo "# attached after a reload"; FAILED=1; }
	stop_lbd KILL && lab_lbd_start || return 1
	[ -z "$(attached)" ] || { echo "# attached after a crash"; FAILED=1; }
	lbctl attach eth0 >/dev/null || return 1
	lbctl reload >/dev/null || return 1
	expect "interfaces" "$(attached)" = eth0
	# stopped with nothing attached: the next start does as the config says
	lbctl detach eth0 >/dev/null && stop_lbd TERM && lab_lbd_start || return 1
	expect "interfaces" "$(attached)" = eth0
	[ ! -e "$WORK/lbd.sock.detached.json" ] || { echo "# the file is still there"; FAILED=1; }
	lab_wait_for 10 "all backends to be up" backends_up 6
}

test_attach_uses_the_mode_of_the_config() {
	cp "$WORK/lbd.yaml" "$WORK/lbd.yaml.good"
	echo "mode: generic" >>"$WORK/lbd.yaml"
	lbctl reload >"$WORK/said" || return 1
	lbctl detach eth0 >/dev/null && lbctl attach eth0 >/dev/null || return 1
	expect "mode" "$(status '.interfaces[0].mode')" = generic
	mv "$WORK/lbd.yaml.good" "$WORK/lbd.yaml"
	lbctl reload >/dev/null && lbctl detach eth0 >/dev/null && lbctl attach eth0 >/dev/null ||
		return 1
	lab_wait_for 30 "all backends to be up" backends_up 6
}

test_the_file_drains_a_backend() {
	cp "$WORK/lbd.yaml" "$WORK/lbd.yaml.good"
	sed -i 's/- { address: "10.0.0.11" }/- { address: "10.0.0.11", drain: true }/' "$WORK/lbd.yaml"
	lbctl reload >/dev/null || return 1
	lab_wait_for 5 "the drain" drains_or_is_drained 10.0.0.11
	lbctl backend undrain web4 10.0.0.11 >/dev/null || return 1
	expect "condition" "$(backend_field web4 10.0.0.11 condition)" = up
	lbctl reload | grep -q 'web4 10.0.0.11: undrain (the file has drain: true)' || FAILED=1
	lab_wait_for 5 "the drain" drains_or_is_drained 10.0.0.11
	mv "$WORK/lbd.yaml.good" "$WORK/lbd.yaml"
	lbctl reload >/dev/null || return 1
	lab_wait_for 10 "all backends to be up" backends_up 6
}

test_the_last_backend_is_removed_only_by_force() {
	lbctl backend remove tcp4 10.0.0.11 --now >/dev/null || return 1
	answers 409 'is the last backend of the service' POST /v1/backend/remove \
		'{"service":"tcp4","address":"10.0.0.12"}'
	expect "backends" "$(service_field tcp4 backends)" = 1
	lbctl backend remove tcp4 10.0.0.12 --now --force >"$WORK/said" || return 1
	sed 's/^/# /' "$WORK/said"
	grep -q 'removed; no other backend takes flows' "$WORK/said" || FAILED=1
	grep -q '^Warning: service tcp4 is down now: it has no backend' "$WORK/said" || FAILED=1
	lbctl reload >/dev/null || return 1
	lab_wait_for 10 "all backends to be up" backends_up 6
}

test_a_service_that_is_down_by_weights_says_so() {
	lbctl backend weight web4 10.0.0.11 0 >/dev/null || return 1
	contains "$(lbctl backend weight web4 10.0.0.12 0)" \
		"Warning: service web4 is down now: every backend that is up has weight 0"
	expect "why" "$(service_field web4 why)" = "every backend that is up has weight 0"
	lbctl services | grep -q '^web4: down: every backend that is up has weight 0' || FAILED=1
	logged "down: every backend that is up has weight 0: packets to it are rejected"
	lbctl reload >/dev/null || return 1
	lab_wait_for 10 "all backends to be up" backends_up 6
}

test_a_missing_capability_is_named() {
	local said
	sed -e "s|^socket:.*|socket: $WORK/capable.sock|" -e "s|^pin:.*|pin: /sys/fs/bpf/$LAB/capable|" \
		-e 's|^interfaces:.*|interfaces: []|' -e 's|^metrics:.*|metrics: off|' \
		"$WORK/lbd.yaml" >"$WORK/capable.yaml"
	said=$(in_ns lb setpriv --inh-caps=-all --bounding-set=-all,+bpf,+net_admin \
		"$BUILD/lbd" -c "$WORK/capable.yaml" 2>&1) && return 1
	sed 's/^/# /' <<<"$said"
	[[ $said == *"the program cannot be loaded"*"missing: CAP_PERFMON"* ]] || FAILED=1
	rm -rf "/sys/fs/bpf/$LAB/capable"
}

test_status_and_config_name_the_same_limit_of_flows() {
	expect "limit" "$(status .flows.limit)" = 1048576 # limits: flows: 1M
	lbctl status | grep -q '^Tracked flows .* of 1M ' || FAILED=1
}

check() { in_ns lb "$BUILD/lbd" --check "$WORK/checked.yaml" 2>&1; }

# Those that are not printed are counted, too.
test_check_counts_all_mistakes() {
	local out
	{ echo services: && for _ in {1..150}; do echo "  - { vip: x, protocol: tcp, port: 80, backends: [{ address: 10.0.0.1 }] }"; done; } >"$WORK/checked.yaml"
	out=$("$BUILD/lbd" --check "$WORK/checked.yaml" 2>&1) && FAILED=1
	contains "$out" "and 50 more"
	contains "$out" "checked.yaml: 150 mistakes"
}

test_check_names_every_mistake() {
	local said
	sed -e 's/port: 80$/port: 70000/' -e 's/"10.0.0.12"/10.0.0/' "$WORK/lbd.yaml" \
		>"$WORK/checked.yaml"
	said=$(check) && return 1
	sed 's/^/# /' <<<"$said"
	expect "ports" "$(grep -c 'port: 70000: expected' <<<"$said")" = 2
	expect "addresses" "$(grep -c 'address: 10.0.0: expected' <<<"$said")" = 2
	grep -q 'checked.yaml: 4 mistakes' <<<"$said" || FAILED=1
	said=$(in_ns lb "$BUILD/lbd" -c "$WORK/none.yaml" 2>&1) && return 1
	[[ $said == *"none.yaml: cannot open"*"/etc/lbd/lbd.yaml.example"* ]] || FAILED=1
}

test_what_cannot_be_printed_is_a_failure() {
	local words said
	for words in --version --help "--check $WORK/lbd.yaml"; do
		# shellcheck disable=SC2086
		said=$(in_ns lb "$BUILD/lbd" $words 2>&1 >/dev/full) &&
			expect "status of lbd $words" 0 != 0
		contains "$said" "lbd: standard output: No space left on device"
	done
}

# Until its handlers are there a signal does what it does by default: the first line of the log comes
# before that.
test_a_hangup_while_it_starts_does_not_end_it() {
	stop_lbd TERM
	rm "$WORK/lbd.log"
	lab_spawn lbd in_ns lb "${LBD:-$BUILD/lbd}" -c "$WORK/lbd.yaml"
	LAB_POLL_S=0 lab_wait_for 10 "the first line of the log" test -s "$WORK/lbd.log"
	kill -HUP "$(cat "$WORK/lbd.pid")"
	lab_wait_for 10 "lbd to start" lab_started lbctl || return 1
	lab_wait_for 10 "all to be up" backends_up 6
}

test_check_warns_of_what_this_machine_lacks_and_of_its_own_vip() {
	local said
	echo "a token that others may read" >"$WORK/open-token"
	chmod 644 "$WORK/open-token"
	sed -e 's|^interfaces:.*|interfaces: [eth0, eth7, uplink]|' -e 's|^group:.*|group: nobodys|' \
		"$WORK/lbd.yaml" >"$WORK/checked.yaml"
	echo "metrics-token-file: $WORK/open-token" >>"$WORK/checked.yaml"
	ip -n "$(ns lb)" link property add dev eth0 altname uplink || return 1
	ip -n "$(ns lb)" addr add "$VIP4/32" dev lo || return 1
	said=$(check) || FAILED=1
	sed 's/^/# /' <<<"$said"
	contains "$said" "warning: interfaces: eth7: no such interface here"
	contains "$said" "warning: interfaces: uplink: another name of eth0 (altname): expected eth0"
	answers 400 'uplink: another name of eth0 (altname): expected eth0' \
		POST /v1/attach '{"interface":"uplink"}'
	sed -i.before 's|^interfaces:.*|interfaces: [eth0, uplink]|' "$WORK/lbd.yaml"
	contains "$(lbctl reload 2>&1)" "uplink: another name of eth0 (altname): expected eth0; not attached"
	mv "$WORK/lbd.yaml.before" "$WORK/lbd.yaml"
	ip -n "$(ns lb)" link property del dev eth0 altname uplink
	contains "$said" "warning: group: nobodys: no such group here"
	contains "$said" "warning: metrics-token-file: $WORK/open-token: mode 644: expected 600 or 640"
	contains "$said" "lbd runs without metrics"
	contains "$said" "service web4: VIP $VIP4 is also an address of this host, on lo: connections from this host to it stay here, and checks do not go to it through the tunnel"
	expect "warnings" "$(grep -c '^warning: ' <<<"$said")" = 5
	# a reload names it when it becomes a VIP, which it was before
	contains "$(lbctl reload)" "reloaded"
	expect "warnings" "$(lbctl reload | grep -c 'is also an address')" = 0
	ip -n "$(ns lb)" addr del "$VIP4/32" dev lo
}

test_second_lbd_is_refused_and_names_the_first() {
	local out
	out=$(in_ns lb "$BUILD/lbd" -c "$WORK/lbd.yaml" 2>&1) && FAILED=1
	contains "$out" "in use by another lbd (pid $(lbd_pid))"
	sed "s|^socket:.*|socket: $WORK/other.sock|" "$WORK/lbd.yaml" >"$WORK/other.yaml"
	out=$(in_ns lb "$BUILD/lbd" -c "$WORK/other.yaml" 2>&1) && FAILED=1
	contains "$out" "pin: /sys/fs/bpf/$LAB: in use by another lbd"
	answers 200 '{' GET /v1/status
}

test_the_seed_is_kept_over_restarts_of_lbd() {
	local before
	before=$(seed) || return 1
	expect "mode of the file" "$(stat -c %a "$WORK/state/hash-seed")" = 600
	expect "what the file holds" "$(cat "$WORK/state/hash-seed")" = "$before"
	lab_kill lbd KILL
	rm "$WORK/state/hash-seed"
	lab_lbd_start || return 1
	expect "the pinned maps' seed" "$(seed)" = "$before"
	expect "what the new file holds" "$(cat "$WORK/state/hash-seed")" = "$before"
	expect "warnings about the seed" "$(grep -c 'warning: hash-seed' "$WORK/lbd.log")" = 0
	lab_wait_for 10 "all to be up" backends_up 6
}

test_a_seed_file_that_holds_none_is_refused_and_kept() {
	local out
	lab_kill lbd KILL
	cp "$WORK/state/hash-seed" "$WORK/good-seed"
	echo "no seed" >"$WORK/state/hash-seed"
	out=$(in_ns lb "$BUILD/lbd" -c "$WORK/lbd.yaml" 2>&1) && FAILED=1
	echo "# $out"
	grep -qF "$WORK/state/hash-seed: holds no seed: expected 0x and 16 hexadecimal digits" \
		<<<"$out" || FAILED=1
	expect "the file" "$(cat "$WORK/state/hash-seed")" = "no seed"
	cat "$WORK/good-seed" >"$WORK/state/hash-seed"
	lab_lbd_start || return 1
	lab_wait_for 10 "all to be up" backends_up 6
}

test_socket_is_for_root_and_its_group_alone() {
	expect "mode of the socket" "$(stat -c %a "$WORK/lbd.sock")" = 660
}

# A program in a dispatcher has no link of its own to pin.
in_a_dispatcher() { [ "$(status '.interfaces[0].dispatcher')" = true ]; }

test_interface_that_comes_back_is_attached_again() {
	local pins=eth0
	sed -i.good 's/^interfaces:.*/interfaces: [eth0, "late.0"]/' "$WORK/lbd.yaml"
	lbctl reload || return 1
	logged "late.0: no such interface; it is attached when it appears"
	! in_a_dispatcher || pins=
	for _ in 1 2; do
		ip -n "$(ns lb)" link add late.0 type veth peer name late.1
		lab_wait_for 5 "late.0 to be attached" late_0_is attached
		ip -n "$(ns lb)" link del late.0
		lab_wait_for 5 "late.0 to be gone" late_0_is gone
	done
	expect "pins left" "[$(ls "/sys/fs/bpf/$LAB/links")]" = "[$pins]"
	mv "$WORK/lbd.yaml.good" "$WORK/lbd.yaml"
	lbctl reload
}
late_0_is() { # attached | gone
	local filter='if any(.interfaces[]; .name == "late.0") then "attached" else "gone" end'
	[ "$(status "$filter")" = "$1" ]
}

# The pins have the names of interfaces.
test_interfaces_that_swap_their_names_while_lbd_is_stopped_are_not_mixed_up() {
	local name
	for name in one two; do
		ip -n "$(ns lb)" link add $name type veth peer name $name-peer || return 1
		answers 200 '{' POST /v1/attach "{\"interface\":\"$name\"}"
	done
	stop_lbd TERM
	ip -n "$(ns lb)" link set one name swap && ip -n "$(ns lb)" link set two name one &&
		ip -n "$(ns lb)" link set swap name two || return 1
	lab_lbd_start && lab_wait_for 10 "all to be up" backends_up 6 || return 1
	answers 200 '{' POST /v1/detach '{"interface":"one"}'
	[[ $(ip -n "$(ns lb)" link show one) != *xdp* ]] || { echo "# one: still attached"; FAILED=1; }
	[[ $(ip -n "$(ns lb)" link show two) == *xdp* ]] || { echo "# two: detached too"; FAILED=1; }
	answers 200 '{' POST /v1/detach '{"interface":"two"}'
	ip -n "$(ns lb)" link del one
	ip -n "$(ns lb)" link del two
	lab_wait_for 10 "all to be up" backends_up 6
}

# The kernel allows all but a slash, a colon and white space.
test_escapes_in_the_name_of_an_interface_reach_no_terminal() {
	local name=$'e\e[31m' said
	ip -n "$(ns lb)" link add "$name" type veth peer name plain || return 1
	said=$(lbctl attach "$name" && lbctl status) || FAILED=1
	expect "lines of lbctl that show it" "$(grep -cF 'e?[31m' <<<"$said")" -ge 1
	expect "escapes printed by lbctl" "$(grep -c $'\e' <<<"$said")" = 0
	lbctl detach "$name" >/dev/null || FAILED=1
	ip -n "$(ns lb)" link del "$name"
	expect "lines of the log that show it" "$(grep -cF 'e?[31m' "$WORK/lbd.log")" -ge 1
	expect "escapes in the log" "$(grep -c $'\e' "$WORK/lbd.log")" = 0
}

test_another_xdp_program_is_left_alone_and_named() {
	ip -n "$(ns lb)" link add taken type veth peer name taken-peer
	bpftool prog load "$BUILD/pass.bpf.o" "/sys/fs/bpf/$LAB-taken" type xdp &&
		in_ns lb bpftool net attach \
			xdpdrv pinned "/sys/fs/bpf/$LAB-taken" dev taken || return 1
	rm "/sys/fs/bpf/$LAB-taken"
	answers 409 'taken: another XDP program (' POST /v1/attach '{"interface":"taken"}'
	in_ns lb ip link set dev taken xdp off
	answers 200 '"mode":"native"' POST /v1/attach '{"interface":"taken"}'
	answers 409 'attached in native mode' \
		POST /v1/attach '{"interface":"taken","mode":"generic"}'
	answers 200 '"warnings":[' POST /v1/detach '{"interface":"taken"}'
	[[ $(ip -n "$(ns lb)" link show taken) != *xdp* ]] || { echo "# still attached"; FAILED=1; }
	ip -n "$(ns lb)" link del taken
}

test_driver_that_refuses_native_mode_is_quoted() {
	ip -n "$(ns lb)" link add switch type bridge
	local refusal='native XDP refused: Underlying driver does not support XDP in native mode'
	answers 409 "switch: $refusal" \
		POST /v1/attach '{"interface":"switch","mode":"native"}'
	answers 200 '"mode":"generic"' POST /v1/attach '{"interface":"switch"}'
	logged "generic mode is used, which is slower"
	answers 200 '"warnings":[' POST /v1/detach '{"interface":"switch"}'
	ip -n "$(ns lb)" link del switch
}

# Checks metrics in the text format. Prints how many there are, or what is wrong.
check_metrics() { # FILE
	awk '
		function fail(what) { print "# line " NR ": " what ": " $0; failed = 1; exit 1 }
		function kind_of(family) {
			if (family ~ /_total$/) return "counter"
			return family ~ /^lbd_(loop_late|handshake|first_byte)_seconds$/ ? "histogram" : "gauge"
		}
		/^# HELP / {
			family = $3
			if (family in families) fail("family twice")
			families[family]
			families_seen++
			next
		}
		/^# TYPE / {
			if (NF != 4 || $3 != family) fail("expected the type of " family)
			if ($4 != kind_of(family)) fail("expected " kind_of(family))
			histogram = $4 == "histogram"
			next
		}
		{
			if ($0 !~ /^[a-z_][a-z0-9_]*(\{([a-z_]+="([^"\\]|\\["\\n])*",?)+\})? -?[0-9.e+-]+$/)
				fail("no sample")
			name = sample = $0
			sub(/[{ ].*/, "", name)
			sub(/ [^ ]*$/, "", sample)
			part = substr(name, length(family) + 1)
			if (index(name, family) != 1 ||
			    (histogram ? part !~ /^_(bucket|sum|count)$/ : part != ""))
				fail("sample outside of its family " family)
			if (sample in samples) fail("sample twice")
			samples[sample]
			samples_seen++
			if (name == "lbd_backend_up" && index(sample, "backend=\"10.0.0.11\""))
				up = 1
		}
		END {
			if (failed) exit 1
			if (!("lbd_loop_late_seconds_bucket{le=\"+Inf\"}" in samples))
				fail("no bucket +Inf of lbd_loop_late_seconds")
			if (!up) fail("no lbd_backend_up of 10.0.0.11")
			print "# " families_seen " families, " samples_seen " samples"
		}' "$1"
}

test_metrics_are_in_the_text_format() {
	local url=http://127.0.0.1:9469/metrics
	metrics -D "$WORK/head" >"$WORK/metrics" || return 1
	grep -qi 'content-type: text/plain; version=0.0.4' "$WORK/head" || FAILED=1
	check_metrics "$WORK/metrics" || FAILED=1
	expect "status of a POST" \
		"$(in_ns lb curl -s -o /dev/null -w '%{http_code}' -X POST $url)" = 405
}

test_offloads_that_hide_what_was_on_the_wire_are_off_while_attached() {
	expect "rxvlan while attached" "$(rxvlan)" = off
	stop_lbd KILL && lab_lbd_start || return 1
	lbctl detach eth0 >/dev/null
	expect "rxvlan after detach, by another lbd" "$(rxvlan)" = on
	lbctl attach eth0 >/dev/null
	expect "rxvlan while attached again" "$(rxvlan)" = off
}

test_status_reports_that_the_program_was_detached() {
	if in_a_dispatcher; then
		in_ns lb ip link set dev eth0 xdp off || return 1
	else
		rm "/sys/fs/bpf/$LAB/links/eth0" || return 1
	fi
	lab_wait_for 5 "lbd to notice" \
		status_begins_with "Not forwarding: no interface is attached" || return 1
	lbctl attach eth0 >/dev/null && status_begins_with Forwarding
}
status_begins_with() { lbctl status | grep -q "^$1"; } # TEXT

health() { # prints the status and the sentence of /healthz
	in_ns lb curl -s -w ' %{http_code}' http://127.0.0.1:9469/healthz | tr -d '\n'
}
# lbctl status --check, /healthz and the metric agree.
expect_forwarding() { # 0|1 SENTENCE
	local said code=0
	said=$(lbctl status --check) || code=$?
	expect "exit status of --check" $code = $((1 - $1))
	[[ $said == "$2"* ]] || { echo "# --check: $said"; FAILED=1; }
	expect "healthz" "$(health)" = "$said $(($1 ? 200 : 503))"
	# a scrape may be up to a second old
	lab_wait_for 5 "lbd_forwarding $1" forwarding_is "$1"
}
none_is_blind() { [ "$(status .services_blind)" = 0 ]; }
forwarding_is() { [ "$(metric lbd_forwarding)" = "$1" ]; }
attached_is() { [ "$(metric 'lbd_interface_attached{interface="eth0"}')" = "$1" ]; }

test_monitoring_is_told_when_nothing_is_forwarded() {
	expect_forwarding 1 "Forwarding: 3 services, 6 of 6 backends up"
	lbctl detach eth0 >/dev/null || return 1
	expect_forwarding 0 "Not forwarding: no interface is attached"
	attached_is 0 || { echo "# lbd_interface_attached is not 0"; FAILED=1; }
	lbctl attach eth0 >/dev/null || return 1
	expect_forwarding 1 "Forwarding: "
	attached_is 1 || { echo "# lbd_interface_attached is not 1"; FAILED=1; }
	ip -n "$(ns router)" link set to-lb down
	lab_wait_for 5 "the carrier to be gone" forwarding_is 0
	expect_forwarding 0 "Not forwarding: eth0 is down or has no carrier"
	ip -n "$(ns router)" link set to-lb up
	lab_wait_for 30 "all backends to be up" backends_up 6 || return 1
	lab_wait_for 30 "no service to be blind" none_is_blind || return 1
	expect_forwarding 1 "Forwarding: "
	expect "checks that passed" "$(metric 'lbd_health_checks_total{result="passed"}')" -gt 0
}

reload_success_is() { [ "$(metric lbd_config_reload_success)" = "$1" ]; }
reload_time() { metric lbd_config_reload_timestamp_seconds; }
is_later_than() { awk "BEGIN { exit !($(reload_time) > $1) }"; } # SECONDS

test_metrics_tell_a_refused_config_and_run_time_changes() {
	local before
	reload_success_is 1 || { echo "# expected success before"; FAILED=1; }
	before=$(reload_time)
	sed -i.good 's/port: 80$/port: 70000/' "$WORK/lbd.yaml"
	answers 422 "lbd.yaml:" POST /v1/reload '{}'
	lab_wait_for 5 "lbd_config_reload_success 0" reload_success_is 0
	expect "time of the config" "$(reload_time)" = "$before"
	mv "$WORK/lbd.yaml.good" "$WORK/lbd.yaml"
	lbctl backend weight web4 10.0.0.11 7 >/dev/null || return 1
	lab_wait_for 5 "lbd_overrides 1" overrides_are 1
	lbctl reload >/dev/null || return 1
	lab_wait_for 5 "lbd_config_reload_success 1" reload_success_is 1
	lab_wait_for 5 "lbd_overrides 0" overrides_are 0
	is_later_than "$before" || { echo "# $(reload_time) is not after $before"; FAILED=1; }
}
overrides_are() { [ "$(metric lbd_overrides)" = "$1" ]; }

test_detach_then_stop_leaves_no_pins() {
	answers 200 '"warnings":[' POST /v1/detach '{"interface":"eth0"}'
	stop_lbd TERM
	expect "pins" "$(find "/sys/fs/bpf/$LAB" 2>/dev/null | wc -l)" = 0
	# shellcheck disable=SC2034 # run_tests reads it
	[ ! -e "$WORK/lbd.sock" ] || { echo "# the socket is still there"; FAILED=1; }
	lab_lbd_start && lab_wait_for 5 "all to be up" backends_up 6
}

set_up() {
	lab_with_servers 2 && lab_lbd_with 6 config_web_and_tcp 2 "idle-timeout: { tcp: 3s }"
}

set_up_or_end set_up
run_tests "$@"
