// SPDX-License-Identifier: GPL-2.0-only
/*
 * Of what smartctl --json says, the counts of bad sectors. Its fields are in the source of
 * smartmontools (ataprint.cpp, scsiprint.cpp, nvmeprint.cpp); numbers of ATA attributes are those
 * that all vendors use for the purpose: 5 reallocated, 197 pending, 198 offline uncorrectable.
 */
#include <json-c/json.h>
#include "smart.h"

static bool number(struct json_object *o, const char *name, u64 *value)
{
	struct json_object *v;

	if (!json_object_object_get_ex(o, name, &v) || !json_object_is_type(v, json_type_int))
		return false;
	*value = json_object_get_uint64(v);
	return true;
}

static bool ata(struct json_object *o, u64 count[AGENT_SMART_COUNTS])
{
	static const u64 ids[AGENT_SMART_COUNTS] = { 5, 197, 198 };
	struct json_object *attributes, *table, *raw;
	bool found = false;

	if (!json_object_object_get_ex(o, "ata_smart_attributes", &attributes) ||
	    !json_object_object_get_ex(attributes, "table", &table) ||
	    !json_object_is_type(table, json_type_array))
		return false;
	for (size_t i = 0; i < json_object_array_length(table); i++) {
		struct json_object *a = json_object_array_get_idx(table, i);
		u64 id, value;

		if (!number(a, "id", &id) || !json_object_object_get_ex(a, "raw", &raw) ||
		    !number(raw, "value", &value))
			continue;
		for (int k = 0; k < AGENT_SMART_COUNTS; k++) {
			if (ids[k] != id)
				continue;
			/* some vendors keep other things in the upper half */
			count[k] = value & 0xffffffff;
			found = true;
		}
	}
	return found;
}

bool agent_smart_read(struct agent_smart *s, const char *json)
{
	struct json_object *o = json_tokener_parse(json), *log;

	*s = (struct agent_smart){ .known = false };
	s->known = ata(o, s->count) ||
		   number(o, "scsi_grown_defect_list", &s->count[AGENT_SMART_REALLOCATED]) ||
		   (json_object_object_get_ex(o, "nvme_smart_health_information_log", &log) &&
		    number(log, "media_errors", &s->count[AGENT_SMART_UNCORRECTABLE]));
	json_object_put(o);
	return s->known;
}

bool agent_smart_rose(const struct agent_smart *before, const struct agent_smart *now)
{
	u64 sum = 0;
	bool rose = false;

	if (!before->known || !now->known)
		return false;
	for (int k = 0; k < AGENT_SMART_COUNTS; k++) {
		rose |= now->count[k] > before->count[k];
		sum += now->count[k];
	}
	return before->sum ? sum > before->count[0] : rose;
}

u64 agent_smart_bad(const struct agent_smart *s)
{
	u64 pending = s->count[AGENT_SMART_PENDING], not = s->count[AGENT_SMART_UNCORRECTABLE];

	return s->count[AGENT_SMART_REALLOCATED] + (pending > not ? pending : not);
}
