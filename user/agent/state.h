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

struct agent_state {
	struct agent_memory memory;
	bool smart_known;
	u64 smart_bad;			/* sectors, when SMART was asked last */
};

/**
 * agent_state_load() - @key: what the target is called for good, a uuid or a name
 *
 * Return: 0; -ENOENT if there is none; or an error, as when it makes no sense. Then, too, @s says
 * that nothing is known.
 */
int agent_state_load(const char *folder, const char *key, struct agent_state *s,
		     struct remap_err *err);

/** agent_state_text() - for agent_state_save(). Caller frees. Return: NULL if there is no memory */
char *agent_state_text(const struct agent_state *s);

/** agent_state_save() - may wait for the disk, which is why the agent lets a child do it */
int agent_state_save(const char *folder, const char *key, const char *text, struct remap_err *err);

#endif
