// SPDX-License-Identifier: GPL-2.0-only
/*
 * The map from data blocks to slots.
 *
 *   root[block >> 17]  ->  mid: up to 512 entries  ->  leaf: values of up to 256 blocks
 *
 * The question is asked for every I/O and the answer is nearly always "no": an empty root entry
 * says it for 131,072 blocks (512 MiB in blocks of 4 KiB) with one load. No look-up depends on
 * how many values there are, and memory does not depend on how far apart they are: an entry, of
 * the root or of a mid, has room for one block and its value, and needs a node only for a second
 * one. A node is packed, with a bitmap and only what there is, or, once that would not be smaller,
 * plain, an array of everything. So a value costs 8 bytes and its share of a mid if it stands
 * alone, 4 bytes in a dense run.
 *
 * Locking: readers are under RCU. The bitmap of a packed node never changes once the node can be
 * seen; for a bit more the one writer builds a new node and swaps the entry above. Everything else
 * is done by storing one word: a value or an entry, which readers see before or after. Nodes are
 * freed after a grace period.
 *
 * A mark ("special") is part of the value, and a block that is marked before it has a slot has
 * a value for the time being. So all memory that a relocation needs is taken when the block is
 * marked; to publish its new place is to store a word, and cannot fail. To take a block out is to
 * store one, too: nodes are made smaller afterwards, if there is memory to do so.
 */
#include "map.h"

#define leaf_index(block)	((unsigned int)((block) >> REMAP_LEAF_SHIFT) & \
				 (REMAP_MID_LEAVES - 1))
#define leaf_bit(block)		((unsigned int)(block) & (REMAP_LEAF_BLOCKS - 1))

/* Above half of a plain one's size, kmalloc() would take as much for a packed one. */
#define LEAF_PLAIN	(REMAP_LEAF_BLOCKS * sizeof(u32))
#define MID_PLAIN	(REMAP_MID_LEAVES * sizeof(u64))
#define LEAF_PACKED	((unsigned int)((LEAF_PLAIN / 2 - sizeof(struct remap_map_leaf)) / \
					sizeof(u32)))
#define MID_PACKED	((unsigned int)((MID_PLAIN / 2 - sizeof(struct remap_map_mid)) / \
					sizeof(u64)))

static u64 one_entry(u64 block, u32 value)
{
	return (u64)value << 32 | (block & REMAP_ROOT_OFFSET) << 2 | REMAP_ENTRY_ONE;
}

static bool is_one(u64 entry)
{
	return entry & REMAP_ENTRY_ONE;
}

static u64 one_offset(u64 entry)
{
	return (u32)entry >> 2;
}

static u32 one_value(u64 entry)
{
	return (u32)(entry >> 32);
}

static bool is_packed(u64 entry)
{
	return entry & REMAP_ENTRY_PACKED;
}

/* The address of a node; also NULL of what is none. */
static void *node_of(u64 entry)
{
	return is_one(entry) ? NULL : (void *)(uintptr_t)(entry & ~REMAP_ENTRY_PACKED);
}

static u64 packed_entry(const void *node)
{
	return (uintptr_t)node | REMAP_ENTRY_PACKED;
}

static u64 plain_entry(const void *node)
{
	return (uintptr_t)node;
}

/* ---- bitmaps of packed nodes ---- */

static bool bit_test(const u64 *has, unsigned int bit)
{
	return has[bit / 64] >> (bit % 64) & 1;
}

/* how many bits there are below @bit */
static unsigned int bit_rank(const u64 *has, const u8 *before, unsigned int bit)
{
	return before[bit / 64] + hweight64(has[bit / 64] & ~(~0ULL << (bit % 64)));
}

static unsigned int bit_count(const u64 *has, unsigned int words)
{
	unsigned int i, n = 0;

	for (i = 0; i < words; i++)
		n += hweight64(has[i]);
	return n;
}

static void bits_count_up(const u64 *has, u8 *before, unsigned int words)
{
	unsigned int i, n = 0;

	for (i = 0; i < words; i++) {
		before[i] = (u8)n;
		n += hweight64(has[i]);
	}
}

/* the first bit from @bit to @last that is set, or @last + 1 */
static unsigned int bit_next(const u64 *has, unsigned int bit, unsigned int last)
{
	unsigned int i = bit / 64;
	u64 word;

	if (bit > last)
		return last + 1;
	word = has[i] & ~0ULL << (bit % 64);
	while (!word) {
		if (++i > last / 64)
			return last + 1;
		word = has[i];
	}
	bit = i * 64 + (unsigned int)__ffs64(word);
	return min(bit, last + 1);
}

/* ---- nodes ---- */

static size_t leaf_size(u64 entry)
{
	const struct remap_map_leaf *leaf = node_of(entry);

	if (!leaf)
		return 0;
	if (!is_packed(entry))
		return LEAF_PLAIN;
	return sizeof(*leaf) + bit_count(leaf->has, ARRAY_SIZE(leaf->has)) * sizeof(u32);
}

static size_t mid_size(u64 entry)
{
	const struct remap_map_mid *mid = node_of(entry);

	if (!mid)
		return 0;
	if (!is_packed(entry))
		return MID_PLAIN;
	return sizeof(*mid) + bit_count(mid->has, ARRAY_SIZE(mid->has)) * sizeof(u64);
}

/* What a mid has for a block, or for its leaf. */
static u64 mid_get(u64 entry, u64 block)
{
	return remap_map_may_have(entry, block) ? remap_map_mid_at(entry, block) : 0;
}

static u64 mid_at(u64 entry, unsigned int i)
{
	return mid_get(entry, (u64)i << REMAP_LEAF_SHIFT);
}

/* The first place from @bit on that a leaf may have a value for, or REMAP_LEAF_BLOCKS. */
static unsigned int leaf_seek(u64 entry, unsigned int bit)
{
	const struct remap_map_leaf *leaf = node_of(entry);

	return is_packed(entry) ? bit_next(leaf->has, bit, REMAP_LEAF_BLOCKS - 1) : bit;
}

static unsigned int mid_seek(u64 entry, unsigned int i)
{
	const struct remap_map_mid *mid = node_of(entry);

	return is_packed(entry) ? bit_next(mid->has, i, REMAP_MID_LEAVES - 1) : i;
}

/* The places of a leaf or mid in use, as the bitmap of a packed one. Return: how many. */
static unsigned int leaf_scan(u64 entry, u64 *has)
{
	unsigned int bit, n = 0;

	memset(has, 0, REMAP_LEAF_BLOCKS / 8);
	for (bit = leaf_seek(entry, 0); bit < REMAP_LEAF_BLOCKS; bit = leaf_seek(entry, bit + 1))
		if (remap_map_leaf_get(entry, bit) != REMAP_VALUE_NONE) {
			has[bit / 64] |= 1ULL << (bit % 64);
			n++;
		}
	return n;
}

static unsigned int mid_scan(u64 entry, u64 *has)
{
	unsigned int i, n = 0;

	memset(has, 0, REMAP_MID_LEAVES / 8);
	for (i = mid_seek(entry, 0); i < REMAP_MID_LEAVES; i = mid_seek(entry, i + 1))
		if (mid_at(entry, i)) {
			has[i / 64] |= 1ULL << (i % 64);
			n++;
		}
	return n;
}

/* Where a node has the place of a block: NULL if it is packed and has none for it. */
static u32 *leaf_place(u64 entry, u64 block)
{
	struct remap_map_leaf *leaf = node_of(entry);
	unsigned int bit = leaf_bit(block);

	if (!is_packed(entry))
		return (u32 *)node_of(entry) + bit;
	return bit_test(leaf->has, bit) ? leaf->value + bit_rank(leaf->has, leaf->before, bit) :
					  NULL;
}

static u64 *mid_place(u64 entry, u64 block)
{
	struct remap_map_mid *mid = node_of(entry);
	unsigned int i = leaf_index(block);

	if (!is_packed(entry))
		return (u64 *)node_of(entry) + i;
	return bit_test(mid->has, i) ? mid->entry + bit_rank(mid->has, mid->before, i) : NULL;
}

/*
 * Make @node a leaf with the @n places of @has, and in them the values of @old, which may also be
 * one block or nothing; what is new is for the caller to fill in.
 */
static u64 leaf_fill(void *node, u64 old, const u64 *has, unsigned int n)
{
	struct remap_map_leaf *leaf = node;
	u32 *value = node;
	unsigned int bit, k;

	if (n <= LEAF_PACKED) {
		memcpy(leaf->has, has, sizeof(leaf->has));
		bits_count_up(leaf->has, leaf->before, ARRAY_SIZE(leaf->has));
		value = leaf->value;
	}
	for (bit = k = 0; bit < REMAP_LEAF_BLOCKS; bit++, k++) {
		if (n <= LEAF_PACKED)
			bit = bit_next(has, bit, REMAP_LEAF_BLOCKS - 1);
		if (bit == REMAP_LEAF_BLOCKS)
			break;
		if (node_of(old))
			value[k] = remap_map_leaf_get(old, bit);
		else if (old && leaf_bit(one_offset(old)) == bit)
			value[k] = one_value(old);
		else
			value[k] = REMAP_VALUE_NONE;
	}
	return n <= LEAF_PACKED ? packed_entry(node) : plain_entry(node);
}

static u64 mid_fill(void *node, u64 old, const u64 *has, unsigned int n)
{
	struct remap_map_mid *mid = node;
	u64 *entry = node;
	unsigned int i, k;

	if (n <= MID_PACKED) {
		memcpy(mid->has, has, sizeof(mid->has));
		bits_count_up(mid->has, mid->before, ARRAY_SIZE(mid->has));
		entry = mid->entry;
	}
	for (i = k = 0; i < REMAP_MID_LEAVES; i++, k++) {
		if (n <= MID_PACKED)
			i = bit_next(has, i, REMAP_MID_LEAVES - 1);
		if (i == REMAP_MID_LEAVES)
			break;
		if (node_of(old))
			entry[k] = mid_at(old, i);
		else
			entry[k] = old && leaf_index(one_offset(old)) == i ? old : 0;
	}
	return n <= MID_PACKED ? packed_entry(node) : plain_entry(node);
}

static size_t leaf_room(unsigned int n)
{
	return n <= LEAF_PACKED ? sizeof(struct remap_map_leaf) + n * sizeof(u32) : LEAF_PLAIN;
}

static size_t mid_room(unsigned int n)
{
	return n <= MID_PACKED ? sizeof(struct remap_map_mid) + n * sizeof(u64) : MID_PLAIN;
}

/*
 * As mempool_alloc() does: what is set aside before waiting for memory. An allocation this small
 * that may wait does not fail, but waits for ever, perhaps for what this change is to end.
 */
static void *node_alloc(size_t size, void **spare, unsigned int *spares)
{
	void *node = kmalloc(size, GFP_NOWAIT | __GFP_NOWARN);

	if (!node && *spares)
		return spare[--*spares];
	return node ?: kmalloc(size, GFP_NOIO | __GFP_NOWARN);
}

static void *leaf_alloc(struct remap_map *m, unsigned int n)
{
	return node_alloc(leaf_room(n), m->spare_leaf, &m->spare_leaves);
}

static void *mid_alloc(struct remap_map *m, unsigned int n)
{
	return node_alloc(mid_room(n), m->spare_mid, &m->spare_mids);
}

/* ---- the map ---- */

int remap_map_init(struct remap_map *m, u64 blocks)
{
	u64 roots = (blocks >> REMAP_ROOT_SHIFT) + 1;

	memset(m, 0, sizeof(*m));
	if (roots > SIZE_MAX / sizeof(*m->root))
		return -ENOMEM;
	m->blocks = blocks;
	m->root = kvcalloc((size_t)roots, sizeof(*m->root), GFP_KERNEL);
	return m->root ? 0 : -ENOMEM;
}

void remap_map_destroy(struct remap_map *m)
{
	u64 r, roots = (m->blocks >> REMAP_ROOT_SHIFT) + 1;
	unsigned int i;

	for (r = 0; m->root && r < roots; r++) {
		u64 entry = m->root[r];

		for (i = 0; node_of(entry) && i < REMAP_MID_LEAVES; i++)
			kfree(node_of(mid_at(entry, i)));
		kfree(node_of(entry));
	}
	while (m->spare_leaves)
		kfree(m->spare_leaf[--m->spare_leaves]);
	while (m->spare_mids)
		kfree(m->spare_mid[--m->spare_mids]);
	kvfree(m->root);
	memset(m, 0, sizeof(*m));
}

int remap_map_prepare(struct remap_map *m, unsigned int n, gfp_t gfp)
{
	/* a set wants a leaf and a mid at most; plain ones are as large as any */
	while (m->spare_leaves < n) {
		void *leaf = kmalloc(LEAF_PLAIN, gfp);

		if (!leaf)
			return -ENOMEM;
		m->spare_leaf[m->spare_leaves++] = leaf;
	}
	while (m->spare_mids < n) {
		void *mid = kmalloc(MID_PLAIN, gfp);

		if (!mid)
			return -ENOMEM;
		m->spare_mid[m->spare_mids++] = mid;
	}
	return 0;
}

/*
 * Have readers find @new, and do away with the node that they found before, if any. @size is
 * leaf_size() of an entry in a mid, mid_size() of one in the root.
 */
static void swap_entry(struct remap_map *m, u64 *place, u64 new, size_t (*size)(u64 entry))
{
	u64 old = *place;

	m->bytes += size(new) - size(old);
	smp_store_release(place, new);
	if (node_of(old) && node_of(old) != node_of(new))
		remap_kfree_rcu(node_of(old));
}

/* What is to stand for @old, an entry of a mid or none, once @block has a value. Or 0: no memory */
static u64 leaf_with(struct remap_map *m, u64 old, u64 block, u32 value)
{
	u64 has[REMAP_LEAF_BLOCKS / 64] = {}, new;
	unsigned int n, bit = leaf_bit(block);
	void *node;

	if (!old || (is_one(old) && leaf_bit(one_offset(old)) == bit))
		return one_entry(block, value);
	if (is_one(old)) {
		n = 1;
		has[leaf_bit(one_offset(old)) / 64] |= 1ULL << (one_offset(old) % 64);
	} else {
		n = leaf_scan(old, has);
	}
	has[bit / 64] |= 1ULL << (bit % 64);
	n++;
	node = leaf_alloc(m, n);
	if (!node)
		return 0;
	new = leaf_fill(node, old, has, n);
	*leaf_place(new, block) = value;
	return new;
}

int remap_map_set(struct remap_map *m, u64 block, u32 value)
{
	u64 *root = &m->root[block >> REMAP_ROOT_SHIFT], *place = NULL;
	u64 has[REMAP_MID_LEAVES / 64] = {}, leaf = 0, new, mid;
	unsigned int n, i = leaf_index(block);
	bool is_new = remap_map_get(m, block) == REMAP_VALUE_NONE;
	u32 *at = NULL;
	void *node;

	if (node_of(*root)) {
		place = mid_place(*root, block);
		leaf = place ? *place : 0;
	} else if (*root && leaf_index(one_offset(*root)) == i) {
		leaf = *root;
	}
	if (node_of(leaf))
		at = leaf_place(leaf, block);
	if (at) {
		WRITE_ONCE(*at, value);
		goto done;
	}

	new = leaf_with(m, leaf, block, value);
	if (!new)
		return -ENOMEM;
	if (place) {
		swap_entry(m, place, new, leaf_size);
		goto done;
	}
	if (is_one(new) && (!*root || leaf == *root)) {
		smp_store_release(root, new);
		goto done;
	}
	/* a mid, or one with an entry more */
	if (node_of(*root)) {
		n = mid_scan(*root, has);
	} else {
		n = leaf != *root;
		if (n)
			has[leaf_index(one_offset(*root)) / 64] |=
				1ULL << (leaf_index(one_offset(*root)) % 64);
	}
	has[i / 64] |= 1ULL << (i % 64);
	n++;
	node = mid_alloc(m, n);
	if (!node) {
		kfree(node_of(new));
		return -ENOMEM;
	}
	mid = mid_fill(node, *root, has, n);
	*mid_place(mid, block) = new;
	m->bytes += leaf_size(new);
	swap_entry(m, root, mid, mid_size);
done:
	m->values += is_new;
	return 0;
}

/* Make what is left of a leaf as small as can be, without any memory that is not there. */
static u64 leaf_shrunk(u64 old, u64 block)
{
	u64 has[REMAP_LEAF_BLOCKS / 64];
	unsigned int bit, n = leaf_scan(old, has);
	void *node;

	if (!n)
		return 0;
	if (n == 1) {
		bit = bit_next(has, 0, REMAP_LEAF_BLOCKS - 1);
		return one_entry((block & ~(u64)(REMAP_LEAF_BLOCKS - 1)) + bit,
				 remap_map_leaf_get(old, bit));
	}
	if (leaf_room(n) == leaf_size(old) || (!is_packed(old) && n > LEAF_PACKED / 2))
		return old;
	node = kmalloc(leaf_room(n), GFP_NOWAIT | __GFP_NOWARN);
	return node ? leaf_fill(node, old, has, n) : old;
}

static u64 mid_shrunk(u64 old)
{
	u64 has[REMAP_MID_LEAVES / 64], last;
	unsigned int n = mid_scan(old, has);
	void *node;

	if (!n)
		return 0;
	if (n == 1) {
		last = mid_at(old, bit_next(has, 0, REMAP_MID_LEAVES - 1));
		if (is_one(last))
			return last;
	}
	if (mid_room(n) == mid_size(old) || (!is_packed(old) && n > MID_PACKED / 2))
		return old;
	node = kmalloc(mid_room(n), GFP_NOWAIT | __GFP_NOWARN);
	return node ? mid_fill(node, old, has, n) : old;
}

void remap_map_clear(struct remap_map *m, u64 block)
{
	u64 *root = &m->root[block >> REMAP_ROOT_SHIFT], *place, new = 0;

	if (remap_map_get(m, block) == REMAP_VALUE_NONE)
		return;
	m->values--;
	if (is_one(*root)) {
		WRITE_ONCE(*root, 0);
		return;
	}
	place = mid_place(*root, block);
	if (!is_one(*place)) {
		WRITE_ONCE(*leaf_place(*place, block), REMAP_VALUE_NONE);
		new = leaf_shrunk(*place, block);
	}
	if (new == *place)
		return;
	swap_entry(m, place, new, leaf_size);
	if (!node_of(new)) {
		new = mid_shrunk(*root);
		if (new != *root)
			swap_entry(m, root, new, mid_size);
	}
}

/* The first block from @block to @last, which are in one leaf, that has a value. */
static u64 leaf_next(u64 entry, u64 block, u64 last, u32 *value)
{
	unsigned int bit, end = leaf_bit(last);

	for (bit = leaf_seek(entry, leaf_bit(block)); bit <= end; bit = leaf_seek(entry, bit + 1)) {
		*value = remap_map_leaf_get(entry, bit);
		if (*value != REMAP_VALUE_NONE)
			return (block & ~(u64)(REMAP_LEAF_BLOCKS - 1)) + bit;
	}
	return REMAP_MAP_END;
}

u64 remap_map_next(const struct remap_map *m, u64 first, u64 last, u32 *value)
{
	u64 block, found, end;

	remap_assert_reader();
	for (block = first; block <= last; block = end + 1) {
		u64 entry = remap_load(m->root[block >> REMAP_ROOT_SHIFT]);

		end = min(last, block | REMAP_ROOT_OFFSET);
		if (!entry)
			continue;
		if (!is_one(entry)) {
			end = min(last, block | (REMAP_LEAF_BLOCKS - 1));
			entry = mid_get(entry, block);
		}
		if (is_one(entry)) {
			found = (block & ~REMAP_ROOT_OFFSET) + one_offset(entry);
			if (found >= block && found <= end) {
				*value = one_value(entry);
				return found;
			}
		} else if (entry) {
			found = leaf_next(entry, block, end, value);
			if (found != REMAP_MAP_END)
				return found;
		}
	}
	return REMAP_MAP_END;
}
