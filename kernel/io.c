// SPDX-License-Identifier: GPL-2.0-only
/* Rounds of I/O for the recovery path; see io.h. */
#include <linux/blkdev.h>
#include "io.h"

static void round_put(struct remap_round *round)
{
	if (atomic_dec_and_test(&round->pending))
		complete(&round->done);
}

static void io_done(struct bio *bio)
{
	struct remap_io *io = container_of(bio, struct remap_io, bio);

	io->status = bio->bi_status;
	round_put(bio->bi_private);
}

void remap_round_begin(struct remap_round *round)
{
	atomic_set(&round->pending, 1);
	init_completion(&round->done);
	blk_start_plug(&round->plug);
}

static void round_init(struct remap_round *round, struct remap_io *io,
		       struct block_device *bdev, sector_t sector, blk_opf_t opf)
{
	/* merged with its neighbour, a request would fail with it */
	bio_init(&io->bio, bdev, &io->vec, 1, opf | REQ_NOMERGE);
	io->bio.bi_iter.bi_sector = sector;
	io->bio.bi_private = round;
	io->bio.bi_end_io = io_done;
	io->status = BLK_STS_OK;
}

void remap_round_add(struct remap_round *round, struct remap_io *io, struct block_device *bdev,
		     sector_t sector, blk_opf_t opf, void *buf, unsigned int bytes)
{
	round_init(round, io, bdev, sector, opf);
	__bio_add_page(&io->bio, virt_to_page(buf), bytes, offset_in_page(buf));
	atomic_inc(&round->pending);
	submit_bio(&io->bio);
}

void remap_round_end(struct remap_round *round)
{
	blk_finish_plug(&round->plug);
	round_put(round);
	wait_for_completion_io(&round->done);
}

blk_status_t remap_io_sync(struct remap_io *io, struct block_device *bdev, sector_t sector,
			   blk_opf_t opf, void *buf, unsigned int bytes)
{
	struct remap_round round;

	remap_round_begin(&round);
	remap_round_add(&round, io, bdev, sector, opf, buf, bytes);
	remap_round_end(&round);
	return io->status;
}

blk_status_t remap_io_sync_range(struct remap_io *io, struct block_device *bdev, sector_t sector,
				 blk_opf_t opf, sector_t sectors)
{
	struct remap_round round;

	remap_round_begin(&round);
	round_init(&round, io, bdev, sector, opf);
	io->bio.bi_iter.bi_size = sectors << SECTOR_SHIFT;
	atomic_inc(&round.pending);
	submit_bio(&io->bio);
	remap_round_end(&round);
	return io->status;
}
