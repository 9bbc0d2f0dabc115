# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
noinst_LIBRARIES += sandbox/libsandbox.a
sandbox_libsandbox_a_CFLAGS = $(AM_CFLAGS) $(LIBSECCOMP_CFLAGS) $(LIBCAP_NG_CFLAGS)
sandbox_libsandbox_a_SOURCES = \
	sandbox/caps.c sandbox/caps.h \
	sandbox/filter.c sandbox/filter.h \
	sandbox/flusher.def \
	sandbox/instrumented.def \
	sandbox/isolate.c sandbox/isolate.h \
	sandbox/layers.h \
	sandbox/parents.c \
	sandbox/sandbox.c sandbox/sandbox.h \
	sandbox/spawner.def \
	sandbox/supervisor.def \
	sandbox/worker.def
