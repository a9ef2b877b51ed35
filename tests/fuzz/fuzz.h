/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the fuzzers have in common. Each is a libFuzzer program: LLVMFuzzerTestOneInput() gives
 * bytes to a decoder as if from a disk or a user, and demands() of the result what others rely on.
 */
#ifndef REMAP_FUZZ_H
#define REMAP_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "format.h"

#define demand(x) \
	do { \
		if (!(x)) { \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
			abort(); \
		} \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* No fuzzer finds checksums: give a metadata block the one that it ought to have, at byte @at. */
static inline void fuzz_seal(u8 *block, u32 seed, size_t at)
{
	__le32 crc;

	memset(block + at, 0, 4);
	crc = cpu_to_le32(remap_crc32c(seed, block, REMAP_MD_BLOCK));
	memcpy(block + at, &crc, 4);
}

static inline void fuzz_seal_super(u8 *block)
{
	memcpy(block, REMAP_SUPER_MAGIC, REMAP_SUPER_MAGIC_LEN);
	fuzz_seal(block, ~0U, offsetof(struct remap_disk_super, crc));
}

static inline void fuzz_seal_table(u8 *block, const u8 uuid[16])
{
	fuzz_seal(block, remap_crc32c(~0U, uuid, 16),
		  offsetof(struct remap_disk_table_header, crc));
}

static inline void fuzz_check_slot(const struct remap_super *s, const struct remap_layout *l,
				   u32 slot)
{
	u64 from, to;
	unsigned int n, z;

	if (!remap_slot_exists(l, slot))
		return;
	from = remap_slot_sector(l, slot);
	to = from + l->block_sectors;
	demand(to <= s->spare_sectors);
	for (n = 0; n < l->bands; n++)
		for (z = 0; z < REMAP_ZONES; z++)
			demand(to <= l->band[n].zone_start[z] ||
			       from >= l->band[n].zone_start[z] + l->band[n].zone_sectors);
}

/* Nobody who believes in this layout gets out of the spare, or from a slot into a zone. */
static inline void fuzz_check_layout(const struct remap_super *s, const struct remap_layout *l)
{
	unsigned int n, z, i;
	u64 end = 0;

	demand(l->slots && l->slots <= REMAP_MAX_SLOTS && l->tables && s->tables_used <= l->tables);
	demand((u64)l->tables * REMAP_ENTRIES >= l->slots);
	demand(l->bands == s->grown + 1);
	for (n = 0; n < l->bands; n++) {
		const struct remap_band *b = &l->band[n];
		u32 first = b->first_table * REMAP_ENTRIES;

		for (z = 0; z < REMAP_ZONES; z++) {
			demand(b->zone_start[z] >= end);
			end = b->zone_start[z] + b->zone_sectors;
			demand(remap_table_sector(l, z, b->first_table + b->tables - 1, 1) + 8 <=
			       end);
		}
		fuzz_check_slot(s, l, first);
		fuzz_check_slot(s, l, first + 1);
		for (i = 0; i < REMAP_ZONES - 1; i++) {
			fuzz_check_slot(s, l, b->gap_slots[i] - 1);
			fuzz_check_slot(s, l, b->gap_slots[i]);
		}
	}
	demand(end <= s->spare_sectors);
}

#endif
