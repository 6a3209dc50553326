#!/bin/bash
# The getting-started pages, played: a lab of the network that the page draws, and the commands of
# the page itself, until the client has its answers. Blocks of a page that are run begin with
#   ```sh HOST...          commands for these hosts, in this order
#   ```yaml HOST PATH      a file for this host
#   ```text                what the commands of the block before print, sooner or later: each line
#                          is part of a line of the output, whatever the blanks
. "$(dirname "$0")/lib.sh"

# ---- hosts ----

# A host with files of its own; see tests/e2e/start/host.sh.
host() { # NAME
	lab_host "$1" || return 1
	mkdir -p "$WORK/$1.root"
	lab_spawn "host-$1" in_ns "$1" unshare --mount --propagation private \
		"$ROOT/tests/e2e/start/host.sh" "$WORK/$1.root" "$BUILD" "$ROOT" \
		"$SANITIZER_DIR"
	lab_wait_for 10 "the files of $1" on "$1" test -s /etc/lab || {
		cat "$WORK/host-$1.log"
		return 1
	}
}

on() { # HOST COMMAND...
	local pid
	pid=$(cat "$WORK/host-$1.pid") || return 1
	shift
	# shellcheck disable=SC2016
	timeout 180 nsenter --target "$pid" --mount --net --root --wd \
		env -i HOME=/root TERM=dumb "ASAN_OPTIONS=$ASAN_OPTIONS" \
		PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		bash -c 'cd /root && exec "$@"' on "$@" </dev/null
}

address() { ip -n "$(ns "$1")" addr add "$2" dev eth0; }             # HOST ADDRESS/LEN
default_route() { ip -n "$(ns "$1")" route add default via "$2"; }   # HOST GATEWAY

web_server() { # HOST
	lab_spawn "web-$1" in_ns "$1" python3 "$ROOT/tests/e2e/start/server.py" "$1"
	lab_wait_for 10 "the web server of $1" in_ns "$1" curl -s -m 2 http://127.0.0.1/
}

lab_begin() { # HOST...
	lab_down
	WORK=$(mktemp -d "/tmp/$LAB.XXXXXX")
	local name
	for name in "$@"; do host "$name" || return 1; done
	web_server b1 && web_server b2
}

# ---- networks ----

one_switch() {
	local name number
	lab_begin client lb b1 b2 && lab_host switch || return 1
	ip -n "$(ns switch)" link add br0 type bridge
	ip -n "$(ns switch)" link set br0 up
	for name in client.100 lb.5 b1.11 b2.12; do
		number=${name#*.} name=${name%.*}
		lab_link "$name" eth0 switch "to-$name" || return 1
		in_ns switch ip link set "to-$name" master br0
		address "$name" "192.0.2.$number/24"
	done
}

routed() {
	lab_begin client router lb b1 b2 || return 1
	in_ns router sysctl -qw net.ipv4.ip_forward=1
	lab_link router eth0 client eth0 && lab_link router eth1 lb eth0 || return 1
	lab_link router eth2 b1 eth0 && lab_link router eth3 b2 eth0 || return 1
	address client 198.51.100.2/24
	address lb 10.0.0.2/24
	address b1 10.0.1.11/24
	address b2 10.0.2.12/24
	in_ns router ip addr add 198.51.100.1/24 dev eth0
	in_ns router ip addr add 10.0.0.1/24 dev eth1
	in_ns router ip addr add 10.0.1.1/24 dev eth2
	in_ns router ip addr add 10.0.2.1/24 dev eth3
	default_route client 198.51.100.1
	default_route lb 10.0.0.1
	default_route b1 10.0.1.1
	default_route b2 10.0.2.1
}

# A network that knows addresses and no switch: each host is alone at its port, packets go where an
# address is assigned, from where their source is assigned, and as far as rules allow.
cloud() {
	local name subnet
	lab_begin client cloud lb b1 b2 || return 1
	in_ns cloud sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0
	in_ns cloud nft -f - <<-RULES || return 1
		table inet fabric {
		    set addresses { type ifname . ipv4_addr; }
		    set unchecked { type ifname; }
		    chain allow { }
		    chain sources {
		        iifname . ip saddr @addresses return
		        iifname @unchecked return
		        counter name foreign drop
		    }
		    counter foreign { }
		    chain forward {
		        type filter hook forward priority filter; policy drop;
		        jump sources
		        meta l4proto != { tcp, udp, icmp } drop
		        ct state established accept
		        jump allow
		    }
		}
	RULES
	for name in client.9.9 lb.0.10 b1.1.11 b2.2.12; do
		subnet=${name#*.} name=${name%%.*}
		port "$name" "$subnet" || return 1
	done
}

port() { # HOST SUBNET.NUMBER
	local mac
	lab_link "$1" eth0 cloud "to-$1" || return 1
	address "$1" "10.1.$2/24"
	mac=$(ip -n "$(ns "$1")" -j link show eth0 | json '.[0].address') || return 1
	in_ns cloud ip addr add "10.1.${2%.*}.1/32" dev "to-$1"
	in_ns cloud ip route add "10.1.$2/32" dev "to-$1"
	in_ns cloud ip neigh add "10.1.$2" lladdr "$mac" dev "to-$1" nud permanent
	in_ns cloud nft add element inet fabric addresses "{ \"to-$1\" . 10.1.$2 }"
	default_route "$1" "10.1.${2%.*}.1"
}

# ---- pages ----

# Writes the blocks of a page to $WORK/blocks: NUMBER.head and NUMBER.body. Readers do not see the
# head of a block: the line before it must name its hosts.
read_page() { # PAGE
	mkdir -p "$WORK/blocks"
	awk -v out="$WORK/blocks" '
		!inside && NF && !/^```/ { before = $0 }
		/^```/ && !inside {
			for (i = 2; i <= NF; i++) {
				host = $i == "cloud" ? "provider" : $i
				if ($i !~ /^\// && before !~ "(^|[^a-z0-9])" host "([^a-z0-9]|$)")
					unnamed = unnamed "# line " NR ": the text before does not name " host "\n"
			}
			name = sprintf("%s/%03d", out, ++n)
			print substr($0, 4) >(name ".head")
			printf "" >(name ".body")
			inside = 1
			next
		}
		/^```/ { inside = 0; close(name ".head"); close(name ".body"); next }
		inside { print >(name ".body") }
		END { printf "%s", unnamed; exit unnamed != "" }' "$ROOT/docs/$1.md"
}

squeeze() { tr -s ' \t' ' '; }

run_commands() { # BODY HOST...: what they print is in $WORK/output
	local body=$1 name
	shift
	: >"$WORK/output"
	for name in "$@"; do
		on "$name" bash -euc "$(cat "$body")" >"$WORK/output-$name" 2>&1 || {
			echo "# on $name: $(cat "$body")"
			sed 's/^/#   /' "$WORK/output-$name"
			return 1
		}
		cat "$WORK/output-$name" >>"$WORK/output"
	done
}

# Does each host print every line of the text?
prints() { # TEXT BODY HOST...
	local text=$1 body=$2 name line
	shift 2
	run_commands "$body" "$@" || return 1
	for name in "$@"; do
		while read -r line; do
			squeeze <"$WORK/output-$name" | grep -qF -- "$line" || return 1
		done < <(squeeze <"$text")
	done
}

# A client that asks for the VIP gets the name of a backend.
answered() { # BODY
	run_commands "$1" client && grep -qxE 'b[12]' "$WORK/output"
}

run_block() { # HEAD BODY
	local head
	read -ra head <"$1"
	case ${head[0]:-} in
	sh)
		last=("$2" "${head[@]:1}")
		if [ "${head[1]}" = client ] && grep -q curl "$2"; then
			lab_wait_for 20 "an answer to $(cat "$2")" answered "$2" || return 1
			answers=$((answers + 1))
		else
			run_commands "${last[@]}"
		fi
		;;
	yaml) write_file "$2" "${head[@]:1}" ;;
	text)
		lab_wait_for 20 "$(cat "$2")" prints "$2" "${last[@]}" || {
			sed 's/^/# /' "$WORK/output"
			return 1
		}
		;;
	"") ;; # a picture
	*) echo "# ${head[*]}: no such block" && return 1 ;;
	esac
}
write_file() { # BODY HOST PATH
	on "$2" bash -c "cat >\"$3\" <<'END-OF-FILE'
$(cat "$1")
END-OF-FILE"
}

# Runs a page from top to bottom.
play() { # PAGE
	local block last=() answers=0
	read_page "$1" || return 1
	for block in "$WORK"/blocks/*.head; do
		run_block "$block" "${block%.head}.body" || {
			echo "# $1.md, block $(basename "$block" .head): $(cat "$block")"
			on lb cat /run/lbd.log | tail -n 20 | sed 's/^/# lbd: /'
			on lb lbctl backends | sed 's/^/# /'
			return 1
		}
	done
	expect "answers in $1" $answers -ge 1
}

test_on_one_switch_the_page_leads_to_the_first_answer() {
	one_switch && play start-one-switch
}

test_in_a_routed_network_the_page_leads_to_the_first_answer() {
	routed && play start-routed
}

# The network of the lab is as strict as the page says: what a backend sends from the VIP is dropped
# once its source is checked.
test_in_a_cloud_network_the_page_leads_to_the_first_answer() {
	cloud && play start-cloud || return 1
	expect "foreign sources" "$(foreign)" = 0
	in_ns cloud nft flush set inet fabric unchecked
	in_ns client curl -s -m 5 http://10.1.0.100/ >/dev/null &
	lab_wait_for 20 "an answer from the VIP to be dropped" was_foreign
	wait $!
	expect "curl" $? -ne 0
}
foreign() {
	in_ns cloud nft -j list counter inet fabric foreign | json '.nftables[1].counter.packets'
}
was_foreign() { [ "$(foreign)" -gt 0 ]; }

# Other pages and the README lead there.
test_each_page_is_linked_from_the_readme() {
	local page status=0
	for page in "$ROOT"/docs/start-*.md; do
		grep -qF "(docs/$(basename "$page"))" "$ROOT/README.md" || {
			echo "# README.md: no link to docs/$(basename "$page")"
			status=1
		}
	done
	return $status
}

skip_all_without nft nftables
skip_all_without python3 python3
lab_need_root
run_tests "$@"
