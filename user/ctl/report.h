/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The page of remapctl report, in three steps: what is known becomes one JSON object
 * (cmd_report.c, with describe.c), judge_report() adds what to make of it, and report_html() draws
 * it. All but cmd_report.c is pure.
 */
#ifndef REMAPCTL_REPORT_H
#define REMAPCTL_REPORT_H

#include <json-c/json.h>
#include <stdio.h>
#include "agentlog.h"
#include "surface.h"

#define MAX_BLOCKS	2000	/* that are shown one by one */
#define MAX_EVENTS	200	/* likewise, the latest */
#define EVENT_BINS	48	/* of the time line */

/**
 * describe_blocks() - add "blocks": all, or if they are more than MAX_BLOCKS those that have lost
 * sectors, or if these are, too, none
 */
void describe_blocks(struct json_object *o, const struct remaps *l);

/** describe_latency() - add "latency"; @m must be known */
void describe_latency(struct json_object *o, const struct measured *m);

/* Which of what the agent has on record is trouble of the disk? In the order of the time line. */
enum trouble { TROUBLE_LOST, TROUBLE_ERROR, TROUBLE_MOVE, TROUBLE_SLOW, TROUBLES, TROUBLE_NONE };

enum trouble trouble_of(const struct remap_agent_event *e);
const char *trouble_name(enum trouble k);

/* A record of events, oldest first. */
struct record {
	struct remap_agent_event *event;
	size_t n, room;
};

/**
 * describe_events() - add "events": the latest, the time line, and how the present compares with
 * the past
 * @r: of all targets; @name and @uuid say which is ours. @now_ms: since 1970
 */
void describe_events(struct json_object *o, const struct record *r, const char *name,
		     const char *uuid, uint64_t now_ms);

/** replicas_ok() - as verify has found them; where it was not asked, as far as the target knows */
uint64_t replicas_ok(struct json_object *o);

/** judge_report() - add "verdict": what is wrong, where, and is it getting worse */
void judge_report(struct json_object *o);

/** report_html() - the page. Whether it got out is for the caller to ask @f */
void report_html(FILE *f, struct json_object *o);

#endif
