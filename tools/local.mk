# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# vhost-shmemctl, which operators use. It speaks sockets; of the other folders
# it takes headers of proto/ alone, and links nothing of them.
bin_PROGRAMS += vhost-shmemctl
vhost_shmemctl_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
vhost_shmemctl_SOURCES = \
	tools/attach.c \
	tools/control.c tools/control.h \
	tools/ctl.h \
	tools/doctor.c \
	tools/doctor_checks.c tools/doctor.h \
	tools/frontend.c tools/frontend.h \
	tools/main.c \
	tools/metrics.c \
	proto/names.c proto/names.h \
	tools/probe.c \
	tools/reply.c tools/reply.h \
	tools/sock.c tools/sock.h \
	tools/status.c tools/status.h \
	tools/table.c tools/table.h \
	tools/text.c tools/text.h \
	tools/top.c \
	tools/vmm_args.c
vhost_shmemctl_LDADD = $(JANSSON_LIBS)
