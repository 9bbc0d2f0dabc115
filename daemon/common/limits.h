/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Numbers that two processes share: how many there can be of what the
 * supervisor looks after, for which others have to have room, and how a worker
 * tells by its exit status how it has ended. All processes.
 */
#ifndef LIMITS_H
#define LIMITS_H

/* Workers of one supervisor at a time: connections, and a spare. */
#define WORKERS_MAX 1024U

/* Descriptors that can lie unread in the channels of one connection:
 * VUS_UNREAD_MAX, which the supervisor does not know. */
#define UNREAD_FDS_MAX 272U

/* Clients of the control socket at a time. */
#define CONTROL_CLIENTS_MAX 32U

/* Front-ends that the gate holds back at a time: */
#define GATE_WAITING_MAX 64U	/* in all, */
#define GATE_WAITING_USER 16U	/* of one user, */
#define GATE_WAITING_PROCESS 8U /* of one process, if it is known */

/* How a worker ends when nothing kills it: its exit status. */
enum worker_exit_status {
	WORKER_EXIT_DONE = 0,  /* the front-end has hung up, or never came */
	WORKER_EXIT_SETUP = 1, /* it could not start or not be confined */
	WORKER_EXIT_BROKEN = 2 /* the front-end broke the protocol */
};

#endif
