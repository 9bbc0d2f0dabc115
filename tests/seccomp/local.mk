# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# What the seccomp filters are on each CPU, to be read as a difference when they
# change. tests/seccomp.bats compares.
check_PROGRAMS += tests/seccomp/export
tests_seccomp_export_CFLAGS = $(AM_CFLAGS) $(LIBSECCOMP_CFLAGS)
tests_seccomp_export_LDADD = sandbox/libsandbox.a $(LIBSECCOMP_LIBS)

EXTRA_DIST += tests/seccomp/amd64 tests/seccomp/arm64 tests/seccomp/armhf \
	tests/seccomp/i386 tests/seccomp/ppc64el tests/seccomp/riscv64 \
	tests/seccomp/s390x

update-seccomp: tests/seccomp/export$(EXEEXT)
	tests/seccomp/export$(EXEEXT) $(srcdir)/tests/seccomp
.PHONY: update-seccomp
