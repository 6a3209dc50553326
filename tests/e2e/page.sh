#!/bin/bash
# The page beside the metrics: routes, heads, who is answered, what it is told; and in a headless
# Chromium what it shows. The browser's part is run by `make page` (PAGE=yes), which leaves pictures
# in build/page; PAGE_CHECKS="name ..." runs some of tests/e2e/page/check.py alone.
# shellcheck disable=SC2034 # FAILED is read by run_tests
. "$(dirname "$0")/lib.sh"

ADDRESS=127.0.0.1:9469
CHECK=$ROOT/tests/e2e/page/check.py
OUT=$ROOT/build/page

page() { in_ns lb curl -s -m 30 "${@:2}" "http://$ADDRESS$1"; } # PATH [CURL-OPTION]...
status_of() { page "$1" -o /dev/null -w '%{http_code}' "${@:2}"; } # PATH [CURL-OPTION]...
data() { page /page.json | json "$@"; } # FILTER [JQ-OPTION]...
head_has() { # PATH FIELD VALUE
	local value
	value=$(page "$1" -o /dev/null -D - | tr -d '\r' | sed -n "s/^$2: //p")
	expect "$2 of $1" "$value" = "$3"
}

# ---- routes and heads ----

test_page_and_data_are_served_for_nobody_else_and_never_kept() {
	local path
	expect "status of the page" "$(status_of /page)" = 200
	expect "status of its data" "$(status_of /page.json)" = 200
	head_has /page Content-Type 'text/html; charset=utf-8'
	head_has /page.json Content-Type application/json
	head_has /page X-Frame-Options DENY
	for path in /page /page.json '/page.json?service=web4' '/page.json?service=none'; do
		head_has "$path" Cache-Control no-store
		head_has "$path" X-Content-Type-Options nosniff
		head_has "$path" Cross-Origin-Resource-Policy same-origin
	done
	expect "status of a POST" "$(status_of /page -X POST)" = 405
	expect "bytes of a HEAD" "$(page /page -I -o /dev/null -w '%{size_download}')" = 0
	contains "$(page /)" "the page at /page"
}

test_the_policy_admits_the_pages_own_script_and_style_and_nothing_else() {
	local policy
	policy=$(page /page -o "$WORK/page.html" -D - | tr -d '\r' |
		sed -n 's/^Content-Security-Policy: //p')
	cmp -s "$WORK/page.html" "$ROOT/user/lbd/api/page.html" ||
		expect "the page" other = "the file in the tree"
	POLICY=$policy /usr/bin/python3 - "$WORK/page.html" <<-'PYTHON' || FAILED=1
		import base64, hashlib, os, re, sys
		page, policy = open(sys.argv[1], encoding="utf-8").read(), os.environ["POLICY"]
		parts = dict(part.strip().split(" ", 1) for part in policy.split(";"))
		def hashes(tag):
		    return ["'sha256-%s'" % base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
		            for body in re.findall(f"<{tag}>(.*?)</{tag}>", page, re.S)]
		wrong = [f"{name}: {parts.get(name)}: expected {value}" for name, value in {
		    "default-src": "'none'", "script-src": " ".join(hashes("script")), "style-src": " ".join(hashes("style")),
		    "connect-src": "'self'", "img-src": "data:", "base-uri": "'none'", "form-action": "'none'",
		    "frame-ancestors": "'none'", "require-trusted-types-for": "'script'",
		    "trusted-types": "'none'"}.items() if parts.get(name) != value]
		wrong += [f"{what} in the page" for what in re.findall(
		    r"\son[a-z]+=|\sstyle=|javascript:|innerHTML|outerHTML|insertAdjacentHTML|document\.write|https?://(?!www\.w3\.org)",
		    page)]
		print("\n".join("# " + line for line in wrong))
		sys.exit(bool(wrong))
	PYTHON
}

test_what_is_asked_for_wrongly_is_refused() {
	expect "an unknown service" "$(status_of '/page.json?service=none')" = 404
	expect "an unknown parameter" "$(status_of '/page.json?name=web4')" = 400
	expect "two services" "$(status_of '/page.json?service=web4&service=tcp4')" = 400
	expect "another path" "$(status_of /page/)" = 404
	expect "a foreign name, page" "$(status_of /page -H 'Host: evil.example')" = 421
	expect "a foreign name, data" "$(status_of /page.json -H 'Host: evil.example')" = 421
}

# ---- what it is told ----

test_the_data_say_what_lbctl_says() {
	local fields='[.services[] | {name, vip, port, protocol, status, backends, slots}]'
	expect "services" "$(data "$fields")" = "$(lbctl services --json | json "$fields")"
	fields='[.backends[] | {address, condition, weight, effective_weight}]'
	expect "backends" "$(page '/page.json?service=web4' | json "$fields")" = \
		"$(lbctl backends web4 --json | json "$fields")"
	expect "reasons" "$(data '[.reasons[].name]')" = \
		"$(lbctl stats --json | json '[.reasons[].name]')"
	expect "version" "$(data .lbd.version)" = "$(lbctl status --json | json .version)"
}

test_counters_and_times_of_checks_arrive() {
	local before
	before=$(data '.services[] | select(.name == "web4") | .packets')
	traffic load-http $VIP4 80 rate 50 seconds 2 timeout 20 >/dev/null
	lab_wait_for 10 "packets of web4" has_more_than "$before"
	lab_wait_for 30 "times of checks" has_times
	expect "p50, p95 and p99 in order" "$(data '.services[] | select(.name == "web4")
		| .latency_us | .[0] <= .[1] and .[1] <= .[2] and .[0] > 0')" = true
}
has_more_than() { [ "$(data '.services[] | select(.name == "web4") | .packets')" -gt "$1" ]; }
has_times() { [ "$(data '[.services[].latency_us | type] | unique')" = '["array"]' ]; }

test_a_backend_that_is_lost_is_named_with_reason_and_counted() {
	local lost='.wrong[] | select(.service == "web4" and .address == "10.0.0.11")'
	lab_kill nginx-b1
	lab_wait_for 20 "the loss of 10.0.0.11" says "$lost"
	expect "condition" "$(data "$lost | .condition")" = down
	expect "reason" "$(data "$lost | .why | length > 0")" = true
	expect "losses" "$(page '/page.json?service=web4' |
		json '.backends[] | select(.address == "10.0.0.11") | .losses')" -ge 1
	expect "events of the service" "$(page '/page.json?service=web4' |
		json '[.events[].service] | unique')" = '["web4"]'
	lab_nginx_start 1
	lab_wait_for 30 "its return" condition_is web4 10.0.0.11 up
}
says() { page /page.json | jq -e "$1"; } # FILTER

# Those who may read the metrics are more than those who may read /v1/events.
test_events_name_no_user_and_quote_no_config() {
	lbctl backend weight web4 10.0.0.12 50 >/dev/null
	cp "$WORK/lbd.yaml" "$WORK/good.yaml"
	sed -i 's/^hash-seed: .*/hash-seed: mysecretseed/' "$WORK/lbd.yaml"
	lbctl reload >/dev/null 2>&1
	mv "$WORK/good.yaml" "$WORK/lbd.yaml"
	# What is shared by all who ask may be a second old.
	lab_wait_for 10 "events of both" says \
		'[.events[].kind] | contains(["backend-weight", "reload-refused"])' || return 1
	expect "names of users" "$(data '[.events[] | has("who") or has("uid")] | any')" = false
	expect "the seed in it" "$(page /page.json | grep -c mysecretseed)" = 0
	expect "the seed in lbctl events" "$(lbctl events --json | grep -c mysecretseed)" -ge 1
	lbctl backend weight web4 10.0.0.12 100 >/dev/null
}

# ---- budget, switch, token ----

test_many_who_look_keep_nobody_waiting() {
	lab_spawn swarm in_ns lb "$BUILD/tests/e2e/swarm" $ADDRESS /page.json loop 200
	local i
	for i in $(seq 10); do
		lbctl status >/dev/null || expect "answer $i of lbctl status" none = one
	done
	lab_kill swarm
	expect "whole answers to them" "$(report_of_swarm ok)" -gt 0
	lab_wait_for 20 "an answer afterwards" says '.services | length == 3'
}

report_of_swarm() { json ".$1" <"$WORK/swarm.log"; } # FIELD

test_a_reload_turns_it_off_and_on() {
	echo "page: off" >>"$WORK/lbd.yaml"
	contains "$(lbctl reload --dry-run)" "page turned off"
	lbctl reload >/dev/null
	expect "the page" "$(status_of /page)" = 404
	expect "its data" "$(status_of /page.json)" = 404
	expect "metrics" "$(status_of /metrics)" = 200
	sed -i '/^page: off/d' "$WORK/lbd.yaml"
	lbctl reload >/dev/null
	expect "the page again" "$(status_of /page)" = 200
}

test_with_a_token_the_data_need_it_and_the_page_asks_for_it() {
	local token
	token=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
	(umask 077 && echo "$token" >"$WORK/token")
	cp "$WORK/lbd.yaml" "$WORK/good.yaml"
	lab_kill lbd
	echo "metrics-token-file: $WORK/token" >>"$WORK/lbd.yaml"
	lab_lbd_start || return 1
	expect "the page" "$(status_of /page)" = 200
	expect "data without it" "$(status_of /page.json)" = 401
	expect "data with it" "$(status_of /page.json -H "Authorization: Bearer $token")" = 200
	lab_kill lbd
	mv "$WORK/good.yaml" "$WORK/lbd.yaml"
	lab_lbd_start && lab_wait_for 30 "the backends to be up" backends_up 6
}

# ---- in a browser ----

test_the_stand_in_of_the_browsers_part_tells_what_the_document_says() {
	/usr/bin/python3 -c 'import jsonschema, yaml' 2>/dev/null || {
		skip "python3-jsonschema and python3-yaml are missing: sudo tools/deps test"
		return
	}
	/usr/bin/python3 - "$ROOT/tests/e2e/page" >"$WORK/answers" <<-'PYTHON' || FAILED=1
		import json, sys
		sys.path.insert(0, sys.argv[1])
		import stand_in
		world = stand_in.make(["--services", "12"]).world
		for path, body in ("/page.json", world.all_json()), ("/page.json?service=api", world.one_json("api")):
		    print(json.dumps({"method": "GET", "path": path, "status": 200, "body": body}))
	PYTHON
	"$ROOT/tools/api-check" answers "$WORK/answers" | sed 's/^/# /'
	[ "${PIPESTATUS[0]}" = 0 ] || FAILED=1
}

without_browser() {
	[ "${PAGE:-}" = yes ] || {
		skip "the browser's part takes long: make page runs it"
		return 0
	}
	/usr/bin/python3 -c "import sys; sys.path.insert(0, '$ROOT/tests/e2e/page'); import browser
sys.exit(not browser.program())" && return 1
	skip "no chromium here: tools/deps page installs it"
}

test_a_browser_shows_what_lbctl_says() {
	without_browser && return
	mkdir -p "$OUT"
	lbctl services --json >"$WORK/services.json"
	in_ns lb /usr/bin/python3 "$CHECK" lbd "http://$ADDRESS/page" "$WORK/services.json" \
		--shots "$OUT" |
		sed 's/^/# /'
	return "${PIPESTATUS[0]}"
}

# The npm package axe-core, once.
fetch_axe() {
	[ -e "$OUT/axe.min.js" ] && return
	command -v npm >/dev/null || return
	(cd "$WORK" && timeout 60 npm pack axe-core@4.10.3 && tar -xzf axe-core-4.10.3.tgz) \
		>/dev/null 2>&1 && cp "$WORK/package/axe.min.js" "$OUT"
}

test_a_browser_shows_every_state_to_everybody() {
	local axe=()
	without_browser && return
	mkdir -p "$OUT"
	fetch_axe
	[ ! -e "$OUT/axe.min.js" ] || axe=(--axe "$OUT/axe.min.js")
	# shellcheck disable=SC2086 # words
	/usr/bin/python3 "$CHECK" made-up ${PAGE_CHECKS:-} --shots "$OUT" "${axe[@]}" |
		sed 's/^/# /'
	return "${PIPESTATUS[0]}"
}

lab_with_three_services() {
	lab_with_servers 2 && lab_lbd_with 6 config_web_and_tcp 2
}

set_up_or_end lab_with_three_services
run_tests "$@"
