// SPDX-License-Identifier: GPL-2.0-only
/*
 * The page of remapctl report: what it makes of what is known, that nothing of that is missing in
 * it, and that no name or label can break it. With REMAP_REPORT_PAGES=FOLDER the pages are left
 * there, for tests/host/report.bats to show them to a browser.
 */
#include <stdlib.h>
#include "../../user/ctl/report.h"
#include "text.h"
#include "unit.h"

#define SECTORS		1953525168ULL
#define NOW		1764000000ULL
#define MINUTE		60000ULL
#define HOUR		(60 * MINUTE)
#define UUID		"11111111-2222-4333-8444-555555555555"

static struct remaps remaps;
static struct record record;
static struct measured m;
static const char *fourth_replica = "ok";	/* the others are ok; NULL: not known */
static char *page;
static size_t page_size;

static int teardown(void **state)
{
	(void)state;
	free(remaps.block);
	free(record.event);
	free(page);
	memset(&remaps, 0, sizeof(remaps));
	memset(&record, 0, sizeof(record));
	memset(&m, 0, sizeof(m));
	page = NULL;
	fourth_replica = "ok";
	return 0;
}

static void remap(u64 sector, u64 lost)
{
	if (!(remaps.n & (remaps.n - 1)))
		remaps.block = realloc(remaps.block, (2 * remaps.n + 1) * sizeof(*remaps.block));
	assert_non_null(remaps.block);
	remaps.unit = 1;
	remaps.block[remaps.n] = (struct remapped){ sector, 8, remaps.n, lost };
	remaps.n++;
}

static void event(u64 ago_ms, const char *what, const char *result, u64 sector, const char *text)
{
	struct remap_agent_event *e;

	record.event = realloc(record.event, (record.n + 1) * sizeof(*record.event));
	assert_non_null(record.event);
	e = &record.event[record.n++];
	memset(e, 0, sizeof(*e));
	e->time_ms = NOW * 1000 - ago_ms;
	e->priority = 4;
	snprintf(e->name, sizeof(e->name), "safe");
	snprintf(e->uuid, sizeof(e->uuid), UUID);
	snprintf(e->what, sizeof(e->what), "%s", what);
	snprintf(e->result, sizeof(e->result), "%s", result);
	e->has_sectors = sector != 0;
	e->sector = sector;
	e->sectors = 8;
	snprintf(e->text, sizeof(e->text), "%s", text);
}

/* As describe_target() does it. */
static struct json_object *device(const char *name, const char *state)
{
	struct json_object *o = json_object_new_object();
	u64 lost = 0;

	for (size_t i = 0; i < remaps.n; i++)
		lost += (u64)__builtin_popcountll(remaps.block[i].lost);
	put_str(o, "name", name);
	put_str(o, "uuid", UUID);
	put_str(o, "state", state);
	put_bool(o, "suspended", false);
	put_str(o, "data_device", "/dev/sda");
	put_str(o, "spare_device", "/dev/sdb1");
	put_num(o, "size_sectors", SECTORS);
	put_num(o, "block_size", 4096);
	put_num(o, "slots_total", 262144);
	put_num(o, "slots_used", remaps.n);
	put_num(o, "slots_bad", 0);
	put_num(o, "lost_sectors", lost);
	put_num(o, "replicas_ok", 5);
	put_num(o, "replicas_total", 5);
	put_num(o, "relocations", remaps.n);
	put_num(o, "reads_recovered", 3);
	put_num(o, "io_errors", lost);
	put_num(o, "stuck", 0);
	return o;
}

/* What cmd_report.c gathers. Without m.known nobody measures, without events nobody notes. */
static struct json_object *report(struct json_object *dev, const char *label, const char *model)
{
	struct json_object *o = json_object_new_object(), *surface = json_object_new_object();
	struct json_object *replicas = json_object_new_array();
	struct json_object *agent = json_object_new_object(), *disk = json_object_new_object();

	put_num(o, "made", NOW);
	put_str(o, "version", "test");
	put_str(o, "host", "storage-7");
	json_object_object_add(o, "device", dev);
	put_str(disk, "model", model);
	put_str(disk, "serial", "ZC1234567");
	json_object_object_add(o, "disk", disk);
	put_str(o, "label", label);
	for (u64 z = 0; fourth_replica && z < 5; z++) {
		struct json_object *row = json_object_new_object();

		put_num(row, "index", z);
		put_str(row, "state", z == 3 ? fourth_replica : "ok");
		json_object_array_add(replicas, row);
	}
	json_object_object_add(o, "replicas", fourth_replica ? replicas : NULL);
	if (!fourth_replica) {
		json_object_put(replicas);
		put_str(o, "replicas_unknown", "it does not answer");
	}
	json_object_object_add(o, "surface", surface);
	put_num(surface, "size_sectors", SECTORS);
	describe_surface(surface, &remaps, SECTORS, &m);
	describe_blocks(o, &remaps);
	put_str(o, "unmeasured", m.known ? NULL : "remap-agent does not run");
	if (m.known)
		describe_latency(o, &m);
	put_bool(agent, "alive", m.known);
	put_num(agent, "scrubbed", m.known ? NOW - 86400 * 12 : 0);
	json_object_object_add(o, "agent", agent);
	if (record.n)
		describe_events(o, &record, "safe", UUID, NOW * 1000);
	else
		put_str(o, "events_unknown", "remap-agent has not run");
	judge_report(o);
	return o;
}

static void render(struct json_object *o, const char *name)
{
	const char *folder = getenv("REMAP_REPORT_PAGES");
	_cleanup_free_ char *path = NULL;
	FILE *f = open_memstream(&page, &page_size);

	assert_non_null(f);
	report_html(f, o);
	assert_int_equal(fclose(f), 0);
	if (!folder)
		return;
	assert_true(asprintf(&path, "%s/%s.html", folder, name) > 0);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(page, 1, page_size, f), page_size);
	assert_int_equal(fclose(f), 0);
}

static const char *level(struct json_object *o)
{
	return get_str(get(o, "verdict"), "level");
}

static void failing_disk(void)
{
	u64 seed = 7;

	fourth_replica = "stale";
	for (u64 i = 0; i < 34; i++)
		remap(412345600 + i * 8 + i / 20 * 400, i % 9 == 4 ? 0x3c : 0);
	for (u64 i = 0; i < 3; i++)
		remap(987654320 + i * 56, 0);
	remap(1300000000, 0x01);
	remap(1900000008, 0);
	m.known = true;
	m.area.sectors = SECTORS;
	m.area.region_factor = ~0ULL / SECTORS;
	m.area.slow_ns = 300000000;
	for (int i = 0; i < 200000; i++) {
		/* some hit the cache, most turn the disk, few are slow */
		unsigned int spread = (unsigned int)(rnd(&seed) % 20 + rnd(&seed) % 20);
		unsigned int base = i % 5 == 0 ? 40 : 116;

		m.sample.total[TELEMETRY_READ][base + spread / (i % 5 ? 2 : 1)]++;
		m.sample.total[TELEMETRY_WRITE][36 + spread]++;
	}
	for (unsigned int b = 150; b < 205; b += 3)
		m.sample.total[TELEMETRY_READ][b] += 1 + b % 7;
	m.sample.total[TELEMETRY_FLUSH][130] = 12;
	m.sample.ios[TELEMETRY_READ] = 200300;
	m.sample.ios[TELEMETRY_WRITE] = 200000;
	m.sample.ios[TELEMETRY_FLUSH] = 12;
	m.sample.errors = 61;
	m.sample.slow = 48;
	m.sample.region_errors[216] = 55;
	m.sample.region_errors[217] = 6;
	m.sample.region_slow[216] = 30;
	m.sample.region_slow[640] = 2;
	m.sample.region_worst[216] = 70000000;
	m.sample.region_worst[640] = 8000000;
	for (u64 i = 60; i > 1; i--) {
		u64 ago = i * i * 48000 + 1000 * i;

		event(ago, "error", "", 412345600 + 8 * i, "a read failed");
		if (i % 3 == 0)
			event(ago - 900, "slow", "", 412345600 + 8 * i, "a read took 1.2 s");
		if (i % 2)
			event(ago - 1000, "move", "done", 412345600 + 8 * i,
			      "moved after 3 strikes");
		if (i % 10 == 4)
			event(ago - 1500, "lost", "", 412345600 + 8 * i, "4 sectors were lost");
	}
}

/* Each remapped block of the listing in words, as hovers say it where none is beside another. */
static void expect_block(const struct remapped *b, const char *in)
{
	char text[80];

	snprintf(text, sizeof(text), "sectors %llu-%llu: slot %llu", (unsigned long long)b->sector,
		 (unsigned long long)(b->sector + b->count - 1), (unsigned long long)b->slot);
	if (!strstr(in, text))
		fail_msg("%s: not in the page", text);
}

static void a_failing_disk_is_told_what_where_and_how_fast(void **state)
{
	struct json_object *o, *v;

	(void)state;
	failing_disk();
	o = report(device("safe", "active"), "archive", "ACME Spinner 1000");
	v = get(o, "verdict");
	assert_string_equal(level(o), "bad");
	assert_string_equal(get_str(v, "headline"),
			    "Data is lost: 17 sectors, and the disk is getting worse.");
	assert_non_null(strstr(json_object_get_string(get(v, "where")),
			       "sectors 412345600-412346271: 34 blocks remapped, 16 sectors lost "
			       "(at 21.1 % of the disk)"));
	assert_true(get_bool(v, "worse"));
	render(o, "failing");
	assert_non_null(strstr(page, "Data is lost: 17 sectors"));
	/* places have each block by itself, the surface has runs */
	for (size_t i = 0; i < remaps.n; i++)
		expect_block(&remaps.block[i], strstr(page, "id='places'"));
	assert_non_null(strstr(page, "sectors 412345600-412345631: 4 blocks, slots 0-3"));
	assert_non_null(strstr(page, "sectors 412345632-412345639: slot 4; lost "
			       "412345634-412345637"));
	json_object_put(o);
}

static void a_disk_without_bad_blocks_is_well(void **state)
{
	struct json_object *o;

	(void)state;
	m.known = true;
	m.area.sectors = SECTORS;
	event(100 * HOUR, "scrub", "done", 0, "the surface was read");
	o = report(device("safe", "active"), "", NULL);
	assert_string_equal(level(o), "well");
	assert_int_equal(json_object_array_length(get(get(o, "verdict"), "what")), 0);
	render(o, "well");
	assert_non_null(strstr(page, "All is well"));
	json_object_put(o);
}

static void what_is_not_known_is_said_with_the_reason(void **state)
{
	struct json_object *o;

	(void)state;
	remap(8000, 0);
	fourth_replica = NULL;
	o = report(device("safe", "paused"), NULL, NULL);
	assert_string_equal(level(o), "stopped");
	render(o, "unknown");
	assert_non_null(strstr(page, "Not known: remap-agent does not run."));
	assert_non_null(strstr(page, "Not known: remap-agent has not run."));
	assert_non_null(strstr(page, "Not known, as nobody keeps a record"));
	assert_non_null(strstr(page, "it does not answer"));
	assert_null(strstr(page, "I/O failed, nothing remapped"));
	json_object_put(o);
}

static void names_and_labels_stay_text(void **state)
{
	static const char label[] = "</script><script>alert('x')</script>\"&ä€🙂";
	struct json_object *o;
	const char *json;

	(void)state;
	remap(8000, 1);
	event(HOUR, "error", "", 8000, "<img src=x onerror=alert(1)> ]]> --> <!--");
	o = report(device("<b>", "active"), label, "\"><svg onload='alert(2)'>");
	render(o, "hostile");
	assert_null(strstr(page, "<script>alert"));
	assert_null(strstr(page, "<img"));
	assert_null(strstr(page, "<svg onload"));
	assert_non_null(strstr(page, "<h1>&lt;b&gt;</h1>"));
	assert_non_null(strstr(page, "&lt;/script&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;"
			       "/script&gt;&quot;&amp;ä€🙂"));
	json = strstr(page, "id='data'>");
	assert_non_null(json);
	json += strlen("id='data'>");
	assert_true(strcspn(json, "<") == (size_t)(strstr(json, "</script>") - json));
	json_object_put(o);
}

static void the_json_in_the_page_is_what_json_prints(void **state)
{
	struct json_object *o, *in;
	char *json;

	(void)state;
	failing_disk();
	o = report(device("safe", "active"), "</script>", NULL);
	render(o, "json");
	json = strstr(page, "id='data'>") + strlen("id='data'>");
	*strstr(json, "</script>") = 0;
	in = json_tokener_parse(json);
	assert_non_null(in);
	assert_true(json_object_equal(in, o));
	json_object_put(in);
	json_object_put(o);
}

static void many_blocks_make_no_larger_page(void **state)
{
	struct json_object *o;

	(void)state;
	for (u64 i = 0; i < 100000; i++)
		remap(i * 19000, i % 100 == 50 ? 0x80 : 0);
	o = report(device("safe", "active"), NULL, NULL);
	render(o, "many");
	assert_true(page_size < 2000000);
	assert_non_null(strstr(page, "100000 blocks are too many to show each: those with "
			       "lost sectors"));
	/* the lost are not many, so each is there */
	for (size_t i = 0; i < remaps.n; i++)
		if (remaps.block[i].lost) {
			char text[32];

			snprintf(text, sizeof(text), "lost %llu",
				 (unsigned long long)remaps.block[i].sector + 7);
			if (i % 1000 == 50 && !strstr(page, text))
				fail_msg("%s: not in the page", text);
		}
	json_object_put(o);
	free(page);
	for (size_t i = 0; i < remaps.n; i++)
		remaps.block[i].lost = 0xff;
	o = report(device("safe", "active"), NULL, NULL);
	render(o, "lost");
	assert_true(page_size < 1000000);
	json_object_put(o);
}

static const char *way(void)
{
	static struct json_object *o;

	json_object_put(o);
	o = json_object_new_object();
	describe_events(o, &record, "safe", UUID, NOW * 1000);
	return get_str(get(get(o, "events"), "trend"), "way");
}

static void the_last_day_is_held_against_the_one_before(void **state)
{
	(void)state;
	event(100 * HOUR, "scrub", "begun", 0, "");
	assert_string_equal(way(), "none");
	event(40 * HOUR, "error", "", 8, "");
	event(30 * HOUR, "error", "", 16, "");
	assert_string_equal(way(), "quiet");
	event(20 * HOUR, "move", "begun", 8, "");
	event(20 * HOUR, "slow", "", 8, "");
	assert_string_equal(way(), "quiet");
	event(20 * HOUR, "move", "done", 8, "");
	assert_string_equal(way(), "better");
	event(10 * HOUR, "lost", "", 8, "");
	assert_string_equal(way(), "steady");
	event(5 * HOUR, "error", "", 8, "");
	event(4 * HOUR, "not-moved", "", 8, "");
	assert_string_equal(way(), "worse");
}

static void a_young_record_is_held_against_itself(void **state)
{
	(void)state;
	event(3 * MINUTE, "error", "", 8, "");
	assert_string_equal(way(), "new");
	record.n = 0;
	event(2 * HOUR, "error", "", 8, "");
	assert_string_equal(way(), "quiet");
	event(MINUTE, "error", "", 8, "");
	event(MINUTE, "error", "", 16, "");
	assert_string_equal(way(), "worse");
}

static void what_happened_to_another_disk_of_that_name_does_not_count(void **state)
{
	(void)state;
	event(HOUR, "error", "", 8, "");
	snprintf(record.event[0].uuid, sizeof(record.event[0].uuid), "another");
	assert_string_equal(way(), "none");
}

static void regions_are_those_of_telemetry(void **state)
{
	struct json_object *o = json_object_new_object(), *r;
	u64 blocks = 0;

	(void)state;
	for (u64 i = 0; i < 1024; i++) {
		u64 start = remap_region_start(&(struct telemetry_area){
			.sectors = SECTORS, .region_factor = ~0ULL / SECTORS }, (unsigned int)i);

		remap(start + 8 - start % 8, i == 5);
	}
	describe_surface(o, &remaps, SECTORS, NULL);
	assert_int_equal(json_object_array_length(get(o, "regions")), 1024);
	assert_int_equal(get_num(o, "places_total"), 1024);
	assert_int_equal(json_object_array_length(get(o, "places")), MAX_PLACES);
	assert_int_equal(get_num(json_object_array_get_idx(get(o, "places"), 0), "lost"), 1);
	EACH_ITEM(r, get(o, "regions")) {
		assert_int_equal(get_num(r, "region"), r_i);
		assert_int_equal(get_num(r, "blocks"), 1);
		assert_true(get_num(r, "first") >= get_num(r, "sector"));
		assert_true(get_num(r, "first") < get_num(r, "sector") + get_num(r, "count"));
		blocks += get_num(r, "blocks");
	}
	assert_int_equal(blocks, remaps.n);
	json_object_put(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_failing_disk_is_told_what_where_and_how_fast, teardown),
		cmocka_unit_test_teardown(a_disk_without_bad_blocks_is_well, teardown),
		cmocka_unit_test_teardown(what_is_not_known_is_said_with_the_reason, teardown),
		cmocka_unit_test_teardown(names_and_labels_stay_text, teardown),
		cmocka_unit_test_teardown(the_json_in_the_page_is_what_json_prints, teardown),
		cmocka_unit_test_teardown(many_blocks_make_no_larger_page, teardown),
		cmocka_unit_test_teardown(the_last_day_is_held_against_the_one_before, teardown),
		cmocka_unit_test_teardown(a_young_record_is_held_against_itself, teardown),
		cmocka_unit_test_teardown(what_happened_to_another_disk_of_that_name_does_not_count,
					  teardown),
		cmocka_unit_test_teardown(regions_are_those_of_telemetry, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
