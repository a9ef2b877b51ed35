// SPDX-License-Identifier: GPL-2.0-only
/*
 * The program that remap-agent runs for what a person should know (user/agent/say.c): how many at
 * once, what waits for them, and what is left out when there is too much.
 */
#include "unit.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../../user/agent/agent.h"

#define AT_ONCE		8	/* PROGRAMS in say.c */
#define WAITING		64	/* NEWS */

static struct agent agent;
static struct agent_target target = { .dm.name = "t", .key = "the-uuid" };
static char folder[] = "/tmp/test-say.XXXXXX", script[64], told[64], go[64];

/* The program writes what it was told, and ends once the file "go" is there, or itself is not. */
static int begin(void **state)
{
	FILE *f;

	(void)state;
	strcpy(folder + strlen(folder) - 6, "XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(script, sizeof(script), "%s/program", folder);
	snprintf(told, sizeof(told), "%s/told", folder);
	snprintf(go, sizeof(go), "%s/go", folder);
	f = fopen(script, "w");
	assert_non_null(f);
	fprintf(f, "#!/bin/sh\necho \"$3 $REMAP_SEVERITY\" >>%s\n"
		"while [ -e $0 ] && ! [ -e %s ]; do sleep 0.05; done\n", told, go);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(script, 0700), 0);
	memset(&agent, 0, sizeof(agent));
	snprintf(agent.settings.program, sizeof(agent.settings.program), "%s", script);
	return sd_event_new(&agent.loop) < 0;
}

static int end(void **state)
{
	(void)state;
	agent_tell_end(&agent);
	agent.loop = sd_event_unref(agent.loop);
	unlink(script);
	unlink(told);
	unlink(go);
	return rmdir(folder);
}

static void tell(unsigned int number, bool urgent)
{
	struct agent_action act = {
		.kind = AGENT_TELL, .tell = AGENT_TELL_STATE, .urgent = urgent,
	};

	snprintf(act.why, sizeof(act.why), "%u", number);
	agent_tell(&agent, &target, &act);
}

static void until_told(void)
{
	int fd = open(go, O_WRONLY | O_CREAT, 0600);

	assert_true(fd >= 0);
	close(fd);
	while (agent.news || agent.programs)
		assert_true(sd_event_run(agent.loop, 60000000) > 0);
}

/* What the programs wrote; those that ran at once wrote in any order. */
static unsigned int read_told(unsigned int number[], bool urgent[], unsigned int most)
{
	FILE *f = fopen(told, "r");
	unsigned int n = 0;
	char severity[16];

	assert_non_null(f);
	for (; n < most && fscanf(f, "%u %15s", &number[n], severity) == 2; n++)
		urgent[n] = !strcmp(severity, "alert");
	(void)!fscanf(f, " ");
	assert_int_equal(fgetc(f), EOF);
	fclose(f);
	return n;
}

static void each_is_told(void **state)
{
	unsigned int number[20], seen = 0;
	bool urgent[20];

	(void)state;
	for (unsigned int i = 0; i < 20; i++)
		tell(i, i % 3 == 0);
	assert_int_equal(agent.programs, AT_ONCE);
	assert_int_equal(agent.n_news, 20 - AT_ONCE);
	until_told();
	assert_int_equal(agent.n_news, 0);
	assert_int_equal(agent.programs_dropped, 0);
	assert_int_equal(read_told(number, urgent, 20), 20);
	for (unsigned int i = 0; i < 20; i++) {
		assert_int_equal(urgent[i], number[i] % 3 == 0);
		seen |= 1U << number[i];
	}
	assert_int_equal(seen, (1U << 20) - 1);
	assert_int_equal(target.told[AGENT_TELL_STATE], 20);
}

/* The oldest that is no alert makes room; alerts do so only for alerts. */
static void too_many_at_once(void **state)
{
	const unsigned int calm = AT_ONCE + WAITING + 10, alerts = 5;
	unsigned int number[200], n;
	bool urgent[200], seen[200] = { false };

	(void)state;
	for (unsigned int i = 0; i < calm; i++)
		tell(i, false);
	assert_int_equal(agent.n_news, WAITING);
	assert_int_equal(agent.programs_dropped, 10);
	for (unsigned int i = 0; i < alerts; i++)
		tell(calm + i, true);
	assert_int_equal(agent.n_news, WAITING);
	assert_int_equal(agent.programs_dropped, 10 + alerts);
	/* alerts are next, in their order */
	for (unsigned int i = 0; i < alerts; i++) {
		struct agent_news *news = agent.news;

		for (unsigned int k = 0; k < i; k++)
			news = news->next;
		assert_true(news->act.urgent);
		assert_int_equal(strtoul(news->act.why, NULL, 10), calm + i);
	}
	until_told();
	n = read_told(number, urgent, 200);
	assert_int_equal(n, AT_ONCE + WAITING);
	for (unsigned int i = 0; i < n; i++)
		seen[number[i]] = true;
	for (unsigned int i = 0; i < calm + alerts; i++)
		assert_int_equal(seen[i], i < AT_ONCE || i >= AT_ONCE + 10 + alerts);
}

static void nothing_but_alerts(void **state)
{
	unsigned int number[200];
	bool urgent[200];

	(void)state;
	for (unsigned int i = 0; i < AT_ONCE + WAITING + 3; i++)
		tell(i, true);
	assert_int_equal(agent.n_news, WAITING);
	assert_int_equal(agent.programs_dropped, 3);
	until_told();
	assert_int_equal(read_told(number, urgent, 200), AT_ONCE + WAITING);
}

static void a_program_that_is_not_there(void **state)
{
	(void)state;
	snprintf(agent.settings.program, sizeof(agent.settings.program), "%s/none", folder);
	tell(1, true);
	tell(2, true);
	while (agent.news || agent.programs)
		assert_true(sd_event_run(agent.loop, 60000000) > 0);
	assert_int_equal(agent.n_news, 0);
	assert_int_equal(agent.programs_dropped, 2);
	assert_int_equal(access(told, F_OK), -1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_is_told, begin, end),
		cmocka_unit_test_setup_teardown(too_many_at_once, begin, end),
		cmocka_unit_test_setup_teardown(nothing_but_alerts, begin, end),
		cmocka_unit_test_setup_teardown(a_program_that_is_not_there, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
