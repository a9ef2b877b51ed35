/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What of a target outlives the agent: a small file for each, in JSON, written anew as a whole.
 * Times are those of the wall, as the machine may boot in between.
 */
#ifndef REMAP_AGENT_STATE_H
#define REMAP_AGENT_STATE_H

#include <sys/types.h>
#include "err.h"
#include "policy.h"
#include "smart.h"

#define AGENT_STATE_LARGEST	(1 << 16)	/* bytes of a file, and then some */

struct agent_state {
	struct agent_memory memory;
	struct agent_smart smart;	/* when it was asked last */
};

/**
 * agent_state_read() - the text of what was saved; may wait for the disk, as save() may
 * @key: what the target is called for good, a uuid or a name
 * @text: result, to be freed; NULL if there is none
 */
int agent_state_read(const char *folder, const char *key, char **text, struct remap_err *err);

/**
 * agent_state_parse() - what that says
 *
 * Files of version 1 of all times are understood: what they lack is not known.
 * Return: 0, or -EINVAL if it makes no sense; then @s says that nothing is known.
 */
int agent_state_parse(const char *text, struct agent_state *s);

/** agent_state_text() - for agent_state_save(). Caller frees. Return: NULL if there is no memory */
char *agent_state_text(const struct agent_state *s);

/** agent_state_save() - one at a time, if several would save the same; all of it or nothing */
int agent_state_save(const char *folder, const char *key, const char *text, struct remap_err *err);

#endif
