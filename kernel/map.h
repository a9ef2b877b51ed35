/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The map: which data blocks are somewhere else, or need care. See map.c for its shape.
 *
 * Readers are in an RCU section, under rcu_read_lock() or rcu_read_lock_sched() (in user space:
 * are the only thread). There is one writer at a time, which may sleep; whoever calls a function
 * marked "writer" sees to that. Blocks are data blocks, not sectors.
 */
#ifndef REMAP_MAP_H
#define REMAP_MAP_H

#include "shim.h"
#include "remap/format.h"

/*
 * What the map holds for a block: its slot, or REMAP_NO_SLOT while it is still where it always
 * was, and a mark that sends every I/O on it to the relocator.
 */
#define REMAP_VALUE_SPECIAL	0x80000000U	/* being relocated, or has lost sectors */
#define REMAP_VALUE_FROZEN	0x40000000U	/* and which of two places counts is not known */
#define REMAP_VALUE_SLOT	0x3fffffffU	/* mask */
#define REMAP_VALUE_NONE	0x7fffffffU	/* no value: frozen but not special */

#define REMAP_MAP_END		(~0ULL)		/* no such block */

#define REMAP_LEAF_SHIFT	8
#define REMAP_LEAF_BLOCKS	(1U << REMAP_LEAF_SHIFT)
#define REMAP_MID_SHIFT		9
#define REMAP_MID_LEAVES	(1U << REMAP_MID_SHIFT)
#define REMAP_ROOT_SHIFT	(REMAP_LEAF_SHIFT + REMAP_MID_SHIFT)

#define REMAP_MAP_RESERVE	512	/* nodes of each kind set aside, see remap_map_prepare() */

struct remap_map_leaf {
	u64 hot[REMAP_LEAF_BLOCKS / 64];	/* bit n: block n has a value */
	u32 value[];				/* one for each bit set, in their order */
};

struct remap_map_mid {
	struct remap_map_leaf __rcu *leaf[REMAP_MID_LEAVES];
};

struct remap_map {
	struct remap_map_mid __rcu **root;
	u64 blocks;
	/* below: the writer's own */
	u16 *leaves;			/* for each root entry: leaves under it */
	u64 values;			/* blocks that have a value */
	size_t bytes;			/* memory in nodes, the reserve not counted */
	unsigned int spare_leaves;
	unsigned int spare_mids;
	struct remap_map_leaf *spare_leaf[REMAP_MAP_RESERVE];
	struct remap_map_mid *spare_mid[REMAP_MAP_RESERVE];
};

/** remap_map_init() - an empty map for @blocks blocks. May sleep. Return: 0 or -ENOMEM */
int __must_check remap_map_init(struct remap_map *m, u64 blocks);

/** remap_map_destroy() - free it all; no readers may be left. Also after a failed init. */
void remap_map_destroy(struct remap_map *m);

/**
 * remap_map_prepare() - writer: set memory aside for @n more remap_map_set() and _clear()
 *
 * After success that many changes cannot fail for want of memory. @n is at most
 * REMAP_MAP_RESERVE / 2. May sleep, does no I/O. Return: 0 or -ENOMEM.
 */
int __must_check remap_map_prepare(struct remap_map *m, unsigned int n);

/**
 * remap_map_set() - writer: give a block a value
 *
 * A block that has one already gets the new one in place, which cannot fail. Readers see the old
 * or the new state. May sleep. Return: 0 or -ENOMEM.
 */
int __must_check remap_map_set(struct remap_map *m, u64 block, u32 value);

/** remap_map_clear() - writer: forget a block. May sleep. Return: 0 or -ENOMEM. */
int __must_check remap_map_clear(struct remap_map *m, u64 block);

/**
 * remap_map_next() - the first block of @first to @last that has a value
 * @value:	result, where there is one
 *
 * Return: the block, or REMAP_MAP_END. @last must be below m->blocks.
 */
u64 remap_map_next(const struct remap_map *m, u64 first, u64 last, u32 *value);

/** remap_map_get() - the value of a block, or REMAP_VALUE_NONE */
static inline u32 remap_map_get(const struct remap_map *m, u64 block)
{
	struct remap_map_mid __rcu **root = m->root;
	const struct remap_map_mid *mid = remap_dereference(root[block >> REMAP_ROOT_SHIFT]);
	const struct remap_map_leaf *leaf;
	unsigned int i, rank;
	u64 word;

	if (!mid)
		return REMAP_VALUE_NONE;
	leaf = remap_dereference(mid->leaf[(block >> REMAP_LEAF_SHIFT) & (REMAP_MID_LEAVES - 1)]);
	if (!leaf)
		return REMAP_VALUE_NONE;
	i = (unsigned int)(block % REMAP_LEAF_BLOCKS) / 64;
	word = leaf->hot[i] << (63 - block % 64);	/* its bit is now the highest */
	if (!(word >> 63))
		return REMAP_VALUE_NONE;
	rank = hweight64(word) - 1;
	while (i)
		rank += hweight64(leaf->hot[--i]);
	return READ_ONCE(leaf->value[rank]);
}

/**
 * remap_map_touches() - does any of these blocks have a value?
 *
 * The question of the hot path: answers false for sure, and with as few instructions as can be,
 * or true for "ask remap_map_next()".
 */
static inline bool remap_map_touches(const struct remap_map *m, u64 first, u64 last)
{
	struct remap_map_mid __rcu **root;
	const struct remap_map_mid *mid;
	const struct remap_map_leaf *leaf;

	if (unlikely((first ^ last) >= REMAP_LEAF_BLOCKS))	/* in more than one leaf */
		return true;
	root = m->root;
	mid = remap_dereference(root[first >> REMAP_ROOT_SHIFT]);
	if (likely(!mid))
		return false;
	leaf = remap_dereference(mid->leaf[(first >> REMAP_LEAF_SHIFT) & (REMAP_MID_LEAVES - 1)]);
	if (likely(!leaf))
		return false;
	if (first == last)
		return READ_ONCE(leaf->hot[(first & 255) >> 6]) >> (first & 63) & 1;
	return true;
}

#endif
