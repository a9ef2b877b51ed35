/* SPDX-License-Identifier: GPL-2.0-only */
/* For who has included kernel/map.c: the memory that a map's nodes take in the kernel, in bytes. */
#ifndef MAP_BYTES_H
#define MAP_BYTES_H

/* What kmalloc() makes of a size; the smallest node has more than the smallest of its sizes. */
static size_t kmalloc_size(size_t size)
{
	size_t class = 64;

	if (size > 64 && size <= 96)
		return 96;
	if (size > 128 && size <= 192)
		return 192;
	while (class < size)
		class *= 2;
	return class;
}

static size_t map_kernel_bytes(const struct remap_map *m)
{
	size_t bytes = 0;

	for (u64 r = 0; r <= m->blocks >> REMAP_ROOT_SHIFT; r++) {
		if (!node_of(m->root[r]))
			continue;
		bytes += kmalloc_size(mid_size(m->root[r]));
		for (unsigned int i = 0; i < REMAP_MID_LEAVES; i++)
			if (node_of(mid_at(m->root[r], i)))
				bytes += kmalloc_size(leaf_size(mid_at(m->root[r], i)));
	}
	return bytes;
}

#endif
