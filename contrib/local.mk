# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
EXTRA_DIST += contrib/quickstart contrib/vhost-shmemd.conf.example
