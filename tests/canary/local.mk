# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# What a worker that has been taken over can do; see canary.c. The filter of
# instrumented builds passes more, so that there these tests say nothing: they
# are not built, nor part of "make check".
if !INSTRUMENTED
check_PROGRAMS += tests/canary/canary-worker tests/canary/canary-unfiltered \
	tests/canary/shmemd-unfiltered
BATS_TESTS += tests/canary.bats

tests_canary_canary_worker_CFLAGS = $(vhost_shmemd_worker_CFLAGS) \
	$(LIBSECCOMP_CFLAGS)
tests_canary_canary_worker_SOURCES = $(vhost_shmemd_worker_SOURCES) \
	tests/canary/canary.c
tests_canary_canary_worker_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=vus_dispatch
tests_canary_canary_worker_LDADD = $(vhost_shmemd_worker_LDADD)

tests_canary_canary_unfiltered_CFLAGS = $(tests_canary_canary_worker_CFLAGS)
tests_canary_canary_unfiltered_SOURCES = $(tests_canary_canary_worker_SOURCES) \
	tests/canary/unfiltered.c
tests_canary_canary_unfiltered_LDFLAGS = \
	$(tests_canary_canary_worker_LDFLAGS) -Wl,--wrap=seccomp_load
tests_canary_canary_unfiltered_LDADD = $(vhost_shmemd_worker_LDADD)

# A worker inherits the spawner's filter.
tests_canary_shmemd_unfiltered_CFLAGS = $(vhost_shmemd_CFLAGS) \
	$(LIBSECCOMP_CFLAGS)
tests_canary_shmemd_unfiltered_SOURCES = $(vhost_shmemd_SOURCES) \
	tests/canary/unfiltered.c
tests_canary_shmemd_unfiltered_LDFLAGS = \
	$(AM_LDFLAGS) -Wl,--wrap=seccomp_load
tests_canary_shmemd_unfiltered_LDADD = $(vhost_shmemd_LDADD)
endif

EXTRA_DIST += tests/canary.bats tests/canary/attack
