// SPDX-License-Identifier: GPL-2.0-only
/*
 * How figures look as text, and in which order devices stand: for the screen, --once and --batch.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "top.h"

const char *const top_op_names[TELEMETRY_OPS] = { "read", "write", "flush", "discard" };

void top_count_text(double n, char *text, size_t size)
{
	static const char unit[] = " kMGTPE";
	int u = 0;

	while (n >= 9999.5 || (u && n >= 999.5)) {
		n /= 1000;
		u++;
	}
	if (u)
		snprintf(text, size, n < 9.95 ? "%.1f%c" : "%.0f%c", n, unit[u]);
	else
		snprintf(text, size, n > 0 && n < 9.95 && n != (double)(int)n ? "%.1f" : "%.0f", n);
}

void top_bytes_text(double n, char *text, size_t size)
{
	static const char unit[] = "BKMGTPE";
	int u = 0;

	while (n >= 1023.5) {
		n /= 1024;
		u++;
	}
	snprintf(text, size, u && n < 9.95 ? "%.1f%c" : "%.0f%c", n, unit[u]);
}

void top_ns_text(u64 ns, char *text, size_t size)
{
	static const char *const unit[] = { "ns", "us", "ms", "s" };
	double n = (double)ns;
	int u = 0;

	while (u < 3 && n >= 999.5) {
		n /= 1000;
		u++;
	}
	snprintf(text, size, u && n < 9.95 ? "%.1f%s" : "%.0f%s", n, unit[u]);
}

void top_span_text(u64 s, char *text, size_t size)
{
	if (s < 100)
		snprintf(text, size, "%" PRIu64 "s", s);
	else if (s < 100 * 60)
		snprintf(text, size, "%" PRIu64 "m", (s + 30) / 60);
	else if (s < 48 * 3600)
		snprintf(text, size, "%" PRIu64 "h", (s + 1800) / 3600);
	else
		snprintf(text, size, "%" PRIu64 "d", (s + 43200) / 86400);
}

void top_scrub_text(const struct top_model *m, const struct top_device *d, char *text, size_t size)
{
	const struct remap_agent_target *t = &d->agent;
	u64 left = top_scrub_left(m, d), now = m->time_ms / 1000;
	double part = (double)t->scrub_at * 100 / (double)d->dm.sectors;
	char span[24];

	top_span_text(left, span, sizeof(span));
	if (!d->agent_known)
		snprintf(text, size, "-");
	else if (t->scrubbing && left)
		snprintf(text, size, "%.0f%%, %s left", part, span);
	else if (t->scrubbing)
		snprintf(text, size, "%.0f%%", part);
	else if (t->scrub_at)
		snprintf(text, size, "%.0f%%, stopped", part);
	else if (t->scrubbed) {
		top_span_text(now > t->scrubbed ? now - t->scrubbed : 0, span, sizeof(span));
		snprintf(text, size, "%s ago", span);
	} else
		snprintf(text, size, "never");
}

double top_per_second(const struct top_model *m, u64 count)
{
	return m->interval_ms ? (double)count * 1000 / (double)m->interval_ms : 0;
}

/* ---- cells ---- */

#define CELL(name) \
	static void name##_cell(const struct top_model *m, const struct top_device *d, bool all, \
				char *text, size_t size)
#define KEY(name) \
	static double name##_key(const struct top_model *m, const struct top_device *d, bool all)
#define UNUSED	((void)m, (void)d, (void)all)

CELL(state)
{
	UNUSED;
	snprintf(text, size, "%s", d->dm.suspended ? "suspended" : remap_state_name(d->dm.state));
}

KEY(state)
{
	UNUSED;
	return d->dm.suspended ? REMAP_STATES : d->dm.state;
}

/* A figure that is a number, be it not known. */
#define NUMBER(name, known, value) \
	KEY(name) \
	{ \
		UNUSED; \
		return known ? (double)(value) : -1; \
	} \
	CELL(name) \
	{ \
		if (known) \
			top_count_text(name##_key(m, d, all), text, size); \
		else \
			snprintf(text, size, "-"); \
	}

NUMBER(lost, true, d->dm.word[REMAP_ST_LOST_SECTORS])
NUMBER(errors, d->measured, d->errors)
NUMBER(recent, true, d->errors_trend.recent)
NUMBER(moved, true, d->dm.word[REMAP_ST_RELOCATIONS])
NUMBER(passed, true, d->dm.word[REMAP_ST_IO_ERRORS])
NUMBER(used, true, d->dm.word[REMAP_ST_SLOTS_USED])
NUMBER(bad, true, d->dm.word[REMAP_ST_SLOTS_BAD])
NUMBER(free, true, top_slots_free(&d->dm))
NUMBER(reads, d->counted, top_per_second(m, d->io[TELEMETRY_READ].ios))
NUMBER(writes, d->counted, top_per_second(m, d->io[TELEMETRY_WRITE].ios))

KEY(replicas)
{
	UNUSED;
	return -(double)d->dm.word[REMAP_ST_REPLICAS_OK];
}

CELL(replicas)
{
	UNUSED;
	snprintf(text, size, "%" PRIu64 "/%" PRIu64, (u64)d->dm.word[REMAP_ST_REPLICAS_OK],
		 (u64)d->dm.word[REMAP_ST_REPLICAS_TOTAL]);
}

#define BYTES(name, op) \
	KEY(name) \
	{ \
		UNUSED; \
		return d->counted ? top_per_second(m, d->io[op].bytes) : -1; \
	} \
	CELL(name) \
	{ \
		if (d->counted) \
			top_bytes_text(name##_key(m, d, all), text, size); \
		else \
			snprintf(text, size, "-"); \
	}

BYTES(read_bytes, TELEMETRY_READ)
BYTES(write_bytes, TELEMETRY_WRITE)

/* Latencies: of the last interval, or of all since they are counted. */
#define LATENCY(name, op, p) \
	KEY(name) \
	{ \
		UNUSED; \
		return (double)(all ? d->io[op].all.p : d->io[op].last.p); \
	} \
	CELL(name) \
	{ \
		const struct top_latency *l = all ? &d->io[op].all : &d->io[op].last; \
		UNUSED; \
		if (d->measured && l->count) \
			top_ns_text(l->p, text, size); \
		else \
			snprintf(text, size, "-"); \
	}

LATENCY(r50, TELEMETRY_READ, p50)
LATENCY(r99, TELEMETRY_READ, p99)
LATENCY(r999, TELEMETRY_READ, p999)
LATENCY(w50, TELEMETRY_WRITE, p50)
LATENCY(w99, TELEMETRY_WRITE, p99)
LATENCY(w999, TELEMETRY_WRITE, p999)
LATENCY(f50, TELEMETRY_FLUSH, p50)
LATENCY(f99, TELEMETRY_FLUSH, p99)
LATENCY(f999, TELEMETRY_FLUSH, p999)
LATENCY(d50, TELEMETRY_DISCARD, p50)
LATENCY(d99, TELEMETRY_DISCARD, p99)
LATENCY(d999, TELEMETRY_DISCARD, p999)

CELL(scrub)
{
	UNUSED;
	top_scrub_text(m, d, text, size);
}

KEY(scrub)
{
	UNUSED;
	return !d->agent_known ? -1 : d->agent.scrubbing ? (double)d->agent.scrub_at : 0;
}

#define COLUMN(title, name, width, help) \
	{ title, help, width, false, name##_cell, name##_key }

const struct top_column top_columns[] = {
	{ "STATE", "state of the target", 9, true, state_cell, state_key },
	COLUMN("LOST", lost, 5, "sectors that no device can give back"),
	COLUMN("ERRORS", errors, 6, "reads and writes of the disk that failed, healed or not"),
	COLUMN("+/MIN", recent, 5, "of these in the last minute"),
	COLUMN("MOVED", moved, 5, "blocks moved since the target was loaded"),
	COLUMN("REPL", replicas, 4, "replicas of the metadata that are whole"),
	COLUMN("FREE", free, 5, "slots of the spare that are free"),
	COLUMN("R/s", reads, 5, "reads of the disk in a second"),
	COLUMN("W/s", writes, 5, "writes"),
	COLUMN("r99", r99, 5, "99 % of the reads took no longer"),
	COLUMN("w99", w99, 5, "99 % of the writes took no longer"),
	COLUMN("USED", used, 5, "slots in use"),
	COLUMN("BAD", bad, 4, "slots that are bad"),
	COLUMN("rB/s", read_bytes, 5, "bytes read in a second"),
	COLUMN("wB/s", write_bytes, 5, "bytes written"),
	COLUMN("SCRUB", scrub, 13, "how far the surface is read, or when it was"),
	COLUMN("r50", r50, 5, "half of the reads took no longer; so for the others"),
	COLUMN("r99.9", r999, 5, NULL),
	COLUMN("w50", w50, 5, NULL),
	COLUMN("w99.9", w999, 5, NULL),
	COLUMN("f50", f50, 5, "flushes"),
	COLUMN("f99", f99, 5, NULL),
	COLUMN("f99.9", f999, 5, NULL),
	COLUMN("d50", d50, 5, "discards"),
	COLUMN("d99", d99, 5, NULL),
	COLUMN("d99.9", d999, 5, NULL),
	COLUMN("PASSED", passed, 6, "errors that were passed up since the target was loaded"),
};

const size_t top_n_columns = sizeof(top_columns) / sizeof(top_columns[0]);

/* ---- order ---- */

struct order {
	const struct top_model *m;
	int column;
	bool all, reverse;
};

static int by_order(const void *a, const void *b, void *arg)
{
	const struct top_device *x = *(const struct top_device *const *)a;
	const struct top_device *y = *(const struct top_device *const *)b;
	const struct order *o = arg;
	double kx = x->health, ky = y->health;
	int r;

	if (o->column == TOP_BY_NAME) {
		kx = ky = 0;
	} else if (o->column >= 0) {
		kx = top_columns[o->column].key(o->m, x, o->all);
		ky = top_columns[o->column].key(o->m, y, o->all);
	}
	r = kx > ky ? -1 : kx < ky ? 1 : strcmp(x->dm.name, y->dm.name);
	return o->reverse ? -r : r;
}

void top_sort(const struct top_model *m, struct top_device **list, size_t n, int column, bool all,
	      bool reverse)
{
	struct order o = { .m = m, .column = column, .all = all, .reverse = reverse };

	qsort_r(list, n, sizeof(struct top_device *), by_order, &o);
}
