/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the parts of remap-top share.
 *
 *   remap-top.c	the command line, the clock
 *   model.c		all figures of an interval, from wherever they are to be had
 *   judge.c		what is wrong, and is it getting worse? Nothing but arithmetic
 *   columns.c		how a figure looks as text
 *   report.c		--once, --batch, --json
 *   screen.c		the screen; terminal.c: is there one?
 *
 * Whatever is shown is in struct top_model: screen, text and JSON are three views of it, and have
 * no figures of their own.
 */
#ifndef REMAP_TOP_H
#define REMAP_TOP_H

#include <stdbool.h>
#include <stdio.h>
#include "agentlog.h"
#include "dm.h"
#include "telemetry.h"

/* ---- the model ---- */

enum top_side { TOP_DATA, TOP_SPARE, TOP_SIDES };

/* Where telemetry comes from. */
enum top_source {
	TOP_NONE,			/* top_model.missing says why */
	TOP_AGENT,			/* the maps that remap-agent has pinned */
	TOP_OWN,			/* loaded by ourselves: counts begin with us */
};

struct top_latency {
	u64 count;			/* with a known latency */
	u64 p50, p99, p999;		/* ns */
};

struct top_io {
	u64 ios, bytes;			/* in the last interval */
	u64 all_ios, all_bytes;		/* since they are counted */
	struct top_latency last, all;
	/* of reads and writes where the kernel tells queue and device apart */
	struct top_latency queue, device, all_queue, all_device;
};

/* What is watched of a device: its data device, or its spare. */
struct top_watched {
	dev_t dev;			/* what the following was found for; 0: nothing yet */
	u32 disk;			/* as telemetry_area.disk */
	u64 start;			/* sector of the disk */
	bool on_disk;			/* the above is known */
	bool measured;			/* there is an area for it, and this is it: */
	u32 area, id;
};

/* How often something happened: in the last minute, and in the one before that. */
struct top_trend {
	u64 recent, before;
};

enum top_verdict {
	TOP_CALM,			/* nothing new */
	TOP_EASING,
	TOP_STEADY,
	TOP_WORSE,
	TOP_VERDICTS
};

enum top_health { TOP_GOOD, TOP_WATCH, TOP_BAD };

struct top_problem {
	enum top_health weight;
	char text[96];			/* a few words */
	char more[192];			/* what that means, and the remedy */
};

#define TOP_PROBLEMS	12
#define TOP_POINTS	80		/* of history, two seconds apart or more */

struct top_point {
	u64 ms;
	u64 errors, moved, lost;
};

/* As /proc/diskstats has the remap device itself. */
struct top_stat {
	u64 ios[TELEMETRY_OPS], sectors[TELEMETRY_OPS];
};

struct top_device {
	struct remap_target dm;
	char data[64], spare[64];	/* paths */
	bool seen;			/* in the list that is being gone through */
	u64 since_ms;			/* when we saw it first */

	struct top_watched side[TOP_SIDES];
	struct remap_sample now;	/* of the data device; regions: see top_surface() */
	struct remap_sample before;	/* without regions */
	bool counted;			/* what follows is known, be it by diskstats alone */
	bool measured;			/* by telemetry: of the data device, with latencies */
	struct top_io io[TELEMETRY_OPS];
	u64 errors, slow, spare_errors;	/* since they are counted */
	u64 new_errors, new_slow;	/* in the last interval */
	u64 error_at;			/* sector of the last one that we saw ourselves */
	bool has_stat;
	struct top_stat stat, stat_before;

	bool agent_known;
	struct remap_agent_target agent;

	struct top_point point[TOP_POINTS];	/* a ring */
	size_t points, last_point;

	/* judge.c */
	enum top_health health;
	enum top_verdict verdict;
	u64 minute;			/* s that top_trend.recent is about, at most 60 */
	bool before_known;
	struct top_trend errors_trend, moved_trend, lost_trend;
	u64 said_recent, said_before;	/* by the agent: warnings in 10 min, in 10 min before */
	struct top_problem problem[TOP_PROBLEMS];
	size_t problems;

	/* where remapped blocks are: read when asked for, see top_collect() */
	u32 remaps[TELEMETRY_REGIONS];
	u64 remaps_of[3];		/* relocations, slots in use, lost: when that was begun */
	u64 remaps_next;		/* sector to go on from */
	bool remaps_begun, remaps_done;
	u32 remaps_new[TELEMETRY_REGIONS];
	u64 remaps_begun_ms;
};

#define TOP_EVENTS	256

struct top_model {
	u64 time_ms;			/* since 1970 */
	u64 ms;				/* of a clock that only goes forward */
	u64 interval_ms;		/* since the collection before; 0: there was none */
	struct top_device **device;	/* by name */
	size_t n;
	enum top_source source;
	char missing[400];		/* what cannot be known, and why; empty: nothing */
	char said[400];			/* why device-mapper could not be asked; empty: it could */
	bool agent_alive, dry_run;
	u64 status_time;		/* when the agent wrote what it says of devices */

	struct remap_agent_event event[TOP_EVENTS];	/* a ring */
	size_t events;			/* that there ever were; the newest is the one before */
	size_t new_events;		/* since the collection before */

	char headline[512];
	size_t bad, watch;		/* devices */

	/* model.c's own */
	struct remap_telemetry *telemetry;
	ino_t pins;			/* which maps those are */
	u64 try_ms;			/* when to try again to load programs */
	char why[320];			/* that could not be loaded */
	struct remap_agent_cursor cursor;
	u64 log_at;			/* time of the agent's last event that was read */
};

/** top_model_free() - all that the model has, telemetry among it */
void top_model_free(struct top_model *m);

enum top_remaps {
	TOP_REMAPS_NONE,
	TOP_REMAPS_SLICE,		/* of one device, a bit each time, so that nobody waits */
	TOP_REMAPS_ALL,
};

/**
 * top_collect() - the figures of now, and their differences to those before
 * @remaps: is it wanted where blocks are remapped?
 * @of: whose, with TOP_REMAPS_SLICE
 *
 * What cannot be had is not known, and m->missing says so: nothing here fails.
 */
void top_collect(struct top_model *m, enum top_remaps remaps, const struct top_device *of);

/** top_surface() - the regions of d->now, of now: for 64 devices that would be much to read */
void top_surface(const struct top_model *m, struct top_device *d);

/** top_histogram() - of a device; @part: 0 total, 1 queue, 2 device; @all: since start */
void top_histogram(const struct top_device *d, unsigned int op, unsigned int part, bool all,
		   u64 histogram[TELEMETRY_BUCKETS]);

/* ---- judge.c ---- */

/** top_judge() - fill in what is its, of all devices, and the headline */
void top_judge(struct top_model *m);

/** top_event() - the i-th newest, from 0; NULL: there is none */
const struct remap_agent_event *top_event(const struct top_model *m, size_t i);

/** top_slots_free() - neither used nor bad */
u64 top_slots_free(const struct remap_target *t);

/** top_verdict_text() - "getting worse", ... */
const char *top_verdict_text(enum top_verdict v);
const char *top_health_name(enum top_health h);

/** top_trend_text() - how many errors and moves lately and before, in words */
void top_trend_text(const struct top_device *d, char *text, size_t size);

/** top_scrub_left() - seconds until the scrub that is under way is through. Return: 0: unknown */
u64 top_scrub_left(const struct top_model *m, const struct top_device *d);

/* ---- columns.c ---- */

struct top_column {
	const char *title;
	const char *help;
	int width;
	bool left;
	void (*cell)(const struct top_model *m, const struct top_device *d, bool all, char *text,
		     size_t size);
	double (*key)(const struct top_model *m, const struct top_device *d, bool all);
};

extern const struct top_column top_columns[];
extern const size_t top_n_columns;

enum { TOP_BY_HEALTH = -1, TOP_BY_NAME = -2 };	/* in place of a column's number */

/** top_sort() - the largest first, those that need attention, or by name */
void top_sort(const struct top_model *m, struct top_device **list, size_t n, int column,
	      bool all, bool reverse);

/** top_ns_text(), top_count_text(), top_bytes_text(), top_span_text(): at most five columns */
void top_ns_text(u64 ns, char *text, size_t size);
void top_count_text(double n, char *text, size_t size);
void top_bytes_text(double n, char *text, size_t size);
void top_span_text(u64 seconds, char *text, size_t size);

/** top_scrub_text() - "34 %, 2h left", "3d ago", ... */
void top_scrub_text(const struct top_model *m, const struct top_device *d, char *text,
		    size_t size);

/** top_per_second() - of a count in the last interval */
double top_per_second(const struct top_model *m, u64 count);

extern const char *const top_op_names[TELEMETRY_OPS];

/* ---- report.c ---- */

/** top_report_text() - one interval; @first: of several */
void top_report_text(const struct top_model *m, bool first);

/** top_report_json() - one object, on one line */
void top_report_json(const struct top_model *m);

/* ---- screen.c ---- */

struct top_look {
	bool ascii, color;
	unsigned int interval_ms;
};

/** top_check_terminal() - is there one that can be drawn on? (terminal.c) */
int top_check_terminal(struct remap_err *err);

/** top_screen() - until the user has had enough. Return: 0, or an error */
int top_screen(struct top_model *m, const struct top_look *look, struct remap_err *err);

#endif
