// SPDX-License-Identifier: GPL-2.0-only
/*
 * The map from data blocks to slots.
 *
 *   root[block >> 17]  ->  mid: 512 pointers  ->  leaf: 256 blocks
 *                                                 hot[4]   a bit for each block that has a value
 *                                                 value[]  the values, packed, in their order
 *
 * The question is asked for every I/O and the answer is nearly always "no": an empty root entry
 * says it for 131,072 blocks (512 MiB in blocks of 4 KiB) with one load. No look-up depends on
 * how many values there are. A value that stands alone costs its leaf of 36 bytes; in a dense run
 * it costs 4 bytes and a bit.
 *
 * Locking: readers are under RCU. A leaf's bitmap and the number of its values never change
 * once it can be seen; to add or to take away a block, the one writer builds a new leaf and
 * swaps the pointer. Only a value may change in place, by WRITE_ONCE(). Nodes are freed after
 * a grace period.
 *
 * A mark ("special") is part of the value, and a block that is marked before it has a slot has
 * a value for the time being. So all memory that a relocation needs is taken when the block is
 * marked; to publish its new place is to overwrite a word, and cannot fail.
 */
#include "map.h"

#define leaf_index(block)	(((block) >> REMAP_LEAF_SHIFT) & (REMAP_MID_LEAVES - 1))
#define leaf_bit(block)		((unsigned int)((block) & (REMAP_LEAF_BLOCKS - 1)))

/* The writer is alone; there is no lock that lockdep could check here. */
#define writer_dereference(p)	rcu_dereference_protected(p, 1)

static size_t leaf_size(unsigned int values)
{
	return offsetof(struct remap_map_leaf, value) + values * sizeof(u32);
}

static bool leaf_test(const struct remap_map_leaf *leaf, unsigned int bit)
{
	return leaf->hot[bit / 64] >> (bit % 64) & 1;
}

/* how many values stand before that of @bit */
static unsigned int leaf_rank(const struct remap_map_leaf *leaf, unsigned int bit)
{
	unsigned int i, n = 0;

	for (i = 0; i < bit / 64; i++)
		n += hweight64(leaf->hot[i]);
	if (bit % 64)
		n += hweight64(leaf->hot[i] << (64 - bit % 64));
	return n;
}

static unsigned int leaf_values(const struct remap_map_leaf *leaf)
{
	unsigned int i, n = 0;

	for (i = 0; i < REMAP_LEAF_BLOCKS / 64; i++)
		n += hweight64(leaf->hot[i]);
	return n;
}

/* the first bit from @bit to @last that is set, or REMAP_LEAF_BLOCKS */
static unsigned int leaf_next(const struct remap_map_leaf *leaf, unsigned int bit,
			      unsigned int last)
{
	unsigned int i = bit / 64;
	u64 word = leaf->hot[i] & ~0ULL << (bit % 64);

	while (!word) {
		if (++i > last / 64)
			return REMAP_LEAF_BLOCKS;
		word = leaf->hot[i];
	}
	bit = i * 64 + (unsigned int)__ffs64(word);
	return bit <= last ? bit : REMAP_LEAF_BLOCKS;
}

int remap_map_init(struct remap_map *m, u64 blocks)
{
	u64 roots = (blocks >> REMAP_ROOT_SHIFT) + 1;

	memset(m, 0, sizeof(*m));
	if (roots > SIZE_MAX / sizeof(*m->root))
		return -ENOMEM;
	m->blocks = blocks;
	m->root = kvcalloc((size_t)roots, sizeof(*m->root), GFP_KERNEL);
	m->leaves = kvcalloc((size_t)roots, sizeof(*m->leaves), GFP_KERNEL);
	if (!m->root || !m->leaves) {
		remap_map_destroy(m);
		return -ENOMEM;
	}
	return 0;
}

void remap_map_destroy(struct remap_map *m)
{
	u64 r, roots = (m->blocks >> REMAP_ROOT_SHIFT) + 1;
	unsigned int i;

	for (r = 0; m->root && m->leaves && r < roots; r++) {
		struct remap_map_mid *mid = writer_dereference(m->root[r]);

		for (i = 0; mid && i < REMAP_MID_LEAVES; i++)
			kfree(writer_dereference(mid->leaf[i]));
		kfree(mid);
	}
	while (m->spare_leaves)
		kfree(m->spare_leaf[--m->spare_leaves]);
	while (m->spare_mids)
		kfree(m->spare_mid[--m->spare_mids]);
	kvfree(m->root);
	kvfree(m->leaves);
	memset(m, 0, sizeof(*m));
}

int remap_map_prepare(struct remap_map *m, unsigned int n)
{
	/* a relocation sets a block and may clear it again: two leaves, one under a new mid */
	while (m->spare_leaves < 2 * n) {
		struct remap_map_leaf *leaf = kmalloc(leaf_size(REMAP_LEAF_BLOCKS), GFP_NOIO);

		if (!leaf)
			return -ENOMEM;
		m->spare_leaf[m->spare_leaves++] = leaf;
	}
	while (m->spare_mids < n) {
		struct remap_map_mid *mid = kzalloc(sizeof(*mid), GFP_NOIO);

		if (!mid)
			return -ENOMEM;
		m->spare_mid[m->spare_mids++] = mid;
	}
	return 0;
}

static struct remap_map_leaf *leaf_alloc(struct remap_map *m, unsigned int values)
{
	struct remap_map_leaf *leaf = kmalloc(leaf_size(values), GFP_NOIO | __GFP_NOWARN);

	if (!leaf && m->spare_leaves)
		leaf = m->spare_leaf[--m->spare_leaves];
	return leaf;
}

static struct remap_map_mid *mid_alloc(struct remap_map *m)
{
	struct remap_map_mid *mid = kzalloc(sizeof(*mid), GFP_NOIO | __GFP_NOWARN);

	if (!mid && m->spare_mids)
		mid = m->spare_mid[--m->spare_mids];
	return mid;
}

int remap_map_set(struct remap_map *m, u64 block, u32 value)
{
	u64 r = block >> REMAP_ROOT_SHIFT;
	struct remap_map_mid *mid = writer_dereference(m->root[r]);
	struct remap_map_leaf *old = NULL, *leaf;
	unsigned int bit = leaf_bit(block), n = 0, rank = 0;

	if (mid)
		old = writer_dereference(mid->leaf[leaf_index(block)]);
	if (old) {
		rank = leaf_rank(old, bit);
		if (leaf_test(old, bit)) {
			WRITE_ONCE(old->value[rank], value);
			return 0;
		}
		n = leaf_values(old);
	}

	leaf = leaf_alloc(m, n + 1);
	if (!leaf)
		return -ENOMEM;
	if (!mid) {
		mid = mid_alloc(m);
		if (!mid) {
			kfree(leaf);
			return -ENOMEM;
		}
		m->bytes += sizeof(*mid);
		rcu_assign_pointer(m->root[r], mid);
	}
	if (old) {
		memcpy(leaf, old, leaf_size(rank));
		memcpy(leaf->value + rank + 1, old->value + rank, (n - rank) * sizeof(u32));
	} else {
		memset(leaf, 0, leaf_size(0));
		m->leaves[r]++;
		m->bytes += leaf_size(0);
	}
	leaf->hot[bit / 64] |= 1ULL << (bit % 64);
	leaf->value[rank] = value;
	m->bytes += sizeof(u32);
	m->values++;
	rcu_assign_pointer(mid->leaf[leaf_index(block)], leaf);
	if (old)
		remap_kfree_rcu(old);
	return 0;
}

int remap_map_clear(struct remap_map *m, u64 block)
{
	u64 r = block >> REMAP_ROOT_SHIFT;
	struct remap_map_mid *mid = writer_dereference(m->root[r]);
	struct remap_map_leaf *old = NULL, *leaf = NULL;
	unsigned int bit = leaf_bit(block), n, rank;

	if (mid)
		old = writer_dereference(mid->leaf[leaf_index(block)]);
	if (!old || !leaf_test(old, bit))
		return 0;
	n = leaf_values(old);
	rank = leaf_rank(old, bit);
	if (n > 1) {
		leaf = leaf_alloc(m, n - 1);
		if (!leaf)
			return -ENOMEM;
		memcpy(leaf, old, leaf_size(rank));
		memcpy(leaf->value + rank, old->value + rank + 1, (n - 1 - rank) * sizeof(u32));
		leaf->hot[bit / 64] &= ~(1ULL << (bit % 64));
	} else {
		m->bytes -= leaf_size(0);
		m->leaves[r]--;
	}
	m->bytes -= sizeof(u32);
	m->values--;
	rcu_assign_pointer(mid->leaf[leaf_index(block)], leaf);
	remap_kfree_rcu(old);
	if (!m->leaves[r]) {
		m->bytes -= sizeof(*mid);
		rcu_assign_pointer(m->root[r], NULL);
		remap_kfree_rcu(mid);
	}
	return 0;
}

u64 remap_map_next(const struct remap_map *m, u64 first, u64 last, u32 *value)
{
	u64 block = first;

	while (block <= last) {
		const struct remap_map_mid *mid;
		const struct remap_map_leaf *leaf;
		unsigned int bit, end = REMAP_LEAF_BLOCKS - 1;

		mid = remap_dereference(m->root[block >> REMAP_ROOT_SHIFT]);
		if (!mid) {
			block = ((block >> REMAP_ROOT_SHIFT) + 1) << REMAP_ROOT_SHIFT;
			continue;
		}
		leaf = remap_dereference(mid->leaf[leaf_index(block)]);
		if (leaf) {
			if (block >> REMAP_LEAF_SHIFT == last >> REMAP_LEAF_SHIFT)
				end = leaf_bit(last);
			bit = leaf_next(leaf, leaf_bit(block), end);
			if (bit <= end) {
				*value = READ_ONCE(leaf->value[leaf_rank(leaf, bit)]);
				return (block & ~(u64)(REMAP_LEAF_BLOCKS - 1)) + bit;
			}
		}
		block = ((block >> REMAP_LEAF_SHIFT) + 1) << REMAP_LEAF_SHIFT;
	}
	return REMAP_MAP_END;
}
