// SPDX-License-Identifier: GPL-2.0-only
/*
 * kernel/meta.c itself, on a disk in memory of which each 4 KiB block may fail to be read or
 * written, and whose power may go after any write. What it takes from the kernel is in fake/.
 */
#include "unit.h"
#include <linux/device-mapper.h>
#include <linux/gfp.h>

/* ---- the disk ---- */

#define DISK_SECTORS	16384U
#define MD_BLOCKS	(DISK_SECTORS / 8)

struct block_device {
	u64 sectors;
};

static struct {
	_Alignas(4096) u8 bytes[DISK_SECTORS * 512];
	bool no_read[MD_BLOCKS], no_write[MD_BLOCKS];
	bool heals;			/* what is written can be read again, as on most disks */
	long writes_left;		/* until power goes; -1: it does not */
	struct block_device bdev;
} disk;

/* in the place of kernel/io.h */
#define REMAP_IO_H

typedef u64 sector_t;
typedef int blk_status_t;
typedef unsigned int blk_opf_t;

#define REQ_OP_READ	0
#define REQ_OP_WRITE	1
#define REQ_META	0
#define REQ_SYNC	0
#define REQ_FUA		0

struct remap_round {
	char none;
};

struct remap_io {
	blk_status_t status;
};

static void remap_round_begin(struct remap_round *round)
{
	(void)round;
}

static void remap_round_end(struct remap_round *round)
{
	(void)round;
}

static blk_status_t remap_io_sync(struct remap_io *io, struct block_device *bdev, sector_t sector,
				  blk_opf_t op, void *buf, unsigned int bytes)
{
	const bool *fails = op == REQ_OP_WRITE ? disk.no_write : disk.no_read;
	u8 *at = disk.bytes + (sector << SECTOR_SHIFT);

	io->status = sector + (bytes >> SECTOR_SHIFT) > bdev->sectors;
	for (u64 b = sector / 8; !io->status && b < (sector + bytes / 512) / 8; b++)
		io->status = fails[b];
	if (io->status)
		return io->status;
	if (op == REQ_OP_READ) {
		memcpy(buf, at, bytes);
	} else if (disk.writes_left) {
		/* without power it seems to be written, and nobody lives to believe it */
		disk.writes_left -= disk.writes_left > 0;
		memcpy(at, buf, bytes);
		for (u64 b = sector / 8; disk.heals && b < (sector + bytes / 512) / 8; b++)
			disk.no_read[b] = false;
	}
	return 0;
}

static void remap_round_add(struct remap_round *round, struct remap_io *io,
			    struct block_device *bdev, sector_t sector, blk_opf_t op, void *buf,
			    unsigned int bytes)
{
	(void)round;
	remap_io_sync(io, bdev, sector, op, buf, bytes);
}

static u64 bdev_nr_sectors(const struct block_device *bdev)
{
	return bdev->sectors;
}

static bool bdev_read_only(const struct block_device *bdev)
{
	(void)bdev;
	return false;
}

/* ---- the rest of the kernel ---- */

#define REMAP_TRACE_H
#define trace_remap_commit(dev, index, generation, good)	((void)(generation))

u32 get_random_u32(void)
{
	static uint64_t seed = 1;

	return (u32)rnd(&seed);
}

/* it is written for a compiler that is told less */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wpointer-sign"
#include "../../kernel/meta.c"
#pragma GCC diagnostic pop

/* ---- a target's life ---- */

static struct remap_meta *meta;
static bool may_write;
static struct remap_map map;
static struct remap_layout layout;
static const struct remap_entry nothing = { .state = REMAP_SLOT_FREE };

static void *at_sector(u64 sector)
{
	return disk.bytes + (sector << SECTOR_SHIFT);
}

/* One of this uuid, over what is there: the zones' places are in @layout then. */
static void format_over(u64 sectors, char uuid)
{
	struct remap_super s = {
		.uuid = "0123456789abcde", .generation = 1, .block_size = 4096,
		.sector_size = 512, .data_sectors = 200000, .spare_sectors = sectors,
		.tables_used = 1,
	};
	u8 table[REMAP_MD_BLOCK];

	s.uuid[0] = (u8)uuid;
	assert_int_equal(remap_layout_of(&layout, &s), 0);
	remap_table_init(table, 0);
	remap_table_seal(table, s.uuid, 1);
	for (unsigned int z = 0; z < REMAP_ZONES; z++) {
		memcpy(at_sector(remap_table_sector(&layout, z, 0, 1)), table, sizeof(table));
		remap_super_encode(at_sector(remap_super_sector(&layout, z, 1)), &s, &layout);
	}
}

static void format(u64 sectors)
{
	memset(&disk, 0, sizeof(disk));
	disk.writes_left = -1;
	disk.bdev.sectors = sectors;
	format_over(sectors, '0');
}

static int try_start(const char **error)
{
	int r;

	disk.writes_left = -1;
	meta = calloc(1, sizeof(*meta));
	assert_non_null(meta);
	r = remap_meta_open(meta, "t", 0, &disk.bdev, 0, disk.bdev.sectors, disk.bdev.sectors,
			    may_write, error);
	if (r)
		return r;
	assert_int_equal(remap_map_init(&map, remap_data_blocks(&meta->super)), 0);
	return remap_meta_load(meta, &map, false);
}

static void end(void)
{
	if (!meta)
		return;
	remap_meta_close(meta);
	remap_map_destroy(&map);
	free(meta);
	meta = NULL;
	memset(&map, 0, sizeof(map));
}

static void start(void)
{
	const char *error = "none";

	end();
	may_write = true;
	if (try_start(&error))
		fail_msg("does not start: %s", error);
}

static void start_readonly(void)
{
	const char *error = "none";

	end();
	may_write = false;
	if (try_start(&error))
		fail_msg("does not start: %s", error);
}

static int teardown(void **state)
{
	(void)state;
	end();
	return 0;
}

/* The zones whose bit is set, or of them table block @index alone, fail: or do not any more. */
static void zones_fail(bool *fails, unsigned int zones, bool on)
{
	for (u64 b = 0; b < MD_BLOCKS; b++)
		for (unsigned int z = 0; z < REMAP_ZONES; z++)
			if (zones & 1U << z && b * 8 >= layout.band[0].zone_start[z] &&
			    b * 8 < layout.band[0].zone_start[z] + layout.band[0].zone_sectors)
				fails[b] = on;
}

static void table_fails(bool *fails, unsigned int zones, u32 index, bool on)
{
	for (unsigned int z = 0; z < REMAP_ZONES; z++)
		for (unsigned int copy = 0; zones & 1U << z && copy < 2; copy++)
			fails[remap_table_sector(&layout, z, index, copy) / 8] = on;
}

static void destroy_zone(unsigned int z)
{
	memset(at_sector(layout.band[0].zone_start[z]), 0x5a,
	       layout.band[0].zone_sectors << SECTOR_SHIFT);
}

/* Where is the block, as far as the map says? On the data device: REMAP_NO_SLOT */
static u32 place_of(u64 block)
{
	u32 value = remap_map_get(&map, block);

	return value == REMAP_VALUE_NONE ? REMAP_NO_SLOT : value & REMAP_VALUE_SLOT;
}

static bool frozen(u64 block)
{
	u32 value = remap_map_get(&map, block);

	return value != REMAP_VALUE_NONE && value & REMAP_VALUE_FROZEN;
}

/* It moves, and power goes after so many writes: whoever asked is told nothing. */
static u32 moves_until_power_goes(u64 block, u32 from, long writes)
{
	u32 slot = remap_meta_alloc(meta, block, 0, from);

	assert_int_not_equal(slot, REMAP_NO_SLOT);
	disk.writes_left = writes;
	(void)!remap_meta_commit(meta, false);
	return slot;
}

static u32 moves(u64 block, u32 from)
{
	u32 slot = remap_meta_alloc(meta, block, 0, from);

	assert_int_not_equal(slot, REMAP_NO_SLOT);
	assert_int_equal(remap_meta_commit(meta, true), 0);
	return slot;
}

static u64 generation(u32 index)
{
	return remap_table_generation(table_of(meta, index));
}

static void assert_states(unsigned int zones, enum remap_replica_state expected)
{
	enum remap_replica_state state[REMAP_ZONES];

	remap_meta_verify(meta, false, state);
	for (unsigned int z = 0; z < REMAP_ZONES; z++)
		assert_int_equal(state[z], zones & 1U << z ? expected : REMAP_REPLICA_OK);
}

/* ---- the device's size ---- */

static void what_was_formatted_while_the_device_was_smaller_is_started(void **state)
{
	(void)state;
	for (unsigned int hurt = 0; hurt < 1U << REMAP_ZONES; hurt += 2) {
		const char *error = "none";

		format(8192);
		format_over(5120, 'B');		/* none of its zones is where one was */
		for (unsigned int z = 1; z < REMAP_ZONES; z++)
			if (hurt >> z & 1)
				destroy_zone(z);
		end();
		may_write = true;
		if (__builtin_popcount(hurt) > 2) {
			assert_int_equal(try_start(&error), -EUCLEAN);
			assert_non_null(strstr(error, "several formats"));
			continue;
		}
		if (try_start(&error))
			fail_msg("does not start: %s", error);
		assert_int_equal(meta->super.uuid[0], 'B');
		assert_int_equal(meta->super.spare_sectors, 5120);
	}
}

static void what_was_formatted_while_the_device_was_larger_does_not_start(void **state)
{
	const char *error = "none";

	(void)state;
	format(4096);
	format_over(8192, 'B');
	end();
	assert_int_equal(try_start(&error), -ENOSPC);
	assert_non_null(strstr(error, "smaller than it was"));
}

static void a_device_that_is_enlarged_before_the_load_is_still_found(void **state)
{
	const char *error = "none";

	(void)state;
	format(4096);
	destroy_zone(0);
	end();
	meta = calloc(1, sizeof(*meta));
	assert_non_null(meta);
	assert_int_equal(remap_meta_open(meta, "t", 0, &disk.bdev, 0, 4096, 0, true, &error), 0);
	disk.bdev.sectors = 10000;
	assert_int_equal(remap_map_init(&map, remap_data_blocks(&meta->super)), 0);
	assert_int_equal(remap_meta_load(meta, &map, false), 0);
	assert_states(0, REMAP_REPLICA_OK);
}

/* ---- what cannot be read ---- */

/* Of block 77 a move was begun, and only zone 0 knows. Return: the 4 KiB block in which it does */
static u64 begun_in_zone_0(void)
{
	u64 b;

	format(4096);
	start();
	moves(500, REMAP_NO_SLOT);
	b = remap_table_sector(&layout, 0, 0, generation(0) + 1) / 8;
	moves_until_power_goes(77, REMAP_NO_SLOT, 1);
	return b;
}

static void an_attempt_that_cannot_be_read_does_not_come_back(void **state)
{
	(void)state;
	for (int writable = 0; writable < 2; writable++) {
		u64 b = begun_in_zone_0();

		disk.no_read[b] = true;
		disk.no_write[b] = !writable;
		start();
		assert_int_equal(place_of(77), REMAP_NO_SLOT);
		assert_true(remap_meta_whole(meta));
		assert_states(1, REMAP_REPLICA_UNREADABLE);
		disk.no_read[b] = disk.no_write[b] = false;
		start();
		assert_int_equal(place_of(77), REMAP_NO_SLOT);
		assert_int_not_equal(place_of(500), REMAP_NO_SLOT);
		assert_states(0, REMAP_REPLICA_OK);
	}
}

static void an_attempt_that_can_be_overwritten_costs_no_commit(void **state)
{
	u64 b = begun_in_zone_0(), g = generation(0);

	(void)state;
	disk.no_read[b] = disk.heals = true;
	start();
	assert_false(disk.no_read[b]);
	assert_int_equal(place_of(77), REMAP_NO_SLOT);
	assert_states(0, REMAP_REPLICA_OK);
	/* in memory it was the attempt's, on disk it is what was known before */
	assert_int_equal(generation(0), g - 1);
	start();
	assert_int_equal(place_of(77), REMAP_NO_SLOT);
}

static void what_was_acknowledged_outlives_hidden_attempts(void **state)
{
	(void)state;
	format(4096);
	start();
	moves(500, REMAP_NO_SLOT);
	moves_until_power_goes(77, REMAP_NO_SLOT, 2);
	zones_fail(disk.no_read, 3, true);
	zones_fail(disk.no_write, 3, true);
	start();
	moves(88, REMAP_NO_SLOT);
	zones_fail(disk.no_read, 3, false);
	zones_fail(disk.no_write, 3, false);
	destroy_zone(2);
	start();
	assert_int_equal(place_of(77), REMAP_NO_SLOT);
	assert_int_not_equal(place_of(88), REMAP_NO_SLOT);
}

static void a_superblock_that_cannot_be_read_is_outdone(void **state)
{
	u64 b, before;

	(void)state;
	format(4096);
	start();
	before = meta->super.generation;
	b = remap_super_sector(&layout, 3, before + 1) / 8;
	disk.no_read[b] = disk.no_write[b] = true;
	start();
	assert_true(meta->super.generation > before + 2);
	assert_true(remap_meta_whole(meta));
	disk.no_read[b] = disk.no_write[b] = false;
	/* zeroes instead are enough where they can be written */
	start();
	before = meta->super.generation;
	disk.no_read[remap_super_sector(&layout, 1, before + 1) / 8] = disk.heals = true;
	assert_states(2, REMAP_REPLICA_UNREADABLE);
	start();
	assert_int_equal(meta->super.generation, before);
	assert_states(0, REMAP_REPLICA_OK);
}

static void an_old_copy_that_does_not_read_is_overwritten(void **state)
{
	enum remap_replica_state found[REMAP_ZONES];
	u64 b, g;

	(void)state;
	format(4096);
	start();
	moves(500, REMAP_NO_SLOT);
	g = generation(0);
	b = remap_table_sector(&layout, 4, 0, g + 1) / 8;
	disk.no_read[b] = true;
	assert_states(1U << 4, REMAP_REPLICA_UNREADABLE);
	remap_meta_verify(meta, true, found);
	assert_int_equal(found[4], REMAP_REPLICA_UNREADABLE);
	disk.heals = true;
	remap_meta_verify(meta, true, found);
	assert_int_equal(found[4], REMAP_REPLICA_OK);
	assert_int_equal(generation(0), g);
}

/* ---- what too few zones know ---- */

static void a_slot_is_not_free_before_others_know_the_new_one(void **state)
{
	u32 from;

	(void)state;
	format(DISK_SECTORS);
	start();
	from = moves(77, REMAP_NO_SLOT);
	meta->hint = REMAP_ENTRIES + 3;
	assert_int_equal(moves_until_power_goes(77, from, 1) / REMAP_ENTRIES, 1);
	/* zones 1 to 4 take no second table block now */
	table_fails(disk.no_write, 0x1e, 1, true);
	start();
	assert_true(frozen(77));
	assert_false(remap_meta_whole(meta));
	table_fails(disk.no_write, 0x1e, 1, false);
	/* and zone 0 loses its one */
	memset(at_sector(remap_table_sector(&layout, 0, 1, 0)), 0x5a, 2 * REMAP_MD_BLOCK);
	start();
	assert_int_equal(place_of(77), from);
}

static void an_older_copy_that_looks_the_same_is_no_witness(void **state)
{
	u32 slot;

	(void)state;
	format(4096);
	start();
	moves(500, REMAP_NO_SLOT);
	/* zones 1 and 3 miss that 77 moved ... */
	zones_fail(disk.no_write, 0x0a, true);
	slot = moves(77, REMAP_NO_SLOT);
	/* ... and all but zone 0 that it is back, so that 1 and 3 seem to know */
	remap_meta_set(meta, slot, &nothing);
	disk.writes_left = 1;
	(void)!remap_meta_commit(meta, false);
	zones_fail(disk.no_write, 0x1a, true);
	start();
	assert_true(frozen(77));
	zones_fail(disk.no_write, 0x1a, false);
	destroy_zone(0);
	destroy_zone(2);
	start();
	assert_int_equal(place_of(77), slot);
}

static void what_is_doubtful_is_frozen_on_a_spare_that_cannot_be_written(void **state)
{
	u32 slot;

	(void)state;
	format(4096);
	start();
	slot = moves(77, REMAP_NO_SLOT);
	moves(500, REMAP_NO_SLOT);
	remap_meta_set(meta, slot, &nothing);
	disk.writes_left = 2;
	(void)!remap_meta_commit(meta, false);
	start_readonly();
	assert_true(frozen(77));
	assert_int_equal(place_of(77), REMAP_NO_SLOT);
	assert_false(frozen(500));
	start();
	assert_false(frozen(77));
}

/* ---- what is there from before ---- */

/* A table block of this spare, of which the superblock says that it is not in use. */
static void leave_table(u32 index, u64 g, u64 block)
{
	struct remap_entry e = { .block = block, .seq = 9, .state = REMAP_SLOT_MAPPED };
	u8 table[REMAP_MD_BLOCK];

	remap_table_init(table, index);
	remap_entry_set(table, 0, &e);
	remap_table_seal(table, meta->super.uuid, g);
	for (unsigned int z = 0; z < REMAP_ZONES; z++)
		memcpy(at_sector(remap_table_sector(&layout, z, index, g)), table, sizeof(table));
}

static void a_table_block_begins_above_what_is_there_of_it(void **state)
{
	(void)state;
	for (int variant = 0; variant < 3; variant++) {
		u32 index;
		u64 b;

		format(DISK_SECTORS);
		start();
		index = meta->super.tables_used;
		assert_true(index < layout.tables);
		leave_table(index, 7, 1000);
		leave_table(index, 6, 1000);
		b = remap_table_sector(&layout, 2, index, 7) / 8;
		if (variant == 1) {
			/* it cannot be seen, but comes back */
			table_fails(disk.no_read, 0x1f, index, true);
			table_fails(disk.no_read, 0x1c, index, false);
			memset(at_sector(remap_table_sector(&layout, 2, index, 0)), 0, 8192);
			memset(at_sector(remap_table_sector(&layout, 3, index, 0)), 0, 8192);
			memset(at_sector(remap_table_sector(&layout, 4, index, 0)), 0, 8192);
		} else if (variant == 2) {
			disk.no_write[b] = true;
		}
		for (u64 block = 2000; meta->super.tables_used == index; block++) {
			moves(block, REMAP_NO_SLOT);
			assert_int_equal(remap_meta_room(meta, GFP_NOIO), 0);
		}
		memset(disk.no_read, 0, sizeof(disk.no_read));
		memset(disk.no_write, 0, sizeof(disk.no_write));
		start();
		assert_int_equal(place_of(1000), REMAP_NO_SLOT);
		assert_int_equal(meta->super.tables_used, index + 1);
	}
}

static void another_version_beside_is_not_gone_around(void **state)
{
	struct remap_disk_super *d;
	const char *error = "none";

	(void)state;
	format(4096);
	start();
	end();
	for (unsigned int z = 0; z < REMAP_ZONES; z++) {
		d = at_sector(remap_super_sector(&layout, z, 2));
		memcpy(d, at_sector(remap_super_sector(&layout, z, 1)), REMAP_MD_BLOCK);
		d->version = cpu_to_le32(REMAP_VERSION + 1);
		/* with a bad checksum it is not one */
		if (z == 0) {
			start();
			end();
			memcpy(d, at_sector(remap_super_sector(&layout, z, 1)), REMAP_MD_BLOCK);
			d->version = cpu_to_le32(REMAP_VERSION + 1);
		}
		d->crc = 0;
		d->crc = cpu_to_le32(remap_crc32c(~0U, d, REMAP_MD_BLOCK));
	}
	assert_int_equal(try_start(&error), -EUCLEAN);
	assert_string_equal(error, "spare has a newer format version");
}

#define T(name)	cmocka_unit_test_teardown(name, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(what_was_formatted_while_the_device_was_smaller_is_started),
		T(what_was_formatted_while_the_device_was_larger_does_not_start),
		T(a_device_that_is_enlarged_before_the_load_is_still_found),
		T(an_attempt_that_cannot_be_read_does_not_come_back),
		T(an_attempt_that_can_be_overwritten_costs_no_commit),
		T(what_was_acknowledged_outlives_hidden_attempts),
		T(a_superblock_that_cannot_be_read_is_outdone),
		T(an_old_copy_that_does_not_read_is_overwritten),
		T(a_slot_is_not_free_before_others_know_the_new_one),
		T(an_older_copy_that_looks_the_same_is_no_witness),
		T(what_is_doubtful_is_frozen_on_a_spare_that_cannot_be_written),
		T(a_table_block_begins_above_what_is_there_of_it),
		T(another_version_beside_is_not_gone_around),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
