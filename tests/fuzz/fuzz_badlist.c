// SPDX-License-Identifier: GPL-2.0-only
/* Lists of bad blocks, of both kinds: the first byte chooses. */
#include "badlist.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const u64 end = 1ULL << 56;
	struct remap_ranges r;
	struct remap_err err;
	u32 block;
	FILE *f;
	size_t i;
	int ret;

	if (size < 2)
		return 0;
	block = 1U << data[0] % 6;
	f = fmemopen((void *)(data + 1), size - 1, "r");
	demand(f);
	if (data[0] & 0x80)
		ret = remap_badlist_badblocks(f, "list", 512U << data[0] % 8, &r, &err);
	else
		ret = remap_badlist_ddrescue(f, "map", &r, &err);
	fclose(f);
	demand(!ret || strstr(err.text, data[0] & 0x80 ? "list" : "map"));
	for (i = 0; !ret && i < r.n; i++)
		demand(r.range[i].count && r.range[i].sector + r.range[i].count <= end);
	if (!ret)
		remap_ranges_settle(&r, block, end);
	for (i = 0; !ret && i < r.n; i++) {
		demand(r.range[i].count && r.range[i].sector % block == 0);
		demand(!i || r.range[i].sector >
			     r.range[i - 1].sector + r.range[i - 1].count);
	}
	remap_ranges_free(&r);
	return 0;
}
