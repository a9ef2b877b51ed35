// SPDX-License-Identifier: GPL-2.0-only
/*
 * telemetry: user/lib/telemetry.h by hand, for the suite. Commands come on standard input, a line
 * each; each is answered by one line, "error: ..." if it failed.
 *
 *	watch MAJOR:MINOR START SECTORS SLOW_NS	-> area
 *	slow AREA NS
 *	unwatch AREA
 *	read AREA		-> JSON: counts, percentiles in ns by operation, regions
 *	events			-> JSON array of those since the last time
 *	drain			-> how many events there were since the last time
 *	missed			-> completions not seen, and remap events dropped
 *	attach | detach		-> 1 if the tracepoints of the target are attached
 *	pin FOLDER | unpin FOLDER
 *	pinned FOLDER AREA	-> as read, by the maps pinned there
 */
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include "telemetry.h"

static const char * const op_name[TELEMETRY_OPS] = { "read", "write", "flush", "discard" };
static const char * const kind_name[TELEMETRY_KINDS] = {
	"error", "slow", "relocate-begin", "relocate-end", "commit", "state", "lost", "recovered"
};

static struct remap_telemetry *telemetry;

static void set(struct json_object *o, const char *key, u64 value)
{
	json_object_object_add(o, key, json_object_new_uint64(value));
}

static void answer(struct json_object *o)
{
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
	json_object_put(o);
}

static void histogram(struct json_object *o, const char *name, const u64 *h)
{
	struct json_object *p = json_object_new_object();
	u64 n = 0;

	for (unsigned int b = 0; b < TELEMETRY_BUCKETS; b++)
		n += h[b];
	set(p, "count", n);
	set(p, "p50", remap_percentile(h, 500));
	set(p, "p90", remap_percentile(h, 900));
	set(p, "p99", remap_percentile(h, 990));
	set(p, "p999", remap_percentile(h, 999));
	set(p, "max", remap_percentile(h, 1000));
	json_object_object_add(o, name, p);
}

/* Only those with something in it: [first sector, value] */
static void regions(struct json_object *o, const char *name, const struct telemetry_area *a,
		    const u32 *value)
{
	struct json_object *list = json_object_new_array();

	for (unsigned int i = 0; i < TELEMETRY_REGIONS; i++) {
		struct json_object *p;

		if (!value[i])
			continue;
		p = json_object_new_array();
		json_object_array_add(p, json_object_new_uint64(remap_region_start(a, i)));
		json_object_array_add(p, json_object_new_uint64(value[i]));
		json_object_array_add(list, p);
	}
	json_object_object_add(o, name, list);
}

static void read_area(const struct remap_telemetry *t, u32 area)
{
	const struct telemetry_area *a = remap_telemetry_area(t, area);
	static struct remap_sample s;
	struct json_object *o = json_object_new_object(), *p;

	remap_telemetry_read(t, area, &s);
	set(o, "id", a->id);
	set(o, "start", a->start);
	set(o, "sectors", a->sectors);
	for (unsigned int op = 0; op < TELEMETRY_OPS; op++) {
		p = json_object_new_object();
		set(p, "ios", s.ios[op]);
		set(p, "bytes", s.bytes[op]);
		set(p, "unstamped", s.unstamped[op]);
		histogram(p, "total", s.total[op]);
		if (op <= TELEMETRY_WRITE) {
			histogram(p, "queue", s.queue[op]);
			histogram(p, "device", s.device[op]);
		}
		json_object_object_add(o, op_name[op], p);
	}
	set(o, "errors", s.errors);
	set(o, "slow", s.slow);
	set(o, "dropped", s.dropped);
	regions(o, "region_ios", a, s.region_ios);
	regions(o, "region_worst", a, s.region_worst);
	regions(o, "region_errors", a, s.region_errors);
	regions(o, "region_slow", a, s.region_slow);
	answer(o);
}

static void on_event(void *arg, const struct telemetry_event *e)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "kind", json_object_new_string(kind_name[e->kind]));
	set(o, "time", e->time);
	set(o, "sector", e->sector);
	set(o, "sectors", e->sectors);
	if (e->kind <= TELEMETRY_SLOW) {
		json_object_object_add(o, "op", json_object_new_string(op_name[e->io.op]));
		set(o, "area", e->io.area);
		set(o, "id", e->io.id);
		set(o, "status", e->io.status);
		set(o, "total_ns", e->io.total_ns);
		set(o, "queue_ns", e->io.queue_ns);
	} else {
		set(o, "dev", e->remap.dev);
		for (unsigned int i = 0; i < 3; i++)
			set(o, (const char *[]){ "a", "b", "c" }[i], e->remap.arg[i]);
		set(o, "generation", e->remap.generation);
	}
	json_object_array_add(arg, o);
}

static void count_event(void *arg, const struct telemetry_event *e)
{
	(void)e;
	++*(u64 *)arg;
}

static int failed(const struct remap_err *err)
{
	printf("error: %s\n", err->text);
	return 0;
}

static int command(const char *line)
{
	struct remap_telemetry *other;
	struct remap_err err = { 0 };
	unsigned int ma, mi;
	char folder[256];
	u64 start, sectors, ns;
	u32 area;
	int r;

	if (sscanf(line, "watch %u:%u %" SCNu64 " %" SCNu64 " %" SCNu64, &ma, &mi, &start, &sectors,
		   &ns) == 5) {
		if (remap_telemetry_watch(telemetry, makedev(ma, mi), start, sectors, ns, &area,
					  &err))
			return failed(&err);
		return printf("%u\n", area);
	}
	if (sscanf(line, "slow %u %" SCNu64, &area, &ns) == 2) {
		remap_telemetry_set_slow(telemetry, area, ns);
		return puts("ok");
	}
	if (sscanf(line, "unwatch %u", &area) == 1) {
		remap_telemetry_unwatch(telemetry, area);
		return puts("ok");
	}
	if (sscanf(line, "read %u", &area) == 1) {
		read_area(telemetry, area);
		return 0;
	}
	if (sscanf(line, "pinned %255s %u", folder, &area) == 2) {
		if (remap_telemetry_open_pinned(&other, folder, &err))
			return failed(&err);
		read_area(other, area);
		remap_telemetry_close(other);
		return 0;
	}
	if (sscanf(line, "pin %255s", folder) == 1)
		return remap_telemetry_pin(telemetry, folder, &err) ? failed(&err) : puts("ok");
	if (sscanf(line, "unpin %255s", folder) == 1) {
		remap_telemetry_unpin(folder);
		return puts("ok");
	}
	if (!strcmp(line, "events")) {
		struct json_object *list = json_object_new_array();

		while (remap_telemetry_poll(telemetry, on_event, list, 0) > 0)
			;
		answer(list);
		return 0;
	}
	if (!strcmp(line, "drain")) {
		ns = 0;
		while (remap_telemetry_poll(telemetry, count_event, &ns, 0) > 0)
			;
		return printf("%" PRIu64 "\n", ns);
	}
	if (!strcmp(line, "missed")) {
		if (remap_telemetry_missed(telemetry, &ns, &err))
			return failed(&err);
		return printf("%" PRIu64 " %" PRIu64 "\n", ns, remap_telemetry_dropped(telemetry));
	}
	if (!strcmp(line, "detach")) {
		remap_telemetry_detach(telemetry);
		return puts("0");
	}
	if (!strcmp(line, "attach")) {
		r = remap_telemetry_attach(telemetry, &err);
		return r < 0 ? failed(&err) : printf("%d\n", r);
	}
	return printf("error: what is '%s'?\n", line);
}

int main(void)
{
	struct remap_err err;
	char line[512];

	if (remap_telemetry_open(&telemetry, &err)) {
		printf("error: %s\n", err.text);
		return 1;
	}
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = 0;
		command(line);
		fflush(stdout);
	}
	remap_telemetry_close(telemetry);
	return 0;
}
