// SPDX-License-Identifier: GPL-2.0-only
/*
 * How far a long operation is, in one line of the terminal that stderr is; without a terminal, or
 * with --json, nothing. The line is there only while the operation runs: it is taken away at the
 * end, and before anything else is said.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include "remapctl.h"

#define FIRST_MS	300	/* what takes no longer shows nothing */
#define EACH_MS		250

/* There is one terminal: what is on its last line now, if anything. */
static struct progress *shown;

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void show(struct progress *p, const char *line)
{
	struct winsize w;
	int width = !ioctl(STDERR_FILENO, TIOCGWINSZ, &w) && w.ws_col > 1 ? w.ws_col - 1 : 79;

	fprintf(stderr, "\r%.*s\033[K", width, line);
	fflush(stderr);
	shown = p;
}

void progress_hide(void)
{
	if (!shown)
		return;
	fputs("\r\033[K", stderr);
	fflush(stderr);
	shown = NULL;
}

void progress_begin(struct progress *p, const struct args *a, const char *what, uint64_t total,
		    const char *unit)
{
	const char *term = getenv("TERM");

	*p = (struct progress){
		.wanted = !a->json && isatty(STDERR_FILENO) && term && strcmp(term, "dumb"),
		.what = what, .unit = unit, .total = total, .began = now_ms(),
	};
	p->next = p->began + FIRST_MS;
}

char *progress_time(uint64_t s, char *buf, size_t size)
{
	if (s < 3600)
		snprintf(buf, size, "%" PRIu64 ":%02" PRIu64, s / 60, s % 60);
	else
		snprintf(buf, size, "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64, s / 3600, s / 60 % 60,
			 s % 60);
	return buf;
}

void progress_at(struct progress *p, uint64_t done)
{
	uint64_t now, took;
	char line[256], left[32];
	double rate;

	p->done = done;
	if (!p->wanted || !p->total)
		return;
	now = now_ms();
	if (now < p->next)
		return;
	p->next = now + EACH_MS;
	took = now - p->began;
	rate = (double)done * 1000 / (double)(took ? took : 1);
	if (done && done < p->total)
		progress_time((uint64_t)((double)(p->total - done) / rate) + 1, left,
			      sizeof(left));
	else
		snprintf(left, sizeof(left), "%s", done ? "0:00" : "?");
	snprintf(line, sizeof(line), "%s: %.0f %%, %" PRIu64 " of %" PRIu64 ", %.0f %s/s, %s left",
		 p->what, (double)done * 100 / (double)p->total, done, p->total, rate, p->unit,
		 left);
	show(p, line);
}

void progress_note(struct progress *p, const char *line)
{
	if (p->wanted)
		show(p, line);
}

void progress_end(struct progress *p)
{
	if (shown == p)
		progress_hide();
	p->wanted = false;
}

/* ---- reading and writing metadata ---- */

static void on_store(void *arg, enum remap_stage stage, u64 done, u64 total)
{
	static const struct {
		const char *what, *unit;
		unsigned int shift;	/* of the unit, from what the library counts in */
	} stages[] = {
		[REMAP_STAGE_SEARCH] = { "search", "MiB", 11 },
		[REMAP_STAGE_READ] = { "reading metadata", "blocks", 0 },
		[REMAP_STAGE_WRITE] = { "writing metadata", "blocks", 0 },
	};
	struct store_progress *s = arg;

	/* repair reads, then reads again: each is a run of its own */
	if (!s->p.what || s->stage != stage || done < s->p.done << stages[stage].shift)
		progress_begin(&s->p, s->args, stages[stage].what, total >> stages[stage].shift,
			       stages[stage].unit);
	s->stage = stage;
	progress_at(&s->p, done >> stages[stage].shift);
}

void progress_of_store(struct store_progress *s, const struct args *a, struct remap_store *st)
{
	*s = (struct store_progress){ .args = a };
	st->told = on_store;
	st->told_arg = s;
}
