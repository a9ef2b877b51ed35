// SPDX-License-Identifier: GPL-2.0-only
/*
 * What remap-top makes of figures: what is wrong, what is worst, and whether it is getting worse.
 */
#include "unit.h"
#include <syslog.h>
#include "../../user/top/top.h"

static struct top_model model;
static struct top_device devices[3], *list[3];

/* Three devices that are well, named by letters. */
static int begin(void **state)
{
	(void)state;
	memset(&model, 0, sizeof(model));
	memset(devices, 0, sizeof(devices));
	for (int i = 0; i < 3; i++) {
		struct remap_target *t = &devices[i].dm;

		list[i] = &devices[i];
		snprintf(t->name, sizeof(t->name), "%c", 'a' + i);
		strcpy(devices[i].data, "/dev/sdb");
		strcpy(devices[i].spare, "/dev/sdc");
		t->sectors = 1 << 20;
		t->word[REMAP_ST_SLOTS_TOTAL] = 1000;
		t->word[REMAP_ST_REPLICAS_OK] = t->word[REMAP_ST_REPLICAS_TOTAL] = 5;
		devices[i].measured = true;
	}
	model.device = list;
	model.n = 3;
	model.ms = 1000000;
	model.time_ms = 1700000000000;
	return 0;
}

/* So many errors there had been, so many seconds ago; the oldest first. */
static void errors_were(struct top_device *d, u64 seconds, u64 errors)
{
	d->last_point = d->points++;
	d->point[d->last_point] = (struct top_point){
		.ms = model.ms - seconds * 1000, .errors = errors,
	};
}

static void nothing_is_wrong_with_devices_that_are_well(void **state)
{
	(void)state;
	top_judge(&model);
	assert_string_equal(model.headline, "all 3 devices are well");
	assert_int_equal(devices[0].health, TOP_GOOD);
	assert_int_equal(devices[0].verdict, TOP_CALM);
	model.n = 1;
	top_judge(&model);
	assert_string_equal(model.headline, "the device is well");
	model.n = 0;
	top_judge(&model);
	assert_non_null(strstr(model.headline, "no remap devices"));
	strcpy(model.said, "device-mapper: not permitted");
	top_judge(&model);
	assert_string_equal(model.headline, "device-mapper: not permitted");
}

static void the_headline_says_who_and_what(void **state)
{
	struct top_device *b = &devices[1];

	(void)state;
	b->dm.state = REMAP_PAUSED;
	b->dm.word[REMAP_ST_LOST_SECTORS] = 3;
	b->errors = 17;
	errors_were(b, 130, 1);
	errors_were(b, 70, 5);
	errors_were(b, 59, 8);
	top_judge(&model);
	assert_string_equal(model.headline, "1 of 3 devices needs attention: b: paused, "
			    "3 lost sectors, errors rising (12 in the last minute)");
	/* what is only to be watched is no reason to say more */
	devices[0].dm.word[REMAP_ST_SLOTS_BAD] = 1;
	devices[2].dm.state = REMAP_EXHAUSTED;
	top_judge(&model);
	assert_int_equal(model.bad, 2);
	assert_int_equal(model.watch, 1);
	assert_memory_equal(model.headline, "2 of 3 devices need attention: b: paused, ", 42);
	assert_non_null(strstr(model.headline, "; c: no free slot"));
	assert_null(strstr(model.headline, "a:"));
	memset(&devices[1], 0, sizeof(devices[1]));
	model.n = 1;
	top_judge(&model);
	assert_string_equal(model.headline, "1 of 1 device to be watched: a: 1 bad slot");
}

static void each_trouble_is_named_with_its_remedy(void **state)
{
	static const struct {
		enum remap_state state;
		enum remap_status_word word;
		u64 value;
		enum top_health health;
		const char *says;
	} cases[] = {
		{ REMAP_PAUSED, 0, 0, TOP_BAD, "then remapctl reset a)" },
		{ REMAP_EXHAUSTED, 0, 0, TOP_BAD, "remapctl grow a makes room" },
		{ REMAP_FAILED, 0, 0, TOP_BAD, "remapctl reset a)" },
		{ REMAP_READONLY, 0, 0, TOP_WATCH, "cannot be written" },
		{ REMAP_ACTIVE, REMAP_ST_LOST_SECTORS, 1, TOP_BAD, "1 lost sector: " },
		{ REMAP_ACTIVE, REMAP_ST_REPLICAS_OK, 4, TOP_BAD, "(remapctl repair a)" },
		{ REMAP_ACTIVE, REMAP_ST_STUCK, 2, TOP_BAD, "2 I/Os stuck" },
		{ REMAP_ACTIVE, REMAP_ST_SLOTS_USED, 900, TOP_BAD, "100 slots left of 1000" },
		{ REMAP_ACTIVE, REMAP_ST_SLOTS_USED, 899, TOP_GOOD, NULL },
		{ REMAP_ACTIVE, REMAP_ST_SLOTS_BAD, 2, TOP_WATCH, "/dev/sdc has bad blocks" },
		{ REMAP_ACTIVE, REMAP_ST_IO_ERRORS, 2, TOP_WATCH, "2 errors reached users" },
		{ REMAP_ACTIVE, REMAP_ST_RELOCATIONS, 50, TOP_GOOD, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		begin(state);
		devices[0].dm.state = cases[i].state;
		if (cases[i].word)
			devices[0].dm.word[cases[i].word] = cases[i].value;
		top_judge(&model);
		assert_int_equal(devices[0].health, cases[i].health);
		assert_int_equal(devices[0].problems, cases[i].says ? 1 : 0);
		if (cases[i].says && !strstr(devices[0].problem[0].more, cases[i].says))
			fail_msg("%s", devices[0].problem[0].more);
	}
}

static void what_the_agent_read_of_replicas_counts_too(void **state)
{
	(void)state;
	devices[0].agent_known = true;
	devices[0].agent.replicas_known = true;
	devices[0].agent.replica[3] = REMAP_REPLICA_CORRUPT;
	devices[0].agent.smart_known = true;
	top_judge(&model);
	assert_int_equal(devices[0].problems, 1);
	assert_string_equal(devices[0].problem[0].text, "1 of 5 replicas not whole");
	devices[0].agent.smart_bad = 9;
	top_judge(&model);
	assert_string_equal(devices[0].problem[0].text, "1 of 5 replicas not whole");
	assert_string_equal(devices[0].problem[1].text, "SMART: 9 bad sectors");
}

static void a_minute_is_held_against_the_one_before(void **state)
{
	static const struct {
		u64 then, recent;
		enum top_verdict verdict;
		const char *says;
	} cases[] = {
		{ 0, 0, TOP_CALM, "nothing new: no errors in 60 s; in the minute before: no errors" },
		{ 4, 0, TOP_EASING, "easing off: no errors in 60 s; in the minute before: 4 errors" },
		{ 4, 4, TOP_STEADY, "going on: 4 errors in 60 s; in the minute before: 4 errors" },
		{ 4, 3, TOP_EASING, "easing off: 3 errors" },
		{ 4, 5, TOP_WORSE, "getting worse: 5 errors in 60 s; in the minute before: 4 errors" },
	};
	char text[320];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		begin(state);
		errors_were(&devices[0], 120, 7);
		errors_were(&devices[0], 60, 7 + cases[i].then);
		devices[0].errors = 7 + cases[i].then + cases[i].recent;
		top_judge(&model);
		assert_int_equal(devices[0].verdict, cases[i].verdict);
		top_trend_text(&devices[0], text, sizeof(text));
		if (strncmp(text, cases[i].says, strlen(cases[i].says)))
			fail_msg("%s", text);
	}
}

static void warning(u64 seconds, const char *name, int priority)
{
	struct remap_agent_event *e = &model.event[model.events++ % TOP_EVENTS];

	*e = (struct remap_agent_event){
		.time_ms = model.time_ms - seconds * 1000, .priority = priority,
	};
	snprintf(e->name, sizeof(e->name), "%s", name);
}

static void before_there_is_a_history_the_agents_log_tells(void **state)
{
	char text[320];

	(void)state;
	errors_were(&devices[0], 3, 5);
	devices[0].errors = 5;
	warning(900, "a", LOG_WARNING);
	warning(300, "b", LOG_WARNING);
	warning(200, "a", LOG_ALERT);
	warning(100, "a", LOG_INFO);
	top_judge(&model);
	assert_int_equal(devices[0].said_recent, 1);
	assert_int_equal(devices[0].said_before, 1);
	assert_int_equal(devices[0].verdict, TOP_STEADY);
	warning(50, "a", LOG_WARNING);
	top_judge(&model);
	assert_int_equal(devices[0].verdict, TOP_WORSE);
	top_trend_text(&devices[0], text, sizeof(text));
	assert_string_equal(text, "getting worse: no errors in 3 s; warnings in the log: "
			    "2 in 10 min, 1 in the 10 min before");
	assert_string_equal(model.headline, "2 of 3 devices need attention: a: getting worse "
			    "(2 warnings in 10 min); b: getting worse (1 warning in 10 min)");
	/* one that does not know of any is calm */
	assert_int_equal(devices[2].verdict, TOP_CALM);
}

static void a_scrub_says_when_it_will_be_through(void **state)
{
	struct top_device *d = &devices[0];

	(void)state;
	assert_int_equal(top_scrub_left(&model, d), 0);
	d->agent_known = true;
	model.status_time = 1100;
	d->agent = (struct remap_agent_target){
		.scrubbing = true, .scrub_began = 1000, .scrub_began_at = 1 << 18,
		.scrub_at = 1 << 19,
	};
	/* a quarter in 100 s, half is left */
	assert_in_range(top_scrub_left(&model, d), 200, 201);
	d->agent.scrub_at = d->agent.scrub_began_at;
	assert_int_equal(top_scrub_left(&model, d), 0);
	d->agent.scrub_at = 1 << 21;
	assert_int_equal(top_scrub_left(&model, d), 0);
}

#define TEST(name)	cmocka_unit_test_setup(name, begin)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing_is_wrong_with_devices_that_are_well),
		TEST(the_headline_says_who_and_what),
		TEST(each_trouble_is_named_with_its_remedy),
		TEST(what_the_agent_read_of_replicas_counts_too),
		TEST(a_minute_is_held_against_the_one_before),
		TEST(before_there_is_a_history_the_agents_log_tells),
		TEST(a_scrub_says_when_it_will_be_through),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
