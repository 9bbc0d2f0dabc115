/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Replies of the daemon's; see reply.h. */
#include "config.h"

#include "tools/reply.h"

#include "tools/text.h"

#include <string.h>

static const json_t *
get(const json_t *object, const char *key)
{
	const char *dot = strchr(key, '.');
	AUTO_TEXT first =
	    dot != NULL ? text_format("%.*s", (int)(dot - key), key) : NULL;

	return dot != NULL
		   ? json_object_get(json_object_get(object, first), dot + 1)
		   : json_object_get(object, key);
}

static bool
unexpected(const json_t *value, const char *key, const char *wanted)
{
	if (value == NULL)
		return text_error(
		    "the daemon's reply makes no sense: \"%s\" is "
		    "missing; are both of one version?",
		    key);
	return text_error("the daemon's reply makes no sense: \"%s\" is not %s;"
			  " are both of one version?",
	    key, wanted);
}

bool
reply_count(const json_t *object, const char *key, uint64_t *count)
{
	const json_t *value = get(object, key);

	*count = 0;
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return unexpected(value, key, "a number from 0 on");
	*count = (uint64_t)json_integer_value(value);
	return true;
}

bool
reply_number(const json_t *object, const char *key, double *number)
{
	const json_t *value = get(object, key);

	*number = json_number_value(value);
	return json_is_number(value) || unexpected(value, key, "a number");
}

bool
reply_flag(const json_t *object, const char *key, bool *flag)
{
	const json_t *value = get(object, key);

	*flag = json_is_true(value);
	return json_is_boolean(value) ||
	       unexpected(value, key, "true or false");
}

bool
reply_text(
    const json_t *object, const char *key, bool may_be_null, const char **text)
{
	const json_t *value = get(object, key);

	*text = json_string_value(value);
	return *text != NULL || (may_be_null && json_is_null(value)) ||
	       unexpected(value, key, "a text");
}

static const json_t *
get_array(
    const json_t *object, const char *key, json_type type, const char *wanted)
{
	const json_t *array = get(object, key), *element;
	size_t i;

	if (!json_is_array(array)) {
		(void)unexpected(array, key, wanted);
		return NULL;
	}
	for (i = 0; i < json_array_size(array); i++) {
		element = json_array_get(array, i);
		if (json_typeof(element) != type) {
			(void)unexpected(element, key, wanted);
			return NULL;
		}
	}
	return array;
}

const json_t *
reply_objects(const json_t *object, const char *key)
{
	return get_array(object, key, JSON_OBJECT, "a list of objects");
}

const json_t *
reply_texts(const json_t *object, const char *key)
{
	return get_array(object, key, JSON_STRING, "a list of texts");
}

const json_t *
reply_find(const json_t *objects, const char *key, const char *text)
{
	for (size_t i = 0; i < json_array_size(objects); i++) {
		const json_t *object = json_array_get(objects, i);
		const char *value =
		    json_string_value(json_object_get(object, key));

		if (value != NULL && strcmp(value, text) == 0)
			return object;
	}
	return NULL;
}
