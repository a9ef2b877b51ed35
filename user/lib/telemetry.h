/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the programs in bpf/ see of the disks: load them, tell them what to watch, read what they
 * counted, take their events. Who loads them may pin their maps in a folder of bpffs; others then
 * read the same figures from there, and load nothing.
 *
 * Needs root (CAP_BPF, CAP_PERFMON, and CAP_SYS_ADMIN where unprivileged BPF is off). Not for more
 * than one thread at a time.
 */
#ifndef REMAP_LIB_TELEMETRY_H
#define REMAP_LIB_TELEMETRY_H

#include <linux/types.h>
#include <sys/types.h>
#include "err.h"
#include "format.h"
#include "remap/telemetry.h"

struct remap_telemetry;

/**
 * remap_telemetry_open() - load the programs and attach them; nothing is watched yet
 *
 * The target's tracepoints are attached if its module is loaded; see remap_telemetry_attach().
 * Return: 0; -EPERM, -EOPNOTSUPP (no BTF, no such tracepoint) or what the kernel says, in @err.
 */
int remap_telemetry_open(struct remap_telemetry **t, struct remap_err *err);

/** remap_telemetry_close() - detach and forget; NULL does nothing */
void remap_telemetry_close(struct remap_telemetry *t);

/**
 * remap_telemetry_attach() - attach the target's tracepoints, if they are there by now
 * Return: 1 if they are attached, 0 if the module is not loaded, or an error
 */
int remap_telemetry_attach(struct remap_telemetry *t, struct remap_err *err);

/** remap_telemetry_detach() - the other way: attached, they keep the module from being unloaded */
void remap_telemetry_detach(struct remap_telemetry *t);

/**
 * remap_telemetry_watch() - watch sectors of a device: a disk, a partition, dm, md
 * @slow_ns: what takes longer is an event; 0: nothing is
 * @area: result, to be used with the others here; counts begin at zero
 *
 * Return: 0; -EINVAL, -ENODEV; -ENOSPC if TELEMETRY_AREAS are watched; -EBUSY if some of the
 * sectors are.
 */
int remap_telemetry_watch(struct remap_telemetry *t, dev_t dev, u64 start, u64 sectors,
			  u64 slow_ns, u32 *area, struct remap_err *err);

/** remap_telemetry_set_slow() - another threshold, from now on; 0: none */
void remap_telemetry_set_slow(struct remap_telemetry *t, u32 area, u64 slow_ns);

/**
 * remap_telemetry_usual_slow() - a threshold that fits the kind of disk that a device is on
 * Return: ns: a second where heads have to move, or that is not to be told, else 200 ms
 */
u64 remap_telemetry_usual_slow(dev_t dev);

/** remap_telemetry_unwatch() - events of it that come later have its old id */
void remap_telemetry_unwatch(struct remap_telemetry *t, u32 area);

/** remap_telemetry_area() - what is watched there; sectors is 0 if nothing is */
const struct telemetry_area *remap_telemetry_area(const struct remap_telemetry *t, u32 area);

/* All CPUs' rows of an area together. */
struct remap_sample {
	u64 ios[TELEMETRY_OPS];			/* that ended, in whatever way */
	u64 bytes[TELEMETRY_OPS];		/* of the good ones */
	u64 unstamped[TELEMETRY_OPS];		/* of ios: without a latency */
	u64 errors, slow, dropped;
	u64 total[TELEMETRY_OPS][TELEMETRY_BUCKETS];
	/* of reads and writes where the kernel tells when the device got them (wbt, kyber, bfq) */
	u64 queue[2][TELEMETRY_BUCKETS];	/* modulo 2^32 for each CPU */
	u64 device[2][TELEMETRY_BUCKETS];
	u32 region_ios[TELEMETRY_REGIONS];	/* modulo 2^32 */
	u32 region_worst[TELEMETRY_REGIONS];	/* units of 64 ns */
	u32 region_errors[TELEMETRY_REGIONS];
	u32 region_slow[TELEMETRY_REGIONS];
};

/** remap_telemetry_read() - memory that the programs share is all that is read: no system call */
void remap_telemetry_read(const struct remap_telemetry *t, u32 area, struct remap_sample *s);

/* The two halves of that: all but the regions, or the regions; the other half of @s stays. */
void remap_telemetry_read_counts(const struct remap_telemetry *t, u32 area,
				 struct remap_sample *s);
void remap_telemetry_read_regions(const struct remap_telemetry *t, u32 area,
				  struct remap_sample *s);

/**
 * remap_telemetry_missed() - what was not seen, of all areas: completions that came while another
 * was being counted on the same CPU, and bios for which there was no room
 */
int remap_telemetry_missed(const struct remap_telemetry *t, u64 *missed, struct remap_err *err);

/** remap_telemetry_area_dropped() - its events for which there was no room, as of read(), alone */
u64 remap_telemetry_area_dropped(const struct remap_telemetry *t, u32 area);

/** remap_telemetry_area_errors() - likewise, its errors */
u64 remap_telemetry_area_errors(const struct remap_telemetry *t, u32 area);

/** remap_telemetry_dropped() - events of remap devices for which there was no room */
u64 remap_telemetry_dropped(const struct remap_telemetry *t);

typedef void remap_event_fn(void *arg, const struct telemetry_event *e);

/**
 * remap_telemetry_poll() - take events, waiting for them at most @timeout_ms (-1: for ever)
 * Return: their number, which is at most what the ring holds, or -EINTR and the like
 */
int remap_telemetry_poll(struct remap_telemetry *t, remap_event_fn *fn, void *arg, int timeout_ms);

/** remap_telemetry_fd() - for poll(2): readable when there are events */
int remap_telemetry_fd(const struct remap_telemetry *t);

/**
 * remap_telemetry_pin() - make the maps readable by others, in a folder below bpffs; made anew
 *
 * What is there already under these names is replaced. unpin: when the programs go.
 */
int remap_telemetry_pin(struct remap_telemetry *t, const char *folder, struct remap_err *err);
void remap_telemetry_unpin(const char *folder);

/**
 * remap_telemetry_open_pinned() - read what another process has loaded: area(), read(), dropped()
 * Return: 0; -ENOENT if nobody has; -EPROTO if what is there is not this version's
 */
int remap_telemetry_open_pinned(struct remap_telemetry **t, const char *folder,
				struct remap_err *err);

/** remap_bucket_ns() - lower bound of a bucket; TELEMETRY_BUCKETS: upper bound of the last */
u64 remap_bucket_ns(unsigned int bucket);

/**
 * remap_percentile() - the latency that @permille of those in a histogram did not exceed
 * Return: upper bound of its bucket in ns; 0 if the histogram is empty
 */
u64 remap_percentile(const u64 histogram[TELEMETRY_BUCKETS], unsigned int permille);

/**
 * remap_percentiles() - several at once
 * @permille: rising
 * Return: how many there are in the histogram
 */
u64 remap_percentiles(const u64 histogram[TELEMETRY_BUCKETS], const unsigned int *permille,
		      size_t n, u64 *ns);

/** remap_region_start() - first sector of a region of an area; TELEMETRY_REGIONS: its end */
u64 remap_region_start(const struct telemetry_area *a, unsigned int region);

#endif
