// SPDX-License-Identifier: GPL-2.0-only
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "badlist.h"
#include "text.h"

#define MAX_SECTOR	(1ULL << 55)	/* 2^64 bytes */

static int add(struct remap_ranges *r, u64 sector, u64 count)
{
	struct remap_range *last = r->n ? &r->range[r->n - 1] : NULL;

	/* lists are sorted, so most of what touches is met here */
	if (last && sector == last->sector + last->count) {
		last->count += count;
		return 0;
	}
	if (r->n == r->room) {
		size_t room = r->room ? 2 * r->room : 256;
		struct remap_range *more = realloc(r->range, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		r->range = more;
		r->room = room;
	}
	r->range[r->n++] = (struct remap_range){ sector, count };
	return 0;
}

/* The next line that says something, without blanks at its ends. Return: NULL at the end */
static char *next_line(FILE *f, char **line, size_t *size, unsigned long *number)
{
	ssize_t len;

	while ((len = getline(line, size, f)) >= 0) {
		char *p = *line;

		++*number;
		if (strlen(p) != (size_t)len)
			*p = 0;		/* a NUL in it: no text, whatever it is */
		if (!*p)
			return p;
		while (len && isspace((unsigned char)p[len - 1]))
			p[--len] = 0;
		while (isspace((unsigned char)*p))
			p++;
		if (*p && *p != '#')
			return p;
	}
	return NULL;
}

static int bad_line(struct remap_err *err, const char *name, unsigned long number,
		    const char *line, const char *why)
{
	char text[64];

	remap_text_clean(text, sizeof(text), line);
	return remap_fail(err, -EINVAL, "%s, line %lu: %s: %s", name, number, text, why);
}

static int done(FILE *f, const char *name, char *line, int r, struct remap_err *err)
{
	int error = errno;	/* of getline(), if it was that */

	free(line);
	if (r == -ENOMEM)
		return remap_fail(err, r, "%s: out of memory", name);
	if (!r && ferror(f))
		return remap_fail_errno(err, error ? -error : -EIO, "%s", name);
	return r;
}

int remap_badlist_badblocks(FILE *f, const char *name, u32 unit, struct remap_ranges *r,
			    struct remap_err *err)
{
	unsigned long number = 0;
	char *line = NULL, *p;
	size_t size = 0;
	int ret = 0;
	u64 block;

	memset(r, 0, sizeof(*r));
	while (!ret && (p = next_line(f, &line, &size, &number))) {
		if (!isdigit((unsigned char)*p) || !remap_parse_u64(p, &block))
			ret = bad_line(err, name, number, p,
				       "not the number of a block (is it a list of badblocks?)");
		else if (block >= MAX_SECTOR / (unit >> 9))
			ret = bad_line(err, name, number, p, "no device has so many blocks");
		else
			ret = add(r, block * (unit >> 9), unit >> 9);
	}
	return done(f, name, line, ret, err);
}

/* "pos status [pass]": where ddrescue was and what it did there, which is not for us */
static bool is_status(const char *p)
{
	char word[2][32];
	u64 pos;

	return sscanf(p, "%31s %31s", word[0], word[1]) == 2 && remap_parse_u64(word[0], &pos) &&
	       !word[1][1] && strchr("?*/-FG+", word[1][0]);
}

/* "pos size status", all that is on a line */
static bool parse_extent(char *p, u64 *pos, u64 *size, char *status)
{
	char word[3][32], more;

	if (sscanf(p, "%31s %31s %31s %c", word[0], word[1], word[2], &more) != 3 || word[2][1])
		return false;
	*status = word[2][0];
	return strchr("?*/-+", *status) && remap_parse_u64(word[0], pos) &&
	       remap_parse_u64(word[1], size);
}

int remap_badlist_ddrescue(FILE *f, const char *name, struct remap_ranges *r,
			   struct remap_err *err)
{
	unsigned long number = 0;
	char *line = NULL, *p, status = 0;
	bool first = true;
	size_t bytes = 0;
	u64 pos, size, end = 0;
	int ret = 0;

	memset(r, 0, sizeof(*r));
	p = next_line(f, &line, &bytes, &number);
	if (!p)
		ret = remap_fail(err, -EINVAL, "%s: empty (is it a mapfile of ddrescue?)", name);
	else if (!is_status(p))
		ret = bad_line(err, name, number, p, "not the status line of a mapfile (is it "
			       "one of ddrescue?)");
	while (!ret && (p = next_line(f, &line, &bytes, &number))) {
		if (!parse_extent(p, &pos, &size, &status))
			ret = bad_line(err, name, number, p, "not position, size and status");
		else if (!size || size >> 63 || pos >> 63 || (!first && pos != end))
			ret = bad_line(err, name, number, p,
				       "does not go on where the line before ends");
		if (ret)
			break;
		first = false;
		end = pos + size;
		if (status == '-')
			ret = add(r, pos >> 9, ((end + 511) >> 9) - (pos >> 9));
		else if (status == '*' || status == '/')
			r->unknown += size;
	}
	return done(f, name, line, ret, err);
}

static int by_sector(const void *a, const void *b)
{
	const struct remap_range *x = a, *y = b;

	return x->sector < y->sector ? -1 : x->sector > y->sector;
}

void remap_ranges_settle(struct remap_ranges *r, u32 block_sectors, u64 end)
{
	u64 mask = block_sectors - 1;
	size_t n = 0;

	for (size_t i = 0; i < r->n; i++) {
		struct remap_range *x = &r->range[i];
		u64 to = (x->sector + x->count + mask) & ~mask;

		x->sector &= ~mask;
		x->count = (to < end ? to : end) - x->sector;
	}
	if (r->n)
		qsort(r->range, r->n, sizeof(*r->range), by_sector);
	for (size_t i = 1; i < r->n; i++) {
		struct remap_range *x = &r->range[n], *y = &r->range[i];

		if (y->sector > x->sector + x->count)
			r->range[++n] = *y;
		else if (y->sector + y->count > x->sector + x->count)
			x->count = y->sector + y->count - x->sector;
	}
	if (r->n)
		r->n = n + 1;
}

void remap_ranges_free(struct remap_ranges *r)
{
	free(r->range);
	memset(r, 0, sizeof(*r));
}
