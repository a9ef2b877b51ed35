/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The configuration of remap-agent: one INI file, see remap-agent.conf(5).
 */
#ifndef REMAP_AGENT_CONFIG_H
#define REMAP_AGENT_CONFIG_H

#include <limits.h>
#include <netinet/in.h>
#include "err.h"
#include "policy.h"

struct agent_settings {
	struct agent_config policy;
	u64 slow_ns;			/* of an I/O to a data device; 0: by the kind of disk */
	u64 scrub_rate;			/* bytes a second, of all that is read */
	u64 smart_interval;		/* seconds; 0: smartctl is not asked */
	bool metrics;			/* to be served at ... */
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} address;
	char metrics_at[64];		/* ... that, as it was written */
	char program[PATH_MAX];		/* that is told of events; empty: none */
};

/** agent_settings_default() - what holds where the file says nothing */
void agent_settings_default(struct agent_settings *s);

/**
 * agent_settings_read() - defaults, and what the file says
 * @complain: called for each mistake, with one line that names the file, the line and the remedy
 *
 * Return: 0; -EINVAL if there were mistakes, and then @s is unchanged; or why the file cannot be
 * read, which @complain was told.
 */
int agent_settings_read(struct agent_settings *s, const char *path,
			void (*complain)(void *arg, const char *text), void *arg);

#endif
