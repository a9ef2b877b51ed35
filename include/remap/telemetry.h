/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the programs of telemetry.bpf.c and their readers in user space share: the maps' contents.
 *
 * An "area" is a run of sectors of a disk that is watched: the data of a remap device, or its
 * spare. Each CPU counts for itself (struct telemetry_row), so that nothing is shared where it
 * happens often; a reader adds the rows up. All counters only ever rise until the area goes, those
 * of 32 bits wrap around.
 *
 * AREAS. The table in struct telemetry_watch is changed by user space while the programs look:
 * an entry is filled in first and linked last, unlinked first and reused only when no program can
 * still be looking (membarrier(2), which waits as synchronize_rcu() does). Links are indexes + 1.
 * The areas of a disk are chained by @next; the first of each disk by @next_disk, too, from a hash
 * of the disk's number on.
 *
 * KNOWN. To get from a request to the number of its disk takes four loads, each with a check; to
 * its queue, one. So the programs remember, by the queue's address, where the disk's areas begin,
 * or that it has none: a word with both, for they are read without a lock. They forget it when a
 * disk comes to a queue (BPF program disk_added), which is before its first I/O; so an address
 * that is used again is none that is known. What is remembered follows from the table, so before
 * another area becomes the first of a disk, or none does, user space
 *	clears @learn, and waits until no program can still be adding to what is known;
 *	changes the table, and clears all of it;
 *	waits again before the entry of an area is reused; sets @learn.
 */
#ifndef REMAP_TELEMETRY_H
#define REMAP_TELEMETRY_H

#define TELEMETRY_AREAS		128		/* 64 remap devices: data and spare of each */
#define TELEMETRY_HASH_BITS	8		/* twice as many: most chains have one link */
#define TELEMETRY_KNOWN_BITS	8		/* queues; two may displace each other */
#define TELEMETRY_REGIONS	1024		/* of the heat map of an area */
#define TELEMETRY_IN_FLIGHT	16384		/* bios to bio-based devices */
#define TELEMETRY_RING_BYTES	(1U << 20)	/* 14,000 events: a second of a very bad disk */

enum telemetry_op {
	TELEMETRY_READ,
	TELEMETRY_WRITE,			/* zeroes too, as /proc/diskstats counts them */
	TELEMETRY_FLUSH,
	TELEMETRY_DISCARD,
	TELEMETRY_OPS
};

/*
 * Latencies are in units of 64 ns. Buckets: one for each of 0 to 7 units, then 8 for each power
 * of two; so each is at most an eighth of its lower bound wide, and the last ends at 275 s.
 */
#define TELEMETRY_UNIT_SHIFT	6
#define TELEMETRY_BUCKETS	240
#define TELEMETRY_BUCKET_ROOM	256		/* a power of two: a mask bounds the index */
#define TELEMETRY_LONGEST	((1ULL << (32 + TELEMETRY_UNIT_SHIFT)) - 1)
#define TELEMETRY_REGION_SHIFT	54		/* leaves 10 bits: TELEMETRY_REGIONS */

/* What one CPU has seen of one area. Map "rows": area * CPUs + CPU. */
struct telemetry_row {
	struct {				/* reads, writes */
		/* I/Os that ended, in whatever way; there is no other count of them */
		__u64 total[TELEMETRY_BUCKET_ROOM];
		/* where the kernel tells when the device got it, the two parts of that */
		__u32 queue[TELEMETRY_BUCKET_ROOM];
		__u32 device[TELEMETRY_BUCKET_ROOM];
		__u64 bytes;			/* of the good ones */
		__u64 unstamped;		/* ended, too, but nobody knows when it began */
	} io[2];
	struct {				/* flushes, discards: likewise */
		__u64 total[TELEMETRY_BUCKET_ROOM];
		__u64 bytes;
		__u64 unstamped;
	} other[2];
	struct {
		__u32 ios;
		__u32 worst;			/* latency, in units */
	} region[TELEMETRY_REGIONS];
	__u64 errors;
	__u64 slow;				/* over the area's threshold */
	__u64 dropped;				/* events for which the ring had no room */
};

/* What seldom happens, all CPUs together. Map "surfaces", by area. */
struct telemetry_surface {
	__u32 errors[TELEMETRY_REGIONS];
	__u32 slow[TELEMETRY_REGIONS];
};

struct telemetry_area {
	__u64 start, sectors;			/* of the disk */
	__u64 slow_ns;				/* threshold, at most TELEMETRY_LONGEST: none */
	__u64 region_factor;			/* sector * factor >> 54 is the region */
	__u32 disk;				/* dev_t, as the kernel has it */
	__u32 id;				/* another one each time the entry is used */
	__u32 first_row;			/* index * CPUs */
	__u16 index;				/* its own */
	__u16 next;				/* of the same disk: index + 1 */
	__u16 next_disk;			/* the first one of another */
	__u16 bios;				/* no requests there: bios are measured */
	__u32 unused[3];			/* 64 bytes: indexes become shifts */
};

/* The programs' memory that user space writes: in the map ".data.watch". */
struct telemetry_watch {
	__u64 missed_bios;			/* no room in the table of those in flight */
	__u64 dropped;				/* events of remap devices: no room */
	__u32 learn;				/* add to what is known */
	__u32 unused[11];			/* 64 bytes: so a link needs nothing subtracted */
	struct telemetry_area area[TELEMETRY_AREAS];
	__u16 chain[1 << TELEMETRY_HASH_BITS];	/* index + 1 of an area; 0: none */
	/* a queue's address << 8 | index + 1 of the first area, or 0 */
	__u64 known[1 << TELEMETRY_KNOWN_BITS];
};

#define TELEMETRY_HASH(disk)	((__u32)((disk) * 0x61c88647U) >> (32 - TELEMETRY_HASH_BITS))
/* of the lower half of the address, which is all that differs */
#define TELEMETRY_KNOWN(queue)	\
	((__u32)((__u32)(queue) * 0x61c88647U) >> (32 - TELEMETRY_KNOWN_BITS))
#define TELEMETRY_KNOWN_SHIFT	8		/* what an address has at its top tells nothing */

enum telemetry_kind {
	TELEMETRY_ERROR,
	TELEMETRY_SLOW,
	TELEMETRY_RELOCATE_BEGIN,	/* the target's own tracepoints, see kernel/trace.h */
	TELEMETRY_RELOCATE_END,
	TELEMETRY_COMMIT,
	TELEMETRY_STATE,
	TELEMETRY_LOST,
	TELEMETRY_RECOVERED,
	TELEMETRY_KINDS
};

struct telemetry_event {
	__u64 time;			/* CLOCK_MONOTONIC, ns */
	__u64 sector;			/* of the area, or of the remap device */
	__u32 sectors;
	__u32 kind;			/* enum telemetry_kind */
	union {
		struct {		/* error, slow */
			__u32 area, id;
			__u32 op;	/* enum telemetry_op */
			__u32 status;	/* blk_status_t; from 13 on each kernel's own */
			__u64 total_ns;	/* 0: not stamped */
			__u64 queue_ns;	/* 0: not told apart */
		} io;
		struct {		/* the others: arguments in the order of kernel/trace.h */
			__u32 dev;	/* of the remap device, as telemetry_area.disk */
			__u32 arg[3];
			__u64 generation;
		} remap;
	};
};

#endif
