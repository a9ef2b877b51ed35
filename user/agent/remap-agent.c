// SPDX-License-Identifier: GPL-2.0-only
/*
 * remap-agent: watches all remap devices of a machine, moves blocks before they fail, reads
 * surfaces, keeps the copies of the metadata whole, and tells. See agent.h for its parts.
 */
#include <argp.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>
#include "agent.h"
#include "helper.h"
#include "text.h"

#ifndef DM_REMAP_VERSION
#define DM_REMAP_VERSION "unknown"
#endif

#define CONFIG_FILE	"/etc/remap-agent.conf"
#define STATE_FOLDER	"/var/lib/remap-agent"

enum { EXIT_GOOD, EXIT_PROBLEM, EXIT_USAGE };

const char *argp_program_version = "remap-agent " DM_REMAP_VERSION;

struct env {
	const char *config;		/* NULL: the usual one, which need not be there */
	bool test, dry_run, to_stderr;
	struct agent agent;
};

enum { KEY_STDERR = 256, KEY_STATE };

static const struct argp_option options[] = {
	{ "config", 'c', "FILE", 0, "Read this instead of " CONFIG_FILE, 0 },
	{ "test", 't', NULL, 0, "Only check the configuration", 0 },
	{ "dry-run", 'n', NULL, 0, "Only say what would be moved or repaired", 0 },
	{ "stderr", KEY_STDERR, NULL, 0, "Log to standard error even where it is the journal", 0 },
	{ "state", KEY_STATE, "FOLDER", 0, "Keep here what outlives the agent (" STATE_FOLDER ")",
	  0 },
	{ 0 },
};

static int usage_error(const char *fmt, const char *what)
{
	fputs("remap-agent: ", stderr);
	fprintf(stderr, fmt, what);
	fputs(" (see remap-agent --help)\n", stderr);
	return EXIT_USAGE;
}

static error_t parse_key(int key, char *value, struct argp_state *state)
{
	struct env *env = state->input;

	switch (key) {
	case 'c':
		env->config = value;
		break;
	case 't':
		env->test = true;
		break;
	case 'n':
		env->dry_run = true;
		break;
	case KEY_STDERR:
		env->to_stderr = true;
		break;
	case KEY_STATE:
		env->agent.state_folder = value;
		break;
	case ARGP_KEY_ARG:
		exit(usage_error("%s: takes no arguments", value));
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

/* ---- configuration ---- */

static void complain(void *arg, const char *text)
{
	const struct env *env = arg;

	agent_say(&env->agent, LOG_ERR, NULL, NULL, NULL, "%s", text);
}

static int read_config(struct env *env)
{
	const char *path = env->config ? env->config : CONFIG_FILE;

	if (!env->config && access(path, F_OK) && errno == ENOENT) {
		agent_settings_default(&env->agent.settings);
		return 0;
	}
	return agent_settings_read(&env->agent.settings, path, complain, env);
}

/* The new address is not to be had: at the old one it was. */
static void serve_as_before(struct agent *a, const struct agent_settings *before)
{
	a->settings.metrics = before->metrics;
	a->settings.address.v6 = before->address.v6;
	memcpy(a->settings.metrics_at, before->metrics_at, sizeof(before->metrics_at));
	agent_metrics_begin(a, NULL);
}

static int on_reload(sd_event_source *s, const struct signalfd_siginfo *si, void *arg)
{
	struct env *env = arg;
	struct agent *a = &env->agent;
	struct agent_settings before = a->settings;
	struct remap_err err;

	(void)s;
	(void)si;
	sd_notify(0, "RELOADING=1");
	if (a->ending) {
		sd_notify(0, "STOPPING=1");
		return 0;
	}
	if (read_config(env)) {
		agent_say(a, LOG_ERR, NULL, NULL, NULL, "the configuration stays as it was");
	} else {
		if (strcmp(before.metrics_at, a->settings.metrics_at)) {
			agent_metrics_end(a);
			if (agent_metrics_begin(a, &err)) {
				agent_say(a, LOG_ERR, NULL, NULL, NULL, "%s", err.text);
				serve_as_before(a, &before);
			}
		}
		agent_reconfigure(a, &before);
		agent_say(a, LOG_INFO, NULL, NULL, NULL, "read the configuration again");
	}
	sd_notify(0, "READY=1");
	return 0;
}

/* ---- begin and end ---- */

/* Once is a request, twice is impatience. */
static int on_exit_signal(sd_event_source *s, const struct signalfd_siginfo *si, void *arg)
{
	struct env *env = arg;

	(void)si;
	sd_notify(0, "STOPPING=1");
	if (env->agent.ending)
		return sd_event_exit(sd_event_source_get_event(s), EXIT_GOOD);
	agent_stop(&env->agent);
	return 0;
}

/* Is standard error the journal? systemd says which file that would be. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat sb;

	return stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 && !fstat(2, &sb) &&
	       sb.st_dev == dev && sb.st_ino == ino;
}

static int signals(struct env *env)
{
	sd_event *loop = env->agent.loop;
	sigset_t mask;
	int r;

	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGHUP);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	signal(SIGPIPE, SIG_IGN);
	/* ignored, as whoever started us may have it, nobody is told how his children ended */
	signal(SIGCHLD, SIG_DFL);
	r = sd_event_add_signal(loop, NULL, SIGTERM, on_exit_signal, env);
	if (r >= 0)
		r = sd_event_add_signal(loop, NULL, SIGINT, on_exit_signal, env);
	if (r >= 0)
		r = sd_event_add_signal(loop, NULL, SIGHUP, on_reload, env);
	return r;
}

static int run(struct env *env)
{
	struct agent *a = &env->agent;
	struct remap_err err;
	int r;

	r = sd_event_default(&a->loop);
	if (r >= 0)
		r = signals(env);
	if (r < 0) {
		remap_fail_errno(&err, r, "cannot make an event loop");
		goto out;
	}
	r = agent_metrics_begin(a, &err);
	if (r)
		goto out;
	r = agent_begin(a, &err);
	if (!r) {
		sd_event_set_watchdog(a->loop, true);
		sd_notify(0, "READY=1");
		agent_say(a, LOG_INFO, NULL, NULL, NULL, "ready%s%s%s", a->dry_run ?
			  ", in a dry run" : "", a->settings.metrics ? ", metrics at " : "",
			  a->settings.metrics ? a->settings.metrics_at : "");
		r = sd_event_loop(a->loop);
		if (r < 0)
			remap_fail_errno(&err, r, "the event loop has ended");
		agent_end(a);
	}
	agent_metrics_end(a);
out:
	if (r)
		agent_say(a, LOG_ERR, NULL, NULL, NULL, "%s", err.text);
	sd_event_unref(a->loop);
	return r ? EXIT_PROBLEM : EXIT_GOOD;
}

static bool asks_for_help(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "--usage") ||
		    !strcmp(argv[i], "-?") || !strcmp(argv[i], "--version") ||
		    !strcmp(argv[i], "-V"))
			return true;
	return false;
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = options, .parser = parse_key,
		.doc = "Watch all dm-remap devices: move blocks before they fail, read surfaces, "
		       "keep the copies of the metadata whole, and tell of what happens.",
	};
	struct env env = {
		.agent = {
			.state_folder = STATE_FOLDER, .pin_folder = REMAP_AGENT_PINS,
			.self = "/proc/self/exe",
		},
	};
	struct agent_share share = { .folder = REMAP_AGENT_RUN };
	struct agent *a = &env.agent;
	struct remap_err err;
	int fd, r, next = argc;

	if (argc > 1 && !strcmp(argv[1], "--helper"))
		return agent_helper(argc - 2, argv + 2);
	argp_err_exit_status = EXIT_USAGE;
	if (argp_parse(&argp, argc, argv, asks_for_help(argc, argv) ? 0 : ARGP_NO_ERRS, &next,
		       &env))
		return usage_error("%s: unknown option, or its value is missing",
				   argv[next > 1 ? next - 1 : 1]);
	a->dry_run = env.dry_run;
	a->to_journal = !env.to_stderr && stderr_is_journal();
	if (read_config(&env))
		return EXIT_PROBLEM;
	if (env.test)
		return EXIT_GOOD;
	if (geteuid()) {
		agent_say(a, LOG_ERR, NULL, NULL, NULL, "not permitted (run as root)");
		return EXIT_PROBLEM;
	}
	fd = agent_share_lock(share.folder, &err);
	if (fd < 0) {
		agent_say(a, LOG_ERR, NULL, NULL, NULL, "%s", err.text);
		return EXIT_PROBLEM;
	}
	if (mkdir(a->state_folder, 0700) && errno != EEXIST) {
		agent_say(a, LOG_ERR, NULL, NULL, NULL, "%s: %s (--state names another folder)",
			  a->state_folder, strerror(errno));
		return EXIT_PROBLEM;
	}
	a->share = &share;
	snprintf(a->pid, sizeof(a->pid), "%d", (int)getpid());
	r = run(&env);
	a->share = NULL;
	agent_share_end(&share);
	close(fd);
	return r;
}
