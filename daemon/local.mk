# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# A folder for each process, and two that know of none: common/, of which both
# programs are made, and config/, what the operator says. tests/includes has
# the rules of what each is allowed to include.
noinst_LIBRARIES += daemon/libshmemd.a
daemon_libshmemd_a_CFLAGS = $(AM_CFLAGS) $(LIBEVENT_CFLAGS)
daemon_libshmemd_a_SOURCES = \
	daemon/common/activation.c daemon/common/activation.h \
	daemon/common/device_kind.c daemon/common/device_kind.h \
	daemon/common/limits.h \
	daemon/common/log.c daemon/common/log.h \
	daemon/common/loop.c daemon/common/loop.h \
	daemon/common/memory.c daemon/common/memory.h \
	daemon/common/peerfd.c daemon/common/peerfd.h \
	daemon/common/priv.c daemon/common/priv.h \
	daemon/common/profile.c daemon/common/profile.h \
	daemon/common/rights.c daemon/common/rights.h

# Tests link these, too: settings, as the operator writes them, and regions.
settings_sources = \
	daemon/config/check.c \
	daemon/config/conf.c daemon/config/conf.h \
	daemon/config/conf_text.c daemon/config/conf_text.h \
	daemon/config/keys.c daemon/config/keys.h \
	daemon/config/region_source.c daemon/config/region_source.h \
	daemon/config/settings.c daemon/config/settings.h \
	daemon/config/size.c daemon/config/size.h
region_sources = \
	daemon/builder/children.c daemon/builder/children.h \
	daemon/builder/reason.c daemon/builder/reason.h \
	daemon/builder/region.c daemon/builder/region.h \
	daemon/builder/region_file.c daemon/builder/region_file.h \
	daemon/builder/region_fill.c daemon/builder/region_fill.h \
	daemon/builder/region_kept.c daemon/builder/region_kept.h \
	daemon/builder/region_watch.c

# vhost-shmemd does not link proto/libvus.a: it cannot parse what a front-end
# has sent.
sbin_PROGRAMS += vhost-shmemd
vhost_shmemd_CFLAGS = $(AM_CFLAGS) $(LIBEVENT_CFLAGS) $(LIBSECCOMP_CFLAGS) \
	$(LIBCONFUSE_CFLAGS) $(JANSSON_CFLAGS) $(NETTLE_CFLAGS)
vhost_shmemd_SOURCES = \
	daemon/main.c \
	$(settings_sources) \
	daemon/config/options.c daemon/config/options.h \
	daemon/config/settings_print.c daemon/config/settings_print.h \
	$(region_sources) \
	daemon/builder/builder.c daemon/builder/builder.h \
	daemon/builder/listener.c daemon/builder/listener.h \
	daemon/flusher/flusher.c daemon/flusher/flusher.h \
	daemon/spawner/spawn.c daemon/spawner/spawn.h \
	daemon/supervisor/admission.c daemon/supervisor/admission.h \
	daemon/supervisor/control.c daemon/supervisor/control.h \
	daemon/supervisor/crew.c daemon/supervisor/crew.h \
	daemon/supervisor/discard.c daemon/supervisor/discard.h \
	daemon/supervisor/gate.c daemon/supervisor/gate.h \
	daemon/supervisor/kmsg.c daemon/supervisor/kmsg.h \
	daemon/supervisor/manager.c daemon/supervisor/manager.h \
	daemon/supervisor/orders.c daemon/supervisor/orders.h \
	daemon/supervisor/pace.c daemon/supervisor/pace.h \
	daemon/supervisor/served.c daemon/supervisor/served.h \
	daemon/supervisor/status.c daemon/supervisor/status.h \
	daemon/supervisor/supervisor.c daemon/supervisor/supervisor.h \
	proto/names.c proto/names.h
vhost_shmemd_LDADD = daemon/libshmemd.a sandbox/libsandbox.a \
	$(LIBEVENT_LIBS) $(LIBSECCOMP_LIBS) $(LIBCAP_NG_LIBS) \
	$(LIBCONFUSE_LIBS) $(JANSSON_LIBS) $(NETTLE_LIBS)

libexec_PROGRAMS += vhost-shmemd-worker
vhost_shmemd_worker_CFLAGS = $(AM_CFLAGS) $(LIBEVENT_CFLAGS)
vhost_shmemd_worker_SOURCES = \
	daemon/worker/main.c \
	daemon/worker/pmem.c daemon/worker/pmem.h \
	daemon/worker/raw.c daemon/worker/raw.h \
	daemon/worker/worker.c daemon/worker/worker.h
vhost_shmemd_worker_LDADD = daemon/libshmemd.a proto/libvus.a \
	sandbox/libsandbox.a $(LIBEVENT_LIBS) $(LIBSECCOMP_LIBS) \
	$(LIBCAP_NG_LIBS)
