/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Asking a back-end; see frontend.h. */
#include "config.h"

#include "tools/frontend.h"

#include "tools/sock.h"
#include "tools/text.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* Nothing longer is an answer to what we ask. */
#define PAYLOAD_MAX sizeof(struct vus_wire_shmem_config)

/* What we ask about has to be negotiated first; and SHMEM goes with the
 * channel by which a back-end would map its regions. */
#define WANTED                                                                 \
	(VUS_BIT(VUS_F_MQ) | VUS_BIT(VUS_F_CONFIG) |                           \
	    VUS_BIT(VUS_F_CONFIGURE_MEM_SLOTS) | VUS_BIT(VUS_F_SHMEM) |        \
	    VUS_BIT(VUS_F_BACKEND_REQ) | VUS_BIT(VUS_F_BACKEND_SEND_FD))

struct frontend {
	struct sock sock;
	const char *path;
	bool timed_out;
};

static bool
failed(struct frontend *f, const char *request, int rc)
{
	f->timed_out = rc == -ETIMEDOUT;
	return text_error("%s: %s: %s", f->path, request, sock_strerror(rc));
}

static int
send_request(
    struct frontend *f, uint32_t request, const void *payload, uint32_t size)
{
	struct vus_wire_header head = {
		.request = request,
		.flags = VUS_VERSION,
		.size = size,
	};
	char message[sizeof(head) + sizeof(struct vus_wire_config) +
		     VUS_CONFIG_MAX];

	memcpy(message, &head, sizeof(head));
	if (size != 0)
		memcpy(message + sizeof(head), payload, size);
	return sock_send(&f->sock, message, sizeof(head) + size);
}

/* The answer to request: min to max bytes, of which *size is the number. */
static bool
recv_reply(struct frontend *f, uint32_t request, const char *name,
    void *payload, uint32_t min, uint32_t max, uint32_t *size)
{
	struct vus_wire_header head = { 0 };
	int rc = sock_recv_all(&f->sock, &head, sizeof(head));

	if (rc < 0)
		return failed(f, name, rc);
	if (head.request != request)
		return text_error("%s: %s: the answer is to request %" PRIu32
				  ", not to %" PRIu32,
		    f->path, name, head.request, request);
	if ((head.flags & (VUS_VERSION_MASK | VUS_FLAG_REPLY)) !=
	    (VUS_VERSION | VUS_FLAG_REPLY))
		return text_error("%s: %s: the answer has flags %#" PRIx32
				  ", and those of one are %#x",
		    f->path, name, head.flags, VUS_VERSION | VUS_FLAG_REPLY);
	if (head.size < min || head.size > max)
		return text_error("%s: %s: the answer has %" PRIu32
				  " bytes, not %" PRIu32,
		    f->path, name, head.size, max);
	rc = sock_recv_all(&f->sock, payload, head.size);
	if (rc < 0)
		return failed(f, name, rc);
	*size = head.size;
	return true;
}

/* A request without payload whose answer is size bytes. */
static bool
ask(struct frontend *f, uint32_t request, const char *name, void *payload,
    uint32_t size)
{
	int rc = send_request(f, request, NULL, 0);

	return rc < 0
		   ? failed(f, name, rc)
		   : recv_reply(f, request, name, payload, size, size, &size);
}

#define ASK(f, request, value)                                                 \
	ask((f), VUS_##request, #request, (value), sizeof(*(value)))

/* --- configuration space ------------------------------------------------- */

/* The first n bytes of it, into config. *have is false if the back-end says
 * that there are not so many: by a size of 0 or no payload at all. */
static bool
get_config(struct frontend *f, unsigned n, uint8_t *config, bool *have)
{
	struct vus_wire_config range = { .size = n };
	uint8_t payload[sizeof(range) + VUS_CONFIG_MAX] = { 0 };
	uint32_t size;
	int rc;

	memcpy(payload, &range, sizeof(range));
	rc = send_request(
	    f, VUS_GET_CONFIG, payload, (uint32_t)(sizeof(range) + n));
	if (rc < 0)
		return failed(f, "GET_CONFIG", rc);
	if (!recv_reply(f, VUS_GET_CONFIG, "GET_CONFIG", payload, 0,
		(uint32_t)sizeof(payload), &size))
		return false;
	*have = false;
	if (size == 0)
		return true;
	if (size >= sizeof(range)) {
		memcpy(&range, payload, sizeof(range));
		*have = range.size == n && size == sizeof(range) + n &&
			range.offset == 0;
		if (*have)
			memcpy(config, payload + sizeof(range), n);
		if (*have || range.size == 0)
			return true;
	}
	return text_error("%s: GET_CONFIG: the answer to a request of %u bytes "
			  "has %" PRIu32 " bytes of payload",
	    f->path, n, size);
}

/*
 * No request tells how large it is. Some back-ends give as much as is asked
 * for, zeros behind the end; some refuse what is longer; and there is no saying
 * how well those have been tried with it, so we come from below: this asks
 * for too much once or twice.
 */
static bool
get_whole_config(struct frontend *f, struct frontend_offer *offer)
{
	unsigned has = 0, above = VUS_CONFIG_MAX + 1, n = 1;

	while (has + 1 < above) {
		bool have;

		if (!get_config(f, n, offer->config, &have))
			return false;
		if (have)
			has = n;
		else
			above = n;
		n = has != 0 && 2 * has < above && 2 * has <= VUS_CONFIG_MAX
			? 2 * has
			: (has + above) / 2;
	}
	offer->config_size = has;
	return true;
}

static bool
ask_config(struct frontend *f, struct frontend_offer *offer, unsigned size)
{
	bool have;

	if (size == FRONTEND_CONFIG_ASK_ALL)
		return get_whole_config(f, offer);
	if (!get_config(f, size, offer->config, &have))
		return false;
	if (!have)
		return text_error("%s: GET_CONFIG: the back-end has no "
				  "configuration space of %u bytes",
		    f->path, size);
	offer->config_size = size;
	return true;
}

/* --- the whole ----------------------------------------------------------- */

static bool
ask_shmem(struct frontend *f, struct frontend_offer *offer)
{
	static struct vus_wire_shmem_config config;

	static_assert(sizeof(config) == PAYLOAD_MAX, "the longest answer");
	if (!ASK(f, GET_SHMEM_CONFIG, &config))
		return false;
	if (config.num_regions > VUS_SHMEM_MAX)
		return text_error("%s: GET_SHMEM_CONFIG: %" PRIu32
				  " regions, and 256 are possible",
		    f->path, config.num_regions);
	offer->nregions = config.num_regions;
	memcpy(offer->shmem, config.size, sizeof(offer->shmem));
	return true;
}

/* What is not offered is not asked for; the configuration space comes last,
 * for there the most can go wrong. */
static bool
ask_all(struct frontend *f, struct frontend_offer *offer, unsigned config_size)
{
	uint64_t agreed;
	int rc;

	if (!ASK(f, GET_FEATURES, &offer->features))
		return false;
	rc = send_request(f, VUS_SET_OWNER, NULL, 0);
	if (rc < 0)
		return failed(f, "SET_OWNER", rc);
	if ((offer->features & VUS_BIT(VUS_VIRTIO_F_PROTOCOL_FEATURES)) == 0)
		return true;
	if (!ASK(f, GET_PROTOCOL_FEATURES, &offer->protocol_features))
		return false;
	agreed = offer->protocol_features & WANTED;
	rc =
	    send_request(f, VUS_SET_PROTOCOL_FEATURES, &agreed, sizeof(agreed));
	if (rc < 0)
		return failed(f, "SET_PROTOCOL_FEATURES", rc);
	if ((agreed & VUS_BIT(VUS_F_MQ)) != 0 &&
	    !ASK(f, GET_QUEUE_NUM, &offer->queues))
		return false;
	if ((agreed & VUS_BIT(VUS_F_CONFIGURE_MEM_SLOTS)) != 0 &&
	    !ASK(f, GET_MAX_MEM_SLOTS, &offer->mem_slots))
		return false;
	if ((agreed & VUS_BIT(VUS_F_SHMEM)) != 0 && !ask_shmem(f, offer))
		return false;
	return (agreed & VUS_BIT(VUS_F_CONFIG)) == 0 ||
	       ask_config(f, offer, config_size);
}

enum ctl_status
frontend_ask(const char *path, unsigned seconds, unsigned config_size,
    struct frontend_offer *offer)
{
	struct frontend f = { .path = path };
	int rc = sock_connect(&f.sock, path, seconds);
	bool good;

	memset(offer, 0, sizeof(*offer));
	if (rc < 0) {
		(void)failed(&f, "cannot connect", rc);
		return CTL_UNREACHABLE;
	}
	good = ask_all(&f, offer, config_size);
	sock_close(&f.sock);
	return good ? CTL_OK : f.timed_out ? CTL_UNREACHABLE : CTL_FAILED;
}
