#!/bin/bash
# Backends from Kubernetes and Consul (`backends-from`): 2 -> 20 -> 2 under load, pods that terminate,
# servers that are killed, restored, emptied, slow, or say nonsense, and tokens that are replaced. The
# servers are stand-ins that speak as real ones do: kubernetes.py, over TLS and with tokens; consul.py.
# shellcheck disable=SC2034 # FAILED is read by run_tests
. "$(dirname "$0")/lib.sh"

COUNT=20
HERE=$(cd "$(dirname "$0")" && pwd)

# The service of the long-lived connections, from the source.
write_config() { # BACKENDS-FROM
	{
		lab_config_head
		echo "services:"
		config_service web4 "$VIP4" tcp 80 4 2 ""
		config_sourced tcp4 "$VIP4" tcp 7000 "$1"
	} >"$WORK/lbd.yaml"
}
follow() { # BACKENDS-FROM
	write_config "$1"
	lbctl reload >/dev/null || return 1
	lab_wait_for 20 "the source to work" source_works tcp4 || return 1
	lab_wait_for 20 "2 backends" takes_flows tcp4 2
}

# What is wrong with the server from its next answer on; "": nothing.
set_mode() { echo -n "$2" >"$WORK/$1/mode"; } # SERVER MODE
# Replaced as a mounted secret is: by another link.
set_token() { # SERVER TOKEN
	echo "$2" >"$WORK/$1/token-$2"
	ln -sfn "token-$2" "$WORK/$1/token.new" && mv -T "$WORK/$1/token.new" "$WORK/$1/token"
}
takes_tokens() { # SERVER TOKEN...
	printf '%s\n' "${@:2}" >"$WORK/$1/tokens.new"
	mv "$WORK/$1/tokens.new" "$WORK/$1/tokens"
}
has_seen() { grep -q "^$2 " "$WORK/$1/seen"; } # SERVER TOKEN
failures() { service_metric lbd_service_source_failures_total tcp4; }

# ---- both: SERVER is kubernetes or consul ----

goes_on_after() { # SERVER PATH
	local before
	before=$(failures)
	"$1_do" POST "$2" || return 1
	grow_and_shrink 3 "$1_names" tcp4 || return 1
	expect "failures" "$(failures)" = "$before"
}

goes_wrong() { # SERVER WHY-NONE-ARE-TOO-FEW
	local mode
	lab_kill "$1" KILL
	lab_wait_for 30 "the source to fail" source_fails tcp4 || return 1
	"$1_start" || return 1
	lab_wait_for 30 "the source to work" source_works tcp4 || return 1
	"$1_names" 0 || return 1
	lab_wait_for 30 "the source to fail" source_fails_because tcp4 "$2" || return 1
	"$1_names" 2 || return 1
	lab_wait_for 30 "the source to work" source_works tcp4 || return 1
	for mode in garbage silent slow endless head nested elsewhere refuses; do
		set_mode "$1" $mode
		"$1_next_request" || return 1
		lab_wait_for 40 "the source to fail: $mode" source_fails tcp4 || return 1
		echo "# $mode: $(source_field tcp4 why)"
		set_mode "$1" ""
		lab_wait_for 40 "the source to work after: $mode" source_works tcp4 || return 1
	done
}
changes_nothing() { # SERVER WHY-NONE-ARE-TOO-FEW
	local before
	before=$(wanted tcp4)
	across goes_wrong "$@" || FAILED=1
	expect "backends" "$(wanted tcp4)" = "$before"
	grow_and_shrink 3 "$1_names" tcp4
}

# As kubelet does: the next one is there before the last is over. Then one that is revoked.
tokens_are_replaced() { # SERVER
	local before
	before=$(failures)
	takes_tokens "$1" first second
	set_token "$1" second
	lab_wait_for 60 "the second token" has_seen "$1" second || return 1
	takes_tokens "$1" second
	lab_wait_for 60 "the source to work" source_works tcp4 || return 1
	expect "failures" "$(failures)" = "$before"
	takes_tokens "$1" third
	"$1_next_request" || return 1
	lab_wait_for 60 "the source to fail" source_fails tcp4 || return 1
	echo "# $(source_field tcp4 why)"
	set_token "$1" third
	lab_wait_for 60 "the source to work" source_works tcp4 || return 1
	has_seen "$1" third
}

# ---- Kubernetes ----

KUBERNETES=https://127.0.0.1:6443
SLICES=$KUBERNETES/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices

kubernetes_start() {
	lab_spawn kubernetes in_ns lb "$HERE/kubernetes.py" 127.0.0.1 6443 "$WORK/kubernetes" \
		"$WORK/kubernetes/cert.pem" "$WORK/kubernetes/key.pem"
	lab_wait_for 20 "the API server to answer" kubernetes_do POST /expire
}
kubernetes_do() { # METHOD PATH [BODY]
	in_ns lb curl -sfk -m 20 -o /dev/null -X "$1" -d "${3:-}" "$KUBERNETES$2"
}
# A slice of the pods FIRST to LAST, of which those from LEAVING on terminate.
slice() { # NAME FIRST LAST [LEAVING]
	local body
	body=$(jq -nc --argjson first "$2" --argjson last "$3" --argjson leaving "${4:-1000}" '{
		metadata: { labels: { "kubernetes.io/service-name": "tcp4" } },
		addressType: "IPv4",
		ports: [{ name: "echo", protocol: "TCP", port: 7000 }],
		endpoints: [range($first; $last + 1) | {
			addresses: ["10.0.0.\(10 + .)"],
			conditions: { ready: (. < $leaving), serving: true, terminating: (. >= $leaving) },
			nodeName: "node-\(. % 3)", zone: "eu-1a",
			targetRef: { kind: "Pod", namespace: "shop", name: "tcp4-\(.)" } }] }') || return 1
	kubernetes_do PUT "${SLICES#"$KUBERNETES"}/$1" "$body"
}
# In slices of at most eight, as the controller of a real cluster makes them of 100.
kubernetes_names() { # COUNT
	local name first last
	for name in 0 1 2; do
		first=$((8 * name + 1))
		last=$((first + 7 < $1 ? first + 7 : $1))
		if [ $first -le $last ]; then
			slice "tcp4-$name" $first $last || return 1
		else
			kubernetes_do DELETE "${SLICES#"$KUBERNETES"}/tcp4-$name" || return 1
		fi
	done
}
kubernetes_set_up() {
	mkdir "$WORK/kubernetes"
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test \
		-addext "subjectAltName=DNS:kubernetes.default.svc" -keyout "$WORK/kubernetes/key.pem" \
		-out "$WORK/kubernetes/cert.pem" 2>/dev/null || return 1
	takes_tokens kubernetes first
	set_token kubernetes first
	kubernetes_start && kubernetes_names 2
}
kubernetes_source() {
	local dir=$WORK/kubernetes
	echo "{ kubernetes: \"$KUBERNETES\", namespace: shop, service: tcp4, port: echo," \
		"token-file: $dir/token, ca: $dir/cert.pem, server-name: kubernetes.default.svc }"
}

test_kubernetes_takes_a_service_from_2_to_20_and_back_and_nothing_breaks() {
	kubernetes_set_up || return 1
	follow "$(kubernetes_source)" || return 1
	across grow_and_shrink $COUNT kubernetes_names tcp4
	expect "name" "$(backend_field tcp4 10.0.0.12 name)" = tcp4-2
	expect "zone" "$(backend_field tcp4 10.0.0.12 zone)" = eu-1a
	expect "failures" "$(failures)" = 0
}

# It takes no new flow while it ends, and is gone then; the connections that it has stay.
pod_terminates() {
	slice tcp4-0 1 2 2 || return 1
	lab_wait_for 20 "the pod to drain" takes_flows tcp4 1 || return 1
	slice tcp4-0 1 1 || return 1
	slice tcp4-0 1 3 || return 1
	lab_wait_for 20 "3 backends" takes_flows tcp4 3 || return 1
	kubernetes_names 2
	lab_wait_for 20 "2 backends" takes_flows tcp4 2
}
test_a_pod_that_terminates_drains() { across pod_terminates; }

test_a_version_that_kubernetes_has_forgotten_is_no_failure() { goes_on_after kubernetes /expire; }

test_kubernetes_killed_emptied_or_out_of_order_changes_nothing() {
	changes_nothing kubernetes \
		"it names 0 backends: expected 1 (min) or more; ignored: the service has no EndpointSlices"
}

kubernetes_next_request() { kubernetes_do POST /expire; }
test_a_token_of_kubernetes_is_replaced() { tokens_are_replaced kubernetes; }

# ---- Consul ----

CONSUL=http://127.0.0.1:8500

consul_start() {
	mkdir -p "$WORK/consul"
	lab_spawn consul in_ns lb "$HERE/consul.py" 127.0.0.1 8500 "$WORK/consul"
	lab_wait_for 20 "Consul to answer" consul_do PUT /touch
}
consul_do() { # METHOD PATH [BODY]
	in_ns lb curl -sf -m 20 -o /dev/null -X "$1" -d "${3:-}" "$CONSUL$2"
}
register() { # N [STATUS] [WEIGHT]
	consul_do PUT /v1/catalog/register "{ \"Node\": \"node-$1\", \"Address\": \"10.0.0.$((10 + $1))\",
		\"Service\": { \"ID\": \"tcp4-$1\", \"Service\": \"tcp4\", \"Tags\": [\"blue\"], \"Port\": 7000,
		\"Weights\": { \"Passing\": ${3:-1}, \"Warning\": 1 } },
		\"Check\": { \"Status\": \"${2:-passing}\" } }"
}
consul_names() { # COUNT
	local i
	for i in $(seq $COUNT); do
		if [ "$i" -gt "$1" ]; then
			consul_do PUT /v1/catalog/deregister "{ \"Node\": \"node-$i\" }" || return 1
		elif ! in_consul "$i"; then
			register "$i" || return 1
		fi
	done
}
in_consul() { jq -e --arg name "node-$1" '.nodes | has($name)' "$WORK/consul/state" >/dev/null; } # N
consul_source() {
	echo "{ consul: \"$CONSUL\", service: tcp4, tag: blue, datacenter: dc1," \
		"token-file: $WORK/consul/token }"
}

test_consul_does_the_same() {
	consul_start && consul_names 2 || return 1
	takes_tokens consul first
	set_token consul first
	follow "$(consul_source)" || return 1
	across grow_and_shrink $COUNT consul_names tcp4
	expect "name" "$(backend_field tcp4 10.0.0.12 name)" = node-2
	expect "weight" "$(backend_field tcp4 10.0.0.12 weight)" = 100
	expect "failures" "$(failures)" = 0
}

weight_is() { [ "$(backend_field tcp4 "$1" weight)" = "$2" ]; } # ADDRESS WEIGHT
checks_and_weights_change() {
	register 2 critical || return 1
	lab_wait_for 20 "1 backend" takes_flows tcp4 1 || return 1
	register 2 passing 5 || return 1
	lab_wait_for 20 "2 backends" takes_flows tcp4 2 || return 1
	lab_wait_for 20 "its weight" weight_is 10.0.0.12 500 || return 1
	register 2
	lab_wait_for 20 "its weight" weight_is 10.0.0.12 100
}
test_a_check_of_consul_takes_an_instance_out() { across checks_and_weights_change; }

test_an_index_that_goes_back_is_no_failure() { goes_on_after consul /restore; }

# Any change answers the query that waits; the next one meets what is wrong.
consul_next_request() { consul_do POST /touch; }
test_consul_killed_emptied_or_out_of_order_changes_nothing() {
	changes_nothing consul "it names 0 backends"
}

test_a_token_of_consul_is_replaced() { tokens_are_replaced consul; }

# Consul answers who has no token with nothing, and a hint.
test_what_a_token_may_not_read_is_named() {
	write_config "{ consul: \"$CONSUL\", service: tcp4 }"
	lbctl reload >/dev/null || return 1
	lab_wait_for 20 "the source to fail" source_fails_because tcp4 \
		"ignored: what the token may not read: expected service:read" || return 1
	takes_flows tcp4 2
}

set_up() {
	lab_with_servers $COUNT || return 1
	{
		lab_config_head
		echo "services:"
		config_service web4 "$VIP4" tcp 80 4 2 ""
	} >"$WORK/lbd.yaml"
	lab_lbd_start && lab_wait_for 10 "all to be up" backends_up 2
}
set_up_or_end set_up
run_tests "$@"
