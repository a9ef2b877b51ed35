// SPDX-License-Identifier: GPL-2.0-only
/*
 * The figures of an interval, see top.h.
 *
 * Telemetry is the agent's if one runs, else our own; which of both is looked at each time, as
 * agents come and go. The maps of an agent that has died stay where they are and count no more, so
 * it is its lock that tells, not they.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <syslog.h>
#include <time.h>
#include "device.h"
#include "text.h"
#include "top.h"

#define TRY_AGAIN	60000		/* ms until programs that did not load are loaded again */
#define SLICE		50000		/* remapped blocks that are asked for in an interval */
#define REMAPS_APART	10000		/* ms between readings of where blocks are */
#define POINTS_APART	2000

static u64 clock_ms(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (u64)ts.tv_sec * 1000 + (u64)ts.tv_nsec / 1000000;
}

/* ---- events ---- */

static int add_event(void *arg, const struct remap_agent_event *e)
{
	struct top_model *m = arg;

	m->event[m->events++ % TOP_EVENTS] = *e;
	m->new_events++;
	return 0;
}

/* What we see ourselves; of devices only where no agent says it. */
static void say(struct top_model *m, int priority, const struct top_device *d, const char *what,
		const char *fmt, ...) __attribute__((format(printf, 5, 6)));
static void say(struct top_model *m, int priority, const struct top_device *d, const char *what,
		const char *fmt, ...)
{
	struct remap_agent_event e = { .time_ms = m->time_ms, .priority = priority };
	va_list ap;

	if (d && m->agent_alive)
		return;
	va_start(ap, fmt);
	vsnprintf(e.text, sizeof(e.text), fmt, ap);
	va_end(ap);
	if (d)
		snprintf(e.name, sizeof(e.name), "%s", d->dm.name);
	snprintf(e.what, sizeof(e.what), "%s", what);
	add_event(m, &e);
}

/* ---- where telemetry comes from ---- */

static void forget_areas(struct top_model *m)
{
	for (size_t i = 0; i < m->n; i++)
		for (int side = 0; side < TOP_SIDES; side++)
			m->device[i]->side[side].measured = false;
}

static void close_telemetry(struct top_model *m)
{
	remap_telemetry_close(m->telemetry);
	m->telemetry = NULL;
	m->source = TOP_NONE;
	forget_areas(m);
}

/* Which maps are pinned there; an agent that starts pins new ones. */
static ino_t pinned_maps(void)
{
	struct stat sb;

	return stat(REMAP_AGENT_PINS "/watch", &sb) ? 0 : sb.st_ino;
}

static void take_agents(struct top_model *m)
{
	struct remap_telemetry *t;
	struct remap_err err;
	ino_t pins = pinned_maps();

	if (m->source == TOP_AGENT && pins == m->pins)
		return;
	if (m->source == TOP_AGENT)
		close_telemetry(m);
	if (!pins || remap_telemetry_open_pinned(&t, REMAP_AGENT_PINS, &err)) {
		if (pins)
			snprintf(m->why, sizeof(m->why), "%.300s", err.text);
		return;
	}
	close_telemetry(m);
	m->telemetry = t;
	m->source = TOP_AGENT;
	m->pins = pins;
}

static void take_own(struct top_model *m)
{
	struct remap_err err;

	if (m->source == TOP_AGENT)
		close_telemetry(m);
	if (m->source == TOP_OWN || (m->try_ms && m->ms < m->try_ms))
		return;
	if (remap_telemetry_open(&m->telemetry, &err)) {
		m->telemetry = NULL;
		snprintf(m->why, sizeof(m->why), "%.300s", err.text);
		m->try_ms = m->ms + TRY_AGAIN;
		return;
	}
	/* or the module could not be unloaded while we look */
	remap_telemetry_detach(m->telemetry);
	m->source = TOP_OWN;
	m->try_ms = 0;
}

static void choose_source(struct top_model *m)
{
	bool alive = remap_agent_alive(NULL);

	if (alive != m->agent_alive) {
		m->agent_alive = alive;
		m->try_ms = 0;
		if (m->interval_ms)
			say(m, alive ? LOG_NOTICE : LOG_WARNING, NULL, "agent", alive ?
			    "remap-agent runs" : "remap-agent has ended: nothing is moved ahead of "
			    "time, read, or repaired (systemctl start remap-agent)");
	}
	if (alive)
		take_agents(m);
	if (!alive || m->source != TOP_AGENT)
		take_own(m);
	if (m->source != TOP_NONE)
		*m->why = 0;
}

/* ---- which devices there are ---- */

static int by_name(const void *a, const void *b)
{
	const struct top_device *const *x = a, *const *y = b;

	return strcmp((*x)->dm.name, (*y)->dm.name);
}

static void own_unwatch(struct top_model *m, struct top_device *d)
{
	for (int side = 0; side < TOP_SIDES && m->source == TOP_OWN; side++)
		if (d->side[side].measured)
			remap_telemetry_unwatch(m->telemetry, d->side[side].area);
	for (int side = 0; side < TOP_SIDES; side++)
		d->side[side] = (struct top_watched){ .measured = false };
}

static void drop_unseen(struct top_model *m)
{
	size_t n = 0;

	for (size_t i = 0; i < m->n; i++) {
		struct top_device *d = m->device[i];

		if (d->seen) {
			m->device[n++] = d;
			continue;
		}
		say(m, LOG_INFO, d, "gone", "is gone");
		own_unwatch(m, d);
		free(d);
	}
	m->n = n;
}

/* What an agent would have said. */
static void compare(struct top_model *m, struct top_device *d, const struct remap_target *now)
{
	const u64 *was = d->dm.word, *is = now->word;

	if (d->dm.state != now->state)
		say(m, now->state == REMAP_ACTIVE ? LOG_NOTICE : LOG_ALERT, d, "state",
		    "state is %s, it was %s", remap_state_name(now->state),
		    remap_state_name(d->dm.state));
	if (is[REMAP_ST_LOST_SECTORS] > was[REMAP_ST_LOST_SECTORS])
		say(m, LOG_ALERT, d, "lost", "%" PRIu64 " sectors are lost, there were %" PRIu64,
		    is[REMAP_ST_LOST_SECTORS], was[REMAP_ST_LOST_SECTORS]);
	if (is[REMAP_ST_RELOCATIONS] > was[REMAP_ST_RELOCATIONS])
		say(m, LOG_WARNING, d, "move", "%" PRIu64 " blocks were moved",
		    is[REMAP_ST_RELOCATIONS] - was[REMAP_ST_RELOCATIONS]);
	if (is[REMAP_ST_READS_RECOVERED] > was[REMAP_ST_READS_RECOVERED])
		say(m, LOG_WARNING, d, "recovered", "%" PRIu64 " reads failed, and succeeded when "
		    "tried again",
		    is[REMAP_ST_READS_RECOVERED] - was[REMAP_ST_READS_RECOVERED]);
	if (is[REMAP_ST_IO_ERRORS] > was[REMAP_ST_IO_ERRORS])
		say(m, LOG_WARNING, d, "error", "%" PRIu64 " errors were passed up",
		    is[REMAP_ST_IO_ERRORS] - was[REMAP_ST_IO_ERRORS]);
	if (is[REMAP_ST_REPLICAS_OK] < was[REMAP_ST_REPLICAS_OK])
		say(m, LOG_ALERT, d, "replicas", "%" PRIu64 " of %" PRIu64 " replicas of the "
		    "metadata are whole", is[REMAP_ST_REPLICAS_OK], is[REMAP_ST_REPLICAS_TOTAL]);
}

static struct top_device *find(const struct top_model *m, const struct remap_target *t)
{
	for (size_t i = 0; i < m->n; i++) {
		struct top_device *d = m->device[i];

		if (d->dm.rdev == t->rdev && !strcmp(d->dm.uuid, t->uuid) &&
		    d->dm.sectors == t->sectors && !d->seen)
			return d;
	}
	return NULL;
}

static void see(struct top_model *m, struct top_device *d, const struct remap_target *t)
{
	bool moved = d->dm.data != t->data || d->dm.data_start != t->data_start ||
		     d->dm.spare != t->spare || d->dm.spare_start != t->spare_start;

	if (moved)
		own_unwatch(m, d);
	if (moved || !*d->data) {
		char path[PATH_MAX];

		remap_dev_path(t->data, path, sizeof(path));
		snprintf(d->data, sizeof(d->data), "%.63s", path);
		remap_dev_path(t->spare, path, sizeof(path));
		snprintf(d->spare, sizeof(d->spare), "%.63s", path);
	}
	compare(m, d, t);
	d->dm = *t;
	d->seen = true;
}

static void list_devices(struct top_model *m)
{
	_cleanup_free_ struct remap_target *list = NULL;
	struct top_device **all;
	struct remap_err err;
	size_t n = 0;

	*m->said = 0;
	if (remap_dm_list(&list, &n, NULL, NULL, &err)) {
		snprintf(m->said, sizeof(m->said), "%.399s", err.text);
		n = 0;
	}
	for (size_t i = 0; i < m->n; i++)
		m->device[i]->seen = false;
	all = realloc(m->device, (m->n + n + 1) * sizeof(struct top_device *));
	if (!all)
		return;
	m->device = all;
	for (size_t i = 0; i < n; i++) {
		struct top_device *d = find(m, &list[i]);

		if (d) {
			see(m, d, &list[i]);
			continue;
		}
		d = calloc(1, sizeof(*d));
		if (!d)
			break;
		d->dm = list[i];
		d->since_ms = m->ms;
		see(m, d, &list[i]);
		m->device[m->n++] = d;
		if (m->interval_ms)
			say(m, LOG_INFO, d, "found", "found: %" PRIu64 " sectors, state %s",
			    d->dm.sectors, remap_state_name(d->dm.state));
	}
	/* before others are watched: they may use the same disks */
	drop_unseen(m);
	qsort(m->device, m->n, sizeof(struct top_device *), by_name);
}

/* ---- what telemetry says of them ---- */

static void place(struct top_watched *w, dev_t dev, u64 start)
{
	bool requests;
	dev_t disk;
	u64 at;

	if (w->dev == dev)
		return;
	w->dev = dev;
	w->on_disk = !remap_dev_disk(dev, &disk, &at, &requests);
	if (!w->on_disk)
		return;
	w->disk = (u32)(major(disk) << 20 | minor(disk));
	w->start = at + start;
}

static u64 spare_sectors(const struct remap_target *t)
{
	char path[64];
	uint64_t size;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/size", major(t->spare),
		 minor(t->spare));
	if (remap_read_u64(path, &size) || size <= t->spare_start)
		return 0;
	/* one device may be both, data behind the spare */
	if (t->data == t->spare && t->data_start > t->spare_start)
		size = t->data_start;
	return size - t->spare_start;
}

static void own_watch(struct top_model *m, const struct top_device *d, enum top_side side)
{
	const struct remap_target *t = &d->dm;
	struct remap_err err;
	u64 sectors = side == TOP_DATA ? t->sectors : spare_sectors(t);
	u32 area;

	if (!t->data || !sectors)
		return;
	if (!remap_telemetry_watch(m->telemetry, side == TOP_DATA ? t->data : t->spare,
				   side == TOP_DATA ? t->data_start : t->spare_start, sectors,
				   remap_telemetry_usual_slow(t->data), &area, &err))
		return;
	snprintf(m->missing, sizeof(m->missing), "%s: its %s is not measured: %.200s", t->name,
		 side == TOP_DATA ? "data device" : "spare", err.text);
}

/* The area that is this side's, if there is one. */
static const struct telemetry_area *area_of(const struct top_model *m, const struct top_device *d,
					    enum top_side side, u32 *index)
{
	const struct top_watched *w = &d->side[side];

	for (u32 i = 0; i < TELEMETRY_AREAS; i++) {
		const struct telemetry_area *a = remap_telemetry_area(m->telemetry, i);

		if (a->sectors && a->disk == w->disk && a->start == w->start &&
		    (side == TOP_SPARE || a->sectors == d->dm.sectors)) {
			*index = i;
			return a;
		}
	}
	return NULL;
}

static void sample(struct top_model *m, struct top_device *d, enum top_side side)
{
	const size_t counts = offsetof(struct remap_sample, region_ios);
	struct top_watched *w = &d->side[side];
	const struct telemetry_area *a;
	bool known = w->measured;
	u32 index = 0, id = w->id;

	place(w, side == TOP_DATA ? d->dm.data : d->dm.spare,
	      side == TOP_DATA ? d->dm.data_start : d->dm.spare_start);
	w->measured = false;
	if (!m->telemetry || !w->on_disk)
		return;
	a = area_of(m, d, side, &index);
	if (!a && m->source == TOP_OWN) {
		own_watch(m, d, side);
		a = area_of(m, d, side, &index);
	}
	if (!a)
		return;
	known &= w->area == index && id == a->id;
	w->area = index;
	w->id = a->id;
	if (side == TOP_SPARE) {
		w->measured = true;
		d->spare_errors = remap_telemetry_area_errors(m->telemetry, index);
		return;
	}
	memcpy(&d->before, &d->now, counts);
	remap_telemetry_read_counts(m->telemetry, index, &d->now);
	/* it may have gone, and come to be another's, while it was read */
	w->measured = a->sectors && a->id == w->id;
	/*
	 * What is seen for the first time has no interval yet; but what began after the last
	 * collection, as all that we watch ourselves does, has counted nothing before.
	 */
	if (!known && m->source == TOP_OWN)
		memset(&d->before, 0, sizeof(d->before));
	else if (!known)
		memcpy(&d->before, &d->now, counts);
}

void top_surface(const struct top_model *m, struct top_device *d)
{
	const struct top_watched *w = &d->side[TOP_DATA];

	if (d->measured && remap_telemetry_area(m->telemetry, w->area)->id == w->id)
		remap_telemetry_read_regions(m->telemetry, w->area, &d->now);
}

static void difference(const u64 *now, const u64 *before, bool wraps, u64 *result)
{
	for (unsigned int b = 0; b < TELEMETRY_BUCKETS; b++)
		result[b] = wraps ? (u32)(now[b] - before[b]) : now[b] - before[b];
}

void top_histogram(const struct top_device *d, unsigned int op, unsigned int part, bool all,
		   u64 histogram[TELEMETRY_BUCKETS])
{
	const struct remap_sample *now = &d->now, *before = &d->before;
	const u64 *n, *b;

	memset(histogram, 0, TELEMETRY_BUCKETS * sizeof(u64));
	if (!d->measured || (part && op > TELEMETRY_WRITE))
		return;
	n = !part ? now->total[op] : part == 1 ? now->queue[op] : now->device[op];
	b = !part ? before->total[op] : part == 1 ? before->queue[op] : before->device[op];
	if (all)
		memcpy(histogram, n, TELEMETRY_BUCKETS * sizeof(u64));
	else
		difference(n, b, part, histogram);
}

static void latency(const struct top_device *d, unsigned int op, unsigned int part, bool all,
		    struct top_latency *l)
{
	static const unsigned int permille[] = { 500, 990, 999 };
	u64 h[TELEMETRY_BUCKETS], ns[3];

	*l = (struct top_latency){ .count = 0 };
	/* most do nothing most of the time */
	if (d->now.ios[op] == (all ? 0 : d->before.ios[op]))
		return;
	top_histogram(d, op, part, all, h);
	l->count = remap_percentiles(h, permille, 3, ns);
	l->p50 = ns[0];
	l->p99 = ns[1];
	l->p999 = ns[2];
}

static void figures(struct top_device *d)
{
	const struct remap_sample *now = &d->now, *before = &d->before;

	d->measured = d->side[TOP_DATA].measured;
	d->counted = d->measured || d->has_stat;
	d->errors = d->slow = d->new_errors = d->new_slow = 0;
	if (!d->side[TOP_SPARE].measured)
		d->spare_errors = 0;
	if (d->measured) {
		d->errors = now->errors;
		d->slow = now->slow;
		d->new_errors = now->errors - before->errors;
		d->new_slow = now->slow - before->slow;
	}
	for (unsigned int op = 0; op < TELEMETRY_OPS; op++) {
		struct top_io *io = &d->io[op];

		memset(io, 0, sizeof(*io));
		if (!d->measured) {
			io->ios = d->stat.ios[op] - d->stat_before.ios[op];
			io->bytes = (d->stat.sectors[op] - d->stat_before.sectors[op]) * 512;
			io->all_ios = d->stat.ios[op];
			io->all_bytes = d->stat.sectors[op] * 512;
			continue;
		}
		io->ios = now->ios[op] - before->ios[op];
		io->bytes = now->bytes[op] - before->bytes[op];
		io->all_ios = now->ios[op];
		io->all_bytes = now->bytes[op];
		latency(d, op, 0, false, &io->last);
		latency(d, op, 0, true, &io->all);
		if (op > TELEMETRY_WRITE)
			continue;
		latency(d, op, 1, false, &io->queue);
		latency(d, op, 2, false, &io->device);
		latency(d, op, 1, true, &io->all_queue);
		latency(d, op, 2, true, &io->all_device);
	}
}

/* ---- what the kernel counts in any case ---- */

/* Of the remap devices themselves, all at once; asked only where telemetry does not know. */
static void read_diskstats(struct top_model *m)
{
	_cleanup_fclose_ FILE *f = NULL;
	bool wanted = false;
	char line[512];

	for (size_t i = 0; i < m->n; i++)
		wanted |= !m->device[i]->side[TOP_DATA].measured;
	if (wanted)
		f = fopen("/proc/diskstats", "re");
	while (f && fgets(line, sizeof(line), f)) {
		unsigned int ma, mi;
		struct top_stat s = { .ios = { 0 } };

		/* flushes of dm devices are not among them */
		if (sscanf(line, "%u %u %*s %" SCNu64 " %*u %" SCNu64 " %*u %" SCNu64 " %*u %"
			   SCNu64 " %*u %*u %*u %*u %" SCNu64 " %*u %" SCNu64, &ma, &mi,
			   &s.ios[TELEMETRY_READ], &s.sectors[TELEMETRY_READ],
			   &s.ios[TELEMETRY_WRITE], &s.sectors[TELEMETRY_WRITE],
			   &s.ios[TELEMETRY_DISCARD], &s.sectors[TELEMETRY_DISCARD]) < 6)
			continue;
		for (size_t i = 0; i < m->n; i++) {
			struct top_device *d = m->device[i];

			if (d->dm.rdev != makedev(ma, mi))
				continue;
			d->stat_before = d->has_stat ? d->stat : s;
			d->stat = s;
			d->has_stat = true;
		}
	}
	for (size_t i = 0; i < m->n; i++)
		m->device[i]->has_stat &= !m->device[i]->side[TOP_DATA].measured;
}

/* ---- what the agent says ---- */

static bool same_device(const struct remap_target *t, const char *name, const char *uuid)
{
	size_t n = strlen(REMAP_DM_UUID_PREFIX);

	if (!strncmp(t->uuid, REMAP_DM_UUID_PREFIX, n) && t->uuid[n])
		return !strcmp(t->uuid + n, uuid);
	return !strcmp(t->name, name);
}

static void ask_agent(struct top_model *m)
{
	struct remap_agent_status s = { .n = 0 };
	struct remap_err err;

	for (size_t i = 0; i < m->n; i++)
		m->device[i]->agent_known = false;
	m->status_time = 0;
	m->dry_run = false;
	if (remap_agent_status(NULL, &s, &err))
		return;
	m->status_time = s.time;
	m->dry_run = m->agent_alive && s.dry_run;
	for (size_t i = 0; i < m->n; i++) {
		struct top_device *d = m->device[i];

		for (size_t k = 0; k < s.n && !d->agent_known; k++) {
			if (!same_device(&d->dm, s.target[k].name, s.target[k].uuid))
				continue;
			d->agent = s.target[k];
			d->agent_known = true;
			/* one that was killed did not get to say that it does nothing any more */
			d->agent.scrubbing &= m->agent_alive;
		}
	}
	remap_agent_status_free(&s);
}

/* ---- where blocks are remapped ---- */

struct slice {
	struct top_device *d;
	u64 left;			/* 0: without end */
	bool counts;
};

/* Which region of the surface a sector is in, as telemetry would have it. */
static unsigned int region_of(const struct top_device *d, u64 sector)
{
	return (unsigned int)((sector * (~0ULL / d->dm.sectors)) >> TELEMETRY_REGION_SHIFT);
}

static int count_remap(void *arg, u64 sector, u64 count, u64 slot, u64 lost)
{
	struct slice *s = arg;

	(void)slot;
	(void)lost;
	s->d->remaps_next = sector;
	if (s->counts && !s->left--)
		return 1;
	if (sector < s->d->dm.sectors)
		s->d->remaps_new[region_of(s->d, sector)]++;
	s->d->remaps_next = sector + count;
	return 0;
}

static void read_remaps(struct top_model *m, struct top_device *d, bool all)
{
	const u64 *w = d->dm.word;
	u64 of[] = { w[REMAP_ST_RELOCATIONS], w[REMAP_ST_SLOTS_USED], w[REMAP_ST_LOST_SECTORS] };
	struct slice s = { .d = d, .left = SLICE, .counts = !all };
	int r;

	if (!d->remaps_begun) {
		if (d->remaps_done && (!memcmp(of, d->remaps_of, sizeof(of)) ||
				       (!all && m->ms < d->remaps_begun_ms + REMAPS_APART)))
			return;
		memcpy(d->remaps_of, of, sizeof(of));
		memset(d->remaps_new, 0, sizeof(d->remaps_new));
		d->remaps_next = 0;
		d->remaps_begun = true;
		d->remaps_begun_ms = m->ms;
	}
	r = remap_dm_each_remap(d->dm.name, d->remaps_next, count_remap, &s, NULL);
	if (r == 1)
		return;
	d->remaps_begun = false;
	if (r)
		return;
	memcpy(d->remaps, d->remaps_new, sizeof(d->remaps));
	d->remaps_done = true;
}

/* ---- all of it ---- */

static void remember(const struct top_model *m, struct top_device *d)
{
	struct top_point *p = &d->point[d->last_point];

	if (d->points && m->ms < p->ms + POINTS_APART)
		return;
	d->last_point = d->points ? (d->last_point + 1) % TOP_POINTS : 0;
	d->points += d->points < TOP_POINTS;
	d->point[d->last_point] = (struct top_point){
		.ms = m->ms,
		.errors = d->measured ? d->errors : d->dm.word[REMAP_ST_IO_ERRORS],
		.moved = d->dm.word[REMAP_ST_RELOCATIONS],
		.lost = d->dm.word[REMAP_ST_LOST_SECTORS],
	};
}

/* Another who counts: what was counted by others is no history of this. */
static void check_history(struct top_device *d, bool measured_before, u32 id_before)
{
	bool measured = d->side[TOP_DATA].measured;

	if (measured != measured_before || (measured && d->side[TOP_DATA].id != id_before))
		d->points = 0;
}

static void say_missing(struct top_model *m)
{
	if (m->source != TOP_NONE)
		return;
	snprintf(m->missing, sizeof(m->missing), "no latencies, and no errors that were healed, "
		 "nor where: %.300s", *m->why ? m->why : "the agent has no telemetry");
}

/* Of our own programs' events only the place of the last error is of use: counts have the rest. */
static void on_event(void *arg, const struct telemetry_event *e)
{
	const struct top_model *m = arg;

	for (size_t i = 0; i < m->n && e->kind == TELEMETRY_ERROR; i++) {
		struct top_device *d = m->device[i];

		if (d->side[TOP_DATA].measured && d->side[TOP_DATA].area == e->io.area &&
		    d->side[TOP_DATA].id == e->io.id)
			d->error_at = e->sector;
	}
}

static void say_errors(struct top_model *m, struct top_device *d)
{
	if (d->new_errors)
		say(m, LOG_WARNING, d, "error", "%" PRIu64 " reads or writes failed, the last at "
		    "sector %" PRIu64, d->new_errors, d->error_at);
	if (d->new_slow)
		say(m, LOG_WARNING, d, "slow", "%" PRIu64 " slow reads or writes", d->new_slow);
}

void top_collect(struct top_model *m, enum top_remaps remaps, const struct top_device *of)
{
	u64 before = m->ms;

	m->new_events = 0;
	*m->missing = 0;
	choose_source(m);
	/* not before, as to load programs takes time */
	m->time_ms = clock_ms(CLOCK_REALTIME);
	m->ms = clock_ms(CLOCK_BOOTTIME);
	m->interval_ms = before ? m->ms - before : 0;
	list_devices(m);
	for (size_t i = 0; i < m->n; i++) {
		struct top_device *d = m->device[i];
		bool measured = d->side[TOP_DATA].measured;
		u32 id = d->side[TOP_DATA].id;

		sample(m, d, TOP_DATA);
		sample(m, d, TOP_SPARE);
		check_history(d, measured, id);
	}
	if (m->source == TOP_OWN)
		remap_telemetry_poll(m->telemetry, on_event, m, 0);
	read_diskstats(m);
	ask_agent(m);
	remap_agent_events_since(NULL, &m->cursor, add_event, m, NULL);
	for (size_t i = 0; i < m->n; i++) {
		struct top_device *d = m->device[i];

		figures(d);
		say_errors(m, d);
		remember(m, d);
		if (remaps == TOP_REMAPS_ALL || (remaps == TOP_REMAPS_SLICE && d == of))
			read_remaps(m, d, remaps == TOP_REMAPS_ALL);
	}
	say_missing(m);
	top_judge(m);
}

void top_model_free(struct top_model *m)
{
	remap_telemetry_close(m->telemetry);
	for (size_t i = 0; i < m->n; i++)
		free(m->device[i]);
	free(m->device);
	*m = (struct top_model){ .n = 0 };
}
