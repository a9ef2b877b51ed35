// SPDX-License-Identifier: GPL-2.0-only
/*
 * A whole spare: a good one, in which the input has changed bytes, blocks and checksums, read and
 * mended by the library. Reading twice says the same, nothing is repaired into being wrong, and
 * what is mapped is within both devices.
 *
 * The input is a list of changes: where (2 bytes, a number of 64), what (1 byte: its low bits say
 * set bytes, copy a metadata block from elsewhere, give one its right checksum and put it into one
 * zone or into all, overwrite; its high ones, how many bytes follow), and up to 15 bytes: to set
 * some, the first is added to where.
 *
 * With REMAP_FUZZ_IMAGES=FOLDER each image is left there: for tests/vm/hostile.bats, which starts
 * the kernel's target on them.
 */
#include <sys/mman.h>
#include <unistd.h>
#include "fuzz.h"
#include "spare.h"

#define SPARE_BYTES	(1U << 20)

static u8 good[SPARE_BYTES];
static struct remap_store st;
static struct remap_super super;

static void put_tables(const struct remap_spare *sp)
{
	struct remap_entry e = { .state = REMAP_SLOT_MAPPED };
	u8 block[REMAP_MD_BLOCK];
	unsigned int i, z, g;

	for (g = 2; g < 4; g++) {
		remap_table_init(block, 0);
		for (i = 0; i < 16 * g; i++) {
			e.block = i * 7;
			e.seq = i;
			e.lost = i & 2;
			remap_entry_set(block, i, &e);
		}
		remap_table_seal(block, sp->super.uuid, g);
		for (z = 0; z < REMAP_ZONES; z++)
			memcpy(good + (remap_table_sector(&sp->layout, z, 0, g) << 9), block,
			       sizeof(block));
	}
}

static void setup(void)
{
	struct remap_spare sp;
	struct remap_err err;
	char path[64];
	int fd = memfd_create("spare", 0);

	super = (struct remap_super){ .uuid = { 1, 2, 3 }, .label = "fuzz", .block_size = 4096,
		.sector_size = 512, .data_sectors = 100001, .created = 1 };
	demand(fd >= 0 && !ftruncate(fd, SPARE_BYTES));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	demand(!remap_store_open(&st, path, true, &err));
	demand(!remap_spare_format(&st, &super, &err));
	demand(!remap_spare_find(&st, false, &sp, &err));
	demand(pread(fd, good, sizeof(good), 0) == (ssize_t)sizeof(good));
	put_tables(&sp);
}

/* What a zone has there, all zones have. */
static void spread(u8 *image, const u8 *block)
{
	u8 copy[REMAP_MD_BLOCK];
	struct remap_layout l;
	size_t at = (size_t)(block - image);
	unsigned int z;

	memcpy(copy, block, sizeof(copy));
	demand(!remap_layout_compute(&l, SPARE_BYTES >> 9, super.block_size));
	for (z = 0; z < REMAP_ZONES && at >= l.band[0].zone_start[z] << 9; z++)
		;
	at -= l.band[0].zone_start[z - 1] << 9;
	if (at + sizeof(copy) > l.band[0].zone_sectors << 9)
		return;
	for (z = 0; z < REMAP_ZONES; z++)
		memcpy(image + (l.band[0].zone_start[z] << 9) + at, copy, sizeof(copy));
}

static size_t change(u8 *image, const u8 *in, size_t size)
{
	size_t at = ((size_t)in[0] << 8 | in[1]) * 64 % SPARE_BYTES, n = in[2] >> 4;
	u8 *block = image + (at & ~(size_t)(REMAP_MD_BLOCK - 1));

	if (size < 3 + n)
		return size;
	switch (in[2] & 3) {
	case 0:
		at += n ? in[3] % 64 : 0;
		memcpy(image + at, in + 4, n && at + n - 1 <= SPARE_BYTES ? n - 1 : 0);
		break;
	case 1:
		if (n >= 2)
			memmove(block, image + ((size_t)in[3] << 12), REMAP_MD_BLOCK);
		break;
	case 2:
		if (block[0] == 'R')
			fuzz_seal_table(block, super.uuid);
		else
			fuzz_seal_super(block);
		if (n)
			spread(image, block);
		break;
	case 3:
		memset(block, n ? in[3] : 0, REMAP_MD_BLOCK);
		break;
	}
	return 3 + n;
}

static void keep(const char *folder, const u8 *image)
{
	static unsigned int n;
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%06u", folder, n++);
	f = fopen(path, "w");
	demand(f && fwrite(image, SPARE_BYTES, 1, f) == 1);
	fclose(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static u8 image[SPARE_BYTES];
	struct remap_verdict v, v2;
	struct remap_table t, t2;
	struct remap_spare sp;
	struct remap_err err;
	size_t i, used;
	int r;

	if (!super.block_size)
		setup();
	memcpy(image, good, sizeof(image));
	for (; size >= 3; data += used, size -= used)
		used = change(image, data, size);
	demand(pwrite(st.fd, image, sizeof(image), 0) == (ssize_t)sizeof(image));
	if (getenv("REMAP_FUZZ_IMAGES"))
		keep(getenv("REMAP_FUZZ_IMAGES"), image);

	remap_spare_present(&st);
	if (remap_spare_find(&st, true, &sp, &err) && remap_spare_find(&st, false, &sp, &err))
		return 0;
	fuzz_check_layout(&sp.super, &sp.layout);
	r = remap_spare_table(&st, &sp, &t, &err);
	if (!r) {
		for (i = 0; i < t.n; i++) {
			const struct remap_entry *e = &t.slot[i].entry;

			demand(remap_slot_exists(&sp.layout, t.slot[i].slot));
			demand(e->state != REMAP_SLOT_MAPPED ||
			       e->block < remap_data_blocks(&sp.super));
		}
		if (sp.super.spare_sectors <= st.sectors && !sp.several_lives &&
		    !remap_spare_repair(&st, &sp, &v, &err)) {
			demand(!remap_spare_verify(&st, &sp, &v2, &err));
			demand(v.ok == v2.ok && v.lost_tables == v2.lost_tables);
			demand(!remap_spare_table(&st, &sp, &t2, &err));
			demand(t2.n == t.n && t2.lost_sectors == t.lost_sectors);
			demand(!t.n || !memcmp(t.slot, t2.slot, t.n * sizeof(*t.slot)));
			remap_table_free(&t2);
		}
	}
	remap_table_free(&t);
	return 0;
}
