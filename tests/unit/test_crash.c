// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every crash point: whatever a crash leaves of a change to the metadata, a load finds the state
 * before it or the state after it.
 *
 * A spare is an array of pointers to metadata blocks, a crash another choice of pointers. What is
 * loaded from it is decided by kernel/format.c, in the order of find_super() and load_table() in
 * kernel/meta.c, whose arithmetic of generations is followed here, too.
 *
 * In each of the five zones a write is missing, torn or whole. Torn means any mixture of old and
 * new sectors, 254 of them at most. What makes that many manageable, and why it may:
 *
 *  - That a mixture which is neither the old block nor the new one is not valid is shown for all
 *    of them, for each pair of old and new (torn_make()). What is not valid has no part in
 *    choosing, so one of them then stands for all: each time another one. That the reasoning
 *    holds is shown for one change to a table block and one to a superblock by going through
 *    each combination of all nine prefixes (every_prefix).
 *  - Images never change once they are made, which check_pool() makes sure of, and format.c knows
 *    nothing but its arguments: so what it has answered about the same images in the same places
 *    is remembered, and so is the checksum of an image.
 *  - Which copy of a table block counts is decided from its own copies alone. So outcomes of more
 *    than two table blocks are combined, not their copies; for two, all of it is gone through.
 *
 * The counts that are printed: crashes that were loaded, and how many they stand for.
 */
#include "unit.h"
#include "format.h"

#define MD		(REMAP_MD_BLOCK >> 9)
#define SPARE		10000		/* sectors: room for five table blocks */
#define GROWN		20000		/* it may grow to that: for five more */
#define PLACES		(GROWN / MD)
#define TABLES		10
#define SLOTS		(TABLES * REMAP_ENTRIES)
#define BLOCKS		64		/* of the data device; the last one is short */
#define NONE		0xffff
#define SUPER		(~0U)		/* among the numbers of table blocks */
#define IMAGES		16384
#define SECTORS		8		/* that a metadata block is torn into */
#define MIXTURES	(1U << SECTORS)

static unsigned long loads, total_loads;
static double stood_for, total_stood_for;

/* ---- images ---- */

static _Alignas(REMAP_MD_BLOCK) u8 pool[IMAGES][REMAP_MD_BLOCK];
static struct known {
	u32 crc;			/* of all of it */
	u32 seed, part_crc;		/* the last one that format.c has asked for */
	size_t at, len;			/* of what; len 0: nothing yet */
} known[IMAGES];
static unsigned int images;

u32 __real_remap_crc32c(u32 crc, const void *data, size_t len);
u32 __wrap_remap_crc32c(u32 crc, const void *data, size_t len);

/* What format.c calls instead: see crash_ldflags in the Makefile. */
u32 __wrap_remap_crc32c(u32 crc, const void *data, size_t len)
{
	uintptr_t at = (uintptr_t)data - (uintptr_t)pool;
	struct known *k;

	if (at >= sizeof(pool) || len < REMAP_MD_BLOCK / 2)
		return __real_remap_crc32c(crc, data, len);
	k = &known[at / REMAP_MD_BLOCK];
	if (k->len != len || k->seed != crc || k->at != at % REMAP_MD_BLOCK) {
		k->seed = crc;
		k->at = at % REMAP_MD_BLOCK;
		k->len = len;
		k->part_crc = __real_remap_crc32c(crc, data, len);
	}
	return k->part_crc;
}

/* The image with these contents: equal contents, equal pointer. */
static const u8 *image_of(const void *bytes)
{
	u32 crc = __real_remap_crc32c(~0U, bytes, REMAP_MD_BLOCK);

	for (unsigned int i = 0; i < images; i++)
		if (known[i].crc == crc && !memcmp(pool[i], bytes, REMAP_MD_BLOCK))
			return pool[i];
	assert_true(images < IMAGES);
	memcpy(pool[images], bytes, REMAP_MD_BLOCK);
	known[images] = (struct known){ .crc = crc };
	return pool[images++];
}

static const u8 *random_image(u64 *seed)
{
	u8 block[REMAP_MD_BLOCK];

	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (u8)rnd(seed);
	return image_of(block);
}

static void check_pool(void)
{
	for (unsigned int i = 0; i < images; i++)
		assert_int_equal(__real_remap_crc32c(~0U, pool[i], REMAP_MD_BLOCK), known[i].crc);
}

/* ---- what format.c has answered ---- */

#define ANSWERS		(1U << 16)	/* a power of two */
#define LOOKS		(2 * REMAP_SUPER_PLACES)

struct decoded {
	const u8 *image;
	u64 sector;
	enum remap_check check;
	struct remap_super s;
};

struct state {
	u16 slot[BLOCKS];		/* or NONE */
	u8 lost[BLOCKS];
	u8 bad[SLOTS];
};

/* What a write leaves that is torn: all mixtures of two images but for these two. */
struct torn {
	const u8 *old, *new;
	unsigned int n, next;
	const u8 *image[MIXTURES];
};

/* What counts, of all that is on the spare. */
struct found {
	const u8 *super;
	const u8 *table[TABLES];
};

static struct {
	struct decoded decoded[1024];
	struct {
		const void *image[LOOKS];
		const u8 *answer;
	} super[1024];
	struct {
		const void *copy[2 * REMAP_ZONES];
		const u8 *super, *answer;
		u32 index;
	} table[ANSWERS];
	struct {
		struct found f;
		struct state s;
	} state[256];
	struct torn torn[64];
	unsigned int torns;
} memo;

static size_t hash(const void *const *key, size_t n, size_t more)
{
	for (size_t i = 0; i < n; i++)
		more = (more ^ (uintptr_t)key[i] >> 12) * 0x9e3779b97f4a7c15U;
	return more >> 40;
}

/* ---- the spare, and what is on it by all that was committed ---- */

static const u8 *disk[PLACES];		/* the spare */
static const u8 *blank;			/* what is in slots */
static struct remap_super super;
static struct remap_layout layout;
static u8 table[TABLES][REMAP_MD_BLOCK];	/* in memory, with the generation on disk */
static u32 seq;
static struct state model;		/* what the entries in memory mean */
static struct state committed;		/* what a load has to give */
static u16 holds[SLOTS];		/* the block whose content is in a slot */

static const u8 **place(u32 index, unsigned int zone, u64 g)
{
	return &disk[(index == SUPER ? remap_super_sector(&layout, zone, g) :
				       remap_table_sector(&layout, zone, index, g)) / MD];
}

static u64 generation(u32 index)
{
	return index == SUPER ? super.generation : remap_table_generation(table[index]);
}

/* The block in memory as generation @g. */
static const u8 *sealed(u32 index, u64 g)
{
	u8 block[REMAP_MD_BLOCK];

	if (index == SUPER) {
		struct remap_super s = super;

		s.generation = g;
		remap_super_encode(block, &s, &layout);
	} else {
		memcpy(block, table[index], sizeof(block));
		remap_table_seal(block, super.uuid, g);
	}
	return image_of(block);
}

static void set_generation(u32 index, u64 g)
{
	if (index == SUPER)
		super.generation = g;
	else
		memcpy(table[index], sealed(index, g), REMAP_MD_BLOCK);
}

/* A commit that reaches every zone. */
static void commit(u32 index)
{
	u64 g = generation(index) + 1;

	for (unsigned int z = 0; z < REMAP_ZONES; z++)
		*place(index, z, g) = sealed(index, g);
	set_generation(index, g);
}

static void entry_set(u32 slot, const struct remap_entry *e)
{
	remap_entry_set(table[slot / REMAP_ENTRIES], slot % REMAP_ENTRIES, e);
}

static void map(u64 block, u32 slot, u32 lost)
{
	struct remap_entry e = {
		.block = block, .lost = lost, .seq = ++seq, .state = REMAP_SLOT_MAPPED,
	};

	entry_set(slot, &e);
	model.slot[block] = (u16)slot;
	model.lost[block] = (u8)lost;
	holds[slot] = (u16)block;
}

/* A slot becomes free or bad; the block in it is unmapped unless it has moved elsewhere. */
static void drop(u32 slot, bool bad)
{
	struct remap_entry e = { .state = bad ? REMAP_SLOT_BAD : REMAP_SLOT_FREE };

	entry_set(slot, &e);
	model.bad[slot] = bad;
	if (holds[slot] != NONE && model.slot[holds[slot]] == slot) {
		model.slot[holds[slot]] = NONE;
		model.lost[holds[slot]] = 0;
	}
}

/* Bring the next table block into use, as remap_meta_room() does. */
static void room(void)
{
	u32 index = super.tables_used;

	remap_table_init(table[index], index);
	commit(index);
	super.tables_used++;
	commit(SUPER);
}

/*
 * A spare with @tables table blocks, each with entries that change from generation to generation
 * all over the block, so that a write has something to tear in each sector. Table block t has
 * blocks 8 * t to 8 * t + 7 in slots that are 30 apart, t * 254 + 1 the first of them.
 */
static void make_spare(u32 tables)
{
	u64 seed = 20;

	check_pool();
	images = 0;
	memset(&memo, 0, sizeof(memo));
	blank = image_of(memset((u8[REMAP_MD_BLOCK]){ 0 }, 0, REMAP_MD_BLOCK));
	for (unsigned int i = 0; i < PLACES; i++)
		disk[i] = blank;
	super = (struct remap_super) {
		.uuid = "0123456789abcde", .label = "crash", .block_size = 4096,
		.sector_size = 512, .data_sectors = BLOCKS * MD - 3, .spare_sectors = SPARE,
		.created = 1700000000,
	};
	memset(super.data_fsuuid, '-', REMAP_ID_LEN - 1);
	assert_int_equal(remap_layout_compute(&layout, SPARE, 4096), 0);
	assert_int_equal(layout.tables, TABLES / 2);
	seq = 0;
	memset(&model, 0, sizeof(model));
	memset(model.slot, 0xff, sizeof(model.slot));
	memset(holds, 0xff, sizeof(holds));
	memset(table, 0, sizeof(table));
	/* what was there before is junk: only what was written since counts */
	for (u32 t = 0; t < layout.tables; t++)
		for (unsigned int i = 0; i < 2 * REMAP_ZONES; i++)
			*place(t, i / 2, i % 2) = random_image(&seed);
	while (super.tables_used < tables)
		room();
	for (unsigned int round = 0; round < 3; round++) {
		for (u32 t = 0; t < tables; t++) {
			for (u32 i = 0; i < 8; i++) {
				u32 slot = t * REMAP_ENTRIES + 1 + 30 * i;

				if (i < 4 * round && slot < layout.slots)
					map(8 * t + i, slot, i & 3);
			}
			commit(t);
		}
		super.label[6] = (char)('a' + round);
		super.data_fsuuid[100] = (char)('a' + round);	/* in another sector */
		commit(SUPER);
	}
	committed = model;
}

/* ---- load ---- */

static const struct decoded *decode(const u8 *image, u64 sector)
{
	const void *key = image;
	struct decoded *d = &memo.decoded[hash(&key, 1, sector) % ARRAY_SIZE(memo.decoded)];

	if (d->image != image || d->sector != sector) {
		d->image = image;
		d->sector = sector;
		d->check = remap_super_decode(image, sector, &d->s);
	}
	return d;
}

/* The superblock that counts, of these images in these places; NULL if none does. */
static const u8 *choose_super(const u64 *where, const void *const *image, unsigned int n)
{
	static struct remap_super s[LOOKS];
	unsigned int valid = 0, from[LOOKS];
	int best;

	for (unsigned int i = 0; i < n; i++) {
		const struct decoded *d;

		if (image[i] == blank)
			continue;
		d = decode(image[i], where[i]);
		if (d->check != REMAP_VALID)
			continue;
		from[valid] = i;
		s[valid++] = d->s;
	}
	if (!valid)
		return NULL;
	/*
	 * The second look is at zones that are elsewhere than the size suggests. Here none is, and
	 * of one spare there are no two answers.
	 */
	for (unsigned int i = 1; i < valid; i++)
		assert_memory_equal(s[i].uuid, s[0].uuid, sizeof(s[0].uuid));
	best = remap_super_choose(s, valid, s[0].uuid);
	return image[from[best]];
}

static const u8 *find_super(void)
{
	const void *image[LOOKS] = { NULL };
	static unsigned int n;
	static u64 where[LOOKS];
	size_t h;

	if (!n) {
		n = remap_super_places(SPARE, where);
		for (unsigned int i = n; i--; ) {
			where[2 * i + 1] = where[i] + MD;
			where[2 * i] = where[i];
		}
		n *= 2;
	}
	for (unsigned int i = 0; i < n; i++)
		image[i] = disk[where[i] / MD];
	h = hash(image, n, 0) % ARRAY_SIZE(memo.super);
	if (memcmp(memo.super[h].image, image, sizeof(image))) {
		memcpy(memo.super[h].image, image, sizeof(image));
		memo.super[h].answer = choose_super(where, image, n);
	}
	return memo.super[h].answer;
}

static const u8 *find_table(const struct found *f, u32 index)
{
	const struct remap_super *s = &decode(f->super, REMAP_ANYWHERE)->s;
	const void *copy[2 * REMAP_ZONES];
	int best;
	size_t h;

	for (unsigned int i = 0; i < 2 * REMAP_ZONES; i++)
		copy[i] = *place(index, i / 2, i % 2);
	h = hash(copy, ARRAY_SIZE(copy), index) % ARRAY_SIZE(memo.table);
	if (memo.table[h].super != f->super || memo.table[h].index != index ||
	    memcmp(memo.table[h].copy, copy, sizeof(copy))) {
		best = remap_table_choose(copy, s, &layout, index);
		memcpy(memo.table[h].copy, copy, sizeof(copy));
		memo.table[h].super = f->super;
		memo.table[h].index = index;
		memo.table[h].answer = best < 0 ? NULL : copy[best];
	}
	return memo.table[h].answer;
}

/* Return: false where a load would refuse */
static bool find(struct found *f)
{
	memset(f, 0, sizeof(*f));
	f->super = find_super();
	if (!f->super)
		return false;
	for (u32 t = 0; t < decode(f->super, REMAP_ANYWHERE)->s.tables_used; t++) {
		f->table[t] = find_table(f, t);
		if (!f->table[t])
			return false;
	}
	return true;
}

static void state_entry(struct state *s, u32 slot, const struct remap_entry *e, u32 *seqs)
{
	if (e->state == REMAP_SLOT_BAD)
		s->bad[slot] = 1;
	if (e->state != REMAP_SLOT_MAPPED)
		return;
	assert_true(e->block < BLOCKS);
	if (s->slot[e->block] != NONE && !remap_seq_after(e->seq, seqs[e->block]))
		return;
	s->slot[e->block] = (u16)slot;
	s->lost[e->block] = (u8)e->lost;
	seqs[e->block] = e->seq;
}

/* What the entries mean: of two for one block the later one counts, as in load_table(). */
static const struct state *state_of(const struct found *f)
{
	const void *key[1 + TABLES] = { f->super };
	u32 seqs[BLOCKS] = { 0 };
	struct remap_entry e;
	struct state *s;
	size_t h;

	for (u32 t = 0; t < TABLES; t++)
		key[1 + t] = f->table[t];
	h = hash(key, ARRAY_SIZE(key), 0) % ARRAY_SIZE(memo.state);
	s = &memo.state[h].s;
	if (!memcmp(&memo.state[h].f, f, sizeof(*f)))
		return s;
	memo.state[h].f = *f;
	memset(s, 0, sizeof(*s));
	memset(s->slot, 0xff, sizeof(s->slot));
	for (u32 slot = 0; slot < SLOTS; slot++) {
		if (!f->table[slot / REMAP_ENTRIES])
			break;
		remap_entry_get(f->table[slot / REMAP_ENTRIES], slot % REMAP_ENTRIES, &e);
		state_entry(s, slot, &e, seqs);
	}
	return s;
}

static struct state load(void)
{
	struct found f;

	assert_true(find(&f));
	return *state_of(&f);
}

/* ---- what a crash leaves of a write ---- */

/* Is it a copy of this metadata block, whatever its generation? */
static bool valid(u32 index, const u8 *image)
{
	struct remap_super s;
	u64 g;

	return index == SUPER ? remap_super_decode(image, REMAP_ANYWHERE, &s) == REMAP_VALID :
	       remap_table_check(image, &super, &layout, index, &g) == REMAP_VALID;
}

/* The sectors of @new whose bit is set, over @old. */
static const u8 *mixture(const u8 *old, const u8 *new, unsigned int sectors)
{
	u8 block[REMAP_MD_BLOCK];

	for (unsigned int i = 0; i < SECTORS; i++)
		memcpy(block + 512 * i, (sectors >> i & 1 ? new : old) + 512 * i, 512);
	return image_of(block);
}

/* All mixtures of two images that are neither the one nor the other; none of them is valid. */
static struct torn *torn_make(u32 index, const u8 *old, const u8 *new)
{
	struct torn *t = memo.torn;

	while (t < memo.torn + memo.torns && (t->old != old || t->new != new))
		t++;
	if (t < memo.torn + memo.torns)
		return t;
	assert_true(memo.torns++ < ARRAY_SIZE(memo.torn));
	*t = (struct torn){ .old = old, .new = new };
	for (unsigned int sectors = 0; sectors < MIXTURES; sectors++) {
		const u8 *image = mixture(old, new, sectors);

		if (image == old || image == new)
			continue;
		assert_false(valid(index, image));
		t->image[t->n++] = image;
	}
	assert_true(t->n);		/* or there is nothing to tear */
	return t;
}

/* One thing that a place may hold after a crash. */
struct option {
	const u8 *image;		/* or, where it is one of many, */
	struct torn *torn;
	unsigned int attempt;		/* whose contents it holds whole; 0: none of the crash's */
};

/* A place that is written when the crash comes. */
struct spot {
	unsigned int block;		/* of struct crash */
	unsigned int zone;
	const u8 **at;
	unsigned int n;
	struct option option[9];
};

#define ATTEMPTS	4		/* 0 is what was before */
#define UNUSED		4		/* number of a block that no load may look at */

struct crash {
	const char *kind;
	u32 index[UNUSED];		/* the metadata blocks that are written */
	const u8 *image[UNUSED][ATTEMPTS];	/* their contents, by attempt */
	const struct state *state[ATTEMPTS];	/* what that means; of several, 0 and 1 */
	bool (*possible)(const struct crash *c);

	unsigned int n;
	struct spot spot[4 * REMAP_ZONES];

	/* while going through them */
	unsigned int dead;		/* a bit for each zone */
	unsigned int chosen[4 * REMAP_ZONES];
	unsigned int newest[UNUSED + 1];	/* attempt that is whole in a zone not dead */
	struct found ok[16];
	unsigned int n_ok;
};

static struct option *add_option(struct spot *s, const u8 *image, unsigned int attempt)
{
	struct option *o = &s->option[s->n++];

	assert_true(s->n <= ARRAY_SIZE(s->option));
	o->image = image;
	o->torn = NULL;
	o->attempt = attempt;
	return o;
}

static struct spot *add_spot(struct crash *c, unsigned int block, unsigned int zone, u32 index,
			     u64 g)
{
	struct spot *s = &c->spot[c->n++];

	assert_true(c->n <= ARRAY_SIZE(c->spot));
	s->block = block;
	s->zone = zone;
	s->at = place(index, zone, g);
	s->n = 0;
	return s;
}

/* Block number @block of the crash is @index; it is written to all zones as generation @g. */
static void add_write(struct crash *c, unsigned int block, u32 index, u64 g, unsigned int attempt)
{
	const u8 *new = sealed(index, g);

	if (block < UNUSED) {
		c->index[block] = index;
		c->image[block][attempt] = new;
	}
	for (unsigned int z = 0; z < REMAP_ZONES; z++) {
		struct spot *s = add_spot(c, block, z, index, g);

		add_option(s, *s->at, 0);
		add_option(s, NULL, 0)->torn = torn_make(index, *s->at, new);
		add_option(s, new, attempt);
	}
}

/* Instead of all mixtures the prefixes, each by itself. */
static void every_prefix(struct crash *c)
{
	for (struct spot *s = c->spot; s < c->spot + c->n; s++) {
		const u8 *old = s->option[0].image;
		struct option whole = s->option[2];

		s->n = 1;
		for (unsigned int n = 1; n <= SECTORS; n++) {
			const u8 *image = mixture(old, whole.image, (1U << n) - 1);

			add_option(s, image, image == whole.image ? whole.attempt : 0);
		}
	}
}

/* Which attempt at its block does the zone hold whole in this spot? A dead one holds nothing. */
static unsigned int attempt_at(const struct crash *c, unsigned int spot)
{
	const struct spot *s = &c->spot[spot];

	return c->dead >> s->zone & 1 ? 0 : s->option[c->chosen[spot]].attempt;
}

static unsigned int zones_with(const struct crash *c, unsigned int block, unsigned int attempt)
{
	unsigned int zones = 0;

	for (unsigned int i = 0; i < c->n; i++)
		if (c->spot[i].block == block && attempt_at(c, i) == attempt)
			zones |= 1U << c->spot[i].zone;
	return (unsigned int)__builtin_popcount(zones);
}

/* A slot that a block is mapped to holds that block's content, and no other block's. */
static void check_mappings(const struct state *s)
{
	for (unsigned int b = 0; b < BLOCKS; b++)
		if (s->slot[b] != NONE)
			assert_int_equal(holds[s->slot[b]], b);
}

/* Each block and each slot by itself is as before or as after. */
static void check_each(const struct crash *c, const struct state *s)
{
	const struct state *old = c->state[0], *new = c->state[1];

	for (unsigned int b = 0; b < BLOCKS; b++)
		if ((s->slot[b] != old->slot[b] || s->lost[b] != old->lost[b]) &&
		    (s->slot[b] != new->slot[b] || s->lost[b] != new->lost[b]))
			fail_msg("%s: block %u is in slot %u", c->kind, b, s->slot[b]);
	for (unsigned int i = 0; i < SLOTS; i++)
		assert_true(s->bad[i] == old->bad[i] || s->bad[i] == new->bad[i]);
}

static void check_found(struct crash *c, const struct found *f)
{
	const struct state *s = state_of(f);

	check_mappings(s);
	if (c->image[1][0]) {
		check_each(c, s);
	} else if (memcmp(s, c->state[c->newest[0]], sizeof(*s))) {
		fail_msg("%s, dead zones %#x: not what attempt %u says", c->kind, c->dead,
			 c->newest[0]);
	}
	if (c->n_ok < ARRAY_SIZE(c->ok))
		c->ok[c->n_ok++] = *f;
}

/* The spare is as a crash has left it: load it. */
static void check_crash(struct crash *c)
{
	struct found f;

	loads++;
	if (!find(&f))
		fail_msg("%s, dead zones %#x: nothing to load", c->kind, c->dead);
	for (unsigned int b = 0; b < UNUSED && c->image[b][0]; b++) {
		const u8 *counts = c->index[b] == SUPER ? f.super : f.table[c->index[b]];

		/* a table block that the superblock does not bring into use is not looked at */
		if (counts && counts != c->image[b][c->newest[b]])
			fail_msg("%s, dead zones %#x: of block %u not attempt %u counts", c->kind,
				 c->dead, b, c->newest[b]);
	}
	for (unsigned int i = 0; i < c->n_ok; i++)
		if (!memcmp(&c->ok[i], &f, sizeof(f)))
			return;
	check_found(c, &f);
}

/* All that may stand in spots @i and above. */
static void go_through(struct crash *c, unsigned int i, double stands_for)
{
	struct spot *s = &c->spot[i];
	unsigned int newest;

	if (i == c->n) {
		if (c->possible && !c->possible(c))
			return;
		stood_for += stands_for;
		check_crash(c);
		return;
	}
	if (c->dead >> s->zone & 1) {
		go_through(c, i + 1, stands_for);
		return;
	}
	newest = c->newest[s->block];
	for (unsigned int k = 0; k < s->n; k++) {
		const struct option *o = &s->option[k];

		c->chosen[i] = k;
		*s->at = o->torn ? o->torn->image[o->torn->next++ % o->torn->n] : o->image;
		c->newest[s->block] = o->attempt > newest ? o->attempt : newest;
		go_through(c, i + 1, o->torn ? stands_for * o->torn->n : stands_for);
	}
	c->newest[s->block] = newest;
}

/* Both copies of everything in this zone are junk. */
static void kill_zone(unsigned int zone)
{
	u64 seed = 21 + zone;
	const u8 *junk = zone ? random_image(&seed) : blank;

	for (u32 t = 0; t <= layout.tables; t++)
		for (u64 g = 0; g < 2; g++)
			*place(t < layout.tables ? t : SUPER, zone, g) = junk;
}

static void kill_zones(unsigned int zones)
{
	for (unsigned int z = 0; z < REMAP_ZONES; z++)
		if (zones >> z & 1)
			kill_zone(z);
}

/* Every crash, with every choice of up to @deaths zones that are dead, or die afterwards. */
static void crash_everywhere(struct crash *c, int deaths)
{
	const u8 *saved[PLACES];

	memcpy(saved, disk, sizeof(disk));
	for (c->dead = 0; c->dead < 1U << REMAP_ZONES; c->dead++) {
		if (__builtin_popcount(c->dead) > deaths)
			continue;
		kill_zones(c->dead);
		go_through(c, 0, 1);
		memcpy(disk, saved, sizeof(disk));
	}
	check_pool();
}

static void report(const char *kind)
{
	print_message("# %lu crashes (for %.3g): %s\n", loads, stood_for, kind);
	total_loads += loads;
	total_stood_for += stood_for;
	loads = 0;
	stood_for = 0;
}

/* ---- changes ---- */

enum how {
	TORN_ONCE,
	EVERY_PREFIX,
};

/* The next generation of @n metadata blocks of which memory holds the new contents. */
static void begin(struct crash *c, const char *kind, unsigned int n, const u32 *index)
{
	struct state s = load();

	assert_memory_equal(&s, &committed, sizeof(s));
	*c = (struct crash){ .kind = kind, .state = { &committed, &model } };
	for (unsigned int i = 0; i < n; i++) {
		u64 g = generation(index[i]);

		c->image[i][0] = *place(index[i], 0, g);
		add_write(c, i, index[i], g + 1, 1);
	}
}

/* The crash did not come. */
static void end(unsigned int n, const u32 *index)
{
	struct state s;

	for (unsigned int i = 0; i < n; i++)
		commit(index[i]);
	s = load();
	assert_memory_equal(&s, &model, sizeof(s));
	committed = model;
}

/* One table block alone: up to four zones are dead, or die later. */
static void crash_one(const char *kind, u32 index, enum how how)
{
	static struct crash c;

	begin(&c, kind, 1, &index);
	crash_everywhere(&c, 4);
	if (how == EVERY_PREFIX) {
		every_prefix(&c);
		crash_everywhere(&c, 2);
	}
	end(1, &index);
}

/* Each kind of change to entries of a table block that has got so many generations. */
static void crash_changes(u32 index, enum how how)
{
	u32 first = index * REMAP_ENTRIES;

	map(40, first + 100, 0);
	crash_one("a block is remapped", index, how);
	for (u32 i = 0; i < 16; i++)
		map(44 + i, first + 7 + 15 * i, i & 5);
	crash_one("a batch of blocks is remapped", index, TORN_ONCE);
	map(40, first + 130, 2);
	crash_one("a block moves to another slot of the same table block", index, TORN_ONCE);
	drop(first + 100, false);
	crash_one("the slot that it has left is freed", index, TORN_ONCE);
	map(41, first + 100, 0);
	crash_one("another block comes to be in that slot", index, TORN_ONCE);
	map(40, first + 131, 0);
	crash_one("a lost sector is written, elsewhere", index, TORN_ONCE);
	drop(first + 130, true);
	crash_one("the slot that it has left is bad", index, TORN_ONCE);
	map(41, first + 160, 0x80);
	crash_one("a sector is lost", index, TORN_ONCE);
	drop(first + 160, false);
	drop(first + 100, false);	/* memory has freed it long ago */
	crash_one("a block is unmapped", index, TORN_ONCE);
	drop(first + 220, true);
	crash_one("a free slot is found to be bad", index, TORN_ONCE);
}

static void a_change_to_a_table_block_is_made_or_not(void **state)
{
	(void)state;
	for (unsigned int odd = 0; odd < 2; odd++) {
		make_spare(2);
		if (odd)
			commit(1);
		crash_changes(1, odd ? TORN_ONCE : EVERY_PREFIX);
	}
	/* of generation 1, with junk in the other copy */
	make_spare(2);
	room();
	crash_changes(2, TORN_ONCE);
	report("changes to one table block");
}

/* How many crashes there are, each mixture counted, with up to @deaths zones dead. */
static double all_crashes(const struct crash *c, int deaths)
{
	double sum = 0;

	for (unsigned int dead = 0; dead < 1U << REMAP_ZONES; dead++) {
		double crashes = __builtin_popcount(dead) <= deaths;

		for (const struct spot *s = c->spot; s < c->spot + c->n; s++)
			if (!(dead >> s->zone & 1))
				crashes *= 2 + s->option[1].torn->n;
		sum += crashes;
	}
	return sum;
}

/* What a commit of several table blocks has done to each of them, all combinations of that. */
static void combine(struct crash *c, unsigned int n)
{
	for (unsigned int done = 0; done < 1U << n; done++) {
		for (unsigned int i = 0; i < n * REMAP_ZONES; i++) {
			struct spot *s = &c->spot[i];

			c->newest[s->block] = done >> s->block & 1;
			*s->at = s->option[c->newest[s->block] ? 2 : 0].image;
		}
		check_crash(c);
	}
}

/* Crashes drawn at random, of those that combine() stands for. */
static void draw(struct crash *c, unsigned int draws, u64 *seed)
{
	while (draws--) {
		memset(c->newest, 0, sizeof(c->newest));
		for (unsigned int i = 0; i < c->n; i++) {
			struct spot *s = &c->spot[i];
			const struct option *o = &s->option[rnd(seed) % 3];

			*s->at = o->torn ? o->torn->image[rnd(seed) % o->torn->n] : o->image;
			if (o->attempt > c->newest[s->block])
				c->newest[s->block] = o->attempt;
		}
		check_crash(c);
	}
}

static void make_batch(unsigned int n)
{
	for (u32 i = 0; i < 16; i++)
		map(40 + i, i % n * REMAP_ENTRIES + 7 + 15 * i, i & 3);
	/* some of them had a slot: in the same table block, and in another one */
	map(0, 100, 1);
	map(1, (n - 1) * REMAP_ENTRIES + 101, 0);
}

static void a_batch_over_two_table_blocks_is_made_block_by_block(void **state)
{
	static const u32 index[] = { 0, 1 };
	static struct crash c;

	(void)state;
	make_spare(2);
	make_batch(2);
	begin(&c, "batch over two table blocks", 2, index);
	crash_everywhere(&c, 2);
	end(2, index);
	report("a batch over two table blocks, all combinations of their copies");
}

static void a_batch_over_four_table_blocks_is_made_block_by_block(void **state)
{
	static const u32 index[] = { 0, 1, 2, 3 };
	const u8 *saved[PLACES];
	static struct crash c;
	double all = 0;
	u64 seed = 22;

	(void)state;
	for (unsigned int n = 3; n <= 4; n++) {
		make_spare(n);
		make_batch(n);
		memcpy(saved, disk, sizeof(disk));
		for (unsigned int i = 0; i < n; i++) {
			struct crash one;

			/* the others as they were: this one's copies by themselves */
			begin(&c, "batch over several table blocks", n, index);
			one = c;
			one.n = REMAP_ZONES;
			memcpy(one.spot, &c.spot[i * REMAP_ZONES], REMAP_ZONES * sizeof(*c.spot));
			crash_everywhere(&one, 2);
		}
		combine(&c, n);
		draw(&c, 20000, &seed);
		all += all_crashes(&c, 2);
		stood_for = all;	/* those of one block by itself are among them */
		memcpy(disk, saved, sizeof(disk));
		end(n, index);
	}
	report("batches over three and four table blocks, outcomes combined, and some drawn");
}

static bool first_was_acknowledged(const struct crash *c)
{
	/* what a zone held when it died nobody knows: it may have been whole */
	return zones_with(c, 0, 1) + (unsigned int)__builtin_popcount(c->dead) >= REMAP_QUORUM;
}

/*
 * The entry of the new slot is on at least three zones, any three of them, and a later commit
 * frees the old slot: the block is in the new one, whatever becomes of that.
 */
static void a_block_that_moves_is_never_in_its_old_slot_again(void **state)
{
	struct state moved;
	struct crash c;

	(void)state;
	make_spare(2);
	map(9, 100, 4);			/* was in table block 1 */
	moved = model;
	begin(&c, "old slot is freed", 1, (u32[]){ 0 });
	for (unsigned int bad = 0; bad < 2; bad++) {
		struct crash both = c;

		drop(REMAP_ENTRIES + 31, bad);
		both.image[1][0] = *place(1, 0, generation(1));
		both.possible = first_was_acknowledged;
		both.state[0] = &moved;
		add_write(&both, 1, 1, generation(1) + 1, 1);
		crash_everywhere(&both, 2);
	}
	report("a block has moved, its old slot is freed or marked as bad");
}

/* Zones that missed a commit, or have it torn, are not made up for: then comes the next one. */
static void zones_that_missed_a_commit_do_not_count_in_the_next(void **state)
{
	struct state first, second;
	struct crash c;

	(void)state;
	make_spare(1);
	begin(&c, "two commits in a row", 0, NULL);
	c.image[0][0] = *place(0, 0, generation(0));
	map(40, 100, 0);
	map(0, 130, 0);
	first = model;
	add_write(&c, 0, 0, generation(0) + 1, 1);
	set_generation(0, generation(0) + 1);
	drop(1, false);
	drop(31, true);
	map(41, 1, 0);
	drop(100, false);
	second = model;
	add_write(&c, 0, 0, generation(0) + 1, 2);
	c.state[1] = &first;
	c.state[2] = &second;
	c.possible = first_was_acknowledged;
	crash_everywhere(&c, 2);
	report("a commit after one that some zones missed");
}

static bool was_acknowledged(const struct crash *c)
{
	unsigned int dead = (unsigned int)__builtin_popcount(c->dead);

	for (unsigned int b = 0; b < UNUSED && c->image[b][0]; b++)
		if (!c->newest[b] || zones_with(c, b, 1) + dead < REMAP_QUORUM)
			return false;
	return true;
}

/* Three zones or more had it, then up to four die: the state after it, if one of them is left. */
static void what_was_acknowledged_is_there_while_one_zone_of_it_is(void **state)
{
	static const u32 index[] = { 0, 1 };
	static struct crash c;

	(void)state;
	for (unsigned int n = 1; n <= 2; n++) {
		make_spare(2);
		make_batch(n);
		begin(&c, "acknowledged", n, index);
		c.state[0] = &model;	/* before is not good enough */
		c.possible = was_acknowledged;
		crash_everywhere(&c, 4);
		end(n, index);
	}
	report("acknowledged changes to one and two table blocks, zones dying later");
}

/* ---- attempts that failed ---- */

/*
 * As commit_burn() has it: the attempt at generation @g reached fewer than three zones, memory
 * goes to g + 1, and the next attempt is one above that.
 */
static u64 after_failure(u64 g)
{
	return g + 1 + 1;
}

/* Torn twice: sectors of all three, in any mixture. None is valid; some of them stay at hand. */
static struct torn *torn_twice(u32 index, const u8 *a, const u8 *b, const u8 *c)
{
	const u8 *from[3] = { a, b, c };
	struct torn *t = &memo.torn[memo.torns++];
	u8 block[REMAP_MD_BLOCK];

	assert_true(memo.torns <= ARRAY_SIZE(memo.torn));
	*t = (struct torn){ .old = NULL };
	for (unsigned int mix = 0; mix < 6561; mix++) {		/* 3 to the 8th */
		for (unsigned int i = 0, left = mix; i < SECTORS; i++, left /= 3)
			memcpy(block + 512 * i, from[left % 3] + 512 * i, 512);
		if (!memcmp(block, a, sizeof(block)) || !memcmp(block, b, sizeof(block)) ||
		    !memcmp(block, c, sizeof(block)))
			continue;
		assert_false(valid(index, block));
		if (mix % 37 == 0)
			t->image[t->n++] = image_of(block);
	}
	return t;
}

/* Attempts before the last one failed: not more than two zones had any of them. */
static bool others_failed(const struct crash *c)
{
	unsigned int zones[ATTEMPTS] = { 0 };

	for (unsigned int i = 0; i < c->n; i++) {
		if (c->spot[i].block || c->dead >> c->spot[i].zone & 1)
			continue;
		for (unsigned int a = 1; a < ATTEMPTS - 1; a++) {
			const struct option *o = &c->spot[i].option[c->chosen[i]];

			/* torn now, but over what was whole */
			zones[a] += o->attempt == a || (o->torn && o->torn->old == c->image[0][a]);
		}
	}
	for (unsigned int a = 1; a < ATTEMPTS - 1; a++)
		if (c->image[0][a + 1] && zones[a] >= REMAP_QUORUM)
			return false;
	return true;
}

/*
 * What is in the copy that up to three attempts wrote to, with the contents of attempt a in
 * c->image[0][a]: whatever each of them has left of the one before.
 */
static void add_attempts(struct crash *c, u32 index, u64 g, unsigned int attempts)
{
	for (unsigned int z = 0; z < REMAP_ZONES; z++) {
		struct spot *s = add_spot(c, 0, z, index, g);
		const u8 *under = *s->at, *const *x = c->image[0];

		add_option(s, under, 0);
		for (unsigned int a = 1; a <= attempts; a++) {
			add_option(s, x[a], a);
			add_option(s, NULL, 0)->torn = torn_make(index, a > 1 ? x[a - 1] : under,
								 x[a]);
		}
		if (attempts == 2) {
			add_option(s, NULL, 0)->torn = torn_make(index, under, x[2]);
			add_option(s, NULL, 0)->torn = torn_twice(index, under, x[1], x[2]);
		}
	}
}

/* Another generation of an attempt, with the contents that memory holds. */
static void add_attempt(struct crash *c, u32 index, u64 g, unsigned int attempt)
{
	c->image[0][attempt] = sealed(index, g);
	assert_int_equal(valid(index, c->image[0][attempt]), true);
}

static void an_attempt_after_a_failed_one_wins_over_it_or_is_not_made(void **state)
{
	struct state meant[3];
	struct crash c;
	u64 g;

	(void)state;
	for (unsigned int attempts = 2; attempts <= 3; attempts++) {
		make_spare(1);
		begin(&c, "attempts at a table block", 0, NULL);
		c.possible = others_failed;
		c.image[0][0] = *place(0, 0, generation(0));
		g = generation(0) + 1;
		for (unsigned int a = 1; a <= attempts; a++) {
			if (a > 1)
				drop(100 + 30 * (a - 1), false);	/* what failed is undone */
			map(40 + a, 100 + 30 * a, 0);
			map(a, 105 + 30 * a, 1);
			meant[a - 1] = model;
			c.state[a] = &meant[a - 1];
			add_attempt(&c, 0, g, a);
			g = after_failure(g);
		}
		add_attempts(&c, 0, generation(0) + 1, attempts);
		crash_everywhere(&c, 2);
	}
	report("attempts at a table block after failed ones");
}

/* Up to two zones have the attempt that failed: they did not answer when the next one was made. */
static bool outvoted(const struct crash *c)
{
	return zones_with(c, 0, 2) + (unsigned int)__builtin_popcount(c->dead) >= REMAP_QUORUM &&
	       zones_with(c, 0, 2) > zones_with(c, 0, 1);
}

/*
 * A crash, and a load that does not find what the failed attempt has left, for its zones cannot be
 * read just then: so its generation is given again, to other contents. Should these zones come
 * back, what was acknowledged is told by their number: it counts for as long as more zones have
 * it than the other. That is less than is promised where no zone comes back.
 */
static void a_zone_that_comes_back_with_a_failed_attempt_is_outvoted(void **state)
{
	struct state first, second;
	struct crash c;

	(void)state;
	make_spare(1);
	begin(&c, "an attempt comes back", 0, NULL);
	c.possible = outvoted;
	c.state[1] = &first;
	c.state[2] = &second;
	c.image[0][0] = *place(0, 0, generation(0));
	map(40, 130, 0);
	first = model;
	add_attempt(&c, 0, generation(0) + 1, 1);
	drop(130, false);
	map(41, 160, 0);
	second = model;
	add_attempt(&c, 0, generation(0) + 1, 2);
	for (unsigned int z = 0; z < REMAP_ZONES; z++) {
		struct spot *s = add_spot(&c, 0, z, 0, generation(0) + 1);

		add_option(s, *s->at, 0);
		add_option(s, c.image[0][1], 1);
		add_option(s, c.image[0][2], 2);
		add_option(s, NULL, 0)->torn = torn_make(0, *s->at, c.image[0][1]);
		add_option(s, NULL, 0)->torn = torn_make(0, *s->at, c.image[0][2]);
	}
	crash_everywhere(&c, 2);
	report("zones come back with an attempt that failed");
}

/* ---- the superblock, and what comes into use by it ---- */

static void a_change_to_the_superblock_is_made_or_not(void **state)
{
	static const u32 index = SUPER;
	struct crash c;

	(void)state;
	for (unsigned int odd = 0; odd < 2; odd++) {
		make_spare(2);
		if (odd)
			commit(SUPER);
		strcpy(super.label, "other");
			super.data_fsuuid[100] = 'x';
		crash_one("superblock", SUPER, odd ? TORN_ONCE : EVERY_PREFIX);
	}
	/* the first change after format: copy A has never been written */
	make_spare(1);
	super.generation = 1;
	for (unsigned int z = 0; z < REMAP_ZONES; z++) {
		*place(SUPER, z, 0) = blank;
		*place(SUPER, z, 1) = sealed(SUPER, 1);
	}
	strcpy(super.label, "other");
	begin(&c, "first change to the superblock", 1, &index);
	crash_everywhere(&c, 4);
	end(1, &index);
	report("changes to the superblock");
}

static void a_failed_attempt_at_the_superblock_does_not_come_back(void **state)
{
	struct crash c;
	u64 g;

	(void)state;
	for (unsigned int again = 0; again < 2; again++) {
		make_spare(2);
		begin(&c, "attempts at the superblock", 0, NULL);
		c.possible = others_failed;
		for (unsigned int a = 0; a < 3; a++)
			c.state[a] = &committed;
		c.image[0][0] = *place(SUPER, 0, generation(SUPER));
		c.index[0] = SUPER;
		/* the table block is there; the superblock that brings it into use fails */
		remap_table_init(table[2], 2);
		commit(2);
		super.tables_used++;
		super.data_fsuuid[100] = 'x';
		g = generation(SUPER) + 1;
		add_attempt(&c, SUPER, g, 1);
		super.tables_used -= !again;
		super.data_fsuuid[100] = 'y';
		add_attempt(&c, SUPER, after_failure(g), 2);
		add_attempts(&c, SUPER, g, 2);
		crash_everywhere(&c, 2);
	}
	report("attempts at the superblock after a failed one");
}

static bool second_was_acknowledged(const struct crash *c)
{
	return zones_with(c, 1, 1) + (unsigned int)__builtin_popcount(c->dead) >= REMAP_QUORUM;
}

static void a_table_block_comes_into_use_whole_or_not_at_all(void **state)
{
	static const u32 index = SUPER;
	struct crash c;

	(void)state;
	make_spare(2);

	/* the empty table block, over junk: nobody looks at it yet */
	remap_table_init(table[2], 2);
	begin(&c, "empty table block", 0, NULL);
	c.index[0] = SUPER;
	c.image[0][0] = *place(SUPER, 0, generation(SUPER));
	add_write(&c, UNUSED, 2, 1, 1);
	crash_everywhere(&c, 4);

	/* the superblock, with the table block on any three zones or more */
	super.tables_used++;
	begin(&c, "superblock with another table block", 1, &index);
	c.image[1][0] = blank;
	add_write(&c, 1, 2, 1, 1);
	c.possible = second_was_acknowledged;
	crash_everywhere(&c, 2);
	commit(2);

	/* its first entry, with the superblock on any three zones or more */
	begin(&c, "first entry", 1, &index);
	map(40, 2 * REMAP_ENTRIES + 77, 1);
	c.image[1][0] = *place(2, 0, generation(2));
	add_write(&c, 1, 2, generation(2) + 1, 1);
	c.possible = first_was_acknowledged;
	crash_everywhere(&c, 2);
	commit(2);
	end(1, &index);
	report("a table block comes into use, and gets its first entry");
}

/* As remap_meta_grow() does it: in memory first, then the superblock. */
static void grow(void)
{
	const struct remap_layout before = layout;
	u64 seed = 23;

	assert_int_equal(remap_super_grow(&super, GROWN), 0);
	assert_int_equal(remap_layout_extend(&layout, &super), 0);
	assert_in_range(layout.tables, before.tables + 1, TABLES);
	/* what is in use stays where it is */
	for (u32 t = 0; t < before.tables; t++)
		for (unsigned int i = 0; i < 2 * REMAP_ZONES; i++)
			assert_int_equal(remap_table_sector(&layout, i / 2, t, i % 2),
					 remap_table_sector(&before, i / 2, t, i % 2));
	for (u32 slot = 0; slot < before.slots; slot++)
		assert_int_equal(remap_slot_sector(&layout, slot),
				 remap_slot_sector(&before, slot));
	for (u32 t = before.tables; t < layout.tables; t++)
		for (unsigned int i = 0; i < 2 * REMAP_ZONES; i++)
			*place(t, i / 2, i % 2) = random_image(&seed);
}

/* The device is known by its first size, as the kernel is told: see first_size in meta.h. */
static void a_spare_grows_or_it_does_not(void **state)
{
	static const u32 index = SUPER;
	struct crash c;
	u32 new;

	(void)state;
	for (unsigned int odd = 0; odd < 2; odd++) {
		make_spare(TABLES / 2);
		if (odd)
			commit(SUPER);
		map(0, 100, 1);
		commit(0);
		committed = model;
		grow();
		crash_one("a spare grows", SUPER, TORN_ONCE);
	}

	/* the first table block of what it has gained */
	new = super.tables_used;
	remap_table_init(table[new], new);
	begin(&c, "empty table block of another band", 0, NULL);
	c.index[0] = SUPER;
	c.image[0][0] = *place(SUPER, 0, generation(SUPER));
	add_write(&c, UNUSED, new, 1, 1);
	crash_everywhere(&c, 4);
	super.tables_used++;
	super.data_fsuuid[100] = 'x';	/* for something to tear in another sector, too */
	begin(&c, "superblock with another band's table block", 1, &index);
	c.image[1][0] = blank;
	add_write(&c, 1, new, 1, 1);
	c.possible = second_was_acknowledged;
	crash_everywhere(&c, 2);
	commit(new);
	end(1, &index);

	map(0, new * REMAP_ENTRIES + 7, 0);
	map(40, new * REMAP_ENTRIES + 90, 3);
	crash_one("a block moves to another band", new, TORN_ONCE);
	drop(100, false);
	map(41, 230, 0);
	crash_one("the slot that it has left is freed, another one taken", 0, TORN_ONCE);
	report("a spare grows, and what it has gained comes into use");
}

/*
 * Likewise for superblocks: growing failed in one or two zones that could not be read by the next
 * load. It brings a table block into use with a superblock of that very generation, and a block
 * comes to be there. Should the two count when they are back, its mapping would be lost.
 */
static void a_superblock_that_comes_back_is_outvoted(void **state)
{
	struct crash c;
	u64 g;

	(void)state;
	make_spare(2);
	begin(&c, "a superblock comes back", 0, NULL);
	c.possible = outvoted;
	c.index[0] = SUPER;
	c.state[2] = &model;
	c.image[0][0] = *place(SUPER, 0, generation(SUPER));
	g = generation(SUPER) + 1;
	remap_table_init(table[2], 2);
	map(40, 2 * REMAP_ENTRIES + 9, 0);
	commit(2);
	super.tables_used++;
	c.image[0][2] = sealed(SUPER, g);
	super.tables_used--;
	grow();
	c.image[0][1] = sealed(SUPER, g);
	for (unsigned int z = 0; z < REMAP_ZONES; z++) {
		struct spot *s = add_spot(&c, 0, z, SUPER, g);

		add_option(s, *s->at, 0);
		add_option(s, c.image[0][1], 1);
		add_option(s, c.image[0][2], 2);
		add_option(s, NULL, 0)->torn = torn_make(SUPER, *s->at, c.image[0][2]);
	}
	crash_everywhere(&c, 2);
	report("zones come back with a superblock that failed");
}

/* ---- load mends ---- */

static unsigned int junk_zones;

static bool found_the_new_one(const struct crash *c)
{
	for (unsigned int i = 0; i < c->n; i++)
		if (!(junk_zones >> c->spot[i].zone & 1) && c->spot[i].option[c->chosen[i]].attempt)
			return true;
	return false;
}

/*
 * A load has found what is left after a crash and rewrites the zones that lack it, the two that
 * are junk among them; and then comes another crash.
 */
static void crash_mending(u32 index, bool new)
{
	const u8 *old_image = *place(index, 0, generation(index));
	u64 g = generation(index) + 1;
	static struct crash c;

	begin(&c, "mending", 0, NULL);
	c.index[0] = index;
	c.image[0][0] = old_image;
	c.image[0][1] = sealed(index, g);
	c.possible = new ? found_the_new_one : NULL;
	kill_zones(junk_zones);
	for (unsigned int z = 0; z < REMAP_ZONES; z++) {
		struct torn *t = torn_make(index, *place(index, z, g), c.image[0][1]);
		bool junk = junk_zones >> z & 1;
		struct spot *s = add_spot(&c, 0, z, index, junk && !new ? g - 1 : g);

		add_option(s, *s->at, 0);
		if (junk && !new) {
			add_option(s, old_image, 0);
			t = torn_make(index, *s->at, old_image);
		} else if (new) {
			add_option(s, c.image[0][1], 1);
		}
		add_option(s, NULL, 0)->torn = t;
	}
	crash_everywhere(&c, 2);
}

static void mending_replicas_changes_nothing(void **state)
{
	(void)state;
	for (junk_zones = 0; junk_zones < 1U << REMAP_ZONES; junk_zones++) {
		if (__builtin_popcount(junk_zones) > 2)
			continue;
		for (unsigned int new = 0; new < 2; new++) {
			make_spare(1);
			map(40, 100, 1);
			map(0, 130, 0);
			crash_mending(0, new);
			make_spare(1);
			super.data_fsuuid[100] = 'x';
			strcpy(super.label, "other");
			crash_mending(SUPER, new);
		}
	}
	report("replicas are mended by a load");
}

#define T(f)	cmocka_unit_test(f)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(a_change_to_a_table_block_is_made_or_not),
		T(a_batch_over_two_table_blocks_is_made_block_by_block),
		T(a_batch_over_four_table_blocks_is_made_block_by_block),
		T(a_block_that_moves_is_never_in_its_old_slot_again),
		T(zones_that_missed_a_commit_do_not_count_in_the_next),
		T(what_was_acknowledged_is_there_while_one_zone_of_it_is),
		T(an_attempt_after_a_failed_one_wins_over_it_or_is_not_made),
		T(a_zone_that_comes_back_with_a_failed_attempt_is_outvoted),
		T(a_change_to_the_superblock_is_made_or_not),
		T(a_failed_attempt_at_the_superblock_does_not_come_back),
		T(a_table_block_comes_into_use_whole_or_not_at_all),
		T(a_spare_grows_or_it_does_not),
		T(a_superblock_that_comes_back_is_outvoted),
		T(mending_replicas_changes_nothing),
	};
	int failed = cmocka_run_group_tests_name("crash", tests, NULL, NULL);

	print_message("# %lu crashes (for %.3g) in all\n", total_loads, total_stood_for);
	return failed;
}
