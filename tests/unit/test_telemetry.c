// SPDX-License-Identifier: GPL-2.0-only
/*
 * What readers make of telemetry's buckets and regions. That the programs in bpf/ count into the
 * same ones is tests/vm/telemetry.bats.
 */
#include "unit.h"
#include "telemetry.h"

static void buckets_follow_each_other_and_are_an_eighth_wide(void **state)
{
	(void)state;
	assert_int_equal(remap_bucket_ns(0), 0);
	for (unsigned int b = 0; b < TELEMETRY_BUCKETS; b++) {
		u64 from = remap_bucket_ns(b), to = remap_bucket_ns(b + 1);

		assert_true(to > from);
		if (b >= 8)
			assert_true((to - from) * 8 <= from);
		else
			assert_int_equal(to - from, 1 << TELEMETRY_UNIT_SHIFT);
	}
	assert_int_equal(remap_bucket_ns(TELEMETRY_BUCKETS), TELEMETRY_LONGEST + 1);
}

static void percentiles_are_upper_bounds(void **state)
{
	u64 h[TELEMETRY_BUCKETS] = { 0 };

	(void)state;
	assert_int_equal(remap_percentile(h, 500), 0);
	h[10] = 500;
	h[20] = 499;
	h[30] = 1;
	assert_int_equal(remap_percentile(h, 0), remap_bucket_ns(11));
	assert_int_equal(remap_percentile(h, 500), remap_bucket_ns(11));
	assert_int_equal(remap_percentile(h, 501), remap_bucket_ns(21));
	assert_int_equal(remap_percentile(h, 999), remap_bucket_ns(21));
	assert_int_equal(remap_percentile(h, 1000), remap_bucket_ns(31));
}

static void several_percentiles_at_once_are_the_same(void **state)
{
	static const unsigned int permille[] = { 1, 500, 500, 990, 999, 1000 };
	u64 h[TELEMETRY_BUCKETS] = { 0 }, ns[6], all = 0, seed = 1;

	(void)state;
	assert_int_equal(remap_percentiles(h, permille, 6, ns), 0);
	for (int i = 0; i < 6; i++)
		assert_int_equal(ns[i], 0);
	for (int round = 0; round < 200; round++) {
		h[rnd(&seed) % TELEMETRY_BUCKETS] += rnd(&seed) % 1000;
		all = 0;
		for (int b = 0; b < TELEMETRY_BUCKETS; b++)
			all += h[b];
		assert_int_equal(remap_percentiles(h, permille, 6, ns), all);
		for (int i = 0; i < 6; i++)
			assert_int_equal(ns[i], remap_percentile(h, permille[i]));
	}
}

/* As region_of() in telemetry.bpf.c has it. */
static u64 region(const struct telemetry_area *a, u64 sector)
{
	return (sector * a->region_factor) >> TELEMETRY_REGION_SHIFT;
}

static void regions_tile_an_area_of_any_size(void **state)
{
	static const u64 sizes[] = {
		1, 7, 1023, 1024, 1025, 4999, 131072, 7814037168, 1ULL << 40, (1ULL << 40) - 1,
		(1ULL << 50) + 12345,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		struct telemetry_area a = {
			.sectors = sizes[i],
			.region_factor = ~0ULL / sizes[i],
		};
		u64 from = 0, each = sizes[i] / TELEMETRY_REGIONS;

		assert_int_equal(remap_region_start(&a, 0), 0);
		assert_true(region(&a, sizes[i] - 1) < TELEMETRY_REGIONS);
		for (unsigned int r = 0; r < TELEMETRY_REGIONS; r++) {
			u64 to = remap_region_start(&a, r + 1);

			assert_true(to >= from);
			if (to > from) {
				assert_int_equal(region(&a, from), r);
				assert_int_equal(region(&a, to - 1), r);
			}
			/* alike, but for a sector or a thousandth; the last has what is left */
			if (sizes[i] >= TELEMETRY_REGIONS && r < TELEMETRY_REGIONS - 1)
				assert_in_range(to - from, each, each + 1 + each / 1000);
			from = to;
		}
		assert_int_equal(from, sizes[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buckets_follow_each_other_and_are_an_eighth_wide),
		cmocka_unit_test(percentiles_are_upper_bounds),
		cmocka_unit_test(several_percentiles_at_once_are_the_same),
		cmocka_unit_test(regions_tile_an_area_of_any_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
