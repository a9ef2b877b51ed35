// SPDX-License-Identifier: GPL-2.0-only
/*
 * The recovery path: the one way in which content moves.
 *
 * Each target has one worker. It is the only writer of the map and of the metadata, so it needs
 * no locks against itself; it takes what end_io(), map() and the messages have left for it:
 *
 *   failed    reads and writes that a device refused. They are tried again block by block, reads
 *             then sector by sector. Blocks that fail again are moved: with a write's data in
 *             them, and the write succeeds; with what cannot be read marked as lost, and the
 *             read fails.
 *   waiting   bios that met a marked block. They are sent on once the mark is gone, or fail
 *             there and then if it is because of a lost sector.
 *   later     failed bios of which a block could not move just now.
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

/* How long a device is waited for, to begin with, and at most if it does answer, but later */
#define PATIENCE	(5 * HZ)
#define PATIENCE_MAX	(30 * HZ)	/* thrice for a batch: below two minutes */
#define RETRY_DELAY	HZ

static u64 block_of(const struct remap_target *rt, sector_t sector)
{
	return sector >> rt->block_shift;
}

static sector_t block_start(const struct remap_target *rt, u64 block)
{
	return (sector_t)block << rt->block_shift;
}

/* The worker is the only writer of the map, but readers' functions want readers' ways. */
static u64 map_next(struct remap_target *rt, u64 first, u64 last, u32 *value)
{
	u64 block;

	rcu_read_lock();
	block = remap_map_next(&rt->map, first, last, value);
	rcu_read_unlock();
	return block;
}

static u32 map_get(struct remap_target *rt, u64 block)
{
	u32 value;

	return map_next(rt, block, block, &value) == block ? value : REMAP_VALUE_NONE;
}

/* The bits of lost for @count sectors from sector @first of a block on. */
static u32 sector_bits(const struct remap_target *rt, u32 first, u32 count)
{
	const struct remap_super *s = &rt->meta.super;

	return remap_lost_mask(s, first + count) & ~remap_lost_mask(s, first);
}

/*
 * Is it of logical sectors, as far as the metadata know them? Others come from what stands above
 * with limits of its own, from before this table was loaded: they may go as they are, but nothing
 * can be told of what is lost in parts of a sector.
 */
static bool in_sectors(struct remap_target *rt, struct remap_bio *rb)
{
	u32 mask = (rt->meta.super.sector_size >> SECTOR_SHIFT) - 1;

	return !((remap_bio_sector(rt, rb) | rb->iter.bi_size >> SECTOR_SHIFT) & mask);
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

	/* whoever polls for it would poll for nothing; what we send on comes by interrupt */
	bio_clear_polled(bio);
	spin_lock_irqsave(&rt->lock, flags);
	bio_list_add(list, bio);
	rt->queued++;
	/* under the lock: once the worker has the bio, the target may be gone */
	queue_work(rt->wq, &rt->work);
	spin_unlock_irqrestore(&rt->lock, flags);
}

void remap_relocator_suspect(struct remap_target *rt)
{
	unsigned long flags;

	spin_lock_irqsave(&rt->lock, flags);
	rt->spare_suspect = true;
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
	u64 block = block_of(rt, remap_bio_sector(rt, rb));

	bio_left(rt);
	rcu_read_lock();
	if (op_is_write(bio_op(bio)) || slot != REMAP_NO_SLOT)
		remap_count(rt, rb, block, block);
	rcu_read_unlock();
	if (slot != REMAP_NO_SLOT)
		remap_to_slot(rt, rb, bio, slot);
	submit_bio_noacct(bio);
}

/*
 * Copy, between a buffer and a bio's data, what lies in sectors [@first, @first + @count) of the
 * target. What has no data, as write zeroes, is as good as zeroes.
 */
static void copy_bio(struct remap_target *rt, struct bio *bio, sector_t first, u32 count, u8 *buf,
		     bool to_bio)
{
	struct remap_bio *rb = remap_bio(bio);
	struct bvec_iter iter = rb->iter, pos;
	struct bio_vec bv;

	if (bio_op(bio) == REQ_OP_WRITE_ZEROES) {
		memset(buf, 0, count << SECTOR_SHIFT);
		return;
	}
	bio_advance_iter(bio, &iter, (first - remap_bio_sector(rt, rb)) << SECTOR_SHIFT);
	iter.bi_size = count << SECTOR_SHIFT;
	__bio_for_each_segment(bv, bio, pos, iter) {
		if (to_bio)
			memcpy_to_bvec(&bv, buf);
		else
			memcpy_from_bvec(buf, &bv);
		buf += bv.bv_len;
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
 * have arrived. A third grace period orders what they did, as far as CPUs did it, before what is
 * read from now on: nothing else stands between it and the count that fell.
 *
 * A device may take its time, or never answer. Relocations elsewhere are not to wait for that:
 * each part of the disk has counters and an epoch of its own, and after a while we go on without
 * those parts that are not drained. Their epoch does not turn again before they are; and if they
 * are, the next wait may be longer, for else a device that takes longer for each of its writes
 * would never see an end of them. Not while somebody waits for the worker.
 */
static unsigned long inflight(const struct remap_target *rt, unsigned int counter)
{
	unsigned long sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(per_cpu_ptr(rt->inflight, cpu)->count[counter]);
	return sum;
}

static unsigned int old_counter(const struct remap_target *rt, unsigned int part)
{
	return READ_ONCE(rt->counter[part]) ^ 1;
}

/* Which of @parts have something in the epoch that is not current? */
static unsigned int undrained(const struct remap_target *rt, unsigned int parts)
{
	unsigned long left = parts;
	unsigned int part;

	for_each_set_bit(part, &left, REMAP_PARTS + 1)
		if (!inflight(rt, old_counter(rt, part)))
			parts &= ~(1U << part);
	return parts;
}

unsigned long remap_relocator_stuck(const struct remap_target *rt)
{
	unsigned long parts = READ_ONCE(rt->stuck), sum = 0;
	unsigned int part;

	for_each_set_bit(part, &parts, REMAP_PARTS + 1)
		sum += inflight(rt, old_counter(rt, part));
	return sum;
}

/* How long to wait the next time, after an answer that took so long. */
static unsigned long patience(unsigned long waited)
{
	return clamp(2 * waited, (unsigned long)PATIENCE, (unsigned long)PATIENCE_MAX);
}

/* Return: which of @parts are not drained, for which there is no use in waiting longer. */
static unsigned int drain(struct remap_target *rt, unsigned int parts)
{
	unsigned long since, waited, turned, open;
	unsigned int left, part, nap = 20;
	bool hurry;

	synchronize_rcu();
	left = undrained(rt, parts);		/* none but those given up before */
	turned = parts & ~left;
	for_each_set_bit(part, &turned, REMAP_PARTS + 1) {
		if (rt->stuck & 1U << part)	/* it does answer, after all */
			rt->patience[part] = patience(rt->patience[part]);
		WRITE_ONCE(rt->counter[part], old_counter(rt, part));
	}
	synchronize_rcu();
	since = jiffies;
	open = turned;
	for (;;) {
		turned = open;
		open = undrained(rt, open);
		waited = jiffies - since;
		hurry = READ_ONCE(rt->suspending) || READ_ONCE(rt->request);
		for_each_set_bit(part, &turned, REMAP_PARTS + 1) {
			if (!(open & 1U << part))
				rt->patience[part] = patience(waited);
			else if (waited > (hurry ? PATIENCE : rt->patience[part]))
				left |= 1U << part;
		}
		open &= ~left;
		if (!open)
			break;
		usleep_range(nap, 2 * nap);
		nap = min(2 * nap, 2000U);
	}
	synchronize_rcu();
	return left;
}

/* Step 1: drain the parts of the disk that the batch is in. Blocks that are not, have to wait. */
static void drain_batch(struct remap_target *rt)
{
	unsigned int left, parts = 1U << REMAP_PART_WIDE;
	struct remap_move *mv;
	struct remap_move *end = rt->move + rt->moves;

	for (mv = rt->move; mv < end; mv++)
		parts |= 1U << remap_part_of(mv->block, mv->block);
	left = drain(rt, parts);
	if (left & ~rt->stuck)
		DMERR("%s: a device has not answered I/Os for %u s or more; relocations near wait",
		      rt->name, PATIENCE / HZ);
	WRITE_ONCE(rt->stuck, (rt->stuck & ~parts) | left);
	for (mv = rt->move; mv < end; mv++)
		if (left & (1U << remap_part_of(mv->block, mv->block) | 1U << REMAP_PART_WIDE))
			mv->phase = REMAP_MOVE_LATER;
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
		if (op_is_write(bio_op(bio)) &&
		    bio_in_block(rt, bio, mv->block, &within, &count))
			bits |= sector_bits(rt, within, count);
	return bits;
}

/* Is there a write that waits for the block to move? */
static bool is_for_write(struct remap_target *rt, const struct remap_move *mv)
{
	u32 within, count;
	struct bio *bio;

	bio_list_for_each(bio, &rt->now)
		if (op_is_write(bio_op(bio)) && remap_bio(bio)->moving && !remap_bio(bio)->error &&
		    bio_in_block(rt, bio, mv->block, &within, &count))
			return true;
	return false;
}

static void overlay(struct remap_target *rt, struct remap_move *mv)
{
	u32 within, count;
	struct bio *bio;

	bio_list_for_each(bio, &rt->now) {
		if (!op_is_write(bio_op(bio)) ||
		    !bio_in_block(rt, bio, mv->block, &within, &count))
			continue;
		copy_bio(rt, bio, block_start(rt, mv->block) + within, count,
			 mv->buf + (within << SECTOR_SHIFT), false);
		mv->lost &= ~sector_bits(rt, within, count);
	}
}

/* Take a block sector by sector: those that are @wanted. What does not read is lost. */
static void read_sectors(struct remap_target *rt, struct remap_move *mv, u32 wanted)
{
	u32 step = rt->meta.super.sector_size >> SECTOR_SHIFT;
	u32 within;

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
		if (!error) {
			mv->lost &= ~bit;
			continue;
		}
		if (!remap_error_is_medium(error)) {
			fail(mv, error);
			return;
		}
		memset(buf, 0, step << SECTOR_SHIFT);
		mv->lost |= bit;
	}
}

/* Is it for an error of its device that a block moves? */
static bool from_error(enum remap_cause cause)
{
	return cause == REMAP_CAUSE_WRITE || cause == REMAP_CAUSE_READ;
}

/* Sectors of a block that did not read, and are lost if it stays at that. */
static u32 newly_lost(const struct remap_move *mv)
{
	return mv->phase == REMAP_MOVE_WRITE ? mv->lost & ~mv->old_lost : 0;
}

/* Step 2: the content of each block of the batch, as it has to be from now on. */
static void read_contents(struct remap_target *rt)
{
	struct remap_round round;
	struct remap_move *mv;
	unsigned int i;

	remap_round_begin(&round);
	for (i = 0; i < rt->moves; i++) {
		u32 all;

		mv = &rt->move[i];
		mv->need = 0;
		if (mv->phase != REMAP_MOVE_WRITE)
			continue;
		all = remap_lost_mask(&rt->meta.super, mv->sectors);
		mv->lost = mv->old_lost;
		mv->need = all & ~mv->lost & ~overlaid(rt, mv);
		memset(mv->buf, 0, mv->sectors << SECTOR_SHIFT);
		if (mv->need) {
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
		if (mv->need && mv->io.status) {
			memset(mv->buf, 0, mv->sectors << SECTOR_SHIFT);
			read_sectors(rt, mv, mv->need);
		}
		if (mv->phase == REMAP_MOVE_WRITE)
			overlay(rt, mv);
	}
}

static void probe_done(struct bio *bio)
{
	struct remap_probe *p = container_of(bio, struct remap_probe, bio);
	struct remap_target *rt = p->rt;
	unsigned long flags;

	p->status = bio->bi_status;
	/* under the lock, which remap_relocator_exit() takes last: then rt may go */
	spin_lock_irqsave(&rt->probed.lock, flags);
	smp_store_release(&p->busy, false);
	wake_up_locked(&rt->probed);
	spin_unlock_irqrestore(&rt->probed.lock, flags);
}

static void probe_begin(struct remap_target *rt, struct remap_probe *p, u64 block)
{
	bio_init(&p->bio, rt->data, &p->vec, 1, REQ_OP_READ | REQ_SYNC | REQ_NOMERGE);
	p->bio.bi_iter.bi_sector = rt->data_start + block_start(rt, block);
	p->bio.bi_end_io = probe_done;
	__bio_add_page(&p->bio, virt_to_page(p->buf), rt->meta.super.sector_size,
		       offset_in_page(p->buf));
	p->busy = true;
	submit_bio(&p->bio);
}

/* Of the probes in @mask: is one @busy, or has one that is not succeeded? */
static bool any_probe(struct remap_target *rt, unsigned long mask, bool busy)
{
	unsigned int i;

	for_each_set_bit(i, &mask, REMAP_PROBES) {
		struct remap_probe *p = &rt->probe[i];

		if (smp_load_acquire(&p->busy) ? busy : !busy && !p->status)
			return true;
	}
	return false;
}

/* It has given back something; nothing but errors; nothing, or errors, and not all is there yet. */
enum answer { ANSWER_GOOD, ANSWER_ERRORS, ANSWER_LATE };

/*
 * Does the data device still give back anything? Asked at a few places far apart that are in
 * use and not known to be bad, so that one bad region does not answer for all of the disk. The
 * first good answer is enough; places that do not answer at all are not waited for, now or the
 * next time. If they do later on, the next wait is longer. One that has become smaller has not
 * lost what is behind its end: it may be given it back.
 */
static enum answer ask_data(struct remap_target *rt)
{
	unsigned long since = jiffies, mask = 0;
	enum answer answer;
	unsigned int i, tries;
	bool answered = false;
	u64 block;

	if (bdev_nr_sectors(rt->data) < rt->data_start + rt->ti->len)
		return ANSWER_ERRORS;
	for (i = 0, tries = 0; i < REMAP_PROBES && tries < 4 * REMAP_PROBES; tries++) {
		if (smp_load_acquire(&rt->probe[i].busy)) {
			i++;
			continue;
		}
		answered = answered || rt->probe[i].late;
		rt->probe[i].late = false;
		/* the fractional parts of multiples of the golden ratio: never near each other */
		rt->probe_at += 0x9e3779b9;
		block = mul_u64_u32_shr(rt->map.blocks, rt->probe_at, 32);
		if (map_get(rt, block) != REMAP_VALUE_NONE)
			continue;
		probe_begin(rt, &rt->probe[i], block);
		mask |= 1UL << i++;
	}
	if (answered) {
		rt->late = rt->late && rt->probe_patience == PATIENCE_MAX;
		rt->probe_patience = patience(rt->probe_patience);
	}
	wait_event_timeout(rt->probed,
			   any_probe(rt, mask, false) || !any_probe(rt, mask, true),
			   rt->probe_patience);
	answer = mask ? ANSWER_ERRORS : ANSWER_GOOD;	/* or all of it is on the spare */
	if (any_probe(rt, (1UL << REMAP_PROBES) - 1, true))
		answer = ANSWER_LATE;
	if (any_probe(rt, mask, false))
		answer = ANSWER_GOOD;
	if (answer != ANSWER_LATE) {
		rt->probe_patience = patience(jiffies - since);
		rt->late = false;
		return answer;
	}
	for_each_set_bit(i, &mask, REMAP_PROBES)
		rt->probe[i].late = smp_load_acquire(&rt->probe[i].busy);
	if (!rt->late)
		rt->late_since = jiffies;
	rt->late = true;
	return answer;
}

/* Was the data device last asked in vain, and is there no use yet in asking again? */
static bool still_late(struct remap_target *rt)
{
	unsigned int i;

	for (i = 0; i < REMAP_PROBES; i++)
		if (rt->probe[i].late && !smp_load_acquire(&rt->probe[i].busy))
			return false;
	return rt->late && !time_after(jiffies, rt->late_since + PATIENCE_MAX);
}

/*
 * Before anything is concluded from errors: is it bad blocks that we have met, or is a device
 * dead or gone? Of a dead disk every block is bad, and nothing is to be remapped or lost. @lost:
 * asked for blocks of which sectors would be lost, else for all that were met by an error.
 * The moves that depend on one that does not answer have failed then; where it may still do so,
 * those that would lose something have. A write that waits for one of these is tried again later,
 * for a while: it is for nobody's sake that it would fail, if the device is only slow.
 */
static void judge_devices(struct remap_target *rt, bool lost)
{
	bool data = false, spare = false, late = rt->late, wait;
	enum answer answer = ANSWER_GOOD;
	struct remap_move *mv;
	struct remap_move *end = rt->move + rt->moves;

	for (mv = rt->move; mv < end; mv++) {
		bool error = newly_lost(mv) || (!lost && from_error(mv->cause));

		if (mv->phase != REMAP_MOVE_WRITE || !error)
			continue;
		if (mv->old == REMAP_NO_SLOT)
			data = true;
		else
			spare = true;
	}
	if (data)
		answer = ask_data(rt);
	if (answer == ANSWER_ERRORS) {
		DMERR("%s: %s does not answer anywhere: not bad blocks but a dead disk", rt->name,
		      rt->data_dev->name);
		rt->paused = true;
		remap_set_state(rt, REMAP_PAUSED);
	}
	wait = answer == ANSWER_LATE && !time_after(jiffies, rt->late_since + PATIENCE_MAX);
	if (answer == ANSWER_LATE && !(late && wait))
		DMERR_LIMIT("%s: %s does not answer in time: nothing of it is called lost",
			    rt->name, rt->data_dev->name);
	if (spare && !remap_meta_answers(&rt->meta)) {
		DMERR("%s: spare %s does not answer", rt->name, rt->spare_dev->name);
		remap_set_state(rt, REMAP_FAILED);
	} else {
		spare = false;
	}
	for (mv = rt->move; mv < end; mv++) {
		bool dead = answer == ANSWER_ERRORS || (answer == ANSWER_LATE && newly_lost(mv));

		if (mv->phase != REMAP_MOVE_WRITE ||
		    !(spare || (dead && mv->old == REMAP_NO_SLOT)))
			continue;
		mv->asks = !spare && wait && is_for_write(rt, mv);
		if (mv->asks)
			mv->phase = REMAP_MOVE_LATER;
		else
			fail(mv, BLK_STS_IOERR);
	}
}

/*
 * What is lost is lost for good, so a sector has to fail twice for it, with an answer of its
 * device after each time: one that was away while the contents were read, and is back, has lost
 * nothing.
 */
static void judge_contents(struct remap_target *rt)
{
	struct remap_move *mv;
	struct remap_move *end = rt->move + rt->moves;
	bool lost = false;

	judge_devices(rt, false);
	for (mv = rt->move; mv < end; mv++) {
		if (newly_lost(mv))
			read_sectors(rt, mv, newly_lost(mv));
		lost = lost || newly_lost(mv);
	}
	if (lost)
		judge_devices(rt, true);
	for (mv = rt->move; mv < end; mv++)
		if (newly_lost(mv) && mv->old != REMAP_NO_SLOT)
			mv->old_is_bad = true;
}

/* Take a slot for a block; without one it cannot move. */
static void take_slot(struct remap_target *rt, struct remap_move *mv)
{
	mv->slot = remap_meta_alloc(&rt->meta, mv->block, mv->lost, mv->old);
	if (mv->slot == REMAP_NO_SLOT && remap_meta_room(&rt->meta, GFP_NOIO) == -EIO)
		remap_set_state(rt, REMAP_FAILED);
	if (mv->slot == REMAP_NO_SLOT)
		mv->slot = remap_meta_alloc(&rt->meta, mv->block, mv->lost, mv->old);
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

/*
 * A slot is bad: put it out of use, try another one. After too many in a row see first, by
 * committing that, whether the spare takes anything at all.
 */
static void next_slot(struct remap_target *rt, struct remap_move *mv)
{
	drop_slot(rt, mv->slot, true);
	mv->tried[mv->tries++] = mv->slot;
	if (mv->tries < REMAP_SLOT_TRIES)
		take_slot(rt, mv);
	else
		mv->phase = REMAP_MOVE_LATER;
}

/* The spare took no commit: nothing says that the slots are bad, and not all of it. */
static void retry_slots(struct remap_target *rt, struct remap_move *mv)
{
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
	if (mv->slot != REMAP_NO_SLOT) {
		drop_slot(rt, mv->slot, false);
		if (!remap_meta_answers(&rt->meta))
			remap_set_state(rt, REMAP_FAILED);
	}
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
		remap_map_clear(&rt->map, mv->block);
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
	for (mv = rt->move; mv < end; mv++) {
		if (mv->phase == REMAP_MOVE_LATER && mv->tries && !ok)
			retry_slots(rt, mv);
		if (mv->phase != REMAP_MOVE_DONE)
			unmark(rt, mv, mv->attempted && !ok);
	}
}

/* Steps 3 to 6 for blocks that go back to the data device: written, read back, entry freed. */
static void settle_unmoves(struct remap_target *rt)
{
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
		remap_meta_get(&rt->meta, mv->old, &mv->before);
		drop_slot(rt, mv->old, mv->old_is_bad);
	}
	commit(rt, false);
	for (mv = rt->move; mv < end; mv++)
		if (mv->phase == REMAP_MOVE_WRITTEN && slot_is_durable(rt, mv->old))
			mv->phase = REMAP_MOVE_DONE;
	for (mv = rt->move; mv < end; mv++) {
		if (mv->phase == REMAP_MOVE_DONE) {
			remap_map_clear(&rt->map, mv->block);
		} else if (mv->phase == REMAP_MOVE_WRITTEN) {
			remap_meta_set(&rt->meta, mv->old, &mv->before);
			fail(mv, BLK_STS_IOERR);
			unmark(rt, mv, true);
		} else {
			unmark(rt, mv, false);
		}
	}
}

/* The error that a bio fails with, if nothing helps: the one it came with. */
static blk_status_t bio_error(const struct bio *bio)
{
	return bio->bi_status ?: BLK_STS_MEDIUM;
}

/* Failed bios that touch a block that could not move wait, or fail as they did before. */
static void fail_bios(struct remap_target *rt, const struct remap_move *mv)
{
	u32 within, count;
	struct bio *bio;

	bio_list_for_each(bio, &rt->now) {
		if (!bio_in_block(rt, bio, mv->block, &within, &count))
			continue;
		/* one that has got all it wanted, or is written already, needs nothing to move */
		if (!remap_bio(bio)->moving)
			continue;
		if (mv->phase != REMAP_MOVE_LATER || (mv->asks && !op_is_write(bio_op(bio)))) {
			remap_bio(bio)->error = bio_error(bio);
			continue;
		}
		remap_bio(bio)->later = true;
		remap_bio(bio)->asks |= mv->asks;
	}
}

static unsigned int report_moves(struct remap_target *rt)
{
	struct remap_move *mv;
	unsigned int moved = 0;

	for (mv = rt->move; mv < rt->move + rt->moves; mv++) {
		u64 sector = block_start(rt, mv->block);
		int error = mv->phase == REMAP_MOVE_LATER ? -EAGAIN :
							    blk_status_to_errno(mv->error);

		trace_remap_relocate_end(rt->dev, rt->ti->begin + sector, mv->cause,
					 error ? mv->old : mv->slot, error);
		if (mv->phase == REMAP_MOVE_LATER) {
			/* storm() counts it again when it is its turn; not the slots it costs */
			if (from_error(mv->cause) && !mv->tries && rt->window_moves)
				rt->window_moves--;
			fail_bios(rt, mv);
			continue;
		}
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
		trace_remap_lost(rt->dev, rt->ti->begin + sector, mv->lost);
		if (mv->lost & ~mv->old_lost)
			DMERR_LIMIT("%s: sectors %llu + %u: lost %#x", rt->name, sector,
				    mv->sectors, mv->lost);
	}
	return moved;
}

/* Step 7, second half; and new table blocks before they are needed. */
static void tidy(struct remap_target *rt)
{
	const gfp_t gfp = GFP_NOIO | __GFP_NORETRY | __GFP_NOWARN;
	unsigned int i;

	for (i = 0; i < rt->lefts; i++)
		drop_slot(rt, rt->left[i].slot, rt->left[i].bad);
	if (rt->lefts && rt->state != REMAP_FAILED)
		commit(rt, false);
	rt->lefts = 0;
	/* no insisting on what is not needed yet: memory may have to come from who waits for us */
	if (remap_map_prepare(&rt->map, rt->batch, gfp))
		DMDEBUG("%s: the reserve of the map is not full", rt->name);
	if ((rt->state == REMAP_ACTIVE || rt->state == REMAP_EXHAUSTED) &&
	    remap_meta_room(&rt->meta, gfp) == -EIO)
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
		for (mv = rt->move; mv < end; mv++) {
			fail(mv, BLK_STS_IOERR);
			fail_bios(rt, mv);
		}
		rt->moves = 0;
		return 0;
	}
	/* tidy() tried for a whole batch; this one cannot do without */
	while (remap_map_prepare(&rt->map, rt->moves, GFP_NOIO))
		msleep(100);
	for (mv = rt->move; mv < end; mv++) {
		trace_remap_relocate_begin(rt->dev, rt->ti->begin + block_start(rt, mv->block),
					   mv->sectors, mv->cause);
		set_value(rt, mv->block, mv->old | REMAP_VALUE_SPECIAL);
	}
	drain_batch(rt);
	read_contents(rt);
	judge_contents(rt);
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
	mv->asks = false;
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

/* ---- failed reads and writes ---- */

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

/* A block of a failed bio has failed again: move it, or let the bio fail. */
static void move_for(struct remap_target *rt, struct bio *bio, u64 block, u32 value,
		     enum remap_cause cause)
{
	struct remap_bio *rb = remap_bio(bio);

	if (rt->state != REMAP_ACTIVE || (from_error(cause) && storm(rt))) {
		rb->error = bio_error(bio);
		return;
	}
	rb->moving = true;
	move_add(rt, block, value, cause);
	if (cause == REMAP_CAUSE_WRITE && rt->move[rt->moves - 1].old != REMAP_NO_SLOT)
		rt->move[rt->moves - 1].old_is_bad = true;
}

static u32 slot_of(u32 value)
{
	return value == REMAP_VALUE_NONE ? REMAP_NO_SLOT : value & REMAP_VALUE_SLOT;
}

static bool is_frozen(u32 value)
{
	return value != REMAP_VALUE_NONE && value & REMAP_VALUE_FROZEN;
}

/*
 * Which of the blocks of a failed bio, from @block to @last, are to be tried again in one round?
 * There is room for as many as may have to move for it. Return: where to go on
 */
static u64 choose_parts(struct remap_target *rt, struct bio *bio, u64 block, u64 last,
			unsigned int *parts)
{
	bool write = op_is_write(bio_op(bio));
	struct remap_bio *rb = remap_bio(bio);

	for (*parts = 0; block <= last && !rb->error; block++) {
		struct remap_part *p = &rt->part[*parts];

		if (*parts + rt->moves == rt->batch)
			break;
		if (move_find(rt, block)) {
			rb->moving = true;	/* for another bio; what this writes goes along */
			continue;
		}
		p->block = block;
		p->value = map_get(rt, block);
		bio_in_block(rt, bio, block, &p->within, &p->count);
		if (write && is_frozen(p->value))
			rb->error = BLK_STS_IOERR;
		else if (!(lost_of(rt, slot_of(p->value)) & sector_bits(rt, p->within, p->count)))
			(*parts)++;
		else if (write)
			move_for(rt, bio, block, p->value, REMAP_CAUSE_LOST_WRITE);
		else
			rb->error = BLK_STS_MEDIUM;
	}
	return block;
}

static u8 *part_buf(struct remap_target *rt, const struct remap_part *p)
{
	return rt->move[p - rt->part].readback;
}

/* Try parts again, where they are now. The buffers that batches read back into are free now. */
static void try_parts(struct remap_target *rt, struct bio *bio, unsigned int parts)
{
	bool write = op_is_write(bio_op(bio));
	/* FUA, for it costs little here and saves us the accounts of what is to be flushed */
	blk_opf_t opf = write ? REQ_OP_WRITE | REQ_SYNC | REQ_FUA : REQ_OP_READ | REQ_SYNC;
	struct remap_round round;
	unsigned int i;

	remap_round_begin(&round);
	for (i = 0; i < parts; i++) {
		struct remap_part *p = &rt->part[i];
		struct block_device *bdev;
		sector_t sector;

		if (write)
			copy_bio(rt, bio, block_start(rt, p->block) + p->within, p->count,
				 part_buf(rt, p), false);
		bdev = place_of(rt, p->block, slot_of(p->value), p->within, &sector);
		remap_round_add(&round, &rt->move[i].io, bdev, sector, opf, part_buf(rt, p),
				p->count << SECTOR_SHIFT);
	}
	remap_round_end(&round);
	for (i = 0; i < parts; i++)
		rt->part[i].status = rt->move[i].io.status;
}

/* A part did not read as a whole: take it sector by sector. Return: the first error */
static blk_status_t try_sectors(struct remap_target *rt, const struct remap_part *p)
{
	u32 i, step = rt->meta.super.sector_size >> SECTOR_SHIFT, n = p->count / step;
	struct remap_round round;

	BUILD_BUG_ON(REMAP_BATCH_BYTES / REMAP_MAX_BLOCK < REMAP_MAX_BLOCK >> SECTOR_SHIFT);
	remap_round_begin(&round);
	for (i = 0; i < n; i++) {
		struct block_device *bdev;
		sector_t sector;

		bdev = place_of(rt, p->block, slot_of(p->value), p->within + i * step, &sector);
		remap_round_add(&round, &rt->move[i].io, bdev, sector, REQ_OP_READ | REQ_SYNC,
				part_buf(rt, p) + (i * step << SECTOR_SHIFT), step << SECTOR_SHIFT);
	}
	remap_round_end(&round);
	for (i = 0; i < n; i++)
		if (rt->move[i].io.status)
			return rt->move[i].io.status;
	return BLK_STS_OK;
}

/*
 * Try some of the blocks of a failed bio again. @last_try: blocks do not move for it (any more).
 * Return: where to go on
 */
static u64 try_again(struct remap_target *rt, struct bio *bio, u64 block, u64 last, bool last_try)
{
	bool write = op_is_write(bio_op(bio));
	struct remap_bio *rb = remap_bio(bio);
	unsigned int i, parts;

	block = choose_parts(rt, bio, block, last, &parts);
	try_parts(rt, bio, parts);
	for (i = 0; i < parts && !rb->error; i++) {
		struct remap_part *p = &rt->part[i];

		if (!write && remap_error_is_medium(p->status))
			p->status = try_sectors(rt, p);
		if (!write && !p->status)
			copy_bio(rt, bio, block_start(rt, p->block) + p->within, p->count,
				 part_buf(rt, p), true);
		if (!p->status)
			continue;
		if (!remap_error_is_medium(p->status) || last_try || is_frozen(p->value))
			rb->error = p->status;
		else
			move_for(rt, bio, p->block, p->value,
				 write ? REMAP_CAUSE_WRITE : REMAP_CAUSE_READ);
	}
	return block;
}

/*
 * Zero a run of blocks that are in their place, by the device's own means: half as many as before
 * if it fails, and in the end one block by writing zeroes. A device that takes that, and would not
 * zero the same block, is not asked a second time for what it fails: that may be all, and slow.
 * Return: where to go on
 */
static u64 zero_again(struct remap_target *rt, struct bio *bio, u64 block, u64 last, u64 *run)
{
	sector_t first = remap_bio_sector(rt, remap_bio(bio));
	sector_t end = first + (remap_bio(bio)->iter.bi_size >> SECTOR_SHIFT);
	blk_opf_t opf = REQ_OP_WRITE_ZEROES | REQ_SYNC | (bio->bi_opf & REQ_NOUNMAP);
	blk_status_t status;
	bool alone;
	u32 value;
	u64 next;

	while (!rt->no_zeroes) {
		next = map_next(rt, block, last, &value);
		if (next == block)
			return try_again(rt, bio, block, block, false);
		next = min3(next, last + 1, block + *run);	/* REMAP_MAP_END is beyond all */
		first = max(first, block_start(rt, block));
		status = remap_io_sync_range(&rt->move[0].io, rt->data, rt->data_start + first, opf,
					     min(end, block_start(rt, next)) - first);
		if (!status) {
			*run = 2 * min(*run, last - block + 1);
			return next;
		}
		cond_resched();
		alone = next - block == 1;
		*run = max((next - block) / 2, 1ULL);
		if (remap_error_is_medium(status) && !alone)
			continue;
		next = try_again(rt, bio, block, block, false);
		if (alone && !remap_bio(bio)->error && !move_find(rt, block)) {
			DMWARN("%s: zeroes are written: the data device fails to zero blocks",
			       rt->name);
			rt->no_zeroes = true;
		}
		return next;
	}
	return try_again(rt, bio, block, last, false);
}

static void put_off(struct remap_target *rt, struct bio *bio)
{
	spin_lock_irq(&rt->lock);
	bio_list_add(&rt->later, bio);
	spin_unlock_irq(&rt->lock);
}

/* After the blocks have moved: may it end, how, or is it to come back? */
static void settle_failed(struct remap_target *rt, struct bio *bio)
{
	struct remap_bio *rb = remap_bio(bio);
	sector_t first = remap_bio_sector(rt, rb);
	u32 sectors = rb->iter.bi_size >> SECTOR_SHIFT;
	u64 block = block_of(rt, first), last = block_of(rt, first + sectors - 1);
	bool read = !op_is_write(bio_op(bio));

	if (rb->later && !rb->error) {
		put_off(rt, bio);
		return;
	}
	while (read && rb->moving && !rb->error && block <= last)
		block = try_again(rt, bio, block, last, true);
	if (read && !rb->error) {
		atomic64_inc(&rt->reads_recovered);
		trace_remap_recovered(rt->dev, rt->ti->begin + first, sectors);
	}
	bio_finish(rt, bio, rb->error);
}

/* Failed reads and writes, and writes to lost sectors: all of @list, to the end. */
static void handle_failed(struct remap_target *rt, struct bio_list *list)
{
	bool flushed = false;
	struct bio *bio;

	bio_list_init(&rt->now);
	while ((bio = bio_list_pop(list))) {
		struct remap_bio *rb = remap_bio(bio);
		u64 block = block_of(rt, remap_bio_sector(rt, rb));
		u64 last = block_of(rt, remap_bio_sector(rt, rb) +
				    (rb->iter.bi_size >> SECTOR_SHIFT) - 1);
		u64 run = last - block + 1;

		if (rb->way & REMAP_UNFLUSHED) {
			/* it may take its time: one for all that are here */
			if (!flushed)
				remap_flush_again(rt);
			flushed = true;
			bio_finish(rt, bio, BLK_STS_IOERR);
			continue;
		}
		if (!in_sectors(rt, rb)) {
			bio_finish(rt, bio, bio->bi_status ?: BLK_STS_IOERR);
			continue;
		}
		/* map() sets moving to false, and else nothing of this */
		if (rb->moving && rb->asks && still_late(rt)) {
			put_off(rt, bio);
			continue;
		}
		/* what has not been sent yet, a write to where a remapped block is, may well go */
		rb->error = rt->state == REMAP_PAUSED ? bio->bi_status : BLK_STS_OK;
		rb->moving = false;
		rb->later = false;
		rb->asks = false;
		bio_list_add(&rt->now, bio);
		while (block <= last && !rb->error) {
			if (bio_op(bio) == REQ_OP_WRITE_ZEROES)
				block = zero_again(rt, bio, block, last, &run);
			else
				block = try_again(rt, bio, block, last, false);
			if (rt->moves == rt->batch)
				move_batch(rt);
			cond_resched();
		}
	}
	move_batch(rt);
	while ((bio = bio_list_pop(&rt->now)))
		settle_failed(rt, bio);
	if (!bio_list_empty(&rt->later))
		queue_delayed_work(rt->wq, &rt->retry, RETRY_DELAY);
}

static void retry(struct work_struct *work)
{
	struct remap_target *rt = container_of(to_delayed_work(work), struct remap_target, retry);

	spin_lock_irq(&rt->lock);
	bio_list_merge(&rt->failed, &rt->later);
	bio_list_init(&rt->later);
	queue_work(rt->wq, &rt->work);
	spin_unlock_irq(&rt->lock);
}

/* ---- bios that met a mark ---- */

/* Send it on, or fail it, or leave it in @failed if a block has to move for it. */
static void handle_waiting(struct remap_target *rt, struct bio *bio, struct bio_list *failed)
{
	struct remap_bio *rb = remap_bio(bio);
	u64 block = block_of(rt, remap_bio_sector(rt, rb));
	u32 value = map_get(rt, block);
	u32 within, count, slot = slot_of(value), lost;

	if (value == REMAP_VALUE_NONE) {
		bio_dispatch(rt, bio, REMAP_NO_SLOT);
		return;
	}
	if (!in_sectors(rt, rb)) {
		bio_finish(rt, bio, BLK_STS_IOERR);
		return;
	}
	if (bio_op(bio) == REQ_OP_WRITE_ZEROES) {
		bio_list_add(failed, bio);	/* is written block by block */
		return;
	}
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
	unsigned int i, asked, moved;
	u32 value = 0;

	if (rt->state != REMAP_ACTIVE && !(unmap && rt->state == REMAP_EXHAUSTED)) {
		req->error = rt->state == REMAP_READONLY ? -EROFS :
			     rt->state == REMAP_EXHAUSTED ? -ENOSPC :
			     rt->state == REMAP_FAILED ? -EIO : -EBUSY;
		return;
	}
	while (req->first <= req->last && rt->moves < rt->batch) {
		u64 block = req->first;

		if (unmap) {
			block = map_next(rt, block, req->last, &value);
			if (block == REMAP_MAP_END) {
				req->first = req->last + 1;
				break;
			}
		} else {
			value = map_get(rt, block);
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
	req->later = false;
	for (i = 0; i < asked && !req->later; i++) {
		req->later = rt->move[i].phase == REMAP_MOVE_LATER;
		if (!req->later && rt->move[i].phase != REMAP_MOVE_DONE)
			req->failed++;
	}
	if (req->later)
		req->first = rt->move[i - 1].block;	/* that one and all behind it again */
}

/* The next remapped blocks from req->first on. */
static void handle_list(struct remap_target *rt, struct remap_request *req)
{
	req->lines = 0;
	while (req->first <= req->last && req->lines < REMAP_LIST_LINES) {
		u32 value, slot;
		u64 block = map_next(rt, req->first, req->last, &value);

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
		block = map_next(rt, block, rt->map.blocks - 1, &value);
		if (block == REMAP_MAP_END)
			return;
		if (value & REMAP_VALUE_FROZEN) {
			u32 slot = value & REMAP_VALUE_SLOT;

			if (slot != REMAP_NO_SLOT)
				set_value(rt, block, rest_value(slot, lost_of(rt, slot)));
			else
				remap_map_clear(&rt->map, block);
		}
		if (++block == rt->map.blocks)
			return;
		cond_resched();
	}
}

static void handle_grow(struct remap_target *rt, struct remap_request *req)
{
	struct remap_meta *m = &rt->meta;

	if (rt->state == REMAP_FAILED) {
		req->error = -EIO;
		return;
	}
	req->error = remap_meta_grow(m, req->first);
	if (!req->error && remap_meta_room(m, GFP_NOIO) == -EIO)
		req->error = -EIO;
	if (req->error == -EIO)
		remap_set_state(rt, REMAP_FAILED);
	if (req->error)
		return;
	DMINFO("%s: spare has grown to %u slots", rt->name, m->layout.slots);
	if (rt->state == REMAP_EXHAUSTED && m->slots_free)
		remap_set_state(rt, REMAP_ACTIVE);
	dm_table_event(rt->ti->table);
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
	case REMAP_REQ_GROW:
		handle_grow(rt, req);
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
	else if (remap_meta_room(m, GFP_NOIO) == -EIO)
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
		bool suspect;

		spin_lock_irq(&rt->lock);
		failed = rt->failed;
		waiting = rt->waiting;
		req = rt->request;
		suspect = rt->spare_suspect;
		rt->spare_suspect = false;
		bio_list_init(&rt->failed);
		bio_list_init(&rt->waiting);
		rt->request = NULL;
		spin_unlock_irq(&rt->lock);
		if (bio_list_empty(&failed) && bio_list_empty(&waiting) && !req && !suspect)
			break;

		/* out of readonly no way would lead back */
		if (suspect && rt->state != REMAP_FAILED && rt->state != REMAP_READONLY &&
		    !remap_meta_answers(&rt->meta)) {
			DMERR("%s: spare %s does not answer", rt->name, rt->spare_dev->name);
			remap_set_state(rt, REMAP_FAILED);
		}
		while ((bio = bio_list_pop(&waiting)))
			handle_waiting(rt, bio, &failed);
		handle_failed(rt, &failed);
		if (req)
			handle_request(rt, req);
		tidy(rt);
		/* who swaps the table waits for messages, and for nothing of this after them */
		if (req)
			complete(&req->done);
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
	/* networks hold on to pages one by one, and each must be one that can be held on to */
	gfp_t gfp = GFP_KERNEL | __GFP_COMP;

	rt->buf_order = order;
	rt->batch = min_t(unsigned int, REMAP_BATCH,
			  REMAP_BATCH_BYTES / rt->meta.super.block_size);
	spin_lock_init(&rt->lock);
	bio_list_init(&rt->failed);
	bio_list_init(&rt->waiting);
	bio_list_init(&rt->later);
	INIT_WORK(&rt->work, worker);
	INIT_DELAYED_WORK(&rt->retry, retry);
	rt->window_start = jiffies;

	for (i = 0; i <= REMAP_PARTS; i++)
		rt->patience[i] = PATIENCE;
	rt->probe_patience = PATIENCE;
	init_waitqueue_head(&rt->probed);
	for (i = 0; i < REMAP_PROBES; i++) {
		rt->probe[i].rt = rt;
		rt->probe[i].buf = (u8 *)__get_free_pages(gfp, order);
		if (!rt->probe[i].buf)
			return -ENOMEM;
	}
	for (i = 0; i < rt->batch; i++) {
		rt->move[i].buf = (u8 *)__get_free_pages(gfp, order);
		rt->move[i].readback = (u8 *)__get_free_pages(gfp, order);
		if (!rt->move[i].buf || !rt->move[i].readback)
			return -ENOMEM;
	}
	rt->wq = alloc_ordered_workqueue("dm-remap", WQ_MEM_RECLAIM);
	return rt->wq ? 0 : -ENOMEM;
}

void remap_relocator_exit(struct remap_target *rt)
{
	unsigned int i;

	if (rt->wq) {
		cancel_delayed_work_sync(&rt->retry);
		destroy_workqueue(rt->wq);
		wait_event(rt->probed, !any_probe(rt, (1UL << REMAP_PROBES) - 1, true));
		spin_lock_irq(&rt->probed.lock);
		spin_unlock_irq(&rt->probed.lock);
	}
	for (i = 0; i < REMAP_PROBES; i++)
		free_pages((unsigned long)rt->probe[i].buf, rt->buf_order);
	for (i = 0; i < rt->batch; i++) {
		free_pages((unsigned long)rt->move[i].buf, rt->buf_order);
		free_pages((unsigned long)rt->move[i].readback, rt->buf_order);
	}
}
