/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A spare in a regular file that has no name any more, for the tests of user/lib/spare.c. Raw
 * reads and writes are system calls: they go past what a test puts between library and file.
 */
#ifndef REMAP_UNIT_SPARE_FILE_H
#define REMAP_UNIT_SPARE_FILE_H

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "unit.h"
#include "spare.h"

#define RAW_BYTES	(1U << 20)	/* of a raw read or write, at most */

static struct remap_store st;
static struct remap_err err;

/* @fd is of a new file; it is closed */
static inline void spare_open(int fd, off_t bytes)
{
	char path[64];

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, bytes), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	assert_int_equal(remap_store_open(&st, path, true, &err), 0);
	close(fd);
}

/* The device has another size now. */
static inline void spare_resize(off_t bytes)
{
	assert_int_equal(ftruncate(st.fd, bytes), 0);
	st.sectors = (u64)bytes >> 9;
}

static inline void raw_read(u64 sector, void *buf, size_t bytes)
{
	_Alignas(4096) static u8 bounce[RAW_BYTES];

	assert_int_equal(syscall(SYS_pread64, st.fd, bounce, bytes, sector << 9), bytes);
	memcpy(buf, bounce, bytes);
}

static inline void raw_write(u64 sector, const void *buf, size_t bytes)
{
	_Alignas(4096) static u8 bounce[RAW_BYTES];

	memcpy(bounce, buf, bytes);
	assert_int_equal(syscall(SYS_pwrite64, st.fd, bounce, bytes, sector << 9), bytes);
}

static inline struct remap_spare found(void)
{
	struct remap_spare sp;

	if (remap_spare_find(&st, false, &sp, &err))
		fail_msg("%s", err.text);
	return sp;
}

static inline struct remap_verdict verdict(const struct remap_spare *sp)
{
	struct remap_verdict v;

	assert_int_equal(remap_spare_verify(&st, sp, &v, &err), 0);
	return v;
}

/* Write a block as generation @g of table block @index to the zones whose bit is set. */
static inline void put_table_at(const struct remap_spare *sp, u32 index, const void *block, u64 g,
				unsigned int zones)
{
	u8 copy[REMAP_MD_BLOCK];

	memcpy(copy, block, sizeof(copy));
	remap_table_seal(copy, sp->super.uuid, g);
	for (unsigned int z = 0; z < REMAP_ZONES; z++)
		if (zones & 1U << z)
			raw_write(remap_table_sector(&sp->layout, z, index, g), copy,
				  sizeof(copy));
}

#endif
