// SPDX-License-Identifier: GPL-2.0-only
/*
 * The screen: what is wrong in a headline, the devices, one of them in detail, what happened last.
 *
 * From top to bottom it is a list of sections, each of which has a least and a greatest height.
 * Where there is little room the less important ones go, where there is much all grow; nothing else
 * knows how large the terminal is. Each time all is drawn anew, and ncurses sends what differs.
 */
#include <curses.h>
#include <errno.h>
#include <inttypes.h>
#include <langinfo.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>
#include "text.h"
#include "top.h"

#define LEAST_ROWS	10
#define LEAST_COLUMNS	40
#define LEVELS		8		/* of a bar, or of a place on the map */
#define HEAT_LABEL	8		/* columns before the map: where the row begins */
#define HIST_LABEL	14
#define HIST_FIRST	16		/* bucket that begins at 1.024 us */
#define HIST_POWERS	26		/* up to 68 s */
#define PAGE		10

enum map { MAP_ERRORS, MAP_LATENCY, MAP_IO, MAP_REMAPS, MAP_SLOW, MAPS };

enum look { PLAIN, DIM, GOOD, WARN, BAD, BAR, HEAD, LOOKS };

enum section {
	DEVICES, TITLE, PROBLEMS, HEAT, EVENTS, FIGURES, TREND, HIST, FACTS, SECTIONS
};

struct screen {
	struct top_model *m;
	struct top_look look;
	bool utf8, color;
	attr_t attr[LOOKS];

	struct top_device **list;	/* the model's, as they are sorted here */
	size_t n, at, first;		/* selected, first that is shown */
	dev_t selected;			/* 0: whatever is first */
	int sort;			/* as for top_sort() */
	bool reverse, all, paused, help, quit;
	size_t first_column;
	enum map map;
	bool asking;			/* for an interval */
	char answer[16];

	int rows, columns;
	int height[SECTIONS];
};

/* ---- text ---- */

/* Put text within @width columns, and blanks behind it. What cannot be shown becomes '?'. */
static void put(const struct screen *s, int y, int x, int width, enum look look, const char *text)
{
	mbstate_t state = { 0 };

	if (y < 0 || y >= s->rows || x >= s->columns || width <= 0)
		return;
	if (width > s->columns - x)
		width = s->columns - x;
	attrset((int)s->attr[look]);
	move(y, x);
	while (*text) {
		wchar_t c;
		size_t n = mbrtowc(&c, text, MB_LEN_MAX, &state);
		int w = n && n <= MB_LEN_MAX ? wcwidth(c) : -1;

		if (n > MB_LEN_MAX || w < 0) {
			memset(&state, 0, sizeof(state));
			n = n > MB_LEN_MAX ? 1 : n;
			w = -1;
		}
		if ((w < 0 ? 1 : w) > width)
			break;
		if (w < 0 || (!s->utf8 && n > 1))
			addch('?');
		else
			addnstr(text, (int)n);
		width -= w < 0 ? 1 : w;
		text += n;
	}
	while (width-- > 0)
		addch(' ');
	attrset(A_NORMAL);
}

static void putf(const struct screen *s, int y, int x, int width, enum look look,
		 const char *fmt, ...) __attribute__((format(printf, 6, 7)));
static void putf(const struct screen *s, int y, int x, int width, enum look look,
		 const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	put(s, y, x, width, look, text);
}

static enum look look_of(enum top_health h)
{
	return h == TOP_BAD ? BAD : h == TOP_WATCH ? WARN : GOOD;
}

/* Of 0 to LEVELS, nothing to most. */
static const char *level_mark(const struct screen *s, int level)
{
	static const char *const fine[] = { "·", "▁", "▂", "▃", "▄", "▅", "▆", "▇",
					    "█" };
	static const char *const plain[] = { ".", ":", "-", "=", "+", "*", "%", "#", "@" };

	return (s->utf8 ? fine : plain)[level];
}

/* 1, 2, 4, 8, ... become 1, 2, 3, 4, ... */
static int log_level(u64 n)
{
	int level = 0;

	while (n && level < LEVELS) {
		n >>= 1;
		level++;
	}
	return level;
}

/* The same, so that @most is at the top. */
static int scaled_level(u64 n, u64 most)
{
	int above = 0;

	if (!n)
		return 0;
	while (n < most / 2 + most % 2 && above < 40) {
		n <<= 1;
		above++;
	}
	/* bars of one in a million are to be seen, too */
	above = above * LEVELS / 20;
	return above < LEVELS ? LEVELS - above : 1;
}

static struct top_device *selected(const struct screen *s)
{
	return s->n ? s->list[s->at] : NULL;
}

/* ---- which devices, in which order ---- */

static void arrange(struct screen *s)
{
	struct top_device **list = realloc(s->list, (s->m->n + 1) * sizeof(struct top_device *));

	if (!list)
		return;
	s->list = list;
	s->n = s->m->n;
	if (s->n)
		memcpy(list, s->m->device, s->n * sizeof(*list));
	top_sort(s->m, list, s->n, s->sort, s->all, s->reverse);
	/* one that is gone leaves the selection where it was */
	if (s->at >= s->n)
		s->at = s->n ? s->n - 1 : 0;
	if (!s->selected)
		s->at = 0;
	for (size_t i = 0; s->selected && i < s->n; i++)
		if (list[i]->dm.rdev == s->selected)
			s->at = i;
	if (s->selected && s->n)
		s->selected = list[s->at]->dm.rdev;
}

static void select_device(struct screen *s, size_t at)
{
	if (!s->n)
		return;
	s->at = at < s->n ? at : s->n - 1;
	s->selected = s->list[s->at]->dm.rdev;
}

/* ---- the devices ---- */

static int name_width(const struct screen *s)
{
	size_t w = 4, most = s->columns < 100 ? 14 : 32;

	for (size_t i = 0; i < s->n; i++)
		if (strlen(s->list[i]->dm.name) > w)
			w = strlen(s->list[i]->dm.name);
	return (int)(w < most ? w : most);
}

static enum look cell_look(const struct top_device *d, const struct top_column *c)
{
	if (!strcmp(c->title, "STATE") && (d->dm.state != REMAP_ACTIVE || d->dm.suspended))
		return BAD;
	if (!strcmp(c->title, "LOST") && d->dm.word[REMAP_ST_LOST_SECTORS])
		return BAD;
	if (!strcmp(c->title, "+/MIN") && d->errors_trend.recent)
		return BAD;
	if (!strcmp(c->title, "ERRORS") && d->errors)
		return WARN;
	if (!strcmp(c->title, "REPL") &&
	    d->dm.word[REMAP_ST_REPLICAS_OK] < d->dm.word[REMAP_ST_REPLICAS_TOTAL])
		return BAD;
	return PLAIN;
}

/* The first column stays, whichever others are in view. */
static void draw_devices(struct screen *s, int y)
{
	int names = name_width(s), rows = s->height[DEVICES];

	if (s->at < s->first)
		s->first = s->at;
	if (s->at >= s->first + (size_t)rows)
		s->first = s->at - (size_t)rows + 1;
	for (int row = -1; row < rows; row++) {
		size_t i = s->first + (size_t)(row < 0 ? 0 : row);
		const struct top_device *d = row >= 0 && i < s->n ? s->list[i] : NULL;
		bool is_selected = d && i == s->at;
		int x = names + 3;

		if (row >= 0 && !d)
			break;
		put(s, y + row + 1, 0, s->columns, row < 0 ? BAR : PLAIN, "");
		if (row < 0) {
			putf(s, y, 0, names + 2, BAR, "  NAME");
		} else {
			putf(s, y + row + 1, 0, 2, look_of(d->health), "%c%c",
			     is_selected ? '>' : ' ', " *!"[d->health]);
			put(s, y + row + 1, 2, names, is_selected ? HEAD : PLAIN, d->dm.name);
		}
		for (size_t c = s->first_column; c < top_n_columns; c++) {
			const struct top_column *col = &top_columns[c];
			char text[32], title[16];

			if (x + col->width > s->columns)
				break;
			snprintf(title, sizeof(title), "%s%s", (int)c == s->sort ? "*" : "",
				 col->title);
			if (d)
				col->cell(s->m, d, s->all, text, sizeof(text));
			putf(s, y + row + 1, x, col->width, !d ? BAR : cell_look(d, col),
			     col->left ? "%-*s" : "%*s", col->width, d ? text : title);
			x += col->width + 1;
		}
	}
}

/* ---- one of them ---- */

static void draw_title(const struct screen *s, const struct top_device *d, int y)
{
	char size[16];

	top_bytes_text((double)d->dm.sectors * 512, size, sizeof(size));
	put(s, y, 0, s->columns, BAR, "");
	putf(s, y, 0, s->columns, BAR, " %s: %s of %s, spare %s%s", d->dm.name, size, d->data,
	     d->spare, d->measured ? "" : d->counted ? ", counted by diskstats" : ", not measured");
}

static void draw_problems(const struct screen *s, const struct top_device *d, int y)
{
	for (int i = 0; i < s->height[PROBLEMS] && i < (int)d->problems; i++)
		putf(s, y + i, 0, s->columns, look_of(d->problem[i].weight), "%c %s",
		     " *!"[d->problem[i].weight], d->problem[i].more);
}

static void draw_trend(const struct screen *s, const struct top_device *d, int y)
{
	char text[320];

	top_trend_text(d, text, sizeof(text));
	putf(s, y, 0, s->columns, d->verdict == TOP_WORSE ? BAD : d->verdict == TOP_CALM ? PLAIN :
	     WARN, "  trend: %s", text);
}

static void draw_facts(const struct screen *s, const struct top_device *d, int y)
{
	const u64 *w = d->dm.word;
	char scrub[40], replicas[64] = "", more[64] = "";
	size_t n = 0;

	top_scrub_text(s->m, d, scrub, sizeof(scrub));
	for (int i = 0; d->agent_known && d->agent.replicas_known && i < REMAP_ZONES; i++)
		n += (size_t)snprintf(replicas + n, sizeof(replicas) - n, "%s%s", i ? " " : ": ",
				      remap_replica_state_name(d->agent.replica[i]));
	if (d->agent_known)
		snprintf(more, sizeof(more), ", moved today %u", d->agent.moved_today);
	putf(s, y, 0, s->columns, PLAIN, "  scrub: %s; replicas%s; slots: %" PRIu64 " used, %"
	     PRIu64 " bad, %" PRIu64 " free; recovered %" PRIu64 ", passed up %" PRIu64 "%s", scrub,
	     *replicas ? replicas : ": not read", (u64)w[REMAP_ST_SLOTS_USED],
	     (u64)w[REMAP_ST_SLOTS_BAD], top_slots_free(&d->dm),
	     (u64)w[REMAP_ST_READS_RECOVERED], (u64)w[REMAP_ST_IO_ERRORS], more);
}

static void latencies(const struct top_latency *l, char *text, size_t size)
{
	char p50[16] = "-", p99[16] = "-", p999[16] = "-";

	if (l->count) {
		top_ns_text(l->p50, p50, sizeof(p50));
		top_ns_text(l->p99, p99, sizeof(p99));
		top_ns_text(l->p999, p999, sizeof(p999));
	}
	snprintf(text, size, "%6s %6s %6s", p50, p99, p999);
}

static void draw_figures(const struct screen *s, const struct top_device *d, int y)
{
	int rows = 1;

	putf(s, y, 0, s->columns, HEAD, "%-8s%6s %6s %6s %6s %6s | start:%6s %6s %6s %6s",
	     "", "/s", "B/s", "p50", "p99", "p99.9", "I/Os", "p50", "p99", "p99.9");
	if (s->columns > 110)
		putf(s, y, 82, 40, HEAD, "p99 in queue, device");
	for (unsigned int op = 0; op < TELEMETRY_OPS && rows < s->height[FIGURES]; op++) {
		const struct top_io *io = &d->io[op];
		char rate[16], bytes[16], count[16], last[32], all[32], queue[16], device[16];

		if (op > TELEMETRY_WRITE && !io->all_ios)
			continue;
		top_count_text(top_per_second(s->m, io->ios), rate, sizeof(rate));
		top_bytes_text(top_per_second(s->m, io->bytes), bytes, sizeof(bytes));
		top_count_text((double)io->all_ios, count, sizeof(count));
		latencies(&io->last, last, sizeof(last));
		latencies(&io->all, all, sizeof(all));
		putf(s, y + rows, 0, s->columns, PLAIN, " %-7s%6s %6s %s |       %6s %s",
		     top_op_names[op], d->counted ? rate : "-", d->counted ? bytes : "-", last,
		     d->counted ? count : "-", all);
		if (s->columns > 110 && io->all_device.count) {
			top_ns_text(io->all_queue.p99, queue, sizeof(queue));
			top_ns_text(io->all_device.p99, device, sizeof(device));
			putf(s, y + rows, 82, 40, PLAIN, "%12s, %s", queue, device);
		}
		rows++;
	}
}

/* ---- where: the heat map ---- */

static const char *const map_names[] = { "errors", "worst latency", "I/Os", "remapped blocks",
					 "slow I/Os" };

static u64 map_value(const struct screen *s, const struct top_device *d, unsigned int region)
{
	const struct remap_sample *now = &d->now;

	switch (s->map) {
	case MAP_ERRORS:
		return now->region_errors[region];
	case MAP_LATENCY:
		return (u64)now->region_worst[region] << TELEMETRY_UNIT_SHIFT;
	case MAP_IO:
		return now->region_ios[region];
	case MAP_SLOW:
		return now->region_slow[region];
	default:
		return d->remaps[region];
	}
}

/* Latencies are measured by what a person would call slow, I/Os by each other, the rest counts. */
static int map_level(const struct screen *s, u64 value, u64 most)
{
	static const u64 bound[LEVELS] = {
		1, 1000000, 4000000, 16000000, 64000000, 256000000, 1000000000, 4000000000,
	};
	int level = 0;

	if (s->map == MAP_IO)
		return scaled_level(value, most);
	if (s->map != MAP_LATENCY)
		return log_level(value);
	while (level < LEVELS && value >= bound[level])
		level++;
	return level;
}

static enum look map_look(const struct screen *s, int level)
{
	if (!level)
		return DIM;
	if (s->map == MAP_IO)
		return GOOD;
	if (s->map == MAP_LATENCY)
		return level >= 7 ? BAD : level >= 5 ? WARN : GOOD;
	if (s->map == MAP_REMAPS)
		return WARN;
	return BAD;
}

static void legend(const struct screen *s, char *text, size_t size)
{
	static const char *const counts[] = { "none", "1", "2", "4", "8", "16", "32", "64",
					      "128 and more" };
	static const char *const times[] = { "none", "any", "1ms", "4ms", "16ms", "64ms", "256ms",
					     "1s", "4s and more" };
	size_t n = 0;

	if (s->map == MAP_IO) {
		snprintf(text, size, "%s none  %s fewest to %s most", level_mark(s, 0),
			 level_mark(s, 1), level_mark(s, LEVELS));
		return;
	}
	for (int i = 0; i <= LEVELS && n < size; i++)
		n += (size_t)snprintf(text + n, size - n, "%s%s %s", i ? "  " : "",
				      level_mark(s, i),
				      (s->map == MAP_LATENCY ? times : counts)[i]);
}

struct heat {
	unsigned int cells;
	u64 value[TELEMETRY_REGIONS];
	u64 sum, most;
	unsigned int regions, worst;	/* with something in them; the one with most */
};

/* What is known of the surface, in so many cells; false: nothing is. */
static bool measure(const struct screen *s, const struct top_device *d, unsigned int cells,
		    struct heat *h)
{
	memset(h, 0, sizeof(*h));
	h->cells = cells < TELEMETRY_REGIONS ? cells : TELEMETRY_REGIONS;
	if (s->map == MAP_REMAPS ? !d->remaps_done : !d->measured)
		return false;
	for (unsigned int i = 0; i < TELEMETRY_REGIONS; i++) {
		u64 v = map_value(s, d, i), *cell = &h->value[i * h->cells / TELEMETRY_REGIONS];

		h->sum += v;
		h->regions += !!v;
		if (v > h->most) {
			h->most = v;
			h->worst = i;
		}
		*cell = s->map != MAP_LATENCY ? *cell + v : v > *cell ? v : *cell;
	}
	return true;
}

static void heat_title(const struct screen *s, const struct top_device *d, const struct heat *h,
		       bool known, char *text, size_t size)
{
	const struct telemetry_area a = {
		.sectors = d->dm.sectors, .region_factor = ~0ULL / d->dm.sectors,
	};
	u64 first = remap_region_start(&a, h->worst), end = remap_region_start(&a, h->worst + 1);
	char most[16];

	if (!known) {
		snprintf(text, size, "%s by place: %s", map_names[s->map], s->map != MAP_REMAPS ?
			 "not measured" : d->remaps_begun ? "being read" : "not known");
		return;
	}
	if (s->map == MAP_LATENCY)
		top_ns_text(h->most, most, sizeof(most));
	else
		top_count_text((double)h->most, most, sizeof(most));
	if (!h->regions)
		snprintf(text, size, "%s by place: none", map_names[s->map]);
	else if (s->map == MAP_LATENCY)
		snprintf(text, size, "%s by place: %s in sectors %" PRIu64 " to %" PRIu64,
			 map_names[s->map], most, first, end - 1);
	else
		snprintf(text, size, "%s by place: %" PRIu64 " in %u region%s, most (%s) in "
			 "sectors %" PRIu64 " to %" PRIu64, map_names[s->map], h->sum, h->regions,
			 h->regions == 1 ? "" : "s", most, first, end - 1);
}

static void draw_heat(const struct screen *s, const struct top_device *d, int y)
{
	int rows = s->height[HEAT] - 1, width = s->columns - HEAT_LABEL - 1;
	bool with_legend = rows > 1;
	struct heat h;
	char text[320];
	bool known;
	u64 most = 1;

	rows -= with_legend;
	if (width < 1)
		return;
	known = measure(s, d, (unsigned int)(width * rows), &h);
	/* rows alike in length, the last one as well */
	if (h.cells < (unsigned int)(width * rows))
		width = (int)((h.cells + (unsigned int)rows - 1) / (unsigned int)rows);
	heat_title(s, d, &h, known, text, sizeof(text));
	put(s, y, 0, s->columns, HEAD, text);
	for (unsigned int i = 0; i < h.cells; i++)
		if (h.value[i] > most)
			most = h.value[i];
	for (int row = 0; row < rows; row++) {
		double at = (double)d->dm.sectors * 512 * (row * width) / h.cells;

		top_bytes_text(at, text, sizeof(text));
		putf(s, y + 1 + row, 0, HEAT_LABEL, DIM, "%*s ", HEAT_LABEL - 1, text);
		for (int x = 0; x < width && row * width + x < (int)h.cells; x++) {
			int level = map_level(s, h.value[row * width + x], most);

			put(s, y + 1 + row, HEAT_LABEL + x, 1, map_look(s, level),
			    known ? level_mark(s, level) : " ");
		}
	}
	legend(s, text, sizeof(text));
	if (with_legend)
		putf(s, y + 1 + rows, 0, s->columns, DIM, "%*s%s", HEAT_LABEL, "", text);
}

/* ---- how long: the histogram ---- */

/* Cells for each power of two, in which there are 8 buckets. */
static int hist_cells(const struct screen *s)
{
	int c = (s->columns - HIST_LABEL - 1) / HIST_POWERS;

	return c >= 8 ? 8 : c >= 4 ? 4 : c >= 2 ? 2 : c;
}

static u64 hist_cell(const u64 h[TELEMETRY_BUCKETS], int cells, int i)
{
	int per = 8 / cells, first = HIST_FIRST + i * per;
	u64 n = 0;

	/* what is below or above the axis stands at its ends */
	if (!i)
		for (int b = 0; b < HIST_FIRST; b++)
			n += h[b];
	for (int b = first; b < first + per; b++)
		n += h[b];
	if (i == cells * HIST_POWERS - 1)
		for (int b = first + per; b < TELEMETRY_BUCKETS; b++)
			n += h[b];
	return n;
}

static void hist_line(const struct screen *s, const u64 h[TELEMETRY_BUCKETS], int y, int rows)
{
	int cells = hist_cells(s);
	u64 most = 1;

	for (int i = 0; i < cells * HIST_POWERS; i++)
		if (hist_cell(h, cells, i) > most)
			most = hist_cell(h, cells, i);
	for (int i = 0; i < cells * HIST_POWERS; i++) {
		u64 n = hist_cell(h, cells, i);
		int level = scaled_level(n, most) * rows;

		for (int row = 0; row < rows; row++) {
			int here = level - (rows - 1 - row) * LEVELS;
			bool base = row == rows - 1;

			here = here > LEVELS ? LEVELS : here < 0 ? 0 : here;
			put(s, y + row, HIST_LABEL + i, 1, here ? GOOD : DIM,
			    here || base ? level_mark(s, here) : " ");
		}
	}
}

static void draw_hist(const struct screen *s, const struct top_device *d, int y)
{
	static const char *const parts[] = { "", " in queue", " in device" };
	int cells = hist_cells(s), lines = 0, rows;
	struct {
		unsigned int op, part;
	} line[6];

	if (cells < 1)
		return;
	for (unsigned int part = 0; part < 3; part++)
		for (unsigned int op = 0; op <= TELEMETRY_WRITE; op++) {
			if (part && !d->io[op].all_device.count)
				continue;
			line[lines].op = op;
			line[lines++].part = part;
		}
	if (lines > s->height[HIST] - 1)
		lines = s->height[HIST] - 1;
	rows = lines ? (s->height[HIST] - 1) / lines : 1;
	putf(s, y, 0, HIST_LABEL, HEAD, "%s", s->all ? "since start" : "last interval");
	for (int p = 0; p < HIST_POWERS; p += 4) {
		char text[16];

		top_ns_text(remap_bucket_ns((unsigned int)(HIST_FIRST + p * 8)), text,
			    sizeof(text));
		putf(s, y, HIST_LABEL + p * cells, 4 * cells < 6 ? 4 * cells : 6, DIM, "%s", text);
	}
	for (int i = 0; i < lines; i++) {
		u64 h[TELEMETRY_BUCKETS];
		int at = y + 1 + i * rows;

		top_histogram(d, line[i].op, line[i].part, s->all, h);
		putf(s, at + rows - 1, 0, HIST_LABEL, PLAIN, "  %s%s", line[i].op ? "w" : "r",
		     line[i].part ? parts[line[i].part] : line[i].op ? "rite" : "ead");
		hist_line(s, h, at, rows);
	}
}

/* ---- what happened ---- */

static void draw_events(const struct screen *s, int y)
{
	const struct remap_agent_event *e;

	put(s, y, 0, s->columns, BAR, "");
	putf(s, y, 0, s->columns, BAR, " events%s", s->m->agent_alive ? ", the newest first" :
	     ": no agent runs; what remap-top sees itself, the newest first");
	for (int i = 0; i + 1 < s->height[EVENTS] && (e = top_event(s->m, (size_t)i)); i++) {
		time_t t = (time_t)(e->time_ms / 1000);
		bool today = s->m->time_ms < e->time_ms + 20 * 3600 * 1000;
		char when[32] = "";
		struct tm tm;

		if (localtime_r(&t, &tm))
			strftime(when, sizeof(when), today ? "%T" : "%b %d  ", &tm);
		putf(s, y + 1 + i, 0, s->columns, e->priority <= LOG_CRIT ? BAD :
		     e->priority <= LOG_WARNING ? WARN : PLAIN, "%s %c %s%s%s", when,
		     e->priority <= LOG_CRIT ? '!' : e->priority <= LOG_WARNING ? '*' : ' ',
		     e->name, *e->name ? ": " : "", e->text);
	}
}

/* ---- help ---- */

static void draw_help(const struct screen *s)
{
	static const char *const keys[] = {
		"up, down, j, k   another device          page up, page down, home, end",
		"left, right      other columns           s, S     sort by the next column",
		"n, e, l, i       sort by name, errors, lost sectors, I/Os; a: attention first",
		"r                the other way round     m, M     another map of the surface",
		"t                latencies of the last interval, or since start",
		"d, +, -          another interval        p, space pause; again: go on",
		"h, ?             this; any key ends it   q        quit",
		"",
		"! needs attention   * to be watched   > selected; its details are below the list",
	};
	int y = 0;
	char text[320];

	putf(s, y++, 0, s->columns, BAR, " remap-top: keys");
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		put(s, y++, 0, s->columns, PLAIN, keys[i]);
	legend(s, text, sizeof(text));
	putf(s, y++, 0, s->columns, PLAIN, "map of %s: %s", map_names[s->map], text);
	putf(s, y++, 0, s->columns, BAR, " columns");
	for (size_t c = 0; c < top_n_columns && y < s->rows; c++)
		if (top_columns[c].help)
			putf(s, y++, 0, s->columns, PLAIN, "%-7s %s", top_columns[c].title,
			     top_columns[c].help);
}

/* ---- all of it ---- */

static void draw_bar(const struct screen *s)
{
	static const char *const sources[] = { "none", "remap-agent's", "own" };
	time_t now = (time_t)(s->m->time_ms / 1000);
	char when[16] = "";
	struct tm tm;

	if (localtime_r(&now, &tm))
		strftime(when, sizeof(when), "%T", &tm);
	put(s, 0, 0, s->columns, BAR, "");
	putf(s, 0, 0, s->columns, BAR,
	     " remap-top %s  every %gs%s  %zu device%s  telemetry: %s%s%s", when,
	     s->look.interval_ms / 1000.0, s->paused ? "  PAUSED" : "", s->m->n,
	     s->m->n == 1 ? "" : "s", sources[s->m->source],
	     s->m->agent_alive ? "" : "  no agent runs", s->m->dry_run ? "  dry run" : "");
}

static void draw_keys(const struct screen *s)
{
	int y = s->rows - 1;

	put(s, y, 0, s->columns, BAR, "");
	if (s->asking)
		putf(s, y, 0, s->columns, BAR, " interval in seconds (0.1 to 3600): %s_",
		     s->answer);
	else
		putf(s, y, 0, s->columns, BAR,
		     " q quit  h help  s sort: %s%s  m map: %s  t %s  p %s",
		     s->reverse ? "-" : "", s->sort == TOP_BY_NAME ? "name" : s->sort < 0 ?
		     "attention" : top_columns[s->sort].title, map_names[s->map],
		     s->all ? "last interval" : "since start", s->paused ? "go on" : "pause");
}

/* The headline, in one or two rows. Return: how many */
static int draw_headline(const struct screen *s, int y, bool two)
{
	const char *text = s->m->headline;
	enum look look = *s->m->said || s->m->bad ? BAD : s->m->watch ? WARN : GOOD;
	size_t n = (size_t)s->columns - 1, cut = n;

	if (!two || strlen(text) <= n) {
		put(s, y, 0, s->columns, look, text);
		return 1;
	}
	while (cut > n / 2 && text[cut] != ' ')
		cut--;
	if (text[cut] != ' ')
		cut = n;
	putf(s, y, 0, s->columns, look, "%.*s", (int)cut, text);
	put(s, y + 1, 0, s->columns, look, text + cut + (text[cut] == ' '));
	return 2;
}

/* Give @rows to the sections: first what each needs, the most important first, then more of it. */
static void share_out(struct screen *s, int rows)
{
	const struct top_device *d = selected(s);
	int heat_rows = (TELEMETRY_REGIONS + s->columns) / (s->columns - HEAT_LABEL);
	int most[SECTIONS] = { 0 }, least[SECTIONS] = { 0 };
	int lines = 2, ops = 2;
	bool grown = true;

	memset(s->height, 0, sizeof(s->height));
	most[EVENTS] = 1 + TOP_EVENTS;
	least[EVENTS] = 3;
	if (d) {
		for (unsigned int op = 0; op < TELEMETRY_OPS; op++) {
			ops += op > TELEMETRY_WRITE && d->io[op].all_ios;
			lines += op <= TELEMETRY_WRITE && d->io[op].all_device.count ? 2 : 0;
		}
		most[DEVICES] = (int)(s->n < INT_MAX ? s->n : INT_MAX);
		least[DEVICES] = s->n < 2 ? 1 : 2;
		most[TITLE] = least[TITLE] = 1;
		most[PROBLEMS] = (int)d->problems;
		least[PROBLEMS] = d->problems ? 1 : 0;
		most[HEAT] = 2 + (heat_rows < 8 ? heat_rows : 8);
		least[HEAT] = 2;
		most[FIGURES] = 1 + ops;
		least[FIGURES] = 3;
		most[TREND] = least[TREND] = 1;
		most[FACTS] = least[FACTS] = 1;
		most[HIST] = 1 + lines * 4;
		least[HIST] = 3;
	}
	for (int i = 0; i < SECTIONS; i++) {
		if (least[i] > rows)
			continue;
		s->height[i] = least[i];
		rows -= least[i];
	}
	while (rows && grown) {
		grown = false;
		for (int i = 0; i < SECTIONS && rows; i++) {
			if (!s->height[i] || s->height[i] >= most[i])
				continue;
			s->height[i]++;
			rows--;
			grown = true;
		}
	}
}

static void draw(struct screen *s)
{
	static const enum section order[] = {
		TITLE, PROBLEMS, TREND, FACTS, FIGURES, HEAT, HIST,
	};
	static void (*const drawn_by[SECTIONS])(const struct screen *s, const struct top_device *d,
						int y) = {
		[TITLE] = draw_title, [PROBLEMS] = draw_problems, [TREND] = draw_trend,
		[FACTS] = draw_facts, [FIGURES] = draw_figures, [HEAT] = draw_heat,
		[HIST] = draw_hist,
	};
	const struct top_device *d;
	int y = 1;

	getmaxyx(stdscr, s->rows, s->columns);
	erase();
	arrange(s);
	d = selected(s);
	if (s->rows < LEAST_ROWS || s->columns < LEAST_COLUMNS) {
		putf(s, 0, 0, s->columns, BAD, "%dx%d is too small", s->columns, s->rows);
		putf(s, 1, 0, s->columns, PLAIN, "(%dx%d at least)", LEAST_COLUMNS, LEAST_ROWS);
		refresh();
		return;
	}
	if (s->help) {
		draw_help(s);
		refresh();
		return;
	}
	draw_bar(s);
	y += draw_headline(s, y, s->rows >= 20);
	if (*s->m->missing) {
		putf(s, y, 0, s->columns, WARN, "missing: %s", s->m->missing);
		y++;
	}
	share_out(s, s->rows - y - 2);
	if (d) {
		top_surface(s->m, s->list[s->at]);
		draw_devices(s, y);
		y += s->height[DEVICES] + 1;
	}
	for (size_t i = 0; d && i < sizeof(order) / sizeof(order[0]); i++) {
		if (s->height[order[i]])
			drawn_by[order[i]](s, d, y);
		y += s->height[order[i]];
	}
	if (s->height[EVENTS])
		draw_events(s, y);
	draw_keys(s);
	refresh();
}

/* ---- keys ---- */

static void sort_by(struct screen *s, const char *title)
{
	for (size_t c = 0; c < top_n_columns; c++)
		if (!strcmp(top_columns[c].title, title))
			s->sort = (int)c;
}

static void set_interval(struct screen *s, double seconds)
{
	if (seconds >= 0.1 && seconds <= 3600)
		s->look.interval_ms = (unsigned int)(seconds * 1000 + 0.5);
}

static void on_answer(struct screen *s, int key)
{
	size_t n = strlen(s->answer);

	if (key == '\n' || key == '\r' || key == KEY_ENTER) {
		set_interval(s, strtod(s->answer, NULL));
		s->asking = false;
	} else if (key == 27) {
		s->asking = false;
	} else if ((key == KEY_BACKSPACE || key == 127 || key == 8) && n) {
		s->answer[n - 1] = 0;
	} else if (((key >= '0' && key <= '9') || key == '.') && n < sizeof(s->answer) - 1) {
		s->answer[n] = (char)key;
		s->answer[n + 1] = 0;
	}
}

static void on_key(struct screen *s, int key)
{
	if (key == KEY_RESIZE)
		return;
	if (s->asking) {
		on_answer(s, key);
		return;
	}
	if (s->help && key != 'q') {
		s->help = false;
		return;
	}
	switch (key) {
	case 'q':
	case 'Q':
	case KEY_F(10):
		s->quit = true;
		break;
	case 'h':
	case '?':
	case KEY_F(1):
		s->help = true;
		break;
	case 'k':
	case KEY_UP:
		select_device(s, s->at ? s->at - 1 : 0);
		break;
	case 'j':
	case KEY_DOWN:
		select_device(s, s->at + 1);
		break;
	case KEY_PPAGE:
		select_device(s, s->at > PAGE ? s->at - PAGE : 0);
		break;
	case KEY_NPAGE:
		select_device(s, s->at + PAGE);
		break;
	case KEY_HOME:
		select_device(s, 0);
		break;
	case KEY_END:
		select_device(s, s->n);
		break;
	case KEY_LEFT:
		s->first_column -= !!s->first_column;
		break;
	case KEY_RIGHT:
		s->first_column += s->first_column + 1 < top_n_columns;
		break;
	case 's':
	case '>':
		s->sort = s->sort + 1 < (int)top_n_columns ? s->sort + 1 : TOP_BY_HEALTH;
		break;
	case 'S':
	case '<':
		s->sort = s->sort >= 0 ? s->sort - 1 : (int)top_n_columns - 1;
		break;
	case 'a':
		s->sort = TOP_BY_HEALTH;
		s->selected = 0;
		break;
	case 'n':
		s->sort = TOP_BY_NAME;
		break;
	case 'e':
		sort_by(s, "ERRORS");
		break;
	case 'l':
		sort_by(s, "LOST");
		break;
	case 'i':
		sort_by(s, "R/s");
		break;
	case 'r':
	case 'R':
		s->reverse = !s->reverse;
		break;
	case 'm':
		s->map = (enum map)((s->map + 1) % MAPS);
		break;
	case 'M':
		s->map = (enum map)((s->map + MAPS - 1) % MAPS);
		break;
	case 't':
		s->all = !s->all;
		break;
	case 'p':
	case ' ':
		s->paused = !s->paused;
		break;
	case 'd':
		s->asking = true;
		*s->answer = 0;
		break;
	case '+':
		set_interval(s, s->look.interval_ms * 2 / 1000.0);
		break;
	case '-':
		set_interval(s, s->look.interval_ms / 2000.0);
		break;
	case 12:			/* ^L */
		clearok(curscr, TRUE);
		break;
	}
}

/* ---- begin and end ---- */

/* Without colours bold and reverse have to do: what matters has a mark of its own anyway. */
static void set_looks(struct screen *s)
{
	static const short colors[LOOKS] = {
		[GOOD] = COLOR_GREEN, [WARN] = COLOR_YELLOW, [BAD] = COLOR_RED,
	};

	s->attr[HEAD] = A_BOLD;
	s->attr[BAR] = A_REVERSE;
	s->attr[BAD] = A_BOLD;
	s->color = s->look.color && has_colors() && start_color() != ERR &&
		   use_default_colors() != ERR;
	if (!s->color)
		return;
	s->attr[DIM] = A_DIM;
	for (int i = GOOD; i <= BAD; i++)
		if (init_pair((short)i, colors[i], -1) != ERR)
			s->attr[i] |= COLOR_PAIR(i);
}

static int open_signals(struct remap_err *err)
{
	sigset_t mask;
	int fd;

	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGQUIT);
	sigaddset(&mask, SIGHUP);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? remap_fail_errno(err, -errno, "cannot wait for signals") : fd;
}

static u64 now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (u64)ts.tv_sec * 1000 + (u64)ts.tv_nsec / 1000000;
}

static void collect(struct screen *s)
{
	const struct top_device *d = s->m->n && s->list ? selected(s) : NULL;

	top_collect(s->m, s->map == MAP_REMAPS ? TOP_REMAPS_SLICE : TOP_REMAPS_NONE, d);
	/* pointers of those that went would be in it */
	arrange(s);
}

static void loop(struct screen *s, int signals)
{
	struct pollfd fds[] = {
		{ .fd = STDIN_FILENO, .events = POLLIN }, { .fd = signals, .events = POLLIN },
	};

	collect(s);
	while (!s->quit) {
		u64 now, due;
		int key;

		draw(s);
		now = now_ms();
		due = s->m->ms + s->look.interval_ms;
		if (poll(fds, 2, s->paused ? -1 : due > now ? (int)(due - now) : 0) > 0 &&
		    (fds[1].revents || (fds[0].revents & (POLLHUP | POLLERR | POLLNVAL))))
			return;
		while ((key = getch()) != ERR)
			on_key(s, key);
		if (!s->paused && now_ms() >= s->m->ms + s->look.interval_ms)
			collect(s);
	}
}

int top_screen(struct top_model *m, const struct top_look *look, struct remap_err *err)
{
	struct screen s = { .m = m, .look = *look, .sort = TOP_BY_HEALTH };
	SCREEN *terminal;
	int signals, r = top_check_terminal(err);

	if (r)
		return r;
	signals = open_signals(err);
	if (signals < 0)
		return signals;
	set_escdelay(50);
	terminal = newterm(NULL, stdout, stdin);
	if (!terminal) {
		close(signals);
		return remap_fail(err, -EINVAL, "a terminal of type %s cannot be used (set TERM, "
				  "or use --once)", getenv("TERM"));
	}
	s.utf8 = !look->ascii && !strcmp(nl_langinfo(CODESET), "UTF-8");
	cbreak();
	noecho();
	nonl();
	curs_set(0);
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	set_looks(&s);
	loop(&s, signals);
	endwin();
	delscreen(terminal);
	free(s.list);
	close(signals);
	return 0;
}
