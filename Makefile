# SPDX-License-Identifier: GPL-2.0-only
#
# The only front door. The module is built by the kernel's own build system, one folder for each
# kernel release: build/RELEASE/ holds links to the sources, so that objects never mix.

VERSION := 0.1.0
PREFIX ?= /usr/local
DESTDIR ?=

# Where headers are: installed, or unpacked by tools/setup.
CACHE := $(or $(DM_REMAP_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/dm-remap)
kernel_dirs = $(wildcard /lib/modules/$(1)/build \
	$(foreach d,kernels debug/kernels,$(CACHE)/$(d)/$(1)/lib/modules/$(1)/build))
# The running kernel if there are headers for it, else the newest with headers.
KVER ?= $(firstword $(foreach r,$(shell uname -r; ls -1 /lib/modules $(CACHE)/kernels 2>/dev/null \
	| sort -rV),$(if $(call kernel_dirs,$(r)),$(r))))
KDIR ?= $(or $(firstword $(call kernel_dirs,$(KVER))),/lib/modules/$(KVER)/build)

PACKAGES := devmapper blkid libudev json-c
CC := gcc
CFLAGS ?= -O2 -g
WARNINGS := -Wall -Wextra -Werror -Wshadow -Wconversion
CPPFLAGS := -D_GNU_SOURCE -DDM_REMAP_VERSION='"$(VERSION)"' -Ikernel -Iinclude -Iuser/lib \
	-isystem build/bpf
COMPILE = $(CC) -std=gnu11 $(CFLAGS) $(WARNINGS) $(CPPFLAGS) $(PKG_CFLAGS) -MMD -MP
PKG_CFLAGS = $(shell pkg-config --cflags $(PACKAGES))
PKG_LIBS = $(shell pkg-config --libs $(PACKAGES))
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

Q := @
quiet = @printf '  %-7s %s\n' '$(1)' '$(2)';
KBUILD_QUIET := -s
ifeq ($(V),1)
Q :=
quiet :=
KBUILD_QUIET := V=1
endif

# What is there. format.c and map.c are the module's, the tools' and the tests'.
shared_src := $(wildcard kernel/format.c kernel/map.c)
# Telemetry needs clang, bpftool and libbpf; what does not use it is built without them.
telemetry_src := user/lib/telemetry.c
lib_src := $(shared_src) $(filter-out $(telemetry_src),$(wildcard user/lib/*.c))
lib_obj := $(lib_src:%.c=build/%.o)
tool_ctl := remapctl
tool_agent := remap-agent
tool_top := remap-top
tool_dirs := $(foreach d,ctl agent top,$(if $(wildcard user/$(d)/$(tool_$(d)).c),$(d)))
tools := $(foreach t,$(tool_dirs),build/bin/$(tool_$(t)))
unit_src := $(wildcard tests/unit/test_*.c)
unit_support := $(filter-out $(unit_src),$(wildcard tests/unit/*.c))
unit_programs := $(unit_src:tests/unit/%.c=build/unit/%)
unit_obj := $(patsubst %.c,build/unit/obj/%.o,$(lib_src) $(telemetry_src) \
	$(addprefix user/agent/,policy.c config.c state.c smart.c share.c child.c say.c clock.c) \
	$(addprefix user/ctl/,describe.c judge.c output.c progress.c report.c surface.c) \
	user/top/judge.c $(unit_support))
fuzzers := $(patsubst tests/fuzz/%.c,build/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
vm_programs := $(patsubst tests/vm/%.c,build/tests/%,$(wildcard tests/vm/*.c))
man_pages := $(wildcard user/*/*.[58])
units := $(wildcard user/*/*.service.in)
configs := $(wildcard user/*/*.conf)
module_src := $(wildcard kernel/*.[ch]) kernel/Kbuild
module := build/$(KVER)/dm-remap.ko

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all module tools programs fuzzers setup check unit check-vm check-debug torture \
	fuzz mutants demo bench bench-map bench-scaling vmlinux-check lint install uninstall \
	clean help print-flags print-kdir FORCE

all: module tools ## build the module for KVER and the user tools
module: $(module) ## build only the module for KVER
tools: $(tools) ## build only the user tools
programs: tools $(unit_programs) $(vm_programs) ## build tools and test programs

# --- the module

$(module): $(module_src) $(wildcard include/remap/*.h) $(KDIR)/include/generated/autoconf.h Makefile
	$(call quiet,KMOD,$(KVER))mkdir -p $(@D)
	$(Q)find $(@D) -maxdepth 1 -type l -delete
	$(Q)ln -s $(addprefix ../../,$(module_src) include) $(@D)/
	$(Q)$(MAKE) $(KBUILD_QUIET) --no-print-directory -C $(KDIR) M=$(CURDIR)/$(@D) \
		CONFIG_DEBUG_INFO_BTF_MODULES= KCFLAGS='-DDM_REMAP_VERSION=\"$(VERSION)\"' \
		$(KBUILD_ARGS) modules
	$(Q)touch $@

/lib/modules/%/build/include/generated/autoconf.h:
	@echo "no headers for kernel $* (make setup installs some; KVER= selects)" >&2; exit 1

# --- BPF: one object for all kernels, and what user space needs to load it

BPF_CFLAGS := -std=gnu11 -g -O2 -target bpf -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-parameter \
	-Ivmlinux -Iinclude
skeleton := build/bpf/telemetry.skel.h

build/bpf/%.bpf.o: bpf/%.bpf.c include/remap/telemetry.h vmlinux/vmlinux.h Makefile
	$(call quiet,BPF,$<)mkdir -p $(@D) && clang $(BPF_CFLAGS) -c -o $@ $<

build/bpf/%.skel.h: build/bpf/%.bpf.o
	$(call quiet,SKEL,$@)bpftool gen skeleton $< name $*_bpf >$@

# --- user space

$(foreach d,build build/unit/obj,$(d)/user/lib/telemetry.o): $(skeleton)

build/%.o: %.c Makefile
	$(call quiet,CC,$<)mkdir -p $(@D) && $(COMPILE) -c -o $@ $<

build/lib/libremap.a: $(lib_obj) build/sources
	$(call quiet,AR,$@)mkdir -p $(@D) && rm -f $@ && $(AR) rcs $@ $(lib_obj)

# What is linked from a list of files is linked again when a file joins or leaves.
build/sources: FORCE
	@mkdir -p $(@D); echo '$(sort $(wildcard kernel/*.c user/*/*.c tests/unit/*.c))' >$@.new; \
	if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

# Objects and libraries that not all tools need: TOOL_obj, TOOL_packages.
ctl_obj := build/user/lib/telemetry.o
ctl_packages := libbpf
agent_obj := build/user/lib/telemetry.o
agent_packages := libbpf libsystemd inih libmicrohttpd
top_obj := build/user/lib/telemetry.o
top_packages := libbpf ncursesw

define tool_rule
build/bin/$(tool_$(1)): $(patsubst %.c,build/%.o,$(wildcard user/$(1)/*.c)) $($(1)_obj) \
	build/lib/libremap.a build/sources
	$$(call quiet,LD,$$@)mkdir -p $$(@D) && $$(CC) $$(CFLAGS) $$(LDFLAGS) -o $$@ \
		$$(filter %.o %.a,$$^) $$(PKG_LIBS) \
		$(if $($(1)_packages),$$(shell pkg-config --libs $($(1)_packages)))
endef
$(foreach t,$(tool_dirs),$(eval $(call tool_rule,$(t))))

# --- tests

# The kernel's part of it is a fake there.
build/unit/obj/tests/unit/test_meta.o: CPPFLAGS += -isystem tests/unit/fake

build/unit/obj/%.o: %.c Makefile
	$(call quiet,CC,$< (sanitised))mkdir -p $(@D) && $(COMPILE) $(SANITIZE) -c -o $@ $<

# What a test wants of the linker: TEST_ldflags. test_crash remembers checksums, or it would take
# minutes.
crash_ldflags := -Wl,--wrap=remap_crc32c

build/unit/test_%: build/unit/obj/tests/unit/test_%.o $(unit_obj) build/sources
	$(call quiet,LD,$@)$(CC) $(CFLAGS) $(SANITIZE) $($*_ldflags) -o $@ $(filter %.o,$^) \
		$(PKG_LIBS) $(shell pkg-config --libs cmocka libbpf inih libsystemd)

# libFuzzer is clang's, so all that it is to see into is built by clang.
build/fuzz/%: tests/fuzz/%.c tests/fuzz/fuzz.h $(lib_src) $(wildcard kernel/*.h user/lib/*.h) \
		Makefile
	$(call quiet,FUZZER,$<)mkdir -p $(@D) && clang -g -O1 $(CPPFLAGS) $(PKG_CFLAGS) \
		-fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -o $@ $< \
		$(lib_src) $(PKG_LIBS)

# What a program needs beyond libc: PROGRAM_libs.
torture_libs := -luring -ldevmapper
powercut_libs := build/lib/libremap.a -ldevmapper
telemetry_libs = build/user/lib/telemetry.o build/lib/libremap.a $(PKG_LIBS) \
	$(shell pkg-config --libs libbpf)
build/tests/telemetry: build/user/lib/telemetry.o

# The one process of the bench's guest; see tools/bench.
build/bench/init: $(wildcard tests/bench/*.[ch] kernel/*.h include/remap/*.h) kernel/format.c \
		$(addprefix user/lib/,crc32c.c err.c telemetry.c text.c) $(skeleton) Makefile
	$(call quiet,CC,$@)mkdir -p $(@D) && $(CC) -std=gnu11 -O2 $(WARNINGS) $(CPPFLAGS) -static \
		-o $@ $(filter %.c,$^) $(shell pkg-config --static --libs libbpf)

# The kernel counts bits by an instruction, where there is one; so does this.
build/bench/lookup: tests/bench/map/lookup.c tests/map_bytes.h kernel/map.c kernel/map.h \
		kernel/shim.h Makefile
	$(call quiet,CC,$<)mkdir -p $(@D) && $(COMPILE) $(if $(filter x86_64,$(shell uname -m)),\
		-mpopcnt) -o $@ $< -pthread

build/tests/%: tests/vm/%.c build/lib/libremap.a Makefile
	$(call quiet,CC,$<)mkdir -p $(@D) && $(COMPILE) -o $@ $< -pthread $($*_libs)

fuzzers: $(fuzzers)

setup: ## install what building and testing need, as root
	$(Q)tools/setup

check: ## everything: build for each kernel series, unit tests, VM suites (KERNELS= SUITES=)
	$(Q)tools/setup
	+$(Q)tools/check unit fuzz host bench vm

unit: ## unit tests, with sanitizers, on this machine
	+$(Q)tools/check unit

check-vm: ## VM suites alone (KERNELS="6.12" SUITES="tests/vm/x.bats" LONG=1)
	+$(Q)LONG='$(LONG)' tools/check vm

check-debug: ## VM suites on kernels that watch themselves (DEBUG="kasan kcsan" SUITES=)
	$(Q)tools/setup
	+$(Q)tools/check debug

torture: ## random I/O and faults for long, in a VM (SECONDS= SEED= PROFILE= OPS= KERNELS=)
	+$(Q)FOR='$(SECONDS)' SEED='$(SEED)' PROFILE='$(PROFILE)' OPS='$(OPS)' tools/torture

fuzz: ## hostile metadata and lists, for each fuzzer (SECONDS=, 60 if not told)
	+$(Q)FOR='$(or $(SECONDS),60)' tools/check fuzz

mutants: ## broken copies of the module, each to be caught by a test (MUTANTS="name..." KERNELS=)
	+$(Q)tools/mutants $(MUTANTS)

demo: setup ## what it does, shown in a VM
	+$(Q)tools/check build
	$(Q)tools/vm -- tools/demo

bench: ## instructions for each I/O, against the budgets (KERNELS= BENCH="--short --verbose")
	+$(Q)tools/bench $(BENCH)

bench-scaling: ## dm-linear and dm-remap on one CPU and on two (KERNEL=6.12)
	+$(Q)KERNEL='$(KERNEL)' tests/bench/scaling.bash

bench-map: ## time of a look-up in the map, beside other structures, on this machine (MAX=remaps)
	$(Q)tools/setup
	+$(Q)MAX='$(MAX)' tools/bench-map

vmlinux-check: ## the kernel's types that the BPF programs read, against the kernels (KERNELS=)
	$(Q)tools/vmlinux-check

lint: $(skeleton) ## static checks of scripts, sources, man pages
	+$(Q)tools/lint

# --- installation

# Without KVER= the module is for the newest headers, which need not be the kernel that runs.
install: all ## install module, tools, service and man pages (DESTDIR, PREFIX)
ifeq ($(origin KVER)$(DESTDIR),file)
	$(Q)[ '$(KVER)' = "$$(uname -r)" ] || { echo "install: no headers for the running kernel:" \
		"install linux-headers-$$(uname -r), or say KVER=$(KVER)" >&2; exit 1; }
endif
	$(Q)install -D -m 644 $(module) $(DESTDIR)/lib/modules/$(KVER)/updates/dm-remap.ko
	$(Q)if [ -n '$(tools)' ]; then install -D -t $(DESTDIR)$(PREFIX)/sbin $(tools); fi
	$(Q)for f in $(man_pages); do \
		install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man$${f##*.} $$f || exit; done
	$(Q)for f in $(units); do n=$${f##*/}; \
		install -d $(DESTDIR)$(PREFIX)/lib/systemd/system && \
		sed 's|@SBINDIR@|$(PREFIX)/sbin|' $$f \
			>$(DESTDIR)$(PREFIX)/lib/systemd/system/$${n%.in} || exit; done
	$(Q)for f in $(configs); do [ -e $(DESTDIR)/etc/$${f##*/} ] || \
		install -D -m 644 -t $(DESTDIR)/etc $$f || exit; done
	$(Q)[ -n '$(DESTDIR)' ] || depmod $(KVER)

uninstall: ## remove what install put there
	$(Q)rm -f $(DESTDIR)/lib/modules/$(KVER)/updates/dm-remap.ko \
		$(addprefix $(DESTDIR)$(PREFIX)/sbin/,$(notdir $(tools))) \
		$(foreach f,$(man_pages),$(DESTDIR)$(PREFIX)/share/man/man$(patsubst .%,%,$(suffix \
			$(f)))/$(notdir $(f))) \
		$(patsubst %.in,$(DESTDIR)$(PREFIX)/lib/systemd/system/%,$(notdir $(units)))
	$(Q)[ -n '$(DESTDIR)' ] || depmod $(KVER)

clean: ## remove build/
	$(Q)rm -rf build

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14
	@echo "  V=1 shows the commands; KVER=$(KVER)"

print-kdir:
	@:$(info $(KDIR))

print-flags:
	@:$(info -std=gnu11 -O2 $(WARNINGS) $(CPPFLAGS) $(PKG_CFLAGS))

-include $(shell find build -name '*.d' -not -path 'build/lint/*' 2>/dev/null)
