// SPDX-License-Identifier: GPL-2.0-only
/*
 * A superblock. What is taken for valid must describe a layout that holds, say the same when it is
 * encoded again, and stand in a place of its own.
 */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	u8 block[REMAP_MD_BLOCK] = { 0 }, again[REMAP_MD_BLOCK];
	struct remap_layout l;
	struct remap_super s, s2;
	unsigned int z;

	memcpy(block, data, size < sizeof(block) ? size : sizeof(block));
	if (remap_super_decode(block, REMAP_ANYWHERE, &s) != REMAP_VALID)
		fuzz_seal_super(block);
	if (remap_super_decode(block, REMAP_ANYWHERE, &s) != REMAP_VALID)
		return 0;
	demand(!remap_layout_of(&l, &s));
	fuzz_check_layout(&s, &l);
	for (z = 0; z < REMAP_ZONES; z++) {
		u64 right = remap_super_sector(&l, z, s.generation);
		u64 wrong = remap_super_sector(&l, z, s.generation + 1);

		demand(remap_super_decode(block, right, &s2) == REMAP_VALID);
		demand(remap_super_decode(block, wrong, &s2) == REMAP_MISPLACED);
	}
	remap_super_encode(again, &s, &l);
	demand(remap_super_decode(again, REMAP_ANYWHERE, &s2) == REMAP_VALID);
	demand(!memcmp(&s, &s2, sizeof(s)));
	demand(remap_super_choose(&s, 1, s.uuid) == 0);
	return 0;
}
