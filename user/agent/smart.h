/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a disk says of itself, by way of smartctl(8) --json.
 */
#ifndef REMAP_AGENT_SMART_H
#define REMAP_AGENT_SMART_H

#include <stdbool.h>
#include "format.h"

/**
 * agent_smart_bad() - sectors that a disk counts as bad: reallocated and pending ones of an ATA
 * disk, the grown defects of a SCSI disk, the media errors of an NVMe disk
 * @json: what smartctl said
 *
 * Return: false if it says nothing of the kind
 */
bool agent_smart_bad(const char *json, u64 *bad);

#endif
