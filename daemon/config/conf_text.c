/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The bytes of configuration files; see conf_text.h. */
#include "config.h"

#include "daemon/config/conf_text.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct cleaning {
	char *at, *end;
	unsigned line, depth;
	char mark, before; /* the last "{", "}", "=" or ",", and that before */
	char *why;
};

static bool __attribute__((format(printf, 2, 3)))
refuse(struct cleaning *c, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(c->why, CONF_WHY_MAX, format, ap);
	va_end(ap);
	return false;
}

static bool
is_control(char c)
{
	return (unsigned char)c < ' ' || c == 0x7f;
}

static bool
refuse_control(struct cleaning *c)
{
	return refuse(c, "a control character (0x%02x)%s",
	    (unsigned)(unsigned char)*c->at,
	    *c->at == '\r' ? ": lines end with LF alone" : "");
}

/* The character behind the one at hand, NUL behind the last. */
static char
next_of(const struct cleaning *c)
{
	if (c->at + 1 == c->end)
		return '\0';
	return c->at[1];
}

static void
blank_comment(struct cleaning *c)
{
	for (; c->at < c->end && *c->at != '\n'; c->at++)
		*c->at = ' ';
}

/* From the opening quote to behind the closing one. */
static bool
pass_string(struct cleaning *c)
{
	for (c->at++; c->at < c->end && *c->at != '"'; c->at++) {
		char next = next_of(c);

		if (*c->at == '\n')
			break;
		if (is_control(*c->at))
			return refuse_control(c);
		/* Of keys libconfuse would make a path into other sections. */
		if (*c->at == '|')
			return refuse(c, "'|' cannot be part of a string");
		if (*c->at == '$' && next == '{')
			return refuse(c, "'${' cannot be part of a string: "
					 "there are no variables");
		if (*c->at != '\\')
			continue;
		if (next != '"' && next != '\\')
			return refuse(c, "in a string a backslash comes before "
					 "\" or \\ only");
		c->at++;
	}
	if (c->at == c->end || *c->at != '"')
		return refuse(c, "a string has no end in its line");
	c->at++;
	c->mark = c->before = '"';
	return true;
}

static bool
pass_mark(struct cleaning *c)
{
	char mark = *c->at++;

	if (mark == '{' && ++c->depth > CONF_DEPTH_MAX)
		return refuse(
		    c, "more than %u braces in each other", CONF_DEPTH_MAX);
	if (mark == '}' && c->depth-- == 0)
		return refuse(c, "a closing brace without an opening one");
	if (mark == '}' && c->mark == '{' && c->before == '=')
		return refuse(c, "an empty list: leave the key out");
	c->before = c->mark;
	c->mark = mark;
	return true;
}

static bool
is_word(char c)
{
	return isalnum((unsigned char)c) ||
	       (c != '\0' && strchr("-_./:@%~", c) != NULL);
}

static bool
pass_word(struct cleaning *c)
{
	char next = next_of(c);

	if (*c->at == '/' && next == '/')
		return refuse(c, "a path with two slashes belongs into double "
				 "quotes; comments begin with #");
	if (*c->at == '/' && next == '*')
		return refuse(c, "comments begin with #");
	if (*c->at == '/' && !is_word(next))
		return refuse(c, "a path that ends with a slash belongs into "
				 "double quotes");
	c->at++;
	c->mark = c->before = 'w';
	return true;
}

static bool
pass(struct cleaning *c)
{
	switch (*c->at) {
	case '\n':
		c->line++;
		c->at++;
		return true;
	case ' ':
	case '\t':
		c->at++;
		return true;
	case '#':
		blank_comment(c);
		return true;
	case '"':
		return pass_string(c);
	case '{':
	case '}':
	case '=':
	case ',':
		return pass_mark(c);
	default:
		break;
	}
	if (is_word(*c->at))
		return pass_word(c);
	if (is_control(*c->at))
		return refuse_control(c);
	if ((unsigned char)*c->at >= 0x80)
		return refuse(c, "a character that is not ASCII belongs into "
				 "double quotes");
	return refuse(c, "'%c' belongs into double quotes", *c->at);
}

unsigned
conf_text_clean(char *text, size_t len, char why[static CONF_WHY_MAX])
{
	struct cleaning c = { .line = 1 };

	c.at = text;
	c.end = text + len;
	c.why = why;
	while (c.at < c.end)
		if (!pass(&c))
			return c.line;
	*c.end = '\0';
	if (c.depth == 0)
		return 0;
	(void)refuse(&c, "the file ends, and %u closing brace%s missing",
	    c.depth, c.depth == 1 ? " is" : "s are");
	return c.line;
}
