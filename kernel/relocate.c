// SPDX-License-Identifier: GPL-2.0-only
/*
 * The recovery path: the one way in which content moves.
 *
 * Each target has one worker. It is the only writer of the map and of the metadata, so it needs
 * no locks against itself; it takes what end_io(), map() and the messages have left for it:
 *
 *   failed    writes that a device refused. They are tried again block by block. Blocks that
 *             fail again are moved, with the write's data in them, and the write succeeds.
 *   waiting   bios that met a marked block. They are sent on once the mark is gone, or fail
 *             there and then if it is because of a lost sector.
 *   request   a message.
 *
 * Blocks move in batches, remap_move_batch(), and the order of its steps is the whole point:
 *
 *   1. mark the blocks, so that new I/O on them queues; turn the epoch and wait until all
 *      writes that set out before have arrived, wherever they were going;
 *   2. read what each block holds now, lay the failed writes over it;
 *   3. write that to a fresh slot, durably;			round 1 of writes
 *   4. commit the entries;						round 2 of writes
 *   5. read slots and replicas back;				a round of reads
 *   6. publish the new place in the map, which cannot fail, and clear the mark;
 *   7. acknowledge; then free the old slots, by another commit. Until that is on disk a block
 *      has two entries there, and the later one counts.
 *
 * If a commit fails, nobody can know which of the two states a load would find. Its blocks stay
 * marked: reads go to the old place, writes fail ("frozen"), so that either state is right, until
 * a later commit of the same table block has succeeded.
 *
 * All memory is set aside when the target is made, or before a block is marked.
 */
#include <linux/delay.h>
#include <linux/sched/mm.h>
#include "target.h"
#include "trace.h"

#define DM_MSG_PREFIX "remap"

#define DRAIN_POLL	(HZ / 50 + 1)	/* a wake-up that was missed costs this much */
#define DRAIN_WARN	(30 * HZ)

static u64 block_of(const struct remap_target *rt, sector_t sector)
{
	return sector >> rt->block_shift;
}

static sector_t block_start(const struct remap_target *rt, u64 block)
{
	return (sector_t)block << rt->block_shift;
}

/* The bits of lost for @count sectors from sector @first of a block on. */
static u32 sector_bits(const struct remap_target *rt, u32 first, u32 count)
{
	const struct remap_super *s = &rt->meta.super;

	return remap_lost_mask(s, first + count) & ~remap_lost_mask(s, first);
}

static u32 lost_of(struct remap_target *rt, u32 slot)
{
	struct remap_entry e;

	if (slot == REMAP_NO_SLOT)
		return 0;
	remap_meta_get(&rt->meta, slot, &e);
	return e.lost;
}

/* Where sector @within of a block is, if its slot (or none) is @slot. */
static struct block_device *place_of(const struct remap_target *rt, u64 block, u32 slot,
				     u32 within, sector_t *sector)
{
	if (slot == REMAP_NO_SLOT) {
		*sector = rt->data_start + block_start(rt, block) + within;
		return rt->data;
	}
	*sector = rt->spare_start + remap_slot_sector(&rt->meta.layout, slot) + within;
	return rt->spare;
}

void remap_set_state(struct remap_target *rt, enum remap_state state)
{
	static const char * const name[] = REMAP_STATE_NAMES;
	enum remap_state old = rt->state;

	if (old == state)
		return;
	WRITE_ONCE(rt->state, state);
	if (state == REMAP_ACTIVE)
		DMINFO("%s: %s", rt->name, name[state]);
	else
		DMWARN("%s: %s", rt->name, name[state]);
	trace_remap_state(rt->dev, old, state);
	dm_table_event(rt->ti->table);
}

/* ---- bios: taking them, sending them on, ending them ---- */

void remap_relocator_take(struct remap_target *rt, struct bio_list *list, struct bio *bio)
{
	unsigned long flags;

	spin_lock_irqsave(&rt->lock, flags);
	bio_list_add(list, bio);
	rt->queued++;
	/* under the lock: once the worker has the bio, the target may be gone */
	queue_work(rt->wq, &rt->work);
	spin_unlock_irqrestore(&rt->lock, flags);
}

static void bio_left(struct remap_target *rt)
{
	spin_lock_irq(&rt->lock);
	rt->queued--;
	spin_unlock_irq(&rt->lock);
}

static void bio_finish(struct remap_target *rt, struct bio *bio, blk_status_t error)
{
	struct remap_bio *rb = remap_bio(bio);

	bio_left(rt);
	if (error)
		atomic64_inc(&rt->io_errors);
	rb->done = true;
	bio->bi_status = error;
	/* it may have been through a queue once, whose accounts are settled */
	bio_clear_flag(bio, BIO_QOS_THROTTLED);
	bio_clear_flag(bio, BIO_QOS_MERGED);
	bio_endio(bio);
}

static void bio_dispatch(struct remap_target *rt, struct bio *bio, u32 slot)
{
	struct remap_bio *rb = remap_bio(bio);

	bio_left(rt);
	rcu_read_lock();
	if (op_is_write(bio_op(bio)) || slot != REMAP_NO_SLOT)
		remap_count(rt, rb);
	rcu_read_unlock();
	if (slot != REMAP_NO_SLOT)
		remap_to_slot(rt, rb, bio, slot);
	submit_bio_noacct(bio);
}

/* Copy the part of a bio's data that lies in sectors [@first, @first + @count) of the target. */
static void copy_from_bio(struct remap_target *rt, struct bio *bio, sector_t first, u32 count,
			  u8 *to)
{
	struct remap_bio *rb = remap_bio(bio);
	struct bvec_iter iter = rb->iter, pos;
	struct bio_vec bv;

	bio_advance_iter(bio, &iter, (first - remap_bio_sector(rt, rb)) << SECTOR_SHIFT);
	iter.bi_size = count << SECTOR_SHIFT;
	__bio_for_each_segment(bv, bio, pos, iter) {
		memcpy_from_bvec(to, &bv);
		to += bv.bv_len;
	}
}

/* The part of a bio that lies in a block: false if none does. */
static bool bio_in_block(struct remap_target *rt, struct bio *bio, u64 block, u32 *within,
			 u32 *count)
{
	struct remap_bio *rb = remap_bio(bio);
	sector_t start = block_start(rt, block);
	sector_t first = remap_bio_sector(rt, rb);
	sector_t end = first + (rb->iter.bi_size >> SECTOR_SHIFT);
	sector_t lo = max(first, start);
	sector_t hi = min(end, start + (1U << rt->block_shift));

	if (lo >= hi)
		return false;
	*within = lo - start;
	*count = hi - lo;
	return true;
}

/* ---- the steps of a batch ---- */

/*
 * Wait until every write that did not see the marks has arrived.
 *
 * map() reads the epoch, counts, and looks into the map, all in one RCU section. After the first
 * grace period whoever missed the marks has counted itself, in the old epoch (or the one before,
 * which was drained); after the second nobody counts into the old epoch any more. From then on
 * its counters only fall, and a sum over all CPUs, taken at leisure, is zero only if all of them
 * have arrived.
 */
static unsigned long inflight(struct remap_target *rt, unsigned int epoch)
{
	unsigned long sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(per_cpu_ptr(rt->inflight, cpu)->count[epoch]);
	return sum;
}

static void drain(struct remap_target *rt)
{
	unsigned int old = rt->epoch;
	unsigned long since = jiffies;
	bool warned = false;

	synchronize_rcu();
	WRITE_ONCE(rt->epoch, old ^ 1);
	synchronize_rcu();
	/* end_io() looks at the epoch without a barrier and may miss to wake us: hence the limit */
	while (!wait_event_timeout(rt->drained, !inflight(rt, old), DRAIN_POLL)) {
		if (!warned && time_after(jiffies, since + DRAIN_WARN)) {
			DMWARN("%s: a device has not answered %lu I/Os for %u s; relocations wait",
			       rt->name, inflight(rt, old), DRAIN_WARN / HZ);
			warned = true;
		}
	}
}

static void fail(struct remap_move *mv, blk_status_t error)
{
	mv->phase = REMAP_MOVE_FAILED;
	mv->error = error;
}

/* The sectors of a block for which the failed writes at hand have new data. */
static u32 overlaid(struct remap_target *rt, const struct remap_move *mv)
{
	u32 within, count, bits = 0;
	struct bio *bio;

	bio_list_for_each(bio, &rt->now)
		if (bio_in_block(rt, bio, mv->block, &within, &count))
			bits |= sector_bits(rt, within, count);
	return bits;
}

static void overlay(struct remap_target *rt, struct remap_move *mv)
{
	u32 within, count;
	struct bio *bio;

	bio_list_for_each(bio, &rt->now) {
		if (!bio_in_block(rt, bio, mv->block, &within, &count))
			continue;
		copy_from_bio(rt, bio, block_start(rt, mv->block) + within, count,
			      mv->buf + (within << SECTOR_SHIFT));
		mv->lost &= ~sector_bits(rt, within, count);
	}
}

/* The block did not read as a whole: take it sector by sector. */
static void read_sectors(struct remap_target *rt, struct remap_move *mv, u32 wanted)
{
	u32 step = rt->meta.super.sector_size >> SECTOR_SHIFT;
	u32 within;

	memset(mv->buf, 0, mv->sectors << SECTOR_SHIFT);
	for (within = 0; within < mv->sectors; within += step) {
		u8 *buf = mv->buf + (within << SECTOR_SHIFT);
		u32 bit = sector_bits(rt, within, step);
		struct block_device *bdev;
		blk_status_t error;
		sector_t sector;

		if (!(bit & wanted))
			continue;
		bdev = place_of(rt, mv->block, mv->old, within, &sector);
		error = remap_io_sync(&mv->io, bdev, sector, REQ_OP_READ | REQ_SYNC, buf,
				      step << SECTOR_SHIFT);
		if (!error)
			continue;
		if (!remap_error_is_medium(error)) {
			fail(mv, error);
			return;
		}
		memset(buf, 0, step << SECTOR_SHIFT);
		mv->lost |= bit;
		if (mv->old != REMAP_NO_SLOT)
			mv->old_is_bad = true;
	}
}

/* Step 2: the content of each block of the batch, as it has to be from now on. */
static void read_contents(struct remap_target *rt)
{
	u32 need[REMAP_BATCH];
	struct remap_round round;
	struct remap_move *mv;
	unsigned int i;

	remap_round_begin(&round);
	for (i = 0; i < rt->moves; i++) {
		u32 all;

		mv = &rt->move[i];
		all = remap_lost_mask(&rt->meta.super, mv->sectors);
		mv->lost = mv->old_lost;
		need[i] = all & ~mv->lost & ~overlaid(rt, mv);
		memset(mv->buf, 0, mv->sectors << SECTOR_SHIFT);
		if (need[i]) {
			struct block_device *bdev;
			sector_t sector;

			bdev = place_of(rt, mv->block, mv->old, 0, &sector);
			remap_round_add(&round, &mv->io, bdev, sector, REQ_OP_READ | REQ_SYNC,
					mv->buf, mv->sectors << SECTOR_SHIFT);
		}
	}
	remap_round_end(&round);

	for (i = 0; i < rt->moves; i++) {
		mv = &rt->move[i];
		if (need[i] && mv->io.status)
			read_sectors(rt, mv, need[i]);
		overlay(rt, mv);
	}
}

/* Take a slot for a block; without one it cannot move. */
static void take_slot(struct remap_target *rt, struct remap_move *mv)
{
	mv->slot = remap_meta_alloc(&rt->meta, mv->block, mv->lost);
	if (mv->slot == REMAP_NO_SLOT && remap_meta_room(&rt->meta) == -EIO)
		remap_set_state(rt, REMAP_FAILED);
	if (mv->slot == REMAP_NO_SLOT)
		mv->slot = remap_meta_alloc(&rt->meta, mv->block, mv->lost);
	if (mv->slot == REMAP_NO_SLOT) {
		if (rt->state == REMAP_ACTIVE)
			remap_set_state(rt, REMAP_EXHAUSTED);
		fail(mv, BLK_STS_NOSPC);
		return;
	}
	mv->phase = REMAP_MOVE_WRITE;
}

/* Give up a slot: one that was taken for a block, or that a block has left. */
static void drop_slot(struct remap_target *rt, u32 slot, bool bad)
{
	struct remap_entry e = { .state = bad ? REMAP_SLOT_BAD : REMAP_SLOT_FREE };

	remap_meta_set(&rt->meta, slot, &e);
	if (!bad && rt->state == REMAP_EXHAUSTED)
		remap_set_state(rt, REMAP_ACTIVE);
}

/* A slot is bad: put it out of use, try another one. If too many are, it is not the slots. */
static void next_slot(struct remap_target *rt, struct remap_move *mv)
{
	drop_slot(rt, mv->slot, true);
	mv->tried[mv->tries++] = mv->slot;
	if (mv->tries < REMAP_SLOT_TRIES) {
		take_slot(rt, mv);
		return;
	}
	/* slots whose entries may be on disk stay out: nothing else must come to be in them */
	while (!mv->attempted && mv->tries)
		drop_slot(rt, mv->tried[--mv->tries], false);
	fail(mv, BLK_STS_IOERR);
}

/* The new place did not take a block. */
static void write_failed(struct remap_target *rt, struct remap_move *mv)
{
	if (mv->slot != REMAP_NO_SLOT && remap_error_is_medium(mv->io.status)) {
		next_slot(rt, mv);
		return;
	}
	if (mv->slot != REMAP_NO_SLOT)
		drop_slot(rt, mv->slot, false);
	fail(mv, mv->io.status);
}

/* Step 3: write the contents to their new places. */
static void write_contents(struct remap_target *rt)
{
	struct remap_round round;
	struct remap_move *mv;
	struct remap_move *end = rt->move + rt->moves;
	bool any;

	do {
		any = false;
		remap_round_begin(&round);
		for (mv = rt->move; mv < end; mv++) {
			struct block_device *bdev;
			sector_t sector;

			if (mv->phase != REMAP_MOVE_WRITE)
				continue;
			bdev = place_of(rt, mv->block, mv->slot, 0, &sector);
			remap_round_add(&round, &mv->io, bdev, sector,
					REQ_OP_WRITE | REQ_SYNC | REQ_FUA, mv->buf,
					mv->sectors << SECTOR_SHIFT);
		}
		remap_round_end(&round);
		for (mv = rt->move; mv < end; mv++) {
			if (mv->phase != REMAP_MOVE_WRITE)
				continue;
			mv->phase = REMAP_MOVE_WRITTEN;
			if (mv->io.status)
				write_failed(rt, mv);
			any = any || mv->phase == REMAP_MOVE_WRITE;
		}
	} while (any);
}

static void readback_add(struct remap_target *rt, struct remap_round *round)
{
	unsigned int i;

	for (i = 0; i < rt->moves; i++) {
		struct remap_move *mv = &rt->move[i];
		struct block_device *bdev;
		sector_t sector;

		if (mv->phase != REMAP_MOVE_WRITTEN)
			continue;
		bdev = place_of(rt, mv->block, mv->slot, 0, &sector);
		remap_round_add(round, &mv->io, bdev, sector, REQ_OP_READ | REQ_SYNC,
				mv->readback, mv->sectors << SECTOR_SHIFT);
	}
}

static bool readback_good(const struct remap_move *mv)
{
	return !mv->io.status && !memcmp(mv->buf, mv->readback, mv->sectors << SECTOR_SHIFT);
}

/*
 * Steps 4 and 5. With @contents, what was written is read back in the same round as the first
 * replicas; readback_good() tells how that went. Return: false where a commit failed.
 */
static bool commit(struct remap_target *rt, bool contents)
{
	struct remap_meta *m = &rt->meta;
	bool verify = rt->verifying;
	bool ok = true;

	contents = contents && verify;
	while (ok && (remap_meta_commit_begin(m) || contents)) {
		struct remap_round round;

		remap_round_begin(&round);
		remap_meta_commit_write(m, &round);
		remap_round_end(&round);
		if (verify) {
			remap_round_begin(&round);
			remap_meta_commit_read(m, &round);
			if (contents)
				readback_add(rt, &round);
			remap_round_end(&round);
			contents = false;
		}
		ok = !remap_meta_commit_end(m, verify);
	}
	if (!ok)
		remap_set_state(rt, REMAP_FAILED);
	return ok;
}

/* Is the entry of a slot on disk as it is in memory? */
static bool slot_is_durable(struct remap_target *rt, u32 slot)
{
	return !xa_get_mark(&rt->meta.tables, slot / REMAP_ENTRIES, REMAP_DIRTY);
}

static void set_value(struct remap_target *rt, u64 block, u32 value)
{
	/* it has a value, or memory for one was set aside: cannot fail */
	WARN_ON_ONCE(remap_map_set(&rt->map, block, value));
}

/* The value of a block that is at rest. */
static u32 rest_value(u32 slot, u32 lost)
{
	return slot | (lost ? REMAP_VALUE_SPECIAL : 0);
}

/* A block stays, or is again, where it was. @frozen: a load might find it elsewhere */
static void unmark(struct remap_target *rt, const struct remap_move *mv, bool frozen)
{
	if (frozen)
		set_value(rt, mv->block, mv->old | REMAP_VALUE_SPECIAL | REMAP_VALUE_FROZEN);
	else if (mv->old == REMAP_NO_SLOT)
		WARN_ON_ONCE(remap_map_clear(&rt->map, mv->block));
	else
		set_value(rt, mv->block, rest_value(mv->old, mv->old_lost));
}

/*
 * What has become of the blocks whose entries a commit was to make durable. Return: is there one
 * to be written again, elsewhere?
 */
static bool judge_moves(struct remap_target *rt, bool committed)
{
	struct remap_move *mv;
	struct remap_move *end = rt->move + rt->moves;
	bool again = false;

	/* all that are done, before the table changes again under those that are not */
	for (mv = rt->move; mv < end; mv++) {
		if (mv->phase != REMAP_MOVE_WRITTEN || !slot_is_durable(rt, mv->slot) ||
		    (rt->verifying && !readback_good(mv)))
			continue;
		mv->phase = REMAP_MOVE_DONE;
		set_value(rt, mv->block, rest_value(mv->slot, mv->lost));
	}
	for (mv = rt->move; mv < end; mv++) {
		if (mv->phase != REMAP_MOVE_WRITTEN)
			continue;
		if (committed) {
			next_slot(rt, mv);	/* it did not read back */
			again |= mv->phase == REMAP_MOVE_WRITE;
		} else {
			drop_slot(rt, mv->slot, false);
			fail(mv, BLK_STS_IOERR);
		}
	}
	return again;
}

/* Steps 3 to 6 for blocks that go to slots. */
static void settle_moves(struct remap_target *rt)
{
	struct remap_move *mv;
	struct remap_move *end = rt->move + rt->moves;
	bool again, ok;

	for (mv = rt->move; mv < end; mv++)
		if (mv->phase == REMAP_MOVE_WRITE)
			take_slot(rt, mv);
	do {
		write_contents(rt);
		for (mv = rt->move; mv < end; mv++)
			mv->attempted |= mv->phase == REMAP_MOVE_WRITTEN;
		ok = commit(rt, true);
		again = judge_moves(rt, ok);
	} while (again);

	/* slots that were dropped must not be found by a load, or their blocks stay frozen */
	if (ok)
		ok = commit(rt, false);
	for (mv = rt->move; mv < end; mv++)
		if (mv->phase == REMAP_MOVE_FAILED)
			unmark(rt, mv, mv->attempted && !ok);
}

/* Steps 3 to 6 for blocks that go back to the data device: written, read back, entry freed. */
static void settle_unmoves(struct remap_target *rt)
{
	struct remap_entry before[REMAP_BATCH];
	struct remap_round round;
	struct remap_move *mv;
	struct remap_move *end = rt->move + rt->moves;

	/* the data device cannot keep that a sector is lost; its slot did not read */
	for (mv = rt->move; mv < end; mv++)
		if (mv->phase == REMAP_MOVE_WRITE && mv->lost)
			fail(mv, BLK_STS_MEDIUM);
	write_contents(rt);
	if (rt->verifying) {
		remap_round_begin(&round);
		readback_add(rt, &round);
		remap_round_end(&round);
	}
	for (mv = rt->move; mv < end; mv++) {
		if (mv->phase != REMAP_MOVE_WRITTEN)
			continue;
		if (rt->verifying && !readback_good(mv)) {
			fail(mv, mv->io.status ?: BLK_STS_IOERR);
			continue;
		}
		remap_meta_get(&rt->meta, mv->old, &before[mv - rt->move]);
		drop_slot(rt, mv->old, mv->old_is_bad);
	}
	commit(rt, false);
	for (mv = rt->move; mv < end; mv++)
		if (mv->phase == REMAP_MOVE_WRITTEN && slot_is_durable(rt, mv->old))
			mv->phase = REMAP_MOVE_DONE;
	for (mv = rt->move; mv < end; mv++) {
		if (mv->phase == REMAP_MOVE_DONE) {
			WARN_ON_ONCE(remap_map_clear(&rt->map, mv->block));
		} else if (mv->phase == REMAP_MOVE_WRITTEN) {
			remap_meta_set(&rt->meta, mv->old, &before[mv - rt->move]);
			fail(mv, BLK_STS_IOERR);
			unmark(rt, mv, true);
		} else {
			unmark(rt, mv, false);
		}
	}
}

/* The failed writes that touch a block that could not move fail as they did before. */
static void fail_bios(struct remap_target *rt, const struct remap_move *mv)
{
	u32 within, count;
	struct bio *bio;

	bio_list_for_each(bio, &rt->now)
		if (bio_in_block(rt, bio, mv->block, &within, &count))
			remap_bio(bio)->error = bio->bi_status ?: BLK_STS_MEDIUM;
}

static unsigned int report_moves(struct remap_target *rt)
{
	struct remap_move *mv;
	unsigned int moved = 0;

	for (mv = rt->move; mv < rt->move + rt->moves; mv++) {
		u64 sector = block_start(rt, mv->block);
		int error = blk_status_to_errno(mv->error);

		trace_remap_relocate_end(rt->dev, sector, mv->cause,
					 error ? mv->old : mv->slot, error);
		if (mv->phase != REMAP_MOVE_DONE) {
			DMERR_LIMIT("%s: sectors %llu + %u could not be relocated: error %d",
				    rt->name, sector, mv->sectors, error);
			fail_bios(rt, mv);
			continue;
		}
		moved++;
		if (mv->cause != REMAP_CAUSE_UNMAP)
			atomic64_inc(&rt->relocations);
		if (mv->cause != REMAP_CAUSE_UNMAP && mv->old != REMAP_NO_SLOT) {
			rt->left[rt->lefts].slot = mv->old;
			rt->left[rt->lefts++].bad = mv->old_is_bad;
		}
		if (mv->lost == mv->old_lost)
			continue;
		trace_remap_lost(rt->dev, sector, mv->lost);
		if (mv->lost & ~mv->old_lost)
			DMERR_LIMIT("%s: sectors %llu + %u: lost %#x", rt->name, sector,
				    mv->sectors, mv->lost);
	}
	return moved;
}

/* Step 7, second half; and new table blocks before they are needed. */
static void tidy(struct remap_target *rt)
{
	unsigned int i;

	for (i = 0; i < rt->lefts; i++)
		drop_slot(rt, rt->left[i].slot, rt->left[i].bad);
	if (rt->lefts && rt->state != REMAP_FAILED)
		commit(rt, false);
	rt->lefts = 0;
	if ((rt->state == REMAP_ACTIVE || rt->state == REMAP_EXHAUSTED) &&
	    remap_meta_room(&rt->meta) == -EIO)
		remap_set_state(rt, REMAP_FAILED);
}

/*
 * Move the blocks that have been added. Return: how many were moved. With failed writes in
 * rt->now, what they have for these blocks goes along; those whose block could not move have
 * their error set.
 */
static unsigned int move_batch(struct remap_target *rt)
{
	struct remap_move *mv;
	struct remap_move *end = rt->move + rt->moves;
	unsigned int moved;

	if (!rt->moves)
		return 0;
	rt->verifying = READ_ONCE(rt->verify);
	tidy(rt);
	if (rt->state == REMAP_FAILED) {
		/* slots are not given out anew before what failed is settled */
		for (mv = rt->move; mv < end; mv++)
			fail_bios(rt, mv);
		rt->moves = 0;
		return 0;
	}
	while (remap_map_prepare(&rt->map, REMAP_BATCH))
		msleep(100);
	for (mv = rt->move; mv < end; mv++) {
		trace_remap_relocate_begin(rt->dev, block_start(rt, mv->block), mv->sectors,
					   mv->cause);
		set_value(rt, mv->block, mv->old | REMAP_VALUE_SPECIAL);
	}
	drain(rt);
	read_contents(rt);
	if (rt->move[0].cause == REMAP_CAUSE_UNMAP)
		settle_unmoves(rt);
	else
		settle_moves(rt);
	moved = report_moves(rt);
	rt->moves = 0;
	if (moved)
		dm_table_event(rt->ti->table);
	return moved;
}

/* Add a block to the batch, which must not be full. @value: its value in the map */
static void move_add(struct remap_target *rt, u64 block, u32 value, enum remap_cause cause)
{
	struct remap_move *mv = &rt->move[rt->moves++];

	mv->block = block;
	mv->sectors = remap_block_sectors(&rt->meta.super, block);
	mv->old = value == REMAP_VALUE_NONE ? REMAP_NO_SLOT : value & REMAP_VALUE_SLOT;
	mv->old_lost = lost_of(rt, mv->old);
	mv->slot = REMAP_NO_SLOT;
	mv->cause = cause;
	mv->phase = REMAP_MOVE_WRITE;
	mv->error = BLK_STS_OK;
	mv->old_is_bad = false;
	mv->attempted = false;
	mv->tries = 0;
}

static struct remap_move *move_find(struct remap_target *rt, u64 block)
{
	struct remap_move *mv;

	for (mv = rt->move; mv < rt->move + rt->moves; mv++)
		if (mv->block == block)
			return mv;
	return NULL;
}

/* ---- failed writes ---- */

/* Count an error that is to be met by moving a block. Too many of them are not bad blocks. */
static bool storm(struct remap_target *rt)
{
	unsigned int burst = READ_ONCE(rt->burst);

	if (time_after(jiffies, rt->window_start + READ_ONCE(rt->window) * HZ)) {
		rt->window_start = jiffies;
		rt->window_moves = 0;
	}
	if (!burst || rt->window_moves++ < burst)
		return false;
	DMERR("%s: more than %u errors in %u s: not bad blocks but a bad disk?", rt->name, burst,
	      READ_ONCE(rt->window));
	rt->paused = true;
	remap_set_state(rt, REMAP_PAUSED);
	return true;
}

/* Try one block's part of a failed write again, where the block is now. */
static blk_status_t write_again(struct remap_target *rt, struct bio *bio, u64 block, u32 slot,
				u32 within, u32 count)
{
	struct block_device *bdev;
	sector_t sector;

	copy_from_bio(rt, bio, block_start(rt, block) + within, count, rt->bounce);
	bdev = place_of(rt, block, slot, within, &sector);
	/* FUA, for it costs little here and saves us the accounts of what is to be flushed */
	return remap_io_sync(&rt->move[0].io, bdev, sector, REQ_OP_WRITE | REQ_SYNC | REQ_FUA,
			     rt->bounce, count << SECTOR_SHIFT);
}

/* One block of a failed write. Return: the error for the whole bio, if it is over with it. */
static blk_status_t failed_block(struct remap_target *rt, struct bio *bio, u64 block)
{
	enum remap_cause cause = REMAP_CAUSE_LOST_WRITE;
	u32 value, slot, lost, within, count;
	blk_status_t error;

	if (move_find(rt, block))
		return BLK_STS_OK;	/* for another bio; this one's data goes along */
	bio_in_block(rt, bio, block, &within, &count);
	value = remap_map_get(&rt->map, block);
	slot = value == REMAP_VALUE_NONE ? REMAP_NO_SLOT : value & REMAP_VALUE_SLOT;
	lost = lost_of(rt, slot);
	if (value != REMAP_VALUE_NONE && value & REMAP_VALUE_FROZEN)
		return BLK_STS_IOERR;
	if (!(lost & sector_bits(rt, within, count))) {
		error = write_again(rt, bio, block, slot, within, count);
		if (!error || !remap_error_is_medium(error))
			return error;
		cause = REMAP_CAUSE_WRITE;
	}
	if (rt->state != REMAP_ACTIVE || (cause == REMAP_CAUSE_WRITE && storm(rt)))
		return bio->bi_status ?: BLK_STS_MEDIUM;
	move_add(rt, block, value, cause);
	if (cause == REMAP_CAUSE_WRITE && slot != REMAP_NO_SLOT)
		rt->move[rt->moves - 1].old_is_bad = true;
	return BLK_STS_OK;
}

/* Failed writes, and writes to lost sectors: all of @list, to the end. */
static void handle_failed(struct remap_target *rt, struct bio_list *list)
{
	struct bio *bio;

	bio_list_init(&rt->now);
	while ((bio = bio_list_pop(list))) {
		struct remap_bio *rb = remap_bio(bio);
		u64 block = block_of(rt, remap_bio_sector(rt, rb));
		u64 last = block_of(rt, remap_bio_sector(rt, rb) +
				    (rb->iter.bi_size >> SECTOR_SHIFT) - 1);

		rb->error = BLK_STS_OK;
		bio_list_add(&rt->now, bio);
		for (; block <= last && !rb->error; block++) {
			blk_status_t error = failed_block(rt, bio, block);

			if (error)
				rb->error = error;
			if (rt->moves == REMAP_BATCH)
				move_batch(rt);
		}
	}
	move_batch(rt);
	while ((bio = bio_list_pop(&rt->now)))
		bio_finish(rt, bio, remap_bio(bio)->error);
}

/* ---- bios that met a mark ---- */

/* Send it on, or fail it, or leave it in @failed if a block has to move for it. */
static void handle_waiting(struct remap_target *rt, struct bio *bio, struct bio_list *failed)
{
	struct remap_bio *rb = remap_bio(bio);
	u64 block = block_of(rt, remap_bio_sector(rt, rb));
	u32 value = remap_map_get(&rt->map, block);
	u32 within, count, slot, lost;

	if (value == REMAP_VALUE_NONE) {
		bio_dispatch(rt, bio, REMAP_NO_SLOT);
		return;
	}
	slot = value & REMAP_VALUE_SLOT;
	if (!(value & REMAP_VALUE_SPECIAL)) {
		bio_dispatch(rt, bio, slot);
		return;
	}
	bio_in_block(rt, bio, block, &within, &count);
	lost = lost_of(rt, slot) & sector_bits(rt, within, count);
	if (op_is_write(bio_op(bio)) && value & REMAP_VALUE_FROZEN)
		bio_finish(rt, bio, BLK_STS_IOERR);
	else if (lost && op_is_write(bio_op(bio)))
		bio_list_add(failed, bio);
	else if (lost)
		bio_finish(rt, bio, BLK_STS_MEDIUM);
	else
		bio_dispatch(rt, bio, slot);
}

/* ---- messages ---- */

/* One batch of "remap" or "unmap"; moves req->first on. */
static void handle_move(struct remap_target *rt, struct remap_request *req)
{
	bool unmap = req->type == REMAP_REQ_UNMOVE;
	unsigned int asked, moved;
	u32 value = 0;

	if (rt->state != REMAP_ACTIVE && !(unmap && rt->state == REMAP_EXHAUSTED)) {
		req->error = rt->state == REMAP_READONLY ? -EROFS :
			     rt->state == REMAP_EXHAUSTED ? -ENOSPC :
			     rt->state == REMAP_FAILED ? -EIO : -EBUSY;
		return;
	}
	while (req->first <= req->last && rt->moves < REMAP_BATCH) {
		u64 block = req->first;

		if (unmap) {
			block = remap_map_next(&rt->map, block, req->last, &value);
			if (block == REMAP_MAP_END) {
				req->first = req->last + 1;
				break;
			}
		} else {
			value = remap_map_get(&rt->map, block);
		}
		req->first = block + 1;
		if (value == REMAP_VALUE_NONE)
			move_add(rt, block, value, REMAP_CAUSE_MESSAGE);
		else if (value & REMAP_VALUE_FROZEN || (unmap && value & REMAP_VALUE_SPECIAL))
			req->failed++;		/* the latter has lost sectors */
		else if (unmap)
			move_add(rt, block, value, REMAP_CAUSE_UNMAP);
	}
	asked = rt->moves;
	moved = move_batch(rt);
	req->moved += moved;
	req->failed += asked - moved;
}

/* The next remapped blocks from req->first on. */
static void handle_list(struct remap_target *rt, struct remap_request *req)
{
	req->lines = 0;
	while (req->first <= req->last && req->lines < REMAP_BATCH) {
		u32 value, slot;
		u64 block = remap_map_next(&rt->map, req->first, req->last, &value);

		if (block == REMAP_MAP_END) {
			req->first = req->last + 1;
			return;
		}
		req->first = block + 1;
		slot = value & REMAP_VALUE_SLOT;
		if (slot == REMAP_NO_SLOT)
			continue;	/* frozen where it was */
		req->line[req->lines].block = block;
		req->line[req->lines].slot = slot;
		req->line[req->lines++].lost = lost_of(rt, slot);
	}
}

/* All that waited for a commit is on disk: blocks that were frozen for it are free again. */
static void thaw(struct remap_target *rt)
{
	u64 block = 0;
	u32 value;

	for (;;) {
		block = remap_map_next(&rt->map, block, rt->map.blocks - 1, &value);
		if (block == REMAP_MAP_END)
			return;
		if (value & REMAP_VALUE_FROZEN) {
			u32 slot = value & REMAP_VALUE_SLOT;

			if (slot != REMAP_NO_SLOT)
				set_value(rt, block, rest_value(slot, lost_of(rt, slot)));
			else if (!remap_map_prepare(&rt->map, 1))
				WARN_ON_ONCE(remap_map_clear(&rt->map, block));
		}
		if (++block == rt->map.blocks)
			return;
		cond_resched();
	}
}

static void handle_request(struct remap_target *rt, struct remap_request *req)
{
	struct remap_meta *m = &rt->meta;

	switch (req->type) {
	case REMAP_REQ_MOVE:
	case REMAP_REQ_UNMOVE:
		handle_move(rt, req);
		return;
	case REMAP_REQ_LIST:
		handle_list(rt, req);
		return;
	case REMAP_REQ_VERIFY:
		remap_meta_verify(m, false, req->replica);
		return;
	case REMAP_REQ_REPAIR:
	case REMAP_REQ_RESET:
		break;
	}
	if (remap_meta_commit(m, true))
		remap_set_state(rt, REMAP_FAILED);
	else
		thaw(rt);
	remap_meta_verify(m, true, req->replica);	/* mends what can be mended all the same */
	if (!remap_meta_whole(m)) {
		req->error = -EIO;
		return;
	}
	if (req->type == REMAP_REQ_RESET) {
		rt->window_moves = 0;
		rt->paused = false;
	}
	if (rt->paused)
		remap_set_state(rt, REMAP_PAUSED);
	else if (remap_meta_room(m) == -EIO)
		remap_set_state(rt, REMAP_FAILED);
	else
		remap_set_state(rt, m->slots_free ? REMAP_ACTIVE : REMAP_EXHAUSTED);
}

/* ---- the worker ---- */

static void worker(struct work_struct *work)
{
	struct remap_target *rt = container_of(work, struct remap_target, work);
	unsigned int noio = memalloc_noio_save();

	for (;;) {
		struct bio_list failed, waiting;
		struct remap_request *req;
		struct bio *bio;

		spin_lock_irq(&rt->lock);
		failed = rt->failed;
		waiting = rt->waiting;
		req = rt->request;
		bio_list_init(&rt->failed);
		bio_list_init(&rt->waiting);
		rt->request = NULL;
		spin_unlock_irq(&rt->lock);
		if (bio_list_empty(&failed) && bio_list_empty(&waiting) && !req)
			break;

		while ((bio = bio_list_pop(&waiting)))
			handle_waiting(rt, bio, &failed);
		handle_failed(rt, &failed);
		if (req) {
			handle_request(rt, req);
			complete(&req->done);
		}
		tidy(rt);
		cond_resched();
	}
	memalloc_noio_restore(noio);
}

void remap_relocator_ask(struct remap_target *rt, struct remap_request *req)
{
	init_completion(&req->done);
	spin_lock_irq(&rt->lock);
	rt->request = req;
	spin_unlock_irq(&rt->lock);
	queue_work(rt->wq, &rt->work);
	wait_for_completion(&req->done);
}

void remap_relocator_idle(struct remap_target *rt)
{
	flush_work(&rt->work);
}

int remap_relocator_init(struct remap_target *rt)
{
	unsigned int i, order = get_order(rt->meta.super.block_size);

	rt->buf_order = order;
	spin_lock_init(&rt->lock);
	bio_list_init(&rt->failed);
	bio_list_init(&rt->waiting);
	init_waitqueue_head(&rt->drained);
	INIT_WORK(&rt->work, worker);
	rt->window_start = jiffies;

	rt->bounce = (u8 *)__get_free_pages(GFP_KERNEL, order);
	if (!rt->bounce)
		return -ENOMEM;
	for (i = 0; i < REMAP_BATCH; i++) {
		rt->move[i].buf = (u8 *)__get_free_pages(GFP_KERNEL, order);
		rt->move[i].readback = (u8 *)__get_free_pages(GFP_KERNEL, order);
		if (!rt->move[i].buf || !rt->move[i].readback)
			return -ENOMEM;
	}
	/* one work item only; ordered all the same, to say what is relied upon */
	rt->wq = alloc_ordered_workqueue("dm-remap", WQ_MEM_RECLAIM);
	return rt->wq ? 0 : -ENOMEM;
}

void remap_relocator_exit(struct remap_target *rt)
{
	unsigned int i;

	if (rt->wq)
		destroy_workqueue(rt->wq);
	free_pages((unsigned long)rt->bounce, rt->buf_order);
	for (i = 0; i < REMAP_BATCH; i++) {
		free_pages((unsigned long)rt->move[i].buf, rt->buf_order);
		free_pages((unsigned long)rt->move[i].readback, rt->buf_order);
	}
}
