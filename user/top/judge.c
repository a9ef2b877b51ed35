// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is wrong with each device, how bad that is, and whether it is getting worse. No I/O here,
 * and no clock but the model's.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <syslog.h>
#include "top.h"

#define MINUTE		60000		/* ms */
#define LOG_SPAN	600000		/* of the agent's log, twice: as its lines are few */
#define FEW_SLOTS	10		/* a tenth, as the agent has it */

const char *top_verdict_text(enum top_verdict v)
{
	static const char *const text[TOP_VERDICTS] = {
		[TOP_CALM] = "nothing new", [TOP_EASING] = "easing off",
		[TOP_STEADY] = "going on", [TOP_WORSE] = "getting worse",
	};

	return text[v];
}

const char *top_health_name(enum top_health h)
{
	static const char *const name[] = { "good", "watch", "bad" };

	return name[h];
}

const struct remap_agent_event *top_event(const struct top_model *m, size_t i)
{
	return i < m->events && i < TOP_EVENTS ? &m->event[(m->events - 1 - i) % TOP_EVENTS] : NULL;
}

u64 top_slots_free(const struct remap_target *t)
{
	u64 taken = t->word[REMAP_ST_SLOTS_USED] + t->word[REMAP_ST_SLOTS_BAD];

	return taken < t->word[REMAP_ST_SLOTS_TOTAL] ? t->word[REMAP_ST_SLOTS_TOTAL] - taken : 0;
}

static const char *plural(u64 n)
{
	return n == 1 ? "" : "s";
}

static void problem(struct top_device *d, enum top_health weight, const char *text,
		    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
static void problem(struct top_device *d, enum top_health weight, const char *text,
		    const char *fmt, ...)
{
	struct top_problem *p = &d->problem[d->problems];
	va_list ap;

	if (d->problems == TOP_PROBLEMS)
		return;
	d->problems++;
	p->weight = weight;
	snprintf(p->text, sizeof(p->text), "%s", text);
	va_start(ap, fmt);
	vsnprintf(p->more, sizeof(p->more), fmt, ap);
	va_end(ap);
	if (weight > d->health)
		d->health = weight;
}

/* ---- is it getting worse? ---- */

/* The newest point of @ms or before; NULL: history does not go back so far. */
static const struct top_point *point_at(const struct top_device *d, u64 ms)
{
	for (size_t i = 0; i < d->points; i++) {
		const struct top_point *p =
			&d->point[(d->last_point + TOP_POINTS - i) % TOP_POINTS];

		if (p->ms <= ms)
			return p;
	}
	return NULL;
}

static const struct top_point *oldest(const struct top_device *d)
{
	return &d->point[(d->last_point + TOP_POINTS + 1 - d->points) % TOP_POINTS];
}

static u64 rise(u64 now, u64 before)
{
	return now > before ? now - before : 0;
}

static struct top_trend trend(u64 now, u64 then, u64 earlier)
{
	return (struct top_trend){ .recent = rise(now, then), .before = rise(then, earlier) };
}

static void trends(const struct top_model *m, struct top_device *d)
{
	const struct top_point *then, *earlier;
	u64 errors = d->measured ? d->errors : d->dm.word[REMAP_ST_IO_ERRORS];

	d->before_known = false;
	d->minute = 0;
	d->errors_trend = d->moved_trend = d->lost_trend = (struct top_trend){ .recent = 0 };
	if (!d->points)
		return;
	then = m->ms > MINUTE ? point_at(d, m->ms - MINUTE) : NULL;
	then = then ?: oldest(d);
	/* since the last point, of which there is one every few seconds, some time has passed */
	d->minute = (m->ms - then->ms + 500) / 1000;
	earlier = then->ms > MINUTE ? point_at(d, then->ms - MINUTE) : NULL;
	d->before_known = earlier;
	earlier = earlier ?: then;
	d->errors_trend = trend(errors, then->errors, earlier->errors);
	d->moved_trend = trend(d->dm.word[REMAP_ST_RELOCATIONS], then->moved, earlier->moved);
	d->lost_trend = trend(d->dm.word[REMAP_ST_LOST_SECTORS], then->lost, earlier->lost);
}

static void log_trend(const struct top_model *m, struct top_device *d)
{
	const struct remap_agent_event *e;

	d->said_recent = d->said_before = 0;
	for (size_t i = 0; (e = top_event(m, i)); i++) {
		u64 age = e->time_ms < m->time_ms ? m->time_ms - e->time_ms : 0;

		if (e->priority > LOG_WARNING || strcmp(e->name, d->dm.name))
			continue;
		d->said_recent += age < LOG_SPAN;
		d->said_before += age >= LOG_SPAN && age < 2 * LOG_SPAN;
	}
}

static enum top_verdict verdict(const struct top_device *d)
{
	u64 recent = d->errors_trend.recent + d->moved_trend.recent + d->lost_trend.recent;
	u64 before = d->errors_trend.before + d->moved_trend.before + d->lost_trend.before;

	/* before we looked it was the agent that looked, if anybody did */
	if (!d->before_known) {
		if (recent || d->said_recent)
			return d->said_recent > d->said_before ? TOP_WORSE : TOP_STEADY;
		return TOP_CALM;
	}
	if (!recent)
		return before ? TOP_EASING : TOP_CALM;
	return recent > before ? TOP_WORSE : recent < before ? TOP_EASING : TOP_STEADY;
}

/* "12 errors, 4 blocks moved, 3 sectors lost" */
static void happened(u64 errors, u64 moved, u64 lost, char *text, size_t size)
{
	size_t n = 0;

	*text = 0;
	if (errors)
		n += (size_t)snprintf(text, size, "%" PRIu64 " error%s", errors, plural(errors));
	if (moved && n < size)
		n += (size_t)snprintf(text + n, size - n, "%s%" PRIu64 " block%s moved",
				      n ? ", " : "", moved, plural(moved));
	if (lost && n < size)
		n += (size_t)snprintf(text + n, size - n, "%s%" PRIu64 " sector%s lost",
				      n ? ", " : "", lost, plural(lost));
	if (!n)
		snprintf(text, size, "no errors");
}

void top_trend_text(const struct top_device *d, char *text, size_t size)
{
	char recent[96], before[96];

	happened(d->errors_trend.recent, d->moved_trend.recent, d->lost_trend.recent, recent,
		 sizeof(recent));
	happened(d->errors_trend.before, d->moved_trend.before, d->lost_trend.before, before,
		 sizeof(before));
	if (d->before_known)
		snprintf(text, size, "%s: %s in %" PRIu64 " s; in the minute before: %s",
			 top_verdict_text(d->verdict), recent, d->minute, before);
	else if (d->said_recent || d->said_before)
		snprintf(text, size, "%s: %s in %" PRIu64 " s; warnings in the log: %" PRIu64
			 " in 10 min, %" PRIu64 " in the 10 min before",
			 top_verdict_text(d->verdict), recent, d->minute, d->said_recent,
			 d->said_before);
	else
		snprintf(text, size, "%s: %s in %" PRIu64 " s",
			 top_verdict_text(d->verdict), recent, d->minute);
}

u64 top_scrub_left(const struct top_model *m, const struct top_device *d)
{
	const struct remap_agent_target *t = &d->agent;
	u64 read = rise(t->scrub_at, t->scrub_began_at);
	u64 took = rise(m->status_time, t->scrub_began);

	if (!d->agent_known || !t->scrubbing || !read || !took || t->scrub_at > d->dm.sectors)
		return 0;
	return (u64)((double)(d->dm.sectors - t->scrub_at) * (double)took / (double)read) + 1;
}

/* ---- what is wrong ---- */

static void state_problems(struct top_device *d)
{
	const char *name = d->dm.name;

	switch (d->dm.state) {
	case REMAP_PAUSED:
		problem(d, TOP_BAD, "paused", "paused: %s failed all over or at too many places at "
			"once; errors pass up, nothing is moved (look after the disk, then "
			"remapctl reset %s)", d->data, name);
		break;
	case REMAP_EXHAUSTED:
		problem(d, TOP_BAD, "no free slot", "exhausted: no slot is free; bad blocks stay "
			"bad (replace the disk; remapctl grow %s makes room)", name);
		break;
	case REMAP_FAILED:
		problem(d, TOP_BAD, "spare failed", "failed: %s takes no metadata, or does not "
			"answer; nothing is moved (mend it, then remapctl reset %s)", d->spare,
			name);
		break;
	case REMAP_READONLY:
		problem(d, TOP_WATCH, "read-only", "readonly: %s or %s cannot be written; nothing "
			"is moved", d->data, d->spare);
		break;
	default:
		break;
	}
	if (d->dm.suspended)
		problem(d, TOP_BAD, "suspended", "suspended: all I/O waits (dmsetup resume %s)",
			name);
}

static void disk_problems(struct top_device *d)
{
	const u64 *w = d->dm.word;
	const struct top_trend *t = &d->errors_trend;
	char text[96];

	if (w[REMAP_ST_LOST_SECTORS]) {
		snprintf(text, sizeof(text), "%" PRIu64 " lost sector%s", w[REMAP_ST_LOST_SECTORS],
			 plural(w[REMAP_ST_LOST_SECTORS]));
		problem(d, TOP_BAD, text, "%s: no device can give them back; reads of them fail "
			"until they are written again (remapctl list %s)", text, d->dm.name);
	}
	if (t->recent) {
		snprintf(text, sizeof(text), "errors %s (%" PRIu64 " in the last %s)",
			 !d->before_known || t->recent == t->before ? "now" :
			 t->recent > t->before ? "rising" : "easing", t->recent,
			 d->minute < 60 ? "seconds" : "minute");
		problem(d, TOP_BAD, text, "%s: %s fails reads or writes", text, d->data);
	} else if (d->measured && d->errors) {
		snprintf(text, sizeof(text), "%" PRIu64 " error%s earlier", d->errors,
			 plural(d->errors));
		problem(d, TOP_WATCH, text, "%s: %s failed reads or writes, none in the last %"
			PRIu64 " s", text, d->data, d->minute);
	}
	if (!t->recent && !d->before_known && d->said_recent) {
		snprintf(text, sizeof(text), "%s (%" PRIu64 " warning%s in 10 min)",
			 top_verdict_text(d->verdict), d->said_recent, plural(d->said_recent));
		problem(d, d->verdict == TOP_WORSE ? TOP_BAD : TOP_WATCH, text, "%s: in the "
			"agent's log, %" PRIu64 " in the 10 min before", text, d->said_before);
	}
	if (d->moved_trend.recent) {
		snprintf(text, sizeof(text), "%" PRIu64 " block%s moved just now",
			 d->moved_trend.recent, plural(d->moved_trend.recent));
		problem(d, TOP_WATCH, text, "%s, to %s, in the last %" PRIu64 " s", text, d->spare,
			d->minute);
	}
	if (w[REMAP_ST_IO_ERRORS]) {
		snprintf(text, sizeof(text), "%" PRIu64 " error%s reached users",
			 w[REMAP_ST_IO_ERRORS], plural(w[REMAP_ST_IO_ERRORS]));
		problem(d, TOP_WATCH, text, "%s since the device was started", text);
	}
	if (d->new_slow) {
		snprintf(text, sizeof(text), "%" PRIu64 " slow I/O%s", d->new_slow,
			 plural(d->new_slow));
		problem(d, TOP_WATCH, text, "%s in the last interval, beyond the threshold", text);
	}
	if (w[REMAP_ST_STUCK]) {
		snprintf(text, sizeof(text), "%" PRIu64 " I/O%s stuck", w[REMAP_ST_STUCK],
			 plural(w[REMAP_ST_STUCK]));
		problem(d, TOP_BAD, text, "%s: a device has not answered them for seconds", text);
	}
	if (d->agent_known && d->agent.smart_known && d->agent.smart_bad) {
		snprintf(text, sizeof(text), "SMART: %" PRIu64 " bad sector%s", d->agent.smart_bad,
			 plural(d->agent.smart_bad));
		problem(d, TOP_WATCH, text, "%s, as %s itself counts (smartctl -a)", text, d->data);
	}
}

static u64 replicas_not_ok(const struct top_device *d)
{
	const u64 *w = d->dm.word;
	u64 bad = rise(w[REMAP_ST_REPLICAS_TOTAL], w[REMAP_ST_REPLICAS_OK]), read = 0;

	/* the agent reads them; the target knows of what it has written */
	for (int i = 0; d->agent_known && d->agent.replicas_known && i < REMAP_ZONES; i++)
		read += d->agent.replica[i] != REMAP_REPLICA_OK;
	return read > bad ? read : bad;
}

static void spare_problems(struct top_device *d)
{
	const u64 *w = d->dm.word;
	u64 free = top_slots_free(&d->dm), bad = replicas_not_ok(d);
	char text[96];

	if (bad) {
		snprintf(text, sizeof(text), "%" PRIu64 " of %" PRIu64 " replicas not whole", bad,
			 w[REMAP_ST_REPLICAS_TOTAL]);
		problem(d, TOP_BAD, text, "%s: copies of the metadata on %s (remapctl repair %s)",
			text, d->spare, d->dm.name);
	}
	if (d->dm.state != REMAP_EXHAUSTED && free * FEW_SLOTS <= w[REMAP_ST_SLOTS_TOTAL]) {
		snprintf(text, sizeof(text), "%" PRIu64 " slot%s left", free, plural(free));
		problem(d, TOP_BAD, text, "%s of %" PRIu64 " (replace the disk; remapctl grow %s "
			"makes room)", text, w[REMAP_ST_SLOTS_TOTAL], d->dm.name);
	}
	if (w[REMAP_ST_SLOTS_BAD]) {
		snprintf(text, sizeof(text), "%" PRIu64 " bad slot%s", w[REMAP_ST_SLOTS_BAD],
			 plural(w[REMAP_ST_SLOTS_BAD]));
		problem(d, TOP_WATCH, text, "%s: %s has bad blocks, too", text, d->spare);
	} else if (d->spare_errors) {
		snprintf(text, sizeof(text), "%" PRIu64 " error%s of the spare", d->spare_errors,
			 plural(d->spare_errors));
		problem(d, TOP_WATCH, text, "%s, which is %s", text, d->spare);
	}
}

/* ---- the headline ---- */

static void headline(struct top_model *m)
{
	size_t n, shown = 0;

	if (*m->said) {
		snprintf(m->headline, sizeof(m->headline), "%s", m->said);
		return;
	}
	if (!m->n) {
		snprintf(m->headline, sizeof(m->headline),
			 "no remap devices (remapctl create or start makes one)");
		return;
	}
	if (!m->bad && !m->watch) {
		snprintf(m->headline, sizeof(m->headline), m->n == 1 ? "the device is well" :
			 "all %zu devices are well", m->n);
		return;
	}
	n = (size_t)(m->bad ?
		snprintf(m->headline, sizeof(m->headline), "%zu of %zu device%s need%s attention",
			 m->bad, m->n, m->n == 1 ? "" : "s", m->bad == 1 ? "s" : "") :
		snprintf(m->headline, sizeof(m->headline), "%zu of %zu device%s to be watched",
			 m->watch, m->n, m->n == 1 ? "" : "s"));
	for (size_t i = 0; i < m->n && n < sizeof(m->headline); i++) {
		const struct top_device *d = m->device[i];

		if (d->health != (m->bad ? TOP_BAD : TOP_WATCH))
			continue;
		n += (size_t)snprintf(m->headline + n, sizeof(m->headline) - n, "%s %s",
				      shown++ ? ";" : ":", d->dm.name);
		for (size_t p = 0, said = 0; p < d->problems && n < sizeof(m->headline); p++)
			if (d->problem[p].weight == d->health)
				n += (size_t)snprintf(m->headline + n, sizeof(m->headline) - n,
						      "%s %s", said++ ? "," : ":",
						      d->problem[p].text);
	}
}

void top_judge(struct top_model *m)
{
	m->bad = m->watch = 0;
	for (size_t i = 0; i < m->n; i++) {
		struct top_device *d = m->device[i];

		d->health = TOP_GOOD;
		d->problems = 0;
		trends(m, d);
		log_trend(m, d);
		d->verdict = verdict(d);
		state_problems(d);
		disk_problems(d);
		spare_problems(d);
		/* what is worst is read first */
		for (size_t p = 1; p < d->problems; p++) {
			struct top_problem moved = d->problem[p];
			size_t at = p;

			for (; at && d->problem[at - 1].weight < moved.weight; at--)
				d->problem[at] = d->problem[at - 1];
			d->problem[at] = moved;
		}
		m->bad += d->health == TOP_BAD;
		m->watch += d->health == TOP_WATCH;
	}
	headline(m);
}
