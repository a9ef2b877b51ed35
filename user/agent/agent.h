/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the parts of remap-agent share. One thread, one loop (sd-event): nothing in it may wait for
 * a device; what has to is a child (child.h).
 *
 *   remap-agent.c	the command line, start and end, signals
 *   targets.c		which remap devices there are; telemetry in, actions out
 *   policy.c		what to do; helper.c: how it is done
 *   say.c		the journal, and the program that is told of events
 *   metrics.c		OpenMetrics, by HTTP
 *   share.c		the files that other programs read, as remap-top does
 *   config.c, state.c, smart.c	what their names say
 */
#ifndef REMAP_AGENT_H
#define REMAP_AGENT_H

#include <systemd/sd-event.h>
#include "child.h"
#include "config.h"
#include "dm.h"
#include "policy.h"
#include "share.h"
#include "state.h"
#include "telemetry.h"

#define AGENT_ACTIONS	(AGENT_TELL + 1)
#define AGENT_EARLY	64

/* The two devices of a target, as telemetry sees them. */
enum agent_side { AGENT_DATA, AGENT_SPARE, AGENT_SIDES };

struct agent;

/* Something that may happen too often to tell each time. */
struct agent_often {
	const char *what;		/* to agent_say_io() */
	u64 until;			/* when what came since is told, in one line; 0: now */
	u64 count;			/* since then */
	u64 sector;			/* the latest */
};

/* Of each target one for each kind of action. */
struct agent_job {
	struct agent_target *target;
	struct agent_child *child;	/* NULL: nothing is under way */
	struct agent_action action;	/* what is, or was last */
	u64 at;				/* sector, of a read or a scrub: all before was read */
	u64 began;			/* wall clock, s */
	u64 unreadable, first;		/* sectors, and the first of them */
	u64 unreadable_before;		/* of these: that an earlier child has met */
	char said[200];			/* why it was in vain */
	u64 good, bad;			/* how often */
};

/* Who saves what outlives us of a target; and, until that is done, of one that has gone. */
struct agent_saver {
	struct agent_saver *next;
	struct agent *agent;
	struct agent_target *target;	/* NULL: it has gone */
	char key[REMAP_DM_UUID_LEN], name[REMAP_DM_NAME_LEN];
	struct agent_state state;	/* the latest ... */
	bool due;			/* ... is not saved yet */
	struct agent_child *child;
	u64 at;				/* when it was begun last */
	u64 wait;			/* s after that, as it failed */
};

struct agent_target {
	struct agent_target *next;
	struct agent *agent;
	unsigned int number;		/* never used again */
	struct remap_target dm;		/* as it was last seen, ... */
	bool dm_watched, dm_attached;	/* ... and since then all is told by telemetry */
	char key[REMAP_DM_UUID_LEN];	/* what it is called for good */
	bool seen;			/* in the list that is being gone through */
	struct agent_child *loader;	/* of what outlived the last agent */
	bool known;			/* that is loaded, and the policy cares for it */
	struct {
		struct agent_event event;
		u64 at;			/* when it happened */
	} early[AGENT_EARLY];		/* until then: what the policy is to hear of */
	unsigned int earlies;
	bool early_more;		/* than there was room for */

	struct agent_watch {
		bool watched;
		bool said;		/* that it is not */
		u32 area, id;
		dev_t dev;
		u64 start, sectors;
		u64 end;		/* of a spare's device */
	} side[AGENT_SIDES];
	u64 dropped;			/* events of the data device */
	struct agent_often errors, slow;

	struct agent_job job[AGENT_ACTIONS];
	u64 told[AGENT_TELLS];

	bool replicas_known;
	enum remap_replica_state replica[REMAP_ZONES];
	u64 checked_at;			/* wall clock, s; 0: not yet */

	bool unsaved;
	struct agent_saver *saver;
	struct agent_child *asking;	/* smartctl */
	u64 smart_at;			/* when to ask next */
	struct agent_smart smart;
};

/* A device that could not be asked whether it is to be looked after. */
struct agent_skipped {
	struct agent_skipped *next;
	struct remap_err why;		/* the first one: "NAME: ..." */
	u64 since;
	bool said, still;
};

/* Of what the program is not told yet. */
struct agent_news {
	struct agent_news *next;
	struct agent_action act;
	char name[REMAP_DM_NAME_LEN], key[REMAP_DM_UUID_LEN];
};

struct agent {
	sd_event *loop;
	struct agent_settings settings;
	bool dry_run;			/* by the command line, whatever the file says */
	bool to_journal;
	const char *state_folder, *pin_folder, *self;
	char pid[24];			/* for helpers to know whose they are */

	struct agent_policy *policy;
	struct agent_target *targets;
	struct agent_saver *savers;
	unsigned int last_number;
	u64 refresh_at;			/* when to look at all targets, whatever happens before */
	bool ending;			/* only what is to be saved is still done */

	struct remap_telemetry *telemetry;	/* NULL: there is none, ... */
	bool attached;			/* the target's tracepoints are */
	u64 dropped;			/* events of these, by the last look */
	bool dropped_more;		/* than by the one before */
	struct agent_target *owner[TELEMETRY_AREAS];
	sd_event_source *on_events, *on_dm, *on_time, *on_refresh, *on_end;
	int dm_fd;			/* -1: not open */
	bool no_smartctl;		/* and that was said */
	struct remap_err complaint;	/* what was said last of all targets, not to be repeated */
	struct agent_skipped *skipped;
	unsigned int programs;		/* children that are told of events */
	struct agent_news *news;	/* for when there are fewer: alerts first */
	unsigned int n_news;
	u64 programs_dropped, said_dropped;	/* events; when that was said last */
	struct agent_metrics *metrics;
	struct agent_share *share;	/* NULL: not yet, or not any more */
};

/* ---- clock.c ---- */

/** agent_now() - seconds of a clock that only goes forward, asleep or not */
u64 agent_now(void);

/* ---- targets.c ---- */

/** agent_begin() - load telemetry if there is any, find the targets, and see to them from now on */
int agent_begin(struct agent *a, struct remap_err *err);

/** agent_reconfigure() - the settings are others than @before */
void agent_reconfigure(struct agent *a, const struct agent_settings *before);

/** agent_stop() - give up what is under way, save what is to be saved, then leave the loop */
void agent_stop(struct agent *a);

/** agent_end() - when the loop was left */
void agent_end(struct agent *a);

/* ---- say.c ---- */

/**
 * agent_say() - one line to the journal or to standard error
 * @priority: as of syslog(3)
 * @t: which target it is about, or NULL
 * @act: which action, or NULL; its kind, sector and count become fields of the journal's entry
 * @result: "begun", "done", "failed", or NULL
 */
void agent_say(const struct agent *a, int priority, const struct agent_target *t,
	       const struct agent_action *act, const char *result, const char *fmt, ...)
	__attribute__((format(printf, 6, 7)));

/** agent_say_io() - of I/Os to a target's data device; @what: "error" or "slow" */
void agent_say_io(const struct agent *a, const struct agent_target *t, const char *what,
		  u64 sector, const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/** agent_tell() - a person is to know: say it, and run the program for events, now or later */
void agent_tell(struct agent *a, struct agent_target *t, const struct agent_action *act);

/** agent_tell_on() - run the program for what it could not be run for before */
void agent_tell_on(struct agent *a);

/** agent_tell_end() - of the rest it is not told */
void agent_tell_end(struct agent *a);

/** agent_action_name() - "move", "read", ... */
const char *agent_action_name(enum agent_action_kind kind);
const char *agent_tell_name(enum agent_tell tell);

/* ---- metrics.c ---- */

/** agent_metrics_begin() - serve at the settings' address */
int agent_metrics_begin(struct agent *a, struct remap_err *err);
void agent_metrics_end(struct agent *a);

/** agent_metrics_text() - all of it. Caller frees. Return: NULL if there is no memory */
char *agent_metrics_text(const struct agent *a, size_t *size);

#endif
