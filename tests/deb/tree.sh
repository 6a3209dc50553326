#!/bin/bash
# In a fresh Debian that has git, make and this tree in /root/lbd.
# shellcheck source=tests/deb/lib.sh
. "$(dirname "$0")/lib.sh"
cd /root/lbd || exit 1

installed() { dpkg-query -W -f '${db:Status-Abbrev}\n' "$1" 2>/dev/null | grep -q '^ii'; } # PACKAGE

# The README's way for a balancer.
test_build_dependencies_hold_no_server_and_no_test_tool() {
	local package
	tools/deps build || return 1
	for package in nginx-light nginx-common python3 tmux tcpdump libcmocka-dev; do
		! installed $package || { echo "$package is installed"; FAILED=1; }
	done
	./configure && make -j2 || return 1
	build/lbd --version && build/lbctl version && build/lbd-backend version
}

# ---- make dist ----

readonly repository=/root/repository
version=$(sed -n 's/^VERSION := //p' Makefile)
readonly version tarball=$repository/build/lbd-$version.tar.gz

# Of a repository whose only commit is this tree.
make_dist() {
	[ -d $repository ] || {
		mkdir $repository && tar -c --exclude=./build . | tar -x -C $repository || return 1
		git -C $repository init -q && git -C $repository add -A || return 1
		git -C $repository -c user.name=test -c user.email=test@localhost commit -qm tree || return 1
	}
	make -C $repository dist
}

# Without git, at the same place each time. Prints the checksums of what was built.
build_unpacked() {
	local tree=/root/unpacked/lbd-$version bin=/root/without-git
	rm -rf /root/unpacked && mkdir -p /root/unpacked $bin && tar -C /root/unpacked -xf "$tarball" || return 1
	printf '#!/bin/sh\necho "git $*" >>%s/called\nexit 1\n' $bin >$bin/git && chmod +x $bin/git
	(
		cd "$tree" && PATH=$bin:$PATH && ./configure >&2 && make -j2 all >&2 &&
			make install install-backend PREFIX=/usr DESTDIR=/root/unpacked/staged >&2 &&
			sha256sum build/lbd build/lbctl build/lbd-backend build/*.bpf.o
	)
}

test_make_dist_makes_the_same_tarball_of_the_same_commit() {
	local copy=/root/clone
	make_dist || return 1
	tar -tf "$tarball" | grep -v '/$' | sed "s,^lbd-$version/,," | sort >/root/packed
	expect "files" "$(git -C $repository ls-files | sort | diff - /root/packed)" ""
	git clone -q $repository $copy && sleep 1 && make -C $copy dist || return 1
	cmp "$tarball" "$copy/build/${tarball##*/}" || FAILED=1
	rm -rf $copy
}

test_the_tarball_builds_without_git_and_the_same_programs_each_time() {
	local first second out
	make_dist || return 1
	first=$(build_unpacked) && second=$(build_unpacked) || return 1
	echo "$first"
	expect "the second time" "$second" "$first"
	expect "calls of git" "$(cat /root/without-git/called 2>/dev/null)" ""
	contains "$(/root/unpacked/staged/usr/sbin/lbd --version)" "lbd $version "
	out=$(make -C "/root/unpacked/lbd-$version" dist 2>&1)
	expect "exit status" $? 2
	contains "$out" "dist: it is made of a commit"
	rm -rf /root/unpacked
}

# ---- packages ----

test_packages_are_built_and_lintian_finds_nothing() {
	make deb
}

test_debug_symbols_have_packages_of_their_own() {
	expect "of lbd" "$(find build/deb -name 'lbd-dbgsym_*.deb' | wc -l)" 1
	expect "of lbd-backend" "$(find build/deb -name 'lbd-backend-dbgsym_*.deb' | wc -l)" 1
	expect "symbols in the program" "$(dpkg-deb --fsys-tarfile build/deb/lbd_*.deb |
		tar -xO ./usr/sbin/lbd | file - | grep -c 'not stripped')" 0
}

# Fedora's places, which its macros name. What the packages need is here under other names.
test_the_rpm_spec_builds_both_packages() {
	local work=/root/rpm
	expect "version" "$(sed -n 's/^Version: *//p' dist/lbd.spec)" "$version"
	apt-get install -y --no-install-recommends rpm >/dev/null || return 1
	make_dist && mkdir -p $work/SOURCES && cp "$tarball" $work/SOURCES || return 1
	rpmbuild -bb --nodeps --define "_topdir $work" --define "dist .test" \
		--define "_unitdir /usr/lib/systemd/system" --define "_sysusersdir /usr/lib/sysusers.d" \
		--define "_tmpfilesdir /usr/lib/tmpfiles.d" dist/lbd.spec || return 1
	expect "packages" "$(find $work/RPMS -name 'lbd-*.rpm' ! -name '*debug*' | wc -l)" 2
	rpm -qlp $work/RPMS/*/lbd-backend-"$version"-*.rpm | grep -x /usr/sbin/lbd-backend
}

test_the_backend_needs_four_libraries_at_most() {
	local libraries
	libraries=$(objdump -p build/lbd-backend | awk '$1 == "NEEDED" { print $2 }' |
		grep -v '^libc\.so')
	echo "$libraries"
	[ "$(wc -l <<<"$libraries")" -le 4 ]
}

test_the_man_pages_have_no_warning() {
	local page
	tools/deps lint >/dev/null 2>&1
	apt-get install -y --no-install-recommends man-db groff >/dev/null || return 1
	for page in docs/lbd.8 build/lbctl.8 build/lbd-backend.8 build/lbd.yaml.5; do
		expect "$page" "$(man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 >/dev/null)" ""
	done
}

# Of docs/config.md, which lists them all.
test_the_man_page_of_the_config_has_every_key() {
	local key missing=
	for key in $(sed -n '/^| `/s/^| \([^|]*\)|.*/\1/p' docs/config.md | grep -o '`[a-z4-]*`' |
		tr -d '`' | sort -u); do
		grep -qF "\\fB${key//-/\\-}\\fR" build/lbd.yaml.5 || missing+=" $key"
	done
	expect "missing keys" "$missing" ""
}

# ---- make install ----

test_uninstall_refuses_while_lbd_runs_and_then_detaches() {
	local out pid
	tools/deps demo >/dev/null || return 1
	make install PREFIX=/usr/local >/dev/null || return 1
	ip netns add balancer && ip -n balancer link add eth0 type veth peer name far || return 1
	ip -n balancer link set far up && ip -n balancer link set eth0 up
	printf 'interfaces: [eth0]\nmode: generic\nservices: []\ngroup: root\n' >/root/lbd.yaml
	nsenter --net=/run/netns/balancer /usr/local/sbin/lbd -c /root/lbd.yaml &
	pid=$!
	wait_for "lbd to answer" lbctl status || return 1
	out=$(make uninstall PREFIX=/usr/local 2>&1)
	expect "exit status" $? 2
	contains "$out" "an lbd runs (pid $pid)"
	contains "$out" "nothing was removed"
	[ -x /usr/local/sbin/lbctl ] || FAILED=1
	out=$(make uninstall PREFIX=/usr 2>&1)
	expect "exit status with another PREFIX" $? 2
	contains "$out" "no lbd in /usr/sbin"
	[ -e /etc/systemd/system/lbd.service ] || FAILED=1
	kill -9 $pid
	wait $pid
	ip -n balancer -j link show eth0 | jq -e '.[0].xdp' >/dev/null || FAILED=1
	make uninstall PREFIX=/usr/local || FAILED=1
	! ip -n balancer -j link show eth0 | jq -e '.[0].xdp' >/dev/null || FAILED=1
	[ ! -e /sys/fs/bpf/lbd ] || FAILED=1
	expect "files left" "$(find /usr/local /etc/systemd -name '*lb[dc]*')" ""
	ip netns del balancer
}

# After make demo nginx is there: it must not listen on port 80 after the next boot.
test_servers_that_the_demo_needs_are_not_left_enabled() {
	tools/deps build demo || return 1
	installed nginx-light || FAILED=1
	expect "enabled" "$(find /etc/systemd/system -path '*.wants/*' -name 'nginx*')" ""
	expect "enabled for init" "$(find /etc/rc[2-5].d -name 'S*nginx')" ""
}

run_test "$1"
