/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * The on-disk format of a dm-remap spare, version 1.
 *
 * This file holds nothing but the layout of the bytes; what they mean together, and how they are
 * checked, is in kernel/format.c, which the kernel and the tools share. All numbers are little
 * endian, all structures are packed by construction (no implicit padding; see the asserts below).
 *
 *   spare  |zone 0|  slots  |zone 1|  slots  |zone 2|  slots  |zone 3|  slots  |zone 4|
 *
 *   zone   |super A|super B|table 0 A|table 0 B|table 1 A|table 1 B| ...          (4 KiB each)
 *
 * The five zones hold the same. Generation g of a superblock or of a table block is written to
 * copy g & 1 (0 is A, 1 is B), so that writing g + 1 never touches g. Generations start at 1.
 *
 * All of that is a band. A spare that has grown has another band for each time, behind the one
 * before and laid out in the same way, except that superblocks are in the first band only. Slots
 * and table blocks are numbered through; replica z is zone z of every band.
 *
 *   spare  |<-- band 0, as it was formatted -->|<-- band 1 -->|<-- band 2 -->|
 */
#ifndef REMAP_FORMAT_H
#define REMAP_FORMAT_H

#include <linux/types.h>

#define REMAP_VERSION		1
#define REMAP_ZONES		5	/* replicas of all metadata */
#define REMAP_QUORUM		3	/* replicas that make a change durable */
#define REMAP_MD_BLOCK		4096	/* bytes of a superblock and of a table block */
#define REMAP_ZONE_ALIGN	65536	/* bytes; zones start at, and are, multiples of this */
#define REMAP_MIN_BLOCK		512	/* bytes, smallest unit of remapping */
#define REMAP_MAX_BLOCK		16384	/* bytes, largest: lost has a bit for each 512 of it */
#define REMAP_MAX_SLOTS		0x3fffffffU	/* slot numbers fit 30 bits in the kernel's map */
#define REMAP_MAX_GROWN		15	/* times that a spare can grow */
#define REMAP_MAX_BANDS		(REMAP_MAX_GROWN + 1)
#define REMAP_MAX_DATA_BLOCKS	(1ULL << 48)
#define REMAP_LABEL_LEN		32	/* bytes, NUL-padded, NUL-terminated */
#define REMAP_ID_LEN		128	/* bytes of each identity string, NUL-terminated */

#define REMAP_SUPER_MAGIC	"dm-remap\x89\r\n\x1a\nv1"	/* 15 bytes and the NUL */
#define REMAP_SUPER_MAGIC_LEN	16
#define REMAP_TABLE_MAGIC	0x54424d52U	/* the bytes "RMBT" */

/*
 * Feature words, with the meaning that ext4 gave them: a bit that we do not know in compat is
 * ignored, in ro_compat it forbids writing, in incompat it forbids use.
 */
#define REMAP_INCOMPAT_GROWN	1ULL	/* the spare has more than one band */


#define REMAP_COMPAT_KNOWN	0ULL
#define REMAP_RO_COMPAT_KNOWN	0ULL
#define REMAP_INCOMPAT_KNOWN	REMAP_INCOMPAT_GROWN

struct remap_disk_super {
	__u8	magic[REMAP_SUPER_MAGIC_LEN];
	__le32	crc;			/* crc32c of all 4096 bytes, this field taken as 0 */
	__le32	version;
	__le64	generation;
	__u8	uuid[16];
	__u8	label[REMAP_LABEL_LEN];
	__le32	block_size;		/* bytes, power of two */
	__le32	sector_size;		/* bytes of a logical sector: one bit of lost */
	__le64	data_sectors;		/* size of the data device, in sectors of 512 bytes */
	__le64	spare_sectors;		/* size of the spare, in sectors of 512 bytes */
	__le64	zone_sectors;		/* size of a zone of band 0, in sectors of 512 bytes */
	__le64	zone_start[REMAP_ZONES];	/* of band 0, in sectors of 512 bytes */
	__le32	slots;			/* number of slots, in all bands */
	__le32	tables;			/* table blocks that describe them */
	__le32	tables_used;		/* table blocks in use; slots of those above are free */
	__le32	reserved0;
	__le64	compat;
	__le64	ro_compat;
	__le64	incompat;
	__le64	created;		/* seconds since the epoch, for people */
	/* Who the data device was, for finding it again; empty strings where nothing is known. */
	__u8	data_wwn[REMAP_ID_LEN];
	__u8	data_serial[REMAP_ID_LEN];
	__u8	data_partuuid[REMAP_ID_LEN];
	__u8	data_fsuuid[REMAP_ID_LEN];
	/* With REMAP_INCOMPAT_GROWN; all zero without. */
	__le32	grown;			/* how often */
	__le32	reserved1;
	__le64	grown_from[REMAP_MAX_GROWN];	/* size before the first time, the second, ... */
	__u8	reserved[REMAP_MD_BLOCK - 840];
};

enum remap_slot_state {
	REMAP_SLOT_FREE		= 0,
	REMAP_SLOT_MAPPED	= 1,
	REMAP_SLOT_BAD		= 2,	/* the slot itself failed; never used again */
};

struct remap_disk_entry {
	__le32	block_lo;		/* data block number, bits 0 to 31 */
	__le16	block_hi;		/* bits 32 to 47 */
	__u8	state;			/* enum remap_slot_state */
	__u8	reserved;
	__le32	lost;			/* bit n: logical sector n of the block is lost */
	__le32	seq;			/* of two entries for one block the later one counts */
};

struct remap_disk_table_header {
	__le32	magic;
	__le32	crc;			/* crc32c(uuid, then all 4096 bytes, this as 0) */
	__le32	index;
	__le32	reserved0;
	__le64	generation;
	__le64	reserved1;
};

#define REMAP_ENTRIES	254		/* entries of a table block */

struct remap_disk_table {
	struct remap_disk_table_header	h;
	struct remap_disk_entry		entry[REMAP_ENTRIES];
};

#if defined(static_assert) || defined(__KERNEL__)
static_assert(sizeof(struct remap_disk_super) == REMAP_MD_BLOCK, "superblock size");
static_assert(sizeof(struct remap_disk_entry) == 16, "entry size");
static_assert(sizeof(struct remap_disk_table_header) == 32, "table header size");
static_assert(sizeof(struct remap_disk_table) == REMAP_MD_BLOCK, "table block size");
#endif

#endif
