// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the agent says: to the journal with fields (remap-agent(8) lists them), or to standard
 * error, one line each; to the file that others read; and the program that is run for what a person
 * should know.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <systemd/sd-journal.h>
#include <time.h>
#include "agent.h"
#include "text.h"

#define PROGRAMS	8	/* that run at once */
#define NEWS		64	/* that wait for them; beyond that is dropped, and counted */
#define DROPPED_SECONDS	60	/* between lines about that */
#define PROGRAM_SECONDS	60
#define FIELDS		12

const char *agent_action_name(enum agent_action_kind kind)
{
	static const char *const name[] = {
		[AGENT_MOVE] = "move", [AGENT_READ] = "read", [AGENT_CHECK] = "check",
		[AGENT_REPAIR] = "repair", [AGENT_SCRUB] = "scrub", [AGENT_TELL] = "tell",
	};

	return name[kind];
}

const char *agent_tell_name(enum agent_tell tell)
{
	static const char *const name[] = AGENT_TELL_NAMES;

	return name[tell];
}

struct fields {
	struct iovec v[FIELDS];
	char text[FIELDS][720];
	int n;
};

static void add(struct fields *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct fields *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->text[f->n], sizeof(f->text[0]), fmt, ap);
	va_end(ap);
	f->v[f->n].iov_base = f->text[f->n];
	f->v[f->n].iov_len = strlen(f->text[f->n]);
	f->n++;
}

static bool to_journal(int priority, const struct agent_target *t, const struct agent_action *act,
		       const char *result, const char *line)
{
	struct fields f = { .n = 0 };

	add(&f, "MESSAGE=%s", line);
	add(&f, "PRIORITY=%d", priority);
	add(&f, "SYSLOG_IDENTIFIER=remap-agent");
	if (t) {
		add(&f, "REMAP_NAME=%s", t->dm.name);
		add(&f, "REMAP_UUID=%s", t->key);
	}
	if (act && act->kind == AGENT_TELL)
		add(&f, "REMAP_EVENT=%s", agent_tell_name(act->tell));
	else if (act)
		add(&f, "REMAP_ACTION=%s", agent_action_name(act->kind));
	if (act && act->count) {
		add(&f, "REMAP_SECTOR=%llu", (unsigned long long)act->sector);
		add(&f, "REMAP_SECTORS=%llu", (unsigned long long)act->count);
	}
	if (result)
		add(&f, "REMAP_RESULT=%s", result);
	return !sd_journal_sendv(f.v, f.n);
}

/* What is about a target, and what is wrong; that cannot be written is said once. */
static void to_share(const struct agent *a, int priority, const struct agent_target *t,
		     struct remap_agent_event *e, const char *text)
{
	struct agent_share *s = a->share;
	struct remap_err err;
	struct timespec ts;
	bool said;

	if (!s || (!t && priority > LOG_WARNING))
		return;
	clock_gettime(CLOCK_REALTIME, &ts);
	e->time_ms = (u64)ts.tv_sec * 1000 + (u64)ts.tv_nsec / 1000000;
	e->priority = priority;
	if (t) {
		snprintf(e->name, sizeof(e->name), "%s", t->dm.name);
		snprintf(e->uuid, sizeof(e->uuid), "%s", t->key);
	}
	snprintf(e->text, sizeof(e->text), "%s", text);
	said = s->said_events;
	s->said_events = agent_share_event(s, e, &err);
	/* which comes here again, to no avail, but no further */
	if (s->said_events && !said)
		agent_say(a, LOG_WARNING, NULL, NULL, NULL, "others cannot read what happens: %s",
			  err.text);
}

static void vsay(const struct agent *a, int priority, const struct agent_target *t,
		 const struct agent_action *act, const char *result, struct remap_agent_event *e,
		 const char *fmt, va_list ap) __attribute__((format(printf, 7, 0)));
static void vsay(const struct agent *a, int priority, const struct agent_target *t,
		 const struct agent_action *act, const char *result, struct remap_agent_event *e,
		 const char *fmt, va_list ap)
{
	char raw[512], text[512], line[700];

	vsnprintf(raw, sizeof(raw), fmt, ap);
	remap_text_clean(text, sizeof(text), raw);
	to_share(a, priority, t, e, text);
	snprintf(line, sizeof(line), "%s%s%s", t ? t->dm.name : "", t ? ": " : "", text);
	if (a->to_journal && to_journal(priority, t, act, result, line))
		return;
	fprintf(stderr, "remap-agent: %s\n", line);
}

void agent_say(const struct agent *a, int priority, const struct agent_target *t,
	       const struct agent_action *act, const char *result, const char *fmt, ...)
{
	struct remap_agent_event e = { .has_sectors = act && act->count };
	va_list ap;

	if (act)
		snprintf(e.what, sizeof(e.what), "%s", act->kind == AGENT_TELL ?
			 agent_tell_name(act->tell) : agent_action_name(act->kind));
	if (e.has_sectors) {
		e.sector = act->sector;
		e.sectors = act->count;
	}
	if (result)
		snprintf(e.result, sizeof(e.result), "%s", result);
	va_start(ap, fmt);
	vsay(a, priority, t, act, result, &e, fmt, ap);
	va_end(ap);
}

void agent_say_io(const struct agent *a, const struct agent_target *t, const char *what,
		  u64 sector, const char *fmt, ...)
{
	struct remap_agent_event e = { .has_sectors = true, .sector = sector, .sectors = 1 };
	va_list ap;

	snprintf(e.what, sizeof(e.what), "%s", what);
	va_start(ap, fmt);
	vsay(a, LOG_WARNING, t, NULL, NULL, &e, fmt, ap);
	va_end(ap);
}

/* ---- the program ---- */

static void on_program(void *arg, int status, const char *output)
{
	struct agent *a = arg;

	(void)output;
	a->programs--;
	if (status == 128 + SIGKILL)
		agent_say(a, LOG_WARNING, NULL, NULL, NULL, "%s was killed: it had not ended after "
			  "%u s", a->settings.program, PROGRAM_SECONDS);
	else if (status)
		agent_say(a, LOG_WARNING, NULL, NULL, NULL, "%s ended with status %d",
			  a->settings.program, status);
	agent_tell_on(a);
}

/* The environment it gets, in which lists begin with what remap-agent's own has. */
static char **program_env(const struct agent_news *n)
{
	size_t vars = 0, i = 0;
	char **env;
	bool ok;

	while (environ[vars])
		vars++;
	env = calloc(vars + 8, sizeof(*env));
	if (!env)
		return NULL;
	for (size_t k = 0; k < vars; k++) {
		/* as of a service: not for others */
		if (strncmp(environ[k], "NOTIFY_SOCKET=", 14) &&
		    strncmp(environ[k], "WATCHDOG_", 9)) {
			env[i] = strdup(environ[k]);
			i += !!env[i];
		}
	}
	ok = asprintf(&env[i++], "REMAP_EVENT=%s", agent_tell_name(n->act.tell)) > 0 &&
	     asprintf(&env[i++], "REMAP_NAME=%s", n->name) > 0 &&
	     asprintf(&env[i++], "REMAP_UUID=%s", n->key) > 0 &&
	     asprintf(&env[i++], "REMAP_SEVERITY=%s", n->act.urgent ? "alert" : "info") > 0 &&
	     asprintf(&env[i++], "REMAP_MESSAGE=%s", n->act.why) > 0;
	if (!ok)
		env[i - 1] = NULL;
	return env;
}

static int run_program(struct agent *a, struct agent_news *n, struct remap_err *err)
{
	char *argv[] = {
		a->settings.program, (char *)agent_tell_name(n->act.tell), n->name, n->act.why,
		NULL,
	};
	char **env = program_env(n);
	struct agent_child_spec spec = {
		.argv = argv, .env = env, .seconds = PROGRAM_SECONDS, .group = true,
		.ended = on_program, .arg = a,
	};
	struct agent_child *c;
	int r = env ? agent_child_run(a->loop, &spec, &c, err) :
		remap_fail_errno(err, -ENOMEM, "cannot run %s", a->settings.program);

	a->programs += !r;
	for (size_t i = 0; env && env[i]; i++)
		free(env[i]);
	free(env);
	return r;
}

static void dropped(struct agent *a, const char *why)
{
	u64 now = agent_now();

	a->programs_dropped++;
	if (a->said_dropped && now - a->said_dropped < DROPPED_SECONDS)
		return;
	a->said_dropped = now;
	agent_say(a, LOG_WARNING, NULL, NULL, NULL, "%s was not told of all: %s (%llu events in "
		  "all)", a->settings.program, why, (unsigned long long)a->programs_dropped);
}

static struct agent_news *take_news(struct agent *a, struct agent_news **link)
{
	struct agent_news *n = *link;

	*link = n->next;
	a->n_news--;
	return n;
}

/* Alerts first, else in their order. The oldest that is no alert makes room where there is none. */
static void add_news(struct agent *a, struct agent_news *n)
{
	struct agent_news **link = &a->news;

	while (*link && ((*link)->act.urgent || !n->act.urgent))
		link = &(*link)->next;
	n->next = *link;
	*link = n;
	if (++a->n_news <= NEWS)
		return;
	for (link = &a->news; *link && (*link)->act.urgent; link = &(*link)->next)
		;
	free(take_news(a, *link ? link : &a->news));
	dropped(a, "too many at once");
}

void agent_tell_on(struct agent *a)
{
	struct agent_news *n;
	struct remap_err err;
	int r;

	while (a->news && a->programs < PROGRAMS) {
		n = a->news;
		r = *a->settings.program ? run_program(a, n, &err) : 0;
		if (r == -EAGAIN || r == -ENOMEM || r == -EMFILE || r == -ENFILE)
			return;		/* there may be room later */
		if (r)
			dropped(a, err.text);
		free(take_news(a, &a->news));
	}
}

void agent_tell_end(struct agent *a)
{
	while (a->news)
		free(take_news(a, &a->news));
}

void agent_tell(struct agent *a, struct agent_target *t, const struct agent_action *act)
{
	struct agent_news *n;

	t->told[act->tell]++;
	agent_say(a, act->urgent ? LOG_ALERT : LOG_NOTICE, t, act, NULL, "%s", act->why);
	if (!*a->settings.program)
		return;
	n = calloc(1, sizeof(*n));
	if (!n) {
		dropped(a, "out of memory");
		return;
	}
	n->act = *act;
	snprintf(n->name, sizeof(n->name), "%s", t->dm.name);
	snprintf(n->key, sizeof(n->key), "%s", t->key);
	add_news(a, n);
	agent_tell_on(a);
}
