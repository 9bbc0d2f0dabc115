/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Programs without their filter (--wrap=seccomp_load): it is made and never
 * loaded, so that the layers below it are seen to hold by themselves. Nothing
 * in the sources of the programs can do that.
 */
#include "config.h"

#include <seccomp.h>

int __wrap_seccomp_load(scmp_filter_ctx filter);

int
__wrap_seccomp_load(scmp_filter_ctx filter)
{
	(void)filter;
	return 0;
}
