// SPDX-License-Identifier: GPL-2.0-only
/*
 * The model as text and as JSON, for --once, --batch and --json.
 */
#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <syslog.h>
#include <time.h>
#include "text.h"
#include "top.h"

#define EVENTS_FIRST	10	/* of what was before; later intervals have what is new */

/* ---- text ---- */

static void print_event(const struct remap_agent_event *e)
{
	time_t s = (time_t)(e->time_ms / 1000);
	struct tm tm;
	char when[32] = "";

	if (localtime_r(&s, &tm))
		strftime(when, sizeof(when), "%F %T", &tm);
	printf("%s %c %s%s%s\n", when, e->priority <= LOG_CRIT ? '!' :
	       e->priority <= LOG_WARNING ? '*' : ' ', e->name, *e->name ? ": " : "", e->text);
}

static void print_devices(const struct top_model *m, struct top_device **list)
{
	int name = 4;

	for (size_t i = 0; i < m->n; i++)
		if ((int)strlen(list[i]->dm.name) > name)
			name = (int)strlen(list[i]->dm.name);
	printf("  %-*s", name, "NAME");
	for (size_t c = 0; c < top_n_columns; c++)
		printf(top_columns[c].left ? " %-*s" : " %*s", top_columns[c].width,
		       top_columns[c].title);
	for (size_t i = 0; i < m->n; i++) {
		const struct top_device *d = list[i];

		printf("\n%c %-*s", " *!"[d->health], name, d->dm.name);
		for (size_t c = 0; c < top_n_columns; c++) {
			char text[32];

			top_columns[c].cell(m, d, false, text, sizeof(text));
			printf(top_columns[c].left ? " %-*s" : " %*s", top_columns[c].width, text);
		}
	}
	putchar('\n');
}

void top_report_text(const struct top_model *m, bool first)
{
	struct top_device **list = calloc(m->n + 1, sizeof(struct top_device *));
	size_t events = m->new_events < TOP_EVENTS ? m->new_events : TOP_EVENTS;
	time_t now = (time_t)(m->time_ms / 1000);
	struct tm tm;
	char when[32] = "", trend[320];

	if (!list)
		return;
	if (!first)
		putchar('\n');
	if (localtime_r(&now, &tm))
		strftime(when, sizeof(when), "%F %T", &tm);
	printf("%s  %s\n", when, m->headline);
	if (*m->missing)
		printf("missing: %s\n", m->missing);
	if (m->n) {
		memcpy(list, m->device, m->n * sizeof(*list));
		top_sort(m, list, m->n, TOP_BY_HEALTH, false, false);
		print_devices(m, list);
	}
	for (size_t i = 0; i < m->n; i++) {
		const struct top_device *d = list[i];

		if (d->health == TOP_GOOD)
			continue;
		top_trend_text(d, trend, sizeof(trend));
		printf("%s: %s\n", d->dm.name, trend);
		for (size_t p = 0; p < d->problems; p++)
			printf("%s: %s\n", d->dm.name, d->problem[p].more);
	}
	if (first && events > EVENTS_FIRST)
		events = EVENTS_FIRST;
	while (events--)
		print_event(top_event(m, events));
	free(list);
}

/* ---- JSON ---- */

static void put_num(struct json_object *o, const char *key, u64 value)
{
	json_object_object_add(o, key, json_object_new_uint64(value));
}

/* Sectors as a rate are of no use, and a number of 17 digits is no better than one of 4. */
static void put_rate(struct json_object *o, const char *key, double value)
{
	char text[32];

	snprintf(text, sizeof(text), "%.1f", value);
	json_object_object_add(o, key, json_object_new_double_s(value, text));
}

static void put_bool(struct json_object *o, const char *key, bool value)
{
	json_object_object_add(o, key, json_object_new_boolean(value));
}

static void put_str(struct json_object *o, const char *key, const char *value)
{
	char clean[600];

	remap_text_clean(clean, sizeof(clean), value);
	json_object_object_add(o, key, json_object_new_string(clean));
}

static void put_latency(struct json_object *o, const char *key, const struct top_latency *l)
{
	struct json_object *to;

	if (!l->count)
		return;
	to = json_object_new_object();
	put_num(to, "count", l->count);
	put_num(to, "p50_ns", l->p50);
	put_num(to, "p99_ns", l->p99);
	put_num(to, "p999_ns", l->p999);
	json_object_object_add(o, key, to);
}

static struct json_object *io_json(const struct top_model *m, const struct top_io *io)
{
	struct json_object *o = json_object_new_object(), *all = json_object_new_object();

	put_num(o, "ios", io->ios);
	put_num(o, "bytes", io->bytes);
	put_rate(o, "per_second", top_per_second(m, io->ios));
	put_rate(o, "bytes_per_second", top_per_second(m, io->bytes));
	put_latency(o, "latency", &io->last);
	put_latency(o, "queue", &io->queue);
	put_latency(o, "device", &io->device);
	put_num(all, "ios", io->all_ios);
	put_num(all, "bytes", io->all_bytes);
	put_latency(all, "latency", &io->all);
	put_latency(all, "queue", &io->all_queue);
	put_latency(all, "device", &io->all_device);
	json_object_object_add(o, "since_start", all);
	return o;
}

/* Regions with something in them, as [region, value]. */
static void put_regions(struct json_object *o, const char *key, const u32 *value, u64 unit)
{
	struct json_object *list = json_object_new_array();

	for (unsigned int i = 0; i < TELEMETRY_REGIONS; i++) {
		struct json_object *pair;

		if (!value[i])
			continue;
		pair = json_object_new_array();
		json_object_array_add(pair, json_object_new_uint64(i));
		json_object_array_add(pair, json_object_new_uint64(value[i] * unit));
		json_object_array_add(list, pair);
	}
	json_object_object_add(o, key, list);
}

static struct json_object *surface_json(const struct top_device *d)
{
	const struct remap_sample *s = &d->now;
	struct json_object *o = json_object_new_object();

	put_num(o, "regions", TELEMETRY_REGIONS);
	if (d->measured) {
		put_regions(o, "ios", s->region_ios, 1);
		put_regions(o, "errors", s->region_errors, 1);
		put_regions(o, "slow", s->region_slow, 1);
		put_regions(o, "worst_ns", s->region_worst, 1 << TELEMETRY_UNIT_SHIFT);
	}
	if (d->remaps_done)
		put_regions(o, "remaps", d->remaps, 1);
	return o;
}

static struct json_object *scrub_json(const struct top_model *m, const struct top_device *d)
{
	const struct remap_agent_target *t = &d->agent;
	struct json_object *o = json_object_new_object();
	u64 left = top_scrub_left(m, d);

	put_bool(o, "running", t->scrubbing);
	put_num(o, "sector", t->scrub_at);
	if (left)
		put_num(o, "seconds_left", left);
	if (t->scrubbed)
		put_num(o, "completed", t->scrubbed);
	return o;
}

static void put_trend(struct json_object *o, const char *key, const struct top_device *d,
		      const struct top_trend *t)
{
	struct json_object *to = json_object_new_object();

	put_num(to, "recent", t->recent);
	if (d->before_known)
		put_num(to, "before", t->before);
	json_object_object_add(o, key, to);
}

static struct json_object *trend_json(const struct top_device *d)
{
	struct json_object *o = json_object_new_object();
	char text[320];

	put_str(o, "verdict", top_verdict_text(d->verdict));
	top_trend_text(d, text, sizeof(text));
	put_str(o, "text", text);
	put_num(o, "seconds", d->minute);
	put_trend(o, "errors", d, &d->errors_trend);
	put_trend(o, "moved", d, &d->moved_trend);
	put_trend(o, "lost", d, &d->lost_trend);
	return o;
}

/* The same words as remapctl status --json has, and more. */
static struct json_object *device_json(const struct top_model *m, const struct top_device *d)
{
	static const struct {
		const char *key;
		enum remap_status_word word;
	} words[] = {
		{ "block_size", REMAP_ST_BLOCK_SIZE }, { "slots_total", REMAP_ST_SLOTS_TOTAL },
		{ "slots_used", REMAP_ST_SLOTS_USED }, { "slots_bad", REMAP_ST_SLOTS_BAD },
		{ "lost_sectors", REMAP_ST_LOST_SECTORS }, { "replicas_ok", REMAP_ST_REPLICAS_OK },
		{ "replicas_total", REMAP_ST_REPLICAS_TOTAL },
		{ "relocations", REMAP_ST_RELOCATIONS },
		{ "reads_recovered", REMAP_ST_READS_RECOVERED },
		{ "io_errors", REMAP_ST_IO_ERRORS }, { "queued", REMAP_ST_QUEUED },
		{ "stuck", REMAP_ST_STUCK },
	};
	struct json_object *o = json_object_new_object(), *list, *io;

	put_str(o, "name", d->dm.name);
	put_str(o, "state", remap_state_name(d->dm.state));
	put_bool(o, "suspended", d->dm.suspended);
	put_str(o, "data_device", d->data);
	put_str(o, "spare_device", d->spare);
	put_num(o, "sectors", d->dm.sectors);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		put_num(o, words[i].key, d->dm.word[words[i].word]);
	put_num(o, "slots_free", top_slots_free(&d->dm));
	put_str(o, "health", top_health_name(d->health));
	list = json_object_new_array();
	for (size_t i = 0; i < d->problems; i++)
		json_object_array_add(list, json_object_new_string(d->problem[i].more));
	json_object_object_add(o, "problems", list);
	json_object_object_add(o, "trend", trend_json(d));
	put_str(o, "counted_by", d->measured ? "telemetry" : d->counted ? "diskstats" : "nobody");
	if (d->measured) {
		put_num(o, "errors", d->errors);
		put_num(o, "errors_in_interval", d->new_errors);
		put_num(o, "slow", d->slow);
		put_num(o, "spare_errors", d->spare_errors);
	}
	io = json_object_new_object();
	for (unsigned int op = 0; d->counted && op < TELEMETRY_OPS; op++)
		json_object_object_add(io, top_op_names[op], io_json(m, &d->io[op]));
	json_object_object_add(o, "io", io);
	json_object_object_add(o, "surface", surface_json(d));
	if (!d->agent_known)
		return o;
	json_object_object_add(o, "scrub", scrub_json(m, d));
	put_num(o, "moved_today", d->agent.moved_today);
	if (d->agent.smart_known)
		put_num(o, "smart_bad_sectors", d->agent.smart_bad);
	list = json_object_new_array();
	for (int i = 0; d->agent.replicas_known && i < REMAP_ZONES; i++)
		json_object_array_add(list, json_object_new_string(
			remap_replica_state_name(d->agent.replica[i])));
	json_object_object_add(o, "replicas", list);
	return o;
}

static struct json_object *event_json(const struct remap_agent_event *e)
{
	struct json_object *o = json_object_new_object();

	put_num(o, "time_ms", e->time_ms);
	put_num(o, "priority", (u64)e->priority);
	put_str(o, "name", e->name);
	put_str(o, "what", e->what);
	put_str(o, "result", e->result);
	if (e->has_sectors) {
		put_num(o, "sector", e->sector);
		put_num(o, "sectors", e->sectors);
	}
	put_str(o, "text", e->text);
	return o;
}

void top_report_json(const struct top_model *m)
{
	static const char *const sources[] = { "none", "agent", "own" };
	struct json_object *o = json_object_new_object(), *list = json_object_new_array();
	size_t events = m->new_events < TOP_EVENTS ? m->new_events : TOP_EVENTS;

	put_num(o, "time_ms", m->time_ms);
	put_num(o, "interval_ms", m->interval_ms);
	put_str(o, "headline", m->headline);
	put_num(o, "need_attention", m->bad);
	put_bool(o, "agent", m->agent_alive);
	put_str(o, "telemetry", sources[m->source]);
	put_str(o, "missing", m->missing);
	for (size_t i = 0; i < m->n; i++) {
		top_surface(m, m->device[i]);
		json_object_array_add(list, device_json(m, m->device[i]));
	}
	json_object_object_add(o, "devices", list);
	list = json_object_new_array();
	while (events--)
		json_object_array_add(list, event_json(top_event(m, events)));
	json_object_object_add(o, "events", list);
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN |
					    JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
}
