// SPDX-License-Identifier: GPL-2.0-only
/*
 * The commands that work on active devices: start and stop them, ask, and tell. Decides what may
 * be started; the words for the kernel are in user/lib/dm.c.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/sysmacros.h>
#include "dm.h"
#include "remapctl.h"
#include "spare.h"
#include "surface.h"
#include "text.h"

#define DEV_MAPPER	"/dev/mapper/"
#define MAX_PARAMS	1024

const char *device_name(const char *arg)
{
	return strncmp(arg, DEV_MAPPER, strlen(DEV_MAPPER)) ? arg : arg + strlen(DEV_MAPPER);
}

/* ---- start ---- */

enum { KEY_VERIFY, KEY_BURST, KEY_WINDOW, KEY_FORCE, KEY_SPARE_SIZE, KEY_READ_ERROR, KEYS };

/*
 * The options for the kernel, checked here so that a mistake is named before anything is done.
 * Return: false, with the usage error told.
 */
static bool take_options(const struct args *a, char *words, size_t size, unsigned int *n,
			 bool *spare_size)
{
	static const struct {
		const char *key;
		u64 min, max;
	} known[] = {
		[KEY_VERIFY] = { "verify", 0, 1 },
		[KEY_BURST] = { "burst", 0, UINT32_MAX },
		[KEY_WINDOW] = { "window", 1, 86400 },
		[KEY_FORCE] = { "force", 0, 1 },
		[KEY_SPARE_SIZE] = { "spare_size", 1, INT64_MAX },
		[KEY_READ_ERROR] = { "on_read_error", 0, 0 },	/* takes words */
	};
	unsigned int given = 0;
	size_t at = 0;

	*words = 0;
	*n = 0;
	for (unsigned int i = 0; i < a->options; i++) {
		const char *value = strchr(a->option[i], '=');
		size_t k, len = value ? (size_t)(value - a->option[i]) : 0;
		uint64_t number;

		for (k = 0; k < KEYS; k++)
			if (len == strlen(known[k].key) &&
			    !strncmp(a->option[i], known[k].key, len))
				break;
		if (!value || k == KEYS) {
			usage_error(a, "--option %s: not one of verify=, on_read_error=, burst=, "
				    "window=, force=, spare_size=", a->option[i]);
			return false;
		}
		if (given & 1U << k) {
			usage_error(a, "--option %s given twice", known[k].key);
			return false;
		}
		given |= 1U << k;
		if (k == KEY_READ_ERROR) {
			if (strcmp(value + 1, "relocate") && strcmp(value + 1, "pass")) {
				usage_error(a, "--option %s: not relocate or pass", a->option[i]);
				return false;
			}
			at += (size_t)snprintf(words + at, size - at, " on_read_error %s",
					       value + 1);
			*n += 2;
			continue;
		}
		if (!remap_parse_u64(value + 1, &number) || number < known[k].min ||
		    number > known[k].max) {
			usage_error(a, "--option %s: not a number from %llu to %llu", a->option[i],
				    (unsigned long long)known[k].min,
				    (unsigned long long)known[k].max);
			return false;
		}
		*spare_size |= k == KEY_SPARE_SIZE;
		at += (size_t)snprintf(words + at, size - at, " %s %" PRIu64, known[k].key, number);
		*n += 2;
	}
	return true;
}

static bool check_name(const struct args *a, const char *name)
{
	if (remap_dm_name_ok(name))
		return true;
	usage_error(a, "%.140s: not a device name (letters, digits and #+-.:=@_, at most %d)", name,
		    REMAP_DM_NAME_LEN - 1);
	return false;
}

/* Is the name still free? */
static int check_free_name(const char *name, struct remap_err *err)
{
	int r = remap_dm_exists(name, err);

	if (r > 0)
		return remap_fail(err, -EEXIST, "%s: a device of this name exists (stop it, or "
				  "take another name)", name);
	return r;
}

/*
 * Is @data what was recorded? *refresh: what is recorded should become what is known now, since
 * nothing was recorded, by force, or because the user says that it is the same disk.
 */
static int check_identity(const struct args *a, const struct remap_spare *sp,
			  const struct remap_dev *data, struct remap_identity *id, bool *refresh,
			  struct remap_err *err)
{
	struct remap_identity want;
	char was[REMAP_IDENTITY_STR], is[REMAP_IDENTITY_STR];
	const char *which;

	if (data->sectors != sp->super.data_sectors)
		return remap_fail(err, -EINVAL, "%s: has %llu sectors, but the spare was formatted "
				  "for a disk with %llu (is it the right one?)", data->path,
				  (unsigned long long)data->sectors,
				  (unsigned long long)sp->super.data_sectors);
	remap_identity_from_super(&want, &sp->super);
	remap_dev_identity(data, id);
	remap_identity_str(&want, was, sizeof(was));
	remap_identity_str(id, is, sizeof(is));
	if (a->new_identity) {
		if (!remap_identity_shares(&want, id) && !a->force)
			return remap_fail(err, -EINVAL, "%s: nothing says that it is the disk that "
					  "the spare was formatted for: recorded %s; found %s "
					  "(--force takes it)", data->path, was, is);
		*refresh = !remap_identity_equal(&want, id) && !remap_identity_empty(id);
		return 0;
	}
	switch (remap_identity_match(&want, id, &which)) {
	case REMAP_MATCH_NO:
		return remap_fail(err, -EINVAL, "%s: is not the disk that the spare was formatted "
				  "for, its %s differs: recorded %s; found %s (--new-identity "
				  "takes it, if it was only moved to another adapter)",
				  data->path, which, was, is);
	case REMAP_MATCH_FS_DIFFERS:
		if (!a->force)
			return remap_fail(err, -EINVAL, "%s: may not be the disk that the spare "
					  "was formatted for: recorded %s; found %s (--force takes "
					  "it)",
					  data->path, was, is);
		*refresh = true;
		return 0;
	case REMAP_MATCH_NONE:
		if (!remap_identity_empty(&want) && !a->force)
			return remap_fail(err, -EINVAL, "%s: tells nothing of what was recorded, "
					  "so it may not be the disk that the spare was formatted "
					  "for: recorded %s (--force takes it)", data->path, was);
		*refresh = remap_identity_empty(&want) && !remap_identity_empty(id);
		return 0;
	case REMAP_MATCH_YES:
		return 0;
	}
	return 0;
}

static int refresh_identity(const struct remap_dev *spare, struct remap_spare *sp,
			    const struct remap_identity *id, struct remap_err *err)
{
	struct remap_super next = sp->super;
	struct remap_store st;
	int r = open_store(spare, true, &st, err);

	if (r)
		return r;
	remap_identity_to_super(&next, id);
	r = remap_spare_update(&st, sp, &next, err);
	remap_store_close(&st);
	return r;
}

/*
 * Who makes something else of a spare leaves most of the five replicas alone; mkswap and a table
 * of partitions touch no more than one copy of one superblock. So a signature in a place that holds
 * nothing of ours is somebody else's, whose data would be overwritten.
 */
static int check_not_reused(struct remap_store *st, const struct remap_spare *sp,
			    struct remap_err *err)
{
	struct remap_signature sig;
	char where[32] = "";
	struct remap_err why;
	int r = remap_dev_foreign(st, sp, &sig, &why);

	/* the spare may have bad sectors itself, and four zones of them are no reason to stop */
	if (r < 0)
		warning_err(&why);
	if (r <= 0)
		return 0;
	if (sig.at != REMAP_ANYWHERE)
		snprintf(where, sizeof(where), " at byte %" PRIu64, (uint64_t)sig.at);
	return remap_fail(err, -EEXIST, "%s: is a spare, but now carries %s%s (--force wipes its "
			  "signature, remapctl format begins anew)", st->name, sig.what, where);
}

/* --force: what check_not_reused() would complain of goes, lest the next start complain again. */
static int wipe_foreign(const struct remap_dev *spare, const struct remap_spare *sp,
			struct remap_err *err)
{
	struct remap_signature sig;
	struct remap_store st;
	struct remap_err why;
	int r;

	if (spare->read_only || (sp->super.ro_compat & ~REMAP_RO_COMPAT_KNOWN))
		return 0;
	r = open_store(spare, true, &st, err);
	if (r)
		return r;
	if (remap_dev_foreign(&st, sp, &sig, NULL) > 0 && remap_dev_wipe(&st, sp, &why))
		warning_err(&why);
	remap_store_close(&st);
	return 0;
}

static int read_spare(const struct remap_dev *spare, bool force, struct remap_spare *sp,
		      struct remap_err *err)
{
	struct remap_store st;
	int r = open_store(spare, false, &st, err);

	if (r)
		return r;
	r = remap_spare_find(&st, false, sp, err);
	if (!r && sp->super.spare_sectors > st.sectors)
		r = remap_fail(err, -ENOSPC, "%s: has %llu sectors, %llu when it was formatted "
			       "(restore its size)", spare->path, (unsigned long long)st.sectors,
			       (unsigned long long)sp->super.spare_sectors);
	if (!r && !force)
		r = check_not_reused(&st, sp, err);
	remap_store_close(&st);
	return r;
}

/* All that is checked before anything is changed. */
static int prepare(const struct args *a, const char *name, struct remap_dev *data,
		   struct remap_dev *spare, struct remap_spare *sp, struct remap_identity *id,
		   bool *refresh, struct remap_err *err)
{
	struct remap_target t;
	int r = remap_dev_open(a->spare, spare, err);

	if (r)
		return r;
	if (remap_dm_find_spare(spare->rdev, &t, NULL) == 1)
		return remap_fail(err, -EBUSY, "%s: already active as %s (remapctl stop %s ends "
				  "that)",
				  a->spare, t.name, t.name);
	r = remap_dev_free_for_use(spare, err);
	if (!r)
		r = read_spare(spare, a->force, sp, err);
	if (!r)
		r = a->data ? remap_dev_open(a->data, data, err) :
			      remap_dev_find(&sp->super, spare->rdev, data, err);
	if (!r)
		r = check_pair(data, spare, a->force, err);
	if (!r)
		r = check_identity(a, sp, data, id, refresh, err);
	if (!r && data->logical > sp->super.sector_size)
		r = remap_fail(err, -EINVAL, "%s: has logical sectors of %u bytes, the spare was "
			       "formatted for %u", data->path, data->logical,
			       sp->super.sector_size);
	if (!r)
		r = remap_dm_ready(err);
	if (!r)
		r = check_free_name(name, err);
	return r;
}

/* @result: what format has to say, or NULL; then what was started, as well */
static int start(const struct args *a, struct json_object **result)
{
	const char *name = device_name(a->pos[0]);
	char words[256], params[MAX_PARAMS], uuid[REMAP_UUID_STR], dm_uuid[REMAP_DM_UUID_LEN];
	bool spare_size = false, refresh = false;
	struct remap_dev data, spare;
	struct remap_identity id;
	struct remap_spare sp;
	struct remap_err err;
	unsigned int n;
	int at;

	if (!check_name(a, name) || !take_options(a, words, sizeof(words), &n, &spare_size))
		return EXIT_USAGE;
	if (prepare(a, name, &data, &spare, &sp, &id, &refresh, &err))
		return problem_err(&err);
	if (!*result)	/* or format has said so */
		warn_same_disk(&data, &spare);
	if (data.read_only)
		warning("%s is read-only, so %s is, too", data.path, name);
	else if (spare.read_only)
		warning("%s is read-only: nothing can be moved, and what is on it not be written",
			spare.path);
	/* what cannot be noted now can be the next time */
	refresh = refresh && !spare.read_only;
	if (a->force && !spare.read_only && wipe_foreign(&spare, &sp, &err))
		return problem_err(&err);
	if (refresh && refresh_identity(&spare, &sp, &id, &err))
		return problem_err(&err);

	/* the kernel looks for the metadata where they are on a spare of this size */
	if (!spare_size && spare.sectors != remap_first_sectors(&sp.super)) {
		size_t len = strlen(words);

		snprintf(words + len, sizeof(words) - len, " spare_size %" PRIu64,
			 remap_first_sectors(&sp.super));
		n += 2;
	}
	at = snprintf(params, sizeof(params), "%u:%u 0 %u:%u 0", major(data.rdev), minor(data.rdev),
		      major(spare.rdev), minor(spare.rdev));
	if (n)
		snprintf(params + at, sizeof(params) - (size_t)at, " %u%s", n, words);
	remap_uuid_str(sp.super.uuid, uuid);
	snprintf(dm_uuid, sizeof(dm_uuid), REMAP_DM_UUID_PREFIX "%s", uuid);
	if (remap_dm_create(name, dm_uuid, sp.super.data_sectors, params, data.read_only, &err))
		return problem_err(&err);

	if (!*result)
		*result = json_object_new_object();
	snprintf(params, sizeof(params), DEV_MAPPER "%s", name);
	put_str(*result, "name", name);
	put_str(*result, "path", params);
	put_str(*result, "uuid", uuid);
	put_str(*result, "data_device", data.path);
	put_str(*result, "spare_device", spare.path);
	return EXIT_GOOD;
}

static void out_started(const struct args *a, struct json_object *o)
{
	if (!out_json(a, o))
		puts(json_object_get_string(json_object_object_get(o, "path")));
}

int cmd_start(const struct args *a)
{
	_cleanup_json_ struct json_object *o = NULL;
	int status = start(a, &o);

	if (status == EXIT_GOOD)
		out_started(a, o);
	return status;
}

int cmd_create(const struct args *a)
{
	_cleanup_json_ struct json_object *o = NULL;
	bool spare_size = false;
	int status;
	struct remap_err err;
	char words[256];
	unsigned int n;

	/* what start would stumble over should not cost the spare its contents */
	if (!check_name(a, device_name(a->pos[0])) ||
	    !take_options(a, words, sizeof(words), &n, &spare_size))
		return EXIT_USAGE;
	if (spare_size)
		return usage_error(a, "--option spare_size: not with create, which formats the "
				   "spare as large as it is");
	if (remap_dm_ready(&err) || check_free_name(device_name(a->pos[0]), &err))
		return problem_err(&err);
	status = format_spare(a, &o);
	if (status == EXIT_GOOD)
		status = start(a, &o);
	if (status == EXIT_GOOD)
		out_started(a, o);
	return status;
}

/*
 * Somebody may have run mkfs on the device since it was started. Where a file system's UUID is
 * all that is recorded of the disk, record the new one: now we know that it is the same disk,
 * the next start would not. A failure costs that start a --force.
 */
static void note_file_system(const struct remap_target *t)
{
	struct remap_identity was, is;
	struct remap_dev data, spare;
	char path[PATH_MAX];
	struct remap_spare sp;
	struct remap_err err;
	const char *which;

	remap_dev_path(t->data, path, sizeof(path));
	if (!t->data || !t->spare || remap_dev_open(path, &data, &err))
		return;
	remap_dev_path(t->spare, path, sizeof(path));
	if (remap_dev_open(path, &spare, &err) || read_spare(&spare, true, &sp, &err))
		return;
	remap_identity_from_super(&was, &sp.super);
	remap_dev_identity(&data, &is);
	if (remap_identity_strong(&was) || !*is.fsuuid ||
	    remap_identity_match(&was, &is, &which) == REMAP_MATCH_YES)
		return;
	if (refresh_identity(&spare, &sp, &is, &err))
		warning("%s", err.text);
}

int cmd_stop(const struct args *a)
{
	_cleanup_json_ struct json_object *o = json_object_new_object();
	struct remap_target t;
	struct remap_err err;

	if (remap_dm_get(device_name(a->pos[0]), &t, &err) || remap_dm_remove(&t, &err))
		return problem_err(&err);
	if (t.state == REMAP_ACTIVE)
		note_file_system(&t);
	put_str(o, "name", t.name);
	put_bool(o, "stopped", true);
	out_json(a, o);
	return EXIT_GOOD;
}

/* ---- status, list ---- */

static void put_device(struct json_object *o, const char *key, dev_t rdev)
{
	char path[PATH_MAX];

	remap_dev_path(rdev, path, sizeof(path));
	put_str(o, key, rdev ? path : NULL);
}

/*
 * Nothing here may touch the spare, which may be dead and hang: so no label, which is only there.
 */
struct json_object *describe_target(const struct remap_target *t)
{
	static const char *const key[REMAP_ST_WORDS] = {
		[REMAP_ST_BLOCK_SIZE] = "block_size",
		[REMAP_ST_SLOTS_TOTAL] = "slots_total",
		[REMAP_ST_SLOTS_USED] = "slots_used",
		[REMAP_ST_SLOTS_BAD] = "slots_bad",
		[REMAP_ST_LOST_SECTORS] = "lost_sectors",
		[REMAP_ST_REPLICAS_OK] = "replicas_ok",
		[REMAP_ST_REPLICAS_TOTAL] = "replicas_total",
		[REMAP_ST_RELOCATIONS] = "relocations",
		[REMAP_ST_READS_RECOVERED] = "reads_recovered",
		[REMAP_ST_IO_ERRORS] = "io_errors",
		[REMAP_ST_QUEUED] = "queued",
		[REMAP_ST_STUCK] = "stuck",
	};
	struct json_object *o = json_object_new_object();
	const size_t prefix = strlen(REMAP_DM_UUID_PREFIX);

	put_str(o, "name", t->name);
	put_str(o, "uuid",
		strncmp(t->uuid, REMAP_DM_UUID_PREFIX, prefix) ? NULL : t->uuid + prefix);
	put_str(o, "state", remap_state_name(t->state));
	put_bool(o, "suspended", t->suspended);
	put_device(o, "data_device", t->data);
	put_device(o, "spare_device", t->spare);
	put_num(o, "size_sectors", t->sectors);
	for (int i = REMAP_ST_STATE + 1; i < REMAP_ST_WORDS; i++)
		put_num(o, key[i], t->word[i]);
	return o;
}

const struct remap_agent_target *agent_target(const struct remap_agent_status *s,
					      const struct remap_target *t)
{
	const size_t prefix = strlen(REMAP_DM_UUID_PREFIX);

	/* a name may have been another disk's a moment ago */
	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->target[i].name, t->name) &&
		    (strncmp(t->uuid, REMAP_DM_UUID_PREFIX, prefix) ||
		     !strcmp(s->target[i].uuid, t->uuid + prefix)))
			return &s->target[i];
	return NULL;
}

/* What the agent is reading now. How long that takes is taken from how long it took so far. */
static void put_scrub(struct json_object *o, const struct remap_target *t,
		      const struct remap_agent_status *s)
{
	const struct remap_agent_target *of = agent_target(s, t);
	struct json_object *scrub = NULL;
	u64 read, took;

	if (of && of->scrubbing && t->sectors) {
		scrub = json_object_new_object();
		read = of->scrub_at > of->scrub_began_at ? of->scrub_at - of->scrub_began_at : 0;
		took = s->time > of->scrub_began ? s->time - of->scrub_began : 0;
		put_num(scrub, "sector", of->scrub_at);
		put_num(scrub, "began", of->scrub_began);
		if (read && took && of->scrub_began && of->scrub_at <= t->sectors)
			put_num(scrub, "seconds_left", (u64)((double)(t->sectors - of->scrub_at) *
							     (double)took / (double)read));
		else
			put_str(scrub, "seconds_left", NULL);
	}
	json_object_object_add(o, "scrub", scrub);
	if (of && of->scrubbed)
		put_num(o, "scrubbed", of->scrubbed);
	else
		put_str(o, "scrubbed", NULL);
}

static void out_scrubs(struct json_object *rows)
{
	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		struct json_object *o = json_object_array_get_idx(rows, i);
		struct json_object *scrub = get(o, "scrub"), *left = get(scrub, "seconds_left");
		u64 at = get_num(scrub, "sector"), size = get_num(o, "size_sectors");
		char text[32];

		if (!scrub)
			continue;
		printf("%s: remap-agent reads the surface, is at sector %" PRIu64 " of %" PRIu64
		       ", %.0f %%", get_str(o, "name"), at, size,
		       (double)at * 100 / (double)size);
		if (left)
			printf(", %s left", progress_time(json_object_get_uint64(left), text,
							  sizeof(text)));
		puts("");
	}
}

static void warn_of_skipped(void *arg, const struct remap_err *why)
{
	(void)arg;
	warning_err(why);
}

int cmd_status(const struct args *a)
{
	static const struct field columns[] = {
		{ "name", "NAME" },
		{ "state", "STATE" },
		{ "data_device", "DATA" },
		{ "spare_device", "SPARE" },
		{ "block_size", "BLOCK" },
		{ "slots_total", "SLOTS" },
		{ "slots_used", "USED" },
		{ "slots_bad", "BAD" },
		{ "lost_sectors", "LOST" },
		{ "replicas_ok", "REPLICAS" },
		{ "relocations", "RELOCATED" },
		{ "reads_recovered", "RECOVERED" },
		{ "io_errors", "ERRORS" },
	};
	_cleanup_json_ struct json_object *rows = json_object_new_array();
	_cleanup_free_ struct remap_target *list = NULL;
	struct remap_agent_status agent = { .n = 0 };
	struct remap_target one;
	struct remap_err err;
	size_t n = 1;

	if (a->positions ? remap_dm_get(device_name(a->pos[0]), &one, &err) :
			   remap_dm_list(&list, &n, warn_of_skipped, NULL, &err))
		return problem_err(&err);
	/* of an agent that has ended nothing is under way */
	if (remap_agent_alive(NULL))
		remap_agent_status(NULL, &agent, NULL);
	for (size_t i = 0; i < n; i++) {
		const struct remap_target *t = a->positions ? &one : &list[i];
		struct json_object *o = describe_target(t);

		put_scrub(o, t, &agent);
		json_object_array_add(rows, o);
	}
	remap_agent_status_free(&agent);
	out_table(a, rows, FIELDS(columns));
	if (!a->json)
		out_scrubs(rows);
	return EXIT_GOOD;
}

static int add_block(void *arg, u64 sector, u64 count, u64 slot, u64 lost)
{
	struct remaps *l = arg;

	if (l->n == l->room) {
		size_t room = l->room ? 2 * l->room : 256;
		struct remapped *more = realloc(l->block, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		l->block = more;
		l->room = room;
	}
	l->block[l->n++] = (struct remapped){ sector, count, slot, lost };
	return 0;
}

/* What a bit of lost stands for, in sectors: the device shows it as its logical sector. */
static u32 lost_unit(const struct remap_target *t)
{
	char path[128];
	uint64_t bytes;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/queue/logical_block_size",
		 major(t->rdev), minor(t->rdev));
	return remap_read_u64(path, &bytes) || bytes < 512 ? 1 : (u32)(bytes >> 9);
}

int list_blocks(const struct remap_target *t, struct remaps *l, struct remap_err *err)
{
	int r;

	memset(l, 0, sizeof(*l));
	l->unit = lost_unit(t);
	r = remap_dm_each_remap(t->name, 0, add_block, l, err);
	return r == -ENOMEM ? remap_fail_errno(err, r, "%s", t->name) : r;
}

int cmd_list(const struct args *a)
{
	static const struct field columns[] = {
		{ "sector", "SECTOR" },
		{ "count", "COUNT" },
		{ "slot", "SLOT" },
		{ "lost", "LOST" },
	};
	struct remaps l;
	struct rows rows = { .row = list_row, .arg = &l };
	struct remap_target t;
	struct remap_err err;
	int r;

	if (remap_dm_get(device_name(a->pos[0]), &t, &err))
		return problem_err(&err);
	r = list_blocks(&t, &l, &err);
	rows.n = l.n;
	if (!r && !out_rows_json(a, NULL, NULL, &rows))
		text_rows(&rows, FIELDS(columns));
	free(l.block);
	return !r ? EXIT_GOOD : problem_err(&err);
}

/* ---- remap, unmap ---- */

struct range {
	u64 sector, count;
};

/* Return: EXIT_GOOD, or the error that was told */
static int parse_ranges(const struct args *a, struct range *r)
{
	for (unsigned int i = 0; i + 1 < a->positions; i++) {
		const char *text = a->pos[i + 1], *plus = strchr(text, '+');
		char first[32];
		size_t len = plus ? (size_t)(plus - text) : strlen(text);

		r[i].count = 1;
		if (len < sizeof(first)) {
			memcpy(first, text, len);
			first[len] = 0;
		}
		if (len >= sizeof(first) || !remap_parse_u64(first, &r[i].sector) ||
		    (plus && !remap_parse_u64(plus + 1, &r[i].count)) || !r[i].count)
			return usage_error(a, "%.100s: not SECTOR or SECTOR+COUNT", text);
	}
	return EXIT_GOOD;
}

/* What the worker of the target takes at once, in blocks: to ask for less would cost rounds. */
#define BATCH		256
#define PIECES		256		/* of all: to unmap a whole disk of terabytes is cheap */

static u64 blocks_of(const struct remap_target *t, u64 sector, u64 count)
{
	const u64 block = t->word[REMAP_ST_BLOCK_SIZE] >> 9;

	return (sector + count - 1) / block - sector / block + 1;
}

int move_sectors(const struct remap_target *t, const char *message, u64 sector, u64 count,
		 struct progress *p, u64 *done, struct remap_err *err)
{
	const u64 block = t->word[REMAP_ST_BLOCK_SIZE] >> 9;
	const u64 piece = (p->total / (BATCH * PIECES) + 1) * BATCH;
	const u64 end = sector + count;
	struct remap_err why;
	int ret = 0;

	for (u64 next; sector < end; sector = next) {
		int r;

		progress_at(p, *done);
		next = (sector / block + piece) * block;
		if (next > end)
			next = end;
		r = remap_dm_message(t->name, NULL, &why, "%s %" PRIu64 " %" PRIu64, message,
				     sector, next - sector);
		*done += blocks_of(t, sector, next - sector);
		if (r && !ret) {
			ret = r;
			*err = why;
		}
		/* a block could not be read, or not be moved: that is no reason to leave others */
		if (r && r != -EIO)
			break;
	}
	progress_at(p, *done);
	return ret;
}

struct counting {
	struct range range;
	u64 blocks;
};

static int count_row(void *arg, u64 sector, u64 count, u64 slot, u64 lost)
{
	struct counting *c = arg;

	(void)slot;
	(void)lost;
	if (sector >= c->range.sector + c->range.count)
		return 1;
	c->blocks += sector + count > c->range.sector;
	return 0;
}

/* How many blocks of a range are on the spare? */
static int count_remapped(const char *name, const struct range *r, u64 *blocks,
			  struct remap_err *err)
{
	struct counting c = { .range = *r };
	int ret = remap_dm_each_remap(name, r->sector, count_row, &c, err);

	*blocks = c.blocks;
	return ret < 0 ? ret : 0;
}

static int move_range(const struct args *a, const struct remap_target *t, const struct range *r,
		      bool back, struct progress *p, u64 *done, struct json_object *rows)
{
	struct json_object *o = json_object_new_object();
	int status = EXIT_GOOD;
	struct remap_err err;
	u64 before = 0, after = 0;

	json_object_array_add(rows, o);
	put_num(o, "sector", r->sector);
	put_num(o, "count", r->count);
	if (count_remapped(t->name, r, &before, &err) ||
	    move_sectors(t, a->command, r->sector, r->count, p, done, &err))
		status = problem_err(&err);
	/* also after an error: some blocks may have been moved */
	if (count_remapped(t->name, r, &after, &err))
		return status == EXIT_GOOD ? problem_err(&err) : status;
	put_num(o, "moved", back ? before > after ? before - after : 0 :
				   after > before ? after - before : 0);
	put_num(o, "remapped", after);
	if (back && after && status == EXIT_GOOD)
		status = problem("%s: %" PRIu64 " blocks of sectors %" PRIu64 "+%" PRIu64 " stay "
				 "on the spare, having lost sectors (write these "
				 "first)", t->name, after,
				 r->sector, r->count);
	return status;
}

static int move(const struct args *a, bool back)
{
	static const struct field columns[] = {
		{ "sector", "SECTOR" },
		{ "count", "COUNT" },
		{ "moved", "MOVED" },
		{ "remapped", "REMAPPED" },
	};
	_cleanup_json_ struct json_object *o = json_object_new_object();
	struct json_object *rows = json_object_new_array();
	unsigned int n = a->positions - 1;
	_cleanup_free_ struct range *range = calloc(n, sizeof(*range));
	_cleanup_progress_ struct progress p = { .what = "" };
	int status = EXIT_GOOD;
	u64 all = 0, done = 0;
	struct remap_target t;
	struct remap_err err;

	json_object_object_add(o, "ranges", rows);
	if (!range)
		return problem("out of memory");
	status = parse_ranges(a, range);
	if (status != EXIT_GOOD)
		return status;
	if (remap_dm_get(device_name(a->pos[0]), &t, &err))
		return problem_err(&err);
	for (unsigned int i = 0; i < n; i++)
		if (range[i].sector >= t.sectors || range[i].count > t.sectors - range[i].sector)
			return problem("%s: sectors %s are beyond its end (it has %" PRIu64 " "
				       "sectors of 512 bytes)", t.name, a->pos[i + 1], t.sectors);
	for (unsigned int i = 0; i < n; i++)
		all += blocks_of(&t, range[i].sector, range[i].count);
	progress_begin(&p, a, a->command, all, "blocks");
	for (unsigned int i = 0; i < n; i++) {
		int s = move_range(a, &t, &range[i], back, &p, &done, rows);

		if (s != EXIT_GOOD)
			status = s;
	}
	if (!out_json(a, o))
		text_table(rows, FIELDS(columns));
	return status;
}

int cmd_remap(const struct args *a)
{
	return move(a, false);
}

int cmd_unmap(const struct args *a)
{
	return move(a, true);
}

/* ---- verify, repair, reset ---- */

bool name_or_spare(const struct args *a)
{
	if (!a->positions == !a->spare) {
		usage_error(a, "%s", a->spare ? "NAME and --spare exclude each other" :
			    "NAME or --spare is missing");
		return false;
	}
	if (a->search && !a->spare) {
		usage_error(a, "--search goes with --spare only");
		return false;
	}
	return true;
}

/*
 * What the target says counts. It does not say which blocks it means: these are read from the
 * spare behind its back.
 */
static int verify_target(const struct args *a, const struct remap_target *t, const char *remedy)
{
	static const struct field columns[] = {
		{ "index", "REPLICA" },
		{ "state", "STATE" },
	};
	_cleanup_json_ struct json_object *o = json_object_new_object();
	struct json_object *rows = json_object_new_array();
	_cleanup_store_ struct remap_store st = { .fd = -1 };
	enum remap_replica_state state[REMAP_ZONES];
	_cleanup_store_progress_ struct store_progress reading = { .args = a };
	struct remap_blocks blocks = { .n = 0 };
	struct remap_verdict v;
	struct remap_spare sp;
	struct progress p;
	struct remap_err err;
	unsigned int bad = 0;
	char spare[PATH_MAX];
	int r;

	json_object_object_add(o, "replicas", rows);
	remap_dev_path(t->spare, spare, sizeof(spare));
	progress_begin(&p, a, a->command, 0, "");
	progress_note(&p, "verify: the kernel reads all replicas, and does not say how far it is");
	r = remap_dm_verify(t->name, state, &err);
	progress_end(&p);
	if (!r && a->blocks)
		r = remap_store_open(&st, spare, false, &err);
	if (!r && a->blocks) {
		progress_of_store(&reading, a, &st);
		r = read_blocks(&st, false, &sp, &v, &blocks, &err);
	}
	if (r) {
		remap_blocks_free(&blocks);
		return problem_err(&err);
	}
	for (unsigned int z = 0; z < REMAP_ZONES; z++) {
		struct json_object *row = json_object_new_object();

		put_num(row, "index", z);
		put_str(row, "state", remap_replica_state_name(state[z]));
		json_object_array_add(rows, row);
		bad += state[z] != REMAP_REPLICA_OK;
	}
	if (!a->json)
		text_table(rows, FIELDS(columns));
	if (a->blocks)
		out_blocks(a, o, &sp, &blocks);
	else
		out_json(a, o);
	remap_blocks_free(&blocks);
	return bad ? problem("%s: %u of %u replicas are not ok "
			     "(%s)", t->name, bad, REMAP_ZONES, remedy) :
		     EXIT_GOOD;
}

int cmd_verify(const struct args *a)
{
	struct remap_target t;
	struct remap_err err;

	if (!name_or_spare(a))
		return EXIT_USAGE;
	if (a->spare)
		return verify_spare(a);
	if (remap_dm_get(device_name(a->pos[0]), &t, &err))
		return problem_err(&err);
	return verify_target(a, &t, "remapctl repair rewrites them");
}

int cmd_repair(const struct args *a)
{
	struct remap_target t;
	struct remap_err err;
	struct progress p;
	int r;

	if (!name_or_spare(a))
		return EXIT_USAGE;
	if (a->spare)
		return repair_spare(a);
	if (remap_dm_get(device_name(a->pos[0]), &t, &err))
		return problem_err(&err);
	progress_begin(&p, a, a->command, 0, "");
	progress_note(&p, "repair: the kernel is at it, and does not say how far it is");
	r = remap_dm_message(t.name, NULL, &err, "repair");
	progress_end(&p);
	if (r)
		return problem_err(&err);
	return verify_target(a, &t, "they do not take writes: see the kernel log");
}

int cmd_grow(const struct args *a)
{
	static const struct field fields[] = {
		{ "name", "Name" },
		{ "slots_before", "Slots before" },
		{ "slots_total", "Slots" },
	};
	_cleanup_json_ struct json_object *o = json_object_new_object();
	struct remap_target before, t;
	struct remap_err err;

	if (remap_dm_get(device_name(a->pos[0]), &before, &err) ||
	    remap_dm_message(before.name, NULL, &err, "grow") ||
	    remap_dm_get(before.name, &t, &err))
		return problem_err(&err);
	put_str(o, "name", t.name);
	put_num(o, "slots_before", before.word[REMAP_ST_SLOTS_TOTAL]);
	put_num(o, "slots_total", t.word[REMAP_ST_SLOTS_TOTAL]);
	if (!out_json(a, o))
		text_fields(o, FIELDS(fields));
	return EXIT_GOOD;
}

int cmd_reset(const struct args *a)
{
	_cleanup_json_ struct json_object *o = json_object_new_object();
	struct remap_target t;
	struct remap_err err;

	if (remap_dm_get(device_name(a->pos[0]), &t, &err) ||
	    remap_dm_message(t.name, NULL, &err, "reset") ||
	    remap_dm_get(device_name(a->pos[0]), &t, &err))
		return problem_err(&err);
	put_str(o, "name", t.name);
	put_str(o, "state", remap_state_name(t.state));
	if (!out_json(a, o) && t.state == REMAP_ACTIVE)
		puts(remap_state_name(t.state));
	switch (t.state) {
	case REMAP_ACTIVE:
		return EXIT_GOOD;
	case REMAP_EXHAUSTED:
		return problem("%s: is still exhausted, no slot of its spare is free (remapctl "
			       "unmap frees slots where the disk is well again; where the spare's "
			       "device can be enlarged, remapctl grow uses that)", t.name);
	default:
		return problem("%s: is still %s (see the kernel log)", t.name,
			       remap_state_name(t.state));
	}
}
