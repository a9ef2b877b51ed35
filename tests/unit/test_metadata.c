// SPDX-License-Identifier: GPL-2.0-only
/*
 * The metadata on a spare as user space handles them: format, find, verify, repair, update, on a
 * regular file. Writes, flushes and reads of the library go through the functions below, which
 * record, lose and fail them: that is how crashes are tried, by samples. What kernel/format.c
 * decides by itself has tests of its own.
 */
#include <errno.h>
#include <sys/stat.h>
#include "device.h"
#include "spare_file.h"

#define SPARE_BYTES	(1U << 20)
#define DATA_SECTORS	(1U << 20)
#define MD_SECTORS	(REMAP_MD_BLOCK >> 9)

/* ---- the disk between the library and the file ---- */

struct write {
	off_t at;
	unsigned int epoch;		/* flushes before it */
	u8 data[16 * REMAP_MD_BLOCK];
	size_t bytes;
};

static struct {
	bool record;
	struct write log[128];
	unsigned int writes, flushes;
	off_t bad_from, bad_to;		/* reads of these bytes fail */
	off_t ro_from, ro_to;		/* writes of these bytes fail */
	bool mends;			/* what is written can be read again */
} disk;

ssize_t pwrite(int fd, const void *buf, size_t bytes, off_t at)
{
	if (at < disk.ro_to && at + (off_t)bytes > disk.ro_from) {
		errno = EIO;
		return -1;
	}
	if (disk.record) {
		struct write *w = &disk.log[disk.writes++];

		assert_true(disk.writes <= 128 && bytes <= sizeof(w->data));
		w->at = at;
		w->epoch = disk.flushes;
		w->bytes = bytes;
		memcpy(w->data, buf, bytes);
	}
	if (disk.mends && at <= disk.bad_from && at + (off_t)bytes > disk.bad_from)
		disk.bad_from = at + (off_t)bytes;
	else if (disk.mends && at < disk.bad_to && at + (off_t)bytes >= disk.bad_to)
		disk.bad_to = at;
	return syscall(SYS_pwrite64, fd, buf, bytes, at);
}

ssize_t pread(int fd, void *buf, size_t bytes, off_t at)
{
	if (at < disk.bad_to && at + (off_t)bytes > disk.bad_from) {
		errno = EIO;
		return -1;
	}
	return syscall(SYS_pread64, fd, buf, bytes, at);
}

int fsync(int fd)
{
	(void)fd;
	disk.flushes++;
	return 0;
}

/* ---- the spare ---- */

static u8 before[SPARE_BYTES];		/* the file, when recording began */

static const struct remap_super example = {
	.uuid = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 },
	.label = "example",
	.block_size = 4096,
	.sector_size = 512,
	.data_sectors = DATA_SECTORS,
	.created = 1000,
	.data_wwn = "naa.5000c500a1b2c3d4",
	.data_fsuuid = "f41fc187-8029-4834-8b38-927ccae3006c",
};

static int setup(void **state)
{
	char path[] = "/tmp/test_metadata.XXXXXX";
	int fd = mkstemp(path);

	(void)state;
	memset(&disk, 0, sizeof(disk));
	unlink(path);
	spare_open(fd, SPARE_BYTES);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	memset(&disk, 0, sizeof(disk));
	remap_store_close(&st);
	return 0;
}

static void format(const struct remap_super *s)
{
	assert_int_equal(remap_spare_format(&st, s, &err), 0);
}

/* Write a block as generation @g to the zones whose bit is set. */
static void put_table(const struct remap_spare *sp, const void *block, u64 g, unsigned int zones)
{
	put_table_at(sp, 0, block, g, zones);
}

static void put_super(const struct remap_spare *sp, const struct remap_super *s, unsigned int zones)
{
	u8 block[REMAP_MD_BLOCK];

	remap_super_encode(block, s, &sp->layout);
	for (unsigned int z = 0; z < REMAP_ZONES; z++)
		if (zones & 1U << z)
			raw_write(remap_super_sector(&sp->layout, z, s->generation), block,
				  sizeof(block));
}

static void fill(u64 sector, u64 sectors, int byte)
{
	static u8 junk[SPARE_BYTES];

	memset(junk, byte, (size_t)sectors << 9);
	raw_write(sector, junk, (size_t)sectors << 9);
}

/* A spare with entries in generation 2 of its table, on all zones. */
static struct remap_spare populated(void)
{
	struct remap_entry e = { .block = 77, .seq = 5, .state = REMAP_SLOT_MAPPED, .lost = 6 };
	struct remap_spare sp;
	u8 block[REMAP_MD_BLOCK];

	format(&example);
	sp = found();
	remap_table_init(block, 0);
	remap_entry_set(block, 3, &e);
	put_table(&sp, block, 2, 0x1f);
	return sp;
}

static void check_populated(const struct remap_spare *sp)
{
	struct remap_table t;

	assert_int_equal(remap_spare_table(&st, sp, &t, &err), 0);
	assert_int_equal(t.lost_tables, 0);
	assert_int_equal(t.n, 1);
	assert_int_equal(t.used, 1);
	assert_int_equal(t.lost_sectors, 2);
	assert_int_equal(t.slot[0].slot, 3);
	assert_int_equal(t.slot[0].entry.block, 77);
	remap_table_free(&t);
}

/* ---- format ---- */

static void format_writes_what_it_was_given(void **state)
{
	struct remap_spare sp;
	struct remap_verdict v;

	(void)state;
	format(&example);
	sp = found();
	assert_memory_equal(sp.super.uuid, example.uuid, 16);
	assert_string_equal(sp.super.label, "example");
	assert_string_equal(sp.super.data_wwn, example.data_wwn);
	assert_string_equal(sp.super.data_fsuuid, example.data_fsuuid);
	assert_int_equal(sp.super.generation, 1);
	assert_int_equal(sp.super.tables_used, 1);
	assert_int_equal(sp.super.spare_sectors, SPARE_BYTES >> 9);
	assert_int_equal(sp.super.data_sectors, DATA_SECTORS);
	v = verdict(&sp);
	assert_true(v.ok);
}

static void format_names_the_size_that_it_needs(void **state)
{
	char expected[64];

	(void)state;
	st.sectors = 64;
	assert_int_equal(remap_spare_format(&st, &example, &err), -ENOSPC);
	snprintf(expected, sizeof(expected), "32 KiB, needs %llu KiB",
		 (unsigned long long)remap_layout_min_sectors(4096, 1) / 2);
	assert_non_null(strstr(err.text, expected));
}

static void format_leaves_no_superblock_of_an_older_life(void **state)
{
	u64 place[REMAP_SUPER_PLACES];
	struct remap_super old = example, s;
	u8 block[REMAP_MD_BLOCK];
	unsigned int n;

	(void)state;
	for (u32 bs = REMAP_MIN_BLOCK; bs <= REMAP_MAX_BLOCK; bs *= 2) {
		struct remap_spare sp;

		old.block_size = bs;
		old.uuid[0] = (u8)(bs >> 9);
		format(&old);
		/* both copies, as after an update */
		sp = found();
		assert_int_equal(remap_spare_update(&st, &sp, &sp.super, &err), 0);
	}
	format(&example);
	n = remap_super_places(st.sectors, place);
	for (unsigned int i = 0; i < 2 * n; i++) {
		raw_read(place[i / 2] + (i & 1) * MD_SECTORS, block, sizeof(block));
		if (!remap_super_decode(block, REMAP_ANYWHERE, &s))
			assert_memory_equal(s.uuid, example.uuid, 16);
	}
}

/* These sectors cannot be read. */
static void bad_sectors(u64 sector, u64 sectors)
{
	disk.bad_from = (off_t)(sector << 9);
	disk.bad_to = disk.bad_from + (off_t)(sectors << 9);
}

static void format_fails_if_it_does_not_read_back(void **state)
{
	struct remap_layout l;

	(void)state;
	assert_int_equal(remap_layout_compute(&l, st.sectors, 4096), 0);
	/* be it the copy that counts or the other one */
	for (u64 g = 1; g < 3; g++) {
		bad_sectors(remap_table_sector(&l, 3, 0, g), 1);
		assert_int_equal(remap_spare_format(&st, &example, &err), -EIO);
		bad_sectors(remap_super_sector(&l, 3, g), 1);
		assert_int_equal(remap_spare_format(&st, &example, &err), -EIO);
	}
}

/* ---- replicas ---- */

static void any_four_zones_can_be_destroyed(void **state)
{
	static const int junk[] = { 0, 0xff, 0x52 };

	(void)state;
	for (unsigned int survivor = 0; survivor < REMAP_ZONES; survivor++) {
		for (unsigned int j = 0; j < 3; j++) {
			struct remap_spare sp = populated();
			struct remap_verdict v;

			for (unsigned int z = 0; z < REMAP_ZONES; z++)
				if (z != survivor)
					fill(remap_zone_start(&sp.layout, z),
					     sp.layout.band[0].zone_sectors, junk[j]);
			sp = found();
			check_populated(&sp);
			v = verdict(&sp);
			for (unsigned int z = 0; z < REMAP_ZONES; z++)
				assert_int_equal(v.state[z], z == survivor ? REMAP_REPLICA_OK :
						 REMAP_REPLICA_CORRUPT);
			assert_int_equal(remap_spare_repair(&st, &sp, &v, &err), 0);
			assert_true(v.ok);
			fill(remap_zone_start(&sp.layout, survivor),
			     sp.layout.band[0].zone_sectors, 0);
			sp = found();
			check_populated(&sp);
		}
	}
}

static void the_newest_copy_wins_wherever_it_is(void **state)
{
	struct remap_entry e = { .block = 77, .seq = 9, .state = REMAP_SLOT_MAPPED, .lost = 6 };
	struct remap_spare sp = populated();
	struct remap_verdict v;
	u8 block[REMAP_MD_BLOCK];

	(void)state;
	remap_table_init(block, 0);
	put_table(&sp, block, 4, 0x1f);		/* empty again ... */
	remap_entry_set(block, 3, &e);
	put_table(&sp, block, 5, 1U << 3);	/* ... but for zone 3, which knows better */
	check_populated(&sp);
	v = verdict(&sp);
	for (unsigned int z = 0; z < REMAP_ZONES; z++)
		assert_int_equal(v.state[z], z == 3 ? REMAP_REPLICA_OK : REMAP_REPLICA_STALE);
	assert_int_equal(remap_spare_repair(&st, &sp, &v, &err), 0);
	assert_true(v.ok);
}

static void of_one_generation_what_most_replicas_hold_counts(void **state)
{
	struct remap_entry e = { .block = 99, .seq = 9, .state = REMAP_SLOT_MAPPED };
	struct remap_spare sp = populated();
	struct remap_verdict v;
	u8 block[REMAP_MD_BLOCK];

	(void)state;
	remap_table_init(block, 0);
	remap_entry_set(block, 3, &e);
	put_table(&sp, block, 2, 0x3);
	check_populated(&sp);
	v = verdict(&sp);
	assert_int_equal(v.bad_blocks[0] + v.bad_blocks[1], 2);
	assert_int_equal(v.bad_blocks[2] + v.bad_blocks[3] + v.bad_blocks[4], 0);
	assert_int_equal(remap_spare_repair(&st, &sp, &v, &err), 0);
	assert_true(v.ok);
	check_populated(&sp);
}

static void a_replica_that_missed_a_commit_is_stale(void **state)
{
	struct remap_spare sp = populated();
	struct remap_verdict v;

	(void)state;
	/* zone 1 still has generation 1 in copy B, and nothing in A */
	fill(remap_table_sector(&sp.layout, 1, 0, 2), MD_SECTORS, 0);
	v = verdict(&sp);
	assert_int_equal(v.state[1], REMAP_REPLICA_STALE);
	assert_int_equal(v.bad_blocks[1], 1);
	assert_int_equal(v.state[0], REMAP_REPLICA_OK);
}

static void a_sector_that_cannot_be_read_costs_one_block(void **state)
{
	struct remap_super s = example;
	struct remap_spare sp;
	struct remap_verdict v;
	u8 block[REMAP_MD_BLOCK];

	(void)state;
	/* small blocks, for more than one table block */
	s.block_size = 512;
	format(&s);
	sp = found();
	sp.super.tables_used = 3;
	for (u32 i = 1; i < 3; i++) {
		remap_table_init(block, i);
		remap_table_seal(block, s.uuid, 1);
		for (unsigned int z = 0; z < REMAP_ZONES; z++)
			raw_write(remap_table_sector(&sp.layout, z, i, 1), block, sizeof(block));
	}
	assert_int_equal(remap_spare_update(&st, &sp, &sp.super, &err), 0);
	v = verdict(&sp);
	assert_true(v.ok);

	disk.bad_from = (off_t)(remap_table_sector(&sp.layout, 2, 1, 1) << 9) + 1024;
	disk.bad_to = disk.bad_from + 512;
	v = verdict(&sp);
	assert_int_equal(v.state[2], REMAP_REPLICA_UNREADABLE);
	assert_int_equal(v.bad_blocks[2], 1);
	assert_int_equal(v.lost_tables, 0);
}

/* An attempt that nobody was told of, where nothing can be read for now. */
static void hide_table(const struct remap_spare *sp, unsigned int zone)
{
	struct remap_entry e = { .block = 99, .seq = 9, .state = REMAP_SLOT_MAPPED };
	u8 block[REMAP_MD_BLOCK];

	remap_table_init(block, 0);
	remap_entry_set(block, 3, &e);
	put_table(sp, block, 3, 1U << zone);
	bad_sectors(remap_table_sector(&sp->layout, zone, 0, 3) + 3, 1);
}

static void hide_super(const struct remap_spare *sp, unsigned int zone)
{
	struct remap_super s = sp->super;

	s.generation++;
	strcpy(s.label, "hidden");
	put_super(sp, &s, 1U << zone);
	bad_sectors(remap_super_sector(&sp->layout, zone, s.generation) + 3, 1);
}

static void what_hides_beside_the_newest_copy_is_told_and_overwritten(void **state)
{
	static const u8 zero[REMAP_MD_BLOCK];
	u8 block[REMAP_MD_BLOCK];

	(void)state;
	for (unsigned int i = 0; i < 2 * REMAP_ZONES; i++) {
		struct remap_spare sp = populated();
		unsigned int zone = i / 2;
		struct remap_verdict v;
		u64 at;

		at = i % 2 ? remap_super_sector(&sp.layout, zone, 2) :
			     remap_table_sector(&sp.layout, zone, 0, 3);
		i % 2 ? hide_super(&sp, zone) : hide_table(&sp, zone);
		sp = found();
		check_populated(&sp);
		v = verdict(&sp);
		assert_false(v.ok);
		for (unsigned int z = 0; z < REMAP_ZONES; z++) {
			assert_int_equal(v.state[z], z == zone ? REMAP_REPLICA_UNREADABLE :
					 REMAP_REPLICA_OK);
			assert_int_equal(v.bad_blocks[z], z == zone);
		}

		disk.ro_from = (off_t)(at << 9);
		disk.ro_to = disk.ro_from + 512;
		assert_int_equal(remap_spare_repair(&st, &sp, &v, &err), 0);
		assert_int_equal(v.state[zone], REMAP_REPLICA_UNREADABLE);

		/* nothing else is written */
		disk.ro_to = 0;
		disk.mends = disk.record = true;
		disk.writes = 0;
		assert_int_equal(remap_spare_repair(&st, &sp, &v, &err), 0);
		assert_true(v.ok);
		assert_int_equal(disk.writes, 1);
		disk.mends = disk.record = false;
		raw_read(at, block, sizeof(block));
		assert_memory_equal(block, zero, sizeof(zero));
		bad_sectors(0, 0);
		sp = found();
		check_populated(&sp);
		assert_string_equal(sp.super.label, "example");
	}
}

static void both_copies_of_a_block_that_cannot_be_read_are_mended(void **state)
{
	struct remap_spare sp = populated();
	struct remap_verdict v;

	(void)state;
	hide_table(&sp, 3);
	bad_sectors(remap_table_sector(&sp.layout, 3, 0, 0), 2 * MD_SECTORS);
	v = verdict(&sp);
	assert_int_equal(v.state[3], REMAP_REPLICA_UNREADABLE);
	disk.mends = true;
	assert_int_equal(remap_spare_repair(&st, &sp, &v, &err), 0);
	assert_true(v.ok);
	bad_sectors(0, 0);
	sp = found();
	check_populated(&sp);
	assert_true(verdict(&sp).ok);
}

static void repair_writes_nothing_where_all_is_well(void **state)
{
	struct remap_spare sp = populated();
	struct remap_verdict v;

	(void)state;
	disk.record = true;
	assert_int_equal(remap_spare_repair(&st, &sp, &v, &err), 0);
	assert_true(v.ok);
	assert_int_equal(disk.writes, 0);
}

static void a_table_block_without_valid_copy_is_reported(void **state)
{
	struct remap_spare sp = populated();
	struct remap_verdict v;
	struct remap_table t;

	(void)state;
	for (unsigned int z = 0; z < REMAP_ZONES; z++)
		fill(remap_table_sector(&sp.layout, z, 0, 0), 2 * MD_SECTORS, 0xa5);
	v = verdict(&sp);
	assert_false(v.ok);
	assert_int_equal(v.lost_tables, 1);
	assert_int_equal(v.first_lost, 0);
	assert_int_equal(remap_spare_repair(&st, &sp, &v, &err), 0);
	assert_int_equal(v.lost_tables, 1);
	assert_int_equal(remap_spare_table(&st, &sp, &t, &err), 0);
	assert_int_equal(t.lost_tables, 1);
	remap_table_free(&t);
}

static void a_generation_in_the_wrong_copy_does_not_count(void **state)
{
	struct remap_spare sp = populated();
	u8 block[REMAP_MD_BLOCK];

	(void)state;
	remap_table_init(block, 0);
	remap_table_seal(block, sp.super.uuid, 8);
	raw_write(remap_table_sector(&sp.layout, 0, 0, 1), block, sizeof(block));
	check_populated(&sp);
}

static void of_two_entries_for_a_block_the_later_counts(void **state)
{
	struct remap_entry e = { .block = 5, .state = REMAP_SLOT_MAPPED };
	struct remap_spare sp = populated();
	struct remap_table t;
	u8 block[REMAP_MD_BLOCK];

	(void)state;
	remap_table_init(block, 0);
	e.seq = 2;			/* after the wrap */
	remap_entry_set(block, 0, &e);
	e.seq = 0xfffffff0;
	remap_entry_set(block, 1, &e);
	e.seq = 1;
	remap_entry_set(block, 2, &e);
	put_table(&sp, block, 4, 0x1f);
	assert_int_equal(remap_spare_table(&st, &sp, &t, &err), 0);
	assert_int_equal(t.n, 3);
	assert_int_equal(t.used, 1);
	assert_false(t.slot[0].superseded);
	assert_true(t.slot[1].superseded);
	assert_true(t.slot[2].superseded);
	remap_table_free(&t);
}

/* ---- devices that changed ---- */

static void a_grown_spare_is_found(void **state)
{
	struct remap_spare sp = populated();
	struct remap_verdict v;

	(void)state;
	spare_resize(SPARE_BYTES * 5 / 4);
	sp = found();
	check_populated(&sp);

	fill(0, sp.layout.band[0].zone_sectors, 0);
	assert_int_equal(remap_spare_find(&st, false, &sp, &err), -ENODATA);
	assert_non_null(strstr(err.text, "--search"));
	assert_int_equal(remap_spare_find(&st, true, &sp, &err), 0);
	check_populated(&sp);
	assert_int_equal(remap_spare_repair(&st, &sp, &v, &err), 0);
	assert_true(v.ok);
	sp = found();
}

/* What the kernel does for "grow", but for the commit. */
static void grow_file(struct remap_spare *sp, u64 sectors)
{
	assert_int_equal(ftruncate(st.fd, (off_t)(sectors << 9)), 0);
	st.sectors = sectors;
	assert_int_equal(remap_super_grow(&sp->super, sectors), 0);
	assert_int_equal(remap_layout_extend(&sp->layout, &sp->super), 0);
	sp->super.generation++;
	put_super(sp, &sp->super, 0x1f);
}

static void a_spare_that_grew_twice_is_read_and_mended(void **state)
{
	struct remap_entry e = { .block = 4711, .seq = 9, .state = REMAP_SLOT_MAPPED };
	struct remap_spare sp = populated();
	const u32 first = sp.layout.tables * REMAP_ENTRIES;
	u8 block[REMAP_MD_BLOCK];
	struct remap_verdict v;
	struct remap_table t;

	(void)state;
	grow_file(&sp, 3 * (SPARE_BYTES >> 9) + 77);
	grow_file(&sp, 5 * (SPARE_BYTES >> 9));
	sp = found();
	assert_int_equal(sp.layout.bands, 3);
	check_populated(&sp);

	/* an entry in the second band's first table block, which has a gap of numbers before it */
	sp.super.tables_used = 2;
	sp.super.generation++;
	remap_table_init(block, 1);
	remap_entry_set(block, 5, &e);
	remap_table_seal(block, sp.super.uuid, 1);
	for (unsigned int z = 0; z < REMAP_ZONES; z++)
		raw_write(remap_table_sector(&sp.layout, z, 1, 1), block, sizeof(block));
	put_super(&sp, &sp.super, 0x1f);
	sp = found();
	assert_true(verdict(&sp).ok);
	for (unsigned int keep = 0; keep < REMAP_ZONES; keep++) {
		for (unsigned int z = 0; z < REMAP_ZONES; z++)
			for (unsigned int n = 0; n < 3 && z != keep; n++)
				fill(sp.layout.band[n].zone_start[z],
				     sp.layout.band[n].zone_sectors, 0xa5);
		/* without the zone at sector 0 it has to be searched for */
		assert_int_equal(remap_spare_find(&st, keep != 0, &sp, &err), 0);
		assert_int_equal(remap_spare_table(&st, &sp, &t, &err), 0);
		assert_int_equal(t.n, 2);
		assert_int_equal(t.slot[1].slot, first + 5);
		assert_int_equal(t.slot[1].entry.block, 4711);
		assert_true(remap_spare_owns(&st, &sp,
					     remap_slot_sector(&sp.layout, first + 5) << 9));
		assert_false(remap_spare_owns(&st, &sp,
					      remap_slot_sector(&sp.layout, first + 6) << 9));
		remap_table_free(&t);
		assert_int_equal(remap_spare_repair(&st, &sp, &v, &err), 0);
		assert_true(v.ok);
	}
}

static void a_shrunk_spare_can_be_read_but_is_not_written(void **state)
{
	struct remap_spare sp = populated();
	struct remap_verdict v;

	(void)state;
	spare_resize(SPARE_BYTES / 2);
	sp = found();
	check_populated(&sp);
	v = verdict(&sp);
	assert_int_equal(v.state[4], REMAP_REPLICA_UNREADABLE);
	assert_int_equal(remap_spare_repair(&st, &sp, &v, &err), -ENOSPC);
	assert_int_equal(remap_spare_update(&st, &sp, &sp.super, &err), -ENOSPC);
}

/* Formatted while the device had so many sectors, and in use since: both copies are there. */
static struct remap_spare older_life(u64 sectors)
{
	struct remap_super old = example;
	struct remap_spare sp;

	st.sectors = sectors;
	old.uuid[0] = 77;
	old.created = 500;
	format(&old);
	sp = found();
	for (int i = 0; i < 2; i++)
		assert_int_equal(remap_spare_update(&st, &sp, &sp.super, &err), 0);
	st.sectors = SPARE_BYTES >> 9;
	return sp;
}

static void format_leaves_nothing_of_what_zone_0_names(void **state)
{
	struct remap_spare sp;

	(void)state;
	older_life(SPARE_BYTES >> 10);
	format(&example);
	assert_int_equal(remap_spare_find(&st, true, &sp, &err), 0);
	assert_memory_equal(sp.super.uuid, example.uuid, 16);
	assert_false(sp.several_lives);		/* what sector 0 named was overwritten */
}

/* An older life of the whole device, the latest of a part, with no zone where one was. */
#define SMALLER		(SPARE_BYTES * 5 / 8 >> 9)

static struct remap_spare formatted_while_smaller(u64 created)
{
	struct remap_super latest = example;
	struct remap_spare sp;

	older_life(SPARE_BYTES >> 9);
	st.sectors = SMALLER;
	latest.created = created;
	format(&latest);
	sp = found();
	st.sectors = SPARE_BYTES >> 9;
	return sp;
}

static void the_life_that_was_formatted_while_the_device_was_smaller_is_the_latest(void **state)
{
	u8 noise[REMAP_MD_BLOCK];

	(void)state;
	memset(noise, 0x5a, sizeof(noise));
	/* later, within the same second, and by a clock that had been set back */
	for (u64 created = 501; created >= 499; created--) {
		for (unsigned int hurt = 0; hurt < 1U << REMAP_ZONES; hurt += 2) {
			struct remap_spare sp = formatted_while_smaller(created), is;
			int n = __builtin_popcount(hurt);

			for (unsigned int z = 1; z < REMAP_ZONES; z++)
				for (unsigned int copy = 0; hurt >> z & 1 && copy < 2; copy++)
					raw_write(remap_super_sector(&sp.layout, z, copy), noise,
						  sizeof(noise));
			for (unsigned int search = 0; search < 2; search++) {
				int r = remap_spare_find(&st, search, &is, &err);

				if (n > 3 || (created < 500 && n > 2)) {
					assert_int_equal(r, -EUCLEAN);
					assert_non_null(strstr(err.text, "not to be told"));
					continue;
				}
				assert_int_equal(r, 0);
				assert_memory_equal(is.super.uuid, example.uuid, 16);
				assert_int_equal(is.super.spare_sectors, SMALLER);
				assert_int_equal(is.several_lives, search);
			}
		}
	}
}

/* Only zone 0 of the latest life can be seen. */
static void zones_that_cannot_be_seen_do_not_speak_against_a_life(void **state)
{
	struct remap_spare sp = formatted_while_smaller(1000), is;

	(void)state;
	disk.bad_from = (off_t)remap_zone_start(&sp.layout, 1) << 9;
	disk.bad_to = SMALLER << 9;
	assert_int_equal(remap_spare_find(&st, false, &is, &err), 0);
	assert_memory_equal(is.super.uuid, example.uuid, 16);
}

static void zones_beyond_the_end_do_not_speak_against_a_life(void **state)
{
	static u8 kept[REMAP_ZONES][2 * REMAP_MD_BLOCK];
	struct remap_spare sp = older_life(SMALLER), is;

	(void)state;
	for (unsigned int z = 0; z < REMAP_ZONES; z++)
		raw_read(remap_zone_start(&sp.layout, z), kept[z], sizeof(kept[z]));
	format(&example);
	for (unsigned int z = 1; z < REMAP_ZONES; z++)
		raw_write(remap_zone_start(&sp.layout, z), kept[z], sizeof(kept[z]));
	st.sectors = SMALLER;
	is = found();
	assert_memory_equal(is.super.uuid, example.uuid, 16);
	assert_true(is.super.spare_sectors > st.sectors);
}

/* The first sectors are an old copy: what it names is gone. */
static void a_stale_zone_0_brings_no_older_life_back(void **state)
{
	u8 kept[2 * REMAP_MD_BLOCK], none[2 * REMAP_MD_BLOCK] = { 0 };
	struct remap_spare is;

	(void)state;
	older_life(SMALLER);
	raw_read(0, kept, sizeof(kept));
	format(&example);
	raw_write(0, kept, sizeof(kept));
	assert_int_equal(remap_spare_find(&st, false, &is, &err), -EUCLEAN);
	assert_non_null(strstr(err.text, "of 1280 sectors in zones 0;"));
	assert_non_null(strstr(err.text, "of 2048 sectors in zones 1 2 3 4 "));
	raw_write(0, none, sizeof(none));
	is = found();
	assert_memory_equal(is.super.uuid, example.uuid, 16);
	/* nor on a device that has the old size again */
	st.sectors = SMALLER;
	assert_int_equal(remap_spare_find(&st, false, &is, &err), -ENODATA);
	assert_int_equal(remap_spare_find(&st, true, &is, &err), 0);
	assert_memory_equal(is.super.uuid, example.uuid, 16);
}

static void a_later_life_with_unknown_features_hides_an_older_one(void **state)
{
	struct remap_spare sp = formatted_while_smaller(1000), is;
	struct remap_super s = sp.super;

	(void)state;
	s.incompat = 8;
	put_super(&sp, &s, 0x1f);
	for (unsigned int search = 0; search < 2; search++) {
		assert_int_equal(remap_spare_find(&st, search, &is, &err), -EOPNOTSUPP);
		assert_non_null(strstr(err.text, "incompat 0x8;"));
	}
}

/* Each 64 KiB of a hostile device begins with a superblock that is where it says it should be. */
static void a_search_does_not_collect_for_ever(void **state)
{
	struct remap_super s = example;
	struct remap_spare sp;
	struct remap_layout l;
	u8 block[REMAP_MD_BLOCK];

	(void)state;
	spare_resize((REMAP_MAX_FOUND * 128L + 4096) << 9);
	for (unsigned int i = 16; i < REMAP_MAX_FOUND + 20; i++) {
		s.spare_sectors = i * 4 * 128ULL;
		s.created++;
		memcpy(s.uuid, &i, sizeof(i));
		assert_int_equal(remap_layout_compute(&l, s.spare_sectors, s.block_size), 0);
		s.spare_sectors += l.band[0].zone_sectors;
		assert_int_equal(remap_layout_compute(&l, s.spare_sectors, s.block_size), 0);
		s.generation = 2;
		remap_super_encode(block, &s, &l);
		raw_write(l.band[0].zone_start[1], block, sizeof(block));
		s.generation = 1;
		remap_super_encode(block, &s, &l);
		raw_write(l.band[0].zone_start[1] + MD_SECTORS, block, sizeof(block));
	}
	assert_int_equal(remap_spare_find(&st, true, &sp, &err), -EUCLEAN);
	assert_non_null(strstr(err.text, "more than 1024 superblocks"));
}

/* ---- features ---- */

static void an_unknown_feature_is_not_evaded_by_an_older_generation(void **state)
{
	struct remap_spare sp = populated();
	struct remap_super s = sp.super;

	(void)state;
	s.generation = 2;
	s.incompat = 2;
	put_super(&sp, &s, 0x1f);
	assert_int_equal(remap_spare_find(&st, false, &sp, &err), -EOPNOTSUPP);
}

/* Somewhere on the spare that is not in its zones, but in those of one with other blocks. */
static u64 place_of_an_older_life(const struct remap_spare *sp)
{
	u64 place[REMAP_SUPER_PLACES];
	unsigned int n = remap_super_places(st.sectors, place);

	for (unsigned int i = 0, z; i < n; i++) {
		for (z = 0; z < REMAP_ZONES && remap_zone_start(&sp->layout, z) != place[i]; z++)
			;
		if (z == REMAP_ZONES)
			return place[i];
	}
	fail();
	return 0;
}

static void unknown_features_of_an_older_life_do_not_hide_those_of_this_one(void **state)
{
	struct remap_spare sp, is;
	u8 block[REMAP_MD_BLOCK];
	struct remap_super s;

	(void)state;
	spare_resize(8 * SPARE_BYTES);	/* or the zones of all are in the same places */
	sp = populated();
	s = sp.super;
	s.uuid[0] = 99;
	s.generation = 100;
	s.incompat = 4;
	remap_super_encode(block, &s, &sp.layout);
	raw_write(place_of_an_older_life(&sp), block, sizeof(block));
	is = found();
	check_populated(&is);

	s = sp.super;
	s.generation = 2;
	s.incompat = 2;
	put_super(&sp, &s, 1U << 4);
	for (unsigned int search = 0; search < 2; search++) {
		assert_int_equal(remap_spare_find(&st, search, &is, &err), -EOPNOTSUPP);
		assert_non_null(strstr(err.text, "incompat 0x2;"));
	}
}

/* @block is of version 1 yet */
static void put_version_2(u64 sector, u8 *block)
{
	struct remap_disk_super *d = (void *)block;

	d->version = cpu_to_le32(2);
	d->crc = 0;
	d->crc = cpu_to_le32(remap_crc32c(~0U, block, REMAP_MD_BLOCK));
	raw_write(sector, block, REMAP_MD_BLOCK);
}

static void a_superblock_of_another_version_is_not_gone_around(void **state)
{
	struct remap_spare sp, is;
	u8 block[REMAP_MD_BLOCK];

	(void)state;
	spare_resize(8 * SPARE_BYTES);
	sp = populated();
	/* of an older life it may be */
	remap_super_encode(block, &sp.super, &sp.layout);
	put_version_2(place_of_an_older_life(&sp), block);
	is = found();
	check_populated(&is);

	for (unsigned int i = 0; i < 8 * REMAP_ZONES; i++) {
		/* and on a device that has grown, the zones are not where its size suggests */
		bool search = i & 2, grown = i & 4;

		spare_resize(8 * SPARE_BYTES);
		sp = populated();
		if (grown)
			spare_resize(10 * SPARE_BYTES);
		remap_super_encode(block, &sp.super, &sp.layout);
		put_version_2(remap_super_sector(&sp.layout, i / 8, i & 1), block);
		assert_int_equal(remap_spare_find(&st, search, &is, &err), -EOPNOTSUPP);
		assert_non_null(strstr(err.text, "format version"));
	}
}

static void an_unknown_ro_feature_forbids_writing(void **state)
{
	struct remap_spare sp = populated();
	struct remap_super s = sp.super;
	struct remap_verdict v;

	(void)state;
	s.generation = 2;
	s.ro_compat = 1;
	put_super(&sp, &s, 0x1f);
	sp = found();
	check_populated(&sp);
	assert_int_equal(remap_spare_repair(&st, &sp, &v, &err), -EROFS);
	assert_int_equal(remap_spare_update(&st, &sp, &sp.super, &err), -EROFS);
}

/* ---- crashes ---- */

static void record(void)
{
	raw_read(0, before, sizeof(before));
	disk.writes = disk.flushes = 0;
	disk.record = true;
}

/*
 * The file as a crash in @epoch may leave it: earlier writes are all there; of the writes of the
 * epoch each sector may be there or not.
 */
static void crash(unsigned int epoch, unsigned int *seed)
{
	static u8 image[SPARE_BYTES];
	int how = rand_r(seed) % 4;

	memcpy(image, before, sizeof(image));
	for (unsigned int i = 0; i < disk.writes; i++) {
		const struct write *w = &disk.log[i];
		bool whole = how == 0 ? rand_r(seed) % 2 : how == 1;

		if (w->epoch > epoch)
			break;
		for (size_t b = 0; b < w->bytes; b += 512)
			if (w->epoch < epoch || whole || (how > 1 && rand_r(seed) % 2))
				memcpy(image + w->at + b, w->data + b, 512);
	}
	raw_write(0, image, sizeof(image));
}

static void format_is_all_or_nothing(void **state)
{
	struct remap_super other = example;
	unsigned int seed = 1, old = 0, none = 0, made = 0;

	(void)state;
	populated();
	record();
	other.uuid[0] = 99;
	other.block_size = 512;
	other.created = 2000;
	format(&other);
	disk.record = false;
	assert_true(disk.flushes >= 3);
	for (int i = 0; i < 1000; i++) {
		struct remap_spare sp;
		int r;

		crash((unsigned int)i % (disk.flushes + 1), &seed);
		r = remap_spare_find(&st, false, &sp, &err);
		if (r) {
			/* a torn superblock is no valid one */
			assert_int_equal(r, -ENODATA);
			none++;
		} else if (sp.super.uuid[0] == 99) {
			assert_int_equal(verdict(&sp).lost_tables, 0);
			made++;
		} else {
			check_populated(&sp);
			old++;
		}
	}
	/* all three have been seen, or nothing was tested */
	assert_true(old && none && made);
}

static void update_is_all_or_nothing(void **state)
{
	struct remap_spare sp = populated();
	struct remap_super next = sp.super;
	unsigned int seed = 2, old = 0, made = 0;

	(void)state;
	strcpy(next.data_serial, "S3Z");
	record();
	assert_int_equal(remap_spare_update(&st, &sp, &next, &err), 0);
	assert_int_equal(sp.super.generation, 2);
	disk.record = false;
	for (int i = 0; i < 500; i++) {
		crash((unsigned int)i % (disk.flushes + 1), &seed);
		sp = found();
		check_populated(&sp);
		if (*sp.super.data_serial)
			made++;
		else
			old++;
		assert_string_equal(sp.super.data_serial, sp.super.generation == 2 ? "S3Z" : "");
	}
	assert_true(old && made);
}

static void repair_never_loses_anything(void **state)
{
	struct remap_spare sp = populated();
	unsigned int seed = 3;
	struct remap_verdict v;

	(void)state;
	fill(sp.layout.band[0].zone_start[0], sp.layout.band[0].zone_sectors, 0);
	fill(sp.layout.band[0].zone_start[2], sp.layout.band[0].zone_sectors, 0xff);
	fill(remap_table_sector(&sp.layout, 3, 0, 2), MD_SECTORS, 0);
	fill(remap_table_sector(&sp.layout, 4, 0, 2), MD_SECTORS, 0);
	record();
	assert_int_equal(remap_spare_repair(&st, &sp, &v, &err), 0);
	assert_true(v.ok);
	disk.record = false;
	for (int i = 0; i < 500; i++) {
		crash((unsigned int)i % (disk.flushes + 1), &seed);
		sp = found();
		check_populated(&sp);
	}
}

static void update_needs_three_replicas(void **state)
{
	struct remap_spare sp = populated();

	(void)state;
	disk.ro_from = (off_t)(sp.layout.band[0].zone_start[3] << 9);
	disk.ro_to = SPARE_BYTES;
	assert_int_equal(remap_spare_update(&st, &sp, &sp.super, &err), 0);
	disk.ro_from = (off_t)(sp.layout.band[0].zone_start[2] << 9);
	assert_int_equal(remap_spare_update(&st, &sp, &sp.super, &err), -EIO);
	assert_int_equal(sp.super.generation, 2);
}

/* A superblock that reached one zone only may die with it, whatever an update does meanwhile. */
static void update_first_secures_the_newest(void **state)
{
	struct remap_spare sp = populated();
	struct remap_super s = sp.super;
	unsigned int seed = 4;

	(void)state;
	s.generation = 2;
	put_super(&sp, &s, 1U << 2);
	sp = found();
	assert_int_equal(sp.super.generation, 2);
	record();
	assert_int_equal(remap_spare_update(&st, &sp, &sp.super, &err), 0);
	assert_int_equal(sp.super.generation, 3);
	disk.record = false;
	for (int i = 0; i < 500; i++) {
		crash((unsigned int)i % (disk.flushes + 1), &seed);
		fill(sp.layout.band[0].zone_start[2], sp.layout.band[0].zone_sectors, 0);
		sp = found();
		check_populated(&sp);
	}
}

/* ---- restore ---- */

/* What an export of populated() would have said. */
static struct remap_table exported(const struct remap_spare *sp)
{
	struct remap_table t;

	assert_int_equal(remap_spare_table(&st, sp, &t, &err), 0);
	assert_int_equal(t.generation, 2);
	return t;
}

static void destroy_zones(const struct remap_spare *sp, int byte)
{
	for (unsigned int z = 0; z < REMAP_ZONES; z++)
		fill(remap_zone_start(&sp->layout, z), sp->layout.band[0].zone_sectors, byte);
}

static void restore(const struct remap_spare *sp, const struct remap_table *t)
{
	if (remap_spare_restore(&st, sp, t, &err))
		fail_msg("%s", err.text);
}

static void a_restored_spare_is_what_it_was(void **state)
{
	static const int junk[] = { 0, 0xff, 0x52 };
	struct remap_spare sp = populated(), again;
	struct remap_table t = exported(&sp);

	(void)state;
	for (unsigned int j = 0; j < 3; j++) {
		destroy_zones(&sp, junk[j]);
		assert_int_equal(remap_spare_find(&st, false, &again, &err), -ENODATA);
		restore(&sp, &t);
		again = found();
		assert_true(remap_super_same_spare(&again.super, &sp.super));
		assert_string_equal(again.super.label, sp.super.label);
		assert_string_equal(again.super.data_wwn, sp.super.data_wwn);
		assert_int_equal(again.super.created, sp.super.created);
		assert_int_equal(again.super.tables_used, sp.super.tables_used);
		check_populated(&again);
		assert_true(verdict(&again).ok);
	}
	remap_table_free(&t);
}

static void a_spare_that_grew_is_restored(void **state)
{
	struct remap_entry e = { .block = 4711, .seq = 9, .state = REMAP_SLOT_MAPPED };
	struct remap_spare sp = populated(), again;
	u8 block[REMAP_MD_BLOCK];
	struct remap_table t;

	(void)state;
	grow_file(&sp, 3 * (SPARE_BYTES >> 9) + 77);
	grow_file(&sp, 5 * (SPARE_BYTES >> 9));
	sp.super.tables_used = 3;
	sp.super.generation++;
	for (u32 i = 1; i < 3; i++) {
		remap_table_init(block, i);
		if (i == 2)
			remap_entry_set(block, 5, &e);
		remap_table_seal(block, sp.super.uuid, 1);
		for (unsigned int z = 0; z < REMAP_ZONES; z++)
			raw_write(remap_table_sector(&sp.layout, z, i, 1), block, sizeof(block));
	}
	put_super(&sp, &sp.super, 0x1f);
	sp = found();
	assert_int_equal(remap_spare_table(&st, &sp, &t, &err), 0);
	assert_int_equal(t.n, 2);
	for (unsigned int z = 0; z < REMAP_ZONES; z++)
		for (unsigned int n = 0; n < 3; n++)
			fill(sp.layout.band[n].zone_start[z], sp.layout.band[n].zone_sectors, 0);
	restore(&sp, &t);
	remap_table_free(&t);
	again = found();
	assert_int_equal(again.layout.bands, 3);
	assert_true(verdict(&again).ok);
	assert_int_equal(remap_spare_table(&st, &again, &t, &err), 0);
	assert_int_equal(t.n, 2);
	assert_int_equal(t.slot[1].slot, 2 * REMAP_ENTRIES + 5);
	assert_int_equal(t.slot[1].entry.block, 4711);
	remap_table_free(&t);
}

/* Zones of other block sizes would be where there are slots in use. */
static void restore_leaves_the_slots_alone(void **state)
{
	struct remap_slot slot[1024];
	struct remap_table t = { .slot = slot, .generation = 5 };
	u8 block[REMAP_MD_BLOCK], same[REMAP_MD_BLOCK];
	u64 place[REMAP_SUPER_PLACES];
	unsigned int n, in_slots = 0;
	struct remap_spare sp;

	(void)state;
	assert_int_equal(ftruncate(st.fd, 4 * SPARE_BYTES), 0);
	st.sectors = (4 * SPARE_BYTES) >> 9;
	format(&example);
	sp = found();
	t.n = sp.layout.slots;
	sp.super.tables_used = sp.layout.tables;
	assert_true(t.n > 900 && t.n <= 1024);
	n = remap_super_places(st.sectors, place);
	for (u32 i = 0; i < t.n; i++) {
		u64 at = remap_slot_sector(&sp.layout, i);

		slot[i] = (struct remap_slot){
			.slot = i, .entry = { .block = i, .seq = i, .state = REMAP_SLOT_MAPPED },
		};
		fill(at, 8, (int)i % 255 + 1);
		for (unsigned int k = 0; k < n; k++)
			in_slots += place[k] == at;
	}
	assert_true(in_slots > 0);	/* or nothing is tested */
	destroy_zones(&sp, 0xff);
	restore(&sp, &t);
	for (u32 i = 0; i < t.n; i++) {
		memset(same, (int)i % 255 + 1, sizeof(same));
		raw_read(remap_slot_sector(&sp.layout, i), block, sizeof(block));
		assert_memory_equal(block, same, sizeof(block));
	}
	/* in slots that are not in use they are no one's, and wiped */
	t.n = 0;
	restore(&sp, &t);
	memset(same, 0, sizeof(same));
	for (u32 i = 0; i < sp.layout.slots; i++) {
		u64 at = remap_slot_sector(&sp.layout, i);

		for (unsigned int k = 0; k < n; k++) {
			if (place[k] != at)
				continue;
			raw_read(at, block, sizeof(block));
			assert_memory_equal(block, same, sizeof(block));
		}
	}
}

/* Of the same uuid, where it belongs, and of any generation: it must not win. */
static void what_survived_does_not_win(void **state)
{
	struct remap_entry e = { .block = 99, .seq = 50, .state = REMAP_SLOT_MAPPED };
	struct remap_super s = example;
	struct remap_table t = { .generation = 7 }, back;
	struct remap_spare sp;
	u8 block[REMAP_MD_BLOCK];

	(void)state;
	s.block_size = 512;		/* for more than one table block */
	format(&s);
	sp = found();
	assert_true(sp.layout.tables >= 4);
	for (u32 i = 0; i < 4; i++) {
		for (u64 g = 1000; g < 1002; g++) {
			remap_table_init(block, i);
			remap_entry_set(block, 3, &e);
			remap_table_seal(block, s.uuid, g + i);
			for (unsigned int z = i % 2; z < REMAP_ZONES; z++)
				raw_write(remap_table_sector(&sp.layout, z, i, g + i), block,
					  sizeof(block));
		}
	}
	sp.super.tables_used = 2;
	restore(&sp, &t);
	sp = found();
	assert_int_equal(sp.super.tables_used, 2);
	assert_int_equal(remap_spare_table(&st, &sp, &back, &err), 0);
	assert_int_equal(back.n + back.lost_tables, 0);
	remap_table_free(&back);

	/* as they come into use where nothing is there: see remap_meta_room() in kernel/meta.c */
	for (u32 i = 2; i < 4; i++) {
		remap_table_init(block, i);
		remap_table_seal(block, s.uuid, 1);
		for (unsigned int z = 0; z < REMAP_ZONES; z++)
			raw_write(remap_table_sector(&sp.layout, z, i, 1), block, sizeof(block));
	}
	s = sp.super;
	s.tables_used = 4;
	assert_int_equal(remap_spare_update(&st, &sp, &s, &err), 0);
	assert_int_equal(remap_spare_table(&st, &sp, &back, &err), 0);
	assert_int_equal(back.n + back.lost_tables, 0);
	remap_table_free(&back);
	assert_true(verdict(&sp).ok);
}

static void restore_is_all_or_nothing(void **state)
{
	struct remap_entry e = { .block = 88, .seq = 6, .state = REMAP_SLOT_MAPPED };
	unsigned int seed = 5, old = 0, none = 0, made = 0;
	struct remap_spare sp = populated(), newer = sp;
	struct remap_table t = exported(&sp), back;
	u8 block[REMAP_MD_BLOCK];

	(void)state;
	/* since then a block was moved, and the superblock written anew */
	remap_table_init(block, 0);
	remap_entry_set(block, 4, &e);
	put_table(&sp, block, 3, 0x1f);
	assert_int_equal(remap_spare_update(&st, &newer, &newer.super, &err), 0);
	record();
	restore(&sp, &t);
	disk.record = false;
	assert_true(disk.flushes >= 3);
	remap_table_free(&t);
	for (int i = 0; i < 1000; i++) {
		struct remap_spare is;
		int r;

		crash((unsigned int)i % (disk.flushes + 1), &seed);
		r = remap_spare_find(&st, false, &is, &err);
		if (r) {
			assert_int_equal(r, -ENODATA);
			none++;
		} else if (is.super.generation > 1000) {
			check_populated(&is);
			made++;
		} else {
			/* be it generation 1 or 2 of the superblock: it is the table that counts */
			assert_int_equal(remap_spare_table(&st, &is, &back, &err), 0);
			assert_int_equal(back.n, 1);
			assert_int_equal(back.slot[0].entry.block, 88);
			remap_table_free(&back);
			old++;
		}
	}
	assert_true(old && none && made);
}

static void what_cannot_be_is_not_restored(void **state)
{
	struct remap_slot good = { .slot = 3, .entry = { .block = 77, .seq = 5,
							 .state = REMAP_SLOT_MAPPED } };
	struct remap_spare sp = populated(), bad;
	struct remap_slot slot[2] = { good, good };
	struct remap_table t = { .slot = slot, .n = 2, .generation = 2 };

	(void)state;
	disk.record = true;
	/* twice, in the wrong order, beyond the slots, beyond the table blocks */
	assert_int_equal(remap_spare_restore(&st, &sp, &t, &err), -EINVAL);
	slot[1].slot = 2;
	assert_int_equal(remap_spare_restore(&st, &sp, &t, &err), -EINVAL);
	slot[1].slot = sp.layout.slots;
	assert_int_equal(remap_spare_restore(&st, &sp, &t, &err), -EINVAL);
	slot[1].slot = REMAP_ENTRIES;
	assert_int_equal(remap_spare_restore(&st, &sp, &t, &err), -EINVAL);
	/* no such block, no such sector, no such state */
	slot[1] = (struct remap_slot){ .slot = 4, .entry = { .block = DATA_SECTORS / 8,
							     .state = REMAP_SLOT_MAPPED } };
	assert_int_equal(remap_spare_restore(&st, &sp, &t, &err), -EINVAL);
	slot[1].entry = (struct remap_entry){ .lost = 0x100, .state = REMAP_SLOT_MAPPED };
	assert_int_equal(remap_spare_restore(&st, &sp, &t, &err), -EINVAL);
	slot[1].entry = (struct remap_entry){ .state = 3 };
	assert_int_equal(remap_spare_restore(&st, &sp, &t, &err), -EINVAL);
	t.n = 1;
	t.generation = REMAP_MAX_GENERATION - 1;
	assert_int_equal(remap_spare_restore(&st, &sp, &t, &err), -EINVAL);
	t.generation = 2;
	bad = sp;
	bad.super.generation = REMAP_MAX_GENERATION - 1;
	assert_int_equal(remap_spare_restore(&st, &bad, &t, &err), -EINVAL);
	bad = sp;
	bad.super.sector_size = 8192;
	assert_int_equal(remap_spare_restore(&st, &bad, &t, &err), -EINVAL);
	bad = sp;
	bad.super.tables_used = 2;
	assert_int_equal(remap_spare_restore(&st, &bad, &t, &err), -EINVAL);
	bad = sp;
	bad.super.ro_compat = 1;
	assert_int_equal(remap_spare_restore(&st, &bad, &t, &err), -EROFS);
	st.sectors--;
	assert_int_equal(remap_spare_restore(&st, &sp, &t, &err), -ENOSPC);
	st.sectors++;
	assert_int_equal(disk.writes, 0);
	assert_int_equal(remap_spare_restore(&st, &sp, &t, &err), 0);
}

static void a_spare_is_restored_onto_a_larger_device(void **state)
{
	struct remap_spare sp = populated(), is;
	struct remap_table t = exported(&sp);

	(void)state;
	destroy_zones(&sp, 0);
	assert_int_equal(ftruncate(st.fd, SPARE_BYTES * 5 / 4), 0);
	st.sectors = (SPARE_BYTES * 5 / 4) >> 9;
	restore(&sp, &t);
	remap_table_free(&t);
	is = found();
	assert_int_equal(is.super.spare_sectors, SPARE_BYTES >> 9);
	check_populated(&is);
	fill(0, sp.layout.band[0].zone_sectors, 0);
	assert_int_equal(remap_spare_find(&st, true, &is, &err), 0);
	check_populated(&is);
}

static void restore_fails_if_it_does_not_read_back(void **state)
{
	struct remap_spare sp = populated();
	struct remap_table t = exported(&sp);

	(void)state;
	disk.bad_from = (off_t)(remap_table_sector(&sp.layout, 3, 0, 2) << 9);
	disk.bad_to = disk.bad_from + 512;
	assert_int_equal(remap_spare_restore(&st, &sp, &t, &err), -EIO);
	disk.ro_from = disk.bad_from;
	disk.ro_to = disk.bad_to;
	assert_int_equal(remap_spare_restore(&st, &sp, &t, &err), -EIO);
	remap_table_free(&t);
}

/* ---- block by block ---- */

static void each_block_of_each_replica_has_its_state(void **state)
{
	struct remap_spare sp = populated();
	struct remap_blocks b;
	struct remap_verdict v;

	(void)state;
	fill(remap_super_sector(&sp.layout, 1, 1), MD_SECTORS, 0x11);
	fill(remap_table_sector(&sp.layout, 2, 0, 2), MD_SECTORS, 0x11);
	disk.bad_from = (off_t)(remap_table_sector(&sp.layout, 4, 0, 2) << 9);
	disk.bad_to = disk.bad_from + 512;
	assert_int_equal(remap_spare_blocks(&st, &sp, &v, &b, &err), 0);
	assert_int_equal(b.n, 2);
	assert_int_equal(b.found[0].index, REMAP_SUPER_INDEX);
	assert_int_equal(b.found[1].index, 0);
	for (unsigned int z = 0; z < REMAP_ZONES; z++) {
		assert_int_equal(b.found[0].state[z], z == 1 ? REMAP_REPLICA_CORRUPT :
				 REMAP_REPLICA_OK);
		assert_int_equal(b.found[1].state[z], z == 2 ? REMAP_REPLICA_STALE :
				 z == 4 ? REMAP_REPLICA_UNREADABLE : REMAP_REPLICA_OK);
		assert_int_equal(b.found[0].copy[2 * z + 1], z == 1 ? 0 : 1);
		assert_int_equal(b.found[1].copy[2 * z], z == 2 || z == 4 ? 0 : 2);
		assert_int_equal(b.found[1].copy[2 * z + 1], 1);
		assert_int_equal(!b.found[1].bytes[2 * z], z == 4);
		assert_int_equal(v.bad_blocks[z], z == 1 || z == 2 || z == 4);
	}
	remap_blocks_free(&b);
}

/* ---- other devices ---- */

static void wipe_leaves_no_signature(void **state)
{
	static const char magic[] = "CD001";	/* ISO 9660, with the terminator behind it */
	struct remap_signature sig;
	u8 sector[2048] = { 1 };

	(void)state;
	memset(sector + 7, 'x', 33);
	memcpy(sector + 1, magic, 5);
	sector[6] = 1;
	raw_write(64, sector, sizeof(sector));
	assert_int_equal(remap_dev_foreign(&st, NULL, &sig, &err), 1);
	assert_int_equal(remap_dev_wipe(&st, NULL, &err), 0);
	assert_int_equal(remap_dev_foreign(&st, NULL, &sig, &err), 0);
}

/* What mkswap leaves on a device: nothing but the first page. */
static void put_swap(void)
{
	u8 page[4096] = { 0 };

	page[1024] = 1;			/* version, in CPU order */
	page[1029] = 1;			/* last page: 256 */
	memset(page + 1036, 7, 16);	/* UUID */
	memcpy(page + 4086, "SWAPSPACE2", 10);
	raw_write(0, page, sizeof(page));
}

static void a_foreign_signature_in_one_copy_is_found(void **state)
{
	struct remap_signature sig;
	struct remap_verdict v;
	struct remap_spare sp;

	(void)state;
	sp = populated();
	assert_int_equal(remap_dev_foreign(&st, &sp, &sig, &err), 0);
	/* the superblock of generation 1 is copy B, which does not suffer */
	put_swap();
	sp = found();
	v = verdict(&sp);
	assert_true(v.ok);
	assert_int_equal(remap_dev_foreign(&st, &sp, &sig, &err), 1);
	assert_int_equal(sig.at, 4086);
	assert_string_equal(sig.what, "a swap signature");
	assert_int_equal(remap_dev_wipe(&st, &sp, &err), 0);
	assert_int_equal(remap_dev_foreign(&st, &sp, &sig, &err), 0);
	check_populated(&sp);
}

static void a_signature_in_a_used_slot_is_the_users_own(void **state)
{
	struct remap_entry e = { .block = 16, .seq = 5, .state = REMAP_SLOT_MAPPED };
	u8 reiser[512] = { 0 }, back[512], block[REMAP_MD_BLOCK];
	struct remap_signature sig;
	struct remap_spare sp;
	u64 at;

	(void)state;
	format(&example);
	sp = found();
	at = remap_slot_sector(&sp.layout, 0);
	assert_int_equal(at, 128);	/* or libblkid would not look there */
	reiser[13] = 1;			/* journal far behind */
	reiser[45] = 0x10;		/* blocks of 4096 */
	memcpy(reiser + 52, "ReIsEr2Fs", 9);
	raw_write(at, reiser, sizeof(reiser));
	assert_int_equal(remap_dev_foreign(&st, &sp, &sig, &err), 1);
	assert_int_equal(sig.at, 65536 + 52);

	remap_table_init(block, 0);
	remap_entry_set(block, 0, &e);
	put_table(&sp, block, 2, 0x1f);
	assert_int_equal(remap_dev_foreign(&st, &sp, &sig, &err), 0);
	/* another one beside it is still found, and only that is wiped */
	put_swap();
	assert_int_equal(remap_dev_foreign(&st, &sp, &sig, &err), 1);
	assert_int_equal(sig.at, 4086);
	assert_int_equal(remap_dev_wipe(&st, &sp, &err), 0);
	raw_read(at, back, sizeof(back));
	assert_memory_equal(back, reiser, sizeof(back));
}

static void a_spare_owns_valid_copies_and_used_slots(void **state)
{
	struct remap_spare sp = populated();
	const struct remap_layout *l = &sp.layout;

	(void)state;
	for (unsigned int z = 0; z < REMAP_ZONES; z++) {
		assert_false(remap_spare_owns(&st, &sp, remap_super_sector(l, z, 0) << 9));
		assert_true(remap_spare_owns(&st, &sp, (remap_super_sector(l, z, 1) << 9) + 4095));
		assert_true(remap_spare_owns(&st, &sp, remap_table_sector(l, z, 0, 1) << 9));
		assert_true(remap_spare_owns(&st, &sp, remap_table_sector(l, z, 0, 2) << 9));
		assert_false(remap_spare_owns(&st, &sp, remap_table_sector(l, z, 1, 0) << 9));
	}
	for (u32 slot = 0; slot < l->slots; slot++)
		assert_int_equal(remap_spare_owns(&st, &sp, remap_slot_sector(l, slot) << 9),
				 slot == 3);
	/* what was in slots that nothing is known of any more is not for wiping */
	for (unsigned int z = 0; z < REMAP_ZONES; z++)
		fill(remap_table_sector(l, z, 0, 0), 2 * MD_SECTORS, 0xa5);
	assert_true(remap_spare_owns(&st, &sp, remap_slot_sector(l, 7) << 9));
}

static void what_is_planned_says_which_slots_are_in_use(void **state)
{
	struct remap_slot slot[] = {
		{ .slot = 2, .entry.state = REMAP_SLOT_MAPPED },
		{ .slot = 7, .entry.state = REMAP_SLOT_BAD },
		{ .slot = 9, .entry.state = REMAP_SLOT_MAPPED },
	};
	const struct remap_table t = { .slot = slot, .n = 3 };
	struct remap_spare sp = populated();
	const struct remap_layout *l = &sp.layout;

	(void)state;
	sp.planned = &t;
	for (u32 i = 0; i < l->slots; i++)
		assert_int_equal(remap_spare_owns(&st, &sp, remap_slot_sector(l, i) << 9),
				 i == 2 || i == 7 || i == 9);
}

static void a_disk_that_tells_less_is_not_taken_for_the_same(void **state)
{
	const struct remap_identity all = { .wwn = "naa.5", .serial = "S3Z", .fsuuid = "aaaa" };
	const struct remap_identity same_fs = { .fsuuid = "aaaa" }, other_fs = { .fsuuid = "b" };
	const struct remap_identity none = { .wwn = "" };
	const char *which;

	(void)state;
	assert_int_equal(remap_identity_match(&all, &other_fs, &which), REMAP_MATCH_FS_DIFFERS);
	assert_int_equal(remap_identity_match(&all, &same_fs, &which), REMAP_MATCH_YES);
	assert_int_equal(remap_identity_match(&all, &none, &which), REMAP_MATCH_NONE);
	assert_true(remap_identity_shares(&all, &same_fs));
	assert_false(remap_identity_shares(&all, &other_fs));
	assert_false(remap_identity_shares(&all, &none));
	assert_false(remap_identity_shares(&none, &none));
}

static void repair_says_which_zones_stay_bad(void **state)
{
	struct remap_spare sp = populated();
	struct remap_verdict v;

	(void)state;
	fill(sp.layout.band[0].zone_start[1], sp.layout.band[0].zone_sectors, 0);
	fill(sp.layout.band[0].zone_start[3], sp.layout.band[0].zone_sectors, 0);
	disk.ro_from = (off_t)(sp.layout.band[0].zone_start[3] << 9);
	disk.ro_to = disk.ro_from + (off_t)(sp.layout.band[0].zone_sectors << 9);
	assert_int_equal(remap_spare_repair(&st, &sp, &v, &err), 0);
	assert_int_equal(v.state[1], REMAP_REPLICA_OK);
	assert_int_equal(v.state[3], REMAP_REPLICA_CORRUPT);
	assert_false(v.ok);
}

#define TEST(t)	cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(format_writes_what_it_was_given),
		TEST(format_names_the_size_that_it_needs),
		TEST(format_leaves_no_superblock_of_an_older_life),
		TEST(format_fails_if_it_does_not_read_back),
		TEST(any_four_zones_can_be_destroyed),
		TEST(the_newest_copy_wins_wherever_it_is),
		TEST(of_one_generation_what_most_replicas_hold_counts),
		TEST(a_replica_that_missed_a_commit_is_stale),
		TEST(a_sector_that_cannot_be_read_costs_one_block),
		TEST(what_hides_beside_the_newest_copy_is_told_and_overwritten),
		TEST(both_copies_of_a_block_that_cannot_be_read_are_mended),
		TEST(repair_writes_nothing_where_all_is_well),
		TEST(a_table_block_without_valid_copy_is_reported),
		TEST(a_generation_in_the_wrong_copy_does_not_count),
		TEST(of_two_entries_for_a_block_the_later_counts),
		TEST(a_grown_spare_is_found),
		TEST(a_spare_that_grew_twice_is_read_and_mended),
		TEST(a_shrunk_spare_can_be_read_but_is_not_written),
		TEST(an_unknown_feature_is_not_evaded_by_an_older_generation),
		TEST(unknown_features_of_an_older_life_do_not_hide_those_of_this_one),
		TEST(a_superblock_of_another_version_is_not_gone_around),
		TEST(an_unknown_ro_feature_forbids_writing),
		TEST(format_is_all_or_nothing),
		TEST(update_is_all_or_nothing),
		TEST(repair_never_loses_anything),
		TEST(update_needs_three_replicas),
		TEST(repair_says_which_zones_stay_bad),
		TEST(format_leaves_nothing_of_what_zone_0_names),
		TEST(the_life_that_was_formatted_while_the_device_was_smaller_is_the_latest),
		TEST(zones_that_cannot_be_seen_do_not_speak_against_a_life),
		TEST(zones_beyond_the_end_do_not_speak_against_a_life),
		TEST(a_stale_zone_0_brings_no_older_life_back),
		TEST(a_later_life_with_unknown_features_hides_an_older_one),
		TEST(update_first_secures_the_newest),
		TEST(a_search_does_not_collect_for_ever),
		TEST(wipe_leaves_no_signature),
		TEST(a_foreign_signature_in_one_copy_is_found),
		TEST(a_signature_in_a_used_slot_is_the_users_own),
		TEST(a_spare_owns_valid_copies_and_used_slots),
		TEST(a_disk_that_tells_less_is_not_taken_for_the_same),
		TEST(what_is_planned_says_which_slots_are_in_use),
		TEST(a_restored_spare_is_what_it_was),
		TEST(a_spare_that_grew_is_restored),
		TEST(restore_leaves_the_slots_alone),
		TEST(what_survived_does_not_win),
		TEST(restore_is_all_or_nothing),
		TEST(what_cannot_be_is_not_restored),
		TEST(a_spare_is_restored_onto_a_larger_device),
		TEST(restore_fails_if_it_does_not_read_back),
		TEST(each_block_of_each_replica_has_its_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
