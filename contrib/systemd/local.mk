# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Where they go is for configure to say.
SYSTEMD_SERVICES = contrib/systemd/vhost-shmemd.service \
	contrib/systemd/vhost-shmemd@.service
SYSTEMD_SOCKETS = contrib/systemd/vhost-shmemd.socket \
	contrib/systemd/vhost-shmemd-control.socket \
	contrib/systemd/vhost-shmemd-device@.socket \
	contrib/systemd/vhost-shmemd@.socket \
	contrib/systemd/vhost-shmemd-control@.socket
SYSTEMD_USER_SERVICES = contrib/systemd/user/vhost-shmemd.service

if SYSTEMD_SYSTEM_UNITS
systemdsystemunit_DATA = $(SYSTEMD_SERVICES) $(SYSTEMD_SOCKETS)
endif
if SYSTEMD_USER_UNITS
systemduserunit_DATA = $(SYSTEMD_USER_SERVICES) \
	contrib/systemd/user/vhost-shmemd.socket
endif
if SYSUSERS
sysusers_DATA = contrib/systemd/sysusers.d/vhost-shmemd.conf
endif
if TMPFILES
tmpfiles_DATA = contrib/systemd/tmpfiles.d/vhost-shmemd.conf
endif

EXTRA_DIST += contrib/systemd/common.in $(SYSTEMD_SOCKETS) \
	$(SYSTEMD_SERVICES:=.in) $(SYSTEMD_USER_SERVICES:=.in) \
	contrib/systemd/user/vhost-shmemd.socket \
	contrib/systemd/sysusers.d/vhost-shmemd.conf \
	contrib/systemd/tmpfiles.d/vhost-shmemd.conf
CLEANFILES += $(SYSTEMD_SERVICES) $(SYSTEMD_USER_SERVICES)

# What the services of the system have in common is written once.
$(SYSTEMD_SERVICES) $(SYSTEMD_USER_SERVICES): %: %.in contrib/systemd/common.in \
    Makefile
	$(AM_V_GEN)$(MKDIR_P) $(@D) && $(SED) \
	    -e '/^[@]common[@]$$/{r $(srcdir)/contrib/systemd/common.in' -e 'd}' \
	    -e 's|[@]sbindir[@]|$(sbindir)|' \
	    -e 's|[@]bindir[@]|$(bindir)|' \
	    -e 's|[@]sysconfdir[@]|$(sysconfdir)|' $< >$@.new && mv $@.new $@
