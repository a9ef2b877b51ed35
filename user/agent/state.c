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
#include <time.h>
#include <unistd.h>
#include "state.h"
#include "text.h"

#define VERSION	1
#define LARGEST	(1 << 16)	/* bytes of a file of ours, and then some */

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

static bool take(struct json_object *o, struct agent_state *s)
{
	struct agent_memory *m = &s->memory;
	u64 version, moved, now = (u64)time(NULL), at;
	struct json_object *list;

	if (!get(o, "version", &version) || version != VERSION)
		return false;
	if (get(o, "scrub_at", &at))
		m->scrub_at = at;
	if (get(o, "scrubbed", &at))
		m->scrubbed_ago = ago(at, now);
	if (get(o, "day", &at) && get(o, "moved_today", &moved)) {
		m->day_ago = ago(at, now);
		m->moved_today = moved < UINT_MAX ? (unsigned int)moved : UINT_MAX;
	}
	if (json_object_object_get_ex(o, "to_read", &list))
		take_ranges(list, m);
	s->smart_known = get(o, "smart_bad", &s->smart_bad);
	return true;
}

int agent_state_load(const char *folder, const char *key, struct agent_state *s,
		     struct remap_err *err)
{
	_cleanup_json_ struct json_object *o = NULL;
	_cleanup_fclose_ FILE *f = NULL;
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];
	size_t n;

	*s = (struct agent_state){ .memory = AGENT_MEMORY_NONE };
	if (path_of(path, folder, key, ""))
		return remap_fail_errno(err, -ENAMETOOLONG, "%s", folder);
	f = fopen(path, "re");
	if (!f)
		return remap_fail_errno(err, -errno, "%s", path);
	text = malloc(LARGEST);
	if (!text)
		return remap_fail_errno(err, -ENOMEM, "%s", path);
	n = fread(text, 1, LARGEST - 1, f);
	if (ferror(f))
		return remap_fail(err, -EIO, "%s: cannot be read", path);
	text[n] = 0;
	o = json_tokener_parse(text);
	if (!json_object_is_type(o, json_type_object) || !take(o, s)) {
		*s = (struct agent_state){ .memory = AGENT_MEMORY_NONE };
		return remap_fail(err, -EINVAL, "%s: not understood, and begun anew", path);
	}
	return 0;
}

/* ---- save ---- */

static void put(struct json_object *o, const char *name, u64 value)
{
	json_object_object_add(o, name, json_object_new_uint64(value));
}

char *agent_state_text(const struct agent_state *s)
{
	const struct agent_memory *m = &s->memory;
	_cleanup_json_ struct json_object *o = json_object_new_object();
	struct json_object *list = json_object_new_array();
	u64 now = (u64)time(NULL);

	put(o, "version", VERSION);
	put(o, "scrub_at", m->scrub_at);
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
	if (s->smart_known)
		put(o, "smart_bad", s->smart_bad);
	return strdup(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
}

int agent_state_save(const char *folder, const char *key, const char *text, struct remap_err *err)
{
	char path[PATH_MAX], new[PATH_MAX];
	size_t n = strlen(text);
	int fd, r = 0;

	if (path_of(path, folder, key, "") || path_of(new, folder, key, ".new"))
		return remap_fail_errno(err, -ENAMETOOLONG, "%s", folder);
	fd = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return remap_fail_errno(err, -errno, "%s", new);
	if (write(fd, text, n) != (ssize_t)n || write(fd, "\n", 1) != 1)
		r = errno == ENOSPC || errno == EIO || errno == EDQUOT ? -errno : -EIO;
	if (fsync(fd) && !r)
		r = -errno;
	close(fd);
	if (!r && rename(new, path))
		r = -errno;
	if (r) {
		unlink(new);
		return remap_fail_errno(err, r, "%s", new);
	}
	return 0;
}
