// SPDX-License-Identifier: GPL-2.0-only
/*
 * The agent's files for others, read: see agentlog.h. They are written by user/agent/share.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include "agentlog.h"
#include "text.h"

#define VERSION		1
#define LARGEST		(1 << 20)	/* bytes of a status: 64 targets take 20 KiB */
#define TRIES		8		/* to open two files between two renames */

static void cleanup_json(struct json_object **o)
{
	json_object_put(*o);
}

#define _cleanup_json_	__attribute__((cleanup(cleanup_json)))

static int path_of(char path[PATH_MAX], const char *folder, const char *name)
{
	return snprintf(path, PATH_MAX, "%s/%s", folder ?: REMAP_AGENT_RUN, name) < PATH_MAX ?
	       0 : -ENAMETOOLONG;
}

/* ---- values: what is missing, or of another type, leaves things as they are ---- */

static bool get_num(struct json_object *o, const char *key, u64 *value)
{
	struct json_object *v;

	if (!json_object_object_get_ex(o, key, &v) ||
	    !json_object_is_type(v, json_type_int) || json_object_get_int64(v) < 0)
		return false;
	*value = json_object_get_uint64(v);
	return true;
}

static void get_bool(struct json_object *o, const char *key, bool *value)
{
	struct json_object *v;

	if (json_object_object_get_ex(o, key, &v) && json_object_is_type(v, json_type_boolean))
		*value = json_object_get_boolean(v);
}

static void get_str(struct json_object *o, const char *key, char *value, size_t size)
{
	struct json_object *v;

	if (json_object_object_get_ex(o, key, &v) && json_object_is_type(v, json_type_string))
		remap_text_clean(value, size, json_object_get_string(v));
}

static bool ours(struct json_object *o)
{
	u64 version;

	return json_object_is_type(o, json_type_object) && get_num(o, "version", &version) &&
	       version == VERSION;
}

/* ---- events ---- */

static bool parse_event(const char *line, struct remap_agent_event *e)
{
	_cleanup_json_ struct json_object *o = json_tokener_parse(line);
	u64 n;

	*e = (struct remap_agent_event){ .priority = 6 };
	if (!ours(o) || !get_num(o, "time_ms", &e->time_ms))
		return false;
	if (get_num(o, "priority", &n) && n < 8)
		e->priority = (int)n;
	get_str(o, "name", e->name, sizeof(e->name));
	get_str(o, "uuid", e->uuid, sizeof(e->uuid));
	get_str(o, "what", e->what, sizeof(e->what));
	get_str(o, "result", e->result, sizeof(e->result));
	get_str(o, "text", e->text, sizeof(e->text));
	e->has_sectors = get_num(o, "sector", &e->sector) && get_num(o, "sectors", &e->sectors);
	return true;
}

/* @at: from where; result: behind the last whole line. One that is being written has no end yet. */
static int each_line(FILE *f, off_t *at, int (*fn)(void *arg, const struct remap_agent_event *e),
		     void *arg)
{
	struct remap_agent_event e;
	_cleanup_free_ char *line = NULL;
	size_t room = 0;
	ssize_t n;
	int r = 0;

	if (fseeko(f, *at, SEEK_SET))
		return -errno;
	while (!r && (n = getline(&line, &room, f)) > 0 && line[n - 1] == '\n') {
		*at += n;
		if (parse_event(line, &e))
			r = fn(arg, &e);
	}
	return r ?: ferror(f) ? -EIO : 0;
}

static FILE *open_events(const char *folder, const char *name, struct stat *sb, int *r,
			 struct remap_err *err)
{
	char path[PATH_MAX];
	FILE *f = NULL;

	*r = path_of(path, folder, name);
	if (!*r) {
		f = fopen(path, "re");
		if (!f || fstat(fileno(f), sb))
			*r = -errno;
	}
	if (!*r)
		return f;
	remap_fail_errno(err, *r, "%s", path);
	if (f)
		fclose(f);
	return NULL;
}

int remap_agent_events_since(const char *folder, struct remap_agent_cursor *c,
			     int (*fn)(void *arg, const struct remap_agent_event *e), void *arg,
			     struct remap_err *err)
{
	_cleanup_fclose_ FILE *new = NULL, *old = NULL;
	struct stat new_sb, old_sb;
	off_t at = 0;
	int r;

	/* The newer one may be renamed to the older one in between: then that is it. */
	for (int i = 0; i < TRIES; i++) {
		new = open_events(folder, "events", &new_sb, &r, err);
		if (!new && r != -ENOENT)
			return r;
		old = open_events(folder, "events.1", &old_sb, &r, new ? NULL : err);
		if (!old && r != -ENOENT)
			return r;
		if (!new || !old || new_sb.st_ino != old_sb.st_ino)
			break;
		fclose(old);
		fclose(new);
		new = NULL;
		old = NULL;
	}
	if (!new && !old)
		return r;
	if (new && c->file == new_sb.st_ino && c->at <= new_sb.st_size) {
		at = c->at;
	} else if (old) {
		off_t from = c->file == old_sb.st_ino && c->at <= old_sb.st_size ? c->at : 0;

		c->file = old_sb.st_ino;
		r = each_line(old, &from, fn, arg);
		c->at = from;
		if (r)
			return r < 0 ? remap_fail_errno(err, r, "events.1 of remap-agent") : r;
	}
	if (!new)
		return 0;
	c->file = new_sb.st_ino;
	r = each_line(new, &at, fn, arg);
	c->at = at;
	return r < 0 ? remap_fail_errno(err, r, "events of remap-agent") : r;
}

int remap_agent_events(const char *folder,
		       int (*fn)(void *arg, const struct remap_agent_event *e), void *arg,
		       struct remap_err *err)
{
	struct remap_agent_cursor c = { .at = 0 };

	return remap_agent_events_since(folder, &c, fn, arg, err);
}

/* ---- status ---- */

static void parse_target(struct json_object *o, struct remap_agent_target *t)
{
	static const char *const states[] = REMAP_REPLICA_STATE_NAMES;
	struct json_object *list;
	u64 n;

	get_str(o, "name", t->name, sizeof(t->name));
	get_str(o, "uuid", t->uuid, sizeof(t->uuid));
	get_bool(o, "scrubbing", &t->scrubbing);
	get_num(o, "scrub_at", &t->scrub_at);
	get_num(o, "scrub_began", &t->scrub_began);
	get_num(o, "scrub_began_at", &t->scrub_began_at);
	get_num(o, "scrubbed", &t->scrubbed);
	get_num(o, "checked", &t->checked);
	if (get_num(o, "moved_today", &n))
		t->moved_today = n < UINT_MAX ? (unsigned int)n : UINT_MAX;
	t->smart_known = get_num(o, "smart_bad", &t->smart_bad);
	if (!json_object_object_get_ex(o, "replicas", &list) ||
	    !json_object_is_type(list, json_type_array) ||
	    json_object_array_length(list) != REMAP_ZONES)
		return;
	t->replicas_known = true;
	for (size_t i = 0; i < REMAP_ZONES; i++) {
		const char *word = json_object_get_string(json_object_array_get_idx(list, i));
		unsigned int s = 0;

		while (s < REMAP_REPLICA_STATES && (!word || strcmp(word, states[s])))
			s++;
		t->replicas_known &= s < REMAP_REPLICA_STATES;
		t->replica[i] = (enum remap_replica_state)s;
	}
}

int remap_agent_status(const char *folder, struct remap_agent_status *s, struct remap_err *err)
{
	_cleanup_json_ struct json_object *o = NULL;
	_cleanup_fclose_ FILE *f = NULL;
	_cleanup_free_ char *text = malloc(LARGEST);
	struct json_object *list;
	char path[PATH_MAX];
	size_t n;
	int r = path_of(path, folder, "status.json");

	*s = (struct remap_agent_status){ .n = 0 };
	if (!text)
		r = -ENOMEM;
	if (!r) {
		f = fopen(path, "re");
		if (!f)
			r = -errno;
	}
	if (r)
		return remap_fail_errno(err, r, "%s", path);
	n = fread(text, 1, LARGEST - 1, f);
	if (ferror(f))
		return remap_fail(err, -EIO, "%s: cannot be read", path);
	text[n] = 0;
	o = json_tokener_parse(text);
	if (!ours(o) || !json_object_object_get_ex(o, "targets", &list) ||
	    !json_object_is_type(list, json_type_array))
		return remap_fail(err, -EPROTO, "%s: is of another version of remap-agent", path);
	get_num(o, "time", &s->time);
	get_bool(o, "telemetry", &s->telemetry);
	get_bool(o, "dry_run", &s->dry_run);
	n = json_object_array_length(list);
	s->target = calloc(n ?: 1, sizeof(*s->target));
	if (!s->target)
		return remap_fail_errno(err, -ENOMEM, "%s", path);
	for (s->n = 0; s->n < n; s->n++)
		parse_target(json_object_array_get_idx(list, s->n), &s->target[s->n]);
	return 0;
}

void remap_agent_status_free(struct remap_agent_status *s)
{
	free(s->target);
	*s = (struct remap_agent_status){ .n = 0 };
}

/* ---- alive ---- */

bool remap_agent_alive(const char *folder)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];

	if (path_of(path, folder, "lock"))
		return false;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && !fcntl(fd, F_OFD_GETLK, &lock) && lock.l_type != F_UNLCK;
}
