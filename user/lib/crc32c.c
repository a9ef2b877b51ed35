// SPDX-License-Identifier: GPL-2.0-only
/*
 * crc32c (Castagnoli, reflected polynomial 0x82f63b78; RFC 3720 appendix B.4), in the form of the
 * kernel's __crc32c_le(): no inversion, neither before nor after. For format.c in user space; the
 * kernel has its own.
 */
#include "shim.h"

u32 remap_crc32c(u32 crc, const void *data, size_t len)
{
	static u32 table[256];
	const u8 *p = data;

	if (!table[1]) {
		for (u32 i = 255; i > 0; i--) {
			u32 c = i;

			for (int bit = 0; bit < 8; bit++)
				c = c & 1 ? c >> 1 ^ 0x82f63b78U : c >> 1;
			table[i] = c;	/* table[1] comes last: it says that all are there */
		}
	}
	while (len--)
		crc = crc >> 8 ^ table[(crc ^ *p++) & 0xff];
	return crc;
}
