/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * The target as user space sees it: table line, messages, status line, tracepoints' causes.
 * Scripts and tools rely on it; it is only ever appended to. Sectors are of 512 bytes throughout
 * and count from the start of the target.
 *
 * TABLE LINE
 *
 *   <start> <len> remap <data dev> <data offset> <spare dev> <spare offset>
 *       [<n words> [<option> <value>]...]
 *
 *   verify 0|1		read slots and replicas back before they count (1)
 *   on_read_error relocate|pass
 *			relocate: try failed reads again, keep what can be read, mark the rest lost;
 *			pass: pass the error up and leave everything as it is (relocate)
 *   burst <n>		pause after more than n relocations within window seconds; 0: never (1024)
 *   window <seconds>	(10)
 *   force 0|1		start although table blocks are lost; their slots are taken as free (0)
 *   spare_size <sectors>	of the spare when it was formatted, where that is not the rest of
 *			the device; only needed to find the metadata when the first of the
 *			five copies is destroyed
 *
 * MESSAGES
 *
 *   remap <sector> <count>	move the blocks that these sectors touch to the spare, now
 *   unmap <sector> <count>	move them back to the data device
 *				both answer "moved <blocks>"; blocks that could not be moved are an
 *				error, after all the others have been tried
 *   verify			check all replicas; answers one line each: "<index> <state>", with
 *				state one of ok, stale, corrupt, unreadable
 *   repair			rewrite the replicas that verify would complain about
 *   set <option> <value>	verify, on_read_error, burst or window
 *   reset			leave "paused", or "failed" where the spare is well again; repairs
 *   grow			use the room that the spare's device has more by now; answers
 *				"slots <n>"
 *   list <from>		answers lines "<sector> <count> <slot> <lost>", one for each
 *				remapped block, from the block of sector <from> on, lost in hex
 *				with bit n for the block's logical sector n; last line
 *				"next <sector>" or "end"
 *
 *   Blocks already where they should be are passed over. A block with lost sectors is not
 *   unmapped: the data device could not keep that they are lost.
 *
 * STATUS LINE, info: positional
 */
#ifndef REMAP_ABI_H
#define REMAP_ABI_H

#define REMAP_TARGET_NAME	"remap"
#define REMAP_TARGET_VERSION	{ 1, 0, 0 }

/* dm device UUIDs that the tools give: this, then the spare's uuid in its usual notation */
#define REMAP_DM_UUID_PREFIX	"REMAP-"

/* Positions of the words of the status line, after "remap". All but the first are decimal. */
enum remap_status_word {
	REMAP_ST_STATE,			/* one of remap_state_name */
	REMAP_ST_BLOCK_SIZE,		/* bytes */
	REMAP_ST_SLOTS_TOTAL,
	REMAP_ST_SLOTS_USED,
	REMAP_ST_SLOTS_BAD,
	REMAP_ST_LOST_SECTORS,		/* logical sectors */
	REMAP_ST_REPLICAS_OK,		/* hold the newest metadata, as far as known */
	REMAP_ST_REPLICAS_TOTAL,
	REMAP_ST_RELOCATIONS,		/* from here on: counted since the target was loaded */
	REMAP_ST_READS_RECOVERED,
	REMAP_ST_IO_ERRORS,		/* errors that were passed up */
	REMAP_ST_QUEUED,		/* bios that wait for a relocation, now */
	REMAP_ST_STUCK,			/* I/Os, now, that hold up relocations: a device has not
					 * answered them for seconds */
	REMAP_ST_WORDS
};

/* What the target can be in. */
enum remap_state {
	REMAP_ACTIVE,			/* remaps */
	REMAP_PAUSED,			/* an error storm, or a disk that does not answer at all:
					 * passes errors up until "reset" */
	REMAP_EXHAUSTED,		/* no free slot left */
	REMAP_FAILED,			/* the spare did not take a commit, or is gone */
	REMAP_READONLY,			/* spare or metadata must not be written */
	REMAP_STATES
};

#define REMAP_STATE_NAMES { "active", "paused", "exhausted", "failed", "readonly" }

/* What a replica can be in, by verify. */
enum remap_replica_state {
	REMAP_REPLICA_OK,
	REMAP_REPLICA_STALE,		/* valid, but an older generation */
	REMAP_REPLICA_CORRUPT,
	REMAP_REPLICA_UNREADABLE,
	REMAP_REPLICA_STATES
};

#define REMAP_REPLICA_STATE_NAMES { "ok", "stale", "corrupt", "unreadable" }

/* Why a block moves; the "cause" of the tracepoints. */
enum remap_cause {
	REMAP_CAUSE_WRITE,		/* a write to it failed */
	REMAP_CAUSE_READ,		/* a read of it failed */
	REMAP_CAUSE_LOST_WRITE,		/* a lost sector was written */
	REMAP_CAUSE_MESSAGE,		/* asked for: "remap" */
	REMAP_CAUSE_UNMAP,		/* asked for: "unmap" */
};

#endif
