// SPDX-License-Identifier: GPL-2.0-only
/*
 * What processes of their own do for the agent, see helper.h. A device is open only while a read
 * is under way: else nobody could stop it, or take it away, as long as it is being read.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/ioprio.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>
#include "device.h"
#include "dm.h"
#include "helper.h"
#include "spare.h"
#include "state.h"
#include "text.h"

#define LOOKS		3	/* at replicas: a commit may be under way */
#define SECOND		1000000000ULL

static int failed(const struct remap_err *err)
{
	printf("error %s\n", err->text);
	return HELPER_FAILED;
}

/* Cut off the last ":NUMBER" */
static bool cut_number(char *text, unsigned int *n)
{
	char *colon = strrchr(text, ':');
	uint64_t value;

	if (!colon || !remap_parse_u64(colon + 1, &value))
		return false;
	*n = (unsigned int)value;
	*colon = 0;
	return true;
}

/* "NAME:MAJOR:MINOR", which becomes NAME */
static bool split(char *text, dev_t *rdev)
{
	unsigned int ma, mi;

	if (!cut_number(text, &mi) || !cut_number(text, &ma))
		return false;
	*rdev = makedev(ma, mi);
	return true;
}

/* ---- read ---- */

static u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * 1000000000 + (u64)ts.tv_nsec;
}

static void sleep_until(u64 ns)
{
	struct timespec ts = {
		.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000),
	};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		;
}

struct scan {
	const char *node;
	dev_t rdev;
	void *buf;
	u64 begin;			/* of the target in the device; sectors, as are these */
	u64 block, unreadable, first;
};

/* Return: 0; 1 if it could not be read; -errno if that is not for the medium's sake */
static int read_once(struct scan *s, u64 sector, u64 count)
{
	int fd = open(s->node, O_RDONLY | O_DIRECT | O_CLOEXEC), r = 0;
	struct stat sb;
	ssize_t n;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &sb) || !S_ISBLK(sb.st_mode) || sb.st_rdev != s->rdev) {
		close(fd);
		return -ESTALE;
	}
	do
		n = pread(fd, s->buf, count << 9, (off_t)((s->begin + sector) << 9));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		r = agent_read_failed(errno);
	else if ((u64)n < count << 9)
		r = 1;
	close(fd);
	return r;
}

/* A chunk; where that fails its blocks. Return: 0 or -errno */
static int read_chunk(struct scan *s, u64 sector, u64 count)
{
	int r = read_once(s, sector, count);

	if (r <= 0)
		return r;
	for (u64 at = sector; at < sector + count; at += s->block) {
		u64 n = sector + count - at < s->block ? sector + count - at : s->block;

		r = count > s->block ? read_once(s, at, n) : 1;
		if (r < 0)
			return r;
		if (!r)
			continue;
		if (!s->unreadable)
			s->first = at;
		s->unreadable += n;
	}
	return 0;
}

static void say_unreadable(const struct scan *s)
{
	if (s->unreadable)
		printf("unreadable %" PRIu64 " %" PRIu64 "\n", s->first, s->unreadable);
}

static int do_read(struct scan *s, u64 first, u64 count, u64 chunk, u64 rate)
{
	u64 due = now_ns(), said = due, end = first + count;
	int r;

	for (u64 at = first; at < end; ) {
		/* chunks end where chunks do, so that they are aligned from the second on */
		u64 n = chunk - at % chunk;

		if (n > end - at)
			n = end - at;
		r = read_chunk(s, at, n);
		if (r < 0) {
			printf("error %s: %s\n", s->node, strerror(-r));
			return HELPER_FAILED;
		}
		at += n;
		if (now_ns() - said > SECOND || at == end) {
			say_unreadable(s);
			printf("at %" PRIu64 "\n", at);
			fflush(stdout);
			said = now_ns();
		}
		due = agent_read_due(due, now_ns(), n << 9, rate);
		sleep_until(due);
	}
	return s->unreadable ? HELPER_BAD : HELPER_GOOD;
}

/* To all who want the disk, or the processor. */
static void give_way(void)
{
	if (syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0,
		    IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0)))
		printf("error no idle priority: %s\n", strerror(errno));
	if (nice(19) < 0)
		errno = 0;
}

static int cmd_read(char **argv)
{
	struct scan s = { .node = argv[0] };
	u64 first, count, chunk, rate;
	int r;

	if (!split(argv[0], &s.rdev) || !remap_parse_u64(argv[1], &first) ||
	    !remap_parse_u64(argv[2], &count) || !remap_parse_u64(argv[3], &chunk) ||
	    !remap_parse_u64(argv[4], &s.block) || !remap_parse_u64(argv[5], &rate) ||
	    !remap_parse_u64(argv[7], &s.begin) || !chunk || chunk > 1 << 15 || !s.block ||
	    s.block > chunk || !rate)
		return HELPER_FAILED;
	if (!strcmp(argv[6], "idle"))
		give_way();
	r = posix_memalign(&s.buf, 4096, chunk << 9);
	if (r) {
		printf("error %s\n", strerror(r));
		return HELPER_FAILED;
	}
	r = do_read(&s, first, count, chunk, rate);
	free(s.buf);
	return r;
}

/* ---- check ---- */

static int say_states(const enum remap_replica_state state[REMAP_ZONES])
{
	bool whole = true;

	for (unsigned int i = 0; i < REMAP_ZONES; i++) {
		printf("replica %u %s\n", i, remap_replica_state_name(state[i]));
		whole &= state[i] == REMAP_REPLICA_OK;
	}
	return whole ? HELPER_GOOD : HELPER_BAD;
}

/* By reading the spare, around all caches. Return: 0 or an error */
static int look(const char *node, dev_t rdev, const char *uuid, struct remap_verdict *v,
		struct remap_err *err)
{
	char text[REMAP_UUID_STR];
	struct remap_store st;
	struct remap_spare sp;
	int r = remap_store_open(&st, node, false, err);

	if (r)
		return r;
	if (st.rdev != rdev)
		r = remap_fail(err, -ESTALE, "%s: has become another device", node);
	r = r ?: remap_spare_find(&st, false, &sp, err);
	if (!r) {
		remap_uuid_str(sp.super.uuid, text);
		if (strcmp(text, uuid))
			r = remap_fail(err, -ESTALE, "%s: spare %s is on it, not %s", node, text,
				       uuid);
	}
	r = r ?: remap_spare_verify(&st, &sp, v, err);
	remap_store_close(&st);
	return r;
}

/* The target of that name, if it still is that device. */
static int same_target(const char *name, dev_t rdev, struct remap_target *t, struct remap_err *err)
{
	int r = remap_dm_get(name, t, err);

	if (!r && t->rdev != rdev)
		r = remap_fail(err, -ESTALE, "%s: has become another device", name);
	return r;
}

static int cmd_check(char **argv)
{
	enum remap_replica_state state[REMAP_ZONES];
	struct remap_verdict v;
	struct remap_target t;
	struct remap_err err;
	dev_t rdev, spare;

	if (!split(argv[0], &rdev))
		return HELPER_FAILED;
	if (strcmp(argv[1], "-") && split(argv[1], &spare)) {
		for (int i = 0; i < LOOKS; i++) {
			if (i)
				usleep(200000);
			if (look(argv[1], spare, argv[2], &v, &err))
				break;
			if (v.ok || i == LOOKS - 1)
				return say_states(v.state);
		}
	}
	/* it cannot be found that way, but the target knows where it is */
	if (same_target(argv[0], rdev, &t, &err) || remap_dm_verify(argv[0], state, &err))
		return failed(&err);
	return say_states(state);
}

/* ---- move, repair ---- */

/* What came of a message. What the target itself says no to is known; all else is not. */
static int asked(int r, const struct remap_err *err)
{
	if (!r)
		return HELPER_GOOD;
	failed(err);
	return r == -EIO || r == -EROFS || r == -ENOSPC ? HELPER_BAD : HELPER_FAILED;
}

static int cmd_move(char **argv)
{
	struct remap_target t;
	struct remap_err err;
	u64 first, count;
	dev_t rdev;

	if (!split(argv[0], &rdev) || !remap_parse_u64(argv[1], &first) ||
	    !remap_parse_u64(argv[2], &count))
		return HELPER_FAILED;
	if (same_target(argv[0], rdev, &t, &err))
		return failed(&err);
	return asked(remap_dm_message(argv[0], NULL, &err, "remap %" PRIu64 " %" PRIu64, first,
				      count), &err);
}

static int cmd_repair(char **argv)
{
	struct remap_target t;
	struct remap_err err;
	dev_t rdev;

	if (!split(argv[0], &rdev))
		return HELPER_FAILED;
	if (same_target(argv[0], rdev, &t, &err))
		return failed(&err);
	return asked(remap_dm_message(argv[0], NULL, &err, "repair"), &err);
}

static int cmd_save(char **argv)
{
	struct remap_err err;

	return agent_state_save(argv[0], argv[1], argv[2], &err) ? failed(&err) : HELPER_GOOD;
}

static int cmd_load(char **argv)
{
	struct remap_err err;
	_cleanup_free_ char *text = NULL;

	if (agent_state_read(argv[0], argv[1], &text, &err))
		return failed(&err);
	if (text)
		fputs(text, stdout);
	return HELPER_GOOD;
}

int agent_helper(int argc, char **argv)
{
	static const struct {
		const char *name;
		int args;
		int (*run)(char **argv);
	} commands[] = {
		{ "read", 8, cmd_read }, { "check", 3, cmd_check }, { "move", 3, cmd_move },
		{ "repair", 1, cmd_repair }, { "save", 3, cmd_save },
		{ "load", 2, cmd_load },
	};
	u64 agent;

	if (!argc || !remap_parse_u64(argv[0], &agent))
		return HELPER_FAILED;
	argc--;
	argv++;
	prctl(PR_SET_NAME, "remap-agent");	/* rather than "exe" */
	/* without the agent nobody wants it, and the next one would begin it once more */
	if (argc && strcmp(argv[0], "save")) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* which does not come any more if it was dead by then */
		if ((u64)getppid() != agent)
			return HELPER_FAILED;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (argc && !strcmp(argv[0], commands[i].name) && argc - 1 == commands[i].args)
			return commands[i].run(argv + 1);
	return HELPER_FAILED;
}
