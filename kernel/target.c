// SPDX-License-Identifier: GPL-2.0-only
/*
 * dm-remap: keeps a disk with bad blocks in service.
 *
 * The target lies over a disk (the data device) and looks just like it: sector n is sector n.
 * When a write to a block fails, the block is moved to a slot of a second device (the spare),
 * with its other sectors; the spare remembers where each block went. Table line, messages and
 * status line are described in include/remap/abi.h.
 *
 * This file has the hot path, map() and end_io(), and the device-mapper side of everything else.
 * For each I/O the hot path asks one question of the map (map.h) and counts each write in a
 * per-CPU counter; it takes no lock, allocates nothing and writes to no line that another CPU
 * writes. Whatever takes longer is for the relocator's worker, see relocate.c.
 */
#include <linux/delay.h>
#include <linux/module.h>
#include "target.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

#define DM_MSG_PREFIX "remap"

#define DEFAULT_BURST	1024
#define DEFAULT_WINDOW	10	/* seconds */
#define MOVE_PATIENCE	(10 * HZ)	/* of a message, with I/O that holds its blocks */

/* ---- the hot path ---- */

/*
 * A flush goes to both devices, but to the spare only if something was written there since its
 * last flush. Without a shared counter for writes: flushes are numbered as they begin; a write
 * to a slot that is done notes the current number, and if it is there already, writes nothing.
 * A flush that has succeeded covers all writes that noted a lower number than its own.
 */
static void raise(atomic64_t *number, s64 to)
{
	s64 at = atomic64_read(number);

	while (at < to && !atomic64_try_cmpxchg(number, &at, to))
		;
}

static void note_slot_write(struct remap_target *rt)
{
	raise(&rt->written_at, atomic64_read(&rt->flushes));
}

static int map_flush(struct remap_target *rt, struct remap_bio *rb, struct bio *bio)
{
	rb->rt = rt;
	if (dm_bio_get_target_bio_nr(bio) == 0) {
		rb->flush = atomic64_read(&rt->flushes);
		rb->way |= REMAP_FLUSHES;
		bio_set_dev(bio, rt->data);
		return DM_MAPIO_REMAPPED;
	}
	/* a full barrier: writes that were done before are seen below, later ones see the number */
	rb->flush = atomic64_inc_return(&rt->flushes);
	if (atomic64_read(&rt->written_at) <= atomic64_read(&rt->clean_at)) {
		bio_endio(bio);
		return DM_MAPIO_SUBMITTED;
	}
	rb->way |= REMAP_FLUSHES | REMAP_WRITES_SPARE;
	bio_set_dev(bio, rt->spare);
	return DM_MAPIO_REMAPPED;
}

/*
 * A write that is to follow a flush (REQ_PREFLUSH) becomes two: device-mapper sends the flush by
 * itself, then the data, however the flush went. A journal's commit would be written to the one
 * device, and what it speaks of be gone from the cache of the other. So from when a flush of a
 * device has failed until a later one succeeds, writes with REQ_FUA, as commits are, fail. The
 * worker sees to it that there is a later one. That one succeeds does not mean that what the first
 * did not write is not lost, so those that came before it fail all the same, as on one disk. Since
 * a failure has a number, too, it is known which one is later; those of the data device have that
 * of the latest flush of the spare.
 */
static void set_unflushed(struct remap_target *rt, bool spare)
{
	raise(&rt->unflushed[spare], atomic64_inc_return(&rt->flushes));
	/* and the next one goes there */
	if (spare)
		note_slot_write(rt);
}

static void flush_failed(struct remap_target *rt, bool spare)
{
	raise(&rt->failed_at[spare], atomic64_inc_return(&rt->flushes));
	set_unflushed(rt, spare);
}

static void flush_done(struct remap_target *rt, bool spare, s64 number)
{
	s64 failed = atomic64_read(&rt->unflushed[spare]);

	if (spare)
		raise(&rt->clean_at, number - 1);
	if (failed && failed <= number)
		atomic64_cmpxchg(&rt->unflushed[spare], failed, 0);
}

/*
 * A flush has ended, of whichever device. If one that was under way with it failed, that may have
 * been its other half, and another flush have succeeded since: the write is still to come.
 */
static void flush_ended(struct remap_target *rt, s64 number)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rt->failed_at); i++)
		if (number < atomic64_read(&rt->failed_at[i]))
			set_unflushed(rt, i);
}

/* To a read-only spare nothing was written. */
static bool is_device_unflushed(struct remap_target *rt, bool spare)
{
	return atomic64_read(&rt->unflushed[spare]) && !(spare && rt->meta.readonly);
}

static bool is_unflushed(struct remap_target *rt)
{
	return is_device_unflushed(rt, false) || is_device_unflushed(rt, true);
}

void remap_flush_again(struct remap_target *rt)
{
	struct block_device *device[] = { rt->data, rt->spare };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(device); i++) {
		s64 number;

		if (!is_device_unflushed(rt, i))
			continue;
		number = atomic64_inc_return(&rt->flushes);
		DMERR_LIMIT("%s: a flush of %s failed: writes that were to be durable fail, too",
			    rt->name, i ? rt->spare_dev->name : rt->data_dev->name);
		if (!blkdev_issue_flush(device[i]))
			flush_done(rt, i, number);
	}
}

/* What becomes of a bio in which a block has a value. */
enum fate {
	FATE_DATA,		/* it goes where it always went */
	FATE_SLOT,		/* to the block's slot */
	FATE_WAIT,		/* for the worker, as the block is marked */
	FATE_WRITE_AGAIN,	/* likewise, as if it had failed */
	FATE_REFUSED,		/* the submitter cannot wait */
	FATE_DONE,
	FATE_KILL,
};

/*
 * @block, which has a @value, is the first such one of the bio: cut the bio there, tell what
 * becomes of its first part. In an RCU section, so nothing is done about it here.
 */
static enum fate look_closer(struct remap_target *rt, struct remap_bio *rb, struct bio *bio,
			     sector_t sector, u64 block, u32 value)
{
	u64 first = sector >> rt->block_shift, end;

	/* either up to that block, or, if it is the first, that block alone */
	end = (block == first ? block + 1 : block) << rt->block_shift;
	if (end - sector < bio_sectors(bio)) {
		/*
		 * What cannot wait goes in one piece or not at all: of many pieces one might be
		 * refused (there are only so many tags) when others are on their way.
		 */
		if (bio->bi_opf & REQ_NOWAIT)
			return FATE_REFUSED;
		dm_accept_partial_bio(bio, end - sector);
	}
	if (block != first)
		return FATE_DATA;

	/* to discard is to advise: a block that is not in its place keeps what it has */
	if (bio_op(bio) == REQ_OP_DISCARD)
		return FATE_DONE;
	/* before the mark is looked at: the worker would write to where the rest of the block is */
	if (unlikely(rt->meta.readonly && op_is_write(bio_op(bio))))
		return FATE_KILL;
	if (value & REMAP_VALUE_SPECIAL)
		return FATE_WAIT;
	/* the spare may not know how to, and it is written as a failed write is again */
	if (bio_op(bio) == REQ_OP_WRITE_ZEROES)
		return FATE_WRITE_AGAIN;
	/*
	 * Reads of a slot count too: it is not given to another block under them. That they do so
	 * only after the look-up is in order, as both are in one RCU section: whoever saw no mark
	 * has counted itself before the epoch turns.
	 */
	if (rb->way == REMAP_NOT_COUNTED)
		remap_count(rt, rb, first, first);
	return FATE_SLOT;
}

static int map_to_data(struct remap_target *rt, struct remap_bio *rb, struct bio *bio,
		       sector_t sector)
{
	bio->bi_iter.bi_sector = rt->data_start + sector;
	rb->iter = bio->bi_iter;
	bio_set_dev(bio, rt->data);
	return DM_MAPIO_REMAPPED;
}

/* The rest of map() where a block has a value; leaves its RCU section. */
static noinline int map_closer(struct remap_target *rt, struct remap_bio *rb, struct bio *bio,
			       sector_t sector, u64 block, u32 value)
	__releases(RCU_SCHED)
{
	enum fate fate = look_closer(rt, rb, bio, sector, block, value);

	rcu_read_unlock_sched();

	/* from here on, with PREEMPT_RT, locks may sleep */
	if (fate == FATE_SLOT) {
		bio->bi_iter.bi_sector = rt->data_start + sector;
		rb->iter = bio->bi_iter;
		remap_to_slot(rt, rb, bio, value);
		return DM_MAPIO_REMAPPED;
	}
	map_to_data(rt, rb, bio, sector);	/* so does the worker, unless to a slot */
	if (fate == FATE_DATA)
		return DM_MAPIO_REMAPPED;
	remap_uncount(rt, rb);
	if (fate == FATE_KILL)
		return DM_MAPIO_KILL;
	if (fate == FATE_DONE)
		bio_endio(bio);
	else if (fate == FATE_REFUSED || bio->bi_opf & REQ_NOWAIT)
		bio_wouldblock_error(bio);
	else
		remap_relocator_take(rt, fate == FATE_WAIT ? &rt->waiting : &rt->failed, bio);
	return DM_MAPIO_SUBMITTED;
}

/* The rest of map() for what is in one block that has a value; leaves its RCU section. */
static noinline notrace int map_to_slot(struct remap_target *rt, struct remap_bio *rb,
					struct bio *bio, sector_t sector, u64 block, u32 value)
	__releases(RCU_SCHED)
{
	bool plain = bio_op(bio) == REQ_OP_READ || bio_op(bio) == REQ_OP_WRITE;

	if (unlikely(!plain || value & REMAP_VALUE_SPECIAL || rt->meta.readonly))
		return map_closer(rt, rb, bio, sector, block, value);
	/* as there, in short */
	if (rb->way == REMAP_NOT_COUNTED)
		remap_count(rt, rb, block, block);
	rcu_read_unlock_sched();
	bio->bi_iter.bi_sector = rt->data_start + sector;
	rb->iter = bio->bi_iter;
	remap_to_slot(rt, rb, bio, value);
	return DM_MAPIO_REMAPPED;
}

/* Likewise where the block may have a value. */
static noinline notrace int map_block(struct remap_target *rt, struct remap_bio *rb,
				      struct bio *bio, sector_t sector, u64 block, u64 entry)
	__releases(RCU_SCHED)
{
	u32 value = remap_map_value(entry, block);

	if (value != REMAP_VALUE_NONE)
		return map_to_slot(rt, rb, bio, sector, block, value);
	rcu_read_unlock_sched();
	return map_to_data(rt, rb, bio, sector);
}

/* Likewise for what is to be durable where a flush before it has failed: so does this. */
static noinline int map_unflushed(struct remap_target *rt, struct remap_bio *rb, struct bio *bio,
				  sector_t sector)
	__releases(RCU_SCHED)
{
	rcu_read_unlock_sched();
	map_to_data(rt, rb, bio, sector);
	rb->way |= REMAP_UNFLUSHED;
	remap_relocator_take(rt, &rt->failed, bio);
	return DM_MAPIO_SUBMITTED;
}

/* The rest of map() for what is in more than one block; leaves its RCU section. */
static noinline int map_blocks(struct remap_target *rt, struct remap_bio *rb, struct bio *bio,
			       sector_t sector, u64 first, u64 last)
	__releases(RCU_SCHED)
{
	u64 block;
	u32 value;

	if (op_is_write(bio_op(bio))) {
		if (unlikely(bio->bi_opf & REQ_FUA) && is_unflushed(rt))
			return map_unflushed(rt, rb, bio, sector);
		remap_count(rt, rb, first, last);
	}
	if (unlikely(remap_map_touches(&rt->map, first, last))) {
		block = remap_map_next(&rt->map, first, last, &value);
		if (block != REMAP_MAP_END)
			return map_closer(rt, rb, bio, sector, block, value);
	}
	rcu_read_unlock_sched();
	return map_to_data(rt, rb, bio, sector);
}

/* Nothing to look up: a flush, which device-mapper sends apart from the data, or the like. */
static noinline int map_empty(struct remap_target *rt, struct remap_bio *rb, struct bio *bio,
			      sector_t sector)
{
	if (bio->bi_opf & REQ_PREFLUSH) {
		rb->iter.bi_size = 0;
		return map_flush(rt, rb, bio);
	}
	return map_to_data(rt, rb, bio, sector);
}

/*
 * Every instruction of this, and of the way through end_io() to its first return, is paid for by
 * every I/O: see "make bench". What is rare is in functions of its own, which are called last, so
 * that this one does not save registers for them.
 */
static int remap_map(struct dm_target *ti, struct bio *bio)
{
	struct remap_target *rt = ti->private;
	struct remap_bio *rb = remap_bio(bio);
	sector_t sector = bio->bi_iter.bi_sector - rt->begin;
	u64 first, last, entry, sectors = bio->bi_iter.bi_size;

	OPTIMIZER_HIDE_VAR(sectors);	/* else it is extended to 64 bits once more below */
	sectors >>= SECTOR_SHIFT;
	/* one store */
	rb->way = REMAP_NOT_COUNTED;
	rb->done = false;
	rb->moving = false;
	if (unlikely(!sectors))
		return map_empty(rt, rb, bio, sector);

	first = sector >> rt->block_shift;
	last = (sector + sectors - 1) >> rt->block_shift;
	/*
	 * The order, epoch before map, in one RCU section, is what drain() relies on. Nothing in it
	 * sleeps, so it is one that costs three instructions and not two calls.
	 */
	rcu_read_lock_sched();
	if (unlikely(first != last))
		return map_blocks(rt, rb, bio, sector, first, last);
	if (likely(op_is_write(bio_op(bio)))) {	/* lest writes jump twice */
		if (unlikely(bio->bi_opf & REQ_FUA) && is_unflushed(rt))
			return map_unflushed(rt, rb, bio, sector);
		remap_count(rt, rb, first, first);
	}
	entry = remap_map_root(&rt->map, first);
	if (unlikely(entry) && remap_map_may_have(entry, first))
		return map_block(rt, rb, bio, sector, first, entry);
	rcu_read_unlock_sched();
	return map_to_data(rt, rb, bio, sector);
}

/* Is a failed bio one for the worker, or is its error to be passed up? */
static bool is_for_worker(struct remap_target *rt, struct remap_bio *rb, struct bio *bio,
			  blk_status_t error)
{
	enum remap_state state = READ_ONCE(rt->state);

	if (!remap_error_is_medium(error) || !rb->iter.bi_size)
		return false;
	switch (bio_op(bio)) {
	case REQ_OP_READ:
		/*
		 * Who reads ahead or has another copy wants to know soon, not surely. A medium
		 * error is the device's: what is asked of transports (by dm-multipath) or of
		 * drivers says nothing of it, as in scsi_noretry_cmd().
		 */
		if (bio->bi_opf & (REQ_RAHEAD | REQ_FAILFAST_DEV) ||
		    !READ_ONCE(rt->relocate_reads))
			return false;
		if (state == REMAP_FAILED)
			return !(rb->way & REMAP_ON_SPARE);
		return state != REMAP_PAUSED;
	case REQ_OP_WRITE:
	case REQ_OP_WRITE_ZEROES:
		return state == REMAP_ACTIVE || state == REMAP_EXHAUSTED;
	default:
		return false;
	}
}

/* What went to the spare has arrived, or what was not counted. */
static noinline int end_io_rare(struct remap_bio *rb)
{
	struct remap_target *rt;

	if (!(rb->way & (REMAP_ON_SPARE | REMAP_FLUSHES)))
		return DM_ENDIO_DONE;
	rt = rb->rt;
	if (rb->way & REMAP_FLUSHES) {
		flush_done(rt, rb->way & REMAP_WRITES_SPARE, rb->flush);
		flush_ended(rt, rb->flush);
	} else if (rb->way & REMAP_WRITES_SPARE) {
		note_slot_write(rt);
	}
	/* not counted: there is a counter for that, too */
	this_cpu_dec(rt->inflight->count[rb->way & REMAP_COUNTER]);
	return DM_ENDIO_DONE;
}

/* A write has arrived, or a read that has been to the spare. */
static noinline notrace int end_io_counted(struct bio *bio)
{
	struct remap_bio *rb = remap_bio(bio);

	if (unlikely(rb->way >= REMAP_NOT_COUNTED))
		return end_io_rare(rb);
	this_cpu_dec(rb->inflight->count[rb->way]);
	return DM_ENDIO_DONE;
}

static noinline __noclone int end_io_failed(struct dm_target *ti, struct bio *bio,
					    blk_status_t *error)
{
	struct remap_target *rt = ti->private;
	struct remap_bio *rb = remap_bio(bio);

	remap_uncount(rt, rb);
	if (rb->done)
		return DM_ENDIO_DONE;
	if (rb->way & REMAP_FLUSHES) {
		flush_failed(rt, rb->way & REMAP_WRITES_SPARE);
		flush_ended(rt, rb->flush);
	}
	if (is_for_worker(rt, rb, bio, *error)) {
		remap_relocator_take(rt, &rt->failed, bio);
		return DM_ENDIO_INCOMPLETE;
	}
	if (*error != BLK_STS_AGAIN) {
		atomic64_inc(&rt->io_errors);
		if (rb->way & REMAP_ON_SPARE && READ_ONCE(rt->state) != REMAP_FAILED)
			remap_relocator_suspect(rt);
	}
	return DM_ENDIO_DONE;
}

static int remap_end_io(struct dm_target *ti, struct bio *bio, blk_status_t *error)
{
	struct remap_target *rt = ti->private;

	if (unlikely(*error))
		return end_io_failed(ti, bio, error);
	/*
	 * Reads are counted only if they go to the spare. A device below that sends bios on as they
	 * are may have changed bi_bdev, but not from the spare to the data device, which we hold
	 * exclusively.
	 */
	if (!op_is_write(bio_op(bio)) && likely(bio->bi_bdev == rt->uncounted))
		return DM_ENDIO_DONE;
	return end_io_counted(bio);
}

/* ---- spares in use ---- */

/* Also where one is the whole disk and the other a partition of it. */
static bool areas_overlap(struct block_device *a, sector_t a_start, sector_t a_len,
			  struct block_device *b, sector_t b_start, sector_t b_len)
{
	if (a->bd_disk != b->bd_disk)
		return false;
	a_start += get_start_sect(a);
	b_start += get_start_sect(b);
	return a_start < b_start + b_len && b_start < a_start + a_len;
}

/*
 * A spare has one master. Device-mapper opens devices for all its targets under one name, so it
 * does not see to that. A table that is loaded to replace another one has the same spare: it
 * takes it over when it becomes live, while the old one is suspended.
 */
static DEFINE_MUTEX(active_lock);
static LIST_HEAD(active_spares);

static bool spares_overlap(const struct remap_target *a, const struct remap_target *b)
{
	return areas_overlap(a->spare, a->spare_start, a->claimed, b->spare, b->spare_start,
			     b->claimed);
}

/* Who else has this spare, now? The table that @rt replaces does not count. */
static bool spare_taken(struct remap_target *rt)
{
	struct mapped_device *md = dm_table_get_md(rt->ti->table);
	struct remap_target *other;

	list_for_each_entry(other, &active_spares, active)
		if (other != rt && spares_overlap(rt, other) &&
		    (dm_table_get_md(other->ti->table) != md || other->ti->table == rt->ti->table))
			return true;
	return false;
}

static int spare_claim(struct remap_target *rt)
{
	int r = 0;

	mutex_lock(&active_lock);
	if (spare_taken(rt))
		r = -EBUSY;
	else if (list_empty(&rt->active))
		list_add(&rt->active, &active_spares);
	mutex_unlock(&active_lock);
	return r;
}

/* Have @sectors of the spare, which must not be somebody else's. Return: what was claimed before */
static u64 spare_reclaim(struct remap_target *rt, u64 sectors)
{
	u64 before;

	mutex_lock(&active_lock);
	before = rt->claimed;
	rt->claimed = sectors;
	if (spare_taken(rt)) {
		rt->claimed = before;
		before = 0;
	}
	mutex_unlock(&active_lock);
	return before;
}

/* Has a flush that the table before this one was to do failed? Its commit may come to this one. */
static bool replaces_unflushed(struct remap_target *rt)
{
	struct mapped_device *md = dm_table_get_md(rt->ti->table);
	struct remap_target *other;
	bool any = false;

	mutex_lock(&active_lock);
	list_for_each_entry(other, &active_spares, active)
		if (dm_table_get_md(other->ti->table) == md && other->ti->table != rt->ti->table)
			any = any || is_unflushed(other);
	mutex_unlock(&active_lock);
	return any;
}

static void spare_release(struct remap_target *rt)
{
	mutex_lock(&active_lock);
	list_del_init(&rt->active);
	mutex_unlock(&active_lock);
}

/* ---- construction ---- */

/* One option; also for the message "set". Return: 0 or -EINVAL, nothing changed. */
static int set_option(struct remap_target *rt, const char *key, const char *value, bool message)
{
	u64 n;

	if (!strcmp(key, "on_read_error")) {
		if (strcmp(value, "relocate") && strcmp(value, "pass"))
			return -EINVAL;
		WRITE_ONCE(rt->relocate_reads, !strcmp(value, "relocate"));
		return 0;
	}
	if (kstrtou64(value, 10, &n))
		return -EINVAL;
	if (!strcmp(key, "verify") && n <= 1)
		WRITE_ONCE(rt->verify, n);
	else if (!strcmp(key, "burst") && n <= UINT_MAX)
		WRITE_ONCE(rt->burst, n);
	else if (!strcmp(key, "window") && n && n <= 86400)
		WRITE_ONCE(rt->window, n);
	else if (!strcmp(key, "force") && n <= 1 && !message)
		rt->force = n;
	else if (!strcmp(key, "spare_size") && n && !message)
		rt->spare_size = n;
	else
		return -EINVAL;
	return 0;
}

static int parse_options(struct remap_target *rt, struct dm_arg_set *as, char **error)
{
	static const struct dm_arg words[] = {
		{ 0, 32, "Invalid number of option words" },
	};
	unsigned int n;
	int r;

	if (!as->argc)
		return 0;
	r = dm_read_arg_group(words, as, &n, error);
	if (r)
		return r;
	if (n % 2 || n != as->argc) {
		*error = "Options come as pairs of name and value, their words counted";
		return -EINVAL;
	}
	for (; n; n -= 2) {
		const char *key = dm_shift_arg(as);

		if (set_option(rt, key, dm_shift_arg(as), false)) {
			*error = "Unknown option or bad value";
			DMERR("%s: unknown option or bad value: %s", rt->name, key);
			return -EINVAL;
		}
	}
	return 0;
}

static int open_device(struct dm_target *ti, struct dm_arg_set *as, struct dm_dev **dev,
		       sector_t *start)
{
	const char *path = dm_shift_arg(as);
	u64 offset;
	int r;

	if (kstrtou64(dm_shift_arg(as), 10, &offset) || offset != (sector_t)offset)
		return -EINVAL;
	*start = offset;
	r = dm_get_device(ti, path, dm_table_get_mode(ti->table), dev);
	if (r)
		DMERR("cannot open %s: error %d", path, r);
	return r;
}

/* What format promised about the devices must be true of these. */
static int check_devices(struct dm_target *ti, struct remap_target *rt)
{
	const struct remap_super *s = &rt->meta.super;
	unsigned int lbs = max(bdev_logical_block_size(rt->data),
			       bdev_logical_block_size(rt->spare));

	if (s->data_sectors != ti->len) {
		DMERR("%s: spare belongs to a data device of %llu sectors, not %llu", rt->name,
		      s->data_sectors, (u64)ti->len);
		ti->error = "Spare belongs to a data device of another size";
		return -EINVAL;
	}
	if (s->sector_size < lbs) {
		ti->error = "Devices have larger logical sectors than the spare was formatted for";
		return -EINVAL;
	}
	/* older kernels take it from a target unchecked, and their page cache cannot serve it */
	if (s->sector_size > max_t(unsigned int, lbs, PAGE_SIZE)) {
		DMERR("%s: spare was formatted for logical sectors of %u bytes, a page has %lu",
		      rt->name, s->sector_size, PAGE_SIZE);
		ti->error = "Spare was formatted for logical sectors larger than a page";
		return -EINVAL;
	}
	if (bdev_is_zoned(rt->data) || bdev_is_zoned(rt->spare)) {
		ti->error = "Zoned devices are not supported";
		return -EINVAL;
	}
	/* a read-only spare is another matter: all that is in its place goes on */
	if (remap_table_is_writable(ti->table) && bdev_read_only(rt->data)) {
		ti->error = "Data device is read-only, the table is not (dmsetup create -r)";
		return -EROFS;
	}
	if (areas_overlap(rt->data, rt->data_start, ti->len, rt->spare, rt->spare_start,
			  s->spare_sectors)) {
		ti->error = "Data and spare overlap";
		return -EINVAL;
	}
	return 0;
}

static void remap_dtr(struct dm_target *ti)
{
	struct remap_target *rt = ti->private;

	remap_relocator_exit(rt);
	spare_release(rt);
	remap_map_destroy(&rt->map);
	remap_meta_close(&rt->meta);
	free_percpu(rt->inflight);
	if (rt->spare_dev)
		dm_put_device(ti, rt->spare_dev);
	if (rt->data_dev)
		dm_put_device(ti, rt->data_dev);
	mutex_destroy(&rt->message_lock);
	kvfree(rt);
}

static int remap_ctr(struct dm_target *ti, unsigned int argc, char **argv)
{
	struct mapped_device *md = dm_table_get_md(ti->table);
	struct dm_arg_set as = { .argc = argc, .argv = argv };
	struct remap_target *rt;
	const char *error;
	unsigned int part;
	u64 size;
	int r;

	if (argc < 4) {
		ti->error = "Needs: <data dev> <offset> <spare dev> <offset> [<options>]";
		return -EINVAL;
	}
	rt = kvzalloc(sizeof(*rt), GFP_KERNEL);
	if (!rt) {
		ti->error = "Out of memory";
		return -ENOMEM;
	}
	ti->private = rt;
	rt->ti = ti;
	rt->begin = ti->begin;
	rt->name = dm_device_name(md);
	rt->dev = disk_devt(dm_disk(md));
	rt->verify = true;
	rt->relocate_reads = true;
	rt->burst = DEFAULT_BURST;
	rt->window = DEFAULT_WINDOW;
	mutex_init(&rt->message_lock);
	INIT_LIST_HEAD(&rt->active);
	/* the table that this one replaces may have written to slots: see preresume */
	atomic64_set(&rt->flushes, 1);
	atomic64_set(&rt->written_at, 1);
	xa_init(&rt->meta.tables);	/* dtr finds it in order, whatever fails first */

	ti->error = "Cannot open data device";
	r = open_device(ti, &as, &rt->data_dev, &rt->data_start);
	if (r)
		goto bad;
	ti->error = "Cannot open spare device";
	r = open_device(ti, &as, &rt->spare_dev, &rt->spare_start);
	if (r)
		goto bad;
	rt->data = rt->data_dev->bdev;
	rt->spare = rt->spare_dev->bdev;
	rt->uncounted = rt->data == rt->spare ? NULL : rt->data;
	ti->error = NULL;
	r = parse_options(rt, &as, &ti->error);
	if (r)
		goto bad;

	size = bdev_nr_sectors(rt->spare);
	if (rt->spare_start >= size ||
	    (rt->spare_size && rt->spare_size > size - rt->spare_start)) {
		ti->error = "Spare ends beyond its device";
		r = -EINVAL;
		goto bad;
	}
	size -= rt->spare_start;
	if (bdev_logical_block_size(rt->spare) > REMAP_MD_BLOCK) {
		ti->error = "Logical sectors of the spare are larger than 4096 bytes";
		r = -EINVAL;
		goto bad;
	}
	r = remap_meta_open(&rt->meta, rt->name, rt->dev, rt->spare, rt->spare_start, size,
			    rt->spare_size, remap_table_is_writable(ti->table), &error);
	if (r) {
		DMERR("%s: %s: %s", rt->name, rt->spare_dev->name, error);
		ti->error = (char *)error;
		goto bad;
	}
	r = check_devices(ti, rt);
	if (r)
		goto bad;
	rt->claimed = rt->meta.super.spare_sectors;
	mutex_lock(&active_lock);
	r = spare_taken(rt) ? -EBUSY : 0;
	mutex_unlock(&active_lock);
	if (r) {
		ti->error = "Spare is in use by another remap target";
		goto bad;
	}

	rt->block_shift = __ffs(rt->meta.layout.block_sectors);
	ti->error = "Out of memory";
	r = -ENOMEM;
	for (part = 0; part <= REMAP_PARTS; part++)
		rt->counter[part] = 2 * part;
	rt->inflight = alloc_percpu(struct remap_inflight);
	if (!rt->inflight)
		goto bad;
	r = remap_relocator_init(rt);
	if (r)
		goto bad;

	ti->error = NULL;
	ti->num_flush_bios = 2;		/* the data device's and the spare's, see map_flush() */
	ti->flush_supported = true;
	/* data and zeroes go to the slots of what is remapped; to discard does nothing there */
	ti->num_discard_bios = 1;
	ti->discards_supported = bdev_max_discard_sectors(rt->data);
	ti->num_write_zeroes_bios = 1;
	ti->per_io_data_size = sizeof(struct remap_bio);
	return 0;
bad:
	remap_dtr(ti);
	return r;
}

/*
 * The metadata is loaded here and not by the constructor: a table that replaces another one is
 * constructed while that one still changes it.
 */
static int remap_preresume(struct dm_target *ti)
{
	struct remap_target *rt = ti->private;
	unsigned int noio;
	s64 flush;
	int r;

	if (rt->loaded)
		return 0;
	r = spare_claim(rt);
	if (r) {
		DMERR("%s: spare is in use by another remap target", rt->name);
		return r;
	}
	/* that table goes even if this one cannot start before it is tried again */
	rt->replaces_unflushed = rt->replaces_unflushed || replaces_unflushed(rt);
	noio = memalloc_noio_save();
	/* from nothing: an earlier attempt may have failed half-way */
	remap_map_destroy(&rt->map);
	r = remap_map_init(&rt->map, remap_data_blocks(&rt->meta.super));
	if (!r)
		r = remap_meta_load(&rt->meta, &rt->map, rt->force);
	/* in this order: to load takes what is set aside before it waits */
	if (!r)
		r = remap_map_prepare(&rt->map, rt->batch, GFP_KERNEL);
	memalloc_noio_restore(noio);
	if (r) {
		DMERR("%s: cannot start: error %d", rt->name, r);
		spare_release(rt);
		return r;
	}
	/* the table that this one replaces may have let the spare grow */
	if (!spare_reclaim(rt, rt->meta.super.spare_sectors)) {
		DMERR("%s: spare has grown into that of another remap target", rt->name);
		spare_release(rt);
		return -EBUSY;
	}
	/*
	 * Of what the table that this one replaces has written; else the first flush is to do it.
	 * It has a number like all others: what is written from now on notes a higher one.
	 */
	flush = atomic64_inc_return(&rt->flushes);
	if (!blkdev_issue_flush(rt->spare))
		flush_done(rt, true, flush);
	else
		flush_failed(rt, true);
	/* of whichever device it was: this ends with the next flush; the spare may be another */
	if (rt->replaces_unflushed)
		set_unflushed(rt, false);
	if (rt->meta.readonly)
		remap_set_state(rt, REMAP_READONLY);
	else if (!remap_meta_whole(&rt->meta))
		remap_set_state(rt, REMAP_FAILED);
	else if (!rt->meta.slots_free)
		remap_set_state(rt, REMAP_EXHAUSTED);
	DMINFO("%s: %llu blocks of %u bytes, %u of %u slots used, %u of %u replicas", rt->name,
	       rt->map.blocks, rt->meta.super.block_size, rt->meta.slots_used,
	       rt->meta.layout.slots, remap_meta_replicas_ok(&rt->meta), REMAP_ZONES);
	/* messages come as soon as they like, and the worker with them: all is as it has to be */
	smp_store_release(&rt->loaded, true);
	return 0;
}

/* Before I/O is held back: a message that moves a million blocks would hold up everybody. */
static void remap_presuspend(struct dm_target *ti)
{
	struct remap_target *rt = ti->private;

	WRITE_ONCE(rt->suspending, true);
}

static void remap_resume(struct dm_target *ti)
{
	struct remap_target *rt = ti->private;

	WRITE_ONCE(rt->suspending, false);
}

static void remap_postsuspend(struct dm_target *ti)
{
	struct remap_target *rt = ti->private;

	/* no I/O is in flight; what may be left to do is to free old slots */
	remap_relocator_idle(rt);
}

/* ---- messages and status ---- */

static void emit_replicas(const struct remap_request *req, char *result, unsigned int maxlen)
{
	static const char * const name[] = REMAP_REPLICA_STATE_NAMES;
	unsigned int z, sz = 0;

	for (z = 0; z < REMAP_ZONES; z++)
		DMEMIT("%u %s\n", z, name[req->replica[z]]);
}

/* As many lines as have room. Only the worker changes entries, so it is the one to look. */
static void emit_list(struct remap_target *rt, u64 block, char *result, unsigned int maxlen)
{
	const unsigned int room = 96;	/* for a line and for the last line */
	struct remap_request req = {
		.type = REMAP_REQ_LIST, .first = block, .last = rt->map.blocks - 1,
	};
	unsigned int i, sz = 0;

	do {
		remap_relocator_ask(rt, &req);
		for (i = 0; i < req.lines; i++) {
			block = req.line[i].block;
			if (sz + room > maxlen) {
				DMEMIT("next %llu\n", block << rt->block_shift);
				return;
			}
			DMEMIT("%llu %u %u %x\n", block << rt->block_shift,
			       remap_block_sectors(&rt->meta.super, block), req.line[i].slot,
			       req.line[i].lost);
		}
	} while (req.first <= req.last);
	DMEMIT("end\n");
}

static int move_range(struct remap_target *rt, bool unmap, const char *from, const char *count,
		      char *result, unsigned int maxlen)
{
	struct remap_request req = { .type = unmap ? REMAP_REQ_UNMOVE : REMAP_REQ_MOVE };
	unsigned long since = jiffies;
	unsigned int sz = 0;
	u64 sector, n;

	if (kstrtou64(from, 10, &sector) || kstrtou64(count, 10, &n) || !n ||
	    sector >= rt->ti->len || n > rt->ti->len - sector) {
		DMERR("%s: sectors %s + %s are not within the device", rt->name, from, count);
		return -EINVAL;
	}
	req.first = sector >> rt->block_shift;
	req.last = (sector + n - 1) >> rt->block_shift;
	while (req.first <= req.last && !req.error) {
		if (fatal_signal_pending(current))
			req.error = -EINTR;
		else if (READ_ONCE(rt->suspending) || dm_suspended(rt->ti))
			req.error = -EBUSY;
		else if (req.later && time_after(jiffies, since + MOVE_PATIENCE))
			req.error = -ETIMEDOUT;
		else if (req.later && msleep_interruptible(100))
			req.error = -EINTR;
		else
			remap_relocator_ask(rt, &req);
		if (!req.later)
			since = jiffies;
	}
	if (req.error) {
		DMERR("%s: not in a state to move blocks; %llu were moved", rt->name, req.moved);
		return req.error;
	}
	DMEMIT("moved %llu\n", req.moved);
	if (req.failed) {
		DMERR("%s: %llu blocks could not be moved, %llu were", rt->name, req.failed,
		      req.moved);
		return -EIO;
	}
	return 1;
}

/* Use the room that the spare's device has more by now. */
static int grow(struct remap_target *rt, char *result, unsigned int maxlen)
{
	struct remap_request req = { .type = REMAP_REQ_GROW };
	u64 before, sectors = bdev_nr_sectors(rt->spare);
	unsigned int sz = 0;

	sectors = sectors > rt->spare_start ? sectors - rt->spare_start : 0;
	if (sectors <= rt->meta.super.spare_sectors) {
		DMERR("%s: spare %s has not grown", rt->name, rt->spare_dev->name);
		return -ENOSPC;
	}
	before = 0;
	if (!areas_overlap(rt->data, rt->data_start, rt->ti->len, rt->spare, rt->spare_start,
			   sectors))
		before = spare_reclaim(rt, sectors);
	if (!before) {
		DMERR("%s: what spare %s has more is in use", rt->name, rt->spare_dev->name);
		return -EBUSY;
	}
	req.first = sectors;
	remap_relocator_ask(rt, &req);
	if (req.error) {
		spare_reclaim(rt, rt->meta.super.spare_sectors);
		DMERR("%s: spare %s cannot grow: error %d", rt->name, rt->spare_dev->name,
		      req.error);
		return req.error;
	}
	DMEMIT("slots %u\n", READ_ONCE(rt->meta.layout.slots));
	return 1;
}

static int do_message(struct remap_target *rt, unsigned int argc, char **argv, char *result,
		      unsigned int maxlen)
{
	struct remap_request req = { };
	u64 sector;

	if (argc == 3 && !strcasecmp(argv[0], "remap"))
		return move_range(rt, false, argv[1], argv[2], result, maxlen);
	if (argc == 3 && !strcasecmp(argv[0], "unmap"))
		return move_range(rt, true, argv[1], argv[2], result, maxlen);
	if (argc == 3 && !strcasecmp(argv[0], "set")) {
		if (!set_option(rt, argv[1], argv[2], true))
			return 0;
		DMERR("%s: cannot set %s to %s", rt->name, argv[1], argv[2]);
		return -EINVAL;
	}
	if (argc == 2 && !strcasecmp(argv[0], "list")) {
		if (kstrtou64(argv[1], 10, &sector) || sector >= rt->ti->len) {
			DMERR("%s: sector %s is not within the device", rt->name, argv[1]);
			return -EINVAL;
		}
		emit_list(rt, sector >> rt->block_shift, result, maxlen);
		return 1;
	}
	if (argc == 1 && !strcasecmp(argv[0], "verify")) {
		req.type = REMAP_REQ_VERIFY;
		remap_relocator_ask(rt, &req);
		emit_replicas(&req, result, maxlen);
		return 1;
	}
	if (argc == 1 &&
	    (!strcasecmp(argv[0], "repair") || !strcasecmp(argv[0], "reset") ||
	     !strcasecmp(argv[0], "grow"))) {
		bool repair = !strcasecmp(argv[0], "repair");

		if (rt->meta.readonly)
			return -EROFS;
		/* a suspend that waits for I/O does not wait for messages that come meanwhile */
		if (READ_ONCE(rt->suspending) || dm_suspended(rt->ti))
			return -EBUSY;
		if (!strcasecmp(argv[0], "grow"))
			return grow(rt, result, maxlen);
		req.type = repair ? REMAP_REQ_REPAIR : REMAP_REQ_RESET;
		remap_relocator_ask(rt, &req);
		if (req.error || !repair)
			return req.error;
		emit_replicas(&req, result, maxlen);
		return 1;
	}
	DMERR("%s: unknown message or wrong number of words: %s", rt->name, argv[0]);
	return -EINVAL;
}

static int remap_message(struct dm_target *ti, unsigned int argc, char **argv, char *result,
			 unsigned int maxlen)
{
	struct remap_target *rt = ti->private;
	int r;

	if (!argc)
		return -EINVAL;
	if (!smp_load_acquire(&rt->loaded))
		return -ENXIO;
	if (mutex_lock_interruptible(&rt->message_lock))
		return -EINTR;
	r = do_message(rt, argc, argv, result, maxlen);
	mutex_unlock(&rt->message_lock);
	return r;
}

static void emit_table(struct remap_target *rt, char *result, unsigned int maxlen)
{
	bool verify = READ_ONCE(rt->verify);
	bool pass = !READ_ONCE(rt->relocate_reads);
	unsigned int burst = READ_ONCE(rt->burst), window = READ_ONCE(rt->window);
	unsigned int words = 2 * (!verify + (burst != DEFAULT_BURST) +
				  (window != DEFAULT_WINDOW) + rt->force + !!rt->spare_size +
				  pass);
	unsigned int sz = 0;

	DMEMIT("%s %llu %s %llu", rt->data_dev->name, (u64)rt->data_start, rt->spare_dev->name,
	       (u64)rt->spare_start);
	if (words)
		DMEMIT(" %u", words);
	if (!verify)
		DMEMIT(" verify 0");
	if (burst != DEFAULT_BURST)
		DMEMIT(" burst %u", burst);
	if (window != DEFAULT_WINDOW)
		DMEMIT(" window %u", window);
	if (rt->force)
		DMEMIT(" force 1");
	if (rt->spare_size)
		DMEMIT(" spare_size %llu", rt->spare_size);
	if (pass)
		DMEMIT(" on_read_error pass");
}

static void emit_status(struct remap_target *rt, char *result, unsigned int maxlen)
{
	static const char * const name[] = REMAP_STATE_NAMES;
	const struct remap_meta *m = &rt->meta;
	unsigned int sz = 0;

	BUILD_BUG_ON(ARRAY_SIZE(name) != REMAP_STATES || REMAP_ST_WORDS != 13);
	DMEMIT("%s %u %u %u %u %llu %u %u %lld %lld %lld %u %lu", name[READ_ONCE(rt->state)],
	       m->super.block_size, READ_ONCE(m->layout.slots), READ_ONCE(m->slots_used),
	       READ_ONCE(m->slots_bad), READ_ONCE(m->lost_sectors), remap_meta_replicas_ok(m),
	       REMAP_ZONES, atomic64_read(&rt->relocations), atomic64_read(&rt->reads_recovered),
	       atomic64_read(&rt->io_errors), READ_ONCE(rt->queued), remap_relocator_stuck(rt));
}

static void remap_status(struct dm_target *ti, status_type_t type, unsigned int flags,
			 char *result, unsigned int maxlen)
{
	struct remap_target *rt = ti->private;
	unsigned int sz = 0;

	switch (type) {
	case STATUSTYPE_INFO:
		emit_status(rt, result, maxlen);
		break;
	case STATUSTYPE_TABLE:
		emit_table(rt, result, maxlen);
		break;
	case STATUSTYPE_IMA:
		DMEMIT_TARGET_NAME_VERSION(ti->type);
		DMEMIT(",data_device=%s,spare_device=%s;", rt->data_dev->name, rt->spare_dev->name);
		break;
	}
}

/* Limits are stacked from both devices: a bio may go to either. */
static int remap_iterate_devices(struct dm_target *ti, iterate_devices_callout_fn fn, void *data)
{
	struct remap_target *rt = ti->private;
	const struct remap_super *s = &rt->meta.super;
	int r;

	r = fn(ti, rt->data_dev, rt->data_start, ti->len, data);
	/* what is behind the last whole sector is not used either */
	return r ?: fn(ti, rt->spare_dev, rt->spare_start,
		       round_down(s->spare_sectors, s->sector_size >> SECTOR_SHIFT), data);
}

/* Lost sectors are told apart no finer than by the sectors that format saw. */
static void remap_io_hints(struct dm_target *ti, struct queue_limits *limits)
{
	struct remap_target *rt = ti->private;
	unsigned int size = rt->meta.super.sector_size;

	limits->logical_block_size = max(limits->logical_block_size, size);
	limits->physical_block_size = max(limits->physical_block_size, size);
	limits->io_min = max(limits->io_min, size);
}

static struct target_type remap_type = {
	.name = REMAP_TARGET_NAME,
	.version = REMAP_TARGET_VERSION,
	.features = DM_TARGET_NOWAIT,
	.module = THIS_MODULE,
	.ctr = remap_ctr,
	.dtr = remap_dtr,
	.map = remap_map,
	.end_io = remap_end_io,
	.preresume = remap_preresume,
	.resume = remap_resume,
	.presuspend = remap_presuspend,
	.presuspend_undo = remap_resume,
	.postsuspend = remap_postsuspend,
	.message = remap_message,
	.status = remap_status,
	.iterate_devices = remap_iterate_devices,
	.io_hints = remap_io_hints,
};

static int __init remap_init(void)
{
	return dm_register_target(&remap_type);
}

static void __exit remap_exit(void)
{
	dm_unregister_target(&remap_type);
}

module_init(remap_init);
module_exit(remap_exit);

MODULE_DESCRIPTION(DM_NAME " target that moves bad blocks to a spare device");
MODULE_AUTHOR("The dm-remap authors");
MODULE_LICENSE("GPL");
