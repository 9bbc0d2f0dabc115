# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
dist_man_MANS = man/vhost-shmemctl.1 man/vhost-shmemd.8 \
	man/vhost-shmemd.conf.5 \
	man/vhost-shmemd-frontends.7 man/vhost-shmemd-security.7
