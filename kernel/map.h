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

#define REMAP_MAP_RESERVE	256	/* nodes of each kind set aside, see remap_map_prepare() */

/*
 * An entry of the root or of a mid: nothing (0), one block with its value, or a node below. Of a
 * node there are two kinds: packed, with a bitmap of what it has, or plain, a mere array.
 */
#define REMAP_ENTRY_ONE		1ULL	/* value << 32 | block & REMAP_ROOT_OFFSET << 2 | 1 */
#define REMAP_ENTRY_PACKED	2ULL	/* its address | 2 */

#define REMAP_ROOT_OFFSET	((1ULL << REMAP_ROOT_SHIFT) - 1)	/* mask */

/*
 * Packed nodes: what has its bit set is at its rank among those that have. What is gone has still
 * got its bit for a while, and REMAP_VALUE_NONE for a value, or 0 for an entry.
 */
struct remap_map_leaf {
	u64 has[REMAP_LEAF_BLOCKS / 64];
	u8 before[REMAP_LEAF_BLOCKS / 64];	/* bits set before each word of them */
	u32 value[];
};

struct remap_map_mid {
	u64 has[REMAP_MID_LEAVES / 64];
	u8 before[REMAP_MID_LEAVES / 64];
	u64 entry[];
};

/* Plain nodes: u32 value[REMAP_LEAF_BLOCKS], u64 entry[REMAP_MID_LEAVES] */

struct remap_map {
	u64 *root;			/* entries */
	u64 blocks;
	/* below: the writer's own */
	u64 values;			/* blocks that have a value */
	size_t bytes;			/* memory in nodes, the reserve not counted */
	unsigned int spare_leaves;
	unsigned int spare_mids;
	void *spare_leaf[REMAP_MAP_RESERVE];
	void *spare_mid[REMAP_MAP_RESERVE];
};

/** remap_map_init() - an empty map for @blocks blocks. May sleep. Return: 0 or -ENOMEM */
int __must_check remap_map_init(struct remap_map *m, u64 blocks);

/** remap_map_destroy() - free it all; no readers may be left. Also after a failed init. */
void remap_map_destroy(struct remap_map *m);

/**
 * remap_map_prepare() - writer: set memory aside for @n more remap_map_set()
 *
 * After success that many of them cannot fail for want of memory. @n is at most
 * REMAP_MAP_RESERVE. May sleep if @gfp may. Return: 0 or -ENOMEM.
 */
int __must_check remap_map_prepare(struct remap_map *m, unsigned int n, gfp_t gfp);

/**
 * remap_map_set() - writer: give a block a value
 *
 * A block that has one already gets the new one in place, which cannot fail. Readers see the old
 * or the new state. May sleep. Return: 0 or -ENOMEM.
 */
int __must_check remap_map_set(struct remap_map *m, u64 block, u32 value);

/** remap_map_clear() - writer: forget a block. May sleep, cannot fail. */
void remap_map_clear(struct remap_map *m, u64 block);

/**
 * remap_map_next() - the first block of @first to @last that has a value
 * @value:	result, where there is one
 *
 * Return: the block, or REMAP_MAP_END. @last must be below m->blocks.
 */
u64 remap_map_next(const struct remap_map *m, u64 first, u64 last, u32 *value);

/* What the node of a root entry has for a block of which remap_map_may_have() is true. */
static inline u64 remap_map_mid_at(u64 entry, u64 block)
{
	unsigned int i = (block >> REMAP_LEAF_SHIFT) & (REMAP_MID_LEAVES - 1);
	const struct remap_map_mid *mid;

	if (!(entry & REMAP_ENTRY_PACKED))
		return remap_load(((const u64 *)(uintptr_t)entry)[i]);
	mid = (const void *)(uintptr_t)(entry - REMAP_ENTRY_PACKED);
	/* of the word, the bits up to that of i, of which there is one at least */
	return remap_load(mid->entry[mid->before[i / 64] +
				     hweight64(mid->has[i / 64] << (~i % 64)) - 1]);
}

/* Likewise, what the node of an entry in a mid has for any block. */
static inline u32 remap_map_leaf_get(u64 entry, u64 block)
{
	unsigned int i = block & (REMAP_LEAF_BLOCKS - 1);
	const struct remap_map_leaf *leaf;

	if (!(entry & REMAP_ENTRY_PACKED))
		return READ_ONCE(((const u32 *)(uintptr_t)entry)[i]);
	leaf = (const void *)(uintptr_t)(entry - REMAP_ENTRY_PACKED);
	if (!(leaf->has[i / 64] >> (i % 64) & 1))
		return REMAP_VALUE_NONE;
	return READ_ONCE(leaf->value[leaf->before[i / 64] +
				     hweight64(leaf->has[i / 64] << (~i % 64)) - 1]);
}

/*
 * The hot path's look-up is in two steps. The first tells most of those that have no value, with
 * few instructions and few registers.
 */

/** remap_map_root() - the root entry of a block; mostly 0, which means that it has no value */
static inline u64 remap_map_root(const struct remap_map *m, u64 block)
{
	return remap_load(m->root[block >> REMAP_ROOT_SHIFT]);
}

/** remap_map_may_have() - may the block, under this root entry, or one beside it have a value? */
static inline bool remap_map_may_have(u64 entry, u64 block)
{
	unsigned int i = (block >> REMAP_LEAF_SHIFT) & (REMAP_MID_LEAVES - 1);
	const struct remap_map_mid *mid;

	if (entry & REMAP_ENTRY_ONE)
		return (u32)entry >> 2 == (block & REMAP_ROOT_OFFSET);
	if (!(entry & REMAP_ENTRY_PACKED))
		return remap_load(((const u64 *)(uintptr_t)entry)[i]);
	mid = (const void *)(uintptr_t)(entry - REMAP_ENTRY_PACKED);
	return mid->has[i / 64] >> (i % 64) & 1;
}

/** remap_map_value() - the value of a block if that is true, or REMAP_VALUE_NONE */
static inline u32 remap_map_value(u64 entry, u64 block)
{
	if (entry & REMAP_ENTRY_ONE)
		return (u32)(entry >> 32);
	entry = remap_map_mid_at(entry, block);
	if (!entry)
		return REMAP_VALUE_NONE;
	if (!(entry & REMAP_ENTRY_ONE))
		return remap_map_leaf_get(entry, block);
	return (u32)entry >> 2 == (block & REMAP_ROOT_OFFSET) ? (u32)(entry >> 32) :
								REMAP_VALUE_NONE;
}

/** remap_map_get() - the value of a block, or REMAP_VALUE_NONE */
static inline u32 remap_map_get(const struct remap_map *m, u64 block)
{
	u64 entry = remap_map_root(m, block);

	return entry && remap_map_may_have(entry, block) ? remap_map_value(entry, block) :
							   REMAP_VALUE_NONE;
}

/**
 * remap_map_touches() - may any of these blocks have a value?
 *
 * For what concerns more than one block, and nearly always none that has: answers false for sure,
 * with few instructions, or true for "ask remap_map_next()".
 */
static inline bool remap_map_touches(const struct remap_map *m, u64 first, u64 last)
{
	u64 entry;

	if (unlikely((first ^ last) >= REMAP_LEAF_BLOCKS))	/* in more than one leaf */
		return true;
	entry = remap_map_root(m, first);
	if (likely(!entry))
		return false;
	if (entry & REMAP_ENTRY_ONE)
		return ((u32)entry >> 2) - (first & REMAP_ROOT_OFFSET) <= last - first;
	return remap_map_may_have(entry, first);
}

#endif
