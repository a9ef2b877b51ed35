// SPDX-License-Identifier: GPL-2.0-only
/*
 * remapctl map: the surface in the terminal, for a quick look over ssh. As wide as it may be in
 * steps of a power of two, so that a place is found in the same way on each screen; always the
 * regions of telemetry.
 */
#include <errno.h>
#include <inttypes.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "surface.h"
#include "text.h"

#define FEW		16	/* blocks in a cell, from which on they are many */
#define WORST		5	/* places that are named */
#define WIDEST		128
#define NARROWEST	16
#define GAP		1	/* between the number of a row's first sector and its cells */

enum cell { NOTHING, SLOW, ERRORS, SOME, MANY, LOST, CELLS };

/* The worst of a cell is shown. What says so is the character; the colour only helps. */
static const struct {
	char ascii;
	const char *utf8;
	const char *colour;		/* SGR */
	const char *legend;
	bool measured;			/* by telemetry */
} look[CELLS] = {
	[NOTHING] = { '.', "·", "2", "nothing", false },
	[SLOW] = { '~', "~", "36", "slow I/O", true },
	[ERRORS] = { '!', "!", "1;35", "I/O failed", true },
	[SOME] = { 'o', "▪", "33", "1-15 blocks remapped", false },
	[MANY] = { 'O', "■", "1;33", "16 or more", false },
	[LOST] = { 'X', "X", "1;31", "sectors lost", false },
};

struct screen {
	unsigned int columns;
	bool utf8, colour;
};

static void ask_screen(struct screen *s)
{
	const char *no_colour = getenv("NO_COLOR"), *columns = getenv("COLUMNS");
	const char *term = getenv("TERM");
	bool terminal = isatty(STDOUT_FILENO);
	struct winsize w;
	uint64_t n;

	/* the one thing here that depends on it: numbers stay as they are */
	setlocale(LC_CTYPE, "");
	s->utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8");
	s->colour = terminal && (!no_colour || !*no_colour) && term && strcmp(term, "dumb");
	s->columns = 80;
	if (columns && remap_parse_u64(columns, &n) && n && n <= 10000)
		s->columns = (unsigned int)n;
	else if (terminal && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) && w.ws_col)
		s->columns = w.ws_col;
}

static enum cell cell_of(struct json_object *r)
{
	u64 blocks = get_num(r, "blocks");

	if (get_num(r, "lost"))
		return LOST;
	if (blocks)
		return blocks < FEW ? SOME : MANY;
	return get_num(r, "errors") ? ERRORS : SLOW;
}

static void put_cell(const struct screen *s, enum cell c, enum cell before)
{
	if (s->colour && c != before)
		printf("\033[0;%sm", look[c].colour);
	if (s->utf8)
		fputs(look[c].utf8, stdout);
	else
		putchar(look[c].ascii);
}

static void end_cells(const struct screen *s)
{
	if (s->colour)
		fputs("\033[0m", stdout);
}

static int digits(u64 n)
{
	return snprintf(NULL, 0, "%" PRIu64, n);
}

static void draw(const struct screen *s, const enum cell *cell, u64 sectors)
{
	const struct telemetry_area whole = {
		.sectors = sectors, .region_factor = sectors ? ~0ULL / sectors : 0,
	};
	int label = digits(sectors);
	unsigned int width = WIDEST;

	while (width > NARROWEST && width + (unsigned int)label + GAP > s->columns)
		width /= 2;
	for (unsigned int i = 0; i < TELEMETRY_REGIONS; i++) {
		if (i % width == 0)
			printf("%*" PRIu64 "%*s", label, remap_region_start(&whole, i), GAP, "");
		put_cell(s, cell[i], i % width ? cell[i - 1] : CELLS);
		if (i % width == width - 1) {
			end_cells(s);
			putchar('\n');
		}
	}
}

static void legend(const struct screen *s, bool measured)
{
	unsigned int at = 0;

	for (int c = NOTHING; c < CELLS; c++) {
		unsigned int width = (unsigned int)strlen(look[c].legend) + 2;

		if (look[c].measured && !measured)
			continue;
		if (at)
			fputs(at + 2 + width > s->columns ? "\n" : "  ", stdout);
		at = at && at + 2 + width <= s->columns ? at + 2 + width : width;
		put_cell(s, (enum cell)c, CELLS);
		end_cells(s);
		printf(" %s", look[c].legend);
	}
	putchar('\n');
}

static void out_text(struct json_object *o)
{
	struct json_object *row, *places = get(o, "places");
	u64 sectors = get_num(o, "size_sectors"), left = get_num(o, "places_total");
	enum cell cell[TELEMETRY_REGIONS] = { NOTHING };
	char all[32], one[32], text[160];
	const char *unknown = get_str(o, "unmeasured");
	struct screen s;
	int named = 0;

	ask_screen(&s);
	EACH_ITEM(row, get(o, "regions"))
		cell[get_num(row, "region")] = cell_of(row);
	printf("%s, %s: each cell is %s\n\n", get_str(o, "name"),
	       size_text(sectors * 512, all, sizeof(all)),
	       size_text(sectors / 2, one, sizeof(one)));
	draw(&s, cell, sectors);
	putchar('\n');
	legend(&s, get_bool(o, "measured"));
	if (*unknown)
		printf("%s: %s\n", get_bool(o, "measured") ? "Errors and slow I/Os" :
		       "Errors and slow I/Os are not known", unknown);
	putchar('\n');
	if (!left) {
		puts("Nothing is remapped, and nothing lost.");
		return;
	}
	EACH_ITEM(row, places) {
		if (named++ == WORST)
			break;
		puts(place_text(row, text, sizeof(text)));
		left--;
	}
	if (left)
		printf("and %" PRIu64 " more place%s (remapctl list %s)\n", left,
		       left == 1 ? "" : "s", get_str(o, "name"));
}

int cmd_map(const struct args *a)
{
	_cleanup_free_ struct measured *m = malloc(sizeof(*m));
	_cleanup_json_ struct json_object *o = json_object_new_object();
	struct remap_target t;
	struct remap_err err;
	struct remaps l;
	int r;

	if (!m)
		return problem("out of memory");
	if (remap_dm_get(device_name(a->pos[0]), &t, &err))
		return problem_err(&err);
	r = list_blocks(&t, &l, &err);
	if (!r) {
		measure(&t, m);
		put_str(o, "name", t.name);
		put_num(o, "size_sectors", t.sectors);
		put_bool(o, "measured", m->known);
		put_str(o, "unmeasured", *m->why ? m->why : NULL);
		describe_surface(o, &l, t.sectors, m);
		if (!out_json(a, o))
			out_text(o);
	}
	free(l.block);
	return r ? problem_err(&err) : EXIT_GOOD;
}
