/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The keys of the configuration; see keys.h. */
#include "config.h"

#include "daemon/config/keys.h"

#include "daemon/config/settings.h"
#include "daemon/config/size.h"
#include "proto/fd.h"
#include "proto/wire.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* What a read function is about. */
struct reading {
	const struct key *key;
	struct settings *settings;
	void *base;  /* the section's struct */
	void *field; /* the value in it */
	char *why;   /* of KEYS_WHY_MAX */
};

struct key_type {
	const char *what; /* a value is, for people; NULL: words or a range */
	bool (*read)(const struct reading *r, const char *text);
	/* Into buf, of KEYS_TEXT_MAX. */
	void (*write)(const struct key *key, const void *base,
	    const void *field, char *buf);
};

static bool __attribute__((format(printf, 2, 3)))
refuse(const struct reading *r, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(r->why, KEYS_WHY_MAX, format, ap);
	va_end(ap);
	return false;
}

/* Append to the text in buf. */
static void __attribute__((format(printf, 2, 3)))
append(char *buf, const char *format, ...)
{
	size_t len = strlen(buf);
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(buf + len, KEYS_TEXT_MAX - len, format, ap);
	va_end(ap);
}

/* "a, b or c", of at most KEYS_WHY_MAX. */
static void
join_words(const char *const *words, char *buf)
{
	size_t len = 0;

	buf[0] = '\0';
	for (; *words != NULL && len < KEYS_WHY_MAX; words++)
		len += (size_t)snprintf(buf + len, KEYS_WHY_MAX - len, "%s%s",
		    *words,
		    words[1] == NULL   ? ""
		    : words[2] == NULL ? " or "
				       : ", ");
}

/* --- numbers and sizes --------------------------------------------------- */

static bool
read_digits(const struct reading *r, const char *text, unsigned long *value)
{
	char *end;

	errno = 0;
	*value = strtoul(text, &end, 10);
	return (isdigit((unsigned char)*text) && *end == '\0' && errno == 0 &&
		   *value >= r->key->least && *value <= r->key->most) ||
	       refuse(r,
		   "a number from %" PRIu64 " to %" PRIu64 " belongs here",
		   r->key->least, r->key->most);
}

static bool
read_number(const struct reading *r, const char *text)
{
	unsigned long value;

	if (!read_digits(r, text, &value))
		return false;
	*(unsigned *)r->field = (unsigned)value;
	return true;
}

static void
write_number(
    const struct key *key, const void *base, const void *field, char *buf)
{
	const unsigned *number = field;

	(void)base;
	/* What is left to others is not one. */
	if (*number >= key->least)
		append(buf, "%u", *number);
}

static bool
read_node(const struct reading *r, const char *text)
{
	unsigned long value;

	if (!read_digits(r, text, &value))
		return false;
	*(int *)r->field = (int)value;
	return true;
}

static void
write_node(
    const struct key *key, const void *base, const void *field, char *buf)
{
	const int *node = field;

	(void)key;
	(void)base;
	if (*node >= 0)
		append(buf, "%d", *node);
}

static bool
read_mode(const struct reading *r, const char *text)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 8);
	if (!isdigit((unsigned char)*text) || *end != '\0' || errno != 0 ||
	    value > r->key->most)
		return refuse(r,
		    "a mode is octal digits from 0000 to %04" PRIo64
		    ", such as 0660",
		    r->key->most);
	*(mode_t *)r->field = (mode_t)value;
	return true;
}

static void
write_mode(
    const struct key *key, const void *base, const void *field, char *buf)
{
	const mode_t *mode = field;

	(void)key;
	(void)base;
	append(buf, "%04o", (unsigned)*mode);
}

static bool
read_size(const struct reading *r, const char *text)
{
	switch (size_parse(text, r->field)) {
	case 0:
		return true;
	case -ERANGE:
		return refuse(r, "too large");
	default:
		return refuse(r, "a size is a number above 0, in bytes or "
				 "with one of the units K, M, G and T, such as "
				 "size=64M");
	}
}

static void
write_size(
    const struct key *key, const void *base, const void *field, char *buf)
{
	const uint64_t *size = field;

	(void)key;
	(void)base;
	if (*size != 0)
		(void)size_text(*size, buf);
}

/* --- words --------------------------------------------------------------- */

static bool
read_index(const struct reading *r, const char *text, unsigned *index)
{
	char words[KEYS_WHY_MAX];

	for (unsigned i = 0; r->key->words[i] != NULL; i++)
		if (strcmp(r->key->words[i], text) == 0) {
			*index = i;
			return true;
		}
	join_words(r->key->words, words);
	return refuse(r, "it is %s", words);
}

/* An enum whose values are the places of the words. */
static bool
read_word(const struct reading *r, const char *text)
{
	return read_index(r, text, r->field);
}

static void
write_word(
    const struct key *key, const void *base, const void *field, char *buf)
{
	const unsigned *index = field;

	(void)base;
	append(buf, "%s", key->words[*index]);
}

/* The enums that are kept that way. */
_Static_assert(sizeof(enum settings_sync) == sizeof(unsigned) &&
		   sizeof(enum settings_release) == sizeof(unsigned) &&
		   sizeof(enum memory_access) == sizeof(unsigned) &&
		   sizeof(enum log_level) == sizeof(unsigned) &&
		   sizeof(enum device_id) == sizeof(unsigned),
    "enums are as large as what is written to them");

/* The second word is true; of one alone, that. */
static bool
read_bool(const struct reading *r, const char *text)
{
	unsigned index = 0;

	if (!read_index(r, text, &index))
		return false;
	*(bool *)r->field = index == 1 || r->key->words[1] == NULL;
	return true;
}

static void
write_bool(
    const struct key *key, const void *base, const void *field, char *buf)
{
	const bool *value = field;

	(void)base;
	if (key->words[1] != NULL)
		append(buf, "%s", key->words[*value ? 1 : 0]);
	else if (*value)
		append(buf, "%s", key->words[0]);
}

/* A size among words. */
static bool
read_size_word(const struct reading *r, const char *text)
{
	unsigned index = 0;

	return read_index(r, text, &index) && size_parse(text, r->field) == 0;
}

static bool
read_profile(const struct reading *r, const char *text)
{
	const struct profile *profile = profile_by_name(text);

	if (profile == NULL)
		return refuse(r, "there is no such profile: %s are known",
		    profile_names());
	*(const struct profile **)r->field = profile;
	return true;
}

static void
write_profile(
    const struct key *key, const void *base, const void *field, char *buf)
{
	const struct profile *const *profile = field;

	(void)key;
	(void)base;
	append(buf, "%s", (*profile)->name);
}

/* Features of the rings, to find out whose fault something is. */
static const unsigned features[] = {
	VUS_VIRTIO_F_RING_PACKED,
	VUS_VIRTIO_F_IN_ORDER,
	VUS_VIRTIO_F_INDIRECT_DESC,
	VUS_VIRTIO_F_EVENT_IDX,
};

static bool
read_feature(const struct reading *r, const char *text)
{
	unsigned index = 0;

	if (!read_index(r, text, &index))
		return false;
	*(uint64_t *)r->field |= VUS_BIT(features[index]);
	return true;
}

static void
write_features(
    const struct key *key, const void *base, const void *field, char *buf)
{
	const uint64_t *without = field;

	(void)base;
	for (unsigned i = 0; i < ARRAY_LEN(features); i++)
		if ((*without & VUS_BIT(features[i])) != 0)
			append(buf, "%s%s", buf[0] != '\0' ? ", " : "",
			    key->words[i]);
}

/* --- texts --------------------------------------------------------------- */

static bool
read_text(const struct reading *r, const char *text)
{
	const char *kept;

	if (*text == '\0')
		return refuse(r,
		    r->key->path ? "a path is missing" : "a name is missing");
	if (strlen(text) >= KEYS_PATH_MAX)
		return refuse(r, "longer than %u bytes", KEYS_PATH_MAX - 1);
	kept = settings_text(r->settings, text);
	if (kept == NULL)
		return refuse(r, "%s", strerror(ENOMEM));
	*(const char **)r->field = kept;
	return true;
}

static void
write_text(
    const struct key *key, const void *base, const void *field, char *buf)
{
	const char *const *text = field;

	(void)key;
	(void)base;
	if (*text == NULL)
		return;
	append(buf, "\"");
	for (const char *c = *text; *c != '\0'; c++)
		append(buf, strchr("\"\\", *c) != NULL ? "\\%c" : "%c", *c);
	append(buf, "\"");
}

bool
key_name_ok(const char *name, char why[static KEYS_WHY_MAX])
{
	size_t len = strlen(name);
	struct reading r = { 0 };

	r.why = why;
	if (len == 0 || len >= SETTINGS_NAME_MAX)
		return refuse(
		    &r, "a name has 1 to %u characters", SETTINGS_NAME_MAX - 1);
	for (const char *c = name; *c != '\0'; c++)
		if (!isalnum((unsigned char)*c) && strchr("-_.", *c) == NULL)
			return refuse(&r, "letters, digits, '-', '_' and '.' "
					  "make a name");
	return true;
}

/* --- bytes --------------------------------------------------------------- */

static int
hex_digit(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = strchr(digits, tolower((unsigned char)c));

	return c != '\0' && at != NULL ? (int)(at - digits) : -1;
}

/* How many bytes the digits are, spaces between bytes left out; -1 if it is
 * something else, or more than max. */
static int
read_hex(const char *text, bool spaces, unsigned char *bytes, unsigned max)
{
	unsigned n = 0;

	while (*text != '\0') {
		int high, low;

		if (spaces && *text == ' ') {
			text++;
			continue;
		}
		high = hex_digit(text[0]);
		low = high < 0 ? -1 : hex_digit(text[1]);
		if (low < 0 || n == max)
			return -1;
		bytes[n++] = (unsigned char)(high << 4 | low);
		text += 2;
	}
	return (int)n;
}

static void
write_hex(const unsigned char *bytes, unsigned n, char *buf)
{
	for (unsigned i = 0; i < n; i++)
		append(buf, "%02x", bytes[i]);
}

static bool
read_sha256(const struct reading *r, const char *text)
{
	struct region_settings *region = r->base;
	unsigned char sum[SETTINGS_SHA256];

	if (read_hex(text, false, sum, sizeof(sum)) != (int)sizeof(sum))
		return refuse(r, "64 hexadecimal digits belong here, as "
				 "sha256sum prints them");
	memcpy(region->sha256, sum, sizeof(sum));
	region->has_sha256 = true;
	return true;
}

static void
write_sha256(
    const struct key *key, const void *base, const void *field, char *buf)
{
	const struct region_settings *region = base;

	(void)key;
	if (region->has_sha256)
		write_hex(field, SETTINGS_SHA256, buf);
}

static bool
read_config(const struct reading *r, const char *text)
{
	struct device_settings *device = r->base;
	unsigned char bytes[SETTINGS_CONFIG_MAX];
	int n = read_hex(text, true, bytes, sizeof(bytes));

	if (n <= 0)
		return refuse(r,
		    "1 to %u bytes of two hexadecimal digits "
		    "belong here, such as \"00 1f\"",
		    SETTINGS_CONFIG_MAX);
	memcpy(device->config, bytes, (size_t)n);
	device->config_size = (unsigned)n;
	return true;
}

static bool
read_config_file(const struct reading *r, const char *text)
{
	struct device_settings *device = r->base;
	AUTO_FD int fd = open(text, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	unsigned char bytes[SETTINGS_CONFIG_MAX + 1];
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return refuse(r, "%s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return refuse(r, "not a regular file");
	n = read(fd, bytes, sizeof(bytes));
	if (n < 0)
		return refuse(r, "%s", strerror(errno));
	if (n == 0 || n > (ssize_t)SETTINGS_CONFIG_MAX)
		return refuse(r,
		    "a configuration space has 1 to %u bytes; "
		    "the file has %s",
		    SETTINGS_CONFIG_MAX, n == 0 ? "none" : "more");
	memcpy(device->config, bytes, (size_t)n);
	device->config_size = (unsigned)n;
	return true;
}

static void
write_config(
    const struct key *key, const void *base, const void *field, char *buf)
{
	const struct device_settings *device = base;

	(void)key;
	write_hex(field, device->config_size, buf);
}

/* The bytes are shown as config. */
static void
write_nothing(
    const struct key *key, const void *base, const void *field, char *buf)
{
	(void)key;
	(void)base;
	(void)field;
	buf[0] = '\0';
}

/* --- users and groups ---------------------------------------------------- */

/* (uid_t)-1 and (gid_t)-1 stand for none. */
#define NO_ID UINT32_MAX
_Static_assert(
    sizeof(uid_t) == sizeof(uint32_t) && sizeof(gid_t) == sizeof(uint32_t),
    "ids are kept as 32 bits");

static bool
read_id(const char *text, uint32_t *id)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 10);
	*id = (uint32_t)value;
	return isdigit((unsigned char)*text) && *end == '\0' && errno == 0 &&
	       value < NO_ID;
}

static bool
find_user(const struct reading *r, const char *text, uint32_t *id)
{
	const struct passwd *pw;

	if (read_id(text, id))
		return true;
	pw = getpwnam(text);
	if (pw == NULL)
		return refuse(r, "there is no such user");
	*id = pw->pw_uid;
	return true;
}

static bool
find_group(const struct reading *r, const char *text, uint32_t *id)
{
	const struct group *gr;

	if (read_id(text, id))
		return true;
	gr = getgrnam(text);
	if (gr == NULL)
		return refuse(r, "there is no such group");
	*id = gr->gr_gid;
	return true;
}

static void
append_user(char *buf, uint32_t id)
{
	const struct passwd *pw = getpwuid(id);

	append(buf, "%s", buf[0] != '\0' ? ", " : "");
	if (pw != NULL)
		append(buf, "%s", pw->pw_name);
	else
		append(buf, "%u", id);
}

static void
append_group(char *buf, uint32_t id)
{
	const struct group *gr = getgrgid(id);

	append(buf, "%s", buf[0] != '\0' ? ", " : "");
	if (gr != NULL)
		append(buf, "%s", gr->gr_name);
	else
		append(buf, "%u", id);
}

static bool
read_user(const struct reading *r, const char *text)
{
	uint32_t id;

	if (!find_user(r, text, &id))
		return false;
	*(uid_t *)r->field = id;
	return true;
}

static bool
read_group(const struct reading *r, const char *text)
{
	uint32_t id;

	if (!find_group(r, text, &id))
		return false;
	*(gid_t *)r->field = id;
	return true;
}

static void
write_user(
    const struct key *key, const void *base, const void *field, char *buf)
{
	const uid_t *uid = field;

	(void)key;
	(void)base;
	if (*uid != NO_ID)
		append_user(buf, *uid);
}

static void
write_group(
    const struct key *key, const void *base, const void *field, char *buf)
{
	const gid_t *gid = field;

	(void)key;
	(void)base;
	if (*gid != NO_ID)
		append_group(buf, *gid);
}

static bool
read_allow_user(const struct reading *r, const char *text)
{
	struct device_settings *device = r->base;
	uint32_t id;

	if (!find_user(r, text, &id))
		return false;
	if (device->nallow_users == SETTINGS_ALLOW_MAX)
		return refuse(r, "more than %u users", SETTINGS_ALLOW_MAX);
	device->allow_users[device->nallow_users++] = id;
	return true;
}

static bool
read_allow_group(const struct reading *r, const char *text)
{
	struct device_settings *device = r->base;
	uint32_t id;

	if (!find_group(r, text, &id))
		return false;
	if (device->nallow_groups == SETTINGS_ALLOW_MAX)
		return refuse(r, "more than %u groups", SETTINGS_ALLOW_MAX);
	device->allow_groups[device->nallow_groups++] = id;
	return true;
}

static void
write_allow_users(
    const struct key *key, const void *base, const void *field, char *buf)
{
	const struct device_settings *device = base;

	(void)key;
	(void)field;
	for (unsigned i = 0; i < device->nallow_users; i++)
		append_user(buf, device->allow_users[i]);
}

static void
write_allow_groups(
    const struct key *key, const void *base, const void *field, char *buf)
{
	const struct device_settings *device = base;

	(void)key;
	(void)field;
	for (unsigned i = 0; i < device->nallow_groups; i++)
		append_group(buf, device->allow_groups[i]);
}

/* --- the table ----------------------------------------------------------- */

static const struct key_type type_number = { NULL, read_number, write_number };
static const struct key_type type_node = { NULL, read_node, write_node };
static const struct key_type type_mode = { "a mode, octal digits, 0000 to 0777",
	read_mode, write_mode };
static const struct key_type type_size = {
	"a size: bytes, or with K, M, G or T in units of 1024", read_size,
	write_size
};
static const struct key_type type_word = { NULL, read_word, write_word };
static const struct key_type type_bool = { NULL, read_bool, write_bool };
static const struct key_type type_size_word = { NULL, read_size_word,
	write_size };
static const struct key_type type_profile = { "a profile", read_profile,
	write_profile };
static const struct key_type type_features = { NULL, read_feature,
	write_features };
static const struct key_type type_path = { "a path", read_text, write_text };
static const struct key_type type_region = { "the name of a region", read_text,
	write_text };
static const struct key_type type_sha256 = { "64 hexadecimal digits",
	read_sha256, write_sha256 };
static const struct key_type type_config = {
	"1 to 256 bytes, two hexadecimal digits each", read_config, write_config
};
static const struct key_type type_config_file = {
	"the path of a file of 1 to 256 bytes", read_config_file, write_nothing
};
static const struct key_type type_user_name = { "a user", read_text,
	write_text };
static const struct key_type type_user = { "a user, by name or number",
	read_user, write_user };
static const struct key_type type_group = { "a group, by name or number",
	read_group, write_group };
static const struct key_type type_users = { "users, by name or number",
	read_allow_user, write_allow_users };
static const struct key_type type_groups = { "groups, by name or number",
	read_allow_group, write_allow_groups };

static const char *const words_sandbox[] = { "auto", "strict", NULL };
static const char *const words_level[] = { [LOG_ERROR] = "error",
	[LOG_WARN] = "warn",
	[LOG_INFO] = "info",
	[LOG_DEBUG] = "debug",
	[LOG_LEVELS] = NULL };
static const char *const words_no[] = { "no", "yes", NULL };
static const char *const words_sync[] = {
	[SYNC_FDATASYNC] = "fdatasync", [SYNC_NONE] = "none", NULL
};
static const char *const words_hugepages[] = { "2M", "1G", NULL };
static const char *const words_access[] = { [MEMORY_READ_WRITE] = "read-write",
	[MEMORY_READ_ONLY] = "read-only",
	NULL };
static const char *const words_shm_access[] = { [MEMORY_READ_WRITE] =
						    "read-write",
	[MEMORY_READ_ONLY] = "read-only",
	[MEMORY_COPY] = "copy",
	NULL };
static const char *const words_release[] = { [RELEASE_KEEP] = "keep",
	[RELEASE_ZERO] = "zero",
	[RELEASE_DISCARD] = "discard",
	NULL };
static const char *const words_device[] = {
	[DEVICE_PMEM] = "pmem", [DEVICE_RAW] = "raw", [DEVICE_IDS] = NULL
};
static const char *const words_without[] = { "packed", "in-order", "indirect",
	"event-idx", NULL };
static const char *const words_fallback[] = { "copy", NULL };

#define IN_SETTINGS(member) offsetof(struct settings, member)
#define IN_REGION(member) offsetof(struct region_settings, member)
#define IN_DEVICE(member) offsetof(struct device_settings, member)
#define IN_SHM(member) offsetof(struct shm_settings, member)

static const struct key top_keys[TOP_KEYS] = {
	[TOP_USER] = { .name = "user",
	    .type = &type_user_name,
	    .offset = IN_SETTINGS(user),
	    .otherwise = PACKAGE_NAME " if there is such a user, else nobody",
	    .help = "who workers are when root starts the daemon" },
	[TOP_SANDBOX] = { .name = "sandbox",
	    .type = &type_bool,
	    .offset = IN_SETTINGS(strict),
	    .words = words_sandbox,
	    .value = "auto",
	    .help = "strict: do not start where the host lacks a layer" },
	[TOP_LOG_LEVEL] = { .name = "log-level",
	    .type = &type_word,
	    .offset = IN_SETTINGS(log_level),
	    .words = words_level,
	    .value = "info",
	    .help = "the least important lines that appear" },
	[TOP_CONTROL_SOCKET] = { .name = "control-socket",
	    .type = &type_path,
	    .offset = IN_SETTINGS(control_socket),
	    .path = true,
	    .otherwise = CONTROL_SOCKET,
	    .help = "where programs of the host ask; none: nowhere" },
	[TOP_CONTROL_GROUP] = { .name = "control-group",
	    .type = &type_group,
	    .offset = IN_SETTINGS(control_gid),
	    .otherwise = "root and the daemon's user alone",
	    .help = "who may use the control socket besides" },
};

static const struct key region_keys[REGION_KEYS] = {
	[REGION_SIZE] = { .name = "size",
	    .type = &type_size,
	    .offset = IN_REGION(size),
	    .otherwise = "the image's, rounded up to what works; the file's",
	    .help = "how large the region is" },
	[REGION_IMAGE] = { .name = "image",
	    .type = &type_path,
	    .offset = IN_REGION(image),
	    .path = true,
	    .otherwise = "zeros",
	    .help = "the region begins with a copy of this file" },
	[REGION_SHA256] = { .name = "sha256",
	    .type = &type_sha256,
	    .offset = IN_REGION(sha256),
	    .otherwise = "not compared",
	    .help = "the sum that the image must have" },
	[REGION_FILE] = { .name = "file",
	    .type = &type_path,
	    .offset = IN_REGION(file),
	    .path = true,
	    .otherwise = "memory",
	    .help = "this file is the region, and what is written stays" },
	[REGION_CREATE] = { .name = "create",
	    .type = &type_bool,
	    .offset = IN_REGION(create),
	    .words = words_no,
	    .value = "no",
	    .help = "make the file, or make it longer" },
	[REGION_SYNC] = { .name = "sync",
	    .type = &type_word,
	    .offset = IN_REGION(sync),
	    .words = words_sync,
	    .value = "fdatasync",
	    .help = "when a guest's flush of a file has been done" },
	[REGION_HUGEPAGES] = { .name = "hugepages",
	    .type = &type_size_word,
	    .offset = IN_REGION(hugepages),
	    .words = words_hugepages,
	    .otherwise = "ordinary pages",
	    .help = "memory in pages of this size" },
	[REGION_NUMA_NODE] = { .name = "numa-node",
	    .type = &type_node,
	    .offset = IN_REGION(numa_node),
	    .most = 1023,
	    .otherwise = "any",
	    .help = "memory of this node alone" },
	[REGION_PREALLOC] = { .name = "prealloc",
	    .type = &type_bool,
	    .offset = IN_REGION(prealloc),
	    .words = words_no,
	    .value = "no",
	    .help = "take all memory at the start" },
	[REGION_LOCK] = { .name = "lock",
	    .type = &type_bool,
	    .offset = IN_REGION(lock),
	    .words = words_no,
	    .value = "no",
	    .help = "never swap it out" },
	[REGION_ACCESS] = { .name = "access",
	    .type = &type_word,
	    .offset = IN_REGION(access),
	    .words = words_access,
	    .value = "read-write",
	    .help = "read-only: front-ends cannot write to it" },
	[REGION_ON_RELEASE] = { .name = "on-release",
	    .type = &type_word,
	    .offset = IN_REGION(release),
	    .words = words_release,
	    .value = "keep",
	    .help = "what becomes of it when its last front-end leaves" },
	[REGION_MAX_CONNECTIONS] = { .name = "max-connections",
	    .type = &type_number,
	    .offset = IN_REGION(max_connections),
	    .most = 65535,
	    .value = "0",
	    .help = "front-ends at a time, of all devices; 0: no limit" },
};

static const struct key device_keys[DEVICE_KEYS] = {
	[DEVICE_SOCKET] = { .name = "socket",
	    .type = &type_path,
	    .offset = IN_DEVICE(socket),
	    .path = true,
	    .otherwise = "it must be there",
	    .help = "the UNIX socket that front-ends connect to" },
	[DEVICE_SOCKET_OWNER] = { .name = "socket-owner",
	    .type = &type_user,
	    .offset = IN_DEVICE(socket_uid),
	    .otherwise = "who starts the daemon",
	    .help = "the owner of the socket" },
	[DEVICE_SOCKET_GROUP] = { .name = "socket-group",
	    .type = &type_group,
	    .offset = IN_DEVICE(socket_gid),
	    .otherwise = "that of who starts the daemon",
	    .help = "the group of the socket" },
	[DEVICE_SOCKET_MODE] = { .name = "socket-mode",
	    .type = &type_mode,
	    .offset = IN_DEVICE(socket_mode),
	    .most = 0777,
	    .value = "0600",
	    .help = "the mode of the socket" },
	[DEVICE_TYPE] = { .name = "type",
	    .type = &type_word,
	    .offset = IN_DEVICE(type),
	    .words = words_device,
	    .value = "pmem",
	    .help = "the device; raw has regions and nothing else" },
	[DEVICE_FRONT_END] = { .name = "front-end",
	    .type = &type_profile,
	    .offset = IN_DEVICE(profile),
	    .value = "qemu",
	    .help = "what connects" },
	[DEVICE_VIRTIO_ID] = { .name = "virtio-id",
	    .type = &type_number,
	    .offset = IN_DEVICE(virtio_id),
	    .least = 1,
	    .most = 63,
	    .otherwise = "27 of a pmem device; of a raw one it is not known",
	    .help = "which virtio device a raw one is to the guest" },
	[DEVICE_QUEUES] = { .name = "queues",
	    .type = &type_number,
	    .offset = IN_DEVICE(queues),
	    .least = 1,
	    .most = SETTINGS_QUEUES_MAX,
	    .value = "1",
	    .help = "virtqueues of a raw device" },
	[DEVICE_CONFIG] = { .name = "config",
	    .type = &type_config,
	    .offset = IN_DEVICE(config),
	    .otherwise = "empty",
	    .help = "the configuration space of a raw device" },
	[DEVICE_CONFIG_FILE] = { .name = "config-file",
	    .type = &type_config_file,
	    .offset = IN_DEVICE(config),
	    .path = true,
	    .otherwise = "empty",
	    .help = "the same, the bytes of a file" },
	[DEVICE_ALLOW_USER] = { .name = "allow-user",
	    .type = &type_users,
	    .offset = IN_DEVICE(allow_users),
	    .list = true,
	    .otherwise = "whom the socket's mode lets in",
	    .help = "front-ends of these users alone, or of allow-group" },
	[DEVICE_ALLOW_GROUP] = { .name = "allow-group",
	    .type = &type_groups,
	    .offset = IN_DEVICE(allow_groups),
	    .list = true,
	    .otherwise = "whom the socket's mode lets in",
	    .help = "front-ends of these groups alone, or of allow-user" },
	[DEVICE_MAX_CONNECTIONS] = { .name = "max-connections",
	    .type = &type_number,
	    .offset = IN_DEVICE(max_connections),
	    .most = 65535,
	    .value = "0",
	    .help = "front-ends at a time; 0: no limit" },
	[DEVICE_MAX_FLUSHES] = { .name = "max-flushes",
	    .type = &type_number,
	    .offset = IN_DEVICE(max_flushes),
	    .most = 1000000,
	    .value = "1000",
	    .help = "flushes of a front-end in a second; 0: no limit" },
	[DEVICE_MESSAGE_TIMEOUT] = { .name = "message-timeout",
	    .type = &type_number,
	    .offset = IN_DEVICE(message_timeout),
	    .least = 1,
	    .most = 3600,
	    .value = "10",
	    .help = "seconds that half a message may wait for the rest" },
	[DEVICE_WITHOUT] = { .name = "without",
	    .type = &type_features,
	    .offset = IN_DEVICE(virtio_without),
	    .words = words_without,
	    .list = true,
	    .otherwise = "all are offered",
	    .help = "features of the rings that are not offered" },
};

static const struct key shm_keys[SHM_KEYS] = {
	[SHM_REGION] = { .name = "region",
	    .type = &type_region,
	    .offset = IN_SHM(name),
	    .otherwise = "it must be there",
	    .help = "which region it is" },
	[SHM_ACCESS] = { .name = "access",
	    .type = &type_word,
	    .offset = IN_SHM(access),
	    .words = words_shm_access,
	    .otherwise = "the region's",
	    .help = "what this device's front-ends may do; copy: each has "
		    "its own" },
	[SHM_FALLBACK] = { .name = "read-only-fallback",
	    .type = &type_bool,
	    .offset = IN_SHM(fallback_copy),
	    .words = words_fallback,
	    .otherwise = "refused, where the profile maps nothing read-only",
	    .help = "what such front-ends get instead of read-only" },
};

static const struct {
	const char *name;
	const struct key *keys;
	unsigned n;
} sections[SECTIONS] = {
	[SECTION_TOP] = { "", top_keys, TOP_KEYS },
	[SECTION_REGION] = { "region", region_keys, REGION_KEYS },
	[SECTION_DEVICE] = { "device", device_keys, DEVICE_KEYS },
	[SECTION_SHM] = { "shm", shm_keys, SHM_KEYS },
};

const char *
key_section_name(enum key_section section)
{
	return sections[section].name;
}

const struct key *
key_by_id(enum key_section section, unsigned id)
{
	return id < sections[section].n ? &sections[section].keys[id] : NULL;
}

const struct key *
key_by_name(enum key_section section, const char *name)
{
	for (unsigned i = 0; i < sections[section].n; i++)
		if (strcmp(sections[section].keys[i].name, name) == 0)
			return &sections[section].keys[i];
	return NULL;
}

unsigned
key_id(enum key_section section, const struct key *key)
{
	return (unsigned)(key - sections[section].keys);
}

/* --- near names ---------------------------------------------------------- */

#define NEAR_MAX 24U

/* How many letters must be put in, left out or changed (Levenshtein). */
static unsigned
distance(const char *a, const char *b)
{
	unsigned row[NEAR_MAX + 1];
	size_t la = strlen(a), lb = strlen(b);

	if (la > NEAR_MAX || lb > NEAR_MAX)
		return UINT32_MAX;
	for (unsigned k = 0; k <= lb; k++)
		row[k] = k;
	for (unsigned i = 1; i <= la; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (unsigned k = 1; k <= lb; k++) {
			unsigned above = row[k];
			unsigned least =
			    above < row[k - 1] ? above : row[k - 1];

			row[k] = diagonal + (a[i - 1] != b[k - 1]);
			if (least + 1 < row[k])
				row[k] = least + 1;
			diagonal = above;
		}
	}
	return row[lb];
}

static void
nearer(const char *name, const char *known, unsigned *best, const char **found)
{
	unsigned steps = distance(name, known);

	if (steps < *best) {
		*best = steps;
		*found = known;
	}
}

const char *
key_nearest(enum key_section section, const char *name)
{
	/* More than a third of it is another word. */
	unsigned best =
	    (unsigned)(strlen(name) < NEAR_MAX ? strlen(name) : NEAR_MAX) / 3 +
	    2;
	const char *found = NULL;

	for (unsigned i = 0; i < sections[section].n; i++)
		nearer(name, sections[section].keys[i].name, &best, &found);
	if (section == SECTION_TOP) {
		nearer(name, "region", &best, &found);
		nearer(name, "device", &best, &found);
	} else if (section == SECTION_DEVICE) {
		nearer(name, "shm", &best, &found);
	}
	return found;
}

/* --- values -------------------------------------------------------------- */

bool
key_read(const struct key *key, struct settings *settings, void *base,
    const char *text, char why[static KEYS_WHY_MAX])
{
	struct reading r = {
		.key = key,
		.settings = settings,
		.base = base,
		.field = (char *)base + key->offset,
	};

	r.why = why;
	return key->type->read(&r, text);
}

void
key_defaults(enum key_section section, struct settings *settings, void *base)
{
	char why[KEYS_WHY_MAX];

	for (unsigned i = 0; i < sections[section].n; i++) {
		const struct key *key = &sections[section].keys[i];

		/* A unit test reads them all. */
		if (key->value != NULL &&
		    !key_read(key, settings, base, key->value, why))
			abort();
	}
}

const char *
key_text(
    const struct key *key, const void *base, char buf[static KEYS_TEXT_MAX])
{
	buf[0] = '\0';
	key->type->write(key, base, (const char *)base + key->offset, buf);
	return buf;
}

/* --- --help-config ------------------------------------------------------- */

static void
print_values(FILE *out, const struct key *key)
{
	char words[KEYS_WHY_MAX];

	(void)fprintf(out, "    values:  ");
	if (key->type->read == read_profile) {
		(void)fprintf(out, "%s\n", profile_names());
		return;
	}
	if (key->type->what != NULL) {
		(void)fprintf(out, "%s\n", key->type->what);
		return;
	}
	if (key->words != NULL) {
		join_words(key->words, words);
		(void)fprintf(
		    out, "%s%s\n", key->list ? "a list of " : "", words);
		return;
	}
	(void)fprintf(
	    out, "%" PRIu64 " to %" PRIu64 "\n", key->least, key->most);
}

static void
print_key(FILE *out, enum key_section section, const struct key *key)
{
	const char *name = key_section_name(section);

	(void)fprintf(out, "%s %s\n", *name != '\0' ? name : "-", key->name);
	print_values(out, key);
	if (key->value != NULL)
		(void)fprintf(out, "    default: %s\n", key->value);
	else
		(void)fprintf(out, "    without: %s\n", key->otherwise);
	(void)fprintf(out, "    %s\n", key->help);
}

void
keys_print(FILE *out)
{
	for (unsigned s = 0; s < SECTIONS; s++)
		for (unsigned i = 0; i < sections[s].n; i++)
			print_key(
			    out, (enum key_section)s, &sections[s].keys[i]);
}
