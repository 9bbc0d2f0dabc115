# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Unit tests, one program per module, in the language of TAP. They link the
# objects that are shipped.
if HAVE_CMOCKA
UNIT_TESTS = \
	tests/unit/test_checked \
	tests/unit/test_channel \
	tests/unit/test_children \
	tests/unit/test_conf \
	tests/unit/test_dirty \
	tests/unit/test_held \
	tests/unit/test_inband \
	tests/unit/test_inflight \
	tests/unit/test_kmsg \
	tests/unit/test_listener \
	tests/unit/test_map \
	tests/unit/test_map_model \
	tests/unit/test_mem \
	tests/unit/test_memory \
	tests/unit/test_message \
	tests/unit/test_options \
	tests/unit/test_pace \
	tests/unit/test_packed \
	tests/unit/test_pmem \
	tests/unit/test_priv \
	tests/unit/test_region \
	tests/unit/test_served \
	tests/unit/test_session \
	tests/unit/test_state \
	tests/unit/test_virtq
# The filters of instrumented builds pass more.
if !INSTRUMENTED
UNIT_TESTS += tests/unit/test_parents
endif
check_PROGRAMS += $(UNIT_TESTS)
TESTS += $(UNIT_TESTS)

unit_cflags = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
unit_ldadd = tests/unit/libunit.a proto/libvus.a $(CMOCKA_LIBS)

check_LIBRARIES = tests/unit/libunit.a
tests_unit_libunit_a_CFLAGS = $(unit_cflags)
tests_unit_libunit_a_SOURCES = \
	tests/unit/fake_guest.c tests/unit/fake_guest.h \
	tests/unit/fake_host.c tests/unit/fake_host.h \
	tests/unit/fake_ring.c tests/unit/fake_ring.h

tests_unit_test_checked_CFLAGS = $(unit_cflags)
tests_unit_test_checked_LDADD = $(unit_ldadd)

tests_unit_test_channel_CFLAGS = $(unit_cflags)
tests_unit_test_channel_LDFLAGS = $(AM_LDFLAGS) \
	-Wl,--wrap=sendmsg -Wl,--wrap=recvmsg
tests_unit_test_channel_LDADD = $(unit_ldadd)

tests_unit_test_children_CFLAGS = $(unit_cflags)
tests_unit_test_children_SOURCES = tests/unit/test_children.c \
	daemon/builder/children.c daemon/builder/children.h \
	daemon/builder/reason.c daemon/builder/reason.h \
	daemon/config/size.c daemon/config/size.h
tests_unit_test_children_LDADD = daemon/libshmemd.a $(unit_ldadd)

tests_unit_test_conf_CFLAGS = $(unit_cflags) $(LIBCONFUSE_CFLAGS)
tests_unit_test_conf_SOURCES = tests/unit/test_conf.c $(settings_sources)
tests_unit_test_conf_LDADD = daemon/libshmemd.a $(LIBCONFUSE_LIBS) \
	$(unit_ldadd)

tests_unit_test_dirty_CFLAGS = $(unit_cflags)
tests_unit_test_dirty_LDADD = $(unit_ldadd)

tests_unit_test_held_CFLAGS = $(unit_cflags)
tests_unit_test_held_LDADD = $(unit_ldadd)

tests_unit_test_inband_CFLAGS = $(unit_cflags)
tests_unit_test_inband_LDADD = $(unit_ldadd)

tests_unit_test_inflight_CFLAGS = $(unit_cflags)
tests_unit_test_inflight_LDADD = $(unit_ldadd)

tests_unit_test_kmsg_CFLAGS = $(unit_cflags) $(LIBEVENT_CFLAGS) \
	$(LIBSECCOMP_CFLAGS)
tests_unit_test_kmsg_SOURCES = tests/unit/test_kmsg.c \
	daemon/supervisor/kmsg.c daemon/supervisor/kmsg.h
tests_unit_test_kmsg_LDADD = daemon/libshmemd.a $(unit_ldadd) \
	$(LIBEVENT_LIBS) $(LIBSECCOMP_LIBS)

tests_unit_test_listener_CFLAGS = $(unit_cflags)
tests_unit_test_listener_SOURCES = tests/unit/test_listener.c \
	daemon/builder/listener.c daemon/builder/listener.h
tests_unit_test_listener_LDADD = daemon/libshmemd.a $(unit_ldadd)

tests_unit_test_map_CFLAGS = $(unit_cflags)
tests_unit_test_map_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=sendmsg
tests_unit_test_map_LDADD = $(unit_ldadd)

tests_unit_test_map_model_CFLAGS = $(unit_cflags)
tests_unit_test_map_model_LDADD = $(unit_ldadd)

tests_unit_test_mem_CFLAGS = $(unit_cflags)
tests_unit_test_mem_LDADD = $(unit_ldadd)

tests_unit_test_memory_CFLAGS = $(unit_cflags)
tests_unit_test_memory_LDADD = daemon/libshmemd.a $(unit_ldadd)

tests_unit_test_message_CFLAGS = $(unit_cflags)
tests_unit_test_message_LDADD = $(unit_ldadd)

tests_unit_test_options_CFLAGS = $(unit_cflags) $(LIBCONFUSE_CFLAGS)
tests_unit_test_options_SOURCES = tests/unit/test_options.c \
	$(settings_sources) \
	daemon/config/options.c daemon/config/options.h \
	daemon/config/settings_print.c daemon/config/settings_print.h
tests_unit_test_options_LDADD = daemon/libshmemd.a \
	sandbox/libsandbox.a $(LIBSECCOMP_LIBS) $(LIBCAP_NG_LIBS) \
	$(LIBCONFUSE_LIBS) $(unit_ldadd)

tests_unit_test_pace_CFLAGS = $(unit_cflags)
tests_unit_test_pace_SOURCES = tests/unit/test_pace.c \
	daemon/supervisor/pace.c daemon/supervisor/pace.h
tests_unit_test_pace_LDADD = $(unit_ldadd)

tests_unit_test_packed_CFLAGS = $(unit_cflags)
tests_unit_test_packed_LDADD = $(unit_ldadd)

tests_unit_test_served_CFLAGS = $(unit_cflags) $(LIBEVENT_CFLAGS)
tests_unit_test_served_SOURCES = tests/unit/test_served.c \
	daemon/supervisor/discard.c daemon/supervisor/discard.h \
	daemon/supervisor/served.c daemon/supervisor/served.h
tests_unit_test_served_LDADD = daemon/libshmemd.a $(unit_ldadd)

tests_unit_test_parents_CFLAGS = $(unit_cflags)
tests_unit_test_parents_LDADD = sandbox/libsandbox.a $(unit_ldadd) \
	$(LIBSECCOMP_LIBS) $(LIBCAP_NG_LIBS)

tests_unit_test_pmem_CFLAGS = $(unit_cflags)
tests_unit_test_pmem_SOURCES = tests/unit/test_pmem.c \
	daemon/worker/pmem.c daemon/worker/pmem.h
tests_unit_test_pmem_LDADD = $(unit_ldadd)

tests_unit_test_priv_CFLAGS = $(unit_cflags)
tests_unit_test_priv_LDADD = daemon/libshmemd.a $(unit_ldadd)

tests_unit_test_region_CFLAGS = $(unit_cflags) $(NETTLE_CFLAGS)
tests_unit_test_region_SOURCES = tests/unit/test_region.c \
	$(region_sources) \
	daemon/config/region_source.c daemon/config/region_source.h \
	daemon/config/size.c daemon/config/size.h
tests_unit_test_region_LDADD = daemon/libshmemd.a $(unit_ldadd) \
	$(NETTLE_LIBS)

tests_unit_test_session_CFLAGS = $(unit_cflags)
tests_unit_test_session_LDADD = $(unit_ldadd)

tests_unit_test_state_CFLAGS = $(unit_cflags)
tests_unit_test_state_LDADD = $(unit_ldadd)

tests_unit_test_virtq_CFLAGS = $(unit_cflags)
tests_unit_test_virtq_LDADD = $(unit_ldadd)
endif
