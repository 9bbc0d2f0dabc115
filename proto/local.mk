# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# The vhost-user wire: linked by the worker alone.
noinst_LIBRARIES += proto/libvus.a
proto_libvus_a_SOURCES = \
	proto/backend.c proto/backend.h \
	proto/channel.c proto/channel.h \
	proto/checked.h \
	proto/device.h \
	proto/dirty.c proto/dirty.h \
	proto/fd.h \
	proto/held.c proto/held.h \
	proto/inflight.c proto/inflight.h \
	proto/map.c proto/map.h \
	proto/mapping.c proto/mapping.h \
	proto/mem.c proto/mem.h \
	proto/message.c \
	proto/scm.h \
	proto/session.c proto/session.h \
	proto/state.c proto/state.h \
	proto/virtq.c proto/virtq.h \
	proto/virtq_packed.c \
	proto/virtq_ring.h \
	proto/virtq_split.c \
	proto/wire.h
