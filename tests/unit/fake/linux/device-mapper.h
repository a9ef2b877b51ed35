/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What kernel/meta.c takes from the kernel, for tests/unit/test_meta.c, which has the disk: one
 * thread, and no sleep.
 */
#ifndef FAKE_DEVICE_MAPPER_H
#define FAKE_DEVICE_MAPPER_H

#include <stdio.h>
#include <sys/types.h>
#include "shim.h"

#define SECTOR_SHIFT		9
#define PAGE_SIZE		4096
#define BIT(n)			(1UL << (n))
#define BITS_TO_LONGS(n)	(((n) + 63) / 64)
#define BUILD_BUG_ON(x)		_Static_assert(!(x), #x)
#define cond_resched()		do { } while (0)
#define max(a, b)		((a) > (b) ? (a) : (b))
#define min3(a, b, c)		min(min(a, b), c)
#define hweight32(x)		((unsigned int)__builtin_popcount(x))
#define hweight_long(x)		((unsigned long)__builtin_popcountl(x))
#define WARN_ON_ONCE(x)		(x)
#define DMERR(...)		((void)snprintf(NULL, 0, __VA_ARGS__))
#define DMWARN(...)		DMERR(__VA_ARGS__)

static inline void rcu_read_lock(void)
{
}

static inline void rcu_read_unlock(void)
{
}

static inline void bitmap_zero(unsigned long *map, unsigned int bits)
{
	memset(map, 0, BITS_TO_LONGS(bits) * sizeof(*map));
}

static inline void __set_bit(unsigned int bit, unsigned long *map)
{
	map[bit / 64] |= 1UL << bit % 64;
}

static inline bool test_bit(unsigned int bit, const unsigned long *map)
{
	return map[bit / 64] >> bit % 64 & 1;
}

#endif
