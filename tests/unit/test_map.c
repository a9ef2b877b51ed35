// SPDX-License-Identifier: GPL-2.0-only
/*
 * kernel/map.c: it says what a plain array would say, and wants no memory that it was not given.
 *
 * map.c is built into this file once more, under other names, so that its memory comes from
 * here: counted, refused at will, and kept after a free for as long as a reader could look.
 */
#include "unit.h"

static struct {
	long allow;		/* so many more allocations succeed; -1: all */
	bool once;		/* after one that was refused all succeed again */
	unsigned long calls;	/* allocations asked for */
	unsigned long waits;	/* of them such that may wait */
	size_t live;		/* bytes allocated now */
	bool grace;		/* what is freed is kept, for readers that are still there */
	void *kept[8];
	unsigned int n_kept;
} mem;

struct chunk {
	size_t size;
	max_align_t data[];
};

static void *map_malloc(size_t size)
{
	struct chunk *c;

	mem.calls++;
	if (!mem.allow) {
		mem.allow = mem.once ? -1 : 0;
		return NULL;
	}
	if (mem.allow > 0)
		mem.allow--;
	c = malloc(sizeof(*c) + size);
	assert_non_null(c);
	c->size = size;
	mem.live += size;
	memset(c->data, 0xa5, size);
	return c->data;
}

static void *map_calloc(size_t n, size_t size)
{
	void *p = map_malloc(n * size);

	return p ? memset(p, 0, n * size) : NULL;
}

static void map_free(void *p)
{
	struct chunk *c = p ? (void *)((char *)p - offsetof(struct chunk, data)) : NULL;

	if (c)
		mem.live -= c->size;
	if (c && mem.grace) {
		assert_true(mem.n_kept < ARRAY_SIZE(mem.kept));
		mem.kept[mem.n_kept++] = c;
	} else {
		free(c);
	}
}

#define malloc			map_malloc
#define calloc			map_calloc
#define free			map_free
#include "../../kernel/shim.h"

static void *map_kmalloc(size_t size, gfp_t gfp)
{
	if (gfp & __GFP_DIRECT_RECLAIM)
		mem.waits++;
	return map_malloc(size);
}

#define kmalloc			map_kmalloc
#define remap_map_init		test_map_init
#define remap_map_destroy	test_map_destroy
#define remap_map_prepare	test_map_prepare
#define remap_map_set		test_map_set
#define remap_map_clear		test_map_clear
#define remap_map_next		test_map_next
#include "../../kernel/map.c"
#undef kmalloc
#undef malloc
#undef calloc
#undef free
#include "../map_bytes.h"

#define ROOT	(1ULL << REMAP_ROOT_SHIFT)	/* blocks under one root entry */

static int setup(void **state)
{
	(void)state;
	memset(&mem, 0, sizeof(mem));
	mem.allow = -1;
	return 0;
}

/* runs after each test: none may leak */
static int teardown(void **state)
{
	(void)state;
	while (mem.n_kept)
		free(mem.kept[--mem.n_kept]);
	if (mem.live)
		print_error("%zu bytes leaked\n", mem.live);
	return mem.live ? -1 : 0;
}

/* What there is for a block and its neighbours: nothing, one block, a packed or a plain leaf. */
static u64 leaf_of(const struct remap_map *m, u64 block)
{
	u64 entry = m->root[block >> REMAP_ROOT_SHIFT];

	return node_of(entry) ? mid_get(entry, block) : entry;
}

/* ---- the map beside a plain array ---- */

struct model {
	struct remap_map map;
	u32 *value;		/* the array: of each block */
	u64 values;
	size_t base;		/* bytes of an empty map */
};

static void model_init(struct model *o, u64 blocks)
{
	assert_int_equal(remap_map_init(&o->map, blocks), 0);
	o->base = mem.live;
	o->values = 0;
	o->value = malloc(blocks * sizeof(u32));
	assert_non_null(o->value);
	for (u64 i = 0; i < blocks; i++)
		o->value[i] = REMAP_VALUE_NONE;
}

static void model_destroy(struct model *o)
{
	remap_map_destroy(&o->map);
	free(o->value);
}

static void model_put(struct model *o, u64 block, u32 value)
{
	if (value == REMAP_VALUE_NONE)
		remap_map_clear(&o->map, block);
	else
		assert_int_equal(remap_map_set(&o->map, block, value), 0);
	o->values += value != REMAP_VALUE_NONE;
	o->values -= o->value[block] != REMAP_VALUE_NONE;
	o->value[block] = value;
	assert_int_equal(o->map.values, o->values);
	assert_int_equal(o->map.bytes, mem.live - o->base);
}

static void check_block(const struct model *o, u64 block)
{
	assert_int_equal(remap_map_get(&o->map, block), o->value[block]);
	if (o->value[block] != REMAP_VALUE_NONE)
		assert_true(remap_map_touches(&o->map, block, block));
	/* if there was memory to tidy up */
	if (!leaf_of(&o->map, block) && mem.allow)
		assert_false(remap_map_touches(&o->map, block, block));
}

/* Return: where the first value of the range is, or REMAP_MAP_END; map and array agree */
static u64 check_range(const struct model *o, u64 first, u64 last)
{
	u64 expect = first;
	u32 value = 0;

	while (expect <= last && o->value[expect] == REMAP_VALUE_NONE)
		expect++;
	if (expect > last)
		expect = REMAP_MAP_END;
	assert_int_equal(remap_map_next(&o->map, first, last, &value), expect);
	if (expect != REMAP_MAP_END) {
		assert_int_equal(value, o->value[expect]);
		assert_true(remap_map_touches(&o->map, first, last));
	}
	return expect;
}

static void check_all(const struct model *o)
{
	u64 block = 0, found = 0, last = o->map.blocks - 1;

	while (block <= last && (block = check_range(o, block, last)) != REMAP_MAP_END) {
		found++;
		block++;
	}
	assert_int_equal(found, o->values);
}

/* Where mistakes would be: borders of leaves and mids, a crowd at the front, the last block. */
static u64 pick_block(u64 *seed, u64 blocks)
{
	u64 block = rnd(seed) % blocks;

	switch (rnd(seed) % 5) {
	case 0:
		block = (block & ~255ULL) + rnd(seed) % 5 - 2;
		break;
	case 1:
		block = (block & ~(ROOT - 1)) + rnd(seed) % 5 - 2;
		break;
	case 2:
	case 3:
		block = rnd(seed) % 700;
	}
	return block < blocks ? block : blocks - 1;
}

static void map_agrees_with_a_plain_array(void **state)
{
	static const u64 sizes[] = {
		1, 2, 63, 64, 65, 255, 256, 257, 511, 512, 513, 1000, ROOT - 1, ROOT, ROOT + 1,
		2 * ROOT, 3 * ROOT + 77,
	};
	u64 seed = 1;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct model o;

		model_init(&o, sizes[i]);
		for (unsigned int step = 0; step < 15000; step++) {
			bool growing = !(step / 3000 % 2);	/* full and empty in turns */
			u64 a = pick_block(&seed, sizes[i]), b = pick_block(&seed, sizes[i]);
			bool far = step % 64 == 0;

			if (rnd(&seed) % 8 < (growing ? 6 : 2))
				model_put(&o, a, (u32)rnd(&seed) & ~(1U << 30));
			else
				model_put(&o, a, REMAP_VALUE_NONE);
			check_block(&o, a);
			check_block(&o, b);
			if (!far && b - a > 600)
				b = a + 600 < sizes[i] ? a + 600 : sizes[i] - 1;
			check_range(&o, a < b ? a : b, a < b ? b : a);
		}
		check_all(&o);
		model_destroy(&o);
	}
}

/* each first and last in 600 blocks across the border of two root entries */
static void every_range_is_answered_right(void **state)
{
	const u64 from = ROOT - 300, to = ROOT + 299;
	u64 seed = 2;
	struct model o;

	(void)state;
	model_init(&o, 2 * ROOT);
	for (unsigned int density = 0; density < 4; density++) {
		for (unsigned int i = 0; i < 3U << (2 * density); i++)
			model_put(&o, from + rnd(&seed) % 600, i);
		for (u64 first = from; first <= to; first++)
			for (u64 last = first; last <= to; last += 1 + density)
				check_range(&o, first, last);
	}
	model_destroy(&o);
}

static void blocks_beyond_32_bits_are_told_apart(void **state)
{
	const u64 blocks = (1ULL << 35) + 3;
	struct remap_map m;
	u32 value;

	(void)state;
	assert_int_equal(remap_map_init(&m, blocks), 0);
	for (unsigned int bit = 32; bit <= 35; bit++)
		assert_int_equal(remap_map_set(&m, 1ULL << bit | 1, bit), 0);
	assert_int_equal(remap_map_get(&m, 1), REMAP_VALUE_NONE);
	assert_int_equal(remap_map_next(&m, 0, blocks - 1, &value), 1ULL << 32 | 1);
	for (unsigned int bit = 32; bit <= 35; bit++) {
		assert_int_equal(remap_map_get(&m, 1ULL << bit | 1), bit);
		remap_map_clear(&m, 1ULL << bit | 1);
	}
	assert_int_equal(remap_map_next(&m, 0, blocks - 1, &value), REMAP_MAP_END);
	remap_map_destroy(&m);
}

/* ---- memory ---- */

static void a_new_value_in_place_takes_no_memory(void **state)
{
	struct model o;

	(void)state;
	model_init(&o, 2 * ROOT);
	for (u64 block = ROOT - 200; block < ROOT + 200; block += 3)
		model_put(&o, block, 7);
	mem.allow = 0;
	mem.calls = 0;
	for (u64 block = ROOT - 200; block < ROOT + 200; block += 3) {
		const void *leaf = node_of(leaf_of(&o.map, block));

		model_put(&o, block, REMAP_VALUE_SPECIAL | (u32)block);
		assert_non_null(leaf);
		assert_ptr_equal(node_of(leaf_of(&o.map, block)), leaf);
	}
	assert_int_equal(mem.calls, 0);
	check_all(&o);
	model_destroy(&o);
}

/*
 * The worst case: each set makes a leaf of one block, and a mid of that and another one. It uses up
 * the reserve to the last node, and does not wait for memory before it does. To clear takes none.
 */
static void prepared_changes_need_no_memory(void **state)
{
	static const unsigned int counts[] = { 1, 2, 7, REMAP_MAP_RESERVE };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		unsigned int n = counts[i];
		struct remap_map m;

		mem.allow = -1;
		assert_int_equal(remap_map_init(&m, n * ROOT), 0);
		for (unsigned int round = 0; round < 2; round++) {
			for (u64 k = 0; k < n; k++)
				assert_int_equal(remap_map_set(&m, k * ROOT + 3, 1), 0);
			mem.allow = -1;
			assert_int_equal(remap_map_prepare(&m, n, GFP_NOIO), 0);
			mem.allow = 0;
			mem.waits = 0;
			for (u64 k = 0; k < n; k++)
				assert_int_equal(remap_map_set(&m, k * ROOT + 200, 2), 0);
			assert_int_equal(mem.waits, 0);
			assert_int_equal(m.spare_leaves, 0);
			assert_int_equal(m.spare_mids, 0);
			assert_int_equal(remap_map_set(&m, 201, 3), -ENOMEM);
			assert_int_equal(m.values, 2 * n);
			for (u64 k = 0; k < n; k++) {
				remap_map_clear(&m, k * ROOT + 3);
				remap_map_clear(&m, k * ROOT + 200);
			}
			assert_int_equal(m.values, 0);
		}
		assert_int_equal(m.bytes, 0);
		remap_map_destroy(&m);
	}
}

/* Not for want of trying: who loads a table has set nothing aside, and may wait. */
static void a_change_without_preparation_waits_for_memory(void **state)
{
	struct remap_map m;

	(void)state;
	assert_int_equal(remap_map_init(&m, ROOT), 0);
	assert_int_equal(remap_map_set(&m, 3, 1), 0);
	mem.allow = 0;
	mem.once = true;			/* what may not wait fails */
	assert_int_equal(remap_map_set(&m, 200, 2), 0);
	assert_int_equal(mem.waits, 1);
	remap_map_destroy(&m);
}

static void a_prepare_that_fails_can_be_tried_again(void **state)
{
	const unsigned int n = 5;
	struct remap_map m;

	(void)state;
	assert_int_equal(remap_map_init(&m, (n + 1) * ROOT), 0);
	for (long k = 0; k < 3; k++) {
		mem.allow = k;
		assert_int_equal(remap_map_prepare(&m, n, GFP_NOIO), -ENOMEM);
	}
	mem.allow = 2 * n - 3;	/* what the attempts above got was kept */
	assert_int_equal(remap_map_prepare(&m, n, GFP_NOIO), 0);
	assert_int_equal(mem.allow, 0);
	mem.calls = 0;
	assert_int_equal(remap_map_prepare(&m, n, GFP_NOIO), 0);
	assert_int_equal(mem.calls, 0);
	for (u64 k = 0; k < n; k++)
		assert_int_equal(remap_map_set(&m, k * ROOT, 1), 0);
	remap_map_destroy(&m);
}

/* a set that is refused memory at its first, second ... allocation */
static void a_change_that_fails_changes_nothing(void **state)
{
	/* with 1, 10 and 20 in the first leaf, and 3 in the third root entry */
	static const u64 sets[] = { 0, 2, 11, 255, 256, 257, ROOT - 1, ROOT, 2 * ROOT + 4 };
	static const unsigned int allocations[] = { 1, 1, 1, 1, 1, 1, 1, 0, 2 };
	struct model o;

	(void)state;
	model_init(&o, 2 * ROOT + 5);
	model_put(&o, 1, 0);
	model_put(&o, 10, 1);
	model_put(&o, 20, 2);
	model_put(&o, 2 * ROOT + 3, 3);
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		size_t bytes = o.map.bytes, live = mem.live;
		unsigned int failed = 0;

		for (; failed < 3; failed++) {
			mem.allow = failed;
			if (!remap_map_set(&o.map, sets[i], 9))
				break;
			assert_int_equal(o.map.bytes, bytes);
			assert_int_equal(o.map.values, o.values);
			assert_int_equal(mem.live, live);
			for (u64 block = 0; block < 600; block++)
				check_block(&o, block);
			check_all(&o);
		}
		assert_int_equal(failed, allocations[i]);
		mem.allow = -1;
		o.value[sets[i]] = 9;		/* in the array, too */
		o.values++;
		check_all(&o);
	}
	model_destroy(&o);
}

/* Without any memory all can be cleared, in any order, and nothing is lost of the rest. */
static void to_clear_takes_no_memory(void **state)
{
	const u64 blocks = 2 * ROOT;
	u64 seed = 4;
	struct model o;

	(void)state;
	for (unsigned int density = 1; density <= 4096; density *= 4) {
		model_init(&o, blocks);
		for (u64 i = 0; i < 1000; i++)
			model_put(&o, rnd(&seed) % 1000 * density % blocks, (u32)i);
		mem.allow = 0;
		while (o.values) {
			u64 block = remap_map_next(&o.map, rnd(&seed) % blocks, blocks - 1,
						   &(u32){ 0 });

			if (block == REMAP_MAP_END)
				continue;
			remap_map_clear(&o.map, block);
			o.values--;
			o.value[block] = REMAP_VALUE_NONE;
			check_block(&o, block);
			if (o.values % 100 == 0)
				check_all(&o);
		}
		assert_int_equal(o.map.bytes, 0);
		assert_int_equal(mem.live, o.base);
		mem.allow = -1;
		model_destroy(&o);
	}
}

/* Has a node changed in more than the one word that has to? */
static unsigned int words_changed(const u32 *now, const u32 *then, size_t size)
{
	unsigned int n = 0;

	for (size_t i = 0; i < size / sizeof(*now); i++)
		n += now[i] != then[i];
	return n;
}

/*
 * Who has found a node goes on with it while the map changes: there it finds what was, or, of the
 * block that changes, what is. The bitmap, by which all others are found, does not change.
 */
static void what_a_reader_holds_stays_right(void **state)
{
	static const u64 changes[] = { 0, 15, 20, 25, 30, 255, 10, 40, 0, 15 };

	(void)state;
	for (unsigned int crowd = 0; crowd < 2; crowd++) {
		struct remap_map m;

		assert_int_equal(remap_map_init(&m, 2 * ROOT), 0);
		for (u64 block = 50; block < (crowd ? 230 : 60); block++)
			assert_int_equal(remap_map_set(&m, block, 5), 0);
		for (u64 leaf = 1; leaf < (crowd ? 300 : 20); leaf++)
			assert_int_equal(remap_map_set(&m, leaf << 8, 6), 0);
		mem.grace = true;
		for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
			u64 leaf = leaf_of(&m, changes[i]), mid = m.root[0];
			size_t leaf_bytes = leaf_size(leaf), mid_bytes = mid_size(mid);
			u32 leaf_then[256], mid_then[1024];
			bool is_set = remap_map_get(&m, changes[i]) != REMAP_VALUE_NONE;

			assert_int_equal(is_packed(leaf), !crowd);
			assert_int_equal(is_packed(mid), !crowd);
			memcpy(leaf_then, node_of(leaf), leaf_bytes);
			memcpy(mid_then, node_of(mid), mid_bytes);
			if (is_set)
				remap_map_clear(&m, changes[i]);
			else
				assert_int_equal(remap_map_set(&m, changes[i], 9), 0);
			assert_int_equal(words_changed(node_of(leaf), leaf_then, leaf_bytes),
					 is_set || crowd);
			assert_in_range(words_changed(node_of(mid), mid_then, mid_bytes), 0, 2);
			for (u64 block = 50; block < 60; block++)
				assert_int_equal(remap_map_leaf_get(leaf, block), 5);
			for (u64 k = 1; k < 20; k++)
				assert_int_equal(mid_get(mid, k << 8),
						 one_entry(k << 8, 6));
			while (mem.n_kept)
				free(mem.kept[--mem.n_kept]);
		}
		mem.grace = false;
		remap_map_destroy(&m);
	}
}

/* With 4,096 bytes for each 254 of the table on disk, of which the kernel holds a copy. */
static void a_remap_costs_at_most_100_bytes_alone_and_24_in_a_run(void **state)
{
	const u64 blocks = 8 * ROOT;
	struct remap_map m;
	u64 seed = 5;

	(void)state;
	for (u64 stride = 128; stride <= 2 * ROOT; stride *= 2) {
		assert_int_equal(remap_map_init(&m, blocks), 0);
		for (u64 block = 0; block < blocks; block += stride)
			assert_int_equal(remap_map_set(&m, block + rnd(&seed) % stride, 1), 0);
		assert_true(map_kernel_bytes(&m) + 4096 * m.values / 254 <= 100 * m.values);
		remap_map_destroy(&m);
	}
	assert_int_equal(remap_map_init(&m, blocks), 0);
	for (u64 block = 77; block < ROOT / 4; block++)
		assert_int_equal(remap_map_set(&m, block, 1), 0);
	assert_true(map_kernel_bytes(&m) + 4096 * m.values / 254 <= 24 * m.values);
	/* a run that becomes one of single blocks */
	for (u64 block = 77; block < ROOT / 4; block++)
		if (block % 300)
			remap_map_clear(&m, block);
	assert_true(map_kernel_bytes(&m) + 4096 * m.values / 254 <= 100 * m.values);
	remap_map_destroy(&m);
}

static void a_map_that_was_emptied_holds_no_memory(void **state)
{
	const u64 blocks = 3 * ROOT;
	u64 seed = 3;
	struct model o;

	(void)state;
	model_init(&o, blocks);
	for (unsigned int i = 0; i < 2000; i++)
		model_put(&o, pick_block(&seed, blocks), i);
	for (u64 block = blocks; block-- > 0; )
		if (o.value[block] != REMAP_VALUE_NONE)
			model_put(&o, block, REMAP_VALUE_NONE);
	assert_int_equal(o.map.bytes, 0);
	assert_int_equal(mem.live, o.base);
	for (u64 r = 0; r < 3; r++)
		assert_int_equal(o.map.root[r], 0);
	remap_map_clear(&o.map, 0);	/* clearing nothing is no error */
	model_destroy(&o);
}

static void destroy_is_safe_after_a_failed_init(void **state)
{
	struct remap_map m;

	(void)state;
	for (long k = 0; k < 2; k++) {
		mem.allow = 0;
		mem.once = k;
		memset(&m, 0xee, sizeof(m));
		assert_int_equal(remap_map_init(&m, 5 * ROOT), -ENOMEM);
		assert_int_equal(mem.live, 0);
		remap_map_destroy(&m);
		remap_map_destroy(&m);
	}
}

#define T(f)	cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(map_agrees_with_a_plain_array),
		T(every_range_is_answered_right),
		T(blocks_beyond_32_bits_are_told_apart),
		T(a_new_value_in_place_takes_no_memory),
		T(prepared_changes_need_no_memory),
		T(a_change_without_preparation_waits_for_memory),
		T(a_prepare_that_fails_can_be_tried_again),
		T(a_change_that_fails_changes_nothing),
		T(to_clear_takes_no_memory),
		T(what_a_reader_holds_stays_right),
		T(a_remap_costs_at_most_100_bytes_alone_and_24_in_a_run),
		T(a_map_that_was_emptied_holds_no_memory),
		T(destroy_is_safe_after_a_failed_init),
	};

	return cmocka_run_group_tests_name("map", tests, NULL, NULL);
}
