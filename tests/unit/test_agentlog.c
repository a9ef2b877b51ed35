// SPDX-License-Identifier: GPL-2.0-only
/*
 * What remap-agent leaves for other programs, from its writer to their reader: whole, torn, full,
 * by somebody else; and the lock by which they know that it runs.
 */
#include "unit.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../../user/agent/share.h"

static char folder[] = "/tmp/test_agentlog.XXXXXX";
static struct agent_share share;
static struct remap_agent_event got[2000];
static size_t n_got;

static const char *file(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static int begin(void **state)
{
	(void)state;
	strcpy(folder + strlen(folder) - 6, "XXXXXX");
	share = (struct agent_share){ .folder = folder };
	return mkdtemp(folder) ? 0 : -1;
}

static int end(void **state)
{
	static const char *const names[] = { "events", "events.1", "status.json", "lock" };

	(void)state;
	agent_share_end(&share);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unlink(file(names[i]));
	return rmdir(folder);
}

static void write_file(const char *name, const char *text, const char *mode)
{
	FILE *f = fopen(file(name), mode);

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int keep(void *arg, const struct remap_agent_event *e)
{
	(void)arg;
	assert_true(n_got < ARRAY_SIZE(got));
	got[n_got++] = *e;
	return 0;
}

static int read_events(void)
{
	struct remap_err err;

	n_got = 0;
	return remap_agent_events(folder, keep, NULL, &err);
}

static struct remap_agent_event event(u64 number)
{
	struct remap_agent_event e = {
		.time_ms = 1700000000000 + number, .priority = 4, .name = "safe",
		.uuid = "1a70fa1b", .what = "move", .result = "failed", .has_sectors = true,
		.sector = 1ULL << 45, .sectors = 8,
	};

	snprintf(e.text, sizeof(e.text), "number %llu: \"quoted\\\", größer / smaller",
		 (unsigned long long)number);
	return e;
}

static void add(u64 number)
{
	struct remap_agent_event e = event(number);

	assert_int_equal(agent_share_event(&share, &e, NULL), 0);
}

static void assert_event(size_t i, u64 number)
{
	struct remap_agent_event e = event(number);

	assert_int_equal(got[i].time_ms, e.time_ms);
	assert_int_equal(got[i].priority, e.priority);
	assert_string_equal(got[i].name, e.name);
	assert_string_equal(got[i].uuid, e.uuid);
	assert_string_equal(got[i].what, e.what);
	assert_string_equal(got[i].result, e.result);
	assert_true(got[i].has_sectors);
	assert_int_equal(got[i].sector, e.sector);
	assert_int_equal(got[i].sectors, e.sectors);
	assert_string_equal(got[i].text, e.text);
}

static void events_are_read_as_they_were_written(void **state)
{
	struct remap_agent_event bare = { .time_ms = 5, .priority = 3, .text = "a\nb\x1b[2J" };
	struct stat sb;

	(void)state;
	assert_int_equal(read_events(), -ENOENT);
	umask(0077);
	add(1);
	assert_int_equal(agent_share_event(&share, &bare, NULL), 0);
	umask(0022);
	add(3);
	assert_int_equal(read_events(), 0);
	assert_int_equal(n_got, 3);
	assert_event(0, 1);
	assert_event(2, 3);
	/* one line, and nothing that a terminal would obey */
	assert_string_equal(got[1].text, "a?b?[2J");
	assert_string_equal(got[1].name, "");
	assert_string_equal(got[1].what, "");
	assert_false(got[1].has_sectors);
	assert_int_equal(stat(file("events"), &sb), 0);
	assert_int_equal(sb.st_mode & 0777, 0644);
}

static void a_torn_line_costs_no_other(void **state)
{
	(void)state;
	add(1);
	agent_share_end(&share);
	write_file("events", "{\"version\":1,\"time_ms\":17,\"te", "a");
	assert_int_equal(read_events(), 0);
	assert_int_equal(n_got, 1);
	/* an agent that starts again does not go on in the middle of that */
	add(2);
	assert_int_equal(read_events(), 0);
	assert_int_equal(n_got, 2);
	assert_event(0, 1);
	assert_event(1, 2);
}

static void lines_that_make_no_sense_are_passed_over(void **state)
{
	static const char *const lines[] = {
		"", "nonsense", "{}", "[]", "null", "{\"version\":2,\"time_ms\":1}",
		"{\"version\":\"1\",\"time_ms\":1}", "{\"version\":1}",
		"{\"version\":1,\"time_ms\":-5}", "{\"version\":1,\"time_ms\":\"x\"}",
		"\xff\xfe", "{\"version\":1,\"time_ms\":1",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		write_file("events", lines[i], "a");
		write_file("events", "\n", "a");
	}
	/* of what does make sense the rest is taken */
	write_file("events", "{\"version\":1,\"time_ms\":9,\"priority\":99,\"name\":[1],\"what\":"
		   "\"much longer than any that there is\",\"sector\":1.5,\"sectors\":8,"
		   "\"text\":null,\"new\":{}}\n", "a");
	add(1);
	assert_int_equal(read_events(), 0);
	assert_int_equal(n_got, 2);
	assert_int_equal(got[0].time_ms, 9);
	assert_int_equal(got[0].priority, 6);
	assert_string_equal(got[0].name, "");
	assert_int_equal(strlen(got[0].what), sizeof(got[0].what) - 1);
	assert_false(got[0].has_sectors);
	assert_event(1, 1);
}

static void what_is_kept_is_bounded_and_the_newest(void **state)
{
	struct stat sb;
	u64 n = 3000;

	(void)state;
	for (u64 i = 0; i < n; i++)
		add(i);
	assert_int_equal(stat(file("events"), &sb), 0);
	assert_true(sb.st_size <= AGENT_EVENTS_BYTES);
	assert_int_equal(stat(file("events.1"), &sb), 0);
	assert_in_range(sb.st_size, AGENT_EVENTS_BYTES - 300, AGENT_EVENTS_BYTES);
	assert_int_equal(read_events(), 0);
	assert_in_range(n_got, AGENT_EVENTS_BYTES / 300, n - 1);
	for (size_t i = 0; i < n_got; i++)
		assert_event(i, n - n_got + i);
	/* the newer file may be missing for a moment, and a new agent counts what is there */
	agent_share_end(&share);
	assert_int_equal(rename(file("events"), file("events.1")), 0);
	assert_int_equal(read_events(), 0);
	assert_event(n_got - 1, n - 1);
	add(n);
	assert_int_equal(read_events(), 0);
	assert_event(n_got - 1, n);
}

static int stop(void *arg, const struct remap_agent_event *e)
{
	(void)arg;
	(void)e;
	return 17;
}

static void only_what_is_new_is_read_again(void **state)
{
	struct remap_agent_cursor c = { .at = 0 };
	struct remap_err err;
	u64 n = 0, seen = 0;

	(void)state;
	for (int round = 0; round < 300; round++) {
		for (u64 i = 0; i < 11; i++)
			add(n++);
		n_got = 0;
		assert_int_equal(remap_agent_events_since(folder, &c, keep, NULL, &err), 0);
		assert_int_equal(n_got, 11);
		for (size_t i = 0; i < n_got; i++)
			assert_event(i, seen++);
	}
	/* in the midst of a line */
	write_file("events", "{\"version\":1,\"time_ms\":1,", "a");
	n_got = 0;
	assert_int_equal(remap_agent_events_since(folder, &c, keep, NULL, &err), 0);
	assert_int_equal(n_got, 0);
	write_file("events", "\"text\":\"late\"}\n", "a");
	assert_int_equal(remap_agent_events_since(folder, &c, keep, NULL, &err), 0);
	assert_int_equal(n_got, 1);
	assert_string_equal(got[0].text, "late");
	assert_int_equal(remap_agent_events(folder, stop, NULL, &err), 17);
}

static struct remap_agent_status two_targets(struct remap_agent_target t[2])
{
	struct remap_agent_status s = {
		.time = 1700000000, .telemetry = true, .n = 2, .target = t,
	};

	t[0] = (struct remap_agent_target){
		.name = "safe", .uuid = "1a70fa1b", .scrubbing = true, .scrub_at = 1ULL << 40,
		.scrub_began = 1699999000, .scrub_began_at = 8, .scrubbed = 1690000000,
		.replicas_known = true, .replica = { REMAP_REPLICA_OK, REMAP_REPLICA_STALE,
			REMAP_REPLICA_CORRUPT, REMAP_REPLICA_UNREADABLE, REMAP_REPLICA_OK },
		.checked = 1699999999, .moved_today = 17, .smart_known = true, .smart_bad = 5,
	};
	t[1] = (struct remap_agent_target){ .name = "t", .uuid = "t" };
	return s;
}

static void a_status_is_read_as_it_was_written(void **state)
{
	struct remap_agent_target t[2];
	struct remap_agent_status s = two_targets(t), r;
	struct remap_err err;
	struct stat before, after;

	(void)state;
	assert_int_equal(remap_agent_status(folder, &r, &err), -ENOENT);
	assert_int_equal(agent_share_status(&share, &s, &err), 0);
	assert_int_equal(remap_agent_status(folder, &r, &err), 0);
	assert_int_equal(r.time, s.time);
	assert_true(r.telemetry);
	assert_false(r.dry_run);
	assert_int_equal(r.n, 2);
	assert_memory_equal(&r.target[0], &t[0], sizeof(t[0]));
	assert_memory_equal(&r.target[1], &t[1], sizeof(t[1]));
	remap_agent_status_free(&r);
	/* a new one is a new file, and there is one only where there is something new */
	assert_int_equal(stat(file("status.json"), &before), 0);
	assert_int_equal(before.st_mode & 0777, 0644);
	s.time++;
	assert_int_equal(agent_share_status(&share, &s, &err), 0);
	assert_int_equal(stat(file("status.json"), &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	t[1].scrubbed++;
	assert_int_equal(agent_share_status(&share, &s, &err), 0);
	assert_int_equal(remap_agent_status(folder, &r, &err), 0);
	assert_int_equal(r.time, s.time);
	remap_agent_status_free(&r);
	share.folder = "/nowhere";
	t[1].scrubbed++;
	assert_int_equal(agent_share_status(&share, &s, &err), -ENOENT);
	assert_string_equal(err.text, "/nowhere/status.json: No such file or directory");
}

static void a_status_of_another_version_is_not_taken_for_ours(void **state)
{
	static const char *const files[] = {
		"", "{", "[]", "null", "{}", "{\"version\":2,\"targets\":[]}",
		"{\"version\":1}", "{\"version\":1,\"targets\":7}",
	};
	struct remap_agent_status s;
	struct remap_err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		write_file("status.json", files[i], "w");
		assert_int_equal(remap_agent_status(folder, &s, &err), -EPROTO);
		assert_int_equal(s.n, 0);
	}
	write_file("status.json", "{\"version\":1,\"targets\":[7,null,{\"name\":\"t\",\"replicas\":"
		   "[\"ok\",\"ok\",\"ok\",\"well\",\"ok\"],\"scrub_at\":-1}]}", "w");
	assert_int_equal(remap_agent_status(folder, &s, &err), 0);
	assert_int_equal(s.n, 3);
	assert_string_equal(s.target[2].name, "t");
	assert_false(s.target[2].replicas_known);
	remap_agent_status_free(&s);
}

static void who_asks_whether_an_agent_runs_is_in_nobodys_way(void **state)
{
	struct remap_err err;
	char said[128];
	int fd, other;

	(void)state;
	assert_false(remap_agent_alive(folder));
	fd = agent_share_lock(folder, &err);
	assert_true(fd >= 0);
	assert_true(remap_agent_alive(folder));
	other = agent_share_lock(folder, &err);
	assert_true(other < 0);
	snprintf(said, sizeof(said), "another remap-agent runs already, as process %d", getpid());
	assert_string_equal(err.text, said);
	close(fd);
	assert_false(remap_agent_alive(folder));
	/* somebody who looks has the file open, and an agent starts nevertheless */
	other = open(file("lock"), O_RDONLY);
	assert_false(remap_agent_alive(folder));
	fd = agent_share_lock(folder, &err);
	assert_true(fd >= 0);
	close(fd);
	close(other);
}

#define TEST(name)	cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(events_are_read_as_they_were_written),
		TEST(a_torn_line_costs_no_other),
		TEST(lines_that_make_no_sense_are_passed_over),
		TEST(what_is_kept_is_bounded_and_the_newest),
		TEST(only_what_is_new_is_read_again),
		TEST(a_status_is_read_as_it_was_written),
		TEST(a_status_of_another_version_is_not_taken_for_ours),
		TEST(who_asks_whether_an_agent_runs_is_in_nobodys_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
