/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a disk says of itself, by way of smartctl(8) --json.
 */
#ifndef REMAP_AGENT_SMART_H
#define REMAP_AGENT_SMART_H

#include <stdbool.h>
#include "format.h"

/* Not one sum: a sector that was pending and then is reallocated goes from one to the other, and a
 * new one would not be seen behind it. */
enum {
	AGENT_SMART_REALLOCATED, AGENT_SMART_PENDING, AGENT_SMART_UNCORRECTABLE,
	AGENT_SMART_COUNTS
};

struct agent_smart {
	bool known;
	bool sum;			/* that is all that is known, and in the first count */
	u64 count[AGENT_SMART_COUNTS];	/* sectors; what a disk does not count is 0 */
};

/**
 * agent_smart_read() - sectors that a disk counts as bad: reallocated, pending and uncorrectable
 * ones of an ATA disk, the grown defects of a SCSI disk, the media errors of an NVMe disk
 * @json: what smartctl said
 *
 * Return: s->known
 */
bool agent_smart_read(struct agent_smart *s, const char *json);

/** agent_smart_rose() - is any of the counts higher now? Not if it was not known */
bool agent_smart_rose(const struct agent_smart *before, const struct agent_smart *now);

/** agent_smart_bad() - bad sectors: pending ones are, as a rule, the uncorrectable ones as well */
u64 agent_smart_bad(const struct agent_smart *s);

#endif
