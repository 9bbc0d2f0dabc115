# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# make check          unit tests (cmocka) and the programs (bats); no network,
#                     no root, though as root more of it applies
# make check-guest    real guests under QEMU 11.1; as root, see tests/guest/
# make check-rust-vmm a front-end on the real crate vhost 0.17; as root
# make check-package  the Debian package, in a Debian 12 and a Debian forky; as root
# make bench-memory   what memory sharing saves, with real guests; as root
# make check-valgrind the programs under valgrind (configure --enable-valgrind)
# make check-fuzz     the fuzzers, a minute each (configure --enable-fuzz)
# make coverage       what of proto/ the unit tests reach
# make lint           format, static analysis, shell scripts
# make update-seccomp rewrite the lists of system calls of each CPU
# make update-manual  rewrite the manual's tables: of the profiles and of system
#                     calls, from what the programs answer (on amd64); of what
#                     works, from tests/run-all

TEST_EXTENSIONS = .bats
TAP_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
LOG_DRIVER = $(TAP_DRIVER)
BATS_LOG_DRIVER = $(TAP_DRIVER)
BATS_LOG_COMPILER = $(BATS)
AM_BATS_LOG_FLAGS = --tap

AM_TESTS_ENVIRONMENT = \
	top_srcdir='$(abs_top_srcdir)'; export top_srcdir; \
	top_builddir='$(abs_top_builddir)'; export top_builddir; \
	MALLOC_PERTURB_=85; export MALLOC_PERTURB_;

# The longest first, or the last of them runs alone at the end.
BATS_TESTS = \
	tests/hostile.bats \
	tests/ring.bats \
	tests/protocol.bats \
	tests/lifecycle.bats \
	tests/map.bats \
	tests/confinement.bats \
	tests/serve.bats \
	tests/reload.bats \
	tests/ctl.bats \
	tests/control.bats
include tests/canary/local.mk
BATS_TESTS += \
	tests/activation.bats \
	tests/client.bats \
	tests/completion.bats \
	tests/conf.bats \
	tests/dialects.bats \
	tests/flusher.bats \
	tests/inband.bats \
	tests/manual.bats \
	tests/memory.bats \
	tests/options.bats \
	tests/patience.bats \
	tests/raw.bats \
	tests/run-all.bats \
	tests/strace.bats
# The filters of instrumented builds pass more, those of the hosts that are played
# and of units do not, crashes are caught, and processes are larger and cannot be traced: there
# these say nothing; or nothing new.
PLAIN_TESTS = tests/systemd.bats tests/hosts.bats tests/attack/queues.bats \
	tests/limits.bats tests/flush.bats tests/scale.bats \
	tests/house.bats tests/seccomp.bats
if !INSTRUMENTED
BATS_TESTS += $(PLAIN_TESTS)
endif
EXTRA_DIST += $(PLAIN_TESTS) tests/attack/attack tests/attack/queues.py
# In two halves, which take as long as each other.
GUEST_TESTS_1 = tests/guest/harness.bats tests/guest/guest.bats \
	tests/guest/rings.bats tests/guest/uml.bats
GUEST_TESTS_2 = tests/guest/clients.bats tests/guest/ctl.bats \
	tests/guest/devices.bats tests/guest/host.bats \
	tests/guest/manual.bats tests/guest/memory.bats
GUEST_TESTS = $(GUEST_TESTS_1) $(GUEST_TESTS_2)

if HAVE_BATS
TESTS += $(BATS_TESTS)
endif
include tests/unit/local.mk

# What says the most about the compiler and the C library, and takes a minute.
check-short:
	$(MAKE) $(AM_MAKEFLAGS) check \
	    TESTS='$(UNIT_TESTS) tests/confinement.bats tests/map.bats tests/raw.bats'
.PHONY: check-short

# What reaches the most of the C library: its functions, and the system calls
# that it makes for them in a confined worker.
LIBC_TESTS = $(UNIT_TESTS) tests/client.bats tests/conf.bats \
	tests/confinement.bats tests/ctl.bats \
	tests/map.bats tests/memory.bats tests/options.bats \
	tests/protocol.bats tests/raw.bats
check-libc:
	$(MAKE) $(AM_MAKEFLAGS) check TESTS='$(LIBC_TESTS)'
	$(AM_TESTS_ENVIRONMENT) $(BATS) --tap --filter 'device states' \
	    $(abs_top_srcdir)/tests/hostile.bats
.PHONY: check-libc
include tests/fuzz/local.mk
include tests/seccomp/local.mk

# A worker that does wrong what it is told to.
check_PROGRAMS += tests/helpers/bad-worker
tests_helpers_bad_worker_LDADD = daemon/libshmemd.a sandbox/libsandbox.a \
	$(LIBSECCOMP_LIBS) $(LIBCAP_NG_LIBS)

EXTRA_DIST += $(BATS_TESTS) tests/hostile tests/vuctl tests/helpers/common.bash tests/includes \
	tests/helpers/contain tests/helpers/control-server \
	tests/helpers/crowd tests/helpers/disk \
	tests/helpers/lingerers tests/helpers/manager.py tests/helpers/odd-backend \
	tests/helpers/status.json tests/helpers/systemd.bash \
	tests/helpers/under-systemd \
	tests/helpers/zsh-offers

check-guest: check-guest-1 check-guest-2
check-guest-1 check-guest-2: all
	$(AM_TESTS_ENVIRONMENT) $(BATS) --tap $(addprefix $(abs_top_srcdir)/, \
	    $(if $(filter check-guest-1,$@),$(GUEST_TESTS_1),$(GUEST_TESTS_2)))
.PHONY: check-guest check-guest-1 check-guest-2

bench-memory: all
	$(AM_TESTS_ENVIRONMENT) $(srcdir)/tests/bench/memory
.PHONY: bench-memory
EXTRA_DIST += tests/bench/README.md tests/bench/memory

# The Debian package, in a Debian of its own, two at a time.
check-package: check-package-bookworm check-package-forky
check-package-bookworm check-package-forky: dist
	$(AM_TESTS_ENVIRONMENT) SUITE=$(@:check-package-%=%) \
	    TARBALL=$(abs_builddir)/$(distdir).tar.xz \
	    $(BATS) --tap --filter-tags '!$(if $(filter %-forky,$@),bookworm,forky)' \
	    $(abs_top_srcdir)/tests/package/package.bats
.PHONY: check-package check-package-bookworm check-package-forky
EXTRA_DIST += tests/package/enforced tests/package/package.bats \
	tests/package/small-root

RUST_VMM_TESTS = tests/rust-vmm/rust-vmm.bats
EXTRA_DIST += $(RUST_VMM_TESTS) tests/rust-vmm/Cargo.toml \
	tests/rust-vmm/build tests/rust-vmm/src
check-rust-vmm: all
	$(AM_TESTS_ENVIRONMENT) $(BATS) --tap \
	    $(addprefix $(abs_top_srcdir)/,$(RUST_VMM_TESTS))
.PHONY: check-rust-vmm

check-valgrind: all
	$(AM_TESTS_ENVIRONMENT) unset MALLOC_PERTURB_; \
	    $(BATS) --tap $(abs_top_srcdir)/tests/valgrind.bats
.PHONY: check-valgrind

coverage:
	$(srcdir)/tests/coverage $(builddir)/coverage
.PHONY: coverage
EXTRA_DIST += tests/coverage

lint: all
	$(srcdir)/tests/lint $(builddir)
.PHONY: lint

update-manual: all
	$(AM_TESTS_ENVIRONMENT) $(srcdir)/tests/what-works --profiles --update
	$(AM_TESTS_ENVIRONMENT) $(srcdir)/tests/what-works --calls --update
	$(srcdir)/tests/what-works --update
.PHONY: update-manual
EXTRA_DIST += tests/what-works tests/helpers/examples tests/helpers/words

EXTRA_DIST += tests/bench/many-devices tests/bench/start \
	tests/valgrind.bats tests/lint tests/run-all \
	tests/legs/glibc tests/legs/in-root tests/legs/musl \
	$(GUEST_TESTS) tests/guest/README.md tests/guest/debian-root \
	tests/guest/forky-root \
	tests/guest/helpers.bash tests/guest/lib.bash \
	tests/guest/make-initramfs tests/guest/rootfs \
	tests/guest/shm-bar.c tests/guest/uml-init \
	tests/guest/virtio-blk.py tests/guest/virtio-user.py \
	tests/guest/vm tests/guest/vsock-ask.c \
	tests/guest/without-packed.py
