/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints. All arguments are scalars, in this order, so that raw tracepoints can read them
 * without BTF of this module. "dev" is the mapped device; sectors are its own, of 512 bytes.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM remap

#if !defined(REMAP_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define REMAP_TRACE_H

#include <linux/tracepoint.h>
#include <linux/types.h>

/* A block is about to move. cause: enum remap_cause */
TRACE_EVENT(remap_relocate_begin,
	TP_PROTO(dev_t dev, u64 sector, u32 sectors, u32 cause),
	TP_ARGS(dev, sector, sectors, cause),
	TP_STRUCT__entry(
		__field(u32, dev)
		__field(u64, sector)
		__field(u32, sectors)
		__field(u32, cause)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->sector = sector;
		__entry->sectors = sectors;
		__entry->cause = cause;
	),
	TP_printk("%u:%u sector %llu + %u cause %u", MAJOR(__entry->dev), MINOR(__entry->dev),
		  __entry->sector, __entry->sectors, __entry->cause)
);

/* It moved (error 0) or stayed. slot: where it is now, REMAP_NO_SLOT on the data device */
TRACE_EVENT(remap_relocate_end,
	TP_PROTO(dev_t dev, u64 sector, u32 cause, u32 slot, int error),
	TP_ARGS(dev, sector, cause, slot, error),
	TP_STRUCT__entry(
		__field(u32, dev)
		__field(u64, sector)
		__field(u32, cause)
		__field(u32, slot)
		__field(int, error)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->sector = sector;
		__entry->cause = cause;
		__entry->slot = slot;
		__entry->error = error;
	),
	TP_printk("%u:%u sector %llu cause %u slot %u error %d", MAJOR(__entry->dev),
		  MINOR(__entry->dev), __entry->sector, __entry->cause, __entry->slot,
		  __entry->error)
);

/* A metadata block was written. index: of the table block, ~0 for the superblock */
TRACE_EVENT(remap_commit,
	TP_PROTO(dev_t dev, u32 index, u64 generation, u32 good),
	TP_ARGS(dev, index, generation, good),
	TP_STRUCT__entry(
		__field(u32, dev)
		__field(u32, index)
		__field(u64, generation)
		__field(u32, good)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->index = index;
		__entry->generation = generation;
		__entry->good = good;
	),
	TP_printk("%u:%u table %d generation %llu replicas %u", MAJOR(__entry->dev),
		  MINOR(__entry->dev), (int)__entry->index, __entry->generation, __entry->good)
);

/* enum remap_state, before and after */
TRACE_EVENT(remap_state,
	TP_PROTO(dev_t dev, u32 from, u32 to),
	TP_ARGS(dev, from, to),
	TP_STRUCT__entry(
		__field(u32, dev)
		__field(u32, from)
		__field(u32, to)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->from = from;
		__entry->to = to;
	),
	TP_printk("%u:%u state %u -> %u", MAJOR(__entry->dev), MINOR(__entry->dev), __entry->from,
		  __entry->to)
);

/* What is lost of a block, after it changed. lost: bit n is the block's logical sector n */
TRACE_EVENT(remap_lost,
	TP_PROTO(dev_t dev, u64 sector, u32 lost),
	TP_ARGS(dev, sector, lost),
	TP_STRUCT__entry(
		__field(u32, dev)
		__field(u64, sector)
		__field(u32, lost)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->sector = sector;
		__entry->lost = lost;
	),
	TP_printk("%u:%u sector %llu lost %#x", MAJOR(__entry->dev), MINOR(__entry->dev),
		  __entry->sector, __entry->lost)
);

/* A read failed, and could be read all the same, when it was tried again */
TRACE_EVENT(remap_recovered,
	TP_PROTO(dev_t dev, u64 sector, u32 sectors),
	TP_ARGS(dev, sector, sectors),
	TP_STRUCT__entry(
		__field(u32, dev)
		__field(u64, sector)
		__field(u32, sectors)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->sector = sector;
		__entry->sectors = sectors;
	),
	TP_printk("%u:%u sector %llu + %u", MAJOR(__entry->dev), MINOR(__entry->dev),
		  __entry->sector, __entry->sectors)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
