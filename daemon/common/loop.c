/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The event loop of either program; see loop.h. */
#include "config.h"

#include "daemon/common/loop.h"

#include <event2/event.h>
#include <stddef.h>
#include <time.h>

/* libevent would write to stderr, which a worker must not, when a descriptor
 * cannot be watched. The caller is told by a result, and logs. */
static void
say_nothing(int severity, const char *text)
{
	(void)severity;
	(void)text;
}

struct event_base *
loop_new(void)
{
	struct event_config *config = event_config_new();
	struct event_base *base = NULL;

	event_set_log_callback(say_nothing);
	/* O(1) is epoll, and not select or poll. */
	if (config != NULL &&
	    event_config_set_flag(config,
		EVENT_BASE_FLAG_IGNORE_ENV | EVENT_BASE_FLAG_NOLOCK) == 0 &&
	    event_config_require_features(config, EV_FEATURE_O1) == 0)
		base = event_base_new_with_config(config);
	if (config != NULL)
		event_config_free(config);
	return base;
}

uint64_t
loop_now(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}
