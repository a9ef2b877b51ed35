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
 * Buckets of 0 to 255 units, see TELEMETRY_BUCKETS. Of larger ones these tell, too: a factor of 16
 * is four powers of two, which is 32 buckets.
 */
#define B2(n)	n, n
#define B4(n)	B2(n), B2(n)
#define B8(n)	B4(n), B4(n)
#define B16(n)	B8(n), B8(n)
#define EIGHT(B, n)	B(n), B(n + 1), B(n + 2), B(n + 3), B(n + 4), B(n + 5), B(n + 6), B(n + 7)
static const __u8 bucket[256] = {
	0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
	EIGHT(B2, 16), EIGHT(B4, 24), EIGHT(B8, 32), EIGHT(B16, 40)
};

static __always_inline __u32 bucket_of(__u32 v)
{
	__u32 more = 0;

	while (v > 255 && more < 6 * 32) {
		v >>= 4;
		more += 32;
	}
	more += bucket[v & 255];
	/* the bound where the verifier sees it, on the very register */
	barrier_var(more);
	return more & (TELEMETRY_BUCKET_ROOM - 1);
}

/* Of the areas of a disk, linked from @link on, the one that a sector is in; or NULL. */
static __always_inline struct telemetry_area *area_in(__u32 link, __u32 disk, __u64 sector)
{
	int i;

	/* no chain is longer than there are areas */
	for (i = 0; link && i < TELEMETRY_AREAS; i++) {
		struct telemetry_area *a = &watch.area[(link - 1) & (TELEMETRY_AREAS - 1)];

		if (a->disk == disk && sector - a->start < a->sectors)
			return a;
		link = a->next;
	}
	return NULL;
}

static __always_inline struct telemetry_area *area_at(__u32 index)
{
	return &watch.area[index & (TELEMETRY_AREAS - 1)];
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
static __noinline int measure_flush(__u32 disk, struct io *io)
{
	__u32 link = watch.chain[TELEMETRY_HASH(disk)];
	int i;

	for (i = 0; link && i < TELEMETRY_AREAS; i++) {
		__u32 index = (link - 1) & (TELEMETRY_AREAS - 1);
		const struct telemetry_area *a = &watch.area[index];

		if (a->disk == disk) {
			io->sector = a->start;
			measure(index, io);
		}
		link = a->next;
	}
	return 0;
}

/* Which area is it? TELEMETRY_AREAS if it is none. */
static __always_inline __u32 index_of(const struct telemetry_area *a)
{
	return a ? a->index & (TELEMETRY_AREAS - 1) : TELEMETRY_AREAS;
}

/* What is no whole, good, quick read or write. */
static __noinline int rare(struct request *rq, __u32 disk, __u32 status, __u32 bytes)
{
	__u32 index, flags = rq->cmd_flags;
	struct io io;

	if ((flags & REQ_OP_MASK) >= REQ_OP_DRV_IN)
		return 0;
	io.op = op_of(flags);
	if (!bytes && io.op != TELEMETRY_FLUSH)
		return 0;
	io.bytes = bytes;
	io.status = status;
	io.last = bytes >= rq->__data_len;
	io.start = rq->start_time_ns;
	io.issued = rq->io_start_time_ns;
	io.now = bpf_ktime_get_ns();
	io.sector = rq->__sector;
	if (io.op == TELEMETRY_FLUSH)
		return measure_flush(disk, &io);
	index = index_of(area_in(watch.chain[TELEMETRY_HASH(disk)], disk, io.sector));
	if (index < TELEMETRY_AREAS)
		measure(index, &io);
	return 0;
}

/*
 * Every request of the machine comes by here, so what is common is done in line, by as few
 * instructions as it takes; it does what rare() would. tests/bench/budgets says how many.
 */
SEC("tp_btf/block_rq_complete")
int BPF_PROG(rq_complete, struct request *rq, blk_status_t error, unsigned int nr_bytes)
{
	__u32 disk = rq->q->disk->part0->bd_dev, link = watch.chain[TELEMETRY_HASH(disk)];
	__u32 cpu, op, region, units, b, len;
	__u64 now, start, issued, all, busy, sector;
	const struct telemetry_area *a;
	struct telemetry_row *row;
	__u32 key;

	if (!link)
		return 0;
	/* before anything else is in registers, of which calls leave but four alone */
	now = bpf_ktime_get_ns();
	cpu = bpf_get_smp_processor_id();
	op = rq->cmd_flags & REQ_OP_MASK;
	start = rq->start_time_ns;
	len = rq->__data_len;
	if (op > TELEMETRY_WRITE || error || !start || !len || nr_bytes != len)
		return rare(rq, disk, error, nr_bytes);
	sector = rq->__sector;
	a = area_in(link, disk, sector);
	if (!a)
		return 0;
	issued = rq->io_start_time_ns;
	all = now - start;
	busy = issued ? now - issued : all;
	/* an event; or longer than there are buckets for, or stamped later than now */
	if (busy > a->slow_ns || all > TELEMETRY_LONGEST)
		return rare(rq, disk, error, nr_bytes);
	key = a->first_row + cpu;
	row = bpf_map_lookup_elem(&rows, &key);
	if (!row)
		return 0;
	region = region_of(a, sector);
	units = busy >> TELEMETRY_UNIT_SHIFT;
	row->region[region].ios++;
	if (units > row->region[region].worst)
		row->region[region].worst = units;
	b = bucket_of(units);
	row->io[op].bytes += len;
	if (issued) {
		row->io[op].device[b]++;
		row->io[op].queue[bucket_of((issued - start) >> TELEMETRY_UNIT_SHIFT)]++;
		b = bucket_of(all >> TELEMETRY_UNIT_SHIFT);
	}
	row->io[op].total[b]++;
	return 0;
}

/*
 * Devices without requests: device-mapper, md. A bio may be split on its way; its parts are
 * traced at their end, but did not begin here, so they are not found and do not count. A bio
 * without data is a flush.
 */

/* Is it one of those, and watched? The bios of a disk with requests may have no end to be seen. */
static __noinline int is_watched_by_bios(__u32 disk)
{
	__u32 link = watch.chain[TELEMETRY_HASH(disk)];
	int i;

	for (i = 0; link && i < TELEMETRY_AREAS; i++) {
		const struct telemetry_area *a = area_at(link - 1);

		if (a->disk == disk)
			return a->bios;
		link = a->next;
	}
	return 0;
}

SEC("tp_btf/block_bio_queue")
int BPF_PROG(bio_queue, struct bio *bio)
{
	__u32 disk = bio->bi_bdev->bd_disk->part0->bd_dev;
	const struct telemetry_area *a;
	__u64 key = (__u64)bio;
	struct in_flight f = { 0 };

	if (!watch.chain[TELEMETRY_HASH(disk)] || !is_watched_by_bios(disk))
		return 0;
	f.bytes = bio->bi_iter.bi_size;
	f.sector = bio->bi_iter.bi_sector;
	f.disk = disk;
	if (f.bytes) {
		a = area_in(watch.chain[TELEMETRY_HASH(disk)], disk, f.sector);
		if (!a)
			return 0;
		f.area = a->index;
		f.id = a->id;
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
		return measure_flush(disk, &io);
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
