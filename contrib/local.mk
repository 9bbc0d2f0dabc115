# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
EXTRA_DIST += contrib/quickstart contrib/vhost-shmemd.conf.example \
	contrib/apparmor/libvirt-qemu contrib/apparmor/usr.sbin.vhost-shmemd \
	contrib/qemu/50-vhost-shmemd.json

# Where shells look for completions by themselves; both can be set on make's
# command line.
bashcompletiondir = $(datadir)/bash-completion/completions
dist_bashcompletion_DATA = contrib/completions/vhost-shmemctl.bash \
	contrib/completions/vhost-shmemd.bash
zshcompletiondir = $(datadir)/zsh/site-functions
dist_zshcompletion_DATA = contrib/completions/_vhost-shmemctl \
	contrib/completions/_vhost-shmemd

include contrib/systemd/local.mk
include contrib/debian/local.mk
