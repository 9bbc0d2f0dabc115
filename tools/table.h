/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A table for people, of the objects in a reply. */
#ifndef TABLE_H
#define TABLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#define TABLE_COLUMNS_MAX 12U

struct table_column {
	const char *title;
	/* The cell's text, to be freed; NULL if the row does not have what
	 * belongs there, which has been said. */
	char *(*cell)(const json_t *row, const char *key);
	const char *key;
	bool right; /* numbers */
};

/*
 * Print a line of titles and one for each row, each column as wide as it has
 * to be, lines cut at width columns (0: never). Returns false if a cell could
 * not be made; then nothing is printed.
 */
bool table_print(FILE *out, const json_t *rows,
    const struct table_column *columns, unsigned ncolumns, unsigned width)
    __attribute__((warn_unused_result));

/* Cells; those of null and of empty lists are "-". */
char *cell_text(const json_t *row, const char *key);
char *cell_text_or_null(const json_t *row, const char *key);
char *cell_count(const json_t *row, const char *key);
char *cell_size(const json_t *row, const char *key);
char *cell_age(const json_t *row, const char *key);
char *cell_texts(const json_t *row, const char *key); /* a,b,c */
char *cell_time(const json_t *row, const char *key);  /* of nanoseconds */

#endif
