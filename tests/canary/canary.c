/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A worker that has been taken over, to see what it can still do.
 *
 * It is made of the sources of vhost-shmemd-worker as they are. The linker puts
 * one function in between (--wrap=vus_dispatch), which takes one request more
 * than the front-ends of vhost-user know: to carry out any system call. By then
 * the sandbox has long been closed, as around any code of a guest's making.
 *
 * A second program, canary-unfiltered, has unfiltered.c besides.
 */
#include "config.h"

#include "daemon/common/priv.h"
#include "proto/session.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

/* The request, "CANY": no number of vhost-user's. */
#define CANARY_REQUEST 0x43414e59U
/* Bytes of the scratch memory that come, go back, and all of them. */
#define CANARY_IN 3072U
#define CANARY_OUT 1024U
#define CANARY_SCRATCH 16384U

/* How the system is called. */
enum canary_entry {
	CANARY_NOT,	  /* not at all: only the result is wanted */
	CANARY_CALL,	  /* as everybody does */
	CANARY_INT80,	  /* by the table of 32-bit x86 */
	CANARY_SIGRETURN, /* the scratch memory is a signal's stack frame */
	CANARY_EXECUTE	  /* not at all: the scratch memory is code */
};

struct canary_call {
	int64_t number;
	uint64_t args[6];
	uint32_t entry;
	uint32_t times;
	unsigned char scratch[CANARY_IN];
};

struct canary_result {
	int64_t value;	  /* of the last time, or a negative errno */
	uint64_t scratch; /* where it lies */
	uint64_t gadget;  /* where an instruction calls the system */
	uint32_t priv_size, priv_version;
	int32_t fds[VUS_FDS_MAX]; /* that came with this call; -1: none */
	unsigned char out[CANARY_OUT];
};

static_assert(
    sizeof(struct canary_call) <= VUS_PAYLOAD_MAX &&
	sizeof(struct canary_result) <= sizeof(struct vus_wire_shmem_config),
    "a channel takes them whole");

static _Alignas(4096) unsigned char scratch[CANARY_SCRATCH];

bool __real_vus_dispatch(struct vus_session *s);
bool __wrap_vus_dispatch(struct vus_session *s);

#ifdef __x86_64__
void canary_gadget(void);
__asm__(".pushsection .text\n"
	".globl canary_gadget\n"
	"canary_gadget: endbr64\n"
	"syscall\n"
	"ud2\n"
	".popsection\n");

static int64_t
int80(const struct canary_call *call)
{
	uint64_t value = (uint64_t)call->number;

	__asm__ volatile("int $0x80"
			 : "+a"(value)
			 : "b"(call->args[0]), "c"(call->args[1]),
			 "d"(call->args[2]), "S"(call->args[3]),
			 "D"(call->args[4])
			 : "memory", "r8", "r9", "r10", "r11");
	return (int32_t)value;
}

static void __attribute__((noreturn)) return_from_signal(void)
{
	__asm__ volatile("mov %0, %%rsp\n"
			 "mov $15, %%eax\n"
			 "syscall\n"
			 "ud2\n"
			 :
			 : "r"(scratch)
			 : "memory");
	__builtin_unreachable();
}
#endif

static void
execute(const void *code)
{
	void (*run)(void);

	memcpy(&run, &code, sizeof(run));
	run();
}

static int64_t
enter(const struct canary_call *call)
{
	long value;

	switch ((enum canary_entry)call->entry) {
	case CANARY_NOT:
		return 0;
	case CANARY_CALL:
		value = syscall(call->number, call->args[0], call->args[1],
		    call->args[2], call->args[3], call->args[4], call->args[5]);
		return value == -1 ? -errno : value;
	case CANARY_EXECUTE:
		execute(scratch);
		return 0;
#ifdef __x86_64__
	case CANARY_INT80:
		return int80(call);
	case CANARY_SIGRETURN:
		return_from_signal();
#else
	case CANARY_INT80:
	case CANARY_SIGRETURN:
		break;
#endif
	}
	return -EOPNOTSUPP;
}

/* Do as told. The descriptors that have come stay open. */
static bool
sing(struct vus_session *s)
{
	struct vus_msg *msg = &s->msg;
	struct canary_result result = {
		.scratch = (uintptr_t)scratch,
		.priv_size = sizeof(struct priv_msg),
		.priv_version = PRIV_VERSION,
	};
	struct canary_call call;

	s->messages++;
	for (unsigned i = 0; i < VUS_FDS_MAX; i++) {
		result.fds[i] = i < msg->nfds ? msg->fds[i] : -1;
		msg->fds[i] = -1;
	}
	memcpy(&call, msg->payload, sizeof(call));
	memcpy(scratch, call.scratch, sizeof(call.scratch));
	for (uint32_t i = 0; i < call.times; i++)
		result.value = enter(&call);
#ifdef __x86_64__
	result.gadget = (uintptr_t)canary_gadget;
#endif
	memcpy(result.out, scratch, sizeof(result.out));
	return vus_chan_send(&s->front, CANARY_REQUEST,
		   VUS_VERSION | VUS_FLAG_REPLY, &result, sizeof(result),
		   -1) == 0;
}

bool
__wrap_vus_dispatch(struct vus_session *s)
{
	return s->msg.head.request == CANARY_REQUEST ? sing(s)
						     : __real_vus_dispatch(s);
}
