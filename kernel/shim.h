/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What format.c and map.c need from the world around them, in the kernel and in user space.
 * Both are written in kernel C; for user space (tools, unit tests, fuzzers) this file supplies
 * the few words of it that they use.
 */
#ifndef REMAP_SHIM_H
#define REMAP_SHIM_H

#ifdef __KERNEL__

#include <linux/bitops.h>
#include <linux/build_bug.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/math64.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/types.h>
#include "compat.h"

#ifndef CONFIG_64BIT
#error "dm-remap needs a 64-bit kernel: its map stores 64 bits at once"
#endif

/* For readers under rcu_read_lock() or rcu_read_lock_sched(): synchronize_rcu() waits for both. */
#define remap_load(x)		READ_ONCE(x)
#define remap_assert_reader()	\
	RCU_LOCKDEP_WARN(!rcu_read_lock_any_held(), "reads the map outside RCU")

#else /* user space */

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <linux/types.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef int64_t s64;

#define __rcu
#define __must_check		__attribute__((warn_unused_result))
#define likely(x)		__builtin_expect(!!(x), 1)
#define unlikely(x)		__builtin_expect(!!(x), 0)

#define cpu_to_le16(x)		htole16(x)
#define cpu_to_le32(x)		htole32(x)
#define cpu_to_le64(x)		htole64(x)
#define le16_to_cpu(x)		le16toh(x)
#define le32_to_cpu(x)		le32toh(x)
#define le64_to_cpu(x)		le64toh(x)

#define READ_ONCE(x)		__atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, v)	__atomic_store_n(&(x), (v), __ATOMIC_RELAXED)
#define remap_load(x)		__atomic_load_n(&(x), __ATOMIC_CONSUME)
#define remap_assert_reader()	do { } while (0)
#define smp_store_release(p, v)	__atomic_store_n(p, v, __ATOMIC_RELEASE)

#define hweight64(x)		((unsigned int)__builtin_popcountll(x))
#define __ffs64(x)		((unsigned int)__builtin_ctzll(x))
#ifndef ARRAY_SIZE
#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))
#endif
#define is_power_of_2(x)	((x) && !((x) & ((x) - 1)))
#define min(a, b)		((a) < (b) ? (a) : (b))

static inline u64 div_u64(u64 a, u32 b)
{
	return a / b;
}

typedef unsigned int gfp_t;

#define __GFP_DIRECT_RECLAIM	1U		/* may wait: what a test may want to know */
#define GFP_KERNEL		__GFP_DIRECT_RECLAIM
#define GFP_NOIO		__GFP_DIRECT_RECLAIM
#define GFP_NOWAIT		0U
#define __GFP_NOWARN		0U

static inline void *kmalloc(size_t size, gfp_t gfp)
{
	(void)gfp;
	return malloc(size);
}

static inline void *kzalloc(size_t size, gfp_t gfp)
{
	(void)gfp;
	return calloc(1, size);
}

static inline void *kvcalloc(size_t n, size_t size, gfp_t gfp)
{
	(void)gfp;
	return calloc(n, size);
}

#define kfree(p)		free(p)
#define kvfree(p)		free(p)
/* User space has one thread in a map at a time: a grace period is over at once. */
#define remap_kfree_rcu(p)	free(p)

u32 remap_crc32c(u32 crc, const void *data, size_t len);

#endif /* user space */
#endif
