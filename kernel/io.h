/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rounds of I/O for the recovery path: submit any number of requests, wait for all of them, look
 * at each one's status. Nothing is allocated: bio and vector are part of the request, and bios
 * that the block layer splits come from its own reserves. Not for the hot path.
 */
#ifndef REMAP_IO_H
#define REMAP_IO_H

#include <linux/bio.h>
#include <linux/completion.h>

/* One round. Lives on the stack of who waits for it. */
struct remap_round {
	atomic_t pending;
	struct completion done;
	struct blk_plug plug;
};

/* One request of a round; may be used again in the next one. */
struct remap_io {
	struct bio bio;
	struct bio_vec vec;
	blk_status_t status;	/* valid after remap_round_end() */
};

/** remap_round_begin() - open a round. The caller may not sleep for long before its end. */
void remap_round_begin(struct remap_round *round);

/**
 * remap_round_add() - submit a request
 * @sector:	absolute, on @bdev, in sectors of 512 bytes
 * @buf:	physically contiguous, in the linear mapping, @bytes long; stays with the caller
 */
void remap_round_add(struct remap_round *round, struct remap_io *io, struct block_device *bdev,
		     sector_t sector, blk_opf_t opf, void *buf, unsigned int bytes);

/** remap_round_end() - wait for all requests of the round. Sleeps. */
void remap_round_end(struct remap_round *round);

/** remap_io_sync() - a round of one request. Sleeps. Return: its status */
blk_status_t remap_io_sync(struct remap_io *io, struct block_device *bdev, sector_t sector,
			   blk_opf_t opf, void *buf, unsigned int bytes);

/**
 * remap_io_sync_range() - the same for an operation without data
 * @opf:	REQ_OP_WRITE_ZEROES
 */
blk_status_t remap_io_sync_range(struct remap_io *io, struct block_device *bdev, sector_t sector,
				 blk_opf_t opf, sector_t sectors);

#endif
