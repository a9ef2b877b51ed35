// SPDX-License-Identifier: GPL-2.0-only
/*
 * Processes of their own, see child.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "child.h"

#define LINE	512

extern char **environ;

struct agent_child {
	pid_t pid;
	int pidfd, out;		/* -1: none */
	sd_event_source *on_end, *on_output, *on_time;
	struct agent_child_spec spec;
	char line[LINE];
	size_t len;		/* of the line so far */
	char *output;
	size_t kept;
};

static void forget(struct agent_child *c)
{
	sd_event_source_disable_unref(c->on_end);
	sd_event_source_disable_unref(c->on_output);
	sd_event_source_disable_unref(c->on_time);
	if (c->pidfd >= 0)
		close(c->pidfd);
	if (c->out >= 0)
		close(c->out);
	free(c->output);
	free(c);
}

/* What it has said. Return: bytes; 0 when there will be no more, or -errno, as of none now */
static ssize_t take_output(struct agent_child *c)
{
	char buf[4096];
	ssize_t n = read(c->out, buf, sizeof(buf));

	if (n < 0)
		return -errno;
	for (ssize_t i = 0; i < n; i++) {
		if (c->kept < c->spec.keep)
			c->output[c->kept++] = buf[i];
		if (buf[i] != '\n') {
			if (c->len < LINE - 1)
				c->line[c->len++] = buf[i];
			continue;
		}
		c->line[c->len] = 0;
		c->len = 0;
		if (c->spec.says)
			c->spec.says(c->spec.arg, c->line);
	}
	return n;
}

static int on_output(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct agent_child *c = arg;

	(void)fd;
	(void)events;
	if (take_output(c) == 0)
		sd_event_source_set_enabled(s, SD_EVENT_OFF);
	return 0;
}

static int on_end(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct agent_child *c = arg;
	struct agent_child_spec spec = c->spec;
	char *output;
	siginfo_t info = { 0 };
	int status;

	(void)s;
	(void)fd;
	(void)events;
	if (waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG))
		status = CHILD_LOST;	/* it has ended, or we were not called */
	else if (!info.si_pid)
		return 0;
	else
		status = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
	/* what is in the pipe; a process that it left behind may hold that open, and say on */
	for (int i = 0; c->out >= 0 && i < 1024 && take_output(c) > 0; i++)
		;
	if (c->output)
		c->output[c->kept] = 0;
	output = c->output;
	c->output = NULL;
	forget(c);
	if (spec.ended)
		spec.ended(spec.arg, status, output ? output : "");
	free(output);
	return 0;
}

void agent_child_kill(const struct agent_child *c)
{
	kill(c->spec.group ? -c->pid : c->pid, SIGKILL);
}

static int on_time(sd_event_source *s, uint64_t usec, void *arg)
{
	(void)s;
	(void)usec;
	agent_child_kill(arg);
	return 0;
}

static int spawn(struct agent_child *c, int out, struct remap_err *err)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, usual;
	int r;

	sigemptyset(&none);
	sigemptyset(&usual);
	sigaddset(&usual, SIGPIPE);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	if (out >= 0)
		posix_spawn_file_actions_adddup2(&actions, out, 1);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &usual);
	/* of its own: pgroup is 0 unless it is set */
	posix_spawnattr_setflags(&attr, (short)(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
						(c->spec.group ? POSIX_SPAWN_SETPGROUP : 0)));
	r = posix_spawnp(&c->pid, c->spec.argv[0], &actions, &attr, c->spec.argv,
			 c->spec.env ? c->spec.env : environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	return r ? remap_fail_errno(err, -r, "cannot run %s", c->spec.argv[0]) : 0;
}

int agent_child_run(sd_event *loop, const struct agent_child_spec *spec,
		    struct agent_child **result, struct remap_err *err)
{
	struct agent_child *c = calloc(1, sizeof(*c));
	int out[2] = { -1, -1 }, r = 0;

	if (!c)
		return remap_fail_errno(err, -ENOMEM, "cannot run %s", spec->argv[0]);
	c->spec = *spec;
	c->pidfd = c->out = -1;
	if (spec->keep) {
		c->output = malloc(spec->keep + 1);
		if (!c->output)
			r = remap_fail_errno(err, -ENOMEM, "cannot run %s", spec->argv[0]);
	}
	if (!r && (spec->keep || spec->says)) {
		if (pipe2(out, O_CLOEXEC))
			r = remap_fail_errno(err, -errno, "cannot make a pipe");
		c->out = out[0];
	}
	r = r ?: spawn(c, out[1], err);
	if (out[1] >= 0)
		close(out[1]);
	if (r) {
		forget(c);
		return r;
	}
	c->pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
	if (c->pidfd < 0)
		r = -errno;
	if (!r && c->out >= 0 && fcntl(c->out, F_SETFL, O_NONBLOCK))
		r = -errno;
	if (!r && c->out >= 0)
		r = sd_event_add_io(loop, &c->on_output, c->out, EPOLLIN, on_output, c);
	if (r >= 0)
		r = sd_event_add_io(loop, &c->on_end, c->pidfd, EPOLLIN, on_end, c);
	if (r >= 0 && spec->seconds)
		r = sd_event_add_time_relative(loop, &c->on_time, CLOCK_MONOTONIC,
					       spec->seconds * 1000000ULL, 0, on_time, c);
	if (r < 0) {
		kill(c->pid, SIGKILL);
		waitpid(c->pid, NULL, 0);
		forget(c);
		return remap_fail_errno(err, r, "cannot wait for %s", spec->argv[0]);
	}
	*result = c;
	return 0;
}

void agent_child_let_go(struct agent_child *c)
{
	c->spec.says = NULL;
	c->spec.ended = NULL;
}

void agent_child_give_up(struct agent_child *c)
{
	if (!c)
		return;
	agent_child_kill(c);
	agent_child_let_go(c);
}
