// SPDX-License-Identifier: GPL-2.0-only
/*
 * The metadata on a spare device, from user space; see spare.h.
 *
 * Reads go around the page cache (O_DIRECT), because an active target writes behind its back. A
 * read that fails is repeated in units of 4 KiB, so that one bad sector costs one metadata block
 * of one replica and not its neighbours.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "spare.h"
#include "text.h"

#define MD_SECTORS	(REMAP_MD_BLOCK >> 9)
#define PAIR		(2 * REMAP_MD_BLOCK)		/* both copies of one metadata block */
#define CHUNK_TABLES	64				/* read at once from each zone: 512 KiB */
#define SEARCH_BYTES	(1U << 20)
#define WIPE_BEHIND	1024				/* table blocks; 8 MiB of each zone */
#define RESTORE_STEP	(1ULL << 32)			/* generations; no spare lives that long */

/* ---- the store ---- */

int remap_store_open(struct remap_store *st, const char *path, bool write, struct remap_err *err)
{
	int flags = (write ? O_RDWR : O_RDONLY) | O_CLOEXEC;
	struct stat sb, opened;
	u64 bytes;

	memset(st, 0, sizeof(*st));
	st->fd = -1;
	st->writable = write;
	snprintf(st->name, sizeof(st->name), "%s", path);
	if (stat(path, &sb))
		return remap_fail_errno(err, -errno, "%s", path);
	if (!S_ISBLK(sb.st_mode) && !S_ISREG(sb.st_mode))
		return remap_fail(err, -ENOTBLK, "%s: not a block device", path);
	if (S_ISBLK(sb.st_mode) && write)
		flags |= O_EXCL;
	st->fd = open(path, flags | O_DIRECT);
	if (st->fd < 0 && errno == EINVAL && S_ISREG(sb.st_mode))
		st->fd = open(path, flags);	/* tmpfs of older kernels has no O_DIRECT */
	if (st->fd < 0 && errno == EBUSY)
		return remap_fail(err, -EBUSY,
				  "%s: in use (remapctl status names active spares)", path);
	if (st->fd < 0)
		return remap_fail_errno(err, -errno, "%s", path);
	if (fstat(st->fd, &opened) || (opened.st_mode & S_IFMT) != (sb.st_mode & S_IFMT) ||
	    opened.st_rdev != sb.st_rdev) {
		remap_store_close(st);
		return remap_fail(err, -ESTALE, "%s: has become another device just now (try "
				  "again)", path);
	}
	st->rdev = S_ISBLK(sb.st_mode) ? sb.st_rdev : 0;
	if (S_ISREG(sb.st_mode)) {
		bytes = (u64)opened.st_size;
	} else if (ioctl(st->fd, BLKGETSIZE64, &bytes)) {
		int r = errno == ENOTTY ? -ENOTBLK : -errno;

		remap_store_close(st);
		return remap_fail_errno(err, r, "%s", path);
	}
	st->sectors = bytes >> 9;
	return 0;
}

void remap_store_close(struct remap_store *st)
{
	if (st->fd >= 0)
		close(st->fd);
	st->fd = -1;
}

static void *buffer_alloc(size_t bytes)
{
	void *p;

	return posix_memalign(&p, REMAP_MD_BLOCK, bytes) ? NULL : memset(p, 0, bytes);
}

/* All of it or an error. */
static int transfer(const struct remap_store *st, bool write, u64 sector, char *buf, size_t bytes)
{
	off_t at = (off_t)(sector << 9);
	size_t done = 0;

	while (done < bytes) {
		ssize_t n = write ? pwrite(st->fd, buf + done, bytes - done, at + (off_t)done) :
				    pread(st->fd, buf + done, bytes - done, at + (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)	/* what is beyond the end of the device cannot be read */
			return n ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}

static int store_read(const struct remap_store *st, u64 sector, void *buf, size_t bytes)
{
	return transfer(st, false, sector, buf, bytes);
}

static int store_write(const struct remap_store *st, u64 sector, const void *buf, size_t bytes)
{
	if (sector + (bytes >> 9) > st->sectors)
		return -ENOSPC;	/* a regular file would grow instead */
	return transfer(st, true, sector, (char *)buf, bytes);
}

/* For a block device this also flushes the cache of the disk itself. */
static int store_flush(const struct remap_store *st, struct remap_err *err)
{
	if (fsync(st->fd))
		return remap_fail_errno(err, -errno, "%s: cannot flush", st->name);
	return 0;
}

/* ---- finding the superblock ---- */

struct candidates {
	struct remap_super *s;		/* valid ones */
	unsigned int n, room;
	enum remap_check worst;
	bool unreadable;
};

static int candidate_add(struct candidates *c, const void *block, u64 sector)
{
	enum remap_check found;

	if (c->n == c->room) {
		unsigned int room = c->room ? 2 * c->room : 16;
		struct remap_super *s;

		if (room > REMAP_MAX_FOUND)
			return -E2BIG;
		s = realloc(c->s, room * sizeof(*s));
		if (!s)
			return -ENOMEM;
		c->s = s;
		c->room = room;
	}
	found = remap_super_decode(block, sector, &c->s[c->n]);
	if (found == REMAP_VALID) {
		c->n++;
		return 0;
	}
	/* a whole one of another place is that of a partition, or within a block that was moved */
	if (found > c->worst && found != REMAP_MISPLACED)
		c->worst = found;
	return 0;
}

/* Look at both copies at one place. */
static int look_at(const struct remap_store *st, u64 sector, void *buf, struct candidates *c)
{
	for (unsigned int copy = 0; copy < 2; copy++) {
		u64 at = sector + copy * MD_SECTORS;
		int r;

		if (at + MD_SECTORS > st->sectors)
			continue;
		if (store_read(st, at, buf, REMAP_MD_BLOCK)) {
			c->unreadable = true;
			continue;
		}
		r = candidate_add(c, buf, at);
		if (r)
			return r;
	}
	return 0;
}

/* Where they are on a spare of this size. */
static int look_at_places(const struct remap_store *st, struct candidates *c)
{
	_cleanup_free_ void *buf = buffer_alloc(REMAP_MD_BLOCK);
	u64 place[REMAP_SUPER_PLACES];
	unsigned int n = remap_super_places(st->sectors, place);
	int r = buf ? 0 : -ENOMEM;

	for (unsigned int i = 0; i < n && !r; i++)
		r = look_at(st, place[i], buf, c);
	return r;
}

static void tell(const struct remap_store *st, enum remap_stage stage, u64 done, u64 total)
{
	if (st->told)
		st->told(st->told_arg, stage, done, total);
}

static int search_all(const struct remap_store *st, struct candidates *c)
{
	_cleanup_free_ char *buf = buffer_alloc(SEARCH_BYTES);
	u64 sector, end = st->sectors & ~(u64)(MD_SECTORS - 1);

	if (!buf)
		return -ENOMEM;
	for (sector = 0; sector < end; sector += SEARCH_BYTES >> 9) {
		u64 left = (end - sector) << 9;
		size_t bytes = left < SEARCH_BYTES ? (size_t)left : SEARCH_BYTES;
		bool whole = !store_read(st, sector, buf, bytes);

		tell(st, REMAP_STAGE_SEARCH, sector, end);
		for (size_t at = 0; at < bytes; at += REMAP_ZONE_ALIGN) {
			for (size_t b = at; b < at + PAIR && b < bytes; b += REMAP_MD_BLOCK) {
				int r;

				if (!whole && store_read(st, sector + (b >> 9), buf + b,
							 REMAP_MD_BLOCK))
					continue;
				r = candidate_add(c, buf + b, sector + (b >> 9));
				if (r)
					return r;
			}
		}
	}
	return 0;
}

static int none_found(const struct remap_store *st, const struct candidates *c,
		      struct remap_err *err)
{
	switch (c->worst) {
	case REMAP_BAD_FEATURE:
		return remap_fail(err, -EOPNOTSUPP, "%s: uses features that this version does not "
				  "know (use a newer dm-remap)", st->name);
	case REMAP_BAD_VERSION:
		return remap_fail(err, -EOPNOTSUPP, "%s: has a format version that this version "
				  "does not know (use a newer dm-remap)", st->name);
	case REMAP_BLANK:
		if (c->unreadable)
			return remap_fail(err, -EIO, "%s: cannot be read where a spare has its "
					  "metadata (see the kernel log)", st->name);
		return remap_fail(err, -ENODATA, "%s: not a dm-remap spare (remapctl repair "
				  "--spare %s --search mends one whose device has changed its "
				  "size; remapctl import --table restores one; remapctl format "
				  "makes a new one)", st->name, st->name);
	default:
		return remap_fail(err, -ENODATA, "%s: has dm-remap superblocks, but none is valid: "
				  "%s (remapctl repair --spare %s --search looks in more places)",
				  st->name, remap_check_str(c->worst), st->name);
	}
}

static int look_failed(const struct remap_store *st, int r, struct remap_err *err)
{
	if (r != -E2BIG)
		return remap_fail_errno(err, r, "%s", st->name);
	return remap_fail(err, -EUCLEAN, "%s: has more than %u superblocks, so which counts is not "
			  "to be told (restore the size that the device had, or format it "
			  "anew)", st->name, REMAP_MAX_FOUND);
}

/*
 * The zones of a spare that has grown are elsewhere than its size suggests: look at those that its
 * superblock names for the newest.
 */
static int look_at_life(const struct remap_store *st, struct remap_life *life)
{
	_cleanup_free_ u8 *buf = buffer_alloc(REMAP_ZONES * PAIR);
	const void *block[2 * REMAP_ZONES];
	struct remap_super own[2 * REMAP_ZONES];
	struct remap_layout l;
	int r = remap_layout_of(&l, &life->super);

	if (r || !buf)
		return r ? r : -ENOMEM;
	for (unsigned int i = 0; i < 2 * REMAP_ZONES; i++) {
		u64 at = remap_super_sector(&l, i / 2, i & 1);
		u8 *to = buf + (size_t)i * REMAP_MD_BLOCK;

		block[i] = at + MD_SECTORS > st->sectors ||
			   store_read(st, at, to, REMAP_MD_BLOCK) ? NULL : to;
	}
	remap_life_look(life, &l, block, own);
	return 0;
}

/* Who calls frees *@lives. Return: how many, or an error */
static int find_lives(const struct remap_store *st, const struct candidates *c,
		      struct remap_life **lives)
{
	struct remap_life *l = calloc(c->n + 1, sizeof(*l));
	unsigned int n = 0;
	int r;

	*lives = l;
	if (!l)
		return -ENOMEM;
	for (unsigned int i = 0; i < c->n; i++) {
		if (remap_life_known(l, n, c->s[i].uuid))
			continue;
		l[n].super = c->s[remap_super_choose(c->s, c->n, c->s[i].uuid)];
		r = look_at_life(st, &l[n++]);
		if (r)
			return r;
	}
	return (int)n;
}

static int not_told(const struct remap_store *st, const struct remap_life *lives, unsigned int n,
		    struct remap_err *err)
{
	_cleanup_free_ char *list = NULL;
	size_t bytes;
	FILE *f = open_memstream(&list, &bytes);

	if (!f)
		return remap_fail_errno(err, -ENOMEM, "%s", st->name);
	for (unsigned int i = 0; i < n && i < 8; i++) {
		char uuid[REMAP_UUID_STR];

		remap_uuid_str(lives[i].super.uuid, uuid);
		fprintf(f, "%s%s of %llu sectors in zones", i ? "; " : "", uuid,
			(unsigned long long)lives[i].super.spare_sectors);
		for (unsigned int z = 0; z < REMAP_ZONES; z++)
			if (lives[i].zones >> z & 1)
				fprintf(f, " %u", z);
	}
	if (fclose(f))
		return remap_fail_errno(err, -ENOMEM, "%s", st->name);
	return remap_fail(err, -EUCLEAN, "%s: has superblocks of several formats, and which is the "
			  "latest is not to be told: %s (restore the size that the device had; or, "
			  "if that in zone 0 comes from elsewhere, zero the first 8 KiB; or format "
			  "it anew)", st->name, list);
}

static int pick(const struct remap_store *st, const struct candidates *c, bool search,
		struct remap_spare *sp, struct remap_err *err)
{
	_cleanup_free_ struct remap_life *lives = NULL;
	int n = find_lives(st, c, &lives), best, r;
	const struct remap_life *life;

	if (n < 0)
		return remap_fail_errno(err, n, "%s", st->name);
	best = remap_life_choose(lives, (unsigned int)n);
	if (best == -ENODATA)
		return none_found(st, c, err);
	if (best < 0)
		return not_told(st, lives, (unsigned int)n, err);
	life = &lives[best];
	sp->super = life->super;
	sp->several_lives = search && n > 1;
	r = remap_layout_of(&sp->layout, &sp->super);
	if (r)
		return remap_fail(err, -EUCLEAN, "%s: impossible layout", st->name);

	/*
	 * Of one of another version no more is known, so that it may be the newest: in these zones
	 * format has left nothing of an earlier life.
	 */
	if (life->version)
		return remap_fail(err, -EOPNOTSUPP, "%s: has a format version that this version "
				  "does not know (use a newer dm-remap)", st->name);
	/* An older generation from before the feature is no way around it. */
	if (life->unknown > sp->super.generation)
		return remap_fail(err, -EOPNOTSUPP, "%s: uses features that this version does not "
				  "know (incompat 0x%llx; use a newer dm-remap)", st->name,
				  (unsigned long long)life->incompat);
	return 0;
}

int remap_spare_find(struct remap_store *st, bool search, struct remap_spare *sp,
		     struct remap_err *err)
{
	struct candidates c = { .worst = REMAP_BLANK };
	int r = search ? search_all(st, &c) : look_at_places(st, &c);

	memset(sp, 0, sizeof(*sp));
	r = r ? look_failed(st, r, err) : pick(st, &c, search, sp, err);
	free(c.s);
	return r;
}

bool remap_spare_present(struct remap_store *st)
{
	struct candidates c = { .worst = REMAP_BLANK };
	bool present;

	(void)!look_at_places(st, &c);
	present = c.n || c.worst != REMAP_BLANK;
	free(c.s);
	return present;
}

/* ---- all copies of all metadata ---- */

/* Both copies of a run of metadata blocks, of all zones. */
struct chunk {
	u8 *data[REMAP_ZONES];
	bool bad[REMAP_ZONES][2 * CHUNK_TABLES];	/* 4 KiB blocks that could not be read */
};

static void chunk_free(struct chunk *c)
{
	for (int z = 0; z < REMAP_ZONES; z++)
		free(c->data[z]);
	free(c);
}

/* Room for so many table blocks, or for the superblock. */
static struct chunk *chunk_alloc(u32 tables)
{
	struct chunk *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	for (int z = 0; z < REMAP_ZONES; z++) {
		c->data[z] = buffer_alloc((size_t)(tables ? tables : 1) * PAIR);
		if (!c->data[z]) {
			chunk_free(c);
			return NULL;
		}
	}
	return c;
}

static void chunk_read(const struct remap_store *st, struct chunk *c, unsigned int zone, u64 sector,
		       unsigned int blocks)
{
	bool whole = !store_read(st, sector, c->data[zone], (size_t)blocks * REMAP_MD_BLOCK);

	for (unsigned int b = 0; b < blocks; b++)
		c->bad[zone][b] = !whole && store_read(st, sector + (u64)b * MD_SECTORS,
						       c->data[zone] + (size_t)b * REMAP_MD_BLOCK,
						       REMAP_MD_BLOCK);
}

/* The generation of a valid copy that is where it belongs; 0 for anything else. */
static u64 generation_of(const struct remap_spare *sp, const u8 *block, u32 index,
			 unsigned int zone, unsigned int copy)
{
	u64 g;

	if (index == REMAP_SUPER_INDEX) {
		struct remap_super s;
		u64 sector = remap_super_sector(&sp->layout, zone, copy);

		if (remap_super_decode(block, sector, &s) ||
		    memcmp(s.uuid, sp->super.uuid, sizeof(s.uuid)))
			return 0;
		return s.generation;
	}
	if (remap_table_check(block, &sp->super, &sp->layout, index, &g) || (g & 1) != copy)
		return 0;
	return g;
}

/* Of the copies of the newest generation one that most are like, as remap_super_choose() has it. */
static int most_copies(const struct remap_found *f)
{
	unsigned int i, j, votes, most = 0;
	int best = -ENODATA;

	for (i = 0; f->generation && i < 2 * REMAP_ZONES; i++) {
		if (f->copy[i] != f->generation)
			continue;
		votes = 0;
		for (j = 0; j < 2 * REMAP_ZONES; j++)
			votes += f->copy[j] == f->generation &&
				 !memcmp(f->bytes[i], f->bytes[j], REMAP_MD_BLOCK);
		if (votes > most) {
			most = votes;
			best = (int)i;
		}
	}
	return best;
}

/* Look at block @at of the chunk in all zones. The states follow kernel/meta.c. */
static void judge(const struct remap_spare *sp, const struct chunk *c, unsigned int at,
		  struct remap_found *f)
{
	unsigned int z, copy;
	int best;

	f->newest = NULL;
	f->generation = 0;
	for (z = 0; z < REMAP_ZONES; z++) {
		for (copy = 0; copy < 2; copy++) {
			unsigned int b = 2 * at + copy;
			const u8 *block = c->data[z] + (size_t)b * REMAP_MD_BLOCK;
			u64 g = c->bad[z][b] ? 0 : generation_of(sp, block, f->index, z, copy);

			f->bytes[2 * z + copy] = c->bad[z][b] ? NULL : block;
			f->copy[2 * z + copy] = g;
			if (g > f->generation) {
				f->generation = g;
				f->newest = block;
			}
		}
	}
	/* copies of one generation may differ: which of its tables counts is not for us to say */
	best = f->index == REMAP_SUPER_INDEX ? most_copies(f) :
	       remap_table_choose(f->bytes, &sp->super, &sp->layout, f->index);
	if (best >= 0)
		f->newest = f->bytes[best];

	for (z = 0; z < REMAP_ZONES; z++) {
		unsigned int b = 2 * at + (f->generation & 1);
		const u8 *block = c->data[z] + (size_t)b * REMAP_MD_BLOCK;

		/* nobody needs the other copy, but it may hold an attempt: see bury() there */
		if (c->bad[z][2 * at] || c->bad[z][2 * at + 1])
			f->state[z] = REMAP_REPLICA_UNREADABLE;
		else if (!f->newest)
			f->state[z] = REMAP_REPLICA_CORRUPT;
		else if (!memcmp(block, f->newest, REMAP_MD_BLOCK))
			f->state[z] = REMAP_REPLICA_OK;
		else if ((f->copy[2 * z] && f->copy[2 * z] < f->generation) ||
			 (f->copy[2 * z + 1] && f->copy[2 * z + 1] < f->generation))
			f->state[z] = REMAP_REPLICA_STALE;
		else
			f->state[z] = REMAP_REPLICA_CORRUPT;
	}
}

/* How many table blocks from @first on, and before @end, are handled at once? */
static u32 table_run(const struct remap_spare *sp, u32 first, u32 end)
{
	u32 n = min(end - first, remap_table_run(&sp->layout, first));

	return min(n, (u32)CHUNK_TABLES);
}

int remap_spare_walk(struct remap_store *st, const struct remap_spare *sp, remap_visit_fn *visit,
		     void *arg, struct remap_err *err)
{
	u32 tables = sp->super.tables_used < CHUNK_TABLES ? sp->super.tables_used : CHUNK_TABLES;
	struct chunk *c = chunk_alloc(tables);
	struct remap_found f = { .index = REMAP_SUPER_INDEX };
	unsigned int z;
	int r;

	if (!c)
		return remap_fail_errno(err, -ENOMEM, "%s", st->name);
	for (z = 0; z < REMAP_ZONES; z++)
		chunk_read(st, c, z, remap_super_sector(&sp->layout, z, 0), 2);
	judge(sp, c, 0, &f);
	r = visit(arg, &f, err);

	for (u32 first = 0, n; first < sp->super.tables_used && !r; first += n) {
		n = table_run(sp, first, sp->super.tables_used);
		tell(st, REMAP_STAGE_READ, first, sp->super.tables_used);
		for (z = 0; z < REMAP_ZONES; z++)
			chunk_read(st, c, z, remap_table_sector(&sp->layout, z, first, 0), 2 * n);
		for (u32 i = 0; i < n && !r; i++) {
			f.index = first + i;
			judge(sp, c, i, &f);
			r = visit(arg, &f, err);
		}
	}
	chunk_free(c);
	return r;
}

#define WALK_DONE	1

/* Is this 4 KiB block of a zone a copy of something, wherever it stands in the generations? */
static bool copy_valid(const struct remap_store *st, const struct remap_spare *sp,
		       const struct remap_band *band, unsigned int zone, u64 block)
{
	_cleanup_free_ u8 *buf = buffer_alloc(REMAP_MD_BLOCK);
	u32 index = block < 2 ? REMAP_SUPER_INDEX : band->first_table + (u32)(block / 2 - 1);

	if (!buf)
		return true;
	if (index == REMAP_SUPER_INDEX ? band != sp->layout.band : index >= sp->super.tables_used)
		return false;
	return !store_read(st, band->zone_start[zone] + block * MD_SECTORS, buf, REMAP_MD_BLOCK) &&
	       generation_of(sp, buf, index, zone, block & 1);
}

/* The band that has this sector, or is the next before it. */
static const struct remap_band *band_at(const struct remap_layout *l, u64 sector)
{
	const struct remap_band *b = l->band;

	while (b + 1 < l->band + l->bands && sector >= b[1].zone_start[0])
		b++;
	return b;
}

/* The slot that has this sector; REMAP_NO_SLOT in a zone and where the slots end. */
static u32 slot_at(const struct remap_layout *l, u64 sector)
{
	const struct remap_band *band = band_at(l, sector);
	u32 before = band->first_table * REMAP_ENTRIES;

	for (unsigned int gap = 0; gap < REMAP_ZONES - 1; before = band->gap_slots[gap++]) {
		u64 start = band->zone_start[gap] + band->zone_sectors;
		u64 slots = band->gap_slots[gap] - before;

		if (sector >= start && sector < start + slots * l->block_sectors)
			return before + (u32)((sector - start) / l->block_sectors);
	}
	return REMAP_NO_SLOT;
}

/* Of what is planned: is this slot in use? */
static bool slot_planned(const struct remap_table *t, u32 slot)
{
	size_t from = 0, to = t->n;

	while (from < to) {
		size_t mid = from + (to - from) / 2;

		if (t->slot[mid].slot == slot)
			return t->slot[mid].entry.state != REMAP_SLOT_FREE;
		if (t->slot[mid].slot < slot)
			from = mid + 1;
		else
			to = mid;
	}
	return false;
}

struct asking {
	u32 slot;
	bool used;
};

static int ask_slot(void *arg, const struct remap_found *f, struct remap_err *err)
{
	struct asking *a = arg;
	struct remap_entry e;

	(void)err;
	if (f->index != a->slot / REMAP_ENTRIES)
		return 0;
	if (f->newest) {
		remap_entry_get(f->newest, a->slot % REMAP_ENTRIES, &e);
		a->used = e.state != REMAP_SLOT_FREE;
	}
	return WALK_DONE;
}

bool remap_spare_owns(struct remap_store *st, const struct remap_spare *sp, u64 byte)
{
	const struct remap_layout *l = &sp->layout;
	struct asking a = { .used = true };
	u64 sector = byte >> 9;
	const struct remap_band *b = band_at(l, sector);

	for (unsigned int z = 0; z < REMAP_ZONES; z++) {
		u64 start = b->zone_start[z];

		if (sector >= start && sector < start + b->zone_sectors)
			return copy_valid(st, sp, b, z, (sector - start) / MD_SECTORS);
	}
	a.slot = slot_at(l, sector);
	if (a.slot == REMAP_NO_SLOT || a.slot / REMAP_ENTRIES >= sp->super.tables_used)
		return false;
	if (sp->planned)
		return slot_planned(sp->planned, a.slot);
	remap_spare_walk(st, sp, ask_slot, &a, NULL);
	return a.used;
}

/* ---- verify and repair ---- */

static int note(void *arg, const struct remap_found *f, struct remap_err *err)
{
	struct remap_verdict *v = arg;

	(void)err;
	for (int z = 0; z < REMAP_ZONES; z++) {
		if (f->state[z] == REMAP_REPLICA_OK)
			continue;
		v->ok = false;
		v->bad_blocks[z]++;
		if (f->state[z] > v->state[z])
			v->state[z] = f->state[z];
	}
	if (!f->newest && !v->lost_tables++)
		v->first_lost = f->index;
	return 0;
}

int remap_spare_verify(struct remap_store *st, const struct remap_spare *sp,
		       struct remap_verdict *v, struct remap_err *err)
{
	memset(v, 0, sizeof(*v));
	v->ok = true;
	return remap_spare_walk(st, sp, note, v, err);
}

struct listing {
	struct remap_verdict *v;
	struct remap_blocks *b;
};

static int list_block(void *arg, const struct remap_found *f, struct remap_err *err)
{
	const struct listing *l = arg;
	struct remap_blocks *b = l->b;

	if (b->n == b->room) {
		size_t room = b->room ? 2 * b->room : 16;
		struct remap_found *more = realloc(b->found, room * sizeof(*more));

		if (!more)
			return remap_fail_errno(err, -ENOMEM, "table");
		b->found = more;
		b->room = room;
	}
	b->found[b->n++] = *f;
	return note(l->v, f, err);
}

int remap_spare_blocks(struct remap_store *st, const struct remap_spare *sp,
		       struct remap_verdict *v, struct remap_blocks *b, struct remap_err *err)
{
	struct listing l = { .v = v, .b = b };

	memset(v, 0, sizeof(*v));
	memset(b, 0, sizeof(*b));
	v->ok = true;
	return remap_spare_walk(st, sp, list_block, &l, err);
}

void remap_blocks_free(struct remap_blocks *b)
{
	free(b->found);
	memset(b, 0, sizeof(*b));
}

u64 remap_found_sector(const struct remap_spare *sp, const struct remap_found *f,
		       unsigned int zone, u64 g)
{
	if (f->index == REMAP_SUPER_INDEX)
		return remap_super_sector(&sp->layout, zone, g);
	return remap_table_sector(&sp->layout, zone, f->index, g);
}

static int writable(const struct remap_store *st, const struct remap_spare *sp,
		    struct remap_err *err)
{
	if (sp->super.ro_compat & ~REMAP_RO_COMPAT_KNOWN)
		return remap_fail(err, -EROFS, "%s: uses features that forbid this version to "
				  "write (use a newer dm-remap)", st->name);
	if (sp->super.spare_sectors > st->sectors)
		return remap_fail(err, -ENOSPC, "%s: is smaller than it was, %llu sectors instead "
				  "of %llu (restore its size)", st->name,
				  (unsigned long long)st->sectors,
				  (unsigned long long)sp->super.spare_sectors);
	return 0;
}

struct mending {
	struct remap_store *st;
	const struct remap_spare *sp;
	u8 *image;			/* room for two: the second is zeroes */
};

/*
 * The place of the newest generation is written where it does not already hold it, and the other
 * one where it cannot be read, lest an attempt that is hidden there come back: what can be read and
 * is valid is never touched, whatever happens on the way.
 */
static int mend(void *arg, const struct remap_found *f, struct remap_err *err)
{
	const struct mending *m = arg;

	(void)err;
	if (!f->newest)
		return 0;
	memcpy(m->image, f->newest, REMAP_MD_BLOCK);
	for (unsigned int z = 0; z < REMAP_ZONES; z++) {
		const void *block = f->bytes[2 * z + (f->generation & 1)];
		u64 sector = remap_found_sector(m->sp, f, z, f->generation);

		/* a write that fails shows in the verdict afterwards; the others go on */
		if (!block || memcmp(block, m->image, REMAP_MD_BLOCK))
			(void)!store_write(m->st, sector, m->image, REMAP_MD_BLOCK);
		if (f->bytes[2 * z + !(f->generation & 1)])
			continue;
		sector = remap_found_sector(m->sp, f, z, f->generation + 1);
		(void)!store_write(m->st, sector, m->image + REMAP_MD_BLOCK, REMAP_MD_BLOCK);
	}
	return 0;
}

int remap_spare_repair(struct remap_store *st, const struct remap_spare *sp,
		       struct remap_verdict *v, struct remap_err *err)
{
	_cleanup_free_ u8 *image = buffer_alloc(PAIR);
	struct mending m = { .st = st, .sp = sp, .image = image };
	int r = writable(st, sp, err);

	if (r)
		return r;
	if (!image)
		return remap_fail_errno(err, -ENOMEM, "%s", st->name);
	r = remap_spare_walk(st, sp, mend, &m, err);
	if (!r)
		r = store_flush(st, err);
	if (!r)
		r = remap_spare_verify(st, sp, v, err);
	return r;
}

/* ---- format, update ---- */

/* Does any of a metadata block's sectors belong to a slot that is to keep what it holds? */
static bool over_used_slot(const struct remap_spare *sp, u64 sector)
{
	for (u64 at = sector; sp->planned && at < sector + MD_SECTORS; at++) {
		u32 slot = slot_at(&sp->layout, at);

		if (slot != REMAP_NO_SLOT && slot_planned(sp->planned, slot))
			return true;
	}
	return false;
}

/* Is there, or can it not be told, a superblock of ours? */
static bool has_super(struct remap_store *st, u64 sector, u8 *block)
{
	struct remap_super s;

	return store_read(st, sector, block, REMAP_MD_BLOCK) ||
	       remap_super_decode(block, REMAP_ANYWHERE, &s) != REMAP_BLANK;
}

/* The zones of all that can be found, as far as they are there. Return: how many, or an error */
static int places_of_lives(const struct remap_store *st, u64 *place)
{
	_cleanup_free_ struct remap_life *lives = NULL;
	struct candidates c = { .worst = REMAP_BLANK };
	int r = look_at_places(st, &c), n = 0;

	if (!r)
		r = find_lives(st, &c, &lives);
	free(c.s);
	for (int i = 0; i < r; i++) {
		struct remap_layout l;

		if (remap_layout_of(&l, &lives[i].super))
			continue;
		for (unsigned int z = 0; z < REMAP_ZONES; z++)
			if (remap_super_sector(&l, z, 1) + MD_SECTORS <= st->sectors)
				place[n++] = remap_super_sector(&l, z, 0);
	}
	return r < 0 ? r : n;
}

/*
 * Zeroes over both copies of every superblock that could be found on a device of this size. Some
 * of these places are in slots of an older life: they come second, when that life is at its end.
 */
static int wipe_supers(struct remap_store *st, const struct remap_spare *sp, struct remap_err *err)
{
	_cleanup_free_ u8 *zero = buffer_alloc(REMAP_MD_BLOCK);
	_cleanup_free_ u8 *block = buffer_alloc(REMAP_MD_BLOCK);
	u64 place[REMAP_SUPER_PLACES * (1 + 2 * REMAP_ZONES) + REMAP_ZONES];
	unsigned int n = remap_super_places(st->sectors, place);
	int r = places_of_lives(st, place + n);

	if (!zero || !block)
		r = -ENOMEM;
	if (r < 0)
		return remap_fail_errno(err, r, "%s", st->name);
	n += (unsigned int)r;
	r = 0;
	/* on a device of the recorded size these are among the above already */
	for (unsigned int z = 0; z < REMAP_ZONES; z++)
		place[n++] = remap_super_sector(&sp->layout, z, 0);
	for (unsigned int round = 0; round < 2 && !r; round++) {
		for (unsigned int i = 0; i < 2 * n; i++) {
			u64 sector = place[i / 2] + i % 2 * MD_SECTORS;

			if (over_used_slot(sp, sector) || (!round && !has_super(st, sector, block)))
				continue;
			r = store_write(st, sector, zero, REMAP_MD_BLOCK);
			if (r)
				return remap_fail_errno(err, r, "%s: cannot write at sector %llu",
							st->name, (unsigned long long)sector);
		}
		r = store_flush(st, err);
	}
	return r;
}

/*
 * Table block @index as @t has it, entries from the @at'th on. Return: the first entry that is not
 * in it. Those of the list that are out of order stay behind.
 */
static size_t build_table(void *block, const struct remap_spare *sp, const struct remap_table *t,
			  u32 index, size_t at)
{
	u32 next = index * REMAP_ENTRIES;

	remap_table_init(block, index);
	for (; at < t->n && t->slot[at].slot >= next &&
	       t->slot[at].slot / REMAP_ENTRIES == index; at++) {
		remap_entry_set(block, t->slot[at].slot % REMAP_ENTRIES, &t->slot[at].entry);
		next = t->slot[at].slot + 1;
	}
	remap_table_seal(block, sp->super.uuid, t->generation);
	return at;
}

/* All table blocks in use. The other copy is zeroed, lest it hold something of an older life. */
static int write_tables(struct remap_store *st, const struct remap_spare *sp,
			const struct remap_table *t, struct remap_err *err)
{
	_cleanup_free_ u8 *buf = buffer_alloc(CHUNK_TABLES * PAIR);
	u32 used = sp->super.tables_used, n;
	size_t at = 0;
	int r = 0;

	if (!buf)
		return remap_fail_errno(err, -ENOMEM, "%s", st->name);
	for (u32 first = 0; first < used && !r; first += n) {
		n = table_run(sp, first, used);
		tell(st, REMAP_STAGE_WRITE, first, used);
		for (u32 i = 0; i < n; i++)
			at = build_table(buf + i * PAIR + (t->generation & 1) * REMAP_MD_BLOCK,
					 sp, t, first + i, at);
		for (unsigned int z = 0; z < REMAP_ZONES && !r; z++)
			r = store_write(st, remap_table_sector(&sp->layout, z, first, 0), buf,
					n * PAIR);
	}
	return r ? remap_fail_errno(err, r, "%s: cannot write the table", st->name) : 0;
}

/*
 * Table blocks of this spare behind those in use: one that comes into use must not meet a newer one
 * of its own number. They come into use one after the other, so that where there are none for long,
 * there are none. What cannot be written is for the kernel, which begins a table block above what
 * is there of it, and far above where something cannot be read: see first_generation() in
 * kernel/meta.c.
 */
static int wipe_behind_tables(struct remap_store *st, const struct remap_spare *sp,
			      struct remap_err *err)
{
	_cleanup_free_ void *zero = buffer_alloc(REMAP_MD_BLOCK);
	struct chunk *c = chunk_alloc(CHUNK_TABLES);
	u32 index = sp->super.tables_used, end = sp->layout.tables, n;

	if (!c || !zero) {
		if (c)
			chunk_free(c);
		return remap_fail_errno(err, -ENOMEM, "%s", st->name);
	}
	for (u32 last = index; index < end && index - last < WIPE_BEHIND; index += n) {
		n = table_run(sp, index, end);
		for (unsigned int z = 0; z < REMAP_ZONES; z++) {
			u64 sector = remap_table_sector(&sp->layout, z, index, 0);

			chunk_read(st, c, z, sector, 2 * n);
			for (unsigned int b = 0; b < 2 * n; b++) {
				if (!c->bad[z][b] &&
				    !generation_of(sp, c->data[z] + (size_t)b * REMAP_MD_BLOCK,
						   index + b / 2, z, b & 1))
					continue;
				(void)!store_write(st, sector + b * MD_SECTORS, zero,
						   REMAP_MD_BLOCK);
				last = index + b / 2;
			}
		}
	}
	chunk_free(c);
	return 0;
}

static int write_supers(struct remap_store *st, const struct remap_spare *sp,
			struct remap_err *err)
{
	_cleanup_free_ u8 *block = buffer_alloc(REMAP_MD_BLOCK);
	u64 g = sp->super.generation;
	int r = 0;

	if (!block)
		return remap_fail_errno(err, -ENOMEM, "%s", st->name);
	remap_super_encode(block, &sp->super, &sp->layout);
	for (unsigned int z = 0; z < REMAP_ZONES && !r; z++)
		r = store_write(st, remap_super_sector(&sp->layout, z, g), block, REMAP_MD_BLOCK);
	return r ? remap_fail_errno(err, r, "%s: cannot write a superblock", st->name) : 0;
}

static int check_made(struct remap_store *st, const struct remap_spare *sp, struct remap_err *err)
{
	struct remap_spare check;
	struct remap_verdict v;
	int r = remap_spare_find(st, false, &check, err);

	if (!r)
		r = remap_spare_verify(st, sp, &v, err);
	if (r)
		return r;
	if (!v.ok || memcmp(check.super.uuid, sp->super.uuid, sizeof(sp->super.uuid)) ||
	    check.super.generation != sp->super.generation)
		return remap_fail(err, -EIO, "%s: what was written does not read back (take "
				  "another device as spare)", st->name);
	return 0;
}

/* In the order that spare.h promises. */
static int make_spare(struct remap_store *st, const struct remap_spare *sp,
		      const struct remap_table *t, struct remap_err *err)
{
	int r = wipe_supers(st, sp, err);

	if (!r)
		r = write_tables(st, sp, t, err);
	if (!r && sp->planned)
		r = wipe_behind_tables(st, sp, err);
	if (!r)
		r = store_flush(st, err);
	if (!r)
		r = write_supers(st, sp, err);
	if (!r)
		r = store_flush(st, err);
	return r ? r : check_made(st, sp, err);
}

int remap_spare_format(struct remap_store *st, const struct remap_super *super,
		       struct remap_err *err)
{
	const struct remap_table empty = { .generation = 1 };
	struct remap_spare sp = { .super = *super };
	int r;

	sp.super.generation = 1;
	sp.super.tables_used = 1;
	sp.super.spare_sectors = st->sectors;
	r = remap_layout_compute(&sp.layout, st->sectors, sp.super.block_size);
	if (r == -ENOSPC)
		return remap_fail(err, r, "%s: too small for a spare with blocks of %u bytes: %llu "
				  "KiB, needs %llu KiB", st->name, sp.super.block_size,
				  (unsigned long long)st->sectors / 2,
				  (unsigned long long)
				  remap_layout_min_sectors(sp.super.block_size, 1) / 2);
	if (r)
		return remap_fail(err, r, "%s: cannot be laid out with blocks of %u "
				  "bytes", st->name,
				  sp.super.block_size);
	return make_spare(st, &sp, &empty, err);
}

/* Is it what could be read from a disk? As there, nothing is taken on trust. */
static int check_plan(const struct remap_spare *sp, const struct remap_table *t,
		      struct remap_err *err)
{
	_cleanup_free_ u8 *block = buffer_alloc(REMAP_MD_BLOCK);
	struct remap_super s;
	enum remap_check c;
	size_t at = 0;
	u64 g;

	if (!block)
		return remap_fail_errno(err, -ENOMEM, "table");
	remap_super_encode(block, &sp->super, &sp->layout);
	c = remap_super_decode(block, REMAP_ANYWHERE, &s);
	if (c)
		return remap_fail(err, -EINVAL, "superblock: %s", remap_check_str(c));
	for (u32 index = 0; index < sp->super.tables_used; index++) {
		at = build_table(block, sp, t, index, at);
		c = remap_table_check(block, &s, &sp->layout, index, &g);
		if (c)
			return remap_fail(err, -EINVAL, "table block %u: %s", index,
					  remap_check_str(c));
	}
	if (at < t->n)
		return remap_fail(err, -EINVAL, "slot %u: beyond the table blocks in use, or not "
				  "in order", t->slot[at].slot);
	return 0;
}

/* What is to be written: @new and @t, both filled in as what was there before. */
static int plan_restore(const struct remap_store *st, struct remap_spare *new,
			struct remap_table *t, struct remap_err *err)
{
	int r;

	new->planned = t;
	new->super.generation += RESTORE_STEP;
	new->super.compat &= REMAP_COMPAT_KNOWN;	/* what they stand for cannot be restored */
	t->generation += RESTORE_STEP;
	r = check_plan(new, t, err);
	return r ? r : writable(st, new, err);
}

int remap_spare_restorable(const struct remap_store *st, const struct remap_spare *sp,
			   const struct remap_table *table, struct remap_err *err)
{
	struct remap_table t = *table;
	struct remap_spare new = *sp;

	return plan_restore(st, &new, &t, err);
}

int remap_spare_restore(struct remap_store *st, const struct remap_spare *sp,
			const struct remap_table *table, struct remap_err *err)
{
	struct remap_table t = *table;
	struct remap_spare new = *sp;
	int r = plan_restore(st, &new, &t, err);

	return r ? r : make_spare(st, &new, &t, err);
}

/*
 * Write a superblock to all zones that do not hold it yet. @block: room for two metadata blocks.
 * Return: 0 if REMAP_QUORUM zones hold it afterwards
 */
static int put_super(struct remap_store *st, const struct remap_spare *sp,
		     const struct remap_super *s, u8 *block, struct remap_err *err)
{
	u8 *back = block + REMAP_MD_BLOCK;
	unsigned int good = 0;
	u64 sector;
	int r;

	remap_super_encode(block, s, &sp->layout);
	for (unsigned int z = 0; z < REMAP_ZONES; z++) {
		sector = remap_super_sector(&sp->layout, z, s->generation);
		if (store_read(st, sector, back, REMAP_MD_BLOCK) ||
		    memcmp(block, back, REMAP_MD_BLOCK))
			(void)!store_write(st, sector, block, REMAP_MD_BLOCK);
	}
	r = store_flush(st, err);
	if (r)
		return r;
	for (unsigned int z = 0; z < REMAP_ZONES; z++) {
		sector = remap_super_sector(&sp->layout, z, s->generation);
		if (!store_read(st, sector, back, REMAP_MD_BLOCK) &&
		    !memcmp(block, back, REMAP_MD_BLOCK))
			good++;
	}
	if (good < REMAP_QUORUM)
		return remap_fail(err, -EIO, "%s: only %u of %u superblocks could be written (see "
				  "the kernel log)", st->name, good, REMAP_ZONES);
	return 0;
}

int remap_spare_update(struct remap_store *st, struct remap_spare *sp,
		       const struct remap_super *s, struct remap_err *err)
{
	_cleanup_free_ u8 *block = buffer_alloc(PAIR);
	struct remap_super next = *s;
	int r = writable(st, sp, err);

	if (r)
		return r;
	if (!block)
		return remap_fail_errno(err, -ENOMEM, "%s", st->name);
	/*
	 * The newest superblock may have reached one zone only, and the next generation goes over
	 * the one before it: first the newest must be where it cannot be lost with one zone.
	 */
	r = put_super(st, sp, &sp->super, block, err);
	if (r)
		return r;
	next.generation = sp->super.generation + 1;
	r = put_super(st, sp, &next, block, err);
	if (r)
		return r;
	sp->super = next;
	return 0;
}

/* ---- who is where ---- */

struct collecting {
	const struct remap_spare *sp;
	struct remap_table *t;
	size_t room;
};

static int collect(void *arg, const struct remap_found *f, struct remap_err *err)
{
	struct collecting *c = arg;
	struct remap_table *t = c->t;

	if (f->index == REMAP_SUPER_INDEX)
		return 0;
	if (!f->newest) {
		t->lost_tables++;
		return 0;
	}
	t->generations += f->generation;
	if (f->generation > t->generation)
		t->generation = f->generation;
	for (u32 i = 0; i < REMAP_ENTRIES; i++) {
		struct remap_slot *s;
		struct remap_entry e;

		remap_entry_get(f->newest, i, &e);
		if (e.state == REMAP_SLOT_FREE)
			continue;
		if (t->n == c->room) {
			c->room = c->room ? 2 * c->room : REMAP_ENTRIES;
			s = realloc(t->slot, c->room * sizeof(*s));
			if (!s)
				return remap_fail_errno(err, -ENOMEM, "table");
			t->slot = s;
		}
		s = &t->slot[t->n++];
		s->slot = f->index * REMAP_ENTRIES + i;
		s->superseded = false;
		s->entry = e;
	}
	return 0;
}

static int by_block(const void *a, const void *b)
{
	const struct remap_slot *x = *(struct remap_slot *const *)a;
	const struct remap_slot *y = *(struct remap_slot *const *)b;

	if (x->entry.block != y->entry.block)
		return x->entry.block < y->entry.block ? -1 : 1;
	return x->slot < y->slot ? -1 : 1;
}

/* Of several entries for one block, one counts: in the order and by the rule of load_table(). */
int remap_table_resolve(struct remap_table *t)
{
	_cleanup_free_ struct remap_slot **order = calloc(t->n + 1, sizeof(struct remap_slot *));
	size_t mapped = 0;

	if (!order)
		return -ENOMEM;
	for (size_t i = 0; i < t->n; i++)
		if (t->slot[i].entry.state == REMAP_SLOT_MAPPED)
			order[mapped++] = &t->slot[i];
	qsort(order, mapped, sizeof(*order), by_block);
	for (size_t i = 1, best = 0; i < mapped; i++) {
		bool same = order[i]->entry.block == order[best]->entry.block;

		if (same && !remap_seq_after(order[i]->entry.seq, order[best]->entry.seq)) {
			order[i]->superseded = true;
			continue;
		}
		if (same)
			order[best]->superseded = true;
		best = i;
	}
	t->used = t->bad = 0;
	t->lost_sectors = 0;
	for (size_t i = 0; i < t->n; i++) {
		const struct remap_slot *s = &t->slot[i];

		if (s->entry.state == REMAP_SLOT_BAD)
			t->bad++;
		else if (!s->superseded)
			t->used++, t->lost_sectors += (u64)__builtin_popcount(s->entry.lost);
	}
	return 0;
}

int remap_spare_table(struct remap_store *st, const struct remap_spare *sp, struct remap_table *t,
		      struct remap_err *err)
{
	struct collecting c = { .sp = sp, .t = t };
	int r;

	memset(t, 0, sizeof(*t));
	r = remap_spare_walk(st, sp, collect, &c, err);
	if (r)
		return r;
	r = remap_table_resolve(t);
	return r ? remap_fail_errno(err, r, "%s", st->name) : 0;
}

void remap_table_free(struct remap_table *t)
{
	free(t->slot);
	memset(t, 0, sizeof(*t));
}
