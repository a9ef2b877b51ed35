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

static void done(const struct agent_action *a, enum agent_result result, u64 now)
{
	agent_policy_done(policy, a, result, NULL, now);
}

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
	done(&a, AGENT_GOOD, now);
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
	/* no sooner than it is known that it is not the disk as a whole */
	assert_int_equal(agent_policy_wake(policy), 1610);
	nothing(1609);
	a = next(AGENT_MOVE, 1610);
	assert_int_equal(a.sector, 800);
	assert_int_equal(a.count, 8);
	assert_non_null(strstr(a.why, "3 times in 600 s"));
	nothing(1610);
	done(&a, AGENT_GOOD, 1611);
	nothing(1611);
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
	assert_int_equal(next(AGENT_MOVE, 1910).sector, 800);
}

static void what_comes_at_once_is_one_strike(void **state)
{
	(void)state;
	begin(&defaults, 1000);
	for (u64 i = 0; i < 20; i++)
		happens(AGENT_SLOW, 800, 8, 1000 + i / 5);
	nothing(1004);
}

/* All that is to be done from @from to @to, all of which goes well. Return: how much is moved */
static unsigned int moves(u64 from, u64 to)
{
	struct agent_action a;
	unsigned int n = 0;

	for (u64 now = from; now <= to; now++) {
		while (agent_policy_next(policy, now, &a)) {
			n += a.kind == AGENT_MOVE;
			done(&a, AGENT_GOOD, now);
		}
	}
	return n;
}

static void a_disk_that_is_slow_all_over_is_no_bad_block(void **state)
{
	struct agent_action a;

	(void)state;
	begin(&defaults, 1000);
	/* stalls a minute apart: not even the first blocks of each are taken for bad */
	for (u64 round = 0; round < 5; round++) {
		for (u64 block = 0; block < 200; block++)
			happens(AGENT_SLOW, block * 800, 8, 1000 + round * 60);
		if (!round) {
			a = next(AGENT_TELL, 1000);
			assert_int_equal(a.tell, AGENT_TELL_SLOW);
			assert_non_null(strstr(a.why, "as a whole"));
		}
		assert_int_equal(moves(1000 + round * 60, 1059 + round * 60), 0);
	}
	agent_policy_free(policy);

	/* one that takes its time to come is seen wherever ten seconds begin and end */
	begin(&defaults, 1000);
	for (u64 block = 0; block < 40; block++)
		happens(AGENT_SLOW, block * 800, 8, 1006 + block / 4);
	assert_int_equal(next(AGENT_TELL, 1016).tell, AGENT_TELL_SLOW);
}

static void a_stall_takes_back_what_was_to_be_moved_for_it(void **state)
{
	(void)state;
	begin(&defaults, 1000);
	happens(AGENT_SLOW, 800, 8, 1000);
	happens(AGENT_RECOVERED, 800, 8, 1010);
	happens(AGENT_SLOW, 800, 8, 1020);	/* to be moved at 1030 ... */
	for (u64 block = 1; block < 32; block++)
		happens(AGENT_RECOVERED, block * 8000, 8, 1029);
	assert_int_equal(next(AGENT_TELL, 1029).tell, AGENT_TELL_SLOW);
	assert_int_equal(moves(1029, 1200), 0);	/* ... had not been a stall */
	happens(AGENT_SLOW, 800, 8, 1300);
	assert_int_equal(next(AGENT_MOVE, 1310).sector, 800);	/* the first two were before it */
}

static void a_busy_block_that_is_slow_is_not_taken_for_the_disk(void **state)
{
	(void)state;
	begin(&defaults, 1000);
	for (u64 i = 0; i < 200; i++)
		happens(AGENT_SLOW, 800 + i % 2 * 8, 8, 1000 + i / 10);
	assert_int_equal(moves(1020, 1020), 2);
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
	struct agent_memory m;
	struct agent_action a;

	(void)state;
	begin(&defaults, 1000);
	for (u64 i = 0; i < 3; i++)
		happens(AGENT_SLOW, 800, 8, 1000 + i * 60);
	a = next(AGENT_MOVE, 1200);
	agent_policy_done(policy, &a, AGENT_BAD, "it will not", 1200);
	a = next(AGENT_TELL, 1200);
	assert_string_equal(a.why, "sector 800 could not be moved: it will not");
	assert_int_equal(a.sector, 800);
	assert_int_equal(a.count, 8);
	for (u64 i = 0; i < 9; i++)
		happens(AGENT_SLOW, 800, 8, 1300 + i * 60);
	nothing(1900);
	happens(AGENT_SLOW, 800, 8, 4801 - 300);
	happens(AGENT_SLOW, 800, 8, 4801 - 200);
	happens(AGENT_SLOW, 800, 8, 4801);
	a = next(AGENT_MOVE, 4811);
	assert_int_equal(a.sector, 800);
	/* it could not even be asked for: that is tried again, and does not count for the day */
	done(&a, AGENT_UNKNOWN, 4811);
	assert_non_null(strstr(next(AGENT_TELL, 4811).why, "no reason was given"));
	happens(AGENT_SLOW, 800, 8, 4900);
	assert_int_equal(next(AGENT_MOVE, 4910).sector, 800);
	agent_policy_memory(policy, ONE, 4910, &m);
	assert_int_equal(m.moved_today, 2);
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
		a = next(AGENT_MOVE, 1110 + block * 100);
		done(&a, AGENT_GOOD, 1110 + block * 100);
	}
	assert_non_null(strstr(next(AGENT_TELL, 1500).why, "2 blocks were moved today"));
	nothing(1500);
	/* the next day */
	happens(AGENT_MOVED, 0, 8, 80000);
	three_strikes(9, 1000 + 86400);
	a = next(AGENT_MOVE, 1010 + 86400);
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
	assert_true(agent_policy_wake(policy) > 1110);
	nothing(1110);
	three_strikes(100, 1200);
	nothing(1210);
	config.strikes = AGENT_MAX_STRIKES;
	agent_policy_configure(policy, &config);
	three_strikes(100, 1300);	/* the ninth of all */
	a = next(AGENT_MOVE, 1310);
	assert_int_equal(a.sector, 800);
	assert_non_null(strstr(a.why, "8 times in 210 s"));
}

static void a_dry_run_only_says_what_it_would_do(void **state)
{
	struct agent_config config = defaults;
	struct agent_memory m;
	struct agent_action a;

	(void)state;
	config.dry_run = true;
	config.per_day = 2;
	begin(&config, 1000);
	three_strikes(100, 1100);
	a = next(AGENT_TELL, 1110);
	assert_int_equal(a.tell, AGENT_TELL_DRY_RUN);
	assert_int_equal(a.sector, 800);
	assert_non_null(strstr(a.why, "would move block 100 (sector 800)"));
	nothing(1110);
	/* as often as blocks may be moved in a day; when it is over none were */
	three_strikes(101, 1200);
	assert_int_equal(next(AGENT_TELL, 1210).tell, AGENT_TELL_DRY_RUN);
	three_strikes(102, 1300);
	assert_int_equal(next(AGENT_TELL, 1310).tell, AGENT_TELL_BUDGET);
	nothing(1310);
	agent_policy_memory(policy, ONE, 1310, &m);
	assert_int_equal(m.moved_today, 0);
	config.dry_run = false;
	agent_policy_configure(policy, &config);
	three_strikes(103, 1400);
	next(AGENT_MOVE, 1410);
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
	nothing(1110);
	assert_true(agent_policy_wake(policy) > 1110);
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
	done(&a, AGENT_GOOD, 1001);
	a = next(AGENT_READ, 1001);
	assert_int_equal(a.sector, 100000 - 2048);
	assert_int_equal(a.count, 100 + 8 + 2 * 2048);
	done(&a, AGENT_GOOD, 1002);
	nothing(1002);
	/* the third joins what the first two left apart */
	happens(AGENT_ERROR, 500000, 8, 1002);
	happens(AGENT_ERROR, 506000, 8, 1002);
	happens(AGENT_ERROR, 503000, 8, 1002);
	a = next(AGENT_READ, 1002);
	assert_int_equal(a.sector, 500000 - 2048);
	assert_int_equal(a.count, 6000 + 8 + 2 * 2048);
	done(&a, AGENT_GOOD, 1003);
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
		done(&a, AGENT_GOOD, 1003);
	}
	assert_int_equal(agent_policy_wake(policy), 1010);
	a = next(AGENT_CHECK, 1010);
	happens(AGENT_MOVED, 8, 8, 1011);	/* while it runs: once more */
	done(&a, AGENT_GOOD, 1012);
	a = next(AGENT_CHECK, 1012);
	done(&a, AGENT_GOOD, 1013);
	while (agent_policy_next(policy, 1013, &a)) {
		assert_int_equal(a.kind, AGENT_READ);
		done(&a, AGENT_GOOD, 1013);
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
		done(&a, AGENT_BAD, now);
		a = next(AGENT_REPAIR, now);
		done(&a, day == 3 ? AGENT_GOOD : AGENT_BAD, now);
		a = next(AGENT_CHECK, now);
		done(&a, day == 3 ? AGENT_GOOD : AGENT_BAD, now);
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
	done(&a, AGENT_UNKNOWN, now);
	nothing(now);
	now += 3600;
	a = next(AGENT_SCRUB, now);
	assert_int_equal(a.sector, 8192);
	done(&a, AGENT_GOOD, now);
	nothing(now + 1);
	happens(AGENT_SMART, 0, 0, now + 10);
	next(AGENT_TELL, now + 10);
	a = next(AGENT_SCRUB, now + 10);
	assert_int_equal(a.sector, 0);
	done(&a, AGENT_GOOD, now + 10);
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
	done(&a, AGENT_UNKNOWN, 1000);
	next(AGENT_TELL, 1000);
	nothing(1000);
	s.state = REMAP_ACTIVE;
	agent_policy_status(policy, ONE, &s, 1001);
	next(AGENT_TELL, 1001);
	a = next(AGENT_READ, 1001);
	assert_int_equal(a.sector, 100000);
	assert_int_equal(a.sector + a.count, 100008 + 2048);
	agent_policy_progress(policy, &a, 100800);
	done(&a, AGENT_UNKNOWN, 1002);	/* for another reason: some time later, and later still */
	nothing(1061);
	assert_int_equal(agent_policy_wake(policy), 1062);
	a = next(AGENT_READ, 1062);
	assert_int_equal(a.sector, 100800);
	done(&a, AGENT_UNKNOWN, 1062);
	nothing(1062 + 119);
	a = next(AGENT_READ, 1062 + 120);
	/* whole blocks were read, beyond the end */
	a.count += 16;
	agent_policy_progress(policy, &a, a.sector + a.count);
	done(&a, AGENT_UNKNOWN, 1200);
	nothing(9000);
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
	done(&a, AGENT_GOOD, 1000 + 3700);
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
		done(&a, AGENT_GOOD, 1000);
	}
	assert_in_range(actions, 1, 200);
}

static void what_is_gone_is_forgotten(void **state)
{
	struct agent_action a;

	(void)state;
	begin(&defaults, 1000);
	three_strikes(100, 1100);
	a = next(AGENT_MOVE, 1110);
	agent_policy_remove(policy, ONE);
	done(&a, AGENT_GOOD, 1100);
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
	done(&a, AGENT_BAD, 1002);	/* to its end, if for some in vain */
	a = next(AGENT_READ, 1002);
	assert_int_equal(a.sector, 100008 + 2048);
	assert_int_equal(a.sector + a.count, 101008 + 2048);
	done(&a, AGENT_GOOD, 1003);
	happens(AGENT_ERROR, 100500, 8, 1004);
	nothing(1004);
	/* around both */
	happens(AGENT_ERROR, 99000, 4000, 1005);
	a = next(AGENT_READ, 1005);
	assert_int_equal(a.sector, 96952);
	assert_int_equal(a.sector + a.count, 97952);
	done(&a, AGENT_GOOD, 1005);
	a = next(AGENT_READ, 1005);
	assert_int_equal(a.sector, 103056);
	assert_int_equal(a.sector + a.count, 105048);
	done(&a, AGENT_GOOD, 1006);
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
		a = next(AGENT_MOVE, 1110 + block * 100);
		done(&a, AGENT_GOOD, 1110 + block * 100);
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
	done(&a, AGENT_GOOD, 10);
	a = next(AGENT_READ, 10);
	assert_int_equal(a.sector, 100000 - 2048);
	assert_int_equal(a.count, 8 + 2 * 2048);
	done(&a, AGENT_GOOD, 10);
	a = next(AGENT_SCRUB, 10);
	assert_int_equal(a.sector, 50000);
	done(&a, AGENT_GOOD, 10);
	nothing(10);
	for (u64 block = 10; block < 12; block++)
		three_strikes(block, 100);
	assert_non_null(strstr(next(AGENT_TELL, 100).why, "3 blocks were moved today"));
	assert_int_equal(next(AGENT_MOVE, 110).sector, 80);
	nothing(110);
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
	done(&a, AGENT_GOOD, 1000);
	assert_int_equal(next(AGENT_SCRUB, 1000).sector, 0);
	three_strikes(1, 1100);
	next(AGENT_MOVE, 1110);
}

static void commits_that_miss_a_replica_lead_to_a_check(void **state)
{
	struct agent_action a;

	(void)state;
	begin(&defaults, 1000);
	happens(AGENT_DEGRADED, 0, 0, 1100);
	a = next(AGENT_CHECK, 1100);
	done(&a, AGENT_BAD, 1100);
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
		done(&a, AGENT_BAD, now);
		if (now == 100000)
			assert_non_null(strstr(next(AGENT_TELL, now).why, "would repair"));
		nothing(now);
	}
	agent_policy_free(policy);

	begin(&defaults, 1000);
	a = next(AGENT_CHECK, 100000);
	agent_policy_status(policy, ONE, &s, 100000);
	done(&a, AGENT_BAD, 100000);
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
	done(&a, AGENT_GOOD, 1009);
	assert_int_equal(agent_policy_wake(policy), 1008);
	a = next(AGENT_READ, 1009);
	assert_int_equal(a.sector, 8000);
	done(&a, AGENT_GOOD, 1009);	/* that one was chance */
	nothing(1013);
	a = next(AGENT_READ, 1014);
	assert_int_equal(a.sector, 800);
	assert_true(a.look);
	happens(AGENT_SLOW, 800, 8, 1015);
	done(&a, AGENT_GOOD, 1015);
	nothing(1024);
	a = next(AGENT_MOVE, 1025);
	assert_int_equal(a.sector, 800);
	done(&a, AGENT_GOOD, 1025);
	nothing(2000);
}

/* What others' reads and writes had to queue for is nothing that a block can help. */
static void a_block_that_is_quick_when_looked_at_again_is_not_moved(void **state)
{
	struct agent_config config = AGENT_CONFIG_DEFAULT;
	struct agent_action a;
	unsigned int n = 0;

	(void)state;
	begin(&config, 1000);
	for (u64 i = 0; i < 9; i++) {
		happens(AGENT_SLOW, 800, 8, 2000 + i * 60);
		n += moves(2000 + i * 60, 2059 + i * 60);
	}
	assert_int_equal(n, 0);
	/* nor do they count when it is slow once for itself */
	happens(AGENT_SLOW, 800, 8, 2600);
	a = next(AGENT_READ, 2605);
	happens(AGENT_SLOW, 800, 8, 2605);
	done(&a, AGENT_GOOD, 2606);
	assert_int_equal(moves(2606, 2700), 0);
	/* a hundred busy blocks on a disk that is slow now and then, for ten minutes */
	for (u64 now = 3000; now < 3600; now++) {
		for (u64 i = 0; i < 2; i++)
			happens(AGENT_SLOW, ((now * 2 + i) * 7919 % 100) * 800, 8, now);
		n += moves(now, now);
	}
	assert_int_equal(n, 0);
}

static void a_read_that_had_to_be_tried_again_stays_a_strike(void **state)
{
	struct agent_config config = AGENT_CONFIG_DEFAULT;
	unsigned int n = 0;

	(void)state;
	begin(&config, 1000);
	for (u64 i = 0; i < 3; i++) {
		happens(AGENT_SLOW, 800, 8, 2000 + i * 60);
		happens(AGENT_RECOVERED, 8000, 8, 2000 + i * 60);
		n += moves(2000 + i * 60, 2059 + i * 60);
	}
	assert_int_equal(n, 1);
}

static void nothing_is_moved_before_it_was_looked_at_again(void **state)
{
	struct agent_config config = AGENT_CONFIG_DEFAULT;
	struct agent_action a, read;

	(void)state;
	begin(&config, 1000);
	happens(AGENT_ERROR, 100000, 8, 1000);
	read = next(AGENT_READ, 1000);		/* which takes long */
	for (u64 i = 0; i < 5; i++)
		happens(AGENT_SLOW, 800, 8, 1000 + i * 60);
	nothing(1400);
	done(&read, AGENT_GOOD, 1400);
	a = next(AGENT_READ, 1400);
	assert_int_equal(a.sector, 800);
	/* within five seconds of the last one, which makes it no other strike */
	happens(AGENT_SLOW, 800, 8, 1401);
	happens(AGENT_SLOW, 800, 8, 1402);
	done(&a, AGENT_GOOD, 1402);
	next(AGENT_MOVE, 1411);
	agent_policy_free(policy);

	/* nor if one strike is enough; and a look that was in vain says nothing */
	config.strikes = 1;
	begin(&config, 1000);
	happens(AGENT_SLOW, 800, 8, 1000);
	a = next(AGENT_READ, 1005);
	done(&a, AGENT_UNKNOWN, 1006);
	nothing(1065);
	a = next(AGENT_READ, 1066);
	assert_int_equal(a.sector, 800);
	happens(AGENT_SLOW, 800, 8, 1066);
	done(&a, AGENT_GOOD, 1067);
	next(AGENT_MOVE, 1076);
}

static void what_could_not_be_found_out_is_no_damage(void **state)
{
	struct agent_action a;
	u64 now = 1000 + 86400;

	(void)state;
	begin(&defaults, 1000);
	a = next(AGENT_CHECK, now);
	assert_non_null(strstr(a.why, "time"));
	for (u64 wait = 60; wait <= 1920; wait *= 2) {
		done(&a, AGENT_UNKNOWN, now);
		nothing(now + wait - 1);
		now += wait;
		a = next(AGENT_CHECK, now);
	}
	done(&a, AGENT_UNKNOWN, now);
	nothing(now + 3599);
	a = next(AGENT_CHECK, now += 3600);
	/* nor is a repair that could not be asked for one that does not help */
	done(&a, AGENT_BAD, now);
	a = next(AGENT_REPAIR, now);
	done(&a, AGENT_UNKNOWN, now);
	nothing(now + 59);
	a = next(AGENT_CHECK, now += 60);
	done(&a, AGENT_BAD, now);
	a = next(AGENT_REPAIR, now);
	done(&a, AGENT_GOOD, now);
	a = next(AGENT_CHECK, now);
	assert_string_equal(a.why, "after the repair");
	done(&a, AGENT_GOOD, now);
	nothing(now);
}

/* As if the agent had been killed: with @m it goes on. */
static void starts_again(struct agent_memory *m, const struct agent_status *s, u64 now)
{
	struct agent_action a;

	assert_true(agent_policy_memory(policy, ONE, now, m));
	agent_policy_free(policy);
	policy = agent_policy_new(&defaults);
	assert_int_equal(agent_policy_add(policy, ONE, SECTORS, 8, m, now), 0);
	agent_policy_status(policy, ONE, s, now);
	a = next(AGENT_CHECK, now);
	done(&a, AGENT_GOOD, now);
}

static void a_scrub_that_is_wanted_outlives_the_agent(void **state)
{
	struct agent_status s = { .state = REMAP_PAUSED, .slots_free = 1000, .slots_total = 1000 };
	struct agent_memory m;
	struct agent_action a;

	(void)state;
	begin(&defaults, 1000);
	agent_policy_status(policy, ONE, &s, 1000);
	next(AGENT_TELL, 1000);
	agent_policy_changed(policy, ONE);
	/* while it is paused */
	happens(AGENT_SMART, 0, 0, 1000);
	assert_true(agent_policy_changed(policy, ONE));
	assert_false(agent_policy_changed(policy, ONE));
	next(AGENT_TELL, 1000);
	nothing(1000);
	starts_again(&m, &s, 1000);
	nothing(1000);			/* and it is known that it is */
	s.state = REMAP_ACTIVE;
	agent_policy_status(policy, ONE, &s, 1001);
	next(AGENT_TELL, 1001);
	a = next(AGENT_SCRUB, 1001);
	assert_non_null(strstr(a.why, "counts more bad sectors"));
	assert_true(agent_policy_changed(policy, ONE));
	/* begun, but not a sector of it is read */
	starts_again(&m, &s, 1001);
	a = next(AGENT_SCRUB, 1001);
	assert_non_null(strstr(a.why, "counts more bad sectors"));
	agent_policy_progress(policy, &a, 5000);
	/* what was read may have gone bad since */
	happens(AGENT_SMART, 0, 0, 1002);
	next(AGENT_TELL, 1002);
	starts_again(&m, &s, 1002);
	a = next(AGENT_SCRUB, 1002);
	assert_int_equal(a.sector, 5000);
	done(&a, AGENT_GOOD, 1003);
	a = next(AGENT_SCRUB, 1003);
	assert_int_equal(a.sector, 0);
	done(&a, AGENT_GOOD, 1004);
	starts_again(&m, &s, 1004);
	nothing(1004);
}

static void every_wish_is_a_change_that_is_to_be_saved(void **state)
{
	struct agent_action a;

	(void)state;
	begin(&defaults, 1000);
	agent_policy_changed(policy, ONE);
	happens(AGENT_ERROR, 800, 8, 1000);
	assert_true(agent_policy_changed(policy, ONE));
	a = next(AGENT_READ, 1000);
	agent_policy_progress(policy, &a, 8);
	assert_false(agent_policy_changed(policy, ONE));
	done(&a, AGENT_GOOD, 1000);
	assert_true(agent_policy_changed(policy, ONE));
	three_strikes(100, 1100);
	assert_false(agent_policy_changed(policy, ONE));
	next(AGENT_MOVE, 1110);
	assert_true(agent_policy_changed(policy, ONE));
	assert_false(agent_policy_changed(policy, ONE + 1));
}

static void a_person_is_told_once_whether_or_not_the_agent_starts_again(void **state)
{
	struct agent_status s = {
		.state = REMAP_EXHAUSTED, .lost_sectors = 7, .slots_total = 1000,
	};
	struct agent_memory m;
	struct agent_action a;

	(void)state;
	/* the first agent of all does not know what was before */
	policy = agent_policy_new(&defaults);
	assert_int_equal(agent_policy_add(policy, ONE, SECTORS, 8, &scrubbed, 1000), 0);
	agent_policy_status(policy, ONE, &s, 1000);
	assert_int_equal(next(AGENT_TELL, 1000).tell, AGENT_TELL_STATE);
	assert_string_equal(next(AGENT_TELL, 1000).why, "7 sectors are lost");
	assert_int_equal(next(AGENT_TELL, 1000).tell, AGENT_TELL_SLOTS);
	a = next(AGENT_CHECK, 1000);
	done(&a, AGENT_BAD, 1000);
	a = next(AGENT_REPAIR, 1000);
	done(&a, AGENT_BAD, 1000);
	a = next(AGENT_CHECK, 1000);
	done(&a, AGENT_BAD, 1000);
	assert_int_equal(next(AGENT_TELL, 1000).tell, AGENT_TELL_REPLICAS);
	assert_true(agent_policy_memory(policy, ONE, 1000, &m));
	assert_true(m.told.replicas);
	starts_again(&m, &s, 1000);
	assert_non_null(strstr(next(AGENT_TELL, 1000).why, "whole again"));
	nothing(1000);
	s.lost_sectors = 9;
	agent_policy_status(policy, ONE, &s, 1000);
	assert_string_equal(next(AGENT_TELL, 1000).why, "9 sectors are lost, there were 7");
	s = (struct agent_status){ .slots_free = 1000, .slots_total = 1000 };
	agent_policy_status(policy, ONE, &s, 1000);
	assert_int_equal(next(AGENT_TELL, 1000).tell, AGENT_TELL_STATE);
	s.lost_sectors = 1;	/* the others were written, and then one is lost */
	agent_policy_status(policy, ONE, &s, 1000);
	assert_string_equal(next(AGENT_TELL, 1000).why, "1 sectors are lost, there were 0");
	starts_again(&m, &s, 1000);
	nothing(1000);
}

static void too_many_places_to_be_read_are_a_scrub(void **state)
{
	struct agent_action a;

	(void)state;
	begin(&defaults, 1000);
	happens(AGENT_SMART, 0, 0, 2000);
	next(AGENT_TELL, 2000);
	a = next(AGENT_SCRUB, 2000);
	/* what the scrub comes to, or meets itself, is no reason for another */
	for (u64 i = 0; i < 200; i++)
		happens(AGENT_ERROR, 10000 + i * 10000, 8, 2000);
	assert_true(moves(2000, 2000) == 0);
	done(&a, AGENT_GOOD, 3000);
	nothing(3000 + 3600);
	/* what it has passed is */
	happens(AGENT_SMART, 0, 0, 10000);
	next(AGENT_TELL, 10000);
	a = next(AGENT_SCRUB, 10000);
	agent_policy_progress(policy, &a, SECTORS - 8);
	for (u64 i = 0; i < 200; i++)
		happens(AGENT_ERROR, 10000 + i * 10000, 8, 10000);
	done(&a, AGENT_GOOD, 10000);
	moves(10000, 10000);
	nothing(10000 + 3599);
	a = next(AGENT_SCRUB, 10000 + 3600);
	assert_non_null(strstr(a.why, "many places"));
}

static void shorter_intervals_apply_at_once(void **state)
{
	struct agent_config config = defaults;
	struct agent_action a;
	u64 now = 1000 + 80000;

	(void)state;
	begin(&defaults, 1000);
	config.check_interval = 3600;
	config.scrub_interval = 7200;
	agent_policy_configure(policy, &config);
	assert_true(agent_policy_wake(policy) <= now);
	a = next(AGENT_CHECK, now);
	done(&a, AGENT_GOOD, now);
	a = next(AGENT_SCRUB, now);
	done(&a, AGENT_GOOD, now);
	assert_int_equal(agent_policy_wake(policy), now + 3600);
	config.check_interval = 30 * 86400;
	config.scrub_interval = 0;
	agent_policy_configure(policy, &config);
	/* never means never */
	happens(AGENT_SMART, 0, 0, now);
	next(AGENT_TELL, now);
	assert_int_equal(agent_policy_wake(policy), now + 30 * 86400);
	nothing(now + 10 * 86400);
	config.scrub_interval = 86400;
	agent_policy_configure(policy, &config);
	next(AGENT_SCRUB, now);
}

static void a_smaller_budget_holds_for_what_is_to_be_moved_already(void **state)
{
	struct agent_config config = defaults;
	struct agent_action a;

	(void)state;
	begin(&defaults, 1000);
	for (u64 block = 0; block < 3; block++)
		three_strikes(block, 1100);
	config.per_day = 1;
	agent_policy_configure(policy, &config);
	a = next(AGENT_MOVE, 1110);
	done(&a, AGENT_GOOD, 1110);
	nothing(1200);
	three_strikes(10, 1300);
	assert_int_equal(next(AGENT_TELL, 1310).tell, AGENT_TELL_BUDGET);
	config.per_day = 2;
	agent_policy_configure(policy, &config);
	three_strikes(11, 1400);
	config.per_day = 0;
	agent_policy_configure(policy, &config);
	nothing(1500);
}

static void a_write_error_of_the_spare_counts_wherever_it_was(void **state)
{
	(void)state;
	begin(&defaults, 1000);
	happens(AGENT_DEGRADED, SECTORS + 8, 8, 2000);
	assert_non_null(strstr(next(AGENT_CHECK, 2000).why, "write to the spare failed"));
}

/* A device need not end where a block does; the kernel refuses to move what is not there. */
static void of_a_last_block_that_is_short_what_there_is_is_moved(void **state)
{
	struct agent_config config = defaults;
	struct agent_action a;

	(void)state;
	for (int dry_run = 0; dry_run < 2; dry_run++) {
		config.dry_run = dry_run;
		agent_policy_free(policy);
		policy = agent_policy_new(&config);
		assert_int_equal(agent_policy_add(policy, ONE, 8003, 8, &scrubbed, 1000), 0);
		a = next(AGENT_CHECK, 1000);
		done(&a, AGENT_GOOD, 1000);
		for (u64 i = 0; i < 3; i++)
			happens(AGENT_RECOVERED, 8002, 1, 1100 + i * 10);
		a = next(dry_run ? AGENT_TELL : AGENT_MOVE, 1130);
		assert_int_equal(a.sector, 8000);
		assert_int_equal(a.count, 3);
	}
}

static void what_a_dry_run_tells_is_not_told_in_earnest(void **state)
{
	struct agent_config config = defaults;
	struct agent_memory m;
	struct agent_action a;

	(void)state;
	config.dry_run = true;
	config.per_day = 0;
	begin(&config, 1000);
	three_strikes(100, 1100);
	assert_int_equal(next(AGENT_TELL, 1110).tell, AGENT_TELL_BUDGET);
	a = next(AGENT_CHECK, 90000);
	done(&a, AGENT_BAD, 90000);
	assert_int_equal(next(AGENT_TELL, 90000).tell, AGENT_TELL_DRY_RUN);
	/* nor to the next agent, which may mean it */
	assert_true(agent_policy_memory(policy, ONE, 90000, &m));
	assert_false(m.told.replicas);
	assert_false(m.told.budget);
	nothing(90000);

	config.dry_run = false;
	agent_policy_configure(policy, &config);
	assert_true(agent_policy_wake(policy) <= 90001);
	a = next(AGENT_CHECK, 90001);
	assert_non_null(strstr(a.why, "dry run"));
	done(&a, AGENT_BAD, 90001);
	a = next(AGENT_REPAIR, 90001);
	done(&a, AGENT_BAD, 90001);
	a = next(AGENT_CHECK, 90001);
	done(&a, AGENT_BAD, 90001);
	assert_non_null(strstr(next(AGENT_TELL, 90001).why, "replace the spare"));
	three_strikes(101, 90100);
	assert_int_equal(next(AGENT_TELL, 90110).tell, AGENT_TELL_BUDGET);
	assert_true(agent_policy_memory(policy, ONE, 90110, &m));
	assert_true(m.told.replicas);
	assert_true(m.told.budget);
	nothing(90110);
	/* what is told in earnest is known in a dry run, and after it */
	config.dry_run = true;
	agent_policy_configure(policy, &config);
	a = next(AGENT_CHECK, 190000);
	done(&a, AGENT_BAD, 190000);
	nothing(190000);
	config.dry_run = false;
	agent_policy_configure(policy, &config);
	assert_true(agent_policy_memory(policy, ONE, 190000, &m));
	assert_true(m.told.replicas);
}

static void what_a_dry_run_has_told_it_tells_once(void **state)
{
	struct agent_config config = defaults;
	struct agent_action a;

	(void)state;
	config.dry_run = true;
	begin(&config, 1000);
	for (u64 day = 1; day <= 4; day++) {
		u64 now = 1000 + day * 90000;

		a = next(AGENT_CHECK, now);
		done(&a, day == 3 ? AGENT_GOOD : AGENT_BAD, now);
		if (day == 3)
			assert_non_null(strstr(next(AGENT_TELL, now).why, "whole again"));
		else if (day != 2)
			assert_non_null(strstr(next(AGENT_TELL, now).why, "would repair"));
		nothing(now);
	}
}

static void a_budget_that_was_spent_on_another_day_is_told_anew(void **state)
{
	const struct agent_memory m = {
		.day_ago = 86400, .moved_today = 9, .told = { .budget = true },
	};
	struct agent_config config = defaults;
	struct agent_action a;

	(void)state;
	config.per_day = 1;
	policy = agent_policy_new(&config);
	assert_int_equal(agent_policy_add(policy, ONE, SECTORS, 8, &m, 1000), 0);
	a = next(AGENT_CHECK, 1000);
	done(&a, AGENT_GOOD, 1000);
	three_strikes(100, 1100);
	a = next(AGENT_MOVE, 1110);
	done(&a, AGENT_GOOD, 1110);
	three_strikes(101, 1200);
	assert_int_equal(next(AGENT_TELL, 1210).tell, AGENT_TELL_BUDGET);
}

static void errors_somewhere_while_a_scrub_waits_to_go_on_lead_to_another(void **state)
{
	struct agent_action a;

	(void)state;
	begin(&defaults, 1000);
	happens(AGENT_SMART, 0, 0, 2000);
	next(AGENT_TELL, 2000);
	a = next(AGENT_SCRUB, 2000);
	agent_policy_progress(policy, &a, 50000);
	done(&a, AGENT_UNKNOWN, 2000);
	/* before sector 50000, perhaps */
	happens(AGENT_SOMEWHERE, 0, 0, 3000);
	a = next(AGENT_SCRUB, 2000 + 3600);
	assert_int_equal(a.sector, 50000);
	done(&a, AGENT_GOOD, 6000);
	nothing(6000 + 3599);
	a = next(AGENT_SCRUB, 6000 + 3600);
	assert_int_equal(a.sector, 0);
	assert_non_null(strstr(a.why, "not known where"));
}

/* Where errors are seen by counts alone, those of its end are seen after it. */
static void errors_that_a_scrub_itself_has_met_are_no_reason_for_the_next(void **state)
{
	struct agent_action a;
	u64 now;

	(void)state;
	begin(&defaults, 1000);
	happens(AGENT_SMART, 0, 0, 2000);
	next(AGENT_TELL, 2000);
	a = next(AGENT_SCRUB, 2000);
	done(&a, AGENT_BAD, 2500);
	happens(AGENT_SOMEWHERE, 0, 0, 2500);
	now = 2500 + AGENT_ECHO;
	happens(AGENT_SOMEWHERE, 0, 0, now);
	nothing(now + 3600);
	happens(AGENT_SOMEWHERE, 0, 0, now + 1);
	next(AGENT_SCRUB, now + 3600);
}

/* Events are kept while it is not known yet what was done before. */
static void what_happened_before_a_target_was_added_happened_then(void **state)
{
	const struct agent_memory m = { .scrub_at = 4096, .moved_today = 1 };
	struct agent_config config = defaults;
	struct agent_action a;

	(void)state;
	config.per_day = 2;
	policy = agent_policy_new(&config);
	assert_int_equal(agent_policy_add(policy, ONE, SECTORS, 8, &m, 2000), 0);
	/* slow all of them, but one by one */
	for (u64 block = 0; block < 40; block++)
		happens(AGENT_SLOW, 80000 + block * 800, 8, 1000 + block);
	happens(AGENT_MOVED, 0, 8, 1050);
	happens(AGENT_SOMEWHERE, 0, 0, 1050);
	three_strikes(100, 1100);
	three_strikes(101, 1200);
	assert_non_null(strstr(next(AGENT_TELL, 2000).why, "2 blocks were moved today"));
	assert_int_equal(next(AGENT_MOVE, 2000).sector, 800);
	a = next(AGENT_CHECK, 2000);
	done(&a, AGENT_GOOD, 2000);
	next(AGENT_READ, 2000);		/* near what was moved */
	a = next(AGENT_SCRUB, 2000);
	assert_int_equal(a.sector, 4096);
	nothing(2000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_block_is_moved_at_its_third_strike, end),
		cmocka_unit_test_teardown(strikes_count_within_the_window_alone, end),
		cmocka_unit_test_teardown(what_comes_at_once_is_one_strike, end),
		cmocka_unit_test_teardown(a_disk_that_is_slow_all_over_is_no_bad_block, end),
		cmocka_unit_test_teardown(a_stall_takes_back_what_was_to_be_moved_for_it, end),
		cmocka_unit_test_teardown(a_busy_block_that_is_slow_is_not_taken_for_the_disk, end),
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
		cmocka_unit_test_teardown(a_block_that_is_quick_when_looked_at_again_is_not_moved,
					  end),
		cmocka_unit_test_teardown(a_read_that_had_to_be_tried_again_stays_a_strike, end),
		cmocka_unit_test_teardown(nothing_is_moved_before_it_was_looked_at_again, end),
		cmocka_unit_test_teardown(what_could_not_be_found_out_is_no_damage, end),
		cmocka_unit_test_teardown(a_scrub_that_is_wanted_outlives_the_agent, end),
		cmocka_unit_test_teardown(every_wish_is_a_change_that_is_to_be_saved, end),
		cmocka_unit_test_teardown(
			a_person_is_told_once_whether_or_not_the_agent_starts_again, end),
		cmocka_unit_test_teardown(too_many_places_to_be_read_are_a_scrub, end),
		cmocka_unit_test_teardown(shorter_intervals_apply_at_once, end),
		cmocka_unit_test_teardown(a_smaller_budget_holds_for_what_is_to_be_moved_already,
					  end),
		cmocka_unit_test_teardown(a_write_error_of_the_spare_counts_wherever_it_was, end),
		cmocka_unit_test_teardown(of_a_last_block_that_is_short_what_there_is_is_moved,
					  end),
		cmocka_unit_test_teardown(what_a_dry_run_tells_is_not_told_in_earnest, end),
		cmocka_unit_test_teardown(what_a_dry_run_has_told_it_tells_once, end),
		cmocka_unit_test_teardown(a_budget_that_was_spent_on_another_day_is_told_anew, end),
		cmocka_unit_test_teardown(
			errors_somewhere_while_a_scrub_waits_to_go_on_lead_to_another, end),
		cmocka_unit_test_teardown(
			errors_that_a_scrub_itself_has_met_are_no_reason_for_the_next, end),
		cmocka_unit_test_teardown(what_happened_before_a_target_was_added_happened_then,
					  end),
		cmocka_unit_test_teardown(storms_end_in_few_actions, end),
		cmocka_unit_test_teardown(what_is_gone_is_forgotten, end),
	};

	defaults.look_again = false;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
