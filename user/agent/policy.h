/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What remap-agent does, and when: events and time in, actions out. Nothing here asks a device, the
 * kernel or a clock, so that each rule can be tried with events made up for it.
 *
 * Times are seconds, not 0, of a clock that only goes forward (CLOCK_BOOTTIME); sectors are those
 * of the remap device, of 512 bytes. Actions are taken by agent_policy_next() until there is none;
 * what came of those that have a result is told by agent_policy_done(). Of one target one action of
 * a kind is under way at a time.
 *
 * RULES
 *
 * - A block is moved, while it can still be read, for @strikes strikes within @window. A strike is
 *   an I/O that was slow, or a read that had to be tried again; what comes within a few seconds is
 *   one. Healthy blocks must not be moved, so strikes can be taken back:
 *   - For ten seconds a strike is provisional. When there are 32 within that time, of whatever
 *     blocks, it is the disk that is slow and not they: all strikes of these seconds are taken
 *     back, also of blocks that were to be moved for them. So no move is sooner than that.
 *   - With @look_again a block with a strike is read some seconds later, alone: nobody else may
 *     read it for months. If that read is quick, all its strikes for being slow are taken back:
 *     whoever was slow then had to queue. If not it is one more strike, and it is read again. The
 *     strike for which it is moved is one that was found in that way. A read that had to be tried
 *     again had no queue to blame, so that such a strike stays, and needs no other to confirm it.
 *   - Nothing is moved if the device is not active, or if its budget for the day is spent, nor in
 *     a dry run, which tells what would have been done, as often as may be in a day. What was told
 *     in a dry run is told again in earnest.
 * - After an error, and after a move that an error caused, its neighbourhood is read: defects
 *   cluster. Not what was read within the hour, or a block that cannot be moved would be read for
 *   ever; and not on a device that is paused: there the disk is to be left alone. What could not
 *   be read for another reason than that it is bad is read later.
 * - The five replicas are checked at start, after moves, when a commit did not reach all of them,
 *   and every @check_interval. If they are not whole they are repaired (not in a dry run, and not
 *   while the device is paused) and checked again; if they are not whole then, somebody is told,
 *   once until they are. That it could not be found out is neither: it is tried again later, and
 *   later still. Those that were not whole in a dry run are checked when it is over.
 * - The surface is read every @scrub_interval, from where it stopped last; at once when SMART
 *   says that sectors are pending or were reallocated; and when there were errors of which nobody
 *   knows where, or so many that all of it may as well be read, unless that was within the hour. A
 *   reason that comes while it is being read, for what was read already, is one to read it once
 *   more; but for errors of which nobody knows where that are seen while it runs, or seconds
 *   after: these it has met itself. Not while the device is paused; and not at all if
 *   @scrub_interval is 0.
 * - Somebody is told when the state of a device is not active, when it has lost sectors, and when
 *   slots run out: once, whether or not the agent was started anew in between.
 *
 * What is to be read and what was told outlives the agent: the caller saves agent_policy_memory()
 * whenever agent_policy_changed().
 *
 * Memory is bounded: suspects are kept for each target in a table of 1,024 blocks, of which one not
 * seen for long makes room; areas to be read are joined where they touch, and if there
 * are too many the whole surface is.
 */
#ifndef REMAP_AGENT_POLICY_H
#define REMAP_AGENT_POLICY_H

#include <stdbool.h>
#include <stdint.h>
#include "format.h"
#include "remap/abi.h"

struct agent_config {
	unsigned int strikes;		/* up to AGENT_MAX_STRIKES; 0: nothing is moved */
	u64 window;			/* seconds */
	bool look_again;
	unsigned int per_day;		/* blocks of a device that are moved in a day */
	u32 neighbourhood;		/* sectors to each side of an error; 0: not read */
	u64 check_interval;		/* seconds */
	u64 scrub_interval;		/* seconds; 0: never, whatever the reason */
	bool dry_run;
};

#define AGENT_MAX_STRIKES	8
#define AGENT_RANGES		64
#define AGENT_ECHO		10	/* s after a scrub within which its own errors are seen */
#define AGENT_CONFIG_DEFAULT { \
	.strikes = 3, .window = 600, .look_again = true, .per_day = 1000, .neighbourhood = 2048, \
	.check_interval = 86400, .scrub_interval = 30 * 86400, \
}

enum agent_event_kind {
	AGENT_SLOW,			/* an I/O to the data device took longer than it may */
	AGENT_RECOVERED,		/* a read failed, and succeeded when it was tried again */
	AGENT_ERROR,			/* an I/O to the data device failed */
	AGENT_MOVED,			/* the target has moved a block, or tried to */
	AGENT_DEGRADED,			/* a commit did not reach all replicas; has no place */
	AGENT_SMART,			/* the disk counts more bad sectors than it did */
	AGENT_SOMEWHERE,		/* errors, and nobody knows where */
};

struct agent_event {
	enum agent_event_kind kind;
	u64 sector;
	u32 sectors;
	enum remap_cause cause;		/* of a move */
};

/* Why the surface is read; names for what is saved. */
enum agent_scrub {
	AGENT_SCRUB_NONE,
	AGENT_SCRUB_TIME,
	AGENT_SCRUB_SMART,
	AGENT_SCRUB_SOMEWHERE,
	AGENT_SCRUB_MANY,
	AGENT_SCRUBS
};

#define AGENT_SCRUB_NAMES { "none", "time", "smart", "somewhere", "many" }

/* What of a target outlives the agent, see agent_policy_memory(). */
struct agent_memory {
	u64 scrub_at;			/* sector at which its scrub stopped */
	enum agent_scrub scrub_for;	/* why one is due, or has begun */
	enum agent_scrub scrub_then;	/* why another one is, after that */
	u64 scrubbed_ago;		/* s since the last one was complete; UINT64_MAX: never */
	u64 day_ago;			/* s since the day began to which moved_today belongs */
	unsigned int moved_today;
	struct agent_told {		/* what somebody knows already */
		bool status;		/* the next three: else they are not known */
		enum remap_state state;
		u64 lost;
		bool few_slots;
		bool replicas;		/* that they are not whole */
		bool budget;		/* that it is spent */
	} told;
	unsigned int ranges;		/* still to be read */
	struct agent_range {
		u64 first, end;		/* sectors */
	} range[AGENT_RANGES];
};

#define AGENT_MEMORY_NONE	((struct agent_memory){ .scrubbed_ago = UINT64_MAX })

/* Of the status line, what matters here. */
struct agent_status {
	enum remap_state state;
	u64 lost_sectors;
	u32 slots_free, slots_total;
};

enum agent_action_kind {
	AGENT_MOVE,			/* remap <sector> <count> */
	AGENT_READ,			/* read these sectors, block by block */
	AGENT_CHECK,			/* are all replicas whole? */
	AGENT_REPAIR,
	AGENT_SCRUB,			/* read the surface, from <sector> on */
	AGENT_TELL,			/* a person should know; has no result */
};

/* What a person is told: names that scripts know it by, see remap-agent(8). */
enum agent_tell {
	AGENT_TELL_STATE,
	AGENT_TELL_LOST,
	AGENT_TELL_SLOTS,
	AGENT_TELL_REPLICAS,
	AGENT_TELL_BUDGET,
	AGENT_TELL_SLOW,
	AGENT_TELL_SMART,
	AGENT_TELL_NOT_MOVED,
	AGENT_TELL_DRY_RUN,
	AGENT_TELLS
};

#define AGENT_TELL_NAMES { "state", "lost", "slots", "replicas", "budget", "slow", "smart", \
	"not-moved", "dry-run" }

struct agent_action {
	enum agent_action_kind kind;
	unsigned int target;
	u64 sector, count;
	bool look;			/* of a read: as soon as others', not at idle priority */
	enum agent_tell tell;		/* of what is to be told: what it is about, ... */
	bool urgent;			/* ... and is it bad? */
	char why[240];			/* one line, without the name of the target */
};

/* What came of an action. */
enum agent_result {
	AGENT_GOOD,			/* moved; all of it read; all five whole; repaired */
	AGENT_BAD,			/* not moved; read, but for some; not whole; not repaired */
	AGENT_UNKNOWN,			/* could not be tried, or not to the end */
};

struct agent_policy;

/** agent_policy_new() - @config is copied. Return: NULL if there is no memory */
struct agent_policy *agent_policy_new(const struct agent_config *config);
void agent_policy_free(struct agent_policy *p);

/** agent_policy_configure() - other rules from now on; what is known of targets stays */
void agent_policy_configure(struct agent_policy *p, const struct agent_config *config);

/**
 * agent_policy_add() - a target to care for
 * @target: the caller's number for it
 * @m: what was known of it when the agent ended; what does not fit is passed over
 * Return: 0, -EEXIST or -ENOMEM
 */
int agent_policy_add(struct agent_policy *p, unsigned int target, u64 sectors, u32 block_sectors,
		     const struct agent_memory *m, u64 now);

/** agent_policy_memory() - what add() wants to be told next time. Return: false if not known */
bool agent_policy_memory(const struct agent_policy *p, unsigned int target, u64 now,
			 struct agent_memory *m);

/** agent_policy_changed() - is that another one than when this was last asked, but for progress? */
bool agent_policy_changed(struct agent_policy *p, unsigned int target);

/** agent_policy_remove() - it is gone; so is all that was to be done to it */
void agent_policy_remove(struct agent_policy *p, unsigned int target);

/**
 * agent_policy_event(), agent_policy_status() - of a target that is not known nothing is made
 * @now: of an event that was kept until the target could be added: when it happened, before that
 */
void agent_policy_event(struct agent_policy *p, unsigned int target, const struct agent_event *e,
			u64 now);
void agent_policy_status(struct agent_policy *p, unsigned int target,
			 const struct agent_status *s, u64 now);

/** agent_policy_next() - what is to be done next. Return: false if there is nothing */
bool agent_policy_next(struct agent_policy *p, u64 now, struct agent_action *a);

/**
 * agent_policy_done() - what came of it. Events of the time until then have to be told before: they
 *	say what a read was like.
 * @why: of what was in vain; NULL if nobody knows
 */
void agent_policy_done(struct agent_policy *p, const struct agent_action *a,
		       enum agent_result result, const char *why, u64 now);

/** agent_policy_progress() - of AGENT_SCRUB and AGENT_READ: all before @sector has been read */
void agent_policy_progress(struct agent_policy *p, const struct agent_action *a, u64 sector);

/** agent_policy_wake() - when there may be something to be done next, if nothing happens before */
u64 agent_policy_wake(const struct agent_policy *p);

#endif
