/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tables; see table.h. */
#include "config.h"

#include "tools/table.h"

#include "tools/reply.h"
#include "tools/text.h"

#include <inttypes.h>
#include <stdlib.h>

/* --- cells --------------------------------------------------------------- */

char *
cell_text(const json_t *row, const char *key)
{
	const char *text;

	return reply_text(row, key, false, &text) ? text_visible(text, "")
						  : NULL;
}

char *
cell_text_or_null(const json_t *row, const char *key)
{
	const char *text;

	return reply_text(row, key, true, &text)
		   ? text_visible(text != NULL ? text : "-", "")
		   : NULL;
}

char *
cell_count(const json_t *row, const char *key)
{
	uint64_t count;

	return reply_count(row, key, &count) ? text_format("%" PRIu64, count)
					     : NULL;
}

char *
cell_size(const json_t *row, const char *key)
{
	uint64_t size;

	return reply_count(row, key, &size) ? text_size(size) : NULL;
}

char *
cell_age(const json_t *row, const char *key)
{
	double seconds;

	return reply_number(row, key, &seconds) ? text_age(seconds) : NULL;
}

char *
cell_time(const json_t *row, const char *key)
{
	double ns;

	if (!reply_number(row, key, &ns))
		return NULL;
	return ns == 0	  ? text_format("-")
	       : ns < 1e3 ? text_format("%.0fns", ns)
	       : ns < 1e6 ? text_format("%.1fus", ns / 1e3)
	       : ns < 1e9 ? text_format("%.1fms", ns / 1e6)
			  : text_format("%.1fs", ns / 1e9);
}

char *
cell_texts(const json_t *row, const char *key)
{
	const json_t *texts = reply_texts(row, key);
	char *all = NULL;

	if (texts == NULL)
		return NULL;
	for (size_t i = 0; i < json_array_size(texts); i++) {
		AUTO_TEXT before = all;

		AUTO_TEXT text = text_visible(
		    json_string_value(json_array_get(texts, i)), "");
		all = text_format("%s%s%s", before != NULL ? before : "",
		    before != NULL ? "," : "", text);
	}
	return all != NULL ? all : text_format("-");
}

/* --- the table ----------------------------------------------------------- */

static void
print_line(FILE *out, char *const *cells, const size_t *widths,
    const struct table_column *columns, unsigned n, unsigned width)
{
	AUTO_TEXT line = NULL;
	size_t size, len;
	FILE *to = open_memstream(&line, &size);

	if (to == NULL)
		return;
	for (unsigned i = 0; i < n; i++) {
		int pad = (int)(widths[i] - text_width(cells[i]));

		if (columns[i].right)
			(void)fprintf(to, "%*s%s", pad, "", cells[i]);
		else
			(void)fprintf(to, "%s%*s", cells[i], pad, "");
		if (i + 1 < n)
			(void)fputs("  ", to);
	}
	if (fclose(to) != 0)
		return;
	len = width != 0 ? text_cut(line, width) : size;
	while (len != 0 && line[len - 1] == ' ')
		len--;
	(void)fprintf(out, "%.*s\n", (int)len, line);
}

static void
measure(char *const *cells, size_t *widths, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (text_width(cells[i]) > widths[i])
			widths[i] = text_width(cells[i]);
}

bool
table_print(FILE *out, const json_t *rows, const struct table_column *columns,
    unsigned ncolumns, unsigned width)
{
	size_t widths[TABLE_COLUMNS_MAX] = { 0 }, nrows = json_array_size(rows);
	char **cells = calloc((nrows + 1) * ncolumns, sizeof(*cells));
	bool good = cells != NULL || text_error("out of memory");

	for (unsigned c = 0; good && c < ncolumns; c++)
		cells[c] = text_format("%s", columns[c].title);
	for (size_t r = 0; good && r < nrows; r++)
		for (unsigned c = 0; good && c < ncolumns; c++) {
			char *cell = columns[c].cell(
			    json_array_get(rows, r), columns[c].key);

			cells[(r + 1) * ncolumns + c] = cell;
			good = cell != NULL;
		}
	for (size_t r = 0; good && r <= nrows; r++)
		measure(cells + r * ncolumns, widths, ncolumns);
	for (size_t r = 0; good && r <= nrows; r++)
		print_line(out, cells + r * ncolumns, widths, columns, ncolumns,
		    width);
	for (size_t i = 0; cells != NULL && i < (nrows + 1) * ncolumns; i++)
		free(cells[i]);
	free(cells);
	return good;
}
