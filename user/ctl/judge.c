// SPDX-License-Identifier: GPL-2.0-only
/*
 * What to make of what is known about a device: the first lines of a report. Somebody reads them
 * who has never seen such a page, and has a disk that fails.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include "report.h"
#include "surface.h"

#define PLACES_NAMED	3
#define SCATTERED	50	/* places, from which on it matters more that they are many */

/* How bad it is; the worst finding counts. */
enum level { WELL, WATCH, BAD, STOPPED };

struct verdict {
	enum level level;
	struct json_object *what;
};

static void find(struct verdict *v, enum level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static void find(struct verdict *v, enum level level, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	json_object_array_add(v->what, json_object_new_string(text));
	if (level > v->level)
		v->level = level;
}

static void judge_state(struct verdict *v, struct json_object *dev)
{
	const char *state = get_str(dev, "state");

	if (!strcmp(state, "paused"))
		find(v, STOPPED, "Remapping is paused: the disk failed everywhere, or so often "
		     "that it is no matter of single blocks. Errors reach the applications. Look "
		     "at disk, cable and power; remapctl reset lets it go on.");
	else if (!strcmp(state, "exhausted"))
		find(v, STOPPED, "The spare is full: what goes bad now stays bad. A larger spare "
		     "is needed.");
	else if (!strcmp(state, "failed"))
		find(v, STOPPED, "The spare takes no metadata any more: nothing is remapped. See "
		     "to the spare device; remapctl repair, when it is well again.");
	else if (!strcmp(state, "readonly"))
		find(v, STOPPED, "The device is read-only: nothing is remapped.");
	if (get_bool(dev, "suspended"))
		find(v, STOPPED, "The device is suspended: all I/O waits.");
	if (get_num(dev, "stuck"))
		find(v, STOPPED, "%" PRIu64 " I/Os have had no answer for seconds, and hold up "
		     "relocations.", get_num(dev, "stuck"));
}

u64 replicas_ok(struct json_object *o)
{
	struct json_object *row, *replicas = get(o, "replicas");
	u64 ok = 0;

	if (!replicas)
		return get_num(get(o, "device"), "replicas_ok");
	EACH_ITEM(row, replicas)
		ok += !strcmp(get_str(row, "state"), "ok");
	return ok;
}

static void judge_spare(struct verdict *v, struct json_object *o, struct json_object *dev)
{
	u64 total = get_num(dev, "slots_total");
	u64 taken = get_num(dev, "slots_used") + get_num(dev, "slots_bad");
	u64 all = get_num(dev, "replicas_total"), ok = replicas_ok(o);

	if (ok < all)
		find(v, BAD, "%" PRIu64 " of %" PRIu64 " copies of the metadata %s not whole "
		     "(remapctl repair %s).", all - ok, all, all - ok == 1 ? "is" : "are",
		     get_str(dev, "name"));
	if (get_num(dev, "slots_bad"))
		find(v, WATCH, "The spare has bad blocks of its own: %" PRIu64 " of its slots.",
		     get_num(dev, "slots_bad"));
	if (taken < total && (total - taken) * 10 <= total)
		find(v, BAD, "The spare is nearly full: %" PRIu64 " of %" PRIu64 " slots are left.",
		     total - taken, total);
}

static void judge_disk(struct verdict *v, struct json_object *o, struct json_object *dev)
{
	u64 lost = get_num(dev, "lost_sectors"), moved = get_num(dev, "slots_used");
	struct json_object *agent = get(o, "agent");

	if (lost)
		find(v, BAD, "%" PRIu64 " sector%s lost: %s be read any more, until %s written "
		     "again (restore the files from a backup).", lost,
		     lost == 1 ? " is" : "s are", lost == 1 ? "it cannot" : "they cannot",
		     lost == 1 ? "it is" : "they are");
	if (moved)
		find(v, WATCH, "%" PRIu64 " bad block%s been moved to the spare; %s as usual%s.",
		     moved, moved == 1 ? " has" : "s have",
		     moved == 1 ? "it works" : "they work",
		     lost ? ", but for the lost sectors" : "");
	if (get_num(agent, "smart_bad"))
		find(v, WATCH, "The disk itself counts %" PRIu64 " bad sector%s (SMART).",
		     get_num(agent, "smart_bad"), get_num(agent, "smart_bad") == 1 ? "" : "s");
}

static struct json_object *where(struct json_object *o)
{
	struct json_object *words = json_object_new_array(), *place;
	struct json_object *surface = get(o, "surface");
	u64 sectors = get_num(surface, "size_sectors"), total = get_num(surface, "places_total");
	char text[160], line[224];
	u64 n = 0;

	if (total >= SCATTERED) {
		snprintf(line, sizeof(line), "all over it, in %zu of the %d cells below; the worst "
			 "are", json_object_array_length(get(surface, "regions")),
			 TELEMETRY_REGIONS);
		json_object_array_add(words, json_object_new_string(line));
	}
	EACH_ITEM(place, get(surface, "places")) {
		if (n++ == PLACES_NAMED)
			break;
		snprintf(line, sizeof(line), "%s (at %.1f %% of the disk)",
			 place_text(place, text, sizeof(text)),
			 (double)get_num(place, "sector") * 100 / (double)(sectors ? sectors : 1));
		json_object_array_add(words, json_object_new_string(line));
	}
	if (total > PLACES_NAMED) {
		snprintf(line, sizeof(line), "and %" PRIu64 " more place%s", total - PLACES_NAMED,
			 total == PLACES_NAMED + 1 ? "" : "s");
		json_object_array_add(words, json_object_new_string(line));
	}
	return words;
}

static const char *span_text(u64 ms, char *buf, size_t size)
{
	u64 s = ms / 1000;

	if (s < 2 * 60)
		snprintf(buf, size, "%" PRIu64 " seconds", s);
	else if (s < 2 * 3600)
		snprintf(buf, size, "%" PRIu64 " minutes", s / 60);
	else if (s < 48 * 3600)
		snprintf(buf, size, "%" PRIu64 " hours", s / 3600);
	else
		snprintf(buf, size, "%" PRIu64 " days", s / 86400);
	return buf;
}

/* Return: is it getting worse? */
static bool describe_way(struct json_object *o, struct json_object *dev, char *text, size_t size)
{
	struct json_object *events = get(o, "events"), *t = get(events, "trend");
	const char *way = get_str(t, "way");
	u64 recent = get_num(t, "recent"), before = get_num(t, "before"), all = get_num(t, "all");
	u64 now = get_num(o, "made") * 1000;
	char window[32], since[32];

	if (!t) {
		snprintf(text, size, "Not known, as nobody keeps a record: %s. Since it was "
			 "started: blocks moved: %" PRIu64 ", I/O errors passed up: %" PRIu64 ", "
			 "failed reads that succeeded when tried again: %" PRIu64 ".",
			 get_str(o, "events_unknown"), get_num(dev, "relocations"),
			 get_num(dev, "io_errors"), get_num(dev, "reads_recovered"));
		return false;
	}
	span_text(get_num(t, "window_ms"), window, sizeof(window));
	if (!strcmp(way, "none")) {
		snprintf(text, size, "No: no error and no move on record, which goes back %s.",
			 span_text(now - get_num(events, "begin_ms"), since, sizeof(since)));
	} else if (!strcmp(way, "quiet")) {
		snprintf(text, size, "No: nothing went wrong in the last %s. Before that there is "
			 "%" PRIu64 " on record, the last %s ago.", window, all,
			 span_text(now - get_num(t, "last_ms"), since, sizeof(since)));
	} else if (!strcmp(way, "new")) {
		snprintf(text, size, "It has just begun: %" PRIu64 " errors and moves in the last "
			 "%s, and no record of the time before.", all,
			 span_text(now - get_num(events, "begin_ms"), since, sizeof(since)));
	} else {
		snprintf(text, size, "%s: %" PRIu64 " errors and moves in the last %s, %" PRIu64
			 " in the %s before.", !strcmp(way, "worse") ? "Yes" :
			 !strcmp(way, "better") ? "Less than before" : "It goes on as before",
			 recent, window, before, window);
	}
	if (!get_bool(get(o, "agent"), "alive"))
		snprintf(text + strlen(text), size - strlen(text), " No remap-agent runs now: "
			 "nothing is added to the record.");
	return !strcmp(way, "worse") || !strcmp(way, "new");
}

void judge_report(struct json_object *o)
{
	static const char *const level_name[] = { "well", "watch", "bad", "stopped" };
	static const char *const headline[] = {
		[WELL] = "All is well: nothing is remapped, nothing is lost.",
		[WATCH] = "The disk has bad blocks; no data is lost.",
		[BAD] = "This needs attention.",
		[STOPPED] = "dm-remap protects this disk no more.",
	};
	struct verdict v = { .level = WELL, .what = json_object_new_array() };
	struct json_object *dev = get(o, "device"), *verdict = json_object_new_object();
	u64 lost = get_num(dev, "lost_sectors");
	char line[256], way[512];
	bool worse;

	judge_state(&v, dev);
	judge_disk(&v, o, dev);
	judge_spare(&v, o, dev);
	worse = describe_way(o, dev, way, sizeof(way));
	if (worse && v.level == WATCH)
		v.level = BAD;
	snprintf(line, sizeof(line), "%s", headline[v.level]);
	if (v.level == BAD && lost)
		snprintf(line, sizeof(line), "Data is lost: %" PRIu64 " sector%s%s.", lost,
			 lost == 1 ? "" : "s", worse ? ", and the disk is getting worse" : "");
	else if (v.level == BAD && worse)
		snprintf(line, sizeof(line), "The disk is getting worse; no data is lost yet.");
	put_str(verdict, "level", level_name[v.level]);
	put_str(verdict, "headline", line);
	json_object_object_add(verdict, "what", v.what);
	json_object_object_add(verdict, "where", where(o));
	put_str(verdict, "trend", way);
	put_bool(verdict, "worse", worse);
	json_object_object_add(o, "verdict", verdict);
}
