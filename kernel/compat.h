/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Differences between the kernels that we build for (6.1 and later): one small inline function or
 * macro each, with the version that brought the change.
 */
#ifndef REMAP_COMPAT_H
#define REMAP_COMPAT_H

#include <linux/blkdev.h>
#include <linux/crc32.h>
#include <linux/device-mapper.h>
#include <linux/rcupdate.h>
#include <linux/version.h>

/* 6.14: __crc32c_le() became crc32c() of <linux/crc32.h>. */
static inline u32 remap_crc32c(u32 crc, const void *data, size_t len)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 14, 0)
	return crc32c(crc, data, len);
#else
	return __crc32c_le(crc, data, len);
#endif
}

/* 6.3: kvfree_rcu() with one argument became kvfree_rcu_mightsleep(). May sleep; never fails. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
#define remap_kfree_rcu(p)	kvfree_rcu_mightsleep(p)
#else
#define remap_kfree_rcu(p)	kvfree_rcu(p)
#endif

/* 6.5: the mode of a table became a blk_mode_t. Was it loaded for writing? */
static inline bool remap_table_is_writable(struct dm_table *table)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
	return dm_table_get_mode(table) & BLK_OPEN_WRITE;
#else
	return dm_table_get_mode(table) & FMODE_WRITE;
#endif
}

#endif
