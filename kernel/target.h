/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The target's own state, shared by the hot path (target.c) and the recovery path (relocate.c).
 */
#ifndef REMAP_TARGET_H
#define REMAP_TARGET_H

#include <linux/bio.h>
#include <linux/device-mapper.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include "map.h"
#include "meta.h"
#include "remap/abi.h"

/*
 * Blocks relocated together, at most: what a bio of 1 MiB has in blocks of 4 KiB, so that a bad
 * region costs one round of commits and not one for each few blocks of it. Of larger blocks it is
 * fewer, for each has two buffers set aside.
 */
#define REMAP_BATCH		REMAP_MAP_RESERVE
#define REMAP_BATCH_BYTES	(1U << 20)
#define REMAP_LIST_LINES	32	/* of the answer to a message, taken at once */
#define REMAP_SLOT_TRIES	8	/* bad slots in a row before the spare itself is blamed */

/*
 * Writes (and reads of slots) on their way to a device, by part of the disk and by the epoch in
 * which they set out. Of a part's two epochs one is current; see drain() in relocate.c. Parts
 * are leaves of the map, modulo REMAP_PARTS, so that a write that a device never completes holds
 * up the relocations of few other blocks; I/O that is in more than one leaf has a part of its own,
 * which every relocation waits for.
 */
#define REMAP_PARTS		16
#define REMAP_PART_WIDE		REMAP_PARTS

struct remap_inflight {
	unsigned long count[2 * (REMAP_PARTS + 1) + 1];	/* 2 * part + epoch */
};

#define REMAP_NOT_COUNTED	(2 * (REMAP_PARTS + 1))

/* A block on the move. */
struct remap_move {
	u64 block;
	u32 sectors;			/* of 512 bytes */
	u32 old;			/* where it is: slot, or REMAP_NO_SLOT on the data device */
	u32 slot;			/* where it goes: likewise */
	u32 old_lost;			/* logical sectors, as in an entry */
	u32 lost;
	u32 need;			/* logical sectors that are to be read from there */
	struct remap_entry before;	/* the old slot's, while it is given up */
	enum remap_cause cause;
	enum {
		REMAP_MOVE_WRITE,	/* to be written to its new place */
		REMAP_MOVE_WRITTEN,	/* to be committed and read back */
		REMAP_MOVE_DONE,
		REMAP_MOVE_LATER,	/* not now: to be tried again */
		REMAP_MOVE_FAILED,	/* with an error */
	} phase;
	blk_status_t error;
	bool asks;			/* later, when the data device has answered */
	bool old_is_bad;		/* the old slot failed: never use it again */
	bool attempted;			/* a commit of its new entry was begun */
	unsigned int tries;
	u32 tried[REMAP_SLOT_TRIES];	/* slots that turned out to be bad */
	u8 *buf;			/* its content */
	u8 *readback;
	struct remap_io io;
};

/* A part of a failed bio, within one block, that is tried again. */
struct remap_part {
	u64 block;
	u32 value;			/* of the block, in the map */
	u32 within;			/* sectors, from the start of the block */
	u32 count;
	blk_status_t status;		/* of that */
};

/* A read that is to tell whether the data device answers at all. It may take its time. */
#define REMAP_PROBES		4
struct remap_probe {
	struct bio bio;
	struct bio_vec vec;
	struct remap_target *rt;
	u8 *buf;
	blk_status_t status;
	bool busy;
	bool late;			/* it was given up, which says nothing of now */
};

/* A message, handed to the worker by the one thread that holds message_lock. */
struct remap_request {
	enum {
		REMAP_REQ_MOVE,
		REMAP_REQ_UNMOVE,
		REMAP_REQ_LIST,
		REMAP_REQ_VERIFY,
		REMAP_REQ_REPAIR,
		REMAP_REQ_RESET,
		REMAP_REQ_GROW,
	} type;
	u64 first, last;		/* blocks; the worker moves first on, a batch at a time;
					 * REMAP_REQ_GROW: first is the new size in sectors */
	u64 moved, failed;		/* blocks, added to */
	bool later;			/* result: some have to wait, first is the first of them */
	enum remap_replica_state replica[REMAP_ZONES];	/* result */
	struct {
		u64 block;
		u32 slot;
		u32 lost;
	} line[REMAP_LIST_LINES];		/* result */
	unsigned int lines;
	int error;			/* result */
	struct completion done;
};

struct remap_target {
	/* hot path: read only, once the target is live */
	struct block_device *data;
	sector_t begin;			/* of the target in its table */
	sector_t data_start;
	unsigned int block_shift;	/* sectors of 512 bytes to blocks */
	/* 2 * part + epoch, where the epoch is the current one; turned by the relocator */
	u8 counter[REMAP_PARTS + 1];
	struct remap_inflight __percpu *inflight;
	struct block_device *uncounted;	/* reads of it; NULL if data and spare are parts of one */
	struct remap_map map;

	struct block_device *spare;
	sector_t spare_start;

	/* Has the spare anything to flush? See target.c. */
	atomic64_t flushes ____cacheline_aligned_in_smp;	/* flushes begun */
	atomic64_t written_at;		/* value of flushes at the last write to a slot */
	atomic64_t clean_at;		/* writes up to this value have been flushed */
	/* its value when a flush failed and none has succeeded since, else 0: data, spare */
	atomic64_t unflushed[2];
	atomic64_t failed_at[2];	/* its value when a flush last failed */

	/* bios that the worker is to look at */
	spinlock_t lock ____cacheline_aligned_in_smp;
	struct bio_list failed;		/* reads and writes that a device refused */
	struct bio_list waiting;	/* bios that met a marked block */
	struct bio_list later;		/* failed ones that can only be seen to after a while */
	struct remap_request *request;
	unsigned int queued;		/* bios in these lists, or being looked at */
	bool spare_suspect;		/* an I/O on the spare failed: is it still there? */
	struct workqueue_struct *wq;
	struct work_struct work;
	struct delayed_work retry;	/* of what is in "later" */

	/* the worker's own, but for preresume, which runs before there is any work */
	struct remap_meta meta;
	struct bio_list now;		/* failed bios that are being looked at */
	struct remap_move move[REMAP_BATCH];
	unsigned int batch;		/* of these may be used */
	unsigned int moves;		/* of these are */
	struct {
		u32 slot;
		bool bad;
	} left[REMAP_BATCH];		/* slots that blocks have left, to be freed */
	unsigned int lefts;
	bool verifying;			/* option verify, for the batch at hand */
	bool paused;			/* a storm was met, and no reset since */
	bool no_zeroes;			/* the data device fails to zero what it can write */
	struct remap_part part[REMAP_BATCH];
	unsigned int stuck;		/* bit p: part p has I/O that a device does not answer */
	unsigned long patience[REMAP_PARTS + 1];	/* jiffies: so long a part is waited for */
	u32 probe_at;			/* where the data device was probed last, pseudo-random */
	struct remap_probe probe[REMAP_PROBES];
	wait_queue_head_t probed;
	unsigned long probe_patience;	/* jiffies: so long they are waited for */
	bool late;			/* they were last given up, from late_since (jiffies) on */
	unsigned long late_since;
	unsigned int buf_order;		/* of all buffers for blocks */
	unsigned long window_start;	/* jiffies */
	unsigned int window_moves;

	/* options; changed by "set" */
	bool verify;
	bool force;
	bool relocate_reads;		/* on_read_error relocate */
	unsigned int burst;
	unsigned int window;		/* seconds */
	u64 spare_size;			/* sectors; 0: the rest of the device */

	enum remap_state state;
	atomic64_t relocations;
	atomic64_t reads_recovered;
	atomic64_t io_errors;

	struct dm_target *ti;
	struct dm_dev *data_dev;
	struct dm_dev *spare_dev;
	const char *name;
	dev_t dev;
	bool loaded;
	bool replaces_unflushed;	/* a table whose last flush failed */
	bool suspending;		/* messages give way */
	u64 claimed;			/* sectors of the spare that are ours; in target.c */
	struct mutex message_lock;	/* one message at a time */
	struct list_head active;	/* in target.c's list of active spares */
};

/* what remap_bio.way has: the counter that the bio is in, or REMAP_NOT_COUNTED, and */
#define REMAP_COUNTER		0x00ff	/* mask */
#define REMAP_READS_SPARE	0x0100	/* it went to a slot */
#define REMAP_WRITES_SPARE	0x0200	/* likewise, or is the spare's flush */
#define REMAP_FLUSHES		0x0400	/* it is a flush */
#define REMAP_UNFLUSHED		0x0800	/* a flush before it failed, and so must it */
#define REMAP_ON_SPARE		(REMAP_READS_SPARE | REMAP_WRITES_SPARE)

/* What the target remembers of each bio. */
struct remap_bio {
	struct bvec_iter iter;		/* as it came, but for bi_sector: on the data device */
	u16 way;
	bool done;			/* the worker has the last word: let it pass */
	bool moving;			/* the worker's: a block of it moves */
	bool later;			/* the worker's: a block of it could not move now */
	bool asks;			/* likewise, before the data device has answered */
	blk_status_t error;		/* the worker's verdict */
	u64 flush;			/* a flush: its number */
	/* so that end_io() need not keep the target for after dm_per_bio_data() */
	struct remap_inflight __percpu *inflight;	/* the target's, if it is counted */
	struct remap_target *rt;	/* if it is, or was, for the spare, or is a flush */
};

static inline struct remap_bio *remap_bio(struct bio *bio)
{
	return dm_per_bio_data(bio, sizeof(struct remap_bio));
}

/* The first sector of a bio within the target, whatever became of bi_iter since. */
static inline sector_t remap_bio_sector(const struct remap_target *rt, const struct remap_bio *rb)
{
	return rb->iter.bi_sector - rt->data_start;
}

/* Are blocks @first to @last in more than one leaf of the map? */
static inline bool remap_is_wide(u64 first, u64 last)
{
	return (first ^ last) >= REMAP_LEAF_BLOCKS;
}

/* The part of the disk that they are in. */
static inline unsigned int remap_part_of(u64 first, u64 last)
{
	if (remap_is_wide(first, last))
		return REMAP_PART_WIDE;
	return (first >> REMAP_LEAF_SHIFT) % REMAP_PARTS;
}

/** remap_count() - count a bio into its part's current epoch; in an RCU section */
static inline void remap_count(struct remap_target *rt, struct remap_bio *rb, u64 first, u64 last)
{
	struct remap_inflight __percpu *inflight = rt->inflight;
	unsigned int counter = READ_ONCE(rt->counter[remap_part_of(first, last)]);

	rb->way = (u16)counter;
	rb->inflight = inflight;
	this_cpu_inc(inflight->count[counter]);
}

/** remap_uncount() - it has arrived, or never set out. Any context. */
static inline void remap_uncount(struct remap_target *rt, struct remap_bio *rb)
{
	unsigned int counter = rb->way & REMAP_COUNTER;

	if (counter == REMAP_NOT_COUNTED)
		return;
	this_cpu_dec(rt->inflight->count[counter]);
	rb->way = (u16)((rb->way & ~REMAP_COUNTER) | REMAP_NOT_COUNTED);
}

/** remap_to_slot() - send a bio that lies in one block to its slot instead */
static inline void remap_to_slot(struct remap_target *rt, struct remap_bio *rb, struct bio *bio,
				 u32 slot)
{
	sector_t sector = remap_bio_sector(rt, rb);
	u64 block = sector >> rt->block_shift;

	bio->bi_iter.bi_sector = sector + ((slot - block) << rt->block_shift) +
				 remap_slot_base(&rt->meta.layout, slot) + rt->spare_start;
	rb->way |= op_is_write(bio_op(bio)) ? REMAP_WRITES_SPARE : REMAP_READS_SPARE;
	rb->rt = rt;
	bio_set_dev(bio, rt->spare);
}

/* What an error says about the medium; see DESIGN: only bad media is a reason to remap. */
static inline bool remap_error_is_medium(blk_status_t error)
{
	return error == BLK_STS_MEDIUM || error == BLK_STS_PROTECTION || error == BLK_STS_IOERR;
}

/* target.c */

/** remap_flush_again() - flush what failed to be. May sleep. */
void remap_flush_again(struct remap_target *rt);

/* relocate.c */

int __must_check remap_relocator_init(struct remap_target *rt);
void remap_relocator_exit(struct remap_target *rt);

/** remap_relocator_take() - give a bio to the worker. Any context, hard interrupts too. */
void remap_relocator_take(struct remap_target *rt, struct bio_list *list, struct bio *bio);

/** remap_relocator_suspect() - have the worker see whether the spare is still there. Likewise. */
void remap_relocator_suspect(struct remap_target *rt);

/** remap_relocator_stuck() - I/Os, by now, whose completion relocations have waited for in vain */
unsigned long remap_relocator_stuck(const struct remap_target *rt);

/** remap_relocator_ask() - have the worker do a request, and wait. One caller at a time. */
void remap_relocator_ask(struct remap_target *rt, struct remap_request *req);

/** remap_relocator_idle() - wait until the worker has nothing to do */
void remap_relocator_idle(struct remap_target *rt);

/** remap_set_state() - change state; says so by log, tracepoint and dm event. May sleep. */
void remap_set_state(struct remap_target *rt, enum remap_state state);

#endif
