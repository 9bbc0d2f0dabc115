/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The layers of a worker's confinement that a host may not permit: containers
 * and hardened hosts forbid namespaces, older kernels have no Landlock. What
 * is missing is told, and --sandbox=strict does not start without it. What
 * every host has (another user, no capability, seccomp) is no such layer.
 */
#ifndef LAYERS_H
#define LAYERS_H

enum sandbox_layer {
	LAYER_PID,	/* the first process of a PID namespace, and its last */
	LAYER_NETWORK,	/* a network namespace with nothing in it */
	LAYER_IPC,	/* System V IPC and POSIX queues of its own */
	LAYER_UTS,	/* its own host name */
	LAYER_CGROUP,	/* its cgroup is the root of what it sees */
	LAYER_ROOT,	/* an empty, read-only root directory */
	LAYER_USER,	/* a user namespace in which nobody has a name */
	LAYER_LANDLOCK, /* no file, port, signal or socket of others */
	LAYERS
};

static inline const char *
sandbox_layer_name(enum sandbox_layer layer)
{
	static const char *const names[LAYERS] = {
		[LAYER_PID] = "PID namespace",
		[LAYER_NETWORK] = "network namespace",
		[LAYER_IPC] = "IPC namespace",
		[LAYER_UTS] = "UTS namespace",
		[LAYER_CGROUP] = "cgroup namespace",
		[LAYER_ROOT] = "empty root",
		[LAYER_USER] = "user namespace",
		[LAYER_LANDLOCK] = "Landlock",
	};

	return names[layer];
}

#endif
