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
#define TOLD		8
#define DAY		86400
#define NEVER		UINT64_MAX
#define HOLD		3600	/* s before what was in vain is tried, and read is read, again */
#define APART		5	/* s between strikes of a block */
#define STALL		32	/* so many slow I/Os ... */
#define STALL_SECONDS	10	/* ... within that are no block's fault */
#define CHECKS_APART	10	/* s */
#define MANY_BLOCKS	8	/* a slow I/O over more says nothing of any one of them */

struct suspect {
	u64 block;
	u64 strike[AGENT_MAX_STRIKES];	/* when: the latest first; 0: not yet */
	u64 held_until;
	u64 look_at;			/* when to read it again; 0: not to be */
	bool wanted;			/* is to be moved */
	bool used;
};

struct target {
	struct target *next;
	unsigned int number;
	u64 sectors;
	u32 block_sectors;
	struct agent_status status;

	struct suspect suspect[SETS][WAYS];
	unsigned int wanted;		/* suspects that are */
	u64 look_at;			/* when the first of them is to be read again; or NEVER */
	bool moving;
	u64 day;			/* when the current one began */
	unsigned int moved_today;
	bool told_budget;

	struct agent_range range[AGENT_RANGES];
	unsigned int ranges;
	/* Read within the hour, or being read: the latest is at lately_next - 1. */
	struct {
		struct agent_range range;
		u64 until;
	} lately[AGENT_RANGES];
	unsigned int lately_next;
	bool reading;
	struct agent_range under_way;	/* what is still to be read of it */

	u64 stall_began;		/* time since which slow I/Os are counted */
	unsigned int stall;

	u64 check_at, checked;		/* times */
	bool checking, repair, repaired, told_replicas;

	u64 scrub_at;			/* sector */
	u64 scrub_due, scrubbed;	/* times; 0: never */
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

static void forget_wishes(struct target *t)
{
	for (unsigned int i = 0; i < SETS * WAYS; i++)
		t->suspect[i / WAYS][i % WAYS].wanted = false;
	t->wanted = 0;
}

void agent_policy_configure(struct agent_policy *p, const struct agent_config *config)
{
	struct target *t;

	for (t = p->targets; t; t = t->next) {
		if (config->strikes != p->config.strikes)
			forget_wishes(t);	/* by other rules; they may come again */
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

/* ---- what is to be read ---- */

/* Join it to those that are to be read. */
static void add_range(struct target *t, u64 first, u64 end)
{
	struct agent_range *r;

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
	if (t->ranges < AGENT_RANGES)
		t->range[t->ranges++] = (struct agent_range){ first, end };
	else if (t->scrub_due != NEVER)
		t->scrub_due = 0;	/* so much that it may as well be all */
}

/* Of what is left when all that was read lately is taken out, what lies below @i. */
static void add_unless_lately(struct target *t, u64 first, u64 end, unsigned int i, u64 now)
{
	while (first < end && i--) {
		const struct agent_range *r = &t->lately[i].range;

		if (t->lately[i].until <= now || r->end <= first || end <= r->first)
			continue;
		if (r->first > first && r->end < end) {
			/* in two; where there are many holes it is read whole rather */
			if (t->ranges < AGENT_RANGES / 2)
				add_unless_lately(t, r->end, end, i, now);
			else
				continue;
		}
		if (r->first > first)
			end = r->first;
		else
			first = r->end;
	}
	if (first < end)
		add_range(t, first, end);
}

static void read_range(struct target *t, u64 first, u64 end, u64 now)
{
	if (end > t->sectors)
		end = t->sectors;
	add_unless_lately(t, first, end, AGENT_RANGES, now);
}

int agent_policy_add(struct agent_policy *p, unsigned int number, u64 sectors, u32 block_sectors,
		     const struct agent_memory *m, u64 now)
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
	if (m->day_ago < DAY) {
		t->day = now - m->day_ago;
		t->moved_today = m->moved_today;
	}
	t->check_at = now;
	t->look_at = NEVER;
	for (unsigned int i = 0; i < m->ranges && i < AGENT_RANGES; i++)
		read_range(t, m->range[i].first, m->range[i].end, now);
	t->scrub_at = m->scrub_at < sectors ? m->scrub_at : 0;
	if (m->scrubbed_ago != NEVER)
		t->scrubbed = now - m->scrubbed_ago;
	t->scrub_due = !p->config.scrub_interval ? NEVER :
		       t->scrub_at || m->scrubbed_ago >= p->config.scrub_interval ? now :
		       now + p->config.scrub_interval - m->scrubbed_ago;
	while (*end)
		end = &(*end)->next;
	*end = t;
	return 0;
}

bool agent_policy_memory(const struct agent_policy *p, unsigned int number, u64 now,
			 struct agent_memory *m)
{
	const struct target *t = find(p, number);

	if (!t)
		return false;
	*m = (struct agent_memory){
		.scrub_at = t->scrub_at,
		.scrubbed_ago = t->scrubbed ? now - t->scrubbed : NEVER,
		.day_ago = now - t->day,
		.moved_today = t->moved_today,
		.ranges = t->ranges,
	};
	memcpy(m->range, t->range, t->ranges * sizeof(m->range[0]));
	if (t->reading && m->ranges < AGENT_RANGES)
		m->range[m->ranges++] = t->under_way;
	return true;
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

static void tell(struct target *t, enum agent_tell what, bool urgent, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
static void tell(struct target *t, enum agent_tell what, bool urgent, const char *fmt, ...)
{
	struct agent_action *a;
	va_list ap;

	if (t->tells == TOLD)
		return;		/* who does not listen to eight needs no ninth */
	a = &t->tell[t->tells++];
	*a = (struct agent_action){
		.kind = AGENT_TELL, .target = t->number, .tell = what, .urgent = urgent,
	};
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
	return t->moved_today + t->wanted < p->config.per_day;
}

static void strike(struct agent_policy *p, struct target *t, u64 block, u64 now)
{
	struct suspect *s = suspect_of(t, block);
	unsigned int k = p->config.strikes;

	if (s->strike[0] && now - s->strike[0] < APART)
		return;
	memmove(&s->strike[1], &s->strike[0], sizeof(s->strike) - sizeof(s->strike[0]));
	s->strike[0] = now;
	if (!k || s->wanted || now < s->held_until)
		return;
	if (!s->strike[k - 1] || now - s->strike[k - 1] > p->config.window) {
		if (p->config.look_again) {
			s->look_at = now + APART;
			if (s->look_at < t->look_at)
				t->look_at = s->look_at;
		}
		return;
	}
	if (!within_day(p, t, now)) {
		if (!t->told_budget)
			tell(t, AGENT_TELL_BUDGET, true, "%u blocks were moved today, "
			     "as many as may be: slow ones stay where they are",
			     t->moved_today + t->wanted);
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
		tell(t, AGENT_TELL_SLOW, false, "%u I/Os were slow within %u s: the disk as a "
		     "whole is", t->stall, STALL_SECONDS);
	return t->stall >= STALL;
}

/* ---- events ---- */

static void read_near(struct agent_policy *p, struct target *t, u64 sector, u32 sectors, u64 now)
{
	u64 n = p->config.neighbourhood;

	if (n)
		read_range(t, sector > n ? sector - n : 0, sector + sectors + n, now);
}

static void check_soon(struct target *t, u64 now)
{
	if (t->check_at > now)
		t->check_at = t->checked && now - t->checked < CHECKS_APART ?
			      t->checked + CHECKS_APART : now;
}

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
			read_range(t, e->sector, e->sector + e->sectors, now);
			break;
		}
		/* fall through */
	case AGENT_RECOVERED:
		for (u64 block = first; block <= last && block - first < MANY_BLOCKS; block++)
			strike(p, t, block, now);
		break;
	case AGENT_ERROR:
		read_near(p, t, e->sector, e->sectors, now);
		break;
	case AGENT_MOVED:
		check_soon(t, now);
		if (e->cause == REMAP_CAUSE_READ || e->cause == REMAP_CAUSE_WRITE)
			read_near(p, t, e->sector, e->sectors, now);
		break;
	case AGENT_DEGRADED:
		check_soon(t, now);
		break;
	case AGENT_SMART:
		if (t->scrub_due != NEVER && !t->scrubbing)
			t->scrub_due = now;
		tell(t, AGENT_TELL_SMART, true, "the disk itself counts more bad sectors than "
		     "before (SMART)");
		break;
	case AGENT_SOMEWHERE:
		if (t->scrub_due != NEVER && !t->scrubbing &&
		    (!t->scrubbed || now - t->scrubbed >= HOLD))
			t->scrub_due = now;
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
		tell(t, AGENT_TELL_STATE, true, "state is %s", names[s->state]);
	else if (s->state != t->status.state)
		tell(t, AGENT_TELL_STATE, false, "state is active again");
	if (s->lost_sectors > t->status.lost_sectors)
		tell(t, AGENT_TELL_LOST, true, "%" PRIu64 " sectors are lost, there were %"
		     PRIu64, s->lost_sectors, t->status.lost_sectors);
	if (s->slots_free <= few && (!t->status.slots_total || t->status.slots_free > few))
		tell(t, AGENT_TELL_SLOTS, true, "%u of %u slots are left", s->slots_free,
		     s->slots_total);
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
		a->tell = AGENT_TELL_DRY_RUN;
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
		if (t->status.state == REMAP_PAUSED)
			return false;
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

/* The suspect whose time has come; and when that of the next one will. */
static struct suspect *to_look_at(struct target *t, u64 now)
{
	struct suspect *found = NULL;

	t->look_at = NEVER;
	for (unsigned int i = 0; i < SETS * WAYS; i++) {
		struct suspect *s = &t->suspect[i / WAYS][i % WAYS];

		if (!s->look_at)
			continue;
		if (!found && s->look_at <= now)
			found = s;
		else if (s->look_at < t->look_at)
			t->look_at = s->look_at;
	}
	return found;
}

static bool next_look(struct target *t, u64 now, struct agent_action *a)
{
	struct suspect *s;

	if (t->reading || now < t->look_at || t->status.state != REMAP_ACTIVE)
		return false;
	s = to_look_at(t, now);
	if (!s)
		return false;
	s->look_at = 0;
	t->reading = true;
	t->under_way = (struct agent_range){
		s->block * t->block_sectors, (s->block + 1) * t->block_sectors,
	};
	act(a, t, AGENT_READ, t->under_way.first, t->block_sectors, "it was slow or hard to read: "
	    "was that chance?");
	return true;
}

static bool next_read(struct target *t, u64 now, struct agent_action *a)
{
	struct agent_range *r;

	if (t->reading || !t->ranges || t->status.state == REMAP_PAUSED)
		return false;
	t->reading = true;
	r = &t->range[--t->ranges];
	t->under_way = *r;
	t->lately[t->lately_next].range = *r;
	t->lately[t->lately_next].until = now + HOLD;
	t->lately_next = (t->lately_next + 1) % AGENT_RANGES;
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
		if (next_move(p, t, now, a) || next_check(t, now, a) || next_look(t, now, a) ||
		    next_read(t, now, a) || next_scrub(t, now, a))
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
			tell(t, AGENT_TELL_REPLICAS, false, "all five replicas of the metadata "
			     "are whole again");
		t->told_replicas = t->repaired = false;
	} else if (p->config.dry_run) {
		if (!t->told_replicas)
			tell(t, AGENT_TELL_DRY_RUN, true, "would repair the replicas of the "
			     "metadata, which are not whole (dry run)");
		t->told_replicas = true;
	} else if (!t->repaired) {
		t->repair = true;
	} else {
		if (!t->told_replicas)
			tell(t, AGENT_TELL_REPLICAS, true, "replicas of the metadata are not "
			     "whole, and repair does not help: replace the spare");
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
			tell(t, AGENT_TELL_NOT_MOVED, false, "sector %" PRIu64 " could not be "
			     "moved", a->sector);
		break;
	case AGENT_READ:
		t->reading = false;
		if (!ok && t->status.state == REMAP_PAUSED)
			add_range(t, t->under_way.first, t->under_way.end);
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
		if (ok) {
			t->scrub_at = 0;
			t->scrubbed = now;
		}
		t->scrub_due = !p->config.scrub_interval ? NEVER :
			       now + (ok ? p->config.scrub_interval : HOLD);
		break;
	case AGENT_TELL:
		break;
	}
}

void agent_policy_progress(struct agent_policy *p, const struct agent_action *a, u64 sector)
{
	struct target *t = find(p, a->target);

	if (!t || sector > a->sector + a->count)
		return;
	if (a->kind == AGENT_SCRUB)
		t->scrub_at = sector < t->sectors ? sector : 0;
	else if (a->kind == AGENT_READ)
		t->under_way.first = sector;
}

u64 agent_policy_wake(const struct agent_policy *p)
{
	u64 at = NEVER;

	for (const struct target *t = p->targets; t; t = t->next) {
		bool paused = t->status.state == REMAP_PAUSED;

		if (t->tells || (t->repair && !paused) || (t->ranges && !t->reading && !paused) ||
		    (t->wanted && !t->moving && t->status.state == REMAP_ACTIVE))
			return 0;
		if (!t->checking && t->check_at < at)
			at = t->check_at;
		if (!t->reading && t->status.state == REMAP_ACTIVE && t->look_at < at)
			at = t->look_at;
		if (!t->scrubbing && !paused && t->scrub_due < at)
			at = t->scrub_due;
	}
	return at;
}
