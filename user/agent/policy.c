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
#define RETRY		60	/* s before what could not be tried is, for the first time */
#define APART		5	/* s between strikes of a block */
#define STALL		32	/* so many I/Os in trouble ... */
#define STALL_SECONDS	10	/* ... within that are no block's fault */
#define CHECKS_APART	10	/* s */
#define MANY_BLOCKS	8	/* a slow I/O over more says nothing of any one of them */

struct suspect {
	u64 block;
	u64 strike[AGENT_MAX_STRIKES];	/* when: the latest first; 0: not yet */
	u8 retried;			/* bits, as strikes: a read had to be tried again */
	bool confirmed;			/* the latest was found by looking again */
	bool wanted;			/* is to be moved ... */
	bool used;
	u64 move_at;			/* ... then */
	u64 held_until;
	u64 look_at;			/* when to read it again; 0: not to be */
};

_Static_assert(AGENT_MAX_STRIKES <= 8, "a bit for each");

enum check {
	CHECK_START, CHECK_TIME, CHECK_MOVED, CHECK_DEGRADED, CHECK_REPAIRED, CHECK_AGAIN,
	CHECK_EARNEST
};

struct target {
	struct target *next;
	unsigned int number;
	u64 sectors;
	u32 block_sectors;
	struct agent_status status;
	struct agent_told told;
	struct {
		bool replicas, budget;
	} would;			/* told in a dry run: outlives neither that nor the agent */
	bool changed;			/* what outlives the agent is another one */

	struct suspect suspect[SETS][WAYS];
	unsigned int wanted;		/* suspects that are */
	u64 look_at;			/* when the first of them is to be read again; or NEVER */
	bool looking, look_bad;		/* ... which is under way, and was slow or tried again */
	u64 look_block;
	bool moving;
	u64 day;			/* when the current one began */
	unsigned int moved_today;
	unsigned int would_today;	/* in a dry run */

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
	u64 read_at, read_wait;		/* not sooner; s before the next try after that */

	/* When I/Os were slow or tried again, the last 32: the next one goes to trouble_next. */
	u64 trouble[STALL];
	unsigned int trouble_next;
	u64 told_stall;			/* when; 0: never */

	enum check check_for;
	u64 check_at, checked, check_wait;	/* times; s */
	bool checking, repair, repaired;

	u64 scrub_at;			/* sector */
	enum agent_scrub scrub_for, scrub_then;
	u64 scrubbed, scrub_wait;	/* times: of the last one; not sooner */
	bool ever_scrubbed, scrubbing;
	bool pause_came;		/* since the read or the scrub began */

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

/* Blocks to be moved, but for some. */
static void forget_wishes(struct target *t, unsigned int keep)
{
	for (unsigned int i = 0; i < SETS * WAYS; i++) {
		struct suspect *s = &t->suspect[i / WAYS][i % WAYS];

		if (!s->wanted || keep) {
			keep -= s->wanted;
			continue;
		}
		s->wanted = false;
		t->wanted--;
	}
}

static void forget_looks(struct target *t)
{
	for (unsigned int i = 0; i < SETS * WAYS; i++)
		t->suspect[i / WAYS][i % WAYS].look_at = 0;
	t->look_at = NEVER;
}

static unsigned int spent(const struct agent_config *c, const struct target *t)
{
	return c->dry_run ? t->would_today : t->moved_today;
}

/* What was told in a dry run was not done, and may be told in earnest. */
static void mean_it(struct target *t)
{
	if (t->would.replicas) {
		t->check_at = 0;	/* at once */
		t->check_for = CHECK_EARNEST;
	}
	t->would.replicas = t->would.budget = false;
}

void agent_policy_configure(struct agent_policy *p, const struct agent_config *config)
{
	struct target *t;

	for (t = p->targets; t; t = t->next) {
		unsigned int n = spent(config, t);

		if (config->strikes != p->config.strikes)
			forget_wishes(t, 0);	/* by other rules; they may come again */
		if (n + t->wanted > config->per_day)
			forget_wishes(t, n < config->per_day ? config->per_day - n : 0);
		if (config->per_day != p->config.per_day) {
			t->changed |= t->told.budget;
			t->told.budget = t->would.budget = false;
		}
		if (!config->look_again)
			forget_looks(t);
		/* what is due for another reason than time stays so */
		if (t->check_for == CHECK_TIME && t->check_at != NEVER)
			t->check_at = t->checked + config->check_interval;
		if (p->config.dry_run && !config->dry_run)
			mean_it(t);
	}
	p->config = *config;
}

/* @then may lie before the clock began; and @now, of an event that was kept, before @then. */
static u64 since(u64 then, u64 now)
{
	return then < now || then > INT64_MAX ? now - then : 0;
}

static struct target *find(const struct agent_policy *p, unsigned int number)
{
	struct target *t = p->targets;

	while (t && t->number != number)
		t = t->next;
	return t;
}

/* ---- what is to be read ---- */

static void want_scrub(struct target *t, enum agent_scrub reason)
{
	t->changed = true;
	if (!t->scrubbing && !t->scrub_at && (!t->scrub_for || reason == AGENT_SCRUB_SMART))
		t->scrub_for = reason;
	else if (t->scrubbing || t->scrub_at)
		t->scrub_then = t->scrub_then == AGENT_SCRUB_SMART ? AGENT_SCRUB_SMART : reason;
}

/* Join it to those that are to be read. */
static void add_range(const struct agent_policy *p, struct target *t, u64 first, u64 end)
{
	struct agent_range *r;

	t->changed = true;
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
	/* So much that it may as well be all; a scrub that is not there yet will read it. What it
	 * has met itself lies around it: else it would be the reason for the next one. */
	else if (!t->scrubbing || first + p->config.neighbourhood < t->scrub_at)
		want_scrub(t, AGENT_SCRUB_MANY);
}

/* Of what is left when all that was read lately is taken out, what lies below @i. */
static void add_unless_lately(const struct agent_policy *p, struct target *t, u64 first, u64 end,
			      unsigned int i, u64 now)
{
	while (first < end && i--) {
		const struct agent_range *r = &t->lately[i].range;

		if (t->lately[i].until <= now || r->end <= first || end <= r->first)
			continue;
		if (r->first > first && r->end < end) {
			/* in two; where there are many holes it is read whole rather */
			if (t->ranges < AGENT_RANGES / 2)
				add_unless_lately(p, t, r->end, end, i, now);
			else
				continue;
		}
		if (r->first > first)
			end = r->first;
		else
			first = r->end;
	}
	if (first < end)
		add_range(p, t, first, end);
}

static void read_range(const struct agent_policy *p, struct target *t, u64 first, u64 end, u64 now)
{
	if (end > t->sectors)
		end = t->sectors;
	add_unless_lately(p, t, first, end, AGENT_RANGES, now);
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
	t->told = m->told;
	t->told.budget &= m->day_ago < DAY;
	if (t->told.state >= REMAP_STATES)
		t->told.status = false;
	for (unsigned int i = 0; i < m->ranges && i < AGENT_RANGES; i++)
		read_range(p, t, m->range[i].first, m->range[i].end, now);
	t->scrub_at = m->scrub_at < sectors ? m->scrub_at : 0;
	if (m->scrub_for < AGENT_SCRUBS)
		t->scrub_for = m->scrub_for;
	if (m->scrub_then < AGENT_SCRUBS)
		t->scrub_then = m->scrub_then;
	t->ever_scrubbed = m->scrubbed_ago != NEVER;
	if (t->ever_scrubbed)
		t->scrubbed = now - m->scrubbed_ago;
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
		.scrub_for = t->scrub_for,
		.scrub_then = t->scrub_then,
		.scrubbed_ago = t->ever_scrubbed ? now - t->scrubbed : NEVER,
		.day_ago = now - t->day,
		.moved_today = t->moved_today,
		.told = t->told,
		.ranges = t->ranges,
	};
	memcpy(m->range, t->range, t->ranges * sizeof(m->range[0]));
	if (t->reading && !t->looking && m->ranges < AGENT_RANGES)
		m->range[m->ranges++] = t->under_way;
	else if (t->reading && !t->looking && !m->scrub_for)
		m->scrub_for = AGENT_SCRUB_MANY;
	return true;
}

bool agent_policy_changed(struct agent_policy *p, unsigned int number)
{
	struct target *t = find(p, number);
	bool changed = t && t->changed;

	if (t)
		t->changed = false;
	return changed;
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

/* Return: what is to be told, for its place; or NULL */
static struct agent_action *tell(struct target *t, enum agent_tell what, bool urgent,
				 const char *fmt, ...) __attribute__((format(printf, 4, 5)));
static struct agent_action *tell(struct target *t, enum agent_tell what, bool urgent,
				 const char *fmt, ...)
{
	struct agent_action *a;
	va_list ap;

	if (t->tells == TOLD)
		return NULL;	/* who does not listen to eight needs no ninth */
	a = &t->tell[t->tells++];
	*a = (struct agent_action){
		.kind = AGENT_TELL, .target = t->number, .tell = what, .urgent = urgent,
	};
	va_start(ap, fmt);
	vsnprintf(a->why, sizeof(a->why), fmt, ap);
	va_end(ap);
	return a;
}

/* ---- suspects ---- */

static struct suspect *set_of(struct target *t, u64 block)
{
	return t->suspect[block * 0x9e3779b97f4a7c15ULL >> 57];
}

static struct suspect *known_suspect(struct target *t, u64 block)
{
	struct suspect *set = set_of(t, block);

	for (unsigned int i = 0; i < WAYS; i++)
		if (set[i].used && set[i].block == block)
			return &set[i];
	return NULL;
}

static struct suspect *suspect_of(struct target *t, u64 block)
{
	struct suspect *set = set_of(t, block), *oldest = set, *s = known_suspect(t, block);

	if (s)
		return s;
	for (unsigned int i = 0; i < WAYS; i++)
		if (!set[i].used || (oldest->used && set[i].strike[0] < oldest->strike[0]))
			oldest = &set[i];
	if (oldest->wanted)
		t->wanted--;
	*oldest = (struct suspect){ .block = block, .used = true };
	return oldest;
}

/* Take back those for being slow; of those for reads that were tried again, those since @since. */
static void take_back(struct agent_policy *p, struct target *t, struct suspect *s, bool slow,
		      u64 since)
{
	unsigned int n = 0, k = p->config.strikes;
	u64 latest = s->strike[0];
	u8 retried = 0;

	for (unsigned int i = 0; i < AGENT_MAX_STRIKES && s->strike[i]; i++) {
		bool again = s->retried & 1 << i;

		if (s->strike[i] > since || (slow && !again))
			continue;
		retried |= (u8)(again << n);
		s->strike[n++] = s->strike[i];
	}
	s->confirmed &= n && s->strike[0] == latest;
	memset(&s->strike[n], 0, (AGENT_MAX_STRIKES - n) * sizeof(s->strike[0]));
	s->retried = retried;
	if (!n)
		s->look_at = 0;
	if (s->wanted && (!k || n < k)) {
		s->wanted = false;
		t->wanted--;
	}
}

static bool within_day(struct agent_policy *p, struct target *t, u64 now)
{
	if (since(t->day, now) >= DAY) {
		t->day = now;
		t->moved_today = 0;
		t->would_today = 0;
		t->told.budget = t->would.budget = false;
		t->changed = true;
	}
	return spent(&p->config, t) + t->wanted < p->config.per_day;
}

static void look_later(struct target *t, struct suspect *s, u64 at)
{
	s->look_at = at;
	if (at < t->look_at)
		t->look_at = at;
}

/* Is it to be moved, or to be read again, or neither? */
static void consider(struct agent_policy *p, struct target *t, struct suspect *s, u64 now)
{
	unsigned int k = p->config.strikes;
	bool enough;

	if (!k || s->wanted || now < s->held_until)
		return;
	enough = s->strike[k - 1] && now - s->strike[k - 1] <= p->config.window;
	if (p->config.look_again && !(enough && (s->confirmed || (s->retried & 1)))) {
		if (!s->look_at)
			look_later(t, s, now + APART);
		return;
	}
	if (!enough)
		return;
	if (!within_day(p, t, now)) {
		bool *told = p->config.dry_run ? &t->would.budget : &t->told.budget;

		if (!*told)
			tell(t, AGENT_TELL_BUDGET, true, "%u blocks were moved today, "
			     "as many as may be: slow ones stay where they are",
			     spent(&p->config, t) + t->wanted);
		*told = true;
		t->changed = true;
		return;
	}
	s->wanted = true;
	s->move_at = s->strike[0] + STALL_SECONDS;
	s->look_at = 0;
	t->wanted++;
}

static void strike(struct agent_policy *p, struct target *t, u64 block, bool again, u64 now)
{
	struct suspect *s = suspect_of(t, block);
	bool ours = t->looking && t->look_block == block;

	t->look_bad |= ours;
	if (s->strike[0] && now - s->strike[0] < APART) {
		s->retried |= again;
	} else {
		memmove(&s->strike[1], &s->strike[0], sizeof(s->strike) - sizeof(s->strike[0]));
		s->retried = (u8)(s->retried << 1 | again);
		s->strike[0] = now;
		s->confirmed = false;
	}
	/* ours tells when it has come to its end */
	if (!ours)
		consider(p, t, s, now);
}

/* It was looked at again. */
static void looked(struct agent_policy *p, struct target *t, enum agent_result result, u64 now)
{
	struct suspect *s = known_suspect(t, t->look_block);

	t->looking = false;
	if (!s || !s->strike[0])
		return;
	if (t->look_bad) {
		s->confirmed = true;
		consider(p, t, s, now);
	} else if (result == AGENT_GOOD) {
		take_back(p, t, s, true, now);
	} else if (result == AGENT_UNKNOWN) {
		look_later(t, s, now + RETRY);
	}
}

/* Are so many I/Os in trouble that it is none of their blocks? One block can be, and often. */
static bool stalls(struct agent_policy *p, struct target *t, u64 block, u64 now)
{
	const struct suspect *known = known_suspect(t, block);
	u64 first;

	if (known && known->strike[0] && now - known->strike[0] < APART)
		return false;
	t->trouble[t->trouble_next] = now;
	t->trouble_next = (t->trouble_next + 1) % STALL;
	first = t->trouble[t->trouble_next];
	if (!first || now - first >= STALL_SECONDS)
		return false;
	for (unsigned int i = 0; i < SETS * WAYS; i++) {
		struct suspect *s = &t->suspect[i / WAYS][i % WAYS];

		if (s->used && s->strike[0] && now - s->strike[0] < STALL_SECONDS)
			take_back(p, t, s, false, now - STALL_SECONDS);
	}
	if (!t->told_stall || now - t->told_stall >= HOLD) {
		tell(t, AGENT_TELL_SLOW, false, "%u I/Os were slow or tried again within %u s: "
		     "the disk as a whole is, and no block of it is moved for that", STALL,
		     STALL_SECONDS);
		t->told_stall = now;
	}
	return true;
}

/* ---- events ---- */

static void read_near(struct agent_policy *p, struct target *t, u64 sector, u32 sectors, u64 now)
{
	u64 n = p->config.neighbourhood;

	if (n)
		read_range(p, t, sector > n ? sector - n : 0, sector + sectors + n, now);
}

static void check_soon(struct target *t, enum check reason, u64 now)
{
	if (t->check_at <= now)
		return;
	t->check_at = t->checked && since(t->checked, now) < CHECKS_APART ?
		      t->checked + CHECKS_APART : now;
	t->check_for = reason;
}

/* So that errors that are seen by now may be those that it has met. */
static bool scrubbed_lately(const struct target *t, u64 now)
{
	return t->ever_scrubbed && !t->scrub_at && since(t->scrubbed, now) <= AGENT_ECHO;
}

void agent_policy_event(struct agent_policy *p, unsigned int number, const struct agent_event *e,
			u64 now)
{
	struct target *t = find(p, number);
	u64 first, last;

	/* others have no place, or one on the spare */
	if (!t || (e->kind <= AGENT_MOVED && e->sector >= t->sectors))
		return;
	first = e->sector / t->block_sectors;
	last = (e->sector + (e->sectors ? e->sectors - 1 : 0)) / t->block_sectors;
	switch (e->kind) {
	case AGENT_SLOW:
	case AGENT_RECOVERED:
		if (stalls(p, t, first, now))
			break;
		if (e->kind == AGENT_SLOW && last - first >= MANY_BLOCKS) {
			/* which one it was is found by reading them one by one */
			read_range(p, t, e->sector, e->sector + e->sectors, now);
			break;
		}
		for (u64 block = first; block <= last && block - first < MANY_BLOCKS; block++)
			strike(p, t, block, e->kind == AGENT_RECOVERED, now);
		break;
	case AGENT_ERROR:
		read_near(p, t, e->sector, e->sectors, now);
		break;
	case AGENT_MOVED:
		check_soon(t, CHECK_MOVED, now);
		if (e->cause == REMAP_CAUSE_READ || e->cause == REMAP_CAUSE_WRITE)
			read_near(p, t, e->sector, e->sectors, now);
		break;
	case AGENT_DEGRADED:
		check_soon(t, CHECK_DEGRADED, now);
		break;
	case AGENT_SMART:
		want_scrub(t, AGENT_SCRUB_SMART);
		tell(t, AGENT_TELL_SMART, true, "the disk itself counts more bad sectors than "
		     "before (SMART)");
		break;
	case AGENT_SOMEWHERE:
		/* those of a scrub are its own, and what it has not met yet it comes to */
		if (!t->scrubbing && !scrubbed_lately(t, now))
			want_scrub(t, AGENT_SCRUB_SOMEWHERE);
		break;
	}
}

void agent_policy_status(struct agent_policy *p, unsigned int number,
			 const struct agent_status *s, u64 now)
{
	static const char * const names[] = REMAP_STATE_NAMES;
	struct target *t = find(p, number);
	struct agent_told told;

	(void)now;
	if (!t)
		return;
	told = t->told;
	told.status = true;
	told.state = s->state;
	told.lost = s->lost_sectors;
	told.few_slots = s->slots_free <= s->slots_total / 10;
	if (!t->told.status) {
		t->told.state = REMAP_ACTIVE;
		t->told.lost = 0;
		t->told.few_slots = false;
	}
	if (told.state != t->told.state && told.state != REMAP_ACTIVE)
		tell(t, AGENT_TELL_STATE, true, "state is %s", names[told.state]);
	else if (told.state != t->told.state)
		tell(t, AGENT_TELL_STATE, false, "state is active again");
	if (told.lost > t->told.lost && t->told.status)
		tell(t, AGENT_TELL_LOST, true, "%" PRIu64 " sectors are lost, there were %"
		     PRIu64, told.lost, t->told.lost);
	else if (told.lost > t->told.lost)
		tell(t, AGENT_TELL_LOST, true, "%" PRIu64 " sectors are lost", told.lost);
	if (told.few_slots && !t->told.few_slots)
		tell(t, AGENT_TELL_SLOTS, true, "%u of %u slots are left", s->slots_free,
		     s->slots_total);
	t->changed |= !t->told.status || told.state != t->told.state ||
		      told.lost != t->told.lost || told.few_slots != t->told.few_slots;
	t->told = told;
	t->pause_came |= s->state == REMAP_PAUSED;
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

/* That which is to be moved first. */
static struct suspect *first_wanted(const struct target *t)
{
	const struct suspect *found = NULL;

	for (unsigned int i = 0; t->wanted && i < SETS * WAYS; i++) {
		const struct suspect *s = &t->suspect[i / WAYS][i % WAYS];

		if (s->wanted && (!found || s->move_at < found->move_at))
			found = s;
	}
	return (struct suspect *)found;
}

/* The last block of a target may be a short one. */
static u64 sectors_of(const struct target *t, u64 block)
{
	u64 first = block * t->block_sectors;

	return t->sectors - first < t->block_sectors ? t->sectors - first : t->block_sectors;
}

static bool next_move(struct agent_policy *p, struct target *t, u64 now, struct agent_action *a)
{
	struct suspect *s = first_wanted(t);
	u64 sector, count, seconds;

	if (!s || now < s->move_at || t->moving || t->status.state != REMAP_ACTIVE)
		return false;
	s->wanted = false;
	t->wanted--;
	s->held_until = now + HOLD;
	sector = s->block * t->block_sectors;
	count = sectors_of(t, s->block);
	seconds = s->strike[0] - s->strike[p->config.strikes - 1];
	if (p->config.dry_run) {
		t->would_today++;
		act(a, t, AGENT_TELL, sector, count, "would move block %" PRIu64
		    " (sector %" PRIu64 "): slow or hard to read %u times in %" PRIu64
		    " s (dry run)", s->block, sector, p->config.strikes, seconds);
		a->tell = AGENT_TELL_DRY_RUN;
		return true;
	}
	t->moving = true;
	t->moved_today++;
	t->changed = true;
	act(a, t, AGENT_MOVE, sector, count, "block %" PRIu64 " was slow or hard to read %u times "
	    "in %" PRIu64 " s", s->block, p->config.strikes, seconds);
	return true;
}

static bool next_check(struct target *t, u64 now, struct agent_action *a)
{
	static const char *const why[] = {
		[CHECK_START] = "the agent has not seen them yet", [CHECK_TIME] = "it is time to",
		[CHECK_MOVED] = "blocks were moved",
		[CHECK_DEGRADED] = "a write to the spare failed",
		[CHECK_REPAIRED] = "after the repair", [CHECK_AGAIN] = "the last time it failed",
		[CHECK_EARNEST] = "they were not whole, and the dry run is over",
	};

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
	act(a, t, AGENT_CHECK, 0, 0, "%s", why[t->check_for]);
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
	t->reading = t->looking = true;
	t->look_bad = t->pause_came = false;
	t->look_block = s->block;
	t->under_way.first = s->block * t->block_sectors;
	t->under_way.end = t->under_way.first + sectors_of(t, s->block);
	act(a, t, AGENT_READ, t->under_way.first, sectors_of(t, s->block), "it was slow or hard to "
	    "read: was that chance?");
	a->look = true;
	return true;
}

static bool next_read(struct target *t, u64 now, struct agent_action *a)
{
	struct agent_range *r;

	if (t->reading || !t->ranges || now < t->read_at || t->status.state == REMAP_PAUSED)
		return false;
	t->reading = true;
	t->pause_came = false;
	r = &t->range[--t->ranges];
	t->under_way = *r;
	t->lately[t->lately_next].range = *r;
	t->lately[t->lately_next].until = now + HOLD;
	t->lately_next = (t->lately_next + 1) % AGENT_RANGES;
	act(a, t, AGENT_READ, r->first, r->end - r->first, "something was wrong there, and defects "
	    "cluster");
	return true;
}

/* Times may lie before the agent's clock began. */
static u64 after(u64 then, u64 seconds)
{
	u64 at = then + seconds;

	return at > INT64_MAX ? 0 : at;
}

static u64 scrub_due(const struct agent_policy *p, const struct target *t)
{
	u64 at = 0;

	if (!p->config.scrub_interval || t->scrubbing)
		return NEVER;
	if (t->ever_scrubbed && !t->scrub_at) {
		if (!t->scrub_for)
			at = after(t->scrubbed, p->config.scrub_interval);
		else if (t->scrub_for == AGENT_SCRUB_SOMEWHERE || t->scrub_for == AGENT_SCRUB_MANY)
			at = after(t->scrubbed, HOLD);
	}
	return at < t->scrub_wait ? t->scrub_wait : at;
}

static bool next_scrub(const struct agent_policy *p, struct target *t, u64 now,
		       struct agent_action *a)
{
	static const char *const why[] = {
		[AGENT_SCRUB_TIME] = "it is time to",
		[AGENT_SCRUB_SMART] = "the disk itself counts more bad sectors than before",
		[AGENT_SCRUB_SOMEWHERE] = "something was wrong, and it is not known where",
		[AGENT_SCRUB_MANY] = "something was wrong in very many places",
	};

	if (t->status.state == REMAP_PAUSED || now < scrub_due(p, t))
		return false;
	t->scrubbing = true;
	t->pause_came = false;
	t->scrub_for = t->scrub_for ?: AGENT_SCRUB_TIME;
	t->changed = true;
	act(a, t, AGENT_SCRUB, t->scrub_at, t->sectors - t->scrub_at, "%s%s%s", t->scrub_at ?
	    "going on where it stopped (" : "", why[t->scrub_for], t->scrub_at ? ")" : "");
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
		    next_read(t, now, a) || next_scrub(p, t, now, a))
			return true;
	}
	return false;
}

/* How long to wait before the next try: longer each time. */
static u64 longer(u64 *wait)
{
	*wait = !*wait ? RETRY : *wait * 2 < HOLD ? *wait * 2 : HOLD;
	return *wait;
}

static void check_later(struct target *t, enum check reason, u64 at)
{
	/* something may have happened while it ran */
	if (t->check_at < at)
		return;
	t->check_at = at;
	t->check_for = reason;
}

static void told_replicas(struct target *t, bool told)
{
	t->changed |= t->told.replicas != told;
	t->told.replicas = told;
}

static void checked(struct agent_policy *p, struct target *t, enum agent_result result, u64 now)
{
	t->checked = now;
	if (result == AGENT_UNKNOWN) {
		/* whether the spare is well is another question */
		check_later(t, CHECK_AGAIN, now + longer(&t->check_wait));
		return;
	}
	t->check_wait = 0;
	check_later(t, CHECK_TIME, now + p->config.check_interval);
	if (result == AGENT_GOOD) {
		if (t->told.replicas || t->would.replicas)
			tell(t, AGENT_TELL_REPLICAS, false, "all five replicas of the metadata "
			     "are whole again");
		told_replicas(t, false);
		t->would.replicas = false;
		t->repaired = false;
	} else if (p->config.dry_run) {
		if (!t->told.replicas && !t->would.replicas)
			tell(t, AGENT_TELL_DRY_RUN, true, "would repair the replicas of the "
			     "metadata, which are not whole (dry run)");
		t->would.replicas = true;
	} else if (!t->repaired) {
		t->repair = true;
	} else {
		if (!t->told.replicas)
			tell(t, AGENT_TELL_REPLICAS, true, "replicas of the metadata are not "
			     "whole, and repair does not help: replace the spare");
		told_replicas(t, true);
		t->repaired = false;
	}
}

static void moved(struct target *t, const struct agent_action *a, enum agent_result result,
		  const char *why, u64 now)
{
	struct suspect *s = known_suspect(t, a->sector / t->block_sectors);
	struct agent_action *told;

	t->moving = false;
	if (result == AGENT_GOOD)
		return;
	if (result == AGENT_UNKNOWN) {
		/* nothing was done that would count */
		t->moved_today -= t->moved_today > 0;
		t->changed = true;
		if (s)
			s->held_until = now + RETRY;
	}
	told = tell(t, AGENT_TELL_NOT_MOVED, false, "sector %" PRIu64 " could not be moved: %s",
		    a->sector, why ?: "no reason was given");
	if (told) {
		told->sector = a->sector;
		told->count = a->count;
	}
}

static void scrubbed(struct target *t, enum agent_result result, u64 now)
{
	t->scrubbing = false;
	t->changed = true;
	if (result == AGENT_UNKNOWN) {
		t->scrub_wait = t->pause_came ? now : now + HOLD;
		return;
	}
	t->scrub_at = 0;
	t->scrubbed = now;
	t->ever_scrubbed = true;
	t->scrub_for = t->scrub_then;
	t->scrub_then = AGENT_SCRUB_NONE;
	t->scrub_wait = 0;
}

void agent_policy_done(struct agent_policy *p, const struct agent_action *a,
		       enum agent_result result, const char *why, u64 now)
{
	struct target *t = find(p, a->target);

	if (!t)
		return;
	switch (a->kind) {
	case AGENT_MOVE:
		moved(t, a, result, why, now);
		break;
	case AGENT_READ:
		t->reading = false;
		t->changed = true;
		if (t->looking) {
			looked(p, t, result, now);
			break;
		}
		if (result != AGENT_UNKNOWN) {
			t->read_at = t->read_wait = 0;
			break;
		}
		if (!t->pause_came)
			t->read_at = now + longer(&t->read_wait);
		if (t->under_way.first < t->under_way.end)
			add_range(p, t, t->under_way.first, t->under_way.end);
		break;
	case AGENT_CHECK:
		t->checking = false;
		checked(p, t, result, now);
		break;
	case AGENT_REPAIR:
		t->checking = false;
		if (result == AGENT_UNKNOWN) {
			check_later(t, CHECK_AGAIN, now + longer(&t->check_wait));
			break;
		}
		t->repaired = true;
		t->check_at = now;
		t->check_for = CHECK_REPAIRED;
		break;
	case AGENT_SCRUB:
		scrubbed(t, result, now);
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
	else if (a->kind == AGENT_READ)	/* which ends with a block, perhaps further on */
		t->under_way.first = sector < t->under_way.end ? sector : t->under_way.end;
}

static void earlier(u64 *at, u64 other)
{
	if (other < *at)
		*at = other;
}

u64 agent_policy_wake(const struct agent_policy *p)
{
	u64 at = NEVER;

	for (const struct target *t = p->targets; t; t = t->next) {
		bool paused = t->status.state == REMAP_PAUSED;
		bool active = t->status.state == REMAP_ACTIVE;

		if (t->tells || (t->repair && !paused))
			return 0;
		if (t->ranges && !t->reading && !paused)
			earlier(&at, t->read_at);
		if (t->wanted && !t->moving && active)
			earlier(&at, first_wanted(t)->move_at);
		if (!t->checking)
			earlier(&at, t->check_at);
		if (!t->reading && active)
			earlier(&at, t->look_at);
		if (!paused)
			earlier(&at, scrub_due(p, t));
	}
	return at;
}
