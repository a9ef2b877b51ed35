// SPDX-License-Identifier: GPL-2.0-only
/*
 * Latency, errors and heat of the disks under remap devices, at the price of one probe for each
 * request: block_rq_complete, where the request still knows when it was made and when the device
 * got it. What there is to see besides, and how it is kept, is in include/remap/telemetry.h.
 *
 * Which completions count. A request may end in several parts: its sectors are counted part by
 * part, the I/O itself with the last. One that a flush goes before or after (blk-flush.c) ends
 * twice, the second time with no bytes left; so does an empty flush, behind which stands a request
 * of its own (REQ_OP_FLUSH), which is the one that counts.
 *
 * A tracepoint's program does not interrupt itself on its CPU, so rows need no atomic operations;
 * what comes in between is not seen, but counted by the kernel (recursion_misses).
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include "remap/telemetry.h"

/* linux/blk_types.h; stable since 4.10, but for the drivers' own, which end behind all others */
#define REQ_OP_MASK	0xff
#define REQ_OP_FLUSH	2
#define REQ_OP_DISCARD	3
#define REQ_OP_DRV_IN	34
#define SECTOR_SHIFT	9

char LICENSE[] SEC("license") = "GPL";

const volatile __u32 cpus = 1;		/* possible ones: rows for each area */

struct telemetry_watch watch SEC(".data.watch");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);		/* TELEMETRY_AREAS for each CPU, before it is loaded */
	__type(key, __u32);
	__type(value, struct telemetry_row);
} rows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, TELEMETRY_AREAS);
	__type(key, __u32);
	__type(value, struct telemetry_surface);
} surfaces SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, TELEMETRY_RING_BYTES);
} events SEC(".maps");

/* A bio on its way, from block_bio_queue to block_bio_complete. */
struct in_flight {
	__u64 time, sector;
	__u32 bytes, disk;
	__u32 area, id;			/* of the area: another may be in its place by the end */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, TELEMETRY_IN_FLIGHT);
	__type(key, __u64);
	__type(value, struct in_flight);
} in_flight SEC(".maps");

/* One I/O, or a part of it, at its end. */
struct io {
	__u64 sector;			/* of the disk */
	__u64 now, start, issued;	/* ns; 0: not known */
	__u32 bytes, op, status;
	bool last;			/* the whole I/O is done */
};

/*
 * Buckets of 0 to 4095 units (262 us), see TELEMETRY_BUCKETS. Of larger ones these tell, too: a
 * factor of 256 is eight powers of two, which is 64 buckets.
 */
#define TABLE	4096
#define B2(n)	n, n
#define B4(n)	B2(n), B2(n)
#define B8(n)	B4(n), B4(n)
#define B16(n)	B8(n), B8(n)
#define B32(n)	B16(n), B16(n)
#define B64(n)	B32(n), B32(n)
#define B128(n)	B64(n), B64(n)
#define B256(n)	B128(n), B128(n)
#define EIGHT(B, n)	B(n), B(n + 1), B(n + 2), B(n + 3), B(n + 4), B(n + 5), B(n + 6), B(n + 7)
static const __u8 bucket[TABLE] = {
	0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
	EIGHT(B2, 16), EIGHT(B4, 24), EIGHT(B8, 32), EIGHT(B16, 40), EIGHT(B32, 48),
	EIGHT(B64, 56), EIGHT(B128, 64), EIGHT(B256, 72)
};

static __always_inline __u32 bucket_of(__u32 v)
{
	__u32 more = 0;

	while (v >= TABLE && more < 3 * 64) {
		v >>= 8;
		more += 64;
	}
	more += bucket[v & (TABLE - 1)];
	/* the bound where the verifier sees it, on the very register */
	barrier_var(more);
	return more & (TELEMETRY_BUCKET_ROOM - 1);
}

static __always_inline struct telemetry_area *area_at(__u32 index)
{
	return &watch.area[index & (TELEMETRY_AREAS - 1)];
}

/*
 * The address of a queue as a number; less that of the table, for the verifier lets nothing be
 * computed with one pointer, but with the difference of two.
 */
static __always_inline __u64 number_of(const struct request_queue *q)
{
	__u64 n = (__u64)q;

	asm volatile("%0 -= %1" : "+r"(n) : "r"(&watch));
	return n;
}

/* The first area of a disk: its link; 0 if there is none. */
static __always_inline __u32 areas_of(__u32 disk)
{
	__u32 link = watch.chain[TELEMETRY_HASH(disk)];
	int i;

	/* no chain is longer than there are areas */
	for (i = 0; link && i < TELEMETRY_AREAS; i++) {
		const struct telemetry_area *a = area_at(link - 1);

		if (a->disk == disk)
			return link;
		link = a->next_disk;
	}
	return 0;
}

/* Of the areas of a disk, linked from @link on, that which a sector is in: its link, or 0. */
static __always_inline __u32 area_in(__u32 link, __u64 sector)
{
	int i;

	for (i = 0; link && i < TELEMETRY_AREAS; i++) {
		const struct telemetry_area *a = area_at(link - 1);

		if (sector - a->start < a->sectors)
			return link;
		link = a->next;
	}
	return 0;
}

/* The same, where the verifier knows that it is one: no mask, nothing to subtract. */
static __always_inline const struct telemetry_area *linked(__u64 link)
{
	_Static_assert(__builtin_offsetof(struct telemetry_watch, area) ==
		       sizeof(struct telemetry_area), "link 1 is the first area");
	return (const void *)&watch + link * sizeof(struct telemetry_area);
}

static __always_inline struct telemetry_row *row_of(const struct telemetry_area *a)
{
	__u32 key = a->first_row + bpf_get_smp_processor_id();

	return bpf_map_lookup_elem(&rows, &key);
}

static __always_inline __u32 region_of(const struct telemetry_area *a, __u64 sector)
{
	return ((sector - a->start) * a->region_factor) >> TELEMETRY_REGION_SHIFT;
}

static __always_inline __u32 op_of(__u32 flags)
{
	__u32 op = flags & REQ_OP_MASK;

	if (op == REQ_OP_FLUSH)
		return TELEMETRY_FLUSH;
	if (op == REQ_OP_DISCARD)
		return TELEMETRY_DISCARD;
	return op & 1 ? TELEMETRY_WRITE : TELEMETRY_READ;
}

static __always_inline __u32 units_of(__u64 ns)
{
	return (ns < TELEMETRY_LONGEST ? ns : TELEMETRY_LONGEST) >> TELEMETRY_UNIT_SHIFT;
}

/* Global, as is measure(): the verifier then looks at it once, and not for each way to it. */
__noinline int tell(struct telemetry_row *row, __u32 index, const struct io *io, __u32 kind)
{
	const struct telemetry_area *a = area_at(index);
	struct telemetry_event *e;

	if (!row || !io)
		return 0;
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		row->dropped++;
		return 0;
	}
	e->time = io->now;
	e->sector = io->op == TELEMETRY_FLUSH ? 0 : io->sector - a->start;
	e->sectors = io->bytes >> SECTOR_SHIFT;
	e->kind = kind;
	e->io.area = index;
	e->io.id = a->id;
	e->io.op = io->op;
	e->io.status = io->status;
	e->io.total_ns = io->start && io->now > io->start ? io->now - io->start : 0;
	e->io.queue_ns = e->io.total_ns && io->issued > io->start ? io->issued - io->start : 0;
	bpf_ringbuf_submit(e, 0);
	return 0;
}

/* Whatever may have happened to an I/O. */
__noinline int measure(__u32 index, const struct io *io)
{
	const struct telemetry_area *a = area_at(index);
	struct telemetry_row *row = row_of(a);
	struct telemetry_surface *surface;
	__u32 op, region, units, b;
	__u64 busy;
	bool known;

	if (!row || !io)
		return 0;
	op = io->op & 3;
	region = region_of(a, io->sector);
	if (io->status) {
		row->errors++;
		surface = bpf_map_lookup_elem(&surfaces, &index);
		if (surface)
			__sync_fetch_and_add(&surface->errors[region], 1);
		tell(row, index, io, TELEMETRY_ERROR);
	} else if (op <= TELEMETRY_WRITE) {
		row->io[op & 1].bytes += io->bytes;
	} else {
		row->other[op & 1].bytes += io->bytes;
	}
	if (!io->last)
		return 0;
	if (op != TELEMETRY_FLUSH)
		row->region[region].ios++;
	known = io->start && io->now >= io->start;
	busy = known ? io->now - io->start : 0;
	units = units_of(busy);
	b = bucket_of(units);
	if (op > TELEMETRY_WRITE) {
		if (known)
			row->other[op & 1].total[b]++;
		else
			row->other[op & 1].unstamped++;
	} else if (!known) {
		row->io[op & 1].unstamped++;
	} else {
		row->io[op & 1].total[b]++;
		if (io->issued) {
			b = bucket_of(units_of(io->issued - io->start));
			row->io[op & 1].queue[b]++;
			busy = io->now - io->issued;
			units = units_of(busy);
			b = bucket_of(units);
			row->io[op & 1].device[b]++;
		}
	}
	if (!known)
		return 0;
	if (op != TELEMETRY_FLUSH && units > row->region[region].worst)
		row->region[region].worst = units;
	if (busy > a->slow_ns && a->slow_ns < TELEMETRY_LONGEST && !io->status) {
		row->slow++;
		surface = bpf_map_lookup_elem(&surfaces, &index);
		if (surface && op != TELEMETRY_FLUSH)
			__sync_fetch_and_add(&surface->slow[region], 1);
		tell(row, index, io, TELEMETRY_SLOW);
	}
	return 0;
}

/* A flush has no place: it is one of each area of the disk. */
static __noinline int measure_flush(__u32 link, struct io *io)
{
	int i;

	for (i = 0; link && i < TELEMETRY_AREAS; i++) {
		__u32 index = (link - 1) & (TELEMETRY_AREAS - 1);
		const struct telemetry_area *a = &watch.area[index];

		io->sector = a->start;
		measure(index, io);
		link = a->next;
	}
	return 0;
}

/* What is no whole, good, quick read or write, or not in the first area of its disk. */
static __noinline int rare(struct request *rq, __u32 link, __u32 status, __u32 bytes)
{
	__u32 flags = rq->cmd_flags;
	struct io io;

	if ((flags & REQ_OP_MASK) >= REQ_OP_DRV_IN)
		return 0;
	io.op = op_of(flags);
	if (!bytes && io.op != TELEMETRY_FLUSH)
		return 0;
	io.sector = rq->__sector;
	if (io.op != TELEMETRY_FLUSH) {
		link = area_in(link, io.sector);
		if (!link)
			return 0;
	}
	io.bytes = bytes;
	io.status = status;
	io.last = bytes >= rq->__data_len;
	io.start = rq->start_time_ns;
	io.issued = rq->io_start_time_ns;
	io.now = bpf_ktime_get_ns();
	return io.op == TELEMETRY_FLUSH ? measure_flush(link, &io) : measure(link - 1, &io);
}

/*
 * Where the areas of a disk begin, of whose queue nothing is known yet. A request that goes to the
 * disk is at its end before the disk leaves its queue, or the queue its address; a command that
 * bypasses the disk (SCSI has such) may be there before the disk is, and after, so it teaches
 * nothing.
 */
static __noinline __u32 learn(struct request *rq)
{
	__u64 q = number_of(rq->q);
	/* with a barrier: read before the table is, see KNOWN */
	bool may = __sync_fetch_and_add(&watch.learn, 0);
	__u32 link = areas_of(rq->q->disk->part0->bd_dev);

	if (may && (rq->cmd_flags & REQ_OP_MASK) < REQ_OP_DRV_IN)
		watch.known[TELEMETRY_KNOWN(q)] = q << TELEMETRY_KNOWN_SHIFT | link;
	return link;
}

/*
 * Every new disk comes by here, before there is any I/O to it. The kernel runs no program within
 * itself on a CPU: with full preemption, a disk that comes while this one is here, and preempted,
 * would go unseen. It would matter if its queue were in the place of one that was known.
 */
SEC("?fentry/blk_register_queue")
int BPF_PROG(disk_added, struct gendisk *disk)
{
	watch.known[TELEMETRY_KNOWN(number_of(disk->queue))] = 0;
	return 0;
}

/* What is counted of each good read and write, whatever is known of its times. */
static __always_inline void count_at(struct telemetry_row *row, __u32 region, __u64 units,
				     __u64 op, __u64 bytes)
{
	row->region[region].ios++;
	if (units > row->region[region].worst)
		row->region[region].worst = units;
	row->io[op].bytes += bytes;
}

/*
 * Every request of the machine comes by here, so what is common is done in line, by as few
 * instructions as it takes; it does what rare() would. tests/bench/budgets says how many. Common
 * is a whole, good read or write in the first area of its disk, of less than 262 us. Each load
 * from a request costs seven instructions on 6.1, so none is done twice, or in vain.
 */
SEC("tp_btf/block_rq_complete")
int rq_complete(__u64 *ctx)	/* rq, error, nr_bytes: not BPF_PROG, which reads all at once */
{
	struct request *rq = (void *)ctx[0];
	__u64 q = number_of(rq->q);
	__u64 link = watch.known[TELEMETRY_KNOWN(q)] ^ q << TELEMETRY_KNOWN_SHIFT;
	__u64 now, start, all, queue, device, at, op, len;
	const __u8 *table = bucket;
	const struct telemetry_area *a;
	struct telemetry_row *row;
	__u32 key, region;

	if (!link)
		return 0;
	/* what differs in the address differs above the links */
	if (link > TELEMETRY_AREAS) {
		link = learn(rq);
		barrier_var(link);	/* the bound on the very register, for the verifier */
		if (!link || link > TELEMETRY_AREAS)
			return 0;
	}
	/* calls leave four registers alone: these are for ctx, rq, a and now */
	a = linked(link);
	now = bpf_ktime_get_ns();
	key = bpf_get_smp_processor_id();
	barrier_var(a);			/* not before, or now has no register */
	key += a->first_row;
	row = bpf_map_lookup_elem(&rows, &key);
	if (!row)
		return 0;
	op = rq->cmd_flags & REQ_OP_MASK;
	if (op > TELEMETRY_WRITE)
		goto rare;
	len = rq->__data_len;
	barrier_var(ctx);		/* nor are these read before */
	if (!len || len != ctx[2] || ctx[1])
		goto rare;
	at = rq->__sector - a->start;
	if (at >= a->sectors)
		goto rare;
	start = rq->start_time_ns;
	all = now - start;
	/* without a stamp, or with one later than now, it is too long, as well */
	if (all >= TABLE << TELEMETRY_UNIT_SHIFT)
		goto rare;
	region = at * a->region_factor >> TELEMETRY_REGION_SHIFT;
	queue = rq->io_start_time_ns - start;
	/* what is not stamped is as long as the machine is up */
	if (queue < TABLE << TELEMETRY_UNIT_SHIFT) {
		device = all - queue;
		if (device > a->slow_ns)
			goto rare;
		device >>= TELEMETRY_UNIT_SHIFT;
		count_at(row, region, device, op, len);
		barrier_var(table);	/* its address in a register, for all three */
		row->io[op].device[table[device & (TABLE - 1)]]++;
		row->io[op].queue[table[queue >> TELEMETRY_UNIT_SHIFT]]++;
		row->io[op].total[table[all >> TELEMETRY_UNIT_SHIFT]]++;
	} else {
		if (all > a->slow_ns)
			goto rare;
		all >>= TELEMETRY_UNIT_SHIFT;
		count_at(row, region, all, op, len);
		row->io[op].total[table[all]]++;
	}
	return 0;
rare:
	barrier_var(ctx);
	return rare((void *)ctx[0], a->index + 1, ctx[1], ctx[2]);
}

/*
 * Devices without requests: device-mapper, md. A bio may be split on its way; its parts are
 * traced at their end, but did not begin here, so they are not found and do not count. A bio
 * without data is a flush.
 */

SEC("tp_btf/block_bio_queue")
int BPF_PROG(bio_queue, struct bio *bio)
{
	__u32 link = areas_of(bio->bi_bdev->bd_disk->part0->bd_dev);
	__u64 key = (__u64)bio;
	struct in_flight f = { 0 };

	/* the bios of a disk with requests may have no end to be seen */
	if (!link || !area_at(link - 1)->bios)
		return 0;
	f.bytes = bio->bi_iter.bi_size;
	f.sector = bio->bi_iter.bi_sector;
	if (f.bytes) {
		link = area_in(link, f.sector);
		if (!link)
			return 0;
		f.area = area_at(link - 1)->index;
		f.id = area_at(link - 1)->id;
	} else {
		f.disk = area_at(link - 1)->disk;
	}
	f.time = bpf_ktime_get_ns();
	if (bpf_map_update_elem(&in_flight, &key, &f, 0))
		__sync_fetch_and_add(&watch.missed_bios, 1);
	return 0;
}

SEC("tp_btf/block_bio_complete")
int BPF_PROG(bio_complete, struct request_queue *q, struct bio *bio)
{
	__u64 key = (__u64)bio;
	struct in_flight *f = bpf_map_lookup_elem(&in_flight, &key);
	__u32 index, id, disk;
	struct io io;

	if (!f)
		return 0;
	io.sector = f->sector;
	io.bytes = f->bytes;
	io.start = f->time;
	index = f->area;
	id = f->id;
	disk = f->disk;
	bpf_map_delete_elem(&in_flight, &key);
	io.op = op_of(bio->bi_opf);
	io.status = bio->bi_status;
	io.last = true;
	io.issued = 0;
	io.now = bpf_ktime_get_ns();
	if (!io.bytes) {
		io.op = TELEMETRY_FLUSH;
		return measure_flush(areas_of(disk), &io);
	}
	if (index < TELEMETRY_AREAS && area_at(index)->id == id)
		measure(index, &io);
	return 0;
}

/* The target's own tracepoints; their arguments are scalars, so they need no BTF of the module. */

static __always_inline struct telemetry_event *remap_event(__u32 kind, __u32 dev)
{
	struct telemetry_event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);

	if (!e) {
		__sync_fetch_and_add(&watch.dropped, 1);
		return NULL;
	}
	__builtin_memset(e, 0, sizeof(*e));
	e->time = bpf_ktime_get_ns();
	e->kind = kind;
	e->remap.dev = dev;
	return e;
}

SEC("raw_tp/remap_relocate_begin")
int relocate_begin(struct bpf_raw_tracepoint_args *ctx)
{
	struct telemetry_event *e = remap_event(TELEMETRY_RELOCATE_BEGIN, ctx->args[0]);

	if (!e)
		return 0;
	e->sector = ctx->args[1];
	e->sectors = ctx->args[2];
	e->remap.arg[0] = ctx->args[3];		/* cause */
	bpf_ringbuf_submit(e, 0);
	return 0;
}

SEC("raw_tp/remap_relocate_end")
int relocate_end(struct bpf_raw_tracepoint_args *ctx)
{
	struct telemetry_event *e = remap_event(TELEMETRY_RELOCATE_END, ctx->args[0]);

	if (!e)
		return 0;
	e->sector = ctx->args[1];
	e->remap.arg[0] = ctx->args[2];		/* cause */
	e->remap.arg[1] = ctx->args[3];		/* slot */
	e->remap.arg[2] = ctx->args[4];		/* error, negative */
	bpf_ringbuf_submit(e, 0);
	return 0;
}

SEC("raw_tp/remap_commit")
int commit(struct bpf_raw_tracepoint_args *ctx)
{
	struct telemetry_event *e = remap_event(TELEMETRY_COMMIT, ctx->args[0]);

	if (!e)
		return 0;
	e->remap.arg[0] = ctx->args[1];		/* table block */
	e->remap.generation = ctx->args[2];
	e->remap.arg[1] = ctx->args[3];		/* good replicas */
	bpf_ringbuf_submit(e, 0);
	return 0;
}

SEC("raw_tp/remap_state")
int state(struct bpf_raw_tracepoint_args *ctx)
{
	struct telemetry_event *e = remap_event(TELEMETRY_STATE, ctx->args[0]);

	if (!e)
		return 0;
	e->remap.arg[0] = ctx->args[1];		/* from */
	e->remap.arg[1] = ctx->args[2];		/* to */
	bpf_ringbuf_submit(e, 0);
	return 0;
}

SEC("raw_tp/remap_lost")
int lost(struct bpf_raw_tracepoint_args *ctx)
{
	struct telemetry_event *e = remap_event(TELEMETRY_LOST, ctx->args[0]);

	if (!e)
		return 0;
	e->sector = ctx->args[1];
	e->remap.arg[0] = ctx->args[2];		/* a bit for each logical sector */
	bpf_ringbuf_submit(e, 0);
	return 0;
}

SEC("raw_tp/remap_recovered")
int recovered(struct bpf_raw_tracepoint_args *ctx)
{
	struct telemetry_event *e = remap_event(TELEMETRY_RECOVERED, ctx->args[0]);

	if (!e)
		return 0;
	e->sector = ctx->args[1];
	e->sectors = ctx->args[2];
	bpf_ringbuf_submit(e, 0);
	return 0;
}
