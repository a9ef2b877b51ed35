/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What remap-agent tells other programs on the machine, by two files in REMAP_AGENT_RUN: what it
 * has seen and done lately, and how it stands with each target. Both are JSON, readable by all,
 * and described in remap-agent(8); here they become structs.
 *
 * What the agent is not told by anybody is not in there: without an agent there are no files, or
 * old ones. remap_agent_alive() tells which.
 */
#ifndef REMAP_LIB_AGENTLOG_H
#define REMAP_LIB_AGENTLOG_H

#include <stdbool.h>
#include <sys/types.h>
#include "dm.h"
#include "err.h"
#include "format.h"

#define REMAP_AGENT_RUN		"/run/remap-agent"
#define REMAP_AGENT_PINS	"/sys/fs/bpf/remap"	/* remap_telemetry_open_pinned() */

/* One line of "events": all that the agent has said, not what it says all the time (ready, ...). */
struct remap_agent_event {
	u64 time_ms;			/* since 1970 */
	int priority;			/* as of syslog(3) */
	char name[REMAP_DM_NAME_LEN];	/* of the target; empty: of none */
	char uuid[REMAP_DM_UUID_LEN];	/* of its spare; its name if it has none */
	char what[16];			/* an action, an event to be told, "error", "slow" */
	char result[16];		/* of an action: begun, done, failed */
	bool has_sectors;
	u64 sector, sectors;
	char text[512];			/* one line, without the target's name */
};

/**
 * remap_agent_events() - what is on record, oldest first
 * @folder: NULL: REMAP_AGENT_RUN
 * @fn: ends it, and is what is returned, where it is not 0
 *
 * Some hundred kilobytes are kept. Lines that make no sense are passed over.
 * Return: 0; -ENOENT if no agent has ever run since boot
 */
int remap_agent_events(const char *folder,
		       int (*fn)(void *arg, const struct remap_agent_event *e), void *arg,
		       struct remap_err *err);

/* How far events were read. All zero: not at all */
struct remap_agent_cursor {
	ino_t file;
	off_t at;
};

/**
 * remap_agent_events_since() - as remap_agent_events(), but only what has come since the last call
 * @c: where that ended. What has been thrown away in between is missed.
 */
int remap_agent_events_since(const char *folder, struct remap_agent_cursor *c,
			     int (*fn)(void *arg, const struct remap_agent_event *e), void *arg,
			     struct remap_err *err);

/* Of one target. Times are seconds since 1970; 0: never, or not known. */
struct remap_agent_target {
	char name[REMAP_DM_NAME_LEN];
	char uuid[REMAP_DM_UUID_LEN];	/* as above */
	bool scrubbing;
	u64 scrub_at;			/* sector: all before it has been read */
	u64 scrub_began, scrub_began_at;	/* when, and at which sector */
	u64 scrubbed;			/* the last complete one */
	bool replicas_known;
	enum remap_replica_state replica[REMAP_ZONES];
	u64 checked;
	unsigned int moved_today;
	bool smart_known;
	u64 smart_bad;			/* sectors */
};

struct remap_agent_status {
	u64 time;			/* when this was written */
	bool telemetry;			/* the BPF programs are loaded */
	bool dry_run;
	size_t n;
	struct remap_agent_target *target;
};

/**
 * remap_agent_status() - Caller: remap_agent_status_free()
 * Return: 0; -ENOENT; -EPROTO if it is of another version
 */
int remap_agent_status(const char *folder, struct remap_agent_status *s, struct remap_err *err);
void remap_agent_status_free(struct remap_agent_status *s);

/**
 * remap_agent_alive() - does an agent run?
 *
 * While it does it holds a lock (F_OFD_SETLK) on the file "lock" in the folder. That is asked for
 * and not taken, so whoever asks is in the way of no agent that starts.
 */
bool remap_agent_alive(const char *folder);

#endif
