/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the agent has done by processes of its own (child.h): this program once more, with
 * "--helper", the agent's process and what to do as its arguments. All of it is about one device,
 * which may not answer.
 *
 *   read NODE FIRST COUNT CHUNK BLOCK RATE idle|usual
 *			read sectors, CHUNK of them at once, BLOCK where that fails, at that
 *			priority and at most RATE bytes a second
 *   check NAME NODE UUID
 *			are all replicas whole? NODE: of the spare, "-" to ask the target instead
 *   move NAME FIRST COUNT
 *   repair NAME
 *   save FOLDER KEY TEXT	what outlives the agent (state.h)
 *   load FOLDER KEY	print that; nothing if there is none
 *
 * NAME and NODE are followed by ":MAJOR:MINOR": what they are to be, as names change.
 * Lines that they print: "at SECTOR", all before that was read; "unreadable SECTOR COUNT", the
 * first and how many in all; "replica INDEX STATE"; "error TEXT".
 */
#ifndef REMAP_AGENT_HELPER_H
#define REMAP_AGENT_HELPER_H

#include <errno.h>
#include "format.h"

enum {
	HELPER_GOOD,
	HELPER_BAD,		/* some could not be read; not whole; not moved; not repaired */
	HELPER_FAILED,		/* could not find out */
};

/**
 * agent_read_due() - when the next piece may be read, so that it is @rate bytes a second
 * @due: when this one might; @bytes: of this one; times in ns
 *
 * What was missed while the disk did not answer for more than a second is not made up for.
 */
static inline u64 agent_read_due(u64 due, u64 now, u64 bytes, u64 rate)
{
	due += (u64)((double)bytes * 1e9 / (double)rate);
	return due + 1000000000 < now ? now : due;
}

/**
 * agent_read_failed() - what a read that failed says of the sectors
 *
 * A link or a host that fails says nothing of them, and they are to be read later; see
 * remap_error_is_medium() of the target.
 * Return: 1 if it is the medium, else -@error
 */
static inline int agent_read_failed(int error)
{
	return error == EIO || error == ENODATA || error == EILSEQ ? 1 : -error;
}

/** agent_helper() - @argv: from the word after --helper on. Return: exit status */
int agent_helper(int argc, char **argv);

#endif
