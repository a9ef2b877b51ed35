// SPDX-License-Identifier: GPL-2.0-only
/*
 * The metadata of an active target: load, change, commit, verify, repair.
 *
 * What the bytes mean, which of several copies counts and what is believable is decided in
 * format.c; this file carries it out. The rules it keeps:
 *
 *  - Generation g + 1 is written to the copy that does not hold g, in all five zones at once.
 *    Three whole copies make it the truth; what memory held before is forgotten only then.
 *  - An attempt that reached fewer than three zones may still be found by the next load. Its
 *    generation is therefore never given to other contents: the next attempt takes g + 3, which
 *    goes to the same copy and leaves g alone (see commit_burn()).
 *  - The table in memory is, byte for byte, what is on disk, but for table blocks marked dirty.
 *  - A zone that missed a write stays in zones_bad until repair has found it whole again.
 *  - What a load cannot read may be such an attempt, to be found by the next load. Unless it can be
 *    overwritten, what is known is committed with a generation that no such attempt can have.
 *  - What a load finds on fewer than three zones, where others hold something older, may be an
 *    attempt that nobody was told of, and the next load may find the older. Blocks on which the
 *    two differ are frozen until a commit has settled it (see freeze_doubtful()).
 */
#include <linux/device-mapper.h>
#include <linux/gfp.h>
#include <linux/random.h>
#include "meta.h"
#include "trace.h"

#define DM_MSG_PREFIX "remap"

#define MD_SECTORS		(REMAP_MD_BLOCK >> SECTOR_SHIFT)
#define SMALL_ORDER		get_order(REMAP_ZONE_ALIGN)
#define SMALL_TABLES		(REMAP_ZONE_ALIGN / REMAP_MD_BLOCK / 2)
#define LARGE_ORDER		get_order(REMAP_CHUNK_BLOCKS * REMAP_MD_BLOCK)
#define LARGE_TABLES		(REMAP_CHUNK_BLOCKS / 2)
#define REMAP_SUPER_INDEX	(~0U)	/* stands for the superblock among table block numbers */

/* What is kept ready: a batch, each block of it with some bad luck. */
#define SLOTS_AHEAD		REMAP_MAP_RESERVE

#define REMAP_WEAK		XA_MARK_1	/* of table blocks: found on too few zones */
#define REMAP_HIDING		XA_MARK_2	/* ... a copy can be neither read nor written */

/* ---- memory ---- */

static u8 *md_alloc(unsigned int order)
{
	return (u8 *)__get_free_pages(GFP_KERNEL | __GFP_COMP, order);
}

static void buffers_free(struct remap_meta *m)
{
	unsigned int i, z;

	for (i = 0; i < REMAP_COMMIT_TABLES; i++) {
		free_page((unsigned long)m->commit[i].image);
		for (z = 0; z < REMAP_ZONES; z++)
			free_page((unsigned long)m->commit[i].readback[z]);
	}
	for (z = 0; z < REMAP_ZONES; z++)
		free_pages((unsigned long)m->small[z], SMALL_ORDER);
}

static int buffers_alloc(struct remap_meta *m)
{
	unsigned int i, z;
	bool ok = true;

	BUILD_BUG_ON(REMAP_MD_BLOCK > PAGE_SIZE);
	for (i = 0; i < REMAP_COMMIT_TABLES; i++) {
		m->commit[i].image = md_alloc(0);
		ok &= !!m->commit[i].image;
		for (z = 0; z < REMAP_ZONES; z++) {
			m->commit[i].readback[z] = md_alloc(0);
			ok &= !!m->commit[i].readback[z];
		}
	}
	for (z = 0; z < REMAP_ZONES; z++) {
		m->small[z] = md_alloc(SMALL_ORDER);
		m->chunk[z] = m->small[z];
		ok &= !!m->small[z];
	}
	m->chunk_tables = SMALL_TABLES;
	return ok ? 0 : -ENOMEM;
}

static u8 *table_of(struct remap_meta *m, u32 index)
{
	return xa_load(&m->tables, index);
}

static int table_add(struct remap_meta *m, u32 index, const void *image, gfp_t gfp)
{
	u8 *t = (u8 *)__get_free_page(gfp);
	int r;

	if (!t)
		return -ENOMEM;
	if (image)
		memcpy(t, image, REMAP_MD_BLOCK);
	else
		remap_table_init(t, index);
	r = xa_insert(&m->tables, index, t, gfp);
	if (r)
		free_page((unsigned long)t);
	return r;
}

static void table_remove(struct remap_meta *m, u32 index)
{
	free_page((unsigned long)xa_erase(&m->tables, index));
}

static void tables_free(struct remap_meta *m)
{
	unsigned long index;
	void *t;

	xa_for_each(&m->tables, index, t)
		table_remove(m, index);
}

/* ---- reading zones ---- */

static blk_status_t read_md(struct remap_meta *m, u64 sector, void *buf, unsigned int bytes)
{
	return remap_io_sync(&m->commit[0].io[0], m->bdev, m->start + sector,
			     REQ_OP_READ | REQ_META | REQ_SYNC, buf, bytes);
}

/* How many table blocks from @first on are read at once? */
static u32 chunk_tables(const struct remap_meta *m, u32 first)
{
	return min3(m->chunk_tables, m->super.tables_used - first,
		    remap_table_run(&m->layout, first));
}

/* Five zones are five places of a disk: read much in each, if there is much and memory for it. */
static void chunks_enlarge(struct remap_meta *m)
{
	unsigned int z, have = 0;
	u8 *large[REMAP_ZONES];

	if (m->super.tables_used <= SMALL_TABLES)
		return;
	for (z = 0; z < REMAP_ZONES; z++) {
		large[z] = (u8 *)__get_free_pages(GFP_NOIO | __GFP_NORETRY | __GFP_NOWARN |
						  __GFP_COMP, LARGE_ORDER);
		if (!large[z])
			break;
		have++;
	}
	if (have < REMAP_ZONES) {
		while (have)
			free_pages((unsigned long)large[--have], LARGE_ORDER);
		return;
	}
	memcpy(m->chunk, large, sizeof(large));
	m->chunk_tables = LARGE_TABLES;
}

static void chunks_restore(struct remap_meta *m)
{
	unsigned int z;

	for (z = 0; z < REMAP_ZONES; z++) {
		if (m->chunk[z] != m->small[z])
			free_pages((unsigned long)m->chunk[z], LARGE_ORDER);
		m->chunk[z] = m->small[z];
	}
	m->chunk_tables = SMALL_TABLES;
}

/* Read the same run of table blocks, both copies of each, from all zones at once into m->chunk. */
static void read_tables(struct remap_meta *m, u32 index, unsigned int tables)
{
	struct remap_io *io = m->commit[0].io;
	struct remap_round round;
	unsigned int z, b;

	remap_round_begin(&round);
	for (z = 0; z < REMAP_ZONES; z++)
		remap_round_add(&round, &io[z], m->bdev,
				m->start + remap_table_sector(&m->layout, z, index, 0),
				REQ_OP_READ | REQ_META | REQ_SYNC, m->chunk[z],
				tables * 2 * REMAP_MD_BLOCK);
	remap_round_end(&round);

	for (z = 0; z < REMAP_ZONES; z++) {
		u64 sector = remap_table_sector(&m->layout, z, index, 0);

		bitmap_zero(m->unreadable[z], REMAP_CHUNK_BLOCKS);
		if (!io[z].status)
			continue;
		for (b = 0; b < tables * 2; b++)
			if (read_md(m, sector + b * MD_SECTORS, m->chunk[z] + b * REMAP_MD_BLOCK,
				    REMAP_MD_BLOCK))
				__set_bit(b, m->unreadable[z]);
	}
}

/* Block @b of zone @z in the chunk, or NULL if it could not be read. */
static const u8 *chunk_block(const struct remap_meta *m, unsigned int z, unsigned int b)
{
	return test_bit(b, m->unreadable[z]) ? NULL : m->chunk[z] + b * REMAP_MD_BLOCK;
}

/* ---- open: the superblock ---- */

/* What it takes to find the superblock, too much for a stack. */
struct search {
	struct remap_super s[2 * REMAP_SUPER_PLACES];
	unsigned int n;
	enum remap_check worst;		/* of what is no valid superblock */
	struct remap_life life[2 * REMAP_SUPER_PLACES];
	unsigned int lives;
	struct remap_super own[2 * REMAP_ZONES];
	struct remap_layout layout;
};

/* Look at both copies at @sector. */
static void look_at(struct remap_meta *m, struct search *f, u64 sector)
{
	unsigned int copy;

	for (copy = 0; copy < 2; copy++) {
		u64 at = sector + copy * MD_SECTORS;
		enum remap_check c;

		if (at + MD_SECTORS > m->size ||
		    read_md(m, at, m->chunk[0], REMAP_MD_BLOCK))
			continue;
		c = remap_super_decode(m->chunk[0], at, &f->s[f->n]);
		if (c == REMAP_VALID)
			f->n++;
		else if (c > f->worst)
			f->worst = c;
	}
}

/*
 * The zones may be elsewhere than its size suggests, on a spare that has grown. As one superblock
 * says where they are, look at them all for the newest.
 */
static int look_at_life(struct remap_meta *m, struct search *f, struct remap_life *life)
{
	const void *block[2 * REMAP_ZONES];
	unsigned int i;

	if (remap_layout_of(&f->layout, &life->super))
		return -EUCLEAN;	/* cannot be: it was decoded */
	for (i = 0; i < 2 * REMAP_ZONES; i++) {
		u64 at = remap_super_sector(&f->layout, i / 2, i & 1);
		u8 *to = m->chunk[i / 2] + (i & 1) * REMAP_MD_BLOCK;

		block[i] = at + MD_SECTORS > m->size ||
			   read_md(m, at, to, REMAP_MD_BLOCK) ? NULL : to;
	}
	remap_life_look(life, &f->layout, block, f->own);
	return 0;
}

static int find_super(struct remap_meta *m, struct search *f, const char **error)
{
	u64 place[REMAP_SUPER_PLACES];
	const struct remap_life *life;
	unsigned int i, places;
	int best, r;

	f->worst = REMAP_BLANK;
	places = remap_super_places(m->first_size ?: m->size, place);
	for (i = 0; i < places; i++)
		look_at(m, f, place[i]);
	for (i = 0; i < f->n; i++) {
		if (remap_life_known(f->life, f->lives, f->s[i].uuid))
			continue;
		best = remap_super_choose(f->s, f->n, f->s[i].uuid);
		f->life[f->lives].super = f->s[best];
		r = look_at_life(m, f, &f->life[f->lives++]);
		if (r)
			return r;
	}
	best = remap_life_choose(f->life, f->lives);
	if (best == -ENODATA) {
		*error = f->worst == REMAP_BLANK ? "spare is not formatted (remapctl format)" :
			 f->worst == REMAP_BAD_VERSION ? "spare has a newer format version" :
			 f->worst == REMAP_BAD_FEATURE ? "spare uses features unknown here" :
			 "no valid superblock on spare";
		return f->worst == REMAP_BLANK ? -ENODATA : -EUCLEAN;
	}
	if (best < 0) {
		*error = "superblocks of several formats on spare (remapctl dump --spare)";
		return best;
	}
	life = &f->life[best];
	if (life->super.spare_sectors > m->size) {
		*error = "spare is smaller than it was";
		return -ENOSPC;
	}
	/*
	 * An older generation is not a way around what the newest one demands. Of one of another
	 * version nothing else is known; but here format has left nothing of an earlier life.
	 */
	if (life->version) {
		*error = "spare has a newer format version";
		return -EUCLEAN;
	}
	if (life->unknown > life->super.generation) {
		*error = "spare uses features unknown here";
		return -EUCLEAN;
	}
	m->super = life->super;
	return remap_layout_of(&m->layout, &m->super) ? -EUCLEAN : 0;
}

/* Find the superblock, and decide whether the spare may be written. */
static int super_load(struct remap_meta *m, const char **error)
{
	struct search *f;
	int r;

	f = kvcalloc(1, sizeof(*f), GFP_KERNEL);
	if (!f) {
		*error = "out of memory";
		return -ENOMEM;
	}
	*error = "cannot read the spare's metadata";
	r = find_super(m, f, error);
	kvfree(f);
	m->readonly = !m->may_write || bdev_read_only(m->bdev) ||
		      m->super.ro_compat & ~REMAP_RO_COMPAT_KNOWN;
	return r;
}

int remap_meta_open(struct remap_meta *m, const char *name, dev_t dev,
		    struct block_device *bdev, sector_t start, u64 size, u64 first_size,
		    bool may_write, const char **error)
{
	int r;

	memset(m, 0, sizeof(*m));
	m->name = name;
	m->dev = dev;
	m->bdev = bdev;
	m->start = start;
	m->size = size;
	m->first_size = first_size;
	m->may_write = may_write;
	xa_init(&m->tables);

	*error = "out of memory";
	if (buffers_alloc(m))
		return -ENOMEM;
	r = super_load(m, error);
	/* should the device be enlarged before the load, its zones are where they are */
	if (!r)
		m->first_size = remap_first_sectors(&m->super);
	return r;
}

void remap_meta_close(struct remap_meta *m)
{
	tables_free(m);
	xa_destroy(&m->tables);
	buffers_free(m);
}

/* ---- entries ---- */

void remap_meta_get(struct remap_meta *m, u32 slot, struct remap_entry *e)
{
	remap_entry_get(table_of(m, slot / REMAP_ENTRIES), slot % REMAP_ENTRIES, e);
}

/* Count an entry in (by = 1) or out (by = -1). */
static void account(struct remap_meta *m, const struct remap_entry *e, int by)
{
	switch (e->state) {
	case REMAP_SLOT_FREE:
		WRITE_ONCE(m->slots_free, m->slots_free + by);
		break;
	case REMAP_SLOT_MAPPED:
		WRITE_ONCE(m->slots_used, m->slots_used + by);
		WRITE_ONCE(m->lost_sectors, m->lost_sectors + by * (int)hweight32(e->lost));
		break;
	default:
		WRITE_ONCE(m->slots_bad, m->slots_bad + by);
		break;
	}
}

void remap_meta_set(struct remap_meta *m, u32 slot, const struct remap_entry *e)
{
	u32 index = slot / REMAP_ENTRIES;
	struct remap_entry old;

	remap_meta_get(m, slot, &old);
	account(m, &old, -1);
	account(m, e, 1);
	remap_entry_set(table_of(m, index), slot % REMAP_ENTRIES, e);
	xa_set_mark(&m->tables, index, REMAP_DIRTY);
}

u32 remap_meta_alloc(struct remap_meta *m, u64 block, u32 lost, u32 old)
{
	u32 slots = m->super.tables_used * REMAP_ENTRIES;
	u32 seq = m->seq + 1;
	struct remap_entry e;
	u32 slot;

	if (!m->slots_free)
		return REMAP_NO_SLOT;
	slot = m->hint < slots ? m->hint : 0;
	for (;;) {
		remap_meta_get(m, slot, &e);
		if (e.state == REMAP_SLOT_FREE && remap_slot_exists(&m->layout, slot))
			break;
		if (++slot == slots)
			slot = 0;
		if (slot % REMAP_ENTRIES == 0)
			cond_resched();
	}
	m->seq = seq;
	if (old != REMAP_NO_SLOT) {
		struct remap_entry before;

		/* one that stood still for so long that the numbers went half-way round */
		remap_meta_get(m, old, &before);
		if (!remap_seq_after(seq, before.seq))
			seq = before.seq + 1;
	}
	e.block = block;
	e.lost = lost;
	e.seq = seq;
	e.state = REMAP_SLOT_MAPPED;
	remap_meta_set(m, slot, &e);
	m->hint = slot + 1;
	return slot;
}

/* ---- commit ---- */

static void commit_add(struct remap_meta *m, u32 index, u64 generation)
{
	struct remap_commit_block *c = &m->commit[m->commits++];

	c->index = index;
	c->generation = generation;
	if (index == REMAP_SUPER_INDEX) {
		m->super.generation = generation;
		remap_super_encode(c->image, &m->super, &m->layout);
	} else {
		memcpy(c->image, table_of(m, index), REMAP_MD_BLOCK);
		remap_table_seal(c->image, m->super.uuid, generation);
	}
}

static u64 commit_sector(struct remap_meta *m, const struct remap_commit_block *c, unsigned int z)
{
	if (c->index == REMAP_SUPER_INDEX)
		return m->start + remap_super_sector(&m->layout, z, c->generation);
	return m->start + remap_table_sector(&m->layout, z, c->index, c->generation);
}

unsigned int remap_meta_commit_begin(struct remap_meta *m)
{
	unsigned long index;
	u8 *t;

	m->commits = 0;
	xa_for_each_marked(&m->tables, index, t, REMAP_DIRTY) {
		commit_add(m, index, remap_table_generation(t) + 1);
		if (m->commits == REMAP_COMMIT_TABLES)
			break;
	}
	return m->commits;
}

void remap_meta_commit_write(struct remap_meta *m, struct remap_round *round)
{
	struct remap_commit_block *c;
	unsigned int z;

	for (c = m->commit; c < m->commit + m->commits; c++)
		for (z = 0; z < REMAP_ZONES; z++)
			remap_round_add(round, &c->io[z], m->bdev, commit_sector(m, c, z),
					REQ_OP_WRITE | REQ_META | REQ_SYNC | REQ_FUA, c->image,
					REMAP_MD_BLOCK);
}

void remap_meta_commit_read(struct remap_meta *m, struct remap_round *round)
{
	struct remap_commit_block *c;
	unsigned int z;

	for (c = m->commit; c < m->commit + m->commits; c++) {
		for (z = 0; z < REMAP_ZONES; z++) {
			c->good[z] = !c->io[z].status;
			if (!c->good[z])
				continue;
			remap_round_add(round, &c->io[z], m->bdev, commit_sector(m, c, z),
					REQ_OP_READ | REQ_META | REQ_SYNC, c->readback[z],
					REMAP_MD_BLOCK);
		}
	}
}

/*
 * Above any generation that a copy which cannot be read may have, if the newest known is @g; by an
 * even number, as that copy may hold the next one. By how much is left to chance: an attempt made
 * so could be hidden in its turn.
 */
static u64 unseen_generation(u64 g)
{
	return g + 2 + get_random_u32() % 1024 * 2;
}

/*
 * The attempt failed, but may stand in one or two zones, and a load would find it there. Skip its
 * generation, and one more to keep off the copy that holds the last good one.
 */
static void commit_burn(struct remap_meta *m, const struct remap_commit_block *c)
{
	struct remap_disk_table *t;

	if (c->index == REMAP_SUPER_INDEX) {
		m->super.generation = c->generation + 1;
		m->super_dirty = true;
		return;
	}
	t = (struct remap_disk_table *)table_of(m, c->index);
	t->h.generation = cpu_to_le64(c->generation + 1);
}

int remap_meta_commit_end(struct remap_meta *m, bool verify)
{
	struct remap_commit_block *c;
	unsigned long bad = m->zones_bad;
	int result = 0;
	unsigned int z;

	for (c = m->commit; c < m->commit + m->commits; c++) {
		unsigned int good = 0;

		for (z = 0; z < REMAP_ZONES; z++) {
			if (!verify)
				c->good[z] = !c->io[z].status;
			else if (c->good[z])
				c->good[z] = !c->io[z].status &&
					     !memcmp(c->readback[z], c->image, REMAP_MD_BLOCK);
			if (c->good[z]) {
				good++;
				continue;
			}
			if (!(bad & BIT(z)))
				DMWARN("%s: replica %u of the metadata missed a write", m->name, z);
			bad |= BIT(z);
		}
		trace_remap_commit(m->dev, c->index, c->generation, good);
		if (good < REMAP_QUORUM) {
			commit_burn(m, c);
			result = -EIO;
		} else if (c->index == REMAP_SUPER_INDEX) {
			m->super_dirty = false;
		} else {
			memcpy(table_of(m, c->index), c->image, REMAP_MD_BLOCK);
			xa_clear_mark(&m->tables, c->index, REMAP_DIRTY);
			xa_clear_mark(&m->tables, c->index, REMAP_WEAK);
		}
	}
	WRITE_ONCE(m->zones_bad, bad);
	return result;
}

/* Write, verify and judge what commit_begin() or commit_add() has gathered. */
static int commit_rounds(struct remap_meta *m, bool verify)
{
	struct remap_round round;

	remap_round_begin(&round);
	remap_meta_commit_write(m, &round);
	remap_round_end(&round);
	if (verify) {
		remap_round_begin(&round);
		remap_meta_commit_read(m, &round);
		remap_round_end(&round);
	}
	return remap_meta_commit_end(m, verify);
}

/* Commit one block, whatever else is dirty. */
static int commit_one(struct remap_meta *m, u32 index, u64 generation, bool verify)
{
	m->commits = 0;
	commit_add(m, index, generation);
	return commit_rounds(m, verify);
}

int remap_meta_commit(struct remap_meta *m, bool verify)
{
	unsigned long index;
	int r = 0;
	u8 *t;

	if (m->super_dirty)
		r = commit_one(m, REMAP_SUPER_INDEX, m->super.generation + 1, verify);
	/* what is on too few zones first: it may be why something in another one is free now */
	xa_for_each_marked(&m->tables, index, t, REMAP_WEAK) {
		if (r)
			break;
		if (xa_get_mark(&m->tables, index, REMAP_DIRTY))
			r = commit_one(m, index, remap_table_generation(t) + 1, verify);
	}
	while (!r && remap_meta_commit_begin(m))
		r = commit_rounds(m, verify);
	return r;
}

bool remap_meta_answers(struct remap_meta *m)
{
	struct remap_commit_block *c = &m->commit[0];
	struct remap_round round;
	unsigned int z, good = 0;

	/* it may be given back what is behind its end */
	if (bdev_nr_sectors(m->bdev) < m->start + m->super.spare_sectors)
		return false;
	remap_round_begin(&round);
	for (z = 0; z < REMAP_ZONES; z++)
		remap_round_add(&round, &c->io[z], m->bdev, m->start +
				remap_super_sector(&m->layout, z, m->super.generation),
				REQ_OP_READ | REQ_META | REQ_SYNC, c->readback[z],
				REMAP_MD_BLOCK);
	remap_round_end(&round);
	for (z = 0; z < REMAP_ZONES; z++)
		good += !c->io[z].status;
	return good >= REMAP_QUORUM;
}

bool remap_meta_whole(const struct remap_meta *m)
{
	return !m->super_dirty && !xa_marked(&m->tables, REMAP_DIRTY) &&
	       remap_meta_replicas_ok(m) >= REMAP_QUORUM;
}

/*
 * What a table block begins with that comes into use: above what may be there of it already, from
 * before the spare was restored to an older state.
 */
static u64 first_generation(struct remap_meta *m, u32 index)
{
	u64 g, newest = 0;
	unsigned int z, copy;

	read_tables(m, index, 1);
	for (z = 0; z < REMAP_ZONES; z++) {
		for (copy = 0; copy < 2; copy++) {
			const u8 *block = chunk_block(m, z, copy);

			if (!block)
				newest |= 1ULL << 40;	/* it may be any, but not that */
			else if (!remap_table_check(block, &m->super, &m->layout, index, &g) &&
				 (g & 1) == copy && g > newest)
				newest = g;
		}
	}
	return newest + 1;
}

int remap_meta_room(struct remap_meta *m, gfp_t gfp)
{
	int r = 0;

	/*
	 * First the empty table block, then the superblock that brings it into use: between the
	 * two, what is on disk beyond tables_used means nothing.
	 */
	while (!r && !m->readonly && m->slots_free < SLOTS_AHEAD &&
	       m->super.tables_used < m->layout.tables) {
		u32 index = m->super.tables_used;

		r = table_add(m, index, NULL, gfp);
		if (r)
			return r;
		r = commit_one(m, index, first_generation(m, index), true);
		if (!r) {
			m->super.tables_used++;
			r = commit_one(m, REMAP_SUPER_INDEX, m->super.generation + 1, true);
			if (r)
				m->super.tables_used--;
		}
		if (r)
			table_remove(m, index);
		else
			WRITE_ONCE(m->slots_free,
				   m->slots_free + remap_table_slots(&m->layout, index));
	}
	return r;
}

int remap_meta_grow(struct remap_meta *m, u64 sectors)
{
	const u64 from = m->super.spare_sectors, incompat = m->super.incompat;
	int r = remap_super_grow(&m->super, sectors);

	if (r)
		return r;
	r = remap_layout_extend(&m->layout, &m->super);
	if (!r) {
		/* that is all there is to it: nothing of what it adds is in use yet */
		r = commit_one(m, REMAP_SUPER_INDEX, m->super.generation + 1, true);
		if (!r)
			return 0;
		remap_layout_retract(&m->layout);
	}
	m->super.grown_from[--m->super.grown] = 0;
	m->super.spare_sectors = from;
	m->super.incompat = incompat;
	return r;
}

/* ---- load ---- */

/* The copy in the chunks that counts, of the table block that is at place @at there; or NULL. */
static const u8 *best_copy(struct remap_meta *m, u32 index, unsigned int at)
{
	const void *copy[2 * REMAP_ZONES];
	unsigned int i;
	int best;

	for (i = 0; i < 2 * REMAP_ZONES; i++)
		copy[i] = chunk_block(m, i / 2, 2 * at + i % 2);
	best = remap_table_choose(copy, &m->super, &m->layout, index);
	return best < 0 ? NULL : copy[best];
}

static enum remap_replica_state judge_super(struct remap_meta *m, unsigned int z,
					    const u8 *image, u64 generation)
{
	enum remap_replica_state state = REMAP_REPLICA_CORRUPT;
	struct remap_super *s = kmalloc(sizeof(*s), GFP_NOIO);
	unsigned int copy;

	for (copy = 0; copy < 2; copy++) {
		u64 at = remap_super_sector(&m->layout, z, copy);

		if (read_md(m, at, m->chunk[0], REMAP_MD_BLOCK)) {
			if (copy == (generation & 1))
				state = REMAP_REPLICA_UNREADABLE;
			continue;
		}
		if (copy == (generation & 1) && !memcmp(m->chunk[0], image, REMAP_MD_BLOCK)) {
			state = REMAP_REPLICA_OK;
			break;
		}
		if (state == REMAP_REPLICA_CORRUPT && s &&
		    !remap_super_decode(m->chunk[0], at, s) &&
		    !memcmp(s->uuid, m->super.uuid, sizeof(s->uuid)) &&
		    s->generation < generation)
			state = REMAP_REPLICA_STALE;
	}
	kfree(s);
	return state;
}

static enum remap_replica_state judge_table(struct remap_meta *m, unsigned int z, u32 index,
					    unsigned int at, const u8 *image)
{
	u64 want = remap_table_generation(image), g;
	const u8 *block = chunk_block(m, z, 2 * at + (want & 1));
	unsigned int copy;

	if (!block)
		return REMAP_REPLICA_UNREADABLE;
	if (!memcmp(block, image, REMAP_MD_BLOCK))
		return REMAP_REPLICA_OK;
	for (copy = 0; copy < 2; copy++) {
		block = chunk_block(m, z, 2 * at + copy);
		if (block && !remap_table_check(block, &m->super, &m->layout, index, &g) &&
		    g < want && (g & 1) == copy)
			return REMAP_REPLICA_STALE;
	}
	return REMAP_REPLICA_CORRUPT;
}

/* Rewrite one 4 KiB block of one zone and see whether it took. */
static bool mend(struct remap_meta *m, u64 sector, const u8 *image)
{
	struct remap_commit_block *c = &m->commit[0];

	memcpy(c->image, image, REMAP_MD_BLOCK);
	return !remap_io_sync(&c->io[0], m->bdev, m->start + sector,
			      REQ_OP_WRITE | REQ_META | REQ_SYNC | REQ_FUA, c->image,
			      REMAP_MD_BLOCK) &&
	       !read_md(m, sector, c->readback[0], REMAP_MD_BLOCK) &&
	       !memcmp(c->readback[0], c->image, REMAP_MD_BLOCK);
}

/* Note what is wrong with a block of a zone, or mend it. Return: is it good now? */
static bool judge(struct remap_meta *m, enum remap_replica_state found, bool repair, u64 sector,
		  const u8 *image, enum remap_replica_state *state)
{
	if (found != REMAP_REPLICA_OK && repair && mend(m, sector, image))
		found = REMAP_REPLICA_OK;
	if (found > *state)
		*state = found;
	return found == REMAP_REPLICA_OK;
}

/*
 * A copy, at @sector, that is not the newest could not be read. Nobody needs it; but it may hold an
 * attempt that nobody was told of. Return: can that never come back?
 */
static bool bury(struct remap_meta *m, bool repair, u64 sector, enum remap_replica_state *state)
{
	u8 *zero = m->commit[1].image;

	memset(zero, 0, REMAP_MD_BLOCK);
	if (repair && mend(m, sector, zero))
		return true;
	*state = max(*state, REMAP_REPLICA_UNREADABLE);
	return false;
}

/* Return: may a copy of the superblock hide something? */
static bool verify_supers(struct remap_meta *m, bool repair, enum remap_replica_state *state)
{
	u8 *image = m->commit[1].image;
	bool hiding = false;
	unsigned int z;

	if (m->super_dirty) {
		for (z = 0; z < REMAP_ZONES; z++)
			state[z] = max(state[z], REMAP_REPLICA_STALE);
		return false;
	}
	remap_super_encode(image, &m->super, &m->layout);
	for (z = 0; z < REMAP_ZONES; z++)
		judge(m, judge_super(m, z, image, m->super.generation), repair,
		      remap_super_sector(&m->layout, z, m->super.generation), image, &state[z]);
	for (z = 0; z < REMAP_ZONES; z++) {
		u64 at = remap_super_sector(&m->layout, z, m->super.generation + 1);

		if (read_md(m, at, m->chunk[0], REMAP_MD_BLOCK))
			hiding |= !bury(m, repair, at, &state[z]);
	}
	return hiding;
}

static void verify_tables(struct remap_meta *m, u32 first, unsigned int n, bool repair,
			  enum remap_replica_state *state)
{
	unsigned int i, z, good;

	for (i = 0; i < n; i++) {
		u32 index = first + i;
		const u8 *t = table_of(m, index);

		if (xa_get_mark(&m->tables, index, REMAP_DIRTY)) {
			for (z = 0; z < REMAP_ZONES; z++)
				state[z] = max(state[z], REMAP_REPLICA_STALE);
			continue;
		}
		for (z = 0, good = 0; z < REMAP_ZONES; z++) {
			u64 at = remap_table_sector(&m->layout, z, index,
						    remap_table_generation(t));

			good += judge(m, judge_table(m, z, index, i, t), repair, at, t,
				      &state[z]);
			if (chunk_block(m, z, 2 * i + !(remap_table_generation(t) & 1)))
				continue;
			at = remap_table_sector(&m->layout, z, index,
						remap_table_generation(t) + 1);
			if (!bury(m, repair, at, &state[z]))
				xa_set_mark(&m->tables, index, REMAP_HIDING);
		}
		if (good < REMAP_QUORUM)
			xa_set_mark(&m->tables, index, REMAP_WEAK);
		else
			xa_clear_mark(&m->tables, index, REMAP_WEAK);
	}
}

static void note_zones(struct remap_meta *m, const enum remap_replica_state *state)
{
	unsigned long bad = 0;
	unsigned int z;

	for (z = 0; z < REMAP_ZONES; z++)
		if (state[z] != REMAP_REPLICA_OK)
			bad |= BIT(z);
	WRITE_ONCE(m->zones_bad, bad);
}

void remap_meta_verify(struct remap_meta *m, bool repair,
		       enum remap_replica_state state[REMAP_ZONES])
{
	u32 first, n;

	memset(state, 0, REMAP_ZONES * sizeof(*state));
	verify_supers(m, repair, state);
	chunks_enlarge(m);
	for (first = 0; first < m->super.tables_used; first += n) {
		n = chunk_tables(m, first);
		read_tables(m, first, n);
		verify_tables(m, first, n, repair, state);
	}
	chunks_restore(m);
	note_zones(m, state);
}

/* ---- table blocks on too few zones ---- */

static bool same_entries(const void *a, const void *b)
{
	const struct remap_disk_table *x = a, *y = b;

	return !memcmp(x->entry, y->entry, sizeof(x->entry));
}

/*
 * Should those zones die that hold a table block as it is in memory: what would a load find?
 * Return: another set of entries, in the chunks, or NULL: the same, or nothing at all, which it
 * would say.
 */
static const u8 *other_entries(struct remap_meta *m, u32 index)
{
	const void *copy[2 * REMAP_ZONES] = { NULL };
	u64 g, same[REMAP_ZONES] = { 0 }, newest = 0;	/* generations */
	const u8 *t = table_of(m, index);
	unsigned int z, n = 0;
	int best;

	read_tables(m, index, 1);
	for (z = 0; z < REMAP_ZONES; z++) {
		const void *own[2 * REMAP_ZONES] = { chunk_block(m, z, 0), chunk_block(m, z, 1) };

		best = remap_table_choose(own, &m->super, &m->layout, index);
		if (best < 0)
			continue;
		g = remap_table_generation(own[best]);
		if (same_entries(own[best], t)) {
			same[z] = g;
			continue;
		}
		newest = max(newest, g);
		copy[2 * z] = own[0];
		copy[2 * z + 1] = own[1];
	}
	/* an older one with the same entries says nothing where the other one is newer than it */
	for (z = 0; z < REMAP_ZONES; z++)
		n += same[z] > newest;
	if (n >= REMAP_QUORUM)
		return NULL;
	best = remap_table_choose(copy, &m->super, &m->layout, index);
	return best < 0 ? NULL : copy[best];
}

static int freeze(struct remap_map *map, const struct remap_entry *e)
{
	u32 value;

	if (e->state != REMAP_SLOT_MAPPED)
		return 0;
	rcu_read_lock();	/* for form's sake */
	value = remap_map_get(map, e->block);
	rcu_read_unlock();
	if (value == REMAP_VALUE_NONE)
		value = REMAP_NO_SLOT;
	return remap_map_set(map, e->block, value | REMAP_VALUE_SPECIAL | REMAP_VALUE_FROZEN);
}

/*
 * The table blocks that were found on too few zones, once all has been tried to have them on
 * more. The first time, with no @map, the doubtful ones are marked to be committed. Then the blocks
 * of those that could not be are frozen in @map: they may be read where they are, but a write would
 * be lost with the zones that know the place.
 */
static int freeze_doubtful(struct remap_meta *m, struct remap_map *map)
{
	unsigned long index;
	unsigned int i;
	int r = 0;
	u8 *t;

	xa_for_each_marked(&m->tables, index, t, REMAP_WEAK) {
		const u8 *other = other_entries(m, index);

		if (!map) {
			if (other)
				xa_set_mark(&m->tables, index, REMAP_DIRTY);
			else
				xa_clear_mark(&m->tables, index, REMAP_WEAK);
			continue;
		}
		for (i = 0; other && !r && i < remap_table_slots(&m->layout, index); i++) {
			struct remap_entry a, b;

			remap_entry_get(t, i, &a);
			remap_entry_get(other, i, &b);
			if (a.state == b.state && a.block == b.block && a.lost == b.lost)
				continue;
			r = freeze(map, &a) ?: freeze(map, &b);
		}
		if (other)
			DMWARN("%s: table block %lu is on too few replicas, some writes will fail",
			       m->name, index);
		if (r)
			break;
	}
	return r;
}

/* Enter one table block into map and counters. Of two slots for a block the later one stays. */
static int load_table(struct remap_meta *m, struct remap_map *map, u32 index)
{
	const u8 *t = table_of(m, index);
	u32 i, slot, n = remap_table_slots(&m->layout, index);
	int r;

	for (i = 0; i < n; i++) {
		struct remap_entry e, other;
		u32 value;

		slot = index * REMAP_ENTRIES + i;
		remap_entry_get(t, i, &e);
		account(m, &e, 1);
		if (e.state != REMAP_SLOT_MAPPED)
			continue;
		if (m->slots_used == 1 || remap_seq_after(e.seq, m->seq))
			m->seq = e.seq;
		rcu_read_lock();	/* for form's sake: there are no other users yet */
		value = remap_map_get(map, e.block);
		rcu_read_unlock();
		if (value != REMAP_VALUE_NONE) {
			u32 loser = slot;

			if (WARN_ON_ONCE((value & REMAP_VALUE_SLOT) == slot))
				return -EUCLEAN;
			remap_meta_get(m, value & REMAP_VALUE_SLOT, &other);
			if (remap_seq_after(e.seq, other.seq))
				loser = value & REMAP_VALUE_SLOT;
			other = (struct remap_entry){ .state = REMAP_SLOT_FREE };
			remap_meta_set(m, loser, &other);
			if (loser == slot)
				continue;
		}
		r = remap_map_set(map, e.block, slot | (e.lost ? REMAP_VALUE_SPECIAL : 0));
		if (r)
			return r;
		cond_resched();
	}
	return 0;
}

static int load_tables(struct remap_meta *m, u32 first, unsigned int n, bool force)
{
	unsigned int i;
	int r;

	for (i = 0; i < n; i++) {
		u32 index = first + i;
		const u8 *best = best_copy(m, index, i);

		if (!best) {
			DMERR("%s: no copy of table block %u is left: slots %u to %u are unknown%s",
			      m->name, index, index * REMAP_ENTRIES,
			      index * REMAP_ENTRIES + remap_table_slots(&m->layout, index) - 1,
			      force ? "; going on without them (force)" : "");
			if (!force)
				return -EUCLEAN;
		}
		r = table_add(m, index, best, GFP_KERNEL);
		if (r)
			return r;
		if (!best) {
			/* above any generation that a lost copy could come back with */
			struct remap_disk_table *t = (void *)table_of(m, index);

			t->h.generation = cpu_to_le64(unseen_generation(1ULL << 62));
			xa_set_mark(&m->tables, index, REMAP_DIRTY);
		}
	}
	return 0;
}

/* What super_load() finds must fit what the target was made for. */
static int super_reload(struct remap_meta *m)
{
	struct remap_super before = m->super;
	u64 size = bdev_nr_sectors(m->bdev);
	const char *error;
	int r;

	/* it may have been enlarged since the table was loaded, and the other one have grown */
	if (size > m->start)
		m->size = size - m->start;
	r = super_load(m, &error);
	if (!r && !remap_super_same_spare(&before, &m->super)) {
		error = "spare was formatted anew meanwhile";
		m->super = before;
		r = remap_layout_of(&m->layout, &m->super) ?: -ESTALE;
	}
	if (r)
		DMERR("%s: %s", m->name, error);
	return r;
}

/* What hides in copies that cannot be read must not come back: commit what is known above it. */
static void outdo_hidden(struct remap_meta *m)
{
	unsigned long index;
	u8 *t;

	xa_for_each_marked(&m->tables, index, t, REMAP_HIDING) {
		struct remap_disk_table *d = (struct remap_disk_table *)t;

		d->h.generation = cpu_to_le64(unseen_generation(remap_table_generation(t)));
		xa_set_mark(&m->tables, index, REMAP_DIRTY);
		xa_clear_mark(&m->tables, index, REMAP_HIDING);
	}
}

/* All table blocks, from the best copy of each; and the other copies held against that. */
static int load_all_tables(struct remap_meta *m, bool force, bool repair,
			   enum remap_replica_state *state)
{
	u32 first, n;
	int r = 0;

	chunks_enlarge(m);
	for (first = 0; !r && first < m->super.tables_used; first += n) {
		n = chunk_tables(m, first);
		read_tables(m, first, n);
		r = load_tables(m, first, n, force);
		if (!r)
			verify_tables(m, first, n, repair, state);
		cond_resched();
	}
	chunks_restore(m);
	if (!r && repair)
		outdo_hidden(m);
	return r;
}

int remap_meta_load(struct remap_meta *m, struct remap_map *map, bool force)
{
	enum remap_replica_state state[REMAP_ZONES] = { REMAP_REPLICA_OK };
	u32 index;
	unsigned int z;
	bool repair;
	int r;

	/* from nothing: an earlier attempt may have failed half-way */
	tables_free(m);
	m->seq = 0;
	m->hint = 0;
	m->slots_free = 0;
	m->slots_used = 0;
	m->slots_bad = 0;
	m->lost_sectors = 0;
	m->super_dirty = false;

	/* again: since the table was loaded, the one it replaces may have changed something */
	r = super_reload(m);
	if (r)
		return r;
	if (m->readonly)
		DMWARN("%s: spare, its features or the table forbid writing: read-only", m->name);
	repair = !m->readonly;
	if (verify_supers(m, repair, state) && repair) {
		m->super.generation = unseen_generation(m->super.generation);
		m->super_dirty = true;
	}
	r = load_all_tables(m, force, repair, state);
	if (r)
		return r;
	note_zones(m, state);
	for (z = 0; z < REMAP_ZONES; z++)
		if (state[z] != REMAP_REPLICA_OK)
			DMWARN("%s: replica %u of the metadata is not whole", m->name, z);

	for (index = 0; index < m->super.tables_used; index++) {
		r = load_table(m, map, index);
		if (r)
			return r;
	}
	if (!repair)
		return freeze_doubtful(m, map);
	/* entries that others have overtaken; what cannot be written now is as good as before */
	freeze_doubtful(m, NULL);
	if (!remap_meta_commit(m, true))
		r = remap_meta_room(m, GFP_NOIO);
	return r && r != -EIO ? r : freeze_doubtful(m, map);
}
