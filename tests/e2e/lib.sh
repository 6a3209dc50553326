#!/bin/bash
# What every end-to-end test shares: the lab, TAP, and a config to start from.
# A test is a function named test_PROMISE. It fails by returning non-zero, or through `expect`. It
# skips through `skip WHY`.
# shellcheck disable=SC2034
LAB=${LAB:-lbt$$}
# shellcheck source=tools/lab.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../tools/lab.sh"

# With BUILD=build/asan, what a sanitizer reports of any of the lab's processes fails the test.
SANITIZER_DIR=/tmp/$LAB.sanitizer
mkdir -p "$SANITIZER_DIR" && chmod 1777 "$SANITIZER_DIR"
# Nothing cuts the clean-up short: no second signal, and no message to a reader that is gone.
trap 'trap "" HUP INT TERM PIPE; lab_down; rm -rf "$SANITIZER_DIR" "/tmp/$LAB.setup" "/tmp/$LAB.out"' EXIT
trap 'exit 1' HUP INT TERM PIPE
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1}:log_path=$SANITIZER_DIR/report:log_exe_name=1"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}:log_path=$SANITIZER_DIR/report"
# Not in lbd.log, which the next lbd begins anew.
export TSAN_OPTIONS="${TSAN_OPTIONS:-halt_on_error=1}:log_path=$SANITIZER_DIR/report"

# Tests wait for a condition, and go on when it holds. These seconds are added to every limit: only
# a test that hangs reaches it, however slow the machine.
LAB_GRACE=60

VIP4=192.0.2.10
VIP6=2001:db8:5::10
VIPS=("$VIP4" "$VIP6" "$LAB_UDP4" "$LAB_UDP6")
CHECK_TIMES="interval: 500ms, timeout: 450ms, rise: 2, fall: 3"

# Six services over the same N backends: web4 and web6 (HTTP, nginx), tcp4 and tcp6 (long-lived
# connections), udp4 and udp6.
# shellcheck disable=SC2154
config_services() { # N [SERVICE-EXTRA-LINES]
	local n=$1 extra=${2:-}
	echo "services:"
	config_service web4 $VIP4 tcp 80 4 "$n" "$extra"
	config_service web6 $VIP6 tcp 80 6 "$n" "$extra"
	config_service tcp4 $VIP4 tcp 7000 4 "$n" "$extra"
	config_service tcp6 $VIP6 tcp 7000 6 "$n" "$extra"
	config_service udp4 "$LAB_UDP4" udp 5353 4 "$n" "$extra"
	config_service udp6 "$LAB_UDP6" udp 5353 6 "$n" "$extra"
}

# Three of them.
config_web_and_tcp() { # N [EXTRA-LINES of web4]
	echo "services:"
	config_service web4 $VIP4 tcp 80 4 "$1" "${2:-}"
	config_service web6 $VIP6 tcp 80 6 "$1" ""
	config_service tcp4 $VIP4 tcp 7000 4 "$1" ""
}

# One service. A backend stays up when two checks in a row fail. FAMILY (4 or 6) is that of the
# backends' addresses. The caller may set HEALTH (another check), BACKENDS ("1 3": only these),
# WEIGHTS ("300 100": of the first and the second backend) and BACKUPS ("4": these are backups).
config_service() { # NAME VIP PROTOCOL PORT FAMILY BACKENDS EXTRA
	local i list health="{ type: http, port: 80, path: /healthz, $CHECK_TIMES }"
	cat <<-CONF
		  - name: $1
		    vip: $2
		    protocol: $3
		    port: $4
		    health: ${HEALTH:-$health}
	CONF
	[ -z "$7" ] || sed 's/^/    /' <<<"$7"
	echo "    backends:"
	list=$(seq "$6")
	for i in ${BACKENDS:-$list}; do config_backend "$i" "$5"; done
}

config_backend() { # N FAMILY
	local more='' weights
	read -ra weights <<<"${WEIGHTS:-}"
	[ -z "${weights[$1 - 1]:-}" ] || more=", weight: ${weights[$1 - 1]}"
	[[ " ${BACKUPS:-} " != *" $1 "* ]] || more+=", backup: true"
	echo "      - { address: \"$(backend_address "$1" "$2")\"$more }"
}

backend_address() { # N FAMILY
	if [ "$2" = 4 ]; then echo "10.0.0.$((10 + $1))"; else echo "2001:db8:b::$((10 + $1))"; fi
}

# The lab with N backends and their servers.
lab_with_servers() { # N
	local i
	lab_up "$1" || return 1
	for i in $(seq "$1"); do
		lab_backend_servers "$i" "${VIPS[@]}" || return 1
	done
}

# lbd with what COMMAND prints after the head of the config, until COUNT entries of backends are up.
lab_lbd_with() { # COUNT COMMAND...
	local count=$1
	shift
	{
		lab_config_head
		[ -z "${MODE:-}" ] || echo "mode: $MODE"
		"$@"
	} >"$WORK/lbd.yaml"
	lab_lbd_start || return 1
	lab_wait_for 10 "all backends to be up" backends_up "$count" || {
		lbctl backends
		cat "$WORK/lbd.log"
		return 1
	}
}

# The whole lab with N backends, servers, lbd and the program attached.
lab_with_lbd() { # N [EXTRA]
	lab_with_servers "$1" || return 1
	lab_lbd_with $((6 * $1)) config_services "$1" "${2:-}" || return 1
	lab_wait_for 90 "the slots of the UDP services to settle" lab_udp_settled
}

backends_up() { # COUNT
	[ "$(lbctl status --json | json .backends_up)" = "$1" ]
}

# And all others are out of the rings: while a service is blind, as on a machine that stood still for
# seconds, its ring keeps them.
backends_left() { # COUNT
	backends_up "$1" && [ "$(lbctl status --json | json .services_blind)" = 0 ]
}

# Drains hold over reloads: ends those that an earlier test left.
end_drains() {
	local service address
	lbctl backends --json | jq -r '.backends[]
		| select(.condition == "draining" or .condition == "drained")
		| .service + " " + .address' |
		while read -r service address; do
			lbctl backend undrain "$service" "$address" >/dev/null 2>&1
		done
}

nothing_in_transition() {
	[ "$(lbctl services --json | json '[.services[].slots_in_transition] | add')" = 0 ]
}

# A value of `lbctl services`, `lbctl backends` or `lbctl stats`.
service_field() { # SERVICE FIELD
	lbctl services --json |
		json '.services[] | select(.name == $name) | .[$field]' \
			--arg name "$1" --arg field "$2"
}
backend_field() { # SERVICE ADDRESS FIELD
	lbctl backends "$1" --json |
		json '.backends[] | select(.address == $address) | .[$field]' \
			--arg address "$2" --arg field "$3"
}
condition_is() { [ "$(backend_field "$1" "$2" condition)" = "$3" ]; } # SERVICE ADDRESS CONDITION
# The reason of an earlier check may stand there for a while: each says its own.
down_because() { # SERVICE ADDRESS REASON
	lab_wait_for 20 "$1 $2 to be down: $3" is_down_because "$@" && return
	echo "# why: $(backend_field "$1" "$2" why)"
	return 1
}
is_down_because() {
	condition_is "$1" "$2" down && [ "$(backend_field "$1" "$2" why)" = "$3" ]
}
reason_packets() { # REASON
	lbctl stats --json | json '.reasons[] | select(.name == $name) | .packets' --arg name "$1"
}
# The metrics as they are now: a text serves all who ask within a second after it was begun, so that
# one which the script has asked for before a change would be given again after it.
metrics_of() { # NODE [CURL-OPTION]...
	local stamp=$WORK/scraped_ms.$1 since_ms status
	since_ms=$(($(now_ms) - $(cat "$stamp" 2>/dev/null || echo 0)))
	[ $since_ms -ge 1000 ] || sleep "$(printf '0.%03d' $((999 - since_ms)))"
	in_ns "$1" curl -s "${@:2}" http://127.0.0.1:9469/metrics
	status=$?
	now_ms >"$stamp"
	return $status
}
# shellcheck disable=SC2120 # callers in other files pass options
metrics() { metrics_of lb "$@"; } # [CURL-OPTION]...
metric() { metrics | awk -v sample="$1" '$1 == sample { print $2 }'; } # SAMPLE
service_metric() { # NAME SERVICE
	metrics | awk -v begin="$1{service=\"$2\"," 'index($1, begin) == 1 { print $2 }'
}

# ---- the daemon ----

lbd_pid() { lbctl status --json | json .pid; }
stop_lbd() { # SIGNAL
	local pid
	pid=$(lbd_pid) || return 1
	kill "-$1" "$pid"
	lab_wait_for 5 "lbd to end" has_ended "$pid"
}
has_ended() { ! kill -0 "$1"; } # PID
logged() { # TEXT
	grep -qF "$1" "$WORK/lbd.log" && return
	echo "# the log lacks: $1"
	FAILED=1
}
log_lines() { wc -l <"$WORK/lbd.log"; }
# What is there already says nothing.
log_since() { tail -n "+$(($1 + 1))" "$WORK/lbd.log"; }       # LINE
is_logged_since() { log_since "$1" | grep -q "$2"; }         # LINE PATTERN
# Backends that went down after this line of the log.
downs_since() { log_since "$1" | grep -cE ': backend .* (down|no-next-hop)'; } # LINE

# The process that runs HTTP checks.
probe_process() { lbctl status --json | json ".probe_process.$1"; } # FIELD
proc_status() { status_field "/proc/$1/status" "$2"; } # PID NAME
status_field() { awk -v name="$2:" '$1 == name { print $2 }' "$1"; } # COPY-OF-STATUS NAME
rxvlan() { in_ns lb ethtool -k eth0 | awk '/^rx-vlan-offload:/ { print $2 }'; }
# Maps, programs and links of BPF that a process holds.
bpf_descriptors() { find "/proc/$1/fd" -lname 'anon_inode:bpf*' | wc -l; } # PID

# ---- verdicts ----

# An empty text is never as expected: the command that should have printed it failed.
expect() { # WHAT ACTUAL OP VALUE
	if [ -n "$2" ] && [ -n "$4" ] && test "$2" "$3" "$4" 2>/dev/null; then return 0; fi
	echo "# expected $1 $3 '$4', got '$2'"
	FAILED=1
	return 1
}

# The report of traffic says how many requests failed, and of the last one why and when.
none_failed() { # WHAT REPORT
	expect "$1" "$(field "$2" .failed)" = 0 || echo "# $2"
}

contains() { # TEXT PART
	[[ $1 == *"$2"* ]] && return
	echo "# expected '$2' in: $1"
	FAILED=1
}

skip() { # WHY
	SKIP=$*
	return 0
}

# ---- reports of tests/e2e/traffic ----

field() { json "$2" "${@:3}" <<<"$1"; } # REPORT FILTER [JQ-OPTION]...

# How many requests or connections a backend answered. The report lists only backends that answered.
answered_by() { # REPORT BACKEND
	field "$1" '.by | objects | .[$backend] // 0' --arg backend "$2"
}

# Ports that no flow of this script has had: one with the addresses and ports of a flow that ended less than
# two minutes ago goes where that flow was (docs/tracking.md), and the kernel gives a client its ports
# again after some three thousand connections. In a file, because subshells take ports too.
new_ports() { # COUNT: sets PORTS to the option for that many new flows
	local next
	next=$(cat "$WORK/next-port" 2>/dev/null || echo 1024)
	if [ $((next + $1)) -gt 32768 ]; then # the kernel's own begin there
		expect "the last of the ports for $1 new flows" $((next + $1)) -le 32768
		return 1
	fi
	# shellcheck disable=SC2034
	PORTS="from-port $next"
	echo $((next + $1)) >"$WORK/next-port"
}

# Connections of a hold that broke or met another backend.
broken_or_moved() { # NAME
	json '(.broken | numbers) + (.moved | numbers)' <"$WORK/$1.json"
}
report_field() { json "$2" <"$WORK/$1.json"; } # NAME FILTER

# A load that goes on until load_end, which waits for the answers to what was sent. The report is
# then in $WORK/NAME.json.
load_start() { # NAME TRAFFIC-ARGUMENT...
	local name=$1
	shift
	lab_empty "$WORK/$name.json" "$WORK/$name.err"
	(LAB_EXEC="exec" traffic "$@" seconds 3600) >"$WORK/$name.json" 2>"$WORK/$name.err" &
	echo $! >"$WORK/$name.pid"
}
load_end() { # NAME
	local pid
	pid=$(cat "$WORK/$1.pid")
	! lab_owns "$pid" || kill "$pid"
	wait "$pid"
	echo "# $1: $(cat "$WORK/$1.json")"
}

# Connections that are open, and ask, until load_end.
hold_open() { # NAME PORT COUNT [OPTION VALUE]...
	load_start "$1" hold $VIP4 "$2" connections "$3" "${@:4}"
	lab_wait_for 20 "$3 connections of $1" grep -q "$3 connections open" "$WORK/$1.err"
}

# Load and open connections, from before ACTION until it has returned; nothing may be lost.
across() { # ACTION...
	local status
	load_start requests load-http $VIP4 80 rate 200 timeout 20
	hold_open open 7000 200 interval 0.1 timeout 30
	"$@"
	status=$?
	sleep 1
	load_end requests
	load_end open
	expect "failed requests" "$(report_field requests .failed)" = 0
	expect "broken or moved connections" "$(broken_or_moved open)" = 0
	return $status
}

# ---- uploads ----

# $WORK/copy.py, a server that says what arrived, and its client.
copy_py() {
	cat >"$WORK/copy.py" <<-'PY'
		"""serve PORT...: answers each connection with the sha256 of what it sent.
		send HOST PORT FILE: prints the answer."""
		import hashlib, socket, sys, threading
		def serve(port):
		    listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
		    while True:
		        threading.Thread(target=answer, args=(listener.accept()[0],)).start()
		def answer(connection):
		    digest = hashlib.sha256()
		    while part := connection.recv(1 << 20): digest.update(part)
		    connection.sendall(digest.hexdigest().encode())
		    connection.close()
		def send(host, port, path):
		    connection = socket.create_connection((host, int(port)))
		    connection.sendall(open(path, "rb").read())
		    connection.shutdown(socket.SHUT_WR)
		    print(connection.recv(64, socket.MSG_WAITALL).decode())
		if sys.argv[1] == "send": send(*sys.argv[2:])
		else:
		    for port in sys.argv[2:]: threading.Thread(target=serve, args=(int(port),)).start()
	PY
}

# ---- sources of backends ----

# A service whose backends come from a source alone.
config_sourced() { # NAME VIP PROTOCOL PORT BACKENDS-FROM
	config_service "$1" "$2" "$3" "$4" 4 1 "backends-from: $5" | sed '/^    backends:/d; /- { address:/d'
}

addresses() { seq -f '10.0.0.%.0f' $((10 + $1)) $((10 + $2)); } # FIRST LAST

# The backends of a service that take new flows.
takes_flows() { # SERVICE COUNT
	[ "$(lbctl backends "$1" --json |
		json '[.backends[] | select(.effective_weight > 0)] | length')" = "$2" ]
}
# Those that are not leaving.
wanted() { # SERVICE
	lbctl backends "$1" --json | json '[.backends[] | select(.drain == null) | [.address, .weight]]'
}
source_field() { service_field "$1" source | jq -r ".$2"; } # SERVICE FIELD
source_fails() { [ "$(source_field "$1" failed_s)" != null ]; }
source_fails_because() { source_fails "$1" && [[ $(source_field "$1" why) == *"$2"* ]]; } # SERVICE PART
source_works() {
	[ "$(source_field "$1" failed_s)" = null ] && [ "$(source_field "$1" listed_s)" != null ]
}

# 2 -> COUNT -> 2 while requests and connections go on.
grow_and_shrink() { # COUNT FUNCTION-THAT-NAMES SERVICE
	"$2" "$1" || return 1
	lab_wait_for 20 "$1 backends of $3" takes_flows "$3" "$1" || return 1
	"$2" 2 || return 1
	lab_wait_for 20 "2 backends of $3" takes_flows "$3" 2
}

# ---- a Prometheus in the balancer's namespace ----

PROMETHEUS=http://127.0.0.1:9090

# As dist/alerts.yml, but without waiting: `for` is what the rule tests look at.
write_prometheus_config() {
	grep -v '^ *for:' "$ROOT/dist/alerts.yml" >"$WORK/alerts.yml"
	cat >"$WORK/prometheus.yml" <<-CONF
		global: { scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }
		rule_files: [$WORK/alerts.yml]
		scrape_configs:
		  - job_name: lbd
		    static_configs: [{ targets: ["127.0.0.1:9469"] }]
	CONF
}
has_prometheus() { command -v prometheus >/dev/null && command -v promtool >/dev/null; }
start_prometheus() {
	write_prometheus_config
	lab_spawn prometheus in_ns lb prometheus --config.file="$WORK/prometheus.yml" \
		--storage.tsdb.path="$WORK/prometheus" --web.listen-address=127.0.0.1:9090
	lab_wait_for 30 "a first scrape" has_result 'up{job="lbd"} == 1'
}
# The values of a query, one a line.
query() { # EXPRESSION
	in_ns lb curl -sf --data-urlencode "query=$1" $PROMETHEUS/api/v1/query |
		jq -r 'select(.status == "success") | .data.result[].value[1]'
}
has_result() { [ -n "$(query "$1")" ]; } # EXPRESSION
fires() { has_result "ALERTS{alertname=\"$1\", alertstate=\"firing\"}"; } # ALERT
# Not "! fires": a Prometheus that does not answer shows nothing.
rests() { [ "$(query "count(ALERTS{alertname=\"$1\", alertstate=\"firing\"}) or vector(0)")" = 0 ]; } # ALERT

expect_alerts() { # ALERT...
	local alert
	for alert in "$@"; do
		lab_wait_for 20 "$alert" fires "$alert" && echo "# $alert"
	done
}
expect_rest() { # ALERT...
	local alert
	for alert in "$@"; do lab_wait_for 60 "the end of $alert" rests "$alert"; done
}
without_prometheus() {
	has_prometheus && return 1
	skip "no prometheus and promtool here: tools/deps test installs them"
}

# ---- two balancers: scripts that source tools/pair.sh too ----

# The six services over N backends on this node, until the backends are up.
pair_serve() { # NODE N
	config_services "$2" | pair_config "$1"
	pair_lbd_start "$1" || return 1
	lab_wait_for 15 "the backends to be up on $1" pair_backends_up "$1" $((6 * $2))
}
both_announce() { pair_paths_are 2 "${VIPS[@]}"; }
one_announces() { pair_paths_are 1 "${VIPS[@]}"; }

# ---- balancers that tell each other of their flows: scripts that source tools/pair.sh too ----

# The caller has COUNT backends, and in PEERS its nodes.
RR=7000 LC=7001 MG=7002 # ports: round-robin, least-conn, maglev
CONNECTIONS=40
declare -A ADDRESS=([lb]=10.0.0.2 [lb2]=10.0.0.3 [lb3]=10.0.0.4)

peer_services() {
	echo "services:"
	config_service web4 $VIP4 tcp 80 4 "$COUNT" "algorithm: round-robin"
	config_service rr $VIP4 tcp $RR 4 "$COUNT" "algorithm: round-robin"
	config_service lc $VIP4 tcp $LC 4 "$COUNT" "algorithm: least-conn"
	config_service mg $VIP4 tcp $MG 4 "$COUNT" ""
	config_service udp "$LAB_UDP4" udp 5353 4 "$COUNT" "algorithm: round-robin"
}
PEER_SERVICES=5
peer_key() { # NODE DIGIT: a key of this digit alone
	printf '%064d\n' 0 | tr 0 "$2" >"$(pair_dir "$1")/peers.key"
	chmod 600 "$(pair_dir "$1")/peers.key"
}
peer_config() { # NODE
	local dir node nodes=''
	dir=$(pair_dir "$1")
	for node in $PEERS; do nodes+="${nodes:+, }${ADDRESS[$node]}"; done
	{
		echo "peers: { nodes: [$nodes], key-file: $dir/peers.key }"
		peer_services
	} | pair_config "$1"
}
# Those of lab_backend_servers, and those of the ports LC and MG.
peer_servers() { # N
	local i
	for i in $(seq "$1"); do
		lab_spawn "tcp2-b$i" in_ns "b$i" \
			"$BUILD/tests/e2e/traffic" serve-tcp :: $LC name "b$i" ports 2
	done
}
peer_start() { # NODE
	pair_lbd_start "$1" &&
		lab_wait_for 15 "the backends to be up on $1" \
			pair_backends_up "$1" $((PEER_SERVICES * COUNT))
}
peer_is_synced() { pair_ctl "$1" fleet --check; } # NODE

HELD="rr lc mg udp"
hold_all() {
	hold_open rr $RR $CONNECTIONS interval 0.1 timeout 30
	hold_open lc $LC $CONNECTIONS interval 0.1 timeout 30
	hold_open mg $MG $CONNECTIONS interval 0.1 timeout 30
	load_start udp hold-udp "$LAB_UDP4" 5353 connections $CONNECTIONS interval 0.1 \
		again 4 timeout 30
	lab_wait_for 20 "UDP flows" grep -q "$CONNECTIONS connections open" "$WORK/udp.err"
	sleep 0.5 # older than what a dying node may take with it; each has sent several times
}
# lossy: packets were lost.
end_all() { # [lossy]
	local name
	for name in $HELD; do load_end $name; done
	for name in rr lc mg; do
		expect "broken or moved connections of $name" "$(broken_or_moved $name)" = 0
	done
	expect "broken or moved flows of udp" "$(broken_or_moved udp)" = 0
	[ "${1:-}" = lossy ] || expect "datagrams of udp that were lost" "$(report_field udp .again)" = 0
}

# ---- floods ----

# Sends COUNT packets of 11.0.0.0/8 to VIP4, RATE a second: SYNs, or others (tests/e2e/flood.c).
# FLOOD_EVEN=yes: the sender stands for other machines, whose packets come when they come: no process
# here makes it late, so it owes nothing that it would have to send at one go. They all come to one
# CPU, as those of one queue of a NIC do.
flood() { # PORT COUNT RATE [mix | open]; to the VIP, or to FLOOD_TO
	# It looks up the router's MAC address in the neighbour table.
	in_ns client ping -qc 1 -W 5 198.51.100.1 >/dev/null || return 1
	in_ns client ${FLOOD_EVEN:+chrt -f 10 taskset -c 0} "$BUILD/tests/e2e/flood" eth0 \
		"${FLOOD_TO:-$VIP4}" "$1" "$2" $(($3 / LAB_SLOWDOWN)) "${@:4}"
}
# N backends drop what a flood sends them once it has arrived: what they would do with it costs CPU
# time of machines that are others than the balancer.
flood_unanswered() { # N
	local i
	for i in $(seq "$1"); do
		in_ns "b$i" nft -f - <<-RULES || return 1
			table ip flood {
				chain in {
					type filter hook prerouting priority raw
					ip saddr 11.0.0.0/8 drop
				}
			}
		RULES
	done
}

# ---- sanitizers ----

# Prints reports that have come since the last call; false: there are some.
no_sanitizer_reports() {
	local file status=0
	for file in "$SANITIZER_DIR"/*; do
		[ -s "$file" ] || continue
		sed 's/^/# /' "$file" | head -n 60
		status=1
	done
	rm -f "$SANITIZER_DIR"/*
	return $status
}

# Finds reports in the logs of processes that have ended: one that cannot write its report to a file
# has it on stderr. The log is then a report too.
lab_ended() {
	local file
	for file in "$WORK"/*.log; do
		! grep -qE 'ERROR: Can.t open file|Sanitizer: |runtime error: ' "$file" 2>/dev/null ||
			cp "$file" "$SANITIZER_DIR"
	done
}

skip_all() { # WHY: the whole script
	echo "ok 1 - $(basename "$0" .sh) # SKIP $*"
	echo "1..1"
	exit 0
}
# Without this program the whole script is skipped.
skip_all_without() { # COMMAND PACKAGE
	command -v "$1" >/dev/null || skip_all "$1 is missing: sudo apt-get install $2"
}

# The last lines of what each lbd of the lab says.
lab_log_ends() {
	local log
	for log in "$WORK"/lbd*.log; do
		[ ! -f "$log" ] || tail -n 20 "$log" | sed "s/^/# $(basename "$log" .log): /"
	done
}

# The last event of a kind, as compact JSON; with a filter for jq a field of it.
last_event() { # KIND [FILTER]
	lbctl events --json | jq -cr --arg kind "$1" --slurp \
		"map(select(.kind == \$kind)) | last | ${2:-.} | . // empty"
}

# ---- what a lab was like when something failed in it ----

# How long each process that the lab has started has waited for a CPU so far, ms: a line each, "NAME MS".
lab_waits() {
	local file pid wait
	for file in "$WORK"/*.pid; do
		pid=$(cat "$file") && read -r _ wait _ <"/proc/$pid/schedstat" || continue
		echo "$(basename "$file" .pid) $((wait / 1000000))"
	done 2>/dev/null
}

# Beside a load, once a second: who has waited long since the last call. NOTES: a file for that.
lab_note_waits() { # NOTES
	lab_waits >"$1.now"
	[ ! -f "$1.before" ] || awk -v at="$(date +%T)" 'NR == FNR { before[$1] = $2; next }
		$1 in before && $2 - before[$1] > 300 {
			printf "# %s waited %d ms for a CPU, until %s\n", $1, $2 - before[$1], at
		}' "$1.before" "$1.now" >>"$1"
	mv "$1.now" "$1.before"
}

# The client, the router, the balancer and the backends.
lab_hosts() {
	echo client router lb
	lab_namespaces "^$LAB-b[0-9]" | sed "s/^$LAB-//"
}
lab_veths() { # NAMESPACE
	in_ns "$1" ip -o link show type veth | awk '{ sub("@.*", "", $2); print $2 }'
}

# A veth with XDP at its other end takes 256 frames, and loses what comes while the CPU that should fetch them has other
# work, some 50 ms of a load. A port of a router has a queue before it, as each cable has then (Linux 6.16 and later; before,
# it changes nothing).
lab_queues() {
	local ns device
	for ns in $(lab_hosts); do
		for device in $(lab_veths "$ns"); do
			in_ns "$ns" tc qdisc replace dev "$device" root pfifo limit 20000 || return 1
		done
	done
}

# Frames that a full queue of a veth did not take: it has room for 256 where the other end runs XDP.
lab_queue_losses() { # NAMESPACE
	local device
	for device in $(lab_veths "$1"); do
		in_ns "$1" ip -s -j link show "$device" | jq -r '.[] | select(.stats64.tx.dropped > 0) |
			"\(.ifname) had no room for \(.stats64.tx.dropped) frames"'
		in_ns "$1" ethtool -S "$device" | awk -v device="$device" '/(drops|errors):/ && $2 { print device, $0 }'
	done
}

# Those of a host's counters that are not 0: a line each, "NAME COUNT".
lab_counters() { # NAMESPACE COUNTER...
	in_ns "$1" nstat -asz "${@:2}" 2>/dev/null | awk '!/^#/ && $2 { print $1, $2 }'
}

# The state of backends, interfaces, neighbour entries and queues now, to tell lbd's faults from the lab's own losses.
lab_moment() { # WHEN
	local ns
	echo "# $1, at $(date +%T.%N | cut -c1-12), load $(cut -d' ' -f1-3 /proc/loadavg):"
	lbctl backends --json 2>&1 | jq -r '.backends[]? | select(.condition != "up") |
		"#   \(.service) \(.address) \(.condition): \(.why)"' 2>&1
	lbctl status --json 2>&1 | jq -r '"#   backends up \(.backends_up) of \(.backends); loop late \(.loop.late_ms) ms"' 2>&1
	for ns in $(lab_hosts); do
		{
			in_ns "$ns" ip -o link show | awk '/state (DOWN|LOWERLAYERDOWN)/ { print "link", $2, "is down" }'
			in_ns "$ns" ip neigh show nud failed nud incomplete nud probe
			lab_counters "$ns" TcpExtListenOverflows TcpExtListenDrops TcpExtTCPReqQFullDrop \
				TcpExtTCPBacklogDrop TcpExtTCPReqQFullDoCookies TcpOutRsts IpOutNoRoutes Ip6OutNoRoutes \
				IpOutDiscards Ip6OutDiscards IcmpOutDestUnreachs Icmp6OutDestUnreachs
			lab_queue_losses "$ns"
		} 2>/dev/null | sed "s/^/#   $ns: /"
	done
	# of all namespaces: a table that is full refuses entries of this lab too
	for ns in arp_cache ndisc_cache; do
		tail -n +2 "/proc/net/stat/$ns" | while read -ra column; do
			[ "$((16#${column[-1]}))" = 0 ] || echo "#   $ns was full $((16#${column[-1]})) times on a CPU"
		done
	done
}

# Each CPU's queue has dropped so many, since the machine started and of all namespaces.
lab_cpu_drops() {
	local dropped
	while read -r _ dropped _; do echo $((16#$dropped)); done </proc/net/softnet_stat
}
LAB_CPU_DROPS=$(lab_cpu_drops) # before the script

# What was lost in the lab, and where: for a test that failed.
lab_losses() {
	local ns
	lbctl stats --json 2>&1 | jq -r '.reasons[]? | select(.outcome != "sent" and .packets > 0) |
		"# lbd \(.outcome) \(.packets): \(.name)"' 2>&1
	for ns in $(lab_hosts); do
		in_ns "$ns" ip -j -s -s link 2>&1 | jq -r --arg ns "$ns" '.[] |
			select(.stats64.rx.dropped + .stats64.tx.dropped > 0) |
			"# \($ns) \(.ifname) dropped: \(.stats64.rx.dropped) received, \(.stats64.tx.dropped) to send"' 2>&1
		lab_counters "$ns" TcpRetransSegs TcpExtTCPTimeouts TcpExtTCPSynRetrans TcpEstabResets \
			TcpAttemptFails TcpExtTCPChallengeACK TcpExtTCPSYNChallenge TcpExtListenDrops TcpOutRsts \
			TcpExtPAWSEstab TcpExtTCPACKSkippedSynRecv TcpExtTCPACKSkippedTimeWait IpOutNoRoutes \
			IpInNoRoutes IpInAddrErrors IpOutDiscards | sed "s/^/# $ns: /"
	done
	paste <(echo "$LAB_CPU_DROPS") <(lab_cpu_drops) | while read -r before now; do
		[ "$now" = "$before" ] || echo "# a CPU's queue dropped $((now - before)), of all namespaces"
	done
}

# Runs the command that brings the lab up. If it fails, that is the one failed test of the script.
# Then the last lines of every log tell why: a server that did not start says so nowhere else.
set_up_or_end() { # COMMAND...
	local log
	lab_need_root
	"$@" >"/tmp/$LAB.setup" 2>&1 && {
		rm -f "/tmp/$LAB.setup"
		return
	}
	lab_log_ends
	for log in "$WORK"/*.log; do
		[ ! -s "$log" ] || tail -n 3 "$log" | sed "s/^/# $(basename "$log" .log): /"
	done
	tail -n 60 "/tmp/$LAB.setup" | sed 's/^/# /'
	no_sanitizer_reports
	echo "not ok 1 - lab_comes_up"
	echo "1..1"
	exit 1
}

run_tests() { # [TEST]...: with or without its "test_"
	local name number=0 status failed=0
	for name in $(grep -oE '^test_[a-z0-9_]+' "$0"); do
		if [ $# -gt 0 ] && [[ " $* " != *" $name "* && " $* " != *" ${name#test_} "* ]]; then continue; fi
		number=$((number + 1)) FAILED=0 SKIP=
		"$name" >"/tmp/$LAB.out" 2>&1
		status=$?
		no_sanitizer_reports >>"/tmp/$LAB.out" || FAILED=1
		if [ -n "$SKIP" ] && [ $FAILED = 0 ]; then
			echo "ok $number - ${name#test_} # SKIP $SKIP"
		elif [ $status = 0 ] && [ $FAILED = 0 ]; then
			echo "ok $number - ${name#test_}"
			grep '^# ' "/tmp/$LAB.out" || true
		else
			lab_log_ends
			lab_losses
			sed 's/^/# /' "/tmp/$LAB.out" | tail -n 60
			echo "not ok $number - ${name#test_}"
			failed=1
		fi
		rm -f "/tmp/$LAB.out"
	done
	if [ $number = 0 ]; then
		number=1 failed=1
		echo "not ok 1 - $*: expected names of tests of $0"
	fi
	lab_down # leaks are reported when a process ends
	if ! no_sanitizer_reports; then
		number=$((number + 1)) failed=1
		echo "not ok $number - no_process_leaks_memory_or_ends_with_a_report"
	fi
	echo "1..$number"
	[ $failed = 0 ]
	exit $?
}
