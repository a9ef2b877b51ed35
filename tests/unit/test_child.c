// SPDX-License-Identifier: GPL-2.0-only
/*
 * The agent's children (user/agent/child.h): what they say, how they end, and that they do.
 */
#include "unit.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include "../../user/agent/child.h"

#define SECOND	1000000ULL

static sd_event *loop;
static int status;		/* -1: not yet */
static char output[100], lines[100];

static int begin(void **state)
{
	(void)state;
	status = -1;
	*output = *lines = 0;
	return sd_event_new(&loop) < 0;
}

static int end(void **state)
{
	(void)state;
	signal(SIGCHLD, SIG_DFL);
	loop = sd_event_unref(loop);
	return 0;
}

static void says(void *arg, const char *line)
{
	size_t n = strlen(lines);

	assert_ptr_equal(arg, lines);
	snprintf(lines + n, sizeof(lines) - n, "%s|", line);
}

static void ended(void *arg, int how, const char *text)
{
	(void)arg;
	status = how;
	snprintf(output, sizeof(output), "%s", text);
}

static void run(struct agent_child_spec spec, const char *script)
{
	struct agent_child *c;
	struct remap_err err;

	spec.argv = (char *[]){ "sh", "-c", (char *)script, NULL };
	spec.ended = ended;
	spec.arg = lines;
	assert_int_equal(agent_child_run(loop, &spec, &c, &err), 0);
}

static void until_it_ends(void)
{
	while (status < 0)
		assert_true(sd_event_run(loop, 60 * SECOND) > 0);
}

static void what_it_says_and_how_it_ends_is_heard(void **state)
{
	(void)state;
	run((struct agent_child_spec){ .says = says, .keep = 5 }, "echo one; echo two; exit 3");
	until_it_ends();
	assert_int_equal(status, 3);
	assert_string_equal(lines, "one|two|");
	assert_string_equal(output, "one\nt");
	status = -1;
	run((struct agent_child_spec){ .seconds = 0 }, "kill -TERM $$");
	until_it_ends();
	assert_int_equal(status, 128 + SIGTERM);
}

static void what_cannot_be_run_is_an_error(void **state)
{
	struct agent_child_spec spec = { .argv = (char *[]){ "/nowhere/prog", NULL } };
	struct agent_child *c;
	struct remap_err err;

	(void)state;
	assert_int_equal(agent_child_run(loop, &spec, &c, &err), -ENOENT);
	assert_string_equal(err.text, "cannot run /nowhere/prog: No such file or directory");
}

/* A shell is killed after its time; what it waits for is a process of its own. */
static void a_group_is_killed_as_a_whole(void **state)
{
	int held[2];
	char c;

	(void)state;
	/* both hold it open */
	assert_int_equal(pipe(held), 0);
	run((struct agent_child_spec){ .group = true, .seconds = 1 }, "sleep 1000 & wait");
	close(held[1]);
	until_it_ends();
	assert_int_equal(status, 128 + SIGKILL);
	assert_int_equal(read(held[0], &c, 1), 0);
	close(held[0]);
}

static void one_that_somebody_else_has_waited_for_has_ended(void **state)
{
	int go[2];

	(void)state;
	assert_int_equal(pipe(go), 0);
	assert_int_equal(dup2(go[0], 9), 9);
	run((struct agent_child_spec){ .keep = 10 }, "read x <&9; echo well");
	signal(SIGCHLD, SIG_IGN);
	assert_int_equal(write(go[1], "\n", 1), 1);
	until_it_ends();
	close(9);
	close(go[0]);
	close(go[1]);
	assert_int_equal(status, CHILD_LOST);
	assert_string_equal(output, "well\n");
}

#define TEST(name)	cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_it_says_and_how_it_ends_is_heard),
		TEST(what_cannot_be_run_is_an_error),
		TEST(a_group_is_killed_as_a_whole),
		TEST(one_that_somebody_else_has_waited_for_has_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
