#!/bin/bash
# The API's listener: servers register themselves from other machines, with curl, and a certificate or a token of theirs.
# shellcheck disable=SC2034 # FAILED is read by run_tests
. "$(dirname "$0")/lib.sh"

PORT=9470
TOKEN=0123456789abcdef0123456789abcdef

# ---- certificates, as openssl makes them ----

authority() { # NAME
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" \
		-keyout "$WORK/$1.key" -out "$WORK/$1.pem" 2>/dev/null
}
certificate() { # AUTHORITY NAME SUBJECT [EXTENSION]
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$3" ${4:+-addext "$4"} \
		-keyout "$WORK/$2.key" -out "$WORK/$2.csr" 2>/dev/null &&
		openssl x509 -req -in "$WORK/$2.csr" -CA "$WORK/$1.pem" -CAkey "$WORK/$1.key" -CAcreateserial \
			-days 2 -copy_extensions copyall -out "$WORK/$2.pem" 2>/dev/null
}
make_certificates() {
	authority fleet && authority foreign &&
		certificate fleet lb /CN=lb subjectAltName=IP:10.0.0.2 &&
		certificate fleet web-3 "/O=shop/CN=web-3" &&
		certificate foreign stranger "/O=shop/CN=web-3" || return 1
	chmod 644 "$WORK"/{fleet,foreign}.pem
	echo "scaler $TOKEN" >"$WORK/tokens"
	chmod 600 "$WORK/tokens" "$WORK"/*.key
}

# ---- requests ----

# From the backend b3. Prints the HTTP status; 000: there was no answer.
ask() { # CURL-OPTION... PATH
	in_ns b3 curl -s -m 60 -o "$WORK/answer" -w '%{http_code}' --cacert "$WORK/fleet.pem" \
		"${@:1:$#-1}" "https://10.0.0.2:$PORT${*: -1}"
}
with() { # NAME CURL-OPTION... PATH: with its certificate
	local name=$1
	shift
	ask --cert "$WORK/$name.pem" --key "$WORK/$name.key" "$@"
}
BACKEND=/v1/services/web4/backends/10.0.0.13
is_there() { lbctl backends web4 | grep -qF 10.0.0.13; }
is_gone() { ! is_there; }
last_who() { # KIND
	lbctl events --since 1h --json | jq -sr --arg kind "$1" '[.[] | select(.kind == $kind)] | last | .who'
}
refused() { metric "lbd_face_refused_total{face=\"api\",reason=\"$1\"}"; } # REASON

config() { # LINE...: under `api:`
	lab_config_head
	printf 'api:\n  listen: 0.0.0.0:%s\n  certificate: %s/lb.pem\n  key: %s/lb.key\n' $PORT "$WORK" "$WORK"
	printf '  %s\n' "$@"
	config_web_and_tcp 2
}
reload_with() { # LINE...
	config "$@" >"$WORK/lbd.yaml"
	lbctl reload
}

# ---- tests ----

test_a_server_registers_itself_with_its_certificate() {
	expect "registration" "$(with web-3 -X PUT -d '{"ttl":600}' $BACKEND)" = 200
	expect "who, of the event" "$(last_who backend-registered)" = "CN=web-3,O=shop"
	expect "its uid" "$(lbctl events --since 1h --json |
		jq -s '[.[] | select(.kind == "backend-registered")] | last | .uid')" = null
	logged "api: CN=web-3,O=shop: PUT /v1/services/{service}/backends/{address} web4 10.0.0.13: done"
	lab_wait_for 20 "10.0.0.13 to be up" condition_is web4 10.0.0.13 up || return 1
	expect "a renewal" "$(with web-3 -X PUT -d '{"ttl":600}' $BACKEND)" = 200
	expect "reading" "$(with web-3 /v1/services)" = 200
	expect "services read" "$(jq '.services | length' "$WORK/answer")" = 3
	expect "leaving" "$(with web-3 -X DELETE -d '{"now":true}' $BACKEND)" = 200
	expect "who, of the removal" "$(last_who backend-removed)" = "CN=web-3,O=shop"
	lab_wait_for 20 "10.0.0.13 to be gone" is_gone
}

test_who_has_no_certificate_of_the_authority_gets_no_answer() {
	local before
	before=$(refused handshake)
	expect "without one" "$(ask -X PUT -d '{}' $BACKEND)" = 000
	expect "with one of another authority" "$(with stranger -X PUT -d '{}' $BACKEND)" = 000
	expect "with TLS 1.2" "$(with web-3 --tls-max 1.2 $BACKEND)" = 000
	expect "without TLS" "$(in_ns b3 curl -s -m 60 -o /dev/null -w '%{http_code}' http://10.0.0.2:$PORT/v1/status)" = 000
	# the text of the metrics may be a second old
	lab_wait_for 10 "4 handshakes to be counted as refused" are_refused $((before + 4)) || return 1
	logged_part "api: the TLS handshake failed: "
	is_gone
}
are_refused() { [ "$(refused handshake)" -ge "$1" ]; } # COUNT
logged_part() { grep -qF "$1" "$WORK/lbd.log" || expect "the log" "without it" = "$1"; }

test_only_what_is_offered_is_done() {
	expect "a change" "$(with web-3 -d '{"service":"web4","address":"10.0.0.11","on":true}' /v1/backend/drain)" = 403
	contains "$(cat "$WORK/answer")" "not offered here"
	expect "a page in a browser" "$(with web-3 -H 'Origin: https://evil.example' -X PUT -d '{}' $BACKEND)" = 403
	expect "its condition" "$(backend_field web4 10.0.0.11 condition)" = up
	reload_with "client-ca: $WORK/fleet.pem" "offers: all" >/dev/null || return 1
	expect "a change, offered" "$(with web-3 -d '{"service":"web4","address":"10.0.0.11","weight":100}' /v1/backend/weight)" = 200
	reload_with "client-ca: $WORK/fleet.pem" "offers: read" >/dev/null || return 1
	expect "a registration, not offered" "$(with web-3 -X PUT -d '{}' $BACKEND)" = 403
	expect "reading" "$(with web-3 /v1/status)" = 200
	reload_with "client-ca: $WORK/fleet.pem" >/dev/null
}

test_tokens_have_names_and_a_reload_reads_them_again() {
	reload_with "token-file: $WORK/tokens" >/dev/null || return 1
	expect "without a token" "$(ask -X PUT -d '{}' $BACKEND)" = 401
	expect "with a wrong one" "$(ask -H "Authorization: Bearer x$TOKEN" -X PUT -d '{}' $BACKEND)" = 401
	expect "with it" "$(ask -H "Authorization: Bearer $TOKEN" -X PUT -d '{"ttl":600}' $BACKEND)" = 200
	expect "who" "$(last_who backend-registered)" = "token scaler"
	echo "other 1$TOKEN" >"$WORK/tokens"
	lbctl reload >/dev/null || return 1
	expect "with one that is gone" "$(ask -H "Authorization: Bearer $TOKEN" -X DELETE $BACKEND)" = 401
	expect "with the new one" "$(ask -H "Authorization: Bearer 1$TOKEN" -X DELETE -d '{"now":true}' $BACKEND)" = 200
	reload_with "token-file: $WORK/tokens" "client-ca: $WORK/fleet.pem" >/dev/null || return 1
	expect "with one of two" "$(with web-3 -X PUT -d '{"ttl":600}' $BACKEND)" = 401
	expect "with both" "$(with web-3 -H "Authorization: Bearer 1$TOKEN" -X PUT -d '{"ttl":600}' $BACKEND)" = 200
	expect "who" "$(last_who backend-registered)" = "CN=web-3,O=shop, token other"
	expect "leaving" "$(with web-3 -H "Authorization: Bearer 1$TOKEN" -X DELETE -d '{"now":true}' $BACKEND)" = 200
	echo "scaler $TOKEN" >"$WORK/tokens"
	reload_with "client-ca: $WORK/fleet.pem" >/dev/null
}

# A certificate and a token, each limited to services; b3 has both.
test_who_is_limited_to_services_registers_nowhere_else() {
	local said
	config "client-ca: $WORK/fleet.pem" "clients: [{ certificate: web-3 }]" >"$WORK/lbd.yaml"
	contains "$(lbctl reload --dry-run)" "api: clients changed"
	said=$(reload_with "client-ca: $WORK/fleet.pem" "offers: all" "clients:" \
		"  - { certificate: 'web-*', services: [web4, later] }" 2>&1) || return 1
	certificate fleet two "/CN=web-3/CN=web-4" || return 1
	contains "$said" "api: clients: certificate web-*: services: later: there is no such service"
	expect "where it may" "$(with web-3 -X PUT -d '{"ttl":600}' $BACKEND)" = 200
	expect "elsewhere" "$(with web-3 -X PUT -d '{"ttl":600}' /v1/services/tcp4/backends/10.0.0.13)" = 403
	expect "why" "$(jq -r .error "$WORK/answer")" = \
		"service tcp4: CN=web-3,O=shop may register only in web4, later: see api: clients in the config"
	expect "by its VIP" "$(with web-3 -X PUT -d '{}' "/v1/services/$VIP4:7000%2Ftcp/backends/10.0.0.13")" = 403
	expect "leaving there" "$(with web-3 -X DELETE -d '{"now":true}' /v1/services/tcp4/backends/10.0.0.13)" = 403
	expect "no such service" "$(with web-3 -X PUT -d '{}' /v1/services/nope/backends/10.0.0.13)" = 404
	expect "another change" "$(with web-3 -d '{"service":"web4","address":"10.0.0.11","on":true}' /v1/backend/drain)" = 403
	contains "$(jq -r .error "$WORK/answer")" "may register only in web4, later, and change nothing else"
	expect "with two names" "$(with two -X PUT -d '{}' $BACKEND)" = 403
	contains "$(cat "$WORK/answer")" "CN=web-4,CN=web-3 may register nowhere"
	expect "reading" "$(with web-3 /v1/services)" = 200
	expect "backends of tcp4" "$(service_field tcp4 backends)" = 2
	lab_wait_for 10 "5 refusals to be counted" are_refused_for_service 5
	expect "leaving" "$(with web-3 -X DELETE -d '{"now":true}' $BACKEND)" = 200
	reload_with "token-file: $WORK/tokens" "clients:" "  - { token: scaler, services: [tcp4] }" >/dev/null || return 1
	expect "with the token" "$(ask -H "Authorization: Bearer $TOKEN" -X PUT -d '{}' $BACKEND)" = 403
	contains "$(cat "$WORK/answer")" "service web4: token scaler may register only in tcp4"
	contains "$(reload_with "token-file: $WORK/tokens" "clients:" "  - { token: scalar }" 2>&1)" \
		"api: clients #1: token: scalar: no such token: expected the name of one of token-file"
	reload_with "client-ca: $WORK/fleet.pem" >/dev/null
}
are_refused_for_service() { [ "$(refused service)" -ge "$1" ]; } # COUNT

serial() {
	in_ns b3 openssl s_client -connect 10.0.0.2:$PORT </dev/null 2>/dev/null | openssl x509 -noout -serial
}
test_certificates_are_read_again_by_a_reload() {
	local before
	before=$(serial)
	certificate fleet lb /CN=lb subjectAltName=IP:10.0.0.2 && chmod 600 "$WORK/lb.key" || return 1
	lbctl reload >/dev/null || return 1
	expect "serial number" "$(serial)" != "$before"
	expect "reading" "$(with web-3 /v1/status)" = 200
	reload_with "client-ca: $WORK/foreign.pem" >/dev/null || return 1
	expect "with a certificate of the former authority" "$(with web-3 /v1/status)" = 000
	expect "with one of the new" "$(with stranger /v1/status)" = 200
	reload_with "client-ca: $WORK/fleet.pem" >/dev/null
}

test_a_config_that_lets_anybody_in_or_whose_files_do_not_fit_changes_nothing() {
	contains "$(reload_with "offers: register" 2>&1)" "api: client-ca: missing: expected client-ca or token-file"
	chmod 644 "$WORK/lb.key"
	contains "$(reload_with "client-ca: $WORK/fleet.pem" 2>&1)" "lb.key: mode 644: expected 600 or 640"
	chmod 600 "$WORK/lb.key"
	cp "$WORK/lb.key" "$WORK/kept.key" && cp "$WORK/web-3.key" "$WORK/lb.key" || return 1
	contains "$(reload_with "client-ca: $WORK/fleet.pem" 2>&1)" "is not the key of the certificate"
	cp "$WORK/kept.key" "$WORK/lb.key"
	expect "reading meanwhile" "$(with web-3 /v1/status)" = 200
	reload_with "client-ca: $WORK/fleet.pem" >/dev/null
}

test_another_address_waits_for_a_restart_and_is_said() {
	config "client-ca: $WORK/fleet.pem" | sed "s/:$PORT/:9471/" >"$WORK/lbd.yaml"
	contains "$(lbctl reload 2>&1)" "api: listen ignored until lbd is restarted"
	expect "at the former one" "$(with web-3 /v1/status)" = 200
	reload_with "client-ca: $WORK/fleet.pem" >/dev/null
}

# Each with its own connection, as servers of a fleet would that start together. Handshakes must be
# over in 3 s: on a slow machine some clients try again.
sixty_at_once() { # METHOD BODY
	local i pids=()
	for i in $(seq 60); do
		with web-3 --retry 20 --retry-delay 1 --retry-all-errors -o /dev/null -X "$1" -d "$2" "/v1/services/tcp4/backends/10.0.1.$i" >"$WORK/many.$i" &
		pids+=($!)
	done
	wait "${pids[@]}"
	expect "statuses" "$(cat "$WORK"/many.* | grep -o ... | sort | uniq -c | tr -s ' ')" = " 60 200"
}
test_many_register_and_leave_at_the_same_moment() {
	sixty_at_once PUT '{"ttl":600}'
	expect "backends of tcp4" "$(service_field tcp4 backends)" = 62
	sixty_at_once DELETE '{"now":true}'
	expect "backends of tcp4" "$(service_field tcp4 backends)" = 2
}

set_up() {
	lab_with_servers 3 && make_certificates || return 1
	config "client-ca: $WORK/fleet.pem" >"$WORK/lbd.yaml"
	lab_lbd_start && lab_wait_for 10 "all backends to be up" backends_up 6
}
set_up_or_end set_up
run_tests "$@"
