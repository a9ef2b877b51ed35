/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The metadata of an active target: loading it, changing it, making changes durable.
 *
 * The target and the relocator know slots and entries; where these are on the spare, and that
 * there are five of each, is known here and in format.c only.
 *
 * Everything in here may sleep and does I/O, and is called by one thread at a time: by
 * preresume before the target is live, by the relocator's worker afterwards. The counters may be
 * read at any time.
 */
#ifndef REMAP_META_H
#define REMAP_META_H

#include <linux/xarray.h>
#include "format.h"
#include "io.h"
#include "map.h"
#include "remap/abi.h"

/* table blocks that go into one commit; a batch rarely touches more than two */
#define REMAP_COMMIT_TABLES	4

/* Read at once, in 4 KiB blocks, where there is memory for it: a seek costs as much as this. */
#define REMAP_CHUNK_BLOCKS	256

struct remap_commit_block {
	u32 index;			/* of the table block, or REMAP_SUPER_INDEX */
	u64 generation;			/* that this commit gives it */
	u8 *image;			/* REMAP_MD_BLOCK bytes */
	u8 *readback[REMAP_ZONES];
	struct remap_io io[REMAP_ZONES];
	bool good[REMAP_ZONES];
};

struct remap_meta {
	const char *name;		/* of the mapped device, for messages */
	dev_t dev;			/* the mapped device, for tracepoints */
	struct block_device *bdev;	/* the spare */
	sector_t start;			/* of the spare on it */
	u64 size;			/* sectors that the spare may have at most */
	u64 first_size;			/* that it had when it was formatted; 0: not told */

	struct remap_super super;
	struct remap_layout layout;
	bool may_write;			/* says the table */
	bool readonly;			/* metadata or device must not be written */

	/*
	 * Table block i as it is on disk, or will be after the next commit. Mark 0: differs from
	 * what is on disk.
	 */
	struct xarray tables;
	bool super_dirty;		/* likewise for the superblock, after a failed commit */
	u32 seq;			/* the latest given to an entry */
	u32 hint;			/* where to look for a free slot first */

	u32 slots_free;			/* in table blocks that are in use */
	u32 slots_used;
	u32 slots_bad;
	u64 lost_sectors;		/* logical sectors */
	unsigned long zones_bad;	/* bit z: zone z is known to lack something */

	struct remap_commit_block commit[REMAP_COMMIT_TABLES];
	unsigned int commits;		/* of these in use */

	/* For reading zones, a piece of each at once: large ones for as long as it takes. */
	u8 *small[REMAP_ZONES];
	u8 *chunk[REMAP_ZONES];		/* these, or larger ones */
	unsigned int chunk_tables;	/* table blocks for which each has room */
	/* bit b: 4 KiB block b of the chunk could not be read */
	unsigned long unreadable[REMAP_ZONES][BITS_TO_LONGS(REMAP_CHUNK_BLOCKS)];
};

#define REMAP_DIRTY		XA_MARK_0

/**
 * remap_meta_open() - find the superblock
 * @bdev, @start, @size:	the spare, and how many sectors it has at most
 * @first_size:			what it had when it was formatted, if that is known; else 0
 * @may_write:			false: never write to it, whatever it says itself
 * @error:			result where it fails: what is wrong
 *
 * Reads only; remap_meta_load() looks again. Call remap_meta_close() in any case. Return: 0 or a
 * negative error.
 */
int __must_check remap_meta_open(struct remap_meta *m, const char *name, dev_t dev,
				 struct block_device *bdev, sector_t start, u64 size,
				 u64 first_size, bool may_write, const char **error);
void remap_meta_close(struct remap_meta *m);

/**
 * remap_meta_load() - read all there is, mend the replicas, fill the map
 * @map:	empty
 * @force:	take table blocks of which no valid copy is left to be empty
 *
 * May be called again after a failure. Where mending cannot be made durable, all is loaded all
 * the same; see remap_meta_whole(). Blocks of which another load may then find something older
 * are frozen. Return: 0; -EUCLEAN where table blocks are lost; another negative error.
 */
int __must_check remap_meta_load(struct remap_meta *m, struct remap_map *map, bool force);

/** remap_meta_get() - the entry of a slot */
void remap_meta_get(struct remap_meta *m, u32 slot, struct remap_entry *e);

/** remap_meta_set() - change the entry of a slot in memory; the next commit makes it durable */
void remap_meta_set(struct remap_meta *m, u32 slot, const struct remap_entry *e);

/**
 * remap_meta_alloc() - take a free slot for a block
 * @lost: of the block, from now on
 * @old:  the slot that it leaves, or REMAP_NO_SLOT
 *
 * Return: the slot, its entry set in memory, or REMAP_NO_SLOT if none is free.
 */
u32 remap_meta_alloc(struct remap_meta *m, u64 block, u32 lost, u32 old);

/**
 * remap_meta_room() - bring more table blocks into use before they are needed
 * @gfp: for their memory; without I/O, as the device may be what memory is written to
 *
 * Commits nothing but these and the superblock, whatever else has changed. Return: 0, also where
 * there is no more room to be had (see slots_free); -EIO where a commit failed; -ENOMEM.
 */
int __must_check remap_meta_room(struct remap_meta *m, gfp_t gfp);

/**
 * remap_meta_grow() - use what the spare's device has more by now
 * @sectors: size of the spare from now on
 *
 * Nothing that is there moves, and nothing but the superblock is written. Return: 0; -ENOSPC where
 * there is no room for a slot more; -E2BIG where the spare has grown too often; -EIO where the
 * commit failed: whether a load finds the spare grown is open then, and comes to the same.
 */
int __must_check remap_meta_grow(struct remap_meta *m, u64 sectors);

/*
 * A commit, in pieces, so that the relocator's own I/O can share its rounds:
 *
 *	while (remap_meta_commit_begin(m)) {
 *		round: remap_meta_commit_write();
 *		round: remap_meta_commit_read();		(option verify)
 *		r = remap_meta_commit_end(m, verify);
 *	}
 *
 * _begin() takes up to REMAP_COMMIT_TABLES changed table blocks and returns their number. _end()
 * returns 0 if each one is whole on REMAP_QUORUM replicas; otherwise -EIO, and those that are
 * not keep their old generation and count as changed: they may or may not be on disk, and must
 * be set right by the caller or be frozen until a later commit succeeds.
 */
unsigned int remap_meta_commit_begin(struct remap_meta *m);
void remap_meta_commit_write(struct remap_meta *m, struct remap_round *round);
void remap_meta_commit_read(struct remap_meta *m, struct remap_round *round);
int __must_check remap_meta_commit_end(struct remap_meta *m, bool verify);

/** remap_meta_commit() - all of that, for all that has changed. Return: 0 or -EIO */
int __must_check remap_meta_commit(struct remap_meta *m, bool verify);

/**
 * remap_meta_verify() - hold each replica against what is in memory
 * @repair:	rewrite what differs, and look again
 * @state:	result
 *
 * Table blocks that wait for a commit count as stale everywhere.
 */
void remap_meta_verify(struct remap_meta *m, bool repair,
		       enum remap_replica_state state[REMAP_ZONES]);

/** remap_meta_answers() - can superblocks be read, of REMAP_QUORUM replicas? */
bool remap_meta_answers(struct remap_meta *m);

/** remap_meta_whole() - is all that memory says on at least REMAP_QUORUM replicas? */
bool remap_meta_whole(const struct remap_meta *m);

static inline unsigned int remap_meta_replicas_ok(const struct remap_meta *m)
{
	return REMAP_ZONES - (unsigned int)hweight_long(READ_ONCE(m->zones_bad));
}

#endif
