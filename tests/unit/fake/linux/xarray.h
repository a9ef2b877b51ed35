/* SPDX-License-Identifier: GPL-2.0-only */
/* See device-mapper.h. An array that does not grow. */
#ifndef FAKE_XARRAY_H
#define FAKE_XARRAY_H

#include "gfp.h"

enum { XA_MARK_0, XA_MARK_1, XA_MARK_2, XA_PRESENT };

#define FAKE_XA_ENTRIES		64

struct xarray {
	void *entry[FAKE_XA_ENTRIES];
	bool mark[FAKE_XA_ENTRIES][XA_PRESENT + 1];
};

static inline void xa_init(struct xarray *xa)
{
	memset(xa, 0, sizeof(*xa));
}

static inline void xa_destroy(struct xarray *xa)
{
	xa_init(xa);
}

static inline void *xa_load(struct xarray *xa, unsigned long i)
{
	return xa->entry[i];
}

static inline int xa_insert(struct xarray *xa, unsigned long i, void *entry, gfp_t gfp)
{
	(void)gfp;
	if (i >= FAKE_XA_ENTRIES || xa->entry[i])
		return -EBUSY;
	xa->entry[i] = entry;
	xa->mark[i][XA_PRESENT] = true;
	return 0;
}

static inline void *xa_erase(struct xarray *xa, unsigned long i)
{
	void *entry = xa->entry[i];

	xa->entry[i] = NULL;
	memset(xa->mark[i], 0, sizeof(xa->mark[i]));
	return entry;
}

static inline void xa_set_mark(struct xarray *xa, unsigned long i, int mark)
{
	xa->mark[i][mark] = xa->entry[i];
}

static inline void xa_clear_mark(struct xarray *xa, unsigned long i, int mark)
{
	xa->mark[i][mark] = false;
}

static inline bool xa_get_mark(const struct xarray *xa, unsigned long i, int mark)
{
	return xa->mark[i][mark];
}

/* The next one from @i on that has the mark, or NULL */
static inline void *xa_find_from(const struct xarray *xa, unsigned long *i, int mark)
{
	for (; *i < FAKE_XA_ENTRIES; ++*i)
		if (xa->mark[*i][mark])
			return xa->entry[*i];
	return NULL;
}

static inline bool xa_marked(const struct xarray *xa, int mark)
{
	unsigned long i = 0;

	return xa_find_from(xa, &i, mark);
}

#define xa_for_each_marked(xa, i, e, mark) \
	for (i = 0; (e = xa_find_from(xa, &(i), mark)); i++)
#define xa_for_each(xa, i, e)	xa_for_each_marked(xa, i, e, XA_PRESENT)

#endif
