/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Lists of bad blocks that other programs have made, as ranges of sectors of 512 bytes: those of
 * badblocks(8), which e2fsck -l takes as well, and the mapfiles of GNU ddrescue ("Mapfile
 * structure" in its manual). What is read is taken to be hostile: an error names file and line.
 */
#ifndef REMAP_BADLIST_H
#define REMAP_BADLIST_H

#include <stdio.h>
#include "err.h"
#include "format.h"

struct remap_range {
	u64 sector, count;	/* of 512 bytes; neither 0 nor beyond 2^55 */
};

struct remap_ranges {
	struct remap_range *range;
	size_t n, room;
	u64 unknown;		/* of a mapfile: bytes that failed, but were not read one by one */
};

/**
 * remap_badlist_badblocks() - read a list of badblocks
 * @f, @name:	the list, and what it is called in errors
 * @unit:	bytes of its blocks, a multiple of 512: what badblocks was given with -b
 *
 * Ranges are as they come; see remap_ranges_settle(). Call remap_ranges_free() in any case.
 * Return: 0; -EINVAL where the list is none; -ENOMEM; an I/O error
 */
int remap_badlist_badblocks(FILE *f, const char *name, u32 unit, struct remap_ranges *r,
			    struct remap_err *err);

/** remap_badlist_ddrescue() - read a mapfile: what it says is bad ('-'). Likewise. */
int remap_badlist_ddrescue(FILE *f, const char *name, struct remap_ranges *r,
			   struct remap_err *err);

/**
 * remap_ranges_settle() - widen to whole blocks, sort, join
 * @block_sectors:	a power of two
 * @end:		sectors of the device, at which the last block may end early
 */
void remap_ranges_settle(struct remap_ranges *r, u32 block_sectors, u64 end);

void remap_ranges_free(struct remap_ranges *r);

#endif
