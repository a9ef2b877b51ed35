// SPDX-License-Identifier: GPL-2.0-only
/* Tables as text: what is written is read again, anything else is refused, by line. */
#include <errno.h>
#include "tabletext.h"
#include "unit.h"

static struct remap_spare spare;
static struct remap_table table;
static struct remap_err err;
static char *text;
static size_t len;

static int teardown(void **state)
{
	(void)state;
	remap_table_free(&table);
	free(text);
	text = NULL;
	return 0;
}

static void write_text(const struct remap_spare *sp, const struct remap_table *t)
{
	FILE *f;

	free(text);
	f = open_memstream(&text, &len);
	assert_non_null(f);
	assert_int_equal(remap_tabletext_write(f, sp, t), 0);
	assert_int_equal(fclose(f), 0);
}

static int read_bytes(const char *s, size_t n)
{
	FILE *f = fmemopen(NULL, n + 1, "w+");
	int r;

	assert_non_null(f);
	assert_int_equal(fwrite(s, 1, n, f), n);
	rewind(f);
	remap_table_free(&table);
	*err.text = 0;
	r = remap_tabletext_read(f, "text", &spare, &table, &err);
	fclose(f);
	assert_true(!r == !*err.text);
	if (r)
		assert_non_null(strstr(err.text, "text"));
	return r;
}

/* ---- there and back ---- */

static void random_string(uint64_t *seed, char *to, size_t size)
{
	size_t n = rnd(seed) % size;

	for (size_t i = 0; i < n; i++)
		to[i] = (char)(rnd(seed) % 255 + 1);
}

static struct remap_spare random_spare(uint64_t *seed)
{
	struct remap_spare sp = { .several_lives = false };
	struct remap_super *s = &sp.super;

	for (size_t i = 0; i < sizeof(s->uuid); i++)
		s->uuid[i] = (u8)rnd(seed);
	random_string(seed, s->label, sizeof(s->label));
	random_string(seed, s->data_wwn, sizeof(s->data_wwn));
	random_string(seed, s->data_serial, sizeof(s->data_serial));
	random_string(seed, s->data_partuuid, sizeof(s->data_partuuid));
	random_string(seed, s->data_fsuuid, sizeof(s->data_fsuuid));
	s->generation = rnd(seed) >> (1 + rnd(seed) % 63) | 1;
	s->block_size = 512U << rnd(seed) % 6;
	s->sector_size = 512;
	while (s->sector_size < s->block_size && rnd(seed) % 2)
		s->sector_size *= 2;
	s->data_sectors = (1 + rnd(seed) % 100000) * (s->sector_size >> 9);
	s->spare_sectors = 2048 + rnd(seed) % 20000;
	s->created = rnd(seed);
	assert_int_equal(remap_layout_compute(&sp.layout, s->spare_sectors, s->block_size), 0);
	s->tables_used = sp.layout.tables - (u32)rnd(seed) % 2 * (sp.layout.tables - 1);
	return sp;
}

static struct remap_table random_table(uint64_t *seed, const struct remap_spare *sp)
{
	u64 block = 0, blocks = remap_data_blocks(&sp->super);
	struct remap_table t = { .generation = rnd(seed) >> 1, .lost_tables = rnd(seed) % 2 };

	t.slot = calloc(sp->layout.slots, sizeof(*t.slot));
	for (u32 slot = 0; slot < sp->layout.slots && slot / REMAP_ENTRIES < sp->super.tables_used;
	     slot++) {
		struct remap_entry e = { .seq = (u32)rnd(seed), .state = REMAP_SLOT_MAPPED };

		block += 1 + rnd(seed) % 50;
		if (block >= blocks || rnd(seed) % 3 == 0)
			continue;
		e.block = block;
		if (rnd(seed) % 4 == 0)
			e.lost = (u32)rnd(seed) &
				 remap_lost_mask(&sp->super, remap_block_sectors(&sp->super,
										 block));
		if (rnd(seed) % 16 == 0)
			e = (struct remap_entry){ .state = REMAP_SLOT_BAD };
		t.slot[t.n++] = (struct remap_slot){
			.slot = slot, .entry = e,
			.superseded = e.state == REMAP_SLOT_MAPPED && rnd(seed) % 16 == 0,
		};
	}
	return t;
}

static void what_is_written_is_read_again(void **state)
{
	u64 entries = 0, superseded = 0, bad = 0;
	uint64_t seed = 1;

	(void)state;
	for (int round = 0; round < 300; round++) {
		struct remap_spare sp = random_spare(&seed);
		struct remap_table t = random_table(&seed, &sp);
		size_t n = 0;

		write_text(&sp, &t);
		if (read_bytes(text, len))
			fail_msg("%s in\n%s", err.text, text);
		assert_memory_equal(&spare.super, &sp.super, sizeof(sp.super));
		assert_int_equal(spare.layout.slots, sp.layout.slots);
		assert_int_equal(table.generation, t.generation);
		assert_int_equal(table.lost_tables, t.lost_tables);
		for (size_t i = 0; i < t.n; i++) {
			if (t.slot[i].superseded) {
				superseded++;
				continue;
			}
			assert_true(n < table.n);
			assert_int_equal(table.slot[n].slot, t.slot[i].slot);
			assert_int_equal(table.slot[n].entry.state, t.slot[i].entry.state);
			assert_int_equal(table.slot[n].entry.block, t.slot[i].entry.block);
			assert_int_equal(table.slot[n].entry.lost, t.slot[i].entry.lost);
			assert_int_equal(table.slot[n].entry.seq, t.slot[i].entry.seq);
			n++;
		}
		assert_int_equal(n, table.n);
		entries += table.n;
		bad += table.bad;
		free(t.slot);
	}
	assert_true(entries > 10000 && superseded > 100 && bad > 100);
}

/* ---- one that is known ---- */

/* The spare of the example in docs/format.md. */
static void write_example(void)
{
	struct remap_slot slot[] = {
		{ .slot = 0, .entry = { .block = 500, .seq = 1, .state = REMAP_SLOT_MAPPED } },
		{ .slot = 1, .entry = { .state = REMAP_SLOT_BAD } },
		{ .slot = 2, .entry = { .block = 577, .seq = 2, .lost = 8,
					.state = REMAP_SLOT_MAPPED } },
	};
	const struct remap_table t = { .slot = slot, .n = 3, .generation = 2 };
	struct remap_spare sp = {
		.super = {
			.uuid = { 0x0d, 0x5e, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14 },
			.label = "an \xc3\xa4 100%", .generation = 1, .created = 1790000000,
			.block_size = 4096, .sector_size = 512, .data_sectors = 4620,
			.spare_sectors = 2048, .tables_used = 1, .data_serial = "S3Z8NB0K",
		},
	};

	assert_int_equal(remap_layout_compute(&sp.layout, 2048, 4096), 0);
	write_text(&sp, &t);
}

static void it_looks_as_documented(void **state)
{
	static const char *const lines[] = {
		"\ndm_remap_table=1\nversion=1\nuuid=0d5e0102-0304-0506-0708-090a0b0c0d0e\n"
		"label=an%20%C3%A4%20100%25\n",
		"\ndata_wwn=\ndata_serial=S3Z8NB0K\n",
		"\n0 mapped 4000 0x0 1 128\n1 bad - - - 136\n2 mapped 4616 0x8 2 144\nentries=3\n"
		"crc32c=0x",
	};
	char *last;

	(void)state;
	write_example();
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		if (!strstr(text, lines[i]))
			fail_msg("no %s in\n%s", lines[i], text);
	last = strstr(text, "crc32c=");
	/* the CRC-32C that everybody has: inverted at both ends */
	assert_int_equal(~remap_crc32c(~0U, (const u8 *)"123456789", 9), 0xe3069283);
	assert_int_equal(strtoul(last + 7, NULL, 0),
			 ~remap_crc32c(~0U, (const u8 *)text, (size_t)(last - text)) & 0xffffffff);
}

static void cut_off_anywhere_it_is_refused(void **state)
{
	(void)state;
	write_example();
	assert_int_equal(read_bytes(text, len), 0);
	for (size_t i = 0; i < len; i++)
		if (!read_bytes(text, i))
			fail_msg("taken for whole after %zu of %zu bytes", i, len);
	assert_int_equal(read_bytes("", 0), -EINVAL);
	assert_string_equal(err.text, "text: empty");
}

static void with_any_bit_changed_it_is_refused_or_says_the_same(void **state)
{
	struct remap_spare sp;
	size_t same = 0;

	(void)state;
	write_example();
	assert_int_equal(read_bytes(text, len), 0);
	sp = spare;
	for (size_t i = 0; i < 8 * len; i++) {
		text[i / 8] = (char)(text[i / 8] ^ 1 << i % 8);
		if (!read_bytes(text, len)) {
			assert_memory_equal(&spare.super, &sp.super, sizeof(sp.super));
			assert_int_equal(table.n, 3);
			same++;
		}
		text[i / 8] = (char)(text[i / 8] ^ 1 << i % 8);
	}
	assert_true(same < 10);		/* hexadecimal digits of the checksum in upper case */
}

/* The example with something else in one place, and a checksum that is right again. */
static int edited(const char *from, const char *to)
{
	char *at, *new;
	size_t n;
	int r;

	write_example();
	at = strstr(text, from);
	assert_non_null(at);
	assert_true(asprintf(&new, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from)) > 0);
	at = strstr(new, "crc32c=0x");
	if (at && !strstr(from, "crc32c")) {
		n = (size_t)(at - new);
		sprintf(at + 9, "%08x",
			~remap_crc32c(~0U, (const u8 *)new, n));
		at[17] = '\n';
	}
	r = read_bytes(new, strlen(new));
	free(new);
	return r;
}

static void what_is_wrong_is_refused_by_line(void **state)
{
	static const struct {
		const char *from, *to, *says;
		int code;
	} wrong[] = {
		{ "dm_remap_table=1", "dm_remap_table=2", "line 4: version 2", -EOPNOTSUPP },
		{ "dm_remap_table=1\n", "", "line 4: dm_remap_table= is missing", -EINVAL },
		{ "version=1\n", "version=2\n", "line 5: version 2 of the format", -EOPNOTSUPP },
		{ "version=1\n", "", "version= is missing", -EINVAL },
		{ "uuid=0d5e", "uuid=0d5", "line 6: uuid: ", -EINVAL },
		{ "uuid=0d5e", "uuid=0D5E", "line 6: uuid: ", -EINVAL },
		{ "0c0d0e", "0c0d0e0f", "line 6: uuid: ", -EINVAL },
		{ "label=an", "label=%zz", "line 7: label: ", -EINVAL },
		{ "label=an", "label=%4", "line 7: label: ", -EINVAL },
		{ "label=an", "label=%00", "line 7: label: ", -EINVAL },
		{ "label=an", "label=a n", "line 7: label: ", -EINVAL },
		{ "label=an", "label=\xc3\xa4", "line 7: label: ", -EINVAL },
		{ "label=an", "label=a-label-that-is-too-long", "line 7: label: ", -EINVAL },
		{ "generation=1\n", "generation=0\n", "line 26: there is no such", -EINVAL },
		{ "generation=1\n", "generation=-1\n", "line 8: generation: ", -EINVAL },
		{ "block_size=4096", "block_size=4095", "line 26: there is no such", -EINVAL },
		{ "block_size=4096", "block_size=4294971392", "block_size: not a", -EINVAL },
		{ "block_size=4096", "block_size=", "block_size: not a", -EINVAL },
		{ "sector_size=512", "sector_size=8192", "no such spare", -EINVAL },
		{ "data_sectors=4620", "data_sectors=0", "no such spare", -EINVAL },
		{ "spare_sectors=2048", "spare_sectors=64", "no such spare", -EINVAL },
		{ "spare_sectors=2048", "spare_sectors=18446744073709551615", "no such spare",
		  -EINVAL },
		{ "grown_from=\n", "grown_from=1024\n", "no such spare", -EINVAL },
		{ "grown_from=\n", "grown_from=1024,\n", "line 14: grown_from: ", -EINVAL },
		{ "grown_from=\n", "grown_from=,1024\n", "line 14: grown_from: ", -EINVAL },
		{ "grown_from=\n", "grown_from=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16\n",
		  "line 14: grown_from: ", -EINVAL },
		{ "incompat=0", "incompat=1", "no such spare", -EINVAL },
		{ "incompat=0", "incompat=2", "unknown incompatible feature", -EOPNOTSUPP },
		{ "tables_used=1", "tables_used=2", "no such spare", -EINVAL },
		{ "table_generation=2", "table_generation=9223372036854775808", "no such table_g",
		  -EINVAL },
		{ "created=", "colour=red\ncreated=", "line 9: colour: unknown", -EINVAL },
		{ "compat=0\n", "compat=0\ncompat=0\n", "line 16: compat given twice", -EINVAL },
		{ "created=", "created ", "line 9: neither key=value nor", -EINVAL },
		{ "1 bad - - - 136", "1 bad 0 - - 136", "line 27: slot 1: a bad", -EINVAL },
		{ "1 bad - - - 136", "1 good - - - 136", "line 27: slot 1: neither", -EINVAL },
		{ "1 bad - - - 136", "1 bad - - -", "line 27: not the six words", -EINVAL },
		{ "1 bad - - - 136", "1 bad - - - 136 ", "line 27: not the six words", -EINVAL },
		{ "1 bad - - - 136", "1  bad - - 136", "line 27: not the six words", -EINVAL },
		{ "1 bad - - - 136", "1x bad - - - 136", "line 27: not the six words", -EINVAL },
		{ "1 bad - - - 136", "1 bad - - - 144", "line 27: slot 1: is at sector 136",
		  -EINVAL },
		{ "1 bad - - - 136", "0 bad - - - 128", "line 27: slot 0: not above", -EINVAL },
		{ "1 bad - - - 136", "176 bad - - - 1920", "line 27: slot 176: the spare has 176",
		  -EINVAL },
		{ "1 bad - - - 136", "4294967297 bad - - - 136", "line 27: slot 4294967297: the",
		  -EINVAL },
		{ "4000 0x0", "4001 0x0", "line 26: slot 0: the sector is not the", -EINVAL },
		{ "4000 0x0", "4624 0x0", "line 26: slot 0: the sector is beyond", -EINVAL },
		{ "4000 0x0", "4000 0x100", "line 26: slot 0: sectors are lost", -EINVAL },
		{ "4000 0x0", "4000 0x100000000", "line 26: slot 0: not a sector", -EINVAL },
		{ "4000 0x0 1", "4000 0x0 4294967296", "line 26: slot 0: not a sector", -EINVAL },
		{ "4616 0x8", "4616 0x10", "line 28: slot 2: sectors are lost", -EINVAL },
		{ "4616 0x8", "4000 0x0", "slot 0: its block, at sector 4000, is in another",
		  -EINVAL },
		{ "2 mapped 4616 0x8 2 144\n", "", "line 28: 2 entries before it, not 3",
		  -EINVAL },
		{ "entries=3\n", "", "line 29: entries= is missing", -EINVAL },
		{ "entries=3\n", "entries=3\nentries=3\n", "line 30: entries given twice",
		  -EINVAL },
		{ "entries=3\n", "entries=3\n3 bad - - - 152\n", "line 30: an entry behind",
		  -EINVAL },
		{ "entries=3\n", "compat=0\nentries=3\n", "line 29: compat given twice", -EINVAL },
		{ "crc32c=0x", "crc32c=0x1", "line 30: wrong checksum", -EINVAL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		int r = edited(wrong[i].from, wrong[i].to);

		if (r != wrong[i].code || !strstr(err.text, wrong[i].says))
			fail_msg("%s -> %s: %d, %s", wrong[i].from, wrong[i].to, r, err.text);
	}
	/* that the tests above fail for their own reasons only */
	assert_int_equal(edited("entries=3\n", "# a comment\n\nentries=0x3\n"), 0);
	assert_int_equal(edited("table_generation=2", "table_generation=0"), 0);
}

static void nothing_may_follow_the_checksum(void **state)
{
	char *twice;

	(void)state;
	write_example();
	assert_true(asprintf(&twice, "%s3 bad - - - 152\n", text) > 0);
	assert_int_equal(read_bytes(twice, strlen(twice)), -EINVAL);
	assert_non_null(strstr(err.text, "line 31: something behind the checksum"));
	free(twice);
}

static void a_slot_beyond_the_table_blocks_in_use_is_refused(void **state)
{
	struct remap_slot slot = { .slot = REMAP_ENTRIES, .entry.state = REMAP_SLOT_BAD };
	const struct remap_table t = { .slot = &slot, .n = 1, .generation = 1 };
	uint64_t seed = 7;
	struct remap_spare sp;

	(void)state;
	do {
		sp = random_spare(&seed);
	} while (sp.layout.tables < 2);
	sp.super.tables_used = 2;
	write_text(&sp, &t);
	assert_int_equal(read_bytes(text, len), 0);
	sp.super.tables_used = 1;
	write_text(&sp, &t);
	assert_int_equal(read_bytes(text, len), -EINVAL);
	assert_non_null(strstr(err.text, "in 1 table blocks"));
}

/* As an editor or a mail program leaves them. */
static void line_ends_of_windows_are_named(void **state)
{
	char *dos, *to;

	(void)state;
	write_example();
	to = dos = malloc(2 * len);
	assert_non_null(dos);
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\n')
			*to++ = '\r';
		*to++ = text[i];
	}
	assert_int_equal(read_bytes(dos, (size_t)(to - dos)), -EINVAL);
	assert_non_null(strstr(err.text, "line 1: has line ends of Windows (dos2unix "));
	free(dos);
	assert_int_equal(edited("block_size=4096\n", "block_size=4096\r\n"), -EINVAL);
	assert_non_null(strstr(err.text, "line 10: has line ends of Windows"));
}

static void what_is_no_text_is_refused(void **state)
{
	char long_line[4096];

	(void)state;
	assert_int_equal(read_bytes("\x7f\x45LF\n", 5), -EINVAL);
	assert_int_equal(read_bytes("#\0\n", 3), -EINVAL);
	assert_non_null(strstr(err.text, "line 1: not text"));
	memset(long_line, '#', sizeof(long_line));
	assert_int_equal(read_bytes(long_line, sizeof(long_line)), -EINVAL);
	assert_non_null(strstr(err.text, "line 1: not text"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(what_is_written_is_read_again, teardown),
		cmocka_unit_test_teardown(it_looks_as_documented, teardown),
		cmocka_unit_test_teardown(cut_off_anywhere_it_is_refused, teardown),
		cmocka_unit_test_teardown(with_any_bit_changed_it_is_refused_or_says_the_same,
					  teardown),
		cmocka_unit_test_teardown(what_is_wrong_is_refused_by_line, teardown),
		cmocka_unit_test_teardown(nothing_may_follow_the_checksum, teardown),
		cmocka_unit_test_teardown(a_slot_beyond_the_table_blocks_in_use_is_refused,
					  teardown),
		cmocka_unit_test_teardown(line_ends_of_windows_are_named, teardown),
		cmocka_unit_test_teardown(what_is_no_text_is_refused, teardown),
	};

	return cmocka_run_group_tests_name("tabletext", tests, NULL, NULL);
}
