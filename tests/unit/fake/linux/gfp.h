/* SPDX-License-Identifier: GPL-2.0-only */
/* See device-mapper.h. */
#ifndef FAKE_GFP_H
#define FAKE_GFP_H

#include "device-mapper.h"

#define __GFP_NORETRY		0
#define __GFP_COMP		0

static inline unsigned int get_order(size_t bytes)
{
	unsigned int order = 0;

	while ((size_t)PAGE_SIZE << order < bytes)
		order++;
	return order;
}

static inline unsigned long __get_free_pages(gfp_t gfp, unsigned int order)
{
	(void)gfp;
	return (unsigned long)aligned_alloc(PAGE_SIZE, (size_t)PAGE_SIZE << order);
}

static inline unsigned long __get_free_page(gfp_t gfp)
{
	return __get_free_pages(gfp, 0);
}

static inline void free_pages(unsigned long pages, unsigned int order)
{
	(void)order;
	free((void *)pages);
}

static inline void free_page(unsigned long page)
{
	free_pages(page, 0);
}

#endif
