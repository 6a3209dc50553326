# lbd: `make help` is the index.
BUILD := build
ifdef SAN
BUILD := build/asan
endif
ifdef COV
BUILD := build/coverage
endif
ifdef FUZZ
BUILD := build/fuzz
endif
ifdef TSAN
BUILD := build/tsan
endif
V ?= 0
Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@printf '  %-8s %s\n' '$(1)' '$(2)')

comma := ,

VERSION := 0.1.0
PREFIX ?= /usr/local
DESTDIR ?=
SBINDIR := $(DESTDIR)$(PREFIX)/sbin
MANDIR := $(DESTDIR)$(PREFIX)/share/man
UNITDIR := $(DESTDIR)$(if $(filter /usr,$(PREFIX)),/lib/systemd/system,/etc/systemd/system)
BASHDIR := $(DESTDIR)$(PREFIX)/share/bash-completion/completions
ZSHDIR := $(DESTDIR)$(PREFIX)/share/zsh/site-functions
FISHDIR := $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
DOCDIR := $(DESTDIR)$(PREFIX)/share/doc/lbd
SYSUSERSDIR := $(DESTDIR)$(if $(filter /usr,$(PREFIX)),/usr/lib/sysusers.d,/etc/sysusers.d)
TMPFILESDIR := $(DESTDIR)$(if $(filter /usr,$(PREFIX)),/usr/lib/tmpfiles.d,/etc/tmpfiles.d)

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
MAKEFLAGS += --no-print-directory

# Targets that need no configuration (or make one themselves, in a make of their own once the packages are there).
SELF_SUFFICIENT := help deps demo demo-pair page check check-asan check-tsan fuzz bench floods healthy fleet model clean distclean vmtest vmbench fresh lint format rooms dist coverage compile_commands deb debtest containertest
ifneq ($(filter-out $(SELF_SUFFICIENT),$(or $(MAKECMDGOALS),all)),)
include build/config.mk
endif
build/config.mk: configure tools/clangs
	$(Q)./configure

CFLAGS ?= -O2 -g
# WERROR= for a compiler that warns of more than those that lbd is developed with.
WERROR ?= -Werror
WARN := -Wall -Wextra $(WERROR) -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wno-unused-parameter
ALL_CFLAGS := -std=gnu11 $(CPPFLAGS) $(CFLAGS) $(WARN) -D_GNU_SOURCE -DLBD_VERSION='"$(VERSION)"' -Iinclude -Iuser -Itests -I. -I$(BUILD) -MMD -MP
ALL_LDFLAGS := $(LDFLAGS) -pthread -Wl,--as-needed
ifdef SAN
ALL_CFLAGS += -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
ALL_LDFLAGS += -fsanitize=address,undefined
endif
ifdef FUZZ
# libFuzzer is clang's.
CC := $(CLANG)
ALL_CFLAGS += -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer \
	-Wno-gnu-variable-sized-type-not-at-end -Wno-missing-field-initializers
ALL_LDFLAGS += -fsanitize=address,undefined
endif
ifdef TSAN
ALL_CFLAGS += -O1 -fsanitize=thread -fno-omit-frame-pointer
ALL_LDFLAGS += -fsanitize=thread
endif
ifdef COV
ALL_CFLAGS += -O0 --coverage
ALL_LDFLAGS += --coverage
endif
BPF_CFLAGS := -target bpf -mcpu=v3 -O2 -g -Wall -Wextra $(WERROR) -Wno-unused-parameter -Iinclude -Itests -I. $(BPF_INCLUDES) -MMD -MP

# ---- what there is -------------------------------------------------------------------------------------------------

COMMON_OBJS := $(patsubst %.c,$(BUILD)/%.o,$(sort $(wildcard user/common/*.c)))
LBD_OBJS := $(patsubst %.c,$(BUILD)/%.o,$(sort $(wildcard user/lbd/*.c user/lbd/*/*.c)))
LBCTL_OBJS := $(patsubst %.c,$(BUILD)/%.o,$(sort $(filter-out user/lbctl/host_tool/%,$(wildcard user/lbctl/*.c user/lbctl/*/*.c))))
# lbd-backend: the verbs of a backend alone, compiled with names of its own (core/tool.h).
BACKEND_SOURCES := user/lbctl/main.c user/lbctl/backend_host.c $(filter-out %/client.c,$(wildcard user/lbctl/core/*.c)) \
	$(wildcard user/lbctl/backend_host/*.c user/lbctl/host_tool/*.c)
BACKEND_OBJS := $(patsubst %.c,$(BUILD)/backend/%.o,$(sort $(BACKEND_SOURCES)))
SUPPORT_OBJS := $(patsubst %.c,$(BUILD)/%.o,$(sort $(wildcard tests/support/*.c)))
BPF_OBJS := $(patsubst bpf/%.bpf.c,$(BUILD)/%.bpf.o,$(wildcard bpf/*.bpf.c))
SKELS := $(BPF_OBJS:.bpf.o=.skel.h)
TEST_SKELS := $(patsubst tests/bpf/%.bpf.c,$(BUILD)/%.skel.h,$(wildcard tests/bpf/*.bpf.c))

LBCTL_TESTS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/lbctl/test_*.c))
UNIT_TESTS := $(filter-out $(LBCTL_TESTS),$(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/*/test_*.c)))
PACKET_TESTS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/bpf/test_*.c))
FUZZERS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_OBJS := $(patsubst %.c,$(BUILD)/%.o,$(sort $(filter-out tests/fuzz/fuzz_% tests/fuzz/stand_in_%,$(wildcard tests/fuzz/*.c))))
FUZZ_LBD_OBJS := $(filter-out %/main.o,$(LBD_OBJS))
TESTS := $(UNIT_TESTS) $(LBCTL_TESTS) $(PACKET_TESTS)
# What runs on the thread of the tasks beside the loop: tests/run reads the names from this line.
TSAN_TESTS := $(addprefix $(BUILD)/tests/unit/,host/test_tasks host/test_loop host/test_aside state/test_state_tasks attach/test_watch attach/test_takeover dataplane/test_dataplane_pauses)
TOOLS := $(patsubst %.c,$(BUILD)/%,$(filter-out %.bpf.c,$(wildcard tools/*.c tests/e2e/*.c vmtest/*.c)))
# An lbd that speaks the first version of the protocol between nodes alone: for tests of an upgrade.
FIRST_LBD := $(BUILD)/tests/e2e/lbd-first
FIRST_OBJS := $(patsubst %.c,$(BUILD)/first/%.o,$(sort $(wildcard user/lbd/fleet/*.c)))
BENCH_NS := $(BUILD)/tools/bench_ns
BENCH_NS_OBJS := $(patsubst %.c,$(BUILD)/%.o,$(sort $(wildcard tools/ns/*.c)))

BPF_PROGRAMS := $(patsubst %.bpf.c,$(BUILD)/%.bpf.o,$(notdir $(wildcard $(addsuffix /*.bpf.c,bpf tests/bpf tools vmtest))))

COMMANDS := $(BUILD)/lbctl $(BUILD)/lbd-backend
COMMAND_TEXTS := $(foreach kind,8 bash zsh fish,$(COMMANDS:=.$(kind)))

.PHONY: demo-pair page all tests tools fuzzers fuzz tsan-tests bench-programs bpf-programs FORCE deps demo check check-asan check-tsan bench floods healthy fleet model vmtest vmbench fresh mutants coverage compile_commands rooms dist format lint install install-backend uninstall uninstall-backend deb debtest containertest clean distclean help

all: $(BUILD)/lbd $(COMMANDS) $(COMMAND_TEXTS) $(BUILD)/lbd.yaml.5 ## build lbd, lbctl, lbd-backend, man pages and completions into build/

tests: all tools $(TESTS)
fuzzers: $(FUZZERS) # with FUZZ=1
tsan-tests: $(BUILD)/lbd $(TSAN_TESTS) # with TSAN=1
tools: $(TOOLS) $(BUILD)/pass.bpf.o $(FIRST_LBD)
bpf-programs: $(BPF_PROGRAMS)
bench-programs: $(BENCH_NS) $(BUILD)/drop.bpf.o $(BUILD)/bounce.bpf.o $(BUILD)/live.bpf.o

# ---- how it is made ------------------------------------------------------------------------------------------------

$(BUILD)/lbd: $(COMMON_OBJS) $(LBD_OBJS)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_LBD) $(LIBS_COMMON)

$(FIRST_LBD): $(COMMON_OBJS) $(FIRST_OBJS) $(filter-out $(BUILD)/user/lbd/fleet/%,$(LBD_OBJS))
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_LBD) $(LIBS_COMMON)

$(BUILD)/lbctl: $(COMMON_OBJS) $(LBCTL_OBJS)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_LBCTL) $(LIBS_COMMON)

$(BUILD)/lbd-backend: $(COMMON_OBJS) $(BACKEND_OBJS)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_BACKEND) $(LIBS_COMMON)

$(COMMANDS:=.8): %.8: %
	$(Q)$< --generate-man >$@

$(COMMANDS:=.bash): %.bash: %
	$(Q)$< --generate-completion bash >$@

$(COMMANDS:=.zsh): %.zsh: %
	$(Q)$< --generate-completion zsh >$@

$(COMMANDS:=.fish): %.fish: %
	$(Q)$< --generate-completion fish >$@

$(BUILD)/lbd.yaml.5: docs/config.md tools/man-config
	@mkdir -p $(@D)
	$(Q)tools/man-config $(VERSION) <$< >$@

$(BUILD)/backend/%.o: %.c $(BUILD)/cc | $(SKELS)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -DLBD_BACKEND -c -o $@ $<

$(BUILD)/first/%.o: %.c $(BUILD)/cc | $(SKELS)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -DFRAME_LATEST=1 -c -o $@ $<

$(BUILD)/%.o: %.c $(BUILD)/cc | $(SKELS)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

# The page is a part of lbd (.incbin), which lets browsers run its own script and style sheet alone, by their hashes.
$(BUILD)/page_hashes.h: user/lbd/api/page.html tools/page-hashes
	@mkdir -p $(@D)
	$(Q)tools/page-hashes $< >$@
$(BUILD)/user/lbd/api/page.o: user/lbd/api/page.html $(BUILD)/page_hashes.h

# What another compiler made is made again.
$(BUILD)/cc: COMPILER = $(CC)
$(BUILD)/clang: COMPILER = $(CLANG)
$(BUILD)/cc $(BUILD)/clang: FORCE
	@mkdir -p $(@D)
	@[ "$$(cat $@ 2>/dev/null)" = "$(COMPILER)" ] || echo "$(COMPILER)" >$@
FORCE:

$(BUILD)/%.bpf.o: bpf/%.bpf.c $(BUILD)/clang
	$(call say,BPF,$<)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c -o $@ $<

$(BUILD)/%.bpf.o: tools/%.bpf.c $(BUILD)/clang
	$(call say,BPF,$<)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c -o $@ $<

# The product's source with a clock that tests set; the product's own object is not made of this.
$(BUILD)/%.bpf.o: tests/bpf/%.bpf.c $(BUILD)/clang
	$(call say,BPF,$<)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c -o $@ $<

$(BUILD)/%.bpf.o: vmtest/%.bpf.c $(BUILD)/clang
	$(call say,BPF,$<)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c -o $@ $<

$(SUPPORT_OBJS): | $(TEST_SKELS)

$(BUILD)/%.skel.h: $(BUILD)/%.bpf.o
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name $*_bpf >$@

$(LBCTL_TESTS): %: %.o $(COMMON_OBJS) $(filter-out %/main.o,$(LBCTL_OBJS)) $(addprefix $(BUILD)/tests/support/,fake_lbd.o test_file.o)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_LBCTL) $(LIBS_COMMON) -lcmocka -lm

$(UNIT_TESTS) $(PACKET_TESTS): %: %.o $(COMMON_OBJS) $(filter-out %/main.o,$(LBD_OBJS)) $(filter-out %/fake_lbd.o,$(SUPPORT_OBJS))
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_LBD) $(LIBS_COMMON) -lcmocka -lm

# The control socket's target has a stand-in for the room that attaches.
FUZZ_API := $(BUILD)/tests/fuzz/fuzz_api
$(FUZZ_API): $(BUILD)/tests/fuzz/stand_in_attach.o $(filter-out %/attach/attach.o %/attach/takeover.o %/attach/watch.o %/attach/egress.o %/attach/facts.o,$(FUZZ_LBD_OBJS))
$(filter-out $(FUZZ_API),$(FUZZERS)): $(FUZZ_LBD_OBJS)
# lbctl's converter beside lbd's config, which judges what it prints.
IMPORT_OBJS := $(filter %/lbctl/core/format.o $(BUILD)/user/lbctl/import/%,$(LBCTL_OBJS))
$(BUILD)/tests/fuzz/fuzz_import $(filter $(BUILD)/tests/unit/import/%,$(UNIT_TESTS)): $(IMPORT_OBJS)
# What only drives the tested code needs no coverage, and is much faster without it.
ifdef FUZZ
$(SUPPORT_OBJS) $(filter %/packet_check.o %/packet_input.o %/packet_mutate.o %/packet_world.o %/packet_lists.o %/packet_translate.o %/base.o,$(FUZZ_OBJS)) $(BUILD)/tests/fuzz/fuzz_packets.o: \
	ALL_CFLAGS += -fno-sanitize=fuzzer-no-link
endif
$(FUZZERS): %: %.o $(FUZZ_OBJS) $(COMMON_OBJS) $(filter-out %/fake_lbd.o,$(SUPPORT_OBJS))
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LIBS_LBD) $(LIBS_COMMON) -lcmocka -lm

$(TOOLS): %: %.o $(COMMON_OBJS)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lbpf -lelf -lz $(LIBS_COMMON) -lm

# The benchmark's parts that need no measurement.
$(BUILD)/tests/unit/bench/test_bench: $(filter %/machine.o %/neighbour.o %/programs.o %/report.o %/scenarios.o,$(BENCH_NS_OBJS))

# Counts comparisons.
$(BUILD)/tests/unit/state/test_many: ALL_LDFLAGS += $(addprefix -Wl$(comma)--wrap=,addr_equal addr_compare strcmp config_same_service \
	config_check config_source_load)

# Devices that take their time, and the links of an earlier lbd.
$(BUILD)/tests/unit/attach/test_takeover: ALL_LDFLAGS += $(addprefix -Wl$(comma)--wrap=,if_nameindex pins_link_inspect link_replace attach_look \
	dataplane_program_fd dataplane_add_egress)

# A disk that stalls.
$(BUILD)/tests/unit/state/test_state_tasks: ALL_LDFLAGS += -Wl,--wrap=file_replace

# A database of users that does not answer.
$(BUILD)/tests/unit/events/test_actor: ALL_LDFLAGS += $(addprefix -Wl$(comma)--wrap=,getpwuid_r clock_monotonic_ms)

# A wall clock that has not been set.
$(BUILD)/tests/unit/api/test_changes: ALL_LDFLAGS += -Wl,--wrap=clock_wall_ms

# A file system that does not answer, and changes that take long.
$(BUILD)/tests/unit/sources/test_sources: ALL_LDFLAGS += $(addprefix -Wl$(comma)--wrap=,file_read clock_monotonic_ms state_source_apply)

# Sockets that take no long packet.
$(BUILD)/tests/unit/sources/test_etcd_fleet: ALL_LDFLAGS += -Wl,--wrap=socketpair -Wl,--wrap=setsockopt

# Answers that a root's test cannot get.
$(BUILD)/tests/unit/lbctl/test_lbctl_events: ALL_LDFLAGS += -Wl,--wrap=call_get

# Plays reloads.
$(BUILD)/tests/unit/fleet/test_peers: ALL_LDFLAGS += $(addprefix -Wl$(comma)--wrap=,state_config state_zone state_config_age state_generation)

# The ns benchmark holds lbd's own data plane code and a BPF program of its own.
$(BENCH_NS_OBJS): $(BUILD)/bench.skel.h
$(BENCH_NS): $(BENCH_NS_OBJS) $(COMMON_OBJS) $(filter-out %/main.o,$(LBD_OBJS))
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_LBD) $(LIBS_COMMON)

-include $(shell find $(BUILD) \( -name fresh -o -name kernels \) -prune -o -type f -name '*.d' -print 2>/dev/null)

# ---- what people call ----------------------------------------------------------------------------------------------

deps: ## install the Debian packages that building and testing need (root)
	@tools/deps build demo test

demo: ## the main features on real traffic, in namespaces; fails at the first step that fails (root; KEEP=1 leaves the lab up)
	@tools/deps build demo
	@$(MAKE) -j2 all tools
	@KEEP=$(KEEP) tools/demo

demo-pair: ## two balancers behind a router, BIRD on all three: one is killed under load, drained, blinded (root; KEEP=1 leaves the lab up)
	@tools/deps build demo pair
	@$(MAKE) -j2 all tools
	@KEEP=$(KEEP) tools/demo-pair

page: ## the page of the metrics listener in a headless Chromium: what it shows, axe-core, pictures in build/page (root; PAGE_CHECKS="..." for some)
	@tools/deps build demo test page
	@$(MAKE) -j2 all tools
	@PAGE=yes PAGE_CHECKS="$(PAGE_CHECKS)" tests/e2e/page.sh

check: ## every test, each with its name and result, and one summary line (root)
	@tools/deps build demo test pair vmtest
	@$(MAKE) -j2 tests
	@$(MAKE) -j2 tests SAN=1
	@$(MAKE) -j2 fuzzers FUZZ=1
	@exec env FUZZ_SEED=$(or $(FUZZ_SEED),1) tests/run $(TESTS_ONLY)

check-asan: ## unit, packet and some end-to-end tests under AddressSanitizer and UBSan alone (root; E2E=1: all end-to-end tests)
	@tools/deps build demo test pair
	@$(MAKE) -j2 tests SAN=1
	@E2E=$(E2E) tests/run asan

check-tsan: ## the tests of what takes turns between two threads, under ThreadSanitizer (root)
	@tools/deps build demo test
	@$(MAKE) -j2 all tools
	@$(MAKE) -j2 tsan-tests TSAN=1
	@setarch -R tests/run tsan

fuzz: ## fuzz targets for an hour each, two at a time; what breaks one is kept in build/fuzz/found (root; TARGET=packets for one, FUZZ_SECONDS=600)
	@tools/deps build test
	@$(MAKE) -j2 fuzzers FUZZ=1
	@JOBS=2 FUZZ_KEEP=1 FUZZ_SECONDS=$(or $(FUZZ_SECONDS),3600) FUZZ_RUNS=-1 tests/run $(if $(TARGET),$(addprefix fuzz_,$(TARGET)),fuzz)

bench: ## ns per packet beside two floors, then requests a second end to end; tables and build/bench.json (root; PLOT=1: plots too). Parts and scenarios: tools/bench --help
	@tools/deps build demo test bench
	@$(MAKE) -j2 all tools bench-programs
	@PLOT=$(PLOT) tools/bench $(BENCH)

floods: ## 8 million forged SYNs, ACKs, datagrams and fragments beside 1000 open and many new connections (root; FLOOD=, RATE=, CONTROL=)
	@tools/deps build demo test
	@$(MAKE) -j2 tests
	@FLOOD=$(or $(FLOOD),8000000) RATE=$(or $(RATE),60000) CONTROL=$(or $(CONTROL),1000000) QUIET=60 FLOOD_EVEN=yes tests/e2e/floods.sh

healthy: ## 10 minutes of load with passive checks, in which no healthy backend may be taken out (root; HEALTHY_S=)
	@tools/deps build demo test
	@$(MAKE) -j2 tests
	@HEALTHY_S=$(or $(HEALTHY_S),600) tests/e2e/connects.sh test_no_healthy_backend_is_taken_out_under_load

fleet: ## balancers that tell each other of their flows: 100 fail-overs at random times, loss and a flood, an upgrade of three (root; ROUNDS=, FLEET_YOUNG_S=, FLEET_LAG_MS=, FLEET_TOLD_MS=)
	@tools/deps build demo test
	@$(MAKE) -j2 tests
	@FLEET_ROUNDS=$(or $(ROUNDS),100) tests/e2e/peers.sh
	@tests/e2e/upgrade.sh
	@PAIR_BFD_MS=50 tests/e2e/announce.sh test_a_node_that_vanishes_costs_no_maglev_connection test_a_node_that_comes_back_costs_none_either
	@PAIR_VRRP_S=0.2 tests/e2e/vrrp.sh test_an_active_node_that_vanishes_costs_no_maglev_connection

model: ## the invariants of tracking and NAT over random sequences, 10 000 from seed 1 unless told otherwise (root; SEQUENCES=, SEED=)
	@tools/deps build test
	@$(MAKE) -j2 $(BUILD)/tests/bpf/test_invariant
	@LBD_SEED=$(or $(SEED),1) LBD_SEQUENCES=$(or $(SEQUENCES),10000) $(BUILD)/tests/bpf/test_invariant

mutants: ## faults put in on purpose, one at a time: which of them the tests catch (root; MUTANTS="sweep.c mark" for some; tools/mutants --help)
	@tools/deps build test
	@tools/mutants $(MUTANTS)

vmtest: ## the tests in virtual machines on every kernel of vmtest/kernels.txt (root; KERNEL=6.1 for one)
	@tools/deps build demo test vmtest
	@$(MAKE) -j2 tests
	@vmtest/run.sh $(or $(KERNEL),all) $(VMTESTS)

vmbench: ## lbd and IPVS side by side in one guest, forward: nat beside masquerading and nftables in another, as ratios (root)
	@tools/deps build demo test vmtest
	@$(MAKE) -j2 tests $(BUILD)/frames.bpf.o
	@vmtest/bench.sh $(KERNEL)

fresh: ## the README's commands on a fresh Debian 12: debootstrap, clone of HEAD, make demo, make check (root; FRESH="demo" for one; tools/fresh --help)
	@tools/fresh $(FRESH)

coverage: ## lines and branches of user/ that the unit tests run, file by file (root)
	@tools/deps build test coverage
	@$(MAKE) -j2 tests COV=1
	@find build/coverage -name '*.gcda' -delete
	@status=0; for program in $$(find build/coverage/tests/unit -name 'test_*' -type f -executable | sort); do \
		$$program >build/coverage/last.log 2>&1 || { cat build/coverage/last.log; status=1; }; done; \
	gcovr --root . --object-directory build/coverage --filter user/ --sort-percentage; exit $$status

compile_commands: ## build/compile_commands.json, for editors and clangd
	@tools/deps build demo test
	@$(MAKE) --no-print-directory --dry-run --always-make V=1 tests bench-programs | grep -E -- ' -c -o [^ ]+ [^ ]+\.c$$' | \
		jq -R -s --arg dir "$(CURDIR)" '[split("\n")[] | select(. != "") | {directory: $$dir, command: ., file: (split(" ") | last)}]' \
		>build/compile_commands.json
	@echo "build/compile_commands.json: $$(jq length build/compile_commands.json) files"

rooms: ## the rooms of user/lbd from top to bottom, and which includes which
	@tools/rooms

dist: ## build/lbd-VERSION.tar.gz: the tree of HEAD
	@git rev-parse -q --verify HEAD >/dev/null 2>&1 || { echo 'dist: it is made of a commit: expected a git repository' >&2; exit 1; }
	@mkdir -p build
	@git archive --prefix=lbd-$(VERSION)/ -o build/lbd-$(VERSION).tar.gz HEAD
	@echo build/lbd-$(VERSION).tar.gz

FORMATTED = $(shell git ls-files '*.c' '*.h')
SHELLED = configure tools/page-hashes tools/deb tools/debtest tools/containertest tools/man-config tools/clangs tools/deps tools/demo tools/demo-pair tools/bench tools/bench-bars tools/bench-daemon tools/bench-detect tools/bench-docs tools/bench-e2e tools/bench-plot tools/fresh tools/metrics-table tools/mutants tools/promises tools/rooms tools/bench-veth vmtest/guest/bench vmtest/guest/bench-nat vmtest/guest/run vmtest/guest/init tests/run .ci/run $(shell git ls-files '*.sh')

format: ## format every C file as .clang-format says
	@tools/deps lint
	@clang-format -i $(FORMATTED)

lint: ## formatting, cppcheck, shellcheck, the include rule, the tests that SECURITY.md names; any finding fails
	@tools/deps lint
	@clang-format --dry-run -Werror $(FORMATTED)
	@cppcheck -q --std=c11 --enable=warning,portability --inline-suppr --error-exitcode=1 --suppress=missingIncludeSystem \
		--suppress=nullPointerOutOfMemory --include=tools/cppcheck.h -Iinclude -Iuser -I. user include
	@tools/rooms --check
	@tools/promises --check
	@shellcheck -x -S warning $(wildcard $(SHELLED))

# Of a command: the program, its man page, and completion for three shells.
define install-command # NAME
	install -D -m 755 $(BUILD)/$(1) $(SBINDIR)/$(1)
	install -D -m 644 $(BUILD)/$(1).8 $(MANDIR)/man8/$(1).8
	install -D -m 644 $(BUILD)/$(1).bash $(BASHDIR)/$(1)
	install -D -m 644 $(BUILD)/$(1).zsh $(ZSHDIR)/_$(1)
	install -D -m 644 $(BUILD)/$(1).fish $(FISHDIR)/$(1).fish
endef
files-of-command = $(SBINDIR)/$(1) $(MANDIR)/man8/$(1).8 $(BASHDIR)/$(1) $(ZSHDIR)/_$(1) $(FISHDIR)/$(1).fish

install: all ## install lbd, lbctl, man pages, completions, systemd unit, its user and group, and an example config (PREFIX, DESTDIR)
	$(call install-command,lbctl)
	install -D -m 755 $(BUILD)/lbd $(SBINDIR)/lbd
	install -D -m 644 docs/lbd.8 $(MANDIR)/man8/lbd.8
	install -D -m 644 $(BUILD)/lbd.yaml.5 $(MANDIR)/man5/lbd.yaml.5
	install -d $(UNITDIR)
	sed 's|@SBINDIR@|$(PREFIX)/sbin|g' dist/lbd.service >$(UNITDIR)/lbd.service
	sed 's|@SBINDIR@|$(PREFIX)/sbin|g' dist/lbd-withdraw.service >$(UNITDIR)/lbd-withdraw.service
	install -D -m 644 dist/lbd.sysusers $(SYSUSERSDIR)/lbd.conf
	install -D -m 644 dist/lbd.tmpfiles $(TMPFILESDIR)/lbd.conf
	install -D -m 644 dist/lbd.yaml $(DESTDIR)/etc/lbd/lbd.yaml.example
	install -d $(DESTDIR)/etc/lbd/conf.d
	install -D -m 644 -t $(DOCDIR) dist/lbd-shared-interfaces.conf dist/alerts.yml dist/grafana.json dist/kubernetes.yaml dist/announce/*.conf
	$(if $(DESTDIR),,@getent passwd lbd >/dev/null || systemd-sysusers lbd.conf || \
		useradd --system $$(getent group lbd >/dev/null && echo -g lbd || echo --user-group) --no-create-home --shell /usr/sbin/nologin lbd)
	@echo 'Next: cp $(DESTDIR)/etc/lbd/lbd.yaml.example $(DESTDIR)/etc/lbd/lbd.yaml, edit it, and: systemctl daemon-reload && systemctl enable --now lbd'

install-backend: $(BUILD)/lbd-backend $(foreach kind,8 bash zsh fish,$(BUILD)/lbd-backend.$(kind)) ## on a backend: install lbd-backend and its unit (PREFIX, DESTDIR)
	$(call install-command,lbd-backend)
	install -d $(UNITDIR) $(DESTDIR)/etc/lbd-backend
	sed 's|@SBINDIR@|$(PREFIX)/sbin|g' dist/lbd-backend@.service >$(UNITDIR)/lbd-backend@.service
	@echo 'Next: write $(DESTDIR)/etc/lbd-backend/IFACE.conf as dist/lbd-backend.conf shows, and: systemctl daemon-reload && systemctl enable --now lbd-backend@IFACE'

# Where lbd is in another PREFIX (or of a package) its links and example are not ours to remove.
uninstall: ## remove what install put there; refuses while lbd runs, and detaches its program (the config, the user and the group stay)
	$(if $(DESTDIR),,@[ -x $(SBINDIR)/lbd ] || { echo 'uninstall: no lbd in $(SBINDIR): expected the PREFIX of make install, such as PREFIX=/usr; nothing was removed' >&2; exit 1; })
	$(if $(DESTDIR),,@[ ! -x $(SBINDIR)/lbctl ] || { $(SBINDIR)/lbctl detach --offline --all && $(SBINDIR)/lbctl detach --offline --all --pin /sys/fs/bpf/lbd; } || { echo 'uninstall: nothing was removed' >&2; exit 1; })
	rm -f $(call files-of-command,lbctl) $(SBINDIR)/lbd $(MANDIR)/man8/lbd.8 $(MANDIR)/man5/lbd.yaml.5 $(UNITDIR)/lbd.service $(UNITDIR)/lbd-withdraw.service \
		$(SYSUSERSDIR)/lbd.conf $(TMPFILESDIR)/lbd.conf $(DESTDIR)/etc/lbd/lbd.yaml.example \
		$(addprefix $(DOCDIR)/,lbd-shared-interfaces.conf alerts.yml grafana.json kubernetes.yaml $(notdir $(wildcard dist/announce/*.conf))) \
		$(DESTDIR)/etc/systemd/system/multi-user.target.wants/lbd.service
	-@rmdir $(DOCDIR) $(DESTDIR)/etc/lbd/conf.d $(DESTDIR)/etc/lbd 2>/dev/null || true

uninstall-backend: ## remove what install-backend put there; refuses while this host is set up as a backend
	$(if $(DESTDIR),,@! ls /run/lbd-backend/backend-host-*.json /run/lbd/backend-host-*.json 2>/dev/null | grep . || { echo 'uninstall-backend: this host is set up as a backend: systemctl disable --now lbd-backend@IFACE, or lbd-backend undo --iface IFACE; nothing was removed' >&2; exit 1; })
	rm -f $(call files-of-command,lbd-backend) $(UNITDIR)/lbd-backend@.service
	-@rmdir $(DESTDIR)/etc/lbd-backend $(if $(DESTDIR),,/run/lbd-backend) 2>/dev/null || true

deb: ## Debian packages lbd and lbd-backend, with debug symbols, of this tree in build/deb/
	@tools/deps build deb
	@tools/deb

debtest: ## packages built, installed, upgraded, removed and purged in fresh roots of Debian 12 and 13 (root; tools/debtest --help)
	@tools/debtest $(DEBTEST)

containertest: ## the image of dist/Containerfile, built on a Debian that debootstrap has made, and lbd in a container of it (root; tools/containertest --help)
	@tools/containertest $(CONTAINERTEST)

clean: ## remove build/, but not what vmtest and fresh fetched, nor packages
	rm -rf $(filter-out build/vmtest build/fresh build/deb,$(wildcard build/*))

distclean: ## remove build/ whole
	rm -rf build

help: ## this list
	@awk -F ' ## ' '/^[a-z_-]+:.* ## /{split($$1, t, ":"); printf "  make %-16s %s\n", t[1], $$2}' $(MAKEFILE_LIST)
	@echo 'Variables: V=1 (show commands), SAN=1 (sanitizers, into build/asan), COV=1 (coverage, into build/coverage), KEEP=1 (demo), KERNEL=6.1 (vmtest), PREFIX, DESTDIR.'
