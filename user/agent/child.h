/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What may take long or for ever, because a device does not answer, is done by processes of its
 * own: the agent waits for them to end, among all else that it waits for, and can give them up.
 */
#ifndef REMAP_AGENT_CHILD_H
#define REMAP_AGENT_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <systemd/sd-event.h>
#include "err.h"

#define CHILD_LOST	255	/* as a status: somebody else has waited for it */

struct agent_child;

struct agent_child_spec {
	char *const *argv;	/* ends with NULL; the first is looked for in PATH */
	char *const *env;	/* NULL: as ours */
	unsigned int seconds;	/* after which it is killed; 0: never */
	bool group;		/* of its own, all of which is killed then */
	size_t keep;		/* bytes of its output to be kept for @ended; 0: none */
	/* for each line of its output; NULL: nobody wants them */
	void (*says)(void *arg, const char *line);
	/* @status: of exit, or 128 + signal; CHILD_LOST. Not called for those that were given up */
	void (*ended)(void *arg, int status, const char *output);
	void *arg;
};

/** agent_child_run() - start a program. @c: result, good until it has ended or is given up */
int agent_child_run(sd_event *loop, const struct agent_child_spec *spec, struct agent_child **c,
		    struct remap_err *err);

/**
 * agent_child_give_up() - kill it; it is heard of no more, and NULL is no child
 *
 * One that waits for a device dies when the device lets it; nobody waits for that.
 */
void agent_child_give_up(struct agent_child *c);

/** agent_child_kill() - it is heard of when it has ended, which may take as long as it likes */
void agent_child_kill(const struct agent_child *c);

/** agent_child_let_go() - it is heard of no more, and goes on */
void agent_child_let_go(struct agent_child *c);

#endif
