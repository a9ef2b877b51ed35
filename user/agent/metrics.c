// SPDX-License-Identifier: GPL-2.0-only
/*
 * OpenMetrics 1.0 (github.com/OpenObservability/OpenMetrics), served by libmicrohttpd within the
 * agent's own loop. Each metric and what it means is in remap-agent(8).
 *
 * Latencies become histograms with one bucket for each power of two from 1 us to 137 s, which are
 * bounds of telemetry's own buckets (there 8 between them). Their sums are not known, so there are
 * none.
 */
#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sysmacros.h>
#include <time.h>
#include "agent.h"
#include "device.h"
#include "text.h"

/* All are from one address, as a rule: who opens many and says nothing must not keep others out. */
#define CONNECTIONS	200
#define FIRST_TIMEOUT	2	/* s that a connection may be idle before it has asked, ... */
#define TIMEOUT		10	/* ... and then */
#define CONNECTION_BYTES 8192	/* of memory; answers are not in it */
#define LE_FIRST	16	/* bucket that begins at 1.024 us */
#define LE_LAST		232	/* at 137 s */

struct agent_metrics {
	struct MHD_Daemon *http;
	sd_event_source *on_io, *on_time;
	struct agent *agent;
};

/* ---- text ---- */

static const char *const op_names[TELEMETRY_OPS] = { "read", "write", "flush", "discard" };
static const char *const side_names[AGENT_SIDES] = { "data", "spare" };

/* A label's value: backslash, quote and newline are escaped, what is not UTF-8 is a '?'. */
static void label(FILE *f, const char *text)
{
	while (*text) {
		size_t n = remap_utf8_len(text);

		if (*text == '\n')
			fputs("\\n", f);
		else if (*text == '\\' || *text == '"')
			fprintf(f, "\\%c", *text);
		else if (n)
			fwrite(text, 1, n, f);
		else
			fputc('?', f);
		text += n ?: 1;
	}
}

static void family(FILE *f, const char *name, const char *type, const char *unit, const char *help)
{
	fprintf(f, "# TYPE %s %s\n", name, type);
	if (unit)
		fprintf(f, "# UNIT %s %s\n", name, unit);
	fprintf(f, "# HELP %s %s\n", name, help);
}

/* A sample of a target: further labels begin with a comma, and need no escapes. */
static void sample(FILE *f, const char *name, const struct agent_target *t, u64 value,
		   const char *labels, ...) __attribute__((format(printf, 5, 6)));
static void sample(FILE *f, const char *name, const struct agent_target *t, u64 value,
		   const char *labels, ...)
{
	va_list ap;

	fprintf(f, "%s{target=\"", name);
	label(f, t->dm.name);
	fputc('"', f);
	va_start(ap, labels);
	vfprintf(f, labels, ap);
	va_end(ap);
	fprintf(f, "} %" PRIu64 "\n", value);
}

#define EACH(t, a) for (const struct agent_target *t = (a)->targets; t; t = t->next)

static void info(FILE *f, const struct agent *a)
{
	family(f, "dm_remap_target", "info", NULL, "Remap devices.");
	EACH(t, a) {
		char data[PATH_MAX], spare[PATH_MAX];

		remap_dev_path(t->dm.data, data, sizeof(data));
		remap_dev_path(t->dm.spare, spare, sizeof(spare));
		fputs("dm_remap_target_info{target=\"", f);
		label(f, t->dm.name);
		fputs("\",uuid=\"", f);
		label(f, t->key);
		fputs("\",data_device=\"", f);
		label(f, data);
		fputs("\",spare_device=\"", f);
		label(f, spare);
		fputs("\"} 1\n", f);
	}
	family(f, "dm_remap_state", "stateset", NULL, "What a device is in.");
	EACH(t, a)
		for (int s = 0; s < REMAP_STATES; s++)
			sample(f, "dm_remap_state", t, t->dm.state == (enum remap_state)s,
			       ",dm_remap_state=\"%s\"", remap_state_name((enum remap_state)s));
}

static void status(FILE *f, const struct agent *a)
{
	static const struct {
		const char *name, *type, *unit, *end, *help;
		enum remap_status_word word;
	} words[] = {
		{ "dm_remap_lost_sectors", "gauge", NULL, "",
		  "Logical sectors whose content no device can give back.", REMAP_ST_LOST_SECTORS },
		{ "dm_remap_replicas_ok", "gauge", NULL, "",
		  "Replicas of the metadata that are whole, as far as the target knows.",
		  REMAP_ST_REPLICAS_OK },
		{ "dm_remap_replicas", "gauge", NULL, "", "Replicas of the metadata.",
		  REMAP_ST_REPLICAS_TOTAL },
		{ "dm_remap_queued_ios", "gauge", NULL, "", "I/Os that wait for a relocation.",
		  REMAP_ST_QUEUED },
		{ "dm_remap_stuck_ios", "gauge", NULL, "",
		  "I/Os without an answer that hold up relocations.", REMAP_ST_STUCK },
		{ "dm_remap_relocations", "counter", NULL, "_total", "Blocks that were moved.",
		  REMAP_ST_RELOCATIONS },
		{ "dm_remap_reads_recovered", "counter", NULL, "_total",
		  "Reads that failed, and succeeded when tried again.", REMAP_ST_READS_RECOVERED },
		{ "dm_remap_io_errors", "counter", NULL, "_total",
		  "Errors that were passed up.", REMAP_ST_IO_ERRORS },
	};
	char name[64];

	family(f, "dm_remap_slots", "gauge", NULL, "Slots of the spare.");
	EACH(t, a) {
		const u64 *w = t->dm.word;
		u64 taken = w[REMAP_ST_SLOTS_USED] + w[REMAP_ST_SLOTS_BAD];

		sample(f, "dm_remap_slots", t, w[REMAP_ST_SLOTS_USED], ",kind=\"used\"");
		sample(f, "dm_remap_slots", t, w[REMAP_ST_SLOTS_BAD], ",kind=\"bad\"");
		sample(f, "dm_remap_slots", t, taken < w[REMAP_ST_SLOTS_TOTAL] ?
		       w[REMAP_ST_SLOTS_TOTAL] - taken : 0, ",kind=\"free\"");
	}
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		family(f, words[i].name, words[i].type, words[i].unit, words[i].help);
		snprintf(name, sizeof(name), "%s%s", words[i].name, words[i].end);
		EACH(t, a)
			sample(f, name, t, t->dm.word[words[i].word], "%s", "");
	}
}

static void agent_part(FILE *f, const struct agent *a)
{
	static const char *const replica_names[] = REMAP_REPLICA_STATE_NAMES;
	u64 missed = 0;

	family(f, "dm_remap_replica_state", "gauge", NULL,
	       "Replicas in each state, when the agent has read them last.");
	EACH(t, a) {
		u64 n[REMAP_REPLICA_STATES] = { 0 };

		if (!t->replicas_known)
			continue;
		for (int i = 0; i < REMAP_ZONES; i++)
			n[t->replica[i]]++;
		for (int s = 0; s < REMAP_REPLICA_STATES; s++)
			sample(f, "dm_remap_replica_state", t, n[s], ",state=\"%s\"",
			       replica_names[s]);
	}
	family(f, "dm_remap_checked_timestamp_seconds", "gauge", "seconds",
	       "When the agent has read the replicas last.");
	EACH(t, a)
		if (t->checked_at)
			sample(f, "dm_remap_checked_timestamp_seconds", t, t->checked_at, "%s", "");
	family(f, "dm_remap_scrub_sectors", "gauge", NULL,
	       "Sectors that a scrub has read which is under way, or was interrupted; else 0.");
	EACH(t, a) {
		struct agent_memory m;

		if (agent_policy_memory(a->policy, t->number, agent_now(), &m))
			sample(f, "dm_remap_scrub_sectors", t, m.scrub_at, "%s", "");
	}
	family(f, "dm_remap_scrub_running", "gauge", NULL, "Is the surface being read?");
	EACH(t, a)
		sample(f, "dm_remap_scrub_running", t, !!t->job[AGENT_SCRUB].child, "%s", "");
	family(f, "dm_remap_size_sectors", "gauge", NULL, "Sectors of the device.");
	EACH(t, a)
		sample(f, "dm_remap_size_sectors", t, t->dm.sectors, "%s", "");
	family(f, "dm_remap_scrubbed_timestamp_seconds", "gauge", "seconds",
	       "When all of the surface had been read last.");
	EACH(t, a) {
		struct agent_memory m;

		if (agent_policy_memory(a->policy, t->number, agent_now(), &m) &&
		    m.scrubbed_ago != UINT64_MAX)
			sample(f, "dm_remap_scrubbed_timestamp_seconds", t,
			       (u64)time(NULL) - m.scrubbed_ago, "%s", "");
	}
	family(f, "dm_remap_smart_bad_sectors", "gauge", NULL,
	       "Bad sectors that the disk itself counts.");
	EACH(t, a)
		if (t->smart.known)
			sample(f, "dm_remap_smart_bad_sectors", t, agent_smart_bad(&t->smart), "%s",
			       "");
	family(f, "remap_agent_actions", "counter", NULL, "What the agent has done.");
	EACH(t, a) {
		for (int k = 0; k < AGENT_TELL; k++) {
			const char *name = agent_action_name((enum agent_action_kind)k);

			sample(f, "remap_agent_actions_total", t, t->job[k].good,
			       ",action=\"%s\",result=\"done\"", name);
			sample(f, "remap_agent_actions_total", t, t->job[k].bad,
			       ",action=\"%s\",result=\"failed\"", name);
		}
	}
	family(f, "remap_agent_events", "counter", NULL, "What a person was told of.");
	EACH(t, a)
		for (int k = 0; k < AGENT_TELLS; k++)
			if (t->told[k])
				sample(f, "remap_agent_events_total", t, t->told[k],
				       ",event=\"%s\"", agent_tell_name((enum agent_tell)k));
	family(f, "remap_agent_telemetry", "gauge", NULL, "Are the BPF programs loaded?");
	fprintf(f, "remap_agent_telemetry %d\n", !!a->telemetry);
	family(f, "remap_agent_programs_dropped", "counter", NULL,
	       "Events of which the program was not told.");
	fprintf(f, "remap_agent_programs_dropped_total %" PRIu64 "\n", a->programs_dropped);
	if (!a->telemetry)
		return;
	family(f, "remap_agent_events_dropped", "counter", NULL,
	       "Events of remap devices for which the ring had no room.");
	fprintf(f, "remap_agent_events_dropped_total %" PRIu64 "\n",
		remap_telemetry_dropped(a->telemetry));
	if (remap_telemetry_missed(a->telemetry, &missed, NULL))
		return;
	family(f, "remap_agent_ios_missed", "counter", NULL, "I/Os that were not seen.");
	fprintf(f, "remap_agent_ios_missed_total %" PRIu64 "\n", missed);
}

/* ---- telemetry's part ---- */

struct sides {
	const struct agent_target *t;
	int side;
	struct remap_sample s;
};

static void latency(FILE *f, const struct sides *d, int op)
{
	u64 sum = 0;

	if (d->s.ios[op] == d->s.unstamped[op])
		return;
	for (unsigned int b = 0; b < TELEMETRY_BUCKETS; b++) {
		if (b >= LE_FIRST && b <= LE_LAST && b % 8 == 0) {
			char le[32];

			snprintf(le, sizeof(le), "%.9g", (double)remap_bucket_ns(b) / 1e9);
			sample(f, "dm_remap_device_latency_seconds_bucket", d->t, sum,
			       ",device=\"%s\",op=\"%s\",le=\"%s%s\"", side_names[d->side],
			       op_names[op], le, strpbrk(le, ".e") ? "" : ".0");
		}
		sum += d->s.total[op][b];
	}
	sample(f, "dm_remap_device_latency_seconds_bucket", d->t, sum,
	       ",device=\"%s\",op=\"%s\",le=\"+Inf\"", side_names[d->side], op_names[op]);
}

static void devices(FILE *f, const struct agent *a)
{
	struct sides *all = NULL;
	size_t n = 0;

	EACH(t, a)
		n += (size_t)t->side[AGENT_DATA].watched + t->side[AGENT_SPARE].watched;
	if (!n)
		return;
	all = calloc(n, sizeof(*all));
	if (!all)
		return;
	n = 0;
	EACH(t, a) {
		for (int side = 0; side < AGENT_SIDES; side++) {
			if (!t->side[side].watched)
				continue;
			all[n].t = t;
			all[n].side = side;
			remap_telemetry_read(a->telemetry, t->side[side].area, &all[n++].s);
		}
	}
	family(f, "dm_remap_device_ios", "counter", NULL, "I/Os that ended.");
	for (size_t i = 0; i < n; i++)
		for (int op = 0; op < TELEMETRY_OPS; op++)
			sample(f, "dm_remap_device_ios_total", all[i].t, all[i].s.ios[op],
			       ",device=\"%s\",op=\"%s\"", side_names[all[i].side], op_names[op]);
	family(f, "dm_remap_device_bytes", "counter", "bytes", "Bytes of those that succeeded.");
	for (size_t i = 0; i < n; i++)
		for (int op = 0; op < TELEMETRY_OPS; op++)
			sample(f, "dm_remap_device_bytes_total", all[i].t, all[i].s.bytes[op],
			       ",device=\"%s\",op=\"%s\"", side_names[all[i].side], op_names[op]);
	family(f, "dm_remap_device_errors", "counter", NULL, "I/Os that failed.");
	for (size_t i = 0; i < n; i++)
		sample(f, "dm_remap_device_errors_total", all[i].t, all[i].s.errors,
		       ",device=\"%s\"", side_names[all[i].side]);
	family(f, "dm_remap_device_slow_ios", "counter", NULL,
	       "I/Os that took longer than they may.");
	for (size_t i = 0; i < n; i++)
		sample(f, "dm_remap_device_slow_ios_total", all[i].t, all[i].s.slow,
		       ",device=\"%s\"", side_names[all[i].side]);
	family(f, "dm_remap_device_events_dropped", "counter", NULL,
	       "Events for which the ring had no room.");
	for (size_t i = 0; i < n; i++)
		sample(f, "dm_remap_device_events_dropped_total", all[i].t, all[i].s.dropped,
		       ",device=\"%s\"", side_names[all[i].side]);
	family(f, "dm_remap_device_latency_seconds", "histogram", "seconds",
	       "From the request's making to its end.");
	for (size_t i = 0; i < n; i++)
		for (int op = 0; op < TELEMETRY_OPS; op++)
			latency(f, &all[i], op);
	free(all);
}

char *agent_metrics_text(const struct agent *a, size_t *size)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, size);

	if (!f)
		return NULL;
	family(f, "remap_agent_build", "info", NULL, "The agent.");
	fprintf(f, "remap_agent_build_info{version=\"%s\"} 1\n", DM_REMAP_VERSION);
	info(f, a);
	status(f, a);
	agent_part(f, a);
	devices(f, a);
	fputs("# EOF\n", f);
	if (fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}

/* ---- HTTP ---- */

static enum MHD_Result answer(struct MHD_Connection *c, unsigned int code, const char *type,
			      char *text, size_t size)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(size, text, MHD_RESPMEM_MUST_FREE);
	enum MHD_Result queued;

	if (!r) {
		free(text);
		return MHD_NO;
	}
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	if (code == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	queued = MHD_queue_response(c, code, r);
	MHD_destroy_response(r);
	return queued;
}

static enum MHD_Result say(struct MHD_Connection *c, unsigned int code, const char *line)
{
	char *text = strdup(line);

	return text ? answer(c, code, "text/plain; charset=utf-8", text, strlen(text)) : MHD_NO;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *c, const char *url,
				  const char *method, const char *version, const char *body,
				  size_t *body_size, void **state)
{
	static const char type[] = "application/openmetrics-text; version=1.0.0; charset=utf-8";
	struct agent_metrics *m = arg;
	size_t size;
	char *text;

	(void)version;
	(void)body;
	/* it is called once for the head, and again for what follows */
	if (!*state) {
		*state = m;
		MHD_set_connection_option(c, MHD_CONNECTION_OPTION_TIMEOUT, (unsigned int)TIMEOUT);
		return MHD_YES;
	}
	if (*body_size) {
		*body_size = 0;
		return MHD_YES;
	}
	if (strcmp(method, MHD_HTTP_METHOD_GET) && strcmp(method, MHD_HTTP_METHOD_HEAD))
		return say(c, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n");
	if (strcmp(url, "/metrics"))
		return say(c, MHD_HTTP_NOT_FOUND, "there is only /metrics\n");
	text = agent_metrics_text(m->agent, &size);
	return text ? answer(c, MHD_HTTP_OK, type, text, size) : MHD_NO;
}

static void again(struct agent_metrics *m)
{
	MHD_UNSIGNED_LONG_LONG ms;

	if (MHD_get_timeout(m->http, &ms) != MHD_YES) {
		sd_event_source_set_enabled(m->on_time, SD_EVENT_OFF);
		return;
	}
	sd_event_source_set_time_relative(m->on_time, ms * 1000);
	sd_event_source_set_enabled(m->on_time, SD_EVENT_ONESHOT);
}

static int on_io(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct agent_metrics *m = arg;

	(void)s;
	(void)fd;
	(void)events;
	MHD_run(m->http);
	again(m);
	return 0;
}

static int on_time(sd_event_source *s, uint64_t usec, void *arg)
{
	(void)usec;
	return on_io(s, 0, 0, arg);
}

int agent_metrics_begin(struct agent *a, struct remap_err *err)
{
	struct agent_settings *s = &a->settings;
	const union MHD_DaemonInfo *epoll;
	struct agent_metrics *m;
	unsigned int v6 = s->address.any.sa_family == AF_INET6 ? MHD_USE_IPv6 : 0;
	int r;

	if (!s->metrics)
		return 0;
	m = calloc(1, sizeof(*m));
	if (!m)
		return remap_fail_errno(err, -ENOMEM, "metrics");
	m->agent = a;
	errno = 0;
	m->http = MHD_start_daemon(MHD_USE_EPOLL | v6, 0, NULL, NULL, on_request, m,
				   MHD_OPTION_SOCK_ADDR, &s->address.any,
				   MHD_OPTION_CONNECTION_LIMIT, (unsigned int)CONNECTIONS,
				   MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)FIRST_TIMEOUT,
				   MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES,
				   MHD_OPTION_END);
	if (!m->http) {
		r = errno ? -errno : -EIO;
		free(m);
		return remap_fail(err, r, "cannot serve metrics at %s: %s (metrics = of the "
				  "configuration names another address, or none)", s->metrics_at,
				  strerror(-r));
	}
	a->metrics = m;
	epoll = MHD_get_daemon_info(m->http, MHD_DAEMON_INFO_EPOLL_FD);
	r = sd_event_add_io(a->loop, &m->on_io, epoll->epoll_fd, EPOLLIN, on_io, m);
	if (r >= 0)
		r = sd_event_add_time_relative(a->loop, &m->on_time, CLOCK_MONOTONIC, 0, 0, on_time,
					       m);
	if (r < 0) {
		agent_metrics_end(a);
		return remap_fail_errno(err, r, "cannot serve metrics");
	}
	sd_event_source_set_enabled(m->on_time, SD_EVENT_OFF);
	return 0;
}

void agent_metrics_end(struct agent *a)
{
	struct agent_metrics *m = a->metrics;

	if (!m)
		return;
	sd_event_source_disable_unref(m->on_io);
	sd_event_source_disable_unref(m->on_time);
	MHD_stop_daemon(m->http);
	free(m);
	a->metrics = NULL;
}
