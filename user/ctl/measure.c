// SPDX-License-Identifier: GPL-2.0-only
/*
 * What remap-agent's telemetry says about the disk under a device, for map and report. Whoever asks
 * loads nothing: without an agent there is nothing to know.
 */
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include "agentlog.h"
#include "surface.h"

static bool is_of(const struct telemetry_area *a, dev_t disk, u64 start)
{
	return a->sectors && a->disk == (major(disk) << 20 | minor(disk)) && a->start == start;
}

void measure(const struct remap_target *t, struct measured *m)
{
	struct remap_telemetry *tm = NULL;
	struct remap_err err;
	bool requests;
	dev_t disk;
	u64 start;

	memset(m, 0, sizeof(*m));
	if (remap_telemetry_open_pinned(&tm, REMAP_AGENT_PINS, &err)) {
		if (err.code == -ENOENT)
			snprintf(m->why, sizeof(m->why), "remap-agent, which measures, does not "
				 "run, or runs without BPF");
		else
			snprintf(m->why, sizeof(m->why), "%.*s", (int)sizeof(m->why) - 1, err.text);
		return;
	}
	if (remap_dev_disk(t->data, &disk, &start, &requests)) {
		snprintf(m->why, sizeof(m->why), "its disk is gone");
		goto out;
	}
	for (u32 i = 0; i < TELEMETRY_AREAS && !m->known; i++) {
		const struct telemetry_area *a = remap_telemetry_area(tm, i);

		if (!is_of(a, disk, start + t->data_start))
			continue;
		m->known = true;
		m->area = *a;
		remap_telemetry_read(tm, i, &m->sample);
	}
	if (!m->known)
		snprintf(m->why, sizeof(m->why), "remap-agent does not watch its disk");
	else if (!remap_agent_alive(NULL))
		snprintf(m->why, sizeof(m->why), "no remap-agent runs any more: these figures are "
			 "old");
out:
	remap_telemetry_close(tm);
}
