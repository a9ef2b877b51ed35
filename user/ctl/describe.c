// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is known about a device as the JSON of a report: its blocks, its latency, what happened to
 * it. Facts alone, bounded in number; what to make of them is in judge.c.
 */
#include <string.h>
#include "report.h"
#include "surface.h"

#define DAY_MS		(24 * 3600 * 1000ULL)
#define SHORTEST_MS	(10 * 60 * 1000ULL)	/* of a record that is compared with itself */

struct json_object *list_row(const void *arg, size_t i)
{
	const struct remaps *l = arg;
	const struct remapped *b = &l->block[i];
	struct json_object *o = json_object_new_object(), *gone = json_object_new_array();

	put_num(o, "sector", b->sector);
	put_num(o, "count", b->count);
	put_num(o, "slot", b->slot);
	for (u32 bit = 0; bit < 32; bit++)
		if (b->lost & 1U << bit)
			json_object_array_add(gone, json_object_new_uint64(b->sector +
									   bit * l->unit));
	json_object_object_add(o, "lost", gone);
	return o;
}

void describe_blocks(struct json_object *o, const struct remaps *l)
{
	struct json_object *blocks = json_object_new_array();
	const char *which = "all";
	size_t lost = 0;

	for (size_t i = 0; i < l->n; i++)
		lost += !!l->block[i].lost;
	if (l->n > MAX_BLOCKS)
		which = lost <= MAX_BLOCKS ? "lost" : "none";
	for (size_t i = 0; i < l->n && *which != 'n'; i++)
		if (*which == 'a' || l->block[i].lost)
			json_object_array_add(blocks, list_row(l, i));
	put_num(o, "blocks_total", l->n);
	put_str(o, "blocks_listed", which);
	put_num(o, "lost_unit", l->unit);
	json_object_object_add(o, "blocks", blocks);
}

void describe_latency(struct json_object *o, const struct measured *m)
{
	static const char *const name[TELEMETRY_OPS] = { "read", "write", "flush", "discard" };
	struct json_object *latency = json_object_new_object(), *ops = json_object_new_array();
	const struct remap_sample *s = &m->sample;

	for (int op = 0; op < TELEMETRY_OPS; op++) {
		struct json_object *row, *buckets;

		if (!s->ios[op])
			continue;
		row = json_object_new_object();
		buckets = json_object_new_array();
		put_str(row, "op", name[op]);
		put_num(row, "ios", s->ios[op]);
		put_num(row, "unstamped", s->unstamped[op]);
		put_num(row, "p50_ns", remap_percentile(s->total[op], 500));
		put_num(row, "p99_ns", remap_percentile(s->total[op], 990));
		put_num(row, "p999_ns", remap_percentile(s->total[op], 999));
		put_num(row, "longest_ns", remap_percentile(s->total[op], 1000));
		for (unsigned int b = 0; b < TELEMETRY_BUCKETS; b++) {
			struct json_object *bucket;

			if (!s->total[op][b])
				continue;
			bucket = json_object_new_object();
			put_num(bucket, "from_ns", remap_bucket_ns(b));
			put_num(bucket, "to_ns", remap_bucket_ns(b + 1));
			put_num(bucket, "ios", s->total[op][b]);
			json_object_array_add(buckets, bucket);
		}
		json_object_object_add(row, "buckets", buckets);
		json_object_array_add(ops, row);
	}
	put_num(latency, "errors", s->errors);
	put_num(latency, "slow", s->slow);
	/* what the programs cannot reach is no threshold */
	put_num(latency, "slow_ns", m->area.slow_ns < TELEMETRY_LONGEST ? m->area.slow_ns : 0);
	json_object_object_add(latency, "ops", ops);
	json_object_object_add(o, "latency", latency);
}

/* ---- the agent's record ---- */

enum trouble trouble_of(const struct remap_agent_event *e)
{
	if (!strcmp(e->what, "lost"))
		return TROUBLE_LOST;
	if (!strcmp(e->what, "error") || !strcmp(e->what, "not-moved") || !strcmp(e->what, "smart"))
		return TROUBLE_ERROR;
	if (!strcmp(e->what, "move"))
		return strcmp(e->result, "begun") ? TROUBLE_MOVE : TROUBLE_NONE;
	if (!strcmp(e->what, "slow"))
		return TROUBLE_SLOW;
	return TROUBLE_NONE;
}

const char *trouble_name(enum trouble k)
{
	static const char *const name[TROUBLES] = {
		[TROUBLE_LOST] = "lost", [TROUBLE_ERROR] = "error", [TROUBLE_MOVE] = "move",
		[TROUBLE_SLOW] = "slow",
	};

	return k < TROUBLES ? name[k] : "other";
}

static bool is_ours(const struct remap_agent_event *e, const char *name, const char *uuid)
{
	/* a name may have been another disk's before */
	return *e->uuid && *uuid ? !strcmp(e->uuid, uuid) : !strcmp(e->name, name);
}

static struct json_object *describe_event(const struct remap_agent_event *e)
{
	struct json_object *o = json_object_new_object();

	put_num(o, "time_ms", e->time_ms);
	put_num(o, "priority", (u64)e->priority);
	put_str(o, "what", e->what);
	put_str(o, "result", *e->result ? e->result : NULL);
	if (e->has_sectors) {
		put_num(o, "sector", e->sector);
		put_num(o, "count", e->sectors);
	}
	put_str(o, "text", e->text);
	put_str(o, "kind", trouble_name(trouble_of(e)));
	return o;
}

static struct json_object *time_line(const struct record *r, const char *name, const char *uuid,
				     u64 begin, u64 now)
{
	struct json_object *bins = json_object_new_array();
	u64 count[EVENT_BINS][TROUBLES] = { { 0 } };
	u64 span = now - begin + 1;

	for (size_t i = 0; i < r->n; i++) {
		const struct remap_agent_event *e = &r->event[i];
		enum trouble k = trouble_of(e);

		if (is_ours(e, name, uuid) && k < TROUBLES && e->time_ms >= begin &&
		    e->time_ms <= now)
			count[(e->time_ms - begin) * EVENT_BINS / span][k]++;
	}
	for (u64 b = 0; b < EVENT_BINS; b++) {
		struct json_object *o = json_object_new_object();

		put_num(o, "from_ms", begin + b * span / EVENT_BINS);
		put_num(o, "to_ms", begin + (b + 1) * span / EVENT_BINS);
		for (int k = 0; k < TROUBLES; k++)
			put_num(o, trouble_name((enum trouble)k), count[b][k]);
		json_object_array_add(bins, o);
	}
	return bins;
}

/* What is slow is a warning, but no damage yet. */
static bool is_damage(const struct remap_agent_event *e)
{
	return trouble_of(e) < TROUBLE_SLOW;
}

/*
 * The last 24 hours against those before; if the record is younger than that, its second half
 * against its first.
 */
static struct json_object *trend(const struct record *r, const char *name, const char *uuid,
				 u64 begin, u64 now)
{
	struct json_object *o = json_object_new_object();
	u64 window = (now - begin) / 2 < DAY_MS ? (now - begin) / 2 : DAY_MS;
	u64 recent = 0, before = 0, all = 0, last = 0;
	const char *way;

	for (size_t i = 0; i < r->n; i++) {
		const struct remap_agent_event *e = &r->event[i];

		if (!is_ours(e, name, uuid) || !is_damage(e) || e->time_ms > now)
			continue;
		all++;
		last = e->time_ms;
		recent += e->time_ms > now - window;
		before += e->time_ms <= now - window && e->time_ms + 2 * window >= now;
	}
	if (!all)
		way = "none";
	else if (now - begin < SHORTEST_MS)
		way = "new";
	else if (!recent)
		way = "quiet";
	else
		way = 2 * recent > 3 * before ? "worse" : 3 * recent < 2 * before ? "better" :
		      "steady";
	put_str(o, "way", way);
	put_num(o, "window_ms", window);
	put_num(o, "recent", recent);
	put_num(o, "before", before);
	put_num(o, "all", all);
	put_num(o, "last_ms", last);
	return o;
}

void describe_events(struct json_object *o, const struct record *r, const char *name,
		     const char *uuid, uint64_t now_ms)
{
	struct json_object *events = json_object_new_object(), *list = json_object_new_array();
	u64 begin = r->n && r->event[0].time_ms < now_ms ? r->event[0].time_ms : now_ms;
	size_t ours = 0, at = 0;

	for (size_t i = 0; i < r->n; i++)
		ours += is_ours(&r->event[i], name, uuid);
	for (size_t i = 0; i < r->n; i++)
		if (is_ours(&r->event[i], name, uuid) && at++ + MAX_EVENTS >= ours)
			json_object_array_add(list, describe_event(&r->event[i]));
	put_num(events, "total", ours);
	put_num(events, "begin_ms", begin);
	json_object_object_add(events, "trend", trend(r, name, uuid, begin, now_ms));
	json_object_object_add(events, "time_line", time_line(r, name, uuid, begin, now_ms));
	json_object_object_add(events, "list", list);
	json_object_object_add(o, "events", events);
}
