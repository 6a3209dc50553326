#!/bin/bash
# What operators call things: backends with names and labels, services by VIP, and a config in
# several files.
# shellcheck disable=SC2034 # run_tests reads FAILED
. "$(dirname "$0")/lib.sh"

COUNT=3
ZONES=(a a b)
IDLE="idle-timeout: { tcp: 3s, udp: 3s }"

# web4 and tcp4 on one VIP, and web6. Backend N is called web-N, and bN in tcp4.
write_config() {
	local i
	{
		lab_config_head
		echo "services:"
		config_service web4 $VIP4 tcp 80 4 $COUNT "$IDLE"
		config_service tcp4 $VIP4 tcp 7000 4 $COUNT "$IDLE"
		config_service web6 $VIP6 tcp 80 6 $COUNT "$IDLE"
	} >"$WORK/plain.yaml"
	for i in $(seq $COUNT); do
		echo "/name: web4/,/name: tcp4/s/\"10.0.0.1$i\"/&, name: web-$i," \
			"labels: { zone: ${ZONES[i - 1]}, rack: \"$i\" }/"
		echo "/name: tcp4/,/name: web6/s/\"10.0.0.1$i\"/&, name: b$i/"
	done >"$WORK/names.sed"
	sed -f "$WORK/names.sed" "$WORK/plain.yaml" >"$WORK/lbd.yaml"
}
set_up() {
	lab_with_servers $COUNT && write_config && lab_lbd_start &&
		lab_wait_for 30 "all backends to be up" backends_up $((3 * COUNT))
}
again() { # the config of the beginning, without run-time changes
	end_drains
	rm -rf "$WORK/conf.d"
	write_config
	lbctl reload >/dev/null && lab_wait_for 30 "all backends to be up" backends_up $((3 * COUNT))
}
refused() { # TEXT COMMAND...: with this in the error
	local text=$1 said
	shift
	said=$("$@" 2>&1) && { echo "# not refused: $*"; FAILED=1; return; }
	contains "$said" "$text"
}
weight_is() { [ "$(backend_field "$1" "$2" weight)" = "$3" ]; } # SERVICE ADDRESS WEIGHT

# ---- names ----

test_a_name_does_what_an_address_does() {
	contains "$(lbctl backend weight web4 web-2 7)" "web4 web-2 10.0.0.12: weight 7"
	weight_is web4 10.0.0.12 7 || FAILED=1
	contains "$(lbctl drain web4 web-1 --wait --timeout 5m)" "web4 web-1 10.0.0.11: no flow depends"
	condition_is web4 10.0.0.11 drained || FAILED=1
	contains "$(lbctl backend undrain web4 web-1)" "web4 web-1 10.0.0.11: takes new flows again"
	contains "$(lbctl backend remove tcp4 b3 --now)" "tcp4 b3 10.0.0.13: removed"
	refused 'service tcp4: backend "web-3": no such backend' lbctl backend drain tcp4 web-3
	refused "expected an IPv4 or IPv6 address" lbctl backend drain tcp4 10.0.0
	contains "$(lbctl reload)" "dropped  tcp4 b3 10.0.0.13: removal"
	again
}

test_lists_log_and_json_show_names_and_labels() {
	contains "$(lbctl backends web4)" "web-1 10.0.0.11"
	contains "$(lbctl top --once)" "web-1 10.0.0.11"
	logged "web4 $VIP4:80/tcp: backend web-1 10.0.0.11 up"
	expect "labels" "$(backend_field web4 10.0.0.13 'labels' | jq -c .)" = '{"rack":"3","zone":"b"}'
	expect "name" "$(backend_field web4 10.0.0.13 name)" = web-3
	expect "words of completion" "$(LBD_SOCKET=$WORK/lbd.sock in_ns lb "$BUILD/lbctl" --words drain tcp4 |
		grep -cxE 'b[123]|10\.0\.0\.1[123]')" = 6
}

test_metrics_have_the_name_and_one_sample_for_the_labels_of_a_backend() {
	local text sample
	sample="lbd_backend_labels{service=\"web4\",vip=\"$VIP4\",port=\"80\",protocol=\"tcp\""
	sample+=",backend=\"10.0.0.13\",name=\"web-3\",label_rack=\"3\",label_zone=\"b\"} 1"
	text=$(metrics) || return 1
	expect "samples with a name" "$(grep -c '^lbd_backend_up{.*,name="' <<<"$text")" = $((2 * COUNT))
	expect "samples with labels" "$(grep -c '^lbd_backend_labels{' <<<"$text")" = $COUNT
	grep -qxF "$sample" <<<"$text" || FAILED=1
}

test_a_vip_names_its_service_and_one_of_several_is_refused() {
	expect "by VIP and port" "$(lbctl backends $VIP4:7000 --json | json '.backends[0].service')" = tcp4
	expect "by IPv6 VIP" "$(lbctl backends $VIP6 --json | json '.backends[0].service')" = web6
	contains "$(lbctl backend weight "[$VIP6]:80/tcp" 2001:db8:b::11 9)" "web6 2001:db8:b::11: weight 9"
	refused "service \"$VIP4\": 2 services have it: expected one of web4, tcp4" lbctl backends $VIP4
	refused "2 services have it" lbctl drain $VIP4 web-1
	refused "no such service" lbctl backends $VIP4:81
	contains "$(lbctl drain $VIP4:80 web-2)" "web4 web-2 10.0.0.12: takes no new flows"
	again
}

test_a_name_given_at_run_time_is_kept_and_saved() {
	lbctl backend add web4 10.0.0.77 --name web-77 --label zone=c --label "note=a: \"b\"" --weight 3 ||
		return 1
	refused "backend 10.0.0.77 has the same name" lbctl backend add web4 10.0.0.78 --name web-77
	refused "beginning with a letter" lbctl backend add web4 10.0.0.78 --name 77
	refused "expected KEY=VALUE" lbctl backend add web4 10.0.0.78 --label zone
	stop_lbd KILL && lab_lbd_start || return 1
	expect "name" "$(backend_field web4 10.0.0.77 name)" = web-77
	expect "labels" "$(backend_field web4 10.0.0.77 labels | jq -c .)" = '{"note":"a: \"b\"","zone":"c"}'
	contains "$(lbctl diff)" "service web4: backend web-77 10.0.0.77: removed"
	lbctl save || return 1
	grep -qF -- '- { address: 10.0.0.77, name: web-77, weight: 3, labels: { note: "a: \"b\"", zone: "c" } }' \
		"$WORK/lbd.yaml" || FAILED=1
	lbctl reload || return 1
	expect "run-time changes" "$(lbctl status --json | json .overrides)" = 0
	expect "name" "$(backend_field web4 10.0.0.77 name)" = web-77
	again
}

test_a_new_name_moves_no_flow() {
	hold_open open 7000 100
	sed -i 's/name: b1/name: c1/; s/name: b2, */name: b1/' "$WORK/lbd.yaml"
	contains "$(lbctl reload --dry-run)" "service tcp4: backend c1 10.0.0.11: name b1 -> c1"
	lbctl reload || return 1
	expect "name" "$(backend_field tcp4 10.0.0.11 name)" = c1
	sleep 1
	load_end open
	expect "broken or moved connections" "$(broken_or_moved open)" = 0
	again
}

# ---- several files ----

# The services of the config in a file each.
split_config() {
	mkdir -p "$WORK/conf.d"
	{
		lab_config_head
		echo "include: conf.d/*.yaml"
		echo "services: []"
	} >"$WORK/lbd.yaml"
	sed -f "$WORK/names.sed" "$WORK/plain.yaml" | awk -v dir="$WORK/conf.d" '
		/^  - name:/ { file = dir "/" $3 ".yaml"; print "services:" >file }
		file { print >file }'
}

test_services_in_several_files_are_one_config() {
	local result
	split_config
	"$BUILD/lbd" --check "$WORK/lbd.yaml" | grep -q "ok: included files: 3, services: 3" || FAILED=1
	contains "$(lbctl reload --dry-run)" "a reload would make no change"
	lbctl reload || return 1
	expect "services" "$(lbctl services --json | jq -r '[.services[].name] | join(" ")')" = "tcp4 web4 web6"
	result=$(traffic load-http $VIP4 80 rate 200 seconds 1)
	none_failed "failed requests" "$result"
	stop_lbd TERM && lab_lbd_start || return 1
	lab_wait_for 30 "all backends to be up" backends_up $((3 * COUNT))
}

test_a_change_of_one_file_is_seen_by_diff_and_reload() {
	rm "$WORK/conf.d/tcp4.yaml"
	contains "$(lbctl diff)" "service tcp4: removed"
	lbctl reload >/dev/null || return 1
	expect "services" "$(lbctl status --json | json .services)" = 2
	split_config
	lbctl reload >/dev/null && lab_wait_for 30 "all backends to be up" backends_up $((3 * COUNT))
}

test_a_mistake_in_one_file_changes_nothing_and_names_it() {
	sed -i 's/port: 7000/port: 70000/' "$WORK/conf.d/tcp4.yaml"
	sed -i 's/protocol: tcp/protocol: sctp/' "$WORK/conf.d/web6.yaml"
	# keys and types come first
	refused "$WORK/conf.d/web6.yaml:4: service web6: protocol: sctp: expected" lbctl reload
	expect "mistakes" "$("$BUILD/lbd" --check "$WORK/lbd.yaml" 2>&1 | grep -c "^$WORK/conf.d/.*expected")" = 2
	split_config
	cp "$WORK/conf.d/tcp4.yaml" "$WORK/conf.d/zz.yaml"
	refused "zz.yaml:2: service tcp4: name: tcp4: the service in $WORK/conf.d/tcp4.yaml:2 has the same" \
		lbctl reload
	sed -i 's/name: tcp4/name: other/' "$WORK/conf.d/zz.yaml"
	refused "zz.yaml:3: service other: vip: $VIP4: service tcp4 in $WORK/conf.d/tcp4.yaml:2 has the same" \
		lbctl reload
	rm "$WORK/conf.d/zz.yaml"
	mv "$WORK/conf.d" "$WORK/conf.off"
	refused "include: conf.d/*.yaml: $WORK/conf.d: No such file or directory" lbctl reload
	mv "$WORK/conf.off" "$WORK/conf.d"
	expect "services" "$(lbctl status --json | json .services)" = 3
	lbctl reload
}

test_save_writes_into_the_file_that_has_the_service() {
	local before
	before=$(md5sum "$WORK/lbd.yaml" "$WORK/conf.d/web6.yaml")
	lbctl backend weight web4 web-1 7 >/dev/null && lbctl backend drain tcp4 b2 >/dev/null || return 1
	contains "$(lbctl save --print)" "==> $WORK/conf.d/tcp4.yaml <=="
	contains "$(lbctl save)" "2 run-time changes written into $WORK/conf.d/tcp4.yaml, $WORK/conf.d/web4.yaml"
	expect "the other files" "$(md5sum "$WORK/lbd.yaml" "$WORK/conf.d/web6.yaml")" = "$before"
	grep -q 'name: web-1.*weight: 7' "$WORK/conf.d/web4.yaml" || FAILED=1
	grep -q 'name: b2.*drain: true' "$WORK/conf.d/tcp4.yaml" || FAILED=1
	lbctl reload || return 1
	expect "run-time changes" "$(lbctl status --json | json .overrides)" = 0
	weight_is web4 10.0.0.11 7 || FAILED=1
	again
}

# ---- services at run time ----

CHECK="http,port=80,path=/healthz,interval=500ms,timeout=450ms"

# A TCP service on the VIP of web6, and a UDP service on a VIP that no other has.
add_tcp6() {
	lbctl service add tcp6 "[$VIP6]:7000/tcp" --backend 2001:db8:b::11,name=b1 \
		--backend 2001:db8:b::12,name=b2,labels.zone=a --health "$CHECK" "$@"
}
add_udp4() {
	lbctl service add udp4 "$LAB_UDP4:5353/udp" --backend 10.0.0.11 --backend 10.0.0.12 \
		--health "$CHECK" --set idle-timeout.udp=3s
}
tcp6_answers() { # what no request fails of
	[ "$(traffic ask-tcp $VIP6 7000 requests 20 timeout 5 | json .failed)" = 0 ]
}
names() { lbctl services --json | jq -r '[.services[].name] | join(" ")'; }
up_is() { [ "$(service_field "$1" backends_up)" = "$2" ]; } # SERVICE COUNT
announced() { [ -n "$(ip -n "$(ns lb)" route show table 76 "$1")" ]; } # VIP
not_announced() { ! announced "$1"; }

test_a_service_added_at_run_time_takes_traffic_and_is_announced() {
	sed -i '1i announce: { table: 76 }' "$WORK/lbd.yaml"
	lbctl reload >/dev/null || return 1
	contains "$(add_tcp6)" "tcp6: added with 2 backends"
	add_udp4 >/dev/null || return 1
	lab_wait_for 30 "its backends to be up" up_is tcp6 2 || return 1
	lab_wait_for 10 "answers" tcp6_answers || return 1
	lab_wait_for 30 "its backends to be up" up_is udp4 2 || return 1
	lab_wait_for 10 "the route" announced "$LAB_UDP4" || return 1
	expect "name" "$(backend_field tcp6 2001:db8:b::12 name)" = b2
	expect "runtime" "$(service_field tcp6 runtime)" = true
	expect "runtime" "$(service_field web6 runtime)" = false
	metrics | grep -q '^lbd_service_up{service="tcp6",' || FAILED=1
	expect "run-time changes" "$(lbctl status --json | json .overrides)" = 2
}

test_what_no_config_may_say_is_refused_in_its_words() {
	refused "service x: port: 70000: expected 1 to 65535 or any" \
		lbctl service add x 192.0.2.99:70000/tcp --backend 10.0.0.11
	refused "service x: algoritm: unknown key: did you mean algorithm?" \
		lbctl service add x 192.0.2.99:80/tcp --backend 10.0.0.11 --set algoritm=lc
	refused "service x: vip: $VIP4: service web4 in the config has the same VIP, protocol and port" \
		lbctl service add x $VIP4:80/tcp --backend 10.0.0.11
	refused "service tcp6: name: tcp6: the service in the config has the same name" \
		lbctl service add tcp6 192.0.2.99:80/tcp --backend 10.0.0.11
	refused "expected VIP:PORT/PROTOCOL" lbctl service add x 192.0.2.99 --backend 10.0.0.11
	expect "services" "$(names)" = "web4 tcp4 web6 tcp6 udp4"
}

# Connections to it go on, too.
test_an_added_service_outlives_kill_9() {
	lbctl backend weight tcp6 b1 7 >/dev/null || return 1
	load_start open hold $VIP6 7000 connections 50
	lab_wait_for 20 "50 connections" grep -q "50 connections open" "$WORK/open.err" || return 1
	stop_lbd KILL && lab_lbd_start || return 1
	expect "services" "$(names)" = "web4 tcp4 web6 tcp6 udp4"
	weight_is tcp6 2001:db8:b::11 7 || FAILED=1
	lab_wait_for 30 "its backends to be up" up_is tcp6 2 || return 1
	load_end open
	expect "broken or moved connections" "$(broken_or_moved open)" = 0
	logged "3 run-time changes are still in force"
}

test_a_reload_keeps_or_drops_added_services_and_names_them() {
	local said
	said=$(lbctl reload --keep)
	contains "$said" "kept     tcp6: service added"
	contains "$said" "kept     tcp6 b1 2001:db8:b::11: weight 7"
	expect "services" "$(names)" = "web4 tcp4 web6 tcp6 udp4"
	contains "$(lbctl diff)" "service udp4: removed"
	contains "$(lbctl reload --dry-run)" "dropped  udp4: service added"
	said=$(lbctl reload)
	contains "$said" "dropped  tcp6: service added"
	contains "$said" "dropped  udp4: service added"
	expect "services" "$(names)" = "web4 tcp4 web6"
	lab_wait_for 10 "the end of the route" not_announced "$LAB_UDP4" || return 1
	expect "run-time changes" "$(lbctl status --json | json .overrides)" = 0
}

test_save_writes_an_added_service_and_takes_out_a_removed_one() {
	add_tcp6 --algorithm round-robin >/dev/null && lbctl backend weight tcp6 b2 9 >/dev/null &&
		lbctl service remove web4 --force >/dev/null || return 1
	refused "no such service" lbctl backends web4
	lab_wait_for 30 "its backends to be up" up_is tcp6 2 || return 1
	lbctl save || return 1
	sed 's/^/# /' "$WORK/lbd.yaml"
	"$BUILD/lbd" --check "$WORK/lbd.yaml" >/dev/null || FAILED=1
	grep -q 'name: web4' "$WORK/lbd.yaml" && FAILED=1
	grep -q 'address: .2001:db8:b::12., name: b2, labels: {zone: a}, weight: 9' "$WORK/lbd.yaml" || FAILED=1
	contains "$(lbctl reload)" "reloaded: 3 services"
	expect "services" "$(names)" = "tcp4 web6 tcp6"
	expect "run-time changes" "$(lbctl status --json | json .overrides)" = 0
	expect "diff" "$(lbctl diff >/dev/null; echo $?)" = 0
	expect "up" "$(service_field tcp6 backends_up)" = 2
	again
}

test_a_service_with_traffic_is_removed_only_by_force() {
	refused "3 of its backends take traffic, whose connections end with it: expected --force" \
		lbctl service remove web4
	lbctl drain web6 2001:db8:b::11 --wait >/dev/null && lbctl drain web6 2001:db8:b::12 --wait >/dev/null &&
		lbctl drain web6 2001:db8:b::13 --wait >/dev/null || return 1
	contains "$(lbctl service remove "$VIP6")" "web6: removed"
	contains "$(lbctl service remove web4 --force)" "web4: removed"
	expect "services" "$(names)" = tcp4
	refused "" traffic load-http $VIP4 80 rate 5 seconds 1 timeout 1
	stop_lbd TERM && lab_lbd_start || return 1
	expect "services" "$(names)" = tcp4
	contains "$(lbctl reload)" "dropped  web4: service removed"
	expect "services" "$(names)" = "web4 tcp4 web6"
	again
}

set_up_or_end set_up
run_tests "$@"
