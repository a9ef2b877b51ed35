// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every damage: whatever has happened to the metadata on a spare, user/lib/spare.c finds and mends
 * all of it, or says what is lost. It never says that a block is where it is not.
 *
 * The spare has a history of commits to three table blocks, in which blocks move, slots are used
 * again and entries go; so whoever takes an old copy for a new one has wrong mappings. It is known
 * byte by byte for each commit. Each test damages the last state, and demands either
 *
 *   recovered()	the table is exact as it stands; after a repair five of five replicas are,
 *			to the last byte of what counts;
 *   lost()		these table blocks are reported as lost, before and after a repair, and of
 *			all others the table is exact.
 *
 * What no format could tell: if all five copies of the newest generation of a metadata block are
 * damaged and an older one is not, that is what a crash leaves in which no zone got a whole write.
 * The older one counts. Four may go, as is promised; with the fifth, the older one counts as well
 * if it is there, and lost() holds if it is not.
 */
#include <sys/mman.h>
#include "spare_file.h"

#define SPARE_BYTES	(4U << 20)
#define TABLES		3
#define SLOTS		(TABLES * REMAP_ENTRIES)
#define UNITS		(2 + 2 * TABLES)	/* metadata blocks of a zone: A and B of each */
#define COMMITS		6
#define ALL		0x1fU			/* zones */
#define OURS		'o'			/* first byte of the uuids */
#define THEIRS		't'

static unsigned long cases, total;

int fsync(int fd);

/* Nothing here is about what is on disk when; that would take its time. */
int fsync(int fd)
{
	(void)fd;
	return 0;
}

/* ---- a spare with a history ---- */

struct history {
	struct remap_super super;	/* after the last commit */
	struct remap_layout layout;
	u8 zone[COMMITS][UNITS][REMAP_MD_BLOCK];	/* the same in all five */
	struct remap_entry entry[COMMITS][SLOTS];
};

static struct history ours, theirs;

/* unit 0 and 1: superblock A and B; 2 and 3: table block 0 A and B; ... */
static u64 unit_sector(const struct remap_layout *l, unsigned int zone, unsigned int unit)
{
	return unit < 2 ? remap_super_sector(l, zone, unit) :
			  remap_table_sector(l, zone, unit / 2 - 1, unit % 2);
}

static void put(unsigned int zone, unsigned int unit, const void *block)
{
	raw_write(unit_sector(&ours.layout, zone, unit), block, REMAP_MD_BLOCK);
}

static void get(unsigned int zone, unsigned int unit, void *block)
{
	raw_read(unit_sector(&ours.layout, zone, unit), block, REMAP_MD_BLOCK);
}

/* Put a zone in the state that it had after commit @k of this history. */
static void put_zone(const struct history *h, unsigned int zone, unsigned int k)
{
	for (unsigned int u = 0; u < UNITS; u++)
		raw_write(unit_sector(&h->layout, zone, u), h->zone[k][u], REMAP_MD_BLOCK);
}

static void restore(void)
{
	if (st.sectors != SPARE_BYTES >> 9)
		spare_resize(SPARE_BYTES);
	for (unsigned int z = 0; z < REMAP_ZONES; z++)
		put_zone(&ours, z, COMMITS - 1);
}

static void set_entry(struct history *h, u32 slot, u64 block, u32 seq, u8 state)
{
	h->entry[0][slot] = (struct remap_entry) {
		.block = block, .seq = seq, .state = state, .lost = block % 5 ? 0 : 6,
	};
}

/* What changes with commit @k: one block moves on, another takes its old slot, a third goes. */
static void change(struct history *h, u32 k, u32 from)
{
	u32 table = k % TABLES * REMAP_ENTRIES, next = (k + 1) % TABLES * REMAP_ENTRIES;

	set_entry(h, next + 60 + k, from + k % TABLES * 40 + k, 1000 + 2 * k, REMAP_SLOT_MAPPED);
	if (k)			/* the slot that a block left with the commit before */
		set_entry(h, (k - 1) % TABLES * REMAP_ENTRIES + 5 * (k - 1), from + 500 + k,
			  1001 + 2 * k, REMAP_SLOT_MAPPED);
	h->entry[0][table + 5 * 30].state = REMAP_SLOT_FREE;
	h->entry[0][table + 200 + k] = (struct remap_entry){ .state = REMAP_SLOT_BAD };
}

/* Commit the entries, and a superblock, to all zones of the file. */
static void commit(struct history *h, struct remap_spare *sp, u32 k)
{
	u8 block[REMAP_MD_BLOCK];

	for (u32 t = 0; t < TABLES; t++) {
		remap_table_init(block, t);
		for (unsigned int i = 0; i < REMAP_ENTRIES; i++)
			remap_entry_set(block, i, &h->entry[0][t * REMAP_ENTRIES + i]);
		put_table_at(sp, t, block, 2 + k, ALL);
	}
	sp->super.tables_used = TABLES;
	snprintf(sp->super.label, sizeof(sp->super.label), "commit %u", k);
	assert_int_equal(remap_spare_update(&st, sp, &sp->super, &err), 0);
	memcpy(h->entry[k], h->entry[0], sizeof(h->entry[0]));
	for (unsigned int u = 0; u < UNITS; u++)
		raw_read(unit_sector(&sp->layout, 0, u), h->zone[k][u], REMAP_MD_BLOCK);
}

static void make(struct history *h, u8 who, u64 created)
{
	struct remap_super s = {
		.uuid = { who, 1, 2 }, .label = "damage", .block_size = 4096,
		.sector_size = 512, .data_sectors = 1000000, .created = created,
	};
	struct remap_entry last[SLOTS];
	struct remap_spare sp;
	u32 from = who == OURS ? 0 : 7777;

	assert_int_equal(remap_spare_format(&st, &s, &err), 0);
	sp = found();
	for (u32 i = 0; i < 40 * TABLES; i++)
		set_entry(h, i / 40 * REMAP_ENTRIES + 5 * (i % 40), from + i, i, REMAP_SLOT_MAPPED);
	for (u32 k = 0; k < COMMITS; k++) {
		change(h, k, from);
		commit(h, &sp, k);
	}
	/* commit 0 was where the entries were changed: it is as it was, too */
	memcpy(last, h->entry[COMMITS - 1], sizeof(last));
	for (u32 i = 0; i < SLOTS; i++)
		remap_entry_get(h->zone[0][2 + 2 * (i / REMAP_ENTRIES)], i % REMAP_ENTRIES,
				&h->entry[0][i]);
	assert_memory_equal(last, h->entry[COMMITS - 1], sizeof(last));
	h->super = sp.super;
	h->layout = sp.layout;
}

static int setup(void **state)
{
	(void)state;
	spare_open(memfd_create("spare", MFD_CLOEXEC), SPARE_BYTES);
	make(&theirs, THEIRS, 2000);
	make(&ours, OURS, 1000);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	remap_store_close(&st);
	print_message("# %lu cases in all\n", total);
	return 0;
}

static void report(const char *what)
{
	print_message("# %lu cases: %s\n", cases, what);
	total += cases;
	cases = 0;
}

/* ---- what is demanded ---- */

/* Is there another entry for the block, that comes later? */
static bool is_superseded(const struct remap_entry *entry, u32 slot, unsigned int lost)
{
	const struct remap_entry *e = &entry[slot];

	for (u32 i = 0; i < SLOTS && e->state == REMAP_SLOT_MAPPED; i++)
		if (!(lost >> i / REMAP_ENTRIES & 1) && entry[i].state == REMAP_SLOT_MAPPED &&
		    entry[i].block == e->block && (s32)(entry[i].seq - e->seq) > 0)
			return true;
	return false;
}

/* The table is what these entries say, but for the table blocks whose bit is set. */
static void check_table(const struct remap_spare *sp, const struct remap_entry *entry,
			unsigned int lost)
{
	struct remap_table t;
	size_t n = 0;

	assert_int_equal(remap_spare_table(&st, sp, &t, &err), 0);
	assert_int_equal(t.lost_tables, __builtin_popcount(lost));
	for (u32 slot = 0; slot < SLOTS; slot++) {
		const struct remap_entry *want = &entry[slot];
		const struct remap_slot *got;

		if (want->state == REMAP_SLOT_FREE || lost >> slot / REMAP_ENTRIES & 1)
			continue;
		assert_true(n < t.n);
		got = &t.slot[n++];
		assert_int_equal(got->slot, slot);
		assert_int_equal(got->entry.state, want->state);
		assert_int_equal(got->superseded, is_superseded(entry, slot, lost));
		if (want->state == REMAP_SLOT_BAD)
			continue;
		assert_int_equal(got->entry.block, want->block);
		assert_int_equal(got->entry.lost, want->lost);
		assert_int_equal(got->entry.seq, want->seq);
	}
	assert_int_equal(t.n, n);
	remap_table_free(&t);
}

/* Which of both copies counts: the last commit wrote this one */
static bool counts(unsigned int unit)
{
	u64 g = unit < 2 ? ours.super.generation : 2 + COMMITS - 1;

	return unit % 2 == (g & 1);
}

static void check_replicas(unsigned int lost)
{
	u8 block[REMAP_MD_BLOCK];

	for (unsigned int z = 0; z < REMAP_ZONES; z++) {
		for (unsigned int u = 0; u < UNITS; u++) {
			if (!counts(u) || (u >= 2 && lost >> (u / 2 - 1) & 1))
				continue;
			get(z, u, block);
			assert_memory_equal(block, ours.zone[COMMITS - 1][u], sizeof(block));
		}
	}
}

static struct remap_spare found_ours(bool search)
{
	struct remap_spare sp;

	if (remap_spare_find(&st, search, &sp, &err))
		fail_msg("%s", err.text);
	assert_memory_equal(sp.super.uuid, ours.super.uuid, 16);
	assert_int_equal(sp.super.generation, ours.super.generation);
	assert_int_equal(sp.super.tables_used, TABLES);
	return sp;
}

static void recovered_by(bool search)
{
	const struct remap_entry *entry = ours.entry[COMMITS - 1];
	struct remap_spare sp = found_ours(search);
	struct remap_verdict v;

	cases++;
	check_table(&sp, entry, 0);
	assert_int_equal(remap_spare_repair(&st, &sp, &v, &err), 0);
	assert_true(v.ok);
	for (unsigned int z = 0; z < REMAP_ZONES; z++)
		assert_int_equal(v.state[z], REMAP_REPLICA_OK);
	check_replicas(0);
	found_ours(search);
}

static void recovered(void)
{
	recovered_by(false);
}

/* Nothing is known of these table blocks, by their bits: all say so, and the rest is exact. */
static void lost(unsigned int tables)
{
	struct remap_spare sp = found_ours(false);
	struct remap_verdict v = verdict(&sp);

	cases++;
	for (unsigned int after = 0; after < 2; after++) {
		assert_false(v.ok);
		assert_int_equal(v.lost_tables, __builtin_popcount(tables));
		assert_int_equal(v.first_lost, __builtin_ctz(tables));
		check_table(&sp, ours.entry[COMMITS - 1], tables);
		if (!after)
			assert_int_equal(remap_spare_repair(&st, &sp, &v, &err), 0);
	}
	check_replicas(tables);
}

/* There is nothing to be found, and the text says why. */
static void refused(int error, const char *why)
{
	struct remap_spare sp;

	cases++;
	assert_int_equal(remap_spare_find(&st, false, &sp, &err), error);
	if (!strstr(err.text, why))
		fail_msg("\"%s\" does not say \"%s\"", err.text, why);
}

/* ---- destroyed ---- */

enum { ZEROES, ONES, NOISE, TEXT, JUNK_KINDS };

static void junk(void *block, unsigned int kind, u64 *seed)
{
	u8 *b = block;

	memset(b, kind == ONES ? 0xff : 0, REMAP_MD_BLOCK);
	for (size_t i = 0; i < REMAP_MD_BLOCK && kind >= NOISE; i++)
		b[i] = kind == NOISE ? (u8)rnd(seed) : (u8)"RMBT"[i % 4];
	if (kind == TEXT && rnd(seed) % 2)
		memcpy(b, REMAP_SUPER_MAGIC, REMAP_SUPER_MAGIC_LEN);
}

static void destroy(unsigned int zone, unsigned int unit, unsigned int kind, u64 *seed)
{
	u8 block[REMAP_MD_BLOCK];

	junk(block, kind, seed);
	put(zone, unit, block);
}

static void destroy_zone(unsigned int zone, unsigned int kind, u64 *seed)
{
	for (unsigned int u = 0; u < UNITS; u++)
		destroy(zone, u, kind, seed);
}

static void any_four_zones_can_be_destroyed(void **state)
{
	u64 seed = 30;

	(void)state;
	for (unsigned int kind = 0; kind < JUNK_KINDS; kind++) {
		for (unsigned int zones = 0; zones < ALL; zones++) {
			restore();
			for (unsigned int z = 0; z < REMAP_ZONES; z++)
				if (zones >> z & 1)
					destroy_zone(z, kind, &seed);
			recovered();
		}
	}
	for (unsigned int kind = 0; kind < NOISE; kind++) {
		for (unsigned int z = 0; z < REMAP_ZONES; z++)
			destroy_zone(z, kind, &seed);
		refused(-ENODATA, "not a dm-remap spare");
	}
	report("zones destroyed");
}

/*
 * Each metadata block is whole in one zone only, in every combination of zones. What there was
 * before it is whole everywhere, or nowhere.
 */
static void of_each_block_one_copy_is_enough(void **state)
{
	u64 seed = 31;

	(void)state;
	for (unsigned int choice = 0; choice < 5 * 5 * 5 * 5; choice++) {
		restore();
		for (unsigned int u = 0, left = choice; u < UNITS; left /= u % 2 ? 5 : 1, u++) {
			if (!counts(u) && choice % 2)
				continue;
			for (unsigned int z = 0; z < REMAP_ZONES; z++)
				if (z != left % 5 || !counts(u))
					destroy(z, u, (unsigned int)rnd(&seed) % JUNK_KINDS, &seed);
		}
		recovered();
	}
	report("one copy left of each block, each in a zone of its own");
}

static void table_blocks_of_which_no_copy_is_left_are_named(void **state)
{
	u64 seed = 32;

	(void)state;
	for (unsigned int kind = 0; kind < JUNK_KINDS; kind++) {
		for (unsigned int tables = 1; tables < 1U << TABLES; tables++) {
			restore();
			for (unsigned int i = 0; i < REMAP_ZONES * 2 * TABLES; i++)
				if (tables >> i % TABLES & 1)
					destroy(i / TABLES % REMAP_ZONES,
						2 + i % TABLES * 2 + i / TABLES / REMAP_ZONES, kind,
						&seed);
			lost(tables);
		}
	}
	/* no superblock is left, but whatever there is of the tables */
	restore();
	for (unsigned int z = 0; z < REMAP_ZONES; z++)
		for (unsigned int u = 0; u < 2; u++)
			destroy(z, u, ONES, &seed);
	refused(-ENODATA, "not a dm-remap spare");
	report("no copy left of some blocks");
}

/* ---- bits ---- */

static void flip(unsigned int zone, unsigned int unit, u64 *seed)
{
	unsigned int n = 1U << rnd(seed) % 8;
	u8 block[REMAP_MD_BLOCK];
	bool same;

	get(zone, unit, block);
	do {
		while (n--) {
			unsigned int bit = (unsigned int)rnd(seed) % (8 * REMAP_MD_BLOCK);

			block[bit / 8] ^= (u8)(1U << bit % 8);
		}
		n = 1;
		same = !memcmp(block, ours.zone[COMMITS - 1][unit], sizeof(block));
	} while (same);
	put(zone, unit, block);
}

static void bits_may_flip_in_all_copies_but_one(void **state)
{
	u64 seed = 33;

	(void)state;
	for (unsigned int round = 0; round < 500; round++) {
		restore();
		for (unsigned int u = 0; u < UNITS; u++) {
			unsigned int survivor = (unsigned int)rnd(&seed) % REMAP_ZONES;

			for (unsigned int z = 0; z < REMAP_ZONES; z++)
				if (counts(u) ? z != survivor : rnd(&seed) % 2)
					flip(z, u, &seed);
		}
		recovered();
	}
	report("bits flipped in all copies but one of each block");
}

/* With older copies destroyed, bits flipped everywhere leave nothing, and nothing is made of it. */
static void bits_that_flip_in_all_copies_are_not_believed(void **state)
{
	u64 seed = 34;

	(void)state;
	for (unsigned int round = 0; round < 100; round++) {
		unsigned int tables = 1 + (unsigned int)rnd(&seed) % ((1U << TABLES) - 1);

		restore();
		for (unsigned int u = 2; u < UNITS; u++)
			for (unsigned int z = 0; z < REMAP_ZONES; z++)
				if (tables >> (u / 2 - 1) & 1)
					flip(z, u, &seed);
		lost(tables);
	}
	report("bits flipped in all copies of some table blocks");
}

/* ---- misdirected ---- */

static void a_write_that_went_elsewhere_is_not_taken_for_what_belongs_there(void **state)
{
	const u8 (*zone)[REMAP_MD_BLOCK] = ours.zone[COMMITS - 1];

	(void)state;
	/* every block of a zone in every place of every zone */
	for (unsigned int from = 0; from < UNITS; from++) {
		for (unsigned int to = 0; to < UNITS * REMAP_ZONES; to++) {
			restore();
			put(to / UNITS, to % UNITS, zone[from]);
			recovered();
		}
	}
	report("each block in each place");
}

static void shuffle(unsigned int z, u64 *seed)
{
	unsigned int from[UNITS];

	for (unsigned int u = 0; u < UNITS; u++) {
		unsigned int k = (unsigned int)rnd(seed) % (u + 1);

		from[u] = from[k];
		from[k] = u;
	}
	for (unsigned int u = 0; u < UNITS; u++)
		put(z, u, ours.zone[COMMITS - 1][from[u]]);
}

static void blocks_of_four_zones_may_be_swapped(void **state)
{
	u64 seed = 35;

	(void)state;
	for (unsigned int round = 0; round < 200; round++) {
		unsigned int whole = (unsigned int)rnd(&seed) % REMAP_ZONES;

		restore();
		for (unsigned int z = 0; z < REMAP_ZONES; z++)
			if (z != whole)
				shuffle(z, &seed);
		recovered();
	}
	report("blocks swapped in four zones");
}

/* A block that is where its neighbour should be is no copy of either. */
static void swapped_in_all_zones_is_lost(void **state)
{
	const u8 (*zone)[REMAP_MD_BLOCK] = ours.zone[COMMITS - 1];

	(void)state;
	for (unsigned int t = 0; t < TABLES; t++) {
		restore();		/* A and B */
		for (unsigned int i = 0; i < 2 * REMAP_ZONES; i++)
			put(i / 2, 2 + 2 * t + i % 2, zone[2 + 2 * t + !(i % 2)]);
		lost(1U << t);
		restore();
		for (unsigned int i = 0; i < 2 * REMAP_ZONES; i++) {
			unsigned int other = (t + 1) % TABLES;

			put(i / 2, 2 + 2 * t + i % 2, zone[2 + 2 * other + i % 2]);
			put(i / 2, 2 + 2 * other + i % 2, zone[2 + 2 * t + i % 2]);
		}
		lost(1U << t | 1U << (t + 1) % TABLES);
	}
	restore();
	for (unsigned int i = 0; i < 2 * REMAP_ZONES; i++)
		put(i / 2, i % 2, zone[!(i % 2)]);
	refused(-ENODATA, "not a dm-remap spare");
	report("blocks swapped in all zones");
}

/* ---- old replicas ---- */

static void old_replicas_do_not_count_while_one_is_new(void **state)
{
	u64 seed = 36;

	(void)state;
	for (unsigned int k = 0; k < COMMITS - 1; k++) {
		for (unsigned int zones = 1; zones < ALL; zones++) {
			restore();
			for (unsigned int z = 0; z < REMAP_ZONES; z++)
				if (zones >> z & 1)
					put_zone(&ours, z, k);
			recovered();
		}
	}
	/* of different age, the superblocks and the tables, too; each is new somewhere */
	for (unsigned int round = 0; round < 200; round++) {
		restore();
		for (unsigned int b = 0; b < UNITS; b += 2) {
			unsigned int whole = (unsigned int)rnd(&seed) % REMAP_ZONES;

			for (unsigned int z = 0; z < REMAP_ZONES; z++) {
				unsigned int k = (unsigned int)rnd(&seed) % COMMITS;

				put(z, b, ours.zone[z == whole ? COMMITS - 1 : k][b]);
				put(z, b + 1, ours.zone[z == whole ? COMMITS - 1 : k][b + 1]);
			}
		}
		recovered();
	}
	report("old replicas");
}

/* Its header says that nobody can know: an intact older generation is all there is. */
static void damage_to_all_five_of_a_generation_is_as_if_it_had_not_been_written(void **state)
{
	struct remap_entry entry[SLOTS];
	u64 seed = 37;

	(void)state;
	for (unsigned int tables = 1; tables < 1U << TABLES; tables++) {
		struct remap_spare sp;

		restore();
		memcpy(entry, ours.entry[COMMITS - 1], sizeof(entry));
		for (u32 i = 0; i < SLOTS; i++)
			if (tables >> i / REMAP_ENTRIES & 1)
				entry[i] = ours.entry[COMMITS - 2][i];
		for (unsigned int u = 2; u < UNITS; u++)
			for (unsigned int z = 0; z < REMAP_ZONES; z++)
				if (tables >> (u / 2 - 1) & 1 && counts(u))
					flip(z, u, &seed);
		cases++;
		sp = found_ours(false);
		check_table(&sp, entry, 0);
	}
	report("all copies of the newest generation damaged, older ones not");
}

/* Two zones that missed a commit have come back, with an attempt of theirs at its generation. */
static void of_one_generation_what_most_zones_hold_counts(void **state)
{
	struct remap_super s = ours.super;
	u8 block[REMAP_MD_BLOCK];
	u64 seed = 41;

	(void)state;
	s.tables_used--;
	remap_super_encode(block, &s, &ours.layout);
	for (unsigned int zones = 1; zones < ALL; zones++) {
		unsigned int n = (unsigned int)__builtin_popcount(zones);
		unsigned int u = s.generation & 1;

		if (n >= REMAP_QUORUM)
			continue;
		for (unsigned int grown = 0; grown < 2; grown++) {
			restore();
			/* if the device is larger now, only zone 0 is where that suggests */
			spare_resize((off_t)(SPARE_BYTES << grown));
			for (unsigned int z = 0; z < REMAP_ZONES; z++)
				if (zones >> z & 1)
					put(z, u, block);
			recovered();
		}
		/* and with as many of the others destroyed as leave more of them */
		restore();
		for (unsigned int z = 0, kept = 0; z < REMAP_ZONES; z++)
			if (zones >> z & 1)
				put(z, u, block);
			else if (kept++ > n)
				destroy_zone(z, NOISE, &seed);
		recovered();
	}
	report("two superblocks of one generation");
}

/* ---- another spare's ---- */

/*
 * What is left of us beside them, zone by zone: @units of theirs from the first on.
 *
 * The spare that has a valid superblock in the most zones is the one that is found; of two with
 * equally many the one created later. If that is the other one, its own table is what there is, if
 * it came along, and no mapping of ours; otherwise its table blocks are lost. What was ours is not
 * touched: nothing is repaired without being asked to.
 */
static void put_theirs(unsigned int zones, unsigned int first, unsigned int units)
{
	restore();
	for (unsigned int z = 0; z < REMAP_ZONES; z++)
		for (unsigned int u = first; u < first + units; u++)
			if (zones >> z & 1)
				put(z, u, theirs.zone[COMMITS - 1][u]);
}

static struct remap_spare found_theirs(void)
{
	struct remap_spare sp = found();

	cases++;
	assert_memory_equal(sp.super.uuid, theirs.super.uuid, 16);
	return sp;
}

static void superblocks_of_another_spare_count_if_they_are_more(void **state)
{
	(void)state;
	for (unsigned int zones = 1; zones <= ALL; zones++) {
		unsigned int n = (unsigned int)__builtin_popcount(zones);
		struct remap_verdict v;
		struct remap_spare sp;

		/* both copies: n zones against 5 - n */
		put_theirs(zones, 0, 2);
		if (n < REMAP_QUORUM) {
			recovered();
		} else {
			sp = found_theirs();
			v = verdict(&sp);
			assert_int_equal(v.lost_tables, TABLES);
			assert_int_equal(v.first_lost, 0);
			check_table(&sp, theirs.entry[COMMITS - 1], (1U << TABLES) - 1);
		}

		/* one copy, with one of ours beside it or without */
		for (unsigned int u = 0; u < 2; u++) {
			put_theirs(zones, u, 1);
			if (n < 5) {
				recovered();
			} else {
				/* equally many, and they were created later */
				sp = found_theirs();
				check_table(&sp, theirs.entry[COMMITS - 1], (1U << TABLES) - 1);
			}
		}
	}
	report("superblocks of another spare");
}

static void whole_zones_of_another_spare_never_mix_with_ours(void **state)
{
	u64 seed = 38;

	(void)state;
	for (unsigned int zones = 1; zones <= ALL; zones++) {
		struct remap_spare sp;

		put_theirs(zones, 0, UNITS);
		if (__builtin_popcount(zones) < REMAP_QUORUM) {
			recovered();
			continue;
		}
		sp = found_theirs();
		assert_int_equal(verdict(&sp).lost_tables, 0);
		check_table(&sp, theirs.entry[COMMITS - 1], 0);
		/* not even where theirs are all destroyed later: their tables are lost then */
		for (unsigned int z = 0; z < REMAP_ZONES; z++)
			for (unsigned int u = 2; u < UNITS; u++)
				if (zones >> z & 1)
					destroy(z, u, NOISE, &seed);
		sp = found_theirs();
		assert_int_equal(verdict(&sp).lost_tables, TABLES);
		check_table(&sp, theirs.entry[COMMITS - 1], (1U << TABLES) - 1);
	}
	report("whole zones of another spare");
}

static void table_blocks_of_another_spare_are_no_copies_of_ours(void **state)
{
	(void)state;
	for (unsigned int zones = 1; zones <= ALL; zones++) {
		for (unsigned int t = 0; t < TABLES; t++) {
			put_theirs(zones, 2 + 2 * t, 2);
			if (zones < ALL)
				recovered();
			else
				lost(1U << t);
		}
	}
	report("table blocks of another spare");
}

/* One just formatted has one copy of its superblock in a zone, one that has been in use two. */
static void three_zones_with_one_copy_outweigh_two_with_both(void **state)
{
	struct remap_spare sp;

	(void)state;
	put_theirs(3, 0, UNITS);
	for (unsigned int z = 2; z < REMAP_ZONES; z++)
		put(z, 0, (u8[REMAP_MD_BLOCK]){ 0 });
	cases++;
	sp = found_ours(false);
	check_table(&sp, ours.entry[COMMITS - 1], 0);
	report("zones of another spare beside a new one");
}

/* ---- the size of the device ---- */

static void a_truncated_spare_is_read_as_far_as_it_goes_and_not_written(void **state)
{
	u64 last = (remap_table_sector(&ours.layout, 1, TABLES, 0) << 9);
	u64 seed = 39;

	(void)state;
	for (u64 size = SPARE_BYTES - REMAP_ZONE_ALIGN; size; size -= REMAP_ZONE_ALIGN) {
		struct remap_verdict v;
		struct remap_spare sp;

		restore();
		spare_resize((off_t)size);
		cases++;
		sp = found_ours(false);
		check_table(&sp, ours.entry[COMMITS - 1], 0);
		v = verdict(&sp);
		assert_false(v.ok);
		assert_int_equal(v.state[4], REMAP_REPLICA_UNREADABLE);
		assert_int_equal(remap_spare_repair(&st, &sp, &v, &err), -ENOSPC);
		assert_non_null(strstr(err.text, "is smaller than it was"));
		/* without zone 0 another one may still be where this size suggests */
		cases++;
		destroy_zone(0, NOISE, &seed);
		if (!remap_spare_find(&st, false, &sp, &err)) {
			sp = found_ours(false);
			check_table(&sp, ours.entry[COMMITS - 1], 0);
		} else {
			assert_non_null(strstr(err.text, "--search"));
		}
		if (size <= last)	/* a search finds any of the others that is whole */
			continue;
		cases++;
		sp = found_ours(true);
		check_table(&sp, ours.entry[COMMITS - 1], 0);
	}
	report("truncated");
}

/* The file ends in the midst of zone 0: what of a table block is there is older, or nothing. */
static void a_spare_that_ends_in_zone_0_has_lost_what_is_behind(void **state)
{
	u64 begin = remap_super_sector(&ours.layout, 0, 0), sectors;
	const u64 md = REMAP_MD_BLOCK >> 9;

	(void)state;
	assert_int_equal(begin, 0);
	for (sectors = remap_table_sector(&ours.layout, 0, TABLES, 0) - 1; sectors; sectors--) {
		struct remap_entry entry[SLOTS];
		struct remap_verdict v;
		struct remap_spare sp;
		unsigned int gone = 0;

		restore();
		spare_resize((off_t)(sectors << 9));
		cases++;
		if (remap_spare_find(&st, false, &sp, &err)) {
			/* of generation 7, in copy B */
			assert_true(sectors < 2 * md);
			assert_non_null(strstr(err.text, "not a dm-remap spare"));
			continue;
		}
		memcpy(entry, ours.entry[COMMITS - 1], sizeof(entry));
		for (u32 t = 0; t < TABLES; t++) {
			u32 from = t * REMAP_ENTRIES;

			if (remap_table_sector(&ours.layout, 0, t, 0) + md > sectors)
				gone |= 1U << t;
			else if (remap_table_sector(&ours.layout, 0, t, 1) + md > sectors)
				memcpy(entry + from, ours.entry[COMMITS - 2] + from,
				       REMAP_ENTRIES * sizeof(*entry));
		}
		v = verdict(&sp);
		assert_false(v.ok);
		assert_int_equal(v.lost_tables, __builtin_popcount(gone));
		if (gone)
			assert_int_equal(v.first_lost, __builtin_ctz(gone));
		check_table(&sp, entry, gone);
	}
	report("truncated within zone 0");
}

static void a_grown_spare_is_recovered(void **state)
{
	u64 seed = 40;

	(void)state;
	for (unsigned int i = 1; i <= 16; i++) {
		for (unsigned int zones = 0; zones < 2; zones++) {
			restore();
			spare_resize((off_t)(SPARE_BYTES + i * i * REMAP_ZONE_ALIGN));
			for (unsigned int z = 2 * zones; z < REMAP_ZONES; z++)
				if (zones)
					destroy_zone(z, NOISE, &seed);
			recovered();
			if (i % 4)
				continue;
			/* any four zones, but only a search finds the others without zone 0 */
			restore();
			spare_resize((off_t)(SPARE_BYTES + i * i * REMAP_ZONE_ALIGN));
			for (unsigned int z = 0; z < REMAP_ZONES; z++)
				if (z != 1 + i / 4 % 4)
					destroy_zone(z, NOISE, &seed);
			refused(-ENODATA, "");
			recovered_by(true);
		}
	}
	spare_resize(SPARE_BYTES);
	report("grown");
}

#define T(f)	cmocka_unit_test(f)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(any_four_zones_can_be_destroyed),
		T(of_each_block_one_copy_is_enough),
		T(table_blocks_of_which_no_copy_is_left_are_named),
		T(bits_may_flip_in_all_copies_but_one),
		T(bits_that_flip_in_all_copies_are_not_believed),
		T(a_write_that_went_elsewhere_is_not_taken_for_what_belongs_there),
		T(blocks_of_four_zones_may_be_swapped),
		T(swapped_in_all_zones_is_lost),
		T(old_replicas_do_not_count_while_one_is_new),
		T(damage_to_all_five_of_a_generation_is_as_if_it_had_not_been_written),
		T(of_one_generation_what_most_zones_hold_counts),
		T(superblocks_of_another_spare_count_if_they_are_more),
		T(whole_zones_of_another_spare_never_mix_with_ours),
		T(table_blocks_of_another_spare_are_no_copies_of_ours),
		T(three_zones_with_one_copy_outweigh_two_with_both),
		T(a_truncated_spare_is_read_as_far_as_it_goes_and_not_written),
		T(a_spare_that_ends_in_zone_0_has_lost_what_is_behind),
		T(a_grown_spare_is_recovered),
	};

	return cmocka_run_group_tests_name("damage", tests, setup, teardown);
}
