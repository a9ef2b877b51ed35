// SPDX-License-Identifier: GPL-2.0-only
/*
 * Files for other programs, see share.h.
 *
 * A line of "events" is one write(2), so that a reader sees all of it or nothing; only an agent
 * that was killed, or a full tmpfs, can leave a part of one, and then the next line begins anew.
 */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "share.h"
#include "text.h"

#define VERSION	1

static int path_of(char path[PATH_MAX], const char *folder, const char *name)
{
	return snprintf(path, PATH_MAX, "%s/%s", folder, name) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static void put_num(struct json_object *o, const char *key, u64 value)
{
	json_object_object_add(o, key, json_object_new_uint64(value));
}

static void put_bool(struct json_object *o, const char *key, bool value)
{
	json_object_object_add(o, key, json_object_new_boolean(value));
}

/* Empty ones are left out. */
static void put_str(struct json_object *o, const char *key, const char *value)
{
	char clean[sizeof(((struct remap_agent_event *)NULL)->text)];

	/* a device's name may be any bytes */
	remap_text_clean(clean, sizeof(clean), value);
	if (*clean)
		json_object_object_add(o, key, json_object_new_string(clean));
}

/* As one line. Frees @o. Caller frees what is returned; NULL: there is no memory. */
static char *line_of(struct json_object *o)
{
	const char *text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN |
							  JSON_C_TO_STRING_NOSLASHESCAPE);
	char *line;

	if (!text || asprintf(&line, "%s\n", text) < 0)
		line = NULL;
	json_object_put(o);
	return line;
}

static int write_all(int fd, const char *text)
{
	size_t n = strlen(text);
	ssize_t written = write(fd, text, n);

	return written == (ssize_t)n ? 0 : written < 0 ? -errno : -ENOSPC;
}

/* ---- the lock ---- */

int agent_share_lock(const char *folder, struct remap_err *err)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char path[PATH_MAX], pid[32] = "";
	int fd, r;

	if (path_of(path, folder, "lock"))
		return remap_fail_errno(err, -ENAMETOOLONG, "%s", folder);
	/* whatever our umask: others are to see that we live, and read */
	if ((mkdir(folder, 0755) || chmod(folder, 0755)) && errno != EEXIST)
		return remap_fail_errno(err, -errno, "%s", folder);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return remap_fail_errno(err, -errno, "%s", path);
	/* not flock(2): whether that is held can be told only by taking it */
	if (fcntl(fd, F_OFD_SETLK, &lock)) {
		r = -errno;
		if ((r == -EAGAIN || r == -EACCES) && read(fd, pid, sizeof(pid) - 1) > 0) {
			pid[strcspn(pid, "\n")] = 0;
			remap_fail(err, r, "another remap-agent runs already, as process %s", pid);
		} else {
			remap_fail_errno(err, r, "%s", path);
		}
		close(fd);
		return r;
	}
	if (fchmod(fd, 0644) || ftruncate(fd, 0) || dprintf(fd, "%d\n", getpid()) < 0) {
		close(fd);
		return remap_fail_errno(err, -EIO, "%s", path);
	}
	return fd;
}

/* ---- events ---- */

static void close_events(struct agent_share *s)
{
	if (s->fd)
		close(s->fd);
	s->fd = 0;
}

static int open_events(struct agent_share *s, const char *path)
{
	struct stat sb;
	int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644), r = 0;
	char last;

	if (fd < 0)
		return -errno;
	if (fchmod(fd, 0644) || fstat(fd, &sb))
		r = -errno;
	else if (sb.st_size && (pread(fd, &last, 1, sb.st_size - 1) != 1 || last != '\n'))
		r = write_all(fd, "\n");
	if (r) {
		close(fd);
		return r;
	}
	s->fd = fd;
	s->size = sb.st_size + 1;
	return 0;
}

/* Room for a line of @size bytes. */
static int make_room(struct agent_share *s, size_t size)
{
	char path[PATH_MAX], old[PATH_MAX];
	int r;

	if (path_of(path, s->folder, "events") || path_of(old, s->folder, "events.1"))
		return -ENAMETOOLONG;
	r = s->fd ? 0 : open_events(s, path);
	if (r || s->size + (off_t)size <= AGENT_EVENTS_BYTES)
		return r;
	close_events(s);
	return rename(path, old) ? -errno : open_events(s, path);
}

int agent_share_event(struct agent_share *s, const struct remap_agent_event *e,
		      struct remap_err *err)
{
	struct json_object *o = json_object_new_object();
	_cleanup_free_ char *line = NULL;
	int r = -ENOMEM;

	put_num(o, "version", VERSION);
	put_num(o, "time_ms", e->time_ms);
	put_num(o, "priority", (u64)e->priority);
	put_str(o, "name", e->name);
	put_str(o, "uuid", e->uuid);
	put_str(o, "what", e->what);
	put_str(o, "result", e->result);
	if (e->has_sectors) {
		put_num(o, "sector", e->sector);
		put_num(o, "sectors", e->sectors);
	}
	put_str(o, "text", e->text);
	line = line_of(o);
	if (line)
		r = make_room(s, strlen(line));
	if (!r)
		r = write_all(s->fd, line);
	if (r) {
		close_events(s);
		return remap_fail_errno(err, r, "%s/events", s->folder);
	}
	s->size += (off_t)strlen(line);
	return 0;
}

/* ---- status ---- */

static struct json_object *target_json(const struct remap_agent_target *t)
{
	struct json_object *o = json_object_new_object(), *list;

	put_str(o, "name", t->name);
	put_str(o, "uuid", t->uuid);
	put_bool(o, "scrubbing", t->scrubbing);
	put_num(o, "scrub_at", t->scrub_at);
	if (t->scrubbing) {
		put_num(o, "scrub_began", t->scrub_began);
		put_num(o, "scrub_began_at", t->scrub_began_at);
	}
	if (t->scrubbed)
		put_num(o, "scrubbed", t->scrubbed);
	if (t->checked)
		put_num(o, "checked", t->checked);
	put_num(o, "moved_today", t->moved_today);
	if (t->smart_known)
		put_num(o, "smart_bad", t->smart_bad);
	if (!t->replicas_known)
		return o;
	list = json_object_new_array();
	for (size_t i = 0; i < REMAP_ZONES; i++)
		json_object_array_add(list, json_object_new_string(
			remap_replica_state_name(t->replica[i])));
	json_object_object_add(o, "replicas", list);
	return o;
}

static char *status_text(const struct remap_agent_status *status, u64 time)
{
	struct json_object *o = json_object_new_object(), *list = json_object_new_array();

	put_num(o, "version", VERSION);
	put_num(o, "time", time);
	put_bool(o, "telemetry", status->telemetry);
	put_bool(o, "dry_run", status->dry_run);
	for (size_t i = 0; i < status->n; i++)
		json_object_array_add(list, target_json(&status->target[i]));
	json_object_object_add(o, "targets", list);
	return line_of(o);
}

static int replace(const char *folder, const char *text)
{
	char path[PATH_MAX], new[PATH_MAX];
	int fd, r;

	if (path_of(path, folder, "status.json") || path_of(new, folder, "status.new"))
		return -ENAMETOOLONG;
	fd = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	r = write_all(fd, text);
	if (!r && fchmod(fd, 0644))
		r = -errno;
	close(fd);
	if (!r && rename(new, path))
		r = -errno;
	if (r)
		unlink(new);
	return r;
}

int agent_share_status(struct agent_share *s, const struct remap_agent_status *status,
		       struct remap_err *err)
{
	char *same = status_text(status, 0);
	_cleanup_free_ char *text = status_text(status, status->time);
	int r = same && text ? 0 : -ENOMEM;

	if (!r && s->status && !strcmp(same, s->status)) {
		free(same);
		return 0;
	}
	if (!r)
		r = replace(s->folder, text);
	if (r) {
		free(same);
		return remap_fail_errno(err, r, "%s/status.json", s->folder);
	}
	free(s->status);
	s->status = same;
	return 0;
}

void agent_share_end(struct agent_share *s)
{
	close_events(s);
	free(s->status);
	s->status = NULL;
}
