// SPDX-License-Identifier: GPL-2.0-only
/* Lists of bad blocks that other programs made: what is in them, and what is refused, by line. */
#include <errno.h>
#include "badlist.h"
#include "unit.h"

static struct remap_ranges r;
static struct remap_err err;

static int teardown(void **state)
{
	(void)state;
	remap_ranges_free(&r);
	return 0;
}

static FILE *text(const char *s, size_t len)
{
	FILE *f = fmemopen(NULL, len + 1, "w+");

	assert_non_null(f);
	assert_int_equal(fwrite(s, 1, len, f), len);
	rewind(f);
	return f;
}

static int badblocks(const char *s, u32 unit)
{
	FILE *f = text(s, strlen(s));
	int ret = remap_badlist_badblocks(f, "list", unit, &r, &err);

	fclose(f);
	return ret;
}

static int ddrescue(const char *s)
{
	FILE *f = text(s, strlen(s));
	int ret = remap_badlist_ddrescue(f, "map", &r, &err);

	fclose(f);
	return ret;
}

static void expect_range(size_t i, u64 sector, u64 count)
{
	assert_true(i < r.n);
	assert_int_equal(r.range[i].sector, sector);
	assert_int_equal(r.range[i].count, count);
}

static void a_list_of_badblocks_is_read_in_its_unit(void **state)
{
	(void)state;
	assert_int_equal(badblocks("10\n11\n\n  12 \n40\n", 1024), 0);
	assert_int_equal(r.n, 2);
	expect_range(0, 20, 6);
	expect_range(1, 80, 2);
	remap_ranges_free(&r);
	assert_int_equal(badblocks("3", 4096), 0);
	expect_range(0, 24, 8);
}

static void an_empty_list_is_good_news(void **state)
{
	(void)state;
	assert_int_equal(badblocks("", 1024), 0);
	assert_int_equal(r.n, 0);
	remap_ranges_settle(&r, 8, 1000);
	assert_int_equal(r.n, 0);
}

static void what_is_no_list_is_refused_by_line(void **state)
{
	static const char *const wrong[] = {
		"1\n-2\n", "1\n2x\n", "1\n0x\n", "1\n+2\n", "1\n99999999999999999999\n",
		"1\n36028797018963968\n", "1\n2 3\n", "1\n\x7f\x45LF\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		assert_int_equal(badblocks(wrong[i], 1024), -EINVAL);
		assert_non_null(strstr(err.text, "list, line 2: "));
		remap_ranges_free(&r);
	}
}

static void a_nul_ends_no_number(void **state)
{
	FILE *f = text("1\n2\0003\n", 6);

	(void)state;
	assert_int_equal(remap_badlist_badblocks(f, "list", 512, &r, &err), -EINVAL);
	assert_non_null(strstr(err.text, "list, line 2: "));
	fclose(f);
}

/* After "Mapfile structure" in the manual of ddrescue 1.27. */
static const char mapfile[] =
	"# Mapfile. Created by GNU ddrescue version 1.27\n"
	"# current_pos  current_status  current_pass\n"
	"0x00120000     ?               1\n"
	"#      pos        size  status\n"
	"0x00000000  0x00117000  +\n"
	"0x00117000  0x00000200  -\n"
	"0x00117200  0x00001000  /\n"
	"0x00118200  0x00007E00  *\n"
	"0x00120000  0x00048000  ?\n"
	"0x00168000  0x00000400  -\n";

static void of_a_mapfile_what_is_bad_is_taken(void **state)
{
	(void)state;
	assert_int_equal(ddrescue(mapfile), 0);
	assert_int_equal(r.n, 2);
	expect_range(0, 0x117000 / 512, 1);
	expect_range(1, 0x168000 / 512, 2);
	assert_int_equal(r.unknown, 0x1000 + 0x7e00);
}

static void a_mapfile_without_extents_or_with_bytes_is_one(void **state)
{
	(void)state;
	assert_int_equal(ddrescue("0x0 ?\n"), 0);
	assert_int_equal(r.n, 0);
	remap_ranges_free(&r);
	/* not whole sectors: all that it touches */
	assert_int_equal(ddrescue("0x0 F\n0 1000 +\n1000 100 -\n1100 1000 +\n"), 0);
	assert_int_equal(r.n, 1);
	expect_range(0, 1, 2);
}

static void what_is_no_mapfile_is_refused_by_line(void **state)
{
	static const struct {
		const char *text, *says;
	} wrong[] = {
		{ "", "map: empty" },
		{ "# nothing but words\n", "map: empty" },
		{ "10\n11\n", "map, line 1: " },
		{ "0x0 + 1\n0x0 0x200\n", "map, line 2: " },
		{ "0x0 + 1\n0x0 0x200 + 1\n", "map, line 2: " },
		{ "0x0 + 1\n0x0 0x200 x\n", "map, line 2: " },
		{ "0x0 + 1\n0x0 0x200 --\n", "map, line 2: " },
		{ "0x0 + 1\n0x0 0 -\n", "map, line 2: " },
		{ "0x0 + 1\n0x0 0xffffffffffffffff -\n", "map, line 2: " },
		{ "0x0 + 1\n0x0 0x200 +\n0x400 0x200 -\n", "map, line 3: " },
		{ "0x0 + 1\n0x0 0x200 +\n0x100 0x200 -\n", "map, line 3: " },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		assert_int_equal(ddrescue(wrong[i].text), -EINVAL);
		if (!strstr(err.text, wrong[i].says))
			fail_msg("%s: no '%s'", err.text, wrong[i].says);
		remap_ranges_free(&r);
	}
}

static void ranges_become_whole_blocks_sorted_and_joined(void **state)
{
	(void)state;
	assert_int_equal(badblocks("100\n5\n6\n9\n5\n1001\n17\n", 512), 0);
	remap_ranges_settle(&r, 8, 1005);
	assert_int_equal(r.n, 3);
	expect_range(0, 0, 24);		/* 5, 6, 9 and 17 */
	expect_range(1, 96, 8);
	expect_range(2, 1000, 5);	/* the last block is short */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_list_of_badblocks_is_read_in_its_unit, teardown),
		cmocka_unit_test_teardown(an_empty_list_is_good_news, teardown),
		cmocka_unit_test_teardown(what_is_no_list_is_refused_by_line, teardown),
		cmocka_unit_test_teardown(a_nul_ends_no_number, teardown),
		cmocka_unit_test_teardown(of_a_mapfile_what_is_bad_is_taken, teardown),
		cmocka_unit_test_teardown(a_mapfile_without_extents_or_with_bytes_is_one, teardown),
		cmocka_unit_test_teardown(what_is_no_mapfile_is_refused_by_line, teardown),
		cmocka_unit_test_teardown(ranges_become_whole_blocks_sorted_and_joined, teardown),
	};

	return cmocka_run_group_tests_name("badlist", tests, NULL, NULL);
}
