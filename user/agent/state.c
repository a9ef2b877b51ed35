// SPDX-License-Identifier: GPL-2.0-only
/*
 * Files of what outlives the agent, see state.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "state.h"
#include "text.h"

#define VERSION	1

static const char *const state_names[] = REMAP_STATE_NAMES;
static const char *const scrub_names[] = AGENT_SCRUB_NAMES;
static const char *const smart_names[] = { "reallocated", "pending", "uncorrectable" };

static int path_of(char path[PATH_MAX], const char *folder, const char *key, const char *end)
{
	/* a dm device's name may be anything but '/' */
	return snprintf(path, PATH_MAX, "%s/%s.json%s", folder, key, end) < PATH_MAX ? 0 :
	       -ENAMETOOLONG;
}

static void cleanup_json(struct json_object **o)
{
	json_object_put(*o);
}

#define _cleanup_json_	__attribute__((cleanup(cleanup_json)))

/* ---- load ---- */

static bool get(struct json_object *o, const char *name, u64 *value)
{
	struct json_object *v;

	if (!json_object_object_get_ex(o, name, &v) ||
	    !json_object_is_type(v, json_type_int) || json_object_get_int64(v) < 0)
		return false;
	*value = json_object_get_uint64(v);
	return true;
}

/* Seconds since then; the clock may have been set back meanwhile. */
static u64 ago(u64 then, u64 now)
{
	return then < now ? now - then : 0;
}

static void take_ranges(struct json_object *list, struct agent_memory *m)
{
	size_t n = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;

	for (size_t i = 0; i < n && m->ranges < AGENT_RANGES; i++) {
		struct json_object *pair = json_object_array_get_idx(list, i);
		struct agent_range *r = &m->range[m->ranges];

		if (!json_object_is_type(pair, json_type_array) ||
		    json_object_array_length(pair) != 2)
			continue;
		r->first = json_object_get_uint64(json_object_array_get_idx(pair, 0));
		r->end = json_object_get_uint64(json_object_array_get_idx(pair, 1));
		m->ranges++;
	}
}

static bool get_bool(struct json_object *o, const char *name)
{
	struct json_object *v;

	return json_object_object_get_ex(o, name, &v) && json_object_get_boolean(v);
}

/* Which of @names it is. */
static bool get_name(struct json_object *o, const char *name, const char *const *names,
		     unsigned int n, unsigned int *value)
{
	struct json_object *v;

	if (!json_object_object_get_ex(o, name, &v) || !json_object_is_type(v, json_type_string))
		return false;
	for (unsigned int i = 0; i < n; i++) {
		if (!strcmp(json_object_get_string(v), names[i])) {
			*value = i;
			return true;
		}
	}
	return false;
}

static void take_told(struct json_object *o, struct agent_told *told)
{
	unsigned int i;

	told->replicas = get_bool(o, "replicas");
	told->budget = get_bool(o, "budget");
	if (!get_name(o, "state", state_names, REMAP_STATES, &i) || !get(o, "lost", &told->lost))
		return;
	told->status = true;
	told->state = (enum remap_state)i;
	told->few_slots = get_bool(o, "few_slots");
}

static void take_smart(struct json_object *o, struct agent_smart *s)
{
	struct json_object *counts;

	s->known = s->sum = get(o, "smart_bad", &s->count[0]);
	if (!json_object_object_get_ex(o, "smart", &counts))
		return;
	s->sum = false;
	s->known = true;
	for (int i = 0; i < AGENT_SMART_COUNTS; i++)
		s->known &= get(counts, smart_names[i], &s->count[i]);
}

static bool take(struct json_object *o, struct agent_state *s)
{
	struct agent_memory *m = &s->memory;
	u64 version, moved, now = (u64)time(NULL), at;
	struct json_object *list;
	unsigned int i;

	if (!get(o, "version", &version) || version != VERSION)
		return false;
	if (get(o, "scrub_at", &at))
		m->scrub_at = at;
	if (get_name(o, "scrub_for", scrub_names, AGENT_SCRUBS, &i))
		m->scrub_for = (enum agent_scrub)i;
	if (get_name(o, "scrub_then", scrub_names, AGENT_SCRUBS, &i))
		m->scrub_then = (enum agent_scrub)i;
	if (get(o, "scrubbed", &at))
		m->scrubbed_ago = ago(at, now);
	if (get(o, "day", &at) && get(o, "moved_today", &moved)) {
		m->day_ago = ago(at, now);
		m->moved_today = moved < UINT_MAX ? (unsigned int)moved : UINT_MAX;
	}
	if (json_object_object_get_ex(o, "to_read", &list))
		take_ranges(list, m);
	if (json_object_object_get_ex(o, "told", &list))
		take_told(list, &m->told);
	take_smart(o, &s->smart);
	return true;
}

int agent_state_parse(const char *text, struct agent_state *s)
{
	_cleanup_json_ struct json_object *o = json_tokener_parse(text);

	*s = (struct agent_state){ .memory = AGENT_MEMORY_NONE };
	if (json_object_is_type(o, json_type_object) && take(o, s))
		return 0;
	*s = (struct agent_state){ .memory = AGENT_MEMORY_NONE };
	return -EINVAL;
}

int agent_state_read(const char *folder, const char *key, char **text, struct remap_err *err)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[PATH_MAX];
	size_t n;

	*text = NULL;
	if (path_of(path, folder, key, ""))
		return remap_fail_errno(err, -ENAMETOOLONG, "%s", folder);
	f = fopen(path, "re");
	if (!f)
		return errno == ENOENT ? 0 : remap_fail_errno(err, -errno, "%s", path);
	*text = malloc(AGENT_STATE_LARGEST);
	if (!*text)
		return remap_fail_errno(err, -ENOMEM, "%s", path);
	n = fread(*text, 1, AGENT_STATE_LARGEST - 1, f);
	(*text)[n] = 0;
	if (!ferror(f))
		return 0;
	free(*text);
	*text = NULL;
	return remap_fail(err, -EIO, "%s: cannot be read", path);
}

/* ---- save ---- */

static void put(struct json_object *o, const char *name, u64 value)
{
	json_object_object_add(o, name, json_object_new_uint64(value));
}

static void put_name(struct json_object *o, const char *name, const char *value)
{
	json_object_object_add(o, name, json_object_new_string(value));
}

static void put_bool(struct json_object *o, const char *name, bool value)
{
	json_object_object_add(o, name, json_object_new_boolean(value));
}

static struct json_object *told_json(const struct agent_told *told)
{
	struct json_object *o = json_object_new_object();

	put_bool(o, "replicas", told->replicas);
	put_bool(o, "budget", told->budget);
	if (told->status) {
		put_name(o, "state", state_names[told->state]);
		put(o, "lost", told->lost);
		put_bool(o, "few_slots", told->few_slots);
	}
	return o;
}

static void put_smart(struct json_object *o, const struct agent_smart *s)
{
	struct json_object *counts;

	if (!s->known)
		return;
	if (s->sum) {
		put(o, "smart_bad", s->count[0]);
		return;
	}
	counts = json_object_new_object();
	for (int i = 0; i < AGENT_SMART_COUNTS; i++)
		put(counts, smart_names[i], s->count[i]);
	json_object_object_add(o, "smart", counts);
}

char *agent_state_text(const struct agent_state *s)
{
	const struct agent_memory *m = &s->memory;
	_cleanup_json_ struct json_object *o = json_object_new_object();
	struct json_object *list = json_object_new_array();
	u64 now = (u64)time(NULL);

	put(o, "version", VERSION);
	put(o, "scrub_at", m->scrub_at);
	put_name(o, "scrub_for", scrub_names[m->scrub_for]);
	put_name(o, "scrub_then", scrub_names[m->scrub_then]);
	if (m->scrubbed_ago < now)
		put(o, "scrubbed", now - m->scrubbed_ago);
	if (m->day_ago < now) {
		put(o, "day", now - m->day_ago);
		put(o, "moved_today", m->moved_today);
	}
	for (unsigned int i = 0; i < m->ranges; i++) {
		struct json_object *pair = json_object_new_array();

		json_object_array_add(pair, json_object_new_uint64(m->range[i].first));
		json_object_array_add(pair, json_object_new_uint64(m->range[i].end));
		json_object_array_add(list, pair);
	}
	json_object_object_add(o, "to_read", list);
	json_object_object_add(o, "told", told_json(&m->told));
	put_smart(o, &s->smart);
	return strdup(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
}

/*
 * The new file, ours alone until it is closed: a saver of an agent that was killed may still be at
 * it. Once that one is done it is not a new file any more.
 */
static int open_new(const char *new)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct stat ours, there;
	int fd, r;

	for (;;) {
		fd = open(new, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		if (fd < 0)
			return -errno;
		do
			r = fcntl(fd, F_OFD_SETLKW, &lock);
		while (r && errno == EINTR);
		if (r || fstat(fd, &ours))
			break;
		if (!stat(new, &there) && ours.st_ino == there.st_ino) {
			if (!ftruncate(fd, 0))
				return fd;
			break;
		}
		close(fd);
	}
	r = -errno;
	close(fd);
	return r;
}

int agent_state_save(const char *folder, const char *key, const char *text, struct remap_err *err)
{
	char path[PATH_MAX], new[PATH_MAX];
	size_t n = strlen(text);
	int fd, r = 0;

	if (path_of(path, folder, key, "") || path_of(new, folder, key, ".new"))
		return remap_fail_errno(err, -ENAMETOOLONG, "%s", folder);
	fd = open_new(new);
	if (fd < 0)
		return remap_fail_errno(err, fd, "%s", new);
	errno = 0;
	if (write(fd, text, n) != (ssize_t)n || write(fd, "\n", 1) != 1)
		r = errno ? -errno : -ENOSPC;
	if (!r && (fsync(fd) || rename(new, path)))
		r = -errno;
	if (r)
		unlink(new);
	close(fd);
	return r ? remap_fail_errno(err, r, "%s", new) : 0;
}
