# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Fuzzers (libFuzzer: clang, configure --enable-fuzz); see tests/fuzz/README.md.
#
# make check-fuzz              replay the corpora, then FUZZ_SECONDS (60) each
# make fuzz FUZZ_SECONDS=3600  the same for as long as asked
FUZZ_SECONDS = 60

if ENABLE_FUZZ
FUZZERS = \
	tests/fuzz/fuzz_session \
	tests/fuzz/fuzz_virtq \
	tests/fuzz/fuzz_priv \
	tests/fuzz/fuzz_conf
EXTRA_PROGRAMS = $(FUZZERS)
CLEANFILES += $(FUZZERS)

# The harnesses stand between the code and these.
fuzz_ldflags = $(AM_LDFLAGS) -fsanitize=fuzzer \
	-Wl,--wrap=recvmsg,--wrap=sendmsg,--wrap=close \
	-Wl,--wrap=mmap,--wrap=munmap
fuzz_common = tests/fuzz/fuzz.c tests/fuzz/fuzz.h

tests_fuzz_fuzz_session_SOURCES = tests/fuzz/fuzz_session.c $(fuzz_common) \
	tests/fuzz/model.c tests/fuzz/model.h
tests_fuzz_fuzz_session_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_session_LDADD = proto/libvus.a

tests_fuzz_fuzz_virtq_SOURCES = tests/fuzz/fuzz_virtq.c $(fuzz_common)
tests_fuzz_fuzz_virtq_LDFLAGS = $(fuzz_ldflags) -Wl,--wrap=vus_mem_guest
tests_fuzz_fuzz_virtq_LDADD = proto/libvus.a

tests_fuzz_fuzz_priv_SOURCES = tests/fuzz/fuzz_priv.c $(fuzz_common)
tests_fuzz_fuzz_priv_LDFLAGS = $(fuzz_ldflags) -Wl,--wrap=write
tests_fuzz_fuzz_priv_LDADD = daemon/libshmemd.a

# A configuration names files and users; none of this host.
tests_fuzz_fuzz_conf_CFLAGS = $(AM_CFLAGS) $(LIBCONFUSE_CFLAGS)
tests_fuzz_fuzz_conf_SOURCES = tests/fuzz/fuzz_conf.c $(fuzz_common) \
	$(settings_sources) \
	daemon/config/settings_print.c daemon/config/settings_print.h
tests_fuzz_fuzz_conf_LDFLAGS = $(fuzz_ldflags) \
	-Wl,--wrap=open,--wrap=stat,--wrap=access,--wrap=fopen \
	-Wl,--wrap=getpwnam,--wrap=getpwuid,--wrap=getgrnam,--wrap=getgrgid
tests_fuzz_fuzz_conf_LDADD = daemon/libshmemd.a $(LIBCONFUSE_LIBS)

check-fuzz fuzz: $(addprefix run-,$(notdir $(FUZZERS)))
run-fuzz_%: tests/fuzz/fuzz_%
	$(srcdir)/tests/fuzz/run --seconds $(FUZZ_SECONDS) $(builddir) fuzz_$*

# What the fuzzers have found stays until somebody has looked at it.
distclean-local:
	rm -rf $(addsuffix .d,$(FUZZERS))
else
check-fuzz fuzz:
	@echo 'configure with CC=clang --enable-fuzz for that' >&2; false
endif
.PHONY: check-fuzz fuzz

EXTRA_DIST += tests/fuzz/README.md tests/fuzz/run tests/fuzz/corpus \
	tests/fuzz/fuzz_session.dict tests/fuzz/fuzz_virtq.dict \
	tests/fuzz/fuzz_priv.dict tests/fuzz/fuzz_conf.dict
