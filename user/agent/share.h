/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The agent's files for other programs, written; what they are is in agentlog.h, which reads them.
 * They are in a tmpfs, so nothing here waits for a device.
 */
#ifndef REMAP_AGENT_SHARE_H
#define REMAP_AGENT_SHARE_H

#include "agentlog.h"

#define AGENT_EVENTS_BYTES	(128 << 10)	/* then "events" becomes "events.1" */

struct agent_share {
	const char *folder;
	int fd;				/* "events"; 0: not open yet */
	off_t size;
	bool said_events, said_status;	/* that it could not be written: once */
	char *status;			/* as it was written last, but for its time */
	u64 tried;			/* when that was, by agent_now() */
	bool again;			/* it may have changed since */
};

/** agent_share_lock() - one agent is enough. Return: a descriptor that holds it, or an error */
int agent_share_lock(const char *folder, struct remap_err *err);

/** agent_share_event() - a line more */
int agent_share_event(struct agent_share *s, const struct remap_agent_event *e,
		      struct remap_err *err);

/** agent_share_status() - write it if anything but its time is another than before */
int agent_share_status(struct agent_share *s, const struct remap_agent_status *status,
		       struct remap_err *err);

/** agent_share_end() - the files stay */
void agent_share_end(struct agent_share *s);

#endif
