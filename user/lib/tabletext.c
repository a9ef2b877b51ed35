// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tables as text, see tabletext.h. Lines are key=value, first of all the head, then entries, which
 * begin with a digit, then keys again, the last of them a checksum over all before it. A text of
 * which anything is missing has no such line, or the wrong one.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "tabletext.h"
#include "text.h"

#define MAX_LINE	1024	/* bytes; the longest are strings, thrice as long as they are */

/* What the head says, beside what follows from it. */
struct head {
	u64 text_version;
	u64 version;			/* of the format on disk */
	struct remap_super super;
	u64 table_generation;
	u32 lost_tables;
};

enum kind { U32, U64, STRING, UUID, SIZES };

#define FIELD(kind, member) kind, offsetof(struct head, member), \
	sizeof(((struct head *)NULL)->member)

/* In the order in which they are written; they are read in any, but for the first. */
static const struct key {
	const char *name;
	enum kind kind;
	size_t at, size;
} keys[] = {
	{ "dm_remap_table", FIELD(U64, text_version) },
	{ "version", FIELD(U64, version) },
	{ "uuid", FIELD(UUID, super.uuid) },
	{ "label", FIELD(STRING, super.label) },
	{ "generation", FIELD(U64, super.generation) },
	{ "created", FIELD(U64, super.created) },
	{ "block_size", FIELD(U32, super.block_size) },
	{ "sector_size", FIELD(U32, super.sector_size) },
	{ "data_sectors", FIELD(U64, super.data_sectors) },
	{ "spare_sectors", FIELD(U64, super.spare_sectors) },
	{ "grown_from", FIELD(SIZES, super.grown_from) },
	{ "compat", FIELD(U64, super.compat) },
	{ "ro_compat", FIELD(U64, super.ro_compat) },
	{ "incompat", FIELD(U64, super.incompat) },
	{ "data_wwn", FIELD(STRING, super.data_wwn) },
	{ "data_serial", FIELD(STRING, super.data_serial) },
	{ "data_partuuid", FIELD(STRING, super.data_partuuid) },
	{ "data_fsuuid", FIELD(STRING, super.data_fsuuid) },
	{ "tables_used", FIELD(U32, super.tables_used) },
	{ "table_generation", FIELD(U64, table_generation) },
	{ "lost_tables", FIELD(U32, lost_tables) },
};

#define KEYS	(sizeof(keys) / sizeof(keys[0]))

/* The usual CRC-32C, inverted at both ends: the value of "123456789" is 0xe3069283. */
static u32 checksum(u32 crc, const char *text, size_t len)
{
	return ~remap_crc32c(~crc, (const u8 *)text, len);
}

/* ---- writing ---- */

struct writer {
	FILE *f;
	u32 crc;
};

static void put(struct writer *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void put(struct writer *w, const char *fmt, ...)
{
	char line[MAX_LINE];
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	w->crc = checksum(w->crc, line, (size_t)len);
	fwrite(line, 1, (size_t)len, w->f);
}

/* Percent-encoded, as in URLs, but for what is plain to see. */
static void encode(char *to, const char *from, size_t size)
{
	for (size_t i = 0; i < size && from[i]; i++) {
		unsigned char c = (unsigned char)from[i];

		to += sprintf(to, c > ' ' && c < 0x7f && c != '%' ? "%c" : "%%%02X", c);
	}
	*to = 0;
}

static void put_key(struct writer *w, const struct key *k, const struct head *h)
{
	const char *value = (const char *)h + k->at;
	char text[3 * REMAP_ID_LEN + 1];
	u32 n32;
	u64 n64;

	switch (k->kind) {
	case U32:
		memcpy(&n32, value, sizeof(n32));
		put(w, "%s=%" PRIu32 "\n", k->name, n32);
		break;
	case U64:
		memcpy(&n64, value, sizeof(n64));
		put(w, "%s=%" PRIu64 "\n", k->name, n64);
		break;
	case STRING:
		encode(text, value, k->size);
		put(w, "%s=%s\n", k->name, text);
		break;
	case UUID:
		remap_uuid_str((const uint8_t *)value, text);
		put(w, "%s=%s\n", k->name, text);
		break;
	case SIZES:
		put(w, "%s=", k->name);
		for (u32 i = 0; i < h->super.grown; i++)
			put(w, "%s%" PRIu64, i ? "," : "", h->super.grown_from[i]);
		put(w, "\n");
		break;
	}
}

int remap_tabletext_write(FILE *f, const struct remap_spare *sp, const struct remap_table *t)
{
	const struct head h = {
		.text_version = REMAP_TABLETEXT_VERSION, .version = REMAP_VERSION,
		.super = sp->super, .table_generation = t->generation,
		.lost_tables = t->lost_tables,
	};
	struct writer w = { .f = f };
	size_t entries = 0;

	put(&w, "# The table of a dm-remap spare, for remapctl import --table: where each block\n"
		"# is that was moved. What is in the blocks is on the spare alone, not in here.\n"
		"# Sectors are of 512 bytes.\n");
	for (size_t i = 0; i < KEYS; i++)
		put_key(&w, &keys[i], &h);
	put(&w, "# slot, state, data sector, lost (bit n: logical sector n of the block), seq, "
		"sector of the slot on the spare\n");
	for (size_t i = 0; i < t->n; i++) {
		const struct remap_slot *s = &t->slot[i];
		const struct remap_entry *e = &s->entry;
		u64 sector = remap_slot_sector(&sp->layout, s->slot);

		if (e->state == REMAP_SLOT_BAD)
			put(&w, "%" PRIu32 " bad - - - %" PRIu64 "\n", s->slot, sector);
		else if (e->state == REMAP_SLOT_MAPPED && !s->superseded)
			put(&w, "%" PRIu32 " mapped %" PRIu64 " 0x%" PRIx32 " %" PRIu32 " %" PRIu64
			    "\n", s->slot, e->block * sp->layout.block_sectors, e->lost, e->seq,
			    sector);
		else
			continue;
		entries++;
	}
	put(&w, "entries=%zu\n", entries);
	put(&w, "crc32c=0x%08" PRIx32 "\n", w.crc);
	return ferror(f) ? -EIO : 0;
}

/* ---- reading ---- */

struct reader {
	FILE *f;
	const char *name;
	char line[MAX_LINE + 1];
	unsigned long number;
	u32 crc, before;		/* with this line, and without it */
	struct head head;
	bool seen[KEYS];
	struct remap_spare *sp;
	struct remap_table *t;
	size_t slots_room;
	bool has_layout, has_entries, done;
	struct remap_err *err;
};

static int wrong(const struct reader *r, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int wrong(const struct reader *r, int code, const char *fmt, ...)
{
	char raw[256], text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	remap_text_clean(text, sizeof(text), raw);
	return remap_fail(r->err, code, "%s, line %lu: %s", r->name, r->number, text);
}

/* The bytes of the next line, newline and all, as far as there is room for them. */
static size_t get_line(struct reader *r)
{
	size_t len = 0;
	int c = 0;

	while (len < MAX_LINE && c != '\n' && (c = getc(r->f)) != EOF)
		r->line[len++] = (char)c;
	r->line[len] = 0;
	return len;
}

/* The next line that says something. Return: 1 for one, 0 at the end, or an error */
static int next_line(struct reader *r)
{
	for (;;) {
		size_t len = get_line(r);

		if (ferror(r->f))
			return remap_fail_errno(r->err, errno ? -errno : -EIO, "%s", r->name);
		if (!len)
			return 0;
		r->number++;
		/* no line that is written is as long as that, or has a NUL in it */
		if (len == MAX_LINE || strlen(r->line) != len)
			return wrong(r, -EINVAL, "not text (is it a table that remapctl export "
				     "wrote?)");
		if (r->line[len - 1] != '\n')
			return wrong(r, -EINVAL, "ends in the middle (it was cut off: take a "
				     "whole copy)");
		r->before = r->crc;
		r->crc = checksum(r->crc, r->line, len);
		r->line[len - 1] = 0;
		if (len > 1 && r->line[len - 2] == '\r')
			return wrong(r, -EINVAL, "has line ends of Windows (dos2unix takes them "
				     "away)");
		if (*r->line && *r->line != '#')
			return 1;
	}
}

static bool decode(char *to, const char *from, size_t size)
{
	size_t n = 0;

	memset(to, 0, size);
	while (*from) {
		char hex[] = { 0, 0, 0 };
		char c = *from++;

		if (c == '%') {
			if (!isxdigit((unsigned char)from[0]) || !isxdigit((unsigned char)from[1]))
				return false;
			memcpy(hex, from, 2);
			from += 2;
			c = (char)strtoul(hex, NULL, 16);
		} else if (c <= ' ' || c >= 0x7f) {
			return false;
		}
		if (!c || n == size - 1)
			return false;
		to[n++] = c;
	}
	return true;
}

static bool parse_uuid(const char *from, u8 uuid[16])
{
	char again[REMAP_UUID_STR];
	size_t n = 0;

	for (const char *p = from; *p && n < 32; p++) {
		const char *digits = "0123456789abcdef", *d = strchr(digits, *p);

		if (*p == '-')
			continue;
		if (!d)
			return false;
		uuid[n / 2] = (u8)(uuid[n / 2] << 4 | (d - digits));
		n++;
	}
	remap_uuid_str(uuid, again);
	return !strcmp(again, from);	/* dashes where they belong, and nothing behind */
}

/* A list of sizes, one for each time that the spare has grown. */
static bool parse_sizes(const char *from, struct remap_super *s)
{
	char number[24];
	size_t len;

	for (s->grown = 0; *from; from += len + (from[len] == ',' && from[len + 1])) {
		len = strcspn(from, ",");
		if (!len || len >= sizeof(number) || s->grown == REMAP_MAX_GROWN)
			return false;
		memcpy(number, from, len);
		number[len] = 0;
		if (!remap_parse_u64(number, &s->grown_from[s->grown++]))
			return false;
		if (from[len] && !from[len + 1])
			return false;	/* a comma with nothing behind it */
	}
	return true;
}

static bool parse_value(const struct key *k, const char *value, struct head *h)
{
	char *to = (char *)h + k->at;
	u64 n;
	u32 n32;

	switch (k->kind) {
	case U32:
	case U64:
		if (!remap_parse_u64(value, &n) || (k->kind == U32 && n > UINT32_MAX))
			return false;
		n32 = (u32)n;
		memcpy(to, k->kind == U32 ? (void *)&n32 : (void *)&n, k->size);
		return true;
	case STRING:
		return decode(to, value, k->size);
	case UUID:
		return parse_uuid(value, (u8 *)to);
	case SIZES:
		return parse_sizes(value, &h->super);
	}
	return false;
}

/* Text and format of a version that we know: else the rest may mean anything. */
static int check_versions(const struct reader *r)
{
	if (r->seen[0] && r->head.text_version != REMAP_TABLETEXT_VERSION)
		return wrong(r, -EOPNOTSUPP, "version %" PRIu64 " of these texts, unknown here "
			     "(use a newer dm-remap)", r->head.text_version);
	if (r->seen[1] && r->head.version != REMAP_VERSION)
		return wrong(r, -EOPNOTSUPP, "version %" PRIu64 " of the format on disk, unknown "
			     "here (use a newer dm-remap)", r->head.version);
	return 0;
}

static int read_key(struct reader *r, const char *name, const char *value)
{
	size_t i;

	for (i = 0; i < KEYS && strcmp(keys[i].name, name); i++)
		;
	if (i && !r->seen[0])
		return wrong(r, -EINVAL, "%s= is missing before it (is it a table that remapctl "
			     "export wrote?)", keys[0].name);
	if (i == KEYS)
		return wrong(r, -EINVAL, "%.64s: unknown here (a newer dm-remap may know it)",
			     name);
	if (r->seen[i])
		return wrong(r, -EINVAL, "%s given twice", name);
	if (r->has_layout)
		return wrong(r, -EINVAL, "%s behind the entries", name);
	if (!parse_value(&keys[i], value, &r->head))
		return wrong(r, -EINVAL, "%s: not a value for it", name);
	r->seen[i] = true;
	return check_versions(r);
}

/* The head is over: is it that of a spare that there can be? As a superblock is judged. */
static int finish_head(struct reader *r)
{
	_cleanup_free_ u8 *block = malloc(REMAP_MD_BLOCK);
	struct remap_spare *sp = r->sp;
	enum remap_check c;

	for (size_t i = 0; i < KEYS; i++)
		if (!r->seen[i])
			return wrong(r, -EINVAL, "%s= is missing before it", keys[i].name);
	if (!block)
		return -ENOMEM;
	sp->super = r->head.super;
	if (remap_layout_of(&sp->layout, &sp->super))
		return wrong(r, -EINVAL, "there is no such spare as it says before it: %" PRIu64
			     " sectors, blocks of %" PRIu32, sp->super.spare_sectors,
			     sp->super.block_size);
	remap_super_encode(block, &sp->super, &sp->layout);
	c = remap_super_decode(block, REMAP_ANYWHERE, &r->head.super);
	if (c)
		return wrong(r, c == REMAP_BAD_FEATURE ? -EOPNOTSUPP : -EINVAL,
			     "there is no such spare as it says before it: %s", remap_check_str(c));
	if (r->head.table_generation >= REMAP_MAX_GENERATION)
		return wrong(r, -EINVAL, "there is no such table_generation as it says before it");
	r->t->generation = r->head.table_generation;
	r->t->lost_tables = r->head.lost_tables;
	r->has_layout = true;
	return 0;
}

/* "mapped SECTOR LOST SEQ" or "bad - - -" */
static const char *parse_entry(const struct reader *r, char *const word[6], struct remap_entry *e)
{
	const struct remap_super *s = &r->sp->super;
	u64 sector, lost, seq;

	memset(e, 0, sizeof(*e));
	if (!strcmp(word[1], "bad")) {
		e->state = REMAP_SLOT_BAD;
		return strcmp(word[2], "-") || strcmp(word[3], "-") || strcmp(word[4], "-") ?
		       "a bad slot holds nothing" : NULL;
	}
	if (strcmp(word[1], "mapped"))
		return "neither mapped nor bad";
	if (!remap_parse_u64(word[2], &sector) || !remap_parse_u64(word[3], &lost) ||
	    !remap_parse_u64(word[4], &seq) || lost > UINT32_MAX || seq > UINT32_MAX)
		return "not a sector, lost sectors and seq";
	e->state = REMAP_SLOT_MAPPED;
	e->block = sector / r->sp->layout.block_sectors;
	e->lost = (u32)lost;
	e->seq = (u32)seq;
	if (sector % r->sp->layout.block_sectors)
		return "the sector is not the first of a block";
	if (sector >= s->data_sectors)
		return "the sector is beyond the data device";
	if (e->lost & ~remap_lost_mask(s, remap_block_sectors(s, e->block)))
		return "sectors are lost that the block does not have";
	return NULL;
}

static int add(struct reader *r, u32 slot, const struct remap_entry *e)
{
	struct remap_table *t = r->t;

	if (t->n == r->slots_room) {
		size_t room = r->slots_room ? 2 * r->slots_room : REMAP_ENTRIES;
		struct remap_slot *more = realloc(t->slot, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		t->slot = more;
		r->slots_room = room;
	}
	t->slot[t->n++] = (struct remap_slot){ .slot = slot, .entry = *e };
	return 0;
}

static int read_entry(struct reader *r)
{
	const struct remap_spare *sp = r->sp;
	char *word[6], *rest = r->line;
	struct remap_entry e;
	const char *why;
	u64 slot, sector;

	for (size_t i = 0; i < 6; i++) {
		word[i] = strsep(&rest, " ");
		if (!word[i] || !*word[i])
			return wrong(r, -EINVAL, "not the six words of an entry");
	}
	if (rest || !remap_parse_u64(word[0], &slot) || !remap_parse_u64(word[5], &sector))
		return wrong(r, -EINVAL, "not the six words of an entry");
	if (slot > REMAP_MAX_SLOTS || !remap_slot_exists(&sp->layout, (u32)slot) ||
	    slot / REMAP_ENTRIES >= sp->super.tables_used)
		return wrong(r, -EINVAL, "slot %" PRIu64 ": the spare has %" PRIu32 ", in %" PRIu32
			     " table blocks", slot, sp->layout.slots, sp->super.tables_used);
	if (r->t->n && slot <= r->t->slot[r->t->n - 1].slot)
		return wrong(r, -EINVAL, "slot %" PRIu64 ": not above that of the entry before",
			     slot);
	if (sector != remap_slot_sector(&sp->layout, (u32)slot))
		return wrong(r, -EINVAL, "slot %" PRIu64 ": is at sector %" PRIu64 " of the spare, "
			     "not there", slot, remap_slot_sector(&sp->layout, (u32)slot));
	why = parse_entry(r, word, &e);
	if (why)
		return wrong(r, -EINVAL, "slot %" PRIu64 ": %s", slot, why);
	return add(r, (u32)slot, &e);
}

static int read_trailer(struct reader *r, const char *name, const char *value)
{
	u32 crc = r->before;
	u64 n;

	if (!remap_parse_u64(value, &n))
		return wrong(r, -EINVAL, "%s: not a number", name);
	if (!strcmp(name, "entries")) {
		if (r->has_entries)
			return wrong(r, -EINVAL, "%s given twice", name);
		if (n != r->t->n)
			return wrong(r, -EINVAL, "%zu entries before it, not %" PRIu64 " (some of "
				     "it is missing: take a whole copy)", r->t->n, n);
		r->has_entries = true;
		return 0;
	}
	if (!r->has_entries)
		return wrong(r, -EINVAL, "entries= is missing before it");
	if (n != crc)
		return wrong(r, -EINVAL, "wrong checksum: that of the text is 0x%08" PRIx32 " (it "
			     "was damaged, or changed by hand)", crc);
	r->done = true;
	return 0;
}

static int read_line(struct reader *r)
{
	char *value = strchr(r->line, '=');
	bool trailer;
	int ret = 0;

	if (r->done)
		return wrong(r, -EINVAL, "something behind the checksum");
	if (isdigit((unsigned char)*r->line)) {
		if (!r->has_layout)
			ret = finish_head(r);
		if (!ret && r->has_entries)
			ret = wrong(r, -EINVAL, "an entry behind their number");
		return ret ? ret : read_entry(r);
	}
	if (!value)
		return wrong(r, -EINVAL, "neither key=value nor an entry (is it a table that "
			     "remapctl export wrote?)");
	*value++ = 0;
	trailer = !strcmp(r->line, "entries") || !strcmp(r->line, "crc32c");
	if (trailer && !r->has_layout)
		ret = finish_head(r);
	if (ret)
		return ret;
	return trailer ? read_trailer(r, r->line, value) : read_key(r, r->line, value);
}

/* No block in two slots: the text has left out what was superseded. */
static int check_blocks(struct reader *r)
{
	int ret = remap_table_resolve(r->t);

	for (size_t i = 0; i < r->t->n && !ret; i++)
		if (r->t->slot[i].superseded)
			ret = remap_fail(r->err, -EINVAL, "%s: slot %" PRIu32 ": its block, at "
					 "sector %" PRIu64 ", is in another slot, too", r->name,
					 r->t->slot[i].slot, r->t->slot[i].entry.block *
					 r->sp->layout.block_sectors);
	return ret;
}

int remap_tabletext_read(FILE *f, const char *name, struct remap_spare *sp, struct remap_table *t,
			 struct remap_err *err)
{
	struct reader r = { .f = f, .name = name, .sp = sp, .t = t, .err = err };
	int ret;

	memset(sp, 0, sizeof(*sp));
	memset(t, 0, sizeof(*t));
	errno = 0;
	while ((ret = next_line(&r)) > 0) {
		ret = read_line(&r);
		if (ret)
			break;
	}
	if (!ret && !r.number)
		ret = remap_fail(err, -EINVAL, "%s: empty", name);
	else if (!ret && !r.done)
		ret = remap_fail(err, -EINVAL, "%s: ends without a checksum (it was cut off: take "
				 "a whole copy)", name);
	if (!ret)
		ret = check_blocks(&r);
	if (ret == -ENOMEM)
		remap_fail(err, ret, "%s: out of memory", name);
	return ret;
}
