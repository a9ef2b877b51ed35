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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "../../user/agent/config.h"
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

static void what_is_saved_is_what_is_loaded(void **state)
{
	struct agent_state s = {
		.memory = {
			.scrub_at = 1ULL << 40, .scrubbed_ago = 5000, .day_ago = 100,
			.moved_today = 17, .ranges = 2,
			.range = { { 8, 1ULL << 41 }, { 0, 8 } },
		},
		.smart_known = true, .smart_bad = 12,
	}, t;
	char *text = agent_state_text(&s);
	struct remap_err err;

	(void)state;
	assert_int_equal(agent_state_load(folder, "other", &t, &err), -ENOENT);
	assert_int_equal(agent_state_save(folder, "key", text, &err), 0);
	free(text);
	assert_int_equal(agent_state_load(folder, "key", &t, &err), 0);
	/* seconds may have passed */
	assert_in_range(t.memory.scrubbed_ago, 5000, 5010);
	assert_in_range(t.memory.day_ago, 100, 110);
	t.memory.scrubbed_ago = 5000;
	t.memory.day_ago = 100;
	assert_memory_equal(&s.memory, &t.memory, sizeof(s.memory));
	assert_true(t.smart_known);
	assert_int_equal(t.smart_bad, 12);
	s.memory = AGENT_MEMORY_NONE;
	s.smart_known = false;
	text = agent_state_text(&s);
	assert_int_equal(agent_state_save(folder, "key", text, &err), 0);
	free(text);
	assert_int_equal(agent_state_load(folder, "key", &t, &err), 0);
	assert_true(t.memory.scrubbed_ago == UINT64_MAX);
	assert_false(t.smart_known);
	assert_int_equal(agent_state_save("/nowhere", "key", "{}", &err), -ENOENT);
	assert_non_null(strstr(err.text, "/nowhere/key.json.new"));
}

static void a_state_that_makes_no_sense_is_begun_anew(void **state)
{
	static const char *const files[] = {
		"", "{", "[]", "null", "{}", "{\"version\":2}", "{\"version\":\"1\"}", "\xff\xfe",
	};
	struct agent_state s;
	struct remap_err err;

	(void)state;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		write_file(files[i]);
		assert_int_equal(agent_state_load(folder, "key", &s, &err), -EINVAL);
		assert_non_null(strstr(err.text, "begun anew"));
		assert_true(s.memory.scrubbed_ago == UINT64_MAX);
		assert_int_equal(s.memory.ranges, 0);
	}
	/* of what does make sense the rest is taken; the clock was set back meanwhile */
	write_file("{\"version\":1,\"scrub_at\":-5,\"scrubbed\":9000000000000,\"day\":\"x\","
		   "\"moved_today\":3,\"to_read\":[1,[2],[3,4],[\"a\",{}],null]}");
	assert_int_equal(agent_state_load(folder, "key", &s, &err), 0);
	assert_int_equal(s.memory.scrub_at, 0);
	assert_int_equal(s.memory.scrubbed_ago, 0);
	assert_int_equal(s.memory.moved_today, 0);
	assert_int_equal(s.memory.ranges, 2);
	assert_int_equal(s.memory.range[0].first, 3);
	assert_int_equal(s.memory.range[0].end, 4);
}

/* ---- SMART ---- */

static void disks_count_bad_sectors_in_their_own_ways(void **state)
{
	u64 bad;

	(void)state;
	assert_true(agent_smart_bad(
		"{\"ata_smart_attributes\":{\"table\":["
		"{\"id\":1,\"raw\":{\"value\":999}},{\"id\":5,\"raw\":{\"value\":3}},"
		"{\"id\":197,\"raw\":{\"value\":4294967300}},{\"id\":198,\"raw\":{}}]}}", &bad));
	assert_int_equal(bad, 7);
	assert_true(agent_smart_bad("{\"scsi_grown_defect_list\":12}", &bad));
	assert_int_equal(bad, 12);
	assert_true(agent_smart_bad("{\"nvme_smart_health_information_log\":{\"media_errors\":0}}",
				    &bad));
	assert_int_equal(bad, 0);
	assert_false(agent_smart_bad("{\"smartctl\":{\"exit_status\":2}}", &bad));
	assert_false(agent_smart_bad("{\"ata_smart_attributes\":{\"table\":7}}", &bad));
	assert_false(agent_smart_bad("", &bad));
	assert_false(agent_smart_bad("[]", &bad));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_configuration_is_the_default),
		cmocka_unit_test(each_setting_is_understood),
		cmocka_unit_test(each_mistake_is_named_with_its_line_and_changes_nothing),
		cmocka_unit_test(what_is_saved_is_what_is_loaded),
		cmocka_unit_test(a_state_that_makes_no_sense_is_begun_anew),
		cmocka_unit_test(disks_count_bad_sectors_in_their_own_ways),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
