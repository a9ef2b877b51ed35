// SPDX-License-Identifier: GPL-2.0-only
/*
 * The rules of policy.h. What a target needs is kept as it is found out, in order of urgency: to
 * tell a person, to move, to check and repair, to read near errors, to scrub.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "policy.h"

#define WAYS		8
#define SETS		128
#define RANGES		64
#define TOLD		8
#define DAY		86400
#define NEVER		UINT64_MAX
#define HOLD		3600	/* s before what could not be moved is tried again */
#define APART		5	/* s between strikes of a block */
#define STALL		32	/* so many slow I/Os ... */
#define STALL_SECONDS	10	/* ... within that are no block's fault */
#define CHECKS_APART	10	/* s */
#define MANY_BLOCKS	8	/* a slow I/O over more says nothing of any one of them */

struct suspect {
	u64 block;
	u64 strike[AGENT_MAX_STRIKES];	/* when: the latest first; 0: not yet */
	u64 held_until;
	bool wanted;			/* is to be moved */
	bool used;
};

struct range {
	u64 first, end;			/* sectors */
};

struct target {
	struct target *next;
	unsigned int number;
	u64 sectors;
	u32 block_sectors;
	struct agent_status status;

	struct suspect suspect[SETS][WAYS];
	unsigned int wanted;		/* suspects that are */
	bool moving;
	u64 day;			/* when the current one began */
	unsigned int moved_today;
	bool told_budget;

	struct range range[RANGES];
	unsigned int ranges;
	bool reading;

	u64 stall_began;		/* time since which slow I/Os are counted */
	unsigned int stall;

	u64 check_at, checked;		/* times */
	bool checking, repair, repaired, told_replicas;

	u64 scrub_at;			/* sector */
	u64 scrub_due;			/* time */
	bool scrubbing;

	struct agent_action tell[TOLD];
	unsigned int tells;
};

struct agent_policy {
	struct agent_config config;
	struct target *targets;
};

struct agent_policy *agent_policy_new(const struct agent_config *config)
{
	struct agent_policy *p = calloc(1, sizeof(*p));

	if (p)
		p->config = *config;
	return p;
}

void agent_policy_free(struct agent_policy *p)
{
	while (p && p->targets)
		agent_policy_remove(p, p->targets->number);
	free(p);
}

void agent_policy_configure(struct agent_policy *p, const struct agent_config *config)
{
	struct target *t;

	for (t = p->targets; t; t = t->next) {
		/* what was due stays due, what was never to come may be now, and the other way */
		if (!config->scrub_interval)
			t->scrub_due = NEVER;
		else if (t->scrub_due == NEVER)
			t->scrub_due = 0;
	}
	p->config = *config;
}

static struct target *find(const struct agent_policy *p, unsigned int number)
{
	struct target *t = p->targets;

	while (t && t->number != number)
		t = t->next;
	return t;
}

int agent_policy_add(struct agent_policy *p, unsigned int number, u64 sectors, u32 block_sectors,
		     u64 scrub_at, u64 scrubbed_ago, u64 now)
{
	struct target *t, **end = &p->targets;

	if (find(p, number))
		return -EEXIST;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->number = number;
	t->sectors = sectors;
	t->block_sectors = block_sectors;
	t->day = now;
	t->check_at = now;
	t->scrub_at = scrub_at < sectors ? scrub_at : 0;
	if (!p->config.scrub_interval)
		t->scrub_due = NEVER;
	else if (!t->scrub_at && scrubbed_ago < p->config.scrub_interval)
		t->scrub_due = now + p->config.scrub_interval - scrubbed_ago;
	else
		t->scrub_due = now;
	while (*end)
		end = &(*end)->next;
	*end = t;
	return 0;
}

void agent_policy_remove(struct agent_policy *p, unsigned int number)
{
	struct target **link = &p->targets, *t;

	while (*link && (*link)->number != number)
		link = &(*link)->next;
	t = *link;
	if (!t)
		return;
	*link = t->next;
	free(t);
}

static void tell(struct target *t, bool urgent, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static void tell(struct target *t, bool urgent, const char *fmt, ...)
{
	struct agent_action *a;
	va_list ap;

	if (t->tells == TOLD)
		return;		/* who does not listen to eight needs no ninth */
	a = &t->tell[t->tells++];
	*a = (struct agent_action){ .kind = AGENT_TELL, .target = t->number, .urgent = urgent };
	va_start(ap, fmt);
	vsnprintf(a->why, sizeof(a->why), fmt, ap);
	va_end(ap);
}

/* ---- suspects ---- */

static struct suspect *suspect_of(struct target *t, u64 block)
{
	struct suspect *set = t->suspect[block * 0x9e3779b97f4a7c15ULL >> 57], *oldest = set;

	for (unsigned int i = 0; i < WAYS; i++) {
		if (set[i].used && set[i].block == block)
			return &set[i];
		if (!set[i].used || (oldest->used && set[i].strike[0] < oldest->strike[0]))
			oldest = &set[i];
	}
	if (oldest->wanted)
		t->wanted--;
	*oldest = (struct suspect){ .block = block, .used = true };
	return oldest;
}

static bool within_day(struct agent_policy *p, struct target *t, u64 now)
{
	if (now - t->day >= DAY) {
		t->day = now;
		t->moved_today = 0;
		t->told_budget = false;
	}
	return t->moved_today < p->config.per_day;
}

static void strike(struct agent_policy *p, struct target *t, u64 block, u64 now)
{
	struct suspect *s = suspect_of(t, block);
	unsigned int k = p->config.strikes;

	if (s->strike[0] && now - s->strike[0] < APART)
		return;
	memmove(&s->strike[1], &s->strike[0], sizeof(s->strike) - sizeof(s->strike[0]));
	s->strike[0] = now;
	if (!k || s->wanted || now < s->held_until || !s->strike[k - 1] ||
	    now - s->strike[k - 1] > p->config.window)
		return;
	if (!within_day(p, t, now)) {
		if (!t->told_budget)
			tell(t, true, "%u blocks were moved today, as many as may be: slow ones "
			     "stay where they are", t->moved_today);
		t->told_budget = true;
		return;
	}
	s->wanted = true;
	t->wanted++;
}

/* Are so many I/Os slow that it is none of their blocks? */
static bool stalls(struct target *t, u64 now)
{
	if (now - t->stall_began > STALL_SECONDS) {
		t->stall_began = now;
		t->stall = 0;
	}
	if (++t->stall == STALL)
		tell(t, false, "%u I/Os were slow within %u s: the disk as a whole is", t->stall,
		     STALL_SECONDS);
	return t->stall >= STALL;
}

/* ---- what is to be read ---- */

static void read_range(struct target *t, u64 first, u64 end)
{
	struct range *r;

	if (end > t->sectors)
		end = t->sectors;
	for (unsigned int i = 0; i < t->ranges; ) {
		r = &t->range[i];
		if (first > r->end || end < r->first) {
			i++;
			continue;
		}
		/* touches: becomes part of the new one, which may touch others then */
		if (r->first < first)
			first = r->first;
		if (r->end > end)
			end = r->end;
		*r = t->range[--t->ranges];
		i = 0;
	}
	if (t->ranges < RANGES)
		t->range[t->ranges++] = (struct range){ first, end };
	else if (t->scrub_due != NEVER)
		t->scrub_due = 0;	/* so much that it may as well be all */
}

static void read_near(struct agent_policy *p, struct target *t, u64 sector, u32 sectors)
{
	u64 n = p->config.neighbourhood;

	if (n)
		read_range(t, sector > n ? sector - n : 0, sector + sectors + n);
}

/* ---- events ---- */

void agent_policy_event(struct agent_policy *p, unsigned int number, const struct agent_event *e,
			u64 now)
{
	struct target *t = find(p, number);
	u64 first, last;

	if (!t || e->sector >= t->sectors)
		return;
	first = e->sector / t->block_sectors;
	last = (e->sector + (e->sectors ? e->sectors - 1 : 0)) / t->block_sectors;
	switch (e->kind) {
	case AGENT_SLOW:
		if (stalls(t, now))
			break;
		if (last - first >= MANY_BLOCKS) {
			/* which one it was is found by reading them one by one */
			read_range(t, e->sector, e->sector + e->sectors);
			break;
		}
		/* fall through */
	case AGENT_RECOVERED:
		for (u64 block = first; block <= last && block - first < MANY_BLOCKS; block++)
			strike(p, t, block, now);
		break;
	case AGENT_ERROR:
		read_near(p, t, e->sector, e->sectors);
		break;
	case AGENT_MOVED:
		if (t->check_at > now)
			t->check_at = t->checked && now - t->checked < CHECKS_APART ?
				      t->checked + CHECKS_APART : now;
		if (e->cause == REMAP_CAUSE_READ || e->cause == REMAP_CAUSE_WRITE)
			read_near(p, t, e->sector, e->sectors);
		break;
	case AGENT_SMART:
		if (t->scrub_due != NEVER && !t->scrubbing)
			t->scrub_due = now;
		tell(t, true, "the disk itself counts more bad sectors than before (SMART)");
		break;
	}
}

void agent_policy_status(struct agent_policy *p, unsigned int number,
			 const struct agent_status *s, u64 now)
{
	static const char * const names[] = REMAP_STATE_NAMES;
	struct target *t = find(p, number);
	u32 few;

	(void)now;
	if (!t)
		return;
	few = s->slots_total / 10;
	if (s->state != t->status.state && s->state != REMAP_ACTIVE)
		tell(t, true, "state is %s", names[s->state]);
	else if (s->state != t->status.state)
		tell(t, false, "state is active again");
	if (s->lost_sectors > t->status.lost_sectors)
		tell(t, true, "%" PRIu64 " sectors are lost, there were %" PRIu64, s->lost_sectors,
		     t->status.lost_sectors);
	if (s->slots_free <= few && (!t->status.slots_total || t->status.slots_free > few))
		tell(t, true, "%u of %u slots are left", s->slots_free, s->slots_total);
	t->status = *s;
}

/* ---- actions ---- */

static void act(struct agent_action *a, const struct target *t, enum agent_action_kind kind,
		u64 sector, u64 count, const char *fmt, ...) __attribute__((format(printf, 6, 7)));
static void act(struct agent_action *a, const struct target *t, enum agent_action_kind kind,
		u64 sector, u64 count, const char *fmt, ...)
{
	va_list ap;

	*a = (struct agent_action){
		.kind = kind, .target = t->number, .sector = sector, .count = count,
	};
	va_start(ap, fmt);
	vsnprintf(a->why, sizeof(a->why), fmt, ap);
	va_end(ap);
}

static struct suspect *first_wanted(struct target *t)
{
	for (unsigned int i = 0; i < SETS * WAYS; i++)
		if (t->suspect[i / WAYS][i % WAYS].wanted)
			return &t->suspect[i / WAYS][i % WAYS];
	return NULL;
}

static bool next_move(struct agent_policy *p, struct target *t, u64 now, struct agent_action *a)
{
	struct suspect *s;

	if (t->moving || !t->wanted || t->status.state != REMAP_ACTIVE)
		return false;
	s = first_wanted(t);
	s->wanted = false;
	t->wanted--;
	t->moved_today++;
	s->held_until = now + HOLD;
	if (p->config.dry_run) {
		act(a, t, AGENT_TELL, 0, 0, "would move block %" PRIu64 " (sector %" PRIu64 "): "
		    "slow or hard to read %u times in %" PRIu64 " s (dry run)", s->block,
		    s->block * t->block_sectors, p->config.strikes,
		    now - s->strike[p->config.strikes - 1]);
		return true;
	}
	t->moving = true;
	act(a, t, AGENT_MOVE, s->block * t->block_sectors, t->block_sectors, "block %" PRIu64
	    " was slow or hard to read %u times in %" PRIu64 " s", s->block, p->config.strikes,
	    now - s->strike[p->config.strikes - 1]);
	return true;
}

static bool next_check(struct target *t, u64 now, struct agent_action *a)
{
	if (t->checking)
		return false;
	if (t->repair) {
		t->repair = false;
		t->checking = true;
		act(a, t, AGENT_REPAIR, 0, 0, "replicas of the metadata are not whole");
		return true;
	}
	if (now < t->check_at)
		return false;
	t->checking = true;
	t->check_at = NEVER;
	act(a, t, AGENT_CHECK, 0, 0, t->repaired ? "after the repair" : "it is time to");
	return true;
}

static bool next_read(struct target *t, struct agent_action *a)
{
	struct range *r;

	if (t->reading || !t->ranges || t->status.state == REMAP_PAUSED)
		return false;
	t->reading = true;
	r = &t->range[--t->ranges];
	act(a, t, AGENT_READ, r->first, r->end - r->first, "something was wrong there, and defects "
	    "cluster");
	return true;
}

static bool next_scrub(struct target *t, u64 now, struct agent_action *a)
{
	if (t->scrubbing || now < t->scrub_due || t->status.state == REMAP_PAUSED)
		return false;
	t->scrubbing = true;
	t->scrub_due = NEVER;
	act(a, t, AGENT_SCRUB, t->scrub_at, t->sectors - t->scrub_at, t->scrub_at ?
	    "going on where it stopped" : "it is time to");
	return true;
}

bool agent_policy_next(struct agent_policy *p, u64 now, struct agent_action *a)
{
	for (struct target *t = p->targets; t; t = t->next) {
		if (t->tells) {
			*a = t->tell[0];
			memmove(&t->tell[0], &t->tell[1], --t->tells * sizeof(t->tell[0]));
			return true;
		}
		if (next_move(p, t, now, a) || next_check(t, now, a) || next_read(t, a) ||
		    next_scrub(t, now, a))
			return true;
	}
	return false;
}

static void checked(struct agent_policy *p, struct target *t, bool whole, u64 now)
{
	t->checked = now;
	/* something may have happened while it ran */
	if (t->check_at > now + p->config.check_interval)
		t->check_at = now + p->config.check_interval;
	if (whole) {
		if (t->told_replicas)
			tell(t, false, "all five replicas of the metadata are whole again");
		t->told_replicas = t->repaired = false;
	} else if (!t->repaired) {
		t->repair = true;
	} else {
		if (!t->told_replicas)
			tell(t, true, "replicas of the metadata are not whole, and repair does not "
			     "help: replace the spare");
		t->told_replicas = true;
		t->repaired = false;
	}
}

void agent_policy_done(struct agent_policy *p, const struct agent_action *a, bool ok, u64 now)
{
	struct target *t = find(p, a->target);

	if (!t)
		return;
	switch (a->kind) {
	case AGENT_MOVE:
		t->moving = false;
		if (!ok)
			tell(t, false, "sector %" PRIu64 " could not be moved", a->sector);
		break;
	case AGENT_READ:
		t->reading = false;
		break;
	case AGENT_CHECK:
		t->checking = false;
		checked(p, t, ok, now);
		break;
	case AGENT_REPAIR:
		t->checking = false;
		t->repaired = true;
		t->check_at = now;
		break;
	case AGENT_SCRUB:
		t->scrubbing = false;
		t->scrub_at = ok ? 0 : a->sector;
		t->scrub_due = !p->config.scrub_interval ? NEVER :
			       now + (ok ? p->config.scrub_interval : HOLD);
		break;
	case AGENT_TELL:
		break;
	}
}

u64 agent_policy_wake(const struct agent_policy *p)
{
	u64 at = NEVER;

	for (const struct target *t = p->targets; t; t = t->next) {
		bool paused = t->status.state == REMAP_PAUSED;

		if (t->tells || t->repair || (t->ranges && !t->reading && !paused) ||
		    (t->wanted && !t->moving && t->status.state == REMAP_ACTIVE))
			return 0;
		if (!t->checking && t->check_at < at)
			at = t->check_at;
		if (!t->scrubbing && !paused && t->scrub_due < at)
			at = t->scrub_due;
	}
	return at;
}
