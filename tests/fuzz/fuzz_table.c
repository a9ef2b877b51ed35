// SPDX-License-Identifier: GPL-2.0-only
/*
 * A table block, of some spare: the first bytes choose block size, sizes and index. What is taken
 * for valid names no block, slot or sector that there is not.
 */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct remap_super s = { .generation = 1, .tables_used = 1 };
	const void *copy[2 * REMAP_ZONES] = { NULL };
	u8 block[REMAP_MD_BLOCK] = { 0 };
	struct remap_disk_table *t = (void *)block;
	struct remap_layout l;
	struct remap_entry e;
	unsigned int i;
	u32 index;
	u64 g;

	if (size < 8)
		return 0;
	s.block_size = 512U << data[0] % 6;
	s.sector_size = 512U << data[1] % (data[0] % 6 + 1);
	s.data_sectors = ((u64)data[2] << (data[3] % 40)) * (s.sector_size >> 9);
	s.spare_sectors = 2048 + 128 * (u64)data[4] + ((u64)data[5] << 20);
	index = data[6];
	if (!s.data_sectors || s.data_sectors >= REMAP_MAX_DATA_BLOCKS ||
	    remap_layout_compute(&l, s.spare_sectors, s.block_size))
		return 0;
	memcpy(block, data + 8, size - 8 < sizeof(block) ? size - 8 : sizeof(block));
	t->h.magic = cpu_to_le32(REMAP_TABLE_MAGIC);
	if (data[7] & 1)
		t->h.index = cpu_to_le32(index);
	fuzz_seal_table(block, s.uuid);
	if (remap_table_check(block, &s, &l, index, &g) != REMAP_VALID)
		return 0;
	demand(g && g < REMAP_MAX_GENERATION);
	for (i = 0; i < REMAP_ENTRIES; i++) {
		remap_entry_get(block, i, &e);
		if (e.state == REMAP_SLOT_FREE)
			continue;
		demand((u64)index * REMAP_ENTRIES + i < l.slots);
		if (e.state == REMAP_SLOT_BAD)
			continue;
		demand(e.state == REMAP_SLOT_MAPPED);
		demand(e.block < remap_data_blocks(&s));
		demand(!(e.lost & ~remap_lost_mask(&s, remap_block_sectors(&s, e.block))));
	}
	copy[g & 1] = block;
	demand(remap_table_choose(copy, &s, &l, index) == (int)(g & 1));
	copy[g & 1] = NULL;
	copy[~g & 1] = block;
	demand(remap_table_choose(copy, &s, &l, index) == -ENODATA);
	return 0;
}
