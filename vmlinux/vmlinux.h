/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Of the kernel's types what the programs in bpf/ read, and nothing else. Names and types are the
 * kernel's, places are not: the loader finds each field in the BTF of the kernel that runs
 * (preserve_access_index). "make vmlinux-check" holds all of it against the kernels we know.
 */
#ifndef REMAP_VMLINUX_H
#define REMAP_VMLINUX_H

typedef signed char __s8;
typedef unsigned char __u8;
typedef short __s16;
typedef unsigned short __u16;
typedef int __s32;
typedef unsigned int __u32;
typedef long long __s64;
typedef unsigned long long __u64;
typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef _Bool bool;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;

typedef u32 dev_t;
typedef u64 sector_t;
typedef u8 blk_status_t;
typedef __u32 blk_opf_t;

enum { false, true };

/* bpf_helper_defs.h and the macros around maps speak of these */
enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_RINGBUF = 27,
};

enum {
	BPF_NOEXIST = 1,
};

enum {
	BPF_F_MMAPABLE = 1 << 10,
};

struct bpf_raw_tracepoint_args {
	__u64 args[0];
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct block_device {
	dev_t bd_dev;
	struct gendisk *bd_disk;
};

struct gendisk {
	struct block_device *part0;
	struct request_queue *queue;
};

struct request_queue {
	struct gendisk *disk;
};

struct request {
	struct request_queue *q;
	blk_opf_t cmd_flags;
	unsigned int __data_len;
	sector_t __sector;
	u64 start_time_ns;
	u64 io_start_time_ns;
};

struct bvec_iter {
	sector_t bi_sector;
	unsigned int bi_size;
};

struct bio {
	struct block_device *bi_bdev;
	blk_opf_t bi_opf;
	blk_status_t bi_status;
	struct bvec_iter bi_iter;
};

#pragma clang attribute pop

#endif
