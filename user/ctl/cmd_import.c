// SPDX-License-Identifier: GPL-2.0-only
/*
 * remapctl import: takes over what other programs have found out about a disk. With --table it is
 * the way back from export, see cmd_export.c.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "badlist.h"
#include "dm.h"
#include "remapctl.h"
#include "text.h"

#define MAX_UNIT	(1U << 30)

/* Which of the blocks of some ranges are on the spare already? */
struct census {
	const struct remap_ranges *r;
	size_t at;
	u64 there;
};

static int census_row(void *arg, u64 sector, u64 count, u64 slot, u64 lost)
{
	struct census *c = arg;

	(void)count;
	(void)slot;
	(void)lost;
	/* both are sorted, and ranges begin and end with blocks */
	while (c->at < c->r->n &&
	       c->r->range[c->at].sector + c->r->range[c->at].count <= sector)
		c->at++;
	if (c->at == c->r->n)
		return 1;
	c->there += sector >= c->r->range[c->at].sector;
	return 0;
}

static int count_there(const char *name, const struct remap_ranges *r, u64 *blocks,
		       struct remap_err *err)
{
	struct census c = { .r = r };
	int ret = r->n ? remap_dm_each_remap(name, r->range[0].sector, census_row, &c, err) : 0;

	*blocks = c.there;
	return ret < 0 ? ret : 0;
}

static int read_list(const struct args *a, u32 unit, struct remap_ranges *r, struct remap_err *err)
{
	const char *path = a->badblocks ? a->badblocks : a->ddrescue;
	_cleanup_fclose_ FILE *f = NULL;

	f = strcmp(path, "-") ? fopen(path, "re") : fdopen(0, "r");
	if (!f)
		return remap_fail_errno(err, -errno, "%s", path);
	if (a->badblocks)
		return remap_badlist_badblocks(f, path, unit, r, err);
	return remap_badlist_ddrescue(f, path, r, err);
}

/* Is all of it on the device? A list of another disk, or with another block size, is not. */
static int check_ends(const struct args *a, const struct remap_target *t,
		      const struct remap_ranges *r, struct remap_err *err)
{
	for (size_t i = 0; i < r->n; i++) {
		u64 end = r->range[i].sector + r->range[i].count;

		if (end <= t->sectors)
			continue;
		return remap_fail(err, -ERANGE, "%s: bad sectors %" PRIu64 "+%" PRIu64 " are "
				  "beyond the end of %s, which has %" PRIu64 " of 512 bytes "
				  "(is it a list of this disk%s?)",
				  a->badblocks ? a->badblocks : a->ddrescue, r->range[i].sector,
				  r->range[i].count, t->name, t->sectors,
				  a->badblocks ? ", with this --list-block-size" : "");
	}
	return 0;
}

struct plan {
	u64 sectors;		/* of 512 bytes, that the list calls bad */
	u64 blocks;		/* that they touch */
	u64 there;		/* of these, on the spare already */
};

static int make_plan(const struct args *a, const struct remap_target *t, struct remap_ranges *r,
		     struct plan *p, struct remap_err *err)
{
	u32 block = (u32)(t->word[REMAP_ST_BLOCK_SIZE] >> 9);
	int ret = check_ends(a, t, r, err);

	if (ret)
		return ret;
	/* twice: as they are, for the count, then widened to blocks */
	remap_ranges_settle(r, 1, t->sectors);
	for (size_t i = 0; i < r->n; i++)
		p->sectors += r->range[i].count;
	remap_ranges_settle(r, block, t->sectors);
	for (size_t i = 0; i < r->n; i++)
		p->blocks += (r->range[i].count + block - 1) / block;
	return count_there(t->name, r, &p->there, err);
}

/* Errors that the list foretold: a block could not be read, or not moved; the others go on. */
static int move_all(const struct args *a, const struct remap_target *t,
		    const struct remap_ranges *r, u64 blocks)
{
	_cleanup_progress_ struct progress p;
	int status = EXIT_GOOD;
	struct remap_err err;
	u64 done = 0;

	progress_begin(&p, a, a->command, blocks, "blocks");
	for (size_t i = 0; i < r->n; i++) {
		if (!move_sectors(t, "remap", r->range[i].sector, r->range[i].count, &p, &done,
				  &err))
			continue;
		if (status == EXIT_GOOD)
			status = problem_err(&err);
		if (err.code != -EIO)
			break;
	}
	return status;
}

int cmd_import(const struct args *a)
{
	static const struct field fields[] = {
		{ "bad_sectors", "Bad sectors in the list" },
		{ "blocks", "Blocks that have them" },
		{ "remapped", "On the spare already" },
		{ "would_move", "Would be moved" },
		{ "moved", "Moved" },
		{ "failed", "Could not be moved" },
		{ "newly_lost", "Logical sectors lost" },
	};
	_cleanup_json_ struct json_object *o = json_object_new_object();
	const char *name;
	struct plan p = { .there = 0 };
	struct remap_target t, after;
	struct remap_ranges r = { .n = 0 };
	struct remap_err err;
	int status = EXIT_GOOD;
	u32 unit = 1024;
	u64 there, room;

	if (a->table)
		return restore_spare(a);
	if (!a->positions)
		return usage_error(a, "NAME is missing");
	if (a->spare || a->force)
		return usage_error(a, "--%s goes with --table only", a->spare ? "spare" : "force");
	if (!a->badblocks == !a->ddrescue)
		return usage_error(a, "%s", a->badblocks ?
				   "--badblocks and --ddrescue exclude each other" :
				   "--badblocks, --ddrescue or --table is missing");
	name = device_name(a->pos[0]);
	if (a->list_block && !a->badblocks)
		return usage_error(a, "--list-block-size goes with --badblocks only");
	if (a->list_block && (!parse_bytes(a->list_block, MAX_UNIT, &unit) || !unit || unit % 512))
		return usage_error(a, "--list-block-size %.32s: not a multiple of 512 up to %u",
				   a->list_block, MAX_UNIT);
	if (remap_dm_get(name, &t, &err) || read_list(a, unit, &r, &err) ||
	    make_plan(a, &t, &r, &p, &err)) {
		status = problem_err(&err);
		goto out;
	}
	if (r.unknown)
		warning("%s: another %" PRIu64 " bytes failed, but were not read sector by sector "
			"(let ddrescue finish)", a->ddrescue, r.unknown);
	put_str(o, "name", t.name);
	put_num(o, "bad_sectors", p.sectors);
	put_num(o, "blocks", p.blocks);
	put_num(o, "remapped", p.there);
	room = t.word[REMAP_ST_SLOTS_TOTAL] - t.word[REMAP_ST_SLOTS_USED] -
	       t.word[REMAP_ST_SLOTS_BAD];
	if (p.blocks - p.there > room) {
		status = problem("%s: %" PRIu64 " blocks are to be moved, its spare has %" PRIu64
				 " free slots (nothing was done; a larger spare is needed)", t.name,
				 p.blocks - p.there, room);
		goto out;
	}
	if (a->dry_run) {
		put_num(o, "would_move", p.blocks - p.there);
	} else {
		status = move_all(a, &t, &r, p.blocks);
		if (count_there(t.name, &r, &there, &err) || remap_dm_get(name, &after, &err)) {
			status = problem_err(&err);
			goto out;
		}
		put_num(o, "moved", there > p.there ? there - p.there : 0);
		put_num(o, "failed", p.blocks - there);
		put_num(o, "newly_lost",
			after.word[REMAP_ST_LOST_SECTORS] > t.word[REMAP_ST_LOST_SECTORS] ?
			after.word[REMAP_ST_LOST_SECTORS] - t.word[REMAP_ST_LOST_SECTORS] : 0);
	}
	if (!out_json(a, o))
		text_fields(o, FIELDS(fields));
out:
	remap_ranges_free(&r);
	return status;
}
