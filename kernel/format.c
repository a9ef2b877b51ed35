// SPDX-License-Identifier: GPL-2.0-only
/*
 * dm-remap metadata: encode, decode, check and choose.
 *
 * The picture of the spare is in include/remap/format.h. What this file decides:
 *
 *  - where the zones and the slots are (remap_layout_of), from the size of the spare, the sizes
 *    that it had before it grew, and the block size alone, so that a spare of which one zone is
 *    left still tells everything;
 *  - whether 4096 bytes are what they should be. All that is read from a disk is taken to be
 *    hostile: a checksum proves that nobody scribbled, not that nobody lies;
 *  - which of several superblocks counts.
 *
 * Reading and writing is left to meta.c in the kernel and to user/lib in the tools.
 */
#include "format.h"

const char *remap_check_str(enum remap_check c)
{
	switch (c) {
	case REMAP_VALID:
		return "valid";
	case REMAP_BLANK:
		return "not dm-remap metadata";
	case REMAP_BAD_CRC:
		return "wrong checksum";
	case REMAP_BAD_VERSION:
		return "unknown format version";
	case REMAP_BAD_FEATURE:
		return "unknown incompatible feature";
	case REMAP_MISPLACED:
		return "belongs to another place or spare";
	case REMAP_BAD_FIELD:
		return "impossible contents";
	}
	return "unknown";
}

/* ---- layout ---- */

#define ZONE_ALIGN_SECTORS	(REMAP_ZONE_ALIGN >> 9)
#define MD_SECTORS		(REMAP_MD_BLOCK >> 9)

static bool block_size_ok(u32 block_size)
{
	return is_power_of_2(block_size) && block_size >= REMAP_MIN_BLOCK &&
	       block_size <= REMAP_MAX_BLOCK;
}

/*
 * Lay out @b, whose first_table is set already, in @sectors from @from on, with zones of @units
 * times 64 KiB. Return: its slots; 0 where the zones do not fit.
 */
static u32 band_try(struct remap_band *b, u64 from, u64 sectors, u32 block_sectors, u64 units)
{
	u64 zone = units * ZONE_ALIGN_SECTORS;
	u64 room = (zone / MD_SECTORS - 2) / 2 * REMAP_ENTRIES;
	u64 before = (u64)b->first_table * REMAP_ENTRIES, slots = 0;
	unsigned int i;

	if (zone > sectors || before >= REMAP_MAX_SLOTS)
		return 0;
	if (room > REMAP_MAX_SLOTS - before)
		room = REMAP_MAX_SLOTS - before;
	for (i = 0; i < REMAP_ZONES; i++) {
		u64 start = (sectors - zone) / 4 * i + (sectors - zone) % 4 * i / 4;

		b->zone_start[i] = from + (start & ~(u64)(ZONE_ALIGN_SECTORS - 1));
		if (i && b->zone_start[i] < b->zone_start[i - 1] + zone)
			return 0;
	}
	for (i = 0; i < REMAP_ZONES - 1; i++) {
		u64 gap = b->zone_start[i + 1] - b->zone_start[i] - zone;

		/* gaps are multiples of 64 KiB, so no block straddles a zone */
		slots += gap >> __ffs64(block_sectors);
		if (slots > room)
			slots = room;
		b->gap_base[i] = b->zone_start[i] + zone -
				 (i ? b->gap_slots[i - 1] : before) * block_sectors;
		b->gap_slots[i] = (u32)(before + slots);
	}
	b->zone_sectors = zone;
	b->tables = (u32)((slots + REMAP_ENTRIES - 1) / REMAP_ENTRIES);
	return (u32)slots;
}

/* Return: the slots of the band, or 0 where there is no room for any */
static u32 band_compute(struct remap_band *b, u64 from, u64 sectors, u32 block_sectors,
			u32 first_table)
{
	struct remap_band best;
	u64 lo = 1, hi;
	u32 slots;

	/*
	 * Larger zones leave fewer slots and describe more. Find the smallest zone that describes
	 * all the slots it leaves; the one below it may still have more slots in all.
	 */
	hi = div_u64(sectors, REMAP_ZONES * ZONE_ALIGN_SECTORS);
	if (!hi)
		return 0;
	while (lo < hi) {
		u64 mid = lo + (hi - lo) / 2;
		u64 zone = mid * ZONE_ALIGN_SECTORS;
		u64 room = (zone / MD_SECTORS - 2) / 2 * REMAP_ENTRIES;

		if (room >= REMAP_MAX_SLOTS ||
		    room >= (sectors - REMAP_ZONES * zone) >> __ffs64(block_sectors))
			hi = mid;
		else
			lo = mid + 1;
	}
	b->first_table = first_table;
	slots = band_try(b, from, sectors, block_sectors, lo);
	best.first_table = first_table;
	if (lo > 1) {
		u32 more = band_try(&best, from, sectors, block_sectors, lo - 1);

		if (more > slots) {
			*b = best;
			slots = more;
		}
	}
	return slots;
}

/* Band @n of a spare, its table blocks numbered from @first_table on. Return: as above */
static u32 band_of(struct remap_band *b, const struct remap_super *s, unsigned int n,
		   u32 first_table)
{
	u64 from = n ? s->grown_from[n - 1] : 0;
	u64 to = n < s->grown ? s->grown_from[n] : s->spare_sectors;

	/* no device is near 2^60 sectors; keeps sums from wrapping */
	if (from >> 60 || to >> 60)
		return 0;
	from = (from + ZONE_ALIGN_SECTORS - 1) & ~(u64)(ZONE_ALIGN_SECTORS - 1);
	return to > from ? band_compute(b, from, to - from, s->block_size >> 9, first_table) : 0;
}

int remap_layout_compute(struct remap_layout *l, u64 spare_sectors, u32 block_size)
{
	u32 slots;

	if (!block_size_ok(block_size) || spare_sectors >> 60)
		return -EINVAL;
	slots = band_compute(&l->band[0], 0, spare_sectors, block_size >> 9, 0);
	if (!slots)
		return -ENOSPC;
	l->block_sectors = block_size >> 9;
	l->bands = 1;
	l->slots = slots;
	l->tables = l->band[0].tables;
	return 0;
}

int remap_layout_extend(struct remap_layout *l, const struct remap_super *s)
{
	struct remap_band *b = &l->band[l->bands];
	u32 slots;

	if (l->bands > s->grown || s->grown > REMAP_MAX_GROWN)
		return -EINVAL;
	slots = band_of(b, s, l->bands, l->tables);
	if (!slots)
		return -ENOSPC;
	l->bands++;
	WRITE_ONCE(l->slots, l->slots + slots);
	WRITE_ONCE(l->tables, l->tables + b->tables);
	return 0;
}

void remap_layout_retract(struct remap_layout *l)
{
	const struct remap_band *b = &l->band[l->bands - 1];

	WRITE_ONCE(l->slots, l->slots - (b->gap_slots[REMAP_ZONES - 2] -
					 b->first_table * REMAP_ENTRIES));
	WRITE_ONCE(l->tables, l->tables - b->tables);
	l->bands--;
}

int remap_layout_of(struct remap_layout *l, const struct remap_super *s)
{
	int r = remap_layout_compute(l, remap_first_sectors(s), s->block_size);

	while (!r && l->bands <= s->grown)
		r = remap_layout_extend(l, s);
	return r;
}

int remap_super_grow(struct remap_super *s, u64 sectors)
{
	u64 from = s->spare_sectors, incompat = s->incompat;
	struct remap_band b;

	if (sectors <= from)
		return -ENOSPC;
	if (s->grown == REMAP_MAX_GROWN)
		return -E2BIG;
	s->grown_from[s->grown++] = from;
	s->spare_sectors = sectors;
	s->incompat |= REMAP_INCOMPAT_GROWN;
	/* where its slots are numbered from matters to none but the largest of spares */
	if (band_of(&b, s, s->grown, 0))
		return 0;
	s->grown_from[--s->grown] = 0;
	s->spare_sectors = from;
	s->incompat = incompat;
	return -ENOSPC;
}

u64 remap_layout_min_sectors(u32 block_size, u32 slots)
{
	u64 lo = ZONE_ALIGN_SECTORS, hi = 1ULL << 50;
	struct remap_layout l;

	/* in steps of 64 KiB the number of slots never falls as the spare grows */
	while (lo < hi) {
		u64 mid = (lo + (hi - lo) / 2) & ~(u64)(ZONE_ALIGN_SECTORS - 1);

		if (!remap_layout_compute(&l, mid, block_size) && l.slots >= slots)
			hi = mid;
		else
			lo = mid + ZONE_ALIGN_SECTORS;
	}
	return lo;
}

unsigned int remap_super_places(u64 spare_sectors, u64 sector[REMAP_SUPER_PLACES])
{
	unsigned int n = 0, i, j;
	struct remap_band b;
	u32 bs;

	sector[n++] = 0;
	for (bs = REMAP_MIN_BLOCK; bs <= REMAP_MAX_BLOCK; bs *= 2) {
		if (spare_sectors >> 60 || !band_compute(&b, 0, spare_sectors, bs >> 9, 0))
			continue;
		for (i = 1; i < REMAP_ZONES; i++) {
			u64 start = b.zone_start[i];

			for (j = 0; j < n && sector[j] != start; j++)
				;
			if (j == n)
				sector[n++] = start;
		}
	}
	return n;
}

/* ---- superblock ---- */

/* crc32c of a block whose own checksum, a __le32 at byte @at, counts as zero */
static u32 block_crc(u32 seed, const u8 *block, size_t at)
{
	static const u8 zero[4];
	u32 crc = remap_crc32c(seed, block, at);

	crc = remap_crc32c(crc, zero, sizeof(zero));
	return remap_crc32c(crc, block + at + 4, REMAP_MD_BLOCK - at - 4);
}

static void put_str(u8 *to, const char *from, size_t size)
{
	size_t n = 0;

	while (n < size - 1 && from[n])
		n++;
	memset(to, 0, size);
	memcpy(to, from, n);
}

/* Of a string from disk, what is behind its end is nothing. */
static void get_str(char *to, const u8 *from, size_t size)
{
	put_str((u8 *)to, (const char *)from, size);
}

void remap_super_encode(void *block, const struct remap_super *s, const struct remap_layout *l)
{
	struct remap_disk_super *d = block;
	unsigned int i;

	memset(d, 0, sizeof(*d));
	memcpy(d->magic, REMAP_SUPER_MAGIC, REMAP_SUPER_MAGIC_LEN);
	d->version = cpu_to_le32(REMAP_VERSION);
	d->generation = cpu_to_le64(s->generation);
	memcpy(d->uuid, s->uuid, sizeof(d->uuid));
	put_str(d->label, s->label, sizeof(d->label));
	d->block_size = cpu_to_le32(s->block_size);
	d->sector_size = cpu_to_le32(s->sector_size);
	d->data_sectors = cpu_to_le64(s->data_sectors);
	d->spare_sectors = cpu_to_le64(s->spare_sectors);
	d->zone_sectors = cpu_to_le64(l->band[0].zone_sectors);
	for (i = 0; i < REMAP_ZONES; i++)
		d->zone_start[i] = cpu_to_le64(l->band[0].zone_start[i]);
	d->grown = cpu_to_le32(s->grown);
	for (i = 0; i < REMAP_MAX_GROWN; i++)
		d->grown_from[i] = cpu_to_le64(s->grown_from[i]);
	d->slots = cpu_to_le32(l->slots);
	d->tables = cpu_to_le32(l->tables);
	d->tables_used = cpu_to_le32(s->tables_used);
	d->compat = cpu_to_le64(s->compat);
	d->ro_compat = cpu_to_le64(s->ro_compat);
	d->incompat = cpu_to_le64(s->incompat);
	d->created = cpu_to_le64(s->created);
	put_str(d->data_wwn, s->data_wwn, sizeof(d->data_wwn));
	put_str(d->data_serial, s->data_serial, sizeof(d->data_serial));
	put_str(d->data_partuuid, s->data_partuuid, sizeof(d->data_partuuid));
	put_str(d->data_fsuuid, s->data_fsuuid, sizeof(d->data_fsuuid));
	d->crc = cpu_to_le32(block_crc(~0U, block, offsetof(struct remap_disk_super, crc)));
}

/*
 * Compute the layout again, band by band (all at once is more than a kernel's stack should hold),
 * and compare. A place for it is that of its generation in a zone of the first band.
 */
static enum remap_check layout_ok(const struct remap_disk_super *d, const struct remap_super *s,
				  u64 sector)
{
	bool placed = sector == REMAP_ANYWHERE;
	u32 slots = 0, tables = 0;
	unsigned int n, i;

	for (n = 0; n <= s->grown; n++) {
		struct remap_band b;
		u32 more = band_of(&b, s, n, tables);

		if (!more)
			return REMAP_BAD_FIELD;
		slots += more;
		tables += b.tables;
		if (n)
			continue;
		if (le64_to_cpu(d->zone_sectors) != b.zone_sectors)
			return REMAP_BAD_FIELD;
		for (i = 0; i < REMAP_ZONES; i++) {
			if (le64_to_cpu(d->zone_start[i]) != b.zone_start[i])
				return REMAP_BAD_FIELD;
			placed |= sector == b.zone_start[i] + (s->generation & 1) * MD_SECTORS;
		}
	}
	if (le32_to_cpu(d->slots) != slots || le32_to_cpu(d->tables) != tables ||
	    s->tables_used > tables)
		return REMAP_BAD_FIELD;
	return placed ? REMAP_VALID : REMAP_MISPLACED;
}

static bool super_fields_ok(const struct remap_super *s)
{
	if (!s->generation || s->generation >= REMAP_MAX_GENERATION ||
	    !block_size_ok(s->block_size))
		return false;
	if (!is_power_of_2(s->sector_size) || s->sector_size < 512 ||
	    s->sector_size > s->block_size)
		return false;
	if (!s->data_sectors || (s->data_sectors & ((s->sector_size >> 9) - 1)) ||
	    s->data_sectors >= REMAP_MAX_DATA_BLOCKS)
		return false;
	return s->grown <= REMAP_MAX_GROWN && !s->grown == !(s->incompat & REMAP_INCOMPAT_GROWN);
}

enum remap_check remap_super_decode(const void *block, u64 sector, struct remap_super *s)
{
	const struct remap_disk_super *d = block;
	unsigned int i;

	if (memcmp(d->magic, REMAP_SUPER_MAGIC, REMAP_SUPER_MAGIC_LEN))
		return REMAP_BLANK;
	if (le32_to_cpu(d->crc) != block_crc(~0U, block, offsetof(struct remap_disk_super, crc)))
		return REMAP_BAD_CRC;
	if (le32_to_cpu(d->version) != REMAP_VERSION)
		return REMAP_BAD_VERSION;

	memset(s, 0, sizeof(*s));
	s->generation = le64_to_cpu(d->generation);
	memcpy(s->uuid, d->uuid, sizeof(s->uuid));
	get_str(s->label, d->label, sizeof(s->label));
	s->block_size = le32_to_cpu(d->block_size);
	s->sector_size = le32_to_cpu(d->sector_size);
	s->data_sectors = le64_to_cpu(d->data_sectors);
	s->spare_sectors = le64_to_cpu(d->spare_sectors);
	s->tables_used = le32_to_cpu(d->tables_used);
	s->compat = le64_to_cpu(d->compat);
	s->ro_compat = le64_to_cpu(d->ro_compat);
	s->incompat = le64_to_cpu(d->incompat);
	s->created = le64_to_cpu(d->created);
	get_str(s->data_wwn, d->data_wwn, sizeof(s->data_wwn));
	get_str(s->data_serial, d->data_serial, sizeof(s->data_serial));
	get_str(s->data_partuuid, d->data_partuuid, sizeof(s->data_partuuid));
	get_str(s->data_fsuuid, d->data_fsuuid, sizeof(s->data_fsuuid));
	s->grown = le32_to_cpu(d->grown);
	for (i = 0; i < REMAP_MAX_GROWN && i < s->grown; i++)
		s->grown_from[i] = le64_to_cpu(d->grown_from[i]);

	if (s->incompat & ~REMAP_INCOMPAT_KNOWN)
		return REMAP_BAD_FEATURE;
	if (!super_fields_ok(s))
		return REMAP_BAD_FIELD;
	return layout_ok(d, s, sector);
}

int remap_super_choose(const struct remap_super *s, unsigned int n, const u8 uuid[16])
{
	unsigned int i, j, votes, most = 0;
	u64 newest = 0;
	int best = -ENODATA;

	for (i = 0; i < n; i++)
		if (!memcmp(s[i].uuid, uuid, sizeof(s[i].uuid)) && s[i].generation > newest)
			newest = s[i].generation;
	for (i = 0; i < n; i++) {
		if (s[i].generation != newest || memcmp(s[i].uuid, uuid, sizeof(s[i].uuid)))
			continue;
		votes = 0;	/* see remap_table_choose() */
		for (j = 0; j < n; j++)
			votes += !memcmp(&s[i], &s[j], sizeof(s[i]));
		if (votes > most) {
			most = votes;
			best = (int)i;
		}
	}
	return best;
}

/* ---- the lives of a device ---- */

static unsigned int zone_count(unsigned int zones)
{
	return (unsigned int)hweight64((u64)zones);
}

bool remap_life_known(const struct remap_life *life, unsigned int n, const u8 uuid[16])
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (!memcmp(life[i].super.uuid, uuid, sizeof(life[i].super.uuid)))
			return true;
	return false;
}

void remap_life_look(struct remap_life *life, const struct remap_layout *l,
		     const void *const block[2 * REMAP_ZONES],
		     struct remap_super s[2 * REMAP_ZONES])
{
	unsigned int i, n = 0;
	int best;

	life->zones = life->unseen = life->taken = 0;
	life->version = false;
	life->unknown = life->incompat = 0;
	for (i = 0; i < 2 * REMAP_ZONES; i++) {
		unsigned int z = i / 2;
		enum remap_check c;
		bool same;

		if (!block[i]) {
			life->unseen |= 1U << z;
			continue;
		}
		c = remap_super_decode(block[i], remap_super_sector(l, z, i & 1), &s[n]);
		if (c == REMAP_BAD_VERSION)
			life->version = true;
		if (c != REMAP_VALID && c != REMAP_BAD_FEATURE)
			continue;
		same = !memcmp(s[n].uuid, life->super.uuid, sizeof(s[n].uuid));
		if (c == REMAP_BAD_FEATURE && (same || !z)) {
			/* another one in zone 0 is of a later life: no older one is left there */
			u64 generation = same ? s[n].generation : ~0ULL;

			if (generation > life->unknown) {
				life->unknown = generation;
				life->incompat = s[n].incompat;
			}
			life->unseen |= 1U << z;
		} else if (c == REMAP_VALID && !same) {
			life->taken |= 1U << z;
		} else if (c == REMAP_VALID && remap_super_same_spare(&s[n], &life->super)) {
			life->zones |= 1U << z;
			n++;
		}
	}
	life->unseen &= ~life->zones;
	best = remap_super_choose(s, n, life->super.uuid);
	if (best >= 0 && s[best].generation >= life->super.generation)
		life->super = s[best];
}

/* Does @a come before @b: is it in more zones, or in as many, and created later? */
static int life_compare(const struct remap_life *a, const struct remap_life *b)
{
	unsigned int in_a = zone_count(a->zones), in_b = zone_count(b->zones);

	if (in_a != in_b)
		return in_a > in_b ? 1 : -1;
	if (a->super.created != b->super.created)
		return a->super.created > b->super.created ? 1 : -1;
	return 0;
}

int remap_life_choose(const struct remap_life *life, unsigned int n)
{
	int best = -ENODATA, first = -ENODATA;
	unsigned int i, own, in_zone_0 = 0;
	bool tie = false, later = true;

	for (i = 0; i < n; i++) {
		int c = best < 0 ? 1 : life_compare(&life[i], &life[best]);

		if (c >= 0)
			tie = !c;
		if (c > 0)
			best = (int)i;
		if (life[i].zones & 1) {
			in_zone_0++;
			first = (int)i;
		}
	}
	for (i = 0; i < n && in_zone_0 == 1; i++)
		later &= life[i].super.created <= life[first].super.created;
	if (in_zone_0 != 1 || life[first].taken)
		return tie ? -EUCLEAN : best;
	own = zone_count(life[first].zones);
	if (own >= zone_count(life[best].zones) && (later || own >= REMAP_QUORUM))
		return first;
	if (later && zone_count(life[first].zones | life[first].unseen) >= REMAP_QUORUM)
		return first;
	return first == best && !tie ? best : -EUCLEAN;
}

/* ---- table blocks ---- */

void remap_table_init(void *block, u32 index)
{
	struct remap_disk_table *t = block;

	memset(t, 0, sizeof(*t));
	t->h.magic = cpu_to_le32(REMAP_TABLE_MAGIC);
	t->h.index = cpu_to_le32(index);
}

static u32 table_crc(const void *block, const u8 uuid[16])
{
	return block_crc(remap_crc32c(~0U, uuid, 16), block,
			 offsetof(struct remap_disk_table_header, crc));
}

void remap_table_seal(void *block, const u8 uuid[16], u64 generation)
{
	struct remap_disk_table *t = block;

	t->h.generation = cpu_to_le64(generation);
	t->h.crc = cpu_to_le32(table_crc(block, uuid));
}

enum remap_check remap_table_check(const void *block, const struct remap_super *s,
				   const struct remap_layout *l, u32 index, u64 *generation)
{
	const struct remap_disk_table *t = block;
	u64 blocks = remap_data_blocks(s);
	struct remap_entry e;
	unsigned int i, slots;

	if (le32_to_cpu(t->h.magic) != REMAP_TABLE_MAGIC)
		return REMAP_BLANK;
	if (le32_to_cpu(t->h.crc) != table_crc(block, s->uuid))
		return REMAP_BAD_CRC;	/* or of another spare: the uuid is part of the sum */
	if (le32_to_cpu(t->h.index) != index)
		return REMAP_MISPLACED;
	if (!t->h.generation || le64_to_cpu(t->h.generation) >= REMAP_MAX_GENERATION)
		return REMAP_BAD_FIELD;
	slots = index < l->tables ? remap_table_slots(l, index) : 0;
	for (i = 0; i < REMAP_ENTRIES; i++) {
		remap_entry_get(block, i, &e);
		if (e.state > REMAP_SLOT_BAD)
			return REMAP_BAD_FIELD;
		if (e.state != REMAP_SLOT_FREE && i >= slots)
			return REMAP_BAD_FIELD;
		if (e.state != REMAP_SLOT_MAPPED)
			continue;
		if (e.block >= blocks ||
		    (e.lost & ~remap_lost_mask(s, remap_block_sectors(s, e.block))))
			return REMAP_BAD_FIELD;
	}
	*generation = le64_to_cpu(t->h.generation);
	return REMAP_VALID;
}

int remap_table_choose(const void *const copy[2 * REMAP_ZONES], const struct remap_super *s,
		       const struct remap_layout *l, u32 index)
{
	bool valid[2 * REMAP_ZONES];
	u64 g, newest = 0;
	unsigned int i, j, votes, most = 0;
	int best = -ENODATA;

	for (i = 0; i < 2 * REMAP_ZONES; i++) {
		valid[i] = copy[i] && remap_table_check(copy[i], s, l, index, &g) == REMAP_VALID &&
			   (g & 1) == (i & 1);
		if (valid[i] && g > newest)
			newest = g;
	}
	for (i = 0; i < 2 * REMAP_ZONES; i++) {
		if (!valid[i] || remap_table_generation(copy[i]) != newest)
			continue;
		votes = 0;
		for (j = 0; j < 2 * REMAP_ZONES; j++)
			votes += valid[j] && !memcmp(copy[i], copy[j], REMAP_MD_BLOCK);
		if (votes > most) {
			most = votes;
			best = (int)i;
		}
	}
	return best;
}

void remap_entry_get(const void *table, unsigned int i, struct remap_entry *e)
{
	const struct remap_disk_entry *d = &((const struct remap_disk_table *)table)->entry[i];

	e->block = le32_to_cpu(d->block_lo) | (u64)le16_to_cpu(d->block_hi) << 32;
	e->state = d->state;
	e->lost = le32_to_cpu(d->lost);
	e->seq = le32_to_cpu(d->seq);
}

void remap_entry_set(void *table, unsigned int i, const struct remap_entry *e)
{
	struct remap_disk_entry *d = &((struct remap_disk_table *)table)->entry[i];

	d->block_lo = cpu_to_le32((u32)e->block);
	d->block_hi = cpu_to_le16((u16)(e->block >> 32));
	d->state = e->state;
	d->reserved = 0;
	d->lost = cpu_to_le32(e->lost);
	d->seq = cpu_to_le32(e->seq);
}
