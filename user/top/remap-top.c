// SPDX-License-Identifier: GPL-2.0-only
/*
 * remap-top: the health of the disks under remap devices, at a glance. See top.h for its parts.
 */
#include <argp.h>
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "text.h"
#include "top.h"

#ifndef DM_REMAP_VERSION
#define DM_REMAP_VERSION "unknown"
#endif

#define INTERVAL_MIN	0.1		/* s */
#define INTERVAL_MAX	3600.0

enum { EXIT_GOOD, EXIT_PROBLEM, EXIT_USAGE };

const char *argp_program_version = "remap-top " DM_REMAP_VERSION;

enum mode { MODE_SCREEN, MODE_ONCE, MODE_BATCH };

struct env {
	enum mode mode;
	bool json;
	uint64_t count;			/* of intervals; 0: for ever */
	struct top_look look;
};

enum { KEY_ONCE = 256, KEY_JSON, KEY_ASCII, KEY_NO_COLOR };

static const struct argp_option options[] = {
	{ "interval", 'd', "SECONDS", 0, "Refresh so often (1)", 0 },
	{ "once", KEY_ONCE, NULL, 0, "Print one interval, as text, and end", 0 },
	{ "batch", 'b', NULL, 0, "Print each interval as text", 0 },
	{ "json", KEY_JSON, NULL, 0, "Print each interval as JSON, one object on a line; with "
	  "--once the only one", 0 },
	{ "count", 'n', "COUNT", 0, "End after so many intervals", 0 },
	{ "ascii", KEY_ASCII, NULL, 0, "Draw with plain ASCII only", 0 },
	{ "no-color", KEY_NO_COLOR, NULL, 0, "No colours, as with NO_COLOR in the environment",
	  0 },
	{ 0 },
};

static int usage_error(const char *fmt, const char *what)
{
	fputs("remap-top: ", stderr);
	fprintf(stderr, fmt, what);
	fputs(" (see remap-top --help)\n", stderr);
	return EXIT_USAGE;
}

static int problem(const char *text)
{
	fprintf(stderr, "remap-top: %s\n", text);
	return EXIT_PROBLEM;
}

static void parse_interval(struct env *env, const char *value)
{
	char *end;
	double s = strtod(value, &end);

	if (end == value || *end || !(s >= INTERVAL_MIN && s <= INTERVAL_MAX))
		exit(usage_error("--interval %s: not a number of seconds from 0.1 to 3600",
				 value));
	env->look.interval_ms = (unsigned int)(s * 1000 + 0.5);
}

static error_t parse_key(int key, char *value, struct argp_state *state)
{
	struct env *env = state->input;

	switch (key) {
	case 'd':
		parse_interval(env, value);
		break;
	case 'n':
		if (!remap_parse_u64(value, &env->count) || !env->count)
			exit(usage_error("--count %s: not a number above 0", value));
		break;
	case 'b':
		env->mode = MODE_BATCH;
		break;
	case KEY_ONCE:
		env->mode = MODE_ONCE;
		break;
	case KEY_JSON:
		env->json = true;
		break;
	case KEY_ASCII:
		env->look.ascii = true;
		break;
	case KEY_NO_COLOR:
		env->look.color = false;
		break;
	case ARGP_KEY_ARG:
		exit(usage_error("%s: takes no arguments", value));
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
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

/* By a clock that is not late the more often it is asked: @next is when the last one should end. */
static void wait_until(struct timespec *next, unsigned int ms)
{
	next->tv_sec += ms / 1000;
	next->tv_nsec += (long)(ms % 1000) * 1000000;
	if (next->tv_nsec >= 1000000000) {
		next->tv_nsec -= 1000000000;
		next->tv_sec++;
	}
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, next, NULL) == EINTR)
		;
}

/* What does not get out must not look like success. */
static bool written(void)
{
	return !fflush(stdout) && !ferror(stdout);
}

/*
 * What asks the program to end waits for as long as a report is on its way into a file, so that no
 * half of one is left there. Not so with a pipe, whose reader may be what does not go on.
 */
static void enders(int how)
{
	struct stat st;
	sigset_t mask;

	if (fstat(STDOUT_FILENO, &st) || !S_ISREG(st.st_mode))
		return;
	sigemptyset(&mask);
	sigaddset(&mask, SIGHUP);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGTERM);
	sigprocmask(how, &mask, NULL);
}

static int report(struct top_model *m, const struct env *env)
{
	enum top_remaps remaps = env->json ? TOP_REMAPS_ALL : TOP_REMAPS_NONE;
	uint64_t count = env->mode == MODE_ONCE ? 1 : env->count;
	struct timespec next;
	bool good;

	top_collect(m, TOP_REMAPS_NONE, NULL);
	clock_gettime(CLOCK_MONOTONIC, &next);
	for (uint64_t i = 0; !count || i < count; i++) {
		size_t events = m->new_events;

		wait_until(&next, env->look.interval_ms);
		top_collect(m, remaps, NULL);
		/* what was before belongs to the first */
		if (!i)
			m->new_events += events;
		enders(SIG_BLOCK);
		if (env->json)
			top_report_json(m);
		else
			top_report_text(m, !i);
		good = written();
		enders(SIG_UNBLOCK);
		if (!good)
			return EXIT_PROBLEM;	/* check_output() says it */
	}
	return EXIT_GOOD;
}

/* argp, too, ends the program after its help. */
static void check_output(void)
{
	if (!written())
		_exit(problem("cannot write the output"));
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = options, .parser = parse_key,
		.doc = "Show the health of the disks under dm-remap devices: what is wrong, where, "
		       "and whether it is getting worse.",
	};
	const char *no_color = getenv("NO_COLOR");
	struct env env = { .look = { .interval_ms = 1000, .color = !no_color || !*no_color } };
	struct top_model model = { .n = 0 };
	struct remap_err err;
	int next = argc, r;

	setlocale(LC_CTYPE, "");
	if (atexit(check_output))
		return problem("out of memory");
	argp_err_exit_status = EXIT_USAGE;
	if (argp_parse(&argp, argc, argv, asks_for_help(argc, argv) ? 0 : ARGP_NO_ERRS, &next,
		       &env))
		return usage_error("%s: unknown option, or its value is missing",
				   argv[next > 1 ? next - 1 : 1]);
	if (env.json && env.mode == MODE_SCREEN)
		env.mode = MODE_BATCH;
	if (env.count && env.mode != MODE_BATCH)
		return usage_error("--count: goes with %s", "--batch or --json");
	if (geteuid())
		return problem("not permitted (run as root)");
	if (env.mode == MODE_SCREEN) {
		r = top_screen(&model, &env.look, &err) ? problem(err.text) : EXIT_GOOD;
	} else {
		r = report(&model, &env);
	}
	top_model_free(&model);
	return r;
}
