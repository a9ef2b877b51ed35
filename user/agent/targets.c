// SPDX-License-Identifier: GPL-2.0-only
/*
 * The remap devices of the machine: found, watched, and what the policy wants done to them done.
 *
 * What happens is told in three ways: telemetry's events; the events of device-mapper, for which
 * all targets are looked at again, as for a device that comes or goes; and a look every few
 * seconds, whatever happens.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sysmacros.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>
#include "agent.h"
#include "device.h"
#include "helper.h"
#include "smart.h"
#include "text.h"

#define SECOND		1000000ULL	/* of sd-event's time */
#define LOOK		5		/* s between looks at all targets, if nothing happens */
#define CALM		(SECOND / 5)	/* between looks for what happens */
#define OFTEN		10		/* s between lines about what happens all the time */
#define CHUNK		2048		/* sectors that a scrub reads at once */
#define SAVE_AFTER	10		/* s of progress that may be lost */
#define SMART_SECONDS	60
#define SMART_KEEP	(1 << 20)
#define TAKES		10		/* times in a second that events are taken */
#define SAVE_WAIT	60		/* s at most before what was not saved is tried again */
#define END_SECONDS	5		/* for what is to be saved */

_Static_assert(LOOK < AGENT_ECHO, "what a scrub has met is seen by the next look");

/* The beginning of a helper's arguments. */
#define HELPER(a)	(char *)(a)->self, "--helper", (a)->pid

static void act(struct agent *a);

static bool under_way(const struct agent_target *t, enum agent_action_kind kind)
{
	return t->job[kind].child;
}

/* ---- what outlives us ---- */

/* As it is now. What of it is a time is told by how long ago that was. */
static void take_state(struct agent_saver *s)
{
	struct agent_target *t = s->target;

	if (!t || !agent_policy_memory(s->agent->policy, t->number, agent_now(), &s->state.memory))
		return;
	s->state.smart = t->smart;
	snprintf(s->name, sizeof(s->name), "%s", t->dm.name);
}

static void free_saver(struct agent_saver *s)
{
	struct agent_saver **link = &s->agent->savers;

	while (*link != s)
		link = &(*link)->next;
	*link = s->next;
	free(s);
}

/* Later, and later still; it is said once. */
static void not_saved(struct agent_saver *s, const char *why)
{
	if (!s->wait)
		agent_say(s->agent, LOG_WARNING, s->target, NULL, NULL, "cannot save what was "
			  "done%s%s: %s; trying again until it can be", s->target ? "" : " to ",
			  s->target ? "" : s->name, why);
	s->wait = !s->wait ? 1 : s->wait * 2 < SAVE_WAIT ? s->wait * 2 : SAVE_WAIT;
	s->due = true;
}

static void leave_if_saved(struct agent *a);

static void saved(void *arg, int status, const char *output)
{
	struct agent_saver *s = arg;
	struct agent *a = s->agent;
	const char *why = strncmp(output, "error ", 6) ? "?" : output + 6;
	char line[200];

	s->child = NULL;
	if (status) {
		snprintf(line, sizeof(line), "%.*s", (int)strcspn(why, "\n"), why);
		not_saved(s, line);
	} else {
		if (s->wait)
			agent_say(a, LOG_NOTICE, s->target, NULL, NULL, "what was done%s%s is "
				  "saved again", s->target ? "" : " to ", s->target ? "" : s->name);
		s->wait = 0;
		if (!s->target && !s->due)
			free_saver(s);
	}
	leave_if_saved(a);
}

/* One at a time, or an older state could be the last one to be saved. */
static void save(struct agent_saver *s)
{
	struct agent *a = s->agent;
	struct remap_err err = { .text = "out of memory" };
	_cleanup_free_ char *text = NULL;

	if (!s->due || s->child)
		return;
	take_state(s);
	text = agent_state_text(&s->state);
	s->at = agent_now();
	s->due = false;
	if (text) {
		char *argv[] = { HELPER(a), "save", (char *)a->state_folder, s->key, text, NULL };
		struct agent_child_spec spec = {
			.argv = argv, .keep = 300, .ended = saved, .arg = s,
		};

		agent_child_run(a->loop, &spec, &s->child, &err);
	}
	if (!s->child)
		not_saved(s, err.text);
}

static u64 save_at(const struct agent_saver *s)
{
	return s->due && !s->child ? s->at + 1 + s->wait : UINT64_MAX;
}

/* At most once a second each. */
static void save_all(struct agent *a)
{
	u64 now = agent_now();

	for (struct agent_target *t = a->targets; t; t = t->next) {
		t->unsaved |= agent_policy_changed(a->policy, t->number);
		if (!t->known || !t->unsaved)
			continue;
		t->saver->due = true;
		t->unsaved = false;
	}
	for (struct agent_saver *s = a->savers; s; s = s->next)
		if (save_at(s) <= now)
			save(s);
}

/* Of what has gone and come again within the time that it takes to save it, nothing is read. */
static struct agent_saver *saver_of(struct agent_target *t)
{
	struct agent *a = t->agent;
	struct agent_saver *s = a->savers;

	while (s && (s->target || strcmp(s->key, t->key)))
		s = s->next;
	if (!s) {
		s = calloc(1, sizeof(*s));
		if (!s)
			return NULL;
		s->agent = a;
		snprintf(s->key, sizeof(s->key), "%s", t->key);
		s->next = a->savers;
		a->savers = s;
	}
	s->target = t;
	return s;
}

/* ---- actions ---- */

static void says(void *arg, const char *line)
{
	static const char *const states[] = REMAP_REPLICA_STATE_NAMES;
	struct agent_job *j = arg;
	struct agent_target *t = j->target;
	char word[16];
	unsigned int i;
	u64 n, first;

	if (sscanf(line, "at %" SCNu64, &n) == 1) {
		j->at = n;
		agent_policy_progress(t->agent->policy, &j->action, n);
		if (t->known && agent_now() - t->saver->at >= SAVE_AFTER)
			t->unsaved = true;
	} else if (sscanf(line, "replica %u %15s", &i, word) == 2 && i < REMAP_ZONES) {
		for (unsigned int k = 0; k < REMAP_REPLICA_STATES; k++)
			if (!strcmp(word, states[k]))
				t->replica[i] = (enum remap_replica_state)k;
	} else if (sscanf(line, "unreadable %" SCNu64 " %" SCNu64, &first, &n) == 2) {
		if (!j->unreadable)
			j->first = first;
		j->unreadable = j->unreadable_before + n;
	} else if (!strncmp(line, "error ", 6)) {
		snprintf(j->said, sizeof(j->said), "%s", line + 6);
	}
}

static void say_replicas(struct agent_target *t, bool whole)
{
	static const char *const names[] = REMAP_REPLICA_STATE_NAMES;
	char text[100] = "";
	size_t n = 0;

	for (unsigned int i = 0; i < REMAP_ZONES; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, " %s", names[t->replica[i]]);
	agent_say(t->agent, whole ? LOG_INFO : LOG_WARNING, t, &t->job[AGENT_CHECK].action, "done",
		  "replicas of the metadata:%s", text);
}

static void say_end(struct agent_job *j, bool ok)
{
	struct agent_target *t = j->target;
	const struct agent *a = t->agent;
	const struct agent_action *action = &j->action;
	u64 last = action->sector + action->count - 1;
	const char *why = *j->said ? j->said : "no reason was given";

	switch (action->kind) {
	case AGENT_MOVE:
		if (ok)
			agent_say(a, LOG_NOTICE, t, action, "done", "moved sectors %" PRIu64 " to %"
				  PRIu64, action->sector, last);
		else
			agent_say(a, LOG_WARNING, t, action, "failed", "could not move sectors %"
				  PRIu64 " to %" PRIu64 ": %s", action->sector, last, why);
		break;
	case AGENT_READ:
	case AGENT_SCRUB:
		if (!ok)
			agent_say(a, LOG_WARNING, t, action, "failed", "gave up reading sectors %"
				  PRIu64 " to %" PRIu64 " at %" PRIu64 ": %s", action->sector, last,
				  j->at, why);
		else if (j->unreadable)
			agent_say(a, LOG_WARNING, t, action, "done", "read sectors %" PRIu64 " to %"
				  PRIu64 ": %" PRIu64 " could not be read, the first is %" PRIu64,
				  action->sector, last, j->unreadable, j->first);
		else
			agent_say(a, action->kind == AGENT_READ ? LOG_INFO : LOG_NOTICE, t, action,
				  "done", "read sectors %" PRIu64 " to %" PRIu64 ": all is well",
				  action->sector, last);
		break;
	case AGENT_CHECK:
		if (t->replicas_known)
			say_replicas(t, ok);
		else
			agent_say(a, LOG_WARNING, t, action, "failed", "could not check the "
				  "replicas of the metadata: %s", why);
		break;
	case AGENT_REPAIR:
		agent_say(a, ok ? LOG_NOTICE : LOG_WARNING, t, action, ok ? "done" : "failed",
			  ok ? "repaired the replicas of the metadata%s%s" :
			  "could not repair the replicas of the metadata%s%s", ok ? "" : ": ",
			  ok ? "" : why);
		break;
	case AGENT_TELL:
		break;
	}
}

static void on_event(void *arg, const struct telemetry_event *e);

/* All that the ring holds by now; the policy hears of it, and nothing begins for it yet. */
static void take_events(struct agent *a)
{
	if (a->telemetry)
		remap_telemetry_poll(a->telemetry, on_event, a, 0);
}

static void finish(struct agent_job *j, int status)
{
	struct agent_target *t = j->target;
	struct agent *a = t->agent;
	bool reading = j->action.kind == AGENT_READ || j->action.kind == AGENT_SCRUB;
	enum agent_result result = status == HELPER_GOOD ? AGENT_GOOD :
				   status == HELPER_BAD ? AGENT_BAD : AGENT_UNKNOWN;
	bool ok = result == AGENT_GOOD || (reading && result == AGENT_BAD);

	j->child = NULL;
	if (j->action.kind == AGENT_CHECK) {
		t->replicas_known = result != AGENT_UNKNOWN;
		t->checked_at = (u64)time(NULL);
	}
	if (status == CHILD_LOST && !*j->said)
		snprintf(j->said, sizeof(j->said), "it is not known how it ended");
	else if (status > 128 && !*j->said)
		snprintf(j->said, sizeof(j->said), "killed by signal %d", status - 128);
	*(ok ? &j->good : &j->bad) += 1;
	say_end(j, ok);
	/* was a read of it slow? That is known by now, but perhaps not to us */
	if (j->action.kind == AGENT_READ)
		take_events(a);
	agent_policy_done(a->policy, &j->action, result, *j->said ? j->said : NULL, agent_now());
	t->unsaved = true;
}

static void ended(void *arg, int status, const char *output)
{
	struct agent_job *j = arg;
	struct agent *a = j->target->agent;

	(void)output;
	finish(j, status);
	act(a);
}

static int begin_job(struct agent_job *j, char *argv[], struct remap_err *err)
{
	struct agent_child_spec spec = { .argv = argv, .says = says, .ended = ended, .arg = j };

	return agent_child_run(j->target->agent->loop, &spec, &j->child, err);
}

/* Whole blocks, as far as there are: else O_DIRECT may refuse to read them. */
static void align(struct agent_action *action, const struct agent_target *t)
{
	u64 block = t->dm.word[REMAP_ST_BLOCK_SIZE] >> 9;
	u64 end = (action->sector + action->count + block - 1) / block * block;

	action->sector -= action->sector % block;
	action->count = (end < t->dm.sectors ? end : t->dm.sectors) - action->sector;
}

/* "NODE:MAJOR:MINOR" */
static void name_node(char *node, size_t size, dev_t dev)
{
	size_t n;

	remap_dev_path(dev, node, size);
	n = strlen(node);
	snprintf(node + n, size - n, ":%u:%u", major(dev), minor(dev));
}

/* From where it has come to. */
static int begin_read(struct agent_job *j, struct remap_err *err)
{
	struct agent_target *t = j->target;
	const struct agent_action *action = &j->action;
	char node[PATH_MAX + 32], first[24], count[24], chunk[24], block[24], rate[24], begin[24];

	name_node(node, sizeof(node), t->dm.rdev);
	snprintf(first, sizeof(first), "%" PRIu64, j->at);
	snprintf(count, sizeof(count), "%" PRIu64, action->sector + action->count - j->at);
	snprintf(block, sizeof(block), "%" PRIu64, (u64)t->dm.word[REMAP_ST_BLOCK_SIZE] >> 9);
	snprintf(chunk, sizeof(chunk), "%d", CHUNK);
	snprintf(rate, sizeof(rate), "%" PRIu64, t->agent->settings.scrub_rate);
	snprintf(begin, sizeof(begin), "%" PRIu64, t->dm.begin);
	return begin_job(j, (char *[]){ HELPER(t->agent), "read", node, first, count,
					action->kind == AGENT_READ ? block : chunk, block, rate,
					action->look ? "usual" : "idle", begin, NULL }, err);
}

static void start(struct agent *a, struct agent_target *t, const struct agent_action *action)
{
	struct agent_job *j = &t->job[action->kind];
	char name[REMAP_DM_NAME_LEN + 32], node[PATH_MAX + 32] = "-", first[24], count[24];
	const char *kind = agent_action_name(action->kind);
	struct remap_err err;
	int r;

	*j = (struct agent_job){
		.target = t, .action = *action, .began = (u64)time(NULL), .good = j->good,
		.bad = j->bad,
	};
	if (action->kind == AGENT_READ)
		align(&j->action, t);
	j->at = j->action.sector;
	snprintf(name, sizeof(name), "%s:%u:%u", t->dm.name, major(t->dm.rdev), minor(t->dm.rdev));
	snprintf(first, sizeof(first), "%" PRIu64, j->action.sector);
	snprintf(count, sizeof(count), "%" PRIu64, j->action.count);
	switch (action->kind) {
	case AGENT_MOVE:
		agent_say(a, LOG_NOTICE, t, action, "begun", "moving sectors %" PRIu64 " to %"
			  PRIu64 ": %s", action->sector, action->sector + action->count - 1,
			  action->why);
		r = begin_job(j, (char *[]){ HELPER(a), (char *)kind, name, first, count, NULL },
			      &err);
		break;
	case AGENT_READ:
	case AGENT_SCRUB:
		agent_say(a, action->kind == AGENT_READ ? LOG_INFO : LOG_NOTICE, t, action, "begun",
			  "reading sectors %" PRIu64 " to %" PRIu64 ": %s", j->action.sector,
			  j->action.sector + j->action.count - 1, action->why);
		r = begin_read(j, &err);
		break;
	case AGENT_CHECK:
		agent_say(a, LOG_INFO, t, action, "begun", "checking the replicas of the metadata: "
			  "%s", action->why);
		if (!t->dm.spare_start && t->dm.spare)
			name_node(node, sizeof(node), t->dm.spare);
		r = begin_job(j, (char *[]){ HELPER(a), (char *)kind, name, node, t->key, NULL },
			      &err);
		break;
	default:
		agent_say(a, LOG_NOTICE, t, action, "begun", "repairing: %s", action->why);
		r = begin_job(j, (char *[]){ HELPER(a), (char *)kind, name, NULL }, &err);
		break;
	}
	if (r) {
		snprintf(j->said, sizeof(j->said), "%.199s", err.text);
		finish(j, HELPER_FAILED);
	}
}

/* By other settings from now on: a scrub may take a week. */
static void read_on(struct agent_job *j)
{
	struct remap_err err;

	if (!j->child || j->action.look || j->at >= j->action.sector + j->action.count)
		return;
	agent_child_give_up(j->child);
	j->child = NULL;
	j->unreadable_before = j->unreadable;
	if (begin_read(j, &err)) {
		snprintf(j->said, sizeof(j->said), "%.199s", err.text);
		finish(j, HELPER_FAILED);
	}
}

static struct agent_target *by_number(const struct agent *a, unsigned int number)
{
	struct agent_target *t = a->targets;

	while (t && t->number != number)
		t = t->next;
	return t;
}

static void wake_at(struct agent *a)
{
	u64 now = agent_now(), wake = agent_policy_wake(a->policy), next = a->refresh_at;

	for (const struct agent_saver *s = a->savers; s; s = s->next)
		if (save_at(s) < next)
			next = save_at(s);
	if (wake < next)
		next = wake;
	if (a->share && a->share->again)
		next = now + 1;
	if (next <= now)
		next = now + 1;
	sd_event_source_set_time(a->on_time, (next - 1) * SECOND);
	sd_event_source_set_enabled(a->on_time, SD_EVENT_ONESHOT);
}

/* ---- what others are told ---- */

static struct agent_config rules(const struct agent *a)
{
	struct agent_config c = a->settings.policy;

	c.dry_run |= a->dry_run;
	return c;
}

static void share_target(const struct agent_target *t, struct remap_agent_target *to)
{
	const struct agent_job *scrub = &t->job[AGENT_SCRUB];
	struct agent_memory m = AGENT_MEMORY_NONE;
	u64 now = (u64)time(NULL);

	agent_policy_memory(t->agent->policy, t->number, agent_now(), &m);
	*to = (struct remap_agent_target){
		.scrubbing = scrub->child,
		.scrub_at = m.scrub_at,
		.scrub_began = scrub->began,
		.scrub_began_at = scrub->action.sector,
		.scrubbed = m.scrubbed_ago < now ? now - m.scrubbed_ago : 0,
		.replicas_known = t->replicas_known,
		.checked = t->checked_at,
		.moved_today = m.moved_today,
		.smart_known = t->smart.known,
		.smart_bad = agent_smart_bad(&t->smart),
	};
	memcpy(to->replica, t->replica, sizeof(to->replica));
	snprintf(to->name, sizeof(to->name), "%s", t->dm.name);
	snprintf(to->uuid, sizeof(to->uuid), "%s", t->key);
}

/* At most once a second, unless it is the @last time. */
static void share_status(struct agent *a, bool last)
{
	struct agent_share *s = a->share;
	struct remap_agent_status status = {
		.time = (u64)time(NULL), .telemetry = a->telemetry, .dry_run = rules(a).dry_run,
	};
	bool said = s->said_status;
	struct remap_err err;

	s->again = !last && s->tried == agent_now();
	if (s->again)
		return;
	s->tried = agent_now();
	for (const struct agent_target *t = a->targets; t; t = t->next)
		status.n++;
	status.target = calloc(status.n + 1, sizeof(*status.target));
	if (!status.target)
		return;
	status.n = 0;
	for (const struct agent_target *t = a->targets; t; t = t->next)
		share_target(t, &status.target[status.n++]);
	s->said_status = agent_share_status(s, &status, &err);
	if (s->said_status && !said)
		agent_say(a, LOG_WARNING, NULL, NULL, NULL, "others cannot read how it stands: %s",
			  err.text);
	remap_agent_status_free(&status);
}

/* All that the policy wants done by now. */
static void act(struct agent *a)
{
	struct agent_action action;
	u64 now = agent_now();

	if (a->ending)
		return;
	while (agent_policy_next(a->policy, now, &action)) {
		struct agent_target *t = by_number(a, action.target);

		if (!t)
			continue;
		if (action.kind == AGENT_TELL)
			agent_tell(a, t, &action);
		else
			start(a, t, &action);
	}
	save_all(a);
	share_status(a, false);
	wake_at(a);
}

/* ---- what the policy hears of ---- */

/* Once is enough of what happens over and over: there is room for few. */
static bool heard_early(const struct agent_target *t, const struct agent_event *e)
{
	for (unsigned int i = 0; i < t->earlies; i++) {
		const struct agent_event *o = &t->early[i].event;

		if (o->kind == e->kind && o->cause == e->cause && o->sector <= e->sector &&
		    e->sector + e->sectors <= o->sector + o->sectors)
			return true;
	}
	return false;
}

/* Something happened, perhaps before it is known what was done before. */
static void hear(struct agent_target *t, const struct agent_event *e)
{
	if (t->known) {
		agent_policy_event(t->agent->policy, t->number, e, agent_now());
	} else if (t->earlies == AGENT_EARLY) {
		t->early_more |= !heard_early(t, e);
	} else if (!heard_early(t, e)) {
		t->early[t->earlies].event = *e;
		t->early[t->earlies++].at = agent_now();
	}
}

static void hear_early(struct agent_target *t)
{
	const struct agent_event e = { .kind = AGENT_SOMEWHERE };

	for (unsigned int i = 0; i < t->earlies; i++)
		agent_policy_event(t->agent->policy, t->number, &t->early[i].event,
				   t->early[i].at);
	if (t->early_more)
		hear(t, &e);
	t->earlies = 0;
	t->early_more = false;
}

/* ---- SMART ---- */

static void smart_ended(void *arg, int status, const char *output)
{
	struct agent_target *t = arg;
	struct agent *a = t->agent;
	struct agent_smart now;

	(void)status;	/* bits of it say what is wrong with the disk, not with the question */
	t->asking = NULL;
	if (!agent_smart_read(&now, output))
		return;
	if (agent_smart_rose(&t->smart, &now)) {
		struct agent_event e = { .kind = AGENT_SMART };

		hear(t, &e);
	}
	t->unsaved |= !t->smart.known || t->smart.sum ||
		      memcmp(t->smart.count, now.count, sizeof(now.count));
	t->smart = now;
	act(a);
}

static void ask_smart(struct agent_target *t)
{
	struct agent *a = t->agent;
	struct agent_child_spec spec = {
		.keep = SMART_KEEP, .seconds = SMART_SECONDS, .ended = smart_ended, .arg = t,
	};
	char node[PATH_MAX];
	bool requests;
	dev_t disk;
	u64 start, now = agent_now();
	struct remap_err err;
	int r;

	if (!a->settings.smart_interval || a->no_smartctl || !t->known || t->asking ||
	    now < t->smart_at)
		return;
	t->smart_at = now + a->settings.smart_interval;
	/* what has no requests is no disk: it has none to be asked, or several */
	if (remap_dev_disk(t->dm.data, &disk, &start, &requests) || !requests)
		return;
	remap_dev_path(disk, node, sizeof(node));
	/* a disk that sleeps is not woken for it */
	spec.argv = (char *[]){ "smartctl", "--nocheck=standby", "--json", "--attributes", node,
				NULL };
	r = agent_child_run(a->loop, &spec, &t->asking, &err);
	if (r && r != -ENOENT)
		agent_say(a, LOG_WARNING, t, NULL, NULL, "its disk is not asked this time: %s",
			  err.text);
	if (r == -ENOENT) {
		a->no_smartctl = true;
		agent_say(a, LOG_INFO, NULL, NULL, NULL, "smartctl cannot be run: what disks say "
			  "of themselves is not known (smartmontools has it)");
	}
}

/* ---- telemetry ---- */

static u64 slow_ns(const struct agent *a, dev_t data)
{
	return a->settings.slow_ns ?: remap_telemetry_usual_slow(data);
}

static void unwatch_side(struct agent_target *t, struct agent_watch *w)
{
	struct agent *a = t->agent;

	if (!w->watched)
		return;
	remap_telemetry_unwatch(a->telemetry, w->area);
	a->owner[w->area] = NULL;
	w->watched = false;
	t->dm_watched &= w != &t->side[AGENT_DATA];
}

static void unwatch(struct agent_target *t)
{
	for (int side = 0; side < AGENT_SIDES; side++)
		unwatch_side(t, &t->side[side]);
}

static void refresh_soon(struct agent *a);

static void watch_side(struct agent_target *t, enum agent_side side, const struct agent_watch *want)
{
	struct agent *a = t->agent;
	struct agent_watch *w = &t->side[side];
	u64 slow = side == AGENT_DATA ? slow_ns(a, t->dm.data) : 0;
	struct remap_err err;
	u32 area;
	int r = remap_telemetry_watch(a->telemetry, want->dev, want->start, want->sectors, slow,
				      &area, &err);

	if (r) {
		if (!w->said)
			agent_say(a, LOG_WARNING, t, NULL, NULL, "its %s is not watched: %s",
				  side == AGENT_DATA ? "data device" : "spare", err.text);
		w->said = true;
		return;
	}
	*w = *want;
	w->watched = true;
	if (side == AGENT_DATA) {
		t->dropped = 0;
		/* what happened since its counts were read is in the next ones, and little else */
		refresh_soon(a);
	}
	w->area = area;
	w->id = remap_telemetry_area(a->telemetry, area)->id;
	a->owner[area] = t;
}

static void end_before(u64 *end, u64 start, const struct agent_target *t, dev_t dev, u64 other)
{
	if (dev == t->dm.spare && other > start && other < *end)
		*end = other;
}

/*
 * What is to be watched. Where a spare ends is in its metadata alone; the next thing on the same
 * device is behind that. Return: false if there is nothing
 */
static bool to_watch(const struct agent_target *t, enum agent_side side, struct agent_watch *want)
{
	u64 end, start = t->dm.spare_start;
	char path[64];

	*want = (struct agent_watch){
		.dev = t->dm.data, .start = t->dm.data_start, .sectors = t->dm.sectors,
	};
	if (side == AGENT_DATA)
		return t->dm.data;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/size", major(t->dm.spare),
		 minor(t->dm.spare));
	if (!t->dm.spare || remap_read_u64(path, &end) || end <= start)
		return false;
	*want = (struct agent_watch){ .dev = t->dm.spare, .start = start, .end = end };
	for (const struct agent_target *o = t->agent->targets; o; o = o->next) {
		end_before(&end, start, t, o->dm.spare, o->dm.spare_start);
		end_before(&end, start, t, o->dm.data, o->dm.data_start);
	}
	want->sectors = end - start;
	return true;
}

/* Again each time: what could not be watched may be, and what is watched may be another one's. */
static void watch(struct agent *a)
{
	struct agent_watch want;

	if (!a->telemetry)
		return;
	for (struct agent_target *t = a->targets; t; t = t->next) {
		for (enum agent_side side = 0; side < AGENT_SIDES; side++) {
			struct agent_watch *w = &t->side[side];

			/* to begin anew costs its counts, and more room is none of its own, unless
			 * its device has grown */
			if (w->watched && (!to_watch(t, side, &want) || w->dev != want.dev ||
					   w->start != want.start || w->sectors > want.sectors ||
					   (w->end < want.end && w->sectors < want.sectors)))
				unwatch_side(t, w);
		}
	}
	for (struct agent_target *t = a->targets; t; t = t->next)
		for (enum agent_side side = 0; side < AGENT_SIDES; side++)
			if (!t->side[side].watched && to_watch(t, side, &want))
				watch_side(t, side, &want);
}

static void refresh_soon(struct agent *a)
{
	/* not put off by what happens meanwhile */
	if (a->ending || sd_event_source_get_enabled(a->on_refresh, NULL) > 0)
		return;
	sd_event_source_set_time_relative(a->on_refresh, CALM);
	sd_event_source_set_enabled(a->on_refresh, SD_EVENT_ONESHOT);
}

static struct agent_target *by_dev(const struct agent *a, u32 dev)
{
	struct agent_target *t = a->targets;

	while (t && (major(t->dm.rdev) << 20 | minor(t->dm.rdev)) != dev)
		t = t->next;
	return t;
}

/* The first at once, then how many there were every ten seconds. */
static void say_often(struct agent_target *t, struct agent_often *o, u64 sector, const char *one,
		      const char *many)
{
	const struct agent *a = t->agent;
	u64 now = agent_now();

	o->sector = sector;
	if (now < o->until) {
		o->count++;
		return;
	}
	o->until = now + OFTEN;
	if (o->count)
		agent_say_io(a, t, o->what, sector, "%" PRIu64 " %s since, the last at sector %"
			     PRIu64, o->count + 1, many, sector);
	else
		agent_say_io(a, t, o->what, sector, "%s at sector %" PRIu64, one, sector);
	o->count = 0;
}

static void say_rest(struct agent_target *t, struct agent_often *o, const char *many)
{
	if (!o->count || agent_now() < o->until)
		return;
	agent_say_io(t->agent, t, o->what, o->sector, "%" PRIu64 " %s since, the last at sector %"
		     PRIu64, o->count, many, o->sector);
	o->count = 0;
}

/* blk_status_t: what may be the medium's fault, as the target sees it, too */
static bool medium(u32 status)
{
	enum { MEDIUM = 7, PROTECTION = 8, IOERR = 10 };	/* include/linux/blk_types.h */

	return status == MEDIUM || status == PROTECTION || status == IOERR;
}

static void io_event(struct agent *a, const struct telemetry_event *e)
{
	static const char *const errors[] = { "a read failed", "a write failed" };
	static const char *const slows[] = { "a read was slow", "a write was slow" };
	struct agent_event happened = { .sector = e->sector, .sectors = e->sectors };
	const struct agent_watch *spare;
	struct agent_target *t;

	if (e->io.area >= TELEMETRY_AREAS)
		return;
	t = a->owner[e->io.area];
	if (!t || e->io.op > TELEMETRY_WRITE)
		return;
	spare = &t->side[AGENT_SPARE];
	if (spare->watched && spare->area == e->io.area && spare->id == e->io.id) {
		happened = (struct agent_event){ .kind = AGENT_DEGRADED };	/* has no place */
		if (e->kind != TELEMETRY_ERROR || e->io.op != TELEMETRY_WRITE)
			return;
	} else if (!t->side[AGENT_DATA].watched || t->side[AGENT_DATA].id != e->io.id) {
		return;		/* of an area that is no more */
	} else if (e->kind == TELEMETRY_SLOW) {
		happened.kind = AGENT_SLOW;
		say_often(t, &t->slow, e->sector, slows[e->io.op], "slow reads and writes");
	} else {
		happened.kind = AGENT_ERROR;
		say_often(t, &t->errors, e->sector, errors[e->io.op], "failed reads and writes");
		if (!medium(e->io.status))
			return;
	}
	hear(t, &happened);
}

static void on_event(void *arg, const struct telemetry_event *e)
{
	struct agent_event happened = { .sector = e->sector, .sectors = e->sectors };
	struct agent *a = arg;
	struct agent_target *t;

	if (e->kind == TELEMETRY_ERROR || e->kind == TELEMETRY_SLOW) {
		io_event(a, e);
		return;
	}
	t = by_dev(a, e->remap.dev);
	if (!t)
		return;
	/* tracepoints have sectors of the device, of which the target may be a part */
	happened.sector -= t->dm.begin;
	if ((e->kind == TELEMETRY_RECOVERED || e->kind == TELEMETRY_RELOCATE_END) &&
	    happened.sector >= t->dm.sectors)
		return;
	switch (e->kind) {
	case TELEMETRY_RECOVERED:
		happened.kind = AGENT_RECOVERED;
		break;
	case TELEMETRY_RELOCATE_END:
		refresh_soon(a);
		if (e->remap.arg[2])
			return;
		happened.kind = AGENT_MOVED;
		happened.sectors = (u32)(t->dm.word[REMAP_ST_BLOCK_SIZE] >> 9);
		happened.cause = e->remap.arg[0];
		break;
	case TELEMETRY_COMMIT:
		if (e->remap.arg[1] >= REMAP_ZONES)
			return;
		happened.kind = AGENT_DEGRADED;
		happened.sector = 0;
		break;
	default:
		refresh_soon(a);
		return;
	}
	hear(t, &happened);
}

static int on_events(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct agent *a = arg;

	(void)s;
	(void)fd;
	(void)events;
	take_events(a);
	act(a);
	return 0;
}

/* ---- which there are ---- */

/* What nobody has seen: that something happened is known all the same, if not where. */
static void compare(struct agent_target *t, const struct remap_target *now)
{
	struct agent_event e = { .kind = AGENT_SOMEWHERE };

	if (t->side[AGENT_DATA].watched) {
		u64 dropped = remap_telemetry_area_dropped(t->agent->telemetry,
							   t->side[AGENT_DATA].area);

		if (dropped != t->dropped)
			hear(t, &e);
		t->dropped = dropped;
	}
	e.kind = AGENT_MOVED;
	if ((!t->dm_attached || t->agent->dropped_more) &&
	    now->word[REMAP_ST_RELOCATIONS] > t->dm.word[REMAP_ST_RELOCATIONS]) {
		e.cause = REMAP_CAUSE_MESSAGE;	/* or another: where is not known */
		hear(t, &e);
	}
	e.kind = AGENT_DEGRADED;
	if (now->word[REMAP_ST_REPLICAS_OK] < t->dm.word[REMAP_ST_REPLICAS_OK])
		hear(t, &e);
	if (t->dm_watched)
		return;
	e.kind = AGENT_SOMEWHERE;
	if (now->word[REMAP_ST_READS_RECOVERED] > t->dm.word[REMAP_ST_READS_RECOVERED] ||
	    now->word[REMAP_ST_IO_ERRORS] > t->dm.word[REMAP_ST_IO_ERRORS])
		hear(t, &e);
}

static void tell_status(struct agent_target *t)
{
	const u64 *w = t->dm.word;
	u64 taken = w[REMAP_ST_SLOTS_USED] + w[REMAP_ST_SLOTS_BAD], all = w[REMAP_ST_SLOTS_TOTAL];
	struct agent_status s = {
		.state = t->dm.state,
		.lost_sectors = w[REMAP_ST_LOST_SECTORS],
		.slots_total = (u32)all,
		.slots_free = taken < all ? (u32)(all - taken) : 0,
	};

	agent_policy_status(t->agent->policy, t->number, &s, agent_now());
	/* what runs already does not know */
	if (s.state == REMAP_PAUSED) {
		for (int kind = 0; kind < AGENT_ACTIONS; kind++) {
			struct agent_job *j = &t->job[kind];

			if (!j->child || (kind != AGENT_READ && kind != AGENT_SCRUB))
				continue;
			/* nor does another one begin before it has ended, if ever */
			agent_child_kill(j->child);
			snprintf(j->said, sizeof(j->said), "the device is paused");
		}
	}
}

static void forget(struct agent_target *t)
{
	struct agent *a = t->agent;
	struct agent_target **link = &a->targets;

	for (int kind = 0; kind < AGENT_ACTIONS; kind++)
		agent_child_give_up(t->job[kind].child);
	agent_child_give_up(t->asking);
	agent_child_give_up(t->loader);
	unwatch(t);
	t->saver->target = NULL;
	agent_policy_remove(a->policy, t->number);
	while (*link != t)
		link = &(*link)->next;
	*link = t->next;
	free(t);
}

/* What is under way is to be done again. */
static bool anything_under_way(const struct agent_target *t)
{
	for (int kind = 0; kind < AGENT_ACTIONS; kind++)
		if (under_way(t, (enum agent_action_kind)kind))
			return true;
	return false;
}

static void lose(struct agent_target *t)
{
	struct agent_saver *s = t->saver;

	/* its last errors may be why it has gone */
	take_events(t->agent);
	agent_say(t->agent, LOG_INFO, t, NULL, NULL, "is gone");
	t->unsaved |= agent_policy_changed(t->agent->policy, t->number) || anything_under_way(t);
	s->due |= t->known && t->unsaved;
	take_state(s);
	forget(t);
	save(s);
	if (!s->due && !s->child)
		free_saver(s);
}

static void key_of(const struct remap_target *dm, char key[REMAP_DM_UUID_LEN])
{
	size_t n = strlen(REMAP_DM_UUID_PREFIX);

	if (!strncmp(dm->uuid, REMAP_DM_UUID_PREFIX, n) && dm->uuid[n] &&
	    !strchr(dm->uuid, '/'))
		snprintf(key, REMAP_DM_UUID_LEN, "%s", dm->uuid + n);
	else
		snprintf(key, REMAP_DM_UUID_LEN, "%s", dm->name);
}

/* What cannot be seen is said once. */
static void complain(struct agent *a, const struct remap_err *err)
{
	if (strcmp(a->complaint.text, err->text))
		agent_say(a, LOG_WARNING, NULL, NULL, NULL, "%s", err->text);
	a->complaint = *err;
}

static size_t name_length(const struct remap_err *why)
{
	const char *end = strstr(why->text, ": ");

	return end ? (size_t)(end - why->text) : strlen(why->text);
}

/* Once for each device, and not of one that is just being made. */
static void skipped(void *arg, const struct remap_err *why)
{
	struct agent *a = arg;
	struct agent_skipped *s = a->skipped;
	size_t n = name_length(why);

	while (s && (name_length(&s->why) != n || memcmp(s->why.text, why->text, n)))
		s = s->next;
	if (!s) {
		s = calloc(1, sizeof(*s));
		if (!s)
			return;
		s->why = *why;
		s->since = agent_now();
		s->next = a->skipped;
		a->skipped = s;
	}
	s->still = true;
	if (s->said || agent_now() - s->since < LOOK)
		return;
	s->said = true;
	agent_say(a, LOG_WARNING, NULL, NULL, NULL, "not looked after: %s", why->text);
}

static void forget_skipped(struct agent *a, bool all)
{
	struct agent_skipped **link = &a->skipped, *s;

	while ((s = *link)) {
		if (s->still && !all) {
			link = &s->next;
			continue;
		}
		*link = s->next;
		free(s);
	}
}

static int list_targets(struct agent *a, struct remap_target **list, size_t *n,
			struct remap_err *err)
{
	int r;

	for (struct agent_skipped *s = a->skipped; s; s = s->next)
		s->still = false;
	r = remap_dm_list(list, n, skipped, a, err);
	if (!r)
		forget_skipped(a, false);
	return r;
}

static void care(struct agent_target *t, const struct agent_state *s)
{
	struct agent *a = t->agent;

	t->smart = s->smart;
	t->known = !agent_policy_add(a->policy, t->number, t->dm.sectors,
				     (u32)(t->dm.word[REMAP_ST_BLOCK_SIZE] >> 9), &s->memory,
				     agent_now());
	if (t->known)
		hear_early(t);
	tell_status(t);
}

static void loaded(void *arg, int status, const char *output)
{
	struct agent_target *t = arg;
	struct agent_state s = { .memory = AGENT_MEMORY_NONE };
	const char *why = strncmp(output, "error ", 6) ? "?" : output + 6;

	t->loader = NULL;
	if (status)
		agent_say(t->agent, LOG_WARNING, t, NULL, NULL, "what was done before is not "
			  "known: %.*s", (int)strcspn(why, "\n"), why);
	else if (*output && agent_state_parse(output, &s))
		agent_say(t->agent, LOG_WARNING, t, NULL, NULL, "%s/%s.json: not understood, and "
			  "begun anew", t->agent->state_folder, t->key);
	care(t, &s);
	ask_smart(t);
	act(t->agent);
}

/* By a process of its own: its disk may not answer. Until it does, nothing is done. */
static void load(struct agent_target *t)
{
	struct agent *a = t->agent;
	char *argv[] = { HELPER(a), "load", (char *)a->state_folder, t->key, NULL };
	struct agent_child_spec spec = {
		.argv = argv, .keep = AGENT_STATE_LARGEST, .ended = loaded, .arg = t,
	};
	struct remap_err err;

	if (t->known || t->loader)
		return;
	if (agent_child_run(a->loop, &spec, &t->loader, &err))
		complain(a, &err);
}

static void find(struct agent *a, const struct remap_target *dm)
{
	struct agent_target *t = calloc(1, sizeof(*t)), **end = &a->targets;

	if (!t)
		return;
	t->agent = a;
	t->number = ++a->last_number;
	t->dm = *dm;
	t->seen = true;
	t->errors.what = "error";
	t->slow.what = "slow";
	key_of(dm, t->key);
	t->saver = saver_of(t);
	if (!t->saver) {
		free(t);
		return;
	}
	while (*end)
		end = &(*end)->next;
	*end = t;
	agent_say(a, LOG_INFO, t, NULL, NULL, "found: %" PRIu64 " sectors, state %s", dm->sectors,
		  remap_state_name(dm->state));
	/* that of one that has just gone is not all saved yet */
	if (*t->saver->name)
		care(t, &t->saver->state);
}

/* The same device as before, if not as it was before. */
static void see(struct agent_target *t, const struct remap_target *dm)
{
	t->seen = true;
	if (strcmp(t->dm.name, dm->name))
		agent_say(t->agent, LOG_INFO, t, NULL, NULL, "is called %s now", dm->name);
	compare(t, dm);
	t->dm = *dm;
	t->dm_watched = t->side[AGENT_DATA].watched;
	t->dm_attached = t->agent->attached;
}

static void attach(struct agent *a)
{
	struct remap_err err;
	int r;

	if (!a->telemetry)
		return;
	if (!a->targets) {
		/* or the module could not be unloaded */
		if (a->attached)
			remap_telemetry_detach(a->telemetry);
		a->attached = false;
	} else if (!a->attached) {
		r = remap_telemetry_attach(a->telemetry, &err);
		a->attached = r > 0;
		if (r < 0)
			complain(a, &err);
	}
}

static int on_dm(sd_event_source *s, int fd, uint32_t events, void *arg);

static void listen_to_dm(struct agent *a)
{
	if (a->dm_fd >= 0)
		return;
	a->dm_fd = remap_dm_events(NULL);
	if (a->dm_fd >= 0)
		sd_event_add_io(a->loop, &a->on_dm, a->dm_fd, EPOLLIN, on_dm, a);
}

/* Events of remap devices that nobody has seen. */
static void count_dropped(struct agent *a)
{
	u64 dropped = a->telemetry ? remap_telemetry_dropped(a->telemetry) : 0;

	a->dropped_more = dropped != a->dropped;
	a->dropped = dropped;
}

static void refresh(struct agent *a)
{
	_cleanup_free_ struct remap_target *list = NULL;
	struct agent_target *t, *next;
	struct remap_err err;
	size_t n;

	a->refresh_at = agent_now() + LOOK;
	listen_to_dm(a);
	agent_tell_on(a);
	if (list_targets(a, &list, &n, &err)) {
		complain(a, &err);
		return;
	}
	count_dropped(a);
	for (t = a->targets; t; t = t->next)
		t->seen = false;
	for (size_t i = 0; i < n; i++) {
		char key[REMAP_DM_UUID_LEN];

		key_of(&list[i], key);
		for (t = a->targets; t; t = t->next)
			if (t->dm.rdev == list[i].rdev && t->dm.begin == list[i].begin &&
			    t->dm.sectors == list[i].sectors &&
			    (!strcmp(t->key, key) || !strcmp(t->dm.uuid, list[i].uuid)) &&
			    t->dm.word[REMAP_ST_BLOCK_SIZE] == list[i].word[REMAP_ST_BLOCK_SIZE])
				break;
		if (t)
			see(t, &list[i]);
	}
	/* before others come: they may use the same devices */
	for (t = a->targets; t; t = next) {
		next = t->next;
		if (!t->seen)
			lose(t);
	}
	for (size_t i = 0; i < n; i++) {
		for (t = a->targets; t && t->dm.rdev != list[i].rdev; t = t->next)
			;
		if (!t)
			find(a, &list[i]);
	}
	watch(a);
	attach(a);
	for (t = a->targets; t; t = t->next) {
		load(t);
		tell_status(t);
		ask_smart(t);
		say_rest(t, &t->errors, "failed reads and writes");
		say_rest(t, &t->slow, "slow reads and writes");
	}
}

static int on_dm(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct agent *a = arg;

	(void)s;
	(void)events;
	remap_dm_rearm(fd);
	refresh_soon(a);
	return 0;
}

static int on_refresh(sd_event_source *s, uint64_t usec, void *arg)
{
	struct agent *a = arg;

	(void)s;
	(void)usec;
	if (a->ending)
		return 0;
	refresh(a);
	act(a);
	return 0;
}

static int on_time(sd_event_source *s, uint64_t usec, void *arg)
{
	struct agent *a = arg;

	if (agent_now() >= a->refresh_at)
		return on_refresh(s, usec, a);
	act(a);
	return 0;
}

/* ---- begin and end ---- */

static void telemetry_begin(struct agent *a)
{
	struct remap_err err;

	if (remap_telemetry_open(&a->telemetry, &err)) {
		a->telemetry = NULL;
		agent_say(a, LOG_WARNING, NULL, NULL, NULL, "no telemetry: %s; going on with what "
			  "device-mapper tells, which is neither where nor how slow", err.text);
		return;
	}
	remap_telemetry_detach(a->telemetry);
	if (remap_telemetry_pin(a->telemetry, a->pin_folder, &err))
		agent_say(a, LOG_WARNING, NULL, NULL, NULL, "others cannot read the telemetry: %s",
			  err.text);
	sd_event_add_io(a->loop, &a->on_events, remap_telemetry_fd(a->telemetry), EPOLLIN,
			on_events, a);
	/* a storm of errors: what the ring cannot hold meanwhile is counted as dropped */
	sd_event_source_set_ratelimit(a->on_events, SECOND, TAKES);
}

int agent_begin(struct agent *a, struct remap_err *err)
{
	struct agent_config config = rules(a);
	int r;

	a->dm_fd = -1;
	a->policy = agent_policy_new(&config);
	if (!a->policy)
		return remap_fail_errno(err, -ENOMEM, "the agent");
	r = sd_event_add_time(a->loop, &a->on_time, CLOCK_BOOTTIME, 0, 0, on_time, a);
	if (r >= 0)
		r = sd_event_add_time_relative(a->loop, &a->on_refresh, CLOCK_MONOTONIC, 0, 0,
					       on_refresh, a);
	if (r < 0)
		return remap_fail_errno(err, r, "cannot set a timer");
	sd_event_source_set_enabled(a->on_refresh, SD_EVENT_OFF);
	telemetry_begin(a);
	refresh(a);
	act(a);
	return 0;
}

void agent_reconfigure(struct agent *a, const struct agent_settings *before)
{
	struct agent_config config = rules(a);
	u64 now = agent_now();

	agent_policy_configure(a->policy, &config);
	a->no_smartctl = false;
	for (struct agent_target *t = a->targets; t; t = t->next) {
		if (t->side[AGENT_DATA].watched)
			remap_telemetry_set_slow(a->telemetry, t->side[AGENT_DATA].area,
						 slow_ns(a, t->dm.data));
		if (t->smart_at > now + a->settings.smart_interval)
			t->smart_at = now + a->settings.smart_interval;
		if (before->scrub_rate != a->settings.scrub_rate) {
			read_on(&t->job[AGENT_READ]);
			read_on(&t->job[AGENT_SCRUB]);
		}
	}
	act(a);
}

static void leave_if_saved(struct agent *a)
{
	bool saving = false;

	if (!a->ending)
		return;
	for (struct agent_saver *s = a->savers; s; s = s->next) {
		/* once more, as more was done since; but once is enough of what fails */
		if (!s->wait)
			save(s);
		saving |= !!s->child;
	}
	if (!saving)
		sd_event_exit(a->loop, 0);
}

static int on_end(sd_event_source *s, uint64_t usec, void *arg)
{
	struct agent *a = arg;

	(void)s;
	(void)usec;
	agent_say(a, LOG_WARNING, NULL, NULL, NULL, "what was done is not all saved after %d s: "
		  "going nevertheless", END_SECONDS);
	return sd_event_exit(a->loop, 0);
}

void agent_stop(struct agent *a)
{
	take_events(a);
	for (struct agent_target *t = a->targets; t; t = t->next) {
		t->unsaved |= agent_policy_changed(a->policy, t->number) || anything_under_way(t);
		t->saver->due |= t->known && t->unsaved;
		t->unsaved = false;
		agent_child_give_up(t->loader);
		t->loader = NULL;
		for (int kind = 0; kind < AGENT_ACTIONS; kind++) {
			agent_child_give_up(t->job[kind].child);
			t->job[kind].child = NULL;
		}
	}
	a->ending = true;
	for (struct agent_saver *s = a->savers; s; s = s->next)
		s->wait = 0;
	if (sd_event_add_time_relative(a->loop, &a->on_end, CLOCK_MONOTONIC,
				       END_SECONDS * SECOND, 0, on_end, a) < 0)
		sd_event_exit(a->loop, 0);
	leave_if_saved(a);
}

void agent_end(struct agent *a)
{
	share_status(a, true);
	while (a->targets)
		forget(a->targets);
	/* one that does not answer is left to itself */
	while (a->savers) {
		if (a->savers->child)
			agent_child_let_go(a->savers->child);
		free_saver(a->savers);
	}
	agent_tell_end(a);
	forget_skipped(a, true);
	if (a->telemetry)
		remap_telemetry_unpin(a->pin_folder);
	sd_event_source_disable_unref(a->on_events);
	sd_event_source_disable_unref(a->on_dm);
	sd_event_source_disable_unref(a->on_time);
	sd_event_source_disable_unref(a->on_refresh);
	sd_event_source_disable_unref(a->on_end);
	remap_telemetry_close(a->telemetry);
	if (a->dm_fd >= 0)
		close(a->dm_fd);
	agent_policy_free(a->policy);
}
