// SPDX-License-Identifier: GPL-2.0-only
/*
 * The rules of user/agent/policy.h: each by events made up for it. Time is what the tests say.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include "../../user/agent/policy.h"

#define SECTORS	(1ULL << 21)
#define ONE	1		/* the target */

/* Blocks are not looked at again, but where that is what is tried. */
static struct agent_config defaults = AGENT_CONFIG_DEFAULT;
static const struct agent_memory scrubbed;	/* just now, and nothing to be read */

static struct agent_policy *policy;

/* A target that has just been scrubbed and checked, so that there is nothing to be done to it. */
static void begin(const struct agent_config *config, u64 now)
{
	struct agent_status s = { .slots_free = 1000, .slots_total = 1000 };
	struct agent_action a;

	policy = agent_policy_new(config);
	assert_non_null(policy);
	assert_int_equal(agent_policy_add(policy, ONE, SECTORS, 8, &scrubbed, now), 0);
	agent_policy_status(policy, ONE, &s, now);
	assert_true(agent_policy_next(policy, now, &a));
	assert_int_equal(a.kind, AGENT_CHECK);
	agent_policy_done(policy, &a, true, now);
	assert_false(agent_policy_next(policy, now, &a));
}

static int end(void **state)
{
	(void)state;
	agent_policy_free(policy);
	policy = NULL;
	return 0;
}

static void happens(enum agent_event_kind kind, u64 sector, u32 sectors, u64 now)
{
	struct agent_event e = { .kind = kind, .sector = sector, .sectors = sectors };

	agent_policy_event(policy, ONE, &e, now);
}

/* The next action is that, or the test fails. */
static struct agent_action next(enum agent_action_kind kind, u64 now)
{
	struct agent_action a;

	assert_true(agent_policy_next(policy, now, &a));
	assert_int_equal(a.kind, kind);
	assert_int_equal(a.target, ONE);
	assert_true(*a.why);
	return a;
}

static void nothing(u64 now)
{
	struct agent_action a;

	assert_false(agent_policy_next(policy, now, &a));
}

static void a_block_is_moved_at_its_third_strike(void **state)
{
	struct agent_action a;

	(void)state;
	begin(&defaults, 1000);
	happens(AGENT_SLOW, 803, 1, 1000);
	happens(AGENT_RECOVERED, 800, 8, 1100);
	happens(AGENT_SLOW, 808, 8, 1100);	/* its neighbour has one of its own */
	nothing(1100);
	happens(AGENT_SLOW, 807, 1, 1600);
	a = next(AGENT_MOVE, 1600);
	assert_int_equal(a.sector, 800);
	assert_int_equal(a.count, 8);
	assert_non_null(strstr(a.why, "3 times in 600 s"));
	nothing(1600);
	agent_policy_done(policy, &a, true, 1601);
	nothing(1601);
}

static void strikes_count_within_the_window_alone(void **state)
{
	(void)state;
	begin(&defaults, 1000);
	happens(AGENT_SLOW, 800, 8, 1000);
	happens(AGENT_SLOW, 800, 8, 1300);
	happens(AGENT_SLOW, 800, 8, 1601);
	nothing(1601);
	happens(AGENT_SLOW, 800, 8, 1900);
	assert_int_equal(next(AGENT_MOVE, 1900).sector, 800);
}

static void what_comes_at_once_is_one_strike(void **state)
{
	(void)state;
	begin(&defaults, 1000);
	for (u64 i = 0; i < 20; i++)
		happens(AGENT_SLOW, 800, 8, 1000 + i / 5);
	nothing(1004);
}

static void a_disk_that_is_slow_all_over_is_no_bad_block(void **state)
{
	struct agent_action a;

	(void)state;
	begin(&defaults, 1000);
	for (u64 round = 0; round < 5; round++)
		for (u64 block = 0; block < 200; block++)
			happens(AGENT_SLOW, block * 800, 8, 1000 + round * 60);
	/* it is said, each time; the few that were counted before have had their strikes */
	while (agent_policy_next(policy, 1300, &a)) {
		if (a.kind == AGENT_MOVE) {
			assert_true(a.sector < 31 * 800);
			agent_policy_done(policy, &a, true, 1300);
		} else {
			assert_int_equal(a.kind, AGENT_TELL);
			assert_non_null(strstr(a.why, "as a whole"));
		}
	}
}

static void a_large_slow_io_is_read_block_by_block(void **state)
{
	struct agent_action a;

	(void)state;
	begin(&defaults, 1000);
	for (u64 i = 0; i < 5; i++)
		happens(AGENT_SLOW, 8000, 2048, 1000 + i * 60);
	a = next(AGENT_READ, 1300);
	assert_int_equal(a.sector, 8000);
	assert_int_equal(a.count, 2048);
	nothing(1300);
}

static void what_could_not_be_moved_is_left_alone_for_an_hour(void **state)
{
	struct agent_action a;

	(void)state;
	begin(&defaults, 1000);
	for (u64 i = 0; i < 3; i++)
		happens(AGENT_SLOW, 800, 8, 1000 + i * 60);
	a = next(AGENT_MOVE, 1200);
	agent_policy_done(policy, &a, false, 1200);
	assert_non_null(strstr(next(AGENT_TELL, 1200).why, "sector 800 could not be moved"));
	for (u64 i = 0; i < 9; i++)
		happens(AGENT_SLOW, 800, 8, 1300 + i * 60);
	nothing(1900);
	happens(AGENT_SLOW, 800, 8, 4801 - 300);
	happens(AGENT_SLOW, 800, 8, 4801 - 200);
	happens(AGENT_SLOW, 800, 8, 4801);
	assert_int_equal(next(AGENT_MOVE, 4801).sector, 800);
}

static void three_strikes(u64 block, u64 now)
{
	for (u64 i = 0; i < 3; i++)
		happens(AGENT_RECOVERED, block * 8, 8, now - 20 + i * 10);
}

static void no_more_are_moved_in_a_day_than_may_be(void **state)
{
	struct agent_config config = defaults;
	struct agent_action a;

	(void)state;
	config.per_day = 2;
	begin(&config, 1000);
	for (u64 block = 0; block < 5; block++) {
		three_strikes(block, 1100 + block * 100);
		if (block >= 2)
			continue;
		a = next(AGENT_MOVE, 1100 + block * 100);
		agent_policy_done(policy, &a, true, 1100 + block * 100);
	}
	assert_non_null(strstr(next(AGENT_TELL, 1500).why, "2 blocks were moved today"));
	nothing(1500);
	/* the next day */
	happens(AGENT_MOVED, 0, 8, 80000);
	three_strikes(9, 1000 + 86400);
	a = next(AGENT_MOVE, 1000 + 86400);
	assert_int_equal(a.sector, 72);
}

static void other_rules_apply_from_now_on(void **state)
{
	struct agent_config config = AGENT_CONFIG_DEFAULT;
	struct agent_action a;

	(void)state;
	begin(&defaults, 1000);
	three_strikes(100, 1100);
	config.strikes = 0;
	agent_policy_configure(policy, &config);
	assert_true(agent_policy_wake(policy) > 1100);
	nothing(1100);
	three_strikes(100, 1200);
	nothing(1200);
	config.strikes = AGENT_MAX_STRIKES;
	agent_policy_configure(policy, &config);
	three_strikes(100, 1300);	/* the ninth of all */
	a = next(AGENT_MOVE, 1300);
	assert_int_equal(a.sector, 800);
	assert_non_null(strstr(a.why, "8 times in 210 s"));
}

static void a_dry_run_only_says_what_it_would_do(void **state)
{
	struct agent_config config = defaults;

	(void)state;
	config.dry_run = true;
	begin(&config, 1000);
	three_strikes(100, 1100);
	assert_non_null(strstr(next(AGENT_TELL, 1100).why, "would move block 100 (sector 800)"));
	nothing(1100);
}

static void a_paused_device_is_left_alone(void **state)
{
	struct agent_status s = { .state = REMAP_PAUSED, .slots_free = 1000, .slots_total = 1000 };

	(void)state;
	begin(&defaults, 1000);
	agent_policy_status(policy, ONE, &s, 1000);
	assert_non_null(strstr(next(AGENT_TELL, 1000).why, "state is paused"));
	three_strikes(100, 1100);
	happens(AGENT_ERROR, 800, 8, 1100);
	happens(AGENT_SMART, 0, 0, 1100);
	assert_non_null(strstr(next(AGENT_TELL, 1100).why, "SMART"));
	nothing(1100);
	assert_true(agent_policy_wake(policy) > 1100);
	s.state = REMAP_ACTIVE;
	agent_policy_status(policy, ONE, &s, 1200);
	assert_int_equal(agent_policy_wake(policy), 0);
	assert_non_null(strstr(next(AGENT_TELL, 1200).why, "active again"));
	assert_int_equal(next(AGENT_MOVE, 1200).sector, 800);
	assert_int_equal(next(AGENT_READ, 1200).sector, 0);
	assert_int_equal(next(AGENT_SCRUB, 1200).sector, 0);
	nothing(1200);
}

static void after_errors_their_neighbourhood_is_read_once(void **state)
{
	struct agent_action a;

	(void)state;
	begin(&defaults, 1000);
	happens(AGENT_ERROR, 100000, 8, 1000);
	happens(AGENT_ERROR, 100100, 8, 1000);
	happens(AGENT_ERROR, SECTORS - 8, 8, 1000);
	happens(AGENT_ERROR, SECTORS, 8, 1000);	/* is none of ours */
	a = next(AGENT_READ, 1000);
	assert_int_equal(a.sector, SECTORS - 8 - 2048);
	assert_int_equal(a.sector + a.count, SECTORS);
	nothing(1000);				/* one at a time */
	agent_policy_done(policy, &a, false, 1001);
	a = next(AGENT_READ, 1001);
	assert_int_equal(a.sector, 100000 - 2048);
	assert_int_equal(a.count, 100 + 8 + 2 * 2048);
	agent_policy_done(policy, &a, true, 1002);
	nothing(1002);
	/* the third joins what the first two left apart */
	happens(AGENT_ERROR, 500000, 8, 1002);
	happens(AGENT_ERROR, 506000, 8, 1002);
	happens(AGENT_ERROR, 503000, 8, 1002);
	a = next(AGENT_READ, 1002);
	assert_int_equal(a.sector, 500000 - 2048);
	assert_int_equal(a.count, 6000 + 8 + 2 * 2048);
	agent_policy_done(policy, &a, true, 1003);
	nothing(1003);
}

static void replicas_are_checked_after_moves_and_by_time(void **state)
{
	struct agent_action a;

	(void)state;
	begin(&defaults, 1000);
	for (u64 i = 0; i < 20; i++)
		happens(AGENT_MOVED, i * 8000, 8, 1003);
	/* not sooner than ten seconds after the last one */
	while (agent_policy_next(policy, 1003, &a)) {
		assert_int_equal(a.kind, AGENT_READ);
		agent_policy_done(policy, &a, true, 1003);
	}
	assert_int_equal(agent_policy_wake(policy), 1010);
	a = next(AGENT_CHECK, 1010);
	happens(AGENT_MOVED, 8, 8, 1011);	/* while it runs: once more */
	agent_policy_done(policy, &a, true, 1012);
	a = next(AGENT_CHECK, 1012);
	agent_policy_done(policy, &a, true, 1013);
	while (agent_policy_next(policy, 1013, &a)) {
		assert_int_equal(a.kind, AGENT_READ);
		agent_policy_done(policy, &a, true, 1013);
	}
	assert_int_equal(agent_policy_wake(policy), 1013 + 86400);
	next(AGENT_CHECK, 1013 + 86400);
}

static void replicas_that_are_not_whole_are_repaired_and_if_that_fails_it_is_told(void **state)
{
	struct agent_action a;

	(void)state;
	begin(&defaults, 1000);
	for (int day = 1; day <= 3; day++) {
		u64 now = 1000 + (u64)day * 90000;

		a = next(AGENT_CHECK, now);
		agent_policy_done(policy, &a, false, now);
		a = next(AGENT_REPAIR, now);
		agent_policy_done(policy, &a, day == 3, now);
		a = next(AGENT_CHECK, now);
		agent_policy_done(policy, &a, day == 3, now);
		if (day == 1) {
			a = next(AGENT_TELL, now);
			assert_true(a.urgent);
			assert_non_null(strstr(a.why, "replace the spare"));
		} else if (day == 3) {
			assert_non_null(strstr(next(AGENT_TELL, now).why, "whole again"));
		}
		nothing(now);
	}
}

static void the_surface_is_read_from_where_it_stopped_and_then_by_time(void **state)
{
	const struct agent_memory m = { .scrub_at = 4096, .scrubbed_ago = 100 };
	struct agent_action a;
	u64 now = 1000;

	(void)state;
	policy = agent_policy_new(&defaults);
	assert_int_equal(agent_policy_add(policy, ONE, SECTORS, 8, &m, now), 0);
	assert_int_equal(agent_policy_add(policy, ONE, SECTORS, 8, &m, now), -EEXIST);
	next(AGENT_CHECK, now);
	a = next(AGENT_SCRUB, now);
	assert_int_equal(a.sector, 4096);
	assert_int_equal(a.count, SECTORS - 4096);
	nothing(now);
	/* it was stopped further on */
	agent_policy_progress(policy, &a, 8192);
	agent_policy_done(policy, &a, false, now);
	nothing(now);
	now += 3600;
	a = next(AGENT_SCRUB, now);
	assert_int_equal(a.sector, 8192);
	agent_policy_done(policy, &a, true, now);
	nothing(now + 1);
	happens(AGENT_SMART, 0, 0, now + 10);
	next(AGENT_TELL, now + 10);
	a = next(AGENT_SCRUB, now + 10);
	assert_int_equal(a.sector, 0);
	agent_policy_done(policy, &a, true, now + 10);
	nothing(now + 11);
	next(AGENT_SCRUB, now + 10 + 30 * 86400);
}

static void a_person_is_told_of_states_losses_and_slots_that_run_out(void **state)
{
	struct agent_status s = { .slots_free = 1000, .slots_total = 1000 };

	(void)state;
	begin(&defaults, 1000);
	s.lost_sectors = 3;
	agent_policy_status(policy, ONE, &s, 1000);
	assert_non_null(strstr(next(AGENT_TELL, 1000).why, "3 sectors are lost"));
	s.slots_free = 100;
	agent_policy_status(policy, ONE, &s, 1000);
	assert_non_null(strstr(next(AGENT_TELL, 1000).why, "100 of 1000 slots are left"));
	s.slots_free = 50;
	agent_policy_status(policy, ONE, &s, 1000);
	nothing(1000);
	s.state = REMAP_EXHAUSTED;
	s.slots_free = 0;
	agent_policy_status(policy, ONE, &s, 1000);
	assert_non_null(strstr(next(AGENT_TELL, 1000).why, "state is exhausted"));
	nothing(1000);
}

/* Every event may come a million times, of any place: nothing grows, and no action is repeated. */
static void what_a_pause_interrupts_is_read_later(void **state)
{
	struct agent_status s = { .state = REMAP_PAUSED, .slots_free = 1000, .slots_total = 1000 };
	struct agent_action a;

	(void)state;
	begin(&defaults, 1000);
	happens(AGENT_ERROR, 100000, 8, 1000);
	a = next(AGENT_READ, 1000);
	agent_policy_progress(policy, &a, 100000);
	agent_policy_status(policy, ONE, &s, 1000);
	agent_policy_done(policy, &a, false, 1000);
	next(AGENT_TELL, 1000);
	nothing(1000);
	s.state = REMAP_ACTIVE;
	agent_policy_status(policy, ONE, &s, 1001);
	next(AGENT_TELL, 1001);
	a = next(AGENT_READ, 1001);
	assert_int_equal(a.sector, 100000);
	assert_int_equal(a.sector + a.count, 100008 + 2048);
	agent_policy_done(policy, &a, false, 1002);	/* for another reason: not again */
	nothing(1002);
}

static void errors_of_which_nobody_knows_where_lead_to_a_scrub_an_hour(void **state)
{
	struct agent_action a;

	(void)state;
	begin(&defaults, 1000);
	happens(AGENT_SOMEWHERE, 0, 0, 1000 + 3599);
	nothing(1000 + 3599);
	happens(AGENT_SOMEWHERE, 0, 0, 1000 + 3600);
	a = next(AGENT_SCRUB, 1000 + 3600);
	happens(AGENT_SOMEWHERE, 0, 0, 1000 + 3700);
	agent_policy_done(policy, &a, true, 1000 + 3700);
	happens(AGENT_SOMEWHERE, 0, 0, 1000 + 3800);
	nothing(1000 + 3800);
}

static void storms_end_in_few_actions(void **state)
{
	struct agent_action a;
	u64 seed = 1;
	int actions = 0;

	(void)state;
	begin(&defaults, 1000);
	for (int i = 0; i < 1000000; i++) {
		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		happens((enum agent_event_kind)(seed >> 62), seed % (SECTORS + 100), 8, 1000);
	}
	while (agent_policy_next(policy, 1000, &a)) {
		actions++;
		agent_policy_done(policy, &a, true, 1000);
	}
	assert_in_range(actions, 1, 200);
}

static void what_is_gone_is_forgotten(void **state)
{
	struct agent_action a;

	(void)state;
	begin(&defaults, 1000);
	three_strikes(100, 1100);
	a = next(AGENT_MOVE, 1100);
	agent_policy_remove(policy, ONE);
	agent_policy_done(policy, &a, true, 1100);
	happens(AGENT_ERROR, 0, 8, 1100);
	agent_policy_remove(policy, ONE);
	nothing(2000);
	assert_true(agent_policy_wake(policy) == UINT64_MAX);
}

/* A block that fails and stays where it is (on_read_error=pass, no slots) fails when read near. */
static void what_was_read_within_the_hour_is_not_read_again(void **state)
{
	struct agent_action a;

	(void)state;
	begin(&defaults, 1000);
	happens(AGENT_ERROR, 100000, 8, 1000);
	a = next(AGENT_READ, 1000);
	happens(AGENT_ERROR, 100000, 8, 1001);
	happens(AGENT_ERROR, 101000, 8, 1001);	/* further on, while it is read: what is beyond */
	nothing(1001);
	agent_policy_done(policy, &a, false, 1002);
	a = next(AGENT_READ, 1002);
	assert_int_equal(a.sector, 100008 + 2048);
	assert_int_equal(a.sector + a.count, 101008 + 2048);
	agent_policy_done(policy, &a, true, 1003);
	happens(AGENT_ERROR, 100500, 8, 1004);
	nothing(1004);
	/* around both */
	happens(AGENT_ERROR, 99000, 4000, 1005);
	a = next(AGENT_READ, 1005);
	assert_int_equal(a.sector, 96952);
	assert_int_equal(a.sector + a.count, 97952);
	agent_policy_done(policy, &a, true, 1005);
	a = next(AGENT_READ, 1005);
	assert_int_equal(a.sector, 103056);
	assert_int_equal(a.sector + a.count, 105048);
	agent_policy_done(policy, &a, true, 1006);
	nothing(1006);
	happens(AGENT_ERROR, 100500, 8, 1000 + 3600);
	a = next(AGENT_READ, 1000 + 3600);
	assert_in_range(a.sector, 98452, 100500);
}

static void what_was_to_be_done_outlives_the_agent(void **state)
{
	struct agent_config config = defaults;
	struct agent_memory m;
	struct agent_action a;

	(void)state;
	config.per_day = 3;
	begin(&config, 1000);
	for (u64 block = 0; block < 2; block++) {
		three_strikes(block, 1100 + block * 100);
		a = next(AGENT_MOVE, 1100 + block * 100);
		agent_policy_done(policy, &a, true, 1100 + block * 100);
	}
	happens(AGENT_ERROR, 100000, 8, 2000);
	happens(AGENT_ERROR, 300000, 8, 2000);
	a = next(AGENT_READ, 2000);
	assert_int_equal(a.sector, 300000 - 2048);
	agent_policy_progress(policy, &a, 300000);
	happens(AGENT_SMART, 0, 0, 2000);
	next(AGENT_TELL, 2000);
	a = next(AGENT_SCRUB, 2000);
	agent_policy_progress(policy, &a, 50000);
	assert_true(agent_policy_memory(policy, ONE, 3000, &m));
	assert_false(agent_policy_memory(policy, ONE + 1, 3000, &m));
	agent_policy_free(policy);

	/* another boot: time begins anew */
	policy = agent_policy_new(&config);
	assert_int_equal(agent_policy_add(policy, ONE, SECTORS, 8, &m, 10), 0);
	next(AGENT_CHECK, 10);
	a = next(AGENT_READ, 10);
	assert_int_equal(a.sector, 300000);
	assert_int_equal(a.sector + a.count, 302056);
	agent_policy_done(policy, &a, true, 10);
	a = next(AGENT_READ, 10);
	assert_int_equal(a.sector, 100000 - 2048);
	assert_int_equal(a.count, 8 + 2 * 2048);
	agent_policy_done(policy, &a, true, 10);
	a = next(AGENT_SCRUB, 10);
	assert_int_equal(a.sector, 50000);
	agent_policy_done(policy, &a, true, 10);
	nothing(10);
	for (u64 block = 10; block < 12; block++)
		three_strikes(block, 100);
	assert_non_null(strstr(next(AGENT_TELL, 100).why, "3 blocks were moved today"));
	assert_int_equal(next(AGENT_MOVE, 100).sector, 80);
	nothing(100);
	assert_true(agent_policy_memory(policy, ONE, 100, &m));
	assert_int_equal(m.scrub_at, 0);
	assert_int_equal(m.scrubbed_ago, 90);
	assert_int_equal(m.day_ago, 2000 + 90);
}

/* What comes from a file may be anything. */
static void a_memory_that_makes_no_sense_does_no_harm(void **state)
{
	struct agent_memory m = {
		.scrub_at = SECTORS, .scrubbed_ago = 1ULL << 60, .day_ago = 1ULL << 60,
		.moved_today = 5000, .ranges = 1000,
		.range = { { SECTORS, SECTORS + 8 }, { 16, 8 }, { 0, UINT64_MAX } },
	};
	struct agent_action a;

	(void)state;
	policy = agent_policy_new(&defaults);
	assert_int_equal(agent_policy_add(policy, ONE, SECTORS, 8, &m, 1000), 0);
	next(AGENT_CHECK, 1000);
	a = next(AGENT_READ, 1000);
	assert_int_equal(a.sector, 0);
	assert_int_equal(a.count, SECTORS);
	agent_policy_done(policy, &a, true, 1000);
	assert_int_equal(next(AGENT_SCRUB, 1000).sector, 0);
	three_strikes(1, 1100);
	next(AGENT_MOVE, 1100);
}

static void commits_that_miss_a_replica_lead_to_a_check(void **state)
{
	struct agent_action a;

	(void)state;
	begin(&defaults, 1000);
	happens(AGENT_DEGRADED, 0, 0, 1100);
	a = next(AGENT_CHECK, 1100);
	agent_policy_done(policy, &a, false, 1100);
	next(AGENT_REPAIR, 1100);
}

static void nothing_is_repaired_in_a_dry_run_or_while_paused(void **state)
{
	struct agent_config config = defaults;
	struct agent_status s = { .state = REMAP_PAUSED, .slots_free = 1000, .slots_total = 1000 };
	struct agent_action a;

	(void)state;
	config.dry_run = true;
	begin(&config, 1000);
	for (u64 now = 100000; now < 300000; now += 100000) {
		a = next(AGENT_CHECK, now);
		agent_policy_done(policy, &a, false, now);
		if (now == 100000)
			assert_non_null(strstr(next(AGENT_TELL, now).why, "would repair"));
		nothing(now);
	}
	agent_policy_free(policy);

	begin(&defaults, 1000);
	a = next(AGENT_CHECK, 100000);
	agent_policy_status(policy, ONE, &s, 100000);
	agent_policy_done(policy, &a, false, 100000);
	assert_int_equal(next(AGENT_TELL, 100000).tell, AGENT_TELL_STATE);
	nothing(100000);
	assert_true(agent_policy_wake(policy) > 100000);
	s.state = REMAP_ACTIVE;
	agent_policy_status(policy, ONE, &s, 100001);
	next(AGENT_TELL, 100001);
	next(AGENT_REPAIR, 100001);
}

static void a_block_with_a_strike_is_looked_at_again(void **state)
{
	struct agent_config config = AGENT_CONFIG_DEFAULT;
	struct agent_action a;

	(void)state;
	begin(&config, 1000);
	happens(AGENT_SLOW, 800, 8, 1000);
	happens(AGENT_SLOW, 8000, 8, 1003);
	assert_int_equal(agent_policy_wake(policy), 1005);
	nothing(1004);
	a = next(AGENT_READ, 1005);
	assert_int_equal(a.sector, 800);
	assert_int_equal(a.count, 8);
	happens(AGENT_SLOW, 800, 8, 1006);	/* slow once more */
	nothing(1009);				/* one at a time */
	agent_policy_done(policy, &a, true, 1009);
	assert_int_equal(agent_policy_wake(policy), 1008);
	a = next(AGENT_READ, 1009);
	assert_int_equal(a.sector, 8000);
	agent_policy_done(policy, &a, true, 1009);	/* that one was chance */
	nothing(1010);
	a = next(AGENT_READ, 1011);
	assert_int_equal(a.sector, 800);
	happens(AGENT_SLOW, 800, 8, 1012);
	agent_policy_done(policy, &a, true, 1012);
	a = next(AGENT_MOVE, 1012);
	assert_int_equal(a.sector, 800);
	agent_policy_done(policy, &a, true, 1013);
	nothing(2000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_block_is_moved_at_its_third_strike, end),
		cmocka_unit_test_teardown(strikes_count_within_the_window_alone, end),
		cmocka_unit_test_teardown(what_comes_at_once_is_one_strike, end),
		cmocka_unit_test_teardown(a_disk_that_is_slow_all_over_is_no_bad_block, end),
		cmocka_unit_test_teardown(a_large_slow_io_is_read_block_by_block, end),
		cmocka_unit_test_teardown(what_could_not_be_moved_is_left_alone_for_an_hour, end),
		cmocka_unit_test_teardown(no_more_are_moved_in_a_day_than_may_be, end),
		cmocka_unit_test_teardown(other_rules_apply_from_now_on, end),
		cmocka_unit_test_teardown(a_dry_run_only_says_what_it_would_do, end),
		cmocka_unit_test_teardown(a_paused_device_is_left_alone, end),
		cmocka_unit_test_teardown(after_errors_their_neighbourhood_is_read_once, end),
		cmocka_unit_test_teardown(replicas_are_checked_after_moves_and_by_time, end),
		cmocka_unit_test_teardown(
			replicas_that_are_not_whole_are_repaired_and_if_that_fails_it_is_told, end),
		cmocka_unit_test_teardown(
			the_surface_is_read_from_where_it_stopped_and_then_by_time, end),
		cmocka_unit_test_teardown(a_person_is_told_of_states_losses_and_slots_that_run_out,
					  end),
		cmocka_unit_test_teardown(what_was_read_within_the_hour_is_not_read_again, end),
		cmocka_unit_test_teardown(what_was_to_be_done_outlives_the_agent, end),
		cmocka_unit_test_teardown(a_memory_that_makes_no_sense_does_no_harm, end),
		cmocka_unit_test_teardown(commits_that_miss_a_replica_lead_to_a_check, end),
		cmocka_unit_test_teardown(nothing_is_repaired_in_a_dry_run_or_while_paused, end),
		cmocka_unit_test_teardown(what_a_pause_interrupts_is_read_later, end),
		cmocka_unit_test_teardown(
			errors_of_which_nobody_knows_where_lead_to_a_scrub_an_hour, end),
		cmocka_unit_test_teardown(a_block_with_a_strike_is_looked_at_again, end),
		cmocka_unit_test_teardown(storms_end_in_few_actions, end),
		cmocka_unit_test_teardown(what_is_gone_is_forgotten, end),
	};

	defaults.look_again = false;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
