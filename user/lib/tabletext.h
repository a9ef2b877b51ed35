/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A spare's table as text, one entry a line: what remapctl export writes and import --table reads.
 * The form is described in docs/table-text.md. Nothing here knows of devices; what is read is taken
 * to be hostile, and an error names file and line.
 */
#ifndef REMAP_TABLETEXT_H
#define REMAP_TABLETEXT_H

#include <stdio.h>
#include "err.h"
#include "spare.h"

#define REMAP_TABLETEXT_VERSION	1

/**
 * remap_tabletext_write() - superblock and table as text; superseded entries are left out
 *
 * Return: 0, or an I/O error of @f
 */
int remap_tabletext_write(FILE *f, const struct remap_spare *sp, const struct remap_table *t);

/**
 * remap_tabletext_read() - the way back
 * @name: what the text is called in errors
 * @sp, @t: results; what @t says fits the layout of @sp. Call remap_table_free() in any case.
 *
 * Return: 0; -EINVAL where it is no such text, or not all of it; -EOPNOTSUPP where it is one of a
 * newer version; -ENOMEM; an I/O error
 */
int remap_tabletext_read(FILE *f, const char *name, struct remap_spare *sp, struct remap_table *t,
			 struct remap_err *err);

#endif
