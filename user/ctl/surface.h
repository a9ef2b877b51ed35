/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The surface of a device as map and report show it: cut into the TELEMETRY_REGIONS that telemetry
 * counts by, and the places where bad blocks lie close together. Pure: what is known is given.
 */
#ifndef REMAPCTL_SURFACE_H
#define REMAPCTL_SURFACE_H

#include "remapctl.h"
#include "telemetry.h"

#define MAX_PLACES	32	/* that are described; the rest is counted */

/* Sectors that belong to one place: as far as remap-agent looks around an error. */
#define PLACE_GAP	2048

/* What telemetry has seen of a disk under a device. */
struct measured {
	bool known;
	char why[256];		/* not; or, of what is known, why that is old. Else empty */
	struct telemetry_area area;
	struct remap_sample sample;
};

/** measure() - of the data device, from what remap-agent has loaded. Always fills in @m */
void measure(const struct remap_target *t, struct measured *m);

/**
 * describe_surface() - add "regions" and "places" to @o, those with nothing in them left out
 * @m: NULL, or not known: errors and slow I/Os are left out
 *
 * A block belongs to the region that its first sector is in. A place is a run of blocks with gaps
 * of at most PLACE_GAP; and, where I/Os failed and nothing was moved, a region. Worst first.
 */
void describe_surface(struct json_object *o, const struct remaps *l, uint64_t sectors,
		      const struct measured *m);

/** place_text() - one of "places" in words. Return: @buf */
char *place_text(struct json_object *place, char *buf, size_t size);

/** size_text() - bytes, as in "932 MiB". Return: @buf */
char *size_text(uint64_t bytes, char *buf, size_t size);

/* What is read of JSON that we made: 0, "" or false where there is no such key, or null. */
uint64_t get_num(struct json_object *o, const char *key);
const char *get_str(struct json_object *o, const char *key);
bool get_bool(struct json_object *o, const char *key);
struct json_object *get(struct json_object *o, const char *key);

#define EACH_ITEM(item, array)								\
	for (size_t item##_i = 0; item##_i < ((array) ? json_object_array_length(array) : 0) && \
	     ((item) = json_object_array_get_idx(array, item##_i), true); item##_i++)

#endif
