/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* How often a front-end may have a worker; the rules are in pace.h. */
#include "config.h"

#include "daemon/supervisor/pace.h"

#include <stddef.h>

/* The entry's place, or PACE_PROCESSES. */
static unsigned
find_process(const struct pace *pace, const struct front_end *who)
{
	unsigned i = 0;

	while (
	    i < PACE_PROCESSES && (pace->processes[i].crashes == 0 ||
				      pace->processes[i].who.pid != who->pid ||
				      pace->processes[i].who.uid != who->uid))
		i++;
	return i;
}

/* The entry's place, or PACE_USERS. */
static unsigned
find_user(const struct pace *pace, uid_t uid)
{
	unsigned i = 0;

	while (i < PACE_USERS &&
	       (!pace->users[i].used || pace->users[i].uid != uid))
		i++;
	return i;
}

/* From which time on a user may have a worker. full_at grows by an interval
 * with each; so far ahead that PACE_BURST are spent, the next has to wait
 * for an interval to pass. */
static uint64_t
user_from(const struct pace_user *u)
{
	const uint64_t ahead = (uint64_t)(PACE_BURST - 1) * PACE_INTERVAL;

	return u->full_at > ahead ? u->full_at - ahead : 0;
}

uint64_t
pace_wait(const struct pace *pace, const struct front_end *who, uint64_t now,
    enum pace_reason *reason)
{
	unsigned p = find_process(pace, who), u = find_user(pace, who->uid);
	uint64_t from = now;

	*reason = PACE_NONE;
	if (u < PACE_USERS && user_from(&pace->users[u]) > from) {
		from = user_from(&pace->users[u]);
		*reason = PACE_RATE;
	}
	if (p < PACE_PROCESSES && pace->processes[p].until > from) {
		from = pace->processes[p].until;
		*reason = PACE_CRASHES;
	}
	return from - now;
}

void
pace_served(struct pace *pace, const struct front_end *who, uint64_t now)
{
	unsigned i = find_user(pace, who->uid);
	struct pace_user *u;

	if (i == PACE_USERS) {
		/* An unused one has full_at 0. */
		i = 0;
		for (unsigned k = 1; k < PACE_USERS; k++)
			if (pace->users[k].full_at < pace->users[i].full_at)
				i = k;
		pace->users[i] = (struct pace_user){
			.used = true,
			.uid = who->uid,
		};
	}
	u = &pace->users[i];
	if (u->full_at < now)
		u->full_at = now;
	u->full_at += PACE_INTERVAL;
}

/* How long to wait after so many crashes in a row. */
static uint64_t
delay(unsigned crashes)
{
	uint64_t ms = PACE_DELAY;

	if (crashes < 2)
		return 0;
	for (unsigned i = 2; i < crashes && ms < PACE_DELAY_MAX; i++)
		ms *= 2;
	return ms < PACE_DELAY_MAX ? ms : PACE_DELAY_MAX;
}

void
pace_crashed(struct pace *pace, const struct front_end *who, uint64_t now)
{
	unsigned i = find_process(pace, who);
	struct pace_process *p;

	if (who->pid == 0)
		return;
	if (i == PACE_PROCESSES) {
		/* An unused one has until 0. */
		i = 0;
		for (unsigned k = 1; k < PACE_PROCESSES; k++)
			if (pace->processes[k].until < pace->processes[i].until)
				i = k;
		pace->processes[i] = (struct pace_process){ .who = *who };
	}
	p = &pace->processes[i];
	if (now > p->until && now - p->until > PACE_QUIET)
		p->crashes = 0;
	p->crashes++;
	/* Workers that it had at the same time may crash while it waits. */
	if (p->until < now + delay(p->crashes))
		p->until = now + delay(p->crashes);
	p->told = false;
}

unsigned
pace_crashes(const struct pace *pace, const struct front_end *who)
{
	unsigned i = find_process(pace, who);

	return i < PACE_PROCESSES ? pace->processes[i].crashes : 0;
}

bool
pace_tell(struct pace *pace, const struct front_end *who, uint64_t now,
    enum pace_reason reason)
{
	unsigned p = find_process(pace, who), u = find_user(pace, who->uid);
	bool tell = false;

	if (reason == PACE_CRASHES && p < PACE_PROCESSES) {
		tell = !pace->processes[p].told;
		pace->processes[p].told = true;
	}
	if (reason == PACE_RATE && u < PACE_USERS) {
		tell = now >= pace->users[u].tell_at;
		if (tell)
			pace->users[u].tell_at = now + PACE_QUIET;
	}
	return tell;
}
