// SPDX-License-Identifier: GPL-2.0-only
/*
 * kernel/format.c: where things are on a spare, what is believed of what stands there, and that a
 * commit which is cut off anywhere leaves the state before it or the state after it.
 *
 * Expected places and sizes are worked out here from DESIGN.md section 4, not by format.c.
 */
#include "unit.h"
#include "format.h"

#define UNIT		(REMAP_ZONE_ALIGN >> 9)		/* sectors */
#define MD		(REMAP_MD_BLOCK >> 9)
#define TIB		(1ULL << 31)

static const u32 block_sizes[] = { 512, 1024, 2048, 4096, 8192, 16384 };

/* ---- layout ---- */

/* slots of a spare with zones of @units times 64 KiB, -1 where they do not fit */
static s64 slots_with(u64 spare, u32 block_size, u64 units)
{
	u64 zones = REMAP_ZONES * units * UNIT, room = (8 * units - 1) * REMAP_ENTRIES;
	u64 slots;

	spare &= ~(u64)(UNIT - 1);
	if (zones > spare)
		return -1;
	slots = (spare - zones) / (block_size / 512);
	slots = slots < room ? slots : room;
	return (s64)(slots < REMAP_MAX_SLOTS ? slots : REMAP_MAX_SLOTS);
}

static void check_slot(const struct remap_layout *l, u32 slot)
{
	u64 sector = remap_slot_sector(l, slot), end = sector + l->block_sectors;
	unsigned int zone = REMAP_ZONES - 2;

	while (zone && l->band[0].zone_start[zone] > sector)
		zone--;
	assert_true(sector >= l->band[0].zone_start[zone] + l->band[0].zone_sectors);
	assert_true(end <= l->band[0].zone_start[zone + 1]);
	if (slot + 1 < l->slots)
		assert_true(remap_slot_sector(l, slot + 1) >= end);
}

static void check_slots(const struct remap_layout *l, u64 *seed)
{
	const u32 *end = l->band[0].gap_slots;

	for (unsigned int i = 0; i < REMAP_ZONES - 1; i++)
		for (u32 slot = end[i] - 2; slot != end[i] + 2; slot++)
			if (slot < l->slots)
				check_slot(l, slot);
	for (u32 slot = 0; slot < 300 && slot < l->slots; slot++)
		check_slot(l, slot);
	for (unsigned int i = 0; i < 100; i++)
		check_slot(l, (u32)(rnd(seed) % l->slots));
	check_slot(l, l->slots - 1);
}

static void check_zones(const struct remap_layout *l, u64 spare)
{
	assert_int_equal(l->band[0].zone_sectors % UNIT, 0);
	for (u64 r = 0; r < REMAP_ZONES; r++) {
		const struct remap_band *b = l->band;
		u64 end = b->zone_start[r] + b->zone_sectors;

		assert_int_equal(b->zone_start[r], r * (spare - b->zone_sectors) / 4 / UNIT * UNIT);
		assert_true(end <= (r + 1 < REMAP_ZONES ? b->zone_start[r + 1] : spare));
	}
}

/* both superblocks, then both copies of each table, one behind the other, all in the zone */
static void check_tables(const struct remap_layout *l)
{
	u32 last = l->tables - 1;

	assert_true((u64)l->tables * REMAP_ENTRIES >= l->slots);
	assert_true((u64)last * REMAP_ENTRIES < l->slots);
	for (unsigned int z = 0; z < REMAP_ZONES; z++) {
		u64 start = l->band[0].zone_start[z];

		assert_int_equal(remap_super_sector(l, z, 2), start);
		assert_int_equal(remap_super_sector(l, z, 3), start + MD);
		assert_int_equal(remap_table_sector(l, z, 0, 2), start + 2 * MD);
		assert_int_equal(remap_table_sector(l, z, 0, 3), start + 3 * MD);
		assert_int_equal(remap_table_sector(l, z, last, 4), start + (2 + 2ULL * last) * MD);
		assert_int_equal(remap_table_sector(l, z, last, 5), start + (3 + 2ULL * last) * MD);
		assert_true(remap_table_sector(l, z, last, 1) + MD <=
			    start + l->band[0].zone_sectors);
	}
}

/* no zone size gives more slots: all are tried where the spare is small, the next ones always */
static void check_optimal(const struct remap_layout *l, u64 spare)
{
	u32 bs = l->block_sectors * 512;
	u64 units = l->band[0].zone_sectors / UNIT;

	assert_int_equal(l->slots, slots_with(spare, bs, units));
	assert_true(slots_with(spare, bs, units + 1) <= l->slots);
	if (units > 1)
		assert_true(slots_with(spare, bs, units - 1) <= l->slots);
	for (u64 u = 1; spare < TIB >> 14 && slots_with(spare, bs, u) >= 0; u++)
		assert_true(slots_with(spare, bs, u) <= l->slots);
}

static void check_layout(u64 spare, u32 block_size, u64 *seed)
{
	struct remap_layout l;

	assert_int_equal(remap_layout_compute(&l, spare, block_size), 0);
	assert_int_equal(l.block_sectors, block_size / 512);
	assert_int_equal(l.band[0].gap_slots[3], l.slots);
	check_zones(&l, spare);
	check_slots(&l, seed);
	check_tables(&l);
	check_optimal(&l, spare);
}

static void every_layout_keeps_zones_and_slots_apart_and_wastes_nothing(void **state)
{
	static const u64 more[] = { 0, 1, 7, 8, UNIT - 1, UNIT, UNIT + 1 };
	u64 seed = 10;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(block_sizes); i++) {
		for (u64 spare = 6 * UNIT; spare <= 16 * TIB; spare += spare / 3) {
			for (size_t k = 0; k < ARRAY_SIZE(more); k++)
				check_layout(spare + more[k], block_sizes[i], &seed);
			check_layout(spare + rnd(&seed) % spare, block_sizes[i], &seed);
		}
		for (u64 spare = 6 * UNIT; spare < 200 * UNIT; spare += 37)
			check_layout(spare, block_sizes[i], &seed);
		check_layout(16 * TIB, block_sizes[i], &seed);
		check_layout((1ULL << 60) - 1, block_sizes[i], &seed);
	}
}

static void a_spare_without_room_is_refused(void **state)
{
	struct remap_layout l;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(block_sizes); i++)
		for (u64 spare = 0; spare < 6 * UNIT; spare++)
			assert_int_equal(remap_layout_compute(&l, spare, block_sizes[i]), -ENOSPC);
	assert_int_equal(remap_layout_compute(&l, 1ULL << 60, 4096), -EINVAL);
	assert_int_equal(remap_layout_compute(&l, ~0ULL, 4096), -EINVAL);
}

static void a_bad_block_size_is_refused(void **state)
{
	static const u32 bad[] = { 0, 1, 256, 511, 513, 1536, 4095, 12288, 32768, 1U << 31, ~0U };
	struct remap_layout l;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(remap_layout_compute(&l, TIB, bad[i]), -EINVAL);
}

static void the_smallest_spare_is_enough_and_none_smaller_is(void **state)
{
	static const u32 slots[] = {
		1, 2, 4, 5, 128, 129, 253, 254, 255, 1777, 1778, 1779, 3810, 100000, 1U << 20,
		(1U << 24) + 1, REMAP_MAX_SLOTS - 1, REMAP_MAX_SLOTS,
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(block_sizes); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(slots); k++) {
			u64 least = remap_layout_min_sectors(block_sizes[i], slots[k]);
			struct remap_layout l;

			assert_int_equal(remap_layout_compute(&l, least, block_sizes[i]), 0);
			assert_true(l.slots >= slots[k]);
			for (u64 less = 1; less <= UNIT; less += UNIT - 1)
				if (!remap_layout_compute(&l, least - less, block_sizes[i]))
					assert_true(l.slots < slots[k]);
		}
	}
}

static void the_places_to_look_include_every_zone_of_every_layout(void **state)
{
	u64 seed = 11, place[REMAP_SUPER_PLACES];
	struct remap_layout l;

	(void)state;
	for (unsigned int round = 0; round < 2000; round++) {
		u64 spare = 6 * UNIT + rnd(&seed) % (16 * TIB >> rnd(&seed) % 26);
		unsigned int n = remap_super_places(spare, place);

		assert_in_range(n, REMAP_ZONES, REMAP_SUPER_PLACES);
		for (size_t i = 0; i < ARRAY_SIZE(block_sizes); i++) {
			assert_int_equal(remap_layout_compute(&l, spare, block_sizes[i]), 0);
			for (unsigned int z = 0; z < REMAP_ZONES; z++)
				assert_in_set(l.band[0].zone_start[z], place, n);
		}
		for (unsigned int i = 1; i < n; i++)
			assert_not_in_set(place[i], place, i);
	}
	assert_int_equal(remap_super_places(0, place), 1);
	assert_int_equal(place[0], 0);
}

/* ---- superblock ---- */

#define SPARE	200001		/* sectors, of the sample */

/* 10 MiB and a bit in blocks of 4 KiB and sectors of 1 KiB: the last block has one sector */
static void sample(struct remap_super *s, struct remap_layout *l)
{
	memset(s, 0, sizeof(*s));
	memset(l, 0, sizeof(*l));
	s->generation = 6;
	memcpy(s->uuid, "0123456789abcdef", 16);
	strcpy(s->label, "sample");
	s->block_size = 4096;
	s->sector_size = 1024;
	s->data_sectors = 20482;
	s->spare_sectors = SPARE;
	s->tables_used = 3;
	s->created = 1700000000;
	strcpy(s->data_wwn, "0x5000c500a1b2c3d4");
	strcpy(s->data_serial, "SERIAL");
	strcpy(s->data_partuuid, "part");
	strcpy(s->data_fsuuid, "fs");
	assert_int_equal(remap_layout_compute(l, s->spare_sectors, s->block_size), 0);
}

static void super_reseal(u8 *block)
{
	struct remap_disk_super *d = (void *)block;

	d->crc = 0;
	d->crc = cpu_to_le32(remap_crc32c(~0U, block, REMAP_MD_BLOCK));
}

static enum remap_check super_check(const u8 *block)
{
	struct remap_super s;

	return remap_super_decode(block, REMAP_ANYWHERE, &s);
}

static void fill(char *s, size_t size, size_t n, u64 *seed)
{
	for (size_t i = 0; i < size; i++)
		s[i] = i < n ? (char)(1 + rnd(seed) % 255) : 0;
}

static void assert_same_layout(const struct remap_layout *a, const struct remap_layout *b)
{
	assert_int_equal(a->bands, b->bands);
	assert_int_equal(a->slots, b->slots);
	assert_int_equal(a->tables, b->tables);
	assert_int_equal(a->block_sectors, b->block_sectors);
	assert_memory_equal(a->band, b->band, a->bands * sizeof(a->band[0]));
}

static void a_superblock_survives_encode_and_decode(void **state)
{
	u64 seed = 12;
	u8 block[REMAP_MD_BLOCK];

	(void)state;
	for (unsigned int round = 0; round < 500; round++) {
		struct remap_super s, s2;
		struct remap_layout l, l2;

		sample(&s, &l);
		s.generation = (rnd(&seed) >> 1) | 1;
		s.block_size = block_sizes[rnd(&seed) % 6];
		s.sector_size = 512U << rnd(&seed) % 6;
		if (s.sector_size > s.block_size)
			s.sector_size = s.block_size;
		s.data_sectors = (1 + rnd(&seed) % (1ULL << 40)) * (s.sector_size / 512);
		s.spare_sectors = 6 * UNIT + rnd(&seed) % TIB;
		assert_int_equal(remap_layout_compute(&l, s.spare_sectors, s.block_size), 0);
		s.tables_used = (u32)(rnd(&seed) % (l.tables + 1));
		s.compat = rnd(&seed);
		s.ro_compat = rnd(&seed);
		s.created = rnd(&seed);
		for (unsigned int i = 0; i < 16; i++)
			s.uuid[i] = (u8)rnd(&seed);
		fill(s.label, sizeof(s.label), rnd(&seed) % sizeof(s.label), &seed);
		fill(s.data_wwn, REMAP_ID_LEN, REMAP_ID_LEN - 1, &seed);
		fill(s.data_serial, REMAP_ID_LEN, rnd(&seed) % REMAP_ID_LEN, &seed);
		fill(s.data_partuuid, REMAP_ID_LEN, rnd(&seed) % REMAP_ID_LEN, &seed);
		fill(s.data_fsuuid, REMAP_ID_LEN, 0, &seed);

		remap_super_encode(block, &s, &l);
		memset(&s2, 0xee, sizeof(s2));
		assert_int_equal(remap_super_decode(block, REMAP_ANYWHERE, &s2), REMAP_VALID);
		assert_memory_equal(&s2, &s, sizeof(s));
		memset(&l2, 0, sizeof(l2));
		assert_int_equal(remap_layout_of(&l2, &s2), 0);
		assert_same_layout(&l2, &l);
	}
}

static void a_string_without_end_is_cut_off(void **state)
{
	struct remap_super s, s2;
	struct remap_layout l;
	u8 block[REMAP_MD_BLOCK];

	(void)state;
	sample(&s, &l);
	memset(s.label, 'x', sizeof(s.label));
	memset(s.data_wwn, 'y', sizeof(s.data_wwn));
	memset(s.data_fsuuid, 'z', sizeof(s.data_fsuuid));
	for (unsigned int on_disk = 0; on_disk < 2; on_disk++) {
		remap_super_encode(block, &s, &l);
		assert_int_equal(block[offsetof(struct remap_disk_super, label) + 31], 0);
		if (on_disk) {
			memset(block + offsetof(struct remap_disk_super, label), 'x', 32);
			memset(block + offsetof(struct remap_disk_super, data_wwn), 'y', 128);
			memset(block + offsetof(struct remap_disk_super, data_fsuuid), 'z', 128);
			super_reseal(block);
		}
		assert_int_equal(remap_super_decode(block, REMAP_ANYWHERE, &s2), REMAP_VALID);
		assert_int_equal(strnlen(s2.label, 32), 31);
		assert_int_equal(strnlen(s2.data_wwn, 128), 127);
		assert_int_equal(strnlen(s2.data_fsuuid, 128), 127);
		assert_string_equal(s2.data_serial, "SERIAL");
	}
}

static void no_bit_of_a_superblock_can_flip_unseen(void **state)
{
	struct remap_super s;
	struct remap_layout l;
	u8 block[REMAP_MD_BLOCK];

	(void)state;
	sample(&s, &l);
	remap_super_encode(block, &s, &l);
	assert_int_equal(super_check(block), REMAP_VALID);
	for (unsigned int bit = 0; bit < 8 * REMAP_MD_BLOCK; bit++) {
		block[bit / 8] ^= (u8)(1U << bit % 8);
		assert_int_equal(super_check(block),
				 bit / 8 < REMAP_SUPER_MAGIC_LEN ? REMAP_BLANK : REMAP_BAD_CRC);
		block[bit / 8] ^= (u8)(1U << bit % 8);
	}
	memset(block, 0, sizeof(block));
	assert_int_equal(super_check(block), REMAP_BLANK);
}

/* one field changed, the checksum right: what does decode say? */
struct forgery {
	size_t at, bytes;
	u64 value;
	enum remap_check expect;
};

#define FORGE(field, v, e) \
	{ offsetof(struct remap_disk_super, field), \
	  sizeof(((struct remap_disk_super *)0)->field), (v), (e) }
#define BAD(field, v)	FORGE(field, v, REMAP_BAD_FIELD)
#define FINE(field, v)	FORGE(field, v, REMAP_VALID)

static void check_forgery(const struct remap_super *s, const struct remap_layout *l,
			  const struct forgery *f)
{
	u8 block[REMAP_MD_BLOCK];
	__le64 value = cpu_to_le64(f->value);
	enum remap_check c;

	remap_super_encode(block, s, l);
	memcpy(block + f->at, &value, f->bytes);
	super_reseal(block);
	c = super_check(block);
	if (c != f->expect)
		fail_msg("field at %zu = %#llx: %s", f->at, (unsigned long long)f->value,
			 remap_check_str(c));
}

static void impossible_fields_are_refused_though_the_checksum_is_right(void **state)
{
	static const struct forgery forgeries[] = {
		FORGE(version, 0, REMAP_BAD_VERSION), FORGE(version, 2, REMAP_BAD_VERSION),
		FORGE(version, ~0U, REMAP_BAD_VERSION),
		FORGE(incompat, 2, REMAP_BAD_FEATURE), BAD(incompat, REMAP_INCOMPAT_GROWN),
		BAD(grown, 1), BAD(grown, ~0U), FINE(grown_from[0], 1),
		FORGE(incompat, 1ULL << 63, REMAP_BAD_FEATURE),
		FINE(compat, ~0ULL), FINE(ro_compat, ~0ULL), FINE(created, 0), FINE(label[0], 0),
		FINE(uuid[0], 0), FINE(reserved[0], 1),
		BAD(generation, 0), BAD(generation, REMAP_MAX_GENERATION),
		FINE(generation, REMAP_MAX_GENERATION - 1),
		BAD(block_size, 0), BAD(block_size, 256), BAD(block_size, 1536),
		BAD(block_size, 8192), BAD(block_size, 32768), BAD(block_size, 1U << 31),
		BAD(sector_size, 0), BAD(sector_size, 256), BAD(sector_size, 768),
		BAD(sector_size, 1536), BAD(sector_size, 8192), BAD(sector_size, 1U << 31),
		FINE(sector_size, 512), BAD(sector_size, 4096) /* not a part of the data device */,
		BAD(data_sectors, 0), BAD(data_sectors, 20481), BAD(data_sectors, 1ULL << 48),
		BAD(data_sectors, ~1ULL), FINE(data_sectors, 2),
		FINE(data_sectors, (1ULL << 48) - 2),
		BAD(spare_sectors, 0), BAD(spare_sectors, 6 * UNIT), BAD(spare_sectors, SPARE * 2),
		BAD(spare_sectors, ~0ULL), BAD(spare_sectors, 1ULL << 60),
		BAD(zone_sectors, 0), BAD(tables, 0), BAD(tables, ~0U), BAD(slots, 0),
		BAD(slots, ~0U), BAD(tables_used, ~0U), FINE(tables_used, 0),
		BAD(zone_start[0], UNIT), BAD(zone_start[1], 0), BAD(zone_start[2], ~0ULL),
		BAD(zone_start[3], 1), BAD(zone_start[4], SPARE),
	};
	struct remap_super s;
	struct remap_layout l;

	(void)state;
	sample(&s, &l);
	for (size_t i = 0; i < ARRAY_SIZE(forgeries); i++)
		check_forgery(&s, &l, &forgeries[i]);
	s.sector_size = 2 * s.block_size;
	s.data_sectors = 32;
	check_forgery(&s, &l, &(struct forgery)BAD(generation, 1));
	sample(&s, &l);
	for (unsigned int i = 0; i < 2; i++) {		/* one less, one more */
		const struct forgery close[] = {
			BAD(slots, l.slots - 1 + 2 * i), BAD(tables, l.tables - 1 + 2 * i),
			BAD(zone_sectors, l.band[0].zone_sectors - UNIT + 2 * i * UNIT),
			BAD(zone_start[1], l.band[0].zone_start[1] - UNIT + 2 * i * UNIT),
			BAD(zone_start[4], l.band[0].zone_start[4] - UNIT + 2 * i * UNIT),
			FORGE(tables_used, l.tables + i, i ? REMAP_BAD_FIELD : REMAP_VALID),
		};

		for (size_t k = 0; k < ARRAY_SIZE(close); k++)
			check_forgery(&s, &l, &close[k]);
	}
}

static void unknown_features_are_reported_to_the_caller(void **state)
{
	struct remap_super s, s2;
	struct remap_layout l;
	u8 block[REMAP_MD_BLOCK];

	(void)state;
	sample(&s, &l);
	s.compat = 5;
	s.ro_compat = 1ULL << 40;
	remap_super_encode(block, &s, &l);
	assert_int_equal(remap_super_decode(block, REMAP_ANYWHERE, &s2), REMAP_VALID);
	assert_int_equal(s2.compat, 5);
	assert_int_equal(s2.ro_compat, 1ULL << 40);
	s.incompat = 2;
	remap_super_encode(block, &s, &l);
	assert_int_equal(remap_super_decode(block, REMAP_ANYWHERE, &s2), REMAP_BAD_FEATURE);
	assert_int_equal(s2.incompat, 2);
	assert_memory_equal(s2.uuid, s.uuid, 16);
}

static void a_superblock_counts_only_in_its_own_place(void **state)
{
	struct remap_super s;
	struct remap_layout l;
	u8 block[REMAP_MD_BLOCK];

	(void)state;
	for (u64 g = 1; g < 5; g++) {
		sample(&s, &l);
		s.generation = g;
		remap_super_encode(block, &s, &l);
		for (unsigned int z = 0; z < REMAP_ZONES; z++) {
			u64 start = remap_zone_start(&l, z), right = start + (g & 1) * MD;

			for (u64 at = start; at < start + UNIT; at++)
				assert_int_equal(remap_super_decode(block, at, &s),
						 at == right ? REMAP_VALID : REMAP_MISPLACED);
		}
	}
}

/* ---- growing ---- */

/* Zones and slots of all bands are where they were, apart from each other, and within the spare. */
static void check_grown(const struct remap_layout *old, const struct remap_layout *l, u64 spare,
			u64 *seed)
{
	u64 end = 0;
	u32 slots = 0;

	assert_memory_equal(old->band, l->band, old->bands * sizeof(l->band[0]));
	assert_int_equal(l->bands, old->bands + 1);
	for (unsigned int n = 0; n < l->bands; n++) {
		const struct remap_band *b = &l->band[n];

		assert_int_equal(b->zone_start[0] % UNIT, 0);
		for (unsigned int z = 0; z < REMAP_ZONES; z++) {
			assert_true(b->zone_start[z] >= end);
			end = b->zone_start[z] + b->zone_sectors;
			assert_true(remap_table_sector(l, z, b->first_table + b->tables - 1, 1) +
				    MD <= end);
		}
		assert_int_equal(remap_table_sector(l, 3, b->first_table, 0),
				 b->zone_start[3] + 2 * MD);
		slots += b->gap_slots[3] - b->first_table * REMAP_ENTRIES;
		for (unsigned int i = 0; i < 20; i++) {
			u32 slot = b->first_table * REMAP_ENTRIES;

			slot += (u32)(rnd(seed) % (b->gap_slots[3] - slot));
			assert_true(remap_slot_exists(l, slot));
			assert_int_equal(remap_band_of(l, slot / REMAP_ENTRIES) - l->band, n);
			assert_true(remap_slot_sector(l, slot) >= b->zone_start[0] +
				    b->zone_sectors);
			assert_true(remap_slot_sector(l, slot) + l->block_sectors <=
				    b->zone_start[4]);
		}
		/* numbers behind a band's last slot, up to a table block's end, are nobody's */
		if (b->gap_slots[3] % REMAP_ENTRIES)
			assert_false(remap_slot_exists(l, b->gap_slots[3]));
	}
	assert_true(end <= spare);
	assert_int_equal(slots, l->slots);
	assert_false(remap_slot_exists(l, l->tables * REMAP_ENTRIES));
	assert_false(remap_slot_exists(l, ~0U));
}

static void a_spare_grows_and_nothing_moves(void **state)
{
	struct remap_layout l, old, again;
	u8 block[REMAP_MD_BLOCK];
	struct remap_super s, s2;
	u64 seed = 21;

	(void)state;
	for (unsigned int round = 0; round < 200; round++) {
		sample(&s, &l);
		s.block_size = block_sizes[rnd(&seed) % 6];
		s.sector_size = 512;
		s.spare_sectors = 6 * UNIT + rnd(&seed) % (TIB >> (6 + rnd(&seed) % 14));
		assert_int_equal(remap_layout_of(&l, &s), 0);
		for (unsigned int n = 1; n <= REMAP_MAX_GROWN; n++) {
			u64 more = 7 * UNIT + rnd(&seed) % (TIB >> (6 + rnd(&seed) % 14));

			old = l;
			assert_int_equal(remap_super_grow(&s, s.spare_sectors + more), 0);
			assert_int_equal(remap_layout_extend(&l, &s), 0);
			check_grown(&old, &l, s.spare_sectors, &seed);
			assert_int_equal(remap_layout_of(&again, &s), 0);
			assert_same_layout(&again, &l);
			remap_layout_retract(&again);
			assert_same_layout(&again, &old);
			s.tables_used = l.tables;
			remap_super_encode(block, &s, &l);
			assert_int_equal(remap_super_decode(block, REMAP_ANYWHERE, &s2),
					 REMAP_VALID);
			assert_memory_equal(&s2, &s, sizeof(s));
		}
		s2 = s;
		assert_int_equal(remap_super_grow(&s, s.spare_sectors + TIB), -E2BIG);
		assert_memory_equal(&s2, &s, sizeof(s));
	}
}

static void what_has_no_room_for_a_slot_is_no_growth(void **state)
{
	struct remap_super s, before;
	struct remap_layout l;

	(void)state;
	sample(&s, &l);
	before = s;
	for (u64 more = 0; more < 6 * UNIT; more++) {
		assert_int_equal(remap_super_grow(&s, SPARE + more), -ENOSPC);
		assert_memory_equal(&s, &before, sizeof(s));
	}
	assert_int_equal(remap_super_grow(&s, SPARE - 1), -ENOSPC);
	assert_int_equal(remap_super_grow(&s, ~0ULL), -ENOSPC);
	assert_memory_equal(&s, &before, sizeof(s));

	/* nor what has room, when there are no numbers left for slots */
	s.block_size = 512;
	s.sector_size = 512;
	s.spare_sectors = TIB;
	assert_int_equal(remap_layout_of(&l, &s), 0);
	assert_int_equal(l.slots, REMAP_MAX_SLOTS);
	if (!remap_super_grow(&s, 2 * TIB))
		assert_int_equal(remap_layout_extend(&l, &s), -ENOSPC);
	assert_int_equal(l.bands, 1);
	assert_int_equal(l.slots, REMAP_MAX_SLOTS);
}

static void impossible_growth_is_refused_though_the_checksum_is_right(void **state)
{
	struct remap_super s;
	struct remap_layout l;

	(void)state;
	sample(&s, &l);
	assert_int_equal(remap_super_grow(&s, 2 * SPARE), 0);
	assert_int_equal(remap_super_grow(&s, 4 * SPARE), 0);
	assert_int_equal(remap_layout_of(&l, &s), 0);
	{
		const struct forgery forgeries[] = {
			FINE(generation, 7), BAD(incompat, 0),
			FORGE(incompat, 3, REMAP_BAD_FEATURE),
			BAD(grown, 0), BAD(grown, 1), BAD(grown, 3), BAD(grown, 16),
			BAD(grown, ~0U),
			BAD(grown_from[0], 0), BAD(grown_from[0], 1), BAD(grown_from[0], 2 * SPARE),
			BAD(grown_from[0], ~0ULL), BAD(grown_from[1], SPARE),
			BAD(grown_from[1], 4 * SPARE), BAD(grown_from[1], ~0ULL),
			FINE(grown_from[2], 5),
			BAD(spare_sectors, 2 * SPARE), BAD(spare_sectors, SPARE),
			BAD(spare_sectors, 0), BAD(slots, l.slots - 1), BAD(tables, l.tables - 1),
			FINE(tables_used, l.tables), BAD(tables_used, l.tables + 1),
		};

		for (size_t i = 0; i < ARRAY_SIZE(forgeries); i++)
			check_forgery(&s, &l, &forgeries[i]);
	}
}

static void the_newest_superblock_is_chosen(void **state)
{
	struct remap_super s[6];
	const u8 other[16] = { 9 };

	(void)state;
	memset(s, 0, sizeof(s));
	for (u64 i = 0; i < ARRAY_SIZE(s); i++) {
		s[i].uuid[0] = i < 4;
		s[i].generation = i < 4 ? 3 + i / 2 : 99;
	}
	assert_int_equal(remap_super_choose(s, 0, s[0].uuid), -ENODATA);
	assert_int_equal(remap_super_choose(s, 6, other), -ENODATA);
	assert_int_equal(remap_super_choose(s, 6, s[0].uuid), 2);
	assert_int_equal(remap_super_choose(s, 6, s[4].uuid), 4);
	/* of one generation what most of them say, of equally many the first */
	s[1].generation = 4;
	s[2].created = s[3].created = 1;
	assert_int_equal(remap_super_choose(s, 6, s[0].uuid), 2);
	s[3].created = 2;
	assert_int_equal(remap_super_choose(s, 6, s[0].uuid), 1);
}

struct claim {
	u64 created;
	u8 zones, unseen, taken;
};

/* Return: the claim chosen, or an error; the order of the claims makes no difference */
static int choose(const struct claim *claim, unsigned int n)
{
	static struct remap_life life[8];
	int result = 0;

	for (unsigned int turn = 0; turn < (n ? n : 1); turn++) {
		int got;

		for (unsigned int k = 0; k < n; k++) {
			const struct claim *c = &claim[(k + turn) % n];

			life[k].super.created = c->created;
			life[k].zones = c->zones;
			life[k].unseen = c->unseen;
			life[k].taken = c->taken;
		}
		got = remap_life_choose(life, n);
		if (got >= 0)
			got = (int)(((unsigned int)got + turn) % n);
		if (turn)
			assert_int_equal(got, result);
		result = got;
	}
	return result;
}

static void the_life_with_the_best_claim_is_chosen(void **state)
{
	static const struct {
		int chosen;
		struct claim claim[4];
	} cases[] = {
		{ 0, { { 0, 1, 0, 0 } } },
		{ 0, { { 0, 16, 0, 0 } } },
		/* formatted anew where only zone 0 was in reach of the older one */
		{ 1, { { 10, 0x1e, 0, 0 }, { 20, 0x1f, 0, 0 } } },
		{ 1, { { 10, 0x1e, 0, 0 }, { 20, 0x0f, 0, 0 } } },
		{ 1, { { 10, 0x1e, 0, 0 }, { 20, 0x07, 0, 0 } } },
		/* ... with zones that cannot be read, or are beyond the end */
		{ 1, { { 10, 0x1e, 0, 0 }, { 20, 0x01, 0x1e, 0 } } },
		{ 1, { { 10, 0x1e, 0, 0 }, { 20, 0x03, 0x04, 0 } } },
		{ -EUCLEAN, { { 10, 0x1e, 0, 0 }, { 20, 0x01, 0, 0 } } },
		{ -EUCLEAN, { { 10, 0x1e, 0, 0 }, { 20, 0x01, 0x02, 0 } } },
		/* within the same second, or by a clock that went wrong */
		{ 1, { { 10, 0x1e, 0, 0 }, { 10, 0x07, 0, 0 } } },
		{ 1, { { 30, 0x1e, 0, 0 }, { 20, 0x1f, 0, 0 } } },
		{ 1, { { 30, 0x1e, 0, 0 }, { 20, 0x0f, 0, 0 } } },
		{ -EUCLEAN, { { 30, 0x1e, 0, 0 }, { 20, 0x07, 0, 0 } } },
		{ -EUCLEAN, { { 30, 0x06, 0, 0 }, { 20, 0x03, 0, 0 } } },
		{ -EUCLEAN, { { 10, 0x03, 0, 0 }, { 10, 0x0c, 0, 0 }, { 20, 0x10, 0, 0 } } },
		/* zone 0 was written by someone else: the other one's superblocks are beside it */
		{ 0, { { 10, 0x1e, 0, 0 }, { 20, 0x01, 0, 0x1e } } },
		{ 0, { { 10, 0x1c, 0, 0 }, { 20, 0x03, 0, 0x1c } } },
		{ 1, { { 10, 0x18, 0, 0 }, { 20, 0x07, 0, 0x18 } } },
		{ 1, { { 10, 0x1f, 0, 0x1f }, { 20, 0x1f, 0, 0x1f } } },
		{ 0, { { 10, 0x1f, 0, 0x0f }, { 20, 0x0f, 0, 0x0f } } },
		/* zone 0 is lost */
		{ 1, { { 10, 0x06, 0, 0 }, { 20, 0x18, 0, 0 } } },
		{ 0, { { 10, 0x0e, 0, 0 }, { 20, 0x18, 0, 0 } } },
		{ -EUCLEAN, { { 10, 0x06, 0, 0 }, { 10, 0x18, 0, 0 } } },
		{ 2, { { 10, 0x06, 0, 0 }, { 10, 0x18, 0, 0 }, { 5, 0x0e, 0, 0 } } },
		{ -EUCLEAN, { { 10, 0x06, 0, 0 }, { 10, 0x0c, 0, 0 }, { 10, 0x18, 0, 0 } } },
		{ 3, { { 9, 0x06, 0, 0 }, { 9, 0x0c, 0, 0 }, { 9, 0x18, 0, 0 },
		       { 10, 0x12, 0, 0 } } },
	};

	(void)state;
	assert_int_equal(choose(NULL, 0), -ENODATA);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned int n = 0;

		while (n < 4 && cases[i].claim[n].zones)
			n++;
		if (choose(cases[i].claim, n) != cases[i].chosen)
			fail_msg("case %zu: %d, not %d", i, choose(cases[i].claim, n),
				 cases[i].chosen);
	}
}

/* ---- table blocks ---- */

static void a_table_block_survives_seal_and_check(void **state)
{
	struct remap_super s;
	struct remap_layout l;
	struct remap_entry e[REMAP_ENTRIES], got;
	u8 block[REMAP_MD_BLOCK];
	u64 seed = 13, generation;

	(void)state;
	sample(&s, &l);
	for (u32 index = 0; index < l.tables; index++) {
		u64 g = (rnd(&seed) >> 1) | 1;

		memset(block, 0xee, sizeof(block));
		remap_table_init(block, index);
		for (unsigned int i = 0; i < REMAP_ENTRIES; i++) {
			bool slot = index * REMAP_ENTRIES + i < l.slots;

			e[i].block = rnd(&seed) % 2560;		/* not the short last one */
			e[i].lost = (u32)rnd(&seed) & 15;
			e[i].seq = (u32)rnd(&seed);
			e[i].state = slot ? (u8)(rnd(&seed) % 3) : REMAP_SLOT_FREE;
			remap_entry_set(block, i, &e[i]);
		}
		remap_table_seal(block, s.uuid, g);
		generation = 0;
		assert_int_equal(remap_table_check(block, &s, &l, index, &generation), REMAP_VALID);
		assert_int_equal(generation, g);
		assert_int_equal(remap_table_generation(block), g);
		for (unsigned int i = 0; i < REMAP_ENTRIES; i++) {
			remap_entry_get(block, i, &got);
			assert_int_equal(got.block, e[i].block);
			assert_int_equal(got.lost, e[i].lost);
			assert_int_equal(got.seq, e[i].seq);
			assert_int_equal(got.state, e[i].state);
		}
	}
}

static void no_bit_of_a_table_block_can_flip_unseen(void **state)
{
	struct remap_super s;
	struct remap_layout l;
	struct remap_entry e = { .block = 77, .lost = 5, .seq = 9, .state = REMAP_SLOT_MAPPED };
	u8 block[REMAP_MD_BLOCK];
	u64 g;

	(void)state;
	sample(&s, &l);
	remap_table_init(block, 1);
	remap_entry_set(block, 100, &e);
	remap_table_seal(block, s.uuid, 3);
	assert_int_equal(remap_table_check(block, &s, &l, 1, &g), REMAP_VALID);
	for (unsigned int bit = 0; bit < 8 * REMAP_MD_BLOCK; bit++) {
		block[bit / 8] ^= (u8)(1U << bit % 8);
		assert_int_equal(remap_table_check(block, &s, &l, 1, &g),
				 bit < 32 ? REMAP_BLANK : REMAP_BAD_CRC);
		block[bit / 8] ^= (u8)(1U << bit % 8);
	}
}

/*
 * Zone 0 missed the last commits and came back, with an attempt of its own at the newest
 * generation: it is outvoted. Copies in the wrong place or unreadable have no vote.
 */
static void of_equal_generations_the_majority_counts(void **state)
{
	u8 block[3][REMAP_MD_BLOCK];
	const void *copy[2 * REMAP_ZONES] = { NULL };
	struct remap_entry e = { .state = REMAP_SLOT_MAPPED };
	struct remap_layout l;
	struct remap_super s;

	(void)state;
	sample(&s, &l);
	assert_int_equal(remap_table_choose(copy, &s, &l, 0), -ENODATA);
	for (u32 i = 0; i < 3; i++) {
		remap_table_init(block[i], 0);
		e.block = i;
		remap_entry_set(block[i], 0, &e);
		remap_table_seal(block[i], s.uuid, i == 2 ? 6 : 7);
	}
	copy[1] = block[0];
	copy[5] = block[1];
	copy[7] = block[1];
	copy[6] = block[2];			/* older */
	copy[8] = block[0];			/* of odd generation, in an even place */
	assert_int_equal(remap_table_choose(copy, &s, &l, 0), 5);
	copy[1] = NULL;
	copy[5] = NULL;
	copy[7] = NULL;
	assert_int_equal(remap_table_choose(copy, &s, &l, 0), 6);
	assert_int_equal(remap_table_choose(copy, &s, &l, 1), -ENODATA);
}

static void a_table_block_of_elsewhere_is_refused(void **state)
{
	struct remap_super s, other;
	struct remap_layout l;
	u8 block[REMAP_MD_BLOCK];
	u64 g;

	(void)state;
	sample(&s, &l);
	other = s;
	remap_table_init(block, 1);
	remap_table_seal(block, s.uuid, 3);
	assert_int_equal(remap_table_check(block, &s, &l, 0, &g), REMAP_MISPLACED);
	assert_int_equal(remap_table_check(block, &s, &l, 2, &g), REMAP_MISPLACED);
	for (unsigned int i = 0; i < 16; i++) {
		other.uuid[i] ^= 0x40;
		assert_int_equal(remap_table_check(block, &other, &l, 1, &g), REMAP_BAD_CRC);
		other.uuid[i] ^= 0x40;
	}
	remap_table_seal(block, s.uuid, 0);	/* generations start at 1 */
	assert_int_equal(remap_table_check(block, &s, &l, 1, &g), REMAP_BAD_FIELD);
}

static enum remap_check check_entry(const struct remap_super *s, const struct remap_layout *l,
				    u32 slot, u64 block, u32 lost, u8 state)
{
	struct remap_entry e = { .block = block, .lost = lost, .state = state };
	u8 table[REMAP_MD_BLOCK];
	u64 g;

	remap_table_init(table, slot / REMAP_ENTRIES);
	remap_entry_set(table, slot % REMAP_ENTRIES, &e);
	remap_table_seal(table, s->uuid, 1);
	return remap_table_check(table, s, l, slot / REMAP_ENTRIES, &g);
}

static void impossible_entries_are_refused_though_the_checksum_is_right(void **state)
{
	const u8 mapped = REMAP_SLOT_MAPPED, bad = REMAP_SLOT_BAD, empty = REMAP_SLOT_FREE;
	struct remap_super s;
	struct remap_layout l;
	u8 table[REMAP_MD_BLOCK];
	u64 g;

	(void)state;
	sample(&s, &l);
	assert_true(l.slots % REMAP_ENTRIES);		/* else nothing is beyond the last slot */
	assert_int_equal(check_entry(&s, &l, l.slots - 1, 0, 0, mapped), REMAP_VALID);
	assert_int_equal(check_entry(&s, &l, l.slots, 0, 0, mapped), REMAP_BAD_FIELD);
	assert_int_equal(check_entry(&s, &l, l.slots, 0, 0, bad), REMAP_BAD_FIELD);
	assert_int_equal(check_entry(&s, &l, l.slots, 0, 0, empty), REMAP_VALID);

	for (unsigned int st = 0; st < 256; st++)
		assert_int_equal(check_entry(&s, &l, 4, 0, 0, (u8)st),
				 st <= bad ? REMAP_VALID : REMAP_BAD_FIELD);

	/* 20482 sectors: blocks 0 to 2559 of four logical sectors, block 2560 of one */
	assert_int_equal(remap_data_blocks(&s), 2561);
	assert_int_equal(remap_block_sectors(&s, 2559), 8);
	assert_int_equal(remap_block_sectors(&s, 2560), 2);
	assert_int_equal(check_entry(&s, &l, 4, 2560, 0, mapped), REMAP_VALID);
	assert_int_equal(check_entry(&s, &l, 4, 2561, 0, mapped), REMAP_BAD_FIELD);
	assert_int_equal(check_entry(&s, &l, 4, 1ULL << 32, 0, mapped), REMAP_BAD_FIELD);
	assert_int_equal(check_entry(&s, &l, 4, (1ULL << 48) - 1, 0, mapped), REMAP_BAD_FIELD);
	assert_int_equal(check_entry(&s, &l, 4, 2559, 15, mapped), REMAP_VALID);
	assert_int_equal(check_entry(&s, &l, 4, 2559, 16, mapped), REMAP_BAD_FIELD);
	assert_int_equal(check_entry(&s, &l, 4, 2560, 1, mapped), REMAP_VALID);
	assert_int_equal(check_entry(&s, &l, 4, 2560, 2, mapped), REMAP_BAD_FIELD);

	/* the last entry of a block is looked at, and the one after a good one */
	assert_int_equal(check_entry(&s, &l, 253, 9999, 0, mapped), REMAP_BAD_FIELD);
	remap_table_init(table, 0);
	remap_entry_set(table, 0, &(struct remap_entry){ .block = 1, .state = mapped });
	remap_entry_set(table, 1, &(struct remap_entry){ .block = 1, .state = 3 });
	remap_table_seal(table, s.uuid, 1);
	assert_int_equal(remap_table_check(table, &s, &l, 0, &g), REMAP_BAD_FIELD);
}

static void each_logical_sector_has_its_bit_of_lost(void **state)
{
	struct remap_super s;
	struct remap_layout l;

	(void)state;
	sample(&s, &l);
	for (size_t i = 0; i < ARRAY_SIZE(block_sizes); i++) {
		for (u32 sector = 512; sector <= block_sizes[i]; sector *= 2) {
			u32 n = block_sizes[i] / sector;
			u32 all = (u32)((1ULL << n) - 1);

			s.block_size = block_sizes[i];
			s.sector_size = sector;
			assert_int_equal(remap_lost_mask(&s, block_sizes[i] / 512), all);
			assert_int_equal(remap_lost_mask(&s, sector / 512), 1);
			s.data_sectors = 2 * block_sizes[i] / 512;
			assert_int_equal(check_entry(&s, &l, 0, 1, all, 1), REMAP_VALID);
			if (n < 32)
				assert_int_equal(check_entry(&s, &l, 0, 1, all + 1, 1),
						 REMAP_BAD_FIELD);
		}
	}
}

static void an_entry_keeps_48_bits_and_leaves_its_neighbours_alone(void **state)
{
	u8 table[REMAP_MD_BLOCK], before[REMAP_MD_BLOCK];
	const u8 *neighbour = before + 32 + 16 * 7;
	u64 seed = 14;

	(void)state;
	for (unsigned int round = 0; round < 1000; round++) {
		struct remap_entry got, e = {
			.block = rnd(&seed) >> 16 >> rnd(&seed) % 48, .lost = (u32)rnd(&seed),
			.seq = (u32)rnd(&seed), .state = (u8)(rnd(&seed) % 3),
		};

		for (size_t i = 0; i < sizeof(table); i++)
			before[i] = table[i] = (u8)rnd(&seed);
		remap_entry_set(table, 7, &e);
		remap_entry_get(table, 7, &got);
		assert_int_equal(got.block, e.block);
		assert_int_equal(got.lost, e.lost);
		assert_int_equal(got.seq, e.seq);
		assert_int_equal(got.state, e.state);
		assert_memory_equal(table, before, (size_t)(neighbour - before));
		assert_memory_equal(table + (neighbour - before) + 16, neighbour + 16,
				    sizeof(table) - (size_t)(neighbour - before) - 16);
	}
}

/* Checksums of known contents, worked out by a program that shares nothing with this one. */
static void the_bytes_on_disk_stay_what_they_are(void **state)
{
	struct remap_entry e = {
		.block = 0x123456789abcULL, .lost = 0xdeadbeef, .seq = 0x01020304, .state = 1,
	};
	struct remap_super s;
	struct remap_layout l;
	u8 block[REMAP_MD_BLOCK];

	(void)state;
	sample(&s, &l);
	s.compat = 1;
	s.ro_compat = 2;
	s.incompat = 4;
	remap_super_encode(block, &s, &l);
	assert_int_equal(~remap_crc32c(~0U, block, sizeof(block)), 0x638a4fa5U);
	remap_table_init(block, 7);
	remap_entry_set(block, 253, &e);
	remap_table_seal(block, s.uuid, 0x1122334455667788ULL);
	assert_int_equal(~remap_crc32c(~0U, block, sizeof(block)), 0xe4542f6aU);
}

/* ---- arithmetic ---- */

static void seq_is_compared_around_the_wrap(void **state)
{
	u64 seed = 15;

	(void)state;
	assert_true(remap_seq_after(1, 0));
	assert_true(remap_seq_after(0, ~0U));
	assert_true(remap_seq_after(5, ~0U - 5));
	assert_true(remap_seq_after(0x80000000U, 0x7fffffffU));
	for (unsigned int i = 0; i < 10000; i++) {
		u32 a = (u32)rnd(&seed), ahead = (u32)(1 + rnd(&seed) % 0x7fffffff);

		assert_true(remap_seq_after(a + ahead, a));
		assert_false(remap_seq_after(a, a + ahead));
		assert_false(remap_seq_after(a, a));
	}
}

static void crc32c_gives_the_answers_of_rfc_3720(void **state)
{
	u8 bytes[32];

	(void)state;
	memset(bytes, 0, sizeof(bytes));
	assert_int_equal(~remap_crc32c(~0U, bytes, 32), 0x8a9136aaU);
	memset(bytes, 0xff, sizeof(bytes));
	assert_int_equal(~remap_crc32c(~0U, bytes, 32), 0x62a8ab43U);
	for (u8 i = 0; i < 32; i++)
		bytes[i] = i;
	assert_int_equal(~remap_crc32c(~0U, bytes, 32), 0x46dd794eU);
	assert_int_equal(~remap_crc32c(~0U, "123456789", 9), 0xe3069283U);
	assert_int_equal(remap_crc32c(remap_crc32c(~0U, bytes, 5), bytes + 5, 27),
			 remap_crc32c(~0U, bytes, 32));
	assert_int_equal(remap_crc32c(123, bytes, 0), 123);
}

static void each_finding_has_its_own_words(void **state)
{
	(void)state;
	for (unsigned int a = REMAP_VALID; a <= REMAP_BAD_FIELD; a++)
		for (unsigned int b = a + 1; b <= REMAP_BAD_FIELD + 1; b++)
			assert_string_not_equal(remap_check_str(a), remap_check_str(b));
}

/* ---- crashes ---- */

/*
 * One commit of one metadata block. Each zone holds the state before in one copy, and has been
 * told to write the state after over what stood in the other. When the crash comes, each zone
 * has got so far: 0 nothing written, 1 to 7 so many sectors of 512 bytes, 8 all.
 */
#define PROGRESS	9

struct copy {
	u64 generation;		/* 0: not valid */
	bool before, after;	/* what its contents are */
};

struct commit {
	u8 before[REMAP_MD_BLOCK], after[REMAP_MD_BLOCK];
	u8 under[REMAP_MD_BLOCK];	/* what is overwritten */
	u64 (*generation)(const u8 *block);	/* of a block if it is valid, or 0 */
};

static struct copy look_at(const struct commit *c, const u8 *block)
{
	return (struct copy) {
		.generation = c->generation(block),
		.before = !memcmp(block, c->before, REMAP_MD_BLOCK),
		.after = !memcmp(block, c->after, REMAP_MD_BLOCK),
	};
}

/* Every mixture of old and new sectors is the one or the other, or not valid. */
static void check_mixtures(const struct commit *c)
{
	u8 block[REMAP_MD_BLOCK];

	for (unsigned int mix = 0; mix < 256; mix++) {
		bool whole;

		memcpy(block, c->under, sizeof(block));
		for (unsigned int i = 0; i < 8; i++)
			if (mix >> i & 1)
				memcpy(block + i * 512, c->after + i * 512, 512);
		whole = !memcmp(block, c->after, sizeof(block)) ||
			!memcmp(block, c->under, sizeof(block));
		if (!whole)
			assert_int_equal(c->generation(block), 0);
	}
}

static void check_crash(const struct copy *old, const struct copy *new, unsigned int crash,
			unsigned int dead)
{
	struct copy newest = { .generation = 0 };
	bool whole = false;

	for (unsigned int z = 0, left = crash; z < REMAP_ZONES; z++, left /= PROGRESS) {
		const struct copy *c = &new[left % PROGRESS];

		if (dead >> z & 1)
			continue;
		if (old->generation > newest.generation)
			newest = *old;
		if (c->generation > newest.generation)
			newest = *c;
		whole |= c->after;
	}
	if (whole ? !newest.after : !newest.before)
		fail_msg("crash %u, dead zones %#x: %s before, %s after", crash, dead,
			 newest.before ? "is" : "is not", newest.after ? "is" : "is not");
}

/* Return: the number of crashes gone through */
static unsigned long crash_everywhere(const struct commit *c)
{
	struct copy old = look_at(c, c->before), new[PROGRESS];
	u8 block[REMAP_MD_BLOCK];
	unsigned long cases = 0;

	check_mixtures(c);
	for (unsigned int n = 0; n < PROGRESS; n++) {
		memcpy(block, c->under, sizeof(block));
		memcpy(block, c->after, n * 512);
		new[n] = look_at(c, block);
	}
	for (unsigned int dead = 0; dead < 31; dead++)	/* any four zones, too */
		for (unsigned int crash = 0; crash < 9 * 9 * 9 * 9 * 9; crash++, cases++)
			check_crash(&old, new, crash, dead);
	return cases;
}

static u64 table_generation(const u8 *block)
{
	struct remap_super s;
	struct remap_layout l;
	u64 g = 0;

	sample(&s, &l);
	return remap_table_check(block, &s, &l, 2, &g) == REMAP_VALID ? g : 0;
}

/* @changes entries, spread over the block, as generation @g leaves them */
static void make_table(u8 *block, u64 g, unsigned int changes)
{
	struct remap_super s;
	struct remap_layout l;

	sample(&s, &l);
	remap_table_init(block, 2);
	for (unsigned int i = 0; i < changes; i++) {
		struct remap_entry e = {
			.block = (g + i) % 2560, .seq = (u32)g + i, .state = REMAP_SLOT_MAPPED,
		};

		remap_entry_set(block, (i * 253 / (changes - 1)), &e);
	}
	remap_table_seal(block, s.uuid, g);
}

static void a_table_commit_cut_off_anywhere_leaves_before_or_after(void **state)
{
	static const u64 generations[] = { 1, 2, 255, 1ULL << 32 };
	unsigned long cases = 0;
	struct commit c = { .generation = table_generation };
	u64 seed = 16;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(generations); i++) {
		u64 g = generations[i];

		make_table(c.before, g, 2 + 9 * (unsigned int)i);
		make_table(c.after, g + 1, 2 + 9 * (unsigned int)i);
		if (g == 1)		/* nobody has written there yet */
			for (size_t k = 0; k < sizeof(c.under); k++)
				c.under[k] = (u8)rnd(&seed);
		else
			make_table(c.under, g - 1, 2 + 9 * (unsigned int)i);
		assert_int_equal(table_generation(c.before), g);
		assert_int_equal(table_generation(c.after), g + 1);
		cases += crash_everywhere(&c);
	}
	print_message("# %lu crashes\n", cases);
}

static u64 super_generation(const u8 *block)
{
	struct remap_super s;

	return remap_super_decode(block, REMAP_ANYWHERE, &s) == REMAP_VALID ? s.generation : 0;
}

static void make_super(u8 *block, u64 g)
{
	struct remap_super s;
	struct remap_layout l;

	sample(&s, &l);
	s.generation = g;
	s.tables_used = (u32)g;
	s.data_fsuuid[10] = (char)('0' + g);	/* in the second sector */
	s.data_fsuuid[0] = (char)('0' + g);
	remap_super_encode(block, &s, &l);
}

static void a_superblock_commit_cut_off_anywhere_leaves_before_or_after(void **state)
{
	struct commit c = { .generation = super_generation };
	unsigned long cases = 0;

	(void)state;
	for (u64 g = 1; g < 3; g++) {
		make_super(c.before, g);
		make_super(c.after, g + 1);
		memset(c.under, 0, sizeof(c.under));
		if (g > 1)
			make_super(c.under, g - 1);
		cases += crash_everywhere(&c);
	}
	print_message("# %lu crashes\n", cases);
}

#define T(f)	cmocka_unit_test(f)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(every_layout_keeps_zones_and_slots_apart_and_wastes_nothing),
		T(a_spare_without_room_is_refused),
		T(a_bad_block_size_is_refused),
		T(the_smallest_spare_is_enough_and_none_smaller_is),
		T(the_places_to_look_include_every_zone_of_every_layout),
		T(a_superblock_survives_encode_and_decode),
		T(a_string_without_end_is_cut_off),
		T(no_bit_of_a_superblock_can_flip_unseen),
		T(impossible_fields_are_refused_though_the_checksum_is_right),
		T(unknown_features_are_reported_to_the_caller),
		T(a_superblock_counts_only_in_its_own_place),
		T(a_spare_grows_and_nothing_moves),
		T(what_has_no_room_for_a_slot_is_no_growth),
		T(impossible_growth_is_refused_though_the_checksum_is_right),
		T(the_newest_superblock_is_chosen),
		T(the_life_with_the_best_claim_is_chosen),
		T(a_table_block_survives_seal_and_check),
		T(no_bit_of_a_table_block_can_flip_unseen),
		T(of_equal_generations_the_majority_counts),
		T(a_table_block_of_elsewhere_is_refused),
		T(impossible_entries_are_refused_though_the_checksum_is_right),
		T(each_logical_sector_has_its_bit_of_lost),
		T(an_entry_keeps_48_bits_and_leaves_its_neighbours_alone),
		T(the_bytes_on_disk_stay_what_they_are),
		T(seq_is_compared_around_the_wrap),
		T(crc32c_gives_the_answers_of_rfc_3720),
		T(each_finding_has_its_own_words),
		T(a_table_commit_cut_off_anywhere_leaves_before_or_after),
		T(a_superblock_commit_cut_off_anywhere_leaves_before_or_after),
	};

	return cmocka_run_group_tests_name("format", tests, NULL, NULL);
}
