// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where on a device things are wrong, see surface.h. What is drawn of it is up to cmd_map.c and
 * report.c.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "surface.h"

struct json_object *get(struct json_object *o, const char *key)
{
	return json_object_object_get(o, key);
}

uint64_t get_num(struct json_object *o, const char *key)
{
	return json_object_get_uint64(get(o, key));
}

const char *get_str(struct json_object *o, const char *key)
{
	const char *s = json_object_get_string(get(o, key));

	return s ? s : "";
}

bool get_bool(struct json_object *o, const char *key)
{
	return json_object_get_boolean(get(o, key));
}

char *size_text(uint64_t bytes, char *buf, size_t size)
{
	static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double n = (double)bytes;
	int i = 0;

	while (n >= 1023.5 && i < 6) {
		n /= 1024;
		i++;
	}
	snprintf(buf, size, n < 9.95 && i ? "%.1f %s" : "%.0f %s", n, unit[i]);
	return buf;
}

/* ---- regions ---- */

struct region {
	u64 blocks, lost;
	u64 first, last;	/* sector of the first and of the last block */
};

static unsigned int region_of(const struct telemetry_area *a, u64 sector)
{
	return (unsigned int)(sector * a->region_factor >> TELEMETRY_REGION_SHIFT);
}

static unsigned int count_lost(const struct remapped *b)
{
	return (unsigned int)__builtin_popcountll(b->lost);
}

static void put_regions(struct json_object *o, const struct remaps *l,
			const struct telemetry_area *a, const struct remap_sample *s)
{
	struct json_object *regions = json_object_new_array();
	struct region region[TELEMETRY_REGIONS] = { { 0 } };

	for (size_t i = 0; i < l->n; i++) {
		struct region *r = &region[region_of(a, l->block[i].sector)];

		if (!r->blocks++)
			r->first = l->block[i].sector;
		r->last = l->block[i].sector + l->block[i].count - 1;
		r->lost += count_lost(&l->block[i]);
	}
	for (unsigned int i = 0; i < TELEMETRY_REGIONS; i++) {
		const struct region *r = &region[i];
		u64 start = remap_region_start(a, i);
		struct json_object *row;

		if (!r->blocks && (!s || (!s->region_errors[i] && !s->region_slow[i])))
			continue;
		row = json_object_new_object();
		put_num(row, "region", i);
		put_num(row, "sector", start);
		put_num(row, "count", remap_region_start(a, i + 1) - start);
		put_num(row, "blocks", r->blocks);
		put_num(row, "lost", r->lost);
		if (r->blocks) {
			put_num(row, "first", r->first);
			put_num(row, "last", r->last);
		}
		if (s) {
			put_num(row, "errors", s->region_errors[i]);
			put_num(row, "slow", s->region_slow[i]);
			put_num(row, "worst_ns",
				(u64)s->region_worst[i] << TELEMETRY_UNIT_SHIFT);
		}
		json_object_array_add(regions, row);
	}
	json_object_object_add(o, "regions", regions);
}

/* ---- places ---- */

struct place {
	u64 sector, end, blocks, lost, errors;
};

/* Worst first: what is gone, then what had to move, then what failed. */
static int worse(const void *x, const void *y)
{
	const struct place *a = x, *b = y;

	if (a->lost != b->lost)
		return a->lost < b->lost ? 1 : -1;
	if (a->blocks != b->blocks)
		return a->blocks < b->blocks ? 1 : -1;
	if (a->errors != b->errors)
		return a->errors < b->errors ? 1 : -1;
	return a->sector < b->sector ? -1 : 1;
}

/* Return: how many; *place is NULL for want of memory */
static size_t find_places(const struct remaps *l, const struct telemetry_area *a,
			  const struct remap_sample *s, struct place **place)
{
	struct place *p = calloc(l->n + TELEMETRY_REGIONS, sizeof(*p));
	bool has_blocks[TELEMETRY_REGIONS] = { false };
	size_t n = 0;

	*place = p;
	for (size_t i = 0; p && i < l->n; i++) {
		const struct remapped *b = &l->block[i];

		if (!n || b->sector > p[n - 1].end + PLACE_GAP)
			p[n++].sector = b->sector;
		p[n - 1].end = b->sector + b->count;
		p[n - 1].blocks++;
		p[n - 1].lost += count_lost(b);
		has_blocks[region_of(a, b->sector)] = true;
	}
	for (unsigned int i = 0; p && s && i < TELEMETRY_REGIONS; i++)
		if (s->region_errors[i] && !has_blocks[i])
			p[n++] = (struct place){
				.sector = remap_region_start(a, i),
				.end = remap_region_start(a, i + 1),
				.errors = s->region_errors[i],
			};
	if (p)
		qsort(p, n, sizeof(*p), worse);
	return n;
}

static void put_places(struct json_object *o, const struct remaps *l,
		       const struct telemetry_area *a, const struct remap_sample *s)
{
	struct json_object *places = json_object_new_array();
	struct place *place;
	size_t n = find_places(l, a, s, &place);

	for (size_t i = 0; i < n && i < MAX_PLACES; i++) {
		struct json_object *row = json_object_new_object();

		put_num(row, "sector", place[i].sector);
		put_num(row, "count", place[i].end - place[i].sector);
		put_num(row, "blocks", place[i].blocks);
		put_num(row, "lost", place[i].lost);
		if (!place[i].blocks)
			put_num(row, "errors", place[i].errors);
		json_object_array_add(places, row);
	}
	json_object_object_add(o, "places", places);
	put_num(o, "places_total", n);
	free(place);
}

void describe_surface(struct json_object *o, const struct remaps *l, uint64_t sectors,
		      const struct measured *m)
{
	/* as remap_telemetry_watch() does it, so that the regions are the same */
	const struct telemetry_area whole = {
		.sectors = sectors, .region_factor = sectors ? ~0ULL / sectors : 0,
	};
	bool known = m && m->known && m->area.sectors == sectors;

	put_regions(o, l, &whole, known ? &m->sample : NULL);
	put_places(o, l, &whole, known ? &m->sample : NULL);
}

static const char *plural(u64 n)
{
	return n == 1 ? "" : "s";
}

char *place_text(struct json_object *p, char *buf, size_t size)
{
	u64 first = get_num(p, "sector"), count = get_num(p, "count");
	u64 blocks = get_num(p, "blocks"), lost = get_num(p, "lost");
	int at = snprintf(buf, size, "sectors %" PRIu64 "-%" PRIu64 ": ", first,
			  first + count - 1);

	if (!blocks)
		snprintf(buf + at, size - (size_t)at, "%" PRIu64 " I/O%s failed, nothing remapped",
			 get_num(p, "errors"), plural(get_num(p, "errors")));
	else if (lost)
		snprintf(buf + at, size - (size_t)at, "%" PRIu64 " block%s remapped, %" PRIu64
			 " sector%s lost", blocks, plural(blocks), lost, plural(lost));
	else
		snprintf(buf + at, size - (size_t)at, "%" PRIu64 " block%s remapped, nothing lost",
			 blocks, plural(blocks));
	return buf;
}
