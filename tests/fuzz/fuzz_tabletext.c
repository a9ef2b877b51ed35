// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tables as text. What is taken says the same when it is written and read again, and can be put on
 * a spare. No fuzzer finds the checksum: the last line is ours.
 */
#include "fuzz.h"
#include "tabletext.h"

static int read_text(const char *text, size_t size, struct remap_spare *sp, struct remap_table *t)
{
	FILE *f = fmemopen((void *)text, size, "r");
	struct remap_err err = { .code = 0 };
	int r;

	demand(f);
	r = remap_tabletext_read(f, "text", sp, t, &err);
	fclose(f);
	demand(!r == !*err.text && (!r || strstr(err.text, "text")));
	return r;
}

static void check(const struct remap_spare *sp, const struct remap_table *t)
{
	u64 blocks = remap_data_blocks(&sp->super);
	size_t i;

	for (i = 0; i < t->n; i++) {
		const struct remap_entry *e = &t->slot[i].entry;

		demand(!t->slot[i].superseded && (!i || t->slot[i].slot > t->slot[i - 1].slot));
		demand(remap_slot_exists(&sp->layout, t->slot[i].slot));
		demand(t->slot[i].slot / REMAP_ENTRIES < sp->super.tables_used);
		demand(e->state == REMAP_SLOT_BAD ||
		       (e->state == REMAP_SLOT_MAPPED && e->block < blocks));
	}
	demand(t->used + t->bad == t->n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct remap_table t, t2;
	struct remap_spare sp, sp2;
	char *text = NULL, *again = NULL;
	size_t len = 0, len2 = 0, i;
	FILE *f;

	if (!size)
		return 0;
	if (!read_text((const char *)data, size, &sp, &t))
		check(&sp, &t);
	remap_table_free(&t);

	f = open_memstream(&text, &len);
	demand(f && fwrite(data, 1, size, f) == size && !fflush(f));
	fprintf(f, "crc32c=0x%08x\n", ~remap_crc32c(~0U, (const u8 *)text, len));
	fclose(f);
	if (!read_text(text, len, &sp, &t)) {
		check(&sp, &t);
		f = open_memstream(&again, &len2);
		demand(f && !remap_tabletext_write(f, &sp, &t) && !fclose(f));
		demand(!read_text(again, len2, &sp2, &t2));
		demand(!memcmp(&sp.super, &sp2.super, sizeof(sp.super)));
		demand(t.n == t2.n && t.generation == t2.generation);
		for (i = 0; i < t.n; i++) {
			const struct remap_entry *e = &t.slot[i].entry, *e2 = &t2.slot[i].entry;

			demand(t.slot[i].slot == t2.slot[i].slot && e->state == e2->state);
			demand(e->block == e2->block && e->lost == e2->lost && e->seq == e2->seq);
		}
		remap_table_free(&t2);
	}
	remap_table_free(&t);
	free(text);
	free(again);
	return 0;
}
