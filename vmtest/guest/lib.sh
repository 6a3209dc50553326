#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# What the guest's own tests share, on top of the lab and TAP of tests/e2e/lib.sh. The guest may be
# emulated: rates are low and limits long.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../tests/e2e/lib.sh"

# Health checks must not time out on a slow guest.
HEALTH='{ type: http, port: 80, path: /healthz, interval: 3s, timeout: 2500ms, rise: 1, fall: 3 }'
BACKENDS_UP=2
FILE_SIZE=4000000

# Ends the script with one visible skip when the kernel lacks a module.
need_modules() { # SUITE MODULE...
	local suite=$1 module
	shift
	for module in "$@"; do
		modprobe -q "$module" || {
			echo "ok 1 - $suite # SKIP kernel $(uname -r) has no module $module"
			echo "1..1"
			exit 0
		}
	done
}

# A service of the guest's tests, over every backend. FORWARD is gue or gre; the default is ipip.
service() { # NAME VIP PROTOCOL PORT FAMILY [FORWARD]
	config_service "$1" "$2" "$3" "$4" "$5" "$BACKENDS_UP" "${6:+forward: $6}"
}

# A server on every backend that answers a PUT with the sha256 of the body, over IPv4 and IPv6, and
# the file to send.
put_servers() { # PORT...
	local i
	cat >"$WORK/put.py" <<-'PY'
		import hashlib, http.server, socket, sys, threading
		class Handler(http.server.BaseHTTPRequestHandler):
		    protocol_version = "HTTP/1.1"
		    def do_PUT(self):
		        left, digest = int(self.headers["Content-Length"]), hashlib.sha256()
		        while left:
		            part = self.rfile.read(min(left, 1 << 16))
		            if not part: return
		            digest.update(part); left -= len(part)
		        text = digest.hexdigest().encode()
		        self.send_response(200)
		        self.send_header("Content-Length", str(len(text)))
		        self.send_header("Connection", "close"); self.end_headers()
		        self.wfile.write(text)
		    def log_message(self, *args): pass
		class Server(http.server.ThreadingHTTPServer):
		    address_family = socket.AF_INET6
		for port in sys.argv[1:]:
		    server = Server(("::", int(port)), Handler)
		    threading.Thread(target=server.serve_forever).start()
	PY
	for i in $(seq "$BACKENDS_UP"); do
		lab_spawn "put-b$i" in_ns "b$i" python3 "$WORK/put.py" "$@"
	done
	head -c "$FILE_SIZE" /dev/urandom >"$WORK/big"
	sha256sum <"$WORK/big" | cut -c1-64 >"$WORK/big.sum"
	for i in $(seq "$BACKENDS_UP"); do
		lab_wait_for 60 "server on b$i" \
			in_ns "b$i" bash -c "exec 3<>/dev/tcp/127.0.0.1/$1" || return 1
	done
}

# The client sends a file in full-size segments. The server's checksum of it must be that of the
# file.
upload_arrives_whole() { # HOST PORT
	local sum
	sum=$(in_ns client curl -g -s -m 120 -H Expect: -T "$WORK/big" "http://$1:$2/")
	expect "sha256 of what arrived at $1:$2" "$sum" = "$(cat "$WORK/big.sum")"
}

# Many short requests: none may fail, and every backend answers some.
requests_are_answered() { # MODE VIP PORT
	local result
	result=$(traffic "$1" "$2" "$3" rate 100 seconds 3 timeout 5)
	echo "# $result"
	expect "failures" "$(field "$result" .failed)" = 0
	expect "backends that answered" "$(field "$result" '.by | length')" = "$BACKENDS_UP"
}

mode_is() { # IFACE MODE
	expect "mode of $1" "$(lbctl status --json |
		json '.interfaces[] | select(.name == $name) | .mode' --arg name "$1")" = "$2"
}

# The head of a config file, for other interfaces than eth0.
config_head_for() { # IFACE...
	local list="$*"
	lab_config_head | sed "s/^interfaces:.*/interfaces: [${list// /, }]/"
}

# Starts lbd on $WORK/lbd.yaml and waits until N backends are up.
lbd_up() { # N
	lab_lbd_start && lab_wait_for 60 "$1 backends to be up" backends_up "$1" &&
		lab_wait_for 90 "the slots of the UDP services to settle" lab_udp_settled && return
	lbctl backends
	return 1
}
