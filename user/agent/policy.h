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
 * - A block that was slow, or whose read had to be tried again, @strikes times within @window is
 *   moved while it can still be read. Not if the device is not active, if its budget for the day is
 *   spent, or in a dry run, which tells what would have been done. What comes within a few seconds
 *   is one strike; and when I/Os are slow all over, it is the disk, not its blocks, and no strike.
 *   With @look_again a block with a strike is read some seconds later, to see if that was chance:
 *   nobody else may read it for months.
 * - After an error, and after a move that an error caused, its neighbourhood is read: defects
 *   cluster. Not what was read within the hour, or a block that cannot be moved would be read for
 *   ever; and not on a device that is paused: there the disk is to be left alone.
 * - The five replicas are checked at start, after moves, when a commit did not reach all of them,
 *   and every @check_interval. If they are not whole they are repaired (not in a dry run, and not
 *   while the device is paused) and checked again; if they are not whole then, somebody is told,
 *   once until they are.
 * - The surface is read every @scrub_interval, from where it stopped last; at once when SMART
 *   says that sectors are pending or were reallocated, and when there were errors of which nobody
 *   knows where, unless that was within the hour. Not while the device is paused.
 * - Somebody is told when the state of a device is not active, when it has lost sectors, and when
 *   slots run out.
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
	u64 scrub_interval;		/* seconds; 0: never */
	bool dry_run;
};

#define AGENT_MAX_STRIKES	8
#define AGENT_RANGES		64
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

/* What of a target outlives the agent, see agent_policy_memory(). */
struct agent_memory {
	u64 scrub_at;			/* sector at which its scrub stopped */
	u64 scrubbed_ago;		/* s since the last one was complete; UINT64_MAX: never */
	u64 day_ago;			/* s since the day began to which moved_today belongs */
	unsigned int moved_today;
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
	AGENT_READ,			/* read these sectors, block by block, at idle priority */
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
	enum agent_tell tell;		/* of what is to be told: what it is about, ... */
	bool urgent;			/* ... and is it bad? */
	char why[160];			/* one line, without the name of the target */
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

/** agent_policy_remove() - it is gone; so is all that was to be done to it */
void agent_policy_remove(struct agent_policy *p, unsigned int target);

/** agent_policy_event(), agent_policy_status() - of a target that is not known nothing is made */
void agent_policy_event(struct agent_policy *p, unsigned int target, const struct agent_event *e,
			u64 now);
void agent_policy_status(struct agent_policy *p, unsigned int target,
			 const struct agent_status *s, u64 now);

/** agent_policy_next() - what is to be done next. Return: false if there is nothing */
bool agent_policy_next(struct agent_policy *p, u64 now, struct agent_action *a);

/**
 * agent_policy_done() - what came of it
 * @ok: moved; read to its end; all five whole; repaired; the surface was read to its end
 */
void agent_policy_done(struct agent_policy *p, const struct agent_action *a, bool ok, u64 now);

/** agent_policy_progress() - of AGENT_SCRUB and AGENT_READ: all before @sector has been read */
void agent_policy_progress(struct agent_policy *p, const struct agent_action *a, u64 sector);

/** agent_policy_wake() - when there may be something to be done next, if nothing happens before */
u64 agent_policy_wake(const struct agent_policy *p);

#endif
