/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Metadata, the pure part: encode, decode, check and choose. Nothing here does I/O, sleeps,
 * allocates or locks; all of it runs in the kernel and in user space alike and takes everything
 * that it decodes to be hostile. Sizes named *_sectors are in sectors of 512 bytes.
 */
#ifndef REMAP_KERNEL_FORMAT_H
#define REMAP_KERNEL_FORMAT_H

#include "shim.h"
#include "remap/format.h"

#define REMAP_NO_SLOT		REMAP_MAX_SLOTS		/* no slot has this number */
/* nobody gets there; above it there is room for what is added to the highest that was read */
#define REMAP_MAX_GENERATION	((1ULL << 63) - (1ULL << 48))

/* Where everything is on a spare. Computed, never stored: see remap_layout_compute(). */
struct remap_band {
	u64 zone_start[REMAP_ZONES];	/* sectors */
	u64 zone_sectors;
	u32 first_table;		/* number of its first table block */
	u32 tables;			/* table blocks that describe its slots */
	u32 gap_slots[REMAP_ZONES - 1];	/* number of the first slot *behind* gap i */
	u64 gap_base[REMAP_ZONES - 1];	/* where slot 0 would be if it were in gap i; may wrap */
};

struct remap_layout {
	u32 block_sectors;		/* sectors of a block, and of a slot */
	u32 tables;			/* table blocks, of all bands */
	u32 slots;			/* likewise; see remap_slot_exists() */
	u32 bands;
	struct remap_band band[REMAP_MAX_BANDS];
};

/* The superblock in CPU order. */
struct remap_super {
	u64 generation;
	u8 uuid[16];
	char label[REMAP_LABEL_LEN];
	u32 block_size;			/* bytes */
	u32 sector_size;		/* bytes */
	u64 data_sectors;
	u64 spare_sectors;
	u32 grown;			/* times that the spare has grown */
	u64 grown_from[REMAP_MAX_GROWN];	/* sectors that it had before each of them */
	u32 tables_used;
	u64 compat;
	u64 ro_compat;
	u64 incompat;
	u64 created;
	char data_wwn[REMAP_ID_LEN];
	char data_serial[REMAP_ID_LEN];
	char data_partuuid[REMAP_ID_LEN];
	char data_fsuuid[REMAP_ID_LEN];
};

struct remap_entry {
	u64 block;			/* data block number */
	u32 lost;			/* bit n: logical sector n of the block */
	u32 seq;
	u8 state;			/* enum remap_slot_state */
};

/* Why a block is not valid, worst last. */
enum remap_check {
	REMAP_VALID,
	REMAP_BLANK,			/* no magic number: nothing of ours */
	REMAP_BAD_CRC,
	REMAP_BAD_VERSION,		/* a version that we do not know */
	REMAP_BAD_FEATURE,		/* an incompat feature that we do not know */
	REMAP_MISPLACED,		/* a good block, of another place or another spare */
	REMAP_BAD_FIELD,		/* checksum right, contents impossible */
};

/** remap_check_str() - what a check found, in words for a message */
const char *remap_check_str(enum remap_check c);

/**
 * remap_layout_compute() - lay out a spare that has never grown
 * @l:			result
 * @spare_sectors:	size of the spare
 * @block_size:		bytes, a power of two from REMAP_MIN_BLOCK to REMAP_MAX_BLOCK
 *
 * Takes as many slots as have room beside the zones that describe them. Return: 0, -EINVAL for
 * a bad block size, -ENOSPC where there is no room for a single slot.
 */
int __must_check remap_layout_compute(struct remap_layout *l, u64 spare_sectors, u32 block_size);

/** remap_layout_of() - lay out the spare of a superblock. Return: likewise */
int __must_check remap_layout_of(struct remap_layout *l, const struct remap_super *s);

/**
 * remap_layout_extend() - add the last band of @s to the layout of the others
 *
 * What is in the layout keeps its place, so that it may be read meanwhile. Return: likewise, and
 * nothing has changed then
 */
int __must_check remap_layout_extend(struct remap_layout *l, const struct remap_super *s);

/** remap_layout_retract() - undo that */
void remap_layout_retract(struct remap_layout *l);

/**
 * remap_super_grow() - make room of what the device has more now
 * @sectors: size of the device now
 *
 * Changes nothing but @s in memory. Return: 0; -ENOSPC where there is no room for a slot more;
 * -E2BIG where the spare has grown too often.
 */
int __must_check remap_super_grow(struct remap_super *s, u64 sectors);

/** remap_layout_min_sectors() - the smallest spare with at least @slots slots, in sectors */
u64 remap_layout_min_sectors(u32 block_size, u32 slots);

/*
 * The band of a table block. While another band is being added, who asks for what was there before
 * sees nothing of it.
 */
static inline const struct remap_band *remap_band_of(const struct remap_layout *l, u32 index)
{
	const struct remap_band *b = l->band;

	while (index >= b->first_table + b->tables && b + 1 < l->band + l->bands)
		b++;
	return b;
}

/*
 * What is to be added to a slot's number, in sectors, for its first sector on the spare; may wrap.
 * The slot must exist.
 */
static inline u64 remap_slot_base(const struct remap_layout *l, u32 slot)
{
	const struct remap_band *b = l->band;
	unsigned int gap = 0;

	/* not remap_band_of(): that would divide, and this is on the way of redirected I/O */
	while (slot >= b->gap_slots[REMAP_ZONES - 2] && b + 1 < l->band + l->bands)
		b++;
	while (slot >= b->gap_slots[gap])
		gap++;
	return b->gap_base[gap];
}

/** remap_slot_sector() - first sector of a slot on the spare; the slot must exist */
static inline u64 remap_slot_sector(const struct remap_layout *l, u32 slot)
{
	return remap_slot_base(l, slot) + (u64)slot * l->block_sectors;
}

/**
 * remap_table_slots() - how many of its entries stand for slots? @index must be below l->tables
 *
 * All have as many but for the last of each band.
 */
static inline u32 remap_table_slots(const struct remap_layout *l, u32 index)
{
	u32 left = remap_band_of(l, index)->gap_slots[REMAP_ZONES - 2] - index * REMAP_ENTRIES;

	return left < REMAP_ENTRIES ? left : REMAP_ENTRIES;
}

/** remap_slot_exists() - is there a slot of this number? */
static inline bool remap_slot_exists(const struct remap_layout *l, u32 slot)
{
	u32 index = slot / REMAP_ENTRIES;

	return index < l->tables && slot % REMAP_ENTRIES < remap_table_slots(l, index);
}

/** remap_table_run() - from @index on, how many table blocks stand one behind the other? */
static inline u32 remap_table_run(const struct remap_layout *l, u32 index)
{
	const struct remap_band *b = remap_band_of(l, index);

	return b->first_table + b->tables - index;
}

/** remap_zone_start() - where the superblocks of a replica are, in sectors */
static inline u64 remap_zone_start(const struct remap_layout *l, unsigned int zone)
{
	return l->band[0].zone_start[zone];
}

/** remap_super_sector() - where copy g & 1 of a superblock is, in sectors */
static inline u64 remap_super_sector(const struct remap_layout *l, unsigned int zone, u64 g)
{
	return remap_zone_start(l, zone) + (g & 1) * (REMAP_MD_BLOCK >> 9);
}

/** remap_table_sector() - where copy g & 1 of table block @index is, in sectors */
static inline u64 remap_table_sector(const struct remap_layout *l, unsigned int zone, u32 index,
				     u64 g)
{
	const struct remap_band *b = remap_band_of(l, index);

	return b->zone_start[zone] +
	       (2 + 2 * (u64)(index - b->first_table) + (g & 1)) * (REMAP_MD_BLOCK >> 9);
}

/** remap_first_sectors() - the size of the spare when it was formatted */
static inline u64 remap_first_sectors(const struct remap_super *s)
{
	return s->grown ? s->grown_from[0] : s->spare_sectors;
}

/** remap_block_sectors() - sectors of a data block: all blocks are alike but for the last */
static inline u32 remap_block_sectors(const struct remap_super *s, u64 block)
{
	u32 bs = s->block_size >> 9;
	u64 left = s->data_sectors - block * bs;

	return left < bs ? (u32)left : bs;
}

/** remap_data_blocks() - number of blocks on the data device */
static inline u64 remap_data_blocks(const struct remap_super *s)
{
	u32 bs = s->block_size >> 9;

	return div_u64(s->data_sectors + bs - 1, bs);
}

/** remap_super_encode() - write a superblock of generation s->generation to 4096 bytes */
void remap_super_encode(void *block, const struct remap_super *s, const struct remap_layout *l);

/**
 * remap_super_decode() - check 4096 bytes and take them for a superblock
 * @block:	the bytes
 * @sector:	where on the spare they were read, or REMAP_ANYWHERE
 * @s:		result; also filled where the answer is REMAP_BAD_FEATURE
 *
 * The layout is recomputed and held against what is stored: for a valid superblock
 * remap_layout_of() cannot fail. One that does not belong where it was read is REMAP_MISPLACED.
 * The caller compares s->data_sectors and s->spare_sectors with the real devices, and looks at
 * s->ro_compat.
 */
enum remap_check remap_super_decode(const void *block, u64 sector, struct remap_super *s);

#define REMAP_ANYWHERE		(~0ULL)

/**
 * remap_super_places() - where to look for zones on a spare whose size is known
 *
 * A zone's place depends on the zones' size, which only a superblock tells. Zone 0 is at sector
 * 0; should it be destroyed, the others are found by trying the one zone size that belongs to
 * each of the block sizes. Return: the number of offsets put into @sector.
 */
#define REMAP_SUPER_PLACES	(1 + 6 * (REMAP_ZONES - 1))
unsigned int remap_super_places(u64 spare_sectors, u64 sector[REMAP_SUPER_PLACES]);

/**
 * remap_super_choose() - which of these superblocks counts for the spare with this uuid?
 * @s:	valid superblocks, @n of them
 *
 * The highest generation. Should superblocks of that differ, for the reason that table blocks may,
 * the contents that most of them have. All were decoded by remap_super_decode(). Return: the index,
 * or -ENODATA where none has the uuid.
 */
int __must_check remap_super_choose(const struct remap_super *s, unsigned int n,
				    const u8 uuid[16]);

/*
 * What a device has of one spare: the five zones are those of its own layout. There may be several
 * on one device, as it was formatted more than once.
 */
struct remap_life {
	struct remap_super super;	/* the newest */
	unsigned int zones;		/* bit z: zone z has a valid superblock of it */
	unsigned int unseen;		/* bit z: it has none that can be read and understood */
	unsigned int taken;		/* bit z: it has a valid superblock of another spare */
	bool version;			/* somewhere is one of another version than ours */
	u64 unknown;			/* generation of the newest that has unknown features */
	u64 incompat;			/* which that has */
};

/** remap_life_known() - is the one with this uuid among these? */
bool remap_life_known(const struct remap_life *life, unsigned int n, const u8 uuid[16]);

/**
 * remap_life_look() - what do its own zones have of a spare?
 * @life:	result; @life->super is a valid superblock of the spare, and set to the newest
 * @l:		the layout of @life->super
 * @block:	2 * z + c is copy c of the superblock in zone z; NULL where it could not be read
 * @s:		room to work in, too large for a kernel's stack
 */
void remap_life_look(struct remap_life *life, const struct remap_layout *l,
		     const void *const block[2 * REMAP_ZONES],
		     struct remap_super s[2 * REMAP_ZONES]);

/**
 * remap_life_choose() - which life of the device is the latest?
 * @life:	of different spares, @n of them
 *
 * To format zeroes every superblock in the zones of now, and in any that can be found; what is
 * left is in places that the device did not have then, as it was smaller, or that nothing pointed
 * to any more. By that the one in most zones counts, of equally many the one created last. But
 * zone 0 is at the same place whatever the size, so that one in there cannot be of an older life,
 * unless its zones are taken: then it was not formatted here. Should one be there alone, and not
 * be taken, it counts if it comes first by the above; or if it is in as many zones as any, and in
 * REMAP_QUORUM (clocks go wrong); or if none was created later, and it is in as many, or most of
 * its zones are its own or cannot be seen. Else nobody knows. Return: the index, or -ENODATA for
 * n = 0, or -EUCLEAN where it cannot be told.
 */
int __must_check remap_life_choose(const struct remap_life *life, unsigned int n);

/** remap_table_init() - make an empty table block, not yet sealed */
void remap_table_init(void *block, u32 index);

/** remap_table_seal() - give a table block its generation and checksum */
void remap_table_seal(void *block, const u8 uuid[16], u64 generation);

/**
 * remap_table_check() - is this the table block @index of the spare with this uuid?
 * @generation: result where REMAP_VALID
 *
 * Also checks each entry by itself (state, block, lost). Slots named twice are found by who
 * builds the map.
 */
enum remap_check remap_table_check(const void *block, const struct remap_super *s,
				   const struct remap_layout *l, u32 index, u64 *generation);

/**
 * remap_table_choose() - which copy of table block @index counts?
 * @copy:	2 * z + c is copy c in zone z; NULL where it could not be read
 *
 * The highest generation that is valid and where it belongs. Should copies of one generation
 * differ, which takes a zone that missed writes and came back, the contents that most of them
 * have. Return: the index into @copy, or -ENODATA where none is valid.
 */
int __must_check remap_table_choose(const void *const copy[2 * REMAP_ZONES],
				    const struct remap_super *s, const struct remap_layout *l,
				    u32 index);

static inline u64 remap_table_generation(const void *block)
{
	return le64_to_cpu(((const struct remap_disk_table *)block)->h.generation);
}

void remap_entry_get(const void *table, unsigned int i, struct remap_entry *e);
void remap_entry_set(void *table, unsigned int i, const struct remap_entry *e);

/** remap_seq_after() - does a come after b? Serial-number arithmetic (RFC 1982) */
static inline bool remap_seq_after(u32 a, u32 b)
{
	return (s32)(a - b) > 0;
}

/** remap_super_same_spare() - are these of one spare, whether or not it grew between them? */
static inline bool remap_super_same_spare(const struct remap_super *a, const struct remap_super *b)
{
	return !memcmp(a->uuid, b->uuid, sizeof(a->uuid)) && a->block_size == b->block_size &&
	       a->sector_size == b->sector_size && a->data_sectors == b->data_sectors &&
	       remap_first_sectors(a) == remap_first_sectors(b);
}

/** remap_lost_mask() - the bits of lost that a block of @sectors sectors can have */
static inline u32 remap_lost_mask(const struct remap_super *s, u32 sectors)
{
	u32 n = sectors / (s->sector_size >> 9);

	return n >= 32 ? ~0U : (1U << n) - 1;
}

#endif
