/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The metadata on a spare device, from user space: format, find, read, verify, repair.
 *
 * What the bytes mean and which copy counts is decided in kernel/format.c; what a replica's state
 * is called follows kernel/meta.c to the letter. This part carries out the I/O. It knows nothing
 * of device-mapper: metadata of an active target belongs to the kernel, so a store that is to be
 * written is opened exclusively, which fails while a target holds it. Reading an active spare is
 * safe, but may meet a commit halfway: what is not ok should be read a second time.
 *
 * Regular files work as well as devices; the unit tests use that.
 */
#ifndef REMAP_SPARE_H
#define REMAP_SPARE_H

#include <limits.h>
#include <sys/types.h>
#include "err.h"
#include "format.h"
#include "remap/abi.h"

/* What takes long, and what it is counted in. */
enum remap_stage {
	REMAP_STAGE_SEARCH,		/* sectors that were searched */
	REMAP_STAGE_READ,		/* metadata blocks, of all replicas, that were read */
	REMAP_STAGE_WRITE,		/* likewise, written */
};

/* A device open for reading or writing metadata. */
struct remap_store {
	int fd;
	dev_t rdev;			/* which device that is; 0: a regular file */
	u64 sectors;			/* of 512 bytes */
	bool writable;
	char name[PATH_MAX];		/* for messages */
	/* called now and then, where it is set once the store is open: how far something is */
	void (*told)(void *arg, enum remap_stage stage, u64 done, u64 total);
	void *told_arg;
};

/** remap_store_open() - @write also claims the device for us alone: -EBUSY while it is in use */
int remap_store_open(struct remap_store *st, const char *path, bool write, struct remap_err *err);
void remap_store_close(struct remap_store *st);

struct remap_table;

/* What the newest superblock of a spare says. */
struct remap_spare {
	struct remap_super super;
	struct remap_layout layout;
	bool several_lives;		/* a search has found superblocks of other spares, too */
	/* What the slots are to hold, by slot number, where the device does not say: or NULL. */
	const struct remap_table *planned;
};

/**
 * remap_spare_find() - find the superblock that counts
 * @search: look at every 64 KiB of the device, as is needed when zone 0 is destroyed on a device
 *	whose size has changed; reads all of it
 *
 * A spare that the device is now too small for is found, too: compare sp->super.spare_sectors
 * with st->sectors before relying on all of it. Return: 0, -ENODATA if there is none, -EUCLEAN if
 * it cannot be told which counts (a search gives up at REMAP_MAX_FOUND superblocks, which no honest
 * device has), -EOPNOTSUPP for an unknown version or feature, or an I/O error.
 */
int remap_spare_find(struct remap_store *st, bool search, struct remap_spare *sp,
		     struct remap_err *err);

#define REMAP_MAX_FOUND	1024	/* ten for each of a hundred lives */

/** remap_spare_present() - is there anything of ours, of whatever version or damaged? */
bool remap_spare_present(struct remap_store *st);

/**
 * remap_spare_owns() - is what stands at this byte of the device the spare's business?
 *
 * So it is in a valid copy of metadata and in a slot that is in use, which may hold whatever the
 * data device held, a superblock included. Anywhere else, free slots among it, nothing of ours is
 * worth keeping. Where that is not to be told the answer is yes.
 */
bool remap_spare_owns(struct remap_store *st, const struct remap_spare *sp, u64 byte);

/**
 * remap_spare_format() - make a new spare
 * @s:	block_size, sector_size, data_sectors, uuid, label, identities and created filled in
 *
 * The device is taken to be free for use: the caller has asked everybody. Order: old superblocks
 * are wiped, then tables written, then superblocks, each made durable before the next, so that a
 * crash leaves an unformatted device or a formatted one. Read back before it counts.
 */
int remap_spare_format(struct remap_store *st, const struct remap_super *s,
		       struct remap_err *err);

/**
 * remap_spare_update() - write a changed superblock as the next generation
 *
 * Label and identities may have changed. Good if REMAP_QUORUM replicas take it. On success
 * sp->super is the new one.
 */
int remap_spare_update(struct remap_store *st, struct remap_spare *sp,
		       const struct remap_super *s, struct remap_err *err);

/**
 * remap_spare_restore() - make a spare again that was there before
 * @sp:	what its superblock said; spare_sectors may be less than the device has now
 * @t:	who was where: by slot number, no block twice, its generation that of its newest block
 *
 * Slots are not written to, be they in use or not, but for superblocks of older lives in such as
 * are not. Otherwise as remap_spare_format(): a crash leaves what was there before, an unformatted
 * device or the restored spare. The uuid stays, so that metadata which survived could be taken for
 * that of the restored spare: all generations are above any that could be found, and table blocks
 * behind those in use, which the kernel will begin anew one day, are wiped. What is wrong with @sp
 * and @t is found before anything is written: -EINVAL.
 */
int remap_spare_restore(struct remap_store *st, const struct remap_spare *sp,
			const struct remap_table *t, struct remap_err *err);

/** remap_spare_restorable() - would it be refused? Return: 0, or what it would return */
int remap_spare_restorable(const struct remap_store *st, const struct remap_spare *sp,
			   const struct remap_table *t, struct remap_err *err);

#define REMAP_SUPER_INDEX	(~0U)	/* stands for the superblock among table block numbers */

/* One metadata block as it was found in all replicas. */
struct remap_found {
	u32 index;				/* table block, or REMAP_SUPER_INDEX */
	u64 generation;				/* of the newest valid copy; 0: no copy is valid */
	const void *newest;			/* that copy, or NULL */
	/* 2 * z + c is copy c in zone z */
	const void *bytes[2 * REMAP_ZONES];	/* NULL: unreadable */
	u64 copy[2 * REMAP_ZONES];		/* its generation; 0: it is not valid */
	enum remap_replica_state state[REMAP_ZONES];	/* unreadable: one copy or both */
};

/** remap_visit_fn - return 0 to go on; anything else ends the walk and is what it returns */
typedef int remap_visit_fn(void *arg, const struct remap_found *found, struct remap_err *err);

/** remap_spare_walk() - read all copies of all metadata: superblock first, then the tables */
int remap_spare_walk(struct remap_store *st, const struct remap_spare *sp, remap_visit_fn *visit,
		     void *arg, struct remap_err *err);

struct remap_verdict {
	enum remap_replica_state state[REMAP_ZONES];	/* the worst that was found in each */
	u32 bad_blocks[REMAP_ZONES];			/* metadata blocks that are not ok */
	u32 lost_tables;				/* table blocks without any valid copy */
	u32 first_lost;					/* the first of them */
	bool ok;
};

int remap_spare_verify(struct remap_store *st, const struct remap_spare *sp,
		       struct remap_verdict *v, struct remap_err *err);

/* All metadata blocks, the superblock first, then the table blocks by their numbers. */
struct remap_blocks {
	struct remap_found *found;	/* newest and bytes say only whether they are NULL */
	size_t n, room;
};

/** remap_spare_blocks() - remap_spare_verify(), block for block. Call remap_blocks_free() then */
int remap_spare_blocks(struct remap_store *st, const struct remap_spare *sp,
		       struct remap_verdict *v, struct remap_blocks *b, struct remap_err *err);
void remap_blocks_free(struct remap_blocks *b);

/** remap_found_sector() - where the copy of generation @g of this block is in a zone */
u64 remap_found_sector(const struct remap_spare *sp, const struct remap_found *f,
		       unsigned int zone, u64 g);

/**
 * remap_spare_repair() - rewrite what is not ok from the newest copy; @v: how it is afterwards
 *
 * A copy that cannot be read, and is not that of the newest generation, is overwritten with zeroes:
 * it may hold an attempt that nobody was told of, which must not be found one day.
 */
int remap_spare_repair(struct remap_store *st, const struct remap_spare *sp,
		       struct remap_verdict *v, struct remap_err *err);

/* A slot that is in use. */
struct remap_slot {
	u32 slot;
	bool superseded;	/* a later entry names the same block: this one will be freed */
	struct remap_entry entry;
};

struct remap_table {
	struct remap_slot *slot;	/* by slot number; free slots are left out */
	size_t n;
	u32 used, bad;
	u64 lost_sectors;		/* logical sectors */
	u32 lost_tables;		/* table blocks of which nothing is known */
	u64 generation;			/* the highest of all table blocks */
	u64 generations;		/* their sum: the same if nothing has changed */
};

/** remap_spare_table() - who is where. Call remap_table_free() in any case. */
int remap_spare_table(struct remap_store *st, const struct remap_spare *sp, struct remap_table *t,
		      struct remap_err *err);
void remap_table_free(struct remap_table *t);

/** remap_table_resolve() - find the superseded among all slots, and count. Return: 0 or -ENOMEM */
int remap_table_resolve(struct remap_table *t);

#endif
