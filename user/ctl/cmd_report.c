// SPDX-License-Identifier: GPL-2.0-only
/*
 * remapctl report: gathers all that is known about a device, from whoever knows it, and sees to it
 * that the page is there as a whole or not at all. What cannot be had is no reason to fail: a
 * report is wanted when things are broken. It is then said what is missing, and why.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <time.h>
#include "report.h"
#include "surface.h"
#include "text.h"

#ifndef DM_REMAP_VERSION
#define DM_REMAP_VERSION "unknown"
#endif

/* ---- what is known ---- */

static void put_disk(struct json_object *o, dev_t rdev)
{
	struct json_object *disk = json_object_new_object();
	char path[PATH_MAX], model[256] = "";
	struct remap_identity id = { .wwn = "" };
	struct remap_dev dev;
	bool requests;
	dev_t whole;
	u64 start;

	remap_dev_path(rdev, path, sizeof(path));
	if (!remap_dev_disk(rdev, &whole, &start, &requests)) {
		char file[64];

		snprintf(file, sizeof(file), "/sys/dev/block/%u:%u/device/model", major(whole),
			 minor(whole));
		if (remap_read_file(file, model, sizeof(model)) < 0)
			*model = 0;
	}
	if (!remap_dev_open(path, &dev, NULL))
		remap_dev_identity(&dev, &id);
	put_str(disk, "model", *model ? model : NULL);
	put_str(disk, "wwn", *id.wwn ? id.wwn : NULL);
	put_str(disk, "serial", *id.serial ? id.serial : NULL);
	json_object_object_add(o, "disk", disk);
}

/* Label and replicas are on the spare; who asks one that does not answer waits, too. */
static void put_spare(struct json_object *o, const struct remap_target *t)
{
	_cleanup_store_ struct remap_store st = { .fd = -1 };
	enum remap_replica_state state[REMAP_ZONES];
	struct json_object *replicas;
	struct remap_spare sp;
	struct remap_err err;
	char path[PATH_MAX];

	if (t->word[REMAP_ST_STUCK]) {
		put_str(o, "spare_unknown", "it was not asked, since a device does not answer");
		return;
	}
	remap_dev_path(t->spare, path, sizeof(path));
	if (remap_store_open(&st, path, false, &err) || remap_spare_find(&st, false, &sp, &err)) {
		put_str(o, "spare_unknown", err.text);
	} else {
		put_str(o, "label", sp.super.label);
		put_num(o, "created", sp.super.created);
	}
	if (remap_dm_verify(t->name, state, &err)) {
		put_str(o, "replicas_unknown", err.text);
		return;
	}
	replicas = json_object_new_array();
	for (unsigned int z = 0; z < REMAP_ZONES; z++) {
		struct json_object *row = json_object_new_object();

		put_num(row, "index", z);
		put_str(row, "state", remap_replica_state_name(state[z]));
		json_object_array_add(replicas, row);
	}
	json_object_object_add(o, "replicas", replicas);
}

static int add_event(void *arg, const struct remap_agent_event *e)
{
	struct record *r = arg;

	if (r->n == r->room) {
		size_t room = r->room ? 2 * r->room : 64;
		struct remap_agent_event *more = realloc(r->event, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		r->event = more;
		r->room = room;
	}
	r->event[r->n++] = *e;
	return 0;
}

static const char *key_of(const struct remap_target *t)
{
	const size_t prefix = strlen(REMAP_DM_UUID_PREFIX);

	return strncmp(t->uuid, REMAP_DM_UUID_PREFIX, prefix) ? "" : t->uuid + prefix;
}

static void put_agent(struct json_object *o, const struct remap_target *t, u64 now)
{
	struct json_object *agent = json_object_new_object();
	struct remap_agent_status s = { .n = 0 };
	struct record r = { .n = 0 };
	struct remap_err err;
	int ret;

	put_bool(agent, "alive", remap_agent_alive(NULL));
	if (!remap_agent_status(NULL, &s, &err)) {
		const struct remap_agent_target *of = agent_target(&s, t);

		if (of) {
			put_num(agent, "scrubbed", of->scrubbed);
			put_bool(agent, "scrubbing", of->scrubbing);
			put_num(agent, "moved_today", of->moved_today);
			if (of->smart_known)
				put_num(agent, "smart_bad", of->smart_bad);
		}
		remap_agent_status_free(&s);
	}
	json_object_object_add(o, "agent", agent);
	ret = remap_agent_events(NULL, add_event, &r, &err);
	if (!ret)
		describe_events(o, &r, t->name, key_of(t), now * 1000);
	else
		put_str(o, "events_unknown", ret == -ENOENT ?
			"remap-agent has not run since the machine was started" : err.text);
	free(r.event);
}

/* Return: the report; NULL with @err */
static struct json_object *gather(const char *name, struct remap_err *err)
{
	_cleanup_json_ struct json_object *o = json_object_new_object();
	_cleanup_free_ struct measured *m = malloc(sizeof(*m));
	struct json_object *surface = json_object_new_object();
	u64 now = (u64)time(NULL);
	struct remap_target t;
	struct utsname host;
	struct remaps l;
	int r;

	json_object_object_add(o, "surface", surface);
	if (!m) {
		remap_fail_errno(err, -ENOMEM, "%s", name);
		return NULL;
	}
	if (remap_dm_get(name, &t, err))
		return NULL;
	r = list_blocks(&t, &l, err);
	if (!r) {
		put_num(o, "made", now);
		put_str(o, "version", DM_REMAP_VERSION);
		/* that is what the kernel calls itself until it is told otherwise */
		put_str(o, "host", uname(&host) || !strcmp(host.nodename, "(none)") ? NULL :
			host.nodename);
		json_object_object_add(o, "device", describe_target(&t));
		put_disk(o, t.data);
		put_spare(o, &t);
		measure(&t, m);
		put_num(surface, "size_sectors", t.sectors);
		describe_surface(surface, &l, t.sectors, m);
		describe_blocks(o, &l);
		put_str(o, "unmeasured", *m->why ? m->why : NULL);
		if (m->known)
			describe_latency(o, m);
		put_agent(o, &t, now);
		judge_report(o);
	}
	free(l.block);
	return r ? NULL : json_object_get(o);
}

/* ---- where it goes ---- */

static int write_page(FILE *f, const char *path, struct json_object *o, struct remap_err *err)
{
	errno = 0;
	report_html(f, o);
	if (fflush(f) || ferror(f) || (fsync(fileno(f)) && errno != EINVAL && errno != EROFS))
		return remap_fail_errno(err, errno ? -errno : -EIO, "cannot write %s", path);
	return 0;
}

/* As another file beside it, which then takes its name: nobody sees half of a page. */
static int replace_file(const char *path, struct json_object *o, struct remap_err *err)
{
	_cleanup_free_ char *real = realpath(path, NULL), *temp = NULL;
	struct stat st;
	mode_t mask = umask(0);
	FILE *f;
	int fd, r;

	umask(mask);
	if (!stat(path, &st)) {
		if (!S_ISREG(st.st_mode))
			return remap_fail(err, -EEXIST, "%s: not a regular file (--output - "
					  "writes to standard output)", path);
		mask = 0777 & ~st.st_mode;
	}
	if (asprintf(&temp, "%s.XXXXXX", real ? real : path) < 0) {
		temp = NULL;
		return remap_fail_errno(err, -ENOMEM, "%s", path);
	}
	fd = mkostemp(temp, O_CLOEXEC);
	if (fd < 0)
		return remap_fail_errno(err, -errno, "cannot write %s", path);
	f = fdopen(fd, "w");
	if (!f) {
		close(fd);
		r = remap_fail_errno(err, -ENOMEM, "%s", path);
	} else {
		r = write_page(f, path, o, err);
		if (!r && fchmod(fd, 0666 & ~mask))
			r = remap_fail_errno(err, -errno, "cannot write %s", path);
		if (fclose(f) && !r)
			r = remap_fail_errno(err, -errno, "cannot write %s", path);
	}
	if (!r && rename(temp, real ? real : path))
		r = remap_fail_errno(err, -errno, "cannot write %s", path);
	if (r)
		unlink(temp);
	return r;
}

int cmd_report(const struct args *a)
{
	bool to_stdout = a->output && !strcmp(a->output, "-");
	_cleanup_json_ struct json_object *o = NULL;
	struct remap_err err;

	if (!a->output && !a->json)
		return usage_error(a, "--output is missing");
	if (to_stdout && a->json)
		return usage_error(a, "--json and the page cannot both go to standard output");
	o = gather(device_name(a->pos[0]), &err);
	if (!o)
		return problem_err(&err);
	if (to_stdout)
		report_html(stdout, o);
	else if (a->output && replace_file(a->output, o, &err))
		return problem_err(&err);
	if (!out_json(a, o) && !to_stdout)
		puts(a->output);
	return EXIT_GOOD;
}
