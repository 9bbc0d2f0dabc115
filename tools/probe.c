/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The command "probe": what a back-end offers, in words. */
#include "config.h"

#include "proto/names.h"
#include "tools/frontend.h"
#include "tools/text.h"

#include <inttypes.h>

static bool
has(uint64_t bits, unsigned bit)
{
	return (bits & VUS_BIT(bit)) != 0;
}

/* --- for people ---------------------------------------------------------- */

/* A line of names, broken before it is too long, under a title. */
struct line {
	const char *title;
	size_t column;
	bool more;
};

static void
line_add(struct line *l, const char *word)
{
	enum { INDENT = 22, WIDTH = 79 };

	if (!l->more)
		l->column = (size_t)printf("%-*s%s", INDENT, l->title, word);
	else if (l->column + 2 + text_width(word) > WIDTH)
		l->column = (size_t)printf(",\n%*s%s", INDENT, "", word) - 2;
	else
		l->column += (size_t)printf(", %s", word);
	l->more = true;
}

static void
line_end(struct line *l)
{
	if (!l->more)
		line_add(l, "none");
	(void)putchar('\n');
}

static void
print_protocol_features(uint64_t bits)
{
	struct line l = { .title = "protocol features:" };

	for (unsigned bit = 0; bit < 64; bit++) {
		const char *name = name_of_protocol_feature(bit);
		AUTO_TEXT word = name != NULL
				     ? text_format("%s (%u)", name, bit)
				     : text_format("unknown (%u)", bit);

		if (has(bits, bit))
			line_add(&l, word);
	}
	line_end(&l);
}

static void
print_features(uint64_t bits)
{
	struct line l = { .title = "virtio features:" };
	struct line own = { .title = "device-specific bits:" };

	for (unsigned bit = 0; bit < 64; bit++) {
		const char *name = name_of_virtio_feature(bit);
		AUTO_TEXT word = name != NULL
				     ? text_format("%s (%u)", name, bit)
				     : text_format("unknown (%u)", bit);

		if (has(bits, bit) && !name_is_device_specific(bit))
			line_add(&l, word);
	}
	line_end(&l);
	for (unsigned bit = 0; bit < 64; bit++) {
		AUTO_TEXT number = text_format("%u", bit);

		if (has(bits, bit) && name_is_device_specific(bit))
			line_add(&own, number);
	}
	line_end(&own);
}

static void
print_config(const struct frontend_offer *o)
{
	unsigned end = o->config_size;

	while (end != 0 && o->config[end - 1] == 0)
		end--;
	(void)printf("configuration space:  %u bytes%s\n", o->config_size,
	    end + 16 < o->config_size ? "; what is not shown is zeros" : "");
	for (unsigned i = 0; i < o->config_size; i++) {
		if (i % 16 == 0 && i != 0 && i >= end)
			break;
		(void)printf("%s%02x", i % 16 != 0 ? " " : "  ", o->config[i]);
		if (i % 16 == 15 || i + 1 == o->config_size)
			(void)putchar('\n');
	}
}

static void
print_shmem(const struct frontend_offer *o)
{
	(void)printf("shared memory:        %u region%s\n", o->nregions,
	    o->nregions != 1 ? "s" : "");
	for (unsigned i = 0; i < VUS_SHMEM_MAX; i++) {
		AUTO_TEXT size = text_size(o->shmem[i]);

		if (o->shmem[i] != 0)
			(void)printf("  shmid %u: %s (%" PRIu64 " bytes)\n", i,
			    size, o->shmem[i]);
	}
}

static void
print_offer(const struct frontend_offer *o)
{
	print_features(o->features);
	if (!has(o->features, VUS_VIRTIO_F_PROTOCOL_FEATURES)) {
		(void)puts("protocol features:    not offered, so there is no "
			   "more to ask");
		return;
	}
	print_protocol_features(o->protocol_features);
	if (has(o->protocol_features, VUS_F_MQ))
		(void)printf("queues:               %" PRIu64 "\n", o->queues);
	else
		(void)puts("queues:               not told: MQ is not offered");
	if (has(o->protocol_features, VUS_F_CONFIGURE_MEM_SLOTS))
		(void)printf(
		    "memory slots:         %" PRIu64 "\n", o->mem_slots);
	else
		(void)puts("memory slots:         not told: "
			   "CONFIGURE_MEM_SLOTS is not offered");
	if (has(o->protocol_features, VUS_F_SHMEM))
		print_shmem(o);
	else
		(void)puts("shared memory:        none: SHMEM is not offered");
	if (has(o->protocol_features, VUS_F_CONFIG))
		print_config(o);
	else
		(void)puts("configuration space:  not told: CONFIG is not "
			   "offered");
}

/* --- for programs -------------------------------------------------------- */

static json_t *
bits_json(uint64_t bits, const char *(*name_of)(unsigned))
{
	json_t *list = json_array();

	for (unsigned bit = 0; bit < 64; bit++)
		if (has(bits, bit))
			(void)json_array_append_new(
			    list, json_pack("{s:i, s:s?}", "bit", (int)bit,
				      "name", name_of(bit)));
	return list;
}

static json_t *
config_json(const struct frontend_offer *o)
{
	char hex[2 * VUS_CONFIG_MAX + 1] = "";

	for (unsigned i = 0; i < o->config_size; i++)
		(void)snprintf(hex + 2 * (size_t)i, 3, "%02x", o->config[i]);
	return json_string(hex);
}

static json_t *
shmem_json(const struct frontend_offer *o)
{
	json_t *list = json_array();

	/* JSON's integers are signed here. A size beyond them cannot be
	 * mapped by anybody. */
	for (unsigned i = 0; i < VUS_SHMEM_MAX; i++)
		if (o->shmem[i] != 0)
			(void)json_array_append_new(list,
			    json_pack("{s:i, s:I}", "shmid", (int)i, "size",
				(json_int_t)(o->shmem[i] > INT64_MAX
						 ? INT64_MAX
						 : o->shmem[i])));
	return list;
}

/* Something that was not offered is not in it. */
static json_t *
offer_json(const struct frontend_offer *o)
{
	json_t *all = json_object();

	(void)json_object_set_new(
	    all, "features", bits_json(o->features, name_of_virtio_feature));
	(void)json_object_set_new(all, "protocol_features",
	    bits_json(o->protocol_features, name_of_protocol_feature));
	if (has(o->protocol_features, VUS_F_MQ))
		(void)json_object_set_new(
		    all, "queues", json_integer((json_int_t)o->queues));
	if (has(o->protocol_features, VUS_F_CONFIGURE_MEM_SLOTS))
		(void)json_object_set_new(all, "memory_slots",
		    json_integer((json_int_t)o->mem_slots));
	if (has(o->protocol_features, VUS_F_SHMEM))
		(void)json_object_set_new(all, "shmem", shmem_json(o));
	if (has(o->protocol_features, VUS_F_CONFIG))
		(void)json_object_set_new(all, "config", config_json(o));
	return all;
}

enum ctl_status
probe_command(const struct ctl_args *args)
{
	static struct frontend_offer offer;
	enum ctl_status status, shown = CTL_OK;
	json_t *json;
	unsigned config_size;

	if (!ctl_number(args, CTL_CONFIG_SIZE, 1, VUS_CONFIG_MAX,
		FRONTEND_CONFIG_ASK_ALL, &config_size))
		return CTL_USAGE;
	status = frontend_ask(
	    args->words[0], ctl_timeout(args, 5), config_size, &offer);
	if (status != CTL_OK)
		return status;
	if (args->option[CTL_JSON] != NULL) {
		json = offer_json(&offer);
		shown = text_json(json);
		json_decref(json);
	} else {
		print_offer(&offer);
		shown = fflush(stdout) == 0 ? CTL_OK : CTL_FAILED;
	}
	return shown;
}
