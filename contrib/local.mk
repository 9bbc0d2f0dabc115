# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
EXTRA_DIST += contrib/quickstart contrib/vhost-shmemd.conf.example

# Where shells look for completions by themselves; both can be set on make's
# command line.
bashcompletiondir = $(datadir)/bash-completion/completions
dist_bashcompletion_DATA = contrib/completions/vhost-shmemctl.bash \
	contrib/completions/vhost-shmemd.bash
zshcompletiondir = $(datadir)/zsh/site-functions
dist_zshcompletion_DATA = contrib/completions/_vhost-shmemctl \
	contrib/completions/_vhost-shmemd

include contrib/systemd/local.mk
