#!/bin/bash
# docs/openapi.yaml and docs/api.md say what lbd and lbctl do: every route and verb is in them and
# in the code, and every answer of this lab has the shape that they promise.
# shellcheck disable=SC2034 # FAILED is read by run_tests
. "$(dirname "$0")/lib.sh"

ANSWERS=

# As its own words: a field or a route is named in each line.
api_check() { # ARGUMENT...
	local out
	out=$("$ROOT/tools/api-check" "$@") && return
	sed 's/^/# /' <<<"$out"
	FAILED=1
}

# Asks, and keeps the answer for the comparison.
ask() { # STATUS METHOD PATH [BODY]
	local out status
	out=$(curl -s -m 60 --unix-socket "$WORK/lbd.sock" -X "$2" ${4:+-d "$4"} \
		-w '\n%{http_code}' "http://lbd$3")
	status=${out##*$'\n'}
	expect "$2 $3 ${4:-}: status" "$status" = "$1"
	jq -c --arg method "$2" --arg path "$3" --argjson status "$status" --arg request "${4:-}" \
		'{$method, $path, $status, body: .} +
			if $method != "GET" then {request: ($request | fromjson? // {})} else {} end' \
		<<<"${out%$'\n'*}" >>"$ANSWERS" || FAILED=1
}
# Runs a verb with --json, and keeps what it prints: one object, or one a line.
run_verb() { # VERB [ARGUMENT]...
	local verb=$1 words out status=0
	shift
	read -ra words <<<"$verb"
	out=$(lbctl "${words[@]}" "$@" --json) || status=$?
	[ $status = 0 ] || [ "$verb" = diff ] || expect "status of lbctl $verb $*" $status = 0
	expect "what lbctl $verb $* prints, in bytes" ${#out} -gt 0
	keep_verb "$verb" <<<"$out" # no pipe: it sets FAILED
}
keep_verb() { jq -c --arg verb "$1" '{$verb, body: .}' >>"$ANSWERS" || FAILED=1; } # VERB

begin_answers() { # NAME
	ANSWERS=$WORK/$1.answers
	: >"$ANSWERS"
}
end_answers() {
	cat "$ANSWERS" >>"$WORK/all.answers"
	api_check answers "$ANSWERS"
	expect "answers" "$(wc -l <"$ANSWERS")" -gt 0
}

test_every_route_verb_and_event_of_the_code_is_in_the_documents_and_vice_versa() {
	api_check code
}

test_the_document_is_sound() { api_check document; }

# What the other tests rely on.
test_an_answer_with_a_field_too_few_or_too_many_is_found() {
	local out
	jq -cn '{method: "GET", path: "/v1/stats", status: 200,
		body: {reasons: [], events: [{name: "x", help: "x", count: -1, other: "x"}]}}' \
		>"$WORK/wrong.answers"
	out=$("$ROOT/tools/api-check" answers "$WORK/wrong.answers")
	expect "exit status" $? = 1
	contains "$out" "'sources_over_rate' is a required property"
	contains "$out" "-1 is less than the minimum"
	contains "$out" "events[].other: not in docs/openapi.yaml"
}

test_what_is_read_has_the_shape_of_the_document() {
	begin_answers read
	ask 200 GET /v1/status
	ask 200 GET /v1/services
	ask 200 GET /v1/backends
	ask 200 GET '/v1/backends?service=web4'
	ask 200 GET '/v1/backends?down=true&filter=web4'
	ask 200 GET /v1/stats
	ask 200 GET /v1/fleet
	ask 200 GET /v1/top
	ask 200 GET '/v1/events?since_s=3600'
	end_answers
}

test_what_is_refused_has_the_shape_of_the_document() {
	local target='"service":"web4","address":"10.0.0.11"'
	begin_answers refused
	ask 404 GET /v1/nothing
	ask 405 GET /v1/reload
	ask 404 GET '/v1/backends?service=nope'
	ask 400 GET '/v1/backends?down=perhaps'
	ask 400 GET '/v1/backends?fields=address,nope'
	ask 400 GET '/v1/events?after=x'
	ask 404 POST /v1/service/remove '{"service":"nope"}'
	ask 400 POST /v1/attach '{}'
	ask 404 POST /v1/attach '{"interface":"nope0"}'
	ask 404 POST /v1/detach '{"interface":"nope0"}'
	ask 409 POST /v1/backend/add "{$target}"
	ask 404 POST /v1/backend/drain '{"service":"web4","address":"10.0.0.99"}'
	ask 404 POST /v1/backend/weight '{"service":"nope","address":"10.0.0.11","weight":1}'
	ask 404 POST /v1/backend/remove '{"service":"web4","address":"10.0.0.99"}'
	ask 409 POST /v1/node/drain '{}'
	ask 409 PUT /v1/services/web4/backends/10.0.0.11 '{}'
	ask 404 PUT /v1/services/nope/backends/10.0.0.99 '{}'
	ask 400 PUT /v1/services/web4/backends/10.0.0.99 '{"ttl":0}'
	ask 413 PUT /v1/services/web4/backends/10.0.0.99 "{\"name\":\"$(printf '%16384s' '')\"}"
	ask 409 DELETE /v1/services/web4/backends/10.0.0.11 '{}'
	ask 405 POST /v1/services/web4/backends/10.0.0.11 '{}'
	ask 404 PUT /v1/services/web4/backends/ '{}'
	cp "$WORK/lbd.yaml" "$WORK/good.yaml"
	sed -i 's/port: 80$/port: 70000/' "$WORK/lbd.yaml"
	ask 422 POST /v1/reload '{}'
	mv "$WORK/good.yaml" "$WORK/lbd.yaml"
	end_answers
}

# The kernel takes any bytes as a name of a device; JSON is text.
test_a_device_whose_name_is_no_text_costs_no_answer() {
	local name=$'odd\xff' lb
	lb=$(ns lb)
	begin_answers odd
	ip -n "$lb" link add "$name" type veth peer name odd-peer
	ip -n "$lb" addr add 10.77.0.1/24 dev "$name"
	ip -n "$lb" link set odd-peer up
	ip -n "$lb" link set "$name" up
	ip -n "$lb" neigh replace 10.77.0.11 lladdr 02:00:00:00:00:77 dev "$name" nud permanent
	ask 200 POST /v1/backend/add '{"service":"web4","address":"10.77.0.11","weight":0}'
	lab_wait_for 10 "its next hop, or why there is none" names_odd
	ask 200 GET /v1/backends
	ask 200 GET /v1/status
	ask 200 POST /v1/backend/remove '{"service":"web4","address":"10.77.0.11","now":true}'
	ip -n "$lb" link del "$name"
	end_answers
}
names_odd() {
	lbctl backends web4 --json |
		jq -e '.backends[] | select(.address == "10.77.0.11") |
			[.next_hop.interface, .why] | any(. != null and contains("odd?"))' >/dev/null
}

# In this order the answers have a drain with a deadline, a node, an interface that is not in the
# config, and warnings.
test_changes_have_the_shape_of_the_document() {
	local target='"service":"web4","address":"10.0.0.11"'
	begin_answers changes
	ip -n "$(ns lb)" link add late type veth peer name late-peer
	ask 200 POST /v1/attach '{"interface":"late","mode":"generic"}'
	ask 200 GET /v1/status
	ask 200 POST /v1/detach '{"interface":"late"}'
	ip -n "$(ns lb)" link del late
	ask 200 POST /v1/backend/weight "{$target,\"weight\":7}"
	ask 200 POST /v1/backend/state "{$target,\"state\":\"maintenance\"}"
	ask 200 POST /v1/backend/state "{$target,\"state\":\"auto\"}"
	ask 200 POST /v1/backend/drain "{$target,\"on\":true,\"force_after_ms\":600000}"
	ask 200 GET /v1/backends
	ask 200 POST /v1/save '{}'
	ask 200 POST /v1/reload '{"dry_run":true}'
	ask 200 POST /v1/backend/drain "{$target,\"on\":false}"
	ask 200 POST /v1/backend/add '{"service":"web4","address":"10.0.0.99","weight":0}'
	ask 200 POST /v1/backend/remove '{"service":"web4","address":"10.0.0.99","now":true}'
	ask 200 PUT /v1/services/web4/backends/10.0.0.99 '{"weight":0,"ttl":60,"name":"guest","labels":{"zone":"a"}}'
	ask 200 PUT /v1/services/web6/backends/2001:db8:b::99 '{"ttl":"1m"}'
	ask 200 GET /v1/backends
	ask 200 DELETE /v1/services/web4/backends/10.0.0.99 '{"now":true}'
	ask 200 DELETE /v1/services/web6/backends/2001:db8:b::99 '{"now":true}'
	ask 200 POST /v1/service/add '{"name":"more","vip":"192.0.2.77","protocol":"tcp","port":80,"backends":[{"address":"10.0.0.11"}]}'
	ask 200 POST /v1/service/remove '{"service":"more","force":true}'
	ask 200 POST /v1/service/add '{"name":"more","vip":"192.0.2.77","protocol":"tcp","port":80,"backends-from":{"file":"/nonexistent","min":2}}'
	lab_wait_for 10 "its source to fail" more_fails
	ask 200 GET /v1/services
	ask 200 GET /v1/status
	ask 200 POST /v1/service/remove '{"service":"more"}'
	cp "$WORK/lbd.yaml" "$WORK/plain.yaml"
	write_rich_config
	ask 200 POST /v1/reload '{}'
	ask 200 POST /v1/reload '{"lists":true}'
	ask 200 POST /v1/node/drain '{"on":true,"withdraw":true}'
	ask 200 GET /v1/top
	ask 200 POST /v1/node/drain '{"on":false}'
	mv "$WORK/plain.yaml" "$WORK/lbd.yaml"
	ask 200 POST /v1/reload '{"keep":true}'
	end_answers
}
more_fails() { [ "$(service_field more source | jq .failed_s)" != null ]; }
# What the lab's config does not have: lists, rates, the node.
write_rich_config() {
	cat >>"$WORK/lbd.yaml" <<-CONF
		announce: {}
		defaults:
		  allow: [198.51.100.0/24, "2001:db8::/32"]
		  deny: [203.0.113.0/24]
		  limit: { new-flows: 1000/s, per-source: { rate: 100/m } }
	CONF
}

test_what_lbctl_prints_has_the_shape_of_the_document() {
	begin_answers verbs
	run_verb status
	run_verb services
	run_verb backends web4
	run_verb health web4
	run_verb connects web4
	run_verb stats
	run_verb fleet
	run_verb top --once --interval 100ms
	run_verb events --since 1h
	run_verb version
	ip -n "$(ns lb)" link add late type veth peer name late-peer
	run_verb attach late --mode generic
	run_verb detach late
	ip -n "$(ns lb)" link del late
	run_verb 'backend weight' web4 10.0.0.11 7
	run_verb 'backend state' web4 10.0.0.11 down
	run_verb 'backend state' web4 10.0.0.11 auto
	run_verb diff
	run_verb save
	run_verb reload --dry-run
	run_verb drain web4 10.0.0.11
	run_verb 'backend undrain' web4 10.0.0.11
	run_verb 'backend drain' web4 10.0.0.11
	run_verb 'backend undrain' web4 10.0.0.11
	run_verb 'backend add' web4 10.0.0.99 --weight 0
	run_verb 'backend remove' web4 10.0.0.99 --now
	run_verb 'backend put' web4 10.0.0.99 --weight 0 --ttl 1m
	lbctl backend remove web4 10.0.0.99 --now >/dev/null
	run_verb 'service add' more 192.0.2.77:80/tcp --backend 10.0.0.11,name=one,labels.zone=a
	run_verb backends more
	run_verb 'service remove' more --force
	echo 'announce: {}' >>"$WORK/lbd.yaml"
	run_verb reload
	run_verb 'node drain'
	run_verb 'node undrain'
	sed -i '/^announce:/d' "$WORK/lbd.yaml"
	run_verb reload
	keep_verb 'backend-host status' < <(in_ns b1 "$BUILD/lbctl" backend-host status --iface eth0 --json)
	end_answers
}

test_the_metrics_listener_answers_as_documented() {
	local path
	for path in metrics healthz ''; do
		expect "/$path" "$(in_ns lb curl -s -o "$WORK/text" -w '%{http_code} %{content_type}' \
			"http://127.0.0.1:9469/$path" | cut -d ';' -f 1)" = "200 text/plain"
		jq -cn --arg path "/$path" '{method: "GET", $path, status: 200, body: ""}' \
			>>"$WORK/all.answers"
	done
	expect "/page" "$(in_ns lb curl -s -o /dev/null -w '%{http_code} %{content_type}' \
		http://127.0.0.1:9469/page)" = "200 text/html; charset=utf-8"
	jq -cn '{method: "GET", path: "/page", status: 200, body: ""}' >>"$WORK/all.answers"
	expect "/nothing" \
		"$(in_ns lb curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:9469/nothing)" = 404
}

test_what_the_page_is_told_has_the_shape_of_the_document() {
	local path
	begin_answers page
	for path in /page.json '/page.json?service=web4'; do
		in_ns lb curl -s "http://127.0.0.1:9469$path" |
			jq -c --arg path "$path" '{method: "GET", $path, status: 200, body: .}' \
				>>"$ANSWERS" || FAILED=1
	done
	end_answers
}

test_no_route_and_no_verb_was_left_out_here() { api_check covered "$WORK/all.answers"; }

/usr/bin/python3 -c 'import jsonschema, yaml' 2>/dev/null ||
	skip_all "python3-jsonschema and python3-yaml are missing: sudo tools/deps test"
set_up_or_end lab_with_lbd 2
run_tests "$@"
