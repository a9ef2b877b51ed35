// SPDX-License-Identifier: GPL-2.0-only
/*
 * remapctl export, and import --table, the way back: the table of a spare as text. Decides what may
 * be restored onto which device; the text is user/lib/tabletext.c, the writing user/lib/spare.c.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include "dm.h"
#include "remapctl.h"
#include "tabletext.h"
#include "text.h"

static void put_counts(struct json_object *o, const struct remap_table *t)
{
	put_num(o, "slots_used", t->used);
	put_num(o, "slots_bad", t->bad);
	put_num(o, "lost_sectors", t->lost_sectors);
	put_num(o, "lost_tables", t->lost_tables);
}

/* ---- export ---- */

#define SETTLE_TRIES	20

/*
 * An active target may move a block from a slot that has not been read yet to one that has: what
 * was read counts if nothing has changed until it was read again.
 */
static int read_settled(struct remap_store *st, bool search, struct remap_spare *sp,
			struct remap_table *t, struct remap_err *err)
{
	u64 super = 0, tables = 0;

	for (int tries = 0; tries < SETTLE_TRIES; tries++) {
		int r;

		remap_table_free(t);
		r = remap_spare_find(st, search, sp, err);
		if (!r)
			r = remap_spare_table(st, sp, t, err);
		if (r)
			return r;
		if (tries && sp->super.generation == super && t->generations == tables)
			return 0;
		super = sp->super.generation;
		tables = t->generations;
	}
	return remap_fail(err, -EAGAIN, "%s: changes faster than it can be read (try "
			  "again)", st->name);
}

/* Text is what it is about; in JSON it is a string. */
static int out_text(const struct args *a, const struct remap_store *st,
		    const struct remap_spare *sp, const struct remap_table *t)
{
	_cleanup_json_ struct json_object *o = NULL;
	_cleanup_free_ char *text = NULL;
	char uuid[REMAP_UUID_STR];
	size_t size;
	FILE *f;
	int r;

	progress_hide();
	if (!a->json)
		return remap_tabletext_write(stdout, sp, t);
	f = open_memstream(&text, &size);
	if (!f)
		return -ENOMEM;
	r = remap_tabletext_write(f, sp, t);
	if (fclose(f) || r)
		return -ENOMEM;
	o = json_object_new_object();
	remap_uuid_str(sp->super.uuid, uuid);
	put_str(o, "spare_device", st->name);
	put_str(o, "uuid", uuid);
	put_str(o, "label", sp->super.label);
	put_counts(o, t);
	json_object_object_add(o, "table", json_object_new_string(text));
	out_json(a, o);
	return 0;
}

int cmd_export(const struct args *a)
{
	_cleanup_store_ struct remap_store st = { .fd = -1 };
	_cleanup_store_progress_ struct store_progress p = { .args = a };
	struct remap_table t = { .n = 0 };
	int status = EXIT_PROBLEM;
	struct remap_target target;
	char path[PATH_MAX];
	struct remap_spare sp;
	struct remap_err err;

	if (!name_or_spare(a))
		return EXIT_USAGE;
	if (a->spare) {
		snprintf(path, sizeof(path), "%s", a->spare);
	} else if (!remap_dm_get(device_name(a->pos[0]), &target, &err)) {
		remap_dev_path(target.spare, path, sizeof(path));
	} else {
		return problem_err(&err);
	}
	if (remap_store_open(&st, path, false, &err))
		return problem_err(&err);
	progress_of_store(&p, a, &st);
	if (read_settled(&st, a->search, &sp, &t, &err))
		problem_err(&err);
	else if (sp.several_lives)
		problem("%s: a search finds superblocks of more than one spare, and cannot tell "
			"for certain which counts (restore the size that the device had)", path);
	else if (out_text(a, &st, &sp, &t))
		problem("cannot write the output");
	else if (t.lost_tables)
		problem("%s: %" PRIu32 " table blocks have no valid copy left: what they said is "
			"not in the text", path, t.lost_tables);
	else
		status = EXIT_GOOD;
	remap_table_free(&t);
	return status;
}

/* ---- import --table ---- */

static int read_table(const struct args *a, struct remap_spare *sp, struct remap_table *t,
		      struct remap_err *err)
{
	_cleanup_fclose_ FILE *f = strcmp(a->table, "-") ? fopen(a->table, "re") : fdopen(0, "r");

	if (!f)
		return remap_fail_errno(err, -errno, "%s", a->table);
	return remap_tabletext_read(f, a->table, sp, t, err);
}

/* No force overrides any of these. */
static int check_target(const struct remap_dev *dev, const struct remap_super *s,
			struct remap_err *err)
{
	struct remap_identity recorded, found;
	struct remap_target t;
	const char *which;
	int r = check_conventional(dev, err);

	if (r)
		return r;
	if (remap_dm_find_spare(dev->rdev, &t, NULL) == 1)
		return remap_fail(err, -EBUSY, "%s: active as %s (remapctl stop %s first)",
				  dev->path, t.name, t.name);
	if (dev->sectors < s->spare_sectors)
		return remap_fail(err, -ENOSPC, "%s: too small for this table: has %" PRIu64
				  " sectors, the spare had %" PRIu64 " (take a device at least as "
				  "large, with a copy of the spare on it)", dev->path,
				  dev->sectors, s->spare_sectors);
	if (dev->logical > s->sector_size)
		return remap_fail(err, -EINVAL, "%s: has logical sectors of %" PRIu32 " bytes, the "
				  "spare was made for %" PRIu32 " (take another device)", dev->path,
				  dev->logical, s->sector_size);
	remap_identity_from_super(&recorded, s);
	remap_dev_identity(dev, &found);
	if (dev->sectors == s->data_sectors &&
	    remap_identity_match(&recorded, &found, &which) == REMAP_MATCH_YES)
		return remap_fail(err, -EINVAL, "%s: is the data device of this spare (--spare "
				  "takes the spare)", dev->path);
	if (dev->read_only)
		return remap_fail(err, -EROFS, "%s: read-only (blockdev --setrw changes that, if "
				  "the device permits)", dev->path);
	return remap_dev_free_for_use(dev, err);
}

static bool same_entry(const struct remap_slot *x, const struct remap_slot *y)
{
	if (x->entry.state != y->entry.state)
		return false;
	return x->entry.state != REMAP_SLOT_MAPPED ||
	       (x->entry.block == y->entry.block && x->entry.lost == y->entry.lost &&
		x->entry.seq == y->entry.seq);
}

/* In how many slots does the device's own table say something else, as far as it is known? */
static u64 count_differences(const struct remap_blocks *blocks, const struct remap_table *is,
			     const struct remap_table *text)
{
	size_t i = 0, j = 0;
	u64 n = 0;

	while (i < is->n || j < text->n) {
		u32 slot = i < is->n ? is->slot[i].slot : UINT32_MAX;
		u32 index;

		if (i < is->n && is->slot[i].superseded) {
			i++;
			continue;
		}
		if (j < text->n && text->slot[j].slot < slot)
			slot = text->slot[j].slot;
		index = slot / REMAP_ENTRIES;
		if (i < is->n && is->slot[i].slot == slot &&
		    j < text->n && text->slot[j].slot == slot)
			n += !same_entry(&is->slot[i], &text->slot[j]);
		else	/* of a table block that is lost the device says nothing */
			n += index + 1 >= blocks->n || blocks->found[index + 1].generation;
		i += i < is->n && is->slot[i].slot == slot;
		j += j < text->n && text->slot[j].slot == slot;
	}
	return n;
}

/* The latest seq of all: what the next entry will be after. */
static u32 last_seq(const struct remap_table *t)
{
	bool any = false;
	u32 last = 0;

	for (size_t i = 0; i < t->n; i++) {
		const struct remap_entry *e = &t->slot[i].entry;

		if (e->state != REMAP_SLOT_MAPPED)
			continue;
		if (!any || remap_seq_after(e->seq, last))
			last = e->seq;
		any = true;
	}
	return last;
}

/* But for what changes by itself. */
static bool same_super(const struct remap_super *a, const struct remap_super *b)
{
	struct remap_super x = *a;

	x.generation = b->generation;
	x.tables_used = b->tables_used;
	return !memcmp(&x, b, sizeof(x));
}

/*
 * The device has metadata of the very spare. That they are the same as in the text costs nothing;
 * what is newer would be lost; and if they are older, so is what is in the slots.
 */
static int check_same_spare(struct remap_store *st, const struct remap_spare *is,
			    const struct remap_spare *sp, const struct remap_table *text,
			    struct remap_err *err)
{
	struct remap_blocks blocks = { .n = 0 };
	struct remap_table t = { .n = 0 };
	struct remap_verdict v;
	int r = remap_spare_blocks(st, is, &v, &blocks, err);
	u32 seq, text_seq;
	u64 n;

	if (!r)
		r = remap_spare_table(st, is, &t, err);
	if (r)
		goto out;
	n = count_differences(&blocks, &t, text);
	seq = last_seq(&t);
	text_seq = last_seq(text);
	if (n)
		r = remap_fail(err, -EEXIST, "%s: has a table of this spare that says something "
			       "else of %" PRIu64 " slots, and is %s (--force destroys "
			       "it)", st->name, n,
			       remap_seq_after(seq, text_seq) ? "newer than that of the text" :
			       remap_seq_after(text_seq, seq) ?
			       "older than that of the text, as is what is in its slots" :
			       "of another state than that of the text");
	else if (is->super.generation > sp->super.generation &&
		 !same_super(&is->super, &sp->super))
		r = remap_fail(err, -EEXIST, "%s: has a newer superblock of this spare, which says "
			       "something else than the text (remapctl dump shows it; --force "
			       "destroys it)", st->name);
out:
	remap_table_free(&t);
	remap_blocks_free(&blocks);
	return r;
}

/* What is there cannot be told: who knows better may say so. */
static int or_force(int code, struct remap_err *err)
{
	const struct remap_err why = *err;

	return remap_fail(err, code, "%.400s; --force writes over whatever it is", why.text);
}

/*
 * What a spare of this size has left on the device. Of one of the same uuid the generations are
 * taken over where they are higher: all that is to be written must be above.
 */
static int check_spare(struct remap_store *st, u64 sectors, bool force, struct remap_spare *sp,
		       struct remap_table *t, struct remap_err *err)
{
	struct remap_store view = *st;
	char uuid[REMAP_UUID_STR], label[REMAP_LABEL_LEN];
	struct remap_table old = { .n = 0 };
	struct remap_spare is;
	int r;

	view.sectors = sectors;
	r = remap_spare_find(&view, false, &is, err);
	if (r == -ENODATA || (r && force))
		return 0;
	if (r)
		return or_force(r, err);
	if (memcmp(is.super.uuid, sp->super.uuid, sizeof(is.super.uuid))) {
		remap_uuid_str(is.super.uuid, uuid);
		remap_text_clean(label, sizeof(label), is.super.label);
		return force ? 0 : remap_fail(err, -EEXIST, "%s: is another dm-remap spare, uuid "
					      "%s%s%s (--force destroys its metadata)", st->name,
					      uuid, *label ? ", label " : "", label);
	}
	if (!force)
		r = check_same_spare(&view, &is, sp, t, err);
	if (!r)
		r = remap_spare_table(&view, &is, &old, err);
	if (!r && is.super.generation > sp->super.generation)
		sp->super.generation = is.super.generation;
	if (!r && old.generation > t->generation)
		t->generation = old.generation;
	remap_table_free(&old);
	return r;
}

static int check_device(struct remap_store *st, bool force, struct remap_spare *sp,
			struct remap_table *t, struct remap_err *err)
{
	struct remap_signature sig;
	int r = check_spare(st, st->sectors, force, sp, t, err);

	/* on a larger device they are not found by the device's size once zone 0 is destroyed */
	if (!r && sp->super.spare_sectors != st->sectors)
		r = check_spare(st, sp->super.spare_sectors, force, sp, t, err);
	if (r || force)
		return r;
	r = remap_dev_foreign(st, sp, &sig, err);
	if (r < 0)
		return or_force(r, err);
	return !r ? 0 : remap_fail(err, -EEXIST, "%s: carries %.400s (--force destroys it; what is "
				   "in the slots stays)", st->name, sig.what);
}

/* Before anything is written, and of a dry run, too: what the text says is what is wrong. */
static int check_text(const struct args *a, const struct remap_store *st,
		      const struct remap_spare *sp, const struct remap_table *t,
		      struct remap_err *err)
{
	struct remap_err why;
	int r = remap_spare_restorable(st, sp, t, &why);

	return r ? remap_fail(err, r, "%s: %s", a->table, why.text) : 0;
}

static int restore(const struct args *a, const struct remap_dev *dev, struct remap_spare *sp,
		   struct remap_table *t, struct remap_err *err)
{
	_cleanup_store_ struct remap_store st = { .fd = -1 };
	_cleanup_store_progress_ struct store_progress p = { .args = a };
	int r = check_target(dev, &sp->super, err);

	if (!r)
		r = open_store(dev, !a->dry_run, &st, err);
	if (!r)
		progress_of_store(&p, a, &st);
	if (!r)
		r = check_device(&st, a->force, sp, t, err);
	if (!r)
		r = check_text(a, &st, sp, t, err);
	if (!r && !a->dry_run && a->force)
		r = remap_dev_wipe(&st, sp, err);
	if (!r && !a->dry_run)
		r = remap_spare_restore(&st, sp, t, err);
	/* partitions that were on it are no more; only a device that had some cares */
	if (!r && !a->dry_run && a->force)
		ioctl(st.fd, BLKRRPART);
	return r;
}

static int check_usage(const struct args *a)
{
	if (a->positions)
		return usage_error(a, "NAME and --table exclude each other: a device that is "
				   "active has its table");
	if (!a->spare)
		return usage_error(a, "--spare is missing");
	if (a->badblocks || a->ddrescue || a->list_block)
		return usage_error(a, "--%s does not go with --table", a->badblocks ? "badblocks" :
				   a->ddrescue ? "ddrescue" : "list-block-size");
	return EXIT_GOOD;
}

static void out_restored(const struct args *a, const struct remap_dev *dev,
			 const struct remap_spare *sp, const struct remap_table *t)
{
	static const struct field fields[] = {
		{ "spare_device", "Spare" },
		{ "uuid", "UUID" },
		{ "label", "Label" },
		{ "slots_used", "Slots used" },
		{ "slots_bad", "Slots bad" },
		{ "lost_sectors", "Lost sectors" },
		{ "lost_tables", "Table blocks lost" },
		{ "restored", "Restored" },
	};
	_cleanup_json_ struct json_object *o = json_object_new_object();
	char uuid[REMAP_UUID_STR];

	remap_uuid_str(sp->super.uuid, uuid);
	put_str(o, "spare_device", dev->path);
	put_str(o, "uuid", uuid);
	put_str(o, "label", sp->super.label);
	put_counts(o, t);
	put_bool(o, "restored", !a->dry_run);
	if (!out_json(a, o))
		text_fields(o, FIELDS(fields));
}

int restore_spare(const struct args *a)
{
	struct remap_table t = { .n = 0 };
	struct remap_spare sp;
	struct remap_dev dev;
	struct remap_err err;
	int status = check_usage(a);

	if (status != EXIT_GOOD)
		return status;
	if (read_table(a, &sp, &t, &err) || remap_dev_open(a->spare, &dev, &err)) {
		status = problem_err(&err);
		goto out;
	}
	if (t.lost_tables && !a->force) {
		status = problem("%s: %" PRIu32 " table blocks had no valid copy left when it was "
				 "written (--force takes their slots as free: of the blocks in "
				 "them, older contents would show)", a->table, t.lost_tables);
		goto out;
	}
	sp.planned = &t;
	if (restore(a, &dev, &sp, &t, &err)) {
		status = problem_err(&err);
		goto out;
	}
	if (dev.sectors > sp.super.spare_sectors)
		warning("%s: has %" PRIu64 " sectors, of which %" PRIu64 " are used as before; "
			"with its first replica destroyed it would be found with --search "
			"only", dev.path, dev.sectors, sp.super.spare_sectors);
	out_restored(a, &dev, &sp, &t);
out:
	remap_table_free(&t);
	return status;
}
