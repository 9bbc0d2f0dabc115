# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# make deb: the Debian package, from the release tarball, in this directory.
deb: dist
	$(srcdir)/contrib/debian/make-deb $(distdir).tar.xz
.PHONY: deb

EXTRA_DIST += contrib/debian/README.Debian \
	contrib/debian/bookworm.lintian-overrides contrib/debian/changelog \
	contrib/debian/control contrib/debian/copyright \
	contrib/debian/make-deb contrib/debian/rules \
	contrib/debian/source/format contrib/debian/tests/control \
	contrib/debian/tests/guest contrib/debian/tests/smoke \
	contrib/debian/tests/socket-activation \
	contrib/debian/upstream/metadata \
	contrib/debian/vhost-shmemd.conf contrib/debian/vhost-shmemd.dirs \
	contrib/debian/vhost-shmemd.docs \
	contrib/debian/vhost-shmemd.examples \
	contrib/debian/vhost-shmemd.install \
	contrib/debian/vhost-shmemd.lintian-overrides \
	contrib/debian/vhost-shmemd.postinst \
	contrib/debian/vhost-shmemd.postrm contrib/debian/vhost-shmemd.prerm
