/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Text of others'; see text.h. */
#include "config.h"

#include "tools/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void
text_freep(char **text)
{
	free(*text);
	*text = NULL;
}

static void *
have(void *memory)
{
	if (memory == NULL) {
		(void)fputs(CTL_NAME ": error: out of memory\n", stderr);
		exit(CTL_FAILED);
	}
	return memory;
}

char *
text_format(const char *format, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, format);
	if (vasprintf(&text, format, ap) < 0)
		text = NULL;
	va_end(ap);
	return have(text);
}

/* --- what a terminal may see --------------------------------------------- */

/* The character that begins here and its bytes, or 0 bytes if it is not
 * UTF-8. */
static size_t
decode(const unsigned char *at, uint32_t *code)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len = at[0] < 0x80   ? 1
		     : at[0] < 0xc0 ? 0
		     : at[0] < 0xe0 ? 2
		     : at[0] < 0xf0 ? 3
		     : at[0] < 0xf8 ? 4
				    : 0;

	if (len <= 1) {
		*code = at[0];
		return len;
	}
	*code = at[0] & (0x7fU >> len);
	for (size_t i = 1; i < len; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0; /* the zero at the end, too */
		*code = *code << 6 | (at[i] & 0x3fU);
	}
	return *code >= least[len] && *code <= 0x10ffff ? len : 0;
}

static bool
harmless(uint32_t code)
{
	return code >= 0x20 && (code < 0x7f || code >= 0xa0) &&
	       /* Marks, embeddings, overrides and isolates of direction;
		* separators of lines. */
	       (code < 0x200b || code > 0x200f) &&
	       (code < 0x2028 || code > 0x202e) &&
	       (code < 0x2060 || code > 0x206f) && code != 0xfeff;
}

char *
text_visible(const char *text, const char *keep)
{
	const unsigned char *at = (const unsigned char *)text;
	char *visible = have(malloc(4 * strlen(text) + 1)), *to = visible;

	while (*at != '\0') {
		uint32_t code;
		size_t len = decode(at, &code);
		bool stays =
		    len != 0 && (harmless(code) ||
				    (code < 0x80 && strchr(keep, *at) != NULL));

		if (len == 0)
			len = 1;
		for (; len != 0; len--, at++) {
			if (stays)
				*to++ = (char)*at;
			else
				to += sprintf(to, "\\x%02x", *at);
		}
	}
	*to = '\0';
	return visible;
}

char *
text_shell(const char *text)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789%+,-./:=@_";
	char *word = have(malloc(4 * strlen(text) + 4)), *to = word;
	bool odd = false;

	if (*text != '\0' && text[strspn(text, plain)] == '\0')
		return memcpy(word, text, strlen(text) + 1);
	/* $'' is for what '' cannot hold, or a terminal should not get. */
	for (const char *c = text; *c != '\0'; c++)
		odd = odd || *c == '\'' || (unsigned char)*c < 0x20 ||
		      (unsigned char)*c >= 0x7f;
	to = stpcpy(to, odd ? "$'" : "'");
	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;

		if (odd && (c < 0x20 || c >= 0x7f || c == '\\' || c == '\''))
			to += sprintf(to, "\\x%02x", c);
		else
			*to++ = *text;
	}
	to[0] = '\'';
	to[1] = '\0';
	return word;
}

size_t
text_width(const char *text)
{
	size_t width = 0;

	for (; *text != '\0'; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

size_t
text_cut(const char *text, size_t columns)
{
	size_t i = 0;

	for (; text[i] != '\0'; i++)
		if (((unsigned char)text[i] & 0xc0) != 0x80 && columns-- == 0)
			break;
	return i;
}

/* --- numbers for people -------------------------------------------------- */

char *
text_size(uint64_t bytes)
{
	static const char units[] = "KMGTPE";
	double value = (double)bytes;
	unsigned unit = 0;

	if (bytes < 1024)
		return text_format("%" PRIu64, bytes);
	for (value /= 1024; value >= 1024 && units[unit + 1] != '\0'; unit++)
		value /= 1024;
	if (value == (double)(uint64_t)value || value >= 100)
		return text_format("%.0f%c", value, units[unit]);
	return text_format("%.1f%c", value, units[unit]);
}

char *
text_age(double seconds)
{
	/* What is not a time, and NAN, is shown as none. */
	uint64_t s = seconds >= 0 && seconds < 1e12 ? (uint64_t)seconds : 0;

	if (s < 60)
		return text_format("%" PRIu64 "s", s);
	if (s < 3600)
		return text_format("%" PRIu64 "m %" PRIu64 "s", s / 60, s % 60);
	if (s < 86400)
		return text_format(
		    "%" PRIu64 "h %" PRIu64 "m", s / 3600, s / 60 % 60);
	return text_format(
	    "%" PRIu64 "d %" PRIu64 "h", s / 86400, s / 3600 % 24);
}

/* --- output -------------------------------------------------------------- */

void
text_say_error(const char *format, ...)
{
	char *text = NULL, *visible;
	va_list ap;

	va_start(ap, format);
	if (vasprintf(&text, format, ap) < 0)
		text = NULL;
	va_end(ap);
	visible = text_visible(have(text), "\n");
	(void)fprintf(stderr, CTL_NAME ": error: %s\n", visible);
	free(visible);
	free(text);
}

static enum ctl_status
flushed(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return CTL_OK;
	(void)text_error("standard output: %s", strerror(errno));
	return CTL_FAILED;
}

enum ctl_status
text_json(const json_t *what)
{
	AUTO_TEXT text = have(
	    json_dumps(what, JSON_INDENT(2) | JSON_ENSURE_ASCII |
				 JSON_ENCODE_ANY | JSON_REAL_PRECISION(9)));

	/* Of what a terminal obeys, all but DEL is escaped by now. */
	for (const char *c = text; *c != '\0'; c++)
		if (*c == 0x7f)
			(void)fputs("\\u007f", stdout);
		else
			(void)putchar(*c);
	(void)putchar('\n');
	return flushed();
}

enum ctl_status
text_show(bool (*render)(FILE *out, const json_t *what), const json_t *what)
{
	AUTO_TEXT text = NULL;
	size_t size;
	FILE *out = have(open_memstream(&text, &size));
	bool good = render(out, what);

	if (fclose(out) != 0 && good)
		good = text_error("out of memory");
	if (!good)
		return CTL_FAILED;
	(void)fputs(text, stdout);
	return flushed();
}
