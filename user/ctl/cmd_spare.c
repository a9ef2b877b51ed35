// SPDX-License-Identifier: GPL-2.0-only
/*
 * The commands that work on a spare by itself: format, dump, scan, and verify and repair of a
 * spare that is not active. Decides what may be formatted; how it is done is in user/lib/spare.c.
 */
#include <errno.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include "dm.h"
#include "remapctl.h"
#include "spare.h"
#include "text.h"

/* ---- format ---- */

int open_store(const struct remap_dev *dev, bool write, struct remap_store *st,
	       struct remap_err *err)
{
	int r = remap_store_open(st, dev->path, write, err);

	if (!r && (st->rdev != dev->rdev || st->sectors != dev->sectors)) {
		remap_store_close(st);
		return remap_fail(err, -ESTALE, "%s: has become another device just now (try "
				  "again)", dev->path);
	}
	return r;
}

int check_conventional(const struct remap_dev *dev, struct remap_err *err)
{
	if (!dev->zoned)
		return 0;
	return remap_fail(err, -EOPNOTSUPP, "%s: zoned, its sectors cannot be written one by one "
			  "(take a conventional disk)", dev->path);
}

int check_pair(const struct remap_dev *data, const struct remap_dev *spare, bool force,
	       struct remap_err *err)
{
	int r = check_conventional(data, err);

	if (!r)
		r = check_conventional(spare, err);
	if (r)
		return r;
	switch (remap_dev_relation(data, spare)) {
	case REMAP_IDENTICAL:
		return remap_fail(err, -EINVAL, "%s: is the data device %s, too (take another "
				  "device as spare)", spare->path, data->path);
	case REMAP_OVERLAP:
		return remap_fail(err, -EINVAL, "%s: overlaps the data device %s (take another "
				  "device as spare)", spare->path, data->path);
	case REMAP_UNKNOWN:
		if (force)
			break;
		return remap_fail(err, -ENODATA, "%s: cannot tell whether it shares sectors with "
				  "%s, which sysfs does not show (mount it: mount -t sysfs sysfs "
				  "/sys; --force takes them to be distinct)", spare->path,
				  data->path);
	case REMAP_SAME_DISK:
	case REMAP_DISTINCT:
		break;
	}
	r = remap_dev_free_for_use(data, err);
	if (!r)
		r = remap_dev_free_for_use(spare, err);
	return r;
}

void warn_same_disk(const struct remap_dev *data, const struct remap_dev *spare)
{
	if (remap_dev_relation(data, spare) == REMAP_SAME_DISK)
		warning("%s shares a disk with %s: when it dies, both do", spare->path, data->path);
}

bool parse_bytes(const char *text, u32 max, u32 *bytes)
{
	char digits[16];
	uint64_t n;
	size_t len = strlen(text);
	bool kilo = len && (text[len - 1] == 'k' || text[len - 1] == 'K');

	if (len >= sizeof(digits))
		return false;
	memcpy(digits, text, len + 1);
	if (kilo)
		digits[len - 1] = 0;
	if (!remap_parse_u64(digits, &n) || n > max / (kilo ? 1024 : 1))
		return false;
	*bytes = (u32)n * (kilo ? 1024 : 1);
	return true;
}

/* 512 to 16384, or 1K to 16K */
static bool parse_block_size(const char *text, u32 *block_size)
{
	return parse_bytes(text, REMAP_MAX_BLOCK, block_size) && is_power_of_2(*block_size) &&
	       *block_size >= REMAP_MIN_BLOCK;
}

static u32 default_block_size(const struct remap_dev *data)
{
	u32 size = 4096;

	while (size < data->physical && size < REMAP_MAX_BLOCK)
		size *= 2;
	return size;
}

/* What is wrong with the sizes of the two? */
static int check_sizes(const struct remap_dev *data, const struct remap_dev *spare, u32 block_size,
		       u32 sector_size, struct remap_err *err)
{
	struct remap_layout l;
	const struct remap_dev *coarse = data->logical >= spare->logical ? data : spare;
	int r;

	if (sector_size > block_size)
		return remap_fail(err, -EINVAL, "%s: has logical sectors of %u bytes, larger than "
				  "a block of %u (use --block-size "
				  "%u)", coarse->path, sector_size, block_size,
				  sector_size);
	if (!data->sectors)
		return remap_fail(err, -EINVAL, "%s: has no size (is a medium "
				  "inserted?)", data->path);
	if (data->sectors % (sector_size >> 9))
		return remap_fail(err, -EINVAL, "%s: its size, %llu sectors of 512 bytes, is no "
				  "multiple of the logical sectors of %s, %u bytes (take another "
				  "spare)",
				  data->path, (unsigned long long)data->sectors, coarse->path,
				  sector_size);
	if (data->sectors >= REMAP_MAX_DATA_BLOCKS)
		return remap_fail(err, -EFBIG, "%s: too large", data->path);
	r = remap_layout_compute(&l, spare->sectors, block_size);
	if (r == -ENOSPC)
		return remap_fail(err, r, "%s: too small for a spare: has %llu KiB, needs at least "
				  "%llu KiB with blocks of %u bytes", spare->path,
				  (unsigned long long)spare->sectors / 2,
				  (unsigned long long)remap_layout_min_sectors(block_size, 1) / 2,
				  block_size);
	if (r)
		return remap_fail(err, r, "%s: cannot be laid out as a spare", spare->path);
	return 0;
}

static int check_contents(struct remap_store *st, struct remap_err *err)
{
	char what[512];
	int r = remap_dev_signature(st, what, sizeof(what), err);

	if (r > 0)
		return remap_fail(err, -EEXIST, "%s: carries %.400s (--force destroys it)",
				  st->name, what);
	return r;
}

/*
 * A spare still, or a disk that was one once? Who gives it another use leaves most of the replicas
 * alone, but puts a signature of his own on it; of what cannot be read the worse is taken.
 */
static bool spare_lives(struct remap_store *st)
{
	struct remap_signature sig;
	struct remap_spare sp;
	int r = remap_spare_find(st, false, &sp, NULL);

	/* one of another version, too, is one */
	return r != -ENODATA && remap_dev_foreign(st, r ? NULL : &sp, &sig, NULL) <= 0;
}

/* Swapped arguments would destroy the disk that the spare serves: no force overrides this. */
static int check_data_no_spare(const struct remap_dev *data, bool force, struct remap_err *err)
{
	struct remap_store st;
	bool present, lives;
	int r = open_store(data, false, &st, err);

	if (r)
		return r;
	present = remap_spare_present(&st);
	lives = present && spare_lives(&st);
	remap_store_close(&st);
	if (lives)
		return remap_fail(err, -EEXIST, "%s: the data device is a dm-remap spare itself "
				  "(are --data and --spare swapped?)", data->path);
	if (present && !force)
		return remap_fail(err, -EEXIST, "%s: the data device has remains of a dm-remap "
				  "spare, which it was once, or still is (are --data and --spare "
				  "swapped? if not, --force takes it as it is; it is not written "
				  "to)", data->path);
	if (present)
		warning("%s has remains of a dm-remap spare, which it was once: taken as data "
			"device, and left as they are", data->path);
	return 0;
}

static struct json_object *describe_format(const struct remap_dev *data,
					   const struct remap_dev *spare,
					   const struct remap_super *s)
{
	struct json_object *o = json_object_new_object();
	char uuid[REMAP_UUID_STR];
	struct remap_layout l;

	remap_uuid_str(s->uuid, uuid);
	put_str(o, "spare_device", spare->path);
	put_str(o, "data_device", data->path);
	put_str(o, "uuid", uuid);
	put_str(o, "label", s->label);
	put_num(o, "size_sectors", s->data_sectors);
	put_num(o, "block_size", s->block_size);
	put_num(o, "sector_size", s->sector_size);
	if (!remap_layout_compute(&l, spare->sectors, s->block_size))
		put_num(o, "slots_total", l.slots);
	return o;
}

int format_spare(const struct args *a, struct json_object **result)
{
	struct remap_super s = { .block_size = 0 };
	_cleanup_store_ struct remap_store st = { .fd = -1 };
	_cleanup_close_ int claim = -1;
	struct remap_dev data, spare;
	struct remap_identity id;
	struct remap_err err;

	if (a->block_size && !parse_block_size(a->block_size, &s.block_size))
		return usage_error(a, "--block-size %s: not a power of two from 512 to 16K",
				   a->block_size);
	if (a->label && (strlen(a->label) >= REMAP_LABEL_LEN || !remap_text_ok(a->label)))
		return usage_error(a, "--label: not printable text of at most %d bytes",
				   REMAP_LABEL_LEN - 1);
	if (remap_dev_open(a->data, &data, &err) || remap_dev_open(a->spare, &spare, &err) ||
	    check_pair(&data, &spare, a->force, &err))
		return problem_err(&err);
	if (data.read_only || spare.read_only)
		return problem("%s: read-only (blockdev --setrw changes that, if the device "
			       "permits)",
			       data.read_only ? data.path : spare.path);
	if (!s.block_size)
		s.block_size = default_block_size(&data);
	s.sector_size = data.logical > spare.logical ? data.logical : spare.logical;
	if (check_sizes(&data, &spare, s.block_size, s.sector_size, &err))
		return problem_err(&err);
	/* ours from here to the end: what is checked is what is written */
	claim = remap_dev_claim(&data, &err);
	if (claim < 0 || open_store(&spare, true, &st, &err) ||
	    check_data_no_spare(&data, a->force, &err) || (!a->force && check_contents(&st, &err)))
		return problem_err(&err);
	warn_same_disk(&data, &spare);

	if (remap_uuid_random(s.uuid))
		return problem("no random numbers for a uuid (is the system still starting?)");
	if (a->label)
		strncpy(s.label, a->label, sizeof(s.label) - 1);
	s.data_sectors = data.sectors;
	s.created = (u64)time(NULL);
	remap_dev_identity(&data, &id);
	remap_identity_to_super(&s, &id);
	if (remap_identity_empty(&id))
		warning("%s has neither WWN, serial number nor UUID: start needs "
			"--data", data.path);

	if ((a->force && remap_dev_wipe(&st, NULL, &err)) || remap_spare_format(&st, &s, &err))
		return problem_err(&err);
	/* partitions that were on it are no more; only a device that had some cares */
	if (a->force)
		ioctl(st.fd, BLKRRPART);
	*result = describe_format(&data, &spare, &s);
	return EXIT_GOOD;
}

int cmd_format(const struct args *a)
{
	static const struct field fields[] = {
		{ "spare_device", "Spare" },
		{ "data_device", "Data device" },
		{ "uuid", "UUID" },
		{ "label", "Label" },
		{ "block_size", "Block size" },
		{ "slots_total", "Slots" },
	};
	_cleanup_json_ struct json_object *o = NULL;
	int status = format_spare(a, &o);

	if (status == EXIT_GOOD && !out_json(a, o))
		text_fields(o, FIELDS(fields));
	return status;
}

/* ---- verify, repair ---- */

static struct json_object *describe_verdict(const struct remap_verdict *v)
{
	struct json_object *o = json_object_new_object(), *list = json_object_new_array();

	for (unsigned int z = 0; z < REMAP_ZONES; z++) {
		struct json_object *replica = json_object_new_object();

		put_num(replica, "index", z);
		put_str(replica, "state", remap_replica_state_name(v->state[z]));
		put_num(replica, "bad_blocks", v->bad_blocks[z]);
		json_object_array_add(list, replica);
	}
	json_object_object_add(o, "replicas", list);
	put_num(o, "lost_tables", v->lost_tables);
	return o;
}

static bool block_ok(const struct remap_found *f)
{
	for (unsigned int z = 0; z < REMAP_ZONES; z++)
		if (f->state[z] != REMAP_REPLICA_OK)
			return false;
	return true;
}

static struct json_object *replica_states(const struct remap_found *f)
{
	struct json_object *list = json_object_new_array();

	for (unsigned int z = 0; z < REMAP_ZONES; z++) {
		const char *state = remap_replica_state_name(f->state[z]);

		json_object_array_add(list, json_object_new_string(state));
	}
	return list;
}

struct listing {
	const struct remap_spare *sp;
	const struct remap_blocks *b;
};

static struct json_object *block_row(const void *arg, size_t i)
{
	struct json_object *o = json_object_new_object(), *sectors = json_object_new_array();
	const struct listing *l = arg;
	const struct remap_found *f = &l->b->found[i];

	if (f->index == REMAP_SUPER_INDEX)
		put_str(o, "block", "super");
	else
		put_num(o, "block", f->index);
	put_num(o, "generation", f->generation);
	json_object_object_add(o, "states", replica_states(f));
	for (unsigned int z = 0; z < REMAP_ZONES; z++) {
		u64 at = remap_found_sector(l->sp, f, z, f->generation);

		json_object_array_add(sectors, json_object_new_uint64(at));
	}
	json_object_object_add(o, "sectors", sectors);
	return o;
}

void out_blocks(const struct args *a, struct json_object *o, const struct remap_spare *sp,
		struct remap_blocks *b)
{
	static const struct field columns[] = {
		{ "block", "BLOCK" },
		{ "generation", "GENERATION" },
		{ "states", "STATES" },
		{ "sectors", "SECTORS" },
	};
	const struct listing l = { .sp = sp, .b = b };
	struct rows rows = { .n = b->n, .row = block_row, .arg = &l };
	size_t all = b->n;

	if (out_rows_json(a, o, "blocks", &rows))
		return;
	b->n = 0;
	for (size_t i = 0; i < all; i++)
		if (!block_ok(&b->found[i]))
			b->found[b->n++] = b->found[i];
	printf("\n%zu metadata blocks, %zu of them not ok in all replicas\n", all, b->n);
	rows.n = b->n;
	text_rows(&rows, FIELDS(columns));
}

int read_blocks(struct remap_store *st, bool search, struct remap_spare *sp,
		struct remap_verdict *v, struct remap_blocks *b, struct remap_err *err)
{
	int r, tries = 0;

	do {
		remap_blocks_free(b);
		r = remap_spare_find(st, search, sp, err);
		if (!r)
			r = remap_spare_blocks(st, sp, v, b, err);
	} while (!r && !v->ok && ++tries < 3);
	return r;
}

static int report(const struct args *a, const struct remap_verdict *v, const char *remedy)
{
	unsigned int bad = 0;

	if (v->ok)
		return EXIT_GOOD;
	for (unsigned int z = 0; z < REMAP_ZONES; z++)
		bad += v->state[z] != REMAP_REPLICA_OK;
	if (v->lost_tables && v->first_lost == REMAP_SUPER_INDEX)
		return problem("%s: no valid copy of the superblock is left", a->spare);
	if (v->lost_tables)
		return problem("%s: %u table blocks have no valid copy left, the first is %u: the "
			       "blocks in their slots cannot be found (import --table restores "
			       "them from what export has saved; start with --option force=1 goes "
			       "on without them)", a->spare, v->lost_tables, v->first_lost);
	return problem("%s: %u of %u replicas are not ok (%s)", a->spare, bad, REMAP_ZONES, remedy);
}

/* @b: NULL, or to be printed with it */
static int out_verdict(const struct args *a, const struct remap_verdict *v,
		       const struct remap_spare *sp, struct remap_blocks *b, const char *remedy)
{
	static const struct field fields[] = {
		{ "index", "REPLICA" },
		{ "state", "STATE" },
		{ "bad_blocks", "BAD-BLOCKS" },
	};
	_cleanup_json_ struct json_object *o = describe_verdict(v);

	if (!a->json)
		text_table(json_object_object_get(o, "replicas"), FIELDS(fields));
	if (b)
		out_blocks(a, o, sp, b);
	else
		out_json(a, o);
	return report(a, v, remedy);
}

int verify_spare(const struct args *a)
{
	_cleanup_store_ struct remap_store st = { .fd = -1 };
	_cleanup_store_progress_ struct store_progress p = { .args = a };
	struct remap_blocks b = { .n = 0 };
	struct remap_verdict v;
	struct remap_spare sp;
	struct remap_err err;
	int status;

	if (remap_store_open(&st, a->spare, false, &err))
		return problem_err(&err);
	progress_of_store(&p, a, &st);
	if (read_blocks(&st, a->search, &sp, &v, &b, &err))
		status = problem_err(&err);
	else
		status = out_verdict(a, &v, &sp, a->blocks ? &b : NULL,
				     "remapctl repair rewrites them");
	remap_blocks_free(&b);
	return status;
}

int repair_spare(const struct args *a)
{
	_cleanup_store_ struct remap_store st = { .fd = -1 };
	_cleanup_store_progress_ struct store_progress p = { .args = a };
	struct remap_verdict v;
	struct remap_target t;
	struct remap_spare sp;
	struct remap_dev spare;
	struct remap_err err;

	if (remap_dev_open(a->spare, &spare, &err))
		return problem_err(&err);
	/* the kernel owns the metadata of an active device */
	if (remap_dm_find_spare(spare.rdev, &t, NULL) == 1)
		return problem("%s: active as %s (use remapctl repair "
			       "%s)", a->spare, t.name, t.name);
	if (remap_dev_free_for_use(&spare, &err) || open_store(&spare, true, &st, &err))
		return problem_err(&err);
	progress_of_store(&p, a, &st);
	if (remap_spare_find(&st, a->search, &sp, &err))
		return problem_err(&err);
	if (sp.several_lives)
		return problem("%s: a search finds superblocks of more than one spare, and cannot "
			       "tell for certain which counts (dump --search shows the likely one; "
			       "restore the size that the device had)", a->spare);
	if (remap_spare_repair(&st, &sp, &v, &err))
		return problem_err(&err);
	return out_verdict(a, &v, &sp, NULL,
			   "they do not take writes: move the spare to another device");
}

/* ---- dump ---- */

static const char *entry_state(const struct remap_slot *s)
{
	if (s->entry.state == REMAP_SLOT_BAD)
		return "bad";
	return s->superseded ? "superseded" : "mapped";
}

static struct json_object *describe_slot(const struct remap_spare *sp, const struct remap_slot *s)
{
	struct json_object *o = json_object_new_object(), *lost = json_object_new_array();
	u32 unit = sp->super.sector_size >> 9;
	u64 first = s->entry.block * (sp->super.block_size >> 9);

	put_num(o, "slot", s->slot);
	put_num(o, "slot_sector", remap_slot_sector(&sp->layout, s->slot));
	put_str(o, "state", entry_state(s));
	if (s->entry.state == REMAP_SLOT_MAPPED) {
		put_num(o, "sector", first);
		put_num(o, "count", remap_block_sectors(&sp->super, s->entry.block));
		for (u32 i = 0; i < 32; i++)
			if (s->entry.lost & 1U << i)
				json_object_array_add(lost,
						      json_object_new_uint64(first + i * unit));
	}
	json_object_object_add(o, "lost", lost);
	put_num(o, "seq", s->entry.seq);
	return o;
}

static void put_time(struct json_object *o, const char *key, u64 seconds)
{
	time_t t = (time_t)seconds;
	char text[64];
	struct tm tm;

	if (gmtime_r(&t, &tm) && strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm))
		put_str(o, key, text);
	else
		put_str(o, key, NULL);
}

/* Of a spare that has grown, where each piece of it has its zones and slots; else one of all. */
static struct json_object *describe_bands(const struct remap_layout *l)
{
	struct json_object *bands = json_object_new_array();

	for (unsigned int n = 0; n < l->bands; n++) {
		struct json_object *o = json_object_new_object(), *at = json_object_new_array();
		const struct remap_band *b = &l->band[n];

		for (unsigned int z = 0; z < REMAP_ZONES; z++)
			json_object_array_add(at, json_object_new_uint64(b->zone_start[z]));
		put_num(o, "first_table", b->first_table);
		put_num(o, "tables", b->tables);
		put_num(o, "first_slot", b->first_table * REMAP_ENTRIES);
		put_num(o, "slots",
			b->gap_slots[REMAP_ZONES - 2] - b->first_table * REMAP_ENTRIES);
		put_num(o, "zone_sectors", b->zone_sectors);
		json_object_object_add(o, "zones", at);
		json_object_array_add(bands, o);
	}
	return bands;
}

void put_super(struct json_object *o, const struct remap_super *s)
{
	char uuid[REMAP_UUID_STR];

	remap_uuid_str(s->uuid, uuid);
	put_str(o, "uuid", uuid);
	put_str(o, "label", s->label);
	put_num(o, "version", REMAP_VERSION);
	put_num(o, "generation", s->generation);
	put_time(o, "created", s->created);
	put_num(o, "block_size", s->block_size);
	put_num(o, "sector_size", s->sector_size);
	put_num(o, "data_sectors", s->data_sectors);
	put_num(o, "spare_sectors", s->spare_sectors);
	put_num(o, "tables_used", s->tables_used);
	put_num(o, "compat", s->compat);
	put_num(o, "ro_compat", s->ro_compat);
	put_num(o, "incompat", s->incompat);
	put_str(o, "data_wwn", s->data_wwn);
	put_str(o, "data_serial", s->data_serial);
	put_str(o, "data_partuuid", s->data_partuuid);
	put_str(o, "data_fsuuid", s->data_fsuuid);
}

static struct json_object *describe_spare(const struct remap_store *st,
					  const struct remap_spare *sp)
{
	struct json_object *o = json_object_new_object(), *zones = json_object_new_array();

	put_str(o, "device", st->name);
	put_num(o, "device_sectors", st->sectors);
	put_super(o, &sp->super);
	put_num(o, "zone_sectors", sp->layout.band[0].zone_sectors);
	for (unsigned int z = 0; z < REMAP_ZONES; z++) {
		struct json_object *zone = json_object_new_object();

		put_num(zone, "index", z);
		put_num(zone, "sector", remap_zone_start(&sp->layout, z));
		json_object_array_add(zones, zone);
	}
	json_object_object_add(o, "zones", zones);
	json_object_object_add(o, "bands", describe_bands(&sp->layout));
	put_num(o, "tables", sp->layout.tables);
	put_num(o, "slots_total", sp->layout.slots);
	return o;
}

struct copies {
	const struct remap_spare *sp;
	struct json_object *list;
};

/* The ten superblocks, with all that those say that can be understood; ends the walk. */
static int describe_supers(void *arg, const struct remap_found *f, struct remap_err *err)
{
	const struct copies *c = arg;

	(void)err;
	for (unsigned int i = 0; i < 2 * REMAP_ZONES; i++) {
		struct json_object *o = json_object_new_object();
		u64 sector = remap_found_sector(c->sp, f, i / 2, i % 2);
		enum remap_check check = REMAP_BLANK;
		struct remap_super s;

		if (f->bytes[i])
			check = remap_super_decode(f->bytes[i], sector, &s);
		put_num(o, "zone", i / 2);
		put_str(o, "copy", i % 2 ? "B" : "A");
		put_num(o, "sector", sector);
		put_str(o, "check", f->bytes[i] ? remap_check_str(check) : "unreadable");
		if (check == REMAP_VALID && !f->copy[i])
			put_str(o, "check", "of another spare");
		if (check == REMAP_VALID || check == REMAP_BAD_FEATURE ||
		    check == REMAP_MISPLACED)
			put_super(o, &s);
		json_object_array_add(c->list, o);
	}
	return 1;
}

/* For each zone, where the copies are and of which generation: 0 not valid, null unreadable. */
static struct json_object *describe_tables(const struct remap_spare *sp,
					   const struct remap_blocks *b)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 1; i < b->n; i++) {
		struct json_object *o = json_object_new_object();
		struct json_object *sectors = json_object_new_array();
		struct json_object *generations = json_object_new_array();
		const struct remap_found *f = &b->found[i];

		put_num(o, "index", f->index);
		put_num(o, "generation", f->generation);
		json_object_object_add(o, "states", replica_states(f));
		for (unsigned int z = 0; z < REMAP_ZONES; z++) {
			struct json_object *pair[2] = {
				json_object_new_array(), json_object_new_array(),
			};

			for (unsigned int k = 0; k < 2; k++) {
				json_object_array_add(pair[0], json_object_new_uint64(
					remap_found_sector(sp, f, z, k)));
				json_object_array_add(pair[1], f->bytes[2 * z + k] ?
					json_object_new_uint64(f->copy[2 * z + k]) : NULL);
			}
			json_object_array_add(sectors, pair[0]);
			json_object_array_add(generations, pair[1]);
		}
		json_object_object_add(o, "sectors", sectors);
		json_object_object_add(o, "generations", generations);
		json_object_array_add(list, o);
	}
	return list;
}

/* Of a metadata block, what is in one zone: as text these are rows. */
static struct json_object *copy_row(const void *arg, size_t i)
{
	struct json_object *o = json_object_new_object();
	const struct listing *l = arg;
	const struct remap_found *f = &l->b->found[i / REMAP_ZONES];
	unsigned int z = (unsigned int)(i % REMAP_ZONES);

	if (f->index == REMAP_SUPER_INDEX)
		put_str(o, "block", "super");
	else
		put_num(o, "block", f->index);
	put_num(o, "zone", z);
	put_str(o, "state", remap_replica_state_name(f->state[z]));
	for (unsigned int k = 0; k < 2; k++) {
		const u64 *g = &f->copy[2 * z + k];

		put_num(o, k ? "sector_b" : "sector_a", remap_found_sector(l->sp, f, z, k));
		if (!f->bytes[2 * z + k])
			put_str(o, k ? "b" : "a", "unreadable");
		else if (!*g)
			put_str(o, k ? "b" : "a", "not valid");
		else
			put_num(o, k ? "b" : "a", *g);
	}
	return o;
}

struct dumping {
	const struct remap_spare *sp;
	const struct remap_table *t;
};

static struct json_object *dump_row(const void *arg, size_t i)
{
	const struct dumping *d = arg;

	return describe_slot(d->sp, &d->t->slot[i]);
}

static void out_dump(const struct args *a, struct json_object *o, const struct remap_spare *sp,
		     const struct remap_blocks *b, const struct remap_table *t)
{
	static const struct field fields[] = {
		{ "device", "Device" },
		{ "device_sectors", "Sectors now" },
		{ "uuid", "UUID" },
		{ "label", "Label" },
		{ "version", "Format version" },
		{ "generation", "Generation" },
		{ "created", "Created" },
		{ "block_size", "Block size" },
		{ "sector_size", "Sector size" },
		{ "data_sectors", "Data sectors" },
		{ "spare_sectors", "Spare sectors" },
		{ "zone_sectors", "Zone sectors" },
		{ "tables", "Table blocks" },
		{ "tables_used", "Table blocks used" },
		{ "compat", "Compat" },
		{ "ro_compat", "Ro-compat" },
		{ "incompat", "Incompat" },
		{ "data_wwn", "Data WWN" },
		{ "data_serial", "Data serial" },
		{ "data_partuuid", "Data partition UUID" },
		{ "data_fsuuid", "Data file system UUID" },
		{ "slots_total", "Slots" },
		{ "slots_used", "Slots used" },
		{ "slots_bad", "Slots bad" },
		{ "lost_sectors", "Lost sectors" },
		{ "lost_tables", "Table blocks lost" },
	};
	static const struct field zones[] = {
		{ "index", "ZONE" },
		{ "sector", "SECTOR" },
	};
	static const struct field bands[] = {
		{ "first_slot", "FIRST-SLOT" },
		{ "slots", "SLOTS" },
		{ "first_table", "FIRST-TABLE" },
		{ "tables", "TABLES" },
		{ "zone_sectors", "ZONE-SECTORS" },
		{ "zones", "ZONES" },
	};
	static const struct field columns[] = {
		{ "slot", "SLOT" },
		{ "slot_sector", "SLOT-SECTOR" },
		{ "state", "STATE" },
		{ "sector", "SECTOR" },
		{ "count", "COUNT" },
		{ "seq", "SEQ" },
		{ "lost", "LOST" },
	};
	static const struct field copies[] = {
		{ "block", "BLOCK" },
		{ "zone", "ZONE" },
		{ "state", "STATE" },
		{ "sector_a", "SECTOR-A" },
		{ "a", "GENERATION-A" },
		{ "sector_b", "SECTOR-B" },
		{ "b", "GENERATION-B" },
	};
	const struct listing listing = { .sp = sp, .b = b };
	const struct dumping dumping = { .sp = sp, .t = t };
	const struct rows blocks = {
		.n = b->n * REMAP_ZONES, .row = copy_row, .arg = &listing,
	};
	const struct rows entries = { .n = t->n, .row = dump_row, .arg = &dumping };

	if (out_rows_json(a, o, "entries", &entries))
		return;
	text_fields(o, FIELDS(fields));
	puts("");
	text_table(json_object_object_get(o, "zones"), FIELDS(zones));
	puts("");
	if (sp->super.grown) {
		text_table(json_object_object_get(o, "bands"), FIELDS(bands));
		puts("");
	}
	text_rows(&blocks, FIELDS(copies));
	if (t->n)
		puts("");
	text_rows(&entries, FIELDS(columns));
}

int cmd_dump(const struct args *a)
{
	_cleanup_store_ struct remap_store st = { .fd = -1 };
	_cleanup_store_progress_ struct store_progress p = { .args = a };
	struct copies supers = { .list = json_object_new_array() };
	struct remap_table t = { .n = 0 };
	struct remap_blocks b = { .n = 0 };
	struct remap_verdict v;
	struct json_object *o;
	struct remap_spare sp;
	struct remap_err err;
	int status = EXIT_GOOD;

	supers.sp = &sp;
	if (remap_store_open(&st, a->spare, false, &err)) {
		status = problem_err(&err);
		goto out;
	}
	progress_of_store(&p, a, &st);
	if (remap_spare_find(&st, a->search, &sp, &err) ||
	    remap_spare_walk(&st, &sp, describe_supers, &supers, &err) < 0 ||
	    remap_spare_blocks(&st, &sp, &v, &b, &err) || remap_spare_table(&st, &sp, &t, &err)) {
		status = problem_err(&err);
		goto out;
	}
	o = describe_spare(&st, &sp);
	put_num(o, "slots_used", t.used);
	put_num(o, "slots_bad", t.bad);
	put_num(o, "lost_sectors", t.lost_sectors);
	put_num(o, "lost_tables", t.lost_tables);
	json_object_object_add(o, "supers", json_object_get(supers.list));
	if (a->json)
		json_object_object_add(o, "table_blocks", describe_tables(&sp, &b));
	out_dump(a, o, &sp, &b, &t);
	json_object_put(o);
	if (t.lost_tables)
		status = problem("%s: %u table blocks have no valid copy left (import --table "
				 "restores them from what export has saved)", a->spare,
				 t.lost_tables);
out:
	json_object_put(supers.list);
	remap_blocks_free(&b);
	remap_table_free(&t);
	return status;
}

/* ---- scan ---- */

static void describe_use(struct json_object *o, const struct remap_dev *dev,
			 const struct remap_super *s, const struct remap_target *list, size_t n)
{
	const struct remap_target *t = NULL;
	struct remap_dev data;
	char path[PATH_MAX];

	for (size_t i = 0; i < n; i++)
		if (list[i].spare == dev->rdev)
			t = &list[i];
	put_bool(o, "active", t);
	put_str(o, "name", t ? t->name : NULL);
	if (t)
		remap_dev_path(t->data, path, sizeof(path));
	else if (s && !remap_dev_find(s, dev->rdev, &data, NULL))
		snprintf(path, sizeof(path), "%s", data.path);
	else
		*path = 0;
	put_str(o, "data_device", *path ? path : NULL);
}

/* One row, or NULL if there is nothing of ours on the device. */
static struct json_object *scan_device(const struct args *a, const struct remap_dev *dev,
				       const struct remap_target *list, size_t n)
{
	static const char *const unknown[] = {
		"uuid", "label", "size_sectors", "slots_total", "slots_used",
	};
	_cleanup_store_ struct remap_store st = { .fd = -1 };
	_cleanup_store_progress_ struct store_progress p = { .args = a };
	char uuid[REMAP_UUID_STR];
	struct json_object *o;
	struct remap_table t;
	struct remap_spare sp;
	struct remap_err err;
	u32 used = 0;
	int r;

	if (remap_store_open(&st, dev->path, false, NULL))
		return NULL;
	progress_of_store(&p, a, &st);
	r = remap_spare_find(&st, a->search, &sp, &err);
	if (r && !remap_spare_present(&st))
		return NULL;
	o = json_object_new_object();
	put_str(o, "device", dev->path);
	if (!r) {
		remap_uuid_str(sp.super.uuid, uuid);
		put_str(o, "uuid", uuid);
		put_str(o, "label", sp.super.label);
		put_num(o, "size_sectors", sp.super.data_sectors);
		put_num(o, "slots_total", sp.layout.slots);
		if (sp.super.spare_sectors > st.sectors) {
			r = remap_fail(&err, -ENOSPC, "%s: is smaller than it was "
				       "(restore its size)", dev->path);
		} else {
			r = remap_spare_table(&st, &sp, &t, &err);
			used = t.used;
			remap_table_free(&t);
		}
		if (r)
			put_str(o, "slots_used", NULL);
		else
			put_num(o, "slots_used", used);
		describe_use(o, dev, &sp.super, list, n);
	} else {
		for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
			put_str(o, unknown[i], NULL);
		describe_use(o, dev, NULL, list, n);
	}
	put_str(o, "problem", r ? err.text : NULL);
	return o;
}

struct scanning {
	const struct args *args;
	struct remap_target *active;
	size_t active_n;
	struct json_object *rows;
	int status;
};

static void scan_one(void *arg, const struct remap_dev *dev)
{
	struct scanning *s = arg;
	struct json_object *o = scan_device(s->args, dev, s->active, s->active_n), *p;

	if (!o)
		return;
	json_object_array_add(s->rows, o);
	if (json_object_object_get_ex(o, "problem", &p) && p)
		s->status = problem("%s", json_object_get_string(p));
}

int cmd_scan(const struct args *a)
{
	static const struct field columns[] = {
		{ "device", "DEVICE" },
		{ "uuid", "UUID" },
		{ "size_sectors", "DATA-SECTORS" },
		{ "slots_total", "SLOTS" },
		{ "slots_used", "USED" },
		{ "active", "ACTIVE" },
		{ "name", "NAME" },
		{ "data_device", "DATA" },
		{ "label", "LABEL" },
	};
	_cleanup_json_ struct json_object *rows = json_object_new_array();
	_cleanup_free_ struct remap_target *active = NULL;
	struct scanning s = { .args = a, .rows = rows, .status = EXIT_GOOD };
	struct remap_err err;

	/* who may not read the devices must not be told that there is nothing on them */
	if (geteuid())
		return problem("scan: not permitted to read all devices (run as root)");
	/* a kernel without device-mapper has no active ones, but may have spares */
	if (remap_dm_list(&active, &s.active_n, NULL, NULL, NULL))
		s.active_n = 0;
	s.active = active;
	if (remap_dev_each(scan_one, &s, &err))
		return problem_err(&err);
	out_table(a, rows, FIELDS(columns));
	return s.status;
}
