// SPDX-License-Identifier: GPL-2.0-only
/*
 * What remap-agent reads: its configuration, what it wrote itself, what smartctl says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "../../user/agent/config.h"
#include "../../user/agent/helper.h"
#include "../../user/agent/smart.h"
#include "../../user/agent/state.h"

static char folder[] = "/tmp/test_agent.XXXXXX";
static char path[64];

static int begin(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/key.json", folder);
	return 0;
}

static int end(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(folder);
}

static void write_file(const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* ---- configuration ---- */

static char complaints[4096];

static void complain(void *arg, const char *text)
{
	size_t n = strlen(complaints);

	(void)arg;
	/* the line and what is wrong, without the file's name */
	assert_memory_equal(text, path, strlen(path));
	snprintf(complaints + n, sizeof(complaints) - n, "%s\n", text + strlen(path) + 1);
}

static void say(void *arg, const char *text)
{
	(void)arg;
	snprintf(complaints, sizeof(complaints), "%s\n", text);
}

static int read_settings(struct agent_settings *s, const char *text)
{
	*complaints = 0;
	write_file(text);
	return agent_settings_read(s, path, complain, NULL);
}

static void an_empty_configuration_is_the_default(void **state)
{
	struct agent_settings s, d;

	(void)state;
	agent_settings_default(&d);
	memset(&s, 0xff, sizeof(s));
	assert_int_equal(read_settings(&s, "# nothing\n; at all\n\n[move]\n"), 0);
	assert_int_equal(s.policy.strikes, d.policy.strikes);
	assert_int_equal(s.policy.window, 600);
	assert_int_equal(s.scrub_rate, d.scrub_rate);
	assert_string_equal(s.metrics_at, "127.0.0.1:9477");
	assert_string_equal(s.program, "");
}

static void each_setting_is_understood(void **state)
{
	struct agent_settings s;

	(void)state;
	assert_int_equal(read_settings(&s,
		"[agent]\ndry_run = yes\nmetrics = [::1]:80\nprogram = /bin/true ; a comment\n"
		"[move]\nstrikes = 5\nwindow = 1h\nper_day = 7\nslow = 1s\n"
		"[read]\nneighbourhood = 64K\nrate = 1G\n"
		"[scrub]\ninterval = 7d\n[check]\ninterval = 12 h\n[smart]\ninterval = 0\n"), 0);
	assert_string_equal(complaints, "");
	assert_true(s.policy.dry_run);
	assert_true(s.metrics);
	assert_int_equal(s.address.v6.sin6_family, AF_INET6);
	assert_int_equal(ntohs(s.address.v6.sin6_port), 80);
	assert_string_equal(s.program, "/bin/true");
	assert_int_equal(s.policy.strikes, 5);
	assert_int_equal(s.policy.window, 3600);
	assert_int_equal(s.policy.per_day, 7);
	assert_int_equal(s.slow_ns, 1000000000);
	assert_int_equal(s.policy.neighbourhood, 128);
	assert_int_equal(s.scrub_rate, 1 << 30);
	assert_int_equal(s.policy.scrub_interval, 7 * 86400);
	assert_int_equal(s.policy.check_interval, 12 * 3600);
	assert_int_equal(s.smart_interval, 0);
	assert_int_equal(read_settings(&s, "[agent]\nmetrics = none\n[read]\nneighbourhood = 0\n"),
			 0);
	assert_false(s.metrics);
	assert_int_equal(s.policy.neighbourhood, 0);
}

static void each_mistake_is_named_with_its_line_and_changes_nothing(void **state)
{
	static const struct {
		const char *text, *said;
	} cases[] = {
		{ "[move]\nstrike = 3\n", "2: strike: no such setting in [move]" },
		{ "[moves]\n\nstrikes = 3\n", "3: [moves]: no such section" },
		{ "strikes = 3\n", "1: strikes: is in no section" },
		{ "[move]\nstrikes 3\n", "2: strikes 3: not understood" },
		{ "[move\n", "1: a section's name ends with ]" },
		{ "[move]\nstrikes = three\n", "2: strikes = three: not a number" },
		{ "[move]\nstrikes = -1\n", "2: strikes = -1: not a number" },
		{ "[move]\nstrikes =\n", "2: strikes = : not a number" },
		{ "[move]\nstrikes = 99999999999999999999\n", "not a number" },
		{ "[move]\nstrikes = 9\n", "2: strikes = 9: must be from 1 to 8, or 0" },
		{ "[move]\nstrikes = 3\n\nstrikes = 4\n", "4: strikes was set in line 2 already" },
		{ "[move]\nstrikes = 3\n  per_day = x\n", "3: per_day = x: not a number" },
		{ "[move]\nwindow = 10\n", "2: window = 10: not a time, as in 30s" },
		{ "[move]\nwindow = 10m\n", "2: window = 10m: not a time" },
		{ "[move]\nwindow = 0\n", "2: window = 0: must be from 1s to 365d" },
		{ "[move]\nslow = 0.5s\n", "2: slow = 0.5s: not a time, as in 200ms" },
		{ "[read]\nrate = 1\n", "2: rate = 1: must be from 64K to 1024G" },
		{ "[read]\nrate = 18446744073709551615G\n", "not a size" },
		{ "[agent]\ndry_run = maybe\n", "2: dry_run = maybe: not yes or no" },
		{ "[agent]\nmetrics = host:80\n", "2: metrics = host:80: not an address" },
		{ "[agent]\nmetrics = 127.0.0.1:0\n", "not an address" },
		{ "[agent]\nmetrics = [::1:80\n", "not an address" },
		{ "[agent]\nprogram = bin/true\n", "2: program = bin/true: not the full path" },
	};
	struct agent_settings s, before;
	char long_line[1000];

	(void)state;
	agent_settings_default(&before);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		s = before;
		assert_int_equal(read_settings(&s, cases[i].text), -EINVAL);
		if (!strstr(complaints, cases[i].said))
			fail_msg("%s said: %s", cases[i].text, complaints);
		/* one line for one mistake */
		assert_ptr_equal(strchr(complaints, '\n'), complaints + strlen(complaints) - 1);
		assert_memory_equal(&s, &before, sizeof(s));
	}
	/* two mistakes, two lines; the second line is too long, the rest of it no third one */
	memset(long_line, 'x', sizeof(long_line));
	memcpy(long_line, "[move]\nper_day = ", 17);
	memcpy(long_line + 900, "\nslow = 1\n", 11);
	assert_int_equal(read_settings(&s, long_line), -EINVAL);
	assert_non_null(strstr(complaints, "2: the line is too long"));
	assert_non_null(strstr(complaints, "3: slow = 1: not a time"));
	assert_int_equal(agent_settings_read(&s, folder, say, NULL), -EIO);
	assert_non_null(strstr(complaints, "Is a directory"));
}

/* ---- state ---- */

static int load(const char *key, struct agent_state *s)
{
	struct remap_err err;
	char *text;
	int r = agent_state_read(folder, key, &text, &err);

	if (!r)
		r = text ? agent_state_parse(text, s) : -ENOENT;
	free(text);
	return r;
}

static void what_is_saved_is_what_is_loaded(void **state)
{
	struct agent_state s = {
		.memory = {
			.scrub_at = 1ULL << 40, .scrubbed_ago = 5000, .day_ago = 100,
			.moved_today = 17, .ranges = 2,
			.range = { { 8, 1ULL << 41 }, { 0, 8 } },
			.scrub_for = AGENT_SCRUB_SMART, .scrub_then = AGENT_SCRUB_MANY,
			.told = {
				.status = true, .state = REMAP_PAUSED, .lost = 7,
				.few_slots = true, .replicas = true, .budget = true,
			},
		},
		.smart = { .known = true, .count = { 5, 6, 7 } },
	}, t;
	char *text = agent_state_text(&s);
	struct remap_err err;

	(void)state;
	assert_int_equal(load("other", &t), -ENOENT);
	assert_int_equal(agent_state_save(folder, "key", text, &err), 0);
	free(text);
	assert_int_equal(load("key", &t), 0);
	/* seconds may have passed */
	assert_in_range(t.memory.scrubbed_ago, 5000, 5010);
	assert_in_range(t.memory.day_ago, 100, 110);
	t.memory.scrubbed_ago = 5000;
	t.memory.day_ago = 100;
	assert_memory_equal(&s.memory, &t.memory, sizeof(s.memory));
	assert_memory_equal(&s.smart, &t.smart, sizeof(s.smart));
	s.memory = AGENT_MEMORY_NONE;
	s.smart.known = false;
	text = agent_state_text(&s);
	assert_int_equal(agent_state_save(folder, "key", text, &err), 0);
	free(text);
	assert_int_equal(load("key", &t), 0);
	assert_true(t.memory.scrubbed_ago == UINT64_MAX);
	assert_false(t.smart.known);
	assert_false(t.memory.told.status);
	assert_int_equal(agent_state_save("/nowhere", "key", "{}", &err), -ENOENT);
	assert_non_null(strstr(err.text, "/nowhere/key.json.new"));
}

static void a_state_that_makes_no_sense_is_begun_anew(void **state)
{
	static const char *const files[] = {
		"", "{", "[]", "null", "{}", "{\"version\":2}", "{\"version\":\"1\"}", "\xff\xfe",
	};
	struct agent_state s;

	(void)state;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		write_file(files[i]);
		assert_int_equal(load("key", &s), -EINVAL);
		assert_true(s.memory.scrubbed_ago == UINT64_MAX);
		assert_int_equal(s.memory.ranges, 0);
	}
	/* of what does make sense the rest is taken; the clock was set back meanwhile */
	write_file("{\"version\":1,\"scrub_at\":-5,\"scrubbed\":9000000000000,\"day\":\"x\","
		   "\"moved_today\":3,\"to_read\":[1,[2],[3,4],[\"a\",{}],null]}");
	assert_int_equal(load("key", &s), 0);
	assert_int_equal(s.memory.scrub_at, 0);
	assert_int_equal(s.memory.scrubbed_ago, 0);
	assert_int_equal(s.memory.moved_today, 0);
	assert_int_equal(s.memory.ranges, 2);
	assert_int_equal(s.memory.range[0].first, 3);
	assert_int_equal(s.memory.range[0].end, 4);
	write_file("{\"version\":1,\"scrub_for\":7,\"scrub_then\":\"whim\",\"told\":{\"state\":"
		   "\"unwell\",\"lost\":3},\"smart\":{\"pending\":3}}");
	assert_int_equal(load("key", &s), 0);
	assert_int_equal(s.memory.scrub_for, AGENT_SCRUB_NONE);
	assert_int_equal(s.memory.scrub_then, AGENT_SCRUB_NONE);
	assert_false(s.memory.told.status);
	assert_false(s.smart.known);
}

/* Of the first agents, which had one sum of SMART's counts, and did not know what was told. */
static void a_state_of_earlier_agents_is_understood(void **state)
{
	struct agent_smart now = { .known = true, .count = { 4, 4, 4 } };
	struct agent_state s, t;
	char *text;

	(void)state;
	write_file("{\"version\":1,\"scrub_at\":4096,\"scrubbed\":1700000000,\"day\":1700000000,"
		   "\"moved_today\":3,\"to_read\":[[8,16]],\"smart_bad\":12}");
	assert_int_equal(load("key", &s), 0);
	assert_int_equal(s.memory.scrub_at, 4096);
	assert_int_equal(s.memory.ranges, 1);
	assert_false(s.memory.told.status);
	assert_false(agent_smart_rose(&s.smart, &now));
	now.count[1]++;
	assert_true(agent_smart_rose(&s.smart, &now));
	text = agent_state_text(&s);
	assert_int_equal(agent_state_parse(text, &t), 0);
	free(text);
	assert_memory_equal(&s.smart, &t.smart, sizeof(s.smart));
}

/* 'R' while it runs, and something else once it waits or has ended. */
static char state_of(pid_t pid)
{
	char name[40], c = 'R';
	FILE *f;

	snprintf(name, sizeof(name), "/proc/%d/stat", (int)pid);
	f = fopen(name, "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%*d %*s %c", &c), 1);
	fclose(f);
	return c;
}

/* One that was killed in the middle of it, and one that is not done yet. */
static void who_saves_the_same_waits_for_the_other(void **state)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct remap_err err;
	char new[80], said[8];
	struct stat sb;
	int fd, wait[2];
	pid_t pid;

	(void)state;
	snprintf(new, sizeof(new), "%s.new", path);
	fd = open(new, O_RDWR | O_CREAT, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "{\"version\":1,\"scrub_at\":1}", 26), 26);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
	assert_int_equal(pipe(wait), 0);
	pid = fork();
	if (!pid) {
		close(fd);
		_exit(agent_state_save(folder, "key", "{\"version\":1}", &err) ||
		      write(wait[1], "done", 4) != 4);
	}
	/* the other one ends first, and what it has written is not touched */
	assert_int_equal(fcntl(wait[0], F_SETFL, O_NONBLOCK), 0);
	while (state_of(pid) == 'R')
		sched_yield();
	assert_int_equal(read(wait[0], said, sizeof(said)), -1);
	assert_int_equal(rename(new, path), 0);
	assert_int_equal(fstat(fd, &sb), 0);
	assert_int_equal(sb.st_size, 26);
	close(fd);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(read(wait[0], said, sizeof(said)), 4);
	assert_int_equal(access(new, F_OK), -1);
	assert_int_equal(stat(path, &sb), 0);
	assert_int_equal(sb.st_size, 14);
	close(wait[0]);
	close(wait[1]);
}

/* ---- reading ---- */

static void what_was_missed_in_a_stall_is_not_made_up_for(void **state)
{
	const u64 second = 1000000000, rate = 1 << 20;
	u64 due = 100 * second, now = due;

	(void)state;
	/* a MiB a second; a piece that takes longer than it may is made up for by the next ones */
	for (int i = 0; i < 10; i++) {
		due = agent_read_due(due, now, 1 << 19, rate);
		now = due + (i % 2 ? 0 : second * 3 / 4);
	}
	assert_int_equal(due, 105 * second);
	/* the disk does not answer for a minute: as if it had begun then */
	now += 60 * second;
	due = agent_read_due(due, now, 1 << 19, rate);
	assert_int_equal(due, now);
	assert_int_equal(agent_read_due(due, now, 1 << 19, rate), now + second / 2);
}

/* As the target passes it up: BLK_STS_IOERR, MEDIUM (a lost sector, too), PROTECTION; the rest. */
static void a_link_that_fails_is_no_bad_sector(void **state)
{
	static const int others[] = {
		ENOLINK, ETIMEDOUT, EREMOTEIO, EBADE, ENOMEM, ENOSPC, EOPNOTSUPP, EAGAIN, ENXIO,
		ENODEV, EINVAL, EACCES,
	};

	(void)state;
	assert_int_equal(agent_read_failed(EIO), 1);
	assert_int_equal(agent_read_failed(ENODATA), 1);
	assert_int_equal(agent_read_failed(EILSEQ), 1);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_int_equal(agent_read_failed(others[i]), -others[i]);
}

/* ---- SMART ---- */

static void disks_count_bad_sectors_in_their_own_ways(void **state)
{
	struct agent_smart s;

	(void)state;
	assert_true(agent_smart_read(&s,
		"{\"ata_smart_attributes\":{\"table\":["
		"{\"id\":1,\"raw\":{\"value\":999}},{\"id\":5,\"raw\":{\"value\":3}},"
		"{\"id\":197,\"raw\":{\"value\":4294967300}},{\"id\":198,\"raw\":{}}]}}"));
	assert_int_equal(agent_smart_bad(&s), 7);
	assert_true(agent_smart_read(&s, "{\"scsi_grown_defect_list\":12}"));
	assert_int_equal(agent_smart_bad(&s), 12);
	assert_true(agent_smart_read(&s,
		"{\"nvme_smart_health_information_log\":{\"media_errors\":0}}"));
	assert_int_equal(agent_smart_bad(&s), 0);
	assert_false(agent_smart_read(&s, "{\"smartctl\":{\"exit_status\":2}}"));
	assert_false(agent_smart_read(&s, "{\"ata_smart_attributes\":{\"table\":7}}"));
	assert_false(agent_smart_read(&s, ""));
	assert_false(agent_smart_read(&s, "[]"));
}

static void a_bad_sector_is_seen_behind_one_that_was_reallocated(void **state)
{
	struct agent_smart none = { .known = false };
	struct agent_smart pending = { .known = true, .count = { 0, 2, 2 } };
	struct agent_smart later = { .known = true, .count = { 1, 1, 1 } };

	(void)state;
	assert_true(agent_smart_rose(&pending, &later));
	assert_false(agent_smart_rose(&later, &later));
	later.count[0] = 0;
	assert_false(agent_smart_rose(&pending, &later));
	assert_false(agent_smart_rose(&none, &later));
	assert_false(agent_smart_rose(&later, &none));
	assert_int_equal(agent_smart_bad(&pending), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_configuration_is_the_default),
		cmocka_unit_test(each_setting_is_understood),
		cmocka_unit_test(each_mistake_is_named_with_its_line_and_changes_nothing),
		cmocka_unit_test(what_is_saved_is_what_is_loaded),
		cmocka_unit_test(a_state_that_makes_no_sense_is_begun_anew),
		cmocka_unit_test(a_state_of_earlier_agents_is_understood),
		cmocka_unit_test(who_saves_the_same_waits_for_the_other),
		cmocka_unit_test(a_bad_sector_is_seen_behind_one_that_was_reallocated),
		cmocka_unit_test(what_was_missed_in_a_stall_is_not_made_up_for),
		cmocka_unit_test(a_link_that_fails_is_no_bad_sector),
		cmocka_unit_test(disks_count_bad_sectors_in_their_own_ways),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
