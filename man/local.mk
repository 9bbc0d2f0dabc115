# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# make html           the manual pages in HTML, in man/ of the build tree
# make install-html   the same, in $(htmldir)
PAGES = man/vhost-shmemctl.1 man/vhost-shmemd.8 man/vhost-shmemd.conf.5 \
	man/vhost-shmemd-frontends.7 man/vhost-shmemd-security.7
dist_man_MANS = $(PAGES)

HTML_PAGES = $(PAGES:=.html)
CLEANFILES += $(HTML_PAGES)

# A page links to what stands beside it, and to Debian's for all else.
HTML_LINKS = %N.%S.html;https://manpages.debian.org/%N.%S
$(HTML_PAGES): $(PAGES)
	@test -n "$(MANDOC)" || { \
	    echo 'mandoc is missing, which makes HTML of manual pages:' \
	        'install it, and run configure again' >&2; exit 1; }
	$(AM_V_at)$(MKDIR_P) man
	$(AM_V_GEN)page=$(@F) && out=$(abs_builddir)/$@ && \
	    cd $(srcdir)/man && \
	    $(MANDOC) -T html -I 'os=$(PACKAGE_STRING)' \
	        -O 'toc,man=$(HTML_LINKS)' $${page%.html} >$$out.new && \
	    mv $$out.new $$out

html-local: $(HTML_PAGES)
install-html-local: html
	$(MKDIR_P) '$(DESTDIR)$(htmldir)'
	$(INSTALL_DATA) $(HTML_PAGES) '$(DESTDIR)$(htmldir)'
uninstall-local:
	cd '$(DESTDIR)$(htmldir)' 2>/dev/null && rm -f $(notdir $(HTML_PAGES)) || :
