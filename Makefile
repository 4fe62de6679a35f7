# SPDX-License-Identifier: GPL-2.0
#
# ksnif's front door; `make help` lists what there is.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
MAKEFLAGS   += --no-builtin-rules --no-print-directory

## KDIR: kernel build tree for `make` and `make install` (this machine's kernel)
## KERNEL: kernel of the VM: 6.1, 6.12, debug-6.1, debug-6.12, kcsan-6.12, or /path/bzImage with its KDIR=
## CONFIG: queue of the module: list or ring (per-CPU, lock-free)
## RUN: tests, mutants: only those that match this regular expression
## DEBUG_KERNEL: vmtest: the torture set runs on this kernel instead, such as debug-6.1
## SCRIPT: vm-run: the shell script to run in the VM
## IN: vm-run: a folder that the script can read at /in
## MEM: memory of the VM, such as 2G (1G)
## CPUS: processors of the VM (2)
## TIMEOUT: time limit of the VM, such as 90s or 20m
## ACCEL: kvm or tcg (kvm if it works here)
## ICOUNT: 1: the VM's clock counts instructions (tcg only)
## GDB: shell: 1: wait for gdb before the kernel starts
## IO: tests: auto has captures write past the page cache where they can (buffered)
## SEED: seed of the tests that choose at random
## MIRROR: a Debian mirror, on systems that are not Debian
## UPDATE: fetch: 1: take the newest packages, not those of the last time
## PREFIX: install: where tool, manual and completions go (/usr/local)
## DESTDIR: install: root of the system to install to
## INSTALL_MOD_PATH: install: root of lib/modules
# What is set on the command line or in the environment reaches the programs
# below by itself; these defaults do not, and are not meant to.
KDIR   ?= /lib/modules/$(shell uname -r)/build
CONFIG ?= $(if $(shell grep -s '^CONFIG_KSNIF_RING_BUFFER=y' .config),ring,list)
PREFIX ?= /usr/local

# A root shell without a login may lack these.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin:/usr/local/go/bin
# A name with a dot: what go builds there is no package of ours.
export TMPDIR ?= $(CURDIR)/out/.tmp

# The user's Go settings stay. One default is added: a checkout that belongs to
# somebody else (a container's mount) must not fail the build.
user_goflags := $(if $(filter command,$(firstword $(origin GOFLAGS))),$(GOFLAGS),$(shell go env GOFLAGS 2>/dev/null))
override GOFLAGS := $(strip $(user_goflags) $(if $(findstring -buildvcs,$(user_goflags)),,-buildvcs=false))
export GOFLAGS

PKGS_BUILD   := ca-certificates gcc libc6-dev libelf1 libssl3 make
PKGS_VM      := $(shell sed 's/\#.*//' images/packages.txt 2>/dev/null)
PKGS_VMTEST  := man-db tshark
PKGS_LINT    := perl shellcheck sparse xz-utils
PKGS_KERNEL  := bc bison flex libelf-dev
PKGS_MUTANTS := patch
PKGS_MENU    := kconfig-frontends-nox
PKGS_INSTALL := kmod

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.7.0
VERSION     := $(shell sed -n 's/.*KSNIF_VERSION.*"\(.*\)"/\1/p' kmod/ksnif.h)
GO_STATIC   := CGO_ENABLED=0 go build -trimpath -ldflags '-X main.version=$(VERSION)'

VM_KERNEL   := $(or $(KERNEL),6.1)
KERNELS     := $(or $(KERNEL),6.1 6.12)
KBUILD_ARGS  = $(if $(W),W=$(W)) $(if $(C),C=$(C)) $(if $(V),V=$(V))

.PHONY: all
all: bin/ksnifctl ## build bin/ksnifctl, and kmod/ksnif.ko for KDIR
	@if [[ ! -e $(KDIR)/include/generated/utsrelease.h ]]; then \
		printf '%s\n' \
			'bin/ksnifctl is built; the module is not: no kernel build tree at $(KDIR).' \
			"Install the package linux-headers-$$(uname -r), or set KDIR=," \
			'or see ksnif at work in a virtual machine, which needs none: make demo' >&2; \
		exit 1; \
	fi
	@kmod/build.sh $(KDIR) out/build/kdir-$(CONFIG) $(CONFIG) $(KBUILD_ARGS)
	@install -m 644 out/build/kdir-$(CONFIG)/ksnif.ko kmod/ksnif.ko

# --- virtual machines

.PHONY: demo vmtest vmtest-long vm-run mutants shell
demo: vm-ready ## from nothing to a capture in a VM: out/demo.pcapng
	@out/bin/vmtest-run demo -kernel $(VM_KERNEL) -config $(CONFIG)

vmtest: deps-vmtest modules vm-tools out/bin/tests ## all tests, on the host and in VMs
	@out/bin/vmtest-run all -kernels '$(KERNELS)' -debug '$(DEBUG_KERNEL)' -config $(CONFIG) $(if $(RUN),-run '$(RUN)')

vmtest-long: deps-vmtest modules vm-tools out/bin/tests ## the torture set in its long size; see KERNEL=
	@out/bin/vmtest-run all -long -kernels '$(or $(KERNEL),debug-6.1)' -config $(CONFIG) $(if $(RUN),-run '$(RUN)')

vm-run: script-given vm-ready ## run SCRIPT=file in a VM; its /out comes to out/vm-run/, emptied first
	@out/bin/vmtest-run script -kernel $(VM_KERNEL) -config $(CONFIG) \
		$(if $(IN),-in '$(IN)') '$(SCRIPT)'

mutants: deps-mutants vm-tools out/bin/tests ## plant each known bug in turn, and see its test catch it
	@out/bin/vmtest-run mutants -kernel $(VM_KERNEL) -config $(CONFIG) $(if $(RUN),-run '$(RUN)')

shell: vm-ready ## a root shell in a VM with the module loaded
	@out/bin/vmtest-run shell -kernel $(VM_KERNEL) -config $(CONFIG)

# --- what they are made of: asked every time, quick if nothing changed

.PHONY: FORCE script-given vm-ready vm-tools module modules deps-kernel
script-given:
	@[[ -f '$(SCRIPT)' ]] || { \
		echo "vm-run: SCRIPT='$(SCRIPT)': no such file (make vm-run SCRIPT=file)" >&2; exit 1; }

vm-ready: module vm-tools
vm-tools: deps-vm bin/ksnifctl out/bin/vmtest-run

module: out/bin/mk deps-vm deps-kernel
	@$(call build_module,$(VM_KERNEL),out/build,)

vmtest-long: KERNELS := $(or $(KERNEL),debug-6.1)
modules: out/bin/mk deps-vm deps-kernel
	@for kernel in $(sort $(KERNELS) $(DEBUG_KERNEL)); do $(call build_module,$$kernel,out/build,); done

# build_module: kernel, folder, arguments for kbuild
build_module = vars=$$(out/bin/mk kernel $(1)); eval "$$vars"; \
	KSNIF_OPTIONS="$$OPTIONS" kmod/build.sh "$$KDIR" "$(2)/$$(basename $(1))-$(CONFIG)" $(CONFIG) $(3) $(KBUILD_ARGS)

bin/ksnifctl: deps-build FORCE
	@$(GO_STATIC) -o $@ ./ctl/ksnifctl

out/bin/mk: deps-build FORCE
	@$(GO_STATIC) -o $@ ./images/mk

out/bin/vmtest-run: deps-build FORCE
	@$(GO_STATIC) -o $@ ./vmtest/run

out/bin/tests: deps-build FORCE
	@CGO_ENABLED=0 go test -c -trimpath -o $@ ./vmtest/tests

# --- checks

.PHONY: check lint
check: deps-build ## what needs no VM, in under a minute once it has run
	@.ci/lint go test

lint: deps-lint out/bin/mk ## checkpatch, sparse, W=1, 32-bit, gofmt, vet, staticcheck
	@STATICCHECK=$(STATICCHECK) .ci/lint go staticcheck shell size module

# --- measurements

## PART: bench: what to measure: cost, scale, slides, latency, cpus, memory or lines (cost)
## REPEATS: bench: how often, instead of what the part wants
.PHONY: bench bench-part
bench-part: out/bin/bench-run
	@out/bin/bench-run --check $(or $(PART),cost)

bench: bench-part vm-tools out/bin/bench-guest ## measure ksnif beside other programs: out/bench/; see PART=
	@$(MAKE) module CONFIG=list
	@$(MAKE) module CONFIG=ring
	@out/bin/bench-run --kernel $(VM_KERNEL) $(if $(REPEATS),--repeats $(REPEATS)) $(or $(PART),cost)

out/bin/bench-run: deps-build FORCE
	@$(GO_STATIC) -o $@ ./bench/run

out/bin/bench-guest: deps-build FORCE
	@$(GO_STATIC) -o $@ ./bench/guest

# --- fuzzing and coverage

## FUZZTIME: fuzz: time for each target, such as 30s (10s)

## MODULE_COVERAGE: coverage: percent of the module's lines that must run (90)
PKGS_COVERAGE   := lcov
GCOV2LCOV       := github.com/jandelgado/gcov2lcov@v1.1.1
MODULE_COVERAGE ?= 90

.PHONY: fuzz coverage deps-coverage
fuzz: deps-build ## run every fuzz target for FUZZTIME
	@.ci/fuzz $(FUZZTIME)

# The report is made of what failed, too; the exit status says that something did. Programs that note what ran of them
# have a folder of their own: nobody installs one.
GO_COVER := -trimpath -cover -coverpkg=./...
coverage: deps-coverage module vm-tools ## all tests, and what of the code they ran: out/coverage/index.html
	@rm -rf out/coverage; mkdir -p out/coverage/bin; \
	CGO_ENABLED=0 go build $(GO_COVER) -o out/coverage/bin/ksnifctl ./ctl/ksnifctl; \
	CGO_ENABLED=0 go test -c $(GO_COVER) -o out/coverage/bin/tests ./vmtest/tests; \
	status=0; \
	out/bin/vmtest-run all -kernels '$(VM_KERNEL)' -config $(CONFIG) -cover '$(CURDIR)/out/coverage/bin' \
		$(if $(RUN),-run '$(RUN)') || status=$$?; \
	place=$$(basename '$(VM_KERNEL)')-$(CONFIG); \
	.ci/coverage $(GCOV2LCOV) $(MODULE_COVERAGE) "out/build/$$place" "out/vmtest/$$place" || status=$$?; \
	exit $$status
deps-coverage:
	@.ci/deps -vm $(PKGS_BUILD) $(PKGS_VM) $(PKGS_VMTEST) $(PKGS_COVERAGE)

# --- generated code, build options, downloads

.PHONY: gen menuconfig olddefconfig fetch
gen: deps-build ## write the generated code anew from genl/ksnif.yaml
	@go run ./genl/gen

menuconfig: deps-menu ## choose build options in a menu; kept in .config
	@mconf='$(KDIR)/scripts/kconfig/mconf'; \
	[[ -x $$mconf ]] || mconf=kconfig-mconf; \
	KCONFIG_CONFIG=.config "$$mconf" Kconfig

olddefconfig: deps-build out/bin/mk ## write .config: your choices, defaults for the rest
	@conf='$(KDIR)/scripts/kconfig/conf'; \
	if [[ ! -x $$conf ]]; then \
		vars=$$(out/bin/mk kernel $(VM_KERNEL)); eval "$$vars"; \
		conf=$$KDIR/scripts/kconfig/conf; \
	fi; \
	mkdir -p out/kconfig; \
	KCONFIG_CONFIG=.config KCONFIG_AUTOCONFIG=out/kconfig/auto.conf \
		KCONFIG_AUTOHEADER=out/kconfig/autoconf.h KCONFIG_RUSTCCFG=out/kconfig/rustc_cfg \
		"$$conf" --olddefconfig Kconfig

fetch: deps out/bin/mk ## download everything, so that the rest works offline
	@out/bin/mk fetch $(if $(filter-out 0,$(UPDATE)),-update)
	@go mod download
	@go run $(STATICCHECK) -version
	@go mod download $(GCOV2LCOV)

# --- packages of this machine

.PHONY: deps deps-build deps-vm deps-vmtest deps-lint deps-menu deps-install
deps: ## install the Debian packages that are missing
	@.ci/deps -vm $(PKGS_BUILD) $(PKGS_VM) $(PKGS_VMTEST) $(PKGS_LINT) $(PKGS_KERNEL) $(PKGS_MUTANTS) $(PKGS_MENU) $(PKGS_INSTALL)
deps-build:
	@.ci/deps $(PKGS_BUILD)
deps-vm:
	@.ci/deps -vm $(PKGS_BUILD) $(PKGS_VM)
deps-vmtest:
	@.ci/deps -vm $(PKGS_BUILD) $(PKGS_VM) $(PKGS_VMTEST)
deps-lint:
	@.ci/deps -vm $(PKGS_BUILD) $(PKGS_VM) $(PKGS_LINT)
deps-kernel: # what building a debug kernel needs, if one is asked for
	@$(if $(findstring debug-,$(KERNELS) $(DEBUG_KERNEL) $(VM_KERNEL))$(findstring kcsan-,$(KERNELS) $(DEBUG_KERNEL) $(VM_KERNEL)),.ci/deps $(PKGS_BUILD) $(PKGS_KERNEL))
deps-mutants:
	@.ci/deps -vm $(PKGS_BUILD) $(PKGS_VM) $(PKGS_KERNEL) $(PKGS_MUTANTS)
deps-menu:
	@.ci/deps $(PKGS_BUILD) $(PKGS_MENU)
deps-install:
	@.ci/deps $(PKGS_INSTALL)

# --- installation

share    = $(DESTDIR)$(PREFIX)/share
mod_root = $(DESTDIR)$(INSTALL_MOD_PATH)
bash_dir = $(share)/bash-completion/completions
zsh_dir  = $(share)/zsh/site-functions
fish_dir = $(share)/fish/vendor_completions.d

.PHONY: install uninstall
install: deps-install $(if $(wildcard bin/ksnifctl),$(if $(wildcard kmod/ksnif.ko),,all),all) ## install module, tool, manual pages and completions
	@install -D -m 755 bin/ksnifctl '$(DESTDIR)$(PREFIX)/sbin/ksnifctl'
	@install -d '$(share)/man/man8' '$(bash_dir)' '$(zsh_dir)' '$(fish_dir)'
	@bin/ksnifctl man '$(share)/man/man8'
	@bin/ksnifctl completion bash > '$(bash_dir)/ksnifctl'
	@bin/ksnifctl completion zsh > '$(zsh_dir)/_ksnifctl'
	@bin/ksnifctl completion fish > '$(fish_dir)/ksnifctl.fish'
	@newer=$$(find kmod -name '*.[ch]' ! -name '*.mod.c' ! -path 'kmod/config/*' -newer kmod/ksnif.ko -print -quit); \
	[[ -z $$newer ]] || echo "note: $$newer is newer than kmod/ksnif.ko, which is installed as it is: make builds it" >&2
	@release=$$(modinfo -F vermagic kmod/ksnif.ko | cut -d' ' -f1); \
	install -D -m 644 kmod/ksnif.ko "$(mod_root)/lib/modules/$$release/updates/ksnif.ko"; \
	$(call depmod,$$release); \
	echo "installed: $(DESTDIR)$(PREFIX)/sbin/ksnifctl, and ksnif.ko for $$release"

uninstall: deps-install ## remove what install installed, for every kernel
	@rm -f '$(DESTDIR)$(PREFIX)/sbin/ksnifctl' '$(share)'/man/man8/ksnifctl*.8 \
		'$(bash_dir)/ksnifctl' '$(zsh_dir)/_ksnifctl' '$(fish_dir)/ksnifctl.fish'
	@for module in '$(mod_root)'/lib/modules/*/updates/ksnif.ko; do \
		[[ -e $$module ]] || continue; \
		dir=$${module%/updates/ksnif.ko}; rm -f "$$module"; \
		if [[ -e $$dir/modules.order ]]; then $(call depmod,$${dir##*/}); \
		else rm -f "$$dir"/modules.*; fi; \
	done

# depmod: below DESTDIR there is no kernel whose lists it could miss.
depmod = depmod -b '$(or $(mod_root),/)' "$(1)" 2> >(grep -v 'could not open modules\.' >&2)

# --- the rest

.PHONY: clean distclean help lab
clean: ## remove what was built, and all results in out/
	@rm -rf bin out kmod/config
	@find kmod \( -name '*.o' -o -name '*.ko' -o -name '*.mod' -o -name '*.mod.c' -o -name '.*.cmd' \
		-o -name Module.symvers -o -name modules.order \) -delete

distclean: clean ## remove .config, too; the cache of downloads stays
	@rm -f .config .config.old
	@echo "downloads are kept in $${KSNIF_CACHE:-$${XDG_CACHE_HOME:-$$HOME/.cache}/ksnif}"

lab: ## course (comes later)
lab:
	@echo 'make $@ comes with a later release' >&2; exit 1

help: ## this list
	@echo 'Targets:'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' Makefile
	@echo 'Variables:'
	@awk '/^## [A-Z_]+: / { name = $$2; sub(":", "", name); sub(/^## [A-Z_]+: /, ""); printf "  %-18s %s\n", name, $$0 }' Makefile
