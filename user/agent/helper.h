/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the agent has done by processes of its own (child.h): this program once more, with
 * "--helper" and what to do as its arguments. All of it is about one device, which may not answer.
 *
 *   read NODE FIRST COUNT CHUNK BLOCK RATE
 *			read sectors, CHUNK of them at once, BLOCK where that fails, at idle
 *			priority and at most RATE bytes a second
 *   check NAME NODE UUID
 *			are all replicas whole? NODE: of the spare, "-" to ask the target instead
 *   move NAME FIRST COUNT
 *   repair NAME
 *   save FOLDER KEY TEXT	what outlives the agent (state.h)
 *
 * NAME and NODE are followed by ":MAJOR:MINOR": what they are to be, as names change.
 * Lines that they print: "at SECTOR", all before that was read; "unreadable SECTOR COUNT", the
 * first and how many in all; "replica INDEX STATE"; "error TEXT".
 */
#ifndef REMAP_AGENT_HELPER_H
#define REMAP_AGENT_HELPER_H

enum {
	HELPER_GOOD,
	HELPER_BAD,		/* some could not be read; not whole; not moved; not repaired */
	HELPER_FAILED,		/* could not find out */
};

/** agent_helper() - @argv: from the word after --helper on. Return: exit status */
int agent_helper(int argc, char **argv);

#endif
