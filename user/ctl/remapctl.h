/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the parts of remapctl share: the arguments of a command, and the one way to the outside.
 *
 * A command builds its result as JSON and hands it to an out_ function, which prints it as it is
 * or as text made from it; so the two never say different things. Errors go to stderr, one line.
 */
#ifndef REMAPCTL_H
#define REMAPCTL_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include "agentlog.h"
#include "device.h"
#include "dm.h"
#include "err.h"
#include "spare.h"

/* What commands return, and remapctl exits with. */
enum exit_status {
	EXIT_GOOD	= 0,
	EXIT_PROBLEM	= 1,	/* a problem was found, or what was asked for failed */
	EXIT_USAGE	= 2,
};

struct args {
	const char *command;
	const char *data;
	const char *spare;
	const char *block_size;
	const char *label;
	const char **option;		/* key=value */
	unsigned int options;
	bool force;
	bool search;
	bool new_identity;
	const char *badblocks;		/* import: files */
	const char *ddrescue;
	const char *list_block;
	const char *table;
	bool dry_run;
	bool blocks;			/* verify */
	const char *output;		/* report: a file */
	bool json;
	char **pos;			/* NAME, then SECTOR[+COUNT]... */
	unsigned int positions;
};

struct progress;

typedef int command_fn(const struct args *a);

/* cmd_spare.c: what works on a spare, active or not */
command_fn cmd_format, cmd_dump, cmd_scan;
int verify_spare(const struct args *a);
int repair_spare(const struct args *a);

/* cmd_target.c: what works on an active device */
command_fn cmd_start, cmd_create, cmd_stop, cmd_status, cmd_list, cmd_remap, cmd_unmap, cmd_verify,
	   cmd_repair, cmd_grow, cmd_reset;

/** agent_target() - what remap-agent says of it, or NULL */
const struct remap_agent_target *agent_target(const struct remap_agent_status *s,
					      const struct remap_target *t);

/** describe_target() - what status shows of a device, but for what remap-agent does with it */
struct json_object *describe_target(const struct remap_target *t);

/* All remapped blocks, by sector. */
struct remaps {
	struct remapped {
		u64 sector, count, slot;
		u64 lost;	/* a bit for each logical sector */
	} *block;
	size_t n, room;
	u32 unit;		/* sectors of 512 bytes in a logical sector */
};

/**
 * move_sectors() - the message "remap" or "unmap", in pieces, so that it can be said how far it is
 * @done: blocks, where the progress begins; moved on
 *
 * Blocks that cannot be moved are an error, after all others have been tried.
 */
int move_sectors(const struct remap_target *t, const char *message, u64 sector, u64 count,
		 struct progress *p, u64 *done, struct remap_err *err);

/** list_blocks() - Caller: free(l->block), in any case */
int list_blocks(const struct remap_target *t, struct remaps *l, struct remap_err *err);

/* describe.c */

/** list_row() - one of them, as list shows it. @arg: struct remaps */
struct json_object *list_row(const void *arg, size_t i);

/* cmd_map.c, cmd_report.c */
command_fn cmd_map, cmd_report;

/* cmd_import.c */
command_fn cmd_import;

/* cmd_export.c */
command_fn cmd_export;
int restore_spare(const struct args *a);	/* import --table */

/** device_name() - a device may also be called by its path, /dev/mapper/NAME */
const char *device_name(const char *arg);

/** name_or_spare() - one of both, and --search with the latter only? Says what is wrong */
bool name_or_spare(const struct args *a);

/** format_spare() - check all, then format. @result: what was made, for output */
int format_spare(const struct args *a, struct json_object **result);

/** open_store() - what was found at dev->path before, or nothing */
int open_store(const struct remap_dev *dev, bool write, struct remap_store *st,
	       struct remap_err *err);

/** parse_bytes() - a number of bytes, also as in 4K. Return: false if it is none, or above @max */
bool parse_bytes(const char *text, u32 max, u32 *bytes);

/** check_conventional() - a zoned device is neither disk nor spare */
int check_conventional(const struct remap_dev *dev, struct remap_err *err);

/** check_pair() - may the two be used together, and are they free? */
int check_pair(const struct remap_dev *data, const struct remap_dev *spare, bool force,
	       struct remap_err *err);

/**
 * read_blocks() - find the spare on a device, and how its metadata is, block for block
 *
 * An active target may be in the midst of a commit: only what stays bad is bad. Call
 * remap_blocks_free() in any case.
 */
int read_blocks(struct remap_store *st, bool search, struct remap_spare *sp,
		struct remap_verdict *v, struct remap_blocks *b, struct remap_err *err);

/** out_blocks() - print @o with them; as text only what is not ok, the rest is dropped from @b */
void out_blocks(const struct args *a, struct json_object *o, const struct remap_spare *sp,
		struct remap_blocks *b);

/** put_super() - what a superblock says */
void put_super(struct json_object *o, const struct remap_super *s);

void warn_same_disk(const struct remap_dev *data, const struct remap_dev *spare);

/* ---- progress.c ---- */

/* How far an operation is. Shown on a terminal only, and once it has taken a moment. */
struct progress {
	bool wanted;
	const char *what, *unit;
	uint64_t total, done;
	uint64_t began, next;		/* ms */
};

/** progress_begin() - @what is done @total times, in @unit (plural) */
void progress_begin(struct progress *p, const struct args *a, const char *what, uint64_t total,
		    const char *unit);

/** progress_at() - so much is done. Cheap: may be called for each of a million */
void progress_at(struct progress *p, uint64_t done);

/** progress_note() - a line instead, where nobody knows how far it is */
void progress_note(struct progress *p, const char *line);
void progress_end(struct progress *p);

/** progress_time() - as in "1:02:30". Return: @buf */
char *progress_time(uint64_t seconds, char *buf, size_t size);

/** progress_hide() - before something else goes to the terminal; output.c does so */
void progress_hide(void);

/* What is told by the library while it reads and writes a spare. */
struct store_progress {
	struct progress p;
	const struct args *args;
	enum remap_stage stage;
};

/** progress_of_store() - show it from now on, until progress_end(&s->p). @st: open */
void progress_of_store(struct store_progress *s, const struct args *a, struct remap_store *st);

static inline void cleanup_progress(struct progress *p)
{
	progress_end(p);
}

static inline void cleanup_store_progress(struct store_progress *s)
{
	progress_end(&s->p);
}

#define _cleanup_progress_		__attribute__((cleanup(cleanup_progress)))
#define _cleanup_store_progress_	__attribute__((cleanup(cleanup_store_progress)))

/* ---- output.c ---- */

/** usage_error() - one line to stderr. Return: EXIT_USAGE */
int usage_error(const struct args *a, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/** problem() - one line to stderr. Return: EXIT_PROBLEM */
int problem(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int problem_err(const struct remap_err *err);
void warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void warning_err(const struct remap_err *err);

void put_str(struct json_object *o, const char *key, const char *value);	/* NULL: null */
void put_num(struct json_object *o, const char *key, uint64_t value);
void put_bool(struct json_object *o, const char *key, bool value);

/* A JSON key and what it is called in text; a row or column whose key is absent is left out. */
struct field {
	const char *key;
	const char *title;
};

/** out_table() - an array of objects: as columns under titles; nothing for an empty array */
void out_table(const struct args *a, struct json_object *array, const struct field *f, size_t n);

/** text_table() - the same, as text in any case */
void text_table(struct json_object *array, const struct field *f, size_t n);

/* Objects, too many to have them all at once: @row makes one, also several times. */
struct rows {
	size_t n;
	struct json_object *(*row)(const void *arg, size_t i);
	const void *arg;
};

/** text_rows() - text_table() for these */
void text_rows(const struct rows *rows, const struct field *f, size_t n);

/**
 * out_rows_json() - out_json() of @o with them as the array @key, its last
 * @o: NULL prints the array by itself
 */
bool out_rows_json(const struct args *a, struct json_object *o, const char *key,
		   const struct rows *rows);

/** text_fields() - an object, one line for each field */
void text_fields(struct json_object *o, const struct field *f, size_t n);

/** out_json() - print the JSON. Return: false, having done nothing, if text is wanted */
bool out_json(const struct args *a, struct json_object *o);

static inline void cleanup_store(struct remap_store *st)
{
	remap_store_close(st);
}

#define _cleanup_store_	__attribute__((cleanup(cleanup_store)))

#define FIELDS(f)	(f), sizeof(f) / sizeof((f)[0])

static inline void cleanup_json(struct json_object **o)
{
	json_object_put(*o);
}

#define _cleanup_json_	__attribute__((cleanup(cleanup_json)))

#endif
