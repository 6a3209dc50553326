#!/bin/bash
# The provider's command in the lab: changes what the network of tests/e2e/start.sh lets through.
# An interface eni-NAME is that of host NAME, at port to-NAME of the network.
set -eu

refuse() {
	echo "aws: $*: not in this lab" >&2
	exit 1
}

# The value of an option; "" without it.
option() { # NAME WORD...
	local name=$1
	shift
	while [ $# -gt 0 ]; do
		[ "$1" != "$name" ] || { echo "${2:-}" && return; }
		shift
	done
}

# The ports of a security group's hosts.
members() { # GROUP
	case $1 in
	sg-lb) echo to-lb ;;
	sg-backends) echo to-b1 to-b2 ;;
	sg-clients) echo to-client ;;
	*) refuse "group $1" ;;
	esac
}

assign() {
	local port address mac
	port=to-$(option --network-interface-id "$@" | sed 's/^eni-//')
	address=$(option --private-ip-addresses "$@")
	mac=$(ip neigh show dev "$port" nud permanent | awk '{ print $3; exit }')
	ip route replace "$address/32" dev "$port"
	ip neigh replace "$address" lladdr "$mac" dev "$port" nud permanent
	nft add element inet fabric addresses "{ \"$port\" . $address }"
}

modify() {
	local port
	port=to-$(option --network-interface-id "$@" | sed 's/^eni-//')
	[[ " $* " == *" --no-source-dest-check "* ]] || refuse "$@"
	nft add element inet fabric unchecked "{ \"$port\" }"
}

authorize() {
	local port protocol cidr match permissions
	protocol=$(option --protocol "$@")
	cidr=$(option --cidr "$@")
	match="$protocol dport $(option --port "$@")"
	permissions=$(option --ip-permissions "$@")
	if [ -n "$permissions" ]; then
		[[ $permissions == IpProtocol=icmp,FromPort=3,ToPort=4,* ]] || refuse "$@"
		cidr=$(sed 's/.*CidrIp=//; s/}.*//' <<<"$permissions")
		match="icmp type destination-unreachable icmp code 4"
	fi
	for port in $(members "$(option --group-id "$@")"); do
		# shellcheck disable=SC2086 # nft takes words
		nft add rule inet fabric allow oifname "$port" ip saddr "$cidr" $match accept
	done
}

case "$1 $2" in
"ec2 assign-private-ip-addresses") assign "$@" ;;
"ec2 modify-network-interface-attribute") modify "$@" ;;
"ec2 authorize-security-group-ingress") authorize "$@" ;;
*) refuse "$@" ;;
esac
