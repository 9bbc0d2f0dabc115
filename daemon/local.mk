# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# What both programs use, then each program. vhost-shmemd does not link
# proto/libvus.a: it cannot parse what a front-end has sent.
noinst_LIBRARIES += daemon/libshmemd.a
daemon_libshmemd_a_CFLAGS = $(AM_CFLAGS) $(LIBEVENT_CFLAGS)
daemon_libshmemd_a_SOURCES = \
	daemon/device_kind.c daemon/device_kind.h \
	daemon/log.c daemon/log.h \
	daemon/loop.c daemon/loop.h \
	daemon/memory.c daemon/memory.h \
	daemon/priv.c daemon/priv.h \
	daemon/profile.c daemon/profile.h

sbin_PROGRAMS += vhost-shmemd
vhost_shmemd_CFLAGS = $(AM_CFLAGS) $(LIBEVENT_CFLAGS) $(LIBSECCOMP_CFLAGS) \
	$(LIBCONFUSE_CFLAGS) $(JANSSON_CFLAGS) $(NETTLE_CFLAGS)
# Also of tests: what is to be served, and where that is said; and what makes
# regions of it.
settings_sources = \
	daemon/activation.c daemon/activation.h \
	daemon/conf.c daemon/conf.h \
	daemon/conf_text.c daemon/conf_text.h \
	daemon/keys.c daemon/keys.h \
	daemon/region_source.c daemon/region_source.h \
	daemon/settings.c daemon/settings.h \
	daemon/settings_check.c \
	daemon/size.c daemon/size.h
region_sources = \
	daemon/children.c daemon/children.h \
	daemon/reason.c daemon/reason.h \
	daemon/region_kept.c daemon/region_kept.h \
	daemon/region.c daemon/region.h daemon/region_watch.c \
	daemon/region_file.c daemon/region_file.h \
	daemon/region_fill.c daemon/region_fill.h
vhost_shmemd_SOURCES = \
	$(settings_sources) $(region_sources) \
	daemon/admission.c daemon/admission.h \
	daemon/builder.c daemon/builder.h \
	daemon/control.c daemon/control.h \
	daemon/crew.c daemon/crew.h \
	daemon/flusher.c daemon/flusher.h \
	daemon/gate.c daemon/gate.h \
	daemon/kmsg.c daemon/kmsg.h \
	daemon/listener.c daemon/listener.h \
	daemon/main.c \
	daemon/manager.c daemon/manager.h \
	daemon/orders.c daemon/orders.h \
	daemon/options.c daemon/options.h \
	daemon/pace.c daemon/pace.h \
	daemon/peerfd.c daemon/peerfd.h \
	daemon/served.c daemon/served.h \
	daemon/settings_print.c daemon/settings_print.h \
	daemon/spawn.c daemon/spawn.h \
	daemon/status.c daemon/status.h proto/names.c proto/names.h \
	daemon/supervisor.c daemon/supervisor.h
vhost_shmemd_LDADD = daemon/libshmemd.a sandbox/libsandbox.a \
	$(LIBEVENT_LIBS) $(LIBSECCOMP_LIBS) $(LIBCAP_NG_LIBS) \
	$(LIBCONFUSE_LIBS) $(JANSSON_LIBS) $(NETTLE_LIBS)

libexec_PROGRAMS += vhost-shmemd-worker
vhost_shmemd_worker_CFLAGS = $(AM_CFLAGS) $(LIBEVENT_CFLAGS)
vhost_shmemd_worker_SOURCES = \
	daemon/pmem.c daemon/pmem.h \
	daemon/raw.c daemon/raw.h \
	daemon/worker.c daemon/worker.h \
	daemon/worker_main.c
vhost_shmemd_worker_LDADD = daemon/libshmemd.a proto/libvus.a \
	sandbox/libsandbox.a $(LIBEVENT_LIBS) $(LIBSECCOMP_LIBS) \
	$(LIBCAP_NG_LIBS)
