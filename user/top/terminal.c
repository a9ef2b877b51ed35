// SPDX-License-Identifier: GPL-2.0-only
/*
 * Is there a terminal to draw on? By itself, as term.h takes words like "columns" for its own.
 */
#include <curses.h>
#include <errno.h>
#include <stdlib.h>
#include <term.h>
#include <unistd.h>
#include "top.h"

int top_check_terminal(struct remap_err *err)
{
	const char *type = getenv("TERM"), *cup;
	int found;

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return remap_fail(err, -ENOTTY, "standard %s is no terminal (--once prints what "
				  "the screen would show)", isatty(STDIN_FILENO) ? "output" :
				  "input");
	if (!type || !*type || setupterm(NULL, STDOUT_FILENO, &found) == ERR)
		return remap_fail(err, -EINVAL, "terminal type %s is not known (set TERM, or use "
				  "--once)", type && *type ? type : "\"\"");
	cup = tigetstr("cup");
	if (!cup || cup == (const char *)-1)
		return remap_fail(err, -EINVAL, "a terminal of type %s has no screen (set TERM, or "
				  "use --once)", type);
	return 0;
}
